//! Matches on their way to the security workers.

use super::RuleSet;
use super::guards::Message;
use super::mask::Mask;
use super::placement::{Destination, Placement};
use super::program::{Event, Program, Slot};
use super::record::{Hash, Part};
use super::reload::Changes;
use super::remote::{Kind, Remote};
use super::steps::What;
use crate::ring::{self, Fill, Merge, Position, Sender, WhenFull};
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
    /// Of each sender: it has not been told yet that matches are of other rules.
    owed: Vec<bool>,
}

/// What lies between so many workers and security workers that run these rules, each ring with room
/// for so many batches: an outbox for each worker, and a merge for each security worker. `mask`
/// gives rules to security workers by hand.
pub fn between(
    rules: &RuleSet,
    (workers, security_workers): (usize, usize),
    mask: Option<&Mask>,
    (batches_max, when_full): (usize, WhenFull),
) -> (Vec<Outbox>, Vec<Merge<Remote>>) {
    let placement = Arc::new(Placement::spread(rules, security_workers, mask));
    let mut senders: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    let mut merges = Vec::new();
    for _ in 0..security_workers {
        let (ends, merge) = ring::rings(workers, batches_max);
        for (of_worker, end) in senders.iter_mut().zip(ends) {
            of_worker.push(end);
        }
        merges.push(merge);
    }
    let count = rules.programs.len();
    let outbox = |senders| Outbox::new(Arc::clone(&placement), senders, count, when_full);
    (senders.into_iter().map(outbox).collect(), merges)
}

impl Outbox {
    /// To these security workers.
    fn new(
        placement: Arc<Placement>,
        senders: Vec<Sender<Remote>>,
        rules: usize,
        when_full: WhenFull,
    ) -> Self {
        Self {
            placement,
            owed: vec![false; senders.len()],
            senders,
            when_full,
            counters: Counters {
                sent: vec![0; rules],
                dropped: vec![0; rules],
            },
        }
    }

    /// How full the rings to the security workers are, in their order.
    pub fn fills(&self) -> Vec<Arc<dyn Fill>> {
        self.senders.iter().map(Sender::fill).collect()
    }

    /// Where rules run.
    pub fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    /// Matches from here on are of these rules.
    pub fn change_rules(&mut self, placement: Arc<Placement>, rules: usize, changes: &Changes) {
        self.placement = placement;
        self.owed.fill(true);
        let old = std::mem::take(&mut self.counters);
        let moved = |counts: &[u64]| {
            let mut new = vec![0; rules];
            for (from, to) in changes.same_id() {
                let count = counts.get(super::at(from)).copied().unwrap_or(0);
                if let Some(place) = new.get_mut(super::at(to)) {
                    *place = count;
                }
            }
            new
        };
        self.counters.sent = moved(&old.sent);
        self.counters.dropped = moved(&old.dropped);
        (0..self.senders.len()).for_each(|number| _ = self.pay(number));
    }

    /// Tell a security worker of new rules, if there are any; false when there is no room.
    fn pay(&mut self, number: usize) -> bool {
        let (Some(owed), Some(sender)) = (self.owed.get_mut(number), self.senders.get_mut(number))
        else {
            return false;
        };
        if *owed && sender.make_room(0, self.when_full) {
            sender.push(Position::default(), Remote::of_next_rules(), |_| {});
            *owed = false;
        }
        !*owed
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
        for number in 0..self.senders.len() {
            self.pay(number);
            let Some(sender) = self.senders.get_mut(number) else {
                return;
            };
            sender.advance_to(to);
            if hurry {
                let _ = sender.flush();
            }
        }
    }

    /// Hand everything over, before nothing more comes. Live, a security worker that takes nothing
    /// is not waited for, and what is left is dropped.
    pub fn finish(&mut self) {
        for sender in &mut self.senders {
            if sender.finish(self.when_full) == 0 {
                continue;
            }
            for remote in sender.discard().filter(|remote| !remote.is_of_next_rules()) {
                add(&mut self.counters.dropped, super::at(remote.rule));
            }
        }
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
        let place = super::at(rule);
        let more = match what {
            What::Event(number) => self.placement.alike_behind(place, number),
            What::Rule | What::TimeOuts => Some(0),
        };
        // Sent with the one before it, if the packet is any of them.
        let Some(more) = more else { return };
        let Some((mut remote, length)) = remote_of((rule, program), what, message) else {
            return;
        };
        remote.more = more;
        let event = match remote.kind {
            Kind::Event(number) => number,
            Kind::Both | Kind::TimeOuts | Kind::Rules => 0,
        };
        let to = match self.placement.of(place, event) {
            Destination::Worker(worker) => worker,
            Destination::Key(parts) => self.placement.worker_of(key_of(parts, message, seed)),
        };
        add(&mut self.counters.sent, place);
        if !self.pay(to)
            || !ring::make_room(&mut self.senders, to, length, position, self.when_full)
        {
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
            note_others(&mut remote, program, program.asked, message);
        }
        What::Rule => {
            remote.kind = Kind::Both;
            note_others(&mut remote, program, u64::MAX, message);
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
            note_others(&mut remote, program, program.asked, message);
        }
    }
    let events = recorded(program, remote.recorded);
    let length = events.map(|(_, event)| event.layout.size).sum();
    Some((remote, length))
}

/// Note which of these events the packet may be.
fn note_others(remote: &mut Remote, program: &Program, events: u64, message: &mut Message<'_, '_>) {
    for (number, event) in recorded(program, events) {
        if message.may_be(event) {
            remote.recorded |= 1 << number;
            remote.allowed |= 1 << number;
        }
    }
}
