//! The appliance with several workers, from outside: four queues of a kernel interface, attacks
//! whose flows land on different ones, outputs that take nothing, and more traffic than it can
//! take.
//!
//! `WIRELYNX_SOAK_SECONDS` says how long each trouble lasts: 3 by default.
#![cfg(feature = "dpdk")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

#[path = "common/program.rs"]
mod program;
#[path = "common/telemetry.rs"]
mod telemetry;
#[path = "common/veth.rs"]
#[allow(dead_code, reason = "nothing is unplugged here")]
mod veth;

use program::{Running, generate, turn, with_settings};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use telemetry::Telemetry;
use tempfile::TempDir;
use veth::Veth;

/// Normal service is back within this after a trouble.
const RECOVERY: Duration = Duration::from_secs(5);

/// The end comes within this after SIGTERM, which includes 200 ms for starting `kill` and noticing.
const STOP: Duration = Duration::from_millis(2_200);

/// Memory that a trouble may cost: outputs have buffers, and the system lags in its accounts.
const GROWTH_KIB: u64 = 64 << 10;

fn soak() -> Duration {
    let seconds = std::env::var("WIRELYNX_SOAK_SECONDS").ok();
    Duration::from_secs(seconds.map_or(3, |seconds| seconds.parse().unwrap()))
}

/// `wirelynx run` with four workers and two security workers on four queues of `rx0`.
fn four_queues(veth: &Veth, folder: &Path, more: &[String]) -> Running {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut settings = vec![
        "capture.ports=[\"net_af_packet0,iface=rx0,qpairs=4,framecnt=4096\"]".to_owned(),
        "workers.count=4".to_owned(),
        "security.workers=2".to_owned(),
        format!("rules.paths=[\"{}\"]", rules.display()),
        "alerts.limit=0".to_owned(),
        "output.alerts=live.a".to_owned(),
        "output.flows=live.f".to_owned(),
        "metrics.address=127.0.0.1:0".to_owned(),
        "limits.streams=4096".to_owned(),
        "flows.flows_max=65536".to_owned(),
    ];
    settings.extend_from_slice(more);
    let program = veth.receiver(env!("CARGO_BIN_EXE_wirelynx"));
    let mut running = Running::start(with_settings(program, &settings), folder);
    running.says("port started");
    running.says("metrics on http://");
    running
}

/// Alerts but for what depends on when and where they were found.
fn alerts(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut all: Vec<String> = text.lines().map(without_places).collect();
    all.sort();
    all
}

fn without_places(line: &str) -> String {
    let mut alert: Value = serde_json::from_str(line).unwrap();
    alert["timestamp"].take();
    let alert = &mut alert["alert"];
    alert.as_object_mut().unwrap().remove("packet");
    for event in alert["events"].as_array_mut().unwrap() {
        event["timestamp"].take();
        event["packet"].take();
    }
    alert.to_string()
}

/// The alerts of `all` that are not among the others, each as often as it is there alone.
fn without(all: &[String], others: &[String]) -> Vec<String> {
    let mut others = others.to_vec();
    let mut is_alone = |alert: &&String| match others.iter().position(|other| other == *alert) {
        Some(index) => {
            others.swap_remove(index);
            false
        }
        None => true,
    };
    all.iter()
        .filter(|alert| is_alone(alert))
        .cloned()
        .collect()
}

/// Packets by worker, as `--stats` and the account at the end tell of flows.
fn workers_with_flows(err: &str) -> usize {
    let created = |line: &&str| line.starts_with("flows: created");
    err.lines().filter(created).count()
}

/// How attacks are sent, in turn, until they give the alerts of the file.
///
/// Workers stamp their packets themselves: one that has to wait for a core stamps late, and packets
/// of different queues change places. Then only packets that are sent when the ones before have
/// been stamped keep their order, which takes as long as the machine is busy; a machine that stands
/// still for longer than rules wait is why there is more than one such attempt.
const PACES: [Pace; 5] = [
    Pace::Rate(1_000),
    Pace::Rate(300),
    Pace::OneByOne,
    Pace::OneByOne,
    Pace::OneByOne,
];

#[derive(Debug, Clone, Copy)]
enum Pace {
    /// So many packets a second.
    Rate(u32),
    /// Each packet when the one before has been received.
    OneByOne,
}

/// By how much clocks of workers may differ, and how long a packet just received waits for its
/// stamp.
const APART: Duration = Duration::from_micros(300);

/// Time for deadlines of rules to pass after the last packet.
const QUIET: Duration = Duration::from_secs(2);

/// Send an attack, and let everything be noticed.
fn attack(veth: &Veth, running: Running, made: &Path, pace: Pace) -> program::Ended {
    match pace {
        Pace::Rate(rate) => veth.replay(made, rate),
        Pace::OneByOne => {
            let telemetry = Telemetry::of(running.child.id());
            veth.replay_each(made, |sent| {
                let start = Instant::now();
                while telemetry.received() < sent {
                    assert!(
                        start.elapsed() < program::PATIENCE,
                        "{sent} does not arrive"
                    );
                }
                std::thread::sleep(APART);
            });
        }
    }
    std::thread::sleep(QUIET);
    running.signal("TERM");
    running.wait().status(0).says("(balances)")
}

#[test]
fn attacks_over_four_queues_give_the_alerts_of_the_file() {
    let _turn = turn();
    let Some(veth) = Veth::new("attacks over four queues") else {
        return;
    };
    let mut spread = 0;
    for scenario in ["ssh-bruteforce", "scans", "arp"] {
        let folder = TempDir::new().unwrap();
        let made = generate(scenario, folder.path());
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        let read = Command::new(env!("CARGO_BIN_EXE_wirelynx"))
            .arg("read")
            .arg(&made)
            .arg("--rules")
            .arg(&rules)
            .arg("--alerts")
            .arg(folder.path().join("file.a"))
            .status();
        assert!(read.unwrap().success());
        let expected = alerts(&folder.path().join("file.a"));
        assert!(!expected.is_empty(), "{scenario}");
        let mut found = Vec::new();
        for pace in PACES {
            // A run adds to the files that are there.
            let own = TempDir::new().unwrap();
            let running = four_queues(&veth, own.path(), &[]);
            let ended = attack(&veth, running, &made, pace);
            spread = spread.max(workers_with_flows(&ended.err));
            found = alerts(&own.path().join("live.a"));
            if found == expected {
                break;
            }
            println!("{scenario}, {pace:?}: other alerts, since the machine is busy?");
        }
        assert!(
            found == expected,
            "{scenario}\nonly live: {:#?}\nonly from the file: {:#?}",
            without(&found, &expected),
            without(&expected, &found)
        );
    }
    assert!(spread >= 3, "flows were on {spread} workers only");
}

/// A reader of a pipe that can be killed; what it has read is counted.
fn reader(pipe: &Path) -> Child {
    let mut command = Command::new("cat");
    command.arg(pipe).stdout(Stdio::null());
    command.spawn().unwrap()
}

fn make_pipe(folder: &Path) -> PathBuf {
    let pipe = folder.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    pipe
}

/// Memory of a process in KiB.
fn memory_kib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Replay `made` again and again for a while.
fn flood(veth: &Veth, made: &Path, rate: u32, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        veth.replay(made, rate);
    }
}

/// Has a file more lines than `before`, soon enough?
fn grows(path: &Path, before: u64) -> bool {
    let start = Instant::now();
    while start.elapsed() < RECOVERY {
        if std::fs::metadata(path).unwrap().len() > before {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn stops_in_time(running: Running) -> program::Ended {
    let start = Instant::now();
    running.signal("TERM");
    let ended = running.wait();
    assert!(
        start.elapsed() < STOP,
        "{:?}: {}",
        start.elapsed(),
        ended.err
    );
    ended
}

/// A consumer of alerts stops reading: everything else goes on, and what is lost is counted.
#[test]
fn a_sink_that_takes_nothing_slows_nobody() {
    let _turn = turn();
    let Some(veth) = Veth::new("a sink that takes nothing") else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let made = generate("scans", folder.path());
    let pipe = make_pipe(folder.path());
    // Somebody has it open and reads nothing.
    let mut blocked = File::options().read(true).write(true).open(&pipe).unwrap();
    let running = four_queues(&veth, folder.path(), &["output.alerts=pipe".to_owned()]);
    flood(&veth, &made, 20_000, Duration::from_secs(1));
    let memory = memory_kib(&running.child);
    flood(&veth, &made, 20_000, soak());
    let grown = memory_kib(&running.child).saturating_sub(memory);
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    let flows = folder.path().join("live.f");
    let before = std::fs::metadata(&flows).unwrap().len();
    assert!(before > 0, "flow records do not wait for alerts");
    // It reads again, and gets alerts that were found since.
    let drained = std::thread::spawn(move || {
        let mut taken = 0;
        let mut buffer = vec![0; 1 << 16];
        let start = Instant::now();
        while start.elapsed() < RECOVERY {
            taken += blocked.read(&mut buffer).unwrap();
            if taken > 1 << 18 {
                return (taken, blocked);
            }
        }
        (taken, blocked)
    });
    flood(&veth, &made, 20_000, Duration::from_secs(1));
    let (taken, _blocked) = drained.join().unwrap();
    assert!(taken > 1 << 18, "{taken} bytes since it reads again");
    // Nobody reads any more, and the run ends all the same.
    flood(&veth, &made, 20_000, Duration::from_secs(1));
    let ended = stops_in_time(running).says("(balances)");
    assert!(
        ended.err.contains("events dropped: alerts"),
        "{}",
        ended.err
    );
}

/// A consumer of alerts dies, and another one comes.
#[test]
fn a_consumer_that_dies_is_followed_by_the_next() {
    let _turn = turn();
    let Some(veth) = Veth::new("a consumer that dies") else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let made = generate("scans", folder.path());
    let pipe = make_pipe(folder.path());
    let mut first = reader(&pipe);
    let mut running = four_queues(&veth, folder.path(), &["output.alerts=pipe".to_owned()]);
    flood(&veth, &made, 5_000, Duration::from_secs(1));
    first.kill().unwrap();
    first.wait().unwrap();
    flood(&veth, &made, 5_000, soak());
    running.says("it is opened again when that is possible");
    running.says("open again");
    let second = File::create(folder.path().join("second")).unwrap();
    let mut next = Command::new("cat")
        .arg(&pipe)
        .stdout(second)
        .spawn()
        .unwrap();
    flood(&veth, &made, 5_000, Duration::from_secs(1));
    assert!(
        grows(&folder.path().join("second"), 0),
        "nothing comes again"
    );
    stops_in_time(running).says("(balances)");
    next.kill().unwrap();
    next.wait().unwrap();
}

/// Several times what it can take: the account holds, memory does not grow, and service is normal
/// right after.
#[test]
fn a_flood_leaves_nothing_behind() {
    let _turn = turn();
    let Some(veth) = Veth::new("a flood") else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let made = generate("scans", folder.path());
    let running = four_queues(&veth, folder.path(), &[]);
    flood(&veth, &made, 1_000_000, Duration::from_secs(1));
    let memory = memory_kib(&running.child);
    flood(&veth, &made, 1_000_000, soak());
    let grown = memory_kib(&running.child).saturating_sub(memory);
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    let found = folder.path().join("live.a");
    let before = std::fs::metadata(&found).unwrap().len();
    veth.replay(&generate("ssh-bruteforce", folder.path()), 2_000);
    assert!(grows(&found, before), "no alert after the flood");
    stops_in_time(running).says("(balances)");
}

/// SIGTERM at any moment, under load: everything in flight is drained, in time.
#[test]
fn a_run_ends_in_time_at_any_moment() {
    let _turn = turn();
    let Some(veth) = Veth::new("the end at any moment") else {
        return;
    };
    for moment in [0, 30, 170, 400] {
        let folder = TempDir::new().unwrap();
        let made = generate("scans", folder.path());
        let running = four_queues(&veth, folder.path(), &[]);
        std::thread::scope(|scope| {
            scope.spawn(|| flood(&veth, &made, 100_000, Duration::from_millis(moment + 700)));
            std::thread::sleep(Duration::from_millis(moment));
            stops_in_time(running).says("(balances)").status(0);
        });
    }
}

/// A reload changes the rules on workers and security workers, and attempts under way go on.
#[test]
fn rules_are_reloaded_everywhere_under_traffic() {
    let _turn = turn();
    let Some(veth) = Veth::new("a reload on four workers") else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let made = generate("scans", folder.path());
    let mut running = four_queues(&veth, folder.path(), &[]);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&veth, &made, 2_000, Duration::from_secs(2)));
        for generation in 2..=4 {
            running.signal("HUP");
            let rest = running.says(&format!("rules reloaded generation={generation} "));
            assert!(rest.contains("unchanged=151 changed=0"), "{rest}");
            assert!(rest.contains("instances_dropped=0"), "{rest}");
        }
        flood.join().unwrap();
    });
    let found = folder.path().join("live.a");
    let before = std::fs::metadata(&found).unwrap().len();
    veth.replay(&made, 2_000);
    assert!(grows(&found, before), "no alert after the reloads");
    stops_in_time(running).says("(balances)").status(0);
}
