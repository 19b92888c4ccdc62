//! What makes packets one flow: the five-tuple of the innermost IP packet, the same for both
//! directions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP protocol numbers with ports, or with something that Community ID maps to ports.
pub(super) mod protocol {
    pub(in crate::flow) const ICMP: u8 = 1;
    pub(in crate::flow) const TCP: u8 = 6;
    pub(in crate::flow) const UDP: u8 = 17;
    pub(in crate::flow) const ICMPV6: u8 = 58;
    pub(in crate::flow) const SCTP: u8 = 132;
}

/// A five-tuple in canonical order: five words, compared and hashed as such.
///
/// ```text
/// | lower address (2 words) | higher address (2 words) |
/// | lower port (16) | higher port (16) | protocol (8) | version (4), one way (1) | VLAN (16) |
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct Key([u64; 5]);

impl PartialEq for Key {
    /// All words at once: equal keys are the rule where this is asked, so stopping early saves
    /// nothing.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let words = self.0.iter().zip(&other.0);
        words.fold(0, |differ, (own, other)| differ | (own ^ other)) == 0
    }
}

impl Eq for Key {}

/// Bit of the last word that keeps the versions of IP apart (4 and 6 differ in it).
const VERSION_SHIFT: u32 = 40;
const VLAN_SHIFT: u32 = 48;

impl Key {
    pub(super) const EMPTY: Self = Self([0; 5]);

    /// Key of a packet from the first of `ends` (addresses as two words, the upper one first) to
    /// the second, and whether they are the other way round in the key. A one-way flow keeps their
    /// order.
    #[inline]
    pub(super) fn new(
        ends: [([u64; 2], u16); 2],
        one_way: bool,
        protocol: u8,
        version: u8,
        vlan: u16,
    ) -> (Self, bool) {
        let [(source, source_port), (destination, destination_port)] = ends;
        // Which end is the lower one is a coin toss: a branch on it would be wrong half of the
        // time.
        let rank = |low: u64, port: u16| u128::from(low) << 16 | u128::from(port);
        let below = rank(destination[1], destination_port) < rank(source[1], source_port);
        let lower = (destination[0] < source[0]) | ((destination[0] == source[0]) & below);
        let swap = !one_way & lower;
        let mask = u64::from(swap).wrapping_neg();
        let upper_differ = (source[0] ^ destination[0]) & mask;
        let lower_differ = (source[1] ^ destination[1]) & mask;
        let ports_differ = u64::from(source_port ^ destination_port) & mask;
        let low_port = u64::from(source_port) ^ ports_differ;
        let high_port = u64::from(destination_port) ^ ports_differ;
        let last = low_port
            | high_port << 16
            | u64::from(protocol) << 32
            | u64::from(version) << VERSION_SHIFT
            | u64::from(vlan) << VLAN_SHIFT;
        let words = [
            source[0] ^ upper_differ,
            source[1] ^ lower_differ,
            destination[0] ^ upper_differ,
            destination[1] ^ lower_differ,
            last,
        ];
        (Self(words), swap)
    }

    /// Addresses and ports in the direction from the first end to the second, or the reverse.
    pub(super) fn ends(&self, reverse: bool) -> ((IpAddr, u16), (IpAddr, u16)) {
        let [l0, l1, h0, h1, last] = self.0;
        let first = (self.address(l0, l1), low_u16(last));
        let second = (self.address(h0, h1), low_u16(last >> 16));
        if reverse {
            (second, first)
        } else {
            (first, second)
        }
    }

    /// IP protocol number.
    pub(super) const fn protocol(&self) -> u8 {
        let [.., last] = self.0;
        let [_, _, _, _, protocol, ..] = last.to_le_bytes();
        protocol
    }

    fn address(&self, high: u64, low: u64) -> IpAddr {
        let [.., last] = self.0;
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        if last >> VERSION_SHIFT & 0xf == 4 {
            let [.., a, b, c, d] = bytes;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
    }
}

const fn low_u16(word: u64) -> u16 {
    let [a, b, ..] = word.to_le_bytes();
    u16::from_le_bytes([a, b])
}

fn halves(address: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.to_be_bytes();
    [
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes([i, j, k, l, m, n, o, p]),
    ]
}

/// Ports that Community ID 1.0 gives to a message of ICMP or ICMPv6, and whether it is one-way.
///
/// A request and its answer have each other's type as the other port, so that both are one flow; a
/// message that has no answer has its type and code, and its flow has one direction.
pub(super) const fn icmp_ports(number: u8, kind: u8, code: u8) -> (u16, u16, bool) {
    let counterpart = match (number, kind) {
        // Echo, router discovery, timestamp, information, address mask (RFC 792, 1256, 950).
        (protocol::ICMP, 0) => Some(8),
        (protocol::ICMP, 8) => Some(0),
        (protocol::ICMP, 9) => Some(10),
        (protocol::ICMP, 10) => Some(9),
        (protocol::ICMP, 13 | 15 | 17) => Some(kind.saturating_add(1)),
        (protocol::ICMP, 14 | 16 | 18) => Some(kind.saturating_sub(1)),
        // Echo, router and neighbor discovery, node information, home agent discovery.
        (protocol::ICMPV6, 128 | 130 | 133 | 135 | 139 | 144) => Some(kind.saturating_add(1)),
        (protocol::ICMPV6, 129 | 131 | 134 | 136 | 140 | 145) => Some(kind.saturating_sub(1)),
        _ => None,
    };
    match counterpart {
        Some(other) => (kind as u16, other as u16, false),
        None => (kind as u16, code as u16, true),
    }
}

/// Secret of the flow hash: one 128-bit factor for each word of a key, and a summand.
///
/// The hash is the upper half of `c + sum(a[i] * word[i])` modulo 2^128, a strongly universal
/// family (Thorup, "High Speed Hashing for Integers and Strings", section 3): two keys that were
/// chosen without knowing the secret share any given bits of the hash with the probability of
/// chance. That is what keeps a sender from filling one bucket, at ten multiplications that do not
/// wait for one another; SipHash-1-3, which also withstands an attacker who sees hashes, takes
/// several times as long, and nothing here shows a hash to the outside.
#[derive(Debug, Clone)]
pub(super) struct Secret {
    factors: [u128; 5],
    summand: u128,
}

impl Secret {
    /// Draw the factors from `seed`, which should be random at every start.
    pub(super) fn new(seed: u128) -> Self {
        let mut state = seed;
        let mut draw = || {
            // Two keyed SipHash values a factor: the factors must not tell about one another.
            use std::hash::Hasher as _;
            let [low, high] = halves(seed);
            state = state.wrapping_add(1);
            let word = |salt: u64| {
                let mut hasher = siphasher::sip::SipHasher24::new_with_keys(low, high);
                hasher.write_u128(state);
                hasher.write_u64(salt);
                u128::from(hasher.finish())
            };
            word(0) << 64 | word(1)
        };
        Self {
            factors: [draw(), draw(), draw(), draw(), draw()],
            summand: draw(),
        }
    }

    /// Hash of `key`.
    #[inline]
    pub(super) fn hash(&self, key: &Key) -> u64 {
        let [l0, l1, h0, h1, last] = key.0;
        let [fl0, fl1, fh0, fh1, flast] = self.factors;
        let term = |factor: u128, word: u64| factor.wrapping_mul(u128::from(word));
        let mut sum = self
            .summand
            .wrapping_add(term(fl1, l1))
            .wrapping_add(term(fh1, h1))
            .wrapping_add(term(flast, last));
        // The upper halves of IPv4 addresses are 0 and add nothing.
        if l0 | h0 != 0 {
            sum = sum.wrapping_add(term(fl0, l0)).wrapping_add(term(fh0, h0));
        }
        let [high, _] = halves(sum);
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(words: [u64; 5]) -> Key {
        Key(words)
    }

    #[test]
    fn equal_addresses_are_ordered_by_port() {
        let (a, b) = (([0, 1], 80), ([0, 1], 81));
        let (there, swapped) = Key::new([a, b], false, protocol::TCP, 4, 0);
        let (back, swapped_back) = Key::new([b, a], false, protocol::TCP, 4, 0);
        assert_eq!(there, back);
        assert!(!swapped && swapped_back);
        let one_way = Key::new([b, a], true, protocol::TCP, 4, 0);
        assert!(one_way.0 != there && !one_way.1);
    }

    #[test]
    fn icmp_messages_and_their_answers_share_ports() {
        assert_eq!(icmp_ports(protocol::ICMP, 8, 0), (8, 0, false));
        assert_eq!(icmp_ports(protocol::ICMP, 0, 0), (0, 8, false));
        assert_eq!(icmp_ports(protocol::ICMP, 3, 1), (3, 1, true));
        assert_eq!(icmp_ports(protocol::ICMPV6, 135, 0), (135, 136, false));
    }

    #[test]
    fn the_hash_depends_on_seed_and_on_every_word() {
        let secret = Secret::new(7);
        let base = secret.hash(&key([1, 2, 3, 4, 5]));
        for place in 0..5 {
            let mut words = [1, 2, 3, 4, 5];
            words[place] ^= 1;
            assert_ne!(secret.hash(&key(words)), base, "word {place}");
        }
        assert_ne!(Secret::new(8).hash(&key([1, 2, 3, 4, 5])), base);
    }

    #[test]
    fn keys_that_differ_little_spread_over_buckets() {
        let secret = Secret::new(42);
        let mut buckets = [0_u32; 256];
        for port in 0..65_536_u64 {
            let hash = secret.hash(&key([0, 0x0a00_0001, 0, 0x0a00_0002, port << 16 | 80]));
            buckets[usize::try_from(hash >> 56).unwrap()] += 1;
        }
        let (least, most) = (buckets.iter().min(), buckets.iter().max());
        assert!(
            *least.unwrap() > 128 && *most.unwrap() < 512,
            "{least:?} {most:?}"
        );
    }
}
