//! Bounds-checked reading of one frame.

use crate::packet::Stop;

/// A place in a frame. Every read is checked against the end, which only ever moves towards the start.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    frame: &'a [u8],
    offset: usize,
    whole: bool,
}

impl<'a> Cursor<'a> {
    /// At the first byte of `frame`.
    pub const fn new(frame: &'a [u8]) -> Self {
        Self {
            frame,
            offset: 0,
            whole: false,
        }
    }

    /// At `offset` of `frame`; at its end when that is beyond it.
    pub fn at(frame: &'a [u8], offset: usize) -> Self {
        Self {
            frame,
            offset: offset.min(frame.len()),
            whole: false,
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

    /// Let the frame end `length` bytes from here, when it is longer than that: what a length field of
    /// a header says about trailing padding. Does nothing while [`Cursor::is_whole`].
    pub fn limit(&mut self, length: usize) {
        if self.whole {
            return;
        }
        let end = self.offset.saturating_add(length).min(self.frame.len());
        self.frame = self.frame.get(..end).unwrap_or(self.frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        cursor.set_whole(true);
        cursor.limit(1);
        assert_eq!(cursor.rest(), &[2, 3]);
    }
}
