//! Random rules are changed for others on the way. Those that stay say what they say without.

use crate::compare::{self, LIMITS};
use crate::generate::{self, Subject};
use crate::random::Random;
use crate::traffic::{self, Owned};
use std::collections::BTreeMap;
use std::sync::Arc;
use wirelynx::capture::Burst;
use wirelynx::expr::Mode;
use wirelynx::output::Event;
use wirelynx::output::alert::{self, Format};
use wirelynx::rules::RuleSet;
use wirelynx::rules::property::Property;
use wirelynx::worker::reload::Replacement;
use wirelynx::worker::{Scope, Settings, Worker};

/// Rules of which each set has some.
const RULES: usize = 12;

/// What each rule said.
type Said = BTreeMap<u32, Vec<String>>;

/// Run the packets one by one; before each, `next` may give other rules.
fn run(packets: &[Owned], next: &mut dyn FnMut(usize) -> Option<Vec<Property>>) -> Said {
    let settings = Settings {
        instances: Some(LIMITS),
        seed: 0x5eed,
        ..crate::common::small()
    };
    let compile = |properties| {
        let (rules, failed) = RuleSet::new(properties, Mode::Standard);
        assert!(failed.is_empty(), "{failed:?}");
        rules
    };
    let mut rules = Arc::new(compile(next(0).unwrap()));
    let mut worker = Worker::new(Arc::clone(&rules), &settings, Scope::Rules);
    let mut said = Said::new();
    let mut say = |rules: &RuleSet, event| {
        if let Event::Alert(alert) = event {
            let program = &rules.programs[usize::try_from(alert.rule).unwrap()];
            let mut line = String::new();
            alert::write(&mut line, Format::MmtCsv, program, &alert);
            said.entry(program.property.id).or_default().push(line);
        }
    };
    for (number, packet) in (1..).zip(packets) {
        if let Some(properties) = next(number) {
            let replacement = Replacement::new(compile(properties), &rules, &settings);
            rules = Arc::clone(replacement.rules());
            worker.reload(replacement).unwrap();
        }
        let mut burst = Burst::new();
        burst.push(packet.frame());
        worker.burst(burst, &mut |event| say(&rules, event));
    }
    worker.finish(&mut |event| say(&rules, event));
    said
}

#[test]
fn rules_that_stay_say_the_same_when_others_change() {
    let (mut reloads, mut alerts) = (0, 0);
    for seed in crate::seeds(8_000) {
        let mut random = Random::new(seed);
        let packets = traffic::packets(&mut random, 40);
        let xml: String = (1..=RULES)
            .map(|id| generate::rule(&mut random, &Subject::random()).xml(id))
            .collect();
        let all = compare::read(&xml);
        let stays: Vec<bool> = all.iter().map(|_| random.percent(50)).collect();
        let stay = |id: u32| stays[usize::try_from(id - 1).unwrap()];
        let expected = run(&packets, &mut |number| (number == 0).then(|| all.clone()));
        let found = run(&packets, &mut |number| {
            if number > 0 && random.percent(80) {
                return None;
            }
            reloads += 1;
            let mut some = all.clone();
            some.retain(|property| stay(property.id) || random.percent(50));
            random.shuffle(&mut some);
            Some(some)
        });
        for id in (1..).take(all.len()).filter(|id| stay(*id)) {
            assert_eq!(found.get(&id), expected.get(&id), "WIRELYNX_SEED={seed}");
            alerts += found.get(&id).map_or(0, Vec::len);
        }
    }
    println!("{reloads} reloads, {alerts} alerts of rules that stay");
}
