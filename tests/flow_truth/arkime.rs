//! Arkime's sessions.

use crate::found::Found;
use crate::{Tally, Tuple, common, manifest, small, tuple};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use wirelynx::flow::{Counters, community_id};

/// Both ends have a share; Arkime gives no ports to ICMP.
fn arkime_tuple(a: (IpAddr, u16), b: (IpAddr, u16), protocol: u8) -> Tuple {
    match protocol {
        1 | 58 => tuple((a.0, 0), (b.0, 0), protocol),
        _ => tuple(a, b, protocol),
    }
}

/// Packets and bytes of all flows of a tuple, from its lower end and from its higher one, and their
/// Community IDs. When a flow ends and the next begins is a matter of time-outs, of which Arkime
/// has others, and it writes long sessions in pieces; the sums are the same.
#[derive(Debug, Default)]
struct Sum {
    packets: [u64; 2],
    bytes: [u64; 2],
    payload_bytes: [u64; 2],
    community_ids: BTreeSet<String>,
    /// Some flow of it has such packets.
    reassembled: bool,
    /// Some flow of it is of ICMP messages without an answer, from the higher address.
    one_way: bool,
}

fn add(sums: &mut [u64; 2], swap: bool, [a, b]: [u64; 2]) {
    let pair = if swap { [b, a] } else { [a, b] };
    for (sum, value) in sums.iter_mut().zip(pair) {
        *sum += value;
    }
}

fn sums_of_flows(found: &Found) -> BTreeMap<Tuple, Sum> {
    let mut sums = BTreeMap::<Tuple, Sum>::new();
    for record in found.flows.values().flatten() {
        let (source, destination) = (record.source, record.destination);
        let key = arkime_tuple(source, destination, record.protocol);
        let swap = key.0.0 != source.0 || key.0.1 != source.1 && key.0.1 != 0;
        let sum = sums.entry(key).or_default();
        let sides = |counter: fn(&Counters) -> u64| record.counters.each_ref().map(counter);
        add(&mut sum.packets, swap, sides(|side| side.packets));
        add(&mut sum.bytes, swap, sides(|side| side.frame_bytes));
        add(
            &mut sum.payload_bytes,
            swap,
            sides(|side| side.payload_bytes),
        );
        let id = community_id(source, destination, record.protocol, 0);
        sum.community_ids.insert(id.to_string());
        let ports = [source.1, destination.1];
        let is_answered =
            ports == [8, 0] || ports == [0, 8] || ports.iter().all(|kind| *kind >= 128);
        sum.one_way |= matches!(record.protocol, 1 | 58) && !is_answered && source > destination;
        sum.reassembled |= found.reassembled.contains(&record.id);
    }
    sums
}

fn sums_of_sessions(tally: &mut Tally, sessions: &Value) -> BTreeMap<Tuple, Sum> {
    let mut sums = BTreeMap::<Tuple, Sum>::new();
    for session in sessions.as_array().unwrap() {
        tally.rows += 1;
        let session = &session["body"];
        let end = |side: &str| -> Option<(IpAddr, u16)> {
            let address = session[side]["ip"].as_str()?.parse().ok()?;
            let port = session[side]["port"].as_u64().unwrap_or(0);
            Some((address, u16::try_from(port).ok()?))
        };
        let (Some(source), Some(destination)) = (end("source"), end("destination")) else {
            tally.exclude("no IP");
            continue;
        };
        let protocol = u8::try_from(session["ipProtocol"].as_u64().unwrap()).unwrap();
        let key = arkime_tuple(source, destination, protocol);
        let swap = key.0 != source;
        let sum = sums.entry(key).or_default();
        let pair = |sides: [&str; 2], name: &str| {
            sides.map(|side| session[side][name].as_u64().unwrap_or(0))
        };
        let ends = ["source", "destination"];
        add(&mut sum.packets, swap, pair(ends, "packets"));
        add(&mut sum.bytes, swap, pair(ends, "bytes"));
        add(
            &mut sum.payload_bytes,
            swap,
            pair(["client", "server"], "bytes"),
        );
        if let Some(id) = session["network"]["community_id"].as_str() {
            sum.community_ids.insert(id.to_owned());
        }
    }
    sums
}

#[test]
fn flows_are_those_of_arkime() {
    let Some(captures) = common::captures() else {
        println!("NOT RUN: the flows of 112 session files of Arkime: no captures");
        return;
    };
    let mut tally = Tally::default();
    for (capture, expectations) in manifest(&captures, "arkime/") {
        for expectation in expectations.iter().filter(|e| e.ends_with(".test")) {
            let text = std::fs::read(captures.join(expectation)).unwrap();
            let sessions: Value = serde_json::from_slice(&text).unwrap();
            let theirs = sums_of_sessions(&mut tally, &sessions["sessions3"]);
            let found = Found::of(&captures.join(&capture), &small());
            let ours = sums_of_flows(&found);
            for (key, theirs) in &theirs {
                compare_arkime(&mut tally, (&capture, &found), key, theirs, ours.get(key));
            }
        }
    }
    tally.print("arkime");
    for field in ["found", "packets", "bytes"] {
        tally.assert(field, 98, 300);
    }
    tally.assert("community_id", 100, 300);
}

/// Sessions of `arkime_synthetic.pcap` that are not of the innermost IP packet here, by an address.
const ARKIME_DIFFERENT: [(&str, &str); 7] = [
    ("10.40.9.1", GPE),
    ("192.0.2.10", GPE),
    (
        "10.111.111.10",
        "Geneve, which Arkime knows by destination port alone",
    ),
    (
        "10.0.32.1",
        "an authentication header, here the flow of what it protects",
    ),
    (
        "10.9.8.1",
        "UDP with a length of 0, for Arkime without ports",
    ),
    (
        "192.168.10.1",
        "inside NSH or Cisco MetaData, which are not dissected",
    ),
    (
        "2001:db8:900::1",
        "an IP packet in which Arkime takes the inner one for damaged",
    ),
];
const GPE: &str = "VXLAN-GPE, a tunnel that is not dissected";

fn arkime_exclusion(
    capture: &str,
    key: &Tuple,
    found: &Found,
    ours: Option<&Sum>,
) -> Option<&'static str> {
    let (a, b, protocol) = key;
    let addresses = [a.0.to_string(), b.0.to_string()];
    if capture.ends_with("arkime_synthetic.pcap")
        && let Some((_, class)) = ARKIME_DIFFERENT
            .iter()
            .find(|(name, _)| addresses.iter().any(|address| address == name))
    {
        return Some(class);
    }
    if *protocol == 17 && [a.1, b.1] == [68, 67] {
        return Some("DHCP, which Arkime joins by client and not by address");
    }
    if *protocol == 2 {
        return Some("IGMP, which Arkime joins whoever sent it");
    }
    if ours.is_none() && found.outer.contains(&(a.0, b.0)) {
        return Some("the session of a tunnel, which here is that of the packets in it");
    }
    if ours.is_some_and(|ours| ours.reassembled) {
        return Some("fragments, here one packet when put together");
    }
    if found.flows.is_empty() {
        return Some("a link type that is not dissected");
    }
    None
}

fn compare_arkime(
    tally: &mut Tally,
    (capture, found): (&str, &Found),
    key: &Tuple,
    theirs: &Sum,
    ours: Option<&Sum>,
) {
    if let Some(class) = arkime_exclusion(capture, key, found, ours) {
        tally.exclude(class);
        return;
    }
    let place = format!("{capture} {key:?}");
    tally.compare(&place, "found", &ours.is_some(), &true);
    let Some(ours) = ours else {
        return;
    };
    tally.compare(&place, "packets", &ours.packets, &theirs.packets);
    tally.compare(&place, "bytes", &ours.bytes, &theirs.bytes);
    if matches!(key.2, 6 | 17) {
        let payload_bytes = &ours.payload_bytes;
        tally.compare(
            &place,
            "payload_bytes",
            payload_bytes,
            &theirs.payload_bytes,
        );
    }
    if ours.one_way {
        tally.exclude("(Community ID) one-way ICMP, whose ends Arkime puts in order");
    } else if matches!(key.2, 1 | 6 | 17 | 58 | 132) {
        for id in &theirs.community_ids {
            let known = ours.community_ids.contains(id);
            tally.compare(&place, "community_id", &known, &true);
        }
    } else if !theirs.community_ids.is_empty() {
        tally.exclude("(Community ID) no ports, which Arkime hashes as 0");
    }
}
