//! What the headers of one fragment say.

use super::BLOCK;
use crate::dissect::cursor::Cursor;
use crate::limits::{FRAGMENT_END_MAX, FRAGMENT_HEADERS_MAX};
use crate::packet::Stop;

/// Which datagram a fragment belongs to: RFC 791's four (buffer identifier), RFC 8200's three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    source: [u8; 16],
    destination: [u8; 16],
    identification: u32,
    /// IPv4 protocol; 0 for IPv6, where only the first fragment's next header counts.
    protocol: u8,
    version: u8,
}

impl Key {
    pub(super) const NONE: Self = Self {
        source: [0; 16],
        destination: [0; 16],
        identification: 0,
        protocol: 0,
        version: 0,
    };
}

/// One fragment, checked: payload captured in full, whole blocks unless it is the last.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub(super) key: Key,
    pub(super) version: u8,
    /// Offset of its payload in the datagram, in bytes.
    pub(super) offset: usize,
    pub(super) more: bool,
    pub(super) payload: &'a [u8],
    /// Offset of the IP header in the frame.
    pub(super) ip_offset: usize,
    /// End of the headers that a reassembled frame keeps: before the IPv6 fragment header.
    pub(super) headers_end: usize,
    /// Bytes of IP header that the length limit of the version does not count (IPv6: the fixed 40).
    pub(super) beyond: usize,
    /// IPv6: what follows the fragment header, and where the headers kept name that header.
    pub(super) next_header: u8,
    pub(super) next_header_field: Option<usize>,
}

/// Why a fragment adds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Lengths or headers contradict each other.
    Malformed,
    /// Captured only in part.
    Truncated,
}

impl From<Stop> for Unusable {
    fn from(_: Stop) -> Self {
        Self::Truncated
    }
}

/// Read the fragment whose IP header is at `ip_offset` of `frame`.
pub(super) fn read(frame: &[u8], ip_offset: usize) -> Result<Fragment<'_>, Unusable> {
    let version = frame.get(ip_offset).map(|first| first >> 4);
    let fragment = match version {
        Some(4) => read_v4(frame, ip_offset)?,
        Some(6) => read_v6(frame, ip_offset)?,
        _ => return Err(Unusable::Malformed),
    };
    let fits = fragment.headers_end <= FRAGMENT_HEADERS_MAX
        && fragment.offset + fragment.payload.len() <= FRAGMENT_END_MAX;
    if fragment.payload.is_empty() || !fits {
        return Err(Unusable::Malformed);
    }
    Ok(fragment)
}

fn read_v4(frame: &[u8], ip_offset: usize) -> Result<Fragment<'_>, Unusable> {
    let mut cursor = Cursor::at(frame, ip_offset);
    let [first, _, length @ ..] = *cursor.take::<4>()?;
    let [i0, i1, f0, f1] = *cursor.take::<4>()?;
    let [_, protocol, _, _] = *cursor.take::<4>()?;
    let source = *cursor.take::<4>()?;
    let destination = *cursor.take::<4>()?;
    let header_length = usize::from(first & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes(length));
    let payload_length = total
        .checked_sub(header_length)
        .filter(|_| header_length >= 20)
        .ok_or(Unusable::Malformed)?;
    let mut cursor = Cursor::at(frame, ip_offset);
    cursor.skip(header_length)?;
    let headers_end = cursor.offset();
    let more = f0 & 0x20 != 0;
    Ok(Fragment {
        key: Key {
            source: widen(source),
            destination: widen(destination),
            identification: u32::from(u16::from_be_bytes([i0, i1])),
            protocol,
            version: 4,
        },
        version: 4,
        offset: usize::from(u16::from_be_bytes([f0 & 0x1f, f1])) * BLOCK,
        more,
        // All but the last have whole blocks (RFC 791, 3.2); what is over belongs to no block.
        payload: whole_blocks(cursor.take_slice(payload_length)?, more),
        ip_offset,
        headers_end,
        beyond: 0,
        next_header: protocol,
        next_header_field: None,
    })
}

fn read_v6(frame: &[u8], ip_offset: usize) -> Result<Fragment<'_>, Unusable> {
    let mut cursor = Cursor::at(frame, ip_offset);
    let [_, _, _, _, l0, l1, first_next, _] = *cursor.take::<8>()?;
    let source = *cursor.take::<16>()?;
    let destination = *cursor.take::<16>()?;
    let end = cursor.offset() + usize::from(u16::from_be_bytes([l0, l1]));
    let mut next = first_next;
    let mut field = ip_offset + 6;
    // Only these may stand before the fragment header (RFC 8200, 4.1); each is at least 8 bytes
    // long.
    while matches!(next, 0 | 43 | 60) {
        field = cursor.offset();
        let [following, length, ..] = *cursor.peek::<8>()?;
        cursor.skip((usize::from(length) + 1) * 8)?;
        next = following;
    }
    if next != 44 {
        return Err(Unusable::Malformed);
    }
    let headers_end = cursor.offset();
    let [next_header, _, o0, o1, identification @ ..] = *cursor.take::<8>()?;
    let length = end
        .checked_sub(cursor.offset())
        .ok_or(Unusable::Malformed)?;
    let more = o1 & 1 != 0;
    // RFC 8200 wants a fragment with a broken block refused, other than RFC 791.
    if more && length % BLOCK != 0 {
        return Err(Unusable::Malformed);
    }
    Ok(Fragment {
        key: Key {
            source,
            destination,
            identification: u32::from_be_bytes(identification),
            protocol: 0,
            version: 6,
        },
        version: 6,
        offset: usize::from(u16::from_be_bytes([o0, o1 & 0xf8])),
        more,
        payload: cursor.take_slice(length)?,
        ip_offset,
        headers_end,
        beyond: 40,
        next_header,
        next_header_field: Some(field),
    })
}

fn widen(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn whole_blocks(payload: &[u8], more: bool) -> &[u8] {
    let length = if more {
        payload.len() - payload.len() % BLOCK
    } else {
        payload.len()
    };
    payload.get(..length).unwrap_or(payload)
}
