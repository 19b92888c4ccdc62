//! What a sound rule says that its author cannot have meant: conditions that never hold, windows
//! that nothing fits into, events that nothing ties together.
//!
//! Only what is certain is told: a warning that is wrong once is not read the next time.

use super::delay;
use super::either::conjuncts;
use super::machine::{Edge, INIT, Machine};
use super::program::{Attributes, Event, Program};
use super::property::{self, Node, OperatorNode, Property};
use crate::diagnostic::Problem;
use crate::dissect::Protocol;
use crate::dissect::attribute::AttributeId;
use crate::expr::{self, Expr, Mode, Operator, Span};
use std::collections::{BTreeMap, BTreeSet};

/// Findings about the condition of an event; `text` is the condition as written.
pub(super) fn condition(expr: &Expr, text: &str, mode: Mode) -> Vec<Problem> {
    let mut lint = Lint {
        text,
        mode,
        asked: BTreeSet::new(),
        problems: Vec::new(),
    };
    lint.ask(expr, false);
    lint.applications(expr);
    lint.level(expr);
    lint.problems
}

/// A value: an attribute of the packet, or of an earlier event.
type Term = ((u16, u16), Option<u8>);

/// What conditions say of one value so far, each with its place. Of many alike the tightest is
/// enough, so that a long condition takes no longer than it is long.
#[derive(Default)]
struct Known {
    /// The greatest of the least numbers.
    least: Option<(i128, Span)>,
    /// The least of the greatest numbers.
    most: Option<(i128, Span)>,
    /// The number it is.
    number: Option<(i128, Span)>,
    /// Numbers it is not.
    excluded: BTreeMap<i128, Span>,
    /// The text it is.
    text: Option<(Box<[u8]>, Span)>,
    /// Texts it is not.
    others: BTreeMap<Box<[u8]>, Span>,
}

struct Lint<'t> {
    text: &'t str,
    mode: Mode,
    /// Attributes that may be missing, because the condition asks for them.
    asked: BTreeSet<(u16, u16)>,
    problems: Vec<Problem>,
}

impl Lint<'_> {
    /// Note what functions ask for.
    fn ask(&mut self, expr: &Expr, is_asked: bool) {
        match &expr.node {
            expr::Node::Attribute(id, None) if is_asked => {
                self.asked.insert(id.sort_key());
            }
            expr::Node::Call(function, parts) => {
                let asks = function.asks(self.mode);
                parts.iter().for_each(|part| self.ask(part, asks));
            }
            expr::Node::Chain(_, parts) => parts.iter().for_each(|part| self.ask(part, false)),
            _ => {}
        }
    }

    /// Conditions that must hold together, down to the alternatives among them.
    fn level(&mut self, expr: &Expr) {
        let mut all = Vec::new();
        conjuncts(expr, &mut all);
        let mut known: BTreeMap<Term, Known> = BTreeMap::new();
        let mut orders: BTreeMap<(Term, Term), Vec<(u8, Span)>> = BTreeMap::new();
        for part in all {
            let expr::Node::Chain(operator, operands) = &part.node else {
                continue;
            };
            if *operator == Operator::Or {
                self.alternatives(part, operands);
                continue;
            }
            let [left, right] = operands.as_slice() else {
                continue;
            };
            self.constant(&mut known, (*operator, left, right), &part.span);
            self.constant(&mut known, (operator.mirrored(), right, left), &part.span);
            self.order(&mut orders, (*operator, left, right), &part.span);
        }
    }

    /// A comparison of a value with a constant.
    fn constant(
        &mut self,
        known: &mut BTreeMap<Term, Known>,
        (operator, left, right): (Operator, &Expr, &Expr),
        span: &Span,
    ) {
        let Some(term) = term(left) else {
            return;
        };
        let known = known.entry(term).or_default();
        let conflict = match &right.node {
            expr::Node::Number(number) => known.number(operator, *number, span),
            expr::Node::Text(text) if self.mode == Mode::Standard => {
                known.text(operator, text, span)
            }
            _ => None,
        };
        if let Some(other) = conflict {
            self.conflict(span, &other);
        }
    }

    /// A comparison of two values.
    fn order(
        &mut self,
        orders: &mut BTreeMap<(Term, Term), Vec<(u8, Span)>>,
        (operator, left, right): (Operator, &Expr, &Expr),
        span: &Span,
    ) {
        let (Some(one), Some(other), Some(outcomes)) =
            (term(left), term(right), outcomes(operator))
        else {
            return;
        };
        if one == other {
            if outcomes & EQUAL == 0 {
                let message = format!("`{}` never holds", self.shown(span));
                let problem = Problem::warning(span.clone(), message);
                self.problems
                    .push(problem.expected("both sides are the same"));
            }
            return;
        }
        let (pair, outcomes) = match one < other {
            true => ((one, other), outcomes),
            false => ((other, one), mirrored_outcomes(outcomes)),
        };
        let before = orders.entry(pair).or_default();
        let conflict = before.iter().find(|(known, _)| known & outcomes == 0);
        let conflict = conflict.map(|(_, span)| span.clone());
        // There are six ways to compare; the same one again is nothing new.
        if !before.iter().any(|(known, _)| *known == outcomes) {
            before.push((outcomes, span.clone()));
        }
        if let Some(other) = conflict {
            self.conflict(span, &other);
        }
    }

    fn conflict(&mut self, span: &Span, other: &Span) {
        let (one, other) = (self.shown(span), self.shown(other));
        let message = format!("`{one}` and `{other}` never hold together");
        let problem = Problem::warning(span.clone(), message);
        let help = "no packet can be this event; write `||` where either is meant";
        self.problems.push(problem.help(help));
    }

    /// What is joined by `||`: each by itself, and what all of them need.
    fn alternatives(&mut self, whole: &Expr, operands: &[Expr]) {
        for operand in operands {
            self.level(operand);
        }
        let needs: BTreeSet<BTreeSet<Protocol>> = operands.iter().map(|o| self.needs(o)).collect();
        let differ = |one: &BTreeSet<Protocol>, other: &BTreeSet<Protocol>| {
            !one.is_subset(other) && !other.is_subset(one)
        };
        let is_mixed = needs
            .iter()
            .enumerate()
            .any(|(place, one)| needs.iter().skip(place).any(|other| differ(one, other)));
        if !is_mixed {
            return;
        }
        let all: BTreeSet<&str> = needs.iter().flatten().map(|p| p.name()).collect();
        let all: Vec<String> = all.iter().map(|name| format!("`{name}`")).collect();
        let all = all.join(" and ");
        let message = format!("for either of these to hold, a packet must have {all}");
        let help = "all attributes of a condition must be there; ask `#is_exist(...)` beside those \
                    that may be missing, or make it two events under value=\"OR\"";
        let problem = Problem::warning(whole.span.clone(), message);
        self.problems.push(problem.help(help));
    }

    /// Protocols that a packet must have for the condition to be looked at.
    fn needs(&self, expr: &Expr) -> BTreeSet<Protocol> {
        let mut found = BTreeSet::new();
        expr.each_attribute(&mut |id, event| {
            let is_needed = event.is_none() && !self.asked.contains(&id.sort_key());
            if is_needed && id.protocol != Protocol::Meta {
                found.insert(id.protocol);
            }
        });
        found
    }

    /// A packet belongs to one application at most.
    fn applications(&mut self, expr: &Expr) {
        let is_application = |protocol: &Protocol| protocol.definition().dissect.is_none();
        let needs = self.needs(expr);
        let mut found = needs.into_iter().filter(is_application);
        if let (Some(one), Some(other)) = (found.next(), found.next()) {
            let (one, other) = (one.name(), other.name());
            let message = format!("no packet is of `{one}` and of `{other}`");
            let problem = Problem::warning(expr.span.clone(), message);
            self.problems
                .push(problem.help("make it two events, or two properties"));
        }
    }

    fn shown(&self, span: &Span) -> String {
        let text = self.text.get(span.clone()).unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
        inner.unwrap_or(&text).to_owned()
    }
}

impl Known {
    /// Take in a comparison with a number; the place of one that it contradicts.
    fn number(&mut self, operator: Operator, number: i128, span: &Span) -> Option<Span> {
        let (low, high) = match operator {
            Operator::Equal => (number, number),
            Operator::NotEqual => {
                self.excluded.insert(number, span.clone());
                let same = self.number.as_ref().filter(|(known, _)| *known == number);
                return same.map(|(_, span)| span.clone());
            }
            Operator::Greater => (number.checked_add(1)?, i128::MAX),
            Operator::GreaterEqual => (number, i128::MAX),
            Operator::Less => (i128::MIN, number.checked_sub(1)?),
            Operator::LessEqual => (i128::MIN, number),
            _ => return None,
        };
        let above = self.least.as_ref().filter(|(least, _)| *least > high);
        let below = self.most.as_ref().filter(|(most, _)| *most < low);
        let excluded = self.excluded.get(&low).filter(|_| low == high);
        let apart = above.or(below).map(|(_, span)| span).or(excluded).cloned();
        if self.least.as_ref().is_none_or(|(least, _)| low > *least) {
            self.least = Some((low, span.clone()));
        }
        if self.most.as_ref().is_none_or(|(most, _)| high < *most) {
            self.most = Some((high, span.clone()));
        }
        if low == high {
            self.number = Some((low, span.clone()));
        }
        apart
    }

    /// The same with a text.
    fn text(&mut self, operator: Operator, text: &[u8], span: &Span) -> Option<Span> {
        let known = self.text.as_ref();
        match operator {
            Operator::Equal => {
                let other = known.filter(|(other, _)| **other != *text);
                let other = other
                    .map(|(_, span)| span)
                    .or_else(|| self.others.get(text));
                let conflict = other.cloned();
                self.text = Some((text.into(), span.clone()));
                conflict
            }
            Operator::NotEqual => {
                self.others.insert(text.into(), span.clone());
                let same = known.filter(|(other, _)| **other == *text);
                same.map(|(_, span)| span.clone())
            }
            _ => None,
        }
    }
}

const LESS: u8 = 1;
const EQUAL: u8 = 2;
const GREATER: u8 = 4;

/// How the sides of a comparison may stand to each other for it to hold.
fn outcomes(operator: Operator) -> Option<u8> {
    Some(match operator {
        Operator::Equal => EQUAL,
        Operator::NotEqual => LESS | GREATER,
        Operator::Less => LESS,
        Operator::LessEqual => LESS | EQUAL,
        Operator::Greater => GREATER,
        Operator::GreaterEqual => GREATER | EQUAL,
        _ => return None,
    })
}

fn mirrored_outcomes(outcomes: u8) -> u8 {
    let bit = |from: u8, to: u8| if outcomes & from == 0 { 0 } else { to };
    bit(LESS, GREATER) | bit(EQUAL, EQUAL) | bit(GREATER, LESS)
}

fn term(expr: &Expr) -> Option<Term> {
    match &expr.node {
        expr::Node::Attribute(id, event) => Some((AttributeId::sort_key(*id), *event)),
        _ => None,
    }
}

/// Why nothing fits into the window of an operator.
pub(super) fn window(operator: &OperatorNode, mode: Mode) -> Option<String> {
    let window = operator.window;
    let counts_only = window.max_us == 0 && (window.counter_min, window.counter_max) != (0, 0);
    // The published engine gives a part under a trigger more time than the outer window has.
    if mode == Mode::Compat || window.min_us < 0 || window.min_us > window.max_us || counts_only {
        return None;
    }
    let triggers = match operator.operator {
        property::Operator::Then | property::Operator::Not => vec![&operator.right],
        property::Operator::Before => vec![&operator.left],
        property::Operator::And => vec![&operator.left, &operator.right],
        property::Operator::Or => Vec::new(),
    };
    let least = triggers.into_iter().map(least).min()?;
    if window.min_us.saturating_add(least) <= window.max_us {
        return None;
    }
    let (least, max) = (delay::show(least), delay::show(window.max_us));
    Some(match (window.min_us, window.immediate) {
        (_, true) => "this asks for one packet, and its trigger takes more".to_owned(),
        (0, _) => format!("its trigger takes at least {least}, and this window ends after {max}"),
        (min, _) => {
            let min = delay::show(min);
            format!(
                "its trigger starts after {min} at the earliest and takes at least {least}, and \
                 this window ends after {max}"
            )
        }
    })
}

/// The least time from the first to the last event of a part.
fn least(node: &Node) -> i64 {
    let Node::Operator(operator) = node else {
        return 0;
    };
    let (left, right) = (least(&operator.left), least(&operator.right));
    match operator.operator {
        property::Operator::Or => left.min(right),
        // It ends with the time of its context at the earliest.
        property::Operator::Not => left,
        _ => {
            let own = operator.window.min_us.max(0);
            left.saturating_add(right).saturating_add(own)
        }
    }
}

/// What there is to say of an event for the place it has in its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// An attempt waits for it, and no equality ties it to the events before it.
    Untied,
    /// It is compared with this event, which can never have come before it.
    Later(u8),
    /// It is compared with this event, which need not have come before it.
    PerhapsLater(u8),
}

/// Events whose place in the rule does not go with their conditions.
pub(super) fn order(property: &Property, mode: Mode) -> Vec<(u8, Order)> {
    let program = Program::new(property.clone(), mode, &mut Attributes::default());
    let Ok(program) = program else {
        return Vec::new();
    };
    if program.single.is_some() {
        return Vec::new();
    }
    let before = perhaps_bound(&program.machine);
    let mut found: Vec<(u8, Order)> = untied(&program, &before)
        .into_iter()
        .map(|event| (event, Order::Untied))
        .collect();
    for (number, event) in (1_u8..).zip(&property.events) {
        let mut others = BTreeSet::new();
        event.expression.each_attribute(&mut |_, other| {
            others.extend(other.filter(|other| *other != number));
        });
        // What may come in either order is compared when the later one comes.
        let either = program.event(number).map_or(0, |event| event.either);
        others.retain(|other| either & 1 << other == 0);
        // Where one packet decides, the other order is tried on it too.
        let is_timed = |edge: &&(usize, Edge)| {
            Machine::is_final(edge.1.to) || !program.machine.state(edge.1.to).window.immediate
        };
        let bound = |edge: &(usize, Edge)| {
            let state = usize::from(edge.1.from);
            before.get(state).copied().unwrap_or(0)
        };
        let edges = program.edges_of(number).iter();
        let edges: Vec<u64> = edges.filter(is_timed).map(bound).collect();
        for other in others {
            let missing = edges.iter().filter(|bound| **bound & 1 << other == 0);
            match missing.count() {
                0 => {}
                all if all == edges.len() => found.push((number, Order::Later(other))),
                _ => found.push((number, Order::PerhapsLater(other))),
            }
        }
    }
    found
}

/// Where an expression first refers to an event.
pub(super) fn reference(expr: &Expr, event: u8) -> Option<Span> {
    match &expr.node {
        expr::Node::Attribute(_, Some(number)) if *number == event => Some(expr.span.clone()),
        expr::Node::Call(_, parts) | expr::Node::Chain(_, parts) => {
            parts.iter().find_map(|part| reference(part, event))
        }
        _ => None,
    }
}

fn untied(program: &Program, before: &[u64]) -> Vec<u8> {
    let is_untied = |edge: &&Edge| {
        let state = edge.from;
        let waits = state != INIT && !Machine::is_final(state);
        let is_immediate = program.machine.state(state).window.immediate;
        let event = program.event(edge.event);
        let has_keys = event.is_some_and(|event| !event.keys.is_empty());
        // Of two that may come in either order, the one that is compared with the other ties both:
        // it holds for nothing when it is the first.
        let bound = before.get(usize::from(state)).copied().unwrap_or(0);
        let ties = |event: &Event| {
            let mut keys = event.keys.iter();
            keys.any(|key| key.earlier.place.event == edge.event)
        };
        let mut others = (1_u8..).zip(&program.events);
        let is_tied = others.any(|(number, event)| bound & 1 << number != 0 && ties(event));
        waits && !is_immediate && !has_keys && !is_tied
    };
    let edges = program.machine.edges.iter().filter(is_untied);
    let found: BTreeSet<u8> = edges.map(|edge| edge.event).collect();
    found.into_iter().collect()
}

/// For each state, the events that some way to it binds: bit N for event N.
fn perhaps_bound(machine: &Machine) -> Vec<u64> {
    let mut bound = vec![0_u64; machine.states.len()];
    let time_outs = (0..).zip(&machine.states).skip(4);
    let time_outs = time_outs.map(|(from, state)| (from, state.timeout, 0));
    let edges = machine.edges.iter();
    let edges = edges.map(|edge| (edge.from, edge.to, 1 << edge.event));
    let ways: Vec<(u8, u8, u64)> = edges.chain(time_outs).collect();
    // A way more can only add events, so this ends.
    loop {
        let mut changed = false;
        for (from, to, event) in &ways {
            let before = bound.get(usize::from(*from)).copied().unwrap_or(0);
            if let Some(events) = bound.get_mut(usize::from(*to)) {
                let all = *events | before | event;
                changed |= all != *events;
                *events = all;
            }
        }
        if !changed {
            return bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Context;

    fn of(text: &str, mode: Mode) -> Vec<String> {
        let mut problems = Vec::new();
        let context = Context::event(2, 2, None);
        let expr = expr::read(text, mode, context, &mut problems).unwrap();
        let found = condition(&expr, text, mode);
        found.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn conditions_that_exclude_each_other_are_told() {
        for (text, message) in [
            (
                "((tcp.flags == 2) && (tcp.flags == 16))",
                "`tcp.flags == 16` and `tcp.flags == 2` never hold together",
            ),
            (
                "((ip.tot_len > 5) && ((ip.src != 0) && (3 > ip.tot_len)))",
                "`3 > ip.tot_len` and `ip.tot_len > 5` never hold together",
            ),
            (
                "((udp.len != 8) && (udp.len == 8))",
                "`udp.len == 8` and `udp.len != 8` never hold together",
            ),
            (
                "((udp.len.1 == 8) && (udp.len.1 != 8))",
                "`udp.len.1 != 8` and `udp.len.1 == 8` never hold together",
            ),
            (
                "((ip.src == ip.src.1) && (ip.src.1 != ip.src))",
                "`ip.src.1 != ip.src` and `ip.src == ip.src.1` never hold together",
            ),
            (
                "((udp.len < udp.len.1) && (udp.len.1 <= udp.len))",
                "`udp.len.1 <= udp.len` and `udp.len < udp.len.1` never hold together",
            ),
            ("(ip.src != ip.src)", "`ip.src != ip.src` never holds"),
            (
                "((udp.len == 9) || ((udp.len == 8) && (udp.len == 7)))",
                "`udp.len == 7` and `udp.len == 8` never hold together",
            ),
        ] {
            for mode in [Mode::Standard, Mode::Compat] {
                assert_eq!(of(text, mode), [message]);
            }
        }
        let texts = "((http.method == 'GET') && (http.method == 'PUT'))";
        assert_eq!(of(texts, Mode::Standard).len(), 1);
        assert_eq!(of(texts, Mode::Compat).len(), 0);
    }

    #[test]
    fn protocols_that_do_not_meet_are_told() {
        let either = "((tcp.src_port == 5) || (udp.src_port == 5))";
        let message = "for either of these to hold, a packet must have `tcp` and `udp`";
        assert_eq!(of(either, Mode::Standard), [message]);
        let both = "((http.host == 'a') && (ftp.packet_request == 'x'))";
        assert_eq!(
            of(both, Mode::Standard),
            ["no packet is of `http` and of `ftp`"]
        );
    }

    #[test]
    fn what_can_be_is_not_told() {
        for text in [
            "((tcp.flags == 2) || (tcp.flags == 16))",
            "((tcp.flags == 2) && (tcp.flags.1 == 16))",
            "((udp.len > 5) && (udp.len < 7))",
            "((udp.len >= 5) && (udp.len <= 5) && (udp.len != 6))",
            "((udp.len != 5) && (udp.len != 6))",
            "((udp.len <= udp.len.1) && (udp.len >= udp.len.1))",
            "(udp.len == udp.len)",
            "((ip.src == 0) || ((ip.src != 0) && (tcp.fin == 1)))",
            "((#is_exist(udp.len) == false) || (udp.len == 8) || (tcp.fin == 1))",
            "((http.method != 'GET') && (http.method != 'PUT'))",
        ] {
            assert_eq!(of(text, Mode::Standard), [""; 0], "{text}");
        }
    }
}
