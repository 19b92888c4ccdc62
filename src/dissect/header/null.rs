//! BSD loopback: the address family of what follows, as a 32-bit number.
//!
//! Link type NULL has it in the byte order of the capturing machine, LOOP in network order.
//! Families are small numbers, so the bytes show the order.

use crate::dissect::attribute::{Attribute, Type, Value, View};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, LinkType, Stop};

/// Protocol `null` (id 1008).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1008,
    name: "null",
    title: "BSD loopback",
    dissect: Some(dissect),
    bindings: &[Binding::Link(LinkType::NULL), Binding::Link(LinkType::LOOP)],
    attributes: &[Attribute::packet(1, "family", Type::U32, family)],
};

const FAMILY_INET: u32 = 2;
/// `AF_INET6` of NetBSD and OpenBSD, of FreeBSD, and of macOS.
const FAMILY_INET6: [u32; 3] = [24, 28, 30];

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    match in_host_order(*cursor.take()?) {
        FAMILY_INET => Ok(Next::EtherType(0x0800)),
        family if FAMILY_INET6.contains(&family) => Ok(Next::EtherType(0x86dd)),
        _ => Err(Stop::UnknownNext),
    }
}

fn in_host_order(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes).min(u32::from_le_bytes(bytes))
}

fn family<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let bytes = view.cursor(header).take().ok()?;
    Some(Value::Number(u64::from(in_host_order(*bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::test_walk::Walked;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn both_byte_orders_are_read() {
        for (bytes, next) in [
            ([2, 0, 0, 0], Ok(Next::EtherType(0x0800))),
            ([0, 0, 0, 2], Ok(Next::EtherType(0x0800))),
            ([24, 0, 0, 0], Ok(Next::EtherType(0x86dd))),
            ([0, 0, 0, 28], Ok(Next::EtherType(0x86dd))),
            ([30, 0, 0, 0], Ok(Next::EtherType(0x86dd))),
            ([7, 0, 0, 0], Err(Stop::UnknownNext)),
        ] {
            assert_eq!(read(Protocol::Null, &bytes), (next, 4));
            every_truncation(Protocol::Null, &bytes, 4);
        }
        assert_eq!(number("null.family", &[30, 0, 0, 0]), Some(30));
    }

    #[test]
    fn both_link_types_lead_here() {
        for link in [LinkType::NULL, LinkType::LOOP] {
            assert_eq!(
                Walked::new(link, &[2, 0, 0, 0])
                    .facts
                    .offset_of(Protocol::Null),
                Some(0)
            );
        }
    }
}
