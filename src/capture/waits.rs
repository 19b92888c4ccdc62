//! How long packets may have waited in a receive queue before a worker looked.
//!
//! Where the port does not stamp packets, the worker that takes them does, so this is also how far
//! their times may be off, and within what time packets of different workers may change places.

/// Upper ends of the buckets in nanoseconds, ascending: from a busy loop, over a thread that was
/// put aside for one slice of the scheduler, to one that stood still.
pub const BOUNDS_NANOS: [u64; 7] = [
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// A histogram over packets: for each the time from the last look at its queue that left nothing
/// behind to the one that found it. Where bursts are full one after the other, this is more than
/// the packet can have waited, since the queue holds no more than its descriptors.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Packets by bucket; the last one is of those beyond all bounds.
    packets: [u64; BOUNDS_NANOS.len() + 1],
    /// Nanoseconds of all packets together.
    nanos: u64,
}

impl Waits {
    /// So many packets may each have waited for so many nanoseconds.
    #[inline]
    pub fn add(&mut self, nanos: u64, packets: u64) {
        // A loop that is not disturbed is in the first bucket.
        let bucket = BOUNDS_NANOS.iter().position(|&bound| nanos <= bound);
        if let Some(count) = self.packets.get_mut(bucket.unwrap_or(BOUNDS_NANOS.len())) {
            *count += packets;
        }
        self.nanos = self.nanos.saturating_add(nanos.saturating_mul(packets));
    }

    /// The same of another queue.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.packets.iter_mut().zip(other.packets) {
            *own += more;
        }
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    /// Packets whose wait is at most each of [`BOUNDS_NANOS`].
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.packets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BOUNDS_NANOS.into_iter().zip(counts)
    }

    /// Packets in all.
    pub fn count(&self) -> u64 {
        self.packets.iter().sum()
    }

    /// Nanoseconds of all packets together.
    pub const fn nanos(&self) -> u64 {
        self.nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_up_to_each_bound() {
        let mut waits = Waits::default();
        waits.add(0, 1);
        waits.add(10_000, 31);
        waits.add(10_001, 2);
        waits.add(60_000_000_000, 4);
        let counts: Vec<u64> = waits.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [32, 34, 34, 34, 34, 34, 34]);
        assert_eq!(waits.count(), 38);
        assert_eq!(waits.nanos(), 31 * 10_000 + 2 * 10_001 + 4 * 60_000_000_000);
    }

    #[test]
    fn queues_of_a_worker_are_added_up() {
        let (mut one, mut two) = (Waits::default(), Waits::default());
        one.add(5, 3);
        two.add(2_000_000, 7);
        one.merge(&two);
        assert_eq!((one.count(), one.nanos()), (10, 14_000_015));
        assert_eq!(one.cumulative().nth(2), Some((1_000_000, 3)));
        assert_eq!(one.cumulative().nth(3), Some((10_000_000, 10)));
    }
}
