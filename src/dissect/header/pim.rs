//! Protocol independent multicast (RFC 7761, 4.9).
//!
//! ```text
//! | version, type (4 bits each) | subtype or reserved (1) | checksum (2) | ...
//! ```

use crate::dissect::attribute::{Attribute, Type, bits_at, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `pim` (id 1012).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1012,
    name: "pim",
    title: "Protocol independent multicast (RFC 7761)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(103)],
    attributes: &[
        Attribute::field(1, "version", Type::U8, bits_at(0, 28, 4)),
        Attribute::field(2, "type", Type::U8, bits_at(0, 24, 4)),
        Attribute::field(3, "checksum", Type::U16, u16_at(2)),
    ],
};

/// Version 2, type 1: a router sends a multicast packet to the rendezvous point inside this
/// message.
const REGISTER: u8 = 0x21;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [version_and_type, ..] = *cursor.take::<4>()?;
    if version_and_type != REGISTER {
        return Ok(Next::Payload);
    }
    // Two flags and reserved bits come first. A null register may end there.
    cursor.skip(4)?;
    Ok(Next::of_ip_version(cursor).unwrap_or(Next::Payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn the_fixed_part_is_read() {
        let bytes = [0x23, 0, 0xab, 0xcd, 0];
        assert_eq!(read(Protocol::Pim, &bytes), (Ok(Next::Payload), 4));
        assert_eq!(number("pim.version", &bytes), Some(2));
        assert_eq!(number("pim.type", &bytes), Some(3));
        assert_eq!(number("pim.checksum", &bytes), Some(0xabcd));
        every_truncation(Protocol::Pim, &bytes, 4);
    }

    #[test]
    fn a_register_carries_a_packet() {
        for (first, next) in [
            (0x45, Next::EtherType(0x0800)),
            (0x60, Next::EtherType(0x86dd)),
            (0x00, Next::Payload),
        ] {
            let bytes = [0x21, 0, 0xab, 0xcd, 0, 0, 0, 0, first];
            assert_eq!(read(Protocol::Pim, &bytes), (Ok(next), 8));
        }
        let null = [0x21, 0, 0xab, 0xcd, 0x40, 0, 0, 0];
        assert_eq!(read(Protocol::Pim, &null), (Ok(Next::Payload), 8));
    }
}
