//! Community ID 1.0: a name for a flow that other programs compute alike.
//!
//! ```text
//! "1:" base64(SHA-1(seed (2) | address (4, 16) | address | protocol (1) | 0 (1) | port (2) | port
//! (2)))
//! ```
//!
//! The lower (address, port) comes first, unless the flow is a one-way one of ICMP. Protocols
//! without ports end after the 0. The ports of ICMP are those of [`super::key`].

use super::key::protocol;
use arrayvec::{ArrayString, ArrayVec};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use std::net::IpAddr;

/// Length of an ID: the version, and 20 bytes in base64.
const LENGTH: usize = 2 + 28;

/// The longest input: two IPv6 addresses.
const INPUT_MAX: usize = 2 + 16 + 16 + 1 + 1 + 2 + 2;

/// Community ID of a flow. For ICMP, the ports are type and type, or type and code, as a
/// [`super::FlowRecord`] has them.
pub fn community_id(
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    number: u8,
    seed: u16,
) -> ArrayString<LENGTH> {
    let one_way = is_one_way(number, source.1, destination.1);
    let (low, high) = if one_way || source <= destination {
        (source, destination)
    } else {
        (destination, source)
    };
    let mut input = ArrayVec::<u8, INPUT_MAX>::new();
    input.extend(seed.to_be_bytes());
    extend_address(&mut input, low.0);
    extend_address(&mut input, high.0);
    input.extend([number, 0]);
    if has_ports(number) {
        input.extend(low.1.to_be_bytes());
        input.extend(high.1.to_be_bytes());
    }
    let digest = Sha1::digest(&input);
    let mut text = [0; LENGTH - 2];
    let mut id = ArrayString::new();
    // Both fit: 20 bytes are 28 characters.
    if STANDARD.encode_slice(digest, &mut text).is_ok() {
        let _ = id.try_push_str("1:");
        let _ = id.try_push_str(std::str::from_utf8(&text).unwrap_or_default());
    }
    id
}

fn has_ports(number: u8) -> bool {
    matches!(
        number,
        protocol::ICMP | protocol::TCP | protocol::UDP | protocol::ICMPV6 | protocol::SCTP
    )
}

/// Is this a flow of ICMP messages that have no answer?
fn is_one_way(number: u8, kind: u16, code: u16) -> bool {
    let (Ok(kind), Ok(code)) = (u8::try_from(kind), u8::try_from(code)) else {
        return false;
    };
    matches!(number, protocol::ICMP | protocol::ICMPV6)
        && super::key::icmp_ports(number, kind, code).2
}

fn extend_address(input: &mut ArrayVec<u8, INPUT_MAX>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => input.extend(address.octets()),
        IpAddr::V6(address) => input.extend(address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8, source: (&str, u16), destination: (&str, u16), seed: u16) -> String {
        let source = (source.0.parse().unwrap(), source.1);
        let destination = (destination.0.parse().unwrap(), destination.1);
        community_id(source, destination, number, seed).to_string()
    }

    // Examples of the specification.
    #[test]
    fn tcp_in_both_directions() {
        let (client, server) = (("128.232.110.120", 34_855), ("66.35.250.204", 80));
        let expected = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
        assert_eq!(id(6, client, server, 0), expected);
        assert_eq!(id(6, server, client, 0), expected);
        assert_ne!(id(6, server, client, 1), expected);
    }

    #[test]
    fn an_icmp_echo_and_its_reply_are_one_flow() {
        let echo = id(1, ("192.168.0.89", 8), ("192.168.0.1", 0), 0);
        assert_eq!(echo, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        assert_eq!(echo, id(1, ("192.168.0.1", 0), ("192.168.0.89", 8), 0));
    }

    #[test]
    fn one_way_messages_keep_their_order() {
        let there = id(58, ("fe80::1", 1), ("fe80::2", 0), 0);
        let back = id(58, ("fe80::2", 1), ("fe80::1", 0), 0);
        assert_ne!(there, back);
    }
}
