//! User Datagram Protocol (RFC 768).
//!
//! ```text
//! | source port (2) | destination port (2) | length (2) | checksum (2) |
//! ```

use crate::dissect::attribute::{Attribute, Type, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `udp` (id 376).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 376,
    name: "udp",
    title: "User Datagram Protocol (RFC 768)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(17)],
    attributes: &[
        Attribute::field(1, "src_port", Type::U16, u16_at(0)),
        Attribute::field(2, "dest_port", Type::U16, u16_at(2)),
        Attribute::field(3, "len", Type::U16, u16_at(4)),
        Attribute::field(4, "checksum", Type::U16, u16_at(6)),
    ],
};

const HEADER_LENGTH: usize = 8;

#[inline]
fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let [s0, s1, d0, d1, l0, l1, _, _] = *cursor.take::<HEADER_LENGTH>()?;
    facts.source_port = u16::from_be_bytes([s0, s1]);
    facts.destination_port = u16::from_be_bytes([d0, d1]);
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    // A length of 0 means "all the rest" for jumbograms (RFC 2675); then the IP length decides
    // alone.
    if length >= HEADER_LENGTH {
        cursor.limit(length.saturating_sub(HEADER_LENGTH));
    } else if length != 0 {
        return Err(Stop::BadLength);
    }
    Ok(Next::UdpPorts(facts.source_port, facts.destination_port))
}

#[cfg(test)]
mod tests {
    use crate::dissect::test_walk::{Walked, survives_truncation};
    use crate::packet::{LinkType, Stop};

    fn packet(length: u8, payload: &[u8]) -> Vec<u8> {
        let total = u8::try_from(28 + payload.len()).unwrap();
        let mut data = vec![0x45, 0, 0, total, 0, 1, 0x40, 0, 64, 17, 0, 0];
        data.extend([
            10, 0, 0, 1, 10, 0, 0, 2, 0xd4, 0x31, 0, 9, 0, length, 0xbe, 0xef,
        ]);
        data.extend(payload);
        data
    }

    #[test]
    fn fields_of_a_datagram() {
        let bytes = packet(12, &[1, 2, 3, 4]);
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(
            (walked.path(), walked.facts.stop),
            ("ip.udp".into(), Stop::None)
        );
        assert_eq!(
            (walked.facts.source_port, walked.facts.destination_port),
            (54_321, 9)
        );
        for (name, expected) in [
            ("src_port", 54_321),
            ("dest_port", 9),
            ("len", 12),
            ("checksum", 0xbeef),
        ] {
            assert_eq!(walked.number(&format!("udp.{name}")), Some(expected));
        }
        survives_truncation(LinkType::IPV4, &bytes);
    }

    #[test]
    fn the_length_field_bounds_the_payload() {
        for (length, end, announced, stop) in [
            (12, 32, 4, Stop::None),
            (10, 30, 2, Stop::None),
            (0, 32, 4, Stop::None),
            (20, 32, 4, Stop::None),
            (7, 32, 4, Stop::BadLength),
        ] {
            let bytes = packet(length, &[1, 2, 3, 4]);
            let facts = Walked::new(LinkType::IPV4, &bytes).facts;
            assert_eq!((facts.stop, facts.end), (stop, end), "length {length}");
            assert_eq!(facts.payload_announced, announced, "length {length}");
        }
    }
}
