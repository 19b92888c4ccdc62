//! Bytes to facts: which headers a frame has, and where.
//!
//! The one table of protocols is [`protocols!`] below: a protocol is one file under `header/` or
//! `application/` that exports a `DEFINITION`, and one line here. A protocol binds itself to its
//! parent (an EtherType, an IP protocol number, a UDP port), so no parent is edited for a child.

pub mod attribute;
pub mod cursor;
pub mod meta;
#[cfg(test)]
pub(crate) mod test_walk;

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

// One line a protocol. The order is the order of `wirelynx protocols` for equal ids and otherwise free.
protocols! {
    header {
        Ethernet = ethernet,
        Ipv4 = ipv4,
        Ipv6 = ipv6,
        Icmp = icmp,
        Icmpv6 = icmpv6,
        Tcp = tcp,
        Udp = udp,
        Sctp = sctp,
    }
    application {
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
    /// Its own attributes, by ascending id; the generic ones come from [`attribute::GENERIC`].
    pub attributes: &'static [Attribute],
}

/// Reads one header. On `Err` the header is taken back from the facts' layers if the cursor could
/// not even read its fixed part (the driver does that for [`Stop::Truncated`]); other errors keep it.
pub type Dissect = fn(&mut Cursor<'_>, &mut Facts) -> Result<Next, Stop>;

/// Where a protocol is found below another one.
#[derive(Debug, Clone, Copy)]
pub enum Binding {
    /// Frames of this link type start with it.
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
}

/// Set of protocols: one bit each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolSet(u128);

const _: () = assert!(DEFINITIONS.len() <= 128, "ProtocolSet has 128 bits");

impl ProtocolSet {
    /// Only `meta`, which every packet has.
    pub const META: Self = Self(1);

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

    /// The bits, for tables indexed by them.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl Protocol {
    /// Its definition.
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

/// Index 0 (`meta`) stands for "no dissector" in the tables below: nothing leads to `meta`.
struct Tables {
    ether_type: [u8; 65_536],
    ppp_protocol: [u8; 65_536],
    udp_port: [u8; 65_536],
    ip_protocol: [u8; 256],
    link: [u8; 512],
}

/// Filled at compile time from the bindings; a number bound twice does not compile.
static TABLES: Tables = build_tables();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time, where an overflow or a bad index is a build error"
)]
const fn build_tables() -> Tables {
    let mut tables = Tables {
        ether_type: [0; 65_536],
        ppp_protocol: [0; 65_536],
        udp_port: [0; 65_536],
        ip_protocol: [0; 256],
        link: [0; 512],
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
            assert!(*slot == 0, "two protocols claim one number");
            *slot = index as u8;
            i += 1;
        }
        index += 1;
    }
    tables
}

impl Next {
    /// Index of the protocol it leads to; 0 when there is none.
    fn resolve(self) -> u8 {
        let of = |table: &[u8], number: u16| table.get(usize::from(number)).copied().unwrap_or(0);
        match self {
            Self::EtherType(number) => of(&TABLES.ether_type, number),
            Self::IpProtocol(number) => of(&TABLES.ip_protocol, u16::from(number)),
            Self::PppProtocol(number) => of(&TABLES.ppp_protocol, number),
            Self::UdpPorts(source, destination) => match of(&TABLES.udp_port, destination) {
                0 => of(&TABLES.udp_port, source),
                found => found,
            },
            Self::Protocol(protocol) => protocol as u8,
            Self::Payload => 0,
        }
    }
}

/// Walk the headers of `frame` and note them in `facts` (which must be fresh).
///
/// Never fails: what cannot be read ends the walk, and `facts.stop` says why.
pub fn headers(frame: &Frame<'_>, facts: &mut Facts) {
    let mut cursor = Cursor::new(frame.data);
    facts.end = u32::try_from(frame.data.len()).unwrap_or(u32::MAX);
    let mut index = TABLES
        .link
        .get(usize::from(frame.link.0))
        .copied()
        .unwrap_or(0);
    if index == 0 {
        facts.stop = Stop::UnknownLink;
        return;
    }
    while let Some(protocol) = Protocol::ALL.get(usize::from(index)).copied() {
        let Some(dissect) = protocol.definition().dissect else {
            break;
        };
        let Ok(offset) = u16::try_from(cursor.offset()) else {
            facts.stop = Stop::TooFar;
            break;
        };
        if !facts.push(protocol, offset) {
            facts.stop = Stop::TooManyLayers;
            break;
        }
        match dissect(&mut cursor, facts) {
            Ok(Next::Payload) => break,
            Ok(next) => {
                index = next.resolve();
                if index == 0 {
                    if !matches!(next, Next::UdpPorts(..)) {
                        facts.stop = Stop::UnknownNext;
                    }
                    break;
                }
            }
            Err(stop) => {
                if stop == Stop::Truncated && cursor.offset() == usize::from(offset) {
                    facts.pop();
                }
                facts.stop = stop;
                break;
            }
        }
    }
    facts.payload_offset = u16::try_from(cursor.offset()).unwrap_or(u16::MAX);
    facts.end =
        u32::try_from(cursor.offset().saturating_add(cursor.remaining())).unwrap_or(u32::MAX);
}
