//! Findings about a text that a person wrote: where they are, and how they are shown.
//!
//! A parser reports [`Problem`]s, which point into the piece of text it was given. A [`Source`]
//! turns them into [`Diagnostic`]s, which carry the line they are about and can outlive the text.

use std::fmt::Write as _;
use std::ops::Range;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The text cannot be used.
    Error,
    /// It can, and does perhaps not mean what its author thinks.
    Warning,
}

impl Severity {
    /// Its name, as findings start with it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A finding about a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What would be right at this place; shown beside the carets. May be empty.
    pub expected: String,
    /// What to do about it; shown below. May be empty.
    pub help: String,
}

impl Problem {
    /// Something that makes the text unusable.
    pub fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            expected: String::new(),
            help: String::new(),
        }
    }

    /// Something to look at.
    pub fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// The same, with what would be right at this place.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// A text and its name, to look up lines in.
#[derive(Debug)]
pub struct Source<'a> {
    name: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    /// The text of the file (or argument, or configuration key) `name`.
    pub fn new(name: &'a str, text: &'a str) -> Self {
        let mut line_starts = vec![0];
        line_starts.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1));
        Self {
            name,
            text,
            line_starts,
        }
    }

    /// Number of the line that byte `offset` is in, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The finding with its place in this text.
    pub fn locate(&self, problem: Problem) -> Diagnostic {
        let line = self.line(problem.span.start);
        let start = self.line_start(line);
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| {
            next.saturating_sub(1) // the line feed
        });
        let text = self.text.get(start..end).unwrap_or_default();
        let text = text.strip_suffix('\r').unwrap_or(text);
        let first = floor(text, problem.span.start.saturating_sub(start));
        let last = floor(text, problem.span.end.saturating_sub(start)).max(first);
        let before = text.get(..first).unwrap_or_default();
        let column = characters(before) + 1;
        let end = self.end(&problem.span, (line, start + first, column));
        Diagnostic {
            severity: problem.severity,
            file: self.name.to_owned(),
            line,
            column,
            end,
            excerpt: Excerpt::new(text, first..last),
            message: problem.message,
            expected: problem.expected,
            help: problem.help,
        }
    }

    /// Line and column where a finding ends. `from`: line, byte and column where it starts.
    fn end(&self, span: &Range<usize>, from: (usize, usize, usize)) -> (usize, usize) {
        let (line, byte, column) = from;
        let end = floor(self.text, span.end).max(byte);
        let last = self.line(end);
        let (byte, column) = match last == line {
            true => (byte, column),
            false => (self.line_start(last), 1),
        };
        let between = self.text.get(byte..end).unwrap_or_default();
        (last, column + characters(between))
    }

    fn line_start(&self, line: usize) -> usize {
        let index = line.saturating_sub(1);
        self.line_starts.get(index).copied().unwrap_or(0)
    }
}

/// The part of a line that is shown, and what of it is underlined, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    start: usize,
    length: usize,
}

/// Characters of a line that are shown: enough for any rule written by hand, and a bound for the
/// rest.
const EXCERPT_MAX: usize = 200;

/// Characters shown before the underlined ones when a line is cut.
const EXCERPT_BEFORE: usize = 80;

impl Excerpt {
    /// Shows bytes `span` of `line`. Looks only at what it shows: a file may be one line.
    fn new(line: &str, span: Range<usize>) -> Self {
        let (before, rest) = line.split_at_checked(span.start).unwrap_or((line, ""));
        let length = span.end.saturating_sub(span.start);
        let is_short = line.len() <= EXCERPT_MAX;
        let kept = if is_short { usize::MAX } else { EXCERPT_BEFORE };
        let from = before.char_indices().rev().take(kept).last();
        let before = from.map_or("", |(at, _)| before.get(at..).unwrap_or_default());
        let room = EXCERPT_MAX.saturating_sub(characters(before));
        let after: String = rest.chars().take(room).collect();
        let cut = |is_cut: bool| if is_cut { "..." } else { "" };
        let left = cut(before.len() < span.start.min(line.len()));
        let right = cut(after.len() < rest.len());
        let marked = rest.get(..length).unwrap_or(rest).chars().take(room.max(1));
        Self {
            text: format!("{left}{before}{after}{right}"),
            start: left.len() + characters(before),
            length: marked.count().max(1),
        }
    }
}

/// Number of characters: bytes that do not continue one.
fn characters(text: &str) -> usize {
    text.bytes().filter(|byte| byte & 0xc0 != 0x80).count()
}

/// The start of the character that byte `at` belongs to.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// A finding with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// File, as named by whoever asked to read it.
    pub file: String,
    /// Line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 when it is about the file as a whole.
    pub column: usize,
    /// Line and column behind its last character; 0 when it is about the file as a whole.
    pub end: (usize, usize),
    excerpt: Excerpt,
    /// What is wrong, in one line.
    pub message: String,
    /// What would be right at this place; may be empty.
    pub expected: String,
    /// What to do about it; may be empty.
    pub help: String,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

impl Diagnostic {
    /// A finding about a whole file: it cannot be read, it is too large.
    pub fn of_file(severity: Severity, file: &str, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: file.to_owned(),
            line: 0,
            column: 0,
            end: (0, 0),
            excerpt: Excerpt::new("", 0..0),
            message: message.into(),
            expected: String::new(),
            help: String::new(),
        }
    }

    /// Does it make the file unusable?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// As text: the finding, its place, the line with carets under what is meant, advice. Ends with
    /// a line feed. Characters that would steer a terminal are replaced.
    pub fn render(&self, colour: bool) -> String {
        let paint = |code: &'static str| if colour { code } else { "" };
        let (bold, blue, plain) = (paint(BOLD), paint(BLUE), paint(PLAIN));
        let accent = paint(match self.severity {
            Severity::Error => RED,
            Severity::Warning => YELLOW,
        });
        let mut out = String::new();
        let name = self.severity.name();
        let message = printable(&self.message);
        let file = printable(&self.file);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{accent}{name}{plain}{bold}: {message}{plain}");
        if self.line == 0 {
            let _ = writeln!(out, " {blue}-->{plain} {file}");
        } else {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let carets = "^".repeat(self.excerpt.length);
            let text = printable(&self.excerpt.text);
            let column = self.column;
            let _ = writeln!(out, "{margin}{blue}-->{plain} {file}:{number}:{column}");
            let _ = writeln!(out, "{margin} {blue}|{plain}");
            let _ = writeln!(out, "{blue}{number} |{plain} {}", text.trim_end());
            let _ = write!(out, "{margin} {blue}|{plain} {}", self.padding());
            let _ = write!(out, "{accent}{carets}");
            if !self.expected.is_empty() {
                let _ = write!(out, " {}", printable(&self.expected));
            }
            let _ = writeln!(out, "{plain}");
        }
        if !self.help.is_empty() {
            let margin = " ".repeat(self.line.to_string().len());
            let help = printable(&self.help);
            let _ = writeln!(out, "{margin} {blue}={plain} {bold}help{plain}: {help}");
        }
        out
    }

    /// What stands before the carets: tabs where the line has tabs, so that they stay below it.
    fn padding(&self) -> String {
        let before = self.excerpt.text.chars().take(self.excerpt.start);
        before.map(|c| if c == '\t' { c } else { ' ' }).collect()
    }
}

impl std::fmt::Display for Diagnostic {
    /// Without colour.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// `text` on one line: other control characters than tabs become U+FFFD.
fn printable(text: &str) -> String {
    let show = |c: char| match c {
        '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_shown_below_its_line() {
        let text = "first\n\tsecond line\nthird";
        let source = Source::new("x.xml", text);
        let problem = Problem::error(7..13, "wrong word")
            .expected("expected `first`")
            .help("mend it");
        let found = source.locate(problem);
        assert_eq!((found.line, found.column, found.end), (2, 2, (2, 8)));
        let expected = "error: wrong word\n --> x.xml:2:2\n  |\n2 | \tsecond line\n  \
                        | \t^^^^^^ expected `first`\n  = help: mend it\n";
        assert_eq!(found.render(false), expected);
        assert!(found.render(true).starts_with(RED));
    }

    #[test]
    fn columns_count_characters_and_spans_end_with_their_line() {
        let source = Source::new("x", "äöü(\nsecond");
        let found = source.locate(Problem::warning(6..12, "m"));
        assert_eq!(found.excerpt.text, "äöü(");
        assert_eq!((found.line, found.column), (1, 4));
        assert_eq!(found.excerpt.length, 1);
        // The end is told with its own line.
        assert_eq!(found.end, (2, 5));
        let end = source.locate(Problem::warning(99..100, "m"));
        assert_eq!(end.line, 2);
    }

    #[test]
    fn long_lines_are_cut_around_the_carets() {
        let line = format!("{}HERE{}", "a".repeat(1000), "b".repeat(1000));
        let found = Source::new("x", &line).locate(Problem::error(1000..1004, "m"));
        assert_eq!(found.column, 1001);
        let shown: String = found.excerpt.text.chars().collect();
        assert_eq!(
            shown.get(found.excerpt.start..).unwrap().get(..4),
            Some("HERE")
        );
        assert!(shown.len() < 220);
    }

    #[test]
    fn terminal_codes_are_not_passed_on() {
        let found = Source::new("x", "\x1b[2Jboo").locate(Problem::error(0..1, "\x1b[2J"));
        assert!(!found.render(false).contains('\x1b'));
    }
}
