//! Security properties: rule files to verdicts.
//!
//! [`property`] is a rule as written, [`program`] the same compiled. For each packet, [`guards`]
//! find the events it may be, and [`joins`] continue the attempts that wait for them. The two meet
//! only in a match ([`joins::Match`]), so that they can run in different places.

pub mod guards;
pub mod joins;
pub mod listing;
pub mod load;
pub mod machine;
pub mod program;
pub mod property;
pub mod record;
pub mod store;
pub mod verdict;
pub mod wheel;

mod delay;
mod embedded;
mod tree;
mod xml;

use crate::dissect::attribute::{Value, View};
use crate::dissect::{Protocol, ProtocolSet};
use crate::expr::Mode;
use crate::packet::Timestamp;
use guards::{Extraction, Message};
use joins::{Alert, Joins, Limits, Match, SamePacket};
use program::{Attributes, Program};
use property::Property;
use store::Joined;

/// The loaded rules, compiled. Shared by whoever evaluates or prints.
#[derive(Debug)]
pub struct RuleSet {
    /// In load order.
    pub programs: Vec<Program>,
    /// Attributes that any of them uses.
    pub extraction: Extraction,
    /// How they were compiled.
    pub mode: Mode,
}

impl RuleSet {
    /// Compile properties in load order; those that cannot run come back with the reason.
    pub fn new(properties: Vec<Property>, mode: Mode) -> (Self, Vec<(u16, program::Error)>) {
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
    matches: u64,
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
            joins: Joins::new(&rules.programs, limits, seed),
            record: vec![0; record],
            matches: 0,
        }
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
        for (number, program) in rules.programs.iter().enumerate() {
            let rule = u32::try_from(number).unwrap_or(u32::MAX);
            if program.machine.single {
                self.single(rule, program, &mut message, about, emit);
            } else {
                self.several(rule, program, &mut message, about, emit);
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
        about: ProtocolSet,
        emit: &mut impl FnMut(Alert),
    ) {
        let [first, second] = program.events.as_slice() else {
            return;
        };
        let facts = message.view.facts;
        let possible = facts.protocols.contains_all(first.protocols)
            && facts.protocols.contains_all(second.protocols)
            && first.protocols.union(second.protocols).contains_all(about);
        // Which event is the context decides; an AND has two edges from the start and is not here.
        let Some(edge) = program
            .machine
            .edges
            .iter()
            .find(|edge| edge.from == machine::INIT)
        else {
            return;
        };
        let (context, trigger) = if edge.event == 1 {
            (first, second)
        } else {
            (second, first)
        };
        if !possible || !message.has_mandatory(trigger) || !message.allows(context) {
            return;
        }
        let state = program.machine.state(edge.to);
        let triggered = message.allows(trigger) && self.joined(program, message);
        let end = program
            .machine
            .edges
            .iter()
            .find(|e| e.from == edge.to)
            .map(|e| e.to);
        let end = if triggered {
            end.unwrap_or(machine::INCONCLUSIVE)
        } else {
            state.timeout
        };
        let Some(verdict) = verdict::of(program.property.kind, end) else {
            return;
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
    }

    /// Conditions between the two events of a one-packet rule.
    fn joined(&mut self, program: &Program, message: &mut Message<'_, '_>) -> bool {
        let plain = |event: &program::Event| event.keys.is_empty() && event.residual.is_empty();
        if program.events.iter().all(plain) {
            return true;
        }
        self.record_both(program, message);
        let record = self.record.as_slice();
        (1..=2).all(|event| {
            let offset = program.event(event).map_or(0, |event| event.offset);
            let current = record.get(offset..).unwrap_or(&[]);
            Joined {
                program,
                event,
                current,
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

    /// A rule over several packets.
    fn several(
        &mut self,
        rule: u32,
        program: &Program,
        message: &mut Message<'_, '_>,
        about: ProtocolSet,
        emit: &mut impl FnMut(Alert),
    ) {
        let compat = program.mode == Mode::Compat;
        let (timestamp, packet) = (message.view.frame.timestamp, message.view.facts.number);
        if compat && program.timeout_reports && !self.joins.is_idle(rule) {
            let relevant = program.attributes.iter().any(|slot| message.has(*slot));
            let now = (timestamp, packet);
            if relevant
                && self
                    .joins
                    .time_out_lazily(program, rule, now, message, emit)
            {
                return;
            }
        }
        for (number, event) in (1..).zip(&program.events) {
            let possible = message.view.facts.protocols.contains_all(event.protocols)
                && event.protocols.contains_all(about);
            if !possible || !self.joins.awaits(program, rule, number) || !message.allows(event) {
                continue;
            }
            self.matches += 1;
            message.record(event, &mut self.record);
            let record = self.record.as_slice();
            let found = Match {
                rule,
                event: number,
                timestamp,
                packet,
                record,
            };
            let reported = self.joins.matched(program, found, message, emit);
            if reported && compat {
                return;
            }
        }
    }
}

impl SamePacket for Message<'_, '_> {
    fn other(&mut self, program: &Program, event: u8) -> Option<Vec<u8>> {
        let event = program.event(event)?;
        if !self.allows(event) {
            return None;
        }
        let mut record = vec![0; event.layout.size];
        self.record(event, &mut record);
        Some(record)
    }
}
