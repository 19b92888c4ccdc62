//! The instances that one match may continue, newest first, found class by class.

use super::joined::Seen;
use super::program::{Event, Program, Slot};
use super::store::{Instance, NONE, Store};
use std::collections::BinaryHeap;

/// When its turn is, the greatest first: whether what it continues counts without more ado, then
/// its stay.
type Turn = (bool, u64);

/// An instance that a match may continue. Later ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    turn: Turn,
    /// The instance.
    pub index: u32,
    /// The edge that it would take.
    pub edge: usize,
    class: u32,
}

impl Candidate {
    /// Its stay.
    pub(super) fn sequence(&self) -> u64 {
        self.turn.1
    }
}

/// Classes at one edge that have not been tried yet.
#[derive(Debug, Clone, Copy)]
struct Untried {
    /// The next.
    class: u32,
    /// None of their members comes before that.
    last: Turn,
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

    /// Give none any more that would take this edge.
    pub(super) fn forget(&mut self, edge: usize) {
        self.tried.retain(|candidate| candidate.edge != edge);
        self.untried.retain(|untried| untried.edge != edge);
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
            self.add(store, program, edge, class);
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
        seen: Seen<'_>,
    ) -> Option<Candidate> {
        loop {
            self.try_classes(store, program, event, seen);
            let candidate = self.tried.pop()?;
            let stays = |i: &Instance| i.sequence == candidate.sequence();
            let is_there = store.instance(candidate.index).is_some_and(stays);
            let older = match is_there {
                true => store.older_alike(candidate.index, candidate.edge),
                false => older_than(store, &candidate),
            };
            self.tried.extend(older.and_then(|index| {
                let place = (candidate.edge, candidate.class, candidate.turn.0);
                candidate_of(store, index, place)
            }));
            if is_there {
                return Some(candidate);
            }
        }
    }

    /// Try classes, newest first, as far as they may hold a newer instance than those found.
    fn try_classes(&mut self, store: &Store, program: &Program, event: u8, seen: Seen<'_>) {
        // Where a condition remembers its calls, each member is asked in its turn instead.
        let remembers = |event: &Event| event.remembers;
        let remembers = program.event(event).is_some_and(remembers);
        while let Some((place, untried)) = self.newest_untried() {
            self.untried.swap_remove(place);
            self.tries += 1;
            let Some(waiting) = store.waiting(untried.edge) else {
                continue;
            };
            self.add(store, program, untried.edge, waiting.after(untried.class));
            let newest = waiting.class(untried.class).map(|class| class.newest);
            let place = (untried.edge, untried.class, untried.last.0);
            let candidate = newest.and_then(|index| candidate_of(store, index, place));
            if let Some(candidate) = candidate
                && (remembers || store.shares(program, candidate.index, event, seen))
            {
                self.tried.push(candidate);
            }
        }
    }

    fn add(&mut self, store: &Store, program: &Program, edge: usize, class: Option<u32>) {
        let waiting = store.waiting(edge);
        if let Some(id) = class
            && let Some(class) = waiting.and_then(|waiting| waiting.class(id))
        {
            store.expect(class.newest);
            self.untried.push(Untried {
                class: id,
                last: (!is_late(program, edge), class.last),
                edge,
            });
        }
    }

    /// The untried classes that may hold a newer instance than those tried.
    fn newest_untried(&self) -> Option<(usize, Untried)> {
        let (place, untried) = (0..).zip(&self.untried).max_by_key(|(_, u)| u.last)?;
        let found = self.tried.peek().map(|tried| tried.turn);
        found
            .is_none_or(|found| untried.last > found)
            .then_some((place, *untried))
    }
}

/// Does what waits at an edge count only unless it is answered?
fn is_late(program: &Program, edge: usize) -> bool {
    let edge = program.machine.edges.get(edge);
    edge.is_some_and(|edge| program.machine.state(edge.from).is_late)
}

/// The newest member of a candidate's class that comes after it. What is newer was given before:
/// it moved on, or was refused.
fn older_than(store: &Store, gone: &Candidate) -> Option<u32> {
    let class = store
        .waiting(gone.edge)
        .and_then(|waiting| waiting.class(gone.class));
    let mut next = class
        .map(|class| class.newest)
        .filter(|index| *index != NONE);
    while let Some(index) = next
        && store.instance(index)?.sequence > gone.sequence()
    {
        next = store.older_alike(index, gone.edge);
    }
    next
}

fn candidate_of(
    store: &Store,
    index: u32,
    (edge, class, in_time): (usize, u32, bool),
) -> Option<Candidate> {
    let sequence = store.instance(index)?.sequence;
    Some(Candidate {
        turn: (in_time, sequence),
        index,
        edge,
        class,
    })
}
