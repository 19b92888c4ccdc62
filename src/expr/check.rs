//! Names and types: a parsed text to an [`Expr`] that can be evaluated.
//!
//! What cannot mean anything is an error in standard mode. MMT's engine accepts most of it, so
//! compat mode only warns and keeps it as it is.

use super::comparison::{address_name, written};
use super::names::{self, Name};
use super::parse::{Shape, Syntax};
use super::{Context, Expr, Mode, Node, Operator, Span};
use crate::diagnostic::{Problem, Severity};
use crate::dissect::attribute::{AttributeId, Class, Type};

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
    pub(super) text: &'t str,
    pub(super) mode: Mode,
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

    pub(super) fn number(&mut self, operator: Operator, operand: &Typed) {
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
    fn patterns_are_constants_that_can_be_compiled() {
        for (text, place, message) in [
            (
                "#regex(udp.p_payload, 'a(b')",
                24..25,
                "this is no pattern: unclosed group",
            ),
            (
                "#regex(udp.p_payload, 'a\\\\(b(')",
                22..30,
                "this is no pattern: unclosed group",
            ),
            (
                "#regex(udp.p_payload, udp.p_payload)",
                22..35,
                "`regex` takes 'pattern' here, not a value of type POINTER",
            ),
            (
                "#regex(udp.len, 'a')",
                7..14,
                "`regex` takes bytes here, not a number",
            ),
            (
                "#regex(udp.p_payload, 'a.{500}b')",
                22..32,
                "this pattern needs more than 128 KiB",
            ),
            (
                "#regex(udp.p_payload, '\\xff')",
                22..28,
                "this is no pattern: it is not UTF-8",
            ),
            (
                "#strcasestr(udp.p_payload, udp.p_payload)",
                27..40,
                "`strcasestr` takes 'text' here, not a value of type POINTER",
            ),
        ] {
            let (found, problems) = run(text, Mode::Standard);
            assert!(
                found.is_none() && problems.len() == 1,
                "{text}: {problems:?}"
            );
            assert_eq!(
                (&problems[0].span, problems[0].message.as_str()),
                (&place, message)
            );
        }
        for text in [
            "(#regex(udp.p_payload, '^\\\\d+$') == true)",
            "#strcasestr(udp.p_payload, 'x')",
            "#equals_nocase(udp.p_payload, 'x')",
        ] {
            let (found, problems) = run(text, Mode::Standard);
            assert!(
                found.is_some() && problems.is_empty(),
                "{text}: {problems:?}"
            );
            let (found, problems) = run(text, Mode::Compat);
            assert!(found.is_none() && problems[0].message.starts_with("unknown function"));
        }
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
