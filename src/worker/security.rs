//! A security worker: the rules whose events are found on several workers.
//!
//! It takes matches out of one ring for each worker, in the order of event time, and runs the same
//! joins on them as a worker that keeps its rules.

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
    /// There is nothing that can be taken now.
    Idle,
    /// There is nothing any more.
    End,
}

/// See the module.
#[derive(Debug)]
pub struct SecurityWorker {
    rules: Arc<RuleSet>,
    engine: Engine,
    merge: Merge<Remote>,
    processed: u64,
    latest: Timestamp,
}

impl SecurityWorker {
    /// Of these rules, for the matches of these rings.
    pub fn new(rules: Arc<RuleSet>, settings: &Settings, merge: Merge<Remote>) -> Self {
        Self {
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
        for _ in 0..MATCHES_MAX {
            match self.merge.next() {
                Next::Item(item) => {
                    self.processed += 1;
                    self.latest = self.latest.max(item.position.time);
                    let arrived = (&*item.value, item.position);
                    self.engine
                        .receive(&self.rules, arrived, item.bytes, &mut emit);
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
