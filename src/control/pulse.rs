//! Do the threads of the data path get on? Each says now and then that it has come round; whoever
//! watches, for the service manager or for who asks over HTTP, sees when each did so last.

use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Of a thread that has not come round yet.
const NOT_BEGUN: u64 = 0;

/// Of a thread that has ended: it is not waited for.
const RETIRED: u64 = u64::MAX;

/// The beats of some threads. No two of them share a cache line.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Nanoseconds after the start of the latest beat, or what the constants say.
    beats: Box<[CachePadded<AtomicU64>]>,
}

/// What is known of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// It has not come round yet.
    NotBegun,
    /// When it came round last.
    At(Instant),
    /// It has ended, as it should.
    Retired,
}

impl Pulse {
    /// For so many threads, none of which has begun.
    pub fn new(threads: usize) -> Self {
        Self {
            start: Instant::now(),
            beats: (0..threads).map(|_| CachePadded::default()).collect(),
        }
    }

    /// This thread has come round once more. Others than threads that were counted have no pulse.
    pub fn beat(&self, thread: usize, now: Instant) {
        let nanos = now.saturating_duration_since(self.start).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(RETIRED);
        self.note(thread, nanos.clamp(NOT_BEGUN + 1, RETIRED - 1));
    }

    /// This thread has ended, as it should.
    pub fn retire(&self, thread: usize) {
        self.note(thread, RETIRED);
    }

    fn note(&self, thread: usize, beat: u64) {
        if let Some(place) = self.beats.get(thread) {
            place.store(beat, Ordering::Relaxed);
        }
    }

    /// What is known of each thread, by number.
    pub fn beats(&self) -> impl Iterator<Item = Beat> {
        let beats = self.beats.iter();
        beats.map(|beat| match beat.load(Ordering::Relaxed) {
            NOT_BEGUN => Beat::NotBegun,
            RETIRED => Beat::Retired,
            nanos => Beat::At(self.start + Duration::from_nanos(nanos)),
        })
    }

    /// Has every thread come round at least once?
    pub fn has_begun(&self) -> bool {
        self.beats().all(|beat| beat != Beat::NotBegun)
    }

    /// The numbers of the threads that have not come round after this moment.
    pub fn stalled_since(&self, moment: Instant) -> Vec<usize> {
        let is_stalled = |beat| match beat {
            Beat::NotBegun => true,
            Beat::At(at) => at <= moment,
            Beat::Retired => false,
        };
        let stalled = self.beats().enumerate();
        let stalled = stalled.filter(|(_, beat)| is_stalled(*beat));
        stalled.map(|(thread, _)| thread).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_come_round_is_named() {
        let pulse = Pulse::new(3);
        let at = |seconds| pulse.start + Duration::from_secs(seconds);
        assert!(!pulse.has_begun());
        assert_eq!(pulse.stalled_since(at(0)), [0, 1, 2]);
        (0..3).for_each(|thread| pulse.beat(thread, at(1)));
        assert!(pulse.has_begun());
        assert!(pulse.stalled_since(at(0)).is_empty());
        pulse.beat(0, at(3));
        pulse.beat(2, at(3));
        assert_eq!(pulse.stalled_since(at(2)), [1]);
        let beats: Vec<Beat> = pulse.beats().collect();
        assert_eq!(beats, [Beat::At(at(3)), Beat::At(at(1)), Beat::At(at(3))]);
    }

    #[test]
    fn a_thread_that_has_ended_is_not_waited_for() {
        let pulse = Pulse::new(2);
        let later = pulse.start + Duration::from_secs(1);
        pulse.retire(1);
        pulse.beat(0, pulse.start);
        assert!(pulse.has_begun());
        assert_eq!(pulse.stalled_since(later), [0]);
        pulse.beat(7, later);
        pulse.retire(7);
        assert_eq!(pulse.stalled_since(later), [0]);
    }

    #[test]
    fn nobody_is_always_alive() {
        let pulse = Pulse::new(0);
        assert!(pulse.has_begun() && pulse.stalled_since(Instant::now()).is_empty());
    }
}
