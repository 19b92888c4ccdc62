//! Statements of attackers that look for or exhaust services: `scan`, `flood`.

use super::packet::{
    ACK, FIN, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP, PSH, Path, RST, SYN, TcpFields, URG, icmp,
    ip_frame, sctp, tcp, udp,
};
use super::text::{Error, Segment, Word};
use super::world::Sender;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Options of `scan`.
pub(crate) const SCAN_OPTIONS: &[&str] = &["ports", "from", "open", "every", "answer"];
/// Options of `flood`.
pub(crate) const FLOOD_OPTIONS: &[&str] = &["port", "from", "count", "every", "spoof", "answer"];

const PORTS_MAX: usize = 65_536;
const FLOOD_MAX: u64 = 1_000_000;

/// How a scan probes a port.
#[derive(Debug, Clone, Copy)]
enum Probe {
    /// A TCP segment with these flags.
    Tcp(u8),
    Udp,
    SctpInit,
    SctpCookie,
    /// An IP packet of the protocol that "port" stands for.
    Protocol,
}

/// Every kind of scan by its name.
const PROBES: &[(&str, Probe)] = &[
    ("syn", Probe::Tcp(SYN)),
    ("fin", Probe::Tcp(FIN)),
    ("null", Probe::Tcp(0)),
    ("xmas", Probe::Tcp(FIN | PSH | URG)),
    ("ack", Probe::Tcp(ACK)),
    ("maimon", Probe::Tcp(FIN | ACK)),
    ("udp", Probe::Udp),
    ("sctp-init", Probe::SctpInit),
    ("sctp-cookie", Probe::SctpCookie),
    ("protocol", Probe::Protocol),
];

/// One probe under way.
struct Attempt<'a> {
    segment: &'a Segment,
    path: Path,
    ports: [u16; 2],
    open: bool,
    answer: bool,
}

/// `scan KIND A B ports=LIST`: a probe to each port, and what a host with the `open` ones answers.
pub(crate) fn scan(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let kind = segment.argument(0)?;
    let Some((_, probe)) = PROBES.iter().find(|(name, _)| *name == kind.text) else {
        let names: Vec<_> = PROBES.iter().map(|(name, _)| *name).collect();
        return Err(kind.error(format!("no such scan; there are: {}", names.join(", "))));
    };
    let path = sender.world.path_between(segment, 1, 2)?;
    let largest = match probe {
        Probe::Protocol => 255,
        _ => 0xffff,
    };
    let list = |key: &str, default: &[u64]| match segment.option(key) {
        Some(word) => word.numbers(largest, PORTS_MAX),
        None => Ok(default.to_vec()),
    };
    let ports = list("ports", &[22, 80, 111])?;
    let open = list("open", &[])?;
    let every = segment.time("every", 0)?;
    let [from, _] = sender.world.ports(segment, 0)?;
    for port in ports {
        let attempt = Attempt {
            segment,
            path,
            ports: [from, u16::try_from(port).unwrap_or(0)],
            open: open.contains(&port),
            answer: segment.flag("answer", true)?,
        };
        match *probe {
            Probe::Tcp(flags) => attempt.tcp(sender, flags)?,
            Probe::Udp => attempt.udp(sender)?,
            Probe::SctpInit => attempt.sctp(sender, 1, 2)?,
            Probe::SctpCookie => attempt.sctp(sender, 10, 11)?,
            Probe::Protocol => attempt.protocol(sender)?,
        }
        sender.pause(every);
    }
    Ok(())
}

impl Attempt<'_> {
    fn send(
        &self,
        sender: &mut Sender<'_>,
        reply: bool,
        protocol: u8,
        payload: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let path = if reply {
            self.path.reverse()
        } else {
            self.path
        };
        let fields = sender.world.ip_fields(self.segment)?;
        let frame = ip_frame(&path, &fields, protocol, payload);
        sender.send(reply, frame.clone())?;
        Ok(frame)
    }

    fn segment(
        &self,
        sender: &mut Sender<'_>,
        reply: bool,
        flags: u8,
        numbers: [u32; 2],
    ) -> Result<(), Error> {
        let [from, to] = self.ports;
        let (path, ports) = if reply {
            (self.path.reverse(), [to, from])
        } else {
            (self.path, self.ports)
        };
        let [sequence, acknowledgment] = numbers;
        let fields = TcpFields {
            source_port: ports[0],
            destination_port: ports[1],
            sequence,
            acknowledgment,
            flags,
            window: if flags & RST == 0 { 1_024 } else { 0 },
            segment_max: if flags & SYN == 0 { 0 } else { 1_460 },
            urgent_pointer: None,
        };
        self.send(sender, reply, PROTOCOL_TCP, &tcp(&path, &fields, b""))?;
        Ok(())
    }

    /// What a port answers to an unexpected segment: RFC 9293, 3.10.7.1 and 3.10.7.2.
    fn tcp(&self, sender: &mut Sender<'_>, flags: u8) -> Result<(), Error> {
        let ours = sender.world.random.word();
        let theirs = sender.world.random.word();
        let acknowledged = if flags & ACK == 0 { 0 } else { theirs };
        self.segment(sender, false, flags, [ours, acknowledged])?;
        if !self.answer {
            return Ok(());
        }
        let next = ours.wrapping_add(u32::from(flags & (SYN | FIN) != 0));
        if flags & ACK != 0 {
            return self.segment(sender, true, RST, [theirs, 0]);
        }
        match (flags & SYN != 0, self.open) {
            (true, true) => {
                self.segment(sender, true, SYN | ACK, [theirs, next])?;
                self.segment(sender, false, RST, [next, 0])
            }
            // A listening port drops what is neither SYN, ACK nor RST.
            (false, true) => Ok(()),
            (_, false) => self.segment(sender, true, RST | ACK, [0, next]),
        }
    }

    fn udp(&self, sender: &mut Sender<'_>) -> Result<(), Error> {
        let probe = self.send(
            sender,
            false,
            PROTOCOL_UDP,
            &udp(&self.path, self.ports, b""),
        )?;
        if self.open || !self.answer {
            return Ok(());
        }
        self.unreachable(sender, &probe, [3, 4])
    }

    fn protocol(&self, sender: &mut Sender<'_>) -> Result<(), Error> {
        let number = u8::try_from(self.ports[1]).unwrap_or(0);
        let probe = self.send(sender, false, number, b"")?;
        if self.open || !self.answer {
            return Ok(());
        }
        self.unreachable(sender, &probe, [2, 3])
    }

    /// An ICMP "unreachable" about `probe`; `codes` are those of ICMP and of ICMPv6.
    fn unreachable(
        &self,
        sender: &mut Sender<'_>,
        probe: &[u8],
        codes: [u8; 2],
    ) -> Result<(), Error> {
        let kind = match self.path.source {
            IpAddr::V4(_) => [3, codes[0]],
            IpAddr::V6(_) => [1, codes[1]],
        };
        let quoted = probe.get(super::packet::ETHERNET_LENGTH..).unwrap_or(&[]);
        let (protocol, message) = icmp(&self.path.reverse(), kind, [0; 4], quoted);
        self.send(sender, true, protocol, &message).map(|_| ())
    }

    /// A chunk of type `kind`, answered by ABORT or, from an open port, by a chunk of type
    /// `accept`.
    fn sctp(&self, sender: &mut Sender<'_>, kind: u8, accept: u8) -> Result<(), Error> {
        let [from, to] = self.ports;
        let tag = sender.world.random.word() | 1;
        let (value, verification) = match kind {
            1 => (init(sender, tag), 0),
            _ => (sender.world.random.text(16), tag),
        };
        let probe = sctp(self.ports, verification, [kind, 0], &value);
        self.send(sender, false, PROTOCOL_SCTP, &probe)?;
        if !self.answer {
            return Ok(());
        }
        let answer = match (self.open, accept) {
            (true, 2) => {
                let mut value = init(sender, tag ^ 0xffff);
                // The state cookie parameter, which INIT ACK must carry.
                value.extend([0, 7, 0, 20]);
                value.extend(sender.world.random.text(16));
                sctp([to, from], tag, [accept, 0], &value)
            }
            (true, _) => sctp([to, from], tag, [accept, 0], b""),
            (false, _) => sctp([to, from], tag, [6, 0], b""),
        };
        self.send(sender, true, PROTOCOL_SCTP, &answer).map(|_| ())
    }
}

/// The fixed part of an INIT chunk: tag, window, streams out and in, first TSN.
fn init(sender: &mut Sender<'_>, tag: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend(0x8000_u32.to_be_bytes());
    value.extend([0, 10, 0, 10]);
    value.extend(sender.world.random.word().to_be_bytes());
    value
}

/// `flood A B`: SYN after SYN to one port, from made-up addresses beside A's with `spoof=yes`.
pub(crate) fn flood(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let mut path = sender.world.path(segment)?;
    let [_, port] = sender.world.ports(segment, 80)?;
    let spoof = segment.flag("spoof", false)?;
    let answer = segment.flag("answer", true)?;
    let every = segment.time("every", 0)?;
    let first = path.source;
    let fixed: Option<u16> = match segment
        .option("from")
        .map(|word: &Word| word.integer(0xffff))
    {
        Some(port) => Some(port?),
        None => None,
    };
    for number in 0..segment.number("count", FLOOD_MAX, 100u32)? {
        if spoof {
            path.source = match first {
                IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4).wrapping_add(number)).into(),
                IpAddr::V6(v6) => {
                    Ipv6Addr::from(u128::from(v6).wrapping_add(u128::from(number))).into()
                }
            };
        }
        let from = fixed.unwrap_or_else(|| sender.world.ephemeral_port());
        let attempt = Attempt {
            segment,
            path,
            ports: [from, port],
            open: true,
            answer,
        };
        let ours = sender.world.random.word();
        attempt.segment(sender, false, SYN, [ours, 0])?;
        if answer {
            let theirs = sender.world.random.word();
            attempt.segment(sender, true, SYN | ACK, [theirs, ours.wrapping_add(1)])?;
        }
        sender.pause(every);
    }
    Ok(())
}
