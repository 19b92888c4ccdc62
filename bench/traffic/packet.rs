//! Building packets: every function takes a payload and returns it behind one header, with correct
//! lengths and checksums.

use std::net::{IpAddr, Ipv6Addr};

pub(crate) const ETHER_IPV4: u16 = 0x0800;
pub(crate) const ETHER_ARP: u16 = 0x0806;
pub(crate) const ETHER_IPV6: u16 = 0x86dd;
pub(crate) const ETHERNET_LENGTH: usize = 14;

pub(crate) const PROTOCOL_ICMP: u8 = 1;
pub(crate) const PROTOCOL_TCP: u8 = 6;
pub(crate) const PROTOCOL_UDP: u8 = 17;
pub(crate) const PROTOCOL_ICMPV6: u8 = 58;
pub(crate) const PROTOCOL_SCTP: u8 = 132;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;
pub(crate) const ECE: u8 = 0x40;
pub(crate) const CWR: u8 = 0x80;

/// Who sends a packet to whom: MAC and IP addresses of both sides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) source_mac: [u8; 6],
    pub(crate) destination_mac: [u8; 6],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
}

impl Path {
    /// The way back.
    pub(crate) fn reverse(&self) -> Self {
        Self {
            source_mac: self.destination_mac,
            destination_mac: self.source_mac,
            source: self.destination,
            destination: self.source,
        }
    }
}

/// What an IP header says beside addresses, lengths and protocol.
#[derive(Debug, Clone, Default)]
pub(crate) struct IpFields {
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) identification: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) reserved: bool,
    /// IPv4: more fragments follow.
    pub(crate) more: bool,
    /// IPv4: where this fragment starts, in units of 8 bytes.
    pub(crate) offset: u16,
    /// IPv4 options, padded to a multiple of four.
    pub(crate) options: Vec<u8>,
}

/// What a TCP header says beside the checksum.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TcpFields {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// Maximum segment size option, when not 0.
    pub(crate) segment_max: u16,
    /// What the urgent pointer says; `None` for what a sender of urgent data would write.
    pub(crate) urgent_pointer: Option<u16>,
}

/// A length as a 16-bit field; the largest value when it does not fit, which `world` prevents.
pub(crate) fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Write `bytes` over those at `offset`, as far as there are some.
pub(crate) fn put(data: &mut [u8], offset: usize, bytes: &[u8]) {
    for (place, byte) in data.iter_mut().skip(offset).zip(bytes) {
        *place = *byte;
    }
}

/// The 16-bit number at `offset`; 0 behind the end.
pub(crate) fn short_at(data: &[u8], offset: usize) -> u16 {
    let bytes = data
        .get(offset..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .unwrap_or([0; 2]);
    u16::from_be_bytes(bytes)
}

/// The 32-bit number at `offset`; 0 behind the end.
pub(crate) fn word_at(data: &[u8], offset: usize) -> u32 {
    (u32::from(short_at(data, offset)) << 16) | u32::from(short_at(data, offset + 2))
}

/// Sum of the 16-bit words of `data`, not yet folded.
pub(crate) fn sum(data: &[u8]) -> u64 {
    let (pairs, last) = data.as_chunks::<2>();
    let pairs: u64 = pairs
        .iter()
        .map(|pair| u64::from(u16::from_be_bytes(*pair)))
        .sum();
    pairs + last.first().map_or(0, |byte| u64::from(*byte) << 8)
}

/// Internet checksum (RFC 1071) of what has been summed.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Sum over the pseudo header of TCP, UDP and ICMPv6 (RFC 9293 3.1, RFC 8200 8.1).
pub(crate) fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> u64 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    };
    let length = u64::try_from(length).unwrap_or(0);
    address(source) + address(destination) + u64::from(protocol) + length
}

/// An Ethernet II frame.
pub(crate) fn ethernet(path: &Path, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_LENGTH + payload.len());
    frame.extend(path.destination_mac);
    frame.extend(path.source_mac);
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IP packet in an Ethernet frame; the version is that of the addresses.
pub(crate) fn ip_frame(path: &Path, fields: &IpFields, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (ether_type, packet) = ip_packet(path, fields, protocol, payload);
    ethernet(path, ether_type, &packet)
}

/// An IP packet and its EtherType.
pub(crate) fn ip_packet(
    path: &Path,
    fields: &IpFields,
    protocol: u8,
    payload: &[u8],
) -> (u16, Vec<u8>) {
    match (path.source, path.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let addresses = [source.octets(), destination.octets()];
            (ETHER_IPV4, ipv4(addresses, fields, protocol, payload))
        }
        (source, destination) => {
            let addresses = [v6(source), v6(destination)];
            (ETHER_IPV6, ipv6(addresses, fields, protocol, payload))
        }
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn ipv4(addresses: [[u8; 4]; 2], fields: &IpFields, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header_length = 20 + fields.options.len();
    let words = u8::try_from(header_length / 4).unwrap_or(15);
    let flags = (u16::from(fields.reserved) << 15)
        | (u16::from(fields.dont_fragment) << 14)
        | (u16::from(fields.more) << 13);
    let mut packet = Vec::with_capacity(header_length + payload.len());
    packet.extend([0x40 | words, fields.tos]);
    packet.extend(short(header_length + payload.len()).to_be_bytes());
    packet.extend(fields.identification.to_be_bytes());
    packet.extend((flags | fields.offset).to_be_bytes());
    packet.extend([fields.ttl, protocol, 0, 0]);
    packet.extend(addresses.as_flattened());
    packet.extend(&fields.options);
    let checksum = fold(sum(&packet));
    put(&mut packet, 10, &checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn ipv6(addresses: [Ipv6Addr; 2], fields: &IpFields, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(40 + payload.len());
    packet.extend([0x60 | (fields.tos >> 4), fields.tos << 4, 0, 0]);
    packet.extend(short(payload.len()).to_be_bytes());
    packet.extend([protocol, fields.ttl]);
    packet.extend(addresses.map(|address| address.octets()).as_flattened());
    packet.extend(payload);
    packet
}

/// A TCP segment.
pub(crate) fn tcp(path: &Path, fields: &TcpFields, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(24 + payload.len());
    segment.extend(fields.source_port.to_be_bytes());
    segment.extend(fields.destination_port.to_be_bytes());
    segment.extend(fields.sequence.to_be_bytes());
    segment.extend(fields.acknowledgment.to_be_bytes());
    let words: u8 = if fields.segment_max == 0 { 5 } else { 6 };
    segment.extend([words << 4, fields.flags]);
    segment.extend(fields.window.to_be_bytes());
    // A sender of urgent data points at the end of its payload.
    let urgent = match fields.urgent_pointer {
        Some(urgent) => urgent,
        None if fields.flags & URG == 0 => 0,
        None => short(payload.len()),
    };
    segment.extend([0, 0]);
    segment.extend(urgent.to_be_bytes());
    if fields.segment_max != 0 {
        segment.extend([2, 4]);
        segment.extend(fields.segment_max.to_be_bytes());
    }
    segment.extend(payload);
    let pseudo = pseudo_sum(path.source, path.destination, PROTOCOL_TCP, segment.len());
    let checksum = fold(pseudo + sum(&segment));
    put(&mut segment, 16, &checksum.to_be_bytes());
    segment
}

/// A UDP datagram.
pub(crate) fn udp(path: &Path, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let [source_port, destination_port] = ports;
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(source_port.to_be_bytes());
    datagram.extend(destination_port.to_be_bytes());
    datagram.extend(short(8 + payload.len()).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let pseudo = pseudo_sum(path.source, path.destination, PROTOCOL_UDP, datagram.len());
    // 0 would mean "no checksum" (RFC 768).
    let checksum = match fold(pseudo + sum(&datagram)) {
        0 => u16::MAX,
        checksum => checksum,
    };
    put(&mut datagram, 6, &checksum.to_be_bytes());
    datagram
}

/// An ICMP or, between IPv6 addresses, ICMPv6 message; `rest` is the second word of its header.
/// Returns the IP protocol beside it.
pub(crate) fn icmp(path: &Path, kind: [u8; 2], rest: [u8; 4], payload: &[u8]) -> (u8, Vec<u8>) {
    let mut message = Vec::with_capacity(8 + payload.len());
    message.extend(kind);
    message.extend([0, 0]);
    message.extend(rest);
    message.extend(payload);
    let (protocol, pseudo) = if path.source.is_ipv6() {
        let length = message.len();
        let pseudo = pseudo_sum(path.source, path.destination, PROTOCOL_ICMPV6, length);
        (PROTOCOL_ICMPV6, pseudo)
    } else {
        (PROTOCOL_ICMP, 0)
    };
    let checksum = fold(pseudo + sum(&message));
    put(&mut message, 2, &checksum.to_be_bytes());
    (protocol, message)
}

/// An SCTP packet with one chunk (RFC 9260, 3).
pub(crate) fn sctp(ports: [u16; 2], tag: u32, chunk: [u8; 2], value: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(16 + value.len());
    for port in ports {
        packet.extend(port.to_be_bytes());
    }
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(chunk);
    packet.extend(short(4 + value.len()).to_be_bytes());
    packet.extend(value);
    packet.resize(packet.len().next_multiple_of(4), 0);
    // The CRC goes out with its lowest byte first (RFC 9260, appendix A).
    let checksum = crc32c(&packet);
    put(&mut packet, 8, &checksum.to_le_bytes());
    packet
}

/// CRC-32C, bit by bit: SCTP packets are few here.
pub(crate) fn crc32c(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (0x82f6_3b78 * low);
        }
    }
    !crc
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
pub(crate) fn arp(
    operation: u16,
    sender: ([u8; 6], [u8; 4]),
    target: ([u8; 6], [u8; 4]),
) -> Vec<u8> {
    let mut packet = Vec::with_capacity(28);
    packet.extend([0, 1, 8, 0, 6, 4]);
    packet.extend(operation.to_be_bytes());
    packet.extend(sender.0);
    packet.extend(sender.1);
    packet.extend(target.0);
    packet.extend(target.1);
    packet
}
