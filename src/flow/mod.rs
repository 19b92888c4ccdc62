//! Packets to flows: which packets belong together, what state they leave their flow in, and a
//! record of each flow that ended.
//!
//! A burst goes through in passes, so that the memory of all its flows is fetched at the same time
//! and not one after the other: keys and hashes, which ask for the buckets; the buckets, which ask
//! for the flows; then the work. All memory is taken at start, and all time is that of the packets.

pub mod blocks;
pub mod fragments;
pub mod largest;
pub mod reassembly;

mod community_id;
mod expiry;
mod key;
mod observation;
mod record;
mod settings;
mod state;
pub mod steering;
mod table;
mod tcp;
#[cfg(test)]
mod test_packets;

pub use community_id::community_id;
pub use key::Key;
pub use record::{EndReason, FlowRecord, TcpRecord};
pub use settings::{SHUNT_BYTES_MAX, Settings};
pub use state::{Counters, Flow};
pub use tcp::{HISTORY_MAX, RoundTrips, TcpCounters};

use crate::limits::BURST_MAX;
use crate::packet::{Direction, Facts, FlowFacts, Frame, Timestamp};
use crate::ring::Position;
use arrayvec::ArrayVec;
use expiry::Wheel;
use key::{Secret, protocol};
use largest::{Candidates, LARGEST_MAX, Large};
use observation::{Observation, Untracked};
use settings::{Class, Timeouts};
use state::{Hot, bit, mark};
use table::Table;
use tcp::ends::{End, Ends};
use tcp::flag;

/// Flows looked at, and slots passed, in one call of [`Flows::expire`]: some 20 us of work.
const EXPIRY_WORK_MAX: u32 = 256;

/// Packets between two looks for idle flows. Each packet begins one flow at most, so the work above
/// is eight times what keeps up with any traffic. They are counted over all bursts: if a look came
/// with the end of a burst, flows would end earlier or later with its size.
const EXPIRY_PACKETS: u32 = 32;

/// What the flow stage counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FlowCounters {
    /// Flows created.
    pub created: u64,
    /// Flows ended, by [`EndReason`].
    pub ended: [u64; EndReason::ALL.len()],
    /// Flows now.
    pub active: u64,
    /// Packets that belong to a flow.
    pub packets: u64,
    /// Packets of flows for which the table had no room.
    pub table_full: u64,
    /// Packets without an IP header.
    pub not_ip: u64,
    /// Fragments that were not put together.
    pub fragments: u64,
    /// Packets that the capture cut off before their ports.
    pub cut_off: u64,
    /// Packets of shunted flows, which were only counted. They are among `packets`.
    pub shunted_packets: u64,
    /// Bytes of their frames.
    pub shunted_bytes: u64,
    /// Flows that became shunted.
    pub shunted_flows: u64,
}

impl FlowCounters {
    /// Packets that belong to no flow by reason, for metrics.
    pub const fn untracked_named(&self) -> [(&'static str, u64); 4] {
        [
            ("table_full", self.table_full),
            ("not_ip", self.not_ip),
            ("fragments", self.fragments),
            ("cut_off", self.cut_off),
        ]
    }

    /// What was only counted, for metrics.
    pub const fn shunted_named(&self) -> [(&'static str, u64); 3] {
        [
            ("shunted_packets", self.shunted_packets),
            ("shunted_bytes", self.shunted_bytes),
            ("shunted_flows", self.shunted_flows),
        ]
    }

    /// Flows ended by reason, for metrics.
    pub fn ended_named(&self) -> [(&'static str, u64); EndReason::ALL.len()] {
        let mut named = [("", 0); EndReason::ALL.len()];
        for ((slot, reason), count) in named.iter_mut().zip(EndReason::ALL).zip(self.ended) {
            *slot = (reason.name(), count);
        }
        named
    }
}

/// The flows of one worker.
#[derive(Debug)]
pub struct Flows {
    secret: Secret,
    timeouts: Timeouts,
    vlan_in_key: bool,
    table: Table,
    hot: Vec<Hot>,
    cold: Vec<Flow>,
    free: Vec<u32>,
    wheel: Wheel,
    next_id: u64,
    /// The latest time that any packet had.
    latest: Timestamp,
    /// Packets until the next look for idle flows.
    until_expiry: u32,
    counters: FlowCounters,
    candidates: Candidates,
    /// Of the burst at work.
    burst: Vec<Observation>,
}

/// Called with each flow that ended.
type Ended<'a> = &'a mut dyn FnMut(&FlowRecord);

impl Flows {
    /// An empty table. `seed` keeps senders from choosing packets that meet in one bucket, and
    /// should be random.
    pub fn new(settings: &Settings, seed: u128) -> Self {
        let flows_max = settings.flows_max.clamp(1, expiry::FLOWS_MAX);
        let all = 0..u32::try_from(flows_max).unwrap_or(u32::MAX);
        Self {
            secret: Secret::new(seed),
            timeouts: Timeouts::new(settings),
            vlan_in_key: settings.vlan_in_key,
            table: Table::new(flows_max),
            hot: memory::filled(Hot::EMPTY, flows_max),
            cold: memory::filled(Flow::default(), flows_max),
            free: all.rev().collect(),
            wheel: Wheel::new(flows_max),
            next_id: 1,
            latest: Timestamp::default(),
            until_expiry: EXPIRY_PACKETS,
            counters: FlowCounters::default(),
            candidates: Candidates::default(),
            burst: vec![Observation::default(); BURST_MAX],
        }
    }

    /// Bytes that [`Flows::new`] takes with these settings, all of them at once.
    pub fn bytes(settings: &Settings) -> usize {
        let flows_max = settings.flows_max.clamp(1, expiry::FLOWS_MAX);
        let each = size_of::<Hot>() + size_of::<Flow>() + size_of::<u32>() + Wheel::BYTES_PER_FLOW;
        Table::bytes(flows_max).saturating_add(flows_max.saturating_mul(each))
    }

    /// Find or create the flow of each frame, take the frame into account, and write what it did to
    /// `facts.flow`. `facts` are those of `frames`, one each; a frame that was put together from
    /// fragments must be the datagram that its facts speak of.
    ///
    /// A flow whose time was up, or that a new connection takes the place of, ends here.
    pub fn track(&mut self, frames: &[Frame<'_>], facts: &mut [Facts], ended: Ended<'_>) {
        for (frames, facts) in frames.chunks(BURST_MAX).zip(facts.chunks_mut(BURST_MAX)) {
            self.observe(frames, facts);
            let mut done = 0;
            while done < frames.len() {
                done = self.advance(done, facts, ended).max(done + 1);
            }
        }
    }

    /// First part of [`Flows::track`]: what each packet of a burst says, for all of them at once.
    pub fn observe(&mut self, frames: &[Frame<'_>], facts: &[Facts]) {
        let mut burst = std::mem::take(&mut self.burst);
        let seen = burst.get_mut(..frames.len()).unwrap_or_default();
        self.read(frames, facts, seen);
        self.fetch(seen);
        self.fetch_cold(seen);
        self.burst = burst;
    }

    /// Second part: the flows of the packets of that burst from number `from` on, up to one before
    /// which a flow ends. Packets before it may belong to that flow, so whoever keeps something for
    /// flows must be done with them first. Returns the number of that packet, or their count.
    pub fn advance(&mut self, from: usize, facts: &mut [Facts], ended: Ended<'_>) -> usize {
        let burst = std::mem::take(&mut self.burst);
        let mut next = from;
        for (seen, facts) in burst.iter().zip(facts).skip(from) {
            let may_end = next == from;
            if self.until_expiry == 0 {
                if !may_end {
                    break;
                }
                self.expire(self.latest, ended);
                self.until_expiry = EXPIRY_PACKETS;
            }
            let latest = self.latest.max(seen.clock);
            if seen.tracked && !self.update((seen, latest), &mut facts.flow, may_end, ended) {
                break;
            }
            self.latest = latest;
            self.until_expiry -= 1;
            next += 1;
        }
        self.burst = burst;
        next
    }

    /// End flows that have not been heard of for long enough at `now`, the time that all further
    /// packets will have. Bounded work: what is left over is done by the next calls. Packets call
    /// it themselves; others need to when none come.
    pub fn expire(&mut self, now: Timestamp, ended: Ended<'_>) {
        self.latest = self.latest.max(now);
        let mut work = EXPIRY_WORK_MAX;
        let now = now.nanos();
        while let Some(index) = self.wheel.pop(now, &mut work) {
            let Some((reason, deadline)) = self.deadline(index) else {
                continue;
            };
            if deadline < now {
                let over = self.over(index, deadline);
                self.end(index, reason, over, ended);
                self.release(index);
            } else {
                self.wheel.insert(index, deadline, now);
            }
        }
    }

    /// End every flow: the input is over. Those whose time was up by then come first, the others
    /// in order of creation.
    pub fn drain(&mut self, ended: Ended<'_>) {
        let left = (0..).zip(&self.hot).filter(|(_, hot)| hot.id != 0);
        let mut left: Vec<(Position, EndReason, u32)> = left
            .map(|(index, hot)| {
                let (over, reason) = self.last_end(index, hot.id);
                (over, reason, index)
            })
            .collect();
        left.sort_unstable_by_key(|(over, ..)| *over);
        for (over, reason, index) in left {
            self.wheel.remove(index);
            self.end(index, reason, over, ended);
            self.release(index);
        }
    }

    /// Where and why a flow ends with the input.
    fn last_end(&self, index: u32, id: u64) -> (Position, EndReason) {
        let last = Position {
            packet: id,
            ..Position::at(Timestamp::MAX)
        };
        match self.deadline(index) {
            Some((reason, deadline)) if deadline < self.latest.nanos() => {
                (self.over(index, deadline), reason)
            }
            Some((reason @ (EndReason::Closed | EndReason::Reset), _)) => (last, reason),
            _ => (last, EndReason::EndOfInput),
        }
    }

    /// Flows that end from now on do so at this time or later.
    pub fn settled(&self) -> Timestamp {
        match self.counters.active {
            0 => self.latest,
            _ => self.latest.min(Timestamp::from_nanos(self.wheel.settled())),
        }
    }

    /// The flow at an index that [`FlowFacts::index`] gave. See [`Flow::id`].
    pub fn flow(&self, index: u32) -> Option<&Flow> {
        self.cold.get(usize::try_from(index).ok()?)
    }

    /// As [`Flows::flow`], to be changed.
    pub fn flow_mut(&mut self, index: u32) -> Option<&mut Flow> {
        self.cold.get_mut(usize::try_from(index).ok()?)
    }

    /// The flows with most bytes of those that are active or ended lately; see [`largest`].
    pub fn largest(&self) -> ArrayVec<Large, LARGEST_MAX> {
        largest::merged(self.candidates.all(self.latest, |id, index| {
            let place = usize::try_from(index).ok()?;
            let (hot, flow) = (self.hot.get(place)?, self.cold.get(place)?);
            let over = Position::at(self.latest);
            let record = FlowRecord::new(hot, flow, EndReason::Active, over);
            (hot.id == id).then(|| Large::new(&record, false))
        }))
    }

    /// What was counted so far.
    pub const fn counters(&self) -> &FlowCounters {
        &self.counters
    }

    /// First pass: what each packet says.
    fn read(&mut self, frames: &[Frame<'_>], facts: &[Facts], burst: &mut [Observation]) {
        for ((frame, facts), seen) in frames.iter().zip(facts).zip(burst) {
            match seen.read(frame, facts, &self.secret, self.vlan_in_key) {
                Ok(()) => self.table.prefetch(seen.hash),
                Err(Untracked::NotIp) => self.counters.not_ip += 1,
                Err(Untracked::Fragment) => self.counters.fragments += 1,
                Err(Untracked::CutOff) => self.counters.cut_off += 1,
            }
        }
    }

    /// Second pass: where the flows probably are. Their lines come while the buckets of the
    /// packets behind are read.
    fn fetch(&self, burst: &mut [Observation]) {
        for seen in burst {
            seen.guess = self.table.guess(seen.hash);
            if let Some(place) = seen.guess.and_then(|index| usize::try_from(index).ok()) {
                memory::prefetch_element(&self.hot, place);
            }
        }
    }

    /// Third pass: the cold part of the flows whose packet probably ends the measurement of a
    /// round trip, which is the one thing that an ordinary segment does there.
    fn fetch_cold(&self, burst: &[Observation]) {
        for seen in burst {
            let Some(place) = seen.guess.and_then(|index| usize::try_from(index).ok()) else {
                continue;
            };
            if let (Some(hot), Some(flow)) = (self.hot.get(place), self.cold.get(place)) {
                let peer = hot.direction(seen).reverse().index();
                if hot.has(peer, mark::SAMPLE) {
                    flow.tcp.prefetch_samples(peer);
                }
            }
        }
    }

    /// The flow of a packet.
    fn find(&self, seen: &Observation) -> Option<u32> {
        let is_it = |index: u32| {
            usize::try_from(index)
                .ok()
                .and_then(|place| self.hot.get(place))
                .is_some_and(|hot| hot.key == seen.key)
        };
        // An ended flow has an empty key, which no packet has.
        match seen.guess {
            Some(index) if is_it(index) => Some(index),
            _ => self.table.find(seen.hash, is_it),
        }
    }

    /// Last pass: one packet. False, with nothing done, when it would end a flow and may not.
    #[inline]
    fn update(
        &mut self,
        (seen, now): (&Observation, Timestamp),
        facts: &mut FlowFacts,
        may_end: bool,
        ended: Ended<'_>,
    ) -> bool {
        // Nearly always the flow is where it was guessed to be, and goes on.
        if let Some(index) = seen.guess
            && let Ok(place) = usize::try_from(index)
            && let (Some(hot), Some(flow)) = (self.hot.get_mut(place), self.cold.get_mut(place))
            && hot.key == seen.key
            && !Self::may_be_over(&self.timeouts, hot, (seen, now))
        {
            facts.flags = 0;
            self.counters.packets += 1;
            if Self::count(&self.timeouts, hot, flow, index, (seen, now), facts) {
                self.rearm(index, now);
            }
            if facts.flags & (FlowFacts::SHUNTED | FlowFacts::GROWN) != 0 {
                self.note_large(place, seen, facts);
            }
            true
        } else {
            self.search((seen, now), facts, may_end, ended)
        }
    }

    /// As [`Flows::update`], for any packet.
    #[inline(never)]
    fn search(
        &mut self,
        (seen, now): (&Observation, Timestamp),
        facts: &mut FlowFacts,
        may_end: bool,
        ended: Ended<'_>,
    ) -> bool {
        let found = self.find(seen);
        let (index, is_new) = match found {
            Some(index) => match self.is_over(index, seen, now) {
                None => (index, false),
                Some(_) if !may_end => return false,
                Some((reason, over)) => {
                    self.end(index, reason, over, ended);
                    self.begin(index, seen);
                    self.rearm(index, now);
                    (index, true)
                }
            },
            None => {
                let Some(index) = self.create(seen, now) else {
                    self.counters.table_full += 1;
                    return true;
                };
                (index, true)
            }
        };
        self.counters.packets += 1;
        facts.flags = if is_new { FlowFacts::NEW } else { 0 };
        if let Ok(place) = usize::try_from(index)
            && let (Some(hot), Some(flow)) = (self.hot.get_mut(place), self.cold.get_mut(place))
        {
            if Self::count(&self.timeouts, hot, flow, index, (seen, now), facts) {
                self.rearm(index, now);
            }
            if facts.flags & (FlowFacts::SHUNTED | FlowFacts::GROWN) != 0 {
                self.note_large(place, seen, facts);
            }
        }
        true
    }

    /// Is there anything to ask [`Flows::is_over`] about?
    #[inline]
    fn may_be_over(timeouts: &Timeouts, hot: &Hot, (seen, now): (&Observation, Timestamp)) -> bool {
        let silence = now.nanos_since(hot.last_seen());
        silence > timeouts.idle(hot.class)
            || timeouts.active != u64::MAX
            || seen.tcp_flags & flag::SYN != 0
    }

    /// Must the flow end before this packet, which is that of another one with the same five-tuple?
    ///
    /// Time is that of all packets, also of those that other workers have: the wheel may have ended
    /// the flow before, or not yet, and both must come to the same.
    fn is_over(
        &self,
        index: u32,
        seen: &Observation,
        now: Timestamp,
    ) -> Option<(EndReason, Position)> {
        let hot = self.hot.get(usize::try_from(index).ok()?)?;
        if let Some((reason, deadline)) = self.deadline(index) {
            let reached = reason == EndReason::Active && deadline == now.nanos();
            if deadline < now.nanos() || reached {
                return Some((reason, self.over(index, deadline)));
            }
        }
        let syn = seen.tcp_flags & (flag::CONTROL | flag::ACK) == flag::SYN;
        if !syn || seen.protocol != protocol::TCP {
            return None;
        }
        // A SYN after a RST is another attempt. One after a FIN is another connection with the same
        // ports, unless it is the old SYN once more.
        let ends = Ends(hot.state);
        let over = if ends.either(End::Reset) {
            true
        } else if ends.either(End::Closed) {
            self.flow(index)?.tcp.initial(hot.direction(seen)) != seen.sequence
        } else {
            false
        };
        let reason = match Self::reason(hot) {
            EndReason::Idle => EndReason::Closed,
            reason => reason,
        };
        let before = Position {
            packet: seen.number,
            ..Position::at(now)
        };
        over.then_some((reason, before))
    }

    /// Where the end of a flow at its deadline, in nanoseconds, stands among all that is found: of
    /// those that end at one time, the one that began first is first.
    fn over(&self, index: u32, deadline: u64) -> Position {
        Position {
            detail: self.flow(index).map_or(0, |flow| flow.id),
            ..Position::at(Timestamp::from_nanos(deadline))
        }
    }

    /// Why the flow would end if nothing more came.
    const fn reason(hot: &Hot) -> EndReason {
        match hot.class {
            Class::TcpClosed => EndReason::Closed,
            Class::TcpReset => EndReason::Reset,
            _ => EndReason::Idle,
        }
    }

    /// When the flow ends if nothing more comes, in nanoseconds, and why.
    fn deadline(&self, index: u32) -> Option<(EndReason, u64)> {
        let place = usize::try_from(index).ok()?;
        let hot = self.hot.get(place)?;
        let lag_ns = match hot.has(0, mark::LAGS) {
            true => self.cold.get(place)?.lag_ns,
            false => 0,
        };
        let idle = hot
            .last_seen()
            .nanos()
            .saturating_add(lag_ns)
            .saturating_add(self.timeouts.idle(hot.class));
        if self.timeouts.active != u64::MAX {
            let began = self.cold.get(place)?.began.nanos();
            let active = began.saturating_add(self.timeouts.active);
            if active < idle {
                return Some((EndReason::Active, active));
            }
        }
        Some((Self::reason(hot), idle))
    }

    /// A new flow for the packet; `None` when there is no room.
    #[inline(never)]
    fn create(&mut self, seen: &Observation, now: Timestamp) -> Option<u32> {
        let index = self.free.pop()?;
        if !self.table.insert(seen.hash, index) {
            self.free.push(index);
            return None;
        }
        self.counters.active += 1;
        self.begin(index, seen);
        self.rearm(index, now);
        Some(index)
    }

    /// Let the flow at `index` be a new one with the five-tuple of the packet.
    fn begin(&mut self, index: u32, seen: &Observation) {
        let Some(place) = usize::try_from(index).ok() else {
            return;
        };
        let (Some(hot), Some(flow)) = (self.hot.get_mut(place), self.cold.get_mut(place)) else {
            return;
        };
        // Packets that nobody has numbered count from 1.
        let id = match seen.number {
            0 => self.next_id,
            number => number,
        };
        *hot = Hot::EMPTY;
        hot.key = seen.key;
        hot.id = id;
        hot.class = match seen.protocol {
            protocol::TCP => Class::TcpHalfOpen,
            protocol::UDP => Class::UdpSingle,
            protocol::ICMP | protocol::ICMPV6 => Class::Icmp,
            _ => Class::Other,
        };
        *flow = Flow::default();
        flow.id = id;
        flow.vlan = seen.vlan;
        flow.first = seen.timestamp;
        flow.began = seen.clock;
        let handshake = seen.tcp_flags & (flag::CONTROL | flag::ACK);
        let answers = seen.protocol == protocol::TCP && handshake == flag::SYN | flag::ACK;
        if answers {
            // A SYN+ACK answers: whoever sent it is the responder, although it is heard of first.
            flow.tcp.note('^', 0);
        }
        if seen.from_second != answers {
            hot.state |= bit::SECOND_ORIGINATES;
        }
        self.next_id += 1;
        self.counters.created += 1;
    }

    /// Take a packet into account. Returns whether the deadline of its flow came nearer.
    #[inline(always)]
    fn count(
        timeouts: &Timeouts,
        hot: &mut Hot,
        flow: &mut Flow,
        index: u32,
        (seen, now): (&Observation, Timestamp),
        facts: &mut FlowFacts,
    ) -> bool {
        let direction = hot.direction(seen);
        facts.id = hot.id;
        facts.index = index;
        facts.direction = direction;
        let bytes = hot.ip_bytes_lately();
        // The counters begin again at 0 when they overflow, so the mark stays from then on.
        if hot.is_shunted() || bytes > timeouts.shunt {
            facts.flags |= FlowFacts::SHUNTED;
        }
        facts.jitter_us = hot.count(flow, seen, direction);
        if largest::has_grown(bytes, hot.ip_bytes_lately()) {
            facts.flags |= FlowFacts::GROWN;
        }
        let lag_ns = now.nanos_since(hot.last_seen());
        if lag_ns != 0 || hot.has(0, mark::LAGS) {
            flow.lag_ns = lag_ns;
            hot.set(0, mark::LAGS);
        }
        let before = hot.class;
        match seen.protocol {
            protocol::TCP => {
                let (flags, rtt) = tcp::advance(hot, &mut flow.tcp, seen, direction);
                facts.flags |= flags;
                facts.handshake_rtt_us = rtt;
                if hot.has(0, mark::REPEATS) || hot.has(1, mark::REPEATS) {
                    facts.retransmissions = flow.tcp.retransmissions();
                }
            }
            protocol::UDP => {
                if seen.payload_bytes != 0 && hot.set(direction.index(), mark::DATA_NOTED) {
                    flow.tcp.note('D', direction.index());
                }
                if hot.class == Class::UdpSingle && direction == Direction::Responder {
                    hot.class = Class::UdpStream;
                }
            }
            _ => {}
        }
        let after = hot.class;
        after != before && timeouts.idle(after) < timeouts.idle(before)
    }

    /// A packet of a flow that is shunted, by then at the latest, or that may be among the largest.
    #[inline(never)]
    fn note_large(&mut self, place: usize, seen: &Observation, facts: &FlowFacts) {
        let (Some(hot), Some(flow)) = (self.hot.get_mut(place), self.cold.get(place)) else {
            return;
        };
        if facts.has(FlowFacts::SHUNTED) {
            self.counters.shunted_packets += 1;
            self.counters.shunted_bytes += u64::from(seen.frame_bytes);
            if hot.set(1, mark::SHUNTED) {
                self.counters.shunted_flows += 1;
            }
        }
        if facts.has(FlowFacts::GROWN) {
            let sides = [Direction::Originator, Direction::Responder];
            let bytes = sides.map(|side| hot.counters(flow, side).ip_bytes);
            let bytes = bytes
                .iter()
                .fold(0_u64, |sum, side| sum.saturating_add(*side));
            self.candidates
                .note(hot.id, facts.index, bytes, self.latest);
        }
    }

    /// Put a flow into the wheel again: it is new, or its deadline came nearer.
    #[cold]
    fn rearm(&mut self, index: u32, now: Timestamp) {
        let Some(hot) = usize::try_from(index)
            .ok()
            .and_then(|place| self.hot.get(place))
        else {
            return;
        };
        let now = now.nanos();
        let idle = now.saturating_add(self.timeouts.idle(hot.class));
        let began = self.flow(index).map_or(now, |flow| flow.began.nanos());
        let active = began.saturating_add(self.timeouts.active);
        self.wheel.move_to(index, idle.min(active), now);
    }

    /// Report the flow at `index` as ended.
    fn end(&mut self, index: u32, reason: EndReason, over: Position, ended: Ended<'_>) {
        let Some(place) = usize::try_from(index).ok() else {
            return;
        };
        if let (Some(hot), Some(flow)) = (self.hot.get(place), self.cold.get(place)) {
            let record = FlowRecord::new(hot, flow, reason, over);
            self.candidates.end(&record, self.latest);
            ended(&record);
        }
        if let Some(counter) = self.counters.ended.get_mut(usize::from(reason as u8)) {
            *counter += 1;
        }
    }

    /// Give the place of an ended flow back. It must not be in the wheel any more.
    fn release(&mut self, index: u32) {
        let Some(place) = usize::try_from(index).ok() else {
            return;
        };
        let (Some(hot), Some(flow)) = (self.hot.get_mut(place), self.cold.get_mut(place)) else {
            return;
        };
        let hash = self.secret.hash(&hot.key);
        self.table.remove(hash, index);
        *hot = Hot::EMPTY;
        flow.id = 0;
        self.free.push(index);
        self.counters.active -= 1;
    }
}

#[cfg(test)]
mod tests;
