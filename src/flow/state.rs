//! What is kept of one flow: a part that every packet touches, and the rest.

use super::key::Key;
use super::observation::Observation;
use super::settings::Class;
use super::tcp::Tcp;
use crate::dissect::application::stream::ApplicationState;
use crate::packet::{Direction, Timestamp};

/// The two cache lines of a flow that every packet reads and writes.
///
/// The counters are small: what no longer fits is moved to the [`Totals`] of the flow, which
/// happens once in thousands of packets.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(128))]
pub(super) struct Hot {
    pub(super) key: Key,
    pub(super) id: u64,
    /// Time of the last packet, by direction; 0 when there was none.
    pub(super) last: [Timestamp; 2],
    ip_bytes: [u32; 2],
    payload_bytes: [u32; 2],
    /// TCP: the sequence number after everything seen.
    pub(super) next_sequence: [u32; 2],
    /// TCP: the acknowledgement that ends the running measurement of a round trip.
    pub(super) sample_sequence: [u32; 2],
    /// TCP: when that measurement began, in microseconds modulo 2^32.
    pub(super) sample_us: [u32; 2],
    /// When the last packet with payload came, in microseconds modulo 2^32.
    payload_us: [u32; 2],
    packets: [u16; 2],
    /// Bytes of frames that are not of the innermost IP packet.
    overhead: [u16; 2],
    /// TCP flags seen.
    pub(super) tcp_flags: [u8; 2],
    /// Time to live of the last packet.
    ttl: [u8; 2],
    /// Bits of [`mark`], by direction.
    marks: [u8; 2],
    /// TCP states of both ends (see [`super::tcp::ends::Ends`]), and bits of [`bit`].
    pub(super) state: u8,
    pub(super) class: Class,
}

const _: () = assert!(size_of::<Hot>() == 128, "two cache lines");

/// Bits of [`Hot::state`] above those of the TCP ends.
pub(super) mod bit {
    /// The originator is the second end of the key.
    pub(in crate::flow) const SECOND_ORIGINATES: u8 = 1 << 7;
    /// TCP: a SYN+ACK waits for its ACK.
    pub(in crate::flow) const HANDSHAKE: u8 = 1 << 6;
}

/// Bits of [`Hot::marks`].
pub(super) mod mark {
    /// A packet with payload came: [`super::Hot::count`] knows when.
    pub(in crate::flow) const PAYLOAD: u8 = 1 << 0;
    /// TCP: the next sequence number is known.
    pub(in crate::flow) const SEQUENCE: u8 = 1 << 1;
    /// TCP: a round trip is being measured.
    pub(in crate::flow) const SAMPLE: u8 = 1 << 2;
    /// TCP: there are bytes that were not seen.
    pub(in crate::flow) const HOLES: u8 = 1 << 3;
    /// TCP: there were retransmissions.
    pub(in crate::flow) const REPEATS: u8 = 1 << 4;
    /// The history has the letter for a bare ACK.
    pub(in crate::flow) const ACK_NOTED: u8 = 1 << 5;
    /// The history has the letter for payload.
    pub(in crate::flow) const DATA_NOTED: u8 = 1 << 6;
    /// Of direction 0: the last packet lags behind the clock, and [`super::Flow::lag_ns`] says how
    /// far.
    pub(in crate::flow) const LAGS: u8 = 1 << 7;
    /// Of direction 1, in the same place: the flow is shunted, both directions of it.
    pub(in crate::flow) const SHUNTED: u8 = 1 << 7;
}

impl Hot {
    pub(super) const EMPTY: Self = Self {
        key: Key::EMPTY,
        id: 0,
        last: [Timestamp::from_nanos(0); 2],
        ip_bytes: [0; 2],
        payload_bytes: [0; 2],
        next_sequence: [0; 2],
        sample_sequence: [0; 2],
        sample_us: [0; 2],
        payload_us: [0; 2],
        packets: [0; 2],
        overhead: [0; 2],
        tcp_flags: [0; 2],
        ttl: [0; 2],
        marks: [0; 2],
        state: 0,
        class: Class::Other,
    };

    /// Who sent this packet.
    #[inline]
    pub(super) const fn direction(&self, observation: &Observation) -> Direction {
        let second_originates = self.state & bit::SECOND_ORIGINATES != 0;
        if second_originates == observation.from_second {
            Direction::Originator
        } else {
            Direction::Responder
        }
    }

    /// Is this mark of direction `index` set?
    #[inline]
    pub(super) const fn has(&self, index: usize, mark: u8) -> bool {
        self.marks[index] & mark != 0
    }

    /// Set a mark; true when it was not set yet.
    #[inline]
    pub(super) const fn set(&mut self, index: usize, mark: u8) -> bool {
        let new = self.marks[index] & mark == 0;
        self.marks[index] |= mark;
        new
    }

    #[inline]
    pub(super) const fn unset(&mut self, index: usize, mark: u8) {
        self.marks[index] &= !mark;
    }

    /// Packets counted in a direction since the counter last overflowed.
    #[inline]
    pub(super) const fn packets_lately(&self, index: usize) -> u16 {
        self.packets[index]
    }

    /// Bytes of IP packets counted since either counter last overflowed, both directions.
    #[inline]
    pub(super) fn ip_bytes_lately(&self) -> u64 {
        let [originator, responder] = self.ip_bytes;
        u64::from(originator) + u64::from(responder)
    }

    /// Are further packets of the flow only counted?
    #[inline]
    pub(super) const fn is_shunted(&self) -> bool {
        self.has(1, mark::SHUNTED)
    }

    /// Time of the last packet of either direction.
    #[inline]
    pub(super) fn last_seen(&self) -> Timestamp {
        let [originator, responder] = self.last;
        originator.max(responder)
    }

    /// Count a packet. Returns the microseconds since the last packet with payload in its
    /// direction, when both have payload.
    #[inline]
    pub(super) fn count(
        &mut self,
        flow: &mut Flow,
        observation: &Observation,
        direction: Direction,
    ) -> u32 {
        let index = direction.index();
        let totals = &mut flow.totals[index];
        let last = &mut self.last[index];
        if observation.ttl != self.ttl[index] {
            self.ttl[index] = observation.ttl;
            totals.note_ttl(observation.ttl, *last == Timestamp::default());
        }
        if *last == Timestamp::default() {
            totals.first = observation.timestamp;
        }
        *last = observation.timestamp.max(*last);
        add_u16(&mut self.packets[index], 1, &mut totals.packets);
        add_u32(
            &mut self.ip_bytes[index],
            observation.ip_bytes,
            &mut totals.ip_bytes,
        );
        match observation.frame_bytes.checked_sub(observation.ip_bytes) {
            Some(more) => add_u16(&mut self.overhead[index], more, &mut totals.overhead),
            // An IP header that announces more than the frame had.
            None => {
                let less = observation.ip_bytes.abs_diff(observation.frame_bytes);
                totals.shortage = totals.shortage.saturating_add(u64::from(less));
            }
        }
        if observation.payload_bytes == 0 {
            return 0;
        }
        add_u32(
            &mut self.payload_bytes[index],
            observation.payload_bytes,
            &mut totals.payload_bytes,
        );
        let now = micros_u32(observation.timestamp);
        let before = std::mem::replace(&mut self.payload_us[index], now);
        if self.set(index, mark::PAYLOAD) {
            0
        } else {
            now.wrapping_sub(before)
        }
    }

    /// Counters of one direction, both parts together.
    pub(super) fn counters(&self, flow: &Flow, direction: Direction) -> Counters {
        let index = direction.index();
        let totals = &flow.totals[index];
        let ip_bytes = totals
            .ip_bytes
            .saturating_add(u64::from(self.ip_bytes[index]));
        let overhead = totals
            .overhead
            .saturating_add(u64::from(self.overhead[index]));
        Counters {
            packets: totals
                .packets
                .saturating_add(u64::from(self.packets[index])),
            frame_bytes: ip_bytes
                .saturating_add(overhead)
                .saturating_sub(totals.shortage),
            ip_bytes,
            payload_bytes: totals
                .payload_bytes
                .saturating_add(u64::from(self.payload_bytes[index])),
            first: totals.first,
            last: self.last[index],
            ttl_min: totals.ttl_min,
            ttl_max: totals.ttl_max,
            tcp_flags: self.tcp_flags[index],
        }
    }
}

/// Microseconds of a time, modulo 2^32: enough for differences of up to 71 minutes.
#[inline]
#[allow(
    clippy::cast_possible_truncation,
    reason = "the remainder is what is wanted"
)]
pub(super) const fn micros_u32(time: Timestamp) -> u32 {
    time.micros() as u32
}

/// Add to a small counter; what does not fit goes to the large one.
#[inline]
fn add_u16(small: &mut u16, amount: u32, large: &mut u64) {
    let sum = u32::from(*small).saturating_add(amount);
    match u16::try_from(sum) {
        Ok(sum) => *small = sum,
        Err(_) => {
            *large = large
                .saturating_add(u64::from(*small))
                .saturating_add(u64::from(amount));
            *small = 0;
        }
    }
}

/// As [`add_u16`].
#[inline]
const fn add_u32(small: &mut u32, amount: u32, large: &mut u64) {
    match small.checked_add(amount) {
        Some(sum) => *small = sum,
        None => {
            *large = large
                .saturating_add(*small as u64)
                .saturating_add(amount as u64);
            *small = 0;
        }
    }
}

/// What one direction of a flow counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames on the wire, link-layer header and padding included.
    pub frame_bytes: u64,
    /// Bytes of the innermost IP packets, by their headers.
    pub ip_bytes: u64,
    /// Bytes behind the transport headers.
    pub payload_bytes: u64,
    /// Time of the first packet; 0 when there was none.
    pub first: Timestamp,
    /// Time of the last packet; 0 when there was none.
    pub last: Timestamp,
    /// Smallest time to live (or hop limit).
    pub ttl_min: u8,
    /// Largest time to live.
    pub ttl_max: u8,
    /// TCP flags of all packets, or-ed.
    pub tcp_flags: u8,
}

/// Large counters of one direction.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    first: Timestamp,
    packets: u64,
    ip_bytes: u64,
    payload_bytes: u64,
    overhead: u64,
    /// Bytes that IP headers announced beyond the end of their frames.
    shortage: u64,
    ttl_min: u8,
    ttl_max: u8,
}

impl Totals {
    fn note_ttl(&mut self, ttl: u8, first: bool) {
        self.ttl_max = self.ttl_max.max(ttl);
        self.ttl_min = if first { ttl } else { self.ttl_min.min(ttl) };
    }
}

/// The part of a flow that few packets touch.
#[derive(Debug, Default, Clone)]
pub struct Flow {
    /// Number of the flow. An index is used again when its flow has ended, within the same burst
    /// even: compare this with [`crate::packet::FlowFacts::id`] before using a flow by index.
    pub id: u64,
    /// Of the application stage.
    pub application: ApplicationState,
    /// Outermost VLAN of the first packet; [`crate::packet::Facts::NO_VLAN`] when untagged.
    pub vlan: u16,
    /// Time of the first packet.
    pub first: Timestamp,
    /// Latest time of any packet up to the first one, which may have been late.
    pub(super) began: Timestamp,
    /// With [`mark::LAGS`]: nanoseconds by which the latest packet was behind the clock.
    pub(super) lag_ns: u64,
    totals: [Totals; 2],
    pub(super) tcp: Tcp,
}
