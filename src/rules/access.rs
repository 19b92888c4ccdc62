//! Access predicates: what a packet must show before an event of a rule is looked at.
//!
//! Of the conditions of an event that an index can answer, the one that the fewest packets are
//! likely to meet becomes its access predicate (Fabret et al., "Filtering algorithms and
//! implementation for very fast publish/subscribe systems", SIGMOD 2001). The others are checked
//! once the index has said that the event is worth it.

use super::program::Slot;
use super::record;
use crate::dissect::attribute::{AttributeId, Class, Extract, Field, Type};
use crate::expr::{Expr, Mode, Node, Operator};

/// A condition that an index can answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    /// The attribute.
    pub slot: Slot,
    /// How few packets are likely to meet it.
    pub rank: Rank,
    /// What its value must be.
    pub wanted: Wanted,
}

/// What the value of an attribute must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wanted {
    /// A number between two, both included.
    Range(u64, u64),
    /// These bytes.
    Text(Box<[u8]>),
    /// Bytes with these among them.
    Contains(Box<[u8]>),
    /// Anything: the packet must have it.
    Present,
}

/// How selective a condition is likely to be, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// One value of very many: a port, an address, a text.
    One,
    /// A text within a text.
    Substring,
    /// One value of some dozens: a type, a set of flags, a flag that is seldom set.
    Few,
    /// A message of an application protocol, which few packets complete.
    Message,
    /// Part of all values; or 0, which most fields mostly are.
    Part,
}

impl Access {
    /// The condition as one that an index can answer. `slot` gives the slot of an attribute.
    pub fn of(expr: &Expr, mode: Mode, slot: impl FnOnce(AttributeId) -> Slot) -> Option<Self> {
        let (id, wanted) = condition(expr, mode)?;
        Some(Self {
            rank: rank(id, &wanted),
            slot: slot(id),
            wanted,
        })
    }

    /// That the packet has an attribute, where that says more than that it has the protocol.
    pub fn presence(id: AttributeId, slot: Slot) -> Option<Self> {
        let is_message = id.protocol.definition().dissect.is_none()
            && id.protocol != crate::dissect::Protocol::Meta;
        is_message.then_some(Self {
            slot,
            rank: Rank::Message,
            wanted: Wanted::Present,
        })
    }
}

fn condition(expr: &Expr, mode: Mode) -> Option<(AttributeId, Wanted)> {
    if let Node::Call(..) = &expr.node {
        return search(expr);
    }
    let Node::Chain(operator, operands) = &expr.node else {
        return None;
    };
    let [left, right] = operands.as_slice() else {
        return None;
    };
    match (&left.node, &right.node) {
        (Node::Attribute(id, None), Node::Number(number)) => numeric(*id, *operator, *number),
        (Node::Number(number), Node::Attribute(id, None)) => {
            numeric(*id, operator.mirrored(), *number)
        }
        (Node::Attribute(id, None), Node::Text(text))
        | (Node::Text(text), Node::Attribute(id, None)) => {
            let is_exact = mode == Mode::Standard && *operator == Operator::Equal;
            let is_bytes = id.kind().class() == Class::Text;
            (is_exact && is_bytes).then(|| (*id, Wanted::Text(text.clone())))
        }
        // A search gives 0 or 1.
        (Node::Call(..), Node::Number(0))
            if matches!(operator, Operator::NotEqual | Operator::Greater) =>
        {
            search(left)
        }
        (Node::Call(..), Node::Number(1)) if *operator == Operator::Equal => search(left),
        _ => None,
    }
}

/// `#strstr(attribute, 'text')`. In compat mode text ends at a NUL, which only makes it contain
/// less.
fn search(call: &Expr) -> Option<(AttributeId, Wanted)> {
    let Node::Call(function, arguments) = &call.node else {
        return None;
    };
    match (function.name, arguments.as_slice()) {
        ("strstr", [text, needle]) => match (&text.node, &needle.node) {
            (Node::Attribute(id, None), Node::Text(needle)) if !needle.is_empty() => {
                // The function looks for what is before a NUL.
                let needle = needle.split(|byte| *byte == 0).next()?;
                Some((*id, Wanted::Contains(needle.into()))).filter(|_| !needle.is_empty())
            }
            _ => None,
        },
        _ => None,
    }
}

fn numeric(id: AttributeId, operator: Operator, number: i128) -> Option<(AttributeId, Wanted)> {
    // What is beyond all attributes is met by all or by none: nothing to index.
    let number = u64::try_from(number).ok()?;
    let (low, high) = match operator {
        Operator::Equal => (number, number),
        Operator::NotEqual if number == 0 => (1, u64::MAX),
        Operator::Greater => (number.checked_add(1)?, u64::MAX),
        Operator::GreaterEqual => (number, u64::MAX),
        Operator::Less => (0, number.checked_sub(1)?),
        Operator::LessEqual => (0, number),
        _ => return None,
    };
    // What nearly every packet meets is as well looked at at once.
    let is_all = low <= 1 && high == u64::MAX && !is_bit(id);
    let is_indexed = record::is_number(id.kind()) && !is_all;
    is_indexed.then_some((id, Wanted::Range(low, high)))
}

fn rank(id: AttributeId, wanted: &Wanted) -> Rank {
    match wanted {
        Wanted::Text(_) => Rank::One,
        Wanted::Contains(_) => Rank::Substring,
        Wanted::Present => Rank::Message,
        Wanted::Range(0, _) => Rank::Part,
        Wanted::Range(1.., _) if is_bit(id) => Rank::Few,
        Wanted::Range(low, high) if low == high => match id.kind() {
            Type::U8 | Type::Char => Rank::Few,
            _ => Rank::One,
        },
        Wanted::Range(..) => Rank::Part,
    }
}

fn is_bit(id: AttributeId) -> bool {
    let extract = id.attribute().map(|attribute| attribute.extract);
    matches!(extract, Some(Extract::Field(Field::Bits { mask: 1, .. })))
}
