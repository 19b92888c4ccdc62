//! Generic network virtualization encapsulation (RFC 8926, 3.4).
//!
//! ```text
//! | version (2 bits) | options length in 4 bytes (6) | O C, reserved (6) | protocol type (2) |
//! | network identifier (3) | reserved (1) | options |
//! ```

use super::ethernet::ETHER_TYPE_MIN;
use crate::dissect::attribute::{Attribute, Type, bits_at, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `geneve` (id 1005).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1005,
    name: "geneve",
    title: "Generic network virtualization encapsulation (RFC 8926)",
    dissect: Some(dissect),
    bindings: &[Binding::UdpPort(6081)],
    attributes: &[
        Attribute::field(1, "version", Type::U8, bits_at(0, 30, 2)),
        Attribute::field(2, "opt_len", Type::U8, bits_at(0, 24, 6)),
        Attribute::field(3, "oam", Type::U8, bits_at(0, 23, 1)),
        Attribute::field(4, "critical", Type::U8, bits_at(0, 22, 1)),
        Attribute::field(5, "protocol", Type::U16, u16_at(2)),
        Attribute::field(6, "vni", Type::U32, bits_at(4, 8, 24)),
    ],
};

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [first, second, p0, p1, _, _, _, reserved] = *cursor.take::<8>()?;
    let next = Next::EtherType(u16::from_be_bytes([p0, p1]));
    // Any client may have this port by chance, so what is not Geneve must not be taken for it. But
    // receivers ignore reserved bits: they may not hide a packet that is there.
    let is_clean = second & 0x3f == 0 && reserved == 0 && [p0, p1] >= ETHER_TYPE_MIN.to_be_bytes();
    if first >> 6 != 0 || !(is_clean || next.resolve().is_some()) {
        return Ok(Next::Mismatch);
    }
    cursor.skip(usize::from(first & 0x3f).saturating_mul(4))?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn options_are_skipped() {
        let bytes = [
            0x02, 0xc0, 0x65, 0x58, 0, 0x12, 0x34, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0,
        ];
        assert_eq!(
            read(Protocol::Geneve, &bytes),
            (Ok(Next::EtherType(0x6558)), 16)
        );
        assert_eq!(number("geneve.version", &bytes), Some(0));
        assert_eq!(number("geneve.opt_len", &bytes), Some(2));
        assert_eq!(number("geneve.oam", &bytes), Some(1));
        assert_eq!(number("geneve.critical", &bytes), Some(1));
        assert_eq!(number("geneve.protocol", &bytes), Some(0x6558));
        assert_eq!(number("geneve.vni", &bytes), Some(0x1234));
        every_truncation(Protocol::Geneve, &bytes, 8);
    }

    #[test]
    fn reserved_bits_do_not_hide_a_packet() {
        let bytes = [0, 1, 0x65, 0x58, 0, 0, 1, 1];
        assert_eq!(
            read(Protocol::Geneve, &bytes),
            (Ok(Next::EtherType(0x6558)), 8)
        );
    }

    #[test]
    fn what_cannot_be_geneve_is_not() {
        for bytes in [
            [0x40, 0, 8, 0, 0, 0, 1, 0],
            [0, 1, 8, 1, 0, 0, 1, 0],
            [0, 0, 8, 1, 0, 0, 1, 1],
            [0; 8],
        ] {
            assert_eq!(read(Protocol::Geneve, &bytes).0, Ok(Next::Mismatch));
        }
    }
}
