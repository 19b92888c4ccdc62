//! Signatures of protocols made of fixed fields.

use super::{Fit, Sample, contains};
use memchr::memmem::find;

fn u16_at(payload: &[u8], at: usize) -> Option<usize> {
    let bytes = payload.get(at..)?.first_chunk::<2>()?;
    Some(usize::from(u16::from_be_bytes(*bytes)))
}

fn u32_at(payload: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*payload.get(at..)?.first_chunk::<4>()?))
}

/// TLS record with a hello or an alert (RFC 8446, 5.1), or the client hello of SSL 2.
pub(super) fn ssl(sample: &Sample<'_>) -> Fit {
    match sample.payload {
        [0x16, 3, 0..=4, _, _, 1 | 2, ..] => Fit::Yes,
        [0x15, 3, 0..=4, 0, 2, 1 | 2, ..] => Fit::Yes,
        [high, _, 1, 0 | 3, 0..=3, 0, _, 0, 0 | 16, 0, ..] if high & 0x80 != 0 => Fit::Yes,
        [0x16] | [0x16, 3] | [0x16, 3, 0..=4] | [0x16, 3, 0..=4, _] | [0x16, 3, 0..=4, _, _] => {
            Fit::More
        }
        _ => Fit::No,
    }
}

/// RFC 9147: a handshake record.
pub(super) fn dtls(sample: &Sample<'_>) -> Fit {
    matches!(
        sample.payload,
        [
            0x16,
            0xfe,
            0xff | 0xfd,
            0,
            0,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            1..=3,
            ..
        ]
    )
    .into()
}

/// Long header with a known version (RFC 9000, 17.2) and connection ids of at most 20 bytes.
pub(super) fn quic(sample: &Sample<'_>) -> Fit {
    let [first, version @ .., length] = sample.payload.first_chunk::<6>().unwrap_or(&[0; 6]);
    let version = u32::from_be_bytes(*version);
    let draft = version >> 8 == 0xff_0000 || version >> 16 == 0xface || version == 0x6b33_43cf;
    let google = version >> 24 == u32::from(b'Q') && version >> 16 & 0xff == u32::from(b'0');
    let known = version == 1 || draft || google;
    // An initial packet of a client fills its datagram (14.1); others may be short.
    (first & 0xc0 == 0xc0 && known && *length <= 20 && sample.payload.len() > 20).into()
}

/// RFC 5905, figure 8: 48 bytes, a version, a mode of clients, servers or peers.
pub(super) fn ntp(sample: &Sample<'_>) -> Fit {
    let first = sample.payload.first().copied().unwrap_or(0);
    let (version, mode) = (first >> 3 & 7, first & 7);
    let plain = sample.payload.len() >= 48 && matches!(mode, 1..=5);
    // Control and private mode are shorter.
    let control = sample.payload.len() >= 8 && matches!(mode, 6 | 7);
    (sample.has_port(123) && matches!(version, 1..=4) && (plain || control)).into()
}

/// RFC 2131: the magic cookie behind the BOOTP header.
pub(super) fn dhcp(sample: &Sample<'_>) -> Fit {
    let cookie = u32_at(sample.payload, 236) == Some(0x6382_5363);
    (matches!(sample.payload.first(), Some(1 | 2)) && cookie).into()
}

/// RFC 8489, 5: the magic cookie.
pub(super) fn stun(sample: &Sample<'_>) -> Fit {
    let type_bits = sample
        .payload
        .first()
        .is_some_and(|first| first & 0xc0 == 0);
    let cookie = u32_at(sample.payload, 4) == Some(0x2112_a442);
    let length = u16_at(sample.payload, 2).and_then(|length| length.checked_add(20));
    (type_bits && cookie && length == Some(sample.payload.len())).into()
}

/// BER sequence that fills what follows it: its content.
fn ber_sequence(payload: &[u8]) -> Option<&[u8]> {
    let (content, length) = match payload {
        [0x30, 0x81, length, rest @ ..] => (rest, usize::from(*length)),
        [0x30, 0x82, high, low, rest @ ..] => {
            (rest, usize::from(u16::from_be_bytes([*high, *low])))
        }
        [0x30, 0x84, 0, 0, high, low, rest @ ..] => {
            (rest, usize::from(u16::from_be_bytes([*high, *low])))
        }
        [0x30, length @ 0..=0x7f, rest @ ..] => (rest, usize::from(*length)),
        _ => return None,
    };
    Some(content).filter(|content| length > 4 && content.len().min(length) > 4)
}

/// RFC 3416: version, then a community, or the header of version 3.
pub(super) fn snmp(sample: &Sample<'_>) -> Fit {
    let content = ber_sequence(sample.payload).unwrap_or(&[]);
    let version = matches!(content, [2, 1, 0 | 1, 4, ..] | [2, 1, 3, 0x30, ..]);
    version.into()
}

/// RFC 4511, 4.1.1: a message number, then an operation.
pub(super) fn ldap(sample: &Sample<'_>) -> Fit {
    let content = ber_sequence(sample.payload).unwrap_or(&[]);
    let operation = match content {
        [2, 1, _, operation, ..] | [2, 2, _, _, operation, ..] => *operation,
        [2, 3, _, _, _, operation, ..] | [2, 4, _, _, _, _, operation, ..] => *operation,
        _ => 0,
    };
    matches!(operation, 0x42 | 0x60..=0x61 | 0x63..=0x6f | 0x73 | 0x77 | 0x78).into()
}

/// RFC 4120, 7.2.1: an application tag of a request, reply or error.
pub(super) fn kerberos(sample: &Sample<'_>) -> Fit {
    let tag = matches!(
        sample.payload,
        [0x6a..=0x6f | 0x7e, 0x30..=0x7f | 0x81 | 0x82, ..]
    );
    (tag && (sample.has_port(88) || sample.has_port(464))).into()
}

/// The same with its length in front.
pub(super) fn kerberos_tcp(sample: &Sample<'_>) -> Fit {
    let rest = sample.payload.get(4..).unwrap_or(&[]);
    let length = u32_at(sample.payload, 0).is_some_and(|length| length < 1 << 20);
    let inner = Sample {
        payload: rest,
        ..*sample
    };
    if length { kerberos(&inner) } else { Fit::No }
}

/// RFC 2865, 3: the length field is that of the datagram.
pub(super) fn radius(sample: &Sample<'_>) -> Fit {
    let port = [1645, 1646, 1812, 1813, 3799];
    let known = port.iter().any(|port| sample.has_port(*port));
    let length = u16_at(sample.payload, 2)
        .is_some_and(|length| length >= 20 && length <= sample.payload.len());
    (known && length && matches!(sample.payload.first(), Some(1..=5 | 11..=13 | 40..=45))).into()
}

/// RFC 1350, 5: a request names a file and a mode.
pub(super) fn tftp(sample: &Sample<'_>) -> Fit {
    let request = matches!(sample.payload, [0, 1 | 2, b' '..=b'~', ..]);
    let mode = contains(sample.payload, b"octet\0") || contains(sample.payload, b"netascii\0");
    (request && mode).into()
}

/// User plane (3GPP TS 29.281, 5.1) or control plane of version 1.
pub(super) fn gtp(sample: &Sample<'_>) -> Fit {
    let port = sample.has_port(2152) || sample.has_port(2123);
    let version = matches!(sample.payload.first(), Some(0x30..=0x37));
    (port && version && sample.payload.len() >= 8).into()
}

/// Handshake initiation and response have fixed lengths.
pub(super) fn wireguard(sample: &Sample<'_>) -> Fit {
    let kind = u32_at(sample.payload, 0);
    let initiation = kind == Some(0x0100_0000) && sample.payload.len() == 148;
    (initiation || kind == Some(0x0200_0000) && sample.payload.len() == 92).into()
}

/// CONNECT of versions 3.1 to 5.
pub(super) fn mqtt(sample: &Sample<'_>) -> Fit {
    let start = sample
        .payload
        .get(..16.min(sample.payload.len()))
        .unwrap_or(&[]);
    let name = find(start, b"\0\x04MQTT").is_some() || find(start, b"\0\x06MQIsdp").is_some();
    (start.first() == Some(&0x10) && name).into()
}

/// NetBIOS session message with a header of SMB 1 or 2 (MS-SMB2, 2.1).
pub(super) fn smb(sample: &Sample<'_>) -> Fit {
    let magic = sample.payload.get(4..8);
    let known = magic == Some(b"\xffSMB") || magic == Some(b"\xfeSMB");
    (sample.payload.first() == Some(&0) && known).into()
}

/// RFC 1002, 4.3.2: a session request; SMB follows it.
pub(super) fn netbios_session(sample: &Sample<'_>) -> Fit {
    let request = matches!(sample.payload, [0x81, 0, 0, 68, ..]);
    (request && sample.has_port(139)).into()
}

/// TPKT with an X.224 connection request or confirm (MS-RDPBCGR, 2.2.1.1).
pub(super) fn rdp(sample: &Sample<'_>) -> Fit {
    let connect = matches!(sample.payload, [3, 0, 0, _, _, 0xe0 | 0xd0, ..]);
    let cookie = find(sample.payload, b"Cookie: mstshash=").is_some();
    (connect && (cookie || sample.has_port(3389))).into()
}

/// Greeting of version 10: packet number 0, then a version in digits.
pub(super) fn mysql(sample: &Sample<'_>) -> Fit {
    let greeting = matches!(sample.payload, [_, _, 0, 0, 10, b'1'..=b'9', ..]);
    let end = sample.payload.iter().skip(5).position(|byte| *byte == 0);
    // An error in place of the greeting (too many connections).
    let error = matches!(sample.payload, [_, 0, 0, 0, 0xff, _, 4, ..]) && sample.has_port(3306);
    (error || greeting && end.is_some_and(|end| end < 64)).into()
}

/// Startup message of version 3, or the request for TLS or cancellation.
pub(super) fn postgresql(sample: &Sample<'_>) -> Fit {
    let length = u32_at(sample.payload, 0);
    let captured = u32::try_from(sample.payload.len()).ok();
    let code = u32_at(sample.payload, 4);
    let startup = matches!(code, Some(0x0003_0000..=0x0003_0002)) && length == captured;
    let request = matches!(code, Some(80_877_102..=80_877_104)) && length <= Some(16);
    (startup || request).into()
}

/// Connection-oriented DCE/RPC: version 5, a bind or its answer, little-endian data.
pub(super) fn dce_rpc(sample: &Sample<'_>) -> Fit {
    matches!(
        sample.payload,
        [5, 0, 0 | 2 | 11..=16, _, 0x10, 0, 0, 0, _, _, ..]
    )
    .into()
}

/// Modbus/TCP: protocol number 0 and a length that fits.
pub(super) fn modbus(sample: &Sample<'_>) -> Fit {
    let protocol = u16_at(sample.payload, 2) == Some(0);
    let length = u16_at(sample.payload, 4).is_some_and(|length| (2..=254).contains(&length));
    (sample.has_port(502) && protocol && length).into()
}

/// IEEE 1815: start bytes and a length.
pub(super) fn dnp3(sample: &Sample<'_>) -> Fit {
    match sample.payload {
        [5, 0x64, length, ..] => (*length >= 5).into(),
        _ => Fit::No,
    }
}

/// RFC 1928, 3, and version 4 with its CONNECT.
pub(super) fn socks(sample: &Sample<'_>) -> Fit {
    let five = match sample.payload {
        [5, count @ 1..=8, methods @ ..] => methods.len() == usize::from(*count),
        _ => false,
    };
    let four =
        matches!(sample.payload, [4, 1, _, _, _, _, _, _, ..]) && sample.payload.ends_with(&[0]);
    ((five || four) && (sample.has_port(1080) || sample.has_port(9050))).into()
}

/// RFC 854: negotiation of options.
pub(super) fn telnet(sample: &Sample<'_>) -> Fit {
    matches!(sample.payload, [0xff, 0xfb..=0xfe, 0..=49 | 255, ..]).into()
}

/// A DNS message behind its length.
pub(super) fn dns_tcp(sample: &Sample<'_>) -> Fit {
    let Some(length) = u16_at(sample.payload, 0) else {
        return if sample.has_port(53) {
            Fit::More
        } else {
            Fit::No
        };
    };
    let message = sample.payload.get(2..).unwrap_or(&[]);
    if length < 12 {
        return Fit::No;
    }
    if message.is_empty() && sample.has_port(53) {
        return Fit::More;
    }
    (is_dns(message) && (message.len() <= length || sample.has_port(53))).into()
}

/// DNS over UDP, also multicast DNS, LLMNR and NetBIOS names, which share the format.
pub(super) fn dns(sample: &Sample<'_>) -> Fit {
    let known = [53, 5353, 5355, 137]
        .iter()
        .any(|port| sample.has_port(*port));
    let questions = u16_at(sample.payload, 4);
    (is_dns(sample.payload) && (known || questions == Some(1))).into()
}

/// RFC 1035, 4.1: plausible flags and counts, and a first question with a well-formed name.
fn is_dns(message: &[u8]) -> bool {
    let counts = (4..12).step_by(2).map(|at| u16_at(message, at));
    let plausible = counts
        .clone()
        .all(|count| count.is_some_and(|count| count <= 512));
    let sections = counts.flatten().any(|count| count > 0);
    let flags = u16_at(message, 2).unwrap_or(usize::MAX);
    let opcode = flags >> 11 & 15;
    // The reserved bit is zero (RFC 2535, 6.1); NetBIOS uses the operation codes up to 8.
    if !plausible || !sections || opcode > 8 || flags & 0x40 != 0 {
        return false;
    }
    let mut at = 12_usize;
    for _ in 0..128 {
        match message.get(at) {
            Some(0) => return type_and_class(message, at.saturating_add(1)),
            Some(length @ 1..=63) => at = at.saturating_add(usize::from(*length)).saturating_add(1),
            Some(0xc0..) => return type_and_class(message, at.saturating_add(2)),
            _ => return false,
        }
    }
    false
}

fn type_and_class(message: &[u8], at: usize) -> bool {
    let class = u16_at(message, at.saturating_add(2));
    u16_at(message, at).is_some_and(|kind| kind > 0)
        && class.is_some_and(|class| matches!(class & 0x7fff, 1..=4 | 254 | 255))
}
