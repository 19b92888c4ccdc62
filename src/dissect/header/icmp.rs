//! Internet Control Message Protocol (RFC 792).
//!
//! ```text
//! | type (1) | code (1) | checksum (2) | rest of the header, by type (4) | data |
//! ```
//!
//! The IP header that an error message quotes is data, not a layer: it is not a packet on this
//! link.

use crate::dissect::attribute::{Attribute, Type, Value, View, u8_at, u16_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `icmp` (id 163).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 163,
    name: "icmp",
    title: "Internet Control Message Protocol (RFC 792)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(1)],
    attributes: &[
        Attribute::field(1, "type", Type::U8, u8_at(0)),
        Attribute::field(2, "code", Type::U8, u8_at(1)),
        Attribute::field(3, "checksum", Type::U16, u16_at(2)),
        Attribute::packet(4, "identifier", Type::U16, identifier),
        Attribute::packet(5, "seq_nb", Type::U16, seq_nb),
        Attribute::packet(6, "gateway", Type::U32, gateway),
        Attribute::packet(7, "data", Type::BinaryVar, data),
    ],
};

const ECHO_REPLY: u8 = 0;
const REDIRECT: u8 = 5;
const ECHO: u8 = 8;
const TIMESTAMP: u8 = 13;
const TIMESTAMP_REPLY: u8 = 14;
const INFORMATION: u8 = 15;
const INFORMATION_REPLY: u8 = 16;

/// Length of the header with the part that depends on the type.
const HEADER_LENGTH: usize = 8;

/// MMT's type BINARY_VAR holds this many bytes.
const DATA_LENGTH_MAX: usize = 1024;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    // Type, code and checksum make a message; senders of odd ones stop there.
    cursor.take::<4>()?;
    cursor.skip(cursor.remaining().min(HEADER_LENGTH.saturating_sub(4)))?;
    Ok(Next::Payload)
}

fn type_of(view: &View<'_>, header: usize) -> Option<u8> {
    view.frame.data.get(header).copied()
}

fn has_identifier(kind: u8) -> bool {
    matches!(
        kind,
        ECHO_REPLY | ECHO | TIMESTAMP | TIMESTAMP_REPLY | INFORMATION | INFORMATION_REPLY
    )
}

fn identifier<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    type_of(view, header).filter(|kind| has_identifier(*kind))?;
    u16_at(4).read(view, header)
}

fn seq_nb<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    type_of(view, header).filter(|kind| has_identifier(*kind))?;
    u16_at(6).read(view, header)
}

/// MMT reads the address as a little-endian number, and rules compare with what it gives.
fn gateway<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    type_of(view, header).filter(|kind| *kind == REDIRECT)?;
    let mut cursor = view.cursor(header.checked_add(4)?);
    let word = u32::from_le_bytes(*cursor.take().ok()?);
    Some(Value::Number(u64::from(word)))
}

/// Data of an echo, without the padding of its frame; absent when it carries none.
fn data<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    type_of(view, header).filter(|kind| matches!(*kind, ECHO | ECHO_REPLY))?;
    let start = header.checked_add(HEADER_LENGTH)?;
    let end = usize::try_from(view.facts.end).ok()?;
    let end = end.min(start.saturating_add(DATA_LENGTH_MAX));
    let bytes = view.frame.data.get(start..end)?;
    (!bytes.is_empty()).then_some(Value::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use crate::dissect::test_walk::{Walked, survives_truncation};
    use crate::packet::{LinkType, Stop};

    fn packet(message: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + message.len()).unwrap().to_be_bytes();
        let mut data = vec![0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, 1, 0, 0];
        data.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        data.extend(message);
        data
    }

    #[test]
    fn an_echo_has_identifier_sequence_and_data() {
        let mut bytes = packet(&[8, 0, 0x12, 0x34, 0, 7, 0, 9, b'p', b'i', b'n', b'g']);
        bytes.extend([0; 14]);
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(
            (walked.path(), walked.facts.stop),
            ("ip.icmp".into(), Stop::None)
        );
        assert_eq!(
            (walked.facts.payload_offset, walked.facts.payload_announced),
            (28, 4)
        );
        assert_eq!(walked.number("icmp.type"), Some(8));
        assert_eq!(walked.number("icmp.code"), Some(0));
        assert_eq!(walked.number("icmp.checksum"), Some(0x1234));
        assert_eq!(walked.number("icmp.identifier"), Some(7));
        assert_eq!(walked.number("icmp.seq_nb"), Some(9));
        assert_eq!(walked.bytes("icmp.data"), Some(&b"ping"[..]));
        assert_eq!(walked.number("icmp.gateway"), None);
        survives_truncation(LinkType::IPV4, &bytes);
    }

    #[test]
    fn long_data_is_cut() {
        let mut message = vec![0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([7; 1400]);
        let bytes = packet(&message);
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(walked.bytes("icmp.data").map(<[u8]>::len), Some(1024));
    }

    #[test]
    fn a_redirect_names_a_gateway_and_quotes_no_layer() {
        let quoted = packet(&[8, 0, 0, 0, 0, 1, 0, 1]);
        let message = [&[5, 1, 0, 0, 192, 168, 1, 254][..], &quoted].concat();
        let bytes = packet(&message);
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(walked.path(), "ip.icmp");
        assert_eq!(walked.number("icmp.gateway"), Some(0xfe01_a8c0));
        assert_eq!(walked.number("icmp.identifier"), None);
        assert_eq!(walked.value("icmp.data"), None);
    }

    #[test]
    fn a_message_of_four_bytes_is_one() {
        let bytes = packet(&[8, 0, 1, 2]);
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(
            (walked.path(), walked.facts.stop),
            ("ip.icmp".into(), Stop::None)
        );
        assert_eq!(walked.value("icmp.identifier"), None);
        assert_eq!(walked.value("icmp.data"), None);
        let bytes = packet(&[8, 0, 1]);
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(
            (walked.path(), walked.facts.stop),
            ("ip".into(), Stop::Truncated)
        );
    }
}
