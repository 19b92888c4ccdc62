//! CPU nanoseconds a packet of the header and flow stages, by number of active flows.
//!
//! Packets of all flows come in random order, both directions, in frames of 64 bytes. Medians of
//! `ROUNDS` rounds (environment). `cargo bench --bench flow -- [FLOWS]...`
#![allow(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a benchmark prints, and picks bits of random numbers"
)]

use std::hint::black_box;
use std::time::Duration;
use wirelynx::dissect;
use wirelynx::flow::{Flows, Settings};
use wirelynx::packet::{Facts, Frame, LinkType, Timestamp};

const BURST: usize = 32;
const ROUNDS: usize = 15;
const PACKETS: usize = 1 << 19;

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

fn conversations(flows: usize, random: &mut Random) -> Vec<Conversation> {
    (0..flows)
        .map(|_| Conversation {
            addresses: [random.next() as u32, random.next() as u32],
            ports: [random.next() as u16, random.next() as u16],
            sequence: [random.next() as u32, random.next() as u32],
        })
        .collect()
}

/// CPU time of this thread in nanoseconds: other programs on the machine do not count.
fn cpu_nanos() -> u64 {
    // The kernel brings the number up to date when the thread is taken off the core.
    std::thread::sleep(Duration::from_micros(1));
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// What a round runs, each including the one before it.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Stage {
    /// The loop itself.
    Nothing,
    Reset,
    Headers,
    Track,
}

/// Run all frames of `load` through the stages up to `stage`; CPU nanoseconds a packet.
fn run(flows: &mut Flows, load: &[[u8; 64]], stage: Stage, now: &mut u64) -> f64 {
    let mut facts = [Facts::new(); BURST];
    let frames: Vec<Frame<'_>> = load
        .iter()
        .map(|data| {
            *now += 70;
            Frame {
                data,
                wire_length: 64,
                timestamp: Timestamp::from_nanos(*now),
                link: LinkType::ETHERNET,
                port: 0,
                queue: 0,
                ..Frame::EMPTY
            }
        })
        .collect();
    let begin = cpu_nanos();
    for frames in frames.chunks_exact(BURST) {
        // As a card that writes into the cache: the first line of each frame is there.
        let sum = frames.iter().fold(0, |sum, frame| sum ^ frame.data[12]);
        black_box(sum);
        for (frame, facts) in frames.iter().zip(&mut facts) {
            if stage >= Stage::Reset {
                facts.reset();
            }
            if stage >= Stage::Headers {
                dissect::headers(frame, facts);
            }
        }
        if stage >= Stage::Track {
            flows.track(black_box(frames), &mut facts, &mut |_| ());
        }
        black_box(&facts);
    }
    let spent = cpu_nanos().saturating_sub(begin);
    spent as f64 / frames.len() as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

fn measure(active: usize, tcp: bool, rounds: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let settings = Settings {
        flows_max: active.max(1_024) * 5 / 4,
        ..Settings::default()
    };
    let mut flows = Flows::new(&settings, 0x0123_4567_89ab_cdef);
    let mut conversations = conversations(active, &mut random);
    let mut now = 1_700_000_000_000_000_000;
    // Both directions once: handshakes, and the tables are full.
    let mut opening = vec![[0; 64]; (active * 2).next_multiple_of(BURST)];
    for (flow, frames) in conversations.iter_mut().zip(opening.chunks_mut(2)) {
        write(&mut frames[0], flow, false, tcp, 0x02);
        write(&mut frames[1], flow, true, tcp, 0x12);
    }
    let created = run(&mut flows, &opening, Stage::Track, &mut now);
    let stages = [Stage::Nothing, Stage::Reset, Stage::Headers, Stage::Track];
    let mut times = [const { Vec::new() }; 4];
    let mut load = vec![[0; 64]; PACKETS];
    for _ in 0..rounds {
        for frame in &mut load {
            let pick = random.next();
            let flow = &mut conversations[(pick >> 8) as usize % active];
            write(frame, flow, pick & 1 != 0, tcp, 0x10);
        }
        for (times, stage) in times.iter_mut().zip(stages) {
            times.push(run(&mut flows, &load, stage, &mut now));
        }
    }
    let min = times[3].iter().copied().fold(f64::MAX, f64::min);
    let [nothing, reset, headers, all] = times.map(median);
    println!(
        "{} {active:>9} flows: {:6.1} ns/packet = reset {:.1} + headers {:.1} + track {:.1} \
         (all, least {:.1}), opening {created:.1}, active {}, table_full {}",
        if tcp { "tcp" } else { "udp" },
        all - nothing,
        reset - nothing,
        headers - reset,
        all - headers,
        min - nothing,
        flows.counters().active,
        flows.counters().table_full,
    );
}

fn main() {
    let numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let mut sizes: Vec<usize> = numbers.collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    let rounds = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok());
    for active in sizes {
        measure(active, false, rounds.unwrap_or(ROUNDS));
        measure(active, true, rounds.unwrap_or(ROUNDS));
    }
}
