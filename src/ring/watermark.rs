//! How far a sender is, as its merge sees it.

use super::Position;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A 64-bit atomic number. There is one for use, and one for a model checker.
pub trait Word {
    /// With this value.
    fn new(value: u64) -> Self;
    /// Read it.
    fn load(&self, ordering: Ordering) -> u64;
    /// Write it.
    fn store(&self, value: u64, ordering: Ordering);
    /// A fence between accesses to any of them.
    fn fence(ordering: Ordering);
}

impl Word for AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    #[inline]
    fn load(&self, ordering: Ordering) -> u64 {
        self.load(ordering)
    }

    #[inline]
    fn store(&self, value: u64, ordering: Ordering) {
        self.store(value, ordering);
    }

    #[inline]
    fn fence(ordering: Ordering) {
        fence(ordering);
    }
}

/// A position that one thread writes and another reads, neither of them ever waiting (a sequence
/// lock: H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012).
#[derive(Debug)]
pub struct Watermark<W = AtomicU64> {
    /// Odd while the parts are being written.
    version: W,
    /// Of a [`Position`], in its order.
    parts: [W; 3],
}

impl<W: Word> Watermark<W> {
    /// Publish `position`. What its thread did before is seen by whoever reads it. For one thread.
    #[inline]
    pub fn publish(&self, position: Position) {
        let [time, packet, detail] = &self.parts;
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        W::fence(Ordering::Release);
        time.store(position.time.nanos(), Ordering::Relaxed);
        packet.store(position.packet, Ordering::Relaxed);
        detail.store(position.detail, Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// The position published last; nothing while it is being written.
    #[inline]
    pub fn read(&self) -> Option<Position> {
        let [time, packet, detail] = &self.parts;
        let before = self.version.load(Ordering::Acquire);
        let position = Position {
            time: crate::packet::Timestamp::from_nanos(time.load(Ordering::Relaxed)),
            packet: packet.load(Ordering::Relaxed),
            detail: detail.load(Ordering::Relaxed),
        };
        W::fence(Ordering::Acquire);
        let after = self.version.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2)).then_some(position)
    }
}

impl<W: Word> Default for Watermark<W> {
    fn default() -> Self {
        Self {
            version: W::new(0),
            parts: [(); 3].map(|()| W::new(0)),
        }
    }
}
