//! `wirelynx run`: the appliance on live ports.

use super::Failure;
use std::path::PathBuf;

/// Shown under `--help`.
pub const EXAMPLES: &str = "Examples:
  wirelynx run -c /etc/wirelynx/wirelynx.toml
  wirelynx run -X capture.ports='[\"0000:3b:00.0\"]' -X rules.paths='[\"rules\"]'
  wirelynx run -X capture.ports='[\"net_pcap0,rx_pcap=trace.pcap\"]' -X capture.idle_exit_seconds=2
Every key is documented in docs/wirelynx.toml.";

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key over the configuration file; may be given several times
    #[arg(short = 'X', long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Run until SIGINT or SIGTERM, or until the configuration says so.
///
/// # Errors
/// The configuration, a rule under `strict`, a port, or an output.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let config = crate::config::Config::load(options.config.as_deref(), &options.set)?;
    live::run(&config)
}

#[cfg(not(feature = "dpdk"))]
mod live {
    use super::Failure;

    pub(super) fn run(_: &crate::config::Config) -> Result<(), Failure> {
        Err(Failure::Usage(
            "this program was built without live capture; build it with feature 'dpdk', or read \
             capture files with 'wirelynx read'"
                .to_owned(),
        ))
    }
}

#[cfg(feature = "dpdk")]
mod live {
    use super::Failure;
    use crate::capture::dpdk::{self, DpdkCapture, Monitor, PortSettings};
    use crate::capture::{Burst, Capture, Progress};
    use crate::config::{self, Config};
    use crate::control::load::Source;
    use crate::control::read::conclude;
    use crate::control::reloader::{Control, Inbox, Reloader, Shown};
    use crate::control::socket::Listener;
    use crate::control::{create, limiter, load, suppression};
    use crate::expr::Mode;
    use crate::metrics::http::Server;
    use crate::metrics::{Port, Snapshot, prometheus};
    use crate::output::limit::{self, Limiter};
    use crate::output::writer::{Queue, Sinks, WhenFull, Writer};
    use crate::rules::joins::Limits;
    use crate::worker::{Scope, Settings, Worker};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// Rounds of the loop between two looks at anything but packets.
    const HOUSEKEEPING_ROUNDS: u32 = 256;

    pub(super) fn run(config: &Config) -> Result<(), Failure> {
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
        let loaded = load::rules(&source.paths, mode, lists, config.rules.strict)?;
        tracing::info!(rules = loaded.rules.programs.len(), "rules loaded");
        let settings = worker_settings(config, mode);
        let mut worker = Worker::new(Arc::clone(&loaded.rules), &settings, Scope::Rules);
        let sinks = sinks(config, &loaded.rules, &settings)?;
        let suppression = sinks.limiter.as_ref().map(Limiter::counters);
        let (writer, mut queue) = Writer::start(sinks, WhenFull::Drop)?;

        let started = dpdk::start(&capture_settings(config))?;
        let (captures, monitor) = started.captures(1);
        let Some(mut capture) = captures.into_iter().next() else {
            return Err(Failure::Running("no port has a queue".to_owned()));
        };
        let shown: Shown = Arc::new(Mutex::new(Snapshot {
            rules: loaded.ids(),
            files_skipped: loaded.files_skipped,
            ..Snapshot::default()
        }));
        let overview = Arc::new(Overview {
            shown: Arc::clone(&shown),
            monitor,
            suppression,
        });
        let server = serve(config, &overview)?;

        let rules = Arc::clone(&loaded.rules);
        let (reloader, inbox) = Reloader::new(source, settings, rules, Arc::clone(&shown));
        let control = Control::start(reloader, hangup, listener)?;

        let mut shown = Publisher { shown, ids: None };
        let result = follow(
            &mut capture,
            &mut worker,
            &mut queue,
            &stop,
            (&inbox, &mut shown),
        );
        // A reload under way must not wait for this worker any more.
        drop(inbox);
        control.stop();
        worker.finish(&mut |event| queue.send(event));
        shown.publish(&capture, &mut worker, &queue, true);
        if let Some(server) = server {
            server.stop();
        }
        drop(queue);
        writer.finish()?;
        conclude(&overview.snapshot().map_err(Failure::Running)?, true)?;
        result
    }

    /// The loop: receive, process, and now and then look up.
    fn follow(
        capture: &mut DpdkCapture,
        worker: &mut Worker,
        queue: &mut Queue,
        stop: &AtomicBool,
        (inbox, shown): (&Inbox, &mut Publisher),
    ) -> Result<(), Failure> {
        let _registration = capture.register_thread()?;
        let mut rounds = 0;
        loop {
            let mut burst = Burst::new();
            let received = capture.receive(&mut burst)?;
            worker.burst(burst, &mut |event| queue.send(event));
            rounds += 1;
            if rounds == HOUSEKEEPING_ROUNDS {
                rounds = 0;
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if let Some(ids) = inbox.take(worker, queue) {
                    shown.ids = Some(ids);
                }
                shown.publish(capture, worker, queue, false);
                if received == Progress::Idle
                    && let Some(now) = capture.time()
                {
                    worker.idle(now, &mut |event| queue.send(event));
                }
                queue.tell_time(worker.now());
            }
            if received == Progress::End {
                return Ok(());
            }
        }
    }

    /// All that is counted, wherever that is.
    struct Overview {
        shown: Shown,
        monitor: Monitor,
        suppression: Option<Arc<Mutex<limit::Counters>>>,
    }

    impl Overview {
        fn snapshot(&self) -> Result<Snapshot, String> {
            let shown = self.shown.lock().map_err(|error| error.to_string())?;
            Ok(Snapshot {
                ports: ports(&self.monitor),
                suppression: suppression(self.suppression.as_deref()),
                ..shown.clone()
            })
        }
    }

    /// Copies the counters out.
    struct Publisher {
        shown: Shown,
        /// Ids of the rules that the counters are of from now on.
        ids: Option<Vec<String>>,
    }

    impl Publisher {
        /// Copy, unless somebody is reading them right now; `last` waits for that.
        fn publish(
            &mut self,
            capture: &DpdkCapture,
            worker: &mut Worker,
            queue: &Queue,
            last: bool,
        ) {
            let guard = if last {
                self.shown.lock().ok()
            } else {
                self.shown.try_lock().ok()
            };
            if let Some(mut shown) = guard {
                shown.workers.clear();
                shown.workers.push(worker.counters());
                shown.sources.clear();
                shown.sources.push(capture.counters());
                shown.events_dropped = queue.dropped();
                if let Some(ids) = self.ids.take() {
                    shown.rules = ids;
                }
            }
        }
    }

    /// The control socket, if one is wanted.
    fn listen(path: &str) -> Result<Option<Listener>, Failure> {
        if path.is_empty() {
            return Ok(None);
        }
        let failed = |error| Failure::Usage(format!("control.socket: {path}: {error}"));
        Listener::bind(Path::new(path)).map(Some).map_err(failed)
    }

    fn serve(config: &Config, overview: &Arc<Overview>) -> Result<Option<Server>, Failure> {
        if !config.metrics.enabled {
            return Ok(None);
        }
        let address = config.metrics.address;
        let overview = Arc::clone(overview);
        let server = Server::start(address, move || {
            prometheus::render(&overview.snapshot()?).map_err(|error| error.to_string())
        })
        .map_err(|error| Failure::Usage(format!("metrics.address: {address}: {error}")))?;
        tracing::info!("metrics on http://{}/metrics", server.address());
        Ok(Some(server))
    }

    fn ports(monitor: &Monitor) -> Vec<Port> {
        let port = |port: dpdk::PortCounters| Port {
            name: port.device,
            received: port.received,
            bytes: port.bytes,
            missed: port.missed,
            no_buffer: port.no_mbuf,
            errors: port.errors,
        };
        monitor.snapshot().ports.into_iter().map(port).collect()
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

    fn sinks(
        config: &Config,
        rules: &Arc<crate::rules::RuleSet>,
        settings: &Settings,
    ) -> Result<Sinks, Failure> {
        crate::control::distinct(&config.output.alerts, &config.output.flows)?;
        let file = |path: &String| match path.is_empty() {
            true => Ok(None),
            false => create(path).map(Some),
        };
        Ok(Sinks {
            alerts: file(&config.output.alerts)?,
            format: config.output.alert_format.parse().map_err(Failure::Usage)?,
            limiter: match config.output.alerts.is_empty() {
                true => None,
                false => config.alerts.limit().map(|limit| limiter(limit, settings)),
            },
            flows: file(&config.output.flows)?,
            rules: Arc::clone(rules),
        })
    }

    fn worker_settings(config: &Config, mode: Mode) -> Settings {
        let limits = &config.limits;
        let mut settings = Settings {
            flows: config.flows.clone(),
            instances: Some(Limits {
                per_rule: limits.instances_per_rule,
                total: limits.instances_total,
            }),
            seed: crate::control::seed(),
            http_compat: mode == Mode::Compat,
            ..Settings::default()
        };
        settings.fragments.datagrams_max = limits.datagrams;
        settings.applications.flows_max = limits.streams;
        settings
    }

    fn capture_settings(config: &Config) -> dpdk::Settings {
        let config::Capture {
            queues,
            descriptors,
            promiscuous,
            ..
        } = config.capture;
        let port = |device: &String| PortSettings {
            queues,
            descriptors,
            promiscuous,
            ..PortSettings::new(device)
        };
        let capture = &config.capture;
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds)).filter(|_| seconds > 0);
        dpdk::Settings {
            eal_args: capture.eal.clone(),
            ports: capture.ports.iter().map(port).collect(),
            link_wait: Duration::from_secs(capture.link_wait_seconds),
            idle_exit: seconds(capture.idle_exit_seconds),
            packets_max: Some(capture.packets_max).filter(|max| *max > 0),
            ..dpdk::Settings::default()
        }
    }
}
