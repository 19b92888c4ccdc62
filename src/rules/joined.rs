//! The conditions between events, asked of a packet and an instance side by side.

use super::program::{Key, Place, Program};
use crate::dissect::{Protocol, ProtocolSet};
use crate::expr::Mode;
use crate::expr::evaluate::{Scalar, Source};

/// What the current packet shows as an event.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What was recorded of it.
    pub record: &'a [u8],
    /// Its protocols.
    pub protocols: ProtocolSet,
}

/// The current packet and an instance side by side, for the conditions that need both.
#[derive(Debug, Clone, Copy)]
pub struct Joined<'a> {
    /// The rule.
    pub program: &'a Program,
    /// Event that the current packet may be.
    pub event: u8,
    /// What it shows.
    pub seen: Seen<'a>,
    /// Records of the events bound so far.
    pub earlier: &'a [u8],
    /// Which those are: bit N for event N.
    pub bound: u64,
}

impl Joined<'_> {
    /// Do the keys and all other conditions between the events hold?
    pub fn holds(&self) -> bool {
        let Some(event) = self.program.event(self.event) else {
            return false;
        };
        let keys = event.keys.iter().all(|key| self.is_shared(key));
        keys && event.residual.iter().all(|condition| {
            if condition.needs & !self.bound != 0 {
                return true;
            }
            let pair = condition.pair.as_ref();
            pair.and_then(|pair| pair.holds(self.seen.record, self.earlier, self.bound))
                .unwrap_or_else(|| condition.code.holds(self))
        })
    }

    fn is_shared(&self, key: &Key) -> bool {
        let earlier = &key.earlier;
        let is_bound = self.bound & 1 << earlier.place.event != 0;
        if key.is_either && !is_bound {
            return true;
        }
        let equals = || {
            key.part
                .equals(self.seen.record, &earlier.part, self.earlier)
        };
        let equal = if is_bound { equals() } else { None };
        equal.unwrap_or_else(|| self.equal(key.field, earlier.place))
    }

    fn equal(&self, field: u8, place: Place) -> bool {
        let here = self.read(Place { event: 0, field });
        match (here, self.read(place)) {
            (Scalar::Number(a), Scalar::Number(b)) => a == b,
            (Scalar::Text(a), Scalar::Text(b)) => a.same(&b),
            // What was never bound reads as 0.
            (Scalar::Number(a), Scalar::Absent) => a == 0,
            _ => false,
        }
    }
}

impl Source<Place> for Joined<'_> {
    fn read(&self, place: Place) -> Scalar<'_> {
        let field = usize::from(place.field);
        if place.event == 0 || (place.event == self.event && self.bound & 1 << place.event == 0) {
            let event = self.program.event(self.event);
            return event.map_or(Scalar::Absent, |event| {
                event.layout.read(self.seen.record, field)
            });
        }
        if self.bound & 1 << place.event == 0 {
            return Scalar::Absent;
        }
        let Some(event) = self.program.event(place.event) else {
            return Scalar::Absent;
        };
        match self.earlier.get(event.offset..) {
            Some(record) => event.layout.read(record, field),
            None => Scalar::Absent,
        }
    }

    fn has_protocol(&self, protocol: Protocol) -> bool {
        self.program.mode == Mode::Standard && self.seen.protocols.contains(protocol)
    }
}
