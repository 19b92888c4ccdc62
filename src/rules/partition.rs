//! The partition key of a rule: what all events of one instance must share, which decides where the
//! rule can run.
//!
//! Equalities between events make classes of values: `ip.src == ip.dst.1` puts the source of this
//! event and the destination of event 1 into one, and chains of equalities join classes. A class
//! with a value of every event is part of the key: matches that can meet in one instance agree in
//! it, so matches may be handed out by its hash.

use super::machine::{Edge, INIT, Machine};
use super::program::{Attributes, Event, Program, Slot};
use crate::dissect::Protocol;

/// Where a rule can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partition {
    /// One packet decides: where the packet was received.
    Packet,
    /// The key holds the five-tuple of a flow, in either direction: where its packets are received,
    /// since both directions go to one core.
    Flow(Vec<Vec<Slot>>),
    /// By hash of the key: for each event, its attributes in the order of the classes.
    Key(Vec<Vec<Slot>>),
    /// Nothing is common to all events, or a condition remembers its calls: all in one place.
    Rule,
}

/// A value of an event: the event's number and the attribute.
type Term = (u8, Slot);

impl Partition {
    /// Of a compiled rule.
    pub fn of(program: &Program, attributes: &Attributes) -> Self {
        if program.events.iter().any(Event::is_stateful) {
            return Self::Rule;
        }
        if program.single.is_some() {
            return Self::Packet;
        }
        let classes = classes_of(&program.events, &program.machine, attributes);
        let count = u8::try_from(program.events.len()).unwrap_or(u8::MAX);
        let slot_of = |class: &Vec<Term>, event: u8| {
            let own = class.iter().find(|(number, _)| *number == event);
            own.map(|(_, slot)| *slot)
        };
        let is_shared = |class: &&Vec<Term>| {
            let terms = (1..=count).map(|event| Some((event, slot_of(class, event)?)));
            let terms: Option<Vec<Term>> = terms.collect();
            terms.is_some_and(|terms| is_compared(&terms, &program.events, &program.machine))
        };
        let shared: Vec<&Vec<Term>> = classes.iter().filter(is_shared).collect();
        let key: Vec<Vec<Slot>> = (1..=count)
            .map(|event| shared.iter().filter_map(|c| slot_of(c, event)).collect())
            .collect();
        match shared.is_empty() {
            true => Self::Rule,
            false if is_flow(&key, attributes) => Self::Flow(key),
            false => Self::Key(key),
        }
    }
}

/// Classes of equal values, in the order of their first value. Values are in the order of event and
/// attribute: slots depend on the other rules that are loaded.
fn classes_of(events: &[Event], machine: &Machine, attributes: &Attributes) -> Vec<Vec<Term>> {
    let bound = surely_bound(machine);
    let mut classes: Vec<Vec<Term>> = Vec::new();
    for (number, event) in (1_u8..).zip(events) {
        for key in &event.keys {
            let place = key.earlier.place;
            // What is not bound is compared with nothing.
            let takes = |edge: &&Edge| edge.event == number;
            let is_bound = |edge: &Edge| {
                if key.is_either && edge.from == INIT {
                    // The one that comes later is compared.
                    return true;
                }
                let events = bound.get(usize::from(edge.from)).copied().unwrap_or(0);
                events & 1 << place.event != 0
            };
            let slot = events
                .get(usize::from(place.event).wrapping_sub(1))
                .and_then(|earlier| earlier.fields.get(usize::from(place.field)));
            if let Some(slot) = slot
                && machine.edges.iter().filter(takes).all(is_bound)
            {
                join(&mut classes, (place.event, *slot), (number, key.slot));
            }
        }
    }
    let attribute = |slot: Slot| {
        attributes
            .ids
            .get(usize::from(slot))
            .map(|id| id.sort_key())
    };
    let order = |(event, slot): &Term| (*event, attribute(*slot));
    classes
        .iter_mut()
        .for_each(|class| class.sort_by_key(order));
    classes.sort_by_key(|class| class.first().map(order));
    classes
}

/// Put two values into one class.
fn join(classes: &mut Vec<Vec<Term>>, one: Term, other: Term) {
    let mut merged = vec![one, other];
    classes.retain(|class| {
        let is_met = class.contains(&one) || class.contains(&other);
        if is_met {
            merged.extend(class);
        }
        !is_met
    });
    merged.sort_unstable();
    merged.dedup();
    classes.push(merged);
}

/// Is the value of each event, wherever an attempt waits for it, compared with that of an event
/// that the attempt has seen?
///
/// Two events that are both compared with a third one, which comes last, may be brought together
/// with different values. Nothing comes of that attempt, but it has taken an event that another one
/// would have taken: those that take events from each other must be in one place.
fn is_compared(terms: &[Term], events: &[Event], machine: &Machine) -> bool {
    let bound = surely_bound(machine);
    let slot_in = |event: &Event, field: u8| event.fields.get(usize::from(field)).copied();
    let term_of = |event: u8| terms.iter().find(|(number, _)| *number == event);
    let mut edges = machine.edges.iter().filter(|edge| edge.from != INIT);
    edges.all(|edge| {
        let seen = bound.get(usize::from(edge.from)).copied().unwrap_or(0);
        let place = usize::from(edge.event).wrapping_sub(1);
        let keys = events.get(place).map_or(&[][..], |event| &event.keys);
        keys.iter().any(|key| {
            let earlier = key.earlier.place;
            let other = events.get(usize::from(earlier.event).wrapping_sub(1));
            let other = other.and_then(|other| slot_in(other, earlier.field));
            seen & 1 << earlier.event != 0
                && term_of(edge.event) == Some(&(edge.event, key.slot))
                && other.is_some_and(|slot| term_of(earlier.event) == Some(&(earlier.event, slot)))
        })
    })
}

/// For each state, the events that every way to it has bound: bit N for event N.
pub(super) fn surely_bound(machine: &Machine) -> Vec<u64> {
    let mut bound = vec![u64::MAX; machine.states.len()];
    if let Some(start) = bound.get_mut(usize::from(INIT)) {
        *start = 0;
    }
    let timeouts = (0_u8..).zip(&machine.states).skip(4);
    let timeouts: Vec<(u8, u8, u64)> = timeouts.map(|(state, of)| (state, of.timeout, 0)).collect();
    let edges = machine.edges.iter().map(|e| (e.from, e.to, 1 << e.event));
    let ways: Vec<(u8, u8, u64)> = edges.chain(timeouts).collect();
    // A way more can only take events away, so this ends.
    loop {
        let mut changed = false;
        for (from, to, event) in &ways {
            let before = bound.get(usize::from(*from)).copied().unwrap_or(0);
            if let Some(events) = bound.get_mut(usize::from(*to)) {
                let left = *events & (before | event);
                changed |= left != *events;
                *events = left;
            }
        }
        if !changed {
            return bound;
        }
    }
}

/// Does the key of every event hold both addresses and both ports, those of one end in one place?
/// Values that are equal in another order, or of another protocol, are those of two flows.
fn is_flow(key: &[Vec<Slot>], attributes: &Attributes) -> bool {
    let [ip, transport] = [
        [Protocol::Ipv4, Protocol::Ipv6].as_slice(),
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].as_slice(),
    ];
    let pairs = ip
        .iter()
        .flat_map(|ip| transport.iter().map(move |t| (*ip, *t)));
    pairs.into_iter().any(|(ip, transport)| {
        let ends = [
            [(ip, "src"), (transport, "src_port")],
            [(ip, "dst"), (transport, "dest_port")],
        ];
        let [one, other] = ends;
        let first = key
            .first()
            .and_then(|slots| places(slots, ends, attributes));
        let is_first = |found: Option<Vec<usize>>| found.is_some() && found == first;
        key.iter().all(|slots| {
            is_first(places(slots, [one, other], attributes))
                || is_first(places(slots, [other, one], attributes))
        })
    })
}

/// An attribute by its names.
type Named = (Protocol, &'static str);

/// The places of addresses and ports in the key of an event.
fn places(slots: &[Slot], ends: [[Named; 2]; 2], attributes: &Attributes) -> Option<Vec<usize>> {
    let name = |slot: &Slot| -> Option<Named> {
        let id = attributes.ids.get(usize::from(*slot))?;
        Some((id.protocol, id.attribute()?.name))
    };
    let place = |wanted| slots.iter().position(|slot| name(slot) == Some(wanted));
    ends.into_iter().flatten().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::super::RuleSet;
    use super::super::load::Loader;
    use super::Partition;
    use crate::expr::Mode;

    /// The place, and the attributes by event.
    fn partition(tree: &str) -> (String, Vec<Vec<String>>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rule.xml");
        let text = tree.replace("&&", "&amp;&amp;");
        std::fs::write(&file, format!("<beginning>{text}</beginning>")).unwrap();
        let read = Loader::new(Mode::Standard, &[]).read(&[file.display().to_string()]);
        let (rules, failed) = RuleSet::new(read.properties, Mode::Standard);
        assert!(failed.is_empty() && rules.programs.len() == 1, "{tree}");
        let partition = &rules.programs[0].partition;
        let name = format!("{partition:?}");
        let name = name.split('(').next().unwrap().to_owned();
        match partition {
            Partition::Flow(key) | Partition::Key(key) => {
                let shown = |slot: &u8| rules.extraction.attribute(*slot).unwrap().to_string();
                let shown = key.iter().map(|slots| slots.iter().map(shown).collect());
                (name, shown.collect())
            }
            Partition::Packet | Partition::Rule => (name, Vec::new()),
        }
    }

    fn two(first: &str, second: &str) -> String {
        format!(
            r#"<property value="THEN" delay_units="s" delay_min="0+" delay_max="5" property_id="1"
             type_property="ATTACK" description="x">
             <event event_id="1" description="a" boolean_expression="{first}"/>
             <event event_id="2" description="b" boolean_expression="{second}"/></property>"#
        )
    }

    #[test]
    fn a_host_pair_is_a_key_in_either_direction() {
        let (place, key) = partition(&two(
            "(tcp.flags == 2)",
            "((tcp.flags == 18) && ((ip.src == ip.dst.1) && (ip.dst == ip.src.1)))",
        ));
        assert_eq!(place, "Key");
        assert_eq!(key, [["ip.src", "ip.dst"], ["ip.dst", "ip.src"]]);
    }

    #[test]
    fn both_addresses_and_ports_are_a_flow() {
        let ports = "(tcp.src_port == tcp.dest_port.1) && (tcp.dest_port == tcp.src_port.1)";
        let (place, _) = partition(&two(
            "(tcp.flags == 2)",
            &format!("((ip.src == ip.dst.1) && (ip.dst == ip.src.1) && {ports})"),
        ));
        assert_eq!(place, "Flow");
    }

    #[test]
    fn chains_of_equalities_reach_every_event_or_there_is_no_key() {
        let three = |last: &str| {
            format!(
                r#"<property value="THEN" delay_units="s" delay_min="0+" delay_max="5"
                 property_id="1" type_property="ATTACK" description="x">
                 <operator value="THEN" delay_units="s" delay_min="0+" delay_max="5">
                 <event event_id="1" description="a" boolean_expression="(arp.ar_op == 1)"/>
                 <event event_id="2" description="b"
                  boolean_expression="((arp.ar_op == 2) && (arp.ar_sip == arp.ar_tip.1))"/>
                 </operator>
                 <event event_id="3" description="c" boolean_expression="{last}"/></property>"#
            )
        };
        let (place, key) = partition(&three("(arp.ar_tip == arp.ar_sip.2)"));
        assert_eq!(place, "Key");
        assert_eq!(key, [["arp.ar_tip"], ["arp.ar_sip"], ["arp.ar_tip"]]);
        let (place, _) = partition(&three("(arp.ar_op == 2)"));
        assert_eq!(place, "Rule");
        // Different values of the two pairs of events are nothing common.
        let (place, _) = partition(&three("(arp.ar_sha == arp.ar_sha.2)"));
        assert_eq!(place, "Rule");
    }

    /// The five-tuple has to be the same one, or turned round as a whole.
    #[test]
    fn a_five_tuple_is_that_of_one_flow() {
        let first = "((ip.src != ip.dst) && (tcp.src_port != 0))";
        let place = |ends: [&str; 4]| {
            let [src, dst, src_port, dest_port] = ends;
            let second = format!(
                "((ip.src == ip.{src}.1) && (ip.dst == ip.{dst}.1) && \
                 (tcp.src_port == tcp.{src_port}.1) && (tcp.dest_port == tcp.{dest_port}.1))"
            );
            partition(&two(first, &second)).0
        };
        assert_eq!(place(["src", "dst", "src_port", "dest_port"]), "Flow");
        assert_eq!(place(["dst", "src", "dest_port", "src_port"]), "Flow");
        assert_eq!(place(["dst", "src", "src_port", "dest_port"]), "Key");
    }

    /// Events 2 and 3 meet before event 1 comes that both are compared with.
    #[test]
    fn what_is_compared_later_is_no_key() {
        let late = r#"<property value="THEN" delay_units="s" delay_min="-60" delay_max="0"
            property_id="1" type_property="ATTACK" description="x">
            <event event_id="1" description="a" boolean_expression="(tcp.syn == 1)"/>
            <operator value="AND" delay_units="s" delay_min="0" delay_max="5">
            <event event_id="2" description="b" boolean_expression="(ip.src == ip.src.1)"/>
            <event event_id="3" description="c" boolean_expression="(ip.src == ip.src.1)"/>
            </operator></property>"#;
        assert_eq!(partition(late).0, "Rule");
        let compared = late.replace(
            r#""c" boolean_expression="(ip.src == ip.src.1)""#,
            r#""c" boolean_expression="((ip.src == ip.src.1) && (ip.src == ip.src.2))""#,
        );
        assert_eq!(partition(&compared).0, "Key");
    }

    #[test]
    fn what_may_not_be_bound_is_no_key() {
        let either = r#"<property value="THEN" delay_units="s" delay_min="0+" delay_max="5"
            property_id="1" type_property="ATTACK" description="x">
            <operator value="OR" delay_units="s" delay_min="0" delay_max="5">
            <event event_id="1" description="a" boolean_expression="(tcp.flags == 2)"/>
            <event event_id="2" description="b" boolean_expression="(tcp.flags == 4)"/>
            </operator>
            <event event_id="3" description="c"
             boolean_expression="((ip.src == ip.src.1) && (ip.src == ip.src.2))"/></property>"#;
        assert_eq!(partition(either).0, "Rule");
    }
}
