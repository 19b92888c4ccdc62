//! A worker changes its rules between two bursts.
//!
//! A [`Replacement`] is made beside the worker: rules compiled and compared with those that run,
//! memory taken. The worker only exchanges what it owns. What it has no use for any more goes back
//! to whoever made the replacement, as freeing it takes time too.

use super::security::SecurityWorker;
use super::{Settings, Worker};
use crate::dissect::ProtocolSet;
use crate::dissect::attribute::Value;
use crate::rules::placement::Placement;
use crate::rules::reload::{Adopted, Changes};
use crate::rules::{Engine, RuleSet};
use std::sync::Arc;

/// Rules to run from some burst on, with all they need.
#[derive(Debug)]
pub struct Replacement {
    old: Arc<RuleSet>,
    rules: Arc<RuleSet>,
    engine: Engine,
    values: Vec<Value<'static>>,
    totalled: ProtocolSet,
    changes: Arc<Changes>,
    placement: Option<Arc<Placement>>,
}

/// What a worker has no use for after it has changed its rules.
#[derive(Debug)]
pub struct Replaced {
    /// What became of the instances.
    pub adopted: Adopted,
    _rules: Arc<RuleSet>,
    _engine: Engine,
    _values: Vec<Value<'static>>,
}

/// The replacement was made for a worker with other rules than this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rules have changed meanwhile")]
pub struct Outdated;

impl Replacement {
    /// `rules` for a worker that runs `old`, keeps all rules, and was made with these settings.
    pub fn new(rules: RuleSet, old: &Arc<RuleSet>, settings: &Settings) -> Self {
        Next::new(rules, old).replacement(settings, None)
    }

    /// The rules.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }
}

/// Rules that follow others, for any number of workers.
#[derive(Debug)]
pub struct Next {
    old: Arc<RuleSet>,
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// What becomes of each rule that runs now.
    pub changes: Arc<Changes>,
}

impl Next {
    /// `rules` after `old`.
    pub fn new(mut rules: RuleSet, old: &Arc<RuleSet>) -> Self {
        let changes = Changes::between(old, &rules);
        rules.share_memory(old, &changes);
        Self {
            old: Arc::clone(old),
            rules: Arc::new(rules),
            changes: Arc::new(changes),
        }
    }

    /// For one worker, or security worker, that was made with these settings. `placement` is for
    /// workers that hand rules over.
    pub fn replacement(
        &self,
        settings: &Settings,
        placement: Option<Arc<Placement>>,
    ) -> Replacement {
        Replacement {
            old: Arc::clone(&self.old),
            rules: Arc::clone(&self.rules),
            engine: settings.prepared(&self.rules, placement.as_deref()),
            values: Vec::with_capacity(self.rules.extraction.len()),
            totalled: self.rules.extraction.totalled(),
            changes: Arc::clone(&self.changes),
            placement,
        }
    }
}

impl Worker {
    /// Run other rules from the next burst on. Attempts to match rules that are unchanged go on;
    /// those of the others are dropped.
    ///
    /// # Errors
    /// [`Outdated`]; the worker goes on with the rules it has.
    pub fn reload(&mut self, replacement: Replacement) -> Result<Replaced, Outdated> {
        let stages = &mut self.stages;
        if !Arc::ptr_eq(&replacement.old, &stages.rules) {
            return Err(Outdated);
        }
        let mut engine = std::mem::replace(&mut stages.engine, replacement.engine);
        let (placement, changes) = (replacement.placement, &replacement.changes);
        let adopted = stages.engine.adopt(&mut engine, placement, changes);
        // Totals that are kept go on being kept, so that they are never of some packets only.
        stages.totalled = stages.totalled.union(replacement.totalled);
        Ok(Replaced {
            adopted,
            _rules: std::mem::replace(&mut stages.rules, replacement.rules),
            _engine: engine,
            _values: std::mem::replace(&mut stages.values, replacement.values),
        })
    }
}

/// Rules that a security worker is to run once its workers do, and those it ran before.
#[derive(Debug)]
pub(super) struct Passage {
    changes: Arc<Changes>,
    /// Of each worker: its matches are of the new rules.
    moved: Vec<bool>,
    replaced: Replaced,
}

impl SecurityWorker {
    /// A worker has changed its rules: change to these with the first, and remember which matches
    /// are still of the old ones. Gives what is left over once all workers have changed.
    pub(super) fn pass(&mut self, sender: usize, senders: usize) -> Option<Replaced> {
        if self.passage.is_none()
            && let Some(replacement) = self.coming.take()
        {
            let Replacement {
                rules,
                mut engine,
                values,
                changes,
                ..
            } = replacement;
            let adopted = engine.adopt(&mut self.engine, None, &changes);
            self.passage = Some(Passage {
                moved: vec![false; senders],
                changes,
                replaced: Replaced {
                    adopted,
                    _rules: std::mem::replace(&mut self.rules, rules),
                    _engine: std::mem::replace(&mut self.engine, engine),
                    _values: values,
                },
            });
        }
        let passage = self.passage.as_mut()?;
        if let Some(moved) = passage.moved.get_mut(sender) {
            *moved = true;
        }
        let is_over = passage.moved.iter().all(|moved| *moved);
        let passage = self.passage.take_if(|_| is_over)?;
        Some(passage.replaced)
    }
}

impl Passage {
    /// The place that the rule of a match has now; none if it has none any more.
    pub(super) fn place_now(&self, sender: usize, rule: u32) -> Option<u32> {
        match self.moved.get(sender) {
            Some(false) => self.changes.place_of(rule),
            _ => Some(rule),
        }
    }
}
