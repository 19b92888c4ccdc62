//! Documents say what the program does: lists are generated from it, samples are its output, links
//! lead somewhere.
//!
//! With `WIRELYNX_BLESS` set, generated lists are written instead of compared.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

#[path = "common/generated.rs"]
mod generated;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wirelynx::metrics::machine::{HugePages, Machine, Process};
use wirelynx::metrics::{Counters, Output, Port, Progress, Queue, Ring, Snapshot, prometheus};
use wirelynx::output::latency;
use wirelynx::worker::{idle, security};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// One of everything, so that every metric has a sample.
fn snapshot() -> Snapshot {
    let mut worker = Counters::default();
    for counts in [
        &mut worker.rules.matches,
        &mut worker.rules.alerts,
        &mut worker.rules.evicted,
    ] {
        counts.push(0);
    }
    Snapshot {
        workers: vec![worker],
        ports: vec![Port {
            name: "p".to_owned(),
            link_bytes: Some(1),
            losses: vec![("rx_crc_errors".to_owned(), 0)],
            ..Port::default()
        }],
        queues: vec![Queue {
            dropped: Some(0),
            ..Queue::default()
        }],
        rings: ["alerts", "flows", "matches", "packets"].map(ring).to_vec(),
        outputs: ["alerts", "flows"].map(output).to_vec(),
        rules: vec!["1".to_owned()],
        idle: vec![idle::Counters::default()],
        security: vec![security::Counters::default()],
        security_idle: vec![idle::Counters::default()],
        clock_errors_ns: vec![0],
        sources: vec![wirelynx::capture::Counters::default()],
        progress: vec![Progress::default()],
        latency: Some(latency::histogram().unwrap()),
        process: Some(Process {
            max_fds: Some(1),
            ..Process::default()
        }),
        machine: Machine {
            huge_pages: vec![HugePages::default()],
            ..Machine::default()
        },
        ..Snapshot::default()
    }
}

fn ring(ring: &'static str) -> Ring {
    Ring {
        ring,
        ..Ring::default()
    }
}

fn output(name: &'static str) -> Output {
    Output {
        name,
        ..Output::default()
    }
}

/// Of one metric: type, help, values by label.
type Metric = (String, String, BTreeMap<String, Vec<String>>);

/// Metrics by name, from Prometheus text.
fn metrics(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            metrics.entry(name.to_owned()).or_default().1 = help.to_owned();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            metrics.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if let Some((name, rest)) = line.split_once('{') {
            let (labels, _) = rest.split_once('}').unwrap();
            for label in labels.split(',') {
                let (label, value) = label.split_once('=').unwrap();
                // The series of a histogram.
                let mut parts = ["_bucket", "_sum", "_count"].iter();
                let whole = parts.find_map(|part| name.strip_suffix(part));
                let whole = whole.filter(|whole| metrics.contains_key(*whole));
                let name = whole.unwrap_or(name);
                let values = &mut metrics.get_mut(name).unwrap().2;
                let values = values.entry(label.to_owned()).or_default();
                values.push(value.trim_matches('"').to_owned());
            }
        }
    }
    metrics
}

/// What a number of this metric counts or measures. The name of a metric tells it by its words.
fn unit(name: &str) -> &'static str {
    const STATES: [&str; 6] = ["up", "present", "ready", "success", "info", "generation"];
    const UNITS: [(&str, &str); 24] = [
        ("timestamp_seconds", "seconds since 1970"),
        ("time_seconds", "seconds since 1970"),
        ("speed_bytes", "bytes a second"),
        ("seconds", "seconds"),
        ("bytes", "bytes"),
        ("losses", "packets"),
        ("packets", "packets"),
        ("exceeded", "packets"),
        ("stops", "packets"),
        ("hashes", "packets"),
        ("batches", "batches"),
        ("buffers", "buffers"),
        ("rounds", "rounds"),
        ("flows", "flows"),
        ("streams_followed", "streams"),
        ("instances", "attempts"),
        ("matches", "matches"),
        ("periods", "periods"),
        ("summaries", "summaries"),
        ("alerts", "alerts"),
        ("reloads", "reloads"),
        ("threads", "threads"),
        ("fds", "descriptors"),
        ("files", "files"),
    ];
    // By event: datagrams, flows, messages, bytes, segments.
    const MIXED: [&str; 3] = ["fragments", "applications", "streams"];
    let bare = name.strip_suffix("_total").unwrap_or(name);
    let has = |word: &str| format!("_{bare}_").contains(&format!("_{word}_"));
    if let Some((_, unit)) = UNITS.iter().find(|(word, _)| has(word)) {
        return unit;
    }
    match bare.rsplit('_').next().unwrap() {
        last if STATES.contains(&last) => "-",
        last if MIXED.contains(&last) => "see `event`",
        "rules" => "rules",
        "written" | "dropped" => "events",
        "errors" => "writes",
        "reopened" => "times",
        last => panic!("{name}: {last} is no unit that is known here"),
    }
}

/// Labels whose values are few and fixed, and worth a list.
const LISTED: [&str; 6] = ["event", "output", "reason", "result", "ring", "state"];

#[test]
fn every_metric_is_documented() {
    let text = prometheus::render(&snapshot()).unwrap();
    let mut table = String::from("| metric | type | unit | meaning |\n|---|---|---|---|\n");
    for (name, (kind, help, labels)) in metrics(&text) {
        let is_ours = name.starts_with("wirelynx_") || name.starts_with("process_");
        assert!(is_ours, "{name}");
        assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        write!(table, "| `{name}` | {kind} | {} | {help}", unit(&name)).unwrap();
        for (label, mut values) in labels {
            values.dedup();
            match label.as_str() {
                "le" => {}
                label if LISTED.contains(&label) => {
                    write!(table, ". `{label}`: {}", values.join(", ")).unwrap();
                }
                _ => write!(table, ". By `{label}`").unwrap(),
            }
        }
        table.push_str(" |\n");
    }
    generated::check("docs/metrics.md", &table);
    for document in [
        "docs/monitoring.md",
        "docs/operations.md",
        "docs/outputs.md",
    ] {
        for word in words(&read(document)).filter(|word| word.starts_with("wirelynx_")) {
            let name = word.trim_end_matches('_');
            assert!(table.contains(&format!("`{name}`")), "{document}: {name}");
        }
    }
}

/// Does a counter of this name tell of something lost, cut short or given up?
fn tells_of_loss(name: &str) -> bool {
    const WORDS: [&str; 13] = [
        "cut",
        "dropped",
        "error_packets",
        "errors",
        "evicted",
        "exceeded",
        "losses",
        "missed",
        "no_buffer",
        "skipped",
        "stops",
        "suppressed",
        "untracked",
    ];
    WORDS
        .iter()
        .any(|word| format!("_{name}_").contains(&format!("_{word}_")))
}

/// Rows of the tables of a page: their cells.
fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

/// Whoever sees a counter of losses grow finds on one page what brings it about and what helps; and
/// so for every reason that it can have, and every alert.
#[test]
fn every_loss_has_its_cause_and_cure() {
    let text = prometheus::render(&snapshot()).unwrap();
    let mut expected: Vec<String> = Vec::new();
    for (name, (_, _, labels)) in metrics(&text) {
        if !tells_of_loss(&name) {
            continue;
        }
        match labels.get("reason") {
            Some(reasons) => {
                let of = |reason| format!("`{name}{{reason=\"{reason}\"}}`");
                expected.extend(reasons.iter().map(of));
            }
            None => expected.push(format!("`{name}`")),
        }
    }
    assert!(expected.len() > 25, "{expected:?}");
    let rules = read("monitoring/wirelynx.rules.yml");
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    expected.extend(alerts.map(|alert| format!("`{alert}`")));

    let page = read("docs/monitoring.md");
    for what in expected {
        let row = rows(&page).find(|cells| cells[0] == what);
        let row = row.unwrap_or_else(|| panic!("docs/monitoring.md has no row for {what}"));
        assert_eq!(row.len(), 3, "{what}");
        assert!(row[1..].iter().all(|cell| cell.len() > 5), "{what}");
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

fn wirelynx(arguments: &[&str]) -> String {
    run(env!("CARGO_BIN_EXE_wirelynx"), arguments)
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap() + &errors
}

#[test]
fn every_protocol_is_documented() {
    let list = wirelynx(&["protocols"]);
    generated::check("docs/protocols.md", &format!("```text\n{list}```\n"));
}

#[test]
fn every_check_is_documented() {
    let mut table = String::from("| id | looks at | because |\n|---|---|---|\n");
    for check in wirelynx::control::doctor::CHECKS {
        let (id, looks_at, why) = (check.id, check.looks_at, check.why);
        writeln!(table, "| `{id}` | {looks_at} | {why} |").unwrap();
    }
    generated::check("docs/doctor.md", &table);
}

/// Blocks of a document between fences of this kind.
fn blocks<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    let fence = format!("```{kind}\n");
    let pieces = text.split(fence.as_str()).skip(1);
    pieces
        .map(|piece| piece.split("```").next().unwrap())
        .collect()
}

/// Samples in documents are what the program makes of the demonstration.
#[test]
fn samples_are_real() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (capture, flows) = (file("demo.pcap"), file("flows.jsonl"));
    let scenario = "bench/scenarios/demo.scenario";
    let generator = env!("CARGO_BIN_EXE_wirelynx-traffic");
    let generated = run(generator, &["generate", scenario, "-o", &capture]);

    let read_demo = ["read", &capture, "--rules", "rules", "--flows", &flows];
    let alerts = wirelynx(&read_demo);
    let limited = wirelynx(&[&read_demo[..4], &["--alert-limit", "10/60s"]].concat());
    let summaries = limited
        .lines()
        .filter(|line| line.contains("\"suppressed\":"));
    let summaries: Vec<Value> = summaries
        .map(|s| serde_json::from_str(s).unwrap())
        .collect();
    let lines = alerts + &fs::read_to_string(&flows).unwrap();
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let outputs = read("docs/outputs.md");
    let samples = blocks(&outputs, "json");
    assert_eq!(samples.len(), 3, "an alert, a summary and a flow record");
    for sample in samples {
        let sample: Value = serde_json::from_str(sample).unwrap();
        let kind = &sample["event_type"];
        let shown = serde_json::to_string_pretty(&sample).unwrap();
        assert!(
            events.contains(&sample) || summaries.contains(&sample),
            "no such {kind} any more:\n{shown}"
        );
    }
    let csv = [&read_demo[..4], &["--alert-format", "mmt-csv"]].concat();
    let csv = wirelynx(&csv);
    assert!(csv.contains(blocks(&outputs, "text")[0]));

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events.iter().filter(|event| event["alert"].is_object()) {
        *counts
            .entry(event["alert"]["description"].as_str().unwrap())
            .or_default() += 1;
    }
    let mut expected = generated.replace(&capture, "demo.pcap");
    let readme = read("README.md");
    let console = blocks(&readme, "console");
    // As `sort -rn | head -4` has them.
    let mut counts: Vec<(usize, &str)> = counts.into_iter().map(|(d, count)| (count, d)).collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    for (count, description) in counts.into_iter().take(4) {
        writeln!(expected, "{count:>7} {description}").unwrap();
    }
    let answers = console[0].lines().filter(|line| !line.starts_with('$'));
    let answers: Vec<&str> = answers.collect();
    assert_eq!(answers.join("\n"), expected.trim_end(), "README.md");

    let stats = [&read_demo[..4], &["--alerts", "/dev/null", "--stats"]].concat();
    let stats = wirelynx(&stats);
    let operations = read("docs/operations.md");
    assert_eq!(
        blocks(&operations, "text")[0],
        stats,
        "docs/operations.md: the account"
    );
}

/// What the page for authors of rules shows is what the program prints, or a part of it; of times,
/// only that they are there.
#[test]
fn samples_for_rule_authors_are_real() {
    let page = read("docs/rule-tools.md");
    let samples = blocks(&page, "console");
    assert_eq!(samples.len(), 3);
    for sample in samples {
        let (command, shown) = sample.split_once('\n').unwrap();
        let words: Vec<&str> = command.split(' ').skip(2).collect();
        let output = wirelynx(&words);
        assert!(output.contains(shown), "{command} prints\n{output}");
    }
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("demo.pcap").display().to_string();
    let scenario = "bench/scenarios/demo.scenario";
    run(
        env!("CARGO_BIN_EXE_wirelynx-traffic"),
        &["generate", scenario, "-o", &capture],
    );
    let output = wirelynx(&["rules", "profile", &capture, "--rules", "rules/scans"]);
    // Lines without what a clock tells: two columns of ten, of which the second has a sign.
    let lines = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(without_times).collect();
        lines.sort_unstable();
        lines
    };
    let shown = blocks(&page, "text")[0].split_once('\n').unwrap().1;
    assert_eq!(lines(shown), lines(&output));
}

fn without_times(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.first().is_some_and(|id| id.parse::<u32>().is_ok()) && words.len() > 10 {
        true => [&words[..7], &words[10..]].concat().join(" "),
        false => words.join(" "),
    }
}

/// Every Markdown document of the repository.
fn documents() -> Vec<PathBuf> {
    let mut files = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    for folder in [
        "bench",
        "bench/pktgen",
        "docs",
        "hugepages",
        "rules",
        "rules/lists",
    ] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let target = document.parent().unwrap().join(path);
            let place = format!("{}: {link}", document.display());
            assert!(path.is_empty() || target.exists(), "{place}");
            if !anchor.is_empty() {
                let target = if path.is_empty() { &document } else { &target };
                let text = fs::read_to_string(target).unwrap().to_lowercase();
                let heading = format!("# {}\n", anchor.replace('-', " "));
                assert!(text.contains(&heading), "{place}: no such heading");
            }
        }
    }
}

/// The book has every page, once.
#[test]
fn the_summary_lists_every_page() {
    let summary = fs::read_to_string("docs/SUMMARY.md").unwrap();
    for document in documents() {
        let folder = document.parent().unwrap();
        let name = document.file_name().unwrap().to_string_lossy();
        if folder.ends_with("docs") && name != "SUMMARY.md" {
            let link = format!("]({name})");
            assert_eq!(summary.matches(&link).count(), 1, "SUMMARY.md: {name}");
        }
    }
}

/// Files that code, scripts and documents mention are there. Tests may make files of their own.
#[test]
fn files_that_are_mentioned_exist() {
    let mut files = documents();
    for folder in ["src", "ffi/src", "bench", "scripts", ".ci"] {
        collect(&root().join(folder), &mut files);
    }
    let mut missing = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        for word in text.split(|c: char| !is_part(c)) {
            let word = word.trim_end_matches('.');
            let of_repository = [
                "docs/",
                "src/",
                "scripts/",
                "rules/",
                "hugepages/",
                "bench/",
            ]
            .iter()
            .any(|folder| word.starts_with(folder));
            let is_document = word.len() > 3 && word.ends_with(".md");
            if !is_document && !of_repository {
                continue;
            }
            let beside = file.parent().unwrap().join(word);
            let places = [root().join(word), root().join("docs").join(word), beside];
            if !places.iter().any(|place| place.exists()) {
                missing.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
