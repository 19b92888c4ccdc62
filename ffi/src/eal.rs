//! The environment abstraction layer: started once, and left when its last user is gone.

use crate::error::{Error, last_reason};
use crate::sys;
use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// EAL keeps process-wide state and cannot be started a second time, not even after a failure.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Release of DPDK whose libraries this process has loaded, such as `22.11.4`. It may be a later
/// one than the program was built with. EAL need not be started.
pub fn version() -> String {
    // SAFETY: it takes nothing and gives a pointer to a constant string that ends with a NUL.
    let text = unsafe { CStr::from_ptr(sys::rte_version()) };
    let text = text.to_string_lossy();
    text.strip_prefix("DPDK ").unwrap_or(&text).to_owned()
}

/// A started EAL. Clones share it; the last one dropped cleans up.
#[derive(Debug, Clone)]
pub struct Eal(Arc<Started>);

#[derive(Debug)]
struct Started {
    /// One bit per port that is open, so that no port is configured twice.
    open_ports: AtomicU32,
}

const _: () = assert!(sys::RTE_MAX_ETHPORTS <= u32::BITS);

impl Eal {
    /// Start EAL with these arguments (without a program name).
    ///
    /// EAL pins the calling thread to its main core, and threads started later would inherit that;
    /// so the thread gets its own set of CPUs back.
    ///
    /// # Errors
    /// It was started before, an argument holds a NUL byte, or EAL refuses; it prints why.
    pub fn init(arguments: &[String]) -> Result<Self, Error> {
        let mut argv: Vec<*mut c_char> = Vec::with_capacity(arguments.len() + 1);
        let program = "wirelynx".to_owned();
        for argument in std::iter::once(&program).chain(arguments) {
            let text =
                CString::new(argument.as_str()).map_err(|_| Error::NulByte(argument.clone()))?;
            // EAL may keep pointers into its arguments for the life of the process, so they are
            // given away. This happens once.
            argv.push(text.into_raw());
        }
        let argc = c_int::try_from(argv.len()).map_err(|_| Error::Eal {
            reason: "too many arguments".to_owned(),
        })?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyInitialised);
        }

        let affinity = affinity();
        // SAFETY: argc counts the valid, NUL-terminated strings in argv, which live for ever; argv
        // itself is only read during the call. STARTED makes this the only call.
        let code = unsafe { sys::rte_eal_init(argc, argv.as_mut_ptr()) };
        let failure = (code < 0).then(last_reason);
        if let Some(affinity) = affinity {
            // SAFETY: the set was filled by the kernel and has the size that is passed. A failure
            // leaves the thread pinned, which is slower but not wrong.
            let _ = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &affinity) };
        }
        match failure {
            Some(reason) => Err(Error::Eal { reason }),
            None => Ok(Self(Arc::new(Started {
                open_ports: AtomicU32::new(0),
            }))),
        }
    }

    /// Take port `id`; none when it is taken.
    pub(crate) fn claim(&self, id: u16) -> Option<Claim> {
        let bit = 1_u32.checked_shl(u32::from(id))?;
        let before = self.0.open_ports.fetch_or(bit, Ordering::AcqRel);
        (before & bit == 0).then(|| Claim {
            eal: self.clone(),
            bit,
        })
    }
}

/// The right to configure one port; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    eal: Eal,
    bit: u32,
}

impl Claim {
    /// The EAL that the port belongs to.
    pub(crate) fn eal(&self) -> &Eal {
        &self.eal
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.eal.0.open_ports.fetch_and(!self.bit, Ordering::AcqRel);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: EAL is initialised, and this is its last user: every port, pool and registered
        // thread holds a clone of the handle.
        let _ = unsafe { sys::rte_eal_cleanup() };
    }
}

/// The CPUs that the calling thread may run on.
fn affinity() -> Option<libc::cpu_set_t> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the pointer is valid for the size that is passed.
    let code =
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
    // SAFETY: all-zero is a valid set, and the kernel has written to it.
    (code == 0).then(|| unsafe { set.assume_init() })
}

/// Numbers of the CPUs that the calling thread may run on, in ascending order.
pub fn allowed_cpus() -> Vec<usize> {
    let Some(set) = affinity() else {
        return Vec::new();
    };
    let limit = size_of::<libc::cpu_set_t>() * 8;
    (0..limit)
        // SAFETY: the CPU number is below the number of bits in the set.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// Proof that a thread is known to EAL; dropping it, on that thread, ends that.
#[derive(Debug)]
pub struct ThreadRegistration {
    /// False when the thread was known before, as the one that started EAL is.
    ours: bool,
    _eal: Eal,
    /// Registration belongs to the thread, so the proof must not leave it.
    _thread: PhantomData<*mut ()>,
}

/// Make the calling thread known to EAL, which gives it a cache of buffers of its own: without it
/// every packet costs a trip to the shared pool.
///
/// # Errors
/// EAL has no number left for another thread.
pub fn register_thread(eal: &Eal) -> Result<ThreadRegistration, Error> {
    // SAFETY: reads a thread-local integer.
    let known = unsafe { sys::shim_thread_is_registered() } != 0;
    if !known {
        // SAFETY: EAL is initialised; a thread may register itself at any time.
        let code = unsafe { sys::rte_thread_register() };
        if code < 0 {
            return Err(Error::Call {
                device: "thread".to_owned(),
                call: "register with EAL",
                reason: last_reason(),
            });
        }
    }
    Ok(ThreadRegistration {
        ours: !known,
        _eal: eal.clone(),
        _thread: PhantomData,
    })
}

impl Drop for ThreadRegistration {
    fn drop(&mut self) {
        if self.ours {
            // SAFETY: this thread registered itself and the type cannot leave it.
            unsafe { sys::rte_thread_unregister() };
        }
    }
}
