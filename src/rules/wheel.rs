//! A hierarchical timer wheel over event time (Varghese and Lauck, 1987, scheme 7).
//!
//! It holds (deadline, key) pairs; cancelling is the owner's business: an entry whose key has moved
//! on is dropped when it comes up (`advance` asks for each). Entries therefore cost their 24 bytes
//! until their deadline, and the number of entries is bounded by the owner's own number of
//! instances times the moves each can make before a deadline; beyond `ENTRIES_PER_KEY` times the
//! live ones, the dead ones are swept.

use crate::packet::Timestamp;

/// One tick in microseconds: deadlines are noticed this much late in event time, at most.
const TICK_US: u64 = 1024;
const SLOTS: usize = 256;
const LEVELS: usize = 4;
/// Dead entries tolerated for each live one before a sweep.
const ENTRIES_PER_KEY: usize = 4;

/// What to call back about, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Microseconds since the epoch; the entry is due when time is beyond it.
    pub deadline_us: u64,
    /// Tells entries of one deadline apart, and dead ones from live ones.
    pub sequence: u64,
    /// Rule and instance, or no instance for the oldest of the rule.
    pub key: (u32, u32),
}

#[derive(Debug)]
struct Level {
    slots: Vec<Vec<Entry>>,
    occupied: [u64; SLOTS / 64],
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    levels: Vec<Level>,
    /// Tick up to which everything has come up.
    tick: u64,
    length: usize,
    /// Entries that came up, by deadline.
    due: Vec<Entry>,
}

impl Default for Wheel {
    fn default() -> Self {
        let level = || Level {
            slots: vec![Vec::new(); SLOTS],
            occupied: [0; SLOTS / 64],
        };
        Self {
            levels: (0..LEVELS).map(|_| level()).collect(),
            tick: 0,
            length: 0,
            due: Vec::new(),
        }
    }
}

impl Wheel {
    /// Entries, dead ones included.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Is there anything for `advance` to this time to do? One comparison, for every packet.
    pub fn is_behind(&self, now_us: u64) -> bool {
        now_us / TICK_US > self.tick
    }

    /// What comes up from now on has this deadline or a later one.
    pub fn settled(&self) -> Timestamp {
        Timestamp::from_micros(self.tick.saturating_mul(TICK_US))
    }

    /// What [`Wheel::advance`] has given last was added when this was settled, or before.
    pub fn settled_before(&self) -> Timestamp {
        Timestamp::from_micros(self.tick.saturating_sub(1).saturating_mul(TICK_US))
    }

    /// Has time been moved so far that this deadline is behind?
    pub fn has_passed(&self, deadline_us: u64) -> bool {
        tick_after(deadline_us) <= self.tick
    }

    /// Add an entry. One that is due already comes up at the next tick.
    pub fn insert(&mut self, entry: Entry) {
        self.length += 1;
        self.place(entry);
    }

    fn place(&mut self, entry: Entry) {
        let tick = tick_after(entry.deadline_us).max(self.tick.saturating_add(1));
        let distance = tick ^ self.tick;
        let mut level = 0;
        while level + 1 < LEVELS && distance >> (8 * (level + 1)) != 0 {
            level += 1;
        }
        let slot = slot_of(tick, level);
        if let Some(level) = self.levels.get_mut(level) {
            if let Some(entries) = level.slots.get_mut(slot) {
                entries.push(entry);
            }
            if let Some(word) = level.occupied.get_mut(slot / 64) {
                *word |= 1 << (slot % 64);
            }
        }
    }

    /// Move time towards `now_us`, up to the first tick at which something is due, and take that
    /// out, ordered by deadline, then sequence. Nothing is due before `now_us` once it returns
    /// nothing.
    pub fn advance(&mut self, now_us: u64) -> Vec<Entry> {
        let target = now_us / TICK_US;
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        while self.tick < target && due.is_empty() {
            match self.next_tick().filter(|next| *next <= target) {
                Some(next) => {
                    self.tick = next;
                    self.collect(&mut due);
                }
                None => self.tick = target,
            }
        }
        due.sort_unstable();
        self.length = self.length.saturating_sub(due.len());
        due
    }

    /// Give the buffer of `advance` back, so that it is not allocated again.
    pub fn recycle(&mut self, due: Vec<Entry>) {
        self.due = due;
    }

    /// The next tick at which a slot comes up or must be spread over the level below.
    fn next_tick(&self) -> Option<u64> {
        for (index, level) in self.levels.iter().enumerate() {
            let shift = 8 * index;
            let here = slot_of(self.tick, index);
            if let Some(slot) = level.next_occupied(here + 1) {
                let base = self.tick >> (shift + 8) << (shift + 8);
                return Some(base | (u64::try_from(slot).unwrap_or(0) << shift));
            }
        }
        // Beyond the wheel: the last level wraps around.
        let last = self.levels.last()?;
        let slot = last.next_occupied(0)?;
        let shift = 8 * (LEVELS - 1);
        let base = (self.tick >> (shift + 8)).saturating_add(1) << (shift + 8);
        Some(base | (u64::try_from(slot).unwrap_or(0) << shift))
    }

    fn collect(&mut self, due: &mut Vec<Entry>) {
        for level in (0..LEVELS).rev() {
            if level > 0 && self.tick & ((1 << (8 * level)) - 1) != 0 {
                continue;
            }
            let slot = slot_of(self.tick, level);
            let mut entries = match self.levels.get_mut(level) {
                Some(level) => level.take(slot),
                None => continue,
            };
            for entry in entries.drain(..) {
                if tick_after(entry.deadline_us) <= self.tick {
                    due.push(entry);
                } else {
                    self.place(entry);
                }
            }
            if let Some(slots) = self
                .levels
                .get_mut(level)
                .and_then(|l| l.slots.get_mut(slot))
                && slots.is_empty()
            {
                *slots = entries;
            }
        }
    }

    /// Is it time for [`Wheel::sweep`], with this many instances alive?
    pub fn wants_sweep(&self, live: usize) -> bool {
        self.length > ENTRIES_PER_KEY * live + 4096
    }

    /// Forget the entries for which `alive` is false. It may change keys.
    pub fn sweep(&mut self, mut alive: impl FnMut(&mut Entry) -> bool) {
        let mut length = 0;
        for level in &mut self.levels {
            for entries in &mut level.slots {
                entries.retain_mut(&mut alive);
                length += entries.len();
            }
        }
        self.length = length;
    }
}

impl Level {
    fn take(&mut self, slot: usize) -> Vec<Entry> {
        if let Some(word) = self.occupied.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
        self.slots
            .get_mut(slot)
            .map(std::mem::take)
            .unwrap_or_default()
    }

    fn next_occupied(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.occupied.get(word).copied()? & (u64::MAX << (from % 64));
        loop {
            if bits != 0 {
                return Some(word * 64 + usize::try_from(bits.trailing_zeros()).ok()?);
            }
            word += 1;
            bits = self.occupied.get(word).copied()?;
        }
    }
}

/// The first tick of which every moment is beyond the deadline.
fn tick_after(deadline_us: u64) -> u64 {
    deadline_us / TICK_US + 1
}

fn slot_of(tick: u64, level: usize) -> usize {
    usize::try_from(tick >> (8 * level) & 0xff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(deadline_us: u64) -> Entry {
        Entry {
            deadline_us,
            sequence: deadline_us,
            key: (0, 0),
        }
    }

    /// Against the obvious implementation, with gaps from microseconds to centuries.
    #[test]
    fn entries_come_up_once_in_order_and_not_early() {
        let mut wheel = Wheel::default();
        let mut model: Vec<u64> = Vec::new();
        let mut seed = 0x1234_5678_9abc_def0_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut now = 1_700_000_000_000_000;
        for _ in 0..20_000 {
            let delay = next() % (1 << (next() % 50));
            wheel.insert(entry(now + delay));
            model.push(now + delay);
            if next() % 3 == 0 {
                now += next() % (1 << (next() % 44));
                let mut last = 0;
                while wheel.is_behind(now) {
                    let due = wheel.advance(now);
                    assert!(due.is_sorted());
                    for entry in &due {
                        assert!(entry.deadline_us < now, "early");
                        assert!(entry.deadline_us >= last, "out of order");
                        last = entry.deadline_us;
                        let place = model.iter().position(|d| *d == entry.deadline_us).unwrap();
                        model.swap_remove(place);
                    }
                    wheel.recycle(due);
                }
                let late = model
                    .iter()
                    .filter(|d| **d / TICK_US + 1 < now / TICK_US)
                    .count();
                assert_eq!(late, 0, "late");
            }
        }
        let mut left = 0;
        while !wheel.is_empty() {
            left += wheel.advance(u64::MAX).len();
        }
        assert_eq!(left, model.len());
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_jump_over_centuries_takes_no_time() {
        let mut wheel = Wheel::default();
        wheel.insert(entry(10));
        wheel.insert(entry(u64::MAX / 2));
        assert_eq!(wheel.advance(u64::MAX / 4).len(), 1);
        assert_eq!(wheel.advance(u64::MAX / 4).len(), 0);
        assert!(!wheel.is_behind(u64::MAX / 4));
        assert_eq!(wheel.advance(u64::MAX).len(), 1);
    }
}
