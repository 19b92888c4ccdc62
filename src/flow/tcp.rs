//! TCP of a flow: the state of both ends, what sequence numbers tell, and round-trip times.
//!
//! States, final names and history letters are those of Zeek's connection log, because people read
//! them there. Nothing here trusts a packet more than its place in the sequence space allows.

pub(super) mod ends;
mod holes;

use super::observation::Observation;
use super::settings::Class;
use super::state::{Hot, bit, mark, micros_u32};
use crate::packet::{Direction, FlowFacts, Timestamp};
use arrayvec::ArrayString;
use ends::{End, Ends};
use holes::Holes;

/// Bits of the flag byte (RFC 9293, section 3.1).
pub(super) mod flag {
    pub(in crate::flow) const FIN: u8 = 0x01;
    pub(in crate::flow) const SYN: u8 = 0x02;
    pub(in crate::flow) const RST: u8 = 0x04;
    pub(in crate::flow) const ACK: u8 = 0x10;
    /// Those that change the state of a flow.
    pub(in crate::flow) const CONTROL: u8 = FIN | SYN | RST;
}

/// Letters of a history. Repeats are logged at powers of ten, so 32 hold what any flow can bring
/// except for one that changes its sequence numbers with each SYN.
pub const HISTORY_MAX: usize = 32;

/// Largest step of a sequence number that is believed: the largest window (RFC 7323, section 2.3).
/// Beyond it the number is noise, and counting starts again from there.
const STEP_MAX: u32 = 1 << 30;

/// Round trips are measured on the first packets of a direction, and then on every so many.
const SAMPLED_ALL: u16 = 4;
const SAMPLED_EVERY: u16 = 16;

/// Round-trip times of the data of one direction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrips {
    /// Shortest, in microseconds.
    pub min_us: u32,
    /// Of all samples together, in microseconds.
    pub sum_us: u64,
    /// Number of samples.
    pub samples: u32,
}

impl RoundTrips {
    const fn add(&mut self, micros: u32) {
        if self.samples == 0 || micros < self.min_us {
            self.min_us = micros;
        }
        self.samples = self.samples.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(micros as u64);
    }

    /// Mean in microseconds.
    pub fn mean_us(&self) -> Option<u64> {
        self.sum_us.checked_div(u64::from(self.samples))
    }
}

/// What one direction of a TCP flow counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TcpCounters {
    /// Segments that repeat bytes already seen.
    pub retransmissions: u32,
    /// Segments that came before or after their turn.
    pub out_of_order: u32,
    /// Bytes that the other side acknowledged but that were never seen.
    pub missed_bytes: u64,
    /// Segments that announced a window of 0.
    pub zero_windows: u32,
    /// Round trips of data sent in this direction.
    pub round_trips: RoundTrips,
}

/// One direction, as kept.
#[derive(Debug, Default, Clone)]
struct Side {
    counters: TcpCounters,
    /// Retransmissions as the history counts them: whole segments below the highest byte.
    repeats: u32,
    gaps: u32,
    holes: Holes,
    /// State before the last change.
    before: End,
    initial: u32,
    /// Bits of [`noted`].
    noted: u8,
    /// Sequence numbers of the last SYN, FIN and RST: a repeat with another number is news.
    controls: [u32; 3],
}

impl Side {
    /// Count bytes that will not be seen any more.
    const fn miss(&mut self, bytes: u32) {
        self.counters.missed_bytes = self.counters.missed_bytes.saturating_add(bytes as u64);
    }
}

/// Letters that a side has had.
mod noted {
    pub(super) const SYN: u8 = 1 << 0;
    pub(super) const FIN: u8 = 1 << 1;
    pub(super) const RST: u8 = 1 << 2;
    pub(super) const FIN_RST: u8 = 1 << 3;
    pub(super) const MULTIPLE: u8 = 1 << 4;
}

/// TCP part of a flow.
#[derive(Debug, Default, Clone)]
pub(super) struct Tcp {
    sides: [Side; 2],
    /// Times of SYN, SYN+ACK and the ACK that completes the handshake; 0 when not seen.
    syn: Timestamp,
    syn_ack: Timestamp,
    /// SYN to SYN+ACK, and SYN+ACK to ACK, in microseconds; 0 when not seen.
    pub(super) server_rtt_us: u32,
    pub(super) client_rtt_us: u32,
    history: ArrayString<HISTORY_MAX>,
}

/// One segment on its way through the state of its flow.
struct Step<'a> {
    hot: &'a mut Hot,
    tcp: &'a mut Tcp,
    seen: &'a Observation,
    /// Index of the sender.
    own: usize,
    /// Index of the other end.
    peer: usize,
    /// Bits of [`FlowFacts`].
    facts: u16,
}

/// Take a segment into account. Returns its bits for [`FlowFacts::flags`], and the handshake's
/// round-trip time on the segment that completes it.
#[inline]
pub(super) fn advance(
    hot: &mut Hot,
    tcp: &mut Tcp,
    seen: &Observation,
    direction: Direction,
) -> (u16, u32) {
    let own = direction.index();
    hot.tcp_flags[own] |= seen.tcp_flags;
    let mut step = Step {
        hot,
        tcp,
        seen,
        own,
        peer: direction.reverse().index(),
        facts: 0,
    };
    if step.has(flag::RST) {
        step.note_flags();
        step.change_state();
        step.reclass();
        return (step.facts, 0);
    }
    step.note_flags();
    step.window();
    step.sequence();
    let mut handshake_us = 0;
    if step.has(flag::CONTROL) || Ends(step.hot.state).is_inactive(own) {
        step.change_state();
        step.reclass();
    }
    if step.has(flag::ACK) {
        step.acknowledge();
        if !step.has(flag::CONTROL) {
            handshake_us = step.complete();
        }
    }
    (step.facts, handshake_us)
}

impl Step<'_> {
    #[inline]
    const fn has(&self, flags: u8) -> bool {
        self.seen.tcp_flags & flags != 0
    }

    #[inline]
    const fn ends(&self) -> Ends {
        Ends(self.hot.state)
    }

    fn set_end(&mut self, index: usize, end: End) {
        let ends = self.ends();
        if ends.of(index) != end {
            self.tcp.sides[index].before = ends.of(index);
            self.hot.state = ends.with(index, end).0;
        }
    }

    /// Sequence numbers that the segment takes: its payload, and one each for SYN and FIN.
    #[inline]
    fn length(&self) -> u32 {
        self.seen
            .payload_bytes
            .wrapping_add(u32::from(self.has(flag::SYN)))
            .wrapping_add(u32::from(self.has(flag::FIN)))
    }

    /// Where the segment's bytes lie: before, at or after the next expected one.
    #[inline]
    fn sequence(&mut self) {
        let (own, length) = (self.own, self.length());
        let next = self.hot.next_sequence[own];
        let start = self.seen.sequence;
        let end = start.wrapping_add(length);
        if self.hot.set(own, mark::SEQUENCE) || self.restarts() {
            self.tcp.sides[own].initial = start;
            self.hot.next_sequence[own] = end;
            return;
        }
        if start == next {
            if length != 0 {
                self.hot.next_sequence[own] = end;
                self.sample(end);
            }
            return;
        }
        let ahead = start.wrapping_sub(next);
        if ahead < STEP_MAX {
            self.ahead(next, ahead, end);
        } else if next.wrapping_sub(start) > STEP_MAX {
            self.tcp.sides[own].holes.clear();
            self.hot.next_sequence[own] = end;
            self.out_of_order();
        } else if self.seen.payload_bytes != 0 {
            self.behind(next, end);
        }
    }

    /// Is this a SYN that counts the bytes anew?
    fn restarts(&self) -> bool {
        self.has(flag::SYN)
            && self.seen.sequence != self.tcp.sides[self.own].initial
            && !matches!(self.ends().of(self.own), End::Closed | End::Reset)
    }

    /// Begin to measure a round trip, if none is being measured: of the first packets and then of
    /// some, because each result is a visit to the cold part of the flow.
    #[inline]
    fn sample(&mut self, end: u32) {
        let own = self.own;
        let packets = self.hot.packets_lately(own);
        let due = packets < SAMPLED_ALL || packets.is_multiple_of(SAMPLED_EVERY);
        if due && self.seen.payload_bytes != 0 && self.hot.set(own, mark::SAMPLE) {
            self.hot.sample_sequence[own] = end;
            self.hot.sample_us[own] = micros_u32(self.seen.timestamp);
        }
    }

    /// Bytes before this segment were not seen, or not yet.
    #[cold]
    fn ahead(&mut self, next: u32, missing: u32, end: u32) {
        let side = &mut self.tcp.sides[self.own];
        let lost = side.holes.open(next, missing);
        side.miss(lost);
        self.hot.set(self.own, mark::HOLES);
        self.hot.next_sequence[self.own] = end;
        self.out_of_order();
    }

    /// The segment starts with bytes that are below the highest one seen.
    #[cold]
    fn behind(&mut self, next: u32, end: u32) {
        let own = self.own;
        let late = self.fill(own, self.seen.sequence, self.seen.payload_bytes) != 0;
        let new = end.wrapping_sub(next) < STEP_MAX && end != next;
        if new {
            self.hot.next_sequence[own] = end;
        } else {
            let side = &mut self.tcp.sides[own];
            side.repeats = side.repeats.saturating_add(1);
            if is_power_of_ten(side.repeats) {
                self.tcp.note('T', own);
            }
        }
        if !late {
            // An answer to one of two equal segments measures nothing (Karn).
            self.hot.unset(own, mark::SAMPLE);
            self.hot.set(own, mark::REPEATS);
            let counters = &mut self.tcp.sides[own].counters;
            counters.retransmissions = counters.retransmissions.saturating_add(1);
            self.facts |= FlowFacts::RETRANSMISSION | FlowFacts::OUT_OF_ORDER;
        } else {
            self.out_of_order();
        }
    }

    fn out_of_order(&mut self) {
        self.facts |= FlowFacts::OUT_OF_ORDER;
        let counters = &mut self.tcp.sides[self.own].counters;
        counters.out_of_order = counters.out_of_order.saturating_add(1);
    }

    /// Take `length` bytes from `start` out of the holes of an end. Returns how many were in them.
    fn fill(&mut self, index: usize, start: u32, length: u32) -> u32 {
        if !self.hot.has(index, mark::HOLES) {
            return 0;
        }
        let side = &mut self.tcp.sides[index];
        let (filled, lost) = side.holes.fill(start, length);
        side.miss(lost);
        filled
    }

    /// What the acknowledgement says of the other end's bytes.
    #[inline]
    fn acknowledge(&mut self) {
        let peer = self.peer;
        let number = self.seen.acknowledgement;
        if self.hot.set(peer, mark::SEQUENCE) {
            self.hot.next_sequence[peer] = number;
            self.tcp.sides[peer].initial = number.wrapping_sub(1);
            return;
        }
        if self.hot.has(peer, mark::SAMPLE)
            && number.wrapping_sub(self.hot.sample_sequence[peer]) < STEP_MAX
        {
            self.hot.unset(peer, mark::SAMPLE);
            let now = micros_u32(self.seen.timestamp);
            let took = now.wrapping_sub(self.hot.sample_us[peer]);
            self.tcp.sides[peer].counters.round_trips.add(took);
        }
        let ahead = number.wrapping_sub(self.hot.next_sequence[peer]);
        if ahead != 0 && ahead < STEP_MAX {
            self.hot.next_sequence[peer] = number;
            self.missed(ahead);
        }
        if self.hot.has(peer, mark::HOLES) {
            self.acknowledge_holes(number);
        }
        if self.ends().are_closed()
            && number == self.hot.next_sequence[peer]
            && !self.has(flag::FIN)
        {
            if self.hot.class != Class::TcpClosed {
                self.facts |= FlowFacts::CLOSED;
            }
            self.hot.class = Class::TcpClosed;
        }
    }

    /// The other end sent bytes that were never seen.
    #[cold]
    fn missed(&mut self, bytes: u32) {
        let peer = self.peer;
        let side = &mut self.tcp.sides[peer];
        side.miss(bytes);
        side.gaps = side.gaps.saturating_add(1);
        if is_power_of_ten(side.gaps) {
            self.tcp.note('G', peer);
        }
    }

    /// Holes below the acknowledged byte will not be filled.
    #[cold]
    fn acknowledge_holes(&mut self, number: u32) {
        let peer = self.peer;
        let Some(start) = self.tcp.sides[peer].holes.start() else {
            return;
        };
        let covered = number.wrapping_sub(start);
        if covered < STEP_MAX {
            let bytes = self.fill(peer, start, covered);
            if bytes != 0 {
                self.missed(bytes);
            }
        }
    }

    /// The ACK of the originator after a SYN+ACK. Returns the time since its SYN in microseconds.
    #[inline]
    fn complete(&mut self) -> u32 {
        if self.hot.state & bit::HANDSHAKE == 0 || self.own != Direction::Originator.index() {
            return 0;
        }
        self.hot.state &= !bit::HANDSHAKE;
        self.facts |= FlowFacts::ESTABLISHED;
        self.reclass();
        let now = self.seen.timestamp;
        self.tcp.client_rtt_us = micros_between(self.tcp.syn_ack, now);
        micros_between(self.tcp.syn, now)
    }

    /// A window of 0 matters while there may be something to send into it.
    #[inline]
    fn window(&mut self) {
        let ends = self.ends();
        if self.seen.zero_window
            && ends.of(self.peer) != End::Closed
            && ends.of(self.own) != End::Reset
        {
            let counters = &mut self.tcp.sides[self.own].counters;
            counters.zero_windows = counters.zero_windows.saturating_add(1);
            if is_power_of_ten(counters.zero_windows) {
                self.tcp.note('W', self.own);
            }
        }
    }

    /// Write the letter of the segment into the history.
    #[inline]
    fn note_flags(&mut self) {
        let own = self.own;
        if self.has(flag::CONTROL) {
            self.note_control();
        } else if self.seen.payload_bytes != 0 {
            if self.hot.set(own, mark::DATA_NOTED) {
                self.tcp.note('D', own);
            }
        } else if self.has(flag::ACK) && self.hot.set(own, mark::ACK_NOTED) {
            self.tcp.note('A', own);
        }
    }

    fn note_control(&mut self) {
        let number = self.seen.sequence;
        let (letter, bit, control) = match self.seen.tcp_flags & flag::CONTROL {
            flag::SYN if self.has(flag::ACK) => ('H', noted::SYN, Some((0, number))),
            flag::SYN => ('S', noted::SYN, Some((0, number))),
            flag::FIN => {
                let end = number.wrapping_add(self.seen.payload_bytes);
                ('F', noted::FIN, Some((1, end)))
            }
            flag::RST => ('R', noted::RST, Some((2, number))),
            flags if flags & flag::SYN == 0 => ('I', noted::FIN_RST, None),
            _ => ('Q', noted::MULTIPLE, None),
        };
        let side = &mut self.tcp.sides[self.own];
        let mut news = side.noted & bit == 0;
        side.noted |= bit;
        if let Some((place, number)) = control
            && let Some(last) = side.controls.get_mut(place)
        {
            news |= *last != number;
            *last = number;
        }
        if news {
            self.tcp.note(letter, self.own);
        }
    }

    /// Let the segment's SYN, FIN or RST, or the lack of them, change the state of its sender.
    fn change_state(&mut self) {
        let (own, peer) = (self.own, self.peer);
        self.note_handshake();
        match self.ends().of(own) {
            End::Inactive => self.leave_inactive(),
            End::SynSent | End::SynAckSent => self.leave_open(),
            End::Established | End::Partial => {
                let lone =
                    self.ends().of(own) == End::Partial && self.ends().of(peer) == End::Inactive;
                if self.has(flag::SYN) && !self.has(flag::ACK) && lone {
                    self.set_end(own, End::SynSent);
                }
                if self.has(flag::FIN) && !self.has(flag::RST) {
                    self.set_end(own, End::Closed);
                    if self.ends().of(peer) == End::Reset
                        && self.tcp.sides[peer].before == End::Closed
                    {
                        // FIN, RST, and then the other FIN: an impatient but orderly close.
                        self.set_end(peer, End::Closed);
                    }
                }
                if self.has(flag::RST) {
                    self.set_end(own, End::Reset);
                }
            }
            End::Closed => {
                if self.has(flag::RST) && self.ends().of(peer) != End::Closed {
                    self.set_end(own, End::Reset);
                }
            }
            End::Reset => {}
        }
    }

    /// From nothing seen of this end to something.
    fn leave_inactive(&mut self) {
        let (own, peer) = (self.own, self.peer);
        let is_originator = own == Direction::Originator.index();
        if self.has(flag::SYN) {
            if is_originator {
                let with_ack = self.has(flag::ACK);
                self.set_end(
                    own,
                    if with_ack {
                        End::SynAckSent
                    } else {
                        End::SynSent
                    },
                );
            } else {
                if self.ends().of(peer) == End::SynSent {
                    self.set_end(peer, End::Established);
                }
                self.set_end(own, End::Established);
            }
        }
        if self.has(flag::FIN) {
            self.set_end(own, End::Closed);
        }
        if self.has(flag::RST) {
            self.set_end(own, End::Reset);
        }
        if self.ends().of(own) != End::Inactive {
            return;
        }
        let early_ack =
            !is_originator && self.seen.payload_bytes == 0 && self.ends().of(peer) == End::SynSent;
        if early_ack {
            // Some answer a SYN with a bare ACK before the SYN+ACK.
        } else if self.has(flag::ACK) && self.ends().of(peer) == End::Established {
            // The SYN was not seen, but the SYN+ACK was.
            self.set_end(own, End::Established);
        } else {
            self.set_end(own, End::Partial);
        }
    }

    fn leave_open(&mut self) {
        if self.has(flag::FIN) {
            self.set_end(self.own, End::Closed);
        }
        if self.has(flag::RST) {
            self.set_end(self.own, End::Reset);
        }
    }

    /// Times of the handshake, and the facts that go with it.
    fn note_handshake(&mut self) {
        if !self.has(flag::SYN) || self.has(flag::FIN | flag::RST) {
            return;
        }
        let is_originator = self.own == Direction::Originator.index();
        let now = self.seen.timestamp;
        if is_originator && !self.has(flag::ACK) && self.tcp.syn == Timestamp::default() {
            self.tcp.syn = now;
            self.facts |= FlowFacts::SYN;
        } else if !is_originator && self.has(flag::ACK) && self.tcp.syn_ack == Timestamp::default()
        {
            self.tcp.syn_ack = now;
            self.tcp.server_rtt_us = micros_between(self.tcp.syn, now);
            self.hot.state |= bit::HANDSHAKE;
        }
    }

    /// Which time-out counts from here on.
    fn reclass(&mut self) {
        let ends = self.ends();
        self.hot.class = if self.hot.class == Class::TcpClosed {
            Class::TcpClosed
        } else if ends.either(End::Reset) {
            Class::TcpReset
        } else if ends.either(End::Closed) {
            Class::TcpClosing
        } else if ends.either(End::SynSent)
            || ends.either(End::SynAckSent)
            || self.hot.state & bit::HANDSHAKE != 0
        {
            Class::TcpHalfOpen
        } else {
            Class::TcpEstablished
        };
    }
}

impl Tcp {
    /// Counters of one direction.
    pub(super) fn counters(&self, direction: Direction) -> TcpCounters {
        self.sides[direction.index()].counters
    }

    /// Retransmitted segments of both directions.
    pub(super) fn retransmissions(&self) -> u32 {
        let [a, b] = &self.sides;
        a.counters
            .retransmissions
            .saturating_add(b.counters.retransmissions)
    }

    /// Ask for the round trips of one direction.
    #[inline]
    pub(super) fn prefetch_samples(&self, index: usize) {
        memory::prefetch(&self.sides[index].counters.round_trips);
    }

    /// The first sequence number of one direction.
    pub(super) fn initial(&self, direction: Direction) -> u32 {
        self.sides[direction.index()].initial
    }

    /// Letters of what happened, in order.
    pub(super) const fn history(&self) -> ArrayString<HISTORY_MAX> {
        self.history
    }

    /// Add a letter: upper case for the originator.
    pub(super) fn note(&mut self, letter: char, index: usize) {
        let letter = if index == 0 {
            letter
        } else {
            letter.to_ascii_lowercase()
        };
        // Full: the start of a flow says more than its end.
        let _ = self.history.try_push(letter);
    }
}

/// Microseconds from one time to another; 0 when the first was never noted.
fn micros_between(from: Timestamp, to: Timestamp) -> u32 {
    if from == Timestamp::default() {
        return 0;
    }
    u32::try_from(to.nanos_since(from) / 1_000).unwrap_or(u32::MAX)
}

const fn is_power_of_ten(mut number: u32) -> bool {
    while number != 0 && number.is_multiple_of(10) {
        number /= 10;
    }
    number == 1
}
