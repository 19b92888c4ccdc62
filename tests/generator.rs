//! Is generated traffic what it claims to be? Another program, tshark, is asked.
//!
//! Each shipped scenario has a test that counts; grammar, determinism and the replicator's promises
//! follow. Add a scenario with a line in [`CLEAN`], or with a test of its own when it is meant to
//! be odd.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

mod common;
#[path = "../bench/traffic/mod.rs"]
#[allow(dead_code, reason = "the command line of the generator uses the rest")]
mod traffic;

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use traffic::replicate::{Mix, Plan, Summary, load, replicate};
use traffic::template::Template;
use wirelynx::dissect;
use wirelynx::packet::{Facts, Frame, LinkType, Stop, Timestamp};

/// Scenarios in which nothing is malformed and every checksum is right.
const CLEAN: &[&str] = &[
    "arp",
    "demo",
    "dns",
    "http",
    "icmp",
    "office",
    "scans",
    "ssh-bruteforce",
    "syn-flood",
    "tcp",
    "tunnels",
];

/// What tshark finds wrong with a frame by itself.
const WRONG: &str = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 \
    || udp.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 \
    || sctp.checksum.status == 0 || gre.checksum.status == 0 || ip.len < 20 \
    || udp.length.bad || tcp.hdr_len < 20";

fn scenario(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench/scenarios");
    let text = std::fs::read_to_string(folder.join(format!("{name}.scenario"))).unwrap();
    capture(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn capture(text: &str) -> Result<Vec<u8>, traffic::text::Error> {
    let mut bytes = Vec::new();
    traffic::write_capture(&traffic::generate(text, 1)?, &mut bytes).unwrap();
    Ok(bytes)
}

/// Frames of `text` that follow hosts `a` and `b`, which have addresses of both versions.
fn between_hosts(text: &str) -> Vec<u8> {
    let hosts = "host a ip=10.0.0.1 ip6=2001:db8::1\nhost b ip=10.0.0.2 ip6=2001:db8::2\n";
    capture(&format!("{hosts}{text}")).unwrap()
}

/// Is tshark here? Without it the tests that ask it pass, loudly; not in CI.
fn tshark_is_here() -> bool {
    let mut version = Command::new("tshark");
    let version = version
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let here = version.status().is_ok_and(|status| status.success());
    assert!(
        here || std::env::var_os("CI").is_none(),
        "tshark is not installed"
    );
    if !here {
        eprintln!("NO TSHARK: a test of generated captures did not run");
    }
    here
}

/// Run tshark over a capture and return its standard output.
fn tshark(capture: &[u8], arguments: &[&str]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(capture).unwrap();
    file.flush().unwrap();
    let output = Command::new("tshark")
        .args([
            "-n",
            "-o",
            "ip.check_checksum:TRUE",
            "-o",
            "tcp.check_checksum:TRUE",
        ])
        .args([
            "-o",
            "udp.check_checksum:TRUE",
            "-o",
            "sctp.checksum:CRC32C",
        ])
        .args(["-o", "ip.defragment:TRUE", "-r"])
        .arg(file.path())
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "tshark {arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// How many frames pass a display filter.
fn count(capture: &[u8], filter: &str) -> usize {
    let numbers = ["-Y", filter, "-T", "fields", "-e", "frame.number"];
    tshark(capture, &numbers).lines().count()
}

/// Check several filters against the counts expected.
fn counts(capture: &[u8], expected: &[(&str, usize)]) {
    for (filter, number) in expected {
        assert_eq!(count(capture, filter), *number, "frames with {filter}");
    }
}

#[test]
fn clean_scenarios_are_clean() {
    if !tshark_is_here() {
        return;
    }
    for name in CLEAN {
        let wrong = tshark(&scenario(name), &["-Y", WRONG]);
        assert!(wrong.is_empty(), "{name}:\n{wrong}");
    }
}

#[test]
fn every_scenario_runs_and_is_tested() {
    let tested: HashSet<&str> = CLEAN.iter().copied().collect();
    let odd = ["fragments", "tunnel-fragments", "evasion", "malformed"];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench/scenarios");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(tested.contains(name) || odd.contains(&name), "{name}");
        assert!(scenario(name).len() > 24, "{name} is empty");
    }
}

#[test]
fn demo_holds_what_it_announces() {
    if !tshark_is_here() {
        return;
    }
    let demo = scenario("demo");
    let total = count(&demo, "frame");
    assert!((1_500..=2_500).contains(&total), "{total} packets");
    counts(
        &demo,
        &[
            ("ssh.protocol contains \"libssh\"", 12),
            ("arp.duplicate-address-detected", 1),
            (
                "ip.src == 10.0.0.66 && tcp.flags == 2 && ip.dst == 10.0.0.11",
                100,
            ),
            ("http.user_agent contains \"Nikto\"", 5),
            ("tcp.flags.syn == 1 && tcp.len > 0", 1),
            ("gre.flags.version == 5", 2),
            ("ip.flags.mf == 1 || ip.frag_offset > 0", 6 + 6 + 7 + 9),
            ("tcp.flags == 2 && tcp.dstport == 443", 60),
            ("icmp.type == 5", 6),
            ("vlan.id == 20 && http.request", 1),
            ("vxlan.vni == 77", 6),
        ],
    );
    let last = tshark(&demo, &["-T", "fields", "-e", "frame.time_relative"]);
    let last: f64 = last.lines().last().unwrap().parse().unwrap();
    assert!((50.0..60.0).contains(&last), "it lasts {last} s");
}

#[test]
fn connections_open_and_close() {
    if !tshark_is_here() {
        return;
    }
    let tcp = between_hosts(
        "tcp a b port=7 send=\"ping\" reply=\"pong\"\n\
         tcp a b port=7 ip=6 send=1500 segment=100 close=reset\n\
         tcp a b port=9 send=4000 segment=500 reorder=yes\n\
         tcp a b port=9 send=4000 segment=500 retransmit=yes\n\
         tcp a b port=9 syn-data=\"early\" close=none\n",
    );
    counts(
        &tcp,
        &[
            ("tcp.flags == 0x002", 5),
            ("tcp.flags == 0x012", 5),
            ("tcp.flags.fin == 1", 6),
            ("tcp.flags.reset == 1", 1),
            ("tcp.payload == \"ping\" || tcp.payload == \"pong\"", 2),
            ("ipv6 && tcp.len == 100", 15),
            ("tcp.analysis.out_of_order", 4),
            (
                "tcp.analysis.retransmission && !tcp.analysis.out_of_order",
                2,
            ),
            ("tcp.analysis.lost_segment && tcp.stream != 2", 0),
            ("tcp.flags.syn == 1 && tcp.len == 5", 1),
        ],
    );
}

#[test]
fn http_exchanges_are_read_as_such() {
    if !tshark_is_here() {
        return;
    }
    let http = scenario("http");
    let values = |field: &str| tshark(&http, &["-Y", field, "-T", "fields", "-e", field]);
    let codes = values("http.response.code");
    let codes: Vec<_> = codes
        .split_whitespace()
        .flat_map(|c| c.split(','))
        .collect();
    assert_eq!(codes.len(), 13, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == "302").count(), 1);
    let uris = values("http.request.uri");
    let uris: Vec<_> = uris.split_whitespace().flat_map(|c| c.split(',')).collect();
    #[rustfmt::skip]
    assert_eq!(uris, [
        "/", "/form", "/a", "/b", "/c", "/1", "/2", "/3", "/chunks", "/small", "/v6", "/elsewhere",
        "/old",
    ]);
    counts(
        &http,
        &[
            ("http.transfer_encoding == chunked", 1),
            ("http.request.version == \"HTTP/1.0\"", 1),
        ],
    );
}

#[test]
fn dns_answers_are_read_as_such() {
    if !tshark_is_here() {
        return;
    }
    counts(
        &scenario("dns"),
        &[
            ("dns.flags.response == 0", 9),
            ("dns.flags.response == 1", 8),
            ("dns.count.answers == 2 && dns.a == 192.0.2.81", 1),
            ("dns.aaaa == 2001:db8:1::80", 1),
            ("dns.mx.mail_exchange == mail.example.org", 1),
            ("dns.txt contains \"spf1\"", 1),
            ("dns.cname == www.example.org", 1),
            ("dns.flags.rcode == 3", 1),
        ],
    );
}

#[test]
fn scans_send_the_flags_of_their_kind() {
    if !tshark_is_here() {
        return;
    }
    let scans = scenario("scans");
    let probe = |flags: &str| format!("ip.src == 10.0.0.66 && tcp.flags == {flags}");
    for (flags, number) in [
        ("0x002", 20),
        ("0x001", 20),
        ("0x000", 20),
        ("0x029", 20),
        ("0x010", 20),
        ("0x011", 20),
    ] {
        assert_eq!(count(&scans, &probe(flags)), number, "{flags}");
    }
    counts(
        &scans,
        &[
            ("icmp.type == 3 && icmp.code == 3", 19),
            ("icmp.type == 3 && icmp.code == 2", 20),
            ("icmpv6.type == 1 && icmpv6.code == 4", 3),
            ("sctp.chunk_type == 1", 20),
            ("sctp.chunk_type == 10", 20),
            ("sctp.chunk_type == 2 || sctp.chunk_type == 11", 2),
            ("sctp.chunk_type == 6", 38),
            ("tcp.flags == 0x012", 2),
        ],
    );
}

#[test]
fn single_packets_have_the_fields_asked_for() {
    if !tshark_is_here() {
        return;
    }
    let packets = between_hosts(
        "segment a b port=25 flags=syn+fin sequence=7 acknowledgment=9 window=3\n\
         segment a b flags=none urgent-pointer=5 send=\"abc\"\n\
         segment a b ip=6 flags=ece+cwr+psh+urg send=4\n\
         icmp a b type=13 code=2 rest=00010002 send=12\n\
         icmp a b ip=6 type=134 send=8\n\
         ip a b protocol=99 send=20\n\
         ip a b protocol=98 mf=yes offset=3 id=77 send=16\n",
    );
    counts(
        &packets,
        &[
            (
                "tcp.dstport == 25 && tcp.flags == 0x003 && tcp.window_size_value == 3",
                1,
            ),
            ("tcp.seq_raw == 7 && tcp.ack_raw == 9", 1),
            (
                "tcp.flags == 0 && tcp.urgent_pointer == 5 && tcp.len == 3",
                1,
            ),
            ("ipv6 && tcp.flags == 0x0e8 && tcp.urgent_pointer == 4", 1),
            (
                "icmp.type == 13 && icmp.code == 2 && icmp.ident == 1 && icmp.seq == 2",
                1,
            ),
            ("icmpv6.type == 134", 1),
            ("ip.proto == 99 && ip.len == 40", 1),
            ("ip.flags.mf == 1 && ip.frag_offset == 3 && ip.id == 77", 1),
            (WRONG, 0),
        ],
    );
    for line in [
        "segment a b flags=syn+fun",
        "icmp a b rest=00",
        "ip a b send=65500",
    ] {
        let text = format!("host a ip=10.0.0.1\nhost b ip=10.0.0.2\n{line}\n");
        assert!(capture(&text).is_err(), "{line}");
    }
}

#[test]
fn fragments_are_put_together_again() {
    if !tshark_is_here() {
        return;
    }
    let fragments = scenario("fragments");
    counts(
        &fragments,
        &[
            (
                "ip.reassembled.length == 2008 || ipv6.reassembled.length == 2008",
                2,
            ),
            ("ip.reassembled.length == 508", 3),
            ("ipv6.reassembled.length == 508", 1),
            ("ip.fragment.overlap", 3),
            ("ip.fragment.overlap.conflict", 1),
            ("ip.len == 28 && ip.flags.mf == 1", 8),
            ("ip.checksum.status == 0", 0),
        ],
    );
}

#[test]
fn tunnels_carry_the_same_exchange() {
    if !tshark_is_here() {
        return;
    }
    let paths = tshark(
        &scenario("tunnels"),
        &["-T", "fields", "-e", "frame.protocols"],
    );
    for (path, number) in [
        ("eth:ethertype:vlan:ethertype:ip:udp:dns", 2),
        (
            "eth:ethertype:ieee8021ad:ethertype:vlan:ethertype:ip:udp:dns",
            2,
        ),
        ("eth:ethertype:mpls:ip:udp:dns", 2),
        ("eth:ethertype:pppoes:ppp:ip:udp:dns", 2),
        ("eth:ethertype:pppoes:ppp:ipv6:udp:dns", 2),
        ("eth:ethertype:ip:ipv6:udp:dns", 2),
        ("eth:ethertype:ipv6:ip:udp:dns", 2),
        ("eth:ethertype:ip:gre:ip:udp:dns", 4),
        ("eth:ethertype:ip:gre:eth:ethertype:ip:udp:dns", 2),
        ("eth:ethertype:ip:gre:erspan:eth:ethertype:ip:udp:dns", 2),
        ("eth:ethertype:ip:udp:vxlan:eth:ethertype:ip:udp:dns", 2),
        ("eth:ethertype:ip:udp:geneve:eth:ethertype:ip:udp:dns", 2),
        ("eth:ethertype:ip:udp:gtp:ip:udp:dns", 2),
        ("eth:ethertype:mpls:ip:gre:ip:udp:dns", 2),
    ] {
        let found = paths.lines().filter(|line| *line == path).count();
        assert_eq!(found, number, "{path} in\n{paths}");
    }
}

#[test]
fn malformed_packets_are_malformed() {
    if !tshark_is_here() {
        return;
    }
    let malformed = scenario("malformed");
    counts(
        &malformed,
        &[
            ("ip.checksum.status == 0", 1),
            ("tcp.checksum.status == 0", 1),
            ("(ip.version == 5 && !ipv6) || ip.hdr_len == 16", 2),
            ("tcp.hdr_len == 16", 1),
            ("udp.length == 4 || udp.length == 4096", 2),
            ("gre.flags.version == 5", 1),
            ("frame.len < 14", 3),
        ],
    );
    assert!(
        count(
            &malformed,
            "_ws.malformed || _ws.short || _ws.expert.severity >= 6291456"
        ) >= 20
    );
    let evasion = scenario("evasion");
    counts(
        &evasion,
        &[
            ("ip.opt.type == 0x94", 1),
            ("ip.flags.rb == 1", 1),
            ("frame.cap_len == 60 && frame.len == 942", 1),
            ("ip.checksum.status == 0", 1),
        ],
    );
}

#[test]
fn the_same_seed_gives_the_same_traffic() {
    let text = "repeat 20 vary=source | http 10.0.0.1 10.9.9.9 response=500";
    let with = |seed| {
        let frames = traffic::generate(text, seed).unwrap();
        frames
            .into_iter()
            .map(|f| (f.time, f.data))
            .collect::<Vec<_>>()
    };
    assert_eq!(with(7), with(7));
    assert_ne!(with(7), with(8));
    let sources: HashSet<_> = with(7).iter().map(|(_, f)| f[26..30].to_vec()).collect();
    assert_eq!(sources.len(), 21, "20 clients and the server");
}

/// Scenarios that are wrong, and how their errors start.
const ERRORS: &[(&str, &str)] = &[
    (
        "udp a b",
        "line 1, column 5: `a` is neither a host nor an address",
    ),
    (
        "\nudp 1.1.1.1",
        "line 2, column 1: `udp` needs 2 argument(s)",
    ),
    ("shout 1.1.1.1", "line 1, column 1: `shout` is no statement"),
    (
        "udp 1.1.1.1 1.1.1.2 prot=1",
        "line 1, column 21: `udp` has no option `prot`",
    ),
    (
        "udp 1.1.1.1 1.1.1.2 port=65536",
        "line 1, column 26: `65536` is not a number",
    ),
    (
        "at 5 | udp 1.1.1.1 1.1.1.2",
        "line 1, column 4: `5` is not a time",
    ),
    (
        "at 5s |",
        "line 1, column 7: expected a statement after `|`",
    ),
    (
        "udp 1.1.1.1 1.1.1.2 send=\"x",
        "line 1, column 26: this quote is not closed",
    ),
    (
        "udp 1.1.1.1 1.1.1.2 send=\"\\q\"",
        "line 1, column 27: expected",
    ),
    (
        "repeat 1000001 | udp 1.1.1.1 1.1.1.2",
        "line 1, column 8: `1000001` is not",
    ),
    (
        "fragment size=12 | udp 1.1.1.1 1.1.1.2",
        "line 1, column 15: fragments start at",
    ),
    (
        "gtpu 1.1.1.1 1.1.1.2 | arp 1.1.1.1 1.1.1.2",
        "line 1, column 1: `gtpu` carries IP",
    ),
    (
        "udp 1.1.1.1 1.1.1.2 send=70000",
        "line 1, column 26: a datagram has at most",
    ),
    (
        "tcp 1.1.1.1 1.1.1.2 segment=65000 send=65000 ip-options=\"",
        "line 1, column 57",
    ),
    (
        "scan syn 1.1.1.1 1.1.1.2 ports=9-2",
        "line 1, column 32: `9-2` is empty",
    ),
    ("frame 123", "line 1, column 7: expected an even count"),
    (
        "udp 1.1.1.1 2001:db8::1",
        "line 1, column 5: `1.1.1.1` has no IPv6 address",
    ),
    (
        "repeat 1000000 | ping 1.1.1.1 1.1.1.2 count=9",
        "line 1, column 18: a scenario has",
    ),
];

#[test]
fn errors_name_line_and_column() {
    for (text, expected) in ERRORS {
        let error = traffic::generate(text, 1).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{text}\n{error}\n{expected}");
    }
}

/// No text makes the generator panic: scenarios cut and mixed at random.
#[test]
fn damaged_scenarios_give_errors_or_frames() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench/scenarios");
    let text = std::fs::read_to_string(folder.join("tunnels.scenario")).unwrap();
    let mut random = traffic::random::Random::new(11);
    for _ in 0..500 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..1 + random.index(6) {
            let place = random.index(bytes.len());
            let byte = b" |=\"\\#09azx.-:\n"[random.index(15)];
            bytes[place] = byte;
        }
        let _ = traffic::generate(&String::from_utf8(bytes).unwrap(), 1);
    }
}

/// What the replicator made, read by our own header stage.
struct Replica {
    summary: Summary,
    flows: HashSet<Vec<u8>>,
    sizes: HashSet<usize>,
    stopped: usize,
    frames: Vec<(u64, Vec<u8>)>,
}

fn replica(templates: &[Template], mix: Mix, packets: u64, flows: u64) -> Replica {
    let plan = Plan {
        packets,
        flows,
        mix,
        seed: 3,
        rate: 1_000_000,
        concurrent: 500,
    };
    let mut frames = Vec::new();
    let summary = replicate(templates, &plan, &mut |time, data| {
        frames.push((time, data.to_vec()));
        Ok(())
    })
    .unwrap();
    let (mut keys, mut stopped) = (HashSet::new(), 0);
    for (time, data) in &frames {
        let mut facts = Facts::new();
        let frame = Frame {
            data,
            wire_length: u32::try_from(data.len()).unwrap(),
            timestamp: Timestamp::from_nanos(*time),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        };
        dissect::headers(&frame, &mut facts);
        stopped += usize::from(facts.stop != Stop::None);
        let ip = usize::from(facts.ip_offset);
        let (start, width) = if facts.ip_version == 4 {
            (12, 4)
        } else {
            (8, 16)
        };
        let mut ends = [0, 1].map(|side| {
            let address = ip + start + side * width;
            let port = usize::from(facts.transport_offset) + side * 2;
            [&data[address..address + width], &data[port..port + 2]].concat()
        });
        ends.sort();
        keys.insert(ends.concat());
    }
    Replica {
        summary,
        flows: keys,
        sizes: frames.iter().map(|(_, data)| data.len()).collect(),
        stopped,
        frames,
    }
}

fn checks(replica: &Replica, packets: u64, flows: u64) {
    let Summary {
        packets: made,
        flows: counted,
        bytes,
    } = replica.summary;
    assert_eq!((made, counted), (packets, flows));
    assert_eq!(replica.flows.len(), usize::try_from(flows).unwrap());
    let sum: usize = replica.frames.iter().map(|(_, data)| data.len()).sum();
    assert_eq!(u64::try_from(sum).unwrap(), bytes);
    assert!(replica.frames.is_sorted_by_key(|(time, _)| *time));
    if tshark_is_here() {
        let mut bytes = Vec::new();
        let mut writer =
            wirelynx::capture::writer::PcapWriter::new(&mut bytes, LinkType::ETHERNET).unwrap();
        for (time, data) in &replica.frames {
            let frame = traffic::world::Frame {
                time: *time,
                data: data.clone(),
                wire_length: u32::try_from(data.len()).unwrap(),
                reply: false,
            };
            writer.write(&frame.view()).unwrap();
        }
        let wrong = "ip.checksum.status == 0 || tcp.checksum.status == 0 \
            || udp.checksum.status == 0 || ip.len < 20";
        assert_eq!(tshark(&bytes, &["-Y", wrong]), "");
    }
}

#[test]
fn replicas_of_a_scenario_have_the_asked_counts() {
    let mut templates = traffic::template::Templates::default();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench/scenarios");
    let text = std::fs::read_to_string(folder.join("demo.scenario")).unwrap();
    templates.next_source();
    let frames = traffic::generate(&text, 1).unwrap();
    frames.iter().for_each(|frame| templates.add(&frame.view()));
    let replica = replica(&templates.whole(), Mix::Asis, 20_000, 2_000);
    checks(&replica, 20_000, 2_000);
    assert_eq!(replica.stopped, 0);
}

#[test]
fn replicas_of_captures_have_the_asked_sizes() {
    if common::captures().is_none() {
        eprintln!("REPLICAS OF CAPTURES: 2 cases did not run");
        return;
    }
    let templates = load(&[], Mix::Imix480).unwrap();
    let imix = replica(&templates, Mix::Imix480, 50_000, 5_000);
    checks(&imix, 50_000, 5_000);
    let mean = imix.summary.bytes / imix.summary.packets;
    assert!((470..=490).contains(&mean), "mean size {mean}");
    let templates = load(&[], Mix::Min64).unwrap();
    let least = replica(&templates, Mix::Min64, 50_000, 5_000);
    checks(&least, 50_000, 5_000);
    assert_eq!(least.sizes, HashSet::from([64]));
    assert_eq!(least.stopped, 0);
}
