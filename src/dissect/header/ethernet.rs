//! Ethernet II and the start of 802.3 (IEEE 802.3-2022, 3.1.1).
//!
//! ```text
//! | destination (6) | source (6) | EtherType, or length when below 0x600 (2) |
//! ```

use crate::dissect::attribute::{Attribute, Type, Value, View, bytes_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, LinkType, Stop};

/// Protocol `ethernet` (id 99).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 99,
    name: "ethernet",
    title: "Ethernet II and IEEE 802.3",
    dissect: Some(dissect),
    bindings: &[Binding::Link(LinkType::ETHERNET)],
    attributes: &[
        Attribute::packet(1, "proto", Type::U16, proto),
        Attribute::packet(2, "dst", Type::MacAddr, bytes_at::<0, 6>),
        Attribute::packet(3, "src", Type::MacAddr, bytes_at::<6, 6>),
        Attribute::packet(4, "length", Type::U16, length),
    ],
};

/// EtherTypes start here; smaller numbers are the length of an 802.3 frame.
const ETHER_TYPE_MIN: u16 = 0x0600;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let header = cursor.take::<14>()?;
    let [.., high, low] = *header;
    Ok(Next::EtherType(u16::from_be_bytes([high, low])))
}

fn proto<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    type_or_length(view, header)
        .filter(|number| *number >= ETHER_TYPE_MIN)
        .map(number)
}

fn length<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    type_or_length(view, header)
        .filter(|number| *number < ETHER_TYPE_MIN)
        .map(number)
}

fn type_or_length(view: &View<'_>, header: usize) -> Option<u16> {
    let mut cursor = view.cursor(header.checked_add(12)?);
    cursor.take().ok().map(|bytes| u16::from_be_bytes(*bytes))
}

fn number<'a>(number: u16) -> Value<'a> {
    Value::Number(u64::from(number))
}

#[cfg(test)]
mod tests {
    use crate::dissect::{Protocol, headers};
    use crate::packet::{Facts, Frame, LinkType, Stop, Timestamp};

    fn walk(data: &[u8]) -> Facts {
        let frame = Frame {
            data,
            wire_length: u32::try_from(data.len()).unwrap(),
            timestamp: Timestamp::default(),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
        };
        let mut facts = Facts::new();
        headers(&frame, &mut facts);
        facts
    }

    #[test]
    fn a_short_frame_has_no_ethernet_header() {
        let facts = walk(&[0; 13]);
        assert_eq!(facts.stop, Stop::Truncated);
        assert!(facts.layers().is_empty());
    }

    #[test]
    fn an_unknown_ether_type_ends_the_walk() {
        let facts = walk(&[0xff; 60]);
        assert_eq!(facts.stop, Stop::UnknownNext);
        assert_eq!(facts.layers().len(), 1);
        assert_eq!(facts.offset_of(Protocol::Ethernet), Some(0));
    }
}
