//! `wirelynx reload`: have a running appliance read its rules again.

use super::{Failure, socket};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx reload --socket /run/wirelynx.sock
  wirelynx reload -c /etc/wirelynx/wirelynx.toml && echo 'the new rules run'
The answer is one JSON object. A set of rules with an error is refused, and the old one runs on:
'wirelynx rules check' says beforehand. SIGHUP does the same, and tells the result in the log.";

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The appliance's control socket [default: control.socket of the configuration]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Configuration file of the appliance
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Ask, and print the answer.
///
/// # Errors
/// No socket is known, nobody answers, or the rules were refused.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let socket = match (&options.socket, &options.config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(config)) => configured(config)?,
        (None, None) => {
            let text = "name the control socket: --socket PATH, or -c FILE with control.socket";
            return Err(Failure::Usage(text.to_owned()));
        }
    };
    let answer = socket::ask_reload(&socket)?;
    writeln!(std::io::stdout(), "{answer}")?;
    let parsed: serde_json::Value = serde_json::from_str(&answer)
        .map_err(|error| Failure::Running(format!("the answer is no JSON: {error}")))?;
    if parsed["result"] == "success" {
        return Ok(());
    }
    for finding in parsed["findings"].as_array().into_iter().flatten() {
        eprintln!("{}", finding.as_str().unwrap_or_default());
    }
    let error = parsed["error"].as_str().unwrap_or("no reason was given");
    Err(Failure::Running(format!("rules not reloaded: {error}")))
}

fn configured(config: &Path) -> Result<PathBuf, Failure> {
    let socket = crate::config::Config::load(Some(config), &[])?
        .control
        .socket;
    if socket.is_empty() {
        let text = format!("{}: control.socket is not set", config.display());
        return Err(Failure::Usage(text));
    }
    Ok(PathBuf::from(socket))
}
