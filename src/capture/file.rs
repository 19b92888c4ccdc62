//! Capture files: which format one is in, and its frames burst by burst.

use super::damage::{Damage, Reason};
use super::input::Input;
use super::record::{Records, Step};
use super::{Burst, Capture, Counters, Error, Progress, pcap, pcapng};
use crate::packet::DropReason;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};

/// What an error calls standard input.
const STANDARD_INPUT: &str = "standard input";

/// Open the capture file at `path`, or standard input when that is `-`. Its first bytes, not its
/// name, tell the format: pcap or pcapng, or gzip of either.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is not a capture file.
pub fn open(path: &str) -> Result<FileCapture, Error> {
    if path == "-" {
        return FileCapture::new(STANDARD_INPUT, io::stdin(), None);
    }
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let size = metadata.is_file().then_some(metadata.len());
    FileCapture::new(path, file, size)
}

/// Frames of a capture file, read as a stream through one buffer of fixed size.
///
/// A file that is damaged gives every whole frame before the damage, then ends with a
/// [`FileCapture::warning`]. A record that claims fewer bytes on the wire than were captured is
/// handed out with its captured length as wire length.
#[derive(Debug)]
pub struct FileCapture {
    path: String,
    size: Option<u64>,
    input: Input,
    format: Format,
    counters: Counters,
    damage: Option<Damage>,
    ended: bool,
}

/// One reader per format; the loops over records are compiled for each.
#[derive(Debug)]
enum Format {
    Pcap(pcap::Reader),
    Pcapng(pcapng::Reader),
    /// A pcap file that ends inside its own header.
    PcapWithoutHeader,
}

impl FileCapture {
    /// Frames of what `reader` gives. Errors call it `name`; `size` is its length, where known.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is not a capture file.
    pub fn new(
        name: &str,
        reader: impl Read + Send + 'static,
        size: Option<u64>,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            path: name.to_owned(),
            source,
        };
        let mut input = Input::new(Box::new(reader)).map_err(failed)?;
        // Either format can be told from so many bytes; a file with fewer holds no packet.
        input.fill(pcap::FILE_HEADER_LENGTH).map_err(failed)?;
        let format = Format::of(input.window()).map_err(|reason| Error::Format {
            path: name.to_owned(),
            reason: describe(reason, &input),
        })?;
        if let Format::Pcap(_) = format {
            let length = u64::try_from(pcap::FILE_HEADER_LENGTH).unwrap_or(0);
            input.skip(length).map_err(failed)?;
        }
        Ok(Self {
            path: name.to_owned(),
            size,
            input,
            format,
            counters: Counters::default(),
            damage: None,
            ended: false,
        })
    }

    /// The damage that ended the file, once [`Progress::End`] was received.
    pub const fn warning(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Have a record with a frame at the start of the window; false at the end of the file.
    fn advance(&mut self) -> io::Result<bool> {
        while !self.ended {
            match self.format.step(self.input.window()) {
                Step::Frame { frame, length } => {
                    if !frame.data.is_empty() {
                        return Ok(true);
                    }
                    count_empty(&mut self.counters);
                    let (_, start) = self.input.window_and_start();
                    *start += length;
                }
                Step::Skip { length, what } => {
                    let offset = self.input.offset();
                    let found = self.input.skip(length)?;
                    if found < length {
                        self.end_inside(offset, what, length, found);
                    }
                }
                Step::More { length, what } => {
                    if !self.input.fill(length)? {
                        let found = u64::try_from(self.input.available()).unwrap_or(0);
                        let length = u64::try_from(length).unwrap_or(u64::MAX);
                        self.end_inside(self.input.offset(), what, length, found);
                    }
                }
                Step::Damage(reason) => self.end_with(self.input.offset(), reason),
            }
        }
        Ok(false)
    }

    /// The file ends `found` bytes into something, which is no damage when there are none.
    fn end_inside(&mut self, offset: u64, what: &'static str, expected: u64, found: u64) {
        if let Some(kind) = self.input.gzip_fault() {
            let unfinished = found;
            self.end_with(offset, Reason::Gzip { kind, unfinished });
        } else if found > 0 {
            self.end_with(
                offset,
                Reason::Cut {
                    what,
                    expected,
                    found,
                },
            );
        }
        self.ended = true;
    }

    fn end_with(&mut self, offset: u64, reason: Reason) {
        self.ended = true;
        self.damage = Some(Damage {
            offset,
            compressed: self.input.is_compressed(),
            reason,
        });
    }
}

impl Capture for FileCapture {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<Progress, Error> {
        match self.advance() {
            Ok(true) => {}
            Ok(false) => return Ok(Progress::End),
            Err(source) => {
                self.ended = true;
                return Err(Error::Io {
                    path: self.path.clone(),
                    source,
                });
            }
        }
        let (window, start) = self.input.window_and_start();
        *start += match &mut self.format {
            Format::Pcap(reader) => collect(reader, window, &mut self.counters, burst),
            Format::Pcapng(reader) => collect(reader, window, &mut self.counters, burst),
            Format::PcapWithoutHeader => 0,
        };
        Ok(Progress::Frames)
    }

    fn counters(&self) -> Counters {
        Counters {
            position: (self.input.position(), self.size),
            ..self.counters
        }
    }
}

/// Fill `burst` with the records that are in `window` as a whole; the bytes that they take.
fn collect<'a>(
    reader: &mut impl Records,
    window: &'a [u8],
    counters: &mut Counters,
    burst: &mut Burst<'a>,
) -> usize {
    let mut rest = window;
    let mut bytes = 0;
    while !burst.is_full() {
        let length = match reader.step(rest) {
            Step::Frame { frame, length } => {
                if frame.data.is_empty() {
                    count_empty(counters);
                } else {
                    bytes += frame.data.len();
                    burst.push(frame);
                }
                length
            }
            Step::Skip { length, .. } => usize::try_from(length).unwrap_or(usize::MAX),
            Step::More { .. } | Step::Damage(_) => break,
        };
        // What reaches beyond the window is met again at the next receive, which can read on.
        let Some(next) = rest.get(length..) else {
            break;
        };
        rest = next;
    }
    counters.received += u64::try_from(burst.len()).unwrap_or(0);
    counters.bytes += u64::try_from(bytes).unwrap_or(0);
    window.len() - rest.len()
}

fn count_empty(counters: &mut Counters) {
    if let Some(count) = counters.dropped.get_mut(DropReason::Empty as usize) {
        *count += 1;
    }
}

/// Why a file is none that is read here.
#[derive(Debug, Clone, Copy)]
enum NotCapture {
    /// By its first bytes.
    Magic,
    /// A pcap file, of a version with another layout.
    Version(u16, u16),
}

impl Format {
    /// Of a file that begins with `head`.
    fn of(head: &[u8]) -> Result<Self, NotCapture> {
        let magic = *head.first_chunk::<4>().ok_or(NotCapture::Magic)?;
        if let Some(layout) = pcap::Layout::of(magic) {
            return match head.first_chunk() {
                Some(header) => pcap::Reader::new(layout, header)
                    .map(Self::Pcap)
                    .map_err(|(major, minor)| NotCapture::Version(major, minor)),
                None => Ok(Self::PcapWithoutHeader),
            };
        }
        let order_is_known =
            head.len() < pcapng::ORDER_OFFSET + 4 || pcapng::order_of(head).is_some();
        if u32::from_be_bytes(magic) == pcapng::SECTION && order_is_known {
            return Ok(Self::Pcapng(pcapng::Reader::new()));
        }
        Err(NotCapture::Magic)
    }

    fn step<'a>(&mut self, window: &'a [u8]) -> Step<'a> {
        match self {
            Self::Pcap(reader) => reader.step(window),
            Self::Pcapng(reader) => reader.step(window),
            Self::PcapWithoutHeader => Step::More {
                length: pcap::FILE_HEADER_LENGTH,
                what: "file header",
            },
        }
    }
}

/// Formats that people try, by their first bytes, and what to do about them.
const FOREIGN: [(&[u8], &str); 5] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd: decompress it first"),
    (b"BZh", "bzip2: decompress it first"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz: decompress it first"),
    (b"PK\x03\x04", "zip: unpack it first"),
    (b"snoop\0", "snoop: convert it first"),
];

/// What was found instead of a capture, and what can be read, for an error.
fn describe(found: NotCapture, input: &Input) -> String {
    const READ: &str = "expected pcap or pcapng, or gzip of either";
    let head = input.window();
    if let NotCapture::Version(major, minor) = found {
        return format!("pcap of version {major}.{minor}, expected 2.x");
    }
    let inside = if input.is_compressed() {
        "gzip of "
    } else {
        ""
    };
    if let Some(kind) = input.gzip_fault() {
        return format!("gzip that cannot be decompressed ({kind}); {READ}");
    }
    if head.is_empty() {
        return format!("{inside}nothing, not a single byte; {READ}");
    }
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return format!("{inside}{what}; {READ}");
    }
    let mut text = format!("{inside}something that begins with");
    for byte in head.iter().take(12) {
        // Writing to a string does not fail.
        let _ = write!(text, " {byte:02x}");
    }
    format!("{text}; {READ}")
}

#[cfg(test)]
pub(super) mod tests;
