//! What the tests of dissectors share: read literal bytes, ask for attributes, try every truncation.

use super::attribute::{AttributeId, Value, View};
use super::cursor::Cursor;
use super::{Next, Protocol, headers};
use crate::packet::{Facts, Frame, LinkType, Stop, Timestamp};

/// A frame of these bytes.
pub(crate) fn frame(link: LinkType, data: &[u8]) -> Frame<'_> {
    Frame {
        data,
        wire_length: u32::try_from(data.len()).unwrap(),
        timestamp: Timestamp::default(),
        link,
        port: 0,
        queue: 0,
    }
}

/// The facts of a whole frame.
pub(crate) fn walk(link: LinkType, data: &[u8]) -> Facts {
    let mut facts = Facts::new();
    headers(&frame(link, data), &mut facts);
    facts
}

/// Names of the layers of a whole frame, joined by dots.
pub(crate) fn path(link: LinkType, data: &[u8]) -> String {
    let facts = walk(link, data);
    let names: Vec<_> = facts.layers().iter().map(|l| l.protocol.name()).collect();
    names.join(".")
}

/// What the dissector of `protocol` makes of `bytes`: its result, and where its cursor then stands.
pub(crate) fn read(protocol: Protocol, bytes: &[u8]) -> (Result<Next, Stop>, usize) {
    let mut cursor = Cursor::new(bytes);
    let dissect = protocol.definition().dissect.unwrap();
    let result = dissect(&mut cursor, &mut Facts::new());
    (result, cursor.offset())
}

/// The value of a numeric attribute (`gre.key`) of a header that starts with `bytes`.
pub(crate) fn number(name: &str, bytes: &[u8]) -> Option<u64> {
    let id = id(name);
    view(&frame(LinkType::ETHERNET, bytes), &only(id.protocol))
        .extract(id)
        .map(to_number)
}

/// The value of a text attribute of a header that starts with `bytes`.
pub(crate) fn text(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let id = id(name);
    let frame = frame(LinkType::ETHERNET, bytes);
    match view(&frame, &only(id.protocol)).extract(id)? {
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        other => panic!("{name} is {other:?}"),
    }
}

/// The value of a numeric attribute of a whole Ethernet frame.
pub(crate) fn number_in_frame(name: &str, data: &[u8]) -> Option<u64> {
    let facts = walk(LinkType::ETHERNET, data);
    let frame = frame(LinkType::ETHERNET, data);
    view(&frame, &facts).extract(id(name)).map(to_number)
}

/// Read `bytes` as `protocol` cut off at every length, with all attributes. Fails when a cut header is
/// read with success beyond its end, or when a cut inside the first `fixed` bytes moves the cursor.
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
        for attribute in AttributeId::all_of(protocol) {
            let _ = view(&frame(LinkType::ETHERNET, cut), &only(protocol)).extract(attribute);
        }
    }
}

/// Facts of a packet with one header, of `protocol`, at its start.
fn only(protocol: Protocol) -> Facts {
    let mut facts = Facts::new();
    assert!(facts.push(protocol, 0));
    facts
}

fn to_number(value: Value<'_>) -> u64 {
    match value {
        Value::Number(number) => number,
        other => panic!("not a number: {other:?}"),
    }
}

fn id(name: &str) -> AttributeId {
    let (protocol, attribute) = name.split_once('.').unwrap();
    AttributeId::from_names(protocol, attribute).unwrap()
}

fn view<'a>(frame: &'a Frame<'a>, facts: &'a Facts) -> View<'a> {
    View {
        frame,
        facts,
        message: None,
        totals: &[],
    }
}
