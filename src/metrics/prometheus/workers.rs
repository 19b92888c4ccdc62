//! Threads of the data path and the rings between them.

use super::given::{Counted, Given};
use super::{Families, numbered, numbers};
use crate::capture::waits::Waits;
use crate::metrics::{Counters, Snapshot};
use crate::worker::idle;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use std::time::Duration;

pub(super) fn add(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let names = numbers(snapshot.workers.len());
    families.counts(
        "wirelynx_worker_packets_total",
        "Packets that the worker has taken",
        "worker",
        numbered(
            &names,
            snapshot.workers.iter().map(|worker| worker.received),
        ),
    )?;
    let dropped = |worker: &Counters| worker.dropped.iter().sum();
    families.counts(
        "wirelynx_worker_dropped_packets_total",
        "Packets that the worker dropped, for whatever reason",
        "worker",
        numbered(&names, snapshot.workers.iter().map(dropped)),
    )?;
    families.spent(
        "wirelynx_worker_busy_seconds_total",
        "Time that the worker has spent on packets",
        "worker",
        numbered(&names, snapshot.idle.iter().map(busy)),
    )?;
    families.spent(
        "wirelynx_worker_seconds_total",
        "Time that the worker has run",
        "worker",
        numbered(&names, snapshot.idle.iter().map(total)),
    )?;
    rounds(families, snapshot)?;
    waits(families, snapshot)?;
    let names = numbers(snapshot.security_idle.len());
    families.spent(
        "wirelynx_security_worker_busy_seconds_total",
        "Time that the security worker has spent on matches",
        "security_worker",
        numbered(&names, snapshot.security_idle.iter().map(busy)),
    )?;
    families.spent(
        "wirelynx_security_worker_seconds_total",
        "Time that the security worker has run",
        "security_worker",
        numbered(&names, snapshot.security_idle.iter().map(total)),
    )?;
    let threads = snapshot.progress.iter();
    families.fractions(
        "wirelynx_thread_progress_timestamp_seconds",
        "When the thread of the data path last said that it lives, in seconds since 1970",
        "thread",
        threads.map(|one| (one.thread.as_str(), one.timestamp_seconds)),
    )?;
    rings(families, snapshot)
}

fn busy(idle: &idle::Counters) -> f64 {
    Duration::from_nanos(idle.total_ns.saturating_sub(idle.idle_ns)).as_secs_f64()
}

fn total(idle: &idle::Counters) -> f64 {
    Duration::from_nanos(idle.total_ns).as_secs_f64()
}

/// Rounds of the loops of workers, by what followed.
fn rounds(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let help =
        "Rounds of the loop of the worker: with packets (busy), or without, by what followed";
    let opts = Opts::new("wirelynx_worker_rounds_total", help);
    let family = IntCounterVec::new(opts, &["worker", "state"])?;
    for (number, idle) in snapshot.idle.iter().enumerate() {
        for (state, count) in [
            ("busy", idle.busy),
            ("polled", idle.polled),
            ("paused", idle.paused),
            ("slept", idle.slept),
        ] {
            let worker = number.to_string();
            let counter = family.get_metric_with_label_values(&[worker.as_str(), state])?;
            counter.inc_by(count);
        }
    }
    families.registry.register(Box::new(family))
}

/// How long packets may have waited before workers looked.
fn waits(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let seconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
    let counted = |(number, waits): (usize, &Waits)| Counted {
        value: number.to_string(),
        cumulative: waits
            .cumulative()
            .map(|(bound, count)| (seconds(bound), count))
            .collect(),
        count: waits.count(),
        sum: seconds(waits.nanos()),
    };
    let sources = snapshot.sources.iter().map(|source| &source.waits);
    families.registry.register(Box::new(Given::new(
        "wirelynx_receive_wait_seconds",
        "Longest that packets may have waited in a receive queue, and that their time may be late: \
         from the look that left nothing behind to the one that found them",
        "worker",
        sources.enumerate().map(counted),
    )?))
}

fn rings(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    for (name, help, of) in [
        (
            "wirelynx_ring_batches",
            "Batches that wait in the fullest of the rings that lead to the thread",
            (|ring| ring.waiting) as fn(&crate::metrics::Ring) -> u64,
        ),
        (
            "wirelynx_ring_batches_max",
            "Batches for which each of these rings has room",
            |ring| ring.capacity,
        ),
    ] {
        let family = IntGaugeVec::new(Opts::new(name, help), &["ring", "to"])?;
        for ring in &snapshot.rings {
            let number = i64::try_from(of(ring)).unwrap_or(i64::MAX);
            let gauge = family.get_metric_with_label_values(&[ring.ring, ring.to.as_str()])?;
            gauge.set(number);
        }
        families.registry.register(Box::new(family))?;
    }
    Ok(())
}
