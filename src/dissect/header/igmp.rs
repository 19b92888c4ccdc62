//! Internet group management (RFC 2236, 2; RFC 3376, 4).
//!
//! ```text
//! | type (1) | maximum response time (1) | checksum (2) | group address (4); other in reports of v3 |
//! ```

use crate::dissect::attribute::{Attribute, Type, Value, View, bytes_at, u8_at, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `igmp` (id 1011).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1011,
    name: "igmp",
    title: "Internet group management protocol (RFC 2236, RFC 3376)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(2)],
    attributes: &[
        Attribute::field(1, "type", Type::U8, u8_at(0)),
        Attribute::field(2, "max_resp", Type::U8, u8_at(1)),
        Attribute::field(3, "checksum", Type::U16, u16_at(2)),
        Attribute::packet(4, "group", Type::IpAddr, group),
    ],
};

/// Version 3 membership report: its records, not the header, name the groups.
const REPORT_3: u8 = 0x22;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    cursor.skip(8)?;
    Ok(Next::Payload)
}

fn group<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [kind] = *view.cursor(header).take().ok()?;
    (kind != REPORT_3)
        .then(|| bytes_at(4, 4).read(view, header))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read, text};

    #[test]
    fn a_query_names_its_group_and_a_report_does_not() {
        let mut bytes = [0x11, 100, 0xee, 0x9b, 224, 0, 0, 251];
        assert_eq!(read(Protocol::Igmp, &bytes), (Ok(Next::Payload), 8));
        assert_eq!(number("igmp.type", &bytes), Some(0x11));
        assert_eq!(number("igmp.max_resp", &bytes), Some(100));
        assert_eq!(number("igmp.checksum", &bytes), Some(0xee9b));
        assert_eq!(text("igmp.group", &bytes), Some(vec![224, 0, 0, 251]));
        every_truncation(Protocol::Igmp, &bytes, 8);
        bytes[0] = REPORT_3;
        assert_eq!(text("igmp.group", &bytes), None);
    }
}
