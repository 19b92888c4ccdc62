//! A rule as the engine runs it, in words: its automaton, what each event asks of a packet and of
//! the events before it, where it can run and what it keeps in memory.

use super::access::{Access, Wanted};
use super::graph::Graph;
use super::listing::{heading, one_line, repetition};
use super::machine::{INIT, StateId};
use super::partition::Partition;
use super::program::{Event, Program, Slot};
use super::steps::{Step, What};
use super::store::{Instance, MEMBER_BYTES, Outer, Stay};
use super::waiting::CLASS_BYTES;
use super::wheel::Entry;
use super::{RuleSet, svg};
use crate::dissect::attribute::{AttributeId, Type};
use crate::dissect::{Protocol, ProtocolSet};
use crate::expr::{self, Expr, Operator};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Rule number `place` of those loaded, as text. `instances_max` of it are allowed.
pub fn text(rules: &RuleSet, place: usize, instances_max: usize) -> Option<String> {
    let program = rules.programs.get(place)?;
    let steps = rules.steps.of_rule(place);
    let mut out = heading(&program.property);
    automaton(&mut out, &Graph::new(program));
    for (number, event) in (1_u8..).zip(&program.events) {
        let step = steps.iter().find(|step| step.what == What::Event(number));
        describe(&mut out, rules, program, (number, event), step);
    }
    for step in steps {
        let what = match step.what {
            What::Event(_) => continue,
            What::Rule => "both events",
            What::TimeOuts => "time-outs",
        };
        let _ = writeln!(out, "\n{what}\n  looked at for  {}", looked_at(rules, step));
    }
    place_to_run(&mut out, rules, program);
    memory(&mut out, program, instances_max);
    Some(out)
}

/// The automaton of a rule as a drawing.
pub fn drawing(rules: &RuleSet, place: usize) -> Option<String> {
    let program = rules.programs.get(place)?;
    let property = &program.property;
    let title = format!(
        "property {}: {}",
        property.id,
        one_line(&property.description)
    );
    let conditions = property.events.iter().map(|event| one_line(&event.text));
    let conditions: Vec<String> = (1..)
        .zip(conditions)
        .map(|(number, text)| format!("event {number}  {text}"))
        .collect();
    Some(svg::draw(&title, &Graph::new(program), &conditions))
}

fn automaton(out: &mut String, graph: &Graph) {
    out.push_str("\nautomaton\n");
    for (place, node) in graph.nodes.iter().enumerate() {
        let detail = match node.detail.is_empty() {
            true => String::new(),
            false => format!(": {}", node.detail),
        };
        let _ = writeln!(out, "  {}{detail}", node.name);
        for edge in graph.edges.iter().filter(|edge| edge.from == place) {
            let to = graph.nodes.get(edge.to).map_or("", |node| &node.name);
            let _ = writeln!(out, "    {} -> {to}{}", edge.label, edge.note);
            if !edge.guard.is_empty() {
                let _ = writeln!(out, "      if {}", edge.guard);
            }
        }
    }
}

fn describe(
    out: &mut String,
    rules: &RuleSet,
    program: &Program,
    (number, event): (u8, &Event),
    step: Option<&Step>,
) {
    let written = program.property.events.get(usize::from(number) - 1);
    let description = written.map_or("", |event| event.description.as_str());
    let again = repetition(written);
    let title = format!("\nevent {number}  {}{again}", one_line(description));
    let _ = writeln!(out, "{}", title.trim_end());
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<13}  {value}");
    };
    if let Some(step) = step {
        row("looked at for", looked_at(rules, step));
    }
    row("mandatory", names(rules, &event.mandatory));
    row("optional", names(rules, &event.optional));
    let parts = conditions(program, number);
    for (name, kind) in [
        ("guard", Part::Guard),
        ("join key", Part::Key),
        ("residual", Part::Residual),
    ] {
        let found: Vec<&str> = parts
            .iter()
            .filter(|(part, _)| *part == kind)
            .map(|(_, text)| text.as_str())
            .collect();
        row(name, or_none(found.join(" && ")));
    }
}

/// What a condition of an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The packet alone.
    Guard,
    /// An equality with an earlier event, by which attempts are found.
    Key,
    /// Anything else about earlier events, asked of each attempt found.
    Residual,
}

/// The conditions of an event, as far as `&&` separates them, as they are written.
pub(super) fn conditions(program: &Program, number: u8) -> Vec<(Part, String)> {
    let written = program.property.events.get(usize::from(number) - 1);
    let (Some(written), Some(event)) = (written, program.event(number)) else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    conjuncts(&written.expression, &mut parts);
    let show = |part: &Expr| {
        let text = written.text.get(part.span.clone()).unwrap_or_default();
        let text = one_line(text);
        match text.starts_with('(') || !matches!(part.node, expr::Node::Chain(..)) {
            true => text,
            false => format!("({text})"),
        }
    };
    let kind = |part: &Expr| match (is_about_others(part), is_key(part, program, event)) {
        (false, _) => Part::Guard,
        (true, true) => Part::Key,
        (true, false) => Part::Residual,
    };
    parts
        .into_iter()
        .map(|part| (kind(part), show(part)))
        .collect()
}

fn conjuncts<'e>(expr: &'e Expr, found: &mut Vec<&'e Expr>) {
    match &expr.node {
        expr::Node::Chain(Operator::And, parts) => {
            parts.iter().for_each(|part| conjuncts(part, found));
        }
        _ => found.push(expr),
    }
}

fn is_about_others(part: &Expr) -> bool {
    let mut found = false;
    part.each_attribute(&mut |_, event| found |= event.is_some());
    found
}

/// Is it one of the equalities that the compiler has made a key of?
fn is_key(part: &Expr, program: &Program, event: &Event) -> bool {
    let expr::Node::Chain(Operator::Equal, sides) = &part.node else {
        return false;
    };
    let mut own = None;
    let mut other = None;
    for side in sides {
        match &side.node {
            expr::Node::Attribute(id, None) => own = Some(*id),
            expr::Node::Attribute(id, Some(number)) => other = Some((*id, *number)),
            _ => {}
        }
    }
    let field = |event: Option<&Event>, place: u8| -> Option<AttributeId> {
        let field = event?.layout.fields.get(usize::from(place))?;
        Some(field.attribute)
    };
    event.keys.iter().any(|key| {
        let earlier = key.earlier.place;
        let there = field(program.event(earlier.event), earlier.field);
        let there = there.map(|id| (id, earlier.event));
        sides.len() == 2 && own == field(Some(event), key.field) && other == there
    })
}

fn names(rules: &RuleSet, slots: &[Slot]) -> String {
    let is_shown = |slot: &&Slot| {
        let id = rules.extraction.attribute(**slot);
        !id.is_some_and(AttributeId::is_hidden)
    };
    let shown = slots.iter().filter(is_shown);
    let names: Vec<String> = shown.map(|slot| name(rules, *slot)).collect();
    or_none(names.join(", "))
}

fn name(rules: &RuleSet, slot: Slot) -> String {
    let id = rules.extraction.attribute(slot);
    id.map_or_else(|| "?".to_owned(), |id| id.to_string())
}

fn or_none(text: String) -> String {
    match text.is_empty() {
        true => "none".to_owned(),
        false => text,
    }
}

/// What a packet must show before a step is taken.
fn looked_at(rules: &RuleSet, step: &Step) -> String {
    match &step.access {
        Some(access) => wanted(rules, access),
        None if step.what == What::TimeOuts => {
            "every packet with an attribute of the rule, while an attempt waits".to_owned()
        }
        None => match protocols(step.protocols) {
            names if names.is_empty() => "every packet".to_owned(),
            names => format!("every packet of {names}"),
        },
    }
}

fn protocols(set: ProtocolSet) -> String {
    let names = Protocol::ALL
        .iter()
        .filter(|protocol| set.contains(**protocol));
    let names: Vec<&str> = names.map(|protocol| protocol.name()).collect();
    names.join(" and ")
}

/// An access predicate as a condition.
fn wanted(rules: &RuleSet, access: &Access) -> String {
    let attribute = name(rules, access.slot);
    let kind = rules
        .extraction
        .attribute(access.slot)
        .map(AttributeId::kind);
    match &access.wanted {
        Wanted::Range(low, high) if low == high => format!("{attribute} == {low}"),
        Wanted::Range(low, u64::MAX) => format!("{attribute} >= {low}"),
        Wanted::Range(low, high) => format!("{attribute} in {low}..={high}"),
        Wanted::Text(text) => format!("{attribute} == {}", quoted(kind, text)),
        Wanted::Contains(text) => format!("{attribute} contains {}", quoted(None, text)),
        Wanted::TextNoCase(text) => format!("{attribute} == {}, any case", quoted(None, text)),
        Wanted::ContainsNoCase(text) => {
            format!("{attribute} contains {}, any case", quoted(None, text))
        }
        Wanted::Within(network) => format!("{attribute} in {network}"),
        Wanted::Listed(listed) => {
            let (name, entries) = (listed.list.name(), listed.list.len());
            format!("{attribute} in list '{name}' of {entries}")
        }
        Wanted::Present => format!("any {attribute}"),
    }
}

fn quoted(kind: Option<Type>, bytes: &[u8]) -> String {
    let text = match kind {
        Some(Type::IpAddr) => bytes
            .first_chunk::<4>()
            .map(|b| Ipv4Addr::from(*b).to_string()),
        Some(Type::Ip6Addr) => bytes
            .first_chunk::<16>()
            .map(|b| Ipv6Addr::from(*b).to_string()),
        Some(Type::MacAddr) => {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(bytes.join(":"))
        }
        _ => None,
    };
    let text = text.unwrap_or_else(|| bytes.escape_ascii().to_string());
    format!("'{text}'")
}

fn place_to_run(out: &mut String, rules: &RuleSet, program: &Program) {
    let stateful = program.events.iter().any(Event::is_stateful);
    let (place, key) = match &program.partition {
        Partition::Packet => (
            "on the core that receives the packet: one packet decides",
            None,
        ),
        Partition::Flow(key) => (
            "on the core that receives the packets: the key holds the five-tuple of a flow, and \
             both directions of a flow go to one core",
            Some(key),
        ),
        Partition::Key(key) => (
            "on the security worker that the hash of the key names",
            Some(key),
        ),
        Partition::Rule if stateful => (
            "in one place for the whole rule: a condition remembers its calls",
            None,
        ),
        Partition::Rule => (
            "in one place for the whole rule: no value is common to all its events",
            None,
        ),
    };
    let _ = writeln!(out, "\npartition key");
    match key {
        None => out.push_str("  none\n"),
        Some(key) => {
            for (number, slots) in (1..).zip(key) {
                let _ = writeln!(out, "  event {number}  {}", names(rules, slots));
            }
        }
    }
    let _ = writeln!(out, "\nruns\n  {place}");
}

/// Bytes of an instance of this rule, with its record; 0 for one that keeps nothing from one packet
/// to the next.
pub fn instance_bytes(program: &Program) -> usize {
    match program.single {
        Some(_) => 0,
        None => bytes_fixed(program).saturating_add(program.record_size),
    }
}

/// Bytes of an instance beside its record: itself, its place in the order of all and its deadline;
/// and what it needs for each further way out of its state and each operator around it.
fn bytes_fixed(program: &Program) -> usize {
    let waits = usize::from(program.machine.depths.saturating_sub(1));
    let members = edges_from_one(program).saturating_sub(1);
    size_of::<Instance>()
        + size_of::<Stay>()
        + size_of::<Entry>()
        + waits * size_of::<Outer>()
        + members * MEMBER_BYTES
}

/// Ways that lead out of one state, at most.
fn edges_from_one(program: &Program) -> usize {
    let states = (0..=StateId::MAX).take(program.machine.states.len());
    let ways = states
        .filter(|state| *state != INIT)
        .map(|state| program.edges_from(state).len());
    ways.fold(1, usize::max)
}

fn memory(out: &mut String, program: &Program, instances_max: usize) {
    out.push_str("\nmemory\n");
    if program.single.is_some() {
        out.push_str("  none: nothing is kept from one packet to the next\n");
        return;
    }
    let (fixed, record) = (bytes_fixed(program), program.record_size);
    let both = fixed.saturating_add(record);
    let _ = writeln!(
        out,
        "  an instance takes {both} bytes: {fixed} and a record of {record}; the first of a key {} more",
        CLASS_BYTES * edges_from_one(program)
    );
    let most = both.saturating_mul(instances_max) / 1_000_000;
    let _ = writeln!(
        out,
        "  all of them {most} MB: at most {instances_max} at a time (limits.instances_per_rule)"
    );
}
