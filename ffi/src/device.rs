//! From a device that EAL found to a port that receives.

use crate::eal::{Claim, Eal};
use crate::error::{Error, check};
use crate::mempool::Mempool;
use crate::port::{Port, Stamp, text, text_at, watch_removal};
use crate::queue::RxQueue;
use crate::spread::{self, HashKey, Hashed, Rss};
use crate::sys;
use memory::pool::buffers_needed;
use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// Drivers whose receive time is the time of day, with the nanoseconds in one unit of it. Others
/// count ticks of a clock of their own, or stamp nothing.
const STAMPING_DRIVERS: [(&CStr, u64); 1] = [(c"net_pcap", 1_000)];

/// Ethernet header, two VLAN tags and the checksum: what a frame has beside its MTU.
const FRAME_OVERHEAD: u32 = 26;

/// Ethernet header and checksum.
const ETHERNET_OVERHEAD: u32 = 18;

/// Key length of ports that do not report one: that of the first ports with receive side scaling.
const KEY_LENGTH_DEFAULT: u8 = 40;

/// What the driver says of a device.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name in EAL: a PCI address or the name of a virtual device.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Index of the network interface that it sits on, 0 for none.
    pub interface: u32,
    /// NUMA node; none when it has none or the machine does not say.
    pub node: Option<u16>,
    /// Receive queues that it can have.
    pub queues_max: u16,
    /// Largest MTU.
    pub mtu_max: u16,
    /// Receive descriptors that a queue can have.
    pub descriptors_max: u16,
    /// Their number is a multiple of this, 0 or 1 where any number will do.
    pub descriptors_multiple: u16,
    /// Bytes of the key of its receive hash; 0 where it has none, or does not say.
    pub hash_key_bytes: u8,
    /// Entries of its redirection table; 0 where it has none, or does not say yet.
    pub redirection_entries: u16,
    /// What it can hash of IPv4, and of IPv6.
    pub hashed: [Hashed; 2],
    /// Version of its firmware as the driver writes it; empty where it does not say.
    pub firmware: String,
}

/// How a port shall receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RxConfig {
    /// Receive queues.
    pub queues: u16,
    /// Descriptors per queue; adjusted to the limits of the driver.
    pub descriptors: u16,
    /// Fewest buffers in the pool; more are taken when the queues need them.
    pub buffers: u32,
    /// Frame bytes in one buffer; longer frames come as a chain and are copied once.
    pub buffer_bytes: u16,
    /// Largest MTU that the port accepts; lowered to what it can.
    pub mtu: u16,
    /// Longest frame that is put together from a chain.
    pub frame_bytes_max: u32,
    /// Receive frames for every address.
    pub promiscuous: bool,
}

/// A device that is not configured yet.
#[derive(Debug)]
pub struct Device {
    id: u16,
    info: DeviceInfo,
    claim: Claim,
}

impl Device {
    /// Find a device by its name, its PCI address (with or without the domain) or its index.
    ///
    /// # Errors
    /// EAL does not know it, or it is open already.
    pub fn open(eal: &Eal, device: &str) -> Result<Self, Error> {
        let id = find(device)?;
        let claim = eal.claim(id).ok_or_else(|| Error::Busy {
            device: device.to_owned(),
        })?;
        let raw = raw_info(id, device)?;
        // SAFETY: the port is valid; -1 stands for no NUMA node.
        let node = unsafe { sys::rte_eth_dev_socket_id(id) };
        let info = DeviceInfo {
            name: name_of(id),
            // SAFETY: the driver's name is a constant string or null.
            driver: unsafe { text_at(raw.driver_name) },
            interface: raw.if_index,
            node: u16::try_from(node).ok(),
            queues_max: raw.max_rx_queues,
            mtu_max: raw.max_mtu,
            descriptors_max: raw.rx_desc_lim.nb_max,
            descriptors_multiple: raw.rx_desc_lim.nb_align,
            hash_key_bytes: raw.hash_key_size,
            redirection_entries: raw.reta_size,
            hashed: Hashed::of(raw.flow_type_rss_offloads),
            firmware: firmware_of(id),
        };
        Ok(Self { id, info, claim })
    }

    /// What the driver says of it.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Configure and start it; returns the port and its queues in order. Several queues spread
    /// frames by a hash under `key`.
    ///
    /// # Errors
    /// It cannot be configured so, there is no memory for the buffers, or the driver fails.
    pub fn start(
        self,
        config: &RxConfig,
        key: &HashKey,
    ) -> Result<(Arc<Port>, Vec<RxQueue>), Error> {
        let name = self.info.name.clone();
        let raw = raw_info(self.id, &name)?;
        if config.queues == 0 || config.queues > raw.max_rx_queues {
            return Err(Error::Unsupported {
                reason: format!(
                    "{} receive queues are configured, but {} has 1 to {}",
                    config.queues, self.info.driver, raw.max_rx_queues
                ),
                device: name,
            });
        }
        let mut plan = Plan::new(config, &raw, stamp_unit(&raw), key);
        let (descriptors, tx_descriptors) = adjust_descriptors(self.id, &name, config.descriptors)?;
        let pool = Mempool::new(
            self.claim.eal(),
            &format!("wirelynx_rx_{}", self.id),
            config
                .buffers
                .max(buffers_needed(config.queues, descriptors)),
            config.buffer_bytes,
            self.info.node,
        )?;
        // From here on the port exists, and dropping it on an error closes it.
        let mut port = Port {
            id: self.id,
            info: self.info,
            queues: config.queues,
            descriptors,
            rss: Rss::Single,
            redirection: Vec::new(),
            promiscuous: false,
            stamp: Stamp::NONE,
            removed: Arc::new(AtomicBool::new(false)),
            control: Mutex::new(()),
            pool,
            _claim: self.claim,
        };
        let _ = watch_removal(port.id, &port.removed);
        let tx_queues = plan.configure(&port)?;
        set_up_queues(
            &port,
            &raw,
            plan.conf.rxmode.offloads,
            (tx_queues, tx_descriptors),
        )?;
        port.promiscuous = config.promiscuous && receive_everything(port.id);
        // SAFETY: the port is configured and its queues are set up.
        check(&name, "start the port", unsafe {
            sys::rte_eth_dev_start(port.id)
        })?;
        // Only now: some drivers write the key to the device when it starts.
        port.rss = spread::symmetric(&port, plan.conf.rx_adv_conf.rss_conf, &mut plan.key, key)?;
        // Some drivers know its size only now.
        port.redirection = spread::redirection(port.id, raw_info(port.id, &name)?.reta_size);
        port.stamp = Stamp::of(plan.stamp_nanos);

        let port = Arc::new(port);
        let queues = (0..config.queues)
            .map(|queue| RxQueue::new(Arc::clone(&port), queue, config.frame_bytes_max))
            .collect();
        Ok((port, queues))
    }
}

impl Stamp {
    const NONE: Self = Self {
        offset: -1,
        flag: 0,
        nanos: 0,
    };

    /// Where the driver stores receive times, when its unit is known.
    fn of(nanos: Option<u64>) -> Self {
        let Some(nanos) = nanos else {
            return Self::NONE;
        };
        // SAFETY: the names are strings; a null second argument is allowed.
        let (offset, bit) = unsafe {
            (
                sys::rte_mbuf_dynfield_lookup(c"rte_dynfield_timestamp".as_ptr(), ptr::null_mut()),
                sys::rte_mbuf_dynflag_lookup(c"rte_dynflag_rx_timestamp".as_ptr(), ptr::null_mut()),
            )
        };
        match u32::try_from(bit)
            .ok()
            .and_then(|bit| 1_u64.checked_shl(bit))
        {
            Some(flag) if offset >= 0 => Self {
                offset,
                flag,
                nanos,
            },
            _ => Self::NONE,
        }
    }
}

/// The configuration that a port gets, and what it was made from.
struct Plan {
    conf: sys::rte_eth_conf,
    /// The key that `conf` points to.
    key: Vec<u8>,
    stamp_nanos: Option<u64>,
}

impl Plan {
    fn new(
        config: &RxConfig,
        raw: &sys::rte_eth_dev_info,
        stamp_nanos: Option<u64>,
        hash_key: &HashKey,
    ) -> Self {
        // SAFETY: a structure of numbers, unions of numbers and nullable pointers; zero is the
        // value that DPDK's own examples start from.
        let mut conf: sys::rte_eth_conf = unsafe { MaybeUninit::zeroed().assume_init() };
        let scatters = raw.rx_offload_capa & sys::SHIM_OFFLOAD_SCATTER != 0;
        let fits = u32::from(config.buffer_bytes).saturating_sub(FRAME_OVERHEAD);
        let mut mtu = u32::from(config.mtu).min(mtu_limit(raw));
        let mut wanted = 0;
        if mtu > fits {
            if scatters {
                wanted |= sys::SHIM_OFFLOAD_SCATTER;
            } else {
                mtu = fits;
            }
        }
        conf.rxmode.mtu = mtu;
        if stamp_nanos.is_some() {
            wanted |= sys::SHIM_OFFLOAD_TIMESTAMP;
        }
        let mut key = Vec::new();
        let types = raw.flow_type_rss_offloads & sys::SHIM_HASH_TYPES;
        if config.queues > 1 && types != 0 {
            let length = match raw.hash_key_size {
                0 => KEY_LENGTH_DEFAULT,
                length => length,
            };
            key = (hash_key.make)(usize::from(length));
            conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_key_len = length;
            conf.rx_adv_conf.rss_conf.rss_hf = types;
            wanted |= sys::SHIM_OFFLOAD_RSS_HASH;
        }
        conf.rxmode.offloads = wanted & raw.rx_offload_capa;
        Self {
            conf,
            key,
            stamp_nanos,
        }
    }

    /// Hand the configuration to the driver; returns the transmit queues that it insisted on.
    ///
    /// The appliance sends nothing, but some drivers want a transmit queue beside each receive
    /// queue, and some refuse any MTU but their own.
    fn configure(&mut self, port: &Port) -> Result<u16, Error> {
        let mtu = self.conf.rxmode.mtu;
        let mut code = 0;
        for (tx_queues, mtu) in [(0, mtu), (port.queues, mtu), (0, 0), (port.queues, 0)] {
            self.conf.rxmode.mtu = mtu;
            self.conf.rx_adv_conf.rss_conf.rss_key = match self.key.is_empty() {
                true => ptr::null_mut(),
                false => self.key.as_mut_ptr(),
            };
            // SAFETY: the port is claimed and not started; the configuration and the key that it
            // points to live during the call, which copies them.
            code = unsafe {
                sys::rte_eth_dev_configure(port.id, port.queues, tx_queues, &raw const self.conf)
            };
            if code == 0 {
                return Ok(tx_queues);
            }
        }
        check(port.name(), "configure the port", code).map(|()| 0)
    }
}

/// Index of the device with this name, address or number.
fn find(device: &str) -> Result<u16, Error> {
    if let Ok(index) = device.parse::<u16>() {
        // SAFETY: any number may be asked about.
        if unsafe { sys::rte_eth_dev_is_valid_port(index) } != 0 {
            return Ok(index);
        }
    }
    for name in [device.to_owned(), format!("0000:{device}")] {
        let c_name = CString::new(name.as_str()).map_err(|_| Error::NulByte(name.clone()))?;
        let mut id = 0;
        // SAFETY: the name is a valid string and the pointer valid.
        if unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) } == 0 {
            return Ok(id);
        }
    }
    Err(Error::NoDevice {
        device: device.to_owned(),
        known: ids().map(name_of).collect(),
    })
}

/// Every port that EAL has.
fn ids() -> impl Iterator<Item = u16> {
    let next = |from: u16| {
        // SAFETY: walks a fixed table; owner 0 is the default that nobody claimed.
        let id = unsafe { sys::rte_eth_find_next_owned_by(from, 0) };
        u16::try_from(id)
            .ok()
            .filter(|&id| u32::from(id) < sys::RTE_MAX_ETHPORTS)
    };
    std::iter::successors(next(0), move |&id| next(id + 1))
}

fn name_of(id: u16) -> String {
    /// RTE_ETH_NAME_MAX_LEN
    const LENGTH: usize = 64;
    let mut name: [c_char; LENGTH] = [0; LENGTH];
    // SAFETY: the buffer has the size that the function requires.
    let code = unsafe { sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    if code == 0 {
        text(&name)
    } else {
        id.to_string()
    }
}

/// Version of the firmware; empty where the driver does not say.
fn firmware_of(id: u16) -> String {
    let mut version = [0; 128];
    // SAFETY: the port is valid, and the text has room for the length that is passed.
    let code = unsafe { sys::rte_eth_dev_fw_version_get(id, version.as_mut_ptr(), version.len()) };
    match code {
        0 => text(&version),
        _ => String::new(),
    }
}

fn raw_info(id: u16, device: &str) -> Result<sys::rte_eth_dev_info, Error> {
    let mut info = MaybeUninit::<sys::rte_eth_dev_info>::zeroed();
    // SAFETY: the pointer is valid; zero is a valid value of every field, also after a failure.
    let (code, info) = unsafe {
        let code = sys::rte_eth_dev_info_get(id, info.as_mut_ptr());
        (code, info.assume_init())
    };
    check(device, "ask the driver about the device", code)?;
    Ok(info)
}

/// Largest MTU within both limits of the device, on the MTU and on the frame; their difference
/// is what the driver counts as header, unless it set no limit on the MTU at all.
fn mtu_limit(raw: &sys::rte_eth_dev_info) -> u32 {
    let mtu = u32::from(raw.max_mtu);
    let header = match raw.max_rx_pktlen.checked_sub(mtu) {
        Some(header) if raw.max_mtu != u16::MAX => header,
        _ => ETHERNET_OVERHEAD,
    };
    mtu.min(raw.max_rx_pktlen.saturating_sub(header))
}

/// Nanoseconds per unit of the driver's receive times, when they are times of day.
fn stamp_unit(raw: &sys::rte_eth_dev_info) -> Option<u64> {
    // SAFETY: the driver's name is a constant string or null.
    let driver = unsafe { text_at(raw.driver_name) };
    STAMPING_DRIVERS
        .iter()
        .find(|(name, _)| name.to_bytes() == driver.as_bytes())
        .map(|&(_, nanos)| nanos)
}

/// Descriptors of receive and transmit queues within the limits of the driver.
fn adjust_descriptors(id: u16, name: &str, wanted: u16) -> Result<(u16, u16), Error> {
    let (mut receive, mut transmit) = (wanted, 0);
    // SAFETY: the port is claimed and both pointers are valid.
    let code =
        unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &raw mut receive, &raw mut transmit) };
    check(name, "adjust the number of descriptors", code)?;
    Ok((receive, transmit))
}

fn set_up_queues(
    port: &Port,
    raw: &sys::rte_eth_dev_info,
    offloads: u64,
    (tx_queues, tx_descriptors): (u16, u16),
) -> Result<(), Error> {
    let mut rx = raw.default_rxconf;
    rx.offloads = offloads;
    for queue in 0..port.queues {
        let code = near(port.info.node, |node| {
            // SAFETY: the port is configured with this many queues; the pool outlives it, since
            // the port owns it and is closed before its fields are dropped.
            unsafe {
                sys::rte_eth_rx_queue_setup(
                    port.id,
                    queue,
                    port.descriptors,
                    node,
                    &raw const rx,
                    port.pool.as_ptr(),
                )
            }
        });
        check(port.name(), "set up a receive queue", code)?;
    }
    for queue in 0..tx_queues {
        let code = near(port.info.node, |node| {
            // SAFETY: as above; a null configuration asks for the default.
            unsafe {
                sys::rte_eth_tx_queue_setup(port.id, queue, tx_descriptors, node, ptr::null())
            }
        });
        check(port.name(), "set up a transmit queue", code)?;
    }
    Ok(())
}

/// Make something on a NUMA node, or on any one when that has no memory left: slow is better than
/// not at all.
fn near(node: Option<u16>, make: impl Fn(u32) -> c_int) -> c_int {
    /// SOCKET_ID_ANY, in the type of the calls that take it.
    const ANY: u32 = u32::MAX;
    let code = make(node.map_or(ANY, u32::from));
    if code == -libc::ENOMEM && node.is_some() {
        return make(ANY);
    }
    code
}

/// Ask for frames to every address; false when the driver cannot (virtual ones receive all anyway).
fn receive_everything(id: u16) -> bool {
    // SAFETY: the port is configured.
    let codes: [c_int; 2] = unsafe {
        [
            sys::rte_eth_promiscuous_enable(id),
            sys::rte_eth_allmulticast_enable(id),
        ]
    };
    codes.first() == Some(&0)
}
