//! Live capture through DPDK.
//!
//! ```text
//! probe(settings) -> Probed -> start(workers) -> Started -> captures(workers)
//!     -> one DpdkCapture per worker, and a Monitor
//! ```
//!
//! Between probing and starting it is known what the ports are, but not yet how many queues they
//! get: then the number of workers and their CPUs are decided.
//!
//! Each [`DpdkCapture`] owns its receive queues; nothing mutable is shared between workers. Event
//! time is what the driver gives (a port that plays a file gives the file's times), or else one
//! reading of the time stamp counter per burst, from which its frames are a microsecond apart.

mod clock;
mod line;
mod monitor;
mod settings;

pub use clock::Clock;
pub use dpdk_sys::ThreadRegistration;
pub use line::QueueCounts;
pub use monitor::{Monitor, NicCounters, PortCounters, QueueCounters};
pub use settings::{PortSettings, Settings};

use super::rss::{Fields, Hasher, Spread};
use super::{Burst, Capture, Counters, Error, Progress, room, toeplitz};
use crate::limits::{BURST_MAX, FRAME_LENGTH_MAX};
use crate::packet::{DropReason, Timestamp};
use dpdk_sys::{Device, Eal, HashKey, Hashed, Link, Port, Rss, RxConfig, RxQueue};
use line::{Line, Source};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Both directions of a flow on one queue.
const KEY: HashKey = HashKey {
    make: toeplitz::symmetric_key,
    is_symmetric: toeplitz::is_symmetric,
};

const _: () = assert!(dpdk_sys::BURST == BURST_MAX);

/// Ports that receive, before their queues are given to workers.
#[derive(Debug)]
pub struct Started {
    eal: Eal,
    ports: Vec<Arc<Port>>,
    queues: Vec<(RxQueue, u16)>,
    links: Vec<Link>,
    settings: Settings,
}

/// Devices that are there, and not started yet.
#[derive(Debug)]
pub struct Probed {
    eal: Eal,
    devices: Vec<Device>,
    settings: Settings,
}

/// What a port offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Name of the device.
    pub name: String,
    /// NUMA node; none when it has none or the machine does not say.
    pub node: Option<u16>,
    /// Receive queues that it has, or may have.
    pub queues: u16,
    /// It has so many whatever the number of workers; else at most one for each worker.
    pub fixed: bool,
}

/// [`probe`], and start every port for one worker.
///
/// # Errors
/// Those of both.
pub fn start(settings: &Settings) -> Result<Started, Error> {
    probe(settings)?.start(1)
}

/// Start EAL and find every device of the settings. Possible once per process.
///
/// # Errors
/// EAL refuses to start, or a device is not there.
pub fn probe(settings: &Settings) -> Result<Probed, Error> {
    let eal = start_eal(settings)?;
    let open = |port: &PortSettings| {
        Device::open(&eal, port.name()).map_err(|error| explain(&port.device, &error))
    };
    let devices = settings.ports.iter().map(open).collect::<Result<_, _>>()?;
    Ok(Probed {
        eal,
        devices,
        settings: settings.clone(),
    })
}

/// Start EAL, ask every device of the settings what it can do, and end EAL again. Possible once per
/// process.
///
/// # Errors
/// EAL refuses to start. What fails of one device is in its own result.
pub fn survey(settings: &Settings) -> Result<Vec<Result<dpdk_sys::DeviceInfo, Error>>, Error> {
    let eal = start_eal(settings)?;
    let ask = |port: &PortSettings| {
        let device = Device::open(&eal, port.name());
        let device = device.map_err(|error| explain(&port.device, &error))?;
        Ok(device.info().clone())
    };
    Ok(settings.ports.iter().map(ask).collect())
}

fn start_eal(settings: &Settings) -> Result<Eal, Error> {
    if settings.ports.is_empty() {
        return Err(Error::Environment {
            reason: "no port is configured".to_owned(),
        });
    }
    let machine = settings::Machine::here();
    let arguments = settings::eal_arguments(settings, machine)?;
    info!(arguments = arguments.join(" "), "starting EAL");
    if arguments.iter().any(|argument| argument == "--no-huge") {
        info!(
            free = machine.huge_bytes >> 20,
            needed = settings::memory_needed(settings) >> 20,
            "receiving without huge pages (MiB), which is slower"
        );
    }
    Eal::init(&arguments).map_err(|error| Error::Environment {
        reason: format!(
            "{error}; its messages are above. Arguments: {}",
            arguments.join(" ")
        ),
    })
}

impl Probed {
    /// What the driver of each port says, in the order of the settings.
    pub fn devices(&self) -> impl Iterator<Item = &dpdk_sys::DeviceInfo> {
        self.devices.iter().map(Device::info)
    }

    /// What each port offers, in the order of the settings.
    pub fn offers(&self) -> Vec<Offer> {
        let offer = |(device, settings): (&Device, &PortSettings)| {
            let info = device.info();
            Offer {
                name: info.name.clone(),
                node: info.node,
                queues: settings.queues_for(usize::MAX, info),
                fixed: settings.is_fixed(info),
            }
        };
        self.devices
            .iter()
            .zip(&self.settings.ports)
            .map(offer)
            .collect()
    }

    /// Start every port, with as many queues as there are workers where the settings leave their
    /// number open and the port has so many.
    ///
    /// # Errors
    /// A device cannot be configured as wanted.
    pub fn start(self, workers: usize) -> Result<Started, Error> {
        let queues = self.queues(workers);
        let mut started = Started {
            eal: self.eal,
            ports: Vec::new(),
            queues: Vec::new(),
            links: Vec::new(),
            settings: self.settings.clone(),
        };
        let all = self.devices.into_iter().zip(&self.settings.ports);
        for ((device, settings), queues) in all.zip(queues) {
            if usize::from(queues) < workers {
                info!(
                    port = device.info().name,
                    queues,
                    workers,
                    "it has fewer queues than there are workers: some receive nothing from it"
                );
            }
            started.add(device, settings, queues)?;
        }
        started.warn_of_unequal_pairs();
        started.wait_for_links();
        Ok(started)
    }

    /// Queues of each port. The ports of a tap pair get equally many, so that equal hashes lead to
    /// equal numbers.
    fn queues(&self, workers: usize) -> Vec<u16> {
        let all = || self.devices.iter().zip(&self.settings.ports);
        let mut queues: Vec<u16> = all()
            .map(|(device, settings)| settings.queues_for(workers, device.info()))
            .collect();
        let open: Vec<bool> = all()
            .map(|(device, settings)| !settings.is_fixed(device.info()))
            .collect();
        for [a, b] in &self.settings.tap_pairs {
            let both = [a, b].map(|&at| open.get(at) == Some(&true));
            if both == [true, true] {
                let fewest = queues.get(*a).min(queues.get(*b)).copied();
                for at in [*a, *b] {
                    if let (Some(count), Some(fewest)) = (queues.get_mut(at), fewest) {
                        *count = fewest;
                    }
                }
            }
        }
        queues
    }
}

impl Started {
    fn add(&mut self, device: Device, settings: &PortSettings, queues: u16) -> Result<(), Error> {
        // Every queue takes room for a burst of them, so the settings may not ask for any length.
        let frame_bytes_max = self.settings.frame_bytes_max.min(FRAME_LENGTH_MAX);
        let config = RxConfig {
            queues,
            descriptors: settings.descriptors,
            buffers: settings.buffers,
            buffer_bytes: settings.buffer_bytes,
            mtu: settings.mtu,
            frame_bytes_max: u32::try_from(frame_bytes_max).unwrap_or(u32::MAX),
            promiscuous: settings.promiscuous,
        };
        let (port, queues) = device
            .start(&config, &KEY)
            .map_err(|error| explain(&settings.device, &error))?;
        info!(
            port = port.name(),
            node = port.node(),
            driver = port.info().driver,
            queues = port.queues(),
            descriptors = port.descriptors(),
            promiscuous = port.promiscuous(),
            spread = spread_by(&port),
            "port started"
        );
        if *port.rss() == Rss::Driver {
            warn!(
                port = port.name(),
                "its driver has no receive hash: unless it keeps both directions of a flow on one \
                 queue by other means, configure one queue"
            );
        }
        if !port.buffers_near() {
            warn!(
                port = port.name(),
                node = port.node(),
                "no huge pages were left on its NUMA node: its buffers are on another one, which \
                 is slower; hugepages/reserve reserves them by node"
            );
        }
        let index = u16::try_from(self.ports.len()).unwrap_or(u16::MAX);
        let sources = queues.into_iter().map(|queue| (queue, index));
        self.queues.extend(sources);
        self.ports.push(port);
        Ok(())
    }

    fn warn_of_unequal_pairs(&self) {
        for pair in &self.settings.tap_pairs {
            let [Some(a), Some(b)] = pair.map(|at| self.ports.get(at)) else {
                continue;
            };
            if a.queues() != b.queues() || a.info().driver != b.info().driver {
                warn!(
                    ports = format!("{} and {}", a.name(), b.name()),
                    queues = format!("{} and {}", a.queues(), b.queues()),
                    "the ports of a tap pair are of different kinds or have different numbers of \
                     queues: the directions of a flow may reach different workers; set \
                     capture.queues to what both have"
                );
            }
        }
    }

    fn wait_for_links(&mut self) {
        let start = Instant::now();
        for port in &self.ports {
            let left = self.settings.link_wait.saturating_sub(start.elapsed());
            let link = port.wait_for_link(left);
            let port = port.name();
            match (link.up, link.mbps) {
                (false, _) => warn!(port, "its link is down: check the cable and the peer"),
                (true, u32::MAX) => info!(port, "its link is up, speed unknown"),
                (true, mbps) => info!(port, "its link is up, {mbps} Mbit/s"),
            }
            self.links.push(link);
        }
    }

    /// State of each port's link after the wait, in the order of the settings.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The ports, in the order of the settings.
    pub fn ports(&self) -> &[Arc<Port>] {
        &self.ports
    }

    /// Give the queues to at most `workers` captures, of which there are never more than queues.
    ///
    /// Queues with the same number go to the same worker on every port, so that a flow whose
    /// directions arrive on two ports stays on one worker.
    pub fn captures(self, workers: usize) -> (Vec<DpdkCapture>, Monitor) {
        let widest = self.ports.iter().map(|port| port.queues()).max();
        let workers = workers.clamp(1, usize::from(widest.unwrap_or(1)).max(1));
        let spread = |port: &Arc<Port>| Arc::new(spread(port, workers));
        let spreads: Arc<[Arc<Spread>]> = self.ports.iter().map(spread).collect();
        let mut shares: Vec<Vec<Source>> = (0..workers).map(|_| Vec::new()).collect();
        for (queue, port) in self.queues {
            let worker = usize::from(queue.number()) % workers;
            let spread = spreads.get(usize::from(port));
            if let (Some(share), Some(spread)) = (shares.get_mut(worker), spread) {
                share.push(Source::new(queue, port, spread));
            }
        }
        let step = u64::try_from(workers).unwrap_or(1);
        let capture = |(number, share)| {
            let numbers = Numbers { next: number, step };
            DpdkCapture::new(self.eal.clone(), share, numbers, &spreads, &self.settings)
        };
        let captures: Vec<DpdkCapture> = (1..).zip(shares).map(capture).collect();
        let errors = captures.iter().map(|capture| capture.clock.error());
        let monitor = Monitor::new(self.ports, &spreads, errors.collect());
        (captures, monitor)
    }
}

/// The same in words.
fn spread_by(port: &Port) -> &'static str {
    match port.rss() {
        Rss::Single => "one queue",
        Rss::Symmetric { .. } => "symmetric hash",
        Rss::Driver => "its driver's choice",
    }
}

/// How a started port spreads frames over so many workers.
fn spread(port: &Port, workers: usize) -> Spread {
    let fields = |hashed: Hashed| Fields {
        tcp: hashed.tcp,
        udp: hashed.udp,
        addresses: hashed.addresses,
    };
    let hasher = match port.rss() {
        Rss::Symmetric {
            hashed: [ipv4, ipv6],
            key,
        } => Some(Hasher::new(key, fields(*ipv4), fields(*ipv6))),
        Rss::Single | Rss::Driver => None,
    };
    Spread::new(
        port.name(),
        port.queues(),
        hasher,
        port.redirection(),
        workers,
    )
}

/// Numbers for the frames of one worker: no two workers give the same, and those of one worker
/// ascend. So a flow, which has the number of its first packet, is one of a kind among those of all
/// workers.
#[derive(Debug)]
struct Numbers {
    next: u64,
    step: u64,
}

/// Frames of some receive queues, served in turn, for one worker.
#[derive(Debug)]
pub struct DpdkCapture {
    lines: Vec<Line>,
    /// By index of the port.
    spreads: Arc<[Arc<Spread>]>,
    /// The line to ask next.
    next: usize,
    clock: Clock,
    counters: Counters,
    numbers: Numbers,
    /// Time stamp counter at the last receive.
    now: u64,
    /// The same when the last frames came, or at start.
    active: u64,
    idle_ticks: Option<u64>,
    packets_max: u64,
    ended: bool,
    eal: Eal,
}

impl DpdkCapture {
    fn new(
        eal: Eal,
        sources: Vec<Source>,
        numbers: Numbers,
        spreads: &Arc<[Arc<Spread>]>,
        settings: &Settings,
    ) -> Self {
        let clock = Clock::calibrate();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            lines: Line::from_sources(sources, &settings.tap_pairs),
            spreads: Arc::clone(spreads),
            next: 0,
            counters: Counters::default(),
            numbers,
            now: dpdk_sys::tsc(),
            active: dpdk_sys::tsc(),
            idle_ticks: settings.idle_exit.map(|time| clock.ticks_in(nanos(time))),
            packets_max: settings.packets_max.unwrap_or(u64::MAX),
            ended: false,
            clock,
            eal,
        }
    }

    /// Make the calling thread known to EAL, which gives it a cache of buffers. The worker calls
    /// this once, before its first receive, and keeps the result until it stops.
    ///
    /// # Errors
    /// EAL has no room for another thread.
    pub fn register_thread(&self) -> Result<ThreadRegistration, Error> {
        dpdk_sys::register_thread(&self.eal).map_err(|error| Error::Environment {
            reason: error.to_string(),
        })
    }

    /// The time now in the time of this source's frames, with which an idle worker advances its
    /// watermark; none when a driver stamps frames itself, for those may be from another year.
    pub fn time(&mut self) -> Option<Timestamp> {
        let stamped = |source: &Source| source.queue().port().stamps();
        if self.sources().any(stamped) {
            return None;
        }
        Some(self.clock.stamp(dpdk_sys::tsc()))
    }

    /// The worker that gets packets with this hash from the port with this index; none where the
    /// port does not tell, as devices without a redirection table do not.
    pub fn home(&self, port: u16, hash: u32) -> Option<usize> {
        self.spreads.get(usize::from(port))?.home(hash)
    }

    /// How each port spreads frames, in the order of the settings: for packets that belong to the
    /// worker of another flow than the port saw, such as the one inside a tunnel.
    pub fn spreads(&self) -> &[Arc<Spread>] {
        &self.spreads
    }

    /// What each of its queues gave.
    pub fn queues(&self) -> impl Iterator<Item = QueueCounts> {
        self.sources().map(Source::counts)
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.lines.iter().flat_map(Line::sources)
    }

    /// Ask the queues in turn until one has frames.
    fn poll(&mut self) -> Option<usize> {
        for _ in 0..self.lines.len() {
            let at = self.next;
            self.next = if at + 1 < self.lines.len() { at + 1 } else { 0 };
            if self.lines.get_mut(at)?.poll(&mut self.clock) {
                return Some(at);
            }
        }
        None
    }

    /// Say what is right or wrong with the hashes of ports, once.
    fn tell_of_hashes(&self) {
        for warning in self.spreads.iter().filter_map(|spread| spread.warning()) {
            warn!("{warning}");
        }
        for text in self.spreads.iter().filter_map(|it| it.confirmation()) {
            info!("{text}");
        }
    }

    /// Once a second: set the clock, and see whether the devices are still there.
    fn keep_house(&mut self) -> Result<(), Error> {
        self.clock.discipline();
        self.tell_of_hashes();
        for source in self.sources() {
            let port = source.queue().port();
            if !port.is_alive() {
                return Err(Error::Port {
                    port: port.name().to_owned(),
                    reason: "the device is gone. Plug it in or create it again, bind it to its \
                             driver, and start anew"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Nothing came; is that the end?
    fn rest(&mut self, now: u64) -> Progress {
        let quiet = now.saturating_sub(self.active);
        if self.idle_ticks.is_some_and(|limit| quiet >= limit) {
            return self.end();
        }
        Progress::Idle
    }

    fn end(&mut self) -> Progress {
        if !self.ended {
            self.tell_of_hashes();
        }
        self.ended = true;
        self.lines.iter_mut().for_each(Line::release);
        Progress::End
    }
}

impl Capture for DpdkCapture {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<Progress, Error> {
        if self.ended || self.counters.received >= self.packets_max {
            return Ok(self.end());
        }
        // Before the poll, so that a failure leaves no burst unaccounted.
        if self.clock.is_due(self.now) {
            self.keep_house()?;
        }
        let found = self.poll();
        let now = found
            .and_then(|at| self.lines.get(at))
            .map_or_else(dpdk_sys::tsc, Line::tsc);
        self.now = now;
        if found.is_none() {
            return Ok(self.rest(now));
        }
        self.active = now;

        let (counters, numbers) = (&mut self.counters, &mut self.numbers);
        let lines = &mut self.lines;
        let Some(line) = found.and_then(|at| lines.get_mut(at)) else {
            return Ok(Progress::Idle);
        };
        line.give(|mut frame| {
            let length = u64::from(frame.wire_length);
            frame.number = numbers.next;
            if frame.data.is_empty() {
                counters.dropped[DropReason::Empty as usize] += 1;
            } else if burst.try_push(frame).is_ok() {
                // An empty burst has room for what a line gives: checked above at compile time.
                numbers.next += numbers.step;
                counters.received += 1;
                counters.bytes += length;
            }
        });
        Ok(if burst.is_empty() {
            Progress::Idle
        } else {
            Progress::Frames
        })
    }

    fn counters(&self) -> Counters {
        let mut counters = self.counters;
        let oversize = self.sources().map(|source| source.queue().oversize());
        counters.dropped[DropReason::Oversize as usize] = oversize.sum();
        counters.position = (counters.bytes, None);
        for source in self.sources() {
            counters.waits.merge(source.waits());
        }
        counters
    }
}

/// What failed at the start of a port, and what to do about it.
fn explain(device: &str, error: &dpdk_sys::Error) -> Error {
    let advice = match error {
        dpdk_sys::Error::NoDevice { .. } if room::is_pci_address(device) => {
            "wirelynx doctor names the command that binds it; see also dpdk-devbind.py --status"
        }
        dpdk_sys::Error::NoDevice { .. } => {
            "Check the name of the driver, its arguments, and that what they name exists; EAL's \
             messages are above"
        }
        dpdk_sys::Error::Busy { .. } => "Name each device once",
        dpdk_sys::Error::Unsupported { .. } => "Change the settings of the port",
        dpdk_sys::Error::Buffers { .. } => {
            "Reserve more huge pages (hugepages/reserve), or configure fewer queues or descriptors"
        }
        _ => "EAL's messages are above",
    };
    Error::Port {
        port: device.to_owned(),
        reason: format!("{error}. {advice}"),
    }
}
