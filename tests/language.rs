//! The rule language on hand-made packets: literals, functions, and what the index spares.
#![allow(
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use wirelynx::capture::Burst;
use wirelynx::expr::Mode;
use wirelynx::expr::functions::lists::Lists;
use wirelynx::output::Event;
use wirelynx::packet::{Frame, LinkType, Timestamp};
use wirelynx::rules::joins::Limits;
use wirelynx::rules::load::{self, read_bytes};
use wirelynx::rules::{RuleSet, explain};
use wirelynx::worker::{Scope, Settings, Worker};

/// UDP to port 53 over IPv4 from `source`.
fn ipv4(source: &str, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 8, 0];
    let length = u16::try_from(28 + payload.len()).unwrap();
    frame.extend([0x45, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(source.parse::<Ipv4Addr>().unwrap().octets());
    frame.extend([10, 9, 9, 9]);
    frame.extend(udp(payload));
    frame
}

/// The same over IPv6.
fn ipv6(source: &str, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 0, 0x11, 0x22, 0x33, 0x44, 0x55];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    frame.extend([17, 64]);
    frame.extend(source.parse::<Ipv6Addr>().unwrap().octets());
    frame.extend("2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
    frame.extend(udp(payload));
    frame
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut datagram = vec![0x9c, 0x40, 0, 53];
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// How often each rule reported, and how often it was looked at.
struct Found {
    alerts: Vec<u64>,
    steps: Vec<u64>,
    created: Vec<u64>,
    rules: Arc<RuleSet>,
}

fn run(properties: &str, folder: &Path, packets: &[Vec<u8>]) -> Found {
    run_with(properties, folder, packets, false)
}

/// Rules may have findings that are no errors when `is_lenient`.
fn run_with(properties: &str, folder: &Path, packets: &[Vec<u8>], is_lenient: bool) -> Found {
    let text = format!("<beginning>{properties}</beginning>");
    let lists = Lists::new(vec![folder.to_owned()]);
    let read = read_bytes("rules", text.as_bytes(), Mode::Standard, &lists);
    let told = read.diagnostics.iter();
    let told = told.filter(|found| found.is_error() || !is_lenient);
    let findings: Vec<String> = told.map(|found| found.render(false)).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let (rules, failed) = RuleSet::new(read.properties, Mode::Standard);
    assert!(failed.is_empty());
    let rules = Arc::new(rules);
    let settings = Settings {
        instances: Some(Limits {
            per_rule: 1_000,
            total: 1_000,
            ..Limits::default()
        }),
        ..common::small()
    };
    let mut worker = Worker::new(Arc::clone(&rules), &settings, Scope::Rules);
    let mut alerts = vec![0; rules.programs.len()];
    let mut sink = |event: Event| {
        if let Event::Alert(alert) = event {
            alerts[usize::try_from(alert.rule).unwrap()] += 1;
        }
    };
    for (packet, number) in packets.iter().zip(0..) {
        let mut burst = Burst::new();
        burst.push(Frame {
            data: packet,
            wire_length: u32::try_from(packet.len()).unwrap(),
            timestamp: Timestamp::from_micros(1_000_000 + number * 1_000),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        });
        worker.burst(burst, &mut sink);
    }
    worker.finish(&mut sink);
    let counts = worker.rule_counts();
    let steps = counts.iter().map(|c| c.steps).collect();
    let created = counts.iter().map(|c| c.created).collect();
    Found {
        alerts,
        steps,
        created,
        rules,
    }
}

/// A property of one event.
fn lone(id: usize, condition: &str) -> String {
    let condition = condition.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<property property_id=\"{id}\" type_property=\"ATTACK\">\
         <event boolean_expression=\"{condition}\"/></property>"
    )
}

fn packets() -> Vec<Vec<u8>> {
    vec![
        ipv4("10.0.0.1", b"x"),
        ipv4("10.255.255.255", b"HELO example"),
        ipv4("11.0.0.0", b"helo example"),
        ipv4("192.0.2.1", b"Helo"),
        ipv4("192.0.2.2", b"id=0123456789"),
        ipv6("2001:db8::1", b"x"),
        ipv6("2001:db9::1", b"nothing"),
    ]
}

/// Each condition, the packets that it holds for, and what the index asks first.
#[test]
fn packets_that_a_condition_excludes_are_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let list = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    list("bad.txt", "192.0.2.0/31\n2001:db9::/32\n");
    list("sizes.txt", "9\n12\n");
    let cases = [
        ("(ip.src == 10.0.0.0/8)", 2, "ip.src in 10.0.0.0/8"),
        ("('10.0.0.0/8' == ip.src)", 2, "ip.src in 10.0.0.0/8"),
        (
            "(ipv6.src == 2001:db8::/32)",
            1,
            "ipv6.src in 2001:db8::/32",
        ),
        ("(ip.src == 192.0.2.1)", 1, "ip.src == '192.0.2.1'"),
        (
            "(#in_list(ip.src, 'bad') == true)",
            1,
            "ip.src in list 'bad' of 2",
        ),
        (
            "#in_list(ipv6.src, 'bad')",
            1,
            "ipv6.src in list 'bad' of 2",
        ),
        (
            "(#in_list(udp.len, 'sizes') != 0)",
            3,
            "udp.len in list 'sizes' of 2",
        ),
        (
            "(#strcasestr(udp.p_payload, 'hELO') == true)",
            3,
            "udp.p_payload contains 'helo', any case",
        ),
        (
            "#equals_nocase('HELO', udp.p_payload)",
            1,
            "udp.p_payload == 'helo', any case",
        ),
        ("(udp.len == 0x9)", 2, "udp.len == 9"),
    ];
    let rules: String = (1..)
        .zip(cases)
        .map(|(id, (condition, ..))| lone(id, condition))
        .collect();
    let found = run(&rules, folder.path(), &packets());
    for (place, (condition, count, access)) in cases.into_iter().enumerate() {
        assert_eq!(found.alerts[place], count, "{condition}");
        assert_eq!(found.steps[place], count, "{condition}");
        let text = explain::text(&found.rules, place, 10).unwrap();
        let line = format!("looked at for  {access}\n");
        assert!(text.contains(&line), "{condition}:\n{text}");
    }
}

/// Conditions that no index answers.
#[test]
fn other_conditions_hold_for_the_right_packets() {
    let cases = [
        ("(ip.src != 10.0.0.0/8)", 3),
        ("(0.0.0.0/0 == ip.src)", 5),
        ("(ethernet.src == 00:11:22:33:44:55)", 7),
        ("(udp.len > -1)", 7),
        ("((udp.len - 10) == -1)", 2),
        ("((udp.len - 10) < -0x1)", 0),
        ("(#regex(udp.p_payload, '^id=[0-9]{10}$') == true)", 1),
        ("(#regex(udp.p_payload, '(?i)helo|nothing') == true)", 4),
        ("(#regex(udp.p_payload, 'o\\\\b') == 1)", 2),
        ("((ip.src == 10.0.0.0/8) || (ip.src == 192.0.2.0/24))", 4),
        ("(#strcasestr(udp.p_payload, 'helo') == false)", 4),
    ];
    let rules: String = (1..)
        .zip(cases)
        .map(|(id, (condition, _))| lone(id, condition))
        .collect();
    let found = run(&rules, Path::new("."), &packets());
    for (place, (condition, count)) in cases.into_iter().enumerate() {
        assert_eq!(found.alerts[place], count, "{condition}");
    }
}

/// A thousand networks cost a packet no more looks than those it is in.
#[test]
fn many_networks_are_looked_up_at_once() {
    let rules: String = (0..1_000)
        .map(|n| {
            lone(
                n + 1,
                &format!("(ip.src == 10.{}.{}.0/24)", n / 250, n % 250),
            )
        })
        .collect();
    let packets = [ipv4("10.2.7.9", b"x"), ipv4("11.2.7.9", b"x")];
    let found = run(&rules, Path::new("."), &packets);
    let looked: Vec<usize> = (0..1_000).filter(|n| found.steps[*n] > 0).collect();
    assert_eq!(looked, [507]);
    assert_eq!(found.alerts.iter().sum::<u64>(), 1);
}

/// Compat mode has none of it.
#[test]
fn the_published_engine_has_no_such_literals() {
    for condition in [
        "(ip.src == 10.0.0.1)",
        "(ipv6.src == ::1)",
        "(tcp.flags == 0x2)",
        "(#regex(udp.p_payload, 'x') == true)",
        "(#strcasestr(udp.p_payload, 'x') == true)",
    ] {
        let text = format!("<beginning>{}</beginning>", lone(1, condition));
        let lists = Lists::default();
        let read = |mode| -> load::FileResult { read_bytes("x", text.as_bytes(), mode, &lists) };
        assert!(!read(Mode::Standard).has_errors(), "{condition}");
        assert!(read(Mode::Compat).has_errors(), "{condition}");
    }
}

/// A part that comes as often as it must, in its time, and not when it comes once less.
#[test]
fn parts_come_as_often_as_asked() {
    let rule = |times: u8, delay: &str| {
        format!(
            r#"<property property_id="{times}" type_property="ATTACK" value="THEN"
                delay_units="ms" delay_min="0+" delay_max="50">
              <event event_id="1" boolean_expression="(#strstr(udp.p_payload, 'start') == 1)"/>
              <operator value="THEN" delay_units="ms" delay_min="0+" delay_max="{delay}"
                repeat_times="{times}">
                <event event_id="2" boolean_expression="((ip.src == ip.src.1) &amp;&amp; (udp.len == 9))"/>
                <event event_id="3" boolean_expression="((ip.src == ip.src.2) &amp;&amp; (udp.len == 10))"/>
              </operator>
            </property>"#
        )
    };
    let source = "10.0.0.1";
    let mut packets = vec![ipv4(source, b"start")];
    for _ in 0..3 {
        packets.extend([
            ipv4(source, b"a"),
            ipv4("10.0.0.2", b"b"),
            ipv4(source, b"bb"),
        ]);
    }
    let rules: String = (1..=5).map(|times| rule(times, "2")).collect();
    let found = run(&rules, Path::new("."), &packets);
    assert_eq!(found.alerts, [1, 1, 1, 0, 0]);
    let slow: String = (1..=3).map(|times| rule(times, "1")).collect();
    let found = run(&slow, Path::new("."), &packets);
    assert_eq!(found.alerts, [0, 0, 0]);
}

/// Who floods what precedes does not slow what follows: one of them answers for all.
#[test]
fn one_of_many_that_precede_answers_for_all() {
    let rule = r#"<property property_id="1" type_property="SECURITY" value="BEFORE"
        delay_units="s" delay_min="0+" delay_max="5">
        <event event_id="1" boolean_expression="(udp.len == 9)"/>
        <event event_id="2" boolean_expression="((udp.len == 10) &amp;&amp; (ip.src == ip.src.1))"/>
        </property>"#;
    let source = "10.0.0.1";
    let mut packets = vec![ipv4(source, b"bb"); 500];
    packets.extend(vec![ipv4(source, b"a"); 100]);
    packets.extend(vec![ipv4("10.0.0.2", b"a"); 3]);
    let found = run(rule, Path::new("."), &packets);
    assert_eq!(found.alerts, [3]);
    assert_eq!(found.created, [503]);
}

/// "Then not b" is "a NOT b", with the delay of the `THEN`.
#[test]
fn a_not_of_one_part_is_that_of_two() {
    let event = |number: u8, text: &str| {
        let tie = match number {
            1 => "(ip.src != 0)",
            _ => "(ip.src == ip.src.1)",
        };
        let condition = format!("((#strstr(udp.p_payload, '{text}') == 1) &amp;&amp; {tie})");
        format!(r#"<event event_id="{number}" boolean_expression="{condition}"/>"#)
    };
    let rule = |id: u8, value: &str, trigger: &str| {
        let attributes = format!(
            r#"property_id="{id}" type_property="ATTACK" value="{value}" delay_units="ms" delay_max="3""#
        );
        format!(
            "<property {attributes}>{}{trigger}</property>",
            event(1, "ask")
        )
    };
    let negated = format!(r#"<operator value="NOT">{}</operator>"#, event(2, "answer"));
    let rules = rule(1, "NOT", &event(2, "answer")) + &rule(2, "THEN", &negated);
    let texts: [&[u8]; 6] = [b"ask", b"answer", b"ask", b"x", b"x", b"x"];
    let mut packets: Vec<Vec<u8>> = texts.iter().map(|text| ipv4("10.0.0.1", text)).collect();
    assert_eq!(run(&rules, Path::new("."), &packets).alerts, [1, 1]);
    packets.truncate(2);
    assert_eq!(run(&rules, Path::new("."), &packets).alerts, [0, 0]);
}

/// The last repetition is what a rule of type SECURITY waits for.
#[test]
fn a_missing_last_repetition_is_reported() {
    let rule = |id: u8, times: u8| {
        format!(
            r#"<property property_id="{id}" type_property="SECURITY" value="THEN" repeat_times="{times}"
                delay_units="ms" delay_min="0+" delay_max="2">
              <event event_id="1" boolean_expression="((udp.len == 9) &amp;&amp; (ip.src != 0))"/>
              <event event_id="2" boolean_expression="((udp.len == 10) &amp;&amp; (ip.src == ip.src.1))"/>
            </property>"#
        )
    };
    let source = "10.0.0.1";
    let pair = [ipv4(source, b"a"), ipv4(source, b"bb")];
    let broken = [&pair[..], &pair[..1]].concat();
    let whole = [&pair[..], &pair[..]].concat();
    let rules = rule(1, 2) + &rule(2, 3);
    let folder = Path::new(".");
    assert_eq!(run_with(&rules, folder, &broken, true).alerts, [1, 0]);
    assert_eq!(run_with(&rules, folder, &whole, true).alerts, [0, 0]);
}

/// An event by itself, and what `rules show` makes of it.
#[test]
fn repetitions_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rule.xml");
    let property = r#"<property property_id="7" type_property="ATTACK" repeat_times="3"
        delay_units="ms" delay_min="0+" delay_max="1" description="three in a row">
      <event description="small" boolean_expression="(udp.len == 9)"/></property>"#;
    std::fs::write(&file, format!("<beginning>{property}</beginning>")).unwrap();
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_wirelynx"))
        .args(["rules", "show", "7", "--rules"])
        .arg(&file)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let tree = "
tree
  THEN  after 0+ to 1 ms
  |- THEN  after 0+ to 1 ms
  |  |- event 2  small  (event 1, repeated)
  |  `- event 3  small  (event 1, repeated)
  `- event 1  small
";
    assert!(shown.contains(tree), "{shown}");
    assert!(
        shown.contains("\n  2  (udp.len == 9)  (event 1, repeated)\n"),
        "{shown}"
    );
}
