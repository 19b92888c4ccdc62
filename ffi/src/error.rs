//! What can go wrong at start; receiving itself cannot fail.

use crate::sys;
use std::ffi::{CStr, c_int};
use std::fmt;

/// A failed start of EAL, of a pool or of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// EAL was initialised before; it can be once per process.
    AlreadyInitialised,
    /// An argument or name holds a NUL byte.
    NulByte(String),
    /// EAL refused to start; it printed why.
    Eal {
        /// Meaning of its error number.
        reason: String,
    },
    /// No such device; these are there.
    NoDevice {
        /// What was looked for.
        device: String,
        /// Names that EAL knows.
        known: Vec<String>,
    },
    /// The device is open already.
    Busy {
        /// Which one.
        device: String,
    },
    /// The configuration asks for something that the device does not have.
    Unsupported {
        /// Which device.
        device: String,
        /// What was asked and what it has.
        reason: String,
    },
    /// No memory for the receive buffers.
    Buffers {
        /// How many were asked for.
        count: u32,
        /// How many bytes they take.
        bytes: u64,
        /// Meaning of the error number.
        reason: String,
    },
    /// A call into the driver failed.
    Call {
        /// Which device.
        device: String,
        /// What was tried.
        call: &'static str,
        /// Meaning of the error number.
        reason: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyInitialised => f.write_str("EAL is initialised already in this process"),
            Self::NulByte(text) => write!(f, "{text:?} holds a NUL byte"),
            Self::Eal { reason } => write!(f, "EAL did not start: {reason}"),
            Self::NoDevice { device, known } if known.is_empty() => {
                write!(f, "no device {device}: EAL found none at all")
            }
            Self::NoDevice { device, known } => {
                write!(f, "no device {device}: EAL found {}", known.join(", "))
            }
            Self::Busy { device } => write!(f, "{device} is open already"),
            Self::Unsupported { device, reason } => write!(f, "{device}: {reason}"),
            Self::Buffers {
                count,
                bytes,
                reason,
            } => write!(
                f,
                "no memory for {count} receive buffers ({} MiB): {reason}",
                bytes >> 20
            ),
            Self::Call {
                device,
                call,
                reason,
            } => write!(f, "{device}: {call}: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// Text of an error number, negative or positive.
pub(crate) fn reason(number: c_int) -> String {
    // SAFETY: returns a pointer to a static or thread-local string, never null; it is copied before
    // the next call on this thread can overwrite it.
    let text = unsafe { CStr::from_ptr(sys::rte_strerror(number.saturating_abs())) };
    text.to_string_lossy().into_owned()
}

/// Text of the error that the last failed call left for this thread.
pub(crate) fn last_reason() -> String {
    // SAFETY: reads a thread-local integer.
    reason(unsafe { sys::shim_errno() })
}

/// Turn a negative return value into an error.
pub(crate) fn check(device: &str, call: &'static str, code: c_int) -> Result<(), Error> {
    if code >= 0 {
        return Ok(());
    }
    Err(Error::Call {
        device: device.to_owned(),
        call,
        reason: reason(code),
    })
}
