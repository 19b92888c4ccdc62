//! Names and types: a parsed text to an [`Expr`] that can be evaluated.
//!
//! What cannot mean anything is an error in standard mode. MMT's engine accepts most of it, so
//! compat mode only warns and keeps it as it is.

use super::address::{Address, mac};
use super::names::{self, Name};
use super::parse::{Shape, Syntax};
use super::{Context, Expr, Mode, Node, Operator, Span};
use crate::diagnostic::{Problem, Severity};
use crate::dissect::attribute::{AttributeId, Class, Extract, Field, Type};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// Resolve and type-check. `None` when `problems` has an error.
pub(super) fn check(
    syntax: Syntax<'_>,
    text: &str,
    mode: Mode,
    context: Context<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Expr> {
    let mut check = Check {
        text,
        mode,
        context,
        problems,
    };
    let found = check.expression(syntax, Place::Value);
    check.condition(&found);
    let is_error = |problem: &Problem| problem.severity == Severity::Error;
    let is_sound = found.kind != Kind::Broken && !problems.iter().any(is_error);
    is_sound.then_some(found.expr)
}

/// Problems among which a name is looked for before it is reported again.
const REMEMBERED_MAX: usize = 100;

pub(super) struct Check<'t, 'p> {
    text: &'t str,
    mode: Mode,
    pub(super) context: Context<'t>,
    pub(super) problems: &'p mut Vec<Problem>,
}

/// What a part of an expression stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number that is computed, read from a packet, or true or false.
    Number,
    /// A number as written.
    Literal(i128),
    /// An attribute that holds an address.
    Address(Type),
    /// An attribute that holds text.
    Text,
    /// `'text'`, and whether there is something between the quotes.
    Quoted(bool),
    /// An address without quotes.
    Written(Type),
    /// A prefix.
    Network(Type),
    /// An attribute of a type that expressions know nothing of.
    Opaque(Type),
    /// A protocol by itself.
    Protocol,
    /// Reported already.
    Broken,
}

pub(super) struct Typed {
    pub(super) expr: Expr,
    pub(super) kind: Kind,
}

/// Where an expression stands: only functions take protocols.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Value,
    Argument,
}

impl Check<'_, '_> {
    /// Something that MMT's engine accepts.
    pub(super) fn mismatch(&mut self, problem: Problem) {
        let severity = match self.mode {
            Mode::Standard => Severity::Error,
            Mode::Compat => Severity::Warning,
        };
        self.problems.push(Problem {
            severity,
            ..problem
        });
    }

    pub(super) fn expression(&mut self, syntax: Syntax<'_>, place: Place) -> Typed {
        let span = syntax.span;
        let (node, kind) = match syntax.node {
            Shape::Number(number) => (Node::Number(number), Kind::Literal(number)),
            Shape::Text(text) => {
                let kind = Kind::Quoted(!text.is_empty());
                (Node::Text(text), kind)
            }
            Shape::Address(address) => written(address),
            Shape::Word(word) => self.word(word, &span, place),
            Shape::Call(name, at, arguments) => self.call(name, &at, &span, arguments),
            Shape::Chain(operator, operands) => self.chain(operator, operands),
            Shape::Broken => (Node::Number(0), Kind::Broken),
        };
        Typed {
            expr: Expr { node, span },
            kind,
        }
    }

    fn word(&mut self, word: &str, span: &Span, place: Place) -> (Node, Kind) {
        let (name, warning) = match names::resolve(word, span, self.context.event) {
            Ok(found) => found,
            Err(problem) => {
                // The same name again needs no second explanation.
                let mut latest = self.problems.iter().rev().take(REMEMBERED_MAX);
                if !latest.any(|known| known.message == problem.message) {
                    self.problems.push(problem);
                }
                return (Node::Number(0), Kind::Broken);
            }
        };
        self.problems.extend(warning);
        match name {
            Name::Attribute(id, event) => (Node::Attribute(id, event), self.kind_of(id)),
            Name::Truth(truth) => {
                let number = i128::from(truth);
                (Node::Number(number), Kind::Literal(number))
            }
            Name::Protocol(protocol) if place == Place::Argument => {
                (Node::Protocol(protocol), Kind::Protocol)
            }
            Name::Protocol(protocol) => {
                let name = protocol.name();
                let message = format!("`{name}` is a protocol, which has no value");
                let problem = Problem::error(span.clone(), message);
                let expected = format!("expected an attribute: {name}.something");
                let help = format!("`#is_exist({name})` asks whether a packet has it");
                self.problems.push(problem.expected(expected).help(help));
                (Node::Number(0), Kind::Broken)
            }
        }
    }

    fn kind_of(&self, id: AttributeId) -> Kind {
        let kind = id.kind();
        match (kind, kind.class()) {
            (Type::MacAddr | Type::IpAddr | Type::Ip6Addr, _) => Kind::Address(kind),
            // A time is a number; MMT's engine takes it for a pointer.
            (Type::Timeval, _) if self.mode == Mode::Standard => Kind::Number,
            (_, Class::Numeric) => Kind::Number,
            (_, Class::Text) => Kind::Text,
            (_, Class::Other) => Kind::Opaque(kind),
        }
    }

    // Operators

    fn chain(&mut self, operator: Operator, operands: Vec<Syntax<'_>>) -> (Node, Kind) {
        let operands = operands.into_iter();
        let mut typed: Vec<Typed> = operands.map(|o| self.expression(o, Place::Value)).collect();
        if operator.is_comparison() {
            self.comparison(operator, &mut typed);
        } else {
            for operand in &typed {
                match operator.is_arithmetic() {
                    true => self.number(operator, operand),
                    false => self.condition(operand),
                }
            }
            if operator == Operator::Divide {
                self.divisors(&typed);
            }
        }
        let is_broken = typed.iter().any(|operand| operand.kind == Kind::Broken);
        let kind = if is_broken {
            Kind::Broken
        } else {
            Kind::Number
        };
        let operands = typed.into_iter().map(|operand| operand.expr).collect();
        (Node::Chain(operator, operands), kind)
    }

    /// A chain of comparisons, which only compat mode has, compares each result with the next
    /// value.
    fn comparison(&mut self, operator: Operator, operands: &mut [Typed]) {
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

    fn number(&mut self, operator: Operator, operand: &Typed) {
        let message = match operand.kind {
            Kind::Number | Kind::Literal(_) | Kind::Broken => return,
            kind => format!(
                "`{}` takes numbers, and this is {}",
                operator.sign(),
                name(kind)
            ),
        };
        let help = match (operand.kind, operator) {
            (Kind::Written(_), Operator::Divide) => "a prefix has no blanks around its `/`",
            (Kind::Network(_), _) => "a prefix stands beside `==` or `!=`",
            _ => "",
        };
        let problem = Problem::error(operand.expr.span.clone(), message);
        self.mismatch(problem.expected("expected a number").help(help));
    }

    /// Something that holds or not: a number, of which 0 means no.
    fn condition(&mut self, operand: &Typed) {
        let help = match operand.kind {
            Kind::Number | Kind::Literal(_) | Kind::Broken => return,
            Kind::Text | Kind::Opaque(_) => "compare it with '' to ask whether it is there",
            Kind::Address(_) => "compare it with 0 to ask whether it is there",
            _ => "",
        };
        let message = format!("{} does not say yes or no", name(operand.kind));
        let problem = Problem::error(operand.expr.span.clone(), message);
        self.mismatch(problem.expected("expected a comparison").help(help));
    }

    fn divisors(&mut self, operands: &[Typed]) {
        for operand in operands.iter().skip(1) {
            if operand.kind == Kind::Literal(0) {
                let problem = Problem::error(operand.expr.span.clone(), "division by 0");
                self.mismatch(problem);
            }
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

fn written(address: Address) -> (Node, Kind) {
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

/// A kind in words.
pub(super) fn name(kind: Kind) -> String {
    match kind {
        Kind::Number | Kind::Literal(_) | Kind::Broken => "a number".to_owned(),
        Kind::Address(kind) | Kind::Written(kind) => address_name(kind).to_owned(),
        Kind::Network(Type::Ip6Addr) => "an IPv6 prefix".to_owned(),
        Kind::Network(_) => "an IPv4 prefix".to_owned(),
        Kind::Text | Kind::Quoted(_) => "text".to_owned(),
        Kind::Opaque(kind) => format!("a value of type {}", kind.name()),
        Kind::Protocol => "a protocol".to_owned(),
    }
}

fn address_name(kind: Type) -> &'static str {
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
        Type::MacAddr => mac(text).map(|bytes| Box::from(bytes)),
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
    use super::super::functions::lists::Lists;
    use super::super::{Context, read};
    use super::*;

    fn run(text: &str, mode: Mode) -> (Option<Expr>, Vec<Problem>) {
        let mut problems = Vec::new();
        let found = read(text, mode, Context::event(2, 2, None), &mut problems);
        (found, problems)
    }

    #[test]
    fn sound_expressions_pass_in_both_modes() {
        for text in [
            "(udp.src_port == udp.src_port.1)",
            "(ethernet.src != ethernet.dst)",
            "(ethernet.src != 0)",
            "(ethernet.src != '')",
            "(udp.p_payload != '')",
            "((udp.len - 8) > 5)",
            "(#is_exist(udp.len) == false)",
            "#is_exist(udp)",
            "#is_null(udp)",
            "(#strlen(udp.p_payload) > 256)",
            "(#em_check_max_proto_len(meta.proto_hierarchy) == 1)",
            "(#em_5g_check_msg_throughput(meta.utime) == true)",
            "udp.len",
            "true",
        ] {
            for mode in [Mode::Standard, Mode::Compat] {
                let (found, problems) = run(text, mode);
                assert!(
                    found.is_some() && problems.is_empty(),
                    "{text}: {problems:?}"
                );
            }
        }
    }

    #[test]
    fn types_are_errors_in_standard_and_warnings_in_compat_mode() {
        for (text, message, help) in [
            (
                "(udp.len == '5')",
                "a number never equals text",
                "write 5 without quotes",
            ),
            (
                "(ethernet.src > 5)",
                "`>` takes numbers, and this is a MAC address",
                "",
            ),
            (
                "((ethernet.src + 1) == 2)",
                "`+` takes numbers, and this is a MAC address",
                "",
            ),
            (
                "(ethernet.src == 7)",
                "a MAC address never equals a number",
                "",
            ),
            (
                "(ethernet.src == udp.len)",
                "a MAC address never equals a number",
                "",
            ),
            ("(udp.len / 0)", "division by 0", ""),
            ("'x'", "text does not say yes or no", ""),
            (
                "ethernet.src",
                "a MAC address does not say yes or no",
                "compare it with 0 to ask whether it is there",
            ),
            (
                "(#strlen(udp.len) > 1)",
                "`strlen` takes bytes here, not a number",
                "",
            ),
            (
                "(#em_check_ip_opt('x') > 1)",
                "`em_check_ip_opt` takes number here, not text",
                "",
            ),
        ] {
            let (found, problems) = run(text, Mode::Standard);
            assert!(found.is_none(), "{text}");
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert_eq!(problems[0].message, message);
            assert_eq!(problems[0].help, help);
            let (found, problems) = run(text, Mode::Compat);
            assert!(found.is_some(), "{text}");
            assert_eq!(problems[0].severity, Severity::Warning, "{text}");
        }
    }

    #[test]
    fn names_and_calls_are_errors_in_both_modes() {
        for text in [
            "(upd.len == 5)",
            "(udp.length == 5)",
            "(udp.len.3 == 5)",
            "(udp == 5)",
            "(#strlne(udp.len) == 5)",
            "(#strlen() == 5)",
            "(#strlen(udp.p_payload, 5) == 5)",
            "(#is_exist(5) == 1)",
            "(#strlen(udp) == 1)",
            "#in_list(udp.len, 'x')",
            "#in_list(udp.len, udp.len)",
            "(#is_same_ipv4('1.1.1', '1.1.1.1') == 1)",
        ] {
            for mode in [Mode::Standard, Mode::Compat] {
                let (found, problems) = run(text, mode);
                assert!(found.is_none(), "{text}");
                let errors = problems.iter().filter(|p| p.severity == Severity::Error);
                assert_eq!(errors.count(), 1, "{text}: {problems:?}");
            }
        }
    }

    #[test]
    fn several_mistakes_are_told_at_once() {
        let (_, problems) = run("((upd.len == 5) && (#f(udp.lenn) == 'x'))", Mode::Standard);
        assert_eq!(problems.len(), 3, "{problems:?}");
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
            (
                "(ip.src == ::1)",
                1,
                "an IPv4 address never equals an IPv6 address",
                "",
            ),
            (
                "(ipv6.src == 10.0.0.0/8)",
                1,
                "an IPv6 address never equals an IPv4 prefix",
                "",
            ),
            (
                "(ethernet.src == 1.2.3.4)",
                1,
                "a MAC address never equals an IPv4 address",
                "",
            ),
            (
                "(udp.len == 1.2.3.4)",
                1,
                "a number never equals an IPv4 address",
                "",
            ),
            ("10.0.0.0/8", 0, "an IPv4 prefix does not say yes or no", ""),
            (
                "#strlen(10.0.0.1)",
                8,
                "`strlen` takes bytes here, not an IPv4 address",
                "",
            ),
        ] {
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
        let (_, problems) = run("(#is_same_ipv4(ip.src, 10.0.0.1) == true)", Mode::Standard);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn lists_replace_their_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ports.txt"), "53\n").unwrap();
        std::fs::write(folder.path().join("wannacry-hosts.txt"), "x\n").unwrap();
        let lists = Lists::new(vec![folder.path().to_owned()]);
        let context = Context::packet(Some(&lists));
        let mut problems = Vec::new();
        let text = "#in_list(udp.dest_port, 'ports')";
        let found = read(text, Mode::Standard, context, &mut problems).unwrap();
        let Node::Call(function, arguments) = found.node else {
            panic!("not a call");
        };
        assert_eq!(function.name, "in_list");
        assert!(matches!(&arguments[1].node, Node::List(list) if list.name() == "ports"));
        let text = "#em_check_WannaCry('x')";
        let found = read(text, Mode::Standard, context, &mut problems).unwrap();
        let Node::Call(_, arguments) = found.node else {
            panic!("not a call");
        };
        assert!(matches!(&arguments[1].node, Node::List(_)));
        assert!(problems.is_empty());
        assert!(
            read(
                "#in_list(udp.len, 'x')",
                Mode::Standard,
                context,
                &mut problems
            )
            .is_none()
        );
        assert!(problems[0].help.contains("x.txt"));
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

    #[test]
    fn only_rules_know_events() {
        let mut problems = Vec::new();
        let context = Context::packet(None);
        let found = read(
            "(udp.len == udp.len.1)",
            Mode::Standard,
            context,
            &mut problems,
        );
        assert!(found.is_none());
        assert_eq!(problems[0].message, "there are no events here to refer to");
    }
}
