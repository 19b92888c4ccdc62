//! The same rules and packets through the engine and the oracle.

use crate::alert::Alert;
use crate::common;
use crate::rule::Rule;
use crate::semantics::Oracle;
use crate::traffic::Owned;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use wirelynx::capture::Burst;
use wirelynx::dissect::attribute::{AttributeId, View};
use wirelynx::expr::Mode;
use wirelynx::expr::functions::lists::Lists;
use wirelynx::output::Event;
use wirelynx::output::alert::{self, Format};
use wirelynx::rules::RuleSet;
use wirelynx::rules::joins::{Limits, WORK_MAX};
use wirelynx::rules::load::read_bytes;
use wirelynx::rules::property::Property;
use wirelynx::worker::{Scope, Settings, Sink, Worker};

/// Instances that the engine may have: more than the oracle lets a rule have attempts.
pub(crate) const LIMITS: Limits = Limits {
    per_rule: 2_000,
    total: 1_000_000,
    work: WORK_MAX,
};

/// What both say of one rule.
pub(crate) struct Outcome {
    pub(crate) engine: Vec<Alert>,
    /// Instances that the engine gave up for want of room.
    pub(crate) evicted: u64,
    /// None: the oracle gave the rule up.
    pub(crate) oracle: Option<Vec<Alert>>,
}

impl Outcome {
    pub(crate) fn differs(&self) -> bool {
        let oracle = self.oracle.as_ref();
        oracle.is_some_and(|oracle| comparable(&self.engine) != comparable(oracle))
    }
}

/// The order of alerts that are due at one time is not defined: they are compared sorted.
fn comparable(alerts: &[Alert]) -> Vec<Alert> {
    let mut alerts = alerts.to_vec();
    let same = |a: &Alert, b: &Alert| a.packet == 0 && b.packet == 0 && a.time_us == b.time_us;
    alerts.chunk_by_mut(same).for_each(<[Alert]>::sort);
    alerts
}

/// The properties of a rule file, which has no mistakes.
pub(crate) fn read(xml: &str) -> Vec<Property> {
    let text = format!("<beginning>{xml}</beginning>");
    let lists = Lists::new(Vec::new());
    let read = read_bytes("rules", text.as_bytes(), Mode::Standard, &lists);
    let errors = read.diagnostics.iter().filter(|d| d.is_error());
    let errors: Vec<String> = errors.map(|d| d.render(false)).collect();
    assert!(errors.is_empty(), "{}\n{xml}", errors.join("\n"));
    read.properties
}

struct Both<'p> {
    rules: Arc<RuleSet>,
    engine: Vec<Vec<Alert>>,
    oracle: Oracle<'p>,
}

impl Sink for Both<'_> {
    fn event(&mut self, event: Event) {
        let Event::Alert(alert) = event else {
            return;
        };
        let rule = usize::try_from(alert.rule).unwrap();
        let program = &self.rules.programs[rule];
        let mut line = String::new();
        alert::write(&mut line, Format::MmtCsv, program, &alert);
        let history = line.split_once(",{").unwrap().1;
        self.engine[rule].push(Alert {
            time_us: alert.timestamp.micros(),
            packet: alert.packet,
            verdict: alert.verdict.name(),
            history: format!("{{{history}"),
        });
    }

    fn packet(&mut self, view: &View<'_>) {
        self.oracle.packet(view);
    }
}

/// Run these rules on these packets; one outcome a rule.
pub(crate) fn run(rules: &[Rule], packets: &[Owned]) -> Vec<Outcome> {
    run_within(rules, packets, LIMITS)
}

/// The same within these bounds.
pub(crate) fn run_within(rules: &[Rule], packets: &[Owned], limits: Limits) -> Vec<Outcome> {
    let xml: String = (1..).zip(rules).map(|(id, rule)| rule.xml(id)).collect();
    run_xml(&xml, packets, limits)
}

/// The same for rules as written.
pub(crate) fn run_xml(xml: &str, packets: &[Owned], limits: Limits) -> Vec<Outcome> {
    let properties = read(xml);
    let (rules, failed) = RuleSet::new(properties.clone(), Mode::Standard);
    assert!(failed.is_empty(), "{failed:?}");
    let rules = Arc::new(rules);
    let settings = Settings {
        instances: Some(limits),
        seed: 0x5eed,
        ..common::small()
    };
    let mut worker = Worker::new(Arc::clone(&rules), &settings, Scope::Rules);
    let mut both = Both {
        engine: vec![Vec::new(); properties.len()],
        oracle: Oracle::new(&properties),
        rules,
    };
    for packets in packets.chunks(7) {
        let mut burst = Burst::new();
        burst.extend(packets.iter().map(Owned::frame));
        worker.burst(burst, &mut both);
    }
    worker.finish(&mut both);
    both.oracle.finish();
    let counters = worker.counters().rules;
    assert!(counters.live <= u64::try_from(limits.total).unwrap());
    assert_eq!(counters.instances.iter().sum::<u64>(), counters.live);
    let oracle = both.oracle;
    let outcome = |(number, engine)| Outcome {
        engine,
        evicted: counters.evicted[number],
        oracle: oracle.alerts(number).map(<[Alert]>::to_vec),
    };
    both.engine.into_iter().enumerate().map(outcome).collect()
}

/// A rule and packets on which engine and oracle differ, as few as can be found.
pub(crate) fn minimize(rule: &Rule, packets: &[Owned]) -> (Rule, Vec<Owned>) {
    let (mut rule, mut packets) = (rule.clone(), packets.to_vec());
    let differs = |rule: &Rule, packets: &[Owned]| {
        run(std::slice::from_ref(rule), packets)
            .iter()
            .any(Outcome::differs)
    };
    loop {
        let mut smaller = false;
        let mut step = packets.len().div_ceil(2).max(1);
        loop {
            let mut start = 0;
            while start < packets.len() {
                let end = (start + step).min(packets.len());
                let mut fewer = packets.clone();
                fewer.drain(start..end);
                if differs(&rule, &fewer) {
                    packets = fewer;
                    smaller = true;
                } else {
                    start = end;
                }
            }
            if step == 1 {
                break;
            }
            step = step.div_ceil(2);
        }
        while let Some(less) = rule
            .smaller()
            .into_iter()
            .find(|less| differs(less, &packets))
        {
            rule = less;
            smaller = true;
        }
        if !smaller {
            return (rule, packets);
        }
    }
}

/// A difference in words: the rule, the packets, and what both say.
pub(crate) fn describe(rule: &Rule, packets: &[Owned]) -> String {
    let outcome = run(std::slice::from_ref(rule), packets).remove(0);
    let mut text = rule.xml(1);
    for (number, packet) in (1..).zip(packets) {
        let (time_us, hex) = (packet.time_us, packet.hex());
        let _ = writeln!(text, "packet {number} at {time_us} us: {hex}");
        let _ = writeln!(text, "    {}", values(&text, packet));
    }
    let oracle = outcome.oracle.unwrap_or_default();
    for (name, alerts) in [("engine", outcome.engine), ("oracle", oracle)] {
        let _ = writeln!(text, "the {name} says {} alerts", alerts.len());
        for alert in comparable(&alerts) {
            let (time_us, packet) = (alert.time_us, alert.packet);
            let (verdict, history) = (alert.verdict, alert.history);
            let _ = writeln!(
                text,
                "    {verdict} at {time_us} us, packet {packet}: {history}"
            );
        }
    }
    text
}

/// The values that a packet has of the attributes that a text names.
fn values(text: &str, packet: &Owned) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '.' && c != '_');
    let named = words.filter_map(|word| {
        let mut parts = word.split('.');
        AttributeId::from_names(parts.next()?, parts.next()?)
    });
    let named: BTreeSet<AttributeId> = named.collect();
    let value = |id| Some(format!("{id}={}", packet.shown(id)?));
    let values: Vec<String> = named.into_iter().filter_map(value).collect();
    values.join(" ")
}
