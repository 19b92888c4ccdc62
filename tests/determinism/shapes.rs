//! Rules and packets that the oracle does not draw, and that threads may disagree on: events with
//! the five-tuple of a flow or something near it, deadlines of several hosts at one time, tunnels,
//! fragments that stay such, times that go back.

use crate::random::Random;
use crate::traffic::Owned;

/// Equalities with event 1 that make its five-tuple, and some that nearly do.
const TUPLES: [&str; 5] = [
    "(ip.src == ip.src.1) && (ip.dst == ip.dst.1) && (tcp.src_port == tcp.src_port.1) && \
     (tcp.dest_port == tcp.dest_port.1)",
    "(ip.src == ip.dst.1) && (ip.dst == ip.src.1) && (tcp.src_port == tcp.dest_port.1) && \
     (tcp.dest_port == tcp.src_port.1)",
    "(ip.src == ip.dst.1) && (ip.dst == ip.src.1) && (tcp.src_port == tcp.src_port.1) && \
     (tcp.dest_port == tcp.dest_port.1)",
    "(ip.src == ip.src.1) && (ip.dst == ip.dst.1) && (udp.src_port == tcp.src_port.1) && \
     (udp.dest_port == tcp.dest_port.1)",
    "(ip.src == ip.src.1) && (ip.dst == ip.dst.1)",
];

const FLAGS: [&str; 4] = [
    "(tcp.flags == 2)",
    "(tcp.flags > 2)",
    "(tcp.flags != 4)",
    "(ip.proto_ttl > 0)",
];

fn event(number: usize, condition: &str) -> String {
    let condition = condition.replace('&', "&amp;");
    format!("<event event_id=\"{number}\" boolean_expression=\"({condition})\"/>")
}

fn property(random: &mut Random, id: usize, value: &str, parts: &str) -> String {
    let kind = random.of(&["ATTACK", "SECURITY", "TEST"]);
    let units = random.of(&["s", "ms", "mms"]);
    let most = random.of(&[1, 2, 1_000]);
    format!(
        "<property property_id=\"{id}\" type_property=\"{kind}\" description=\"d\" \
         value=\"{value}\" delay_units=\"{units}\" delay_max=\"{most}\">{parts}</property>\n"
    )
}

/// A rule.
pub(crate) fn rule(random: &mut Random, id: usize) -> String {
    match random.percent(60) {
        true => flow(random, id),
        false => deadlines(random, id),
    }
}

fn flow(random: &mut Random, id: usize) -> String {
    let value = random.of(&["THEN", "THEN", "NOT", "AND", "BEFORE"]);
    let (one, other, tuple) = (random.of(&FLAGS), random.of(&FLAGS), random.of(&TUPLES));
    let second = format!("{other} && {tuple}");
    let parts = event(1, &format!("{one} && (tcp.seq_nb > 0)")) + &event(2, &second);
    property(random, id, value, &parts)
}

/// What follows, or does not, is itself something that does not follow, for one host each.
fn deadlines(random: &mut Random, id: usize) -> String {
    let most = random.of(&[1, 2, 999, 1_000]);
    let units = random.of(&["mms", "ms"]);
    let host = random.of(&["(ip.src == ip.src.1)", "(ip.dst == ip.dst.1)"]);
    let [one, two, three] = [(); 3].map(|()| random.of(&FLAGS));
    let first = event(1, one);
    let parts = [
        event(2, &format!("{two} && {host}")),
        event(3, &format!("{three} && {host}")),
    ];
    let [second, third] = parts;
    let absent = format!(
        "<operator value=\"NOT\" delay_units=\"{units}\" delay_max=\"{most}\">{first}{second}\
         </operator>"
    );
    let value = random.of(&["BEFORE", "BEFORE", "THEN", "NOT", "AND", "OR"]);
    property(random, id, value, &(absent + &third))
}

/// Put some packets into tunnels, some into first fragments that nothing completes; have several at
/// one time, and some late ones.
pub(crate) fn disturb(random: &mut Random, packets: &mut [Owned]) {
    if random.percent(50) {
        for packet in packets.iter_mut() {
            match random.below(10) {
                0..4 => tunnel(random, &mut packet.data),
                4 if packet.data[12] == 8 && packet.data[13] == 0 => packet.data[20] = 0x20,
                _ => {}
            }
        }
    }
    if random.percent(30) {
        let step = random.of(&[3, 10, 1_000]);
        let first = packets[0].time_us;
        let pairs = packets.iter_mut().zip(0_u64..);
        pairs.for_each(|(packet, number)| packet.time_us = first + number / step * 500);
    }
    if random.percent(25) {
        for _ in 0..3 {
            let place = random.below(packets.len());
            packets[place].time_us -= random.of(&[1, 1_000, 1_000_000, 30_000_000, 400_000_000]);
        }
    }
    if random.percent(5) {
        let place = random.below(packets.len());
        packets[place].time_us += 100_000_000_000_000;
    }
}

/// Into an IPv4 packet between two of few hosts.
fn tunnel(random: &mut Random, data: &mut Vec<u8>) {
    if data[12] != 8 || data[13] != 0 {
        return;
    }
    let [high, low] = u16::try_from(data.len() + 6).unwrap().to_be_bytes();
    let [from, to] = [random.of(&[1, 2]), random.of(&[1, 2])];
    let mut header = vec![0x45, 0, high, low, 0, 1, 0x40, 0, 64, 4, 0, 0];
    header.extend([10, 0, 0, from, 10, 0, 0, to]);
    data.splice(14..14, header);
}
