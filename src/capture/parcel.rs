//! Frames on their way from one thread to another: copied into parcels, which go through a ring of
//! one producer and one consumer and come back to be filled again.

use super::Burst;
use crate::limits::{BURST_MAX, FRAGMENT_END_MAX, FRAGMENT_HEADERS_MAX};
use crate::packet::Frame;
use crate::ring::{Fill, Full, Position};
use crossbeam::queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Frames of one parcel.
pub const FRAMES_MAX: usize = 4 * BURST_MAX;

/// Bytes of one parcel, unless its only frame has more.
const BYTES_MAX: usize = 128 << 10;

/// Room taken for the bytes of one parcel: a datagram put together from fragments has no more, and
/// pages that are never filled are never touched.
const ROOM: usize = FRAGMENT_HEADERS_MAX + FRAGMENT_END_MAX;

const _: () = assert!(ROOM >= BYTES_MAX);

/// A frame whose bytes are in its parcel.
#[derive(Debug, Clone, Copy)]
struct Entry {
    end: usize,
    frame: Frame<'static>,
}

/// Frames on their way to a worker.
#[derive(Debug, Default)]
pub struct Parcel {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// Where the input was when it was handed over.
    reached: Position,
}

impl Parcel {
    /// With room for all that it may get.
    fn with_room() -> Self {
        Self {
            entries: Vec::with_capacity(FRAMES_MAX),
            bytes: Vec::with_capacity(ROOM),
            reached: Position::default(),
        }
    }

    /// Where the input was when it was handed over: later frames come behind that.
    pub fn reached(&self) -> Position {
        self.reached
    }

    /// Its frames, in bursts.
    pub fn bursts(&self) -> impl Iterator<Item = Burst<'_>> {
        let mut start = 0;
        self.entries.chunks(BURST_MAX).map(move |entries| {
            let mut burst = Burst::new();
            for entry in entries {
                let data = self.bytes.get(start..entry.end).unwrap_or(&[]);
                start = entry.end;
                burst.push(Frame {
                    data,
                    ..entry.frame
                });
            }
            burst
        })
    }

    fn has_room(&self, length: usize) -> bool {
        self.entries.is_empty()
            || self.entries.len() < FRAMES_MAX && self.bytes.len() + length <= BYTES_MAX
    }

    fn push(&mut self, frame: &Frame<'_>) {
        self.bytes.extend_from_slice(frame.data);
        self.entries.push(Entry {
            end: self.bytes.len(),
            frame: Frame {
                data: &[],
                ..*frame
            },
        });
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }
}

#[derive(Debug)]
struct Ring {
    full: ArrayQueue<Box<Parcel>>,
    empty: ArrayQueue<Box<Parcel>>,
    /// The producer has handed over all that it was first to have; it may still pass on what it
    /// gets from others.
    ending: AtomicBool,
    /// The producer has handed over everything.
    ended: AtomicBool,
    /// The consumer takes nothing any more.
    closed: AtomicBool,
}

impl Fill for Ring {
    fn waiting(&self) -> usize {
        self.full.len()
    }

    fn capacity(&self) -> usize {
        self.full.capacity()
    }
}

/// A ring with room for so many parcels, whose memory is taken here: its producer's end and its
/// consumer's. Besides those in the ring one is being filled and one emptied.
pub fn ring(parcels_max: usize) -> (Sender, Parcels) {
    let ring = Ring {
        full: ArrayQueue::new(parcels_max.max(1)),
        empty: ArrayQueue::new(parcels_max.max(1) + 1),
        ending: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        closed: AtomicBool::new(false),
    };
    while ring.empty.push(Box::new(Parcel::with_room())).is_ok() {}
    let ring = Arc::new(ring);
    let sender = Sender {
        ring: Arc::clone(&ring),
        filling: Box::new(Parcel::with_room()),
    };
    (sender, Parcels { ring })
}

/// The producer's end.
#[derive(Debug)]
pub struct Sender {
    ring: Arc<Ring>,
    filling: Box<Parcel>,
}

impl Sender {
    /// Has the parcel that is being filled room for a frame of so many bytes? An empty one has room
    /// for any.
    pub fn has_room(&self, length: usize) -> bool {
        self.filling.has_room(length)
    }

    /// How full the ring is, to be seen by others.
    pub fn fill(&self) -> Arc<dyn Fill> {
        let ring: Arc<Ring> = Arc::clone(&self.ring);
        ring
    }

    /// Are there no frames in it?
    pub fn is_empty(&self) -> bool {
        self.filling.entries.is_empty()
    }

    /// Copy a frame into it. See [`Sender::has_room`].
    pub fn push(&mut self, frame: &Frame<'_>) {
        self.filling.push(frame);
    }

    /// Hand it over, filled or not; the next one is empty.
    ///
    /// # Errors
    /// The ring has no room; nothing has changed.
    pub fn hand_over(&mut self, reached: Position) -> Result<(), Full> {
        // Nobody else puts parcels in: if there is room now, there will be.
        if self.ring.full.is_full() {
            return Err(Full);
        }
        let next = self.ring.empty.pop();
        let next = next.unwrap_or_else(|| Box::new(Parcel::with_room()));
        let mut parcel = std::mem::replace(&mut self.filling, next);
        parcel.reached = reached;
        self.ring.full.push(parcel).map_err(|_| Full)
    }

    /// Forget the frames in it; their number.
    pub fn discard(&mut self) -> usize {
        let frames = self.filling.entries.len();
        self.filling.clear();
        frames
    }

    /// Say that all that this end was first to have is handed over: the rest is passed on.
    pub fn end_own(&self) {
        self.ring.ending.store(true, Ordering::Release);
    }

    /// Does nobody take parcels any more?
    pub fn is_closed(&self) -> bool {
        self.ring.closed.load(Ordering::Acquire)
    }
}

impl Drop for Sender {
    /// Nothing comes any more. What was not handed over is lost.
    fn drop(&mut self) {
        self.ring.ended.store(true, Ordering::Release);
    }
}

/// The consumer's end.
#[derive(Debug)]
pub struct Parcels {
    ring: Arc<Ring>,
}

impl Parcels {
    /// The next parcel; none when there is none now.
    pub fn next(&self) -> Option<Box<Parcel>> {
        self.ring.full.pop()
    }

    /// Does the producer only pass on what others give it, if there is no parcel? To be asked
    /// before the parcel is asked for.
    pub fn is_ending(&self) -> bool {
        self.ring.ending.load(Ordering::Acquire) || self.is_ended()
    }

    /// Is the input at its end, if there is no parcel? To be asked before the parcel is asked for.
    pub fn is_ended(&self) -> bool {
        self.ring.ended.load(Ordering::Acquire)
    }

    /// Give a parcel back to be filled again.
    pub fn give_back(&self, mut parcel: Box<Parcel>) {
        parcel.clear();
        let _ = self.ring.empty.push(parcel);
    }
}

impl Drop for Parcels {
    fn drop(&mut self) {
        self.ring.closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &[u8], number: u64) -> Frame<'_> {
        Frame {
            data,
            wire_length: u32::try_from(data.len()).unwrap(),
            number,
            whole: Some(14),
            ..Frame::EMPTY
        }
    }

    /// Numbers and lengths of the frames of the next parcel.
    fn take(parcels: &Parcels) -> Vec<(u64, usize)> {
        let Some(parcel) = parcels.next() else {
            return Vec::new();
        };
        let bursts = parcel.bursts();
        let frames = bursts.flat_map(|burst| burst.into_iter().map(|f| (f.number, f.data.len())));
        let frames = frames.collect();
        parcels.give_back(parcel);
        frames
    }

    #[test]
    fn frames_arrive_in_order_and_as_they_were() {
        let (mut sender, parcels) = ring(2);
        for number in 0..100 {
            let data = vec![7; usize::try_from(number).unwrap()];
            sender.push(&frame(&data, number));
        }
        sender.hand_over(Position::default()).unwrap();
        let parcel = parcels.next().unwrap();
        let bursts: Vec<Burst<'_>> = parcel.bursts().collect();
        assert_eq!(bursts.len(), 4);
        for (number, got) in (0..).zip(bursts.iter().flatten()) {
            assert_eq!((got.number, got.whole), (number, Some(14)));
            assert_eq!(got.data, vec![7; usize::try_from(number).unwrap()]);
        }
    }

    #[test]
    fn a_full_ring_changes_nothing() {
        let (mut sender, parcels) = ring(2);
        for number in 1..=2 {
            sender.push(&frame(b"a", number));
            assert!(sender.hand_over(Position::default()).is_ok());
        }
        sender.push(&frame(b"a", 3));
        assert_eq!(sender.hand_over(Position::default()), Err(Full));
        assert!(!sender.is_empty());
        assert_eq!(take(&parcels), [(1, 1)]);
        assert!(sender.hand_over(Position::default()).is_ok());
        assert!(sender.is_empty());
        assert_eq!(take(&parcels), [(2, 1)]);
        assert_eq!(take(&parcels), [(3, 1)]);
        assert_eq!(take(&parcels), []);
        sender.push(&frame(b"a", 4));
        assert_eq!((sender.discard(), sender.is_empty()), (1, true));
    }

    #[test]
    fn a_parcel_has_bounds_and_an_empty_one_takes_any_frame() {
        let (mut sender, parcels) = ring(1);
        let large = vec![0; ROOM];
        assert!(sender.has_room(large.len()));
        sender.push(&frame(&large, 1));
        assert!(!sender.has_room(0));
        sender.hand_over(Position::default()).unwrap();
        for number in 0..FRAMES_MAX {
            assert!(sender.has_room(1), "{number}");
            sender.push(&frame(b"a", 1));
        }
        assert!(!sender.has_room(1));
        assert_eq!(take(&parcels), [(1, ROOM)]);
    }

    #[test]
    fn each_end_learns_that_the_other_is_gone() {
        let (sender, parcels) = ring(1);
        assert!(!parcels.is_ending() && !parcels.is_ended());
        sender.end_own();
        assert!(parcels.is_ending() && !parcels.is_ended());
        drop(sender);
        assert!(parcels.is_ending() && parcels.is_ended());
        let (sender, parcels) = ring(1);
        drop(sender);
        assert!(parcels.is_ending());
        let (sender, parcels) = ring(1);
        assert!(!sender.is_closed());
        drop(parcels);
        assert!(sender.is_closed());
    }
}
