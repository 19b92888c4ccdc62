//! Ethernet II and the start of 802.3 (IEEE 802.3-2022, 3.1.1).
//!
//! ```text
//! | destination (6) | source (6) | EtherType, or length when below 0x600 (2) |
//! ```

use crate::dissect::attribute::{Attribute, Type, Value, View, bytes_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::packet::{Facts, LinkType, Stop};

/// Protocol `ethernet` (id 99).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 99,
    name: "ethernet",
    title: "Ethernet II and IEEE 802.3",
    dissect: Some(dissect),
    bindings: &[
        Binding::Link(LinkType::ETHERNET),
        // Transparent Ethernet bridging: frames inside GRE, NVGRE and Geneve.
        Binding::EtherType(0x6558),
        // Frames directly inside IP: segment routing (RFC 8986, section 10.1).
        Binding::IpProtocol(143),
    ],
    attributes: &[
        Attribute::packet(1, "proto", Type::U16, proto),
        Attribute::field(2, "dst", Type::MacAddr, bytes_at(0, 6)),
        Attribute::field(3, "src", Type::MacAddr, bytes_at(6, 6)),
        Attribute::packet(4, "length", Type::U16, length),
    ],
};

/// EtherTypes start here; smaller numbers are the length of an 802.3 frame.
pub(super) const ETHER_TYPE_MIN: u16 = 0x0600;
/// EtherType of IPX, which is how raw 802.3 frames of NetWare go on without saying so.
const ETHER_TYPE_IPX: u16 = 0x8137;

#[inline]
fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [.., high, low] = *cursor.take::<14>()?;
    Ok(type_or_length(cursor, u16::from_be_bytes([high, low])))
}

/// What comes behind a field that is an EtherType or a length (here and in VLAN tags).
///
/// A length cuts off the padding of short frames and leads to LLC. The exception is NetWare's raw
/// 802.3, where IPX follows without LLC; its checksum field is always 0xffff, which is no LLC
/// address pair that anyone uses.
#[inline]
pub(super) fn type_or_length(cursor: &mut Cursor<'_>, number: u16) -> Next {
    if number >= ETHER_TYPE_MIN {
        return Next::EtherType(number);
    }
    cursor.limit(usize::from(number));
    match cursor.peek::<2>() {
        Ok([0xff, 0xff]) => Next::EtherType(ETHER_TYPE_IPX),
        _ => Next::Protocol(Protocol::Llc),
    }
}

/// Could an Ethernet frame start here? For pseudowires, which do not say what they carry: the type
/// field must be an EtherType with a dissector, or a length that fits, and the source address must
/// be that of a single station.
pub(super) fn is_plausible(cursor: &Cursor<'_>) -> bool {
    let Ok([_, _, _, _, _, _, source, _, _, _, _, _, high, low]) = cursor.peek::<14>() else {
        return false;
    };
    let number = u16::from_be_bytes([*high, *low]);
    let known = if number >= ETHER_TYPE_MIN {
        Next::EtherType(number).resolve().is_some()
    } else {
        usize::from(number) <= cursor.remaining().saturating_sub(14)
    };
    known && source & 1 == 0
}

fn proto<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    field(view, header)
        .filter(|number| *number >= ETHER_TYPE_MIN)
        .map(|number| Value::Number(u64::from(number)))
}

/// As in MMT, 0x600 itself is both a type and a length.
fn length<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    field(view, header)
        .filter(|number| *number <= ETHER_TYPE_MIN)
        .map(|number| Value::Number(u64::from(number)))
}

fn field(view: &View<'_>, header: usize) -> Option<u16> {
    let mut cursor = view.cursor(header.checked_add(12)?);
    cursor.take().ok().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::test_walk::Walked;
    use crate::dissect::testing::{every_truncation, number, read, text};

    /// 802.3 frame of a spanning-tree bridge: length 7, LLC, 4 bytes, then padding.
    const LENGTH: &[u8] = &[
        0x01, 0x80, 0xc2, 0, 0, 0, 0x02, 0, 0, 0, 0, 1, 0x00, 0x07, 0x42, 0x42, 0x03, 1, 2, 3, 4,
        0, 0, 0, 0, 0,
    ];

    #[test]
    fn a_short_frame_has_no_ethernet_header() {
        let facts = Walked::new(LinkType::ETHERNET, &[0; 13]).facts;
        assert_eq!(facts.stop, Stop::Truncated);
        assert!(facts.layers().is_empty());
    }

    #[test]
    fn an_unknown_ether_type_ends_the_walk() {
        let facts = Walked::new(LinkType::ETHERNET, &[0xff; 60]).facts;
        assert_eq!(facts.stop, Stop::UnknownNext);
        assert_eq!(facts.layers().len(), 1);
        assert_eq!(facts.offset_of(Protocol::Ethernet), Some(0));
    }

    #[test]
    fn a_length_leads_to_llc_and_cuts_padding() {
        assert_eq!(
            Walked::new(LinkType::ETHERNET, LENGTH).path(),
            "ethernet.llc.stp"
        );
        assert_eq!(Walked::new(LinkType::ETHERNET, LENGTH).facts.end, 21);
        assert_eq!(number("ethernet.length", LENGTH), Some(7));
        assert_eq!(number("ethernet.proto", LENGTH), None);
        every_truncation(Protocol::Ethernet, LENGTH, 14);
    }

    #[test]
    fn raw_ipx_has_no_llc() {
        let mut frame = LENGTH.to_vec();
        frame[14..16].fill(0xff);
        assert_eq!(
            read(Protocol::Ethernet, &frame),
            (Ok(Next::EtherType(0x8137)), 14)
        );
    }

    #[test]
    fn a_type_is_no_length() {
        let mut frame = LENGTH.to_vec();
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(number("ethernet.proto", &frame), Some(0x0806));
        assert_eq!(number("ethernet.length", &frame), None);
        let source = text("ethernet.src", &frame);
        assert_eq!(source.as_deref(), Some(&frame[6..12]));
        frame[12..14].copy_from_slice(&[0x06, 0x00]);
        assert_eq!(number("ethernet.proto", &frame), Some(0x600));
        assert_eq!(number("ethernet.length", &frame), Some(0x600));
    }
}
