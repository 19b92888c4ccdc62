//! Are flows counted right? What is known of the flows of published captures is compared with what
//! other programs wrote down for the same captures: Zeek's connection logs, Arkime's sessions, and the
//! baseline of the Community ID specification.
//!
//! Which flows are not compared, and why, is in `docs/flows.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and prints what it compared"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::dissect::headers;
use wirelynx::flow::{FlowRecord, Flows, Settings, community_id};
use wirelynx::packet::{Facts, Timestamp};

/// Both ends of a flow and its protocol, the lower end first.
type Tuple = ((IpAddr, u16), (IpAddr, u16), u8);

fn tuple(a: (IpAddr, u16), b: (IpAddr, u16), protocol: u8) -> Tuple {
    (a.min(b), a.max(b), protocol)
}

/// All flows of a capture file, by tuple, in order of creation.
fn flows_of(path: &Path, settings: &Settings) -> BTreeMap<Tuple, Vec<FlowRecord>> {
    let mut capture = file::open(path.to_str().unwrap()).unwrap();
    let mut flows = Flows::new(settings, 1);
    let mut records: Vec<FlowRecord> = Vec::new();
    let mut latest = Timestamp::default();
    loop {
        let mut burst = Burst::new();
        if capture.receive(&mut burst).unwrap() == Progress::End {
            break;
        }
        let mut facts = vec![Facts::new(); burst.len()];
        for (frame, facts) in burst.iter().zip(&mut facts) {
            headers(frame, facts);
            latest = latest.max(frame.timestamp);
        }
        let ended = &mut |record: &FlowRecord| records.push(record.clone());
        flows.track(&burst, &mut facts, ended);
        flows.expire(latest, ended);
    }
    flows.drain(&mut |record| records.push(record.clone()));
    records.sort_by_key(|record| record.id);
    let mut by_tuple = BTreeMap::<Tuple, Vec<FlowRecord>>::new();
    for record in records {
        let key = tuple(record.source, record.destination, record.protocol);
        by_tuple.entry(key).or_default().push(record);
    }
    by_tuple
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

/// One line of Zeek's connection log, by field name.
type Row = BTreeMap<String, String>;

/// Zeek's own names of fields that some tests rename.
const RENAMED: [(&str, &str); 8] = [
    ("src", "id.orig_h"),
    ("src_ip", "id.orig_h"),
    ("src_port", "id.orig_p"),
    ("dst", "id.resp_h"),
    ("dst_ip", "id.resp_h"),
    ("dst_port", "id.resp_p"),
    ("dest_ip", "id.resp_h"),
    ("dest_port", "id.resp_p"),
];

fn zeek_rows(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with("###"));
    let mut names: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for line in &mut lines {
        let columns: Vec<&str> = line.split('\t').collect();
        if let Some(fields) = line.strip_prefix("#fields\t") {
            names = fields.split('\t').map(zeek_name).collect();
        } else if line.starts_with('#') || line.is_empty() {
            continue;
        } else if names.is_empty() {
            names = columns.iter().map(|name| zeek_name(name)).collect();
        } else {
            let values = columns.iter().map(|value| (*value).to_owned());
            rows.push(names.iter().cloned().zip(values).collect());
        }
    }
    rows
}

fn zeek_name(name: &str) -> String {
    let name = name
        .replace("id_orig", "id.orig")
        .replace("id_resp", "id.resp");
    let renamed = RENAMED.iter().find(|(theirs, _)| *theirs == name);
    renamed.map_or(name.clone(), |(_, ours)| (*ours).to_owned())
}

fn number(row: &Row, name: &str) -> Option<u64> {
    row.get(name)?.parse().ok()
}

fn zeek_end(row: &Row, address: &str, port: &str) -> Option<(IpAddr, u16)> {
    Some((
        row.get(address)?.parse().ok()?,
        row.get(port)?.parse().ok()?,
    ))
}

/// Zeek's own time-outs.
fn zeek_settings() -> Settings {
    Settings {
        flows_max: 4_096,
        tcp_half_open_s: 300,
        tcp_established_s: 300,
        tcp_closing_s: 300,
        udp_single_s: 60,
        udp_stream_s: 60,
        icmp_s: 60,
        ..Settings::default()
    }
}

#[test]
fn flows_are_those_of_zeek() {
    let Some(captures) = common::captures() else {
        println!("NOT RUN: the flows of 75 connection logs of Zeek: no captures");
        return;
    };
    let mut tally = Tally::default();
    for (capture, expectations) in manifest(&captures, "zeek/") {
        let logs: BTreeSet<_> = expectations
            .iter()
            .filter(|e| e.ends_with("/conn.log"))
            .collect();
        for log in logs {
            let flows = flows_of(&captures.join(&capture), &zeek_settings());
            compare_zeek(&mut tally, log, &zeek_rows(&captures.join(log)), flows);
        }
    }
    tally.print("zeek");
    for field in ["packets", "ip_bytes"] {
        tally.assert(field, 98, 100);
    }
}

fn compare_zeek(
    tally: &mut Tally,
    log: &str,
    rows: &[Row],
    mut flows: BTreeMap<Tuple, Vec<FlowRecord>>,
) {
    let name = log
        .trim_start_matches("zeek/Baseline/")
        .trim_end_matches("/conn.log");
    let parents: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.get("tunnel_parents"))
        .flat_map(|parents| parents.split(','))
        .collect();
    for row in rows {
        tally.rows += 1;
        let originator = zeek_end(row, "id.orig_h", "id.orig_p");
        let responder = zeek_end(row, "id.resp_h", "id.resp_p");
        let (Some(originator), Some(responder)) = (originator, responder) else {
            tally.exclude("the log lacks the tuple");
            continue;
        };
        let protocol = match row.get("proto").map(String::as_str) {
            Some("tcp") => 6,
            Some("udp") => 17,
            Some("icmp") if originator.0.is_ipv6() => 58,
            Some("icmp") => 1,
            _ => match number(row, "ip_proto") {
                Some(protocol) => u8::try_from(protocol).unwrap(),
                None => {
                    tally.exclude("the log lacks the protocol");
                    continue;
                }
            },
        };
        let pairs = |name: &str| {
            Some([
                number(row, &format!("orig_{name}"))?,
                number(row, &format!("resp_{name}"))?,
            ])
        };
        let (Some(packets), Some(ip_bytes)) = (pairs("pkts"), pairs("ip_bytes")) else {
            tally.exclude("the log lacks counters");
            continue;
        };
        let key = tuple(originator, responder, protocol);
        let candidates = flows.entry(key).or_default();
        let counted = |record: &FlowRecord| {
            let [a, b] = record.counters.map(|side| side.packets);
            if record.source == originator {
                [a, b]
            } else {
                [b, a]
            }
        };
        let place = candidates
            .iter()
            .position(|record| counted(record) == packets)
            .unwrap_or(0);
        if candidates.is_empty() {
            if row
                .get("uid")
                .is_some_and(|uid| parents.contains(uid.as_str()))
            {
                tally.exclude("the flow of a tunnel, which here is that of the packets in it");
            } else {
                println!("  {name}: no flow: {row:?}");
                tally.exclude("no such flow");
            }
            continue;
        }
        let record = candidates.remove(place);
        let place = format!("{name} {key:?}");
        let swapped = record.source != originator;
        let sides = |values: [u64; 2]| {
            let [a, b] = values;
            if swapped { [b, a] } else { [a, b] }
        };
        tally.compare(
            &place,
            "packets",
            &sides(record.counters.map(|s| s.packets)),
            &packets,
        );
        tally.compare(
            &place,
            "ip_bytes",
            &sides(record.counters.map(|s| s.ip_bytes)),
            &ip_bytes,
        );
        tally.compare(&place, "direction", &swapped, &false);
        if let Some(state) = row.get("conn_state") {
            tally.compare(&place, "state", &record.state, &state.as_str());
        }
        if let Some(history) = row.get("history")
            && history != "-"
        {
            tally.compare(
                &place,
                "history",
                &record.history.as_str(),
                &history.as_str(),
            );
        }
        if let Some(missed) = number(row, "missed_bytes") {
            let ours: u64 = record
                .tcp
                .map_or(0, |tcp| tcp.counters.map(|s| s.missed_bytes).iter().sum());
            tally.compare(&place, "missed_bytes", &ours, &missed);
        }
        if let Some(theirs) = row.get("community_id") {
            let ours = community_id(record.source, record.destination, protocol, 0);
            tally.compare(&place, "community_id", &ours.as_str(), &theirs.as_str());
        }
    }
}
