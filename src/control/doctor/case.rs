//! What is examined: a machine, a configuration, its ports, and the plan of threads that follows.

use super::adapters::Model;
use super::pci::Device;
use super::system::{Abilities, Survey, System};
use crate::capture::room::{QUEUES_MAX, is_pci_address};
use crate::config::Config;
use crate::control::cores::{self, Machine, Plan, Wishes};
use crate::rules::RuleSet;

/// What a port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A device with a PCI address; none when there is no such device.
    Pci(Option<Device>),
    /// A virtual device on an interface of the kernel, named here.
    Interface(String),
    /// A virtual device that plays these files.
    Files(Vec<String>),
    /// Another virtual device, or the name of one that `capture.eal` makes.
    Other,
    /// Nothing that DPDK would find: an interface of the kernel, most often.
    Unknown,
}

/// A port of the configuration, or an adapter that could be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// As configured, with its arguments.
    pub device: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The configuration names it.
    pub configured: bool,
}

impl Port {
    fn configured(system: &System, device: &str, eal: &[String]) -> Self {
        let mut parts = device.split(',');
        let name = parts.next().unwrap_or(device).to_owned();
        let arguments: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let values = |wanted: &str| {
            let found = arguments.iter().filter(|(key, _)| *key == wanted);
            found.map(|(_, value)| (*value).to_owned()).collect()
        };
        let files: Vec<String> = values("rx_pcap");
        let interfaces: Vec<String> = values("iface");
        let kind = if is_pci_address(&name) {
            Kind::Pci(Device::read(system, &name))
        } else if name.starts_with("net_pcap") && !files.is_empty() {
            Kind::Files(files)
        } else if let (true, Some(interface)) = (reads_interface(&name), interfaces.first()) {
            Kind::Interface(interface.clone())
        } else if is_virtual(&name, eal) {
            Kind::Other
        } else {
            Kind::Unknown
        };
        Self {
            device: device.to_owned(),
            name,
            kind,
            configured: true,
        }
    }

    fn possible(device: Device) -> Self {
        Self {
            device: device.address.clone(),
            name: device.address.clone(),
            kind: Kind::Pci(Some(device)),
            configured: false,
        }
    }

    /// Its PCI device, if it is one that there is.
    pub fn pci(&self) -> Option<&Device> {
        match &self.kind {
            Kind::Pci(device) => device.as_ref(),
            _ => None,
        }
    }

    /// What is known of its kind of adapter.
    pub fn model(&self) -> Option<&'static Model> {
        self.pci()
            .and_then(|device| Model::of(device.vendor, device.device))
    }

    /// Receive queues that its arguments give it; none where they do not say.
    fn queues_given(&self) -> Option<u16> {
        match &self.kind {
            Kind::Files(files) => u16::try_from(files.len()).ok(),
            Kind::Interface(_) if self.name.starts_with("net_af_packet") => {
                let mut arguments = self.device.split(',');
                let pairs = arguments.find_map(|part| part.strip_prefix("qpairs="));
                Some(pairs.and_then(|pairs| pairs.parse().ok()).unwrap_or(1))
            }
            _ => None,
        }
    }
}

/// Is it the name of a virtual device, or of one that the arguments for EAL make, or an index?
fn is_virtual(name: &str, eal: &[String]) -> bool {
    let named = |argument: &String| argument.split(['=', ',']).any(|part| part == name);
    let driver = name.starts_with("net_") || name.starts_with("eth_");
    driver || name.parse::<u16>().is_ok() || eal.iter().any(named)
}

/// Do devices of this name receive from an interface of the kernel, which has to be there?
fn reads_interface(name: &str) -> bool {
    ["net_af_packet", "net_af_xdp", "net_pcap"]
        .iter()
        .any(|driver| name.starts_with(driver))
}

/// See the module.
#[derive(Debug)]
pub struct Case<'a> {
    /// The machine.
    pub system: &'a System,
    /// The configuration.
    pub config: &'a Config,
    /// Its rules; none where they are not known.
    pub rules: Option<&'a RuleSet>,
    /// Ports of the configuration; with none, all Ethernet adapters.
    pub ports: Vec<Port>,
    /// CPUs of the machine.
    pub cores: Machine,
    /// CPUs of threads, or why there is no plan.
    pub plan: Result<Plan, String>,
}

impl<'a> Case<'a> {
    /// Look at the ports of the configuration, and plan for them.
    pub fn new(system: &'a System, config: &'a Config, rules: Option<&'a RuleSet>) -> Self {
        let named = config.capture.ports.iter();
        let mut ports: Vec<Port> = named
            .map(|port| Port::configured(system, port, &config.capture.eal))
            .collect();
        if ports.is_empty() {
            let devices = Device::ethernet(system).into_iter();
            ports.extend(devices.map(Port::possible));
        }
        let mut case = Self {
            system,
            config,
            rules,
            ports,
            cores: system.cores(),
            plan: Err(String::new()),
        };
        case.plan = case.make_plan();
        case
    }

    fn make_plan(&self) -> Result<Plan, String> {
        let port = |port: &Port| cores::Port {
            name: port.name.clone(),
            node: self.node(port),
            queues: self.queues_most(port),
            fixed: self.config.capture.queues != 0 || port.queues_given().is_some(),
        };
        let one = self.rules.is_some_and(RuleSet::needs_one_worker);
        let configured = self.ports.iter().filter(|port| port.configured);
        let wishes = Wishes {
            workers: if one { 1 } else { self.config.workers.count },
            security: self.config.security.workers,
            cpus: self.config.workers.cpus.clone(),
            ports: match self.config.capture.ports.is_empty() {
                // A port that is still to be named has as many queues as there are workers.
                true => vec![cores::Port {
                    queues: u16::try_from(QUEUES_MAX).unwrap_or(u16::MAX),
                    ..cores::Port::default()
                }],
                false => configured.map(port).collect(),
            },
        };
        Plan::new(&wishes, &self.cores).map_err(|error| error.to_string())
    }

    /// What its driver said of a port.
    pub fn abilities(&self, port: &Port) -> Option<&Abilities> {
        match &self.system.survey {
            Survey::Ports(ports) => ports.get(&port.name)?.as_ref().ok(),
            Survey::None | Survey::Failed(_) => None,
        }
    }

    /// NUMA node of a port.
    pub fn node(&self, port: &Port) -> Option<u16> {
        let asked = self.abilities(port).and_then(|abilities| abilities.node);
        asked.or_else(|| port.pci().and_then(|device| device.node))
    }

    /// Receive queues that a port can have, as far as known: from its driver, from its arguments,
    /// or by its kind.
    pub fn queues_limit(&self, port: &Port) -> Option<u16> {
        let asked = self.abilities(port).map(|abilities| abilities.queues);
        let model = port.model().map(|model| model.queues);
        // The number that a driver tells is not always one over which it spreads flows.
        let known = [asked, model]
            .into_iter()
            .flatten()
            .filter(|n| *n > 0)
            .min();
        known.or_else(|| port.queues_given())
    }

    /// Most receive queues that it may get with this configuration.
    fn queues_most(&self, port: &Port) -> u16 {
        match self.config.capture.queues {
            0 => self
                .queues_limit(port)
                .unwrap_or_else(|| u16::try_from(QUEUES_MAX).unwrap_or(u16::MAX)),
            queues => queues,
        }
    }

    /// Receive queues that it gets.
    pub fn queues(&self, port: &Port) -> u16 {
        let configured = self.config.capture.queues;
        if configured != 0 {
            return configured;
        }
        if let Some(queues) = port.queues_given() {
            return queues;
        }
        let workers = self.plan.as_ref().map_or(1, |plan| plan.workers.len());
        let workers = u16::try_from(workers).unwrap_or(u16::MAX).max(1);
        workers.min(self.queues_most(port))
    }

    /// CPUs of workers and security workers that are pinned.
    pub fn cpus(&self) -> Vec<usize> {
        let Ok(plan) = &self.plan else {
            return Vec::new();
        };
        let places = plan.workers.iter().chain(&plan.security);
        let mut cpus: Vec<usize> = places.copied().flatten().collect();
        cpus.sort_unstable();
        cpus
    }

    /// The command that runs with one key set differently.
    pub fn set(&self, setting: &str) -> String {
        format!("{} -X {setting}", self.command("run"))
    }

    /// A command of the program, with the configuration that was looked at.
    pub fn command(&self, name: &str) -> String {
        let file = self.config.file.as_ref();
        let file = file.map_or_else(String::new, |file| format!(" -c {}", file.display()));
        format!("wirelynx {name}{file}")
    }
}
