//! DPDK 22.11 for the appliance: with `memory` the only crate of it with `unsafe` code.
//!
//! ```text
//! Eal::init -> Device::open -> Device::start -> Port (shared) + one RxQueue per queue (owned)
//! ```
//!
//! A thread that receives calls [`register_thread`] first, then [`RxQueue::receive`] and
//! [`RxQueue::frames`] in turn. Frames borrow their queue, so that the compiler ends their lives
//! before the next receive hands their buffers back. Everything is released by dropping: the last
//! queue and the last handle of a port stop it, the last user of [`Eal`] cleans that up.
//! Nothing is global but the fact that EAL starts once per process.

mod clock;
mod device;
mod eal;
mod error;
mod mempool;
mod port;
mod queue;
mod spread;
mod statistics;
mod sys;

pub use clock::{tsc, tsc_hz};
pub use device::{Device, DeviceInfo, RxConfig};
pub use eal::{Eal, ThreadRegistration, allowed_cpus, register_thread, version};
pub use error::Error;
pub use memory::pool::{HEADROOM, buffers_needed, bytes as pool_bytes};
pub use mempool::CACHE as MEMPOOL_CACHE;
pub use port::{Link, Port};
pub use queue::{Frame, RxQueue};
pub use spread::{HashKey, Hashed, Rss};
pub use statistics::{QueueStatistics, Statistics};

/// Frames in one burst: the vector receive functions of the Intel drivers take no fewer.
pub const BURST: usize = sys::SHIM_BURST as usize;

const _: () = assert!(BURST == memory::pool::BURST as usize);
const _: () = assert!(sys::SHIM_HEADROOM as u64 == HEADROOM as u64);
