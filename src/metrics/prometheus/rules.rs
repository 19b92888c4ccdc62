//! Rules, their alerts and their reloads.

use super::{Families, numbered, numbers};
use crate::metrics::{Reloads, Snapshot};

pub(super) fn add(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    families.counts(
        "wirelynx_rule_matches_total",
        "Packets that could be an event of the rule",
        "rule",
        snapshot.of_places(|rules| &rules.matches),
    )?;
    families.counts(
        "wirelynx_alerts_total",
        "Alerts of the rule",
        "rule",
        snapshot.of_places(|rules| &rules.alerts),
    )?;
    families.counts(
        "wirelynx_rule_work_exceeded_total",
        "Packets whose evaluation ended early because it took too much work, by the rule at work",
        "rule",
        snapshot.of_places(|rules| &rules.exceeded),
    )?;
    matches(families, snapshot)?;
    families.counts(
        "wirelynx_rule_instances_evicted_total",
        "Attempts to match the rule given up because a bound was reached",
        "rule",
        snapshot.of_places(|rules| &rules.evicted),
    )?;
    loaded(families, snapshot)?;
    suppression(families, snapshot)?;
    reloads(families, &snapshot.reloads)
}

/// Rules that run, and their open attempts.
fn loaded(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    families.levels(
        "wirelynx_rule_instances",
        "Open attempts to match the rule",
        "rule",
        snapshot.of_places(|rules| &rules.instances),
    )?;
    let places = u64::try_from(snapshot.places().count()).unwrap_or(u64::MAX);
    families.level(
        "wirelynx_rule_instances_max",
        "Open attempts of all rules for which there is room, over all places where rules run",
        snapshot.bounds.instances.saturating_mul(places),
    )?;
    let loaded = u64::try_from(snapshot.rules.len()).unwrap_or(u64::MAX);
    families.gauge("wirelynx_rules", "Rules that run", &[], &[(&[], loaded)])?;
    families.gauge(
        "wirelynx_rule_files_skipped",
        "Rule files that were not loaded because of an error",
        &[],
        &[(&[], snapshot.files_skipped)],
    )
}

/// Matches on their way to security workers.
fn matches(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    families.counts(
        "wirelynx_rule_matches_sent_total",
        "Matches of the rule found for security workers, those that were dropped among them",
        "rule",
        snapshot.of_outboxes(|handed| &handed.sent),
    )?;
    families.counts(
        "wirelynx_rule_matches_dropped_total",
        "Matches of the rule lost because a security worker had no room for them",
        "rule",
        snapshot.of_outboxes(|handed| &handed.dropped),
    )?;
    let names = numbers(snapshot.security.len());
    families.counts(
        "wirelynx_matches_processed_total",
        "Matches that the security worker has taken",
        "security_worker",
        numbered(
            &names,
            snapshot.security.iter().map(|worker| worker.processed),
        ),
    )
}

fn suppression(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let counters = &snapshot.suppression;
    let of = |id: &str| counters.suppressed.get(&id.parse().ok()?).copied();
    let rules = snapshot.rules.iter();
    families.counts(
        "wirelynx_alerts_suppressed_total",
        "Alerts of the rule that were not written because of the limit",
        "rule",
        rules.map(|id| (id.as_str(), of(id).unwrap_or(0))),
    )?;
    families.count(
        "wirelynx_alert_summaries_total",
        "Summaries of suppressed alerts",
        counters.summaries,
    )?;
    families.count(
        "wirelynx_alert_periods_cut_total",
        "Periods of limited alerts that ended early because there were too many keys",
        counters.cut,
    )
}

fn reloads(families: &Families, reloads: &Reloads) -> Result<(), prometheus::Error> {
    families.gauge(
        "wirelynx_rules_generation",
        "Which rules run: 1 for those of the start, and 1 more for each reload",
        &[],
        &[(&[], reloads.generation)],
    )?;
    families.gauge(
        "wirelynx_rules_reload_timestamp_seconds",
        "When the rules that run were loaded, in seconds since 1970",
        &[],
        &[(&[], reloads.timestamp_seconds)],
    )?;
    families.level(
        "wirelynx_rules_last_reload_success",
        "1 if the latest reload brought new rules or there was none, 0 if it was refused",
        u64::from(!reloads.last_failed),
    )?;
    let results = [
        ("success", reloads.successes),
        ("failure", reloads.failures),
    ];
    families.counts(
        "wirelynx_rules_reloads_total",
        "Reloads of the rules, by result",
        "result",
        results,
    )?;
    families.count(
        "wirelynx_rule_instances_dropped_total",
        "Attempts to match a rule given up because a reload changed or removed it",
        reloads.instances_dropped,
    )
}
