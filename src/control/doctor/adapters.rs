//! Network adapters by PCI id: what is known of them before, or without, asking them.
//!
//! Ids: `i40e_devids.h`, `ixgbe_type.h`, `ice_devids.h`, `e1000_hw.h` and `mlx5.h` of DPDK. Limits:
//! the drivers of DPDK 22.11 and its guides, and the data sheets of 82599 and 82576, where the
//! redirection table has four and three bits for a queue.

/// Adapters that are alike.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// As it is sold.
    pub name: &'static str,
    /// PCI vendor.
    pub vendor: u16,
    /// PCI devices.
    devices: &'static [u16],
    /// Its driver in DPDK.
    pub driver: &'static str,
    /// Its driver in the kernel, to give it back to.
    pub kernel_driver: &'static str,
    /// Receive queues over which it spreads flows by a hash; 0 where the driver has to be asked.
    pub queues: u16,
    /// Receive descriptors of each queue; 0 where the driver has to be asked.
    pub descriptors: u16,
    /// Their number is a multiple of this.
    pub descriptors_multiple: u16,
    /// Bytes of the key of the receive hash; 0 where the driver has to be asked.
    pub key_bytes: u8,
    /// Entries of the redirection table; 0 where the driver has to be asked.
    pub redirection_entries: u16,
    /// Firmware that DPDK 22.11 was tested with, major and minor, and who says so.
    pub firmware: Option<((u32, u32), &'static str)>,
    /// It stays with its kernel driver, beside which DPDK works.
    pub keeps_kernel_driver: bool,
    /// What one has to know.
    pub notes: &'static [&'static str],
}

/// All that are known.
pub const MODELS: [Model; 6] = [
    Model {
        name: "Intel X710/XL710/XXV710",
        vendor: 0x8086,
        devices: &[
            0x0cf8, 0x0d58, 0x104e, 0x104f, 0x1572, 0x1574, 0x1580, 0x1581, 0x1583, 0x1584, 0x1585,
            0x1586, 0x1587, 0x1588, 0x1589, 0x158a, 0x158b, 0x15ff,
        ],
        driver: "net_i40e",
        kernel_driver: "i40e",
        queues: 64,
        descriptors: 8_160,
        descriptors_multiple: 32,
        key_bytes: 52,
        redirection_entries: 512,
        firmware: Some(((9, 1), "DPDK 22.11, i40e guide, matching list")),
        keeps_kernel_driver: false,
        notes: &[
            "about 37 million frames a second for the whole device below 160 bytes",
            "missed frames are counted by port, not by queue",
            "its link can take 9 s",
        ],
    },
    Model {
        name: "Intel X520 (82599) and X540",
        vendor: 0x8086,
        devices: &[
            0x10f7, 0x10f8, 0x10f9, 0x10fb, 0x10fc, 0x1507, 0x1514, 0x1517, 0x151c, 0x1528, 0x1529,
            0x152a, 0x154a, 0x154d, 0x154f, 0x1557, 0x1558, 0x1560,
        ],
        driver: "net_ixgbe",
        kernel_driver: "ixgbe",
        queues: 16,
        descriptors: 8_192,
        descriptors_multiple: 8,
        key_bytes: 40,
        redirection_entries: 128,
        firmware: None,
        keeps_kernel_driver: false,
        notes: &["no receive hash for frames with two VLAN tags"],
    },
    Model {
        name: "Intel E810",
        vendor: 0x8086,
        devices: &[0x1591, 0x1592, 0x1593, 0x1599, 0x159a, 0x159b],
        driver: "net_ice",
        kernel_driver: "ice",
        queues: 0,
        descriptors: 8_160,
        descriptors_multiple: 32,
        key_bytes: 52,
        redirection_entries: 0,
        firmware: Some(((4, 10), "DPDK 22.11, ice guide, matching list")),
        keeps_kernel_driver: false,
        notes: &["with two ports under load, one can cost the other packets"],
    },
    Model {
        name: "NVIDIA ConnectX-4 and later",
        vendor: 0x15b3,
        devices: &[
            0x1013, 0x1014, 0x1015, 0x1016, 0x1017, 0x1018, 0x1019, 0x101a, 0x101b, 0x101c, 0x101d,
            0x101e, 0x101f, 0x1021, 0xa2d2, 0xa2d3, 0xa2d6, 0xa2dc,
        ],
        driver: "mlx5_pci",
        kernel_driver: "mlx5_core",
        queues: 0,
        descriptors: 0,
        descriptors_multiple: 1,
        key_bytes: 40,
        redirection_entries: 0,
        firmware: None,
        keeps_kernel_driver: true,
        notes: &["stays with its kernel driver, beside which DPDK receives"],
    },
    Model {
        name: "Intel 82576/I350",
        vendor: 0x8086,
        devices: &[
            0x10c9, 0x10e6, 0x10e7, 0x10e8, 0x150a, 0x150d, 0x1518, 0x1521, 0x1522, 0x1523, 0x1524,
            0x1526,
        ],
        driver: "net_e1000_igb",
        kernel_driver: "igb",
        queues: 8,
        descriptors: 4_096,
        descriptors_multiple: 8,
        key_bytes: 40,
        redirection_entries: 128,
        firmware: None,
        keeps_kernel_driver: false,
        notes: &[],
    },
    Model {
        name: "virtio",
        vendor: 0x1af4,
        devices: &[0x1000, 0x1041],
        driver: "net_virtio",
        kernel_driver: "virtio-pci",
        queues: 0,
        descriptors: 0,
        descriptors_multiple: 1,
        key_bytes: 0,
        redirection_entries: 0,
        firmware: None,
        keeps_kernel_driver: false,
        notes: &["the host spreads frames over its queues"],
    },
];

impl Model {
    /// The one with these PCI ids.
    pub fn of(vendor: u16, device: u16) -> Option<&'static Self> {
        let is_it = |model: &&Self| model.vendor == vendor && model.devices.contains(&device);
        MODELS.iter().find(is_it)
    }
}

/// Major and minor version at the start of what a driver says of its firmware: `9.20 0x8000d95a
/// 22.0.9`. Where the minor one has one digit it means tenths, as in `4.1`.
pub fn version(firmware: &str) -> Option<(u32, u32)> {
    let start = firmware.split_whitespace().next()?;
    let mut parts = start.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.len();
    let minor: u32 = minor.parse().ok()?;
    Some((major, if digits == 1 { minor * 10 } else { minor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_by_id() {
        assert_eq!(Model::of(0x8086, 0x1572).unwrap().driver, "net_i40e");
        assert_eq!(Model::of(0x8086, 0x10fb).unwrap().driver, "net_ixgbe");
        assert_eq!(Model::of(0x8086, 0x159b).unwrap().driver, "net_ice");
        assert!(Model::of(0x15b3, 0x101d).unwrap().keeps_kernel_driver);
        assert_eq!(Model::of(0x1af4, 0x1572), None);
        let ids = MODELS.iter().flat_map(|model| {
            let ids = model.devices.iter();
            ids.map(|id| (model.vendor, *id))
        });
        let mut ids: Vec<_> = ids.collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "each id once");
    }

    #[test]
    fn versions_of_firmware() {
        assert_eq!(version("9.20 0x8000d95a 22.0.9"), Some((9, 20)));
        assert_eq!(version("9.01"), Some((9, 1)));
        assert_eq!(version("4.1 x"), Some((4, 10)));
        assert_eq!(version("8.30 0x8000a4ae 1.2926.0"), Some((8, 30)));
        assert_eq!(version("0x800003e7"), None);
        assert_eq!(version(""), None);
    }
}
