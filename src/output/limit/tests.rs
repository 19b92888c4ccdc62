use super::super::alert::{self, Format};
use super::super::testing::check;
use super::*;
use crate::dissect::attribute::Value;
use crate::expr::Mode;
use crate::expr::functions::lists::Lists;
use crate::ring::Position;
use crate::rules::load::read_bytes;
use crate::rules::verdict::Verdict;
use serde_json::Value as Json;

/// Two events of one source, with a destination each.
const SCAN: &str = "<property value='THEN' delay_units='s' delay_min='0+' delay_max='5' \
    property_id='1' type_property='ATTACK' description='scan'>\
    <event boolean_expression='((tcp.flags == 2) &amp;&amp; (ip.dst != ip.src))'/>\
    <event boolean_expression='((tcp.rst == 1) &amp;&amp; (ip.dst == ip.src.1) &amp;&amp;\
    (ip.src != 0))'/>\
    </property>";

/// One packet.
const PACKET: &str = "<property value='THEN' delay_min='0' delay_max='0' property_id='2' \
    type_property='TEST' description='packet'>\
    <event boolean_expression='((ip.src == ip.src) &amp;&amp; (ip.dst == ip.dst))'/>\
    <event boolean_expression='(tcp.flags == 0)'/></property>";

/// Without an address.
const BARE: &str = "<property value='THEN' delay_min='0' delay_max='0' property_id='3' \
    type_property='ATTACK' description='bare'><event boolean_expression='(tcp.flags == 41)'/>\
    <event boolean_expression='(tcp.urg == 1)'/></property>";

/// Other rules before these use other attributes.
const OTHER: &str = "<property value='THEN' delay_min='0' delay_max='0' property_id='4' \
    type_property='ATTACK' description='other'><event boolean_expression='(ip.dst == ip.src)'/>\
    <event boolean_expression='(ip.src == ip.dst)'/></property>";

/// Both ends in common.
const PAIR: &str = "<property value='THEN' delay_units='s' delay_min='0+' delay_max='5' \
    property_id='5' type_property='ATTACK' description='pair'>\
    <event boolean_expression='((ip.src != 0) &amp;&amp; (ip.dst != 0))'/>\
    <event boolean_expression='((ip.src == ip.src.1) &amp;&amp; (ip.dst == ip.dst.1))'/></property>";

fn rules(all: &[&str]) -> Arc<RuleSet> {
    let text = format!("<beginning>{}</beginning>", all.concat());
    let read = read_bytes("rules", text.as_bytes(), Mode::Standard, &Lists::default());
    assert!(!read.has_errors(), "{:?}", read.diagnostics);
    Arc::new(RuleSet::new(read.properties, Mode::Standard).0)
}

/// An alert of a rule after so many milliseconds, with these ends of addresses in its first event.
fn alert(rules: &RuleSet, rule: u32, ms: u64, [source, destination]: [u8; 2]) -> Alert {
    let place = rules
        .programs
        .iter()
        .position(|p| p.property.id == rule)
        .unwrap();
    let program = &rules.programs[place];
    let timestamp = Timestamp::from_micros(ms * 1_000);
    let mut record = vec![0; program.record_size];
    for (number, event) in (0..).zip(&program.events) {
        // A later event is the answer.
        let ends = match (rule, number) {
            (1, 1) => [destination, source],
            _ => [source, destination],
        };
        let addresses = ends.map(|end| [10, 0, 0, end]);
        let layout = &event.layout;
        layout.fill(
            &mut record[event.offset..],
            timestamp,
            ms,
            |position| match layout.fields[position].attribute.to_string().as_str() {
                "ip.src" => Some(Value::Bytes(&addresses[0])),
                "ip.dst" => Some(Value::Bytes(&addresses[1])),
                _ => Some(Value::Number(2)),
            },
        );
    }
    Alert {
        rule: u32::try_from(place).unwrap(),
        verdict: Verdict::Detected,
        timestamp,
        packet: ms,
        timed_out: false,
        bound: 0b110,
        record: record.into(),
        position: Position {
            packet: ms,
            ..Position::at(timestamp)
        },
    }
}

fn limiter(text: &str) -> Limiter {
    Limiter::new(text.parse().unwrap(), 7)
}

/// What is told: end, rule, number, first and last, all times in milliseconds.
fn told(limiter: &mut Limiter) -> Vec<(u64, u32, u64, u64, u64)> {
    let ms = |time: Timestamp| time.micros() / 1_000;
    let mut all = Vec::new();
    while let Some(summary) = limiter.next_summary() {
        let place = usize::try_from(summary.alert.rule).unwrap();
        let rule = summary.rules.programs[place].property.id;
        let [end, first, last] = [summary.timestamp, summary.first, summary.last].map(ms);
        all.push((end, rule, summary.suppressed, first, last));
    }
    all
}

#[test]
fn the_first_go_out_and_the_others_are_told_at_the_end_of_the_period() {
    let rules = rules(&[SCAN]);
    let mut limiter = limiter("2/10s");
    let mut out = |ms| {
        let admitted = limiter.admit(&rules, alert(&rules, 1, ms, [1, 2]));
        (admitted.is_some(), told(&mut limiter))
    };
    assert_eq!(out(1_000), (true, vec![]));
    assert_eq!(out(1_500), (true, vec![]));
    assert_eq!(out(2_000), (false, vec![]));
    assert_eq!(out(10_999), (false, vec![]));
    // The end of a period is the beginning of the next one.
    assert_eq!(out(11_000), (true, vec![(11_000, 1, 2, 2_000, 10_999)]));
    assert_eq!(out(11_001), (true, vec![]));
    // Without anything suppressed there is nothing to tell, and the next begins with its alert.
    assert_eq!(out(30_000), (true, vec![]));
    assert_eq!(out(39_000), (true, vec![]));
    assert_eq!(out(39_999), (false, vec![]));
    limiter.advance(Timestamp::from_micros(39_999_999));
    assert_eq!(told(&mut limiter), []);
    limiter.advance(Timestamp::from_micros(40_000_000));
    assert_eq!(told(&mut limiter), [(40_000, 1, 1, 39_999, 39_999)]);
    let counters = limiter.counters();
    let counters = counters.lock().unwrap();
    assert_eq!(counters.suppressed, BTreeMap::from([(1, 3)]));
    assert_eq!((counters.summaries, counters.cut), (2, 0));
}

#[test]
fn keys_are_what_events_have_in_common_or_addresses_or_nothing() {
    let rules = rules(&[SCAN, PACKET, BARE]);
    let mut limiter = limiter("1/1h");
    let mut out = |rule, ends, verdict, bound| {
        let alert = Alert {
            verdict,
            bound,
            ..alert(&rules, rule, 1_000, ends)
        };
        limiter.admit(&rules, alert).is_some()
    };
    let (detected, respected) = (Verdict::Detected, Verdict::Respected);
    // The scanned station does not matter, nor which event tells of the scanner.
    assert!(out(1, [1, 2], detected, 0b110));
    assert!(!out(1, [1, 3], detected, 0b010));
    assert!(!out(1, [1, 3], detected, 0b100));
    assert!(out(1, [2, 3], detected, 0b110));
    assert!(out(2, [1, 2], detected, 0b110));
    assert!(out(2, [1, 3], detected, 0b110));
    assert!(!out(2, [1, 3], detected, 0b110));
    assert!(
        out(2, [1, 3], respected, 0b110),
        "another verdict is other news"
    );
    assert!(out(3, [1, 2], detected, 0b110));
    assert!(!out(3, [3, 4], detected, 0b110));
    // Nothing was seen: the rule alone.
    assert!(out(1, [8, 8], detected, 0));
    assert!(!out(1, [9, 9], detected, 0));
}

#[test]
fn summaries_come_in_order_of_time_and_then_of_rules() {
    let rules = rules(&[PACKET, BARE, SCAN]);
    let mut limiter = limiter("1/10s");
    for (rule, ms, end) in [
        (2, 0, 1),
        (3, 5, 1),
        (1, 5, 1),
        (2, 5, 3),
        (2, 5, 2),
        (2, 3, 4),
    ] {
        for late in [0, 1] {
            limiter.admit(&rules, alert(&rules, rule, ms + late, [end, 9]));
        }
    }
    assert_eq!(told(&mut limiter), []);
    limiter.finish();
    let found: Vec<(u64, u32)> = told(&mut limiter).iter().map(|s| (s.0, s.1)).collect();
    let ends = [
        (10_000, 2),
        (10_003, 2),
        (10_005, 1),
        (10_005, 2),
        (10_005, 2),
        (10_005, 3),
    ];
    assert_eq!(found, ends);
    limiter.finish();
    assert_eq!(told(&mut limiter), []);
}

#[test]
fn with_too_many_keys_the_period_that_ends_first_is_cut() {
    let rules = rules(&[SCAN]);
    let limit = Limit {
        keys_max: 3,
        ..limiter("1/10s").limit
    };
    let mut limiter = Limiter::new(limit, 7);
    let mut out = |ms, source| {
        let admitted = limiter
            .admit(&rules, alert(&rules, 1, ms, [source, 9]))
            .is_some();
        (
            admitted,
            told(&mut limiter),
            limiter.periods.len(),
            limiter.ends.len(),
        )
    };
    for source in 1..=3 {
        assert!(out(u64::from(source), source).0);
    }
    assert!(!out(4, 1).0);
    let summary = (5, 1, 1, 4, 4);
    assert_eq!(out(5, 4), (true, vec![summary], 3, 3));
    // It begins anew; of the one cut for it there is nothing to tell.
    assert_eq!(out(6, 1), (true, vec![], 3, 3));
    assert!(!out(7, 4).0);
    assert_eq!(limiter.counters().lock().unwrap().cut, 2);
}

#[test]
fn a_wrong_time_silences_nobody() {
    let rules = rules(&[SCAN]);
    let mut limiter = limiter("1/10s");
    let mut out = |ms, source| {
        let alert = alert(&rules, 1, ms, [source, 9]);
        limiter.admit(&rules, alert).is_some()
    };
    assert!(out(20_000, 1));
    // A little late is within the period.
    assert!(!out(15_000, 1));
    // One packet from another year: the period ends, and its own ends with the next alert.
    assert!(out(4_000_000_000, 1));
    assert!(!out(4_000_000_001, 1));
    assert!(out(20_001, 1));
    assert!(!out(20_002, 1));
    limiter.finish();
    let numbers: Vec<_> = told(&mut limiter).iter().map(|s| (s.0, s.2)).collect();
    assert_eq!(numbers, [(30_000, 1), (20_001, 1), (30_001, 1)]);
}

#[test]
fn a_limit_outlives_its_rules() {
    let old = rules(&[PAIR, SCAN, BARE]);
    let new = rules(&[OTHER, BARE, SCAN, PAIR]);
    let mut limiter = limiter("1/10s");
    assert!(limiter.admit(&old, alert(&old, 1, 1, [1, 2])).is_some());
    assert!(limiter.admit(&old, alert(&old, 1, 2, [1, 2])).is_none());
    assert!(limiter.admit(&old, alert(&old, 3, 3, [1, 2])).is_some());
    assert!(limiter.admit(&old, alert(&old, 3, 4, [1, 2])).is_none());
    // At another place, and under other slots.
    assert!(limiter.admit(&new, alert(&new, 1, 5, [1, 3])).is_none());
    assert!(limiter.admit(&old, alert(&old, 5, 6, [1, 2])).is_some());
    assert!(limiter.admit(&new, alert(&new, 5, 7, [1, 2])).is_none());
    assert!(limiter.admit(&new, alert(&new, 5, 8, [2, 1])).is_some());
    limiter.finish();
    let summaries = [
        (10_001, 1, 2, 2, 5),
        (10_003, 3, 1, 4, 4),
        (10_006, 5, 1, 7, 7),
    ];
    assert_eq!(told(&mut limiter), summaries);
}

/// Whatever comes, each alert goes out or is told, and of no key more go out in a period than may.
#[test]
fn nothing_is_lost() {
    let rules = rules(&[SCAN, PACKET, BARE]);
    let limit = Limit {
        keys_max: 20,
        ..limiter("3/1s").limit
    };
    let mut limiter = Limiter::new(limit, 7);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    let (mut ms, mut admitted, mut summed) = (0, 0, 0);
    let mut ended = 0;
    for _ in 0..20_000 {
        ms += next(40);
        let [rule, source, destination] = [3, 12, 3].map(&mut next);
        let ends = [source, destination].map(|end| u8::try_from(end).unwrap());
        let alert = alert(&rules, u32::try_from(rule + 1).unwrap(), ms, ends);
        admitted += u64::from(limiter.admit(&rules, alert).is_some());
        for (end, .., suppressed, first, last) in told(&mut limiter) {
            assert!(ended <= end && end <= ms && first <= last && last <= end);
            ended = end;
            summed += suppressed;
        }
        assert!(limiter.periods.len() <= 20 && limiter.ends.len() == limiter.periods.len());
    }
    limiter.finish();
    summed += told(&mut limiter)
        .iter()
        .map(|summary| summary.2)
        .sum::<u64>();
    let counters = limiter.counters();
    let counters = counters.lock().unwrap();
    assert_eq!(admitted + summed, 20_000);
    assert_eq!(counters.suppressed.values().sum::<u64>(), summed);
    assert!(counters.cut > 0 && counters.summaries > 100 && summed > 1_000);
}

#[test]
fn limits_are_read() {
    let read = |text: &str| {
        text.parse::<Limit>()
            .map(|limit| (limit.alerts, limit.period))
    };
    let ok = |alerts, ms| Ok((alerts, Duration::from_millis(ms)));
    assert_eq!(read("10/60s"), ok(10, 60_000));
    assert_eq!(read("1/5m"), ok(1, 300_000));
    assert_eq!(read("7/24h"), ok(7, 86_400_000));
    assert_eq!(read("7/250ms"), ok(7, 250));
    for wrong in [
        "",
        "10",
        "10/60",
        "0/60s",
        "10/0s",
        "-1/60s",
        "10/s",
        "10/25h",
        "a/60s",
        "10/60 s",
        "10/99999999999999999999s",
        "10/9999999999999999h",
    ] {
        let error = read(wrong).unwrap_err();
        assert!(
            error.starts_with(&format!("'{wrong}' is no limit; expected")),
            "{error}"
        );
    }
}

#[test]
fn a_summary_fits_the_schema_and_says_how_many() {
    let rules = rules(&[SCAN]);
    let mut limiter = limiter("1/10s");
    for ms in [1_000, 2_000, 3_000, 4_000] {
        limiter.admit(&rules, alert(&rules, 1, ms, [1, 2]));
    }
    limiter.finish();
    let summary = limiter.next_summary().unwrap();
    let line = |format| {
        let mut line = String::new();
        alert::write_summary(&mut line, format, &summary);
        line
    };
    let expected = r#"{"timestamp":"1970-01-01T00:00:11.000000Z","event_type":"alert","alert":{"rule_id":1,"verdict":"detected","type":"attack","description":"scan","suppressed":3,"first":"1970-01-01T00:00:02.000000Z","last":"1970-01-01T00:00:04.000000Z","key":{"ip.src":"10.0.0.1"},"events":[]}}"#;
    assert_eq!(line(Format::Json), expected);
    let csv = line(Format::MmtCsv);
    let begin = "10,0,\"\",4.000000,1,\"detected\",\"attack\",\"scan (alerts suppressed: 3)\",{\"event_1\":";
    assert!(
        csv.starts_with(begin) && csv.contains("\"counter\":4000"),
        "{csv}"
    );
    let schema: Json =
        serde_json::from_str(include_str!("../../../docs/alert.schema.json")).unwrap();
    check(
        &serde_json::from_str(expected).unwrap(),
        &schema,
        &schema,
        "summary",
    );
}

/// The alerts of all scenarios are as the schema says, too.
#[test]
fn kept_alerts_fit_the_schema() {
    let schema: Json =
        serde_json::from_str(include_str!("../../../docs/alert.schema.json")).unwrap();
    for text in [
        include_str!("../../../tests/golden/demo/alerts.jsonl"),
        include_str!("../../../tests/golden/scans/alerts.jsonl"),
    ] {
        for line in text.lines() {
            check(
                &serde_json::from_str(line).unwrap(),
                &schema,
                &schema,
                "alert",
            );
        }
    }
}
