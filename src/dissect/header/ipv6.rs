//! Internet Protocol version 6 with its extension headers (RFC 8200).
//!
//! ```text
//! | version (4 bits), traffic class (8 bits), flow label (20 bits)                  |
//! | payload length (2)             | next header (1)        | hop limit (1)         |
//! | source (16) | destination (16) | extension headers                              |
//! ```
//!
//! Extension headers belong to this layer, except the authentication header, which is a layer of
//! its own. Mobility (RFC 6275), HIP (RFC 7401) and Shim6 (RFC 5533) headers end the path: in
//! practice nothing follows them.

use crate::dissect::attribute::{
    Attribute, Totals, Type, Value, View, absent, bytes_at, u8_at, u16_at,
};
use crate::dissect::cursor::Cursor;
use crate::dissect::header::ipv4::flow_port;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::limits::EXTENSION_HEADERS_MAX;
use crate::packet::{Direction, Facts, LinkType, Stop};

/// Protocol `ipv6` (id 182).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 182,
    name: "ipv6",
    title: "Internet Protocol version 6 (RFC 8200)",
    dissect: Some(dissect),
    bindings: &[
        Binding::Link(LinkType::IPV6),
        Binding::EtherType(0x86dd),
        Binding::IpProtocol(41),
        Binding::PppProtocol(0x0057),
    ],
    attributes: &[
        Attribute::packet(1, "version", Type::U8, version),
        Attribute::packet(2, "TC", Type::U8, traffic_class),
        Attribute::packet(3, "flow_label", Type::U32, flow_label),
        Attribute::field(4, "len", Type::U16, u16_at(4)),
        Attribute::field(5, "next_hdr", Type::U8, u8_at(6)),
        Attribute::packet(6, "next_proto", Type::U8, next_proto),
        Attribute::field(7, "hop_limit", Type::U8, u8_at(7)),
        Attribute::field(8, "src", Type::Ip6Addr, bytes_at(8, 16)),
        Attribute::field(9, "dst", Type::Ip6Addr, bytes_at(24, 16)),
        Attribute::packet(11, "client_addr", Type::Ip6Addr, client_addr),
        Attribute::packet(12, "server_addr", Type::Ip6Addr, server_addr),
        Attribute::packet(13, "client_port", Type::U16, client_port),
        Attribute::packet(14, "server_port", Type::U16, server_port),
        Attribute::packet(15, "ip6_frag_packets_count", Type::U64, frag_packets),
        Attribute::packet(16, "ip6_ext_headers_count", Type::U16, ext_headers_count),
        Attribute::packet(
            17,
            "redundent_extension_header",
            Type::U16,
            redundant_headers,
        ),
        // These two compare a fragment with those before it, which the header alone cannot tell.
        Attribute::packet(18, "fragment_overlapping", Type::U8, absent),
        Attribute::packet(19, "ip6_outoforder", Type::U8, absent),
        Attribute::packet(20, "ip_frag_data_volume", Type::U64, frag_bytes),
        Attribute::packet(21, "ip6_df_packets_count", Type::U64, df_packets),
        Attribute::packet(22, "ip_df_data_volume", Type::U64, df_bytes),
        Attribute::packet(23, "ip6_session_count", Type::U64, sessions),
        Attribute::packet(24, "ip6_active_session_count", Type::U64, active_sessions),
        Attribute::packet(25, "ip6_timedout_session_count", Type::U64, timed_out),
    ],
};

const FIXED_LENGTH: usize = 40;

/// Numbers of the next-header field that this file itself reads.
mod number {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const NO_NEXT_HEADER: u8 = 59;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HIP: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

/// Offset (13 bits) and more-fragments bit of the fragment header, without its reserved bits.
const FRAGMENT_MASK: u16 = 0xfff9;

fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let start = u16::try_from(cursor.offset()).map_err(|_| Stop::TooFar)?;
    let [first, _, _, _, l0, l1, next, ..] = *cursor.take::<FIXED_LENGTH>()?;
    if first >> 4 != 6 {
        return Err(Stop::BadVersion);
    }
    // A length of 0 is that of a jumbogram (RFC 2675) or of a segment that the sending card was to
    // cut: all the rest of the frame belongs to the packet.
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length != 0 {
        cursor.limit(length);
    }
    facts.begin_ip(6, next, start);
    skip_extensions(cursor, facts, next)
}

/// Walk extension headers from one of kind `next` on. The facts get the protocol behind them and
/// where it starts. Also for what follows an authentication header, which may again be one of them.
///
/// # Errors
/// The headers do not fit in the packet, or are more than [`EXTENSION_HEADERS_MAX`].
pub(super) fn skip_extensions(
    cursor: &mut Cursor<'_>,
    facts: &mut Facts,
    next: u8,
) -> Result<Next, Stop> {
    let mut next = next;
    for _ in 0..=EXTENSION_HEADERS_MAX {
        facts.ip_protocol = next;
        facts.transport_offset = u16::try_from(cursor.offset()).unwrap_or(u16::MAX);
        match next {
            number::HOP_BY_HOP | number::ROUTING | number::DESTINATION_OPTIONS => {
                let [following, units] = *cursor.peek::<2>()?;
                let length = usize::from(units).saturating_add(1).saturating_mul(8);
                cursor.skip(length)?;
                next = following;
            }
            number::FRAGMENT => {
                let [following, _, high, low, ..] = *cursor.take::<8>()?;
                next = following;
                if u16::from_be_bytes([high, low]) & FRAGMENT_MASK != 0 {
                    facts.flags |= Facts::FRAGMENT;
                    facts.ip_protocol = next;
                    facts.transport_offset = u16::try_from(cursor.offset()).unwrap_or(u16::MAX);
                    return Ok(Next::Payload);
                }
            }
            number::NO_NEXT_HEADER => return Ok(Next::Payload),
            _ => return Ok(Next::IpProtocol(next)),
        }
    }
    Err(Stop::TooManyLayers)
}

/// What a second walk over the extension headers finds, for the attributes that ask.
#[derive(Default)]
struct Extensions {
    /// How many there are, the authentication header included.
    count: u64,
    /// How many of them repeat a kind that may occur only once.
    repeated: u64,
    /// Number of what follows them.
    next: u8,
}

/// Kinds seen so far, one bit each.
fn bit_of(kind: u8) -> u16 {
    match kind {
        number::HOP_BY_HOP => 1 << 0,
        number::ROUTING => 1 << 1,
        number::FRAGMENT => 1 << 2,
        number::AUTHENTICATION => 1 << 3,
        number::DESTINATION_OPTIONS => 1 << 4,
        number::MOBILITY => 1 << 5,
        number::HIP => 1 << 6,
        number::SHIM6 => 1 << 7,
        _ => 0,
    }
}

fn extensions(view: &View<'_>, header: usize) -> Option<Extensions> {
    const SECOND_DESTINATION_OPTIONS: u16 = 1 << 8;
    let mut cursor = view.cursor(header);
    let [.., next, _] = *cursor.take::<8>().ok()?;
    cursor.skip(FIXED_LENGTH.saturating_sub(8)).ok()?;
    let mut found = Extensions {
        next,
        ..Extensions::default()
    };
    let mut seen = 0_u16;
    for _ in 0..EXTENSION_HEADERS_MAX {
        let kind = found.next;
        let mut bit = bit_of(kind);
        if bit == 0 {
            break;
        }
        // Destination options may stand before a routing header and again before the end.
        if kind == number::DESTINATION_OPTIONS && seen & bit != 0 {
            bit = SECOND_DESTINATION_OPTIONS;
        }
        found.count = found.count.saturating_add(1);
        found.repeated = found.repeated.saturating_add(u64::from(seen & bit != 0));
        seen |= bit;
        let Ok([following, units, high, low]) = cursor.peek::<4>().copied() else {
            break;
        };
        let units = usize::from(units);
        let length = match kind {
            number::FRAGMENT => 8,
            number::AUTHENTICATION => units.saturating_add(2).saturating_mul(4),
            number::HOP_BY_HOP | number::ROUTING | number::DESTINATION_OPTIONS => {
                units.saturating_add(1).saturating_mul(8)
            }
            _ => break,
        };
        if cursor.skip(length).is_err() {
            break;
        }
        found.next = following;
        if kind == number::FRAGMENT && u16::from_be_bytes([high, low]) & FRAGMENT_MASK > 1 {
            // Not the first fragment: what follows is no header.
            break;
        }
    }
    Some(found)
}

fn next_proto<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    extensions(view, header).map(|found| Value::Number(u64::from(found.next)))
}

fn ext_headers_count<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    extensions(view, header).map(|found| Value::Number(found.count))
}

fn redundant_headers<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    extensions(view, header).map(|found| Value::Number(found.repeated))
}

fn first_word(view: &View<'_>, header: usize) -> Option<u32> {
    let mut cursor = view.cursor(header);
    cursor.take().ok().map(|bytes| u32::from_be_bytes(*bytes))
}

fn version<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    first_word(view, header).map(|word| Value::Number(u64::from(word >> 28)))
}

fn traffic_class<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    first_word(view, header).map(|word| Value::Number(u64::from((word >> 20) & 0xff)))
}

fn flow_label<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    first_word(view, header).map(|word| Value::Number(u64::from(word & 0x000f_ffff)))
}

/// As in `ip`: the ends of the flow are those of the innermost IP header.
fn flow_address<'a>(view: &View<'a>, of_sender: bool) -> Option<Value<'a>> {
    let facts = view.facts;
    if facts.flow.id == 0 || facts.ip_version != 6 {
        return None;
    }
    let header = usize::from(facts.ip_offset);
    if of_sender {
        bytes_at(8, 16).read(view, header)
    } else {
        bytes_at(24, 16).read(view, header)
    }
}

fn client_addr<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    flow_address(view, view.facts.flow.direction == Direction::Originator)
}

fn server_addr<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    flow_address(view, view.facts.flow.direction == Direction::Responder)
}

fn client_port<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    flow_port(view, 6, Direction::Originator)
}

fn server_port<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    flow_port(view, 6, Direction::Responder)
}

fn total<'a>(view: &View<'a>, pick: fn(&Totals) -> u64) -> Option<Value<'a>> {
    Some(Value::Number(pick(&view.totals_of(Protocol::Ipv6))))
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

#[cfg(test)]
mod tests {
    use crate::dissect::test_walk::{Walked, survives_truncation};
    use crate::packet::{Direction, Facts, FlowFacts, LinkType, Stop};

    /// A packet with this first next-header number and these bytes behind the fixed header.
    fn packet(next: u8, rest: &[u8]) -> Vec<u8> {
        let length = u8::try_from(rest.len()).unwrap();
        let mut data = vec![0x62, 0xf1, 0x23, 0x45, 0, length, next, 61];
        data.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        data.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        data.extend(rest);
        data
    }

    #[test]
    fn fields_of_a_plain_header() {
        let data = packet(253, &[1, 2, 3]);
        let walked = Walked::new(LinkType::IPV6, &data);
        assert_eq!(walked.path(), "ipv6");
        assert_eq!(walked.facts.stop, Stop::UnknownNext);
        assert_eq!(
            (walked.facts.ip_version, walked.facts.ip_protocol),
            (6, 253)
        );
        assert_eq!(
            (
                walked.facts.transport_offset,
                walked.facts.payload_announced
            ),
            (40, 3)
        );
        for (name, expected) in [
            ("version", 6),
            ("TC", 0x2f),
            ("flow_label", 0x0001_2345),
            ("len", 3),
            ("next_hdr", 253),
            ("next_proto", 253),
            ("hop_limit", 61),
            ("ip6_ext_headers_count", 0),
            ("redundent_extension_header", 0),
        ] {
            assert_eq!(
                walked.number(&format!("ipv6.{name}")),
                Some(expected),
                "{name}"
            );
        }
        assert_eq!(walked.bytes("ipv6.src").map(|a| a[15]), Some(1));
        assert_eq!(walked.bytes("ipv6.dst").map(|a| a[15]), Some(2));
        assert_eq!(walked.value("ipv6.client_addr"), None);
    }

    #[test]
    fn extension_headers_are_walked() {
        // Hop-by-hop, routing of 16 bytes, destination options, then an unused protocol.
        let mut rest = vec![43, 0, 1, 4, 0, 0, 0, 0];
        rest.extend([60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        rest.extend([253, 0, 1, 4, 0, 0, 0, 0, 9, 9]);
        let data = packet(0, &rest);
        let walked = Walked::new(LinkType::IPV6, &data);
        assert_eq!(
            (walked.facts.ip_protocol, walked.facts.transport_offset),
            (253, 72)
        );
        assert_eq!(walked.facts.payload_announced, 2);
        assert_eq!(walked.number("ipv6.next_hdr"), Some(0));
        assert_eq!(walked.number("ipv6.next_proto"), Some(253));
        assert_eq!(walked.number("ipv6.ip6_ext_headers_count"), Some(3));
        assert_eq!(walked.number("ipv6.redundent_extension_header"), Some(0));
        survives_truncation(LinkType::IPV6, &data);
    }

    #[test]
    fn options_may_follow_an_authentication_header() {
        let mut rest = vec![60, 2, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9, 1, 2, 3, 4];
        rest.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        rest.extend([0, 53, 0, 54, 0, 10, 0, 0, 1, 2]);
        let data = packet(51, &rest);
        let walked = Walked::new(LinkType::IPV6, &data);
        assert_eq!(walked.path(), "ipv6.ah.udp");
        assert_eq!(
            (walked.facts.ip_protocol, walked.facts.transport_offset),
            (17, 64)
        );
        assert_eq!(walked.facts.payload_announced, 2);
        assert_eq!(walked.number("ipv6.next_proto"), Some(17));
        assert_eq!(walked.number("ipv6.ip6_ext_headers_count"), Some(2));
        survives_truncation(LinkType::IPV6, &data);
    }

    #[test]
    fn repeated_headers_are_counted() {
        let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
        let data = packet(60, &[options(60), options(253)].concat());
        let walked = Walked::new(LinkType::IPV6, &data);
        assert_eq!(walked.number("ipv6.redundent_extension_header"), Some(0));
        let data = packet(
            0,
            &[
                options(0),
                options(60),
                options(60),
                options(60),
                options(253),
            ]
            .concat(),
        );
        let walked = Walked::new(LinkType::IPV6, &data);
        assert_eq!(walked.number("ipv6.redundent_extension_header"), Some(2));
        assert_eq!(walked.number("ipv6.ip6_ext_headers_count"), Some(5));
    }

    #[test]
    fn too_many_extension_headers_end_the_walk() {
        let header = [0_u8, 0, 1, 4, 0, 0, 0, 0];
        let data = packet(0, &header.repeat(20));
        let walked = Walked::new(LinkType::IPV6, &data);
        assert_eq!(walked.facts.stop, Stop::TooManyLayers);
        assert_eq!(walked.path(), "ipv6");
        assert_eq!(walked.number("ipv6.ip6_ext_headers_count"), Some(16));
    }

    #[test]
    fn a_fragment_ends_the_path_but_an_atomic_one_does_not() {
        for (high, low, fragment) in [(0, 1, true), (0, 8, true), (0, 6, false)] {
            let data = packet(
                44,
                &[17, 0, high, low, 0, 0, 0, 7, 0, 53, 0, 54, 0, 8, 0, 0],
            );
            let walked = Walked::new(LinkType::IPV6, &data);
            assert_eq!(walked.facts.has(Facts::FRAGMENT), fragment);
            assert_eq!(walked.path(), if fragment { "ipv6" } else { "ipv6.udp" });
            assert_eq!(
                (walked.facts.ip_protocol, walked.facts.transport_offset),
                (17, 48)
            );
            assert_eq!(walked.number("ipv6.next_proto"), Some(17));
            let port = if fragment { 0 } else { 53 };
            assert_eq!(walked.facts.source_port, port);
            survives_truncation(LinkType::IPV6, &data);
        }
    }

    #[test]
    fn ends_of_the_path() {
        for (next, stop, count) in [
            (59, Stop::None, 0),
            (135, Stop::UnknownNext, 1),
            (139, Stop::UnknownNext, 1),
            (140, Stop::UnknownNext, 1),
        ] {
            let data = packet(next, &[59, 0, 0, 0, 0, 0, 0, 0]);
            let walked = Walked::new(LinkType::IPV6, &data);
            assert_eq!((walked.facts.stop, walked.facts.ip_protocol), (stop, next));
            assert_eq!(walked.number("ipv6.ip6_ext_headers_count"), Some(count));
        }
        let mut data = packet(59, &[]);
        data[0] = 0x42;
        let walked = Walked::new(LinkType::IPV6, &data);
        assert_eq!(
            (walked.facts.stop, walked.path()),
            (Stop::BadVersion, "ipv6".into())
        );
        assert_eq!(walked.number("ipv6.version"), Some(4));
    }

    #[test]
    fn a_length_of_zero_takes_the_rest() {
        let mut data = packet(17, &[0, 53, 0, 54, 0, 10, 0, 0, 1, 2]);
        data[5] = 0;
        let walked = Walked::new(LinkType::IPV6, &data);
        assert_eq!((walked.path(), walked.facts.end), ("ipv6.udp".into(), 50));
    }

    #[test]
    fn ends_of_the_flow_follow_the_direction() {
        let flow = FlowFacts {
            id: 3,
            direction: Direction::Responder,
            ..FlowFacts::default()
        };
        let data = packet(17, &[0, 53, 0, 54, 0, 8, 0, 0]);
        let walked = Walked::new(LinkType::IPV6, &data).in_flow(flow);
        assert_eq!(walked.bytes("ipv6.client_addr").map(|a| a[15]), Some(2));
        assert_eq!(walked.bytes("ipv6.server_addr").map(|a| a[15]), Some(1));
        assert_eq!(walked.number("ipv6.client_port"), Some(54));
        assert_eq!(walked.number("ipv6.server_port"), Some(53));
    }
}
