//! The instances of one rule: what has been seen so far of each attempt to match it.
//!
//! Instances lie in one array; a free list reuses places. Each waits in one state, as member of one
//! class (see `waiting`) for every edge that leaves the state; so a packet finds the instances
//! it may continue without looking at the others. The members of a class, and the list of all, run
//! from the newest to the oldest.

use super::joined::{Joined, Seen};
use super::machine::{Edge, StateId};
use super::program::{Event, Held, Program, Slot};
use super::record::{self, Hash};
use super::waiting::{Identity, Waiting};
use std::collections::VecDeque;

/// No instance, no class.
pub(super) const NONE: u32 = u32::MAX;

/// Instances of a rule that memory is reserved for at start.
const INSTANCES_RESERVED: usize = 100_000;

/// How many stays ahead to ask for what ending their instances touches.
pub(super) const AHEAD: [(usize, Prefetch); 3] = [
    (12, Prefetch::Instance),
    (8, Prefetch::Class),
    (4, Prefetch::Index),
];

/// Cache lines of a record that are asked for ahead: the values of an event or two.
const RECORD_LINES: usize = 2;

/// Past stays that may be in the order of all, beside four for each instance.
const PAST_STAYS: usize = 1_024;

/// What to ask for ahead of its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefetch {
    /// The instance.
    Instance,
    /// Its class.
    Class,
    /// Where its class is found.
    Index,
}

/// One attempt to match a rule.
#[derive(Debug, Clone, Copy)]
pub struct Instance {
    /// Where it is.
    pub state: StateId,
    /// Renewed at every change of state: tells this stay from every other of any instance.
    pub sequence: u64,
    /// Earliest time of the next event.
    pub window_min_us: u64,
    /// Latest time of the next event.
    pub window_max_us: u64,
    /// Packet that brought it into its state; it does not look at that packet again.
    pub packet: u64,
    /// Events it has bound: bit N for event N.
    pub bound: u64,
    family: Links,
    /// Its membership at the first edge that leaves its state.
    member: Member,
    live: bool,
}

const _: () = assert!(size_of::<Instance>() <= 64, "an instance is a cache line");

/// A wait of another operator, in whose trigger an instance is under way.
#[derive(Debug, Clone, Copy)]
pub struct Outer {
    /// The stay that it began with.
    pub stay: u64,
    /// When it ends at the latest.
    pub until_us: u64,
}

const NO_OUTER: Outer = Outer {
    stay: 0,
    until_us: u64::MAX,
};

/// Neighbours in a list that runs from the newest to the oldest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    pub newer: u32,
    pub older: u32,
}

pub(super) const UNLINKED: Links = Links {
    newer: NONE,
    older: NONE,
};

/// An instance as member of a class that waits at one edge.
#[derive(Debug, Clone, Copy)]
struct Member {
    class: u32,
    links: Links,
}

/// A time that an instance spends in a state.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// Tells it from every other.
    pub sequence: u64,
    /// The instance.
    pub index: u32,
    /// When it ends at the latest.
    pub deadline_us: u64,
}

/// Bytes of a membership beside the one that an instance holds.
pub(super) const MEMBER_BYTES: usize = size_of::<Member>();

const NO_MEMBER: Member = Member {
    class: NONE,
    links: UNLINKED,
};

/// The instances of one rule.
#[derive(Debug)]
pub struct Store {
    instances: Vec<Instance>,
    records: Vec<u8>,
    /// Waits around each instance: `depths` for each, the one of depth 1 first.
    outer: Vec<Outer>,
    /// Memberships at the other edges: `fan_out` - 1 for each instance, by place of the edge among
    /// those of its state.
    members: Vec<Member>,
    /// What waits at each edge.
    edges: Vec<Waiting>,
    /// Place of each edge among those that leave its state.
    places: Vec<usize>,
    free: Vec<u32>,
    /// Stays, oldest first; past ones among them until they come up.
    order: VecDeque<Stay>,
    /// Latest deadline among the stays that end in the order of `order`.
    last_deadline_us: u64,
    /// The wheel will ask for the oldest stays that have ended.
    pub(super) is_scheduled: bool,
    live: usize,
    /// Instances created so far.
    pub(super) created: u64,
    /// Instances waiting for each event; index 0 is unused.
    waiting: Vec<u32>,
    awaited: u64,
    /// Edges that leave one state, at most.
    fan_out: usize,
    record_size: usize,
    depths: usize,
    instances_max: usize,
    /// Secret of this run: who sends packets cannot choose values that share a chain.
    seed: u64,
}

impl Store {
    /// For this rule, with room for so many instances.
    pub fn new(program: &Program, instances_max: usize, seed: u64) -> Self {
        let states = u8::try_from(program.machine.states.len()).unwrap_or(u8::MAX);
        let fan_out = (0..states)
            .map(|s| program.edges_from(s).len())
            .fold(1, usize::max);
        let instances_max = if program.single.is_some() {
            1
        } else {
            instances_max
        };
        let edges = &program.machine.edges;
        let place_of = |number: usize, edge: &Edge| {
            let before = edges.iter().take(number);
            before.filter(|other| other.from == edge.from).count()
        };
        Self {
            instances: Vec::new(),
            records: Vec::new(),
            outer: Vec::new(),
            members: Vec::new(),
            places: (0..)
                .zip(edges)
                .map(|(number, edge)| place_of(number, edge))
                .collect(),
            edges: match program.machine.single {
                true => Vec::new(),
                false => edges.iter().map(|_| Waiting::default()).collect(),
            },
            free: Vec::new(),
            order: VecDeque::new(),
            last_deadline_us: 0,
            is_scheduled: false,
            live: 0,
            created: 0,
            waiting: vec![0; program.events.len() + 1],
            awaited: 0,
            fan_out,
            record_size: program.record_size,
            depths: usize::from(program.machine.depths.saturating_sub(1)),
            instances_max: instances_max.clamp(1, NONE as usize - 1),
            seed,
        }
        .reserve()
    }

    /// Number of instances.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Most instances at one time so far: places are reused before there is a new one.
    pub fn peak(&self) -> usize {
        self.instances.len()
    }

    /// Is there no room for one more?
    pub fn is_full(&self) -> bool {
        self.live >= self.instances_max
    }

    /// Events that instances wait for: bit N for event N.
    pub fn awaited(&self) -> u64 {
        self.awaited
    }

    /// An instance by index, while it lives.
    pub fn instance(&self, index: u32) -> Option<&Instance> {
        self.instances
            .get(at(index))
            .filter(|instance| instance.live)
    }

    /// The records of the events an instance has bound.
    pub fn record(&self, index: u32) -> &[u8] {
        let start = at(index).saturating_mul(self.record_size);
        self.records
            .get(start..start.saturating_add(self.record_size))
            .unwrap_or(&[])
    }

    /// The wait that depth `depth`, from 1, runs in.
    pub fn outer(&self, index: u32, depth: u8) -> Outer {
        let outer = self
            .place_of_outer(index, depth)
            .and_then(|p| self.outer.get(p));
        outer.copied().unwrap_or(NO_OUTER)
    }

    /// Note that wait.
    pub fn set_outer(&mut self, index: u32, depth: u8, outer: Outer) {
        let place = self.place_of_outer(index, depth);
        if let Some(place) = place.and_then(|place| self.outer.get_mut(place)) {
            *place = outer;
        }
    }

    fn place_of_outer(&self, index: u32, depth: u8) -> Option<usize> {
        let before = usize::from(depth).checked_sub(1)?;
        Some(at(index).saturating_mul(self.depths) + before)
    }

    /// The stay in which the operators of a depth were opened from which this instance stems, or
    /// which it is in itself; 0 for those that nothing had to precede.
    pub fn opened_from(&self, program: &Program, index: u32, depth: u8) -> u64 {
        let Some(instance) = self.instance(index).filter(|_| depth > 0) else {
            return 0;
        };
        match program.machine.state(instance.state).depth >= depth {
            true => self.outer(index, depth).stay,
            false => instance.sequence,
        }
    }

    /// The last packet that the instance has seen, and the last event that it was.
    pub fn last_seen(&self, program: &Program, index: u32) -> (u64, u8) {
        let bound = self.instance(index).map_or(0, |instance| instance.bound);
        let records = self.record(index);
        let events = (1..).zip(&program.events);
        let seen = events.filter(|(event, _)| bound & 1 << event != 0);
        let packets = seen.map(|(event, of)| {
            let record = records.get(of.offset..).unwrap_or(&[]);
            (record::number(record), event)
        });
        packets.max().unwrap_or_default()
    }

    /// End all instances in the wait of `depth` that began with a stay, but for `kept`, which is
    /// one of them or a copy.
    ///
    /// A copy stands beside what it was copied from, so that they are neighbours in their family.
    pub fn end_wait(&mut self, program: &Program, kept: u32, (depth, stay): (u8, u64)) {
        let is_in = |store: &Self, index: u32| {
            index != kept && store.opened_from(program, index, depth) == stay
        };
        let family = |store: &Self| store.instance(kept).map(|instance| instance.family);
        while let Some(links) = family(self)
            && is_in(self, links.older)
        {
            self.remove(program, links.older);
        }
        while let Some(links) = family(self)
            && is_in(self, links.newer)
        {
            self.remove(program, links.newer);
        }
    }

    /// Reserve room for the instances that a rule usually has at most, so that growing copies
    /// nothing.
    /// Untouched memory costs address space only; where even that is short, the room comes later.
    fn reserve(mut self) -> Self {
        let count = self.instances_max.min(INSTANCES_RESERVED);
        let _ = self.instances.try_reserve_exact(count);
        let _ = self
            .records
            .try_reserve_exact(count.saturating_mul(self.record_size));
        let _ = self
            .outer
            .try_reserve_exact(count.saturating_mul(self.depths));
        let _ = self
            .members
            .try_reserve_exact(count.saturating_mul(self.fan_out - 1));
        let _ = self.free.try_reserve_exact(count);
        self
    }

    /// A new instance in no state: the first of a family, or a copy of a member of one with its
    /// window. The caller has made room.
    pub fn create(&mut self, from: Option<u32>) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.grow()?,
        };
        let origin = from.and_then(|from| self.instance(from).copied());
        let copied = origin.as_ref();
        *self.instances.get_mut(at(index))? = Instance {
            state: super::machine::INIT,
            sequence: 0,
            window_min_us: copied.map_or(0, |origin| origin.window_min_us),
            window_max_us: copied.map_or(u64::MAX, |origin| origin.window_max_us),
            packet: 0,
            bound: copied.map_or(0, |origin| origin.bound),
            member: NO_MEMBER,
            family: Links {
                newer: index,
                older: index,
            },
            live: true,
        };
        if let (Some(from), Some(_)) = (from, origin) {
            self.join_family(index, from);
            self.copy_of(index, from);
        }
        self.live += 1;
        self.created += 1;
        Some(index)
    }

    fn grow(&mut self) -> Option<u32> {
        let index = u32::try_from(self.instances.len()).ok()?;
        self.instances.push(Instance {
            state: 0,
            sequence: 0,
            window_min_us: 0,
            window_max_us: 0,
            packet: 0,
            bound: 0,
            member: NO_MEMBER,
            family: UNLINKED,
            live: false,
        });
        self.records
            .resize(self.instances.len() * self.record_size, 0);
        self.outer
            .resize(self.instances.len() * self.depths, NO_OUTER);
        self.members
            .resize(self.instances.len() * (self.fan_out - 1), NO_MEMBER);
        Some(index)
    }

    fn copy_of(&mut self, index: u32, from: u32) {
        let (size, depths) = (self.record_size, self.depths);
        let [source, target] = [at(from) * size, at(index) * size];
        self.records.copy_within(source..source + size, target);
        let [source, target] = [at(from) * depths, at(index) * depths];
        self.outer.copy_within(source..source + depths, target);
    }

    fn join_family(&mut self, index: u32, member: u32) {
        let next = self
            .instances
            .get(at(member))
            .map_or(member, |i| i.family.older);
        self.with(index, |i| {
            i.family = Links {
                newer: member,
                older: next,
            }
        });
        self.with(member, |i| i.family.older = index);
        self.with(next, |i| i.family.newer = index);
    }

    /// Bind the current packet to `event`: copy its record in.
    pub fn bind(&mut self, program: &Program, index: u32, event: u8, record: &[u8]) {
        let Some(compiled) = program.event(event) else {
            return;
        };
        let start = at(index)
            .saturating_mul(self.record_size)
            .saturating_add(compiled.offset);
        let target = self
            .records
            .get_mut(start..start.saturating_add(compiled.layout.size));
        if let (Some(target), Some(source)) = (target, record.get(..compiled.layout.size)) {
            target.copy_from_slice(source);
        }
        self.with(index, |instance| instance.bound |= 1 << event);
    }

    /// Let the instance wait in a state, newest of all, for every edge that leaves the state.
    pub fn settle(
        &mut self,
        program: &Program,
        index: u32,
        state: StateId,
        (sequence, packet): (u64, u64),
        window: (u64, u64),
    ) {
        let Some(instance) = self.instances.get_mut(at(index)) else {
            return;
        };
        instance.state = state;
        instance.sequence = sequence;
        instance.packet = packet;
        (instance.window_min_us, instance.window_max_us) = window;
        let bound = instance.bound;
        self.note_order(Stay {
            sequence,
            index,
            deadline_us: window.1,
        });
        for (number, edge) in program.edges_from(state) {
            if let Some(event) = program.event(edge.event) {
                self.join(event, (index, sequence, bound), *number);
            }
            if let Some(count) = self.waiting.get_mut(usize::from(edge.event)) {
                *count += 1;
                self.awaited |= 1 << edge.event;
            }
        }
    }

    /// Take the instance out of its state; it belongs to no list any more but its family.
    pub fn unsettle(&mut self, program: &Program, index: u32) {
        let Some(instance) = self.instances.get_mut(at(index)) else {
            return;
        };
        if instance.sequence == 0 || !instance.live {
            return;
        }
        instance.sequence = 0;
        for (number, edge) in program.edges_from(instance.state) {
            self.leave(index, *number);
            if let Some(count) = self.waiting.get_mut(usize::from(edge.event)) {
                *count -= 1;
                self.awaited &= !(u64::from(*count == 0) << edge.event);
            }
        }
    }

    /// End an instance.
    pub fn remove(&mut self, program: &Program, index: u32) {
        self.unsettle(program, index);
        let Some(instance) = self.instances.get_mut(at(index)) else {
            return;
        };
        if !std::mem::replace(&mut instance.live, false) {
            return;
        }
        let family = instance.family;
        if family.older != index {
            self.with(family.newer, |i| i.family.older = family.older);
            self.with(family.older, |i| i.family.newer = family.newer);
        }
        self.free.push(index);
        self.live -= 1;
    }

    /// End an instance and everything that stems from the same first event.
    pub fn remove_family(&mut self, program: &Program, index: u32) {
        while let Some(instance) = self.instance(index).copied() {
            let relative = instance.family.older;
            self.remove(program, relative);
        }
    }

    /// The instance that has waited longest.
    pub fn oldest(&mut self) -> Option<u32> {
        while let Some(stay) = self.order.front() {
            if self.stays(*stay) {
                return Some(stay.index);
            }
            self.order.pop_front();
        }
        None
    }

    /// Does a stay with this deadline end after all that end in their order? It then is one of
    /// them: [`Store::expire`] ends it.
    pub fn ends_in_order(&mut self, deadline_us: u64) -> bool {
        let is_last = deadline_us >= self.last_deadline_us;
        self.last_deadline_us = self.last_deadline_us.max(deadline_us);
        is_last
    }

    /// End the oldest instances as long as `has_passed` says so of their deadline. Returns the
    /// deadline of the oldest that is left.
    pub fn expire(&mut self, program: &Program, has_passed: impl Fn(u64) -> bool) -> Option<u64> {
        while let Some(stay) = self.order.front().copied() {
            for (ahead, what) in AHEAD {
                if let Some(coming) = self.order.get(ahead) {
                    self.prefetch(program, coming.index, what);
                }
            }
            if self.stays(stay) {
                if !has_passed(stay.deadline_us) {
                    return Some(stay.deadline_us);
                }
                self.remove(program, stay.index);
            }
            self.order.pop_front();
        }
        None
    }

    /// All waiting instances, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = u32> {
        let stays = self.order.iter().rev().filter(|stay| self.stays(**stay));
        stays.map(|stay| stay.index)
    }

    /// Ask for the memory that ending an instance touches: of the instance itself, or, once that is
    /// there, of its class, or then of where the class is found.
    pub fn prefetch(&self, program: &Program, index: u32, what: Prefetch) {
        let Some(instance) = self.instances.get(at(index)) else {
            return;
        };
        if what == Prefetch::Instance {
            return memory::prefetch(instance);
        }
        let edge = program.edges_from(instance.state).first();
        if let Some(waiting) = edge.and_then(|(number, _)| self.edges.get(*number)) {
            waiting.prefetch(instance.member.class, what);
        }
    }

    /// An instance is about to be looked at: ask for it and for the start of its record at once.
    pub fn expect(&self, index: u32) {
        memory::prefetch_element(&self.instances, at(index));
        let start = at(index).saturating_mul(self.record_size);
        for line in 0..RECORD_LINES {
            memory::prefetch_element(&self.records, start.saturating_add(line * 64));
        }
    }

    /// Does an instance wait for this event?
    pub fn awaits(&self, event: u8) -> bool {
        self.awaited & 1 << event != 0
    }

    /// Does some number of the packet rule out that it continues the members of a class?
    pub fn is_refuted(
        &self,
        event: &Event,
        waiting: &Waiting,
        class: u32,
        number: &mut impl FnMut(Slot) -> Option<u64>,
    ) -> bool {
        let Some(newest) = waiting.class(class).map(|class| class.newest) else {
            return false;
        };
        let (earlier, bound) = (self.record(newest), self.bound(newest));
        let mut pairs = event.residual.iter().filter_map(|r| r.pair.as_ref());
        pairs.any(|pair| pair.is_refuted(number, earlier, bound))
    }

    /// Do the conditions between the events hold for an instance and an event of this packet?
    pub fn shares(&self, program: &Program, index: u32, event: u8, seen: Seen<'_>) -> bool {
        let joined = Joined {
            program,
            event,
            seen,
            earlier: self.record(index),
            bound: self.bound(index),
        };
        joined.holds()
    }

    /// What waits at an edge.
    pub fn waiting(&self, edge: usize) -> Option<&Waiting> {
        self.edges.get(edge)
    }

    /// The next older member of the class in which an instance waits at an edge.
    pub fn older_alike(&self, index: u32, edge: usize) -> Option<u32> {
        let instance = self.instances.get(at(index))?;
        let member = match self.place_of(index, edge) {
            None => Some(&instance.member),
            Some(place) => self.members.get(place),
        };
        member.map(|m| m.links.older).filter(|older| *older != NONE)
    }

    /// Where the membership of an instance at an edge is kept, unless in the instance.
    fn place_of(&self, index: u32, edge: usize) -> Option<usize> {
        let place = self.places.get(edge)?.checked_sub(1)?;
        Some(at(index).saturating_mul(self.fan_out - 1) + place)
    }

    fn member_mut(&mut self, index: u32, edge: usize) -> Option<&mut Member> {
        if index == NONE {
            return None;
        }
        match self.place_of(index, edge) {
            None => self.instances.get_mut(at(index)).map(|i| &mut i.member),
            Some(place) => self.members.get_mut(place),
        }
    }

    /// Make an instance, given with its stay and the events it has bound, member of the class of
    /// its values at an edge.
    fn join(&mut self, event: &Event, (index, sequence, bound): (u32, u64, u64), edge: usize) {
        let identity = identity(event, self.record(index), bound, self.seed);
        let Some(waiting) = self.edges.get_mut(edge) else {
            return;
        };
        let (class, older) = waiting.join(identity, index, sequence);
        let links = Links { newer: NONE, older };
        if let Some(member) = self.member_mut(index, edge) {
            *member = Member { class, links };
        }
        if let Some(member) = self.member_mut(older, edge) {
            member.links.newer = index;
        }
    }

    fn leave(&mut self, index: u32, edge: usize) {
        let Some(slot) = self.member_mut(index, edge) else {
            return;
        };
        let Member { class, links } = std::mem::replace(slot, NO_MEMBER);
        if let Some(member) = self.member_mut(links.older, edge) {
            member.links.newer = links.newer;
        }
        match self.member_mut(links.newer, edge) {
            Some(member) => member.links.older = links.older,
            None => {
                if let Some(edge) = self.edges.get_mut(edge) {
                    edge.leave(class, links.older);
                }
            }
        }
    }

    fn stays(&self, stay: Stay) -> bool {
        let instance = self.instances.get(at(stay.index));
        instance.is_some_and(|instance| instance.sequence == stay.sequence)
    }

    /// Note that an instance waits from now on, and forget past stays when they are many.
    fn note_order(&mut self, stay: Stay) {
        self.order.push_back(stay);
        if self.order.len() > 4 * self.live + PAST_STAYS {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|stay| self.stays(*stay));
            self.order = order;
        }
    }

    fn with(&mut self, index: u32, change: impl FnOnce(&mut Instance)) {
        if let Some(instance) = self.instances.get_mut(at(index)) {
            change(instance);
        }
    }

    fn bound(&self, index: u32) -> u64 {
        let instance = self.instances.get(at(index));
        instance.map_or(0, |instance| instance.bound)
    }
}

/// Hashes of the values that an event must find equal, and of all that it is compared with, as the
/// waiting instance holds them.
fn identity(event: &Event, record: &[u8], bound: u64, seed: u64) -> Identity {
    let mut hash = Hash::new(seed);
    for key in &event.keys {
        hash = with_held(hash, &key.earlier, record, bound);
    }
    let key = hash.value;
    for held in &event.shared {
        hash = with_held(hash, held, record, bound);
    }
    Identity {
        key,
        values: hash.value,
        // Events bound say which of the values are there at all.
        check: hash.with_word(bound).check,
    }
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "a call would pass the hash through memory"
)]
fn with_held(hash: Hash, held: &Held, record: &[u8], bound: u64) -> Hash {
    match bound & 1 << held.place.event {
        0 => hash.with_word(0),
        _ => held.part.hash_held(hash, record),
    }
}

fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
