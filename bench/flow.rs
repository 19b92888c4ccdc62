//! Nanoseconds a packet of the flow stage, by number of active flows.
//!
//! Packets of all flows come in random order, both directions, in frames of 64 bytes; headers are
//! walked before and are not part of the time. `cargo bench --bench flow -- [FLOWS]...`
#![allow(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a benchmark prints, and picks bits of random numbers"
)]

use std::hint::black_box;
use std::time::Instant;
use wirelynx::flow::{Flows, Settings};
use wirelynx::packet::{Facts, Frame, LinkType, Timestamp};

const BURST: usize = 32;
const ROUNDS: usize = 15;
const PACKETS: usize = 4 << 20;

/// Deterministic random numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// What a flow is made of.
#[derive(Clone, Copy)]
struct Conversation {
    addresses: [u32; 2],
    ports: [u16; 2],
    sequence: [u32; 2],
}

/// A frame: Ethernet, IPv4, TCP or UDP, in 64 bytes.
fn write(frame: &mut [u8; 64], flow: &mut Conversation, reverse: bool, tcp: bool, flags: u8) {
    let (a, b) = if reverse { (1, 0) } else { (0, 1) };
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..18].copy_from_slice(&[0x45, 0, 0, 46]);
    frame[22] = 64;
    frame[23] = if tcp { 6 } else { 17 };
    frame[26..30].copy_from_slice(&flow.addresses[a].to_be_bytes());
    frame[30..34].copy_from_slice(&flow.addresses[b].to_be_bytes());
    frame[34..36].copy_from_slice(&flow.ports[a].to_be_bytes());
    frame[36..38].copy_from_slice(&flow.ports[b].to_be_bytes());
    if tcp {
        frame[38..42].copy_from_slice(&flow.sequence[a].to_be_bytes());
        frame[42..46].copy_from_slice(&flow.sequence[b].to_be_bytes());
        frame[46] = 0x50;
        frame[47] = flags;
        frame[48] = 0x10;
        let syn = u32::from(flags & 2 != 0);
        flow.sequence[a] = flow.sequence[a].wrapping_add(6 + syn);
    } else {
        frame[38..40].copy_from_slice(&[0, 26]);
    }
}

struct Load {
    frames: Vec<[u8; 64]>,
    order: Vec<u32>,
}

fn conversations(flows: usize, random: &mut Random) -> Vec<Conversation> {
    (0..flows)
        .map(|_| Conversation {
            addresses: [random.next() as u32, random.next() as u32],
            ports: [random.next() as u16, random.next() as u16],
            sequence: [random.next() as u32, random.next() as u32],
        })
        .collect()
}

fn facts(tcp: bool) -> Facts {
    let mut facts = Facts::new();
    facts.ip_version = 4;
    facts.ip_protocol = if tcp { 6 } else { 17 };
    facts.ip_offset = 14;
    facts.transport_offset = 34;
    facts
}

/// Track all frames of `load` in `order`; the nanoseconds that `track` took a packet.
fn run(flows: &mut Flows, load: &Load, tcp: bool, now: &mut u64) -> f64 {
    let mut spent: Vec<u64> = Vec::with_capacity(load.order.len() / BURST);
    let template = facts(tcp);
    for order in load.order.chunks_exact(BURST) {
        let frames: Vec<Frame<'_>> = order
            .iter()
            .map(|index| {
                *now += 70;
                Frame {
                    data: &load.frames[*index as usize],
                    wire_length: 64,
                    timestamp: Timestamp::from_nanos(*now),
                    link: LinkType::ETHERNET,
                    port: 0,
                    queue: 0,
                }
            })
            .collect();
        let mut facts = [template; BURST];
        // As in the worker: the header stage has read the first line of each frame.
        let sum = frames.iter().fold(0, |sum, frame| sum ^ frame.data[12]);
        black_box(sum);
        let begin = Instant::now();
        flows.track(black_box(&frames), &mut facts, &mut |_| ());
        spent.push(begin.elapsed().as_nanos() as u64);
        black_box(&facts);
    }
    // Other programs take the core away now and then: without the slowest hundredth of the bursts.
    spent.sort_unstable();
    spent.truncate(spent.len() - spent.len() / 100);
    spent.iter().sum::<u64>() as f64 / (spent.len() * BURST) as f64
}

/// A burst that belongs to no flow: what the clock costs.
fn overhead() -> f64 {
    let begin = Instant::now();
    for _ in 0..100_000 {
        black_box(Instant::now().elapsed());
    }
    begin.elapsed().as_nanos() as f64 / 100_000.0 / BURST as f64
}

fn measure(active: usize, tcp: bool) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let settings = Settings {
        flows_max: active.max(1_024) * 5 / 4,
        ..Settings::default()
    };
    let mut flows = Flows::new(&settings, 0x0123_4567_89ab_cdef);
    let mut conversations = conversations(active, &mut random);
    let mut now = 1_700_000_000_000_000_000;
    // Both directions once: handshakes, and the tables are full.
    let mut opening = Load {
        frames: vec![[0; 64]; active * 2],
        order: (0..active as u32 * 2).collect(),
    };
    for (flow, frames) in conversations.iter_mut().zip(opening.frames.chunks_mut(2)) {
        write(&mut frames[0], flow, false, tcp, 0x02);
        write(&mut frames[1], flow, true, tcp, 0x12);
    }
    let created = run(&mut flows, &opening, tcp, &mut now);
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..ROUNDS {
        let mut load = Load {
            frames: vec![[0; 64]; PACKETS / 8],
            order: (0..(PACKETS / 8) as u32).collect(),
        };
        for frame in &mut load.frames {
            let pick = random.next();
            let flow = &mut conversations[(pick >> 8) as usize % active];
            write(frame, flow, pick & 1 != 0, tcp, 0x10);
        }
        times.push(run(&mut flows, &load, tcp, &mut now));
    }
    times.sort_by(f64::total_cmp);
    let kind = if tcp { "tcp" } else { "udp" };
    println!(
        "{kind} {active:>9} flows: {:6.1} ns/packet (min {:.1}, max {:.1}), opening {created:.1}, \
         active {}, table_full {}",
        times[ROUNDS / 2],
        times[0],
        times[ROUNDS - 1],
        flows.counters().active,
        flows.counters().table_full,
    );
}

fn main() {
    println!("clock: {:.2} ns/packet, not taken off", overhead());
    let mut sizes: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    for active in sizes {
        measure(active, false);
        measure(active, true);
    }
}
