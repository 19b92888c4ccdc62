//! Spanning tree: bridge protocol data units (IEEE 802.1D-2004, 9.3).
//!
//! ```text
//! | protocol identifier (2) | version (1) | type (1) | ...
//! ```

use crate::dissect::attribute::{Attribute, Type, u8_at, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `stp` (id 1014). LLC leads to it.
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1014,
    name: "stp",
    title: "Spanning tree protocol (IEEE 802.1D)",
    dissect: Some(dissect),
    bindings: &[],
    attributes: &[
        Attribute::field(1, "protocol_id", Type::U16, u16_at(0)),
        Attribute::field(2, "version", Type::U8, u8_at(2)),
        Attribute::field(3, "type", Type::U8, u8_at(3)),
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
        let bytes = [0, 0, 2, 2, 0];
        assert_eq!(read(Protocol::Stp, &bytes), (Ok(Next::Payload), 4));
        assert_eq!(number("stp.protocol_id", &bytes), Some(0));
        assert_eq!(number("stp.version", &bytes), Some(2));
        assert_eq!(number("stp.type", &bytes), Some(2));
        every_truncation(Protocol::Stp, &bytes, 4);
    }
}
