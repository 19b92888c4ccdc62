//! What each page shows. A metric that is not there takes its line or column with it.

use super::grid::{Ask, Grid, Line, Of, Tone, clipped, scaled};
use super::text::Scrape;
use super::window::Window;
use std::collections::VecDeque;
use std::fmt::Write as _;

/// Rates of alerts that are remembered.
const ALERT_RATES_MAX: usize = 12;

/// Rows of a table on the first page.
const ROWS_FEW: usize = 8;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// A little of everything.
    Overview,
    /// Ports and their queues.
    Ports,
    /// Workers, security workers and rings.
    Workers,
    /// Everything lost, by reason.
    Losses,
    /// Rules and their alerts.
    Rules,
}

impl Page {
    /// In the order of their keys, from 1.
    pub const ALL: [Self; 5] = [
        Self::Overview,
        Self::Ports,
        Self::Workers,
        Self::Losses,
        Self::Rules,
    ];

    /// Its name in the top line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Ports => "ports",
            Self::Workers => "workers",
            Self::Losses => "losses",
            Self::Rules => "rules",
        }
    }

    /// The next one, and after the last the first.
    #[must_use]
    pub fn next(self) -> Self {
        let mut all = Self::ALL.iter().copied().cycle();
        all.find(|page| *page == self);
        all.next().unwrap_or(self)
    }
}

/// Latest alerts per second, the latest first.
#[derive(Debug, Default, Clone)]
pub struct AlertRates(VecDeque<f64>);

impl AlertRates {
    /// Note the rate of a further answer.
    pub fn note(&mut self, window: &Window) {
        if let Some(rate) = window.rate("wirelynx_alerts_total") {
            self.0.push_front(rate);
            self.0.truncate(ALERT_RATES_MAX);
        }
    }
}

const PORTS: Grid = Grid {
    title: "Ports",
    label: "port",
    columns: &[
        ("link", Of::State("wirelynx_port_link_up")),
        (
            "packets/s",
            Of::Rate("wirelynx_port_received_packets_total", 1.0),
        ),
        ("bit/s", Of::Rate("wirelynx_port_received_bytes_total", 8.0)),
        ("missed/s", Of::Loss("wirelynx_port_missed_packets_total")),
        (
            "no room/s",
            Of::Loss("wirelynx_port_no_buffer_packets_total"),
        ),
        ("errors/s", Of::Loss("wirelynx_port_error_packets_total")),
        (
            "buffers",
            Of::Fill("wirelynx_port_buffers", "wirelynx_port_buffers_max"),
        ),
    ],
};

const QUEUES: Grid = Grid {
    title: "Queues, of all ports",
    label: "queue",
    columns: &[
        (
            "packets/s",
            Of::Rate("wirelynx_queue_received_packets_total", 1.0),
        ),
        (
            "bit/s",
            Of::Rate("wirelynx_queue_received_bytes_total", 8.0),
        ),
        (
            "dropped/s",
            Of::Loss("wirelynx_queue_dropped_packets_total"),
        ),
    ],
};

const WORKERS: Grid = Grid {
    title: "Workers",
    label: "worker",
    columns: &[
        (
            "busy",
            Of::Share(
                "wirelynx_worker_busy_seconds_total",
                "wirelynx_worker_seconds_total",
            ),
        ),
        ("packets/s", Of::Rate("wirelynx_worker_packets_total", 1.0)),
        (
            "dropped/s",
            Of::Loss("wirelynx_worker_dropped_packets_total"),
        ),
        ("flows", Of::Value("wirelynx_worker_flows")),
        (
            "table",
            Of::Fill("wirelynx_worker_flows", "wirelynx_worker_flows_max"),
        ),
    ],
};

const SECURITY: Grid = Grid {
    title: "Security workers",
    label: "security_worker",
    columns: &[
        (
            "busy",
            Of::Share(
                "wirelynx_security_worker_busy_seconds_total",
                "wirelynx_security_worker_seconds_total",
            ),
        ),
        (
            "matches/s",
            Of::Rate("wirelynx_matches_processed_total", 1.0),
        ),
    ],
};

const RINGS: Grid = Grid {
    title: "Rings",
    label: "ring",
    columns: &[
        ("batches", Of::Value("wirelynx_ring_batches")),
        (
            "full",
            Of::Fill("wirelynx_ring_batches", "wirelynx_ring_batches_max"),
        ),
    ],
};

const RULES: Grid = Grid {
    title: "Rules",
    label: "rule",
    columns: &[
        ("matches/s", Of::Rate("wirelynx_rule_matches_total", 1.0)),
        ("alerts/s", Of::Rate("wirelynx_alerts_total", 1.0)),
        ("alerts", Of::Value("wirelynx_alerts_total")),
        ("limited", Of::Value("wirelynx_alerts_suppressed_total")),
        ("attempts", Of::Value("wirelynx_rule_instances")),
        (
            "evicted/s",
            Of::Loss("wirelynx_rule_instances_evicted_total"),
        ),
    ],
};

const OUTPUTS: Grid = Grid {
    title: "Outputs",
    label: "output",
    columns: &[
        ("state", Of::State("wirelynx_output_up")),
        ("written/s", Of::Rate("wirelynx_events_written_total", 1.0)),
        ("written", Of::Value("wirelynx_events_written_total")),
        ("dropped/s", Of::Loss("wirelynx_events_dropped_total")),
        ("errors/s", Of::Loss("wirelynx_output_errors_total")),
    ],
};

/// What can be lost: what it is called, the counter, and the label that says why or where.
const LOSSES: [(&str, &str, &str); 13] = [
    (
        "missed by port",
        "wirelynx_port_missed_packets_total",
        "port",
    ),
    (
        "no buffer at port",
        "wirelynx_port_no_buffer_packets_total",
        "port",
    ),
    (
        "received in error",
        "wirelynx_port_error_packets_total",
        "port",
    ),
    (
        "packets dropped",
        "wirelynx_packets_dropped_total",
        "reason",
    ),
    (
        "queue dropped",
        "wirelynx_queue_dropped_packets_total",
        "queue",
    ),
    ("events dropped", "wirelynx_events_dropped_total", "output"),
    ("output failed", "wirelynx_output_errors_total", "output"),
    (
        "matches dropped",
        "wirelynx_rule_matches_dropped_total",
        "rule",
    ),
    (
        "attempts evicted",
        "wirelynx_rule_instances_evicted_total",
        "rule",
    ),
    (
        "rule work exceeded",
        "wirelynx_rule_work_exceeded_total",
        "rule",
    ),
    (
        "untracked packets",
        "wirelynx_untracked_packets_total",
        "reason",
    ),
    (
        "alerts suppressed",
        "wirelynx_alerts_suppressed_total",
        "rule",
    ),
    (
        "headers cut short",
        "wirelynx_dissection_stops_total",
        "reason",
    ),
];

/// The losses that keep packets or events from being seen; the others are news of the traffic.
const SERIOUS: usize = 10;

/// The lines of a page on a terminal of this width. `sort` chooses a column of its tables.
pub fn lines(
    page: Page,
    window: &Window,
    alerts: &AlertRates,
    (sort, width): (usize, usize),
) -> Vec<Line> {
    let all = Ask {
        sort,
        rows_max: usize::MAX,
        width,
    };
    let few = Ask {
        rows_max: ROWS_FEW,
        ..all
    };
    let grids: Vec<Vec<Line>> = match page {
        Page::Overview => vec![
            totals(window, alerts),
            WORKERS.lines(window, few),
            PORTS.lines(window, few),
            OUTPUTS.lines(window, Ask { sort: 0, ..few }),
            losses(window, ROWS_FEW),
            // The loudest rules first.
            RULES.lines(window, Ask { sort: 2, ..few }),
        ],
        Page::Ports => vec![PORTS.lines(window, all), QUEUES.lines(window, all)],
        Page::Workers => vec![
            WORKERS.lines(window, all),
            SECURITY.lines(window, all),
            RINGS.lines(window, all),
        ],
        Page::Losses => vec![losses(window, usize::MAX)],
        Page::Rules => vec![reloads(window), RULES.lines(window, all)],
    };
    let mut lines = Vec::new();
    for grid in grids.into_iter().filter(|grid| !grid.is_empty()) {
        if !lines.is_empty() {
            lines.push(Line::new(Tone::Plain, ""));
        }
        lines.extend(grid);
    }
    if lines.is_empty() {
        let text = "The appliance shows nothing of this.";
        lines.push(Line::new(Tone::Plain, text));
    }
    lines
}

/// Name and version of the appliance.
pub fn build(scrape: &Scrape) -> String {
    let samples = scrape.samples("wirelynx_build_info");
    match samples.first() {
        Some(sample) => {
            let (version, revision) = (sample.label("version"), sample.label("revision"));
            let mut text = format!("wirelynx {version} ({revision})");
            // One of an earlier version does not tell.
            if !matches!(sample.label("dpdk"), "" | "none") {
                let _ = write!(text, ", DPDK {}", sample.label("dpdk"));
            }
            clipped(&text, 60)
        }
        None => "no wirelynx".to_owned(),
    }
}

/// Names with numbers, four to a line.
fn totals(window: &Window, alerts: &AlertRates) -> Vec<Line> {
    let rate = |name: &str, factor: f64| window.rate(name).map(|rate| rate * factor);
    let level = |name: &str| window.latest().sum(name);
    let numbers = [
        ("packets/s", rate("wirelynx_packets_received_total", 1.0)),
        ("passed/s", rate("wirelynx_packets_passed_total", 1.0)),
        ("dropped/s", rate("wirelynx_packets_dropped_total", 1.0)),
        ("bit/s", rate("wirelynx_received_bytes_total", 8.0)),
        ("flows", level("wirelynx_flows")),
        ("created/s", rate("wirelynx_flows_created_total", 1.0)),
        ("ended/s", rate("wirelynx_flows_ended_total", 1.0)),
        ("shunted/s", rate("wirelynx_shunted_packets_total", 1.0)),
        ("rules", level("wirelynx_rules")),
        ("matches/s", rate("wirelynx_rule_matches_total", 1.0)),
        ("attempts", level("wirelynx_rule_instances")),
        ("skipped files", level("wirelynx_rule_files_skipped")),
    ];
    let there: Vec<String> = numbers
        .iter()
        .filter_map(|(name, number)| Some(format!("{name} {}", scaled((*number)?))))
        .collect();
    let mut lines = Vec::new();
    for four in there.chunks(4) {
        let cells: Vec<String> = four.iter().map(|cell| format!("{cell:<19}")).collect();
        let text = format!("  {}", cells.concat().trim_end());
        lines.push(Line::new(Tone::Plain, text));
    }
    if !alerts.0.is_empty() {
        let rates: Vec<String> = alerts.0.iter().map(|rate| scaled(*rate)).collect();
        let text = format!("  alerts/s, latest first: {}", rates.join("  "));
        lines.push(Line::new(Tone::Plain, text));
    }
    if !lines.is_empty() {
        lines.insert(0, Line::new(Tone::Title, "Totals"));
    }
    lines
}

/// What was lost since the start, what is lost now first.
fn losses(window: &Window, rows_max: usize) -> Vec<Line> {
    let mut rows = Vec::new();
    let mut is_known = false;
    for (place, (name, metric, label)) in LOSSES.iter().enumerate() {
        let rates = window.rates(metric, label).unwrap_or_default();
        for (value, total) in window.latest().by(metric, label) {
            is_known = true;
            let rate = rates.get(value).copied().unwrap_or(0.0);
            if total > 0.0 {
                rows.push((place, *name, value, rate, total));
            }
        }
    }
    if !is_known {
        return Vec::new();
    }
    rows.sort_by(|one, other| {
        let is_now = |rate: f64| rate > 0.0;
        is_now(other.3)
            .cmp(&is_now(one.3))
            .then(one.0.cmp(&other.0))
            .then(other.4.total_cmp(&one.4))
    });
    let mut lines = vec![Line::new(Tone::Title, "Losses and limits")];
    if rows.is_empty() {
        lines.push(Line::new(Tone::Plain, "  none since the start"));
        return lines;
    }
    let head = format!(
        "  {:<20}{:<18}{:>10}{:>12}",
        "what", "why or where", "now/s", "since start"
    );
    lines.push(Line::new(Tone::Head, head));
    let hidden = rows.len().saturating_sub(rows_max);
    for (place, name, value, rate, total) in rows.into_iter().take(rows_max) {
        let is_bad = rate > 0.0 && place < SERIOUS;
        let tone = if is_bad { Tone::Bad } else { Tone::Plain };
        let (value, rate, total) = (clipped(value, 17), scaled(rate), scaled(total));
        lines.push(Line::new(
            tone,
            format!("  {name:<20}{value:<18}{rate:>10}{total:>12}"),
        ));
    }
    if hidden > 0 {
        let text = format!("  and {hidden} more: key 4");
        lines.push(Line::new(Tone::Plain, text));
    }
    lines
}

/// Which rules run.
fn reloads(window: &Window) -> Vec<Line> {
    let scrape = window.latest();
    let Some(generation) = scrape.sum("wirelynx_rules_generation") else {
        return Vec::new();
    };
    let rules = scrape
        .sum("wirelynx_rules")
        .map_or_else(String::new, |rules| format!("{} rules, ", scaled(rules)));
    let results = scrape.by("wirelynx_rules_reloads_total", "result");
    let failed = results.get("failure").copied().unwrap_or(0.0);
    let tone = if failed > 0.0 { Tone::Bad } else { Tone::Plain };
    let text = format!(
        "  {rules}generation {}; reloads refused: {}",
        scaled(generation),
        scaled(failed)
    );
    vec![Line::new(Tone::Title, "Rule set"), Line::new(tone, text)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Counters, Port, Snapshot, prometheus};
    use std::time::Duration;

    fn window(before: &str, now: &str) -> Window {
        let at = |seconds, text| (Duration::from_secs(seconds), Scrape::parse(text).unwrap());
        Window::new(Some(at(1, before)), at(3, now))
    }

    fn text(page: Page, window: &Window) -> String {
        let mut alerts = AlertRates::default();
        alerts.note(window);
        let lines = lines(page, window, &alerts, (0, 80));
        lines
            .iter()
            .map(|line| format!("{}\n", line.text))
            .collect()
    }

    #[test]
    fn what_the_program_itself_shows_is_understood() {
        let snapshot = |count: u64| {
            let mut worker = Counters {
                received: count,
                ..Counters::default()
            };
            worker.rules.alerts.push(count);
            worker.rules.matches.push(count);
            let port = Port {
                name: "0000:3b:00.0".to_owned(),
                received: count,
                missed: count,
                ..Port::default()
            };
            Snapshot {
                workers: vec![worker],
                ports: vec![port],
                rules: vec!["7".to_owned()],
                idle: vec![crate::worker::idle::Counters::default()],
                ..Snapshot::default()
            }
        };
        let render = |count| prometheus::render(&snapshot(count)).unwrap();
        let window = window(&render(0), &render(3_000));
        assert!(build(window.latest()).contains(env!("CARGO_PKG_VERSION")));
        let named =
            |dpdk| format!("wirelynx_build_info{{version=\"9.8\",revision=\"abc\"{dpdk}}} 1\n");
        for (dpdk, shown) in [
            (",dpdk=\"22.11.4\"", "wirelynx 9.8 (abc), DPDK 22.11.4"),
            (",dpdk=\"none\"", "wirelynx 9.8 (abc)"),
            ("", "wirelynx 9.8 (abc)"),
        ] {
            assert_eq!(build(&Scrape::parse(&named(dpdk)).unwrap()), shown);
        }
        let overview = text(Page::Overview, &window);
        assert!(
            overview.contains("alerts/s, latest first: 1.50 k\n"),
            "{overview}"
        );
        for page in [Page::Overview, Page::Ports] {
            let text = text(page, &window);
            assert!(text.contains("\n  0000:3b:00.0 "), "{text}");
        }
        let workers = text(Page::Workers, &window);
        assert!(workers.contains("packets/s"), "{workers}");
        let losses = text(Page::Losses, &window);
        assert!(
            losses.contains("missed by port      0000:3b:00.0          1.50 k      3.00 k"),
            "{losses}"
        );
        let rules = text(Page::Rules, &window);
        assert!(
            rules.contains("\n  7 ") && rules.contains("1.50 k"),
            "{rules}"
        );
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let nothing = window("", "other 1");
        for page in Page::ALL {
            assert_eq!(
                text(page, &nothing),
                "The appliance shows nothing of this.\n"
            );
        }
        let one = window("wirelynx_flows 1", "wirelynx_flows 2");
        assert_eq!(text(Page::Overview, &one), "Totals\n  flows 2\n");
        assert_eq!(build(one.latest()), "no wirelynx");
    }

    #[test]
    fn losses_of_now_come_first_and_are_bad() {
        let drop = |reason: &str, count: u32| {
            format!("wirelynx_packets_dropped_total{{reason=\"{reason}\"}} {count}\n")
        };
        let before = drop("empty", 9_000) + &drop("oversize", 1) + &drop("filtered", 0);
        let now = drop("empty", 9_000) + &drop("oversize", 3) + &drop("filtered", 0);
        let lines = losses(&window(&before, &now), 9);
        assert_eq!(lines.len(), 4, "what was never lost is not shown");
        assert!(lines[2].text.contains("oversize") && lines[2].tone == Tone::Bad);
        assert!(lines[3].text.contains("empty") && lines[3].tone == Tone::Plain);
        let quiet = losses(&window("", &drop("empty", 0)), 9);
        assert_eq!(quiet[1].text, "  none since the start");
    }

    #[test]
    fn pages_follow_one_another() {
        let mut page = Page::Overview;
        for expected in Page::ALL.into_iter().cycle().take(6) {
            assert_eq!(page, expected);
            page = page.next();
        }
    }
}
