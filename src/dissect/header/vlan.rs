//! Customer VLAN tag (IEEE 802.1Q-2022, 9.6).
//!
//! ```text
//! | TPID (2) || priority (3 bits) | drop eligible (1) | VLAN id (12) | EtherType or length (2) |
//! ```
//!
//! The tag protocol identifier (TPID) is what the header before it read as its EtherType, so the
//! layer of a tag starts behind it, at the tag control information. `tpid` therefore reads the two
//! bytes before the layer, and is absent where another header stands there (a GRE key, a Geneve
//! option).

use super::ethernet::type_or_length;
use crate::dissect::attribute::{Attribute, Type, Value, View, bits_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `8021q` (id 7).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 7,
    name: "8021q",
    title: "VLAN tag (IEEE 802.1Q)",
    dissect: Some(dissect),
    bindings: &[Binding::EtherType(0x8100)],
    attributes: ATTRIBUTES,
};

/// Attributes of any VLAN tag.
pub(super) const ATTRIBUTES: &[Attribute] = &[
    Attribute::packet(1, "tpid", Type::U16, tpid),
    Attribute::field(2, "pcp", Type::U8, bits_at(0, 29, 3)),
    Attribute::field(3, "dei", Type::U8, bits_at(0, 28, 1)),
    Attribute::field(4, "vid", Type::U16, bits_at(0, 16, 12)),
];

/// Bits of the VLAN number in the tag control information.
const VLAN_ID: u16 = 0x0fff;

/// Reads any VLAN tag.
pub(super) fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let [c0, c1, t0, t1] = *cursor.take::<4>()?;
    if facts.vlan == Facts::NO_VLAN {
        facts.vlan = u16::from_be_bytes([c0, c1]) & VLAN_ID;
    }
    Ok(type_or_length(cursor, u16::from_be_bytes([t0, t1])))
}

fn tpid<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let bytes = view.cursor(header.checked_sub(2)?).take().ok()?;
    match u16::from_be_bytes(*bytes) {
        found @ (0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300) => {
            Some(Value::Number(u64::from(found)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::dissect::test_walk::Walked;
    use crate::dissect::testing::{every_truncation, number, read};
    use crate::dissect::{Next, Protocol};
    use crate::packet::{Facts, LinkType};

    /// Service tag 100 with priority 5, then customer tag 7 with drop-eligible, then ARP.
    const DOUBLE: &[u8] = &[
        0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0x88, 0xa8, 0xa0, 0x64, 0x81, 0x00, 0x10, 0x07, 0x08,
        0x06,
    ];

    #[test]
    fn tags_nest_and_the_outermost_names_the_vlan() {
        assert_eq!(
            Walked::new(LinkType::ETHERNET, DOUBLE).path(),
            "ethernet.8021ad.8021q"
        );
        assert_eq!(Walked::new(LinkType::ETHERNET, DOUBLE).facts.vlan, 100);
        assert_eq!(
            Walked::new(LinkType::ETHERNET, &DOUBLE[..14]).facts.vlan,
            Facts::NO_VLAN
        );
        let frame = Walked::new(LinkType::ETHERNET, DOUBLE);
        let value = |name| frame.number(name);
        assert_eq!(value("8021ad.tpid"), Some(0x88a8));
        assert_eq!(value("8021ad.pcp"), Some(5));
        assert_eq!(value("8021ad.dei"), Some(0));
        assert_eq!(value("8021ad.vid"), Some(100));
        assert_eq!(value("8021q.tpid"), Some(0x8100));
        assert_eq!(value("8021q.pcp"), Some(0));
        assert_eq!(value("8021q.dei"), Some(1));
        assert_eq!(value("8021q.vid"), Some(7));
    }

    #[test]
    fn a_tag_can_carry_a_length() {
        let tag = [0, 1, 0, 3, 0xfe, 0xfe, 3];
        assert_eq!(
            read(Protocol::Vlan, &tag),
            (Ok(Next::Protocol(Protocol::Llc)), 4)
        );
        assert_eq!(number("8021q.tpid", &tag), None);
        every_truncation(Protocol::Vlan, &tag, 4);
        every_truncation(Protocol::ServiceVlan, &tag, 4);
    }
}
