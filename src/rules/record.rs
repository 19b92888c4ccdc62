//! Attribute values of one event, copied out of a packet into a fixed layout.
//!
//! A match carries them from the guards to the joins, an instance keeps them for the events it has
//! bound, and an alert prints them. The layout of an event is fixed when its rule is loaded, so
//! nothing is allocated to copy or to read one.
//!
//! ```text
//! | present: one bit a field (8) | timestamp in ns (8) | packet number (8) | fields ... |
//! ```
//! A number takes 8 bytes, an address 8 or 16, anything longer 16 + 256: length (4), unused (4),
//! hash (8), and the first bytes.

use crate::dissect::attribute::{AttributeId, Type, Value};
use crate::expr::evaluate::{Scalar, Text, digest};
use crate::limits::VALUE_BYTES_MAX;
use crate::packet::Timestamp;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

const HEADER: usize = 24;
const LONG_HEADER: usize = 16;
/// Fields of one event: one bit each in the presence word.
pub const FIELDS_MAX: usize = 64;

/// How a field is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Number,
    Float,
    /// Bytes of a fixed length up to 16.
    Short(u8),
    Long,
}

/// One attribute of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Which attribute.
    pub attribute: AttributeId,
    offset: usize,
    form: Form,
}

impl Field {
    /// Copy a value in, unless it is none that this field can hold.
    #[inline]
    fn store(&self, record: &mut [u8], value: Value<'_>) -> bool {
        let at = self.offset;
        match (self.form, value) {
            (Form::Number, Value::Number(number)) => store_u64(record, at, number),
            (Form::Float, Value::Float(number)) => store_u64(record, at, number.to_bits()),
            (Form::Short(length), Value::Bytes(bytes)) if bytes.len() == usize::from(length) => {
                // A copy of known length is no call.
                match bytes.first_chunk::<4>().filter(|_| length == 4) {
                    Some(four) => store(record, at, four),
                    None => store(record, at, bytes),
                }
            }
            (Form::Long, value) => store_long(record, at, long(value, &mut [0; LONG_BUFFER])),
            _ => return false,
        }
        true
    }
}

/// Where each attribute of an event stands in its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Fields in the order of alert histories: by protocol number, then attribute number.
    pub fields: Vec<Field>,
    /// Bytes of one record.
    pub size: usize,
}

impl Layout {
    /// For these attributes, which must be sorted and distinct; the first [`FIELDS_MAX`] are kept.
    pub fn new(attributes: &[AttributeId]) -> Self {
        let mut offset = HEADER;
        let mut fields = Vec::new();
        for &attribute in attributes.iter().take(FIELDS_MAX) {
            let form = form_of(attribute.kind());
            fields.push(Field {
                attribute,
                offset,
                form,
            });
            offset += match form {
                Form::Number | Form::Float => 8,
                Form::Short(length) if length <= 8 => 8,
                Form::Short(_) => 16,
                Form::Long => LONG_HEADER + VALUE_BYTES_MAX,
            };
        }
        Self {
            fields,
            size: offset,
        }
    }

    /// Place of an attribute among the fields.
    pub fn position(&self, attribute: AttributeId) -> Option<usize> {
        self.fields
            .iter()
            .position(|field| field.attribute == attribute)
    }

    /// Make a record: time and number of the packet, and of each field what `value` gives for its
    /// place.
    #[inline]
    pub fn fill<'v>(
        &self,
        record: &mut [u8],
        timestamp: Timestamp,
        number: u64,
        mut value: impl FnMut(usize) -> Option<Value<'v>>,
    ) {
        let mut present = 0;
        for (place, field) in self.fields.iter().enumerate() {
            if let Some(value) = value(place) {
                present |= u64::from(field.store(record, value)) << (place % FIELDS_MAX);
            }
        }
        store_u64(record, 0, present);
        store_u64(record, 8, timestamp.nanos());
        store_u64(record, 16, number);
    }

    /// Read a field back.
    pub fn read<'r>(&self, record: &'r [u8], position: usize) -> Scalar<'r> {
        let Some(field) = self.fields.get(position) else {
            return Scalar::Absent;
        };
        if load_u64(record, 0) & 1 << position == 0 {
            return Scalar::Absent;
        }
        let at = field.offset;
        match field.form {
            Form::Number => Scalar::Number(i128::from(load_u64(record, at))),
            Form::Float => Scalar::Float(f64::from_bits(load_u64(record, at))),
            Form::Short(length) => {
                let end = at + usize::from(length);
                Scalar::Text(Text::whole(record.get(at..end).unwrap_or(&[])))
            }
            Form::Long => {
                let length = load_u32(record, at);
                let kept = usize::try_from(length)
                    .unwrap_or(usize::MAX)
                    .min(VALUE_BYTES_MAX);
                let start = at + LONG_HEADER;
                Scalar::Text(Text {
                    bytes: record.get(start..start + kept).unwrap_or(&[]),
                    length,
                    hash: load_u64(record, at + 8),
                })
            }
        }
    }

    /// A field as part of records in which this event's record starts at `base`.
    pub fn part(&self, position: usize, base: usize) -> Option<Part> {
        let field = self.fields.get(position)?;
        Some(Part {
            base,
            bit: 1 << position,
            offset: base + field.offset,
            form: field.form,
            mask: match field.form {
                Form::Short(length) => mask_of(length),
                _ => u64::MAX,
            },
        })
    }
}

/// A value of a join key, or of what classes agree in, where records hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Start of the event's record.
    base: usize,
    /// Its bit in the presence word.
    bit: u64,
    offset: usize,
    form: Form,
    /// The bits of its first word that belong to it.
    mask: u64,
}

impl Part {
    /// Are values kept in the same form?
    pub fn is_like(&self, other: &Self) -> bool {
        self.form == other.form
    }

    #[inline]
    fn is_there(&self, record: &[u8]) -> bool {
        load_u64(record, self.base) & self.bit != 0
    }

    #[inline]
    fn word(&self, record: &[u8]) -> u64 {
        load_u64(record, self.offset) & self.mask
    }

    /// The number that a record holds, if this is one and there.
    #[inline]
    pub fn number(&self, record: &[u8]) -> Option<u64> {
        (self.form == Form::Number && self.is_there(record)).then(|| self.word(record))
    }

    /// Are the values that two records hold equal? None where that is not a matter of a few words.
    #[inline]
    pub fn equals(&self, record: &[u8], other: &Self, earlier: &[u8]) -> Option<bool> {
        if self.form != other.form || !self.is_there(record) || !other.is_there(earlier) {
            return None;
        }
        let same = self.word(record) == other.word(earlier);
        let second = |part: &Self, record| load_u64(record, part.offset + 8);
        match self.form {
            Form::Number => Some(same),
            Form::Short(length) if length <= 8 => Some(same),
            Form::Short(_) => Some(same && second(self, record) == second(other, earlier)),
            Form::Float | Form::Long => None,
        }
    }

    /// Add the value that a record holds to a hash.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "a call would pass the hash through memory"
    )]
    pub fn hash_held(&self, hash: Hash, record: &[u8]) -> Hash {
        if !self.is_there(record) {
            return hash.with_word(ABSENT);
        }
        if self.form == Form::Long {
            return self.hash_long(hash, record);
        }
        let hash = hash.with_word(self.word(record));
        match self.form {
            Form::Short(9..) => hash.with_word(load_u64(record, self.offset + 8)),
            _ => hash,
        }
    }

    #[inline(never)]
    fn hash_long(&self, hash: Hash, record: &[u8]) -> Hash {
        let length = usize::try_from(load_u32(record, self.offset)).unwrap_or(usize::MAX);
        let start = self.offset + LONG_HEADER;
        match record.get(start..start.saturating_add(length.min(VALUE_BYTES_MAX))) {
            Some(bytes) if length <= VALUE_BYTES_MAX => hash.with_bytes(bytes),
            _ => hash.with_word(load_u64(record, self.offset + 8)),
        }
    }

    /// Add a packet's value to a hash: as if it were recorded first.
    #[inline]
    pub fn hash_value(&self, hash: Hash, value: Value<'_>) -> Hash {
        match (self.form, value) {
            (Form::Number, Value::Number(number)) => hash.with_word(number),
            (Form::Float, Value::Float(number)) => hash.with_word(number.to_bits()),
            (Form::Short(length), Value::Bytes(bytes)) if length <= 8 => {
                hash.with_word(little(bytes) & self.mask)
            }
            (Form::Short(_), Value::Bytes(bytes)) => {
                let (low, high) = bytes.split_at_checked(8).unwrap_or((bytes, &[]));
                hash.with_word(little(low)).with_word(little(high))
            }
            (Form::Long, value) => hash_long_value(hash, value),
            _ => hash.with_word(ABSENT),
        }
    }
}

#[inline(never)]
fn hash_long_value(hash: Hash, value: Value<'_>) -> Hash {
    match long(value, &mut [0; LONG_BUFFER]) {
        bytes if bytes.len() <= VALUE_BYTES_MAX => hash.with_bytes(bytes),
        bytes => hash.with_word(digest(bytes)),
    }
}

/// Hashes of some values under a secret of this run: who sends packets cannot choose values that
/// share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash {
    factors: [u64; 2],
    /// The hash.
    pub value: u64,
    /// Another one, independent.
    pub check: u64,
}

impl Hash {
    /// Of no values.
    #[inline]
    pub fn new(seed: u64) -> Self {
        // Seeds of few bits must spread words as well.
        let odd = [0x9e37_79b9_7f4a_7c15, 0x8bb8_4b93_962e_acc9];
        Self {
            factors: odd.map(|odd| seed ^ odd | 1),
            value: seed ^ 0xd1b5_4a32_d192_ed03,
            check: seed.rotate_left(32) ^ 0xabc9_8388_fb8f_ac03,
        }
    }

    /// With one more value of many bytes.
    #[must_use]
    pub fn with_bytes(self, bytes: &[u8]) -> Self {
        let [key, other] = self.factors;
        let mut hasher = SipHasher13::new_with_keys(key, other);
        hasher.write(bytes);
        self.with_word(hasher.finish())
    }

    /// With one more word.
    #[must_use]
    #[inline]
    pub fn with_word(self, word: u64) -> Self {
        let [first, second] = self.factors;
        Self {
            value: folded(self.value ^ word, first),
            check: folded(self.check ^ word, second),
            ..self
        }
    }
}

/// Stands for a value that is not there.
pub const ABSENT: u64 = 0xab5e_0ab5_e0ab_5e00;

/// Folded multiplication: no word cancels another without knowledge of the factor.
#[inline]
fn folded(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    let [low, high] = [product, product >> 64]
        .map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
    (low ^ high).rotate_left(23)
}

/// Bytes that a number or path takes as a long value.
const LONG_BUFFER: usize = 2 * crate::limits::LAYERS_MAX;

/// A value as bytes, in `buffer` if need be.
fn long<'v>(value: Value<'v>, buffer: &'v mut [u8; LONG_BUFFER]) -> &'v [u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::Number(number) => {
            store(buffer, 0, &number.to_be_bytes());
            buffer.get(..8).unwrap_or(&[])
        }
        Value::Float(_) => &[],
        Value::Path(layers) => {
            for (slot, layer) in buffer.chunks_exact_mut(2).zip(layers) {
                slot.copy_from_slice(&layer.protocol.id().to_be_bytes());
            }
            let length = buffer.len().min(layers.len().saturating_mul(2));
            buffer.get(..length).unwrap_or(&[])
        }
    }
}

/// Up to 8 bytes as a number.
#[inline]
fn little(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<4>() {
        Some(four) if bytes.len() == 4 => u64::from(u32::from_le_bytes(*four)),
        _ => {
            let mut word = [0; 8];
            store(&mut word, 0, bytes.get(..8).unwrap_or(bytes));
            u64::from_le_bytes(word)
        }
    }
}

fn mask_of(length: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(length.clamp(1, 8)))
}

/// Time of the packet that bound the event.
pub fn timestamp(record: &[u8]) -> Timestamp {
    Timestamp::from_nanos(load_u64(record, 8))
}

/// Number of the packet that bound the event.
pub fn number(record: &[u8]) -> u64 {
    load_u64(record, 16)
}

/// Are all values of this type whole numbers?
pub fn is_number(kind: Type) -> bool {
    form_of(kind) == Form::Number
}

fn form_of(kind: Type) -> Form {
    match kind {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::Char | Type::Port | Type::Timeval => {
            Form::Number
        }
        Type::Float => Form::Float,
        Type::MacAddr => Form::Short(6),
        Type::IpAddr => Form::Short(4),
        Type::Ip6Addr => Form::Short(16),
        _ => Form::Long,
    }
}

fn store(record: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = record.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

fn store_u64(record: &mut [u8], at: usize, number: u64) {
    store(record, at, &number.to_le_bytes());
}

fn store_long(record: &mut [u8], at: usize, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    store(record, at, &length.to_le_bytes());
    let kept = bytes.get(..VALUE_BYTES_MAX).unwrap_or(bytes);
    if kept.len() < bytes.len() {
        store_u64(record, at + 8, digest(bytes));
    }
    store(record, at + LONG_HEADER, kept);
}

#[inline]
fn load_u64(record: &[u8], at: usize) -> u64 {
    record
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn load_u32(record: &[u8], at: usize) -> u32 {
    record
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::Protocol;

    fn layout(names: &[(Protocol, &str)]) -> Layout {
        let ids: Vec<_> = names
            .iter()
            .map(|(protocol, name)| AttributeId::find(*protocol, name).unwrap())
            .collect();
        Layout::new(&ids)
    }

    #[test]
    fn what_was_written_is_read_back_and_the_rest_is_absent() {
        let layout = layout(&[
            (Protocol::Ethernet, "proto"),
            (Protocol::Ethernet, "src"),
            (Protocol::Ethernet, "p_payload"),
        ]);
        let mut record = vec![0; layout.size];
        let values = [
            Some(Value::Number(0x800)),
            Some(Value::Bytes(&[1, 2, 3, 4, 5, 6])),
            None,
        ];
        layout.fill(&mut record, Timestamp::from_micros(7), 9, |at| values[at]);
        assert!(matches!(layout.read(&record, 0), Scalar::Number(0x800)));
        let Scalar::Text(text) = layout.read(&record, 1) else {
            panic!("text expected")
        };
        assert_eq!(text.bytes, [1, 2, 3, 4, 5, 6]);
        assert!(matches!(layout.read(&record, 2), Scalar::Absent));
        assert_eq!((timestamp(&record).micros(), number(&record)), (7, 9));
    }

    #[test]
    fn a_value_hashes_alike_in_a_packet_and_in_a_record() {
        let names = [
            (Protocol::Ethernet, "proto"),
            (Protocol::Ethernet, "src"),
            (Protocol::Ipv4, "src"),
            (Protocol::Ipv6, "src"),
            (Protocol::Ethernet, "p_payload"),
        ];
        let layout = layout(&names);
        let address: Vec<u8> = (1..=16).collect();
        for (position, field) in layout.fields.iter().enumerate() {
            let value = match field.form {
                Form::Short(length) => Value::Bytes(&address[..usize::from(length)]),
                Form::Long => Value::Bytes(&address),
                _ => Value::Number(0x1234_5678_9abc),
            };
            // What was in the record before must not matter.
            let mut record = vec![0xff; layout.size + 5];
            let of = |at| (at == position).then_some(value);
            layout.fill(&mut record[5..], Timestamp::default(), 1, of);
            let part = layout.part(position, 5).unwrap();
            let held = part.hash_held(Hash::new(7), &record);
            assert_eq!(held, part.hash_value(Hash::new(7), value), "{position}");
            // The same bytes, but not there.
            record[5..13].fill(0);
            assert_ne!(held, part.hash_held(Hash::new(7), &record), "{position}");
        }
    }

    #[test]
    fn long_values_keep_a_prefix_and_differ_by_what_was_cut() {
        let layout = layout(&[(Protocol::Ethernet, "p_payload")]);
        let record = |bytes: &[u8]| {
            let mut record = vec![0; layout.size];
            let whole = Some(Value::Bytes(bytes));
            layout.fill(&mut record, Timestamp::default(), 1, |_| whole);
            record
        };
        let mut bytes = vec![7; 2000];
        let first = record(&bytes);
        bytes[1999] = 8;
        let second = record(&bytes);
        let (Scalar::Text(a), Scalar::Text(b)) = (layout.read(&first, 0), layout.read(&second, 0))
        else {
            panic!("text expected")
        };
        assert_eq!(a.bytes.len(), VALUE_BYTES_MAX);
        assert!(a.same(&a) && !a.same(&b));
        let part = layout.part(0, 0).unwrap();
        let held = [&first, &second].map(|r| part.hash_held(Hash::new(3), r).value);
        assert_ne!(held[0], held[1]);
        let seen = part.hash_value(Hash::new(3), Value::Bytes(&bytes)).value;
        assert_eq!(seen, held[1]);
    }
}
