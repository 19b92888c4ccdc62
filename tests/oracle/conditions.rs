//! What the conditions of a rule name, and how they read a packet and the events before it.

use crate::alert::Events;
use crate::expression::{Datum, Scene, Values};
use std::collections::BTreeSet;
use wirelynx::dissect::attribute::AttributeId;
use wirelynx::dissect::{Protocol, ProtocolSet};
use wirelynx::expr::{self, Expr};
use wirelynx::rules::property::{Node, Operator};

/// What a packet offers to one rule.
pub(crate) struct Packet<'v> {
    pub(crate) time_us: u64,
    pub(crate) number: u64,
    pub(crate) values: &'v Values,
    pub(crate) protocols: ProtocolSet,
}

/// The events that may come before `event` or after it.
pub(crate) fn in_either_order(node: &Node, event: u8) -> BTreeSet<u8> {
    let Node::Operator(operator) = node else {
        return BTreeSet::new();
    };
    let parts = [&operator.left, &operator.right];
    let mut found: BTreeSet<u8> = parts
        .iter()
        .flat_map(|part| in_either_order(part, event))
        .collect();
    let is_either = match operator.operator {
        Operator::And => true,
        Operator::Before => !operator.window.immediate,
        Operator::Then => operator.window.min_us < 0,
        Operator::Or | Operator::Not => false,
    };
    let [left, right] = parts.map(events_of);
    for (these, others) in [(&left, &right), (&right, &left)] {
        if is_either && these.contains(&event) {
            found.extend(others);
        }
    }
    found
}

fn events_of(node: &Node) -> BTreeSet<u8> {
    match node {
        Node::Event(event) => [*event].into(),
        Node::Operator(operator) => {
            let mut all = events_of(&operator.left);
            all.extend(events_of(&operator.right));
            all
        }
    }
}

pub(crate) fn asks_protocol(expr: &Expr) -> bool {
    match &expr.node {
        expr::Node::Protocol(_) => true,
        expr::Node::Call(_, parts) | expr::Node::Chain(_, parts) => parts.iter().any(asks_protocol),
        _ => false,
    }
}

/// A packet before an attempt.
#[derive(Clone, Copy)]
pub(crate) struct Look<'v> {
    pub(crate) packet: &'v Packet<'v>,
    /// What the packet may be.
    pub(crate) event: u8,
    /// The event whose condition it is.
    pub(crate) of: u8,
    pub(crate) seen: &'v Events,
    pub(crate) joins: bool,
}

impl Scene for Look<'_> {
    fn value(&self, id: AttributeId, event: Option<u8>) -> Option<Datum> {
        let other = (self.of != self.event).then_some(self.of);
        let values = match event.or(other) {
            None => self.packet.values,
            Some(event) => match self.seen.get(&event) {
                Some(seen) => &seen.values,
                None if event == self.event => self.packet.values,
                None => return None,
            },
        };
        values.get(&id).cloned()
    }

    fn has_protocol(&self, protocol: Protocol) -> bool {
        self.packet.protocols.contains(protocol)
    }

    fn joins(&self) -> bool {
        self.joins
    }
}

/// What a condition names.
#[derive(Default)]
pub(crate) struct Uses {
    pub(crate) own: BTreeSet<AttributeId>,
    /// Asked for by `is_exist` and `is_null`.
    pub(crate) asked: BTreeSet<AttributeId>,
    pub(crate) earlier: BTreeSet<(u8, AttributeId)>,
}

impl Uses {
    pub(crate) fn of(expr: &Expr) -> Self {
        let mut uses = Self::default();
        uses.collect(expr, false);
        uses
    }

    fn collect(&mut self, expr: &Expr, asks: bool) {
        match &expr.node {
            expr::Node::Attribute(id, Some(event)) => {
                self.earlier.insert((*event, *id));
            }
            expr::Node::Attribute(id, None) if asks => {
                self.asked.insert(*id);
            }
            expr::Node::Attribute(id, None) => {
                self.own.insert(*id);
            }
            expr::Node::Call(function, arguments) => {
                let asks = matches!(function.name, "is_exist" | "is_null" | "is_empty");
                arguments.iter().for_each(|part| self.collect(part, asks));
            }
            expr::Node::Chain(_, operands) => {
                operands.iter().for_each(|part| self.collect(part, false));
            }
            _ => {}
        }
    }
}
