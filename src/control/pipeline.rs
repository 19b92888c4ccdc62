//! Capture files through several workers and security workers.
//!
//! ```text
//! reader --parcels--> worker 0..W --matches--> security worker 0..M
//!                        |                        |
//!                        +--alerts, flow records--+--> writers
//! ```
//!
//! Whoever has nothing to do sleeps; whoever finds a ring full waits. What comes out does not
//! depend on the numbers of threads, nor on when they run.

use super::Failure;
use crate::capture::Burst;
use crate::capture::spread::{Parcels, Spread};
use crate::metrics::Counters;
use crate::output::queue::{Dropped, Queue};
use crate::output::writer::{Sinks, WhenFull, Writer};
use crate::rules::RuleSet;
use crate::rules::mask::Mask;
use crate::rules::outbox;
use crate::worker::security::{self, SecurityWorker};
use crate::worker::{Scope, Settings, Worker};
use crossbeam::utils::Backoff;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Batches of matches in one ring.
const BATCHES_MAX: usize = 256;

/// How long a thread without work sleeps between two looks, once it has looked some times.
const PAUSE: Duration = Duration::from_micros(50);

/// How many threads there are, and what each does.
#[derive(Debug, Default, Clone)]
pub struct Shape {
    /// Workers, at least 1.
    pub workers: usize,
    /// Security workers; with 0 there is one, unless a single worker keeps all rules.
    pub security_workers: usize,
    /// Rules given to security workers by hand.
    pub mask: Option<Mask>,
    /// Have threads lose time now and then, by this seed: for tests.
    pub delays: Option<u64>,
}

impl Shape {
    /// As far as the rules allow: running totals of all packets are counted by one worker.
    #[must_use]
    pub fn allowed_by(self, rules: &RuleSet) -> Self {
        if self.workers <= 1 || !rules.needs_one_worker() {
            return self;
        }
        tracing::warn!(
            "one worker instead of {}: rules use running totals of all packets, which one worker \
             has to count",
            self.workers
        );
        Self { workers: 1, ..self }
    }

    /// Does one worker do everything?
    pub fn is_inline(&self) -> bool {
        self.workers <= 1 && self.security_workers == 0
    }
}

/// What is left of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Of each worker; of the reader last.
    pub workers: Vec<Counters>,
    /// Of each security worker.
    pub security: Vec<security::Counters>,
    /// Events lost before their writer.
    pub dropped: Dropped,
}

/// Bursts after which the writer learns how far a single worker is.
const BURSTS_PER_ROUND: u32 = 16;

/// One worker, on the thread of the reader, that keeps all rules.
#[derive(Debug)]
pub struct Inline {
    worker: Worker,
    queue: Queue,
    writer: Writer,
    bursts: u32,
}

impl Inline {
    /// Start the writers.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(rules: &Arc<RuleSet>, settings: &Settings, sinks: Sinks) -> Result<Self, Failure> {
        let worker = Worker::new(Arc::clone(rules), settings, Scope::Rules);
        let (writer, queues) = Writer::start(sinks, (1, 0), WhenFull::Wait)?;
        let Some(queue) = queues.into_iter().next() else {
            return Err(Failure::Running("a writer without a queue".to_owned()));
        };
        Ok(Self {
            worker,
            queue,
            writer,
            bursts: 0,
        })
    }

    /// Look at frames; false when a writer takes nothing any more.
    pub fn burst(&mut self, burst: Burst<'_>) -> bool {
        self.worker.burst(burst, &mut self.queue);
        self.bursts = self.bursts.wrapping_add(1);
        if self.bursts.is_multiple_of(BURSTS_PER_ROUND) {
            let settled = self.worker.settled();
            self.queue.advance(settled.alerts, settled.flows, true);
        }
        !self.queue.is_closed()
    }

    /// The input has ended: wait until everything is written.
    ///
    /// # Errors
    /// An output failed.
    pub fn finish(mut self) -> Result<Outcome, Failure> {
        self.worker.finish(&mut self.queue);
        let dropped = self.queue.finish();
        self.writer.finish()?;
        Ok(Outcome {
            workers: vec![self.worker.counters()],
            dropped,
            ..Outcome::default()
        })
    }
}

type Ended<T> = JoinHandle<(T, Dropped)>;

/// See the module.
#[derive(Debug)]
pub struct Pipeline {
    spread: Spread,
    workers: Vec<Ended<Counters>>,
    security: Vec<Ended<security::Counters>>,
    writer: Writer,
}

impl Pipeline {
    /// Start all threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        rules: &Arc<RuleSet>,
        settings: &Settings,
        shape: &Shape,
        sinks: Sinks,
    ) -> Result<Self, Failure> {
        let (workers, security) = (shape.workers.max(1), shape.security_workers.max(1));
        let (spread, parcels) = Spread::new(workers, settings);
        let (writer, queues) = Writer::start(sinks, (workers, security), WhenFull::Wait)?;
        let mut queues = queues.into_iter();
        let settings = of_each(settings, workers);

        let rings = (BATCHES_MAX, WhenFull::Wait);
        let (outboxes, merges) =
            outbox::between(rules, (workers, security), shape.mask.as_ref(), rings);
        let mut pipeline = Self {
            spread,
            workers: Vec::new(),
            security: Vec::new(),
            writer,
        };
        for (number, ((parcels, outbox), queue)) in parcels
            .into_iter()
            .zip(outboxes)
            .zip(queues.by_ref())
            .enumerate()
        {
            let delays = Delays::new(shape.delays, number);
            let (rules, settings) = (Arc::clone(rules), settings.clone());
            pipeline
                .workers
                .push(spawn(format!("worker-{number}"), move || {
                    let worker = Worker::with_outbox(rules, &settings, Scope::Rules, Some(outbox));
                    work(worker, &parcels, queue, delays)
                })?);
        }
        for (number, (merge, queue)) in merges.into_iter().zip(queues).enumerate() {
            let delays = Delays::new(shape.delays, workers + number);
            let (rules, settings) = (Arc::clone(rules), settings.clone());
            pipeline
                .security
                .push(spawn(format!("security-{number}"), move || {
                    let worker = SecurityWorker::new(rules, &settings, merge);
                    verify(worker, queue, delays)
                })?);
        }
        Ok(pipeline)
    }

    /// Hand frames to their workers; false when nobody takes them any more.
    pub fn burst(&mut self, burst: &Burst<'_>) -> bool {
        self.spread.burst(burst)
    }

    /// The input has ended: wait for everything that comes of it.
    ///
    /// # Errors
    /// An output failed, or a thread.
    pub fn finish(self) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let of_reader = self.spread.finish();
        let mut failed = false;
        let mut join = |thread: Ended<Counters>| match thread.join() {
            Ok((counters, dropped)) => {
                outcome.workers.push(counters);
                outcome.dropped.add(dropped);
            }
            Err(_) => failed = true,
        };
        self.workers.into_iter().for_each(&mut join);
        for thread in self.security {
            match thread.join() {
                Ok((counters, dropped)) => {
                    outcome.security.push(counters);
                    outcome.dropped.add(dropped);
                }
                Err(_) => failed = true,
            }
        }
        outcome.workers.push(of_reader);
        self.writer.finish()?;
        match failed {
            true => Err(Failure::Running("a worker has panicked".to_owned())),
            false => Ok(outcome),
        }
    }
}

/// Bounds of one of several workers: together they have those of one.
fn of_each(settings: &Settings, workers: usize) -> Settings {
    let mut settings = share_of(settings, workers);
    // The reader puts fragments together, and leaves out what is not wanted.
    settings.fragments.datagrams_max = 1;
    settings.defragmented = true;
    settings.filter = None;
    settings
}

/// The same bounds for each of several workers: together they have those of one.
pub fn share_of(settings: &Settings, workers: usize) -> Settings {
    let mut settings = settings.clone();
    let flows = &mut settings.flows.flows_max;
    *flows = flows.div_ceil(workers).max(1);
    let streams = &mut settings.applications.flows_max;
    let count = u32::try_from(workers).unwrap_or(u32::MAX);
    *streams = streams.div_ceil(count).max(1);
    settings
}

fn spawn<T: Send + 'static>(
    name: String,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    let thread = std::thread::Builder::new().name(name).spawn(body)?;
    Ok(thread)
}

/// A worker: packets of parcels, until there are none any more.
fn work(
    mut worker: Worker,
    parcels: &Parcels,
    mut queue: Queue,
    mut delays: Delays,
) -> (Counters, Dropped) {
    let backoff = Backoff::new();
    loop {
        let is_ended = parcels.is_ended();
        let Some(parcel) = parcels.next() else {
            if is_ended {
                break;
            }
            rest(&backoff);
            continue;
        };
        backoff.reset();
        for burst in parcel.bursts() {
            worker.burst(burst, &mut queue);
            delays.pass();
        }
        worker.idle_at(parcel.reached(), &mut queue);
        parcels.give_back(parcel);
        worker.hurry();
        let settled = worker.settled();
        queue.advance(settled.alerts, settled.flows, true);
        if queue.is_closed() {
            // A writer failed, and says why: nobody sees what the rest would give.
            break;
        }
    }
    worker.finish(&mut queue);
    let counters = worker.counters();
    drop(worker);
    (counters, queue.finish())
}

/// A security worker: matches, until all workers have ended.
fn verify(
    mut worker: SecurityWorker,
    mut queue: Queue,
    mut delays: Delays,
) -> (security::Counters, Dropped) {
    let backoff = Backoff::new();
    loop {
        let progress = worker.work(&mut queue);
        queue.advance(worker.settled(), worker.settled(), true);
        match progress {
            security::Progress::Worked | security::Progress::Changed => backoff.reset(),
            security::Progress::Idle => rest(&backoff),
            security::Progress::End => break,
        }
        delays.pass();
    }
    (worker.counters(), queue.finish())
}

fn rest(backoff: &Backoff) {
    match backoff.is_completed() {
        true => std::thread::sleep(PAUSE),
        false => backoff.snooze(),
    }
}

/// Lost time, drawn by a seed, so that tests meet more orders of events than a quiet machine has.
#[derive(Debug)]
struct Delays(Option<u64>);

impl Delays {
    fn new(seed: Option<u64>, thread: usize) -> Self {
        let thread = u64::try_from(thread).unwrap_or(0);
        Self(seed.map(|seed| (seed ^ thread.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1))
    }

    fn pass(&mut self) {
        let Some(state) = &mut self.0 else {
            return;
        };
        // Marsaglia's xorshift64.
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        match *state % 64 {
            0 => std::thread::sleep(Duration::from_micros(*state >> 8 & 0xff)),
            1..=16 => std::thread::yield_now(),
            _ => {}
        }
    }
}
