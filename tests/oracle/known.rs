//! Where the engine is known to say something else than the oracle. Random rules leave out exactly
//! these; what is mended goes off the list, and random rules then try it.

use crate::rule::{Event, Operator, Part, Rule};
use crate::traffic::Owned;

/// A difference.
pub(crate) struct Difference {
    /// What ought to be, and what the engine does.
    pub(crate) what: &'static str,
    /// May the rule show it?
    pub(crate) concerns: fn(&Rule) -> bool,
    /// A rule that shows it. `{N}` stands for an event of this number, which a packet is that has
    /// bit N-1 of the TCP flags.
    rule: &'static str,
    /// Packets on which it shows: milliseconds, and the events that they are.
    packets: &'static [(u64, &'static [u8])],
    /// How many alerts there are, of the engine and of the oracle.
    pub(crate) alerts: (usize, usize),
}

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "A SECURITY rule is satisfied when its trigger came. The engine reports it all the \
               same when the trigger is an operator: the attempt from which the operator was \
               opened waits on.",
        concerns: |rule| {
            rule.kind == "SECURITY"
                && any_operator(rule, |operator, in_trigger| {
                    in_trigger && operator.value != "OR"
                })
        },
        rule: "type_property='SECURITY' value='THEN' delay_min='0+' delay_max='5'>{1}\
               <operator value='THEN' delay_min='0+' delay_max='5'>{2}{3}</operator>",
        packets: &[(0, &[1]), (1000, &[2]), (2000, &[3])],
        alerts: (1, 0),
    },
    Difference {
        what: "`a NOT b` does not hold when b came. In the engine it holds all the same when b is \
               an operator: the attempt from which b was opened waits on.",
        concerns: |rule| {
            any_operator(rule, |operator, _| {
                operator.value == "NOT" && is_compound(&operator.right)
            })
        },
        rule: "type_property='ATTACK' value='NOT' delay_min='0+' delay_max='5'>{1}\
               <operator value='THEN' delay_min='0+' delay_max='5'>{2}{3}</operator>",
        packets: &[(0, &[1]), (1000, &[2]), (2000, &[3])],
        alerts: (1, 0),
    },
    Difference {
        what: "a BEFORE b fails unless b preceded. In the trigger of another operator it fails in \
               the engine although b preceded, and THEN with a negative delay with it.",
        concerns: |rule| {
            any_operator(rule, |operator, in_trigger| {
                in_trigger && looks_back(operator)
            })
        },
        rule: "type_property='SECURITY' value='THEN' delay_min='0+' delay_max='5'>{1}\
               <operator value='BEFORE' delay_min='0+' delay_max='5'>{2}{3}</operator>",
        packets: &[(0, &[1]), (1000, &[3]), (2000, &[2])],
        alerts: (1, 0),
    },
    Difference {
        what: "The same where a is an operator: its first event already counts as not preceded.",
        concerns: |rule| {
            any_operator(rule, |operator, _| {
                looks_back(operator) && is_compound(&operator.left)
            })
        },
        rule: "type_property='SECURITY' value='BEFORE' delay_min='0+' delay_max='5'>\
               <operator value='THEN' delay_min='0+' delay_max='5'>{1}{2}</operator>{3}",
        packets: &[(0, &[3]), (1000, &[1]), (2000, &[2])],
        alerts: (1, 0),
    },
    Difference {
        what: "With all bounds 0 both parts must hold on the same packet. For BEFORE the engine \
               says both that they do and that they do not.",
        concerns: |rule| {
            any_operator(rule, |operator, _| {
                operator.value == "BEFORE" && is_immediate(operator)
            })
        },
        rule: "type_property='TEST' value='BEFORE'>{1}{2}",
        packets: &[(0, &[1, 2])],
        alerts: (2, 1),
    },
    Difference {
        what: "A rule that one packet decides says nothing of a packet that is not its first \
               event. The engine lets the trigger fail instead when the condition that does not \
               hold names the other event.",
        concerns: |rule| match &rule.root {
            Part::Event(event) => names_others(event),
            Part::Operator(operator) => match (&operator.left, &operator.right) {
                (Part::Event(context), Part::Event(_)) => {
                    is_immediate(operator) && names_others(context)
                }
                _ => false,
            },
        },
        rule: "type_property='SECURITY' value='THEN'>\
               <event boolean_expression='(tcp.dest_port == tcp.src_port.2)'/>\
               {2}",
        packets: &[(0, &[1, 2])],
        alerts: (1, 0),
    },
    Difference {
        what: "`#is_exist(protocol)` asks the packet. In the engine it is never true in a \
               condition that also compares with another event.",
        concerns: |rule| {
            let asks = |condition: &String| {
                let protocols = ["(tcp)", "(udp)", "(arp)"];
                condition.contains('{') && protocols.iter().any(|name| condition.contains(name))
            };
            events(rule).any(|event| event.conditions.iter().any(asks))
        },
        rule: "type_property='ATTACK' value='THEN' delay_min='0+' delay_max='5'>{1}\
               <event boolean_expression='(#is_exist(tcp) || (tcp.flags == tcp.src_port.1))'/>",
        packets: &[(0, &[1]), (1000, &[2])],
        alerts: (0, 1),
    },
    Difference {
        what: "An event needs the attributes that other events take from it. In the engine it \
               does not need them when it asks for them itself.",
        concerns: |rule| {
            events(rule).any(|event| {
                let taken = |name: &&str| {
                    let reference = format!("{name}.{{{}}}", event.name);
                    let takes = |condition: &String| condition.contains(&reference);
                    events(rule).any(|other| other.conditions.iter().any(takes))
                };
                asked(event).iter().any(taken)
            })
        },
        rule: "type_property='ATTACK' value='NOT' delay_min='0+' delay_max='5'>\
               <event boolean_expression='(#is_exist(udp.len) == false)'/>\
               <event boolean_expression='(meta.packet_len == udp.len.1)'/>",
        packets: &[(0, &[1])],
        alerts: (1, 0),
    },
];

/// Does the rule show none of them?
pub(crate) fn is_sound(rule: &Rule) -> bool {
    !DIFFERENCES
        .iter()
        .any(|difference| (difference.concerns)(rule))
}

impl Difference {
    /// The rule as XML.
    pub(crate) fn xml(&self) -> String {
        let flags = ["fin", "syn", "rst", "psh", "ack"];
        let mut xml = self.rule.to_owned();
        for (number, flag) in (1..).zip(flags) {
            let event = format!("event_id='{number}' boolean_expression='(tcp.{flag} == 1)'");
            xml = xml.replace(&format!("{{{number}}}"), &format!("<event {event}/>"));
        }
        format!("<property property_id='1' {xml}</property>")
    }

    pub(crate) fn packets(&self) -> Vec<Owned> {
        let flags = |events: &[u8]| {
            events
                .iter()
                .fold(0, |flags, event| flags | 1 << (event - 1))
        };
        let packet = |(ms, events): &(u64, &[u8])| Owned::tcp(1_000 * (60_000 + ms), flags(events));
        self.packets.iter().map(packet).collect()
    }
}

// Rules

/// Is there such an operator? It is asked with whether it lies in the trigger of another one.
fn any_operator(rule: &Rule, is_it: impl Fn(&Operator, bool) -> bool) -> bool {
    let mut open = vec![(&rule.root, false)];
    while let Some((part, in_trigger)) = open.pop() {
        let Part::Operator(operator) = part else {
            continue;
        };
        if is_it(operator, in_trigger) {
            return true;
        }
        let (left, right) = match operator.value {
            "AND" => (true, true),
            "OR" => (false, false),
            "BEFORE" => (true, false),
            _ => (looks_back(operator), true),
        };
        open.push((&operator.left, in_trigger || left));
        open.push((&operator.right, in_trigger || right));
    }
    false
}

fn events(rule: &Rule) -> impl Iterator<Item = &Event> {
    let mut open = vec![&rule.root];
    std::iter::from_fn(move || {
        loop {
            match open.pop()? {
                Part::Event(event) => return Some(event),
                Part::Operator(operator) => open.extend([&operator.left, &operator.right]),
            }
        }
    })
}

fn names_others(event: &Event) -> bool {
    event
        .conditions
        .iter()
        .any(|condition| condition.contains('{'))
}

/// The attributes that an event asks for.
fn asked(event: &Event) -> Vec<&str> {
    let calls = event
        .conditions
        .iter()
        .flat_map(|c| c.split("#is_").skip(1));
    let argument = |call: &'_ str| Some(call.find('(')? + 1..call.find(')')?);
    let arguments = calls.filter_map(|call| call.get(argument(call)?));
    arguments.filter(|name| name.contains('.')).collect()
}

/// May a trigger come before its context?
fn looks_back(operator: &Operator) -> bool {
    let delay_min = operator.bounds.delay_min.as_str();
    let is_negative = delay_min.starts_with('-') || delay_min == "0-";
    operator.value == "BEFORE" || (operator.value == "THEN" && is_negative)
}

/// Is it more than events of which one has to come?
fn is_compound(part: &Part) -> bool {
    match part {
        Part::Event(_) => false,
        Part::Operator(operator) if operator.value == "OR" => {
            is_compound(&operator.left) || is_compound(&operator.right)
        }
        Part::Operator(_) => true,
    }
}

fn is_immediate(operator: &Operator) -> bool {
    let bounds = &operator.bounds;
    let is_zero = |text: &str| match text {
        "" | "0" => true,
        "1-" | "-1+" => bounds.units == "mms",
        _ => false,
    };
    let counted = (bounds.counter_min, bounds.counter_max) != (0, 0);
    !counted && is_zero(&bounds.delay_min) && is_zero(&bounds.delay_max)
}
