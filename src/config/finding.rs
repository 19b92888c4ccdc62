//! What is wrong with a configuration, and where.

use crate::diagnostic::Severity;
use std::fmt;

/// Where a value is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the default.
    Default,
    /// A file or folder as a whole.
    Whole(String),
    /// A line of a file.
    Line {
        /// The file, as named.
        file: String,
        /// From 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// The argument of `-X`.
    Setting(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Whole(name) => f.write_str(name),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Variable(name) => write!(f, "environment {}", one_line(name)),
            Self::Setting(text) => write!(f, "-X {}", one_line(text)),
        }
    }
}

/// One finding. It is shown in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// An error keeps the program from starting.
    pub severity: Severity,
    /// Where the value is set.
    pub place: Place,
    /// The key with its table; empty when it is about none.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Finding {
    /// Something that makes the configuration unusable.
    pub fn error(place: Place, key: &str, message: String) -> Self {
        Self {
            severity: Severity::Error,
            place,
            key: key.to_owned(),
            message,
        }
    }

    /// Something to look at.
    pub fn warning(place: Place, key: &str, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, key, message)
        }
    }

    /// A value that its key cannot have.
    pub fn impossible(place: Place, key: &str, value: &str, expected: &str) -> Self {
        let message = format!("{key}: {value} is not possible; expected {expected}");
        Self::error(place, key, message)
    }

    /// Does it keep the program from starting?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (severity, message) = (self.severity.name(), one_line(&self.message));
        write!(f, "{}: {severity}: {message}", self.place)
    }
}

/// Values come from files and variables: control characters in them stay visible and harmless.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}
