//! Where HTTP/1 messages begin and end in one direction of a stream (RFC 9112, section 6).

use super::super::stream::Step;
use super::{REQUEST, RESPONSE, StartLine, fields, judge_start, start_line};
use crate::limits::{HTTP_CHUNK_LINE_MAX, HTTP_HEAD_LINES_MAX};
use memchr::memchr;

/// The place in the stream of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parser {
    state: State,
    line: Line,
    lines: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a start line.
    Start,
    /// In a header block.
    Head,
    /// In one that is beyond its bounds: its end is looked for, nothing is kept.
    HeadTooLarge,
    /// In a body, with so many bytes to go.
    Body(u64),
    /// In a body that ends with the connection.
    UntilEnd,
    /// In the line before a chunk: size so far, digits of it, bytes of the line.
    ChunkSize { size: u64, digits: u8, length: u16 },
    /// In a chunk.
    Chunk(u64),
    /// In the line end behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk.
    Trailer,
    /// Lost, until there is what can only be a start line.
    Resync,
    /// After CONNECT or an upgrade: another protocol.
    Tunnel,
}

/// What the current line holds so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    /// One CR.
    Cr,
    Text,
}

/// Requests whose response has not been seen, oldest first: two bits each say what matters for the
/// body of the response. Those beyond 32 count as ordinary.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Methods {
    bits: u64,
    count: u8,
}

const OTHER: u64 = 0;
const HEAD: u64 = 1;
const CONNECT: u64 = 2;

impl Methods {
    const MAX: u8 = 32;

    fn push(&mut self, method: u64) {
        if self.count < Self::MAX {
            self.bits |= method << (2 * u32::from(self.count));
            self.count = self.count.saturating_add(1);
        }
    }

    fn pop(&mut self) -> u64 {
        let oldest = self.bits & 3;
        self.bits >>= 2;
        self.count = self.count.saturating_sub(1);
        oldest
    }

    const fn oldest(self) -> u64 {
        self.bits & 3
    }
}

impl Parser {
    /// At the start of a stream.
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Start,
            line: Line::Empty,
            lines: 0,
        }
    }

    /// What to do with the first bytes of `input`, which is not empty. Called again with the rest.
    pub(crate) fn step(&mut self, input: &[u8]) -> Step {
        match self.state {
            State::Start => self.start(input),
            State::Head => self.head(input),
            State::HeadTooLarge => {
                let (length, ended) = self.find_blank(input);
                if ended {
                    self.state = State::Resync;
                }
                Step::Skip(length)
            }
            State::Body(left) => {
                let (taken, left) = take(input, left);
                self.state = if left == 0 {
                    State::Start
                } else {
                    State::Body(left)
                };
                Step::Skip(taken)
            }
            State::UntilEnd | State::Tunnel => Step::Skip(input.len()),
            State::ChunkSize { .. } => self.chunk_size(input),
            State::Chunk(left) => {
                let (taken, left) = take(input, left);
                self.state = if left == 0 {
                    State::ChunkEnd
                } else {
                    State::Chunk(left)
                };
                Step::Skip(taken)
            }
            State::ChunkEnd => self.chunk_end(input),
            State::Trailer => {
                let (length, ended) = self.find_blank(input);
                if ended {
                    self.state = State::Start;
                }
                Step::Skip(length)
            }
            State::Resync => match find_start(input) {
                Some(0) => self.start(input),
                Some(at) => {
                    self.state = State::Start;
                    Step::Skip(at)
                }
                None => Step::Skip(input.len()),
            },
        }
    }

    /// The next `length` bytes are missing. True when a header block was cut.
    pub(crate) fn gap(&mut self, length: u32) -> bool {
        let length = u64::from(length);
        let was_head = self.state == State::Head;
        self.state = match self.state {
            State::Body(left) if left > length => State::Body(left.saturating_sub(length)),
            State::Body(left) if left == length => State::Start,
            State::Chunk(left) if left > length => State::Chunk(left.saturating_sub(length)),
            State::Chunk(left) if left == length => State::ChunkEnd,
            State::UntilEnd => State::UntilEnd,
            State::Tunnel => State::Tunnel,
            _ => State::Resync,
        };
        was_head
    }

    /// The direction has ended.
    pub(crate) fn end(&mut self) {
        *self = Self::new();
    }

    /// The header block is larger than its bounds: look for its end only.
    pub(crate) fn too_large(&mut self) {
        self.state = State::HeadTooLarge;
    }

    /// Part of a message was given up: go on at the next start line.
    pub(crate) fn resync(&mut self) {
        self.state = State::Resync;
    }

    /// Is the parser lost?
    pub(crate) fn is_lost(&self) -> bool {
        self.state == State::Resync
    }

    /// The header block is complete: work out the body. Returns the kind of the message, and
    /// whether both directions carry another protocol behind it; `None` when it is not HTTP after
    /// all.
    pub(crate) fn head_done(&mut self, head: &[u8], methods: &mut Methods) -> Option<(u8, bool)> {
        match judge_start(head) {
            StartLine::Yes => {}
            StartLine::Simple => {
                self.state = State::Start;
                return Some((REQUEST, false));
            }
            StartLine::No | StartLine::Partial => {
                self.state = State::Resync;
                return None;
            }
        }
        let line = start_line(head);
        let body = Body::of(head);
        if let Some(rest) = line.strip_prefix(b"HTTP/") {
            let status = rest.get(4..).and_then(|rest| rest.first_chunk::<3>());
            let class = status.map_or(0, |digits| digits[0]);
            let method = if class == b'1' {
                methods.oldest()
            } else {
                methods.pop()
            };
            let tunnel = status == Some(b"101") || method == CONNECT && class == b'2';
            let bodiless =
                method == HEAD || class == b'1' || matches!(status, Some(b"204" | b"304"));
            self.state = if tunnel {
                State::Tunnel
            } else if bodiless {
                State::Start
            } else {
                body.state(State::UntilEnd, State::UntilEnd)
            };
            return Some((RESPONSE, tunnel));
        }
        methods.push(match line {
            [b'H', b'E', b'A', b'D', b' ', ..] => HEAD,
            [b'C', b'O', b'N', b'N', b'E', b'C', b'T', b' ', ..] => CONNECT,
            _ => OTHER,
        });
        // A server refuses a request whose end nobody can know; what follows may still be requests.
        self.state = body.state(State::Start, State::Resync);
        Some((REQUEST, false))
    }

    fn start(&mut self, input: &[u8]) -> Step {
        // Empty lines before a request line are to be ignored (RFC 9112, 2.2).
        let blank = input
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let blank = blank.count();
        if blank > 0 {
            return Step::Skip(blank);
        }
        match judge_start(input) {
            StartLine::No => {
                self.state = State::Resync;
                Step::Skip(input.len())
            }
            StartLine::Simple => Step::Keep {
                length: memchr(b'\n', input).map_or(input.len(), |end| end.saturating_add(1)),
                complete: true,
            },
            StartLine::Yes | StartLine::Partial => {
                self.state = State::Head;
                self.line = Line::Empty;
                self.lines = 0;
                self.head(input)
            }
        }
    }

    fn head(&mut self, input: &[u8]) -> Step {
        let (length, complete) = self.find_blank(input);
        if self.lines > HTTP_HEAD_LINES_MAX {
            return Step::Cut { length };
        }
        Step::Keep { length, complete }
    }

    /// Bytes up to and with the next empty line, if it is there; else all.
    fn find_blank(&mut self, input: &[u8]) -> (usize, bool) {
        let mut rest = input;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(end);
            rest = behind.get(1..).unwrap_or(&[]);
            let blank = matches!(
                (self.line, line),
                (Line::Empty, [] | [b'\r']) | (Line::Cr, [])
            );
            self.line = Line::Empty;
            self.lines = self.lines.saturating_add(1);
            if blank || self.lines > HTTP_HEAD_LINES_MAX && self.state == State::Head {
                return (input.len().saturating_sub(rest.len()), blank);
            }
        }
        self.line = match (self.line, rest) {
            (line, []) => line,
            (Line::Empty, [b'\r']) => Line::Cr,
            _ => Line::Text,
        };
        (input.len(), false)
    }

    fn chunk_size(&mut self, input: &[u8]) -> Step {
        const DIGITS_MAX: u8 = 15;
        let State::ChunkSize {
            mut size,
            mut digits,
            mut length,
        } = self.state
        else {
            return Step::Skip(input.len());
        };
        // Digits end at the first other byte; from there on `digits` stays above its bound.
        for (at, byte) in input.iter().enumerate() {
            let digit = char::from(*byte).to_digit(16);
            length = length.saturating_add(1);
            match (*byte, digit) {
                (b'\n', _) if digits == 0 => return self.lose(input),
                (b'\n', _) => {
                    self.line = Line::Empty;
                    self.state = match size {
                        0 => State::Trailer,
                        _ => State::Chunk(size),
                    };
                    return Step::Skip(at.saturating_add(1));
                }
                (_, Some(digit)) if digits < DIGITS_MAX => {
                    size = size << 4 | u64::from(digit);
                    digits = digits.saturating_add(1);
                }
                (_, Some(_)) if digits == DIGITS_MAX => return self.lose(input),
                (_, None) if digits == 0 => return self.lose(input),
                _ => digits = u8::MAX,
            }
            if length > HTTP_CHUNK_LINE_MAX {
                return self.lose(input);
            }
        }
        self.state = State::ChunkSize {
            size,
            digits,
            length,
        };
        Step::Skip(input.len())
    }

    fn chunk_end(&mut self, input: &[u8]) -> Step {
        match input {
            [b'\r', ..] => Step::Skip(1),
            [b'\n', ..] => {
                self.state = CHUNK_START;
                Step::Skip(1)
            }
            _ => self.lose(input),
        }
    }

    fn lose(&mut self, input: &[u8]) -> Step {
        self.state = State::Resync;
        Step::Skip(input.len())
    }
}

/// Where a start line stands for certain: at the start of a piece of the stream, or behind an empty
/// line, where a header block has ended.
fn find_start(input: &[u8]) -> Option<usize> {
    let (mut from, mut plausible) = (0, true);
    while let Some(rest) = input.get(from..).filter(|rest| !rest.is_empty()) {
        if plausible && judge_start(rest) == StartLine::Yes {
            return Some(from);
        }
        let end = memchr(b'\n', rest)?;
        plausible = matches!(rest.get(..end), Some([] | [b'\r']));
        from = from.saturating_add(end).saturating_add(1);
    }
    None
}

const CHUNK_START: State = State::ChunkSize {
    size: 0,
    digits: 0,
    length: 0,
};

/// How much of `left` bytes `input` has, and what is left then.
fn take(input: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    let rest = left.saturating_sub(u64::try_from(taken).unwrap_or(left));
    (taken, rest)
}

/// What the header lines say of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Nothing.
    Unsaid,
    Length(u64),
    Chunked,
    /// A coding other than chunked is the last, or lengths contradict each other.
    Unknown,
}

impl Body {
    fn of(head: &[u8]) -> Self {
        let mut body = Self::Unsaid;
        for (name, value) in fields(head) {
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                // It goes before any length (RFC 9112, 6.3).
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or(&[]);
                if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Self::Chunked;
                }
                body = Self::Unknown;
            } else if name.eq_ignore_ascii_case(b"content-length") && body != Self::Unknown {
                let length = std::str::from_utf8(value).ok();
                let length = length.and_then(|text| text.parse().ok()).map(Self::Length);
                body = match (body, length) {
                    (Self::Unsaid, Some(length)) => length,
                    (body, Some(length)) if body == length => body,
                    _ => Self::Unknown,
                };
            }
        }
        body
    }

    const fn state(self, unsaid: State, unknown: State) -> State {
        match self {
            Self::Unsaid => unsaid,
            Self::Length(0) => State::Start,
            Self::Length(length) => State::Body(length),
            Self::Chunked => CHUNK_START,
            Self::Unknown => unknown,
        }
    }
}
