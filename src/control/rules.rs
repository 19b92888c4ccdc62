//! `wirelynx rules`: what rule files say, what is wrong with them, how they run, what they cost
//! and whether they work.

mod profile;

use super::Failure;
use crate::expr::Mode;
use crate::rules::listing::{self, Listing};
use crate::rules::load;
use std::io::Write;

/// Rule files and folders to look at when none are named.
const DEFAULT_PATH: &str = "rules";

/// Shown under `rules check --help`.
const CHECK_EXAMPLES: &str = "Examples:
  wirelynx rules check rules/
  wirelynx rules check own/1.ssh.xml --format json | jq '.findings[].message'";

/// Shown under `rules explain --help`.
const EXPLAIN_EXAMPLES: &str = "Examples:
  wirelynx rules explain 1021
  wirelynx rules explain 1 own/ --svg 1.svg

What a packet must show before an event is looked at depends on the other rules that are loaded.";

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Report every error of these files; exit status 2 when there is one
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// Rule files, or folders of them
        #[arg(required = true)]
        paths: Vec<String>,
        /// text, or json: one document for editors (docs/findings.schema.json)
        #[arg(long, default_value = "text")]
        format: Format,
        /// Read them as the published engine does
        #[arg(long, value_parser = ["mmt"])]
        compat: Option<String>,
    },
    /// List the rules of these files
    List {
        /// Rule files, or folders of them [default: rules]
        paths: Vec<String>,
        /// Read them as the published engine does
        #[arg(long, value_parser = ["mmt"])]
        compat: Option<String>,
    },
    /// Explain how one rule runs: automaton, guards, keys, place, memory
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// What each rule does and costs on a capture, the most costly first
    #[command(after_help = profile::EXAMPLES)]
    Profile(profile::Options),
    /// Run the captures beside rules, and compare the alerts with those expected
    #[command(after_help = super::rules_test::EXAMPLES)]
    Test(super::rules_test::Options),
    /// Show one rule: operators, delays, events, attributes
    Show {
        /// Its id
        id: u32,
        /// Rule files, or folders of them
        #[arg(long = "rules", value_name = "PATH")]
        paths: Vec<String>,
        /// Read them as the published engine does
        #[arg(long, value_parser = ["mmt"])]
        compat: Option<String>,
    },
}

/// Flags and arguments of `rules explain`.
#[derive(Debug, clap::Args)]
struct Explain {
    /// Its id
    id: u32,
    /// Rule files, or folders of them [default: rules]
    paths: Vec<String>,
    /// Draw the automaton into this file; - for standard output, instead of the text
    #[arg(long, value_name = "FILE")]
    svg: Option<String>,
    /// Read them as the published engine does
    #[arg(long, value_parser = ["mmt"])]
    compat: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Check, list, show, explain, profile or test.
///
/// # Errors
/// A rule file has an error, a rule is unknown, a case fails, or standard output is gone.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let colour = super::colour();
    let listing = match &options.command {
        Command::Check {
            paths,
            format,
            compat,
        } => match format {
            Format::Text => listing::check(paths, mode(compat), colour),
            Format::Json => listing::check_json(paths, mode(compat)),
        },
        Command::List { paths, compat } => listing::list(&or_default(paths), mode(compat), colour),
        Command::Explain(options) => explain(options, colour)?,
        Command::Profile(options) => Listing {
            text: profile::execute(options)?,
            ..Listing::default()
        },
        Command::Test(options) => return super::rules_test::execute(options),
        Command::Show { id, paths, compat } => {
            listing::show(*id, &or_default(paths), mode(compat), colour)
        }
    };
    print(&listing)
}

fn explain(options: &Explain, colour: bool) -> Result<Listing, Failure> {
    let Explain { id, svg, .. } = options;
    let paths = or_default(&options.paths);
    let most = crate::config::Limits::default().instances_per_rule;
    let (mut listing, drawing) = listing::explain(*id, &paths, mode(&options.compat), most, colour);
    match (svg.as_deref(), drawing) {
        (Some("-"), Some(drawing)) => listing.text = drawing,
        (Some(file), Some(drawing)) => {
            let rules = load::collect(&paths).into_iter();
            let rules: Vec<String> = rules.map(|rule| rule.display().to_string()).collect();
            super::spare(&rules, file)?;
            let written = std::fs::write(file, drawing);
            written.map_err(|error| Failure::Running(format!("{file}: {error}")))?;
        }
        _ => {}
    }
    Ok(listing)
}

fn print(listing: &Listing) -> Result<(), Failure> {
    eprint!("{}", listing.findings);
    std::io::stdout().write_all(listing.text.as_bytes())?;
    match listing.status {
        0 => Ok(()),
        _ => Err(Failure::Usage("see the errors above".to_owned())),
    }
}

fn mode(compat: &Option<String>) -> Mode {
    if compat.is_some() {
        Mode::Compat
    } else {
        Mode::Standard
    }
}

fn or_default(paths: &[String]) -> Vec<String> {
    if paths.is_empty() {
        vec![DEFAULT_PATH.to_owned()]
    } else {
        paths.to_vec()
    }
}
