//! Bytes to facts: which headers a frame has, and where.
//!
//! The one table of protocols is `protocols!` below: a protocol is one file under `header/` or
//! `application/` that exports a `DEFINITION`, and one line here. A protocol binds itself to its
//! parent (an EtherType, an IP protocol number, a UDP port), so no parent is edited for a child.
//!
//! Code here works on numbers from the wire, so indexing and arithmetic that can fail are refused.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod attribute;
pub mod cursor;
pub mod meta;
#[cfg(test)]
mod test_walk;
#[cfg(test)]
mod testing;

use crate::packet::{Facts, Frame, LinkType, Stop};
use attribute::Attribute;
use cursor::Cursor;

macro_rules! protocols {
    (
        header { $($header:ident = $header_module:ident,)* }
        application { $($application:ident = $application_module:ident,)* }
    ) => {
        /// Stateless protocols, read before the flow lookup.
        pub mod header {
            $(pub mod $header_module;)*
        }
        /// Protocols with flow state, read after the flow lookup.
        pub mod application {
            $(pub mod $application_module;)*
            pub mod detect;
            pub mod stream;
        }

        /// A protocol that this program knows, as a small index into its tables.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "each is documented by its DEFINITION")]
        pub enum Protocol { Meta, $($header,)* $($application,)* }

        impl Protocol {
            /// Every protocol, in index order.
            pub const ALL: &'static [Self] =
                &[Self::Meta, $(Self::$header,)* $(Self::$application,)*];
        }

        const DEFINITIONS: &[Definition] = &[
            meta::DEFINITION,
            $(header::$header_module::DEFINITION,)*
            $(application::$application_module::DEFINITION,)*
        ];
    };
}

// One line a protocol. The order is the order of `wirelynx protocols` for equal ids and otherwise
// free.
protocols! {
    header {
        Ethernet = ethernet,
        Llc = llc,
        Vlan = vlan,
        ServiceVlan = service_vlan,
        Mpls = mpls,
        Pppoe = pppoe,
        Ppp = ppp,
        Null = null,
        Sll = sll,
        Sll2 = sll2,
        Arp = arp,
        Stp = stp,
        Gre = gre,
        Erspan = erspan,
        Vxlan = vxlan,
        Geneve = geneve,
        Gtp = gtp,
        Teredo = teredo,
        Ah = ah,
        Esp = esp,
        Igmp = igmp,
        Ospf = ospf,
        Pim = pim,
        Vrrp = vrrp,
        Ipv4 = ipv4,
        Ipv6 = ipv6,
        Icmp = icmp,
        Icmpv6 = icmpv6,
        Tcp = tcp,
        Udp = udp,
        Sctp = sctp,
    }
    application {
        Http = http,
        Ftp = ftp,
    }
}

/// What a protocol is: its names and numbers, how it is read, and what can be asked about it.
#[derive(Debug)]
pub struct Definition {
    /// Protocol number: MMT's where MMT has the protocol (below 1000), else ours from 1000 on.
    pub id: u16,
    /// Name in rules and everywhere else, as MMT spells it: `ip`, `8021q`, `tcp`.
    pub name: &'static str,
    /// What it is, with its standard: "Internet Protocol version 4 (RFC 791)".
    pub title: &'static str,
    /// Reads the header: moves the cursor behind it, notes what the flow stage needs in the facts,
    /// and says what comes next. `None` for `meta` and for applications.
    pub dissect: Option<Dissect>,
    /// Where it is found.
    pub bindings: &'static [Binding],
    /// Its own attributes, by ascending id; the generic ones come from `meta::GENERIC`.
    pub attributes: &'static [Attribute],
}

/// Reads one header. On `Err` the header is taken back from the facts' layers if the cursor could
/// not even read its fixed part (the driver does that for [`Stop::Truncated`]); other errors keep
/// it.
pub type Dissect = fn(&mut Cursor<'_>, &mut Facts) -> Result<Next, Stop>;

/// Where a protocol is found below another one.
#[derive(Debug, Clone, Copy)]
pub enum Binding {
    /// Frames of this link type start with it. Types that do not say which IP version they carry
    /// are not bound: `headers` resolves them.
    Link(LinkType),
    /// EtherType (Ethernet II, SNAP with OUI 0, SLL, GRE, Geneve, ...).
    EtherType(u16),
    /// IP protocol number.
    IpProtocol(u8),
    /// PPP protocol number (RFC 1661).
    PppProtocol(u16),
    /// Destination or, failing that, source port of UDP.
    UdpPort(u16),
}

/// What a header says comes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The protocol of this EtherType.
    EtherType(u16),
    /// The protocol of this IP protocol number.
    IpProtocol(u8),
    /// The protocol of this PPP protocol number.
    PppProtocol(u16),
    /// Something over UDP: source and destination port.
    UdpPorts(u16, u16),
    /// This protocol, which the header names without a number space of its own.
    Protocol(Protocol),
    /// Payload of an application, or nothing: the headers end here.
    Payload,
    /// The bytes are not this protocol after all, whatever led here (a port that anyone may use).
    /// The layer is taken back, and the bytes are the payload of the header before it. Whoever says
    /// this has not limited the cursor.
    Mismatch,
}

/// Set of protocols: one bit each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolSet(u128);

const _: () = assert!(DEFINITIONS.len() <= 128, "ProtocolSet has 128 bits");

impl ProtocolSet {
    /// Only `meta`, which every packet has.
    pub const META: Self = Self(1);
    /// All there are.
    pub const ALL: Self = Self(u128::MAX);

    /// Add one.
    pub const fn insert(&mut self, protocol: Protocol) {
        self.0 |= 1 << (protocol as u8);
    }

    /// Take one out.
    pub const fn remove(&mut self, protocol: Protocol) {
        self.0 &= !(1 << (protocol as u8));
    }

    /// Is it there?
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & (1 << (protocol as u8)) != 0
    }

    /// Are all of `other` there?
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits, for tables indexed by them.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl Protocol {
    /// Its definition.
    #[allow(clippy::indexing_slicing, reason = "one entry for each variant")]
    pub fn definition(self) -> &'static Definition {
        &DEFINITIONS_STATIC[self as usize]
    }

    /// Protocol number, as MMT numbers them.
    pub fn id(self) -> u16 {
        self.definition().id
    }

    /// Name, as in rules.
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// By name, case-sensitive as in MMT.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|protocol| protocol.name() == name)
    }
}

static DEFINITIONS_STATIC: &[Definition] = DEFINITIONS;

/// The number spaces that bindings live in. `Option<Protocol>` is one byte, so that the entries
/// which real traffic uses stay in the first-level cache.
struct Tables {
    ether_type: [Option<Protocol>; 65_536],
    ppp_protocol: [Option<Protocol>; 65_536],
    udp_port: [Option<Protocol>; 65_536],
    ip_protocol: [Option<Protocol>; 256],
    link: [Option<Protocol>; LINKS],
}

const _: () = assert!(size_of::<Option<Protocol>>() == 1);

/// Link types above this have no dissector here.
const LINKS: usize = 512;

/// Filled at compile time from the bindings; a number bound twice does not compile.
static TABLES: Tables = build_tables();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated at compile time, where an overflow or a bad index is a build error"
)]
const fn build_tables() -> Tables {
    let mut tables = Tables {
        ether_type: [None; 65_536],
        ppp_protocol: [None; 65_536],
        udp_port: [None; 65_536],
        ip_protocol: [None; 256],
        link: [None; LINKS],
    };
    let mut index = 0;
    while index < DEFINITIONS.len() {
        let bindings = DEFINITIONS[index].bindings;
        let mut i = 0;
        while i < bindings.len() {
            let slot = match bindings[i] {
                Binding::Link(link) => &mut tables.link[link.0 as usize],
                Binding::EtherType(number) => &mut tables.ether_type[number as usize],
                Binding::IpProtocol(number) => &mut tables.ip_protocol[number as usize],
                Binding::PppProtocol(number) => &mut tables.ppp_protocol[number as usize],
                Binding::UdpPort(number) => &mut tables.udp_port[number as usize],
            };
            assert!(slot.is_none(), "two protocols claim one number");
            *slot = Some(Protocol::ALL[index]);
            i += 1;
        }
        index += 1;
    }
    tables
}

impl Next {
    /// IPv4 or IPv6, whichever the version field at the cursor says: for headers that carry IP
    /// without saying which. `None` when it is neither.
    fn of_ip_version(cursor: &Cursor<'_>) -> Option<Self> {
        match cursor.rest().first()? >> 4 {
            4 => Some(Self::EtherType(0x0800)),
            6 => Some(Self::EtherType(0x86dd)),
            _ => None,
        }
    }

    /// The protocol it leads to, when there is one.
    #[inline]
    fn resolve(self) -> Option<Protocol> {
        let of = |table: &[Option<Protocol>], number: u16| *table.get(usize::from(number))?;
        match self {
            Self::EtherType(number) => of(&TABLES.ether_type, number),
            Self::IpProtocol(number) => of(&TABLES.ip_protocol, u16::from(number)),
            Self::PppProtocol(number) => of(&TABLES.ppp_protocol, number),
            Self::UdpPorts(source, destination) => {
                of(&TABLES.udp_port, destination).or_else(|| of(&TABLES.udp_port, source))
            }
            Self::Protocol(protocol) => Some(protocol),
            Self::Payload | Self::Mismatch => None,
        }
    }
}

/// Walk the headers of `frame` and note them in `facts` (which must be fresh, or those that
/// `flow::fragments` gives for a reassembled datagram).
///
/// Never fails: what cannot be read ends the walk, and `facts.stop` says why.
pub fn headers(frame: &Frame<'_>, facts: &mut Facts) {
    let mut cursor = Cursor::of(frame);
    facts.stop = match outermost(frame.link, &cursor) {
        Ok(protocol) => walk(protocol, &mut cursor, facts),
        Err(stop) => stop,
    };
    facts.payload_offset = u16::try_from(cursor.offset()).unwrap_or(u16::MAX);
    let end = cursor.offset().saturating_add(cursor.remaining());
    facts.end = u32::try_from(end).unwrap_or(u32::MAX);
    facts.payload_announced = u32::try_from(cursor.announced()).unwrap_or(u32::MAX);
}

/// What a frame of this link type starts with. Raw IP has no link header, hence no layer for one.
fn outermost(link: LinkType, cursor: &Cursor<'_>) -> Result<Protocol, Stop> {
    match link {
        LinkType::RAW | LinkType::RAW_BSD => {
            cursor.peek::<1>()?;
            let next = Next::of_ip_version(cursor).ok_or(Stop::BadVersion)?;
            next.resolve().ok_or(Stop::UnknownNext)
        }
        link => {
            let entry = TABLES.link.get(usize::from(link.0));
            entry.copied().flatten().ok_or(Stop::UnknownLink)
        }
    }
}

/// Read header after header, from one of `protocol` on, and say why that ended.
fn walk(mut protocol: Protocol, cursor: &mut Cursor<'_>, facts: &mut Facts) -> Stop {
    loop {
        // Most headers are of these four: a dissector that the compiler knows becomes part of the
        // loop.
        let step = match protocol {
            Protocol::Ethernet => step_known(
                header::ethernet::DEFINITION.dissect,
                protocol,
                cursor,
                facts,
            ),
            Protocol::Ipv4 => step_known(header::ipv4::DEFINITION.dissect, protocol, cursor, facts),
            Protocol::Tcp => step_known(header::tcp::DEFINITION.dissect, protocol, cursor, facts),
            Protocol::Udp => step_known(header::udp::DEFINITION.dissect, protocol, cursor, facts),
            other => step(other.definition().dissect, other, cursor, facts),
        };
        protocol = match step {
            Ok(protocol) => protocol,
            Err(stop) => return stop,
        };
    }
}

/// As [`step`], with a cursor of its own, which can stay in registers.
#[inline(always)]
fn step_known(
    dissect: Option<Dissect>,
    protocol: Protocol,
    cursor: &mut Cursor<'_>,
    facts: &mut Facts,
) -> Result<Protocol, Stop> {
    let mut own = *cursor;
    let step = step(dissect, protocol, &mut own, facts);
    *cursor = own;
    step
}

/// Read one header. Returns the protocol of the next one, or why there is none.
#[inline(always)]
fn step(
    dissect: Option<Dissect>,
    protocol: Protocol,
    cursor: &mut Cursor<'_>,
    facts: &mut Facts,
) -> Result<Protocol, Stop> {
    let Some(dissect) = dissect else {
        return Err(Stop::None);
    };
    let start = cursor.offset();
    let offset = u16::try_from(start).map_err(|_| Stop::TooFar)?;
    if !facts.push(protocol, offset) {
        return Err(Stop::TooManyLayers);
    }
    cursor.set_whole(facts.is_whole(offset));
    let next = match dissect(cursor, facts) {
        Ok(next) => next,
        Err(stop) => {
            if stop == Stop::Truncated && cursor.offset() == start {
                facts.pop();
            }
            return Err(stop);
        }
    };
    next.resolve()
        .ok_or_else(|| last(next, start, cursor, facts))
}

/// The end of a walk whose last dissector, that began at `start`, led to no other.
fn last(next: Next, start: usize, cursor: &mut Cursor<'_>, facts: &mut Facts) -> Stop {
    match next {
        Next::Payload | Next::UdpPorts(..) => Stop::None,
        Next::Mismatch => {
            cursor.rewind(start);
            facts.pop();
            Stop::None
        }
        _ => Stop::UnknownNext,
    }
}

#[cfg(test)]
mod tests {
    use super::test_walk::{Walked, survives_truncation};
    use super::*;
    use crate::limits::LAYERS_MAX;
    use std::collections::HashSet;

    #[test]
    fn names_and_ids_are_unique_and_attributes_ascend() {
        let mut names = HashSet::new();
        let mut ids = HashSet::new();
        for protocol in Protocol::ALL {
            let name = protocol.name();
            assert!(names.insert(name), "{name} twice");
            assert!(ids.insert(protocol.id()), "id of {name} twice");
            let attributes = protocol.definition().attributes;
            assert!(
                attributes.windows(2).all(|pair| pair[0].id < pair[1].id),
                "attributes of {name} are out of order"
            );
            let mut own = HashSet::new();
            assert!(
                attributes.iter().all(|a| own.insert(a.name)),
                "{name} has two attributes of one name"
            );
        }
    }

    #[test]
    fn a_link_type_without_a_dissector_says_so() {
        for link in [
            LinkType(2),
            LinkType(511),
            LinkType(512),
            LinkType(u16::MAX),
        ] {
            assert_eq!(Walked::new(link, &[0; 64]).facts.stop, Stop::UnknownLink);
        }
    }

    #[test]
    fn raw_ip_needs_a_version_and_has_no_link_layer() {
        for link in [LinkType::RAW, LinkType::RAW_BSD] {
            assert_eq!(Walked::new(link, &[]).facts.stop, Stop::Truncated);
            let facts = Walked::new(link, &[0x50; 40]).facts;
            assert_eq!(facts.stop, Stop::BadVersion);
            assert!(facts.layers().is_empty());
            assert_eq!((facts.payload_offset, facts.end), (0, 40));
            assert_eq!(Walked::new(link, &[]).facts.end, 0);
        }
        let cursor = Cursor::new(&[0x45]);
        assert_eq!(Next::of_ip_version(&cursor), Some(Next::EtherType(0x0800)));
        let cursor = Cursor::new(&[0x60]);
        assert_eq!(Next::of_ip_version(&cursor), Some(Next::EtherType(0x86dd)));
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = vec![0; 12];
        for _ in 0..=LAYERS_MAX {
            bytes.extend([0x81, 0x00, 0x00, 0x01]);
        }
        let facts = Walked::new(LinkType::ETHERNET, &bytes).facts;
        assert_eq!(facts.stop, Stop::TooManyLayers);
        assert_eq!(facts.layers().len(), LAYERS_MAX);
    }

    #[test]
    fn facts_are_written_for_every_outcome() {
        let facts = Walked::new(LinkType::ETHERNET, &[0xff; 60]).facts;
        assert_eq!((facts.payload_offset, facts.end), (14, 60));
    }

    const ARP_FRAME: &[u8] = &[
        0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2,
        10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
    ];

    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let mut packet = vec![
            0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 64, protocol, 0, 0,
        ];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(payload);
        packet
    }

    fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0xc0, 0x00];
        datagram.extend(port.to_be_bytes());
        datagram.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        ipv4(17, &datagram)
    }

    fn joined(header: &[u8], payload: &[u8]) -> Vec<u8> {
        [header, payload].concat()
    }

    #[test]
    fn tunnels_lead_to_what_they_carry() {
        let packet = ipv4(1, &[8, 0, 0, 0, 0, 0, 0, 0]);
        let tagged = joined(
            &[0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 9],
            &ARP_FRAME[12..],
        );
        let erspan = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 1, 0, 0, 0, 0];
        let pptp = [
            0x30, 1, 0x88, 0x0b, 0, 32, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21,
        ];
        for (outer, path) in [
            (
                udp(4789, &joined(&[8, 0, 0, 0, 0, 0, 1, 0], &tagged)),
                "ip.udp.vxlan.ethernet.8021q.arp",
            ),
            (
                udp(6081, &joined(&[0, 0, 0x65, 0x58, 0, 0, 1, 0], ARP_FRAME)),
                "ip.udp.geneve.ethernet.arp",
            ),
            (
                udp(2152, &joined(&[0x30, 0xff, 0, 28, 0, 0, 0, 1], &packet)),
                "ip.udp.gtp.ip.icmp",
            ),
            (
                ipv4(47, &joined(&erspan, ARP_FRAME)),
                "ip.gre.erspan.ethernet.arp",
            ),
            (ipv4(47, &joined(&pptp, &packet)), "ip.gre.ppp.ip.icmp"),
            (
                ipv4(137, &joined(&[0, 1, 1, 64], &packet)),
                "ip.mpls.ip.icmp",
            ),
            (
                ipv4(51, &joined(&[4, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], &packet)),
                "ip.ah.ip.icmp",
            ),
        ] {
            assert_eq!(Walked::new(LinkType::RAW, &outer).path(), path);
            survives_truncation(LinkType::RAW, &outer);
        }
    }

    #[test]
    fn a_port_is_no_proof() {
        for port in [2152, 3544, 4500, 4789, 6081] {
            let bytes = udp(port, &[0; 12]);
            let walked = Walked::new(LinkType::RAW, &bytes);
            assert_eq!(walked.path(), "ip.udp");
            assert_eq!(walked.facts.stop, Stop::None);
            assert_eq!((walked.facts.payload_offset, walked.facts.end), (28, 40));
        }
    }
}
