//! Frames in memory, and the time that walking over them takes.

use crate::traffic::replicate::{Mix, Plan, load, replicate};
use std::error::Error;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use wirelynx::capture::memory::Preloaded;
use wirelynx::capture::writer::PcapWriter;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::packet::{Frame, LinkType, Timestamp};

/// Frames kept of one input.
const FRAMES_MAX: usize = 20_000_000;

/// Any error: a benchmark only prints it.
pub(crate) type Failure = Box<dyn Error>;

/// The frames of a capture file, again and again.
///
/// # Errors
/// It cannot be read, or holds none.
pub(crate) fn preload(path: &Path) -> Result<Preloaded, Failure> {
    let mut capture = file::open(&path.to_string_lossy())?;
    let preloaded = Preloaded::from_capture(&mut capture, FRAMES_MAX)?;
    if preloaded.frames() == 0 {
        return Err(format!("{}: no frames", path.display()).into());
    }
    Ok(preloaded.repeat(u64::MAX))
}

/// CPU time of this thread, which the system counts in nanoseconds.
///
/// # Errors
/// The system does not tell.
pub(crate) fn cpu_nanos() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

/// Give every frame once, in bursts.
///
/// # Errors
/// The source fails.
pub(crate) fn each_burst(
    frames: &mut Preloaded,
    mut take: impl FnMut(Burst<'_>),
) -> Result<(), Failure> {
    let mut left = frames.frames();
    while left > 0 {
        let mut burst = Burst::new();
        if frames.receive(&mut burst)? == Progress::End {
            break;
        }
        left = left.saturating_sub(burst.len());
        take(burst);
    }
    Ok(())
}

/// A captured frame, at this time in nanoseconds.
pub(crate) fn frame(time: u64, data: &[u8]) -> Frame<'_> {
    Frame {
        data,
        wire_length: u32::try_from(data.len()).unwrap_or(u32::MAX),
        timestamp: Timestamp::from_nanos(time),
        link: LinkType::ETHERNET,
        port: 0,
        queue: 0,
        ..Frame::EMPTY
    }
}

/// Write a replica of so many packets and flows to a folder.
///
/// # Errors
/// There is nothing to replicate, or the file cannot be written.
pub(crate) fn replica(
    folder: &Path,
    mix: Mix,
    (packets, flows): (u64, u64),
) -> Result<PathBuf, Failure> {
    let plan = Plan {
        packets,
        flows,
        mix,
        seed: 1,
        rate: 1_000_000,
        concurrent: 10_000,
    };
    let path = folder.join(format!("{mix:?}.pcap"));
    let out = BufWriter::with_capacity(1 << 20, std::fs::File::create(&path)?);
    let mut writer = PcapWriter::new(out, LinkType::ETHERNET)?;
    replicate(&load(&[], mix)?, &plan, &mut |time, data| {
        writer.write(&frame(time, data))
    })?;
    writer.flush()?;
    Ok(path)
}
