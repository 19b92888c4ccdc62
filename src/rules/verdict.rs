//! What a rule says when an instance ends.

use super::machine::{FAIL, PASS, StateId};
use super::property::Kind;

/// A verdict that is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the language")]
pub enum Verdict {
    Detected,
    NotRespected,
    Respected,
}

impl Verdict {
    /// Name in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::NotRespected => "not_respected",
            Self::Respected => "respected",
        }
    }
}

/// The verdict of a rule of this kind when an instance ends in `state`; `None` is silence.
pub const fn of(kind: Kind, state: StateId) -> Option<Verdict> {
    match (kind, state) {
        (Kind::Attack | Kind::Evasion, PASS) => Some(Verdict::Detected),
        (Kind::Security | Kind::Test, FAIL) => Some(Verdict::NotRespected),
        (Kind::Test, PASS) => Some(Verdict::Respected),
        _ => None,
    }
}
