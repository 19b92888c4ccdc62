//! Each scenario gives the alerts and flow records that are kept under `tests/golden/`.
//!
//! The program reads what the generator makes of `bench/scenarios/NAME.scenario`, with the rules of
//! `rules/`, and must write `tests/golden/NAME/alerts.jsonl` and `flows.jsonl`, to the byte. All
//! times in them are those of packets, which the scenario sets. The keys of hash tables are drawn
//! anew for each run: an output in which they showed would differ here.
//!
//! With `WIRELYNX_RENEW_GOLDEN=1` the files are written instead of compared: look at the difference
//! before you keep it.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Start of all random numbers of the generator.
const SEED: &str = "1";

/// A file with more flow records than this is kept as its beginning and a summary.
const RECORDS_MAX: usize = 300;

/// How many records such a beginning has.
const RECORDS_SHOWN: usize = 100;

/// Folders of `tests/golden/` that other tests own.
const OF_OTHERS: [&str; 2] = ["rules-check", "rules-explain"];

/// The scenario whose alerts are kept in the format of the published engine too: the one on which
/// every rule reports.
const COMPAT: &str = "demo";

/// The scenario whose alerts are also kept as a limit leaves them: one attack with many alerts.
const LIMITED: &str = "scans";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of all scenarios, in order.
fn scenarios() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("bench/scenarios")).unwrap();
    let names = entries.map(|entry| {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "scenario", "{path:?}");
        path.file_stem().unwrap().to_str().unwrap().to_owned()
    });
    names.collect()
}

/// Run a program from the root of the repository. It must end well and warn of nothing.
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .env_remove("WIRELYNX_LOG")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    assert_eq!(told, "", "{arguments:?}");
}

/// A capture of one scenario, in a folder that is removed in the end.
struct Place(TempDir);

impl Place {
    fn new(scenario: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let text = format!("bench/scenarios/{scenario}.scenario");
        let generate = [
            "generate",
            &text,
            "--seed",
            SEED,
            "-o",
            &place.name("capture"),
        ];
        run(env!("CARGO_BIN_EXE_wirelynx-traffic"), &generate);
        place
    }

    fn name(&self, file: &str) -> String {
        self.0.path().join(file).display().to_string()
    }

    /// What the program writes with these arguments: alerts and flow records.
    fn read(&self, arguments: &[&str]) -> [String; 2] {
        let (capture, alerts) = (self.name("capture"), self.name("alerts"));
        let flows = self.name("flows");
        let read = ["read", &capture, "--rules", "rules", "--strict"];
        let outputs = ["--alerts", &alerts, "--flows", &flows];
        let all = [&read[..], &outputs, arguments].concat();
        run(env!("CARGO_BIN_EXE_wirelynx"), &all);
        [alerts, flows].map(|file| fs::read_to_string(file).unwrap())
    }
}

/// Flow records as they are kept: all, or the first ones and a line about all of them.
fn shortened(flows: &str) -> String {
    let lines: Vec<&str> = flows.split_inclusive('\n').collect();
    if lines.len() <= RECORDS_MAX {
        return flows.to_owned();
    }
    let sum = |counter: &str| -> u64 {
        let of = |line: &&str| {
            let record: Value = serde_json::from_str(line).unwrap();
            let end = |end: &str| record["flow"][end][counter].as_u64().unwrap();
            end("originator") + end("responder")
        };
        lines.iter().map(of).sum()
    };
    let digest = Sha1::digest(flows.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let summary = json!({
        "records": lines.len(),
        "packets": sum("packets"),
        "bytes": sum("bytes"),
        "sha1": digest,
    });
    format!("{}{summary}\n", lines[..RECORDS_SHOWN].concat())
}

/// A line as a difference shows it.
fn shown(line: Option<&str>) -> String {
    match line.map(|line| (line, line.strip_suffix('\n'))) {
        Some((_, Some(line))) => line.to_owned(),
        Some((line, None)) => format!("{line} (without an end of line)"),
        None => "nothing".to_owned(),
    }
}

/// Where the first line differs, what is kept there and what was found.
fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    // With their ends, so that a last line without one differs too.
    let mut lines = [expected, found].map(|text| text.split_inclusive('\n'));
    for number in 1_usize.. {
        let [expected, found] = lines.each_mut().map(Iterator::next);
        if expected != found {
            let (expected, found) = (shown(expected), shown(found));
            return Some(format!(
                "line {number}\nexpected {expected}\nfound    {found}"
            ));
        }
    }
    None
}

/// Compare with a kept file, or write it; say what differs.
fn check(scenario: &str, name: &str, found: &str) -> Option<String> {
    let file: PathBuf = ["tests/golden", scenario, name].iter().collect();
    let path = root().join(&file);
    if std::env::var("WIRELYNX_RENEW_GOLDEN").is_ok_and(|value| value == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let place = file.display();
    let Ok(expected) = fs::read_to_string(&path) else {
        return Some(format!("{place} is missing"));
    };
    difference(&expected, found).map(|difference| format!("{place}, {difference}"))
}

fn report(differences: &[String]) {
    assert!(
        differences.is_empty(),
        "files that differ: {}\n{}\nIf the new lines are right: \
         WIRELYNX_RENEW_GOLDEN=1 cargo test --test golden",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn scenarios_give_what_is_kept() {
    let mut differences = Vec::new();
    for scenario in scenarios() {
        let [alerts, flows] = Place::new(&scenario).read(&[]);
        differences.extend(check(&scenario, "alerts.jsonl", &alerts));
        differences.extend(check(&scenario, "flows.jsonl", &shortened(&flows)));
    }
    report(&differences);
}

#[test]
fn compat_mode_gives_what_is_kept() {
    let compat = ["--compat", "mmt", "--alert-format", "mmt-csv"];
    let [alerts, _] = Place::new(COMPAT).read(&compat);
    let difference = check(COMPAT, "alerts.compat.csv", &alerts);
    report(difference.as_slice());
}

/// Of each key the first alert in a minute, and how many followed it.
#[test]
fn limited_alerts_are_what_is_kept() {
    let place = Place::new(LIMITED);
    let [limited, flows] = place.read(&["--alert-limit", "1/60s"]);
    let difference = check(LIMITED, "alerts.limited.jsonl", &limited);
    report(difference.as_slice());
    let [all, all_flows] = place.read(&[]);
    assert_eq!(flows, all_flows);
    let mut written = 0;
    let mut suppressed = 0;
    for line in limited.split_inclusive('\n') {
        let alert: Value = serde_json::from_str(line).unwrap();
        match alert["alert"]["suppressed"].as_u64() {
            Some(count) => suppressed += count,
            None => {
                assert!(all.contains(line), "{line}");
                written += 1;
            }
        }
    }
    let total = u64::try_from(all.lines().count()).unwrap();
    assert_eq!(written + suppressed, total);
    assert!(suppressed > total / 2, "{suppressed} of {total}");
    let [generous, _] = place.read(&["--alert-limit", "1000000/24h"]);
    assert_eq!(generous, all);
}

/// A scenario that is gone leaves no folder behind.
#[test]
fn every_folder_has_a_scenario() {
    let scenarios = scenarios();
    for entry in fs::read_dir(root().join("tests/golden")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            scenarios.contains(&name) || OF_OTHERS.contains(&name.as_str()),
            "tests/golden/{name} has no scenario: remove it"
        );
    }
}

#[test]
fn differences_are_found_and_shown() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    let differing = |expected, found| difference(expected, found).unwrap();
    assert_eq!(
        differing("a\nb\n", "a\nc\n"),
        "line 2\nexpected b\nfound    c"
    );
    assert_eq!(
        differing("a\n", "a\nb\n"),
        "line 2\nexpected nothing\nfound    b"
    );
    assert_eq!(
        differing("a\n", "a"),
        "line 1\nexpected a\nfound    a (without an end of line)"
    );

    let record = |port: u16| {
        let end = json!({"packets": 2, "bytes": 100});
        let flow = json!({"originator": end, "responder": end});
        format!("{}\n", json!({"src_port": port, "flow": flow}))
    };
    let records = |last: u16| (1..=300).chain([last]).map(record).collect::<String>();
    let (kept, other) = (shortened(&records(301)), shortened(&records(302)));
    assert_eq!(kept.lines().count(), 101);
    assert!(kept.starts_with(&(1..=100).map(record).collect::<String>()));
    let summary: Value = serde_json::from_str(kept.lines().last().unwrap()).unwrap();
    assert_eq!(summary["records"], 301);
    assert_eq!(
        (&summary["packets"], &summary["bytes"]),
        (&json!(1_204), &json!(60_200))
    );
    assert!(differing(&kept, &other).starts_with("line 101\n"));
}
