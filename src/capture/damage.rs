//! Where and why the reading of a capture file ended early.

use std::fmt;
use std::io::ErrorKind;

/// The place where a capture file stops making sense. Every packet before it was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    pub(super) offset: u64,
    pub(super) compressed: bool,
    pub(super) reason: Reason,
}

impl Damage {
    /// Offset of the record or block that could not be read, in bytes from the start of the file;
    /// of its uncompressed contents, where it is compressed.
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged at byte {}", self.offset)?;
        if self.compressed {
            f.write_str(" of the uncompressed contents")?;
        }
        write!(f, ": {}; nothing after it is read", self.reason)
    }
}

/// What was found, and what was expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The file ends inside something.
    Cut {
        what: &'static str,
        expected: u64,
        found: u64,
    },
    /// A length field beyond what can be in a sound file.
    TooLong {
        what: &'static str,
        length: u64,
        limit: usize,
    },
    /// A block shorter than its own fixed part.
    BlockShort { length: u32, least: u32 },
    /// A block whose two length fields differ.
    BlockEnds { first: u32, last: u32 },
    /// A packet block with more captured bytes than it has room for.
    CapturedLength { captured: u32, room: usize },
    /// A packet of an interface that no block described.
    Interface { index: u32, described: usize },
    /// More interface descriptions than there is room for.
    Interfaces { limit: usize },
    /// A section that is in neither byte order.
    ByteOrder { found: [u8; 4] },
    /// A section of a version with another layout.
    Version { major: u16, minor: u16 },
    /// An option of an interface with a length that it cannot have.
    OptionLength { code: u16, length: u16 },
    /// The compression around the file.
    Gzip { kind: ErrorKind, unfinished: u64 },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cut {
                what,
                expected,
                found,
            } => write!(
                f,
                "the file ends inside a {what}: expected {expected} bytes, found {found}"
            ),
            Self::TooLong {
                what,
                length,
                limit,
            } => write!(
                f,
                "a {what} claims {length} bytes, expected at most {limit}"
            ),
            Self::BlockShort { length, least } => write!(
                f,
                "a block claims {length} bytes, expected at least {least}"
            ),
            Self::BlockEnds { first, last } => write!(
                f,
                "a block begins with length {first} and ends with length {last}, expected the same"
            ),
            Self::CapturedLength { captured, room } => write!(
                f,
                "a packet claims {captured} captured bytes, its block has room for {room}"
            ),
            Self::Interface { index, described } => write!(
                f,
                "a packet names interface {index}, the section has described {described}"
            ),
            Self::Interfaces { limit } => {
                write!(f, "a section describes more than {limit} interfaces")
            }
            Self::ByteOrder {
                found: [a, b, c, d],
            } => write!(
                f,
                "a section begins with {a:02x} {b:02x} {c:02x} {d:02x}, expected 1a 2b 3c 4d or \
                 4d 3c 2b 1a"
            ),
            Self::Version { major, minor } => {
                write!(f, "a section of version {major}.{minor}, expected 1.x")
            }
            Self::OptionLength { code, length } => write!(
                f,
                "option {code} of an interface claims {length} bytes, which it cannot have"
            ),
            Self::Gzip {
                kind: ErrorKind::UnexpectedEof,
                unfinished,
            } => write!(
                f,
                "the gzip stream ends early, {unfinished} bytes into an unfinished record"
            ),
            Self::Gzip { unfinished, .. } => write!(
                f,
                "the gzip stream is corrupt from about here on, {unfinished} bytes into an \
                 unfinished record"
            ),
        }
    }
}
