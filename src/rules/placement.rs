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
    /// By rule and event: how many events right behind it are alike, so that they are handed over
    /// as one match; `None` for those.
    alike: Vec<Vec<Option<u8>>>,
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
        let places: Vec<Place> = rules.programs.iter().map(&mut place).collect();
        let alike = rules.programs.iter().zip(&places);
        Self {
            alike: alike.map(|(program, place)| runs(program, place)).collect(),
            places,
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

    /// How many events right behind this one are handed over with it; `None` if it is handed over
    /// with one before it.
    pub(super) fn alike_behind(&self, rule: usize, event: u8) -> Option<u8> {
        let of_rule = self.alike.get(rule);
        let alike = of_rule.and_then(|all| all.get(usize::from(event).checked_sub(1)?));
        alike.copied().unwrap_or(Some(0))
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

/// Runs of events that a packet is all of or none, that show the same of it, and that go to the
/// same place: at the first of each the number of the others, at those nothing.
fn runs(program: &Program, place: &Place) -> Vec<Option<u8>> {
    let mut runs: Vec<Option<u8>> = vec![Some(0); program.events.len()];
    // An operator of one packet asks for other events with the one it is.
    if program.mode == Mode::Compat || program.asked != 0 {
        return runs;
    }
    let mut first = 0;
    for (number, pair) in (1..).zip(program.events.windows(2)) {
        let goes_on = match (pair, place) {
            ([one, next], Place::Key(keys)) => {
                one.is_alike(next) && keys.get(number - 1) == keys.get(number)
            }
            ([one, next], _) => one.is_alike(next),
            _ => false,
        };
        if !goes_on {
            first = number;
            continue;
        }
        if let Some(others) = runs.get_mut(first) {
            *others = others.map(|others| others + 1);
        }
        if let Some(this) = runs.get_mut(number) {
            *this = None;
        }
    }
    runs
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

#[cfg(test)]
mod tests {
    use super::Placement;
    use crate::expr::Mode;
    use crate::expr::functions::lists::Lists;
    use crate::rules::{RuleSet, load};

    /// A rule of SYN to one host, each under another condition besides.
    fn runs_of(conditions: [&str; 4]) -> Vec<Option<u8>> {
        let event = |(number, condition): (usize, &&str)| {
            let same = match number {
                1 => "#is_exist(ip.dst) == true".to_owned(),
                _ => "ip.dst == ip.dst.1".to_owned(),
            };
            format!(
                "<event event_id=\"{number}\" boolean_expression=\"((tcp.flags == 2) &amp;&amp; \
                 ({same}){condition})\"/>"
            )
        };
        let [one, two, three, four] = [0, 1, 2, 3].map(|at| event((at + 1, &conditions[at])));
        let then = "value=\"THEN\" delay_units=\"s\" delay_min=\"0+\" delay_max=\"1\"";
        let rule = format!(
            "<beginning><property property_id=\"1\" type_property=\"ATTACK\" {then}>\
             <operator {then}><operator {then}>{one}{two}</operator>{three}</operator>{four}\
             </property></beginning>"
        );
        let read = load::read_bytes(
            "rule.xml",
            rule.as_bytes(),
            Mode::Standard,
            &Lists::default(),
        );
        let (rules, failed) = RuleSet::new(read.properties, Mode::Standard);
        assert_eq!(failed, []);
        let placement = Placement::spread(&rules, 2, None);
        (1..=4)
            .map(|event| placement.alike_behind(0, event))
            .collect()
    }

    #[test]
    fn events_that_are_alike_go_together() {
        let none = ["", "", "", ""];
        assert_eq!(runs_of(none), [Some(0), Some(2), None, None]);
        let other_test = ["", "", " &amp;&amp; (tcp.dest_port != 0)", ""];
        assert_eq!(runs_of(other_test), [Some(0); 4]);
        let at_end = ["", " &amp;&amp; (ip.proto_ttl &gt; ip.version)", "", ""];
        assert_eq!(runs_of(at_end), [Some(0), Some(0), Some(1), None]);
        let other_value = ["", "", "", " &amp;&amp; (ip.proto_ttl != ip.proto_ttl.1)"];
        assert_eq!(runs_of(other_value), [Some(0), Some(1), None, Some(0)]);
    }
}
