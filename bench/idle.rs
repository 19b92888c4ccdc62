//! What an idle worker costs, and what a frame waits for: CPU time of a loop that finds nothing,
//! and the time from a frame's arrival on a queue to the loop that sees it, for each way to rest.
//! Run with `cargo bench --bench idle`; the sender needs a core of its own.

use crossbeam::queue::ArrayQueue;
use std::error::Error;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wirelynx::worker::idle::{Idle, Settings};

/// Frames whose wait is measured, for each way.
const FRAMES: usize = 2_000;

/// Time between two of them: long enough that the loop has come to rest again. The sender sleeps
/// for the first part and watches the clock for the second, which varies: the kernel wakes sleepers
/// together where it can, and the loop would seem to be awake whenever a frame arrives.
const GAP: [Duration; 2] = [Duration::from_micros(600), Duration::from_micros(200)];

/// How long the loop idles for its CPU time.
const QUIET: Duration = Duration::from_millis(500);

/// Name, and the settings that reach the step within the gap.
const WAYS: [(&str, Settings); 3] = [
    ("poll", settings(10_000_000, 0, 0)),
    ("pause", settings(50, 10_000_000, 0)),
    ("sleep", settings(50, 100, 50)),
];

const fn settings(poll_us: u64, pause_us: u64, sleep_us: u64) -> Settings {
    Settings {
        poll_us,
        pause_us,
        sleep_us,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    writeln!(out, "way     CPU while idle   wait p50     wait p99")?;
    for (name, settings) in WAYS {
        let cpu = quiet(&settings)?;
        let mut waits = waits(&settings);
        waits.sort_unstable();
        let at = |share: usize| waits.get(waits.len() * share / 100).copied();
        let micros = |nanos: Option<u64>| format!("{:.1} us", nanos.unwrap_or(0) as f64 / 1e3);
        writeln!(
            out,
            "{name:7} {cpu:13.1} %   {:9}    {:9}",
            micros(at(50)),
            micros(at(99))
        )?;
    }
    Ok(())
}

/// CPU time of an idle loop, in percent of the time.
fn quiet(settings: &Settings) -> Result<f64, Box<dyn Error>> {
    let queue: ArrayQueue<Instant> = ArrayQueue::new(64);
    let mut idle = Idle::new(settings);
    let (start, cpu) = (Instant::now(), cpu_nanos()?);
    let mut rounds = 0_u64;
    // The clock is read seldom, so that the loop and not the clock is measured.
    while !rounds.is_multiple_of(16) || start.elapsed() < QUIET {
        idle.rest(queue.pop().is_some());
        rounds += 1;
    }
    let used = cpu_nanos()?.saturating_sub(cpu);
    Ok(used as f64 * 100.0 / start.elapsed().as_nanos() as f64)
}

/// Nanoseconds that each frame waited.
fn waits(settings: &Settings) -> Vec<u64> {
    let queue = ArrayQueue::new(64);
    let done = AtomicBool::new(false);
    let mut waits = Vec::with_capacity(FRAMES);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for frame in 0..FRAMES {
                let [asleep, awake] = GAP;
                std::thread::sleep(asleep);
                let part = u32::try_from(frame % 64).unwrap_or(0);
                let (start, varying) = (Instant::now(), awake * part / 64);
                while start.elapsed() < varying {
                    std::hint::spin_loop();
                }
                let _ = queue.push(Instant::now());
            }
            done.store(true, Ordering::Release);
        });
        let mut idle = Idle::new(settings);
        // What was pushed before the end is popped before it: look at the end first.
        loop {
            let last = done.load(Ordering::Acquire);
            let frame: Option<Instant> = queue.pop();
            if let Some(sent) = frame {
                waits.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
            } else if last {
                break;
            }
            idle.rest(frame.is_some());
        }
    });
    waits
}

/// CPU time of this thread.
fn cpu_nanos() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
