//! Large traffic out of small captures: many copies of real flows, each with addresses and a port
//! of its own, mixed in time. Memory is that of the patterns and of the flows under way.

use super::packet::{fold, put, short_at, sum};
use super::random::{Random, mix};
use super::template::{Packet, Template, Templates};
use std::io;
use std::path::{Path, PathBuf};
use wirelynx::capture::{Burst, Capture, Progress, file};

/// Mean frame size that [`Mix::Imix480`] aims at.
const MEAN_SIZE: u64 = 480;

/// Flows under way at one time.
pub(crate) const CONCURRENT_MAX: usize = 1 << 20;

/// Copies that the address plan can tell apart with room to spare.
pub(crate) const FLOWS_MAX: u64 = 100_000_000;

/// A copy is cut at this many times the mean length, or single downloads would fill the output.
const LENGTH_FACTOR: u64 = 16;

/// Flows of one client, each to another server.
const FLOWS_PER_CLIENT: u64 = 16;

/// Addresses of servers.
const SERVERS: u64 = 4_096;

/// Captures used when none is named: ordinary office, web and application traffic.
const DEFAULT_CAPTURES: &[&str] = &[
    "pcapplusplus/Pcap++Test/PcapExamples/example.pcap",
    "pcapplusplus/ExamplesTest/pcap_examples/many-protocols.pcap",
    "pcapplusplus/ExamplesTest/pcap_examples/http-packets.pcap",
    "pcapplusplus/ExamplesTest/pcap_examples/tls2.pcap",
    "ndpi/pcap/1kxun.pcap",
    "ndpi/pcap/dns.pcap",
    "mercury/unit_tests/pcaps/capture2.pcap",
];

/// Used when there are no captures at all.
const FALLBACK: &str = include_str!("../scenarios/demo.scenario");

/// Which frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// Whole flows, chosen so that frames have 480 bytes on average.
    Imix480,
    /// Headers in frames of 64 bytes.
    Min64,
    /// Whole flows as the captures have them.
    Asis,
}

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) packets: u64,
    pub(crate) flows: u64,
    pub(crate) mix: Mix,
    pub(crate) seed: u64,
    /// Packets a second, in the timestamps.
    pub(crate) rate: u64,
    /// Flows under way at one time.
    pub(crate) concurrent: usize,
}

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) packets: u64,
    pub(crate) flows: u64,
    pub(crate) bytes: u64,
}

/// Read patterns from captures; from the default ones, or else the demonstration scenario, when
/// none is named.
///
/// # Errors
/// A named file cannot be read.
pub(crate) fn load(captures: &[PathBuf], mix: Mix) -> io::Result<Vec<Template>> {
    let mut templates = Templates::default();
    if captures.is_empty() {
        let folder = captures_folder();
        let mut found = false;
        for name in DEFAULT_CAPTURES {
            let path = folder.join(name);
            if path.is_file() {
                read(&path, &mut templates)?;
                found = true;
            }
        }
        if !found {
            let frames = super::generate(FALLBACK, 1).map_err(io::Error::other)?;
            templates.next_source();
            frames.iter().for_each(|frame| templates.add(&frame.view()));
        }
    }
    for path in captures {
        read(path, &mut templates)?;
    }
    Ok(match mix {
        Mix::Min64 => templates.trimmed(),
        Mix::Imix480 | Mix::Asis => templates.whole(),
    })
}

/// Folder of the captures that others published.
pub(crate) fn captures_folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    std::env::var_os("WIRELYNX_CAPTURES").map_or_else(beside, PathBuf::from)
}

fn read(path: &Path, templates: &mut Templates) -> io::Result<()> {
    let name = path.to_string_lossy();
    let mut capture = file::open(&name).map_err(io::Error::other)?;
    templates.next_source();
    loop {
        let mut burst = Burst::new();
        if capture.receive(&mut burst).map_err(io::Error::other)? == Progress::End {
            return Ok(());
        }
        burst.iter().for_each(|frame| templates.add(frame));
    }
}

/// A copy of a flow under way.
#[derive(Debug, Clone, Copy)]
struct Copied {
    template: usize,
    next: usize,
    length: usize,
    number: u64,
}

/// What the start of a pattern, up to the longest copy, holds.
#[derive(Debug, Clone, Copy)]
struct Extent {
    template: usize,
    packets: u64,
    bytes: u64,
}

/// Chooses patterns so that the counts asked for come out.
struct Chooser<'a> {
    plan: &'a Plan,
    random: Random,
    /// Patterns by: longer than the mean length, larger than the mean size.
    pools: [[Vec<Extent>; 2]; 2],
    started: u64,
    packets: u64,
    bytes: u64,
}

impl<'a> Chooser<'a> {
    fn new(templates: &[Template], plan: &'a Plan) -> Self {
        let mut pools = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
        let [mean, longest] = Self::lengths(plan);
        for (template, flow) in templates.iter().enumerate() {
            let taken = usize::try_from(longest).unwrap_or(usize::MAX);
            let sizes = flow.packets.iter().take(taken).map(|p| p.data.len());
            let (packets, bytes) = sizes.fold((0u64, 0u64), |(packets, bytes), size| {
                (packets + 1, bytes + u64::try_from(size).unwrap_or(0))
            });
            let (long, large) = (packets > mean, bytes > packets * MEAN_SIZE);
            let pool = pools.get_mut(usize::from(long));
            let pool = pool.and_then(|pool| pool.get_mut(usize::from(large)));
            if let (Some(pool), true) = (pool, packets > 0) {
                pool.push(Extent {
                    template,
                    packets,
                    bytes,
                });
            }
        }
        Self {
            plan,
            random: Random::new(plan.seed),
            pools,
            started: 0,
            packets: 0,
            bytes: 0,
        }
    }

    /// Mean length of a copy, and the longest one.
    fn lengths(plan: &Plan) -> [u64; 2] {
        let mean = (plan.packets / plan.flows.max(1)).max(1);
        [mean, mean.saturating_mul(LENGTH_FACTOR)]
    }

    /// The next flow to copy; none when the packets asked for are all planned.
    fn next(&mut self) -> Option<Copied> {
        let plan = self.plan;
        let left = plan.packets.saturating_sub(self.packets);
        if left == 0 {
            return None;
        }
        // Stay one long flow ahead: what is too much at the end is cut, too little cannot be
        // mended.
        let [_, longest] = Self::lengths(plan);
        let due = u128::from(self.started + 1) * u128::from(plan.packets);
        let due = u64::try_from(due / u128::from(plan.flows.max(1))).unwrap_or(u64::MAX);
        let long = self.packets < due.saturating_add(longest);
        let large = self.bytes < self.packets.saturating_mul(MEAN_SIZE);
        let extent = self.choose(long, large)?;
        let reserved = plan.flows.saturating_sub(self.started + 1);
        let length = extent.packets.min(left.saturating_sub(reserved).max(1));
        let number = self.started;
        self.started += 1;
        self.packets += length;
        self.bytes += extent.bytes * length / extent.packets;
        Some(Copied {
            template: extent.template,
            next: 0,
            length: usize::try_from(length).ok()?,
            number,
        })
    }

    fn choose(&mut self, long: bool, large: bool) -> Option<Extent> {
        let steered = self.plan.mix == Mix::Imix480;
        let coin = self.random.bits() & 1 == 1;
        let large = if steered { large } else { coin };
        let order = [
            (long, large),
            (long, !large),
            (!long, large),
            (!long, !large),
        ];
        for (long, large) in order {
            let pool = self.pools.get(usize::from(long))?.get(usize::from(large))?;
            if !pool.is_empty() {
                return pool.get(self.random.index(pool.len())).copied();
            }
        }
        None
    }
}

/// Make the traffic: `out` gets time and bytes of each frame.
///
/// # Errors
/// There is nothing to copy, or what `out` says.
pub(crate) fn replicate(
    templates: &[Template],
    plan: &Plan,
    out: &mut impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<Summary> {
    let mut chooser = Chooser::new(templates, plan);
    let concurrent = plan.concurrent.clamp(1, CONCURRENT_MAX);
    let mut under_way: Vec<Copied> = Vec::new();
    let mut scratch = Vec::with_capacity(2_048);
    let mut summary = Summary::default();
    let clients = (plan.flows / FLOWS_PER_CLIENT).max(1);
    loop {
        while under_way.len() < concurrent {
            let Some(copy) = chooser.next() else {
                break;
            };
            under_way.push(copy);
        }
        if under_way.is_empty() {
            break;
        }
        let index = chooser.random.index(under_way.len());
        let Some(copy) = under_way.get_mut(index) else {
            break;
        };
        let template = templates.get(copy.template);
        if let Some((template, packet)) =
            template.and_then(|flow| Some((flow, flow.packets.get(copy.next)?)))
        {
            scratch.clear();
            scratch.extend_from_slice(&packet.data);
            Identity::of(copy.number, clients, template).write(packet, &mut scratch);
            // 2023-11-14 22:13:20 UTC, and evenly from there.
            let passed = u128::from(summary.packets) * 1_000_000_000 / u128::from(plan.rate.max(1));
            let time = 1_700_000_000_000_000_000 + u64::try_from(passed).unwrap_or(u64::MAX / 8);
            out(time, &scratch)?;
            summary.packets += 1;
            summary.bytes += u64::try_from(scratch.len()).unwrap_or(0);
        }
        summary.flows += u64::from(copy.next == 0);
        copy.next += 1;
        if copy.next >= copy.length {
            under_way.swap_remove(index);
        }
    }
    if summary.packets == 0 {
        return Err(io::Error::other(
            "no flow of TCP or UDP to copy in these captures",
        ));
    }
    Ok(summary)
}

/// Addresses and ports of one copy.
struct Identity {
    client: u32,
    server: u32,
    /// Ports of the first packet: source, destination.
    ports: [u16; 2],
}

impl Identity {
    /// A pair of client and server that no other copy has, and a port that few others have.
    fn of(number: u64, clients: u64, template: &Template) -> Self {
        let client = number % clients;
        let server = (number / clients + mix(client)) % SERVERS;
        let [source, destination] = template.ports;
        let port = 32_768 + u16::try_from(mix(number) % 28_000).unwrap_or(0);
        // The ephemeral side is the one with the higher port; services keep theirs.
        let ports = match source.cmp(&destination) {
            std::cmp::Ordering::Greater if source >= 1_024 => [port, destination],
            std::cmp::Ordering::Less if destination >= 1_024 => [source, port],
            _ => [source, destination],
        };
        Self {
            client: u32::try_from(client + 1).unwrap_or(u32::MAX),
            server: u32::try_from(server + 1).unwrap_or(u32::MAX),
            ports,
        }
    }

    /// Write them into a frame and mend its checksums by the difference (RFC 1624).
    fn write(&self, packet: &Packet, frame: &mut [u8]) {
        let [forth, back] = self.ports;
        let (ports, hosts) = if packet.reply {
            (
                [back, forth],
                [self.side(true, packet.v6), self.side(false, packet.v6)],
            )
        } else {
            (
                [forth, back],
                [self.side(false, packet.v6), self.side(true, packet.v6)],
            )
        };
        let width = if packet.v6 { 16 } else { 4 };
        let start = packet.ip + if packet.v6 { 8 } else { 12 };
        let mut difference = 0;
        for (index, host) in hosts.iter().enumerate() {
            // The last bytes of the 16 are those of IPv4.
            let host = host.get(16 - width..).unwrap_or(host);
            difference += replace(frame, start + index * width, host);
        }
        if !packet.v6 {
            adjust(frame, packet.ip + 10, difference);
        }
        for (index, port) in ports.iter().enumerate() {
            let place = packet.transport + index * 2;
            difference += replace(frame, place, &port.to_be_bytes());
        }
        if packet.tcp {
            adjust(frame, packet.transport + 16, difference);
        } else if short_at(frame, packet.transport + 6) != 0 {
            adjust(frame, packet.transport + 6, difference);
            if short_at(frame, packet.transport + 6) == 0 {
                put(frame, packet.transport + 6, &[0xff, 0xff]);
            }
        }
    }

    /// Clients are in 10.0.0.0/8, servers in 172.16.0.0/12; 2001:db8:a::/48 and 2001:db8:b::/48.
    fn side(&self, server: bool, v6: bool) -> [u8; 16] {
        let (base, number, net) = if server {
            (0xac10_0000, self.server, 0xb)
        } else {
            (0x0a00_0000, self.client, 0xa)
        };
        let mut address = [0; 16];
        if v6 {
            put(&mut address, 0, &[0x20, 0x01, 0x0d, 0xb8, 0, net]);
            put(&mut address, 12, &number.to_be_bytes());
        } else {
            put(&mut address, 12, &(base + number).to_be_bytes());
        }
        address
    }
}

/// Overwrite bytes and return what that adds to a sum over them.
fn replace(frame: &mut [u8], offset: usize, bytes: &[u8]) -> u64 {
    let old = frame.get(offset..offset + bytes.len()).unwrap_or(&[]);
    // The complement of each old 16-bit word, as RFC 1624 adds it.
    let words = u64::try_from(old.len() / 2).unwrap_or(0);
    let difference = words * 0xffff - sum(old) + sum(bytes);
    put(frame, offset, bytes);
    difference
}

fn adjust(frame: &mut [u8], offset: usize, difference: u64) {
    let checksum = !short_at(frame, offset);
    let mended = fold(u64::from(checksum) + difference);
    put(frame, offset, &mended.to_be_bytes());
}
