//! One worker: one core, its receive queues, its flow table, its part of the rules.
//!
//! [`Worker::burst`] is the path of a packet, one call a stage. The worker owns all state of the
//! path; what others read of it (counters) are copies.

pub mod handover;
pub mod idle;
pub mod reload;
pub mod security;

use crate::capture::Burst;
use crate::dissect::application::http;
use crate::dissect::application::stream::{self, Applications};
use crate::dissect::attribute::{Message, Totals, Value, View};
use crate::dissect::{self, Protocol, ProtocolSet};
use crate::flow::fragments::{self, Fragments};
use crate::flow::{self, FlowRecord, Flows};
use crate::limits::BURST_MAX;
use crate::metrics::Counters;
use crate::output::Event;
use crate::packet::{DropReason, Facts, FlowFacts, Frame, Stop, Timestamp};
use crate::ring::Position;
use crate::rules::guards::Filter;
use crate::rules::joins::Limits;
use crate::rules::outbox::Outbox;
use crate::rules::placement::Placement;
use crate::rules::{Engine, RuleCounts, RuleSet};
use handover::{Handover, Stage};
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

/// Bounds and time-outs of one worker.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Of the flow table.
    pub flows: flow::Settings,
    /// Of defragmentation.
    pub fragments: fragments::Settings,
    /// Of stream reassembly and applications.
    pub applications: stream::Settings,
    /// Of rule instances.
    pub instances: Option<Limits>,
    /// Secrets of this run, for hash tables.
    pub seed: u128,
    /// Maintain the per-protocol totals although no rule asks for them.
    pub totals: bool,
    /// Read HTTP one segment at a time and with fixed spelling, as MMT does.
    pub http_compat: bool,
    /// Packets for which it does not hold are dropped after their headers are read.
    pub filter: Option<Arc<Filter>>,
    /// Fragments were put together before the worker gets them.
    pub defragmented: bool,
}

impl Settings {
    /// The engine of a worker with these settings, that will get the outbox of another.
    fn prepared(&self, rules: &RuleSet, placement: Option<&Placement>) -> Engine {
        let (limits, seed) = self.for_rules();
        Engine::prepared(rules, limits, seed, placement)
    }

    /// The engine of a worker with these settings, which hands some rules over if told so.
    fn engine(&self, rules: &RuleSet, outbox: Option<Outbox>) -> Engine {
        let (limits, seed) = self.for_rules();
        Engine::with_outbox(rules, limits, seed, outbox)
    }

    fn for_rules(&self) -> (Limits, u64) {
        let seed = u64::try_from(self.seed & u128::from(u64::MAX)).unwrap_or(0);
        (self.instances.unwrap_or_default(), seed)
    }
}

/// Takes what comes out of a worker.
pub trait Sink {
    /// An alert, or a flow that has ended.
    fn event(&mut self, event: Event);

    /// A packet with all its facts, before the rules look at it.
    fn packet(&mut self, _: &View<'_>) {}
}

impl<F: FnMut(Event)> Sink for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}

/// The stages that a worker runs; benchmarks leave some out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Headers and fragments.
    Headers,
    /// And flows.
    Flows,
    /// And reassembly and applications.
    Applications,
    /// And rules.
    Rules,
}

/// See the module.
#[derive(Debug)]
pub struct Worker {
    fragments: Fragments,
    facts: Vec<Facts>,
    scope: Scope,
    filter: Option<Arc<Filter>>,
    defragmented: bool,
    handover: Option<Handover>,
    stages: Stages,
}

/// Where frames come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// A capture.
    Capture,
    /// Another worker, which has counted them in and has put them together.
    Worker,
}

/// Up to where a worker has found everything: what it finds from now on is at or behind these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Alerts.
    pub alerts: Timestamp,
    /// Flow records.
    pub flows: Timestamp,
}

/// What works on whole packets, after defragmentation.
#[derive(Debug)]
struct Stages {
    rules: Arc<RuleSet>,
    engine: Engine,
    flows: Flows,
    applications: Applications,
    values: Vec<Value<'static>>,
    totals: Vec<Cell<Totals>>,
    totalled: ProtocolSet,
    http_compat: bool,
    counters: Counters,
}

impl Worker {
    /// Takes its memory here, and none later for a packet.
    pub fn new(rules: Arc<RuleSet>, settings: &Settings, scope: Scope) -> Self {
        Self::with_outbox(rules, settings, scope, None)
    }

    /// As [`Worker::new`], with security workers for some of the rules.
    pub fn with_outbox(
        rules: Arc<RuleSet>,
        settings: &Settings,
        scope: Scope,
        outbox: Option<Outbox>,
    ) -> Self {
        Self {
            fragments: Fragments::new(&settings.fragments),
            defragmented: settings.defragmented,
            handover: None,
            facts: vec![Facts::new(); BURST_MAX],
            scope,
            filter: settings.filter.clone(),
            stages: Stages {
                engine: settings.engine(&rules, outbox),
                flows: Flows::new(&settings.flows, settings.seed),
                applications: Applications::new(&settings.applications),
                values: Vec::with_capacity(rules.extraction.len()),
                totals: vec![Cell::new(Totals::default()); Protocol::ALL.len()],
                totalled: match settings.totals {
                    true => ProtocolSet::ALL,
                    false => rules.extraction.totalled(),
                },
                http_compat: settings.http_compat,
                counters: Counters::default(),
                rules,
            },
        }
    }

    /// Hand packets that belong to other workers over to them from now on.
    #[must_use]
    pub fn with_handover(mut self, handover: Option<Handover>) -> Self {
        self.handover = handover;
        self
    }

    /// The path of a packet: walk a burst through every stage. Events come out in order.
    pub fn burst(&mut self, frames: Burst<'_>, sink: &mut impl Sink) {
        self.walk(frames, From::Capture, sink);
    }

    /// As [`Worker::burst`], with frames that another worker has handed over: they go nowhere else,
    /// unless they are fragments that make up a datagram now, and count as passed, but not as
    /// received.
    pub fn burst_of_others(&mut self, frames: Burst<'_>, sink: &mut impl Sink) {
        self.walk(frames, From::Worker, sink);
    }

    fn walk(&mut self, mut frames: Burst<'_>, from: From, sink: &mut impl Sink) {
        let Self {
            fragments,
            facts,
            scope,
            filter,
            defragmented,
            handover,
            stages,
        } = self;
        let filter = filter.as_deref().filter(|_| from == From::Capture);
        let mut facts = stages.headers(&mut frames, facts, from, filter);
        if *scope >= Scope::Flows {
            if let Some(handover) = handover.as_mut().filter(|_| from == From::Capture) {
                let counters = &mut stages.counters;
                facts = handover.take_out(&mut frames, facts, Stage::Fragments, counters);
            }
            let mut frames = match defragmented {
                true => frames,
                false => defragment(fragments, frames, facts, |frame, facts| {
                    from == From::Worker
                        || handover
                            .as_mut()
                            .is_none_or(|all| all.meet_here(frame, facts))
                }),
            };
            if let Some(handover) = handover {
                let stage = match from {
                    From::Capture => Stage::Whole,
                    From::Worker => Stage::Arrived,
                };
                facts = handover.take_out(&mut frames, facts, stage, &mut stages.counters);
            }
            stages.flows.observe(&frames, facts);
            let mut packets = 0..0;
            while packets.end < frames.len() {
                // All that are left, as a rule: only before a flow ends, its packets go first.
                packets = stages.track(packets.end, facts, sink);
                if *scope >= Scope::Applications {
                    stages.parse(packets.clone(), &frames, facts);
                }
                if *scope >= Scope::Rules {
                    stages.evaluate(packets.clone(), &frames, facts, sink);
                }
            }
        }
        fragments.release();
        stages.finish_burst(facts.len());
        if *scope >= Scope::Rules {
            stages.advance(sink);
        }
    }

    /// Nothing arrives, and time goes on: deadlines pass, idle flows end.
    pub fn idle(&mut self, now: Timestamp, sink: &mut impl Sink) {
        self.idle_at(Position::at(now), sink);
    }

    /// As [`Worker::idle`], when the input is known to be at this packet.
    pub fn idle_at(&mut self, reached: Position, sink: &mut impl Sink) {
        let now = reached.time;
        let stages = &mut self.stages;
        stages.counters.latest = stages.counters.latest.max(now);
        stages.counters.number = stages.counters.number.max(reached.packet);
        stages.advance(sink);
        self.fragments.expire(now);
        let applications = &mut stages.applications;
        stages
            .flows
            .expire(now, &mut |record| end_flow(applications, record, sink));
    }

    /// The input has ended: deadlines pass, flows end.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        let stages = &mut self.stages;
        stages
            .engine
            .finish(&stages.rules, &mut |alert| sink.event(Event::Alert(alert)));
        if let Some(outbox) = stages.engine.outbox() {
            outbox.finish();
        }
        let applications = &mut stages.applications;
        // The latest packet may have been dropped before its flow was looked for.
        let latest = stages.counters.latest;
        let ended = &mut |record: &FlowRecord| end_flow(applications, record, sink);
        stages.flows.expire(latest, ended);
        let applications = &mut stages.applications;
        stages
            .flows
            .drain(&mut |record| end_flow(applications, record, sink));
        self.note_largest();
    }

    /// Look for the largest flows, to be seen with the next [`Worker::counters`]. Some 20 us of
    /// work, however many flows there are: for once a second.
    pub fn note_largest(&mut self) {
        self.stages.counters.largest = self.stages.flows.largest();
    }

    /// Up to where everything was found.
    pub fn settled(&self) -> Settled {
        let (engine, flows) = (&self.stages.engine, &self.stages.flows);
        Settled {
            alerts: engine.settled().min(self.now()),
            flows: flows.settled().min(self.now()),
        }
    }

    /// Hand over all matches and packets that wait for more of them to go with.
    pub fn hurry(&mut self) {
        if let Some(handover) = &mut self.handover {
            handover.flush();
        }
        let reached = self.stages.reached();
        if let Some(outbox) = self.stages.engine.outbox() {
            outbox.advance(reached, true);
        }
    }

    /// No further burst comes from the capture: hand over what waits, and let the other workers
    /// know. False while there is no room; then to be called again.
    pub fn leave(&mut self) -> bool {
        let counters = &mut self.stages.counters;
        let handover = self.handover.as_mut();
        handover.is_none_or(|handover| handover.leave(counters))
    }

    /// As [`Worker::leave`], when other workers hand over nothing either that is to be passed on:
    /// this one hands over nothing from now on.
    pub fn close(&mut self) -> bool {
        if let Some(handover) = &mut self.handover
            && !handover.finish(&mut self.stages.counters)
        {
            return false;
        }
        self.handover = None;
        true
    }

    /// What was counted, as of now.
    pub fn counters(&mut self) -> Counters {
        let stages = &mut self.stages;
        let mut counters = stages.counters.clone();
        counters.fragments = self.fragments.counters();
        counters.flows = *stages.flows.counters();
        counters.applications = stages.applications.counters();
        counters.reassembly = stages.applications.reassembly_counters();
        let (streams, ..) = stages.applications.used();
        counters.streams = u64::try_from(streams).unwrap_or(u64::MAX);
        counters.rules.clone_from(stages.engine.counters());
        if let Some(outbox) = stages.engine.outbox() {
            counters.handed.clone_from(outbox.counters());
        }
        counters
    }

    /// What each rule did, in load order.
    pub fn rule_counts(&self) -> Vec<RuleCounts> {
        self.stages.engine.rule_counts()
    }

    /// Flows, followed streams, blocks of waiting segments and blocks of partial messages now in
    /// use: none after [`Worker::finish`].
    pub fn in_use(&self) -> [u64; 4] {
        let (streams, waiting, partial) = self.stages.applications.used();
        let streams = u64::try_from(streams).unwrap_or(u64::MAX);
        [
            self.stages.flows.counters().active,
            streams,
            waiting.into(),
            partial.into(),
        ]
    }

    /// Latest packet time: the watermark of this worker.
    pub fn now(&self) -> Timestamp {
        self.stages.counters.latest
    }
}

/// Read one byte of each frame before any is looked at: the loads do not depend on one another, so
/// the processor waits for memory once and not once a frame.
fn fetch(frames: &Burst<'_>) {
    let bytes = frames
        .iter()
        .map(|frame| frame.data.first().copied().unwrap_or(0));
    std::hint::black_box(bytes.fold(0, |all, byte| all ^ byte));
}

/// Add fragments to their datagrams; a frame that completes one is replaced by the whole datagram.
/// When that is a fragment in its turn, `is_here` says whether it goes on here.
fn defragment<'a>(
    fragments: &'a mut Fragments,
    mut frames: Burst<'a>,
    facts: &mut [Facts],
    mut is_here: impl FnMut(&Frame<'_>, &Facts) -> bool,
) -> Burst<'a> {
    if !facts.iter().any(|facts| facts.has(Facts::FRAGMENT)) {
        return frames;
    }
    for (frame, facts) in frames.iter().zip(facts.iter_mut()) {
        fragments.add(frame, facts, &mut is_here);
    }
    for (frame, facts) in frames.iter_mut().zip(facts.iter()) {
        if let Some(slot) = facts.datagram.checked_sub(1) {
            let (data, wire_length) = fragments.datagram(slot);
            *frame = Frame {
                data,
                wire_length,
                ..*frame
            };
        }
    }
    frames
}

fn end_flow(applications: &mut Applications, record: &FlowRecord, sink: &mut impl Sink) {
    applications.release_flow(record.application_slot);
    sink.event(Event::Flow(Box::new(record.clone())));
}

impl Stages {
    /// Read the headers of every frame. Frames of which nothing can be said, and those that the
    /// filter does not let through, are dropped here.
    fn headers<'f>(
        &mut self,
        frames: &mut Burst<'_>,
        facts: &'f mut [Facts],
        from: From,
        filter: Option<&Filter>,
    ) -> &'f mut [Facts] {
        let mut unknown = false;
        fetch(frames);
        for (frame, facts) in frames.iter_mut().zip(facts.iter_mut()) {
            facts.reset();
            if let Some(offset) = frame.whole {
                facts.flags = Facts::REASSEMBLED;
                facts.whole_offset = offset;
            }
            dissect::headers(frame, facts);
            facts.number = match from {
                From::Capture => {
                    self.counters.stopped(facts.stop);
                    self.counters.received(frame)
                }
                From::Worker => self.counters.taken(frame),
            };
            frame.clock = self.counters.latest;
            unknown |= facts.stop == Stop::UnknownLink;
        }
        if unknown || filter.is_some() {
            self.drop_unwanted(frames, facts, filter);
        }
        facts.get_mut(..frames.len()).unwrap_or_default()
    }

    #[cold]
    fn drop_unwanted(
        &mut self,
        frames: &mut Burst<'_>,
        facts: &mut [Facts],
        filter: Option<&Filter>,
    ) {
        let mut kept = 0;
        for index in 0..frames.len() {
            let (Some(frame), Some(known)) = (frames.get(index), facts.get(index)) else {
                break;
            };
            let view = View {
                frame,
                facts: known,
                message: None,
                totals: &self.totals,
            };
            let reason = match known.stop {
                Stop::UnknownLink => Some(DropReason::LinkType),
                _ if filter.is_some_and(|filter| !filter.holds(&view)) => {
                    Some(DropReason::Filtered)
                }
                _ => None,
            };
            match reason {
                Some(reason) => self.counters.dropped(reason),
                None => {
                    facts.swap(kept, index);
                    frames.swap(kept, index);
                    kept += 1;
                }
            }
        }
        frames.truncate(kept);
    }

    /// Find or create the flows of the packets from number `from` on. Returns those that have
    /// theirs now: all, or those before the next flow that ends.
    fn track(&mut self, from: usize, facts: &mut [Facts], sink: &mut impl Sink) -> Range<usize> {
        let applications = &mut self.applications;
        let ended = &mut |record: &FlowRecord| end_flow(applications, record, sink);
        from..self.flows.advance(from, facts, ended).max(from + 1)
    }

    /// Put streams in order and read application messages.
    fn parse(&mut self, packets: Range<usize>, frames: &[Frame<'_>], facts: &mut [Facts]) {
        let burst = frames.iter().zip(facts).enumerate();
        for (index, (frame, facts)) in burst.take(packets.end).skip(packets.start) {
            let flow = self.flows.flow_mut(facts.flow.index);
            if let Some(flow) = flow.filter(|flow| facts.flow.id != 0 && flow.id == facts.flow.id) {
                if facts.flow.has(FlowFacts::SHUNTED) {
                    self.applications.leave(&mut flow.application);
                } else {
                    self.applications
                        .parse(index, frame, facts, &mut flow.application);
                }
            }
        }
    }

    /// Evaluate the rules on every packet, and again on each further message that it completes.
    fn evaluate(
        &mut self,
        packets: Range<usize>,
        frames: &[Frame<'_>],
        facts: &[Facts],
        sink: &mut impl Sink,
    ) {
        let Self {
            rules,
            engine,
            applications,
            totals,
            values,
            http_compat,
            ..
        } = self;
        let mut slots = renew(std::mem::take(values));
        slots.resize(rules.extraction.len(), Value::Number(0));
        let burst = frames.iter().zip(facts).enumerate();
        for (index, (frame, facts)) in burst.take(packets.end).skip(packets.start) {
            count_totals(totals, self.totalled, frame, facts);
            if facts.flow.has(FlowFacts::SHUNTED) {
                continue;
            }
            let messages = Messages {
                applications,
                index,
                frame,
                facts,
                compat: *http_compat,
            };
            let mut view = View {
                frame,
                facts,
                message: messages.first(),
                totals,
            };
            sink.packet(&view);
            engine.evaluate(rules, &view, &mut slots, &mut |alert| {
                sink.event(Event::Alert(alert))
            });
            for message in messages.further() {
                view.message = Some(message);
                let mut emit = |alert| sink.event(Event::Alert(alert));
                engine.evaluate_again(rules, &view, &mut slots, message.protocol, &mut emit);
            }
        }
        *values = renew(slots);
    }

    /// Time has come to that of the latest packet: deadlines before it pass, and no further match
    /// is from before it.
    fn advance(&mut self, sink: &mut impl Sink) {
        let latest = self.counters.latest;
        let mut emit = |alert| sink.event(Event::Alert(alert));
        self.engine.advance(&self.rules, latest, &mut emit);
        let reached = self.reached();
        if let Some(outbox) = self.engine.outbox() {
            outbox.advance(reached, false);
        }
    }

    /// The position of the latest packet: those that come have higher numbers.
    fn reached(&self) -> Position {
        Position {
            packet: self.counters.number,
            ..Position::at(self.counters.latest)
        }
    }

    /// Account for the burst.
    fn finish_burst(&mut self, passed: usize) {
        self.applications.end_burst();
        self.counters.passed += u64::try_from(passed).unwrap_or(0);
    }
}

/// The application messages of one packet.
struct Messages<'a, 'f> {
    applications: &'a Applications,
    index: usize,
    frame: &'a Frame<'a>,
    facts: &'f Facts,
    compat: bool,
}

impl<'a> Messages<'a, '_> {
    fn first(&self) -> Option<Message<'a>> {
        if self.compat && self.facts.protocols.contains(Protocol::Http) {
            let start = usize::from(self.facts.payload_offset);
            let end = usize::try_from(self.facts.end).unwrap_or(usize::MAX);
            let again = self.facts.flow.has(FlowFacts::RETRANSMISSION);
            return http::compat_message(self.frame.data.get(start..end)?, again);
        }
        let reference = self.applications.messages_of(self.index).first()?;
        Some(self.applications.message(reference, self.frame))
    }

    fn further(&self) -> impl Iterator<Item = Message<'a>> {
        let count = if self.compat { 0 } else { usize::MAX };
        let references = self
            .applications
            .messages_of(self.index)
            .iter()
            .skip(1)
            .take(count);
        references.map(|reference| self.applications.message(reference, self.frame))
    }
}

/// The same allocation for values of another lifetime: collecting an emptied vector in place keeps
/// it.
fn renew<'b>(mut values: Vec<Value<'_>>) -> Vec<Value<'b>> {
    values.clear();
    values.into_iter().map(|_| Value::Number(0)).collect()
}

/// Add a packet to the running totals of those of its protocols that are wanted, once for each.
fn count_totals(
    totals: &[Cell<Totals>],
    mut wanted: ProtocolSet,
    frame: &Frame<'_>,
    facts: &Facts,
) {
    if wanted == ProtocolSet::default() {
        return;
    }
    let meta = Some((Protocol::Meta, 0));
    let layers = facts.layers().iter().map(|l| (l.protocol, l.offset));
    for (protocol, offset) in meta.into_iter().chain(layers) {
        if wanted.contains(protocol) {
            wanted.remove(protocol);
            add_total(totals, protocol, offset, frame, facts);
        }
    }
}

fn add_total(
    totals: &[Cell<Totals>],
    protocol: Protocol,
    offset: u16,
    frame: &Frame<'_>,
    facts: &Facts,
) {
    let Some(cell) = totals.get(protocol as usize) else {
        return;
    };
    let mut total = cell.get();
    let bytes = u64::from(frame.wire_length);
    let now = frame.timestamp.micros();
    if total.packets == 0 {
        total.first_us = now;
    }
    total.last_us = now;
    total.packets += 1;
    total.bytes += bytes;
    total.payload_bytes += bytes.saturating_sub(u64::from(offset));
    let ip = matches!(protocol, Protocol::Ipv4 | Protocol::Ipv6);
    if ip && (facts.has(Facts::FRAGMENT) || facts.has(Facts::REASSEMBLED)) {
        total.fragments += 1;
        total.fragment_bytes += bytes;
    }
    if ip && facts.flow.has(FlowFacts::NEW) {
        total.sessions += 1;
    }
    cell.set(total);
}
