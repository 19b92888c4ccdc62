//! Broken packets: the statements `malformed` and `frame`, the modifiers `patch`, `cut`, `snap`.

use super::packet::{
    ACK, ETHER_ARP, ETHERNET_LENGTH, PROTOCOL_TCP, PROTOCOL_UDP, Path, TcpFields, arp, ethernet,
    fold, icmp, ip_frame, ip_packet, pseudo_sum, put, sum, tcp, udp,
};
use super::text::{Error, Segment};
use super::world::{Frame, Sender, World};
use std::net::{IpAddr, Ipv6Addr};

/// The intact frame that a fault starts from.
#[derive(Debug, Clone, Copy)]
enum Base {
    Udp,
    Tcp,
    Ping,
    Arp,
    Dns,
    Gre,
    Ipv6,
}

/// What is done to it.
#[derive(Debug, Clone, Copy)]
enum Break {
    /// Write these bytes at this offset of the frame.
    Put(usize, &'static [u8]),
    /// End the frame here.
    Cut(usize),
    /// Write the right checksum of an IPv4 header of 20 bytes, so that only the rest is wrong.
    Checksum,
    /// The same for the TCP or UDP checksum, which is at this offset.
    Transport(usize),
}

use Break::{Checksum, Cut, Put, Transport};

/// Every kind of fault by its name. IP starts at 14, what IPv4 carries at 34, IPv6's at 54.
const FAULTS: &[(&str, Base, &[Break])] = &[
    ("ethernet-cut", Base::Udp, &[Cut(10)]),
    ("ethernet-length", Base::Udp, &[Put(12, &[0x05, 0xdc])]),
    ("vlan-cut", Base::Udp, &[Put(12, &[0x81, 0x00]), Cut(15)]),
    ("arp-cut", Base::Arp, &[Cut(30)]),
    ("arp-hardware", Base::Arp, &[Put(14, &[0xff, 0xff])]),
    ("arp-length", Base::Arp, &[Put(18, &[0, 0])]),
    ("ip-version", Base::Udp, &[Put(14, &[0x55]), Checksum]),
    ("ip-header-short", Base::Udp, &[Put(14, &[0x44]), Checksum]),
    ("ip-header-long", Base::Udp, &[Put(14, &[0x4f]), Cut(54)]),
    ("ip-total-short", Base::Udp, &[Put(16, &[0, 10]), Checksum]),
    ("ip-total-long", Base::Udp, &[Put(16, &[0x40, 0]), Checksum]),
    ("ip-checksum", Base::Udp, &[Put(24, &[0xde, 0xad])]),
    ("ip-cut", Base::Udp, &[Cut(24)]),
    ("ipv6-version", Base::Ipv6, &[Put(14, &[0x50])]),
    ("ipv6-length-long", Base::Ipv6, &[Put(18, &[0x20, 0])]),
    ("ipv6-cut", Base::Ipv6, &[Cut(40)]),
    ("udp-length-short", Base::Udp, &[Put(38, &[0, 4])]),
    ("udp-length-long", Base::Udp, &[Put(38, &[0x10, 0])]),
    ("udp-checksum", Base::Udp, &[Put(40, &[0xde, 0xad])]),
    ("udp-cut", Base::Udp, &[Cut(38)]),
    (
        "tcp-offset-short",
        Base::Tcp,
        &[Put(46, &[0x40]), Transport(50)],
    ),
    (
        "tcp-offset-long",
        Base::Tcp,
        &[Put(46, &[0xf0]), Transport(50)],
    ),
    (
        "tcp-option-zero",
        Base::Tcp,
        &[Put(46, &[0x60]), Put(54, &[2, 0]), Transport(50)],
    ),
    ("tcp-checksum", Base::Tcp, &[Put(50, &[0xde, 0xad])]),
    ("tcp-cut", Base::Tcp, &[Cut(44)]),
    ("icmp-checksum", Base::Ping, &[Put(36, &[0xde, 0xad])]),
    ("icmp-cut", Base::Ping, &[Cut(38)]),
    ("gre-version", Base::Gre, &[Put(34, &[0, 5])]),
    ("gre-cut", Base::Gre, &[Cut(36)]),
    (
        "dns-pointer-loop",
        Base::Dns,
        &[Put(54, &[0xc0, 12]), Transport(40)],
    ),
    (
        "dns-counts",
        Base::Dns,
        &[Put(46, &[0xff; 8]), Transport(40)],
    ),
    ("dns-cut", Base::Dns, &[Cut(50)]),
];

/// `malformed KIND A B`: one packet with one thing wrong.
pub(crate) fn malformed(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let kind = segment.argument(0)?;
    let Some((_, base, breaks)) = FAULTS.iter().find(|(name, ..)| *name == kind.text) else {
        let names: Vec<_> = FAULTS.iter().map(|(name, ..)| *name).collect();
        return Err(kind.error(format!("no such fault; there are: {}", names.join(", "))));
    };
    let path = sender.world.path_between(segment, 1, 2)?;
    let IpAddr::V4(_) = path.source else {
        return Err(kind.error("malformed packets start from IPv4 hosts"));
    };
    let mut frame = base_frame(sender, segment, *base, path)?;
    for fault in *breaks {
        match *fault {
            Put(offset, bytes) => put(&mut frame, offset, bytes),
            Cut(length) => frame.truncate(length),
            Checksum => {
                put(&mut frame, 24, &[0, 0]);
                let header = frame.get(ETHERNET_LENGTH..34).unwrap_or(&[]);
                let checksum = fold(sum(header));
                put(&mut frame, 24, &checksum.to_be_bytes());
            }
            Transport(place) => {
                put(&mut frame, place, &[0, 0]);
                let protocol = frame.get(23).copied().unwrap_or(0);
                let segment = frame.get(34..).unwrap_or(&[]);
                let pseudo = pseudo_sum(path.source, path.destination, protocol, segment.len());
                let checksum = fold(pseudo + sum(segment));
                put(&mut frame, place, &checksum.to_be_bytes());
            }
        }
    }
    sender.send(false, frame)
}

fn base_frame(
    sender: &mut Sender<'_>,
    segment: &Segment,
    base: Base,
    path: Path,
) -> Result<Vec<u8>, Error> {
    let fields = sender.world.ip_fields(segment)?;
    let from = sender.world.ephemeral_port();
    let payload = sender.world.random.text(32);
    let v6 = |address| match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets().map(u16::from);
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, a, b, c, d))
        }
        same @ IpAddr::V6(_) => same,
    };
    let datagram = |path: &Path| udp(path, [from, 9_999], &payload);
    Ok(match base {
        Base::Udp => ip_frame(&path, &fields, PROTOCOL_UDP, &datagram(&path)),
        Base::Tcp => {
            let numbers = TcpFields {
                source_port: from,
                destination_port: 80,
                sequence: sender.world.random.word(),
                flags: ACK,
                window: 1_024,
                ..TcpFields::default()
            };
            let packet = tcp(&path, &numbers, &payload);
            ip_frame(&path, &fields, PROTOCOL_TCP, &packet)
        }
        Base::Ping => {
            let (protocol, message) = icmp(&path, [8, 0], [0, 1, 0, 1], &payload);
            ip_frame(&path, &fields, protocol, &message)
        }
        Base::Arp => {
            let packet = arp(1, (path.source_mac, [10, 0, 0, 1]), ([0; 6], [10, 0, 0, 2]));
            ethernet(&path, ETHER_ARP, &packet)
        }
        Base::Dns => {
            let query = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";
            ip_frame(&path, &fields, PROTOCOL_UDP, &udp(&path, [from, 53], query))
        }
        Base::Gre => {
            let (_, inner) = ip_packet(&path, &fields, PROTOCOL_UDP, &datagram(&path));
            let packet = [&[0, 0, 8, 0], inner.as_slice()].concat();
            ip_frame(&path, &fields, 47, &packet)
        }
        Base::Ipv6 => {
            let path = Path {
                source: v6(path.source),
                destination: v6(path.destination),
                ..path
            };
            ip_frame(&path, &fields, PROTOCOL_UDP, &datagram(&path))
        }
    })
}

/// `frame HEX`: these bytes.
pub(crate) fn frame(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    sender.send(false, segment.argument(0)?.hex()?)
}

/// `patch offset=N hex=BYTES`: overwrite bytes of each frame; checksums stay as they were.
pub(crate) fn patch(
    _: &mut World,
    segment: &Segment,
    mut frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let offset: usize = segment.number("offset", 65_535, 0)?;
    let bytes = segment.option("hex").map_or(Ok(Vec::new()), |w| w.hex())?;
    for frame in &mut frames {
        put(&mut frame.data, offset, &bytes);
    }
    Ok(frames)
}

/// `cut length=N`: frames that were sent too short.
pub(crate) fn cut(
    _: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let length: usize = segment.number("length", 65_535, 60)?;
    let shorten = |frame: &Frame| {
        let mut data = frame.data.clone();
        data.truncate(length);
        frame.with(data)
    };
    Ok(frames.iter().map(shorten).collect())
}

/// `snap length=N`: frames that were whole on the wire and cut by the capture.
pub(crate) fn snap(
    _: &mut World,
    segment: &Segment,
    mut frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let length: usize = segment.number("length", 65_535, 96)?;
    for frame in &mut frames {
        frame.data.truncate(length);
    }
    Ok(frames)
}
