//! Stream Control Transmission Protocol (RFC 9260): common header and first chunk.
//!
//! ```text
//! | source port (2) | destination port (2) | verification tag (4) | checksum (4) |
//! | chunk type (1)  | chunk flags (1)      | chunk length (2)     | ...          |
//! ```

use crate::dissect::attribute::{Attribute, Type, Value, View, u8_at, u16_at, u32_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `sctp` (id 304).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 304,
    name: "sctp",
    title: "Stream Control Transmission Protocol (RFC 9260)",
    dissect: Some(dissect),
    bindings: &[Binding::IpProtocol(132)],
    attributes: &[
        Attribute::field(1, "src_port", Type::U16, u16_at(0)),
        Attribute::field(2, "dest_port", Type::U16, u16_at(2)),
        Attribute::field(3, "verif_tag", Type::U32, u32_at(4)),
        Attribute::field(4, "checksum", Type::U32, u32_at(8)),
        Attribute::packet(5, "ch_type", Type::U8, ch_type),
        Attribute::packet(6, "ch_flags", Type::U8, ch_flags),
        Attribute::packet(7, "ch_length", Type::U16, ch_length),
    ],
};

const COMMON_LENGTH: usize = 12;
const CHUNK_HEADER_LENGTH: usize = 4;

/// The payload starts with the first chunk.
fn dissect(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Result<Next, Stop> {
    let [s0, s1, d0, d1, ..] = *cursor.take::<COMMON_LENGTH>()?;
    facts.source_port = u16::from_be_bytes([s0, s1]);
    facts.destination_port = u16::from_be_bytes([d0, d1]);
    Ok(Next::Payload)
}

/// Is there a chunk? Without this, the padding of a frame would read as a DATA chunk.
fn has_chunk(view: &View<'_>, header: usize) -> bool {
    let end = header.saturating_add(COMMON_LENGTH + CHUNK_HEADER_LENGTH);
    usize::try_from(view.facts.end).is_ok_and(|frame_end| end <= frame_end)
}

fn ch_type<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    has_chunk(view, header).then(|| u8_at(12).read(view, header))?
}

fn ch_flags<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    has_chunk(view, header).then(|| u8_at(13).read(view, header))?
}

fn ch_length<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    has_chunk(view, header).then(|| u16_at(14).read(view, header))?
}

#[cfg(test)]
mod tests {
    use crate::dissect::test_walk::{Walked, survives_truncation};
    use crate::packet::{LinkType, Stop};

    fn packet(segment: &[u8]) -> Vec<u8> {
        let length = u8::try_from(20 + segment.len()).unwrap();
        let mut data = vec![0x45, 0, 0, length, 0, 1, 0x40, 0, 64, 132, 0, 0];
        data.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        data.extend(segment);
        data
    }

    const COMMON: [u8; 12] = [0x96, 0x0c, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn common_header_and_first_chunk() {
        let bytes = packet(&[&COMMON[..], &[10, 0, 0, 8, 0xaa, 0xbb, 0xcc, 0xdd]].concat());
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(
            (walked.path(), walked.facts.stop),
            ("ip.sctp".into(), Stop::None)
        );
        assert_eq!(
            (walked.facts.source_port, walked.facts.destination_port),
            (38412, 80)
        );
        assert_eq!(
            (walked.facts.payload_offset, walked.facts.payload_announced),
            (32, 8)
        );
        for (name, expected) in [
            ("src_port", 38412),
            ("dest_port", 80),
            ("verif_tag", 0x0102_0304),
            ("checksum", 0x0506_0708),
            ("ch_type", 10),
            ("ch_flags", 0),
            ("ch_length", 8),
        ] {
            assert_eq!(
                walked.number(&format!("sctp.{name}")),
                Some(expected),
                "{name}"
            );
        }
        survives_truncation(LinkType::IPV4, &bytes);
    }

    #[test]
    fn padding_is_not_a_chunk() {
        let mut bytes = packet(&COMMON);
        bytes.extend([0; 14]);
        let walked = Walked::new(LinkType::IPV4, &bytes);
        assert_eq!(walked.path(), "ip.sctp");
        assert_eq!(walked.value("sctp.ch_type"), None);
        assert_eq!(walked.value("sctp.ch_length"), None);
    }
}
