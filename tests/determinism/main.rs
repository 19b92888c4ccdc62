//! The verdict does not depend on the number of threads: for any number of workers and security
//! workers, and however these are scheduled, alerts and flow records are those of one worker, byte
//! by byte and in the same order.
//!
//! `WIRELYNX_SEED=N` and `WIRELYNX_CASES=N` set the random rules, as in the oracle;
//! `WIRELYNX_ALL=1` runs all combinations of threads on the large mix as well.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

#[path = "../oracle/alert.rs"]
#[allow(dead_code, reason = "the oracle uses the rest")]
mod alert;
#[path = "../common/mod.rs"]
mod common;
mod corners;
#[path = "../oracle/expression.rs"]
#[allow(dead_code, reason = "the oracle uses the rest")]
mod expression;
#[path = "../oracle/generate.rs"]
#[allow(dead_code, reason = "the oracle uses the rest")]
mod generate;
#[path = "../../bench/traffic/mod.rs"]
#[allow(dead_code, reason = "the command line of the generator uses the rest")]
mod generator;
mod mix;
#[path = "../oracle/random.rs"]
mod random;
mod random_rules;
#[path = "../oracle/rule.rs"]
#[allow(dead_code, reason = "the oracle uses the rest")]
mod rule;
#[path = "../common/rules.rs"]
#[allow(dead_code, reason = "these rules are chosen from")]
mod rules;
mod run;
mod shapes;
#[path = "../oracle/traffic.rs"]
#[allow(dead_code, reason = "the oracle uses the rest")]
mod traffic;

use random::Random;
use random_rules::Sums;
use run::{Case, Output, Trace, combinations, shape};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use wirelynx::control::pipeline::Shape;
use wirelynx::control::read::parse_filter;
use wirelynx::dissect::ProtocolSet;
use wirelynx::expr::Mode;
use wirelynx::rules::RuleSet;
use wirelynx::rules::joins::{Limits, WORK_MAX};
use wirelynx::rules::load::Loader;
use wirelynx::rules::property::Property;
use wirelynx::worker::Settings;

fn number(variable: &str, usual: u64) -> u64 {
    let is_number = |text: String| text.parse().unwrap_or_else(|_| panic!("{variable}={text}"));
    std::env::var(variable).map_or(usual, is_number)
}

#[test]
fn random_rules_do_not_depend_on_threads() {
    let start = Instant::now();
    for mode in [Mode::Standard, Mode::Compat] {
        let mut sums = Sums::default();
        let first = number("WIRELYNX_SEED", 1);
        for seed in first..first + number("WIRELYNX_CASES", 40) {
            random_rules::compare(seed, mode, &mut sums);
        }
        println!(
            "{mode:?}: {} rules in {} runs, {} alerts, {} rules left out, {:.1} s",
            sums.rules,
            sums.runs,
            sums.alerts,
            sums.left_out,
            start.elapsed().as_secs_f32()
        );
    }
}

/// Compare some combinations of threads with one worker; gives what this one found.
fn all_equal(name: &str, case: &Case<'_>, trace: &Trace, pairs: &[(usize, usize)]) -> Output {
    let start = Instant::now();
    let expected = case.inline(trace);
    assert_eq!(expected.given_up(), 0, "{name}: a bound was reached");
    for (pair, seed) in pairs.iter().zip(number("WIRELYNX_SEED", 1)..) {
        if let Err(text) = case.compare(trace, &shape(*pair, seed), &expected) {
            panic!("{name}: {text}");
        }
    }
    println!(
        "{name}: {} packets, {} combinations, {} alerts, {} flows, {:.1} s",
        trace.len(),
        pairs.len(),
        expected.alerts.lines().count(),
        expected.flows.lines().count(),
        start.elapsed().as_secs_f32()
    );
    expected
}

fn library<'a>() -> Case<'a> {
    Case {
        rules: &mix::library,
        settings: mix::settings(),
        limit: None,
        shared: false,
    }
}

/// A small mix on all combinations, with times that are in order, go back, stand still and jump.
#[test]
fn the_library_on_a_small_mix() {
    let plain = mix::mix(number("WIRELYNX_SMALL", 20_000), 1);
    let all = combinations();
    let (few, _) = all.split_at(all.len() / 3);
    let times = [
        ("in order", mix::Times::InOrder, all.as_slice()),
        ("late packets", mix::Times::Late, &all),
        ("one time", mix::Times::Still, few),
        ("a jump", mix::Times::Jump, few),
    ];
    for (name, times, pairs) in times {
        let mut trace = plain.clone();
        mix::set(&mut trace, times);
        let found = all_equal(name, &library(), &trace, pairs);
        assert!(found.alerts.lines().count() > 100);
    }
}

/// A large mix; on all combinations where that is asked for, as it takes minutes.
#[test]
fn the_library_on_a_large_mix() {
    let trace = mix::mix(number("WIRELYNX_LARGE", 1_000_000), 2);
    let mut pairs = vec![(2, 0), (4, 2), (8, 5)];
    if std::env::var_os("WIRELYNX_ALL").is_some() {
        pairs = combinations();
    }
    let found = all_equal("large mix", &library(), &trace, &pairs);
    assert!(found.alerts.lines().count() > 1_000);
}

/// Rules placed by hand, limited alerts, a filter, both outputs in one.
#[test]
fn options_do_not_depend_on_threads_either() {
    let trace = mix::mix(number("WIRELYNX_SMALL", 20_000), 3);
    let pairs = [(1, 1), (2, 3), (4, 2), (8, 5)];
    let all = library().inline(&trace);
    let limited = Case {
        limit: Some("3/10s".parse().unwrap()),
        ..library()
    };
    let found = all_equal("--alert-limit 3/10s", &limited, &trace, &pairs);
    assert!(found.alerts.contains("\"suppressed\""));
    let shared = Case {
        shared: true,
        ..library()
    };
    let found = all_equal("both outputs in one", &shared, &trace, &pairs);
    assert_eq!(found.alerts.len(), all.alerts.len() + all.flows.len());
    let mut filtered = library();
    filtered.settings.filter = Some(parse_filter("(ip.proto_id != 17)").unwrap());
    let found = all_equal("--filter", &filtered, &trace, &pairs);
    assert!(!found.alerts.is_empty() && found.flows.len() < all.flows.len());

    let mut random = Random::new(number("WIRELYNX_SEED", 1));
    for _ in 0..4 {
        let mask = mask(&mut random);
        for pair in [(1, 2), (3, 3)] {
            let shape = Shape {
                mask: Some(mask.parse().unwrap()),
                ..shape(pair, random.next())
            };
            let result = library().compare(&trace, &shape, &all);
            assert!(
                result.is_ok(),
                "--rules-mask {mask}: {}",
                result.unwrap_err()
            );
        }
    }
}

/// A mask that gives some rules to some threads, among them ones that there are not.
fn mask(random: &mut Random) -> String {
    let group = |_| {
        let (thread, from) = (1 + random.below(7), 1_000 + random.below(1_300));
        format!(
            "({thread}:{from}-{},{})",
            from + random.below(400),
            1_001 + random.below(40)
        )
    };
    (0..5).map(group).collect()
}

/// With tables that are much too small nothing hangs, and what is lost is counted. What comes out
/// then is not defined.
#[test]
fn small_bounds_end_no_run() {
    let trace = mix::mix(5_000, 4);
    let mut case = library();
    case.settings.flows.flows_max = 16;
    case.settings.applications.flows_max = 8;
    case.settings.instances = Some(Limits {
        per_rule: 2,
        total: 20,
        work: WORK_MAX,
    });
    for (workers, security_workers) in [(1, 0), (2, 1), (8, 5)] {
        let found = match (workers, security_workers) {
            (1, 0) => case.inline(&trace),
            pair => case.spread(&trace, &shape(pair, 1)),
        };
        assert!(found.evicted().iter().sum::<u64>() > 0);
        let full = found
            .outcome
            .workers
            .iter()
            .map(|worker| worker.flows.table_full);
        assert!(full.sum::<u64>() > 0);
        let handed: u64 = found
            .outcome
            .workers
            .iter()
            .flat_map(|w| &w.handed.sent)
            .sum();
        let taken: u64 = found.outcome.security.iter().map(|s| s.processed).sum();
        assert_eq!(handed, taken);
    }
}

/// Does a rule use running totals of all packets, which one worker has to count?
fn has_totals(property: &Property, mode: Mode) -> bool {
    let (alone, _) = RuleSet::new(vec![property.clone()], mode);
    alone.extraction.totalled() != ProtocolSet::default()
}

/// The published rules.
fn published(captures: &Path, mode: Mode, with_totals: bool) -> Arc<RuleSet> {
    let paths = rules::folders(captures).map(|folder| folder.display().to_string());
    let mut read = Loader::new(mode, &[rules::lists()]).read(&paths);
    let is_wanted = |property: &Property| with_totals || !has_totals(property, mode);
    read.properties.retain(is_wanted);
    let (rules, failed) = RuleSet::new(read.properties, mode);
    assert!(failed.is_empty(), "{failed:?}");
    assert!(rules.programs.len() > 20, "{} rules", rules.programs.len());
    Arc::new(rules)
}

/// The published check suite, with its rules in both modes.
#[test]
fn the_conformance_traces() {
    let Some(captures) = common::captures() else {
        println!("the 22 traces of the published check suite DID NOT RUN");
        return;
    };
    let folder = std::fs::read_dir(captures.join("mmt-security/check/pcap")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pcap"));
    paths.sort();
    let traces: Vec<(String, Trace)> = paths
        .iter()
        .map(|path| (path.display().to_string(), mix::read(path)))
        .collect();
    for mode in [Mode::Standard, Mode::Compat] {
        let mut settings = Settings {
            http_compat: mode == Mode::Compat,
            ..common::small()
        };
        settings.flows.flows_max = 1 << 15;
        for with_totals in [false, true] {
            let case = Case {
                rules: &|| published(&captures, mode, with_totals),
                settings: settings.clone(),
                limit: None,
                shared: false,
            };
            let mut pairs = combinations();
            pairs.retain(|(workers, _)| !with_totals || *workers == 1);
            conform(&format!("{mode:?}"), &case, &traces, &pairs);
        }
    }
}

/// Each trace on one combination in four, so that all have their turn.
fn conform(name: &str, case: &Case<'_>, traces: &[(String, Trace)], pairs: &[(usize, usize)]) {
    let start = Instant::now();
    let mut random = Random::new(number("WIRELYNX_SEED", 1));
    let (mut packets, mut alerts, mut runs) = (0, 0, 0);
    for (place, (path, trace)) in traces.iter().enumerate() {
        let expected = case.inline(trace);
        packets += trace.len();
        alerts += expected.alerts.lines().count();
        for pair in pairs.iter().skip(place % 4).step_by(4) {
            runs += 1;
            let shape = shape(*pair, random.next());
            let text = case
                .compare(trace, &shape, &expected)
                .err()
                .unwrap_or_default();
            assert!(text.is_empty(), "{name}, {path}: {text}");
        }
    }
    println!(
        "{name}: {} traces, {packets} packets, {alerts} alerts, {runs} runs, {:.1} s",
        traces.len(),
        start.elapsed().as_secs_f32()
    );
    assert!(alerts > 100);
}
