//! The project's own traffic: scenarios to frames (`world`), real captures to large ones
//! (`replicate`). Tests include this module by path and generate what they need in memory.

pub(crate) mod exchange;
pub(crate) mod fragment;
pub(crate) mod malformed;
pub(crate) mod packet;
pub(crate) mod random;
pub(crate) mod raw;
pub(crate) mod replicate;
pub(crate) mod scan;
pub(crate) mod send;
pub(crate) mod stream;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod tunnel;
pub(crate) mod world;

use std::io::{self, Write};
use wirelynx::capture::writer::PcapWriter;
use wirelynx::packet::LinkType;
use world::{Frame, IP_OPTIONS, Modifier, Statement};

const fn statement(
    name: &'static str,
    arguments: usize,
    options: &'static [&'static [&'static str]],
    run: fn(&mut world::Sender<'_>, &text::Segment) -> Result<(), text::Error>,
) -> Statement {
    Statement {
        name,
        arguments,
        options,
        run,
    }
}

/// Every statement that sends frames.
pub(crate) const STATEMENTS: &[Statement] = &[
    statement(
        "tcp",
        2,
        &[IP_OPTIONS, stream::CONNECTION_OPTIONS, stream::TCP_OPTIONS],
        stream::tcp_statement,
    ),
    statement(
        "http",
        2,
        &[IP_OPTIONS, stream::CONNECTION_OPTIONS, stream::HTTP_OPTIONS],
        stream::http,
    ),
    statement(
        "ssh-attempt",
        2,
        &[IP_OPTIONS, stream::CONNECTION_OPTIONS],
        stream::ssh_attempt,
    ),
    statement(
        "reset",
        2,
        &[IP_OPTIONS, &["port", "from"]],
        exchange::reset,
    ),
    statement(
        "udp",
        2,
        &[IP_OPTIONS, exchange::UDP_OPTIONS],
        exchange::udp_statement,
    ),
    statement(
        "dns",
        2,
        &[IP_OPTIONS, exchange::DNS_OPTIONS],
        exchange::dns,
    ),
    statement(
        "ping",
        2,
        &[IP_OPTIONS, exchange::PING_OPTIONS],
        exchange::ping,
    ),
    statement(
        "redirect",
        2,
        &[IP_OPTIONS, exchange::REDIRECT_OPTIONS],
        exchange::redirect,
    ),
    statement("arp", 2, &[exchange::ARP_OPTIONS], exchange::arp_statement),
    statement("scan", 3, &[IP_OPTIONS, scan::SCAN_OPTIONS], scan::scan),
    statement("flood", 2, &[IP_OPTIONS, scan::FLOOD_OPTIONS], scan::flood),
    statement("malformed", 3, &[IP_OPTIONS], malformed::malformed),
    statement(
        "segment",
        2,
        &[IP_OPTIONS, raw::SEGMENT_OPTIONS],
        raw::segment,
    ),
    statement(
        "icmp",
        2,
        &[IP_OPTIONS, raw::ICMP_OPTIONS],
        raw::icmp_statement,
    ),
    statement(
        "ip",
        2,
        &[IP_OPTIONS, raw::IP_PACKET_OPTIONS],
        raw::ip_packet,
    ),
    statement("frame", 1, &[&["gap"]], malformed::frame),
];

const fn modifier(
    name: &'static str,
    arguments: usize,
    options: &'static [&'static [&'static str]],
    apply: world::Apply,
) -> Modifier {
    Modifier {
        name,
        arguments,
        options,
        apply,
    }
}

/// Every modifier, `at` and `repeat` excepted: those are about time and belong to the line.
pub(crate) const MODIFIERS: &[Modifier] = &[
    modifier("fragment", 0, &[fragment::OPTIONS], fragment::fragment),
    modifier("vlan", 0, &[&["id", "priority", "tpid"]], tunnel::vlan),
    modifier("qinq", 0, &[&["outer", "inner"]], tunnel::qinq),
    modifier("mpls", 0, &[&["label", "ttl"]], tunnel::mpls),
    modifier("pppoe", 0, &[&["session"]], tunnel::pppoe),
    modifier("ipip", 2, &[IP_OPTIONS], tunnel::ipip),
    modifier("6in4", 2, &[IP_OPTIONS], tunnel::ipip),
    modifier("gre", 2, &[IP_OPTIONS, tunnel::GRE_OPTIONS], tunnel::gre),
    modifier(
        "erspan",
        2,
        &[IP_OPTIONS, &["session", "vlan"]],
        tunnel::erspan,
    ),
    modifier("vxlan", 2, &[IP_OPTIONS, &["vni"]], tunnel::vxlan),
    modifier("geneve", 2, &[IP_OPTIONS, &["vni"]], tunnel::geneve),
    modifier("gtpu", 2, &[IP_OPTIONS, &["teid"]], tunnel::gtpu),
    modifier("patch", 0, &[&["offset", "hex"]], malformed::patch),
    modifier("cut", 0, &[&["length"]], malformed::cut),
    modifier("snap", 0, &[&["length"]], malformed::snap),
];

/// Run a scenario: its frames in the order of time. The same text and seed give the same frames.
///
/// # Errors
/// What is wrong with the text, and where.
pub(crate) fn generate(text: &str, seed: u64) -> Result<Vec<Frame>, text::Error> {
    world::generate(text, seed)
}

/// Write frames as a capture file.
///
/// # Errors
/// What the writer says.
pub(crate) fn write_capture(frames: &[Frame], out: impl Write) -> io::Result<()> {
    let mut writer = PcapWriter::new(out, LinkType::ETHERNET)?;
    for frame in frames {
        writer.write(&frame.view())?;
    }
    writer.flush()
}
