//! Where events go.

use super::Families;
use crate::metrics::{Output, Snapshot};

pub(super) fn add(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let dropped = snapshot.events_dropped;
    families.counts(
        "wirelynx_events_dropped_total",
        "Alerts and flow records lost because their output was too slow or failed, by output",
        "output",
        [("alerts", dropped.alerts), ("flows", dropped.flows)],
    )?;
    let [alerts, flows] = snapshot.events_written;
    families.counts(
        "wirelynx_events_written_total",
        "Alerts and flow records that reached their output, by output",
        "output",
        [("alerts", alerts), ("flows", flows)],
    )?;
    let of = |of: fn(&Output) -> u64| {
        let outputs = snapshot.outputs.iter();
        outputs.map(move |output| (output.name, of(output)))
    };
    families.counts(
        "wirelynx_output_errors_total",
        "Writes to the output that failed",
        "output",
        of(|output| output.errors),
    )?;
    families.counts(
        "wirelynx_output_reopened_total",
        "How often the output was opened again after it had failed",
        "output",
        of(|output| output.reopened),
    )?;
    families.levels(
        "wirelynx_output_up",
        "1 while the output takes what is written, 0 since it failed until it is open again",
        "output",
        of(|output| u64::from(output.is_open)),
    )?;
    match &snapshot.latency {
        Some(latency) => families.registry.register(Box::new(latency.clone())),
        None => Ok(()),
    }
}
