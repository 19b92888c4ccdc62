//! One input for several workers: a reader numbers its frames, puts fragments together, and hands
//! each frame to the worker of its flow.
//!
//! Frames are copied into parcels, which go through a ring to each worker and come back empty. A
//! full ring makes the reader wait. Every parcel says how far the input has come in event time, and
//! all workers get one now and then, so that those without packets do not hold up the others.

pub use super::parcel::Parcels;

use super::Burst;
use super::parcel::{self, Sender};
use crate::dissect;
use crate::dissect::attribute::View;
use crate::flow::fragments::Fragments;
use crate::flow::steering::Steering;
use crate::metrics;
use crate::packet::{DropReason, Facts, Frame, Stop, Timestamp};
use crate::ring::Position;
use crate::rules::guards::Filter;
use crate::worker::Settings;
use crossbeam::utils::Backoff;
use std::sync::Arc;
use std::time::Duration;

/// Parcels in one ring: what a worker may be behind the reader.
const PARCELS_MAX: usize = 32;

/// Frames after which every worker gets what there is for it: what bounds how far workers, and the
/// events they find, are apart.
const FRAMES_PER_ROUND: u64 = 1_024;

/// How long one that waits sleeps between two looks, once it has looked some times.
const PAUSE: Duration = Duration::from_micros(50);

/// The reader's end.
#[derive(Debug)]
pub struct Spread {
    steering: Steering,
    fragments: Fragments,
    lanes: Vec<Sender>,
    number: u64,
    clock: Timestamp,
    until_round: u64,
    filter: Option<Arc<Filter>>,
    counters: metrics::Counters,
}

impl Spread {
    /// To so many workers, which have been given these settings in common.
    pub fn new(workers: usize, settings: &Settings) -> (Self, Vec<Parcels>) {
        let rings = (0..workers.max(1)).map(|_| parcel::ring(PARCELS_MAX));
        let (lanes, parcels): (Vec<_>, Vec<_>) = rings.unzip();
        let spread = Self {
            steering: Steering::new(lanes.len(), settings.seed),
            fragments: Fragments::new(&settings.fragments),
            filter: settings.filter.clone(),
            counters: metrics::Counters::default(),
            lanes,
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
                self.fragments.add(&frame, &mut facts, |_, _| true);
                if let Some(slot) = facts.datagram.checked_sub(1) {
                    let (data, wire_length) = self.fragments.datagram(slot);
                    frame = Frame {
                        data,
                        wire_length,
                        whole: Some(facts.whole_offset),
                        ..frame
                    };
                }
            }
            let worker = self.steering.worker(&frame, &facts);
            let before = Position {
                packet: self.number - 1,
                ..Position::at(before)
            };
            if let Some(lane) = self.lanes.get_mut(worker) {
                if !lane.has_room(frame.data.len()) {
                    is_open &= hand_over(lane, before);
                }
                lane.push(&frame);
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
        let mut is_open = true;
        for lane in &mut self.lanes {
            is_open &= hand_over(lane, reached);
        }
        is_open
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
    }
}

/// Waits for room. False when the worker takes nothing any more.
fn hand_over(lane: &mut Sender, reached: Position) -> bool {
    let backoff = Backoff::new();
    while lane.hand_over(reached).is_err() {
        if lane.is_closed() {
            lane.discard();
            return false;
        }
        match backoff.is_completed() {
            true => std::thread::sleep(PAUSE),
            false => backoff.snooze(),
        }
    }
    true
}
