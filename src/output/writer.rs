//! The writer: events become lines of text on a thread of their own.
//!
//! Workers put events on a bounded queue. Live, a full queue drops the newest event and counts it:
//! the receive loop never waits. Offline, the worker waits and nothing is lost.

use super::{Event, alert, flow::write_json};
use crate::rules::RuleSet;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Events that may wait for the writer.
const QUEUE_MAX: usize = 8_192;

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

/// The worker's end of the queue.
#[derive(Debug, Clone)]
pub struct Queue {
    sender: Sender<Event>,
    when_full: WhenFull,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// Hand an event to the writer.
    pub fn send(&self, event: Event) {
        let lost = match self.when_full {
            WhenFull::Wait => self.sender.send(event).is_err(),
            WhenFull::Drop => matches!(
                self.sender.try_send(event),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_))
            ),
        };
        if lost {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events lost: the queue was full, or the writer had failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
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
            dropped: Arc::new(AtomicU64::new(0)),
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

fn write_all(sinks: Sinks, receiver: &Receiver<Event>) -> io::Result<()> {
    let mut alerts = sinks.alerts.map(BufWriter::new);
    let mut flows = sinks.flows.map(BufWriter::new);
    let mut line = String::new();
    let mut record = Vec::new();
    loop {
        let event = match receiver.try_recv() {
            Ok(event) => event,
            Err(_) => {
                // Nothing waits: let readers see what is there, then sleep.
                alerts.as_mut().map_or(Ok(()), Write::flush)?;
                flows.as_mut().map_or(Ok(()), Write::flush)?;
                match receiver.recv() {
                    Ok(event) => event,
                    Err(_) => return Ok(()),
                }
            }
        };
        match &event {
            Event::Alert(found) => {
                let place = usize::try_from(found.rule).unwrap_or(usize::MAX);
                let program = sinks.rules.programs.get(place);
                if let (Some(sink), Some(program)) = (&mut alerts, program) {
                    line.clear();
                    alert::write(&mut line, sinks.format, program, found);
                    line.push('\n');
                    sink.write_all(line.as_bytes())?;
                }
            }
            Event::Flow(flow) => {
                if let Some(sink) = &mut flows {
                    // In one piece: alerts may go to the same place.
                    record.clear();
                    write_json(&mut record, flow, COMMUNITY_ID_SEED)?;
                    sink.write_all(&record)?;
                }
            }
        }
    }
}
