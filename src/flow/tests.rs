//! Tests of the whole stage, on packets made by hand.

use super::test_packets::{Packet, frame_of};
use super::*;

const FIN: u8 = flag::FIN;
const SYN: u8 = flag::SYN;
const RST: u8 = flag::RST;
const ACK: u8 = flag::ACK;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// A table, the time, and what came out.
struct Bench {
    flows: Flows,
    now: u64,
    ended: Vec<FlowRecord>,
}

impl Bench {
    fn new(settings: &Settings) -> Self {
        Self {
            flows: Flows::new(settings, 1),
            now: 1_700_000_000 * SECOND,
            ended: Vec::new(),
        }
    }

    fn small() -> Self {
        Self::new(&Settings {
            flows_max: 8,
            ..Settings::default()
        })
    }

    /// One packet, a millisecond after the last.
    fn send(&mut self, packet: &Packet) -> FlowFacts {
        self.now += MILLISECOND;
        let (data, mut facts) = packet.build();
        let frame = frame_of(&data, Timestamp::from_nanos(self.now));
        let ended = &mut |record: &FlowRecord| self.ended.push(record.clone());
        self.flows
            .track(&[frame], std::slice::from_mut(&mut facts), ended);
        facts.flow
    }

    fn wait(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
        let ended = &mut |record: &FlowRecord| self.ended.push(record.clone());
        for _ in 0..100 {
            self.flows.expire(Timestamp::from_nanos(self.now), ended);
        }
    }

    fn finish(&mut self) -> &[FlowRecord] {
        let ended = &mut |record: &FlowRecord| self.ended.push(record.clone());
        self.flows.drain(ended);
        let counters = self.flows.counters();
        assert_eq!(counters.active, 0);
        assert_eq!(counters.created, counters.ended.iter().sum::<u64>());
        &self.ended
    }

    fn only(&mut self) -> FlowRecord {
        self.finish();
        assert_eq!(self.ended.len(), 1, "one flow");
        self.ended.remove(0)
    }

    fn handshake(&mut self) -> FlowFacts {
        self.send(&client(SYN).numbers(100, 0));
        self.send(&server(SYN | ACK).numbers(500, 101));
        self.send(&client(ACK).numbers(101, 501))
    }

    fn close(&mut self) -> FlowFacts {
        self.send(&client(FIN | ACK).numbers(101, 501));
        self.send(&server(FIN | ACK).numbers(501, 102));
        self.send(&client(ACK).numbers(102, 502))
    }
}

fn client(flags: u8) -> Packet {
    Packet::tcp(1_000, 80).flags(flags)
}

fn server(flags: u8) -> Packet {
    client(flags).reverse()
}

#[test]
fn an_orderly_connection() {
    let mut bench = Bench::small();
    let established = bench.handshake();
    assert!(established.has(FlowFacts::ESTABLISHED));
    assert_eq!(established.handshake_rtt_us, 2_000);
    let closed = bench.close();
    assert!(closed.has(FlowFacts::CLOSED));
    let record = bench.only();
    assert_eq!((record.state, record.history.as_str()), ("SF", "ShAFf"));
    assert_eq!(record.reason, EndReason::Closed);
    assert_eq!(record.counters.map(|side| side.packets), [4, 2]);
    assert_eq!(record.counters.map(|side| side.ip_bytes), [160, 80]);
    let tcp = record.tcp.unwrap();
    assert_eq!((tcp.server_rtt_us, tcp.client_rtt_us), (1_000, 1_000));
    assert_eq!((record.source.1, record.destination.1), (1_000, 80));
}

#[test]
fn the_first_packet_is_new_and_the_syn_is_told_once() {
    let mut bench = Bench::small();
    let first = bench.send(&client(SYN).numbers(100, 0));
    assert!(first.has(FlowFacts::NEW) && first.has(FlowFacts::SYN));
    let repeated = bench.send(&client(SYN).numbers(100, 0));
    assert!(!repeated.has(FlowFacts::NEW) && !repeated.has(FlowFacts::SYN));
    assert_eq!(bench.only().state, "S0");
}

#[test]
fn a_syn_ack_seen_first_comes_from_the_responder() {
    let mut bench = Bench::small();
    let facts = bench.send(&server(SYN | ACK).numbers(500, 101));
    assert_eq!(facts.direction, Direction::Responder);
    let facts = bench.send(&client(ACK).numbers(101, 501));
    assert!(facts.has(FlowFacts::ESTABLISHED));
    assert_eq!(facts.handshake_rtt_us, 0, "the SYN was not seen");
    let record = bench.only();
    assert_eq!((record.state, record.history.as_str()), ("S1", "^hA"));
    assert_eq!(record.source.1, 1_000);
}

#[test]
fn a_refused_connection() {
    let mut bench = Bench::small();
    bench.send(&client(SYN).numbers(100, 0));
    bench.send(&server(RST | ACK).numbers(0, 101));
    let record = bench.only();
    assert_eq!((record.state, record.history.as_str()), ("REJ", "Sr"));
    assert_eq!(record.reason, EndReason::Reset);
}

#[test]
fn final_states() {
    type Packets = Vec<Packet>;
    let cases: [(&str, &str, Packets); 8] = [
        ("RSTOS0", "SR", vec![client(SYN), client(RST).numbers(1, 0)]),
        ("SH", "SF", vec![client(SYN), client(FIN).numbers(1, 0)]),
        (
            "RSTRH",
            "^hr",
            vec![server(SYN | ACK), server(RST).numbers(1, 0)],
        ),
        (
            "SHR",
            "^hf",
            vec![server(SYN | ACK), server(FIN).numbers(1, 0)],
        ),
        ("OTH", "D", vec![client(ACK).payload(1)]),
        (
            "OTH",
            "Dd",
            vec![client(ACK).payload(1), server(ACK).payload(1)],
        ),
        ("OTH", "Q", vec![client(SYN | FIN | RST)]),
        ("OTH", "SI", vec![client(SYN), client(FIN | RST)]),
    ];
    for (state, history, packets) in cases {
        let mut bench = Bench::small();
        for packet in &packets {
            bench.send(packet);
        }
        let record = bench.only();
        assert_eq!((record.state, record.history.as_str()), (state, history));
    }
}

#[test]
fn half_closed_and_reset_connections() {
    let mut bench = Bench::small();
    bench.handshake();
    bench.send(&server(FIN | ACK).numbers(501, 101));
    assert_eq!(bench.only().state, "S3");
    let mut bench = Bench::small();
    bench.handshake();
    bench.send(&client(RST).numbers(101, 0));
    let record = bench.only();
    assert_eq!((record.state, record.reason), ("RSTO", EndReason::Reset));
}

#[test]
fn repeated_late_and_missing_bytes() {
    let mut bench = Bench::small();
    bench.handshake();
    let data = |sequence, bytes| client(ACK).numbers(sequence, 501).payload(bytes);
    assert_eq!(bench.send(&data(101, 100)).flags, 0);
    let repeated = bench.send(&data(101, 100));
    assert!(repeated.has(FlowFacts::RETRANSMISSION));
    assert_eq!(repeated.retransmissions, 1);
    // 201..301 comes late, 401..501 never, and the other side has both.
    let early = bench.send(&data(301, 100));
    assert!(early.has(FlowFacts::OUT_OF_ORDER) && !early.has(FlowFacts::RETRANSMISSION));
    let late = bench.send(&data(201, 100));
    assert!(late.has(FlowFacts::OUT_OF_ORDER) && !late.has(FlowFacts::RETRANSMISSION));
    bench.send(&data(501, 100));
    bench.send(&server(ACK).numbers(501, 601));
    bench.send(&server(ACK).numbers(501, 651));
    let record = bench.only();
    let counters = record.tcp.unwrap().counters[0];
    assert_eq!(counters.retransmissions, 1);
    assert_eq!(counters.out_of_order, 3);
    assert_eq!(counters.missed_bytes, 150);
    assert_eq!(record.history.as_str(), "ShADTaG");
}

#[test]
fn sequence_numbers_wrap() {
    let mut bench = Bench::small();
    let data = |sequence, bytes| client(ACK).numbers(sequence, 0).payload(bytes);
    bench.send(&data(u32::MAX - 49, 100));
    assert_eq!(bench.send(&data(50, 100)).flags, 0);
    assert!(bench.send(&data(150 + 10, 10)).has(FlowFacts::OUT_OF_ORDER));
    bench.send(&data(150, 10));
    let tcp = bench.only().tcp.unwrap();
    assert_eq!(tcp.counters[0].retransmissions, 0);
}

#[test]
fn round_trips_of_data_leave_out_what_was_sent_twice() {
    let mut bench = Bench::small();
    bench.handshake();
    bench.send(&client(ACK).numbers(101, 501).payload(10));
    bench.now += 4 * MILLISECOND;
    bench.send(&server(ACK).numbers(501, 111));
    bench.send(&client(ACK).numbers(111, 501).payload(10));
    bench.send(&client(ACK).numbers(111, 501).payload(10));
    bench.send(&server(ACK).numbers(501, 121));
    let sides = bench.only().tcp.unwrap().counters;
    let expected = RoundTrips {
        min_us: 5_000,
        sum_us: 5_000,
        samples: 1,
    };
    assert_eq!(sides[0].round_trips, expected);
    assert_eq!(sides[1].round_trips, RoundTrips::default());
}

#[test]
fn zero_windows_and_jitter() {
    let mut bench = Bench::small();
    bench.handshake();
    bench.send(&server(ACK).numbers(501, 101).window(0));
    let first = bench.send(&client(ACK).numbers(101, 501).payload(1));
    assert_eq!(first.jitter_us, 0);
    let second = bench.send(&client(ACK).numbers(102, 501).payload(1));
    assert_eq!(second.jitter_us, 1_000);
    let record = bench.only();
    assert_eq!(record.tcp.unwrap().counters[1].zero_windows, 1);
    assert_eq!(record.history.as_str(), "ShAawD");
}

#[test]
fn late_packets_stay_with_a_closed_flow_but_a_new_syn_does_not() {
    let mut bench = Bench::small();
    bench.handshake();
    let id = bench.close().id;
    assert_eq!(bench.send(&server(ACK).numbers(502, 102)).id, id);
    assert_eq!(
        bench.send(&client(SYN).numbers(100, 0)).id,
        id,
        "the same SYN"
    );
    let next = bench.send(&client(SYN).numbers(9_000, 0));
    assert!(next.id > id && next.has(FlowFacts::NEW));
    assert_eq!(bench.ended.len(), 1);
    assert_eq!(bench.ended[0].reason, EndReason::Closed);
    assert_eq!(bench.finish()[1].state, "S0");
}

#[test]
fn time_outs_depend_on_the_state() {
    let mut bench = Bench::small();
    bench.handshake();
    bench.close();
    bench.wait(4);
    assert_eq!(bench.ended.len(), 0);
    bench.wait(2);
    assert_eq!(
        bench.ended.len(),
        1,
        "closed: five seconds, not ten minutes"
    );
    bench.send(&Packet::udp(1, 2));
    bench.send(&Packet::udp(3, 4));
    bench.send(&Packet::udp(3, 4).reverse());
    bench.wait(61);
    assert_eq!(bench.ended.len(), 2, "one-sided");
    bench.wait(120);
    assert_eq!(bench.ended.len(), 3);
    assert_eq!(bench.ended[2].reason, EndReason::Idle);
    assert_eq!((bench.ended[1].state, bench.ended[2].state), ("S0", "SF"));
    bench.finish();
}

#[test]
fn a_late_packet_begins_a_new_flow_whether_or_not_the_wheel_came_round() {
    let mut bench = Bench::small();
    let first = bench.send(&Packet::udp(1, 2)).id;
    bench.now += 100 * SECOND;
    let second = bench.send(&Packet::udp(1, 2));
    assert!(second.id != first && second.has(FlowFacts::NEW));
    assert_eq!(bench.ended[0].reason, EndReason::Idle);
    bench.wait(61);
    assert_eq!(bench.ended.len(), 2);
    bench.finish();
}

#[test]
fn a_flow_that_lasts_too_long_goes_on_as_another() {
    let mut bench = Bench::new(&Settings {
        flows_max: 4,
        active_s: 10,
        ..Settings::default()
    });
    for _ in 0..25 {
        bench.now += SECOND;
        bench.send(&Packet::udp(1, 2));
    }
    let records = bench.finish();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].reason, EndReason::Active);
}

/// The records of flows whose packets came in bursts of this size, and where the bursts were split.
fn in_bursts(packets: &[(Packet, u64)], size: usize) -> (Vec<String>, Vec<usize>) {
    let mut bench = Bench::small();
    let mut records = Vec::new();
    let mut splits = Vec::new();
    for burst in packets.chunks(size) {
        let built: Vec<_> = burst.iter().map(|(packet, _)| packet.build()).collect();
        let mut facts: Vec<Facts> = built.iter().map(|(_, facts)| *facts).collect();
        let frames: Vec<Frame<'_>> = built
            .iter()
            .zip(burst)
            .map(|((data, _), (_, time))| frame_of(data, Timestamp::from_nanos(*time)))
            .collect();
        bench.flows.observe(&frames, &facts);
        let ended = &mut |record: &FlowRecord| records.push(format!("{record:?}"));
        let mut done = 0;
        while done < frames.len() {
            done = bench.flows.advance(done, &mut facts, ended);
            splits.push(done);
        }
    }
    bench
        .flows
        .drain(&mut |record: &FlowRecord| records.push(format!("{record:?}")));
    (records, splits)
}

#[test]
fn a_burst_is_split_before_a_flow_ends() {
    let second = |time: u64| time * SECOND;
    let packets = [
        (client(SYN).numbers(100, 0), second(1)),
        (client(RST).numbers(101, 0), second(1)),
        (client(SYN).numbers(900, 0), second(2)),
        (client(ACK).numbers(901, 1), second(2)),
        (client(SYN).numbers(50, 0), second(2_000)),
    ];
    let (records, splits) = in_bursts(&packets, 32);
    assert_eq!(splits, [2, 4, 5]);
    assert_eq!(records.len(), 3);
    assert_eq!(in_bursts(&packets, 1).0, records);
    assert_eq!(in_bursts(&packets, 3).0, records);
}

#[test]
fn flows_end_at_the_same_packet_whatever_the_bursts() {
    // Half of the packets are from an hour ago: they meet flows only where these have not expired
    // yet.
    let packets: Vec<(Packet, u64)> = (0_u8..200)
        .map(|number| {
            let time = u64::from(number) * 10 + if number % 2 == 0 { 10_000 } else { 0 };
            (Packet::udp(1, 2).from(number % 7), time * SECOND)
        })
        .collect();
    let (records, _) = in_bursts(&packets, 1);
    assert!(records.len() > 7, "{}", records.len());
    for size in [2, 7, 31, 32] {
        assert_eq!(in_bursts(&packets, size).0, records, "bursts of {size}");
    }
}

#[test]
fn the_end_of_time_is_survived() {
    let mut bench = Bench::small();
    bench.now = u64::MAX - 200 * MILLISECOND;
    for last in 1..=100 {
        bench.send(&Packet::udp(1, 2).from(last % 5));
    }
    assert_eq!(bench.finish().len(), 5);
}

#[test]
fn a_full_table_lets_packets_pass_untracked() {
    let mut bench = Bench::small();
    for last in 1..=10 {
        let facts = bench.send(&Packet::udp(1, 2).from(100 + last));
        assert_eq!(facts.id == 0, last > 8);
    }
    assert_eq!(bench.flows.counters().table_full, 2);
    assert_eq!(bench.finish().len(), 8);
    let again = bench.send(&Packet::udp(1, 2));
    assert_ne!(again.id, 0, "room again");
}

#[test]
fn an_echo_and_its_reply_are_one_flow() {
    let mut bench = Bench::small();
    let echo = bench.send(&Packet::icmp(8, 0));
    let reply = bench.send(&Packet::icmp(0, 0).reverse());
    assert_eq!(echo.id, reply.id);
    assert_eq!(reply.direction, Direction::Responder);
    let unreachable = bench.send(&Packet::icmp(3, 1));
    let other_side = bench.send(&Packet::icmp(3, 1).reverse());
    assert_ne!(unreachable.id, other_side.id);
    assert_eq!(bench.finish()[0].source.1, 8);
}

#[test]
fn small_counters_overflow_into_the_large_ones() {
    let mut bench = Bench::small();
    let packet = Packet::udp(1, 2).payload(1_400);
    let (data, facts) = packet.build();
    let frame = frame_of(&data, Timestamp::from_nanos(SECOND));
    let frame = Frame {
        wire_length: frame.wire_length + 14,
        ..frame
    };
    let burst = [frame; 32];
    for _ in 0..100_000 {
        let mut facts = [facts; 32];
        bench.flows.track(&burst, &mut facts, &mut |_| ());
    }
    let counters = bench.only().counters[0];
    assert_eq!(counters.packets, 3_200_000);
    assert_eq!(counters.ip_bytes, 3_200_000 * 1_428);
    assert_eq!(counters.payload_bytes, 3_200_000 * 1_400);
    assert_eq!(counters.frame_bytes, 3_200_000 * 1_442);
}

#[test]
fn the_application_slot_comes_back_with_the_record() {
    let mut bench = Bench::small();
    let facts = bench.send(&Packet::udp(1, 2));
    let flow = bench.flows.flow_mut(facts.index).unwrap();
    assert_eq!(flow.id, facts.id);
    flow.application.slot = 17;
    assert_eq!(bench.only().application_slot, 17);
}

#[test]
fn random_packets_keep_the_account() {
    let mut bench = Bench::new(&Settings {
        flows_max: 64,
        ..Settings::default()
    });
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..200_000 {
        let [a, b, c, d, e, f, g, h] = next().to_le_bytes();
        let mut packet = Packet::tcp(u16::from(a & 3), 80)
            .from(b & 31)
            .flags(c)
            .numbers(
                u32::from_be_bytes([d, 0, 0, e]),
                u32::from_be_bytes([f, 0, 0, g]),
            )
            .payload(u16::from(h & 7));
        if a & 4 != 0 {
            packet = packet.reverse();
        }
        bench.send(&packet);
        if next() % 1_000 == 0 {
            bench.wait(next() % 100);
        }
    }
    let packets = bench.flows.counters().packets;
    assert_eq!(packets + bench.flows.counters().table_full, 200_000);
    let counted: u64 = bench
        .finish()
        .iter()
        .flat_map(|record| record.counters)
        .map(|side| side.packets)
        .sum();
    assert_eq!(counted, packets);
}

#[test]
fn a_flow_with_many_bytes_is_only_counted() {
    let mut bench = Bench::new(&Settings {
        flows_max: 8,
        shunt_bytes: 2_500,
        ..Settings::default()
    });
    let large = Packet::udp(1_000, 53).payload(972);
    let shunted = |facts: FlowFacts| facts.has(FlowFacts::SHUNTED);
    // 1,000 bytes each: the third makes it more, and the fourth is the first that comes then.
    let seen: Vec<bool> = (0..5).map(|_| shunted(bench.send(&large))).collect();
    assert_eq!(seen, [false, false, false, true, true]);
    assert!(
        shunted(bench.send(&large.clone().reverse())),
        "both directions"
    );
    assert!(!shunted(bench.send(&Packet::udp(1_001, 53).payload(972))));
    let counters = *bench.flows.counters();
    assert_eq!(
        counters.shunted_named().map(|(_, count)| count),
        [3, 3_000, 1]
    );
    assert_eq!(counters.packets, 7);
    let found: Vec<_> = bench
        .finish()
        .iter()
        .map(|record| {
            let bytes = record.counters.map(|counters| counters.ip_bytes);
            (record.shunted, bytes)
        })
        .collect();
    assert_eq!(found, [(true, [5_000, 1_000]), (false, [1_000, 0])]);
}

/// The small counters begin again at 0 after 4 GiB; the flow stays as it is.
#[test]
fn a_shunted_flow_stays_so_beyond_the_small_counters() {
    let mut bench = Bench::new(&Settings {
        flows_max: 8,
        shunt_bytes: SHUNT_BYTES_MAX,
        ..Settings::default()
    });
    let large = Packet::udp(1_000, 53).payload(65_000);
    let each = 65_028;
    let before = u64::from(SHUNT_BYTES_MAX) / each + 1;
    for number in 0..u64::from(u32::MAX) / each + 100 {
        let facts = bench.send(&large);
        assert_eq!(facts.has(FlowFacts::SHUNTED), number >= before, "{number}");
    }
    let counters = *bench.flows.counters();
    assert_eq!(counters.shunted_flows, 1);
    assert_eq!(counters.packets - counters.shunted_packets, before);
}

#[test]
fn a_new_flow_of_the_same_ends_is_looked_at_again() {
    let mut bench = Bench::new(&Settings {
        flows_max: 8,
        shunt_bytes: 100,
        ..Settings::default()
    });
    let packet = Packet::udp(1_000, 53).payload(972);
    assert!(!bench.send(&packet).has(FlowFacts::SHUNTED));
    assert!(bench.send(&packet).has(FlowFacts::SHUNTED));
    bench.wait(1_000);
    assert!(!bench.send(&packet).has(FlowFacts::SHUNTED));
    assert_eq!(bench.flows.counters().shunted_flows, 1);
}

/// Sizes of the largest flows, largest first.
fn sizes(flows: &Flows) -> Vec<u64> {
    flows.largest().iter().map(Large::bytes).collect()
}

#[test]
fn the_largest_flows_are_found_among_many() {
    let mut bench = Bench::new(&Settings {
        flows_max: 1_000,
        ..Settings::default()
    });
    // Packets of all flows in turns, of 1,000 bytes; each flow has a twentieth more than another.
    let mut packets = vec![20];
    while packets.len() < 100 {
        packets.push(packets[packets.len() - 1] * 21 / 20);
    }
    for round in 0..packets[99] {
        for port in (0..100_u16).filter(|port| round < packets[usize::from(*port)]) {
            bench.send(&Packet::udp(port, 53).payload(972));
        }
    }
    let largest = packets[84..].iter().rev();
    let expected: Vec<u64> = largest.map(|packets| packets * 1_000).collect();
    assert_eq!(sizes(&bench.flows), expected);
    let first = bench.flows.largest()[0];
    assert_eq!((first.source.1, first.ended), (99, false));
    assert_eq!(first.packets, [packets[99], 0]);
    // They have the bytes of the moment, also between powers of two.
    bench.send(&Packet::udp(99, 53).reverse().payload(72));
    assert_eq!(bench.flows.largest()[0].ip_bytes, [expected[0], 100]);
    bench.finish();
    assert!(bench.flows.largest().iter().all(|large| large.ended));
    assert_eq!(sizes(&bench.flows)[1..], expected[1..]);
}

#[test]
fn a_large_flow_that_ended_is_forgotten_after_a_minute() {
    let mut bench = Bench::small();
    for port in [1_000, 1_001, 1_000, 1_001] {
        bench.send(&Packet::udp(port, 53).payload(60_000));
    }
    bench.wait(20);
    bench.send(&Packet::udp(1_001, 53).payload(10_000));
    bench.wait(41);
    let ended = |flows: &Flows| {
        flows
            .largest()
            .iter()
            .map(|large| large.ended)
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(&bench.flows), [130_084, 120_056]);
    assert_eq!(ended(&bench.flows), [false, true], "idle for a minute");
    bench.wait(20);
    assert_eq!(ended(&bench.flows), [true, true]);
    bench.wait(45);
    assert_eq!(sizes(&bench.flows), [130_084]);
    bench.wait(20);
    assert_eq!(sizes(&bench.flows), [0; 0]);
}

#[test]
fn a_small_flow_is_no_large_one() {
    let mut bench = Bench::small();
    bench.send(&Packet::udp(1_000, 53).payload(65_000));
    bench.finish();
    assert_eq!(sizes(&bench.flows), [0; 0]);
}

#[test]
fn flows_end_in_the_order_of_their_ends() {
    let mut bench = Bench::small();
    let long = bench.handshake().id;
    let short = bench.send(&Packet::udp(1, 2)).id;
    bench.now += 400 * SECOND;
    let last = bench.send(&Packet::udp(3, 4)).id;
    let records = bench.finish();
    let ended: Vec<u64> = records.iter().map(|record| record.id).collect();
    assert_eq!(ended, [short, long, last]);
    assert!(records.is_sorted_by_key(|record| record.ended));
}
