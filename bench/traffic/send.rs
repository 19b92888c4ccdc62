//! Frames of captures as datagrams of a Unix socket: how an emulated port takes them.

use std::io::{self, BufWriter};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wirelynx::capture::writer::PcapWriter;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::packet::{Frame, LinkType, Timestamp};

/// Shortest frame of Ethernet without its checksum (IEEE 802.3, 3.2.8): a port fills up what is
/// shorter, so that nothing else ever arrives.
const FRAME_LENGTH_MIN: usize = 60;

/// Bytes of all frames together, which are held in memory.
const BYTES_MAX: usize = 1 << 30;

/// How long a receiver may take nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shortest time between two frames: rules tell the order of packets by microseconds, and the times
/// of the record are to have the order of sending.
const STEP: Duration = Duration::from_micros(1);

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
}

/// A frame, and how long after the first one of its capture it came.
type Due = (Duration, Vec<u8>);

/// Send the frames of Ethernet captures to `socket`. All captures begin at once, and each keeps its
/// pace, with a microsecond between frames at least. With `record`, what was sent is written there
/// as a capture, with the times of sending.
///
/// # Errors
/// A capture cannot be read, has frames of another link or cut ones; the record cannot be written;
/// nobody listens, or takes nothing for 10 s.
pub(crate) fn send(
    captures: &[PathBuf],
    socket: &Path,
    record: Option<&Path>,
) -> Result<Summary, String> {
    let frames = frames(captures)?;
    let at = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let target = UnixDatagram::unbound()
        .and_then(|target| {
            target.connect(socket)?;
            target.set_write_timeout(Some(PATIENCE))?;
            Ok(target)
        })
        .map_err(|error| at(socket, error))?;
    let writer = record.map(|path| {
        let file = BufWriter::new(std::fs::File::create(path)?);
        PcapWriter::new(file, LinkType::ETHERNET)
    });
    let name = record.unwrap_or(socket);
    let mut writer = writer.transpose().map_err(|error| at(name, error))?;
    let mut summary = Summary {
        frames: 0,
        bytes: 0,
        elapsed: Duration::ZERO,
    };
    let start = Instant::now();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let since_1970 = since_1970.map_err(|error| error.to_string())?;
    let mut earliest = Duration::ZERO;
    for (due, data) in &frames {
        thread::sleep(due.saturating_sub(start.elapsed()));
        let now = wait(start, earliest);
        earliest = now + STEP;
        if let Some(writer) = &mut writer {
            let frame = frame(data, since_1970 + now);
            writer.write(&frame).map_err(|error| at(name, error))?;
        }
        target.send(data).map_err(|error| at(socket, error))?;
        summary.frames += 1;
        summary.bytes += u64::try_from(data.len()).unwrap_or(0);
    }
    summary.elapsed = start.elapsed();
    if let Some(writer) = &mut writer {
        writer.flush().map_err(|error| at(name, error))?;
    }
    Ok(summary)
}

/// Wait for less than a sleep can, and tell the time.
fn wait(start: Instant, earliest: Duration) -> Duration {
    loop {
        let now = start.elapsed();
        if now >= earliest {
            return now;
        }
        std::hint::spin_loop();
    }
}

fn frame(data: &[u8], time: Duration) -> Frame<'_> {
    Frame {
        data,
        wire_length: u32::try_from(data.len()).unwrap_or(u32::MAX),
        timestamp: Timestamp::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        link: LinkType::ETHERNET,
        ..Frame::EMPTY
    }
}

/// All frames, in the order in which they are due.
fn frames(captures: &[PathBuf]) -> Result<Vec<Due>, String> {
    let mut all = Vec::new();
    let mut bytes = 0;
    for path in captures {
        let name = path.display().to_string();
        read(&name, &mut all, &mut bytes).map_err(|error| match error.starts_with(&name) {
            true => error,
            false => format!("{name}: {error}"),
        })?;
    }
    all.sort_by_key(|(due, _)| *due);
    Ok(all)
}

fn read(name: &str, all: &mut Vec<Due>, bytes: &mut usize) -> Result<(), String> {
    let mut source = file::open(name).map_err(|error| error.to_string())?;
    let mut first = None;
    let mut number = 0_u64;
    loop {
        let mut burst = Burst::new();
        let progress = source.receive(&mut burst).map_err(|e| e.to_string())?;
        for frame in burst {
            number += 1;
            let length = frame.data.len();
            if frame.link != LinkType::ETHERNET {
                return Err(format!("frame {number} is not of Ethernet"));
            }
            if usize::try_from(frame.wire_length) != Ok(length) {
                let wire = frame.wire_length;
                return Err(format!("frame {number} has {length} of its {wire} bytes"));
            }
            let nanos = frame.timestamp.nanos();
            let due = nanos.saturating_sub(*first.get_or_insert(nanos));
            let mut data = frame.data.to_vec();
            data.resize(length.max(FRAME_LENGTH_MIN), 0);
            *bytes += data.len();
            if *bytes > BYTES_MAX {
                return Err(format!("more than {BYTES_MAX} bytes of frames"));
            }
            all.push((Duration::from_nanos(due), data));
        }
        if progress == Progress::End {
            return Ok(());
        }
    }
}
