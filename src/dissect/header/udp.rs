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
        Attribute::packet(1, "src_port", Type::U16, u16_at::<0>),
        Attribute::packet(2, "dest_port", Type::U16, u16_at::<2>),
        Attribute::packet(3, "len", Type::U16, u16_at::<4>),
        Attribute::packet(4, "checksum", Type::U16, u16_at::<6>),
    ],
};

const HEADER_LENGTH: usize = 8;

fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let [s0, s1, d0, d1, l0, l1, _, _] = *cursor.take::<HEADER_LENGTH>()?;
    facts.source_port = u16::from_be_bytes([s0, s1]);
    facts.destination_port = u16::from_be_bytes([d0, d1]);
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    // A length of 0 means "all the rest" for jumbograms (RFC 2675); then the IP length decides alone.
    if length >= HEADER_LENGTH {
        cursor.limit(length.saturating_sub(HEADER_LENGTH));
    } else if length != 0 {
        return Err(Stop::BadLength);
    }
    Ok(Next::UdpPorts(facts.source_port, facts.destination_port))
}
