//! Several capture files as one input, by the time of their frames.

use super::file::{self, FileCapture};
use super::{Burst, Capture, Counters, Damage, Error, Progress};
use crate::limits::{BURST_MAX, MERGED_FILES_MAX};
use crate::packet::{Frame, Timestamp};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// Frames of several capture files: the earliest of those that the files have next, and of equal
/// times that of the file named first. A file whose own times go back is given as it is.
///
/// Beside its window, each file takes memory for a copy of one burst, which is never more than the
/// window: frames must stay where they are while another file is read on.
#[derive(Debug)]
pub struct MergedCapture {
    files: Vec<Buffered>,
    /// Number of the next frame of each file in its burst.
    next: Vec<usize>,
    /// Time of the next frame of each file that has one, by file number.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Files whose burst is used up.
    empty: Vec<usize>,
}

/// A file, and a copy of its last burst.
#[derive(Debug)]
struct Buffered {
    file: FileCapture,
    bytes: Vec<u8>,
    /// Each frame without its bytes, and where these are.
    frames: Vec<(Frame<'static>, Range<usize>)>,
}

impl MergedCapture {
    /// Of the files at these paths, as [`file::open`] takes them.
    ///
    /// # Errors
    /// Those of [`file::open`]; [`Error::TooManyFiles`] when there are more than
    /// [`MERGED_FILES_MAX`], none of which is opened then.
    pub fn open(paths: &[String]) -> Result<Self, Error> {
        if paths.len() > MERGED_FILES_MAX {
            return Err(Error::TooManyFiles { found: paths.len() });
        }
        let files: Result<Vec<FileCapture>, Error> =
            paths.iter().map(|path| file::open(path)).collect();
        Ok(Self::new(files?))
    }

    /// Of these files. Reads nothing yet.
    fn new(files: Vec<FileCapture>) -> Self {
        let buffered = |file| Buffered {
            file,
            bytes: Vec::new(),
            frames: Vec::with_capacity(BURST_MAX),
        };
        Self {
            next: vec![0; files.len()],
            heads: BinaryHeap::with_capacity(files.len()),
            empty: (0..files.len()).collect(),
            files: files.into_iter().map(buffered).collect(),
        }
    }

    /// What each file counted, in the order of the files. A frame counts once it was given.
    pub fn counters_of_files(&self) -> impl Iterator<Item = Counters> {
        let files = self.files.iter().zip(&self.next);
        files.map(|(buffered, next)| {
            let left = buffered.frames.get(*next..).unwrap_or_default();
            let bytes = left.iter().map(|(_, place)| place.len()).sum::<usize>();
            let counters = buffered.file.counters();
            Counters {
                received: counters.received - u64::try_from(left.len()).unwrap_or(0),
                bytes: counters.bytes - u64::try_from(bytes).unwrap_or(0),
                ..counters
            }
        })
    }

    /// The damage that ended each file, in their order, as far as their ends were met.
    pub fn warnings(&self) -> impl Iterator<Item = Option<&Damage>> {
        self.files.iter().map(|buffered| buffered.file.warning())
    }

    /// Read on in the files whose burst is used up. Nobody holds frames of them any more.
    fn refill(&mut self) -> Result<(), Error> {
        while let Some(number) = self.empty.last().copied() {
            let (Some(file), Some(next)) = (self.files.get_mut(number), self.next.get_mut(number))
            else {
                break;
            };
            *next = 0;
            match file.refill()? {
                Some(time) => self.heads.push(Reverse((time, number))),
                None => {
                    // It has ended: its memory is for the others.
                    file.bytes = Vec::new();
                }
            }
            self.empty.pop();
        }
        Ok(())
    }
}

impl Buffered {
    /// Copy the next burst; the time of its first frame, or nothing at the end.
    fn refill(&mut self) -> Result<Option<Timestamp>, Error> {
        self.bytes.clear();
        self.frames.clear();
        loop {
            let mut burst = Burst::new();
            let progress = self.file.receive(&mut burst)?;
            for frame in &burst {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(frame.data);
                self.frames
                    .push((without_bytes(frame), start..self.bytes.len()));
            }
            match (progress, self.frames.first()) {
                (_, Some((frame, _))) => return Ok(Some(frame.timestamp)),
                (Progress::End, None) => return Ok(None),
                (_, None) => {}
            }
        }
    }

    fn frame(&self, number: usize) -> Option<Frame<'_>> {
        let (frame, place) = self.frames.get(number)?;
        Some(Frame {
            data: self.bytes.get(place.clone())?,
            ..*frame
        })
    }
}

const fn without_bytes(frame: &Frame<'_>) -> Frame<'static> {
    Frame {
        data: &[],
        wire_length: frame.wire_length,
        timestamp: frame.timestamp,
        link: frame.link,
        port: frame.port,
        queue: frame.queue,
        whole: frame.whole,
        number: frame.number,
        clock: frame.clock,
    }
}

impl Capture for MergedCapture {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<Progress, Error> {
        self.refill()?;
        let Self {
            files,
            next,
            heads,
            empty,
        } = self;
        let files: &'a [Buffered] = files;
        // Up to where a file has to be read on, whose frames would not be valid then.
        while !burst.is_full() && empty.is_empty() {
            let Some(Reverse((_, number))) = heads.pop() else {
                break;
            };
            let (Some(file), Some(next)) = (files.get(number), next.get_mut(number)) else {
                break;
            };
            if let Some(frame) = file.frame(*next) {
                burst.push(frame);
            }
            *next += 1;
            match file.frames.get(*next) {
                Some((frame, _)) => heads.push(Reverse((frame.timestamp, number))),
                None => empty.push(number),
            }
        }
        Ok(match burst.is_empty() {
            true => Progress::End,
            false => Progress::Frames,
        })
    }

    fn counters(&self) -> Counters {
        let start = Counters {
            position: (0, Some(0)),
            ..Counters::default()
        };
        self.counters_of_files().fold(start, |mut all, file| {
            all.received += file.received;
            all.bytes += file.bytes;
            for (sum, count) in all.dropped.iter_mut().zip(file.dropped) {
                *sum += count;
            }
            let (position, total) = all.position;
            let (own, own_total) = file.position;
            let total = total.zip(own_total).map(|(total, own)| total + own);
            all.position = (position + own, total);
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::writer::PcapWriter;
    use super::*;
    use crate::packet::LinkType;
    use std::io::Cursor;

    /// A pcap file of frames at these times, each holding `mark` and its number, at most so many
    /// bytes of it.
    fn file(mark: u8, times: &[u64], length_max: usize) -> FileCapture {
        let mut writer = PcapWriter::new(Vec::new(), LinkType::ETHERNET).unwrap();
        for (number, time) in (0..).zip(times) {
            let frame = Frame {
                data: &[mark, number],
                wire_length: 60,
                timestamp: Timestamp::from_nanos(*time),
                ..Frame::EMPTY
            };
            writer.write(&frame).unwrap();
        }
        let mut bytes = writer.into_inner();
        bytes.truncate(length_max);
        let size = u64::try_from(bytes.len()).ok();
        FileCapture::new("file", Cursor::new(bytes), size).unwrap()
    }

    /// Time, mark and number of every frame.
    fn read(capture: &mut MergedCapture) -> Vec<(u64, u8, u8)> {
        let mut found = Vec::new();
        loop {
            let mut burst = Burst::new();
            let progress = capture.receive(&mut burst).unwrap();
            for frame in &burst {
                assert_eq!(frame.wire_length, 60);
                found.push((frame.timestamp.nanos(), frame.data[0], frame.data[1]));
            }
            match progress {
                Progress::End => break,
                _ => assert!(!burst.is_empty()),
            }
        }
        assert!(matches!(
            capture.receive(&mut Burst::new()),
            Ok(Progress::End)
        ));
        found
    }

    #[test]
    fn frames_come_by_time_and_then_by_file() {
        let whole = usize::MAX;
        let files = vec![
            file(b'a', &[1, 4, 4, 9], whole),
            file(b'b', &[], whole),
            file(b'c', &[4, 2, 10], whole),
        ];
        let mut capture = MergedCapture::new(files);
        let found = read(&mut capture);
        // The head of the last one counts: its second frame is late, and comes as soon as it can.
        let expected = [
            (1, b'a', 0),
            (4, b'a', 1),
            (4, b'a', 2),
            (4, b'c', 0),
            (2, b'c', 1),
            (9, b'a', 3),
            (10, b'c', 2),
        ];
        assert_eq!(found, expected);
        let counters = capture.counters();
        assert_eq!((counters.received, counters.bytes), (7, 14));
        assert_eq!(counters.position.1, Some(counters.position.0));
    }

    #[test]
    fn many_bursts_of_many_files_keep_their_bytes() {
        let files: Vec<FileCapture> = (0..7_u8)
            .map(|mark| {
                let step = u64::from(mark) + 1;
                let times: Vec<u64> = (0..200).map(|number| number * step).collect();
                file(mark, &times, usize::MAX)
            })
            .collect();
        let mut capture = MergedCapture::new(files);
        let mut expected: Vec<(u64, u8, u8)> = (0..7_u8)
            .flat_map(|mark| {
                (0..200_u8)
                    .map(move |number| (u64::from(number) * (u64::from(mark) + 1), mark, number))
            })
            .collect();
        expected.sort_unstable();
        assert_eq!(read(&mut capture), expected);
    }

    #[test]
    fn a_frame_counts_once_it_was_given() {
        let times: Vec<u64> = (0..100).collect();
        let files = vec![
            file(b'a', &times, usize::MAX),
            file(b'b', &times, usize::MAX),
        ];
        let mut capture = MergedCapture::new(files);
        let mut given = 0;
        for _ in 0..2 {
            let mut burst = Burst::new();
            capture.receive(&mut burst).unwrap();
            given += u64::try_from(burst.len()).unwrap();
        }
        assert_eq!(capture.counters().received, given);
        // The second burst ends where the first file has to be read on.
        assert_eq!(given, 63);
        let each: Vec<u64> = capture
            .counters_of_files()
            .map(|file| file.received)
            .collect();
        assert_eq!(each, [32, 31]);
    }

    #[test]
    fn a_damaged_file_ends_and_the_others_go_on() {
        // Inside its second record.
        let files = vec![
            file(b'a', &[1, 2, 3], 24 + 18 + 10),
            file(b'b', &[2, 5], usize::MAX),
        ];
        let mut capture = MergedCapture::new(files);
        assert_eq!(
            read(&mut capture),
            [(1, b'a', 0), (2, b'b', 0), (5, b'b', 1)]
        );
        let warnings: Vec<Option<u64>> = capture
            .warnings()
            .map(|damage| damage.map(Damage::offset))
            .collect();
        assert_eq!(warnings, [Some(24 + 18), None]);
    }

    #[test]
    fn too_many_files_are_refused() {
        let files = vec!["nowhere.pcap".to_owned(); MERGED_FILES_MAX + 1];
        let error = MergedCapture::open(&files).unwrap_err();
        assert_eq!(error.to_string(), "files to merge: 1025, at most 1024");
    }
}
