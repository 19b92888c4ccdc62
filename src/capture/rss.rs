//! Receive side scaling: which queue, and so which worker, a port gives a frame to.
//!
//! A port hashes a packet's addresses, and ports where there are any, with a Toeplitz function
//! under a key ([`toeplitz`]), and looks the queue up in its redirection table by the low bits of
//! the hash. The same is computed here, for two reasons: to see whether the port does what it was
//! told, since a flow whose directions reach different workers is not followed; and to find the
//! worker of a flow that the port did not see, such as the one inside a tunnel.

use super::toeplitz;
use crate::packet::{Facts, Frame};
use arrayvec::ArrayVec;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Frames of each queue whose hash is looked at: a port that hashes otherwise shows it in the first
/// ones, and the rest of a run costs nothing.
const CHECKED: u32 = 1_024;

/// Frames of each queue among which those are looked for: on a link where none is plain, looking at
/// all would cost for nothing.
const SOUGHT: u32 = 65_536;

/// Longest input of the hash: two IPv6 addresses and two ports.
const INPUT_MAX: usize = 36;

/// Bytes of a key that the longest input uses: the 32 bits that start at its last bit.
const KEY_USED: usize = INPUT_MAX + 4;

/// Bytes after which the symmetric key repeats.
const PERIOD: usize = 2;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];

/// What a port hashes of the packets of one IP version.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// Addresses and ports of TCP.
    pub tcp: bool,
    /// Addresses and ports of UDP.
    pub udp: bool,
    /// The addresses of packets for which nothing else holds.
    pub addresses: bool,
}

/// Transport protocol of a [`Tuple`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP (IP protocol 6).
    Tcp,
    /// UDP (IP protocol 17).
    Udp,
    /// One without ports that a port could hash.
    Other,
}

/// What of a packet may be hashed, in the order of its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuple {
    /// Addresses, then ports.
    input: ArrayVec<u8, INPUT_MAX>,
    transport: Transport,
}

impl Tuple {
    /// Of a flow; none when its addresses are of different versions.
    pub fn new(
        (source, source_port): (IpAddr, u16),
        (destination, destination_port): (IpAddr, u16),
        transport: Transport,
    ) -> Option<Self> {
        let ports = [source_port.to_be_bytes(), destination_port.to_be_bytes()];
        let ports = ports.as_flattened();
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Self::of_parts(&[source.octets(), destination.octets()], ports, transport)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Self::of_parts(&[source.octets(), destination.octets()], ports, transport)
            }
            _ => None,
        }
    }

    /// Of a frame that is plain, so that any port hashes it alike: Ethernet with at most one VLAN
    /// tag, IPv4 without options or IPv6 without extension headers, no fragment, TCP or UDP.
    pub fn of_frame(frame: &[u8]) -> Option<Self> {
        let (ethernet, mut rest) = frame.split_first_chunk::<14>()?;
        let [.., a, b] = *ethernet;
        let mut ethertype = [a, b];
        if ethertype == ETHERTYPE_VLAN {
            let (tag, after) = rest.split_first_chunk::<4>()?;
            let [_, _, a, b] = *tag;
            (ethertype, rest) = ([a, b], after);
        }
        match ethertype {
            ETHERTYPE_IPV4 => Self::of_ipv4(rest),
            ETHERTYPE_IPV6 => Self::of_ipv6(rest),
            _ => None,
        }
    }

    /// Of the innermost packet of a frame whose headers were read: what a port would hash if that
    /// packet came bare. None when there is none, or when the capture cut it off before its ports.
    pub fn of_innermost(frame: &Frame<'_>, facts: &Facts) -> Option<Self> {
        let transport = transport(facts.ip_protocol).unwrap_or(Transport::Other);
        let ports = match transport {
            Transport::Other => &[0; 4],
            Transport::Tcp | Transport::Udp => {
                let header = frame.data.get(usize::from(facts.transport_offset)..)?;
                header.first_chunk::<4>()?
            }
        };
        Self::of_ip(frame, facts, ports, transport)
    }

    /// Of the addresses of the innermost packet alone: what a port would hash if that packet came
    /// bare and were a fragment.
    pub fn of_innermost_addresses(frame: &Frame<'_>, facts: &Facts) -> Option<Self> {
        Self::of_ip(frame, facts, &[0; 4], Transport::Other)
    }

    /// Of the addresses of the innermost IP header, and what comes with them.
    fn of_ip(
        frame: &Frame<'_>,
        facts: &Facts,
        ports: &[u8; 4],
        transport: Transport,
    ) -> Option<Self> {
        let header = frame.data.get(usize::from(facts.ip_offset)..)?;
        match facts.ip_version {
            4 => {
                let (addresses, _) = header.get(12..20)?.as_chunks::<4>();
                Self::of_parts(addresses, ports, transport)
            }
            6 => {
                let (addresses, _) = header.get(8..40)?.as_chunks::<16>();
                Self::of_parts(addresses, ports, transport)
            }
            _ => None,
        }
    }

    /// RFC 791, section 3.1.
    fn of_ipv4(packet: &[u8]) -> Option<Self> {
        /// Version 4, five words of header.
        const PLAIN: u8 = 0x45;
        /// The flag for more fragments, and the offset.
        const FRAGMENT: u16 = 0x3fff;
        let (header, rest) = packet.split_first_chunk::<20>()?;
        let fragment = u16::from_be_bytes([header[6], header[7]]) & FRAGMENT;
        if header[0] != PLAIN || fragment != 0 {
            return None;
        }
        let (addresses, _) = header[12..].as_chunks::<4>();
        Self::of_parts(addresses, rest.get(..4)?, transport(header[9])?)
    }

    /// RFC 8200, section 3.
    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<40>()?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let (addresses, _) = header[8..].as_chunks::<16>();
        Self::of_parts(addresses, rest.get(..4)?, transport(header[6])?)
    }

    fn of_parts<const LENGTH: usize>(
        addresses: &[[u8; LENGTH]],
        ports: &[u8],
        transport: Transport,
    ) -> Option<Self> {
        let mut input = ArrayVec::new();
        input.try_extend_from_slice(addresses.as_flattened()).ok()?;
        input.try_extend_from_slice(ports).ok()?;
        Some(Self { input, transport })
    }

    /// Addresses alone.
    fn addresses(&self) -> &[u8] {
        let length = self.input.len().saturating_sub(4);
        self.input.get(..length).unwrap_or_default()
    }

    fn is_ipv6(&self) -> bool {
        self.input.len() == INPUT_MAX
    }
}

/// Protocols whose packets all ports hash alike.
fn transport(protocol: u8) -> Option<Transport> {
    match protocol {
        6 => Some(Transport::Tcp),
        17 => Some(Transport::Udp),
        _ => None,
    }
}

/// Computes the hash of a port.
#[derive(Debug, Clone)]
pub struct Hasher {
    /// What each value of an input byte adds, by the place of the byte. A key that repeats has as
    /// many places as it has different bytes: two, instead of 36 KiB that push out what the path of
    /// a packet has in the cache.
    tables: Vec<[u32; 256]>,
    fields: [Fields; 2],
}

impl Hasher {
    /// Of a port with this key that hashes these fields of IPv4 and of IPv6.
    pub fn new(key: &[u8], ipv4: Fields, ipv6: Fields) -> Self {
        let shifted = key.iter().skip(PERIOD);
        let repeats = key.len() >= KEY_USED && key.iter().zip(shifted).all(|(a, b)| a == b);
        let places = if repeats { PERIOD } else { INPUT_MAX };
        let table = |place: usize| {
            let mut table = [0; 256];
            for (byte, entry) in (0_u8..=255).zip(&mut table) {
                *entry = toeplitz::hash(key.get(place..).unwrap_or_default(), &[byte]);
            }
            table
        };
        Self {
            tables: (0..places).map(table).collect(),
            fields: [ipv4, ipv6],
        }
    }

    /// The hash of a packet; none when the port does not hash such.
    pub fn hash(&self, tuple: &Tuple) -> Option<u32> {
        let [ipv4, ipv6] = self.fields;
        let fields = if tuple.is_ipv6() { ipv6 } else { ipv4 };
        let with_ports = match tuple.transport {
            Transport::Tcp => fields.tcp,
            Transport::Udp => fields.udp,
            Transport::Other => false,
        };
        let input = match with_ports {
            true => tuple.input.as_slice(),
            false if fields.addresses => tuple.addresses(),
            false => return None,
        };
        let tables = self.tables.iter().cycle();
        Some(input.iter().zip(tables).fold(0, |sum, (&byte, table)| {
            sum ^ table.get(usize::from(byte)).copied().unwrap_or(0)
        }))
    }
}

/// How the hashes of a port compare with the expected ones, over the first frames of each queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Frames whose hash is the expected one.
    pub agree: u64,
    /// Frames with another one.
    pub differ: u64,
    /// Frames that the port should have hashed and did not.
    pub no_hash: u64,
}

/// How one port spreads frames over queues and workers. Shared by all that receive from it.
#[derive(Debug)]
pub struct Spread {
    port: String,
    queues: u16,
    /// None when the port offers no hash.
    hasher: Option<Hasher>,
    /// Worker by entry of the redirection table; empty where the table is unknown.
    homes: Vec<usize>,
    agree: AtomicU64,
    differ: AtomicU64,
    no_hash: AtomicU64,
    warned: AtomicBool,
    confirmed: AtomicBool,
}

impl Spread {
    /// Of a port with so many queues, of which queue `q` is served by worker `q % workers`.
    ///
    /// `redirection` is its table as read back: queue by low bits of the hash. A table that leaves
    /// a queue out, or names one that does not exist, is not the one that the port uses.
    pub fn new(
        port: &str,
        queues: u16,
        hasher: Option<Hasher>,
        redirection: &[u16],
        workers: usize,
    ) -> Self {
        let whole = (0..queues).all(|queue| redirection.contains(&queue))
            && redirection.iter().all(|&queue| queue < queues);
        let home = |&queue: &u16| usize::from(queue) % workers.max(1);
        Self {
            port: port.to_owned(),
            queues,
            hasher,
            homes: match whole {
                true => redirection.iter().map(home).collect(),
                false => Vec::new(),
            },
            agree: AtomicU64::new(0),
            differ: AtomicU64::new(0),
            no_hash: AtomicU64::new(0),
            warned: AtomicBool::new(false),
            confirmed: AtomicBool::new(false),
        }
    }

    /// The worker that gets packets with this hash; none where the port does not tell.
    #[inline]
    pub fn home(&self, hash: u32) -> Option<usize> {
        if self.queues <= 1 {
            return Some(0);
        }
        // The tables of all drivers have a power of two of entries.
        let entry = usize::try_from(hash).ok()?.checked_rem(self.homes.len())?;
        self.homes.get(entry).copied()
    }

    /// The worker that gets the packets of a flow when the port sees them bare; none where the port
    /// does not tell, or does not hash such.
    pub fn home_of(&self, tuple: &Tuple) -> Option<usize> {
        if self.queues <= 1 {
            return Some(0);
        }
        self.home(self.hasher.as_ref()?.hash(tuple)?)
    }

    /// What was found until now.
    pub fn counts(&self) -> Counts {
        Counts {
            agree: self.agree.load(Ordering::Relaxed),
            differ: self.differ.load(Ordering::Relaxed),
            no_hash: self.no_hash.load(Ordering::Relaxed),
        }
    }

    /// What the operator should know of what was found, once.
    pub fn warning(&self) -> Option<String> {
        let Counts {
            agree,
            differ,
            no_hash,
        } = self.counts();
        let Self { port, queues, .. } = self;
        let advice = "so that the two directions of a flow may reach different workers; set \
                      capture.queues = 1, or update the port's firmware";
        let text = if differ > 0 {
            format!(
                "port {port}: {differ} of {} packets had another receive hash than the one it was \
                 configured for, {advice}",
                agree + differ
            )
        } else if no_hash > 0 && agree == 0 && self.hasher.is_some() {
            format!(
                "port {port}: it gave no receive hash with {no_hash} packets although it has \
                 {queues} queues, {advice}"
            )
        } else {
            return None;
        };
        (!self.warned.swap(true, Ordering::Relaxed)).then_some(text)
    }

    /// That the port does as it was told, once, when enough frames have shown it.
    pub fn confirmation(&self) -> Option<String> {
        let counts = self.counts();
        let enough = counts.agree >= u64::from(CHECKED) && counts.differ + counts.no_hash == 0;
        let first = enough && !self.confirmed.swap(true, Ordering::Relaxed);
        first.then(|| {
            format!(
                "port {}: its receive hash is the expected one for {} of {} packets, so that both \
                 directions of a flow reach one worker",
                self.port, counts.agree, counts.agree
            )
        })
    }
}

/// Looks at the first frames of one queue. Used by the one worker that serves it.
#[derive(Debug)]
pub struct Check {
    /// Frames to compare.
    left: u32,
    /// Frames to look at.
    sought: u32,
}

impl Check {
    /// For a queue of `spread`; a port with one queue spreads nothing.
    pub fn new(spread: &Spread) -> Self {
        Self {
            left: if spread.queues > 1 { CHECKED } else { 0 },
            sought: SOUGHT,
        }
    }

    /// Were enough frames looked at?
    #[inline]
    pub fn is_done(&self) -> bool {
        self.left == 0 || self.sought == 0
    }

    /// Look at one frame with the hash that the port gave it. Frames that are not plain do not
    /// count, see [`Tuple::of_frame`].
    pub fn frame(&mut self, spread: &Spread, frame: &[u8], hash: Option<u32>) {
        if self.is_done() {
            return;
        }
        self.sought -= 1;
        let Some(tuple) = Tuple::of_frame(frame) else {
            return;
        };
        let expected = spread.hasher.as_ref().map(|hasher| hasher.hash(&tuple));
        let counter = match (hash, expected) {
            // The port does not claim to hash these.
            (_, Some(None)) | (Some(_), None) => return,
            (None, _) => &spread.no_hash,
            (Some(_), Some(expected)) if expected == hash => &spread.agree,
            (Some(_), Some(_)) => &spread.differ,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Fields = Fields {
        tcp: true,
        udp: true,
        addresses: true,
    };

    fn tuple(source: &str, destination: &str, transport: Transport) -> Tuple {
        let end = |text: &str| {
            let address: std::net::SocketAddr = text.parse().unwrap();
            (address.ip(), address.port())
        };
        Tuple::new(end(source), end(destination), transport).unwrap()
    }

    fn microsoft() -> Hasher {
        Hasher::new(&toeplitz::tests::VERIFICATION_KEY, ALL, ALL)
    }

    /// Source, destination, hash with ports, hash without: "Verifying the RSS Hash Calculation" of
    /// the Windows driver documentation.
    const PUBLISHED: [(&str, &str, u32, u32); 8] = [
        (
            "66.9.149.187:2794",
            "161.142.100.80:1766",
            0x51cc_c178,
            0x323e_8fc2,
        ),
        (
            "199.92.111.2:14230",
            "65.69.140.83:4739",
            0xc626_b0ea,
            0xd718_262a,
        ),
        (
            "24.19.198.95:12898",
            "12.22.207.184:38024",
            0x5c2b_394a,
            0xd2d0_a5de,
        ),
        (
            "38.27.205.30:48228",
            "209.142.163.6:2217",
            0xafc7_327f,
            0x8298_9176,
        ),
        (
            "153.39.163.191:44251",
            "202.188.127.2:1303",
            0x10e8_28a2,
            0x5d18_09c5,
        ),
        (
            "[3ffe:2501:200:1fff::7]:2794",
            "[3ffe:2501:200:3::1]:1766",
            0x4020_7d3d,
            0x2cc1_8cd5,
        ),
        (
            "[3ffe:501:8::260:97ff:fe40:efab]:14230",
            "[ff02::1]:4739",
            0xdde5_1bbf,
            0x0f0c_461c,
        ),
        (
            "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
            "[fe80::200:f8ff:fe21:67cf]:38024",
            0x02d1_feef,
            0x4b61_e985,
        ),
    ];

    #[test]
    fn agrees_with_the_published_values() {
        for (source, destination, with_ports, without) in PUBLISHED {
            let hasher = microsoft();
            for transport in [Transport::Tcp, Transport::Udp] {
                let tuple = tuple(source, destination, transport);
                assert_eq!(hasher.hash(&tuple), Some(with_ports), "{source}");
            }
            let other = tuple(source, destination, Transport::Other);
            assert_eq!(hasher.hash(&other), Some(without), "{source}");
        }
    }

    #[test]
    fn tables_of_a_repeated_key_are_as_good_as_all() {
        let key = toeplitz::symmetric_key(52);
        let hasher = Hasher::new(&key, ALL, ALL);
        assert_eq!(hasher.tables.len(), 2);
        for (source, destination, ..) in PUBLISHED {
            let there = tuple(source, destination, Transport::Tcp);
            let back = tuple(destination, source, Transport::Tcp);
            assert_eq!(
                hasher.hash(&there),
                Some(toeplitz::hash(&key, &there.input))
            );
            assert_eq!(hasher.hash(&there), hasher.hash(&back));
        }
        let short = Hasher::new(&toeplitz::symmetric_key(38), ALL, ALL);
        assert_eq!(short.tables.len(), 36, "the end of the key counts");
    }

    #[test]
    fn only_what_the_port_hashes() {
        let udp = tuple(PUBLISHED[0].0, PUBLISHED[0].1, Transport::Udp);
        let tcp = tuple(PUBLISHED[0].0, PUBLISHED[0].1, Transport::Tcp);
        let key = toeplitz::tests::VERIFICATION_KEY;
        let no_udp = Fields { udp: false, ..ALL };
        let hasher = Hasher::new(&key, no_udp, Fields::default());
        assert_eq!(hasher.hash(&udp), Some(PUBLISHED[0].3));
        assert_eq!(hasher.hash(&tcp), Some(PUBLISHED[0].2));
        let six = tuple(PUBLISHED[5].0, PUBLISHED[5].1, Transport::Tcp);
        assert_eq!(hasher.hash(&six), None);
        let mixed = ["::1", "127.0.0.1"].map(|text| (text.parse().unwrap(), 1));
        assert_eq!(Tuple::new(mixed[0], mixed[1], Transport::Tcp), None);
    }

    /// A frame from the first published source to its destination.
    fn frame(protocol: u8, tagged: bool) -> Vec<u8> {
        let mut frame = vec![0x02; 12];
        if tagged {
            frame.extend([0x81, 0x00, 0x00, 0x07]);
        }
        frame.extend([
            0x08, 0x00, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol, 0, 0,
        ]);
        frame.extend([66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6]);
        frame.extend([0; 16]);
        frame
    }

    #[test]
    fn plain_frames_are_read() {
        let expected = tuple(PUBLISHED[0].0, PUBLISHED[0].1, Transport::Tcp);
        assert_eq!(Tuple::of_frame(&frame(6, false)), Some(expected.clone()));
        assert_eq!(Tuple::of_frame(&frame(6, true)), Some(expected));
        let mut six = vec![0x02; 12];
        six.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 17, 64]);
        let [source, destination] = ["3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1"]
            .map(|text| text.parse::<std::net::Ipv6Addr>().unwrap().octets());
        six.extend(source);
        six.extend(destination);
        six.extend([0x0a, 0xea, 0x06, 0xe6]);
        let expected = tuple(PUBLISHED[5].0, PUBLISHED[5].1, Transport::Udp);
        assert_eq!(Tuple::of_frame(&six), Some(expected));
        for whole in [frame(6, true), six] {
            let least = whole.len().min(42);
            for length in 0..least {
                assert_eq!(Tuple::of_frame(&whole[..length]), None);
            }
        }
    }

    #[test]
    fn other_frames_are_left_alone() {
        assert_eq!(Tuple::of_frame(&frame(1, false)), None, "ICMP");
        for (at, byte) in [(12, 0x86), (14, 0x46), (14, 0x65), (20, 0x20), (21, 0x01)] {
            let mut other = frame(6, false);
            other[at] = byte;
            assert_eq!(Tuple::of_frame(&other), None, "byte {at}");
        }
        let mut six = frame(6, false);
        six[12..14].copy_from_slice(&ETHERTYPE_IPV6);
        six.resize(100, 0);
        assert_eq!(
            Tuple::of_frame(&six),
            None,
            "version 4 after an EtherType of version 6"
        );
    }

    fn spread(hasher: Option<Hasher>) -> Spread {
        Spread::new("a", 4, hasher, &[0, 1, 2, 3], 2)
    }

    #[test]
    fn a_port_that_does_as_told_passes() {
        let spread = spread(Some(microsoft()));
        let mut check = Check::new(&spread);
        for _ in 0..2_000 {
            check.frame(&spread, &frame(1, false), Some(1));
            check.frame(&spread, &frame(6, false), Some(PUBLISHED[0].2));
        }
        assert!(check.is_done());
        assert_eq!(spread.counts().agree, 1_024);
        assert_eq!(spread.warning(), None);
        let said = spread.confirmation().unwrap();
        assert!(said.starts_with("port a: its receive hash is the expected one for 1024 of 1024"));
        assert_eq!(spread.confirmation(), None);
    }

    #[test]
    fn a_link_without_plain_frames_is_left_alone() {
        let spread = spread(Some(microsoft()));
        let mut check = Check::new(&spread);
        for _ in 0..SOUGHT {
            assert!(!check.is_done());
            check.frame(&spread, &frame(1, false), None);
        }
        assert!(check.is_done());
        assert_eq!(spread.counts(), Counts::default());
    }

    #[test]
    fn a_wrong_hash_is_told_once() {
        let spread = spread(Some(microsoft()));
        let mut check = Check::new(&spread);
        check.frame(&spread, &frame(6, false), Some(PUBLISHED[0].2));
        check.frame(&spread, &frame(17, false), Some(PUBLISHED[0].3));
        assert_eq!((spread.counts().agree, spread.counts().differ), (1, 1));
        assert_eq!(spread.confirmation(), None);
        let warning = spread.warning().unwrap();
        assert!(
            warning.starts_with("port a: 1 of 2 packets had another"),
            "{warning}"
        );
        assert_eq!(spread.warning(), None);
    }

    #[test]
    fn no_hash_at_all_is_told_once() {
        let hashing = spread(Some(microsoft()));
        let mut check = Check::new(&hashing);
        check.frame(&hashing, &frame(6, false), None);
        let warning = hashing.warning().unwrap();
        assert!(warning.contains("no receive hash with 1 packets although it has 4 queues"));
        assert_eq!(hashing.warning(), None);
        // One that offers none was told of at the start.
        let none = spread(None);
        let mut check = Check::new(&none);
        check.frame(&none, &frame(6, false), None);
        check.frame(&none, &frame(6, false), Some(5));
        let counts = none.counts();
        assert_eq!((counts.agree, counts.differ, counts.no_hash), (0, 0, 1));
        assert_eq!(none.warning(), None);
        let single = Spread::new("a", 1, None, &[], 1);
        assert!(Check::new(&single).is_done());
    }

    #[test]
    fn homes_follow_the_redirection_table() {
        let hasher = Some(microsoft());
        let spread = Spread::new("a", 4, hasher, &[3, 2, 1, 0, 0, 0, 0, 0], 2);
        let homes: Vec<Option<usize>> = (0..5).map(|hash| spread.home(hash)).collect();
        assert_eq!(homes, [Some(1), Some(0), Some(1), Some(0), Some(0)]);
        assert_eq!(spread.home(0xffff_fff8), Some(1));
        let flow = tuple(PUBLISHED[0].0, PUBLISHED[0].1, Transport::Tcp);
        assert_eq!(spread.home_of(&flow), spread.home(PUBLISHED[0].2));
        for unknown in [&[][..], &[0, 0, 0, 0], &[0, 1, 2, 3, 4]] {
            let spread = Spread::new("a", 4, None, unknown, 2);
            assert_eq!((spread.home(1), spread.home_of(&flow)), (None, None));
        }
        assert_eq!(Spread::new("a", 1, None, &[], 4).home(7), Some(0));
    }
}
