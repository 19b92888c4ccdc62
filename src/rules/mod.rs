//! Security properties: rule files to verdicts.
//!
//! [`property`] is a rule as written, [`program`] the same compiled. For each packet, [`guards`]
//! find the events it may be, and [`joins`] continue the attempts that wait for them. The two meet
//! only in a match ([`joins::Match`]), so that they can run in different places.

pub mod explain;
pub mod findings;
pub mod guards;
pub mod joined;
pub mod joins;
pub mod listing;
pub mod load;
pub mod machine;
pub mod partition;
pub mod program;
pub mod property;
pub mod record;
pub mod reload;
pub mod store;
pub mod verdict;
pub mod wheel;

pub mod access;
mod by_bytes;
mod candidates;
mod deadlines;
mod delay;
mod either;
mod embedded;
mod graph;
mod index;
mod lint;
mod matches;
mod repeat;
mod short_texts;
pub mod steps;
mod svg;
mod tree;
mod waiting;
mod xml;

use crate::dissect::attribute::{Value, View};
use crate::dissect::{Protocol, ProtocolSet};
use crate::expr::Mode;
use crate::packet::Timestamp;
use guards::{Extraction, Message};
use joined::{Joined, Seen};
use joins::{Alert, Joins, Limits, Match, SamePacket};
use program::{Attributes, Program};
use property::Property;
use steps::{Remembered, Steps, What};

/// The loaded rules, compiled. Shared by whoever evaluates or prints.
#[derive(Debug)]
pub struct RuleSet {
    /// In load order.
    pub programs: Vec<Program>,
    /// What to look at for each packet, in load order.
    pub steps: Steps,
    /// Lists of key attributes in all of them.
    key_lists: usize,
    /// Attributes that any of them uses.
    pub extraction: Extraction,
    /// How they were compiled.
    pub mode: Mode,
}

impl RuleSet {
    /// Compile properties in load order; those that cannot run come back with the reason.
    pub fn new(properties: Vec<Property>, mode: Mode) -> (Self, Vec<(u32, program::Error)>) {
        let mut attributes = Attributes::default();
        let mut programs = Vec::new();
        let mut failed = Vec::new();
        for property in properties {
            let id = property.id;
            match Program::new(property, mode, &mut attributes) {
                Ok(program) => programs.push(program),
                Err(error) => failed.push((id, error)),
            }
        }
        let extraction = Extraction::new(attributes.ids, mode);
        (
            Self {
                key_lists: program::number_key_lists(&mut programs),
                steps: Steps::new(&programs, &extraction),
                programs,
                extraction,
                mode,
            },
            failed,
        )
    }
}

/// Evaluates the rules on the packets of one worker.
#[derive(Debug)]
pub struct Engine {
    joins: Joins,
    record: Vec<u8>,
    remembered: Remembered,
    chosen: index::Set,
    /// Hash of the values of each list of key attributes, with the look at a packet it is of.
    keys: Vec<(u64, u64)>,
    /// Looks at packets so far.
    looks: u64,
    /// Steps taken so far, by rule.
    steps: Vec<u64>,
}

/// What one rule did, beside what the joins count: for profiles.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RuleCounts {
    /// Steps taken: packets that one of its events was looked at for.
    pub steps: u64,
    /// Instances created.
    pub created: u64,
    /// Most instances at one time.
    pub peak: u64,
}

impl Engine {
    /// For this rule set.
    pub fn new(rules: &RuleSet, limits: Limits, seed: u64) -> Self {
        let record = rules
            .programs
            .iter()
            .map(|program| program.record_size)
            .max()
            .unwrap_or(0);
        Self {
            joins: Joins::new(&rules.programs, &rules.steps, limits, seed),
            record: vec![0; record],
            remembered: Remembered::default(),
            chosen: rules.steps.none(),
            keys: vec![(0, 0); rules.key_lists],
            looks: 0,
            steps: vec![0; rules.programs.len()],
        }
    }

    /// What each rule did, in load order.
    pub fn rule_counts(&self) -> Vec<RuleCounts> {
        let rules = self.steps.iter().zip(&self.joins.stores);
        let counts = rules.map(|(steps, store)| RuleCounts {
            steps: *steps,
            created: store.created,
            peak: u64::try_from(store.peak()).unwrap_or(u64::MAX),
        });
        counts.collect()
    }

    /// What the joins counted.
    pub fn counters(&mut self) -> &joins::Counters {
        self.joins.counters()
    }

    /// Evaluate all rules on one packet. `values` has a place for every slot of the extraction;
    /// what it holds does not matter.
    pub fn evaluate<'b>(
        &mut self,
        rules: &RuleSet,
        view: &View<'b>,
        values: &mut [Value<'b>],
        emit: &mut impl FnMut(Alert),
    ) {
        self.joins
            .advance(&rules.programs, view.frame.timestamp, emit);
        self.joins.note_packet(view.facts.number);
        self.walk(rules, view, values, ProtocolSet::default(), emit);
    }

    /// Evaluate the rules again on a packet that completes a further message of `protocol`: only
    /// what looks at that protocol has something new to see.
    pub fn evaluate_again<'b>(
        &mut self,
        rules: &RuleSet,
        view: &View<'b>,
        values: &mut [Value<'b>],
        protocol: Protocol,
        emit: &mut impl FnMut(Alert),
    ) {
        let mut about = ProtocolSet::default();
        about.insert(protocol);
        self.walk(rules, view, values, about, emit);
    }

    /// All rules, as far as they look at the protocols of `about`.
    fn walk<'b>(
        &mut self,
        rules: &RuleSet,
        view: &View<'b>,
        values: &mut [Value<'b>],
        about: ProtocolSet,
        emit: &mut impl FnMut(Alert),
    ) {
        let mut message = Message::new(view, &rules.extraction, values);
        let compat = rules.mode == Mode::Compat;
        // In compat mode a packet brings each rule to one verdict at most.
        let mut done = u32::MAX;
        let awaited = self.joins.awaited();
        rules.steps.choose(
            &mut self.chosen,
            awaited,
            &mut self.remembered,
            &mut message,
        );
        self.looks += 1;
        let protocols = view.facts.protocols;
        while let Some(number) = self.chosen.pop() {
            let Some(step) = rules.steps.get(number) else {
                continue;
            };
            let concerns =
                step.protocols.contains_all(about) && protocols.contains_all(step.protocols);
            if step.rule == done || !concerns {
                continue;
            }
            let Some(program) = rules.programs.get(at(step.rule)) else {
                continue;
            };
            if let Some(count) = self.steps.get_mut(at(step.rule)) {
                *count += 1;
            }
            let reported = match step.what {
                What::Event(number) => self.event(step.rule, program, number, &mut message, emit),
                What::Rule => self.single(step.rule, program, &mut message, emit),
                What::TimeOuts => self.time_outs(step.rule, program, &mut message, emit),
            };
            if reported && compat {
                done = step.rule;
            }
        }
    }

    /// Time has come to `now` without a packet: deadlines before it pass. The published engine
    /// notices them with the next packet only.
    pub fn advance(&mut self, rules: &RuleSet, now: Timestamp, emit: &mut impl FnMut(Alert)) {
        self.joins.advance(&rules.programs, now, emit);
    }

    /// The input has ended. The published engine evaluates nothing then.
    pub fn finish(&mut self, rules: &RuleSet, emit: &mut impl FnMut(Alert)) {
        if rules.mode == Mode::Standard {
            self.joins.finish_all(&rules.programs, emit);
        }
    }

    /// A rule that one packet decides.
    fn single(
        &mut self,
        rule: u32,
        program: &Program,
        message: &mut Message<'_, '_>,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let Some(single) = &program.single else {
            return false;
        };
        let (Some(context), Some(trigger)) =
            (program.event(single.context), program.event(single.trigger))
        else {
            return false;
        };
        if !message.allows(context) || !message.has_mandatory(trigger) {
            return false;
        }
        let compat = program.mode == Mode::Compat;
        // The published engine asks the context with the trigger for what is between them.
        if !compat && !self.joined(program, message, &[single.context]) {
            return false;
        }
        let asked: &[u8] = if compat { &[1, 2] } else { &[single.trigger] };
        let triggered = message.allows(trigger) && self.joined(program, message, asked);
        let Some(verdict) = (if triggered {
            single.held
        } else {
            single.failed
        }) else {
            return false;
        };
        self.record_both(program, message);
        let record = self.record.get(..program.record_size).unwrap_or(&[]);
        self.joins.count(rule);
        emit(Alert {
            rule,
            verdict,
            timestamp: message.view.frame.timestamp,
            packet: message.view.facts.number,
            timed_out: false,
            bound: 0b110,
            record: record.into(),
        });
        true
    }

    /// Conditions on some of the two events of a one-packet rule that are between them.
    fn joined(&mut self, program: &Program, message: &mut Message<'_, '_>, events: &[u8]) -> bool {
        let plain = |event: &program::Event| event.keys.is_empty() && event.residual.is_empty();
        if program.events.iter().all(plain) {
            return true;
        }
        self.record_both(program, message);
        let record = self.record.as_slice();
        events.iter().all(|event| {
            let offset = program.event(*event).map_or(0, |event| event.offset);
            Joined {
                program,
                event: *event,
                seen: Seen {
                    record: record.get(offset..).unwrap_or(&[]),
                    protocols: message.view.facts.protocols,
                },
                earlier: record,
                bound: 0b110,
            }
            .holds()
        })
    }

    fn record_both(&mut self, program: &Program, message: &mut Message<'_, '_>) {
        for event in &program.events {
            if let Some(record) = self.record.get_mut(event.offset..) {
                message.record(event, record);
            }
        }
    }

    /// One event of a rule over several packets.
    fn event(
        &mut self,
        rule: u32,
        program: &Program,
        number: u8,
        message: &mut Message<'_, '_>,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let Some(event) = program.event(number) else {
            return false;
        };
        if !message.allows(event) {
            return false;
        }
        // Most events that start an attempt are waited for by nothing.
        let concerns = if self.joins.awaits(rule, number) {
            let key = self.key(event, message);
            let of_packet = |slot| message.number(slot);
            self.joins.concerns(program, (rule, number), key, of_packet)
        } else {
            self.joins.begins((rule, number))
        };
        if !concerns {
            return false;
        }
        message.record(event, &mut self.record);
        let found = Match {
            rule,
            event: number,
            timestamp: message.view.frame.timestamp,
            packet: message.view.facts.number,
            seen: Seen {
                record: &self.record,
                protocols: message.view.facts.protocols,
            },
        };
        self.joins.matched(program, found, message, emit)
    }

    /// Hash of the values that the event must share with earlier ones.
    fn key(&mut self, event: &program::Event, message: &mut Message<'_, '_>) -> u64 {
        let seed = self.joins.seed();
        match self.keys.get_mut(event.key_list) {
            Some((look, key)) if *look == self.looks => *key,
            Some(place) => {
                *place = (self.looks, message.key(event, seed));
                place.1
            }
            None => message.key(event, seed),
        }
    }

    fn time_outs(
        &mut self,
        rule: u32,
        program: &Program,
        message: &mut Message<'_, '_>,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let relevant = program.attributes.iter().any(|slot| message.has(*slot));
        let now = (message.view.frame.timestamp, message.view.facts.number);
        relevant
            && self
                .joins
                .time_out_lazily(program, rule, now, message, emit)
    }
}

fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

impl SamePacket for Message<'_, '_> {
    fn other(&mut self, program: &Program, event: u8, record: &mut Vec<u8>) -> bool {
        let Some(event) = program.event(event) else {
            return false;
        };
        if !self.allows(event) {
            return false;
        }
        record.resize(event.layout.size, 0);
        self.record(event, record);
        true
    }

    fn protocols(&self) -> ProtocolSet {
        self.view.facts.protocols
    }
}
