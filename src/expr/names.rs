//! Names to protocols and attributes, and what was probably meant when there is none.

use super::Span;
use crate::diagnostic::Problem;
use crate::dissect::Protocol;
use crate::dissect::attribute::AttributeId;

/// Longest name that is compared with known ones; the time goes with the product of both lengths.
const NAME_MAX: usize = 64;

/// Names offered in place of an unknown one.
const OFFERED_MAX: usize = 3;

/// The known names that are most like `name`, at most three, best first.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Vec<&'k str> {
    if name.chars().count() > NAME_MAX {
        return Vec::new();
    }
    let length = name.chars().count();
    let within = (length / 3).max(1);
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        // Names of very different length are far apart without being compared.
        .filter(|other| other.chars().count().abs_diff(length) <= within)
        .map(|other| (distance(name, other), other))
        .filter(|(distance, other)| *distance <= within && *distance < other.chars().count())
        .collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(OFFERED_MAX);
    found.into_iter().map(|(_, other)| other).collect()
}

/// ``did you mean `a` or `b`?``, or nothing.
pub(crate) fn did_you_mean(offered: &[&str]) -> String {
    if offered.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = offered.iter().map(|name| format!("`{name}`")).collect();
    format!("did you mean {}?", quoted.join(" or "))
}

/// Characters to insert, delete, replace or swap with a neighbour; letter case counts as nothing.
fn distance(one: &str, other: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        let lower = text.chars().map(|c| c.to_ascii_lowercase());
        lower.take(NAME_MAX + 1).collect()
    };
    let (one, other) = (fold(one), fold(other));
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    for (i, a) in one.iter().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for (j, b) in other.iter().enumerate() {
            let replaced = at(&row, j) + usize::from(a != b);
            let least = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped =
                i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a);
            next.push(match swapped {
                true => least.min(at(&before, j - 1) + 1),
                false => least,
            });
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

/// A word of an expression with its names looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Attribute(AttributeId, Option<u8>),
    Protocol(Protocol),
    Truth(bool),
}

/// Look up `proto.att`, `proto.att.N`, `proto`, `true` or `false`. `event` is as in
/// [`super::Context::event`]. The second part of the answer is a warning.
pub(super) fn resolve(
    word: &str,
    span: &Span,
    event: Option<(u8, u8)>,
) -> Result<(Name, Option<Problem>), Problem> {
    match word {
        "true" => return Ok((Name::Truth(true), None)),
        "false" => return Ok((Name::Truth(false), None)),
        _ => {}
    }
    let mut parts = word.split('.');
    let protocol_name = parts.next().unwrap_or_default();
    let protocol = protocol(protocol_name, word, span)?;
    let Some(attribute_name) = parts.next() else {
        return Ok((Name::Protocol(protocol), None));
    };
    let start = span.start.saturating_add(protocol_name.len() + 1);
    let place = start..start.saturating_add(attribute_name.len()).max(start + 1);
    let attribute = AttributeId::find(protocol, attribute_name)
        .ok_or_else(|| unknown_attribute(protocol, attribute_name, place.clone()))?;
    let place = place.end.saturating_add(1)..span.end.max(place.end + 2);
    let (number, more) = (parts.next(), parts.next());
    if more.is_some() {
        let problem = Problem::error(
            place,
            "an attribute has two names and at most an event number",
        );
        return Err(problem.expected("expected proto.att or proto.att.N"));
    }
    let Some(number) = number else {
        return Ok((Name::Attribute(attribute, None), None));
    };
    let (number, warning) = event_number(number, place, event)?;
    Ok((Name::Attribute(attribute, Some(number)), warning))
}

fn protocol(name: &str, word: &str, span: &Span) -> Result<Protocol, Problem> {
    Protocol::from_name(name).ok_or_else(|| {
        let place = span.start..span.start.saturating_add(name.len()).max(span.start + 1);
        let known = Protocol::ALL.iter().map(|protocol| protocol.name());
        let mut offered = nearest(name, known);
        if offered.is_empty() && matches!(name, "ip4" | "ipv4") {
            offered.push("ip");
        }
        let help = match offered.is_empty() {
            true => "`wirelynx protocols` lists all".to_owned(),
            false => did_you_mean(&offered),
        };
        let message = match word == name {
            true => format!("unknown protocol `{name}`"),
            false => format!("unknown attribute `{word}`: no protocol is called `{name}`"),
        };
        let problem = Problem::error(place, message);
        problem.expected("expected a protocol").help(help)
    })
}

/// Protocols named when only they have an attribute of the name that was asked for.
const OWNERS_MAX: usize = 4;

fn unknown_attribute(protocol: Protocol, name: &str, place: Span) -> Problem {
    let known = AttributeId::all_of(protocol).filter_map(|id| id.attribute());
    let offered = nearest(name, known.map(|attribute| attribute.name));
    let protocol_name = protocol.name();
    let others = Protocol::ALL.iter().filter(|other| **other != protocol);
    let owners = others.filter(|other| {
        let own = other.definition().attributes.iter();
        own.map(|attribute| attribute.name)
            .any(|other| other == name)
    });
    let owners: Vec<String> = owners
        .map(|owner| format!("`{}.{name}`", owner.name()))
        .take(OWNERS_MAX)
        .collect();
    let offered: Vec<String> = offered
        .iter()
        .map(|name| format!("{protocol_name}.{name}"))
        .collect();
    let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
    let help = if !offered.is_empty() {
        did_you_mean(&offered)
    } else if !owners.is_empty() {
        format!("there is {}", owners.join(", "))
    } else {
        format!("`wirelynx protocols {protocol_name}` lists its attributes")
    };
    let problem = Problem::error(place, format!("unknown attribute `{protocol_name}.{name}`"));
    let expected = format!("expected an attribute of `{protocol_name}`");
    problem.expected(expected).help(help)
}

fn event_number(
    text: &str,
    place: Span,
    event: Option<(u8, u8)>,
) -> Result<(u8, Option<Problem>), Problem> {
    let Some((current, count)) = event else {
        let problem = Problem::error(place, "there are no events here to refer to");
        return Err(problem.help("an attribute is written proto.att"));
    };
    let number = text.parse().unwrap_or(0);
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits || number == 0 || number > count {
        let problem = Problem::error(place, format!("there is no event `{text}`"));
        let expected = match count {
            1 => "the only event is 1".to_owned(),
            _ => format!("expected 1 to {count}"),
        };
        return Err(problem.expected(expected));
    }
    let warning = (number == current).then(|| {
        let message = format!("event {number} refers to itself, so this value is always absent");
        Problem::warning(place, message).help("leave the number away")
    });
    Ok((number, warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let known = ["src_port", "dest_port", "len", "checksum"];
        assert_eq!(nearest("src_prot", known), ["src_port"]);
        assert_eq!(nearest("dst_port", known), ["dest_port"]);
        assert_eq!(nearest("LEN", known), ["len"]);
        assert!(nearest("x", known).is_empty());
        assert!(nearest(&"x".repeat(100), known).is_empty());
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn words_are_looked_up() {
        let src = AttributeId::from_names("ethernet", "src").unwrap();
        let found = |word, event| resolve(word, &(0..20), event);
        assert_eq!(
            found("ethernet.src", None).unwrap().0,
            Name::Attribute(src, None)
        );
        let (name, warning) = found("ethernet.src.1", Some((2, 2))).unwrap();
        assert_eq!(name, Name::Attribute(src, Some(1)));
        assert!(warning.is_none());
        assert!(found("ethernet.src.2", Some((2, 2))).unwrap().1.is_some());
        for word in [
            "ethernet.src.3",
            "ethernet.src.0",
            "ethernet.src.x",
            "ethernet.src.",
        ] {
            assert!(found(word, Some((2, 2))).is_err(), "{word}");
        }
        assert!(found("ethernet.src.1", None).is_err());
        assert!(found("ethernet.src.1.1", Some((2, 2))).is_err());
        assert!(found("ethernet.", Some((2, 2))).is_err());
        assert_eq!(found("true", None).unwrap().0, Name::Truth(true));
    }

    #[test]
    fn unknown_names_get_an_offer() {
        let help = |word| resolve(word, &(0..9), None).unwrap_err().help;
        assert_eq!(help("ethernt.src"), "did you mean `ethernet`?");
        assert_eq!(help("udp.destport"), "did you mean `udp.dest_port`?");
        assert!(help("ethernet.checksum").starts_with("there is `"));
    }
}
