//! How a port spreads frames over its queues.

use crate::error::Error;
use crate::port::Port;
use crate::sys;

/// Entries of a redirection table that are read at most; the largest of a known port has 2,048.
const ENTRIES_MAX: u16 = 4_096;

/// Entries of one group of `rte_eth_rss_reta_entry64`.
const GROUP: usize = 64;

/// How frames are spread over the queues of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rss {
    /// One queue: nothing to spread.
    Single,
    /// By a hash that is equal for both directions of a flow.
    Symmetric {
        /// What is hashed of IPv4, and of IPv6.
        hashed: [Hashed; 2],
        /// The key in force.
        key: Vec<u8>,
    },
    /// By whatever the driver does; it offers no hash.
    Driver,
}

/// What a port hashes of the packets of one IP version.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// Addresses and ports of TCP.
    pub tcp: bool,
    /// Addresses and ports of UDP.
    pub udp: bool,
    /// The addresses of packets for which nothing else holds.
    pub addresses: bool,
}

impl Hashed {
    /// Of IPv4 and IPv6, from RTE_ETH_RSS_* bits.
    pub(crate) fn of(types: u64) -> [Self; 2] {
        let has = |bits: u64| types & bits != 0;
        [
            Self {
                tcp: has(sys::SHIM_HASH_TCP4),
                udp: has(sys::SHIM_HASH_UDP4),
                addresses: has(sys::SHIM_HASH_IPV4),
            },
            Self {
                tcp: has(sys::SHIM_HASH_TCP6),
                udp: has(sys::SHIM_HASH_UDP6),
                addresses: has(sys::SHIM_HASH_IPV6),
            },
        ]
    }
}

/// The key under which a port hashes.
#[derive(Debug, Clone, Copy)]
pub struct HashKey {
    /// Makes one of so many bytes.
    pub make: fn(usize) -> Vec<u8>,
    /// Gives this key, which is in force in a port, equal hashes to both directions of a flow?
    pub is_symmetric: fn(&[u8]) -> bool,
}

/// How a started port spreads frames; checks in software that the key in force is symmetric.
pub(crate) fn symmetric(
    port: &Port,
    conf: sys::rte_eth_rss_conf,
    key: &mut [u8],
    wanted: &HashKey,
) -> Result<Rss, Error> {
    if port.queues == 1 {
        return Ok(Rss::Single);
    }
    if key.is_empty() {
        return Ok(Rss::Driver);
    }
    let mut in_force = key_in_force(port.id, conf, key);
    if !(wanted.is_symmetric)(&in_force) {
        // Some drivers take the key by this call only.
        let mut conf = conf;
        conf.rss_key = key.as_mut_ptr();
        // SAFETY: the port is started; the key has the length that is passed and is copied.
        let _ = unsafe { sys::rte_eth_dev_rss_hash_update(port.id, &raw mut conf) };
        in_force = key_in_force(port.id, conf, key);
    }
    if !(wanted.is_symmetric)(&in_force) {
        return Err(Error::Unsupported {
            device: port.name().to_owned(),
            reason: "the driver replaced the symmetric hash key, so the two directions of a flow \
                     would reach different queues: configure one queue"
                .to_owned(),
        });
    }
    Ok(Rss::Symmetric {
        hashed: Hashed::of(conf.rss_hf),
        key: in_force,
    })
}

/// The key that is really in the port; ours, where the driver does not let it be read.
fn key_in_force(id: u16, mut conf: sys::rte_eth_rss_conf, ours: &[u8]) -> Vec<u8> {
    let mut key = vec![0; ours.len()];
    conf.rss_key = key.as_mut_ptr();
    // SAFETY: the port is started; the key has room for the length that is passed, which is the one
    // that the port reports.
    let code = unsafe { sys::rte_eth_dev_rss_hash_conf_get(id, &raw mut conf) };
    if code < 0 || key.iter().all(|&byte| byte == 0) {
        return ours.to_vec();
    }
    key
}

/// The redirection table of a started port that has `entries`; empty where the driver has no
/// answer.
pub(crate) fn redirection(id: u16, entries: u16) -> Vec<u16> {
    let groups = usize::from(entries).div_ceil(GROUP);
    if entries == 0 || entries > ENTRIES_MAX {
        return Vec::new();
    }
    // A set bit asks for its entry.
    let empty = sys::rte_eth_rss_reta_entry64 {
        mask: u64::MAX,
        reta: [0; GROUP],
    };
    let mut table = vec![empty; groups];
    // SAFETY: the port is started and the array has the groups that so many entries take.
    let code = unsafe { sys::rte_eth_dev_rss_reta_query(id, table.as_mut_ptr(), entries) };
    if code != 0 {
        return Vec::new();
    }
    let all = table.iter().flat_map(|group| group.reta);
    all.take(usize::from(entries)).collect()
}
