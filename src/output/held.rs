//! Events of one thread, held until it is sure that it has none that comes before them.
//!
//! A deadline is noticed a little later than it passes, and a flow that has ended later still. So a
//! thread finds its events almost in order, and says up to where it has found all of them.

use crate::packet::Timestamp;
use crate::ring::Position;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Events held at most. A second of a flood of short flows is some hundred thousand; with more, the
/// first goes before its time, and others may come out behind it that belong before it.
const HELD_MAX: usize = 1 << 18;

/// See the module.
#[derive(Debug)]
pub(super) struct Held<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    /// Events so far: those of one position come out as they came in.
    count: u64,
}

#[derive(Debug)]
struct Entry<T> {
    place: (Position, u64),
    event: T,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            count: 0,
        }
    }
}

impl<T> Held<T> {
    pub(super) fn push(&mut self, position: Position, event: T) {
        let place = (position, self.count);
        self.count += 1;
        self.heap.push(Reverse(Entry { place, event }));
    }

    /// The first event, if it is before this time or there are too many.
    pub(super) fn pop_before(&mut self, time: Timestamp) -> Option<(Position, T)> {
        let Reverse(first) = self.heap.peek()?;
        if first.place.0.time >= time && self.heap.len() <= HELD_MAX {
            return None;
        }
        self.pop()
    }

    /// The first event.
    pub(super) fn pop(&mut self) -> Option<(Position, T)> {
        let Reverse(first) = self.heap.pop()?;
        Some((first.place.0, first.event))
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}
