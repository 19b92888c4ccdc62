//! Frames kept in memory: for benchmarks, which must not measure the reading of a file, and tests.

use super::{Burst, Capture, Counters, Error, Progress};
use crate::limits::BURST_MAX;
use crate::packet::{Frame, LinkType, Timestamp};

/// Frames of another source, read once and given as often as wanted.
#[derive(Debug, Clone)]
pub struct Preloaded {
    /// The bytes of all frames, one after the other.
    arena: Vec<u8>,
    index: Vec<Entry>,
    /// Nanoseconds between the earliest and the latest frame.
    duration: u64,
    rounds: u64,
    round: u64,
    next: usize,
    counters: Counters,
}

/// A [`Frame`] whose bytes are in the arena.
#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: usize,
    length: usize,
    wire_length: u32,
    timestamp: Timestamp,
    link: LinkType,
    port: u16,
    queue: u16,
}

impl Preloaded {
    /// Read `source` to its end, or up to `frames_max` frames. That many frames are what bounds the
    /// memory; a source that is idle is asked again until it ends.
    ///
    /// # Errors
    /// Those of `source`.
    pub fn from_capture(source: &mut dyn Capture, frames_max: usize) -> Result<Self, Error> {
        let mut preloaded = Self {
            arena: Vec::new(),
            index: Vec::new(),
            duration: 0,
            rounds: 1,
            round: 0,
            next: 0,
            counters: Counters::default(),
        };
        while preloaded.index.len() < frames_max {
            let mut burst = Burst::new();
            match source.receive(&mut burst)? {
                Progress::Frames => {}
                Progress::Idle => std::thread::yield_now(),
                Progress::End => break,
            }
            let room = frames_max - preloaded.index.len();
            for frame in burst.iter().take(room) {
                preloaded.push(frame);
            }
        }
        let times = || preloaded.index.iter().map(|entry| entry.timestamp);
        if let (Some(first), Some(last)) = (times().min(), times().max()) {
            preloaded.duration = last.nanos_since(first);
        }
        Ok(preloaded)
    }

    /// Give all frames `rounds` times. Each round is later than the one before by the duration of
    /// the capture, so that event time goes on as it would in one long capture.
    #[must_use]
    pub const fn repeat(mut self, rounds: u64) -> Self {
        self.rounds = rounds;
        self
    }

    /// Begin again at the first frame of the first round; the counters begin at 0.
    pub fn rewind(&mut self) {
        self.round = 0;
        self.next = 0;
        self.counters = Counters::default();
    }

    /// Frames in one round.
    pub const fn frames(&self) -> usize {
        self.index.len()
    }

    /// Their bytes.
    pub const fn bytes(&self) -> usize {
        self.arena.len()
    }

    fn push(&mut self, frame: &Frame<'_>) {
        self.index.push(Entry {
            offset: self.arena.len(),
            length: frame.data.len(),
            wire_length: frame.wire_length,
            timestamp: frame.timestamp,
            link: frame.link,
            port: frame.port,
            queue: frame.queue,
        });
        self.arena.extend_from_slice(frame.data);
    }
}

impl Capture for Preloaded {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<Progress, Error> {
        if self.round >= self.rounds || self.index.is_empty() {
            return Ok(Progress::End);
        }
        let shift = self.duration.saturating_mul(self.round);
        let entries = self.index.get(self.next..).unwrap_or(&[]);
        let entries = entries.get(..BURST_MAX).unwrap_or(entries);
        for entry in entries {
            let end = entry.offset + entry.length;
            let nanos = entry.timestamp.nanos().saturating_add(shift);
            burst.push(Frame {
                data: self.arena.get(entry.offset..end).unwrap_or(&[]),
                wire_length: entry.wire_length,
                timestamp: super::record::timestamp(nanos),
                link: entry.link,
                port: entry.port,
                queue: entry.queue,
                ..Frame::EMPTY
            });
            self.counters.bytes += u64::try_from(entry.length).unwrap_or(0);
        }
        self.counters.received += u64::try_from(entries.len()).unwrap_or(0);
        self.next += entries.len();
        if self.next >= self.index.len() {
            self.next = 0;
            self.round += 1;
        }
        Ok(Progress::Frames)
    }

    fn counters(&self) -> Counters {
        let total = u64::try_from(self.arena.len())
            .unwrap_or(u64::MAX)
            .saturating_mul(self.rounds);
        Counters {
            position: (self.counters.bytes, Some(total)),
            ..self.counters
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `count` frames, one microsecond apart, of 1, 2, 3, ... bytes that hold their number.
    pub(in crate::capture) fn numbered(count: u8) -> Preloaded {
        let mut preloaded = Preloaded {
            arena: Vec::new(),
            index: Vec::new(),
            duration: u64::from(count.saturating_sub(1)) * 1_000,
            rounds: 1,
            round: 0,
            next: 0,
            counters: Counters::default(),
        };
        for number in 0..count {
            let data = vec![number; usize::from(number) + 1];
            preloaded.push(&Frame {
                data: &data,
                wire_length: 1_500,
                timestamp: Timestamp::from_micros(100 + u64::from(number)),
                link: LinkType::ETHERNET,
                port: 3,
                queue: 4,
                ..Frame::EMPTY
            });
        }
        preloaded
    }

    /// Times in microseconds and bytes of all frames.
    pub(in crate::capture) fn drain(source: &mut dyn Capture) -> Vec<(u64, Vec<u8>)> {
        let mut frames = Vec::new();
        loop {
            let mut burst = Burst::new();
            if source.receive(&mut burst).unwrap() == Progress::End {
                assert!(burst.is_empty());
                return frames;
            }
            assert!(!burst.is_empty());
            for frame in burst {
                frames.push((frame.timestamp.micros(), frame.data.to_vec()));
            }
        }
    }

    #[test]
    fn gives_what_it_was_given() {
        let mut original = numbered(70);
        let mut copy = Preloaded::from_capture(&mut original, usize::MAX).unwrap();
        original.rewind();
        assert_eq!(copy.frames(), 70);
        assert_eq!(copy.bytes(), 70 * 71 / 2);
        assert_eq!(drain(&mut copy), drain(&mut original));
        assert_eq!(copy.counters().received, 70);
        assert_eq!(copy.counters().position, (2_485, Some(2_485)));
        let mut burst = Burst::new();
        assert_eq!(copy.receive(&mut burst).unwrap(), Progress::End);
    }

    #[test]
    fn takes_no_more_than_told() {
        let copy = Preloaded::from_capture(&mut numbered(70), 33).unwrap();
        assert_eq!(copy.frames(), 33);
        let mut copy = Preloaded::from_capture(&mut numbered(0), 33).unwrap();
        assert_eq!(drain(&mut copy), []);
    }

    #[test]
    fn each_round_is_later_by_the_duration() {
        let mut source = numbered(3).repeat(3);
        let times: Vec<u64> = drain(&mut source).iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [100, 101, 102, 102, 103, 104, 104, 105, 106]);
        assert_eq!(source.counters().received, 9);
        assert_eq!(drain(&mut numbered(3).repeat(0)), []);
    }
}
