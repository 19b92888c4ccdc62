//! Does the engine say what the language says? Random rules over random and real packets go through
//! the engine and through an oracle, a second evaluator that is written to be read ([`semantics`]).
//! Every alert must be the same.
//!
//! `WIRELYNX_SEED=N` repeats the packets and rules of a difference, `WIRELYNX_CASES=N` sets how
//! many rules are tried. [`corners`] has small cases that both must get right.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod alert;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod conditions;
mod corners;
mod expression;
mod generate;
mod random;
mod reload;
mod rule;
mod semantics;
mod traffic;

use alert::Alert;
use compare::Outcome;
use generate::Subject;
use random::Random;
use std::path::{Path, PathBuf};
use std::time::Instant;
use traffic::Owned;
use wirelynx::rules::joins::Limits;

/// Rules that run together over the same packets.
const RULES_TOGETHER: usize = 20;

/// What was compared.
#[derive(Debug, Default)]
struct Sums {
    cases: usize,
    packets: usize,
    alerts: usize,
    with_alerts: usize,
    given_up: usize,
}

fn number(variable: &str, usual: u64) -> u64 {
    let is_number = |text: String| text.parse().unwrap_or_else(|_| panic!("{variable}={text}"));
    std::env::var(variable).map_or(usual, is_number)
}

impl Sums {
    fn add(&mut self, outcome: &Outcome, packets: usize) {
        self.cases += 1;
        self.packets += packets;
        match &outcome.oracle {
            None => self.given_up += 1,
            Some(alerts) => {
                self.alerts += alerts.len();
                self.with_alerts += usize::from(!alerts.is_empty());
            }
        }
    }

    fn percent(&self, part: usize) -> f64 {
        let [part, all] = [part, self.cases].map(|n| f64::from(u32::try_from(n).unwrap()));
        100.0 * part / all.max(1.0)
    }
}

impl std::fmt::Display for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [with_alerts, given_up] =
            [self.with_alerts, self.given_up].map(|part| self.percent(part));
        write!(
            f,
            "{} rules, {} packets, {} alerts, {with_alerts:.1} % of the rules with some, \
             {given_up:.1} % given up",
            self.cases, self.packets, self.alerts
        )
    }
}

/// Random rules about these packets; a difference ends the test.
fn compare(random: &mut Random, subject: &Subject, packets: &[Owned], sums: &mut Sums, name: &str) {
    let rules: Vec<_> = (0..RULES_TOGETHER)
        .map(|_| generate::rule(random, subject))
        .collect();
    let outcomes = compare::run(&rules, packets);
    for (rule, outcome) in rules.iter().zip(&outcomes) {
        sums.add(outcome, packets.len());
        if outcome.differs() {
            let (rule, packets) = compare::minimize(rule, packets);
            let text = compare::describe(&rule, &packets);
            panic!("{name} WIRELYNX_CASES=1:\n{text}");
        }
    }
}

/// Seeds of so many cases, each of them for some rules together.
fn seeds(usual: u64) -> impl Iterator<Item = u64> {
    let first = number("WIRELYNX_SEED", 1);
    let cases = number("WIRELYNX_CASES", usual);
    let rules = u64::try_from(RULES_TOGETHER).unwrap();
    first..first + cases.div_ceil(rules)
}

#[test]
fn random_rules_on_random_packets() {
    let start = Instant::now();
    let mut sums = Sums::default();
    for seed in seeds(40_000) {
        let mut random = Random::new(seed);
        let count = random.of(&[10, 20, 40, 60]);
        let packets = traffic::packets(&mut random, count);
        let name = format!("WIRELYNX_SEED={seed}");
        compare(&mut random, &Subject::random(), &packets, &mut sums, &name);
    }
    println!(
        "random packets: {sums}, {:.1} s",
        start.elapsed().as_secs_f32()
    );
    if sums.cases >= 1_000 {
        assert!(sums.percent(sums.with_alerts) > 30.0, "{sums}");
        assert!(sums.percent(sums.given_up) < 3.0, "{sums}");
    }
}

/// Captures with enough packets in few bytes.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let columns = text
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let is_fit = |columns: &Vec<&str>| {
        let [bytes, packets] = [3, 4].map(|column| columns[column].parse::<u64>().unwrap());
        packets >= 20 && bytes < 3_000_000
    };
    columns
        .filter(is_fit)
        .map(|columns| folder.join(columns[0]))
        .collect()
}

#[test]
fn random_rules_on_real_packets() {
    let start = Instant::now();
    let seeds = seeds(10_000);
    let Some(folder) = common::captures() else {
        println!(
            "NOT RUN for want of captures: {} cases",
            seeds.count() * RULES_TOGETHER
        );
        return;
    };
    let captures = captures(&folder);
    let mut sums = Sums::default();
    for seed in seeds {
        let mut random = Random::new(seed);
        let path = &captures[random.below(captures.len())];
        let packets = traffic::read(path, 1_000);
        if packets.is_empty() {
            // Two published files are of another format.
            continue;
        }
        let from = random.below(packets.len());
        let packets: Vec<Owned> = packets.into_iter().skip(from).take(80).collect();
        let name = format!("{} WIRELYNX_SEED={seed}", path.display());
        compare(
            &mut random,
            &Subject::of(&packets),
            &packets,
            &mut sums,
            &name,
        );
    }
    println!(
        "real packets: {sums}, {:.1} s",
        start.elapsed().as_secs_f32()
    );
    if sums.cases >= 1_000 {
        assert!(sums.percent(sums.with_alerts) > 20.0, "{sums}");
        assert!(sums.percent(sums.given_up) < 10.0, "{sums}");
    }
}

/// Where instances are bounded the engine gives some up, and what is lost with them is not defined.
/// But nothing else changes: a rule of which none was given up says what it says without bounds,
/// and no rule speaks of packets that it has not seen.
#[test]
fn bounds_on_instances_concern_nobody_else() {
    let (mut evicting, mut same) = (0, 0);
    for seed in seeds(4_000) {
        let mut random = Random::new(seed);
        let packets = traffic::packets(&mut random, 40);
        let rules: Vec<_> = (0..RULES_TOGETHER)
            .map(|_| generate::rule(&mut random, &Subject::random()))
            .collect();
        let limits = Limits {
            per_rule: random.of(&[1, 2, 3, 5]),
            ..compare::LIMITS
        };
        for (rule, outcome) in rules
            .iter()
            .zip(compare::run_within(&rules, &packets, limits))
        {
            let in_time = |alert: &Alert| alert.packet <= 40 && alert.history.contains("event_");
            assert!(outcome.engine.iter().all(in_time), "WIRELYNX_SEED={seed}");
            if outcome.evicted > 0 {
                evicting += 1;
            } else {
                same += 1;
                assert!(!outcome.differs(), "WIRELYNX_SEED={seed}: {}", rule.xml(1));
            }
        }
    }
    println!("bounded: {evicting} rules gave something up, {same} did not");
    assert!(same > 0 && evicting > 0 || evicting + same < 1_000);
}

#[test]
fn corners_of_the_language() {
    let mut findings = Vec::new();
    for corner in corners::CORNERS {
        let packets = corner.packets();
        let outcomes = compare::run_xml(&corner.xml(), &packets, compare::LIMITS);
        let outcome = &outcomes[0];
        let oracle = outcome.oracle.as_ref().unwrap();
        if outcome.engine.len() != corner.alerts || outcome.differs() {
            let (what, engine) = (corner.what, &outcome.engine);
            findings.push(format!(
                "{what}\n    the engine says {engine:?}\n    the oracle says {oracle:?}"
            ));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// When the bound on the instances of all rules is reached, a rule that has none begins all the
/// same, and keeps the verdict of a single packet.
#[test]
fn a_full_table_silences_no_rule_that_has_no_part_in_it() {
    let waits = "<property property_id='1' type_property='ATTACK' value='THEN' delay_min='0+' \
        delay_max='60'><event boolean_expression='(tcp.fin == 1)'/>\
        <event boolean_expression='(tcp.rst == 1)'/></property>";
    let either = "<property property_id='2' type_property='ATTACK' value='OR'>\
        <event boolean_expression='(tcp.syn == 1)'/>\
        <event boolean_expression='(tcp.psh == 1)'/></property>";
    let (fin, syn) = (1, 2);
    let packets = [(1, fin), (2, fin), (3, syn)].map(|(time_us, flags)| Owned::tcp(time_us, flags));
    let limits = Limits {
        total: 2,
        ..compare::LIMITS
    };
    let outcomes = compare::run_xml(&format!("{waits}{either}"), &packets, limits);
    let oracle = outcomes[1].oracle.as_ref().map(Vec::len);
    let found = (outcomes[1].engine.len(), outcomes[1].evicted, oracle);
    assert_eq!(found, (1, 0, Some(1)));
}

/// Random packets are never late: what late ones bring is not defined, but that it does not depend
/// on other rules.
#[test]
fn deadlines_of_late_packets_do_not_depend_on_other_rules() {
    let answered = "<property property_id='1' type_property='SECURITY' value='THEN' delay_min='0+' \
                    delay_max='2'><event boolean_expression='(tcp.fin == 1)'/>\
                    <event boolean_expression='(tcp.rst == 1)'/></property>";
    let waits = "<property property_id='2' type_property='SECURITY' value='THEN' delay_min='0+' \
                 delay_max='1' delay_units='h'><event boolean_expression='(tcp.syn == 1)'/>\
                 <event boolean_expression='(tcp.psh == 1)'/></property>";
    let (fin, syn, rst, ack) = (1, 2, 4, 16);
    let packets = [(900, syn), (1_000, ack), (10, fin), (13, ack), (11, rst)];
    let packets = packets.map(|(time_s, flags)| Owned::tcp(time_s * 1_000_000, flags));
    let alerts = |xml: &str| {
        compare::run_xml(xml, &packets, compare::LIMITS)[0]
            .engine
            .len()
    };
    assert_eq!(alerts(answered), alerts(&format!("{answered}{waits}")));
}

/// Two deadlines that others set come before the next ones of the same tick of the wheel.
#[test]
fn deadlines_set_by_deadlines_keep_their_order_within_a_tick() {
    let rule = "<property property_id='1' type_property='ATTACK' value='OR'>\
        <operator value='NOT' delay_units='mms' delay_max='1'>\
        <operator value='NOT' delay_units='ms' delay_max='1'>\
        <event boolean_expression='(tcp.ack == 1)'/>\
        <event boolean_expression='(tcp.fin == 1)'/></operator>\
        <event boolean_expression='(tcp.rst == 1)'/></operator>\
        <operator value='NOT' delay_units='ms' delay_max='1'>\
        <event boolean_expression='(tcp.syn == 1)'/>\
        <event boolean_expression='(tcp.psh == 1)'/></operator></property>";
    let (syn, ack) = (2, 16);
    let packets = [(100, syn | ack), (140, syn | ack)].map(|(us, flags)| Owned::tcp(us, flags));
    let outcome = &compare::run_xml(rule, &packets, compare::LIMITS)[0];
    assert_eq!(outcome.engine.len(), 4);
    assert!(!outcome.differs(), "{:?}", outcome.engine);
}
