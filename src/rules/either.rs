//! Events that may come in either order, and the conditions between them.
//!
//! `a AND b` takes its parts as they come, and `a BEFORE b` looks for b first. A condition between
//! two such events is asked when the later one of them comes, whichever of the two names the other;
//! so it is compiled for both.

use super::machine::{INIT, Machine};
use super::partition::surely_bound;
use super::property::{Node, Operator, OperatorNode};
use crate::expr::{self, Expr, Mode};

/// A condition on an event.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// As it is asked when the event comes.
    pub expr: Expr,
    /// Events that must have come for it to be asked at all: bit N for event N.
    pub needs: u64,
}

/// The order of the events of a rule, as far as it is known.
pub(super) struct Orders {
    /// By event, from 1: the events that may come before it or after it.
    either: Vec<u64>,
    /// By event, from 1: the events that have come wherever an attempt waits for it.
    before: Vec<u64>,
}

impl Orders {
    /// Of so many events. Compat mode knows one order only, as the published engine does.
    pub(super) fn new(root: &Node, machine: &Machine, events: usize, mode: Mode) -> Self {
        let mut either = vec![0; events + 1];
        if mode == Mode::Standard {
            collect(root, &mut either);
        }
        let bound = surely_bound(machine);
        let mut before = vec![u64::MAX; events + 1];
        for edge in machine.edges.iter().filter(|edge| edge.from != INIT) {
            let events = bound.get(usize::from(edge.from)).copied().unwrap_or(0);
            if let Some(before) = before.get_mut(usize::from(edge.event)) {
                *before &= events;
            }
        }
        Self { either, before }
    }

    /// Events that may come before `event` or after it: bit N for event N.
    pub(super) fn either(&self, event: u8) -> u64 {
        of(&self.either, event)
    }

    /// Has `other` come wherever an attempt waits for `event`?
    pub(super) fn comes_behind(&self, event: u8, other: u8) -> bool {
        of(&self.before, event) & bit(other) != 0
    }

    /// The conditions on each event, from 1, as far as `&&` separates them, with those that other
    /// events share with it.
    pub(super) fn conditions(&self, expressions: &[&Expr]) -> Vec<Vec<Condition>> {
        let mut found: Vec<Vec<Condition>> = vec![Vec::new(); expressions.len()];
        for (number, expression) in (1..).zip(expressions) {
            let mut parts = Vec::new();
            conjuncts(expression, &mut parts);
            for part in parts {
                let needs = self.needs(part, number);
                let own = found.get_mut(usize::from(number) - 1);
                own.into_iter().for_each(|own| {
                    own.push(Condition {
                        expr: part.clone(),
                        needs,
                    });
                });
            }
        }
        let own = found.clone();
        for (number, conditions) in (1_u8..).zip(&own) {
            for condition in conditions.iter().filter(|condition| condition.needs != 0) {
                for (other, all) in (1_u8..).zip(&mut found) {
                    if condition.needs & bit(other) != 0 {
                        all.push(Condition {
                            expr: seen_from(&condition.expr, number, other),
                            needs: condition.needs & !bit(other) | bit(number),
                        });
                    }
                }
            }
        }
        found
    }

    /// The events that a condition on event `number` names and that may come later.
    fn needs(&self, part: &Expr, number: u8) -> u64 {
        let mut named = 0;
        part.each_attribute(&mut |_, event| named |= event.map_or(0, bit));
        match asks_packet(part) {
            true => 0,
            false => named & of(&self.either, number),
        }
    }
}

fn of(events: &[u64], event: u8) -> u64 {
    events.get(usize::from(event)).copied().unwrap_or(0)
}

/// The bit of an event; a rule has fewer than 64.
fn bit(event: u8) -> u64 {
    1_u64.checked_shl(event.into()).unwrap_or(0)
}

/// Note the events of each part with those of the other, where the operator takes either first.
fn collect(node: &Node, either: &mut [u64]) -> u64 {
    let operator = match node {
        Node::Event(event) => return bit(*event),
        Node::Operator(operator) => operator,
    };
    let left = collect(&operator.left, either);
    let right = collect(&operator.right, either);
    if takes_either(operator) {
        for (number, events) in (0_u8..).zip(either.iter_mut()) {
            for (these, others) in [(left, right), (right, left)] {
                if these & bit(number) != 0 {
                    *events |= others;
                }
            }
        }
    }
    left | right
}

fn takes_either(operator: &OperatorNode) -> bool {
    match operator.operator {
        Operator::And => true,
        Operator::Before => !operator.window.immediate,
        Operator::Then => operator.window.min_us < 0,
        Operator::Or | Operator::Not => false,
    }
}

/// Conditions that `&&` joins, however deep.
pub(super) fn conjuncts<'e>(expr: &'e Expr, found: &mut Vec<&'e Expr>) {
    match &expr.node {
        expr::Node::Chain(expr::Operator::And, parts) => {
            parts.iter().for_each(|part| conjuncts(part, found));
        }
        _ => found.push(expr),
    }
}

/// Does it ask something that only the packet can answer, or a function that remembers its calls?
fn asks_packet(expr: &Expr) -> bool {
    match &expr.node {
        expr::Node::Protocol(_) => true,
        expr::Node::Call(function, parts) => {
            function.is_stateful() || parts.iter().any(asks_packet)
        }
        expr::Node::Chain(_, parts) => parts.iter().any(asks_packet),
        _ => false,
    }
}

/// A condition on event `of` as one on event `from`, which it names.
fn seen_from(expr: &Expr, of: u8, from: u8) -> Expr {
    let all = |parts: &[Expr]| parts.iter().map(|part| seen_from(part, of, from)).collect();
    let node = match &expr.node {
        expr::Node::Attribute(id, None) => expr::Node::Attribute(*id, Some(of)),
        expr::Node::Attribute(id, Some(event)) if *event == from => {
            expr::Node::Attribute(*id, None)
        }
        expr::Node::Chain(operator, parts) => expr::Node::Chain(*operator, all(parts)),
        expr::Node::Call(function, parts) => expr::Node::Call(function, all(parts)),
        other => other.clone(),
    };
    Expr {
        node,
        span: expr.span.clone(),
    }
}
