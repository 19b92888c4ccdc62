//! x
use std::sync::Arc;
use wirelynx::capture::memory::Preloaded;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::expr::Mode;
use wirelynx::rules::RuleSet;
use wirelynx::rules::load::Loader;
use wirelynx::worker::{Scope, Settings, Worker};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut f = file::open(&args[1]).unwrap();
    let mut pre = Preloaded::from_capture(
        &mut f,
        std::env::var("N").map_or(1_000_000, |n| n.parse().unwrap()),
    )
    .unwrap();
    let n = pre.frames() as f64;
    let bytes = pre.bytes() as f64;
    let files: Vec<String> = args[3..].to_vec();
    let rounds: usize = std::env::var("R").map_or(3, |n| n.parse().unwrap());
    for (name, scope) in [
        ("headers", Scope::Headers),
        ("flows", Scope::Flows),
        ("apps", Scope::Applications),
        ("rules", Scope::Rules),
    ] {
        if !args[2].contains(name) {
            continue;
        }
        let mut best = vec![];
        for _ in 0..rounds {
            let read = Loader::new(Mode::Standard, &[]).read(&files);
            let rules = Arc::new(RuleSet::new(read.properties, Mode::Standard).0);
            let mut w = Worker::new(
                rules.clone(),
                &Settings {
                    seed: 12345,
                    ..Settings::default()
                },
                scope,
            );
            pre.rewind();
            let mut events = 0u64;
            let cpu = || {
                std::fs::read_to_string("/proc/thread-self/schedstat")
                    .unwrap()
                    .split(" ")
                    .next()
                    .unwrap()
                    .parse::<f64>()
                    .unwrap()
            };
            let t = cpu();
            loop {
                let mut b = Burst::new();
                let r = pre.receive(&mut b).unwrap();
                w.burst(b, &mut |_e| events += 1);
                if r == Progress::End {
                    break;
                }
            }
            let e = cpu() - t;
            best.push(e / n);
            let c = w.counters();
            if best.len() == rounds {
                best.sort_by(f64::total_cmp);
                println!(
                    "{name}: {:.1} ns/packet median, min {:.1}, {:.2} Mpps, {:.1} Gbit/s, events {events}, rules {}, flows {} active {}, matches {:?} live {} evicted {:?}",
                    best[rounds / 2],
                    best[0],
                    1000.0 / best[rounds / 2],
                    bytes * 8.0 / n / best[rounds / 2],
                    rules.programs.len(),
                    c.flows.created,
                    c.flows.active,
                    c.rules
                        .matches
                        .iter()
                        .zip(&rules.programs)
                        .filter(|(m, _)| **m > 0)
                        .map(|(m, p)| (p.property.id, *m))
                        .collect::<Vec<_>>(),
                    c.rules.live,
                    c.rules.evicted.iter().sum::<u64>()
                );
            }
        }
    }
}
