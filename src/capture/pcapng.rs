//! The pcapng file format (draft-ietf-opsawg-pcapng): blocks, in sections, from many interfaces.
//!
//! ```text
//! block      type 4 | total length 4 | body | total length 4
//! section    byte order 4 | major 2 | minor 2 | section length 8 | options
//! interface  link type 2 | reserved 2 | snapshot length 4 | options
//! enhanced   interface 4 | time 4 + 4 | captured length 4 | wire length 4 | bytes | options
//! obsolete   interface 2 | drops 2 | as enhanced from here on
//! simple     wire length 4 | bytes
//! ```

use super::damage::Reason;
use super::record::{Order, Records, Step, timestamp};
use crate::limits::{CAPTURE_BUFFER_LENGTH, CAPTURE_INTERFACES_MAX, FRAME_LENGTH_MAX};
use crate::packet::{Frame, LinkType, Timestamp};

/// Type of a section header block, the same in either byte order.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
/// Offset and value of the field that tells the byte order of a section.
pub(super) const ORDER_OFFSET: usize = 8;
const ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const SECTION_LENGTH_MIN: u32 = 28;

const INTERFACE: u32 = 1;
const PACKET_OBSOLETE: u32 = 2;
const PACKET_SIMPLE: u32 = 3;
const PACKET_ENHANCED: u32 = 6;

/// Type and total length before the body.
const HEAD_LENGTH: usize = 8;
/// The total length once more.
const TAIL_LENGTH: usize = 4;
const BLOCK_LENGTH_MIN: u32 = 12;

const OPTION_END: u16 = 0;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;

/// Byte order of the section that begins at the start of `block`; `None` when it is neither.
pub(super) fn order_of(block: &[u8]) -> Option<Order> {
    [Order::Little, Order::Big]
        .into_iter()
        .find(|order| order.u32_at(block, ORDER_OFFSET) == Some(ORDER_MAGIC))
}

/// How many ticks of an interface's clock make a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// A tick is so many nanoseconds.
    Nanos(u64),
    /// So many ticks make a nanosecond.
    PerNano(u64),
    /// A tick is a second, halved so many times.
    Halvings(u32),
}

impl Scale {
    const MICROS: Self = Self::Nanos(1_000);

    /// From the value of an if_tsresol option: a power of 10, or of 2 when the upper bit is set.
    fn from_option(value: u8) -> Self {
        let exponent = u32::from(value & 0x7f);
        if value & 0x80 != 0 {
            Self::Halvings(exponent)
        } else if exponent <= 9 {
            Self::Nanos(10_u64.pow(9 - exponent))
        } else {
            // So fine a clock does not reach its first nanosecond in 64 bits.
            let never = Self::Halvings(127);
            10_u64
                .checked_pow(exponent - 9)
                .map_or(never, Self::PerNano)
        }
    }

    /// `ticks` in nanoseconds, rounded down.
    #[inline]
    fn nanos(self, ticks: u64) -> u64 {
        match self {
            Self::Nanos(nanos) => ticks.saturating_mul(nanos),
            Self::PerNano(divisor) => ticks.checked_div(divisor).unwrap_or(0),
            Self::Halvings(count) => {
                let nanos = u128::from(ticks) * 1_000_000_000;
                u64::try_from(nanos >> count).unwrap_or(u64::MAX)
            }
        }
    }
}

/// What an interface description says that matters to its packets.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: LinkType,
    /// The most that is captured of a frame; 0 for no limit.
    snapshot_length: u32,
    scale: Scale,
    /// Added to every time.
    offset_nanos: i64,
}

impl Interface {
    /// From the body of its block.
    fn parse(order: Order, body: &[u8]) -> Result<Self, Reason> {
        let short = || block_short(body, 8);
        let mut interface = Self {
            link: LinkType(order.u16_at(body, 0).ok_or_else(short)?),
            snapshot_length: order.u32_at(body, 4).ok_or_else(short)?,
            scale: Scale::MICROS,
            offset_nanos: 0,
        };
        let mut options = body.get(8..).unwrap_or(&[]);
        while let (Some(code), Some(length)) = (order.u16_at(options, 0), order.u16_at(options, 2))
        {
            let bad_length = Reason::OptionLength { code, length };
            let value = options.get(4..4 + usize::from(length)).ok_or(bad_length)?;
            match (code, value) {
                (OPTION_END, _) => break,
                (OPTION_RESOLUTION, &[resolution]) => {
                    interface.scale = Scale::from_option(resolution);
                }
                (OPTION_TIME_OFFSET, &[_, _, _, _, _, _, _, _]) => {
                    let seconds = order.u64_at(value, 0).ok_or(bad_length)?;
                    interface.offset_nanos = seconds.cast_signed().saturating_mul(1_000_000_000);
                }
                (OPTION_RESOLUTION | OPTION_TIME_OFFSET, _) => return Err(bad_length),
                _ => {}
            }
            // Values are padded to a multiple of four; the last one may lack its padding.
            let next = 4 + usize::from(length).next_multiple_of(4);
            options = options.get(next..).unwrap_or(&[]);
        }
        Ok(interface)
    }

    #[inline]
    fn timestamp(&self, high: u32, low: u32) -> Timestamp {
        let ticks = (u64::from(high) << 32) | u64::from(low);
        let nanos = self.scale.nanos(ticks);
        timestamp(nanos.saturating_add_signed(self.offset_nanos))
    }
}

/// Reader of the blocks of one file.
#[derive(Debug)]
pub(super) struct Reader {
    order: Order,
    /// Interfaces of the section, in the order of their descriptions.
    interfaces: Vec<Interface>,
    /// Time of the latest packet that had one.
    latest: Timestamp,
}

impl Reader {
    /// At the start of a file.
    pub(super) const fn new() -> Self {
        Self {
            order: Order::Little,
            interfaces: Vec::new(),
            latest: Timestamp::from_nanos(0),
        }
    }

    /// A section begins: forget the one before.
    fn begin_section<'a>(&mut self, window: &'a [u8]) -> Step<'a> {
        let Some(found) = window.get(ORDER_OFFSET..).and_then(<[u8]>::first_chunk) else {
            return more(SECTION_LENGTH_MIN);
        };
        let Some(order) = order_of(window) else {
            return Step::Damage(Reason::ByteOrder { found: *found });
        };
        let (Some(length), Some(major), Some(minor)) = (
            order.u32_at(window, 4),
            order.u16_at(window, 12),
            order.u16_at(window, 14),
        ) else {
            return more(SECTION_LENGTH_MIN);
        };
        if major != 1 {
            return Step::Damage(Reason::Version { major, minor });
        }
        match whole(order, window, length, SECTION_LENGTH_MIN) {
            Block::Whole { .. } | Block::Long => {
                self.order = order;
                self.interfaces.clear();
                skip(length)
            }
            Block::Step(step) => step,
        }
    }

    fn describe_interface(&mut self, body: &[u8]) -> Result<(), Reason> {
        if self.interfaces.len() >= CAPTURE_INTERFACES_MAX {
            return Err(Reason::Interfaces {
                limit: CAPTURE_INTERFACES_MAX,
            });
        }
        self.interfaces.push(Interface::parse(self.order, body)?);
        Ok(())
    }

    #[inline]
    fn interface(&self, index: u32) -> Result<&Interface, Reason> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.interfaces.get(index))
            .ok_or(Reason::Interface {
                index,
                described: self.interfaces.len(),
            })
    }

    /// The frame of an enhanced or obsolete packet block, which differ in the first four bytes.
    #[inline]
    fn packet<'a>(&mut self, body: &'a [u8], obsolete: bool) -> Result<Frame<'a>, Reason> {
        let order = self.order;
        let short = || block_short(body, 20);
        let [index, high, low, captured, wire_length] = order.words(body).ok_or_else(short)?;
        let index = if obsolete {
            order.u16_at(body, 0).map_or(index, u32::from)
        } else {
            index
        };
        let interface = self.interface(index)?;
        let data = captured_bytes(body.get(20..).unwrap_or(&[]), captured)?;
        let link = interface.link;
        self.latest = interface.timestamp(high, low);
        Ok(Frame {
            data,
            wire_length: wire_length.max(captured),
            timestamp: self.latest,
            link,
            port: u16::try_from(index).unwrap_or(u16::MAX),
            queue: 0,
            ..Frame::EMPTY
        })
    }

    /// The frame of a simple packet block. It has neither a time, so that it gets the one of the
    /// packet before it and time never jumps, nor a captured length, which follows from the rest.
    fn simple_packet<'a>(&self, body: &'a [u8]) -> Result<Frame<'a>, Reason> {
        let short = || block_short(body, 4);
        let wire_length = self.order.u32_at(body, 0).ok_or_else(short)?;
        let interface = self.interface(0)?;
        let captured = match interface.snapshot_length {
            0 => wire_length,
            limit => wire_length.min(limit),
        };
        Ok(Frame {
            data: captured_bytes(body.get(4..).unwrap_or(&[]), captured)?,
            wire_length,
            timestamp: self.latest,
            link: interface.link,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        })
    }
}

impl Records for Reader {
    #[inline(always)] // As for the other format.
    fn step<'a>(&mut self, window: &'a [u8]) -> Step<'a> {
        let Some([kind, length]) = self.order.words(window) else {
            return more(BLOCK_LENGTH_MIN);
        };
        if kind == SECTION {
            return self.begin_section(window);
        }
        let is_packet = matches!(kind, PACKET_ENHANCED | PACKET_SIMPLE | PACKET_OBSOLETE);
        let body = match whole(self.order, window, length, BLOCK_LENGTH_MIN) {
            Block::Whole { body } => body,
            Block::Long if is_packet || kind == INTERFACE => {
                return Step::Damage(Reason::TooLong {
                    what: "block",
                    length: length.into(),
                    limit: CAPTURE_BUFFER_LENGTH,
                });
            }
            Block::Long => return skip(length),
            Block::Step(step) => return step,
        };
        let frame = match kind {
            PACKET_ENHANCED => self.packet(body, false),
            PACKET_OBSOLETE => self.packet(body, true),
            PACKET_SIMPLE => self.simple_packet(body),
            INTERFACE => match self.describe_interface(body) {
                Ok(()) => return skip(length),
                Err(reason) => Err(reason),
            },
            _ => return skip(length),
        };
        match (frame, padded(length)) {
            (Ok(frame), length) => Step::Frame { frame, length },
            (Err(reason), _) => Step::Damage(reason),
        }
    }
}

/// What there is of a block.
enum Block<'a> {
    /// All of it.
    Whole { body: &'a [u8] },
    /// It will never be in the window as a whole.
    Long,
    /// Not enough, or nothing sound.
    Step(Step<'a>),
}

/// Check a block of `length` bytes at the start of `window`.
#[inline]
fn whole(order: Order, window: &[u8], length: u32, least: u32) -> Block<'_> {
    if length < least {
        return Block::Step(Step::Damage(Reason::BlockShort { length, least }));
    }
    let end = padded(length);
    if end > CAPTURE_BUFFER_LENGTH {
        return Block::Long;
    }
    let Some(block) = window.get(..end) else {
        return Block::Step(more(length));
    };
    let (body, tail) = block.split_at(end - TAIL_LENGTH);
    match order.u32_at(tail, 0) {
        Some(last) if last == length => Block::Whole {
            body: body.get(HEAD_LENGTH..).unwrap_or(&[]),
        },
        last => Block::Step(Step::Damage(Reason::BlockEnds {
            first: length,
            last: last.unwrap_or(0),
        })),
    }
}

/// The block of `body` has not even the `fixed` bytes that its type begins with.
#[cold]
fn block_short(body: &[u8], fixed: u32) -> Reason {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    Reason::BlockShort {
        length: length.saturating_add(BLOCK_LENGTH_MIN),
        least: BLOCK_LENGTH_MIN + fixed,
    }
}

/// Some writers do not count the padding of the body in the length of a block.
#[inline]
fn padded(length: u32) -> usize {
    usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_next_multiple_of(4))
        .unwrap_or(usize::MAX)
}

fn more<'a>(length: u32) -> Step<'a> {
    Step::More {
        length: padded(length),
        what: "block",
    }
}

fn skip<'a>(length: u32) -> Step<'a> {
    Step::Skip {
        length: u64::from(length).next_multiple_of(4),
        what: "block",
    }
}

/// The first `captured` bytes of what follows the fixed part of a packet block.
#[inline]
fn captured_bytes(rest: &[u8], captured: u32) -> Result<&[u8], Reason> {
    let length = usize::try_from(captured).unwrap_or(usize::MAX);
    if length > FRAME_LENGTH_MAX {
        return Err(Reason::TooLong {
            what: "packet",
            length: captured.into(),
            limit: FRAME_LENGTH_MAX,
        });
    }
    rest.get(..length).ok_or(Reason::CapturedLength {
        captured,
        room: rest.len(),
    })
}

#[cfg(test)]
mod tests;
