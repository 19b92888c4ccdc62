//! Where each rule runs: on the worker that received the packet, or on which security worker.
//!
//! What one packet or one flow decides stays where the packet is, as both directions of a flow go
//! to one worker. Rules with a key are spread by its hash; others run whole on one security worker.
//! No placement changes an alert: it only decides who works.

use super::RuleSet;
use super::mask::Mask;
use super::partition::Partition;
use super::program::{Program, Slot};
use super::record::Part;
use crate::expr::Mode;

/// Where one rule runs.
#[derive(Debug)]
enum Place {
    /// Where the packet was received.
    Here,
    /// By hash of the key: for each event, where its values are.
    Key(Vec<Vec<(Slot, Part)>>),
    /// On the security worker of this number.
    At(usize),
}

/// Where the rules of a set run.
#[derive(Debug, Default)]
pub struct Placement {
    /// In load order; none where all rules run on the worker itself.
    places: Vec<Place>,
    security_workers: usize,
}

impl Placement {
    /// All rules on the one worker that there is.
    pub fn inline() -> Self {
        Self::default()
    }

    /// On several workers and so many security workers, at least 1. `mask` gives rules to them by
    /// hand.
    pub fn spread(rules: &RuleSet, security_workers: usize, mask: Option<&Mask>) -> Self {
        let count = security_workers.max(1);
        let mut whole = 0;
        let mut place = |program: &Program| {
            let wanted = mask.and_then(|mask| mask.thread_of(program.property.id));
            let wanted = wanted.map(|thread| Place::At(thread % count));
            match &program.partition {
                Partition::Packet => Place::Here,
                // In compat mode a packet brings a rule to one verdict, whatever the keys.
                Partition::Flow(_) if program.mode == Mode::Standard => Place::Here,
                Partition::Key(key) if program.mode == Mode::Standard => {
                    wanted.unwrap_or_else(|| Place::Key(parts_of(program, key)))
                }
                _ => wanted.unwrap_or_else(|| {
                    whole += 1;
                    Place::At((whole - 1) % count)
                }),
            }
        };
        Self {
            places: rules.programs.iter().map(&mut place).collect(),
            security_workers: count,
        }
    }

    /// Does the rule run elsewhere than where packets are received?
    #[inline]
    pub fn is_away(&self, rule: usize) -> bool {
        let place = self.places.get(rule);
        place.is_some_and(|place| !matches!(place, Place::Here))
    }

    /// The values by which an event of a rule is handed out, or the security worker that has the
    /// whole rule.
    pub(super) fn of(&self, rule: usize, event: u8) -> Destination<'_> {
        match self.places.get(rule) {
            Some(Place::At(worker)) => Destination::Worker(*worker),
            Some(Place::Key(keys)) => {
                let key = keys.get(usize::from(event).wrapping_sub(1));
                Destination::Key(key.map_or(&[], Vec::as_slice))
            }
            Some(Place::Here) | None => Destination::Worker(0),
        }
    }

    /// The security worker for a key.
    pub(super) fn worker_of(&self, hash: u64) -> usize {
        let count = u128::try_from(self.security_workers).unwrap_or(1);
        usize::try_from((u128::from(hash) * count) >> 64).unwrap_or(0)
    }
}

/// See [`Placement::of`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Destination<'a> {
    Worker(usize),
    Key(&'a [(Slot, Part)]),
}

/// Where the values of a key are, by event.
fn parts_of(program: &Program, key: &[Vec<Slot>]) -> Vec<Vec<(Slot, Part)>> {
    let events = program.events.iter().zip(key);
    let of_event = events.map(|(event, slots)| {
        let part = |slot: &Slot| {
            let field = event.fields.iter().position(|field| field == slot)?;
            Some((*slot, event.layout.part(field, 0)?))
        };
        slots.iter().filter_map(part).collect()
    });
    of_event.collect()
}
