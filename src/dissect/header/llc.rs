//! Logical link control (IEEE 802.2) with the subnetwork access protocol (IEEE 802-2014, 9.2).
//!
//! ```text
//! | DSAP (1) | SSAP (1) | control (1; 2 in numbered frames) | with SNAP: OUI (3) | type (2) |
//! ```

use crate::dissect::attribute::{Attribute, Type, u8_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Definition, Next, Protocol};
use crate::packet::{Facts, Stop};

/// Protocol `llc` (id 641). 802.3 length fields lead to it.
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 641,
    name: "llc",
    title: "Logical link control and SNAP (IEEE 802.2)",
    dissect: Some(dissect),
    bindings: &[],
    attributes: &[
        Attribute::field(1, "dsap", Type::U8, u8_at(0)),
        Attribute::field(2, "ssap", Type::U8, u8_at(1)),
        Attribute::field(3, "control_field", Type::U8, u8_at(2)),
    ],
};

/// Unnumbered information, the only control value that today's protocols use.
const CONTROL_UI: u8 = 0x03;
/// Poll/final bit of an unnumbered frame.
const POLL_FINAL: u8 = 0x10;

const SAP_IP: u8 = 0x06;
const SAP_SPANNING_TREE: u8 = 0x42;
const SAP_SNAP: u8 = 0xaa;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [dsap, ssap, control] = *cursor.take::<3>()?;
    match control & 0x03 {
        // Unnumbered: only UI carries data of a layer above; XID and TEST are LLC's own.
        0x03 if control & !POLL_FINAL == CONTROL_UI => {}
        // Supervisory: acknowledgements only.
        0x03 | 0x01 => return Ok(Next::Payload),
        // Information: the control field has a second byte.
        _ => cursor.skip(1)?,
    }
    match (dsap, ssap) {
        (SAP_SNAP, SAP_SNAP) => snap(cursor),
        (SAP_IP, _) => Ok(Next::EtherType(0x0800)),
        (SAP_SPANNING_TREE, _) => Ok(Next::Protocol(Protocol::Stp)),
        _ => Err(Stop::UnknownNext),
    }
}

/// OUI 0 means an EtherType (RFC 1042), and so does 00-00-f8 (IEEE 802.1H, for bridges). Of the
/// types of vendors, only Cisco's spanning tree per VLAN is known, which is common and the same
/// inside.
fn snap(cursor: &mut Cursor<'_>) -> Result<Next, Stop> {
    match *cursor.take::<5>()? {
        [0, 0, 0 | 0xf8, high, low] => Ok(Next::EtherType(u16::from_be_bytes([high, low]))),
        [0, 0, 0x0c, 0x01, 0x0b] => Ok(Next::Protocol(Protocol::Stp)),
        _ => Err(Stop::UnknownNext),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::testing::{every_truncation, number, read};

    const SNAP_ARP: &[u8] = &[0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x06];

    #[test]
    fn snap_with_oui_0_names_an_ether_type() {
        assert_eq!(
            read(Protocol::Llc, SNAP_ARP),
            (Ok(Next::EtherType(0x0806)), 8)
        );
        assert_eq!(number("llc.dsap", SNAP_ARP), Some(0xaa));
        assert_eq!(number("llc.ssap", SNAP_ARP), Some(0xaa));
        assert_eq!(number("llc.control_field", SNAP_ARP), Some(3));
        every_truncation(Protocol::Llc, SNAP_ARP, 3);
    }

    #[test]
    fn snap_of_a_vendor_is_unknown_but_for_spanning_tree() {
        let bytes = [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x01, 0x0b];
        assert_eq!(
            read(Protocol::Llc, &bytes),
            (Ok(Next::Protocol(Protocol::Stp)), 8)
        );
        let bytes = [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0x00];
        assert_eq!(read(Protocol::Llc, &bytes), (Err(Stop::UnknownNext), 8));
        assert_eq!(
            read(Protocol::Llc, &SNAP_ARP[..7]),
            (Err(Stop::Truncated), 3)
        );
    }

    #[test]
    fn service_access_points_lead_on() {
        let next = |bytes: &[u8]| read(Protocol::Llc, bytes).0;
        assert_eq!(next(&[6, 6, 3]), Ok(Next::EtherType(0x0800)));
        assert_eq!(next(&[0x42, 0x42, 3]), Ok(Next::Protocol(Protocol::Stp)));
        assert_eq!(next(&[0xfe, 0xfe, 3]), Err(Stop::UnknownNext));
    }

    #[test]
    fn the_control_field_decides_its_length_and_whether_data_follows() {
        assert_eq!(
            read(Protocol::Llc, &[6, 6, 0x00, 0x00]),
            (Ok(Next::EtherType(0x0800)), 4)
        );
        assert_eq!(
            read(Protocol::Llc, &[6, 6, 0x00]),
            (Err(Stop::Truncated), 3)
        );
        assert_eq!(read(Protocol::Llc, &[0, 1, 0xaf]), (Ok(Next::Payload), 3));
        assert_eq!(
            read(Protocol::Llc, &[6, 6, 0x01, 0]),
            (Ok(Next::Payload), 3)
        );
    }
}
