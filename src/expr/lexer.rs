//! Text to tokens.
//!
//! A word is letters, digits, `_` and points. What it stands for is decided by its form, in this
//! order, and in standard mode alone except for the first and the last:
//!
//! 1. digits: a number; `0x` and hexadecimal digits: a number, too;
//! 2. digits between points: an IPv4 address when there are four, and an error otherwise;
//! 3. letters and digits with a colon among or before them: an IPv6 or MAC address, for nothing
//!    else has a colon;
//! 4. anything else (`8021q.vid` as well): a name.
//!
//! A `/` that stands between an address and a digit, without blanks, belongs to a prefix;
//! anywhere else it divides. A `-` is always an operator: the parser makes a negative number of
//! one that has nothing to its left.

use super::address::Address;
use super::{Mode, Operator, Span};
use crate::diagnostic::Problem;

/// What text is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'t> {
    Open,
    Close,
    Comma,
    Hash,
    Operator(Operator),
    Number(u64),
    Text(Box<[u8]>),
    Address(Address),
    /// Letters, digits, `_` and points that are not a number: `ip.src.1`, `true`, `ip`.
    Word(&'t str),
}

/// A token and its place.
pub(super) type Placed<'t> = (Token<'t>, Span);

/// All tokens of `text`; `None` when it holds something that is no token and cannot be guessed at.
pub(super) fn tokens<'t>(
    text: &'t str,
    mode: Mode,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Placed<'t>>> {
    let mut lexer = Lexer {
        text,
        at: 0,
        mode,
        problems,
        hopeless: false,
    };
    let mut found = Vec::new();
    while let Some(placed) = lexer.next() {
        found.push(placed);
    }
    (!lexer.hopeless).then_some(found)
}

struct Lexer<'t, 'p> {
    text: &'t str,
    at: usize,
    mode: Mode,
    problems: &'p mut Vec<Problem>,
    hopeless: bool,
}

impl<'t> Lexer<'t, '_> {
    fn next(&mut self) -> Option<Placed<'t>> {
        loop {
            let rest = self.rest().trim_start();
            self.at = self.text.len().saturating_sub(rest.len());
            let start = self.at;
            let first = rest.chars().next()?;
            let token = match first {
                '(' => self.sign(Token::Open, 1),
                ')' => self.sign(Token::Close, 1),
                ',' => self.sign(Token::Comma, 1),
                '#' => self.sign(Token::Hash, 1),
                '\'' => self.quoted(),
                _ if self.mode == Mode::Standard && has_colon(rest) => self.address(),
                c if c.is_ascii_alphanumeric() || c == '_' => self.word(),
                _ => match operator(rest) {
                    Some((operator, length)) => self.sign(Token::Operator(operator), length),
                    None => {
                        let Some(token) = self.guess(first) else {
                            continue;
                        };
                        token
                    }
                },
            };
            return Some((token, start..self.at));
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn sign(&mut self, token: Token<'t>, length: usize) -> Token<'t> {
        self.at = self.at.saturating_add(length);
        token
    }

    /// No token starts here: say so, and go on with what was probably meant.
    fn guess(&mut self, first: char) -> Option<Token<'t>> {
        let start = self.at;
        self.at = start.saturating_add(first.len_utf8());
        let (meant, expected) = match first {
            '=' => (Some(Operator::Equal), "expected `==`"),
            '&' => (Some(Operator::And), "expected `&&`"),
            '|' => (Some(Operator::Or), "expected `||`"),
            '!' => (None, "expected `!=`; instead of `!x` write `(x == false)`"),
            '"' => (None, "expected single quotes around text"),
            _ => (
                None,
                "expected an attribute, a number, 'text', `#`, `(` or an operator",
            ),
        };
        let problem = Problem::error(start..self.at, format!("`{first}` means nothing here"));
        self.problems.push(problem.expected(expected));
        if meant.is_none() {
            self.hopeless = true;
        }
        if first == '"' {
            // What is inside would only give more of the same.
            let length = self.rest().find('"').map_or(usize::MAX, |at| at + 1);
            self.at = self.at.saturating_add(length).min(self.text.len());
        }
        meant.map(Token::Operator)
    }

    fn word(&mut self) -> Token<'t> {
        let start = self.at;
        let word = leading(self.rest(), is_word);
        if is_dotted(word) && self.mode == Mode::Standard {
            return self.address();
        }
        self.at = start.saturating_add(word.len());
        let problem = match number(word, self.mode) {
            Some(Ok(number)) => return Token::Number(number),
            Some(Err((message, expected))) => {
                Problem::error(start..self.at, message).expected(expected)
            }
            None => match not_a_number(word) {
                Some((message, expected)) => {
                    Problem::error(start..self.at, message).expected(expected)
                }
                None => return Token::Word(word),
            },
        };
        self.problems.push(problem);
        Token::Number(0)
    }

    /// An address, and the length of its prefix where one follows at once.
    fn address(&mut self) -> Token<'t> {
        let (start, rest) = (self.at, self.rest());
        let mut length = leading(rest, is_address).len();
        let behind = rest.get(length..).unwrap_or_default();
        if let Some(bits) = behind.strip_prefix('/') {
            let digits = leading(bits, |c| c.is_ascii_digit()).len();
            if digits > 0 {
                length = length.saturating_add(digits).saturating_add(1);
            }
        }
        self.at = start.saturating_add(length);
        match Address::parse(rest.get(..length).unwrap_or_default()) {
            Ok(address) => Token::Address(address),
            Err(invalid) => {
                let problem = Problem::error(start..self.at, invalid.message);
                self.problems.push(problem.expected(invalid.expected));
                // Read on as if it were one, so that what is behind it is checked too.
                Token::Number(0)
            }
        }
    }

    /// `'text'`, with the escapes of C. In compat mode it ends with its first NUL, as a C string
    /// does.
    fn quoted(&mut self) -> Token<'t> {
        let start = self.at;
        self.at = start.saturating_add(1);
        let mut bytes = Vec::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                let problem = Problem::error(start..self.text.len(), "this text has no end");
                self.problems
                    .push(problem.expected("expected a closing `'`"));
                self.hopeless = true;
                break;
            };
            self.at = self.at.saturating_add(c.len_utf8());
            match c {
                '\'' => break,
                '\\' => self.escape(&mut bytes),
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if self.mode == Mode::Compat
            && let Some(length) = memchr::memchr(0, &bytes)
        {
            bytes.truncate(length);
            let problem = Problem::warning(start..self.at, "text ends with its first NUL");
            self.problems.push(problem);
        }
        Token::Text(bytes.into())
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) {
        let start = self.at.saturating_sub(1);
        let Some(c) = self.rest().chars().next() else {
            return;
        };
        if c.is_digit(8) {
            return self.number_escape(start, 0, 3, 8, bytes);
        }
        if c == 'x' {
            return self.number_escape(start, 1, 2, 16, bytes);
        }
        self.at = self.at.saturating_add(c.len_utf8());
        let byte = match c {
            'n' => b'\n',
            't' => b'\t',
            'r' => b'\r',
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'v' => 0x0b,
            '\\' => b'\\',
            '\'' => b'\'',
            '"' => b'"',
            '?' => b'?',
            c => {
                let message = format!("`\\{c}` is no escape sequence");
                let problem = Problem::error(start..self.at, message);
                let expected = "expected one of \\n \\t \\r \\\\ \\' \\\" \\xHH \\OOO; \
                                a backslash is `\\\\`";
                self.problems.push(problem.expected(expected));
                b'?'
            }
        };
        bytes.push(byte);
    }

    /// `\OOO` or `\xHH`: up to `most` digits behind `skip` characters.
    fn number_escape(
        &mut self,
        start: usize,
        skip: usize,
        most: usize,
        radix: u32,
        bytes: &mut Vec<u8>,
    ) {
        self.at = self.at.saturating_add(skip);
        let digits = self.rest().bytes().take(most);
        let length = digits
            .take_while(|b| char::from(*b).is_digit(radix))
            .count();
        let digits = self.rest().get(..length).unwrap_or_default();
        self.at = self.at.saturating_add(length);
        match u8::from_str_radix(digits, radix) {
            Ok(byte) => bytes.push(byte),
            Err(_) => {
                let problem = Problem::error(start..self.at, "this is no byte");
                self.problems
                    .push(problem.expected("expected \\x00 to \\xff or \\0 to \\377"));
            }
        }
    }
}

fn operator(text: &str) -> Option<(Operator, usize)> {
    const SIGNS: [(&str, Operator); 12] = [
        ("&&", Operator::And),
        ("||", Operator::Or),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        (">=", Operator::GreaterEqual),
        ("<=", Operator::LessEqual),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("+", Operator::Add),
        ("-", Operator::Subtract),
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
    ];
    let found = SIGNS.iter().find(|(sign, _)| text.starts_with(sign))?;
    Some((found.1, found.0.len()))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

fn is_address(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '.' || c == ':'
}

/// The start of `text` of which every character is as asked.
fn leading(text: &str, is_part: impl Fn(char) -> bool) -> &str {
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    text.get(..length).unwrap_or_default()
}

/// Does an address with colons start here?
fn has_colon(text: &str) -> bool {
    leading(text, is_address).contains(':')
}

/// Digits between three points.
fn is_dotted(word: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    word.split('.').count() == 4 && word.split('.').all(is_digits)
}

/// The number that a word is, or what is wrong with it; `None` when it is no number at all.
fn number(word: &str, mode: Mode) -> Option<Result<u64, (&'static str, String)>> {
    let is_decimal = word.bytes().all(|b| b.is_ascii_digit());
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal.filter(|_| mode == Mode::Standard) {
        Some(digits) => (digits, 16),
        None if is_decimal => (word, 10),
        None => return None,
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        let expected = "expected hexadecimal digits behind 0x".to_owned();
        return Some(Err(("this is no number", expected)));
    }
    Some(u64::from_str_radix(digits, radix).map_err(|_| {
        let expected = match radix {
            16 => format!("expected at most {:#x}", u64::MAX),
            _ => format!("expected at most {}", u64::MAX),
        };
        ("this number is too large", expected)
    }))
}

/// What is wrong with a word that looks like a number in another notation, and what to write
/// instead.
fn not_a_number(word: &str) -> Option<(&'static str, String)> {
    let digits = word
        .strip_prefix("0x")
        .or_else(|| word.strip_prefix("0X"))
        .filter(|digits| !digits.contains('.'));
    if let Some(digits) = digits {
        let expected = u64::from_str_radix(digits, 16).map_or_else(
            |_| "expected a decimal number".to_owned(),
            |number| format!("expected a decimal number: {number}"),
        );
        return Some(("MMT has no hexadecimal numbers", expected));
    }
    let mut parts = word.split('.');
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !parts.all(is_digits) {
        return None;
    }
    Some(match word.split('.').count() {
        4 => (
            "an address stands in quotes",
            format!("expected '{word}' in single quotes"),
        ),
        _ => (
            "numbers with a decimal point are not part of the language",
            "expected a whole number".to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str, mode: Mode) -> (Option<Vec<Token<'_>>>, Vec<Problem>) {
        let mut problems = Vec::new();
        let found = tokens(text, mode, &mut problems);
        let found = found.map(|all| all.into_iter().map(|(token, _)| token).collect());
        (found, problems)
    }

    fn text(bytes: &[u8]) -> Token<'static> {
        Token::Text(bytes.into())
    }

    #[test]
    fn reads_every_kind_of_token() {
        let (found, problems) = lex("(#f(8021q.vid, 5)>='a')", Mode::Standard);
        assert!(problems.is_empty());
        let expected = vec![
            Token::Open,
            Token::Hash,
            Token::Word("f"),
            Token::Open,
            Token::Word("8021q.vid"),
            Token::Comma,
            Token::Number(5),
            Token::Close,
            Token::Operator(Operator::GreaterEqual),
            text(b"a"),
            Token::Close,
        ];
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn escapes_are_those_of_c() {
        let (found, problems) = lex(r"'\n\t\r\a\b\f\v\\\'\x41\101\0z\xff'", Mode::Standard);
        assert!(problems.is_empty(), "{problems:?}");
        let bytes = b"\n\t\r\x07\x08\x0c\x0b\\'AA\0z\xff";
        assert_eq!(found, Some(vec![text(bytes)]));
        let (found, problems) = lex(r"'a\0b'", Mode::Compat);
        assert_eq!(found, Some(vec![text(b"a")]));
        assert_eq!(problems.len(), 1);
        for bad in [r"'\q'", r"'\xg'", r"'\400'"] {
            assert_eq!(lex(bad, Mode::Standard).1.len(), 1, "{bad}");
        }
    }

    #[test]
    fn numbers_and_addresses_are_told_by_their_form() {
        let address = |text| Token::Address(Address::parse(text).unwrap());
        for (text, expected) in [
            ("0x1f", vec![Token::Number(31)]),
            ("0XFFffffffffffffff", vec![Token::Number(u64::MAX)]),
            ("192.0.2.1", vec![address("192.0.2.1")]),
            ("10.0.0.0/8", vec![address("10.0.0.0/8")]),
            ("2001:db8::/32", vec![address("2001:db8::/32")]),
            ("::1", vec![address("::1")]),
            ("::", vec![address("::")]),
            ("fe80::1", vec![address("fe80::1")]),
            ("00:11:22:33:44:55", vec![address("00:11:22:33:44:55")]),
            (
                "10.0.0.0 / 8",
                vec![
                    address("10.0.0.0"),
                    Token::Operator(Operator::Divide),
                    Token::Number(8),
                ],
            ),
            (
                "udp.len/8",
                vec![
                    Token::Word("udp.len"),
                    Token::Operator(Operator::Divide),
                    Token::Number(8),
                ],
            ),
            ("8021q.vid", vec![Token::Word("8021q.vid")]),
            ("ip.src.1", vec![Token::Word("ip.src.1")]),
            (
                "5-0x5",
                vec![
                    Token::Number(5),
                    Token::Operator(Operator::Subtract),
                    Token::Number(5),
                ],
            ),
        ] {
            let (found, problems) = lex(text, Mode::Standard);
            assert!(problems.is_empty(), "{text}: {problems:?}");
            assert_eq!(found, Some(expected), "{text}");
        }
    }

    #[test]
    fn other_notations_are_named() {
        for (bad, expected) in [
            ("0x", "expected hexadecimal digits behind 0x"),
            ("0x1g", "expected hexadecimal digits behind 0x"),
            ("0x1.2", "expected hexadecimal digits behind 0x"),
            ("0x10000000000000000", "expected at most 0xffffffffffffffff"),
            ("1.5", "expected a whole number"),
            ("10.0.0", "expected a whole number"),
            ("10.0.0.0/33", "expected /0 to /32"),
            ("a = 5", "expected `==`"),
            ("a & b", "expected `&&`"),
            ("!a", "expected `!=`; instead of `!x` write `(x == false)`"),
            ("\"a b c\"", "expected single quotes around text"),
            ("'abc", "expected a closing `'`"),
            (
                "18446744073709551616",
                "expected at most 18446744073709551615",
            ),
        ] {
            let (_, problems) = lex(bad, Mode::Standard);
            assert_eq!(problems.len(), 1, "{bad}: {problems:?}");
            assert_eq!(problems[0].expected, expected, "{bad}");
        }
    }

    #[test]
    fn compat_mode_has_the_literals_of_mmt_alone() {
        for (bad, expected) in [
            ("0x10", "expected a decimal number: 16"),
            ("10.0.0.1", "expected '10.0.0.1' in single quotes"),
            (
                "::1",
                "expected an attribute, a number, 'text', `#`, `(` or an operator",
            ),
        ] {
            let (_, problems) = lex(bad, Mode::Compat);
            assert!(!problems.is_empty(), "{bad}");
            assert_eq!(problems[0].expected, expected, "{bad}");
        }
    }
}
