//! GPRS tunnelling protocol, versions 0 and 1, and its charging variant GTP' (3GPP TS 29.060, 6;
//! TS 29.281, 5; TS 32.295, 6). Version 2 has another layout and is not this protocol.
//!
//! ```text
//! | version (3 bits) | T: GTP, not GTP' (1) | spare (1) | E S N | message type (1) | length (2) |
//! 1: | tunnel endpoint (4) |
//!    | sequence number (2) | N-PDU number (1) | next extension (1) |   with any of E, S, N
//!    | length in 4 bytes (1) | content | next extension (1) |  ...    with E
//! 0: | sequence number (2) | flow label (2) | N-PDU number (1) | spare (3) | tunnel id (8) |
//! GTP': | sequence number (2) |
//! ```

use crate::dissect::attribute::{Attribute, Type, Value, View, bits_at, u8_at, u16_at, u32_at};
use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::limits::LAYERS_MAX;
use crate::packet::{Facts, Stop};

/// Protocol `gtp` (id 141).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 141,
    name: "gtp",
    title: "GPRS tunnelling protocol, versions 0 and 1 (3GPP TS 29.060, 29.281)",
    dissect: Some(dissect),
    // User plane, control plane, and version 0 with charging.
    bindings: &[
        Binding::UdpPort(2152),
        Binding::UdpPort(2123),
        Binding::UdpPort(3386),
    ],
    attributes: &[
        Attribute::field(1, "version", Type::U8, bits_at(0, 29, 3)),
        Attribute::field(2, "proto_type", Type::U8, bits_at(0, 28, 1)),
        Attribute::field(3, "reserved", Type::U8, bits_at(0, 27, 1)),
        Attribute::field(4, "flag_ext_hdr", Type::U8, bits_at(0, 26, 1)),
        Attribute::field(5, "flag_seq_num", Type::U8, bits_at(0, 25, 1)),
        Attribute::field(6, "flag_ndpu_num", Type::U8, bits_at(0, 24, 1)),
        Attribute::field(7, "flags", Type::U8, u8_at(0)),
        Attribute::field(8, "msg_type", Type::U8, u8_at(1)),
        Attribute::field(9, "length", Type::U16, u16_at(2)),
        Attribute::packet(10, "teid", Type::U32, teid),
        Attribute::packet(11, "seq_num", Type::U16, seq_num),
        Attribute::packet(12, "imsi_mmc", Type::U16, imsi_mcc),
        Attribute::packet(13, "imsi_mnc", Type::U16, imsi_mnc),
        Attribute::packet(14, "next_hdr_type", Type::U8, next_hdr_type),
        Attribute::packet(15, "ext_pdu_length", Type::U16, ext_pdu_length),
        Attribute::packet(16, "ext_pdu_type", Type::U8, ext_pdu_type),
        Attribute::packet(17, "ext_pdu_qfi", Type::U8, ext_pdu_qfi),
        Attribute::packet(18, "ext_pdu_next_hdr_type", Type::U8, ext_pdu_next),
    ],
};

/// Version 1 and protocol type GTP, under the mask [`VARIANT`]: the only variant with a tunnel
/// endpoint.
const GTP_1: u8 = 0x30;
const VARIANT: u8 = 0xf0;

const EXTENSION: u8 = 0x04;
const SEQUENCE: u8 = 0x02;
const N_PDU: u8 = 0x01;

/// Message type of user data.
const G_PDU: u8 = 0xff;
/// Message types with attributes of their own: Create PDP Context Request, Update PDP Context
/// Request.
const CREATE_REQUEST: u8 = 0x10;
const UPDATE_REQUEST: u8 = 0x12;

/// Extension header with the type and the QoS flow of a 5G PDU session (TS 38.415, 5.5.2).
const PDU_SESSION_CONTAINER: u8 = 0x85;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    let [flags, kind, l0, l1] = *cursor.peek()?;
    // Version 0 and GTP' set all spare bits, which also tells GTP' from version 2 of GTP.
    let header = match flags {
        0x30..=0x3f => 8,
        0x1e | 0x1f => 20,
        0x0e | 0x0f | 0x2e | 0x2f | 0x4e | 0x4f => 6,
        _ => return Ok(Next::Mismatch),
    };
    // The message fills its datagram. A datagram that is longer than the message says has something
    // else in it, on a port that any client may have by chance. Not so for user data: there are
    // receivers that never look at the length, and a wrong one may not hide a packet from us.
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if kind != G_PDU && cursor.announced() > length.saturating_add(header) {
        return Ok(Next::Mismatch);
    }
    cursor.skip(header)?;
    if flags & VARIANT == GTP_1 {
        skip_options(cursor, flags)?;
    }
    // User data without an IP version is a frame or plain bytes of a PDN that is not IP.
    match kind {
        G_PDU => Ok(Next::of_ip_version(cursor).unwrap_or(Next::Payload)),
        _ => Ok(Next::Payload),
    }
}

fn skip_options(cursor: &mut Cursor<'_>, flags: u8) -> Result<(), Stop> {
    if flags & (EXTENSION | SEQUENCE | N_PDU) == 0 {
        return Ok(());
    }
    let [_, _, _, mut next] = *cursor.take()?;
    if flags & EXTENSION == 0 {
        return Ok(());
    }
    // Standards define a handful of extensions; the bound is that of headers.
    for _ in 0..LAYERS_MAX {
        if next == 0 {
            return Ok(());
        }
        let [units] = *cursor.peek()?;
        let extension = cursor.take_slice(usize::from(units).saturating_mul(4))?;
        next = *extension.last().ok_or(Stop::BadLength)?;
    }
    Err(Stop::TooManyLayers)
}

fn teid<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [flags] = *view.cursor(header).take().ok()?;
    (flags & VARIANT == GTP_1)
        .then(|| u32_at(4).read(view, header))
        .flatten()
}

fn seq_num<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [_, kind] = *view.cursor(header).take().ok()?;
    matches!(kind, CREATE_REQUEST | UPDATE_REQUEST)
        .then(|| u16_at(8).read(view, header))
        .flatten()
}

/// Mobile country code: the first three digits of the subscriber's number.
fn imsi_mcc<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [first, second, _] = imsi(view, header)?;
    digits(&[first & 0x0f, first >> 4, second & 0x0f])
}

/// Mobile network code: the next two digits. Some countries use three, which the number does not
/// say.
fn imsi_mnc<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [_, second, third] = imsi(view, header)?;
    digits(&[second >> 4, third & 0x0f])
}

/// Start of the IMSI of a Create PDP Context Request, where it is the first element (type 2): two
/// decimal digits a byte, the low nibble first.
fn imsi(view: &View<'_>, header: usize) -> Option<[u8; 3]> {
    let [
        _,
        CREATE_REQUEST,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        2,
        imsi @ ..,
    ] = *view.cursor(header).take::<16>().ok()?
    else {
        return None;
    };
    Some(imsi)
}

fn digits<'a>(digits: &[u8]) -> Option<Value<'a>> {
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        (*digit < 10).then(|| number.saturating_mul(10).saturating_add(u64::from(*digit)))
    });
    number.map(Value::Number)
}

fn next_hdr_type<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let [flags] = *view.cursor(header).take().ok()?;
    (flags & VARIANT == GTP_1 && flags & EXTENSION != 0)
        .then(|| u8_at(11).read(view, header))
        .flatten()
}

/// In units of 4 bytes, as on the wire.
fn ext_pdu_length<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    pdu_session_byte(view, header, 0).map(number)
}

fn ext_pdu_type<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    pdu_session_byte(view, header, 1).map(|byte| number(byte >> 4))
}

fn ext_pdu_qfi<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    pdu_session_byte(view, header, 2).map(|byte| number(byte & 0x3f))
}

fn ext_pdu_next<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let units = pdu_session_byte(view, header, 0)?;
    let last = usize::from(units).checked_mul(4)?.checked_sub(1)?;
    pdu_session_byte(view, header, last).map(number)
}

/// A byte of the PDU session container, when that is the first extension header.
fn pdu_session_byte(view: &View<'_>, header: usize, place: usize) -> Option<u8> {
    let mut cursor = view.cursor(header);
    let [flags, .., next] = *cursor.take::<12>().ok()?;
    if flags & VARIANT != GTP_1 || flags & EXTENSION == 0 || next != PDU_SESSION_CONTAINER {
        return None;
    }
    cursor.rest().get(place).copied()
}

fn number<'a>(byte: u8) -> Value<'a> {
    Value::Number(u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, number, read};

    const IP: Result<Next, Stop> = Ok(Next::EtherType(0x0800));

    #[test]
    fn user_data_is_ip() {
        let bytes = [0x30, 0xff, 0, 1, 0, 0, 0, 9, 0x45];
        assert_eq!(read(Protocol::Gtp, &bytes), (IP, 8));
        assert_eq!(number("gtp.version", &bytes), Some(1));
        assert_eq!(number("gtp.proto_type", &bytes), Some(1));
        assert_eq!(number("gtp.reserved", &bytes), Some(0));
        assert_eq!(number("gtp.flags", &bytes), Some(0x30));
        assert_eq!(number("gtp.msg_type", &bytes), Some(0xff));
        assert_eq!(number("gtp.length", &bytes), Some(1));
        assert_eq!(number("gtp.teid", &bytes), Some(9));
        assert_eq!(number("gtp.seq_num", &bytes), None);
        assert_eq!(number("gtp.next_hdr_type", &bytes), None);
        every_truncation(Protocol::Gtp, &bytes, 8);
    }

    #[test]
    fn options_and_extension_headers_are_skipped() {
        let bytes = [
            0x36, 0xff, 0, 9, 0, 0, 0, 9, 0, 1, 0, 0x85, 1, 0x10, 9, 0, 0x60,
        ];
        assert_eq!(
            read(Protocol::Gtp, &bytes),
            (Ok(Next::EtherType(0x86dd)), 16)
        );
        assert_eq!(number("gtp.flag_ext_hdr", &bytes), Some(1));
        assert_eq!(number("gtp.flag_seq_num", &bytes), Some(1));
        assert_eq!(number("gtp.flag_ndpu_num", &bytes), Some(0));
        assert_eq!(number("gtp.next_hdr_type", &bytes), Some(0x85));
        assert_eq!(number("gtp.ext_pdu_length", &bytes), Some(1));
        assert_eq!(number("gtp.ext_pdu_type", &bytes), Some(1));
        assert_eq!(number("gtp.ext_pdu_qfi", &bytes), Some(9));
        assert_eq!(number("gtp.ext_pdu_next_hdr_type", &bytes), Some(0));
        every_truncation(Protocol::Gtp, &bytes, 8);
        let short = [0x32, 0xff, 0, 5, 0, 0, 0, 9, 0, 1, 0, 0x85, 0x45];
        assert_eq!(read(Protocol::Gtp, &short), (IP, 12));
    }

    #[test]
    fn a_bad_chain_of_extension_headers_ends() {
        let mut bytes = vec![0x34, 0xff, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0x40, 0, 0, 0, 0x40];
        assert_eq!(read(Protocol::Gtp, &bytes).0, Err(Stop::BadLength));
        bytes.truncate(12);
        bytes.extend([1, 0, 0, 0x40].repeat(LAYERS_MAX));
        assert_eq!(read(Protocol::Gtp, &bytes).0, Err(Stop::TooManyLayers));
    }

    #[test]
    fn the_subscriber_is_read_from_a_create_request() {
        let mut bytes = vec![0x32, 0x10, 0, 13, 0, 0, 0, 0, 0, 5, 0, 0];
        bytes.extend([2, 0x02, 0x98, 0x03, 0, 0, 0, 0, 0xf0]);
        assert_eq!(read(Protocol::Gtp, &bytes), (Ok(Next::Payload), 12));
        assert_eq!(number("gtp.seq_num", &bytes), Some(5));
        assert_eq!(number("gtp.imsi_mmc", &bytes), Some(208));
        assert_eq!(number("gtp.imsi_mnc", &bytes), Some(93));
        every_truncation(Protocol::Gtp, &bytes, 8);
        bytes[1] = 0xff;
        assert_eq!(number("gtp.imsi_mmc", &bytes), None);
    }

    #[test]
    fn version_0_and_charging_have_other_headers() {
        let mut bytes = [0; 21];
        bytes[..4].copy_from_slice(&[0x1e, 0xff, 0, 1]);
        bytes[20] = 0x45;
        assert_eq!(read(Protocol::Gtp, &bytes), (IP, 20));
        assert_eq!(number("gtp.teid", &bytes), None);
        every_truncation(Protocol::Gtp, &bytes, 20);
        let charging = [0x0e, 1, 0, 0, 0, 1];
        assert_eq!(read(Protocol::Gtp, &charging), (Ok(Next::Payload), 6));
        every_truncation(Protocol::Gtp, &charging, 6);
    }

    #[test]
    fn a_wrong_length_does_not_hide_user_data() {
        let bytes = [0x30, 0xff, 0, 0, 0, 0, 0, 9, 0x45];
        assert_eq!(read(Protocol::Gtp, &bytes), (IP, 8));
    }

    #[test]
    fn what_cannot_be_gtp_is_not() {
        let version_2 = [0x48, 1, 0, 4, 0, 0, 0, 0];
        let longer_than_its_length = [0x30, 0x01, 0, 0, 0, 0, 0, 9, 0x45];
        for bytes in [&[0xff; 12][..], &version_2, &longer_than_its_length] {
            assert_eq!(read(Protocol::Gtp, bytes).0, Ok(Next::Mismatch));
        }
    }
}
