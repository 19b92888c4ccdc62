//! What the flow stage reads of one packet, all in one place, before it touches any flow.

use super::key::{Key, Secret, icmp_ports, protocol};
use crate::packet::{Facts, Frame, Timestamp};

/// What one packet says.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Observation {
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) timestamp: Timestamp,
    /// Latest time of any packet up to this one.
    pub(super) clock: Timestamp,
    /// Number of the packet; 0 when it has none.
    pub(super) number: u64,
    /// The sender is the second end of the key.
    pub(super) from_second: bool,
    /// There is a key; without one the packet belongs to no flow and the rest means nothing.
    pub(super) tracked: bool,
    pub(super) protocol: u8,
    /// Time to live, or hop limit.
    pub(super) ttl: u8,
    /// TCP flag byte.
    pub(super) tcp_flags: u8,
    /// TCP: a window of 0.
    pub(super) zero_window: bool,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    /// Length of the IP packet on the wire, header included.
    pub(super) ip_bytes: u32,
    /// Bytes behind the transport header, as the IP header announces them.
    pub(super) payload_bytes: u32,
    /// Length of the frame on the wire.
    pub(super) frame_bytes: u32,
    pub(super) vlan: u16,
    /// Where the flow probably is.
    pub(super) guess: Option<u32>,
}

/// Why a packet belongs to no flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untracked {
    /// No IP header.
    NotIp,
    /// A fragment that was not put together.
    Fragment,
    /// The capture cut it off before its ports or its TCP header end.
    CutOff,
}

/// Length of the fixed part of an IPv6 header, which its length field leaves out.
const IPV6_HEADER: u32 = 40;

impl Observation {
    /// Read one packet into this place. On `Err`, it belongs to no flow.
    #[inline]
    pub(super) fn read(
        &mut self,
        frame: &Frame<'_>,
        facts: &Facts,
        secret: &Secret,
        with_vlan: bool,
    ) -> Result<(), Untracked> {
        self.tracked = false;
        self.timestamp = frame.timestamp;
        self.clock = frame.clock.max(frame.timestamp);
        self.number = facts.number;
        if facts.ip_version == 0 {
            return Err(Untracked::NotIp);
        }
        if facts.has(Facts::FRAGMENT) {
            return Err(Untracked::Fragment);
        }
        self.frame_bytes = frame.wire_length;
        self.protocol = facts.ip_protocol;
        self.vlan = facts.vlan;
        let read = self
            .read_ip(frame, facts)
            .and_then(|(source, destination)| {
                let (ports, one_way) = self.read_transport(frame, facts)?;
                let ends = [(source, ports.0), (destination, ports.1)];
                let vlan = if with_vlan { facts.vlan } else { 0 };
                let version = facts.ip_version;
                (self.key, self.from_second) =
                    Key::new(ends, one_way, self.protocol, version, vlan);
                Some(())
            });
        read.ok_or(Untracked::CutOff)?;
        self.hash = secret.hash(&self.key);
        self.tracked = true;
        Ok(())
    }

    /// Hash of the addresses and the protocol of the innermost IP packet, for one without a flow.
    #[cold]
    pub(super) fn read_pair(
        &mut self,
        frame: &Frame<'_>,
        facts: &Facts,
        secret: &Secret,
    ) -> Option<u64> {
        if facts.ip_version == 0 {
            return None;
        }
        let (source, destination) = self.read_ip(frame, facts)?;
        let ends = [(source, 0), (destination, 0)];
        let (key, _) = Key::new(ends, false, facts.ip_protocol, facts.ip_version, 0);
        Some(secret.hash(&key))
    }

    /// Lengths and time to live of the innermost IP packet. Returns its addresses.
    #[inline]
    fn read_ip(&mut self, frame: &Frame<'_>, facts: &Facts) -> Option<([u64; 2], [u64; 2])> {
        let header = frame.data.get(usize::from(facts.ip_offset)..)?;
        let announced;
        let addresses;
        if facts.ip_version == 4 {
            let header = header.first_chunk::<20>()?;
            let [_, _, l0, l1, _, _, _, _, ttl, ..] = *header;
            let [.., a, b, c, d, e, f, g, h] = *header;
            self.ttl = ttl;
            announced = u32::from(u16::from_be_bytes([l0, l1]));
            let source = u32::from_be_bytes([a, b, c, d]);
            let destination = u32::from_be_bytes([e, f, g, h]);
            addresses = ([0, u64::from(source)], [0, u64::from(destination)]);
        } else {
            let header = header.first_chunk::<40>()?;
            let [_, _, _, _, l0, l1, _, ttl, ..] = *header;
            self.ttl = ttl;
            announced = match u32::from(u16::from_be_bytes([l0, l1])) {
                // A jumbogram, or a packet that the sending card would have cut up.
                0 => 0,
                length => length.saturating_add(IPV6_HEADER),
            };
            let (_, ends) = header.split_at(8);
            let (source, destination) = ends.split_at(16);
            addresses = (words(source)?, words(destination)?);
        }
        // Without a length, the packet reaches to the end of the frame; so does one put together
        // from fragments, whose header has the length of the last of them.
        let is_whole = facts.is_whole(facts.ip_offset);
        self.ip_bytes = match announced {
            _ if is_whole => frame.wire_length.saturating_sub(u32::from(facts.ip_offset)),
            0 => frame.wire_length.saturating_sub(u32::from(facts.ip_offset)),
            announced => announced,
        };
        Some(addresses)
    }

    /// Length of the payload, and the fields of TCP. Returns the ports, and whether the directions
    /// are different flows. `None` when the header is cut off.
    #[inline]
    fn read_transport(&mut self, frame: &Frame<'_>, facts: &Facts) -> Option<((u16, u16), bool)> {
        let header = frame.data.get(usize::from(facts.transport_offset)..);
        let ip_header = u32::from(facts.transport_offset.saturating_sub(facts.ip_offset));
        let length;
        let ends;
        self.tcp_flags = 0;
        match self.protocol {
            protocol::TCP => {
                let [
                    p0,
                    p1,
                    p2,
                    p3,
                    s0,
                    s1,
                    s2,
                    s3,
                    a0,
                    a1,
                    a2,
                    a3,
                    offset,
                    flags,
                    w0,
                    w1,
                ] = *header?.first_chunk::<16>()?;
                self.sequence = u32::from_be_bytes([s0, s1, s2, s3]);
                self.acknowledgement = u32::from_be_bytes([a0, a1, a2, a3]);
                self.tcp_flags = flags;
                self.zero_window = w0 | w1 == 0;
                length = u32::from(offset >> 4).saturating_mul(4);
                ends = (
                    (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([p2, p3])),
                    false,
                );
            }
            number @ (protocol::UDP | protocol::SCTP) => {
                let [p0, p1, p2, p3] = *header?.first_chunk::<4>()?;
                length = if number == protocol::UDP { 8 } else { 12 };
                ends = (
                    (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([p2, p3])),
                    false,
                );
            }
            number @ (protocol::ICMP | protocol::ICMPV6) => {
                let [kind, code] = *header?.first_chunk::<2>()?;
                let (first, second, one_way) = icmp_ports(number, kind, code);
                length = 8;
                ends = ((first, second), one_way);
            }
            _ => {
                length = 0;
                ends = ((0, 0), false);
            }
        }
        self.payload_bytes = self
            .ip_bytes
            .saturating_sub(ip_header.saturating_add(length));
        Some(ends)
    }
}

/// The two words of an IPv6 address, the upper one first.
#[inline]
fn words(address: &[u8]) -> Option<[u64; 2]> {
    let upper = address.first_chunk()?;
    let lower = address.last_chunk()?;
    Some([u64::from_be_bytes(*upper), u64::from_be_bytes(*lower)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::test_packets::{Packet, frame_of};

    fn read(packet: &Packet) -> Result<Observation, Untracked> {
        let (data, facts) = packet.build();
        let frame = frame_of(&data, Timestamp::default());
        let mut observation = Observation::default();
        observation
            .read(&frame, &facts, &Secret::new(1), false)
            .map(|()| observation)
    }

    #[test]
    fn lengths_are_those_of_the_headers_not_of_the_capture() {
        let packet = Packet::tcp(1, 2).payload(100);
        let observation = read(&packet).unwrap();
        assert_eq!(
            (observation.ip_bytes, observation.payload_bytes),
            (140, 100)
        );
        assert_eq!(observation.ttl, 64);
    }

    #[test]
    fn both_directions_share_key_and_hash() {
        let there = read(&Packet::tcp(1, 2)).unwrap();
        let back = read(&Packet::tcp(1, 2).reverse()).unwrap();
        assert_eq!((there.key, there.hash), (back.key, back.hash));
        assert_ne!(there.from_second, back.from_second);
    }

    #[test]
    fn fragments_and_cut_off_packets_have_no_flow() {
        let (data, mut facts) = Packet::tcp(1, 2).build();
        let secret = Secret::new(1);
        let mut observation = Observation::default();
        let short = frame_of(data.get(..35).unwrap(), Timestamp::default());
        let cut_off = observation.read(&short, &facts, &secret, false);
        assert_eq!(cut_off, Err(Untracked::CutOff));
        facts.flags |= Facts::FRAGMENT;
        let frame = frame_of(&data, Timestamp::default());
        let fragment = observation.read(&frame, &facts, &secret, false);
        assert_eq!(fragment, Err(Untracked::Fragment));
        assert!(!observation.tracked);
    }
}
