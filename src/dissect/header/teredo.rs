//! Teredo: IPv6 over UDP through NATs (RFC 4380, 5.1).
//!
//! ```text
//! | 0x0001 | id length (1) | value length (1) | id | value | nonce (8) | confirmation (1) |  may be absent
//! | 0x0000 | origin port (2) | origin address (4) |                                         may be absent
//! | IPv6 packet |
//! ```
//!
//! Only the port of servers is bound. Clients and relays talk to each other on any port.

use crate::dissect::cursor::Cursor;
use crate::dissect::{Binding, Definition, Next};
use crate::packet::{Facts, Stop};

/// Protocol `teredo` (id 1015).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1015,
    name: "teredo",
    title: "Teredo, IPv6 over UDP (RFC 4380)",
    dissect: Some(dissect),
    bindings: &[Binding::UdpPort(3544)],
    attributes: &[],
};

const AUTHENTICATION: [u8; 2] = [0, 1];
const ORIGIN: [u8; 2] = [0, 0];
/// Nonce and confirmation byte.
const AUTHENTICATION_END: usize = 9;

fn dissect(cursor: &mut Cursor<'_>, _: &mut Facts) -> Result<Next, Stop> {
    match skip_indications(cursor) {
        Ok(()) if is_ipv6(cursor) => Ok(Next::EtherType(0x86dd)),
        // Any client may have this port by chance.
        _ => Ok(Next::Mismatch),
    }
}

fn skip_indications(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    if cursor.peek() == Ok(&AUTHENTICATION) {
        let [_, _, id, value] = *cursor.take()?;
        let variable = usize::from(id).saturating_add(usize::from(value));
        cursor.skip(variable.saturating_add(AUTHENTICATION_END))?;
    }
    if cursor.peek() == Ok(&ORIGIN) {
        cursor.skip(8)?;
    }
    Ok(())
}

/// An IPv6 header with a Teredo address (RFC 4380, 2.14), or a client's first, link-local one. Its
/// length says nothing: some clients append trailers.
fn is_ipv6(cursor: &Cursor<'_>) -> bool {
    let mut cursor = *cursor;
    let (Ok([first, ..]), Ok(source), Ok(target)) =
        (cursor.take::<8>(), cursor.take::<16>(), cursor.take::<16>())
    else {
        return false;
    };
    let is_teredo = |address: &[u8; 16]| {
        address.starts_with(&[0x20, 0x01, 0, 0]) || address.starts_with(&[0xfe, 0x80])
    };
    first >> 4 == 6 && (is_teredo(source) || is_teredo(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;
    use crate::dissect::testing::{every_truncation, read};

    #[test]
    fn indications_are_skipped() {
        let mut ipv6 = [0; 40];
        ipv6[0] = 0x60;
        ipv6[24..26].copy_from_slice(&[0x20, 0x01]);
        let authentication = [0, 1, 1, 2, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let origin = [0, 0, 1, 2, 3, 4, 5, 6];
        for before in [
            &[][..],
            &authentication,
            &origin,
            &[&authentication[..], &origin[..]].concat(),
        ] {
            let mut bytes = [before, &ipv6].concat();
            let result = read(Protocol::Teredo, &bytes);
            assert_eq!(result, (Ok(Next::EtherType(0x86dd)), before.len()));
            every_truncation(Protocol::Teredo, &bytes, bytes.len());
            bytes[before.len() + 24] = 0;
            assert_eq!(read(Protocol::Teredo, &bytes).0, Ok(Next::Mismatch));
        }
    }
}
