//! `wirelynx read`: capture files through the data path.

use super::load;
use super::pipeline::{Inline, Pipeline, Shape};
use super::progress::Progress;
use super::{Failure, is_shared, target};
use crate::capture::merged::MergedCapture;
use crate::capture::{self, Burst, Capture, Counters as Received, file};
use crate::expr::Mode;
use crate::metrics::Snapshot;
use crate::output::alert::Format;
use crate::output::limit::{Limit, Limiter};
use crate::output::writer::{Existing, Sinks};
use crate::rules::guards::Filter;
use crate::rules::mask::Mask;
use crate::worker::Settings;
use std::sync::Arc;

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx read trace.pcap --rules rules/
  wirelynx read trace.pcapng.gz --flows flows.jsonl --alerts alerts.jsonl --stats
  wirelynx read --merge in.pcap out.pcap --rules rules/
  tcpdump -w - | wirelynx read - --rules rules/ --filter '(tcp.dest_port == 22)'";

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Capture files: pcap or pcapng, plain or gzip; - for standard input
    #[arg(required = true)]
    trace: Vec<String>,
    /// Read all traces at the same time, by the times of their packets, instead of one after the
    /// other: those of the interfaces or directions of one capture
    #[arg(long)]
    merge: bool,
    /// Rule file, or folder of rule files; may be given several times
    #[arg(long, value_name = "PATH")]
    rules: Vec<String>,
    /// Folder of lists that rules look things up in [default: lists beside the rules or above]
    #[arg(long, value_name = "DIR")]
    lists: Option<String>,
    /// Where alerts go; - for standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    alerts: String,
    /// json or mmt-csv
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    alert_format: Format,
    /// Alerts of one rule and key (mostly addresses) in a period of packet time, such as 10/60s;
    /// others become a summary [default: all]
    #[arg(long, value_name = "N/PERIOD")]
    alert_limit: Option<Limit>,
    /// Where flow records go; - for standard output
    #[arg(long, value_name = "FILE")]
    flows: Option<String>,
    /// Workers: threads that look at packets, each at those of its flows
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Security workers: threads for the rules whose events are on several workers; 0 for one, or
    /// none beside a single worker
    #[arg(long, value_name = "M", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    security_workers: u16,
    /// Rules to give to security workers by hand, such as (1:1-4,6)(2:5,7-10); only a hint
    #[arg(long, value_name = "MASK")]
    rules_mask: Option<Mask>,
    /// mmt: rules as the published engine evaluates them, to the byte
    #[arg(long, value_name = "ENGINE", value_parser = ["mmt"])]
    compat: Option<String>,
    /// Only packets for which this expression holds
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Do not start when a rule file has an error
    #[arg(long)]
    strict: bool,
    /// Print the account and counters at the end
    #[arg(long)]
    stats: bool,
}

/// Read the traces as one input: one after the other, or by time.
///
/// # Errors
/// A file is no capture, a rule or filter is wrong, an output cannot be written.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let mode = if options.compat.is_some() {
        Mode::Compat
    } else {
        Mode::Standard
    };
    let flows = options.flows.as_deref().unwrap_or_default();
    super::distinct(&options.alerts, flows)?;
    for output in [&options.alerts, flows] {
        super::spare(&options.trace, output)?;
    }
    let filter = options.filter.as_deref().map(parse_filter).transpose()?;
    let loaded = load::rules(
        &options.rules,
        mode,
        options.lists.as_deref(),
        options.strict,
    )?;
    let settings = Settings {
        seed: super::seed(),
        filter,
        http_compat: mode == Mode::Compat,
        ..Settings::default()
    };
    let limiter = options
        .alert_limit
        .map(|limit| super::limiter(limit, &settings));
    let suppression = limiter.as_ref().map(Limiter::counters);
    let replaced = |path| target(path, Existing::Replace);
    let sinks = Sinks {
        alerts: Some(replaced(&options.alerts)?),
        format: options.alert_format,
        limiter,
        flows: options.flows.as_deref().map(replaced).transpose()?,
        shared: is_shared(&options.alerts, flows),
        rules: Arc::clone(&loaded.rules),
    };
    let shape = Shape {
        workers: usize::from(options.workers),
        security_workers: usize::from(options.security_workers),
        mask: options.rules_mask.clone(),
        delays: None,
    };
    let shape = shape.allowed_by(&loaded.rules);
    let (sources, outcome) = match shape.is_inline() {
        true => {
            let mut inline = Inline::start(&loaded.rules, &settings, sinks)?;
            let read = read_all(options, &mut |burst| inline.burst(burst));
            let outcome = inline.finish()?;
            (read?, outcome)
        }
        false => {
            let mut pipeline = Pipeline::start(&loaded.rules, &settings, &shape, sinks)?;
            let read = read_all(options, &mut |burst| pipeline.burst(&burst));
            let outcome = pipeline.finish()?;
            (read?, outcome)
        }
    };
    let snapshot = Snapshot {
        workers: outcome.workers,
        security: outcome.security,
        sources,
        rules: loaded.ids(),
        files_skipped: loaded.files_skipped,
        events_dropped: outcome.dropped,
        suppression: super::suppression(suppression.as_deref()),
        ..Snapshot::default()
    };
    conclude(&snapshot, options.stats)
}

/// Read all frames of the traces until `take` takes no more.
fn read_all(
    options: &Options,
    take: &mut dyn FnMut(Burst<'_>) -> bool,
) -> Result<Vec<Received>, Failure> {
    if options.merge {
        return read_merged(&options.trace, take);
    }
    let mut counters = Vec::new();
    for trace in &options.trace {
        let mut source = file::open(trace)?;
        if !pass(trace, &mut source, take)? {
            return Ok(counters);
        }
        if let Some(damage) = source.warning() {
            tracing::warn!("{trace}: {damage}");
        }
        counters.push(source.counters());
    }
    Ok(counters)
}

/// As [`read_all`], by the time of the frames of all files.
fn read_merged(
    traces: &[String],
    take: &mut dyn FnMut(Burst<'_>) -> bool,
) -> Result<Vec<Received>, Failure> {
    let mut source = MergedCapture::open(traces)?;
    let name = format!("{} files", traces.len());
    pass(&name, &mut source, take)?;
    for (trace, damage) in traces.iter().zip(source.warnings()) {
        if let Some(damage) = damage {
            tracing::warn!("{trace}: {damage}");
        }
    }
    Ok(source.counters_of_files().collect())
}

/// Give all frames of a source to `take`; false when it takes no more.
fn pass(
    name: &str,
    source: &mut dyn Capture,
    take: &mut dyn FnMut(Burst<'_>) -> bool,
) -> Result<bool, Failure> {
    let mut progress = Progress::new(name);
    loop {
        let mut burst = Burst::new();
        let received = source.receive(&mut burst)?;
        if !take(burst) {
            // A writer failed, and says why: nobody sees what the rest would give.
            return Ok(false);
        }
        if received == capture::Progress::End {
            break;
        }
        progress.at(|| source.counters().position);
    }
    progress.finish();
    Ok(true)
}

/// Compile the expression of `--filter`.
///
/// # Errors
/// It is wrong; the message underlines where.
pub fn parse_filter(text: &str) -> Result<Arc<Filter>, Failure> {
    let context = crate::expr::Context::packet(None);
    let expr = crate::expr::parse(text, Mode::Standard, context).map_err(|diagnostics| {
        let rendered: Vec<String> = diagnostics.iter().map(|d| d.render(false)).collect();
        Failure::Usage(format!("--filter:\n{}", rendered.join("\n")))
    })?;
    let filter =
        Filter::new(&expr).map_err(|error| Failure::Usage(format!("--filter: {error}")))?;
    Ok(Arc::new(filter))
}

/// Say how it went: skipped rule files always, the rest when asked; an account that does not
/// balance is a failure of the program.
pub fn conclude(snapshot: &Snapshot, stats: bool) -> Result<(), Failure> {
    let account = snapshot.account();
    if stats {
        eprint!("{}", crate::metrics::statistics(snapshot));
        eprint!("{}", crate::metrics::largest_flows(snapshot));
    }
    if snapshot.files_skipped > 0 {
        eprintln!(
            "rule files skipped because of an error: {}",
            snapshot.files_skipped
        );
    }
    if account.balances() {
        Ok(())
    } else {
        Err(Failure::Running(format!(
            "the account does not balance: {account}"
        )))
    }
}
