//! The commands of the program: they set up, run and tear down the data path, and may block.

pub mod config;
pub mod cores;
pub mod doctor;
pub mod extract;
pub mod generate;
#[cfg(feature = "dpdk")]
mod live;
pub mod load;
#[cfg(feature = "dpdk")]
mod overview;
pub mod pipeline;
pub mod progress;
pub mod protocols;
pub mod pulse;
pub mod read;
pub mod reload;
pub mod reloader;
pub mod rules;
pub mod rules_test;
pub mod run;
pub mod service;
pub mod socket;
pub mod top;

use crate::output::limit::{self, Limit, Limiter};
use crate::output::writer::{Existing, Target};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::{LazyLock, Mutex};

/// Version and revision.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("WIRELYNX_REVISION"),
    ")"
);

/// The same, and the release of DPDK that is installed; `none` in a build without live capture.
pub fn version() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{VERSION}, DPDK {}", crate::capture::dpdk_version()));
    &TEXT
}

/// Why a command ended without doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage, configuration or rule: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// It failed while running: exit status 1.
    #[error("{0}")]
    Running(String),
    /// Output could not be written: exit status 1.
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// Exit status of the program.
    pub fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Running(_) | Self::Output(_) => ExitCode::from(1),
        }
    }

    /// Did the reader of our output go away?
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl From<crate::config::Error> for Failure {
    fn from(error: crate::config::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<crate::capture::Error> for Failure {
    fn from(error: crate::capture::Error) -> Self {
        Self::Running(error.to_string())
    }
}

/// Send log lines to standard error; `WIRELYNX_LOG` sets what is shown (`info`, `debug`, ...).
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WIRELYNX_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour())
        .with_target(false)
        .init();
}

/// May standard error be coloured? Not in a file, and not where that is unwanted (no-color.org).
fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Nothing has this name; what may have been meant.
fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str>) -> Failure {
    let near = crate::expr::names::nearest(name, known);
    let mut text = format!("unknown {what} '{name}'");
    if !near.is_empty() {
        text.push_str("; ");
        text.push_str(&crate::expr::names::did_you_mean(&near));
    }
    Failure::Usage(text)
}

/// A secret for the hash tables of this run: nobody who sends packets knows it.
pub fn seed() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(std::time::SystemTime::now()));
    half() << 64 | half()
}

/// Limits alerts of a run with these settings.
fn limiter(limit: Limit, settings: &crate::worker::Settings) -> Limiter {
    // The other half is the secret of the rules.
    let seed = u64::try_from(settings.seed >> 64).unwrap_or(0);
    Limiter::new(limit, seed)
}

/// A copy of what was suppressed; nothing where nothing is limited.
fn suppression(counters: Option<&Mutex<limit::Counters>>) -> limit::Counters {
    let copy = counters.and_then(|counters| Some(counters.lock().ok()?.clone()));
    copy.unwrap_or_default()
}

/// Refuse two outputs in one file, where each would write over the other.
fn distinct(alerts: &str, flows: &str) -> Result<(), Failure> {
    let devices = ["", "-"].contains(&alerts) || alerts.starts_with("/dev/");
    if alerts == flows && !devices {
        let text = format!("{alerts}: alerts and flow records need a file each");
        return Err(Failure::Usage(text));
    }
    Ok(())
}

/// Refuse to write over a file that is to be read.
fn spare(inputs: &[String], output: &str) -> Result<(), Failure> {
    // What cannot be found is not the same file; opening it says more.
    let Ok(written) = std::fs::canonicalize(output) else {
        return Ok(());
    };
    let is_it = |input: &&String| std::fs::canonicalize(input).is_ok_and(|read| read == written);
    match inputs.iter().find(is_it) {
        Some(input) if written.is_file() => Err(Failure::Usage(format!(
            "{output}: would write over the input {input}"
        ))),
        _ => Ok(()),
    }
}

/// An output that can be opened again.
///
/// # Errors
/// It cannot be created.
pub fn target(path: &str, existing: Existing) -> Result<Target, Failure> {
    if path == "-" {
        return Ok(Target::new(Box::new(std::io::stdout())));
    }
    let opened = Target::open(path, existing);
    opened.map_err(|error| Failure::Running(format!("{path}: {error}")))
}

/// Do both outputs go to one place?
pub fn is_shared(alerts: &str, flows: &str) -> bool {
    alerts == flows && !alerts.is_empty()
}
