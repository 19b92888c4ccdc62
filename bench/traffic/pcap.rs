//! Capture files of the classic format, written with nanoseconds; the data path's own reader is
//! not used here, so that neither can hide a mistake of the other.

use std::io::{self, Read, Write};

const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
const LINK_ETHERNET: u32 = 1;
const SNAP_LENGTH: u32 = 262_144;

/// One record of a capture file.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Captured bytes.
    pub(crate) data: Vec<u8>,
    /// Length on the wire.
    pub(crate) wire_length: u32,
}

/// Writes records one by one; hand it a buffered writer.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Write the file header.
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend(MAGIC_NANOS.to_le_bytes());
        header.extend([2, 0, 4, 0]);
        header.extend([0; 8]);
        header.extend(SNAP_LENGTH.to_le_bytes());
        header.extend(LINK_ETHERNET.to_le_bytes());
        out.write_all(&header)?;
        Ok(Self { out })
    }

    /// Write one record.
    pub(crate) fn write(&mut self, time: u64, data: &[u8], wire_length: u32) -> io::Result<()> {
        let word = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        let header = [
            word(time / 1_000_000_000),
            word(time % 1_000_000_000),
            length.to_le_bytes(),
            wire_length.to_le_bytes(),
        ];
        self.out.write_all(header.as_flattened())?;
        self.out.write_all(data)
    }

    /// Hand everything to the system.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads the records of an Ethernet capture; what a damaged end leaves is passed over.
pub(crate) struct Reader<R> {
    input: R,
    swapped: bool,
}

impl<R: Read> Reader<R> {
    /// Read the file header; an error for anything that is no Ethernet capture.
    pub(crate) fn new(mut input: R) -> io::Result<Self> {
        let mut header = [0; 24];
        input.read_exact(&mut header)?;
        let [magic, .., link] = words::<6>(&header);
        let swapped = match magic {
            MAGIC_MICROS | MAGIC_NANOS => false,
            _ if [MAGIC_MICROS, MAGIC_NANOS].contains(&magic.swap_bytes()) => true,
            _ => {
                let found = "not a pcap file (pcapng: convert it first)";
                return Err(io::Error::other(found));
            }
        };
        let link = if swapped { link.swap_bytes() } else { link };
        if link & 0xffff != LINK_ETHERNET {
            return Err(io::Error::other("not an Ethernet capture"));
        }
        Ok(Self { input, swapped })
    }

    /// The next record; none at the end.
    pub(crate) fn record(&mut self) -> Option<Record> {
        let mut header = [0; 16];
        self.input.read_exact(&mut header).ok()?;
        let mut numbers = words::<4>(&header);
        if self.swapped {
            numbers = numbers.map(u32::swap_bytes);
        }
        let [_, _, length, wire_length] = numbers;
        if length > SNAP_LENGTH {
            return None;
        }
        let mut data = vec![0; usize::try_from(length).ok()?];
        self.input.read_exact(&mut data).ok()?;
        Some(Record { data, wire_length })
    }
}

fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*chunk);
    }
    words
}
