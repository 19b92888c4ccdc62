//! What the flow stage reads of one packet, all in one place, before it touches any flow.

use super::key::{Key, Secret, protocol};
use crate::packet::{Facts, Frame, Timestamp};

/// What one packet says.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Observation {
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) timestamp: Timestamp,
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

/// Read one packet.
#[inline]
pub(super) fn observe(
    frame: &Frame<'_>,
    facts: &Facts,
    secret: &Secret,
    with_vlan: bool,
) -> Result<Observation, Untracked> {
    if facts.ip_version == 0 {
        return Err(Untracked::NotIp);
    }
    if facts.has(Facts::FRAGMENT) {
        return Err(Untracked::Fragment);
    }
    let (key, from_second) = Key::of(frame, facts, with_vlan).ok_or(Untracked::CutOff)?;
    let (ip_bytes, ttl) = ip_fields(frame, facts).ok_or(Untracked::CutOff)?;
    let ip_header = u32::from(facts.transport_offset.saturating_sub(facts.ip_offset));
    let mut observation = Observation {
        hash: secret.hash(&key),
        key,
        timestamp: frame.timestamp,
        from_second,
        tracked: true,
        protocol: facts.ip_protocol,
        ttl,
        ip_bytes,
        payload_bytes: ip_bytes.saturating_sub(ip_header),
        frame_bytes: frame.wire_length,
        vlan: facts.vlan,
        ..Observation::default()
    };
    observation
        .read_transport(frame, facts)
        .ok_or(Untracked::CutOff)?;
    Ok(observation)
}

impl Observation {
    /// Header length off the payload, and the fields of TCP. `None` when the header is cut off.
    #[inline]
    fn read_transport(&mut self, frame: &Frame<'_>, facts: &Facts) -> Option<()> {
        let header_bytes = match self.protocol {
            protocol::TCP => {
                let header = frame.data.get(usize::from(facts.transport_offset)..)?;
                let [
                    _,
                    _,
                    _,
                    _,
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
                ] = *header.first_chunk::<16>()?;
                self.sequence = u32::from_be_bytes([s0, s1, s2, s3]);
                self.acknowledgement = u32::from_be_bytes([a0, a1, a2, a3]);
                self.tcp_flags = flags;
                self.zero_window = w0 | w1 == 0;
                u32::from(offset >> 4).saturating_mul(4)
            }
            protocol::UDP | protocol::ICMP | protocol::ICMPV6 => 8,
            protocol::SCTP => 12,
            _ => 0,
        };
        self.payload_bytes = self.payload_bytes.saturating_sub(header_bytes);
        Some(())
    }
}

/// Length of the innermost IP packet on the wire, and its time to live.
#[inline]
fn ip_fields(frame: &Frame<'_>, facts: &Facts) -> Option<(u32, u8)> {
    let header = frame.data.get(usize::from(facts.ip_offset)..)?;
    let (announced, ttl) = if facts.ip_version == 4 {
        let [_, _, l0, l1, _, _, _, _, ttl] = *header.first_chunk::<9>()?;
        (u32::from(u16::from_be_bytes([l0, l1])), ttl)
    } else {
        let [_, _, _, _, l0, l1, _, ttl] = *header.first_chunk::<8>()?;
        match u32::from(u16::from_be_bytes([l0, l1])) {
            // A jumbogram, or a packet that the sending card would have cut up.
            0 => (0, ttl),
            length => (length.saturating_add(IPV6_HEADER), ttl),
        }
    };
    // Without a length, the packet reaches to the end of the frame.
    let rest = frame.wire_length.saturating_sub(u32::from(facts.ip_offset));
    Some((if announced == 0 { rest } else { announced }, ttl))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::test_packets::{Packet, frame_of};

    fn read(packet: &Packet) -> Result<Observation, Untracked> {
        let (data, facts) = packet.build();
        observe(
            &frame_of(&data, Timestamp::default()),
            &facts,
            &Secret::new(1),
            false,
        )
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
        let short = frame_of(data.get(..35).unwrap(), Timestamp::default());
        assert_eq!(
            observe(&short, &facts, &secret, false).err(),
            Some(Untracked::CutOff)
        );
        facts.flags |= Facts::FRAGMENT;
        let frame = frame_of(&data, Timestamp::default());
        assert_eq!(
            observe(&frame, &facts, &secret, false).err(),
            Some(Untracked::Fragment)
        );
    }
}
