//! The machine as checks see it: files below a root folder, so that tests can make one up, and the
//! few answers that are in no file.

use nix::unistd::{AccessFlags, access};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `CAP_SYS_ADMIN` of linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;

/// `CAP_IPC_LOCK` of linux/capability.h: memory is locked without limit.
const CAP_IPC_LOCK: u32 = 14;

/// What a port can do, as its driver says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Its driver in DPDK.
    pub driver: String,
    /// NUMA node; none when the machine does not say.
    pub node: Option<u16>,
    /// Receive queues.
    pub queues: u16,
    /// Receive descriptors of each queue; 0 when the driver has no limit.
    pub descriptors: u16,
    /// Their number is a multiple of this; 0 or 1 when any will do.
    pub descriptors_multiple: u16,
    /// Bytes of the key of the receive hash; 0 when it has none, or does not say.
    pub key_bytes: u8,
    /// Entries of the redirection table; 0 when it has none, or does not say.
    pub redirection_entries: u16,
    /// Does it hash addresses and ports of TCP or UDP?
    pub hashes: bool,
    /// Version of the firmware; empty when the driver does not say.
    pub firmware: String,
}

/// What DPDK said of the ports of the configuration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Survey {
    /// Nobody asked.
    #[default]
    None,
    /// By name of the device: what it can do, or why that is not known.
    Ports(BTreeMap<String, Result<Abilities, String>>),
    /// DPDK did not start.
    Failed(String),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
    /// CPUs that this process may use.
    pub allowed: Vec<usize>,
    /// The state of the system clock; none where the kernel does not tell.
    pub clock: Option<kernel::Clock>,
    /// Driver and firmware of a network interface.
    pub adapter: fn(&str) -> Option<kernel::Adapter>,
    /// May this process read and write a file?
    pub accessible: fn(&Path) -> bool,
    /// What DPDK said of the ports.
    pub survey: Survey,
}

impl System {
    /// This machine.
    pub fn here() -> Self {
        Self {
            root: PathBuf::from("/"),
            allowed: crate::control::cores::Machine::here().allowed().to_vec(),
            clock: kernel::clock(),
            adapter: kernel::adapter,
            accessible: |path| access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_ok(),
            survey: Survey::None,
        }
    }

    /// One that is described by the files below `root`, of which this process may use all CPUs
    /// that are named.
    pub fn at(root: &Path, allowed: Vec<usize>) -> Self {
        Self {
            root: root.to_owned(),
            allowed,
            clock: None,
            adapter: |_| None,
            accessible: |_| true,
            survey: Survey::None,
        }
    }

    /// The place of `path`, which has no slash in front.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Is there a file or folder?
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Text of a file without blanks around it; none when it cannot be read.
    pub fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The number in a file.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The hexadecimal number in a file, such as `0x8086`.
    pub fn hexadecimal(&self, path: &str) -> Option<u32> {
        u32::from_str_radix(self.text(path)?.trim_start_matches("0x"), 16).ok()
    }

    /// Names in a folder, in order; none when it cannot be listed.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        names
    }

    /// Last part of what a link leads to: sysfs tells the driver of a device so.
    pub fn link(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// The CPUs of the machine, for plans.
    pub fn cores(&self) -> crate::control::cores::Machine {
        let folder = self.path("sys/devices/system");
        crate::control::cores::Machine::read(&folder, self.allowed.clone())
    }

    /// User that this process is; 0 for root, and where the kernel does not say.
    pub fn user(&self) -> u64 {
        self.effective("Uid:").unwrap_or(0)
    }

    /// Is this process of the group with this name?
    pub fn is_of_group(&self, name: &str) -> bool {
        let groups = self.text("etc/group").unwrap_or_default();
        let number = groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        });
        number.is_some() && number == self.effective("Gid:")
    }

    /// The second number of a line of /proc/self/status: that in effect.
    fn effective(&self, key: &str) -> Option<u64> {
        let line = self.status(key)?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// May this process do what only root may?
    pub fn is_root(&self) -> bool {
        self.user() == 0 && self.may(CAP_SYS_ADMIN)
    }

    /// May it lock as much memory as it likes?
    pub fn may_lock(&self) -> bool {
        self.may(CAP_IPC_LOCK)
    }

    fn may(&self, capability: u32) -> bool {
        let Some(mask) = self.status("CapEff:") else {
            return self.user() == 0;
        };
        u64::from_str_radix(&mask, 16).is_ok_and(|mask| mask >> capability & 1 == 1)
    }

    /// A line of /proc/self/status.
    fn status(&self, key: &str) -> Option<String> {
        let text = self.text("proc/self/status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().to_owned())
    }

    /// A line of /proc/meminfo, in bytes.
    pub fn memory(&self, key: &str) -> Option<u64> {
        let text = self.text("proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes.saturating_mul(1_024))
    }

    /// A parameter of the kernel's command line, such as `isolcpus`: what is behind its `=`.
    pub fn kernel_parameter(&self, name: &str) -> Option<String> {
        let line = self.text("proc/cmdline")?;
        line.split_whitespace().find_map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key == name).then(|| value.to_owned())
        })
    }

    /// Vendor of the processor, such as `AuthenticAMD`.
    pub fn processor_vendor(&self) -> Option<String> {
        self.processor("vendor_id")
    }

    /// First line of /proc/cpuinfo with this key.
    pub fn processor(&self, key: &str) -> Option<String> {
        let text = self.text("proc/cpuinfo")?;
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    }

    /// The command that gives a port to DPDK: that of the package, where it is installed, which
    /// refuses the port of the default route and remembers the driver of the kernel.
    pub fn bind(&self, address: &str) -> String {
        match self.packaged("bind-port") {
            Some(program) => format!("{program} {address}"),
            None => format!("dpdk-devbind.py -b vfio-pci {address}"),
        }
    }

    /// Path of a script of the Debian package, if it is installed.
    pub fn packaged(&self, script: &str) -> Option<String> {
        let path = format!("usr/lib/wirelynx/{script}");
        self.has(&path).then(|| format!("/{path}"))
    }

    /// Interface of the default route; none when there is none.
    pub fn default_route(&self) -> Option<String> {
        let text = self.text("proc/net/route")?;
        text.lines().skip(1).find_map(|line| {
            let mut words = line.split_whitespace();
            let (interface, destination) = (words.next()?, words.next()?);
            (destination == "00000000").then(|| interface.to_owned())
        })
    }
}

/// The command that adds arguments to the kernel's command line on a Debian system.
pub fn kernel_arguments(arguments: &str) -> String {
    format!(
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{arguments} /' /etc/default/grub && update-grub && reboot"
    )
}

/// Bytes in a unit that fits, such as `318 MiB`; rounded up.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{} GiB", bytes.div_ceil(1 << 30)),
    }
}
