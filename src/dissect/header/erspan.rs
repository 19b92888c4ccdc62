//! Encapsulated remote port mirroring, types II and III (draft-foschiano-erspan-03, 4.2 and 4.3).
//!
//! ```text
//! | version (4 bits) | VLAN (12) | class (3) | encapsulation or health (2) | truncated (1) |
//! | session (10) |
//! II:  | reserved (12 bits) | index (20) | III: | timestamp (4) | group tag (2) | P, frame type
//! (5), hardware (6), D, granularity (2), O (2) |
//!      | platform data (8): with O |
//! ```
//!
//! Type I is GRE followed by the frame, without a header; `gre` leads from there to `ethernet`.

use crate::dissect::attribute::{Attribute, Type, Value, View, bits_at, u32_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::packet::{Facts, Stop};

/// Protocol `erspan` (id 1006).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1006,
    name: "erspan",
    title: "Encapsulated remote port mirroring, types II and III",
    dissect: Some(dissect),
    // Protocol types of GRE; no Ethernet frame has them.
    bindings: &[Binding::EtherType(0x88be), Binding::EtherType(0x22eb)],
    attributes: &[
        Attribute::field(1, "version", Type::U8, bits_at(0, 28, 4)),
        Attribute::field(2, "vlan", Type::U16, bits_at(0, 16, 12)),
        Attribute::field(3, "cos", Type::U8, bits_at(0, 13, 3)),
        Attribute::field(4, "truncated", Type::U8, bits_at(0, 10, 1)),
        Attribute::field(5, "session_id", Type::U16, bits_at(0, 0, 10)),
        Attribute::packet(6, "index", Type::U32, index),
        Attribute::packet(7, "timestamp", Type::U32, timestamp),
    ],
};

/// Version of type II.
const VERSION_2: u8 = 1;
/// Version of type III.
const VERSION_3: u8 = 2;
/// Type III: platform data follows.
const OPTIONAL: u8 = 0x01;
/// Type III frame types: Ethernet, and a bare IP packet.
const FRAME_ETHERNET: u8 = 0;
const FRAME_IP: u8 = 2;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [first] = *cursor.peek()?;
    match first >> 4 {
        VERSION_2 => {
            cursor.skip(8)?;
            Ok(Next::Protocol(Protocol::Ethernet))
        }
        VERSION_3 => {
            let [.., high, low] = *cursor.take::<12>()?;
            if low & OPTIONAL != 0 {
                cursor.skip(8)?;
            }
            match (high >> 2) & 0x1f {
                FRAME_ETHERNET => Ok(Next::Protocol(Protocol::Ethernet)),
                FRAME_IP => Next::of_ip_version(cursor).ok_or(Stop::UnknownNext),
                _ => Err(Stop::UnknownNext),
            }
        }
        _ => Err(Stop::BadVersion),
    }
}

fn index<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    version(view, header).filter(|version| *version == VERSION_2)?;
    bits_at(4, 0, 20).read(view, header)
}

fn timestamp<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    version(view, header).filter(|version| *version == VERSION_3)?;
    u32_at(4).read(view, header)
}

fn version(view: &View<'_>, header: usize) -> Option<u8> {
    let [first] = *view.cursor(header).take().ok()?;
    Some(first >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::testing::{every_truncation, number, read};

    const ETHERNET: Result<Next, Stop> = Ok(Next::Protocol(Protocol::Ethernet));

    #[test]
    fn type_2() {
        let bytes = [0x10, 0x64, 0xa4, 0x05, 0, 0x01, 0x02, 0x03];
        assert_eq!(read(Protocol::Erspan, &bytes), (ETHERNET, 8));
        let number = |name| number(name, &bytes);
        assert_eq!(number("erspan.version"), Some(1));
        assert_eq!(number("erspan.vlan"), Some(100));
        assert_eq!(number("erspan.cos"), Some(5));
        assert_eq!(number("erspan.truncated"), Some(1));
        assert_eq!(number("erspan.session_id"), Some(5));
        assert_eq!(number("erspan.index"), Some(0x10203));
        assert_eq!(number("erspan.timestamp"), None);
        every_truncation(Protocol::Erspan, &bytes, 8);
    }

    #[test]
    fn type_3_with_and_without_platform_data() {
        let mut bytes = [0; 21];
        bytes[..12].copy_from_slice(&[0x20, 0x01, 0, 9, 0, 0, 0, 7, 0, 0, 0, 0]);
        bytes[20] = 0x45;
        assert_eq!(read(Protocol::Erspan, &bytes), (ETHERNET, 12));
        assert_eq!(number("erspan.timestamp", &bytes), Some(7));
        assert_eq!(number("erspan.index", &bytes), None);
        bytes[11] = OPTIONAL;
        assert_eq!(read(Protocol::Erspan, &bytes), (ETHERNET, 20));
        every_truncation(Protocol::Erspan, &bytes, 12);
        bytes[10] = FRAME_IP << 2;
        let ip = Ok(Next::EtherType(0x0800));
        assert_eq!(read(Protocol::Erspan, &bytes), (ip, 20));
    }

    #[test]
    fn other_versions_are_bad() {
        assert_eq!(read(Protocol::Erspan, &[0x30; 20]).0, Err(Stop::BadVersion));
    }
}
