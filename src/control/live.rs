//! The appliance on live ports: one thread for each worker, security worker and writer.
//!
//! ```text
//! ports --queues--> worker 0..W --matches--> security worker 0..M
//!                    ^ |                        |
//!                    | +--alerts, flow records--+--> writers
//!                    +--packets of other workers' flows
//! ```
//!
//! No thread of the data path waits for another: what a full ring does not take is dropped and
//! counted. Numbers are copied out now and then, for whoever shows them.

use super::cores::{self, Machine, Plan, Wishes};
use super::doctor::preflight;
use super::load::Source;
use super::overview::{OfSecurity, OfWorker, Overview, Rings, Run, Site};
use super::pipeline::share_of;
use super::read::conclude;
use super::reloader::{Control, Crew, Inbox, Reloader, SecurityInbox, Shown};
use super::service::{Manager, Service};
use super::socket::Listener;
use super::{Failure, is_shared, limiter, load, target};
use crate::capture::dpdk::{self, DpdkCapture};
use crate::capture::{Burst, Capture, Progress};
use crate::config::Config;
use crate::expr::Mode;
use crate::metrics::http::Server;
use crate::metrics::{Bounds, Snapshot};
use crate::output::limit::Limiter;
use crate::output::queue::{Dropped, Queue};
use crate::output::writer::{Existing, Sinks, WhenFull, Writer};
use crate::packet::Timestamp;
use crate::rules::RuleSet;
use crate::rules::joins::Limits;
use crate::rules::outbox;
use crate::worker::handover::{self, Arrivals, Handover};
use crate::worker::idle::{self, Idle};
use crate::worker::security::{self, SecurityWorker};
use crate::worker::{Scope, Settings, Worker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rounds of the loop of a worker between two looks at anything but packets.
const HOUSEKEEPING_ROUNDS: u32 = 256;

/// Time between two copies of the counters.
const SHOW_EVERY: Duration = Duration::from_millis(50);

/// Time between two looks for the largest flows.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// Batches of matches in one ring: some 8,000 matches, which a security worker takes in some
/// milliseconds.
const BATCHES_MAX: usize = 256;

/// Batches of one worker that may wait for the watermarks of others.
const BEHIND_MAX: usize = 1_024;

/// How often the main thread looks for the end.
const LOOK: Duration = Duration::from_millis(10);

/// How often ports are asked for their counters when nobody else asks. Those of the 82599 stop at
/// their largest value unless they are read, after 4 min 48 s at 14.88 million packets a second.
const READ_PORTS_EVERY: Duration = Duration::from_secs(60);

/// How long the end of a run waits for the threads of the data path. They wait for nobody, so that
/// one which takes long is on a slow or busy machine, and what it has yet to say must not be lost.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// Run until SIGINT or SIGTERM, or until the configuration says so.
///
/// # Errors
/// The configuration, a rule under `strict`, a port, or an output.
pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let manager = Arc::new(Manager::from_environment());
    let result = run_under(config, &manager);
    if let Err(failure) = &result {
        manager.status(&failure.to_string());
    }
    result
}

/// The same, which tells the service manager how it goes.
fn run_under(config: &Config, manager: &Arc<Manager>) -> Result<(), Failure> {
    if config.capture.ports.is_empty() {
        let text = "capture.ports: name at least one port".to_owned();
        return Err(Failure::Usage(text));
    }
    let stop = stop_on_signals()?;
    let hangup = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, Arc::clone(&hangup))?;
    let listener = listen(&config.control.socket)?;
    let compat = config.rules.compat == "mmt";
    let mode = if compat { Mode::Compat } else { Mode::Standard };
    let source = Source {
        paths: config.rules.paths.clone(),
        mode,
        lists: Some(config.rules.lists.clone()).filter(|lists| !lists.is_empty()),
    };
    let lists = source.lists.as_deref();
    manager.status("reading the rules");
    let loaded = load::rules(&source.paths, mode, lists, config.rules.strict)?;
    tracing::info!(rules = loaded.rules.programs.len(), "rules loaded");
    let signals = Signals {
        stop,
        hangup,
        listener,
        manager: Arc::clone(manager),
    };
    go(config, source, &loaded, signals)
}

/// How a run is told what to do.
struct Signals {
    stop: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
    listener: Option<Listener>,
    /// The service manager, which is told in turn.
    manager: Arc<Manager>,
}

/// From the start of the ports to the final account.
fn go(
    config: &Config,
    source: Source,
    loaded: &load::Loaded,
    signals: Signals,
) -> Result<(), Failure> {
    let site = Arc::new(Site::default());
    let server = site.serve(config)?;
    signals.manager.status("starting the ports");
    let probed = probe(config, &loaded.rules)?;
    let ports = probed.offers().into_iter().map(cores::Port::from).collect();
    let plan = plan(config, ports, &loaded.rules)?;
    let started = probed.start(plan.workers.len())?;
    let (captures, monitor) = started.captures(plan.workers.len());
    let crew = crew(config, captures.len(), &plan)?;
    let settings = worker_settings(config, source.mode, &crew);
    let sinks = sinks(config, &loaded.rules, &settings)?;
    let suppression = sinks.limiter.as_ref().map(Limiter::counters);
    let bounds = bounds(&settings);
    let (writer, queues) = Writer::start(sinks, (crew.workers, crew.security), WhenFull::Drop)?;

    let shown: Shown = Arc::new(Mutex::new(Snapshot {
        rules: loaded.ids(),
        files_skipped: loaded.files_skipped,
        ..Snapshot::default()
    }));
    let run = Arc::new(Run::new(signals.stop, &crew, Arc::clone(&shown)));
    let rules = Arc::clone(&loaded.rules);
    let (reloader, inboxes, security_inboxes) = Reloader::new(
        source,
        settings.clone(),
        crew.clone(),
        Arc::clone(&rules),
        shown,
    );
    let manager = signals.manager;
    let told = Arc::clone(&manager);
    let control = Control::start(reloader, signals.hangup, signals.listener, told)?;
    let crowd = Crowd {
        rules,
        settings,
        plan,
        crew,
        idle: config.idle,
    };
    let (threads, rings) = crowd.start(&run, captures, queues, (inboxes, security_inboxes))?;
    let overview = Arc::new(Overview {
        run: Arc::clone(&run),
        monitor,
        suppression,
        written: writer.written(),
        rings,
        bounds,
    });
    site.open(Arc::clone(&overview));
    if let Some(server) = &server {
        tracing::info!("metrics on http://{}/metrics", server.address());
    }
    let service = tell(manager, &overview)?;
    let result = threads.wait(&run, &overview);
    stop(service, control, server);
    if writer.finish()? {
        tracing::error!("an output takes nothing: what it has not taken is lost");
    }
    conclude(&overview.snapshot().map_err(Failure::Running)?, true)?;
    result
}

/// The ports, unless what was found of the machine cannot work.
fn probe(config: &Config, rules: &RuleSet) -> Result<dpdk::Probed, Failure> {
    preflight::machine(config, rules)?;
    let probed = dpdk::probe(&dpdk::Settings::new(config))?;
    preflight::ports(config, rules, probed.devices())?;
    Ok(probed)
}

/// Nothing is asked and told any more.
fn stop(service: Service, control: Control, server: Option<Server>) {
    service.stop();
    control.stop();
    if let Some(server) = server {
        server.stop();
    }
}

/// Who runs rules: a single worker keeps them all, if nothing else is wanted.
fn crew(config: &Config, workers: usize, plan: &Plan) -> Result<Crew, Failure> {
    let is_inline = workers == 1 && config.security.workers == 0;
    Ok(Crew {
        workers,
        security: match is_inline {
            true => 0,
            false => plan.security.len().max(1),
        },
        mask: config.security.mask().map_err(Failure::Usage)?,
    })
}

/// Which CPU each thread runs on.
fn plan(config: &Config, ports: Vec<cores::Port>, rules: &RuleSet) -> Result<Plan, Failure> {
    let mut workers = config.workers.count;
    if rules.needs_one_worker() && workers != 1 {
        tracing::warn!(
            "one worker: rules use running totals of all packets, which one worker has to count"
        );
        workers = 1;
    }
    let wishes = Wishes {
        workers,
        security: config.security.workers,
        cpus: config.workers.cpus.clone(),
        ports,
    };
    let plan = Plan::new(&wishes, &Machine::here()).map_err(|e| Failure::Usage(e.to_string()))?;
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    for line in plan.to_string().lines() {
        tracing::info!("{line}");
    }
    Ok(plan)
}

/// All that threads are made of.
struct Crowd {
    rules: Arc<RuleSet>,
    settings: Settings,
    plan: Plan,
    crew: Crew,
    idle: idle::Settings,
}

/// The running threads of the data path.
struct Threads {
    workers: Vec<JoinHandle<Result<(), Failure>>>,
    security: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn start(
        self,
        run: &Arc<Run>,
        captures: Vec<DpdkCapture>,
        queues: Vec<Queue>,
        (inboxes, security_inboxes): (Vec<Inbox>, Vec<SecurityInbox>),
    ) -> Result<(Threads, Vec<Rings>), Failure> {
        let crew = (self.crew.workers, self.crew.security);
        let room = (BATCHES_MAX, WhenFull::Drop);
        let (mut outboxes, merges) =
            outbox::between(&self.rules, crew, self.crew.mask.as_ref(), room);
        // A single worker that keeps all rules has none.
        outboxes.retain(|_| self.crew.security > 0);
        let between = self.handovers(&captures);
        let rings = Rings::all(&queues, &outboxes, &between);
        let (mut queues, mut outboxes) = (queues.into_iter(), outboxes.into_iter());
        let mut threads = Threads {
            workers: Vec::new(),
            security: Vec::new(),
        };
        let each = captures.into_iter().zip(inboxes).zip(queues.by_ref());
        for (number, (((capture, inbox), queue), between)) in each.zip(between).enumerate() {
            let (handover, arrivals) = between;
            let outbox = outboxes.next();
            let (rules, settings) = (Arc::clone(&self.rules), self.settings.clone());
            let (run, idle) = (Arc::clone(run), self.idle);
            let cpu = self.plan.workers.get(number).copied().flatten();
            let body = move || {
                pin(cpu);
                // Its memory is taken here, so that it is on the node of its core.
                let worker = Worker::with_outbox(rules, &settings, Scope::Rules, outbox);
                let follower = Follower {
                    capture,
                    worker: worker.with_handover(handover),
                    arrivals,
                    queue,
                    inbox,
                    idle: Idle::new(&idle),
                    run,
                    number,
                    ids: None,
                    shown: Instant::now(),
                    noted: Instant::now(),
                };
                follower.run()
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            threads.workers.push(thread.spawn(body)?);
        }
        let each = merges.into_iter().zip(security_inboxes).zip(queues);
        for (number, ((merge, inbox), queue)) in each.enumerate() {
            let (rules, settings) = (Arc::clone(&self.rules), self.settings.clone());
            let (run, idle) = (Arc::clone(run), self.idle);
            let cpu = self.plan.security.get(number).copied().flatten();
            let body = move || {
                pin(cpu);
                let merge = merge.bounded(BEHIND_MAX);
                let worker = SecurityWorker::new(rules, &settings, merge);
                verify(worker, queue, &inbox, Idle::new(&idle), (&run, number));
            };
            let thread = std::thread::Builder::new().name(format!("security-{number}"));
            threads.security.push(thread.spawn(body)?);
        }
        if let Err(error) = cores::confine(&self.plan.others) {
            tracing::warn!("{error}");
        }
        Ok((threads, rings))
    }

    /// Rings from each worker to each other; a single one has no use for any.
    fn handovers(&self, captures: &[DpdkCapture]) -> Vec<(Option<Handover>, Arrivals)> {
        let spreads = captures.first().map(DpdkCapture::spreads);
        let all = handover::between(
            captures.len(),
            spreads.unwrap_or_default(),
            self.settings.seed,
        );
        let is_single = captures.len() == 1;
        let each = all.into_iter();
        each.map(|(handover, arrivals)| ((!is_single).then_some(handover), arrivals))
            .collect()
    }
}

fn pin(cpu: Option<usize>) {
    if let Some(cpu) = cpu
        && let Err(error) = cores::pin(cpu)
    {
        tracing::warn!("{error}");
    }
}

impl Threads {
    /// Wait until every worker has ended, by itself or because the run is to stop.
    fn wait(self, run: &Run, overview: &Overview) -> Result<(), Failure> {
        let mut end = None;
        let mut read = Instant::now();
        while !self.workers.iter().all(JoinHandle::is_finished)
            || !self.security.iter().all(JoinHandle::is_finished)
        {
            if run.stop.load(Ordering::Relaxed) {
                let end = *end.get_or_insert_with(|| Instant::now() + LAST_WAIT);
                if Instant::now() > end {
                    let text = "a thread of the data path does not end".to_owned();
                    return Err(Failure::Running(text));
                }
            }
            if read.elapsed() > READ_PORTS_EVERY {
                read = Instant::now();
                overview.read_ports();
            }
            std::thread::sleep(LOOK);
        }
        let panicked = || Failure::Running("a thread of the data path has panicked".to_owned());
        let mut result = Ok(());
        for thread in self.workers {
            let ended = thread.join().unwrap_or_else(|_| Err(panicked()));
            result = result.and(ended);
        }
        for thread in self.security {
            let ended = thread.join().map_err(|_| panicked());
            result = result.and(ended);
        }
        result
    }
}

/// A worker and all that its thread has.
struct Follower {
    capture: DpdkCapture,
    worker: Worker,
    /// Packets that other workers hand over.
    arrivals: Arrivals,
    queue: Queue,
    inbox: Inbox,
    idle: Idle,
    run: Arc<Run>,
    number: usize,
    /// Ids of the rules that its counters are of from now on.
    ids: Option<Vec<String>>,
    /// When its counters were shown last.
    shown: Instant,
    /// When it last looked for the largest flows.
    noted: Instant,
}

impl Follower {
    fn run(mut self) -> Result<(), Failure> {
        let result = self.follow();
        if result.is_err() {
            // The others end too: half an appliance would look like a whole one.
            self.run.stop.store(true, Ordering::Relaxed);
        }
        self.leave();
        let Self {
            capture,
            mut worker,
            mut queue,
            inbox,
            mut idle,
            run,
            number,
            ..
        } = self;
        // A reload under way must not wait for this worker any more.
        drop(inbox);
        worker.finish(&mut queue);
        let mut last = OfWorker {
            counters: worker.counters(),
            source: capture.counters(),
            idle: idle.counters(),
            dropped: Dropped::default(),
            queues: capture.queues().collect(),
        };
        drop(worker);
        last.dropped = queue.finish();
        if let Some(Ok(mut shown)) = run.workers.get(number).map(Mutex::lock) {
            *shown = last;
        }
        run.pulse.retire(number);
        result
    }

    /// The loop: receive, process, and now and then look up.
    fn follow(&mut self) -> Result<(), Failure> {
        let _registration = self.capture.register_thread()?;
        let mut rounds = 0;
        loop {
            let (received, found) = self.round()?;
            let taken = self.take();
            let slept = self.idle.rest(found || taken);
            rounds += 1;
            // Others wait to hear how far this worker is, also while it sleeps.
            if slept || rounds >= HOUSEKEEPING_ROUNDS {
                rounds = 0;
                if self.run.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                self.keep_house(received);
            }
            if received == Progress::End {
                return Ok(());
            }
        }
    }

    /// One round of the loop: what the capture has to say, and whether there were packets.
    fn round(&mut self) -> Result<(Progress, bool), Failure> {
        let mut burst = Burst::new();
        let received = self.capture.receive(&mut burst)?;
        if burst.is_empty() {
            return Ok((received, false));
        }
        let is_full = burst.is_full();
        self.worker.burst(burst, &mut self.queue);
        self.tell(!is_full);
        Ok((received, true))
    }

    /// Process what another worker has handed over; false when there is nothing.
    fn take(&mut self) -> bool {
        let (worker, queue) = (&mut self.worker, &mut self.queue);
        let taken = self.arrivals.next(|parcel| {
            for burst in parcel.bursts() {
                worker.burst_of_others(burst, queue);
            }
        });
        if taken {
            self.tell(true);
        }
        taken
    }

    /// This worker receives nothing any more: hand over what is for others, and take what they hand
    /// over until all of them have ended as well. None waits for another that does not receive, as
    /// each goes on taking while it finds no room.
    fn leave(&mut self) {
        let mut rounds = 0;
        loop {
            let is_last = self.worker.leave() && self.arrivals.is_ending();
            let is_over = self.arrivals.is_over();
            let taken = self.take();
            if !taken && is_last && self.worker.close() && is_over {
                return;
            }
            let slept = self.idle.rest(taken);
            rounds += 1;
            if slept || rounds >= HOUSEKEEPING_ROUNDS {
                rounds = 0;
                self.keep_house(Progress::Idle);
            }
        }
    }

    /// Say how far this worker is. With `hurry`, what waits for more goes now.
    fn tell(&mut self, hurry: bool) {
        if hurry {
            self.worker.hurry();
        }
        let settled = self.worker.settled();
        self.queue.advance(settled.alerts, settled.flows, hurry);
    }

    fn keep_house(&mut self, received: Progress) {
        if let Some(ids) = self.inbox.take(&mut self.worker, &mut self.queue) {
            self.ids = Some(ids);
        }
        let clock = &self.run.clock;
        clock.fetch_max(self.worker.now().nanos(), Ordering::Relaxed);
        if received == Progress::Idle {
            // Ports that tell no time of their own go by that of the others.
            let others = Timestamp::from_nanos(clock.load(Ordering::Relaxed));
            let now = self.capture.time().unwrap_or(others);
            self.worker.idle(now, &mut self.queue);
        }
        self.tell(true);
        if self.shown.elapsed() >= SHOW_EVERY {
            self.shown = Instant::now();
            self.show();
            self.run.pulse.beat(self.number, self.shown);
        }
    }

    /// Copy the counters out, unless somebody is reading them right now.
    fn show(&mut self) {
        if self.noted.elapsed() >= NOTE_EVERY {
            self.noted = Instant::now();
            self.worker.note_largest();
        }
        let slot = self.run.workers.get(self.number);
        if let Some(Ok(mut shown)) = slot.map(Mutex::try_lock) {
            shown.counters = self.worker.counters();
            shown.source = self.capture.counters();
            shown.idle = self.idle.counters();
            shown.dropped = self.queue.dropped();
            shown.queues.clear();
            shown.queues.extend(self.capture.queues());
        }
        if let Some(ids) = self.ids.take_if(|_| self.number == 0)
            && let Ok(mut shown) = self.run.shown.lock()
        {
            shown.rules = ids;
        }
    }
}

/// A security worker, until all workers have ended.
fn verify(
    mut worker: SecurityWorker,
    mut queue: Queue,
    inbox: &SecurityInbox,
    mut idle: Idle,
    (run, number): (&Run, usize),
) {
    let mut shown = Instant::now();
    let place = run.workers.len() + number;
    loop {
        inbox.serve(&mut worker);
        let progress = worker.work(&mut queue);
        match progress {
            security::Progress::Changed => queue.change_rules(Arc::clone(worker.rules())),
            security::Progress::End => break,
            security::Progress::Worked | security::Progress::Idle => {}
        }
        let settled = worker.settled();
        let is_idle = progress == security::Progress::Idle;
        queue.advance(settled, settled, is_idle);
        idle.rest(!is_idle);
        if shown.elapsed() >= SHOW_EVERY {
            shown = Instant::now();
            if let Some(Ok(mut slot)) = run.security.get(number).map(Mutex::try_lock) {
                slot.counters = worker.counters();
                slot.idle = idle.counters();
                slot.dropped = queue.dropped();
            }
            run.pulse.beat(place, shown);
        }
    }
    run.pulse.retire(place);
    let last = OfSecurity {
        counters: worker.counters(),
        idle: idle.counters(),
        dropped: queue.finish(),
    };
    if let Some(Ok(mut slot)) = run.security.get(number).map(Mutex::lock) {
        *slot = last;
    }
}

/// Have the service manager told how the run goes.
fn tell(manager: Arc<Manager>, overview: &Arc<Overview>) -> Result<Service, Failure> {
    let run = &overview.run;
    let (pulse, ending) = (Arc::clone(&run.pulse), Arc::clone(&run.stop));
    let overview = Arc::clone(overview);
    let look = move || overview.look();
    Ok(Service::start(manager, pulse, ending, look)?)
}

/// The control socket, if one is wanted.
fn listen(path: &str) -> Result<Option<Listener>, Failure> {
    if path.is_empty() {
        return Ok(None);
    }
    let failed = |error| Failure::Usage(format!("control.socket: {path}: {error}"));
    Listener::bind(Path::new(path)).map(Some).map_err(failed)
}

/// The first SIGINT or SIGTERM asks the loop to stop; a second one ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn sinks(config: &Config, rules: &Arc<RuleSet>, settings: &Settings) -> Result<Sinks, Failure> {
    super::distinct(&config.output.alerts, &config.output.flows)?;
    let file = |path: &String| match path.is_empty() {
        true => Ok(None),
        // What was found before a restart is still worth reading.
        false => target(path, Existing::Append).map(Some),
    };
    Ok(Sinks {
        alerts: file(&config.output.alerts)?,
        format: config.output.alert_format.parse().map_err(Failure::Usage)?,
        limiter: match config.output.alerts.is_empty() {
            true => None,
            false => config.alerts.limit().map(|limit| limiter(limit, settings)),
        },
        flows: file(&config.output.flows)?,
        shared: is_shared(&config.output.alerts, &config.output.flows),
        rules: Arc::clone(rules),
    })
}

/// How large the tables of one worker are.
fn bounds(settings: &Settings) -> Bounds {
    let count = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    let instances = settings.instances.unwrap_or_default();
    Bounds {
        flows: count(settings.flows.flows_max),
        streams: settings.applications.flows_max.into(),
        instances: count(instances.total),
    }
}

fn worker_settings(config: &Config, mode: Mode, crew: &Crew) -> Settings {
    let limits = &config.limits;
    let mut settings = Settings {
        flows: config.flows.clone(),
        instances: Some(Limits {
            per_rule: limits.instances_per_rule,
            total: limits.instances_total,
            work: limits.work_per_packet,
        }),
        seed: super::seed(),
        http_compat: mode == Mode::Compat,
        ..Settings::default()
    };
    settings.fragments.datagrams_max = limits.datagrams;
    settings.applications.flows_max = limits.streams;
    share_of(&settings, crew.workers)
}
