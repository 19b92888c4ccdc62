//! A capture file on its way to flows, as a worker walks it.

use crate::{Tuple, tuple};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::dissect::{Protocol, headers};
use wirelynx::expr::Mode;
use wirelynx::flow::fragments::{self, Fragments};
use wirelynx::flow::{FlowRecord, Flows, Settings};
use wirelynx::output::Event;
use wirelynx::packet::{Facts, Frame};
use wirelynx::rules::RuleSet;
use wirelynx::worker::{self, Scope, Worker};

/// What was found in a capture file.
#[derive(Default)]
pub(crate) struct Found {
    /// All flows by tuple, in order of creation.
    pub(crate) flows: BTreeMap<Tuple, Vec<FlowRecord>>,
    /// Addresses of IP headers that have another IP header behind them, the lower one first.
    pub(crate) outer: BTreeSet<(IpAddr, IpAddr)>,
    /// Flows with a packet whose IP, TCP, UDP or ICMP checksum is wrong.
    pub(crate) bad_checksum: BTreeSet<u64>,
    /// Flows with an IP length of 0: segments that the sending card had yet to cut up.
    pub(crate) no_length: BTreeSet<u64>,
    /// Flows with a datagram that was put together from fragments.
    pub(crate) reassembled: BTreeSet<u64>,
    /// Names of the applications of flows, as far as asked for.
    pub(crate) applications: BTreeMap<u64, &'static str>,
}

/// Names of the applications of all flows of a file, by number of the flow.
pub(crate) fn applications(path: &Path, settings: &Settings) -> BTreeMap<u64, &'static str> {
    let settings = worker::Settings {
        flows: settings.clone(),
        ..crate::common::small()
    };
    let (rules, _) = RuleSet::new(Vec::new(), Mode::Standard);
    let mut worker = Worker::new(Arc::new(rules), &settings, Scope::Applications);
    let mut capture = file::open(path.to_str().unwrap()).unwrap();
    let mut names = BTreeMap::new();
    let mut sink = |event: Event| {
        if let Event::Flow(record) = event {
            names.insert(record.id, record.application.name());
        }
    };
    loop {
        let mut burst = Burst::new();
        let progress = capture.receive(&mut burst).unwrap();
        worker.burst(burst, &mut sink);
        if progress == Progress::End {
            break;
        }
    }
    worker.finish(&mut sink);
    names
}

/// The path of a packet from file to flow, as a worker walks it.
struct Pipeline {
    fragments: Fragments,
    flows: Flows,
    records: Vec<FlowRecord>,
    found: Found,
    packets: u64,
}

impl Pipeline {
    fn burst(&mut self, burst: &[Frame<'_>]) {
        let mut facts = vec![Facts::new(); burst.len()];
        for (frame, facts) in burst.iter().zip(&mut facts) {
            headers(frame, facts);
            self.fragments.add(frame, facts, |_, _| true);
        }
        let mut frames = burst.to_vec();
        for (frame, facts) in frames.iter_mut().zip(&mut facts) {
            if let Some(slot) = facts.datagram.checked_sub(1) {
                (frame.data, frame.wire_length) = self.fragments.datagram(slot);
            }
            self.packets += 1;
            facts.number = self.packets;
        }
        let ended = &mut |record: &FlowRecord| self.records.push(record.clone());
        self.flows.track(&frames, &mut facts, ended);
        for (frame, facts) in frames.iter().zip(&facts) {
            self.found.note(frame, facts);
        }
        let latest = frames.iter().map(|frame| frame.timestamp).max().unwrap();
        self.flows.expire(latest, ended);
        self.fragments.release();
    }
}

impl Found {
    pub(crate) fn of(path: &Path, settings: &Settings) -> Self {
        let mut capture = file::open(path.to_str().unwrap()).unwrap();
        let mut pipeline = Pipeline {
            fragments: Fragments::new(&fragments::Settings {
                datagrams_max: 64,
                ..fragments::Settings::default()
            }),
            flows: Flows::new(settings, 1),
            records: Vec::new(),
            found: Self::default(),
            packets: 0,
        };
        loop {
            let mut burst = Burst::new();
            if capture.receive(&mut burst).unwrap() == Progress::End {
                break;
            }
            pipeline.burst(&burst);
        }
        let Pipeline {
            mut flows,
            mut records,
            mut found,
            ..
        } = pipeline;
        flows.drain(&mut |record| records.push(record.clone()));
        records.sort_by_key(|record| record.id);
        for record in records {
            let key = tuple(record.source, record.destination, record.protocol);
            found.flows.entry(key).or_default().push(record);
        }
        found
    }

    fn note(&mut self, frame: &Frame<'_>, facts: &Facts) {
        for layer in facts.layers() {
            let version = match layer.protocol {
                Protocol::Ipv4 => 4,
                Protocol::Ipv6 => 6,
                _ => continue,
            };
            if layer.offset != facts.ip_offset
                && let Some((a, b)) = addresses(frame.data, layer.offset, version)
            {
                self.outer.insert((a.min(b), a.max(b)));
            }
        }
        let id = facts.flow.id;
        if id == 0 {
            return;
        }
        if facts.has(Facts::REASSEMBLED) {
            self.reassembled.insert(id);
        }
        if !checksums_hold(frame.data, facts) {
            self.bad_checksum.insert(id);
        }
        let ip = usize::from(facts.ip_offset);
        if facts.ip_version == 4 && frame.data[ip + 2..ip + 4] == [0, 0] {
            self.no_length.insert(id);
        }
    }
}

fn addresses(data: &[u8], offset: u16, version: u8) -> Option<(IpAddr, IpAddr)> {
    let header = data.get(usize::from(offset)..)?;
    if version == 4 {
        let source: [u8; 4] = header.get(12..16)?.try_into().ok()?;
        let destination: [u8; 4] = header.get(16..20)?.try_into().ok()?;
        Some((source.into(), destination.into()))
    } else {
        let source: [u8; 16] = header.get(8..24)?.try_into().ok()?;
        let destination: [u8; 16] = header.get(24..40)?.try_into().ok()?;
        Some((source.into(), destination.into()))
    }
}

/// Are the checksums of the innermost IP packet right, as far as the capture shows?
fn checksums_hold(data: &[u8], facts: &Facts) -> bool {
    let (ip, transport) = (
        usize::from(facts.ip_offset),
        usize::from(facts.transport_offset),
    );
    let end = usize::try_from(facts.end).unwrap();
    if facts.ip_version == 4 && sum(data.get(ip..transport).unwrap_or(&[]), 0) != 0xffff {
        return false;
    }
    let Some(segment) = data.get(transport..end) else {
        return true;
    };
    let announced =
        facts.payload_announced as usize + usize::from(facts.payload_offset) - transport;
    let addresses = if facts.ip_version == 4 { 12..20 } else { 8..40 };
    let pseudo = u32::from(facts.ip_protocol) + u32::try_from(segment.len()).unwrap();
    let pseudo = u32::from(sum(&data[ip + addresses.start..ip + addresses.end], pseudo));
    match facts.ip_protocol {
        _ if segment.len() != announced => true,
        17 if segment.get(6..8) == Some(&[0, 0]) => true,
        6 | 17 | 58 => sum(segment, pseudo) == 0xffff,
        1 => sum(segment, 0) == 0xffff,
        _ => true,
    }
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}
