//! Flows and what is read of them.

use super::{Families, named, numbered, numbers};
use crate::metrics::{Counters, Snapshot};

pub(super) fn add(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let workers = &snapshot.workers;
    load(families, snapshot)?;
    let sum = |of: fn(&Counters) -> u64| workers.iter().map(of).sum::<u64>();
    families.count(
        "wirelynx_flows_created_total",
        "Flows seen",
        sum(|w| w.flows.created),
    )?;
    families.counts(
        "wirelynx_flows_ended_total",
        "Flows ended, by reason",
        "reason",
        named(workers, |worker| worker.flows.ended_named().to_vec()),
    )?;
    families.counts(
        "wirelynx_untracked_packets_total",
        "Packets that passed without a flow, by reason",
        "reason",
        named(workers, |worker| worker.flows.untracked_named().to_vec()),
    )?;
    families.count(
        "wirelynx_shunted_flows_total",
        "Flows of which further packets were only counted",
        sum(|w| w.flows.shunted_flows),
    )?;
    families.count(
        "wirelynx_shunted_packets_total",
        "Packets of these flows that applications and rules did not look at",
        sum(|w| w.flows.shunted_packets),
    )?;
    families.count(
        "wirelynx_shunted_bytes_total",
        "Bytes of the frames of these packets",
        sum(|w| w.flows.shunted_bytes),
    )?;
    families.counts(
        "wirelynx_applications_total",
        "What became of flows and messages in the application stage",
        "event",
        named(workers, |worker| worker.applications.named().to_vec()),
    )?;
    families.counts(
        "wirelynx_streams_total",
        "What became of segments in stream reassembly",
        "event",
        named(workers, |worker| worker.reassembly.named().to_vec()),
    )
}

/// How full tables are.
fn load(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let workers = &snapshot.workers;
    let count = u64::try_from(workers.len()).unwrap_or(u64::MAX);
    let sum = |of: fn(&Counters) -> u64| workers.iter().map(of).sum::<u64>();
    let bounds = &snapshot.bounds;
    families.level(
        "wirelynx_flows",
        "Flows in the table",
        sum(|worker| worker.flows.active),
    )?;
    families.level(
        "wirelynx_flows_max",
        "Flows for which the tables of all workers have room",
        bounds.flows.saturating_mul(count),
    )?;
    let names = numbers(workers.len());
    families.levels(
        "wirelynx_worker_flows",
        "Flows in the table of the worker",
        "worker",
        numbered(&names, workers.iter().map(|worker| worker.flows.active)),
    )?;
    families.levels(
        "wirelynx_worker_flows_max",
        "Flows for which the table of the worker has room",
        "worker",
        numbered(&names, workers.iter().map(|_| bounds.flows)),
    )?;
    families.level(
        "wirelynx_streams_followed",
        "Streams whose segments are put in order now",
        sum(|worker| worker.streams),
    )?;
    families.level(
        "wirelynx_streams_followed_max",
        "Streams that all workers can follow",
        bounds.streams.saturating_mul(count),
    )
}
