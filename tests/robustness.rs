//! No input breaks the data path: every published capture, cut at every byte and broken at random,
//! goes through all stages with all published rules, and every packet, flow and alert is accounted
//! for. And what comes out does not depend on how packets are grouped into bursts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;
#[path = "common/rules.rs"]
mod rules;

use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use wirelynx::capture::fault::{Faulty, Rates};
use wirelynx::capture::file::{self, FileCapture};
use wirelynx::capture::memory::Preloaded;
use wirelynx::capture::{self, Burst, Capture, Progress};
use wirelynx::expr::Mode;
use wirelynx::flow::FlowRecord;
use wirelynx::limits::BURST_MAX;
use wirelynx::metrics::Account;
use wirelynx::output::Event;
use wirelynx::packet::{DropReason, Frame};
use wirelynx::rules::RuleSet;
use wirelynx::rules::joins::{Alert, Limits};
use wirelynx::worker::{Scope, Settings, Sink, Worker};

const INSTANCES_MAX: usize = 5_000;

/// Bounds for one capture, so that many workers can be made.
fn settings(mode: Mode) -> Settings {
    let mut settings = Settings {
        http_compat: mode == Mode::Compat,
        seed: 0x5eed,
        totals: true,
        instances: Some(Limits {
            per_rule: 200,
            total: INSTANCES_MAX,
            ..Limits::default()
        }),
        ..Settings::default()
    };
    settings.flows.flows_max = 8_192;
    settings.fragments.datagrams_max = 64;
    settings.applications.flows_max = 4_096;
    settings.applications.waiting_blocks = 1_024;
    settings.applications.partial_blocks = 512;
    settings
}

/// Bounds that almost every capture runs into.
fn tiny_settings(mode: Mode) -> Settings {
    let mut settings = settings(mode);
    settings.instances = Some(Limits {
        per_rule: 3,
        total: 20,
        ..Limits::default()
    });
    settings.flows.flows_max = 16;
    settings.fragments.datagrams_max = 2;
    settings.applications.flows_max = 4;
    settings.applications.waiting_blocks = 4;
    settings.applications.partial_blocks = 2;
    settings
}

/// What came out of a worker.
#[derive(Debug, Default)]
struct Seen {
    alerts: Vec<Alert>,
    flows: Vec<FlowRecord>,
}

impl Sink for Seen {
    fn event(&mut self, event: Event) {
        match event {
            Event::Alert(alert) => self.alerts.push(alert),
            Event::Flow(record) => self.flows.push(*record),
        }
    }
}

/// A worker, what it was given, and what came out.
struct Run {
    worker: Worker,
    seen: Seen,
    source: capture::Counters,
}

impl Run {
    fn new(rules: &Arc<RuleSet>, settings: &Settings) -> Self {
        let worker = Worker::new(Arc::clone(rules), settings, Scope::Rules);
        Self {
            worker,
            seen: Seen::default(),
            source: capture::Counters::default(),
        }
    }

    /// Everything that a source gives.
    fn feed(&mut self, source: &mut dyn Capture) {
        loop {
            let mut burst = Burst::new();
            let received = source.receive(&mut burst).unwrap();
            self.worker.burst(burst, &mut self.seen);
            if received == Progress::End {
                break;
            }
        }
        let counters = source.counters();
        self.source.received += counters.received;
        self.source.bytes += counters.bytes;
        for (sum, count) in self.source.dropped.iter_mut().zip(counters.dropped) {
            *sum += count;
        }
    }

    /// The input has ended: everything must be accounted for.
    fn finish(&mut self, name: &str) {
        self.worker.finish(&mut self.seen);
        let counters = self.worker.counters();
        let account = Account::new(&[self.source], std::slice::from_ref(&counters));
        assert!(account.balances(), "{name}: {account}");
        assert_eq!(counters.received, self.source.received, "{name}");
        assert_eq!(counters.bytes, self.source.bytes, "{name}");
        assert_eq!(
            counters.stops.iter().sum::<u64>(),
            counters.received,
            "{name}"
        );

        let flows = &counters.flows;
        let untracked = flows.table_full + flows.not_ip + flows.fragments + flows.cut_off;
        assert_eq!(
            flows.packets + untracked,
            counters.passed,
            "{name}: {flows:?}"
        );
        assert_eq!(flows.active, 0, "{name}: {flows:?}");
        assert_eq!(
            flows.created,
            flows.ended.iter().sum::<u64>(),
            "{name}: {flows:?}"
        );
        assert_eq!(flows.created, as_u64(self.seen.flows.len()), "{name}");
        let sides = self.seen.flows.iter().flat_map(|record| record.counters);
        assert_eq!(
            flows.packets,
            sides.map(|side| side.packets).sum::<u64>(),
            "{name}"
        );
        let ids: BTreeSet<u64> = self.seen.flows.iter().map(|record| record.id).collect();
        assert_eq!(
            ids.len(),
            self.seen.flows.len(),
            "{name}: a flow was reported twice"
        );

        let alerts: u64 = counters.rules.alerts.iter().sum();
        assert_eq!(alerts, as_u64(self.seen.alerts.len()), "{name}");
        assert!(
            counters.rules.live <= as_u64(INSTANCES_MAX),
            "{name}: {}",
            counters.rules.live
        );
        assert_eq!(
            self.worker.in_use(),
            [0; 4],
            "{name}: something was not given back"
        );
    }

    /// Alerts, and flow records in the order of their flows.
    fn results(mut self) -> (Vec<Alert>, Vec<String>) {
        self.seen.flows.sort_by_key(|record| record.id);
        let flows = self
            .seen
            .flows
            .iter()
            .map(|record| format!("{record:?}"))
            .collect();
        (self.seen.alerts, flows)
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

/// A line of the manifest.
#[derive(Debug, Clone)]
struct Published {
    name: String,
    path: PathBuf,
    bytes: u64,
    packets: u64,
    link: String,
}

fn published(folder: &Path) -> Vec<Published> {
    let text = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let of = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        Published {
            name: columns[0].to_owned(),
            path: folder.join(columns[0]),
            bytes: columns[3].parse().unwrap(),
            packets: columns[4].parse().unwrap(),
            link: columns[6].to_owned(),
        }
    };
    text.lines().skip(1).map(of).collect()
}

/// The two published files that are of another format have no source.
fn open(file: &Published) -> Option<FileCapture> {
    file::open(file.path.to_str().unwrap()).ok()
}

fn preload(file: &Published) -> Option<Preloaded> {
    Some(Preloaded::from_capture(&mut open(file)?, usize::MAX).unwrap())
}

/// The captures, or a word that this did not run.
fn captures(test: &str) -> Option<(PathBuf, Vec<Published>)> {
    let folder = common::captures();
    if folder.is_none() {
        println!("NOT RUN for want of captures: {test}");
    }
    folder.map(|folder| (folder.clone(), published(&folder)))
}

fn both_modes(captures: &Path) -> [(Mode, Arc<RuleSet>); 2] {
    [Mode::Standard, Mode::Compat].map(|mode| (mode, rules::load(captures, mode)))
}

#[test]
fn every_capture_is_accounted_for() {
    let Some((folder, files)) = captures("all captures") else {
        return;
    };
    let start = Instant::now();
    let [packets, alerts, flows, refused] = [const { AtomicU64::new(0) }; 4];
    for (mode, rules) in both_modes(&folder) {
        files.par_iter().for_each(|file| {
            let Some(mut source) = open(file) else {
                refused.fetch_add(1, Ordering::Relaxed);
                return;
            };
            let mut run = Run::new(&rules, &settings(mode));
            run.feed(&mut source);
            run.finish(&file.name);
            let empty = run.source.dropped[DropReason::Empty as usize];
            let read = run.source.received + empty;
            match source.warning() {
                None => assert_eq!(read, file.packets, "{}", file.name),
                Some(damage) => assert!(read <= file.packets, "{}: {damage}", file.name),
            }
            packets.fetch_add(read, Ordering::Relaxed);
            alerts.fetch_add(as_u64(run.seen.alerts.len()), Ordering::Relaxed);
            flows.fetch_add(as_u64(run.seen.flows.len()), Ordering::Relaxed);
        });
    }
    let [packets, alerts, flows, refused] =
        [packets, alerts, flows, refused].map(|n| n.into_inner());
    assert_eq!(refused, 4, "two files of another format, in two modes");
    println!(
        "{} captures in two modes: {packets} packets, {flows} flows, {alerts} alerts, {:.1} s",
        files.len(),
        start.elapsed().as_secs_f32()
    );
}

/// Small captures of every source and link type: the smallest two with several packets.
fn sample(files: &[Published]) -> Vec<Published> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Published>> = BTreeMap::new();
    for file in files {
        let source = file.name.split('/').next().unwrap();
        groups.entry((source, &file.link)).or_default().push(file);
    }
    let smallest = groups.values_mut().flat_map(|group| {
        group.retain(|file| file.packets >= 3 && file.bytes <= 30_000);
        group.sort_by_key(|file| (file.bytes, &file.name));
        group.iter().take(2).copied().cloned()
    });
    smallest.collect()
}

/// Bytes from the start of a file at each of which it is cut.
const CUT_MAX: usize = 3_000;

#[test]
fn every_cut_of_a_file_is_survived() {
    let Some((folder, files)) = captures("cuts of files") else {
        return;
    };
    let start = Instant::now();
    let files = sample(&files);
    assert!(files.len() >= 60, "{}", files.len());
    let cases = AtomicU64::new(0);
    let modes = both_modes(&folder);
    files.par_iter().enumerate().for_each(|(number, file)| {
        let (mode, rules) = &modes[number % 2];
        let bytes = std::fs::read(&file.path).unwrap();
        let mut run = Run::new(rules, &settings(*mode));
        let mut most = 0;
        for length in 0..bytes.len().min(CUT_MAX) {
            cases.fetch_add(1, Ordering::Relaxed);
            let cut = Cursor::new(bytes[..length].to_vec());
            let Ok(mut source) = FileCapture::new(&file.name, cut, None) else {
                continue;
            };
            run.feed(&mut source);
            let whole = source.counters().received;
            assert!(
                whole >= most,
                "{} cut at {length}: {whole} packets",
                file.name
            );
            most = whole;
        }
        run.finish(&file.name);
    });
    println!(
        "{} cuts of {} files, {:.1} s",
        cases.into_inner(),
        files.len(),
        start.elapsed().as_secs_f32()
    );
}

/// The frames of `inner`, cut to so many bytes.
struct Cut<'c> {
    inner: &'c mut Preloaded,
    length: usize,
    /// Let the wire length tell the same: not the capture cut them, they are malformed.
    on_the_wire: bool,
    bytes: u64,
}

impl Capture for Cut<'_> {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<Progress, capture::Error> {
        let progress = self.inner.receive(burst)?;
        for frame in burst {
            frame.data = &frame.data[..self.length.min(frame.data.len())];
            if self.on_the_wire {
                frame.wire_length = u32::try_from(frame.data.len()).unwrap();
            }
            self.bytes += as_u64(frame.data.len());
        }
        Ok(progress)
    }

    fn counters(&self) -> capture::Counters {
        capture::Counters {
            bytes: self.bytes,
            ..self.inner.counters()
        }
    }
}

/// Frames of a capture that are cut.
const CUT_FRAMES_MAX: usize = 12;

#[test]
fn every_cut_of_a_frame_is_survived() {
    let Some((folder, files)) = captures("cuts of frames") else {
        return;
    };
    let start = Instant::now();
    let files = sample(&files);
    let cases = AtomicU64::new(0);
    let modes = both_modes(&folder);
    files.par_iter().enumerate().for_each(|(number, file)| {
        let Some(mut source) = open(file) else { return };
        let mut frames = Preloaded::from_capture(&mut source, CUT_FRAMES_MAX).unwrap();
        let mut longest = 0;
        loop {
            let mut burst = Burst::new();
            if frames.receive(&mut burst).unwrap() == Progress::End {
                break;
            }
            longest = burst
                .iter()
                .map(|frame| frame.data.len())
                .fold(longest, usize::max);
        }
        let (mode, rules) = &modes[number % 2];
        for on_the_wire in [false, true] {
            let mut run = Run::new(rules, &settings(*mode));
            for length in 1..=longest {
                frames.rewind();
                run.feed(&mut Cut {
                    inner: &mut frames,
                    length,
                    on_the_wire,
                    bytes: 0,
                });
            }
            run.finish(&file.name);
            cases.fetch_add(run.source.received, Ordering::Relaxed);
        }
    });
    println!(
        "{} cut frames of {} captures, {:.1} s",
        cases.into_inner(),
        files.len(),
        start.elapsed().as_secs_f32()
    );
}

/// Seed of the random tests: that of the environment, to repeat a failure, or the usual one.
fn seed() -> u64 {
    std::env::var("WIRELYNX_SEED")
        .map_or(1, |text| text.parse().expect("WIRELYNX_SEED is a number"))
}

/// Every so many captures are broken, which ones depends on the seed.
const BROKEN_EVERY: u64 = 3;

#[test]
fn seeded_corruption_is_survived() {
    let Some((folder, files)) = captures("corruption") else {
        return;
    };
    let start = Instant::now();
    let seed = seed();
    println!("corruption with WIRELYNX_SEED={seed}");
    let [cases, packets, faulty] = [const { AtomicU64::new(0) }; 3];
    let modes = both_modes(&folder);
    files.par_iter().enumerate().for_each(|(number, file)| {
        let number = as_u64(number);
        if !(number + seed).is_multiple_of(BROKEN_EVERY) {
            return;
        }
        let Some(source) = preload(file) else { return };
        let rates = Rates {
            flip: 200,
            cut: 50,
            duplicate: 50,
            reorder: 100,
        };
        let (mode, rules) = &modes[usize::try_from(number / BROKEN_EVERY % 2).unwrap()];
        // Twice over: what the first round left behind meets the second.
        let mut source = Faulty::new(source.repeat(2), rates, seed ^ number << 32);
        let owned = frames(&mut source);
        let name = format!("WIRELYNX_SEED={seed}, {}", file.name);
        for settings in [settings(*mode), tiny_settings(*mode)] {
            compare_bursts(&name, &owned, rules, &settings);
        }
        let faults = source.faults();
        let touched = faults.flipped + faults.cut + faults.duplicated + faults.reordered;
        faulty.fetch_add(touched, Ordering::Relaxed);
        packets.fetch_add(as_u64(owned.len()), Ordering::Relaxed);
        cases.fetch_add(1, Ordering::Relaxed);
    });
    let [cases, packets, faulty] = [cases, packets, faulty].map(|n| n.into_inner());
    assert!(cases > 300, "{cases}");
    let seconds = start.elapsed().as_secs_f32();
    println!("{cases} captures: {packets} packets, {faulty} faults, {seconds:.1} s");
}

/// The same packets in bursts of another size.
struct Regrouped<'p> {
    frames: Vec<Frame<'p>>,
    size: usize,
    given: usize,
    bytes: u64,
}

impl Capture for Regrouped<'_> {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<Progress, capture::Error> {
        let rest = &self.frames[self.given..];
        if rest.is_empty() {
            return Ok(Progress::End);
        }
        burst.extend(rest[..self.size.min(rest.len())].iter().copied());
        self.given += burst.len();
        self.bytes += burst
            .iter()
            .map(|frame| as_u64(frame.data.len()))
            .sum::<u64>();
        Ok(Progress::Frames)
    }

    fn counters(&self) -> capture::Counters {
        let received = as_u64(self.given);
        capture::Counters {
            received,
            bytes: self.bytes,
            ..capture::Counters::default()
        }
    }
}

/// A frame without its bytes, and these.
type Owned = (Vec<u8>, Frame<'static>);

/// Copies of all frames of a source.
fn frames(source: &mut dyn Capture) -> Vec<Owned> {
    let mut all = Vec::new();
    loop {
        let mut burst = Burst::new();
        if source.receive(&mut burst).unwrap() == Progress::End {
            return all;
        }
        let copy = |frame: &Frame<'_>| {
            (
                frame.data.to_vec(),
                Frame {
                    data: &[],
                    ..*frame
                },
            )
        };
        all.extend(burst.iter().map(copy));
    }
}

fn frames_of(file: &Published) -> Vec<Owned> {
    open(file).map_or(Vec::new(), |mut source| frames(&mut source))
}

/// Results of the same packets in bursts of different sizes must be the same; packets, alerts,
/// flows.
fn compare_bursts(
    name: &str,
    owned: &[Owned],
    rules: &Arc<RuleSet>,
    settings: &Settings,
) -> [u64; 3] {
    let results = |size| {
        let frames = owned
            .iter()
            .map(|(data, frame)| Frame { data, ..*frame })
            .collect();
        let mut run = Run::new(rules, settings);
        run.feed(&mut Regrouped {
            frames,
            size,
            given: 0,
            bytes: 0,
        });
        run.finish(name);
        let counters = format!("{:?}", run.worker.counters());
        (run.results(), counters)
    };
    let ((alerts, flows), counters) = results(1);
    for size in [7, BURST_MAX] {
        let ((other_alerts, other_flows), other_counters) = results(size);
        for (one, other) in flows.iter().zip(&other_flows) {
            assert_eq!(one, other, "{name}: flows with bursts of {size}");
        }
        assert_eq!(
            flows.len(),
            other_flows.len(),
            "{name}: flows with bursts of {size}"
        );
        let first = alerts
            .iter()
            .zip(&other_alerts)
            .find(|(one, other)| one != other);
        assert_eq!(first, None, "{name}: alerts with bursts of {size}");
        assert_eq!(
            alerts.len(),
            other_alerts.len(),
            "{name}: alerts with bursts of {size}"
        );
        assert_eq!(
            counters, other_counters,
            "{name}: counters with bursts of {size}"
        );
    }
    [
        as_u64(owned.len()),
        as_u64(alerts.len()),
        as_u64(flows.len()),
    ]
}

fn add(sums: [u64; 3], more: [u64; 3]) -> [u64; 3] {
    [sums[0] + more[0], sums[1] + more[1], sums[2] + more[2]]
}

#[test]
fn the_size_of_bursts_changes_nothing() {
    let Some((folder, files)) = captures("burst sizes") else {
        return;
    };
    let start = Instant::now();
    let [(mode, rules), (compat, compat_rules)] = both_modes(&folder);
    let sums = files.par_iter().enumerate().map(|(number, file)| {
        let owned = frames_of(file);
        // One mode is enough for each capture: rules look at one packet at a time in both.
        match number % 4 {
            0 => compare_bursts(&file.name, &owned, &compat_rules, &settings(compat)),
            _ => compare_bursts(&file.name, &owned, &rules, &settings(mode)),
        }
    });
    let [packets, alerts, flows] = sums.reduce(|| [0; 3], add);
    let seconds = start.elapsed().as_secs_f32();
    println!(
        "bursts of 1, 7, 32: {packets} packets, {flows} flows, {alerts} alerts, {seconds:.1} s"
    );
}

/// Captures of one source as one input, in the order of the manifest: time jumps back and forth
/// between them, and every table is too small.
#[test]
fn the_size_of_bursts_changes_nothing_when_tables_are_full() {
    let Some((folder, files)) = captures("burst sizes with full tables") else {
        return;
    };
    let start = Instant::now();
    let [(mode, rules), _] = both_modes(&folder);
    let chunks: Vec<&[Published]> = files.chunks(40).collect();
    let sums = chunks.par_iter().map(|files| {
        let owned: Vec<_> = files.iter().flat_map(frames_of).collect();
        let name = format!("{} and 39 more", files[0].name);
        compare_bursts(&name, &owned, &rules, &tiny_settings(mode))
    });
    let [packets, alerts, flows] = sums.reduce(|| [0; 3], add);
    let seconds = start.elapsed().as_secs_f32();
    println!("full tables: {packets} packets, {flows} flows, {alerts} alerts, {seconds:.1} s");
}
