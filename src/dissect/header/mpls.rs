//! Multiprotocol label switching: a stack of labels (RFC 3032, 2.1).
//!
//! ```text
//! | label (20 bits) | traffic class (3) | bottom of stack (1) | time to live (8) |  ... to the bottom
//! ```
//!
//! The whole stack is one layer; its attributes are those of the first label.

use super::ethernet::is_plausible;
use crate::dissect::attribute::{Attribute, Type, bits_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next, Protocol};
use crate::limits::LAYERS_MAX;
use crate::packet::{Facts, Stop};

/// Protocol `mpls` (id 1001).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1001,
    name: "mpls",
    title: "Multiprotocol label switching (RFC 3032)",
    dissect: Some(dissect),
    bindings: &[
        Binding::EtherType(0x8847),
        Binding::EtherType(0x8848),
        Binding::PppProtocol(0x0281),
        Binding::PppProtocol(0x0283),
        // RFC 4023 and RFC 7510.
        Binding::IpProtocol(137),
        Binding::UdpPort(6635),
    ],
    attributes: &[
        Attribute::field(1, "label", Type::U32, bits_at(0, 12, 20)),
        Attribute::field(2, "exp", Type::U8, bits_at(0, 9, 3)),
        Attribute::field(3, "bottom", Type::U8, bits_at(0, 8, 1)),
        Attribute::field(4, "ttl", Type::U8, bits_at(0, 0, 8)),
    ],
};

/// Bottom-of-stack bit, in the third byte of an entry.
const BOTTOM: u8 = 0x01;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    // Each label is a header of its own to whoever pops it, so the same bound serves.
    for _ in 0..LAYERS_MAX {
        let [_, _, low, _] = *cursor.take::<4>()?;
        if low & BOTTOM != 0 {
            return Ok(below(cursor));
        }
    }
    Err(Stop::TooManyLayers)
}

/// What the stack carries. No field says so: only the ends of the path know what a label stands
/// for.
///
/// The first nibble decides, as it does in routers that balance load (RFC 4928): 4 and 6 are IP, 1
/// is an associated channel (RFC 4385, 5). Else it may be an Ethernet pseudowire, with a control
/// word (RFC 4448, 4.6: nibble and reserved bits 0) or without one; each is tried in this order and
/// taken when the bytes there make a plausible frame. A pseudowire without control word whose
/// destination address starts with the digit 4 or 6 is thus taken for IP.
fn below(cursor: &mut Cursor<'_>) -> Next {
    if let Some(ip) = Next::of_ip_version(cursor) {
        return ip;
    }
    if let Ok([0, 0, _, _]) = cursor.peek::<4>() {
        let mut behind = *cursor;
        if behind.skip(4).is_ok() && is_plausible(&behind) {
            *cursor = behind;
            return Next::Protocol(Protocol::Ethernet);
        }
    }
    if is_plausible(cursor) {
        return Next::Protocol(Protocol::Ethernet);
    }
    Next::Payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::testing::{every_truncation, number, read};

    /// Label 16, class 2, not the bottom, ttl 63; then label 17 at the bottom; then `rest`.
    fn stack(rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x00, 0x01, 0x04, 0x3f, 0x00, 0x01, 0x11, 0x40];
        bytes.extend(rest);
        bytes
    }

    const ARP: &[u8] = &[0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x06, 0, 1];

    #[test]
    fn the_first_nibble_tells_ip() {
        let bytes = stack(&[0x45]);
        assert_eq!(
            read(Protocol::Mpls, &bytes),
            (Ok(Next::EtherType(0x0800)), 8)
        );
        assert_eq!(number("mpls.label", &bytes), Some(16));
        assert_eq!(number("mpls.exp", &bytes), Some(2));
        assert_eq!(number("mpls.bottom", &bytes), Some(0));
        assert_eq!(number("mpls.ttl", &bytes), Some(63));
        every_truncation(Protocol::Mpls, &bytes, 4);
        let next = read(Protocol::Mpls, &stack(&[0x60])).0;
        assert_eq!(next, Ok(Next::EtherType(0x86dd)));
    }

    #[test]
    fn pseudowires_are_recognized_with_and_without_control_word() {
        let ethernet = Ok(Next::Protocol(Protocol::Ethernet));
        let mut word = stack(&[0, 0, 0, 9]);
        word.extend(ARP);
        assert_eq!(read(Protocol::Mpls, &word), (ethernet, 12));
        every_truncation(Protocol::Mpls, &word, 4);
        assert_eq!(read(Protocol::Mpls, &stack(ARP)), (ethernet, 8));
    }

    #[test]
    fn anything_else_is_payload() {
        for rest in [&[][..], &[0x10, 0, 0, 7], &[0; 3], &[0xff; 20]] {
            assert_eq!(read(Protocol::Mpls, &stack(rest)), (Ok(Next::Payload), 8));
        }
    }

    #[test]
    fn the_stack_is_bounded() {
        assert_eq!(read(Protocol::Mpls, &[0; 1000]).0, Err(Stop::TooManyLayers));
        assert_eq!(read(Protocol::Mpls, &[0; 6]), (Err(Stop::Truncated), 4));
    }
}
