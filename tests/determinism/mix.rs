//! Ordinary traffic with attacks woven in: everything that the rule library looks for, the
//! generator's scenarios, and flows of many hosts, all at the same time.

use crate::generator;
use crate::generator::random::Random;
use crate::generator::replicate::{Mix, Plan, load, replicate};
use crate::run::Trace;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wirelynx::capture::{Burst, Capture as _, Progress, file};
use wirelynx::expr::Mode;
use wirelynx::rules::RuleSet;
use wirelynx::rules::load::Loader;
use wirelynx::worker::Settings;

/// Time of the first packet in nanoseconds.
const START: u64 = 1_700_000_000_000_000_000;

/// Packets a second.
const RATE: u64 = 20_000;

/// Settings that no mix comes to the bounds of.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings {
        seed: 0xabc,
        ..Settings::default()
    };
    settings.flows.flows_max = 1 << 18;
    settings.applications.flows_max = 1 << 18;
    settings.applications.waiting_blocks = 1 << 16;
    settings.applications.partial_blocks = 1 << 16;
    settings
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The whole rule library.
pub(crate) fn library() -> Arc<RuleSet> {
    let paths = [package().join("rules").display().to_string()];
    let read = Loader::new(Mode::Standard, &[package().join("rules/lists")]).read(&paths);
    let (rules, failed) = RuleSet::new(read.properties, Mode::Standard);
    assert!(failed.is_empty(), "{failed:?}");
    assert!(rules.programs.len() > 100, "{} rules", rules.programs.len());
    Arc::new(rules)
}

/// Frames of a capture file.
pub(crate) fn read(path: &Path) -> Trace {
    let mut trace = Trace::default();
    let mut capture = file::open(path.to_str().unwrap()).unwrap();
    loop {
        let mut burst = Burst::new();
        let progress = capture.receive(&mut burst).unwrap();
        burst.iter().for_each(|frame| trace.push(frame));
        if progress == Progress::End {
            return trace;
        }
    }
}

/// The captures of the rule library on which its rules fire.
fn hits() -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let themes = folders(&package().join("rules"));
    let rules = themes.iter().flat_map(|theme| folders(theme));
    let files = rules.flat_map(|rule| folders(&rule));
    let is_hit = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("hit") && name.ends_with(".pcap")
    };
    files.filter(is_hit).collect()
}

/// What the generator makes of its scenarios.
fn scenarios() -> Vec<Trace> {
    let folder = std::fs::read_dir(package().join("bench/scenarios")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let made = paths.iter().map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        let mut trace = Trace::default();
        for frame in generator::generate(&text, 1).unwrap() {
            trace.push(&frame.view());
        }
        trace
    });
    made.collect()
}

/// A mix of so many packets and a few more.
pub(crate) fn mix(packets: u64, seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut frames: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut attacks: Vec<Trace> = hits().iter().map(|path| read(path)).collect();
    assert!(attacks.len() > 100, "{} captures", attacks.len());
    attacks.extend(scenarios());
    // A third of it, or each once.
    let mut woven = 0;
    while woven < packets / 3 {
        for attack in &attacks {
            let begins = START + random.bits() % (packets * 1_000_000_000 / RATE);
            let first = attack
                .frames()
                .next()
                .map_or(0, |frame| frame.timestamp.nanos());
            for frame in attack.frames() {
                let time = begins + frame.timestamp.nanos().saturating_sub(first);
                frames.push((time, frame.data.to_vec()));
            }
            woven += u64::try_from(attack.len()).unwrap();
        }
    }
    let plan = Plan {
        packets: packets.saturating_sub(woven).max(packets / 2),
        flows: packets / 16,
        mix: Mix::Min64,
        seed,
        rate: RATE,
        concurrent: 500,
    };
    let templates = load(&[], plan.mix).unwrap();
    replicate(&templates, &plan, &mut |time, data| {
        frames.push((time, data.to_vec()));
        Ok(())
    })
    .unwrap();
    frames.sort_by_key(|(time, _)| *time);
    let mut trace = Trace::default();
    for (time, data) in &frames {
        trace.add(*time, data);
    }
    trace
}

/// How the times of packets follow each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Times {
    InOrder,
    /// Some are late, by up to ten seconds.
    Late,
    /// All are the same.
    Still,
    /// One is years ahead, and later ones are in order again.
    Jump,
}

/// Change the times of a trace that is in order.
pub(crate) fn set(trace: &mut Trace, times: Times) {
    let mut random = Random::new(5);
    let middle = trace.len() / 2;
    trace.retime(|number, time| match times {
        Times::Late if random.bits().is_multiple_of(50) => time - random.bits() % 10_000_000_000,
        Times::Still => START,
        Times::Jump if number == middle => time + 200_000_000_000_000_000,
        Times::InOrder | Times::Late | Times::Jump => time,
    });
}
