//! Matches on their way to the security workers.

use super::guards::Message;
use super::placement::{Destination, Placement};
use super::program::{Event, Program, Slot};
use super::record::{Hash, Part};
use super::remote::{Kind, Remote};
use super::steps::What;
use crate::ring::{self, Position, Sender, WhenFull};
use std::sync::Arc;

/// Matches handed over by rule, in load order; all only grow.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Found for other places, dropped ones among them.
    pub sent: Vec<u64>,
    /// Not handed over, since the ring was full.
    pub dropped: Vec<u64>,
}

/// A worker's end of its rings, one for each security worker.
#[derive(Debug)]
pub struct Outbox {
    placement: Arc<Placement>,
    senders: Vec<Sender<Remote>>,
    when_full: WhenFull,
    counters: Counters,
}

impl Outbox {
    /// To these security workers.
    pub fn new(
        placement: Arc<Placement>,
        senders: Vec<Sender<Remote>>,
        rules: usize,
        when_full: WhenFull,
    ) -> Self {
        Self {
            placement,
            senders,
            when_full,
            counters: Counters {
                sent: vec![0; rules],
                dropped: vec![0; rules],
            },
        }
    }

    /// What was handed over.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Does a rule run elsewhere?
    #[inline]
    pub fn is_away(&self, rule: usize) -> bool {
        self.placement.is_away(rule)
    }

    /// No further match comes before this. With `hurry`, what is pending goes now, as far as there
    /// is room.
    pub fn advance(&mut self, to: Position, hurry: bool) {
        for sender in &mut self.senders {
            sender.advance_to(to);
            if hurry {
                let _ = sender.flush();
            }
        }
    }

    /// Hand everything over, before nothing more comes.
    pub fn finish(&mut self) {
        self.senders.iter_mut().for_each(Sender::finish);
    }

    /// Hand over what a packet shows of a rule, if that may lead to anything.
    pub(super) fn send(
        &mut self,
        position: Position,
        (rule, program): (u32, &Program),
        what: What,
        message: &mut Message<'_, '_>,
        seed: u64,
    ) {
        let Some((remote, length)) = remote_of((rule, program), what, message) else {
            return;
        };
        let place = super::at(rule);
        let event = match remote.kind {
            Kind::Event(number) => number,
            Kind::Both | Kind::TimeOuts => 0,
        };
        let to = match self.placement.of(place, event) {
            Destination::Worker(worker) => worker,
            Destination::Key(parts) => self.placement.worker_of(key_of(parts, message, seed)),
        };
        add(&mut self.counters.sent, place);
        if !ring::make_room(&mut self.senders, to, length, position, self.when_full) {
            add(&mut self.counters.dropped, place);
            return;
        }
        let Some(sender) = self.senders.get_mut(to) else {
            return;
        };
        sender.push(position, remote, |bytes| {
            for (_, event) in recorded(program, remote.recorded) {
                let start = bytes.len();
                bytes.resize(start + event.layout.size, 0);
                if let Some(record) = bytes.get_mut(start..) {
                    message.record(event, record);
                }
            }
        });
    }
}

fn add(counts: &mut [u64], rule: usize) {
    if let Some(count) = counts.get_mut(rule) {
        *count += 1;
    }
}

fn key_of(parts: &[(Slot, Part)], message: &mut Message<'_, '_>, seed: u64) -> u64 {
    let value = |hash: Hash, (slot, part): &(Slot, Part)| match message.value(*slot) {
        Some(value) => part.hash_value(hash, value),
        None => hash,
    };
    parts.iter().fold(Hash::new(seed), value).value
}

/// Events of a set with their numbers.
fn recorded(program: &Program, events: u64) -> impl Iterator<Item = (u8, &Event)> {
    (1..)
        .zip(&program.events)
        .filter(move |(number, _)| events & 1 << number != 0)
}

/// What a packet shows of a rule, and the bytes of its records. None when it shows nothing.
fn remote_of(
    (rule, program): (u32, &Program),
    what: What,
    message: &mut Message<'_, '_>,
) -> Option<(Remote, usize)> {
    let mut remote = Remote {
        rule,
        timestamp: message.view.frame.timestamp,
        protocols: message.view.facts.protocols,
        ..Remote::default()
    };
    match what {
        What::Event(number) => {
            if !message.may_be(program.event(number)?) {
                return None;
            }
            remote.kind = Kind::Event(number);
            remote.recorded = 1 << number;
            remote.allowed = 1 << number;
            if program.asks_others {
                note_others(&mut remote, program, message);
            }
        }
        What::Rule => {
            remote.kind = Kind::Both;
            note_others(&mut remote, program, message);
            for (number, event) in recorded(program, u64::MAX) {
                remote.recorded |= 1 << number;
                if message.has_mandatory(event) {
                    remote.complete |= 1 << number;
                }
            }
        }
        What::TimeOuts => {
            if !program.attributes.iter().any(|slot| message.has(*slot)) {
                return None;
            }
            remote.kind = Kind::TimeOuts;
            if program.asks_others {
                note_others(&mut remote, program, message);
            }
        }
    }
    let events = recorded(program, remote.recorded);
    let length = events.map(|(_, event)| event.layout.size).sum();
    Some((remote, length))
}

/// Note all events that the packet may be.
fn note_others(remote: &mut Remote, program: &Program, message: &mut Message<'_, '_>) {
    for (number, event) in recorded(program, u64::MAX) {
        if message.may_be(event) {
            remote.recorded |= 1 << number;
            remote.allowed |= 1 << number;
        }
    }
}
