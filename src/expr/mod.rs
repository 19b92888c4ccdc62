//! One expression language over attributes, for properties, filters and reports.
//!
//! Text becomes an [`Expr`] once (`parse`), is checked against the attribute registry, and is then
//! compiled and evaluated by the front end that owns it. A front end that knows events (rules)
//! accepts `proto.att.N`, the value an attribute had in event N; others reject it.

use crate::diagnostic::{Diagnostic, Problem, Source};
use crate::dissect::attribute::AttributeId;
use address::Network;
use functions::lists::{List, Lists};
use functions::pattern::Pattern;
use std::ops::Range;
use std::sync::Arc;

/// How text is read and what values mean.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Whole number, from -(2^64 - 1) to 2^64 - 1; `true` is 1 and `false` is 0.
    Number(i128),
    /// `'text'` with its C escapes resolved, or the bytes of an address.
    Text(Box<[u8]>),
    /// A prefix: one side of `==` or `!=`, whose other side is an address attribute.
    Network(Network),
    /// `#name(arguments)`.
    Call(&'static functions::Function, Vec<Expr>),
    /// A list of addresses or texts, as an argument of a function that looks something up in it.
    List(Arc<List>),
    /// A regular expression, as an argument of a function that searches for it.
    Pattern(Arc<Pattern>),
    /// One level of the expression: operands joined by one operator, left to right; at least two.
    Chain(Operator, Vec<Expr>),
}

impl Expr {
    /// Visit every attribute in it, with the event it refers to, from left to right.
    pub fn each_attribute(&self, visit: &mut dyn FnMut(AttributeId, Option<u8>)) {
        match &self.node {
            Node::Attribute(id, event) => visit(*id, *event),
            Node::Call(_, parts) | Node::Chain(_, parts) => {
                for part in parts {
                    part.each_attribute(visit);
                }
            }
            Node::Protocol(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::Network(_)
            | Node::List(_)
            | Node::Pattern(_) => {}
        }
    }
}

/// What an expression may refer to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Context<'a> {
    /// The event whose condition it is, and how many its property has; `None` where there are no
    /// events, so that `.N` is an error.
    pub event: Option<(u8, u8)>,
    /// Where lists are looked up; `None` makes every list an error.
    pub lists: Option<&'a Lists>,
}

impl<'a> Context<'a> {
    /// An expression about one packet: a filter, a class, a report.
    pub const fn packet(lists: Option<&'a Lists>) -> Self {
        Self { event: None, lists }
    }

    /// The condition of event `number` of `count`.
    pub const fn event(number: u8, count: u8, lists: Option<&'a Lists>) -> Self {
        Self {
            event: Some((number, count)),
            lists,
        }
    }
}

/// Text to a checked expression. Warnings are only reported beside errors; [`read`] gives both.
///
/// # Errors
/// Everything that is wrong with it, with places in `text` and the file name `expression`.
pub fn parse(text: &str, mode: Mode, context: Context<'_>) -> Result<Expr, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    read(text, mode, context, &mut problems).ok_or_else(|| {
        let source = Source::new("expression", text);
        problems.into_iter().map(|p| source.locate(p)).collect()
    })
}

/// Text to a checked expression, or `None` when `problems` got an error; it may get warnings
/// anyhow.
pub fn read(
    text: &str,
    mode: Mode,
    context: Context<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Expr> {
    let syntax = parse::parse(text, mode, problems)?;
    check::check(syntax, text, mode, context, problems)
}

/// Operators, as rules/README.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// How it is written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }

    /// The one that says the same with its sides exchanged.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            other => other,
        }
    }

    /// Does it compare two values?
    pub const fn is_comparison(self) -> bool {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(
            self,
            Equal | NotEqual | Greater | GreaterEqual | Less | LessEqual
        )
    }

    /// Does it compute a number?
    pub const fn is_arithmetic(self) -> bool {
        matches!(
            self,
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide
        )
    }
}

pub mod address;
mod call;
mod check;
mod comparison;
pub mod evaluate;
pub mod functions;
mod lexer;
pub(crate) mod names;
mod parse;
