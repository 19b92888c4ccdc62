//! Counters as Prometheus text: names and types per the naming conventions, labels of few values.

use super::{Counters, Reloads, Snapshot};
use crate::packet::{DropReason, Stop};
use crate::worker::idle;
use prometheus::{CounterVec, Encoder, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use std::time::Duration;

/// The text of one scrape.
///
/// # Errors
/// The library refuses a name or a label: a fault of this table, which a test would show.
pub fn render(snapshot: &Snapshot) -> Result<String, prometheus::Error> {
    let families = Families {
        registry: Registry::new(),
    };
    packets(&families, snapshot)?;
    ports(&families, snapshot)?;
    flows(&families, &snapshot.workers)?;
    rules(&families, snapshot)?;
    reloads(&families, &snapshot.reloads)?;
    suppression(&families, snapshot)?;
    families.gauge(
        "wirelynx_build_info",
        "Version of the program; always 1",
        &["version", "revision"],
        &[(&[env!("CARGO_PKG_VERSION"), env!("WIRELYNX_REVISION")], 1)],
    )?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&families.registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Families {
    registry: Registry,
}

type Samples<'a> = [(&'a [&'a str], u64)];

impl Families {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        samples: &Samples<'_>,
    ) -> Result<(), prometheus::Error> {
        let family = IntCounterVec::new(Opts::new(name, help), labels)?;
        for (values, count) in samples {
            family.get_metric_with_label_values(values)?.inc_by(*count);
        }
        self.registry.register(Box::new(family))
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        samples: &Samples<'_>,
    ) -> Result<(), prometheus::Error> {
        let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
        for (values, number) in samples {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            family.get_metric_with_label_values(values)?.set(number);
        }
        self.registry.register(Box::new(family))
    }

    /// A counter without labels.
    fn count(&self, name: &str, help: &str, count: u64) -> Result<(), prometheus::Error> {
        self.counter(name, help, &[], &[(&[], count)])
    }

    /// A counter by one label.
    fn counts<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Result<(), prometheus::Error> {
        let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
        for (value, count) in samples {
            family.get_metric_with_label_values(&[value])?.inc_by(count);
        }
        self.registry.register(Box::new(family))
    }
}

fn packets(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    let account = snapshot.account();
    let sum = |of: fn(&Counters) -> u64| snapshot.workers.iter().map(of).sum::<u64>();
    families.count(
        "wirelynx_packets_received_total",
        "Packets that the capture gave, or could not give",
        account.received,
    )?;
    families.count(
        "wirelynx_received_bytes_total",
        "Captured bytes of the packets taken in",
        sum(|worker| worker.bytes),
    )?;
    families.count(
        "wirelynx_packets_passed_total",
        "Packets that went through every stage",
        account.passed,
    )?;
    let dropped = DropReason::ALL
        .iter()
        .map(|reason| reason.name())
        .zip(account.dropped);
    families.counts(
        "wirelynx_packets_dropped_total",
        "Packets that did not go through every stage, by reason",
        "reason",
        dropped,
    )?;
    families.counts(
        "wirelynx_packets_handed_over_total",
        "Packets that another worker got than that of their flow, and handed over to it, by reason",
        "reason",
        named(&snapshot.workers, |worker| {
            worker.handed_over.named().to_vec()
        }),
    )?;
    let stops = Stop::ALL.iter().enumerate().skip(1).map(|(index, stop)| {
        let count = |worker: &Counters| worker.stops.get(index).copied().unwrap_or(0);
        (stop.name(), snapshot.workers.iter().map(count).sum())
    });
    families.counts(
        "wirelynx_dissection_stops_total",
        "Packets whose headers could not be read to their end, by reason",
        "reason",
        stops,
    )?;
    let fragments = named(&snapshot.workers, |worker| {
        worker.fragments.named().to_vec()
    });
    families.counts(
        "wirelynx_fragments_total",
        "What became of IP fragments and datagrams",
        "event",
        fragments,
    )?;
    let dropped = snapshot.events_dropped;
    families.counts(
        "wirelynx_events_dropped_total",
        "Alerts and flow records lost because their output was too slow or failed, by output",
        "output",
        [("alerts", dropped.alerts), ("flows", dropped.flows)],
    )
}

fn ports(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
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

fn flows(families: &Families, workers: &[Counters]) -> Result<(), prometheus::Error> {
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
    families.gauge(
        "wirelynx_flows",
        "Flows in the table",
        &[],
        &[(&[], sum(|worker| worker.flows.active))],
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

fn rules(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
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
    let live = snapshot.places().map(|rules| rules.live).sum();
    families.gauge(
        "wirelynx_rule_instances",
        "Open attempts of all rules",
        &[],
        &[(&[], live)],
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
    let numbers = |count: usize| (0..count).map(|number| number.to_string()).collect();
    let workers: Vec<String> = numbers(snapshot.security.len());
    let processed = snapshot.security.iter().map(|worker| worker.processed);
    families.counts(
        "wirelynx_matches_processed_total",
        "Matches that the security worker has taken",
        "security_worker",
        workers.iter().map(String::as_str).zip(processed),
    )?;
    let workers: Vec<String> = numbers(snapshot.workers.len());
    let received = snapshot.workers.iter().map(|worker| worker.received);
    families.counts(
        "wirelynx_worker_packets_total",
        "Packets that the worker has taken",
        "worker",
        workers.iter().map(String::as_str).zip(received),
    )?;
    busy(families, snapshot)
}

/// How workers spend their time.
fn busy(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    for (name, help, of) in [
        (
            "wirelynx_worker_busy_seconds_total",
            "Time that the worker has spent on packets",
            (|idle| idle.total_ns.saturating_sub(idle.idle_ns)) as fn(&idle::Counters) -> u64,
        ),
        (
            "wirelynx_worker_seconds_total",
            "Time that the worker has run",
            |idle| idle.total_ns,
        ),
    ] {
        let family = CounterVec::new(Opts::new(name, help), &["worker"])?;
        for (number, idle) in snapshot.idle.iter().enumerate() {
            let seconds = Duration::from_nanos(of(idle)).as_secs_f64();
            let worker = family.get_metric_with_label_values(&[&number.to_string()])?;
            worker.inc_by(seconds);
        }
        families.registry.register(Box::new(family))?;
    }
    let [alerts, flows] = snapshot.events_written;
    families.counts(
        "wirelynx_events_written_total",
        "Alerts and flow records that reached their output, by output",
        "output",
        [("alerts", alerts), ("flows", flows)],
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

/// Sums of named counters over the workers, in the order of the first.
fn named(
    workers: &[Counters],
    of: impl Fn(&Counters) -> Vec<(&'static str, u64)>,
) -> Vec<(&'static str, u64)> {
    let mut sums: Vec<(&'static str, u64)> = Vec::new();
    for worker in workers {
        for (index, (name, count)) in of(worker).into_iter().enumerate() {
            match sums.get_mut(index) {
                Some((_, sum)) => *sum += count,
                None => sums.push((name, count)),
            }
        }
    }
    sums
}
