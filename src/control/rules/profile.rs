//! `wirelynx rules profile`: what each rule does, and costs, on a capture.
//!
//! A clock in the data path would slow what it measures. So the rules run as they always do, and
//! beside them, on every packet, each rule once more alone, between two looks at the clock.

use crate::capture::memory::Preloaded;
use crate::capture::{Burst, Capture, Progress, file};
use crate::control::{Failure, load, seed};
use crate::dissect::attribute::{Value, View};
use crate::expr::Mode;
use crate::output::Event;
use crate::rules::joins::Limits;
use crate::rules::{Engine, RuleCounts, RuleSet};
use crate::worker::{Scope, Settings, Sink, Worker};
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shown under `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  wirelynx rules profile trace.pcap --rules rules/
  wirelynx rules profile trace.pcap --rules rules/ --format json | jq '.rules[0]'

steps      packets on which an event of the rule was looked at: its access predicate was met
matches    packets that were such an event by themselves
created    attempts that were started or copied; peak: of them alive at one time
evicted    attempts given up because there was no room
ns/packet  time that the rule takes alone, over all packets: the least of several runs, less that
           of an engine without rules. Rules that use the same attributes share work when they run
           together, so the sum is more than all of them take
share      of that sum";

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Capture files: pcap or pcapng, plain or gzip; - for standard input
    #[arg(required = true)]
    trace: Vec<String>,
    /// Rule file, or folder of rule files; may be given several times
    #[arg(long, value_name = "PATH", required = true)]
    rules: Vec<String>,
    /// Packets to look at, from the first on; they are held in memory
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    packets: usize,
    /// table or json
    #[arg(long, default_value = "table")]
    format: Format,
    /// mmt: rules as the published engine evaluates them
    #[arg(long, value_name = "ENGINE", value_parser = ["mmt"])]
    compat: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Runs, of which the least time of each rule counts: whatever else the machine does only adds.
const RUNS: std::ops::RangeInclusive<usize> = 3..=50;

/// Looks at a packet by a rule, over all runs, beyond which there are no more runs.
const LOOKS: usize = 2_000_000;

/// What a rule did and took.
#[derive(Debug, Clone, Serialize)]
struct Row {
    rule_id: u32,
    description: String,
    steps: u64,
    matches: u64,
    created: u64,
    peak: u64,
    alerts: u64,
    evicted: u64,
    nanos_per_packet: f64,
    share: f64,
}

#[derive(Debug, Serialize)]
struct Profile {
    packets: usize,
    /// There are more packets than were looked at.
    is_part: bool,
    rules: Vec<Row>,
}

/// The profile as text.
///
/// # Errors
/// A file is no capture, or a rule cannot run.
pub(super) fn execute(options: &Options) -> Result<String, Failure> {
    let mode = match options.compat {
        Some(_) => Mode::Compat,
        None => Mode::Standard,
    };
    let rules = load::rules(&options.rules, mode, None, false)?.rules;
    let (mut frames, is_part) = preload(options)?;
    let packets: usize = frames.iter().map(Preloaded::frames).sum();
    let looks = packets.saturating_mul(rules.programs.len()).max(1);
    let runs = (LOOKS / looks).clamp(*RUNS.start(), *RUNS.end());
    let mut least: Vec<Duration> = Vec::new();
    let mut rows = Vec::new();
    for _ in 0..runs {
        let run = Run::new(&rules, &mut frames)?;
        least.resize(run.taken.len(), Duration::MAX);
        let taken = least.iter_mut().zip(&run.taken);
        taken.for_each(|(least, taken)| *least = (*least).min(*taken));
        rows = run.rows;
    }
    // The first engine fetched the packet for the others; the second is what a look costs.
    let look = least.get(1).copied().unwrap_or_default();
    let alone = least.iter().skip(2);
    let alone: Vec<f64> = alone
        .map(|taken| taken.saturating_sub(look).as_secs_f64() * 1e9)
        .collect();
    let all: f64 = alone.iter().sum();
    for (row, taken) in rows.iter_mut().zip(&alone) {
        row.nanos_per_packet = rounded(quotient(*taken, packets), 10.0);
        if all > 0.0 {
            row.share = rounded(taken / all, 1_000.0);
        }
    }
    rows.sort_by(|one, other| {
        let time = other.nanos_per_packet.total_cmp(&one.nanos_per_packet);
        time.then(other.steps.cmp(&one.steps))
    });
    let profile = Profile {
        packets,
        is_part,
        rules: rows,
    };
    Ok(match options.format {
        Format::Table => table(&profile),
        Format::Json => {
            let json = serde_json::to_string_pretty(&profile);
            json.map_err(|error| Failure::Running(error.to_string()))? + "\n"
        }
    })
}

/// The first packets of the traces, and whether there are more.
fn preload(options: &Options) -> Result<(Vec<Preloaded>, bool), Failure> {
    let mut frames = Vec::new();
    let mut room = options.packets;
    for trace in &options.trace {
        let mut source = file::open(trace)?;
        let preloaded = Preloaded::from_capture(&mut source, room)?;
        room -= preloaded.frames().min(room);
        frames.push(preloaded);
        if room == 0 {
            let mut burst = Burst::new();
            let is_last = source.receive(&mut burst)? == Progress::End;
            let is_part = !is_last || frames.len() < options.trace.len();
            return Ok((frames, is_part));
        }
        if let Some(damage) = source.warning() {
            tracing::warn!("{trace}: {damage}");
        }
    }
    Ok((frames, false))
}

/// A rule by itself.
struct Alone {
    rules: RuleSet,
    engine: Engine,
    taken: Duration,
}

impl Alone {
    /// With the rule in this place, or none.
    fn new(all: &RuleSet, place: Option<usize>, seed: u64) -> Self {
        let program = place.and_then(|place| all.programs.get(place));
        let property = program.map(|program| program.property.clone());
        let (rules, _) = RuleSet::new(property.into_iter().collect(), all.mode);
        let limits = Limits {
            per_rule: crate::config::Limits::default().instances_per_rule,
            total: crate::config::Limits::default().instances_total,
            ..Limits::default()
        };
        Self {
            engine: Engine::new(&rules, limits, seed),
            rules,
            taken: Duration::ZERO,
        }
    }
}

/// Runs each rule alone on the packets that a worker has prepared; of a packet that completes
/// several messages, on the first.
struct Clocked(Vec<Alone>);

impl Sink for Clocked {
    fn event(&mut self, _: Event) {}

    fn packet(&mut self, view: &View<'_>) {
        let slots = self.0.iter().map(|alone| alone.rules.extraction.len());
        let mut values = vec![Value::Number(0); slots.max().unwrap_or(0)];
        let mut before = Instant::now();
        for alone in &mut self.0 {
            let Alone { rules, engine, .. } = alone;
            let values = values.get_mut(..rules.extraction.len());
            engine.evaluate(rules, view, values.unwrap_or_default(), &mut |_| {});
            let after = Instant::now();
            alone.taken += after - before;
            before = after;
        }
    }
}

/// One run over all packets.
struct Run {
    rows: Vec<Row>,
    taken: Vec<Duration>,
}

impl Run {
    fn new(rules: &Arc<RuleSet>, frames: &mut [Preloaded]) -> Result<Self, Failure> {
        let settings = Settings {
            seed: seed(),
            http_compat: rules.mode == Mode::Compat,
            totals: true,
            ..Settings::default()
        };
        let half = u64::try_from(settings.seed >> 64).unwrap_or(0);
        // Two without a rule: see where they are subtracted.
        let places = (0..rules.programs.len()).map(Some);
        let places = [None, None].into_iter().chain(places);
        let alone = places.map(|place| Alone::new(rules, place, half));
        let mut clocked = Clocked(alone.collect());
        let mut worker = Worker::new(Arc::clone(rules), &settings, Scope::Rules);
        for source in frames {
            source.rewind();
            loop {
                let mut burst = Burst::new();
                let received = source.receive(&mut burst)?;
                worker.burst(burst, &mut clocked);
                if received == Progress::End {
                    break;
                }
            }
        }
        worker.finish(&mut clocked);
        Ok(Self {
            taken: clocked.0.iter().map(|alone| alone.taken).collect(),
            rows: rows(rules, &mut worker),
        })
    }
}

fn rows(rules: &RuleSet, worker: &mut Worker) -> Vec<Row> {
    let counters = worker.counters().rules;
    let of = |counts: &[u64], place: usize| counts.get(place).copied().unwrap_or(0);
    let more = worker.rule_counts();
    let programs = rules.programs.iter().enumerate();
    let row = |(place, program): (usize, &crate::rules::program::Program)| {
        let RuleCounts {
            steps,
            created,
            peak,
        } = more.get(place).copied().unwrap_or_default();
        Row {
            rule_id: program.property.id,
            description: crate::rules::listing::one_line(&program.property.description),
            steps,
            matches: of(&counters.matches, place),
            created,
            peak,
            alerts: of(&counters.alerts, place),
            evicted: of(&counters.evicted, place),
            nanos_per_packet: 0.0,
            share: 0.0,
        }
    };
    programs.map(row).collect()
}

const HEAD: &str = "  rule       steps     matches     created      peak    alerts   evicted \
ns/packet  share  description\n";

fn table(profile: &Profile) -> String {
    let mut text = String::from(HEAD);
    for row in &profile.rules {
        let _ = writeln!(
            text,
            "{:>6} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9.1} {:>4.0} %  {}",
            row.rule_id,
            row.steps,
            row.matches,
            row.created,
            row.peak,
            row.alerts,
            row.evicted,
            row.nanos_per_packet,
            row.share * 100.0,
            row.description
        );
    }
    let part = match profile.is_part {
        true => ", the first ones; --packets reads more",
        false => "",
    };
    let packets = profile.packets;
    let _ = writeln!(text, "{packets} packets{part}");
    text
}

fn quotient(sum: f64, count: usize) -> f64 {
    match u32::try_from(count) {
        Ok(0) | Err(_) => 0.0,
        Ok(count) => sum / f64::from(count),
    }
}

/// To a whole number of parts.
fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}
