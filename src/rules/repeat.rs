//! `repeat_times`: a part of a property that has to come several times, one after the other.
//!
//! It is written out when the rule is loaded. `repeat_times="3"` on O stands for three copies of O
//! under `THEN`, the delay from the end of one to the beginning of the next being that of O, and at
//! least `0+`. The last copy keeps the event numbers of O, so that what comes after O refers to the
//! last repetition; the events of the others get numbers behind all others.
//!
//! `O THEN (a THEN b)` is written as `(O THEN a) THEN b`: a window of the outer `THEN` would bound
//! the end of the next repetition, and not its beginning.

use super::property::{Event, Node, Operator, OperatorNode, Window};
use super::xml::{Attribute, Element};
use crate::diagnostic::Problem;
use crate::expr::{self, Expr, Mode};
use crate::limits::{EVENTS_MAX, REPEATED_MAX};
use std::collections::BTreeMap;
use std::ops::Range;

/// What an event takes beside its attributes in the length of a file.
const EVENT_LENGTH: u64 = 64;

/// Longest number worth reading: events are bounded by [`EVENTS_MAX`].
const DIGITS_MAX: usize = 9;

/// How often the part that `element` is has to come; 1 where that is not said, or not soundly, and
/// in compat mode, which has no repetitions.
pub(super) fn times(element: &Element<'_>, mode: Mode) -> u8 {
    let number = attribute(element, mode).and_then(number);
    number.unwrap_or(1)
}

/// What is wrong with the `repeat_times` of an element.
pub(super) fn check(element: &Element<'_>, mode: Mode) -> Option<Problem> {
    let found = attribute(element, mode).filter(|found| number(found).is_none())?;
    let text = found.value.text.trim();
    let problem = Problem::error(
        place(found),
        format!("`{text}` is no number of repetitions"),
    );
    Some(problem.expected(format!("expected 1 to {EVENTS_MAX}")))
}

/// The same when a property that repeats parts has too many events, or all of a file together
/// become too long: `written_out` is how long those before it have.
pub(super) fn too_many(
    property: &Element<'_>,
    mode: Mode,
    written_out: &mut u64,
) -> Option<Problem> {
    let repeated = first_repeated(property, mode)?;
    let count = total(property, mode, &|_| 1);
    let most = u64::try_from(EVENTS_MAX).unwrap_or(u64::MAX);
    if count > most {
        let message = format!("with its repetitions this property has {count} events");
        let problem = Problem::error(place(repeated), message);
        return Some(problem.expected(format!("expected at most {EVENTS_MAX}")));
    }
    let length = total(property, mode, &|event| {
        let lengths = event.attributes.iter().map(|a| a.value.text.len());
        u64::try_from(lengths.sum::<usize>()).unwrap_or(u64::MAX)
    });
    let length = length.saturating_add(count.saturating_mul(EVENT_LENGTH));
    *written_out = written_out.saturating_add(length);
    (*written_out > REPEATED_MAX).then(|| {
        let message = "the repetitions of this file are too long when they are written out";
        let problem = Problem::error(place(repeated), message);
        problem.expected(format!("expected at most {REPEATED_MAX} bytes of events"))
    })
}

/// What the events below an element come to when repetitions are written out.
fn total(element: &Element<'_>, mode: Mode, of: &dyn Fn(&Element<'_>) -> u64) -> u64 {
    if element.name == "event" {
        return of(element);
    }
    let parts = element.children.iter();
    let parts = parts.map(|child| total(child, mode, of));
    let sum = parts.fold(0, u64::saturating_add);
    sum.saturating_mul(u64::from(times(element, mode)))
}

fn first_repeated<'e, 't>(element: &'e Element<'t>, mode: Mode) -> Option<&'e Attribute<'t>> {
    attribute(element, mode).or_else(|| {
        let mut children = element.children.iter();
        children.find_map(|child| first_repeated(child, mode))
    })
}

fn attribute<'e, 't>(element: &'e Element<'t>, mode: Mode) -> Option<&'e Attribute<'t>> {
    let mut attributes = element.attributes.iter();
    let found = attributes.find(|found| found.name == "repeat_times");
    found.filter(|_| mode == Mode::Standard && element.name != "event")
}

fn number(found: &Attribute<'_>) -> Option<u8> {
    let text = found.value.text.trim();
    let is_number = text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= DIGITS_MAX;
    let number = text.parse::<usize>().ok().filter(|_| is_number)?;
    let number = Some(number).filter(|number| (1..=EVENTS_MAX).contains(number));
    u8::try_from(number?).ok()
}

/// Where the value stands; its quotes when it is empty.
pub(super) fn place(found: &Attribute<'_>) -> Range<usize> {
    let span = &found.value.span;
    match span.is_empty() {
        true => span.start.saturating_sub(1)..span.end.saturating_add(1),
        false => span.clone(),
    }
}

/// Where the repetitions of this element are asked for.
pub(super) fn place_of(element: &Element<'_>, mode: Mode) -> Range<usize> {
    attribute(element, mode).map_or_else(|| element.span.clone(), place)
}

/// The delay from one repetition to the next; `None` when nothing says how long it may be.
pub(super) fn window(own: Window) -> Option<Window> {
    if own.max_us == 0 && (own.counter_min, own.counter_max) != (0, 0) {
        return Some(own);
    }
    let min_us = own.min_us.max(1);
    (min_us <= own.max_us).then_some(Window { min_us, ..own })
}

/// The events that repetitions of one property add to it.
#[derive(Debug)]
pub(super) struct Copies {
    /// For each, in order: the event it repeats, and the numbers of the events of its repetition.
    added: Vec<(u8, BTreeMap<u8, u8>)>,
    /// Events written in the rule file.
    written: u8,
}

impl Copies {
    /// None yet, in a property of so many events.
    pub(super) const fn new(written: u8) -> Self {
        Self {
            added: Vec::new(),
            written,
        }
    }

    /// Events of the property with its repetitions.
    pub(super) fn count(&self) -> u8 {
        let added = u8::try_from(self.added.len()).unwrap_or(u8::MAX);
        self.written.saturating_add(added)
    }

    /// `node` several times, with `window` in between.
    pub(super) fn repeat(&mut self, node: Node, times: u8, window: Window) -> Node {
        let mut numbers = Vec::new();
        collect(&node, &mut numbers);
        let mut chain: Option<Node> = None;
        for _ in 1..times {
            let next = self.count();
            let numbers = numbers.iter().copied();
            let map: BTreeMap<u8, u8> = numbers.zip(next.saturating_add(1)..).collect();
            let mut copied: Vec<(u8, u8)> = map.iter().map(|(old, new)| (*old, *new)).collect();
            copied.sort_by_key(|(_, new)| *new);
            for (old, _) in copied {
                self.added.push((old, map.clone()));
            }
            let copy = renumbered(&node, &map);
            chain = Some(follow(chain, window, copy));
        }
        follow(chain, window, node)
    }

    /// Add them to the events of the property. `read` reads a condition as that of an event.
    pub(super) fn add_to(
        &self,
        events: &mut Vec<Event>,
        mut read: impl FnMut(u8, &str) -> Option<Expr>,
    ) {
        for (number, (old, map)) in (self.written.saturating_add(1)..).zip(&self.added) {
            let Some(source) = events.get(usize::from(*old).saturating_sub(1)) else {
                return;
            };
            let text = rewritten(source, map);
            let expression = read(number, &text).unwrap_or_else(|| source.expression.clone());
            let event = Event {
                description: source.description.clone(),
                repeats: Some(source.repeats.unwrap_or(*old)),
                expression,
                text,
            };
            events.push(event);
        }
    }
}

fn collect(node: &Node, numbers: &mut Vec<u8>) {
    match node {
        Node::Event(number) => numbers.push(*number),
        Node::Operator(operator) => {
            collect(&operator.left, numbers);
            collect(&operator.right, numbers);
        }
    }
}

fn renumbered(node: &Node, map: &BTreeMap<u8, u8>) -> Node {
    match node {
        Node::Event(number) => Node::Event(map.get(number).copied().unwrap_or(*number)),
        Node::Operator(operator) => Node::Operator(Box::new(OperatorNode {
            operator: operator.operator,
            window: operator.window,
            left: renumbered(&operator.left, map),
            right: renumbered(&operator.right, map),
        })),
    }
}

/// `next` after what came before, with the delay up to the event that `next` begins with. Where it
/// may begin with either of two (AND, OR, BEFORE, a negative delay), the delay goes to its end.
fn follow(before: Option<Node>, window: Window, next: Node) -> Node {
    let Some(before) = before else {
        return next;
    };
    match next {
        Node::Operator(next)
            if matches!(next.operator, Operator::Then | Operator::Not)
                && !next.window.immediate
                && next.window.min_us >= 0 =>
        {
            let OperatorNode {
                operator,
                window: own,
                left,
                right,
            } = *next;
            Node::Operator(Box::new(OperatorNode {
                operator,
                window: own,
                left: follow(Some(before), window, left),
                right,
            }))
        }
        next => Node::Operator(Box::new(OperatorNode {
            operator: Operator::Then,
            window,
            left: before,
            right: next,
        })),
    }
}

/// The condition of an event as it reads in a repetition: references to events of the part that is
/// repeated are to those of the same repetition.
fn rewritten(event: &Event, map: &BTreeMap<u8, u8>) -> String {
    let mut places = Vec::new();
    references(&event.expression, map, &mut places);
    places.sort_by_key(|(span, _)| span.start);
    let mut text = event.text.clone();
    for (span, new) in places.into_iter().rev() {
        // `(ip.src.1)`: the number is what ends the name.
        let name = event.text.get(span.clone()).unwrap_or_default();
        let end = name.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
        let digits = name.get(..end).unwrap_or_default();
        let start = digits.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let place = span.start.saturating_add(start)..span.start.saturating_add(end);
        if text.get(place.clone()).is_some() {
            text.replace_range(place, &new.to_string());
        }
    }
    text
}

fn references(expr: &Expr, map: &BTreeMap<u8, u8>, found: &mut Vec<(Range<usize>, u8)>) {
    match &expr.node {
        expr::Node::Attribute(_, Some(event)) => {
            let new = map.get(event);
            found.extend(new.map(|new| (expr.span.clone(), *new)));
        }
        expr::Node::Call(_, parts) | expr::Node::Chain(_, parts) => {
            parts.iter().for_each(|part| references(part, map, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{FileResult, read_bytes};
    use super::super::property::Property;
    use super::*;
    use crate::expr::functions::lists::Lists;

    fn read(property: &str, mode: Mode) -> FileResult {
        let text = format!("<beginning>{property}</beginning>");
        read_bytes("x", text.as_bytes(), mode, &Lists::default())
    }

    fn property(text: &str) -> Property {
        let mut read = read(text, Mode::Standard);
        assert!(!read.has_errors(), "{}", read.diagnostics[0].render(false));
        read.properties.remove(0)
    }

    /// What runs: the tree, and the conditions as they are written and as they were read.
    fn assert_same(repeated: &str, by_hand: &str) {
        let (one, other) = (property(repeated), property(by_hand));
        assert_eq!(format!("{:?}", one.root), format!("{:?}", other.root));
        let conditions = |property: &Property| -> Vec<(String, Expr)> {
            let events = property.events.iter();
            events
                .map(|e| (e.text.clone(), e.expression.clone()))
                .collect()
        };
        assert_eq!(conditions(&one), conditions(&other));
    }

    fn event(number: u8, condition: &str) -> String {
        format!("<event event_id=\"{number}\" boolean_expression=\"{condition}\"/>")
    }

    const DELAY: &str = "delay_units=\"s\" delay_min=\"0+\" delay_max=\"3\"";
    const SYN: &str = "(tcp.flags == 2)";

    #[test]
    fn one_event_is_a_chain() {
        let repeated = format!(
            "<property property_id=\"1\" value=\"COMPUTE\" repeat_times=\"4\" {DELAY}>{}</property>",
            event(1, SYN)
        );
        let then = |parts: String| format!("<operator value=\"THEN\" {DELAY}>{parts}</operator>");
        let chain = then(event(2, SYN) + &event(3, SYN));
        let chain = then(chain + &event(4, SYN));
        let by_hand = format!(
            "<property property_id=\"1\" value=\"THEN\" {DELAY}>{chain}{}</property>",
            event(1, SYN)
        );
        assert_same(&repeated, &by_hand);
        let numbers = |text: &str| -> Vec<Option<u8>> {
            property(text).events.iter().map(|e| e.repeats).collect()
        };
        assert_eq!(numbers(&repeated), [None, Some(1), Some(1), Some(1)]);
    }

    /// References within a repetition stay within it, those from behind go to the last one, and
    /// those to events outside stay.
    #[test]
    fn references_go_to_their_repetition() {
        let tied = |other: u8| {
            format!(
                "((tcp.flags == 4) &amp;&amp; (ip.src == (ip.dst.{other})) &amp;&amp; (ip.dst == ip.src.1))"
            )
        };
        let first = "((tcp.flags == 2) &amp;&amp; (ip.src == ip.src.1))";
        let last = "(ip.src == ip.dst.3)";
        let operator = |times: &str, a: u8, b: u8, before: &str| {
            let left = match before {
                "" => event(a, first),
                before => format!(
                    "<operator value=\"THEN\" delay_units=\"ms\" delay_min=\"2\" delay_max=\"9\">\
                     {before}{}</operator>",
                    event(a, first)
                ),
            };
            let right = event(b, &tied(a));
            format!(
                "<operator value=\"THEN\" delay_units=\"ms\" delay_min=\"2\" delay_max=\"9\" {times}>\
                 {left}{right}</operator>"
            )
        };
        let whole = |middle: String| {
            let outer = event(1, SYN) + &middle;
            format!(
                "<property property_id=\"1\" value=\"THEN\" {DELAY}>\
                 <operator value=\"THEN\" {DELAY}>{outer}</operator>{}</property>",
                event(4, last)
            )
        };
        let before = operator("", 5, 6, "");
        assert_same(
            &whole(operator("repeat_times=\"2\"", 2, 3, "")),
            &whole(operator("", 2, 3, &before)),
        );
    }

    #[test]
    fn repetitions_within_repetitions_multiply() {
        let inner = format!(
            "<operator repeat_times=\"3\" delay_max=\"1\">{}</operator>",
            event(1, SYN)
        );
        let whole = |outer: &str| {
            format!(
                "<property property_id=\"1\" value=\"AND\" repeat_times=\"{outer}\" {DELAY}>\
                 {inner}{}</property>",
                event(2, "(tcp.flags == tcp.flags.1)")
            )
        };
        assert_eq!(property(&whole("1")).events.len(), 4);
        let twice = property(&whole("2"));
        assert_eq!(twice.events.len(), 8);
        let texts: Vec<&str> = twice.events.iter().map(|e| e.text.as_str()).collect();
        let referring: Vec<&str> = texts.into_iter().filter(|text| *text != SYN).collect();
        assert_eq!(
            referring,
            ["(tcp.flags == tcp.flags.1)", "(tcp.flags == tcp.flags.7)"]
        );
        assert_eq!(property(&whole("15")).events.len(), 60);
        let error = &read(&whole("16"), Mode::Standard).diagnostics[0];
        assert_eq!(
            error.message,
            "with its repetitions this property has 64 events"
        );
        let all = format!(
            "{}{}",
            "<operator repeat_times=\"63\">".repeat(60),
            event(1, SYN)
        );
        let all = format!(
            "<property property_id=\"1\" value=\"COMPUTE\">{all}{}</property>",
            "</operator>".repeat(60)
        );
        let error = &read(&all, Mode::Standard).diagnostics[0];
        assert_eq!(
            error.message,
            format!("with its repetitions this property has {} events", u64::MAX)
        );
    }

    #[test]
    fn one_means_nothing_and_compat_mode_counts_nothing() {
        let whole = |times: &str| {
            format!(
                "<property property_id=\"1\" value=\"THEN\" {DELAY} {times}>{}{}</property>",
                event(1, SYN),
                event(2, SYN)
            )
        };
        assert_same(&whole("repeat_times=\"1\""), &whole(""));
        let compat = read(&whole("repeat_times=\"9\""), Mode::Compat);
        assert_eq!(compat.properties[0].events.len(), 2);
        let warnings: Vec<&str> = compat
            .diagnostics
            .iter()
            .map(|d| d.message.as_str())
            .collect();
        assert!(
            warnings.contains(&"MMT counts no repetitions"),
            "{warnings:?}"
        );
    }

    #[test]
    fn bad_numbers_and_missing_delays_are_errors() {
        let whole = |attributes: &str| {
            format!(
                "<property property_id=\"1\" value=\"THEN\" {attributes}>{}{}</property>",
                event(1, SYN),
                event(2, "(ip.src == ip.src.1)")
            )
        };
        for (attributes, message) in [
            (
                "repeat_times=\"0\" delay_max=\"1\"",
                "`0` is no number of repetitions",
            ),
            (
                "repeat_times=\"64\" delay_max=\"1\"",
                "`64` is no number of repetitions",
            ),
            (
                "repeat_times=\"\" delay_max=\"1\"",
                "`` is no number of repetitions",
            ),
            (
                "repeat_times=\"-2\" delay_max=\"1\"",
                "`-2` is no number of repetitions",
            ),
            (
                "repeat_times=\"2\"",
                "nothing says how long after each other these come",
            ),
        ] {
            let read = read(&whole(attributes), Mode::Standard);
            let mut errors = read.diagnostics.iter().filter(|d| d.is_error());
            assert_eq!(errors.next().unwrap().message, message);
            assert!(errors.next().is_none() && read.properties.is_empty());
        }
        let counted = "repeat_times=\"2\" counter_min=\"1\" counter_max=\"5\"";
        assert_eq!(property(&whole(counted)).events.len(), 4);
    }

    /// A file cannot be made far longer than it is.
    #[test]
    fn what_repetitions_come_to_is_bounded() {
        let long = format!("{}true", "true &amp;&amp; ".repeat(8_000));
        let whole = |id: u8| {
            format!(
                "<property property_id=\"{id}\" repeat_times=\"40\" {DELAY}>{}</property>",
                event(1, &long)
            )
        };
        let read = |count: u8| read(&(1..=count).map(whole).collect::<String>(), Mode::Standard);
        assert!(!read(1).has_errors());
        let found = read(2);
        let error = found.diagnostics.iter().find(|d| d.is_error()).unwrap();
        let message = "the repetitions of this file are too long when they are written out";
        assert_eq!((error.message.as_str(), error.line), (message, 1));
    }
}
