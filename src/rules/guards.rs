//! Which events of which rules one packet may be: the half of evaluation that looks at a packet
//! alone.
//!
//! Attributes are extracted at most once per packet and only when an event that is still possible
//! needs them. An event is possible while its protocols are all there, then while its mandatory
//! attributes are, then while each of its conditions holds.

use super::checks::{Answers, Check};
use super::program::{Attributes, Error, Event, Key, Slot};
use super::record::{ABSENT, Hash};
use crate::dissect::attribute::{AttributeId, Call, Field, Reader, Type, Value, View};
use crate::dissect::header::tcp::mmt_padding_heuristic;
use crate::dissect::{Protocol, ProtocolSet};
use crate::expr::evaluate::{Code, Scalar, Source, Text};
use crate::expr::{Expr, Mode};
use crate::limits::ATTRIBUTES_USED_MAX;

/// A set of slots, or of other numbers that are a byte.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Mask([u64; ATTRIBUTES_USED_MAX / 64]);

impl Mask {
    /// Of these slots.
    pub fn of(slots: &[Slot]) -> Self {
        let mut mask = Self::default();
        slots.iter().for_each(|slot| mask.set(*slot));
        mask
    }

    fn contains_all(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .all(|(have, want)| have & want == *want)
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        self.0[usize::from(slot >> 6)] & 1 << (slot & 63) != 0
    }

    pub(super) fn set(&mut self, slot: Slot) {
        self.0[usize::from(slot >> 6)] |= 1 << (slot & 63);
    }
}

const _: () = assert!(ATTRIBUTES_USED_MAX == 256, "a slot is a byte");

/// When MMT does not see an attribute that the packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    None,
    /// Zero-length values do not count.
    Empty,
    /// TCP flags do not count when 0.
    Zero,
    /// See [`mmt_padding_heuristic`].
    Padding,
    /// Pointers are not carried, but for a few.
    Never,
}

/// The attributes that the loaded rules use, and how to read them.
#[derive(Debug)]
pub struct Extraction {
    ids: Vec<AttributeId>,
    /// Short ways to most of what most packets are asked for.
    short: Vec<Short>,
    readers: Vec<(Option<Reader>, Quirk)>,
}

/// A short way to an attribute without quirks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Short {
    /// At a fixed place of the first header of a protocol.
    Field(Protocol, Field),
    /// Worked out without a header.
    Frame(Call),
    /// Not there without a message, and worked out of it.
    Message,
    /// None.
    No,
}

impl Extraction {
    /// For these attributes, by slot.
    pub fn new(ids: Vec<AttributeId>, mode: Mode) -> Self {
        let quirk = |id: &AttributeId| match mode {
            Mode::Standard => Quirk::None,
            Mode::Compat => quirk_of(*id),
        };
        let readers: Vec<_> = ids.iter().map(|id| (id.reader(), quirk(id))).collect();
        let short = readers.iter().map(|(reader, quirk)| match reader {
            Some(reader) if *quirk == Quirk::None => short_way(*reader),
            _ => Short::No,
        });
        Self {
            short: short.collect(),
            ids,
            readers,
        }
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The attribute of a slot.
    pub fn attribute(&self, slot: Slot) -> Option<AttributeId> {
        self.ids.get(usize::from(slot)).copied()
    }

    /// The short way to the attribute of a slot.
    pub(super) fn short(&self, slot: Slot) -> Short {
        let short = self.short.get(usize::from(slot));
        short.copied().unwrap_or(Short::No)
    }

    /// Does no rule use any attribute?
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Protocols of which an attribute out of their running totals is used.
    pub fn totalled(&self) -> ProtocolSet {
        let mut protocols = ProtocolSet::default();
        for id in &self.ids {
            let name = id.attribute().map_or("", |attribute| attribute.name);
            let of_all = matches!(name, "first_packet_time" | "last_packet_time");
            if of_all || name.contains("_count") || name.contains("_volume") {
                protocols.insert(id.protocol);
            }
        }
        protocols
    }

    fn read<'b>(&self, slot: Slot, view: &View<'b>) -> Option<Value<'b>> {
        let (reader, quirk) = *self.readers.get(usize::from(slot))?;
        let value = view.read(reader?)?;
        (quirk == Quirk::None || quirk.allows(value, view)).then_some(value)
    }
}

fn short_way(reader: Reader) -> Short {
    if let Some((protocol, field)) = reader.field() {
        return Short::Field(protocol, field);
    }
    match reader.is_of_message() {
        true => Short::Message,
        false => reader.of_frame().map_or(Short::No, Short::Frame),
    }
}

impl Quirk {
    /// Does MMT see this value?
    fn allows(self, value: Value<'_>, view: &View<'_>) -> bool {
        match (self, value) {
            (Self::Empty, Value::Bytes(bytes)) => !bytes.is_empty(),
            (Self::None | Self::Empty, _) => true,
            (Self::Zero, value) => value != Value::Number(0),
            (Self::Padding, _) => !mmt_padding_heuristic(view),
            (Self::Never, _) => false,
        }
    }
}

fn quirk_of(id: AttributeId) -> Quirk {
    let name = id.attribute().map_or("", |attribute| attribute.name);
    let number = id.attribute().map_or(0, |attribute| attribute.id);
    match (id.protocol, name) {
        (Protocol::Tcp, "payload_len") => Quirk::Padding,
        (Protocol::Tcp, _) if (6..=14).contains(&number) => Quirk::Zero,
        (Protocol::Ipv4, "options") => Quirk::Empty,
        (_, "p_payload" | "p_data" | "last_command" | "last_response_code") => Quirk::Empty,
        _ if id.kind() == Type::Pointer => Quirk::Never,
        _ => Quirk::Empty,
    }
}

/// An expression over one packet, alone: the filter of a command line.
#[derive(Debug)]
pub struct Filter {
    extraction: Extraction,
    condition: Code<Slot>,
}

impl Filter {
    /// Compile it. Attributes that a packet lacks read as absent; nothing is mandatory.
    ///
    /// # Errors
    /// It uses more attributes than there are slots.
    pub fn new(expr: &Expr) -> Result<Self, Error> {
        let mut attributes = Attributes::default();
        let mut failed = None;
        let mut place = |id, _| {
            attributes.slot(id).unwrap_or_else(|error| {
                failed = Some(error);
                Slot::MAX
            })
        };
        let condition = Code::new(expr, Mode::Standard, &mut place);
        match failed {
            Some(error) => Err(error),
            None => Ok(Self {
                extraction: Extraction::new(attributes.ids, Mode::Standard),
                condition,
            }),
        }
    }

    /// Does it hold for this packet?
    pub fn holds(&self, view: &View<'_>) -> bool {
        let mut values = [Value::Number(0); ATTRIBUTES_USED_MAX];
        let mut message = Message::new(view, &self.extraction, &mut values);
        for slot in (0..=Slot::MAX).take(self.extraction.len()) {
            message.has(slot);
        }
        self.condition.holds(&message)
    }
}

/// One packet as the rules see it: its view, and the values extracted so far.
#[derive(Debug)]
pub struct Message<'b, 'm> {
    /// The packet.
    pub view: &'m View<'b>,
    extraction: &'m Extraction,
    values: &'m mut [Value<'b>],
    known: Mask,
    present: Mask,
    answers: Answers,
    /// The header looked at last, and whose it is.
    header: (Protocol, &'b [u8]),
}

impl<'b, 'm> Message<'b, 'm> {
    /// Nothing extracted yet; `values` has a place for every slot.
    pub fn new(
        view: &'m View<'b>,
        extraction: &'m Extraction,
        values: &'m mut [Value<'b>],
    ) -> Self {
        Self {
            view,
            extraction,
            values,
            known: Mask::default(),
            present: Mask::default(),
            answers: Answers::default(),
            header: (Protocol::Meta, &[]),
        }
    }

    /// Does the packet have this attribute? Extracts it, once.
    #[inline]
    pub fn has(&mut self, slot: Slot) -> bool {
        match self.known.has(slot) {
            true => self.present.has(slot),
            false => self.extract(slot),
        }
    }

    #[inline(never)]
    fn extract(&mut self, slot: Slot) -> bool {
        self.extract_here(slot)
    }

    /// The value of an attribute that the index asks for, and so mostly the first time. Where it
    /// leads to no step it is not worth keeping: see [`Message::keep`].
    #[inline]
    pub(super) fn fresh_value(&mut self, slot: Slot, short: Short) -> Option<Value<'b>> {
        match short {
            Short::Field(protocol, field) => return field.read_from(self.header_of(protocol)?),
            Short::Message if self.view.message.is_none() => return None,
            _ => {}
        }
        let there = self.extract_here(slot);
        let value = self.values.get(usize::from(slot)).copied();
        value.filter(|_| there)
    }

    /// Keep a value that the index has asked for.
    #[inline]
    pub(super) fn keep(&mut self, slot: Slot, value: Value<'b>) {
        self.known.set(slot);
        self.note(slot, value);
    }

    /// The bytes from the first header of a protocol on.
    #[inline]
    fn header_of(&mut self, protocol: Protocol) -> Option<&'b [u8]> {
        if self.header.0 != protocol {
            self.header = (protocol, self.view.header_of(protocol)?);
        }
        Some(self.header.1)
    }

    #[inline]
    fn extract_here(&mut self, slot: Slot) -> bool {
        self.known.set(slot);
        let value = match self.extraction.short.get(usize::from(slot)) {
            Some(Short::Field(protocol, field)) => {
                let header = self.header_of(*protocol);
                header.and_then(|header| field.read_from(header))
            }
            Some(Short::Frame(call)) => call(self.view, 0),
            Some(Short::Message) if self.view.message.is_none() => None,
            _ => return self.work_out(slot),
        };
        value.is_some_and(|value| self.note(slot, value))
    }

    #[inline(never)]
    fn work_out(&mut self, slot: Slot) -> bool {
        match self.extraction.read(slot, self.view) {
            Some(value) => self.note(slot, value),
            None => false,
        }
    }

    #[inline]
    fn note(&mut self, slot: Slot, value: Value<'b>) -> bool {
        if let Some(place) = self.values.get_mut(usize::from(slot)) {
            *place = value;
            self.present.set(slot);
        }
        true
    }

    /// The number that an attribute has in this packet.
    #[inline]
    pub fn number(&mut self, slot: Slot) -> Option<u64> {
        match self.value(slot) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// The value of an attribute, if the packet has it.
    #[inline]
    pub fn value(&mut self, slot: Slot) -> Option<Value<'b>> {
        if !self.has(slot) {
            return None;
        }
        self.values.get(usize::from(slot)).copied()
    }

    /// Are all attributes there without which the event cannot hold?
    pub fn has_mandatory(&mut self, event: &Event) -> bool {
        self.present.contains_all(&event.mask)
            || (self.view.facts.protocols.contains_all(event.protocols)
                && event.mandatory.iter().all(|slot| self.has(*slot)))
    }

    /// As [`Message::allows`], but for conditions that remember their calls, and those behind them.
    pub fn may_be(&mut self, event: &Event) -> bool {
        let mut sure = event.guard.iter().take_while(|check| !check.is_stateful());
        self.may_allow(event) && sure.all(|check| self.holds(check))
    }

    /// Does the packet alone allow that it is this event?
    pub fn allows(&mut self, event: &Event) -> bool {
        self.may_allow(event) && event.guard.iter().all(|check| self.holds(check))
    }

    /// Does a condition hold? All that it reads must have been extracted.
    #[inline]
    fn holds(&mut self, check: &Check) -> bool {
        let known = check.number.and_then(|number| self.answers.get(number));
        if let Some(holds) = known {
            return holds;
        }
        let holds = check.code.holds(&*self);
        if let Some(number) = check.number {
            self.answers.keep(number, holds);
        }
        holds
    }

    /// What comes before the conditions of the guard.
    #[inline]
    fn may_allow(&mut self, event: &Event) -> bool {
        // What is cheapest comes first: most packets fail one comparison of a number.
        let mut tests = event.tests.iter();
        let passed = tests.all(|(slot, test)| self.number(*slot).is_some_and(|n| test.holds(n)));
        if !passed || !self.has_mandatory(event) {
            return false;
        }
        for slot in &event.optional {
            self.has(*slot);
        }
        true
    }

    /// Hash of the values that the event must share with earlier ones.
    pub fn key(&mut self, event: &Event, seed: u64) -> u64 {
        let add = |hash: Hash, key: &Key| match self.value(key.slot) {
            Some(value) => key.part.hash_value(hash, value),
            None => hash.with_word(ABSENT),
        };
        event.keys.iter().fold(Hash::new(seed), add).value
    }

    /// Copy what the event records of the packet.
    pub fn record(&mut self, event: &Event, record: &mut [u8]) {
        let (time, number) = (self.view.frame.timestamp, self.view.facts.number);
        let slots = event.fields.as_slice();
        let value = |place| slots.get(place).and_then(|slot: &Slot| self.value(*slot));
        event.layout.fill(record, time, number, value);
    }
}

impl Source<Slot> for Message<'_, '_> {
    /// Only what [`Message::has`] has extracted before is there.
    fn read(&self, slot: Slot) -> Scalar<'_> {
        if !self.present.has(slot) {
            return Scalar::Absent;
        }
        match self.values.get(usize::from(slot)) {
            Some(Value::Number(number)) => Scalar::Number(i128::from(*number)),
            Some(Value::Float(number)) => Scalar::Float(*number),
            Some(Value::Bytes(bytes)) => Scalar::Text(Text::whole(bytes)),
            Some(Value::Path(layers)) => Scalar::Path(layers),
            None => Scalar::Absent,
        }
    }

    fn has_protocol(&self, protocol: Protocol) -> bool {
        self.view.facts.protocols.contains(protocol)
    }
}
