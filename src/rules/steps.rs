//! Which events of which rules a packet is looked at for.
//!
//! Every event of a rule is a step, and so is a rule that one packet decides. Steps are kept as
//! sets, one bit each in load order: those that packets of one set of protocols can take, those
//! that something waits for, and for each attribute that some guard compares with a constant, those
//! that want each constant. What is left of all of them is evaluated, so that a packet costs by the
//! rules it concerns.

use super::guards::Message;
use super::machine::INIT;
use super::program::{Program, Slot};
use crate::dissect::ProtocolSet;
use crate::expr::Mode;
use std::collections::BTreeMap;

/// Sets of protocols whose steps are remembered; traffic has a few dozen.
const REMEMBERED: usize = 64;

/// One thing to look at for each packet: an event of a rule, or all of a rule.
#[derive(Debug)]
pub struct Step {
    /// Protocols that the packet must have.
    pub protocols: ProtocolSet,
    /// Attribute and value without which nothing else is looked at.
    predicate: Option<(Slot, u64)>,
    /// Place of the rule.
    pub rule: u32,
    /// What it is.
    pub what: What,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Event of this number of a rule over several packets.
    Event(u8),
    /// A rule that one packet decides.
    Rule,
    /// Time-outs of a rule, as the published engine notices them.
    TimeOuts,
}

/// A set of steps.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Set(Vec<u64>);

/// Steps that want an attribute to be equal to a constant.
#[derive(Debug)]
struct Wanted {
    slot: Slot,
    /// All of them.
    steps: Set,
    /// By constant, ascending.
    values: Vec<(u64, Set)>,
}

/// The steps of all rules.
#[derive(Debug, Default)]
pub struct Steps {
    list: Vec<Step>,
    /// Where those of each rule are.
    pub places: Places,
    wanted: Vec<Wanted>,
}

/// Where the steps of each rule are.
#[derive(Debug, Default, Clone)]
pub struct Places(Vec<Place>);

#[derive(Debug, Clone, Copy)]
struct Place {
    first: usize,
    count: usize,
    /// The first is [`What::TimeOuts`].
    lazily: bool,
}

/// Steps by set of protocols, as far as met lately.
#[derive(Debug)]
pub struct Remembered(Vec<(ProtocolSet, Set)>);

impl Steps {
    /// Of these rules.
    pub fn new(programs: &[Program]) -> Self {
        let mut steps = Self::default();
        for (program, rule) in programs.iter().zip(0..) {
            let first = steps.list.len();
            steps.list.extend(steps_of((program, rule)));
            let time_outs = |step: &Step| step.what == What::TimeOuts;
            steps.places.0.push(Place {
                first,
                count: steps.list.len() - first,
                lazily: steps.list.get(first).is_some_and(time_outs),
            });
        }
        let mut wanted: BTreeMap<Slot, BTreeMap<u64, Set>> = BTreeMap::new();
        for (number, step) in steps.list.iter().enumerate() {
            if let Some((slot, value)) = step.predicate {
                let values = wanted.entry(slot).or_default();
                let set = values.entry(value).or_insert_with(|| steps.none());
                set.insert(number);
            }
        }
        steps.wanted = wanted
            .into_iter()
            .map(|(slot, values)| {
                let mut all = steps.none();
                values.values().for_each(|set| all.unite(set));
                Wanted {
                    slot,
                    steps: all,
                    values: values.into_iter().collect(),
                }
            })
            .collect();
        steps
    }

    /// A step by number.
    pub fn get(&self, number: usize) -> Option<&Step> {
        self.list.get(number)
    }

    /// No step, with room for all.
    pub fn none(&self) -> Set {
        Set(vec![0; self.list.len().div_ceil(64)])
    }

    /// Those that can lead anywhere when nothing waits yet.
    pub fn at_start(&self, programs: &[Program]) -> Set {
        let mut set = self.none();
        for (number, step) in self.list.iter().enumerate() {
            let program = usize::try_from(step.rule)
                .ok()
                .and_then(|r| programs.get(r));
            let starts = match step.what {
                What::Rule => true,
                What::TimeOuts => false,
                What::Event(event) => program.is_some_and(|program| {
                    let mut edges = program.edges_of(event).iter();
                    edges.any(|(_, edge)| edge.from == INIT)
                }),
            };
            if starts {
                set.insert(number);
            }
        }
        set
    }

    /// The steps to take for a packet, of those that something waits for.
    pub fn choose(
        &self,
        chosen: &mut Set,
        awaited: &Set,
        remembered: &mut Remembered,
        message: &mut Message<'_, '_>,
    ) {
        let possible = remembered.of(message.view.facts.protocols, self);
        for ((chosen, awaited), possible) in chosen.0.iter_mut().zip(&awaited.0).zip(&possible.0) {
            *chosen = awaited & possible;
        }
        for wanted in &self.wanted {
            if !chosen.meets(&wanted.steps) {
                continue;
            }
            let found = message.number(wanted.slot).and_then(|value| {
                let place = wanted.values.binary_search_by_key(&value, |(v, _)| *v);
                wanted.values.get(place.ok()?)
            });
            match found {
                Some((_, kept)) => chosen.narrow(&wanted.steps, kept),
                None => chosen.subtract(&wanted.steps),
            }
        }
    }
}

fn steps_of((program, rule): (&Program, u32)) -> Vec<Step> {
    if let Some(single) = &program.single {
        let event = program.event(single.context);
        let predicate = event.and_then(|event| event.predicate);
        return vec![Step {
            protocols: single.protocols,
            predicate,
            rule,
            what: What::Rule,
        }];
    }
    let lazily = program.mode == Mode::Compat && program.timeout_reports;
    let time_outs = Step {
        protocols: ProtocolSet::default(),
        predicate: None,
        rule,
        what: What::TimeOuts,
    };
    let events = (1..).zip(&program.events).map(|(number, event)| Step {
        protocols: event.protocols,
        predicate: event.predicate,
        rule,
        what: What::Event(number),
    });
    lazily
        .then_some(time_outs)
        .into_iter()
        .chain(events)
        .collect()
}

impl Places {
    /// Let `set` hold, of one rule, the steps that can change anything: bit N of `events` for
    /// event N, and whether an instance waits.
    pub fn note(&self, set: &mut Set, rule: usize, events: u64, is_waiting: bool) {
        if let Some(place) = self.0.get(rule) {
            let time_outs = u64::from(place.lazily && is_waiting);
            let bits = events >> 1 << u32::from(place.lazily) | time_outs;
            set.set_range(place.first, place.count, bits);
        }
    }
}

impl Remembered {
    /// Nothing yet.
    pub fn new(steps: &Steps) -> Self {
        // No packet lacks the meta protocol, so the empty set matches none.
        Self(vec![(ProtocolSet::default(), steps.none()); REMEMBERED])
    }

    fn of(&mut self, protocols: ProtocolSet, steps: &Steps) -> &Set {
        let place = place_of(protocols);
        let Some((known, set)) = self.0.get_mut(place) else {
            return const { &Set(Vec::new()) };
        };
        if *known != protocols {
            *known = protocols;
            set.0.fill(0);
            for (number, step) in steps.list.iter().enumerate() {
                if protocols.contains_all(step.protocols) {
                    set.insert(number);
                }
            }
        }
        set
    }
}

fn place_of(protocols: ProtocolSet) -> usize {
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let hash = protocols.bits().wrapping_mul(SPREAD) >> 122;
    usize::try_from(hash).unwrap_or(0) % REMEMBERED
}

impl Set {
    fn insert(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// The first member from `start` on.
    pub fn next_from(&self, start: usize) -> Option<usize> {
        let mut place = start / 64;
        let mut word = self.0.get(place)? & u64::MAX << (start % 64);
        while word == 0 {
            place += 1;
            word = *self.0.get(place)?;
        }
        Some(place * 64 + usize::try_from(word.trailing_zeros()).ok()?)
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
    }

    /// Take out what is in `all` but not in `kept`.
    fn narrow(&mut self, all: &Self, kept: &Self) {
        for ((here, all), kept) in self.0.iter_mut().zip(&all.0).zip(&kept.0) {
            *here &= !all | kept;
        }
    }

    /// Let `length` members from `first` on, at most 64, be as `bits` say.
    fn set_range(&mut self, first: usize, length: usize, bits: u64) {
        let mask = u64::MAX
            .checked_shr(64_u32.saturating_sub(u32::try_from(length).unwrap_or(u32::MAX)))
            .unwrap_or(0);
        let halves = |word: u64| {
            let wide = u128::from(word & mask) << (first % 64);
            [wide, wide >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0))
        };
        let words = self.0.iter_mut().skip(first / 64);
        for ((word, bits), mask) in words.zip(halves(bits)).zip(halves(mask)) {
            *word = *word & !mask | bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(set: &Set) -> Vec<usize> {
        std::iter::successors(set.next_from(0), |n| set.next_from(n + 1)).collect()
    }

    #[test]
    fn a_range_is_set_and_nothing_beside_it() {
        let mut set = Set(vec![u64::MAX, 0, u64::MAX]);
        set.set_range(60, 7, 0b101_0010);
        let mut expected: Vec<usize> = (0..60).collect();
        expected.extend([61, 64, 66]);
        expected.extend(128..192);
        assert_eq!(members(&set), expected);
        set.set_range(0, 0, u64::MAX);
        assert_eq!(members(&set), expected);
        set.set_range(128, 64, 1);
        assert_eq!(members(&set).last(), Some(&128));
    }
}
