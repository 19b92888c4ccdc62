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
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Which attribute.
    pub attribute: AttributeId,
    offset: usize,
    form: Form,
}

/// Where each attribute of an event stands in its record.
#[derive(Debug, Clone, Default)]
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

    /// Start a record: time and number of the packet, no field present.
    pub fn begin(&self, record: &mut [u8], timestamp: Timestamp, number: u64) {
        store_u64(record, 0, 0);
        store_u64(record, 8, timestamp.nanos());
        store_u64(record, 16, number);
    }

    /// Copy a value into its field.
    pub fn write(&self, record: &mut [u8], position: usize, value: Value<'_>) {
        let Some(field) = self.fields.get(position) else {
            return;
        };
        let at = field.offset;
        match (field.form, value) {
            (Form::Number, Value::Number(number)) => store_u64(record, at, number),
            (Form::Float, Value::Float(number)) => store_u64(record, at, number.to_bits()),
            (Form::Short(length), Value::Bytes(bytes)) if bytes.len() == usize::from(length) => {
                store(record, at, bytes);
            }
            (Form::Long, Value::Bytes(bytes)) => store_long(record, at, bytes),
            (Form::Long, Value::Number(number)) => store_long(record, at, &number.to_be_bytes()),
            (Form::Long, Value::Path(layers)) => {
                let mut ids = [0; 2 * crate::limits::LAYERS_MAX];
                for (slot, layer) in ids.chunks_exact_mut(2).zip(layers) {
                    slot.copy_from_slice(&layer.protocol.id().to_be_bytes());
                }
                let length = ids.len().min(layers.len().saturating_mul(2));
                store_long(record, at, ids.get(..length).unwrap_or(&ids));
            }
            _ => return,
        }
        let present = load_u64(record, 0) | 1 << position;
        store_u64(record, 0, present);
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

    /// Do two records hold the same of a field, or both nothing?
    pub fn agree(&self, one: &[u8], other: &[u8], position: usize) -> bool {
        let Some(field) = self.fields.get(position) else {
            return true;
        };
        let [one_has, other_has] = [one, other].map(|record| load_u64(record, 0) >> position & 1);
        if one_has & other_has == 0 {
            return one_has == other_has;
        }
        let length = match field.form {
            Form::Number | Form::Float => 8,
            Form::Short(length) => usize::from(length),
            Form::Long => {
                let length = usize::try_from(load_u32(one, field.offset)).unwrap_or(usize::MAX);
                LONG_HEADER + length.min(VALUE_BYTES_MAX)
            }
        };
        let [one, other] =
            [one, other].map(|record| record.get(field.offset..field.offset + length));
        one == other
    }

    /// A word that is equal for equal values: part of a join key.
    pub fn key_word(&self, record: &[u8], position: usize) -> u64 {
        let Some(field) = self.fields.get(position) else {
            return 0;
        };
        match field.form {
            Form::Number | Form::Float => load_u64(record, field.offset),
            Form::Short(length) => {
                let mut word = [0; 16];
                let end = field.offset + usize::from(length);
                if let Some(bytes) = record.get(field.offset..end) {
                    store(&mut word, 0, bytes);
                }
                let [low, high] = [load_u64(&word, 0), load_u64(&word, 8)];
                low ^ high.rotate_left(29).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            }
            Form::Long => match self.read(record, position) {
                Scalar::Text(text) if text.is_whole() => digest(text.bytes),
                Scalar::Text(text) => text.hash,
                _ => 0,
            },
        }
    }
}

/// Time of the packet that bound the event.
pub fn timestamp(record: &[u8]) -> Timestamp {
    Timestamp::from_nanos(load_u64(record, 8))
}

/// Number of the packet that bound the event.
pub fn number(record: &[u8]) -> u64 {
    load_u64(record, 16)
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
        layout.begin(&mut record, Timestamp::from_micros(7), 9);
        layout.write(&mut record, 0, Value::Number(0x800));
        layout.write(&mut record, 1, Value::Bytes(&[1, 2, 3, 4, 5, 6]));
        assert!(matches!(layout.read(&record, 0), Scalar::Number(0x800)));
        let Scalar::Text(text) = layout.read(&record, 1) else {
            panic!("text expected")
        };
        assert_eq!(text.bytes, [1, 2, 3, 4, 5, 6]);
        assert!(matches!(layout.read(&record, 2), Scalar::Absent));
        assert_eq!((timestamp(&record).micros(), number(&record)), (7, 9));
    }

    #[test]
    fn long_values_keep_a_prefix_and_differ_by_what_was_cut() {
        let layout = layout(&[(Protocol::Ethernet, "p_payload")]);
        let record = |bytes: &[u8]| {
            let mut record = vec![0; layout.size];
            layout.begin(&mut record, Timestamp::default(), 1);
            layout.write(&mut record, 0, Value::Bytes(bytes));
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
        assert_ne!(layout.key_word(&first, 0), layout.key_word(&second, 0));
    }
}
