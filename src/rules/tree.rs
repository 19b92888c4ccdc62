//! Elements of a rule file to properties: the grammar of rules/README.md.

use super::delay::{self, Bound};
use super::embedded;
use super::lint;
use super::property::{Event, Kind, Node, Operator, OperatorNode, Property, Window};
use super::repeat::{self, Copies, place};
use super::xml::{Attribute, Element};
use crate::diagnostic::{Problem, Severity, Source};
use crate::expr::functions::lists::Lists;
use crate::expr::names::{did_you_mean, nearest};
use crate::expr::{self, Context, Expr, Mode};
use crate::limits::{DIAGNOSTICS_MAX, EVENTS_MAX, PROPERTIES_MAX};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// What every property of a file is read with.
pub(super) struct Reader<'t> {
    pub(super) file: &'t str,
    pub(super) source: &'t Source<'t>,
    pub(super) mode: Mode,
    pub(super) lists: &'t Lists,
    pub(super) problems: Vec<Problem>,
    /// Line of each property id that was read.
    pub(super) ids: HashMap<u32, usize>,
    /// Problems counted so far, and how many of them are errors.
    pub(super) counted: (usize, usize),
    /// How long the properties with repetitions are when these are written out.
    pub(super) written_out: u64,
}

const PROPERTY_ATTRIBUTES: &[&str] = &[
    "value",
    "delay_units",
    "delay_min",
    "delay_max",
    "counter_min",
    "counter_max",
    "description",
    "property_id",
    "type_property",
    "if_satisfied",
    "if_not_satisfied",
    "keep_state",
    "repeat_times",
];

const OPERATOR_ATTRIBUTES: &[&str] = &[
    "value",
    "delay_units",
    "delay_min",
    "delay_max",
    "counter_min",
    "counter_max",
    "description",
    "repeat_times",
];

const EVENT_ATTRIBUTES: &[&str] = &["value", "event_id", "description", "boolean_expression"];

/// A property or operator's own `value`: an operator, or one event by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    Temporal(Operator),
    Compute,
}

/// An event element and the number it has.
struct Numbered<'e, 't> {
    element: &'e Element<'t>,
    number: u8,
}

impl Reader<'_> {
    /// The properties of a file's outermost elements. Only sound when no problem is an error.
    pub(super) fn document(&mut self, roots: &[Element<'_>]) -> Vec<Property> {
        let mut properties: Vec<Property> = Vec::new();
        if roots.is_empty() && self.problems.is_empty() {
            let problem = Problem::error(0..1, "there is no rule here");
            self.problems
                .push(problem.expected("expected `<beginning>`"));
        }
        for root in roots {
            if root.name == "beginning" {
                self.beginning(root, &mut properties);
            } else {
                self.unexpected(root, &["beginning"]);
            }
        }
        properties
    }

    fn beginning(&mut self, root: &Element<'_>, properties: &mut Vec<Property>) {
        self.no_text(root);
        for child in &root.children {
            match child.name {
                "property" => {
                    if properties.len() >= PROPERTIES_MAX {
                        let message = format!("more than {PROPERTIES_MAX} properties in one file");
                        self.error(&child.span, message);
                        return;
                    }
                    if self.errors() > DIAGNOSTICS_MAX {
                        let message = "too many errors: the rest of the file is not read";
                        self.error(&child.span, message.to_owned());
                        return;
                    }
                    self.property(child, properties);
                }
                "embedded_functions" => {
                    let names = embedded::definitions_of(&child.text);
                    let (message, help) = embedded::notice(&names, self.mode);
                    let problem = Problem::warning(child.span.clone(), message);
                    self.problems.push(problem.help(help));
                }
                _ => self.unexpected(child, &["property", "embedded_functions"]),
            }
        }
    }

    fn property(&mut self, element: &Element<'_>, properties: &mut Vec<Property>) {
        let errors = self.errors();
        self.known_attributes(element, PROPERTY_ATTRIBUTES);
        self.no_text(element);
        let id = self.property_id(element);
        let kind = self.kind(element);
        self.unused(element);
        let mut found = Vec::new();
        self.find_events(element, &mut found);
        let numbered = self.number_events(element, &found);
        if let Some(problem) = repeat::too_many(element, self.mode, &mut self.written_out) {
            self.problems.push(problem);
            return;
        }
        let is_once = repeat::times(element, self.mode) == 1;
        let is_lone = is_once && self.joint(element) == Some(Joint::Compute);
        let count = u8::try_from(numbered.len()).unwrap_or(u8::MAX);
        let count = count.saturating_add(u8::from(is_lone));
        let mut events: Vec<Event> = numbered.iter().map(|n| self.event(n, count)).collect();
        let mut copies = Copies::new(count);
        let root = match is_lone {
            true => self.lone(element, &mut events),
            false => self.node(element, &numbered, &mut copies),
        };
        copies.add_to(&mut events, |number, text| {
            let context = Context::event(number, copies.count(), Some(self.lists));
            expr::read(text, self.mode, context, &mut Vec::new())
        });
        let (Some(id), Some(root)) = (id, root) else {
            return;
        };
        let property = Property {
            id,
            kind,
            description: text_of(element, "description"),
            root,
            events,
            if_satisfied: attribute(element, "if_satisfied").map(|a| a.value.text.clone()),
            file: self.file.to_owned(),
            line: self.source.line(element.span.start),
        };
        if self.errors() == errors {
            self.order(&property, &numbered);
        }
        properties.push(property);
    }

    /// Events whose place in the rule does not go with their conditions.
    fn order(&mut self, property: &Property, events: &[Numbered<'_, '_>]) {
        let mut told = BTreeSet::new();
        for (number, found) in lint::order(property, self.mode) {
            let written = property.events.get(usize::from(number).saturating_sub(1));
            // What holds for a repetition is told once, of the event that is repeated.
            let repeats = written.and_then(|event| event.repeats);
            let number = repeats.unwrap_or(number);
            let event = events.iter().find(|event| event.number == number);
            let condition = event.and_then(|e| attribute(e.element, "boolean_expression"));
            let Some(condition) = condition.filter(|_| told.insert((number, found))) else {
                continue;
            };
            let refers = |other| {
                let written = written.filter(|event| event.repeats.is_none());
                let span = written.and_then(|event| lint::reference(&event.expression, other));
                span.map_or_else(|| place(condition), |span| condition.value.place(&span))
            };
            let (place, message, help) = match found {
                lint::Order::Untied => (
                    place(condition),
                    format!("no equality ties event {number} to the events before it"),
                    "all attempts of the rule wait in one list, whomever they are about; \
                     compare it with an earlier event, as in (ip.src == ip.src.1)",
                ),
                lint::Order::Later(other) => (
                    refers(other),
                    format!("event {other} never comes before event {number}"),
                    "so its values are absent here; compare the later event with the earlier one",
                ),
                lint::Order::PerhapsLater(other) => (
                    refers(other),
                    format!("event {number} may come before event {other}"),
                    "values of an event that has not come are absent: in that order this \
                     compares with nothing",
                ),
            };
            self.problems
                .push(Problem::warning(place, message).help(help));
        }
    }

    // Attributes

    fn property_id(&mut self, element: &Element<'_>) -> Option<u32> {
        let Some(found) = attribute(element, "property_id") else {
            if !element.is_whole {
                return None;
            }
            let problem = Problem::error(element.span.clone(), "a property has a `property_id`");
            let expected = "expected property_id=\"N\", from 1 to 4294967295";
            self.problems.push(problem.expected(expected));
            return None;
        };
        let text = found.value.text.trim();
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        let id = text.parse::<u32>().ok().filter(|id| is_number && *id > 0);
        let Some(id) = id else {
            let problem = Problem::error(place(found), format!("`{text}` is no property id"));
            self.problems
                .push(problem.expected("expected a number from 1 to 4294967295"));
            return None;
        };
        let line = self.source.line(element.span.start);
        if let Some(first) = self.ids.insert(id, line) {
            let message = format!("property {id} is already defined in line {first}");
            self.error(&place(found), message);
        }
        Some(id)
    }

    fn kind(&mut self, element: &Element<'_>) -> Kind {
        let Some(found) = attribute(element, "type_property") else {
            return Kind::default();
        };
        match found.value.text.as_str() {
            "ATTACK" => Kind::Attack,
            "SECURITY" => Kind::Security,
            "EVASION" => Kind::Evasion,
            "TEST" => Kind::Test,
            other => {
                let problem = Problem::error(place(found), format!("unknown type `{other}`"));
                let known = ["ATTACK", "SECURITY", "EVASION", "TEST"];
                let help = match other {
                    "FORWARD" => "packets are inspected here, not forwarded".to_owned(),
                    _ => did_you_mean(&nearest(other, known)),
                };
                let expected = "expected ATTACK, SECURITY, EVASION or TEST";
                self.problems.push(problem.expected(expected).help(help));
                Kind::default()
            }
        }
    }

    /// Attributes of the language that do nothing here.
    fn unused(&mut self, element: &Element<'_>) {
        self.problems.extend(repeat::check(element, self.mode));
        for (name, message) in [
            ("if_satisfied", "reactions are listed, and not run"),
            (
                "if_not_satisfied",
                "reactions are not run; MMT never runs this one",
            ),
            ("repeat_times", "MMT counts no repetitions"),
        ] {
            let is_used = name == "repeat_times" && self.mode == Mode::Standard;
            if let Some(found) = attribute(element, name).filter(|_| !is_used) {
                let problem = Problem::warning(found.name_span.clone(), message);
                self.problems.push(problem);
            }
        }
    }

    fn joint(&self, element: &Element<'_>) -> Option<Joint> {
        let Some(found) = attribute(element, "value") else {
            return Some(Joint::Compute);
        };
        Some(match found.value.text.as_str() {
            "THEN" => Joint::Temporal(Operator::Then),
            "BEFORE" => Joint::Temporal(Operator::Before),
            "AND" => Joint::Temporal(Operator::And),
            "OR" => Joint::Temporal(Operator::Or),
            "NOT" => Joint::Temporal(Operator::Not),
            "COMPUTE" => Joint::Compute,
            _ => return None,
        })
    }

    fn known_attributes(&mut self, element: &Element<'_>, known: &[&str]) {
        for found in &element.attributes {
            if known.contains(&found.name) {
                continue;
            }
            let name = found.name;
            let message = format!("`<{}>` has no attribute `{name}`", element.name);
            let problem = Problem::warning(found.name_span.clone(), message);
            let help = did_you_mean(&nearest(name, known.iter().copied()));
            self.problems
                .push(problem.expected("this is not read").help(help));
        }
    }

    fn window(&mut self, element: &Element<'_>) -> Option<Window> {
        let unit = match attribute(element, "delay_units") {
            Some(found) => delay::unit(&found.value, self.mode, &mut self.problems),
            None => 1_000_000,
        };
        let (min_us, max_us) = self.range(element, ("delay_min", "delay_max"), unit)?;
        let (least, most) = self.range(element, ("counter_min", "counter_max"), 1)?;
        let (Ok(counter_min), Ok(counter_max)) = (u64::try_from(least), u64::try_from(most)) else {
            let place =
                attribute(element, "counter_min").map_or_else(|| element.span.clone(), place);
            self.error(&place, "packets are counted from 0".to_owned());
            return None;
        };
        if min_us > max_us {
            let message = format!(
                "no delay is at least {} and at most {}",
                delay::show(min_us),
                delay::show(max_us)
            );
            let place = attribute(element, "delay_min").map_or_else(|| element.span.clone(), place);
            self.problems.push(Problem::warning(place, message));
        }
        Some(Window {
            min_us,
            max_us,
            immediate: min_us == 0 && max_us == 0 && counter_min == 0 && counter_max == 0,
            counter_min,
            counter_max,
        })
    }

    /// Two bounds in steps of which `unit` makes one of their number.
    fn range(
        &mut self,
        element: &Element<'_>,
        (least, most): (&str, &str),
        unit: i64,
    ) -> Option<(i64, i64)> {
        let mut read = |name| match attribute(element, name) {
            Some(found) => delay::bound(&found.value, self.mode, &mut self.problems),
            None => Some(Bound::default()),
        };
        let (min, max) = (read(least), read(most));
        let (min, max) = (min?, max?);
        let at = |name| attribute(element, name).map_or_else(|| element.span.clone(), place);
        // MMT compares the numbers before it applies signs.
        if min.number > max.number {
            let message = format!("`{least}` {} is above `{most}` {}", min.number, max.number);
            let problem = Problem::error(at(least), message);
            let help = match attribute(element, most) {
                Some(_) => String::new(),
                None => format!("without `{most}` it is 0"),
            };
            self.problems.push(problem.help(help));
            return None;
        }
        match (min.scaled(unit), max.scaled(unit)) {
            (Some(min), Some(max)) => Some((min, max)),
            (min, _) => {
                let name = if min.is_none() { least } else { most };
                self.error(&at(name), format!("`{name}` is too large for its unit"));
                None
            }
        }
    }

    // The tree

    /// Event elements in document order. What is neither event nor operator is reported.
    fn find_events<'e, 't>(&mut self, element: &'e Element<'t>, found: &mut Vec<&'e Element<'t>>) {
        for child in &element.children {
            match child.name {
                "event" => {
                    self.known_attributes(child, EVENT_ATTRIBUTES);
                    self.no_text(child);
                    for inner in &child.children {
                        let message = "an event has nothing inside".to_owned();
                        self.error(&inner.span, message);
                    }
                    found.push(child);
                }
                "operator" => {
                    self.known_attributes(child, OPERATOR_ATTRIBUTES);
                    self.no_text(child);
                    self.unused(child);
                    self.find_events(child, found);
                }
                _ => self.unexpected(child, &["event", "operator"]),
            }
        }
    }

    /// Numbers for all events: those given, and for the others the smallest ones left over.
    fn number_events<'e, 't>(
        &mut self,
        property: &Element<'_>,
        found: &[&'e Element<'t>],
    ) -> Vec<Numbered<'e, 't>> {
        if found.len() > EVENTS_MAX {
            let message = format!("a property has at most {EVENTS_MAX} events");
            self.error(&property.span, message);
            return Vec::new();
        }
        let mut taken = [false; EVENTS_MAX + 1];
        let mut given: Vec<Option<usize>> = Vec::new();
        for element in found {
            let number = attribute(element, "event_id").and_then(|id| {
                let number = self.event_id(id, found.len())?;
                let slot = taken.get_mut(number)?;
                if std::mem::replace(slot, true) {
                    let message = format!("event {number} is already defined");
                    self.error(&place(id), message);
                }
                Some(number)
            });
            given.push(number);
        }
        let mut free = (1..=EVENTS_MAX).filter(|n| taken.get(*n) == Some(&false));
        let numbers = given.iter().map(|number| number.or_else(|| free.next()));
        let mut numbered: Vec<Numbered<'e, 't>> = found
            .iter()
            .zip(numbers)
            .filter_map(|(element, number)| {
                let number = u8::try_from(number?).ok()?;
                Some(Numbered { element, number })
            })
            .collect();
        numbered.sort_by_key(|n| n.number);
        numbered
    }

    fn event_id(&mut self, id: &Attribute<'_>, count: usize) -> Option<usize> {
        let text = id.value.text.trim();
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<usize>().ok().filter(|_| is_number);
        let fits = number.filter(|number| (1..=count).contains(number));
        if fits.is_none() {
            let problem = Problem::error(place(id), format!("`{text}` is no event id here"));
            let expected = match count {
                1 => "expected 1, as the property has one event".to_owned(),
                _ => format!("expected 1 to {count}, as the property has {count} events"),
            };
            let help = "event ids are complete: 1, 2, 3 and so on";
            self.problems.push(problem.expected(expected).help(help));
        }
        fits
    }

    fn event(&mut self, event: &Numbered<'_, '_>, count: u8) -> Event {
        let element = event.element;
        let description = text_of(element, "description");
        let Some(found) = attribute(element, "boolean_expression") else {
            if element.is_whole {
                let problem = Problem::error(element.span.clone(), "this event has no condition");
                self.problems
                    .push(problem.expected("expected boolean_expression=\"...\""));
            }
            return Event {
                description,
                text: String::new(),
                expression: truth(),
                repeats: None,
            };
        };
        let text = found.value.text.clone();
        let context = Context::event(event.number, count, Some(self.lists));
        let mut problems = Vec::new();
        let expression = expr::read(&text, self.mode, context, &mut problems);
        if let Some(expression) = &expression {
            problems.extend(lint::condition(expression, &text, self.mode));
        }
        for problem in problems {
            let span = found.value.place(&problem.span);
            self.problems.push(Problem { span, ..problem });
        }
        Event {
            description,
            text,
            expression: expression.unwrap_or_else(truth),
            repeats: None,
        }
    }

    fn node(
        &mut self,
        element: &Element<'_>,
        events: &[Numbered<'_, '_>],
        copies: &mut Copies,
    ) -> Option<Node> {
        if element.name == "event" {
            let same = |n: &&Numbered<'_, '_>| std::ptr::eq(n.element, element);
            return events.iter().find(same).map(|n| Node::Event(n.number));
        }
        let joint = self.joint(element);
        if joint.is_none() {
            self.unknown_joint(element);
        }
        let is_node = |child: &&Element<'_>| matches!(child.name, "event" | "operator");
        let children: Vec<&Element<'_>> = element.children.iter().filter(is_node).collect();
        if let Some(third) = children.get(2) {
            let message = format!("`<{}>` has at most two parts", element.name);
            let problem = Problem::error(third.span.clone(), message);
            let help = "put two of them into an `<operator>`";
            self.problems.push(problem.help(help));
        }
        let negated = self.negated(element, &children);
        let mut nodes: Vec<Option<Node>> = Vec::new();
        for (place, child) in children.iter().enumerate() {
            let child = match negated {
                Some(negated) if place == 1 => negated,
                _ => child,
            };
            nodes.push(self.node(child, events, copies));
        }
        let operator = match joint? {
            Joint::Temporal(_) if negated.is_some() => Operator::Not,
            Joint::Temporal(operator) => operator,
            Joint::Compute => {
                if children.len() != 1 {
                    self.compute_parts(element, children.len());
                }
                let part = nodes.pop().flatten().filter(|_| children.len() == 1)?;
                return self.repeated(element, part, None, copies);
            }
        };
        let window = self.window(element);
        let window = window.filter(|window| self.looks_forward(element, operator, *window));
        self.two_parts(element, operator, children.len());
        let (right, left) = (nodes.pop().flatten(), nodes.pop().flatten());
        let operator = OperatorNode {
            operator,
            window: window?,
            left: left?,
            right: right?,
        };
        if let Some(message) = lint::window(&operator, self.mode) {
            let max = attribute(element, "delay_max");
            let place = max.map_or_else(|| element.span.clone(), place);
            let help = "the delay of an operator goes from its context to the end of its trigger";
            self.problems
                .push(Problem::warning(place, message).help(help));
        }
        let window = operator.window;
        let node = Node::Operator(Box::new(operator));
        self.repeated(element, node, Some(window), copies)
    }

    fn two_parts(&mut self, element: &Element<'_>, operator: Operator, found: usize) {
        if found >= 2 || !element.is_whole {
            return;
        }
        let name = operator.name();
        let message = format!("`{name}` joins two parts, and here it has {found}");
        let problem = Problem::error(element.span.clone(), message);
        let expected = "expected two of `<event>` and `<operator>` inside";
        let help = match operator {
            Operator::Not if self.mode == Mode::Standard => {
                "a NOT of one part stands as the second part of a THEN"
            }
            _ => "",
        };
        self.problems.push(problem.expected(expected).help(help));
    }

    /// The part that must not come, where the trigger of a `THEN` is a `NOT` of one part: it stands
    /// for `a NOT b` with the delay of the `THEN`.
    fn negated<'e, 't>(
        &mut self,
        element: &Element<'t>,
        children: &[&'e Element<'t>],
    ) -> Option<&'e Element<'t>> {
        let value =
            |element: &Element<'_>| attribute(element, "value").map(|v| v.value.text.clone());
        let [_, trigger] = children else {
            return None;
        };
        let is_both = value(element).as_deref() == Some("THEN")
            && value(trigger).as_deref() == Some("NOT")
            && self.mode == Mode::Standard;
        let is_node = |child: &&Element<'_>| matches!(child.name, "event" | "operator");
        let mut parts = trigger.children.iter().filter(is_node);
        let (Some(part), None) = (parts.next().filter(|_| is_both), parts.next()) else {
            return None;
        };
        let own = trigger.attributes.iter();
        for found in own.filter(|found| !matches!(found.name, "value" | "description")) {
            let message = format!("a NOT of one part has no `{}`", found.name);
            let problem = Problem::error(found.name_span.clone(), message);
            let help = "the delay of the THEN around it says how long the part must not come";
            self.problems.push(problem.help(help));
        }
        Some(part)
    }

    /// May this operator have this delay? Of all, THEN alone knows an earlier trigger.
    fn looks_forward(&mut self, element: &Element<'_>, operator: Operator, window: Window) -> bool {
        let is_negative = window.min_us < 0 || window.max_us < 0;
        if self.mode == Mode::Compat || operator == Operator::Then || !is_negative {
            return true;
        }
        let name = match window.min_us < 0 {
            true => "delay_min",
            false => "delay_max",
        };
        let place = attribute(element, name).map_or_else(|| element.span.clone(), place);
        let message = format!("{} has no negative delay; THEN alone has", operator.name());
        let help = match operator {
            Operator::Before => "BEFORE looks back by itself: write the delay without a sign",
            Operator::And => "AND takes both orders by itself: write the delay without a sign",
            _ => "",
        };
        let problem = Problem::error(place, message).expected("expected 0 or more");
        self.problems.push(problem.help(help));
        false
    }

    /// A part as often as its element asks for. Its delay is read where it is not known yet.
    fn repeated(
        &mut self,
        element: &Element<'_>,
        part: Node,
        window: Option<Window>,
        copies: &mut Copies,
    ) -> Option<Node> {
        let times = repeat::times(element, self.mode);
        if times == 1 {
            return Some(part);
        }
        let window = match window {
            Some(window) => window,
            None => self.window(element)?,
        };
        let Some(window) = repeat::window(window) else {
            let place = repeat::place_of(element, self.mode);
            let message = "nothing says how long after each other these come";
            let problem = Problem::error(place, message);
            let expected = "expected a `delay_max` above 0 beside `repeat_times`";
            self.problems.push(problem.expected(expected));
            return None;
        };
        Some(copies.repeat(part, times, window))
    }

    /// A property that is one event: `event THEN true` on the same packet.
    fn lone(&mut self, element: &Element<'_>, events: &mut Vec<Event>) -> Option<Node> {
        let is_event = |child: &Element<'_>| child.name == "event";
        if element.children.len() != 1 || !element.children.iter().all(is_event) {
            self.compute_parts(element, element.children.len());
            return None;
        }
        let window = self.window(element)?;
        if !window.immediate {
            let message = "a property of one event has no delay".to_owned();
            let first = |name: &&str| attribute(element, name).is_some();
            let names = ["delay_min", "delay_max", "counter_min", "counter_max"];
            let name = names.iter().rev().find(|name| first(name));
            let at = name.and_then(|name| attribute(element, name));
            self.error(&at.map_or_else(|| element.span.clone(), place), message);
            return None;
        }
        events.push(Event {
            description: String::new(),
            text: "true".to_owned(),
            expression: truth(),
            repeats: None,
        });
        Some(Node::Operator(Box::new(OperatorNode {
            operator: Operator::Then,
            window,
            left: Node::Event(1),
            right: Node::Event(2),
        })))
    }

    // Findings

    fn errors(&mut self) -> usize {
        let (counted, errors) = self.counted;
        let new = self.problems.iter().skip(counted);
        let new = new.filter(|problem| problem.severity == Severity::Error);
        self.counted = (self.problems.len(), errors.saturating_add(new.count()));
        self.counted.1
    }

    fn error(&mut self, span: &Range<usize>, message: String) {
        self.problems.push(Problem::error(span.clone(), message));
    }

    fn compute_parts(&mut self, element: &Element<'_>, found: usize) {
        if !element.is_whole {
            return;
        }
        let message = format!("COMPUTE stands for one event, and here are {found} parts");
        let place = attribute(element, "value").map_or_else(|| element.span.clone(), place);
        let problem = Problem::error(place, message);
        let help = match (found, attribute(element, "value")) {
            (2.., None) => "without a `value` it is COMPUTE; add value=\"THEN\"",
            (2.., Some(_)) => "use THEN, BEFORE, AND, OR or NOT to join two parts",
            _ => "",
        };
        self.problems.push(problem.help(help));
    }

    fn unknown_joint(&mut self, element: &Element<'_>) {
        let Some(found) = attribute(element, "value") else {
            return;
        };
        let name = &found.value.text;
        let known = ["THEN", "BEFORE", "AND", "OR", "NOT", "COMPUTE"];
        let problem = Problem::error(place(found), format!("unknown operator `{name}`"));
        let help = did_you_mean(&nearest(name, known));
        let expected = "expected THEN, BEFORE, AND, OR, NOT or COMPUTE";
        self.problems.push(problem.expected(expected).help(help));
    }

    fn unexpected(&mut self, element: &Element<'_>, known: &[&str]) {
        let name = element.name;
        let problem = Problem::error(
            element.span.clone(),
            format!("`<{name}>` has no place here"),
        );
        let quoted: Vec<String> = known.iter().map(|name| format!("`<{name}>`")).collect();
        let expected = format!("expected {}", quoted.join(" or "));
        self.problems.push(problem.expected(expected));
    }

    fn no_text(&mut self, element: &Element<'_>) {
        if !element.text.is_empty() {
            let message = format!("text inside of `<{}>` is not read", element.name);
            let problem = Problem::warning(element.span.clone(), message);
            self.problems.push(problem);
        }
    }
}

/// A condition that always holds.
fn truth() -> Expr {
    Expr {
        node: expr::Node::Number(1),
        span: 0..4,
    }
}

fn attribute<'e, 't>(element: &'e Element<'t>, name: &str) -> Option<&'e Attribute<'t>> {
    element.attributes.iter().find(|a| a.name == name)
}

fn text_of(element: &Element<'_>, name: &str) -> String {
    attribute(element, name).map_or_else(String::new, |a| a.value.text.clone())
}
