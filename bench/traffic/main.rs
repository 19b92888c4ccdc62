//! `wirelynx-traffic`: captures out of scenarios, and large captures out of real ones.
#![forbid(unsafe_code)]

#[path = "mod.rs"]
mod traffic;

use clap::{Parser, Subcommand};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use traffic::replicate::{CONCURRENT_MAX, FLOWS_MAX, Mix, Plan, load, replicate};
use wirelynx::capture::writer::PcapWriter;
use wirelynx::packet::{Frame, LinkType, Timestamp};

/// Traffic for tests, demonstrations and benchmarks of Wirelynx.
#[derive(Debug, Parser)]
#[command(name = "wirelynx-traffic", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the capture that a scenario describes (its language: bench/README.md).
    Generate {
        /// Scenario file; `-` reads standard input.
        scenario: PathBuf,
        /// Capture file to write.
        #[arg(short, long)]
        output: PathBuf,
        /// Start of all random numbers.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write a large capture of many copies of the TCP and UDP flows of others.
    Replicate {
        /// Ethernet captures in pcap format; without one, those of WIRELYNX_CAPTURES.
        captures: Vec<PathBuf>,
        /// Capture file to write.
        #[arg(short, long)]
        output: PathBuf,
        /// Packets to write.
        #[arg(long, default_value_t = 1_000_000,
            value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
        packets: u64,
        /// Flows to spread them over.
        #[arg(long, default_value_t = 100_000,
            value_parser = clap::value_parser!(u64).range(1..=FLOWS_MAX))]
        flows: u64,
        /// Which frames.
        #[arg(long, value_enum, default_value = "imix480")]
        mix: Mix,
        /// Start of all random numbers.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Packets a second, in the timestamps.
        #[arg(long, default_value_t = 1_000_000,
            value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
        rate: u64,
        /// Flows under way at one time.
        #[arg(long, default_value_t = 10_000)]
        concurrent: usize,
    },
    /// Send captures to an emulated port: one datagram a frame, each capture at its own pace.
    Send {
        /// Ethernet captures; all begin at once.
        #[arg(required = true)]
        captures: Vec<PathBuf>,
        /// Unix datagram socket of the receiver.
        #[arg(long, value_name = "SOCKET")]
        to: PathBuf,
        /// Capture file to write of what was sent, with the times of sending.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
    },
}

/// What went wrong, and the exit status that says so.
enum Failure {
    /// The user's input: status 2.
    Usage(String),
    /// Reading or writing: status 1.
    Running(String),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(line) => {
            // A closed standard output is no reason to fail: the capture is written.
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let (status, message) = match failure {
                Failure::Running(message) => (1, message),
                Failure::Usage(message) => (2, message),
            };
            let _ = writeln!(io::stderr(), "wirelynx-traffic: {message}");
            ExitCode::from(status)
        }
    }
}

fn run(command: Command) -> Result<String, Failure> {
    match command {
        Command::Generate {
            scenario,
            output,
            seed,
        } => generate(&scenario, &output, seed),
        Command::Replicate {
            captures,
            output,
            packets,
            flows,
            mix,
            seed,
            rate,
            concurrent,
        } => {
            if !(1..=CONCURRENT_MAX).contains(&concurrent) {
                let range = format!("--concurrent is from 1 to {CONCURRENT_MAX}");
                return Err(Failure::Usage(range));
            }
            let plan = Plan {
                packets,
                flows,
                mix,
                seed,
                rate,
                concurrent,
            };
            write_replica(&captures, &output, &plan)
        }
        Command::Send {
            captures,
            to,
            record,
        } => send(&captures, &to, record.as_deref()),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> Failure {
    let name = path.display().to_string();
    move |error| Failure::Running(format!("{name}: {error}"))
}

fn generate(scenario: &Path, output: &Path, seed: u64) -> Result<String, Failure> {
    let mut text = String::new();
    // One byte more than allowed, so that the generator sees that it is too long.
    let most = u64::try_from(traffic::text::SCENARIO_LENGTH_MAX).unwrap_or(u64::MAX - 1) + 1;
    if scenario == Path::new("-") {
        io::stdin().take(most).read_to_string(&mut text)
    } else {
        File::open(scenario).and_then(|file| file.take(most).read_to_string(&mut text))
    }
    .map_err(at(scenario))?;
    let frames = traffic::generate(&text, seed)
        .map_err(|error| Failure::Usage(format!("{}: {error}", scenario.display())))?;
    let file = BufWriter::new(File::create(output).map_err(at(output))?);
    traffic::write_capture(&frames, file).map_err(at(output))?;
    let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
    let packets = frames.len();
    Ok(format!(
        "{}: {packets} packets, {bytes} bytes",
        output.display()
    ))
}

fn send(captures: &[PathBuf], to: &Path, record: Option<&Path>) -> Result<String, Failure> {
    let summary = traffic::send::send(captures, to, record).map_err(Failure::Running)?;
    Ok(format!(
        "{}: {} packets, {} bytes in {:.1} s",
        to.display(),
        summary.frames,
        summary.bytes,
        summary.elapsed.as_secs_f64()
    ))
}

fn write_replica(captures: &[PathBuf], output: &Path, plan: &Plan) -> Result<String, Failure> {
    let templates = load(captures, plan.mix).map_err(|e| Failure::Running(e.to_string()))?;
    let file = BufWriter::with_capacity(1 << 20, File::create(output).map_err(at(output))?);
    let mut writer = PcapWriter::new(file, LinkType::ETHERNET).map_err(at(output))?;
    let summary = replicate(&templates, plan, &mut |time, data| {
        writer.write(&Frame {
            data,
            wire_length: u32::try_from(data.len()).unwrap_or(u32::MAX),
            timestamp: Timestamp::from_nanos(time),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        })
    })
    .map_err(at(output))?;
    writer.flush().map_err(at(output))?;
    let mean = summary.bytes / summary.packets.max(1);
    Ok(format!(
        "{}: {} packets, {} flows, {} bytes, mean size {mean} bytes",
        output.display(),
        summary.packets,
        summary.flows,
        summary.bytes
    ))
}
