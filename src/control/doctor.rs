//! `wirelynx doctor`: is this machine ready for a configuration?
//!
//! Each check gives findings: what it looked at, how good that is, why it matters, and the one
//! command that mends it. A *failure* is what `wirelynx run` refuses, because it cannot work; a
//! *warning* works, but slower, less exactly, or with a loss to come. `wirelynx run` makes the same
//! checks at start.
//!
//! ```text
//! System (files below a root, a few calls) --+
//! Config ------------------------------------+--> Case (ports, plan) --> checks --> findings
//! rules, DPDK's answers ---------------------+
//! ```

pub mod adapters;
pub mod case;
pub mod finding;
pub mod hugepages;
mod iommu;
mod memory;
mod outputs;
pub mod pci;
mod ports;
mod processor;
mod rules;
pub mod system;
#[cfg(test)]
mod test_machines;
#[cfg(test)]
mod tests;
mod time;

use super::Failure;
use crate::config::Config;
use case::Case;
use finding::{Check, Finding, Level};
use std::io::Write as _;
use std::path::PathBuf;
use system::System;

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx doctor
  sudo wirelynx doctor -c /etc/wirelynx/wirelynx.toml
  wirelynx doctor -X capture.ports='[\"0000:3b:00.0\"]' --json | jq '.findings[] | select(.level != \"ok\")'
  wirelynx doctor -c /etc/wirelynx/wirelynx.toml --hugepages

Exit status: 0 when nothing fails, 1 when something does. docs/doctor.md lists all findings.";

/// Configuration.
const CONFIG: Check = Check {
    id: "config.valid",
    looks_at: "the configuration file and the settings over it",
    why: "without a valid configuration nothing starts",
};

/// Ports of the configuration.
const PORTS: Check = Check {
    id: "config.ports",
    looks_at: "capture.ports",
    why: "without a port nothing is received",
};

/// Who looks.
const USER: Check = Check {
    id: "doctor.user",
    looks_at: "the user that looks",
    why: "only root can open a port to ask it, and write everywhere",
};

/// Every check, by group, in the order of their findings.
pub const CHECKS: [&Check; 33] = [
    &CONFIG,
    &PORTS,
    &USER,
    &rules::RULES,
    &rules::LISTS,
    &processor::FLAGS,
    &processor::CLOCK,
    &processor::PLAN,
    &processor::ISOLATION,
    &processor::GOVERNOR,
    &processor::SIBLINGS,
    &hugepages::HUGEPAGES,
    &memory::MEMORY,
    &memory::LOCK,
    &iommu::IOMMU,
    &iommu::VFIO,
    &iommu::GROUP,
    &iommu::ACCESS,
    &ports::DEVICE,
    &ports::DRIVER,
    &ports::PROBE,
    &ports::NODE,
    &ports::QUEUES,
    &ports::DESCRIPTORS,
    &ports::RSS,
    &ports::LINK,
    &ports::LANES,
    &ports::FIRMWARE,
    &ports::PACKAGE,
    &time::SYNCHRONIZED,
    &outputs::FILES,
    &outputs::CONTROL,
    &outputs::METRICS,
];

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key over the configuration file; may be given several times
    #[arg(short = 'X', long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print one JSON document (docs/doctor.schema.json)
    #[arg(long)]
    json: bool,
    /// Print how many huge pages the configuration takes on which node, and what reserves them
    #[arg(long, conflicts_with = "json")]
    hugepages: bool,
    /// Do not start DPDK to ask the ports; limits then come from a table of known adapters
    #[arg(long)]
    no_probe: bool,
}

/// Examine and print.
///
/// # Errors
/// Something fails, or standard output is gone.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let loaded = Config::load(options.config.as_deref(), &options.set);
    let mut system = System::here();
    if options.hugepages {
        let config = loaded?;
        let case = Case::new(&system, &config, None);
        std::io::stdout().write_all(hugepages::table(&case).as_bytes())?;
        return Ok(());
    }
    let mut findings = vec![match &loaded {
        Ok(_) => CONFIG.ok(name_of(options), "valid"),
        Err(error) => {
            let text = format!("{error}; what follows is for the defaults");
            let command = match &options.config {
                Some(file) => format!("editor {}", file.display()),
                None => "wirelynx run --help".to_owned(),
            };
            CONFIG.failure(name_of(options), text, command)
        }
    }];
    let config = loaded.unwrap_or_default();
    findings.extend(named_ports(&config));
    findings.extend(user(&system));
    let (of_rules, rules) = rules::check(&config);
    findings.extend(of_rules);
    if !options.no_probe {
        system.survey = survey::of(&system, &config);
    }
    let case = Case::new(&system, &config, rules.as_ref());
    findings.extend(examine(&case));
    findings.push(outputs::metrics(&case));
    let text = match options.json {
        true => finding::json(&findings).map_err(Failure::Running)?,
        false => finding::text(&findings),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    match finding::count(&findings, Level::Failure) {
        0 => Ok(()),
        failures => Err(Failure::Running(format!("not ready: failures: {failures}"))),
    }
}

fn name_of(options: &Options) -> String {
    match &options.config {
        Some(file) => file.display().to_string(),
        None => "defaults".to_owned(),
    }
}

fn named_ports(config: &Config) -> Option<Finding> {
    let text = "none: what follows is about the adapters that there are";
    let command = "wirelynx doctor -X capture.ports='[\"0000:3b:00.0\"]'";
    let none = config.capture.ports.is_empty();
    none.then(|| PORTS.warning("capture.ports", text, command))
}

fn user(system: &System) -> Option<Finding> {
    let text = format!("user {}, not root", system.user());
    let command = "sudo wirelynx doctor # with the same arguments";
    (!system.is_root()).then(|| USER.unknown("process", text, command))
}

/// All checks that look at the machine.
fn examine(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = processor::check(case);
    findings.extend(hugepages::check(case));
    findings.extend(memory::check(case));
    findings.extend(iommu::check(case));
    findings.extend(ports::check(case));
    findings.push(time::check(case.system));
    findings.extend(outputs::check(case));
    findings
}

#[cfg(feature = "dpdk")]
pub(super) mod preflight;
#[cfg(feature = "dpdk")]
mod survey;

#[cfg(not(feature = "dpdk"))]
mod survey {
    use super::system::{Survey, System};
    use crate::config::Config;

    /// This program was built without DPDK: there is nobody to ask.
    pub(super) fn of(_: &System, _: &Config) -> Survey {
        Survey::None
    }
}
