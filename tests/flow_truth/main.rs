//! Are flows counted right? What is known of the flows of published captures is compared with what
//! other programs wrote down for the same captures: Zeek's connection logs, Arkime's sessions, and
//! the baseline of the Community ID specification.
//!
//! Which flows are not compared, and why, is in `docs/flows.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and prints what it compared"
)]

mod arkime;
#[path = "../common/mod.rs"]
mod common;
mod found;
mod zeek;

use found::Found;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use wirelynx::flow::{Settings, community_id};

/// Both ends of a flow and its protocol, the lower end first.
type Tuple = ((IpAddr, u16), (IpAddr, u16), u8);

fn tuple(a: (IpAddr, u16), b: (IpAddr, u16), protocol: u8) -> Tuple {
    (a.min(b), a.max(b), protocol)
}

/// Captures of a folder and their expectation files, from the manifest.
fn manifest(captures: &Path, folder: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(captures.join("MANIFEST.tsv")).unwrap();
    text.lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|columns| columns[0].starts_with(folder))
        .map(|columns| {
            let expectations = columns[8].split(';').map(str::to_owned).collect();
            (columns[0].to_owned(), expectations)
        })
        .collect()
}

/// A table that is quick to make.
fn small() -> Settings {
    Settings {
        flows_max: 4_096,
        ..Settings::default()
    }
}

/// How many values of each field were compared, and how many were equal.
#[derive(Default)]
struct Tally {
    fields: BTreeMap<&'static str, (u32, u32)>,
    excluded: BTreeMap<&'static str, u32>,
    rows: u32,
}

impl Tally {
    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        place: &str,
        field: &'static str,
        ours: &T,
        theirs: &T,
    ) {
        let (equal, compared) = self.fields.entry(field).or_default();
        *compared += 1;
        if ours == theirs {
            *equal += 1;
        } else {
            println!("  {place}: {field}: {ours:?}, expected {theirs:?}");
        }
    }

    fn exclude(&mut self, class: &'static str) {
        *self.excluded.entry(class).or_default() += 1;
    }

    fn print(&self, source: &str) {
        println!("{source}: {} flows", self.rows);
        for (class, count) in &self.excluded {
            println!("  not compared: {class}: {count}");
        }
        for (field, (equal, compared)) in &self.fields {
            println!("  {field}: {equal} of {compared}");
        }
    }

    /// At least `floor` percent of the values of `field` are equal, and there are `least` or more.
    fn assert(&self, field: &str, floor: u32, least: u32) {
        let (equal, compared) = self.fields[field];
        assert!(compared >= least, "{field}: only {compared} compared");
        assert!(
            equal * 100 >= compared * floor,
            "{field}: {equal} of {compared}"
        );
    }
}

#[test]
fn community_ids_are_those_of_the_specification() {
    let Some(captures) = common::captures() else {
        println!("NOT RUN: the baseline of the Community ID specification: no captures");
        return;
    };
    let folder = captures.join("community-id-spec");
    let mut tally = Tally::default();
    let mut ours = BTreeSet::new();
    for (capture, _) in manifest(&captures, "community-id-spec/") {
        let found = Found::of(&captures.join(capture), &small());
        for record in found.flows.values().flatten() {
            for seed in [0, 1] {
                let id = community_id(record.source, record.destination, record.protocol, seed);
                ours.insert((seed, id.to_string()));
            }
        }
    }
    for (file, seed) in [("baseline_deflt.json", 0), ("baseline_seed1.json", 1)] {
        let text = std::fs::read(folder.join("baseline").join(file)).unwrap();
        let baseline: Value = serde_json::from_slice(&text).unwrap();
        for case in baseline.as_array().unwrap() {
            tally.rows += 1;
            let end = |address: &str, port: &str| -> (IpAddr, u16) {
                let port = u16::try_from(case[port].as_u64().unwrap_or(0)).unwrap();
                (case[address].as_str().unwrap().parse().unwrap(), port)
            };
            let protocol = u8::try_from(case["proto"].as_u64().unwrap()).unwrap();
            let theirs = case["communityid"].as_str().unwrap();
            let (source, destination) = (end("saddr", "sport"), end("daddr", "dport"));
            let id = community_id(source, destination, protocol, seed);
            let place = format!("{file} {case}");
            tally.compare(&place, "of the tuple", &id.as_str(), &theirs);
            let found = ours.contains(&(seed, theirs.to_owned()));
            tally.compare(&place, "of a flow", &found, &true);
        }
    }
    tally.print("community-id-spec");
    tally.assert("of the tuple", 100, 28);
    tally.assert("of a flow", 100, 28);
}
