//! Evaluation: for each packet the rules that it concerns, here or handed over to where they run.

use super::guards::Message;
use super::joined::{Joined, Seen};
use super::joins::{self, Alert, Joins, Limits, Match, SamePacket};
use super::outbox::Outbox;
use super::placement::Placement;
use super::program::{self, Program};
use super::record::Hash;
use super::reload::Changes;
use super::remote::{Arrived, Kind, Remote, Shown};
use super::steps::{Remembered, What};
use super::{EVENT_BITS, RULE_BITS, RuleSet, at, index};
use crate::dissect::attribute::{Value, View};
use crate::dissect::{Protocol, ProtocolSet};
use crate::expr::Mode;
use crate::packet::Timestamp;
use crate::ring::Position;
use std::sync::Arc;

/// Evaluates the rules on the packets of one worker, or on the matches of one security worker.
#[derive(Debug)]
pub struct Engine {
    pub(super) joins: Joins,
    /// To where rules run that do not run here.
    outbox: Option<Outbox>,
    /// Messages of the packet so far, but for the first.
    round: u64,
    /// On a security worker, by rule: what its packet at work found.
    found: Vec<Found>,
    record: Vec<u8>,
    remembered: Remembered,
    chosen: index::Set,
    /// Hash of the values of each list of key attributes, with the look at a packet it is of.
    keys: Vec<(u64, u64)>,
    /// Looks at packets so far.
    looks: u64,
    /// Steps taken so far, by rule.
    pub(super) steps: Vec<u64>,
}

/// What a packet, or a further message of it, has found of a rule on a security worker: a worker
/// that keeps its rules looks at all events with what was awaited before the first.
#[derive(Debug, Default, Clone, Copy)]
struct Found {
    packet: u64,
    round: u64,
    awaited: (u64, bool),
    is_done: bool,
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
        Self::with_outbox(rules, limits, seed, None)
    }

    /// As [`Engine::new`], with rules that run elsewhere.
    pub fn with_outbox(rules: &RuleSet, limits: Limits, seed: u64, outbox: Option<Outbox>) -> Self {
        let placement = outbox.as_ref().map(Outbox::placement);
        let engine = Self::prepared(rules, limits, seed, placement.map(AsRef::as_ref));
        Self { outbox, ..engine }
    }

    /// As [`Engine::with_outbox`], to be given the outbox of another engine.
    pub fn prepared(
        rules: &RuleSet,
        limits: Limits,
        seed: u64,
        placement: Option<&Placement>,
    ) -> Self {
        let record = rules
            .programs
            .iter()
            .map(|program| program.record_size)
            .max()
            .unwrap_or(0);
        Self {
            joins: Joins::new(&rules.programs, &rules.steps, limits, seed, |rule| {
                placement.is_some_and(|placement| placement.is_away(rule))
            }),
            outbox: None,
            round: 0,
            found: Vec::new(),
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
        self.joins.advance(&rules.programs, clock_of(view), emit);
        self.round = 0;
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
        self.round += 1;
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
        let (tries, work_max) = self.joins.work();
        let mut steps = 0;
        while let Some(number) = self.chosen.pop() {
            let Some(step) = rules.steps.get(number) else {
                continue;
            };
            steps += 1;
            if steps + self.joins.work().0 - tries > work_max {
                self.joins.exceeded(step.rule);
                while self.chosen.pop().is_some() {}
                break;
            }
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
            if self
                .outbox
                .as_ref()
                .is_some_and(|o| o.is_away(at(step.rule)))
            {
                self.hand_over(step.rule, program, step.what, &mut message);
                continue;
            }
            let at = self.position(step.rule, step.what, &message);
            let reported = match step.what {
                What::Event(number) => {
                    self.event((step.rule, at), program, number, &mut message, emit)
                }
                What::Rule => self.single((step.rule, at), program, &mut message, emit),
                What::TimeOuts => self.time_outs((step.rule, at), program, &mut message, emit),
            };
            if reported && compat {
                done = step.rule;
            }
        }
    }

    /// Where what a step finds stands among all that is found.
    fn position(&self, rule: u32, what: What, message: &Message<'_, '_>) -> Position {
        let event = match what {
            What::Event(number) => number,
            What::Rule | What::TimeOuts => 0,
        };
        Position {
            time: clock_of(message.view),
            packet: message.view.facts.number,
            detail: self.round << RULE_BITS | u64::from(rule) << EVENT_BITS | u64::from(event),
        }
    }

    /// Let another place do a step.
    fn hand_over(
        &mut self,
        rule: u32,
        program: &Program,
        what: What,
        message: &mut Message<'_, '_>,
    ) {
        let position = self.position(rule, what, message);
        if let Some(outbox) = &mut self.outbox {
            outbox.send(position, (rule, program), what, message, self.joins.seed());
        }
    }

    /// Take the outbox of the engine that this one follows.
    pub(super) fn take_outbox(
        &mut self,
        old: &mut Self,
        placement: Option<Arc<Placement>>,
        changes: &Changes,
    ) {
        self.outbox = old.outbox.take();
        if let (Some(outbox), Some(placement)) = (&mut self.outbox, placement) {
            outbox.change_rules(placement, self.steps.len(), changes);
        }
    }

    /// What is handed over to other places, if anything is.
    pub fn outbox(&mut self) -> Option<&mut Outbox> {
        self.outbox.as_mut()
    }

    /// Take in a match that another worker has handed over. They must come in the order of their
    /// positions.
    pub fn receive(
        &mut self,
        rules: &RuleSet,
        (remote, at): (&Remote, Position),
        bytes: &[u8],
        emit: &mut impl FnMut(Alert),
    ) {
        self.joins.advance(&rules.programs, at.time, emit);
        let rule = remote.rule;
        let place = super::at(rule);
        let Some(program) = rules.programs.get(place) else {
            return;
        };
        if self.found.len() <= place {
            self.found.resize(rules.programs.len(), Found::default());
        }
        let round = at.detail >> RULE_BITS;
        let awaited = self.joins.noted(rule);
        let Some(found) = self.found.get_mut(place) else {
            return;
        };
        if (found.packet, found.round) != (at.packet, round) {
            *found = Found {
                packet: at.packet,
                round,
                awaited,
                is_done: false,
            };
        }
        let (awaited, is_done) = (found.awaited, found.is_done);
        if is_done {
            return;
        }
        let mut arrived = Arrived {
            remote,
            program,
            bytes,
        };
        let reported = match remote.kind {
            Kind::Event(first) => {
                let mut reported = false;
                for number in remote.events(first).filter(|n| awaited.0 & 1 << n != 0) {
                    let detail = at.detail + u64::from(number - first);
                    let at = Position { detail, ..at };
                    reported |= self.arrive((rule, at), number, &mut arrived, emit);
                }
                reported
            }
            Kind::Both => self.single((rule, at), program, &mut arrived, emit),
            Kind::TimeOuts if awaited.1 => {
                let now = (remote.timestamp, at);
                self.joins
                    .time_out_lazily(program, rule, now, &mut arrived, emit)
            }
            Kind::TimeOuts | Kind::Rules => false,
        };
        if let Some(found) = self.found.get_mut(place) {
            found.is_done = reported && rules.mode == Mode::Compat;
        }
    }

    /// An event that another worker has found.
    fn arrive(
        &mut self,
        (rule, at): (u32, Position),
        number: u8,
        arrived: &mut Arrived<'_>,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let program = arrived.program;
        let Some((event, record)) = program.event(number).zip(arrived.record(number)) else {
            return false;
        };
        if !arrived.remembers(number, event) {
            return false;
        }
        let concerns = if self.joins.awaits(rule, number) {
            let none = Hash::new(self.joins.seed());
            let add = |hash, key: &program::Key| key.part.hash_held(hash, record);
            let key = event.keys.iter().fold(none, add).value;
            let of_packet = |slot| {
                let field = event.fields.iter().position(|field| *field == slot)?;
                event.layout.part(field, 0)?.number(record)
            };
            self.joins.concerns(program, (rule, number), key, of_packet)
        } else {
            self.joins.begins((rule, number))
        };
        if !concerns {
            return false;
        }
        let found = Match {
            rule,
            event: number,
            timestamp: arrived.remote.timestamp,
            at,
            seen: Seen {
                record,
                protocols: arrived.remote.protocols,
            },
        };
        self.joins.matched(program, found, arrived, emit)
    }

    /// Deadlines that pass from now on do so at this time or later.
    pub fn settled(&self) -> Timestamp {
        self.joins.settled()
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
        (rule, at): (u32, Position),
        program: &Program,
        packet: &mut impl Shown,
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
        if !packet.allows(single.context, context) || !packet.is_complete(single.trigger, trigger) {
            return false;
        }
        let compat = program.mode == Mode::Compat;
        // The published engine asks the context with the trigger for what is between them.
        if !compat && !self.joined(program, packet, &[single.context]) {
            return false;
        }
        let asked: &[u8] = if compat { &[1, 2] } else { &[single.trigger] };
        let triggered =
            packet.allows(single.trigger, trigger) && self.joined(program, packet, asked);
        let Some(verdict) = (if triggered {
            single.held
        } else {
            single.failed
        }) else {
            return false;
        };
        self.record_both(program, packet);
        let record = self.record.get(..program.record_size).unwrap_or(&[]);
        self.joins.count(rule);
        emit(Alert {
            rule,
            verdict,
            timestamp: packet.timestamp(),
            packet: at.packet,
            timed_out: false,
            bound: 0b110,
            record: record.into(),
            position: at,
        });
        true
    }

    /// Conditions on some of the two events of a one-packet rule that are between them.
    fn joined(&mut self, program: &Program, packet: &mut impl Shown, events: &[u8]) -> bool {
        let plain = |event: &program::Event| event.keys.is_empty() && event.residual.is_empty();
        if program.events.iter().all(plain) {
            return true;
        }
        self.record_both(program, packet);
        let record = self.record.as_slice();
        events.iter().all(|event| {
            let offset = program.event(*event).map_or(0, |event| event.offset);
            Joined {
                program,
                event: *event,
                seen: Seen {
                    record: record.get(offset..).unwrap_or(&[]),
                    protocols: packet.protocols(),
                },
                earlier: record,
                bound: 0b110,
            }
            .holds()
        })
    }

    fn record_both(&mut self, program: &Program, packet: &mut impl Shown) {
        for (number, event) in (1..).zip(&program.events) {
            if let Some(record) = self.record.get_mut(event.offset..) {
                packet.show(number, event, record);
            }
        }
    }

    /// One event of a rule over several packets.
    fn event(
        &mut self,
        (rule, at): (u32, Position),
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
            at,
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
        (rule, at): (u32, Position),
        program: &Program,
        message: &mut Message<'_, '_>,
        emit: &mut impl FnMut(Alert),
    ) -> bool {
        let relevant = program.attributes.iter().any(|slot| message.has(*slot));
        let now = (message.view.frame.timestamp, at);
        relevant
            && self
                .joins
                .time_out_lazily(program, rule, now, message, emit)
    }
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

impl Shown for Message<'_, '_> {
    fn allows(&mut self, _: u8, event: &program::Event) -> bool {
        Message::allows(self, event)
    }

    fn is_complete(&mut self, _: u8, event: &program::Event) -> bool {
        self.has_mandatory(event)
    }

    fn show(&mut self, _: u8, event: &program::Event, record: &mut [u8]) {
        Message::record(self, event, record);
    }

    fn timestamp(&self) -> Timestamp {
        self.view.frame.timestamp
    }
}

/// The time of all packets up to this one.
fn clock_of(view: &View<'_>) -> Timestamp {
    view.frame.clock.max(view.frame.timestamp)
}
