//! Counters of the ports, for the control side: the data path never asks for them.

use crate::capture::rss::{Counts, Spread};
use dpdk_sys::{Port, Statistics};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the ports counted, at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct NicCounters {
    /// One entry per port, in the order of the settings.
    pub ports: Vec<PortCounters>,
    /// Difference between the time of frames and the system clock in nanoseconds, by worker.
    pub clock_errors_ns: Vec<i64>,
}

/// What one port counted since its start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PortCounters {
    /// Device, as its driver names it.
    pub device: String,
    /// Frames received.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that the port had no room for.
    pub missed: u64,
    /// Frames received damaged.
    pub errors: u64,
    /// Failures to find a free buffer.
    pub no_mbuf: u64,
    /// The same by queue; empty where the driver does not count so.
    pub queues: Vec<QueueCounters>,
    /// Receive hashes of the first frames, compared with those expected; see
    /// [`crate::capture::rss`].
    pub hashes: Counts,
    /// Free receive buffers.
    pub buffers_free: u32,
    /// Can frames arrive?
    pub link_up: bool,
    /// Speed of the link in megabits per second; `u32::MAX` when unknown.
    pub link_mbps: u32,
    /// Is the device there? When it is gone, the other counters are the last ones read.
    pub alive: bool,
}

/// What one queue counted.
pub use dpdk_sys::QueueStatistics as QueueCounters;

/// A handle to the ports for another thread.
///
/// A port closes when its queues and its monitors are gone: drop both to end live capture.
#[derive(Debug)]
pub struct Monitor {
    ports: Vec<Watched>,
    clock_errors: Vec<Arc<AtomicI64>>,
}

#[derive(Debug)]
struct Watched {
    port: Arc<Port>,
    spread: Arc<Spread>,
    /// For when the device is gone and its driver has no answer.
    last: Mutex<Statistics>,
}

impl Monitor {
    pub(super) fn new(
        ports: Vec<Arc<Port>>,
        spreads: &[Arc<Spread>],
        clock_errors: Vec<Arc<AtomicI64>>,
    ) -> Self {
        let watch = |(port, spread): (_, &Arc<Spread>)| Watched {
            port,
            spread: Arc::clone(spread),
            last: Mutex::new(Statistics::default()),
        };
        Self {
            ports: ports.into_iter().zip(spreads).map(watch).collect(),
            clock_errors,
        }
    }

    /// Read every port's counters. May take milliseconds: drivers ask their devices.
    pub fn snapshot(&self) -> NicCounters {
        let errors = self.clock_errors.iter();
        NicCounters {
            ports: self.ports.iter().map(Watched::counters).collect(),
            clock_errors_ns: errors.map(|error| error.load(Ordering::Relaxed)).collect(),
        }
    }

    /// Every counter of the driver of port `index`, by its own name; empty when it cannot say.
    pub fn extended(&self, index: usize) -> Vec<(String, u64)> {
        let port = self.ports.get(index).map(|watched| &watched.port);
        port.and_then(|port| port.extended_statistics().ok())
            .unwrap_or_default()
    }
}

impl Watched {
    fn counters(&self) -> PortCounters {
        let alive = self.port.is_alive();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if alive && let Ok(statistics) = self.port.statistics() {
            *last = statistics;
        }
        let link = if alive {
            self.port.link()
        } else {
            dpdk_sys::Link::default()
        };
        PortCounters {
            device: self.port.name().to_owned(),
            received: last.received,
            bytes: last.bytes,
            missed: last.missed,
            errors: last.errors,
            no_mbuf: last.no_buffer,
            queues: last.queues.clone(),
            hashes: self.spread.counts(),
            buffers_free: self.port.buffers_available(),
            link_up: link.up,
            link_mbps: link.mbps,
            alive,
        }
    }
}
