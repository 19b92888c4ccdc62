//! Point-to-point protocol (RFC 1661, 2), with the address and control bytes of HDLC-like framing
//! (RFC 1662, 3.1) where they are there.
//!
//! ```text
//! | 0xff 0x03, may be left out (2) | protocol (2, or 1 when compressed) |
//! ```

use crate::dissect::attribute::{Attribute, Type, Value, View};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, LinkType, Stop};

/// Protocol `ppp` (id 1003).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1003,
    name: "ppp",
    title: "Point-to-point protocol (RFC 1661)",
    dissect: Some(dissect),
    bindings: &[
        Binding::Link(LinkType::PPP),
        Binding::Link(LinkType::PPP_HDLC),
        // Also the protocol type of PPTP's GRE (RFC 2637, 4.1).
        Binding::EtherType(0x880b),
    ],
    attributes: &[Attribute::packet(1, "protocol", Type::U16, protocol)],
};

/// HDLC's "all stations" address. It is no protocol number: 0x00ff is reserved for that reason.
const ADDRESS: u8 = 0xff;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    // Both parts or neither: a cut header must leave the cursor where it was.
    let mut header = *cursor;
    let number = take_protocol(&mut header)?;
    *cursor = header;
    Ok(Next::PppProtocol(number))
}

/// The protocol number, as two bytes even where the sender compressed it to one. The last byte of a
/// number is always odd and the first one even (RFC 1661, 2), so an odd first byte is the last.
fn take_protocol(cursor: &mut Cursor<'_>) -> Result<u16, Stop> {
    if cursor.peek()? == &[ADDRESS] {
        cursor.skip(2)?;
    }
    let [first] = *cursor.peek()?;
    if first & 1 == 1 {
        cursor.skip(1)?;
        return Ok(u16::from(first));
    }
    cursor.take().map(|bytes| u16::from_be_bytes(*bytes))
}

fn protocol<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let number = take_protocol(&mut view.cursor(header)).ok()?;
    Some(Value::Number(u64::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::test_walk::Walked;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn address_control_and_half_of_the_protocol_may_be_missing() {
        let ip = Ok(Next::PppProtocol(0x0021));
        for (bytes, length) in [
            (&[0xff, 0x03, 0x00, 0x21, 0x45][..], 4),
            (&[0xff, 0x03, 0x21, 0x45], 3),
            (&[0x00, 0x21, 0x45], 2),
            (&[0x21, 0x45], 1),
        ] {
            assert_eq!(read(Protocol::Ppp, bytes), (ip, length));
            assert_eq!(number("ppp.protocol", bytes), Some(0x21));
            every_truncation(Protocol::Ppp, bytes, length);
        }
    }

    #[test]
    fn protocols_lead_on() {
        let next = |bytes: &[u8]| read(Protocol::Ppp, bytes).0;
        assert_eq!(next(&[0x57]), Ok(Next::PppProtocol(0x57)));
        assert_eq!(next(&[0xc0, 0x21]), Ok(Next::PppProtocol(0xc021)));
        let facts = Walked::new(LinkType::PPP, &[0xff, 0x03, 0xc0, 0x21, 1, 1, 0, 4]).facts;
        assert_eq!(facts.stop, Stop::UnknownNext);
        assert_eq!(facts.payload_offset, 4);
        let facts = Walked::new(LinkType::PPP_HDLC, &[0x02, 0x81, 0, 1, 1, 64]).facts;
        assert_eq!(facts.offset_of(Protocol::Mpls), Some(2));
    }
}
