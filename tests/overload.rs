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
use wirelynx::ring::WhenFull;
use wirelynx::rules::{RuleSet, load, outbox};
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

/// What the thread of the security worker is told, and tells.
#[derive(Default)]
struct There {
    stalls: AtomicBool,
    processed: AtomicU64,
    alerts: AtomicU64,
}

impl There {
    fn work(&self, mut worker: SecurityWorker) {
        loop {
            while self.stalls.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let worked = worker.work(&mut |event: Event| {
                let is_alert = matches!(event, Event::Alert(_));
                self.alerts
                    .fetch_add(u64::from(is_alert), Ordering::Relaxed);
            });
            let processed = worker.counters().processed;
            self.processed.store(processed, Ordering::Relaxed);
            match worked {
                Worked::End => return,
                Worked::Idle => std::thread::sleep(Duration::from_micros(100)),
                Worked::Worked | Worked::Changed => {}
            }
        }
    }
}

/// A worker, and packets for it.
struct Here<'f> {
    worker: Worker,
    start: Instant,
    chunks: std::iter::Cycle<std::slice::Chunks<'f, (Vec<u8>, Frame<'static>)>>,
}

impl Here<'_> {
    /// Packets for a while. Their times are those of the clock, as they are live.
    fn go(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap();
            let mut burst = Burst::new();
            for (data, frame) in self.chunks.next().unwrap() {
                let timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000 + now);
                burst.push(Frame {
                    data,
                    timestamp,
                    ..*frame
                });
            }
            self.worker.burst(burst, &mut |_: Event| {});
            self.worker.hurry();
            std::thread::sleep(PACE);
        }
    }

    fn lost(&mut self) -> u64 {
        self.worker.counters().handed.dropped.iter().sum()
    }

    fn sent(&mut self) -> u64 {
        self.worker.counters().handed.sent.iter().sum()
    }

    /// The security worker stops for a while.
    fn stall(&mut self, there: &There, time: Duration) {
        self.go(Duration::from_millis(700));
        assert_eq!(self.lost(), 0, "it keeps up");
        let (memory, before) = (memory_kib(), self.worker.counters().passed);
        there.stalls.store(true, Ordering::Relaxed);
        self.go(time);
        assert!(self.worker.counters().passed > before, "packets go on");
        assert!(self.lost() > 0, "what does not fit is counted");
        let grown = memory_kib().saturating_sub(memory);
        assert!(grown < GROWTH_KIB, "{grown} KiB more");
        there.stalls.store(false, Ordering::Relaxed);
        let since = Instant::now();
        loop {
            let before = self.lost();
            self.go(Duration::from_millis(300));
            if self.lost() == before {
                return;
            }
            assert!(since.elapsed() < RECOVERY, "it still loses matches");
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

    let rings = (256, WhenFull::Drop);
    let (mut outboxes, mut merges) = outbox::between(&rules, (1, 1), None, rings);
    let (outbox, merge) = (outboxes.remove(0), merges.remove(0));
    let security = SecurityWorker::new(Arc::clone(&rules), &settings, merge.bounded(16));
    let there = There::default();
    std::thread::scope(|threads| {
        threads.spawn(|| there.work(security));
        let mut here = Here {
            worker: Worker::with_outbox(rules, &settings, Scope::Rules, Some(outbox)),
            start: Instant::now(),
            chunks: frames.chunks(32).cycle(),
        };
        here.stall(&there, stall);
        // The end comes while it stops once more, with its ring full.
        there.stalls.store(true, Ordering::Relaxed);
        let before = here.lost();
        while here.lost() == before {
            here.go(Duration::from_millis(50));
        }
        here.worker.finish(&mut |_: Event| {});
        let (sent, lost) = (here.sent(), here.lost());
        drop(here);
        there.stalls.store(false, Ordering::Relaxed);
        let done = || there.processed.load(Ordering::Relaxed) + lost;
        let since = Instant::now();
        while done() < sent {
            assert!(
                since.elapsed() < RECOVERY,
                "matches are neither processed nor dropped"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(done(), sent);
    });
    assert!(there.alerts.into_inner() > 0, "attacks are found");
}
