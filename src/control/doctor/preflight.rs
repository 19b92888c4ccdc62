//! The same checks, as `wirelynx run` makes them at start: warnings go to the log, and what cannot
//! work is refused, with the same words and the same command as `wirelynx doctor` has.

use super::case::Case;
use super::finding::{Finding, Level};
use super::processor::PLAN;
use super::system::System;
use super::{examine, ports, survey};
use crate::config::Config;
use crate::control::Failure;
use crate::rules::RuleSet;

/// Before anything is started.
///
/// # Errors
/// A failure was found.
pub(in crate::control) fn machine(config: &Config, rules: &RuleSet) -> Result<(), Failure> {
    let system = System::here();
    let case = Case::new(&system, config, Some(rules));
    told(&examine(&case))
}

/// When the drivers of the ports have said what these can do.
///
/// # Errors
/// A port cannot do what the configuration asks.
pub(in crate::control) fn ports<'d>(
    config: &Config,
    rules: &RuleSet,
    devices: impl Iterator<Item = &'d dpdk_sys::DeviceInfo>,
) -> Result<(), Failure> {
    let mut system = System::here();
    system.survey = survey::asked(devices, config);
    let case = Case::new(&system, config, Some(rules));
    told(&ports::check_survey(&case))
}

/// Log warnings; refuse all failures together.
fn told(findings: &[Finding]) -> Result<(), Failure> {
    for finding in findings {
        match finding.level {
            // The plan for the ports as they are follows, with warnings of its own.
            Level::Warning if finding.check.id == PLAN.id => {}
            Level::Warning => tracing::warn!("{}", finding.line()),
            Level::Ok | Level::Unknown => tracing::debug!("{}", finding.line()),
            Level::Failure => {}
        }
    }
    let failures = findings.iter().filter(|f| f.level == Level::Failure);
    let lines: Vec<String> = failures.map(Finding::line).collect();
    match lines.is_empty() {
        true => Ok(()),
        false => Err(Failure::Running(lines.join("\n"))),
    }
}
