//! Corners of the language that random rules meet seldom, or where an evaluator goes wrong easily.

use crate::traffic::Owned;

/// A rule and packets, and how many alerts there must be.
pub(crate) struct Corner {
    /// What ought to be.
    pub(crate) what: &'static str,
    /// `{N}` stands for an event of this number, which a packet is that has bit N-1 of the TCP
    /// flags.
    rule: &'static str,
    /// Milliseconds, and the events that the packet is.
    packets: &'static [(u64, &'static [u8])],
    pub(crate) alerts: usize,
}

/// All of them.
pub(crate) const CORNERS: &[Corner] = &[
    Corner {
        what: "A SECURITY rule is satisfied when its trigger came, also where the trigger is \
               an operator.",
        rule: "type_property='SECURITY' value='THEN' delay_min='0+' delay_max='5'>{1}\
               <operator value='THEN' delay_min='0+' delay_max='5'>{2}{3}</operator>",
        packets: &[(0, &[1]), (1000, &[2]), (2000, &[3])],
        alerts: 0,
    },
    Corner {
        what: "`a NOT b` does not hold when b came, also where b is an operator.",
        rule: "type_property='ATTACK' value='NOT' delay_min='0+' delay_max='5'>{1}\
               <operator value='THEN' delay_min='0+' delay_max='5'>{2}{3}</operator>",
        packets: &[(0, &[1]), (1000, &[2]), (2000, &[3])],
        alerts: 0,
    },
    Corner {
        what: "a BEFORE b holds when b preceded, also in the trigger of another operator.",
        rule: "type_property='SECURITY' value='THEN' delay_min='0+' delay_max='5'>{1}\
               <operator value='BEFORE' delay_min='0+' delay_max='5'>{2}{3}</operator>",
        packets: &[(0, &[1]), (1000, &[3]), (2000, &[2])],
        alerts: 0,
    },
    Corner {
        what: "The same where a is an operator.",
        rule: "type_property='SECURITY' value='BEFORE' delay_min='0+' delay_max='5'>\
               <operator value='THEN' delay_min='0+' delay_max='5'>{1}{2}</operator>{3}",
        packets: &[(0, &[3]), (1000, &[1]), (2000, &[2])],
        alerts: 0,
    },
    Corner {
        what: "With all bounds 0 both parts must hold on the same packet, and this is one \
               verdict.",
        rule: "type_property='TEST' value='BEFORE'>{1}{2}",
        packets: &[(0, &[1, 2])],
        alerts: 1,
    },
    Corner {
        what: "A rule that one packet decides says nothing of a packet that is not its first \
               event, whatever the condition that does not hold names.",
        rule: "type_property='SECURITY' value='THEN'>\
               <event boolean_expression='(tcp.dest_port == tcp.src_port.2)'/>\
               {2}",
        packets: &[(0, &[1, 2])],
        alerts: 0,
    },
    Corner {
        what: "`#is_exist(protocol)` asks the packet, also in a condition that compares with \
               another event.",
        rule: "type_property='ATTACK' value='THEN' delay_min='0+' delay_max='5'>{1}\
               <event boolean_expression='(#is_exist(tcp) || (tcp.flags == tcp.src_port.1))'/>",
        packets: &[(0, &[1]), (1000, &[2])],
        alerts: 1,
    },
    Corner {
        what: "An event needs the attributes that other events take from it, also where it \
               asks for them itself.",
        rule: "type_property='ATTACK' value='NOT' delay_min='0+' delay_max='5'>\
               <event boolean_expression='(#is_exist(udp.len) == false)'/>\
               <event boolean_expression='(meta.packet_len == udp.len.1)'/>",
        packets: &[(0, &[1])],
        alerts: 0,
    },
    Corner {
        what: "What is compared in BEFORE is compared when the later one comes: the second packet \
               is preceded by one of the same number, the third is not.",
        rule: "type_property='SECURITY' value='BEFORE' delay_min='0+' delay_max='5'>{1}\
               <event event_id='2' \
               boolean_expression='((tcp.rst == 1) &amp;&amp; (tcp.psh == tcp.psh.1))'/>",
        packets: &[(0, &[3]), (1000, &[1]), (2000, &[1, 4])],
        alerts: 1,
    },
    Corner {
        what: "The same where the first event names the other.",
        rule: "type_property='SECURITY' value='BEFORE' delay_min='0+' delay_max='5'>\
               <event event_id='1' \
               boolean_expression='((tcp.fin == 1) &amp;&amp; (tcp.psh == tcp.psh.2))'/>{2}",
        packets: &[(0, &[2]), (1000, &[1]), (2000, &[1, 4])],
        alerts: 1,
    },
    Corner {
        what: "AND compares its parts in whichever order they come.",
        rule: "type_property='ATTACK' value='AND' delay_min='0+' delay_max='5'>{1}\
               <event event_id='2' \
               boolean_expression='((tcp.rst == 1) &amp;&amp; (tcp.psh == tcp.psh.1))'/>",
        packets: &[(0, &[3, 4]), (1000, &[1]), (2000, &[1, 4])],
        alerts: 1,
    },
];

impl Corner {
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
