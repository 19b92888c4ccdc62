//! One input for several workers: a reader numbers its frames, puts fragments together, and hands
//! each frame to the worker of its flow.
//!
//! Frames are copied into parcels, which go through a ring to each worker and come back empty. A
//! full ring makes the reader wait. Every parcel says how far the input has come in event time, and
//! all workers get one now and then, so that those without packets do not hold up the others.

use super::Burst;
use crate::dissect;
use crate::dissect::attribute::View;
use crate::flow::fragments::Fragments;
use crate::flow::steering::Steering;
use crate::limits::BURST_MAX;
use crate::metrics;
use crate::packet::{DropReason, Facts, Frame, Stop, Timestamp};
use crate::ring::Position;
use crate::rules::guards::Filter;
use crate::worker::Settings;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::Backoff;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Frames of one parcel.
const FRAMES_MAX: usize = 4 * BURST_MAX;

/// Bytes of one parcel, unless its only frame has more.
const BYTES_MAX: usize = 128 << 10;

/// Parcels in one ring: what a worker may be behind the reader.
const PARCELS_MAX: usize = 32;

/// Frames after which every worker gets what there is for it: what bounds how far workers, and the
/// events they find, are apart.
const FRAMES_PER_ROUND: u64 = 1_024;

/// How long one that waits sleeps between two looks, once it has looked some times.
const PAUSE: Duration = Duration::from_micros(50);

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
    /// The reader has handed over everything.
    ended: AtomicBool,
    /// The worker takes nothing any more.
    closed: AtomicBool,
}

/// The reader's end.
#[derive(Debug)]
pub struct Spread {
    steering: Steering,
    fragments: Fragments,
    lanes: Vec<(Arc<Ring>, Box<Parcel>)>,
    number: u64,
    clock: Timestamp,
    until_round: u64,
    filter: Option<Arc<Filter>>,
    counters: metrics::Counters,
}

/// A worker's end.
#[derive(Debug)]
pub struct Parcels {
    ring: Arc<Ring>,
}

impl Spread {
    /// To so many workers, which have been given these settings in common.
    pub fn new(workers: usize, settings: &Settings) -> (Self, Vec<Parcels>) {
        let ring = |_| {
            Arc::new(Ring {
                full: ArrayQueue::new(PARCELS_MAX),
                empty: ArrayQueue::new(PARCELS_MAX + 2),
                ended: AtomicBool::new(false),
                closed: AtomicBool::new(false),
            })
        };
        let rings: Vec<Arc<Ring>> = (0..workers.max(1)).map(ring).collect();
        let parcels = rings.iter().map(|ring| Parcels {
            ring: Arc::clone(ring),
        });
        let parcels = parcels.collect();
        let spread = Self {
            steering: Steering::new(rings.len(), settings.seed),
            fragments: Fragments::new(&settings.fragments),
            filter: settings.filter.clone(),
            counters: metrics::Counters::default(),
            lanes: rings
                .into_iter()
                .map(|ring| (ring, Box::default()))
                .collect(),
            number: 0,
            clock: Timestamp::default(),
            until_round: FRAMES_PER_ROUND,
        };
        (spread, parcels)
    }

    /// Hand frames to their workers; false when a worker takes nothing any more.
    pub fn burst(&mut self, burst: &Burst<'_>) -> bool {
        let mut is_open = true;
        for frame in burst {
            self.number += 1;
            let before = self.clock;
            self.clock = self.clock.max(frame.timestamp);
            let mut frame = Frame {
                number: self.number,
                clock: self.clock,
                ..*frame
            };
            let mut facts = Facts::new();
            dissect::headers(&frame, &mut facts);
            if !self.is_wanted(&frame, &facts) {
                self.counters.received(&frame);
                self.counters.dropped(DropReason::Filtered);
                continue;
            }
            if facts.has(Facts::FRAGMENT) {
                self.fragments.insert(&frame, &mut facts);
                if let Some(slot) = facts.datagram.checked_sub(1) {
                    facts = self.fragments.facts(slot);
                    let (data, wire_length) = self.fragments.datagram(slot);
                    frame = Frame {
                        data,
                        wire_length,
                        whole: Some(facts.whole_offset),
                        ..frame
                    };
                    dissect::headers(&frame, &mut facts);
                }
            }
            let worker = self.steering.worker(&frame, &facts);
            let before = Position {
                packet: self.number - 1,
                ..Position::at(before)
            };
            if let Some((ring, parcel)) = self.lanes.get_mut(worker) {
                if !parcel.has_room(frame.data.len()) {
                    is_open &= hand_over(ring, parcel, before);
                }
                parcel.push(&frame);
            }
            self.fragments.release();
        }
        let count = u64::try_from(burst.len()).unwrap_or(0);
        self.until_round = self.until_round.saturating_sub(count);
        if self.until_round == 0 {
            is_open &= self.round();
        }
        is_open
    }

    /// Give every worker what there is for it, and the time.
    pub fn round(&mut self) -> bool {
        self.until_round = FRAMES_PER_ROUND;
        let reached = Position {
            packet: self.number,
            ..Position::at(self.clock)
        };
        let lanes = self.lanes.iter_mut();
        lanes.fold(true, |is_open, (ring, parcel)| {
            hand_over(ring, parcel, reached) && is_open
        })
    }

    /// The input has ended. Gives what was counted of frames that went to no worker, and of
    /// fragments.
    pub fn finish(mut self) -> metrics::Counters {
        self.counters.fragments = self.fragments.counters();
        std::mem::take(&mut self.counters)
    }

    fn is_wanted(&self, frame: &Frame<'_>, facts: &Facts) -> bool {
        let Some(filter) = &self.filter else {
            return true;
        };
        let view = View {
            frame,
            facts,
            message: None,
            totals: &[],
        };
        facts.stop == Stop::UnknownLink || filter.holds(&view)
    }
}

impl Drop for Spread {
    /// The input has ended.
    fn drop(&mut self) {
        self.round();
        for (ring, _) in &self.lanes {
            ring.ended.store(true, Ordering::Release);
        }
    }
}

/// Waits for room. False when the worker takes nothing any more.
fn hand_over(ring: &Ring, parcel: &mut Box<Parcel>, reached: Position) -> bool {
    parcel.reached = reached;
    let next = ring.empty.pop().unwrap_or_default();
    let mut parcel = std::mem::replace(parcel, next);
    let backoff = Backoff::new();
    while let Err(back) = ring.full.push(parcel) {
        if ring.closed.load(Ordering::Acquire) {
            return false;
        }
        parcel = back;
        match backoff.is_completed() {
            true => std::thread::sleep(PAUSE),
            false => backoff.snooze(),
        }
    }
    true
}

impl Parcels {
    /// The next parcel; none when there is none now.
    pub fn next(&self) -> Option<Box<Parcel>> {
        self.ring.full.pop()
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
