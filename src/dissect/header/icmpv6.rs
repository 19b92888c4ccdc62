//! Internet Control Message Protocol for IPv6 (RFC 4443).
//!
//! ```text
//! | type (1) | code (1) | checksum (2) | message, by type |
//! ```

use crate::dissect::attribute::{Attribute, Type, u8_at, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `icmpv6` (id 164).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 164,
    name: "icmpv6",
    title: "Internet Control Message Protocol for IPv6 (RFC 4443)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(58)],
    attributes: &[
        Attribute::field(1, "type", Type::U8, u8_at(0)),
        Attribute::field(2, "code", Type::U8, u8_at(1)),
        Attribute::field(3, "checksum", Type::U16, u16_at(2)),
    ],
};

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    cursor.take::<4>()?;
    Ok(Next::Payload)
}

#[cfg(test)]
mod tests {
    use crate::dissect::test_walk::{Walked, survives_truncation};
    use crate::packet::{LinkType, Stop};

    #[test]
    fn a_neighbour_solicitation() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 24, 58, 255];
        bytes.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2]);
        bytes.extend([135, 0, 0xbe, 0xef, 0, 0, 0, 0]);
        bytes.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        let walked = Walked::new(LinkType::IPV6, &bytes);
        assert_eq!(
            (walked.path(), walked.facts.stop),
            ("ipv6.icmpv6".into(), Stop::None)
        );
        assert_eq!(
            (walked.facts.ip_protocol, walked.facts.payload_announced),
            (58, 20)
        );
        assert_eq!(walked.number("icmpv6.type"), Some(135));
        assert_eq!(walked.number("icmpv6.code"), Some(0));
        assert_eq!(walked.number("icmpv6.checksum"), Some(0xbeef));
        survives_truncation(LinkType::IPV6, &bytes);
    }
}
