//! The instances of one rule: what has been seen so far of each attempt to match it.
//!
//! Instances lie in one array; a free list reuses places. Each waits in one state, linked into one
//! hash chain for every edge that leaves the state, keyed by the values that the edge's event must
//! share with it; so a packet finds the instances it may continue without looking at the others.
//! Chains, and the list of all, run from the newest to the oldest.

use super::machine::StateId;
use super::program::{Place, Program};
use super::record;
use crate::expr::evaluate::Scalar;
use crate::expr::evaluate::Source;

/// No instance.
const NONE: u32 = u32::MAX;
/// Hash chains of one keyed edge. Chains grow to some links before this costs more than it saves.
const CHAINS: usize = 1 << 14;

/// Instances of a rule that memory is reserved for at start.
const INSTANCES_RESERVED: usize = 100_000;

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
    order: Links,
    family: Links,
    live: bool,
}

#[derive(Debug, Clone, Copy)]
struct Links {
    newer: u32,
    older: u32,
}

const UNLINKED: Links = Links {
    newer: NONE,
    older: NONE,
};

/// Place of one instance in the chain of one edge.
#[derive(Debug, Clone, Copy)]
struct Chain {
    links: Links,
    bucket: u32,
    hash: u64,
}

const UNCHAINED: Chain = Chain {
    links: UNLINKED,
    bucket: NONE,
    hash: 0,
};

/// The instances of one rule.
#[derive(Debug)]
pub struct Store {
    instances: Vec<Instance>,
    records: Vec<u8>,
    caps: Vec<u64>,
    chains: Vec<Chain>,
    /// Heads of the chains of each edge; one for an edge without keys.
    heads: Vec<Vec<u32>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    live: usize,
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
        let heads_of = |event: u8| match program.event(event) {
            Some(event) if !event.keys.is_empty() => vec![NONE; CHAINS],
            _ => vec![NONE],
        };
        let states = u8::try_from(program.machine.states.len()).unwrap_or(u8::MAX);
        let fan_out = (0..states)
            .map(|s| program.edges_from(s).count())
            .max()
            .unwrap_or(0);
        let instances_max = if program.single.is_some() {
            1
        } else {
            instances_max
        };
        let heads = match program.machine.single {
            true => Vec::new(),
            false => program
                .machine
                .edges
                .iter()
                .map(|edge| heads_of(edge.event))
                .collect(),
        };
        Self {
            instances: Vec::new(),
            records: Vec::new(),
            caps: Vec::new(),
            chains: Vec::new(),
            heads,
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            live: 0,
            waiting: vec![0; program.events.len() + 1],
            awaited: 0,
            fan_out,
            record_size: program.record_size,
            depths: usize::from(program.machine.depths),
            instances_max: instances_max.clamp(1, NONE as usize - 1),
            seed,
        }
        .reserve()
    }

    /// Number of instances.
    pub fn live(&self) -> usize {
        self.live
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

    /// An instance, to change.
    pub fn instance_mut(&mut self, index: u32) -> Option<&mut Instance> {
        self.instances
            .get_mut(at(index))
            .filter(|instance| instance.live)
    }

    /// The records of the events an instance has bound.
    pub fn record(&self, index: u32) -> &[u8] {
        let start = at(index).saturating_mul(self.record_size);
        self.records
            .get(start..start.saturating_add(self.record_size))
            .unwrap_or(&[])
    }

    /// End of the window of the operator under which depth `depth` runs.
    pub fn cap(&self, index: u32, depth: u8) -> u64 {
        let place = at(index).saturating_mul(self.depths) + usize::from(depth);
        self.caps.get(place).copied().unwrap_or(u64::MAX)
    }

    /// Note the end of that window.
    pub fn set_cap(&mut self, index: u32, depth: u8, cap_us: u64) {
        let place = at(index).saturating_mul(self.depths) + usize::from(depth);
        if let Some(cap) = self.caps.get_mut(place) {
            *cap = cap_us;
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
            .caps
            .try_reserve_exact(count.saturating_mul(self.depths));
        let _ = self
            .chains
            .try_reserve_exact(count.saturating_mul(self.fan_out));
        let _ = self.free.try_reserve_exact(count);
        self
    }

    /// A new instance in no state: the first of a family, or a copy of a member of one. The caller
    /// has made room.
    pub fn create(&mut self, from: Option<u32>) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.grow()?,
        };
        let fresh = Instance {
            state: super::machine::INIT,
            sequence: 0,
            window_min_us: 0,
            window_max_us: u64::MAX,
            packet: 0,
            bound: 0,
            order: UNLINKED,
            family: Links {
                newer: index,
                older: index,
            },
            live: true,
        };
        let origin = from.and_then(|from| self.instance(from).copied());
        let bound = origin.map_or(0, |origin| origin.bound);
        let slot = self.instances.get_mut(at(index))?;
        *slot = Instance { bound, ..fresh };
        if let (Some(from), Some(_)) = (from, origin) {
            self.join_family(index, from);
            self.copy_of(index, from);
        }
        self.live += 1;
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
            order: UNLINKED,
            family: UNLINKED,
            live: false,
        });
        self.records
            .resize(self.instances.len() * self.record_size, 0);
        self.caps
            .resize(self.instances.len() * self.depths, u64::MAX);
        self.chains
            .resize(self.instances.len() * self.fan_out, UNCHAINED);
        Some(index)
    }

    fn copy_of(&mut self, index: u32, from: u32) {
        let (size, depths) = (self.record_size, self.depths);
        let [source, target] = [at(from) * size, at(index) * size];
        self.records.copy_within(source..source + size, target);
        let [source, target] = [at(from) * depths, at(index) * depths];
        self.caps.copy_within(source..source + depths, target);
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

    /// Let the instance wait in a state: newest of all, linked for every edge that leaves the
    /// state.
    pub fn settle(&mut self, program: &Program, index: u32, state: StateId, sequence: u64) {
        self.with(index, |instance| {
            instance.state = state;
            instance.sequence = sequence;
        });
        self.link_order(index);
        for (place, (edge, event)) in program
            .edges_from(state)
            .map(|(number, edge)| (number, edge.event))
            .enumerate()
        {
            let hash = self.hash_waiting(program, index, event);
            self.link_chain(index, place, edge, hash);
            if let Some(count) = self.waiting.get_mut(usize::from(event)) {
                *count += 1;
                self.awaited |= 1 << event;
            }
        }
    }

    /// Take the instance out of its state; it belongs to no list any more but its family.
    pub fn unsettle(&mut self, program: &Program, index: u32) {
        let Some(state) = self.instance(index).map(|instance| instance.state) else {
            return;
        };
        if self
            .instance(index)
            .is_some_and(|instance| instance.sequence == 0)
        {
            return;
        }
        self.unlink_order(index);
        for (place, (edge, event)) in program
            .edges_from(state)
            .map(|(number, edge)| (number, edge.event))
            .enumerate()
        {
            self.unlink_chain(index, place, edge);
            if let Some(count) = self.waiting.get_mut(usize::from(event)) {
                *count -= 1;
                self.awaited &= !(u64::from(*count == 0) << event);
            }
        }
        self.with(index, |instance| instance.sequence = 0);
    }

    /// End an instance.
    pub fn remove(&mut self, program: &Program, index: u32) {
        if self.instance(index).is_none() {
            return;
        }
        self.unsettle(program, index);
        let family = self.instances.get(at(index)).map_or(UNLINKED, |i| i.family);
        self.with(family.newer, |i| i.family.older = family.older);
        self.with(family.older, |i| i.family.newer = family.newer);
        self.with(index, |instance| instance.live = false);
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
    pub fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// All waiting instances, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = u32> {
        let next = |index: &u32| {
            let older = self
                .instances
                .get(at(*index))
                .map_or(NONE, |i| i.order.older);
            (older != NONE).then_some(older)
        };
        std::iter::successors((self.newest != NONE).then_some(self.newest), next)
    }

    /// Hash of the values that `event` must find equal, as the current packet holds them.
    pub fn hash_current(&self, program: &Program, event: u8, record: &[u8]) -> u64 {
        let Some(compiled) = program.event(event) else {
            return 0;
        };
        let word = |(field, _): &(u8, Place)| compiled.layout.key_word(record, usize::from(*field));
        hash_words(self.seed, compiled.keys.iter().map(word))
    }

    /// Add the instances that wait at `edge` and may share the values of `record`, newest first, as
    /// (sequence, instance, edge).
    pub fn candidates(&self, edge: usize, hash: u64, list: &mut Vec<(u64, u32, usize)>) {
        let heads = self.heads.get(edge).map_or(&[][..], Vec::as_slice);
        let mut index = heads
            .get(bucket_of(hash, heads.len()))
            .copied()
            .unwrap_or(NONE);
        while index != NONE {
            let chain = self
                .chain_place(index, edge)
                .and_then(|place| self.chains.get(place));
            let Some(chain) = chain else { break };
            if chain.hash == hash
                && let Some(instance) = self.instances.get(at(index))
            {
                list.push((instance.sequence, index, edge));
            }
            index = chain.links.older;
        }
    }

    /// An instance in a chain is linked at the place that the edge has among those leaving its
    /// state; the edge is kept in `bucket`'s upper half so that the place is found without the
    /// program.
    fn chain_place(&self, index: u32, edge: usize) -> Option<usize> {
        let start = at(index) * self.fan_out;
        if self.fan_out == 1 {
            return Some(start);
        }
        let chains = self.chains.get(start..start + self.fan_out)?;
        let edge = u32::try_from(edge).ok()?;
        chains
            .iter()
            .position(|chain| chain.bucket >> 16 == edge)
            .map(|place| start + place)
    }

    fn link_chain(&mut self, index: u32, place: usize, edge: usize, hash: u64) {
        let Some(heads) = self.heads.get_mut(edge) else {
            return;
        };
        let bucket = bucket_of(hash, heads.len());
        let Some(head) = heads.get_mut(bucket) else {
            return;
        };
        let older = std::mem::replace(head, index);
        let tag = u32::try_from(edge << 16 | bucket).unwrap_or(NONE);
        if let Some(chain) = self.chains.get_mut(at(index) * self.fan_out + place) {
            *chain = Chain {
                links: Links { newer: NONE, older },
                bucket: tag,
                hash,
            };
        }
        if older != NONE
            && let Some(place) = self.chain_place(older, edge)
            && let Some(chain) = self.chains.get_mut(place)
        {
            chain.links.newer = index;
        }
    }

    fn unlink_chain(&mut self, index: u32, place: usize, edge: usize) {
        let Some(slot) = self.chains.get_mut(at(index) * self.fan_out + place) else {
            return;
        };
        let chain = std::mem::replace(slot, UNCHAINED);
        let Links { newer, older } = chain.links;
        if newer == NONE {
            let bucket = at(chain.bucket & 0xffff);
            if let Some(head) = self
                .heads
                .get_mut(edge)
                .and_then(|heads| heads.get_mut(bucket))
            {
                *head = older;
            }
        } else if let Some(place) = self.chain_place(newer, edge)
            && let Some(chain) = self.chains.get_mut(place)
        {
            chain.links.older = older;
        }
        if older != NONE
            && let Some(place) = self.chain_place(older, edge)
            && let Some(chain) = self.chains.get_mut(place)
        {
            chain.links.newer = newer;
        }
    }

    fn link_order(&mut self, index: u32) {
        let older = std::mem::replace(&mut self.newest, index);
        self.with(index, |i| i.order = Links { newer: NONE, older });
        match older {
            NONE => self.oldest = index,
            older => self.with(older, |i| i.order.newer = index),
        }
    }

    fn unlink_order(&mut self, index: u32) {
        let Some(Links { newer, older }) = self.instances.get(at(index)).map(|i| i.order) else {
            return;
        };
        match newer {
            NONE => self.newest = older,
            newer => self.with(newer, |i| i.order.older = older),
        }
        match older {
            NONE => self.oldest = newer,
            older => self.with(older, |i| i.order.newer = newer),
        }
    }

    fn with(&mut self, index: u32, change: impl FnOnce(&mut Instance)) {
        if let Some(instance) = self.instances.get_mut(at(index)) {
            change(instance);
        }
    }

    /// Hash of the values that the event must find equal, as the waiting instance holds them.
    fn hash_waiting(&self, program: &Program, index: u32, event: u8) -> u64 {
        let Some(compiled) = program.event(event) else {
            return 0;
        };
        let record = self.record(index);
        let bound = self
            .instances
            .get(at(index))
            .map_or(0, |instance| instance.bound);
        hash_words(
            self.seed,
            compiled.keys.iter().map(|(_, place)| {
                let source = program
                    .event(place.event)
                    .filter(|_| bound & 1 << place.event != 0);
                source.map_or(0, |source| {
                    let record = record.get(source.offset..).unwrap_or(&[]);
                    source.layout.key_word(record, usize::from(place.field))
                })
            }),
        )
    }
}

fn hash_words(seed: u64, words: impl Iterator<Item = u64>) -> u64 {
    words.fold(seed, |hash, word| {
        // Folded multiplication: no word cancels another without knowledge of the seed.
        let product = u128::from(hash ^ word).wrapping_mul(u128::from(seed | 1) << 1 | 1);
        let [low, high] = [product & u128::from(u64::MAX), product >> 64];
        u64::try_from(low ^ high & u128::from(u64::MAX))
            .unwrap_or(0)
            .rotate_left(23)
    })
}

fn bucket_of(hash: u64, chains: usize) -> usize {
    usize::try_from(hash).unwrap_or(0) & chains.saturating_sub(1)
}

fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The current packet and an instance side by side, for the conditions that need both.
#[derive(Debug, Clone, Copy)]
pub struct Joined<'a> {
    /// The rule.
    pub program: &'a Program,
    /// Event that the current packet may be.
    pub event: u8,
    /// Its record.
    pub current: &'a [u8],
    /// Records of the events bound so far.
    pub earlier: &'a [u8],
    /// Which those are: bit N for event N.
    pub bound: u64,
}

impl Joined<'_> {
    /// Do the keys and all other conditions between the events hold?
    pub fn holds(&self) -> bool {
        let Some(event) = self.program.event(self.event) else {
            return false;
        };
        event
            .keys
            .iter()
            .all(|(field, place)| self.equal(*field, *place))
            && event.residual.iter().all(|condition| condition.holds(self))
    }

    fn equal(&self, field: u8, place: Place) -> bool {
        let here = self.read(Place { event: 0, field });
        match (here, self.read(place)) {
            (Scalar::Number(a), Scalar::Number(b)) => a == b,
            (Scalar::Text(a), Scalar::Text(b)) => a.same(&b),
            // What was never bound reads as 0.
            (Scalar::Number(a), Scalar::Absent) => a == 0,
            _ => false,
        }
    }

    /// Time and packet number of an event bound before.
    pub fn bound_at(&self, event: u8) -> Option<(crate::packet::Timestamp, u64)> {
        let compiled = self.program.event(event)?;
        let record = self.earlier.get(compiled.offset..)?;
        (self.bound & 1 << event != 0).then(|| (record::timestamp(record), record::number(record)))
    }
}

impl Source<Place> for Joined<'_> {
    fn read(&self, place: Place) -> Scalar<'_> {
        let field = usize::from(place.field);
        if place.event == 0 || (place.event == self.event && self.bound & 1 << place.event == 0) {
            let event = self.program.event(self.event);
            return event.map_or(Scalar::Absent, |event| {
                event.layout.read(self.current, field)
            });
        }
        if self.bound & 1 << place.event == 0 {
            return Scalar::Absent;
        }
        let Some(event) = self.program.event(place.event) else {
            return Scalar::Absent;
        };
        match self.earlier.get(event.offset..) {
            Some(record) => event.layout.read(record, field),
            None => Scalar::Absent,
        }
    }

    /// Protocols belong to the packet alone: such a condition is part of the guard.
    fn has_protocol(&self, _: crate::dissect::Protocol) -> bool {
        false
    }
}
