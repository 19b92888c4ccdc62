//! Every feature of the format, in both byte orders.

use super::super::file::tests::{Owned, Read, read};
use super::*;

/// Puts blocks together.
struct Blocks {
    order: Order,
    bytes: Vec<u8>,
}

impl Blocks {
    fn new(order: Order) -> Self {
        let mut blocks = Self {
            order,
            bytes: Vec::new(),
        };
        blocks.section(order);
        blocks
    }

    fn word(&self, word: u32) -> [u8; 4] {
        match self.order {
            Order::Little => word.to_le_bytes(),
            Order::Big => word.to_be_bytes(),
        }
    }

    fn half(&self, half: u16) -> [u8; 2] {
        match self.order {
            Order::Little => half.to_le_bytes(),
            Order::Big => half.to_be_bytes(),
        }
    }

    fn words(&self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| self.word(*word)).collect()
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let padded = body.len().next_multiple_of(4);
        let length = self.word(u32::try_from(padded).unwrap() + 12);
        self.bytes.extend(self.word(kind));
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(length);
        self
    }

    /// A section of unknown length, with an option.
    fn section(&mut self, order: Order) -> &mut Self {
        self.order = order;
        let mut body = self.word(ORDER_MAGIC).to_vec();
        body.extend([self.half(1), self.half(0)].concat());
        body.extend([0xff; 8]);
        body.extend([self.half(4), self.half(3)].concat());
        body.extend(b"me\0\0\0\0\0\0");
        self.block(SECTION, &body)
    }

    fn interface(&mut self, link: u16, limit: u32, options: &[(u16, &[u8])]) -> &mut Self {
        let mut body = [self.half(link), [0; 2]].concat();
        body.extend(self.word(limit));
        for (code, value) in options {
            let length = u16::try_from(value.len()).unwrap();
            body.extend([self.half(*code), self.half(length)].concat());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(INTERFACE, &body)
    }

    fn enhanced(&mut self, interface: u32, ticks: u64, data: &[u8]) -> &mut Self {
        let length = u32::try_from(data.len()).unwrap();
        let [high, low] = halves(ticks);
        let mut body = self.words(&[interface, high, low, length, 1_500]);
        body.extend(data);
        self.block(PACKET_ENHANCED, &body)
    }

    fn simple(&mut self, wire_length: u32, data: &[u8]) -> &mut Self {
        let body = [&self.word(wire_length), data].concat();
        self.block(PACKET_SIMPLE, &body)
    }
}

fn halves(ticks: u64) -> [u32; 2] {
    [ticks >> 32, ticks & 0xffff_ffff].map(|half| u32::try_from(half).unwrap())
}

const ORDERS: [Order; 2] = [Order::Little, Order::Big];

/// The frames of a sound file.
fn frames(blocks: &Blocks) -> Vec<Owned> {
    let Read { frames, damage } = read(&blocks.bytes);
    assert_eq!(damage, None);
    frames
}

/// The damage behind `whole` frames, without what every text of one ends with.
fn damage(bytes: &[u8], whole: usize) -> String {
    let Read { frames, damage } = read(bytes);
    assert_eq!(frames.len(), whole);
    let damage = damage.unwrap();
    damage
        .strip_suffix("; nothing after it is read")
        .unwrap()
        .to_owned()
}

#[test]
fn reads_a_literal_file() {
    #[rustfmt::skip]
    let bytes = [
        0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0,
        1, 0, 0, 0, 20, 0, 0, 0, 101, 0, 0, 0, 0, 0, 4, 0, 20, 0, 0, 0,
        6, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x42, 0x0f, 0,
        2, 0, 0, 0, 60, 0, 0, 0, 0xaa, 0xbb, 0, 0, 36, 0, 0, 0,
    ];
    let expected = Owned {
        data: vec![0xaa, 0xbb],
        wire_length: 60,
        nanos: 1_000_000_000,
        link: LinkType::RAW,
        port: 0,
    };
    let Read { frames, damage } = read(&bytes);
    assert_eq!((frames, damage), (vec![expected], None));
}

#[test]
fn each_interface_has_its_own_link_type_and_clock() {
    let clocks: [(&[u8], u64, u64); 10] = [
        (&[6], 1_500_000, 1_500_000_000),
        (&[9], 1_500_000, 1_500_000),
        (&[0], 7, 7_000_000_000),
        (&[3], 1_500, 1_500_000_000),
        (&[12], 1_500_999, 1_500),
        (&[127], u64::MAX, 0),
        (&[0x80], 7, 7_000_000_000),
        (&[0x80 | 10], 1_536, 1_500_000_000),
        (&[0x80 | 32], 0x1_8000_0000, 1_500_000_000),
        (&[0xff], u64::MAX, 0),
    ];
    for order in ORDERS {
        let mut blocks = Blocks::new(order);
        for (link, (resolution, ..)) in (100..).zip(clocks) {
            let options: [(u16, &[u8]); 3] = [(2, b"eth0"), (9, resolution), (0, b"")];
            blocks.interface(link, 0, &options);
        }
        for (index, (_, ticks, _)) in (0..).zip(clocks) {
            blocks.enhanced(index, ticks, b"x");
        }
        let frames = frames(&blocks);
        assert_eq!(frames.len(), clocks.len());
        for ((index, frame), (resolution, _, nanos)) in (0..).zip(frames).zip(clocks) {
            assert_eq!(frame.nanos, nanos, "{resolution:?}");
            assert_eq!(frame.link, LinkType(100 + index));
            assert_eq!(frame.port, index);
        }
    }
}

#[test]
fn times_are_shifted_and_stay_in_range() {
    for order in ORDERS {
        let mut blocks = Blocks::new(order);
        for seconds in [5_i64, -1, i64::MAX, i64::MIN] {
            let value = match order {
                Order::Little => seconds.to_le_bytes(),
                Order::Big => seconds.to_be_bytes(),
            };
            blocks.interface(1, 0, &[(14, &value)]);
        }
        for index in 0..4 {
            blocks.enhanced(index, 2_000_000, b"x");
        }
        blocks.enhanced(0, u64::MAX, b"x");
        let times: Vec<u64> = frames(&blocks).iter().map(|frame| frame.nanos).collect();
        let far = 2_000_000_000 + u64::try_from(i64::MAX).unwrap();
        assert_eq!(
            times,
            [7_000_000_000, 1_000_000_000, far, 0, u64::MAX - 1],
            "the last one is kept for the end of time"
        );
    }
}

#[test]
fn simple_and_obsolete_packets_are_read() {
    for order in ORDERS {
        let mut blocks = Blocks::new(order);
        blocks.interface(1, 4, &[]).interface(101, 0, &[]);
        blocks.simple(3, b"abc").enhanced(1, 8, b"wxyz!");
        blocks.simple(9, b"abcd");
        let mut body = [blocks.half(1), blocks.half(77)].concat();
        body.extend(blocks.words(&[0, 9, 2, 1]));
        body.extend(b"hi\0\0");
        body.extend([blocks.half(2), blocks.half(4)].concat());
        body.extend([0; 4]);
        blocks.block(PACKET_OBSOLETE, &body);
        let frames = frames(&blocks);
        let seen: Vec<_> = frames
            .iter()
            .map(|frame| (&frame.data[..], frame.wire_length, frame.nanos, frame.port))
            .collect();
        let expected: [(&[u8], u32, u64, u16); 4] = [
            (b"abc", 3, 0, 0),
            (b"wxyz!", 1_500, 8_000, 1),
            (b"abcd", 9, 8_000, 0),
            (b"hi", 2, 9_000, 1),
        ];
        assert_eq!(seen, expected);
    }
}

#[test]
fn unknown_blocks_of_any_length_are_skipped() {
    for order in ORDERS {
        let mut blocks = Blocks::new(order);
        blocks.interface(1, 0, &[]);
        for length in [0, 1, 100, CAPTURE_BUFFER_LENGTH - 12, 3 << 20] {
            blocks.block(0x0bad_cafe, &vec![6; length]);
            blocks.enhanced(0, 1, b"x");
        }
        assert_eq!(frames(&blocks).len(), 5);
    }
}

#[test]
fn a_section_forgets_the_one_before_and_has_its_own_order() {
    let mut blocks = Blocks::new(Order::Little);
    blocks.interface(1, 0, &[]).interface(101, 0, &[]);
    blocks.enhanced(1, 1, b"one");
    blocks.section(Order::Big).interface(113, 0, &[(9, &[9])]);
    blocks.enhanced(0, 2, b"two");
    let seen = frames(&blocks);
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].link, seen[0].port), (LinkType::RAW, 1));
    assert_eq!((seen[1].link, seen[1].port), (LinkType::LINUX_SLL, 0));
    assert_eq!((seen[0].nanos, seen[1].nanos), (1_000, 2));

    let end = blocks.bytes.len();
    blocks.enhanced(1, 3, b"three");
    let expected =
        format!("damaged at byte {end}: a packet names interface 1, the section has described 1");
    assert_eq!(damage(&blocks.bytes, 2), expected);
}

#[test]
fn a_length_without_the_padding_is_accepted() {
    for order in ORDERS {
        let mut blocks = Blocks::new(order);
        blocks.interface(1, 0, &[]);
        let start = blocks.bytes.len();
        blocks.enhanced(0, 1, b"abcde").enhanced(0, 1, b"f");
        let length = blocks.word(12 + 20 + 5);
        blocks.bytes[start + 4..start + 8].copy_from_slice(&length);
        blocks.bytes[start + 36..start + 40].copy_from_slice(&length);
        assert_eq!(frames(&blocks).len(), 2);
    }
}

#[test]
fn a_file_cut_anywhere_gives_the_whole_packets_before() {
    for order in ORDERS {
        let mut blocks = Blocks::new(order);
        let mut ends = vec![blocks.bytes.len()];
        let mut packets = vec![];
        blocks.interface(1, 0, &[(9, &[9])]);
        ends.push(blocks.bytes.len());
        for size in 1..6 {
            blocks.enhanced(0, 1, &vec![1; size]);
            packets.push(blocks.bytes.len());
            blocks.simple(1, b"x");
            packets.push(blocks.bytes.len());
            blocks.block(0x99, b"unknown");
            ends.push(blocks.bytes.len());
        }
        ends.extend(&packets);
        for length in 4..=blocks.bytes.len() {
            let Read { frames, damage } = read(&blocks.bytes[..length]);
            let whole = packets.iter().filter(|end| **end <= length).count();
            assert_eq!(frames.len(), whole, "{length}");
            let start = ends.iter().filter(|end| **end <= length).max();
            let start = start.copied().unwrap_or(0);
            assert_eq!(damage.is_none(), start == length, "{length}");
            if let Some(damage) = damage {
                let found = length - start;
                assert!(damage.starts_with(&format!("damaged at byte {start}: ")));
                assert!(damage.contains(&format!("found {found};")), "{damage}");
            }
        }
    }
}

/// What is told of the blocks that `build` adds to a file with one packet.
fn told(order: Order, build: impl Fn(&mut Blocks)) -> String {
    let mut blocks = Blocks::new(order);
    blocks.interface(1, 0, &[]).enhanced(0, 1, b"x");
    let place = format!("damaged at byte {}: ", blocks.bytes.len());
    build(&mut blocks);
    let text = damage(&blocks.bytes, 1);
    text.strip_prefix(&place).unwrap_or(&text).to_owned()
}

#[test]
fn what_blocks_claim_is_checked() {
    for order in ORDERS {
        let second_version = match order {
            Order::Little => 2,
            Order::Big => 0x0002_0000,
        };
        let cases: [(&[u32], &str); 13] = [
            (
                &[6, 8, 8, 8],
                "a block claims 8 bytes, expected at least 12",
            ),
            (
                &[99, 16, 0, 12],
                "a block begins with length 16 and ends with length 12, expected the same",
            ),
            (
                &[6, 0xffff_ffff, 0, 0],
                "a block claims 4294967295 bytes, expected at most 1048576",
            ),
            (
                &[99, 0xffff_ffff, 0, 0],
                "the file ends inside a block: expected 4294967296 bytes, found 16",
            ),
            (
                &[6, 16, 0, 16],
                "a block claims 16 bytes, expected at least 32",
            ),
            (
                &[3, 12, 12],
                "a block claims 12 bytes, expected at least 16",
            ),
            (
                &[1, 12, 12],
                "a block claims 12 bytes, expected at least 20",
            ),
            (
                &[6, 32, 0, 0, 0, 5, 5, 32],
                "a packet claims 5 captured bytes, its block has room for 0",
            ),
            (
                &[6, 32, 0, 0, 0, 0xffff_ffff, 5, 32],
                "a packet claims 4294967295 bytes, expected at most 262144",
            ),
            (
                &[3, 16, 262_145, 16],
                "a packet claims 262145 bytes, expected at most 262144",
            ),
            (
                &[SECTION, 28, 0x0505_0505, 0, 0, 0, 28],
                "a section begins with 05 05 05 05, expected 1a 2b 3c 4d or 4d 3c 2b 1a",
            ),
            (
                &[SECTION, 28, ORDER_MAGIC, second_version, 0, 0, 28],
                "a section of version 2.0, expected 1.x",
            ),
            (
                &[SECTION, 24, ORDER_MAGIC, 0x0001_0001, 0, 24],
                "a block claims 24 bytes, expected at least 28",
            ),
        ];
        for (words, expected) in cases {
            let text = told(order, |blocks| blocks.bytes.extend(blocks.words(words)));
            assert_eq!(text, expected);
        }
    }
}

#[test]
fn what_options_claim_is_checked() {
    for order in ORDERS {
        let resolution = told(order, |blocks| {
            blocks.interface(1, 0, &[(9, &[6, 6])]);
        });
        let offset = told(order, |blocks| {
            blocks.interface(1, 0, &[(14, &[0; 7])]);
        });
        let name = told(order, |blocks| {
            let mut body = blocks.words(&[1, 0]);
            body.extend([blocks.half(3), blocks.half(0xffff)].concat());
            blocks.block(INTERFACE, &body);
        });
        for (text, code, length) in [(resolution, 9, 2), (offset, 14, 7), (name, 3, 65_535)] {
            assert_eq!(
                text,
                format!(
                    "option {code} of an interface claims {length} bytes, which it cannot have"
                )
            );
        }
    }
}

#[test]
fn interfaces_without_end_are_damage() {
    let mut blocks = Blocks::new(Order::Little);
    for _ in 0..=CAPTURE_INTERFACES_MAX {
        blocks.interface(1, 0, &[]);
    }
    let text = damage(&blocks.bytes, 0);
    assert!(
        text.ends_with("a section describes more than 65536 interfaces"),
        "{text}"
    );
}

#[test]
fn any_flipped_byte_is_survived() {
    for order in ORDERS {
        let mut blocks = Blocks::new(order);
        blocks.interface(1, 0, &[(9, &[9]), (14, &[0; 8])]);
        blocks
            .enhanced(0, 1, b"abc")
            .simple(3, b"abc")
            .block(5, b"");
        for place in 4..blocks.bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = blocks.bytes.clone();
                bytes[place] ^= flip;
                if !(8..12).contains(&place) {
                    read(&bytes);
                }
            }
        }
    }
}
