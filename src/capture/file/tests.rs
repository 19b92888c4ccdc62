//! Tests of what is the same for every format: damage, compression, counters, errors.

use super::*;
use crate::packet::LinkType;
use flate2::{Compression, write::GzEncoder};
use std::io::{Read as _, Write};

/// A frame with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::capture) struct Owned {
    pub(in crate::capture) data: Vec<u8>,
    pub(in crate::capture) wire_length: u32,
    pub(in crate::capture) nanos: u64,
    pub(in crate::capture) link: LinkType,
    pub(in crate::capture) port: u16,
}

/// What came of a file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::capture) struct Read {
    pub(in crate::capture) frames: Vec<Owned>,
    pub(in crate::capture) damage: Option<String>,
}

/// All that `bytes` hold. They come in pieces of all sizes, as from a pipe.
pub(in crate::capture) fn read(bytes: &[u8]) -> Read {
    drain(&mut source(bytes, 1).unwrap())
}

fn drain(source: &mut FileCapture) -> Read {
    let mut frames = Vec::new();
    loop {
        let mut burst = Burst::new();
        match source.receive(&mut burst).unwrap() {
            Progress::Frames => assert!(!burst.is_empty()),
            Progress::Idle => panic!("a file is never idle"),
            Progress::End => {
                assert!(burst.is_empty());
                break;
            }
        }
        frames.extend(burst.iter().map(|frame| Owned {
            data: frame.data.to_vec(),
            wire_length: frame.wire_length,
            nanos: frame.timestamp.nanos(),
            link: frame.link,
            port: frame.port,
        }));
    }
    assert_eq!(source.receive(&mut Burst::new()).unwrap(), Progress::End);
    let count = u64::try_from(frames.len()).unwrap();
    assert_eq!(source.counters().received, count);
    let damage = source.warning().map(ToString::to_string);
    Read { frames, damage }
}

fn source(bytes: &[u8], piece: usize) -> Result<FileCapture, Error> {
    let size = Some(bytes.len() as u64);
    FileCapture::new("test", Pieces(bytes.to_vec(), 0, piece), size)
}

/// A reader that gives 1, 2, 3, ... times `.2` bytes at a time, and is interrupted in between.
struct Pieces(Vec<u8>, usize, usize);

impl io::Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.2.is_multiple_of(7) {
            self.2 += 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut piece = self.0[self.1..].chunks(self.2).next().unwrap_or(&[]);
        self.2 += 1;
        let count = piece.read(buffer)?;
        self.1 += count;
        Ok(count)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A microsecond pcap file with records of 1, 2, ... bytes, and where each of them ends.
fn numbered(count: u8) -> (Vec<u8>, Vec<usize>) {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    file.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    let mut ends = Vec::new();
    for number in 1..=count {
        file.extend([
            number, 0, 0, 0, 0, 0, 0, 0, number, 0, 0, 0, number, 0, 0, 0,
        ]);
        file.extend(std::iter::repeat_n(number, usize::from(number)));
        ends.push(file.len());
    }
    (file, ends)
}

fn reason(result: Result<FileCapture, Error>) -> String {
    match result {
        Err(Error::Format { path, reason }) => {
            assert_eq!(path, "test");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_cut_anywhere_gives_the_whole_packets_before() {
    let (file, ends) = numbered(40);
    for length in 4..=file.len() {
        let Read { frames, damage } = read(&file[..length]);
        let whole = ends.iter().take_while(|end| **end <= length).count();
        assert_eq!(frames.len(), whole, "{length}");
        let start = match whole {
            0 if length < 24 => 0,
            0 => 24,
            _ => ends[whole - 1],
        };
        if start == length {
            assert_eq!(damage, None, "{length}");
        } else {
            let damage = damage.unwrap();
            let found = length - start;
            assert!(damage.starts_with(&format!("damaged at byte {start}: the file ends")));
            assert!(damage.contains(&format!("found {found};")), "{damage}");
        }
    }
}

#[test]
fn a_cut_gzip_gives_the_whole_packets_before() {
    let (file, ends) = numbered(60);
    let packed = gzip(&file);
    assert_eq!(read(&packed), read(&file));
    let mut most = 0;
    for length in 30..packed.len() {
        let Ok(mut source) = source(&packed[..length], 1) else {
            continue;
        };
        let Read { frames, damage } = drain(&mut source);
        let damage = damage.unwrap();
        assert!(
            damage.contains(" of the uncompressed contents: the gzip"),
            "{damage}"
        );
        assert!(frames.len() >= most);
        most = frames.len();
        let start = most.checked_sub(1).map_or(24, |last| ends[last]);
        if let Some(damage) = source.warning()
            && most > 0
        {
            assert_eq!(damage.offset(), start as u64);
        }
    }
    assert_eq!(most, 60, "the last bytes are but a checksum");
}

#[test]
fn every_member_of_a_gzip_is_read_and_garbage_behind_them_told() {
    let (file, _) = numbered(60);
    let (front, back) = file.split_at(777);
    let mut packed = [gzip(front), gzip(&[]), gzip(back)].concat();
    assert_eq!(read(&packed), read(&file));
    packed.extend([1; 20]);
    let Read { frames, damage } = read(&packed);
    assert_eq!(frames.len(), 60);
    assert!(damage.unwrap().contains("gzip"));
}

#[test]
fn a_flipped_bit_in_a_gzip_is_told() {
    let (file, _) = numbered(60);
    let packed = gzip(&file);
    let sound = read(&file);
    for place in 10..packed.len() {
        let mut broken = packed.clone();
        broken[place] ^= 4;
        if let Ok(mut source) = source(&broken, 1_000) {
            // Some bits say nothing, such as the code of a symbol that does not occur.
            let read = drain(&mut source);
            assert!(read.damage.is_some() || read == sound, "{place}");
        }
    }
}

#[test]
fn empty_frames_are_counted_not_handed_out() {
    let (mut file, _) = numbered(1);
    let empty = [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0];
    let first = [&file[..24], &empty.repeat(40), &file[24..]].concat();
    file.extend(empty.repeat(40));
    for bytes in [first, file] {
        let mut source = source(&bytes, 100).unwrap();
        assert_eq!(drain(&mut source).frames.len(), 1);
        assert_eq!(source.counters().dropped, [40, 0, 0, 0, 0]);
        assert_eq!(source.counters().bytes, 1);
    }
}

#[test]
fn the_position_reaches_the_size_of_the_file_as_it_is() {
    let (file, ends) = numbered(60);
    let mut plain = source(&file, 1_000_000).unwrap();
    assert_eq!(plain.counters().position, (24, Some(file.len() as u64)));
    let mut burst = Burst::new();
    plain.receive(&mut burst).unwrap();
    drop(burst);
    assert_eq!(plain.counters().position.0, ends[31] as u64);
    let packed = gzip(&file);
    for bytes in [file, packed] {
        let mut source = source(&bytes, 1).unwrap();
        drain(&mut source);
        let size = bytes.len() as u64;
        assert_eq!(source.counters().position, (size, Some(size)));
    }
}

#[test]
fn what_is_no_capture_is_named() {
    let cases: [(&[u8], &str); 8] = [
        (b"", "nothing, not a single byte; expected pcap"),
        (b"\xd4\xc3", "something that begins with d4 c3; expected"),
        (
            b"hello, world, how",
            "begins with 68 65 6c 6c 6f 2c 20 77 6f 72 6c 64; ",
        ),
        (
            b"\x28\xb5\x2f\xfd....",
            "zstd: decompress it first; expected",
        ),
        (b"\x0a\x0d\x0d\x0a....abcd", "begins with 0a 0d 0d 0a 2e"),
        (
            b"\x1f\x8b\x07\0\0\0\0\0\0\0\0\0",
            "gzip that cannot be decompressed",
        ),
        (b"\x1f\x8b", "gzip that cannot be decompressed"),
        (
            b"\xd4\xc3\xb2\xa1\x03\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "pcap of version 3.4, expected 2.x",
        ),
    ];
    for (bytes, expected) in cases {
        let reason = reason(source(bytes, 1));
        assert!(reason.contains(expected), "{reason}");
    }
    assert!(reason(source(&gzip(b""), 1)).starts_with("gzip of nothing"));
    let twice = gzip(&gzip(&numbered(1).0));
    assert!(reason(source(&twice, 1)).starts_with("gzip of something that begins with 1f 8b"));
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_path() {
    for path in ["/no/such/file", "/"] {
        let error = open(path).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&format!("{path}: ")));
    }
}

#[test]
fn a_reader_that_fails_ends_the_file_with_its_error() {
    struct Failing;
    impl io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    for bytes in [numbered(40).0, gzip(&numbered(40).0)] {
        let reader = io::Cursor::new(bytes).chain(Failing);
        let mut source = FileCapture::new("test", reader, None).unwrap();
        let mut frames = 0;
        let error = loop {
            let mut burst = Burst::new();
            match source.receive(&mut burst) {
                Ok(progress) => assert_eq!(progress, Progress::Frames),
                Err(error) => break error,
            }
            frames += burst.len();
        };
        assert_eq!(error.to_string(), "test: unplugged");
        assert_eq!(frames, 40);
        assert_eq!(source.warning(), None);
        assert_eq!(source.receive(&mut Burst::new()).unwrap(), Progress::End);
    }
}
