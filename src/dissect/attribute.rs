//! The attribute registry: everything that can be asked about a packet or its flow.
//!
//! Names, ids and types follow MMT, because rules, reports and the order of alert histories depend
//! on them. Nothing is extracted that nobody asked for: an [`Attribute`] is only a table entry.

use super::{Protocol, cursor::Cursor};
use crate::packet::{Facts, Frame, Layer};
use std::cell::Cell;

/// MMT's data types, with MMT's numbers. The type decides how a value is compared and printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(
    missing_docs,
    reason = "the names are MMT's; the text form is in `output::value`"
)]
pub enum Type {
    U8 = 1,
    U16 = 2,
    U32 = 3,
    U64 = 4,
    Pointer = 5,
    MacAddr = 6,
    IpAddr = 8,
    Ip6Addr = 9,
    Path = 10,
    Timeval = 11,
    Char = 13,
    Port = 14,
    Float = 20,
    Stats = 24,
    Binary = 25,
    BinaryVar = 26,
    String = 27,
    StringLong = 28,
    HeaderLine = 29,
    GenericHeaderLine = 30,
    StringPointer = 31,
    U16Array = 32,
    U32Array = 33,
    U64Array = 34,
}

/// How expressions treat a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Numbers: compared and computed with.
    Numeric,
    /// Bytes: compared for equality.
    Text,
    /// Anything else: only its presence means something.
    Other,
}

impl Type {
    /// MMT's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "U8",
            Self::U16 => "U16",
            Self::U32 => "U32",
            Self::U64 => "U64",
            Self::Pointer => "POINTER",
            Self::MacAddr => "MAC_ADDR",
            Self::IpAddr => "IP_ADDR",
            Self::Ip6Addr => "IP6_ADDR",
            Self::Path => "PATH",
            Self::Timeval => "TIMEVAL",
            Self::Char => "CHAR",
            Self::Port => "PORT",
            Self::Float => "FLOAT",
            Self::Stats => "STATS",
            Self::Binary => "BINARY",
            Self::BinaryVar => "BINARY_VAR",
            Self::String => "STRING",
            Self::StringLong => "STRING_LONG",
            Self::HeaderLine => "HEADER_LINE",
            Self::GenericHeaderLine => "GENERIC_HEADER_LINE",
            Self::StringPointer => "STRING_POINTER",
            Self::U16Array => "U16_ARRAY",
            Self::U32Array => "U32_ARRAY",
            Self::U64Array => "U64_ARRAY",
        }
    }

    /// How expressions treat it.
    pub const fn class(self) -> Class {
        match self {
            Self::U8
            | Self::U16
            | Self::U32
            | Self::U64
            | Self::Port
            | Self::Char
            | Self::Float => Class::Numeric,
            Self::MacAddr
            | Self::IpAddr
            | Self::Ip6Addr
            | Self::String
            | Self::StringLong
            | Self::Binary
            | Self::BinaryVar
            | Self::HeaderLine
            | Self::StringPointer => Class::Text,
            _ => Class::Other,
        }
    }
}

/// How long a value of the attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// For its packet.
    Packet,
    /// For its flow.
    Session,
    /// For its flow, and it may change.
    SessionChanging,
    /// Only on the packet that shows an event.
    Event,
}

impl Scope {
    /// Name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Session => "session",
            Self::SessionChanging => "session_changing",
            Self::Event => "event",
        }
    }
}

/// An extracted value. Its [`Type`] is that of the attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Unsigned number in host order; microseconds since the epoch for [`Type::Timeval`].
    Number(u64),
    /// [`Type::Float`].
    Float(f64),
    /// Text, binary, addresses in network order, arrays as big-endian items.
    Bytes(&'a [u8]),
    /// [`Type::Path`]: the headers of this packet.
    Path(&'a [Layer]),
}

/// One entry of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Attribute number within its protocol, as MMT numbers them.
    pub id: u16,
    /// Name within its protocol.
    pub name: &'static str,
    /// Type of its values.
    pub kind: Type,
    /// How long they hold.
    pub scope: Scope,
    /// How its value is found.
    pub extract: Extract,
}

/// How a value is found in a packet, given where the header is (`Facts::offset_of`).
#[derive(Debug, Clone, Copy)]
pub enum Extract {
    /// It is at a fixed place of the header.
    Field(Field),
    /// It is worked out from everything known of the packet.
    Call(Call),
    /// The same, of an application message: a packet that completes none does not have it.
    Message(Call),
}

/// Offset of the header, and everything known of the packet.
pub type Call = for<'a> fn(&View<'a>, usize) -> Option<Value<'a>>;

impl Extract {
    /// The value, if the packet has it.
    #[inline]
    pub fn read<'a>(self, view: &View<'a>, header: usize) -> Option<Value<'a>> {
        match self {
            Self::Field(field) => field.read(view, header),
            Self::Call(call) | Self::Message(call) => call(view, header),
        }
    }
}

impl Attribute {
    /// An attribute of packet scope that is worked out.
    pub const fn packet(id: u16, name: &'static str, kind: Type, call: Call) -> Self {
        Self::new(id, name, kind, Extract::Call(call))
    }

    /// An attribute of packet scope that is worked out of a message, [`View::message`].
    pub const fn message(id: u16, name: &'static str, kind: Type, call: Call) -> Self {
        Self::new(id, name, kind, Extract::Message(call))
    }

    /// An attribute of packet scope at a fixed place of its header.
    pub const fn field(id: u16, name: &'static str, kind: Type, field: Field) -> Self {
        Self::new(id, name, kind, Extract::Field(field))
    }

    const fn new(id: u16, name: &'static str, kind: Type, extract: Extract) -> Self {
        Self {
            id,
            name,
            kind,
            scope: Scope::Packet,
            extract,
        }
    }

    /// The same attribute with another scope.
    #[must_use]
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }
}

/// A message of an application protocol that became complete with a packet.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Whose message it is.
    pub protocol: Protocol,
    /// What kind, in the protocol's own numbering.
    pub kind: u8,
    /// Its bytes (for HTTP/1: start line and header lines), from the packet or from reassembly.
    pub bytes: &'a [u8],
}

/// Running totals of one protocol on this worker (MMT: per protocol, over all paths).
#[derive(Debug, Default, Clone, Copy)]
pub struct Totals {
    /// Packets that have the protocol.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Their bytes behind this protocol's header.
    pub payload_bytes: u64,
    /// First of them, microseconds since the epoch.
    pub first_us: u64,
    /// Latest of them, microseconds since the epoch.
    pub last_us: u64,
    /// Fragments (ip and ipv6 only).
    pub fragments: u64,
    /// Bytes in fragments (ip and ipv6 only).
    pub fragment_bytes: u64,
    /// Packets with the don't-fragment flag (ip only).
    pub df_packets: u64,
    /// Their bytes (ip only).
    pub df_bytes: u64,
    /// Flows created (ip and ipv6 only).
    pub sessions: u64,
    /// Flows alive (ip and ipv6 only).
    pub active_sessions: u64,
    /// Flows timed out (ip and ipv6 only).
    pub timed_out_sessions: u64,
}

/// Everything an attribute may look at. No attribute reads a clock, a table of the worker, or a
/// file.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The frame; for the packet that completes a datagram, the frame with the whole datagram.
    pub frame: &'a Frame<'a>,
    /// What the earlier stages found.
    pub facts: &'a Facts,
    /// The application message this packet completes, if any.
    pub message: Option<Message<'a>>,
    /// Running totals, indexed by `Protocol as usize`; all zero unless asked for at start.
    pub totals: &'a [Cell<Totals>],
}

impl<'a> View<'a> {
    /// A cursor at `offset` of the frame, ended by the captured bytes.
    pub fn cursor(&self, offset: usize) -> Cursor<'a> {
        Cursor::at(self.frame.data, offset)
    }

    /// Totals of one protocol.
    pub fn totals_of(&self, protocol: Protocol) -> Totals {
        self.totals
            .get(protocol as usize)
            .map(Cell::get)
            .unwrap_or_default()
    }

    /// The value of an attribute of this packet: that of the first header of its protocol.
    pub fn extract(&self, id: AttributeId) -> Option<Value<'a>> {
        self.read(id.reader()?)
    }

    /// The bytes from the first header of a protocol on.
    #[inline]
    pub fn header_of(&self, protocol: Protocol) -> Option<&'a [u8]> {
        let mut layers = self.facts.layers().iter();
        let layer = layers.find(|layer| layer.protocol == protocol)?;
        self.frame.data.get(usize::from(layer.offset)..)
    }

    /// The same, with the registry already consulted.
    pub fn read(&self, reader: Reader) -> Option<Value<'a>> {
        let extract = match reader.how {
            How::Own(extract) => extract,
            How::Generic(number) => {
                return super::meta::extract_generic(self, reader.protocol, number);
            }
        };
        let offset = match reader.protocol {
            Protocol::Meta => 0,
            protocol => self.facts.offset_of(protocol)?,
        };
        extract.read(self, offset)
    }
}

/// How an attribute is extracted.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    protocol: Protocol,
    how: How,
}

impl Reader {
    /// Protocol and place, if the attribute stands at a fixed one.
    pub fn field(self) -> Option<(Protocol, Field)> {
        match self.how {
            How::Own(Extract::Field(field)) => Some((self.protocol, field)),
            _ => None,
        }
    }

    /// What works the attribute out, if that needs no header.
    pub fn of_frame(self) -> Option<Call> {
        match self.how {
            How::Own(Extract::Call(call)) if self.protocol == Protocol::Meta => Some(call),
            _ => None,
        }
    }

    /// Does only a message have the attribute?
    pub fn is_of_message(self) -> bool {
        matches!(self.how, How::Own(Extract::Message(_)))
    }
}

#[derive(Debug, Clone, Copy)]
enum How {
    Own(Extract),
    Generic(u16),
}

/// Which attribute: a protocol and a place in its table, or in [`super::meta::GENERIC`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeId {
    /// Whose attribute.
    pub protocol: Protocol,
    index: u8,
}

/// Table places from here on are generic attributes.
const GENERIC_BASE: u8 = 240;

impl AttributeId {
    /// What tells flows apart whose packets a rule takes for those of one: see
    /// [`crate::flow::steering::tunnelled`]. It has no name, and nothing shows it.
    pub const INNER_FLOW: Self = Self {
        protocol: Protocol::Meta,
        index: u8::MAX,
    };

    /// Is it one that nothing shows?
    pub fn is_hidden(self) -> bool {
        self == Self::INNER_FLOW
    }

    /// By names, as in `tcp.flags`. Case-sensitive as in MMT.
    pub fn from_names(protocol: &str, attribute: &str) -> Option<Self> {
        Self::find(Protocol::from_name(protocol)?, attribute)
    }

    /// By protocol and attribute name; own attributes hide generic ones.
    pub fn find(protocol: Protocol, name: &str) -> Option<Self> {
        let own = protocol
            .definition()
            .attributes
            .iter()
            .position(|a| a.name == name);
        let index = match own {
            Some(place) => u8::try_from(place).ok()?,
            None => {
                let place = super::meta::GENERIC.iter().position(|a| a.name == name)?;
                u8::try_from(place).ok()?.checked_add(GENERIC_BASE)?
            }
        };
        Some(Self { protocol, index })
    }

    /// Every attribute of `protocol`: its own, then the generic ones.
    pub fn all_of(protocol: Protocol) -> impl Iterator<Item = Self> {
        let own = protocol.definition().attributes.len();
        let own = (0..GENERIC_BASE).take(own);
        let generic = (GENERIC_BASE..=u8::MAX).take(super::meta::GENERIC.len());
        own.chain(generic)
            .map(move |index| Self { protocol, index })
    }

    /// Its registry entry.
    pub fn attribute(self) -> Option<&'static Attribute> {
        if self.is_hidden() {
            return Some(&super::meta::INNER_FLOW);
        }
        match self.index.checked_sub(GENERIC_BASE) {
            None => self
                .protocol
                .definition()
                .attributes
                .get(usize::from(self.index)),
            Some(place) => super::meta::GENERIC.get(usize::from(place)),
        }
    }

    /// How it is extracted.
    pub fn reader(self) -> Option<Reader> {
        let attribute = self.attribute()?;
        let how = match self.is_generic() {
            true => How::Generic(attribute.id),
            false => How::Own(attribute.extract),
        };
        let protocol = self.protocol;
        Some(Reader { protocol, how })
    }

    /// Is it one of those that every protocol has (`packet_count`, `p_payload`, ...)?
    pub fn is_generic(self) -> bool {
        self.index >= GENERIC_BASE && !self.is_hidden()
    }

    /// Its type.
    pub fn kind(self) -> Type {
        self.attribute()
            .map_or(Type::Pointer, |attribute| attribute.kind)
    }

    /// (protocol number, attribute number): the order of alert histories.
    pub fn sort_key(self) -> (u16, u16) {
        (
            self.protocol.id(),
            self.attribute().map_or(0, |attribute| attribute.id),
        )
    }
}

impl std::fmt::Display for AttributeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.attribute().map_or("?", |attribute| attribute.name);
        write!(f, "{}.{name}", self.protocol.name())
    }
}

/// A value at a fixed place of its header.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// A number: `mask` of the big-endian word of `size` bytes (1, 2 or 4), shifted right.
    Bits {
        /// Of the word, in the header.
        offset: u8,
        /// Of the word, in bytes.
        size: u8,
        /// Its bits below the number.
        shift: u8,
        /// The bits of the number, after the shift.
        mask: u32,
    },
    /// Bytes: an address.
    Bytes {
        /// In the header.
        offset: u8,
        /// How many.
        length: u8,
    },
}

impl Field {
    /// The value in the header at `header`, if it was captured whole.
    pub fn read<'a>(self, view: &View<'a>, header: usize) -> Option<Value<'a>> {
        self.read_from(view.frame.data.get(header..)?)
    }

    /// The value in a header that starts these bytes.
    #[inline]
    pub fn read_from(self, header: &[u8]) -> Option<Value<'_>> {
        match self {
            Self::Bits {
                offset,
                size,
                shift,
                mask,
            } => {
                let at = usize::from(offset);
                let word = match header.get(at..at + 4).and_then(|b| b.first_chunk()) {
                    // One way for all sizes, but at the very end of a frame.
                    Some(bytes) => u32::from_be_bytes(*bytes).wrapping_shr(unread(size)),
                    None => last_word(header.get(at..)?, size)?,
                };
                Some(Value::Number(u64::from(word >> shift & mask)))
            }
            Self::Bytes { offset, length } => {
                let rest = header.get(usize::from(offset)..)?;
                rest.get(..usize::from(length)).map(Value::Bytes)
            }
        }
    }
}

/// Bits behind a number of `size` bytes, 1 to 4, in a word of four.
#[inline]
const fn unread(size: u8) -> u32 {
    8_u32.wrapping_mul(4_u32.wrapping_sub(size as u32))
}

/// A number of `size` bytes that so few others follow that four cannot be read.
#[cold]
fn last_word(rest: &[u8], size: u8) -> Option<u32> {
    let bytes = rest.get(..usize::from(size))?;
    Some(
        bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u32::from(*byte)),
    )
}

const fn word_at(offset: u8, size: u8) -> Field {
    Field::Bits {
        offset,
        size,
        shift: 0,
        mask: u32::MAX,
    }
}

/// 8-bit number at a fixed place of its header.
pub const fn u8_at(offset: u8) -> Field {
    word_at(offset, 1)
}

/// Big-endian 16-bit number at a fixed place of its header.
pub const fn u16_at(offset: u8) -> Field {
    word_at(offset, 2)
}

/// Big-endian 32-bit number at a fixed place of its header.
pub const fn u32_at(offset: u8) -> Field {
    word_at(offset, 4)
}

/// `length` bytes at a fixed place of their header (an address).
pub const fn bytes_at(offset: u8, length: u8) -> Field {
    Field::Bytes { offset, length }
}

/// One bit of the byte at a fixed place of its header, 0 or 1; `shift` is 0 for its last one on the
/// wire.
pub const fn bit_at(offset: u8, shift: u8) -> Field {
    assert!(shift < 8, "a bit of a byte");
    Field::Bits {
        offset,
        size: 1,
        shift,
        mask: 1,
    }
}

/// `width` bits, up to 32, of the big-endian 32-bit word at `offset` of its header; the lowest of
/// them is bit `shift` of the word, where bit 0 is the last one on the wire.
pub const fn bits_at(offset: u8, shift: u8, width: u32) -> Field {
    Field::Bits {
        offset,
        size: 4,
        shift,
        mask: u32::MAX.unbounded_shr(u32::BITS.saturating_sub(width)),
    }
}

/// For attributes that the registry lists but that no packet has here.
pub fn absent<'a>(_: &View<'a>, _: usize) -> Option<Value<'a>> {
    None
}
