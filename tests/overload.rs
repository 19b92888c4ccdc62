//! A security worker that stops for a while: the worker goes on, what is lost is counted by rule,
//! and service is normal soon after.
//!
//! `WIRELYNX_SOAK_SECONDS` says how long it stops: 2 by default.
#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

#[path = "common/program.rs"]
#[allow(dead_code, reason = "the program is not run here")]
mod program;

use program::generate;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::expr::Mode;
use wirelynx::output::Event;
use wirelynx::packet::{Frame, Timestamp};
use wirelynx::ring::{WhenFull, rings};
use wirelynx::rules::outbox::Outbox;
use wirelynx::rules::placement::Placement;
use wirelynx::rules::{RuleSet, load};
use wirelynx::worker::security::{Progress as Worked, SecurityWorker};
use wirelynx::worker::{Scope, Settings, Worker};

/// Bursts are sent at this distance: some 15,000 packets a second, far below what both can take.
const PACE: Duration = Duration::from_millis(2);

/// Normal service is back within this.
const RECOVERY: Duration = Duration::from_secs(5);

const GROWTH_KIB: u64 = 32 << 10;

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Frames of the scans, with their bytes.
fn frames(folder: &Path) -> Vec<(Vec<u8>, Frame<'static>)> {
    let made = generate("scans", folder);
    let mut capture = file::open(made.to_str().unwrap()).unwrap();
    let mut all = Vec::new();
    loop {
        let mut burst = Burst::new();
        let progress = capture.receive(&mut burst).unwrap();
        for frame in &burst {
            all.push((
                frame.data.to_vec(),
                Frame {
                    data: &[],
                    ..*frame
                },
            ));
        }
        if progress == Progress::End {
            return all;
        }
    }
}

#[test]
fn a_security_worker_that_stops_is_missed_and_nothing_else() {
    let stall = std::env::var("WIRELYNX_SOAK_SECONDS").ok();
    let stall = Duration::from_secs(stall.map_or(2, |seconds| seconds.parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let frames = frames(folder.path());
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let read = load::read(&[library.display().to_string()], Mode::Standard);
    let (rules, _) = RuleSet::new(read.properties, Mode::Standard);
    let rules = Arc::new(rules);
    let mut settings = Settings::default();
    settings.flows.flows_max = 4_096;
    settings.applications.flows_max = 64;
    settings.fragments.datagrams_max = 8;

    let placement = Arc::new(Placement::spread(&rules, 1, None));
    let (senders, merge) = rings(1, 16);
    let outbox = Outbox::new(placement, senders, rules.programs.len(), WhenFull::Drop);
    let stalls = AtomicBool::new(false);
    let processed = AtomicU64::new(0);
    let mut alerts = 0_u64;
    std::thread::scope(|threads| {
        let (rules_there, settings_there) = (Arc::clone(&rules), settings.clone());
        let (stalls, processed) = (&stalls, &processed);
        let alerts = &mut alerts;
        threads.spawn(move || {
            let merge = merge.bounded(16);
            let mut worker = SecurityWorker::new(rules_there, &settings_there, merge);
            loop {
                while stalls.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let worked = worker.work(&mut |event: Event| {
                    *alerts += u64::from(matches!(event, Event::Alert(_)));
                });
                processed.store(worker.counters().processed, Ordering::Relaxed);
                match worked {
                    Worked::End => return,
                    Worked::Idle => std::thread::sleep(Duration::from_micros(100)),
                    Worked::Worked | Worked::Changed => {}
                }
            }
        });

        let mut worker =
            Worker::with_outbox(Arc::clone(&rules), &settings, Scope::Rules, Some(outbox));
        let start = Instant::now();
        let mut chunks = frames.chunks(32).cycle();
        // The times of packets are those of the clock, as they are live.
        let mut go = |worker: &mut Worker, time: Duration| {
            let until = Instant::now() + time;
            while Instant::now() < until {
                let now = u64::try_from(start.elapsed().as_nanos()).unwrap();
                let mut burst = Burst::new();
                for (data, frame) in chunks.next().unwrap() {
                    let timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000 + now);
                    burst.push(Frame {
                        data,
                        timestamp,
                        ..*frame
                    });
                }
                worker.burst(burst, &mut |_: Event| {});
                worker.hurry();
                std::thread::sleep(PACE);
            }
        };
        let lost = |worker: &mut Worker| worker.counters().handed.dropped.iter().sum::<u64>();
        let sent = |worker: &mut Worker| worker.counters().handed.sent.iter().sum::<u64>();

        go(&mut worker, Duration::from_millis(700));
        assert_eq!(lost(&mut worker), 0, "it keeps up");
        let (memory, before) = (memory_kib(), worker.counters().passed);
        stalls.store(true, Ordering::Relaxed);
        go(&mut worker, stall);
        assert!(worker.counters().passed > before, "packets go on");
        assert!(lost(&mut worker) > 0, "what does not fit is counted");
        let grown = memory_kib().saturating_sub(memory);
        assert!(grown < GROWTH_KIB, "{grown} KiB more");
        stalls.store(false, Ordering::Relaxed);
        let since = Instant::now();
        loop {
            let before = lost(&mut worker);
            go(&mut worker, Duration::from_millis(300));
            if lost(&mut worker) == before {
                break;
            }
            assert!(since.elapsed() < RECOVERY, "it still loses matches");
        }
        let (sent, lost) = (sent(&mut worker), lost(&mut worker));
        worker.finish(&mut |_: Event| {});
        drop(worker);
        let since = Instant::now();
        while processed.load(Ordering::Relaxed) + lost < sent {
            assert!(
                since.elapsed() < RECOVERY,
                "matches are neither processed nor dropped"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(processed.load(Ordering::Relaxed) + lost, sent);
    });
    assert!(alerts > 0, "attacks are found");
}
