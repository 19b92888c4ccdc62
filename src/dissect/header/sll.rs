//! Linux cooked capture: the header that libpcap makes for devices without a usable one of their
//! own.
//!
//! ```text
//! | packet type (2) | device type (2) | address length (2) | address (8) | protocol (2) |
//! ```

use crate::dissect::attribute::{Attribute, Type, Value, View, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::packet::{Facts, LinkType, Stop};

/// Protocol `sll` (id 624).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 624,
    name: "sll",
    title: "Linux cooked capture",
    dissect: Some(dissect),
    bindings: &[Binding::Link(LinkType::LINUX_SLL)],
    attributes: &[
        Attribute::field(1, "pkttype", Type::U16, u16_at(0)),
        Attribute::field(2, "hatype", Type::U16, u16_at(2)),
        Attribute::field(3, "halen", Type::U16, u16_at(4)),
        Attribute::packet(4, "addr", Type::U64, addr),
        Attribute::field(6, "protocol", Type::U16, u16_at(14)),
    ],
};

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [_, _, h0, h1, .., p0, p1] = *cursor.take::<16>()?;
    let device = u16::from_be_bytes([h0, h1]);
    Ok(by_device(device, u16::from_be_bytes([p0, p1])))
}

/// Device type of netlink monitors: their protocol field is a netlink family, not an EtherType.
const DEVICE_NETLINK: u16 = 824;
/// Protocol value of frames that start with an LLC header.
const PROTOCOL_LLC: u16 = 4;

/// What the protocol field of either version of the header means for a device.
pub(super) fn by_device(device: u16, protocol: u16) -> Next {
    match (device, protocol) {
        (DEVICE_NETLINK, _) => Next::Payload,
        (_, PROTOCOL_LLC) => Next::Protocol(Protocol::Llc),
        (_, number) => Next::EtherType(number),
    }
}

fn addr<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let bytes = view.cursor(header.checked_add(6)?).take().ok()?;
    Some(Value::Number(u64::from_be_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::test_walk::Walked;
    use crate::dissect::testing::{every_truncation, number, read};

    const ARP: &[u8] = &[0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 0x08, 0x06];

    #[test]
    fn the_protocol_is_an_ether_type() {
        assert_eq!(read(Protocol::Sll, ARP), (Ok(Next::EtherType(0x0806)), 16));
        assert_eq!(number("sll.pkttype", ARP), Some(4));
        assert_eq!(number("sll.hatype", ARP), Some(1));
        assert_eq!(number("sll.halen", ARP), Some(6));
        assert_eq!(number("sll.addr", ARP), Some(0x0200_0000_0009_0000));
        assert_eq!(number("sll.protocol", ARP), Some(0x0806));
        every_truncation(Protocol::Sll, ARP, 16);
    }

    #[test]
    fn or_llc_or_of_another_number_space() {
        let mut bytes = ARP.to_vec();
        bytes[14..].copy_from_slice(&[0, 4]);
        bytes.extend([0x42, 0x42, 3, 0, 0, 0, 0]);
        assert_eq!(
            Walked::new(LinkType::LINUX_SLL, &bytes).path(),
            "sll.llc.stp"
        );
        bytes[2..4].copy_from_slice(&[0x03, 0x38]);
        assert_eq!(read(Protocol::Sll, &bytes), (Ok(Next::Payload), 16));
    }
}
