//! The writers: events become lines of text, each kind on a thread of its own.
//!
//! Workers and security workers put events into rings ([`Queue`]), and a writer merges these in
//! the order of event time. Live, a full ring drops the newest event and counts it: nothing waits
//! for a sink. An output that fails is opened again; what it could not take meanwhile is counted.
//! Offline, workers wait and nothing is lost.

use super::alert;
use super::limit::Limiter;
use super::lines::{AlertLines, FlowLines, Lines as _};
use super::queue::{AlertMessage, Lane, Parcel};
use crate::flow::FlowRecord;
use crate::packet::Timestamp;
use crate::ring::{self, Merge, Next, Position};
use crate::rules::RuleSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use super::queue::{Dropped, Queue};
pub use super::target::Target;
pub use crate::ring::WhenFull;

/// Batches of events that may wait for a writer in the ring of one sender.
const BATCHES_MAX: usize = 256;

/// Batches of one sender that may wait for the events of others, live.
const BEHIND_MAX: usize = 1_024;

/// How long a writer without events sleeps.
const REST: Duration = Duration::from_micros(500);

/// How long the end of a run waits for an output that takes nothing.
const LAST_WAIT: Duration = Duration::from_millis(700);

/// Where events go.
#[derive(Debug)]
pub struct Sinks {
    /// Alerts, if wanted.
    pub alerts: Option<Target>,
    /// Their format.
    pub format: alert::Format,
    /// Limits alerts, if wanted.
    pub limiter: Option<Limiter>,
    /// Flow records, if wanted.
    pub flows: Option<Target>,
    /// Both go to the same place: one thread writes both, in one order.
    pub shared: bool,
    /// For the texts of rules.
    pub rules: Arc<RuleSet>,
}

/// What became of events at their outputs; all only grow.
#[derive(Debug, Default)]
pub struct Written {
    /// Alerts that were written or suppressed, and flow records that were written.
    pub events: [AtomicU64; 2],
    /// The same, lost since the output failed.
    pub lost: [AtomicU64; 2],
}

impl Written {
    /// Alerts and flow records lost at failed outputs.
    pub fn lost(&self) -> Dropped {
        let [alerts, flows] = &self.lost;
        Dropped {
            alerts: alerts.load(Ordering::Relaxed),
            flows: flows.load(Ordering::Relaxed),
        }
    }

    /// Alerts and flow records that were written.
    pub fn events(&self) -> [u64; 2] {
        let [alerts, flows] = &self.events;
        [alerts, flows].map(|count| count.load(Ordering::Relaxed))
    }
}

/// The running writers.
#[derive(Debug)]
pub struct Writer {
    threads: Vec<JoinHandle<io::Result<()>>>,
    written: Arc<Written>,
    when_full: WhenFull,
}

impl Writer {
    /// Start them for so many workers and security workers, whose queues come in this order.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        sinks: Sinks,
        (workers, security): (usize, usize),
        when_full: WhenFull,
    ) -> io::Result<(Self, Vec<Queue>)> {
        let senders = workers + security;
        let written = Arc::new(Written::default());
        let mut queues: Vec<Queue> = (0..senders)
            .map(|_| Queue {
                alerts: None,
                flows: None,
                owed: None,
            })
            .collect();
        let mut alerts = None;
        if let Some(target) = sinks.alerts {
            let (ends, merge) = ring::rings(senders, BATCHES_MAX);
            for (queue, end) in queues.iter_mut().zip(ends) {
                queue.alerts = Some(Lane::new(end, when_full));
            }
            let rules = vec![sinks.rules; senders];
            let lines = AlertLines::new(target, sinks.format, sinks.limiter, rules);
            alerts = Some(Input::new(merge, lines, when_full));
        }
        let mut flows = None;
        if let Some(target) = sinks.flows {
            // Security workers have no flows.
            let (ends, merge) = ring::rings(workers, BATCHES_MAX);
            for (queue, end) in queues.iter_mut().zip(ends) {
                queue.flows = Some(Lane::new(end, when_full));
            }
            flows = Some(Input::new(merge, FlowLines::new(target), when_full));
        }
        let mut writer = Self {
            threads: Vec::new(),
            written,
            when_full,
        };
        if sinks.shared {
            writer.spawn("writer", alerts, flows)?;
        } else {
            writer.spawn("alerts", alerts, None)?;
            writer.spawn("flows", None, flows)?;
        }
        Ok((writer, queues))
    }

    fn spawn(
        &mut self,
        name: &str,
        alerts: Option<Input<AlertMessage, AlertLines>>,
        flows: Option<Input<Box<FlowRecord>, FlowLines>>,
    ) -> io::Result<()> {
        if alerts.is_none() && flows.is_none() {
            return Ok(());
        }
        let written = Arc::clone(&self.written);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(alerts, flows, &written))?;
        self.threads.push(thread);
        Ok(())
    }

    /// What the writers have done, to be read by others.
    pub fn written(&self) -> Arc<Written> {
        Arc::clone(&self.written)
    }

    /// Wait until everything is written. All queues must have been finished. Live, an output that
    /// takes nothing is given up after a while; gives whether that happened.
    ///
    /// # Errors
    /// The first write that failed.
    pub fn finish(self) -> io::Result<bool> {
        let start = Instant::now();
        let mut result = Ok(false);
        for thread in self.threads {
            while self.when_full == WhenFull::Drop && !thread.is_finished() {
                if start.elapsed() > LAST_WAIT {
                    return Ok(true);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let written = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a writer has panicked")));
            if let (Ok(_), Err(error)) = (&result, written) {
                result = Err(error);
            }
        }
        result
    }
}

/// One kind of events, merged, and where they go.
struct Input<T, L> {
    merge: Merge<Parcel<T>>,
    lines: L,
    /// The next event, known but not written yet.
    next: Option<(Position, usize, T)>,
    when_full: WhenFull,
}

/// What is known of the next event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// It is here.
    Known(Position),
    /// It is not, and will not be before this.
    Until(Timestamp),
    /// There is none.
    End,
}

impl Ahead {
    /// Nothing comes before this.
    fn earliest(self) -> Position {
        match self {
            Self::Known(position) => position,
            Self::Until(time) => Position::at(time),
            Self::End => Position {
                packet: u64::MAX,
                detail: u64::MAX,
                ..Position::at(Timestamp::MAX)
            },
        }
    }
}

impl<T, L> Input<T, L> {
    fn new(merge: Merge<Parcel<T>>, lines: L, when_full: WhenFull) -> Self {
        let merge = match when_full {
            WhenFull::Wait => merge,
            WhenFull::Drop => merge.bounded(BEHIND_MAX),
        };
        Self {
            merge,
            lines,
            next: None,
            when_full,
        }
    }

    fn look(&mut self) -> Ahead {
        if let Some((position, ..)) = &self.next {
            return Ahead::Known(*position);
        }
        loop {
            match self.merge.next() {
                Next::Item(item) => {
                    if let Some(event) = item.value.take() {
                        self.next = Some((item.position, item.sender, event));
                        return Ahead::Known(item.position);
                    }
                }
                Next::Until(time) => return Ahead::Until(time),
                Next::End => return Ahead::End,
            }
        }
    }
}

/// Write what comes until nothing can come any more.
fn write_all(
    mut alerts: Option<Input<AlertMessage, AlertLines>>,
    mut flows: Option<Input<Box<FlowRecord>, FlowLines>>,
    written: &Written,
) -> io::Result<()> {
    let [alerts_written, flows_written] = &written.events;
    let [alerts_lost, flows_lost] = &written.lost;
    loop {
        let alert = alerts.as_mut().map_or(Ahead::End, Input::look);
        let flow = flows.as_mut().map_or(Ahead::End, Input::look);
        // Of one position, the flow ended before the packet was looked at.
        if let (Ahead::Known(position), Some(input)) = (flow, &mut flows)
            && position <= alert.earliest()
        {
            if let Some((_, _, record)) = input.next.take() {
                let result = input.lines.write(record);
                settle(
                    result,
                    input.when_full,
                    flows_written,
                    flows_lost,
                    &mut input.lines,
                )?;
            }
        } else if let (Ahead::Known(position), Some(input)) = (alert, &mut alerts)
            && position <= flow.earliest()
        {
            if let Some((position, sender, message)) = input.next.take() {
                let result = input.lines.take(position, sender, message);
                settle(
                    result,
                    input.when_full,
                    alerts_written,
                    alerts_lost,
                    &mut input.lines,
                )?;
            }
        } else {
            let is_over = alert == Ahead::End && flow == Ahead::End;
            rest((&mut alerts, alert), &mut flows, written)?;
            if is_over {
                return Ok(());
            }
            alerts.iter_mut().for_each(|input| input.merge.make_way());
            flows.iter_mut().for_each(|input| input.merge.make_way());
            std::thread::sleep(REST);
        }
    }
}

/// Nothing can be written now: say what is due without an event, and let readers see all.
fn rest(
    (alerts, alert): (&mut Option<Input<AlertMessage, AlertLines>>, Ahead),
    flows: &mut Option<Input<Box<FlowRecord>, FlowLines>>,
    written: &Written,
) -> io::Result<()> {
    let [alerts_written, flows_written] = &written.events;
    let [alerts_lost, flows_lost] = &written.lost;
    if let Some(input) = alerts {
        let due = match alert {
            Ahead::End => input.lines.end(),
            Ahead::Until(time) => input.lines.until(time),
            Ahead::Known(_) => Ok(0),
        };
        let (when_full, lines) = (input.when_full, &mut input.lines);
        settle(due, when_full, alerts_written, alerts_lost, lines)?;
        let flushed = lines.flush().map(|()| 0);
        settle(flushed, when_full, alerts_written, alerts_lost, lines)?;
    }
    if let Some(input) = flows {
        let (when_full, lines) = (input.when_full, &mut input.lines);
        let flushed = lines.flush().map(|()| 0);
        settle(flushed, when_full, flows_written, flows_lost, lines)?;
    }
    Ok(())
}

/// Count what was written, or lost. A failure ends the run of files; live, it is told, and the
/// output is opened again later.
fn settle(
    result: Result<u64, io::Error>,
    when_full: WhenFull,
    written: &AtomicU64,
    lost: &AtomicU64,
    lines: &mut impl super::lines::Lines,
) -> io::Result<()> {
    match result {
        Ok(count) => {
            if count > 0 {
                written.fetch_add(count, Ordering::Relaxed);
            }
            let missed = lines.target().missed();
            if missed > 0 {
                lost.fetch_add(missed, Ordering::Relaxed);
            }
            Ok(())
        }
        Err(error) if when_full == WhenFull::Wait => Err(error),
        Err(error) => {
            tracing::error!("output: {error}; it is opened again when that is possible");
            let target = lines.target();
            target.fail();
            lost.fetch_add(target.missed(), Ordering::Relaxed);
            Ok(())
        }
    }
}
