//! What standard mode means, written to be read and not to be fast.
//!
//! # The definition
//!
//! A rule is a tree of operators over events. An *attempt* is one way in which its events may be
//! coming. Beside those under way there is always one that has seen nothing.
//!
//! **Readings.** An operator is read as a *context*, then a *trigger* that is waited for from the
//! packet that completes the context, between `min` and `max` microseconds later, both included:
//!
//! | operator | context | trigger | when the trigger came | when its time is over |
//! |---|---|---|---|---|
//! | `a THEN b` | a | b | holds | fails |
//! | `a AND b` | a, and in another reading b | the other one | holds | fails |
//! | `a NOT b` | a | b | fails | holds |
//! | `a BEFORE b` | b | a | holds | the attempt ends |
//! | | a | none | fails at once, unless a b answered the same a (see below) | |
//! | `a OR b` | none: whichever comes, the operator holds | | | |
//!
//! `THEN` with a negative least delay is read as a `BEFORE` with the bounds turned round; as far as
//! the greatest delay is positive, an a that no b answered is a context as in `THEN`, from 0.
//!
//! **Bounds.** Only time and `counter_min`, `counter_max` bound the wait: the latter the packets
//! from the one that completed the context to the first one of the trigger, the packet of the
//! trigger counted; after a deadline they count from the last packet of the attempt. With counters
//! and without delays there is no latest time. An operator that runs in the trigger of others waits
//! no longer than they do. With all four bounds 0 the trigger must hold on the packet that
//! completed the context, begun by the first event that can, by number; otherwise its time is over
//! at once. `BEFORE` then means `THEN`.
//!
//! **Events.** A packet may be an event when it has all attributes that the event's condition names
//! without `.N`, outside of `is_exist`, `is_null` and `is_empty`, and those that other events take
//! from it; and it is the event for an attempt when the condition holds, `.N` read from what the
//! attempt has seen. Two events of which either may come first (of the parts of `AND` and `BEFORE`,
//! and of `THEN` with a negative least delay) are compared when the later one comes, whichever of
//! them names the other; until then such a condition is not asked.
//!
//! **A packet.** First the deadlines before it pass. Then event after event, by number, it is tried
//! on the attempts, those that changed last first, and on the one that has seen nothing last; but
//! what an answer may end is tried after what may answer. The same a is one that came as the same
//! event of the same packet, or at the same time by a deadline, after the same event of the same
//! packet. An attempt does not look again at the packet that brought it where it is. An event that
//! opens an operator moves a copy and leaves the attempt where it was; so does the answer of a
//! `BEFORE`: one b serves every a. When an event has brought a verdict, it is tried on nothing
//! else.
//!
//! **Ends.** When the root holds, the attempt passes; when it fails, it fails. A trigger that fails
//! lets its operator fail; a context that fails ends the attempt without a word, and so does an
//! unwanted part of a `NOT` or an a of a `BEFORE` that comes to nothing. ATTACK and EVASION report
//! `detected` when an attempt passes, SECURITY reports `not_respected` when one fails, and TEST
//! reports `respected` and `not_respected`. A report ends all attempts that stem from the same
//! first event, but for the answer of a `BEFORE`, which only ends its own. An attempt that fails
//! without a report ends alone: the trigger may still come in another way. Where the trigger of the
//! root came, reported or not, or the unwanted part of a `NOT`, all attempts end that wait for it
//! in the same place.
//!
//! **Deadlines** pass in the order of time, those of one time in the order in which they were set.
//! They are noticed by the first packet that comes in a later one of the intervals of
//! [`RESOLUTION_US`] into which time is divided, and at the end of the input. What they bring
//! happens at their own time.
//!
//! **One packet.** A rule of two events under `THEN`, `BEFORE` or `NOT` with all bounds 0 is
//! decided by each packet that may be both events and is the first; `.N` reads that packet. Its
//! report shows both events, also where the second did not hold. A rule of one event is
//! `event THEN true`.

use crate::alert::{Alert, Events, Seen, history};
use crate::conditions::{Look, Packet, Uses, asks_protocol, in_either_order};
use crate::expression::{self, Values};
use std::collections::BTreeSet;
use std::rc::Rc;
use wirelynx::dissect::attribute::{AttributeId, View};
use wirelynx::expr::{self, Expr};
use wirelynx::rules::property::{Kind, Node, Operator, OperatorNode, Property, Window};

/// How late a deadline may be noticed: the page allows a millisecond, and what may happen in
/// between is not defined. So the oracle has to be as late as the engine is.
pub(crate) const RESOLUTION_US: u64 = 1024;

/// Attempts of one rule beyond which its case is given up: some rules copy without end.
pub(crate) const ATTEMPTS_MAX: usize = 600;

/// How an operator is read; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kin {
    /// The trigger has to follow.
    Follows,
    /// The trigger must not follow.
    Absent,
    /// The context is what has to precede; the trigger is what it answers.
    Precedes,
    /// The context alone, which nothing preceded.
    Unpreceded,
}

/// One reading of an operator.
#[derive(Debug, Clone, Copy)]
struct Reading<'p> {
    operator: &'p OperatorNode,
    kin: Kin,
    context: &'p Node,
    trigger: &'p Node,
    window: Window,
    /// Given up when the context was answered by what preceded it.
    unless_answered: bool,
}

/// An operator under way.
#[derive(Debug, Clone)]
struct Running<'p> {
    reading: Reading<'p>,
    /// The attempt that stood before the operator when it was opened.
    opened_from: u64,
    /// None while the context is under way.
    wait: Option<Wait>,
}

/// The wait for a trigger.
#[derive(Debug, Clone, Copy)]
struct Wait {
    /// Tells it from every other, also in copies of the attempt.
    id: u64,
    from_us: u64,
    until_us: u64,
    /// Packets so far when it began.
    packet: u64,
}

#[derive(Debug, Clone)]
struct Attempt<'p> {
    /// Its own for as long as it lives.
    id: u64,
    /// Shared by all that stem from one first event.
    family: u64,
    /// Of its last change.
    order: u64,
    seen: Events,
    /// Operators under way, the outermost first. The last one waits for its trigger.
    path: Vec<Running<'p>>,
}

/// Time, and the packet if there is one: a deadline has none.
#[derive(Clone, Copy)]
struct Now<'v> {
    time_us: u64,
    packet: Option<&'v Packet<'v>>,
}

/// One rule and its attempts.
struct Rule<'p> {
    property: &'p Property,
    /// By event: what a packet must have, and what is kept of it.
    needs: Vec<BTreeSet<AttributeId>>,
    keeps: Vec<BTreeSet<AttributeId>>,
    attempts: Vec<Attempt<'p>>,
    /// Numbers given out: to attempts, families, and changes.
    given: u64,
    /// Operators whose trigger came on this packet as this event, or at this deadline, with the
    /// attempt they were opened from, and at a deadline what was last seen: the answers of
    /// `BEFORE`.
    answered: BTreeSet<(*const OperatorNode, u64, LastSeen)>,
    /// The deadline at which they were answered.
    answered_us: Option<u64>,
    /// By event: those that may come before it or after it.
    either: Vec<BTreeSet<u8>>,
    alerts: Vec<Alert>,
    /// It was given up.
    is_too_large: bool,
}

/// Number of a packet, and the event that it was.
type LastSeen = (u64, u8);

/// What tells deadlines of one time apart.
fn last_seen(attempt: &Attempt<'_>, now: Now<'_>) -> LastSeen {
    if now.packet.is_some() {
        return (0, 0);
    }
    let seen = attempt
        .seen
        .iter()
        .map(|(event, seen)| (seen.packet, *event));
    seen.max().unwrap_or_default()
}

/// All rules.
pub(crate) struct Oracle<'p> {
    rules: Vec<Rule<'p>>,
    asked: BTreeSet<AttributeId>,
}

/// The attempt that has seen nothing.
const NOTHING_SEEN: u64 = 0;

impl<'p> Oracle<'p> {
    pub(crate) fn new(properties: &'p [Property]) -> Self {
        let rules: Vec<Rule<'p>> = properties.iter().map(Rule::new).collect();
        let kept = |rule: &Rule<'_>| rule.keeps.iter().flatten().copied().collect::<Vec<_>>();
        Self {
            asked: rules.iter().flat_map(kept).collect(),
            rules,
        }
    }

    pub(crate) fn packet(&mut self, view: &View<'_>) {
        let asked = self.asked.iter();
        let values = asked.filter_map(|id| Some((*id, expression::extract(view, *id)?)));
        let values: Values = values.collect();
        let packet = Packet {
            time_us: view.frame.timestamp.micros(),
            number: view.facts.number,
            values: &values,
            protocols: view.facts.protocols,
        };
        for rule in &mut self.rules {
            rule.packet(&packet);
        }
    }

    /// The input has ended: every deadline passes.
    pub(crate) fn finish(&mut self) {
        for rule in &mut self.rules {
            rule.deadlines(|_| true);
        }
    }

    /// Alerts of one rule, in order; none when it was given up.
    pub(crate) fn alerts(&self, rule: usize) -> Option<&[Alert]> {
        let rule = &self.rules[rule];
        (!rule.is_too_large).then_some(rule.alerts.as_slice())
    }
}

impl<'p> Rule<'p> {
    fn new(property: &'p Property) -> Self {
        let uses: Vec<Uses> = property
            .events
            .iter()
            .map(|event| Uses::of(&event.expression))
            .collect();
        let taken = |number: u8| {
            let all = uses.iter().flat_map(|uses| &uses.earlier);
            all.filter(move |(event, _)| *event == number)
                .map(|(_, id)| *id)
        };
        let needs = (1..).zip(&uses).map(|(number, uses)| {
            let own = uses.own.difference(&uses.asked).copied();
            own.chain(taken(number)).collect()
        });
        let keeps = (1..).zip(&uses).map(|(number, uses)| {
            let own = uses.own.iter().chain(&uses.asked).copied();
            own.chain(taken(number)).collect()
        });
        Self {
            property,
            needs: needs.collect(),
            keeps: keeps.collect(),
            attempts: Vec::new(),
            given: 0,
            answered: BTreeSet::new(),
            answered_us: None,
            either: (1..)
                .zip(&property.events)
                .map(|(event, _)| in_either_order(&property.root, event))
                .collect(),
            alerts: Vec::new(),
            is_too_large: false,
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        if self.is_too_large {
            return;
        }
        self.answered_us = None;
        let interval = packet.time_us / RESOLUTION_US;
        self.deadlines(|deadline_us| deadline_us / RESOLUTION_US < interval);
        if let Some(operator) = one_packet(self.property) {
            self.decide(operator, packet);
        } else {
            for event in self.numbers() {
                self.event(event, packet);
            }
        }
        self.is_too_large = self.attempts.len() > ATTEMPTS_MAX;
    }

    fn numbers(&self) -> std::ops::RangeInclusive<u8> {
        1..=u8::try_from(self.property.events.len()).unwrap()
    }

    fn next(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    // Deadlines

    /// Let those deadlines pass for which `passed` says so, in their order.
    fn deadlines(&mut self, passed: impl Fn(u64) -> bool) {
        loop {
            let waiting = self.attempts.iter().map(|attempt| {
                let until_us = attempt.wait().map_or(u64::MAX, |wait| wait.until_us);
                (until_us, attempt.order, attempt.id)
            });
            // What waits for ever has no deadline, not even at the end.
            let due = waiting.filter(|(until_us, _, _)| *until_us != u64::MAX && passed(*until_us));
            let Some((time_us, _, id)) = due.min() else {
                return;
            };
            let now = Now {
                time_us,
                packet: None,
            };
            if self.answered_us.replace(time_us) != Some(time_us) {
                self.answered.clear();
            }
            let attempt = self.remove(id);
            self.over(attempt, now);
        }
    }

    /// The time of the wait is over.
    fn over(&mut self, mut attempt: Attempt<'p>, now: Now<'_>) -> bool {
        let Some(running) = attempt.path.pop() else {
            return false;
        };
        match running.reading.kin {
            Kin::Follows => self.failed(attempt, now),
            Kin::Absent => self.holds(attempt, now),
            Kin::Precedes | Kin::Unpreceded => false,
        }
    }

    // Packets

    /// The packet as one event, for all attempts.
    fn event(&mut self, event: u8, packet: &Packet<'_>) {
        if !self.has_needed(event, packet) {
            return;
        }
        self.answered.clear();
        let place = |a: &Attempt<'_>| (!a.may_be_answered(), a.order, a.id);
        let mut attempts: Vec<(bool, u64, u64)> = self.attempts.iter().map(place).collect();
        attempts.sort_unstable();
        for (_, order, id) in attempts.into_iter().rev() {
            let found = self.attempts.iter().find(|attempt| attempt.id == id);
            let Some(attempt) = found.filter(|attempt| attempt.order == order) else {
                continue;
            };
            if let Some(opened) = self.continues(attempt, event, packet) {
                let attempt = attempt.clone();
                if self.step(Some(attempt), opened, event, packet) {
                    return;
                }
            }
        }
        if let Some(opened) = way_in(&self.property.root, event, NOTHING_SEEN)
            && self.is_event(event, packet, &Events::new())
        {
            self.step(None, opened, event, packet);
        }
    }

    /// The operators that the packet as this event would open for an attempt, if it continues it.
    fn continues(
        &self,
        attempt: &Attempt<'p>,
        event: u8,
        packet: &Packet<'_>,
    ) -> Option<Vec<Running<'p>>> {
        let running = attempt.path.last()?;
        let wait = running.wait?;
        let window = running.reading.window;
        let packets = packet.number - wait.packet;
        let is_in_time = (wait.from_us..=wait.until_us).contains(&packet.time_us);
        let is_counted = packets >= window.counter_min
            && (window.counter_max == 0 || packets <= window.counter_max);
        if packets == 0 || !is_in_time || !is_counted {
            return None;
        }
        let opened = way_in(running.reading.trigger, event, attempt.id)?;
        self.is_event(event, packet, &attempt.seen)
            .then_some(opened)
    }

    fn step(
        &mut self,
        from: Option<Attempt<'p>>,
        opened: Vec<Running<'p>>,
        event: u8,
        packet: &Packet<'_>,
    ) -> bool {
        let answers = |attempt: &Attempt<'_>| {
            let last = attempt.path.last();
            last.is_some_and(|running| running.reading.kin == Kin::Precedes)
        };
        let attempt = match from {
            None => {
                let id = self.next();
                Attempt {
                    id,
                    family: id,
                    order: id,
                    seen: Events::new(),
                    path: Vec::new(),
                }
            }
            Some(attempt) if !opened.is_empty() || answers(&attempt) => Attempt {
                id: self.next(),
                ..attempt
            },
            Some(attempt) => self.remove(attempt.id),
        };
        self.arrive(attempt, opened, event, packet)
    }

    /// The event has come for this attempt, and opens these operators.
    fn arrive(
        &mut self,
        mut attempt: Attempt<'p>,
        opened: Vec<Running<'p>>,
        event: u8,
        packet: &Packet<'_>,
    ) -> bool {
        attempt.seen.insert(event, self.seen(event, packet));
        attempt.path.extend(opened);
        let now = Now {
            time_us: packet.time_us,
            packet: Some(packet),
        };
        self.holds(attempt, now)
    }

    /// What was under way at the end of the path holds. True when that brought a verdict.
    fn holds(&mut self, mut attempt: Attempt<'p>, now: Now<'_>) -> bool {
        let (mut answers, mut came) = (false, None);
        loop {
            let Some(mut running) = attempt.path.pop() else {
                return self.passed(attempt, now, answers, came);
            };
            let reading = running.reading;
            let operator = std::ptr::from_ref(reading.operator);
            let place = (operator, running.opened_from, last_seen(&attempt, now));
            match (running.wait, reading.kin) {
                (None, _) if reading.unless_answered && self.answered.contains(&place) => {
                    return false;
                }
                (None, Kin::Unpreceded) => return self.failed(attempt, now),
                (None, _) => {
                    running.wait = Some(self.wait(&attempt, reading.window, now));
                    attempt.path.push(running);
                    return self.settle(attempt, now);
                }
                (Some(wait), Kin::Absent) => {
                    self.attempts.retain(|other| !other.is_in(wait));
                    return self.failed(attempt, now);
                }
                (Some(_), Kin::Precedes) => {
                    self.answered.insert(place);
                    answers = true;
                }
                (wait, Kin::Follows | Kin::Unpreceded) => came = wait,
            }
        }
    }

    /// What was under way at the end of the path has failed.
    fn failed(&mut self, mut attempt: Attempt<'p>, now: Now<'_>) -> bool {
        while let Some(running) = attempt.path.pop() {
            if running.wait.is_none() || running.reading.kin != Kin::Follows {
                return false;
            }
        }
        self.end(attempt, false, now, false)
    }

    /// The wait that begins now, within those of the operators around.
    fn wait(&mut self, attempt: &Attempt<'p>, window: Window, now: Now<'_>) -> Wait {
        let id = self.next();
        let is_endless = window.min_us == 0 && window.max_us == 0 && !window.immediate;
        let until_us = match is_endless {
            true => u64::MAX,
            false => now.time_us.saturating_add_signed(window.max_us),
        };
        let outer = attempt.path.iter().filter_map(|running| running.wait);
        let last = || {
            let packets = attempt.seen.values().map(|seen| seen.packet);
            packets.max().unwrap_or(0)
        };
        Wait {
            id,
            from_us: now.time_us.saturating_add_signed(window.min_us),
            until_us: outer.fold(until_us, |until_us, wait| until_us.min(wait.until_us)),
            packet: now.packet.map_or_else(last, |packet| packet.number),
        }
    }

    /// The attempt waits, unless this packet has to decide.
    fn settle(&mut self, mut attempt: Attempt<'p>, now: Now<'_>) -> bool {
        attempt.order = self.next();
        let Some(reading) = attempt.path.last().map(|running| running.reading) else {
            return false;
        };
        if !reading.window.immediate {
            self.attempts.push(attempt);
            return false;
        }
        let Some(packet) = now.packet else {
            return self.over(attempt, now);
        };
        for event in self.numbers() {
            let way = way_in(reading.trigger, event, attempt.id);
            if let Some(opened) = way
                && self.has_needed(event, packet)
                && self.is_event(event, packet, &attempt.seen)
            {
                return self.arrive(attempt, opened, event, packet);
            }
        }
        self.over(attempt, now)
    }

    // Ends

    /// The root holds: it answers what preceded it, or the trigger of a wait came.
    fn passed(
        &mut self,
        attempt: Attempt<'p>,
        now: Now<'_>,
        answers: bool,
        came: Option<Wait>,
    ) -> bool {
        if let Some(wait) = came {
            self.attempts.retain(|other| !other.is_in(wait));
        }
        self.end(attempt, true, now, answers)
    }

    fn end(&mut self, attempt: Attempt<'p>, passed: bool, now: Now<'_>, answers: bool) -> bool {
        let Some(verdict) = verdict(self.property.kind, passed) else {
            return false;
        };
        self.report(verdict, &attempt.seen, now);
        if !answers {
            self.attempts.retain(|other| other.family != attempt.family);
        }
        true
    }

    fn report(&mut self, verdict: &'static str, seen: &Events, now: Now<'_>) {
        let deadline_us = match now.packet {
            Some(_) => None,
            None => Some(now.time_us),
        };
        self.alerts.push(Alert {
            time_us: now.time_us,
            packet: now.packet.map_or(0, |packet| packet.number),
            verdict,
            history: history(deadline_us, seen),
        });
    }

    fn remove(&mut self, id: u64) -> Attempt<'p> {
        let place = self.attempts.iter().position(|attempt| attempt.id == id);
        self.attempts.remove(place.unwrap())
    }

    // Events

    fn has_needed(&self, event: u8, packet: &Packet<'_>) -> bool {
        let mut needed = self.needs[usize::from(event) - 1].iter();
        needed.all(|id| packet.values.contains_key(id))
    }

    fn is_event(&self, event: u8, packet: &Packet<'_>, seen: &Events) -> bool {
        let holds = |of: u8, condition: &Expr| {
            let mut joins = false;
            condition.each_attribute(&mut |_, event| joins |= event.is_some());
            let look = Look {
                packet,
                event,
                of,
                seen,
                joins,
            };
            expression::holds(condition, &look)
        };
        let mine = self.conditions(event);
        if !mine.iter().all(|condition| {
            let later = self.may_come_later(event, condition);
            !later.iter().all(|other| seen.contains_key(other)) || holds(event, condition)
        }) {
            return false;
        }
        // What an event before it wants of it.
        let others = seen.keys().filter(|of| **of != event);
        others.copied().all(|of| {
            self.conditions(of).into_iter().all(|condition| {
                let mut later = self.may_come_later(of, condition);
                !later.remove(&event)
                    || !later.iter().all(|other| seen.contains_key(other))
                    || holds(of, condition)
            })
        })
    }

    /// The conditions on an event that `&&` joins.
    fn conditions(&self, event: u8) -> Vec<&'p Expr> {
        fn parts<'e>(expr: &'e Expr, found: &mut Vec<&'e Expr>) {
            match &expr.node {
                expr::Node::Chain(expr::Operator::And, operands) => {
                    operands.iter().for_each(|operand| parts(operand, found));
                }
                _ => found.push(expr),
            }
        }
        let mut found = Vec::new();
        parts(
            &self.property.events[usize::from(event) - 1].expression,
            &mut found,
        );
        found
    }

    /// The events that a condition on `event` names and that may come later; none where it asks
    /// the packet for its protocols.
    fn may_come_later(&self, event: u8, condition: &Expr) -> BTreeSet<u8> {
        let mut named = BTreeSet::new();
        condition.each_attribute(&mut |_, event| named.extend(event));
        if asks_protocol(condition) {
            return BTreeSet::new();
        }
        let either = &self.either[usize::from(event) - 1];
        named.intersection(either).copied().collect()
    }

    fn seen(&self, event: u8, packet: &Packet<'_>) -> Rc<Seen> {
        let kept = self.keeps[usize::from(event) - 1].iter();
        let value = |id: &AttributeId| Some((*id, packet.values.get(id)?.clone()));
        Rc::new(Seen {
            time_us: packet.time_us,
            packet: packet.number,
            values: kept.filter_map(value).collect(),
        })
    }

    /// A rule that one packet decides.
    fn decide(&mut self, operator: &OperatorNode, packet: &Packet<'_>) {
        let (Node::Event(context), Node::Event(trigger)) = (&operator.left, &operator.right) else {
            return;
        };
        if !self.has_needed(*context, packet) || !self.has_needed(*trigger, packet) {
            return;
        }
        let events = [*context, *trigger];
        let seen: Events = events.map(|event| (event, self.seen(event, packet))).into();
        if !self.is_event(*context, packet, &seen) {
            return;
        }
        let passed = self.is_event(*trigger, packet, &seen) == (operator.operator != Operator::Not);
        let now = Now {
            time_us: packet.time_us,
            packet: Some(packet),
        };
        if let Some(verdict) = verdict(self.property.kind, passed) {
            self.report(verdict, &seen, now);
        }
    }
}

impl Attempt<'_> {
    fn wait(&self) -> Option<Wait> {
        self.path.last()?.wait
    }

    /// Does it come to nothing when another attempt answers?
    fn may_be_answered(&self) -> bool {
        let mut contexts = self.path.iter().filter(|running| running.wait.is_none());
        contexts.any(|running| running.reading.unless_answered)
    }

    /// Is the trigger of this wait awaited, or under way?
    fn is_in(&self, wait: Wait) -> bool {
        let mut waits = self.path.iter().filter_map(|running| running.wait);
        waits.any(|other| other.id == wait.id)
    }
}

fn verdict(kind: Kind, passed: bool) -> Option<&'static str> {
    match (kind, passed) {
        (Kind::Attack | Kind::Evasion, true) => Some("detected"),
        (Kind::Test, true) => Some("respected"),
        (Kind::Security | Kind::Test, false) => Some("not_respected"),
        (Kind::Attack | Kind::Evasion, false) | (Kind::Security, true) => None,
    }
}

/// The operator of a rule that one packet decides.
fn one_packet(property: &Property) -> Option<&OperatorNode> {
    match &property.root {
        Node::Operator(operator)
            if property.events.len() == 2
                && operator.window.immediate
                && matches!(
                    operator.operator,
                    Operator::Then | Operator::Before | Operator::Not
                ) =>
        {
            Some(operator)
        }
        _ => None,
    }
}

/// The operators that an event opens when it is the first one of this part of the tree, the
/// outermost first; none when it is not.
fn way_in(node: &Node, event: u8, opened_from: u64) -> Option<Vec<Running<'_>>> {
    let operator = match node {
        Node::Event(number) => return (*number == event).then(Vec::new),
        Node::Operator(operator) => operator,
    };
    if operator.operator == Operator::Or {
        let [left, right] = [&operator.left, &operator.right];
        return way_in(left, event, opened_from).or_else(|| way_in(right, event, opened_from));
    }
    readings(operator).into_iter().find_map(|reading| {
        let inner = way_in(reading.context, event, opened_from)?;
        let mut path = vec![Running {
            reading,
            opened_from,
            wait: None,
        }];
        path.extend(inner);
        Some(path)
    })
}

/// The readings of an operator other than `OR`.
fn readings(operator: &OperatorNode) -> Vec<Reading<'_>> {
    let (left, right, window) = (&operator.left, &operator.right, operator.window);
    let reading = |kin, context, trigger, window| Reading {
        operator,
        kin,
        context,
        trigger,
        window,
        unless_answered: false,
    };
    let unpreceded = Reading {
        unless_answered: true,
        ..reading(Kin::Unpreceded, left, right, window)
    };
    match operator.operator {
        Operator::Then if window.min_us < 0 => {
            let before = Window {
                min_us: -window.max_us.min(0),
                max_us: -window.min_us,
                ..window
            };
            let after = Window {
                min_us: 0,
                ..window
            };
            let after = Reading {
                unless_answered: true,
                ..reading(Kin::Follows, left, right, after)
            };
            let last = if window.max_us > 0 { after } else { unpreceded };
            vec![reading(Kin::Precedes, right, left, before), last]
        }
        Operator::Then => vec![reading(Kin::Follows, left, right, window)],
        Operator::And => vec![
            reading(Kin::Follows, left, right, window),
            reading(Kin::Follows, right, left, window),
        ],
        // What holds on one packet has no order.
        Operator::Before if window.immediate => vec![reading(Kin::Follows, left, right, window)],
        Operator::Not => vec![reading(Kin::Absent, left, right, window)],
        Operator::Before => vec![reading(Kin::Precedes, right, left, window), unpreceded],
        Operator::Or => Vec::new(),
    }
}
