//! Functions that expressions can call.

/// One built-in.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Name, as written after `#`.
    pub name: &'static str,
    /// Least and greatest number of arguments.
    pub arguments: (usize, usize),
}
