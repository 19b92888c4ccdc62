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
        Attribute::packet(1, "version", Type::U8, bits_at::<0, 28, 4>),
        Attribute::packet(2, "type", Type::U8, bits_at::<0, 24, 4>),
        Attribute::packet(3, "checksum", Type::U16, u16_at::<2>),
    ],
};

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    cursor.skip(4)?;
    Ok(Next::Payload)
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
}
