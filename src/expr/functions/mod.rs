//! Functions that expressions can call.
//!
//! Each is one entry of [`FUNCTIONS`]: listings, checks and error messages come from there. The
//! `em_` ones replace the C code that published rule files carry; what they do in compat mode is
//! what that code did, which is not always what its name says.

pub mod lists;

mod addresses;
mod dtls;
mod list;
mod log4shell;
mod numbers;
pub mod pattern;
mod payload;
mod presence;
mod rate;
mod text;

pub use rate::State;

use super::Mode;
use crate::packet::Layer;
use lists::List;
use pattern::Pattern;
use std::hash::{Hash, Hasher};

/// One built-in.
pub struct Function {
    /// Name, as written after `#`.
    pub name: &'static str,
    /// What it tells, in one line.
    pub summary: &'static str,
    /// What its arguments must be, in order.
    pub parameters: &'static [Parameter],
    /// Lists that it looks into; they follow the written arguments, as [`super::Node::List`].
    pub lists: &'static [&'static str],
    /// What it asks of attributes among its arguments.
    pub presence: Presence,
    /// How its result comes about.
    pub body: Body,
    /// Rules for the published engine do not have it.
    pub standard_only: bool,
}

/// How a result comes about.
#[derive(Clone, Copy)]
pub enum Body {
    /// From the arguments alone.
    Pure(fn(&[Argument<'_>], Mode) -> i64),
    /// From the arguments and from earlier calls: each call site has a [`State`] of its own, and
    /// all its calls must be made in the order of time, by one worker.
    Stateful(fn(&mut State, &[Argument<'_>], Mode) -> i64),
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// A number.
    Number,
    /// A time stamp or a number.
    Time,
    /// Text: an attribute of a text class, or 'text'.
    Text,
    /// An IPv4 address: an attribute, or 'text' that is one.
    Ipv4,
    /// Bytes of a packet: a pointer, binary or text attribute, or 'text'.
    Bytes,
    /// Any attribute: one that lists can hold (address, text, number).
    Listed,
    /// `'name'` of a list; arrives as [`Argument::List`].
    ListName,
    /// `'pattern'`, a regular expression; arrives as [`Argument::Pattern`].
    Pattern,
    /// `'text'`: what is looked for is known when the rule is loaded.
    Constant,
    /// A protocol path.
    Path,
    /// An attribute, or a protocol by itself.
    Subject,
}

/// What a function asks of the attributes among its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// They must be there, as everywhere else in an expression.
    Needs,
    /// It tells whether they are there, so an event does not need them.
    Asks,
    /// As [`Presence::Asks`], except in compat mode: MMT's engine needs them all the same.
    AsksInStandard,
}

/// A value that a function is called with.
#[derive(Debug, Clone, Copy)]
pub enum Argument<'a> {
    /// The packet (or event) has no such attribute, or not the protocol that stands by itself.
    Absent,
    /// A number; 1 for a protocol that stands by itself and is there.
    Number(i128),
    /// Text, binary data, addresses in network order, arrays as big-endian items.
    Bytes(&'a [u8]),
    /// A protocol path.
    Path(&'a [Layer]),
    /// A list.
    List(&'a List),
    /// A regular expression.
    Pattern(&'a Pattern),
}

/// Every function. Two entries share the name `in_list`: the check picks one by the argument.
pub static FUNCTIONS: &[&Function] = &[
    &rate::FIVE_G,
    &addresses::BOTNET,
    &text::DOUBLE_COMPRESSION,
    &text::DOUBLE_ENCODING,
    &payload::EICAR,
    &payload::EICAR_HTTP,
    &payload::EICAR_STREAM,
    &text::HEADER,
    &numbers::IP_OPTION,
    &numbers::IP_PROTOCOL,
    &log4shell::LOG4SHELL,
    &numbers::PATH_LENGTH,
    &addresses::TOR,
    &addresses::TROJAN_URI,
    &text::VERSION,
    &addresses::WANNACRY,
    &dtls::CIPHERS,
    &dtls::VERSION,
    &text::EQUALS_NOCASE,
    &addresses::IN_LIST,
    &presence::IS_EMPTY,
    &presence::IS_EXIST,
    &presence::IS_NULL,
    &addresses::IS_SAME_IPV4,
    &pattern::REGEX,
    &text::STRCASESTR,
    &text::STRLEN,
    &text::STRSTR,
];

impl Function {
    /// By name, as written after `#`.
    pub fn find(name: &str, mode: Mode) -> Option<&'static Self> {
        Self::all(mode).find(|f| f.name == name)
    }

    /// All that expressions of a mode can call.
    pub fn all(mode: Mode) -> impl Iterator<Item = &'static Self> {
        let functions = FUNCTIONS.iter().copied();
        functions.filter(move |f| mode == Mode::Standard || !f.standard_only)
    }

    /// Number of arguments that are written (lists that follow by themselves are not counted).
    pub const fn arity(&self) -> usize {
        self.parameters.len()
    }

    /// Does its result depend on earlier calls?
    pub const fn is_stateful(&self) -> bool {
        matches!(self.body, Body::Stateful(_))
    }

    /// Does an event not need the attributes that this function is asked about?
    pub fn asks(&self, mode: Mode) -> bool {
        match self.presence {
            Presence::Needs => false,
            Presence::Asks => true,
            Presence::AsksInStandard => mode == Mode::Standard,
        }
    }

    /// Its result; yes is 1 and no is 0. `state` is that of the call site, and unused if pure.
    pub fn call(&self, state: &mut State, arguments: &[Argument<'_>], mode: Mode) -> i64 {
        match self.body {
            Body::Pure(body) => body(arguments, mode),
            Body::Stateful(body) => body(state, arguments, mode),
        }
    }

    /// How it is called: `name(text, text)`.
    pub fn signature(&self) -> String {
        let parameters: Vec<&str> = self.parameters.iter().map(|p| p.name()).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.parameters == other.parameters
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.signature())
    }
}

impl Parameter {
    /// Its name in listings and error messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Time => "time",
            Self::Text => "text",
            Self::Ipv4 => "IPv4 address",
            Self::Bytes => "bytes",
            Self::Listed => "attribute of an address, text or number",
            Self::ListName => "'list'",
            Self::Pattern => "'pattern'",
            Self::Constant => "'text'",
            Self::Path => "path",
            Self::Subject => "attribute or protocol",
        }
    }
}

impl<'a> Argument<'a> {
    /// The bytes as a C function reads them in compat mode: up to the first NUL. Empty when absent.
    fn text(self, mode: Mode) -> &'a [u8] {
        let bytes = self.bytes();
        match mode {
            Mode::Standard => bytes,
            Mode::Compat => memchr::memchr(0, bytes)
                .and_then(|length| bytes.get(..length))
                .unwrap_or(bytes),
        }
    }

    /// All of the bytes; empty when there are none.
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    fn number(self) -> Option<i128> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }
}

/// Argument `index`; absent when there are fewer, which the check rules out.
fn argument<'a>(arguments: &[Argument<'a>], index: usize) -> Argument<'a> {
    arguments.get(index).copied().unwrap_or(Argument::Absent)
}

/// The variant of a function for an argument that is an address: bytes alone do not tell.
pub(super) fn addresses_only(function: &'static Function) -> &'static Function {
    match function == &addresses::IN_LIST {
        true => &addresses::IN_LIST_ADDRESS,
        false => function,
    }
}

/// A pure function of `parameters` that uses no list.
const fn pure(
    name: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    body: fn(&[Argument<'_>], Mode) -> i64,
) -> Function {
    Function {
        name,
        summary,
        parameters,
        lists: &[],
        presence: Presence::Needs,
        body: Body::Pure(body),
        standard_only: false,
    }
}

/// A pure function that the published engine does not have.
const fn extension(
    name: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    body: fn(&[Argument<'_>], Mode) -> i64,
) -> Function {
    Function {
        standard_only: true,
        ..pure(name, summary, parameters, body)
    }
}

/// Calls a function as the tests of this folder need it.
#[cfg(test)]
fn call(function: &Function, arguments: &[Argument<'_>], mode: Mode) -> i64 {
    function.call(&mut State::with_limit(0), arguments, mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for function in FUNCTIONS {
            assert_eq!(
                Function::find(function.name, Mode::Standard),
                Some(*function)
            );
            assert!(!function.summary.is_empty());
        }
        let mut names: Vec<&str> = FUNCTIONS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FUNCTIONS.len());
        assert!(Function::find("system", Mode::Standard).is_none());
        assert!(Function::find("regex", Mode::Compat).is_none());
    }

    #[test]
    fn nothing_panics_when_arguments_are_absent() {
        let layers = [];
        let list = List::parse("x", b"");
        let pattern = Pattern::find("x+").unwrap();
        let values = [
            Argument::Absent,
            Argument::Number(-1),
            Argument::Number(i128::MAX),
            Argument::Bytes(&[]),
            Argument::Bytes(&[0xff; 5]),
            Argument::Path(&layers),
            Argument::List(&list),
            Argument::Pattern(&pattern),
        ];
        for function in FUNCTIONS {
            for mode in [Mode::Standard, Mode::Compat] {
                call(function, &[], mode);
                for one in values {
                    for other in values {
                        call(function, &[one, other, Argument::Absent], mode);
                    }
                }
            }
        }
    }
}
