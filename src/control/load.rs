//! Rule files to a rule set that runs.

use super::Failure;
use crate::diagnostic::Diagnostic;
use crate::expr::Mode;
use crate::rules::RuleSet;
use crate::rules::load::{LISTS_FOLDER, Loader};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

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
        self.rules
            .programs
            .iter()
            .map(|program| program.property.id.to_string())
            .collect()
    }
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
    for path in paths {
        if let Err(error) = std::fs::metadata(path) {
            return Err(Failure::Usage(format!("rules: {path}: {error}")));
        }
    }
    let folder = PathBuf::from(lists.unwrap_or(LISTS_FOLDER));
    let read = Loader::new(mode, &[folder]).read(paths);
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
    format!("{place}: {}", diagnostic.message)
}
