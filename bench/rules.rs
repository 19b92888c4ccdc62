//! What rules cost as they get many: `cargo bench --bench rules -- --help`.
//!
//! Rules are made up (seeded), written as rule files and loaded like any others; frames are in
//! memory. Times are CPU time of the thread, the median of several runs over all frames.
//!
//! - `simple`: so many rules that one packet decides, on ports, flags, addresses, lengths, URIs,
//!   hosts, user agents and payload, and the traffic of the replicator.
//! - `mixed`: 12,400 of them beside 600 rules of two to four events.
//! - `live`: one rule of two events with so many live instances of distinct keys.
//! - `fat`: rules that open an instance for nearly every packet, on one fast flow.

#[path = "traffic/mod.rs"]
#[allow(dead_code, reason = "the command line of the generator uses the rest")]
mod traffic;

#[path = "clock.rs"]
mod clock;

use clap::Parser;
use clock::{Failure, cpu_nanos, each_burst, frame, preload, replica};
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use traffic::random::Random;
use traffic::replicate::Mix;
use wirelynx::capture::memory::Preloaded;
use wirelynx::capture::writer::PcapWriter;
use wirelynx::expr::Mode;
use wirelynx::output::Event;
use wirelynx::packet::LinkType;
use wirelynx::rules::joins::Limits;
use wirelynx::rules::load as rule_files;
use wirelynx::rules::{RuleSet, property::Property};
use wirelynx::worker::{Scope, Settings, Worker};

/// Rules of one file: well below the bound on its size.
const RULES_PER_FILE: u32 = 5_000;

/// CPU time of one run at least.
const RUN_NANOS_MIN: u64 = 400_000_000;

/// What many rules cost.
#[derive(Debug, Parser)]
#[command(name = "rules")]
struct Arguments {
    /// Capture to run `simple` and `mixed` on; without one, the mix of 480 bytes.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Packets of the replicated input.
    #[arg(long, default_value_t = 200_000)]
    packets: u64,
    /// Measured runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..=1_000))]
    runs: u32,
    /// Numbers of rules for `simple`.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 10, 100, 1_000, 12_400, 100_000])]
    simple: Vec<u32>,
    /// Numbers of live instances for `live`.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000, 100_000, 1_000_000])]
    live: Vec<u32>,
    /// Only these parts: simple, mixed, live, fat.
    #[arg(long)]
    part: Vec<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "rules: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let wants = |part: &str| arguments.part.is_empty() || arguments.part.iter().any(|p| p == part);
    if wants("simple") || wants("mixed") {
        let path = match &arguments.input {
            Some(path) => path.clone(),
            None => replica(
                folder.path(),
                Mix::Imix480,
                (arguments.packets, arguments.packets / 10),
            )?,
        };
        let mut frames = preload(&path)?;
        if wants("simple") {
            simple(arguments, &mut frames)?;
        }
        if wants("mixed") {
            mixed(arguments, &mut frames)?;
        }
    }
    if wants("live") {
        live(arguments, folder.path())?;
    }
    if wants("fat") {
        fat(arguments, folder.path())?;
    }
    Ok(())
}

/// What one set of rules did.
struct Row {
    rules: usize,
    load_ms: u64,
    /// Resident memory that the set added, in MiB.
    mebibytes: u64,
    ns: f64,
    alerts: f64,
    matches: f64,
    live: u64,
}

const HEADING: &str =
    "rules     load ms   MiB   ns/packet      Mpps   alerts/packet   matches/packet      live";

impl Row {
    fn print(&self) -> Result<(), Failure> {
        writeln!(
            io::stdout(),
            "{:<9} {:>7} {:>5} {:>11.1} {:>9.3} {:>15.5} {:>16.4} {:>9}",
            self.rules,
            self.load_ms,
            self.mebibytes,
            self.ns,
            1_000.0 / self.ns,
            self.alerts,
            self.matches,
            self.live
        )?;
        Ok(())
    }
}

/// Load rules and run them over frames.
#[allow(clippy::cast_precision_loss, reason = "printed with a few digits")]
fn measure(runs: u32, rules: &str, frames: &mut Preloaded) -> Result<Row, Failure> {
    let folder = tempfile::tempdir()?;
    write_files(folder.path(), rules)?;
    let before = resident()?;
    let began = cpu_nanos()?;
    let properties = read(folder.path())?;
    let (rules, failed) = RuleSet::new(properties, Mode::Standard);
    if let Some((id, error)) = failed.first() {
        return Err(format!("rule {id}: {error}").into());
    }
    let rules = Arc::new(rules);
    let mut worker = Worker::new(Arc::clone(&rules), &Settings::default(), Scope::Rules);
    let load_ms = cpu_nanos()?.saturating_sub(began) / 1_000_000;
    let mebibytes = resident()?.saturating_sub(before) >> 20;
    let mut alerts = 0_u64;
    pass(&mut worker, frames, &mut alerts)?;
    let counted = worker.counters().rules.matches.iter().sum::<u64>();
    let first = alerts;
    let mut times = Vec::new();
    let packets = frames.frames() as f64;
    for _ in 0..runs {
        let (began, mut spent, mut passes) = (cpu_nanos()?, 0, 0.0);
        while spent < RUN_NANOS_MIN {
            pass(&mut worker, frames, &mut alerts)?;
            passes += 1.0;
            spent = cpu_nanos()?.saturating_sub(began);
        }
        times.push(spent as f64 / packets / passes);
    }
    times.sort_by(f64::total_cmp);
    Ok(Row {
        rules: rules.programs.len(),
        load_ms,
        mebibytes,
        ns: times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
        alerts: first as f64 / packets,
        matches: counted as f64 / packets,
        live: worker.counters().rules.live,
    })
}

fn pass(worker: &mut Worker, frames: &mut Preloaded, alerts: &mut u64) -> Result<(), Failure> {
    each_burst(frames, |burst| {
        worker.burst(burst, &mut |event: Event| {
            *alerts += u64::from(matches!(event, Event::Alert(_)));
        });
    })
}

/// Resident memory of this process in bytes.
fn resident() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}

fn write_files(folder: &Path, rules: &str) -> Result<(), Failure> {
    let mut file = String::new();
    let (mut count, mut number) = (0, 0);
    let mut rules = rules.lines().peekable();
    while let Some(rule) = rules.next() {
        file.push_str(rule);
        file.push('\n');
        count += 1;
        if count == RULES_PER_FILE || rules.peek().is_none() {
            let text = format!("<beginning>\n{file}</beginning>\n");
            std::fs::write(folder.join(format!("{number:05}.xml")), text)?;
            file.clear();
            (count, number) = (0, number + 1);
        }
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Vec<Property>, Failure> {
    let loaded = rule_files::read(&[folder.to_string_lossy().into_owned()], Mode::Standard);
    match loaded.diagnostics.iter().find(|found| found.is_error()) {
        Some(found) => Err(format!("a rule that was made up is wrong: {}", found.message).into()),
        None => Ok(loaded.properties),
    }
}

fn simple(arguments: &Arguments, frames: &mut Preloaded) -> Result<(), Failure> {
    writeln!(io::stdout(), "simple rules\n{HEADING}")?;
    for count in &arguments.simple {
        let mut random = Random::new(7);
        let rules: String = (1..=*count)
            .map(|id| simple_rule(id, &mut random))
            .collect();
        measure(arguments.runs, &rules, frames)?.print()?;
    }
    Ok(())
}

fn mixed(arguments: &Arguments, frames: &mut Preloaded) -> Result<(), Failure> {
    writeln!(
        io::stdout(),
        "12,400 simple and 600 complex rules\n{HEADING}"
    )?;
    let mut random = Random::new(7);
    let mut rules: String = (1..=12_400)
        .map(|id| simple_rule(id, &mut random))
        .collect();
    rules.extend((20_001..=20_600).map(|id| complex_rule(id, &mut random)));
    measure(arguments.runs, &rules, frames)?.print()
}

/// One rule, on one line.
fn property(id: u32, window_ms: u32, events: &[String]) -> String {
    let mut text = String::new();
    let event = |number: usize| {
        let condition = events.get(number).map_or("", String::as_str);
        let condition = condition.replace("&&", "&amp;&amp;").replace('<', "&lt;");
        let number = number + 1;
        format!("<event event_id=\"{number}\" boolean_expression=\"{condition}\"/>")
    };
    let common = format!(
        "property_id=\"{id}\" type_property=\"ATTACK\" description=\"made up\" delay_units=\"ms\" \
         delay_min=\"0+\" delay_max=\"{window_ms}\""
    );
    let open = "<operator value=\"THEN\" delay_units=\"ms\" delay_min=\"0+\"";
    let _ = match events.len() {
        1 => write!(
            text,
            "<property value=\"COMPUTE\" property_id=\"{id}\" type_property=\"ATTACK\" \
             description=\"made up\">{}",
            event(0)
        ),
        2 => write!(
            text,
            "<property value=\"THEN\" {common}>{}{}",
            event(0),
            event(1)
        ),
        _ => write!(
            text,
            "<property value=\"THEN\" {common}>{open} delay_max=\"{window_ms}\">{}{}</operator>{}",
            event(0),
            event(1),
            event(2)
        ),
    };
    text.push_str("</property>\n");
    text
}

fn address(random: &mut Random) -> String {
    let [a, b, c] = [0; 3].map(|_| random.below(254) + 1);
    format!("'10.{a}.{b}.{c}'")
}

fn word(random: &mut Random) -> String {
    let letter = |n: u64| char::from(b'a' + u8::try_from(n % 26).unwrap_or(0));
    let length = 6 + random.below(8);
    (0..length).map(|_| letter(random.below(26))).collect()
}

/// A condition on one packet that seldom holds, of the kinds that people write.
fn rare(random: &mut Random) -> String {
    let port = random.below(64_000) + 1_024;
    match random.below(100) {
        0..15 => format!("((tcp.dest_port == {port}) && (tcp.flags == 2))"),
        15..25 => format!(
            "((udp.dest_port == {port}) && (udp.len > {}))",
            random.below(500)
        ),
        25..35 => format!("(ip.src == {})", address(random)),
        35..45 => format!(
            "((ip.dst == {}) && (tcp.dest_port == {port}))",
            address(random)
        ),
        45..65 => format!("(#strstr(http.uri, '/{}.php') != 0)", word(random)),
        65..75 => format!("(http.host == '{}.example')", word(random)),
        75..80 => format!("(#strstr(http.user_agent, '{}/') != 0)", word(random)),
        80..90 => {
            let word = word(random);
            format!("((tcp.dest_port == {port}) && (#strstr(tcp.p_payload, '{word}') != 0))")
        }
        90..95 => format!(
            "((ip.tot_len > {}) && (ip.proto_id == {}))",
            random.below(1_000) + 400,
            random.below(100) + 150
        ),
        _ => format!("((ip.identification == {port}) && (tcp.flags == 41))"),
    }
}

fn simple_rule(id: u32, random: &mut Random) -> String {
    property(id, 0, &[rare(random)])
}

/// Two or three events of a pair of hosts.
fn complex_rule(id: u32, random: &mut Random) -> String {
    let pair = |number: u32| format!("(ip.src == ip.src.{number}) && (ip.dst == ip.dst.{number})");
    let port = random.below(3_000) + 1;
    let first = match random.below(3) {
        0 => rare(random),
        1 => format!("((tcp.dest_port == {port}) && (tcp.flags == 2))"),
        _ => format!("((tcp.src_port == {port}) && (tcp.flags == 18))"),
    };
    let mut events = vec![first];
    events.push(format!(
        "((tcp.flags == {}) && {})",
        pick([2, 4, 16, 18], random),
        pair(1)
    ));
    if random.below(2) == 0 {
        let other = "(tcp.dest_port != tcp.dest_port.2)";
        events.push(format!("((tcp.flags == 2) && {other} && {})", pair(2)));
    }
    let window = pick([10, 100, 1_000, 5_000], random);
    property(id, window, &events)
}

fn pick(from: [u32; 4], random: &mut Random) -> u32 {
    from.get(random.index(from.len())).copied().unwrap_or(0)
}

/// An Ethernet frame with a TCP segment: last octets of the addresses' host parts, ports, flags.
fn segment(hosts: [u32; 2], ports: [u16; 2], flags: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0]);
    for host in hosts {
        frame.extend((0x0a00_0000 | host).to_be_bytes());
    }
    for port in ports {
        frame.extend(port.to_be_bytes());
    }
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// An ARP message of this operation between two hosts.
fn arp(operation: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6];
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend([2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
    frame.resize(60, 0);
    frame
}

/// Frames in a capture file, one every microsecond from `start` on, and back from there.
fn stored(
    folder: &Path,
    start_us: u64,
    frames: impl Iterator<Item = Vec<u8>>,
) -> Result<Preloaded, Failure> {
    let path = folder.join("frames.pcap");
    let out = BufWriter::with_capacity(1 << 20, std::fs::File::create(&path)?);
    let mut writer = PcapWriter::new(out, LinkType::ETHERNET)?;
    for (data, time) in frames.zip(start_us..) {
        writer.write(&frame(time * 1_000, &data))?;
    }
    writer.flush()?;
    drop(writer);
    preload(&path)
}

/// The time of a packet with these rules and without any, after `before` has passed once.
#[allow(clippy::cast_precision_loss, reason = "printed with a few digits")]
fn with_and_without(
    arguments: &Arguments,
    rules: &str,
    before: Option<&mut Preloaded>,
    frames: &mut Preloaded,
) -> Result<(f64, f64, u64), Failure> {
    let folder = tempfile::tempdir()?;
    write_files(folder.path(), rules)?;
    let limits = Limits {
        per_rule: 2_000_000,
        total: 4_000_000,
        ..Limits::default()
    };
    let worker = |properties| {
        let rules = Arc::new(RuleSet::new(properties, Mode::Standard).0);
        let settings = Settings {
            instances: Some(limits),
            ..Settings::default()
        };
        Worker::new(rules, &settings, Scope::Rules)
    };
    let mut workers = [worker(read(folder.path())?), worker(Vec::new())];
    let mut alerts = 0;
    if let Some(before) = before {
        for worker in &mut workers {
            pass(worker, before, &mut alerts)?;
        }
    }
    let packets = frames.frames() as f64;
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    // In turns, so that what disturbs the machine disturbs both.
    for run in 0..=arguments.runs {
        for (worker, times) in workers.iter_mut().zip(&mut times) {
            let (began, mut spent, mut passes) = (cpu_nanos()?, 0, 0.0);
            while spent < RUN_NANOS_MIN {
                pass(worker, frames, &mut alerts)?;
                passes += 1.0;
                spent = cpu_nanos()?.saturating_sub(began);
            }
            if run > 0 {
                times.push(spent as f64 / packets / passes);
            }
        }
    }
    let [with, without] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    });
    let live = workers.first_mut().map_or(0, |w| w.counters().rules.live);
    Ok((with, without, live))
}

fn live(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    writeln!(
        io::stdout(),
        "one rule of two events, by live instances of distinct keys\n\
         {:>9} {:>11} {:>11} {:>12} {:>9}",
        "instances",
        "ns/packet",
        "no rules",
        "ns/match",
        "live"
    )?;
    let pair = "(ip.src == ip.dst.1) && (ip.dst == ip.src.1)";
    let answer = format!("((tcp.flags == 18) && {pair})");
    let rule = property(1, 3_600_000, &["(tcp.flags == 2)".to_owned(), answer]);
    for count in &arguments.live {
        let open = |host: u32| segment([host, 0x00ff_ffff], [4_000, 80], 2);
        let close = |host: u32| segment([0x00ff_ffff, host], [80, 4_000], 18);
        let mut before = stored(folder, 1_000_000, (0..*count).map(open))?;
        // Every second packet is answered by the next: so many live on.
        let mut random = Random::new(3);
        let mut host = 0;
        let frames = (0..400_000).map(|number| {
            if number % 2 == 0 {
                host = u32::try_from(random.below(u64::from(*count))).unwrap_or(0);
                return close(host);
            }
            open(host)
        });
        let mut frames = stored(folder, 1_000_000 + u64::from(*count), frames)?;
        let found = with_and_without(arguments, &rule, Some(&mut before), &mut frames)?;
        let (with, without, live) = found;
        writeln!(
            io::stdout(),
            "{count:>9} {with:>11.1} {without:>11.1} {:>12.1} {live:>9}",
            with - without
        )?;
    }
    Ok(())
}

fn fat(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    writeln!(
        io::stdout(),
        "rules that nearly every packet opens, on one fast flow, by window\n\
         {:<12} {:>9} {:>11} {:>11} {:>7} {:>9}",
        "rule",
        "window ms",
        "ns/packet",
        "no rules",
        "ratio",
        "live"
    )?;
    let pair = |number: u32| format!("(ip.src == ip.src.{number}) && (ip.dst == ip.dst.{number})");
    let rules: [(&str, [String; 3]); 3] = [
        (
            "arp",
            [
                "(arp.ar_op == 1)".to_owned(),
                "((arp.ar_op == 2) && (arp.ar_sip == arp.ar_tip.1))".to_owned(),
                "((arp.ar_op == 2) && (arp.ar_sip == arp.ar_tip.1) && \
                 (arp.ar_sha != arp.ar_sha.2))"
                    .to_owned(),
            ],
        ),
        (
            "protocols",
            [
                "(ip.proto_id != 0)".to_owned(),
                format!("((ip.proto_id != ip.proto_id.1) && {})", pair(1)),
                format!("((ip.proto_id != ip.proto_id.2) && {})", pair(1)),
            ],
        ),
        (
            "ack",
            [
                "(tcp.flags == 16)".to_owned(),
                format!(
                    "((tcp.flags == 16) && (tcp.dest_port != tcp.dest_port.1) && {})",
                    pair(1)
                ),
                format!(
                    "((tcp.flags == 16) && (tcp.dest_port != tcp.dest_port.2) && {})",
                    pair(1)
                ),
            ],
        ),
    ];
    for (name, events) in rules {
        for window in [10, 100, 1_000, 10_000] {
            let frames = (0..200_000_u32).map(|number| match name {
                "arp" if number % 2 == 0 => arp(1),
                "arp" => arp(2),
                _ => segment([1, 2], [4_000, 80], 16),
            });
            let mut frames = stored(folder, 1_000_000, frames)?;
            let rule = property(1, window, &events);
            let found = with_and_without(arguments, &rule, None, &mut frames)?;
            let (with, without, live) = found;
            writeln!(
                io::stdout(),
                "{name:<12} {window:>9} {with:>11.1} {without:>11.1} {:>7.2} {live:>9}",
                with / without
            )?;
        }
    }
    Ok(())
}
