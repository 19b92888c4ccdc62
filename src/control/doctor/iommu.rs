//! IOMMU and vfio, through which DPDK gets at physical ports.

use super::case::Case;
use super::finding::{Check, Finding};
use super::hugepages::has_physical_port;
use super::pci::Device;
use super::system::{System, kernel_arguments};

/// Is there an IOMMU?
pub(super) const IOMMU: Check = Check {
    id: "iommu.enabled",
    looks_at: "/sys/kernel/iommu_groups, and whether vfio does without",
    why: "vfio-pci hands out a port only behind an IOMMU, which keeps it from other memory",
};

/// Is vfio-pci there?
pub(super) const VFIO: Check = Check {
    id: "iommu.vfio",
    looks_at: "the module vfio-pci",
    why: "it is the kernel's driver under which DPDK has a port",
};

/// Is the group of a port whole?
pub(super) const GROUP: Check = Check {
    id: "iommu.group",
    looks_at: "the other devices of the IOMMU group of each port",
    why: "vfio hands out whole groups only: a device that the kernel keeps blocks the port",
};

/// May this user open the group of a port?
pub(super) const ACCESS: Check = Check {
    id: "iommu.access",
    looks_at: "/dev/vfio/GROUP of each port that vfio-pci has",
    why: "a port is received from through this file, which is root's unless a rule of udev says otherwise",
};

/// Where the package and where an operator puts the rule that gives groups to the service.
const UDEV_RULES: [&str; 2] = [
    "lib/udev/rules.d/60-wirelynx.rules",
    "etc/udev/rules.d/60-wirelynx.rules",
];

const NOIOMMU: &str = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

/// Does vfio hand out ports without an IOMMU?
pub(super) fn is_noiommu(system: &System) -> bool {
    matches!(system.text(NOIOMMU).as_deref(), Some("Y" | "1"))
}

/// All of the group. Virtual devices need none of it.
pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let virtual_only = !case.config.capture.ports.is_empty() && !has_physical_port(case);
    if virtual_only {
        let text = "the configured ports are virtual: they need none";
        return vec![IOMMU.ok("machine", text)];
    }
    let mut findings = vec![enabled(case), vfio(case.system)];
    for port in case.ports.iter().filter(|port| port.configured) {
        let Some(device) = port.pci().filter(|device| device.group.is_some()) else {
            continue;
        };
        let keeps = port.model().is_some_and(|model| model.keeps_kernel_driver);
        if keeps {
            continue;
        }
        let others = device.others_of_group(case.system);
        findings.push(match others.first() {
            None => GROUP.ok(&port.name, "nothing else of its group is in use"),
            Some((address, driver)) => GROUP.failure(
                &port.name,
                format!("{address} of its group is with the kernel's driver {driver}"),
                case.system.bind(address),
            ),
        });
        findings.extend(openable(case.system, &port.name, device));
    }
    findings
}

/// None where there is no file to open: the driver of the port, or the IOMMU, is told then.
fn openable(system: &System, name: &str, device: &Device) -> Option<Finding> {
    let node = format!("dev/vfio/{}", device.group.as_deref()?);
    if device.driver.as_deref() != Some("vfio-pci") || !system.has(&node) {
        return None;
    }
    if (system.accessible)(&system.path(&node)) {
        return Some(ACCESS.ok(name, format!("/{node} can be opened")));
    }
    let user = system.user();
    let has_rule = UDEV_RULES.iter().any(|rule| system.has(rule));
    let command = match has_rule && system.is_of_group("wirelynx") {
        true => "udevadm control --reload && udevadm trigger --subsystem-match=vfio".to_owned(),
        false => format!("chown {user} /{node}"),
    };
    let text = format!("user {user} may not open /{node}");
    Some(ACCESS.failure(name, text, command))
}

fn enabled(case: &Case<'_>) -> Finding {
    let system = case.system;
    let groups = system.names("sys/kernel/iommu_groups").len();
    if groups > 0 {
        return IOMMU.ok("machine", format!("on: {groups} groups"));
    }
    let command = match system.processor_vendor().as_deref() {
        // It is on unless the firmware has it off.
        Some("AuthenticAMD") => kernel_arguments("amd_iommu=on iommu=pt"),
        _ => kernel_arguments("intel_iommu=on iommu=pt"),
    };
    if is_noiommu(system) {
        let text = "off, and vfio hands out ports without it: a port can write to any memory";
        return IOMMU.warning("machine", text, command);
    }
    let needs_it = |port: &super::case::Port| {
        port.configured
            && port.pci().is_some()
            && !port.model().is_some_and(|model| model.keeps_kernel_driver)
    };
    match case.ports.iter().any(needs_it) {
        true => IOMMU.failure("machine", "off: no groups", command),
        false => IOMMU.warning("machine", "off: no groups", command),
    }
}

fn vfio(system: &System) -> Finding {
    let places = ["sys/module/vfio_pci", "sys/bus/pci/drivers/vfio-pci"];
    match places.iter().any(|place| system.has(place)) {
        true => VFIO.ok("machine", "loaded"),
        false => VFIO.warning("machine", "not loaded", "modprobe vfio-pci"),
    }
}
