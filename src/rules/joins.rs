//! Instances of the rules of one place: how a match continues them, and when their windows pass.
//!
//! A match is an event of a rule that one packet allows, with the values recorded of that packet.
//! Everything here works on matches, instances and time alone; the packet is only asked again for
//! operators whose events share one packet.

mod adopt;
mod ways;

pub use super::matches::{Alert, Counters, Limits, Match, SamePacket, WORK_MAX};

use super::candidates::{Candidate, Candidates};
use super::joined::{Joined, Seen};
use super::machine::{Edge, Effect, Enter, INIT, Look, Machine, PASS, StateId};
use super::program::{Event, Program, Slot};
use super::steps::{Awaited, Places, Steps};
use super::store::{Outer, Store};
use super::verdict;
use super::wheel::{Entry, Wheel};
use crate::expr::Mode;
use crate::packet::Timestamp;
use crate::ring::Position;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;
use ways::{after_time_out, bounds, hidden, only_answers, starting};

/// Instances of all rules.
#[derive(Debug)]
pub struct Joins {
    pub(super) stores: Vec<Store>,
    pub(super) wheel: Wheel,
    /// Deadlines that were set by the one that passes, and are over by now.
    pub(super) set: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    pub(super) live: usize,
    limits: Limits,
    seed: u64,
    counters: Counters,
    /// The bootstrap instance of a rule has itself passed: the published engine's one-shot defect.
    spent: Vec<bool>,
    /// Events that start an attempt: bit N for event N, by rule.
    starting: Vec<u64>,
    /// Steps that start one or that an instance waits for.
    awaited: Awaited,
    places: Arc<Places>,
    /// Of each rule: the events that `awaited` says, and whether an instance waits.
    noted: Vec<(u64, bool)>,
    candidates: Candidates,
    /// Memory for what the packet shows as another event: as much as operators of one packet nest.
    spare: Vec<Vec<u8>>,
    /// Looks that the event, or the deadline, has answered, by rule, number, the stay in which the
    /// operator was opened, and at a deadline the last event seen.
    pub(super) answered: HashSet<(u32, u8, u64, (u64, u8))>,
    /// The deadline at which they were.
    pub(super) answered_us: u64,
}

/// Where a step happens: rule, packet, time.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) program: &'a Program,
    pub(super) rule: u32,
    pub(super) timestamp: Timestamp,
    pub(super) packet: u64,
    pub(super) at: Position,
    pub(super) timed_out: bool,
}

/// Room for answers that is kept from one event to the next: emptying it takes time by its size.
const ANSWERS_KEPT: usize = 1_024;

/// How an instance comes into a state.
#[derive(Clone, Copy)]
struct Way {
    to: StateId,
    enter: Enter,
    /// When the next event may come at the earliest in the wait that it is in, and that wait.
    running: (u64, Outer),
    /// It answers what looks back.
    answers: bool,
}

const NOTHING_RUNS: (u64, Outer) = (
    0,
    Outer {
        stay: 0,
        until_us: u64::MAX,
    },
);

impl Joins {
    /// For these rules.
    /// Those rules that are handed over to another place are waited for at all times.
    pub fn new(
        programs: &[Program],
        steps: &Steps,
        limits: Limits,
        seed: u64,
        is_away: impl Fn(usize) -> bool,
    ) -> Self {
        let count = programs.len();
        let starting: Vec<u64> = programs.iter().map(starting).collect();
        let mut awaited = steps.at_start(programs);
        for rule in (0..count).filter(|rule| is_away(*rule)) {
            steps.places.note(&mut awaited, rule, u64::MAX, true);
        }
        Self {
            awaited,
            places: Arc::clone(&steps.places),
            noted: starting.iter().map(|events| (*events, false)).collect(),
            starting,
            stores: programs
                .iter()
                .map(|p| Store::new(p, limits.per_rule, seed))
                .collect(),
            wheel: Wheel::default(),
            set: BinaryHeap::new(),
            sequence: 0,
            live: 0,
            limits,
            seed,
            counters: Counters {
                matches: vec![0; count],
                alerts: vec![0; count],
                evicted: vec![0; count],
                exceeded: vec![0; count],
                instances: vec![0; count],
                tries: 0,
                live: 0,
            },
            spent: vec![false; count],
            candidates: Candidates::default(),
            spare: Vec::new(),
            answered: HashSet::new(),
            answered_us: 0,
        }
    }

    /// What was counted.
    pub fn counters(&mut self) -> &Counters {
        // Most rules wait for nothing: their stores are left out of the cache.
        let stores = self.noted.iter().zip(&self.stores);
        for (count, ((_, waits), store)) in self.counters.instances.iter_mut().zip(stores) {
            *count = u64::try_from(if *waits { store.live() } else { 0 }).unwrap_or(u64::MAX);
        }
        self.counters.live = u64::try_from(self.live).unwrap_or(u64::MAX);
        self.counters.tries = self.candidates.tries;
        &self.counters
    }

    /// Count a verdict reached without instances.
    pub fn count(&mut self, rule: u32) {
        for counter in [&mut self.counters.matches, &mut self.counters.alerts] {
            if let Some(count) = counter.get_mut(at(rule)) {
                *count += 1;
            }
        }
    }

    /// The work on a packet was used up at this rule.
    pub fn exceeded(&mut self, rule: u32) {
        if let Some(count) = self.counters.exceeded.get_mut(at(rule)) {
            *count += 1;
        }
    }

    /// Classes tried so far, and how much work one packet may cost.
    pub fn work(&self) -> (u64, u64) {
        (self.candidates.tries, self.limits.work)
    }

    /// Steps that can change anything: others need not be looked at.
    pub fn awaited(&self) -> &Awaited {
        &self.awaited
    }

    /// Note which events can change anything from here on.
    pub(super) fn note_awaited(&mut self, rule: u32) {
        let spent = self.spent.get(at(rule)).copied().unwrap_or(true);
        let starting = self
            .starting
            .get(at(rule))
            .copied()
            .filter(|_| !spent)
            .unwrap_or(0);
        let Some(store) = self.stores.get(at(rule)) else {
            return;
        };
        let state = (starting | store.awaited(), store.live() > 0);
        if let Some(noted) = self.noted.get_mut(at(rule))
            && *noted != state
        {
            *noted = state;
            let (events, waits) = state;
            self.places.note(&mut self.awaited, at(rule), events, waits);
        }
    }

    /// Events of a rule that can change anything now, bit N for event N, and whether an attempt is
    /// under way.
    pub fn noted(&self, rule: u32) -> (u64, bool) {
        self.noted.get(at(rule)).copied().unwrap_or_default()
    }

    /// Deadlines that pass from now on do so at this time or later.
    pub fn settled(&self) -> Timestamp {
        self.wheel.settled()
    }

    /// Secret under which keys are hashed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Does an instance wait for this event?
    pub fn awaits(&self, rule: u32, event: u8) -> bool {
        self.store(rule).is_some_and(|store| store.awaits(event))
    }

    /// A packet may be this event, which nothing waits for: does it start anything? Counts the
    /// match.
    pub fn begins(&mut self, (rule, event): (u32, u8)) -> bool {
        if let Some(count) = self.counters.matches.get_mut(at(rule)) {
            *count += 1;
        }
        self.candidates.clear();
        self.starting
            .get(at(rule))
            .is_some_and(|events| events & 1 << event != 0)
    }

    /// A packet may be this event, with values of this hash to share with earlier ones: could that
    /// start or continue anything? `number` gives numbers of the packet. Counts the match, and
    /// spares recording it if not.
    pub fn concerns(
        &mut self,
        program: &Program,
        (rule, event): (u32, u8),
        key: u64,
        number: impl FnMut(Slot) -> Option<u64>,
    ) -> bool {
        let begins = self.begins((rule, event));
        let waits = match self.stores.get(at(rule)) {
            Some(store) => self.candidates.find(store, program, event, key, number),
            None => false,
        };
        waits || begins
    }

    /// Take in a match that [`Joins::concerns`] or [`Joins::begins`] was asked about just now; true
    /// when it led to a verdict.
    pub fn matched(
        &mut self,
        program: &Program,
        found: Match<'_>,
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let step = Step {
            program,
            rule: found.rule,
            timestamp: found.timestamp,
            packet: found.at.packet,
            at: found.at,
            timed_out: false,
        };
        self.forget_answers();
        let mut reported = false;
        let most = self.candidates.tries.saturating_add(self.limits.work);
        while let Some(candidate) = self.next(program, found) {
            // Each candidate costs about what a class does that was tried.
            self.candidates.tries += 1;
            if self.candidates.tries > most {
                self.exceeded(found.rule);
                break;
            }
            let Some(edge) = program.machine.edges.get(candidate.edge) else {
                continue;
            };
            let stay = (candidate.index, candidate.sequence());
            if !self.may_continue(step, stay, edge, found) {
                continue;
            }
            if only_answers(program, edge) {
                // One answer does for all: a flood of what precedes must not slow what follows.
                self.is_answered(step, None, edge.effect);
                self.candidates.forget(candidate.edge);
                continue;
            }
            reported = self.take(step, stay, edge, found.seen.record, packet, emit);
            if reported {
                break;
            }
        }
        for (_, edge) in program.edges_of(found.event) {
            if edge.from == INIT && !reported {
                reported = self.start(step, edge, found, packet, emit);
            }
        }
        self.note_awaited(found.rule);
        reported
    }

    /// The next instance that a match may continue, newest first.
    fn next(&mut self, program: &Program, found: Match<'_>) -> Option<Candidate> {
        if self.candidates.is_empty() {
            return None;
        }
        let store = self.stores.get(at(found.rule))?;
        self.candidates
            .next(store, program, found.event, found.seen)
    }

    /// The first event of an attempt.
    fn start(
        &mut self,
        step: Step<'_>,
        edge: &Edge,
        found: Match<'_>,
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let compat = step.program.mode == Mode::Compat;
        if self.is_answered(step, None, edge.effect)
            || self.spent.get(at(step.rule)).copied() == Some(true)
        {
            return false;
        }
        let joined = Joined {
            program: step.program,
            event: edge.event,
            seen: found.seen,
            earlier: &[],
            bound: 0,
        };
        let stands_alone = |event: &Event| event.keys.is_empty() && event.residual.is_empty();
        let event = step.program.event(edge.event);
        if !event.is_some_and(stands_alone) && !joined.holds() {
            return false;
        }
        if compat
            && Machine::is_final(edge.to)
            && let Some(spent) = self.spent.get_mut(at(step.rule))
        {
            *spent = true;
        }
        match self.create(step.program, step.rule, None) {
            Some(index) => self.move_to(step, (index, 0), edge, found.seen.record, packet, emit),
            None => false,
        }
    }

    /// Is the instance still where it was when the match arrived, and within its window?
    fn may_continue(
        &self,
        step: Step<'_>,
        (index, sequence): (u32, u64),
        edge: &Edge,
        found: Match<'_>,
    ) -> bool {
        let Some(store) = self.store(step.rule) else {
            return false;
        };
        let Some(instance) = store.instance(index) else {
            return false;
        };
        let now = step.timestamp.micros();
        if instance.sequence != sequence
            || instance.packet == step.packet
            || now < instance.window_min_us
            || now > instance.window_max_us
        {
            return false;
        }
        let window = step.program.machine.state(instance.state).window;
        let counts = window.counter_min != 0 || window.counter_max != 0;
        if step.program.mode == Mode::Standard && counts {
            let packets = step.packet.saturating_sub(instance.packet);
            let most = if window.counter_max == 0 {
                u64::MAX
            } else {
                window.counter_max
            };
            if packets < window.counter_min || packets > most {
                return false;
            }
        }
        let remembers = |event: &Event| event.remembers;
        let tried = !step.program.event(edge.event).is_some_and(remembers);
        tried || store.shares(step.program, index, edge.event, found.seen)
    }

    /// Follow an edge: the instance moves, or a copy of it where the edge leaves it in its place.
    fn take(
        &mut self,
        step: Step<'_>,
        (index, sequence): (u32, u64),
        edge: &Edge,
        record: &[u8],
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        if self.is_answered(step, Some(index), edge.effect) {
            if !edge.stays {
                self.remove(step, index);
            }
            return false;
        }
        let wait = self.wait_over(step, index, edge.effect);
        let moving = match edge.stays {
            true => self.create(step.program, step.rule, Some(index)),
            false => Some(index),
        };
        let Some(moving) = moving else {
            return false;
        };
        self.end_wait(step, moving, wait);
        self.move_to(step, (moving, sequence), edge, record, packet, emit)
    }

    /// What was answered is of one event, or one deadline.
    pub(super) fn forget_answers(&mut self) {
        if self.answered.capacity() > ANSWERS_KEPT {
            self.answered = HashSet::new();
        } else if !self.answered.is_empty() {
            self.answered.clear();
        }
    }

    /// Note the looks that a move of an instance answers. True when its attempt comes to nothing,
    /// since it has itself been answered.
    fn is_answered(&mut self, step: Step<'_>, index: Option<u32>, effect: Effect) -> bool {
        if effect.answers == 0 && effect.unless == 0 {
            return false;
        }
        let (machine, store) = (&step.program.machine, self.stores.get(at(step.rule)));
        let of = store.zip(index);
        // Deadlines of one time may be those of different packets, and of different keys.
        let last = of.filter(|_| step.timed_out);
        let last = last.map(|(store, i)| store.last_seen(step.program, i));
        let opened_from = |look: &Look| {
            let stay = of.map(|(store, i)| store.opened_from(step.program, i, look.depth));
            let last = last.unwrap_or_default();
            (step.rule, look.operator, stay.unwrap_or(0), last)
        };
        let answers = machine.looks(effect.answers).iter().map(opened_from);
        self.answered.extend(answers);
        let mut unless = machine.looks(effect.unless).iter().map(opened_from);
        unless.any(|look| self.answered.contains(&look))
    }

    /// The wait that a move of an instance ends, if it ends one.
    fn wait_over(&self, step: Step<'_>, index: u32, effect: Effect) -> Option<(u8, u64)> {
        let store = self.store(step.rule).filter(|_| effect.ends != 0)?;
        let stay = store.opened_from(step.program, index, effect.ends);
        Some((effect.ends, stay))
    }

    /// The trigger of a wait came with an instance: all others end that wait for it.
    fn end_wait(&mut self, step: Step<'_>, index: u32, wait: Option<(u8, u64)>) {
        if let Some(wait) = wait
            && let Some(store) = self.stores.get_mut(at(step.rule))
        {
            let before = store.live();
            store.end_wait(step.program, index, wait);
            self.live -= before - store.live();
        }
    }

    /// Move an instance along an edge that leads from the stay `from`.
    fn move_to(
        &mut self,
        step: Step<'_>,
        (index, from): (u32, u64),
        edge: &Edge,
        record: &[u8],
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        if !hidden(step.program, edge)
            && let Some(store) = self.store_mut(step.rule)
        {
            store.bind(step.program, index, edge.event, record);
        }
        let running = match edge.enter {
            Enter::Nested => self.running(step.rule, index, from),
            Enter::Fresh | Enter::Resumed => NOTHING_RUNS,
        };
        let way = Way {
            to: edge.to,
            enter: edge.enter,
            running,
            answers: edge.effect.answers != 0,
        };
        self.enter(step, index, way, packet, emit)
    }

    /// The wait that an instance is in, with the stay it began with.
    fn running(&self, rule: u32, index: u32, stay: u64) -> (u64, Outer) {
        let instance = self.store(rule).and_then(|store| store.instance(index));
        instance.map_or(NOTHING_RUNS, |instance| {
            let until_us = instance.window_max_us;
            (instance.window_min_us, Outer { stay, until_us })
        })
    }

    /// Bring an instance into a state: a verdict when it is final, else a window to wait in.
    fn enter(
        &mut self,
        step: Step<'_>,
        index: u32,
        way: Way,
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let program = step.program;
        let state = way.to;
        if Machine::is_final(state) {
            let keeps_family = way.answers && state == PASS;
            return self.finish(step, index, state, keeps_family, emit);
        }
        self.sequence += 1;
        let sequence = self.sequence;
        let target = program.machine.state(state);
        let now = step.timestamp.micros();
        let Some(store) = self.stores.get_mut(at(step.rule)) else {
            return false;
        };
        store.unsettle(program, index);
        let mut window = bounds(target.window, program.mode, now);
        match way.enter {
            Enter::Fresh => {}
            Enter::Nested => {
                let (from_us, outer) = way.running;
                store.set_outer(index, target.depth, outer);
                window = (window.0.max(from_us), window.1.min(outer.until_us));
            }
            Enter::Resumed => {
                window.1 = window.1.min(store.outer(index, target.depth).until_us);
            }
        }
        // Beyond a deadline, packets count from the last one of the attempt.
        let seen = match step.packet {
            0 => store.instance(index).map_or(0, |instance| instance.packet),
            packet => packet,
        };
        store.settle(program, index, state, (sequence, seen), window);
        if target.window.immediate {
            return self.decide_now(step, index, state, packet, emit);
        }
        let lazily = program.mode == Mode::Compat && program.timeout_reports;
        if !lazily {
            self.await_deadline(step, (index, sequence), window.1);
        }
        false
    }

    /// An operator of one packet: its next event is on this packet, or its window has passed.
    fn decide_now(
        &mut self,
        step: Step<'_>,
        index: u32,
        state: StateId,
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let program = step.program;
        let mut record = self.spare.pop().unwrap_or_default();
        let way = self.way_now(step, (index, state), packet, &mut record);
        if let Some((sequence, edge)) = way {
            let reported = self.take(step, (index, sequence), &edge, &record, packet, emit);
            self.spare.push(record);
            return reported;
        }
        self.spare.push(record);
        let timeout = program.machine.state(state).timeout;
        let silent = program.mode == Mode::Compat && program.events.len() > 2;
        if silent && Machine::is_final(timeout) {
            self.remove(step, index);
            return false;
        }
        self.leave_in_time(step, index, state, NOTHING_RUNS, packet, emit)
    }

    /// The way out of a state that the packet may take which brought an instance there, with the
    /// stay it leads from; `record` then has what the packet shows.
    fn way_now(
        &self,
        step: Step<'_>,
        (index, state): (u32, StateId),
        packet: &mut impl SamePacket,
        record: &mut Vec<u8>,
    ) -> Option<(u64, Edge)> {
        let program = step.program;
        let store = self.store(step.rule)?;
        let instance = store.instance(index)?;
        for (_, edge) in program.edges_from(state) {
            if !packet.other(program, edge.event, record) {
                continue;
            }
            let seen = Seen {
                record,
                protocols: packet.protocols(),
            };
            let joined = Joined {
                program,
                event: edge.event,
                seen,
                earlier: store.record(index),
                bound: instance.bound,
            };
            if joined.holds() {
                // There is nothing to stay for: the time of its state is over with this packet.
                let stays = false;
                return Some((instance.sequence, Edge { stays, ..*edge }));
            }
        }
        None
    }

    /// The window of an instance has passed: it goes where its state says.
    fn leave_in_time(
        &mut self,
        step: Step<'_>,
        index: u32,
        state: StateId,
        running: (u64, Outer),
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let state = step.program.machine.state(state);
        if self.is_answered(step, Some(index), state.effect) {
            self.remove(step, index);
            return false;
        }
        let wait = self.wait_over(step, index, state.effect);
        self.end_wait(step, index, wait);
        let way = Way {
            to: state.timeout,
            enter: after_time_out(step.program),
            running,
            answers: state.effect.answers != 0,
        };
        self.enter(step, index, way, packet, emit)
    }

    /// The instance has come to an end.
    fn finish(
        &mut self,
        step: Step<'_>,
        index: u32,
        state: StateId,
        keeps_family: bool,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let found = verdict::of(step.program.property.kind, state);
        if let (Some(verdict), Some(store)) = (found, self.store(step.rule)) {
            emit(Alert {
                rule: step.rule,
                verdict,
                timestamp: step.timestamp,
                packet: step.packet,
                timed_out: step.timed_out,
                bound: store.instance(index).map_or(0, |instance| instance.bound),
                record: store.record(index).into(),
                position: step.at,
            });
            if let Some(count) = self.counters.alerts.get_mut(at(step.rule)) {
                *count += 1;
            }
        }
        if found.is_some() && !keeps_family {
            let Some(store) = self.stores.get_mut(at(step.rule)) else {
                return true;
            };
            let before = store.live();
            store.remove_family(step.program, index);
            self.live -= before - store.live();
        } else {
            self.remove(step, index);
        }
        found.is_some()
    }

    fn remove(&mut self, step: Step<'_>, index: u32) {
        if let Some(store) = self.stores.get_mut(at(step.rule)) {
            let before = store.live();
            store.remove(step.program, index);
            self.live -= before - store.live();
        }
    }

    /// Room for one more instance is made by evicting the one of the rule that has waited longest;
    /// that may be the very instance to copy, which then gives nothing. A rule without instances
    /// gets its first one all the same, so that no other rule can silence it.
    fn create(&mut self, program: &Program, rule: u32, from: Option<u32>) -> Option<u32> {
        let full = self.live >= self.limits.total;
        let store = self.stores.get_mut(at(rule))?;
        if (full && store.live() > 0) || store.is_full() {
            let oldest = store.oldest()?;
            store.remove(program, oldest);
            self.live -= 1;
            if let Some(count) = self.counters.evicted.get_mut(at(rule)) {
                *count += 1;
            }
            if Some(oldest) == from {
                return None;
            }
        }
        let index = store.create(from)?;
        self.live += 1;
        Some(index)
    }

    /// Compat: time-outs are noticed when a packet relevant to the rule arrives, newest instance
    /// first, one verdict for each packet. True when there was one.
    pub fn time_out_lazily(
        &mut self,
        program: &Program,
        rule: u32,
        (now, at): (Timestamp, Position),
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let Some(store) = self.store(rule) else {
            return false;
        };
        let late: Vec<(u32, u64)> = store
            .newest_first()
            .filter_map(|index| Some((index, store.instance(index)?)))
            .filter(|(_, instance)| now.micros() > instance.window_max_us)
            .map(|(index, instance)| (index, instance.sequence))
            .collect();
        let step = Step {
            program,
            rule,
            timestamp: now,
            packet: at.packet,
            at,
            timed_out: true,
        };
        let mut late = late.into_iter();
        let reported = late.any(|(index, id)| self.time_out(step, index, id, packet, emit));
        self.note_awaited(rule);
        reported
    }

    pub(super) fn time_out(
        &mut self,
        step: Step<'_>,
        index: u32,
        sequence: u64,
        packet: &mut impl SamePacket,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let store = self.store(step.rule);
        let Some(instance) = store.and_then(|store| store.instance(index)).copied() else {
            return false;
        };
        if instance.sequence != sequence {
            return false;
        }
        let state = step.program.machine.state(instance.state);
        let says = verdict::of(step.program.property.kind, state.timeout);
        if Machine::is_final(state.timeout) && says.is_none() && state.effect == Effect::default() {
            // By far the most frequent end.
            self.remove(step, index);
            return false;
        }
        let until_us = instance.window_max_us;
        let running = (
            instance.window_min_us,
            Outer {
                stay: sequence,
                until_us,
            },
        );
        self.leave_in_time(step, index, instance.state, running, packet, emit)
    }

    pub(super) fn store(&self, rule: u32) -> Option<&Store> {
        self.stores.get(at(rule))
    }

    fn store_mut(&mut self, rule: u32) -> Option<&mut Store> {
        self.stores.get_mut(at(rule))
    }
}

pub(super) fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
