//! `wirelynx run`: the appliance on live ports.

use super::Failure;
use std::path::PathBuf;

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx run -c /etc/wirelynx/wirelynx.toml
  wirelynx run -X capture.ports='[\"0000:3b:00.0\"]' -X rules.paths='[\"rules\"]'
  wirelynx run -X capture.ports='[\"net_pcap0,rx_pcap=trace.pcap\"]' -X capture.idle_exit_seconds=2
Every key is documented in docs/wirelynx.toml.";

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key over the configuration file; may be given several times
    #[arg(short = 'X', long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Run until SIGINT or SIGTERM, or until the configuration says so.
///
/// # Errors
/// The configuration, a rule under `strict`, a port, or an output.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let found = crate::config::Found::new(options.config.as_deref(), &options.set);
    for warning in found.warnings() {
        tracing::warn!("configuration: {}: {}", warning.place, warning.message);
    }
    live::run(&found.into_config()?)
}

#[cfg(feature = "dpdk")]
use super::live;

#[cfg(not(feature = "dpdk"))]
mod live {
    use super::Failure;

    pub(super) fn run(_: &crate::config::Config) -> Result<(), Failure> {
        Err(Failure::Usage(
            "this program was built without live capture; build it with feature 'dpdk', or read \
             capture files with 'wirelynx read'"
                .to_owned(),
        ))
    }
}
