//! Access predicates: what a packet must show before an event of a rule is looked at.
//!
//! Of the conditions of an event that an index can answer, the one that the fewest packets are
//! likely to meet becomes its access predicate (Fabret et al., "Filtering algorithms and
//! implementation for very fast publish/subscribe systems", SIGMOD 2001). The others are checked
//! once the index has said that the event is worth it.

use super::program::Slot;
use super::record;
use crate::dissect::attribute::{AttributeId, Class, Extract, Field, Type, Value};
use crate::expr::address::Network;
use crate::expr::functions::lists::List;
use crate::expr::{Expr, Mode, Node, Operator};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A condition that an index can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// The attribute.
    pub slot: Slot,
    /// How few packets are likely to meet it.
    pub rank: Rank,
    /// What its value must be.
    pub wanted: Wanted,
}

/// What the value of an attribute must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A number between two, both included.
    Range(u64, u64),
    /// These bytes.
    Text(Box<[u8]>),
    /// Bytes with these among them.
    Contains(Box<[u8]>),
    /// These bytes but for the case of ASCII letters; lower case here.
    TextNoCase(Box<[u8]>),
    /// Bytes with these among them but for the case of ASCII letters; lower case here.
    ContainsNoCase(Box<[u8]>),
    /// An address of a network.
    Within(Network),
    /// An entry of a list.
    Listed(Listed),
    /// Anything: the packet must have it.
    Present,
}

/// A list to look a value up in.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The list.
    pub list: Arc<List>,
    /// The value is an address, not text.
    pub is_address: bool,
}

impl Listed {
    /// Is this value in it?
    pub fn has(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Number(number) => self.list.has_number(i128::from(*number)),
            Value::Bytes(bytes) if self.is_address => self.list.has_address(bytes),
            Value::Bytes(bytes) => self.list.has_text(bytes),
            Value::Float(_) | Value::Path(_) => false,
        }
    }
}

impl PartialEq for Listed {
    /// Rules share a list that they name alike, so that it is enough to ask whether it is one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.list, &other.list) && self.is_address == other.is_address
    }
}

impl Eq for Listed {}

impl Hash for Listed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.list.name().hash(state);
    }
}

/// How selective a condition is likely to be, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// One value of very many: a port, an address, a text.
    One,
    /// A text within a text.
    Substring,
    /// One value of some dozens: a type, a set of flags, a flag that is seldom set; a network; what
    /// a list holds.
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
        return search(expr, mode);
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
        (Node::Attribute(id, None), Node::Network(network))
        | (Node::Network(network), Node::Attribute(id, None)) => {
            // The empty prefix says no more than that the address is there.
            let says_something = *operator == Operator::Equal && network.bits() > 0;
            says_something.then_some((*id, Wanted::Within(*network)))
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
            search(left, mode)
        }
        (Node::Call(..), Node::Number(1)) if *operator == Operator::Equal => search(left, mode),
        _ => None,
    }
}

/// A function that looks for something constant in an attribute. In compat mode text ends at a NUL,
/// which only makes it contain less.
fn search(call: &Expr, mode: Mode) -> Option<(AttributeId, Wanted)> {
    let Node::Call(function, arguments) = &call.node else {
        return None;
    };
    let [one, other] = arguments.as_slice() else {
        return None;
    };
    match (function.name, &one.node, &other.node) {
        ("strstr", Node::Attribute(id, None), Node::Text(needle)) => {
            // The function looks for what is before a NUL.
            let needle = match mode {
                Mode::Standard => needle,
                Mode::Compat => needle.split(|byte| *byte == 0).next()?,
            };
            let wanted = (!needle.is_empty()).then(|| Wanted::Contains(needle.into()))?;
            Some((*id, wanted))
        }
        ("strcasestr", Node::Attribute(id, None), Node::Text(needle)) => {
            let needle = needle.to_ascii_lowercase();
            let wanted = (!needle.is_empty()).then(|| Wanted::ContainsNoCase(needle.into()))?;
            Some((*id, wanted))
        }
        ("equals_nocase", Node::Attribute(id, None), Node::Text(text))
        | ("equals_nocase", Node::Text(text), Node::Attribute(id, None)) => {
            Some((*id, Wanted::TextNoCase(text.to_ascii_lowercase().into())))
        }
        // In compat mode the text up to a NUL is looked up.
        ("in_list", Node::Attribute(id, None), Node::List(list)) => {
            let is_address = matches!(id.kind(), Type::IpAddr | Type::Ip6Addr);
            let is_whole = mode == Mode::Standard || is_address || record::is_number(id.kind());
            let list = Arc::clone(list);
            is_whole.then_some((*id, Wanted::Listed(Listed { list, is_address })))
        }
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
        Wanted::Text(_) | Wanted::TextNoCase(_) => Rank::One,
        Wanted::Contains(_) | Wanted::ContainsNoCase(_) => Rank::Substring,
        Wanted::Within(Network::V4(_, 32) | Network::V6(_, 128)) => Rank::One,
        Wanted::Within(Network::V4(_, 8..) | Network::V6(_, 16..)) => Rank::Few,
        Wanted::Within(_) => Rank::Part,
        Wanted::Listed(_) => Rank::Few,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_texts_numbers_and_addresses() {
        let list = Arc::new(List::parse("t", b"abcd\n22\n10.0.0.0/8\n"));
        let has = |is_address, value| {
            let list = Arc::clone(&list);
            Listed { list, is_address }.has(&value)
        };
        assert!(has(false, Value::Bytes(b"abcd")) && !has(false, Value::Bytes(b"abc")));
        assert!(has(false, Value::Number(22)) && !has(false, Value::Number(23)));
        assert!(has(true, Value::Bytes(&[10, 1, 2, 3])) && !has(true, Value::Bytes(b"abcd")));
        assert!(!has(true, Value::Float(22.0)));
    }
}
