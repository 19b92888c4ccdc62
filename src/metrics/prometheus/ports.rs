//! Ports, their queues, and the clock of their packets.

use super::{Families, numbered, numbers};
use crate::metrics::{Port, Queue, Snapshot};
use prometheus::{IntCounterVec, Opts};

/// Nanoseconds of a second.
const NANOS: f64 = 1e9;

pub(super) fn add(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    counted(families, snapshot)?;
    by_port_and(
        families,
        ("wirelynx_port_losses_total", "counter"),
        "Packets lost by the port, by the driver's own names for the reasons",
        snapshot.ports.iter().flat_map(|port| {
            let losses = port.losses.iter();
            losses.map(|(counter, count)| (port.name.as_str(), counter.as_str(), *count))
        }),
    )?;
    by_port_and(
        families,
        ("wirelynx_port_hashes_total", "result"),
        "Receive hashes of the first packets of each queue, compared with those expected",
        snapshot.ports.iter().flat_map(|port| {
            let hashes = &port.hashes;
            let results = [
                ("agree", hashes.agree),
                ("differ", hashes.differ),
                ("no_hash", hashes.no_hash),
            ];
            results.map(|(result, count)| (port.name.as_str(), result, count))
        }),
    )?;
    links(families, snapshot)?;
    queues(families, snapshot)?;
    let names = numbers(snapshot.clock_errors_ns.len());
    families.fractions(
        "wirelynx_clock_error_seconds",
        "Time of packets less that of the system clock, as last compared by the worker",
        "worker",
        numbered(
            &names,
            snapshot.clock_errors_ns.iter().map(|error| seconds(*error)),
        ),
    )
}

#[allow(
    clippy::cast_precision_loss,
    reason = "an error of a clock of over 2^53 nanoseconds is right to 15 digits"
)]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / NANOS
}

fn counted(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let all = [
        (
            "wirelynx_port_received_packets_total",
            "Packets the port received",
            0,
        ),
        (
            "wirelynx_port_received_bytes_total",
            "Bytes the port received",
            1,
        ),
        (
            "wirelynx_port_missed_packets_total",
            "Packets the port had no room for",
            2,
        ),
        (
            "wirelynx_port_no_buffer_packets_total",
            "Packets for which no buffer was free",
            3,
        ),
        (
            "wirelynx_port_error_packets_total",
            "Packets the port received in error",
            4,
        ),
    ];
    for (name, help, index) in all {
        let samples = snapshot.ports.iter().map(|port| {
            let values = [
                port.received,
                port.bytes,
                port.missed,
                port.no_buffer,
                port.errors,
            ];
            (port.name.as_str(), values.get(index).copied().unwrap_or(0))
        });
        families.counts(name, help, "port", samples)?;
    }
    Ok(())
}

/// State of ports.
fn links(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let of = |of: fn(&Port) -> u64| {
        let ports = snapshot.ports.iter();
        ports.map(move |port| (port.name.as_str(), of(port)))
    };
    families.levels(
        "wirelynx_port_present",
        "1 while the device is there, 0 when it is gone",
        "port",
        of(|port| u64::from(port.is_present)),
    )?;
    families.levels(
        "wirelynx_port_link_up",
        "1 while the link is up, else 0",
        "port",
        of(|port| u64::from(port.link_up)),
    )?;
    let speeds = snapshot.ports.iter();
    families.levels(
        "wirelynx_port_speed_bytes",
        "Speed of the link in bytes a second, where the driver knows it",
        "port",
        speeds.filter_map(|port| Some((port.name.as_str(), port.link_bytes?))),
    )?;
    families.levels(
        "wirelynx_port_buffers",
        "Receive buffers in use: in descriptors, in bursts, and at hand of workers",
        "port",
        of(|port| port.buffers_used),
    )?;
    families.levels(
        "wirelynx_port_buffers_max",
        "Receive buffers in the pool of the port",
        "port",
        of(|port| port.buffers),
    )
}

fn queues(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    for (name, help, of) in [
        (
            "wirelynx_queue_received_packets_total",
            "Packets that a worker took out of the receive queue",
            (|queue| Some(queue.received)) as fn(&Queue) -> Option<u64>,
        ),
        (
            "wirelynx_queue_received_bytes_total",
            "Captured bytes of these packets",
            |queue| Some(queue.bytes),
        ),
        (
            "wirelynx_queue_dropped_packets_total",
            "Packets that the receive queue lost, where the driver counts them by queue",
            |queue| queue.dropped,
        ),
    ] {
        let family = IntCounterVec::new(Opts::new(name, help), &["port", "queue"])?;
        for queue in &snapshot.queues {
            let number = queue.number.to_string();
            if let Some(count) = of(queue) {
                let labels = [queue.port.as_str(), number.as_str()];
                family.get_metric_with_label_values(&labels)?.inc_by(count);
            }
        }
        families.registry.register(Box::new(family))?;
    }
    Ok(())
}

/// A counter by port and another label.
fn by_port_and<'a>(
    families: &Families,
    (name, label): (&str, &str),
    help: &str,
    samples: impl Iterator<Item = (&'a str, &'a str, u64)>,
) -> Result<(), prometheus::Error> {
    let family = IntCounterVec::new(Opts::new(name, help), &["port", label])?;
    for (port, value, count) in samples {
        let counter = family.get_metric_with_label_values(&[port, value])?;
        counter.inc_by(count);
    }
    families.registry.register(Box::new(family))
}
