//! What there is to see of a run from outside: numbers, health, readiness.

use super::pulse::{Beat, Pulse};
use super::reloader::{Crew, Shown};
use super::service::Look;
use super::{Failure, suppression};
use crate::capture;
use crate::capture::dpdk::{self, Monitor, QueueCounts};
use crate::config::Config;
use crate::metrics::http::Server;
use crate::metrics::machine::{Machine, Process};
use crate::metrics::pages::Pages;
use crate::metrics::token::Token;
use crate::metrics::{Bounds, Counters, Port, Progress, Queue, Ring, Snapshot};
use crate::metrics::{largest_flows_json, prometheus};
use crate::output::limit;
use crate::output::queue::Dropped;
use crate::output::writer::{self, Written};
use crate::ring::Fill;
use crate::rules::outbox::Outbox;
use crate::worker::handover::{Arrivals, Handover};
use crate::worker::{idle, security};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A thread of the data path that has not come to say that it lives for so long is stuck: the
/// longest that keeps it from that, a reload with a million open attempts, takes milliseconds.
const STUCK: Duration = Duration::from_secs(5);

/// What a worker's thread has counted.
#[derive(Debug, Default, Clone)]
pub(super) struct OfWorker {
    pub(super) counters: Counters,
    pub(super) source: capture::Counters,
    pub(super) idle: idle::Counters,
    pub(super) dropped: Dropped,
    pub(super) queues: Vec<QueueCounts>,
}

/// The same of a security worker.
#[derive(Debug, Default, Clone)]
pub(super) struct OfSecurity {
    pub(super) counters: security::Counters,
    pub(super) idle: idle::Counters,
    pub(super) dropped: Dropped,
}

/// What all threads of a run share. None of it is touched for a packet.
pub(super) struct Run {
    pub(super) stop: Arc<AtomicBool>,
    /// Latest time of any worker, for those whose ports tell no time.
    pub(super) clock: AtomicU64,
    pub(super) workers: Vec<Mutex<OfWorker>>,
    pub(super) security: Vec<Mutex<OfSecurity>>,
    pub(super) shown: Shown,
    /// Of the workers, then of the security workers.
    pub(super) pulse: Arc<Pulse>,
}

impl Run {
    /// Of so many threads, which stop when told so.
    pub(super) fn new(stop: Arc<AtomicBool>, crew: &Crew, shown: Shown) -> Self {
        Self {
            stop,
            clock: AtomicU64::new(0),
            workers: (0..crew.workers).map(|_| Mutex::default()).collect(),
            security: (0..crew.security).map(|_| Mutex::default()).collect(),
            shown,
            pulse: Arc::new(Pulse::new(crew.workers + crew.security)),
        }
    }
}

/// Rings that lead to one thread.
pub(super) struct Rings {
    ring: &'static str,
    to: String,
    fills: Vec<Arc<dyn Fill>>,
}

impl Rings {
    /// All those that these ends belong to.
    pub(super) fn all(
        queues: &[writer::Queue],
        outboxes: &[Outbox],
        between: &[(Option<Handover>, Arrivals)],
    ) -> Vec<Self> {
        let mut all = Self::of_queues(queues);
        all.extend(Self::of_outboxes(outboxes));
        let handovers = between.iter().filter_map(|(handover, _)| handover.as_ref());
        all.extend(Self::of_handovers(handovers));
        all
    }

    /// Of alerts and flow records, to their writers.
    fn of_queues(queues: &[writer::Queue]) -> Vec<Self> {
        let of = |place: usize| {
            let fills = queues.iter().map(writer::Queue::fills);
            fills.filter_map(move |fills| fills.into_iter().nth(place).flatten())
        };
        let rings = |(place, name): (usize, &'static str)| Self {
            ring: name,
            to: name.to_owned(),
            fills: of(place).collect(),
        };
        let all = ["alerts", "flows"].into_iter().enumerate().map(rings);
        all.filter(|rings| !rings.fills.is_empty()).collect()
    }

    /// Of matches, to security workers.
    fn of_outboxes(outboxes: &[Outbox]) -> Vec<Self> {
        let by_sender: Vec<_> = outboxes.iter().map(Outbox::fills).collect();
        let receivers = by_sender.first().map_or(0, Vec::len);
        let rings = |number: usize| Self {
            ring: "matches",
            to: format!("security-{number}"),
            fills: column(&by_sender, number),
        };
        (0..receivers).map(rings).collect()
    }

    /// Of packets, from worker to worker.
    fn of_handovers<'a>(handovers: impl Iterator<Item = &'a Handover>) -> Vec<Self> {
        let by_sender: Vec<_> = handovers.map(Handover::fills).collect();
        let rings = |number: usize| Self {
            ring: "packets",
            to: format!("worker-{number}"),
            fills: column(&by_sender, number).into_iter().flatten().collect(),
        };
        (0..by_sender.len()).map(rings).collect()
    }

    /// How full the fullest of them is.
    fn counted(&self) -> Ring {
        let most = |of: fn(&dyn Fill) -> usize| {
            let all = self.fills.iter().map(|fill| of(&**fill));
            u64::try_from(all.max().unwrap_or(0)).unwrap_or(u64::MAX)
        };
        Ring {
            ring: self.ring,
            to: self.to.clone(),
            waiting: most(|fill| fill.waiting()),
            capacity: most(|fill| fill.capacity()),
        }
    }
}

/// What each sender has for the receiver with this number.
fn column<T: Clone>(by_sender: &[Vec<T>], number: usize) -> Vec<T> {
    let of = |sender: &Vec<T>| sender.get(number).cloned();
    by_sender.iter().filter_map(of).collect()
}

/// All that is counted, wherever that is.
pub(super) struct Overview {
    pub(super) run: Arc<Run>,
    pub(super) monitor: Monitor,
    pub(super) suppression: Option<Arc<Mutex<limit::Counters>>>,
    pub(super) written: Arc<Written>,
    pub(super) rings: Vec<Rings>,
    pub(super) bounds: Bounds,
}

impl Overview {
    /// Take what the ports have counted out of their registers.
    pub(super) fn read_ports(&self) {
        let _ = self.monitor.snapshot();
    }

    /// What the service manager shows.
    pub(super) fn look(&self) -> Look {
        let links_down = self.monitor.links().filter(|(_, is_up)| !is_up);
        Look {
            links_down: links_down.map(|(port, _)| port.to_owned()).collect(),
            summary: self
                .snapshot()
                .map_or_else(|error| error, |all| in_short(&all)),
        }
    }

    /// Everything, at this moment.
    pub(super) fn snapshot(&self) -> Result<Snapshot, String> {
        let mut snapshot = {
            let shown = self.run.shown.lock().map_err(|error| error.to_string())?;
            shown.clone()
        };
        let nic = self.monitor.snapshot();
        snapshot.clock_errors_ns = nic.clock_errors_ns;
        let numbered = nic.ports.into_iter().enumerate();
        let port = |(index, port)| self.port(index, port);
        let (ports, dropped): (Vec<Port>, Vec<Vec<Option<u64>>>) = numbered.map(port).unzip();
        snapshot.ports = ports;
        snapshot.suppression = suppression(self.suppression.as_deref());
        snapshot.events_dropped = self.written.lost();
        snapshot.events_written = self.written.events();
        snapshot.outputs = self.written.outputs();
        snapshot.latency.clone_from(&self.written.latency);
        snapshot.rings = self.rings.iter().map(Rings::counted).collect();
        snapshot.bounds = self.bounds;
        snapshot.process = Process::here();
        snapshot.machine = Machine::here();
        snapshot.is_ready = self.ready().is_ok();
        self.add_workers(&mut snapshot, &dropped)?;
        self.add_security(&mut snapshot)?;
        let threads = self.threads();
        snapshot.progress = threads.filter_map(progress).collect();
        Ok(snapshot)
    }

    /// A port, and what its queues lost, as far as its driver says.
    fn port(&self, index: usize, port: dpdk::PortCounters) -> (Port, Vec<Option<u64>>) {
        let known = port.link_up && port.link_mbps != 0 && port.link_mbps != u32::MAX;
        let dropped = port.queues.iter().map(|queue| Some(queue.errors)).collect();
        let losses = match port.alive {
            true => self.monitor.losses(index),
            false => Vec::new(),
        };
        let port = Port {
            name: port.device,
            received: port.received,
            bytes: port.bytes,
            missed: port.missed,
            no_buffer: port.no_mbuf,
            errors: port.errors,
            is_present: port.alive,
            link_up: port.link_up,
            // A megabit a second.
            link_bytes: known.then(|| u64::from(port.link_mbps) * 125_000),
            buffers_used: port.buffers.saturating_sub(port.buffers_free).into(),
            buffers: port.buffers.into(),
            hashes: port.hashes,
            losses,
        };
        (port, dropped)
    }

    fn add_workers(
        &self,
        snapshot: &mut Snapshot,
        dropped: &[Vec<Option<u64>>],
    ) -> Result<(), String> {
        for slot in &self.run.workers {
            let worker = slot.lock().map_err(|error| error.to_string())?.clone();
            snapshot.workers.push(worker.counters);
            snapshot.sources.push(worker.source);
            snapshot.idle.push(worker.idle);
            snapshot.events_dropped.add(worker.dropped);
            for queue in worker.queues {
                let (port, number) = (usize::from(queue.port), usize::from(queue.queue));
                let dropped = dropped.get(port).and_then(|of_port| of_port.get(number));
                let name = snapshot.ports.get(port).map(|port| port.name.clone());
                snapshot.queues.push(Queue {
                    port: name.unwrap_or_default(),
                    number: queue.queue,
                    received: queue.received,
                    bytes: queue.bytes,
                    dropped: dropped.copied().flatten(),
                });
            }
        }
        Ok(())
    }

    fn add_security(&self, snapshot: &mut Snapshot) -> Result<(), String> {
        for slot in &self.run.security {
            let worker = slot.lock().map_err(|error| error.to_string())?.clone();
            snapshot.security.push(worker.counters);
            snapshot.security_idle.push(worker.idle);
            snapshot.events_dropped.add(worker.dropped);
        }
        Ok(())
    }

    /// Threads of the data path, and when each last said that it lives.
    fn threads(&self) -> impl Iterator<Item = (String, Beat)> {
        let workers = self.run.workers.len();
        let beats = self.run.pulse.beats().enumerate();
        beats.map(move |(number, beat)| match number.checked_sub(workers) {
            None => (format!("worker-{number}"), beat),
            Some(number) => (format!("security-{number}"), beat),
        })
    }

    /// Is every thread of the data path alive?
    fn healthy(&self) -> Result<(), String> {
        all_alive(self.threads(), Instant::now())
    }

    /// Do packets go through all stages?
    fn ready(&self) -> Result<(), String> {
        if self.run.stop.load(Ordering::Relaxed) {
            return Err("stopping".to_owned());
        }
        all_up(self.monitor.links(), self.threads())
    }
}

/// Fine, if no thread is stuck; one that has not begun yet, or has ended, is not.
fn all_alive(threads: impl Iterator<Item = (String, Beat)>, now: Instant) -> Result<(), String> {
    complain(threads.filter_map(|(thread, beat)| {
        let Beat::At(at) = beat else { return None };
        let silent = now.saturating_duration_since(at);
        (silent > STUCK).then(|| format!("{thread} has been stuck for {} s", silent.as_secs()))
    }))
}

/// Fine, if all links are up and all threads have begun.
fn all_up<'a>(
    links: impl Iterator<Item = (&'a str, bool)>,
    threads: impl Iterator<Item = (String, Beat)>,
) -> Result<(), String> {
    let down = links.filter(|(_, is_up)| !is_up);
    let down = down.map(|(port, _)| {
        format!("port {port}: link down; check the cable, the optics and the other end")
    });
    let begun = threads.filter(|(_, beat)| *beat == Beat::NotBegun);
    complain(down.chain(begun.map(|(thread, _)| format!("{thread} is starting"))))
}

/// Fine, if there is nothing to complain about.
fn complain(complaints: impl Iterator<Item = String>) -> Result<(), String> {
    let complaints: Vec<String> = complaints.collect();
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(complaints.join("\n")),
    }
}

/// When a thread last said that it lives, by the clock that others have.
fn progress((thread, beat): (String, Beat)) -> Option<Progress> {
    let Beat::At(at) = beat else { return None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let at = now.checked_sub(at.elapsed())?;
    Some(Progress {
        thread,
        timestamp_seconds: at.as_secs_f64(),
    })
}

/// How it goes, in one line.
fn in_short(all: &Snapshot) -> String {
    let account = all.account();
    let missed: u64 = all.ports.iter().map(|port| port.missed).sum();
    let dropped: u64 = account.dropped.iter().sum();
    let alerts: u64 = all.of_places(|c| &c.alerts).iter().map(|(_, n)| n).sum();
    format!(
        "packets received {}, dropped {dropped}, missed by ports {missed}; alerts {alerts}; \
         rules {} of generation {}",
        account.received,
        all.rules.len(),
        all.reloads.generation
    )
}

/// What the listener shows: from the start of the program on, and before there is anything to
/// count.
pub(super) struct Site {
    start: Instant,
    overview: OnceLock<Arc<Overview>>,
    /// Who shows it may see numbers and flows; all may while there is none.
    token: OnceLock<Token>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            overview: OnceLock::new(),
            token: OnceLock::new(),
        }
    }
}

impl Site {
    /// Start the listener, if one is wanted.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(super) fn serve(self: &Arc<Self>, config: &Config) -> Result<Option<Server>, Failure> {
        if !config.metrics.enabled {
            return Ok(None);
        }
        let address = config.metrics.address;
        let file = Path::new(&config.metrics.token_file);
        if !file.as_os_str().is_empty() {
            let _ = self.token.set(Token::open(file).map_err(Failure::Usage)?);
        }
        let pages: Arc<dyn Pages> = Arc::<Self>::clone(self);
        let server = Server::start(address, pages)
            .map_err(|error| Failure::Usage(format!("metrics.address: {address}: {error}")))?;
        Ok(Some(server))
    }

    /// From now on there are numbers.
    pub(super) fn open(&self, overview: Arc<Overview>) {
        let _ = self.overview.set(overview);
    }

    fn overview(&self) -> Result<&Overview, String> {
        let starting = || "starting: ports and links are not up yet".to_owned();
        self.overview
            .get()
            .map(|overview| &**overview)
            .ok_or_else(starting)
    }
}

impl Pages for Site {
    fn metrics(&self) -> Result<String, String> {
        prometheus::render(&self.overview()?.snapshot()?).map_err(|error| error.to_string())
    }

    fn largest_flows(&self) -> Result<String, String> {
        largest_flows_json(&self.overview()?.snapshot()?).map_err(|error| error.to_string())
    }

    /// While it starts there is no thread yet that could be stuck.
    fn healthy(&self) -> Result<(), String> {
        self.overview().map_or(Ok(()), Overview::healthy)
    }

    fn ready(&self) -> Result<(), String> {
        self.overview()?.ready()
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    fn permits(&self, request: &[u8]) -> bool {
        self.token.get().is_none_or(|token| token.permits(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(name: &str, beat: Beat) -> (String, Beat) {
        (name.to_owned(), beat)
    }

    #[test]
    fn a_thread_that_does_not_go_on_is_named() {
        let then = Instant::now();
        let later = then + Duration::from_secs(7);
        let threads = [
            thread("worker-0", Beat::At(later)),
            thread("worker-1", Beat::At(then)),
            thread("worker-2", Beat::Retired),
            thread("security-0", Beat::NotBegun),
        ];
        let told = all_alive(threads.clone().into_iter(), later);
        assert_eq!(told, Err("worker-1 has been stuck for 7 s".to_owned()));
        assert_eq!(all_alive(threads.into_iter(), then), Ok(()));
    }

    #[test]
    fn what_is_missing_before_packets_are_inspected_is_named() {
        let now = Beat::At(Instant::now());
        let ready = || std::iter::once(thread("worker-0", now));
        let up = [("a", true), ("b", true)];
        assert_eq!(all_up(up.into_iter(), ready()), Ok(()));
        let half = all_up([("a", true), ("b", false)].into_iter(), ready());
        assert!(half.unwrap_err().starts_with("port b: link down"));
        let begins = std::iter::once(thread("worker-0", Beat::NotBegun));
        let begins = all_up(up.into_iter(), begins);
        assert_eq!(begins, Err("worker-0 is starting".to_owned()));
    }

    #[test]
    fn before_the_start_there_is_health_and_nothing_else() {
        let site = Site::default();
        assert_eq!(site.healthy(), Ok(()));
        assert!(site.ready().unwrap_err().starts_with("starting"));
        assert!(site.metrics().is_err() && site.largest_flows().is_err());
    }

    #[test]
    fn the_fullest_ring_is_shown() {
        #[derive(Debug)]
        struct Fixed(usize);

        impl Fill for Fixed {
            fn waiting(&self) -> usize {
                self.0
            }

            fn capacity(&self) -> usize {
                256
            }
        }

        let fill = |waiting| -> Arc<dyn Fill> { Arc::new(Fixed(waiting)) };
        let rings = Rings {
            ring: "matches",
            to: "security-1".to_owned(),
            fills: column(&[vec![fill(9), fill(1)], vec![fill(9), fill(3)]], 1),
        };
        let counted = rings.counted();
        assert_eq!((counted.waiting, counted.capacity), (3, 256));
    }
}
