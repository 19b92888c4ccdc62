//! Calls of functions: which one, with what, and the lists it looks into.

use super::check::{Check, Kind, Place, Typed, name};
use super::comparison::address_bytes;
use super::functions::pattern::Pattern;
use super::functions::{Function, Parameter, addresses_only};
use super::names::{did_you_mean, nearest};
use super::parse::Syntax;
use super::{Expr, Mode, Node, Span};
use crate::diagnostic::Problem;
use crate::dissect::attribute::Type;

impl Check<'_, '_> {
    pub(super) fn call(
        &mut self,
        name: &str,
        at: &Span,
        span: &Span,
        arguments: Vec<Syntax<'_>>,
    ) -> (Node, Kind) {
        let arguments = arguments.into_iter();
        let mut typed: Vec<Typed> = arguments
            .map(|argument| self.expression(argument, Place::Argument))
            .collect();
        let Some(function) = Function::find(name, self.mode) else {
            self.problems.push(unknown_function(name, at, self.mode));
            return (Node::Number(0), Kind::Broken);
        };
        if typed.len() != function.arity() {
            let (found, wanted) = (typed.len(), function.arity());
            let plural = if wanted == 1 { "" } else { "s" };
            let message = format!("`{name}` takes {wanted} argument{plural}, not {found}");
            let problem = Problem::error(span.clone(), message);
            let expected = format!("expected #{}", function.signature());
            self.problems.push(problem.expected(expected));
            return (Node::Number(0), Kind::Broken);
        }
        let mut function = function;
        for (parameter, argument) in function.parameters.iter().zip(&mut typed) {
            let is_address = matches!(argument.kind, Kind::Address(_));
            if *parameter == Parameter::Listed && is_address {
                function = addresses_only(function);
            }
            self.argument(function, *parameter, argument);
        }
        let mut operands: Vec<Expr> = typed.iter().map(|t| t.expr.clone()).collect();
        for list in function.lists {
            operands.extend(self.list(list, at));
        }
        let is_broken = typed.iter().any(|argument| argument.kind == Kind::Broken);
        let kind = if is_broken {
            Kind::Broken
        } else {
            Kind::Number
        };
        (Node::Call(function, operands), kind)
    }

    fn argument(&mut self, function: &Function, parameter: Parameter, argument: &mut Typed) {
        if argument.kind == Kind::Broken {
            return;
        }
        let fits = match (parameter, argument.kind) {
            (Parameter::ListName, Kind::Quoted(_)) => {
                self.named_list(argument);
                true
            }
            (Parameter::Pattern, Kind::Quoted(_)) => {
                self.pattern(argument);
                true
            }
            (Parameter::Ipv4, Kind::Quoted(_)) => {
                self.ipv4(argument);
                true
            }
            (Parameter::Listed, kind) => matches!(
                kind,
                Kind::Number | Kind::Text | Kind::Address(Type::IpAddr | Type::Ip6Addr)
            ),
            (Parameter::Subject, _) => {
                matches!(argument.expr.node, Node::Attribute(..) | Node::Protocol(_))
            }
            (Parameter::Number, Kind::Number | Kind::Literal(_))
            | (Parameter::Time, Kind::Number | Kind::Opaque(Type::Timeval))
            | (Parameter::Constant, Kind::Quoted(_))
            | (Parameter::Text, Kind::Text | Kind::Quoted(_))
            | (Parameter::Ipv4, Kind::Address(Type::IpAddr) | Kind::Written(Type::IpAddr))
            | (Parameter::Bytes, Kind::Text | Kind::Quoted(_) | Kind::Opaque(_))
            | (Parameter::Path, Kind::Opaque(Type::Path)) => true,
            _ => false,
        };
        if fits {
            return;
        }
        let wanted = parameter.name();
        let message = format!(
            "`{}` takes {wanted} here, not {}",
            function.name,
            name(argument.kind)
        );
        let problem = Problem::error(argument.expr.span.clone(), message);
        let problem = problem.expected(format!("expected #{}", function.signature()));
        // Without a list or a subject there is nothing to evaluate in either mode.
        match parameter {
            Parameter::ListName | Parameter::Subject | Parameter::Listed => {
                self.problems.push(problem);
            }
            _ if argument.kind == Kind::Protocol => self.problems.push(problem),
            _ => self.mismatch(problem),
        }
    }

    fn ipv4(&mut self, argument: &mut Typed) {
        let Node::Text(text) = &mut argument.expr.node else {
            return;
        };
        match address_bytes(Type::IpAddr, text) {
            Some(bytes) => *text = bytes,
            None => {
                let shown = String::from_utf8_lossy(text).into_owned();
                let message = format!("`{shown}` is not an IPv4 address");
                let problem = Problem::error(argument.expr.span.clone(), message);
                self.problems.push(problem.expected("expected '192.0.2.1'"));
            }
        }
    }

    /// The compiled pattern takes the place of its text.
    fn pattern(&mut self, argument: &mut Typed) {
        let Node::Text(text) = &argument.expr.node else {
            return;
        };
        let span = argument.expr.span.clone();
        let Ok(text) = std::str::from_utf8(text) else {
            let problem = Problem::error(span, "this is no pattern: it is not UTF-8");
            let help = "a byte is written \\\\xHH, so that the pattern has \\xHH";
            self.problems.push(problem.help(help));
            return;
        };
        match Pattern::find(text) {
            Ok(pattern) => argument.expr.node = Node::Pattern(pattern),
            Err(rejected) => {
                // Where the text stands as it is, places in it are places in the expression.
                let inner = span.start.saturating_add(1)..span.end.saturating_sub(1);
                let is_literal = self.text.get(inner.clone()) == Some(text);
                let place = rejected.place.filter(|_| is_literal);
                let place = place.map_or(span, |(start, end)| {
                    let start = inner.start.saturating_add(start).min(inner.end);
                    let end = inner.start.saturating_add(end);
                    start..end.max(start.saturating_add(1))
                });
                let problem = Problem::error(place, rejected.message);
                self.problems.push(problem.help(rejected.help));
            }
        }
    }

    /// The list that an argument names takes the place of its name.
    fn named_list(&mut self, argument: &mut Typed) {
        let Node::Text(text) = &argument.expr.node else {
            return;
        };
        let name = String::from_utf8_lossy(text).into_owned();
        if let Some(list) = self.list(&name, &argument.expr.span) {
            argument.expr = list;
        }
    }

    fn list(&mut self, name: &str, span: &Span) -> Option<Expr> {
        let found = match self.context.lists {
            Some(lists) => lists.find(name),
            None => Err("lists are not available here".to_owned()),
        };
        match found {
            Ok(list) => Some(Expr {
                node: Node::List(list),
                span: span.clone(),
            }),
            Err(reason) => {
                let problem = Problem::error(span.clone(), format!("there is no list `{name}`"));
                self.problems.push(problem.help(reason));
                None
            }
        }
    }
}

fn unknown_function(name: &str, at: &Span, mode: Mode) -> Problem {
    let known: Vec<&str> = Function::all(mode).map(|function| function.name).collect();
    let offered = nearest(name, known.iter().copied());
    let known = known.join(", ");
    let offer = did_you_mean(&offered);
    let help = match offer.is_empty() {
        true => format!("the functions are {known}"),
        false => format!("{offer} The functions are {known}"),
    };
    let problem = Problem::error(at.clone(), format!("unknown function `{name}`"));
    problem.expected("expected a built-in function").help(help)
}
