//! Functions that expressions can call.

use super::Mode;

/// One built-in.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Name, as written after `#`.
    pub name: &'static str,
    /// Least and greatest number of arguments.
    pub arguments: (usize, usize),
    /// Evaluated on presence, not on values.
    pub special: Option<Special>,
}

/// Functions about presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named for the functions")]
pub enum Special {
    Exists,
    IsEmpty,
    IsNull,
}

/// A value handed to a function.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "stub")]
pub enum Argument<'a> {
    Absent,
    Number(i128),
    Float(f64),
    Bytes(&'a [u8]),
    Path(&'a [crate::packet::Layer]),
}

impl Function {
    /// Call it.
    pub fn invoke(&self, _: &[Argument<'_>], _: Mode) -> i128 {
        0
    }
}
