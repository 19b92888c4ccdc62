//! What alerts must share to be limited together.

use crate::dissect::attribute::Type;
use crate::rules::joins::Alert;
use crate::rules::partition::Partition;
use crate::rules::program::{Event, Program};
use crate::rules::record::{FIELDS_MAX, Hash};
use crate::rules::verdict::Verdict;
use arrayvec::ArrayVec;

/// Alerts with one key share a limit. The hashes are 128 bits of the values, under a secret of the
/// run: who sends packets cannot choose values that fall together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    rule: u32,
    verdict: Verdict,
    values: [u64; 2],
}

impl Key {
    /// Of an alert of `program`.
    pub(super) fn of(program: &Program, alert: &Alert, seed: u64) -> Self {
        let fields = Fields::of(program, alert.bound);
        let parts = fields.positions.iter().filter_map(|position| {
            let event = fields.event?;
            event.layout.part(usize::from(*position), event.offset)
        });
        let hash = parts.fold(Hash::new(seed), |hash, part| {
            part.hash_held(hash, &alert.record)
        });
        Self {
            rule: program.property.id,
            verdict: alert.verdict,
            values: [hash.value, hash.check],
        }
    }

    /// Id of the rule.
    pub(super) fn rule(&self) -> u32 {
        self.rule
    }
}

/// Where the values of a key stand: fields of the first event that an alert has.
#[derive(Debug)]
pub struct Fields<'p> {
    /// The event; none when nothing was seen.
    pub event: Option<&'p Event>,
    /// Positions in its layout.
    pub positions: ArrayVec<u8, FIELDS_MAX>,
}

impl<'p> Fields<'p> {
    /// For alerts of `program` with these events bound (bit N for event N): what the rule's events
    /// have in common; where that is nothing, or all of a flow, the addresses.
    pub fn of(program: &'p Program, bound: u64) -> Self {
        let mut events = (1_u8..).zip(&program.events);
        let first = events.find(|(number, _)| bound & 1 << number != 0);
        let mut positions = ArrayVec::new();
        let Some((number, event)) = first else {
            return Self {
                event: None,
                positions,
            };
        };
        let key = match &program.partition {
            Partition::Key(key) => key.get(usize::from(number).saturating_sub(1)),
            Partition::Packet | Partition::Flow(_) | Partition::Rule => None,
        };
        match key {
            Some(slots) => positions.extend(slots.iter().filter_map(|slot| {
                let position = event.fields.iter().position(|field| field == slot);
                position.and_then(|position| u8::try_from(position).ok())
            })),
            None => positions.extend((0..).zip(&event.layout.fields).filter_map(|(at, field)| {
                let kind = field.attribute.kind();
                let is_address = matches!(kind, Type::IpAddr | Type::Ip6Addr | Type::MacAddr);
                is_address.then_some(at)
            })),
        }
        Self {
            event: Some(event),
            positions,
        }
    }
}
