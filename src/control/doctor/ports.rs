//! The ports: are they there, with the right driver, near their workers, and can they do what the
//! configuration asks?

use super::adapters::{Model, version};
use super::case::{Case, Kind, Port};
use super::finding::{Check, Finding};
use super::pci::Device;
use super::system::Survey;

/// Presence.
pub(super) const DEVICE: Check = Check {
    id: "port.device",
    looks_at: "the device, the interface or the file behind each port",
    why: "there is nothing to receive from",
};

/// Kernel driver.
pub(super) const DRIVER: Check = Check {
    id: "port.driver",
    looks_at: "the kernel's driver that has the port",
    why: "DPDK finds a port only under vfio-pci (Mellanox: under its own driver)",
};

/// DPDK.
pub(super) const PROBE: Check = Check {
    id: "port.probe",
    looks_at: "what DPDK says of the port",
    why: "limits then come from its driver instead of a table of known adapters",
};

/// Node.
pub(super) const NODE: Check = Check {
    id: "port.node",
    looks_at: "NUMA node of the port, and of the CPUs of its workers",
    why: "on another node each packet crosses between the processors",
};

/// Link.
pub(super) const LINK: Check = Check {
    id: "port.link",
    looks_at: "carrier and speed",
    why: "without a link nothing arrives",
};

/// Queues.
pub(super) const QUEUES: Check = Check {
    id: "port.queues",
    looks_at: "receive queues of the port, of the configuration, and workers",
    why: "each worker has queues of its own: with fewer queues, workers have nothing to do",
};

/// Descriptors.
pub(super) const DESCRIPTORS: Check = Check {
    id: "port.descriptors",
    looks_at: "receive descriptors of the port and of the configuration",
    why: "they hold the frames that arrive while a worker is busy",
};

/// Receive side scaling.
pub(super) const RSS: Check = Check {
    id: "port.rss",
    looks_at: "receive hash: key, redirection table, what is hashed",
    why: "it brings both directions of a flow to the same worker",
};

/// Firmware.
pub(super) const FIRMWARE: Check = Check {
    id: "port.firmware",
    looks_at: "firmware of the adapter, against what DPDK 22.11 was tested with",
    why: "older firmware lacks functions that the driver relies on, and has known faults",
};

/// DDP package.
pub(super) const PACKAGE: Check = Check {
    id: "port.package",
    looks_at: "the package that an E810 loads at start",
    why: "without it the adapter has one queue and no receive hash",
};

/// PCI Express.
pub(super) const LANES: Check = Check {
    id: "port.pcie",
    looks_at: "speed and lanes of the slot, against what the adapter can",
    why: "a slot with fewer lanes loses packets that no counter of a worker shows",
};

/// Where DPDK looks for the package of an E810 (ice guide).
const PACKAGES: [&str; 2] = [
    "lib/firmware/updates/intel/ice/ddp/ice.pkg",
    "lib/firmware/intel/ice/ddp/ice.pkg",
];

/// All of the group.
pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    if case.ports.is_empty() {
        let text = "no Ethernet adapter on the PCI bus, and no port is configured";
        let command = case.set("capture.ports='[\"net_af_packet0,iface=eth0\"]'");
        return vec![DEVICE.warning("machine", text, command)];
    }
    let mut findings = Vec::new();
    for port in &case.ports {
        let there = presence(case, port, &mut findings);
        if !there {
            continue;
        }
        if port.configured {
            findings.extend(probe(case, port));
            findings.extend(node(case, port));
            findings.push(queues(case, port));
            findings.extend(descriptors(case, port));
            findings.extend(rss(case, port));
        }
        findings.extend(link(case, port));
        if let Some(device) = port.pci() {
            findings.extend(lanes(case, port, device));
            if let Some(model) = port.model() {
                findings.extend(firmware(case, port, device, model));
                findings.extend(package(case, port, model));
            }
        }
    }
    findings
}

/// Those that a started DPDK tells better than files, for a program that has its answer.
#[cfg(feature = "dpdk")]
pub(super) fn check_survey(case: &Case<'_>) -> Vec<Finding> {
    let configured = case.ports.iter().filter(|port| port.configured);
    let mut findings = Vec::new();
    for port in configured.filter(|port| case.abilities(port).is_some()) {
        findings.push(queues(case, port));
        findings.extend(descriptors(case, port));
        findings.extend(rss(case, port));
    }
    findings
}

/// Is there anything behind the port?
fn presence(case: &Case<'_>, port: &Port, findings: &mut Vec<Finding>) -> bool {
    match &port.kind {
        Kind::Pci(None) => {
            let text = "there is no PCI device with this address";
            let command = "dpdk-devbind.py --status-dev net";
            findings.push(DEVICE.failure(&port.name, text, command));
            false
        }
        Kind::Pci(Some(device)) => {
            let name = port
                .model()
                .map_or("an adapter of unknown kind", |model| model.name);
            let text = format!("{name} ({:04x}:{:04x})", device.vendor, device.device);
            findings.push(DEVICE.ok(&port.name, text));
            findings.push(driver(case, port, device));
            true
        }
        Kind::Interface(interface) => {
            let there = case.system.has(&format!("sys/class/net/{interface}"));
            findings.push(match there {
                true => DEVICE.ok(&port.name, format!("interface {interface}")),
                false => {
                    let text = format!("there is no interface {interface}");
                    DEVICE.failure(&port.name, text, "ip -brief link")
                }
            });
            there
        }
        Kind::Files(files) => {
            let failed = files.iter().find_map(|file| {
                let error = std::fs::File::open(file).err()?;
                Some((file, error))
            });
            let Some((file, error)) = failed else {
                findings.push(DEVICE.ok(&port.name, files.join(", ")));
                return true;
            };
            let text = format!("{file}: {error}");
            findings.push(DEVICE.failure(&port.name, text, format!("ls -l {file}")));
            false
        }
        Kind::Unknown => {
            let text = "neither a PCI address nor a virtual device";
            let name = &port.name;
            let ports = format!("capture.ports='[\"net_af_packet0,iface={name}\"]'");
            findings.push(DEVICE.failure(name, text, case.set(&ports)));
            false
        }
        Kind::Other => {
            findings.push(DEVICE.ok(&port.name, "a virtual device"));
            true
        }
    }
}

fn driver(case: &Case<'_>, port: &Port, device: &Device) -> Finding {
    let bind = case.system.bind(&device.address);
    let interface = device.interfaces.first().map_or("", String::as_str);
    let named = match interface.is_empty() {
        true => String::new(),
        false => format!(", interface {interface}"),
    };
    let default_route = case.system.default_route();
    let is_ours = default_route
        .as_deref()
        .is_some_and(|name| name == interface);
    let keeps = port.model().is_some_and(|model| model.keeps_kernel_driver);
    let Some(driver) = device.driver.as_deref() else {
        return match port.configured {
            true => DRIVER.failure(&port.name, "no driver has it", bind),
            false => DRIVER.ok(&port.name, format!("no driver has it; to use it: {bind}")),
        };
    };
    match driver {
        "vfio-pci" => DRIVER.ok(&port.name, "vfio-pci"),
        "igb_uio" | "uio_pci_generic" => {
            let text = format!("{driver}: no IOMMU keeps the port from other memory");
            DRIVER.warning(&port.name, text, bind)
        }
        _ if keeps => DRIVER.ok(
            &port.name,
            format!("{driver}{named}, beside which DPDK works"),
        ),
        _ if is_ours => {
            let text = format!("{driver}{named}, which carries the default route");
            match port.configured {
                true => {
                    let other = case.set(&format!(
                        "capture.ports='[\"net_af_packet0,iface={interface}\"]'"
                    ));
                    DRIVER.failure(&port.name, text, other)
                }
                false => DRIVER.ok(&port.name, text + ": not one to give to DPDK"),
            }
        }
        _ => match port.configured {
            true => DRIVER.failure(&port.name, format!("{driver}{named}"), bind),
            false => DRIVER.ok(&port.name, format!("{driver}{named}; to use it: {bind}")),
        },
    }
}

fn probe(case: &Case<'_>, port: &Port) -> Option<Finding> {
    let as_root = || match case.system.is_root() {
        true => format!("dpdk-devbind.py --status-dev net # {}", port.name),
        false => "sudo wirelynx doctor # with the same arguments".to_owned(),
    };
    match &case.system.survey {
        Survey::None => None,
        Survey::Failed(reason) => {
            let text = format!("DPDK does not start: {reason}");
            Some(PROBE.unknown(&port.name, text, as_root()))
        }
        Survey::Ports(ports) => match ports.get(&port.name)? {
            Ok(abilities) => Some(PROBE.ok(&port.name, format!("driver {}", abilities.driver))),
            Err(reason) => Some(PROBE.unknown(&port.name, reason, as_root())),
        },
    }
}

fn node(case: &Case<'_>, port: &Port) -> Option<Finding> {
    let node = case.node(port)?;
    let plan = case.plan.as_ref().ok()?;
    let queues = usize::from(case.queues(port));
    let far = plan.workers.iter().take(queues).copied().flatten();
    let far: Vec<usize> = far
        .filter(|cpu| case.cores.node(*cpu).is_some_and(|own| own != node))
        .collect();
    if far.is_empty() {
        return Some(NODE.ok(&port.name, format!("node {node}")));
    }
    let near = case.cores.allowed().iter().copied();
    let near: Vec<usize> = near
        .filter(|cpu| case.cores.node(*cpu) == Some(node) && case.cores.sibling(*cpu) == 0)
        .collect();
    let wanted = plan.workers.len() + plan.security.len();
    let near: Vec<String> = near.iter().take(wanted).map(ToString::to_string).collect();
    let text = format!(
        "node {node}, but workers are on CPUs {} of another node",
        crate::control::cores::list(&far)
    );
    let command = case.set(&format!("workers.cpus=[{}]", near.join(",")));
    Some(NODE.warning(&port.name, text, command))
}

/// Which interface shows the link of a port, if any.
fn interface(port: &Port) -> Option<&str> {
    match &port.kind {
        Kind::Interface(interface) => Some(interface),
        Kind::Pci(device) => device.as_ref()?.interfaces.first().map(String::as_str),
        Kind::Files(_) | Kind::Other | Kind::Unknown => None,
    }
}

fn link(case: &Case<'_>, port: &Port) -> Option<Finding> {
    let Some(interface) = interface(port) else {
        let device = port.pci().filter(|_| port.configured)?;
        let text = format!(
            "{} has it, so the kernel does not show its link: a run logs it at start, then \
             wirelynx top and wirelynx_port_link_up tell; before a port is bound, ethtool does",
            device.driver.as_deref().unwrap_or("no driver")
        );
        let command = format!("{} --once --page 2 # while it runs", case.command("top"));
        return Some(LINK.unknown(&port.name, text, command));
    };
    let folder = format!("sys/class/net/{interface}");
    // The file cannot be read while the interface is down.
    let carrier = case.system.number(&format!("{folder}/carrier"));
    let speed = case.system.number(&format!("{folder}/speed"));
    match carrier {
        Some(1) => {
            let speed = speed.map_or_else(|| "speed unknown".to_owned(), |s| format!("{s} Mbit/s"));
            Some(LINK.ok(&port.name, format!("{interface} up, {speed}")))
        }
        Some(_) => {
            let text = format!("{interface} has no carrier: check the cable and the peer");
            let command = format!("ethtool {interface}");
            Some(match port.configured {
                true => LINK.warning(&port.name, text, command),
                false => LINK.ok(&port.name, format!("{interface} has no carrier")),
            })
        }
        None if port.configured => {
            let text = format!("{interface} is down");
            Some(LINK.warning(&port.name, text, format!("ip link set {interface} up")))
        }
        None => Some(LINK.ok(&port.name, format!("{interface} is down"))),
    }
}

fn queues(case: &Case<'_>, port: &Port) -> Finding {
    let configured = case.config.capture.queues;
    let workers = case.plan.as_ref().map_or(1, |plan| plan.workers.len());
    let Some(limit) = case.queues_limit(port) else {
        if matches!(port.kind, Kind::Other) {
            return QUEUES.ok(
                &port.name,
                format!("{} for {workers} workers", case.queues(port)),
            );
        }
        let text = "how many it can have is known when it is bound and DPDK can ask it";
        return QUEUES.unknown(
            &port.name,
            text,
            "sudo wirelynx doctor # with the same arguments",
        );
    };
    if configured > limit {
        let text = format!("capture.queues is {configured}, but it has {limit} at most");
        let command = case.set(&format!("capture.queues={limit}"));
        return QUEUES.failure(&port.name, text, command);
    }
    let queues = case.queues(port);
    if usize::from(queues) < workers {
        let text = format!("{queues} of {limit} for {workers} workers");
        let command = match configured {
            0 => case.set(&format!("workers.count={limit}")),
            _ => case.set("capture.queues=0"),
        };
        return QUEUES.warning(&port.name, text, command);
    }
    QUEUES.ok(
        &port.name,
        format!("{queues} of {limit} for {workers} workers"),
    )
}

fn descriptors(case: &Case<'_>, port: &Port) -> Option<Finding> {
    let wanted = case.config.capture.descriptors;
    let asked = case
        .abilities(port)
        .map(|able| (able.descriptors, able.descriptors_multiple));
    let model = port
        .model()
        .map(|model| (model.descriptors, model.descriptors_multiple));
    let (limit, multiple) = asked.or(model).filter(|(limit, _)| *limit > 0)?;
    let multiple = multiple.max(1);
    if wanted <= limit && wanted.is_multiple_of(multiple) {
        return Some(DESCRIPTORS.ok(&port.name, format!("{wanted} of {limit}")));
    }
    let best = wanted.min(limit) / multiple * multiple;
    let text = format!(
        "capture.descriptors is {wanted}, but it takes multiples of {multiple} up to {limit}: it \
         gets what comes next"
    );
    let best = best / 32 * 32;
    let command = case.set(&format!("capture.descriptors={}", best.max(64)));
    Some(DESCRIPTORS.warning(&port.name, text, command))
}

fn rss(case: &Case<'_>, port: &Port) -> Option<Finding> {
    let queues = case.queues(port);
    let one = case.set("capture.queues=1");
    if matches!(port.kind, Kind::Interface(_)) {
        let text = "the kernel spreads flows, both directions alike";
        return Some(RSS.ok(&port.name, text));
    }
    let described = |key: u8, entries: u16| {
        let key = match key {
            0 => "a key whose length the driver does not tell".to_owned(),
            key => format!("a key of {key} bytes"),
        };
        match entries {
            0 => key,
            entries => format!("{key}, {entries} entries"),
        }
    };
    if let Some(able) = case.abilities(port) {
        let text = described(able.key_bytes, able.redirection_entries);
        return Some(match (able.hashes, queues) {
            (true, _) => RSS.ok(&port.name, text),
            (false, 0 | 1) => RSS.ok(&port.name, "no receive hash, and one queue needs none"),
            (false, _) => {
                let text = format!(
                    "its driver ({}) has no receive hash, but there are {queues} queues",
                    able.driver
                );
                RSS.warning(&port.name, text, one)
            }
        });
    }
    let model = port.model()?;
    Some(match model.key_bytes {
        0 if queues > 1 => {
            let text = format!(
                "{} has no receive hash, but there are {queues} queues",
                model.name
            );
            RSS.warning(&port.name, text, one)
        }
        0 => RSS.ok(&port.name, "no receive hash, and one queue needs none"),
        key => {
            let text = described(key, model.redirection_entries);
            RSS.ok(&port.name, format!("{text} (as known of {})", model.name))
        }
    })
}

fn firmware(
    case: &Case<'_>,
    port: &Port,
    device: &Device,
    model: &'static Model,
) -> Option<Finding> {
    let by_kernel = device
        .interfaces
        .first()
        .and_then(|name| (case.system.adapter)(name));
    let by_kernel = by_kernel.map(|adapter| adapter.firmware);
    let by_driver = case
        .abilities(port)
        .map(|abilities| abilities.firmware.clone());
    let found = by_driver.or(by_kernel).filter(|text| !text.is_empty());
    let notes = match model.notes.is_empty() {
        true => String::new(),
        false => format!("; {}", model.notes.join("; ")),
    };
    let Some(((major, minor), source)) = model.firmware else {
        let found = found.unwrap_or_else(|| "version not told".to_owned());
        return Some(FIRMWARE.ok(&port.name, format!("{found}{notes}")));
    };
    let Some(found) = found else {
        let text = format!("cannot be seen{notes}");
        let command = match device.interfaces.first() {
            Some(interface) => format!("ethtool -i {interface}"),
            None => "sudo wirelynx doctor # with this port configured".to_owned(),
        };
        return Some(FIRMWARE.unknown(&port.name, text, command));
    };
    let wanted = format!("{major}.{minor:02} ({source})");
    Some(match version(&found) {
        None => FIRMWARE.ok(
            &port.name,
            format!("{found}; known to work: {wanted}{notes}"),
        ),
        Some(version) if version < (major, minor) => {
            let text = format!("{found} is older than {wanted}{notes}");
            FIRMWARE.warning(&port.name, text, "nvmupdate64e # Intel's NVM Update Tool")
        }
        Some(_) => FIRMWARE.ok(&port.name, format!("{found}, at least {wanted}{notes}")),
    })
}

fn package(case: &Case<'_>, port: &Port, model: &'static Model) -> Option<Finding> {
    if model.driver != "net_ice" {
        return None;
    }
    let found = PACKAGES.iter().find(|file| {
        // Distributions keep it compressed, which the kernel reads and DPDK does not.
        case.system.has(file)
    });
    Some(match found {
        Some(file) => PACKAGE.ok(&port.name, format!("/{file}")),
        None => PACKAGE.warning(
            &port.name,
            "no ice.pkg where DPDK looks for it",
            "apt-get install firmware-misc-nonfree",
        ),
    })
}

fn lanes(case: &Case<'_>, port: &Port, device: &Device) -> Option<Finding> {
    let [now, most] = device.lanes(case.system)?;
    let text = format!(
        "{now}, {:.0} Gbit/s; the adapter can {most}",
        now.gigabits()
    );
    // Half of it is lost to nobody when the port is slow; the adapter's own speed counts.
    match now.gigabits() < most.gigabits() {
        false => Some(LANES.ok(&port.name, text)),
        true => {
            let command = format!("lspci -vv -s {} | grep Lnk", device.address);
            Some(LANES.warning(&port.name, text, command))
        }
    }
}
