//! `wirelynx top`: a running appliance, in a terminal.

use super::Failure;
use crate::config::Config;
use crate::top::client::Client;
use crate::top::pages::Page;
use crate::top::screen::{self, View};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx top
  wirelynx top -c /etc/wirelynx/wirelynx.toml --interval 5
  wirelynx top --address probe7:9477 --token-file token
  wirelynx top --once --page 4 | less
Keys: q quit, p pause, tab or 1-5 page, s sort, arrows scroll, ? help.";

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where the appliance serves its metrics; by default, metrics.address of the configuration
    #[arg(short, long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Configuration file of the appliance, for its address and token
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File with the token that the appliance wants; by default, metrics.token_file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Seconds between two looks, 0.1 to 3600
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Print one frame as text, after one interval; no terminal is needed
    #[arg(long)]
    once: bool,
    /// Page to begin with, 1 to 5
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = page)]
    page: Page,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .filter(|seconds| (0.1..=3_600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected 0.1 to 3600".to_owned())
}

fn page(text: &str) -> Result<Page, String> {
    let number = text.parse::<usize>().ok();
    let page = number.and_then(|number| Page::ALL.get(number.checked_sub(1)?));
    page.copied().ok_or_else(|| "expected 1 to 5".to_owned())
}

/// Show the appliance until a key or a signal ends it, or once.
///
/// # Errors
/// The configuration, the address, or the terminal; with `--once`, an appliance that does not
/// answer.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let client = client(options)?;
    let view = View::new(&client, options.interval, options.page);
    if options.once {
        let failed = |error| Failure::Running(format!("{}: {error}", client.address()));
        let text = screen::once(&client, view).map_err(failed)?;
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(());
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let text = "this is no terminal; --once prints one frame without one";
        return Err(Failure::Usage(text.to_owned()));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let failed = |error: std::io::Error| Failure::Running(format!("terminal: {error}"));
    screen::run(client, view, &stop).map_err(failed)
}

fn client(options: &Options) -> Result<Client, Failure> {
    // Who says where needs no configuration, and gets its token only by asking for it.
    let metrics = match (&options.address, &options.config) {
        (Some(_), None) => crate::config::Metrics::default(),
        (_, path) => Config::load(path.as_deref(), &[])?.metrics,
    };
    let address = match &options.address {
        Some(address) => resolve(address)?,
        None => metrics.address,
    };
    let configured = Some(metrics.token_file).filter(|file| !file.is_empty());
    let token_file = options.token_file.clone();
    Ok(Client::new(
        address,
        token_file.or_else(|| configured.map(PathBuf::from)),
    ))
}

fn resolve(address: &str) -> Result<SocketAddr, Failure> {
    let wrong = |reason: String| {
        let text = format!("--address {address}: {reason}; expected HOST:PORT");
        Failure::Usage(text)
    };
    let mut found = address
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?;
    found.next().ok_or_else(|| wrong("no such host".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_pages_have_their_range() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "3601", "NaN", "x"] {
            assert!(interval(text).is_err(), "{text}");
        }
        assert_eq!(page("4"), Ok(Page::Losses));
        assert!(page("0").is_err() && page("6").is_err());
    }
}
