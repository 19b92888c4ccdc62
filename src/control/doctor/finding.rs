//! What a check found, and how that is told: lines for people, one JSON document for programs.

use serde::Serialize;
use std::fmt::Write as _;

/// How good or bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It could not be seen.
    Unknown,
    /// It works, but slower, less exactly, or with a loss to come.
    Warning,
    /// `wirelynx run` cannot work with this, and refuses.
    Failure,
}

impl Level {
    /// In lower case, as in the JSON document.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One kind of check.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, which stays the same over versions.
    pub id: &'static str,
    /// What it looks at.
    pub looks_at: &'static str,
    /// Why that matters.
    pub why: &'static str,
}

impl Check {
    /// It is as it should be.
    pub fn ok(&'static self, subject: impl Into<String>, found: impl Into<String>) -> Finding {
        self.finding(Level::Ok, subject.into(), found.into(), String::new())
    }

    /// It could not be seen; `command` shows it.
    pub fn unknown(
        &'static self,
        subject: impl Into<String>,
        found: impl Into<String>,
        command: impl Into<String>,
    ) -> Finding {
        self.finding(Level::Unknown, subject.into(), found.into(), command.into())
    }

    /// It works, but not well; `command` mends it.
    pub fn warning(
        &'static self,
        subject: impl Into<String>,
        found: impl Into<String>,
        command: impl Into<String>,
    ) -> Finding {
        self.finding(Level::Warning, subject.into(), found.into(), command.into())
    }

    /// It cannot work; `command` mends it.
    pub fn failure(
        &'static self,
        subject: impl Into<String>,
        found: impl Into<String>,
        command: impl Into<String>,
    ) -> Finding {
        self.finding(Level::Failure, subject.into(), found.into(), command.into())
    }

    fn finding(
        &'static self,
        level: Level,
        subject: String,
        found: String,
        command: String,
    ) -> Finding {
        Finding {
            check: self,
            subject,
            level,
            found,
            command,
        }
    }
}

/// What a check found of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: &'static Check,
    /// What it is about: a port, a node, a file, a key of the configuration.
    pub subject: String,
    /// How good or bad it is.
    pub level: Level,
    /// What was found, in one line.
    pub found: String,
    /// The command that mends it, or shows what could not be seen; empty when all is well.
    pub command: String,
}

impl Finding {
    /// In one line, for the log and for a refusal.
    pub fn line(&self) -> String {
        let Self { subject, found, .. } = self;
        let text = format!("{}: {subject}: {found}: {}", self.check.id, self.check.why);
        match self.command.is_empty() {
            true => text,
            false => format!("{text}. To mend it: {}", self.command),
        }
    }
}

#[derive(Serialize)]
struct Document<'f> {
    version: &'static str,
    ready: bool,
    ok: usize,
    unknown: usize,
    warnings: usize,
    failures: usize,
    findings: Vec<Item<'f>>,
}

#[derive(Serialize)]
struct Item<'f> {
    id: &'static str,
    subject: &'f str,
    level: Level,
    found: &'f str,
    why: &'static str,
    command: &'f str,
}

/// Number of findings of this level.
pub fn count(findings: &[Finding], level: Level) -> usize {
    let of_level = findings.iter().filter(|finding| finding.level == level);
    of_level.count()
}

/// One document, as `docs/doctor.schema.json` describes it.
///
/// # Errors
/// None that could occur: there is nothing in it that has no JSON.
pub fn json(findings: &[Finding]) -> Result<String, String> {
    let items = findings.iter().map(|finding| Item {
        id: finding.check.id,
        subject: &finding.subject,
        level: finding.level,
        found: &finding.found,
        why: finding.check.why,
        command: &finding.command,
    });
    let document = Document {
        version: crate::control::VERSION,
        ready: count(findings, Level::Failure) == 0,
        ok: count(findings, Level::Ok),
        unknown: count(findings, Level::Unknown),
        warnings: count(findings, Level::Warning),
        failures: count(findings, Level::Failure),
        findings: items.collect(),
    };
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

/// Lines for people. What is well takes one line, everything else says why it matters and what to
/// do.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding { subject, found, .. } = finding;
        let (level, id) = (finding.level.name(), finding.check.id);
        let _ = writeln!(text, "{level:<7}  {id:<18} {subject}: {found}");
        if finding.level != Level::Ok {
            let _ = writeln!(text, "{:9}why: {}", "", finding.check.why);
        }
        if !finding.command.is_empty() {
            let _ = writeln!(text, "{:9}do:  {}", "", finding.command);
        }
    }
    let number = |level| count(findings, level);
    let _ = writeln!(
        text,
        "{} ok, {} unknown, {} warnings, {} failures: {}",
        number(Level::Ok),
        number(Level::Unknown),
        number(Level::Warning),
        number(Level::Failure),
        match number(Level::Failure) {
            0 => "ready",
            _ => "not ready",
        }
    );
    text
}
