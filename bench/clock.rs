//! Frames in memory, and the time that walking over them takes.

use std::error::Error;
use std::path::Path;
use wirelynx::capture::file;
use wirelynx::capture::memory::Preloaded;

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
