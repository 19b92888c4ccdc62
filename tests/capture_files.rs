//! Every published capture is read as its publishers say.
#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;
use wirelynx::capture::fault::Random;
use wirelynx::capture::file::{self, FileCapture};
use wirelynx::capture::{Burst, Capture, Error, Progress};
use wirelynx::packet::DropReason;

/// Say so past the test harness, which keeps to itself what passing tests print.
fn not_run(what: &str) {
    let text = format!("NOT RUN for want of captures: {what}\n");
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A line of the manifest.
#[derive(Debug)]
struct Expected {
    path: String,
    bytes: u64,
    packets: u64,
    duration: Option<f64>,
    links: String,
}

fn manifest(folder: &Path) -> Vec<Expected> {
    let text = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            Expected {
                path: columns[0].to_owned(),
                bytes: columns[3].parse().unwrap(),
                packets: columns[4].parse().unwrap(),
                duration: columns[5].parse().ok(),
                links: columns[6].to_owned(),
            }
        })
        .collect()
}

/// What a file holds, in sums.
#[derive(Debug, Default)]
struct Seen {
    packets: u64,
    empty: u64,
    /// Earliest and latest time in nanoseconds.
    min: u64,
    max: u64,
    links: BTreeSet<u16>,
    warning: Option<String>,
    position: (u64, Option<u64>),
}

fn read(source: &mut FileCapture) -> Result<Seen, Error> {
    let mut seen = Seen {
        min: u64::MAX,
        ..Seen::default()
    };
    loop {
        let mut burst = Burst::new();
        if source.receive(&mut burst)? == Progress::End {
            break;
        }
        for frame in &burst {
            let nanos = frame.timestamp.nanos();
            seen.packets += 1;
            seen.min = seen.min.min(nanos);
            seen.max = seen.max.max(nanos);
            seen.links.insert(frame.link.0);
        }
    }
    let counters = source.counters();
    assert_eq!(counters.received, seen.packets);
    seen.empty = counters.dropped[DropReason::Empty as usize];
    seen.position = counters.position;
    seen.warning = source.warning().map(ToString::to_string);
    Ok(seen)
}

/// Captures that are not read like the manifest says, and why that is right.
struct Exception {
    path: &'static str,
    /// Packets handed out; `None` when the file is refused.
    packets: Option<u64>,
    /// Records without a byte.
    empty: u64,
    /// How the warning begins.
    warning: Option<&'static str>,
    /// Does the duration agree all the same?
    duration: bool,
    #[expect(dead_code, reason = "for whoever reads the table")]
    why: &'static str,
}

const EXCEPTIONS: [Exception; 15] = [
    Exception {
        path: "ics-security-tools/MELSEC/melsoft_129_clean.pcap",
        packets: Some(2_041),
        empty: 0,
        warning: Some("damaged at byte 331665: the file ends inside a record: expected 173"),
        duration: false,
        why: "the last record is cut short, which the manifest counts",
    },
    Exception {
        path: "ndpi/pcap/fuzz-2021-10-13.pcap",
        packets: Some(1),
        empty: 0,
        warning: Some("damaged at byte 237: the file ends inside a record header"),
        duration: true,
        why: "two bytes of a second record",
    },
    Exception {
        path: "suricata-verify/bug-1450-04/tls_DER-incomplete-header.pcap",
        packets: Some(6),
        empty: 0,
        warning: Some("damaged at byte 5035: a record claims 4325376 bytes"),
        duration: false,
        why: "the header of the seventh record is random, which the manifest counts",
    },
    Exception {
        path: "suricata-verify/pgsql/pgsql-5000-query-results/input.pcap",
        packets: Some(785),
        empty: 0,
        warning: Some("damaged at byte 3276005: the file ends inside a record header"),
        duration: true,
        why: "one byte too many",
    },
    Exception {
        path: "suricata-verify/smtp-to-comma/10.7.29.101_49898-178.63.41.150_25.pcap",
        packets: Some(18),
        empty: 0,
        warning: Some("damaged at byte 3695: a record claims 3925868813 bytes"),
        duration: true,
        why: "the header of the record after the 18th is random",
    },
    Exception {
        path: "tcpdump/olsr-oobr-2.pcap",
        packets: Some(1),
        empty: 2,
        warning: None,
        duration: false,
        why: "two of the three records are empty",
    },
    refused("pcapplusplus/ExamplesTest/pcap_examples/solaris.snoop"),
    refused("pcapplusplus/Pcap++Test/PcapExamples/file_heuristics/pcapng-example.pcapng.zst"),
    other_time(
        "pcapplusplus/Pcap++Test/PcapExamples/pcapng-example.pcapng",
        159,
        "a time beyond the year 2554 saturates",
    ),
    untimed("pcapng-test-generator/output_be/advanced/test100.pcapng", 5),
    untimed("pcapng-test-generator/output_be/basic/test011.pcapng", 4),
    untimed("pcapng-test-generator/output_be/basic/test018.pcapng", 4),
    untimed("pcapng-test-generator/output_le/advanced/test100.pcapng", 5),
    untimed("pcapng-test-generator/output_le/basic/test011.pcapng", 4),
    untimed("pcapng-test-generator/output_le/basic/test018.pcapng", 4),
];

const fn refused(path: &'static str) -> Exception {
    Exception {
        path,
        packets: None,
        empty: 0,
        warning: None,
        duration: false,
        why: "another format",
    }
}

const fn other_time(path: &'static str, packets: u64, why: &'static str) -> Exception {
    Exception {
        path,
        packets: Some(packets),
        empty: 0,
        warning: None,
        duration: false,
        why,
    }
}

const fn untimed(path: &'static str, packets: u64) -> Exception {
    other_time(
        path,
        packets,
        "begins with a simple packet block, which has no time",
    )
}

/// Names of the manifest for link types, and their numbers. It says JUNIPER_ST for two files whose
/// headers hold 178, which is the number of JUNIPER_ETHER.
const LINKS: [(&str, u16); 32] = [
    ("ARCNET_LINUX", 129),
    ("ATM_CLIP", 106),
    ("ATM_RFC1483", 100),
    ("C_HDLC", 104),
    ("DSA_TAG_BRCM", 281),
    ("DSA_TAG_BRCM_PREPEND", 282),
    ("DSA_TAG_DSA", 284),
    ("EN10MB", 1),
    ("EPON", 259),
    ("FRELAY", 107),
    ("IEEE802_11_RADIOTAP", 127),
    ("IEEE802_15_4_WITHFCS", 195),
    ("IPV4", 228),
    ("IPV6", 229),
    ("JUNIPER_ATM1", 137),
    ("JUNIPER_ES", 132),
    ("JUNIPER_MONITOR", 164),
    ("JUNIPER_ST", 178),
    ("LINUX_SLL", 113),
    ("LINUX_SLL2", 276),
    ("MFR", 182),
    ("NETLINK", 253),
    ("NFLOG", 239),
    ("NULL", 0),
    ("PPI", 192),
    ("PPP", 9),
    ("PPP_HDLC", 50),
    ("RAW", 101),
    ("RAW(12)", 12),
    ("SLIP", 8),
    ("SUNATM", 123),
    ("VSOCK", 271),
];

#[test]
fn every_capture_is_read_as_the_manifest_says() {
    let Some(folder) = common::captures() else {
        not_run("about 1,300 captures");
        return;
    };
    let mut exceptions = 0;
    let manifest = manifest(&folder);
    for expected in &manifest {
        let exception = EXCEPTIONS.iter().find(|known| known.path == expected.path);
        exceptions += usize::from(exception.is_some());
        let path = folder.join(&expected.path);
        match file::open(path.to_str().unwrap()).and_then(|mut source| read(&mut source)) {
            Ok(seen) => compare(expected, exception, &seen),
            Err(error) => {
                assert!(matches!(error, Error::Format { .. }), "{error}");
                let known = exception.expect(&expected.path);
                assert_eq!(known.packets, None, "{error}");
            }
        }
    }
    assert_eq!(exceptions, EXCEPTIONS.len());
    println!("{} captures", manifest.len());
}

fn compare(expected: &Expected, exception: Option<&Exception>, seen: &Seen) {
    let path = &expected.path;
    let packets = exception.map_or(Some(expected.packets), |known| known.packets);
    assert_eq!(Some(seen.packets), packets, "{path}");
    assert_eq!(
        seen.empty,
        exception.map_or(0, |known| known.empty),
        "{path}"
    );
    match (&seen.warning, exception.and_then(|known| known.warning)) {
        (Some(text), Some(start)) => assert!(text.starts_with(start), "{path}: {text}"),
        (None, None) => {
            assert_eq!(
                seen.position,
                (expected.bytes, Some(expected.bytes)),
                "{path}"
            );
        }
        other => panic!("{path}: {other:?}"),
    }
    if exception.is_none_or(|known| known.duration)
        && let Some(duration) = expected.duration
    {
        // The manifest has microseconds, of times that it may have rounded before.
        let nanos = i128::from(seen.max) - i128::from(seen.min);
        let difference = (nanos as f64 / 1e9 - duration).abs();
        assert!(
            difference < 2e-6,
            "{path}: {nanos} ns, expected {duration} s"
        );
    }
    let links: BTreeSet<u16> = expected
        .links
        .split(',')
        .filter_map(|name| LINKS.iter().find(|(known, _)| *known == name))
        .map(|(_, number)| *number)
        .collect();
    assert_eq!(
        links.len(),
        expected.links.split_terminator(',').count(),
        "{path}"
    );
    if links.len() == 1 && seen.packets > 0 {
        assert_eq!(seen.links, links, "{path}");
    }
    // Not every interface of a file needs to have packets.
    assert!(seen.links.is_subset(&links), "{path}: {:?}", seen.links);
}

/// What a pcapng file of the generator is made of: the names of its blocks in order, and the bytes
/// of its packets. It trusts the file, unlike the reader that it checks.
fn walk(bytes: &[u8]) -> (Vec<&'static str>, Vec<Vec<u8>>) {
    let mut names = Vec::new();
    let mut packets = Vec::new();
    let mut big = false;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..at + 4] == [0x0a, 0x0d, 0x0d, 0x0a] {
            big = bytes[at + 8] == 0x1a;
        }
        let word = |offset: usize| {
            let field = bytes[at + offset..at + offset + 4].try_into().unwrap();
            let value = if big {
                u32::from_be_bytes(field)
            } else {
                u32::from_le_bytes(field)
            };
            usize::try_from(value).unwrap()
        };
        let (header, captured) = match word(0) {
            2 | 6 => (28, word(20)),
            // What is longer than the snapshot length of the interface, 96, fills the block.
            3 => (12, word(8).min(word(4) - 16)),
            _ => (0, 0),
        };
        if header > 0 {
            packets.push(bytes[at + header..at + header + captured].to_vec());
        }
        names.push(match word(0) {
            0x0a0d_0d0a => "SHB",
            1 => "IDB",
            2 => "PB",
            3 => "SPB",
            4 => "NRB",
            5 => "ISB",
            6 => "EPB",
            0x0bad => "CB",
            0x4000_0bad => "DCB",
            _ => "?",
        });
        at += word(4);
    }
    (names, packets)
}

#[test]
fn pcapng_blocks_are_met_in_the_documented_order() {
    let Some(folder) = common::captures() else {
        not_run("26 files of the pcapng test generator");
        return;
    };
    let mut files = 0;
    for expected in manifest(&folder) {
        if !expected.path.starts_with("pcapng-test-generator/") {
            continue;
        }
        let path = folder.join(&expected.path);
        let text = fs::read_to_string(path.with_extension("txt")).unwrap();
        let sequence = text
            .lines()
            .find_map(|line| line.strip_prefix("Block sequence: "))
            .unwrap();
        let (names, packets) = walk(&fs::read(&path).unwrap());
        assert_eq!(names, sequence.split(", ").collect::<Vec<_>>());
        let mut source = file::open(path.to_str().unwrap()).unwrap();
        let mut seen = Vec::new();
        loop {
            let mut burst = Burst::new();
            if source.receive(&mut burst).unwrap() == Progress::End {
                break;
            }
            seen.extend(burst.iter().map(|frame| frame.data.to_vec()));
        }
        assert!(seen == packets, "{}", expected.path);
        files += 1;
    }
    assert!(files > 20, "{files}");
}

/// Longest file that is cut at every byte. There are hundreds below it, of either format.
const CUT_LENGTH_MAX: u64 = 700;

#[test]
fn every_cut_of_small_captures_is_survived() {
    let Some(folder) = common::captures() else {
        not_run("cuts of some hundred captures");
        return;
    };
    let mut cuts = 0;
    for expected in manifest(&folder) {
        if expected.bytes > CUT_LENGTH_MAX {
            continue;
        }
        let bytes = fs::read(folder.join(&expected.path)).unwrap();
        let mut most = 0;
        for length in 0..bytes.len() {
            let cut = Cursor::new(bytes[..length].to_vec());
            if let Ok(mut source) = FileCapture::new("cut", cut, None) {
                let seen = read(&mut source).unwrap();
                assert!(seen.packets >= most, "{} at {length}", expected.path);
                most = seen.packets;
            }
            cuts += 1;
        }
    }
    assert!(cuts > 10_000, "{cuts}");
}

#[test]
fn seeded_corruption_of_every_capture_is_survived() {
    let Some(folder) = common::captures() else {
        not_run("corruption of about 1,300 captures");
        return;
    };
    for (seed, expected) in (1_u64..).zip(manifest(&folder)) {
        let mut bytes = fs::read(folder.join(&expected.path)).unwrap();
        let mut random = Random::new(seed);
        for _ in 0..1 + bytes.len() / 2_000 {
            let place = random.index(bytes.len());
            bytes[place] ^= 1 << random.below(8);
        }
        if let Ok(mut source) = FileCapture::new("broken", Cursor::new(bytes), None) {
            let seen = read(&mut source);
            assert!(seen.is_ok(), "{} with seed {seed}", expected.path);
        }
    }
}
