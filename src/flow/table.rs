//! The table from key to flow: buckets of one cache line each, of a size fixed at start.
//!
//! A key has a home bucket and, when that is full, three more places that its hash names. The home
//! bucket counts the flows that had to go elsewhere, so a search ends at home unless there are any,
//! and taking a flow out leaves nothing behind. Whatever the keys, a search reads four buckets at
//! most.

/// Flows in a bucket: as many as a line of 64 bytes holds with their tags.
const SLOTS: usize = 12;

/// Buckets that a key may be in. With [`FLOWS_PER_BUCKET`], fewer than one new flow in ten million
/// finds all four full when the table is as full as it may get.
const PROBES: u64 = 4;

/// Mean fill at which the buckets are sized.
const FLOWS_PER_BUCKET: usize = 6;

/// No flow has this tag.
const EMPTY: u8 = 0;

/// One byte of 1 in each lane, and the upper bit of each lane.
const ONES: u64 = 0x0101_0101_0101_0101;
const UPPER: u64 = 0x8080_8080_8080_8080;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    /// Tag of each flow: a byte of its hash.
    tags: [u8; SLOTS],
    /// Flows whose home this is but that are in another bucket.
    displaced: u32,
    flows: [u32; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Self = Self {
        tags: [EMPTY; SLOTS],
        displaced: 0,
        flows: [0; SLOTS],
    };

    /// Slots whose tag is `tag`, and now and then one more: the caller compares the key anyway.
    #[inline]
    fn matches(&self, tag: u8) -> Matches<'_> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.tags;
        let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let high = u64::from_le_bytes([i, j, k, l, EMPTY, EMPTY, EMPTY, EMPTY]);
        let spread = u64::from(tag).wrapping_mul(ONES);
        // The lanes that are 0 after this are the equal ones; a borrow may add the lane above.
        let equal = |word: u64| {
            let differ = word ^ spread;
            differ.wrapping_sub(ONES) & !differ & UPPER
        };
        Matches {
            flows: &self.flows,
            lanes: u128::from(equal(low)) | u128::from(equal(high)) << 64,
        }
    }
}

/// The flows of the slots that a search found.
struct Matches<'a> {
    flows: &'a [u32; SLOTS],
    lanes: u128,
}

impl Iterator for Matches<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.lanes == 0 {
            return None;
        }
        let slot = self.lanes.trailing_zeros() >> 3;
        self.lanes &= self.lanes.wrapping_sub(1);
        self.flows.get(usize::try_from(slot).ok()?).copied()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Vec<Bucket>,
    /// Number of buckets less one; the number is a power of two.
    mask: u64,
}

impl Table {
    /// For `flows_max` flows.
    pub(super) fn new(flows_max: usize) -> Self {
        let buckets = flows_max.div_ceil(FLOWS_PER_BUCKET).next_power_of_two();
        Self {
            buckets: memory::filled(Bucket::EMPTY, buckets),
            mask: u64::try_from(buckets.saturating_sub(1)).unwrap_or(0),
        }
    }

    /// Bytes of a table for `flows_max` flows.
    pub(super) fn bytes(flows_max: usize) -> usize {
        let buckets = flows_max.div_ceil(FLOWS_PER_BUCKET).next_power_of_two();
        buckets.saturating_mul(size_of::<Bucket>())
    }

    /// The bucket of `hash` at probe `probe`; an odd step visits different buckets.
    #[inline]
    fn place(&self, hash: u64, probe: u64) -> usize {
        let step = hash >> 40 | 1;
        let bucket = (hash >> 8).wrapping_add(step.wrapping_mul(probe)) & self.mask;
        usize::try_from(bucket).unwrap_or(0)
    }

    #[inline]
    fn tag(hash: u64) -> u8 {
        let [tag, ..] = hash.to_le_bytes();
        tag.max(1)
    }

    /// Ask for the line of the home bucket, so that it is on its way when it is needed.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        memory::prefetch_element(&self.buckets, self.place(hash, 0));
    }

    /// A flow in the home bucket that may be the one of `hash`: right but for one in fifty.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> Option<u32> {
        let bucket = self.buckets.get(self.place(hash, 0))?;
        bucket.matches(Self::tag(hash)).next()
    }

    /// The flow of `hash` that `is_it` confirms.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = Self::tag(hash);
        let home = self.buckets.get(self.place(hash, 0))?;
        if let Some(flow) = home.matches(tag).find(|flow| is_it(*flow)) {
            return Some(flow);
        }
        if home.displaced == 0 {
            return None;
        }
        (1..PROBES)
            .filter_map(|probe| self.buckets.get(self.place(hash, probe)))
            .flat_map(|bucket| bucket.matches(tag))
            .find(|flow| is_it(*flow))
    }

    /// Add `flow` under `hash`; false when there is no room in any of its places.
    pub(super) fn insert(&mut self, hash: u64, flow: u32) -> bool {
        for probe in 0..PROBES {
            let place = self.place(hash, probe);
            if self.put(place, Self::tag(hash), flow) {
                if probe != 0 {
                    self.count_displaced(hash, |count| count.saturating_add(1));
                }
                return true;
            }
        }
        false
    }

    /// Take `flow` out, which was inserted under `hash`.
    pub(super) fn remove(&mut self, hash: u64, flow: u32) {
        for probe in 0..PROBES {
            let place = self.place(hash, probe);
            if self.clear(place, Self::tag(hash), flow) {
                if probe != 0 {
                    self.count_displaced(hash, |count| count.saturating_sub(1));
                }
                return;
            }
        }
        debug_assert!(false, "the flow was in the table");
    }

    fn put(&mut self, place: usize, tag: u8, flow: u32) -> bool {
        let Some(bucket) = self.buckets.get_mut(place) else {
            return false;
        };
        let slots = bucket.tags.iter_mut().zip(&mut bucket.flows);
        for (own, slot) in slots {
            if *own == EMPTY {
                (*own, *slot) = (tag, flow);
                return true;
            }
        }
        false
    }

    fn clear(&mut self, place: usize, tag: u8, flow: u32) -> bool {
        let Some(bucket) = self.buckets.get_mut(place) else {
            return false;
        };
        for (own, slot) in bucket.tags.iter_mut().zip(&bucket.flows) {
            if *own == tag && *slot == flow {
                *own = EMPTY;
                return true;
            }
        }
        false
    }

    fn count_displaced(&mut self, hash: u64, change: impl Fn(u32) -> u32) {
        let home = self.place(hash, 0);
        if let Some(bucket) = self.buckets.get_mut(home) {
            bucket.displaced = change(bucket.displaced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let mut table = Table::new(1_000);
        let hashes: Vec<u64> = (1..=1_000_u64)
            .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        for (flow, hash) in (0..).zip(&hashes) {
            assert!(table.insert(*hash, flow));
        }
        for (flow, hash) in (0_u32..).zip(&hashes) {
            assert_eq!(table.find(*hash, |found| found == flow), Some(flow));
        }
        for (flow, hash) in (0_u32..).zip(&hashes) {
            table.remove(*hash, flow);
            assert_eq!(table.find(*hash, |found| found == flow), None);
        }
        let left = table
            .buckets
            .iter()
            .any(|bucket| bucket.displaced != 0 || bucket.tags.iter().any(|tag| *tag != EMPTY));
        assert!(!left, "nothing is left behind");
    }

    #[test]
    fn equal_hashes_fill_four_buckets_and_no_more() {
        let mut table = Table::new(1_000);
        let hash = 0xdead_beef_0bad_cafe;
        let room = (0..100)
            .take_while(|flow| table.insert(hash, *flow))
            .count();
        assert_eq!(room, SLOTS * usize::try_from(PROBES).unwrap());
        for flow in 0..48 {
            assert_eq!(table.find(hash, |found| found == flow), Some(flow));
        }
        table.remove(hash, 3);
        assert!(table.insert(hash, 77), "room again");
        table.remove(hash, 35);
        table.remove(hash, 77);
        assert_eq!(
            table.buckets[table.place(hash, 0)].displaced,
            35,
            "36 were displaced, one of them is gone"
        );
    }
}
