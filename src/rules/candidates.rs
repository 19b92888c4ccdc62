//! The instances that one match may continue, newest first, found class by class.

use super::program::{Event, Program, Slot};
use super::store::{Instance, Store};
use std::collections::BinaryHeap;

/// An instance that a match may continue. Later ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// Its stay.
    pub sequence: u64,
    /// The instance.
    pub index: u32,
    /// The edge that it would take.
    pub edge: usize,
}

/// Classes at one edge that have not been tried yet.
#[derive(Debug, Clone, Copy)]
struct Untried {
    /// The next.
    class: u32,
    /// None of their members has a higher sequence.
    last: u64,
    edge: usize,
}

/// What one match may continue: the newest instance of each class tried, and the classes to try.
///
/// Following an edge never brings an instance to another edge of the same event, as each event
/// stands once in the tree: classes only lose members while their match runs.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    tried: BinaryHeap<Candidate>,
    untried: Vec<Untried>,
    /// Classes tried so far, for all matches.
    pub tries: u64,
}

impl Candidates {
    /// Forget the last match.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.tried.clear();
        self.untried.clear();
    }

    /// Is there nothing left to give?
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.tried.is_empty() && self.untried.is_empty()
    }

    /// Start on a match: find the classes at each edge of `event` whose key hashes to `key`, but
    /// for those that a number of the packet rules out; `number` gives these. False when there is
    /// none.
    pub(super) fn find(
        &mut self,
        store: &Store,
        program: &Program,
        event: u8,
        key: u64,
        mut number: impl FnMut(Slot) -> Option<u64>,
    ) -> bool {
        self.clear();
        let Some(compiled) = program.event(event).filter(|_| store.awaits(event)) else {
            return false;
        };
        for &(edge, _) in program.edges_of(event) {
            let Some(waiting) = store.waiting(edge) else {
                continue;
            };
            let mut class = waiting.first(key);
            while let Some(id) = class
                && !compiled.remembers
                && store.is_refuted(compiled, waiting, id, &mut number)
            {
                self.tries += 1;
                class = waiting.after(id);
            }
            self.add(store, edge, class);
        }
        !self.untried.is_empty()
    }

    /// The newest instance that the match may continue and that was not given before: it waits for
    /// the event and shares what it must, though perhaps not at this time.
    pub(super) fn next(
        &mut self,
        store: &Store,
        program: &Program,
        event: u8,
        record: &[u8],
    ) -> Option<Candidate> {
        loop {
            self.try_classes(store, program, event, record);
            let candidate = self.tried.pop()?;
            let stays = |i: &Instance| i.sequence == candidate.sequence;
            if !store.instance(candidate.index).is_some_and(stays) {
                // Evicted as the oldest of its rule: none of its class is older.
                continue;
            }
            let older = store.older_alike(candidate.index, candidate.edge);
            self.tried
                .extend(older.and_then(|index| candidate_of(store, index, candidate.edge)));
            return Some(candidate);
        }
    }

    /// Try classes, newest first, as far as they may hold a newer instance than those found.
    fn try_classes(&mut self, store: &Store, program: &Program, event: u8, record: &[u8]) {
        // Where a condition remembers its calls, each member is asked in its turn instead.
        let remembers = |event: &Event| event.remembers;
        let remembers = program.event(event).is_some_and(remembers);
        while let Some((place, untried)) = self.newest_untried() {
            self.untried.swap_remove(place);
            self.tries += 1;
            let Some(waiting) = store.waiting(untried.edge) else {
                continue;
            };
            self.add(store, untried.edge, waiting.after(untried.class));
            let newest = waiting.class(untried.class).map(|class| class.newest);
            let candidate = newest.and_then(|index| candidate_of(store, index, untried.edge));
            if let Some(candidate) = candidate
                && (remembers || store.shares(program, candidate.index, event, record))
            {
                self.tried.push(candidate);
            }
        }
    }

    fn add(&mut self, store: &Store, edge: usize, class: Option<u32>) {
        let waiting = store.waiting(edge);
        if let Some(id) = class
            && let Some(class) = waiting.and_then(|waiting| waiting.class(id))
        {
            self.untried.push(Untried {
                class: id,
                last: class.last,
                edge,
            });
        }
    }

    /// The untried classes that may hold a newer instance than those tried.
    fn newest_untried(&self) -> Option<(usize, Untried)> {
        let (place, untried) = (0..).zip(&self.untried).max_by_key(|(_, u)| u.last)?;
        let found = self.tried.peek().map_or(0, |tried| tried.sequence);
        (untried.last > found).then_some((place, *untried))
    }
}

fn candidate_of(store: &Store, index: u32, edge: usize) -> Option<Candidate> {
    let sequence = store.instance(index)?.sequence;
    Some(Candidate {
        sequence,
        index,
        edge,
    })
}
