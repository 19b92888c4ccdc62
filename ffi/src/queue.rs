//! The data path: one receive queue, used by one thread at a time.

use crate::port::Port;
use crate::{BURST, sys};
use std::sync::Arc;

/// One received frame, borrowed from its queue.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its bytes, in one piece.
    pub data: &'a [u8],
    /// Receive side scaling hash, where the port computed one.
    pub hash: Option<u32>,
    /// Nanoseconds since the epoch, where the driver stamps frames itself.
    pub timestamp: Option<u64>,
}

/// A receive queue of a started port.
///
/// It holds the buffers of one burst, from a receive to the next one.
pub struct RxQueue {
    raw: Box<sys::shim_queue>,
    /// Where chained buffers are put together; only the shim and the frames point into it.
    _side: Vec<u8>,
    /// Nanoseconds per unit of the driver's time stamps.
    stamp_nanos: u64,
    port: Arc<Port>,
}

// SAFETY: the raw queue points to buffers that it owns until it releases them and to the side
// buffer that moves with it. No part of it is tied to a thread.
unsafe impl Send for RxQueue {}

impl RxQueue {
    /// Queue `queue` of `port`; frames longer than `frame_bytes_max` are dropped and counted.
    pub(crate) fn new(port: Arc<Port>, queue: u16, frame_bytes_max: u32) -> Self {
        let bytes = usize::try_from(frame_bytes_max).unwrap_or(usize::MAX);
        // The pages are zero and untouched until a chained frame arrives.
        let mut side = vec![0_u8; bytes.saturating_mul(BURST)];
        let stamp = port.stamp();
        let raw = Box::new(sys::shim_queue {
            port: port.id(),
            queue,
            held_count: 0,
            frame_count: 0,
            timestamp_offset: stamp.offset,
            frame_bytes_max,
            timestamp_flag: stamp.flag,
            side: side.as_mut_ptr(),
            tsc: 0,
            emptied: crate::tsc(),
            waited: 0,
            oversize: 0,
            held: [std::ptr::null_mut(); BURST],
            frames: [sys::shim_frame {
                data: std::ptr::null(),
                timestamp: 0,
                length: 0,
                hash: 0,
                flags: 0,
            }; BURST],
        });
        Self {
            raw,
            _side: side,
            stamp_nanos: stamp.nanos,
            port,
        }
    }

    /// Release the last burst and take the next one; returns how many frames it has.
    #[inline]
    pub fn receive(&mut self) -> usize {
        // SAFETY: the port is started and stays so while `self` holds it; the queue exists; `&mut`
        // makes this the only user of the queue, and no frame of the last burst is alive, since
        // frames borrow `self`.
        usize::from(unsafe { sys::shim_receive(&raw mut *self.raw) })
    }

    /// The frames of the last burst.
    #[inline]
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        let count = usize::from(self.raw.frame_count);
        let frames = self.raw.frames.get(..count).unwrap_or(&[]);
        frames.iter().map(|frame| self.describe(frame))
    }

    #[inline]
    fn describe(&self, frame: &sys::shim_frame) -> Frame<'_> {
        let length = usize::try_from(frame.length).unwrap_or(0);
        // SAFETY: the shim set pointer and length from a buffer that the queue holds, or from the
        // side buffer; both are left alone until the next receive, which needs `&mut self`.
        let data = unsafe { std::slice::from_raw_parts(frame.data, length) };
        Frame {
            data,
            hash: (frame.flags & sys::SHIM_HAS_HASH != 0).then_some(frame.hash),
            timestamp: (frame.flags & sys::SHIM_HAS_TIMESTAMP != 0)
                .then(|| frame.timestamp.saturating_mul(self.stamp_nanos)),
        }
    }

    /// Give the buffers of the last burst back without receiving.
    pub fn release(&mut self) {
        // SAFETY: as for `receive`.
        unsafe { sys::shim_release(&raw mut *self.raw) };
    }

    /// Time stamp counter right after the last receive that found frames.
    #[inline]
    pub fn tsc(&self) -> u64 {
        self.raw.tsc
    }

    /// Ticks of it to the last receive from the one before that left nothing behind (or from when
    /// the queue was made): frames of this burst came within them. A full burst counts as one that
    /// may have left frames behind.
    #[inline]
    pub fn waited(&self) -> u64 {
        self.raw.waited
    }

    /// Frames dropped because they were longer than a frame may be.
    #[inline]
    pub fn oversize(&self) -> u64 {
        self.raw.oversize
    }

    /// Number of the queue on its port.
    #[inline]
    pub fn number(&self) -> u16 {
        self.raw.queue
    }

    /// The port that it belongs to.
    #[inline]
    pub fn port(&self) -> &Arc<Port> {
        &self.port
    }
}

impl std::fmt::Debug for RxQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RxQueue")
            .field("port", &self.port.name())
            .field("queue", &self.raw.queue)
            .finish_non_exhaustive()
    }
}

impl Drop for RxQueue {
    fn drop(&mut self) {
        self.release();
    }
}
