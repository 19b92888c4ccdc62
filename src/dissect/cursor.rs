//! Bounds-checked reading of one frame.

use crate::packet::{Frame, Stop};

/// A place in a frame. Every read is checked against the end, which only ever moves towards the
/// start.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    frame: &'a [u8],
    offset: usize,
    /// Where the frame ended on the wire, which may be behind the captured bytes.
    wire_end: usize,
    whole: bool,
}

impl<'a> Cursor<'a> {
    /// At the first byte of `frame`.
    pub const fn new(frame: &'a [u8]) -> Self {
        Self {
            frame,
            offset: 0,
            wire_end: frame.len(),
            whole: false,
        }
    }

    /// At the first byte of a frame, whose capture may have cut it off.
    pub fn of(frame: &Frame<'a>) -> Self {
        let wire_length = usize::try_from(frame.wire_length).unwrap_or(usize::MAX);
        Self {
            wire_end: wire_length.max(frame.data.len()),
            ..Self::new(frame.data)
        }
    }

    /// At `offset` of `frame`; at its end when that is beyond it.
    pub fn at(frame: &'a [u8], offset: usize) -> Self {
        Self {
            offset: offset.min(frame.len()),
            ..Self::new(frame)
        }
    }

    /// Mark the header here as one whose lengths and fragment fields are those of the last fragment
    /// of a reassembled datagram ([`crate::packet::Facts::is_whole`]).
    pub const fn set_whole(&mut self, whole: bool) {
        self.whole = whole;
    }

    /// Is the header here such a header? Then its packet reaches to the end of the frame.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Offset of the next byte in the frame.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes between here and the end.
    pub const fn remaining(&self) -> usize {
        self.frame.len().saturating_sub(self.offset)
    }

    /// Bytes between here and the end that the packet had on the wire: as the headers announce
    /// them, and at most the frame's.
    pub const fn announced(&self) -> usize {
        self.wire_end.saturating_sub(self.offset)
    }

    /// The bytes between here and the end, without moving.
    pub fn rest(&self) -> &'a [u8] {
        self.frame.get(self.offset..).unwrap_or(&[])
    }

    /// The next `N` bytes, without moving.
    ///
    /// # Errors
    /// [`Stop::Truncated`] when fewer remain.
    pub fn peek<const N: usize>(&self) -> Result<&'a [u8; N], Stop> {
        self.rest().first_chunk::<N>().ok_or(Stop::Truncated)
    }

    /// Take the next `N` bytes.
    ///
    /// # Errors
    /// [`Stop::Truncated`] when fewer remain; the cursor stays.
    pub fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Stop> {
        let bytes = self.peek::<N>()?;
        self.offset = self.offset.saturating_add(N);
        Ok(bytes)
    }

    /// Take the next `length` bytes.
    ///
    /// # Errors
    /// [`Stop::Truncated`] when fewer remain; the cursor stays.
    pub fn take_slice(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let bytes = self.rest().get(..length).ok_or(Stop::Truncated)?;
        self.offset = self.offset.saturating_add(length);
        Ok(bytes)
    }

    /// Move on by `length` bytes.
    ///
    /// # Errors
    /// [`Stop::Truncated`] when fewer remain; the cursor stays.
    pub fn skip(&mut self, length: usize) -> Result<(), Stop> {
        self.take_slice(length).map(|_| ())
    }

    /// Back to `offset`, where it has been.
    pub fn rewind(&mut self, offset: usize) {
        self.offset = self.offset.min(offset);
    }

    /// Let the frame end `length` bytes from here, when it is longer than that: what a length field
    /// of a header says about trailing padding. Does nothing while [`Cursor::is_whole`].
    pub fn limit(&mut self, length: usize) {
        if self.whole {
            return;
        }
        let end = self.offset.saturating_add(length);
        self.wire_end = self.wire_end.min(end);
        self.frame = self.frame.get(..end).unwrap_or(self.frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{LinkType, Timestamp};

    #[test]
    fn reads_stop_at_the_end_and_leave_the_cursor() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.take::<2>(), Ok(&[1, 2]));
        assert_eq!(cursor.take::<2>(), Err(Stop::Truncated));
        assert_eq!(cursor.offset(), 2);
        assert_eq!(cursor.take_slice(1), Ok(&[3][..]));
        assert_eq!(cursor.remaining(), 0);
        assert_eq!(cursor.skip(1), Err(Stop::Truncated));
    }

    #[test]
    fn limit_only_shortens() {
        let mut cursor = Cursor::new(&[1, 2, 3, 4]);
        assert!(cursor.skip(1).is_ok());
        cursor.limit(2);
        assert_eq!(cursor.rest(), &[2, 3]);
        cursor.limit(100);
        assert_eq!(cursor.rest(), &[2, 3]);
        assert_eq!(cursor.announced(), 2);
        cursor.set_whole(true);
        cursor.limit(1);
        assert_eq!(cursor.rest(), &[2, 3]);
    }

    #[test]
    fn a_cut_frame_announces_what_was_on_the_wire() {
        let mut frame = Frame {
            data: &[1, 2, 3, 4],
            wire_length: 10,
            timestamp: Timestamp::default(),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        };
        let mut cursor = Cursor::of(&frame);
        assert!(cursor.skip(1).is_ok());
        assert_eq!((cursor.remaining(), cursor.announced()), (3, 9));
        cursor.limit(7);
        assert_eq!((cursor.remaining(), cursor.announced()), (3, 7));
        cursor.limit(2);
        assert_eq!((cursor.remaining(), cursor.announced()), (2, 2));
        // A damaged record may claim less than it has.
        frame.wire_length = 0;
        assert_eq!(Cursor::of(&frame).announced(), 4);
    }
}
