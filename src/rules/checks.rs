//! The conditions of events on one packet alone, of which a packet is asked each once.
//!
//! Events that are alike ask the same of a packet: the second and the third of a scan, or a
//! fragment in each of ten rules. What more than one event asks has a number, under which the
//! answer is kept while the packet is looked at.

use super::guards::Mask;
use super::program::{Program, Slot};
use crate::expr::evaluate::Code;
use std::cmp::Reverse;
use std::collections::HashMap;

/// Conditions whose answers can be kept: a number is a byte.
const SHARED_MAX: usize = 256;

/// A condition of an event on one packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// Compiled.
    pub code: Code<Slot>,
    /// Its number, if other events ask the same.
    pub number: Option<u8>,
    is_stateful: bool,
}

impl Check {
    /// One that no other event is known to ask.
    pub fn new(code: Code<Slot>) -> Self {
        Self {
            is_stateful: code.is_stateful(),
            number: None,
            code,
        }
    }

    /// Does the answer depend on earlier calls?
    pub fn is_stateful(&self) -> bool {
        self.is_stateful
    }
}

/// What a packet has answered.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Answers {
    asked: Mask,
    held: Mask,
}

impl Answers {
    /// The answer to the condition of this number, if it was asked.
    #[inline]
    pub(super) fn get(&self, number: u8) -> Option<bool> {
        self.asked.has(number).then(|| self.held.has(number))
    }

    /// Keep the answer.
    #[inline]
    pub(super) fn keep(&mut self, number: u8, holds: bool) {
        self.asked.set(number);
        if holds {
            self.held.set(number);
        }
    }
}

/// Number the conditions of all events that more than one of them has; those first that most have.
#[expect(
    clippy::mutable_key_type,
    reason = "of what a condition remembers, only where it stands counts"
)]
pub(super) fn number(programs: &mut [Program]) {
    let mut uses: HashMap<&Code<Slot>, (usize, usize)> = HashMap::new();
    let events = programs.iter().flat_map(|program| &program.events);
    let checks = events.flat_map(|event| &event.guard);
    for (place, check) in checks.enumerate().filter(|(_, check)| !check.is_stateful()) {
        uses.entry(&check.code).or_insert((0, place)).0 += 1;
    }
    let mut shared: Vec<_> = uses.iter().filter(|(_, (count, _))| *count > 1).collect();
    shared.sort_by_key(|(_, (count, first))| (Reverse(*count), *first));
    shared.truncate(SHARED_MAX);
    let numbers: HashMap<&Code<Slot>, u8> = (0..=u8::MAX)
        .zip(shared)
        .map(|(number, (code, _))| (*code, number))
        .collect();
    let events = programs.iter().flat_map(|program| &program.events);
    let of_each: Vec<Option<u8>> = events
        .flat_map(|event| &event.guard)
        .map(|check| numbers.get(&check.code).copied())
        .collect();
    let events = programs.iter_mut().flat_map(|program| &mut program.events);
    for (check, number) in events.flat_map(|event| &mut event.guard).zip(of_each) {
        check.number = number;
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::Mode;
    use crate::expr::functions::lists::Lists;
    use crate::rules::{RuleSet, load};

    fn numbers(expressions: &[&str]) -> Vec<Option<u8>> {
        let then = "value=\"THEN\" delay_units=\"s\" delay_min=\"0+\" delay_max=\"1\"";
        let property = |(id, expression): (usize, &&str)| {
            format!(
                "<property property_id=\"{id}\" type_property=\"ATTACK\" {then}>\
                 <event event_id=\"1\" boolean_expression=\"({expression})\"/>\
                 <event event_id=\"2\" boolean_expression=\"(ip.src == ip.src.1)\"/></property>"
            )
        };
        let all: String = (1..).zip(expressions).map(property).collect();
        let file = format!("<beginning>{all}</beginning>");
        let read = load::read_bytes(
            "rule.xml",
            file.as_bytes(),
            Mode::Standard,
            &Lists::default(),
        );
        let (rules, failed) = RuleSet::new(read.properties, Mode::Standard);
        assert_eq!(failed, []);
        let firsts = rules.programs.iter().filter_map(|program| program.event(1));
        let checks = firsts.flat_map(|event| &event.guard);
        checks.map(|check| check.number).collect()
    }

    #[test]
    fn what_several_events_ask_has_a_number() {
        let two = "ip.proto_ttl &gt; 1) || (ip.version == 6";
        let once = "ip.proto_ttl &gt; 2) || (ip.version == 6";
        assert_eq!(numbers(&[two, once, two]), [Some(0), None, Some(0)]);
    }

    #[test]
    fn what_remembers_its_calls_is_asked_each_time() {
        let rate = "#em_5g_check_msg_throughput(meta.utime) == true";
        assert_eq!(numbers(&[rate, rate]), [None, None]);
    }
}
