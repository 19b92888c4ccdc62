//! The line grammar of scenarios: words, quoted texts and `key=value` options, each with its place.
//!
//! ```text
//! line    = [ segment { "|" segment } ] [ "#" comment ]
//! segment = word { word | key "=" value }
//! value   = word | '"' text with \" \\ \r \n \t \xHH '"'
//! ```

use std::fmt;
use std::net::IpAddr;

/// Longest scenario in bytes: they are written by hand.
pub(crate) const SCENARIO_LENGTH_MAX: usize = 1 << 20;

/// What is wrong with a scenario, and where. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// Line in the scenario.
    pub(crate) line: usize,
    /// Column in characters.
    pub(crate) column: usize,
    /// What was found and what was expected.
    pub(crate) message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
        } = self;
        write!(f, "line {line}, column {column}: {message}")
    }
}

impl std::error::Error for Error {}

/// A word or quoted text, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) quoted: bool,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// One statement or modifier: its keyword, what it is about, and how.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) keyword: Word,
    pub(crate) arguments: Vec<Word>,
    pub(crate) options: Vec<(Word, Word)>,
}

/// Split a line into its segments; none for an empty line.
pub(crate) fn segments(line: usize, text: &str) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::new();
    let mut current: Option<Segment> = None;
    let mut expected: Option<Word> = None;
    for token in Scanner::new(line, text) {
        match (token?, current.as_mut()) {
            (Token::Bar(bar), _) => match current.take() {
                Some(segment) => {
                    segments.push(segment);
                    expected = Some(bar);
                }
                None => {
                    return Err(bar.error("`|` joins a modifier to a statement: one is missing"));
                }
            },
            (Token::Word(word), None) => {
                expected = None;
                current = Some(Segment {
                    keyword: word,
                    arguments: Vec::new(),
                    options: Vec::new(),
                });
            }
            (Token::Word(word), Some(segment)) => segment.arguments.push(word),
            (Token::Option(key, _), None) => {
                return Err(key.error("expected a statement before its options"));
            }
            (Token::Option(key, value), Some(segment)) => segment.options.push((key, value)),
        }
    }
    if let Some(bar) = expected {
        return Err(bar.error("expected a statement after `|`"));
    }
    segments.extend(current);
    Ok(segments)
}

enum Token {
    Word(Word),
    Option(Word, Word),
    Bar(Word),
}

struct Scanner<'a> {
    line: usize,
    column: usize,
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl<'a> Scanner<'a> {
    fn new(line: usize, text: &'a str) -> Self {
        Self {
            line,
            column: 1,
            rest: text.chars().peekable(),
        }
    }

    fn step(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        self.column += 1;
        Some(next)
    }

    fn word_here(&self, quoted: bool) -> Word {
        Word {
            text: String::new(),
            quoted,
            line: self.line,
            column: self.column,
        }
    }

    fn bare(&mut self, stop_at_equals: bool) -> Word {
        let mut word = self.word_here(false);
        while let Some(&next) = self.rest.peek() {
            let ends = next.is_whitespace() || "|#\"".contains(next);
            if ends || (stop_at_equals && next == '=') {
                break;
            }
            word.text.push(next);
            self.step();
        }
        word
    }

    fn quoted(&mut self) -> Result<Word, Error> {
        let mut word = self.word_here(true);
        self.step();
        loop {
            let place = self.word_here(false);
            match self.step() {
                None => return Err(word.error("this quote is not closed on its line")),
                Some('"') => return Ok(word),
                Some('\\') => {
                    let escaped = self.escape().ok_or_else(|| {
                        place.error("expected \\\", \\\\, \\r, \\n, \\t or \\x and two hex digits")
                    })?;
                    word.text.push(escaped);
                }
                Some(other) => word.text.push(other),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.step()? {
            'r' => '\r',
            'n' => '\n',
            't' => '\t',
            'x' => {
                let high = self.step()?.to_digit(16)?;
                let low = self.step()?.to_digit(16)?;
                char::from_u32(high * 16 + low)?
            }
            same @ ('"' | '\\') => same,
            _ => return None,
        })
    }

    fn token(&mut self) -> Result<Option<Token>, Error> {
        while self.rest.peek().is_some_and(|c| c.is_whitespace()) {
            self.step();
        }
        match self.rest.peek() {
            None | Some('#') => Ok(None),
            Some('|') => {
                let bar = self.word_here(false);
                self.step();
                Ok(Some(Token::Bar(bar)))
            }
            Some('"') => self.quoted().map(Token::Word).map(Some),
            Some('=') => Err(self.word_here(false).error("expected a key before `=`")),
            Some(_) => {
                let key = self.bare(true);
                if self.rest.peek() != Some(&'=') {
                    return Ok(Some(Token::Word(key)));
                }
                self.step();
                let value = match self.rest.peek() {
                    Some('"') => self.quoted()?,
                    _ => self.bare(false),
                };
                Ok(Some(Token::Option(key, value)))
            }
        }
    }
}

impl Iterator for Scanner<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.token().transpose()
    }
}

impl Word {
    /// Something is wrong with this word.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error {
            line: self.line,
            column: self.column,
            message: message.into(),
        }
    }

    /// A number, decimal or 0x, from 0 to `most`.
    pub(crate) fn number(&self, most: u64) -> Result<u64, Error> {
        let text = self.text.as_str();
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        match parsed {
            Ok(number) if number <= most => Ok(number),
            _ => Err(self.error(format!("`{text}` is not a number from 0 to {most}"))),
        }
    }

    /// A number that fits the type asked for.
    pub(crate) fn integer<T: TryFrom<u64>>(&self, most: u64) -> Result<T, Error> {
        let number = self.number(most)?;
        T::try_from(number).map_err(|_| self.error(format!("`{number}` is too large here")))
    }

    /// Yes or no.
    pub(crate) fn flag(&self) -> Result<bool, Error> {
        match self.text.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(self.error(format!("`{other}` is neither yes nor no"))),
        }
    }

    /// A time with its unit (`ns`, `us`, `ms`, `s`, `m`), in nanoseconds.
    pub(crate) fn time(&self) -> Result<u64, Error> {
        let text = self.text.as_str();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.split_at(split.unwrap_or(text.len()));
        let scale: u64 = match unit {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            _ => return Err(self.error(format!("`{text}` is not a time, such as 1.5s or 20ms"))),
        };
        decimal(number, scale)
            .ok_or_else(|| self.error(format!("`{text}` is not a time, or one too long")))
    }

    /// Seconds since the epoch, with up to nine digits after the point, in nanoseconds.
    pub(crate) fn seconds(&self) -> Result<u64, Error> {
        decimal(&self.text, 1_000_000_000)
            .ok_or_else(|| self.error("expected seconds since 1970, such as 1700000000.25"))
    }

    /// Bytes in hexadecimal; `:`, `-` and `.` between them are passed over.
    pub(crate) fn hex(&self) -> Result<Vec<u8>, Error> {
        let digits = self.text.chars().filter(|c| !":-.".contains(*c));
        let digits: Option<Vec<u8>> = digits
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => Ok(digits
                .chunks_exact(2)
                .map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit))
                .collect()),
            _ => Err(self.error("expected an even count of hexadecimal digits")),
        }
    }

    /// A MAC address.
    pub(crate) fn mac(&self) -> Result<[u8; 6], Error> {
        <[u8; 6]>::try_from(self.hex()?)
            .map_err(|_| self.error(format!("`{}` is not a MAC address of six bytes", self.text)))
    }

    /// An IPv4 or IPv6 address.
    pub(crate) fn address(&self) -> Result<IpAddr, Error> {
        let text = &self.text;
        text.parse()
            .map_err(|_| self.error(format!("`{text}` is not an IPv4 or IPv6 address")))
    }

    /// The bytes it stands for: a quoted text is meant as such (`\xHH` above 7f is that one byte),
    /// a bare number is a length to be filled, here returned as `Err`.
    pub(crate) fn content(&self, most: usize) -> Result<Result<Vec<u8>, usize>, Error> {
        if !self.quoted {
            let most = u64::try_from(most).unwrap_or(u64::MAX);
            return Ok(Err(self.integer(most)?));
        }
        Ok(Ok(self.bytes()))
    }

    /// Its characters as bytes: those up to U+00FF one byte each, others as UTF-8.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.text.len());
        for character in self.text.chars() {
            match u8::try_from(character) {
                Ok(byte) => bytes.push(byte),
                Err(_) => bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes
    }

    /// `N`, `N-M`, or several of them with commas between, at most `most` numbers in all.
    pub(crate) fn numbers(&self, largest: u64, most: usize) -> Result<Vec<u64>, Error> {
        let mut numbers = Vec::new();
        for part in self.text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let bound = |text: &str| text.parse::<u64>().ok().filter(|number| *number <= largest);
            let (Some(first), Some(last)) = (bound(first), bound(last)) else {
                return Err(self.error(format!("`{part}` is not N or N-M up to {largest}")));
            };
            let room = u64::try_from(most.saturating_sub(numbers.len())).unwrap_or(0);
            if last < first || last - first >= room {
                return Err(self.error(format!("`{part}` is empty or more than {most} numbers")));
            }
            numbers.extend(first..=last);
        }
        Ok(numbers)
    }
}

/// `number`, which may have a point, times `scale`; digits below 1 are cut off.
fn decimal(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let digits: u64 = format!("{fraction:0<9}").parse().ok()?;
    let part = u128::from(digits) * u128::from(scale) / 1_000_000_000;
    whole
        .checked_mul(scale)?
        .checked_add(u64::try_from(part).ok()?)
}

impl Segment {
    /// The last value given for `key`.
    pub(crate) fn option(&self, key: &str) -> Option<&Word> {
        self.options(key).last()
    }

    /// Every value given for `key`, in order.
    pub(crate) fn options(&self, key: &str) -> impl DoubleEndedIterator<Item = &Word> {
        let matching = self.options.iter().filter(move |(k, _)| k.text == key);
        matching.map(|(_, value)| value)
    }

    /// A number, or `default` where the option is not given.
    pub(crate) fn number<T: TryFrom<u64>>(
        &self,
        key: &str,
        most: u64,
        default: T,
    ) -> Result<T, Error> {
        self.option(key)
            .map_or(Ok(default), |word| word.integer(most))
    }

    /// A yes or no.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        self.option(key).map_or(Ok(default), Word::flag)
    }

    /// A time in nanoseconds.
    pub(crate) fn time(&self, key: &str, default: u64) -> Result<u64, Error> {
        self.option(key).map_or(Ok(default), Word::time)
    }

    /// A text.
    pub(crate) fn text<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.option(key).map_or(default, |word| word.text.as_str())
    }

    /// The argument at `index`.
    pub(crate) fn argument(&self, index: usize) -> Result<&Word, Error> {
        self.arguments.get(index).ok_or_else(|| {
            let keyword = &self.keyword.text;
            self.keyword
                .error(format!("`{keyword}` needs {} argument(s)", index + 1))
        })
    }

    /// Complain of options that are not in one of the lists, and of arguments beyond `arguments`.
    pub(crate) fn check(&self, arguments: usize, known: &[&[&str]]) -> Result<(), Error> {
        let keyword = &self.keyword.text;
        for (key, _) in &self.options {
            if !known.iter().any(|list| list.contains(&key.text.as_str())) {
                let list = known.concat().join(", ");
                return Err(key.error(format!(
                    "`{keyword}` has no option `{}`; it has: {list}",
                    key.text
                )));
            }
        }
        match self.arguments.get(arguments) {
            Some(extra) => Err(extra.error(format!(
                "`{}` is one word too many: `{keyword}` takes {arguments}",
                extra.text
            ))),
            None if self.arguments.len() < arguments => self.argument(arguments - 1).map(|_| ()),
            None => Ok(()),
        }
    }
}
