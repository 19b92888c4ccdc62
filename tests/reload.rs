//! Rules are changed under way, and nobody notices: what the rules that stay say of a capture is
//! what they say without.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

mod common;
#[path = "oracle/random.rs"]
#[allow(dead_code, reason = "not every test draws everything")]
mod random;
#[path = "common/rules.rs"]
#[allow(dead_code, reason = "the rules are loaded as properties here")]
mod rules;

use random::Random;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::expr::Mode;
use wirelynx::expr::functions::lists::Lists;
use wirelynx::limits::BURST_MAX;
use wirelynx::output::Event;
use wirelynx::output::alert::{self, Format};
use wirelynx::packet::{Frame, LinkType, Timestamp};
use wirelynx::rules::RuleSet;
use wirelynx::rules::load::{self, Loader};
use wirelynx::rules::property::Property;
use wirelynx::worker::reload::Replacement;
use wirelynx::worker::{Scope, Settings, Worker};

/// Most packets of one capture.
const PACKETS_MAX: usize = 20_000;

const SCENARIOS: [&str; 6] = [
    "demo",
    "scans",
    "ssh-bruteforce",
    "http",
    "fragments",
    "arp",
];

struct Packet {
    data: Vec<u8>,
    frame: Frame<'static>,
}

impl Packet {
    fn frame(&self) -> Frame<'_> {
        Frame {
            data: &self.data,
            ..self.frame
        }
    }
}

fn packets(trace: &Path) -> Vec<Packet> {
    let mut source = file::open(trace.to_str().unwrap()).unwrap();
    let mut packets = Vec::new();
    loop {
        let mut burst = Burst::new();
        let received = source.receive(&mut burst).unwrap();
        packets.extend(burst.iter().map(|frame| Packet {
            data: frame.data.to_vec(),
            frame: Frame {
                data: &[],
                ..*frame
            },
        }));
        if received == Progress::End || packets.len() >= PACKETS_MAX {
            return packets;
        }
    }
}

/// The program made these captures, and others are published.
fn traces(folder: &Path) -> Vec<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut traces: Vec<PathBuf> = Vec::new();
    for name in SCENARIOS {
        let made = folder.join(name);
        let status = Command::new(env!("CARGO_BIN_EXE_wirelynx-traffic"))
            .arg("generate")
            .arg(package.join(format!("bench/scenarios/{name}.scenario")))
            .arg("--output")
            .arg(&made)
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{name}");
        traces.push(made);
    }
    let Some(captures) = common::captures() else {
        println!("the published traces DID NOT RUN");
        return traces;
    };
    let published = std::fs::read_dir(captures.join("mmt-security/check/pcap")).unwrap();
    let mut published: Vec<PathBuf> = published.map(|entry| entry.unwrap().path()).collect();
    published.sort();
    traces.extend(published);
    traces
}

/// The rules of the library, and the published ones under other ids.
fn properties(mode: Mode) -> Vec<Property> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![package.join("rules")];
    folders.extend(common::captures().iter().flat_map(|c| rules::folders(c)));
    let mut all: Vec<Property> = Vec::new();
    for folder in folders {
        let read = Loader::new(mode, &[rules::lists()]).read(&[folder.display().to_string()]);
        all.extend(read.properties);
    }
    for (id, property) in (1..).zip(&mut all) {
        property.id = id;
    }
    assert!(all.len() > 100, "{}", all.len());
    all
}

fn compile(properties: Vec<Property>, mode: Mode) -> RuleSet {
    let (rules, failed) = RuleSet::new(properties, mode);
    assert!(failed.is_empty(), "{failed:?}");
    rules
}

/// What was said: rule and line.
type Said = Vec<(u32, String)>;

/// Run these packets in bursts of random sizes; `next` may give other rules between two of them.
fn run(
    packets: &[Packet],
    properties: Vec<Property>,
    mode: Mode,
    sizes: &mut Random,
    next: &mut dyn FnMut() -> Option<Vec<Property>>,
) -> (Said, wirelynx::metrics::Counters) {
    let settings = Settings {
        http_compat: mode == Mode::Compat,
        seed: 0x5eed,
        ..common::small()
    };
    let mut current = Arc::new(compile(properties, mode));
    let mut worker = Worker::new(Arc::clone(&current), &settings, Scope::Rules);
    let mut said = Vec::new();
    let mut say = |rules: &RuleSet, event: Event| {
        if let Event::Alert(alert) = event {
            let program = &rules.programs[usize::try_from(alert.rule).unwrap()];
            let mut line = String::new();
            alert::write(&mut line, Format::MmtCsv, program, &alert);
            said.push((program.property.id, line));
        }
    };
    let mut left = packets;
    while !left.is_empty() {
        let size = (1 + sizes.below(BURST_MAX)).min(left.len());
        let (now, later) = left.split_at(size);
        left = later;
        let mut burst = Burst::new();
        burst.extend(now.iter().map(Packet::frame));
        worker.burst(burst, &mut |event| say(&current, event));
        if let Some(properties) = next() {
            let rules = compile(properties, mode);
            let replacement = Replacement::new(rules, &current, &settings);
            current = Arc::clone(replacement.rules());
            let before = worker.counters().rules.live;
            let replaced = worker.reload(replacement).unwrap();
            let adopted = replaced.adopted;
            assert_eq!(worker.counters().rules.live, adopted.kept);
            assert_eq!(before, adopted.kept + adopted.dropped);
        }
    }
    worker.finish(&mut |event| say(&current, event));
    (said, worker.counters())
}

fn by_rule(said: &Said, wanted: impl Fn(u32) -> bool) -> BTreeMap<u32, Vec<&str>> {
    let mut rules: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (rule, line) in said.iter().filter(|(rule, _)| wanted(*rule)) {
        rules.entry(*rule).or_default().push(line);
    }
    rules
}

/// The same rules again, at random places: the same lines in the same order, the same counters.
#[test]
fn the_same_rules_again_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lines, mut reloads) = (0, 0);
    for mode in [Mode::Standard, Mode::Compat] {
        let all = properties(mode);
        for (seed, trace) in (1..).zip(traces(folder.path())) {
            let packets = packets(&trace);
            let often = (packets.len() / BURST_MAX / 4).max(2);
            let sizes = || Random::new(seed);
            let (expected, counted) = run(&packets, all.clone(), mode, &mut sizes(), &mut || None);
            let mut random = Random::new(seed);
            let mut again = || {
                let reload = random.below(often) == 0;
                reloads += usize::from(reload);
                reload.then(|| all.clone())
            };
            let (found, counts) = run(&packets, all.clone(), mode, &mut sizes(), &mut again);
            assert_eq!(found, expected, "{mode:?} {}", trace.display());
            let name = trace.display();
            assert_eq!(counts.rules, counted.rules, "{mode:?} {name}");
            assert_eq!(counts.passed, counted.passed);
            lines += found.len();
        }
    }
    println!("{reloads} reloads, {lines} alerts");
    assert!(lines > 400 && reloads > 50);
}

/// Others come, go and change places around the rules that stay.
#[test]
fn other_rules_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lines, mut reloads) = (0, 0);
    for mode in [Mode::Standard, Mode::Compat] {
        let all = properties(mode);
        for (seed, trace) in (1..).zip(traces(folder.path())) {
            let packets = packets(&trace);
            let often = (packets.len() / BURST_MAX / 4).max(2);
            let mut random = Random::new(seed);
            let stays: Vec<bool> = all.iter().map(|_| random.percent(50)).collect();
            let stay = |id: u32| stays[usize::try_from(id - 1).unwrap()];
            let some = |random: &mut Random| {
                let mut some = all.clone();
                some.retain(|property| stay(property.id) || random.percent(40));
                random.shuffle(&mut some);
                some
            };
            let first = some(&mut random);
            let mut next = || {
                let reload = random.below(often) == 0;
                reloads += usize::from(reload);
                reload.then(|| some(&mut random))
            };
            let sizes = || Random::new(seed);
            let (found, _) = run(&packets, first, mode, &mut sizes(), &mut next);
            let (expected, _) = run(&packets, all.clone(), mode, &mut sizes(), &mut || None);
            let (found, expected) = (by_rule(&found, stay), by_rule(&expected, stay));
            assert_eq!(found, expected, "{mode:?} {}", trace.display());
            lines += found.values().map(Vec::len).sum::<usize>();
        }
    }
    println!("{reloads} reloads, {lines} alerts");
    assert!(lines > 400 && reloads > 50);
}

/// A hundred thousand attempts under way, a deadline each, move within the time that a receive ring
/// holds packets for. The bound is for a loaded machine and a slow build.
#[test]
fn many_instances_move_in_one_piece() {
    const INSTANCES: u32 = 100_000;
    let rule = "<property property_id='1' type_property='SECURITY' value='THEN' delay_units='s' \
        delay_min='0+' delay_max='60'><event boolean_expression='(tcp.syn == 1)'/>\
        <event boolean_expression='((tcp.syn == 0) &amp;&amp; (ip.src == ip.src.1))'/></property>";
    let other = rule
        .replace("'1'", "'2'")
        .replace("tcp.syn == 1", "tcp.flags == 4");
    let settings = Settings {
        seed: 0x5eed,
        ..common::small()
    };
    let old = Arc::new(compile(read(rule), Mode::Standard));
    let mut worker = Worker::new(Arc::clone(&old), &settings, Scope::Rules);
    let mut alerts = 0;
    let mut count = |event: Event| alerts += u32::from(matches!(event, Event::Alert(_)));
    for number in 0..INSTANCES {
        let mut packet = syn(number.into());
        packet.data[26..30].copy_from_slice(&number.to_be_bytes());
        let mut burst = Burst::new();
        burst.push(packet.frame());
        worker.burst(burst, &mut count);
    }
    let new = compile(read(&format!("{other}{rule}")), Mode::Standard);
    let replacement = Replacement::new(new, &old, &settings);
    let start = Instant::now();
    let replaced = worker.reload(replacement).unwrap();
    let took = start.elapsed();
    assert_eq!(replaced.adopted.kept, u64::from(INSTANCES));
    println!("{INSTANCES} instances moved in {took:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");
    worker.finish(&mut count);
    assert_eq!(alerts, INSTANCES);
}

/// A SYN, so many microseconds after the first.
fn syn(micros: u64) -> Packet {
    let mut data = vec![0; 54];
    data[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    data[16..18].copy_from_slice(&[0, 40]);
    data[23] = 6;
    data[46..48].copy_from_slice(&[0x50, 2]);
    let frame = Frame {
        data: &[],
        wire_length: 54,
        timestamp: Timestamp::from_micros(1_000_000 + micros),
        link: LinkType::ETHERNET,
        port: 0,
        queue: 0,
        ..Frame::EMPTY
    };
    Packet { data, frame }
}

fn read(rules: &str) -> Vec<Property> {
    let text = format!("<beginning>{rules}</beginning>");
    let lists = Lists::default();
    let read = load::read_bytes("rules", text.as_bytes(), Mode::Standard, &lists);
    assert!(!read.has_errors(), "{:?}", read.diagnostics);
    read.properties
}

/// A rule whose condition counts its calls, with a limit of three in a millisecond.
const COUNTING: &str = "<property property_id='7' type_property='ATTACK' value='THEN' \
    delay_min='0' delay_max='0'>\
    <event boolean_expression='(tcp.syn == 1)'/>\
    <event boolean_expression='(#em_5g_check_msg_throughput(meta.utime) == 1)'/></property>";

/// What the limit is set by.
const LIMIT: &str = "MMT_SEC_5G_DOS_NGAP_INITIALUEMESSAGE_MS_LIMIT";

/// What a condition remembers of its calls goes on with its rule, and not with a changed one. The
/// limit is read from the environment: the test runs itself with one.
#[test]
fn what_conditions_remember_goes_on() {
    if std::env::var_os(LIMIT).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_conditions_remember_goes_on"])
            .env(LIMIT, "3")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{told}"
        );
        return;
    }
    let other = "<property property_id='3' type_property='ATTACK' value='THEN' delay_min='0' \
        delay_max='0'><event boolean_expression='(tcp.flags == 16)'/>\
        <event boolean_expression='(tcp.ack == 1)'/></property>";
    let unchanged = read(&format!("{other}{COUNTING}"));
    let changed = read(&COUNTING.replace("tcp.syn == 1", "tcp.syn &gt; 0"));
    let said = |second: Vec<Property>| {
        let packets: Vec<Packet> = (0..40).map(syn).collect();
        let mut second = Some(second);
        // The first burst has two packets, and the rules change behind it.
        let mut sizes = (1..)
            .map(Random::new)
            .find(|random| random.clone().below(BURST_MAX) == 1)
            .unwrap();
        let first = read(COUNTING);
        let (said, _) = run(&packets, first, Mode::Standard, &mut sizes, &mut || {
            second.take()
        });
        said.len()
    };
    // Of 40 packets the first two are below the limit; those behind a change as well.
    assert_eq!(said(unchanged), 38);
    assert_eq!(said(changed), 36);
}
