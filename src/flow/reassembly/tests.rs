use super::{Consumer, Origin, Reassembly, Segment};
use crate::limits::{BLOCK_BYTES, BLOCKS_PER_SIDE_MAX};
use crate::packet::Direction;

/// What a consumer saw of the originator.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    gaps: Vec<(usize, u32)>,
    ended: bool,
    copied: usize,
}

impl Consumer for Seen {
    fn data(&mut self, direction: Direction, bytes: &[u8], origin: Origin) {
        assert_eq!(direction, Direction::Originator);
        assert!(!bytes.is_empty());
        self.copied += usize::from(origin == Origin::Buffer) * bytes.len();
        self.bytes.extend(bytes);
    }

    fn gap(&mut self, _: Direction, length: u32) {
        self.gaps.push((self.bytes.len(), length));
    }

    fn end(&mut self, _: Direction) {
        self.ended = true;
    }
}

fn segment(sequence: u32, payload: &[u8]) -> Segment<'_> {
    Segment {
        direction: Direction::Originator,
        sequence,
        acknowledgment: None,
        syn: false,
        fin: false,
        rst: false,
        payload,
        cut: 0,
    }
}

fn ack(number: u32) -> Segment<'static> {
    Segment {
        direction: Direction::Responder,
        acknowledgment: Some(number),
        ..segment(0, &[])
    }
}

fn syn(sequence: u32) -> Segment<'static> {
    Segment {
        syn: true,
        ..segment(sequence, &[])
    }
}

fn run(segments: &[Segment<'_>]) -> (Seen, Reassembly) {
    let mut reassembly = Reassembly::new(1, 1_024);
    let mut seen = Seen::default();
    reassembly.open(0);
    for segment in segments {
        reassembly.add(0, segment, &mut seen);
    }
    (seen, reassembly)
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for shorter in permutations(count - 1) {
        for place in 0..=shorter.len() {
            let mut one = shorter.clone();
            one.insert(place, count - 1);
            all.push(one);
        }
    }
    all
}

#[test]
fn every_order_of_overlapping_segments_gives_the_stream() {
    let stream: Vec<u8> = (0..60).collect();
    let ranges = [(0, 15), (10, 30), (25, 31), (31, 50), (45, 60)];
    for start in [1_000_u32, u32::MAX - 20] {
        for order in permutations(ranges.len()) {
            let mut segments = vec![syn(start.wrapping_sub(1))];
            for piece in &order {
                let (from, to) = ranges[*piece];
                let sequence = start.wrapping_add(u32::try_from(from).unwrap());
                segments.push(segment(sequence, &stream[from..to]));
            }
            let last = segments.last_mut().unwrap();
            last.fin = last.payload.last() == Some(&59);
            let (seen, reassembly) = run(&segments);
            assert_eq!(seen.bytes, stream, "{order:?} from {start}");
            assert!(seen.gaps.is_empty());
            assert_eq!(reassembly.blocks_used(), 0);
            assert_eq!(reassembly.counters().bytes_conflicting, 0);
            assert_eq!(seen.ended, order[4] == 4);
        }
    }
}

#[test]
fn segments_in_order_are_not_copied() {
    let (seen, _) = run(&[syn(9), segment(10, b"abc"), segment(13, b"def")]);
    assert_eq!((seen.bytes.as_slice(), seen.copied), (&b"abcdef"[..], 0));
}

#[test]
fn the_first_data_seen_wins() {
    let (seen, reassembly) = run(&[
        syn(9),
        segment(13, b"DEF"),
        segment(12, b"xyxyxy"),
        segment(10, b"abcde"),
        segment(11, b"QQQ"),
    ]);
    assert_eq!(seen.bytes, b"abxDEFxy");
    // y x y over DEF, then c over x and d e over D E; Q Q Q was gone already.
    assert_eq!(reassembly.counters().bytes_conflicting, 6);
    assert_eq!(reassembly.counters().bytes_repeated, 3 + 3 + 3);
}

#[test]
fn a_retransmission_with_more_data_gives_only_the_more() {
    let (seen, _) = run(&[
        syn(9),
        segment(10, b"abc"),
        segment(10, b"abcdef"),
        segment(15, b"f"),
    ]);
    assert_eq!(seen.bytes, b"abcdef");
}

#[test]
fn a_keep_alive_gives_nothing() {
    let (seen, _) = run(&[
        syn(9),
        segment(10, b"abc"),
        segment(12, b"\0"),
        segment(13, b"d"),
    ]);
    assert_eq!(seen.bytes, b"abcd");
}

#[test]
fn a_stream_without_its_syn_starts_with_the_first_bytes_seen() {
    let (seen, reassembly) = run(&[segment(500, &[]), segment(500, b"abc"), segment(503, b"d")]);
    assert_eq!(seen.bytes, b"abcd");
    assert_eq!(reassembly.counters().midstream, 1);
}

#[test]
fn an_acknowledged_hole_is_skipped() {
    let (seen, reassembly) = run(&[syn(9), segment(10, b"ab"), segment(15, b"fg"), ack(17)]);
    assert_eq!(seen.bytes, b"abfg");
    assert_eq!(seen.gaps, [(2, 3)]);
    assert_eq!(reassembly.blocks_used(), 0);
    // The acknowledgment first, then what follows the hole.
    let (seen, _) = run(&[syn(9), segment(10, b"ab"), ack(15), segment(15, b"fg")]);
    assert_eq!(
        (seen.bytes.as_slice(), seen.gaps.as_slice()),
        (&b"abfg"[..], &[(2, 3)][..])
    );
    // Not acknowledged: it waits.
    let (seen, _) = run(&[syn(9), segment(10, b"ab"), ack(12), segment(15, b"fg")]);
    assert_eq!(seen.bytes, b"ab");
}

#[test]
fn a_hole_is_skipped_when_there_is_no_room_to_wait() {
    let stream = vec![7; BLOCK_BYTES * usize::from(BLOCKS_PER_SIDE_MAX) + 1];
    let mut segments = vec![syn(9)];
    let mut sequence = 11;
    for piece in stream.chunks(BLOCK_BYTES) {
        segments.push(segment(sequence, piece));
        sequence += u32::try_from(piece.len()).unwrap();
    }
    let (seen, reassembly) = run(&segments);
    assert_eq!(
        (seen.bytes.len(), seen.gaps.as_slice()),
        (stream.len(), &[(0, 1)][..])
    );
    assert_eq!(reassembly.counters().gaps_no_room, 1);
    assert_eq!(reassembly.blocks_used(), 0);
}

#[test]
fn an_empty_pool_skips_at_once() {
    let mut reassembly = Reassembly::new(2, 1);
    let mut seen = Seen::default();
    reassembly.open(0);
    reassembly.open(1);
    reassembly.add(0, &syn(9), &mut seen);
    reassembly.add(1, &syn(9), &mut seen);
    reassembly.add(0, &segment(12, b"cd"), &mut seen);
    assert_eq!(seen.bytes, b"");
    reassembly.add(1, &segment(14, b"EF"), &mut seen);
    assert_eq!((seen.bytes.as_slice(), seen.gaps.len()), (&b"EF"[..], 1));
    reassembly.close(0);
    assert_eq!(reassembly.blocks_used(), 0);
}

#[test]
fn bytes_that_the_capture_cut_off_are_a_gap() {
    let short = Segment {
        cut: 4,
        ..segment(10, b"ab")
    };
    let (seen, _) = run(&[syn(9), short, segment(16, b"gh")]);
    assert_eq!(
        (seen.bytes.as_slice(), seen.gaps.as_slice()),
        (&b"abgh"[..], &[(2, 4)][..])
    );
}

#[test]
fn fin_and_rst_end_a_direction() {
    let fin = Segment {
        fin: true,
        ..segment(12, b"c")
    };
    let (seen, _) = run(&[syn(9), fin]);
    assert!(!seen.ended, "bytes before it are missing");
    let (seen, _) = run(&[syn(9), fin, segment(10, b"ab"), segment(13, b"zzz")]);
    assert_eq!((seen.bytes.as_slice(), seen.ended), (&b"abc"[..], true));
    let rst = |sequence| Segment {
        rst: true,
        ..segment(sequence, b"why")
    };
    let (seen, _) = run(&[syn(9), rst(10)]);
    assert_eq!((seen.bytes.as_slice(), seen.ended), (&b""[..], true));
    let (seen, reassembly) = run(&[syn(9), rst(0x8000_0000)]);
    assert!(!seen.ended);
    assert_eq!(reassembly.counters().resets_ignored, 1);
}

#[test]
fn a_syn_may_carry_data_and_may_come_again() {
    let first = Segment {
        payload: b"ab",
        ..syn(9)
    };
    let (seen, _) = run(&[first, first, syn(9), segment(12, b"cd")]);
    assert_eq!(seen.bytes, b"abcd");
    let fin = Segment {
        fin: true,
        ..segment(10, b"a")
    };
    let (seen, _) = run(&[syn(9), fin, syn(5_000), segment(5_001, b"b")]);
    assert_eq!(seen.bytes, b"ab");
}

#[test]
fn random_segments_give_the_stream() {
    let seed = 0x5eed_0002_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    let stream: Vec<u8> = (0..5_000)
        .map(|i| u8::try_from(i * 31 % 251).unwrap())
        .collect();
    for round in 0..200 {
        let start = u32::try_from(next(1 << 30)).unwrap().wrapping_mul(4);
        let mut reassembly = Reassembly::new(1, 1_024);
        let mut seen = Seen::default();
        reassembly.open(0);
        reassembly.expect(0, Direction::Originator, start);
        for i in 0..3_000 {
            // A window that moves on, so that every byte is sent some time.
            let from = (i * stream.len() / 2_990 + next(600)).saturating_sub(300);
            let from = from.min(stream.len() - 1);
            let to = (from + 1 + next(200)).min(stream.len());
            let sequence = start.wrapping_add(u32::try_from(from).unwrap());
            reassembly.add(0, &segment(sequence, &stream[from..to]), &mut seen);
        }
        assert_eq!(seen.bytes, stream[..seen.bytes.len()], "round {round}");
        assert!(seen.gaps.is_empty() && seen.bytes.len() > 4_000);
        assert_eq!(reassembly.counters().bytes_conflicting, 0);
    }
}
