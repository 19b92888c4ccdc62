//! Do the threads of the data path get on? Each of them beats, and whoever watches compares.

use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of a thread that has ended: it is not waited for.
const RETIRED: u64 = u64::MAX;

/// The beats of some threads. No two of them share a cache line.
#[derive(Debug)]
pub struct Pulse(Box<[CachePadded<AtomicU64>]>);

impl Pulse {
    /// For so many threads, none of which has begun.
    pub fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| CachePadded::default()).collect())
    }

    /// This thread has come round once more. Others than threads that were counted have no pulse.
    pub fn beat(&self, thread: usize) {
        if let Some(beats) = self.0.get(thread) {
            beats.store(
                beats.load(Ordering::Relaxed).wrapping_add(1),
                Ordering::Relaxed,
            );
        }
    }

    /// This thread has ended, as it should.
    pub fn retire(&self, thread: usize) {
        if let Some(beats) = self.0.get(thread) {
            beats.store(RETIRED, Ordering::Relaxed);
        }
    }

    /// Has every thread come round at least once?
    pub fn has_begun(&self) -> bool {
        self.0.iter().all(|beats| beats.load(Ordering::Relaxed) > 0)
    }
}

/// What was seen of a [`Pulse`] when it was looked at last.
#[derive(Debug, Default)]
pub struct Watch(Vec<u64>);

impl Watch {
    /// The numbers of the threads that have not come round since the last look. At the first look,
    /// of those that have not begun.
    pub fn look(&mut self, pulse: &Pulse) -> Vec<usize> {
        self.0.resize(pulse.0.len(), 0);
        let mut stalled = Vec::new();
        for (thread, (beats, seen)) in pulse.0.iter().zip(&mut self.0).enumerate() {
            let beats = beats.load(Ordering::Relaxed);
            if beats == *seen && beats != RETIRED {
                stalled.push(thread);
            }
            *seen = beats;
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_come_round_is_named() {
        let (pulse, mut watch) = (Pulse::new(3), Watch::default());
        assert!(!pulse.has_begun());
        assert_eq!(watch.look(&pulse), [0, 1, 2]);
        (0..3).for_each(|thread| pulse.beat(thread));
        assert!(pulse.has_begun());
        assert!(watch.look(&pulse).is_empty());
        pulse.beat(0);
        pulse.beat(2);
        assert_eq!(watch.look(&pulse), [1]);
        pulse.beat(1);
        assert_eq!(watch.look(&pulse), [0, 2]);
    }

    #[test]
    fn a_thread_that_has_ended_is_not_waited_for() {
        let (pulse, mut watch) = (Pulse::new(2), Watch::default());
        pulse.retire(1);
        pulse.beat(0);
        assert!(pulse.has_begun());
        assert!(watch.look(&pulse).is_empty());
        assert_eq!(watch.look(&pulse), [0]);
        pulse.beat(7);
        pulse.retire(7);
        assert_eq!(watch.look(&pulse), [0]);
    }

    #[test]
    fn nobody_is_always_alive() {
        let pulse = Pulse::new(0);
        assert!(pulse.has_begun() && Watch::default().look(&pulse).is_empty());
    }
}
