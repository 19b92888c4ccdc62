//! IP datagrams from their fragments (RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722, RFC
//! 6946).
//!
//! Fragments collect in fixed buffers, one per datagram, all taken at start. A complete datagram
//! replaces the frame of the fragment that completed it: headers of that frame, then the whole
//! payload. It stays as it is until [`Fragments::release`] at the end of the burst.
//!
//! What was put together can be a fragment itself, in a tunnel: a host cuts a datagram, and then a
//! router each of the packets that carry the pieces.

use crate::dissect;
use crate::limits::{BURST_MAX, FRAGMENT_END_MAX, FRAGMENT_HEADERS_MAX};
use crate::packet::{Facts, Frame, Timestamp};
use std::collections::HashMap;

mod header;
#[cfg(test)]
mod tests;

use header::{Fragment, Key};

/// What the stage may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Datagrams in reassembly at one time, 1 to 32,768. Each takes up to 130 KiB once touched.
    /// There is room for a burst of complete ones besides.
    pub datagrams_max: u16,
    /// Fragments of one datagram; a standard stack sends 45 for the largest over Ethernet.
    pub fragments_max: u16,
    /// Nanoseconds after its first fragment at which an incomplete datagram is given up.
    pub timeout_ns: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            datagrams_max: 1_024,
            fragments_max: 8_192,
            timeout_ns: 30_000_000_000,
        }
    }
}

/// What became of fragments and datagrams.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Fragments seen.
    pub fragments: u64,
    /// Datagrams completed.
    pub completed: u64,
    /// Completed datagrams longer than 65,535 bytes (ping of death).
    pub oversize: u64,
    /// Fragments that brought the same bytes again.
    pub duplicates: u64,
    /// Fragments that partly or wholly cover others, with other bytes or other bounds.
    pub overlaps: u64,
    /// Fragments that contradict the end of their datagram, or lie behind it.
    pub inconsistent: u64,
    /// Fragments with an impossible length or header.
    pub malformed: u64,
    /// Fragments that the capture cut off.
    pub truncated: u64,
    /// Fragments beyond [`Settings::fragments_max`].
    pub too_many: u64,
    /// Fragments of an IPv6 datagram already discarded for an overlap.
    pub discarded: u64,
    /// Fragments for which no buffer was free: none, as long as bursts are released.
    pub no_room: u64,
    /// Datagrams given up after [`Settings::timeout_ns`].
    pub timeouts: u64,
    /// Datagrams given up for a newer one.
    pub evicted: u64,
}

impl Counters {
    /// Names and values, for metrics.
    pub const fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("fragments", self.fragments),
            ("completed", self.completed),
            ("oversize", self.oversize),
            ("duplicates", self.duplicates),
            ("overlaps", self.overlaps),
            ("inconsistent", self.inconsistent),
            ("malformed", self.malformed),
            ("truncated", self.truncated),
            ("too_many", self.too_many),
            ("discarded", self.discarded),
            ("no_room", self.no_room),
            ("timeouts", self.timeouts),
            ("evicted", self.evicted),
        ]
    }
}

/// Fragment offsets count these.
const BLOCK: usize = 8;
/// Bytes of one buffer: headers, then payload.
const STRIDE: usize = FRAGMENT_HEADERS_MAX + FRAGMENT_END_MAX;
/// Words of the map of 8-byte blocks that have arrived.
const WORDS: usize = FRAGMENT_END_MAX.div_ceil(BLOCK).div_ceil(64);
/// Slots for complete datagrams: each frame of a burst can complete one, and that another one.
const COMPLETE_MAX: usize = 2 * BURST_MAX;
/// No slot.
const NONE: u16 = u16::MAX;
/// A datagram whose last fragment has not arrived.
const OPEN: usize = usize::MAX;

/// One datagram in reassembly, or complete, or free.
#[derive(Debug, Clone, Copy)]
struct Datagram {
    key: Key,
    /// Time of its first fragment.
    started: Timestamp,
    /// Bytes of payload, once the last fragment told; [`OPEN`] before.
    end: usize,
    /// Farthest byte seen.
    reached: usize,
    /// Blocks that have arrived.
    blocks: usize,
    fragments: u16,
    /// IPv6: what the first fragment says follows the fragment header.
    next_header: u8,
    /// IPv6: an overlap was seen; nothing of it will be used.
    discarded: bool,
    /// Start and length of the finished bytes in the buffer.
    start: usize,
    length: usize,
    /// Offset of the IP header in the finished bytes.
    ip_offset: u16,
    older: u16,
    newer: u16,
}

const FREE: Datagram = Datagram {
    key: Key::NONE,
    started: Timestamp::from_nanos(0),
    end: OPEN,
    reached: 0,
    blocks: 0,
    fragments: 0,
    next_header: 0,
    discarded: false,
    start: 0,
    length: 0,
    ip_offset: 0,
    older: NONE,
    newer: NONE,
};

/// Datagrams in reassembly, and those completed in this burst.
#[derive(Debug)]
pub struct Fragments {
    settings: Settings,
    counters: Counters,
    /// Incomplete datagrams. Twice the capacity that is used, so that it never grows.
    index: HashMap<Key, u16>,
    datagrams: Vec<Datagram>,
    maps: Vec<[u64; WORDS]>,
    bytes: Vec<u8>,
    free: Vec<u16>,
    completed: Vec<u16>,
    /// A datagram that is a fragment, while it is added to its own.
    copy: Vec<u8>,
    oldest: u16,
    newest: u16,
}

/// How new bytes lie over those already there.
enum Stored {
    Fresh,
    Duplicate,
    Overlap,
}

impl Fragments {
    /// Takes all memory that the stage will ever use; pages are touched as buffers are.
    pub fn new(settings: &Settings) -> Self {
        let datagrams_max = settings.datagrams_max.clamp(1, 32_768);
        // Complete datagrams keep their buffers until the end of the burst. They have some of their
        // own, or what is given up for want of room would depend on where bursts end.
        let slots = usize::from(datagrams_max) + COMPLETE_MAX;
        let count = u16::try_from(slots).unwrap_or(NONE);
        Self {
            settings: Settings {
                datagrams_max,
                ..*settings
            },
            counters: Counters::default(),
            index: HashMap::with_capacity(slots * 2),
            datagrams: vec![FREE; slots],
            maps: vec![[0; WORDS]; slots],
            bytes: vec![0; slots * STRIDE],
            free: (0..count).rev().collect(),
            completed: Vec::with_capacity(slots),
            copy: Vec::with_capacity(STRIDE),
            oldest: NONE,
            newest: NONE,
        }
    }

    /// Bytes that [`Fragments::new`] takes with these settings; they are touched as fragments come.
    pub fn bytes(settings: &Settings) -> usize {
        let datagrams_max = settings.datagrams_max.clamp(1, 32_768);
        let each = STRIDE + size_of::<[u64; WORDS]>() + size_of::<Datagram>();
        (usize::from(datagrams_max) + COMPLETE_MAX).saturating_mul(each)
    }

    /// Add the fragment in `frame`, if it is one. When it completes its datagram, `facts` are those
    /// of the datagram: `facts.datagram` is its slot plus 1.
    ///
    /// When that is a fragment in its turn, and `is_here` says that the others of its kind come
    /// here, it is added as well.
    pub fn add(
        &mut self,
        frame: &Frame<'_>,
        facts: &mut Facts,
        is_here: impl FnOnce(&Frame<'_>, &Facts) -> bool,
    ) {
        self.insert(frame, facts);
        let Some(slot) = self.read(frame, facts) else {
            return;
        };
        if !facts.has(Facts::FRAGMENT) {
            return;
        }
        let mut copy = std::mem::take(&mut self.copy);
        copy.clear();
        copy.extend_from_slice(self.datagram(slot).0);
        let frame = Frame {
            data: &copy,
            ..*frame
        };
        if is_here(&frame, facts) {
            self.insert(&frame, facts);
            if facts.datagram != slot + 1 {
                self.read(&frame, facts);
            }
        }
        self.copy = copy;
    }

    /// Read the headers of the datagram that a frame has completed; its slot.
    fn read(&self, frame: &Frame<'_>, facts: &mut Facts) -> Option<u16> {
        let slot = facts.datagram.checked_sub(1)?;
        let (data, wire_length) = self.datagram(slot);
        let number = facts.number;
        *facts = self.facts(slot);
        facts.number = number;
        let whole = Frame {
            data,
            wire_length,
            ..*frame
        };
        dissect::headers(&whole, facts);
        Some(slot)
    }

    /// Add the fragment in `frame`, if it is one. When it completes its datagram, `facts.datagram`
    /// is the datagram's slot plus 1, and everything else in `facts` still tells of the fragment.
    fn insert(&mut self, frame: &Frame<'_>, facts: &mut Facts) {
        if !facts.has(Facts::FRAGMENT) {
            return;
        }
        self.counters.fragments += 1;
        let now = frame.clock.max(frame.timestamp);
        self.expire(now);
        let fragment = match header::read(frame.data, usize::from(facts.ip_offset)) {
            Ok(fragment) => fragment,
            Err(header::Unusable::Malformed) => {
                self.counters.malformed += 1;
                return;
            }
            Err(header::Unusable::Truncated) => {
                self.counters.truncated += 1;
                return;
            }
        };
        let Some(slot) = self.find_or_open(&fragment, now) else {
            self.counters.no_room += 1;
            return;
        };
        if self.collect(slot, &fragment) {
            self.finish(slot, &fragment, frame.data);
            facts.datagram = slot + 1;
        }
    }

    /// Bytes of the frame that replaces the last fragment's, and its length on the wire.
    pub fn datagram(&self, slot: u16) -> (&[u8], u32) {
        let bytes = self.datagrams.get(usize::from(slot)).and_then(|datagram| {
            let start = usize::from(slot) * STRIDE + datagram.start;
            self.bytes.get(start..start + datagram.length)
        });
        let bytes = bytes.unwrap_or(&[]);
        (bytes, u32::try_from(bytes.len()).unwrap_or(u32::MAX))
    }

    /// Facts to dissect that frame with: fresh, except that they say it is whole.
    fn facts(&self, slot: u16) -> Facts {
        let mut facts = Facts::new();
        facts.flags = Facts::REASSEMBLED;
        facts.datagram = slot.saturating_add(1);
        let datagram = self.datagrams.get(usize::from(slot));
        facts.whole_offset = datagram.map_or(0, |datagram| datagram.ip_offset);
        facts
    }

    /// The burst is done with: completed datagrams may be overwritten.
    pub fn release(&mut self) {
        self.free.append(&mut self.completed);
    }

    /// Give up datagrams whose time is over at `now`; also done by every insert.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some(oldest) = self.datagrams.get(usize::from(self.oldest)) {
            if now.nanos_since(oldest.started) <= self.settings.timeout_ns {
                break;
            }
            self.counters.timeouts += 1;
            self.give_up(self.oldest);
        }
    }

    /// Datagrams that still wait for fragments.
    pub fn incomplete(&self) -> usize {
        self.index.len()
    }

    /// What it counted so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn find_or_open(&mut self, fragment: &Fragment<'_>, now: Timestamp) -> Option<u16> {
        // RFC 6946: a fragment that is a whole datagram has nothing to do with others of its key.
        let atomic = fragment.offset == 0 && !fragment.more;
        if let Some(slot) = self.index.get(&fragment.key).filter(|_| !atomic) {
            return Some(*slot);
        }
        if !atomic && self.index.len() >= usize::from(self.settings.datagrams_max) {
            self.counters.evicted += 1;
            self.give_up(self.oldest);
        }
        let slot = self.free.pop()?;
        *self.datagrams.get_mut(usize::from(slot))? = Datagram {
            key: fragment.key,
            started: now,
            ..FREE
        };
        self.maps.get_mut(usize::from(slot))?.fill(0);
        if !atomic {
            self.index.insert(fragment.key, slot);
            self.link(slot);
        }
        Some(slot)
    }

    /// Add the bytes; true when the datagram is complete now.
    fn collect(&mut self, slot: u16, fragment: &Fragment<'_>) -> bool {
        let place = usize::from(slot);
        let (Some(datagram), Some(map)) = (self.datagrams.get_mut(place), self.maps.get_mut(place))
        else {
            return false;
        };
        let end = fragment.offset + fragment.payload.len();
        if datagram.discarded {
            self.counters.discarded += 1;
            return false;
        }
        if datagram.fragments >= self.settings.fragments_max.max(1) {
            self.counters.too_many += 1;
            return false;
        }
        let ends_elsewhere = datagram.end != OPEN && datagram.end != end;
        if end > datagram.end || !fragment.more && (ends_elsewhere || end < datagram.reached) {
            self.counters.inconsistent += 1;
            return false;
        }
        let start = place * STRIDE + FRAGMENT_HEADERS_MAX;
        let Some(payload) = self.bytes.get_mut(start..start + FRAGMENT_END_MAX) else {
            return false;
        };
        // RFC 5722: an overlap ends an IPv6 datagram, so that nothing may be hidden under it.
        let keep = fragment.version == 4;
        match store(payload, map, fragment, keep) {
            // Not the end of it: the same bytes may come again without the flag that more follow.
            (_, Stored::Duplicate) => self.counters.duplicates += 1,
            (fresh, Stored::Overlap) => {
                self.counters.overlaps += 1;
                datagram.blocks += fresh;
                datagram.discarded = !keep;
            }
            (fresh, Stored::Fresh) => datagram.blocks += fresh,
        }
        datagram.fragments += 1;
        datagram.reached = datagram.reached.max(end);
        if !fragment.more {
            datagram.end = end;
        }
        if fragment.offset == 0 {
            datagram.next_header = fragment.next_header;
        }
        !datagram.discarded
            && datagram.end != OPEN
            && datagram.blocks == datagram.end.div_ceil(BLOCK)
    }

    /// Put the headers of the last fragment before the payload.
    fn finish(&mut self, slot: u16, fragment: &Fragment<'_>, frame: &[u8]) {
        self.unlink(slot);
        self.completed.push(slot);
        let Some(datagram) = self.datagrams.get_mut(usize::from(slot)) else {
            return;
        };
        if self.index.get(&datagram.key) == Some(&slot) {
            self.index.remove(&datagram.key);
        }
        let headers = frame.get(..fragment.headers_end).unwrap_or(&[]);
        datagram.start = FRAGMENT_HEADERS_MAX.saturating_sub(headers.len());
        datagram.length = headers.len() + datagram.end;
        datagram.ip_offset = u16::try_from(fragment.ip_offset).unwrap_or(u16::MAX);
        let start = usize::from(slot) * STRIDE + datagram.start;
        if let Some(place) = self.bytes.get_mut(start..start + headers.len()) {
            place.copy_from_slice(headers);
            // The fragment header is gone: its next header moves to the field that named it.
            if let Some(field) = fragment.next_header_field.and_then(|at| place.get_mut(at)) {
                *field = datagram.next_header;
            }
        }
        self.counters.completed += 1;
        let length = fragment.headers_end - fragment.ip_offset + datagram.end;
        self.counters.oversize += u64::from(length - fragment.beyond > 65_535);
    }

    fn give_up(&mut self, slot: u16) {
        self.unlink(slot);
        if let Some(datagram) = self.datagrams.get(usize::from(slot)) {
            self.index.remove(&datagram.key);
            self.free.push(slot);
        }
    }

    /// Append to the list by age.
    fn link(&mut self, slot: u16) {
        let newest = self.newest;
        match self.datagrams.get_mut(usize::from(newest)) {
            Some(before) => before.newer = slot,
            None => self.oldest = slot,
        }
        if let Some(datagram) = self.datagrams.get_mut(usize::from(slot)) {
            datagram.older = newest;
        }
        self.newest = slot;
    }

    /// Take out of the list by age, if it is there.
    fn unlink(&mut self, slot: u16) {
        let Some(datagram) = self.datagrams.get_mut(usize::from(slot)) else {
            return;
        };
        let (older, newer) = (datagram.older, datagram.newer);
        (datagram.older, datagram.newer) = (NONE, NONE);
        match self.datagrams.get_mut(usize::from(older)) {
            Some(datagram) => datagram.newer = newer,
            None if self.oldest == slot => self.oldest = newer,
            None => {}
        }
        match self.datagrams.get_mut(usize::from(newer)) {
            Some(datagram) => datagram.older = older,
            None if self.newest == slot => self.newest = older,
            None => {}
        }
    }
}

/// Put the blocks of `fragment` that are not there yet into `payload` (none of them if it overlaps
/// and `keep` is off): the first data seen wins. Also says how many blocks are new.
fn store(
    payload: &mut [u8],
    map: &mut [u64; WORDS],
    fragment: &Fragment<'_>,
    keep: bool,
) -> (usize, Stored) {
    let first = fragment.offset / BLOCK;
    let count = fragment.payload.len().div_ceil(BLOCK);
    let present = (first..first + count).filter(|block| is_set(map, *block));
    let present = present.count();
    let range = fragment.offset..fragment.offset + fragment.payload.len();
    let Some(place) = payload.get_mut(range) else {
        return (0, Stored::Overlap);
    };
    if present == count && *place == *fragment.payload {
        return (0, Stored::Duplicate);
    }
    if present == 0 {
        place.copy_from_slice(fragment.payload);
    } else if keep {
        let blocks = place
            .chunks_mut(BLOCK)
            .zip(fragment.payload.chunks(BLOCK))
            .enumerate()
            .filter(|(block, _)| !is_set(map, first + block));
        blocks.for_each(|(_, (old, new))| old.copy_from_slice(new));
    } else {
        return (0, Stored::Overlap);
    }
    for block in first..first + count {
        if let Some(word) = map.get_mut(block / 64) {
            *word |= 1 << (block % 64);
        }
    }
    let stored = if present == 0 {
        Stored::Fresh
    } else {
        Stored::Overlap
    };
    (count - present, stored)
}

fn is_set(map: &[u64; WORDS], block: usize) -> bool {
    map.get(block / 64)
        .is_some_and(|word| word & (1 << (block % 64)) != 0)
}
