//! XML to a tree of elements that know where in the file they stand.
//!
//! The reader goes on after a mistake where it can, so that a file's author sees all of them at
//! once.

use crate::diagnostic::Problem;
use crate::limits::NESTING_MAX;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::ops::Range;

/// An element.
#[derive(Debug)]
pub(super) struct Element<'t> {
    pub(super) name: &'t str,
    /// Its start tag, up to the end of its name.
    pub(super) span: Range<usize>,
    pub(super) attributes: Vec<Attribute<'t>>,
    pub(super) children: Vec<Self>,
    /// Text and CDATA directly inside, where it is not blank.
    pub(super) text: Vec<&'t str>,
    /// Nothing of it was lost to a mistake in the XML, so what is missing in it is not there.
    pub(super) is_whole: bool,
}

/// An attribute of an element.
#[derive(Debug)]
pub(super) struct Attribute<'t> {
    pub(super) name: &'t str,
    pub(super) name_span: Range<usize>,
    pub(super) value: Value,
}

/// The value of an attribute, entities resolved. Line ends are kept as they are.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) text: String,
    /// Between the quotes, in the file.
    pub(super) span: Range<usize>,
    /// (offset in the text, offset in the file): from the first on, both grow alike until the next.
    anchors: Vec<(usize, usize)>,
}

impl Value {
    /// Where bytes of the text stand in the file.
    pub(super) fn place(&self, span: &Range<usize>) -> Range<usize> {
        let at = |offset: usize| {
            let behind = self.anchors.partition_point(|(text, _)| *text <= offset);
            let anchor = behind.checked_sub(1).and_then(|at| self.anchors.get(at));
            let (text, file) = anchor.copied().unwrap_or((0, self.span.start));
            // One byte beyond the end is the closing quote: where something is missing.
            file.saturating_add(offset - text)
                .min(self.span.end.saturating_add(1))
        };
        let start = at(span.start);
        // The end is where the last byte ends, not where what follows it starts.
        start..at(span.end).max(start.saturating_add(1))
    }
}

/// Elements of one file: beyond it, memory for the tree would be a multiple of the file.
const ELEMENTS_MAX: usize = 500_000;

/// Attributes of one element; the language has a dozen.
const ATTRIBUTES_MAX: usize = 64;

/// How often reading starts anew behind something that is no XML.
const RESTARTS_MAX: usize = 10;

/// The outermost elements of `text`.
pub(super) fn read<'t>(text: &'t str, problems: &mut Vec<Problem>) -> Vec<Element<'t>> {
    let mut tree = Tree {
        text,
        problems,
        open: Vec::new(),
        roots: Vec::new(),
        elements: 0,
    };
    let mut start = 0;
    for _ in 0..RESTARTS_MAX {
        let Some(broken) = tree.read_from(start) else {
            break;
        };
        // What is broken swallows the rest of the file: look for the next thing worth reading.
        let behind = broken.saturating_add(1);
        let rest = text.get(behind..).unwrap_or_default();
        let Some(next) = rest.find("<property").or_else(|| rest.find("</beginning")) else {
            break;
        };
        start = behind.saturating_add(next);
    }
    tree.finish()
}

struct Tree<'t, 'p> {
    text: &'t str,
    problems: &'p mut Vec<Problem>,
    open: Vec<Element<'t>>,
    roots: Vec<Element<'t>>,
    elements: usize,
}

impl<'t> Tree<'t, '_> {
    /// Read from `base` to the end. Returns the place of something that cannot be read over.
    fn read_from(&mut self, base: usize) -> Option<usize> {
        let rest = self.text.get(base..).unwrap_or_default();
        let mut reader = Reader::from_str(rest);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        let place = |position: u64| base.saturating_add(usize::try_from(position).unwrap_or(0));
        loop {
            let start = place(reader.buffer_position());
            let event = reader.read_event();
            let end = place(reader.buffer_position());
            match event {
                Ok(Event::Eof) => return None,
                Ok(event) => {
                    if !self.event(&event, start, end) {
                        return None;
                    }
                }
                Err(error) => {
                    let at = place(reader.error_position());
                    let found = Problem::error(at..at.saturating_add(1), error.to_string());
                    self.problems.push(found);
                    let is_syntax = matches!(error, quick_xml::Error::Syntax(_));
                    if is_syntax || end <= start {
                        return Some(at);
                    }
                }
            }
        }
    }

    /// Take in what stands at `start..end`. False when nothing more shall be read.
    fn event(&mut self, event: &Event<'_>, start: usize, end: usize) -> bool {
        let source = self.text.get(start..end).unwrap_or_default();
        match event {
            Event::Start(_) => return self.start(source, start, false),
            Event::Empty(_) => return self.start(source, start, true),
            Event::End(_) => self.end(source, start..end),
            Event::Text(_) | Event::GeneralRef(_) => self.content(source, start..end),
            Event::CData(_) => {
                let inner = source.strip_prefix("<![CDATA[").unwrap_or(source);
                let inner = inner.strip_suffix("]]>").unwrap_or(inner);
                self.content(inner, start..end);
            }
            Event::DocType(_) => {
                let problem = Problem::error(start..end, "document types are not read");
                self.problems.push(problem.help("remove it"));
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Eof => {}
        }
        true
    }

    fn start(&mut self, source: &'t str, start: usize, is_empty: bool) -> bool {
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            let message = format!("more than {ELEMENTS_MAX} elements");
            self.problems
                .push(Problem::error(start..start + 1, message));
            return false;
        }
        if self.open.len() >= NESTING_MAX {
            let message = format!("elements nest more than {NESTING_MAX} deep");
            self.problems
                .push(Problem::error(start..start + 1, message));
            return false;
        }
        let inner = source.strip_prefix('<').unwrap_or(source);
        let inner = inner.strip_suffix('>').unwrap_or(inner);
        let inner = match is_empty {
            true => inner.strip_suffix('/').unwrap_or(inner),
            false => inner,
        };
        let is_end = |c: char| c.is_whitespace();
        let length = inner.find(is_end).unwrap_or(inner.len());
        let (name, attributes) = inner.split_at_checked(length).unwrap_or((inner, ""));
        let at = start.saturating_add(1);
        let span = start..at.saturating_add(length);
        let known = self.problems.len();
        let element = Element {
            name,
            attributes: attributes_of(attributes, span.end, self.problems),
            span,
            children: Vec::new(),
            text: Vec::new(),
            is_whole: self.problems.len() == known,
        };
        match is_empty {
            true => self.add(element),
            false => self.open.push(element),
        }
        true
    }

    fn add(&mut self, element: Element<'t>) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.roots.push(element),
        }
    }

    fn end(&mut self, source: &str, span: Range<usize>) {
        let name = source.trim_start_matches("</").trim_end_matches('>').trim();
        let Some(depth) = self.open.iter().rposition(|open| open.name == name) else {
            let problem = Problem::error(span, format!("`</{name}>` closes nothing"));
            let expected = match self.open.last() {
                Some(open) => format!("expected `</{}>`", open.name),
                None => String::new(),
            };
            self.problems.push(problem.expected(expected));
            return;
        };
        while self.open.len() > depth {
            let Some(mut element) = self.open.pop() else {
                return;
            };
            if self.open.len() > depth {
                element.is_whole = false;
                if let Some(parent) = self.open.last_mut() {
                    parent.is_whole = false;
                }
                let message = format!("`<{}>` is not closed before `</{name}>`", element.name);
                let problem = Problem::error(element.span.clone(), message);
                let expected = format!("expected a `</{}>` for it", element.name);
                self.problems.push(problem.expected(expected));
            }
            self.add(element);
        }
    }

    fn content(&mut self, source: &'t str, span: Range<usize>) {
        if source.trim().is_empty() {
            return;
        }
        match self.open.last_mut() {
            Some(open) => open.text.push(source),
            None => {
                let skipped = source.len() - source.trim_start().len();
                let start = span.start.saturating_add(skipped);
                let problem = Problem::error(start..span.end, "text outside of any element");
                self.problems
                    .push(problem.expected("expected `<beginning>`"));
            }
        }
    }

    fn finish(mut self) -> Vec<Element<'t>> {
        while let Some(mut element) = self.open.pop() {
            element.is_whole = false;
            let message = format!("`<{}>` is never closed", element.name);
            let problem = Problem::error(element.span.clone(), message);
            let expected = format!("expected a `</{}>` for it", element.name);
            self.problems.push(problem.expected(expected));
            self.add(element);
        }
        self.roots
    }
}

/// The attributes in the rest of a start tag, which stands at `base` in the file.
fn attributes_of<'t>(
    source: &'t str,
    base: usize,
    problems: &mut Vec<Problem>,
) -> Vec<Attribute<'t>> {
    let mut found: Vec<Attribute<'t>> = Vec::new();
    let mut rest = source;
    loop {
        let trimmed = rest.trim_start();
        let at = base.saturating_add(source.len() - trimmed.len());
        if trimmed.is_empty() {
            return found;
        }
        if found.len() >= ATTRIBUTES_MAX {
            let message = format!("an element has at most {ATTRIBUTES_MAX} attributes");
            problems.push(Problem::error(at..at + 1, message));
            return found;
        }
        if trimmed.len() == rest.len() && !found.is_empty() {
            let problem = Problem::error(at..at + 1, "two attributes stand together");
            problems.push(problem.expected("expected a blank before this"));
        }
        let (attribute, behind) = match attribute(trimmed, at, problems) {
            Ok(read) => read,
            Err(problem) => {
                problems.push(problem);
                return found;
            }
        };
        rest = behind;
        if found.iter().any(|other| other.name == attribute.name) {
            let message = format!("`{}` is given twice", attribute.name);
            problems.push(Problem::error(attribute.name_span.clone(), message));
        }
        found.push(attribute);
    }
}

/// One attribute at the start of `source`, which stands at `at` in the file, and what is behind it.
fn attribute<'t>(
    source: &'t str,
    at: usize,
    problems: &mut Vec<Problem>,
) -> Result<(Attribute<'t>, &'t str), Problem> {
    let is_end = |c: char| c.is_whitespace() || c == '=' || c == '"' || c == '\'';
    let length = source.find(is_end).unwrap_or(source.len());
    let (name, behind) = source.split_at_checked(length).unwrap_or((source, ""));
    let name_span = at..at.saturating_add(length.max(1));
    if name.is_empty() {
        return Err(Problem::error(name_span, "this is no attribute").expected("expected a name"));
    }
    let offset = |rest: &str| at.saturating_add(source.len() - rest.len());
    let behind = behind.trim_start();
    let Some(behind) = behind.strip_prefix('=') else {
        let place = offset(behind);
        let problem = Problem::error(name_span, format!("attribute `{name}` has no value"));
        return Err(match behind.is_empty() {
            true => problem.expected("expected `=\"...\"` behind this"),
            false => Problem {
                span: place..place.saturating_add(1),
                ..problem.expected("expected `=`")
            },
        });
    };
    let behind = behind.trim_start();
    let quoted = behind.strip_prefix('"').map(|rest| ('"', rest));
    let quoted = quoted.or_else(|| behind.strip_prefix('\'').map(|rest| ('\'', rest)));
    let Some((quote, behind)) = quoted else {
        let length = behind.find(char::is_whitespace).unwrap_or(behind.len());
        let (value, rest) = behind.split_at_checked(length).unwrap_or((behind, ""));
        let place = offset(behind);
        let message = format!("the value of `{name}` stands in quotes");
        let problem = Problem::error(place..place.saturating_add(length.max(1)), message);
        problems.push(problem.expected(format!("expected \"{value}\"")));
        let value = unescape(value, place, problems);
        let attribute = Attribute {
            name,
            name_span,
            value,
        };
        return Ok((attribute, rest));
    };
    let start = offset(behind);
    let Some((value, behind)) = behind.split_once(quote) else {
        let message = format!("the value of `{name}` has no end");
        return Err(Problem::error(start..start.saturating_add(1), message));
    };
    let value = unescape(value, start, problems);
    let attribute = Attribute {
        name,
        name_span,
        value,
    };
    Ok((attribute, behind))
}

/// Longest entity: `&#x10FFFF;`, with some leading zeros.
const ENTITY_MAX: usize = 16;

/// Resolve the entities of `source`, which stands at `base` in the file.
fn unescape(source: &str, base: usize, problems: &mut Vec<Problem>) -> Value {
    let mut value = Value {
        text: String::with_capacity(source.len()),
        span: base..base.saturating_add(source.len()),
        anchors: vec![(0, base)],
    };
    let mut rest = source;
    while let Some(length) = rest.find(['&', '<']) {
        let (plain, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        value.text.push_str(plain);
        let at = base.saturating_add(source.len() - behind.len());
        let (character, length) = match entity(behind) {
            Ok(found) => found,
            Err((message, expected)) => {
                let problem = Problem::error(at..at.saturating_add(1), message);
                problems.push(problem.expected(expected));
                // The next sign of `&&` would only be told again.
                if behind.starts_with("&&") {
                    value.text.push('&');
                    value.anchors.push((value.text.len(), at + 1));
                    ('&', 2)
                } else {
                    (behind.chars().next().unwrap_or(' '), 1)
                }
            }
        };
        value.text.push(character);
        value
            .anchors
            .push((value.text.len(), at.saturating_add(length)));
        rest = behind.get(length..).unwrap_or_default();
    }
    value.text.push_str(rest);
    value
}

/// The entity at the start of `source` and its length, or what is wrong with it and what was
/// expected.
fn entity(source: &str) -> Result<(char, usize), (String, &'static str)> {
    if source.starts_with('<') {
        let message = "`<` starts a tag, also between quotes".to_owned();
        return Err((message, "expected `&lt;`"));
    }
    let end = source
        .bytes()
        .take(ENTITY_MAX)
        .position(|byte| byte == b';');
    let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'#');
    let name = end.and_then(|end| source.get(1..end)).filter(is_name);
    let Some((name, end)) = name.zip(end) else {
        let message = "`&` starts an entity, also between quotes".to_owned();
        return Err((message, "expected `&amp;`"));
    };
    let character = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => numeric(name),
    };
    match character {
        Some(character) => Ok((character, end + 1)),
        None => Err((
            format!("unknown entity `&{name};`"),
            "expected one of &amp; &lt; &gt; &quot; &apos; or a number like &#10;",
        )),
    }
}

/// `#10` or `#xA`, as a character that XML allows.
fn numeric(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let number = match digits.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let is_allowed = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    char::from_u32(number.ok()?).filter(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (Vec<Element<'_>>, Vec<String>) {
        let mut problems = Vec::new();
        let found = read(text, &mut problems);
        let problems = problems
            .into_iter()
            .map(|p| format!("{}: {} {}", p.span.start, p.message, p.expected))
            .collect();
        (found, problems)
    }

    #[test]
    fn a_tree_knows_its_places() {
        let text = "<?xml version='1.0'?>\n<!-- c --><a x = \"1\"\n y='&lt;2'><b/>text<c>\
                    <![CDATA[ f(<) ]]></c></a>";
        let (found, problems) = tree(text);
        assert!(problems.is_empty(), "{problems:?}");
        let a = &found[0];
        assert_eq!(&text[a.span.clone()], "<a");
        assert_eq!((a.name, a.children.len(), a.attributes.len()), ("a", 2, 2));
        assert_eq!(&text[a.attributes[1].name_span.clone()], "y");
        assert_eq!(a.attributes[1].value.text, "<2");
        assert_eq!(&text[a.attributes[1].value.span.clone()], "&lt;2");
        assert_eq!(a.text, ["text"]);
        assert_eq!(a.children[1].text, [" f(<) "]);
    }

    #[test]
    fn places_in_a_value_lead_through_entities() {
        let text = "<a x='p &amp;&amp; q&#10;r &lt; s'/>";
        let (found, _) = tree(text);
        let value = &found[0].attributes[0].value;
        assert_eq!(value.text, "p && q\nr < s");
        let source = |span: Range<usize>| text.get(value.place(&span)).unwrap();
        assert_eq!(source(0..1), "p");
        assert_eq!(source(2..4), "&amp;&amp;");
        assert_eq!(source(5..6), "q");
        assert_eq!(source(7..8), "r");
        assert_eq!(source(9..10), "&lt;");
        assert_eq!(source(11..12), "s");
        assert_eq!(source(12..13), "'");
        assert_eq!(source(50..60), "/");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, expected) in [
            ("<a></b></a>", "3: `</b>` closes nothing expected `</a>`"),
            (
                "<a><b></a>",
                "3: `<b>` is not closed before `</a>` expected a `</b>` for it",
            ),
            ("<a>", "0: `<a>` is never closed expected a `</a>` for it"),
            (
                "<a x/>",
                "3: attribute `x` has no value expected `=\"...\"` behind this",
            ),
            ("<a x y='1'/>", "5: attribute `x` has no value expected `=`"),
            (
                "<a x=1/>",
                "5: the value of `x` stands in quotes expected \"1\"",
            ),
            (
                "<a x='1'y='2'/>",
                "8: two attributes stand together expected a blank before this",
            ),
            ("<a x='1' x='2'/>", "9: `x` is given twice "),
            (
                "<a x='a&&amp;'/>",
                "7: `&` starts an entity, also between quotes expected `&amp;`",
            ),
            (
                "<a x='a<b'/>",
                "7: `<` starts a tag, also between quotes expected `&lt;`",
            ),
            (
                "text<a/>",
                "0: text outside of any element expected `<beginning>`",
            ),
            (
                "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
                "0: document types are not read ",
            ),
        ] {
            let (_, problems) = tree(text);
            assert_eq!(problems, [expected], "{text}");
        }
        let (_, problems) = tree("<a x='&nbsp;'/>");
        assert!(problems[0].contains("unknown entity `&nbsp;`"));
        assert!(!tree("<a x='&#0;'/>").1.is_empty());
    }

    #[test]
    fn reading_goes_on_behind_what_is_broken() {
        let (found, problems) = tree("<beginning><property a='></property><property/></beginning>");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(found[0].children.len(), 1);
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert!(!tree(&"<a>".repeat(100_000)).1.is_empty());
        assert!(!tree(&"<property '".repeat(10_000)).1.is_empty());
        assert!(tree(&"<a/>".repeat(ELEMENTS_MAX + 1)).1.len() == 1);
    }
}
