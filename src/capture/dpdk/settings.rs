//! What live capture is told, and the EAL arguments that follow from it.

use super::Error;
use crate::capture::room::{
    self, BUFFER_BYTES, EAL_BYTES, FIXED_QUEUES, QUEUES_MAX, is_pci_address,
};
use crate::config::Config;
use crate::limits::LIVE_FRAME_LENGTH_MAX;
use dpdk_sys::DeviceInfo;
use nix::unistd::AccessFlags;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Descriptors of a receive queue: at 14.88 million frames a second a worker may be away 137 us.
const DESCRIPTORS: u16 = 2_048;

/// Largest MTU asked for: the jumbo frames of common switches.
const MTU: u16 = 9_000;

/// Memory asked for without huge pages, where nothing can be added later. 512 MiB did not hold the
/// buffers of one port with default settings beside EAL's own needs.
const MEMORY_MIB_MIN: u64 = 1_024;

/// EAL options that say where memory comes from; with one of them the choice is the user's.
const MEMORY_OPTIONS: [&str; 8] = [
    "-m",
    "--in-memory",
    "--no-huge",
    "--socket-mem",
    "--huge-dir",
    "--legacy-mem",
    "--single-file-segments",
    "--file-prefix",
];

/// EAL options for dpdk-telemetry.py.
const TELEMETRY_OPTIONS: [&str; 2] = ["--telemetry", "--no-telemetry"];

/// EAL options that choose cores.
const CORE_OPTIONS: [&str; 5] = ["-l", "-c", "--lcores", "-s", "-S"];

/// EAL options that choose devices.
const DEVICE_OPTIONS: [&str; 5] = ["-a", "--allow", "-b", "--block", "--no-pci"];

/// How to receive live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Arguments for EAL, in addition to those that follow from the ports and the machine.
    pub eal_args: Vec<String>,
    /// Ports to receive from.
    pub ports: Vec<PortSettings>,
    /// How long to wait for links at start; a port whose link stays down is started all the same.
    pub link_wait: Duration,
    /// End after so long without a frame; for tests and for ports that play a file.
    pub idle_exit: Option<Duration>,
    /// End with the burst in which a worker has received so many frames.
    pub packets_max: Option<u64>,
    /// Longest frame accepted; longer ones are counted as oversize.
    pub frame_bytes_max: usize,
    /// Indexes of two ports each that carry one direction of the same link.
    pub tap_pairs: Vec<[usize; 2]>,
    /// Workers asked for, 0 for any number: memory without huge pages is taken for as many queues.
    pub workers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            eal_args: Vec::new(),
            ports: Vec::new(),
            // Some ports take 9 s to agree on a speed.
            link_wait: Duration::from_secs(10),
            idle_exit: None,
            packets_max: None,
            frame_bytes_max: LIVE_FRAME_LENGTH_MAX,
            tap_pairs: Vec::new(),
            workers: 0,
        }
    }
}

impl Settings {
    /// Those of a configuration.
    pub fn new(config: &Config) -> Self {
        let capture = &config.capture;
        let port = |device: &String| PortSettings {
            queues: capture.queues,
            descriptors: capture.descriptors,
            promiscuous: capture.promiscuous,
            ..PortSettings::new(device)
        };
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds)).filter(|_| seconds > 0);
        Self {
            eal_args: capture.eal.clone(),
            ports: capture.ports.iter().map(port).collect(),
            link_wait: Duration::from_secs(capture.link_wait_seconds),
            idle_exit: seconds(capture.idle_exit_seconds),
            packets_max: Some(capture.packets_max).filter(|max| *max > 0),
            // Checked when the configuration was read.
            tap_pairs: capture.pairs().unwrap_or_default(),
            workers: config.workers.count,
            ..Self::default()
        }
    }
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSettings {
    /// A PCI address, the specification of a virtual device (`net_pcap0,rx_pcap=FILE`), the name of
    /// a device that `eal_args` creates, or its index.
    pub device: String,
    /// Receive queues; 0 for as many as there are workers, at most what the port offers.
    pub queues: u16,
    /// Descriptors of each queue.
    pub descriptors: u16,
    /// Receive frames for every address.
    pub promiscuous: bool,
    /// Largest MTU to accept, as far as the port can.
    pub mtu: u16,
    /// Fewest receive buffers; 0 takes what the queues need.
    pub buffers: u32,
    /// Frame bytes in one buffer.
    pub buffer_bytes: u16,
}

impl PortSettings {
    /// One queue of `device`, everything else as usual.
    pub fn new(device: impl Into<String>) -> Self {
        Self {
            device: device.into(),
            queues: 1,
            descriptors: DESCRIPTORS,
            promiscuous: true,
            mtu: MTU,
            buffers: 0,
            buffer_bytes: BUFFER_BYTES,
        }
    }

    /// The name that the device has in EAL: that of a virtual device ends at the first comma.
    pub fn name(&self) -> &str {
        self.device.split(',').next().unwrap_or(&self.device)
    }

    /// Receive queues that the device gets when there are so many workers. A number that was asked
    /// for is not lowered: the device refuses it.
    pub(super) fn queues_for(&self, workers: usize, device: &DeviceInfo) -> u16 {
        match self.queues {
            0 if FIXED_QUEUES.contains(&device.driver.as_str()) => device.queues_max.max(1),
            0 => u16::try_from(workers)
                .unwrap_or(u16::MAX)
                .min(device.queues_max)
                .max(1),
            queues => queues,
        }
    }

    /// Does the number of its queues not depend on that of workers?
    pub(super) fn is_fixed(&self, device: &DeviceInfo) -> bool {
        self.queues != 0 || FIXED_QUEUES.contains(&device.driver.as_str())
    }

    /// Memory for the buffers of its queues, `queues` where their number is open.
    fn pool_bytes(&self, queues: u16) -> u64 {
        let queues = match self.queues {
            0 => queues,
            queues => queues,
        };
        room::pool_bytes(queues, self.descriptors, self.buffers, self.buffer_bytes)
    }
}

/// What EAL arguments depend on beside the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    /// A CPU that this process may use.
    pub(super) cpu: usize,
    /// How many of them there are.
    pub(super) cpus: usize,
    /// Free memory in huge pages.
    pub(super) huge_bytes: u64,
    /// There is a folder for the socket of telemetry.
    pub(super) telemetry: bool,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        let allowed = dpdk_sys::allowed_cpus();
        Self {
            cpu: allowed.first().copied().unwrap_or(0),
            cpus: allowed.len(),
            huge_bytes: huge_bytes(Path::new("/sys/kernel/mm/hugepages")),
            telemetry: is_writable(&runtime_folder()),
        }
    }
}

/// Where EAL puts the socket of telemetry, below `dpdk/rte`: lib/eal/linux/eal.c of DPDK, "the
/// runtime directory".
fn runtime_folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    match nix::unistd::getuid().is_root() {
        true => PathBuf::from("/var/run"),
        false => set("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from),
    }
}

/// May this process make `dpdk/rte` in `folder`, or write to what is there?
fn is_writable(folder: &Path) -> bool {
    let own = folder.join("dpdk/rte");
    let deepest = own.ancestors().take(3).find(|path| path.exists());
    deepest.is_some_and(|path| {
        path.is_dir() && nix::unistd::access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
    })
}

/// Free huge pages of every size under `folder`, in bytes. EAL takes whichever size there is.
fn huge_bytes(folder: &Path) -> u64 {
    let Ok(sizes) = std::fs::read_dir(folder) else {
        return 0;
    };
    sizes
        .flatten()
        .filter_map(|size| {
            let name = size.file_name().into_string().ok()?;
            let kilobytes: u64 = name
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            let free = std::fs::read_to_string(size.path().join("free_hugepages")).ok()?;
            let free: u64 = free.trim().parse().ok()?;
            Some(free.saturating_mul(kilobytes).saturating_mul(1_024))
        })
        .fold(0, u64::saturating_add)
}

/// The arguments for EAL: what the user gave, and whatever that leaves open.
pub(super) fn eal_arguments(settings: &Settings, machine: Machine) -> Result<Vec<String>, Error> {
    let given = |options: &[&str]| {
        settings.eal_args.iter().any(|argument| {
            options.iter().any(|option| {
                argument.strip_prefix(option).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('=') || !option.starts_with("--")
                })
            })
        })
    };
    let mut arguments = Vec::new();
    let mut push = |argument: &str| arguments.push(argument.to_owned());
    if !given(&CORE_OPTIONS) {
        push("-l");
        push(&machine.cpu.to_string());
    }
    if !given(&["--log-level"]) {
        push("--log-level=warning");
        // It warns at every start that nobody uses its old socket.
        push("--log-level=lib.telemetry:error");
    }
    if !given(&MEMORY_OPTIONS) {
        if machine.huge_bytes >= memory_needed(settings) {
            push("--in-memory");
        } else {
            let needed = memory_at_most(settings, machine);
            // The shared configuration would leave files behind under a name that two processes
            // fight for.
            let mebibytes = (needed >> 20).max(MEMORY_MIB_MIN);
            push("--no-huge");
            push("-m");
            push(&mebibytes.to_string());
            push("--no-shconf");
        }
    }
    // Its socket is removed at the end, and a second process gets another one. Without a folder
    // for it, EAL would not start.
    if !machine.telemetry && !given(&TELEMETRY_OPTIONS) {
        push("--no-telemetry");
    }
    let mut pci = given(&DEVICE_OPTIONS);
    for port in &settings.ports {
        let name = port.name();
        let named = |argument: &String| argument.split(['=', ',']).any(|part| part == name);
        if name.parse::<u16>().is_ok() || settings.eal_args.iter().any(named) {
            continue;
        }
        if is_pci_address(name) {
            pci = true;
            push("-a");
            push(&port.device);
        } else if name.starts_with("net_") || name.starts_with("eth_") {
            push(&format!("--vdev={}", port.device));
        } else {
            return Err(unknown_device(&port.device));
        }
    }
    if !pci {
        push("--no-pci");
    }
    arguments.extend(settings.eal_args.iter().cloned());
    Ok(arguments)
}

/// Memory that the buffers of all ports and EAL take at least: huge pages are found when they are
/// needed, so that an open number of queues is no reason to do without them.
pub(super) fn memory_needed(settings: &Settings) -> u64 {
    memory(settings, 1)
}

/// The same with as many queues as there may be workers: without huge pages none can be added.
fn memory_at_most(settings: &Settings, machine: Machine) -> u64 {
    let workers = settings.workers.max(machine.cpus).clamp(1, QUEUES_MAX);
    memory(settings, u16::try_from(workers).unwrap_or(u16::MAX))
}

fn memory(settings: &Settings, queues: u16) -> u64 {
    let pools = settings.ports.iter().map(|port| port.pool_bytes(queues));
    pools.fold(EAL_BYTES, u64::saturating_add)
}

fn unknown_device(device: &str) -> Error {
    Error::Port {
        port: device.to_owned(),
        reason: format!(
            "neither a PCI address nor a virtual device. To receive from an interface of the \
             kernel, give net_af_packet0,iface={device}; to give the whole port to DPDK, bind it \
             with dpdk-devbind.py -b vfio-pci and give its PCI address (dpdk-devbind.py --status)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Machine = Machine {
        cpu: 3,
        cpus: 2,
        huge_bytes: 0,
        telemetry: true,
    };

    fn settings(devices: &[&str], eal_args: &[&str]) -> Settings {
        Settings {
            eal_args: eal_args.iter().map(ToString::to_string).collect(),
            ports: devices.iter().copied().map(PortSettings::new).collect(),
            ..Settings::default()
        }
    }

    fn line(settings: &Settings, machine: Machine) -> String {
        eal_arguments(settings, machine).unwrap().join(" ")
    }

    #[test]
    fn a_virtual_device_without_huge_pages() {
        let line = line(&settings(&["net_pcap0,rx_pcap=a.pcap"], &[]), BARE);
        assert_eq!(
            line,
            "-l 3 --log-level=warning --log-level=lib.telemetry:error --no-huge -m 1024 \
             --no-shconf --vdev=net_pcap0,rx_pcap=a.pcap --no-pci"
        );
    }

    #[test]
    fn telemetry_needs_a_folder_for_its_socket() {
        let machine = Machine {
            telemetry: false,
            ..BARE
        };
        let null = settings(&["net_null0"], &[]);
        assert!(line(&null, machine).contains(" --no-telemetry "));
        assert!(!line(&null, BARE).contains("--no-telemetry"));
        let given = settings(&["net_null0"], &["--no-telemetry"]);
        assert_eq!(line(&given, machine).matches("--no-telemetry").count(), 1);

        let folder = tempfile::tempdir().unwrap();
        assert!(is_writable(folder.path()));
        std::fs::create_dir(folder.path().join("dpdk")).unwrap();
        assert!(is_writable(folder.path()));
        std::fs::write(folder.path().join("dpdk/rte"), "").unwrap();
        assert!(!is_writable(folder.path()), "a file is in the way");
        assert!(!is_writable(&folder.path().join("gone/1/2/3")));
    }

    #[test]
    fn a_bound_port_with_huge_pages() {
        let machine = Machine {
            cpu: 0,
            cpus: 64,
            huge_bytes: 1 << 30,
            telemetry: true,
        };
        let line = line(&settings(&["01:00.0"], &[]), machine);
        assert_eq!(
            line,
            "-l 0 --log-level=warning --log-level=lib.telemetry:error --in-memory -a 01:00.0"
        );
    }

    #[test]
    fn an_open_number_of_queues_has_memory_for_all_workers() {
        let mut settings = settings(&["net_null0"], &[]);
        settings.ports[0].queues = 0;
        settings.workers = 64;
        assert!(
            line(&settings, BARE).contains("-m 1024 "),
            "2,048 descriptors fit"
        );
        settings.ports[0].descriptors = 8_192;
        let memory = memory_at_most(&settings, BARE) >> 20;
        assert!(memory > 1_024);
        assert!(line(&settings, BARE).contains(&format!("-m {memory} ")));
        let machine = Machine {
            huge_bytes: 256 << 20,
            ..BARE
        };
        assert!(line(&settings, machine).contains("--in-memory"));
    }

    #[test]
    fn queues_follow_the_workers() {
        let device = |driver: &str, queues_max| DeviceInfo {
            name: "a".to_owned(),
            driver: driver.to_owned(),
            interface: 0,
            node: None,
            queues_max,
            mtu_max: 1_500,
            ..DeviceInfo::default()
        };
        let mut port = PortSettings::new("a");
        port.queues = 0;
        assert_eq!(port.queues_for(4, &device("net_i40e", 320)), 4);
        assert_eq!(port.queues_for(8, &device("net_ring", 2)), 2);
        assert_eq!(port.queues_for(0, &device("net_ring", 0)), 1);
        assert_eq!(port.queues_for(1, &device("net_pcap", 3)), 3);
        assert!(!port.is_fixed(&device("net_ring", 2)) && port.is_fixed(&device("net_pcap", 3)));
        port.queues = 16;
        assert_eq!(port.queues_for(1, &device("net_pcap", 3)), 16);
    }

    #[test]
    fn what_the_user_gives_is_not_given_twice() {
        let given = [
            "-l0",
            "-m",
            "2048",
            "--vdev=net_null0,size=64",
            "--log-level",
            "8",
        ];
        let line = line(&settings(&["net_null0"], &given), BARE);
        assert_eq!(
            line,
            "--no-pci -l0 -m 2048 --vdev=net_null0,size=64 --log-level 8"
        );
    }

    #[test]
    fn a_kernel_interface_is_explained() {
        let error = eal_arguments(&settings(&["enp1s0"], &[]), BARE).unwrap_err();
        assert!(error.to_string().contains("net_af_packet0,iface=enp1s0"));
    }

    #[test]
    fn addresses() {
        for good in ["0000:01:00.0", "01:00.1", "ffff:3a:1f.7"] {
            assert!(is_pci_address(good), "{good}");
        }
        for bad in [
            "",
            "net_null0",
            "01:00",
            "1:0.0",
            "0000:01:00.0,x=1",
            "a:b:c:d.0",
        ] {
            assert!(!is_pci_address(bad), "{bad}");
        }
    }
}
