use super::*;
use crate::capture::rss::{Fields, Hasher, Transport};
use crate::capture::toeplitz;
use crate::dissect;
use crate::limits::BURST_MAX;
use std::net::{IpAddr, Ipv4Addr};

const SEED: u128 = 7;

/// An IPv4 packet from 10.0.0.`ends[0]` to 10.0.0.`ends[1]`.
fn ipv4(ends: [u8; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    ends.iter().for_each(|end| packet.extend([10, 0, 0, *end]));
    packet.extend(payload);
    packet
}

fn udp(ends: [u8; 2], ports: [u16; 2]) -> Vec<u8> {
    let mut datagram: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    datagram.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    ipv4(ends, 17, &datagram)
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend(packet);
    frame
}

/// A datagram in IP in IP (RFC 2003), from one router to another.
fn tunnelled(ends: [u8; 2], ports: [u16; 2]) -> Vec<u8> {
    ethernet(&ipv4([201, 202], 4, &udp(ends, ports)))
}

fn plain(ends: [u8; 2], ports: [u16; 2]) -> Vec<u8> {
    ethernet(&udp(ends, ports))
}

/// Give whole frames, numbered from 1, to a worker's end. The numbers of those that stay.
fn give(
    handover: &mut Handover,
    frames: &[Vec<u8>],
    flags: u8,
    counters: &mut metrics::Counters,
) -> Vec<u64> {
    give_at(Stage::Whole, handover, frames, (flags, 0), counters)
}

/// The same of any stage, with frames that were put together in a slot of this worker.
fn give_at(
    stage: Stage,
    handover: &mut Handover,
    frames: &[Vec<u8>],
    (flags, datagram): (u8, u16),
    counters: &mut metrics::Counters,
) -> Vec<u64> {
    let mut burst = Burst::new();
    let mut all = [Facts::new(); BURST_MAX];
    for ((number, data), facts) in (1..).zip(frames).zip(&mut all) {
        let frame = Frame {
            data,
            number,
            ..Frame::EMPTY
        };
        dissect::headers(&frame, facts);
        facts.number = number;
        facts.flags |= flags;
        facts.datagram = datagram;
        facts.whole_offset = 14;
        burst.push(frame);
    }
    let facts = all.get_mut(..burst.len()).unwrap();
    let facts = handover.take_out(&mut burst, facts, stage, counters);
    let stay = burst.iter().map(|frame| frame.number).collect();
    let known: Vec<u64> = facts.iter().map(|facts| facts.number).collect();
    assert_eq!(known, stay, "facts go with their frames");
    stay
}

/// A fragment of a datagram in IP in IP, between the routers whose addresses end in `outer`.
fn tunnelled_fragment(outer: [u8; 2], ends: [u8; 2]) -> Vec<u8> {
    let mut fragment = ipv4(ends, 17, &[7; 64]);
    // More follow (RFC 791, section 3.1).
    fragment[6] = 0x20;
    ethernet(&ipv4(outer, 4, &fragment))
}

/// Numbers of the frames that have arrived, and what was put together in them.
fn arrived(arrivals: &mut Arrivals) -> Vec<(u64, Option<u16>)> {
    let mut all = Vec::new();
    while arrivals.next(|parcel| {
        let frames = parcel.bursts().flatten();
        all.extend(frames.map(|frame| (frame.number, frame.whole)));
    }) {}
    all
}

/// How a port with a symmetric hash spreads frames over so many workers.
fn known_spread(workers: u16) -> Arc<Spread> {
    let all = Fields {
        tcp: true,
        udp: true,
        addresses: true,
    };
    let hasher = Hasher::new(&toeplitz::symmetric_key(40), all, all);
    let table: Vec<u16> = (0..128).map(|entry| entry % workers).collect();
    let count = usize::from(workers);
    Arc::new(Spread::new("test", workers, Some(hasher), &table, count))
}

/// The worker to which that port gives a datagram.
fn port_gives(spread: &Spread, ends: [u8; 2], ports: [u16; 2]) -> usize {
    let address = |end| IpAddr::V4(Ipv4Addr::new(10, 0, 0, end));
    let tuple = Tuple::new(
        (address(ends[0]), ports[0]),
        (address(ends[1]), ports[1]),
        Transport::Udp,
    );
    spread.home_of(&tuple.unwrap()).unwrap()
}

#[test]
fn plain_packets_and_fragments_stay() {
    let mut all = between(2, &[known_spread(2)], SEED);
    let frames = [plain([1, 2], [5, 6]), tunnelled([1, 2], [5, 6])];
    for (handover, _) in &mut all {
        let mut counters = metrics::Counters::default();
        let stay = give(handover, &frames[..1], 0, &mut counters);
        assert_eq!(stay, [1]);
        // What is not whole yet belongs to no flow.
        let stay = give(handover, &frames, Facts::FRAGMENT, &mut counters);
        assert_eq!(stay, [1, 2]);
        assert_eq!(counters.handed_over, Counters::default());
    }
}

#[test]
fn a_tunnelled_packet_goes_where_the_port_would_give_it_bare() {
    let spread = known_spread(4);
    for port in 0..64 {
        let (ends, ports) = ([1, 2], [1_000 + port, 53]);
        let home = port_gives(&spread, ends, ports);
        let frames = [
            tunnelled(ends, ports),
            tunnelled([2, 1], [53, 1_000 + port]),
        ];
        let mut all = between(4, &[Arc::clone(&spread)], SEED);
        for number in 0..4 {
            let mut counters = metrics::Counters::default();
            let stay = give(&mut all[number].0, &frames, 0, &mut counters);
            all[number].0.flush();
            let at_home = arrived(&mut all[home].1);
            if number == home {
                assert_eq!((stay, at_home), (vec![1, 2], Vec::new()));
            } else {
                assert_eq!((stay, at_home), (vec![], vec![(1, None), (2, None)]));
                assert_eq!(
                    (counters.handed_over.tunnel, counters.handed_over.fragments),
                    (2, 0)
                );
            }
        }
    }
}

#[test]
fn a_datagram_put_together_goes_where_the_port_would_give_it_whole() {
    let spread = known_spread(2);
    let mut seen = [0; 2];
    for port in 0..64 {
        let home = port_gives(&spread, [1, 2], [1_000 + port, 53]);
        seen[home] += 1;
        let mut all = between(2, &[Arc::clone(&spread)], SEED);
        let mut counters = metrics::Counters::default();
        let frames = [plain([1, 2], [1_000 + port, 53])];
        let stay = give(&mut all[0].0, &frames, Facts::REASSEMBLED, &mut counters);
        all[0].0.flush();
        let expected = if home == 0 {
            vec![]
        } else {
            vec![(1, Some(14))]
        };
        assert_eq!(arrived(&mut all[1].1), expected);
        assert_eq!(stay.len(), 1 - home);
        assert_eq!(counters.handed_over.fragments, u64::try_from(home).unwrap());
    }
    assert!(seen[0] > 8 && seen[1] > 8, "{seen:?}");
}

#[test]
fn fragments_in_tunnels_meet_whatever_the_tunnel_and_the_port() {
    let unknown = Arc::new(Spread::new("test", 4, None, &[], 4));
    for spread in [unknown, known_spread(4)] {
        let mut seen = [false; 4];
        for end in 1..64 {
            let frames = [
                tunnelled_fragment([201, 202], [end, 100]),
                tunnelled_fragment([202, 203], [end, 100]),
                tunnelled([201, 202], [5, 6]),
            ];
            let mut all = between(4, &[Arc::clone(&spread)], SEED);
            let mut counters = metrics::Counters::default();
            let mut homes = Vec::new();
            for (number, (handover, _)) in all.iter_mut().enumerate() {
                let stay = give_at(Stage::Fragments, handover, &frames, (0, 0), &mut counters);
                handover.flush();
                assert_eq!(stay.last(), Some(&3), "whole packets go on");
                homes.extend((stay.len() == 3).then_some(number));
            }
            let [home] = homes[..] else {
                panic!("{homes:?} for hosts {end} and 100");
            };
            seen[home] = true;
            let three = [(1, None), (2, None)].repeat(3);
            assert_eq!(arrived(&mut all[home].1), three);
            assert_eq!(counters.handed_over.tunnel, 6);
        }
        assert_eq!(seen, [true; 4]);
    }
}

#[test]
fn only_what_was_put_together_here_goes_on_from_where_it_arrived() {
    let spread = known_spread(2);
    let (ends, ports) = ([1, 2], [1_000, 53]);
    let home = port_gives(&spread, ends, ports);
    let frames = [tunnelled(ends, ports)];
    let mut all = between(2, &[spread], SEED);
    let mut counters = metrics::Counters::default();
    let other = &mut all[1 - home].0;
    let mut stay = |how| give_at(Stage::Arrived, other, &frames, how, &mut counters);
    assert_eq!(stay((0, 0)), [1], "it came as a packet");
    assert_eq!(stay((Facts::REASSEMBLED, 0)), [1], "it came whole");
    assert_eq!(stay((Facts::FRAGMENT, 0)), [1], "it is not whole yet");
    assert!(stay((Facts::REASSEMBLED, 1)).is_empty());
    other.flush();
    assert_eq!(arrived(&mut all[home].1), [(1, Some(14))]);
}

#[test]
fn a_fragment_that_was_cut_goes_where_its_datagram_is_put_together() {
    let cut = Facts::REASSEMBLED | Facts::FRAGMENT;
    let frames = [tunnelled_fragment([201, 202], [1, 2])];
    let mut all = between(2, &[known_spread(2)], SEED);
    let mut counters = metrics::Counters::default();
    let stays = [0, 1].map(|number| {
        let handover = &mut all[number].0;
        let stay = give_at(Stage::Whole, handover, &frames, (cut, 1), &mut counters);
        handover.flush();
        !stay.is_empty()
    });
    assert!(stays[0] != stays[1], "{stays:?}");
    let home = usize::from(stays[1]);
    assert_eq!(arrived(&mut all[home].1), [(1, Some(14))]);
    assert!(arrived(&mut all[1 - home].1).is_empty());
}

#[test]
fn others_learn_what_a_worker_that_leaves_may_still_hand_over() {
    let mut all = between(3, &[], SEED);
    let mut counters = metrics::Counters::default();
    assert!(!all[0].1.is_ending());
    for (handover, _) in &mut all[1..] {
        assert!(handover.leave(&mut counters));
    }
    assert!(all[0].1.is_ending() && !all[0].1.is_over());
    assert!(!all[1].1.is_ending(), "worker 0 has not left");
    all.truncate(1);
    assert!(all[0].1.is_over());
}

#[test]
fn where_the_port_does_not_tell_flows_of_tunnels_meet_and_others_stay() {
    let unknown = Arc::new(Spread::new("test", 2, None, &[], 2));
    let mut seen = [0; 2];
    for port in 0..64 {
        let frames = [
            tunnelled([1, 2], [1_000 + port, 53]),
            tunnelled([2, 1], [53, 1_000 + port]),
        ];
        let mut all = between(2, &[Arc::clone(&unknown)], SEED);
        let mut counters = metrics::Counters::default();
        let stays = [0, 1].map(|number| {
            let handover = &mut all[number].0;
            give(handover, &frames, 0, &mut counters).len()
        });
        assert!(stays == [2, 0] || stays == [0, 2], "{stays:?}");
        seen[usize::from(stays[1] == 2)] += 1;
        let whole = [plain([1, 2], [1_000 + port, 53])];
        let stay = give(&mut all[0].0, &whole, Facts::REASSEMBLED, &mut counters);
        assert_eq!(stay, [1]);
    }
    assert!(seen[0] > 8 && seen[1] > 8, "{seen:?}");
}

/// A tunnelled datagram of worker 1 of 2, where the port does not tell.
fn of_worker_1(handover: &mut Handover) -> Vec<u8> {
    let all = (0..).map(|port| tunnelled([1, 2], [port, 53]));
    let mut counters = metrics::Counters::default();
    let mut all = all.skip_while(|frame| {
        let frames = std::slice::from_ref(frame);
        !give(handover, frames, 0, &mut counters).is_empty()
    });
    all.next().unwrap()
}

#[test]
fn a_full_ring_drops_and_counts_and_the_rest_arrives() {
    let mut all = between(2, &[], SEED);
    let frame = of_worker_1(&mut all[0].0);
    let frames = vec![frame; BURST_MAX];
    let (mut counters, mut given) = (metrics::Counters::default(), 1);
    while counters.dropped[DropReason::HandoverFull as usize] == 0 {
        assert!(give(&mut all[0].0, &frames, 0, &mut counters).is_empty());
        given += u64::try_from(BURST_MAX).unwrap();
        assert!(given < 1_000_000, "the ring has a bound");
    }
    let dropped = counters.dropped[DropReason::HandoverFull as usize];
    assert_eq!(counters.handed_over.tunnel + dropped + 1, given);
    let mut metrics = metrics::Counters::default();
    assert!(!all[0].0.finish(&mut metrics), "there is no room");
    assert!(!all[1].1.is_over());
    let mut taken = arrived(&mut all[1].1).len();
    assert!(all[0].0.finish(&mut metrics));
    taken += arrived(&mut all[1].1).len();
    assert_eq!(u64::try_from(taken).unwrap() + dropped, given);
    assert_eq!(metrics.dropped, [0; DropReason::ALL.len()]);
    let (handover, _) = all.remove(0);
    drop(handover);
    assert!(all[0].1.is_over());
}

#[test]
fn what_is_for_a_worker_that_is_gone_is_dropped() {
    let mut all = between(2, &[], SEED);
    of_worker_1(&mut all[0].0);
    all.truncate(1);
    let mut counters = metrics::Counters::default();
    assert!(all[0].0.finish(&mut counters));
    assert_eq!(counters.dropped[DropReason::HandoverFull as usize], 1);
}

#[test]
fn a_single_worker_has_no_rings() {
    let mut all = between(1, &[], SEED);
    let mut counters = metrics::Counters::default();
    let frames = [tunnelled([1, 2], [5, 6])];
    assert_eq!(give(&mut all[0].0, &frames, 0, &mut counters), [1]);
    assert!(all[0].0.finish(&mut counters) && all[0].1.is_over());
}
