//! Frames for the tests of dissectors.

use super::attribute::{AttributeId, Value, View};
use super::headers;
use crate::packet::{Facts, FlowFacts, Frame, LinkType, Timestamp};

/// A frame of `link` with these bytes, captured whole.
pub(crate) fn frame(link: LinkType, data: &[u8]) -> Frame<'_> {
    Frame {
        data,
        wire_length: u32::try_from(data.len()).unwrap(),
        timestamp: Timestamp::default(),
        link,
        port: 0,
        queue: 0,
        ..Frame::EMPTY
    }
}

/// A frame after its walk, to ask attributes of.
pub(crate) struct Walked<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) facts: Facts,
}

impl<'a> Walked<'a> {
    /// Walk the headers of these bytes.
    pub(crate) fn new(link: LinkType, data: &'a [u8]) -> Self {
        Self::cut(link, data, data.len())
    }

    /// Walk the headers of a frame of which only the first `captured` bytes are there.
    pub(crate) fn cut(link: LinkType, data: &'a [u8], captured: usize) -> Self {
        let frame = Frame {
            data: &data[..captured],
            ..frame(link, data)
        };
        let mut facts = Facts::new();
        headers(&frame, &mut facts);
        Self { frame, facts }
    }

    /// The same packet as the flow stage would leave it.
    pub(crate) fn in_flow(mut self, flow: FlowFacts) -> Self {
        self.facts.flow = flow;
        self
    }

    /// Names of the headers found, joined by dots.
    pub(crate) fn path(&self) -> String {
        let names: Vec<_> = (self.facts.layers().iter())
            .map(|layer| layer.protocol.name())
            .collect();
        names.join(".")
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            frame: &self.frame,
            facts: &self.facts,
            message: None,
            totals: &[],
        }
    }

    /// Value of `protocol.attribute`; an unknown name fails the test.
    pub(crate) fn value(&self, name: &str) -> Option<Value<'_>> {
        let (protocol, attribute) = name.split_once('.').expect("protocol.attribute");
        let id = AttributeId::from_names(protocol, attribute).expect(name);
        self.view().extract(id)
    }

    /// The same, of an attribute that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.value(name).map(|value| match value {
            Value::Number(number) => number,
            other => panic!("{name} is {other:?}"),
        })
    }

    /// The same, of an attribute that is bytes.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.value(name).map(|value| match value {
            Value::Bytes(bytes) => bytes,
            other => panic!("{name} is {other:?}"),
        })
    }
}

/// Walk every truncation of `data` and extract every attribute of what is found: nothing may panic,
/// and no fact may point behind the bytes that are there.
pub(crate) fn survives_truncation(link: LinkType, data: &[u8]) {
    for length in 0..=data.len() {
        let walked = Walked::new(link, &data[..length]);
        let end = usize::try_from(walked.facts.end).unwrap();
        assert!(end <= length, "end {end} of {length} bytes");
        assert!(usize::from(walked.facts.payload_offset) <= length);
        for layer in walked.facts.layers() {
            assert!(usize::from(layer.offset) < length, "{layer:?} of {length}");
            for id in AttributeId::all_of(layer.protocol) {
                let _ = walked.view().extract(id);
            }
        }
    }
}
