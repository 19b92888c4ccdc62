//! What receiving costs: CPU time per packet from `net_null`, one call per burst, the first byte of
//! each frame read. Median of the rounds; run with `cargo bench --bench receive`.

use std::error::Error;
use std::io::Write;
use wirelynx::capture::dpdk::{PortSettings, Settings, start};
use wirelynx::capture::{Burst, Capture};

const ROUNDS: usize = 9;
const PACKETS: u64 = 20_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings {
        ports: vec![PortSettings::new("net_null0,size=64")],
        ..Settings::default()
    };
    let (mut captures, _monitor) = start(&settings)?.captures(1);
    let capture = captures.first_mut().ok_or("no capture")?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (start, mut count, mut sum) = (cpu_nanos()?, 0, 0_u64);
        while count < PACKETS {
            let mut burst = Burst::new();
            capture.receive(&mut burst)?;
            for frame in &burst {
                sum += u64::from(frame.data.first().copied().unwrap_or(0));
            }
            count += u64::try_from(burst.len())?;
        }
        std::hint::black_box(sum);
        rounds.push((cpu_nanos()? - start) * 100 / count);
    }
    rounds.sort_unstable();
    let median = rounds.get(ROUNDS / 2).copied().unwrap_or_default();
    writeln!(
        std::io::stdout(),
        "{}.{:02} ns a packet (median of {ROUNDS} rounds of {PACKETS}; {rounds:?} hundredths)",
        median / 100,
        median % 100,
    )?;
    Ok(())
}

/// CPU time of this thread: on a busy machine, elapsed time measures the neighbours.
fn cpu_nanos() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
