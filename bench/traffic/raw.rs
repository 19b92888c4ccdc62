//! Statements of one packet each, field by field: `segment`, `icmp`, `ip`.

use super::packet::{
    ACK, CWR, ECE, FIN, PROTOCOL_TCP, PSH, RST, SYN, TcpFields, URG, icmp, ip_frame, tcp,
};
use super::stream::content;
use super::text::{Error, Segment, Word};
use super::world::Sender;

/// Options of `segment`.
pub(crate) const SEGMENT_OPTIONS: &[&str] = &[
    "port",
    "from",
    "flags",
    "sequence",
    "acknowledgment",
    "window",
    "urgent-pointer",
    "send",
];
/// Options of `icmp`.
pub(crate) const ICMP_OPTIONS: &[&str] = &["type", "code", "rest", "send"];
/// Options of `ip`.
pub(crate) const IP_PACKET_OPTIONS: &[&str] = &["protocol", "send"];

/// Largest payload that fits a frame of 65,535 bytes behind any of the headers.
const PAYLOAD_MAX: usize = 65_400;

/// Every TCP flag by its name.
const FLAGS: &[(&str, u8)] = &[
    ("none", 0),
    ("fin", FIN),
    ("syn", SYN),
    ("rst", RST),
    ("psh", PSH),
    ("ack", ACK),
    ("urg", URG),
    ("ece", ECE),
    ("cwr", CWR),
];

/// What `send` asks for; nothing where it is not given.
fn payload(sender: &mut Sender<'_>, segment: &Segment) -> Result<Vec<u8>, Error> {
    let Some(word) = segment.option("send") else {
        return Ok(Vec::new());
    };
    let bytes = content(sender, word)?;
    match bytes.len() > PAYLOAD_MAX {
        true => Err(word.error(format!("a packet has room for {PAYLOAD_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// Names with `+` between them.
fn flags(word: &Word) -> Result<u8, Error> {
    let mut flags = 0;
    for name in word.text.split('+') {
        match FLAGS.iter().find(|(known, _)| *known == name) {
            Some((_, flag)) => flags |= flag,
            None => {
                let names: Vec<_> = FLAGS.iter().map(|(name, _)| *name).collect();
                let known = names.join(", ");
                return Err(word.error(format!("`{name}` is no flag; there are: {known}")));
            }
        }
    }
    Ok(flags)
}

/// `segment A B`: one TCP segment with these fields, an ACK when nothing is said.
pub(crate) fn segment(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    let [source_port, destination_port] = sender.world.ports(segment, 80)?;
    let most = u64::from(u32::MAX);
    let sequence = sender.world.random.word();
    let flags = segment.option("flags").map_or(Ok(ACK), flags)?;
    let fields = TcpFields {
        source_port,
        destination_port,
        sequence: segment.number("sequence", most, sequence)?,
        acknowledgment: segment.number("acknowledgment", most, 0)?,
        flags,
        window: segment.number("window", 0xffff, 64_240)?,
        segment_max: if flags & SYN == 0 { 0 } else { 1_460 },
        urgent_pointer: match segment.option("urgent-pointer") {
            Some(word) => Some(word.integer(0xffff)?),
            None => None,
        },
    };
    let packet = tcp(&path, &fields, &payload(sender, segment)?);
    let fields = sender.world.ip_fields(segment)?;
    sender.send(false, ip_frame(&path, &fields, PROTOCOL_TCP, &packet))
}

/// `icmp A B`: one ICMP message, ICMPv6 between IPv6 addresses; `rest` is the second word of its
/// header.
pub(crate) fn icmp_statement(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    let kind = [
        segment.number("type", 255, 8)?,
        segment.number("code", 255, 0)?,
    ];
    let rest = match segment.option("rest") {
        None => [0; 4],
        Some(word) => <[u8; 4]>::try_from(word.hex()?)
            .map_err(|bytes| word.error(format!("expected 4 bytes, not {}", bytes.len())))?,
    };
    let (protocol, message) = icmp(&path, kind, rest, &payload(sender, segment)?);
    let fields = sender.world.ip_fields(segment)?;
    sender.send(false, ip_frame(&path, &fields, protocol, &message))
}

/// `ip A B`: one IP packet of any protocol.
pub(crate) fn ip_packet(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let path = sender.world.path(segment)?;
    // 253 is for experiments (RFC 3692).
    let protocol: u8 = segment.number("protocol", 255, 253)?;
    let payload = payload(sender, segment)?;
    let fields = sender.world.ip_fields(segment)?;
    sender.send(false, ip_frame(&path, &fields, protocol, &payload))
}
