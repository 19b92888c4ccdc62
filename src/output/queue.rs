//! A thread's end of the way to the writers: one ring for alerts, one for flow records.

use super::Event;
use super::held::Held;
use crate::flow::FlowRecord;
use crate::packet::Timestamp;
use crate::ring::{Fill, Position, Sender, WhenFull};
use crate::rules::RuleSet;
use crate::rules::joins::Alert;
use crate::worker::Sink;
use std::sync::Arc;

/// What goes to the writer of alerts.
#[derive(Debug)]
pub(super) enum AlertMessage {
    Alert(Alert),
    /// Alerts of this sender are of these rules from here on.
    Rules(Arc<RuleSet>),
}

/// What travels in the rings; nothing once it has been taken.
pub(super) type Parcel<T> = Option<T>;

/// Events of one kind on their way.
#[derive(Debug)]
pub(super) struct Lane<T> {
    held: Held<T>,
    sender: Sender<Parcel<T>>,
    when_full: WhenFull,
    dropped: u64,
}

impl<T> Lane<T> {
    pub(super) fn new(sender: Sender<Parcel<T>>, when_full: WhenFull) -> Self {
        Self {
            held: Held::default(),
            sender,
            when_full,
            dropped: 0,
        }
    }

    /// All further events are at or behind `to`: what is before that goes.
    fn advance(&mut self, to: Timestamp, hurry: bool) {
        while let Some((position, event)) = self.held.pop_before(to) {
            self.send(position, event);
        }
        self.sender.advance(to);
        if hurry {
            let _ = self.sender.flush();
        }
    }

    /// Returns whether it went.
    fn send(&mut self, position: Position, event: T) -> bool {
        let goes = self.sender.make_room(0, self.when_full);
        match goes {
            true => self.sender.push(position, Some(event), |_| {}),
            false => self.dropped += 1,
        }
        goes
    }

    /// Everything goes that is held, and what does not find room in time is dropped.
    fn finish(&mut self) {
        while let Some((position, event)) = self.held.pop() {
            self.send(position, event);
        }
        let left = self.sender.finish(self.when_full);
        self.dropped += u64::try_from(left).unwrap_or(u64::MAX);
    }
}

/// Events lost, by where they were to go.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Alerts.
    pub alerts: u64,
    /// Flow records.
    pub flows: u64,
}

impl Dropped {
    /// And those.
    pub fn add(&mut self, other: Self) {
        self.alerts = self.alerts.saturating_add(other.alerts);
        self.flows = self.flows.saturating_add(other.flows);
    }

    /// Of both kinds.
    pub fn total(&self) -> u64 {
        self.alerts.saturating_add(self.flows)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    pub(super) alerts: Option<Lane<AlertMessage>>,
    pub(super) flows: Option<Lane<Box<FlowRecord>>>,
    /// Rules that found the ring full. Without them the writer would take the next alert for one of
    /// other rules, so they go first.
    pub(super) owed: Option<Arc<RuleSet>>,
}

impl Queue {
    /// Hold an event until it is its turn.
    pub fn send(&mut self, event: Event) {
        match event {
            Event::Alert(alert) => {
                if let Some(lane) = &mut self.alerts {
                    lane.held.push(alert.position, AlertMessage::Alert(alert));
                }
            }
            Event::Flow(flow) => {
                if let Some(lane) = &mut self.flows {
                    lane.held.push(flow.ended, flow);
                }
            }
        }
    }

    /// All further alerts, and all further flow records, are at or behind these times. With
    /// `hurry`, what can go goes now, and not only when there is more of it.
    pub fn advance(&mut self, alerts: Timestamp, flows: Timestamp, hurry: bool) {
        if let Some(lane) = &mut self.alerts {
            match Self::pay(lane, &mut self.owed) {
                true => lane.advance(alerts, hurry),
                // Alerts of rules that the writer does not know would be taken for others.
                false => {
                    while lane.held.pop_before(alerts).is_some() {
                        lane.dropped += 1;
                    }
                }
            }
        }
        if let Some(lane) = &mut self.flows {
            // What waits for an alert in a writer of both must not wait for one that this thread
            // has not looked for yet.
            lane.advance(flows.min(alerts), hurry);
        }
    }

    /// Alerts from here on are of these rules.
    pub fn change_rules(&mut self, rules: Arc<RuleSet>) {
        if let Some(lane) = &mut self.alerts {
            let is_paid = Self::pay(lane, &mut self.owed);
            while let Some((position, message)) = lane.held.pop() {
                match is_paid {
                    true => _ = lane.send(position, message),
                    false => lane.dropped += 1,
                }
            }
            self.owed = Some(rules);
            Self::pay(lane, &mut self.owed);
        }
    }

    /// How full its rings are: that of alerts and that of flow records, as far as there are any.
    pub fn fills(&self) -> [Option<Arc<dyn Fill>>; 2] {
        [
            self.alerts.as_ref().map(|lane| lane.sender.fill()),
            self.flows.as_ref().map(|lane| lane.sender.fill()),
        ]
    }

    /// Events lost since a ring was full.
    pub fn dropped(&self) -> Dropped {
        Dropped {
            alerts: self.alerts.as_ref().map_or(0, |lane| lane.dropped),
            flows: self.flows.as_ref().map_or(0, |lane| lane.dropped),
        }
    }

    /// Events held now.
    pub fn held(&self) -> usize {
        let alerts = self.alerts.as_ref().map_or(0, |lane| lane.held.len());
        alerts + self.flows.as_ref().map_or(0, |lane| lane.held.len())
    }

    /// Is a writer gone, so that nobody sees what more would give?
    pub fn is_closed(&self) -> bool {
        let alerts = self.alerts.as_ref();
        let flows = self.flows.as_ref();
        alerts.is_some_and(|lane| lane.sender.is_closed())
            || flows.is_some_and(|lane| lane.sender.is_closed())
    }

    /// Nothing comes any more: everything goes. Gives what was lost in all.
    pub fn finish(mut self) -> Dropped {
        let mut dropped = self.dropped();
        // One after the other: a writer of both waits until it knows that no alert comes any more.
        if let Some(mut lane) = self.alerts.take() {
            if !Self::pay(&mut lane, &mut self.owed) {
                // Nobody knows the rules that these are of.
                while lane.held.pop().is_some() {
                    lane.dropped += 1;
                }
            }
            lane.finish();
            dropped.alerts = lane.dropped;
        }
        if let Some(mut lane) = self.flows.take() {
            lane.finish();
            dropped.flows = lane.dropped;
        }
        dropped
    }

    /// Tell of new rules, if any; false when there is no room.
    fn pay(lane: &mut Lane<AlertMessage>, owed: &mut Option<Arc<RuleSet>>) -> bool {
        let Some(rules) = owed.take() else {
            return true;
        };
        if !lane.sender.make_room(0, lane.when_full) {
            *owed = Some(rules);
            return false;
        }
        let now = Position::default();
        lane.sender
            .push(now, Some(AlertMessage::Rules(rules)), |_| {});
        true
    }
}

impl Sink for Queue {
    fn event(&mut self, event: Event) {
        self.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Mode;
    use crate::ring::{Merge, Next, rings};
    use crate::rules::verdict::Verdict;

    /// Of a deadline so many microseconds after the epoch.
    fn alert(micros: u64) -> Event {
        let timestamp = Timestamp::from_micros(micros);
        Event::Alert(Alert {
            rule: 0,
            verdict: Verdict::Detected,
            timestamp,
            packet: 0,
            timed_out: true,
            bound: 0,
            record: Box::default(),
            position: Position::at(timestamp),
        })
    }

    fn queue(when_full: WhenFull) -> (Queue, Merge<Parcel<AlertMessage>>) {
        let (mut senders, merge) = rings(1, 1);
        let queue = Queue {
            alerts: Some(Lane::new(senders.remove(0), when_full)),
            flows: None,
            owed: None,
        };
        (queue, merge)
    }

    /// Microseconds of alerts, 0 for new rules.
    fn taken(merge: &mut Merge<Parcel<AlertMessage>>) -> Vec<u64> {
        let mut all = Vec::new();
        while let Next::Item(item) = merge.next() {
            all.push(match item.value.take() {
                Some(AlertMessage::Alert(alert)) => alert.timestamp.micros(),
                _ => 0,
            });
        }
        all
    }

    #[test]
    fn alerts_wait_for_those_that_are_found_later_and_come_before_them() {
        let (mut queue, mut merge) = queue(WhenFull::Wait);
        for micros in [7, 5, 9] {
            queue.send(alert(micros));
        }
        queue.advance(Timestamp::from_micros(8), Timestamp::default(), true);
        queue.send(alert(8));
        assert_eq!(taken(&mut merge), [5, 7]);
        assert_eq!(queue.held(), 2);
        assert_eq!(queue.finish(), Dropped::default());
        assert_eq!(taken(&mut merge), [8, 9]);
        assert!(matches!(merge.next(), Next::End));
    }

    /// No alert of new rules may be taken for one of old rules, however full the ring is.
    #[test]
    fn new_rules_come_before_their_alerts_or_these_are_dropped() {
        let rules = || Arc::new(RuleSet::new(Vec::new(), Mode::Standard).0);
        let (mut queue, mut merge) = queue(WhenFull::Drop);
        let send = |queue: &mut Queue, micros| {
            queue.send(alert(micros));
            queue.advance(
                Timestamp::from_micros(micros + 1),
                Timestamp::default(),
                false,
            );
        };
        // One batch in the ring and one that is pending.
        (1..=64).for_each(|micros| send(&mut queue, micros));
        queue.change_rules(rules());
        send(&mut queue, 65);
        queue.change_rules(rules());
        send(&mut queue, 66);
        assert_eq!(queue.dropped().alerts, 2);
        assert_eq!(taken(&mut merge), (1..=32).collect::<Vec<_>>());
        send(&mut queue, 67);
        queue.advance(Timestamp::from_micros(70), Timestamp::default(), true);
        let mut expected: Vec<u64> = (33..=64).collect();
        assert_eq!(taken(&mut merge), expected);
        queue.advance(Timestamp::from_micros(71), Timestamp::default(), true);
        expected = vec![0, 67];
        assert_eq!(taken(&mut merge), expected);
        drop(merge);
        assert!(queue.is_closed());
    }
}
