//! Tokens to a tree, in both readings of the grammar.
//!
//! Neither has precedence. A level, that is what stands between two parentheses, holds one
//! operator: in standard mode a second one is an error, in compat mode the last one replaces all
//! before it.

use super::address::Address;
use super::lexer::{Placed, Token, tokens};
use super::{Mode, Operator, Span};
use crate::diagnostic::Problem;
use crate::limits::{EXPRESSION_MAX, NESTING_MAX};
use std::borrow::Cow;

/// A part of the text, names unresolved.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Syntax<'t> {
    pub(super) node: Shape<'t>,
    /// With its parentheses.
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape<'t> {
    Number(i128),
    Text(Box<[u8]>),
    Address(Address),
    Word(&'t str),
    Call(&'t str, Span, Vec<Syntax<'t>>),
    Chain(Operator, Vec<Syntax<'t>>),
    /// Reported already.
    Broken,
}

/// `None` when the text cannot be read to its end; `problems` then has an error.
pub(super) fn parse<'t>(
    text: &'t str,
    mode: Mode,
    problems: &mut Vec<Problem>,
) -> Option<Syntax<'t>> {
    if text.len() > EXPRESSION_MAX {
        let message = format!("this expression is longer than {EXPRESSION_MAX} bytes");
        problems.push(Problem::error(0..1, message));
        return None;
    }
    let tokens = tokens(text, mode, problems)?;
    let mut parser = Parser {
        text,
        mode,
        tokens,
        at: 0,
        problems,
        unclosed: Vec::new(),
    };
    let found = parser.level(0).ok()?;
    if let Some((token, span)) = parser.peek() {
        let (message, help) = match token {
            Token::Close => (
                "this parenthesis closes nothing",
                "remove it, or add the `(` that belongs to it",
            ),
            _ => (
                "a comma only stands between the arguments of a function",
                "",
            ),
        };
        let problem = Problem::error(span.clone(), message);
        parser.problems.push(problem.help(help));
        return None;
    }
    parser.report_unclosed();
    Some(found)
}

struct Parser<'t, 'p> {
    text: &'t str,
    mode: Mode,
    tokens: Vec<Placed<'t>>,
    at: usize,
    problems: &'p mut Vec<Problem>,
    /// Parentheses that the end of the text left open.
    unclosed: Vec<Span>,
}

/// The rest cannot be read; the problem is reported.
struct Abandoned;

impl<'t> Parser<'t, '_> {
    fn peek(&self) -> Option<&Placed<'t>> {
        self.tokens.get(self.at)
    }

    /// Where the next token is, or where it would have to be.
    fn place(&self) -> Span {
        let end = self.text.trim_end().len();
        self.peek()
            .map_or_else(|| end..end.saturating_add(1), |(_, span)| span.clone())
    }

    fn give_up<T>(&mut self, problem: Problem) -> Result<T, Abandoned> {
        self.problems.push(problem);
        Err(Abandoned)
    }

    /// Operands and operators up to a closing parenthesis, a comma or the end.
    fn level(&mut self, depth: usize) -> Result<Syntax<'t>, Abandoned> {
        if depth > NESTING_MAX {
            let message = format!("parentheses and calls nest more than {NESTING_MAX} deep");
            let problem = Problem::error(self.place(), message);
            return self.give_up(problem);
        }
        let mut operands = Vec::new();
        let mut operators: Vec<(Operator, Span)> = Vec::new();
        loop {
            let sign = self.signs(&mut operators);
            let mut operand = self.operand(depth)?;
            if let (Some(sign), Shape::Number(number)) = (sign, &mut operand.node) {
                *number = number.saturating_neg();
                operand.span.start = sign.start;
            }
            operands.push(operand);
            match self.peek().cloned() {
                Some((Token::Operator(operator), span)) => {
                    self.at += 1;
                    operators.push((operator, span));
                }
                None | Some((Token::Close | Token::Comma, _)) => break,
                Some((token, span)) => return self.no_operator(&token, span),
            }
        }
        Ok(self.chain(operands, operators))
    }

    /// Signs before an operand: the place of one that makes a number negative. Others mean nothing;
    /// MMT reads any as the operator of the level.
    fn signs(&mut self, operators: &mut Vec<(Operator, Span)>) -> Option<Span> {
        while let Some((Token::Operator(operator), span)) = self.peek().cloned() {
            self.at += 1;
            let is_negative = self.mode == Mode::Standard
                && operator == Operator::Subtract
                && matches!(self.peek(), Some((Token::Number(_), _)));
            if is_negative {
                return Some(span);
            }
            let sign = operator.sign();
            let problem = match self.mode {
                Mode::Compat => {
                    let message = format!("`{sign}` becomes the operator of its level");
                    operators.push((operator, span.clone()));
                    Problem::warning(span, message)
                }
                Mode::Standard => {
                    let message = format!("`{sign}` has nothing to its left");
                    let help = match operator {
                        Operator::Subtract => {
                            "only a number has a sign; instead of -x write (0 - x)"
                        }
                        _ => "",
                    };
                    Problem::error(span, message)
                        .expected("expected an attribute, a number, 'text', `#` or `(`")
                        .help(help)
                }
            };
            self.problems.push(problem);
        }
        None
    }

    fn no_operator<T>(&mut self, token: &Token<'t>, span: Span) -> Result<T, Abandoned> {
        let expected = match token {
            Token::Word("and" | "AND") => "expected `&&`",
            Token::Word("or" | "OR") => "expected `||`",
            Token::Word("eq" | "is") => "expected `==`",
            _ => "expected an operator or `)`",
        };
        let message = "there is no operator before this";
        self.give_up(Problem::error(span, message).expected(expected))
    }

    fn operand(&mut self, depth: usize) -> Result<Syntax<'t>, Abandoned> {
        let Some((token, span)) = self.peek().cloned() else {
            let problem = Problem::error(self.place(), "the expression ends here");
            return self.give_up(problem.expected("expected an attribute, a number or 'text'"));
        };
        let node = match token {
            Token::Number(number) => Shape::Number(i128::from(number)),
            Token::Address(address) => Shape::Address(address),
            Token::Text(text) => Shape::Text(text),
            Token::Word(word) => Shape::Word(word),
            Token::Open => return self.parenthesised(span, depth),
            Token::Hash => return self.call(span, depth),
            Token::Close | Token::Comma | Token::Operator(_) => {
                let problem = Problem::error(span, "there is no operand before this");
                return self.give_up(problem.expected("expected an attribute, a number or 'text'"));
            }
        };
        self.at += 1;
        Ok(Syntax { node, span })
    }

    fn parenthesised(&mut self, open: Span, depth: usize) -> Result<Syntax<'t>, Abandoned> {
        self.at += 1;
        let inner = self.level(depth.saturating_add(1))?;
        let end = self.close(open.clone())?;
        Ok(Syntax {
            node: inner.node,
            span: open.start..end,
        })
    }

    /// The closing parenthesis of `open`; the end of the text may stand for it.
    fn close(&mut self, open: Span) -> Result<usize, Abandoned> {
        match self.peek().cloned() {
            Some((Token::Close, span)) => {
                self.at += 1;
                Ok(span.end)
            }
            None => {
                self.unclosed.push(open);
                Ok(self.text.trim_end().len())
            }
            Some((_, span)) => {
                let message = "a comma only stands between the arguments of a function";
                self.give_up(Problem::error(span, message).expected("expected `)`"))
            }
        }
    }

    fn call(&mut self, hash: Span, depth: usize) -> Result<Syntax<'t>, Abandoned> {
        self.at += 1;
        let Some((Token::Word(name), name_span)) = self.peek().cloned() else {
            let problem = Problem::error(self.place(), "`#` calls a function");
            return self.give_up(problem.expected("expected the name of a function"));
        };
        self.at += 1;
        let Some((Token::Open, open)) = self.peek().cloned() else {
            let problem = Problem::error(self.place(), "a function has its arguments behind it");
            return self.give_up(problem.expected("expected `(`"));
        };
        self.at += 1;
        let mut arguments = Vec::new();
        if !matches!(self.peek(), None | Some((Token::Close, _))) {
            loop {
                arguments.push(self.level(depth.saturating_add(1))?);
                if !matches!(self.peek(), Some((Token::Comma, _))) {
                    break;
                }
                self.at += 1;
            }
        }
        let end = self.close(open)?;
        Ok(Syntax {
            node: Shape::Call(name, name_span, arguments),
            span: hash.start..end,
        })
    }

    fn chain(
        &mut self,
        mut operands: Vec<Syntax<'t>>,
        operators: Vec<(Operator, Span)>,
    ) -> Syntax<'t> {
        let start = operands.first().map_or(0, |first| first.span.start);
        let end = operands.last().map_or(start, |last| last.span.end);
        let last = operators.last().map(|(operator, _)| *operator);
        let (Some(operator), true) = (last, operands.len() > 1) else {
            return operands.pop().unwrap_or(Syntax {
                node: Shape::Broken,
                span: start..end,
            });
        };
        let is_sound = self.check_level(&operands, &operators);
        let node = if is_sound {
            Shape::Chain(operator, operands)
        } else {
            Shape::Broken
        };
        Syntax {
            node,
            span: start..end,
        }
    }

    /// Is this level one chain of one operator? Says what is wrong if not.
    fn check_level(&mut self, operands: &[Syntax<'t>], operators: &[(Operator, Span)]) -> bool {
        let Some(((first, _), others)) = operators.split_first() else {
            return true;
        };
        let different = others.iter().find(|(operator, _)| operator != first);
        let is_comparison = first.is_comparison() && different.is_none();
        let (message, place) = match (different, others.first()) {
            (Some((operator, place)), _) => {
                let (one, other) = (first.sign(), operator.sign());
                let message = format!("`{other}` and `{one}` stand on one level");
                (message, place.clone())
            }
            (None, Some((operator, place))) if is_comparison => {
                let message = format!("`{}` compares two values, not more", operator.sign());
                (message, place.clone())
            }
            _ => return true,
        };
        let last = operators.last().map_or("", |(operator, _)| operator.sign());
        if self.mode == Mode::Compat {
            let problem = Problem::warning(place, message);
            let help = match is_comparison {
                true => "MMT compares the result of each comparison with the next value".to_owned(),
                false => format!("the last one, `{last}`, joins all operands of the level"),
            };
            self.problems.push(problem.help(help));
            return true;
        }
        let problem = Problem::error(place, message).expected("expected parentheses around one");
        let help = suggest(self.text, operands, operators, is_comparison);
        let help = help.map_or_else(String::new, |text| format!("write {text}"));
        self.problems.push(problem.help(help));
        false
    }

    /// MMT's engine tolerates missing parentheses at the end, and published rules rely on it.
    fn report_unclosed(&mut self) {
        // They are noted from the innermost one out; the outermost one is the place to look at.
        let Some(open) = self.unclosed.last().cloned() else {
            return;
        };
        let count = self.unclosed.len();
        let message = match count {
            1 => "the parenthesis that closes this one is missing".to_owned(),
            _ => format!("the {count} parentheses that close this one and those in it are missing"),
        };
        let close = ")".repeat(count);
        let help = format!("read as if the expression ended with `{close}`");
        self.problems
            .push(Problem::warning(open, message).help(help));
    }
}

/// Longest text worth suggesting.
const SUGGESTION_MAX: usize = 300;

/// The level with parentheses where C has precedence.
fn suggest(
    text: &str,
    operands: &[Syntax<'_>],
    operators: &[(Operator, Span)],
    is_comparison: bool,
) -> Option<String> {
    let source = |operand: &Syntax<'_>| text.get(operand.span.clone()).map(Cow::Borrowed);
    let mut parts: Vec<Cow<'_, str>> = operands.iter().map(source).collect::<Option<_>>()?;
    let mut signs: Vec<Operator> = operators.iter().map(|(operator, _)| *operator).collect();
    if parts.iter().map(|part| part.len() + 6).sum::<usize>() > SUGGESTION_MAX {
        return None;
    }
    // A sign too many cannot be placed.
    if signs.len() + 1 != parts.len() {
        return None;
    }
    if is_comparison {
        let pairs = parts.windows(2).zip(&signs).filter_map(|(pair, sign)| {
            let (left, right) = (pair.first()?, pair.last()?);
            Some(format!("({left} {} {right})", sign.sign()))
        });
        return Some(format!("({})", pairs.collect::<Vec<_>>().join(" && ")));
    }
    for precedence in (0..6).rev() {
        while let Some(at) = signs.iter().position(|s| precedence_in_c(*s) == precedence) {
            // Neighbours with the same operator join it; others go around it.
            let sign = *signs.get(at)?;
            let same = signs.get(at..)?.iter().take_while(|s| **s == sign).count();
            let joined = parts
                .get(at..=at + same)?
                .join(&format!(" {} ", sign.sign()));
            parts.splice(at..=at + same, [Cow::Owned(format!("({joined})"))]);
            signs.drain(at..at + same);
        }
    }
    parts.pop().map(Cow::into_owned)
}

fn precedence_in_c(operator: Operator) -> u8 {
    match operator {
        Operator::Multiply | Operator::Divide => 5,
        Operator::Add | Operator::Subtract => 4,
        Operator::Greater | Operator::GreaterEqual | Operator::Less | Operator::LessEqual => 3,
        Operator::Equal | Operator::NotEqual => 2,
        Operator::And => 1,
        Operator::Or => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;

    /// The tree as text, every level in parentheses.
    fn show(syntax: &Syntax<'_>) -> String {
        match &syntax.node {
            Shape::Number(number) => number.to_string(),
            Shape::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
            Shape::Address(address) => format!("{address:?}"),
            Shape::Word(word) => (*word).to_owned(),
            Shape::Call(name, _, arguments) => {
                let arguments: Vec<String> = arguments.iter().map(show).collect();
                format!("#{name}({})", arguments.join(", "))
            }
            Shape::Chain(operator, operands) => {
                let operands: Vec<String> = operands.iter().map(show).collect();
                format!("({})", operands.join(&format!(" {} ", operator.sign())))
            }
            Shape::Broken => "?".to_owned(),
        }
    }

    fn read(text: &str, mode: Mode) -> (String, Vec<Problem>) {
        let mut problems = Vec::new();
        let found = parse(text, mode, &mut problems);
        (found.as_ref().map_or(String::new(), show), problems)
    }

    #[test]
    fn one_operator_a_level_in_both_modes() {
        for (text, expected) in [
            ("(a && b && c)", "(a && b && c)"),
            ("a", "a"),
            ("((a))", "a"),
            ("(a == (b + 1)) && true", "((a == (b + 1)) && true)"),
            (
                "#f(a.b.1, 'x', (1 + 2)) != 0",
                "(#f(a.b.1, 'x', (1 + 2)) != 0)",
            ),
            ("#f()", "#f()"),
            ("#f(#g(a), b == 1)", "#f(#g(a), (b == 1))"),
            ("(a - b - c)", "(a - b - c)"),
        ] {
            for mode in [Mode::Standard, Mode::Compat] {
                let (found, problems) = read(text, mode);
                assert_eq!(found, expected);
                assert!(problems.is_empty(), "{text}: {problems:?}");
            }
        }
    }

    #[test]
    fn the_last_operator_of_a_level_wins_in_compat() {
        for (text, expected) in [
            ("(a == 2 + 3)", "(a + 2 + 3)"),
            ("(x && y || z)", "(x || y || z)"),
            ("(a == 5 && b == 1)", "(a == 5 == b == 1)"),
            ("(x == -5)", "(x - 5)"),
            (
                "((a.b == a.b.1 +1)&&(c == d))",
                "((a.b + a.b.1 + 1) && (c == d))",
            ),
        ] {
            let (found, problems) = read(text, Mode::Compat);
            assert_eq!(found, expected);
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|p| p.severity == Severity::Warning));
        }
    }

    #[test]
    fn a_mixed_level_is_an_error_with_a_suggestion() {
        for (text, place, help) in [
            ("(a == b.1 +1)", 10, "write (a == (b.1 + 1))"),
            ("a == 5 && b == 1", 7, "write ((a == 5) && (b == 1))"),
            ("(x && y || z)", 8, "write ((x && y) || z)"),
            ("a + b - c", 6, "write ((a + b) - c)"),
            ("a < b < c", 6, "write ((a < b) && (b < c))"),
            ("(a != b != c)", 8, "write ((a != b) && (b != c))"),
            (
                "a * 2 + b * 3 >= c || d",
                6,
                "write ((((a * 2) + (b * 3)) >= c) || d)",
            ),
        ] {
            let (_, problems) = read(text, Mode::Standard);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].severity, Severity::Error);
            assert_eq!(problems[0].span.start, place, "{text}");
            assert_eq!(problems[0].help, help);
        }
    }

    #[test]
    fn missing_parentheses_are_tolerated_at_the_end_only() {
        for mode in [Mode::Standard, Mode::Compat] {
            let (found, problems) = read("((a < 34)", mode);
            assert_eq!(found, "(a < 34)");
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].severity, Severity::Warning);
            assert_eq!(problems[0].span, 0..1);
            let (found, problems) = read("((a == 1) && (#f(b", mode);
            assert_eq!(found, "((a == 1) && #f(b))");
            assert_eq!(problems[0].severity, Severity::Warning);
            for bad in [
                "(a))", "a)", ")", "", "()", "(a ==)", "(a b)", "#", "#f", "#f(a,)", "a,b",
            ] {
                let (_, problems) = read(bad, mode);
                let errors = problems.iter().filter(|p| p.severity == Severity::Error);
                assert_eq!(errors.count(), 1, "{bad}: {problems:?}");
            }
        }
        assert_eq!(read("x == -y", Mode::Standard).1[0].span, 5..6);
    }

    #[test]
    fn a_number_may_have_a_sign() {
        for (text, expected) in [
            ("(x == -5)", "(x == -5)"),
            ("x > - 0x10", "(x > -16)"),
            ("(x - 5)", "(x - 5)"),
            ("x -5", "(x - 5)"),
            ("x - -5", "(x - -5)"),
            ("(-1 - 2 - 3)", "(-1 - 2 - 3)"),
        ] {
            let (found, problems) = read(text, Mode::Standard);
            assert_eq!(found, expected);
            assert!(problems.is_empty(), "{text}: {problems:?}");
        }
        for text in ["x == --5", "x == -(5)", "x == +5", "-x", "x == -'5'"] {
            let (_, problems) = read(text, Mode::Standard);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert_eq!(problems[0].severity, Severity::Error, "{text}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
        assert!(read(&deep(NESTING_MAX), Mode::Standard).1.is_empty());
        assert_eq!(read(&deep(NESTING_MAX + 1), Mode::Standard).1.len(), 1);
        assert_eq!(read(&"(".repeat(60_000), Mode::Compat).1.len(), 1);
        assert_eq!(read(&"#f(".repeat(20_000), Mode::Compat).1.len(), 1);
        assert_eq!(
            read(&" ".repeat(EXPRESSION_MAX + 1), Mode::Compat).1.len(),
            1
        );
    }
}
