//! PCI devices as sysfs describes them.

use super::system::System;

/// Base class and subclass of Ethernet controllers in the PCI code and ID assignment specification.
const ETHERNET: u32 = 0x0200;

/// Where Linux has a folder for each device.
const FOLDER: &str = "sys/bus/pci/devices";

/// A PCI device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// With its domain: `0000:3b:00.0`.
    pub address: String,
    /// Who made it.
    pub vendor: u16,
    /// What it is, by number of the vendor.
    pub device: u16,
    /// The kernel's driver that has it; none when none has.
    pub driver: Option<String>,
    /// NUMA node; none when the machine has none or does not say.
    pub node: Option<u16>,
    /// Network interfaces that the kernel's driver makes of it.
    pub interfaces: Vec<String>,
    /// IOMMU group; none without an IOMMU.
    pub group: Option<String>,
}

/// Speed in gigatransfers a second, and number of lanes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lanes {
    /// Gigatransfers a second of each lane: 2.5, 5, 8, 16, 32.
    pub speed: f64,
    /// Lanes.
    pub width: u32,
}

impl Lanes {
    /// Gigabits a second of payload in one direction: the coding of the line takes a fifth below
    /// 8 GT/s and 1.5 % from there on (PCI Express Base Specification, 4.2).
    pub fn gigabits(&self) -> f64 {
        let coding = if self.speed < 8.0 { 0.8 } else { 128.0 / 130.0 };
        self.speed * coding * f64::from(self.width)
    }
}

impl std::fmt::Display for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} GT/s x{}", self.speed, self.width)
    }
}

impl Device {
    /// The device with this address, with or without a domain; none when there is none.
    pub fn read(system: &System, address: &str) -> Option<Self> {
        let address = with_domain(address);
        let folder = format!("{FOLDER}/{address}");
        let id = |name| {
            let id = system.hexadecimal(&format!("{folder}/{name}"));
            id.and_then(|id| u16::try_from(id).ok())
        };
        Some(Self {
            vendor: id("vendor")?,
            device: id("device")?,
            driver: system.link(&format!("{folder}/driver")),
            // -1 where there is none.
            node: system
                .number(&format!("{folder}/numa_node"))
                .and_then(|node| u16::try_from(node).ok()),
            interfaces: interfaces(system, &folder),
            group: system.link(&format!("{folder}/iommu_group")),
            address,
        })
    }

    /// Ethernet controllers, by address.
    pub fn ethernet(system: &System) -> Vec<Self> {
        let is_ethernet = |address: &String| {
            let class = system.hexadecimal(&format!("{FOLDER}/{address}/class"));
            class.is_some_and(|class| class >> 8 == ETHERNET)
        };
        let addresses = system.names(FOLDER).into_iter().filter(is_ethernet);
        addresses
            .filter_map(|address| Self::read(system, &address))
            .collect()
    }

    /// Its connection as it is, and as it could be; none for a device on no PCI Express slot.
    pub fn lanes(&self, system: &System) -> Option<[Lanes; 2]> {
        let lanes = |which: &str| {
            let text = |what: &str| {
                let path = format!("{FOLDER}/{}/{which}_link_{what}", self.address);
                system.text(&path)
            };
            let speed = text("speed")?;
            Some(Lanes {
                speed: speed.split_whitespace().next()?.parse().ok()?,
                width: text("width")?.parse().ok().filter(|width| *width > 0)?,
            })
        };
        Some([lanes("current")?, lanes("max")?])
    }

    /// Other devices of its IOMMU group that a driver of the kernel holds, with their drivers:
    /// while there are any, no program gets the group. Bridges do not count.
    pub fn others_of_group(&self, system: &System) -> Vec<(String, String)> {
        let folder = format!("{FOLDER}/{}/iommu_group/devices", self.address);
        let mut others = Vec::new();
        for address in system.names(&folder) {
            let driver = system.link(&format!("{FOLDER}/{address}/driver"));
            let of_user = |driver: &String| {
                driver.starts_with("vfio") || driver == "pcieport" || driver == "pci-stub"
            };
            if let Some(driver) = driver.filter(|driver| !of_user(driver))
                && address != self.address
            {
                others.push((address, driver));
            }
        }
        others
    }
}

/// `0000:01:00.0` for `01:00.0`.
pub fn with_domain(address: &str) -> String {
    let address = address.to_ascii_lowercase();
    match address.matches(':').count() {
        1 => format!("0000:{address}"),
        _ => address,
    }
}

/// Interfaces in the folder of the device, or one below: virtio has a device of its own between.
fn interfaces(system: &System, folder: &str) -> Vec<String> {
    let mut found = system.names(&format!("{folder}/net"));
    let below = system.names(folder).into_iter();
    for name in below.filter(|name| name.starts_with("virtio")) {
        found.extend(system.names(&format!("{folder}/{name}/net")));
    }
    found
}
