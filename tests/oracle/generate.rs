//! Random rules: well formed, and about what the random packets have.

use crate::random::Random;
use crate::rule::{Bounds, Condition, Event, Operator, Part, Rule};
use crate::traffic::Owned;
use wirelynx::dissect::attribute::AttributeId;

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    Tcp,
    Udp,
    Ip,
    Arp,
    Any,
}

const THEMES: [Theme; 12] = [
    Theme::Tcp,
    Theme::Tcp,
    Theme::Tcp,
    Theme::Tcp,
    Theme::Tcp,
    Theme::Tcp,
    Theme::Ip,
    Theme::Ip,
    Theme::Ip,
    Theme::Udp,
    Theme::Arp,
    Theme::Any,
];

const TCP: [&str; 19] = [
    "(tcp.flags == 2)",
    "(tcp.flags == 4)",
    "(tcp.flags == 16)",
    "(tcp.flags == 18)",
    "(tcp.flags == 0)",
    "(tcp.syn == 1)",
    "(tcp.rst == 1)",
    "(tcp.dest_port == 80)",
    "(tcp.dest_port != 80)",
    "(tcp.flags > 2)",
    "(4 >= tcp.flags)",
    "((tcp.dest_port - 1) == (tcp.src_port + 363))",
    "((tcp.flags / 2) == 1)",
    "((tcp.dest_port * 2) < 200)",
    "(#strlen(tcp.p_payload) > 3)",
    "(#strstr(tcp.p_payload, 'bc') == 1)",
    "(#strcasestr(tcp.p_payload, 'BC') == 1)",
    "#equals_nocase(tcp.p_payload, 'ABC')",
    "((tcp.flags == 2) || (tcp.dest_port == 22))",
];
const UDP: [&str; 4] = [
    "(udp.dest_port == 53)",
    "(udp.dest_port != udp.src_port)",
    "(udp.len > 8)",
    "(#strlen(udp.p_payload) == 3)",
];
const IP: [&str; 14] = [
    "(ip.src == '10.0.0.1')",
    "(ip.src == 10.0.0.2)",
    "(ip.src == 10.0.0.2/31)",
    "(10.0.0.0/31 != ip.dst)",
    "(ip.proto_ttl > -1)",
    "(ip.src != ip.dst)",
    "(ip.proto_id == 6)",
    "(ip.proto_id != 6)",
    "(ip.identification < 2)",
    "(ip.identification == 1)",
    "(ip.proto_ttl == 64)",
    "(ip.dst != 0)",
    "((ip.src == '10.0.0.2') || (ip.proto_ttl == 1))",
    "((ip.identification + ip.proto_ttl) > 64)",
];
const ARP: [&str; 3] = [
    "(arp.ar_op == 1)",
    "(arp.ar_op == 2)",
    "(arp.ar_sip == '10.0.0.2')",
];
const ANY: [&str; 14] = [
    "(ethernet.src != ethernet.dst)",
    "(ethernet.proto == 2048)",
    "(ethernet.src == '02:00:00:00:00:03')",
    "(meta.packet_len > 54)",
    "(#is_exist(udp) == false)",
    "#is_exist(tcp)",
    "(#is_exist(tcp.flags) == true)",
    "(#is_null(arp.ar_op) == 1)",
    "(#is_exist(arp) || #is_exist(udp.len))",
    "(#is_empty(tcp.p_payload) == 1)",
    "(#is_exist(udp.dest_port) == false)",
    "((#is_exist(udp.dest_port) == false) || (udp.dest_port == 53))",
    "(100 > udp.dest_port)",
    "true",
];

/// Conditions between events of one theme; `@` stands for the other event.
const TCP_JOINS: [&str; 10] = [
    "(tcp.dest_port == tcp.dest_port.@)",
    "(tcp.dest_port == tcp.dest_port.@)",
    "(tcp.src_port == tcp.dest_port.@)",
    "(tcp.dest_port > tcp.dest_port.@)",
    "(tcp.flags != tcp.flags.@)",
    "(tcp.seq_nb == (tcp.seq_nb.@ + 1))",
    "(tcp.p_payload == tcp.p_payload.@)",
    "(#strlen(tcp.p_payload.@) > 3)",
    "(#strstr(tcp.p_payload, tcp.p_payload.@) == 1)",
    "((tcp.dest_port == tcp.dest_port.@) || (tcp.flags == 2))",
];
const UDP_JOINS: [&str; 2] = [
    "(udp.dest_port == udp.dest_port.@)",
    "(udp.dest_port != udp.src_port.@)",
];
const ARP_JOINS: [&str; 2] = [
    "(arp.ar_sip == arp.ar_sip.@)",
    "(arp.ar_sha != arp.ar_sha.@)",
];
const IP_JOINS: [&str; 15] = [
    "((ip.identification - ip.identification.@) < 1)",
    "((ip.identification.@ / ip.identification) >= 1)",
    "(ip.src == ip.src.@)",
    "(ip.src == ip.src.@)",
    "(ip.src == ip.dst.@)",
    "((ip.src == ip.dst.@) && (ip.dst == ip.src.@))",
    "(ip.dst == ip.dst.@)",
    "(ip.src.@ != ip.dst)",
    "(ip.identification == ip.identification.@)",
    "(ip.identification >= ip.identification.@)",
    "(ip.identification.@ < ip.identification)",
    "(ip.identification == (ip.identification.@ + 1))",
    "((ip.src == ip.src.@) || (ip.dst == ip.dst.@))",
    "((ip.proto_id + ip.proto_id.@) == 12)",
    "(ip.identification.@ == 1)",
];
const ANY_JOINS: [&str; 7] = [
    "(udp.dest_port == udp.dest_port.@)",
    "(ip.src == ip.src.@)",
    "(ethernet.src == ethernet.src.@)",
    "(ethernet.dst != ethernet.src.@)",
    "(meta.packet_len > meta.packet_len.@)",
    "(#is_exist(tcp.flags.@) == 1)",
    "((#is_exist(tcp) == 1) || (ethernet.src == ethernet.src.@))",
];

/// Attributes of real packets that conditions compare with what some packet has.
const OBSERVED: [(Theme, &[&str]); 5] = [
    (
        Theme::Tcp,
        &["tcp.flags", "tcp.dest_port", "tcp.src_port", "tcp.window"],
    ),
    (Theme::Udp, &["udp.dest_port", "udp.src_port", "udp.len"]),
    (
        Theme::Ip,
        &[
            "ip.src",
            "ip.dst",
            "ip.proto_id",
            "ip.proto_ttl",
            "ip.tot_len",
        ],
    ),
    (Theme::Arp, &["arp.ar_op", "arp.ar_sip", "arp.ar_sha"]),
    (
        Theme::Any,
        &["ethernet.src", "ethernet.proto", "meta.packet_len"],
    ),
];

/// What rules are about: random packets, or what real ones have.
#[derive(Default)]
pub(crate) struct Subject {
    themes: Vec<Theme>,
    guards: Vec<(Theme, Condition)>,
}

impl Subject {
    /// The random packets.
    pub(crate) fn random() -> Self {
        Self {
            themes: THEMES.to_vec(),
            guards: Vec::new(),
        }
    }

    /// These packets.
    pub(crate) fn of(packets: &[Owned]) -> Self {
        let mut subject = Self::default();
        for packet in packets {
            for (theme, names) in OBSERVED {
                let values = names.iter().filter_map(|name| {
                    let (protocol, attribute) = name.split_once('.')?;
                    let id = AttributeId::from_names(protocol, attribute)?;
                    Some((name, packet.shown(id)?))
                });
                for (name, value) in values {
                    let value = value.replace('"', "'");
                    subject.guards.push((theme, format!("({name} == {value})")));
                    if !value.contains('\'') {
                        subject.guards.push((theme, format!("({name} > {value})")));
                    }
                    subject.themes.push(theme);
                }
            }
        }
        subject
    }

    fn guard(&self, random: &mut Random, theme: Theme) -> Condition {
        let guards: Vec<&Condition> = self
            .guards
            .iter()
            .filter(|(of, _)| *of == theme)
            .map(|(_, guard)| guard)
            .collect();
        match guards.is_empty() || random.percent(30) {
            true => guard(random, theme),
            false => random.of(&guards).clone(),
        }
    }
}

/// A rule.
pub(crate) fn rule(random: &mut Random, subject: &Subject) -> Rule {
    let count = random.of(&[1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5]);
    let mut names: Vec<usize> = (1..=count).collect();
    if random.percent(40) {
        random.shuffle(&mut names);
    }
    let leaves: Vec<(usize, Theme)> = names
        .iter()
        .map(|name| (*name, random.of(&subject.themes)))
        .collect();
    let events: Vec<Event> = (0..count)
        .map(|place| event(random, subject, &leaves, place))
        .collect();
    Rule {
        kind: random.of(&["ATTACK", "ATTACK", "SECURITY", "TEST", "EVASION"]),
        root: part(random, &events),
    }
}

fn event(random: &mut Random, subject: &Subject, leaves: &[(usize, Theme)], place: usize) -> Event {
    let (name, theme) = leaves[place];
    let mut conditions = vec![subject.guard(random, theme)];
    for share in [35, 15] {
        if random.percent(share) {
            conditions.push(subject.guard(random, theme));
        }
    }
    for share in [55, 25] {
        if leaves.len() > 1 && random.percent(share) {
            // Mostly an event that is written before; any other reads as absent at times.
            let other = match place {
                0 if random.percent(70) => continue,
                1.. if random.percent(85) => random.below(place),
                _ => random.below(leaves.len()),
            };
            if other != place {
                conditions.push(join(random, theme, leaves[other]));
            }
        }
    }
    random.shuffle(&mut conditions);
    Event { name, conditions }
}

fn guard(random: &mut Random, theme: Theme) -> Condition {
    let general = random.percent(15);
    let text = match theme {
        Theme::Tcp if !general => random.of(&TCP),
        Theme::Udp if !general => random.of(&UDP),
        Theme::Ip if !general => random.of(&IP),
        Theme::Arp if !general => random.of(&ARP),
        Theme::Tcp | Theme::Udp if random.percent(50) => random.of(&IP),
        _ => random.of(&ANY),
    };
    text.to_owned()
}

fn join(random: &mut Random, theme: Theme, (other, other_theme): (usize, Theme)) -> Condition {
    let is_ip = |theme| matches!(theme, Theme::Tcp | Theme::Udp | Theme::Ip);
    let own = random.percent(50);
    let text = match (theme, other_theme) {
        (Theme::Tcp, Theme::Tcp) if own => random.of(&TCP_JOINS),
        (Theme::Udp, Theme::Udp) if own => random.of(&UDP_JOINS),
        (Theme::Arp, Theme::Arp) if own => random.of(&ARP_JOINS),
        (one, two) if is_ip(one) && is_ip(two) && random.percent(85) => random.of(&IP_JOINS),
        _ => random.of(&ANY_JOINS),
    };
    text.replace('@', &format!("{{{other}}}"))
}

fn part(random: &mut Random, events: &[Event]) -> Part {
    if let [event] = events {
        return Part::Event(event.clone());
    }
    let value = random.of(&[
        "THEN", "THEN", "THEN", "THEN", "THEN", "AND", "AND", "OR", "NOT", "NOT", "BEFORE",
    ]);
    let (left, right) = events.split_at(1 + random.below(events.len() - 1));
    Part::Operator(Box::new(Operator {
        value,
        bounds: bounds(random, value),
        left: part(random, left),
        right: part(random, right),
    }))
}

fn bounds(random: &mut Random, value: &str) -> Bounds {
    let mut bounds = Bounds::default();
    let counted = random.percent(12);
    if counted {
        bounds.counter_min = random.of(&[0, 1, 2, 3]);
        bounds.counter_max = bounds.counter_min + random.of(&[1, 2, 5, 20]);
    }
    if random.percent(if counted { 50 } else { 12 }) {
        return bounds;
    }
    let (units, most) = random.of(&[
        ("s", [1_i64, 2, 3]),
        ("s", [1, 2, 60]),
        ("ms", [1, 500, 1_500]),
        ("mms", [1, 1_000, 500_001]),
        ("m", [1, 1, 2]),
        ("h", [1, 1, 1]),
    ]);
    let max = random.of(&most);
    let min = random.of(&[0, 0, 0, 0, max, 1.min(max)]);
    let looks_back = value == "THEN" && random.percent(12);
    let (min, max) = match looks_back {
        true => random.of(&[(-max, 0), (-max, max), (-max, min), (-max, -max.min(1))]),
        false => (min, max),
    };
    let signs = |number: i64| match number {
        0 => ["", "", "+", "+"],
        _ => ["", "", "+", "-"],
    };
    bounds.units = units;
    bounds.delay_min = format!("{min}{}", random.of(&signs(min)));
    bounds.delay_max = format!("{max}{}", random.of(&["", "", "", "", "+", "-"]));
    bounds
}
