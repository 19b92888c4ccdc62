//! A match on its way to a security worker: what one packet shows of a rule, without the packet.

use super::checks::Check;
use super::joins::SamePacket;
use super::program::{Event, Program, Slot};
use crate::dissect::{Protocol, ProtocolSet};
use crate::expr::evaluate::{Scalar, Source};
use crate::packet::Timestamp;
use std::ops::RangeInclusive;

/// What a packet is to a rule.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may be this event.
    Event(u8),
    /// It may be both events of a rule that one packet decides.
    #[default]
    Both,
    /// None of a packet: matches of this sender are of the next rule set from here on.
    Rules,
    /// It has an attribute of the rule: time-outs are noticed, as in the published engine.
    TimeOuts,
}

/// The fixed part of a match; the records of some events follow it, by number.
#[derive(Debug, Default, Clone, Copy)]
pub struct Remote {
    /// Place of the rule.
    pub(super) rule: u32,
    pub(super) kind: Kind,
    /// So many events right behind that one are alike: it may be each of them.
    pub(super) more: u8,
    /// Time of the packet.
    pub(super) timestamp: Timestamp,
    pub(super) protocols: ProtocolSet,
    /// Events whose records follow: bit N for event N.
    pub(super) recorded: u64,
    /// Events that the packet alone allows, but for conditions that remember their calls.
    pub(super) allowed: u64,
    /// Events whose mandatory attributes it has.
    pub(super) complete: u64,
}

impl Remote {
    /// Stands before the first match of the next rule set.
    pub fn of_next_rules() -> Self {
        Self {
            kind: Kind::Rules,
            ..Self::default()
        }
    }

    /// Is it that?
    pub fn is_of_next_rules(&self) -> bool {
        self.kind == Kind::Rules
    }

    /// Events that the packet may be if it may be `first`.
    pub(super) fn events(&self, first: u8) -> RangeInclusive<u8> {
        first..=first.saturating_add(self.more)
    }

    /// Place of the rule among the loaded ones.
    pub fn rule(&self) -> u32 {
        self.rule
    }

    /// The same match for a rule set in which the rule has another place.
    #[must_use]
    pub fn moved(self, rule: u32) -> Self {
        Self { rule, ..self }
    }
}

/// A packet as a rule sees it, here or elsewhere.
pub(super) trait Shown: SamePacket {
    /// Does the packet alone allow that it is this event?
    fn allows(&mut self, number: u8, event: &Event) -> bool;

    /// Has it all attributes without which the event cannot hold?
    fn is_complete(&mut self, number: u8, event: &Event) -> bool;

    /// Copy what the event records of it.
    fn show(&mut self, number: u8, event: &Event, record: &mut [u8]);

    /// Its time.
    fn timestamp(&self) -> Timestamp;
}

/// A match that has arrived.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    pub(super) remote: &'a Remote,
    pub(super) program: &'a Program,
    pub(super) bytes: &'a [u8],
}

impl<'a> Arrived<'a> {
    /// The record of an event.
    pub(super) fn record(&self, number: u8) -> Option<&'a [u8]> {
        let number = match self.remote.kind {
            Kind::Event(first) if self.remote.events(first).contains(&number) => first,
            _ => number,
        };
        if self.remote.recorded & 1 << number == 0 {
            return None;
        }
        let before = (1..number).filter(|other| self.remote.recorded & 1 << other != 0);
        let sizes = before.filter_map(|other| self.program.event(other));
        let start: usize = sizes.map(|event| event.layout.size).sum();
        let size = self.program.event(number)?.layout.size;
        self.bytes.get(start..start.checked_add(size)?)
    }

    /// Do the conditions hold that remember their calls, and those behind them?
    pub(super) fn remembers(&self, number: u8, event: &Event) -> bool {
        let Some(first) = event.guard.iter().position(Check::is_stateful) else {
            return true;
        };
        let fields = Fields {
            event,
            record: self.record(number).unwrap_or(&[]),
            protocols: self.remote.protocols,
        };
        let mut late = event.guard.iter().skip(first);
        late.all(|check| check.code.holds(&fields))
    }
}

impl SamePacket for Arrived<'_> {
    fn other(&mut self, program: &Program, event: u8, record: &mut Vec<u8>) -> bool {
        let Some(compiled) = program.event(event) else {
            return false;
        };
        if !self.allows(event, compiled) {
            return false;
        }
        record.clear();
        record.extend_from_slice(self.record(event).unwrap_or(&[]));
        true
    }

    fn protocols(&self) -> ProtocolSet {
        self.remote.protocols
    }
}

impl Shown for Arrived<'_> {
    fn allows(&mut self, number: u8, event: &Event) -> bool {
        self.remote.allowed & 1 << number != 0 && self.remembers(number, event)
    }

    fn is_complete(&mut self, number: u8, _: &Event) -> bool {
        self.remote.complete & 1 << number != 0
    }

    fn show(&mut self, number: u8, event: &Event, record: &mut [u8]) {
        let shown = self.record(number).unwrap_or(&[]);
        if let (Some(place), Some(shown)) = (
            record.get_mut(..event.layout.size),
            shown.get(..event.layout.size),
        ) {
            place.copy_from_slice(shown);
        }
    }

    fn timestamp(&self) -> Timestamp {
        self.remote.timestamp
    }
}

/// The values of a record by slot, as conditions of a guard read them.
struct Fields<'a> {
    event: &'a Event,
    record: &'a [u8],
    protocols: ProtocolSet,
}

impl Source<Slot> for Fields<'_> {
    fn read(&self, slot: Slot) -> Scalar<'_> {
        let field = self.event.fields.iter().position(|field| *field == slot);
        field.map_or(Scalar::Absent, |field| {
            self.event.layout.read(self.record, field)
        })
    }

    fn has_protocol(&self, protocol: Protocol) -> bool {
        self.protocols.contains(protocol)
    }
}
