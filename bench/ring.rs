//! Nanoseconds that an item takes from its sender through the ring and out of the merge.
//!
//! Items carry 100 bytes. One thread that is all senders and merges in turn shows what the work
//! costs; then each sender and each merge has a thread of its own, which shows what the cores cost
//! each other. Of the latter the time of the run is divided by the items, so what several threads
//! do at the same time counts once. Medians of `ROUNDS` rounds. `cargo bench --bench ring`
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::time::Instant;
use wirelynx::packet::Timestamp;
use wirelynx::ring::{ITEMS_MAX, Merge, Next, Position, Sender, Shared, rings, wait_for_room};

const ROUNDS: usize = 5;
/// Items of a round, over all senders.
const ITEMS: u64 = 1 << 20;
/// Batches of a ring.
const BATCHES: usize = 64;
/// Bytes of an item, beside what is fixed.
const LENGTH: usize = 100;
static BYTES: [u8; LENGTH] = [7; LENGTH];
/// Packets between two watermarks: a burst.
const BURST: u64 = 32;

/// What is fixed in a match: rule, event, hash of the key.
#[derive(Debug, Clone, Copy)]
struct Fixed {
    rule: u32,
    event: u32,
    key: u64,
}

type Senders = Vec<Sender<Fixed>>;

fn position(number: u64) -> Position {
    Position {
        time: Timestamp::from_nanos(1_700_000_000_000_000_000 + number * 67),
        packet: number,
        detail: 0,
    }
}

/// The senders of each thread, and the merges.
fn arrange(threads: usize, merges: usize) -> (Vec<Senders>, Vec<Merge<Fixed>>) {
    let mut senders: Vec<Senders> = (0..threads).map(|_| Vec::new()).collect();
    let merges = (0..merges).map(|_| {
        let (own, merge) = rings::<Fixed, Shared<Fixed>>(threads, BATCHES);
        for (thread, sender) in senders.iter_mut().zip(own) {
            thread.push(sender);
        }
        merge
    });
    let merges = merges.collect();
    (senders, merges)
}

/// Send an item for each packet of a burst to one merge, handing over each `batch` of them alone;
/// then say how far the thread is. Packets of all `threads` take turns.
fn send_burst(senders: &mut [Sender<Fixed>], first: u64, threads: u64, batch: usize) {
    let merges = u64::try_from(senders.len()).unwrap_or(1);
    let to = usize::try_from(first / BURST / threads % merges).unwrap_or(0);
    for packet in 0..BURST {
        let number = first + packet * threads;
        let at = position(number);
        let Some(sender) = senders.get_mut(to) else {
            return;
        };
        if sender.reserve(LENGTH).is_err() {
            let _ = wait_for_room(senders, to, LENGTH, at, std::thread::yield_now);
        }
        if let Some(sender) = senders.get_mut(to) {
            sender.push(at, fixed(number), |bytes| {
                bytes.extend_from_slice(black_box(&BYTES));
            });
            if sender.pending() >= batch {
                let _ = sender.flush();
            }
        }
    }
    for sender in senders {
        let _ = sender.flush();
        sender.advance_to(position(first + BURST * threads));
    }
}

const fn fixed(key: u64) -> Fixed {
    Fixed {
        rule: 1,
        event: 2,
        key,
    }
}

/// The same items into a vector and out again, which is what sending takes without any ring.
fn nothing() -> f64 {
    let mut items: Vec<(Position, Fixed)> = Vec::with_capacity(ITEMS_MAX);
    let mut bytes: Vec<u8> = Vec::with_capacity(ITEMS_MAX * LENGTH);
    let mut taken = 0;
    let begin = Instant::now();
    for burst in 0..ITEMS / BURST {
        for number in burst * BURST..(burst + 1) * BURST {
            items.push((position(number), fixed(number)));
            bytes.extend_from_slice(black_box(&BYTES));
        }
        for (item, bytes) in black_box(&items).iter().zip(bytes.chunks(LENGTH)) {
            black_box((item, bytes));
            taken += 1;
        }
        items.clear();
        bytes.clear();
    }
    per_item(begin, taken)
}

/// Take all that there is; false at the end.
fn take(merge: &mut Merge<Fixed>, count: &mut u64) -> bool {
    loop {
        match merge.next() {
            Next::Item(item) => {
                black_box((
                    item.value.rule,
                    item.value.event,
                    item.value.key,
                    item.bytes,
                ));
                *count += 1;
            }
            Next::Until(_) => return true,
            Next::End => return false,
        }
    }
}

/// All on one thread; nanoseconds an item.
fn alone(threads: usize, merges: usize, batch: usize) -> f64 {
    let (mut senders, mut merges) = arrange(threads, merges);
    let count = u64::try_from(threads).unwrap_or(1);
    let mut taken = 0;
    let begin = Instant::now();
    for burst in (0..ITEMS / BURST / count).map(|burst| burst * BURST * count) {
        for (thread, senders) in (0..).zip(&mut senders) {
            send_burst(senders, burst + thread, count, batch);
        }
        for merge in &mut merges {
            take(merge, &mut taken);
        }
    }
    drop(senders);
    for merge in &mut merges {
        while take(merge, &mut taken) {}
    }
    per_item(begin, taken)
}

/// A thread each; nanoseconds an item.
fn together(threads: usize, merges: usize, batch: usize) -> f64 {
    let (senders, merges) = arrange(threads, merges);
    let count = u64::try_from(threads).unwrap_or(1);
    let begin = Instant::now();
    let taken = std::thread::scope(|scope| {
        for (thread, mut senders) in (0..).zip(senders) {
            scope.spawn(move || {
                for burst in 0..ITEMS / BURST / count {
                    send_burst(&mut senders, burst * BURST * count + thread, count, batch);
                }
                for to in 0..senders.len() {
                    // More than a batch can hold: what is pending goes.
                    let end = position(ITEMS);
                    let _ = wait_for_room(&mut senders, to, 1 << 20, end, std::thread::yield_now);
                }
            });
        }
        let merges = merges.into_iter().map(|mut merge| {
            scope.spawn(move || {
                let mut taken = 0;
                while take(&mut merge, &mut taken) {
                    std::thread::yield_now();
                }
                taken
            })
        });
        let merges: Vec<_> = merges.collect();
        merges
            .into_iter()
            .map(|merge| merge.join().unwrap_or(0))
            .sum()
    });
    per_item(begin, taken)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a million items, and nanoseconds of seconds"
)]
fn per_item(begin: Instant, taken: u64) -> f64 {
    assert_eq!(taken, ITEMS, "items that came out");
    begin.elapsed().as_nanos() as f64 / taken as f64
}

fn median(run: impl Fn() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS).map(|_| run()).collect();
    times.sort_by(f64::total_cmp);
    times.get(ROUNDS / 2).copied().unwrap_or(0.0)
}

fn main() {
    let only = std::env::args().any(|argument| argument == "--one-thread");
    println!("without rings {:.1} ns an item", median(nothing));
    println!("senders x merges   batch   one thread   a thread each   (ns an item)");
    for (threads, merges) in [(1, 1), (2, 1), (2, 2)] {
        for batch in [1, 8, ITEMS_MAX] {
            let alone = median(|| alone(threads, merges, batch));
            let together = match only {
                true => 0.0,
                false => median(|| together(threads, merges, batch)),
            };
            println!("{threads:>7} x {merges:<8} {batch:>5} {alone:>12.1} {together:>15.1}");
        }
    }
}
