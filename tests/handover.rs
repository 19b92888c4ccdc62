//! Packets that the port could not place by flow: several workers find the flows that one finds.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;
#[path = "common/program.rs"]
#[allow(dead_code, reason = "nothing is listened to without ports")]
mod program;
#[cfg(feature = "dpdk")]
#[path = "common/veth.rs"]
#[allow(dead_code, reason = "nothing is unplugged here")]
mod veth;

use program::generate;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use wirelynx::capture::rss::{Fields, Hasher, Spread, Transport, Tuple};
use wirelynx::capture::{Burst, Capture, Progress, file, toeplitz};
use wirelynx::dissect::{self, Protocol};
use wirelynx::expr::Mode;
use wirelynx::metrics::{Account, Counters};
use wirelynx::output::{Event, flow};
use wirelynx::packet::{Facts, Frame, Timestamp};
use wirelynx::rules::RuleSet;
use wirelynx::worker::handover::{self, Arrivals};
use wirelynx::worker::{Scope, Worker};

const SEED: u128 = 42;

/// Captures of packets that a port places otherwise than by their flow, and some of plain ones.
const SCENARIOS: [&str; 6] = [
    "tunnels",
    "tunnel-fragments",
    "fragments",
    "dns",
    "http",
    "icmp",
];

/// A packet: its time, and its bytes.
type Packet = (Timestamp, Vec<u8>);

fn packets(capture: &Path) -> Vec<Packet> {
    let mut source = file::open(capture.to_str().unwrap()).unwrap();
    let mut packets = Vec::new();
    loop {
        let mut burst = Burst::new();
        if source.receive(&mut burst).unwrap() == Progress::End {
            return packets;
        }
        packets.extend(burst.iter().map(|f| (f.timestamp, f.data.to_vec())));
    }
}

fn frame((timestamp, data): &Packet) -> Frame<'_> {
    Frame {
        data,
        wire_length: u32::try_from(data.len()).unwrap(),
        timestamp: *timestamp,
        ..Frame::EMPTY
    }
}

/// Addresses of the outermost IP header.
fn outermost(frame: &Frame<'_>, facts: &Facts) -> Option<(IpAddr, IpAddr)> {
    let is_ip = |p| matches!(p, Protocol::Ipv4 | Protocol::Ipv6);
    let layer = facts.layers().iter().find(|l| is_ip(l.protocol))?;
    let header = &frame.data[usize::from(layer.offset)..];
    Some(match layer.protocol {
        Protocol::Ipv4 => {
            let ends: [[u8; 4]; 2] = [
                header[12..16].try_into().unwrap(),
                header[16..20].try_into().unwrap(),
            ];
            (ends[0].into(), ends[1].into())
        }
        _ => {
            let ends: [[u8; 16]; 2] = [
                header[8..24].try_into().unwrap(),
                header[24..40].try_into().unwrap(),
            ];
            (ends[0].into(), ends[1].into())
        }
    })
}

/// What a port does: the hash of addresses and ports of plain frames, of the addresses of others,
/// and the first queue for what it cannot read.
fn placed(spread: &Spread, packet: &Packet) -> usize {
    let frame = frame(packet);
    let mut facts = Facts::new();
    dissect::headers(&frame, &mut facts);
    let link = facts.layers().get(1).map(|layer| layer.protocol);
    if !matches!(link, Some(Protocol::Ipv4 | Protocol::Ipv6)) {
        return 0;
    }
    let tuple = Tuple::of_frame(&packet.1).or_else(|| {
        let (source, destination) = outermost(&frame, &facts)?;
        Tuple::new((source, 0), (destination, 0), Transport::Other)
    });
    tuple.and_then(|tuple| spread.home_of(&tuple)).unwrap_or(0)
}

/// How a port with a symmetric hash spreads frames over so many workers.
fn spread(workers: u16) -> Arc<Spread> {
    let all = Fields {
        tcp: true,
        udp: true,
        addresses: true,
    };
    let hasher = Hasher::new(&toeplitz::symmetric_key(40), all, all);
    let table: Vec<u16> = (0..128).map(|entry| entry % workers).collect();
    let count = usize::from(workers);
    Arc::new(Spread::new("made", workers, Some(hasher), &table, count))
}

fn worker() -> Worker {
    let (rules, _) = RuleSet::new(Vec::new(), Mode::Standard);
    Worker::new(Arc::new(rules), &common::small(), Scope::Rules)
}

/// Flow records as text, and what was counted.
#[derive(Default)]
struct Found {
    flows: Vec<String>,
    counters: Vec<Counters>,
}

impl Found {
    fn event(&mut self, event: Event) {
        if let Event::Flow(record) = event {
            let mut text = Vec::new();
            flow::write_json(&mut text, &record, 0).unwrap();
            self.flows.push(String::from_utf8(text).unwrap());
        }
    }

    fn handed_over(&self) -> [u64; 2] {
        let counters = self.counters.iter().map(|counters| counters.handed_over);
        counters.fold([0; 2], |[tunnel, fragments], each| {
            [tunnel + each.tunnel, fragments + each.fragments]
        })
    }

    /// What became of fragments, by name.
    fn fragments(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for counters in &self.counters {
            for (name, count) in counters.fragments.named() {
                *all.entry(name).or_default() += count;
            }
        }
        all
    }
}

/// Workers that take turns: each frame goes to the one that `place` names, and what that hands over
/// is taken at once.
fn run(
    packets: &[Packet],
    spreads: &[Arc<Spread>],
    workers: usize,
    place: impl Fn(&Packet) -> usize,
) -> Found {
    let mut found = Found::default();
    let between = handover::between(workers, spreads, SEED);
    let (mut all, mut arrivals): (Vec<Worker>, Vec<Arrivals>) = between
        .into_iter()
        .map(|(handover, arrivals)| (worker().with_handover(Some(handover)), arrivals))
        .unzip();
    let mut take = |all: &mut [Worker], found: &mut Found| {
        for (worker, arrivals) in all.iter_mut().zip(&mut arrivals) {
            while arrivals.next(|parcel| {
                for burst in parcel.bursts() {
                    worker.burst_of_others(burst, &mut |event| found.event(event));
                }
            }) {}
        }
    };
    for (number, packet) in (1..).zip(packets) {
        let mut burst = Burst::new();
        burst.push(Frame {
            number,
            ..frame(packet)
        });
        let worker = &mut all[place(packet)];
        worker.burst(burst, &mut |event| found.event(event));
        worker.hurry();
        take(&mut all, &mut found);
    }
    assert!(all.iter_mut().all(Worker::leave));
    take(&mut all, &mut found);
    assert!(all.iter_mut().all(Worker::close));
    take(&mut all, &mut found);
    for mut worker in all {
        worker.finish(&mut |event| found.event(event));
        found.counters.push(worker.counters());
    }
    assert!(arrivals.iter().all(Arrivals::is_over));
    found.flows.sort();
    found
}

/// Every packet is accounted for: received by one worker, passed by that or by another.
fn assert_balance(found: &Found, packets: usize, name: &str) {
    let received = found
        .counters
        .iter()
        .map(|counters| counters.received)
        .sum();
    assert_eq!(received, u64::try_from(packets).unwrap(), "{name}");
    let source = wirelynx::capture::Counters {
        received,
        ..wirelynx::capture::Counters::default()
    };
    let account = Account::new(&[source], &found.counters);
    assert!(account.balances(), "{name}: {account}");
}

#[test]
fn workers_behind_a_port_find_the_flows_that_one_finds() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = [0; 2];
    for name in SCENARIOS {
        let packets = packets(&generate(name, folder.path()));
        let one = run(&packets, &[], 1, |_| 0);
        assert!(!one.flows.is_empty());
        for workers in [2, 3, 4] {
            let spread = spread(workers);
            let spreads = [Arc::clone(&spread)];
            let workers = usize::from(workers);
            let found = run(&packets, &spreads, workers, |packet| {
                placed(&spread, packet)
            });
            assert_balance(&found, packets.len(), name);
            assert_eq!(found.flows, one.flows, "{name}, {workers} workers");
            let fragments = found.fragments();
            assert_eq!(fragments, one.fragments(), "{name}, {workers} workers");
            let of_scenario = found.handed_over();
            println!("{name}, {workers} workers: handed over {of_scenario:?}");
            for (sum, count) in all.iter_mut().zip(of_scenario) {
                *sum += count;
            }
        }
    }
    assert!(all.iter().all(|&count| count > 4), "{all:?}");
}

/// The program on virtual ports.
#[cfg(feature = "dpdk")]
mod live {
    use super::*;
    use crate::program::{Ended, Running, turn, with_settings};
    use crate::veth::Veth;
    use serde_json::Value;
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::process::Command;
    use std::time::{Duration, Instant};
    use wirelynx::capture::writer::{PcapWriter, Resolution};
    use wirelynx::packet::LinkType;

    /// How often the packets of a scenario are played, each time so many nanoseconds later. They
    /// are at most 8 s apart, so that no flow is idle for long however far one file is ahead.
    const PASSES: u64 = 200;
    const PASS_NANOS: u64 = 40_000_000;

    /// The end comes within this after SIGTERM, which includes 200 ms for starting `kill` and
    /// noticing.
    const STOP: Duration = Duration::from_millis(2_200);

    fn write<'p>(path: &Path, packets: impl Iterator<Item = &'p Packet> + Clone) {
        let output = File::create(path).unwrap();
        let resolution = Resolution::Microseconds;
        let mut writer =
            PcapWriter::with_resolution(output, LinkType::ETHERNET, resolution).unwrap();
        for pass in 0..PASSES {
            for packet in packets.clone() {
                let frame = frame(packet);
                let nanos = frame.timestamp.nanos() + pass * PASS_NANOS;
                let timestamp = Timestamp::from_nanos(nanos);
                writer.write(&Frame { timestamp, ..frame }).unwrap();
            }
        }
        writer.flush().unwrap();
    }

    /// Outermost addresses of a packet, and whether it is in a tunnel.
    fn seen(packet: &Packet) -> (Option<(IpAddr, IpAddr)>, bool) {
        let frame = frame(packet);
        let mut facts = Facts::new();
        dissect::headers(&frame, &mut facts);
        (outermost(&frame, &facts), facts.is_in_tunnel())
    }

    /// Two files: the directions of what goes through tunnels are in different ones, everything
    /// else is in the first. Returns how many packets are in each.
    fn split(packets: &[Packet], paths: [&Path; 2]) -> [u64; 2] {
        let ends: BTreeSet<(IpAddr, IpAddr)> = packets
            .iter()
            .filter_map(|packet| Some(packet).filter(|p| seen(p).1).and_then(|p| seen(p).0))
            .collect();
        let is_second = |packet: &&Packet| {
            let pair = seen(packet).0.filter(|pair| ends.contains(pair));
            pair.is_some_and(|(source, destination)| source > destination)
        };
        let all = packets.iter();
        write(paths[0], all.clone().filter(|packet| !is_second(packet)));
        write(paths[1], all.clone().filter(is_second));
        let second = u64::try_from(all.filter(is_second).count()).unwrap() * PASSES;
        [
            u64::try_from(packets.len()).unwrap() * PASSES - second,
            second,
        ]
    }

    /// Flow records but for what depends on which packet of a flow came first.
    fn records(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let mut all: Vec<String> = text.lines().map(without_order).collect();
        all.sort();
        all
    }

    fn without_order(line: &str) -> String {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record["flow_id"].take();
        for field in ["start", "duration"] {
            record["flow"][field].take();
        }
        let end = |record: &Value, side: &str| {
            record[format!("{side}_ip")].to_string() + &record[format!("{side}_port")].to_string()
        };
        if end(&record, "src") > end(&record, "dest") {
            for [a, b] in [["src_ip", "dest_ip"], ["src_port", "dest_port"]] {
                let (first, second) = (record[a].take(), record[b].take());
                (record[a], record[b]) = (second, first);
            }
            let flow = &mut record["flow"];
            let sides = (flow["originator"].take(), flow["responder"].take());
            (flow["responder"], flow["originator"]) = sides;
        }
        record.to_string()
    }

    fn run(port: &str, folder: &Path, flows: &str, more: &[&str]) -> Ended {
        let mut settings = vec![
            format!("capture.ports=[{port:?}]"),
            "capture.idle_exit_seconds=1".to_owned(),
            format!("output.flows={flows}"),
            "limits.streams=4096".to_owned(),
            "flows.flows_max=65536".to_owned(),
        ];
        settings.extend(more.iter().map(|one| (*one).to_owned()));
        let program = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
        Running::start(with_settings(program, &settings), folder)
            .wait()
            .status(0)
    }

    /// The numbers of the lines that tell how many packets were handed over.
    fn handed_over(err: &str) -> u64 {
        let lines = err
            .lines()
            .filter_map(|line| line.strip_prefix("packets handed over: "));
        let counts = lines.flat_map(|line| line.split(", "));
        let number = |count: &str| count.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        counts.map(number).sum()
    }

    #[test]
    fn directions_on_two_queues_meet() {
        let _turn = turn();
        let folder = tempfile::tempdir().unwrap();
        let packets = packets(&generate("tunnels", folder.path()));
        let [a, b, all] = ["a.pcap", "b.pcap", "all.pcap"].map(|name| folder.path().join(name));
        let counts = split(&packets, [&a, &b]);
        assert!(counts.iter().all(|&count| count > 1_000), "{counts:?}");
        write(&all, packets.iter());
        let one = run(
            &format!("net_pcap0,rx_pcap={}", all.display()),
            folder.path(),
            "one.f",
            &[],
        );
        assert_eq!(handed_over(&one.err), 0);
        let port = format!("net_pcap0,rx_pcap={},rx_pcap={}", a.display(), b.display());
        let two = run(&port, folder.path(), "two.f", &["workers.count=2"]);
        let sent: u64 = counts.iter().sum();
        let account = format!("account: received {sent} = passed {sent} (balances)");
        assert_eq!(two.account(), account);
        let count = handed_over(&two.err);
        println!("{counts:?} packets, {count} handed over");
        assert!(count > 1_000, "{count}");
        let [one, two] = ["one.f", "two.f"].map(|name| records(&folder.path().join(name)));
        assert!(one.len() > 10);
        assert_eq!(two.len(), one.len());
        for (two, one) in two.iter().zip(&one) {
            assert_eq!(two, one);
        }
    }

    /// Tunnels over four queues of a kernel interface, and SIGTERM at any moment.
    #[test]
    fn a_run_that_hands_over_ends_in_time() {
        let _turn = turn();
        let Some(veth) = Veth::new("a run that hands over ends in time") else {
            return;
        };
        let mut handed = 0;
        for moment in [20, 200, 500] {
            let folder = tempfile::tempdir().unwrap();
            let made = folder.path().join("made.pcap");
            let scenarios = ["tunnels", "tunnel-fragments"];
            let all = scenarios.map(|name| packets(&generate(name, folder.path())));
            write(&made, all.concat().iter());
            let settings = [
                "capture.ports=[\"net_af_packet0,iface=rx0,qpairs=4,framecnt=4096\"]",
                "workers.count=4",
                "output.flows=f",
                "limits.streams=4096",
                "flows.flows_max=65536",
            ];
            let settings = settings.map(str::to_owned);
            let program = veth.receiver(env!("CARGO_BIN_EXE_wirelynx"));
            let mut running = Running::start(with_settings(program, &settings), folder.path());
            running.says("metrics on http://");
            std::thread::scope(|scope| {
                scope.spawn(|| veth.replay(&made, 20_000));
                std::thread::sleep(Duration::from_millis(moment));
                let start = Instant::now();
                running.signal("TERM");
                let ended = running.wait().status(0).says("(balances)");
                assert!(
                    start.elapsed() < STOP,
                    "{:?}: {}",
                    start.elapsed(),
                    ended.err
                );
                handed += handed_over(&ended.err);
            });
        }
        println!("{handed} packets handed over");
        assert!(handed > 100, "{handed}");
    }
}
