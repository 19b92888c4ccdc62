//! Regular expressions, compiled when a rule is loaded.
//!
//! Each becomes a whole deterministic automaton, so that a search takes one step for each byte
//! whatever the bytes are, and neither allocates nor waits for another worker. What that costs in
//! memory is bounded here: a pattern whose automaton is larger is an error of its rule.

use super::{Argument, Function, Parameter, argument, extension};
use crate::expr::Mode;
use crate::limits::{PATTERN_BYTES_MAX, PATTERN_NESTING_MAX, PATTERNS_BYTES_MAX};
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::{Compiler, WhichCaptures};
use regex_automata::{Input, nfa::thompson};
use regex_syntax::ParserBuilder;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub(super) static REGEX: Function = extension(
    "regex",
    "1 when the pattern (regular expression over bytes) matches somewhere in the text",
    &[Parameter::Bytes, Parameter::Pattern],
    regex,
);

fn regex(arguments: &[Argument<'_>], _: Mode) -> i64 {
    let Argument::Bytes(text) = argument(arguments, 0) else {
        return 0;
    };
    match argument(arguments, 1) {
        Argument::Pattern(pattern) => i64::from(pattern.is_match(text)),
        _ => 0,
    }
}

/// A compiled regular expression. It is over bytes: `.` is any byte but a line feed, and classes
/// like `\w` are those of ASCII.
#[derive(Debug)]
pub struct Pattern {
    text: String,
    automaton: dense::DFA<Vec<u32>>,
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::expr) struct Rejected {
    pub(in crate::expr) message: String,
    pub(in crate::expr) help: String,
    /// First byte of the pattern that is wrong, and the one behind the last, if it is a part.
    pub(in crate::expr) place: Option<(usize, usize)>,
}

/// Patterns in use, by their text: rules that have the same one share it.
static KNOWN: Mutex<BTreeMap<String, Weak<Pattern>>> = Mutex::new(BTreeMap::new());

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Pattern {
    /// The pattern of this text, compiled unless it is in use already.
    pub(in crate::expr) fn find(text: &str) -> Result<Arc<Self>, Rejected> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = known.get(text).and_then(Weak::upgrade) {
            return Ok(pattern);
        }
        known.retain(|_, pattern| pattern.strong_count() > 0);
        let pattern = Self::compile(text)?;
        let others = known.values().filter_map(Weak::upgrade);
        let others: usize = others.map(|other| other.automaton.memory_usage()).sum();
        if others.saturating_add(pattern.automaton.memory_usage()) > PATTERNS_BYTES_MAX {
            return Err(Rejected {
                message: format!(
                    "all patterns together need more than {} MiB",
                    PATTERNS_BYTES_MAX >> 20
                ),
                help: "use fewer patterns, or smaller ones".to_owned(),
                place: None,
            });
        }
        let pattern = Arc::new(pattern);
        known.insert(text.to_owned(), Arc::downgrade(&pattern));
        Ok(pattern)
    }

    fn compile(text: &str) -> Result<Self, Rejected> {
        let parsed = ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .nest_limit(PATTERN_NESTING_MAX)
            .build()
            .parse(text);
        let parsed = parsed.map_err(|error| wrong(&error))?;
        let nfa = Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(PATTERN_BYTES_MAX)),
            )
            .build_from_hir(&parsed)
            .map_err(|_| too_large())?;
        let automaton = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(PATTERN_BYTES_MAX))
                    .determinize_size_limit(Some(PATTERN_BYTES_MAX)),
            )
            .build_from_nfa(&nfa)
            .map_err(|error| match error.is_size_limit_exceeded() {
                true => too_large(),
                false => Rejected {
                    message: format!("this pattern cannot be used: {error}"),
                    help: String::new(),
                    place: None,
                },
            })?;
        Ok(Self {
            text: text.to_owned(),
            automaton,
        })
    }

    /// Does it match anywhere? Takes time by the length of the text alone.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).earliest(true);
        // An automaton without bytes that it gives up at does not fail.
        self.automaton
            .try_search_fwd(&input)
            .is_ok_and(|found| found.is_some())
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn wrong(error: &regex_syntax::Error) -> Rejected {
    let (message, span) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), Some(error.span())),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), Some(error.span())),
        other => (other.to_string(), None),
    };
    Rejected {
        message: format!("this is no pattern: {message}"),
        help: String::new(),
        place: span.map(|span| (span.start.offset, span.end.offset)),
    }
}

fn too_large() -> Rejected {
    Rejected {
        message: format!(
            "this pattern needs more than {} KiB",
            PATTERN_BYTES_MAX >> 10
        ),
        help:
            "repetitions behind what can start anywhere cost most: begin the pattern with `^`, or \
               repeat less"
                .to_owned(),
        place: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &[u8]) -> bool {
        Pattern::find(pattern).unwrap().is_match(text)
    }

    #[test]
    fn patterns_are_over_bytes() {
        assert!(matches("a+b", b"xxaab") && !matches("a+b", b"xxb"));
        assert!(matches("^GET /[a-z]{3}$", b"GET /abc") && !matches("^GET$", b"xGET"));
        assert!(matches("(?i)select.+from", b"SeLeCt x FROM y"));
        assert!(matches(r"\x00\xff", b"a\x00\xffb") && matches("a.b", b"a\xffb"));
        assert!(!matches("a.b", b"a\nb") && matches("(?s)a.b", b"a\nb"));
        assert!(matches(r"\bcmd\b", b"/cmd?") && !matches(r"\bcmd\b", b"/cmds"));
        assert!(matches("é", "café".as_bytes()) && matches("", b""));
    }

    #[test]
    fn one_pattern_is_compiled_once() {
        let one = Pattern::find("shared[0-9]").unwrap();
        assert!(Arc::ptr_eq(&one, &Pattern::find("shared[0-9]").unwrap()));
        assert!(!Arc::ptr_eq(&one, &Pattern::find("shared[0-8]").unwrap()));
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (text, message, place) in [
            ("a(b", "this is no pattern: unclosed group", Some((1, 2))),
            (
                "a[b",
                "this is no pattern: unclosed character class",
                Some((1, 2)),
            ),
            (
                "ab**{2,1}",
                "this is no pattern: invalid repetition count range, the start must be <= the end",
                Some((4, 9)),
            ),
            (
                r"a\q",
                "this is no pattern: unrecognized escape sequence",
                Some((1, 3)),
            ),
            (
                "(?=a)",
                "this is no pattern: look-around, including look-ahead and look-behind, is not supported",
                Some((0, 3)),
            ),
            ("a.{100}b", "this pattern needs more than 128 KiB", None),
            (
                "((a{1000}){1000}){1000}",
                "this pattern needs more than 128 KiB",
                None,
            ),
        ] {
            let started = std::time::Instant::now();
            let rejected = Pattern::find(text).unwrap_err();
            println!("{text}: {:?}", started.elapsed());
            assert_eq!(
                (rejected.message.as_str(), rejected.place),
                (message, place)
            );
        }
        let deep = format!("{}a{}", "(".repeat(500), ")".repeat(500));
        assert!(Pattern::find(&deep).unwrap_err().message.contains("nest"));
    }

    #[test]
    fn patterns_of_the_usual_kind_fit() {
        for text in [
            r"(?i)union\s+(all\s+)?select\s.+from",
            r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b",
            r"^Basic [A-Za-z0-9+/=]{200,}$",
            r"(?i)<script[^>]*>.*</script>",
            r"/[a-z]{8,12}\.(php|asp|jsp)\?id=[0-9a-f]{32}",
            r"(\.\./){3,}|%2e%2e%2f",
            r"(?i)(cmd|powershell)(\.exe)?\s+[-/][a-z]",
            r"^(GET|POST) /[^ ]{100,300} HTTP/1\.[01]",
            r"[\x80-\xff]{16}",
        ] {
            let pattern = Pattern::find(text).unwrap();
            println!("{text}: {} bytes", pattern.automaton.memory_usage());
        }
    }

    /// The text that takes a backtracking engine longest takes this one no longer than others.
    #[test]
    fn no_text_takes_long() {
        let pattern = Pattern::find("(a+)+$b").unwrap();
        let text = vec![b'a'; 1 << 20];
        let started = std::time::Instant::now();
        assert!(!pattern.is_match(&text));
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    }
}
