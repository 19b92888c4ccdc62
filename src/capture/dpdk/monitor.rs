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
    /// Receive buffers in all.
    pub buffers: u32,
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

    /// Those of these counters that tell of packets lost on receipt, and that no other number here
    /// has: at most 32, and none by queue or priority.
    pub fn losses(&self, index: usize) -> Vec<(String, u64)> {
        let mut losses = self.extended(index);
        losses.retain(|(name, _)| is_loss(name));
        losses.truncate(LOSSES_MAX);
        losses
    }

    /// State of every link now, by device: can packets arrive?
    pub fn links(&self) -> impl Iterator<Item = (&str, bool)> {
        let ports = self.ports.iter().map(|watched| &watched.port);
        ports.map(|port| (port.name(), port.is_alive() && port.link().up))
    }
}

/// Counters of losses that are shown of one port: a driver may have any number.
const LOSSES_MAX: usize = 32;

/// What the library counts for every driver, and what [`PortCounters`] has.
const GENERIC: [&str; 3] = ["rx_missed_errors", "rx_errors", "rx_mbuf_allocation_errors"];

/// Is this the name of a driver's counter of packets lost on receipt? A name with a digit is of one
/// queue, priority or length.
fn is_loss(name: &str) -> bool {
    let tells_of_loss = ["err", "drop", "discard", "miss", "overflow"];
    (name.starts_with("rx_") || name.starts_with("mac_"))
        && !name.ends_with("_bytes")
        && tells_of_loss.iter().any(|part| name.contains(part))
        && !name.bytes().any(|byte| byte.is_ascii_digit())
        && !GENERIC.contains(&name)
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
            buffers: self.port.buffers(),
            link_up: link.up,
            link_mbps: link.mbps,
            alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_loss;

    /// Names of i40e, ixgbe and ice.
    #[test]
    fn losses_are_told_from_other_counters() {
        for loss in [
            "rx_crc_errors",
            "rx_dropped_packets",
            "rx_mac_short_dropped",
            "mac_local_errors",
            "rx_management_dropped",
            "rx_oversize_errors",
        ] {
            assert!(is_loss(loss), "{loss}");
        }
        for other in [
            "rx_good_packets",
            "rx_missed_errors",
            "rx_error_bytes",
            "rx_q0_errors",
            "rx_priority3_dropped",
            "tx_errors",
            "rx_size_64_packets",
        ] {
            assert!(!is_loss(other), "{other}");
        }
    }
}
