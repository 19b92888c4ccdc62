use super::{COMPLETE_MAX, Fragments, Settings};
use crate::dissect::{Protocol, headers};
use crate::packet::{Facts, Frame, LinkType, Timestamp};

const LINK: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];

fn settings(datagrams_max: u16) -> Settings {
    Settings {
        datagrams_max,
        ..Settings::default()
    }
}

fn payload(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from(i * 7 % 251).unwrap())
        .collect()
}

/// An Ethernet frame with an IPv4 fragment: `offset` in bytes.
fn v4(id: u16, offset: usize, more: bool, bytes: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + bytes.len()).unwrap().to_be_bytes();
    let field = u16::try_from(offset / 8).unwrap() | if more { 0x2000 } else { 0 };
    let mut frame = LINK.to_vec();
    frame.extend([0x45, 0, total[0], total[1]]);
    frame.extend(id.to_be_bytes());
    frame.extend(field.to_be_bytes());
    frame.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(bytes);
    frame
}

/// The same for IPv6, with a destination options header before the fragment header.
fn v6(id: u32, offset: usize, more: bool, next: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(16 + bytes.len()).unwrap().to_be_bytes();
    let field = u16::try_from(offset).unwrap() | u16::from(more);
    let mut frame = LINK.to_vec();
    frame.extend([0x60, 0, 0, 0, length[0], length[1], 60, 64]);
    frame.extend([0x20; 16]);
    frame.extend([0x21; 16]);
    frame.extend([44, 0, 1, 4, 0, 0, 0, 0]);
    frame.extend([next, 0]);
    frame.extend(field.to_be_bytes());
    frame.extend(id.to_be_bytes());
    frame.extend(bytes);
    frame
}

fn insert_at(fragments: &mut Fragments, data: &[u8], seconds: u64) -> Option<u16> {
    let frame = Frame {
        data,
        wire_length: u32::try_from(data.len()).unwrap(),
        timestamp: Timestamp::from_micros(seconds * 1_000_000),
        link: LinkType::ETHERNET,
        port: 0,
        queue: 0,
        ..Frame::EMPTY
    };
    let mut facts = Facts::new();
    facts.flags = Facts::FRAGMENT;
    facts.ip_offset = 14;
    fragments.insert(&frame, &mut facts);
    facts.datagram.checked_sub(1)
}

fn insert(fragments: &mut Fragments, data: &[u8]) -> Option<u16> {
    insert_at(fragments, data, 0)
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = bytes.len().div_ceil(size);
    let one = |(i, piece)| v4(7, i * size, i + 1 < count, piece);
    bytes.chunks(size).enumerate().map(one).collect()
}

#[test]
fn every_order_of_arrival_gives_the_payload_and_the_last_arrived_header() {
    let bytes = payload(50);
    let frames = pieces(&bytes, 16);
    let mut fragments = Fragments::new(&settings(4));
    for order in permutations(frames.len()) {
        let mut slot = None;
        for (i, piece) in order.iter().enumerate() {
            assert_eq!(slot, None, "complete before piece {i} of {order:?}");
            slot = insert(&mut fragments, &frames[*piece]);
        }
        let (data, wire_length) = fragments.datagram(slot.unwrap());
        assert_eq!(data[..34], frames[*order.last().unwrap()][..34]);
        assert_eq!(data[34..], bytes);
        assert_eq!(usize::try_from(wire_length).unwrap(), data.len());
        let facts = fragments.facts(slot.unwrap());
        assert!(facts.is_whole(14) && !facts.is_whole(34));
        fragments.release();
        assert_eq!(fragments.incomplete(), 0);
    }
    assert_eq!(fragments.counters().completed, 24);
    assert_eq!(
        fragments.counters().overlaps + fragments.counters().duplicates,
        0
    );
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
fn a_duplicate_is_counted_and_changes_nothing() {
    let bytes = payload(24);
    let frames = pieces(&bytes, 16);
    let mut fragments = Fragments::new(&settings(4));
    assert_eq!(insert(&mut fragments, &frames[0]), None);
    assert_eq!(insert(&mut fragments, &frames[0]), None);
    let slot = insert(&mut fragments, &frames[1]).unwrap();
    assert_eq!(fragments.datagram(slot).0[34..], bytes);
    assert_eq!(fragments.counters().duplicates, 1);
}

#[test]
fn in_ipv4_the_first_data_seen_wins_an_overlap() {
    let mut fragments = Fragments::new(&settings(4));
    assert_eq!(insert(&mut fragments, &v4(1, 8, true, &[1; 16])), None);
    assert_eq!(insert(&mut fragments, &v4(1, 0, true, &[2; 16])), None);
    let slot = insert(&mut fragments, &v4(1, 16, false, &[3; 12])).unwrap();
    let expected = [&[2; 8][..], &[1; 16], &[3; 4]].concat();
    assert_eq!(fragments.datagram(slot).0[34..], expected);
    assert_eq!(fragments.counters().overlaps, 2);
}

#[test]
fn an_ipv6_overlap_discards_the_datagram() {
    let mut fragments = Fragments::new(&settings(4));
    assert_eq!(insert(&mut fragments, &v6(1, 0, true, 17, &[1; 16])), None);
    assert_eq!(insert(&mut fragments, &v6(1, 0, true, 17, &[1; 16])), None);
    assert_eq!(insert(&mut fragments, &v6(1, 8, true, 17, &[2; 16])), None);
    assert_eq!(insert(&mut fragments, &v6(1, 16, false, 17, &[3; 4])), None);
    let counters = fragments.counters();
    assert_eq!((counters.duplicates, counters.overlaps), (1, 1));
    assert_eq!((counters.discarded, counters.completed), (1, 0));
}

#[test]
fn ipv6_loses_its_fragment_header() {
    let mut fragments = Fragments::new(&settings(4));
    assert_eq!(insert(&mut fragments, &v6(9, 16, false, 99, &[3; 5])), None);
    let slot = insert(&mut fragments, &v6(9, 0, true, 17, &[1; 16])).unwrap();
    let (data, _) = fragments.datagram(slot);
    assert_eq!(data.len(), 14 + 40 + 8 + 21);
    assert_eq!(data[14 + 6], 60);
    assert_eq!(
        data[14 + 40],
        17,
        "the options name what the first fragment holds"
    );
    assert_eq!(data[62..], [&[1; 16][..], &[3; 5]].concat());
    // An atomic fragment stands alone, even beside others of its key.
    assert_eq!(insert(&mut fragments, &v6(9, 0, true, 17, &[1; 16])), None);
    let slot = insert(&mut fragments, &v6(9, 0, false, 6, &[8; 3])).unwrap();
    assert_eq!(fragments.datagram(slot).0[62..], [8; 3]);
    assert_eq!(fragments.incomplete(), 1);
}

#[test]
fn a_ping_of_death_completes_with_its_true_length() {
    let mut fragments = Fragments::new(&settings(2));
    let bytes = payload(65_528 + 1_000);
    let frames = pieces(&bytes, 1_480);
    let slots: Vec<_> = frames
        .iter()
        .filter_map(|f| insert(&mut fragments, f))
        .collect();
    let (data, wire_length) = fragments.datagram(slots[0]);
    assert_eq!(data[34..], bytes);
    assert_eq!(wire_length, 34 + 66_528);
    assert_eq!(fragments.counters().oversize, 1);
    // The farthest that an offset can reach.
    let last = payload(65_500);
    assert_eq!(insert(&mut fragments, &v4(2, 65_528, false, &last)), None);
    assert_eq!(fragments.counters().malformed, 0);
}

#[test]
fn time_and_room_are_bounded() {
    let mut fragments = Fragments::new(&settings(2));
    assert_eq!(insert_at(&mut fragments, &v4(1, 0, true, &[1; 8]), 0), None);
    assert_eq!(insert_at(&mut fragments, &v4(2, 0, true, &[1; 8]), 1), None);
    assert_eq!(insert_at(&mut fragments, &v4(3, 0, true, &[1; 8]), 2), None);
    assert_eq!(fragments.counters().evicted, 1);
    // 1 was the oldest: its rest opens a datagram of its own, and 2 goes.
    assert_eq!(
        insert_at(&mut fragments, &v4(1, 8, false, &[1; 8]), 3),
        None
    );
    assert_eq!(fragments.counters().evicted, 2);
    assert!(insert_at(&mut fragments, &v4(3, 8, false, &[1; 8]), 32).is_some());
    assert_eq!(
        insert_at(&mut fragments, &v4(1, 0, true, &[1; 8]), 34),
        None
    );
    assert_eq!(
        (fragments.counters().timeouts, fragments.incomplete()),
        (1, 1)
    );
    // Datagrams of this burst take no room from those that wait.
    let evicted = fragments.counters().evicted;
    assert!(insert_at(&mut fragments, &v4(1, 8, false, &[1; 8]), 34).is_some());
    for id in 4..6 {
        let open = insert_at(&mut fragments, &v4(id, 0, true, &[1; 8]), 34);
        assert_eq!((open, fragments.counters().evicted), (None, evicted));
    }
    assert_eq!(fragments.incomplete(), 2);
}

#[test]
fn a_burst_of_complete_datagrams_has_room() {
    let mut fragments = Fragments::new(&settings(1));
    for _ in 0..3 {
        assert_eq!(insert(&mut fragments, &v4(1, 0, true, &[1; 8])), None);
        for id in 1..=COMPLETE_MAX {
            let id = u16::try_from(id).unwrap();
            assert!(insert(&mut fragments, &v4(id + 1, 0, false, &[1; 8])).is_some());
        }
        // Nobody released them: there is a bound all the same.
        assert_eq!(insert(&mut fragments, &v4(9, 0, false, &[1; 8])), None);
        assert_eq!(fragments.counters().no_room, 1);
        fragments.counters.no_room = 0;
        fragments.release();
    }
    assert_eq!(fragments.counters().evicted, 0);
}

#[test]
fn fragments_of_one_datagram_are_bounded() {
    let mut fragments = Fragments::new(&Settings {
        fragments_max: 3,
        ..settings(2)
    });
    for i in 0..5 {
        assert_eq!(insert(&mut fragments, &v4(1, i * 8, true, &[1; 8])), None);
    }
    assert_eq!(fragments.counters().too_many, 2);
}

#[test]
fn contradictions_are_refused() {
    let mut fragments = Fragments::new(&settings(4));
    // Teardrop: the last fragment ends inside the first.
    assert_eq!(insert(&mut fragments, &v4(1, 0, true, &[1; 40])), None);
    assert_eq!(insert(&mut fragments, &v4(1, 24, false, &[1; 4])), None);
    assert_eq!(fragments.counters().inconsistent, 1);
    // Behind the end, and a second end.
    assert_eq!(insert(&mut fragments, &v4(2, 16, false, &[1; 8])), None);
    assert_eq!(insert(&mut fragments, &v4(2, 24, true, &[1; 8])), None);
    assert_eq!(insert(&mut fragments, &v4(2, 16, false, &[1; 12])), None);
    assert_eq!(fragments.counters().inconsistent, 3);
    // No payload, less than a block.
    assert_eq!(insert(&mut fragments, &v4(3, 0, true, &[])), None);
    assert_eq!(insert(&mut fragments, &v4(3, 0, true, &[1; 7])), None);
    assert_eq!(insert(&mut fragments, &v6(3, 0, true, 17, &[1; 7])), None);
    assert_eq!(fragments.counters().malformed, 3);
}

#[test]
fn every_truncation_is_refused() {
    let mut fragments = Fragments::new(&settings(64));
    for frame in [v4(1, 8, true, &[1; 8]), v6(1, 8, true, 17, &[1; 8])] {
        for length in 0..frame.len() {
            assert_eq!(insert(&mut fragments, &frame[..length]), None);
        }
    }
    let counters = fragments.counters();
    assert_eq!(counters.fragments, counters.truncated + counters.malformed);
    assert_eq!(fragments.incomplete(), 0);
}

#[test]
fn random_fragments_keep_the_account() {
    let seed = 0x5eed_0001_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut fragments = Fragments::new(&settings(8));
    for round in 0..20_000_u64 {
        let (id, offset, length) = (next(16), next(6) * 8, next(33));
        let mut frame = if next(2) == 0 {
            v4(
                u16::try_from(id).unwrap(),
                offset,
                next(3) != 0,
                &payload(length),
            )
        } else {
            v6(
                u32::try_from(id).unwrap(),
                offset,
                next(3) != 0,
                17,
                &payload(length),
            )
        };
        if next(4) == 0 {
            let at = 14 + next(frame.len() - 14);
            frame[at] ^= u8::try_from(1 << next(8)).unwrap();
        }
        if let Some(slot) = insert_at(&mut fragments, &frame, round) {
            assert!(!fragments.datagram(slot).0.is_empty());
        }
        if next(8) == 0 {
            fragments.release();
        }
        assert!(fragments.incomplete() <= 8);
    }
    fragments.release();
    let buffers = 8 + COMPLETE_MAX;
    assert_eq!(fragments.free.len() + fragments.incomplete(), buffers);
    assert!(fragments.counters().completed > 100);
}

#[test]
fn a_reassembled_frame_is_dissected_to_its_end() {
    // UDP of 30 bytes payload in two fragments; alone, and in a tunnel of IP in IP.
    let udp = [&[0, 7, 0, 9, 0, 38, 0, 0][..], &[5; 30]].concat();
    let inner = [v4(1, 0, true, &udp[..24]), v4(1, 24, false, &udp[24..])];
    let tunnelled = inner.clone().map(|frame| {
        let mut outer = v4(2, 0, false, &frame[14..]);
        outer[14 + 9] = 4;
        outer
    });
    for (frames, ip_offset) in [(inner, 14), (tunnelled, 34)] {
        let mut fragments = Fragments::new(&settings(4));
        for (arrival, data) in frames.iter().rev().enumerate() {
            let frame = Frame {
                data,
                wire_length: u32::try_from(data.len()).unwrap(),
                timestamp: Timestamp::default(),
                link: LinkType::ETHERNET,
                port: 0,
                queue: 0,
                ..Frame::EMPTY
            };
            let mut facts = Facts::new();
            headers(&frame, &mut facts);
            assert!(facts.has(Facts::FRAGMENT));
            assert_eq!(facts.ip_offset, ip_offset);
            fragments.add(&frame, &mut facts, |_, _| false);
            assert_eq!(facts.datagram, u16::from(arrival == 1));
            if facts.datagram == 1 {
                let end = usize::try_from(facts.end).unwrap();
                assert_eq!(end, usize::from(ip_offset) + 20 + udp.len());
                assert_eq!(facts.offset_of(Protocol::Udp), Some(end - udp.len()));
                assert_eq!((facts.payload_announced, facts.destination_port), (30, 9));
                assert_eq!(facts.flags, Facts::REASSEMBLED);
            }
        }
    }
}

/// A datagram in two fragments, each in IP in IP (RFC 2003), whose packets were cut in their turn.
fn cut_twice(udp: &[u8]) -> Vec<Vec<u8>> {
    let inner = [v4(1, 0, true, &udp[..24]), v4(1, 24, false, &udp[24..])];
    let outer = (2..).zip(&inner).flat_map(|(id, fragment)| {
        let packet = &fragment[14..];
        [(0, true, &packet[..32]), (32, false, &packet[32..])].map(|(offset, more, piece)| {
            let mut frame = v4(id, offset, more, piece);
            frame[14 + 9] = 4;
            frame
        })
    });
    outer.collect()
}

#[test]
fn fragments_that_were_cut_are_put_together_where_they_go_on() {
    let udp = [&[0, 7, 0, 9, 0, 38, 0, 0][..], &[1; 30]].concat();
    for is_here in [true, false] {
        let mut fragments = Fragments::new(&settings(4));
        let mut ends = Vec::new();
        for data in &cut_twice(&udp) {
            let frame = Frame {
                data,
                wire_length: u32::try_from(data.len()).unwrap(),
                link: LinkType::ETHERNET,
                ..Frame::EMPTY
            };
            let mut facts = Facts::new();
            headers(&frame, &mut facts);
            facts.number = 5;
            fragments.add(&frame, &mut facts, |whole, facts| {
                assert_eq!((facts.ip_offset, facts.whole_offset), (34, 14));
                assert!(whole.data.len() > data.len());
                is_here
            });
            assert_eq!(facts.number, 5);
            let is_datagram = facts.offset_of(Protocol::Udp).is_some();
            ends.push((facts.has(Facts::REASSEMBLED), is_datagram));
            if is_datagram {
                let slot = facts.datagram - 1;
                assert_eq!(fragments.datagram(slot).0[54..], udp);
                assert_eq!((facts.whole_offset, facts.flags), (34, Facts::REASSEMBLED));
            }
        }
        let (none, outer) = ((false, false), (true, false));
        assert_eq!(ends, [none, outer, none, (true, is_here)]);
        fragments.release();
        assert_eq!(
            fragments.free.len(),
            4 + COMPLETE_MAX,
            "nothing is open any more"
        );
    }
}
