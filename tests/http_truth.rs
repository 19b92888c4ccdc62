//! HTTP requests are those that tshark reads, over every published capture that has some.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;
#[path = "common/stages.rs"]
mod stages;

use stages::Stages;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use wirelynx::dissect::application::http;
use wirelynx::dissect::attribute::{AttributeId, Value, View};

/// Our attributes, and tshark's fields for them.
const FIELDS: [(&str, &str); 4] = [
    ("method", "http.request.method"),
    ("uri", "http.request.uri"),
    ("user_agent", "http.user_agent"),
    ("host", "http.host"),
];

/// Share of values that must be the same.
const FLOOR_PERCENT: usize = 98;

/// Link types that no dissector here reads.
const LINKS_UNREAD: [&str; 4] = ["ARCNET", "ARCNET_LINUX", "IEEE802_11_RADIOTAP", "NFLOG"];

/// Captures whose HTTP is inside what no dissector here reads: 802.11 in GRE, AYIYA, SOCKS, and
/// VXLAN with reserved bits set.
const TUNNELS_UNREAD: [&str; 6] = [
    "zeek/Traces/tunnels/gre-aruba.pcap",
    "zeek/Traces/tunnels/ayiya3.pcap",
    "mercury/unit_tests/pcaps/socks4_5.pcap",
    "arkime/socks-http-example.pcap",
    "arkime/socks-http-pass.pcap",
    "suricata-verify/vxlan-non-zero-reserved-fields/input.pcap",
];

/// Between the occurrences of a field: in no request.
const SEPARATOR: char = '\u{1f}';

/// How often each value of a field was sent by one end of a connection: (ends, attribute, value).
type Values = BTreeMap<(String, &'static str, String), usize>;

fn ours(path: &Path) -> Values {
    let mut values = Values::new();
    let mut note = |view: &View<'_>| {
        let request = view.message.filter(|message| message.kind == http::REQUEST);
        for (name, _) in request.iter().flat_map(|_| FIELDS) {
            let id = AttributeId::from_names("http", name).unwrap();
            // tshark prints a header line without a value as it prints none.
            if let Some(Value::Bytes(bytes @ [_, ..])) = view.extract(id) {
                let key = (ends(view), name, printable(&String::from_utf8_lossy(bytes)));
                *values.entry(key).or_default() += 1;
            }
        }
    };
    Stages::new().read(path, &mut note, &mut |_| {});
    values
}

/// Ports alone: tshark does not tell which of the addresses in a tunnel belong together.
fn ends(view: &View<'_>) -> String {
    format!("{} {}", view.facts.source_port, view.facts.destination_port)
}

/// What both print in the same way.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).collect()
}

fn theirs(path: &Path) -> Option<Values> {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(path);
    command.args(["-o", "tcp.reassemble_out_of_order:TRUE", "-2"]);
    command.args(["-Y", "tcp && http.request.method && !icmp", "-T", "fields"]);
    command.args(["-E", "occurrence=a", "-E", "separator=/t"]);
    command.args(["-E", &format!("aggregator={SEPARATOR}")]);
    command.args(["-e", "tcp.srcport", "-e", "tcp.dstport"]);
    for (_, field) in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.output().ok()?;
    let mut values = Values::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let last = |place: usize| columns[place].rsplit(SEPARATOR).next().unwrap().to_owned();
        let ends = format!("{} {}", last(0), last(1));
        for (place, (name, _)) in FIELDS.into_iter().enumerate() {
            for value in columns[2 + place]
                .split(SEPARATOR)
                .filter(|v| !v.is_empty())
            {
                let key = (ends.clone(), name, printable(value));
                *values.entry(key).or_default() += 1;
            }
        }
    }
    Some(values)
}

#[test]
fn requests_are_those_of_tshark() {
    let Some(folder) = common::captures() else {
        println!("DID NOT RUN: HTTP requests of some 160 captures against tshark");
        return;
    };
    if Command::new("tshark").arg("-v").output().is_err() {
        println!("DID NOT RUN: HTTP requests of some 160 captures: no tshark");
        assert!(std::env::var_os("CI").is_none(), "no tshark");
        return;
    }
    let verbose = std::env::var_os("HTTP_TRUTH_VERBOSE").is_some();
    let (mut compared, mut matched, mut extra, mut files) = (0, 0, 0, 0);
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    for line in manifest.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let of_http = columns[7].split(' ').any(|protocol| protocol == "http");
        if !of_http || LINKS_UNREAD.contains(&columns[6]) || TUNNELS_UNREAD.contains(&columns[0]) {
            continue;
        }
        let path = folder.join(columns[0]);
        let (ours, theirs) = (ours(&path), theirs(&path).unwrap());
        let streams: BTreeSet<&String> = theirs.keys().map(|(ends, ..)| ends).collect();
        let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        files += 1;
        for key in keys {
            let mine = ours.get(key).copied().unwrap_or(0);
            let other = theirs.get(key).copied().unwrap_or(0);
            if !streams.contains(&key.0) {
                extra += mine;
                continue;
            }
            compared += mine.max(other);
            matched += mine.min(other);
            if verbose && mine != other {
                println!("{}: {key:?}: {mine}, tshark {other}", columns[0]);
            }
        }
    }
    println!(
        "{files} captures: {matched} of {compared} values match; {extra} where tshark sees none"
    );
    assert!(
        matched * 100 >= compared * FLOOR_PERCENT,
        "{matched} of {compared}"
    );
    assert!(compared > 1_000, "{compared}");
}
