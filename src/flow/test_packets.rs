//! Hand-made packets for the tests of this folder.

use crate::packet::{Facts, Frame, LinkType, Timestamp};

/// An IPv4 packet with a TCP, UDP or ICMP header.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    source: [u8; 4],
    destination: [u8; 4],
    ports: (u16, u16),
    protocol: u8,
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    window: u16,
    payload: u16,
}

impl Packet {
    fn new(protocol: u8, source: u16, destination: u16) -> Self {
        Self {
            source: [10, 0, 0, 1],
            destination: [10, 0, 0, 2],
            ports: (source, destination),
            protocol,
            flags: 0,
            sequence: 0,
            acknowledgement: 0,
            window: 1_000,
            payload: 0,
        }
    }

    /// A TCP segment from port to port.
    pub(super) fn tcp(source: u16, destination: u16) -> Self {
        Self::new(6, source, destination)
    }

    /// A UDP datagram.
    pub(super) fn udp(source: u16, destination: u16) -> Self {
        Self::new(17, source, destination)
    }

    /// An ICMP message.
    pub(super) fn icmp(kind: u8, code: u8) -> Self {
        Self::new(1, u16::from_be_bytes([kind, code]), 0)
    }

    pub(super) fn reverse(mut self) -> Self {
        (self.source, self.destination) = (self.destination, self.source);
        if self.protocol != 1 {
            self.ports = (self.ports.1, self.ports.0);
        }
        self
    }

    pub(super) fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    pub(super) fn numbers(mut self, sequence: u32, acknowledgement: u32) -> Self {
        (self.sequence, self.acknowledgement) = (sequence, acknowledgement);
        self
    }

    pub(super) fn payload(mut self, bytes: u16) -> Self {
        self.payload = bytes;
        self
    }

    pub(super) fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    /// From another address.
    pub(super) fn from(mut self, last: u8) -> Self {
        self.source[3] = last;
        self
    }

    /// Bytes from the IP header on, and their facts.
    pub(super) fn build(&self) -> (Vec<u8>, Facts) {
        let header: u16 = if self.protocol == 6 { 20 } else { 8 };
        let length = 20 + header + self.payload;
        let mut data = vec![0x45, 0];
        data.extend(length.to_be_bytes());
        data.extend([0, 0, 0, 0, 64, self.protocol, 0, 0]);
        data.extend(self.source);
        data.extend(self.destination);
        data.extend(self.ports.0.to_be_bytes());
        data.extend(self.ports.1.to_be_bytes());
        if self.protocol == 6 {
            data.extend(self.sequence.to_be_bytes());
            data.extend(self.acknowledgement.to_be_bytes());
            data.extend([0x50, self.flags]);
            data.extend(self.window.to_be_bytes());
        }
        data.resize(usize::from(length), 0);
        let mut facts = Facts::new();
        facts.ip_version = 4;
        facts.ip_protocol = self.protocol;
        facts.transport_offset = 20;
        facts.tcp_flags = self.flags;
        (data, facts)
    }
}

/// A frame of raw IPv4.
pub(super) fn frame_of(data: &[u8], timestamp: Timestamp) -> Frame<'_> {
    Frame {
        data,
        wire_length: u32::try_from(data.len()).unwrap(),
        timestamp,
        link: LinkType::IPV4,
        port: 0,
        queue: 0,
        ..Frame::EMPTY
    }
}
