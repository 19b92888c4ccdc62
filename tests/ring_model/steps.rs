//! Whole calls: every state that threads can bring about whose calls take turns, each call as one
//! step. From every state the end must be in reach; one from which it is not is that of threads
//! that wait for each other.
//!
//! Rings and merges cannot be copied, so a state is the choices that lead to it, and is known again
//! by what it prints.

use crate::plan::{Given, Step, item};
use std::collections::{HashMap, VecDeque};
use std::fmt::{Debug, Write as _};
use std::sync::Mutex;
use wirelynx::packet::Timestamp;
use wirelynx::ring::{Batch, Link, Merge, Position, Sender, rings};

/// States of one model at most.
const STATES_MAX: usize = 200_000;

/// A link that prints what is in it; with `TIMES`, its watermarks are times alone.
#[derive(Debug)]
struct Plain<T, const TIMES: bool = false> {
    batches: Mutex<VecDeque<Box<Batch<T>>>>,
    batches_max: usize,
    watermark: Mutex<Position>,
    closed: Mutex<bool>,
}

impl<T, const TIMES: bool> Link<T> for Plain<T, TIMES> {
    fn new(batches_max: usize) -> Self {
        Self {
            batches: Mutex::default(),
            batches_max,
            watermark: Mutex::default(),
            closed: Mutex::default(),
        }
    }

    fn push(&self, batch: Box<Batch<T>>) -> Result<(), Box<Batch<T>>> {
        let mut batches = self.batches.lock().unwrap();
        if batches.len() == self.batches_max {
            return Err(batch);
        }
        batches.push_back(batch);
        Ok(())
    }

    fn pop(&self) -> Option<Box<Batch<T>>> {
        self.batches.lock().unwrap().pop_front()
    }

    fn put_back(&self, _: Box<Batch<T>>) {}

    fn take_back(&self) -> Option<Box<Batch<T>>> {
        None
    }

    fn publish(&self, watermark: Position) {
        let ended = watermark.packet == u64::MAX;
        *self.watermark.lock().unwrap() = match TIMES && !ended {
            true => Position::at(watermark.time),
            false => watermark,
        };
    }

    fn watermark(&self) -> Option<Position> {
        Some(*self.watermark.lock().unwrap())
    }

    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap()
    }
}

/// What a thread that sends does in its next step.
#[derive(Debug, Clone, Copy)]
enum Doing {
    /// The step of this number in its plan.
    Step(usize),
    /// It found no room for that, and tells the merge of this number how far it is.
    Tell(usize, usize),
    /// It hands over what is left for the merge of this number.
    Finish(usize),
    /// It tells the others meanwhile.
    TellLast(usize, usize),
    Done,
}

/// More bytes than a batch with anything in it has room for: each item is handed over alone.
const ALONE: usize = 1 << 20;

#[derive(Debug)]
struct Thread<L: Link<Position>> {
    senders: Vec<Sender<Position, L>>,
    doing: Doing,
}

impl<L: Link<Position>> Thread<L> {
    /// Take the next step; `tells` as the protocol asks.
    fn step(&mut self, plan: &[Step], tells: bool) {
        self.doing = match self.doing {
            Doing::Step(number) => match plan.get(number) {
                None => Doing::Finish(0),
                Some(Step::Advance(time)) => {
                    for sender in &mut self.senders {
                        sender.advance(Timestamp::from_nanos(*time));
                    }
                    Doing::Step(number + 1)
                }
                Some(Step::Item(at, to)) => match self.has_room(*to) {
                    true => {
                        self.senders[*to].push(*at, *at, |_| {});
                        Doing::Step(number + 1)
                    }
                    false if tells => Doing::Tell(number, 0),
                    false => Doing::Step(number),
                },
            },
            Doing::Tell(number, to) => match (plan.get(number), self.senders.get_mut(to)) {
                (Some(Step::Item(at, _)), Some(sender)) => {
                    sender.advance_to(*at);
                    let _ = sender.flush();
                    Doing::Tell(number, to + 1)
                }
                _ => Doing::Step(number),
            },
            Doing::Finish(to) if to == self.senders.len() => {
                self.senders.clear();
                Doing::Done
            }
            Doing::Finish(to) => match self.has_room(to) {
                true => Doing::Finish(to + 1),
                false => Doing::TellLast(to, 0),
            },
            Doing::TellLast(number, to) => match self.senders.get_mut(to) {
                Some(sender) => {
                    sender.advance(Timestamp::MAX);
                    let _ = sender.flush();
                    Doing::TellLast(number, to + 1)
                }
                None => Doing::Finish(number),
            },
            Doing::Done => Doing::Done,
        };
    }

    fn has_room(&mut self, to: usize) -> bool {
        self.senders[to].is_closed() || self.senders[to].reserve(ALONE).is_ok()
    }
}

/// One arrangement of threads.
struct Model<'a> {
    plan: &'a [&'a [Step]],
    merges: usize,
    batches_max: usize,
    /// Threads that wait tell the other merges how far they are.
    tells: bool,
    /// The first merge may go away at any time.
    may_close: bool,
}

/// All of it at one moment.
struct State<L: Link<Position>> {
    threads: Vec<Thread<L>>,
    merges: Vec<Option<Merge<Position, L>>>,
    given: Vec<Given>,
}

impl<L: Link<Position> + Debug> State<L> {
    fn new(model: &Model<'_>) -> Self {
        let thread = |_| Thread {
            senders: Vec::new(),
            doing: Doing::Step(0),
        };
        let mut threads: Vec<Thread<L>> = (0..model.plan.len()).map(thread).collect();
        let mut merges = Vec::new();
        for _ in 0..model.merges {
            let (senders, merge) = rings(model.plan.len(), model.batches_max);
            for (thread, sender) in threads.iter_mut().zip(senders) {
                thread.senders.push(sender);
            }
            merges.push(Some(merge));
        }
        let given = (0..model.merges).map(|number| Given::of(model.plan, number));
        Self {
            threads,
            merges,
            given: given.collect(),
        }
    }

    /// Number of things that can happen next; some may change nothing.
    fn choices(&self, model: &Model<'_>) -> usize {
        self.threads.len() + self.merges.len() + usize::from(model.may_close)
    }

    fn take(&mut self, choice: usize, model: &Model<'_>) -> Result<(), String> {
        if let Some(thread) = self.threads.get_mut(choice) {
            thread.step(model.plan[choice], model.tells);
        } else if let Some(merge) = self.merges.get_mut(choice - self.threads.len()) {
            if let Some(merge) = merge {
                self.given[choice - self.threads.len()].take(&merge.next())?;
            }
        } else {
            self.merges[0] = None;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let done = |thread: &Thread<L>| matches!(thread.doing, Doing::Done);
        let ended = |(merge, given): (&Option<_>, &Given)| merge.is_none() || given.ended();
        self.threads.iter().all(done) && self.merges.iter().zip(&self.given).all(ended)
    }

    /// All that it is, as text.
    fn print(&self) -> String {
        let mut text = String::new();
        let Self {
            threads,
            merges,
            given,
        } = self;
        write!(text, "{threads:?}{merges:?}{given:?}").unwrap();
        text
    }
}

/// Go through all states; their number.
fn explore<L: Link<Position> + Debug>(model: &Model<'_>) -> Result<usize, String> {
    let reach = |choices: &[u8]| {
        let mut state = State::<L>::new(model);
        for choice in choices {
            state.take(usize::from(*choice), model).unwrap();
        }
        state
    };
    let start = State::<L>::new(model).print();
    let mut numbers = HashMap::from([(start, 0)]);
    let mut paths: Vec<Vec<u8>> = vec![Vec::new()];
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut over = Vec::new();
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        let choices = reach(&path).choices(model);
        for choice in 0..choices {
            let mut state = reach(&path);
            state.take(choice, model)?;
            let next = *numbers.entry(state.print()).or_insert(paths.len());
            if next == paths.len() {
                let mut longer = path.clone();
                longer.push(u8::try_from(choice).unwrap());
                if state.is_over() {
                    over.push(next);
                }
                paths.push(longer);
                before.push(Vec::new());
                assert!(next < STATES_MAX, "the model is too large");
            }
            before[next].push(at);
        }
        at += 1;
    }
    let mut ends = vec![false; paths.len()];
    while let Some(state) = over.pop() {
        if !std::mem::replace(&mut ends[state], true) {
            over.extend(&before[state]);
        }
    }
    match ends.iter().position(|ends| !ends) {
        None => Ok(paths.len()),
        Some(stuck) => Err(format!("stuck: {}", reach(&paths[stuck]).print())),
    }
}

/// Two threads that fill the ring to one merge each, all at one time: the hardest case.
const CROSSED: &[&[Step]] = &[&[item(1, 1, 0); 4], &[item(1, 2, 1); 4]];

/// Items for both merges, at times that differ.
const MIXED: &[&[Step]] = &[
    &[item(1, 1, 0), item(3, 3, 0), item(3, 3, 1)],
    &[item(2, 2, 1), item(2, 2, 1), item(4, 4, 0)],
];

const TWO_BY_TWO: Model<'_> = Model {
    plan: CROSSED,
    merges: 2,
    batches_max: 1,
    tells: true,
    may_close: false,
};

#[test]
fn two_senders_to_two_merges_always_come_to_the_end() {
    for plan in [CROSSED, MIXED] {
        let states = explore::<Plain<Position>>(&Model { plan, ..TWO_BY_TWO }).unwrap();
        assert!(states > 500, "{states}");
    }
}

#[test]
fn a_merge_that_goes_away_holds_nobody_up() {
    for plan in [CROSSED, MIXED] {
        let model = Model {
            plan,
            may_close: true,
            ..TWO_BY_TWO
        };
        explore::<Plain<Position>>(&model).unwrap();
    }
}

#[test]
fn three_senders_one_of_which_has_nothing_to_send() {
    const THREE: &[&[Step]] = &[
        &[item(1, 1, 0), item(1, 1, 0), item(3, 3, 0)],
        &[item(2, 2, 0), Step::Advance(4)],
        &[Step::Advance(1), Step::Advance(2)],
    ];
    for batches_max in [1, 2] {
        let model = Model {
            plan: THREE,
            merges: 1,
            batches_max,
            ..TWO_BY_TWO
        };
        explore::<Plain<Position>>(&model).unwrap();
    }
}

/// Deadlines of one time on both threads: no packet tells their items apart, so the senders do.
#[test]
fn items_of_one_position_on_both_threads_come_to_the_end() {
    const DEADLINES: &[&[Step]] = &[&[item(1, 0, 0); 4], &[item(1, 0, 1); 4]];
    let plan = DEADLINES;
    explore::<Plain<Position>>(&Model { plan, ..TWO_BY_TWO }).unwrap();
}

#[test]
fn with_times_for_watermarks_threads_wait_for_each_other() {
    let stuck = explore::<Plain<Position, true>>(&TWO_BY_TWO).unwrap_err();
    assert!(stuck.starts_with("stuck: "), "{stuck}");
}

#[test]
fn threads_that_wait_and_say_nothing_wait_for_each_other() {
    let silent = Model {
        tells: false,
        ..TWO_BY_TWO
    };
    let stuck = explore::<Plain<Position>>(&silent).unwrap_err();
    assert!(stuck.starts_with("stuck: "), "{stuck}");
}
