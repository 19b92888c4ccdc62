//! `wirelynx config`: check and show a configuration, and what can be in one.

use super::Failure;
use crate::config::{Found, print};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx config check -c /etc/wirelynx/wirelynx.toml
  wirelynx config show -c /etc/wirelynx/wirelynx.toml -X workers.count=4
  wirelynx config sample > wirelynx.toml
Exit status of check and show: 0 it can be used, 2 it has errors.";

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say everything that is wrong with a configuration, and what cannot work together
    Check(Input),
    /// Print the configuration as the program would use it, and where each value comes from
    Show(Input),
    /// Print the JSON Schema of the file
    Schema,
    /// Print a file with every key, its meaning, range and default
    Sample,
}

/// Which configuration.
#[derive(Debug, clap::Args)]
struct Input {
    /// Configuration file; files conf.d/*.toml beside it are read too
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key over files and environment; may be given several times
    #[arg(short = 'X', long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Input {
    fn find(&self) -> Found {
        Found::new(self.config.as_deref(), &self.set)
    }
}

/// Do what is asked.
///
/// # Errors
/// The configuration has errors, or standard output is gone.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let mut failure = None;
    let text = match &options.command {
        Command::Check(input) => {
            let found = input.find();
            if found.errors() > 0 {
                failure = Some(Failure::Usage("see the errors above".to_owned()));
            }
            match input.json {
                true => pretty(&findings_json(&found)),
                false => findings(&found),
            }
        }
        Command::Show(input) => {
            let found = input.find();
            if found.errors() > 0 {
                found.into_config()?;
                return Ok(());
            }
            match input.json {
                true => pretty(&print::effective_json(&found)),
                false => print::effective(&found),
            }
        }
        Command::Schema => pretty(&print::schema()),
        Command::Sample => print::sample(),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    failure.map_or(Ok(()), Err)
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// One finding a line, and their number.
fn findings(found: &Found) -> String {
    let mut text = String::new();
    for finding in &found.findings {
        text.push_str(&finding.to_string());
        text.push('\n');
    }
    let (errors, warnings) = (found.errors(), found.warnings().count());
    let _ = writeln!(text, "errors: {errors}, warnings: {warnings}");
    text
}

fn findings_json(found: &Found) -> serde_json::Value {
    let findings = found.findings.iter().map(|finding| {
        json!({
            "severity": finding.severity.name(),
            "place": finding.place.to_string(),
            "key": finding.key,
            "message": finding.message,
        })
    });
    json!({
        "errors": found.errors(),
        "warnings": found.warnings().count(),
        "findings": findings.collect::<Vec<_>>(),
    })
}
