//! Instances that outlive their rule set.

use super::super::reload::{Adopted, Changes};
use super::{Joins, at};

impl Joins {
    /// Take over, from the joins of the old rules, the instances of those that are unchanged, with
    /// their deadlines, and the counters of those that are still there.
    ///
    /// Both must have been made under one seed: the instances stay in the indexes they are in. What
    /// is left in `old` can be dropped wherever time does not matter.
    pub fn adopt(&mut self, old: &mut Self, changes: &Changes) -> Adopted {
        self.sequence = old.sequence;
        self.candidates.tries = old.candidates.tries;
        for (from, to) in changes.same_id() {
            self.adopt_counters(old, at(from), at(to));
        }
        let before = old.live;
        for (from, to) in changes.unchanged() {
            self.adopt_store(old, at(from), at(to));
            self.note_awaited(to);
        }
        // No deadline is left in `old.set`: it is empty but while one passes.
        std::mem::swap(&mut self.wheel, &mut old.wheel);
        self.wheel.sweep(|entry| {
            let place = changes.place_of(entry.key.0);
            entry.key.0 = place.unwrap_or(entry.key.0);
            place.is_some()
        });
        let count = |instances| u64::try_from(instances).unwrap_or(u64::MAX);
        Adopted {
            kept: count(self.live),
            dropped: count(before.saturating_sub(self.live)),
        }
    }

    fn adopt_store(&mut self, old: &mut Self, from: usize, to: usize) {
        if let (Some(theirs), Some(ours)) = (old.stores.get_mut(from), self.stores.get_mut(to)) {
            std::mem::swap(theirs, ours);
            self.live += ours.live();
        }
        if let (Some(theirs), Some(ours)) = (old.spent.get(from), self.spent.get_mut(to)) {
            *ours = *theirs;
        }
    }

    fn adopt_counters(&mut self, old: &Self, from: usize, to: usize) {
        let (theirs, ours) = (&old.counters, &mut self.counters);
        for (theirs, ours) in [
            (&theirs.matches, &mut ours.matches),
            (&theirs.alerts, &mut ours.alerts),
            (&theirs.evicted, &mut ours.evicted),
            (&theirs.exceeded, &mut ours.exceeded),
        ] {
            if let (Some(theirs), Some(ours)) = (theirs.get(from), ours.get_mut(to)) {
                *ours = *theirs;
            }
        }
    }
}
