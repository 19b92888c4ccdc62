//! A security worker: the rules whose events are found on several workers.
//!
//! It takes matches out of one ring for each worker, in the order of event time, and runs the same
//! joins on them as a worker that keeps its rules.

use super::reload::{Passage, Replaced, Replacement};
use super::{Settings, Sink};
use crate::output::Event;
use crate::packet::Timestamp;
use crate::ring::{Merge, Next};
use crate::rules::remote::Remote;
use crate::rules::{Engine, RuleSet, joins};
use std::sync::Arc;

/// Matches taken in one call of [`SecurityWorker::work`]: some 100 us.
const MATCHES_MAX: u32 = 256;

/// What a security worker counts. Others read copies.
#[derive(Debug, Default, Clone)]
pub struct Counters {
    /// Matches taken in.
    pub processed: u64,
    /// Event time it has come to.
    pub latest: Timestamp,
    /// Rules, in load order.
    pub rules: joins::Counters,
}

/// How a call of [`SecurityWorker::work`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    Worked,
    /// From here on alerts are of other rules.
    Changed,
    /// There is nothing that can be taken now.
    Idle,
    /// There is nothing any more.
    End,
}

/// See the module.
#[derive(Debug)]
pub struct SecurityWorker {
    pub(super) rules: Arc<RuleSet>,
    pub(super) engine: Engine,
    merge: Merge<Remote>,
    pub(super) processed: u64,
    latest: Timestamp,
    /// Rules to change to when the first worker has.
    pub(super) coming: Option<Replacement>,
    /// Not all workers have changed yet.
    pub(super) passage: Option<Passage>,
    /// What is left over of a change.
    replaced: Option<Replaced>,
}

impl SecurityWorker {
    /// Of these rules, for the matches of these rings.
    pub fn new(rules: Arc<RuleSet>, settings: &Settings, merge: Merge<Remote>) -> Self {
        Self {
            coming: None,
            passage: None,
            replaced: None,
            engine: settings.engine(&rules, None),
            rules,
            merge,
            processed: 0,
            latest: Timestamp::default(),
        }
    }

    /// Take some matches in.
    pub fn work(&mut self, sink: &mut impl Sink) -> Progress {
        let mut emit = |alert| sink.event(Event::Alert(alert));
        let senders = self.merge.senders();
        for _ in 0..MATCHES_MAX {
            match self.merge.next() {
                Next::Item(item) if item.value.is_of_next_rules() => {
                    let sender = item.sender;
                    if self.change(sender, senders) {
                        return Progress::Changed;
                    }
                }
                Next::Item(item) => {
                    self.processed += 1;
                    self.latest = self.latest.max(item.position.time);
                    let passage = self.passage.as_ref();
                    let rule = item.value.rule();
                    let place = passage.map_or(Some(rule), |p| p.place_now(item.sender, rule));
                    if let Some(place) = place {
                        let remote = item.value.moved(place);
                        let arrived = (&remote, item.position);
                        self.engine
                            .receive(&self.rules, arrived, item.bytes, &mut emit);
                    }
                }
                Next::Until(time) => {
                    self.merge.make_way();
                    self.latest = self.latest.max(time);
                    self.engine.advance(&self.rules, time, &mut emit);
                    return Progress::Idle;
                }
                Next::End => {
                    self.engine.finish(&self.rules, &mut emit);
                    return Progress::End;
                }
            }
        }
        Progress::Worked
    }

    /// A worker has changed its rules; true when this one just did.
    fn change(&mut self, sender: usize, senders: usize) -> bool {
        let before = Arc::clone(&self.rules);
        if let Some(replaced) = self.pass(sender, senders) {
            self.replaced = Some(replaced);
        }
        !Arc::ptr_eq(&before, &self.rules)
    }

    /// Change to these rules when the first worker has. To be called before any worker does.
    pub fn expect(&mut self, replacement: Replacement) {
        self.coming = Some(replacement);
    }

    /// Is a change of rules under way that has not begun here?
    pub fn expects(&self) -> bool {
        self.coming.is_some()
    }

    /// What is left over of the change of rules that all workers have made by now, if they have.
    pub fn replaced(&mut self) -> Option<Replaced> {
        self.replaced.take()
    }

    /// The rules that it runs.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Alerts from now on are at this time or later.
    pub fn settled(&self) -> Timestamp {
        self.engine.settled().min(self.latest)
    }

    /// What was counted, as of now.
    pub fn counters(&mut self) -> Counters {
        Counters {
            processed: self.processed,
            latest: self.latest,
            rules: self.engine.counters().clone(),
        }
    }
}
