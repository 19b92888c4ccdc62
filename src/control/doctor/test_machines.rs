//! Made-up machines for tests, and what is found on them.

use super::case::Case;
use super::examine;
use super::finding::{Finding, Level, text};
use super::system::{Abilities, Survey, System};
use crate::config::Config;
use std::time::Duration;

/// A folder that describes a machine.
pub(super) struct Tree(pub(super) tempfile::TempDir);

pub(super) const FLAGS: &str =
    "fpu tsc sse2 pni ssse3 sse4_1 sse4_2 popcnt constant_tsc nonstop_tsc avx2";

/// PCI Express as sysfs writes it.
const WIDE: [&str; 2] = ["8.0 GT/s PCIe", "8"];

impl Tree {
    pub(super) fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
        self
    }

    pub(super) fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    pub(super) fn remove(&self, path: &str) -> &Self {
        let path = self.0.path().join(path);
        match path.is_dir() {
            true => std::fs::remove_dir_all(path).unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
        self
    }

    /// A server with two nodes of four cores with two threads each, all that it should have, and
    /// two ports of an X710 on node 1 that vfio-pci has.
    pub(super) fn server() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        let cpu = "sys/devices/system/cpu";
        tree.write(
            "proc/cpuinfo",
            &format!("vendor_id : GenuineIntel\nflags : {FLAGS}"),
        )
        .write(&format!("{cpu}/online"), "0-15")
        .write(&format!("{cpu}/isolated"), "4-7")
        .write(&format!("{cpu}/nohz_full"), "4-7")
        .write(
            "proc/cmdline",
            "ro isolcpus=4-7 nohz_full=4-7 rcu_nocbs=4-7 iommu=pt",
        )
        .write("sys/devices/system/node/online", "0-1")
        .write(
            "proc/meminfo",
            "MemTotal: 33554432 kB\nMemAvailable: 32000000 kB",
        )
        .write(
            "proc/self/status",
            "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff",
        )
        .write("sys/kernel/iommu_groups/7/type", "DMA")
        .write("sys/module/vfio_pci/refcnt", "1")
        .write("run/chrony/chronyd.pid", "12");
        let clock = "sys/devices/system/clocksource/clocksource0";
        tree.write(&format!("{clock}/current_clocksource"), "tsc")
            .write(&format!("{clock}/available_clocksource"), "tsc hpet");
        for number in 0..16 {
            let core = number % 8;
            let siblings = format!("{core},{}", core + 8);
            let folder = format!("{cpu}/cpu{number}");
            tree.write(
                &format!("{folder}/topology/thread_siblings_list"),
                &siblings,
            )
            .write(&format!("{folder}/cpufreq/scaling_governor"), "performance");
        }
        for node in 0..2 {
            let cpus = ["0-3,8-11", "4-7,12-15"][node];
            let folder = format!("sys/devices/system/node/node{node}");
            tree.write(&format!("{folder}/cpulist"), cpus);
            tree.pages(node, "2048", 512).pages(node, "1048576", 0);
        }
        tree.port("0000:3b:00.0", 0x1572, "vfio-pci")
            .port("0000:3b:00.1", 0x1572, "vfio-pci");
        tree
    }

    pub(super) fn pages(&self, node: usize, kilobytes: &str, count: u64) -> &Self {
        let folder = format!("sys/devices/system/node/node{node}/hugepages");
        let folder = format!("{folder}/hugepages-{kilobytes}kB");
        self.write(&format!("{folder}/nr_hugepages"), &count.to_string())
            .write(&format!("{folder}/free_hugepages"), &count.to_string())
    }

    /// An Intel adapter in IOMMU group 7 on node 1.
    pub(super) fn port(&self, address: &str, device: u16, driver: &str) -> &Self {
        let folder = format!("sys/bus/pci/devices/{address}");
        self.write(&format!("{folder}/vendor"), "0x8086")
            .write(&format!("{folder}/device"), &format!("{device:#06x}"))
            .write(&format!("{folder}/class"), "0x020000")
            .write(&format!("{folder}/numa_node"), "1")
            .write(&format!("{folder}/current_link_speed"), WIDE[0])
            .write(&format!("{folder}/max_link_speed"), WIDE[0])
            .write(&format!("{folder}/current_link_width"), WIDE[1])
            .write(&format!("{folder}/max_link_width"), WIDE[1])
            .link(
                &format!("{folder}/driver"),
                &format!("../../drivers/{driver}"),
            )
            .link(
                &format!("{folder}/iommu_group"),
                "../../../../kernel/iommu_groups/7",
            )
            .write(&format!("sys/kernel/iommu_groups/7/devices/{address}"), "")
    }

    /// A port that the kernel's driver has, as an interface.
    pub(super) fn kernel_port(
        &self,
        address: &str,
        device: u16,
        driver: &str,
        interface: &str,
    ) -> &Self {
        self.port(address, device, driver)
            .write(
                &format!("sys/bus/pci/devices/{address}/net/{interface}/mtu"),
                "1500",
            )
            .write(&format!("sys/class/net/{interface}/carrier"), "1")
            .write(&format!("sys/class/net/{interface}/speed"), "10000")
    }

    pub(super) fn system(&self) -> System {
        let mut system = System::at(self.0.path(), (0..16).collect());
        system.clock = Some(kernel::Clock {
            synchronized: true,
            error_max: Duration::from_millis(1),
            error_estimate: Duration::from_micros(20),
        });
        system
    }
}

/// What the driver of an X710 says of a port.
pub(super) fn x710() -> Abilities {
    Abilities {
        driver: "net_i40e".to_owned(),
        node: Some(1),
        queues: 192,
        descriptors: 8_160,
        descriptors_multiple: 32,
        key_bytes: 52,
        redirection_entries: 512,
        hashes: true,
        firmware: "9.20 0x8000d95a 22.0.9".to_owned(),
    }
}

pub(super) fn asked(mut system: System, abilities: &Abilities) -> System {
    let names = ["0000:3b:00.0", "3b:00.1"];
    let all = names.map(|name| (name.to_owned(), Ok(abilities.clone())));
    system.survey = Survey::Ports(all.into());
    system
}

pub(super) fn config(settings: &[&str]) -> Config {
    let ports = r#"capture.ports=["0000:3b:00.0","3b:00.1"]"#;
    let mut all = vec![ports.to_owned()];
    all.extend(settings.iter().map(|one| (*one).to_owned()));
    Config::load(None, &all).unwrap()
}

pub(super) fn examined(system: &System, settings: &[&str]) -> Vec<Finding> {
    examine(&Case::new(system, &config(settings), None))
}

/// Those that are not well, as `level id subject`.
pub(super) fn bad(findings: &[Finding]) -> Vec<String> {
    let bad = findings.iter().filter(|finding| finding.level != Level::Ok);
    bad.map(|f| format!("{} {} {}", f.level.name(), f.check.id, f.subject))
        .collect()
}

/// The one finding of this check about this subject.
pub(super) fn the<'f>(findings: &'f [Finding], id: &str, subject: &str) -> &'f Finding {
    let mut found = findings
        .iter()
        .filter(|finding| finding.check.id == id && finding.subject == subject);
    let first = found.next();
    assert!(found.next().is_none(), "{id} {subject} twice");
    first.unwrap_or_else(|| panic!("no {id} {subject} in\n{}", text(findings)))
}

pub(super) fn told(finding: &Finding) -> (Level, &str, &str) {
    (finding.level, &finding.found, &finding.command)
}
