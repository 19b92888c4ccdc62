//! Rule files to a rule set that runs.

use super::Failure;
use crate::diagnostic::Diagnostic;
use crate::expr::Mode;
use crate::rules::RuleSet;
use crate::rules::load::{Loaded as Read, Loader};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Findings that a refusal tells one by one.
pub const FINDINGS_MAX: usize = 1_000;

/// Where rules come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Rule files, and folders of them.
    pub paths: Vec<String>,
    /// How they are compiled.
    pub mode: Mode,
    /// Folder of lists; none for those beside the rules and above them.
    pub lists: Option<String>,
}

/// Rules that run, and what did not load.
#[derive(Debug)]
pub struct Loaded {
    /// Compiled.
    pub rules: Arc<RuleSet>,
    /// Files skipped because of an error.
    pub files_skipped: u64,
}

impl Loaded {
    /// Ids of the rules that run, in load order.
    pub fn ids(&self) -> Vec<String> {
        ids(&self.rules)
    }
}

/// Ids of these rules, in load order.
pub fn ids(rules: &RuleSet) -> Vec<String> {
    let ids = rules.programs.iter().map(|program| program.property.id);
    ids.map(|id| id.to_string()).collect()
}

/// Why rules were not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// In one line.
    pub error: String,
    /// Every error, as `wirelynx rules check` shows it; at most [`FINDINGS_MAX`].
    pub findings: Vec<String>,
}

impl Refused {
    /// For this reason alone.
    pub fn of(error: String) -> Self {
        Self {
            error,
            findings: Vec::new(),
        }
    }
}

/// Load all rules of `source`, or none of them.
///
/// # Errors
/// A path leads nowhere, a file has an error, or a rule cannot run.
pub fn whole(source: &Source) -> Result<RuleSet, Refused> {
    let read = read(&source.paths, source.mode, source.lists.as_deref()).map_err(Refused::of)?;
    if read.errors() > 0 {
        let error = format!("errors in the rules: {}", read.errors());
        let errors = read.diagnostics.iter().filter(|found| found.is_error());
        let findings = errors.take(FINDINGS_MAX).map(|found| found.render(false));
        return Err(Refused {
            error,
            findings: findings.collect(),
        });
    }
    for diagnostic in &read.diagnostics {
        tracing::debug!("{}", first_line(diagnostic));
    }
    let (rules, failed) = RuleSet::new(read.properties, source.mode);
    match failed.first() {
        None => Ok(rules),
        Some((id, error)) => Err(Refused::of(format!("rule {id} cannot run: {error}"))),
    }
}

/// Read rule files and folders, with lists from beside them, from `lists` or from above them.
///
/// # Errors
/// A path leads nowhere.
pub fn read(paths: &[String], mode: Mode, lists: Option<&str>) -> Result<Read, String> {
    for path in paths {
        if let Err(error) = std::fs::metadata(path) {
            return Err(format!("rules: {path}: {error}"));
        }
    }
    let folders: Vec<PathBuf> = lists.map(PathBuf::from).into_iter().collect();
    Ok(Loader::new(mode, &folders).read(paths))
}

/// Load rules to run them. A file with an error is skipped and named with its first error; with
/// `strict` that is a failure.
///
/// # Errors
/// A path leads nowhere: whoever names rules does not want to run without them. Or `strict`, and a
/// file has an error.
pub fn rules(
    paths: &[String],
    mode: Mode,
    lists: Option<&str>,
    strict: bool,
) -> Result<Loaded, Failure> {
    let read = read(paths, mode, lists).map_err(Failure::Usage)?;
    let mut skipped = BTreeSet::new();
    for diagnostic in &read.diagnostics {
        if diagnostic.is_error() && skipped.insert(diagnostic.file.clone()) {
            let text = first_line(diagnostic);
            if strict {
                let message = format!("{text}\n(--strict: not started; see wirelynx rules check)");
                return Err(Failure::Usage(message));
            }
            tracing::warn!("rule file skipped: {text}");
        } else if !diagnostic.is_error() {
            tracing::debug!("{}", first_line(diagnostic));
        }
    }
    let (rules, failed) = RuleSet::new(read.properties, mode);
    for (id, error) in failed {
        let text = format!("rule {id} cannot run: {error}");
        if strict {
            return Err(Failure::Usage(text));
        }
        tracing::warn!("{text}");
        skipped.insert(text);
    }
    let files_skipped = u64::try_from(skipped.len()).unwrap_or(u64::MAX);
    Ok(Loaded {
        rules: Arc::new(rules),
        files_skipped,
    })
}

fn first_line(diagnostic: &Diagnostic) -> String {
    let place = format!(
        "{}:{}:{}",
        diagnostic.file, diagnostic.line, diagnostic.column
    );
    match diagnostic.help.as_str() {
        "" => format!("{place}: {}", diagnostic.message),
        help => format!("{place}: {}: {help}", diagnostic.message),
    }
}
