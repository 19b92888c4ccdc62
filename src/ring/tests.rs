use super::*;

fn at(time: u64, packet: u64) -> Position {
    Position {
        time: Timestamp::from_nanos(time),
        packet,
        detail: 0,
    }
}

fn take(merge: &mut Merge<u64>) -> Option<(usize, u64)> {
    match merge.next() {
        Next::Item(item) => Some((item.sender, *item.value)),
        Next::Until(_) | Next::End => None,
    }
}

#[test]
fn an_item_waits_for_the_watermarks_of_all_others() {
    let (mut senders, mut merge) = rings::<u64, Shared<u64>>(2, 4);
    let mut second = senders.pop().unwrap();
    let mut first = senders.pop().unwrap();
    first.push(at(5, 1), 51, |_| {});
    first.push(at(7, 3), 71, |_| {});
    first.flush().unwrap();
    assert!(matches!(merge.next(), Next::Until(time) if time.nanos() == 0));
    second.advance(Timestamp::from_nanos(5));
    assert_eq!(take(&mut merge), None, "another may come at the same time");
    second.push(at(5, 0), 50, |_| {});
    second.push(at(6, 2), 60, |_| {});
    assert_eq!(
        take(&mut merge),
        None,
        "what is pending has not been handed over"
    );
    second.flush().unwrap();
    let given: Vec<_> = std::iter::from_fn(|| take(&mut merge)).collect();
    assert_eq!(given, [(1, 50), (0, 51), (1, 60)]);
    drop(second);
    assert_eq!(take(&mut merge), Some((0, 71)));
    assert_eq!(take(&mut merge), None);
    drop(first);
    assert!(matches!(merge.next(), Next::End));
}

#[test]
fn a_full_ring_says_so_and_loses_nothing() {
    let (mut senders, mut merge) = rings::<u64, Shared<u64>>(1, 1);
    let mut sender = senders.pop().unwrap();
    let mut sent = 0;
    while sender.reserve(8).is_ok() {
        sender.push(at(sent, sent), sent, |bytes| {
            bytes.extend_from_slice(&sent.to_be_bytes());
        });
        sent += 1;
    }
    assert_eq!(sent, 64);
    for number in 0..32_u64 {
        let Next::Item(item) = merge.next() else {
            panic!("{number}")
        };
        assert_eq!(
            (*item.value, item.bytes),
            (number, &number.to_be_bytes()[..])
        );
    }
    assert_eq!(take(&mut merge), None);
    assert_eq!(sender.reserve(8), Ok(()));
    assert_eq!(take(&mut merge), Some((0, 32)));
    assert!(!sender.is_closed());
    drop(merge);
    assert!(sender.is_closed());
}

/// Deterministic random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Everything that comes now.
fn take_all(
    merge: &mut Merge<Position>,
    given: &mut Vec<(Position, usize)>,
    until: &mut Timestamp,
) {
    loop {
        match merge.next() {
            Next::Item(item) => {
                assert_eq!(*item.value, item.position);
                assert_eq!(item.bytes, item.position.packet.to_be_bytes());
                assert!(item.position.time >= *until, "{until:?} {item:?}");
                given.push((item.position, item.sender));
            }
            Next::Until(time) => {
                *until = time.max(*until);
                break;
            }
            Next::End => break,
        }
    }
}

/// Up to 16 senders, rings of one to four batches, times of which many are equal, up to the end of
/// time: all comes out once, by position and then by sender.
#[test]
fn random_senders_come_out_in_order() {
    for seed in 1..200 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let count = 1 + usize::try_from(random.below(16)).unwrap();
        let batches = 1 + usize::try_from(random.below(4)).unwrap();
        let (mut senders, mut merge) = rings::<Position, Shared<Position>>(count, batches);
        let mut reached = vec![Position::default(); count];
        let (mut sent, mut given) = (Vec::new(), Vec::new());
        let mut until = Timestamp::default();
        for _ in 0..2_000 {
            let number = usize::try_from(random.below(u64::try_from(count).unwrap())).unwrap();
            let (sender, reached) = (&mut senders[number], &mut reached[number]);
            let time = match random.below(500) {
                0 => u64::MAX,
                step => reached.time.nanos().saturating_add(step / 300),
            };
            let next = at(time, reached.packet + random.below(2));
            match random.below(8) {
                0 => {
                    sender.advance(next.time);
                    *reached = (*reached).max(Position::at(next.time));
                }
                1 => drop(sender.flush()),
                2 => take_all(&mut merge, &mut given, &mut until),
                _ if sender.reserve(8).is_ok() => {
                    sender.push(next, next, |bytes| {
                        bytes.extend_from_slice(&next.packet.to_be_bytes());
                    });
                    sent.push((next, number));
                    *reached = next;
                }
                _ => sender.advance_to(*reached),
            }
        }
        for number in 0..count {
            while senders[number].flush().is_err() {
                for sender in &mut senders {
                    sender.advance_to(Position::LAST);
                    let _ = sender.flush();
                }
                take_all(&mut merge, &mut given, &mut until);
            }
        }
        drop(senders);
        take_all(&mut merge, &mut given, &mut until);
        sent.sort_unstable();
        assert_eq!(given, sent, "seed {seed}");
        assert!(matches!(merge.next(), Next::End));
    }
}

#[test]
fn an_item_from_before_the_last_one_counts_as_being_there() {
    for flushes in [false, true] {
        let (mut senders, mut merge) = rings::<u64, Shared<u64>>(1, 4);
        let mut sender = senders.pop().unwrap();
        for time in [5, 3, 6] {
            sender.push(at(time, time), time, |_| {});
            if flushes {
                sender.flush().unwrap();
            }
        }
        drop(sender);
        let mut found = Vec::new();
        while let Next::Item(item) = merge.next() {
            found.push((item.position.time.nanos(), *item.value));
        }
        assert_eq!(found, [(5, 5), (5, 3), (6, 6)], "whatever the batches");
    }
}

#[test]
fn the_end_of_time_is_not_the_end() {
    let (mut senders, mut merge) = rings::<u64, Shared<u64>>(2, 4);
    let mut second = senders.pop().unwrap();
    let mut first = senders.pop().unwrap();
    first.advance(Timestamp::MAX);
    second.advance(Timestamp::MAX);
    assert!(matches!(merge.next(), Next::Until(Timestamp::MAX)));
    second.push(at(u64::MAX, 1), 1, |_| {});
    second.push(Position::END, 2, |_| {});
    second.flush().unwrap();
    assert_eq!(take(&mut merge), None, "the first may have one before");
    first.push(at(u64::MAX, 0), 0, |_| {});
    drop(first);
    let given: Vec<_> = std::iter::from_fn(|| take(&mut merge)).collect();
    assert_eq!(given, [(0, 0), (1, 1), (1, 2)]);
    assert!(!matches!(merge.next(), Next::End));
    drop(second);
    assert!(matches!(merge.next(), Next::End));
}

/// Two threads that each fill the rings to one of two merges, all at one time.
#[test]
fn threads_that_wait_for_room_free_each_other() {
    const ITEMS: u64 = 20_000;
    let mut senders = [Vec::new(), Vec::new()];
    let mut merges = Vec::new();
    for _ in 0..2 {
        let (own, merge) = rings::<u64, Shared<u64>>(2, 1);
        for (thread, sender) in senders.iter_mut().zip(own) {
            thread.push(sender);
        }
        merges.push(merge);
    }
    std::thread::scope(|scope| {
        for (number, mut senders) in senders.into_iter().enumerate() {
            scope.spawn(move || {
                for item in 0..ITEMS {
                    let place = at(item / 1_000, u64::try_from(number).unwrap());
                    let pause = std::thread::yield_now;
                    wait_for_room(&mut senders, number, 8, place, pause).unwrap();
                    senders[number].push(place, item, |_| {});
                }
                // Nothing is pending for the other merge, so it can end first.
                drop(senders.remove(1 - number));
                while senders[0].flush().is_err() {
                    std::thread::yield_now();
                }
            });
        }
        for mut merge in merges {
            scope.spawn(move || {
                let mut count = 0;
                loop {
                    match merge.next() {
                        Next::Item(item) => {
                            assert_eq!(*item.value, count);
                            count += 1;
                        }
                        Next::Until(_) => std::thread::yield_now(),
                        Next::End => break,
                    }
                }
                assert_eq!(count, ITEMS);
            });
        }
    });
}
