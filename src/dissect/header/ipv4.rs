//! Internet Protocol version 4 (RFC 791), MMT's `ip`.
//!
//! ```text
//! | version (4 bits), header length in words (4 bits) | TOS (1) | total length (2)        |
//! | identification (2)                     | flags (3 bits), fragment offset (13 bits)    |
//! | TTL (1)           | protocol (1)       | header checksum (2)                          |
//! | source (4) | destination (4) | options, filled up to a whole number of words          |
//! ```

use crate::dissect::attribute::{
    Attribute, Totals, Type, Value, View, bit_at, bytes_at, u8_at, u16_at,
};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::packet::{Direction, Facts, LinkType, Stop};

/// Protocol `ip` (id 178).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 178,
    name: "ip",
    title: "Internet Protocol version 4 (RFC 791)",
    dissect: Some(dissect),
    bindings: &[
        Binding::Link(LinkType::IPV4),
        Binding::EtherType(0x0800),
        Binding::IpProtocol(4),
        Binding::PppProtocol(0x0021),
    ],
    attributes: &[
        Attribute::packet(1, "version", Type::U8, version),
        Attribute::packet(2, "header_len", Type::U8, header_len),
        Attribute::field(3, "proto_tos", Type::U8, u8_at(1)),
        Attribute::field(4, "tot_len", Type::U16, u16_at(2)),
        Attribute::field(5, "identification", Type::U16, u16_at(4)),
        Attribute::field(6, "rf_flag", Type::U8, bit_at(6, 7)),
        Attribute::field(7, "df_flag", Type::U8, bit_at(6, 6)),
        Attribute::field(8, "mf_flag", Type::U8, bit_at(6, 5)),
        Attribute::packet(9, "frag_offset", Type::U16, frag_offset),
        Attribute::field(10, "proto_ttl", Type::U8, u8_at(8)),
        Attribute::field(11, "proto_id", Type::U8, u8_at(9)),
        Attribute::field(12, "checksum", Type::U16, u16_at(10)),
        Attribute::field(13, "src", Type::IpAddr, bytes_at(12, 4)),
        Attribute::field(14, "dst", Type::IpAddr, bytes_at(16, 4)),
        Attribute::packet(15, "options", Type::Pointer, options),
        Attribute::packet(16, "opts_type", Type::U8, opts_type),
        Attribute::packet(17, "padding_check", Type::U8, padding_check),
        Attribute::packet(19, "client_addr", Type::IpAddr, client_addr),
        Attribute::packet(20, "server_addr", Type::IpAddr, server_addr),
        Attribute::packet(21, "client_port", Type::U16, client_port),
        Attribute::packet(22, "server_port", Type::U16, server_port),
        Attribute::packet(23, "ip_frag_packets_count", Type::U64, frag_packets),
        Attribute::packet(24, "ip_frag_data_volume", Type::U64, frag_bytes),
        Attribute::packet(25, "ip_df_packets_count", Type::U64, df_packets),
        Attribute::packet(26, "ip_df_data_volume", Type::U64, df_bytes),
        Attribute::packet(27, "ip_session_count", Type::U64, sessions),
        Attribute::packet(28, "ip_active_session_count", Type::U64, active_sessions),
        Attribute::packet(29, "ip_timedout_session_count", Type::U64, timed_out),
        Attribute::packet(30, "ecn", Type::U8, ecn),
        Attribute::packet(31, "jitter", Type::Timeval, jitter),
        Attribute::packet(32, "l4s_marked", Type::U8, l4s_marked),
        Attribute::packet(33, "l4s_queue_delay", Type::Float, l4s_queue_delay),
        Attribute::packet(34, "l4s_nb_drops", Type::U16, l4s_nb_drops),
    ],
};

const FIXED_LENGTH: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Congestion experienced, of the two ECN bits (RFC 3168, section 5).
const ECN_CE: u8 = 3;

/// Options of a single byte (RFC 791, section 3.1); every other kind has a length in its second
/// byte.
const OPTION_END: u8 = 0;
const OPTION_NO_OPERATION: u8 = 1;

#[inline]
fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let start = u16::try_from(cursor.offset()).map_err(|_| Stop::TooFar)?;
    let header = *cursor.take::<FIXED_LENGTH>()?;
    let [first, _, l0, l1, _, _, f0, f1, _, protocol, ..] = header;
    if first >> 4 != 4 {
        return Err(Stop::BadVersion);
    }
    let header_length = words_to_bytes(first & 0x0f);
    let Some(options) = header_length.checked_sub(FIXED_LENGTH) else {
        return Err(Stop::BadLength);
    };
    // A total length of 0 stands in captures taken on a sender whose card cuts large segments
    // itself (segmentation offload): the header is sent with the field still empty. All the rest of
    // the frame then belongs to the packet.
    let total_length = usize::from(u16::from_be_bytes([l0, l1]));
    if total_length != 0 {
        if total_length < header_length {
            return Err(Stop::BadLength);
        }
        cursor.limit(total_length.saturating_sub(FIXED_LENGTH));
    }
    cursor.skip(options)?;
    facts.begin_ip(4, protocol, start);
    facts.transport_offset = u16::try_from(cursor.offset()).unwrap_or(u16::MAX);
    // In a reassembled datagram these are the fields of its last fragment.
    let fragment = u16::from_be_bytes([f0, f1]) & (MORE_FRAGMENTS | OFFSET_MASK) != 0;
    if fragment && !cursor.is_whole() {
        // What follows may be the middle of a segment. Its headers are read when the datagram is
        // whole; even those of a first fragment, which may stop short of its ports.
        facts.flags |= Facts::FRAGMENT;
        return Ok(Next::Payload);
    }
    Ok(Next::IpProtocol(protocol))
}

fn words_to_bytes(words: u8) -> usize {
    usize::from(words).saturating_mul(4)
}

fn byte(view: &View<'_>, header: usize, offset: usize) -> Option<u8> {
    view.frame.data.get(header.checked_add(offset)?).copied()
}

fn version<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    byte(view, header, 0).map(|first| Value::Number(u64::from(first >> 4)))
}

fn header_len<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let words = byte(view, header, 0)? & 0x0f;
    Some(Value::Number(u64::from(words.saturating_mul(4))))
}

fn frag_offset<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let mut cursor = view.cursor(header.checked_add(6)?);
    let field = u16::from_be_bytes(*cursor.take().ok()?);
    Some(Value::Number(
        u64::from(field & OFFSET_MASK).saturating_mul(8),
    ))
}

/// The option bytes, as far as they were captured; `None` when the header has none.
fn option_bytes<'a>(view: &View<'a>, header: usize) -> Option<&'a [u8]> {
    let length = words_to_bytes(byte(view, header, 0)? & 0x0f).checked_sub(FIXED_LENGTH)?;
    let bytes = view.frame.data.get(header.checked_add(FIXED_LENGTH)?..)?;
    let bytes = bytes.get(..length).unwrap_or(bytes);
    (!bytes.is_empty()).then_some(bytes)
}

fn options<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    option_bytes(view, header).map(Value::Bytes)
}

fn opts_type<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let first = option_bytes(view, header)?.first()?;
    Some(Value::Number(u64::from(*first)))
}

/// 1 when a byte behind the end-of-options byte is not zero, 0 when all are; absent when nothing is
/// behind it, when it does not occur, or when the options before it cannot be walked.
fn padding_check<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let mut rest = option_bytes(view, header)?;
    loop {
        rest = match rest {
            [OPTION_END, padding @ ..] => {
                let dirty = padding.iter().any(|byte| *byte != 0);
                return (!padding.is_empty()).then_some(Value::Number(u64::from(dirty)));
            }
            [OPTION_NO_OPERATION, rest @ ..] => rest,
            [_, length, ..] if *length >= 2 => rest.get(usize::from(*length)..)?,
            _ => return None,
        };
    }
}

/// Address at `offset` of the flow's own IP header. That is the innermost one: in a tunnel the flow
/// is what the tunnel carries, and an outer header has no flow here.
fn flow_address<'a>(view: &View<'a>, of_sender: bool) -> Option<Value<'a>> {
    let facts = view.facts;
    if facts.flow.id == 0 || facts.ip_version != 4 {
        return None;
    }
    let header = usize::from(facts.ip_offset);
    if of_sender {
        bytes_at(12, 4).read(view, header)
    } else {
        bytes_at(16, 4).read(view, header)
    }
}

fn client_addr<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    flow_address(view, view.facts.flow.direction == Direction::Originator)
}

fn server_addr<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    flow_address(view, view.facts.flow.direction == Direction::Responder)
}

fn client_port<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    flow_port(view, 4, Direction::Originator)
}

fn server_port<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    flow_port(view, 4, Direction::Responder)
}

/// Port of one end of the flow; 0 unless it is TCP or UDP. `ipv6` has the same attribute.
pub(super) fn flow_port<'a>(view: &View<'a>, version: u8, end: Direction) -> Option<Value<'a>> {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let facts = view.facts;
    if facts.flow.id == 0 || facts.ip_version != version {
        return None;
    }
    let port = match facts.ip_protocol {
        TCP | UDP if facts.flow.direction == end => facts.source_port,
        TCP | UDP => facts.destination_port,
        _ => 0,
    };
    Some(Value::Number(u64::from(port)))
}

fn total<'a>(view: &View<'a>, pick: fn(&Totals) -> u64) -> Option<Value<'a>> {
    Some(Value::Number(pick(&view.totals_of(Protocol::Ipv4))))
}

fn frag_packets<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    total(view, |totals| totals.fragments)
}

fn frag_bytes<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    total(view, |totals| totals.fragment_bytes)
}

fn df_packets<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    total(view, |totals| totals.df_packets)
}

fn df_bytes<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    total(view, |totals| totals.df_bytes)
}

fn sessions<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    total(view, |totals| totals.sessions)
}

fn active_sessions<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    total(view, |totals| totals.active_sessions)
}

fn timed_out<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    total(view, |totals| totals.timed_out_sessions)
}

fn ecn_bits(view: &View<'_>, header: usize) -> Option<u8> {
    byte(view, header, 1).map(|tos| tos & ECN_CE)
}

fn ecn<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let bits = ecn_bits(view, header).filter(|bits| *bits != 0)?;
    Some(Value::Number(u64::from(bits)))
}

fn l4s_marked<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    (ecn_bits(view, header)? == ECN_CE).then_some(Value::Number(1))
}

fn jitter<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let micros = view.facts.flow.jitter_us;
    (micros != 0).then_some(Value::Number(u64::from(micros)))
}

/// L4S switches of the Montimage testbed write their queue state over the identification: 11 bits
/// of queue delay below, 5 bits of drop count above.
fn identification(view: &View<'_>, header: usize) -> Option<u16> {
    let mut cursor = view.cursor(header.checked_add(4)?);
    cursor.take().ok().map(|bytes| u16::from_be_bytes(*bytes))
}

fn l4s_queue_delay<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let delay = identification(view, header)? & 0x07ff;
    Some(Value::Float(f64::from(delay)))
}

fn l4s_nb_drops<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let number = identification(view, header)? >> 11;
    let (mantissa, exponent) = (number >> 3, number & 0x07);
    Some(Value::Number(u64::from(mantissa) << exponent))
}

#[cfg(test)]
mod tests {
    use crate::dissect::attribute::Value;
    use crate::dissect::test_walk::{Walked, survives_truncation};
    use crate::packet::{Direction, Facts, FlowFacts, LinkType, Stop};

    /// An unused protocol number (253, for experiments) and 4 bytes of payload.
    const PLAIN: [u8; 24] = [
        0x45, 0x03, 0, 24, 0x9b, 0x05, 0x40, 0, 64, 253, 0xab, 0xcd, 10, 0, 0, 1, 10, 0, 0, 2, 1,
        2, 3, 4,
    ];

    fn plain_with(changes: &[(usize, u8)]) -> Vec<u8> {
        let mut data = PLAIN.to_vec();
        for (at, value) in changes {
            data[*at] = *value;
        }
        data
    }

    fn with_options(options: &[u8]) -> Vec<u8> {
        let words = u8::try_from(options.len() / 4).unwrap();
        let mut data = plain_with(&[(0, 0x45 + words), (3, 24 + 4 * words)]);
        data.splice(20..20, options.iter().copied());
        data
    }

    #[test]
    fn fields_of_a_plain_header() {
        let walked = Walked::new(LinkType::IPV4, &PLAIN);
        assert_eq!(walked.path(), "ip");
        assert_eq!(walked.facts.stop, Stop::UnknownNext);
        assert_eq!(walked.facts.ip_version, 4);
        assert_eq!(walked.facts.ip_protocol, 253);
        assert_eq!(walked.facts.transport_offset, 20);
        assert_eq!(walked.facts.payload_announced, 4);
        for (name, expected) in [
            ("version", 4),
            ("header_len", 20),
            ("proto_tos", 3),
            ("tot_len", 24),
            ("identification", 0x9b05),
            ("rf_flag", 0),
            ("df_flag", 1),
            ("mf_flag", 0),
            ("frag_offset", 0),
            ("proto_ttl", 64),
            ("proto_id", 253),
            ("checksum", 0xabcd),
            ("ecn", 3),
            ("l4s_marked", 1),
            // 0x9b05 = 10 011 | 011 0000 0101: mantissa 2, exponent 3, delay 0x305.
            ("l4s_nb_drops", 16),
            ("ip_session_count", 0),
        ] {
            assert_eq!(
                walked.number(&format!("ip.{name}")),
                Some(expected),
                "{name}"
            );
        }
        assert_eq!(walked.bytes("ip.src"), Some(&[10, 0, 0, 1][..]));
        assert_eq!(walked.bytes("ip.dst"), Some(&[10, 0, 0, 2][..]));
        let delay = walked.value("ip.l4s_queue_delay");
        assert_eq!(delay, Some(Value::Float(773.0)));
        for name in [
            "options",
            "opts_type",
            "padding_check",
            "client_addr",
            "client_port",
            "jitter",
        ] {
            assert_eq!(walked.value(&format!("ip.{name}")), None, "{name}");
        }
    }

    #[test]
    fn a_frame_ends_where_the_total_length_says() {
        let mut data = PLAIN.to_vec();
        data.extend([0; 20]);
        assert_eq!(Walked::new(LinkType::IPV4, &data).facts.end, 24);
        let offloaded = {
            data[3] = 0;
            Walked::new(LinkType::IPV4, &data)
        };
        assert_eq!(offloaded.facts.end, 44);
        assert_eq!(offloaded.facts.payload_announced, 24);
    }

    #[test]
    fn a_bogus_header_keeps_its_fields() {
        for (changes, stop) in [
            (&[(0, 0x65)][..], Stop::BadVersion),
            (&[(0, 0x44)], Stop::BadLength),
            (&[(3, 19)], Stop::BadLength),
            (&[(0, 0x46), (3, 20)], Stop::BadLength),
            (&[(0, 0x4f), (3, 200)], Stop::Truncated),
        ] {
            let data = plain_with(changes);
            let walked = Walked::new(LinkType::IPV4, &data);
            assert_eq!(walked.facts.stop, stop);
            assert_eq!(walked.path(), "ip");
            assert_eq!(walked.facts.ip_version, 0);
            assert_eq!(walked.number("ip.version"), Some(u64::from(data[0] >> 4)));
            assert_eq!(walked.number("ip.proto_id"), Some(253));
        }
    }

    #[test]
    fn a_fragment_ends_the_path() {
        for (high, low, offset) in [(0x20, 0, 0), (0x20, 1, 8), (0x1f, 0xff, 65_528)] {
            let data = plain_with(&[(6, high), (7, low), (9, 6)]);
            let walked = Walked::new(LinkType::IPV4, &data);
            assert_eq!(walked.path(), "ip");
            assert_eq!(walked.facts.stop, Stop::None);
            assert!(walked.facts.has(Facts::FRAGMENT));
            assert_eq!(walked.number("ip.frag_offset"), Some(offset));
            assert_eq!(walked.number("ip.mf_flag"), Some(u64::from(high >> 5)));
        }
    }

    #[test]
    fn options_and_their_padding() {
        for (options, padding) in [
            (&[1, 1, 0, 0][..], Some(0)),
            (&[0, 0, 7, 0], Some(1)),
            (&[1, 1, 1, 0], None),
            (&[148, 4, 0, 0], None),
            (&[148, 3, 0, 0], None),
            (&[148, 1, 0, 9], None),
            (&[7, 200, 0, 0], None),
            (&[148, 4, 0, 0, 0, 1, 0, 0], Some(1)),
        ] {
            let data = with_options(options);
            let walked = Walked::new(LinkType::IPV4, &data);
            assert_eq!(walked.number("ip.padding_check"), padding, "{options:?}");
            assert_eq!(walked.number("ip.opts_type"), Some(u64::from(options[0])));
            assert_eq!(walked.bytes("ip.options"), Some(options));
            assert_eq!(walked.facts.payload_announced, 4);
        }
    }

    #[test]
    fn ends_of_the_flow_follow_the_direction() {
        let flow = FlowFacts {
            id: 1,
            direction: Direction::Responder,
            jitter_us: 1_500,
            ..FlowFacts::default()
        };
        let walked = Walked::new(LinkType::IPV4, &PLAIN).in_flow(flow);
        assert_eq!(walked.bytes("ip.client_addr"), Some(&[10, 0, 0, 2][..]));
        assert_eq!(walked.bytes("ip.server_addr"), Some(&[10, 0, 0, 1][..]));
        assert_eq!(walked.number("ip.client_port"), Some(0));
        assert_eq!(walked.number("ip.jitter"), Some(1_500));
    }

    #[test]
    fn facts_are_those_of_the_innermost_header() {
        let mut data = PLAIN[..20].to_vec();
        data[3] = 28;
        data[9] = 4;
        let mut inner = PLAIN[..20].to_vec();
        inner[3] = 20;
        inner[6] = 0x20;
        data.extend(inner);
        let walked = Walked::new(LinkType::IPV4, &data);
        // The outer total length of 28 leaves only 8 bytes of the inner header.
        assert_eq!(
            (walked.path(), walked.facts.stop),
            ("ip".into(), Stop::Truncated)
        );
        assert_eq!((walked.facts.ip_offset, walked.facts.ip_protocol), (0, 4));
        data[3] = 40;
        let walked = Walked::new(LinkType::IPV4, &data);
        assert_eq!(walked.path(), "ip.ip");
        assert_eq!(
            (walked.facts.ip_offset, walked.facts.ip_protocol),
            (20, 253)
        );
        assert!(walked.facts.has(Facts::FRAGMENT));
    }

    #[test]
    fn every_truncation_is_survived() {
        survives_truncation(LinkType::IPV4, &PLAIN);
        survives_truncation(LinkType::IPV4, &with_options(&[148, 4, 0, 0, 0, 1, 0, 0]));
    }
}
