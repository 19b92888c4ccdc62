//! Virtual extensible LAN (RFC 7348, 5) and its generic protocol extension
//! (draft-ietf-nvo3-vxlan-gpe).
//!
//! ```text
//! | flags (1) | reserved (2) | next protocol: with P, else reserved (1) |
//! | network identifier (3) | reserved (1) |
//! ```

use super::ethernet::is_plausible;
use crate::dissect::attribute::{Attribute, Type, Value, View, bits_at, u8_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::packet::{Facts, Stop};

/// Protocol `vxlan` (id 1004).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1004,
    name: "vxlan",
    title: "Virtual extensible LAN (RFC 7348)",
    dissect: Some(dissect),
    // The registered port, the one Linux used before it, and that of the extension.
    bindings: &[
        Binding::UdpPort(4789),
        Binding::UdpPort(8472),
        Binding::UdpPort(PORT_EXTENSION),
    ],
    attributes: &[
        Attribute::field(1, "flags", Type::U8, u8_at(0)),
        Attribute::field(2, "vni", Type::U32, bits_at(4, 8, 24)),
        Attribute::packet(3, "next_protocol", Type::U8, next_protocol),
    ],
};

/// Port of the generic protocol extension.
const PORT_EXTENSION: u16 = 4790;

/// The network identifier is valid: always set.
const INSTANCE: u8 = 0x08;
/// Extension: a next-protocol field is there.
const NEXT_PROTOCOL: u8 = 0x04;
/// Always clear; the extension's version (0) is among them.
const RESERVED: u8 = 0x70;

fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let [flags, _, _, next, _, _, _, reserved] = *cursor.take::<8>()?;
    // Any client may have one of these ports by chance, so what is not VXLAN must not be taken for
    // it. But receivers ignore reserved bits: they may not hide a frame that is there.
    let is_clean = flags & RESERVED == 0 && reserved == 0;
    if flags & INSTANCE == 0 || !(is_clean || is_plausible(cursor)) {
        return Ok(Next::Mismatch);
    }
    // Elsewhere the flag of the extension is one more reserved bit.
    if flags & NEXT_PROTOCOL == 0 || facts.destination_port != PORT_EXTENSION {
        return Ok(Next::Protocol(Protocol::Ethernet));
    }
    match next {
        1 => Ok(Next::EtherType(0x0800)),
        2 => Ok(Next::EtherType(0x86dd)),
        3 => Ok(Next::Protocol(Protocol::Ethernet)),
        5 => Ok(Next::EtherType(0x8847)),
        _ => Err(Stop::UnknownNext),
    }
}

fn next_protocol<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [flags, _, _, next] = *view.cursor(header).take().ok()?;
    (flags & NEXT_PROTOCOL != 0).then(|| Value::Number(u64::from(next)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::testing::{every_truncation, number, read};

    const ETHERNET: Result<Next, Stop> = Ok(Next::Protocol(Protocol::Ethernet));

    #[test]
    fn it_carries_ethernet() {
        let bytes = [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0];
        assert_eq!(read(Protocol::Vxlan, &bytes), (ETHERNET, 8));
        assert_eq!(number("vxlan.vni", &bytes), Some(0x12_3456));
        assert_eq!(number("vxlan.flags", &bytes), Some(8));
        assert_eq!(number("vxlan.next_protocol", &bytes), None);
        every_truncation(Protocol::Vxlan, &bytes, 8);
    }

    #[test]
    fn the_extension_carries_more() {
        for (number, next) in [
            (1, Ok(Next::EtherType(0x0800))),
            (2, Ok(Next::EtherType(0x86dd))),
            (3, ETHERNET),
            (4, Err(Stop::UnknownNext)),
            (5, Ok(Next::EtherType(0x8847))),
        ] {
            let bytes = [0x0c, 0, 0, number, 0, 0, 1, 0];
            assert_eq!(read(Protocol::Vxlan, &bytes), (ETHERNET, 8));
            let mut facts = Facts::new();
            facts.destination_port = PORT_EXTENSION;
            assert_eq!(dissect(&mut Cursor::new(&bytes), &mut facts), next);
        }
        let bytes = [0x0c, 0, 0, 3, 0, 0, 1, 0];
        assert_eq!(number("vxlan.next_protocol", &bytes), Some(3));
    }

    #[test]
    fn reserved_bits_do_not_hide_a_frame() {
        let mut bytes = vec![0xff, 1, 0, 0, 0, 0, 1, 7];
        bytes.extend([0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x06]);
        assert_eq!(read(Protocol::Vxlan, &bytes), (ETHERNET, 8));
    }

    #[test]
    fn what_cannot_be_vxlan_is_not() {
        for bytes in [
            [0x00, 0, 0, 0, 0, 0, 1, 0],
            [0x18, 0, 0, 0, 0, 0, 1, 0],
            [0x08, 0, 0, 0, 0, 0, 1, 1],
        ] {
            assert_eq!(read(Protocol::Vxlan, &bytes).0, Ok(Next::Mismatch));
        }
    }
}
