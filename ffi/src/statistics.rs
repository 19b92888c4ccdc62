//! What a port counted of its own.

/// Counters of a port since its start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// Frames received.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that the port had no room for.
    pub missed: u64,
    /// Frames received damaged.
    pub errors: u64,
    /// Failures to find a free buffer.
    pub no_buffer: u64,
    /// The same per queue; empty when the driver does not count by queue.
    pub queues: Vec<QueueStatistics>,
}

/// Counters of one receive queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct QueueStatistics {
    /// Frames received.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames dropped by the queue.
    pub errors: u64,
}
