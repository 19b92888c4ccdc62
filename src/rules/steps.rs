//! Which events of which rules a packet is looked at for.
//!
//! Every event of a rule is a step, and so is a rule that one packet decides. Steps are numbered in
//! load order. A step with an access predicate is chosen by the index; the others by the protocols
//! of the packet alone. Of both, those are left that something waits for. So a packet costs by the
//! rules it concerns, whatever the number loaded.

use super::access::{Access, Rank, Wanted};
use super::guards::{Extraction, Message};
use super::index::{Members, Probe, Set};
use super::machine::INIT;
use super::program::{Event, Program, Slot};
use crate::dissect::ProtocolSet;
use crate::expr::Mode;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Sets of protocols whose steps are remembered; traffic has a few dozen.
const REMEMBERED: usize = 64;

/// Steps with the same access predicate beyond which one on another attribute is better.
const SHARED: usize = 16;

/// One thing to look at for each packet: an event of a rule, or all of a rule.
#[derive(Debug)]
pub struct Step {
    /// Protocols that the packet must have.
    pub protocols: ProtocolSet,
    /// Place of the rule.
    pub rule: u32,
    /// What it is.
    pub what: What,
    /// What a packet must show before it is looked at, beside the protocols.
    pub access: Option<Access>,
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

/// The steps of all rules.
#[derive(Debug, Default)]
pub struct Steps {
    list: Vec<Step>,
    /// Where those of each rule are.
    pub places: Arc<Places>,
    /// Steps without an access predicate, by the protocols they need.
    plain: Vec<(ProtocolSet, Members)>,
    /// The index, and the protocols of the attribute of each probe.
    probes: Vec<(ProtocolSet, Probe)>,
}

/// Where the steps of each rule are.
#[derive(Debug, Default)]
pub struct Places {
    rules: Vec<Place>,
    /// For each step, the probe that finds it, plus 1.
    probes: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    first: usize,
    count: usize,
    /// The first is [`What::TimeOuts`].
    lazily: bool,
}

/// Steps that something waits for.
#[derive(Debug, Default, Clone)]
pub struct Awaited {
    words: Vec<u64>,
    /// How many of them each probe finds: one that finds none is left out.
    found_by: Vec<u32>,
}

/// What packets of one set of protocols are looked at for.
#[derive(Debug, Clone, Default)]
struct Plan {
    protocols: ProtocolSet,
    plain: Members,
    probes: Vec<usize>,
}

/// Plans, as far as met lately.
#[derive(Debug)]
pub struct Remembered(Vec<Plan>);

impl Steps {
    /// Of these rules, whose attributes are read in these ways.
    pub fn new(programs: &[Program], extraction: &Extraction) -> Self {
        let mut steps = Self::default();
        let mut places = Places::default();
        let mut chooser = Chooser::default();
        let mut plain: BTreeMap<u128, (ProtocolSet, Members)> = BTreeMap::new();
        let all: Vec<_> = programs.iter().zip(0..).map(steps_of).collect();
        for (_, accesses) in all.iter().flatten() {
            for (_, access) in accesses {
                *chooser.popular.entry(access.slot).or_default() += 1;
            }
        }
        for of_rule in all {
            let first = steps.list.len();
            for (mut step, accesses) in of_rule {
                let number = steps.list.len();
                step.access = chooser.choose(number, accesses);
                if step.access.is_none() {
                    let none = (step.protocols, Members::default());
                    let same = plain.entry(step.protocols.bits()).or_insert(none);
                    same.1.insert(number);
                }
                steps.list.push(step);
            }
            let time_outs = |step: &Step| step.what == What::TimeOuts;
            places.rules.push(Place {
                first,
                count: steps.list.len() - first,
                lazily: steps.list.get(first).is_some_and(time_outs),
            });
        }
        places.probes = vec![0; steps.list.len()];
        let mut number = 0;
        // A packet looks for the header of a protocol once when its attributes stand together.
        let mut chosen: Vec<_> = chooser.chosen.into_iter().collect();
        chosen.sort_by_key(|(slot, (protocols, _))| (protocols.bits(), *slot));
        for (slot, (protocols, chosen)) in chosen {
            let members: Vec<(&Access, usize)> = chosen.iter().map(|(a, s)| (a, *s)).collect();
            steps.probes.push((
                protocols,
                Probe::new((slot, extraction.short(slot)), &members),
            ));
            number += 1;
            for (_, step) in members {
                if let Some(probe) = places.probes.get_mut(step) {
                    *probe = number;
                }
            }
        }
        steps.plain = plain.into_values().collect();
        steps.places = Arc::new(places);
        steps
    }

    /// A step by number.
    pub fn get(&self, number: usize) -> Option<&Step> {
        self.list.get(number)
    }

    /// The steps of a rule, by its place.
    pub fn of_rule(&self, rule: usize) -> &[Step] {
        let place = self.places.rules.get(rule);
        let steps = place.and_then(|p| self.list.get(p.first..p.first + p.count));
        steps.unwrap_or(&[])
    }

    /// No step, with room for all.
    pub fn none(&self) -> Set {
        Set::new(self.list.len())
    }

    /// Those that can lead anywhere when nothing waits yet.
    pub fn at_start(&self, programs: &[Program]) -> Awaited {
        let mut awaited = Awaited {
            words: vec![0; self.list.len().div_ceil(64)],
            found_by: vec![0; self.probes.len()],
        };
        for (number, step) in self.list.iter().enumerate() {
            let program = usize::try_from(step.rule).ok();
            let program = program.and_then(|rule| programs.get(rule));
            let starts = match step.what {
                What::Rule => true,
                What::TimeOuts => false,
                What::Event(event) => program.is_some_and(|program| {
                    let mut edges = program.edges_of(event).iter();
                    edges.any(|(_, edge)| edge.from == INIT)
                }),
            };
            if starts {
                self.places.set(&mut awaited, number, true);
            }
        }
        awaited
    }

    /// The steps to take for a packet, of those that something waits for.
    pub fn choose(
        &self,
        chosen: &mut Set,
        awaited: &Awaited,
        remembered: &mut Remembered,
        message: &mut Message<'_, '_>,
    ) {
        let plan = remembered.of(message.view.facts.protocols, self);
        chosen.add(&plan.plain);
        for number in &plan.probes {
            let is_awaited = |count: &u32| *count > 0;
            if !awaited.found_by.get(*number).is_some_and(is_awaited) {
                continue;
            }
            if let Some((_, probe)) = self.probes.get(*number) {
                probe.look(message, chosen);
            }
        }
        chosen.keep(&awaited.words);
    }
}

/// Chooses one access predicate for each step.
#[derive(Default)]
struct Chooser {
    /// Steps that could be found by each attribute.
    popular: BTreeMap<Slot, usize>,
    /// By attribute: its protocol, and what was chosen.
    chosen: BTreeMap<Slot, (ProtocolSet, Vec<(Access, usize)>)>,
    /// Steps by what was chosen for them.
    shared: HashMap<(Slot, Wanted), usize>,
}

impl Chooser {
    fn choose(&mut self, step: usize, accesses: Vec<(ProtocolSet, Access)>) -> Option<Access> {
        let best = accesses.into_iter().min_by_key(|(_, access)| {
            let key = (access.slot, access.wanted.clone());
            let shared = self.shared.get(&key).copied().unwrap_or(0);
            // A predicate on an attribute that is looked at anyhow costs nothing.
            let popular = self.popular.get(&access.slot).copied().unwrap_or(0);
            let is_poor = access.rank >= Rank::Message;
            let is_crowded = shared >= SHARED;
            (is_poor, is_crowded, Reverse(popular), access.rank, shared)
        });
        let (protocols, access) = best?;
        let key = (access.slot, access.wanted.clone());
        *self.shared.entry(key).or_default() += 1;
        let none = (protocols, Vec::new());
        let probe = self.chosen.entry(access.slot).or_insert(none);
        probe.1.push((access.clone(), step));
        Some(access)
    }
}

fn steps_of((program, rule): (&Program, u32)) -> Vec<(Step, Vec<(ProtocolSet, Access)>)> {
    if let Some(single) = &program.single {
        let context = program.event(single.context);
        let mut accesses = context.map_or_else(Vec::new, |event| event.accesses.clone());
        // Where nothing is said when the second event fails, it must hold just as well.
        if single.failed.is_none() && !context.is_some_and(Event::is_stateful) {
            let trigger = program.event(single.trigger);
            accesses.extend(trigger.iter().flat_map(|event| event.accesses.clone()));
        }
        let step = Step {
            protocols: single.protocols,
            rule,
            what: What::Rule,
            access: None,
        };
        return vec![(step, accesses)];
    }
    let lazily = program.mode == Mode::Compat && program.timeout_reports;
    let time_outs = Step {
        protocols: ProtocolSet::default(),
        rule,
        what: What::TimeOuts,
        access: None,
    };
    let events = (1..).zip(&program.events).map(|(number, event)| {
        let step = Step {
            protocols: event.protocols,
            rule,
            what: What::Event(number),
            access: None,
        };
        (step, event.accesses.clone())
    });
    let time_outs = lazily.then_some((time_outs, Vec::new()));
    time_outs.into_iter().chain(events).collect()
}

impl Places {
    /// Let `awaited` hold, of one rule, the steps that can change anything: bit N of `events` for
    /// event N, and whether an instance waits.
    pub fn note(&self, awaited: &mut Awaited, rule: usize, events: u64, is_waiting: bool) {
        let Some(place) = self.rules.get(rule) else {
            return;
        };
        let time_outs = u64::from(place.lazily && is_waiting);
        let bits = events >> 1 << u32::from(place.lazily) | time_outs;
        for offset in 0..place.count {
            self.set(awaited, place.first + offset, bits >> offset & 1 != 0);
        }
    }

    fn set(&self, awaited: &mut Awaited, step: usize, is_awaited: bool) {
        let Some(word) = awaited.words.get_mut(step / 64) else {
            return;
        };
        let bit = 1 << (step % 64);
        if (*word & bit != 0) == is_awaited {
            return;
        }
        *word ^= bit;
        let probe = self.probes.get(step).and_then(|p| p.checked_sub(1));
        let count = probe.and_then(|probe| awaited.found_by.get_mut(usize::from(probe)));
        if let Some(count) = count {
            *count = match is_awaited {
                true => *count + 1,
                false => count.saturating_sub(1),
            };
        }
    }
}

impl Default for Remembered {
    fn default() -> Self {
        // No packet lacks the meta protocol, so the empty set matches none.
        Self(vec![Plan::default(); REMEMBERED])
    }
}

impl Remembered {
    fn of(&mut self, protocols: ProtocolSet, steps: &Steps) -> &Plan {
        let place = place_of(protocols);
        if let Some(plan) = self.0.get_mut(place)
            && plan.protocols != protocols
        {
            steps.fill(plan, protocols);
        }
        self.0.get(place).unwrap_or(const { &Plan::EMPTY })
    }
}

impl Plan {
    const EMPTY: Self = Self {
        protocols: ProtocolSet::META,
        plain: Members::EMPTY,
        probes: Vec::new(),
    };
}

impl Steps {
    /// Make a plan for these protocols out of another, in its memory: packets choose how often.
    #[cold]
    fn fill(&self, plan: &mut Plan, protocols: ProtocolSet) {
        plan.protocols = protocols;
        plan.plain.clear();
        plan.probes.clear();
        for (needed, members) in &self.plain {
            if protocols.contains_all(*needed) {
                plan.plain.unite(members);
            }
        }
        let probes = self.probes.iter().enumerate();
        let probes = probes.filter(|(_, (needed, _))| protocols.contains_all(*needed));
        plan.probes.extend(probes.map(|(number, _)| number));
    }
}

fn place_of(protocols: ProtocolSet) -> usize {
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let hash = protocols.bits().wrapping_mul(SPREAD) >> 122;
    usize::try_from(hash).unwrap_or(0) % REMEMBERED
}
