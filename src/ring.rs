//! From several threads to one, in the order of event time.
//!
//! Each sender has a ring of its own, of which it is the only producer and [`Merge`] the only
//! consumer. Items go through it in batches, as handing over a batch costs as much as handing over
//! one item. A sender also publishes a *watermark*: nothing that it hands over later comes before
//! that. The merge gives an item when every other sender has either an item or a watermark behind
//! it. So its order depends on the items alone, not on the threads.
//!
//! ```text
//! sender 0 --ring of batches--> +-------+
//!          --watermark--------> |       |
//! sender 1 --ring of batches--> | Merge | --> items by (time, packet, detail, sender)
//!          --watermark--------> |       |
//! ```
//!
//! The order of the two sides matters: a sender puts a batch into its ring before it publishes a
//! watermark beyond that batch, and the merge reads a watermark before it finds the ring empty.
//!
//! # Waiting for room
//! A merge that has no room left may wait for another sender's watermark. So a thread that waits
//! for room in one ring must meanwhile go on telling all its other rings how far it is, which
//! [`wait_for_room`] does. Then no threads can wait for each other, with any number of senders and
//! merges, if senders have the same number in every merge: the one that is least far, by position
//! and then by number, has an item in the full ring that nothing can come before. That is why a
//! watermark is a whole position: with times alone, threads that are at the same time would wait
//! for each other. `tests/ring_model/` tries all ways that it can go.
//!
//! Where rings of several kinds lead from one thread to others, a consumer that does not know the
//! order yet empties its rings meanwhile ([`Merge::make_way`]), so that nobody waits for it.

mod watermark;

pub use watermark::{Watermark, Word};

use crate::packet::Timestamp;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::{Backoff, CachePadded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
    /// Number of the packet; 0 for what a deadline brought about. A deadline has passed once time
    /// is beyond it, so `time` is a nanosecond later then.
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

    /// The watermark of a sender that is gone.
    const END: Self = Self {
        time: Timestamp::MAX,
        packet: u64::MAX,
        detail: u64::MAX,
    };

    /// The last one that an item can have.
    const LAST: Self = Self {
        detail: u64::MAX - 1,
        ..Self::END
    };
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
    /// With room for all bytes that it may get.
    fn with_bytes() -> Self {
        Self {
            bytes: Vec::with_capacity(BYTES_MAX),
            ..Self::default()
        }
    }

    fn has_room(&self, length: usize) -> bool {
        self.items.is_empty()
            || self.items.len() < ITEMS_MAX && self.bytes.len().saturating_add(length) <= BYTES_MAX
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
    fn publish(&self, watermark: Position);

    /// The watermark last published; nothing if it cannot be told without waiting.
    fn watermark(&self) -> Option<Position>;

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
    watermark: CachePadded<Watermark>,
    closed: AtomicBool,
}

impl<T> Link<T> for Shared<T> {
    fn new(batches_max: usize) -> Self {
        let batches_max = batches_max.max(1);
        Self {
            full: ArrayQueue::new(batches_max),
            empty: ArrayQueue::new(batches_max + BESIDE),
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

    fn publish(&self, watermark: Position) {
        self.watermark.publish(watermark);
    }

    fn watermark(&self) -> Option<Position> {
        self.watermark.read()
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// How full a ring is, for whoever shows it: any thread may ask, and neither end notices.
pub trait Fill: std::fmt::Debug + Send + Sync {
    /// Batches in it now.
    fn waiting(&self) -> usize;

    /// Batches for which it has room.
    fn capacity(&self) -> usize;
}

impl<T: std::fmt::Debug + Send> Fill for Shared<T> {
    fn waiting(&self) -> usize {
        self.full.len()
    }

    fn capacity(&self) -> usize {
        self.full.capacity()
    }
}

/// Batches beside those in a ring: the sender has two in hand when it finds the ring full, the
/// merge another.
const BESIDE: usize = 3;

/// What a sender does when its ring is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits, and nothing is lost: capture files.
    Wait,
    /// It drops the item and counts it: live traffic does not wait.
    Drop,
}

/// How long the last items wait for a consumer that takes nothing: a run has to end.
const LAST_WAIT: Duration = Duration::from_millis(300);

/// How long a sender that waits sleeps between two looks, once it has looked some times.
const PAUSE: Duration = Duration::from_micros(50);

/// The ring has no room: it can be tried again, or the item can be dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The merge is gone: what is sent to it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Wait until `senders[number]` has room for an item with so many bytes. Meanwhile all `senders`,
/// which are those of one thread to several merges, hand over what is pending and say that the
/// thread is at `at`. `pause` is called between two tries.
///
/// # Errors
/// The merge is gone, or there is no such sender.
pub fn wait_for_room<T, L: Link<T>>(
    senders: &mut [Sender<T, L>],
    number: usize,
    length: usize,
    at: Position,
    mut pause: impl FnMut(),
) -> Result<(), Closed> {
    loop {
        let sender = senders.get_mut(number).ok_or(Closed)?;
        if sender.reserve(length).is_ok() {
            return Ok(());
        }
        if sender.is_closed() {
            return Err(Closed);
        }
        for sender in &mut *senders {
            sender.advance_to(at);
            // A ring that is full has something for its merge to go on with.
            let _ = sender.flush();
        }
        pause();
    }
}

/// Have room in `senders[number]` for an item of the position `at` with so many bytes: as
/// [`Sender::make_room`], but that the thread's other rings learn how far it is while it waits.
pub fn make_room<T, L: Link<T>>(
    senders: &mut [Sender<T, L>],
    number: usize,
    length: usize,
    at: Position,
    when_full: WhenFull,
) -> bool {
    let sender = senders.get_mut(number);
    if sender.is_some_and(|sender| sender.reserve(length).is_ok()) {
        return true;
    }
    let backoff = Backoff::new();
    when_full == WhenFull::Wait
        && wait_for_room(senders, number, length, at, || pause(&backoff)).is_ok()
}

fn pause(backoff: &Backoff) {
    match backoff.is_completed() {
        true => std::thread::sleep(PAUSE),
        false => backoff.snooze(),
    }
}

/// A ring for each of `senders`, each with room for so many batches, and the merge of them.
pub fn rings<T, L: Link<T>>(
    senders: usize,
    batches_max: usize,
) -> (Vec<Sender<T, L>>, Merge<T, L>) {
    let links: Vec<Arc<L>> = (0..senders)
        .map(|_| Arc::new(L::new(batches_max)))
        .collect();
    let merge = Merge::new(links.clone());
    let senders = links.into_iter().map(|link| Sender::new(link, batches_max));
    (senders.collect(), merge)
}

/// The producer's end of a ring.
#[derive(Debug)]
pub struct Sender<T, L: Link<T> = Shared<T>> {
    link: Arc<L>,
    pending: Box<Batch<T>>,
    /// Batches that were never used. Those that come back are taken first: as few as can be go
    /// round, so that they stay in the caches.
    #[expect(clippy::vec_box, reason = "a box goes into the ring as it is")]
    unused: Vec<Box<Batch<T>>>,
    /// All later items are here or behind.
    reached: Position,
    published: Position,
}

impl<T: std::fmt::Debug + Send + 'static> Sender<T> {
    /// How full its ring is, to be seen by others.
    pub fn fill(&self) -> Arc<dyn Fill> {
        let link: Arc<Shared<T>> = Arc::clone(&self.link);
        link
    }
}

impl<T, L: Link<T>> Sender<T, L> {
    fn new(link: Arc<L>, batches_max: usize) -> Self {
        let batches = batches_max.max(1) + BESIDE;
        let unused = std::iter::repeat_with(|| Box::new(Batch::with_bytes()));
        let mut unused: Vec<_> = unused.take(batches).collect();
        Self {
            pending: unused.pop().unwrap_or_default(),
            unused,
            link,
            reached: Position::default(),
            published: Position::default(),
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
            pause(&backoff);
        }
        true
    }

    /// Put an item behind those before it; `record` writes the bytes that go with it. An item from
    /// before the one put last, or before what [`Sender::advance`] said, counts as being there. See
    /// [`Sender::reserve`] for the room.
    #[inline]
    pub fn push(&mut self, position: Position, item: T, record: impl FnOnce(&mut Vec<u8>)) {
        let position = self.reach(position);
        record(&mut self.pending.bytes);
        let end = self.pending.bytes.len();
        self.pending.items.push((position, end, item));
    }

    /// All later items are here or behind, and behind those before. Never the end.
    #[inline]
    fn reach(&mut self, to: Position) -> Position {
        // Chosen part by part: as a whole it goes through memory, which takes ten times as long.
        let before = self.reached;
        let goes_on = before < to;
        let choose = |to, before| if goes_on { to } else { before };
        let reached = Position {
            time: before.time.max(to.time),
            packet: choose(to.packet, before.packet),
            detail: choose(to.detail, before.detail).min(Position::LAST.detail),
        };
        self.reached = reached;
        reached
    }

    /// All later items are at or behind this time. What is pending stays so.
    pub fn advance(&mut self, to: Timestamp) {
        self.advance_to(Position::at(to));
    }

    /// All later items are at or behind this position. What is pending stays so.
    pub fn advance_to(&mut self, to: Position) {
        self.reach(to);
        self.publish();
    }

    /// Hand over what is pending.
    ///
    /// # Errors
    /// The ring is full; nothing has changed.
    pub fn flush(&mut self) -> Result<(), Full> {
        if !self.pending.items.is_empty() {
            let next = self.link.take_back().or_else(|| self.unused.pop());
            let next = next.unwrap_or_default();
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

    /// Hand over what is pending, before nothing more comes. Where nothing waits for a consumer
    /// otherwise, it is given 300 ms. Gives the number of items that were not handed over.
    pub fn finish(&mut self, when_full: WhenFull) -> usize {
        let start = Instant::now();
        while self.flush().is_err() {
            let is_late = when_full == WhenFull::Drop && start.elapsed() > LAST_WAIT;
            if is_late || self.is_closed() {
                return self.pending();
            }
            std::thread::sleep(PAUSE);
        }
        0
    }

    /// Give up what is pending: the items that nobody will get.
    pub fn discard(&mut self) -> impl Iterator<Item = T> {
        self.pending.bytes.clear();
        self.pending.items.drain(..).map(|(_, _, item)| item)
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
        let first = self.pending.items.first().map(|(first, ..)| *first);
        let watermark = first.unwrap_or(self.reached);
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
        self.link.publish(Position::END);
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

/// A batch that is being given out.
#[derive(Debug)]
struct Input<T, L> {
    link: Arc<L>,
    front: Option<Box<Batch<T>>>,
    /// Those behind it that were taken before their time.
    behind: VecDeque<Box<Batch<T>>>,
    /// Number of the next item of `front`, and where its bytes begin.
    next: usize,
    start: usize,
    /// There is a next item.
    is_here: bool,
    /// Where the next item is or, when it is not here yet, before where it cannot be.
    bound: Position,
}

impl<T, L: Link<T>> Input<T, L> {
    fn new(link: Arc<L>) -> Self {
        Self {
            link,
            front: None,
            behind: VecDeque::new(),
            next: 0,
            start: 0,
            is_here: false,
            bound: Position::default(),
        }
    }

    /// All of a batch is given: look for the next one.
    fn look(&mut self) {
        if let Some(mut done) = self.front.take() {
            done.clear();
            self.link.put_back(done);
        }
        self.next = 0;
        self.start = 0;
        self.front = self.behind.pop_front();
        if self.front.is_none() {
            // In this order: what was pushed before the watermark is found then.
            if let Some(watermark) = self.link.watermark() {
                self.bound = watermark;
            }
            self.front = self.link.pop();
        }
        let first = self.front.as_ref().and_then(|front| front.items.first());
        if let Some((first, ..)) = first {
            self.bound = *first;
            self.is_here = true;
        }
    }

    #[inline]
    fn give(&mut self) -> Option<(Position, &mut T, &[u8])> {
        let batch = self.front.as_mut()?;
        let mut items = batch.items.get_mut(self.next..)?.iter_mut();
        let (position, end, value) = items.next()?;
        self.next += 1;
        match items.next() {
            Some((next, ..)) => self.bound = *next,
            None => self.is_here = false,
        }
        let bytes = batch.bytes.get(self.start..*end).unwrap_or_default();
        self.start = *end;
        Some((*position, value, bytes))
    }
}

/// The consumer's end of all rings.
#[derive(Debug)]
pub struct Merge<T, L: Link<T> = Shared<T>> {
    inputs: Vec<Input<T, L>>,
    /// Numbers of the inputs by their bounds, as these were when they were looked at last.
    order: Vec<usize>,
    /// The input whose turn it is, and what is known of all others: its items before that are next.
    turn: usize,
    others: Position,
    behind_max: usize,
}

impl<T, L: Link<T>> Merge<T, L> {
    fn new(links: Vec<Arc<L>>) -> Self {
        Self {
            order: (0..links.len()).collect(),
            inputs: links.into_iter().map(Input::new).collect(),
            turn: 0,
            others: Position::default(),
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
    #[inline]
    pub fn next(&mut self) -> Next<'_, T> {
        let goes_on = |input: &Input<T, L>| input.is_here && input.bound < self.others;
        if !self.inputs.get(self.turn).is_some_and(goes_on)
            && !self.pass_turn()
            && let Err(watermark) = self.choose()
        {
            return match watermark {
                Position::END => Next::End,
                watermark => Next::Until(watermark.time),
            };
        }
        let sender = self.turn;
        match self.inputs.get_mut(sender).and_then(Input::give) {
            Some((position, value, bytes)) => Next::Item(Item {
                position,
                sender,
                value,
                bytes,
            }),
            None => Next::Until(Timestamp::default()),
        }
    }

    /// Number of senders.
    pub fn senders(&self) -> usize {
        self.inputs.len()
    }

    /// Empty the rings, up to a bound, while what comes out of them has to wait: a sender that
    /// waits for room would wait for whatever it waits for, which may be that very sender.
    pub fn make_way(&mut self) {
        for input in &mut self.inputs {
            while input.behind.len() < self.behind_max
                && let Some(batch) = input.link.pop()
            {
                input.behind.push_back(batch);
            }
        }
    }

    /// The input whose turn it was has an item that others come before. False when it has none, or
    /// when it is not known what comes before.
    #[inline]
    fn pass_turn(&mut self) -> bool {
        let Some(input) = self.inputs.get(self.turn).filter(|input| input.is_here) else {
            return false;
        };
        // Of equal ones, that of the sender with the lower number is first.
        let own = (input.bound, self.turn);
        let is_before = |number: usize| {
            let input = self.inputs.get(number);
            input.is_some_and(|input| (input.bound, number) < own)
        };
        let mut place = 0;
        while let Some([first, second]) = self.order.get_mut(place..place + 2)
            && is_before(*second)
        {
            std::mem::swap(first, second);
            place += 1;
        }
        self.begin_turn()
    }

    /// It is the turn of the first in order. False when that has no item.
    #[inline]
    fn begin_turn(&mut self) -> bool {
        let mut order = self.order.iter();
        let Some(first) = order.next() else {
            return false;
        };
        self.turn = *first;
        let other = order.next().and_then(|second| self.inputs.get(*second));
        self.others = other.map_or(Position::END, |other| other.bound);
        self.inputs.get(*first).is_some_and(|first| first.is_here)
    }

    /// Look for items, and find out whose turn it is. Gives the watermark that all wait for when
    /// that is not known yet.
    #[inline(never)]
    fn choose(&mut self) -> Result<(), Position> {
        for input in &mut self.inputs {
            if !input.is_here {
                input.look();
            }
        }
        let inputs = &self.inputs;
        let bound = |number: usize| inputs.get(number).map_or(Position::END, |one| one.bound);
        self.order
            .sort_unstable_by_key(|&number| (bound(number), number));
        match self.begin_turn() {
            true => Ok(()),
            false => Err(self.bound()),
        }
    }

    /// Nothing that comes is before this.
    fn bound(&self) -> Position {
        let first = self.inputs.get(self.turn);
        first.map_or(Position::END, |first| first.bound)
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
mod tests;
