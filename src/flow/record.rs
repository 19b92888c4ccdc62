//! What is left of a flow when it has ended.

use super::key::protocol;
use super::state::{Counters, Flow, Hot, bit};
use super::tcp::ends::{Ends, state_name};
use super::tcp::{HISTORY_MAX, TcpCounters};
use crate::dissect::application::detect::Application;
use crate::packet::{Direction, Timestamp};
use crate::ring::Position;
use arrayvec::ArrayString;
use std::net::IpAddr;

/// Why a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EndReason {
    /// TCP: both sides closed, and the last FIN was acknowledged.
    Closed,
    /// TCP: a RST.
    Reset,
    /// No packet for the time that its state allows.
    Idle,
    /// It lasted as long as a flow may; the next packet begins another one.
    Active,
    /// The input ended.
    EndOfInput,
}

impl EndReason {
    /// Every reason, in counter order.
    pub const ALL: [Self; 5] = [
        Self::Closed,
        Self::Reset,
        Self::Idle,
        Self::Active,
        Self::EndOfInput,
    ];

    /// Name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::EndOfInput => "end_of_input",
        }
    }
}

/// A flow that has ended. Arrays of two have the originator first.
#[derive(Debug, Clone)]
pub struct FlowRecord {
    /// Number of the flow's first packet.
    pub id: u64,
    /// When it ended: its deadline, or the packet before which it did. It decides the order of
    /// records, as it does not depend on when a worker notices.
    pub ended: Position,
    /// Originator's address and port; for ICMP, what Community ID puts in the place of ports.
    pub source: (IpAddr, u16),
    /// Responder's.
    pub destination: (IpAddr, u16),
    /// IP protocol number.
    pub protocol: u8,
    /// Outermost VLAN of the first packet; [`crate::packet::Facts::NO_VLAN`] when untagged.
    pub vlan: u16,
    /// Time of the first packet.
    pub start: Timestamp,
    /// Time of the last packet.
    pub end: Timestamp,
    /// Why it ended.
    pub reason: EndReason,
    /// How it ended, as Zeek names it: `SF`, `S0`, `REJ`, ...
    pub state: &'static str,
    /// What was seen in order, one letter each, as in Zeek's log.
    pub history: ArrayString<HISTORY_MAX>,
    /// Its last packets were only counted: it had more bytes than [`super::Settings::shunt_bytes`].
    pub shunted: bool,
    /// Counters by direction.
    pub counters: [Counters; 2],
    /// TCP only.
    pub tcp: Option<TcpRecord>,
    /// The application, if it became known.
    pub application: Application,
    /// What the application stage keeps for this flow, to be released;
    /// [`crate::dissect::application::stream::ApplicationState::NO_SLOT`] when nothing.
    pub application_slot: u32,
}

/// TCP part of a [`FlowRecord`].
#[derive(Debug, Clone, Copy)]
pub struct TcpRecord {
    /// Time from SYN to SYN+ACK in microseconds; 0 when not seen.
    pub server_rtt_us: u32,
    /// Time from SYN+ACK to ACK in microseconds; 0 when not seen.
    pub client_rtt_us: u32,
    /// Counters by direction.
    pub counters: [TcpCounters; 2],
}

impl FlowRecord {
    /// Record of a flow from both of its parts.
    pub(super) fn new(hot: &Hot, flow: &Flow, reason: EndReason, ended: Position) -> Self {
        let counters =
            [Direction::Originator, Direction::Responder].map(|side| hot.counters(flow, side));
        let (source, destination) = hot.key.ends(hot.state & bit::SECOND_ORIGINATES != 0);
        let protocol = hot.key.protocol();
        let history = flow.tcp.history();
        Self {
            id: hot.id,
            ended,
            source,
            destination,
            protocol,
            vlan: flow.vlan,
            start: flow.first,
            end: hot.last_seen(),
            reason,
            state: final_state(hot, &history, &counters),
            history,
            shunted: hot.is_shunted(),
            counters,
            tcp: (protocol == protocol::TCP).then(|| TcpRecord {
                server_rtt_us: flow.tcp.server_rtt_us,
                client_rtt_us: flow.tcp.client_rtt_us,
                counters: [Direction::Originator, Direction::Responder]
                    .map(|side| flow.tcp.counters(side)),
            }),
            application: flow.application.application,
            application_slot: flow.application.slot,
        }
    }

    /// Time from first to last packet in nanoseconds.
    pub const fn duration_nanos(&self) -> u64 {
        self.end.nanos_since(self.start)
    }
}

fn final_state(hot: &Hot, history: &str, counters: &[Counters; 2]) -> &'static str {
    let [originator, responder] = counters;
    match hot.key.protocol() {
        protocol::TCP => {
            let has_payload = originator.payload_bytes != 0 || responder.payload_bytes != 0;
            state_name(Ends(hot.state), history, has_payload)
        }
        protocol::UDP => match (originator.packets, responder.packets) {
            (0, _) => "SHR",
            (_, 0) => "S0",
            _ => "SF",
        },
        _ => "OTH",
    }
}
