//! Frames in: capture files and, with feature `dpdk`, live ports.

mod damage;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod fault;
pub mod file;
mod input;
pub mod memory;
pub mod merged;
pub mod parcel;
mod pcap;
mod pcapng;
mod record;
pub mod room;
pub mod rss;
pub mod spread;
pub mod toeplitz;
pub mod waits;
pub mod writer;

pub use damage::Damage;

use crate::limits::BURST_MAX;
use crate::packet::Frame;
use arrayvec::ArrayVec;

/// Release of DPDK that this process has loaded, such as `22.11.4`; `none` in a build without.
pub fn dpdk_version() -> String {
    #[cfg(feature = "dpdk")]
    return dpdk_sys::version();
    #[cfg(not(feature = "dpdk"))]
    "none".to_owned()
}

/// Frames received together. They are valid until the next receive of their source.
pub type Burst<'a> = ArrayVec<Frame<'a>, BURST_MAX>;

/// A source of frames: a capture file, the queues of some ports, or a test.
pub trait Capture {
    /// Fill `burst` (which is empty) with what there is, without waiting for more than that.
    ///
    /// A live source with nothing to give returns [`Progress::Idle`]; a file that has ended returns
    /// [`Progress::End`], also on every later call. A damaged file gives its whole frames first.
    ///
    /// # Errors
    /// The source failed for good (a port was unplugged, a file cannot be read).
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<Progress, Error>;

    /// What it counted so far.
    fn counters(&self) -> Counters;
}

/// What a receive found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Frames are in the burst.
    Frames,
    /// Nothing now; ask again.
    Idle,
    /// Nothing any more.
    End,
}

/// What a source counted of its own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed out.
    pub received: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// Frames the source read or received but could not hand out, by [`crate::packet::DropReason`].
    pub dropped: [u64; crate::packet::DropReason::ALL.len()],
    /// Bytes of input consumed and the total where it is known, for a progress bar.
    pub position: (u64, Option<u64>),
    /// How long frames may have waited in receive queues; of live ports only.
    pub waits: waits::Waits,
}

/// Why a source failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a capture file.
    #[error("{path}: not a capture file: {reason}")]
    Format {
        /// Which file.
        path: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// More than [`crate::limits::MERGED_FILES_MAX`] at the same time.
    #[error("files to merge: {found}, at most {}", crate::limits::MERGED_FILES_MAX)]
    TooManyFiles {
        /// How many.
        found: usize,
    },
    /// Live capture cannot work on this machine as asked.
    #[error("DPDK: {reason}")]
    Environment {
        /// What failed, and what to do about it.
        reason: String,
    },
    /// A live port failed.
    #[error("port {port}: {reason}")]
    Port {
        /// Which port, as configured.
        port: String,
        /// What failed, and what to do about it.
        reason: String,
    },
}
