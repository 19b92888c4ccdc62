//! Random rules on random packets: those of the oracle, and others that threads may disagree on.

use crate::generate::{self, Subject};
use crate::random::Random;
use crate::run::{Case, Trace, combinations, shape};
use crate::shapes;
use crate::traffic::{self as packets, Owned};
use std::sync::Arc;
use wirelynx::control::pipeline::Shape;
use wirelynx::expr::Mode;
use wirelynx::expr::functions::lists::Lists;
use wirelynx::rules::RuleSet;
use wirelynx::rules::joins::{Limits, WORK_MAX};
use wirelynx::rules::load::read_bytes;
use wirelynx::worker::Settings;

/// Rules that run together.
const RULES_TOGETHER: usize = 200;

/// What one rule may have of attempts: those that have more are left out, as they copy without end.
const LIMITS: Limits = Limits {
    per_rule: 1_000,
    total: 1_000_000,
    work: WORK_MAX,
};

/// What was compared.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) rules: usize,
    pub(crate) runs: usize,
    pub(crate) alerts: usize,
    pub(crate) left_out: usize,
}

/// Rules that are an error in this mode are left out.
pub(crate) fn rules(xml: &[String], mode: Mode) -> Arc<RuleSet> {
    let lists = Lists::new(Vec::new());
    let read = |rule: &String| {
        let text = format!("<beginning>{rule}</beginning>");
        read_bytes("rules", text.as_bytes(), mode, &lists).properties
    };
    let (rules, failed) = RuleSet::new(xml.iter().flat_map(read).collect(), mode);
    assert!(failed.is_empty(), "{failed:?}");
    Arc::new(rules)
}

pub(crate) fn trace(packets: &[Owned]) -> Trace {
    let mut trace = Trace::default();
    packets
        .iter()
        .for_each(|packet| trace.push(&packet.frame()));
    trace
}

pub(crate) fn case<'a>(rules: &'a dyn Fn() -> Arc<RuleSet>, seed: u64) -> Case<'a> {
    let mut settings = Settings {
        instances: Some(LIMITS),
        seed: 0x5eed,
        ..crate::common::small()
    };
    // Flows that are cut into pieces, in some cases.
    settings.flows.active_s = if seed.is_multiple_of(3) { 1 } else { 0 };
    Case {
        rules,
        settings,
        limit: None,
        shared: false,
    }
}

/// The rules that are none in error, and stay within their bounds.
fn bounded(xml: &[String], mode: Mode, trace: &Trace) -> Vec<String> {
    let one = |rule: &&String| !rules(std::slice::from_ref(rule), mode).programs.is_empty();
    let xml: Vec<String> = xml.iter().filter(one).cloned().collect();
    let made = || rules(&xml, mode);
    let evicted = case(&made, 0).inline(trace).evicted();
    let kept = xml.iter().zip(&evicted).filter(|(_, count)| **count == 0);
    kept.map(|(rule, _)| rule.clone()).collect()
}

/// One capture and some hundred rules, on a few combinations of threads.
pub(crate) fn compare(seed: u64, mode: Mode, sums: &mut Sums) {
    let mut random = Random::new(seed);
    let count = random.of(&[20, 40, 80, 200]);
    let mut packets = packets::packets(&mut random, count);
    shapes::disturb(&mut random, &mut packets);
    let trace = trace(&packets);
    let xml: Vec<String> = (1..=RULES_TOGETHER)
        .map(|id| match random.percent(30) {
            true => shapes::rule(&mut random, id),
            false => generate::rule(&mut random, &Subject::random()).xml(id),
        })
        .collect();
    let xml = bounded(&xml, mode, &trace);
    sums.left_out += RULES_TOGETHER - xml.len();
    sums.rules += xml.len();
    let made = || rules(&xml, mode);
    let case = case(&made, seed);
    let expected = case.inline(&trace);
    sums.alerts += expected.alerts.lines().count();
    for _ in 0..2 {
        let pair = random.of(&combinations());
        let shape = shape(pair, random.next());
        sums.runs += 1;
        if let Err(text) = case.compare(&trace, &shape, &expected) {
            let guilty = guilty(&xml, (mode, seed), &trace, &shape);
            panic!("WIRELYNX_SEED={seed} WIRELYNX_CASES=1, {mode:?}: {text}\n{guilty}");
        }
    }
}

/// The rules that alone make a difference, and packets enough for the first of them.
fn guilty(xml: &[String], (mode, seed): (Mode, u64), trace: &Trace, shape: &Shape) -> String {
    let differs = |rule: &String, trace: &Trace| {
        let one = [rule.clone()];
        let made = || rules(&one, mode);
        let case = case(&made, seed);
        let expected = case.inline(trace);
        case.compare(trace, shape, &expected).err()
    };
    let Some(rule) = xml.iter().find(|rule| differs(rule, trace).is_some()) else {
        return "no rule makes a difference alone".to_owned();
    };
    let mut least = trace.clone();
    let mut place = 0;
    while place < least.len() {
        let fewer = least.without(place);
        match differs(rule, &fewer) {
            Some(_) => least = fewer,
            None => place += 1,
        }
    }
    let mut text = format!("{rule}\n{}\n", differs(rule, &least).unwrap_or_default());
    for frame in least.frames() {
        text.push_str(&format!(
            "{} us: {:02x?}\n",
            frame.timestamp.micros(),
            frame.data
        ));
    }
    text
}
