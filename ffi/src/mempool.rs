//! Receive buffers: taken once, at start.

use crate::eal::Eal;
use crate::error::{Error, last_reason};
use crate::{HEADROOM, sys};
use memory::pool::{self, bytes as pool_bytes};
use std::ffi::{CString, c_int};
use std::ptr::NonNull;

/// Buffers that a registered thread keeps at hand: most bursts then leave the shared pool alone.
pub const CACHE: u32 = pool::CACHE;

/// SOCKET_ID_ANY: no NUMA node in particular.
const ANY: c_int = -1;

/// A pool of receive buffers.
#[derive(Debug)]
pub(crate) struct Mempool {
    raw: NonNull<sys::rte_mempool>,
    count: u32,
    near: bool,
    _eal: Eal,
}

// SAFETY: a DPDK pool is made for use by many threads at once; its free is called by the one owner.
unsafe impl Send for Mempool {}
// SAFETY: as above; the shared methods only hand out the pointer or read a count.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Take `count` buffers that hold `data_bytes` each, on NUMA node `node` if that has room.
    pub(crate) fn new(
        eal: &Eal,
        name: &str,
        count: u32,
        data_bytes: u16,
        node: Option<u16>,
    ) -> Result<Self, Error> {
        let c_name = CString::new(name).map_err(|_| Error::NulByte(name.to_owned()))?;
        let failure = |reason| Error::Buffers {
            count,
            bytes: pool_bytes(count, data_bytes),
            reason,
        };
        let room = data_bytes
            .checked_add(HEADROOM)
            .ok_or_else(|| failure("a buffer holds at most 65407 bytes".to_owned()))?;
        let take = |node: c_int| {
            // SAFETY: EAL is initialised and the name is a valid string, which the pool copies.
            let raw = unsafe {
                sys::rte_pktmbuf_pool_create(c_name.as_ptr(), count, CACHE, 0, room, node)
            };
            NonNull::new(raw)
        };
        let near = node.map(|node| take(c_int::from(node)));
        let raw = near.flatten().or_else(|| take(ANY));
        Ok(Self {
            raw: raw.ok_or_else(|| failure(last_reason()))?,
            count,
            near: near != Some(None),
            _eal: eal.clone(),
        })
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }

    /// Are the buffers on the node that was asked for?
    pub(crate) fn near(&self) -> bool {
        self.near
    }

    /// Buffers in all.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Buffers that are free now, those in the caches of threads included.
    pub(crate) fn available(&self) -> u32 {
        // SAFETY: the pool is alive as long as `self`.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }
}

impl Drop for Mempool {
    fn drop(&mut self) {
        // SAFETY: the port that used the pool is closed and its queues gave their buffers back: the
        // port owns the pool, and every queue holds the port.
        unsafe { sys::rte_mempool_free(self.raw.as_ptr()) };
    }
}
