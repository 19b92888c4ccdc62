//! Small cases on which threads once disagreed, each on all combinations of threads.

use crate::random_rules::{case, rules, trace};
use crate::run::{combinations, shape};
use crate::traffic::Owned;
use wirelynx::expr::Mode;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A rule over the flags of a packet.
fn rule(attributes: &str, parts: &str) -> String {
    format!("<property property_id='1' description='d' {attributes}>{parts}</property>")
}

fn event(number: usize, condition: &str) -> String {
    let condition = condition.replace('&', "&amp;");
    format!("<event event_id='{number}' boolean_expression='{condition}'/>")
}

/// A segment of a host at a time in microseconds.
fn segment(time_us: u64, flags: u8, host: u8) -> Owned {
    let mut packet = Owned::tcp(1_000_000_000 + time_us, flags);
    packet.data[29] = host;
    packet
}

/// The same from one end of a tunnel to the other.
fn tunnelled(time_us: u64, flags: u8, host: u8) -> Owned {
    let mut packet = segment(time_us, flags, host);
    let outer = [
        0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 4, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2,
    ];
    packet.data.splice(14..14, outer);
    packet
}

/// All combinations say the same, and as much as this; gives the alerts.
fn agree(rule: &str, packets: &[Owned], alerts: usize) -> String {
    let (xml, trace) = ([rule.to_owned()], trace(packets));
    let made = || {
        let made = rules(&xml, Mode::Standard);
        assert_eq!(made.programs.len(), 1, "{rule}");
        made
    };
    let case = case(&made, 1);
    let expected = case.inline(&trace);
    for (pair, seed) in combinations().into_iter().zip(1..) {
        let result = case.compare(&trace, &shape(pair, seed), &expected);
        assert!(result.is_ok(), "{rule}\n{}", result.unwrap_err());
    }
    assert_eq!(
        expected.alerts.lines().count(),
        alerts,
        "{}",
        expected.alerts
    );
    expected.alerts
}

#[test]
fn an_answer_at_a_deadline_is_for_its_own_host() {
    let host = "&& (ip.src == ip.src.1))";
    let absent = format!(
        "<operator value='NOT' delay_units='ms' delay_max='1'>{}{}</operator>",
        event(1, "(tcp.flags == 2)"),
        event(2, &format!("((tcp.flags == 4) {host}"))
    );
    let third = event(3, &format!("((tcp.flags == 16) {host}"));
    let rule = rule(
        "type_property='SECURITY' value='BEFORE' delay_units='s' delay_max='1'",
        &(absent + &third),
    );
    // The first host was answered for; the deadlines of both are at one time.
    let packets = [segment(0, ACK, 1), segment(10, SYN, 1), segment(10, SYN, 3)];
    let alerts = agree(&rule, &packets, 1);
    assert!(alerts.contains("\"ip.src\":\"10.0.0.3\""), "{alerts}");
}

#[test]
fn late_packets_have_deadlines_in_one_order() {
    let rule = rule(
        "type_property='SECURITY' value='THEN' delay_units='ms' delay_max='1'",
        &(event(1, "(tcp.flags == 1)") + &event(2, "(tcp.flags == 4)")),
    );
    let late = (0..400).map(|number| match number % 4 {
        0 => segment(number * 10_000, FIN, 1),
        _ => segment(number * 10_000 - 900_000.min(number * 10_000), FIN, 3),
    });
    agree(&rule, &late.collect::<Vec<_>>(), 400);
}

#[test]
fn flows_in_one_tunnel_are_not_taken_for_each_other() {
    let same = "(ip.src == ip.src.1) && (ip.dst == ip.dst.1) && \
                (tcp.src_port == tcp.src_port.1) && (tcp.dest_port == tcp.dest_port.1)";
    let second = event(2, &format!("((tcp.flags == 4) && {same})"));
    let rule = rule(
        "type_property='ATTACK' value='THEN' delay_units='s' delay_max='1'",
        &(event(1, "(tcp.flags == 2)") + &second),
    );
    let packets = [
        tunnelled(0, SYN, 1),
        tunnelled(10, RST, 3),
        tunnelled(20, RST, 1),
    ];
    let alerts = agree(&rule, &packets, 1);
    assert!(alerts.contains("\"packet\":3"), "{alerts}");
    // What tells them apart is not shown.
    assert!(!alerts.contains("inner_flow"), "{alerts}");
}

#[test]
fn what_is_compared_late_is_in_one_place() {
    let wait = format!(
        "<operator value='AND' delay_units='s' delay_max='1'>{}{}</operator>",
        event(2, "((tcp.flags == 4) && (ip.src == ip.src.1))"),
        event(3, "((tcp.flags == 16) && (ip.src == ip.src.1))")
    );
    let rule = rule(
        "type_property='ATTACK' value='THEN' delay_units='s' delay_min='-2' delay_max='0'",
        &(event(1, "(tcp.flags == 2)") + &wait),
    );
    // The ACK of the second host takes the RST of the first one, and nothing comes of it.
    let packets = [
        segment(0, RST, 1),
        segment(10, ACK, 3),
        segment(20, ACK, 1),
        segment(30, SYN, 1),
    ];
    agree(&rule, &packets, 0);
}

#[test]
fn flows_that_end_at_one_time_have_one_order() {
    let rule = rule(
        "type_property='ATTACK' value='COMPUTE'",
        &event(1, "(tcp.flags == 2)"),
    );
    let packets: Vec<Owned> = (1..60).map(|host| segment(0, SYN, host)).collect();
    agree(&rule, &packets, 59);
}
