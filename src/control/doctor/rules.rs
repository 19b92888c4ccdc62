//! The rules: do they load?

use super::finding::{Check, Finding};
use crate::config::Config;
use crate::control::load;
use crate::expr::Mode;
use crate::rules::RuleSet;

/// Rules.
pub(super) const RULES: Check = Check {
    id: "rules.load",
    looks_at: "rule files: errors and warnings, rules that run",
    why: "a file with an error is skipped, and what its rules look for goes unseen",
};

/// Lists.
pub(super) const LISTS: Check = Check {
    id: "rules.lists",
    looks_at: "the folder of lists",
    why: "rules look addresses and names up in it",
};

/// How rules are compiled under this configuration.
pub(super) fn mode(config: &Config) -> Mode {
    match config.rules.compat.as_str() {
        "mmt" => Mode::Compat,
        _ => Mode::Standard,
    }
}

/// Load the rules; what was found, and those that run.
pub(super) fn check(config: &Config) -> (Vec<Finding>, Option<RuleSet>) {
    let mut findings = Vec::new();
    let lists = Some(config.rules.lists.as_str()).filter(|lists| !lists.is_empty());
    if let Some(folder) = lists {
        findings.push(match std::fs::read_dir(folder) {
            Ok(entries) => LISTS.ok(folder, format!("{} files", entries.count())),
            Err(error) => LISTS.warning(folder, error.to_string(), format!("ls -ld {folder}")),
        });
    }
    let paths = &config.rules.paths;
    if paths.is_empty() {
        let text = "no rules are configured: flows are recorded, nothing is reported";
        let command = "wirelynx run -X rules.paths='[\"rules\"]'";
        findings.push(RULES.warning("rules.paths", text, command));
        return (findings, None);
    }
    let subject = paths.join(" ");
    let command = format!("wirelynx rules check {subject}");
    let read = match load::read(paths, mode(config), lists) {
        Ok(read) => read,
        Err(error) => {
            findings.push(RULES.failure(subject, error, command));
            return (findings, None);
        }
    };
    let (files, errors, warnings) = (read.files, read.errors(), read.warnings());
    let (rules, failed) = RuleSet::new(read.properties, mode(config));
    let errors = errors + failed.len();
    let text = format!(
        "{} rules of {files} files run; {errors} errors, {warnings} warnings",
        rules.programs.len()
    );
    findings.push(match (errors, config.rules.strict) {
        (0, _) => RULES.ok(subject, text),
        (_, true) => RULES.failure(subject, text + ", and rules.strict is set", command),
        (_, false) => RULES.warning(subject, text, command),
    });
    (findings, Some(rules))
}
