//! What the readers of both file formats have in common.

use super::damage::Reason;
use crate::packet::{Frame, Timestamp};

/// What a reader sees at the start of the window over its file.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A whole record with this frame, which may be empty.
    Frame {
        frame: Frame<'a>,
        /// Length of the record.
        length: usize,
    },
    /// Something that carries no frame; it may reach beyond the window.
    Skip {
        length: u64,
        /// What to call it, should the file end inside.
        what: &'static str,
    },
    /// The window ends inside something that has at least so many bytes.
    More { length: usize, what: &'static str },
    /// Nothing that belongs there.
    Damage(Reason),
}

/// A reader of one format. Where the window only grows, the same step may be asked for twice: one
/// that changes the reader either is in the window as a whole, or does not mind being repeated.
pub(super) trait Records {
    /// What is at the start of `window`?
    fn step<'a>(&mut self, window: &'a [u8]) -> Step<'a>;
}

/// Byte order of the machine that wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The number at `offset`; `None` beyond the end.
    #[inline]
    pub(super) fn u16_at(self, bytes: &[u8], offset: usize) -> Option<u16> {
        let field = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(field),
            Self::Big => u16::from_be_bytes(field),
        })
    }

    /// The first `N` numbers of 32 bits in `bytes`; `None` when there are fewer. The order is asked
    /// once for all of them.
    #[inline]
    pub(super) fn words<const N: usize>(self, bytes: &[u8]) -> Option<[u32; N]> {
        let fields = bytes.as_chunks::<4>().0.first_chunk::<N>()?;
        let mut words = [0; N];
        for (word, field) in words.iter_mut().zip(fields) {
            *word = u32::from_le_bytes(*field);
        }
        if self == Self::Big {
            for word in &mut words {
                *word = word.swap_bytes();
            }
        }
        Some(words)
    }

    /// The number at `offset`; `None` beyond the end.
    #[inline]
    pub(super) fn u32_at(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let field = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(field),
            Self::Big => u32::from_be_bytes(field),
        })
    }

    /// The number at `offset`; `None` beyond the end.
    #[inline]
    pub(super) fn u64_at(self, bytes: &[u8], offset: usize) -> Option<u64> {
        let field = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u64::from_le_bytes(field),
            Self::Big => u64::from_be_bytes(field),
        })
    }
}

/// A time that a file may claim. The last value of the type is the watermark of a source that has
/// ended, so no packet may have it.
#[inline]
pub(super) fn timestamp(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos.min(Timestamp::MAX.nanos() - 1))
}
