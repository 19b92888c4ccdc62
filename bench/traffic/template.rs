//! Flows taken out of captures, as patterns for the replicator.

use super::packet::{
    ETHER_IPV4, ETHER_IPV6, ETHERNET_LENGTH, FIN, PROTOCOL_TCP, PROTOCOL_UDP, SYN, fold,
    pseudo_sum, put, short, short_at, sum, word_at,
};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wirelynx::dissect;
use wirelynx::packet::{Facts, Frame, LinkType};

/// Longest frame taken over: 1,500 bytes of IP behind a tagged Ethernet header. Longer ones come
/// from network cards that cut and join segments, and are on no wire.
pub(crate) const FRAME_LENGTH_MAX: usize = 1_518;

/// Frames of the mix of smallest packets.
pub(crate) const FRAME_LENGTH_MIN: usize = 64;

/// Packets kept of one flow.
const PACKETS_MAX: usize = 10_000;

/// Bytes kept of all flows.
const BYTES_MAX: usize = 256 << 20;

/// One packet of a pattern, its checksums mended.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) data: Vec<u8>,
    /// Sent by the side that did not send the first packet.
    pub(crate) reply: bool,
    /// Offset of the IP header.
    pub(crate) ip: usize,
    /// Offset of the TCP or UDP header.
    pub(crate) transport: usize,
    pub(crate) v6: bool,
    pub(crate) tcp: bool,
}

/// One flow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Template {
    pub(crate) packets: Vec<Packet>,
    /// Ports of the first packet: source, destination.
    pub(crate) ports: [u16; 2],
}

/// One end of a flow.
type End = (IpAddr, u16);

/// Collects flows from records.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    flows: Vec<Template>,
    keys: HashMap<(usize, bool, End, End), usize>,
    sources: usize,
    bytes: usize,
}

impl Templates {
    /// Another capture begins: its flows are kept apart from those before.
    pub(crate) const fn next_source(&mut self) {
        self.sources += 1;
    }

    /// Take over a frame, where it is of a kind that can be copied.
    pub(crate) fn add(&mut self, frame: &Frame<'_>) {
        let whole = usize::try_from(frame.wire_length) == Ok(frame.data.len());
        if !whole || frame.link != LinkType::ETHERNET || self.bytes > BYTES_MAX {
            return;
        }
        let Some((mut packet, from, to)) = parse(frame.data.to_vec()) else {
            return;
        };
        // The addresses inside a tunnel are not rewritten: all copies would be one flow there.
        let mut facts = Facts::new();
        dissect::headers(frame, &mut facts);
        if usize::from(facts.ip_offset) != packet.ip {
            return;
        }
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        let fresh = self.flows.len();
        let key = (self.sources, packet.tcp, low, high);
        let index = *self.keys.entry(key).or_insert(fresh);
        if index == fresh {
            self.flows.push(Template {
                packets: Vec::new(),
                ports: [from.1, to.1],
            });
        }
        let Some(flow) = self.flows.get_mut(index) else {
            return;
        };
        packet.reply = flow
            .packets
            .first()
            .is_some_and(|first| source(first) != from);
        if flow.packets.len() < PACKETS_MAX {
            self.bytes += packet.data.len();
            flow.packets.push(packet);
        }
    }

    /// The flows as they were captured.
    pub(crate) fn whole(self) -> Vec<Template> {
        let mut flows = self.flows;
        flows.iter_mut().flat_map(|f| &mut f.packets).for_each(mend);
        flows
    }

    /// The flows in frames of 64 bytes: headers kept but for TCP options, payloads cut, sequence
    /// numbers following. Flows whose headers alone are longer are left out.
    pub(crate) fn trimmed(self) -> Vec<Template> {
        let mut flows = self.flows;
        flows.retain_mut(trim);
        flows
    }
}

/// The sender of a packet.
fn source(packet: &Packet) -> End {
    let (source, _) = addresses(packet);
    (source, short_at(&packet.data, packet.transport))
}

fn addresses(packet: &Packet) -> (IpAddr, IpAddr) {
    let at = |offset| word_at(&packet.data, packet.ip + offset);
    if !packet.v6 {
        return (Ipv4Addr::from(at(12)).into(), Ipv4Addr::from(at(16)).into());
    }
    let v6 = |offset| {
        let words = [0usize, 4, 8, 12].map(|step| u128::from(at(offset + step)));
        Ipv6Addr::from(
            words
                .into_iter()
                .fold(0, |whole, word| (whole << 32) | word),
        )
    };
    (v6(8).into(), v6(24).into())
}

/// Read a frame that can be replicated: TCP or UDP over IP, unicast, whole, no fragment.
fn parse(mut data: Vec<u8>) -> Option<(Packet, End, End)> {
    let mut ip = ETHERNET_LENGTH;
    while matches!(short_at(&data, ip - 2), 0x8100 | 0x88a8) && ip < 22 {
        ip += 4;
    }
    let (v6, transport, end, protocol) = match short_at(&data, ip - 2) {
        ETHER_IPV4 => {
            let header_length = usize::from(data.get(ip)? & 15) * 4;
            let fragment = short_at(&data, ip + 6) & 0x3fff != 0;
            if data.get(ip)? >> 4 != 4 || header_length < 20 || fragment {
                return None;
            }
            let end = ip + usize::from(short_at(&data, ip + 2));
            (false, ip + header_length, end, *data.get(ip + 9)?)
        }
        ETHER_IPV6 if data.get(ip)? >> 4 == 6 => {
            let end = ip + 40 + usize::from(short_at(&data, ip + 4));
            (true, ip + 40, end, *data.get(ip + 6)?)
        }
        _ => return None,
    };
    let header_end = match protocol {
        PROTOCOL_TCP => transport + usize::from(data.get(transport + 12)? >> 4) * 4,
        PROTOCOL_UDP => transport + 8,
        _ => return None,
    };
    let tcp = protocol == PROTOCOL_TCP;
    let header_fits = header_end <= end && (!tcp || header_end >= transport + 20);
    if end > data.len() || !header_fits || end > FRAME_LENGTH_MAX {
        return None;
    }
    // What follows the packet is padding, or a check sequence that will not be right for a copy.
    data.truncate(end);
    let packet = Packet {
        data,
        reply: false,
        ip,
        transport,
        v6,
        tcp,
    };
    if !tcp && usize::from(short_at(&packet.data, transport + 4)) != end - transport {
        return None;
    }
    let (from, to) = addresses(&packet);
    if !unicast(from) || !unicast(to) {
        return None;
    }
    let from = (from, short_at(&packet.data, transport));
    let to = (to, short_at(&packet.data, transport + 2));
    Some((packet, from, to))
}

fn unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    }
}

/// Work out both checksums anew: captures from a sending machine have unfinished ones.
fn mend(packet: &mut Packet) {
    let (from, to) = addresses(packet);
    let Packet {
        data,
        ip,
        transport,
        tcp,
        ..
    } = packet;
    if !packet.v6 {
        put(data, *ip + 10, &[0, 0]);
        let header = data.get(*ip..*transport).unwrap_or(&[]);
        let checksum = fold(sum(header));
        put(data, *ip + 10, &checksum.to_be_bytes());
    }
    let (protocol, place) = if *tcp {
        (PROTOCOL_TCP, 16)
    } else {
        (PROTOCOL_UDP, 6)
    };
    if !*tcp && short_at(data, *transport + place) == 0 {
        return;
    }
    put(data, *transport + place, &[0, 0]);
    let end = match packet.v6 {
        false => *ip + usize::from(short_at(data, *ip + 2)),
        true => *ip + 40 + usize::from(short_at(data, *ip + 4)),
    };
    let segment = data.get(*transport..end).unwrap_or(&[]);
    let checksum = fold(pseudo_sum(from, to, protocol, segment.len()) + sum(segment));
    let checksum = match checksum {
        0 if !*tcp => u16::MAX,
        other => other,
    };
    put(data, *transport + place, &checksum.to_be_bytes());
}

/// Sequence space of one direction: where each segment starts, and how much of it is kept.
#[derive(Debug, Default)]
struct Numbers {
    first: Option<u32>,
    /// Start relative to `first`, kept length; later sorted, with the length of all before it.
    segments: Vec<(i32, u32)>,
}

impl Numbers {
    fn note(&mut self, sequence: u32, kept: u32) {
        let first = *self.first.get_or_insert(sequence);
        let relative = sequence.wrapping_sub(first).cast_signed();
        if kept > 0 {
            self.segments.push((relative, kept));
        }
    }

    fn settle(&mut self) {
        self.segments.sort_unstable();
        self.segments.dedup_by_key(|(start, _)| *start);
        let mut total = 0u32;
        for (_, length) in &mut self.segments {
            let own = *length;
            *length = total;
            total = total.saturating_add(own);
        }
        // A last mark, for acknowledgments of everything.
        self.segments.push((i32::MAX, total));
    }

    /// The number that stands for `sequence` after the cut.
    fn follow(&self, sequence: u32) -> u32 {
        let Some(first) = self.first else {
            return sequence;
        };
        let relative = sequence.wrapping_sub(first).cast_signed();
        let place = self
            .segments
            .partition_point(|(start, _)| *start < relative);
        let before = self.segments.get(place).map_or(0, |(_, before)| *before);
        first.wrapping_add(before)
    }
}

/// Cut the packets of a flow to 64 bytes; false when a header does not fit.
fn trim(flow: &mut Template) -> bool {
    let mut numbers = [Numbers::default(), Numbers::default()];
    for packet in &mut flow.packets {
        let header_end = packet.transport + if packet.tcp { 20 } else { 8 };
        let Some(room) = FRAME_LENGTH_MIN.checked_sub(header_end) else {
            return false;
        };
        if packet.tcp {
            let options = packet.transport + usize::from(byte(packet, 12) >> 4) * 4;
            packet
                .data
                .drain(header_end..options.clamp(header_end, packet.data.len()));
            let flags = byte(packet, 13);
            put(&mut packet.data, packet.transport + 12, &[5 << 4]);
            let payload = packet.data.len().saturating_sub(header_end).min(room);
            let marks = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
            let kept = u32::from(short(payload)) + marks;
            if let Some(numbers) = numbers.get_mut(usize::from(packet.reply)) {
                numbers.note(word_at(&packet.data, packet.transport + 4), kept);
            }
        }
        packet.data.truncate(FRAME_LENGTH_MIN);
        let length = packet.data.len();
        if !packet.tcp {
            let datagram = short(length.saturating_sub(packet.transport));
            put(
                &mut packet.data,
                packet.transport + 4,
                &datagram.to_be_bytes(),
            );
        }
        let (place, announced) = match packet.v6 {
            false => (2, length.saturating_sub(packet.ip)),
            true => (4, length.saturating_sub(packet.ip + 40)),
        };
        put(
            &mut packet.data,
            packet.ip + place,
            &short(announced).to_be_bytes(),
        );
        packet.data.resize(FRAME_LENGTH_MIN, 0);
    }
    numbers.iter_mut().for_each(Numbers::settle);
    for packet in &mut flow.packets {
        if packet.tcp {
            let [forth, back] = &numbers;
            let (own, other) = if packet.reply {
                (back, forth)
            } else {
                (forth, back)
            };
            let places = [packet.transport + 4, packet.transport + 8];
            let [sequence, acknowledgment] = places.map(|place| word_at(&packet.data, place));
            put(
                &mut packet.data,
                places[0],
                &own.follow(sequence).to_be_bytes(),
            );
            put(
                &mut packet.data,
                places[1],
                &other.follow(acknowledgment).to_be_bytes(),
            );
        }
        mend(packet);
    }
    true
}

/// A byte of the transport header.
fn byte(packet: &Packet, offset: usize) -> u8 {
    packet
        .data
        .get(packet.transport + offset)
        .copied()
        .unwrap_or(0)
}
