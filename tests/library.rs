//! The rule library: each rule does what its cases say, has its description, and keeps quiet on
//! ordinary traffic.
//!
//! With `WIRELYNX_RENEW_GOLDEN=1` the captures beside the rules are made anew from their scenarios,
//! with `WIRELYNX_BLESS=1` the table of `rules/README.md`.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;
#[path = "common/generated.rs"]
mod generated;
#[path = "../bench/traffic/mod.rs"]
#[allow(dead_code, reason = "scenarios are all that this test generates")]
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use wirelynx::expr::Mode;
use wirelynx::rules::load;
use wirelynx::rules::property::Property;

/// Start of all random numbers of the generator.
const SEED: u64 = 1;

/// Largest capture of a case, in bytes: the library is to stay small.
const CAPTURE_MAX: usize = 10_000;

/// Scenarios without attacks, or with such as are listed: the rules that fire, and how often.
const BENIGN: [(&str, &[(u32, usize)]); 7] = [
    // Two hosts claim one address.
    ("arp", &[(1011, 2), (1601, 2)]),
    ("dns", &[]),
    ("http", &[]),
    // Six redirects in three seconds.
    ("icmp", &[(1012, 4)]),
    ("office", &[]),
    // Data on a SYN, and urgent data to a web server.
    ("tcp", &[(1031, 1), (1504, 1)]),
    ("tunnels", &[]),
];

/// What the comment at the top of a rule file says, each with its own line.
const TECHNIQUE: &str = "Technique";
const KEYS: [&str; 3] = [TECHNIQUE, "References", "False positives"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wirelynx"))
        .args(arguments)
        .current_dir(root())
        .env_remove("WIRELYNX_CAPTURES")
        .env_remove("WIRELYNX_LOG")
        .output()
        .unwrap()
}

/// A rule of the library.
struct Rule {
    theme: String,
    name: String,
    folder: PathBuf,
    property: Property,
    /// The comment at the top of its file.
    comment: String,
}

/// All rules, in the order of their folders.
fn library() -> Vec<Rule> {
    let mut rules = Vec::new();
    for file in load::collect(&[root().join("rules").display().to_string()]) {
        let place = file.display().to_string();
        let folder = file.parent().unwrap();
        assert!(file.ends_with("rule.xml"), "{place}: call it rule.xml");
        let result =
            load::Loader::new(Mode::Standard, &[root().join("rules/lists")]).read_file(&file);
        let found = result.diagnostics.first().map(ToString::to_string);
        assert_eq!(found, None, "{place}");
        let text = fs::read_to_string(&file).unwrap();
        let comment = text
            .strip_prefix("<!-- ")
            .and_then(|text| text.split_once(" -->\n"));
        let comment = comment.unwrap_or_else(|| panic!("{place}: begin with a comment"));
        let mut properties = result.properties;
        assert_eq!(properties.len(), 1, "{place}: one property a file");
        let part = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        rules.push(Rule {
            theme: part(folder.parent().unwrap()),
            name: part(folder),
            folder: folder.to_owned(),
            property: properties.remove(0),
            comment: comment.0.to_owned(),
        });
    }
    assert!(!rules.is_empty());
    rules
}

impl Rule {
    /// What the comment says behind `KEY:`, up to the next such line.
    fn says(&self, key: &str) -> String {
        let mut lines = self.comment.lines().map(str::trim);
        let first = lines.find_map(|line| line.strip_prefix(&format!("{key}: ")));
        let first = first.unwrap_or_else(|| panic!("{}: no line `{key}: `", self.folder.display()));
        let is_key = |line: &str| KEYS.iter().any(|key| line.starts_with(&format!("{key}: ")));
        let rest = lines.take_while(|line| !line.is_empty() && !is_key(line));
        std::iter::once(first)
            .chain(rest)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Files with this extension, without it.
    fn files(&self, extension: &str) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(&self.folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let paths = paths.filter(|path| path.extension().is_some_and(|e| e == extension));
        paths.map(|path| path.with_extension("")).collect()
    }
}

#[test]
fn every_rule_passes_its_cases() {
    let captures = common::captures().map(|folder| folder.display().to_string());
    let mut arguments = vec!["rules", "test", "rules"];
    if let Some(captures) = &captures {
        arguments.extend(["--captures", captures]);
    }
    let output = program(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let last: Vec<&str> = text.lines().filter(|line| line.contains(": ")).collect();
    println!("{}", last.join("\n"));
    assert_eq!(captures.is_none(), text.contains("NOT RUN"), "{text}");
}

/// A rule is worth what its cases show: one in which it fires, and one in which it does not.
#[test]
fn every_rule_has_both_kinds_of_cases() {
    for rule in library() {
        let line = format!("{} ", rule.property.id);
        let fires = |case: &PathBuf| {
            let text = fs::read_to_string(case.with_extension("alerts")).unwrap();
            text.lines().any(|alert| alert.starts_with(&line))
        };
        let (hits, misses): (Vec<_>, Vec<_>) = rule.files("alerts").into_iter().partition(fires);
        let place = rule.folder.display();
        assert!(!hits.is_empty(), "{place}: no case in which it fires");
        assert!(
            !misses.is_empty(),
            "{place}: no case in which it keeps quiet"
        );
    }
}

#[test]
fn captures_are_those_of_their_scenarios() {
    let renew = std::env::var("WIRELYNX_RENEW_GOLDEN").is_ok_and(|value| value == "1");
    let mut differing = Vec::new();
    for rule in library() {
        let scenarios = rule.files("scenario");
        for case in &scenarios {
            let name = case.display();
            let text = fs::read_to_string(case.with_extension("scenario")).unwrap();
            let frames = traffic::generate(&text, SEED).unwrap_or_else(|e| panic!("{name}: {e}"));
            let mut made = Vec::new();
            traffic::write_capture(&frames, &mut made).unwrap();
            assert!(made.len() <= CAPTURE_MAX, "{name}: {} bytes", made.len());
            let capture = case.with_extension("pcap");
            if renew {
                fs::write(&capture, &made).unwrap();
            }
            if fs::read(&capture).ok().as_deref() != Some(made.as_slice()) {
                differing.push(capture.display().to_string());
            }
        }
        assert_eq!(
            rule.files("pcap"),
            scenarios,
            "captures that have no scenario"
        );
    }
    assert!(
        differing.is_empty(),
        "not what the scenario beside it makes: {}\n\
         WIRELYNX_RENEW_GOLDEN=1 cargo test --test library; then wirelynx rules test rules",
        differing.join(", ")
    );
}

#[test]
fn every_rule_says_what_it_is_about() {
    let mut ids = BTreeMap::new();
    for rule in library() {
        let place = rule.folder.display().to_string();
        for key in KEYS {
            let text = rule.says(key);
            assert!(key == TECHNIQUE || text.len() > 3, "{place}: {key}: {text}");
        }
        let techniques = rule.says(TECHNIQUE);
        let is_technique = |word: &str| {
            let digits = word.strip_prefix('T').unwrap_or_default();
            let (main, sub) = digits.split_once('.').unwrap_or((digits, "000"));
            let all = |text: &str, count| {
                text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
            };
            all(main, 4) && all(sub, 3)
        };
        let known = techniques == "none" || techniques.split(", ").all(is_technique);
        assert!(
            known,
            "{place}: {techniques}: techniques as T1046 or T1110.001, or none"
        );
        assert!(!rule.property.description.is_empty(), "{place}");
        let other = ids.insert(rule.property.id, place.clone());
        assert_eq!(other, None, "{place}: id {} is taken", rule.property.id);
    }
}

/// Ordinary traffic gives no alerts, but for what is odd in it and listed.
#[test]
fn benign_scenarios_give_only_what_is_listed() {
    for (name, expected) in BENIGN {
        let scenario = root().join(format!("bench/scenarios/{name}.scenario"));
        let text = fs::read_to_string(scenario).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        traffic::write_capture(&traffic::generate(&text, SEED).unwrap(), &file).unwrap();
        let capture = file.path().display().to_string();
        let output = program(&["read", &capture, "--rules", "rules", "--strict"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{name}: {told}");
        let mut found: BTreeMap<u32, usize> = BTreeMap::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let alert: serde_json::Value = serde_json::from_str(line).unwrap();
            let id = u32::try_from(alert["alert"]["rule_id"].as_u64().unwrap()).unwrap();
            *found.entry(id).or_default() += 1;
        }
        let expected: BTreeMap<u32, usize> = expected.iter().copied().collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_readme_lists_every_rule() {
    let mut table = String::from("| id | rule | type | technique | what it reports |\n");
    table.push_str("|---|---|---|---|---|\n");
    for rule in library() {
        let Property {
            id,
            kind,
            description,
            ..
        } = &rule.property;
        let path = format!("{}/{}", rule.theme, rule.name);
        let technique = rule.says(TECHNIQUE);
        let description = description.replace('|', "\\|");
        let kind = kind.name();
        let link = format!("[{path}]({path}/rule.xml)");
        writeln!(
            table,
            "| {id} | {link} | {kind} | {technique} | {description} |"
        )
        .unwrap();
    }
    generated::check("rules/README.md", &table);
}
