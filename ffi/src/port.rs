//! A started port, as its queues and the control side share it.

use crate::device::DeviceInfo;
use crate::eal::Claim;
use crate::error::{Error, check};
use crate::mempool::Mempool;
use crate::spread::Rss;
use crate::statistics::{QueueStatistics, Statistics};
use crate::sys;
use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pause between looks at a link that is not up yet.
const LINK_POLL: Duration = Duration::from_millis(50);

/// Extended counters of one port that are read at most: a driver may add some per queue.
const EXTENDED_MAX: usize = 8_192;

/// State of a link.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Can frames arrive?
    pub up: bool,
    /// Megabits per second; `u32::MAX` when the driver does not know.
    pub mbps: u32,
}

/// Where drivers store receive times, and in which unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) offset: i32,
    pub(crate) flag: u64,
    pub(crate) nanos: u64,
}

/// A started port; stopped and closed when the last handle to it is gone, queues included.
pub struct Port {
    pub(crate) id: u16,
    pub(crate) info: DeviceInfo,
    pub(crate) queues: u16,
    pub(crate) descriptors: u16,
    pub(crate) rss: Rss,
    /// Queue by low bits of the hash; empty where the driver does not say.
    pub(crate) redirection: Vec<u16>,
    pub(crate) promiscuous: bool,
    pub(crate) stamp: Stamp,
    /// Set by the driver's removal event.
    pub(crate) removed: Arc<AtomicBool>,
    /// One control call at a time: drivers do not lock their slow paths.
    pub(crate) control: Mutex<()>,
    /// Freed after the port is closed: fields are dropped after `drop` ran.
    pub(crate) pool: Mempool,
    /// Given back last, when nothing of the port is in use any more.
    pub(crate) _claim: Claim,
}

impl Port {
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn control(&self) -> MutexGuard<'_, ()> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Index of the port in EAL.
    pub fn index(&self) -> u16 {
        self.id
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// What the driver says of the device.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Receive queues in use.
    pub fn queues(&self) -> u16 {
        self.queues
    }

    /// Descriptors of each queue, after the driver's limits.
    pub fn descriptors(&self) -> u16 {
        self.descriptors
    }

    /// How frames are spread over the queues.
    pub fn rss(&self) -> &Rss {
        &self.rss
    }

    /// Its redirection table, as read back after the start: queue by low bits of the hash. Empty
    /// where the driver has none; drivers that do not spread by it may give any.
    pub fn redirection(&self) -> &[u16] {
        &self.redirection
    }

    /// Does the port receive frames for every address?
    pub fn promiscuous(&self) -> bool {
        self.promiscuous
    }

    /// Does the driver stamp frames with nanoseconds since the epoch?
    pub fn stamps(&self) -> bool {
        self.stamp.flag != 0
    }

    /// NUMA node of the device; none when it has none or the machine does not say.
    pub fn node(&self) -> Option<u16> {
        self.info.node
    }

    /// Are its buffers on its node? They are on another one when that had no memory left.
    pub fn buffers_near(&self) -> bool {
        self.pool.near()
    }

    /// Buffers that are free now.
    pub fn buffers_available(&self) -> u32 {
        self.pool.available()
    }

    /// Buffers of its pool in all.
    pub fn buffers(&self) -> u32 {
        self.pool.count()
    }

    /// Is the device still there? Never waits: while another thread asks the driver something, the
    /// last answer stands. May make a system call, so it is for once a second, not for each burst.
    pub fn is_alive(&self) -> bool {
        if let Ok(_one) = self.control.try_lock() {
            // SAFETY: the port is open; the driver's check is made for any time.
            let removed = unsafe { sys::rte_eth_dev_is_removed(self.id) } == 1;
            let interface = self.info.interface;
            if removed || (interface != 0 && !interface_exists(interface)) {
                self.removed.store(true, Ordering::Relaxed);
            }
        }
        !self.removed.load(Ordering::Relaxed)
    }

    /// State of the link now.
    pub fn link(&self) -> Link {
        let _one = self.control();
        let mut link = MaybeUninit::<sys::rte_eth_link>::zeroed();
        // SAFETY: the port is open and the pointer valid; zero is a valid value of every field.
        let (code, link) = unsafe {
            let code = sys::rte_eth_link_get_nowait(self.id, link.as_mut_ptr());
            (code, link.assume_init())
        };
        Link {
            up: code >= 0 && link.link_status() != 0,
            mbps: link.link_speed,
        }
    }

    /// Wait until the link is up, at most `limit`; returns its last state.
    pub fn wait_for_link(&self, limit: Duration) -> Link {
        let start = Instant::now();
        loop {
            let link = self.link();
            if link.up || start.elapsed() >= limit {
                return link;
            }
            std::thread::sleep(LINK_POLL.min(limit));
        }
    }

    /// The port's own counters. Any thread may ask while others receive.
    ///
    /// # Errors
    /// The driver cannot say, for example because the device is gone.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        let _one = self.control();
        let mut raw = MaybeUninit::<sys::rte_eth_stats>::zeroed();
        // SAFETY: the port is open and the pointer valid; zero is a valid value of every field.
        let (code, raw) = unsafe {
            let code = sys::rte_eth_stats_get(self.id, raw.as_mut_ptr());
            (code, raw.assume_init())
        };
        check(self.name(), "read its counters", code)?;
        // Drivers that do not count by queue leave zeros.
        let counted = raw.q_ipackets.iter().any(|&count| count != 0);
        let queues = if counted { self.queues } else { 0 };
        let per_queue = raw.q_ipackets.iter().zip(&raw.q_ibytes).zip(&raw.q_errors);
        Ok(Statistics {
            received: raw.ipackets,
            bytes: raw.ibytes,
            missed: raw.imissed,
            errors: raw.ierrors,
            no_buffer: raw.rx_nombuf,
            queues: per_queue
                .take(usize::from(queues))
                .map(|((&received, &bytes), &errors)| QueueStatistics {
                    received,
                    bytes,
                    errors,
                })
                .collect(),
        })
    }

    /// Every counter that the driver has, by its name for it.
    ///
    /// # Errors
    /// The driver cannot say.
    pub fn extended_statistics(&self) -> Result<Vec<(String, u64)>, Error> {
        let _one = self.control();
        // SAFETY: a null array of size 0 asks for the number of counters.
        let count = unsafe { sys::rte_eth_xstats_get_names(self.id, std::ptr::null_mut(), 0) };
        check(self.name(), "count its extended counters", count)?;
        let count = usize::try_from(count).unwrap_or(0).min(EXTENDED_MAX);
        let size = u32::try_from(count).unwrap_or(0);
        let mut names = vec![sys::rte_eth_xstat_name { name: [0; 64] }; count];
        let mut values = vec![sys::rte_eth_xstat { id: 0, value: 0 }; count];
        // SAFETY: the array has room for `size` names.
        let named = unsafe { sys::rte_eth_xstats_get_names(self.id, names.as_mut_ptr(), size) };
        check(self.name(), "name its extended counters", named)?;
        // SAFETY: the array has room for `size` values.
        let valued = unsafe { sys::rte_eth_xstats_get(self.id, values.as_mut_ptr(), size) };
        check(self.name(), "read its extended counters", valued)?;
        // A count above the size means that more appeared meanwhile and nothing was written.
        let valued = usize::try_from(valued).unwrap_or(0);
        if valued > count || usize::try_from(named).unwrap_or(0) > count {
            return Ok(Vec::new());
        }
        Ok(values
            .iter()
            .take(valued)
            .filter_map(|value| {
                let name = names.get(usize::try_from(value.id).ok()?)?;
                Some((text(&name.name), value.value))
            })
            .collect())
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("id", &self.id)
            .field("info", &self.info)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        unwatch_removal(self.id, &self.removed);
        // SAFETY: the port was started and nobody receives any more, since every queue holds the
        // port. A failure is the driver's, and there is nothing left to undo.
        unsafe {
            let _ = sys::rte_eth_dev_stop(self.id);
            let _ = sys::rte_eth_dev_close(self.id);
        }
    }
}

/// Does the network interface of a virtual device still exist?
fn interface_exists(index: u32) -> bool {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call requires.
    !unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null()
}

/// Have the driver's removal event set a flag.
pub(crate) fn watch_removal(id: u16, flag: &Arc<AtomicBool>) -> c_int {
    let pointer = Arc::into_raw(Arc::clone(flag));
    // SAFETY: the callback has the signature that DPDK asks for; the pointer stays valid until the
    // callback is unregistered, because it owns one count of the flag.
    unsafe {
        sys::rte_eth_dev_callback_register(
            id,
            sys::RTE_ETH_EVENT_INTR_RMV,
            Some(on_removal),
            pointer.cast_mut().cast(),
        )
    }
}

/// Undo [`watch_removal`].
pub(crate) fn unwatch_removal(id: u16, flag: &Arc<AtomicBool>) {
    let pointer = Arc::as_ptr(flag);
    // SAFETY: the same function and pointer as registered.
    let code = unsafe {
        sys::rte_eth_dev_callback_unregister(
            id,
            sys::RTE_ETH_EVENT_INTR_RMV,
            Some(on_removal),
            pointer.cast_mut().cast(),
        )
    };
    if code == 0 {
        // SAFETY: takes back the count that the callback owned; it cannot run any more. On failure
        // (it is running right now) the count is left for ever: some bytes instead of a race.
        drop(unsafe { Arc::from_raw(pointer) });
    }
}

/// Called by EAL's interrupt thread. It only stores a flag, so it cannot unwind into C.
unsafe extern "C" fn on_removal(
    _port: u16,
    _event: sys::rte_eth_event_type,
    flag: *mut c_void,
    _result: *mut c_void,
) -> c_int {
    // SAFETY: the pointer was made from an `Arc<AtomicBool>` whose count the registration owns.
    unsafe { &*flag.cast::<AtomicBool>() }.store(true, Ordering::Relaxed);
    0
}

/// Text of a C string in an array that may lack its NUL.
pub(crate) fn text(bytes: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| byte.to_ne_bytes())
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text of a C string that may be null.
///
/// # Safety
/// `pointer` is null or points to a NUL-terminated string that lives during the call.
pub(crate) unsafe fn text_at(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}
