//! Address resolution, forward and reverse (RFC 826, RFC 903).
//!
//! ```text
//! | hardware (2) | protocol (2) | hardware length (1) | protocol length (1) | operation (2) |
//! | sender hardware | sender protocol | target hardware | target protocol |
//! ```
//!
//! The addresses are as long as the header says. Those of Ethernet and IPv4 have attributes with
//! the right type, which are absent for any other pair; the generic ones are there for all.

use crate::dissect::attribute::{Attribute, Type, Value, View, u8_at, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};
use std::ops::Range;

/// Protocol `arp` (id 30).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 30,
    name: "arp",
    title: "Address resolution protocol (RFC 826)",
    dissect: Some(dissect),
    bindings: &[Binding::EtherType(0x0806), Binding::EtherType(0x8035)],
    attributes: &[
        Attribute::field(1, "ar_hrd", Type::U16, u16_at(0)),
        Attribute::field(2, "ar_pro", Type::U16, u16_at(2)),
        Attribute::field(3, "ar_hln", Type::U8, u8_at(4)),
        Attribute::field(4, "ar_pln", Type::U8, u8_at(5)),
        Attribute::field(5, "ar_op", Type::U16, u16_at(6)),
        Attribute::packet(6, "ar_sha", Type::MacAddr, ethernet_ipv4::<SENDER_HARDWARE>),
        Attribute::packet(7, "ar_sip", Type::IpAddr, ethernet_ipv4::<SENDER_PROTOCOL>),
        Attribute::packet(8, "ar_tha", Type::MacAddr, ethernet_ipv4::<TARGET_HARDWARE>),
        Attribute::packet(9, "ar_tip", Type::IpAddr, ethernet_ipv4::<TARGET_PROTOCOL>),
        Attribute::packet(10, "src_hard", Type::Binary, generic::<SENDER_HARDWARE>),
        Attribute::packet(11, "src_proto", Type::Binary, generic::<SENDER_PROTOCOL>),
        Attribute::packet(12, "dst_hard", Type::Binary, generic::<TARGET_HARDWARE>),
        Attribute::packet(13, "dst_proto", Type::Binary, generic::<TARGET_PROTOCOL>),
    ],
};

// The four addresses, in the order of the packet.
const SENDER_HARDWARE: u8 = 0;
const SENDER_PROTOCOL: u8 = 1;
const TARGET_HARDWARE: u8 = 2;
const TARGET_PROTOCOL: u8 = 3;

/// The fixed part.
const HEADER_LENGTH: usize = 8;
/// How it starts for IPv4 over Ethernet: both types, and the length of both addresses.
const ETHERNET_IPV4: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [_, _, _, _, hardware, protocol, _, _] = *cursor.take::<HEADER_LENGTH>()?;
    let pair = usize::from(hardware).saturating_add(usize::from(protocol));
    cursor.skip(pair.saturating_mul(2))?;
    Ok(Next::Payload)
}

fn ethernet_ipv4<'a, const WHICH: u8>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let start: &[u8; 6] = view.cursor(header).take().ok()?;
    (*start == ETHERNET_IPV4)
        .then(|| generic::<WHICH>(view, header))
        .flatten()
}

fn generic<'a, const WHICH: u8>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let mut cursor = view.cursor(header);
    let [_, _, _, _, hardware, protocol, _, _] = *cursor.take::<HEADER_LENGTH>().ok()?;
    let place = place::<WHICH>(usize::from(hardware), usize::from(protocol));
    let address = cursor.rest().get(place)?;
    (!address.is_empty()).then_some(Value::Bytes(address))
}

/// Where an address stands behind the fixed part, from the lengths of both kinds.
fn place<const WHICH: u8>(hardware: usize, protocol: usize) -> Range<usize> {
    let pair = hardware.saturating_add(protocol);
    let (start, length) = match WHICH {
        SENDER_HARDWARE => (0, hardware),
        SENDER_PROTOCOL => (hardware, protocol),
        TARGET_HARDWARE => (pair, hardware),
        _ => (pair.saturating_add(hardware), protocol),
    };
    start..start.saturating_add(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read, text};

    const REPLY: &[u8] = &[
        0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 0, 0,
    ];

    #[test]
    fn ethernet_and_ipv4_addresses_are_typed() {
        assert_eq!(read(Protocol::Arp, REPLY), (Ok(Next::Payload), 28));
        let number = |name| number(name, REPLY);
        assert_eq!(number("arp.ar_hrd"), Some(1));
        assert_eq!(number("arp.ar_pro"), Some(0x0800));
        assert_eq!(number("arp.ar_hln"), Some(6));
        assert_eq!(number("arp.ar_pln"), Some(4));
        assert_eq!(number("arp.ar_op"), Some(2));
        for (typed, generic, bytes) in [
            ("arp.ar_sha", "arp.src_hard", &[2, 0, 0, 0, 0, 1][..]),
            ("arp.ar_sip", "arp.src_proto", &[10, 0, 0, 1]),
            ("arp.ar_tha", "arp.dst_hard", &[2, 0, 0, 0, 0, 2]),
            ("arp.ar_tip", "arp.dst_proto", &[10, 0, 0, 2]),
        ] {
            assert_eq!(text(typed, REPLY).as_deref(), Some(bytes), "{typed}");
            assert_eq!(text(generic, REPLY).as_deref(), Some(bytes), "{generic}");
        }
        every_truncation(Protocol::Arp, REPLY, HEADER_LENGTH);
    }

    #[test]
    fn other_pairs_have_generic_addresses_only() {
        let chaos = [0, 1, 8, 4, 2, 1, 0, 1, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf];
        assert_eq!(read(Protocol::Arp, &chaos), (Ok(Next::Payload), 14));
        assert_eq!(text("arp.ar_sha", &chaos), None);
        assert_eq!(text("arp.ar_tip", &chaos), None);
        assert_eq!(text("arp.src_hard", &chaos), Some(vec![0xa, 0xb]));
        assert_eq!(text("arp.src_proto", &chaos), Some(vec![0xc]));
        assert_eq!(text("arp.dst_hard", &chaos), Some(vec![0xd, 0xe]));
        assert_eq!(text("arp.dst_proto", &chaos), Some(vec![0xf]));
        assert_eq!(text("arp.src_hard", &[0, 1, 8, 0, 0, 0, 0, 1]), None);
    }

    #[test]
    fn cut_addresses_keep_the_layer() {
        assert_eq!(read(Protocol::Arp, &REPLY[..27]), (Err(Stop::Truncated), 8));
        assert_eq!(text("arp.ar_tip", &REPLY[..27]), None);
        assert!(text("arp.ar_tha", &REPLY[..27]).is_some());
    }
}
