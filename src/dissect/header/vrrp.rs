//! Virtual router redundancy (RFC 9568, 5.1; RFC 3768, 5.1).
//!
//! ```text
//! | version, type (4 bits each) | virtual router (1) | priority (1) | addresses (1) | 4 more bytes |
//! ```

use crate::dissect::attribute::{Attribute, Type, bits_at, u8_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `vrrp` (id 1013).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1013,
    name: "vrrp",
    title: "Virtual router redundancy protocol (RFC 9568)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(112)],
    attributes: &[
        Attribute::field(1, "version", Type::U8, bits_at(0, 28, 4)),
        Attribute::field(2, "type", Type::U8, bits_at(0, 24, 4)),
        Attribute::field(3, "virtual_router_id", Type::U8, u8_at(1)),
        Attribute::field(4, "priority", Type::U8, u8_at(2)),
    ],
};

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    cursor.skip(8)?;
    Ok(Next::Payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn the_fixed_part_is_read() {
        let bytes = [0x31, 51, 200, 1, 0, 100, 0xab, 0xcd];
        assert_eq!(read(Protocol::Vrrp, &bytes), (Ok(Next::Payload), 8));
        assert_eq!(number("vrrp.version", &bytes), Some(3));
        assert_eq!(number("vrrp.type", &bytes), Some(1));
        assert_eq!(number("vrrp.virtual_router_id", &bytes), Some(51));
        assert_eq!(number("vrrp.priority", &bytes), Some(200));
        every_truncation(Protocol::Vrrp, &bytes, 8);
    }
}
