//! One expression language over attributes, for properties, filters and reports.
//!
//! Text becomes an [`Expr`] once (`parse`), is checked against the attribute registry, and is then
//! compiled and evaluated by the front end that owns it. A front end that knows events (rules) accepts
//! `proto.att.N`, the value an attribute had in event N; others reject it.

use crate::dissect::attribute::AttributeId;
use std::ops::Range;

/// How text is read and what values mean.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The documented grammar; a level that mixes operators is an error.
    #[default]
    Standard,
    /// MMT's engine to the byte: one operator per level, the last one wins.
    Compat,
}

/// Place in the text that was parsed, in bytes.
pub type Span = Range<usize>;

/// A typed expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub node: Node,
    /// Where it stands.
    pub span: Span,
}

/// What an expression is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `proto.att`, or `proto.att.N`: its value in the current packet, or in event N.
    Attribute(AttributeId, Option<u8>),
    /// A protocol by itself (`#is_null(ip)`).
    Protocol(crate::dissect::Protocol),
    /// Unsigned integer; `true` is 1 and `false` is 0.
    Number(u64),
    /// `'text'` with its C escapes resolved.
    Text(Box<[u8]>),
    /// `#name(arguments)`.
    Call(&'static functions::Function, Vec<Expr>),
    /// One level of the expression: operands joined by one operator, left to right; at least two.
    Chain(Operator, Vec<Expr>),
}

/// Operators, as documented in mmt-rules.md section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is its usual sign")]
pub enum Operator {
    And,
    Or,
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operator {
    /// Does it compare, and so give true or false?
    pub const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::GreaterEqual
                | Self::Less
                | Self::LessEqual
        )
    }
}

pub mod evaluate;
pub mod functions;
