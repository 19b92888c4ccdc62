//! A worker changes its rules between two bursts.
//!
//! A [`Replacement`] is made beside the worker: rules compiled and compared with those that run,
//! memory taken. The worker only exchanges what it owns. What it has no use for any more goes back
//! to whoever made the replacement, as freeing it takes time too.

use super::{Settings, Worker};
use crate::dissect::ProtocolSet;
use crate::dissect::attribute::Value;
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
    changes: Changes,
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
    /// `rules` for a worker that runs `old`, and was made with these settings.
    pub fn new(mut rules: RuleSet, old: &Arc<RuleSet>, settings: &Settings) -> Self {
        let changes = Changes::between(old, &rules);
        rules.share_memory(old, &changes);
        Self {
            old: Arc::clone(old),
            engine: settings.engine(&rules, None),
            values: Vec::with_capacity(rules.extraction.len()),
            totalled: rules.extraction.totalled(),
            changes,
            rules: Arc::new(rules),
        }
    }

    /// The rules.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What becomes of each rule that runs now.
    pub fn changes(&self) -> &Changes {
        &self.changes
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
        let adopted = stages.engine.adopt(&mut engine, &replacement.changes);
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
