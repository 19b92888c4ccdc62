//! Does the engine say what the language says? Random rules over random and real packets go through
//! the engine and through an oracle, a second evaluator that is written to be read ([`semantics`]).
//! Every alert must be the same.
//!
//! `WIRELYNX_SEED=N` repeats the packets and rules of a difference, `WIRELYNX_CASES=N` sets how
//! many rules are tried. What differs and is known is listed in [`known`].

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod alert;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod expression;
mod generate;
mod known;
mod random;
mod rule;
mod semantics;
mod traffic;

use compare::Outcome;
use random::Random;
use std::time::Instant;

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

#[test]
fn random_rules_on_random_packets() {
    let start = Instant::now();
    let first = number("WIRELYNX_SEED", 1);
    let cases = number("WIRELYNX_CASES", 40_000);
    let mut sums = Sums::default();
    let batches = cases.div_ceil(u64::try_from(RULES_TOGETHER).unwrap());
    for seed in (first..).take(usize::try_from(batches).unwrap()) {
        let mut random = Random::new(seed);
        let count = random.of(&[10, 20, 40, 60]);
        let packets = traffic::packets(&mut random, count);
        let rules: Vec<_> = (0..RULES_TOGETHER)
            .map(|_| generate::rule(&mut random))
            .collect();
        let outcomes = compare::run(&rules, &packets);
        for (rule, outcome) in rules.iter().zip(&outcomes) {
            sums.add(outcome, packets.len());
            if outcome.differs() {
                let (rule, packets) = compare::minimize(rule, &packets);
                let text = compare::describe(&rule, &packets);
                panic!("WIRELYNX_SEED={seed} WIRELYNX_CASES=1:\n{text}");
            }
        }
    }
    let seconds = start.elapsed().as_secs_f32();
    println!(
        "WIRELYNX_SEED={first}: {} cases, {} packets, {} alerts, {:.1} % of the cases with some, \
         {:.1} % given up, {seconds:.1} s",
        sums.cases,
        sums.packets,
        sums.alerts,
        sums.percent(sums.with_alerts),
        sums.percent(sums.given_up)
    );
    if sums.cases >= 1_000 {
        assert!(sums.percent(sums.with_alerts) > 30.0, "{sums:?}");
        assert!(sums.percent(sums.given_up) < 3.0, "{sums:?}");
    }
}

#[test]
fn known_differences_are_still_there() {
    let mut findings = Vec::new();
    for difference in known::DIFFERENCES {
        let properties = compare::read(&difference.xml()).unwrap();
        let packets = difference.packets();
        let outcomes = compare::run_properties(&properties, &packets, compare::LIMITS);
        let outcome = &outcomes[0];
        let oracle = outcome.oracle.as_ref().unwrap();
        let alerts = (outcome.engine.len(), oracle.len());
        if alerts != difference.alerts || !outcome.differs() {
            let (what, engine) = (difference.what, &outcome.engine);
            findings.push(format!(
                "{what}\n    the engine says {engine:?}\n    the oracle says {oracle:?}"
            ));
        }
    }
    let advice = "where both agree now, take the difference off the list";
    assert!(findings.is_empty(), "{}\n{advice}", findings.join("\n"));
}
