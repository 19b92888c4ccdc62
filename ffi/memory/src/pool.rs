//! How many receive buffers a port takes, and how much memory: for whoever takes them, and for
//! whoever says beforehand how much that will be, with DPDK or without.

/// Frames in one burst.
pub const BURST: u32 = 32;

/// Buffers that a registered thread keeps at hand: most bursts then leave the shared pool alone.
pub const CACHE: u32 = 256;

/// Bytes that every buffer keeps free before the frame: `RTE_PKTMBUF_HEADROOM`.
pub const HEADROOM: u16 = 128;

/// Bytes of one buffer beside its data: `struct rte_mbuf` and the pool's own header.
const OVERHEAD: u64 = 128 + 64;

/// Buffers of one queue beside those of its descriptors: a burst is being inspected, another is
/// being received, and a cache holds as much as it may (half over its size).
pub const PER_QUEUE: u32 = 2 * BURST + CACHE + CACHE / 2;

/// Buffers of a port beside those of its queues: one more cache, for the thread that starts EAL.
pub const PER_PORT: u32 = CACHE + CACHE / 2;

/// Buffers of a port such that no queue starves while its descriptors are full.
pub fn buffers_needed(queues: u16, descriptors: u16) -> u32 {
    let per_queue = u32::from(descriptors) + PER_QUEUE;
    u32::from(queues).max(1) * per_queue + PER_PORT
}

/// Bytes of one buffer for so many data bytes.
pub fn buffer_bytes(data_bytes: u16) -> u64 {
    OVERHEAD + u64::from(HEADROOM) + u64::from(data_bytes)
}

/// Memory that so many buffers of this many data bytes take, for the choice of memory options.
pub fn bytes(count: u32, data_bytes: u16) -> u64 {
    u64::from(count) * buffer_bytes(data_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_the_manual() {
        assert_eq!(buffers_needed(1, 2_048), 2_880);
        assert_eq!(buffers_needed(8, 4_096), 73_472 / 2);
        assert_eq!(buffers_needed(0, 64), buffers_needed(1, 64));
        assert_eq!(buffer_bytes(2_048), 2_368);
        assert_eq!(bytes(2, 2_048), 4_736);
    }
}
