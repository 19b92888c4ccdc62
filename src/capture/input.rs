//! The bytes of a capture file, decompressed, through one buffer of fixed size.

use crate::limits::CAPTURE_BUFFER_LENGTH;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufReader, Chain, Cursor, ErrorKind, Read};

/// First bytes of a gzip member (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes of a gzip stream read at a time.
const GZIP_INPUT_LENGTH: usize = 64 << 10;

/// Bytes asked of the decompressor at a time. What it made in the call that finds corrupt data is
/// lost with that call, so this bounds how much before the damage is not seen.
const GZIP_SLICE_LENGTH: usize = 4 << 10;

/// Decompressed bytes that one refill goes for, as far as their input is at hand.
const GZIP_REFILL_LENGTH: usize = 128 << 10;

/// A window that moves over the uncompressed contents of a file.
#[derive(Debug)]
pub(super) struct Input {
    source: Source,
    /// The window is `buffer[start..end]`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Offset of `buffer[0]` in the contents.
    base: u64,
    ended: bool,
    gzip_fault: Option<ErrorKind>,
    /// An error of the file, kept until what was read before it is done with.
    failure: Option<io::Error>,
}

impl Input {
    /// Over what `reader` gives, which is decompressed when it begins like a gzip stream.
    pub(super) fn new(mut reader: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut head = Vec::with_capacity(GZIP_MAGIC.len());
        let head_length = u64::try_from(GZIP_MAGIC.len()).unwrap_or(0);
        reader.by_ref().take(head_length).read_to_end(&mut head)?;
        let compressed = head == GZIP_MAGIC;
        let raw = Raw {
            reader: Cursor::new(head).chain(reader),
            read: 0,
            failed: false,
        };
        let source = if compressed {
            let buffered = BufReader::with_capacity(GZIP_INPUT_LENGTH, raw);
            Source::Gzip(Box::new(MultiGzDecoder::new(buffered)))
        } else {
            Source::Plain(raw)
        };
        Ok(Self {
            source,
            buffer: vec![0; CAPTURE_BUFFER_LENGTH].into_boxed_slice(),
            start: 0,
            end: 0,
            base: 0,
            ended: false,
            gzip_fault: None,
            failure: None,
        })
    }

    /// The bytes at hand.
    pub(super) fn window(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or(&[])
    }

    /// The bytes at hand, and the start of the window to move on while they are borrowed.
    pub(super) fn window_and_start(&mut self) -> (&[u8], &mut usize) {
        let window = self.buffer.get(self.start..self.end).unwrap_or(&[]);
        (window, &mut self.start)
    }

    /// Have at least `length` bytes in the window; false when the contents end before that. A
    /// `length` beyond the buffer is never reached.
    ///
    /// # Errors
    /// The underlying file cannot be read; a fault of the compression is an early end instead.
    pub(super) fn fill(&mut self, length: usize) -> io::Result<bool> {
        if self.available() >= length {
            return Ok(true);
        }
        if length > self.buffer.len() {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.base = self.offset();
        self.end = self.available();
        self.start = 0;
        let had = self.end;
        while !self.ended
            && (self.end < length
                || (self.source.is_ready() && self.end - had < GZIP_REFILL_LENGTH))
        {
            let Some(free @ [_, ..]) = self.buffer.get_mut(self.end..) else {
                break;
            };
            match self.source.read(free) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    if self.source.raw().failed {
                        self.failure = Some(error);
                    } else {
                        self.gzip_fault = Some(error.kind());
                    }
                }
            }
        }
        match self.failure.take_if(|_| self.end < length) {
            Some(error) => Err(error),
            None => Ok(self.end >= length),
        }
    }

    /// Move the window on by `length` bytes, which may lie beyond it; the number that there were.
    ///
    /// # Errors
    /// The underlying file cannot be read.
    pub(super) fn skip(&mut self, length: u64) -> io::Result<u64> {
        let mut left = length;
        while left > 0 && self.fill(1)? {
            let step = usize::try_from(left).unwrap_or(usize::MAX);
            let step = step.min(self.available());
            self.start += step;
            left -= u64::try_from(step).unwrap_or(left);
        }
        Ok(length - left)
    }

    /// Bytes in the window.
    pub(super) const fn available(&self) -> usize {
        self.end - self.start
    }

    /// Offset of the window in the uncompressed contents.
    pub(super) fn offset(&self) -> u64 {
        self.base + u64::try_from(self.start).unwrap_or(0)
    }

    /// Bytes of the file itself that are done with.
    pub(super) fn position(&self) -> u64 {
        match &self.source {
            Source::Plain(_) => self.offset(),
            Source::Gzip(decoder) => {
                let ahead = u64::try_from(decoder.get_ref().buffer().len()).unwrap_or(0);
                self.source.raw().read.saturating_sub(ahead)
            }
        }
    }

    /// Is there compression between the file and its contents?
    pub(super) const fn is_compressed(&self) -> bool {
        matches!(self.source, Source::Gzip(_))
    }

    /// Why the contents end here, when the compression is at fault.
    pub(super) const fn gzip_fault(&self) -> Option<ErrorKind> {
        self.gzip_fault
    }
}

/// Where the bytes come from.
enum Source {
    Plain(Raw),
    Gzip(Box<MultiGzDecoder<BufReader<Raw>>>),
}

impl Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(raw) => raw.read(buffer),
            Self::Gzip(decoder) => {
                let length = buffer.len().min(GZIP_SLICE_LENGTH);
                decoder.read(buffer.get_mut(..length).unwrap_or_default())
            }
        }
    }

    fn raw(&self) -> &Raw {
        match self {
            Self::Plain(raw) => raw,
            Self::Gzip(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// Would a read give something without asking the system?
    fn is_ready(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Gzip(decoder) => !decoder.get_ref().buffer().is_empty(),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
        })
    }
}

/// The file as the system gives it, counted.
struct Raw {
    reader: Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>,
    read: u64,
    /// A read failed, so that an error from above is the fault of the file, not of its contents.
    failed: bool,
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(count) => {
                self.read += u64::try_from(count).unwrap_or(0);
                Ok(count)
            }
            Err(error) => {
                self.failed = error.kind() != ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}
