//! Rules on hand-made packets: the worked examples and corner cases of the reference.
#![allow(
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

mod common;

use std::sync::Arc;
use wirelynx::capture::Burst;
use wirelynx::expr::Mode;
use wirelynx::expr::functions::lists::Lists;
use wirelynx::output::Event;
use wirelynx::output::alert::{self, Format};
use wirelynx::packet::{Frame, LinkType, Timestamp};
use wirelynx::rules::RuleSet;
use wirelynx::rules::joins::Limits;
use wirelynx::rules::load::read_bytes;
use wirelynx::worker::{Scope, Settings, Worker};

use Mode::{Compat, Standard};

const A: u8 = 1;
const B: u8 = 2;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A TCP segment without payload from 10.0.0.`from`:40000 to 10.0.0.`to`:`port`.
fn tcp(from: u8, to: u8, port: u16, flags: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0];
    frame.extend([
        0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, to,
    ]);
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    frame
}

/// Alerts of these rules on these packets (microseconds, bytes), from column 5 on.
fn alerts(rules: &str, packets: &[(u64, Vec<u8>)], mode: Mode) -> Vec<String> {
    run(
        rules,
        packets,
        mode,
        Limits {
            per_rule: 1_000,
            total: 1_000,
            ..Limits::default()
        },
    )
    .0
}

fn run(
    rules: &str,
    packets: &[(u64, Vec<u8>)],
    mode: Mode,
    limits: Limits,
) -> (Vec<String>, wirelynx::rules::joins::Counters) {
    let text = format!("<beginning>{rules}</beginning>");
    let lists = Lists::new(Vec::new());
    let read = read_bytes("rules", text.as_bytes(), mode, &lists);
    let errors: Vec<_> = read
        .diagnostics
        .iter()
        .filter(|d| d.is_error())
        .map(|d| d.render(false))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    let (rules, failed) = RuleSet::new(read.properties, mode);
    assert!(failed.is_empty());
    let rules = Arc::new(rules);
    let settings = Settings {
        instances: Some(limits),
        ..common::small()
    };
    let mut worker = Worker::new(Arc::clone(&rules), &settings, Scope::Rules);
    let mut lines = Vec::new();
    let mut sink = |event: Event| {
        if let Event::Alert(alert) = event {
            let program = &rules.programs[usize::try_from(alert.rule).unwrap()];
            let mut line = String::new();
            alert::write(&mut line, Format::MmtCsv, program, &alert);
            lines.push(line.splitn(5, ',').nth(4).unwrap().to_owned());
        }
    };
    for (micros, data) in packets {
        let mut burst = Burst::new();
        burst.push(Frame {
            data,
            wire_length: u32::try_from(data.len()).unwrap(),
            timestamp: Timestamp::from_micros(*micros),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        });
        worker.burst(burst, &mut sink);
    }
    worker.finish(&mut sink);
    (lines, worker.counters().rules)
}

/// Packet numbers of the events of an alert.
fn packets(line: &str) -> Vec<u64> {
    line.split("\"counter\":")
        .skip(1)
        .map(|rest| rest.split(',').next().unwrap().parse().unwrap())
        .collect()
}

fn numbers(lines: &[String]) -> Vec<Vec<u64>> {
    lines.iter().map(|line| packets(line)).collect()
}

const RULE_1001: &str = r#"<property value="THEN" delay_units="s" delay_min="0+" delay_max="2"
    property_id="1001" type_property="ATTACK" description="SYN then RST from the same host">
  <event value="COMPUTE" event_id="1" boolean_expression="((tcp.flags == 2) &amp;&amp; (ip.src != ip.dst))"/>
  <event value="COMPUTE" event_id="2" boolean_expression="((tcp.rst == 1) &amp;&amp; ((ip.src == ip.src.1) &amp;&amp; (tcp.dest_port == tcp.dest_port.1)))"/>
</property>"#;
const RULE_1002: &str = r#"<property value="THEN" delay_units="s" delay_min="0" delay_max="1"
    property_id="1002" type_property="SECURITY" description="a SYN must be answered within 1 s">
  <event value="COMPUTE" event_id="1" boolean_expression="((tcp.flags == 2) &amp;&amp; (ip.src != ip.dst))"/>
  <event value="COMPUTE" event_id="2" boolean_expression="((tcp.flags == 18) &amp;&amp; (ip.dst == ip.src.1))"/>
</property>"#;

/// `<property OPERATOR>` with events over TCP flags.
fn property(kind: &str, operator: &str, delay: &str, body: &str) -> String {
    format!(
        "<property property_id=\"7\" type_property=\"{kind}\" value=\"{operator}\" {delay} \
         description=\"d\">{body}</property>"
    )
}

fn event(id: u8, expression: &str) -> String {
    let expression = expression.replace('&', "&amp;").replace('<', "&lt;");
    format!("<event event_id=\"{id}\" boolean_expression=\"{expression}\"/>")
}

fn flags(id: u8, flags: u8) -> String {
    event(id, &format!("(tcp.flags == {flags})"))
}

const SECONDS: &str = "delay_units=\"s\" delay_min=\"0+\" delay_max=\"2\"";
const NOW: &str = "delay_min=\"0\" delay_max=\"0\"";

#[test]
fn the_first_worked_example_to_the_byte() {
    let trace = [
        (100_000_000, tcp(A, B, 80, SYN)),
        (100_500_000, tcp(A, B, 80, RST)),
        (103_250_000, tcp(B, A, 80, ACK)),
    ];
    let expected = [
        r#"1001,"detected","attack","SYN then RST from the same host",{"event_1":{"timestamp":100.000000,"counter":1,"attributes":[["ip.src","10.0.0.1"],["ip.dst","10.0.0.2"],["tcp.dest_port",80],["tcp.flags",2]]},"event_2":{"timestamp":100.500000,"counter":2,"attributes":[["ip.src","10.0.0.1"],["tcp.dest_port",80],["tcp.rst",1]]}}"#,
        r#"1002,"not_respected","security","a SYN must be answered within 1 s",{"event_0":{"timestamp":103.250000,"counter":3,"attributes":[]},"event_1":{"timestamp":100.000000,"counter":1,"attributes":[["ip.src","10.0.0.1"],["ip.dst","10.0.0.2"],["tcp.flags",2]]}}"#,
    ];
    assert_eq!(
        alerts(&format!("{RULE_1001}{RULE_1002}"), &trace, Compat),
        expected
    );
    // Standard mode says so when the deadline passes, not when a packet happens to come.
    let standard = alerts(&format!("{RULE_1001}{RULE_1002}"), &trace, Standard);
    assert_eq!(standard[0], expected[0]);
    assert!(standard[1].contains(r#""event_0":{"timestamp":101.000000,"counter":0"#));
    assert_eq!(standard.len(), 2);
}

#[test]
fn the_second_worked_example_takes_the_newest_context() {
    let mut trace: Vec<(u64, Vec<u8>)> = [0, 1, 2]
        .map(|n| (100_000_000 + n * 100_000, tcp(A, B, 80, SYN)))
        .to_vec();
    trace.extend([5, 6, 7, 8].map(|n| (100_000_000 + n * 100_000, tcp(A, B, 80, RST))));
    for mode in [Compat, Standard] {
        let found = numbers(&alerts(RULE_1001, &trace, mode));
        assert_eq!(found, [[3, 4], [2, 5], [1, 6]], "{mode:?}");
    }
}

#[test]
fn bounds_are_inclusive_to_the_microsecond() {
    for (delay, count) in [(0, 0), (1, 1), (2_000_000, 1), (2_000_001, 0)] {
        let trace = [(5, tcp(A, B, 80, SYN)), (5 + delay, tcp(A, B, 80, RST))];
        for mode in [Compat, Standard] {
            assert_eq!(
                alerts(RULE_1001, &trace, mode).len(),
                count,
                "{delay} {mode:?}"
            );
        }
    }
}

#[test]
fn nothing_is_reported_at_the_end_in_compat_mode_only() {
    let trace = [(1, tcp(A, B, 80, SYN))];
    assert_eq!(alerts(RULE_1002, &trace, Compat).len(), 0);
    assert_eq!(alerts(RULE_1002, &trace, Standard).len(), 1);
}

#[test]
fn a_time_out_verdict_spends_its_packet_in_compat_mode() {
    // The second SYN reveals the first's time-out; in compat mode it opens no context of its own.
    let trace = [
        (1_000_000, tcp(A, B, 80, SYN)),
        (5_000_000, tcp(A, B, 80, SYN)),
        (9_000_000, tcp(A, B, 80, ACK)),
    ];
    let compat = numbers(&alerts(RULE_1002, &trace, Compat));
    assert_eq!(compat, [[2, 1]]);
    let standard = numbers(&alerts(RULE_1002, &trace, Standard));
    assert_eq!(standard, [[0, 1], [0, 2]]);
}

#[test]
fn an_immediate_operator_works_as_a_context() {
    let inner = format!(
        "<operator value=\"THEN\" {NOW}>{}{}</operator>",
        flags(1, SYN),
        event(2, "(tcp.dest_port == 80)")
    );
    let rule = property(
        "ATTACK",
        "THEN",
        SECONDS,
        &format!("{inner}{}", flags(3, RST)),
    );
    let trace = [
        (1, tcp(A, B, 81, SYN)),
        (2, tcp(A, B, 80, SYN)),
        (3, tcp(A, B, 9, RST)),
    ];
    for mode in [Compat, Standard] {
        assert_eq!(
            numbers(&alerts(&rule, &trace, mode)),
            [[2, 2, 3]],
            "{mode:?}"
        );
    }
}

#[test]
fn an_immediate_trigger_is_left_out_of_the_history_in_compat_mode() {
    let inner = format!(
        "<operator value=\"THEN\" {NOW}>{}{}</operator>",
        flags(2, RST),
        event(3, "(tcp.dest_port == 80)")
    );
    let rule = property(
        "ATTACK",
        "THEN",
        SECONDS,
        &format!("{}{inner}", flags(1, SYN)),
    );
    let trace = [(1, tcp(A, B, 80, SYN)), (2, tcp(A, B, 80, RST))];
    assert_eq!(numbers(&alerts(&rule, &trace, Compat)), [vec![1]]);
    assert_eq!(numbers(&alerts(&rule, &trace, Standard)), [vec![1, 2, 2]]);
}

#[test]
fn three_immediate_events_that_fail_say_nothing_in_compat_mode() {
    let inner = format!(
        "<operator value=\"THEN\" {NOW}>{}{}</operator>",
        flags(1, SYN),
        event(2, "(tcp.dest_port == 80)")
    );
    let rule = property(
        "SECURITY",
        "THEN",
        NOW,
        &format!("{inner}{}", event(3, "(ip.src == ip.dst)")),
    );
    let trace: Vec<_> = (0..50).map(|n| (n, tcp(A, B, 80, SYN))).collect();
    let limits = Limits {
        per_rule: 10,
        total: 10,
        ..Limits::default()
    };
    let (lines, counters) = run(&rule, &trace, Compat, limits);
    assert_eq!(
        (lines.len(), counters.live),
        (0, 0),
        "no verdict, and no instance is left behind"
    );
    assert_eq!(alerts(&rule, &trace, Standard).len(), 50);
}

#[test]
fn zero_flags_are_absent_in_compat_mode() {
    let rule = property("ATTACK", "COMPUTE", "", &flags(1, 0));
    let trace = [(1, tcp(A, B, 80, 0))];
    assert_eq!(alerts(&rule, &trace, Compat).len(), 0);
    assert_eq!(alerts(&rule, &trace, Standard).len(), 1);
}

#[test]
fn is_exist_takes_zero_for_missing_in_compat_mode() {
    let missing = event(
        1,
        "((#is_exist(ip.mf_flag) == false) && (ip.src != ip.dst))",
    );
    let rule = property("ATTACK", "COMPUTE", "", &missing);
    let trace = [(1, tcp(A, B, 80, SYN))];
    assert_eq!(alerts(&rule, &trace, Compat).len(), 1);
    assert_eq!(alerts(&rule, &trace, Standard).len(), 0);
}

#[test]
fn the_last_operator_of_a_level_wins_in_compat_mode() {
    let sum = event(
        2,
        "((tcp.dest_port == tcp.dest_port.1 + 1) && (ip.src == ip.src.1))",
    );
    let rule = property(
        "ATTACK",
        "THEN",
        SECONDS,
        &format!("{}{sum}", flags(1, SYN)),
    );
    let trace = [(1, tcp(A, B, 80, SYN)), (2, tcp(A, B, 5, ACK))];
    assert_eq!(
        alerts(&rule, &trace, Compat).len(),
        1,
        "a sum, and not zero"
    );
}

#[test]
fn or_as_a_root_reports_once_in_compat_mode() {
    let body = format!("{}{}", flags(1, SYN), flags(2, RST));
    let rule = property("ATTACK", "OR", SECONDS, &body);
    let trace = [
        (1, tcp(A, B, 80, SYN)),
        (2, tcp(A, B, 80, RST)),
        (3, tcp(A, B, 80, ACK)),
        (4, tcp(A, B, 80, SYN)),
    ];
    assert_eq!(alerts(&rule, &trace, Compat).len(), 1);
    assert_eq!(numbers(&alerts(&rule, &trace, Standard)), [[1], [2], [4]]);
}

#[test]
fn before_fails_unless_it_was_preceded() {
    let body = format!("{}{}", flags(1, RST), flags(2, SYN));
    let rule = property("SECURITY", "BEFORE", SECONDS, &body);
    let trace = [
        (1_000_000, tcp(A, B, 80, SYN)),
        (2_000_000, tcp(A, B, 80, RST)),
        (2_500_000, tcp(A, B, 80, RST)),
        (4_000_000, tcp(A, B, 80, RST)),
        (5_000_000, tcp(A, B, 80, RST)),
    ];
    assert_eq!(numbers(&alerts(&rule, &trace, Standard)), [[4], [5]]);
    // The published engine reports the first although it was preceded, and then is dead.
    assert_eq!(alerts(&rule, &trace, Compat).len(), 1);
    let test = property("TEST", "BEFORE", SECONDS, &body);
    let verdicts = alerts(&test, &trace, Standard);
    assert_eq!(
        verdicts
            .iter()
            .filter(|line| line.contains("\"respected\""))
            .count(),
        2
    );
}

#[test]
fn and_takes_its_events_in_either_order() {
    let rule = property(
        "ATTACK",
        "AND",
        SECONDS,
        &format!("{}{}", flags(1, SYN), flags(2, RST)),
    );
    for mode in [Compat, Standard] {
        for order in [[SYN, RST], [RST, SYN]] {
            let trace = [(1, tcp(A, B, 80, order[0])), (2, tcp(A, B, 80, order[1]))];
            assert_eq!(alerts(&rule, &trace, mode).len(), 1, "{order:?} {mode:?}");
        }
        let trace = [(1, tcp(A, B, 80, SYN)), (3_000_000, tcp(A, B, 80, RST))];
        assert_eq!(alerts(&rule, &trace, mode).len(), 0);
    }
}

#[test]
fn not_detects_what_did_not_follow() {
    let rule = property(
        "ATTACK",
        "NOT",
        SECONDS,
        &format!("{}{}", flags(1, SYN), flags(2, RST)),
    );
    let followed = [
        (1, tcp(A, B, 80, SYN)),
        (2, tcp(A, B, 80, RST)),
        (9_000_000, tcp(A, B, 80, ACK)),
    ];
    let alone = [(1, tcp(A, B, 80, SYN)), (9_000_000, tcp(A, B, 80, ACK))];
    for mode in [Compat, Standard] {
        assert_eq!(alerts(&rule, &followed, mode).len(), 0, "{mode:?}");
        assert_eq!(alerts(&rule, &alone, mode).len(), 1, "{mode:?}");
    }
}

#[test]
fn one_packet_rules_judge_each_packet() {
    let body = format!("{}{}", flags(1, SYN), event(2, "(tcp.dest_port == 80)"));
    let trace = [
        (1, tcp(A, B, 80, SYN)),
        (2, tcp(A, B, 81, SYN)),
        (3, tcp(A, B, 81, ACK)),
        (4, tcp(A, B, 81, SYN)),
    ];
    for mode in [Compat, Standard] {
        let of = |kind: &str, operator: &str| {
            numbers(&alerts(&property(kind, operator, NOW, &body), &trace, mode))
        };
        assert_eq!(of("ATTACK", "THEN"), [[1, 1]]);
        assert_eq!(of("SECURITY", "THEN"), [[2, 2], [4, 4]]);
        assert_eq!(of("ATTACK", "NOT"), [[2, 2], [4, 4]]);
        assert_eq!(of("TEST", "THEN").len(), 3);
    }
}

#[test]
fn nested_windows_are_those_of_the_reference() {
    // THEN[0+,5s]( THEN[0+,3s](1,2), THEN[0+,3s](3,4) ): 3 within 5 s of 2, 4 within 3 s of 3 and 5
    // s of 2.
    let three = "delay_units=\"s\" delay_min=\"0+\" delay_max=\"3\"";
    let five = "delay_units=\"s\" delay_min=\"0+\" delay_max=\"5\"";
    let pair = |first: String, second: String| {
        format!("<operator value=\"THEN\" {three}>{first}{second}</operator>")
    };
    let body = pair(flags(1, 1), flags(2, 2)) + &pair(flags(3, 4), flags(4, 8));
    let rule = property("ATTACK", "THEN", five, &body);
    let at = |times: [u64; 4]| -> Vec<(u64, Vec<u8>)> {
        times
            .iter()
            .zip([1, 2, 4, 8])
            .map(|(s, f)| (s * 1_000_000, tcp(A, B, 80, f)))
            .collect()
    };
    for mode in [Compat, Standard] {
        let count = |times| alerts(&rule, &at(times), mode).len();
        assert_eq!(count([0, 3, 8, 8]), 0, "strictly after");
        assert_eq!(count([0, 3, 7, 8]), 1);
        assert_eq!(count([0, 3, 7, 9]), 0, "4 after the outer window");
        assert_eq!(count([0, 4, 5, 6]), 0, "2 after the inner window");
        assert_eq!(count([0, 1, 2, 5]), 1);
        assert_eq!(count([0, 1, 2, 6]), 0, "4 too long after 3");
    }
}

#[test]
fn a_verdict_ends_its_family() {
    // Two SYNs after one context: both copies wait; the first RST retires the family of both.
    let inner = format!(
        "<operator value=\"THEN\" {SECONDS}>{}{}</operator>",
        flags(2, SYN),
        flags(3, RST)
    );
    let rule = property(
        "ATTACK",
        "THEN",
        SECONDS,
        &format!("{}{inner}", flags(1, ACK)),
    );
    let trace: Vec<_> = [ACK, SYN, SYN, RST, RST]
        .into_iter()
        .enumerate()
        .map(|(n, f)| (u64::try_from(n).unwrap(), tcp(A, B, 80, f)))
        .collect();
    for mode in [Compat, Standard] {
        assert_eq!(
            numbers(&alerts(&rule, &trace, mode)),
            [[1, 3, 4]],
            "{mode:?}"
        );
    }
}

#[test]
fn counters_bound_the_packets_between_in_standard_mode() {
    let body = format!("{}{}", flags(1, SYN), flags(2, RST));
    let rule = property(
        "ATTACK",
        "THEN",
        "counter_min=\"2\" counter_max=\"3\"",
        &body,
    );
    let trace = |between: u64| -> Vec<(u64, Vec<u8>)> {
        let mut trace = vec![(1, tcp(A, B, 80, SYN))];
        trace.extend((0..between).map(|n| (n + 2, tcp(A, B, 80, ACK))));
        trace.push((1_000_000_000, tcp(A, B, 80, RST)));
        trace
    };
    let found: Vec<usize> = (0..4)
        .map(|n| alerts(&rule, &trace(n), Standard).len())
        .collect();
    assert_eq!(found, [0, 1, 1, 0]);
}

#[test]
fn a_negative_delay_looks_back_in_standard_mode() {
    let body = format!("{}{}", flags(1, RST), flags(2, SYN));
    let delay = "delay_units=\"s\" delay_min=\"-2\" delay_max=\"0\"";
    let rule = property("ATTACK", "THEN", delay, &body);
    let trace = [
        (1_000_000, tcp(A, B, 80, SYN)),
        (3_000_000, tcp(A, B, 80, RST)),
        (3_000_001, tcp(A, B, 80, RST)),
    ];
    assert_eq!(numbers(&alerts(&rule, &trace, Standard)), [[2, 1]]);
}

#[test]
fn instances_are_bounded_and_the_oldest_goes_first() {
    let trace: Vec<_> = (0..100_u16)
        .map(|n| (u64::from(n), tcp(A, B, n, SYN)))
        .chain((0..100).map(|n| (200 + u64::from(n), tcp(A, B, n, RST))))
        .collect();
    for mode in [Compat, Standard] {
        let (lines, counters) = run(
            RULE_1001,
            &trace,
            mode,
            Limits {
                per_rule: 10,
                total: 100,
                ..Limits::default()
            },
        );
        assert_eq!(lines.len(), 10, "{mode:?}");
        assert!(lines.iter().all(|line| packets(line)[0] > 90));
        assert_eq!((counters.evicted[0], counters.live), (90, 0));
    }
}

#[test]
fn events_may_repeat_a_packet_time_when_the_bound_says_so() {
    let trace = [(7, tcp(A, B, 80, SYN)), (7, tcp(B, A, 80, SYN | ACK))];
    for mode in [Compat, Standard] {
        assert_eq!(alerts(RULE_1002, &trace, mode).len(), 0, "{mode:?}");
    }
}

#[test]
fn contexts_alike_are_tried_as_one() {
    let limits = Limits {
        per_rule: 100_000,
        total: 100_000,
        ..Limits::default()
    };
    let other_port = |trigger: u8| {
        let trigger = format!(
            "((tcp.flags == {trigger}) && ((tcp.dest_port != tcp.dest_port.1) && (ip.src == ip.src.1)))"
        );
        let body = format!("{}{}", flags(1, ACK), event(2, &trigger));
        let delay = "delay_units=\"s\" delay_min=\"0+\" delay_max=\"9\"";
        property("ATTACK", "THEN", delay, &body)
    };
    let alike: Vec<_> = (0..5_000).map(|n| (n, tcp(A, B, 80, ACK))).collect();
    // 2500 contexts of as many ports; each trigger ends the newest.
    let differing: Vec<_> = (0..2_500)
        .map(|n| (u64::from(n), tcp(A, B, n, ACK)))
        .chain((0..2_500).map(|n| (3_000 + n, tcp(A, B, 9_999, RST))))
        .collect();
    for (rule, trace, found) in [
        (other_port(ACK), alike, 0),
        (other_port(RST), differing, 2_500),
    ] {
        for mode in [Compat, Standard] {
            let (lines, counters) = run(&rule, &trace, mode, limits);
            assert_eq!(lines.len(), found, "{mode:?}");
            assert!(counters.tries <= 5_000, "{} tries", counters.tries);
        }
    }
}

/// A packet costs so much and no more: what is left of the rules does not see it, which is counted.
#[test]
fn work_on_a_packet_is_bounded() {
    let rules: Vec<String> = (1..=200)
        .map(|id| {
            let rule = property("ATTACK", "COMPUTE", "", &flags(1, SYN));
            rule.replace("property_id=\"7\"", &format!("property_id=\"{id}\""))
        })
        .collect();
    let limits = Limits {
        work: 64,
        ..Limits::default()
    };
    let trace = [(1, tcp(A, B, 80, SYN)), (2, tcp(A, B, 80, SYN))];
    let (lines, counters) = run(&rules.concat(), &trace, Standard, limits);
    assert_eq!(lines.len(), 2 * 64);
    assert_eq!(counters.exceeded.iter().sum::<u64>(), 2);
    assert_eq!(
        counters.exceeded[64], 2,
        "at the first rule that is left out"
    );
}
