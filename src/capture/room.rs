//! What live ports take of the machine, and how they are named: known without DPDK, so that it can
//! be said before anything is started.

use memory::pool;

/// Frame bytes in one buffer: a whole frame of an ordinary network, so that only jumbo frames are
/// chained and copied.
pub const BUFFER_BYTES: u16 = 2_048;

/// Most queues of a port whose number is open, as in the configuration.
pub const QUEUES_MAX: usize = 64;

/// Memory for EAL itself: its tables, rings and pool headers.
pub const EAL_BYTES: u64 = 128 << 20;

/// Drivers of which every queue has frames, served or not: how many there are is decided where the
/// device is created, and the frames of a queue that nobody serves are lost.
pub const FIXED_QUEUES: [&str; 2] = ["net_pcap", "net_af_packet"];

/// Memory in bytes for the buffers of a port: as many as its queues need, and no fewer than
/// `buffers`.
pub fn pool_bytes(queues: u16, descriptors: u16, buffers: u32, buffer_bytes: u16) -> u64 {
    let needed = pool::buffers_needed(queues, descriptors);
    pool::bytes(needed.max(buffers), buffer_bytes)
}

/// `0000:01:00.0` or `01:00.0`.
pub fn is_pci_address(name: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.chars().all(|digit| digit.is_ascii_hexdigit())
    };
    let Some((slot, function)) = name.rsplit_once('.') else {
        return false;
    };
    let parts: Vec<&str> = slot.split(':').collect();
    let address = match parts.as_slice() {
        [bus, device] => hex(bus, 2) && hex(device, 2),
        [domain, bus, device] => hex(domain, 4) && hex(bus, 2) && hex(device, 2),
        _ => false,
    };
    address && hex(function, 1)
}
