//! PPP over Ethernet, discovery and session (RFC 2516, 4).
//!
//! ```text
//! | version, type (4 bits each) | code (1) | session id (2) | length (2) |
//! ```

use crate::dissect::attribute::{Attribute, Type, bits_at, u8_at, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::packet::{Facts, Stop};

/// Protocol `pppoe` (id 1002).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1002,
    name: "pppoe",
    title: "PPP over Ethernet (RFC 2516)",
    dissect: Some(dissect),
    bindings: &[Binding::EtherType(0x8863), Binding::EtherType(0x8864)],
    attributes: &[
        Attribute::field(1, "version", Type::U8, bits_at(0, 28, 4)),
        Attribute::field(2, "type", Type::U8, bits_at(0, 24, 4)),
        Attribute::field(3, "code", Type::U8, u8_at(1)),
        Attribute::field(4, "session_id", Type::U16, u16_at(2)),
        Attribute::field(5, "length", Type::U16, u16_at(4)),
    ],
};

/// Version 1, type 1: the only ones there are.
const VERSION_TYPE: u8 = 0x11;
/// Code of session data; discovery messages have others, so the EtherType need not be asked.
const CODE_SESSION: u8 = 0x00;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [version_type, code, _, _, l0, l1] = *cursor.take::<6>()?;
    if version_type != VERSION_TYPE {
        return Err(Stop::BadVersion);
    }
    cursor.limit(usize::from(u16::from_be_bytes([l0, l1])));
    match code {
        CODE_SESSION => Ok(Next::Protocol(Protocol::Ppp)),
        _ => Ok(Next::Payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::test_walk::Walked;
    use crate::dissect::testing::{every_truncation, number, read};
    use crate::packet::LinkType;

    const SESSION: &[u8] = &[0x11, 0x00, 0x12, 0x34, 0x00, 0x03, 0xc0, 0x21, 1, 0, 0];

    #[test]
    fn a_session_carries_ppp_and_its_length_cuts_padding() {
        assert_eq!(
            read(Protocol::Pppoe, SESSION),
            (Ok(Next::Protocol(Protocol::Ppp)), 6)
        );
        assert_eq!(number("pppoe.version", SESSION), Some(1));
        assert_eq!(number("pppoe.type", SESSION), Some(1));
        assert_eq!(number("pppoe.code", SESSION), Some(0));
        assert_eq!(number("pppoe.session_id", SESSION), Some(0x1234));
        assert_eq!(number("pppoe.length", SESSION), Some(3));
        every_truncation(Protocol::Pppoe, SESSION, 6);

        let mut frame = vec![0; 12];
        frame.extend([0x88, 0x64]);
        frame.extend(SESSION);
        assert_eq!(
            Walked::new(LinkType::ETHERNET, &frame).path(),
            "ethernet.pppoe.ppp"
        );
        assert_eq!(Walked::new(LinkType::ETHERNET, &frame).facts.end, 23);
    }

    #[test]
    fn discovery_ends_the_headers() {
        let padi = [0x11, 0x09, 0, 0, 0, 4, 1, 1, 0, 0];
        assert_eq!(read(Protocol::Pppoe, &padi), (Ok(Next::Payload), 6));
        let other = [0x21, 0x09, 0, 0, 0, 0];
        assert_eq!(read(Protocol::Pppoe, &other).0, Err(Stop::BadVersion));
    }
}
