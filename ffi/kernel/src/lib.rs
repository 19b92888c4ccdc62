//! Questions to Linux that no file answers: is the system clock steered, and which driver and
//! firmware does a network interface have? Nothing is changed by asking, and no privilege is
//! needed.

use std::time::Duration;

/// How well the system clock keeps time, as the kernel knows from whoever steers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// A program steers it by another clock, and has done so lately.
    pub synchronized: bool,
    /// Farthest that it may be off; grows by 500 us in each second in which nobody steers it.
    pub error_max: Duration,
    /// How far it is off by estimate of the program that steers it.
    pub error_estimate: Duration,
}

/// Driver and firmware of a network interface.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Name of the kernel's driver.
    pub driver: String,
    /// Version of the firmware as the driver writes it, such as `9.20 0x8000d95a 22.0.9`; empty
    /// where it has none.
    pub firmware: String,
}

/// Ask for the state of the system clock: adjtimex(2) without a change. None where the kernel
/// refuses.
#[cfg(target_os = "linux")]
pub fn clock() -> Option<Clock> {
    // SAFETY: all-zero is a valid value of this structure of integers; it asks for no change.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid, and modes is 0, with which the call only reads.
    let code = unsafe { libc::adjtimex(&raw mut state) };
    let micros = |value: libc::c_long| Duration::from_micros(u64::try_from(value).unwrap_or(0));
    (code >= 0).then(|| Clock {
        synchronized: code != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0,
        error_max: micros(state.maxerror),
        error_estimate: micros(state.esterror),
    })
}

/// Elsewhere nobody knows.
#[cfg(not(target_os = "linux"))]
pub fn clock() -> Option<Clock> {
    None
}

/// `struct ethtool_drvinfo` of linux/ethtool.h, which all versions of Linux have alike.
#[cfg(target_os = "linux")]
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    rest: [u8; 96],
}

#[cfg(target_os = "linux")]
const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `ETHTOOL_GDRVINFO` of linux/ethtool.h.
#[cfg(target_os = "linux")]
const ETHTOOL_GDRVINFO: u32 = 3;

/// Ask for the driver and firmware of the interface with this name. None when there is no such
/// interface, or its driver does not tell.
#[cfg(target_os = "linux")]
pub fn adapter(interface: &str) -> Option<Adapter> {
    use std::os::fd::AsRawFd as _;
    // Any socket takes the question.
    let socket = std::os::unix::net::UnixDatagram::unbound().ok()?;
    // SAFETY: all-zero is a valid value of this structure of integers, arrays and a null pointer.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays 0, as the end of the name.
    let room = request.ifr_name.len().checked_sub(1)?;
    if interface.is_empty() || interface.len() > room {
        return None;
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        rest: [0; 96],
    };
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: the request and the structure that it points to live during the call, and the kernel
    // writes as many bytes as the structure of this command has.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    (code == 0).then(|| Adapter {
        driver: text(&info.driver),
        firmware: text(&info.firmware),
    })
}

/// Elsewhere nobody knows.
#[cfg(not(target_os = "linux"))]
pub fn adapter(_: &str) -> Option<Adapter> {
    None
}

/// The bytes before the first zero.
#[cfg(target_os = "linux")]
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_has_a_state() {
        let clock = clock().unwrap();
        assert!(clock.error_max >= Duration::ZERO);
    }

    #[test]
    fn interfaces_that_are_none_have_no_adapter() {
        assert_eq!(adapter(""), None);
        assert_eq!(adapter("no-such-device"), None);
        assert_eq!(adapter("a-name-that-is-longer-than-any-interface"), None);
    }

    #[test]
    fn text_ends_at_a_zero() {
        assert_eq!(text(b"i40e\0\0x"), "i40e");
        assert_eq!(text(b"full"), "full");
    }
}
