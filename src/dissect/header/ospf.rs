//! Open shortest path first, versions 2 and 3 (RFC 2328, A.3.1; RFC 5340, A.3.1).
//!
//! ```text
//! | version (1) | type (1) | length (2) | router (4) | area (4) | checksum (2) |
//! | 3: instance (1), 0 (1); 2: authentication type (2), authentication (8) |
//! ```

use crate::dissect::attribute::{Attribute, Type, u8_at, u16_at, u32_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `ospf` (id 260).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 260,
    name: "ospf",
    title: "Open shortest path first (RFC 2328, RFC 5340)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(89)],
    attributes: &[
        Attribute::field(1, "version", Type::U8, u8_at(0)),
        Attribute::field(2, "type", Type::U8, u8_at(1)),
        Attribute::field(3, "len", Type::U16, u16_at(2)),
        Attribute::field(4, "router_id", Type::U32, u32_at(4)),
        Attribute::field(5, "area_id", Type::U32, u32_at(8)),
        Attribute::field(6, "checksum", Type::U16, u16_at(12)),
        // In version 2 the high byte of the authentication type, as MMT has it.
        Attribute::field(7, "instance_id", Type::U8, u8_at(14)),
    ],
};

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [version, ..] = *cursor.take::<16>()?;
    match version {
        2 => cursor.skip(8)?,
        3 => {}
        _ => return Err(Stop::BadVersion),
    }
    Ok(Next::Payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn both_versions_are_read() {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&[3, 1, 0, 36, 1, 1, 1, 1, 0, 0, 0, 1, 0xab, 0xcd, 7, 0]);
        assert_eq!(read(Protocol::Ospf, &bytes), (Ok(Next::Payload), 16));
        assert_eq!(number("ospf.version", &bytes), Some(3));
        assert_eq!(number("ospf.type", &bytes), Some(1));
        assert_eq!(number("ospf.len", &bytes), Some(36));
        assert_eq!(number("ospf.router_id", &bytes), Some(0x0101_0101));
        assert_eq!(number("ospf.area_id", &bytes), Some(1));
        assert_eq!(number("ospf.checksum", &bytes), Some(0xabcd));
        assert_eq!(number("ospf.instance_id", &bytes), Some(7));
        every_truncation(Protocol::Ospf, &bytes, 16);
        bytes[0] = 2;
        assert_eq!(read(Protocol::Ospf, &bytes), (Ok(Next::Payload), 24));
        every_truncation(Protocol::Ospf, &bytes, 16);
        bytes[0] = 4;
        assert_eq!(read(Protocol::Ospf, &bytes).0, Err(Stop::BadVersion));
    }
}
