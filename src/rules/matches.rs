//! What goes into the joins and what comes out of them.

use super::joined::Seen;
use super::program::Program;
use super::verdict::Verdict;
use crate::dissect::ProtocolSet;
use crate::packet::Timestamp;
use crate::ring::Position;

/// A verdict with what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Place of the rule among the loaded ones.
    pub rule: u32,
    /// What is said.
    pub verdict: Verdict,
    /// Event time: that of the deciding packet, or the deadline that passed.
    pub timestamp: Timestamp,
    /// Number of the deciding packet; 0 for a deadline.
    pub packet: u64,
    /// It was a deadline that decided.
    pub timed_out: bool,
    /// Bound events: bit N for event N.
    pub bound: u64,
    /// Their records, laid out as the rule's program says.
    pub record: Box<[u8]>,
    /// Its place among all alerts, which does not depend on who finds it.
    pub position: Position,
}

/// An event of a rule that one packet allows.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// Place of the rule.
    pub rule: u32,
    /// Which event, from 1.
    pub event: u8,
    /// When.
    pub timestamp: Timestamp,
    /// Its place among all matches: the clock, the number of the packet, and the order within it.
    pub at: Position,
    /// What it shows.
    pub seen: Seen<'a>,
}

/// Asks the current packet whether it may also be another event, for operators of one packet.
pub trait SamePacket {
    /// Does the packet allow it? Its record is then in `record`.
    fn other(&mut self, program: &Program, event: u8, record: &mut Vec<u8>) -> bool;

    /// Its protocols.
    fn protocols(&self) -> ProtocolSet;
}

/// Work on one packet, if nothing else is said: some milliseconds. Ordinary packets take some
/// dozen; with it, no packet costs more than a few thousand ordinary ones, whatever the rules.
pub const WORK_MAX: u64 = 65_536;

/// Counters of the joins; all only grow but `instances` and `live`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Matches taken in, by rule.
    pub matches: Vec<u64>,
    /// Verdicts, by rule.
    pub alerts: Vec<u64>,
    /// Instances evicted because a bound was reached, by rule.
    pub evicted: Vec<u64>,
    /// Packets for which [`Limits::work`] was used up, by the rule at which it was.
    pub exceeded: Vec<u64>,
    /// Classes of instances that a match was tried against.
    pub tries: u64,
    /// Instances now, by rule; as of the latest look at all counters.
    pub instances: Vec<u64>,
    /// Instances now.
    pub live: u64,
}

/// Bounds on instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one rule.
    pub per_rule: usize,
    /// Of all rules together, beside one for each rule.
    pub total: usize,
    /// Work on one packet: events of rules that it is looked at for, and classes of instances that
    /// it is tried against.
    pub work: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_rule: 100_000,
            total: 1_000_000,
            work: WORK_MAX,
        }
    }
}
