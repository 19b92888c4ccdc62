//! Live capture, on virtual devices. EAL starts once per process, so each scenario has a process of
//! its own: the test starts this program again for one test only.
#![cfg(feature = "dpdk")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, and what the two processes of a test tell each other"
)]

#[path = "common/veth.rs"]
mod veth;

use dpdk_sys::Rss;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use veth::Veth;
use wirelynx::capture::dpdk::{DpdkCapture, Monitor, PortSettings, Settings, probe, start};
use wirelynx::capture::{Burst, Capture, Error, Progress, rss, toeplitz};
use wirelynx::expr::Mode;
use wirelynx::flow;
use wirelynx::output::Event;
use wirelynx::packet::{DropReason, LinkType};
use wirelynx::rules::RuleSet;
use wirelynx::worker::{Scope, Worker};

/// Set in the process that runs a scenario.
const SCENARIO: &str = "WIRELYNX_TEST_SCENARIO";

/// Longest life of a scenario: what hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// One scenario at a time: each takes a gigabyte.
static TURN: Mutex<()> = Mutex::new(());

/// Run `body` in a process of its own, where `test` is the full name of the test that calls this.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(SCENARIO).is_some_and(|name| name == test) {
        body();
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(SCENARIO, test)
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{test} did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{test}: {status}");
}

/// Frames of a capture file: time in microseconds, bytes.
type Records = Vec<(u64, Vec<u8>)>;

/// `count` frames of `length` bytes, one every 1.001 ms, numbered in their payload.
fn records(count: u32, length: usize) -> Records {
    (0..count)
        .map(|number| {
            let mut frame = vec![0x5a; length.max(18)];
            frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
            // The EtherType for local experiments: no kernel answers it.
            frame[12..14].copy_from_slice(&[0x88, 0xb5]);
            frame[14..18].copy_from_slice(&number.to_be_bytes());
            let time = 1_700_000_000_000_000 + u64::from(number) * 1_001;
            (time, frame)
        })
        .collect()
}

fn write_pcap(folder: &Path, name: &str, records: &Records) -> PathBuf {
    let path = folder.join(name);
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        out.extend(word.to_le_bytes());
    }
    for (time, frame) in records {
        let length = u32::try_from(frame.len()).unwrap();
        let seconds = u32::try_from(time / 1_000_000).unwrap();
        let micros = u32::try_from(time % 1_000_000).unwrap();
        for word in [seconds, micros, length, length] {
            out.extend(word.to_le_bytes());
        }
        out.extend(frame);
    }
    std::fs::File::create(&path)
        .unwrap()
        .write_all(&out)
        .unwrap();
    path
}

/// Settings that end by themselves, on these devices.
fn settings(ports: Vec<PortSettings>) -> Settings {
    Settings {
        ports,
        link_wait: Duration::from_secs(2),
        idle_exit: Some(Duration::from_millis(300)),
        ..Settings::default()
    }
}

fn pcap_port(number: usize, files: &[&Path]) -> PortSettings {
    let files: Vec<String> = files
        .iter()
        .map(|file| format!(",rx_pcap={}", file.display()))
        .collect();
    let mut port = PortSettings::new(format!("net_pcap{number}{}", files.concat()));
    port.queues = u16::try_from(files.len()).unwrap();
    port
}

fn one(settings: &Settings) -> (DpdkCapture, Monitor) {
    let (mut captures, monitor) = start(settings).unwrap().captures(1);
    assert_eq!(captures.len(), 1);
    (captures.remove(0), monitor)
}

/// What a receiver saw, by port and queue.
type Seen = BTreeMap<(u16, u16), Records>;

fn drain(capture: &mut DpdkCapture) -> Seen {
    let mut seen = Seen::new();
    loop {
        let mut burst = Burst::new();
        match capture.receive(&mut burst).unwrap() {
            Progress::Frames => {}
            Progress::Idle => continue,
            Progress::End => return seen,
        }
        for frame in &burst {
            assert_eq!(frame.link, LinkType::ETHERNET);
            assert_eq!(
                usize::try_from(frame.wire_length).unwrap(),
                frame.data.len()
            );
            assert_eq!(frame.timestamp.nanos() % 1_000, 0);
            let key = (frame.port, frame.queue);
            let record = (frame.timestamp.micros(), frame.data.to_vec());
            seen.entry(key).or_default().push(record);
        }
    }
}

#[test]
fn files_arrive_as_they_are() {
    alone("files_arrive_as_they_are", || {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, c) = (records(5_000, 60), records(777, 1_514), records(33, 300));
        let paths = [("a", &a), ("b", &b), ("c", &c)]
            .map(|(name, records)| write_pcap(folder.path(), name, records));
        let [path_a, path_b, path_c] = &paths;
        let settings = settings(vec![
            pcap_port(0, &[path_a]),
            pcap_port(1, &[path_b, path_c]),
        ]);
        let (mut capture, monitor) = one(&settings);
        assert_eq!(capture.time(), None, "the files have a time of their own");
        let seen = drain(&mut capture);

        assert!(seen[&(0, 0)] == a);
        assert!(seen[&(1, 0)] == b);
        assert!(seen[&(1, 1)] == c);
        let counters = capture.counters();
        assert_eq!(counters.received, 5_000 + 777 + 33);
        let bytes = 5_000 * 60 + 777 * 1_514 + 33 * 300;
        assert_eq!(counters.bytes, bytes);
        assert_eq!(counters.dropped.iter().sum::<u64>(), 0);
        let nic = monitor.snapshot();
        assert_eq!(nic.ports[0].received, 5_000);
        assert_eq!(nic.ports[1].received, 777 + 33);
        assert_eq!(nic.ports[1].queues[1].received, 33);
        assert!(nic.ports.iter().all(|port| port.alive && port.missed == 0));
        assert!(!monitor.extended(0).is_empty());
        let mut burst = Burst::new();
        assert_eq!(capture.receive(&mut burst).unwrap(), Progress::End);
    });
}

#[test]
fn jumbo_frames_arrive_whole() {
    alone("jumbo_frames_arrive_whole", || {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Records::new();
        for (number, length) in [60, 2_048, 2_049, 9_014, 16_000, 65_549, 65_600]
            .iter()
            .enumerate()
        {
            let mut record = records(1, *length).remove(0);
            record.0 += u64::try_from(number).unwrap();
            for (at, byte) in record.1.iter_mut().enumerate().skip(18) {
                *byte = u8::try_from(at % 251).unwrap();
            }
            all.push(record);
        }
        let wanted = all.clone();
        let (last, huge) = (all.len(), records(1, 65_601).remove(0));
        all.insert(last / 2, huge);
        let path = write_pcap(folder.path(), "jumbo", &all);
        let mut port = pcap_port(0, &[&path]);
        port.buffers = 16_384;
        let (mut capture, _monitor) = one(&settings(vec![port]));
        let seen = drain(&mut capture);
        let lengths: Vec<usize> = seen[&(0, 0)].iter().map(|(_, frame)| frame.len()).collect();
        assert!(seen[&(0, 0)] == wanted, "{lengths:?}");
        let counters = capture.counters();
        assert_eq!(counters.dropped[DropReason::Oversize as usize], 1);
        assert_eq!(counters.received, 7);
    });
}

#[test]
fn null_device_gives_bursts_with_the_time_of_day() {
    alone("null_device_gives_bursts_with_the_time_of_day", || {
        let mut settings = settings(vec![
            PortSettings::new("net_null0,size=64"),
            PortSettings::new("net_ring0"),
        ]);
        settings.packets_max = Some(1_000_000);
        let affinity = dpdk_sys::allowed_cpus();
        let (mut capture, monitor) = one(&settings);
        assert_eq!(dpdk_sys::allowed_cpus(), affinity, "EAL pinned this thread");
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let (mut frames, mut last) = (0, 0);
        loop {
            let mut burst = Burst::new();
            match capture.receive(&mut burst).unwrap() {
                Progress::Frames => {}
                Progress::Idle => continue,
                Progress::End => break,
            }
            for frame in &burst {
                assert_eq!((frame.data.len(), frame.port), (64, 0));
                assert!(frame.timestamp.nanos() >= last);
                last = frame.timestamp.nanos();
            }
            // The device is never without frames: all behind the first burst may wait for so long.
            std::thread::sleep(Duration::from_millis(30 * u64::from(frames == 0)));
            frames += burst.len();
        }
        let waits = capture.counters().waits;
        let (bound, soon) = waits.cumulative().nth(3).unwrap();
        assert_eq!((bound, waits.count()), (10_000_000, frames as u64));
        assert!(soon <= 32, "{waits:?}");
        assert!((1_000_000..1_000_032).contains(&frames), "{frames}");
        assert!(u128::from(last).abs_diff(now) < 60_000_000_000);
        assert!(capture.time().unwrap().nanos() >= last);
        assert_eq!(monitor.snapshot().clock_errors_ns.len(), 1);
    });
}

#[test]
fn workers_share_a_port_by_queue() {
    alone("workers_share_a_port_by_queue", || {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..3_u32)
            .map(|number| {
                write_pcap(
                    folder.path(),
                    &number.to_string(),
                    &records(1_000 + number, 100),
                )
            })
            .collect();
        let files: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let (captures, monitor) = start(&settings(vec![pcap_port(0, &files)]))
            .unwrap()
            .captures(8);
        assert_eq!(captures.len(), 3, "no worker without a queue");
        std::thread::scope(|scope| {
            for (number, mut capture) in captures.into_iter().enumerate() {
                scope.spawn(move || {
                    let _registered = capture.register_thread().unwrap();
                    let mut burst = Burst::new();
                    assert_eq!(capture.receive(&mut burst).unwrap(), Progress::Frames);
                    let first = u64::try_from(number).unwrap() + 1;
                    for (wanted, frame) in (first..).step_by(3).zip(&burst) {
                        assert_eq!((frame.number, frame.whole), (wanted, None));
                    }
                    let mut early: Records = burst
                        .iter()
                        .map(|frame| (frame.timestamp.micros(), frame.data.to_vec()))
                        .collect();
                    drop(burst);
                    let seen = drain(&mut capture);
                    let count = u32::try_from(number).unwrap();
                    let queue = u16::try_from(number).unwrap();
                    early.extend_from_slice(&seen[&(0, queue)]);
                    assert!(early == records(1_000 + count, 100));
                    assert_eq!(seen.len(), 1);
                });
            }
        });
        assert_eq!(monitor.snapshot().ports[0].received, 3_003);
    });
}

#[test]
fn an_open_number_of_queues_follows_the_workers() {
    alone("an_open_number_of_queues_follows_the_workers", || {
        let folder = tempfile::tempdir().unwrap();
        let path = write_pcap(folder.path(), "a", &records(10, 100));
        let mut settings = settings(vec![
            PortSettings::new("net_null0"),
            pcap_port(0, &[&path, &path]),
        ]);
        settings.ports.iter_mut().for_each(|port| port.queues = 0);
        let probed = probe(&settings).unwrap();
        let offers = probed.offers();
        assert_eq!(offers[0].name, "net_null0");
        assert!(offers[0].queues >= 3 && !offers[0].fixed, "{offers:?}");
        assert!(offers[1].queues == 2 && offers[1].fixed, "{offers:?}");
        let started = probed.start(3).unwrap();
        let queues: Vec<u16> = started.ports().iter().map(|port| port.queues()).collect();
        assert_eq!(queues, [3, 2]);
        for (port, offer) in started.ports().iter().zip(&offers) {
            assert_eq!(port.node(), offer.node);
            assert!(port.buffers_near());
        }
        assert_eq!(started.captures(8).0.len(), 3);
    });
}

#[test]
fn several_queues_get_a_symmetric_key() {
    alone("several_queues_get_a_symmetric_key", || {
        let mut port = PortSettings::new("net_null0");
        port.queues = 4;
        let started = start(&settings(vec![port])).unwrap();
        let rss = started.ports()[0].rss().clone();
        let Rss::Symmetric { hashed, key } = rss else {
            panic!("{rss:?}");
        };
        assert!(hashed[0].tcp && hashed[1].udp, "{hashed:?}");
        assert_eq!(key, toeplitz::symmetric_key(40));
        // The device hashes nothing, and its table names one queue only.
        assert_eq!(started.ports()[0].redirection(), [0; 128]);
        let (captures, _monitor) = started.captures(4);
        assert_eq!(captures.len(), 4);
        assert_eq!(captures[0].home(0, 1), None);
    });
}

/// TCP segments between 10.0.0.1:1024 and 10.0.0.2:80, one a millisecond from `start` on: flags,
/// and whether the side with port 80 sent it.
fn segments(start: u64, flags: &[(u8, bool)]) -> Records {
    let segment = |(number, &(flags, back)): (usize, &(u8, bool))| {
        let mut ends = [([10, 0, 0, 1], 1_024_u16), ([10, 0, 0, 2], 80)];
        if back {
            ends.reverse();
        }
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        ends.iter().for_each(|(address, _)| frame.extend(address));
        ends.iter()
            .for_each(|(_, port)| frame.extend(port.to_be_bytes()));
        let sequence = u32::try_from(number).unwrap();
        frame.extend(sequence.to_be_bytes());
        frame.extend(sequence.to_be_bytes());
        frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.resize(60, 0);
        (start + u64::try_from(number).unwrap() * 1_000, frame)
    };
    flags.iter().enumerate().map(segment).collect()
}

#[test]
fn the_redirection_table_says_whose_a_hash_is() {
    alone("the_redirection_table_says_whose_a_hash_is", || {
        let mut port = PortSettings::new("net_bonding0");
        port.queues = 3;
        let mut settings = settings(vec![port]);
        // A bond has a table of its own, which gives the queues in turn.
        settings.eal_args = [
            "--vdev=net_null0",
            "--vdev=net_bonding0,mode=2,slave=net_null0",
        ]
        .map(str::to_owned)
        .to_vec();
        let (captures, _monitor) = start(&settings).unwrap().captures(2);
        let homes: Vec<Option<usize>> = (0..4).map(|hash| captures[1].home(0, hash)).collect();
        // Queues 0, 1, 2, 0; queue 2 is served by worker 0.
        assert_eq!(homes, [Some(0), Some(1), Some(0), Some(0)]);
        let table = captures[0].spreads()[0].home(128);
        assert_eq!(table, Some(0), "128 entries");
    });
}

#[test]
fn frames_without_a_hash_are_counted() {
    alone("frames_without_a_hash_are_counted", || {
        let folder = tempfile::tempdir().unwrap();
        let path = write_pcap(
            folder.path(),
            "tcp",
            &segments(1_000_000, &[(0x10, false); 700]),
        );
        let settings = settings(vec![pcap_port(0, &[&path, &path]), pcap_port(1, &[&path])]);
        let (mut capture, monitor) = one(&settings);
        assert_eq!((capture.home(0, 1), capture.home(1, 1)), (None, Some(0)));
        assert_eq!(drain(&mut capture).len(), 3);
        let expected = rss::Counts {
            no_hash: 1_400,
            ..rss::Counts::default()
        };
        assert_eq!(capture.spreads()[0].counts(), expected);
        let nic = monitor.snapshot();
        assert_eq!(nic.ports[0].hashes, expected);
        assert_eq!(nic.ports[1].hashes, rss::Counts::default(), "one queue");
    });
}

/// What `keep` picks, in two halves.
fn split(all: &Records, first: impl Fn(usize) -> bool) -> [Records; 2] {
    let half = |wanted| {
        let both = all.iter().enumerate();
        both.filter(|(number, _)| first(*number) == wanted)
            .map(|(_, record)| record.clone())
            .collect()
    };
    [half(true), half(false)]
}

#[test]
fn the_directions_of_a_tap_come_in_order_of_time() {
    alone("the_directions_of_a_tap_come_in_order_of_time", || {
        let folder = tempfile::tempdir().unwrap();
        // A handshake and data both ways, in bursts of one to forty segments of a direction.
        let mut flags = vec![(0x02, false), (0x12, true), (0x10, false)];
        for run in 0..80_u8 {
            let count = 1 + usize::from(run) * 7 % 40;
            flags.extend(vec![(0x10, run % 2 == 1); count]);
        }
        let all = segments(1_700_000_000_000_000, &flags);
        let [there, back] = split(&all, |number| !flags[number].1);
        let there = write_pcap(folder.path(), "there", &there);
        let back = write_pcap(folder.path(), "back", &back);
        // The port with the answers is asked first.
        let mut settings = settings(vec![
            pcap_port(0, &[&back]),
            PortSettings::new("net_null0,no-rx=1"),
            pcap_port(1, &[&there]),
        ]);
        settings.tap_pairs = vec![[2, 0]];
        let (mut capture, _monitor) = one(&settings);
        let (rules, _) = RuleSet::new(Vec::new(), Mode::Standard);
        let small = wirelynx::worker::Settings {
            flows: flow::Settings {
                flows_max: 16,
                ..flow::Settings::default()
            },
            ..wirelynx::worker::Settings::default()
        };
        let mut worker = Worker::new(Arc::new(rules), &small, Scope::Flows);
        let mut flows = Vec::new();
        let mut sink = |event: Event| {
            if let Event::Flow(record) = event {
                flows.push(record);
            }
        };
        let mut times = Vec::new();
        loop {
            let mut burst = Burst::new();
            let progress = capture.receive(&mut burst).unwrap();
            times.extend(burst.iter().map(|frame| frame.timestamp.micros()));
            worker.burst(burst, &mut sink);
            if progress == Progress::End {
                break;
            }
        }
        worker.finish(&mut sink);
        let expected: Vec<u64> = all.iter().map(|(time, _)| *time).collect();
        let wrong = times.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((times.len(), wrong), (expected.len(), None));
        assert_eq!(flows.len(), 1);
        assert_eq!(flows[0].source.1, 1_024);
        assert_eq!(&flows[0].history[..3], "ShA");
        assert_eq!(
            capture.counters().received,
            u64::try_from(all.len()).unwrap()
        );
    });
}

#[test]
fn the_program_follows_a_flow_over_both_ports_of_a_tap() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let flags: Vec<(u8, bool)> = [(0x02, false), (0x12, true)]
        .into_iter()
        .chain((2..400).map(|number| (0x10, number % 2 == 1)))
        .collect();
    let all = segments(1_700_000_000_000_000, &flags);
    let [there, back] = split(&all, |number| !flags[number].1);
    let there = write_pcap(folder.path(), "there", &there);
    let back = write_pcap(folder.path(), "back", &back);
    let flows = folder.path().join("flows");
    let cpu = dpdk_sys::allowed_cpus()[0];
    let cpus = format!("workers.cpus=[{cpu}]");
    let output = Command::new(env!("CARGO_BIN_EXE_wirelynx"))
        .arg("run")
        .args([
            "-X",
            "metrics.enabled=false",
            "-X",
            "capture.idle_exit_seconds=1",
        ])
        .args(["-X", "capture.tap_pairs=[[\"net_pcap0\", \"net_pcap1\"]]"])
        .args(["-X", "output.alerts=", "-X", &cpus])
        .arg("-X")
        .arg(format!("output.flows={}", flows.display()))
        .arg("-X")
        .arg(format!(
            "capture.ports=[\"net_pcap0,rx_pcap={}\", \"net_pcap1,rx_pcap={}\"]",
            back.display(),
            there.display()
        ))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("worker 0         {cpu} ")), "{said}");
    assert!(said.contains("received 400 = passed 400"), "{said}");
    let flows = std::fs::read_to_string(flows).unwrap();
    assert_eq!(flows.lines().count(), 1, "{flows}");
    assert!(flows.contains("\"src_port\":1024"), "{flows}");
    assert!(flows.contains("\"history\":\"ShA"), "{flows}");
}

#[test]
fn an_empty_pool_does_not_hang() {
    alone("an_empty_pool_does_not_hang", || {
        let folder = tempfile::tempdir().unwrap();
        // Each frame takes 33 buffers, and a burst of them more than the pool has.
        let path = write_pcap(folder.path(), "large", &records(300, 65_000));
        let mut port = pcap_port(0, &[&path]);
        port.descriptors = 32;
        let (mut capture, monitor) = one(&settings(vec![port]));
        let received = drain(&mut capture).values().map(Vec::len).sum::<usize>();
        let counters = capture.counters();
        assert_eq!(u64::try_from(received).unwrap(), counters.received);
        let nic = monitor.snapshot();
        println!("received {received} of 300, port {:?}", nic.ports[0]);
        assert_eq!(
            counters.received + nic.ports[0].errors + nic.ports[0].no_mbuf,
            300,
            "every frame is accounted for"
        );
        assert!(nic.ports[0].buffers_free > 0);
    });
}

/// The message of a start that fails.
fn refusal(settings: &Settings) -> String {
    let error = start(settings).unwrap_err();
    assert!(matches!(error, Error::Port { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn a_device_that_is_not_there_is_named() {
    alone("a_device_that_is_not_there_is_named", || {
        let ports = ["net_null0", "5"].map(PortSettings::new).to_vec();
        let error = refusal(&settings(ports));
        assert!(
            error.contains("no device 5: EAL found net_null0"),
            "{error}"
        );
        let again = start(&settings(vec![PortSettings::new("net_null0")])).unwrap_err();
        assert!(again.to_string().contains("already"), "{again}");
    });
}

#[test]
fn a_driver_that_does_not_exist_is_named() {
    alone("a_driver_that_does_not_exist_is_named", || {
        let error = start(&settings(vec![PortSettings::new("net_nothing0")])).unwrap_err();
        assert!(error.to_string().contains("net_nothing0"), "{error}");
    });
}

#[test]
fn a_device_named_twice_is_an_error() {
    alone("a_device_named_twice_is_an_error", || {
        let ports = ["net_null0", "net_null0"].map(PortSettings::new).to_vec();
        let error = start(&settings(ports)).unwrap_err();
        assert!(error.to_string().contains("net_null0"), "{error}");
    });
}

#[test]
fn an_address_that_is_not_bound_says_how() {
    alone("an_address_that_is_not_bound_says_how", || {
        let error = refusal(&settings(vec![PortSettings::new("0000:7f:1f.6")]));
        assert!(error.contains("dpdk-devbind.py"), "{error}");
    });
}

#[test]
fn a_missing_file_is_an_error() {
    alone("a_missing_file_is_an_error", || {
        let port = PortSettings::new("net_pcap0,rx_pcap=/nonexistent/file.pcap");
        let error = refusal(&settings(vec![port]));
        assert!(error.contains("net_pcap0"), "{error}");
    });
}

#[test]
fn what_cannot_be_received_is_refused_before_the_start() {
    for (setting, expected) in [
        (
            "capture.tap_pairs=[[\"net_null0\", \"net_null1\"]]",
            "'net_null1' is not possible; expected a port of capture.ports",
        ),
        (
            "capture.tap_pairs=[[\"net_null0\", \"net_null0\"]]",
            "expected another port: this one is in a pair already",
        ),
        ("workers.count=65", "workers.count: 65 is not possible"),
        ("idle.sleep_us=-1", "-1"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_wirelynx"))
            .args(["run", "-X", "capture.ports=[\"net_null0\"]", "-X", setting])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn too_many_queues_are_an_error() {
    alone("too_many_queues_are_an_error", || {
        let mut port = PortSettings::new("net_ring0");
        port.queues = 1_000;
        let error = refusal(&settings(vec![port]));
        assert!(error.contains("1000 receive queues"), "{error}");
    });
}

#[test]
fn arguments_that_eal_refuses_are_an_error() {
    alone("arguments_that_eal_refuses_are_an_error", || {
        let mut settings = settings(vec![PortSettings::new("net_null0")]);
        settings.eal_args = vec!["--no-such-option".to_owned()];
        let error = start(&settings).unwrap_err();
        assert!(matches!(error, Error::Environment { .. }), "{error:?}");
    });
}

#[test]
fn more_buffers_than_memory_is_an_error() {
    alone("more_buffers_than_memory_is_an_error", || {
        let mut settings = settings(vec![PortSettings::new("net_null0")]);
        settings.ports[0].buffers = 100_000;
        settings.eal_args = ["--no-huge", "-m", "64", "--no-shconf"]
            .map(str::to_owned)
            .to_vec();
        let error = refusal(&settings);
        assert!(error.contains("hugepages/reserve"), "{error}");
    });
}

/// Run this program again inside the receiving namespace.
fn receiver(veth: &Veth, test: &str) -> Child {
    veth.receiver(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(SCENARIO, test)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Wait until the receiver prints `READY`; returns what else it prints as an iterator of lines.
fn until_ready(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    use std::io::BufRead;
    let output = child.stdout.take().unwrap();
    let mut lines = std::io::BufReader::new(output)
        .lines()
        .map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("READY")),
        "the receiver did not start"
    );
    lines
}

fn finish(mut child: Child, lines: impl Iterator<Item = String>) {
    for line in lines {
        println!("{line}");
    }
    assert!(child.wait().unwrap().success());
}

/// Is this the process inside the namespace?
fn inside(test: &str) -> bool {
    std::env::var_os(SCENARIO).is_some_and(|name| name == test)
}

#[test]
fn every_packet_of_a_kernel_interface_arrives() {
    const TEST: &str = "every_packet_of_a_kernel_interface_arrives";
    /// All of them fit the kernel's ring, so that none is lost however busy the machine is.
    const COUNT: u32 = 10_000;
    const RING: u32 = 16_384;
    if inside(TEST) {
        let mut port =
            PortSettings::new(format!("net_af_packet0,iface=rx0,qpairs=2,framecnt={RING}"));
        port.queues = 2;
        let mut settings = settings(vec![port]);
        settings.idle_exit = Some(Duration::from_secs(2));
        let (mut capture, monitor) = one(&settings);
        println!("READY");
        let mut numbers = vec![false; usize::try_from(COUNT).unwrap()];
        let start = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let (began, mut silent) = (Instant::now(), None);
        loop {
            let mut burst = Burst::new();
            match capture.receive(&mut burst).unwrap() {
                Progress::End => break,
                _ => burst.iter().for_each(|frame| {
                    silent.get_or_insert_with(|| began.elapsed());
                    assert_eq!(frame.data.len(), 100);
                    let number = u32::from_be_bytes(frame.data[14..18].try_into().unwrap());
                    let seen = &mut numbers[usize::try_from(number).unwrap()];
                    assert!(!*seen, "{number} came twice");
                    *seen = true;
                    let time = u128::from(frame.timestamp.nanos());
                    assert!(time.abs_diff(start) < 60_000_000_000, "{time} {start}");
                }),
            }
        }
        let lost = numbers.iter().filter(|&&seen| !seen).count();
        assert_eq!(lost, 0);
        assert_eq!(capture.counters().received, u64::from(COUNT));
        // The queues were looked at all the time before the first packet: none waited so long.
        let waits = capture.counters().waits;
        let mean = Duration::from_nanos(waits.nanos() / waits.count());
        assert!(mean < silent.unwrap(), "{mean:?} {silent:?}");
        assert_eq!(monitor.snapshot().ports[0].received, u64::from(COUNT));
        println!("driver stamps: {}", capture.time().is_none());
        return;
    }
    let Some(veth) = Veth::new(TEST) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = write_pcap(folder.path(), "in", &records(COUNT, 100));
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut receiver = receiver(&veth, TEST);
    let lines = until_ready(&mut receiver);
    veth.replay(&file, 20_000);
    finish(receiver, lines);
}

#[test]
fn a_device_that_disappears_is_an_error() {
    const TEST: &str = "a_device_that_disappears_is_an_error";
    if inside(TEST) {
        let port = PortSettings::new("net_af_packet0,iface=rx0");
        let mut settings = settings(vec![port]);
        settings.idle_exit = Some(PATIENCE);
        let (mut capture, monitor) = one(&settings);
        println!("READY");
        let error = loop {
            let mut burst = Burst::new();
            match capture.receive(&mut burst) {
                Ok(progress) => assert_ne!(progress, Progress::End),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("net_af_packet0"), "{error}");
        assert!(error.to_string().contains("gone"), "{error}");
        assert!(!monitor.snapshot().ports[0].alive);
        return;
    }
    let Some(veth) = Veth::new(TEST) else {
        return;
    };
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut receiver = receiver(&veth, TEST);
    let lines = until_ready(&mut receiver);
    veth.unplug();
    finish(receiver, lines);
}
