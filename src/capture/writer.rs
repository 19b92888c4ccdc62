//! Frames to a pcap file: for generated traffic and for tests.

use super::pcap::{FILE_HEADER_LENGTH, MAGIC_MICROS, MAGIC_NANOS, RECORD_HEADER_LENGTH};
use crate::limits::FRAME_LENGTH_MAX;
use crate::packet::{Frame, LinkType};
use std::io::{self, ErrorKind, Write};

/// What the fraction of a second in a record counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing of a timestamp is lost.
    #[default]
    Nanoseconds,
    /// What the oldest readers understand.
    Microseconds,
}

/// Writes a pcap file of one link type, little-endian, two writes per frame: give it a buffered
/// writer, and flush that in the end.
#[derive(Debug)]
pub struct PcapWriter<W> {
    writer: W,
    link: LinkType,
    resolution: Resolution,
    frames: u64,
}

impl<W: Write> PcapWriter<W> {
    /// Write the file header, for times in nanoseconds.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn new(writer: W, link: LinkType) -> io::Result<Self> {
        Self::with_resolution(writer, link, Resolution::default())
    }

    /// Write the file header.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn with_resolution(
        mut writer: W,
        link: LinkType,
        resolution: Resolution,
    ) -> io::Result<Self> {
        let magic = match resolution {
            Resolution::Nanoseconds => MAGIC_NANOS,
            Resolution::Microseconds => MAGIC_MICROS,
        };
        let snapshot_length = u32::try_from(FRAME_LENGTH_MAX).unwrap_or(u32::MAX);
        let mut header = [0; FILE_HEADER_LENGTH];
        // Version 2.4; the two reserved fields stay 0.
        let fields = [magic, 0x0004_0002, 0, 0, snapshot_length, link.0.into()];
        put(&mut header, &fields);
        writer.write_all(&header)?;
        Ok(Self {
            writer,
            link,
            resolution,
            frames: 0,
        })
    }

    /// Append a frame.
    ///
    /// # Errors
    /// Those of the writer; [`ErrorKind::InvalidInput`] for a frame that the file cannot hold: of
    /// another link type, longer than [`FRAME_LENGTH_MAX`], or later than February 2106. Nothing of
    /// it is written then.
    pub fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        if frame.link != self.link {
            return refuse("the link type is not the one of the file");
        }
        if frame.data.len() > FRAME_LENGTH_MAX {
            return refuse("the frame is longer than a record may be");
        }
        let nanos = frame.timestamp.nanos();
        let fraction = match self.resolution {
            Resolution::Nanoseconds => nanos % 1_000_000_000,
            Resolution::Microseconds => nanos % 1_000_000_000 / 1_000,
        };
        let (Ok(seconds), Ok(fraction), Ok(captured)) = (
            u32::try_from(nanos / 1_000_000_000),
            u32::try_from(fraction),
            u32::try_from(frame.data.len()),
        ) else {
            return refuse("the time is too late for the 32 bits of a record");
        };
        let mut header = [0; RECORD_HEADER_LENGTH];
        put(
            &mut header,
            &[seconds, fraction, captured, frame.wire_length],
        );
        self.writer.write_all(&header)?;
        self.writer.write_all(frame.data)?;
        self.frames += 1;
        Ok(())
    }

    /// Frames written so far.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Let the writer pass on what it holds back.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// The writer, with the whole file behind it.
    pub fn into_inner(self) -> W {
        self.writer
    }
}

fn refuse(reason: &'static str) -> io::Result<()> {
    Err(io::Error::new(ErrorKind::InvalidInput, reason))
}

fn put(header: &mut [u8], fields: &[u32]) {
    let (places, _) = header.as_chunks_mut::<4>();
    for (place, field) in places.iter_mut().zip(fields) {
        *place = field.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Timestamp;

    const FRAME: Frame<'static> = Frame {
        data: &[0xaa, 0xbb],
        wire_length: 60,
        timestamp: Timestamp::from_nanos(1_000_000_002_000_003_004),
        link: LinkType::RAW,
        port: 7,
        queue: 1,
        ..Frame::EMPTY
    };

    #[test]
    fn writes_nanoseconds_by_default() {
        let mut writer = PcapWriter::new(Vec::new(), LinkType::RAW).unwrap();
        writer.write(&FRAME).unwrap();
        assert_eq!(writer.frames(), 1);
        #[rustfmt::skip]
        let expected = [
            0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0,
            0x02, 0xca, 0x9a, 0x3b, 0xbc, 0x0b, 0x00, 0x00, 2, 0, 0, 0, 60, 0, 0, 0, 0xaa, 0xbb,
        ];
        assert_eq!(writer.into_inner(), expected);
    }

    #[test]
    fn writes_microseconds_when_told() {
        let link = LinkType::RAW;
        let resolution = Resolution::Microseconds;
        let mut writer = PcapWriter::with_resolution(Vec::new(), link, resolution).unwrap();
        writer.write(&FRAME).unwrap();
        let bytes = writer.into_inner();
        assert_eq!(bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(bytes[28..32], [3, 0, 0, 0]);
    }

    #[test]
    fn refuses_what_the_file_cannot_hold() {
        let mut writer = PcapWriter::new(Vec::new(), LinkType::RAW).unwrap();
        let long = vec![0; FRAME_LENGTH_MAX + 1];
        let frames = [
            Frame {
                link: LinkType::PPP,
                ..FRAME
            },
            Frame {
                data: &long,
                ..FRAME
            },
            Frame {
                timestamp: Timestamp::from_nanos(1 << 63),
                ..FRAME
            },
        ];
        for frame in frames {
            let error = writer.write(&frame).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(writer.into_inner().len(), FILE_HEADER_LENGTH);
    }
}
