//! The application stage: names the application of a flow, and reads the messages of those that
//! have a dissector from its bytes in order.
//!
//! Every flow carries an [`ApplicationState`] in the flow table. Only a flow whose application is
//! being read, or whose first bytes are not enough to name it, holds a slot here. Once nothing more
//! is to be learnt, a packet of the flow costs one comparison.

use super::detect::{self, Application, Sample, Verdict};
use crate::dissect::Protocol;
use crate::dissect::attribute::Message;
use crate::dissect::cursor::Cursor;
use crate::flow::blocks::Blocks;
use crate::flow::reassembly::{self, Reassembly, Segment, after};
use crate::limits::{BLOCK_BYTES, DETECT_BYTES_MAX, HTTP_HEAD_BYTES_MAX};
use crate::packet::{Direction, Facts, Frame, Stop};

mod conversation;
mod results;
#[cfg(test)]
mod tests;

use conversation::{Conversation, Outcome, Reader};
pub use results::MessageRef;
use results::Results;

/// What the stage may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Flows whose bytes are followed at one time.
    pub flows_max: u32,
    /// Blocks of 2 KiB for segments that came too early, of all flows together.
    pub waiting_blocks: u32,
    /// Blocks of 2 KiB for messages of which a part has not come yet.
    pub partial_blocks: u32,
}

impl Default for Settings {
    /// About 50 MiB when everything is in use.
    fn default() -> Self {
        Self {
            flows_max: 65_536,
            waiting_blocks: 16_384,
            partial_blocks: 4_096,
        }
    }
}

/// What a flow needs to remember between its packets.
#[derive(Debug, Clone, Copy)]
pub struct ApplicationState {
    /// What the flow carries, as far as known.
    pub application: Application,
    /// The same as an entry of the protocol table, when it has one.
    pub protocol: Option<Protocol>,
    phase: Phase,
    /// Payload packets that named nothing so far.
    tries: u8,
    /// Directions whose next sequence number is known, while there is no slot.
    known: [bool; 2],
    syn_seen: bool,
    /// Slot in this stage; [`ApplicationState::NO_SLOT`] when it has none. Whoever ends the flow
    /// gives it back with [`Applications::release_flow`].
    pub slot: u32,
    next: [u32; 2],
}

const _: () = assert!(size_of::<ApplicationState>() <= 20, "it is in every flow");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No application yet, no slot.
    Undecided,
    /// Bytes are followed in a slot.
    Following,
    /// Nothing more to do.
    Done,
}

impl Default for ApplicationState {
    fn default() -> Self {
        Self {
            application: Application::Unknown,
            protocol: None,
            phase: Phase::Undecided,
            tries: 0,
            known: [false; 2],
            syn_seen: false,
            slot: Self::NO_SLOT,
            next: [0; 2],
        }
    }
}

impl ApplicationState {
    /// No bytes of the flow are followed.
    pub const NO_SLOT: u32 = u32::MAX;

    const fn tries_max(&self) -> u8 {
        if self.syn_seen {
            TRIES_MAX
        } else {
            TRIES_MIDSTREAM_MAX
        }
    }
}

/// What the stage counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Messages handed out.
    pub messages: u64,
    /// Messages beyond those of one packet that rules see.
    pub messages_over: u64,
    /// Messages lost because the buffer of the burst was full.
    pub arena_full: u64,
    /// Messages handed out without their end: too large, or a part was missing.
    pub messages_cut: u64,
    /// Messages lost because no block was free for their first part.
    pub no_block: u64,
    /// Flows not followed because no slot was free.
    pub flows_full: u64,
    /// Flows whose application was named.
    pub named: u64,
    /// Flows given up without a name.
    pub unnamed: u64,
    /// Times that a stream stopped looking like its protocol.
    pub lost: u64,
}

impl Counters {
    /// Names and values, for metrics.
    pub const fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("messages", self.messages),
            ("messages_over", self.messages_over),
            ("arena_full", self.arena_full),
            ("messages_cut", self.messages_cut),
            ("no_block", self.no_block),
            ("flows_full", self.flows_full),
            ("named", self.named),
            ("unnamed", self.unnamed),
            ("lost", self.lost),
        ]
    }
}

/// One more. A counter that is full stays so.
pub(super) const fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// What to do with the next bytes of a stream, as the parser of its protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// They belong to no message.
    Skip(usize),
    /// They belong to the current message, which may end with them.
    Keep {
        /// How many.
        length: usize,
        /// Does the message end there?
        complete: bool,
    },
    /// They belong to the current message, which goes beyond its bounds with them.
    Cut {
        /// How many.
        length: usize,
    },
}

/// Payload packets after which an undecided flow is given up, when its start was seen. Some
/// protocols begin with a banner and a question in either direction.
const TRIES_MAX: u8 = 10;

/// The same for a flow picked up in the middle: its next request may be a long body away.
const TRIES_MIDSTREAM_MAX: u8 = 40;

/// The same for UDP: every datagram shows its protocol, or none does.
const TRIES_UDP_MAX: u8 = 4;

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The stage: slots, pools and the messages of the current burst.
#[derive(Debug)]
pub struct Applications {
    reassembly: Reassembly,
    conversations: Vec<Conversation>,
    free: Vec<u32>,
    blocks: Blocks,
    /// Where a message, or a sample, in several blocks is put together.
    scratch: Vec<u8>,
    sample: Vec<u8>,
    results: Results,
    counters: Counters,
}

impl Applications {
    /// Takes all memory that the stage will ever use.
    pub fn new(settings: &Settings) -> Self {
        let flows = usize::try_from(settings.flows_max).unwrap_or(usize::MAX);
        Self {
            reassembly: Reassembly::new(flows, settings.waiting_blocks),
            conversations: vec![Conversation::new(Reader::Detect); flows],
            free: (0..settings.flows_max).rev().collect(),
            blocks: Blocks::new(settings.partial_blocks),
            scratch: Vec::with_capacity(HTTP_HEAD_BYTES_MAX),
            sample: Vec::with_capacity(DETECT_BYTES_MAX),
            results: Results::new(),
            counters: Counters::default(),
        }
    }

    /// Bytes that [`Applications::new`] takes with these settings; they are touched as flows with
    /// applications come.
    pub fn bytes(settings: &Settings) -> usize {
        const EACH: usize =
            size_of::<Conversation>() + Reassembly::BYTES_PER_FLOW + size_of::<u32>();
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let blocks = count(settings.waiting_blocks).saturating_add(count(settings.partial_blocks));
        let flows = count(settings.flows_max).saturating_mul(EACH);
        flows.saturating_add(blocks.saturating_mul(BLOCK_BYTES))
    }

    /// Read packet number `packet` of the burst. Adds the application's layer to the facts.
    pub fn parse(
        &mut self,
        packet: usize,
        frame: &Frame<'_>,
        facts: &mut Facts,
        state: &mut ApplicationState,
    ) {
        self.results.begin(packet);
        if state.phase == Phase::Done && state.protocol.is_none() || facts.has(Facts::FRAGMENT) {
            return;
        }
        let payload = match facts.ip_protocol {
            TCP => self.parse_tcp(frame, facts, state),
            UDP => self.parse_udp(frame, facts, state),
            _ => return,
        };
        let (Some(offset), Some(protocol)) = (payload, state.protocol) else {
            return;
        };
        if end_of(frame, facts) > usize::from(offset) || !self.messages_of(packet).is_empty() {
            // With all layers taken the packet only lacks the name of its application.
            let _ = facts.push(protocol, offset);
        }
    }

    /// References to the messages that packet number `packet` of the burst completed.
    pub fn messages_of(&self, packet: usize) -> &[MessageRef] {
        self.results.of(packet)
    }

    /// The message behind a reference; `frame` is the packet that it belongs to.
    pub fn message<'a>(&'a self, reference: &MessageRef, frame: &Frame<'a>) -> Message<'a> {
        self.results.message(reference, frame)
    }

    /// The burst is done with: its messages are gone.
    pub fn end_burst(&mut self) {
        self.results.clear();
    }

    /// The flow ended: give back its slot ([`ApplicationState::slot`], which may be none).
    pub fn release_flow(&mut self, slot: u32) {
        let place = usize::try_from(slot).unwrap_or(usize::MAX);
        if let Some(conversation) = self.conversations.get_mut(place) {
            conversation.clear(&mut self.blocks);
            self.reassembly.close(place);
            self.free.push(slot);
        }
    }

    /// No more is looked at of a flow that goes on: what is kept for it is released.
    pub fn leave(&mut self, state: &mut ApplicationState) {
        if state.phase != Phase::Done {
            self.unfollow(state);
        }
    }

    /// What the stage counted so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What reassembly counted so far.
    pub const fn reassembly_counters(&self) -> reassembly::Counters {
        self.reassembly.counters()
    }

    /// Slots in use, waiting blocks in use, partial blocks in use.
    pub fn used(&self) -> (usize, u32, u32) {
        (
            self.conversations.len().saturating_sub(self.free.len()),
            self.reassembly.blocks_used(),
            self.blocks.used(),
        )
    }

    /// Returns the offset of the payload.
    fn parse_udp(
        &mut self,
        frame: &Frame<'_>,
        facts: &Facts,
        state: &mut ApplicationState,
    ) -> Option<u16> {
        const HEADER_LENGTH: u16 = 8;
        let offset = facts.transport_offset.checked_add(HEADER_LENGTH)?;
        if state.phase == Phase::Done {
            return Some(offset);
        }
        let payload = frame.data.get(usize::from(offset)..end_of(frame, facts))?;
        if payload.is_empty() {
            return Some(offset);
        }
        match detect::udp(&sample(payload, facts)) {
            Verdict::Is(application) => self.name(state, application),
            Verdict::No | Verdict::More => self.try_again(state, TRIES_UDP_MAX),
        }
        Some(offset)
    }

    /// Returns the offset of the payload.
    fn parse_tcp(
        &mut self,
        frame: &Frame<'_>,
        facts: &Facts,
        state: &mut ApplicationState,
    ) -> Option<u16> {
        let (segment, offset) = read_segment(frame, facts)?;
        if state.phase == Phase::Undecided {
            self.look(&segment, facts, state);
        }
        if state.phase == Phase::Following {
            self.follow(&segment, usize::from(offset), facts, state);
        }
        Some(offset)
    }

    /// An undecided flow without a slot: name it from this segment alone, or take a slot.
    fn look(&mut self, segment: &Segment<'_>, facts: &Facts, state: &mut ApplicationState) {
        let side = segment.direction.index();
        let first = segment.sequence.wrapping_add(u32::from(segment.syn));
        let (Some(next), Some(known)) = (state.next.get_mut(side), state.known.get_mut(side))
        else {
            return;
        };
        if segment.syn {
            (*next, *known) = (first, true);
            state.syn_seen = true;
        }
        if segment.payload.is_empty() || segment.rst {
            return;
        }
        if *known && first != *next {
            if after(first, *next) {
                self.take_slot(Reader::Detect, state);
            }
            return;
        }
        match detect::tcp(&sample(segment.payload, facts)) {
            Verdict::Is(application) => {
                self.name(state, application);
                if let Some(reader) = Reader::of(application) {
                    self.take_slot(reader, state);
                }
            }
            Verdict::More => self.take_slot(Reader::Detect, state),
            Verdict::No => {
                let length = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
                let both = [segment.cut, u32::from(segment.fin)];
                *next = both
                    .iter()
                    .fold(first.wrapping_add(length), |a, b| a.wrapping_add(*b));
                *known = true;
                self.try_again(state, state.tries_max());
            }
        }
    }

    /// Add a segment to the conversation of its flow.
    fn follow(
        &mut self,
        segment: &Segment<'_>,
        offset: usize,
        facts: &Facts,
        state: &mut ApplicationState,
    ) {
        let Ok(slot) = usize::try_from(state.slot) else {
            return;
        };
        let Some(conversation) = self.conversations.get_mut(slot) else {
            return;
        };
        let mut sink = conversation::Sink {
            conversation,
            blocks: &mut self.blocks,
            scratch: &mut self.scratch,
            sample: &mut self.sample,
            results: &mut self.results,
            counters: &mut self.counters,
            payload_offset: offset,
            ports: (facts.source_port, facts.destination_port),
            sender: segment.direction,
            outcome: Outcome::Open,
        };
        self.reassembly.add(slot, segment, &mut sink);
        match sink.outcome {
            Outcome::Open => {}
            Outcome::Named(application) => {
                self.name(state, application);
                if Reader::of(application).is_some() {
                    state.phase = Phase::Following;
                } else {
                    self.unfollow(state);
                }
            }
            Outcome::Nothing => {
                self.try_again(state, state.tries_max());
                if state.phase == Phase::Done {
                    self.unfollow(state);
                }
            }
            Outcome::Ended => self.unfollow(state),
            Outcome::NamedAndEnded(application) => {
                self.name(state, application);
                self.unfollow(state);
            }
        }
    }

    fn name(&mut self, state: &mut ApplicationState, application: Application) {
        count(&mut self.counters.named);
        state.application = application;
        state.protocol = application.protocol();
        state.phase = Phase::Done;
    }

    fn try_again(&mut self, state: &mut ApplicationState, tries_max: u8) {
        state.tries = state.tries.saturating_add(1);
        if state.tries >= tries_max {
            count(&mut self.counters.unnamed);
            state.phase = Phase::Done;
        }
    }

    fn take_slot(&mut self, reader: Reader, state: &mut ApplicationState) {
        let Some(slot) = self.free.pop() else {
            count(&mut self.counters.flows_full);
            state.phase = Phase::Done;
            return;
        };
        let place = usize::try_from(slot).unwrap_or(usize::MAX);
        if let Some(conversation) = self.conversations.get_mut(place) {
            *conversation = Conversation::new(reader);
        }
        self.reassembly.open(place);
        for direction in [Direction::Originator, Direction::Responder] {
            let side = direction.index();
            if let (Some(true), Some(next)) = (state.known.get(side), state.next.get(side)) {
                self.reassembly.expect(place, direction, *next);
            }
        }
        state.slot = slot;
        state.phase = Phase::Following;
    }

    fn unfollow(&mut self, state: &mut ApplicationState) {
        state.phase = Phase::Done;
        self.release_flow(std::mem::replace(
            &mut state.slot,
            ApplicationState::NO_SLOT,
        ));
    }
}

fn sample<'a>(payload: &'a [u8], facts: &Facts) -> Sample<'a> {
    Sample {
        payload,
        source_port: facts.source_port,
        destination_port: facts.destination_port,
    }
}

/// End of the packet in the captured bytes.
fn end_of(frame: &Frame<'_>, facts: &Facts) -> usize {
    usize::try_from(facts.end).map_or(frame.data.len(), |end| end.min(frame.data.len()))
}

/// The TCP header again, for what the facts do not keep; also the offset of the payload.
fn read_segment<'a>(frame: &Frame<'a>, facts: &Facts) -> Option<(Segment<'a>, u16)> {
    const FIN: u8 = 1 << 0;
    const SYN: u8 = 1 << 1;
    const RST: u8 = 1 << 2;
    const ACK: u8 = 1 << 4;
    if !matches!(facts.stop, Stop::None | Stop::UnknownNext) {
        return None;
    }
    let mut cursor = Cursor::at(frame.data, usize::from(facts.transport_offset));
    cursor.skip(4).ok()?;
    let sequence = u32::from_be_bytes(*cursor.take().ok()?);
    let acknowledgment = u32::from_be_bytes(*cursor.take().ok()?);
    let [header_words, flags] = *cursor.take::<2>().ok()?;
    let header_length = u16::from(header_words >> 4).checked_mul(4)?;
    let offset = facts.transport_offset.checked_add(header_length)?;
    let payload = frame.data.get(usize::from(offset)..end_of(frame, facts))?;
    let captured = u32::try_from(payload.len()).ok()?;
    let segment = Segment {
        direction: facts.flow.direction,
        sequence,
        acknowledgment: (flags & ACK != 0).then_some(acknowledgment),
        syn: flags & SYN != 0,
        fin: flags & FIN != 0,
        rst: flags & RST != 0,
        payload,
        cut: facts.payload_announced.saturating_sub(captured),
    };
    Some((segment, offset))
}
