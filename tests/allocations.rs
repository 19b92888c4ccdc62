//! Memory is taken at start: once tables have grown to what traffic needs, a packet allocates
//! nothing. What comes out, alerts and flows that end, takes a box each and what it holds.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use wirelynx::capture::{Burst, Capture as _, Progress, file};
use wirelynx::expr::Mode;
use wirelynx::limits::BURST_MAX;
use wirelynx::output::Event;
use wirelynx::packet::{Frame, LinkType, Timestamp};
use wirelynx::rules::RuleSet;
use wirelynx::rules::load::Loader;
use wirelynx::worker::handover::{self, Arrivals};
use wirelynx::worker::{Scope, Worker};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// One test at a time: all memory of the process is counted.
static TURN: Mutex<()> = Mutex::new(());

/// Passes over the capture, each later than the one before, until tables have grown.
const PASSES: u64 = 8;

/// An operator of one packet in the trigger of another, which no rule of the library has.
const SAME_PACKET: &str = r#"<beginning><property property_id="9001" type_property="ATTACK"
    value="THEN" delay_min="0+" delay_max="1">
    <event boolean_expression="(tcp.syn == 1)"/>
    <operator value="THEN">
        <event boolean_expression="((tcp.ack == 1) &amp;&amp; (ip.src == ip.src.1))"/>
        <event boolean_expression="((tcp.ack == 1) &amp;&amp; (tcp.seq_nb == tcp.seq_nb.1))"/>
    </operator>
</property></beginning>"#;

/// A packet: its time in microseconds, and its bytes.
type Packet = (u64, Vec<u8>);

fn packets(capture: &Path) -> Vec<Packet> {
    let mut source = file::open(capture.to_str().unwrap()).unwrap();
    let mut packets = Vec::new();
    loop {
        let mut burst = Burst::new();
        let progress = source.receive(&mut burst).unwrap();
        packets.extend(
            burst
                .iter()
                .map(|f| (f.timestamp.micros(), f.data.to_vec())),
        );
        if progress == Progress::End {
            return packets;
        }
    }
}

/// Give all packets to a worker, `later` microseconds later; returns how many events came out.
fn pass(worker: &mut Worker, packets: &[Packet], later: u64) -> u64 {
    let mut events = 0;
    for some in packets.chunks(BURST_MAX) {
        let mut burst = Burst::new();
        for (micros, data) in some {
            burst.push(Frame {
                data,
                wire_length: u32::try_from(data.len()).unwrap(),
                timestamp: Timestamp::from_micros(micros + later),
                link: LinkType::ETHERNET,
                port: 0,
                queue: 0,
                ..Frame::EMPTY
            });
        }
        worker.burst(burst, &mut |_: Event| events += 1);
    }
    events
}

fn blocks() -> u64 {
    dhat::HeapStats::get().total_blocks
}

/// The packets of a scenario.
fn generated(name: &str, folder: &Path) -> Vec<Packet> {
    let capture = folder.join(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenario = root.join(format!("bench/scenarios/{name}.scenario"));
    let made = Command::new(env!("CARGO_BIN_EXE_wirelynx-traffic"))
        .arg("generate")
        .arg(&scenario)
        .arg("-o")
        .arg(&capture)
        .status();
    assert!(made.unwrap().success());
    packets(&capture)
}

#[test]
fn a_packet_allocates_nothing() {
    let _turn = TURN.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::write(folder.path().join("same.xml"), SAME_PACKET).unwrap();
    let packets = generated("demo", folder.path());
    let length = packets.last().unwrap().0 - packets[0].0 + 1_000_000;

    let files = [root.join("rules"), folder.path().join("same.xml")];
    let files = files.map(|file| file.display().to_string());
    let read = Loader::new(Mode::Standard, &[]).read(&files);
    let (rules, _) = RuleSet::new(read.properties, Mode::Standard);
    let count = rules.programs.len();
    let mut worker = Worker::new(Arc::new(rules), &common::small(), Scope::Rules);
    for number in 0..PASSES {
        pass(&mut worker, &packets, number * length);
    }
    let profiler = dhat::Profiler::builder().testing().build();
    let before = blocks();
    let events = pass(&mut worker, &packets, PASSES * length);
    let taken = blocks() - before;
    drop(profiler);
    let sent = packets.len();
    println!("{count} rules, {sent} packets, {events} events, {taken} blocks of memory");
    assert!(
        sent > 1_000 && events > 100,
        "{sent} packets, {events} events"
    );
    assert!(
        taken <= events + events / 10,
        "{taken} blocks for {events} events"
    );
}

#[test]
fn a_packet_that_is_handed_over_allocates_nothing() {
    let _turn = TURN.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let packets = generated("tunnels", folder.path());
    let (rules, _) = RuleSet::new(Vec::new(), Mode::Standard);
    let rules = Arc::new(rules);
    let made = handover::between(2, &[], 1).into_iter();
    let mut workers: Vec<(Worker, Arrivals)> = made
        .map(|(handover, arrivals)| {
            let worker = Worker::new(Arc::clone(&rules), &common::small(), Scope::Rules);
            (worker.with_handover(Some(handover)), arrivals)
        })
        .collect();
    // Each worker gets all packets: half of them are the other's.
    let mut pass_both = |number: u64| {
        for (worker, _) in &mut workers {
            pass(worker, &packets, number);
            worker.hurry();
        }
        for (worker, arrivals) in &mut workers {
            while arrivals.next(|parcel| {
                for burst in parcel.bursts() {
                    worker.burst_of_others(burst, &mut |_: Event| {});
                }
            }) {}
        }
    };
    (0..PASSES).for_each(&mut pass_both);
    let profiler = dhat::Profiler::builder().testing().build();
    let before = blocks();
    pass_both(PASSES);
    let taken = blocks() - before;
    drop(profiler);
    let counters = workers.iter_mut().map(|(worker, _)| worker.counters());
    let handed: u64 = counters.map(|counters| counters.handed_over.tunnel).sum();
    assert!(handed > 20 * PASSES, "{handed}");
    assert_eq!(taken, 0);
}
