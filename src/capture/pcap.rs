//! The pcap file format (draft-ietf-opsawg-pcap): a header, then records of one link type.
//!
//! ```text
//! file    magic 4 | major 2 | minor 2 | reserved 8 | snapshot length 4 | link type 4
//! record  seconds 4 | micro- or nanoseconds 4 | captured length 4 | wire length 4 | bytes
//! ```

use super::damage::Reason;
use super::record::{Order, Records, Step, timestamp};
use crate::limits::FRAME_LENGTH_MAX;
use crate::packet::{Frame, LinkType};

/// Length of the file header.
pub(super) const FILE_HEADER_LENGTH: usize = 24;
/// Length of a record header.
pub(super) const RECORD_HEADER_LENGTH: usize = 16;
/// Times in microseconds.
pub(super) const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
/// Times in nanoseconds.
pub(super) const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// Some Linux systems of the nineties: 8 more bytes in a record header (interface, protocol, packet
/// type), which nothing here asks for.
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;
const MODIFIED_HEADER_LENGTH: usize = 24;

/// What a file whose link type field holds a number beyond those of the registry gets: one that is
/// in no use, so that its frames are counted as of an unknown type.
const LINK_UNASSIGNED: LinkType = LinkType(u16::MAX);

/// How the first four bytes of a file say to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    order: Order,
    fraction_nanos: u64,
    header_length: usize,
}

impl Layout {
    /// `None` when the file is not in this format.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (fraction_nanos, header_length) = match order.u32_at(&magic, 0)? {
                MAGIC_MICROS => (1_000, RECORD_HEADER_LENGTH),
                MAGIC_NANOS => (1, RECORD_HEADER_LENGTH),
                MAGIC_MODIFIED => (1_000, MODIFIED_HEADER_LENGTH),
                _ => return None,
            };
            Some(Self {
                order,
                fraction_nanos,
                header_length,
            })
        })
    }
}

/// Which of its two length fields a record has first: writers of version 2.2 and before had them
/// the other way round, and those of 2.3 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    CapturedFirst,
    WireFirst,
    SmallerIsCaptured,
}

/// Reader of one pcap file, behind its header.
#[derive(Debug)]
pub(super) struct Reader {
    layout: Layout,
    link: LinkType,
    lengths: Lengths,
}

impl Reader {
    /// From the file header; the version is the error when its layout is not known.
    pub(super) fn new(
        layout: Layout,
        header: &[u8; FILE_HEADER_LENGTH],
    ) -> Result<Self, (u16, u16)> {
        let order = layout.order;
        let major = order.u16_at(header, 4).unwrap_or(0);
        let minor = order.u16_at(header, 6).unwrap_or(0);
        if major != 2 {
            return Err((major, minor));
        }
        Ok(Self {
            layout,
            link: link_type(order.u32_at(header, 20).unwrap_or(u32::MAX)),
            lengths: match minor {
                0..=2 => Lengths::WireFirst,
                3 => Lengths::SmallerIsCaptured,
                _ => Lengths::CapturedFirst,
            },
        })
    }

    /// Captured length and wire length, from the two fields in file order.
    fn lengths(&self, first: u32, second: u32) -> (u32, u32) {
        match self.lengths {
            Lengths::CapturedFirst => (first, second),
            Lengths::WireFirst => (second, first),
            Lengths::SmallerIsCaptured => (first.min(second), first.max(second)),
        }
    }
}

/// The upper six bits tell of a frame check sequence behind each frame, whose bytes no length field
/// of a packet covers, so that they pass for padding; the ten below them are reserved.
fn link_type(field: u32) -> LinkType {
    u16::try_from(field & 0x03ff_ffff).map_or(LINK_UNASSIGNED, LinkType)
}

impl Records for Reader {
    #[inline(always)] // A call per record, and its result through memory, double the cost.
    fn step<'a>(&mut self, window: &'a [u8]) -> Step<'a> {
        let Layout {
            order,
            fraction_nanos,
            header_length,
        } = self.layout;
        let Some([seconds, fraction, first, second]) = order.words(window) else {
            return Step::More {
                length: header_length,
                what: "record header",
            };
        };
        let (captured, wire_length) = self.lengths(first, second);
        let length = match usize::try_from(captured) {
            Ok(length) if length <= FRAME_LENGTH_MAX => header_length + length,
            _ => {
                return Step::Damage(Reason::TooLong {
                    what: "record",
                    length: captured.into(),
                    limit: FRAME_LENGTH_MAX,
                });
            }
        };
        let Some(data) = window.get(header_length..length) else {
            return Step::More {
                length,
                what: "record",
            };
        };
        let nanos = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * fraction_nanos;
        Step::Frame {
            frame: Frame {
                data,
                wire_length: wire_length.max(captured),
                timestamp: timestamp(nanos),
                link: self.link,
                port: 0,
                queue: 0,
                ..Frame::EMPTY
            },
            length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::{Read, read};
    use super::*;

    /// Two records of 3 and 1 bytes; the fields of the headers in either order.
    fn file(magic: u32, order: Order, link: u32) -> Vec<u8> {
        let words = |words: &[u32]| -> Vec<u8> {
            let bytes = words.iter().map(|word| match order {
                Order::Little => word.to_le_bytes(),
                Order::Big => word.to_be_bytes(),
            });
            bytes.flatten().collect()
        };
        let version = match order {
            Order::Little => 0x0004_0002,
            Order::Big => 0x0002_0004,
        };
        let mut bytes = words(&[magic, version, 0, 0, 65_535, link]);
        let extra: &[u32] = if magic == MAGIC_MODIFIED {
            &[5, 6]
        } else {
            &[]
        };
        bytes.extend(words(&[1, 2, 3, 60]));
        bytes.extend(words(extra));
        bytes.extend([0xa, 0xb, 0xc]);
        bytes.extend(words(&[4_294_967_295, 999_999, 1, 1]));
        bytes.extend(words(extra));
        bytes.push(0xd);
        bytes
    }

    #[test]
    fn reads_a_literal_file() {
        #[rustfmt::skip]
        let bytes = [
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0,
            1, 0, 0, 0,
            0x01, 0x02, 0, 0, 0x03, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0xee, 0xff,
        ];
        let Read { frames, damage } = read(&bytes);
        assert_eq!(damage, None);
        let [frame] = &frames[..] else {
            panic!("{frames:?}");
        };
        assert_eq!(frame.data, [0xee, 0xff]);
        assert_eq!(frame.wire_length, 9);
        assert_eq!(frame.nanos, 513_000_003_000);
        assert_eq!(frame.link, LinkType::ETHERNET);
        assert_eq!(frame.port, 0);
    }

    #[test]
    fn reads_every_magic_in_both_orders() {
        for order in [Order::Little, Order::Big] {
            for (magic, scale) in [
                (MAGIC_MICROS, 1_000),
                (MAGIC_NANOS, 1),
                (MAGIC_MODIFIED, 1_000),
            ] {
                let Read { frames, damage } = read(&file(magic, order, 101));
                assert_eq!(damage, None, "{magic:x} {order:?}");
                assert_eq!(frames.len(), 2);
                assert_eq!(frames[0].data, [0xa, 0xb, 0xc]);
                assert_eq!(frames[0].wire_length, 60);
                assert_eq!(frames[0].nanos, 1_000_000_000 + 2 * scale);
                assert_eq!(frames[0].link, LinkType::RAW);
                assert_eq!(frames[1].data, [0xd]);
                let nanos = 4_294_967_295_000_000_000 + 999_999 * scale;
                assert_eq!(frames[1].nanos, nanos);
            }
        }
    }

    #[test]
    fn masks_what_the_link_type_field_says_about_checksums() {
        for (field, link) in [
            (0x3400_0001, 1),
            (0xfc00_0114, 276),
            (0x0000_fffe, 0xfffe),
            (0x0224_0002, u16::MAX),
        ] {
            assert_eq!(link_type(field), LinkType(link), "{field:x}");
        }
    }

    #[test]
    fn a_wire_length_below_the_captured_one_is_raised() {
        let mut bytes = file(MAGIC_MICROS, Order::Little, 1);
        bytes[36] = 0;
        assert_eq!(read(&bytes).frames[0].wire_length, 3);
    }

    #[test]
    fn old_versions_have_the_lengths_the_other_way_round() {
        let mut bytes = file(MAGIC_MICROS, Order::Little, 1);
        bytes[32..40].copy_from_slice(&[60, 0, 0, 0, 3, 0, 0, 0]);
        for minor in [2, 3] {
            bytes[6] = minor;
            let frames = read(&bytes).frames;
            assert_eq!((frames[0].data.len(), frames[0].wire_length), (3, 60));
        }
    }

    #[test]
    fn a_record_longer_than_any_frame_is_damage() {
        let mut bytes = file(MAGIC_MICROS, Order::Little, 1);
        let second = 24 + 16 + 3;
        bytes[second + 8..second + 12].copy_from_slice(&262_145_u32.to_le_bytes());
        let Read { frames, damage } = read(&bytes);
        assert_eq!(frames.len(), 1);
        assert_eq!(
            damage.as_deref(),
            Some(
                "damaged at byte 43: a record claims 262145 bytes, expected at most 262144; \
                 nothing after it is read"
            )
        );
    }

    #[test]
    fn the_longest_frame_is_read() {
        let mut bytes = file(MAGIC_MICROS, Order::Little, 1);
        bytes.truncate(43 + 16);
        bytes[43 + 8..43 + 12].copy_from_slice(&262_144_u32.to_le_bytes());
        bytes.resize(43 + 16 + 262_144, 7);
        let Read { frames, damage } = read(&bytes);
        assert_eq!(damage, None);
        assert_eq!(frames[1].data.len(), FRAME_LENGTH_MAX);
    }
}
