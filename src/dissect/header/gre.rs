//! Generic routing encapsulation: version 0 (RFC 2784, RFC 2890, with the routing field of RFC
//! 1701) and version 1, of PPTP (RFC 2637, 4.1).
//!
//! ```text
//! | C R K S s, recursion (3), A, reserved (4), version (3) (2) | protocol type (2) |
//! | checksum (2), offset (2): with C or R | key (4): with K | sequence number (4): with S |
//! | acknowledgment number (4): with A in version 1 | source routes: with R |
//! ```
//!
//! In version 1 the key is the payload length (2) and the call id (2).

use crate::dissect::attribute::{
    Attribute, Scope, Type, Value, View, absent, bits_at, u16_at, u32_at,
};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::limits::LAYERS_MAX;
use crate::packet::{Facts, Stop};

/// Protocol `gre` (id 137).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 137,
    name: "gre",
    title: "Generic routing encapsulation (RFC 2784)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(47)],
    attributes: &[
        Attribute::field(1, "proto", Type::U16, u16_at(2)),
        Attribute::field(2, "flags", Type::U16, u16_at(0)),
        Attribute::packet(3, "checksum", Type::U16, checksum),
        Attribute::packet(4, "key", Type::U32, key),
        Attribute::packet(5, "seqnb", Type::U32, sequence_number),
        Attribute::field(6, "cflag", Type::U16, bits_at(0, 31, 1)),
        Attribute::field(7, "kflag", Type::U16, bits_at(0, 29, 1)),
        Attribute::field(8, "sflag", Type::U16, bits_at(0, 28, 1)),
        Attribute::field(9, "version", Type::U16, bits_at(0, 16, 3)),
        Attribute::packet(10, "seq_out", Type::U32, absent).scope(Scope::SessionChanging),
        Attribute::packet(11, "seq_in", Type::U32, absent).scope(Scope::SessionChanging),
        Attribute::packet(12, "seq_gap", Type::U32, absent).scope(Scope::SessionChanging),
        Attribute::packet(13, "loss", Type::U32, absent).scope(Scope::SessionChanging),
    ],
};

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGMENT: u16 = 0x0080;
const VERSION: u16 = 0x0007;

/// Bytes of the checksum with its neighbour, of the key, and of each number.
const FIELD: usize = 4;

const ETHERNET: u16 = 0x6558;
const ERSPAN: u16 = 0x88be;
const WCCP: u16 = 0x883e;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [f0, f1, p0, p1] = *cursor.take::<4>()?;
    let flags = u16::from_be_bytes([f0, f1]);
    let protocol = u16::from_be_bytes([p0, p1]);
    match flags & VERSION {
        0 => version_0(cursor, flags, protocol),
        1 => version_1(cursor, flags, protocol),
        _ => Err(Stop::BadVersion),
    }
}

fn version_0(cursor: &mut Cursor<'_>, flags: u16, protocol: u16) -> Result<Next, Stop> {
    cursor.skip(offset_of(flags, 0).saturating_sub(4))?;
    if flags & ROUTING != 0 {
        skip_routes(cursor)?;
    }
    Ok(match protocol {
        // ERSPAN type I has no header; the sequence number tells it from type II, which must have
        // one.
        ERSPAN if flags & SEQUENCE == 0 => Next::EtherType(ETHERNET),
        WCCP => {
            // Version 2 of WCCP puts a redirect header before the packet, version 1 does not.
            if Next::of_ip_version(cursor).is_none() {
                cursor.skip(4)?;
            }
            Next::EtherType(0x0800)
        }
        number => Next::EtherType(number),
    })
}

fn version_1(cursor: &mut Cursor<'_>, flags: u16, protocol: u16) -> Result<Next, Stop> {
    let mut payload_length = usize::MAX;
    if flags & KEY != 0 {
        let [l0, l1, _, _] = *cursor.take::<FIELD>()?;
        payload_length = usize::from(u16::from_be_bytes([l0, l1]));
    }
    if flags & SEQUENCE != 0 {
        cursor.skip(FIELD)?;
    }
    if flags & ACKNOWLEDGMENT != 0 {
        cursor.skip(FIELD)?;
    }
    cursor.limit(payload_length);
    // A packet without a sequence number only acknowledges.
    match flags & SEQUENCE {
        0 => Ok(Next::Payload),
        _ => Ok(Next::EtherType(protocol)),
    }
}

/// Source route entries (RFC 1701): family (2), offset (1), length (1), and as many bytes; the list
/// ends with family 0 and length 0.
fn skip_routes(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    // Nobody routes by these any more; the bound is that of headers.
    for _ in 0..LAYERS_MAX {
        let [f0, f1, _, length] = *cursor.take::<4>()?;
        if [f0, f1, length] == [0; 3] {
            return Ok(());
        }
        cursor.skip(usize::from(length))?;
    }
    Err(Stop::TooManyLayers)
}

/// Offset of the field behind those that `flags` has before the bit `field`; behind all of them for
/// 0.
fn offset_of(flags: u16, field: u16) -> usize {
    let before = match field {
        KEY => [CHECKSUM | ROUTING, 0, 0],
        SEQUENCE => [CHECKSUM | ROUTING, KEY, 0],
        _ => [CHECKSUM | ROUTING, KEY, SEQUENCE],
    };
    let present = before.iter().filter(|bits| flags & **bits != 0).count();
    present.saturating_add(1).saturating_mul(FIELD)
}

fn checksum<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    flags_with(view, header, CHECKSUM)?;
    u16_at(4).read(view, header)
}

fn key<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let flags = flags_with(view, header, KEY)?;
    u32_at(0).read(view, header.checked_add(offset_of(flags, KEY))?)
}

fn sequence_number<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let flags = flags_with(view, header, SEQUENCE)?;
    u32_at(0).read(view, header.checked_add(offset_of(flags, SEQUENCE))?)
}

/// The flags, when `bit` is among them.
fn flags_with(view: &View<'_>, header: usize, bit: u16) -> Option<u16> {
    let flags = u16::from_be_bytes(*view.cursor(header).take().ok()?);
    (flags & bit != 0).then_some(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn without_options() {
        let bytes = [0, 0, 8, 0, 0x45];
        assert_eq!(
            read(Protocol::Gre, &bytes),
            (Ok(Next::EtherType(0x0800)), 4)
        );
        assert_eq!(number("gre.proto", &bytes), Some(0x0800));
        for name in ["gre.checksum", "gre.key", "gre.seqnb", "gre.loss"] {
            assert_eq!(number(name, &[0, 0, 8, 0, 1, 1, 1, 1, 1, 1, 1, 1]), None);
        }
        every_truncation(Protocol::Gre, &bytes, 4);
    }

    #[test]
    fn with_all_options() {
        let bytes = [
            0xb0, 0, 0x65, 0x58, 0xab, 0xcd, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 1,
        ];
        assert_eq!(
            read(Protocol::Gre, &bytes),
            (Ok(Next::EtherType(0x6558)), 16)
        );
        let number = |name| number(name, &bytes);
        assert_eq!(number("gre.flags"), Some(0xb000));
        assert_eq!(number("gre.checksum"), Some(0xabcd));
        assert_eq!(number("gre.key"), Some(7));
        assert_eq!(number("gre.seqnb"), Some(9));
        assert_eq!(number("gre.cflag"), Some(1));
        assert_eq!(number("gre.kflag"), Some(1));
        assert_eq!(number("gre.sflag"), Some(1));
        assert_eq!(number("gre.version"), Some(0));
        every_truncation(Protocol::Gre, &bytes, 4);
    }

    #[test]
    fn source_routes_are_skipped_and_bounded() {
        let mut bytes = vec![0x60, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 5];
        bytes.extend([8, 0, 0, 4, 10, 0, 0, 1, 0, 0, 0, 0, 0x45]);
        let read = |bytes: &[u8]| read(Protocol::Gre, bytes);
        assert_eq!(read(&bytes), (Ok(Next::EtherType(0x0800)), 24));
        assert_eq!(number("gre.key", &bytes), Some(5));
        every_truncation(Protocol::Gre, &bytes, 4);
        let mut endless = vec![0x40, 0, 8, 0];
        endless.resize(1000, 1);
        assert_eq!(read(&endless).0, Err(Stop::TooManyLayers));
    }

    #[test]
    fn pptp_has_its_own_layout() {
        let bytes = [
            0x30, 0x81, 0x88, 0x0b, 0, 3, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0x21, 0, 0,
        ];
        assert_eq!(
            read(Protocol::Gre, &bytes),
            (Ok(Next::EtherType(0x880b)), 16)
        );
        assert_eq!(number("gre.version", &bytes), Some(1));
        assert_eq!(number("gre.key", &bytes), Some(0x0003_0009));
        assert_eq!(number("gre.seqnb", &bytes), Some(1));
        every_truncation(Protocol::Gre, &bytes, 4);
        let acknowledgment = [0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 9, 0, 0, 0, 2];
        assert_eq!(
            read(Protocol::Gre, &acknowledgment),
            (Ok(Next::Payload), 12)
        );
    }

    #[test]
    fn an_unknown_version_is_reported_and_can_be_asked_for() {
        let bytes = [0, 5, 8, 0, 0x45, 0, 0, 0];
        assert_eq!(read(Protocol::Gre, &bytes), (Err(Stop::BadVersion), 4));
        assert_eq!(number("gre.version", &bytes), Some(5));
    }

    #[test]
    fn some_types_depend_on_what_is_around_them() {
        let next = |bytes: &[u8]| read(Protocol::Gre, bytes);
        let erspan_1 = [0, 0, 0x88, 0xbe, 0, 0, 0, 0];
        assert_eq!(next(&erspan_1), (Ok(Next::EtherType(0x6558)), 4));
        let erspan_2 = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 0];
        assert_eq!(next(&erspan_2), (Ok(Next::EtherType(0x88be)), 8));
        let wccp_1 = [0, 0, 0x88, 0x3e, 0x45, 0, 0, 0, 0];
        assert_eq!(next(&wccp_1), (Ok(Next::EtherType(0x0800)), 4));
        let wccp_2 = [0, 0, 0x88, 0x3e, 0, 0, 0, 0, 0x45];
        assert_eq!(next(&wccp_2), (Ok(Next::EtherType(0x0800)), 8));
    }
}
