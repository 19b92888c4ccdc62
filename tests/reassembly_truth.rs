//! IP datagrams and TCP streams are those that the publishers of captures put together.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::dissect::headers;
use wirelynx::flow::fragments::{Fragments, Settings};
use wirelynx::flow::reassembly::{Consumer, Origin, Reassembly, Segment};
use wirelynx::packet::{Direction, Facts, Frame};

const EXAMPLES: &str = "pcapplusplus/ExamplesTest";

fn each_frame(path: &Path, mut see: impl FnMut(&Frame<'_>)) {
    let mut capture = file::open(path.to_str().unwrap()).unwrap();
    loop {
        let mut burst = Burst::new();
        if capture.receive(&mut burst).unwrap() != Progress::Frames {
            return;
        }
        burst.iter().for_each(&mut see);
    }
}

/// IP addresses, identification and protocol, then the payload.
fn datagram(data: &[u8], ip: usize) -> Vec<u8> {
    let header = &data[ip..];
    let length = usize::from(header[0] & 15) * 4;
    [
        &header[4..6],
        &header[9..10],
        &header[12..20],
        &header[length..],
    ]
    .concat()
}

#[test]
fn datagrams_are_those_of_pcapplusplus() {
    let Some(folder) = common::captures() else {
        println!("DID NOT RUN: datagrams of ip-frag.pcap");
        return;
    };
    let folder = folder.join(EXAMPLES);
    let mut expected = BTreeSet::new();
    each_frame(&folder.join("expected_output/no-ip-frag.pcap"), |frame| {
        let mut facts = Facts::new();
        headers(frame, &mut facts);
        expected.insert(datagram(frame.data, usize::from(facts.ip_offset)));
    });
    let mut fragments = Fragments::new(&Settings::default());
    let mut found = BTreeSet::new();
    each_frame(&folder.join("pcap_examples/ip-frag.pcap"), |frame| {
        let mut facts = Facts::new();
        headers(frame, &mut facts);
        let offset = usize::from(facts.ip_offset);
        fragments.add(frame, &mut facts, |_, _| true);
        if let Some(slot) = facts.datagram.checked_sub(1) {
            let (data, _) = fragments.datagram(slot);
            found.insert(datagram(data, offset));
            assert!(!facts.has(Facts::FRAGMENT) && facts.has(Facts::REASSEMBLED));
            assert_eq!(usize::try_from(facts.end).unwrap(), data.len());
        }
        fragments.release();
    });
    let counters = fragments.counters();
    println!("{counters:?}");
    assert_eq!((counters.fragments, counters.completed), (1_859, 190));
    let same = expected.intersection(&found).count();
    println!("{same} of {} datagrams are the same", expected.len());
    assert_eq!(same, expected.len());
}

/// Bytes of both directions as they were delivered.
#[derive(Default)]
struct Stream(Vec<u8>);

impl Consumer for Stream {
    fn data(&mut self, _: Direction, bytes: &[u8], _: Origin) {
        self.0.extend(bytes);
    }

    fn gap(&mut self, _: Direction, length: u32) {
        self.0.extend(format!("[{length} bytes missing]").bytes());
    }

    fn end(&mut self, _: Direction) {}
}

/// A segment, and the port of the client.
fn segment<'a>(frame: &Frame<'a>, facts: &Facts, server_port: u16) -> (Segment<'a>, u16) {
    let header = &frame.data[usize::from(facts.transport_offset)..];
    let number = |at: usize| u32::from_be_bytes(*header[at..].first_chunk().unwrap());
    let to_server = facts.destination_port == server_port;
    let end = usize::try_from(facts.end).unwrap();
    let segment = Segment {
        direction: if to_server {
            Direction::Originator
        } else {
            Direction::Responder
        },
        sequence: number(4),
        acknowledgment: (facts.tcp_flags & 0x10 != 0).then(|| number(8)),
        syn: facts.tcp_flags & 2 != 0,
        fin: facts.tcp_flags & 1 != 0,
        rst: facts.tcp_flags & 4 != 0,
        payload: &frame.data[usize::from(facts.payload_offset)..end],
        cut: 0,
    };
    let client = if to_server {
        facts.source_port
    } else {
        facts.destination_port
    };
    (segment, client)
}

#[test]
fn streams_are_those_of_pcapplusplus() {
    const SERVER_PORT: u16 = 31_600;
    let Some(folder) = common::captures() else {
        println!("DID NOT RUN: 12 streams of http-packets.pcap");
        return;
    };
    let folder = folder.join(EXAMPLES);
    let mut reassembly = Reassembly::new(64, 1_024);
    let mut streams: BTreeMap<u16, (usize, Stream)> = BTreeMap::new();
    each_frame(&folder.join("pcap_examples/http-packets.pcap"), |frame| {
        let mut facts = Facts::new();
        headers(frame, &mut facts);
        if facts.ip_protocol == 6 {
            let (segment, client) = segment(frame, &facts, SERVER_PORT);
            let count = streams.len();
            let (slot, stream) = streams
                .entry(client)
                .or_insert_with(|| (count, Stream::default()));
            reassembly.add(*slot, &segment, stream);
        }
    });
    println!("{:?}", reassembly.counters());
    let mut compared = 0;
    for (client, (_, stream)) in &streams {
        let name = format!("172.16.30.190.{client}-172.16.210.84.{SERVER_PORT}.txt");
        let expected = folder.join("expected_output/tcpreassembly_multiple_streams");
        let expected = fs::read(expected.join(&name)).unwrap();
        let same = expected.iter().zip(&stream.0).take_while(|(a, b)| a == b);
        let same = same.count();
        assert_eq!(
            (same, stream.0.len()),
            (expected.len(), expected.len()),
            "{name}"
        );
        compared += 1;
    }
    println!("{compared} streams are the same");
    assert_eq!(compared, 12);
}
