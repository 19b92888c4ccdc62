//! Statements of short exchanges: `udp`, `dns`, `ping`, `redirect`, `arp`.

use super::packet::{
    ACK, ETHER_ARP, PROTOCOL_TCP, PROTOCOL_UDP, Path, RST, TcpFields, arp, ethernet, icmp,
    ip_frame, tcp, udp,
};
use super::stream::content;
use super::text::{Error, Segment, Word};
use super::world::Sender;
use std::net::IpAddr;

/// Largest UDP payload over IPv4 in a frame of 65,535 bytes.
const DATAGRAM_MAX: usize = 65_493;

/// Packets that one `ping`, `arp` or `redirect` sends.
const COUNT_MAX: u64 = 1_000_000;

/// Options of `udp`.
pub(crate) const UDP_OPTIONS: &[&str] = &["port", "from", "send", "reply"];
/// Options of `dns`.
pub(crate) const DNS_OPTIONS: &[&str] = &[
    "port",
    "from",
    "name",
    "type",
    "answer",
    "ttl-answer",
    "rcode",
    "transaction",
    "reply",
];
/// Options of `ping`.
pub(crate) const PING_OPTIONS: &[&str] = &["count", "size", "identifier", "every", "reply"];
/// Options of `redirect`.
pub(crate) const REDIRECT_OPTIONS: &[&str] = &["count", "gateway", "target", "every"];
/// Options of `arp`.
pub(crate) const ARP_OPTIONS: &[&str] = &["reply", "conflict", "gratuitous", "gap"];

/// Ethernet frames are padded to this length by the sender (64 bytes less the check sequence).
const FRAME_LENGTH_MIN: usize = 60;

/// `udp A B`: datagrams and replies in the order given; one of 32 bytes when none is given.
pub(crate) fn udp_statement(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    let [from, port] = sender.world.ports(segment, 9_999)?;
    let mut sent = false;
    for (key, value) in &segment.options {
        let reply = key.text == "reply";
        if reply || key.text == "send" {
            let payload = content(sender, value)?;
            if payload.len() > DATAGRAM_MAX {
                return Err(value.error(format!("a datagram has at most {DATAGRAM_MAX} bytes")));
            }
            datagram(sender, segment, path, [from, port], reply, &payload)?;
            sent = true;
        }
    }
    if !sent {
        let payload = sender.world.random.text(32);
        datagram(sender, segment, path, [from, port], false, &payload)?;
    }
    Ok(())
}

/// Send one datagram, or the reply to it: `ports` are those of the question.
fn datagram(
    sender: &mut Sender<'_>,
    segment: &Segment,
    path: Path,
    ports: [u16; 2],
    reply: bool,
    payload: &[u8],
) -> Result<(), Error> {
    let [from, port] = ports;
    let (path, ports) = if reply {
        (path.reverse(), [port, from])
    } else {
        (path, ports)
    };
    let fields = sender.world.ip_fields(segment)?;
    let packet = udp(&path, ports, payload);
    sender.send(reply, ip_frame(&path, &fields, PROTOCOL_UDP, &packet))
}

/// `dns A B`: a query and, unless `reply=no`, its response.
pub(crate) fn dns(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    let ports = sender.world.ports(segment, 53)?;
    let transaction = sender.world.random.short();
    let transaction = segment.number("transaction", 0xffff, transaction)?;
    let code = record_type(segment)?;
    let mut question = Vec::new();
    match segment.option("name") {
        Some(word) => domain(word, &mut question)?,
        None => question.extend(b"\x03www\x07example\x03org\x00"),
    }
    question.extend(code.to_be_bytes());
    question.extend([0, 1]);
    let query = dns_message(transaction, 0x0100, 0, &question);
    datagram(sender, segment, path, ports, false, &query)?;
    if !segment.flag("reply", true)? {
        return Ok(());
    }
    let seconds: u32 = segment.number("ttl-answer", u64::from(u32::MAX), 300)?;
    let mut answers = 0;
    for answer in segment.options("answer") {
        // The name is the one at offset 12, the question's.
        question.extend([0xc0, 12]);
        question.extend(code.to_be_bytes());
        question.extend([0, 1]);
        question.extend(seconds.to_be_bytes());
        let data = record_data(code, answer)?;
        question.extend(super::packet::short(data.len()).to_be_bytes());
        question.extend(data);
        answers += 1;
    }
    let rcode: u16 = segment.number("rcode", 15, 0)?;
    let response = dns_message(transaction, 0x8180 | rcode, answers, &question);
    if response.len() > DATAGRAM_MAX {
        return Err(segment.keyword.error("these answers do not fit a datagram"));
    }
    datagram(sender, segment, path, ports, true, &response)
}

fn dns_message(transaction: u16, flags: u16, answers: u16, rest: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(12 + rest.len());
    for number in [transaction, flags, 1, answers, 0, 0] {
        message.extend(number.to_be_bytes());
    }
    message.extend(rest);
    message
}

fn record_type(segment: &Segment) -> Result<u16, Error> {
    let Some(word) = segment.option("type") else {
        return Ok(1);
    };
    Ok(match word.text.as_str() {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "PTR" => 12,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "ANY" => 255,
        _ => word.integer(0xffff)?,
    })
}

/// A domain name in the wire format (RFC 1035, 3.1).
fn domain(word: &Word, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let began = bytes.len();
    for label in word.text.split('.').filter(|label| !label.is_empty()) {
        match u8::try_from(label.len()) {
            Ok(length @ 1..=63) => bytes.push(length),
            _ => return Err(word.error("a label of a name has at most 63 bytes")),
        }
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    if bytes.len() - began > 255 {
        return Err(word.error("a name has at most 255 bytes"));
    }
    Ok(())
}

fn record_data(code: u16, answer: &Word) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    match (code, answer.quoted) {
        (1 | 28, _) => match (code, answer.address()?) {
            (1, IpAddr::V4(v4)) => data.extend(v4.octets()),
            (28, IpAddr::V6(v6)) => data.extend(v6.octets()),
            _ => return Err(answer.error("this address is not of the record's IP version")),
        },
        (2 | 5 | 12, _) => domain(answer, &mut data)?,
        (15, _) => {
            data.extend([0, 10]);
            domain(answer, &mut data)?;
        }
        (16, _) => {
            for part in answer.bytes().chunks(255) {
                data.push(u8::try_from(part.len()).unwrap_or(0));
                data.extend(part);
            }
        }
        _ => data.extend(answer.bytes()),
    }
    Ok(data)
}

/// `ping A B`: echo requests and, unless `reply=no`, their replies.
pub(crate) fn ping(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    let count: u32 = segment.number("count", COUNT_MAX, 1)?;
    let size: usize = segment.number("size", 65_000, 56)?;
    let every = segment.time("every", 0)?;
    let identifier = sender.world.random.short();
    let identifier: u16 = segment.number("identifier", 0xffff, identifier)?;
    let reply = segment.flag("reply", true)?;
    let kinds: [u8; 2] = if path.source.is_ipv6() {
        [128, 129]
    } else {
        [8, 0]
    };
    let payload = sender.world.random.text(size);
    for sequence in 1..=count {
        let [a, b] = identifier.to_be_bytes();
        let [.., c, d] = sequence.to_be_bytes();
        for (kind, is_reply) in kinds.into_iter().zip([false, true]) {
            if is_reply && !reply {
                continue;
            }
            let path = if is_reply { path.reverse() } else { path };
            let (protocol, message) = icmp(&path, [kind, 0], [a, b, c, d], &payload);
            let fields = sender.world.ip_fields(segment)?;
            sender.send(is_reply, ip_frame(&path, &fields, protocol, &message))?;
        }
        sender.pause(every);
    }
    Ok(())
}

/// `redirect A B`: router A tells host B to send what it has for `target` to `gateway` (ICMPv4).
pub(crate) fn redirect(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    let IpAddr::V4(host) = path.destination else {
        return Err(segment.keyword.error("redirect is for IPv4 hosts"));
    };
    let v4 = |key: &str, default: [u8; 4]| match segment.option(key) {
        Some(word) => match word.address()? {
            IpAddr::V4(v4) => Ok(v4.octets()),
            IpAddr::V6(_) => Err(word.error("expected an IPv4 address")),
        },
        None => Ok(default),
    };
    let gateway = v4("gateway", [10, 0, 0, 254])?;
    let target = v4("target", [192, 0, 2, 1])?;
    let every = segment.time("every", 0)?;
    for _ in 0..segment.number("count", COUNT_MAX, 1u32)? {
        let about = Path {
            source: IpAddr::V4(host),
            destination: IpAddr::from(target),
            ..path
        };
        let quoted = quote(sender, segment, &about)?;
        let (protocol, message) = icmp(&path, [5, 1], gateway, &quoted);
        let fields = sender.world.ip_fields(segment)?;
        sender.send(false, ip_frame(&path, &fields, protocol, &message))?;
        sender.pause(every);
    }
    Ok(())
}

/// The start of a packet as an ICMP error quotes it.
fn quote(sender: &mut Sender<'_>, segment: &Segment, about: &Path) -> Result<Vec<u8>, Error> {
    let fields = sender.world.ip_fields(segment)?;
    let datagram = udp(about, [sender.world.ephemeral_port(), 33_434], b"");
    Ok(super::packet::ip_packet(about, &fields, PROTOCOL_UDP, &datagram).1)
}

/// `arp A B`: A asks for B's address; B answers, and so does each `conflict` host for B's address.
/// With `gratuitous=yes` A announces its own address instead.
pub(crate) fn arp_statement(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    let (IpAddr::V4(asker), IpAddr::V4(asked)) = (path.source, path.destination) else {
        return Err(segment.keyword.error("arp is for IPv4 hosts"));
    };
    let asker = (path.source_mac, asker.octets());
    let everyone = Path {
        destination_mac: [0xff; 6],
        ..path
    };
    let frame = |path: &Path, packet: Vec<u8>| {
        let mut frame = ethernet(path, ETHER_ARP, &packet);
        frame.resize(FRAME_LENGTH_MIN, 0);
        frame
    };
    if segment.flag("gratuitous", false)? {
        let packet = arp(1, asker, ([0; 6], asker.1));
        return sender.send(false, frame(&everyone, packet));
    }
    let request = arp(1, asker, ([0; 6], asked.octets()));
    sender.send(false, frame(&everyone, request))?;
    let mut claimants = Vec::new();
    if segment.flag("reply", true)? {
        claimants.push(path.destination_mac);
    }
    for word in segment.options("conflict") {
        claimants.push(sender.world.mac_of(word)?);
    }
    for mac in claimants {
        let back = Path {
            destination_mac: mac,
            ..path
        }
        .reverse();
        let reply = arp(2, (mac, asked.octets()), asker);
        sender.send(true, frame(&back, reply))?;
    }
    Ok(())
}

/// `reset A B`: a lone RST, as half of a scanner's work or an attack on somebody's connection.
pub(crate) fn reset(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    let [source_port, destination_port] = sender.world.ports(segment, 80)?;
    let fields = TcpFields {
        source_port,
        destination_port,
        sequence: sender.world.random.word(),
        flags: RST | ACK,
        ..TcpFields::default()
    };
    let packet = tcp(&path, &fields, b"");
    let fields = sender.world.ip_fields(segment)?;
    sender.send(false, ip_frame(&path, &fields, PROTOCOL_TCP, &packet))
}
