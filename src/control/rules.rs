//! `wirelynx rules`: what rule files say, what is wrong with them, and whether they work.

use super::Failure;
use crate::expr::Mode;
use crate::rules::listing::{self, Listing};
use std::io::Write;

/// Rule files and folders to look at when none are named.
const DEFAULT_PATH: &str = "rules";

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Report every error of these files; exit status 2 when there is one
    Check {
        /// Rule files, or folders of them
        #[arg(required = true)]
        paths: Vec<String>,
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

/// Check, list, test or show.
///
/// # Errors
/// A rule file has an error, a rule is unknown, a case fails, or standard output is gone.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let colour = super::colour();
    let listing = match &options.command {
        Command::Check { paths, compat } => listing::check(paths, mode(compat), colour),
        Command::List { paths, compat } => listing::list(&or_default(paths), mode(compat), colour),
        Command::Test(options) => return super::rules_test::execute(options),
        Command::Show { id, paths, compat } => {
            listing::show(*id, &or_default(paths), mode(compat), colour)
        }
    };
    print(&listing)
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
