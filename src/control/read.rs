//! `wirelynx read`: capture files through the data path.

use super::load;
use super::progress::Progress;
use super::{Failure, create};
use crate::capture::{Burst, Capture, Progress as Received, file};
use crate::expr::Mode;
use crate::metrics::Snapshot;
use crate::output::alert::Format;
use crate::output::limit::{Limit, Limiter};
use crate::output::writer::{Queue, Sinks, WhenFull, Writer};
use crate::rules::guards::Filter;
use crate::worker::{Scope, Settings, Worker};
use std::sync::Arc;

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx read trace.pcap --rules rules/
  wirelynx read trace.pcapng.gz --flows flows.jsonl --alerts alerts.jsonl --stats
  tcpdump -w - | wirelynx read - --rules rules/ --filter '(tcp.dest_port == 22)'";

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Capture files: pcap or pcapng, plain or gzip; - for standard input
    #[arg(required = true)]
    trace: Vec<String>,
    /// Rule file, or folder of rule files; may be given several times
    #[arg(long, value_name = "PATH")]
    rules: Vec<String>,
    /// Folder of lists that rules look things up in [default: lists beside the rules]
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
    /// Workers; this version has one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1))]
    workers: u16,
    /// Security workers; this version evaluates rules on the worker itself
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=0))]
    security_workers: u16,
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

/// Read the traces, one after the other, as one input.
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
    let mut worker = Worker::new(Arc::clone(&loaded.rules), &settings, Scope::Rules);
    let limiter = options
        .alert_limit
        .map(|limit| super::limiter(limit, &settings));
    let suppression = limiter.as_ref().map(Limiter::counters);
    let sinks = Sinks {
        alerts: Some(create(&options.alerts)?),
        format: options.alert_format,
        limiter,
        flows: options.flows.as_deref().map(create).transpose()?,
        rules: Arc::clone(&loaded.rules),
    };
    let (writer, mut queue) = Writer::start(sinks, WhenFull::Wait)?;
    let read = read_all(&options.trace, &mut worker, &mut queue);
    worker.finish(&mut |event| queue.send(event));
    let dropped = queue.dropped();
    drop(queue);
    writer.finish()?;
    let sources = read?;
    let snapshot = Snapshot {
        workers: vec![worker.counters()],
        sources,
        rules: loaded.ids(),
        files_skipped: loaded.files_skipped,
        events_dropped: dropped,
        suppression: super::suppression(suppression.as_deref()),
        ..Snapshot::default()
    };
    conclude(&snapshot, options.stats)
}

fn read_all(
    traces: &[String],
    worker: &mut Worker,
    queue: &mut Queue,
) -> Result<Vec<crate::capture::Counters>, Failure> {
    let mut counters = Vec::new();
    for trace in traces {
        let mut source = file::open(trace)?;
        let mut progress = Progress::new(trace);
        loop {
            let mut burst = Burst::new();
            let received = source.receive(&mut burst)?;
            worker.burst(burst, &mut |event| queue.send(event));
            if queue.dropped() > 0 {
                // The writer failed, and says why: nobody sees what the rest would give.
                return Ok(counters);
            }
            if received == Received::End {
                break;
            }
            progress.at(|| source.counters().position);
        }
        progress.finish();
        if let Some(damage) = source.warning() {
            tracing::warn!("{trace}: {damage}");
        }
        counters.push(source.counters());
    }
    Ok(counters)
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
