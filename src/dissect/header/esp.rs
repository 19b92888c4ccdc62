//! IP encapsulating security payload (RFC 4303, 2), also over UDP (RFC 3948).
//!
//! ```text
//! | SPI (4) | sequence number (4) | encrypted ...
//! ```

use crate::dissect::attribute::{Attribute, Type, u32_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `esp` (id 1009).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1009,
    name: "esp",
    title: "IP encapsulating security payload (RFC 4303)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(50), Binding::UdpPort(4500)],
    attributes: &[
        Attribute::field(1, "spi", Type::U32, u32_at(0)),
        Attribute::field(2, "sequence", Type::U32, u32_at(4)),
    ],
};

/// Keeps a NAT's mapping alive (RFC 3948, 2.3).
const KEEPALIVE: [u8; 1] = [0xff];

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    if cursor.rest() == KEEPALIVE {
        return Ok(Next::Mismatch);
    }
    let [s0, s1, s2, s3, ..] = *cursor.take::<8>()?;
    // Over UDP, four zero bytes mark a message of IKE; as an SPI, 0 must not be sent.
    match [s0, s1, s2, s3] {
        [0, 0, 0, 0] => Ok(Next::Mismatch),
        _ => Ok(Next::Payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn it_ends_the_headers() {
        let bytes = [0, 0, 0, 5, 0, 0, 0, 9, 1, 2];
        assert_eq!(read(Protocol::Esp, &bytes), (Ok(Next::Payload), 8));
        assert_eq!(number("esp.spi", &bytes), Some(5));
        assert_eq!(number("esp.sequence", &bytes), Some(9));
        every_truncation(Protocol::Esp, &bytes, 8);
    }

    #[test]
    fn ike_and_keepalives_are_not_esp() {
        assert_eq!(read(Protocol::Esp, &[0xff]).0, Ok(Next::Mismatch));
        assert_eq!(read(Protocol::Esp, &[0; 12]).0, Ok(Next::Mismatch));
    }
}
