//! Asks DPDK what the ports of the configuration can do.

use super::case::{Case, Port};
use super::system::{Abilities, Survey, System};
use crate::capture::dpdk::{self, Settings};
use crate::config::Config;
use std::collections::BTreeMap;

/// Drivers of the kernel under which a device has one user or none: opening it again disturbs
/// nobody. Under the others (`igb_uio`, `uio_pci_generic`) a second program resets it.
const SAFE: [&str; 2] = ["vfio-pci", "mlx5_core"];

/// What each port can do, or why that is not known. Starts DPDK, once per process.
pub(super) fn of(system: &System, config: &Config) -> Survey {
    let case = Case::new(system, config, None);
    let (asked, left): (Vec<&Port>, Vec<&Port>) = case
        .ports
        .iter()
        .filter(|port| port.configured)
        .partition(|port| is_safe(port));
    let mut config = config.clone();
    config.capture.ports = asked.iter().map(|port| port.device.clone()).collect();
    let mut ports: BTreeMap<String, Result<Abilities, String>> = BTreeMap::new();
    for port in left {
        ports.insert(port.name.clone(), Err(reason(port)));
    }
    if asked.is_empty() {
        return Survey::Ports(ports);
    }
    match dpdk::survey(&Settings::new(&config)) {
        Err(error) => Survey::Failed(error.to_string()),
        Ok(found) => {
            for (port, result) in asked.iter().zip(found) {
                let result = result
                    .map(Abilities::from)
                    .map_err(|error| error.to_string());
                ports.insert(port.name.clone(), result);
            }
            Survey::Ports(ports)
        }
    }
}

fn is_safe(port: &Port) -> bool {
    use super::case::Kind;
    match &port.kind {
        Kind::Pci(None) | Kind::Unknown => false,
        Kind::Pci(Some(device)) => {
            let driver = device.driver.as_deref();
            driver.is_some_and(|driver| SAFE.contains(&driver))
        }
        // A second device of this name would take the first one's place.
        Kind::Other => !port.name.starts_with("net_tap") && !port.name.starts_with("net_memif"),
        Kind::Interface(_) | Kind::Files(_) => true,
    }
}

fn reason(port: &Port) -> String {
    match port.pci().and_then(|device| device.driver.as_deref()) {
        Some(driver) => format!("not asked: under {driver} that is not safe, or not possible"),
        None => "not asked".to_owned(),
    }
}

impl From<dpdk_sys::DeviceInfo> for Abilities {
    fn from(info: dpdk_sys::DeviceInfo) -> Self {
        let hashes = info.hashed.iter().any(|hashed| hashed.tcp || hashed.udp);
        Self {
            driver: info.driver,
            node: info.node,
            queues: info.queues_max,
            descriptors: match info.descriptors_max {
                // DPDK's word for no limit.
                u16::MAX => 0,
                limit => limit,
            },
            descriptors_multiple: info.descriptors_multiple,
            key_bytes: info.hash_key_bytes,
            redirection_entries: info.redirection_entries,
            hashes,
            firmware: info.firmware,
        }
    }
}

/// What the ports of a run that has asked them say.
pub(in crate::control) fn asked<'d>(
    devices: impl Iterator<Item = &'d dpdk_sys::DeviceInfo>,
    config: &Config,
) -> Survey {
    let names = config.capture.ports.iter();
    let names = names.map(|port| port.split(',').next().unwrap_or(port).to_owned());
    let all = names.zip(devices.map(|info| Ok(Abilities::from(info.clone()))));
    Survey::Ports(all.collect())
}
