//! Everything there is to show at one moment, copied from wherever it is counted.

use super::machine::{Machine, Process};
use super::{Account, Counters};
use crate::capture::{self, rss};
use crate::output::limit;
use crate::output::queue::Dropped;
use crate::rules::{joins, outbox};
use crate::worker::{idle, security};

/// From packet to alert: see [`crate::output::latency`].
pub use prometheus::Histogram as Latency;

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
    /// Is the device there? When it is gone, its counters are the last ones read.
    pub is_present: bool,
    /// Can packets arrive?
    pub link_up: bool,
    /// Speed of the link in bytes a second; none while it is down or the driver does not know.
    pub link_bytes: Option<u64>,
    /// Receive buffers in use: in the descriptors of its queues, in bursts, at hand of workers.
    pub buffers_used: u64,
    /// Receive buffers in all.
    pub buffers: u64,
    /// Receive hashes of the first packets, compared with those expected.
    pub hashes: rss::Counts,
    /// Counters of the driver that tell of losses, by its own names for them.
    pub losses: Vec<(String, u64)>,
}

/// Counters of one receive queue.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Name of its port.
    pub port: String,
    /// Its number on the port, from 0.
    pub number: u16,
    /// Packets that a worker took out of it.
    pub received: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// Packets that it lost, where the driver counts these by queue.
    pub dropped: Option<u64>,
}

/// The rings that lead to one reader.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ring {
    /// What goes through them.
    pub ring: &'static str,
    /// Thread that reads them.
    pub to: String,
    /// Batches that wait in the fullest of them.
    pub waiting: u64,
    /// Batches for which each of them has room.
    pub capacity: u64,
}

/// What became of one output.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// What is written to it.
    pub name: &'static str,
    /// Writes that failed.
    pub errors: u64,
    /// How often it was opened again after that.
    pub reopened: u64,
    /// Does it take anything now?
    pub is_open: bool,
}

/// When a thread of the data path last said that it lives.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Progress {
    /// Name of the thread.
    pub thread: String,
    /// Seconds since the epoch.
    pub timestamp_seconds: f64,
}

/// Sizes of tables that do not change while the program runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Flows in the table of one worker.
    pub flows: u64,
    /// Streams that one worker follows.
    pub streams: u64,
    /// Open attempts at one place where rules run.
    pub instances: u64,
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
    /// Was the latest reload refused?
    pub last_failed: bool,
    /// Instances of changed and removed rules.
    pub instances_dropped: u64,
}

/// Everything there is to show at one moment.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Of each worker.
    pub workers: Vec<Counters>,
    /// Of each capture source.
    pub sources: Vec<capture::Counters>,
    /// Of each live port.
    pub ports: Vec<Port>,
    /// Of each receive queue.
    pub queues: Vec<Queue>,
    /// Difference between the time of packets and the system clock in nanoseconds, positive when
    /// ahead, by worker.
    pub clock_errors_ns: Vec<i64>,
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
    /// The same of security workers.
    pub security_idle: Vec<idle::Counters>,
    /// Threads of the data path.
    pub progress: Vec<Progress>,
    /// Rings between threads.
    pub rings: Vec<Ring>,
    /// Alerts and flow records that reached their output.
    pub events_written: [u64; 2],
    /// Events lost before their writer, or at it.
    pub events_dropped: Dropped,
    /// Where they go.
    pub outputs: Vec<Output>,
    /// From packet to alert, where it is measured.
    pub latency: Option<Latency>,
    /// Alerts that were limited.
    pub suppression: limit::Counters,
    /// Sizes of tables.
    pub bounds: Bounds,
    /// The process.
    pub process: Option<Process>,
    /// What the machine has for it.
    pub machine: Machine,
    /// Do packets go through all stages? See `/-/ready`.
    pub is_ready: bool,
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
