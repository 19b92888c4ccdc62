//! Rules are read again while packets flow: on SIGHUP, or when the control socket asks.
//!
//! A thread of its own reads and compiles them and takes their memory ([`Reloader`]). The worker
//! exchanges them between two bursts ([`Inbox`]), and hands back what it has no use for any more. A
//! set with an error is refused as a whole, and the one that runs goes on.

use super::load::{self, Refused, Source};
use super::service::Manager;
use super::socket::Listener;
use crate::metrics::Snapshot;
use crate::output::writer::Queue;
use crate::rules::RuleSet;
use crate::rules::mask::Mask;
use crate::rules::placement::Placement;
use crate::rules::reload::Adopted;
use crate::worker::reload::{Next, Outdated, Replaced, Replacement};
use crate::worker::security::SecurityWorker;
use crate::worker::{Settings, Worker};
use crossbeam::channel::{Receiver, Sender, bounded};
use serde::Serialize;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// How often the thread looks for a signal or a client.
const POLL: Duration = Duration::from_millis(50);

/// What there is to show of a run; the worker copies its counters here now and then.
pub type Shown = Arc<Mutex<Snapshot>>;

/// How a reload went, as whoever asked is told: one JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Outcome {
    /// The new rules run.
    Success(Changed),
    /// The old rules run on.
    Failure(Refused),
}

/// What is different with the new rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Of the rules that run now; those of the start are 1.
    pub generation: u64,
    /// Number of rules that run now.
    pub rules: usize,
    /// Those of which the attempts under way go on.
    pub unchanged: usize,
    /// Those with an id that was there before and another meaning.
    pub changed: usize,
    /// Those with a new id.
    pub added: usize,
    /// Rules that are gone.
    pub removed: usize,
    /// Attempts under way that go on.
    pub instances_kept: u64,
    /// Attempts of changed and removed rules, which end without a verdict.
    pub instances_dropped: u64,
    /// Time that the worker took from packets for it, in microseconds.
    pub swap_us: u64,
}

/// Rules on their way to a worker, with their ids in load order.
struct Handover {
    replacement: Replacement,
    ids: Vec<String>,
}

type Answer = (Result<Replaced, Outdated>, Duration);

/// A worker's end.
#[derive(Debug)]
pub struct Inbox {
    handovers: Receiver<Handover>,
    answers: Sender<Answer>,
}

impl Inbox {
    /// To be called between two bursts: change the rules of the worker, and tell the writer, if
    /// there are new ones. Gives their ids then.
    pub fn take(&self, worker: &mut Worker, queue: &mut Queue) -> Option<Vec<String>> {
        let Handover { replacement, ids } = self.handovers.try_recv().ok()?;
        let rules = Arc::clone(replacement.rules());
        let start = Instant::now();
        let replaced = worker.reload(replacement);
        let took = start.elapsed();
        let is_done = replaced.is_ok();
        if is_done {
            queue.change_rules(rules);
        }
        // The reloader waits for this; if it is gone, the run ends.
        let _ = self.answers.try_send((replaced, took));
        is_done.then_some(ids)
    }
}

/// A security worker's end.
#[derive(Debug)]
pub struct SecurityInbox {
    handovers: Receiver<Handover>,
    ready: Sender<()>,
    answers: Sender<Answer>,
}

impl SecurityInbox {
    /// To be called now and then: have the security worker expect new rules, and tell when all
    /// workers have changed to them.
    pub fn serve(&self, worker: &mut SecurityWorker) {
        if let Ok(Handover { replacement, .. }) = self.handovers.try_recv() {
            worker.expect(replacement);
            let _ = self.ready.try_send(());
        }
        if let Some(replaced) = worker.replaced() {
            let _ = self.answers.try_send((Ok(replaced), Duration::ZERO));
        }
    }
}

/// The reloader's end of an inbox.
#[derive(Debug)]
struct Seat {
    handovers: Sender<Handover>,
    answers: Receiver<Answer>,
    /// Of a security worker: it expects the rules.
    ready: Option<Receiver<()>>,
}

/// Who runs rules, beside a single worker.
#[derive(Debug, Default, Clone)]
pub struct Crew {
    /// Workers, at least 1.
    pub workers: usize,
    /// Security workers; none where the single worker keeps all rules.
    pub security: usize,
    /// Rules given to security workers by hand.
    pub mask: Option<Mask>,
}

/// Reads, compiles and hands over.
#[derive(Debug)]
pub struct Reloader {
    source: Source,
    settings: Settings,
    crew: Crew,
    current: Arc<RuleSet>,
    workers: Vec<Seat>,
    security: Vec<Seat>,
    shown: Shown,
}

impl Reloader {
    /// For workers with these settings, which run `current`, read from `source`. Gives an inbox to
    /// each worker and security worker.
    pub fn new(
        source: Source,
        settings: Settings,
        crew: Crew,
        current: Arc<RuleSet>,
        shown: Shown,
    ) -> (Self, Vec<Inbox>, Vec<SecurityInbox>) {
        show(&shown, |shown| {
            shown.reloads.generation = 1;
            shown.reloads.timestamp_seconds = now_seconds();
        });
        let mut reloader = Self {
            source,
            settings,
            current,
            workers: Vec::new(),
            security: Vec::new(),
            shown,
            crew,
        };
        let mut inboxes = Vec::new();
        for _ in 0..reloader.crew.workers.max(1) {
            let ((handovers, inbox), (answer, answers)) = (bounded(1), bounded(1));
            reloader.workers.push(Seat {
                handovers,
                answers,
                ready: None,
            });
            inboxes.push(Inbox {
                handovers: inbox,
                answers: answer,
            });
        }
        let mut security = Vec::new();
        for _ in 0..reloader.crew.security {
            let ((handovers, inbox), (answer, answers)) = (bounded(1), bounded(1));
            let (tell, ready) = bounded(1);
            reloader.security.push(Seat {
                handovers,
                answers,
                ready: Some(ready),
            });
            security.push(SecurityInbox {
                handovers: inbox,
                ready: tell,
                answers: answer,
            });
        }
        (reloader, inboxes, security)
    }

    /// Read the rules again and run them, or say why not. Waits for the worker.
    pub fn reload(&mut self) -> Outcome {
        match self.try_reload() {
            Ok(changed) => {
                tracing::info!(
                    generation = changed.generation,
                    rules = changed.rules,
                    unchanged = changed.unchanged,
                    changed = changed.changed,
                    added = changed.added,
                    removed = changed.removed,
                    instances_dropped = changed.instances_dropped,
                    "rules reloaded"
                );
                Outcome::Success(changed)
            }
            Err(refused) => {
                show(&self.shown, |shown| {
                    shown.reloads.failures += 1;
                    shown.reloads.last_failed = true;
                });
                for finding in &refused.findings {
                    tracing::error!("{}", finding.trim_end());
                }
                tracing::error!("rules not reloaded, the old ones run on: {}", refused.error);
                Outcome::Failure(refused)
            }
        }
    }

    /// Have all security workers expect the rules, then all workers change to them; waits for all.
    fn hand_over(&self, next: &Next) -> Result<(Adopted, Duration), Refused> {
        let ids = load::ids(&next.rules);
        let placement = (self.crew.security > 0).then(|| {
            let mask = self.crew.mask.as_ref();
            Arc::new(Placement::spread(&next.rules, self.crew.security, mask))
        });
        // All memory is taken before the first of them changes.
        let make = |seat: &Seat| {
            let placement = placement.clone().filter(|_| seat.ready.is_none());
            Handover {
                replacement: next.replacement(&self.settings, placement),
                ids: ids.clone(),
            }
        };
        let seats = || self.security.iter().chain(&self.workers);
        let handovers: Vec<Handover> = seats().map(make).collect();
        for (seat, handover) in seats().zip(handovers) {
            seat.handovers.send(handover).map_err(ends)?;
            if let Some(ready) = &seat.ready {
                ready.recv().map_err(ends)?;
            }
        }
        let (mut adopted, mut longest) = (Adopted::default(), Duration::ZERO);
        for seat in self.workers.iter().chain(&self.security) {
            let (replaced, took) = seat.answers.recv().map_err(ends)?;
            let of_seat = replaced
                .map_err(|error| Refused::of(error.to_string()))?
                .adopted;
            adopted.kept += of_seat.kept;
            adopted.dropped += of_seat.dropped;
            longest = longest.max(took);
        }
        Ok((adopted, longest))
    }

    fn try_reload(&mut self) -> Result<Changed, Refused> {
        let rules = load::whole(&self.source)?;
        let next = Next::new(rules, &self.current);
        let (adopted, took) = self.hand_over(&next)?;
        let (rules, changes) = (next.rules, next.changes);
        self.current = rules;
        let generation = show(&self.shown, |shown| {
            shown.files_skipped = 0;
            let reloads = &mut shown.reloads;
            reloads.generation += 1;
            reloads.successes += 1;
            reloads.last_failed = false;
            reloads.timestamp_seconds = now_seconds();
            reloads.instances_dropped += adopted.dropped;
        });
        Ok(Changed {
            generation,
            rules: self.current.programs.len(),
            unchanged: changes.unchanged().count(),
            changed: changes.changed(),
            added: changes.added,
            removed: changes.removed(),
            instances_kept: adopted.kept,
            instances_dropped: adopted.dropped,
            swap_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        })
    }
}

/// The run ends meanwhile.
fn ends<E>(_: E) -> Refused {
    Refused::of("the run is ending".to_owned())
}

/// Count a reload; gives the generation.
fn show(shown: &Shown, count: impl FnOnce(&mut Snapshot)) -> u64 {
    match shown.lock() {
        Ok(mut shown) => {
            count(&mut shown);
            shown.reloads.generation
        }
        // A thread that shows numbers has panicked: nobody sees them any more.
        Err(_) => 0,
    }
}

fn now_seconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// The thread that waits for signals and clients.
#[derive(Debug)]
pub struct Control {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Start it. `hangup` is set by SIGHUP; `manager` is told of each reload.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        mut reloader: Reloader,
        hangup: Arc<AtomicBool>,
        listener: Option<Listener>,
        manager: Arc<Manager>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                let mut reload = || manager.reload(|| reloader.reload());
                while !stopped.load(Ordering::Relaxed) {
                    if hangup.swap(false, Ordering::Relaxed) {
                        reload();
                    }
                    let served = listener.as_ref().is_some_and(|l| l.serve(&mut reload));
                    if !served {
                        std::thread::sleep(POLL);
                    }
                }
            })?;
        Ok(Self { stop, thread })
    }

    /// Stop it. The worker's end must have been dropped.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Mode;
    use crate::output::alert::Format;
    use crate::output::writer::{Sinks, WhenFull, Writer};
    use crate::worker::Scope;
    use std::path::Path;

    fn write(folder: &Path, name: &str, id: u32, delay: &str) {
        let text = format!(
            r#"<beginning><property value="THEN" delay_units="s" delay_min="0+" delay_max="{delay}"
             property_id="{id}" type_property="ATTACK" description="x">
             <event event_id="1" description="a" boolean_expression="(tcp.flags == 2)"/>
             <event event_id="2" description="b" boolean_expression="(tcp.flags == 4)"/>
             </property></beginning>"#
        );
        std::fs::write(folder.join(name), text).unwrap();
    }

    fn small() -> Settings {
        let mut settings = Settings::default();
        settings.flows.flows_max = 64;
        settings.applications.flows_max = 64;
        settings.fragments.datagrams_max = 8;
        settings
    }

    /// A worker that only looks into its inbox while `test` runs; ids of the rules it ran in the
    /// end.
    fn beside_a_worker(folder: &Path, test: impl FnOnce(Reloader)) -> Vec<String> {
        let source = Source {
            paths: vec![folder.display().to_string()],
            mode: Mode::Standard,
            lists: None,
        };
        let rules = Arc::new(load::whole(&source).unwrap());
        let settings = small();
        let mut worker = Worker::new(Arc::clone(&rules), &settings, Scope::Rules);
        let shown = Shown::default();
        let crew = Crew::default();
        let (reloader, mut inboxes, _) =
            Reloader::new(source, settings, crew, Arc::clone(&rules), shown);
        let inbox = inboxes.remove(0);
        let sinks = Sinks {
            alerts: None,
            format: Format::Json,
            limiter: None,
            flows: None,
            shared: false,
            rules: Arc::clone(&rules),
        };
        let (writer, mut queues) = Writer::start(sinks, (1, 0), WhenFull::Drop).unwrap();
        let mut queue = queues.remove(0);
        let stop = AtomicBool::new(false);
        let mut ids = load::ids(&rules);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(new) = inbox.take(&mut worker, &mut queue) {
                        ids = new;
                    }
                }
            });
            test(reloader);
            stop.store(true, Ordering::Relaxed);
        });
        queue.finish();
        assert!(!writer.finish().unwrap());
        ids
    }

    fn changed(outcome: Outcome) -> Changed {
        match outcome {
            Outcome::Success(changed) => changed,
            Outcome::Failure(refused) => panic!("{refused:?}"),
        }
    }

    fn refused(outcome: Outcome) -> Refused {
        match outcome {
            Outcome::Success(changed) => panic!("{changed:?}"),
            Outcome::Failure(refused) => refused,
        }
    }

    #[test]
    fn rules_follow_their_files_and_mistakes_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "1.xml", 1, "5");
        write(folder, "2.xml", 2, "5");
        let ids = beside_a_worker(folder, |mut reloader| {
            let shown = Arc::clone(&reloader.shown);
            let reloads = || shown.lock().unwrap().reloads;
            assert_eq!(reloads().generation, 1);
            write(folder, "0.xml", 3, "5");
            write(folder, "2.xml", 2, "6");
            let first = changed(reloader.reload());
            let numbers = [first.unchanged, first.changed, first.added, first.removed];
            assert_eq!(
                (first.generation, first.rules, numbers),
                (2, 3, [1, 1, 1, 0])
            );

            write(folder, "1.xml", 1, "soon");
            std::fs::remove_file(folder.join("0.xml")).unwrap();
            let why = refused(reloader.reload());
            assert_eq!(why.error, "errors in the rules: 1");
            let [finding] = why.findings.as_slice() else {
                panic!("{why:?}")
            };
            assert!(
                finding.contains("1.xml:1:") && finding.contains("soon"),
                "{finding}"
            );

            write(folder, "1.xml", 1, "5");
            let second = changed(reloader.reload());
            let numbers = [
                second.unchanged,
                second.changed,
                second.added,
                second.removed,
            ];
            assert_eq!((second.generation, numbers), (3, [2, 0, 0, 1]));

            let gone = folder.with_extension("gone");
            reloader.source.paths.push(gone.display().to_string());
            assert!(refused(reloader.reload()).error.contains("No such file"));
            let counts = reloads();
            assert_eq!(
                (counts.generation, counts.successes, counts.failures),
                (3, 2, 2)
            );
            assert!(counts.timestamp_seconds > 1_700_000_000);
        });
        assert_eq!(ids, ["1", "2"]);
    }

    #[test]
    fn a_reload_at_the_end_of_the_run_does_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "1.xml", 1, "5");
        let source = Source {
            paths: vec![folder.path().display().to_string()],
            mode: Mode::Standard,
            lists: None,
        };
        let rules = Arc::new(load::whole(&source).unwrap());
        let crew = Crew::default();
        let (mut reloader, mut inboxes, _) =
            Reloader::new(source, small(), crew, rules, Shown::default());
        let inbox = inboxes.remove(0);
        let waiting = std::thread::spawn(move || refused(reloader.reload()).error);
        while inbox.handovers.is_empty() {
            std::thread::yield_now();
        }
        drop(inbox);
        assert_eq!(waiting.join().unwrap(), "the run is ending");
    }

    #[test]
    fn a_signal_and_a_client_both_reload() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "1.xml", 1, "5");
        let path = folder.path().join("socket");
        beside_a_worker(folder.path(), |reloader| {
            let shown = Arc::clone(&reloader.shown);
            let hangup = Arc::new(AtomicBool::new(true));
            let listener = Listener::bind(&path).unwrap();
            let manager = Arc::new(Manager::from_environment());
            let control = Control::start(reloader, hangup, Some(listener), manager).unwrap();
            let answer = super::super::socket::ask_reload(&path).unwrap();
            assert!(
                answer.starts_with(r#"{"result":"success","generation":3,"#),
                "{answer}"
            );
            assert_eq!(shown.lock().unwrap().reloads.successes, 2);
            control.stop();
        });
        assert!(!path.exists());
    }
}
