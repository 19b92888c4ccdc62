//! Numbers out: what a worker counts, the account over it, and their Prometheus form.

pub mod http;
pub mod prometheus;
mod statistics;
pub mod token;

pub use statistics::{largest_flows, statistics};

use crate::dissect::application::stream;
use crate::flow::largest::{LARGEST_MAX, Large};
use crate::flow::{self, fragments, reassembly};
use crate::output::limit;
use crate::output::queue::Dropped;
use crate::packet::{DropReason, Frame, Stop, Timestamp};
use crate::rules::{joins, outbox};
use crate::worker::{handover, idle, security};
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
    /// The flows with most bytes, once the worker has finished.
    pub largest: ArrayVec<Large, LARGEST_MAX>,
    /// Applications.
    pub applications: stream::Counters,
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

/// Counters of one live port.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Port {
    /// PCI address or name of the virtual device.
    pub name: String,
    /// Packets received.
    pub received: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Packets the port had no room for.
    pub missed: u64,
    /// Packets for which no buffer was free.
    pub no_buffer: u64,
    /// Packets received in error.
    pub errors: u64,
}

/// Reloads of the rules.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reloads {
    /// Of the rules that run: 1 for those of the start, and 1 more for each reload.
    pub generation: u64,
    /// When they were loaded, in seconds since the epoch.
    pub timestamp_seconds: u64,
    /// Reloads that brought new rules.
    pub successes: u64,
    /// Reloads that were refused.
    pub failures: u64,
    /// Instances of changed and removed rules.
    pub instances_dropped: u64,
}

/// Everything there is to show at one moment.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Of each worker.
    pub workers: Vec<Counters>,
    /// Of each capture source.
    pub sources: Vec<crate::capture::Counters>,
    /// Of each live port.
    pub ports: Vec<Port>,
    /// Ids of the rules that run, in load order.
    pub rules: Vec<String>,
    /// How often they were changed.
    pub reloads: Reloads,
    /// Rule files skipped because of an error.
    pub files_skipped: u64,
    /// Of each security worker.
    pub security: Vec<security::Counters>,
    /// How workers spent their time.
    pub idle: Vec<idle::Counters>,
    /// Alerts and flow records that reached their output.
    pub events_written: [u64; 2],
    /// Events lost before their writer, or at it.
    pub events_dropped: Dropped,
    /// Alerts that were limited.
    pub suppression: limit::Counters,
}

impl Snapshot {
    /// What rules did, at each place where they run.
    pub fn places(&self) -> impl Iterator<Item = &joins::Counters> {
        let workers = self.workers.iter().map(|worker| &worker.rules);
        workers.chain(self.security.iter().map(|worker| &worker.rules))
    }

    /// A count of what rules did, over all places, by id of the rule.
    pub fn of_places(&self, of: fn(&joins::Counters) -> &Vec<u64>) -> Vec<(&str, u64)> {
        self.by_rule(|place| self.places().filter_map(|c| of(c).get(place)).sum())
    }

    /// A count of matches that workers have handed over, by id of the rule.
    pub fn of_outboxes(&self, of: fn(&outbox::Counters) -> &Vec<u64>) -> Vec<(&str, u64)> {
        let workers = || self.workers.iter().map(|worker| &worker.handed);
        self.by_rule(|place| workers().filter_map(|c| of(c).get(place)).sum())
    }

    fn by_rule(&self, count: impl Fn(usize) -> u64) -> Vec<(&str, u64)> {
        let ids = self.rules.iter().map(String::as_str).enumerate();
        ids.map(|(place, id)| (id, count(place))).collect()
    }

    /// The balance at this moment.
    pub fn account(&self) -> Account {
        Account::new(&self.sources, &self.workers)
    }
}
