//! From several threads to one, in the order of event time.
//!
//! Each sender has a ring of its own, of which it is the only producer and [`Merge`] the only
//! consumer. Items go through it in batches, as handing over a batch costs as much as handing over
//! one item. A sender also publishes a *watermark*: nothing that it hands over later is older than
//! that. The merge gives an item when every other sender has either an item that comes behind it or
//! a watermark beyond its time. So its order depends on the items alone, not on the threads.
//!
//! ```text
//! sender 0 --ring of batches--> +-------+
//!          --watermark--------> |       |
//! sender 1 --ring of batches--> | Merge | --> items by (time, packet, detail)
//!          --watermark--------> |       |
//! ```
//!
//! The order of the two sides matters: a sender puts a batch into its ring before it publishes a
//! watermark beyond that batch, and the merge reads a watermark before it finds the ring empty.

use crate::packet::Timestamp;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::{Backoff, CachePadded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Items of one batch: handing over costs some 30 ns, so with these 1 ns an item.
pub const ITEMS_MAX: usize = 32;

/// Bytes that go with the items of one batch, unless its only item has more.
const BYTES_MAX: usize = 16 << 10;

/// Batches of one sender that may wait outside its ring for other senders, if nothing else is said:
/// two million items. Readers of one input are never that far apart; without a bound, a sender that
/// has stopped would fill the memory with what the others send.
const BEHIND_MAX: usize = 1 << 16;

/// Where an item stands among those of all senders.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Event time.
    pub time: Timestamp,
    /// Number of the packet; 0 for what a deadline brought about.
    pub packet: u64,
    /// Order within the packet.
    pub detail: u64,
}

impl Position {
    /// Before everything of this time.
    pub const fn at(time: Timestamp) -> Self {
        Self {
            time,
            packet: 0,
            detail: 0,
        }
    }
}

/// Items handed over together, with the bytes that go with them.
#[derive(Debug)]
pub struct Batch<T> {
    items: Vec<(Position, usize, T)>,
    bytes: Vec<u8>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            items: Vec::with_capacity(ITEMS_MAX),
            bytes: Vec::new(),
        }
    }
}

impl<T> Batch<T> {
    fn has_room(&self, length: usize) -> bool {
        self.items.is_empty()
            || self.items.len() < ITEMS_MAX && self.bytes.len() + length <= BYTES_MAX
    }

    fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
    }
}

/// What the two ends of one ring share. There is one for use, and one for a model checker.
pub trait Link<T>: Sized {
    /// With room for so many batches.
    fn new(batches_max: usize) -> Self;

    /// Hand over a batch; gives it back when there is no room.
    ///
    /// # Errors
    /// The ring is full.
    fn push(&self, batch: Box<Batch<T>>) -> Result<(), Box<Batch<T>>>;

    /// Take the next batch.
    fn pop(&self) -> Option<Box<Batch<T>>>;

    /// Hand an emptied batch back, to be filled again.
    fn put_back(&self, batch: Box<Batch<T>>);

    /// Take one that was handed back.
    fn take_back(&self) -> Option<Box<Batch<T>>>;

    /// Publish the watermark. Batches pushed before are seen by whoever reads it.
    fn publish(&self, watermark: Timestamp);

    /// The watermark last published.
    fn watermark(&self) -> Timestamp;

    /// The consumer is gone.
    fn close(&self);

    /// Is it?
    fn is_closed(&self) -> bool;
}

/// The link that the program uses.
#[derive(Debug)]
pub struct Shared<T> {
    full: ArrayQueue<Box<Batch<T>>>,
    empty: ArrayQueue<Box<Batch<T>>>,
    watermark: CachePadded<AtomicU64>,
    closed: AtomicBool,
}

impl<T> Link<T> for Shared<T> {
    fn new(batches_max: usize) -> Self {
        let batches_max = batches_max.max(1);
        let empty = ArrayQueue::new(batches_max + 2);
        // The sender has one in hand, the merge another.
        while empty.push(Box::default()).is_ok() {}
        Self {
            full: ArrayQueue::new(batches_max),
            empty,
            watermark: CachePadded::default(),
            closed: AtomicBool::new(false),
        }
    }

    fn push(&self, batch: Box<Batch<T>>) -> Result<(), Box<Batch<T>>> {
        self.full.push(batch)
    }

    fn pop(&self) -> Option<Box<Batch<T>>> {
        self.full.pop()
    }

    fn put_back(&self, batch: Box<Batch<T>>) {
        let _ = self.empty.push(batch);
    }

    fn take_back(&self) -> Option<Box<Batch<T>>> {
        self.empty.pop()
    }

    fn publish(&self, watermark: Timestamp) {
        self.watermark.store(watermark.nanos(), Ordering::Release);
    }

    fn watermark(&self) -> Timestamp {
        Timestamp::from_nanos(self.watermark.load(Ordering::Acquire))
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// The ring has no room: it can be tried again, or the item can be dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What a sender does when its ring is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits, and nothing is lost: capture files.
    Wait,
    /// It drops the item and counts it: live traffic does not wait.
    Drop,
}

/// How long a sender that waits sleeps between two looks, once it has looked some times.
const PAUSE: Duration = Duration::from_micros(50);

/// A ring for each of `senders`, each with room for so many batches, and the merge of them.
pub fn rings<T, L: Link<T>>(
    senders: usize,
    batches_max: usize,
) -> (Vec<Sender<T, L>>, Merge<T, L>) {
    let links: Vec<Arc<L>> = (0..senders)
        .map(|_| Arc::new(L::new(batches_max)))
        .collect();
    let merge = Merge::new(links.clone());
    (links.into_iter().map(Sender::new).collect(), merge)
}

/// The producer's end of a ring.
#[derive(Debug)]
pub struct Sender<T, L: Link<T> = Shared<T>> {
    link: Arc<L>,
    pending: Box<Batch<T>>,
    /// All later items are at or behind this time.
    reached: Timestamp,
    published: Timestamp,
}

impl<T, L: Link<T>> Sender<T, L> {
    fn new(link: Arc<L>) -> Self {
        Self {
            pending: link.take_back().unwrap_or_default(),
            link,
            reached: Timestamp::default(),
            published: Timestamp::default(),
        }
    }

    /// Is there room for an item with so many bytes, after handing over what is pending if need be?
    ///
    /// # Errors
    /// There is none, until the consumer has taken something.
    pub fn reserve(&mut self, length: usize) -> Result<(), Full> {
        match self.pending.has_room(length) {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// As [`Sender::reserve`]; waits for room if so told. False when there is none and the item
    /// must be dropped: the ring is full, or nobody takes anything out of it any more.
    pub fn make_room(&mut self, length: usize, when_full: WhenFull) -> bool {
        let backoff = Backoff::new();
        while self.reserve(length).is_err() {
            if when_full == WhenFull::Drop || self.is_closed() {
                return false;
            }
            match backoff.is_completed() {
                true => std::thread::sleep(PAUSE),
                false => backoff.snooze(),
            }
        }
        true
    }

    /// Put an item behind those before it; `record` writes the bytes that go with it. An item from
    /// before the watermark counts as being there. See [`Sender::reserve`] for the room.
    pub fn push(&mut self, position: Position, item: T, record: impl FnOnce(&mut Vec<u8>)) {
        let position = position.max(Position::at(self.reached));
        let last = self.pending.items.last().map(|(last, ..)| *last);
        let position = last.map_or(position, |last| position.max(last));
        record(&mut self.pending.bytes);
        let end = self.pending.bytes.len();
        self.pending.items.push((position, end, item));
    }

    /// All later items are at or behind this time. What is pending stays so.
    pub fn advance(&mut self, to: Timestamp) {
        self.reached = self.reached.max(to);
        self.publish();
    }

    /// Hand over what is pending.
    ///
    /// # Errors
    /// The ring is full; nothing has changed.
    pub fn flush(&mut self) -> Result<(), Full> {
        if !self.pending.items.is_empty() {
            let next = self.link.take_back().unwrap_or_default();
            let batch = std::mem::replace(&mut self.pending, next);
            if let Err(batch) = self.link.push(batch) {
                let next = std::mem::replace(&mut self.pending, batch);
                self.link.put_back(next);
                return Err(Full);
            }
        }
        self.publish();
        Ok(())
    }

    /// Hand over what is pending, however long that takes, unless the consumer is gone.
    pub fn finish(&mut self) {
        while self.flush().is_err() && !self.is_closed() {
            std::thread::sleep(PAUSE);
        }
    }

    /// Number of items that are pending.
    pub fn pending(&self) -> usize {
        self.pending.items.len()
    }

    /// Is the consumer gone, so that waiting for room has no end?
    pub fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Publish how far this sender is, as far as what is pending allows.
    fn publish(&mut self) {
        let first = self.pending.items.first().map(|(first, ..)| first.time);
        let watermark = first.map_or(self.reached, |first| first.min(self.reached));
        if watermark > self.published {
            self.published = watermark;
            self.link.publish(watermark);
        }
    }
}

impl<T, L: Link<T>> Drop for Sender<T, L> {
    /// Nothing can come any more. What could not be handed over is lost: flush first.
    fn drop(&mut self) {
        let _ = self.flush();
        self.link.publish(Timestamp::MAX);
    }
}

/// What the merge has to give.
#[derive(Debug)]
pub enum Next<'a, T> {
    /// The next item in order.
    Item(Item<'a, T>),
    /// Nothing now, and nothing later that is older than this.
    Until(Timestamp),
    /// Nothing any more: all senders are gone.
    End,
}

/// An item that comes out of the merge.
#[derive(Debug)]
pub struct Item<'a, T> {
    /// Where it stands.
    pub position: Position,
    /// Number of its sender.
    pub sender: usize,
    /// The item.
    pub value: &'a mut T,
    /// The bytes that go with it.
    pub bytes: &'a [u8],
}

/// One ring, with what was taken out of it.
#[derive(Debug)]
struct Input<T, L> {
    link: Arc<L>,
    /// The batch that is being given out.
    front: Option<Box<Batch<T>>>,
    /// Those behind it. They are taken while the order is not known yet, so that a sender never
    /// waits for another sender.
    behind: VecDeque<Box<Batch<T>>>,
    /// Number of the next item of `front`.
    next: usize,
}

impl<T, L: Link<T>> Input<T, L> {
    fn head(&self) -> Option<Position> {
        let (position, ..) = self.front.as_ref()?.items.get(self.next)?;
        Some(*position)
    }

    /// Take the next batch if the last one is done with. Gives the time before which nothing can
    /// come any more when there is none.
    fn refill(&mut self) -> Option<Timestamp> {
        if self.head().is_some() {
            return None;
        }
        if let Some(mut done) = self.front.take() {
            done.clear();
            self.link.put_back(done);
        }
        self.next = 0;
        self.front = self.behind.pop_front();
        if self.front.is_some() {
            return None;
        }
        // In this order: what was pushed before the watermark is found then.
        let watermark = self.link.watermark();
        self.front = self.link.pop();
        match self.front {
            Some(_) => None,
            None => Some(watermark),
        }
    }
}

/// The consumer's end of all rings.
#[derive(Debug)]
pub struct Merge<T, L: Link<T> = Shared<T>> {
    inputs: Vec<Input<T, L>>,
    /// The input whose turn it is, and up to where.
    turn: (usize, Position),
    behind_max: usize,
}

impl<T, L: Link<T>> Merge<T, L> {
    fn new(links: Vec<Arc<L>>) -> Self {
        let input = |link| Input {
            link,
            front: None,
            behind: VecDeque::new(),
            next: 0,
        };
        Self {
            inputs: links.into_iter().map(input).collect(),
            turn: (0, Position::default()),
            behind_max: BEHIND_MAX,
        }
    }

    /// Let so many batches of each sender at most wait for other senders outside its ring. Live,
    /// where a sender may stop while others go on, what does not fit is to be dropped by these.
    #[must_use]
    pub fn bounded(mut self, behind_max: usize) -> Self {
        self.behind_max = behind_max;
        self
    }

    /// The next item, if it is known which that is.
    #[expect(
        clippy::should_implement_trait,
        reason = "what an iterator gives cannot borrow from it"
    )]
    pub fn next(&mut self) -> Next<'_, T> {
        let (turn, limit) = self.turn;
        let head = self.inputs.get(turn).and_then(Input::head);
        if head.is_none_or(|head| head >= limit)
            && let Err(watermark) = self.choose()
        {
            self.make_way();
            return match watermark {
                Timestamp::MAX => Next::End,
                watermark => Next::Until(watermark),
            };
        }
        let (sender, _) = self.turn;
        let item = self.inputs.get_mut(sender).and_then(Input::give);
        match item {
            Some((position, value, bytes)) => Next::Item(Item {
                position,
                sender,
                value,
                bytes,
            }),
            None => Next::Until(Timestamp::default()),
        }
    }

    /// Empty the rings, up to a bound, while what comes out of them has to wait: a sender that waits
    /// for room would wait for whatever it waits for, which may be that very sender.
    pub fn make_way(&mut self) {
        for input in &mut self.inputs {
            while input.behind.len() < self.behind_max
                && let Some(batch) = input.link.pop()
            {
                input.behind.push_back(batch);
            }
        }
    }

    /// Find out whose turn it is. Gives the time before which nothing can come any more when that
    /// is not known yet.
    fn choose(&mut self) -> Result<(), Timestamp> {
        let mut watermark = Timestamp::MAX;
        let mut first: Option<(Position, usize)> = None;
        let mut second = Position::at(Timestamp::MAX);
        for (number, input) in self.inputs.iter_mut().enumerate() {
            if let Some(own) = input.refill() {
                watermark = watermark.min(own);
            }
            match (input.head(), first) {
                (Some(head), Some((least, _))) if head >= least => second = second.min(head),
                (Some(head), _) => {
                    second = first.map_or(second, |(least, _)| second.min(least));
                    first = Some((head, number));
                }
                (None, _) => {}
            }
        }
        match first {
            // A last item at the end of time can only wait for others of that time.
            Some((head, number)) if head.time < watermark || watermark == Timestamp::MAX => {
                // At least this one, which may share its position with another.
                let next = Position {
                    detail: head.detail.saturating_add(1),
                    ..head
                };
                self.turn = (number, second.min(Position::at(watermark)).max(next));
                Ok(())
            }
            _ => Err(watermark),
        }
    }
}

impl<T, L> Input<T, L> {
    fn give(&mut self) -> Option<(Position, &mut T, &[u8])> {
        let batch = self.front.as_mut()?;
        let before = self.next.checked_sub(1);
        let start = before.and_then(|before| batch.items.get(before));
        let start = start.map_or(0, |(_, end, _)| *end);
        let (position, end, value) = batch.items.get_mut(self.next)?;
        self.next += 1;
        let bytes = batch.bytes.get(start..*end).unwrap_or_default();
        Some((*position, value, bytes))
    }
}

impl<T, L: Link<T>> Drop for Merge<T, L> {
    fn drop(&mut self) {
        for input in &self.inputs {
            input.link.close();
        }
    }
}

#[cfg(test)]
mod tests {
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
}
