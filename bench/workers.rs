//! What several workers and security workers bring: `cargo bench --bench workers -- --help`.
//!
//! Two tables, in elapsed time, since it is threads that are measured: a machine with other work or
//! with fewer cores than threads shows that. `read` is the whole of `wirelynx read` but for the
//! file: a reader, the workers, the security workers and the writers. `split` has no reader: the
//! frames are in memory, split by flow beforehand as receive side scaling does, and each worker
//! walks over its own. Each run is one pass with fresh tables; the CPU time of all threads stands
//! beside it, which does not depend on how many of them run at the same time.

#[path = "traffic/mod.rs"]
#[allow(dead_code, reason = "the command line of the generator uses the rest")]
mod traffic;

#[path = "clock.rs"]
#[allow(dead_code, reason = "these runs are of several threads")]
mod clock;

use clap::Parser;
use clock::{Failure, each_burst, preload, replica};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use traffic::replicate::Mix;
use wirelynx::capture::Burst;
use wirelynx::capture::memory::Preloaded;
use wirelynx::control::pipeline::{Pipeline, Shape};
use wirelynx::dissect;
use wirelynx::expr::Mode;
use wirelynx::flow::steering::Steering;
use wirelynx::output::Event;
use wirelynx::output::alert::Format;
use wirelynx::output::writer::{Sinks, Target, WhenFull};
use wirelynx::packet::{Facts, Frame, Timestamp};
use wirelynx::rules::{RuleSet, load as rule_files, outbox};
use wirelynx::worker::security::{Progress, SecurityWorker};
use wirelynx::worker::{Scope, Settings, Worker};

/// Throughput by numbers of workers and security workers.
#[derive(Debug, Parser)]
#[command(name = "workers")]
struct Arguments {
    /// Capture file to measure on; without one, a replicated mix.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Packets of the replicated mix.
    #[arg(long, default_value_t = 1_000_000)]
    packets: u64,
    /// Flows of the replicated mix.
    #[arg(long, default_value_t = 50_000)]
    flows: u64,
    /// Measured runs of each row.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Rule files or folders.
    #[arg(long, default_value = "rules")]
    rules: Vec<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match measure_all(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "workers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(arguments: &Arguments) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = input(arguments, folder.path())?;
    let mut frames = preload(&path)?;
    let rules = rules(&arguments.rules, true)?;
    let none = rules_of(Vec::new());
    let packets = frames.frames();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{packets} packets, {} rules; median of {} runs\n",
        rules.programs.len(),
        arguments.runs
    )?;
    let mut row = |name: &str, first: &mut Option<f64>, run: &mut dyn FnMut() -> Measured| {
        let mut all: Vec<(Duration, Duration)> = Vec::new();
        for _ in 0..arguments.runs {
            all.push(run()?);
        }
        let [elapsed, cpu] = [median(&all, |run| run.0), median(&all, |run| run.1)];
        let per_packet = |time: Duration| time.as_secs_f64() * 1e9 / as_f64(packets);
        let ratio = *first.get_or_insert(elapsed.as_secs_f64()) / elapsed.as_secs_f64();
        writeln!(
            out,
            "{name:<34} {:>7.2} Mpps {ratio:>6.2} x {:>7.0} ns CPU a packet",
            1e3 / per_packet(elapsed),
            per_packet(cpu),
        )?;
        Ok::<(), Failure>(())
    };
    let mut first = None;
    for (workers, security) in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)] {
        let name = format!("read, {workers} + {security}");
        let shape = Shape {
            workers,
            security_workers: security,
            ..Shape::default()
        };
        row(&name, &mut first, &mut || read(&mut frames, &rules, &shape))?;
    }
    let scopes = [
        ("headers", Scope::Headers),
        ("flows", Scope::Flows),
        ("applications", Scope::Applications),
    ];
    for (name, scope) in scopes {
        let mut first = None;
        for workers in [1, 2] {
            let shares = split(&mut frames, workers)?;
            let name = format!("split, {name}, {workers}");
            row(&name, &mut first, &mut || walk(&shares, &none, scope, 0))?;
        }
    }
    let mut first = None;
    for (workers, security) in [(1, 0), (1, 1), (2, 1), (2, 2)] {
        let shares = split(&mut frames, workers)?;
        let name = format!("split, rules, {workers} + {security}");
        row(&name, &mut first, &mut || {
            walk(&shares, &rules, Scope::Rules, security)
        })?;
    }
    Ok(())
}

/// Elapsed and CPU time of a run.
type Measured = Result<(Duration, Duration), Failure>;

fn median(
    runs: &[(Duration, Duration)],
    of: impl Fn(&(Duration, Duration)) -> Duration,
) -> Duration {
    let mut times: Vec<Duration> = runs.iter().map(of).collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "a count below 2^53")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn input(arguments: &Arguments, folder: &Path) -> Result<PathBuf, Failure> {
    match &arguments.input {
        Some(path) => Ok(path.clone()),
        None => replica(folder, Mix::Imix480, (arguments.packets, arguments.flows)),
    }
}

fn rules(paths: &[String], wanted: bool) -> Result<Arc<RuleSet>, Failure> {
    let loaded = rule_files::read(paths, Mode::Standard);
    if wanted && loaded.properties.is_empty() {
        return Err("no rule was loaded; name some with --rules".into());
    }
    Ok(rules_of(loaded.properties))
}

fn rules_of(properties: Vec<wirelynx::rules::property::Property>) -> Arc<RuleSet> {
    Arc::new(RuleSet::new(properties, Mode::Standard).0)
}

/// One pass through reader, workers, security workers and writers.
fn read(frames: &mut Preloaded, rules: &Arc<RuleSet>, shape: &Shape) -> Measured {
    let nowhere = || Some(Target::new(Box::new(io::sink())));
    let sinks = Sinks {
        alerts: nowhere(),
        format: Format::Json,
        limiter: None,
        flows: nowhere(),
        shared: false,
        rules: Arc::clone(rules),
    };
    let settings = Settings::default();
    if shape.is_inline() {
        let mut worker = Worker::new(Arc::clone(rules), &settings, Scope::Rules);
        let (writer, mut queues) =
            wirelynx::output::writer::Writer::start(sinks, (1, 0), WhenFull::Wait)?;
        let mut queue = queues.remove(0);
        let before = (Instant::now(), process_cpu()?);
        each_burst(frames, |burst| {
            worker.burst(burst, &mut queue);
            let settled = worker.settled();
            queue.advance(settled.alerts, settled.flows, false);
        })?;
        worker.finish(&mut queue);
        queue.finish();
        writer.finish()?;
        return Ok((before.0.elapsed(), process_cpu()?.saturating_sub(before.1)));
    }
    let mut pipeline = Pipeline::start(rules, &settings, shape, sinks)?;
    let before = (Instant::now(), process_cpu()?);
    each_burst(frames, |burst| {
        pipeline.burst(&burst);
    })?;
    pipeline.finish()?;
    Ok((before.0.elapsed(), process_cpu()?.saturating_sub(before.1)))
}

/// User and system time of the process, threads that have ended included; in ticks of 10 ms.
fn process_cpu() -> Result<Duration, Failure> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks = |place: usize| fields.get(place).unwrap_or(&"0").parse::<u64>();
    Ok(Duration::from_millis((ticks(12)? + ticks(13)?) * 10))
}

/// Frames of one worker.
struct Share {
    bytes: Vec<u8>,
    frames: Vec<(usize, Frame<'static>)>,
}

/// Frames by worker, as a port with receive side scaling gives them.
fn split(frames: &mut Preloaded, workers: usize) -> Result<Vec<Share>, Failure> {
    let mut steering = Steering::new(workers, 1);
    let share = |_| Share {
        bytes: Vec::new(),
        frames: Vec::new(),
    };
    let mut shares: Vec<Share> = (0..workers).map(share).collect();
    let (mut number, mut clock) = (0, Timestamp::default());
    each_burst(frames, |burst| {
        for frame in &burst {
            number += 1;
            clock = clock.max(frame.timestamp);
            let frame = Frame {
                number,
                clock,
                ..*frame
            };
            let mut facts = Facts::new();
            dissect::headers(&frame, &mut facts);
            let worker = steering.worker(&frame, &facts);
            if let Some(share) = shares.get_mut(worker) {
                share.bytes.extend_from_slice(frame.data);
                let kept = Frame { data: &[], ..frame };
                share.frames.push((share.bytes.len(), kept));
            }
        }
    })?;
    Ok(shares)
}

/// One pass of each worker over its share, all at the same time.
fn walk(shares: &[Share], rules: &Arc<RuleSet>, scope: Scope, security: usize) -> Measured {
    let rings = (256, WhenFull::Wait);
    let (outboxes, merges) = outbox::between(rules, (shares.len(), security), None, rings);
    let settings = Settings::default();
    let ready = Barrier::new(shares.len() + merges.len() + 1);
    std::thread::scope(|threads| {
        let mut all = Vec::new();
        for (share, outbox) in shares.iter().zip(outboxes) {
            let rules = Arc::clone(rules);
            let (settings, ready) = (&settings, &ready);
            all.push(threads.spawn(move || {
                let outbox = (security > 0).then_some(outbox);
                let worker = Worker::with_outbox(rules, settings, scope, outbox);
                ready.wait();
                let before = cpu_of_thread();
                follow(worker, share);
                cpu_of_thread().saturating_sub(before)
            }));
        }
        for merge in merges {
            let rules = Arc::clone(rules);
            let (settings, ready) = (&settings, &ready);
            all.push(threads.spawn(move || {
                let mut worker = SecurityWorker::new(rules, settings, merge);
                ready.wait();
                let before = cpu_of_thread();
                loop {
                    match worker.work(&mut |_: Event| {}) {
                        Progress::End => return cpu_of_thread().saturating_sub(before),
                        Progress::Idle => std::thread::sleep(Duration::from_micros(50)),
                        Progress::Worked | Progress::Changed => {}
                    }
                }
            }));
        }
        ready.wait();
        let start = Instant::now();
        let mut spent = Duration::ZERO;
        for thread in all {
            spent += thread.join().map_err(|_| "a thread has panicked")?;
        }
        Ok((start.elapsed(), spent))
    })
}

/// CPU time of this thread; 0 where the system does not tell.
fn cpu_of_thread() -> Duration {
    Duration::from_nanos(clock::cpu_nanos().unwrap_or(0))
}

fn follow(mut worker: Worker, share: &Share) {
    let mut start = 0;
    let mut sink = |_: Event| {};
    for frames in share.frames.chunks(wirelynx::limits::BURST_MAX) {
        let mut burst = Burst::new();
        for (end, frame) in frames {
            let data = share.bytes.get(start..*end).unwrap_or(&[]);
            start = *end;
            burst.push(Frame { data, ..*frame });
        }
        worker.burst(burst, &mut sink);
        worker.hurry();
    }
    worker.finish(&mut sink);
}
