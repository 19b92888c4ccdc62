//! Transmission Control Protocol (RFC 9293).
//!
//! ```text
//! | source port (2)        | destination port (2)                                     |
//! | sequence number (4)    | acknowledgement number (4)                               |
//! | data offset in words (4 bits), reserved (4 bits) | flags (1) | window (2)          |
//! | checksum (2)           | urgent pointer (2)     | options                          |
//! ```

use crate::dissect::attribute::{
    Attribute, Scope, Type, Value, View, absent, bit_at, u8_at, u16_at, u32_at,
};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::packet::{Facts, FlowFacts, Stop};

/// Protocol `tcp` (id 354).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 354,
    name: "tcp",
    title: "Transmission Control Protocol (RFC 9293)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(6)],
    attributes: &[
        Attribute::field(1, "src_port", Type::U16, u16_at(0)),
        Attribute::field(2, "dest_port", Type::U16, u16_at(2)),
        Attribute::field(3, "seq_nb", Type::U32, u32_at(4)),
        Attribute::field(4, "ack_nb", Type::U32, u32_at(8)),
        Attribute::packet(5, "data_offset", Type::U8, data_offset),
        Attribute::field(6, "flags", Type::U8, u8_at(13)),
        Attribute::field(7, "fin", Type::U8, bit_at(13, 0)),
        Attribute::field(8, "syn", Type::U8, bit_at(13, 1)),
        Attribute::field(9, "rst", Type::U8, bit_at(13, 2)),
        Attribute::field(10, "psh", Type::U8, bit_at(13, 3)),
        Attribute::field(11, "ack", Type::U8, bit_at(13, 4)),
        Attribute::field(12, "urg", Type::U8, bit_at(13, 5)),
        Attribute::packet(13, "ece", Type::U8, set_bit::<0x40>),
        Attribute::packet(14, "cwr", Type::U8, set_bit::<0x80>),
        Attribute::field(15, "window", Type::U16, u16_at(14)),
        Attribute::field(16, "checksum", Type::U16, u16_at(16)),
        Attribute::field(17, "urg_pointer", Type::U16, u16_at(18)),
        Attribute::packet(18, "rtt", Type::Timeval, rtt).scope(Scope::Event),
        Attribute::packet(19, "syn_received", Type::U32, event::<{ FlowFacts::SYN }>)
            .scope(Scope::Event),
        Attribute::packet(
            20,
            "retransmission",
            Type::U32,
            event::<{ FlowFacts::RETRANSMISSION }>,
        ),
        Attribute::packet(
            21,
            "outoforder",
            Type::U32,
            event::<{ FlowFacts::OUT_OF_ORDER }>,
        ),
        Attribute::packet(22, "tcp_session_retransmission", Type::U32, retransmissions),
        // The reassembled bytes of a session are not kept: applications get them as messages.
        Attribute::packet(23, "tcp_session_payload_up_len", Type::U32, absent),
        Attribute::packet(24, "tcp_session_payload_up", Type::Pointer, absent),
        Attribute::packet(25, "tcp_session_payload_down_len", Type::U32, absent),
        Attribute::packet(26, "tcp_session_payload_down", Type::Pointer, absent),
        Attribute::packet(27, "payload_len", Type::U32, payload_len),
        Attribute::packet(28, "closed", Type::U8, event::<{ FlowFacts::CLOSED }>)
            .scope(Scope::Event),
        Attribute::packet(
            29,
            "established",
            Type::U8,
            event::<{ FlowFacts::ESTABLISHED }>,
        )
        .scope(Scope::Event),
        Attribute::packet(30, "tsval", Type::U32, tsval),
        Attribute::packet(31, "tsecr", Type::U32, tsecr),
    ],
};

const FIXED_LENGTH: usize = 20;

/// Options of a single byte (RFC 9293, section 3.1); every other kind has a length behind it.
const OPTION_END: u8 = 0;
const OPTION_NO_OPERATION: u8 = 1;
/// Timestamps (RFC 7323, section 3.2), with their length.
const OPTION_TIMESTAMPS: [u8; 2] = [8, 10];

#[inline]
fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let header = *cursor.take::<FIXED_LENGTH>()?;
    let [s0, s1, d0, d1, _, _, _, _, _, _, _, _, offset, flags, ..] = header;
    facts.source_port = u16::from_be_bytes([s0, s1]);
    facts.destination_port = u16::from_be_bytes([d0, d1]);
    facts.tcp_flags = flags;
    let Some(options) = words_to_bytes(offset).checked_sub(FIXED_LENGTH) else {
        return Err(Stop::BadLength);
    };
    cursor.skip(options)?;
    Ok(Next::Payload)
}

/// Header length from the byte that has it, in words, in its upper half.
fn words_to_bytes(offset: u8) -> usize {
    usize::from(offset >> 4).saturating_mul(4)
}

/// Does MMT take the bytes behind this segment's header for the padding of an Ethernet frame?
///
/// MMT counts every captured byte behind the TCP header as payload, and gives no `payload_len` when
/// this and the IP total length add up to a frame of the least length. Here `payload_len` is always
/// that of the IP header; only the compatible mode of rules asks this.
pub fn mmt_padding_heuristic(view: &View<'_>) -> bool {
    const ETHERNET_HEADER: usize = 14;
    const ETHERNET_FRAME_MIN: usize = 60;
    let sum = || {
        let ip = view.facts.offset_of(Protocol::Ipv4)?;
        let total_length = u16::from_be_bytes(*view.cursor(ip.checked_add(2)?).take().ok()?);
        let tcp = view.facts.offset_of(Protocol::Tcp)?;
        let offset = view.frame.data.get(tcp.checked_add(12)?)?;
        let payload = tcp.checked_add(words_to_bytes(*offset))?;
        let captured = view.frame.data.len().checked_sub(payload)?;
        captured
            .checked_add(usize::from(total_length))?
            .checked_add(ETHERNET_HEADER)
    };
    sum() == Some(ETHERNET_FRAME_MIN)
}

fn data_offset<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let byte = view.frame.data.get(header.checked_add(12)?)?;
    Some(Value::Number(u64::from(byte >> 4)))
}

/// A flag that is absent, not 0, when it is not set.
fn set_bit<'a, const MASK: u8>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let flags = view.frame.data.get(header.checked_add(13)?)?;
    (flags & MASK != 0).then_some(Value::Number(1))
}

/// 1 on a packet that showed the event to the flow stage, else absent.
fn event<'a, const FLAG: u16>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let flow = &view.facts.flow;
    (flow.id != 0 && flow.has(FLAG)).then_some(Value::Number(1))
}

fn rtt<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let flow = &view.facts.flow;
    let micros = u64::from(flow.handshake_rtt_us);
    (flow.id != 0 && flow.has(FlowFacts::ESTABLISHED)).then_some(Value::Number(micros))
}

fn retransmissions<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let flow = &view.facts.flow;
    (flow.id != 0).then_some(Value::Number(u64::from(flow.retransmissions)))
}

/// What the IP header announces less the headers, also where the capture cut it off, but not beyond
/// the end that the frame had on the wire. Absent when the TCP header is not intact.
fn payload_len<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let announced = u64::from(view.facts.payload_announced);
    (view.facts.stop == Stop::None).then_some(Value::Number(announced))
}

/// The timestamps option, value and echo; `None` when it is not there or not captured.
fn timestamps(view: &View<'_>, header: usize) -> Option<[u8; 8]> {
    let offset = *view.frame.data.get(header.checked_add(12)?)?;
    let options = words_to_bytes(offset).checked_sub(FIXED_LENGTH)?;
    let rest = view.cursor(header.checked_add(FIXED_LENGTH)?).rest();
    let mut rest = rest.get(..options).unwrap_or(rest);
    loop {
        rest = match rest {
            [] | [OPTION_END, ..] => return None,
            [OPTION_NO_OPERATION, rest @ ..] => rest,
            [kind, length, value @ ..] if [*kind, *length] == OPTION_TIMESTAMPS => {
                return value.first_chunk().copied();
            }
            [_, length, ..] if *length >= 2 => rest.get(usize::from(*length)..)?,
            _ => return None,
        };
    }
}

fn tsval<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [a, b, c, d, ..] = timestamps(view, header)?;
    Some(Value::Number(u64::from(u32::from_be_bytes([a, b, c, d]))))
}

fn tsecr<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [.., a, b, c, d] = timestamps(view, header)?;
    Some(Value::Number(u64::from(u32::from_be_bytes([a, b, c, d]))))
}

#[cfg(test)]
mod tests {
    use super::mmt_padding_heuristic;
    use crate::dissect::test_walk::{Walked, survives_truncation};
    use crate::packet::{FlowFacts, LinkType, Stop};

    const SEGMENT: [u8; 20] = [
        0x30, 0x39, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 0x20, 0, 0xbe, 0xef, 0, 3,
    ];

    fn packet(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(40 + options.len() + payload.len()).unwrap();
        let mut data = vec![0x45, 0, 0, length, 0, 1, 0x40, 0, 64, 6, 0, 0];
        data.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        data.extend(SEGMENT);
        data[32] += u8::try_from(options.len() / 4 * 16).unwrap();
        data.extend(options);
        data.extend(payload);
        data
    }

    fn ethernet(packet: &[u8]) -> Vec<u8> {
        let mut data = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        data.extend(packet);
        data.resize(data.len().max(60), 0);
        data
    }

    #[test]
    fn fields_of_a_segment() {
        let bytes = packet(&[], b"hello");
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(
            (walked.path(), walked.facts.stop),
            ("ip.tcp".into(), Stop::None)
        );
        assert_eq!(
            (walked.facts.source_port, walked.facts.destination_port),
            (12345, 80)
        );
        assert_eq!(
            (walked.facts.tcp_flags, walked.facts.transport_offset),
            (0x18, 20)
        );
        assert_eq!(
            (walked.facts.payload_offset, walked.facts.payload_announced),
            (40, 5)
        );
        for (name, expected) in [
            ("src_port", 12345),
            ("dest_port", 80),
            ("seq_nb", 0x0102_0304),
            ("ack_nb", 0x0506_0708),
            ("data_offset", 5),
            ("flags", 0x18),
            ("fin", 0),
            ("syn", 0),
            ("rst", 0),
            ("psh", 1),
            ("ack", 1),
            ("urg", 0),
            ("window", 0x2000),
            ("checksum", 0xbeef),
            ("urg_pointer", 3),
            ("payload_len", 5),
        ] {
            assert_eq!(
                walked.number(&format!("tcp.{name}")),
                Some(expected),
                "{name}"
            );
        }
        for name in [
            "ece",
            "cwr",
            "rtt",
            "retransmission",
            "tsval",
            "tcp_session_retransmission",
        ] {
            assert_eq!(walked.value(&format!("tcp.{name}")), None, "{name}");
        }
        survives_truncation(LinkType::IPV4, &bytes);
    }

    #[test]
    fn congestion_flags_are_there_when_set() {
        let mut bytes = packet(&[], &[]);
        bytes[33] = 0xc0;
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(walked.number("tcp.ece"), Some(1));
        assert_eq!(walked.number("tcp.cwr"), Some(1));
        bytes[33] = 0;
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(walked.number("tcp.flags"), Some(0));
        assert_eq!(walked.value("tcp.ece"), None);
    }

    #[test]
    fn timestamps_among_other_options() {
        let stamps = [8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        for (options, expected) in [
            ([&[1, 1][..], &stamps].concat(), Some(1)),
            ([&[2, 4, 5, 0xb4, 4, 2][..], &stamps].concat(), Some(1)),
            ([&[0, 1][..], &stamps].concat(), None),
            ([&[5, 1][..], &stamps].concat(), None),
            ([&[1, 1, 5, 90][..], &[1; 8]].concat(), None),
            (vec![1, 1, 8, 10], None),
        ] {
            let bytes = packet(&options, &[]);
            let walked = Walked::new(LinkType::IPV4, &bytes);
            assert_eq!(walked.number("tcp.tsval"), expected, "{options:?}");
            assert_eq!(walked.number("tcp.tsecr"), expected.map(|n| n + 1));
            survives_truncation(LinkType::IPV4, &bytes);
        }
    }

    #[test]
    fn a_data_offset_that_cannot_be() {
        let mut bytes = packet(&[], &[]);
        for (offset, stop) in [(0x40, Stop::BadLength), (0x60, Stop::Truncated)] {
            bytes[32] = offset;
            let walked = Walked::new(LinkType::IPV4, &bytes);
            assert_eq!((walked.path(), walked.facts.stop), ("ip.tcp".into(), stop));
            assert_eq!(walked.number("tcp.src_port"), Some(12345));
            assert_eq!(
                walked.number("tcp.data_offset"),
                Some(u64::from(offset >> 4))
            );
            assert_eq!(walked.value("tcp.payload_len"), None);
        }
    }

    #[test]
    fn padding_is_not_payload() {
        for (payload, padded) in [(&b""[..], true), (b"abc", false), (b"abcdef", false)] {
            let bytes = ethernet(&packet(&[], payload));
            let walked = Walked::new(LinkType::ETHERNET, &bytes);
            let length = u64::try_from(payload.len()).unwrap();
            assert_eq!(walked.number("tcp.payload_len"), Some(length));
            assert_eq!(mmt_padding_heuristic(&walked.view()), padded, "{payload:?}");
        }
    }

    #[test]
    fn a_cut_payload_counts_as_announced() {
        let bytes = packet(&[], b"hello");
        let walked = Walked::cut(LinkType::IPV4, &bytes, 41);
        assert_eq!(walked.number("tcp.payload_len"), Some(5));
        // An IP length beyond the end of the frame is not believed.
        let walked = Walked::new(LinkType::IPV4, &bytes[..41]);
        assert_eq!(walked.number("tcp.payload_len"), Some(1));
    }

    #[test]
    fn events_are_those_of_the_flow_stage() {
        let bytes = packet(&[], &[]);
        let flow = FlowFacts {
            id: 9,
            flags: FlowFacts::ESTABLISHED | FlowFacts::OUT_OF_ORDER,
            handshake_rtt_us: 1_234,
            retransmissions: 7,
            ..FlowFacts::default()
        };
        let walked = Walked::new(LinkType::IPV4, &bytes).in_flow(flow);
        for (name, expected) in [
            ("rtt", Some(1_234)),
            ("established", Some(1)),
            ("outoforder", Some(1)),
            ("tcp_session_retransmission", Some(7)),
            ("retransmission", None),
            ("closed", None),
            ("syn_received", None),
        ] {
            assert_eq!(walked.number(&format!("tcp.{name}")), expected, "{name}");
        }
    }
}
