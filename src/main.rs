//! The `wirelynx` program: reads the command line, starts what it asks for, and tells how it went.
//!
//! Exit status: 0 done, 1 failed while running, 2 wrong usage, configuration or rule.
#![forbid(unsafe_code)]

use clap::{CommandFactory as _, Parser, Subcommand};
use std::process::ExitCode;
use wirelynx::control;

/// Network inspection: flows, temporal security properties, metrics; from DPDK ports or capture
/// files.
#[derive(Parser)]
#[command(name = "wirelynx", version = control::version(), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the appliance on live ports until SIGINT or SIGTERM; then print the final account
    #[command(after_help = control::run::EXAMPLES)]
    Run(control::run::Options),
    /// Read capture files: alerts, flow records, statistics
    #[command(after_help = control::read::EXAMPLES)]
    Read(control::read::Options),
    /// Have a running appliance read its rules again
    #[command(after_help = control::reload::EXAMPLES)]
    Reload(control::reload::Options),
    /// Check, list, show, explain, profile and test rules
    Rules(control::rules::Options),
    /// Is this machine ready? Each finding with the command that mends it
    #[command(after_help = control::doctor::EXAMPLES)]
    Doctor(control::doctor::Options),
    /// List protocols, or the attributes of one
    Protocols(control::protocols::Options),
    /// Print attribute values of every packet of a capture file
    #[command(after_help = control::extract::EXAMPLES)]
    Extract(control::extract::Options),
    /// Check a configuration, show what counts, print its sample or schema
    #[command(after_help = control::config::EXAMPLES)]
    Config(control::config::Options),
    /// Watch a running appliance in a terminal
    #[command(after_help = control::top::EXAMPLES)]
    Top(control::top::Options),
    /// Make man pages or completions
    #[command(hide = true)]
    Generate(control::generate::Options),
}

fn main() -> ExitCode {
    control::start_logging();
    let result = match Arguments::parse().command {
        Command::Run(options) => control::run::execute(&options),
        Command::Read(options) => control::read::execute(&options),
        Command::Reload(options) => control::reload::execute(&options),
        Command::Rules(options) => control::rules::execute(&options),
        Command::Doctor(options) => control::doctor::execute(&options),
        Command::Protocols(options) => control::protocols::execute(&options),
        Command::Extract(options) => control::extract::execute(&options),
        Command::Config(options) => control::config::execute(&options),
        Command::Top(options) => control::top::execute(&options),
        Command::Generate(options) => control::generate::execute(&options, Arguments::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Whoever reads our output may have gone: that is how `| head` ends a pipe.
            if !failure.is_broken_pipe() {
                eprintln!("wirelynx: {failure}");
            }
            failure.status()
        }
    }
}
