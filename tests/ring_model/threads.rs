//! Single accesses, by the model checker loom: it runs each model once for every order of the
//! accesses of its threads and every value that each load may give.
//!
//! A queue of its own stands for that of the program, with the orderings that such a queue has. The
//! program's watermark is checked alone, as its many accesses are too many orders for more; in the
//! other models one number with the same orderings stands for it.

use crate::plan::{Given, Step, item};
use loom::sync::atomic::{self, AtomicBool, AtomicU64};
use loom::thread;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use wirelynx::packet::Timestamp;
use wirelynx::ring::{
    Batch, Closed, Link, Merge, Position, Sender, Watermark, Word, rings, wait_for_room,
};

/// The checker's number, with orderings as asked.
struct Ordered(AtomicU64);

impl Word for Ordered {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    fn load(&self, ordering: Ordering) -> u64 {
        self.0.load(ordering)
    }
    fn store(&self, value: u64, ordering: Ordering) {
        self.0.store(value, ordering);
    }
    fn fence(ordering: Ordering) {
        atomic::fence(ordering);
    }
}

/// The same with no ordering at all: broken.
struct Relaxed(AtomicU64);

impl Word for Relaxed {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    fn load(&self, _: Ordering) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn store(&self, value: u64, _: Ordering) {
        self.0.store(value, Ordering::Relaxed);
    }
    fn fence(_: Ordering) {}
}

/// What is wrong with a link.
const SOUND: u8 = 0;
/// The watermark is published before the batch is in the ring.
const PUBLISHED_FIRST: u8 = 1;
/// The ring is found empty before the watermark is read.
const READ_LAST: u8 = 2;
/// The watermark lies a nanosecond ahead.
const AHEAD: u8 = 3;
/// The watermark is written and read with no ordering.
const UNORDERED: u8 = 4;

type Slot<T> = Mutex<Option<Box<Batch<T>>>>;

/// A link of which the checker sees every access.
struct Modelled<T, const FAULT: u8 = SOUND> {
    slots: Vec<Slot<T>>,
    /// Batches taken, written by the consumer.
    head: AtomicU64,
    /// Batches put in, written by the producer.
    tail: AtomicU64,
    /// As [`pack`] gives it.
    watermark: AtomicU64,
    closed: AtomicBool,
    /// What a broken link keeps back, for one of its sides alone.
    held: Slot<T>,
}

impl<T, const FAULT: u8> Modelled<T, FAULT> {
    /// The place of a batch. No two threads are ever in the same one.
    fn with_slot<R>(&self, number: u64, act: impl FnOnce(&mut Option<Box<Batch<T>>>) -> R) -> R {
        let place = usize::try_from(number).unwrap() % self.slots.len();
        act(&mut self.slots[place].try_lock().unwrap())
    }

    fn is_full(&self) -> bool {
        let tail = self.tail.load(Ordering::Relaxed);
        tail - self.head.load(Ordering::Acquire) == u64::try_from(self.slots.len()).unwrap()
    }

    fn put(&self, batch: Box<Batch<T>>) {
        let tail = self.tail.load(Ordering::Relaxed);
        self.with_slot(tail, |slot| assert!(slot.replace(batch).is_none()));
        self.tail.store(tail + 1, Ordering::Release);
    }

    fn take(&self) -> Option<Box<Batch<T>>> {
        let head = self.head.load(Ordering::Relaxed);
        if self.tail.load(Ordering::Acquire) == head {
            return None;
        }
        let batch = self.with_slot(head, Option::take);
        self.head.store(head + 1, Ordering::Release);
        batch
    }
}

impl<T, const FAULT: u8> Link<T> for Modelled<T, FAULT> {
    fn new(batches_max: usize) -> Self {
        Self {
            slots: (0..batches_max).map(|_| Mutex::default()).collect(),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            watermark: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            held: Mutex::default(),
        }
    }

    fn push(&self, batch: Box<Batch<T>>) -> Result<(), Box<Batch<T>>> {
        if self.is_full() {
            return Err(batch);
        }
        match FAULT {
            PUBLISHED_FIRST => *self.held.try_lock().unwrap() = Some(batch),
            _ => self.put(batch),
        }
        Ok(())
    }

    fn pop(&self) -> Option<Box<Batch<T>>> {
        match FAULT {
            READ_LAST => self.held.try_lock().unwrap().take(),
            _ => self.take(),
        }
    }

    fn put_back(&self, _: Box<Batch<T>>) {}

    fn take_back(&self) -> Option<Box<Batch<T>>> {
        None
    }

    fn publish(&self, watermark: Position) {
        let ordering = match FAULT {
            UNORDERED => Ordering::Relaxed,
            _ => Ordering::Release,
        };
        self.watermark.store(pack(watermark), ordering);
        if FAULT == PUBLISHED_FIRST
            && let Some(batch) = self.held.try_lock().unwrap().take()
        {
            self.put(batch);
        }
    }

    fn watermark(&self) -> Option<Position> {
        if FAULT == READ_LAST {
            let mut held = self.held.try_lock().unwrap();
            *held = held.take().or_else(|| self.take());
        }
        let ordering = match FAULT {
            UNORDERED => Ordering::Relaxed,
            _ => Ordering::Acquire,
        };
        let mut watermark = unpack(self.watermark.load(ordering));
        if FAULT == AHEAD {
            let time = watermark.time.nanos().saturating_add(1);
            watermark.time = Timestamp::from_nanos(time);
        }
        Some(watermark)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// A watermark as one number, which is enough for the small ones of a model.
fn pack(watermark: Position) -> u64 {
    match watermark.time {
        Timestamp::MAX => u64::MAX,
        time => time.nanos() << 8 | watermark.packet,
    }
}

fn unpack(packed: u64) -> Position {
    let [time, packet, detail] = match packed {
        u64::MAX => [u64::MAX; 3],
        _ => [packed >> 8, packed & 0xff, 0],
    };
    Position {
        time: Timestamp::from_nanos(time),
        packet,
        detail,
    }
}

/// More bytes than a batch with anything in it has room for: each item is handed over alone.
const ALONE: usize = 1 << 20;

/// One thread's part of a plan: its senders are those to each merge.
fn send<L: Link<Position>>(
    mut senders: Vec<Sender<Position, L>>,
    steps: &[Step],
) -> Result<(), Closed> {
    for step in steps {
        match *step {
            Step::Item(at, to) => {
                wait_for_room(&mut senders, to, ALONE, at, thread::yield_now)?;
                senders[to].push(at, at, |_| {});
            }
            Step::Advance(time) => {
                for sender in &mut senders {
                    sender.advance(Timestamp::from_nanos(time));
                }
            }
        }
    }
    for to in 0..senders.len() {
        wait_for_room(
            &mut senders,
            to,
            ALONE,
            Position::default(),
            thread::yield_now,
        )?;
    }
    Ok(())
}

/// Take what comes until the end, or at so many tries.
fn merge<L: Link<Position>>(
    merge: &mut Merge<Position, L>,
    given: &mut Given,
    tries: Option<usize>,
) {
    let mut left = tries;
    while !given.ended() && left != Some(0) {
        given.take(&merge.next()).unwrap();
        left = left.map(|left| left - 1);
        if tries.is_none() && !given.ended() {
            thread::yield_now();
        }
    }
}

/// How much of a model is gone through.
#[derive(Clone, Copy)]
struct Bounds {
    /// Batches of a ring.
    batches: usize,
    /// Tries of the merge while there are other threads, which must not need more room then; none
    /// when it goes on to the end beside them.
    tries: Option<usize>,
    /// Preemptions; none for every order.
    preemptions: Option<usize>,
}

/// Run a plan with all that is within the bounds.
fn check<L: Link<Position> + Send + Sync + 'static>(
    plan: &'static [&'static [Step]],
    merges: usize,
    bounds: Bounds,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = bounds.preemptions;
    model.max_branches = 100_000;
    model.check(move || {
        let mut senders: Vec<Vec<Sender<Position, L>>> = plan.iter().map(|_| Vec::new()).collect();
        let mut ends = Vec::new();
        for number in 0..merges {
            let (own, end) = rings::<Position, L>(plan.len(), bounds.batches);
            for (thread, sender) in senders.iter_mut().zip(own) {
                thread.push(sender);
            }
            ends.push((end, Given::of(plan, number)));
        }
        let mut threads = Vec::new();
        for (senders, steps) in senders.into_iter().zip(plan) {
            threads.push(thread::spawn(move || send(senders, steps).unwrap()));
        }
        let mut last = ends.pop().unwrap();
        for (mut end, mut given) in ends {
            threads.push(thread::spawn(move || merge(&mut end, &mut given, None)));
        }
        merge(&mut last.0, &mut last.1, bounds.tries);
        for thread in threads {
            thread.join().unwrap();
        }
        merge(&mut last.0, &mut last.1, None);
    });
}

type Sound = Modelled<Position>;

/// Every order of the threads' accesses, with so many tries of the merge.
const fn every(tries: usize) -> Bounds {
    Bounds {
        batches: 4,
        tries: Some(tries),
        preemptions: None,
    }
}

/// Orders with so many preemptions.
const fn some(tries: usize, preemptions: usize) -> Bounds {
    Bounds {
        batches: 4,
        tries: Some(tries),
        preemptions: Some(preemptions),
    }
}

/// Rings of one batch, and merges that run beside the senders to the end.
const fn narrow(preemptions: usize) -> Bounds {
    Bounds {
        batches: 1,
        tries: None,
        preemptions: Some(preemptions),
    }
}

const ONE: &[&[Step]] = &[&[item(1, 1, 0), item(1, 2, 0)]];
const TWO: &[&[Step]] = &[&[item(2, 2, 0)], &[item(1, 1, 0), Step::Advance(3)]];
const NARROW: &[&[Step]] = &[&[item(1, 1, 0), item(2, 3, 0)], &[item(2, 2, 0)]];

#[test]
fn one_sender_in_every_order() {
    check::<Sound>(ONE, 1, every(2));
}

#[test]
fn two_senders() {
    check::<Sound>(TWO, 1, some(2, 3));
}

#[test]
fn two_senders_with_rings_of_one_batch() {
    check::<Sound>(NARROW, 1, narrow(2));
}

#[test]
fn a_sender_that_only_advances() {
    const IDLE: &[&[Step]] = &[&[item(1, 1, 0)], &[Step::Advance(1), Step::Advance(2)]];
    check::<Sound>(IDLE, 1, some(2, 2));
}

#[test]
fn two_senders_to_two_merges() {
    // Each thread sends so many items of one time to one merge that its ring is full.
    const CROSSED: &[&[Step]] = &[&[item(1, 1, 0); 4], &[item(1, 2, 1); 4]];
    // More preemptions take hours; `steps` goes through all states of this instead.
    check::<Sound>(CROSSED, 2, narrow(0));
}

#[test]
fn a_merge_that_is_gone_frees_its_senders() {
    loom::model(|| {
        let (mut senders, end) = rings::<Position, Sound>(1, 1);
        let sender = senders.pop().unwrap();
        let steps = [item(1, 1, 0), item(2, 2, 0), item(3, 3, 0)];
        let thread = thread::spawn(move || send(vec![sender], &steps));
        drop(end);
        assert_eq!(thread.join().unwrap(), Err(Closed));
    });
}

/// A watermark that is read while it is written is none, or one that was published.
#[test]
fn a_watermark_is_whole_or_none() {
    fn run<W: Word + 'static>() {
        loom::model(|| {
            let shared = loom::sync::Arc::new(Watermark::<W>::default());
            let writer = loom::sync::Arc::clone(&shared);
            let at = |number: u64| Position {
                time: Timestamp::from_nanos(number),
                packet: 9 - number,
                detail: number,
            };
            let thread = thread::spawn(move || {
                writer.publish(at(1));
            });
            let mut last = Position::default();
            for _ in 0..2 {
                if let Some(found) = shared.read() {
                    assert!([Position::default(), at(1)].contains(&found), "{found:?}");
                    assert!(found >= last);
                    last = found;
                }
            }
            thread.join().unwrap();
            assert_eq!(shared.read(), Some(at(1)));
        });
    }
    run::<Ordered>();
    let broken = std::panic::catch_unwind(run::<Relaxed>);
    assert!(broken.is_err(), "no torn value was found without orderings");
}

#[test]
#[should_panic(expected = "broken: ")]
fn a_watermark_before_its_batch_fails() {
    check::<Modelled<Position, PUBLISHED_FIRST>>(TWO, 1, some(1, 3));
}

#[test]
#[should_panic(expected = "broken: ")]
fn a_watermark_read_after_the_ring_fails() {
    check::<Modelled<Position, READ_LAST>>(TWO, 1, some(1, 3));
}

#[test]
#[should_panic(expected = "broken: ")]
fn a_watermark_that_lies_ahead_fails() {
    check::<Modelled<Position, AHEAD>>(ONE, 1, every(2));
}

#[test]
#[should_panic(expected = "broken: ")]
fn a_watermark_without_ordering_fails() {
    check::<Modelled<Position, UNORDERED>>(TWO, 1, some(1, 3));
}
