//! The writers: events become lines of text, each kind on a thread of its own.
//!
//! Workers and security workers put events into rings ([`Queue`]), and a writer merges these in
//! the order of event time. Live, a full ring drops the newest event and counts it: nothing waits
//! for a sink. An output that fails is opened again; what it could not take meanwhile is counted.
//! Offline, workers wait and nothing is lost.

use super::alert;
use super::latency;
use super::limit::Limiter;
use super::lines::{AlertLines, FlowLines, Lines};
use super::queue::{AlertMessage, Lane, Parcel};
use crate::flow::FlowRecord;
use crate::metrics::Output;
use crate::packet::Timestamp;
use crate::ring::{self, Merge, Next, Position};
use crate::rules::RuleSet;
use prometheus::Histogram;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use super::queue::{Dropped, Queue};
pub use super::target::{Existing, Target};
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

/// What became of one output.
#[derive(Debug, Default)]
pub struct Health {
    /// Is there such an output?
    pub is_wanted: AtomicBool,
    /// Writes that failed.
    pub errors: AtomicU64,
    /// How often it was opened again after that.
    pub reopened: AtomicU64,
    /// It has failed, and taken nothing since.
    pub failed: AtomicBool,
}

/// What became of events at their outputs; counts only grow.
#[derive(Debug, Default)]
pub struct Written {
    /// Alerts that were written or suppressed, and flow records that were written.
    pub events: [AtomicU64; 2],
    /// The same, lost since the output failed.
    pub lost: [AtomicU64; 2],
    /// The outputs of both.
    pub outputs: [Health; 2],
    /// From packet to alert; none for files, whose packets are from another time.
    pub latency: Option<Histogram>,
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

    /// The outputs that there are.
    pub fn outputs(&self) -> Vec<Output> {
        let outputs = ["alerts", "flows"].into_iter().zip(&self.outputs);
        outputs
            .filter(|(_, health)| health.is_wanted.load(Ordering::Relaxed))
            .map(|(name, health)| Output {
                name,
                errors: health.errors.load(Ordering::Relaxed),
                reopened: health.reopened.load(Ordering::Relaxed),
                is_open: !health.failed.load(Ordering::Relaxed),
            })
            .collect()
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
        let latency = match when_full {
            WhenFull::Wait => None,
            WhenFull::Drop => Some(latency::histogram().map_err(io::Error::other)?),
        };
        let written = Arc::new(Written {
            latency: latency.clone(),
            ..Written::default()
        });
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
            let lines = AlertLines::new(target, sinks.format, (sinks.limiter, latency), rules);
            alerts = Some(Input::new(merge, lines, when_full, (&written, 0)));
        }
        let mut flows = None;
        if let Some(target) = sinks.flows {
            // Security workers have no flows.
            let (ends, merge) = ring::rings(workers, BATCHES_MAX);
            for (queue, end) in queues.iter_mut().zip(ends) {
                queue.flows = Some(Lane::new(end, when_full));
            }
            let lines = FlowLines::new(target);
            flows = Some(Input::new(merge, lines, when_full, (&written, 1)));
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
        let inputs = Inputs { alerts, flows };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || inputs.write_all())?;
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
    /// Where is counted what became of them, and at which place there.
    written: (Arc<Written>, usize),
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

impl<T, L: Lines> Input<T, L> {
    fn new(
        merge: Merge<Parcel<T>>,
        lines: L,
        when_full: WhenFull,
        (written, place): (&Arc<Written>, usize),
    ) -> Self {
        let merge = match when_full {
            WhenFull::Wait => merge,
            WhenFull::Drop => merge.bounded(BEHIND_MAX),
        };
        if let Some(health) = written.outputs.get(place) {
            health.is_wanted.store(true, Ordering::Relaxed);
        }
        Self {
            merge,
            lines,
            next: None,
            when_full,
            written: (Arc::clone(written), place),
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

    /// Let readers see what was written.
    fn flush(&mut self) -> io::Result<()> {
        let result = self.lines.flush().map(|()| 0);
        self.settle(result)
    }

    /// Count what was written, or lost. A failure ends the run of files; live, it is told, and the
    /// output is opened again later.
    fn settle(&mut self, result: io::Result<u64>) -> io::Result<()> {
        let (written, place) = &self.written;
        let add = |counts: &[AtomicU64; 2], count: u64| {
            if let Some(sum) = counts.get(*place).filter(|_| count > 0) {
                sum.fetch_add(count, Ordering::Relaxed);
            }
        };
        let health = written.outputs.get(*place);
        match result {
            Ok(count) => add(&written.events, count),
            Err(error) if self.when_full == WhenFull::Wait => return Err(error),
            Err(error) => {
                tracing::error!("output: {error}; it is opened again when that is possible");
                self.lines.fail();
                if let Some(health) = health {
                    health.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let target = self.lines.target();
        if let Some(health) = health {
            let reopened = target.reopened();
            health.reopened.store(reopened, Ordering::Relaxed);
            health.failed.store(!target.is_open(), Ordering::Relaxed);
        }
        add(&written.lost, target.missed());
        Ok(())
    }
}

/// What one thread writes.
struct Inputs {
    alerts: Option<Input<AlertMessage, AlertLines>>,
    flows: Option<Input<Box<FlowRecord>, FlowLines>>,
}

impl Inputs {
    /// Write what comes until nothing can come any more.
    fn write_all(mut self) -> io::Result<()> {
        loop {
            let alert = self.alerts.as_mut().map_or(Ahead::End, Input::look);
            let flow = self.flows.as_mut().map_or(Ahead::End, Input::look);
            match (alert, flow) {
                (Ahead::End, Ahead::End) => return self.end(),
                // Of one position, the flow ended before the packet was looked at.
                (_, Ahead::Known(at)) if at <= alert.earliest() => self.flow(at)?,
                (Ahead::Known(at), _) if at <= flow.earliest() => self.alert()?,
                _ => self.rest(alert.earliest().min(flow.earliest()).time)?,
            }
        }
    }

    /// Write the next flow record, behind all alerts that come before it.
    fn flow(&mut self, at: Position) -> io::Result<()> {
        if let Some(alerts) = &mut self.alerts {
            let result = alerts.lines.before(at);
            alerts.settle(result)?;
            alerts.flush()?;
        }
        if let Some(flows) = &mut self.flows
            && let Some((_, _, record)) = flows.next.take()
        {
            let result = flows.lines.write(record);
            flows.settle(result)?;
        }
        Ok(())
    }

    /// Write the next alert, behind all flow records that come before it.
    fn alert(&mut self) -> io::Result<()> {
        if let Some(flows) = &mut self.flows {
            flows.flush()?;
        }
        if let Some(alerts) = &mut self.alerts
            && let Some((position, sender, message)) = alerts.next.take()
        {
            let result = alerts.lines.take(position, sender, message);
            alerts.settle(result)?;
        }
        Ok(())
    }

    /// Nothing can be written now, and nothing comes that is before `time`.
    fn rest(&mut self, time: Timestamp) -> io::Result<()> {
        if let Some(flows) = &mut self.flows {
            flows.flush()?;
            flows.merge.make_way();
        }
        if let Some(alerts) = &mut self.alerts {
            let result = alerts.lines.before(Position::at(time));
            alerts.settle(result)?;
            alerts.flush()?;
            alerts.merge.make_way();
        }
        std::thread::sleep(REST);
        Ok(())
    }

    /// Nothing comes any more.
    fn end(&mut self) -> io::Result<()> {
        if let Some(flows) = &mut self.flows {
            flows.flush()?;
        }
        if let Some(alerts) = &mut self.alerts {
            let result = alerts.lines.end();
            alerts.settle(result)?;
            alerts.flush()?;
        }
        Ok(())
    }
}
