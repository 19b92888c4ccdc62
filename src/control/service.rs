//! What the service manager is told of a run, by the protocol of sd_notify(3): that it starts, is
//! ready, reloads and stops, how it goes, and that it is alive.
//!
//! Ready means that every thread of the data path has come round and every link is up. Alive means
//! that every one of these threads has come round since the last time: one that is stuck stops the
//! keep-alive, and the manager ends the program and starts it again (`WatchdogSec` of
//! systemd.service(5)).
//!
//! Without `NOTIFY_SOCKET` in the environment there is no service manager, and nothing is said.

use super::pulse::Pulse;
use super::reloader::Outcome;
use sd_notify::NotifyState;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two lines that say how it goes.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// How much longer the manager is asked to wait for a link, each time.
const LINK_WAIT: Duration = Duration::from_secs(30);

/// Keep-alives in the time after which the manager loses patience: some may come late, or be left
/// out on a busy machine.
const KEEP_ALIVES: u32 = 4;

/// How often the thread looks whether there is anything to tell.
const TICK: Duration = Duration::from_millis(25);

/// Characters of a status: a message of more than 4,096 bytes is not taken.
const STATUS_MAX: usize = 1_000;

/// How a run goes, as far as the manager is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    is_there: bool,
    state: Mutex<State>,
}

impl Manager {
    /// The one that the environment names, or none.
    pub fn from_environment() -> Self {
        Self {
            is_there: std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty()),
            state: Mutex::new(State::Starting),
        }
    }

    /// Where the start has come to, or why it failed.
    pub fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(&in_one_line(text))]);
    }

    /// The start is over.
    fn ready(&self, text: &str) {
        if self.change(State::Starting, State::Ready) {
            self.tell(&[NotifyState::Ready, NotifyState::Status(text)]);
        }
    }

    /// Rules are read again. Before the start is over this is not told, as its end would be taken
    /// for the end of the start.
    pub fn reload(&self, reload: impl FnOnce() -> Outcome) -> Outcome {
        if self.change(State::Ready, State::Reloading) {
            let mut states = vec![NotifyState::Reloading];
            // Type=notify-reload of systemd 253 and later asks for the time.
            states.extend(NotifyState::monotonic_usec_now());
            states.push(NotifyState::Status("reading the rules again"));
            self.tell(&states);
        }
        let outcome = reload();
        if self.change(State::Reloading, State::Ready) {
            let text = match &outcome {
                Outcome::Success(changed) => format!("{} rules reloaded", changed.rules),
                Outcome::Failure(refused) => {
                    format!("rules not reloaded, the old ones run on: {}", refused.error)
                }
            };
            let text = in_one_line(&text);
            self.tell(&[NotifyState::Ready, NotifyState::Status(&text)]);
        }
        outcome
    }

    /// The run ends. Said once, whoever sees it first.
    fn stopping(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = std::mem::replace(&mut *state, State::Stopping) != State::Stopping;
        drop(state);
        if is_first {
            let text = "writing what is left";
            self.tell(&[NotifyState::Stopping, NotifyState::Status(text)]);
        }
    }

    fn is_in(&self, state: State) -> bool {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) == state
    }

    /// True if it was in `from`.
    fn change(&self, from: State, to: State) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = *state == from;
        if is_it {
            *state = to;
        }
        is_it
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if self.is_there
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::warn!("the service manager takes no message: {error}");
        }
    }
}

/// A line of its own in a message would be taken for another statement.
fn in_one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.join("; ").chars().take(STATUS_MAX).collect()
}

/// What there is to tell of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Look {
    /// Ports whose links are down.
    pub links_down: Vec<String>,
    /// Its numbers, in one line.
    pub summary: String,
}

/// The thread that tells how a run goes.
#[derive(Debug)]
pub struct Service {
    manager: Arc<Manager>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Start it, if there is a manager. `pulse` is that of the data path, `ending` is set when the
    /// run is to stop, and `look` gives its numbers.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        manager: Arc<Manager>,
        pulse: Arc<Pulse>,
        ending: Arc<AtomicBool>,
        look: impl Fn() -> Look + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut service = Self {
            manager: Arc::clone(&manager),
            stop: Arc::clone(&stop),
            thread: None,
        };
        if !manager.is_there {
            return Ok(service);
        }
        let mut teller = Teller {
            manager,
            pulse,
            look,
            told: None,
            keep_alive: sd_notify::watchdog_enabled().map(|patience| patience / KEEP_ALIVES),
            kept: Instant::now(),
            is_stalled: false,
        };
        let thread = std::thread::Builder::new().name("service".to_owned());
        service.thread = Some(thread.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match ending.load(Ordering::Relaxed) {
                    true => teller.manager.stopping(),
                    false => teller.status(),
                }
                teller.keep_alive();
                std::thread::sleep(TICK);
            }
        })?);
        Ok(service)
    }

    /// The data path has ended: say so, if that was not said, and stop the thread.
    pub fn stop(self) {
        self.manager.stopping();
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    /// The start is over.
    Ready,
    /// It is not, as a link is down.
    Waits(String),
    /// It goes on like this.
    Runs(String),
}

fn report(is_starting: bool, look: &Look) -> Report {
    let down = look.links_down.join(", ");
    let summary = &look.summary;
    match (is_starting, look.links_down.is_empty()) {
        (true, true) => Report::Ready,
        (true, false) => Report::Waits(format!("waiting for the link of {down}; {summary}")),
        (false, true) => Report::Runs(summary.clone()),
        (false, false) => Report::Runs(format!("the link of {down} is down; {summary}")),
    }
}

/// What the thread knows.
struct Teller<L> {
    manager: Arc<Manager>,
    pulse: Arc<Pulse>,
    look: L,
    /// When the status was told last.
    told: Option<Instant>,
    /// Time between two keep-alives, if the manager wants any.
    keep_alive: Option<Duration>,
    /// When the last one was due: every thread has to have come round since.
    kept: Instant,
    /// Was the last one left out?
    is_stalled: bool,
}

impl<L: Fn() -> Look> Teller<L> {
    /// Say how it goes, if it is time to.
    fn status(&mut self) {
        if self.told.is_some_and(|told| told.elapsed() < STATUS_EVERY) {
            return;
        }
        if !self.pulse.has_begun() {
            // Soon; a thread that never comes round must not make the manager wait for longer.
            return;
        }
        self.told = Some(Instant::now());
        let look = (self.look)();
        match report(self.manager.is_in(State::Starting), &look) {
            Report::Ready => self.manager.ready(&look.summary),
            Report::Waits(text) => {
                let wait = u32::try_from(LINK_WAIT.as_micros()).unwrap_or(u32::MAX);
                let more = NotifyState::ExtendTimeoutUsec(wait);
                self.manager.tell(&[more, NotifyState::Status(&text)]);
            }
            Report::Runs(text) => self.manager.status(&text),
        }
    }

    /// Say that it is alive, if it is time to and it is.
    fn keep_alive(&mut self) {
        let Some(interval) = self.keep_alive else {
            return;
        };
        if self.kept.elapsed() < interval {
            return;
        }
        let since = std::mem::replace(&mut self.kept, Instant::now());
        let stalled = self.pulse.stalled_since(since);
        if stalled.is_empty() {
            self.is_stalled = false;
            self.manager.tell(&[NotifyState::Watchdog]);
        } else if !std::mem::replace(&mut self.is_stalled, true) {
            tracing::error!(
                threads = ?stalled,
                "threads of the data path make no progress (workers are numbered first, then \
                 security workers): the service manager gets no keep-alive"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(links_down: &[&str]) -> Look {
        Look {
            links_down: links_down.iter().map(|port| (*port).to_owned()).collect(),
            summary: "numbers".to_owned(),
        }
    }

    #[test]
    fn a_start_is_over_when_no_link_is_down() {
        let waits = Report::Waits("waiting for the link of a, b; numbers".to_owned());
        assert_eq!(report(true, &look(&["a", "b"])), waits);
        assert_eq!(report(true, &look(&[])), Report::Ready);
        let runs = |text: &str| Report::Runs(text.to_owned());
        assert_eq!(report(false, &look(&[])), runs("numbers"));
        let down = runs("the link of b is down; numbers");
        assert_eq!(report(false, &look(&["b"])), down);
    }

    #[test]
    fn a_status_is_one_short_line() {
        assert_eq!(in_one_line("a\nREADY=1\r\nb\n"), "a; READY=1; b");
        assert_eq!(in_one_line(&"ä".repeat(5_000)).chars().count(), STATUS_MAX);
    }

    #[test]
    fn only_what_is_ready_reloads_and_nothing_does_after_the_end() {
        let manager = Manager {
            is_there: false,
            state: Mutex::new(State::Starting),
        };
        let refused = || Outcome::Failure(super::super::load::Refused::of("x".to_owned()));
        let seen = |expected| {
            manager.reload(|| {
                assert!(manager.is_in(expected));
                refused()
            })
        };
        seen(State::Starting);
        assert!(manager.is_in(State::Starting));
        manager.ready("");
        seen(State::Reloading);
        assert!(manager.is_in(State::Ready));
        manager.stopping();
        seen(State::Stopping);
        manager.ready("");
        assert!(manager.is_in(State::Stopping));
    }
}
