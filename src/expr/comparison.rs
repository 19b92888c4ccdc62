//! Comparisons: what can be compared, and what a comparison never says.

use super::address::{Address, mac};
use super::check::{Check, Kind, Typed, name};
use super::{Mode, Node, Operator, Span};
use crate::diagnostic::Problem;
use crate::dissect::attribute::{AttributeId, Extract, Field, Type};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

impl Check<'_, '_> {
    /// A chain of comparisons, which only compat mode has, compares each result with the next
    /// value.
    pub(super) fn comparison(&mut self, operator: Operator, operands: &mut [Typed]) {
        let mut rest = operands.iter_mut();
        let Some(mut left) = rest.next() else {
            return;
        };
        let mut result = Typed {
            expr: left.expr.clone(),
            kind: Kind::Number,
        };
        for right in rest {
            if matches!(operator, Operator::Equal | Operator::NotEqual) {
                self.equality(left, right);
            } else {
                self.number(operator, left);
                self.number(operator, right);
                self.order(operator, left, right);
            }
            result.expr.span.end = right.expr.span.end;
            left = &mut result;
        }
    }
    fn equality(&mut self, left: &mut Typed, right: &mut Typed) {
        match (left.kind, right.kind) {
            (Kind::Address(kind), Kind::Quoted(true)) => self.address(kind, right),
            (Kind::Quoted(true), Kind::Address(kind)) => self.address(kind, left),
            (Kind::Network(_), other) if !matches!(other, Kind::Address(_)) => {
                self.prefix(left, right);
            }
            (other, Kind::Network(_)) if !matches!(other, Kind::Address(_)) => {
                self.prefix(right, left);
            }
            (Kind::Number, Kind::Literal(number)) => self.range(left, number, &right.expr.span),
            (Kind::Literal(number), Kind::Number) => self.range(right, number, &left.expr.span),
            (one, other) if !can_equal(one, other) => {
                let (one, other) = (name(one), name(other));
                let span = left.expr.span.start..right.expr.span.end;
                let message = format!("{one} never equals {other}");
                let problem = Problem::error(span, message);
                let help = numeric_text(self.text, left, right);
                self.mismatch(problem.help(help));
            }
            _ => {}
        }
    }

    /// An address written as text: its bytes in standard mode. MMT's engine compares the text with
    /// the bytes of the address, which are never equal.
    fn address(&mut self, kind: Type, literal: &mut Typed) {
        let Node::Text(text) = &mut literal.expr.node else {
            return;
        };
        let span = literal.expr.span.clone();
        if self.mode == Mode::Compat {
            let problem =
                Problem::warning(span, "MMT compares an address with text as never equal");
            self.problems
                .push(problem.help("standard mode compares it with this address"));
            return;
        }
        if let Some(bytes) = address_bytes(kind, text) {
            *text = bytes;
            return;
        }
        let shown = String::from_utf8_lossy(text).into_owned();
        let what = address_name(kind);
        let parsed = Address::parse(shown.trim());
        let (message, expected) = match parsed {
            Ok(Address::Network(network)) if network.kind() == kind => {
                literal.expr.node = Node::Network(network);
                literal.kind = Kind::Network(kind);
                return;
            }
            Err(invalid) if shown.contains('/') => (invalid.message, invalid.expected),
            _ => (
                format!("`{shown}` is not {what}"),
                format!("expected {what} like {}", address_example(kind)),
            ),
        };
        self.problems
            .push(Problem::error(span, message).expected(expected));
    }

    /// A prefix beside something that is no address of a packet.
    fn prefix(&mut self, prefix: &Typed, other: &Typed) {
        if other.kind == Kind::Broken {
            return;
        }
        let what = name(prefix.kind);
        let message = format!(
            "{what} is compared with an address of the packet, not {}",
            name(other.kind)
        );
        let problem = Problem::error(other.expr.span.clone(), message);
        let expected = match prefix.kind {
            Kind::Network(Type::Ip6Addr) => "expected an attribute like ipv6.src",
            _ => "expected an attribute like ip.src",
        };
        self.problems.push(problem.expected(expected));
    }

    /// A number that the attribute cannot hold.
    fn range(&mut self, operand: &Typed, number: i128, span: &Span) {
        let Some((id, range)) = numbers_of(operand) else {
            return;
        };
        if !range.contains(&number) {
            let message = format!("`{id}` is never {number}");
            let problem = Problem::warning(span.clone(), message);
            let expected = match number < 0 {
                true => "expected at least 0".to_owned(),
                false => format!("expected at most {}", range.end()),
            };
            self.problems.push(problem.expected(expected));
        }
    }

    /// An order that no number of the attribute has to this one.
    fn order(&mut self, operator: Operator, left: &Typed, right: &Typed) {
        let (operand, operator, number, span) = match (left.kind, right.kind) {
            (Kind::Number, Kind::Literal(number)) => (left, operator, number, &right.expr.span),
            (Kind::Literal(number), Kind::Number) => {
                (right, operator.mirrored(), number, &left.expr.span)
            }
            _ => return,
        };
        let Some((id, range)) = numbers_of(operand) else {
            return;
        };
        let words = match operator {
            Operator::Greater if number >= *range.end() => "above",
            Operator::GreaterEqual if number > *range.end() => "at least",
            Operator::Less if number <= *range.start() => "below",
            Operator::LessEqual if number < *range.start() => "at most",
            _ => return,
        };
        let problem = Problem::warning(span.clone(), format!("`{id}` is never {words} {number}"));
        let expected = format!("it is from {} to {}", range.start(), range.end());
        self.problems.push(problem.expected(expected));
    }
}

/// The attribute that an operand is, and the numbers that it can have.
fn numbers_of(operand: &Typed) -> Option<(AttributeId, RangeInclusive<i128>)> {
    match &operand.expr.node {
        // A fraction may be negative.
        Node::Attribute(id, _) if id.kind() != Type::Float => {
            Some((*id, 0..=i128::from(largest(*id))))
        }
        _ => None,
    }
}

/// The largest number that an attribute can have.
fn largest(id: AttributeId) -> u64 {
    let of_type = match id.kind() {
        Type::U8 | Type::Char => u64::from(u8::MAX),
        Type::U16 | Type::Port => u64::from(u16::MAX),
        Type::U32 => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    match id.attribute().map(|attribute| attribute.extract) {
        Some(Extract::Field(Field::Bits { mask, .. })) => of_type.min(u64::from(mask)),
        _ => of_type,
    }
}

pub(super) fn written(address: Address) -> (Node, Kind) {
    let kind = address.kind();
    let bytes: Box<[u8]> = match address {
        Address::Mac(bytes) => Box::from(bytes),
        Address::V4(address) => Box::from(address.octets()),
        Address::V6(address) => Box::from(address.octets()),
        Address::Network(network) => return (Node::Network(network), Kind::Network(kind)),
    };
    (Node::Text(bytes), Kind::Written(kind))
}

/// Can two values of these kinds be equal at all?
fn can_equal(one: Kind, other: Kind) -> bool {
    use Kind::{
        Address, Broken, Literal, Network, Number, Opaque, Protocol, Quoted, Text, Written,
    };
    match (one, other) {
        (Broken, _) | (_, Broken) => true,
        (Protocol, _) | (_, Protocol) => false,
        (Number | Literal(_), Number | Literal(_)) => true,
        (Address(one), Address(other) | Written(other) | Network(other))
        | (Written(one) | Network(one), Address(other)) => one == other,
        // Comparing with 0 or with '' asks whether it is there.
        (Address(_) | Text | Opaque(_), Literal(0) | Quoted(false))
        | (Literal(0) | Quoted(false), Address(_) | Text | Opaque(_)) => true,
        (Text | Quoted(_), Text | Quoted(_)) => true,
        (Opaque(one), Opaque(other)) => one == other,
        (Opaque(Type::Pointer), Text | Quoted(_)) | (Text | Quoted(_), Opaque(Type::Pointer)) => {
            true
        }
        _ => false,
    }
}

pub(super) fn address_name(kind: Type) -> &'static str {
    match kind {
        Type::MacAddr => "a MAC address",
        Type::Ip6Addr => "an IPv6 address",
        _ => "an IPv4 address",
    }
}

fn address_example(kind: Type) -> &'static str {
    match kind {
        Type::MacAddr => "02:00:00:00:00:01",
        Type::Ip6Addr => "2001:db8::1 or 2001:db8::/32",
        _ => "192.0.2.1 or 192.0.2.0/24",
    }
}

pub(super) fn address_bytes(kind: Type, text: &[u8]) -> Option<Box<[u8]>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    match kind {
        Type::MacAddr => mac(text).map(Box::from),
        Type::Ip6Addr => Some(Box::from(text.parse::<Ipv6Addr>().ok()?.octets())),
        _ => Some(Box::from(text.parse::<Ipv4Addr>().ok()?.octets())),
    }
}

/// Advice when a number stands in quotes.
fn numeric_text(text: &str, one: &Typed, other: &Typed) -> String {
    let digits = [one, other].into_iter().find_map(|typed| {
        let source = text.get(typed.expr.span.clone())?;
        let inner = source.strip_prefix('\'')?.strip_suffix('\'')?;
        let is_number = !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_digit());
        is_number.then_some(inner)
    });
    digits.map_or_else(String::new, |digits| {
        format!("write {digits} without quotes")
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Context, Expr, read};
    use super::*;
    use crate::diagnostic::Severity;

    fn run(text: &str, mode: Mode) -> (Option<Expr>, Vec<Problem>) {
        let mut problems = Vec::new();
        let found = read(text, mode, Context::event(2, 2, None), &mut problems);
        (found, problems)
    }

    #[test]
    fn addresses_become_bytes_in_standard_mode() {
        let (found, _) = run("('02:00:00:00:00:FF' == ethernet.src)", Mode::Standard);
        let Some(Node::Chain(Operator::Equal, operands)) = found.map(|f| f.node) else {
            panic!("not a chain");
        };
        assert_eq!(
            operands[0].node,
            Node::Text(Box::from([2, 0, 0, 0, 0, 0xff]))
        );
        let (found, problems) = run("(ethernet.src == '02:00:00:00:00:ff')", Mode::Compat);
        assert!(found.is_some() && problems.len() == 1);
        for bad in [
            "'x'",
            "'02:00:00:00:00'",
            "'02:00:00:00:00:00:00'",
            "'02:00:00:00:00:+1'",
        ] {
            let (found, problems) = run(&format!("(ethernet.src == {bad})"), Mode::Standard);
            assert!(found.is_none() && problems.len() == 1, "{bad}");
        }
        for (written, quoted) in [
            (
                "(ethernet.src == 2:0:0:0:0:ff)",
                "(ethernet.src == '02:00:00:00:00:FF')",
            ),
            ("(ip.src != 192.0.2.1)", "(ip.src != '192.0.2.1')"),
            ("(ip.src == 10.0.0.0/8)", "(ip.src == '10.0.0.0/8')"),
            (
                "(2001:db8::/32 == ipv6.src)",
                "('2001:db8::/32' == ipv6.src)",
            ),
            ("(ipv6.dst.1 == ::1)", "(ipv6.dst.1 == '::1')"),
        ] {
            let nodes = |text| {
                let (found, problems) = run(text, Mode::Standard);
                assert!(problems.is_empty(), "{text}: {problems:?}");
                let Some(Node::Chain(_, operands)) = found.map(|f| f.node) else {
                    panic!("not a chain");
                };
                operands
                    .into_iter()
                    .map(|operand| operand.node)
                    .collect::<Vec<_>>()
            };
            assert_eq!(nodes(written), nodes(quoted), "{written}");
        }
        assert_eq!(address_bytes(Type::IpAddr, b"1.2.3.4").unwrap().len(), 4);
        assert_eq!(address_bytes(Type::Ip6Addr, b"::1").unwrap().len(), 16);
        assert!(address_bytes(Type::IpAddr, b"1.2.3.4/8").is_none());
    }

    fn assert_first(text: &str, place: usize, message: &str, help: &str) {
        let (found, problems) = run(text, Mode::Standard);
        assert!(found.is_none(), "{text}");
        let first = problems.first().unwrap();
        assert_eq!(first.message, message);
        assert_eq!(
            (first.span.start, first.help.as_str()),
            (place, help),
            "{text}"
        );
    }

    #[test]
    fn addresses_and_prefixes_have_their_places() {
        for (text, place, message, help) in [
            (
                "(ip.src == 10.0.0.1/8)",
                11,
                "there are bits behind the first 8",
                "",
            ),
            (
                "(ip.src == '10.0.0.1/8')",
                11,
                "there are bits behind the first 8",
                "",
            ),
            (
                "(ip.src == 10.0.0.0/33)",
                11,
                "`/33` is no length of a prefix here",
                "",
            ),
            (
                "(ip.src < 10.0.0.0/8)",
                1,
                "`<` takes numbers, and this is an IPv4 address",
                "",
            ),
            (
                "((udp.len + 10.0.0.0/8) == 5)",
                12,
                "`+` takes numbers, and this is an IPv4 prefix",
                "a prefix stands beside `==` or `!=`",
            ),
            (
                "(5 > (10.0.0.0 / 8))",
                6,
                "`/` takes numbers, and this is an IPv4 address",
                "a prefix has no blanks around its `/`",
            ),
            (
                "(udp.len == 10.0.0.0/8)",
                1,
                "an IPv4 prefix is compared with an address of the packet, not a number",
                "",
            ),
            (
                "(10.0.0.0/8 == 10.0.0.1)",
                15,
                "an IPv4 prefix is compared with an address of the packet, not an IPv4 address",
                "",
            ),
        ] {
            assert_first(text, place, message, help);
        }
    }

    #[test]
    fn addresses_of_different_kinds_are_never_equal() {
        for (text, place, message) in [
            (
                "(ip.src == ::1)",
                1,
                "an IPv4 address never equals an IPv6 address",
            ),
            (
                "(ipv6.src == 10.0.0.0/8)",
                1,
                "an IPv6 address never equals an IPv4 prefix",
            ),
            (
                "(ethernet.src == 1.2.3.4)",
                1,
                "a MAC address never equals an IPv4 address",
            ),
            (
                "(udp.len == 1.2.3.4)",
                1,
                "a number never equals an IPv4 address",
            ),
            ("10.0.0.0/8", 0, "an IPv4 prefix does not say yes or no"),
            (
                "#strlen(10.0.0.1)",
                8,
                "`strlen` takes bytes here, not an IPv4 address",
            ),
        ] {
            assert_first(text, place, message, "");
        }
        let (_, problems) = run("(#is_same_ipv4(ip.src, 10.0.0.1) == true)", Mode::Standard);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn numbers_that_do_not_fit_are_warned_about() {
        let (found, problems) = run("(udp.len == 65536)", Mode::Standard);
        assert!(found.is_some());
        assert_eq!(problems[0].severity, Severity::Warning);
        assert!(run("(udp.len == 65535)", Mode::Standard).1.is_empty());
        for (text, message) in [
            ("(udp.len > 65535)", "`udp.len` is never above 65535"),
            ("(65536 <= udp.len)", "`udp.len` is never at least 65536"),
            ("(udp.len < 0)", "`udp.len` is never below 0"),
            ("(udp.len == -1)", "`udp.len` is never -1"),
            ("(-1 >= udp.len)", "`udp.len` is never at most -1"),
            ("(ip.mf_flag == 2)", "`ip.mf_flag` is never 2"),
        ] {
            let (found, problems) = run(text, Mode::Standard);
            assert!(
                found.is_some() && problems.len() == 1,
                "{text}: {problems:?}"
            );
            assert_eq!(problems[0].message, message);
            assert_eq!(problems[0].severity, Severity::Warning);
        }
        for text in ["(udp.len > 65534)", "(0 <= udp.len)", "(udp.len < 70000)"] {
            assert!(run(text, Mode::Standard).1.is_empty(), "{text}");
        }
    }
}
