//! The messages of one burst.

use crate::dissect::Protocol;
use crate::dissect::attribute::Message;
use crate::limits::{BURST_MAX, MESSAGE_ARENA_BYTES, MESSAGES_PER_PACKET_MAX};
use crate::packet::Frame;

/// A message, and where its bytes are until the end of the burst.
#[derive(Debug, Clone, Copy)]
pub struct MessageRef {
    /// Whose message it is.
    pub protocol: Protocol,
    /// What kind, in the protocol's own numbering.
    pub kind: u8,
    in_frame: bool,
    start: usize,
    length: usize,
}

/// Bytes of a message, and where they can be found again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bytes<'a> {
    /// In the frame of the packet, from this offset on.
    Frame(usize, &'a [u8]),
    /// Somewhere that will be overwritten.
    Copy(&'a [u8]),
}

impl<'a> Bytes<'a> {
    pub(super) const fn get(self) -> &'a [u8] {
        match self {
            Self::Frame(_, bytes) | Self::Copy(bytes) => bytes,
        }
    }

    /// The first `length` of them, and the others.
    pub(super) fn split(self, length: usize) -> (Self, Self) {
        let length = length.min(self.get().len());
        let (first, rest) = self.get().split_at(length);
        match self {
            Self::Frame(offset, _) => (
                Self::Frame(offset, first),
                Self::Frame(offset.saturating_add(length), rest),
            ),
            Self::Copy(_) => (Self::Copy(first), Self::Copy(rest)),
        }
    }
}

/// Why a message was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    TooMany,
    ArenaFull,
}

#[derive(Debug)]
pub(super) struct Results {
    messages: Vec<MessageRef>,
    /// First and behind-last message of each packet.
    ranges: [(usize, usize); BURST_MAX],
    /// Packet that messages belong to now; [`BURST_MAX`] when none.
    current: usize,
    arena: Vec<u8>,
}

impl Results {
    pub(super) fn new() -> Self {
        Self {
            messages: Vec::with_capacity(BURST_MAX * MESSAGES_PER_PACKET_MAX),
            ranges: [(0, 0); BURST_MAX],
            current: BURST_MAX,
            arena: Vec::with_capacity(MESSAGE_ARENA_BYTES),
        }
    }

    /// Messages belong to this packet from now on.
    pub(super) fn begin(&mut self, packet: usize) {
        self.current = packet;
        if let Some(range) = self.ranges.get_mut(packet) {
            *range = (self.messages.len(), self.messages.len());
        }
    }

    pub(super) fn add(
        &mut self,
        protocol: Protocol,
        kind: u8,
        bytes: Bytes<'_>,
    ) -> Result<(), Refused> {
        let range = self.ranges.get_mut(self.current).ok_or(Refused::TooMany)?;
        if range.1.saturating_sub(range.0) >= MESSAGES_PER_PACKET_MAX {
            return Err(Refused::TooMany);
        }
        let (in_frame, start) = match bytes {
            Bytes::Frame(offset, _) => (true, offset),
            Bytes::Copy(copied) => {
                let room = self.arena.capacity().saturating_sub(self.arena.len());
                if copied.len() > room {
                    return Err(Refused::ArenaFull);
                }
                let start = self.arena.len();
                self.arena.extend_from_slice(copied);
                (false, start)
            }
        };
        self.messages.push(MessageRef {
            protocol,
            kind,
            in_frame,
            start,
            length: bytes.get().len(),
        });
        range.1 = range.1.saturating_add(1);
        Ok(())
    }

    pub(super) fn of(&self, packet: usize) -> &[MessageRef] {
        let range = self.ranges.get(packet).copied().unwrap_or((0, 0));
        self.messages.get(range.0..range.1).unwrap_or(&[])
    }

    pub(super) fn message<'a>(&'a self, reference: &MessageRef, frame: &Frame<'a>) -> Message<'a> {
        let all: &'a [u8] = if reference.in_frame {
            frame.data
        } else {
            &self.arena
        };
        let end = reference.start.saturating_add(reference.length);
        Message {
            protocol: reference.protocol,
            kind: reference.kind,
            bytes: all.get(reference.start..end).unwrap_or(&[]),
        }
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.arena.clear();
        self.ranges = [(0, 0); BURST_MAX];
        self.current = BURST_MAX;
    }
}
