//! `meta`, the protocol that every packet has, and the attributes that every protocol has.

use super::attribute::{Attribute, Scope, Type, Value, View, absent};
use super::{Definition, Protocol};
use crate::flow::steering;
use crate::packet::FlowFacts;

/// Protocol `meta` (id 1).
pub(super) const DEFINITION: Definition = Definition {
    id: 1,
    name: "meta",
    title: "What the capture and the flow table know of a packet",
    dissect: None,
    bindings: &[],
    attributes: &[
        Attribute::packet(1, "direction", Type::U32, direction),
        Attribute::packet(2, "args", Type::Pointer, absent),
        Attribute::packet(3, "utime", Type::Timeval, utime),
        Attribute::packet(4, "packet_len", Type::U32, packet_len),
        Attribute::packet(5, "proto_hierarchy", Type::Path, proto_hierarchy),
        Attribute::packet(6, "session", Type::Pointer, session).scope(Scope::Session),
        Attribute::packet(7, "classified", Type::U8, classified).scope(Scope::Session),
        Attribute::packet(8, "probe_id", Type::U32, absent).scope(Scope::Session),
        Attribute::packet(9, "source_id", Type::U32, source_id).scope(Scope::Session),
        Attribute::packet(10, "packet_index", Type::U64, packet_index).scope(Scope::Session),
    ],
};

/// The attributes of every protocol, by MMT's ids. They are extracted by `extract_generic`.
pub const GENERIC: &[Attribute] = &[
    Attribute::packet(4096, "p_hdr", Type::Pointer, absent),
    Attribute::packet(4097, "p_data", Type::Pointer, absent),
    Attribute::packet(4098, "p_payload", Type::Pointer, absent),
    Attribute::packet(4099, "packet_count", Type::U64, absent),
    Attribute::packet(4100, "data_count", Type::U64, absent),
    Attribute::packet(4101, "payload_count", Type::U64, absent),
    Attribute::packet(4102, "first_packet_time", Type::Timeval, absent),
    Attribute::packet(4103, "last_packet_time", Type::Timeval, absent),
    Attribute::packet(4104, "p_data_len", Type::U64, absent),
    Attribute::packet(4105, "stats", Type::Stats, absent),
    Attribute::packet(4106, "session", Type::Pointer, absent).scope(Scope::Event),
    Attribute::packet(4107, "session_id", Type::U64, absent).scope(Scope::Session),
];

/// See [`super::attribute::AttributeId::INNER_FLOW`].
pub(super) static INNER_FLOW: Attribute =
    Attribute::packet(u16::MAX, "inner_flow", Type::U64, inner_flow);

fn inner_flow<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let hash = steering::tunnelled(view.frame, view.facts);
    Some(Value::Number(hash))
}

/// Value of a generic attribute (by MMT's id) of `protocol`.
pub(super) fn extract_generic<'a>(
    view: &View<'a>,
    protocol: Protocol,
    id: u16,
) -> Option<Value<'a>> {
    let header = match protocol {
        Protocol::Meta => 0,
        _ => view.facts.offset_of(protocol)?,
    };
    let flow = &view.facts.flow;
    match id {
        4096 | 4097 => view.frame.data.get(header..).map(Value::Bytes),
        4098 => {
            let start = payload_start(view, protocol, header);
            view.frame
                .data
                .get(start..)
                .filter(|bytes| !bytes.is_empty())
                .map(Value::Bytes)
        }
        4099 => non_zero(view.totals_of(protocol).packets),
        4100 => non_zero(view.totals_of(protocol).bytes),
        4101 => Some(Value::Number(view.totals_of(protocol).payload_bytes)),
        4102 => non_zero(view.totals_of(protocol).first_us),
        4103 => non_zero(view.totals_of(protocol).last_us),
        4104 => {
            let length = view.frame.data.len().saturating_sub(header);
            Some(Value::Number(u64::try_from(length).unwrap_or(u64::MAX)))
        }
        4106 => (flow.id != 0 && flow.has(FlowFacts::NEW)).then_some(Value::Number(flow.id)),
        4107 => non_zero(flow.id),
        _ => None,
    }
}

/// Where the payload of the first header of `protocol` starts: at the next header. The last header
/// of a packet is followed by its payload; a protocol that is itself the payload points at its own
/// start.
fn payload_start(view: &View<'_>, protocol: Protocol, header: usize) -> usize {
    let layers = view.facts.layers();
    let place = layers.iter().position(|layer| layer.protocol == protocol);
    let next = place.and_then(|place| layers.get(place.saturating_add(1)));
    match next {
        Some(layer) => usize::from(layer.offset),
        None if protocol.definition().dissect.is_none() => header,
        None => usize::from(view.facts.payload_offset),
    }
}

fn non_zero<'a>(number: u64) -> Option<Value<'a>> {
    (number != 0).then_some(Value::Number(number))
}

fn direction<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let flow = &view.facts.flow;
    let index = if flow.id == 0 {
        0
    } else {
        flow.direction.index()
    };
    Some(Value::Number(u64::try_from(index).unwrap_or(0)))
}

fn utime<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    Some(Value::Number(view.frame.timestamp.micros()))
}

fn packet_len<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    Some(Value::Number(u64::from(view.frame.wire_length)))
}

fn proto_hierarchy<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    Some(Value::Path(view.facts.layers()))
}

fn session<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let flow = &view.facts.flow;
    (flow.id != 0 && flow.has(FlowFacts::NEW)).then_some(Value::Number(flow.id))
}

fn classified<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let is_application = |p: &Protocol| *p != Protocol::Meta && p.definition().dissect.is_none();
    let found = Protocol::ALL.iter().filter(|p| is_application(p));
    found
        .copied()
        .any(|p| view.facts.protocols.contains(p))
        .then_some(Value::Number(1))
}

fn source_id<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    Some(Value::Number(u64::from(view.frame.port)))
}

fn packet_index<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    Some(Value::Number(view.facts.number))
}
