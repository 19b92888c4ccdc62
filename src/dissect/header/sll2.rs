//! Linux cooked capture, version 2: with the index of the interface.
//!
//! ```text
//! | protocol (2) | reserved (2) | interface (4) | device type (2) | packet type (1) |
//! | address length (1) | address (8) |
//! ```

use super::sll::by_device;
use crate::dissect::attribute::{Attribute, Type, Value, View, u8_at, u16_at, u32_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, LinkType, Stop};

/// Protocol `sll2` (id 1007).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1007,
    name: "sll2",
    title: "Linux cooked capture, version 2",
    dissect: Some(dissect),
    bindings: &[Binding::Link(LinkType::LINUX_SLL2)],
    attributes: &[
        Attribute::field(1, "pkttype", Type::U8, u8_at(10)),
        Attribute::field(2, "hatype", Type::U16, u16_at(8)),
        Attribute::field(3, "halen", Type::U8, u8_at(11)),
        Attribute::packet(4, "addr", Type::U64, addr),
        Attribute::field(5, "ifindex", Type::U32, u32_at(4)),
        Attribute::field(6, "protocol", Type::U16, u16_at(0)),
    ],
};

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [p0, p1, _, _, _, _, _, _, h0, h1, ..] = *cursor.take::<20>()?;
    let device = u16::from_be_bytes([h0, h1]);
    Ok(by_device(device, u16::from_be_bytes([p0, p1])))
}

fn addr<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let bytes = view.cursor(header.checked_add(12)?).take().ok()?;
    Some(Value::Number(u64::from_be_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::test_walk::Walked;
    use crate::dissect::testing::{every_truncation, number, read};

    #[test]
    fn fields_are_where_libpcap_puts_them() {
        let bytes = [
            0x08, 0x06, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 9, 0, 0,
        ];
        assert_eq!(
            read(Protocol::Sll2, &bytes),
            (Ok(Next::EtherType(0x0806)), 20)
        );
        assert_eq!(number("sll2.protocol", &bytes), Some(0x0806));
        assert_eq!(number("sll2.ifindex", &bytes), Some(3));
        assert_eq!(number("sll2.hatype", &bytes), Some(1));
        assert_eq!(number("sll2.pkttype", &bytes), Some(4));
        assert_eq!(number("sll2.halen", &bytes), Some(6));
        assert_eq!(number("sll2.addr", &bytes), Some(0x0200_0000_0009_0000));
        every_truncation(Protocol::Sll2, &bytes, 20);
        let facts = Walked::new(LinkType::LINUX_SLL2, &bytes).facts;
        assert_eq!(facts.offset_of(Protocol::Sll2), Some(0));
    }
}
