//! The value of a condition, by walking its tree.
//!
//! - Numbers are exact integers. Addresses, text and payloads are bytes, equal when all are.
//! - What the packet lacks, or an event that has not been seen, is *absent*. Beside a number it
//!   reads as 0; it equals another absent value and no bytes.
//! - Bytes beside a number ask for presence: they differ from it.
//! - What cannot be computed (a division by 0) is absent. A condition holds when its value is
//!   neither absent nor 0.

use std::collections::BTreeMap;
use wirelynx::dissect::attribute::{AttributeId, Value, View};
use wirelynx::expr::address::Network;
use wirelynx::expr::{Expr, Node, Operator};
use wirelynx::limits::VALUE_BYTES_MAX;

/// The values that a packet has, as far as a rule may ask for them.
pub(crate) type Values = BTreeMap<AttributeId, Datum>;

/// A value, copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Datum {
    Number(i128),
    Bytes(Vec<u8>),
}

/// The value that a packet has of an attribute.
pub(crate) fn extract(view: &View<'_>, id: AttributeId) -> Option<Datum> {
    match view.extract(id)? {
        Value::Number(number) => Some(Datum::Number(i128::from(number))),
        Value::Bytes(bytes) => Some(Datum::Bytes(bytes.to_vec())),
        // No rule of these tests asks for fractions or paths.
        Value::Float(_) | Value::Path(_) => None,
    }
}

/// Where a condition finds values: those of the packet (`None`) and those of events seen.
pub(crate) trait Scene {
    fn value(&self, id: AttributeId, event: Option<u8>) -> Option<Datum>;
    fn has_protocol(&self, protocol: wirelynx::dissect::Protocol) -> bool;
    /// Is the condition one between events?
    fn joins(&self) -> bool;
}

/// Does the condition hold?
pub(crate) fn holds(expr: &Expr, scene: &impl Scene) -> bool {
    match evaluate(expr, scene) {
        None => false,
        Some(Datum::Number(number)) => number != 0,
        Some(Datum::Bytes(_)) => true,
    }
}

fn evaluate(expr: &Expr, scene: &impl Scene) -> Option<Datum> {
    match &expr.node {
        Node::Attribute(id, event) => scene.value(*id, *event),
        Node::Number(number) => Some(Datum::Number(*number)),
        Node::Text(bytes) => Some(Datum::Bytes(bytes.to_vec())),
        Node::Protocol(protocol) => scene.has_protocol(*protocol).then_some(truth(true)),
        Node::List(_) | Node::Pattern(_) | Node::Network(_) => None,
        Node::Call(function, arguments) => {
            let arguments: Vec<_> = arguments.iter().map(|a| argument(a, scene)).collect();
            Some(call(function.name, &arguments))
        }
        Node::Chain(operator, operands) if network_of(operands).is_some() => {
            let (network, other) = network_of(operands)?;
            let is_inside = match evaluate(other, scene) {
                Some(Datum::Bytes(bytes)) => network.contains(&bytes),
                _ => false,
            };
            Some(truth(is_inside == (*operator == Operator::Equal)))
        }
        Node::Chain(Operator::And, operands) => {
            Some(truth(operands.iter().all(|operand| holds(operand, scene))))
        }
        Node::Chain(Operator::Or, operands) => {
            Some(truth(operands.iter().any(|operand| holds(operand, scene))))
        }
        Node::Chain(operator, operands) => {
            let mut values = operands.iter().map(|operand| evaluate(operand, scene));
            let first = values.next()?;
            values.fold(first, |left, right| binary(*operator, left, right))
        }
    }
}

/// The prefix among two operands, and the other one.
fn network_of(operands: &[Expr]) -> Option<(Network, &Expr)> {
    match operands {
        [other, prefix] | [prefix, other] if matches!(prefix.node, Node::Network(_)) => {
            match prefix.node {
                Node::Network(network) => Some((network, other)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// In a condition between events, functions see of bytes what is kept of them.
fn argument(expr: &Expr, scene: &impl Scene) -> Option<Datum> {
    let mut value = evaluate(expr, scene);
    if let (true, Some(Datum::Bytes(bytes))) = (scene.joins(), &mut value) {
        bytes.truncate(VALUE_BYTES_MAX);
    }
    value
}

fn truth(value: bool) -> Datum {
    Datum::Number(i128::from(value))
}

/// The pure functions that the rules of these tests call.
fn call(name: &str, arguments: &[Option<Datum>]) -> Datum {
    match (name, arguments) {
        ("is_exist", [value]) => truth(value.is_some()),
        ("is_null", [value]) => truth(value.is_none()),
        ("is_empty", [value]) => truth(match value {
            None => true,
            Some(Datum::Bytes(bytes)) => bytes.is_empty(),
            Some(Datum::Number(_)) => false,
        }),
        ("strlen", [Some(Datum::Bytes(bytes))]) => {
            Datum::Number(i128::try_from(bytes.len()).unwrap())
        }
        ("strlen", [_]) => Datum::Number(0),
        ("strstr", [Some(Datum::Bytes(text)), Some(Datum::Bytes(part))]) => truth(
            part.is_empty()
                || text
                    .windows(part.len())
                    .any(|window| window == part.as_slice()),
        ),
        ("strcasestr", [Some(Datum::Bytes(text)), Some(Datum::Bytes(part))]) => {
            let (text, part) = (text.to_ascii_lowercase(), part.to_ascii_lowercase());
            truth(text.windows(part.len()).any(|window| window == part))
        }
        ("equals_nocase", [Some(Datum::Bytes(one)), Some(Datum::Bytes(other))]) => {
            truth(one.eq_ignore_ascii_case(other))
        }
        ("strstr" | "strcasestr" | "equals_nocase", [_, _]) => truth(false),
        _ => panic!("the oracle does not know #{name}"),
    }
}

fn binary(operator: Operator, left: Option<Datum>, right: Option<Datum>) -> Option<Datum> {
    use Datum::{Bytes, Number};
    match (left, right) {
        (Some(Number(a)), Some(Number(b))) => numbers(operator, a, b),
        (None, Some(Number(b))) => numbers(operator, 0, b),
        (Some(Number(a)), None) => numbers(operator, a, 0),
        (None, None) => Some(truth(operator == Operator::Equal)),
        (Some(Bytes(a)), Some(Bytes(b))) => Some(truth(match operator {
            Operator::Equal => a == b,
            Operator::NotEqual => a != b,
            _ => panic!("bytes have no order"),
        })),
        _ => Some(truth(operator == Operator::NotEqual)),
    }
}

fn numbers(operator: Operator, a: i128, b: i128) -> Option<Datum> {
    Some(match operator {
        Operator::Equal => truth(a == b),
        Operator::NotEqual => truth(a != b),
        Operator::Greater => truth(a > b),
        Operator::GreaterEqual => truth(a >= b),
        Operator::Less => truth(a < b),
        Operator::LessEqual => truth(a <= b),
        Operator::Add => return a.checked_add(b).map(Datum::Number),
        Operator::Subtract => return a.checked_sub(b).map(Datum::Number),
        Operator::Multiply => return a.checked_mul(b).map(Datum::Number),
        Operator::Divide => return a.checked_div(b).map(Datum::Number),
        Operator::And | Operator::Or => return None,
    })
}
