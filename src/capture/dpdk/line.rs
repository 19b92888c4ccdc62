//! Receive queues as one worker asks them: each alone, or two that are the directions of one tap.

use super::clock::{Clock, Stamps};
use crate::capture::rss::{Check, Spread};
use crate::capture::waits::Waits;
use crate::limits::BURST_MAX;
use crate::packet::{Frame, LinkType, Timestamp};
use dpdk_sys::RxQueue;
use std::sync::Arc;

/// A receive queue and the burst that it holds.
#[derive(Debug)]
pub(super) struct Source {
    queue: RxQueue,
    /// Index of the port in the settings.
    port: u16,
    spread: Arc<Spread>,
    check: Check,
    /// Times of the frames, where the driver does not stamp them.
    stamps: Stamps,
    /// Frames of the burst, and how many of them were given out.
    count: usize,
    given: usize,
    /// Frames given out in all, and their bytes.
    counts: (u64, u64),
    waits: Waits,
}

impl Source {
    pub(super) fn new(queue: RxQueue, port: u16, spread: &Arc<Spread>) -> Self {
        Self {
            queue,
            port,
            check: Check::new(spread),
            spread: Arc::clone(spread),
            stamps: Stamps::default(),
            count: 0,
            given: 0,
            counts: (0, 0),
            waits: Waits::default(),
        }
    }

    pub(super) fn queue(&self) -> &RxQueue {
        &self.queue
    }

    /// How long its frames may have waited for a look.
    pub(super) fn waits(&self) -> &Waits {
        &self.waits
    }

    /// What was given out of it.
    pub(super) fn counts(&self) -> QueueCounts {
        QueueCounts {
            port: self.port,
            queue: self.queue.number(),
            received: self.counts.0,
            bytes: self.counts.1,
        }
    }

    /// Receive, if all of the last burst was given out; says whether frames wait.
    #[inline]
    fn poll(&mut self, clock: &mut Clock) -> bool {
        if self.given == self.count {
            self.given = 0;
            self.count = self.queue.receive();
            if self.count > 0 {
                self.stamps = clock.stamp_burst(self.queue.tsc(), self.count);
                let frames = u64::try_from(self.count).unwrap_or(0);
                let waited = clock.nanos_in(self.queue.waited());
                self.waits.add(waited, frames);
                if !self.check.is_done() {
                    self.check();
                }
            }
        }
        self.given < self.count
    }

    /// Compare the hashes of the burst with those computed here.
    #[cold]
    fn check(&mut self) {
        for frame in self.queue.frames() {
            self.check.frame(&self.spread, frame.data, frame.hash);
        }
    }

    /// Frames that wait, and where to count those that are given out.
    #[inline]
    fn open(&mut self) -> (impl ExactSizeIterator<Item = Frame<'_>>, Given<'_>) {
        let (queue, stamps, port) = (&self.queue, self.stamps, self.port);
        let number = queue.number();
        let waiting = queue.frames().enumerate().skip(self.given);
        let frames = waiting.map(move |(place, frame)| Frame {
            data: frame.data,
            wire_length: u32::try_from(frame.data.len()).unwrap_or(u32::MAX),
            timestamp: frame
                .timestamp
                .map_or_else(|| stamps.at(place), Timestamp::from_nanos),
            link: LinkType::ETHERNET,
            port,
            queue: number,
            ..Frame::EMPTY
        });
        let given = Given {
            of_burst: &mut self.given,
            counts: &mut self.counts,
        };
        (frames, given)
    }
}

/// Where frames that were given out are counted.
struct Given<'a> {
    of_burst: &'a mut usize,
    counts: &'a mut (u64, u64),
}

impl Given<'_> {
    fn add(self, frames: usize, bytes: u64) {
        *self.of_burst += frames;
        self.counts.0 += u64::try_from(frames).unwrap_or(0);
        self.counts.1 += bytes;
    }
}

/// What one receive queue gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCounts {
    /// Index of its port in the settings.
    pub port: u16,
    /// Its number on the port, from 0.
    pub queue: u16,
    /// Frames.
    pub received: u64,
    /// Their captured bytes.
    pub bytes: u64,
}

/// What is asked in one turn.
#[derive(Debug)]
pub(super) struct Line {
    first: Source,
    /// The queue with the other direction, of the other port of a tap pair.
    second: Option<Source>,
}

impl Line {
    /// Queues of equal number of the ports of a pair together, all others alone.
    pub(super) fn from_sources(sources: Vec<Source>, pairs: &[[usize; 2]]) -> Vec<Self> {
        let mut lines: Vec<Self> = Vec::new();
        for source in sources {
            let own = usize::from(source.port);
            let pair = pairs.iter().find(|pair| pair.contains(&own));
            let belongs = |line: &&mut Self| {
                line.second.is_none()
                    && line.first.queue.number() == source.queue.number()
                    && pair.is_some_and(|pair| pair.contains(&usize::from(line.first.port)))
            };
            match lines.iter_mut().find(belongs) {
                Some(line) => line.second = Some(source),
                None => lines.push(Self {
                    first: source,
                    second: None,
                }),
            }
        }
        lines
    }

    /// Its queues.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        std::iter::once(&self.first).chain(&self.second)
    }

    /// Receive where all frames were given out; says whether any wait.
    #[inline]
    pub(super) fn poll(&mut self, clock: &mut Clock) -> bool {
        let first = self.first.poll(clock);
        let second = self.second.as_mut().is_some_and(|two| two.poll(clock));
        first || second
    }

    /// Time stamp counter at the last receive that found frames.
    #[inline]
    pub(super) fn tsc(&self) -> u64 {
        let second = self.second.as_ref().map_or(0, |two| two.queue.tsc());
        self.first.queue.tsc().max(second)
    }

    /// Give out what waits, at most a burst. The frames live until the next poll.
    #[inline]
    pub(super) fn give<'a>(&'a mut self, mut out: impl FnMut(Frame<'a>)) {
        let (first, given) = self.first.open();
        match &mut self.second {
            None => {
                let (count, mut bytes) = (first.len(), 0);
                first.for_each(|frame| {
                    bytes += u64::from(frame.wire_length);
                    out(frame);
                });
                given.add(count, bytes);
            }
            Some(second) => {
                let (port, mut bytes) = (second.port, [0, 0]);
                let (second, given_second) = second.open();
                let [one, two] = merge(first, second, &mut |frame: Frame<'a>| {
                    // The two are of different ports.
                    bytes[usize::from(frame.port == port)] += u64::from(frame.wire_length);
                    out(frame);
                });
                given.add(one, bytes[0]);
                given_second.add(two, bytes[1]);
            }
        }
    }

    /// Give the buffers of all queues back.
    pub(super) fn release(&mut self) {
        for source in std::iter::once(&mut self.first).chain(&mut self.second) {
            source.queue.release();
            (source.count, source.given) = (0, 0);
        }
    }
}

/// Give out frames of two directions by their time, those of the first one first when times are
/// equal, and at most a burst; returns how many of each.
///
/// It ends with the last frame of either: the next one of that queue, which is not received yet,
/// may be earlier than what is left of the other. But a queue that had nothing to begin with is not
/// waited for.
fn merge<'a>(
    first: impl ExactSizeIterator<Item = Frame<'a>>,
    second: impl ExactSizeIterator<Item = Frame<'a>>,
    out: &mut impl FnMut(Frame<'a>),
) -> [usize; 2] {
    let waited_for = [first.len() > 0, second.len() > 0];
    let (mut first, mut second) = (first.peekable(), second.peekable());
    let mut given = [0, 0];
    for _ in 0..BURST_MAX {
        let earlier = match (first.peek(), second.peek()) {
            (Some(one), Some(two)) => usize::from(two.timestamp < one.timestamp),
            (Some(_), None) if !waited_for[1] => 0,
            (None, Some(_)) if !waited_for[0] => 1,
            _ => break,
        };
        let frame = match earlier {
            0 => first.next(),
            _ => second.next(),
        };
        frame.into_iter().for_each(&mut *out);
        given[earlier] += 1;
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times given out, from directions with frames at these times.
    fn merged(first: &[u64], second: &[u64]) -> (Vec<u64>, [usize; 2]) {
        let frame = |port| {
            move |&time: &u64| Frame {
                data: &[0],
                wire_length: 1,
                timestamp: Timestamp::from_nanos(time),
                port,
                ..Frame::EMPTY
            }
        };
        let mut times = Vec::new();
        let mut out = |frame: Frame<'_>| {
            times.push(frame.timestamp.nanos() * 10 + u64::from(frame.port));
        };
        let given = merge(
            first.iter().map(frame(0)),
            second.iter().map(frame(1)),
            &mut out,
        );
        (times, given)
    }

    #[test]
    fn the_earlier_head_goes_first() {
        assert_eq!(
            merged(&[1, 4, 9], &[2, 3, 9]),
            (vec![10, 21, 31, 40, 90], [3, 2])
        );
        assert_eq!(merged(&[5], &[1, 2]), (vec![11, 21], [0, 2]));
    }

    #[test]
    fn an_empty_direction_holds_nothing_back() {
        assert_eq!(merged(&[], &[1, 2]), (vec![11, 21], [0, 2]));
        assert_eq!(merged(&[3, 4], &[]), (vec![30, 40], [2, 0]));
        assert_eq!(merged(&[], &[]), (vec![], [0, 0]));
    }

    #[test]
    fn what_is_left_waits_for_the_direction_that_ran_out() {
        assert_eq!(merged(&[1, 2], &[3, 4]), (vec![10, 20], [2, 0]));
    }

    #[test]
    fn at_most_a_burst_at_a_time() {
        let (even, odd): (Vec<u64>, Vec<u64>) = (
            (0..32).map(|t| 2 * t).collect(),
            (0..32).map(|t| 2 * t + 1).collect(),
        );
        let (times, given) = merged(&even, &odd);
        assert_eq!((times.len(), given), (BURST_MAX, [16, 16]));
    }
}
