//! TCP bytes in order (RFC 9293 section 3.4), one assembler per direction of a followed flow.
//!
//! A segment in order goes through without a copy; one ahead of a hole waits in blocks of a fixed
//! pool. The first data seen wins wherever segments overlap. A hole is skipped, and the consumer
//! told, when the other side acknowledged what is behind it (the capture lost it) or when there is
//! no room to wait.

use super::blocks::{Blocks, NONE};
use crate::limits::BLOCKS_PER_SIDE_MAX;
use crate::packet::Direction;

#[cfg(test)]
mod tests;

/// One TCP segment, as its headers say.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Who sent it.
    pub direction: Direction,
    /// Sequence number field.
    pub sequence: u32,
    /// Acknowledgment number, when the ACK flag is set.
    pub acknowledgment: Option<u32>,
    /// SYN flag: takes one sequence number before the payload.
    pub syn: bool,
    /// FIN flag: takes one sequence number after the payload.
    pub fin: bool,
    /// RST flag: its payload is not of the stream.
    pub rst: bool,
    /// Payload as captured.
    pub payload: &'a [u8],
    /// Payload bytes behind it that the capture cut off.
    pub cut: u32,
}

/// Where delivered bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the segment being added, from this offset of its payload on.
    Segment(usize),
    /// In a buffer that is reused after the call.
    Buffer,
}

/// Takes what the assembler delivers.
pub trait Consumer {
    /// The next bytes of the stream.
    fn data(&mut self, direction: Direction, bytes: &[u8], origin: Origin);
    /// The next `length` bytes will never come.
    fn gap(&mut self, direction: Direction, length: u32);
    /// This direction has ended, by FIN or RST.
    fn end(&mut self, direction: Direction);
}

/// What happened to segments.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Payload bytes passed through in order.
    pub bytes_in_order: u64,
    /// Payload bytes that waited in a block.
    pub bytes_buffered: u64,
    /// Payload bytes that were already there (retransmissions, keep-alives).
    pub bytes_repeated: u64,
    /// Of those still at hand, bytes whose repetition differed: somebody shows two stories.
    pub bytes_conflicting: u64,
    /// Holes skipped because they were acknowledged.
    pub gaps_acknowledged: u64,
    /// Holes skipped because there was no room to wait.
    pub gaps_no_room: u64,
    /// Bytes in skipped holes.
    pub gap_bytes: u64,
    /// Directions picked up without their SYN.
    pub midstream: u64,
    /// RST segments far from the expected sequence number, ignored.
    pub resets_ignored: u64,
}

impl Counters {
    /// Names and values, for metrics.
    pub const fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("bytes_in_order", self.bytes_in_order),
            ("bytes_buffered", self.bytes_buffered),
            ("bytes_repeated", self.bytes_repeated),
            ("bytes_conflicting", self.bytes_conflicting),
            ("gaps_acknowledged", self.gaps_acknowledged),
            ("gaps_no_room", self.gaps_no_room),
            ("gap_bytes", self.gap_bytes),
            ("midstream", self.midstream),
            ("resets_ignored", self.resets_ignored),
        ]
    }
}

/// A RST farther ahead than this is not from the peer: no window scale in use reaches it.
const RESET_WINDOW: u32 = 1 << 24;

/// Is `a` later than `b` in sequence space (RFC 9293, 3.4)?
pub const fn after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// A count of payload bytes, as sequence numbers count: modulo 2^32.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn as_count(distance: u32) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}

/// The state of one direction.
#[derive(Debug, Clone, Copy)]
struct Side {
    /// Next sequence number to deliver.
    next: u32,
    /// Highest acknowledgment from the other side.
    acked: u32,
    /// Sequence number of the FIN.
    fin: u32,
    /// Waiting blocks, by ascending sequence number, without overlap.
    head: u32,
    tail: u32,
    blocks: u16,
    flags: u8,
}

const SYNCED: u8 = 1 << 0;
const ACKED: u8 = 1 << 1;
const FIN: u8 = 1 << 2;
const CLOSED: u8 = 1 << 3;

const UNUSED: Side = Side {
    next: 0,
    acked: 0,
    fin: 0,
    head: NONE,
    tail: NONE,
    blocks: 0,
    flags: 0,
};

/// Assemblers for a fixed number of flows, and the pool that they share.
#[derive(Debug)]
pub struct Reassembly {
    flows: Vec<[Side; 2]>,
    pool: Pool,
}

#[derive(Debug)]
struct Pool {
    blocks: Blocks,
    counters: Counters,
}

impl Reassembly {
    /// Bytes for each flow, beside its blocks.
    pub const BYTES_PER_FLOW: usize = size_of::<[Side; 2]>();

    /// Room for `flows` flows and `blocks` waiting blocks of all of them together.
    pub fn new(flows: usize, blocks: u32) -> Self {
        Self {
            flows: vec![[UNUSED; 2]; flows],
            pool: Pool {
                blocks: Blocks::new(blocks),
                counters: Counters::default(),
            },
        }
    }

    /// Start with the flow at `slot`; its last user has closed it.
    pub fn open(&mut self, slot: usize) {
        if let Some(sides) = self.flows.get_mut(slot) {
            *sides = [UNUSED; 2];
        }
    }

    /// The next sequence number of `direction` is known: its SYN was seen earlier.
    pub fn expect(&mut self, slot: usize, direction: Direction, sequence: u32) {
        if let Some(side) = self.side(slot, direction) {
            side.next = sequence;
            side.flags |= SYNCED;
        }
    }

    /// Add a segment; the consumer gets what is in order now.
    pub fn add<C: Consumer>(&mut self, slot: usize, segment: &Segment<'_>, consumer: &mut C) {
        let Some(sides) = self.flows.get_mut(slot) else {
            return;
        };
        let direction = segment.direction;
        let pool = &mut self.pool;
        // First what the other side sent before: a request comes before its response.
        if let (Some(number), Some(side)) = (
            segment.acknowledgment,
            sides.get_mut(direction.reverse().index()),
        ) {
            side.acknowledge(number, direction.reverse(), pool, consumer);
        }
        if let Some(side) = sides.get_mut(direction.index()) {
            side.add(segment, pool, consumer);
        }
    }

    /// Forget the flow at `slot`.
    pub fn close(&mut self, slot: usize) {
        if let Some(sides) = self.flows.get_mut(slot) {
            for side in sides {
                while side.head != NONE {
                    side.head = self.pool.blocks.put(side.head);
                }
                *side = UNUSED;
            }
        }
    }

    /// Blocks in use.
    pub const fn blocks_used(&self) -> u32 {
        self.pool.blocks.used()
    }

    /// What it counted so far.
    pub const fn counters(&self) -> Counters {
        self.pool.counters
    }

    fn side(&mut self, slot: usize, direction: Direction) -> Option<&mut Side> {
        self.flows.get_mut(slot)?.get_mut(direction.index())
    }
}

impl Side {
    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn add<C: Consumer>(&mut self, segment: &Segment<'_>, pool: &mut Pool, consumer: &mut C) {
        let first = segment.sequence.wrapping_add(u32::from(segment.syn));
        if segment.syn && (!self.has(SYNCED) || self.has(CLOSED)) {
            // Also the same ports used again after an orderly close.
            self.next = first;
            self.flags = SYNCED | self.flags & ACKED;
        }
        if segment.rst {
            self.reset(segment, pool, consumer);
            return;
        }
        if !self.has(SYNCED) && !segment.payload.is_empty() {
            pool.counters.midstream += 1;
            self.next = first;
            self.flags |= SYNCED;
        }
        if !self.has(SYNCED) || self.has(CLOSED) {
            return;
        }
        let captured_end = first.wrapping_add(length_of(segment.payload));
        self.deliver(first, segment, pool, consumer);
        if segment.cut != 0 && self.next == captured_end {
            let end = captured_end.wrapping_add(segment.cut);
            self.skip(end, segment.direction, pool, consumer);
            self.drain(segment.direction, pool, consumer);
        }
        if segment.fin && !self.has(FIN) {
            self.fin = captured_end.wrapping_add(segment.cut);
            self.flags |= FIN;
        }
        self.finish(segment.direction, consumer);
    }

    /// A RST is believed when it is close to what is expected; data may still follow a forged one.
    fn reset<C: Consumer>(&self, segment: &Segment<'_>, pool: &mut Pool, consumer: &mut C) {
        if self.has(CLOSED) {
            return;
        }
        if self.has(SYNCED) && segment.sequence.wrapping_sub(self.next) > RESET_WINDOW {
            pool.counters.resets_ignored += 1;
            return;
        }
        consumer.end(segment.direction);
    }

    fn finish<C: Consumer>(&mut self, direction: Direction, consumer: &mut C) {
        if self.has(FIN) && self.next == self.fin && !self.has(CLOSED) {
            self.flags |= CLOSED;
            consumer.end(direction);
        }
    }

    /// Deliver the payload, or let it wait.
    fn deliver<C: Consumer>(
        &mut self,
        first: u32,
        segment: &Segment<'_>,
        pool: &mut Pool,
        consumer: &mut C,
    ) {
        let (mut sequence, mut rest) = (first, segment.payload);
        loop {
            if after(self.next, sequence) {
                let behind = as_count(self.next.wrapping_sub(sequence)).min(rest.len());
                pool.counters.bytes_repeated +=
                    u64::from(length_of(rest.get(..behind).unwrap_or(&[])));
                rest = rest.get(behind..).unwrap_or(&[]);
                sequence = self.next;
            }
            if rest.is_empty() {
                return;
            }
            if sequence == self.next {
                // Bytes that wait were seen before these: they win.
                let until_head = if self.head == NONE {
                    rest.len()
                } else {
                    let head = pool.blocks.sequence(self.head);
                    as_count(head.wrapping_sub(sequence)).min(rest.len())
                };
                let (now, later) = rest.split_at(until_head);
                let offset = segment.payload.len() - rest.len();
                self.next = self.next.wrapping_add(length_of(now));
                pool.counters.bytes_in_order += u64::from(length_of(now));
                if !now.is_empty() {
                    consumer.data(segment.direction, now, Origin::Segment(offset));
                }
                sequence = self.next;
                rest = later;
                let waiting = rest;
                self.compare_waiting(sequence, waiting, pool);
                self.drain(segment.direction, pool, consumer);
                continue;
            }
            if !self.acknowledged(sequence) {
                let kept = self.keep(sequence, rest, pool);
                sequence = sequence.wrapping_add(length_of(rest.get(..kept).unwrap_or(&[])));
                rest = rest.get(kept..).unwrap_or(&[]);
                if rest.is_empty() {
                    return;
                }
                pool.counters.gaps_no_room += 1;
            } else {
                pool.counters.gaps_acknowledged += 1;
            }
            let target = self.nearest(sequence, pool);
            self.skip(target, segment.direction, pool, consumer);
            self.drain(segment.direction, pool, consumer);
        }
    }

    fn acknowledged(&self, sequence: u32) -> bool {
        self.has(ACKED) && !after(sequence, self.acked)
    }

    /// The first byte at hand: that of the first waiting block, or `sequence`.
    fn nearest(&self, sequence: u32, pool: &Pool) -> u32 {
        let head = pool.blocks.sequence(self.head);
        if self.head != NONE && after(sequence, head) {
            head
        } else {
            sequence
        }
    }

    fn acknowledge<C: Consumer>(
        &mut self,
        number: u32,
        direction: Direction,
        pool: &mut Pool,
        consumer: &mut C,
    ) {
        if !self.has(ACKED) || after(number, self.acked) {
            self.acked = number;
            self.flags |= ACKED;
        }
        while self.has(SYNCED) && self.head != NONE {
            let head = pool.blocks.sequence(self.head);
            if !self.acknowledged(head) {
                return;
            }
            pool.counters.gaps_acknowledged += 1;
            self.skip(head, direction, pool, consumer);
            self.drain(direction, pool, consumer);
        }
        self.finish(direction, consumer);
    }

    fn skip<C: Consumer>(
        &mut self,
        to: u32,
        direction: Direction,
        pool: &mut Pool,
        consumer: &mut C,
    ) {
        let length = to.wrapping_sub(self.next);
        pool.counters.gap_bytes += u64::from(length);
        self.next = to;
        consumer.gap(direction, length);
    }

    /// Deliver waiting blocks that are in order now.
    fn drain<C: Consumer>(&mut self, direction: Direction, pool: &mut Pool, consumer: &mut C) {
        while self.head != NONE {
            let distance = self.next.wrapping_sub(pool.blocks.sequence(self.head));
            if distance >= 1 << 31 {
                return;
            }
            let bytes = pool.blocks.bytes(self.head);
            let fresh = bytes.get(as_count(distance)..).unwrap_or(&[]);
            if !fresh.is_empty() {
                self.next = self.next.wrapping_add(length_of(fresh));
                consumer.data(direction, fresh, Origin::Buffer);
            }
            self.head = pool.blocks.put(self.head);
            self.blocks -= 1;
        }
        self.tail = NONE;
    }

    /// Let bytes wait that no waiting block holds. Returns how many of them are dealt with; fewer
    /// than all when there was no room.
    fn keep(&mut self, first: u32, bytes: &[u8], pool: &mut Pool) -> usize {
        let (mut before, mut block) = (NONE, self.head);
        // Mostly a segment comes after all that wait already.
        if self.tail != NONE && !after(end_of(self.tail, pool), first) {
            (before, block) = (self.tail, NONE);
        }
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let sequence = first.wrapping_add(length_of(bytes.get(..done).unwrap_or(&[])));
            let start = pool.blocks.sequence(block);
            if block == NONE || after(start, sequence) {
                let room = if block == NONE {
                    rest.len()
                } else {
                    as_count(start.wrapping_sub(sequence)).min(rest.len())
                };
                let piece = rest.get(..room).unwrap_or(rest);
                let Some(count) = self.put(&mut before, block, sequence, piece, pool) else {
                    return done;
                };
                done += count;
                continue;
            }
            let inside = as_count(sequence.wrapping_sub(start));
            let there = pool.blocks.bytes(block).get(inside..).unwrap_or(&[]);
            let count = there.len().min(rest.len());
            pool.counters.bytes_repeated += u64::from(length_of(there.get(..count).unwrap_or(&[])));
            pool.counters.bytes_conflicting += differing(there, rest);
            done += count;
            (before, block) = (block, pool.blocks.next(block));
        }
        done
    }

    /// Store some of `piece` behind `before`, in its free bytes or in a new block in front of
    /// `next`.
    fn put(
        &mut self,
        before: &mut u32,
        next: u32,
        sequence: u32,
        piece: &[u8],
        pool: &mut Pool,
    ) -> Option<usize> {
        let mut count = 0;
        if *before != NONE && end_of(*before, pool) == sequence {
            count = pool.blocks.append(*before, piece);
        }
        if count == 0 {
            if self.blocks >= BLOCKS_PER_SIDE_MAX {
                return None;
            }
            let block = pool.blocks.take(sequence)?;
            self.blocks += 1;
            count = pool.blocks.append(block, piece);
            pool.blocks.set_next(block, next);
            if *before == NONE {
                self.head = block;
            } else {
                pool.blocks.set_next(*before, block);
            }
            if next == NONE {
                self.tail = block;
            }
            *before = block;
        }
        pool.counters.bytes_buffered += u64::from(length_of(piece.get(..count).unwrap_or(&[])));
        Some(count)
    }

    /// Count the bytes from `sequence` on that differ from those that wait there.
    fn compare_waiting(&self, sequence: u32, bytes: &[u8], pool: &mut Pool) {
        let (mut block, mut done) = (self.head, 0);
        while block != NONE && done < bytes.len() {
            let at = sequence.wrapping_add(length_of(bytes.get(..done).unwrap_or(&[])));
            if pool.blocks.sequence(block) != at {
                return;
            }
            let there = pool.blocks.bytes(block);
            pool.counters.bytes_conflicting += differing(there, bytes.get(done..).unwrap_or(&[]));
            done += there.len();
            block = pool.blocks.next(block);
        }
    }
}

fn end_of(block: u32, pool: &Pool) -> u32 {
    let length = length_of(pool.blocks.bytes(block));
    pool.blocks.sequence(block).wrapping_add(length)
}

fn differing(a: &[u8], b: &[u8]) -> u64 {
    let count = a.iter().zip(b).filter(|(a, b)| a != b).count();
    u64::try_from(count).unwrap_or(u64::MAX)
}
