//! The writer: events become lines of text on a thread of their own.
//!
//! Workers put events on a bounded queue. Live, a full queue drops the newest event and counts it:
//! the receive loop never waits. Offline, the worker waits and nothing is lost.

use super::limit::Limiter;
use super::{Event, alert, flow::write_json};
use crate::flow::FlowRecord;
use crate::packet::Timestamp;
use crate::rules::RuleSet;
use crate::rules::joins::Alert;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Events that may wait for the writer.
const QUEUE_MAX: usize = 8_192;

/// Packet time after which the writer is told of it again: how late a summary may be.
const TIME_STEP_NS: u64 = 100_000_000;

/// Seed of Community IDs: 0, with which others' can be compared.
const COMMUNITY_ID_SEED: u16 = 0;

/// What to do when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for the writer: capture files.
    Wait,
    /// Drop the event and count it: live traffic.
    Drop,
}

/// Where events go.
pub struct Sinks {
    /// Alerts, if wanted.
    pub alerts: Option<Box<dyn Write + Send>>,
    /// Their format.
    pub format: alert::Format,
    /// Limits alerts, if wanted.
    pub limiter: Option<Limiter>,
    /// Flow records, if wanted.
    pub flows: Option<Box<dyn Write + Send>>,
    /// For the texts of rules.
    pub rules: Arc<RuleSet>,
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// What waits in the queue.
enum Message {
    Event(Event),
    /// Alerts from here on are of these rules.
    Rules(Arc<RuleSet>),
    /// Packet time has come this far.
    Time(Timestamp),
}

/// The worker's end of the queue.
#[derive(Debug)]
pub struct Queue {
    sender: Sender<Message>,
    when_full: WhenFull,
    dropped: u64,
    /// Rules that found the queue full. Without them the writer would take the next alert for one
    /// of other rules, so they go first.
    owed: Option<Arc<RuleSet>>,
    /// When to tell the time again; never without a limit of alerts.
    next_time: Timestamp,
}

impl Queue {
    /// Hand an event to the writer.
    pub fn send(&mut self, event: Event) {
        let is_paid = self.pay();
        if !is_paid || self.put(Message::Event(event)).is_some() {
            self.dropped += 1;
        }
    }

    /// Alerts from here on are of these rules.
    pub fn change_rules(&mut self, rules: Arc<RuleSet>) {
        self.owed = Some(rules);
        self.pay();
    }

    /// Packet time has come to `now`: summaries of suppressed alerts may be due though nothing else
    /// happens. To be called now and then; does little most of the time.
    pub fn tell_time(&mut self, now: Timestamp) {
        if now >= self.next_time && self.put(Message::Time(now)).is_none() {
            self.next_time = Timestamp::from_nanos(now.nanos().saturating_add(TIME_STEP_NS));
        }
    }

    /// Events lost: the queue was full, or the writer had failed.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Tell of new rules, if any; false when there is no room.
    fn pay(&mut self) -> bool {
        if let Some(rules) = self.owed.take() {
            self.owed = match self.put(Message::Rules(rules)) {
                Some(Message::Rules(rules)) => Some(rules),
                _ => None,
            };
        }
        self.owed.is_none()
    }

    /// Gives back what the queue does not take.
    fn put(&self, message: Message) -> Option<Message> {
        match self.when_full {
            WhenFull::Wait => self.sender.send(message).err().map(|error| error.0),
            WhenFull::Drop => self
                .sender
                .try_send(message)
                .err()
                .map(TrySendError::into_inner),
        }
    }
}

/// The running writer.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Start it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(sinks: Sinks, when_full: WhenFull) -> io::Result<(Self, Queue)> {
        let (sender, receiver) = bounded(QUEUE_MAX);
        let next_time = match &sinks.limiter {
            Some(_) => 0,
            None => u64::MAX,
        };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                let written = write_all(sinks, &receiver);
                if let (WhenFull::Drop, Err(error)) = (when_full, &written) {
                    // The run goes on, which may be for months: say it now.
                    tracing::error!("output: {error}; no further event is written");
                }
                written
            })?;
        let queue = Queue {
            sender,
            when_full,
            dropped: 0,
            owed: None,
            next_time: Timestamp::from_nanos(next_time),
        };
        Ok((Self { thread }, queue))
    }

    /// Wait until everything is written. All ends of the queue must have been dropped.
    ///
    /// # Errors
    /// The first write that failed.
    pub fn finish(self) -> io::Result<()> {
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writer has panicked")))
    }
}

/// Write what comes until nothing can come any more.
fn write_all(sinks: Sinks, receiver: &Receiver<Message>) -> io::Result<()> {
    let mut lines = Lines::new(sinks);
    loop {
        let message = match receiver.try_recv() {
            Ok(message) => message,
            Err(_) => {
                // Nothing waits: let readers see what is there, then sleep.
                lines.flush()?;
                match receiver.recv() {
                    Ok(message) => message,
                    Err(_) => return lines.finish(),
                }
            }
        };
        match message {
            Message::Event(Event::Alert(alert)) => lines.alert(alert)?,
            Message::Event(Event::Flow(flow)) => lines.flow(&flow)?,
            Message::Rules(rules) => lines.rules = rules,
            Message::Time(now) => lines.time(now)?,
        }
    }
}

/// Turns events into lines of the outputs.
struct Lines {
    alerts: Option<BufWriter<Box<dyn Write + Send>>>,
    format: alert::Format,
    limiter: Option<Limiter>,
    flows: Option<BufWriter<Box<dyn Write + Send>>>,
    rules: Arc<RuleSet>,
    line: String,
    record: Vec<u8>,
}

impl Lines {
    fn new(sinks: Sinks) -> Self {
        Self {
            alerts: sinks.alerts.map(BufWriter::new),
            format: sinks.format,
            limiter: sinks.limiter,
            flows: sinks.flows.map(BufWriter::new),
            rules: sinks.rules,
            line: String::new(),
            record: Vec::new(),
        }
    }

    fn alert(&mut self, alert: Alert) -> io::Result<()> {
        let admitted = match &mut self.limiter {
            Some(limiter) => limiter.admit(&self.rules, alert),
            None => Some(alert),
        };
        self.summaries()?;
        let Some(alert) = admitted else {
            return Ok(());
        };
        let place = usize::try_from(alert.rule).unwrap_or(usize::MAX);
        let program = self.rules.programs.get(place);
        if let (Some(sink), Some(program)) = (&mut self.alerts, program) {
            self.line.clear();
            alert::write(&mut self.line, self.format, program, &alert);
            self.line.push('\n');
            sink.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }

    fn time(&mut self, now: Timestamp) -> io::Result<()> {
        if let Some(limiter) = &mut self.limiter {
            limiter.advance(now);
        }
        self.summaries()
    }

    /// Nothing can come any more.
    fn finish(&mut self) -> io::Result<()> {
        if let Some(limiter) = &mut self.limiter {
            limiter.finish();
        }
        self.summaries()?;
        self.flush()
    }

    /// Write what is to be said of alerts that did not go out.
    fn summaries(&mut self) -> io::Result<()> {
        let (Some(limiter), Some(sink)) = (&mut self.limiter, &mut self.alerts) else {
            return Ok(());
        };
        while let Some(summary) = limiter.next_summary() {
            self.line.clear();
            alert::write_summary(&mut self.line, self.format, &summary);
            self.line.push('\n');
            sink.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }

    fn flow(&mut self, flow: &FlowRecord) -> io::Result<()> {
        if let Some(sink) = &mut self.flows {
            // In one piece: alerts may go to the same place.
            self.record.clear();
            write_json(&mut self.record, flow, COMMUNITY_ID_SEED)?;
            sink.write_all(&self.record)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.alerts.as_mut().map_or(Ok(()), Write::flush)?;
        self.flows.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Mode;
    use crate::rules::verdict::Verdict;

    fn alert(packet: u64) -> Event {
        Event::Alert(Alert {
            rule: 0,
            verdict: Verdict::Detected,
            timestamp: Timestamp::from_micros(1),
            packet,
            timed_out: false,
            bound: 0,
            record: Box::default(),
        })
    }

    /// No alert of new rules may be taken for one of old rules, however full the queue is.
    #[test]
    fn new_rules_come_before_their_alerts_or_these_are_dropped() {
        let rules = || Arc::new(RuleSet::new(Vec::new(), Mode::Standard).0);
        let (sender, receiver) = bounded(2);
        let mut queue = Queue {
            sender,
            when_full: WhenFull::Drop,
            dropped: 0,
            owed: None,
            next_time: Timestamp::default(),
        };
        queue.send(alert(1));
        queue.send(alert(2));
        let (second, third) = (rules(), rules());
        queue.change_rules(second);
        queue.send(alert(3));
        queue.change_rules(Arc::clone(&third));
        queue.send(alert(4));
        assert_eq!(queue.dropped(), 2);
        let number = |message| match message {
            Message::Event(Event::Alert(alert)) => alert.packet,
            Message::Rules(rules) if Arc::ptr_eq(&rules, &third) => 1_000,
            _ => 0,
        };
        assert_eq!(
            [receiver.recv(), receiver.recv()].map(|m| number(m.unwrap())),
            [1, 2]
        );
        queue.send(alert(5));
        assert_eq!(
            receiver.try_iter().map(number).collect::<Vec<_>>(),
            [1_000, 5]
        );
        drop(receiver);
        queue.send(alert(6));
        assert_eq!(queue.dropped(), 3);
    }
}
