//! What the command line tells about rule files, as text.

use super::delay;
use super::load::{self, Loaded};
use super::property::{Event, Node, OperatorNode, Property, Window};
use super::{RuleSet, explain, findings as report};
use crate::diagnostic::{Diagnostic, Severity};
use crate::dissect::attribute::AttributeId;
use crate::expr::{self, Expr, Mode, Operator};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An answer: what goes to standard output, what goes to standard error, and the exit status.
#[derive(Debug, Default)]
pub struct Listing {
    /// The answer itself.
    pub text: String,
    /// Findings about the files that were read for it.
    pub findings: String,
    /// 0 for done, 2 for rules that cannot be used or do not exist.
    pub status: u8,
}

const WRONG_RULE: u8 = 2;

/// `rules check`: every finding, and a line that sums up.
pub fn check(paths: &[String], mode: Mode, colour: bool) -> Listing {
    let loaded = read_to_run(paths, mode);
    let mut text = findings(&loaded, colour);
    let counts = [
        counted(loaded.files, "file"),
        counted_properties(loaded.properties.len()),
        counted(loaded.errors(), "error"),
        counted(loaded.warnings(), "warning"),
    ];
    let _ = writeln!(text, "{}", counts.join(", "));
    text.push_str(&nothing_found(&loaded, paths));
    Listing {
        text,
        findings: String::new(),
        status: status(&loaded),
    }
}

/// `rules check --format json`: the same for programs.
pub fn check_json(paths: &[String], mode: Mode) -> Listing {
    let loaded = read_to_run(paths, mode);
    Listing {
        text: report::to_json(&loaded).unwrap_or_default(),
        findings: nothing_found(&loaded, paths),
        status: status(&loaded),
    }
}

/// Read rules, and compile them all: what cannot run is a finding too.
fn read_to_run(paths: &[String], mode: Mode) -> Loaded {
    let mut loaded = load::read(paths, mode);
    let (_, failed) = RuleSet::new(loaded.properties.clone(), mode);
    for (id, error) in failed {
        let of_id = |property: &&Property| property.id == id;
        if let Some(property) = loaded.properties.iter().find(of_id) {
            let message = format!(
                "property {id} of line {} cannot run: {error}",
                property.line
            );
            let found = Diagnostic::of_file(Severity::Error, &property.file, message);
            loaded.diagnostics.push(found);
        }
        loaded.properties.retain(|property| property.id != id);
    }
    loaded
}

fn status(loaded: &Loaded) -> u8 {
    match loaded.errors() == 0 && loaded.files > 0 {
        true => 0,
        false => WRONG_RULE,
    }
}

fn nothing_found(loaded: &Loaded, paths: &[String]) -> String {
    match loaded.files {
        0 => format!("no rule file found in {}\n", paths.join(", ")),
        _ => String::new(),
    }
}

/// `rules list`: one line for each property.
pub fn list(paths: &[String], mode: Mode, colour: bool) -> Listing {
    let loaded = load::read(paths, mode);
    let mut text = String::new();
    let width = |show: fn(&Property) -> String| {
        let lengths = loaded.properties.iter().map(|p| show(p).chars().count());
        lengths.max().unwrap_or(0)
    };
    let file = width(|p| p.file.clone());
    for property in &loaded.properties {
        let _ = writeln!(
            text,
            "{:>5}  {:<8}  {:>2} {:<6}  {:<file$}  {}",
            property.id,
            property.kind.name(),
            property.events.len(),
            match property.events.len() {
                1 => "event",
                _ => "events",
            },
            property.file,
            one_line(&property.description),
        );
    }
    Listing {
        text,
        findings: findings(&loaded, colour),
        status: if loaded.errors() == 0 { 0 } else { WRONG_RULE },
    }
}

/// `rules show ID`: everything about one property.
pub fn show(id: u32, paths: &[String], mode: Mode, colour: bool) -> Listing {
    let loaded = load::read(paths, mode);
    let Some(property) = loaded.properties.iter().find(|p| p.id == id) else {
        return unknown(id, &loaded, colour);
    };
    Listing {
        text: describe(property),
        findings: findings_of(property, &loaded, colour),
        status: 0,
    }
}

/// `rules explain ID`: how the engine runs one property, as text and as a drawing.
pub fn explain(
    id: u32,
    paths: &[String],
    mode: Mode,
    instances_max: usize,
    colour: bool,
) -> (Listing, Option<String>) {
    let loaded = load::read(paths, mode);
    let Some(property) = loaded.properties.iter().find(|p| p.id == id) else {
        return (unknown(id, &loaded, colour), None);
    };
    let (rules, failed) = RuleSet::new(loaded.properties.clone(), mode);
    let mut findings = findings_of(property, &loaded, colour);
    let place = rules.programs.iter().position(|p| p.property.id == id);
    let text = place.and_then(|place| explain::text(&rules, place, instances_max));
    if let Some((_, error)) = failed.iter().find(|(failed, _)| *failed == id) {
        let _ = writeln!(findings, "property {id} cannot run: {error}");
    }
    let listing = Listing {
        status: if text.is_some() { 0 } else { WRONG_RULE },
        text: text.unwrap_or_default(),
        findings,
    };
    (
        listing,
        place.and_then(|place| explain::drawing(&rules, place)),
    )
}

fn unknown(id: u32, loaded: &Loaded, colour: bool) -> Listing {
    let known: Vec<String> = loaded.properties.iter().map(|p| p.id.to_string()).collect();
    let mut findings = findings(loaded, colour);
    let known = match known.is_empty() {
        true => "no property was loaded".to_owned(),
        false => format!("there are {}", known.join(", ")),
    };
    let _ = writeln!(findings, "no property {id}; {known}");
    Listing {
        text: String::new(),
        findings,
        status: WRONG_RULE,
    }
}

fn findings_of(property: &Property, loaded: &Loaded, colour: bool) -> String {
    let of_file = |d: &&Diagnostic| d.file == property.file;
    let findings = loaded.diagnostics.iter().filter(of_file);
    findings.map(|d| d.render(colour) + "\n").collect()
}

/// What a property is, and where it stands.
pub(super) fn heading(property: &Property) -> String {
    let mut out = String::new();
    let (id, kind) = (property.id, property.kind.name());
    let _ = writeln!(out, "property {id}, {kind}");
    let _ = writeln!(out, "  {}", one_line(&property.description));
    let _ = writeln!(out, "  {}, line {}", property.file, property.line);
    out
}

/// A property as its author should check it.
pub fn describe(property: &Property) -> String {
    let mut out = heading(property);
    if let Some(name) = &property.if_satisfied {
        let _ = writeln!(out, "  if_satisfied {} (not run)", one_line(name));
    }
    out.push_str("\ntree\n");
    draw(&mut out, property, &property.root, "  ", "  ");
    out.push_str("\nevents\n");
    for (event, number) in property.events.iter().zip(1..) {
        let again = repetition(Some(event));
        let _ = writeln!(out, "  {number}  {}{again}", one_line(&event.text));
    }
    out.push_str("\nattributes\n");
    for ((protocol, attribute), id) in attributes(property) {
        let number = format!("{protocol}.{attribute}");
        let name = id.to_string();
        let _ = writeln!(out, "  {name:<28} {number:<9} {}", id.kind().name());
    }
    let links = links(property);
    if !links.is_empty() {
        out.push_str("\nkey\n");
        for link in links {
            let _ = writeln!(out, "  {link}");
        }
    }
    out
}

fn findings(loaded: &Loaded, colour: bool) -> String {
    let all = loaded.diagnostics.iter();
    all.map(|found| found.render(colour) + "\n").collect()
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn counted_properties(number: usize) -> String {
    match number {
        1 => "1 property".to_owned(),
        _ => format!("{number} properties"),
    }
}

/// Line ends and runs of blanks become one blank; what would steer a terminal is replaced.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let show = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    words.join(" ").chars().map(show).collect()
}

/// That an event is an earlier repetition of another one.
pub(super) fn repetition(event: Option<&Event>) -> String {
    let repeats = event.and_then(|event| event.repeats);
    repeats.map_or_else(String::new, |of| format!("  (event {of}, repeated)"))
}

/// Draw a node; `first` stands before its line and `rest` before the lines below it.
fn draw(out: &mut String, property: &Property, node: &Node, first: &str, rest: &str) {
    match node {
        Node::Event(number) => {
            let index = usize::from(*number).checked_sub(1);
            let event = index.and_then(|index| property.events.get(index));
            let description = event.map_or("", |event| event.description.as_str());
            let again = repetition(event);
            let line = format!("{first}event {number}  {}{again}", one_line(description));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        Node::Operator(operator) => {
            let OperatorNode { left, right, .. } = operator.as_ref();
            let (name, window) = (operator.operator.name(), show_window(operator.window));
            let _ = writeln!(out, "{first}{name}  {window}");
            let (to_left, below) = (format!("{rest}|- "), format!("{rest}|  "));
            draw(out, property, left, &to_left, &below);
            let (to_right, below) = (format!("{rest}`- "), format!("{rest}   "));
            draw(out, property, right, &to_right, &below);
        }
    }
}

pub(super) fn show_window(window: Window) -> String {
    if window.immediate {
        return "in the same packet".to_owned();
    }
    let (min, max) = (window.counter_min, window.counter_max);
    let packets = match (min, max) {
        (0, 0) => None,
        (_, 0) => Some(format!("at least {min} packets")),
        _ => Some(format!("{min} to {max} packets")),
    };
    let times = (delay::show(window.min_us), delay::show(window.max_us));
    let times = format!("after {} to {}", times.0, times.1);
    match packets {
        None => times,
        Some(packets) if (window.min_us, window.max_us) == (0, 0) => format!("after {packets}"),
        Some(packets) => format!("{times} and {packets}"),
    }
}

/// Attributes that a property uses, by protocol and attribute number.
fn attributes(property: &Property) -> BTreeMap<(u16, u16), AttributeId> {
    let mut found = BTreeMap::new();
    for event in &property.events {
        event.expression.each_attribute(&mut |id, _| {
            found.insert(id.sort_key(), id);
        });
    }
    found
}

/// Equalities that tie an event to another one.
fn links(property: &Property) -> Vec<String> {
    let mut found = Vec::new();
    for (event, number) in property.events.iter().zip(1..) {
        conjuncts(&event.expression, &mut |own, other, event| {
            found.push(format!(
                "{own} of event {number} = {other} of event {event}"
            ));
        });
    }
    found
}

/// Every `a == b.N` that must hold for the whole to hold.
fn conjuncts(expression: &Expr, visit: &mut dyn FnMut(AttributeId, AttributeId, u8)) {
    let expr::Node::Chain(operator, parts) = &expression.node else {
        return;
    };
    match (operator, parts.as_slice()) {
        (Operator::And, parts) => parts.iter().for_each(|part| conjuncts(part, visit)),
        (Operator::Equal, [left, right]) => match (&left.node, &right.node) {
            (expr::Node::Attribute(own, None), expr::Node::Attribute(other, Some(event)))
            | (expr::Node::Attribute(other, Some(event)), expr::Node::Attribute(own, None)) => {
                visit(*own, *other, *event);
            }
            _ => {}
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"<beginning>
<property value="THEN" delay_units="s" delay_min="0+" delay_max="5" property_id="7"
    type_property="ATTACK" description="Two
    lines">
  <event description="first" boolean_expression="(udp.len &gt; 8)"/>
  <operator value="AND" delay_units="ms" delay_max="3">
    <event boolean_expression="((udp.len == udp.len.1) &amp;&amp; (ethernet.src != 0))"/>
    <event boolean_expression="true"/>
  </operator>
</property>
<property property_id="8"><event boolean_expression="(udp.len == 1)"/></property>
</beginning>"#;

    fn folder() -> (tempfile::TempDir, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.xml"), RULES).unwrap();
        let paths = vec![folder.path().display().to_string()];
        (folder, paths)
    }

    #[test]
    fn check_sums_up() {
        let (folder, paths) = folder();
        let found = check(&paths, Mode::Standard, false);
        let counts = "\n1 file, 2 properties, 0 errors, 1 warning\n";
        assert!(found.text.ends_with(counts), "{}", found.text);
        assert_eq!(found.status, 0);
        std::fs::write(folder.path().join("b.xml"), "<beginning>").unwrap();
        let found = check(&paths, Mode::Standard, false);
        assert!(found.text.contains("never closed"), "{}", found.text);
        assert_eq!(found.status, 2);
        assert_eq!(
            check(&["/nowhere".to_owned()], Mode::Compat, false).status,
            2
        );
        assert_eq!(check(&[], Mode::Compat, false).status, 2);
    }

    #[test]
    fn list_has_a_line_for_each_property() {
        let (_folder, paths) = folder();
        let found = list(&paths, Mode::Standard, false);
        let lines: Vec<&str> = found.text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("    7  attack     3 events"),
            "{}",
            lines[0]
        );
        assert!(lines[0].ends_with("a.xml  Two lines"), "{}", lines[0]);
        assert!(
            lines[1].starts_with("    8  security   2 events"),
            "{}",
            lines[1]
        );
    }

    #[test]
    fn show_draws_the_tree() {
        let (_folder, paths) = folder();
        let found = show(7, &paths, Mode::Standard, false);
        assert_eq!(found.status, 0);
        let expected = "
tree
  THEN  after 0+ to 5 s
  |- event 1  first
  `- AND  after 0 to 3 ms
     |- event 2
     `- event 3

events
  1  (udp.len > 8)
  2  ((udp.len == udp.len.1) && (ethernet.src != 0))
  3  true

attributes
  ethernet.src                 99.3      MAC_ADDR
  udp.len                      376.3     U16

key
  udp.len of event 2 = udp.len of event 1
";
        assert!(found.text.ends_with(expected), "{}", found.text);
        let found = show(8, &paths, Mode::Standard, false);
        assert!(found.text.contains("in the same packet"));
        let found = show(9, &paths, Mode::Standard, false);
        assert!(found.findings.contains("no property 9; there are 7, 8"));
    }
}
