//! Single headers for the tests of dissectors: read literal bytes, ask for attributes, cut them
//! short. Whole frames are in [`super::test_walk`].

use super::attribute::AttributeId;
use super::cursor::Cursor;
use super::test_walk::{Walked, frame};
use super::{Next, Protocol};
use crate::packet::{Facts, LinkType, Stop};

/// What the dissector of `protocol` makes of `bytes`: its result, and where its cursor then stands.
pub(crate) fn read(protocol: Protocol, bytes: &[u8]) -> (Result<Next, Stop>, usize) {
    let mut cursor = Cursor::new(bytes);
    let dissect = protocol.definition().dissect.unwrap();
    let result = dissect(&mut cursor, &mut Facts::new());
    (result, cursor.offset())
}

/// The value of a numeric attribute (`gre.key`) of a header that starts with `bytes`.
pub(crate) fn number(name: &str, bytes: &[u8]) -> Option<u64> {
    of_name(name, bytes).number(name)
}

/// The value of a text attribute of a header that starts with `bytes`.
pub(crate) fn text(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    of_name(name, bytes).bytes(name).map(<[u8]>::to_vec)
}

/// Read `bytes` as `protocol` cut off at every length, with all attributes. Fails when a cut header
/// is read with success beyond its end, or when a cut inside the first `fixed` bytes moves the
/// cursor.
pub(crate) fn every_truncation(protocol: Protocol, bytes: &[u8], fixed: usize) {
    for length in 0..=bytes.len() {
        let cut = &bytes[..length];
        let (result, offset) = read(protocol, cut);
        assert!(offset <= length, "{length}: cursor at {offset}");
        if length < fixed {
            let refused = matches!(result, Err(Stop::Truncated) | Ok(Next::Mismatch));
            assert!(refused, "{length}: {result:?}");
            assert!(offset == 0 || result == Ok(Next::Mismatch));
        }
        let header = only(protocol, cut);
        for attribute in AttributeId::all_of(protocol) {
            let _ = header.view().extract(attribute);
        }
    }
}

fn of_name<'a>(name: &str, bytes: &'a [u8]) -> Walked<'a> {
    let (protocol, _) = name.split_once('.').unwrap();
    only(Protocol::from_name(protocol).unwrap(), bytes)
}

/// A packet with one header, of `protocol`, at its start.
fn only(protocol: Protocol, bytes: &[u8]) -> Walked<'_> {
    let mut facts = Facts::new();
    assert!(facts.push(protocol, 0));
    Walked {
        frame: frame(LinkType::ETHERNET, bytes),
        facts,
    }
}
