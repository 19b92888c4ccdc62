//! Security properties: rule files to verdicts.
//!
//! [`property`] is a rule as written, [`program`] the same compiled. For each packet, [`guards`]
//! find the events it may be, and [`joins`] continue the attempts that wait for them. The two meet
//! only in a match ([`joins::Match`]), so that they can run in different places.

mod engine;
pub mod explain;
pub mod findings;
pub mod guards;
pub mod joined;
pub mod joins;
pub mod listing;
pub mod load;
pub mod machine;
pub mod mask;
pub mod outbox;
pub mod partition;
pub mod placement;
pub mod program;
pub mod property;
pub mod record;
pub mod reload;
pub mod remote;
pub mod store;
pub mod verdict;
pub mod wheel;

pub mod access;
mod by_bytes;
mod candidates;
mod checks;
mod deadlines;
mod delay;
mod either;
mod embedded;
mod graph;
mod index;
mod lint;
mod matches;
mod repeat;
mod short_texts;
pub mod steps;
mod svg;
mod tree;
mod waiting;
mod xml;

pub use engine::{Engine, RuleCounts};

use crate::dissect::ProtocolSet;
use crate::expr::Mode;
use guards::Extraction;
use program::{Attributes, Program};
use property::Property;
use steps::Steps;

/// Bits of the order within a packet that tell its events apart; those above tell the rule.
const EVENT_BITS: u32 = 8;

/// Bits of the order within a packet for event and rule; those above tell its messages apart.
const RULE_BITS: u32 = EVENT_BITS + 32;

/// The loaded rules, compiled. Shared by whoever evaluates or prints.
#[derive(Debug)]
pub struct RuleSet {
    /// In load order.
    pub programs: Vec<Program>,
    /// What to look at for each packet, in load order.
    pub steps: Steps,
    /// Lists of key attributes in all of them.
    key_lists: usize,
    /// Attributes that any of them uses.
    pub extraction: Extraction,
    /// How they were compiled.
    pub mode: Mode,
}

impl RuleSet {
    /// Do rules use running totals of all packets, which one worker has to count?
    pub fn needs_one_worker(&self) -> bool {
        self.extraction.totalled() != ProtocolSet::default()
    }

    /// Compile properties in load order; those that cannot run come back with the reason.
    pub fn new(properties: Vec<Property>, mode: Mode) -> (Self, Vec<(u32, program::Error)>) {
        let mut attributes = Attributes::default();
        let mut programs = Vec::new();
        let mut failed = Vec::new();
        for property in properties {
            let id = property.id;
            match Program::new(property, mode, &mut attributes) {
                Ok(program) => programs.push(program),
                Err(error) => failed.push((id, error)),
            }
        }
        checks::number(&mut programs);
        let extraction = Extraction::new(attributes.ids, mode);
        (
            Self {
                key_lists: program::number_key_lists(&mut programs),
                steps: Steps::new(&programs, &extraction),
                programs,
                extraction,
                mode,
            },
            failed,
        )
    }
}

fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
