//! IP authentication header (RFC 4302, 2).
//!
//! ```text
//! | next header (1) | length in 4 bytes, less 2 (1) | reserved (2) | SPI (4) | sequence number (4) |
//! | integrity check value |
//! ```

use crate::dissect::attribute::{Attribute, Type, u8_at, u32_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::header::ipv6;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `ah` (id 1010).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1010,
    name: "ah",
    title: "IP authentication header (RFC 4302)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(51)],
    attributes: &[
        Attribute::field(1, "next_header", Type::U8, u8_at(0)),
        Attribute::field(2, "length", Type::U8, u8_at(1)),
        Attribute::field(3, "spi", Type::U32, u32_at(4)),
        Attribute::field(4, "sequence", Type::U32, u32_at(8)),
    ],
};

/// Next header, length, SPI and sequence number.
const HEADER_LENGTH: usize = 12;

fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let [next, length, ..] = *cursor.take::<HEADER_LENGTH>()?;
    let total = usize::from(length).saturating_add(2).saturating_mul(4);
    let check_value = total.checked_sub(HEADER_LENGTH).ok_or(Stop::BadLength)?;
    cursor.skip(check_value)?;
    // What is authenticated belongs to the same IP packet: flows are those of the header behind.
    facts.ip_protocol = next;
    facts.transport_offset = u16::try_from(cursor.offset()).unwrap_or(u16::MAX);
    match facts.ip_version {
        // Destination options may follow (RFC 8200, section 4.1).
        6 => ipv6::skip_extensions(cursor, facts, next),
        _ => Ok(Next::IpProtocol(next)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn the_check_value_is_skipped_and_the_transport_noted() {
        let bytes = [6, 2, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9, 1, 2, 3, 4, 0];
        let mut cursor = Cursor::new(&bytes);
        let mut facts = Facts::new();
        assert_eq!(dissect(&mut cursor, &mut facts), Ok(Next::IpProtocol(6)));
        assert_eq!((facts.ip_protocol, facts.transport_offset), (6, 16));
        assert_eq!(number("ah.next_header", &bytes), Some(6));
        assert_eq!(number("ah.length", &bytes), Some(2));
        assert_eq!(number("ah.spi", &bytes), Some(5));
        assert_eq!(number("ah.sequence", &bytes), Some(9));
        every_truncation(Protocol::Ah, &bytes, HEADER_LENGTH);
    }

    #[test]
    fn a_length_below_the_fixed_part_is_bad() {
        let bytes = [6, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9];
        assert_eq!(read(Protocol::Ah, &bytes), (Err(Stop::BadLength), 12));
    }
}
