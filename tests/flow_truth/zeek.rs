//! Zeek's connection logs.

use crate::found::{Found, applications};
use crate::{Tally, common, manifest, small, tuple};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use wirelynx::flow::{Counters, FlowRecord, Settings, community_id};

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
    renamed.map_or_else(|| name.clone(), |(_, ours)| (*ours).to_owned())
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
        tcp_half_open_s: 300,
        tcp_established_s: 300,
        tcp_closing_s: 300,
        udp_single_s: 60,
        udp_stream_s: 60,
        icmp_s: 60,
        ..small()
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
            let path = captures.join(&capture);
            let mut found = Found::of(&path, &zeek_settings());
            found.applications = applications(&path, &zeek_settings());
            compare_zeek(&mut tally, log, &zeek_rows(&captures.join(log)), found);
        }
    }
    tally.print("zeek");
    for (field, floor) in [
        ("found", 98),
        ("packets", 98),
        ("ip_bytes", 98),
        ("state", 98),
    ] {
        tally.assert(field, floor, 200);
    }
    tally.assert("history", 95, 200);
    tally.assert("service", 90, 18);
}

/// Tests of Zeek that change what it counts, and what they change.
const ZEEK_DIFFERENT: [(&str, &str); 4] = [
    (
        "scripts.base.frameworks.netcontrol.packetfilter",
        "the test filters packets out",
    ),
    (
        "scripts.base.protocols.ftp.gridftp",
        "the test stops following bulk data",
    ),
    ("core.tunnels.ayiya", AYIYA),
    ("core.tunnels.ayiya-large-identity", AYIYA),
];
const AYIYA: &str = "AYIYA, a tunnel that is not dissected";

fn compare_zeek(tally: &mut Tally, log: &str, rows: &[Row], mut found: Found) {
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
        let theirs = match ZeekFlow::new(row) {
            Ok(theirs) => theirs,
            Err(class) => {
                tally.exclude(class);
                continue;
            }
        };
        if let Some((_, class)) = ZEEK_DIFFERENT.iter().find(|(test, _)| *test == name) {
            tally.exclude(class);
            continue;
        }
        let (a, b) = (theirs.originator.0, theirs.responder.0);
        let is_outer = found.outer.contains(&(a.min(b), a.max(b)));
        let key = tuple(theirs.originator, theirs.responder, theirs.protocol);
        let candidates = found.flows.entry(key).or_default();
        let is_parent = row
            .get("uid")
            .is_some_and(|uid| parents.contains(uid.as_str()));
        if candidates.is_empty() && (is_outer || is_parent) {
            tally.exclude("the flow of a tunnel, which here is that of the packets in it");
            continue;
        }
        let place = format!("{name} {key:?}");
        tally.compare(&place, "found", &!candidates.is_empty(), &true);
        let best = candidates
            .iter()
            .position(|record| theirs.sides(record, |side| side.packets) == theirs.packets);
        if candidates.is_empty() {
            continue;
        }
        let record = candidates.remove(best.unwrap_or(0));
        if found.bad_checksum.contains(&record.id) {
            tally.exclude("packets with wrong checksums, which Zeek leaves out");
            continue;
        }
        let application = found.applications.get(&record.id).copied();
        theirs.compare_service(tally, &place, application.unwrap_or_default());
        theirs.compare(
            tally,
            &place,
            &record,
            !found.no_length.contains(&record.id),
        );
    }
}

/// What Zeek calls a service and is a tunnel here.
const TUNNELS: [&str; 5] = ["ayiya", "geneve", "gtpv1", "teredo", "vxlan"];

/// One line of Zeek's log.
struct ZeekFlow<'a> {
    row: &'a Row,
    originator: (IpAddr, u16),
    responder: (IpAddr, u16),
    protocol: u8,
    packets: [u64; 2],
    ip_bytes: [u64; 2],
}

impl<'a> ZeekFlow<'a> {
    /// As far as the log has it all; else what it lacks.
    fn new(row: &'a Row) -> Result<Self, &'static str> {
        let originator = zeek_end(row, "id.orig_h", "id.orig_p");
        let responder = zeek_end(row, "id.resp_h", "id.resp_p");
        let (Some(originator), Some(responder)) = (originator, responder) else {
            return Err("the log lacks the tuple");
        };
        let protocol = match row.get("proto").map(String::as_str) {
            Some("tcp") => 6,
            Some("udp") => 17,
            Some("icmp") if originator.0.is_ipv6() => 58,
            Some("icmp") => 1,
            _ => match number(row, "ip_proto") {
                Some(protocol) => u8::try_from(protocol).unwrap(),
                None => return Err("the log lacks the protocol"),
            },
        };
        let pairs = |name: &str| {
            Some([
                number(row, &format!("orig_{name}"))?,
                number(row, &format!("resp_{name}"))?,
            ])
        };
        let (Some(packets), Some(ip_bytes)) = (pairs("pkts"), pairs("ip_bytes")) else {
            return Err("the log lacks counters");
        };
        Ok(Self {
            row,
            originator,
            responder,
            protocol,
            packets,
            ip_bytes,
        })
    }

    /// Zeek may have turned the flow round later: our counters, in its direction.
    fn sides(&self, record: &FlowRecord, counter: impl Fn(&Counters) -> u64) -> [u64; 2] {
        let [a, b] = record.counters.each_ref().map(counter);
        if record.source == self.originator {
            [a, b]
        } else {
            [b, a]
        }
    }

    /// Zeek may name several, one after the other; the first bytes of a flow decide here.
    fn compare_service(&self, tally: &mut Tally, place: &str, ours: &str) {
        let theirs: Vec<&str> = match self.row.get("service").map(String::as_str) {
            None | Some("-" | "") => return,
            Some(names) => names.split(',').collect(),
        };
        if theirs.iter().any(|name| TUNNELS.contains(name)) {
            return tally.exclude("(service only) the name of a tunnel");
        }
        let equal = if theirs.contains(&ours) {
            ours
        } else {
            theirs[0]
        };
        tally.compare(place, "service", &ours, &equal);
    }

    fn compare(&self, tally: &mut Tally, place: &str, record: &FlowRecord, with_bytes: bool) {
        let packets = self.sides(record, |side| side.packets);
        tally.compare(place, "packets", &packets, &self.packets);
        if with_bytes {
            let bytes = self.sides(record, |side| side.ip_bytes);
            tally.compare(place, "ip_bytes", &bytes, &self.ip_bytes);
        } else {
            tally.exclude("(bytes only) an IP length of 0, which Zeek takes for no bytes");
        }
        tally.compare(place, "direction", &record.source, &self.originator);
        if record.source != self.originator {
            tally.exclude("(state, history) turned round by Zeek's list of server ports");
            return;
        }
        if let Some(state) = self.row.get("conn_state") {
            tally.compare(place, "state", &record.state, &state.as_str());
        }
        if let Some(history) = self.row.get("history")
            && history != "-"
        {
            tally.compare(
                place,
                "history",
                &record.history.as_str(),
                &history.as_str(),
            );
        }
        if let Some(missed) = number(self.row, "missed_bytes") {
            let sides = record
                .tcp
                .map(|tcp| tcp.counters.map(|side| side.missed_bytes));
            let ours: u64 = sides.unwrap_or_default().iter().sum();
            tally.compare(place, "missed_bytes", &ours, &missed);
        }
        if let Some(theirs) = self.row.get("community_id") {
            let ours = community_id(record.source, record.destination, record.protocol, 0);
            tally.compare(place, "community_id", &ours.as_str(), &theirs.as_str());
        }
    }
}
