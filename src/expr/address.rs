//! Addresses and prefixes as they are written: `192.0.2.1`, `2001:db8::/32`, `00:11:22:33:44:55`.

use crate::dissect::attribute::Type;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// All addresses that begin with the same bits (RFC 4632, section 3.1; RFC 4291, section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// First address and number of common bits, 0 to 32.
    V4(u32, u8),
    /// First address and number of common bits, 0 to 128.
    V6(u128, u8),
}

/// An address or a prefix, as an expression states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    Mac([u8; 6]),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Network(Network),
}

/// What is wrong with a text that was to be an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) message: String,
    pub(super) expected: String,
}

impl Network {
    /// Is this address, of 4 or 16 bytes, one of it?
    pub fn contains(&self, address: &[u8]) -> bool {
        match (*self, address.len()) {
            (Self::V4(first, bits), 4) => {
                let address = <[u8; 4]>::try_from(address).map(u32::from_be_bytes);
                address.is_ok_and(|address| address & mask_v4(bits) == first)
            }
            (Self::V6(first, bits), 16) => {
                let address = <[u8; 16]>::try_from(address).map(u128::from_be_bytes);
                address.is_ok_and(|address| address & mask_v6(bits) == first)
            }
            _ => false,
        }
    }

    /// Its first and last address as numbers.
    pub fn range(&self) -> (u128, u128) {
        match *self {
            Self::V4(first, bits) => (u128::from(first), u128::from(first | !mask_v4(bits))),
            Self::V6(first, bits) => (first, first | !mask_v6(bits)),
        }
    }

    /// How many leading bits its addresses share.
    pub const fn bits(&self) -> u8 {
        match self {
            Self::V4(_, bits) | Self::V6(_, bits) => *bits,
        }
    }

    /// The type of attributes that can be in it.
    pub const fn kind(&self) -> Type {
        match self {
            Self::V4(..) => Type::IpAddr,
            Self::V6(..) => Type::Ip6Addr,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4(first, bits) => write!(f, "{}/{bits}", Ipv4Addr::from_bits(first)),
            Self::V6(first, bits) => write!(f, "{}/{bits}", Ipv6Addr::from_bits(first)),
        }
    }
}

impl Address {
    /// Read an address, or a prefix without bits behind its length.
    ///
    /// # Errors
    /// What it is not, and what would be one.
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let Some(address) = plain(address) else {
            return Err(no_address(address));
        };
        match length {
            None => Ok(address),
            Some(length) => prefix(address, length).map(Self::Network),
        }
    }

    /// The type of attributes that it can be compared with.
    pub(super) const fn kind(&self) -> Type {
        match self {
            Self::Mac(_) => Type::MacAddr,
            Self::V4(_) => Type::IpAddr,
            Self::V6(_) => Type::Ip6Addr,
            Self::Network(network) => network.kind(),
        }
    }
}

fn plain(text: &str) -> Option<Address> {
    if let Some(mac) = mac(text) {
        return Some(Address::Mac(mac));
    }
    match text.contains(':') {
        true => text.parse().ok().map(Address::V6),
        false => text.parse().ok().map(Address::V4),
    }
}

/// Six groups of one or two hexadecimal digits; no IPv6 address has six groups and no `::`.
pub(super) fn mac(text: &str) -> Option<[u8; 6]> {
    let mut parts = text.split([':', '-']);
    let mut bytes = [0; 6];
    for byte in &mut bytes {
        let is_hex = |part: &&str| part.bytes().all(|b| b.is_ascii_hexdigit());
        let part = parts.next().filter(is_hex).filter(|part| part.len() <= 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

fn no_address(text: &str) -> Invalid {
    let (what, expected) = match text.contains(':') {
        true => (
            "neither an IPv6 nor a MAC address",
            "expected an address like 2001:db8::1 or 02:00:00:00:00:01",
        ),
        false => (
            "no IPv4 address",
            "expected four numbers from 0 to 255 without leading zeros, like 192.0.2.1",
        ),
    };
    Invalid {
        message: format!("`{text}` is {what}"),
        expected: expected.to_owned(),
    }
}

fn prefix(address: Address, length: &str) -> Result<Network, Invalid> {
    let most: u8 = match address {
        Address::V4(_) => 32,
        Address::V6(_) => 128,
        Address::Mac(_) | Address::Network(_) => {
            return Err(Invalid {
                message: "a MAC address has no prefix".to_owned(),
                expected: "expected six groups and no `/`".to_owned(),
            });
        }
    };
    let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let bits = length.parse::<u8>().ok();
    let Some(bits) = bits.filter(|bits| is_number && *bits <= most) else {
        return Err(Invalid {
            message: format!("`/{length}` is no length of a prefix here"),
            expected: format!("expected /0 to /{most}"),
        });
    };
    let (network, given) = match address {
        Address::V4(address) => {
            let given = address.to_bits();
            let network = Network::V4(given & mask_v4(bits), bits);
            (network, u128::from(given))
        }
        Address::V6(address) => {
            let given = address.to_bits();
            (Network::V6(given & mask_v6(bits), bits), given)
        }
        Address::Mac(_) => (Network::V6(0, 0), 0),
        Address::Network(network) => (network, network.range().0),
    };
    match network.range().0 == given {
        true => Ok(network),
        false => Err(Invalid {
            message: format!("there are bits behind the first {bits}"),
            expected: format!("expected {network}, or the address without `/{bits}`"),
        }),
    }
}

fn mask_v4(bits: u8) -> u32 {
    let host = 32_u32.saturating_sub(u32::from(bits));
    u32::MAX.checked_shl(host).unwrap_or(0)
}

fn mask_v6(bits: u8) -> u128 {
    let host = 128_u32.saturating_sub(u32::from(bits));
    u128::MAX.checked_shl(host).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        match Address::parse(text) {
            Ok(Address::Network(network)) => network,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn addresses_are_told_apart() {
        assert_eq!(Address::parse("192.0.2.1").unwrap().kind(), Type::IpAddr);
        for text in [
            "::",
            "::1",
            "2001:db8::1",
            "::ffff:192.0.2.1",
            "1:2:3:4:5:6:7:8",
        ] {
            assert_eq!(
                Address::parse(text).unwrap().kind(),
                Type::Ip6Addr,
                "{text}"
            );
        }
        let mac = Address::Mac([0, 0x11, 0x22, 0x33, 0x44, 0xff]);
        assert_eq!(Address::parse("00:11:22:33:44:FF"), Ok(mac));
        assert_eq!(Address::parse("0:11:22:33:44:ff"), Ok(mac));
    }

    #[test]
    fn prefixes_hold_what_begins_with_them() {
        let ten = network("10.0.0.0/8");
        assert!(ten.contains(&[10, 0, 0, 0]) && ten.contains(&[10, 255, 255, 255]));
        assert!(!ten.contains(&[9, 255, 255, 255]) && !ten.contains(&[11, 0, 0, 0]));
        assert!(!ten.contains(&[10, 0, 0]) && !ten.contains(&[10; 16]));
        let all = network("0.0.0.0/0");
        assert!(all.contains(&[0; 4]) && all.contains(&[255; 4]) && !all.contains(&[0; 16]));
        let one = network("192.0.2.1/32");
        assert!(one.contains(&[192, 0, 2, 1]) && !one.contains(&[192, 0, 2, 0]));
        let documentation = network("2001:db8::/32");
        let inside = "2001:db8:ffff::1".parse::<Ipv6Addr>().unwrap().octets();
        let outside = "2001:db9::1".parse::<Ipv6Addr>().unwrap().octets();
        assert!(documentation.contains(&inside) && !documentation.contains(&outside));
        assert!(network("::/0").contains(&outside) && !network("::/0").contains(&[1; 4]));
        assert_eq!(documentation.to_string(), "2001:db8::/32");
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (text, message, expected) in [
            (
                "10.0.0.300",
                "`10.0.0.300` is no IPv4 address",
                "expected four numbers from 0 to 255 without leading zeros, like 192.0.2.1",
            ),
            (
                "10.0.0.1/8",
                "there are bits behind the first 8",
                "expected 10.0.0.0/8, or the address without `/8`",
            ),
            (
                "10.0.0.0/33",
                "`/33` is no length of a prefix here",
                "expected /0 to /32",
            ),
            (
                "::/129",
                "`/129` is no length of a prefix here",
                "expected /0 to /128",
            ),
            (
                "2001:db8::1/32",
                "there are bits behind the first 32",
                "expected 2001:db8::/32, or the address without `/32`",
            ),
            (
                "1:2:3",
                "`1:2:3` is neither an IPv6 nor a MAC address",
                "expected an address like 2001:db8::1 or 02:00:00:00:00:01",
            ),
            (
                "00:11:22:33:44:55/24",
                "a MAC address has no prefix",
                "expected six groups and no `/`",
            ),
        ] {
            let invalid = Address::parse(text).unwrap_err();
            assert_eq!(
                (invalid.message.as_str(), invalid.expected.as_str()),
                (message, expected)
            );
        }
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "010.0.0.1",
            "1.2.3.4.5",
            ":",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
