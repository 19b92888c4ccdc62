//! Are the headers read right? Every packet of every capture is read by this program and by
//! `tshark`, and what both say of it is compared field by field, at its outermost and at its
//! innermost header.
//!
//! The differences that remain, and why, are in `docs/header-truth.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod common;

use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufWriter;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use wirelynx::capture::writer::PcapWriter;
use wirelynx::capture::{Burst, Capture, Error, Progress, file};
use wirelynx::dissect::attribute::{AttributeId, Type, Value, View};
use wirelynx::dissect::{Protocol, headers};
use wirelynx::packet::{Facts, Frame, LinkType, Stop, Timestamp};

/// Least percentage of packets, per field, that must be equal.
const EQUAL_PERCENT_MIN: f64 = 99.5;

/// One thing that both programs can say of a packet.
struct Field {
    /// Layer that has it and its name, as `tshark` calls them.
    theirs: (&'static str, &'static str),
    /// The same here: `protocol.attribute`.
    ours: &'static str,
    /// Bits of a number that are compared.
    mask: u64,
    /// What one in their number is here.
    unit: u64,
}

const fn field(layer: &'static str, name: &'static str, ours: &'static str) -> Field {
    Field {
        theirs: (layer, name),
        ours,
        mask: u64::MAX,
        unit: 1,
    }
}

const FIELDS: &[Field] = &[
    field("eth", "eth.dst", "ethernet.dst"),
    field("eth", "eth.src", "ethernet.src"),
    field("eth", "eth.type", "ethernet.proto"),
    field("eth", "eth.len", "ethernet.length"),
    field("llc", "llc.dsap", "llc.dsap"),
    field("llc", "llc.ssap", "llc.ssap"),
    field("stp", "stp.version", "stp.version"),
    field("stp", "stp.type", "stp.type"),
    field("vlan", "vlan.id", "8021q.vid"),
    field("vlan", "vlan.priority", "8021q.pcp"),
    field("ieee8021ad", "ieee8021ad.id", "8021ad.vid"),
    field("ieee8021ad", "ieee8021ad.priority", "8021ad.pcp"),
    field("mpls", "mpls.label", "mpls.label"),
    field("mpls", "mpls.exp", "mpls.exp"),
    field("mpls", "mpls.bottom", "mpls.bottom"),
    field("mpls", "mpls.ttl", "mpls.ttl"),
    field("pppoe", "pppoe.code", "pppoe.code"),
    field("pppoe", "pppoe.session_id", "pppoe.session_id"),
    field("ppp", "ppp.protocol", "ppp.protocol"),
    field("sll", "sll.pkttype", "sll.pkttype"),
    field("sll", "sll.hatype", "sll.hatype"),
    field("sll", "sll.etype", "sll.protocol"),
    field("sll", "sll.pkttype", "sll2.pkttype"),
    field("sll", "sll.hatype", "sll2.hatype"),
    field("sll", "sll.etype", "sll2.protocol"),
    field("arp", "arp.hw.type", "arp.ar_hrd"),
    field("arp", "arp.proto.type", "arp.ar_pro"),
    field("arp", "arp.opcode", "arp.ar_op"),
    field("arp", "arp.src.hw_mac", "arp.ar_sha"),
    field("arp", "arp.src.proto_ipv4", "arp.ar_sip"),
    field("arp", "arp.dst.hw_mac", "arp.ar_tha"),
    field("arp", "arp.dst.proto_ipv4", "arp.ar_tip"),
    field("gre", "gre.proto", "gre.proto"),
    field("gre", "gre.key", "gre.key"),
    field("gre", "gre.flags.version", "gre.version"),
    field("vxlan", "vxlan.vni", "vxlan.vni"),
    field("geneve", "geneve.vni", "geneve.vni"),
    field("geneve", "geneve.proto_type", "geneve.protocol"),
    field("gtp", "gtp.flags.version", "gtp.version"),
    field("gtp", "gtp.message", "gtp.msg_type"),
    field("gtp", "gtp.length", "gtp.length"),
    field("gtp", "gtp.teid", "gtp.teid"),
    field("ah", "ah.spi", "ah.spi"),
    field("ah", "ah.sequence", "ah.sequence"),
    field("esp", "esp.spi", "esp.spi"),
    field("esp", "esp.sequence", "esp.sequence"),
    field("igmp", "igmp.type", "igmp.type"),
    field("ospf", "ospf.version", "ospf.version"),
    field("ospf", "ospf.msg", "ospf.type"),
    field("pim", "pim.version", "pim.version"),
    field("pim", "pim.type", "pim.type"),
    field("vrrp", "vrrp.virt_rtr_id", "vrrp.virtual_router_id"),
    field("erspan", "erspan.vlan", "erspan.vlan"),
    field("erspan", "erspan.spanid", "erspan.session_id"),
    field("ip", "ip.version", "ip.version"),
    field("ip", "ip.hdr_len", "ip.header_len"),
    field("ip", "ip.dsfield", "ip.proto_tos"),
    field("ip", "ip.len", "ip.tot_len"),
    field("ip", "ip.id", "ip.identification"),
    field("ip", "ip.flags.rb", "ip.rf_flag"),
    field("ip", "ip.flags.df", "ip.df_flag"),
    field("ip", "ip.flags.mf", "ip.mf_flag"),
    Field {
        // In units of 8 bytes there, in bytes here.
        unit: 8,
        ..field("ip", "ip.frag_offset", "ip.frag_offset")
    },
    field("ip", "ip.ttl", "ip.proto_ttl"),
    field("ip", "ip.proto", "ip.proto_id"),
    field("ip", "ip.checksum", "ip.checksum"),
    field("ip", "ip.src", "ip.src"),
    field("ip", "ip.dst", "ip.dst"),
    field("ipv6", "ipv6.version", "ipv6.version"),
    field("ipv6", "ipv6.tclass", "ipv6.TC"),
    field("ipv6", "ipv6.flow", "ipv6.flow_label"),
    field("ipv6", "ipv6.plen", "ipv6.len"),
    field("ipv6", "ipv6.nxt", "ipv6.next_hdr"),
    field("ipv6", "ipv6.hlim", "ipv6.hop_limit"),
    field("ipv6", "ipv6.src", "ipv6.src"),
    field("ipv6", "ipv6.dst", "ipv6.dst"),
    field("icmp", "icmp.type", "icmp.type"),
    field("icmp", "icmp.code", "icmp.code"),
    field("icmp", "icmp.checksum", "icmp.checksum"),
    field("icmpv6", "icmpv6.type", "icmpv6.type"),
    field("icmpv6", "icmpv6.code", "icmpv6.code"),
    field("icmpv6", "icmpv6.checksum", "icmpv6.checksum"),
    field("tcp", "tcp.srcport", "tcp.src_port"),
    field("tcp", "tcp.dstport", "tcp.dest_port"),
    field("tcp", "tcp.seq_raw", "tcp.seq_nb"),
    field("tcp", "tcp.ack_raw", "tcp.ack_nb"),
    Field {
        // Above the flag byte, tshark counts the reserved bits among the flags.
        mask: 0xff,
        ..field("tcp", "tcp.flags", "tcp.flags")
    },
    field("tcp", "tcp.window_size_value", "tcp.window"),
    field("tcp", "tcp.checksum", "tcp.checksum"),
    field("tcp", "tcp.urgent_pointer", "tcp.urg_pointer"),
    field("tcp", "tcp.len", "tcp.payload_len"),
    field("tcp", "tcp.options.timestamp.tsval", "tcp.tsval"),
    field("tcp", "tcp.options.timestamp.tsecr", "tcp.tsecr"),
    field("udp", "udp.srcport", "udp.src_port"),
    field("udp", "udp.dstport", "udp.dest_port"),
    field("udp", "udp.length", "udp.len"),
    field("udp", "udp.checksum", "udp.checksum"),
    field("sctp", "sctp.srcport", "sctp.src_port"),
    field("sctp", "sctp.dstport", "sctp.dest_port"),
    field("sctp", "sctp.verification_tag", "sctp.verif_tag"),
    field("sctp", "sctp.checksum", "sctp.checksum"),
    field("sctp", "sctp.chunk_type", "sctp.ch_type"),
];

/// Layers that both know: `tshark`'s name and ours. Their sequence is compared, too.
const LAYERS: &[(&str, &str)] = &[
    ("eth", "ethernet"),
    ("llc", "llc"),
    ("stp", "stp"),
    ("vlan", "8021q"),
    ("ieee8021ad", "8021ad"),
    ("mpls", "mpls"),
    ("pppoe", "pppoe"),
    ("ppp", "ppp"),
    ("null", "null"),
    ("sll", "sll"),
    ("sll", "sll2"),
    ("arp", "arp"),
    ("ip", "ip"),
    ("ipv6", "ipv6"),
    ("ah", "ah"),
    ("esp", "esp"),
    ("icmp", "icmp"),
    ("icmpv6", "icmpv6"),
    ("igmp", "igmp"),
    ("ospf", "ospf"),
    ("pim", "pim"),
    ("vrrp", "vrrp"),
    ("tcp", "tcp"),
    ("udp", "udp"),
    ("sctp", "sctp"),
    ("gre", "gre"),
    ("erspan", "erspan"),
    ("vxlan", "vxlan"),
    ("geneve", "geneve"),
    ("gtp", "gtp"),
    ("teredo", "teredo"),
];

/// Other names of theirs for layers above.
const ALIASES: &[(&str, &str)] = &[
    ("pppoes", "pppoe"),
    ("pppoed", "pppoe"),
    ("vxlan_gpe", "vxlan"),
];

/// What else `tshark` must dissect to get at the layers above; everything not named is switched
/// off, so that it does not spend its time on applications.
const CARRIERS: &[&str] = &[
    "_ws.malformed",
    "_ws.short",
    "data",
    "eth_maybefcs",
    "eth_withfcs",
    "eth_withoutfcs",
    "ethertype",
    "frame",
    "ipv6.dstopts",
    "ipv6.fraghdr",
    "ipv6.hopopts",
    "ipv6.routing",
    "ppp_hdlc",
    "pwethcw",
    "pwethheuristic",
    "pwethnocw",
    "raw",
    "udpencap",
];

/// Preferences under which `tshark` reads every frame by itself.
const PREFERENCES: &[&str] = &[
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "tcp.relative_sequence_numbers:FALSE",
    "sctp.reassembly:FALSE",
];

/// Packets given to one `tshark`: few enough that the processors share the work.
const CHUNK_MAX: usize = 8192;

/// Only captures whose name contains what this variable says, to look into a difference; then
/// nothing is asserted.
const ONLY: &str = "HEADER_TRUTH_ONLY";

/// Result of comparing one field over many packets.
#[derive(Default, Clone)]
struct Tally {
    compared: u64,
    equal: u64,
    /// Unequal packets by capture.
    differing: BTreeMap<String, u64>,
    /// The first of them in some captures, in words.
    examples: Vec<String>,
}

/// Examples kept of each field.
const EXAMPLES_MAX: usize = 40;

impl Tally {
    fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.equal += other.equal;
        for (capture, count) in other.differing {
            *self.differing.entry(capture).or_default() += count;
        }
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }

    fn percent(&self) -> f64 {
        if self.compared == 0 {
            return 100.0;
        }
        #[allow(
            clippy::cast_precision_loss,
            reason = "counts of packets are far below 2^52, where this is exact"
        )]
        let share = self.equal as f64 / self.compared as f64;
        100.0 * share
    }
}

/// Everything found in some captures.
#[derive(Default)]
struct Findings {
    fields: BTreeMap<String, Tally>,
    /// Packets that were compared.
    packets: u64,
    /// Packets that were not, by reason.
    skipped: BTreeMap<String, u64>,
}

impl Findings {
    fn add(mut self, other: Self) -> Self {
        for (name, tally) in other.fields {
            self.fields.entry(name).or_default().add(tally);
        }
        for (reason, count) in other.skipped {
            *self.skipped.entry(reason).or_default() += count;
        }
        self.packets += other.packets;
        self
    }

    fn skip(&mut self, reason: String, count: usize) {
        *self.skipped.entry(reason).or_default() += u64::try_from(count).unwrap();
    }

    fn compare(
        &mut self,
        name: &str,
        place: &Place<'_>,
        ours: Option<&String>,
        theirs: Option<&String>,
    ) {
        if ours.is_none() && theirs.is_none() {
            return;
        }
        if !self.fields.contains_key(name) {
            self.fields.insert(name.to_owned(), Tally::default());
        }
        let Some(tally) = self.fields.get_mut(name) else {
            return;
        };
        tally.compared += 1;
        if ours == theirs {
            tally.equal += 1;
            return;
        }
        let count = tally.differing.entry(place.capture.to_owned()).or_default();
        *count += 1;
        // One example a capture says more than many of the same.
        if *count == 1 && tally.examples.len() < EXAMPLES_MAX {
            let shown = |value: Option<&String>| value.map_or("-", String::as_str).to_owned();
            tally.examples.push(format!(
                "{} #{}: ours {}, theirs {} [{}]",
                place.capture,
                place.number,
                shown(ours),
                shown(theirs),
                place.layers
            ));
        }
    }
}

/// Which packet is compared.
struct Place<'a> {
    capture: &'a str,
    number: usize,
    /// `tshark`'s layers.
    layers: &'a str,
}

/// A packet of some capture.
struct Packet {
    capture: String,
    /// From 1, as `tshark` counts.
    number: usize,
    data: Vec<u8>,
    link: LinkType,
    wire_length: u32,
}

impl Packet {
    fn frame(&self) -> Frame<'_> {
        Frame {
            data: &self.data,
            wire_length: self.wire_length,
            timestamp: Timestamp::default(),
            link: self.link,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        }
    }

    fn walk(&self) -> Facts {
        let mut facts = Facts::new();
        headers(&self.frame(), &mut facts);
        facts
    }
}

#[test]
fn headers_are_what_tshark_reads() {
    let Some(folder) = common::captures() else {
        println!("no captures: no header was compared");
        return;
    };
    let profile = profile();
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let only = std::env::var(ONLY).unwrap_or_default();
    let captures: Vec<_> = manifest
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next())
        .filter(|name| name.contains(&only))
        .collect();
    let packets: Vec<_> = captures
        .par_iter()
        .map(|capture| read(&folder, capture))
        .collect();
    let unreadable = packets.iter().filter_map(|result| result.as_ref().err());
    let mut findings = Findings::default();
    for reason in unreadable {
        findings.skip(format!("unreadable: {reason}"), 1);
    }
    let (mut packets, others): (Vec<_>, Vec<_>) = (packets.into_iter().flatten().flatten())
        .partition(|packet| packet.walk().stop != Stop::UnknownLink);
    for packet in others {
        findings.skip(format!("link type {}", packet.link.0), 1);
    }
    packets.sort_by_key(|packet| packet.link.0);
    let findings = packets
        .chunk_by(|packet, next| packet.link == next.link)
        .flat_map(|packets| packets.chunks(CHUNK_MAX))
        .collect::<Vec<_>>()
        .par_iter()
        .with_max_len(1)
        .map(|packets| compare_chunk(packets, profile.path()))
        .reduce(Findings::default, Findings::add)
        .add(findings);
    report(captures.len(), &findings);
    if !only.is_empty() {
        return;
    }
    let low: Vec<_> = findings
        .fields
        .iter()
        .filter(|(_, tally)| tally.percent() < EQUAL_PERCENT_MIN)
        .map(|(name, tally)| format!("{name} {:.3} %", tally.percent()))
        .collect();
    assert!(low.is_empty(), "too many differences: {low:?}");
}

/// A configuration folder for `tshark` with every protocol but ours switched off.
fn profile() -> tempfile::TempDir {
    let output = Command::new("tshark")
        .args(["-G", "protocols"])
        .output()
        .expect("tshark must be installed");
    assert!(output.status.success(), "tshark -G protocols failed");
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let keep = |name: &str| {
        LAYERS.iter().any(|(theirs, _)| *theirs == name)
            || ALIASES.iter().any(|(theirs, _)| *theirs == name)
            || CARRIERS.contains(&name)
            || name.starts_with("tcp.options")
    };
    let disabled: String = listing
        .lines()
        .filter_map(|line| line.split('\t').nth(2))
        .filter(|name| !keep(name))
        .fold(String::new(), |list, name| list + name + "\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("disabled_protos"), disabled).unwrap();
    folder
}

/// Compare packets of one link type, of any captures.
fn compare_chunk(packets: &[Packet], profile: &Path) -> Findings {
    let mut findings = Findings::default();
    let names = columns();
    let output = tshark(packets, profile);
    let lines: Vec<Vec<_>> = output
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(
        lines.len(),
        packets.len(),
        "tshark must read what was written for it"
    );
    for (packet, columns) in packets.iter().zip(&lines) {
        let place = Place {
            capture: &packet.capture,
            number: packet.number,
            layers: columns[1],
        };
        assert_eq!(columns[0], packet.data.len().to_string());
        compare_packet(&place, packet, (&names, &columns[2..]), &mut findings);
    }
    findings
}

/// Their names of the fields, each once.
fn columns() -> Vec<&'static str> {
    let mut names: Vec<_> = FIELDS.iter().map(|field| field.theirs.1).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// One line a packet: captured length, layers, and all occurrences of each field.
///
/// Packets of many captures go through one process, because starting it costs as much time as it
/// then needs for some thousand packets.
fn tshark(packets: &[Packet], profile: &Path) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = PcapWriter::new(BufWriter::new(&file), packets[0].link).unwrap();
    for packet in packets {
        writer.write(&packet.frame()).unwrap();
    }
    writer.flush().unwrap();
    let mut command = Command::new("tshark");
    command
        .env("WIRESHARK_CONFIG_DIR", profile)
        .args(["-n", "-r"])
        .arg(file.path())
        .args(["-T", "fields", "-E", "occurrence=a"])
        .args(["-e", "frame.cap_len", "-e", "frame.protocols"]);
    for preference in PREFERENCES {
        command.args(["-o", preference]);
    }
    for name in columns() {
        command.args(["-e", name]);
    }
    let output = command.output().expect("tshark must be installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tshark: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn compare_packet(
    place: &Place<'_>,
    packet: &Packet,
    (names, columns): (&[&str], &[&str]),
    findings: &mut Findings,
) {
    let frame = packet.frame();
    let facts = packet.walk();
    findings.packets += 1;
    let view = View {
        frame: &frame,
        facts: &facts,
        message: None,
        totals: &[],
    };
    let layers = own_layers(place.layers, &facts);
    compare_layers(place, &layers, &facts, findings);
    for field in FIELDS {
        if let Ok(column) = names.binary_search(&field.theirs.1) {
            compare_field(place, field, columns[column], &layers, &view, findings);
        }
    }
}

/// `tshark`'s layers less those that are no layers here: what an ICMP error quotes, and what a
/// fragment seems to carry.
fn own_layers<'a>(layers: &'a str, facts: &Facts) -> Vec<&'a str> {
    let mut own = Vec::new();
    let mut ip_left = facts
        .layers()
        .iter()
        .filter(|layer| matches!(layer.protocol, Protocol::Ipv4 | Protocol::Ipv6))
        .count();
    for layer in layers.split(':') {
        let alias = ALIASES.iter().find(|(theirs, _)| *theirs == layer);
        let layer = alias.map_or(layer, |(_, name)| name);
        // Some dissectors call themselves again for a version of their protocol.
        if layer != "igmp" || own.last() != Some(&layer) {
            own.push(layer);
        }
        if matches!(layer, "ip" | "ipv6") {
            ip_left = ip_left.saturating_sub(1);
            if ip_left == 0 && facts.has(Facts::FRAGMENT) {
                break;
            }
        }
        if matches!(layer, "icmp" | "icmpv6") {
            break;
        }
    }
    own
}

fn compare_layers(place: &Place<'_>, layers: &[&str], facts: &Facts, findings: &mut Findings) {
    let theirs: Vec<_> = (layers.iter())
        .filter(|layer| LAYERS.iter().any(|(name, _)| name == *layer))
        .copied()
        .collect();
    let ours: Vec<_> = (facts.layers().iter())
        .map(|layer| layer.protocol.name())
        .filter_map(|name| LAYERS.iter().find(|(_, ours)| *ours == name))
        .map(|(theirs, _)| *theirs)
        .collect();
    findings.compare(
        "layers",
        place,
        Some(&ours.join(":")),
        Some(&theirs.join(":")),
    );
}

/// Compare a field in the packets where both see the same number of headers that have it.
fn compare_field(
    place: &Place<'_>,
    field: &Field,
    values: &str,
    layers: &[&str],
    view: &View<'_>,
    findings: &mut Findings,
) {
    let (layer, name) = field.theirs;
    let occurrences = layers.iter().filter(|other| **other == layer).count();
    if occurrences == 0 || !is_comparable(field, layers, view) {
        return;
    }
    let id = id_of(field.ours);
    let offsets: Vec<_> = (view.facts.layers().iter())
        .filter(|layer| layer.protocol == id.protocol)
        .map(|layer| usize::from(layer.offset))
        .collect();
    if offsets.len() != occurrences {
        return;
    }
    let ours: Vec<_> = (offsets.iter())
        .filter_map(|offset| text(view, id, *offset, field.mask))
        .collect();
    let theirs: Vec<_> = (values.split(','))
        .filter(|value| !value.is_empty())
        .map(|value| normal(field, id.kind(), value))
        .take(occurrences)
        .collect();
    findings.compare(name, place, ours.first(), theirs.first());
    if occurrences > 1 {
        let name = format!("{name} (innermost)");
        findings.compare(&name, place, ours.last(), theirs.last());
    }
}

/// Do both mean the same by this field?
fn is_comparable(field: &Field, layers: &[&str], view: &View<'_>) -> bool {
    match field.theirs.1 {
        // There, an IPv6 header has this field, too.
        "ip.version" => !layers.contains(&"ipv6"),
        // There, the key of version 1 has other names for its two halves.
        "gre.key" => view.extract(id_of("gre.version")) == Some(Value::Number(0)),
        _ => true,
    }
}

/// `protocol.attribute`, which must exist.
fn id_of(name: &str) -> AttributeId {
    let (protocol, attribute) = name.split_once('.').unwrap();
    AttributeId::from_names(protocol, attribute).unwrap_or_else(|| panic!("no attribute {name}"))
}

/// Our value of an attribute of the header at `offset`, as text.
fn text(view: &View<'_>, id: AttributeId, offset: usize, mask: u64) -> Option<String> {
    Some(match id.attribute()?.extract.read(view, offset)? {
        Value::Number(number) => (number & mask).to_string(),
        Value::Bytes(bytes) => match id.kind() {
            Type::IpAddr => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
            Type::Ip6Addr => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
            _ => bytes.iter().fold(String::new(), |mut text, byte| {
                let colon = if text.is_empty() { "" } else { ":" };
                write!(text, "{colon}{byte:02x}").unwrap();
                text
            }),
        },
        other => format!("{other:?}"),
    })
}

/// `tshark`'s value in the same form.
fn normal(field: &Field, kind: Type, value: &str) -> String {
    let number = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    };
    match (kind, number) {
        (Type::Ip6Addr, _) => value.parse().map_or_else(
            |_| value.to_owned(),
            |address: Ipv6Addr| address.to_string(),
        ),
        (Type::U8 | Type::U16 | Type::U32 | Type::U64, Some(number)) => {
            ((number * field.unit) & field.mask).to_string()
        }
        _ => value.to_owned(),
    }
}

fn read(folder: &Path, capture: &str) -> Result<Vec<Packet>, String> {
    let path = folder.join(capture);
    let path = path.to_str().ok_or("a name that is not UTF-8")?;
    let reason = |error| match error {
        Error::Format { reason, .. } => reason,
        other => other.to_string(),
    };
    let mut source = file::open(path).map_err(reason)?;
    let mut packets = Vec::new();
    loop {
        let mut burst = Burst::new();
        let progress = source.receive(&mut burst).map_err(reason)?;
        for frame in &burst {
            packets.push(Packet {
                capture: capture.to_owned(),
                number: packets.len() + 1,
                data: frame.data.to_vec(),
                link: frame.link,
                wire_length: frame.wire_length,
            });
        }
        if progress == Progress::End {
            return Ok(packets);
        }
    }
}

#[allow(
    clippy::print_stdout,
    reason = "this table is what the test is run for"
)]
fn report(captures: usize, findings: &Findings) {
    println!("{captures} captures, {} packets compared", findings.packets);
    for (reason, count) in &findings.skipped {
        println!("    not compared: {count} ({reason})");
    }
    println!(
        "{:44} {:>9} {:>9} {:>8}",
        "field", "compared", "equal", "percent"
    );
    for (name, tally) in &findings.fields {
        let percent = tally.percent();
        println!(
            "{name:44} {:>9} {:>9} {percent:8.3}",
            tally.compared, tally.equal
        );
    }
    for (name, tally) in &findings.fields {
        if tally.equal == tally.compared {
            continue;
        }
        let mut worst: Vec<_> = tally.differing.iter().collect();
        worst.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        println!("{name}: {} differ", tally.compared - tally.equal);
        for (capture, count) in worst.iter().take(5) {
            println!("    {count:6} in {capture}");
        }
        for example in &tally.examples {
            println!("    {example}");
        }
    }
}
