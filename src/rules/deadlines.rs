//! Windows that pass: how the wheel learns of them, and what happens then.

use super::joins::{Alert, Joins, SamePacket, Step, at};
use super::program::Program;
use super::store::{AHEAD, NONE};
use super::wheel::Entry;
use crate::dissect::ProtocolSet;
use crate::packet::Timestamp;
use crate::ring::Position;
use std::cmp::Reverse;

impl Joins {
    /// Have the wheel tell when the stay of an instance ends; where nobody notices when that is and
    /// stays end in their order, it only tells of the oldest.
    pub(super) fn await_deadline(&mut self, step: Step<'_>, stay: (u32, u64), deadline_us: u64) {
        let Some(store) = self.stores.get_mut(at(step.rule)) else {
            return;
        };
        let (mut index, mut sequence) = stay;
        if step.program.expires_quietly && store.ends_in_order(deadline_us) {
            if std::mem::replace(&mut store.is_scheduled, true) {
                return;
            }
            (index, sequence) = (NONE, 0);
        }
        let entry = Entry {
            deadline_us,
            sequence,
            key: (step.rule, index),
        };
        if step.timed_out && self.wheel.has_passed(deadline_us) {
            self.set.push(Reverse(entry));
        } else if deadline_us != u64::MAX {
            self.wheel.insert(entry);
            self.sweep();
        }
    }

    /// Fire the deadlines before `now`; cheap when there are none.
    pub fn advance(&mut self, programs: &[Program], now: Timestamp, emit: &mut impl FnMut(Alert)) {
        // A deadline that is set when another one passes takes its turn among the later ones.
        while self.wheel.is_behind(now.micros()) {
            let due = self.wheel.advance(now.micros());
            self.fire(programs, &due, emit);
            self.wheel.recycle(due);
        }
    }

    /// The input has ended: in standard mode every pending deadline passes.
    pub fn finish_all(&mut self, programs: &[Program], emit: &mut impl FnMut(Alert)) {
        while !self.wheel.is_empty() {
            let due = self.wheel.advance(u64::MAX);
            self.fire(programs, &due, emit);
            self.wheel.recycle(due);
        }
    }

    /// Do what was to happen at these deadlines, and at those that are set by them and are over by
    /// now as well, in order.
    fn fire(&mut self, programs: &[Program], due: &[Entry], emit: &mut impl FnMut(Alert)) {
        let mut left = due;
        loop {
            let set = self.set.peek().map(|Reverse(entry)| *entry);
            let entry = match (left.split_first(), set) {
                (Some((next, _)), Some(set)) if set < *next => set,
                (None, Some(set)) => set,
                (Some((next, behind)), _) => {
                    self.prefetch(programs, left);
                    left = behind;
                    self.pass(programs, *next, emit);
                    continue;
                }
                (None, None) => return,
            };
            self.set.pop();
            self.pass(programs, entry, emit);
        }
    }

    /// Ask for what the deadlines behind the first of these touch.
    fn prefetch(&self, programs: &[Program], due: &[Entry]) {
        for (ahead, what) in AHEAD {
            let coming = due.get(ahead).map(|entry| entry.key);
            let coming = coming.and_then(|(rule, index)| {
                Some((self.store(rule)?, programs.get(at(rule))?, index))
            });
            if let Some((store, program, index)) = coming {
                store.prefetch(program, index, what);
            }
        }
    }

    /// A deadline passes.
    fn pass(&mut self, programs: &[Program], entry: Entry, emit: &mut impl FnMut(Alert)) {
        let (rule, index) = entry.key;
        let Some(program) = programs.get(at(rule)) else {
            return;
        };
        if index == NONE {
            return self.expire(program, rule);
        }
        let timestamp = Timestamp::from_micros(entry.deadline_us);
        // A late packet sets deadlines that are over: what they bring about cannot come before what
        // has been found by then.
        let found = timestamp.max(self.wheel.settled_before());
        let step = Step {
            program,
            rule,
            timestamp,
            packet: 0,
            at: Position {
                detail: u64::from(rule) << super::EVENT_BITS,
                ..Position::at(found)
            },
            timed_out: true,
        };
        if std::mem::replace(&mut self.answered_us, entry.deadline_us) != entry.deadline_us {
            self.forget_answers();
        }
        self.time_out(step, index, entry.sequence, &mut NoPacket, emit);
        self.note_awaited(rule);
    }

    /// End the oldest instances of a rule whose deadline has passed, which nobody notices.
    fn expire(&mut self, program: &Program, rule: u32) {
        let wheel = &self.wheel;
        let Some(store) = self.stores.get_mut(at(rule)) else {
            return;
        };
        let before = store.live();
        let next = store.expire(program, |deadline| wheel.has_passed(deadline));
        self.live -= before - store.live();
        let next = next.filter(|deadline_us| *deadline_us != u64::MAX);
        store.is_scheduled = next.is_some();
        if let Some(deadline_us) = next {
            self.wheel.insert(Entry {
                deadline_us,
                sequence: 0,
                key: (rule, NONE),
            });
        }
        self.note_awaited(rule);
    }

    fn sweep(&mut self) {
        if self.wheel.wants_sweep(self.live) {
            let stores = &self.stores;
            self.wheel.sweep(|entry| {
                let (rule, index) = entry.key;
                let instance = stores.get(at(rule)).and_then(|s| s.instance(index));
                index == NONE || instance.is_some_and(|i| i.sequence == entry.sequence)
            });
        }
    }
}

/// When a deadline passes there is no packet to ask.
struct NoPacket;

impl SamePacket for NoPacket {
    fn other(&mut self, _: &Program, _: u8, _: &mut Vec<u8>) -> bool {
        false
    }

    fn protocols(&self) -> ProtocolSet {
        ProtocolSet::default()
    }
}
