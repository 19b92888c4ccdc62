//! What travels along the data path: a frame, and what is known of it so far.

use crate::dissect::{Protocol, ProtocolSet};
use crate::limits::LAYERS_MAX;
use std::fmt;

/// Time of a packet: nanoseconds since the Unix epoch, as its capture source stamped it.
///
/// All time on the data path is event time; nothing there reads a clock.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The end of time: the watermark of a source that has ended.
    pub const MAX: Self = Self(u64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From microseconds since the epoch; saturates in the year 2554.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds since the epoch, the resolution that rules work in.
    pub const fn micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Nanoseconds from `earlier` to `self`; 0 when `earlier` is the later one.
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// `SECONDS.MICROSECONDS`, six digits after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.micros();
        write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// Link-layer header type of a frame, by its number in the pcap registry (LINKTYPE_*).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: address family in the host order of the capturing machine.
    pub const NULL: Self = Self(0);
    /// Ethernet II or 802.3.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without the HDLC-like address and control bytes.
    pub const PPP: Self = Self(9);
    /// Raw IP as written by some systems under DLT_RAW.
    pub const RAW_BSD: Self = Self(12);
    /// PPP in HDLC-like framing (RFC 1662).
    pub const PPP_HDLC: Self = Self(50);
    /// Raw IPv4 or IPv6.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: address family in network order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// One received frame. The bytes belong to the capture source and live until its next receive.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Captured bytes, from the link-layer header on.
    pub data: &'a [u8],
    /// Length on the wire in bytes; at least `data.len()` for an intact record.
    pub wire_length: u32,
    /// When it was captured.
    pub timestamp: Timestamp,
    /// What `data` starts with.
    pub link: LinkType,
    /// Index of the port (or capture interface) it arrived on.
    pub port: u16,
    /// Receive queue of that port.
    pub queue: u16,
    /// Offset of the IP header whose fragments were put together before the worker got the frame.
    pub whole: Option<u16>,
    /// Number among all packets of the input, from 1; 0 leaves it to the worker to number them.
    pub number: u64,
    /// Latest time of any packet of the input up to this one; 0 where this worker gets them all.
    pub clock: Timestamp,
}

impl Frame<'_> {
    /// Nothing captured, nothing known.
    pub const EMPTY: Frame<'static> = Frame {
        data: &[],
        wire_length: 0,
        timestamp: Timestamp::from_nanos(0),
        link: LinkType::ETHERNET,
        port: 0,
        queue: 0,
        whole: None,
        number: 0,
        clock: Timestamp::from_nanos(0),
    };
}

/// Which end of its flow sent a packet.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the side that sent the first packet (or the SYN, when that was seen).
    #[default]
    Originator,
    /// From the other side.
    Responder,
}

impl Direction {
    /// 0 for the originator, 1 for the responder: an index for per-direction arrays.
    pub const fn index(self) -> usize {
        match self {
            Self::Originator => 0,
            Self::Responder => 1,
        }
    }

    /// The other direction.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Originator => Self::Responder,
            Self::Responder => Self::Originator,
        }
    }
}

/// One header of a packet: which protocol, and where it starts in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Whose header it is.
    pub protocol: Protocol,
    /// Offset of its first byte in the frame.
    pub offset: u16,
}

/// Why the dissection of a frame ended before its payload. Counted; the packet goes on with what
/// was learnt up to there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stop {
    /// It did not: every header that the frame announces was read.
    #[default]
    None,
    /// The captured bytes end inside a header.
    Truncated,
    /// A length field contradicts the bytes around it.
    BadLength,
    /// A version field holds a value that its protocol does not have.
    BadVersion,
    /// A field holds a value that its standard forbids.
    Malformed,
    /// More than [`LAYERS_MAX`] headers.
    TooManyLayers,
    /// A header would start beyond the 65,535th byte of the frame.
    TooFar,
    /// No dissector for this link type.
    UnknownLink,
    /// No dissector for what a header announces next (an EtherType, an IP protocol, ...).
    UnknownNext,
}

impl Stop {
    /// Every reason, in counter order.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Truncated,
        Self::BadLength,
        Self::BadVersion,
        Self::Malformed,
        Self::TooManyLayers,
        Self::TooFar,
        Self::UnknownLink,
        Self::UnknownNext,
    ];

    /// Name in metrics and in the account.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Truncated => "truncated",
            Self::BadLength => "bad_length",
            Self::BadVersion => "bad_version",
            Self::Malformed => "malformed",
            Self::TooManyLayers => "too_many_layers",
            Self::TooFar => "too_far",
            Self::UnknownLink => "unknown_link",
            Self::UnknownNext => "unknown_next",
        }
    }
}

/// Why a received frame did not pass. `received = passed + sum(dropped by reason)` holds at any
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// A record without a single captured byte.
    Empty,
    /// No dissector for the link type: nothing can be said of the frame.
    LinkType,
    /// A chain of buffers longer than the largest frame that the capture accepts.
    Oversize,
    /// The filter of the command line does not hold for it.
    Filtered,
    /// The worker of its flow is too far behind: the ring to it is full.
    HandoverFull,
}

impl DropReason {
    /// Every reason, in counter order.
    pub const ALL: [Self; 5] = [
        Self::Empty,
        Self::LinkType,
        Self::Oversize,
        Self::Filtered,
        Self::HandoverFull,
    ];

    /// Name in metrics and in the account.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::LinkType => "link_type",
            Self::Oversize => "oversize",
            Self::Filtered => "filtered",
            Self::HandoverFull => "handover_full",
        }
    }
}

/// State that this packet left its flow in, and what it showed on the way.
#[derive(Debug, Default, Clone, Copy)]
pub struct FlowFacts {
    /// Number of the flow's first packet; 0 when not tracked.
    pub id: u64,
    /// Index of the flow in the worker's table; meaningful while `id` is not 0.
    pub index: u32,
    /// Who sent the packet.
    pub direction: Direction,
    /// Bits of [`FlowFacts::NEW`] and the constants below.
    pub flags: u16,
    /// Round-trip time of the handshake in microseconds, on the packet that completes it; else 0.
    pub handshake_rtt_us: u32,
    /// Microseconds since the previous packet with payload in the same direction; 0 when none.
    pub jitter_us: u32,
    /// Retransmitted segments of this flow so far, both directions.
    pub retransmissions: u32,
}

impl FlowFacts {
    /// First packet of its flow.
    pub const NEW: u16 = 1 << 0;
    /// TCP: the segment repeats bytes already seen.
    pub const RETRANSMISSION: u16 = 1 << 1;
    /// TCP: the sequence number is not the next expected one.
    pub const OUT_OF_ORDER: u16 = 1 << 2;
    /// TCP: this packet completes the three-way handshake.
    pub const ESTABLISHED: u16 = 1 << 3;
    /// TCP: this packet completes the orderly close of both directions.
    pub const CLOSED: u16 = 1 << 4;
    /// TCP: first SYN of the flow.
    pub const SYN: u16 = 1 << 5;
    /// The flow had many bytes before this packet: applications and rules do not look at it.
    pub const SHUNTED: u16 = 1 << 6;
    /// The packet brought the bytes of its flow to a power of two.
    pub const GROWN: u16 = 1 << 7;

    /// Is this flag set?
    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// What is known of one frame. Facts only grow along the path: a stage never corrects an earlier
/// one.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    layers: [Layer; LAYERS_MAX],
    layer_count: u8,
    /// Why dissection ended early, if it did.
    pub stop: Stop,
    /// IP version (4 or 6) of the innermost IP header; 0 when there is none.
    pub ip_version: u8,
    /// IP protocol number after the innermost IP header and its extension headers.
    pub ip_protocol: u8,
    /// Bits of [`Facts::FRAGMENT`] and the constants below.
    pub flags: u8,
    /// TCP flag byte (CWR..FIN) when there is a TCP header.
    pub tcp_flags: u8,
    /// Outermost VLAN number; [`Facts::NO_VLAN`] when untagged.
    pub vlan: u16,
    /// Offset of the innermost IP header.
    pub ip_offset: u16,
    /// Offset of the header after it (TCP, UDP, ICMP, ...), or of the payload when unknown.
    pub transport_offset: u16,
    /// Offset of what follows the last dissected header.
    pub payload_offset: u16,
    /// Source port (TCP, UDP, SCTP; ICMP per Community ID is worked out by the flow key), else 0.
    pub source_port: u16,
    /// Destination port, else 0.
    pub destination_port: u16,
    /// End of the innermost packet in the frame: captured bytes less padding behind the IP length.
    pub end: u32,
    /// Payload bytes that the innermost headers announce, even where the capture cut them off.
    pub payload_announced: u32,
    /// Slot of the reassembled datagram that replaces the frame, plus 1; 0 when none.
    pub datagram: u16,
    /// With [`Facts::REASSEMBLED`]: offset of the IP header whose fragments were put together.
    /// Lengths and fragment fields of the headers up to it tell of the last fragment, not of this
    /// frame.
    pub whole_offset: u16,
    /// Protocols present in this packet, applications included.
    pub protocols: ProtocolSet,
    /// Packet number on its worker, from 1 in order of arrival.
    pub number: u64,
    /// Filled in by the flow stage.
    pub flow: FlowFacts,
}

const _: () = assert!(size_of::<Facts>() <= 192, "three cache lines a packet");

impl Facts {
    /// [`Facts::vlan`] of an untagged frame.
    pub const NO_VLAN: u16 = u16::MAX;
    /// The innermost IP packet is a fragment that has not been reassembled.
    pub const FRAGMENT: u8 = 1 << 0;
    /// The frame was put together from fragments.
    pub const REASSEMBLED: u8 = 1 << 1;

    /// Nothing known yet.
    pub const fn new() -> Self {
        Self {
            layers: [Layer {
                protocol: Protocol::Meta,
                offset: 0,
            }; LAYERS_MAX],
            layer_count: 0,
            stop: Stop::None,
            ip_version: 0,
            ip_protocol: 0,
            flags: 0,
            tcp_flags: 0,
            vlan: Self::NO_VLAN,
            ip_offset: 0,
            transport_offset: 0,
            payload_offset: 0,
            source_port: 0,
            destination_port: 0,
            end: 0,
            payload_announced: 0,
            datagram: 0,
            whole_offset: 0,
            protocols: ProtocolSet::META,
            number: 0,
            flow: FlowFacts {
                id: 0,
                index: 0,
                direction: Direction::Originator,
                flags: 0,
                handshake_rtt_us: 0,
                jitter_us: 0,
                retransmissions: 0,
            },
        }
    }

    /// Forget everything, for the next frame.
    #[inline]
    pub fn reset(&mut self) {
        // What is in the layers behind their count is never read: a third of the bytes stays as it
        // is.
        *self = Self {
            layers: self.layers,
            ..Self::new()
        };
    }

    /// Headers found, outermost first (`meta` is not among them).
    pub fn layers(&self) -> &[Layer] {
        self.layers
            .get(..usize::from(self.layer_count))
            .unwrap_or(&[])
    }

    /// Add a header at `offset`; false when [`LAYERS_MAX`] are there already.
    #[inline]
    #[must_use]
    pub fn push(&mut self, protocol: Protocol, offset: u16) -> bool {
        let Some(slot) = self.layers.get_mut(usize::from(self.layer_count)) else {
            return false;
        };
        *slot = Layer { protocol, offset };
        self.layer_count += 1;
        self.protocols.insert(protocol);
        true
    }

    /// Take back the innermost header: it could not be read.
    #[cold]
    pub fn pop(&mut self) {
        if let Some(last) = self.layers().last().copied() {
            self.layer_count -= 1;
            if !self
                .layers()
                .iter()
                .any(|layer| layer.protocol == last.protocol)
            {
                self.protocols.remove(last.protocol);
            }
        }
    }

    /// An intact IP header starts at `offset`: what was known of an outer IP packet and of what it
    /// carries gives way, because these facts are those of the innermost one.
    #[inline]
    pub fn begin_ip(&mut self, version: u8, protocol: u8, offset: u16) {
        self.ip_version = version;
        self.ip_protocol = protocol;
        self.ip_offset = offset;
        self.flags &= !Self::FRAGMENT;
        self.tcp_flags = 0;
        self.source_port = 0;
        self.destination_port = 0;
    }

    /// Offset of the first header of `protocol`.
    pub fn offset_of(&self, protocol: Protocol) -> Option<usize> {
        if !self.protocols.contains(protocol) {
            return None;
        }
        self.layers()
            .iter()
            .find(|layer| layer.protocol == protocol)
            .map(|layer| usize::from(layer.offset))
    }

    /// Is the innermost IP packet in another one?
    pub fn is_in_tunnel(&self) -> bool {
        let is_ip = |layer: &&Layer| matches!(layer.protocol, Protocol::Ipv4 | Protocol::Ipv6);
        let outermost = self.layers().iter().find(is_ip);
        outermost.is_some_and(|layer| layer.offset != self.ip_offset)
    }

    /// Is the header at `offset` at or before the IP header of a datagram put together from
    /// fragments?
    pub const fn is_whole(&self, offset: u16) -> bool {
        self.has(Self::REASSEMBLED) && offset <= self.whole_offset
    }

    /// Is this flag set?
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self::new()
    }
}
