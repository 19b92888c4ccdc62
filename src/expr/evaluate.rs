//! Compiled expressions and their evaluation.
//!
//! An [`Expr`] names attributes; a [`Code`] names places in whatever its owner keeps values in, as
//! a reference type `R`: the values extracted from one packet, or the values recorded with earlier
//! events. Evaluation allocates nothing and cannot fail: what cannot be computed is absent, and an
//! absent value makes comparisons false.

use super::address::Network;
use super::functions::lists::List;
use super::functions::pattern::Pattern;
use super::functions::{Argument, Function, State};
use super::{Expr, Mode, Node, Operator};
use crate::dissect::attribute::{AttributeId, Class};
use arrayvec::ArrayVec;
use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

/// Arguments that one call can have.
pub const ARGUMENTS_MAX: usize = 8;

/// A value while it is computed with.
#[derive(Debug, Clone, Copy)]
pub enum Scalar<'a> {
    /// No such value in this packet or event.
    Absent,
    /// Exact integer: every attribute fits, and so does what rules compute from them.
    Number(i128),
    /// Floating point.
    Float(f64),
    /// Bytes, perhaps only the first ones of a long value.
    Text(Text<'a>),
    /// The headers of a packet.
    Path(&'a [crate::packet::Layer]),
}

/// Bytes of a value. Where only a prefix was kept, its full length and a hash of all bytes decide
/// equality.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The first bytes, or all.
    pub bytes: &'a [u8],
    /// Length of the whole value.
    pub length: u32,
    /// Hash of the whole value; only read when `bytes` is a prefix.
    pub hash: u64,
}

impl<'a> Text<'a> {
    /// A value of which all bytes are at hand.
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            hash: 0,
        }
    }

    /// Are all bytes at hand?
    pub fn is_whole(&self) -> bool {
        usize::try_from(self.length).is_ok_and(|length| length == self.bytes.len())
    }

    fn digest(&self) -> u64 {
        if self.is_whole() {
            digest(self.bytes)
        } else {
            self.hash
        }
    }

    /// Equal length and bytes; for prefixes, equal length, common bytes and hash.
    pub fn same(&self, other: &Self) -> bool {
        if self.length != other.length {
            return false;
        }
        if self.is_whole() && other.is_whole() {
            return self.bytes == other.bytes;
        }
        let common = self.bytes.len().min(other.bytes.len());
        self.bytes.get(..common) == other.bytes.get(..common) && self.digest() == other.digest()
    }
}

/// Hash of a value too long to be kept whole.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Where a [`Code`] finds the values of its references.
pub trait Source<R> {
    /// The value, or [`Scalar::Absent`].
    fn read(&self, reference: R) -> Scalar<'_>;
    /// Does the packet have this protocol?
    fn has_protocol(&self, protocol: crate::dissect::Protocol) -> bool;
}

/// A comparison of a number with a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    operator: Operator,
    constant: i128,
}

impl Comparison {
    /// Does it hold for this number?
    pub fn holds(&self, number: u64) -> bool {
        compare(self.operator, &i128::from(number), &self.constant)
    }
}

/// A compiled expression. Two are equal that give the same for the same values.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Code<R> {
    root: Term<R>,
    mode: Mode,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Term<R> {
    Value(R, Class),
    Number(i128),
    Text(Box<[u8]>),
    Protocol(crate::dissect::Protocol),
    List(Arc<List>),
    Pattern(Arc<Pattern>),
    Call(&'static Function, Vec<Self>),
    /// A function that remembers its calls: only one worker evaluates its rule, so nobody waits.
    /// The same rule in another rule set may share the memory.
    Stateful(&'static Function, Vec<Self>, Memory),
    Chain(Operator, Vec<Self>),
    /// `attribute OP constant`, by far the most frequent test.
    Test(R, Operator, i128),
    /// `attribute OP attribute` of numbers, the next.
    Pair(R, Operator, R),
    /// Is the address in the network? `false` for `!=`.
    Within(R, Network, bool),
}

/// What a function remembers of its calls. Each is its own.
#[derive(Debug, Default, Clone)]
struct Memory(Arc<Mutex<State>>);

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Memory {}

impl Hash for Memory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::hash(Arc::as_ptr(&self.0), state);
    }
}

impl<R: Copy> Code<R> {
    /// Compile `expr`, with `place` telling where each attribute reference is found.
    pub fn new(
        expr: &Expr,
        mode: Mode,
        place: &mut impl FnMut(AttributeId, Option<u8>) -> R,
    ) -> Self {
        Self {
            root: lower(expr, mode, place),
            mode,
        }
    }

    /// The comparison of a reference with a constant, when it says no more than that.
    pub fn as_test(&self) -> Option<(R, Comparison)> {
        match &self.root {
            Term::Test(reference, operator, constant) => {
                let comparison = Comparison {
                    operator: *operator,
                    constant: *constant,
                };
                Some((*reference, comparison))
            }
            _ => None,
        }
    }

    /// The comparison of two numbers by reference, when it says no more than that.
    pub fn as_pair(&self) -> Option<(R, Operator, R)> {
        match &self.root {
            Term::Pair(left, operator, right) => Some((*left, *operator, *right)),
            _ => None,
        }
    }

    /// Does it remember its evaluations, so that each counts?
    pub fn is_stateful(&self) -> bool {
        self.root.is_stateful()
    }

    /// Share the memory of its calls with `other`, compiled of the same expression.
    pub fn share_memory(&mut self, other: &Self) {
        self.root.share_memory(&other.root);
    }

    /// Does it hold? The value is converted to an integer; non-zero is true. Text that is there is
    /// true.
    pub fn holds(&self, source: &impl Source<R>) -> bool {
        match self.number(&self.root, source) {
            Some(number) => number != 0,
            None => truth(self.evaluate(&self.root, source), self.mode),
        }
    }

    /// The value, where nothing but whole numbers is computed with: most conditions are of these,
    /// and they stay in registers. Calls nothing, so that what remembers its calls is not asked
    /// twice.
    fn number(&self, term: &Term<R>, source: &impl Source<R>) -> Option<i128> {
        let read = |reference: R| match source.read(reference) {
            Scalar::Number(number) => Some(number),
            _ => None,
        };
        match term {
            Term::Number(number) => Some(*number),
            Term::Value(reference, _) => read(*reference),
            Term::Test(reference, operator, constant) => {
                Some(i128::from(compare(*operator, &read(*reference)?, constant)))
            }
            Term::Pair(left, operator, right) => Some(i128::from(compare(
                *operator,
                &read(*left)?,
                &read(*right)?,
            ))),
            Term::Within(reference, network, wanted) => {
                let inside = match source.read(*reference) {
                    Scalar::Text(text) => network.contains(text.bytes),
                    _ => false,
                };
                Some(i128::from(inside == *wanted))
            }
            Term::Chain(operator @ (Operator::And | Operator::Or), operands) => {
                let decisive = *operator == Operator::Or;
                for operand in operands {
                    if (self.number(operand, source)? != 0) == decisive {
                        return Some(i128::from(decisive));
                    }
                }
                Some(i128::from(!decisive))
            }
            // The published engine divides in doubles.
            Term::Chain(Operator::Divide, _) if self.mode == Mode::Compat => None,
            Term::Chain(operator, operands) => {
                let (first, rest) = operands.split_first()?;
                let mut value = self.number(first, source)?;
                for operand in rest {
                    value = match integer(*operator, value, self.number(operand, source)?) {
                        Scalar::Number(number) => number,
                        _ => return None,
                    };
                }
                Some(value)
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn evaluate<'s>(&'s self, term: &'s Term<R>, source: &'s impl Source<R>) -> Scalar<'s> {
        match term {
            Term::Test(reference, operator, constant) => match source.read(*reference) {
                Scalar::Number(left) => boolean(compare(*operator, &left, constant)),
                other => self.binary(*operator, other, Class::Other, Scalar::Number(*constant)),
            },
            Term::Pair(left, operator, right) => {
                let (left, right) = (source.read(*left), source.read(*right));
                self.binary(*operator, left, Class::Numeric, right)
            }
            Term::Value(reference, _) => source.read(*reference),
            Term::Number(number) => Scalar::Number(*number),
            Term::Text(bytes) => Scalar::Text(Text::whole(bytes)),
            Term::Protocol(protocol) if source.has_protocol(*protocol) => boolean(true),
            // These mean something to the function that is called with them, and nowhere else.
            Term::Protocol(_) | Term::List(_) | Term::Pattern(_) => Scalar::Absent,
            Term::Within(..) => self
                .number(term, source)
                .map_or(Scalar::Absent, Scalar::Number),
            Term::Call(function, arguments) => {
                self.call(function, arguments, &mut State::with_limit(0), source)
            }
            Term::Stateful(function, arguments, state) => match state.0.lock() {
                Ok(mut state) => self.call(function, arguments, &mut state, source),
                Err(_) => Scalar::Absent,
            },
            Term::Chain(operator, operands) => self.chain(*operator, operands, source),
        }
    }

    fn chain<'s>(
        &'s self,
        operator: Operator,
        operands: &'s [Term<R>],
        source: &'s impl Source<R>,
    ) -> Scalar<'s> {
        match operator {
            Operator::And => boolean(
                operands
                    .iter()
                    .all(|term| truth(self.evaluate(term, source), self.mode)),
            ),
            Operator::Or => boolean(
                operands
                    .iter()
                    .any(|term| truth(self.evaluate(term, source), self.mode)),
            ),
            _ => {
                let mut terms = operands.iter();
                let Some(first) = terms.next() else {
                    return Scalar::Absent;
                };
                let mut class = term_class(first);
                let mut value = self.evaluate(first, source);
                for term in terms {
                    let right = self.evaluate(term, source);
                    let either = join_classes(class, term_class(term));
                    value = self.binary(operator, value, either, right);
                    class = Class::Numeric;
                }
                value
            }
        }
    }

    /// One operator on two values; `class` is `Other` when either side is opaque in MMT.
    fn binary<'s>(
        &self,
        operator: Operator,
        left: Scalar<'s>,
        class: Class,
        right: Scalar<'s>,
    ) -> Scalar<'s> {
        use Scalar::{Absent, Float, Number};
        match (left, right) {
            (Number(a), Number(b)) => self.integers(operator, a, b),
            (Number(a), Float(b)) => floats(operator, to_float(a), b),
            (Float(a), Number(b)) => floats(operator, a, to_float(b)),
            (Float(a), Float(b)) => floats(operator, a, b),
            // MMT compares opaque values as pointers: one packet's never equals another's.
            (Scalar::Text(_), Scalar::Text(_))
                if self.mode == Mode::Compat && class == Class::Other =>
            {
                boolean(operator == Operator::NotEqual)
            }
            (Scalar::Text(a), Scalar::Text(b)) => {
                boolean(texts(operator, self.cut(a), self.cut(b)))
            }
            (Scalar::Path(a), Scalar::Path(b)) => match operator {
                Operator::Equal => boolean(a == b),
                Operator::NotEqual => boolean(a != b),
                _ => boolean(false),
            },
            // `address != 0` asks whether the address is there.
            (Scalar::Text(_) | Scalar::Path(_), Number(0))
            | (Number(0), Scalar::Text(_) | Scalar::Path(_)) => {
                boolean(operator == Operator::NotEqual)
            }
            (Absent, Absent) => boolean(operator == Operator::Equal),
            (Absent, Number(b)) => self.integers(operator, 0, b),
            (Number(a), Absent) => self.integers(operator, a, 0),
            _ => boolean(operator == Operator::NotEqual),
        }
    }

    /// In compat mode text ends at its first NUL byte, as a C string does.
    fn cut<'s>(&self, text: Text<'s>) -> Text<'s> {
        if self.mode == Mode::Standard || !text.is_whole() || text.bytes.len() <= 16 {
            return text;
        }
        match memchr::memchr(0, text.bytes) {
            Some(end) => Text::whole(text.bytes.get(..end).unwrap_or(text.bytes)),
            None => text,
        }
    }

    fn integers<'s>(&self, operator: Operator, a: i128, b: i128) -> Scalar<'s> {
        if self.mode == Mode::Compat {
            // The published engine computes in doubles; they differ only beyond 2^53 and in
            // division.
            return match operator {
                Operator::Divide => floats(operator, to_float(a), to_float(b)),
                _ => integer(operator, a, b),
            };
        }
        integer(operator, a, b)
    }

    #[inline(never)]
    fn call<'s>(
        &'s self,
        function: &'static Function,
        terms: &'s [Term<R>],
        state: &mut State,
        source: &'s impl Source<R>,
    ) -> Scalar<'s> {
        let mut arguments: ArrayVec<Argument<'s>, ARGUMENTS_MAX> = ArrayVec::new();
        for term in terms.iter().take(ARGUMENTS_MAX) {
            arguments.push(match (term, self.evaluate(term, source)) {
                (Term::List(list), _) => Argument::List(list),
                (Term::Pattern(pattern), _) => Argument::Pattern(pattern),
                (_, Scalar::Absent) => Argument::Absent,
                (_, Scalar::Number(number)) => Argument::Number(number),
                (_, Scalar::Float(number)) => Argument::Number(to_integer(number)),
                (_, Scalar::Text(text)) => Argument::Bytes(text.bytes),
                (_, Scalar::Path(layers)) => Argument::Path(layers),
            });
        }
        Scalar::Number(i128::from(function.call(state, &arguments, self.mode)))
    }
}

impl<R> Term<R> {
    fn is_stateful(&self) -> bool {
        match self {
            Self::Stateful(..) => true,
            Self::Call(_, terms) | Self::Chain(_, terms) => terms.iter().any(Self::is_stateful),
            _ => false,
        }
    }

    fn share_memory(&mut self, other: &Self) {
        let (terms, others) = match (self, other) {
            (Self::Stateful(_, terms, memory), Self::Stateful(_, others, other)) => {
                memory.clone_from(other);
                (terms, others)
            }
            (Self::Call(_, terms), Self::Call(_, others))
            | (Self::Chain(_, terms), Self::Chain(_, others)) => (terms, others),
            _ => return,
        };
        for (term, other) in terms.iter_mut().zip(others) {
            term.share_memory(other);
        }
    }
}

fn lower<R: Copy>(
    expr: &Expr,
    mode: Mode,
    place: &mut impl FnMut(AttributeId, Option<u8>) -> R,
) -> Term<R> {
    match &expr.node {
        Node::Attribute(id, event) => Term::Value(place(*id, *event), class_of(*id, mode)),
        Node::Protocol(protocol) => Term::Protocol(*protocol),
        Node::Number(number) => Term::Number(*number),
        Node::Text(bytes) => Term::Text(bytes.clone()),
        Node::List(list) => Term::List(Arc::clone(list)),
        Node::Pattern(pattern) => Term::Pattern(Arc::clone(pattern)),
        // The check leaves none but beside an attribute.
        Node::Network(_) => Term::Number(0),
        Node::Call(function, arguments) => {
            let terms = arguments.iter().map(|a| lower(a, mode, place)).collect();
            match function.is_stateful() {
                true => Term::Stateful(function, terms, Memory::default()),
                false => Term::Call(function, terms),
            }
        }
        Node::Chain(operator, operands) => {
            if let Some((id, event, network)) = within(operands) {
                return Term::Within(place(id, event), network, *operator == Operator::Equal);
            }
            let terms: Vec<_> = operands
                .iter()
                .map(|operand| lower(operand, mode, place))
                .collect();
            match (operator.is_comparison(), terms.as_slice()) {
                (
                    true,
                    [
                        Term::Value(reference, Class::Numeric),
                        Term::Number(constant),
                    ],
                ) => Term::Test(*reference, *operator, *constant),
                (
                    true,
                    [
                        Term::Value(left, Class::Numeric),
                        Term::Value(right, Class::Numeric),
                    ],
                ) => Term::Pair(*left, *operator, *right),
                _ => Term::Chain(*operator, terms),
            }
        }
    }
}

/// An attribute beside a prefix, in either order.
fn within(operands: &[Expr]) -> Option<(AttributeId, Option<u8>, Network)> {
    let [left, right] = operands else {
        return None;
    };
    match (&left.node, &right.node) {
        (Node::Attribute(id, event), Node::Network(network))
        | (Node::Network(network), Node::Attribute(id, event)) => Some((*id, *event, *network)),
        _ => None,
    }
}

/// MMT treats times, pointers and the like as opaque; standard mode looks at what they hold.
fn class_of(id: AttributeId, mode: Mode) -> Class {
    match (mode, id.kind().class()) {
        (Mode::Standard, Class::Other) => Class::Text,
        (_, class) => class,
    }
}

fn term_class<R>(term: &Term<R>) -> Class {
    match term {
        Term::Value(_, class) => *class,
        Term::Text(_) => Class::Text,
        _ => Class::Numeric,
    }
}

fn join_classes(left: Class, right: Class) -> Class {
    if left == Class::Other || right == Class::Other {
        Class::Other
    } else {
        left
    }
}

fn truth(value: Scalar<'_>, mode: Mode) -> bool {
    match value {
        Scalar::Absent => false,
        Scalar::Number(number) => number != 0,
        // The engine converts its double to an integer: a fraction below one is false.
        Scalar::Float(number) if mode == Mode::Compat => number.trunc() != 0.0,
        Scalar::Float(number) => number != 0.0,
        Scalar::Text(_) | Scalar::Path(_) => true,
    }
}

fn boolean<'s>(value: bool) -> Scalar<'s> {
    Scalar::Number(i128::from(value))
}

/// One of the comparisons; false for other operators.
pub fn compare<T: PartialOrd>(operator: Operator, a: &T, b: &T) -> bool {
    match operator {
        Operator::Equal => a == b,
        Operator::NotEqual => a != b,
        Operator::Greater => a > b,
        Operator::GreaterEqual => a >= b,
        Operator::Less => a < b,
        Operator::LessEqual => a <= b,
        _ => false,
    }
}

fn texts(operator: Operator, a: Text<'_>, b: Text<'_>) -> bool {
    match operator {
        Operator::Equal => a.same(&b),
        Operator::NotEqual => !a.same(&b),
        _ => compare(operator, &a.bytes, &b.bytes),
    }
}

fn integer<'s>(operator: Operator, a: i128, b: i128) -> Scalar<'s> {
    let number = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        _ => return boolean(compare(operator, &a, &b)),
    };
    number.map_or(Scalar::Absent, Scalar::Number)
}

fn floats<'s>(operator: Operator, a: f64, b: f64) -> Scalar<'s> {
    match operator {
        Operator::Add => Scalar::Float(a + b),
        Operator::Subtract => Scalar::Float(a - b),
        Operator::Multiply => Scalar::Float(a * b),
        Operator::Divide => Scalar::Float(a / b),
        _ => boolean(compare(operator, &a, &b)),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a float cast saturates")]
fn to_integer(number: f64) -> i128 {
    number as i128
}

#[allow(clippy::cast_precision_loss, reason = "MMT computes in doubles")]
fn to_float(number: i128) -> f64 {
    number as f64
}
