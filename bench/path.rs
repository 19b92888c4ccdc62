//! What a packet costs, stage by stage: `cargo bench --bench path -- --help`.
//!
//! Frames are in memory before the clock runs. A pass is one walk over all of them; the first one
//! warms caches and fills the tables and is not measured. Runs of later passes are, in CPU time of
//! the thread, since on a shared machine elapsed time measures the neighbours. One row an input and
//! scope; a scope contains those above it, so differences are what a stage costs.
//!
//! Later passes meet the connections of the first again. For scopes with state that is not the
//! traffic of a network: flows are found and not created, and rules may see a repetition as an
//! attack. Hence alerts of the first pass and of the others are printed apart; where they differ,
//! the row of `rules` measures the repetition. Inputs of a second and more keep passes apart.

#[path = "traffic/mod.rs"]
#[allow(dead_code, reason = "the command line of the generator uses the rest")]
mod traffic;

#[path = "clock.rs"]
mod clock;

use clap::Parser;
use clock::{Failure, cpu_nanos, each_burst, preload, replica};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use traffic::replicate::{Mix, captures_folder};
use wirelynx::capture::memory::Preloaded;
use wirelynx::expr::Mode;
use wirelynx::output::Event;
use wirelynx::packet::Frame;
use wirelynx::rules::{RuleSet, load as rule_files};
use wirelynx::worker::{Scope, Settings, Worker};

/// CPU time of one run at least. The system advances a thread's CPU time by ticks, of 4 ms where
/// that was looked at: shorter runs would measure the tick.
const RUN_NANOS_MIN: u64 = 800_000_000;

/// Set in a run under taskset, so that it does not start another one.
const PINNED: &str = "WIRELYNX_BENCH_PINNED";

/// What is measured: how far packets go. To measure another stage, add a line.
const SCOPES: &[(&str, Option<Scope>)] = &[
    // Fetching a burst and the first line of each frame: the cost of the measurement itself.
    ("receive", None),
    ("headers", Some(Scope::Headers)),
    ("flows", Some(Scope::Flows)),
    ("applications", Some(Scope::Applications)),
    ("rules", Some(Scope::Rules)),
];

/// Time and instructions per packet of each stage of the path.
#[derive(Debug, Parser)]
#[command(name = "path")]
struct Arguments {
    /// Capture files to measure on; without one, both mixes of the replicator.
    #[arg(long)]
    input: Vec<PathBuf>,
    /// Packets of each replicated input.
    #[arg(long, default_value_t = 1_000_000)]
    packets: u64,
    /// Flows of each replicated input.
    #[arg(long, default_value_t = 100_000)]
    flows: u64,
    /// Measured runs, each of as many passes over the input as give a readable time.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..=1_000))]
    runs: u32,
    /// Only these scopes.
    #[arg(long)]
    scope: Vec<String>,
    /// Rule files or folders for scope `rules`; without one, the published ones beside the
    /// captures.
    #[arg(long)]
    rules: Vec<String>,
    /// Count instructions instead: under valgrind, as the difference between two and one passes.
    #[arg(long)]
    instructions: bool,
    /// Core to run on, where `taskset` is there.
    #[arg(long, default_value_t = 0)]
    core: u32,
    /// Make that many passes and print nothing: what runs under valgrind.
    #[arg(long, hide = true)]
    only: Option<u64>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.only {
        Some(passes) => walk_only(&arguments, passes),
        None if std::env::var_os(PINNED).is_none() && pinned(arguments.core) => {
            return ExitCode::SUCCESS;
        }
        None => measure_all(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "path: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Run this program again on one core; false where that cannot be done.
fn pinned(core: u32) -> bool {
    let Ok(program) = std::env::current_exe() else {
        return false;
    };
    let mut again = Command::new("taskset");
    again.args(["-c", &core.to_string()]).arg(program);
    let again = again.args(std::env::args_os().skip(1)).env(PINNED, "1");
    again.status().is_ok_and(|status| status.success())
}

/// The inputs with their names; replicated ones are written to `folder`.
fn inputs(arguments: &Arguments, folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    if !arguments.input.is_empty() {
        let named = |path: &PathBuf| {
            let name = path.file_stem().unwrap_or(path.as_os_str());
            (name.to_string_lossy().into_owned(), path.clone())
        };
        return Ok(arguments.input.iter().map(named).collect());
    }
    let mut inputs = Vec::new();
    for (name, mix) in [("imix480", Mix::Imix480), ("min64", Mix::Min64)] {
        let size = (arguments.packets, arguments.flows);
        let path = replica(folder, mix, size)?;
        inputs.push((name.to_owned(), path));
    }
    Ok(inputs)
}

/// The rules of scope `rules`, and of no other. What does not load is told: a rule that is not
/// there costs nothing, and the row would look better than it is.
fn rules(arguments: &Arguments, scope: Option<Scope>) -> Result<Arc<RuleSet>, Failure> {
    let mut properties = Vec::new();
    if scope == Some(Scope::Rules) {
        let mut paths = arguments.rules.clone();
        if paths.is_empty() {
            let published = captures_folder().join("mmt-security/rules");
            paths.push(published.to_string_lossy().into_owned());
        }
        let loaded = rule_files::read(&paths, Mode::Standard);
        let errors = loaded.diagnostics.iter().filter(|d| d.is_error());
        let skipped: BTreeSet<&str> = errors.map(|d| d.file.as_str()).collect();
        for file in skipped {
            writeln!(io::stderr(), "path: not measured, has an error: {file}")?;
        }
        properties = loaded.properties;
    }
    let (rules, failed) = RuleSet::new(properties, Mode::Standard);
    for (id, error) in failed {
        writeln!(io::stderr(), "path: not measured: rule {id}: {error}")?;
    }
    if scope == Some(Scope::Rules) {
        if rules.programs.is_empty() {
            return Err("scope rules: no rule was loaded; name some with --rules".into());
        }
        writeln!(io::stderr(), "path: {} rules loaded", rules.programs.len())?;
    }
    Ok(Arc::new(rules))
}

/// One way of walking over frames, with the state it builds up.
struct Walk {
    worker: Option<Worker>,
    alerts: u64,
    /// Flows that ended.
    ended: u64,
    sum: u64,
}

impl Walk {
    fn new(arguments: &Arguments, scope: Option<Scope>) -> Result<Self, Failure> {
        let rules = rules(arguments, scope)?;
        Ok(Self {
            worker: scope.map(|scope| Worker::new(rules, &Settings::default(), scope)),
            alerts: 0,
            ended: 0,
            sum: 0,
        })
    }

    /// Walk over every frame once.
    fn pass(&mut self, frames: &mut Preloaded) -> Result<(), Failure> {
        let Self {
            worker,
            alerts,
            ended,
            sum,
        } = self;
        each_burst(frames, |burst| match worker {
            Some(worker) => worker.burst(burst, &mut |event: Event| match event {
                Event::Alert(_) => *alerts += 1,
                _ => *ended += 1,
            }),
            None => {
                let first = |frame: &Frame<'_>| frame.data.first().copied().unwrap_or(0);
                *sum += burst
                    .iter()
                    .map(|frame| u64::from(first(frame)))
                    .sum::<u64>();
            }
        })?;
        std::hint::black_box(&self.sum);
        Ok(())
    }
}

fn scopes(arguments: &Arguments) -> Result<Vec<(&'static str, Option<Scope>)>, Failure> {
    if let Some(name) = arguments
        .scope
        .iter()
        .find(|name| !SCOPES.iter().any(|(known, _)| known == name))
    {
        let names: Vec<_> = SCOPES.iter().map(|(name, _)| *name).collect();
        return Err(format!("no scope `{name}`; there are: {}", names.join(", ")).into());
    }
    let wanted = |(name, _): &&(&str, _)| {
        arguments.scope.is_empty() || arguments.scope.iter().any(|wanted| wanted == name)
    };
    Ok(SCOPES.iter().filter(wanted).copied().collect())
}

fn measure_all(arguments: &Arguments) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let mut out = io::stdout();
    if arguments.instructions {
        writeln!(
            out,
            "{:<12} {:<13} {:>12}",
            "input", "scope", "instr/packet"
        )?;
    } else {
        writeln!(
            out,
            "{:<12} {:<13} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "input",
            "scope",
            "ns/packet",
            "min",
            "max",
            "Mpps",
            "Gbit/s",
            "alerts 1",
            "alerts 2+",
            "ended"
        )?;
    }
    for (name, path) in inputs(arguments, folder.path())? {
        for (scope, stages) in scopes(arguments)? {
            if arguments.instructions {
                let count = instructions(arguments, scope, &path)?;
                writeln!(out, "{name:<12} {scope:<13} {count:>12.1}")?;
            } else {
                measure(arguments, &name, scope, stages, &path)?;
            }
        }
    }
    Ok(())
}

#[allow(
    clippy::cast_precision_loss,
    reason = "rates are printed with four digits"
)]
fn measure(
    arguments: &Arguments,
    name: &str,
    scope: &str,
    stages: Option<Scope>,
    path: &Path,
) -> Result<(), Failure> {
    let mut frames = preload(path)?;
    let mut walk = Walk::new(arguments, stages)?;
    walk.pass(&mut frames)?;
    let first = walk.alerts;
    let packets = frames.frames() as f64;
    let mut times = Vec::new();
    for _ in 0..arguments.runs {
        let (began, mut spent, mut passes) = (cpu_nanos()?, 0, 0.0);
        while spent < RUN_NANOS_MIN {
            walk.pass(&mut frames)?;
            passes += 1.0;
            spent = cpu_nanos()?.saturating_sub(began);
        }
        times.push(spent as f64 / packets / passes);
    }
    times.sort_by(f64::total_cmp);
    let per_packet = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
    let median = per_packet(times.len() / 2);
    writeln!(
        io::stdout(),
        "{name:<12} {scope:<13} {median:>9.1} {:>9.1} {:>9.1} {:>8.3} {:>8.2} {:>8} {:>8} {:>8}",
        per_packet(0),
        per_packet(times.len() - 1),
        1_000.0 / median,
        frames.bytes() as f64 * 8.0 / packets / median,
        first,
        walk.alerts - first,
        walk.ended,
    )?;
    Ok(())
}

/// The part that runs under valgrind.
fn walk_only(arguments: &Arguments, passes: u64) -> Result<(), Failure> {
    let path = arguments.input.first().ok_or("--only needs an --input")?;
    let scope = scopes(arguments)?.first().copied();
    let mut walk = Walk::new(arguments, scope.and_then(|(_, stages)| stages))?;
    let mut frames = preload(path)?;
    for _ in 0..passes {
        walk.pass(&mut frames)?;
    }
    Ok(())
}

/// Instructions a packet of the second pass: what two passes execute less what one does.
#[allow(
    clippy::cast_precision_loss,
    reason = "printed with one digit after the point"
)]
fn instructions(arguments: &Arguments, scope: &str, path: &Path) -> Result<f64, Failure> {
    let mut counts = [0, 0];
    for (count, passes) in counts.iter_mut().zip(["1", "2"]) {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind.arg(std::env::current_exe()?);
        valgrind
            .args(["--only", passes, "--scope", scope, "--input"])
            .arg(path);
        for rules in &arguments.rules {
            valgrind.args(["--rules", rules]);
        }
        let output = valgrind.stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("valgrind: {error}"))?;
        let told = String::from_utf8_lossy(&output.stderr);
        let line = told
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        let Some((_, number)) = line else {
            return Err(format!("valgrind counted nothing:\n{told}").into());
        };
        *count = number.trim().parse::<u64>()?;
    }
    let [one, two] = counts;
    let packets = preload(path)?.frames() as f64;
    Ok(two.saturating_sub(one) as f64 / packets)
}
