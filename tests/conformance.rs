//! The published engine's own check suite: for each trace with stored alerts, ours must be the
//! same.
//!
//! Compat mode: the same lines in the same order, from column 5 on, white space aside. Standard
//! mode: the same set of alerts, except for the differences that docs/rules.md lists.
#![allow(
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::expr::Mode;
use wirelynx::output::Event;
use wirelynx::output::alert::{self, Format};
use wirelynx::rules::RuleSet;
use wirelynx::rules::load::Loader;
use wirelynx::worker::{Scope, Settings, Worker};

/// Published files that need protocols which are not there yet.
const LATER: [&str; 5] = ["78.", "90.", "91.", "92.", "94."];

/// The published rule files and our own for the rules that were C code, by file name as MMT loads
/// them.
fn rule_files(captures: &Path) -> Vec<String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/rules");
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in [captures.join("mmt-security/rules"), own] {
        files.extend(
            std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    files.sort_by_key(|file| file.file_name().unwrap().to_owned());
    files
        .iter()
        .map(|file| file.display().to_string())
        .collect()
}

fn load(captures: &Path, mode: Mode) -> (Arc<RuleSet>, Vec<String>) {
    let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/lists");
    let read = Loader::new(mode, &[lists]).read(&rule_files(captures));
    let errors: Vec<String> = read
        .diagnostics
        .iter()
        .filter(|d| d.is_error())
        .map(|d| d.render(false))
        .collect();
    let (rules, failed) = RuleSet::new(read.properties, mode);
    assert!(failed.is_empty(), "{failed:?}");
    (Arc::new(rules), errors)
}

/// Alerts of a trace, from column 5 on, without white space.
fn alerts(trace: &Path, rules: &Arc<RuleSet>, mode: Mode) -> Vec<String> {
    let settings = Settings {
        http_compat: mode == Mode::Compat,
        ..common::small()
    };
    let mut worker = Worker::new(Arc::clone(rules), &settings, Scope::Rules);
    let mut source = file::open(trace.to_str().unwrap()).unwrap();
    let mut lines = Vec::new();
    let mut sink = |event: Event| {
        if let Event::Alert(alert) = event {
            let mut line = String::new();
            let program = &rules.programs[usize::try_from(alert.rule).unwrap()];
            alert::write(&mut line, Format::MmtCsv, program, &alert);
            lines.push(from_column_5(&line));
        }
    };
    loop {
        let mut burst = Burst::new();
        let received = source.receive(&mut burst).unwrap();
        worker.burst(burst, &mut sink);
        if received == Progress::End {
            break;
        }
    }
    worker.finish(&mut sink);
    lines
}

fn from_column_5(line: &str) -> String {
    let tail = line.splitn(5, ',').nth(4).unwrap_or(line);
    tail.chars().filter(|c| !c.is_whitespace()).collect()
}

fn expected(captures: &Path) -> BTreeMap<String, Vec<String>> {
    let folder = captures.join("mmt-security/check/expect");
    let mut traces = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(from_column_5).collect();
        traces.insert(
            path.file_stem().unwrap().to_str().unwrap().to_owned(),
            lines,
        );
    }
    traces
}

fn rule_of(line: &str) -> &str {
    line.split(',').next().unwrap_or(line)
}

#[test]
fn compat_mode_equals_the_published_alerts() {
    let Some(captures) = common::captures() else {
        println!("the 22 traces of the published check suite DID NOT RUN");
        return;
    };
    let (rules, errors) = load(&captures, Mode::Compat);
    let known: BTreeSet<String> = rules
        .programs
        .iter()
        .map(|program| program.property.id.to_string())
        .collect();
    let skipped: Vec<&str> = LATER
        .into_iter()
        .filter(|file| errors.iter().any(|e| e.contains(&format!("/{file}"))))
        .collect();
    assert_eq!(skipped, LATER, "{}", errors.join("\n"));
    let unknown = |error: &&String| !error.contains("unknown attribute");
    assert_eq!(errors.iter().find(unknown), None);
    let traces = expected(&captures);
    assert_eq!(traces.len(), 22);
    let (mut left_out, mut compared, mut wrong) = (0, 0, Vec::new());
    for (name, mut lines) in traces {
        let before = lines.len();
        lines.retain(|line| known.contains(rule_of(line)));
        left_out += before - lines.len();
        compared += lines.len();
        let trace = captures.join(format!("mmt-security/check/pcap/{name}.pcap"));
        let found = alerts(&trace, &rules, Mode::Compat);
        if found != lines {
            let first = found.iter().zip(&lines).position(|(a, b)| a != b);
            let place = first.unwrap_or_else(|| found.len().min(lines.len()));
            let at = |all: &[String]| all.get(place).cloned().unwrap_or_default();
            let (got, wanted) = (at(&found), at(&lines));
            let counts = (found.len(), lines.len());
            wrong.push(format!(
                "{name}: {counts:?}, line {place}:\n  {got}\n  {wanted}"
            ));
        }
    }
    println!("conformance: {compared} published lines compared, {left_out} left out");
    assert!(
        wrong.is_empty(),
        "{} traces differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Differences that docs/rules.md explains: trace, rule, alerts in the published file, alerts here.
const STANDARD_DIFFERS: &[(&str, &str, usize, usize)] = &[
    ("15.nikto", "15", 193, 195),
    ("32.botcc", "69", 4, 0),
    ("32.botcc", "70", 4, 0),
    ("37.WannaCry", "70", 1, 0),
];

#[test]
fn standard_mode_gives_the_published_alerts_but_for_what_is_documented() {
    let Some(captures) = common::captures() else {
        println!("the 22 traces of the published check suite DID NOT RUN");
        return;
    };
    let (rules, _) = load(&captures, Mode::Standard);
    let known: BTreeSet<String> = rules
        .programs
        .iter()
        .map(|program| program.property.id.to_string())
        .collect();
    let (mut same, mut wrong) = (0, Vec::new());
    for (name, lines) in expected(&captures) {
        let trace = captures.join(format!("mmt-security/check/pcap/{name}.pcap"));
        let found = alerts(&trace, &rules, Mode::Standard);
        for rule in &known {
            let of = |all: &[String]| -> Vec<String> {
                let mut some: Vec<String> = all
                    .iter()
                    .filter(|line| rule_of(line) == rule)
                    .cloned()
                    .collect();
                some.sort();
                some
            };
            let (here, published) = (of(&found), of(&lines));
            let listed = STANDARD_DIFFERS
                .iter()
                .find(|(n, r, ..)| *n == name && r == rule);
            match listed {
                None if here == published => same += here.len(),
                Some((.., before, after)) if (published.len(), here.len()) == (*before, *after) => {
                }
                _ => {
                    let new = here.iter().find(|line| !published.contains(line));
                    let gone = published.iter().find(|line| !here.contains(line));
                    wrong.push(format!(
                        "(\"{name}\", \"{rule}\", {}, {}),\n new: {new:?}\n gone: {gone:?}",
                        published.len(),
                        here.len()
                    ));
                }
            }
        }
    }
    println!("standard mode: {same} published alerts equal");
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
