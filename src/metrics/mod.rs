//! Numbers out: what a worker counts, the account over it, and their Prometheus form.

pub mod http;
mod largest;
pub mod machine;
pub mod pages;
pub mod prometheus;
mod snapshot;
mod statistics;
pub mod token;

pub use largest::largest_flows_json;
pub use snapshot::{Bounds, Latency, Output, Port, Progress, Queue, Reloads, Ring, Snapshot};
pub use statistics::{largest_flows, statistics};

use crate::dissect::application::stream;
use crate::flow::largest::{LARGEST_MAX, Large};
use crate::flow::{self, fragments, reassembly};
use crate::packet::{DropReason, Frame, Stop, Timestamp};
use crate::rules::{joins, outbox};
use crate::worker::handover;
use arrayvec::ArrayVec;

/// Everything one worker counts. Written by its worker alone; others read copies.
#[derive(Debug, Default, Clone)]
pub struct Counters {
    /// Frames taken in.
    pub received: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// Frames that went through every stage.
    pub passed: u64,
    /// Frames that did not, by reason.
    pub dropped: [u64; DropReason::ALL.len()],
    /// Frames by how their dissection ended.
    pub stops: [u64; Stop::ALL.len()],
    /// Latest packet time.
    pub latest: Timestamp,
    /// Number of the latest packet.
    pub number: u64,
    /// Defragmentation.
    pub fragments: fragments::Counters,
    /// Flow table.
    pub flows: flow::FlowCounters,
    /// The flows with most bytes, when they were last looked for; see
    /// [`crate::worker::Worker::note_largest`].
    pub largest: ArrayVec<Large, LARGEST_MAX>,
    /// Applications.
    pub applications: stream::Counters,
    /// Streams that are followed now.
    pub streams: u64,
    /// Stream reassembly.
    pub reassembly: reassembly::Counters,
    /// Rules, in load order.
    pub rules: joins::Counters,
    /// Matches handed over to security workers.
    pub handed: outbox::Counters,
    /// Packets handed over to the workers of their flows.
    pub handed_over: handover::Counters,
}

impl Counters {
    /// Count a frame in; its number.
    pub fn received(&mut self, frame: &Frame<'_>) -> u64 {
        self.received += 1;
        self.bytes += u64::try_from(frame.data.len()).unwrap_or(0);
        self.latest = self.latest.max(frame.timestamp).max(frame.clock);
        self.number = match frame.number {
            0 => self.received,
            number => number,
        };
        self.number
    }

    /// Note a frame that another worker has counted in, and handed over; its number.
    pub fn taken(&mut self, frame: &Frame<'_>) -> u64 {
        self.latest = self.latest.max(frame.timestamp).max(frame.clock);
        self.number = self.number.max(frame.number);
        frame.number
    }

    /// Count a frame out that is dropped.
    pub fn dropped(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Count how a dissection ended.
    pub fn stopped(&mut self, stop: Stop) {
        if let Some(count) = self.stops.get_mut(stop as usize) {
            *count += 1;
        }
    }
}

/// The balance of a run: nothing may be lost without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Frames that the capture sources gave or could not give.
    pub received: u64,
    /// Frames that went through.
    pub passed: u64,
    /// Frames dropped, by reason.
    pub dropped: [u64; DropReason::ALL.len()],
}

impl Account {
    /// From what the sources and the workers counted.
    pub fn new(sources: &[crate::capture::Counters], workers: &[Counters]) -> Self {
        let mut dropped = [0; DropReason::ALL.len()];
        let by_source = sources.iter().map(|source| &source.dropped);
        for counts in by_source
            .clone()
            .chain(workers.iter().map(|worker| &worker.dropped))
        {
            for (total, count) in dropped.iter_mut().zip(counts) {
                *total += count;
            }
        }
        let lost: u64 = by_source.flatten().sum();
        Self {
            received: sources.iter().map(|source| source.received).sum::<u64>() + lost,
            passed: workers.iter().map(|worker| worker.passed).sum(),
            dropped,
        }
    }

    /// `received = passed + sum of drops`?
    pub fn balances(&self) -> bool {
        self.received == self.passed + self.dropped.iter().sum::<u64>()
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "received {} = passed {}", self.received, self.passed)?;
        for (reason, count) in DropReason::ALL.iter().zip(self.dropped) {
            if count > 0 {
                write!(f, " + dropped {count} ({})", reason.name())?;
            }
        }
        write!(
            f,
            " ({})",
            if self.balances() {
                "balances"
            } else {
                "DOES NOT BALANCE"
            }
        )
    }
}
