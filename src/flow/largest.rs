//! The flows with most bytes, of those that are active or ended lately.
//!
//! Nothing is done for a packet but for one that brings its flow's bytes to the next power of two:
//! the flow is a candidate then, with the bytes that it has by then. That happens some twenty times
//! in the life of the largest flows, and never in that of the smallest. A flow that ends is one
//! with what it had in the end. Four times as many candidates are kept as are shown, and what is
//! shown has the bytes of that moment. So a flow is missed only where more flows than there are
//! candidates have at least half its bytes.

use super::FlowRecord;
use crate::packet::{Direction, Timestamp};
use arrayvec::ArrayVec;
use std::cmp::Reverse;
use std::net::IpAddr;

/// Flows that are shown.
pub const LARGEST_MAX: usize = 16;

/// Flows that may be among them.
const CANDIDATES_MAX: usize = 4 * LARGEST_MAX;

/// IP bytes from which on a flow is looked at: smaller ones are not worth a line.
const BYTES_MIN: u64 = 1 << 16;

/// How long a flow that ended counts, by packet time.
const LATELY_NS: u64 = 60_000_000_000;

/// One of the largest flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Large {
    /// Number of the flow.
    pub id: u64,
    /// Originator's address and port.
    pub source: (IpAddr, u16),
    /// Responder's.
    pub destination: (IpAddr, u16),
    /// IP protocol.
    pub protocol: u8,
    /// Bytes of its IP packets, from originator and from responder.
    pub ip_bytes: [u64; 2],
    /// Its packets, likewise.
    pub packets: [u64; 2],
    /// Time of its last packet.
    pub last: Timestamp,
    /// It has ended.
    pub ended: bool,
    /// Its last packets were only counted.
    pub shunted: bool,
}

impl Large {
    /// What a record says of its flow.
    pub(super) fn new(record: &FlowRecord, ended: bool) -> Self {
        let sides = [Direction::Originator, Direction::Responder];
        let of = |side: Direction| {
            record
                .counters
                .get(side.index())
                .copied()
                .unwrap_or_default()
        };
        Self {
            id: record.id,
            source: record.source,
            destination: record.destination,
            protocol: record.protocol,
            ip_bytes: sides.map(|side| of(side).ip_bytes),
            packets: sides.map(|side| of(side).packets),
            last: record.end,
            ended,
            shunted: record.shunted,
        }
    }

    /// Bytes of its IP packets, both directions.
    pub fn bytes(&self) -> u64 {
        let [originator, responder] = self.ip_bytes;
        originator.saturating_add(responder)
    }
}

/// The largest of several workers' largest flows: by bytes, and of equals the one that began first.
pub fn merged(parts: impl IntoIterator<Item = Large>) -> ArrayVec<Large, LARGEST_MAX> {
    let mut all: Vec<Large> = parts.into_iter().collect();
    all.sort_unstable_by_key(|large| (Reverse(large.bytes()), large.id));
    all.into_iter().take(LARGEST_MAX).collect()
}

/// Has a flow whose bytes went from `before` to `after` come to a power of two that counts?
#[inline]
pub(super) const fn has_grown(before: u64, after: u64) -> bool {
    after >= BYTES_MIN && after.leading_zeros() < before.leading_zeros()
}

/// A flow that may be among the largest.
#[derive(Debug, Clone, Copy)]
enum Candidate {
    /// Its number, where it is in the table, and the bytes that it had when it was noted.
    Active { id: u64, index: u32, bytes: u64 },
    /// What there was of it, and when that was.
    Ended(Large, Timestamp),
}

impl Candidate {
    fn id(&self) -> u64 {
        match self {
            Self::Active { id, .. } => *id,
            Self::Ended(large, _) => large.id,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Active { bytes, .. } => *bytes,
            Self::Ended(large, _) => large.bytes(),
        }
    }
}

/// The candidates of one table.
#[derive(Debug, Default)]
pub(super) struct Candidates(ArrayVec<Candidate, CANDIDATES_MAX>);

impl Candidates {
    /// The flow `id` at `index` has come to so many bytes.
    #[cold]
    pub(super) fn note(&mut self, id: u64, index: u32, bytes: u64, now: Timestamp) {
        self.put(Candidate::Active { id, index, bytes }, now);
    }

    /// A flow has ended.
    pub(super) fn end(&mut self, record: &FlowRecord, now: Timestamp) {
        let large = Large::new(record, true);
        if large.bytes() < BYTES_MIN {
            return;
        }
        let least = self.0.iter().map(Candidate::bytes).min();
        if !self.0.is_full() || least.is_none_or(|least| least <= large.bytes()) {
            self.put(Candidate::Ended(large, now), now);
        } else {
            // Noted before with fewer bytes than any other has now.
            self.0.retain(|one| one.id() != large.id);
        }
    }

    /// Those that may be shown; `active` gives what there is now of a flow that goes on.
    pub(super) fn all(
        &self,
        now: Timestamp,
        active: impl Fn(u64, u32) -> Option<Large>,
    ) -> impl Iterator<Item = Large> {
        self.0.iter().filter_map(move |candidate| match candidate {
            Candidate::Active { id, index, .. } => active(*id, *index),
            Candidate::Ended(large, ended) => (!is_over(*ended, now)).then_some(*large),
        })
    }

    /// Put one in, in the place of its earlier self, of one that is long over, or of the smallest.
    fn put(&mut self, candidate: Candidate, now: Timestamp) {
        if let Some(same) = self.0.iter_mut().find(|one| one.id() == candidate.id()) {
            *same = candidate;
            return;
        }
        if self.0.is_full() {
            self.0
                .retain(|one| !matches!(one, Candidate::Ended(_, ended) if is_over(*ended, now)));
        }
        if let Err(full) = self.0.try_push(candidate) {
            let candidate = full.element();
            let least = self.0.iter_mut().min_by_key(|one| one.bytes());
            if let Some(least) = least.filter(|least| least.bytes() < candidate.bytes()) {
                *least = candidate;
            }
        }
    }
}

const fn is_over(ended: Timestamp, now: Timestamp) -> bool {
    now.nanos_since(ended) > LATELY_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_grows_at_powers_of_two() {
        assert!(!has_grown(0, 65_535));
        assert!(has_grown(0, 65_536));
        assert!(!has_grown(65_536, 131_071));
        assert!(has_grown(131_071, 131_072));
        assert!(has_grown(5_000, 70_000));
        let steps: Vec<u64> = (0..1_000_000).map(|packet| packet * 1_500).collect();
        let grown = steps.windows(2).filter(|two| has_grown(two[0], two[1]));
        assert_eq!(grown.count(), 15, "of a million packets");
    }
}
