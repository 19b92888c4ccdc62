//! A property as its rule file states it: a tree of operators over events, with delays.

use crate::expr::Expr;

/// What a property looks for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the language's")]
pub enum Kind {
    Attack,
    #[default]
    Security,
    Evasion,
    Test,
}

impl Kind {
    /// Lower-case name, as alerts print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Security => "security",
            Self::Evasion => "evasion",
            Self::Test => "test",
        }
    }
}

/// One property of a rule file, checked: event ids are 1..=events.len(), references resolve.
#[derive(Debug, Clone)]
pub struct Property {
    /// Rule id, from 1.
    pub id: u32,
    /// What it looks for.
    pub kind: Kind,
    /// Text for alerts; may be empty.
    pub description: String,
    /// Root of the operator tree.
    pub root: Node,
    /// Its events; event N is at N-1.
    pub events: Vec<Event>,
    /// Name of the callback of `if_satisfied`; kept for listings, never run.
    pub if_satisfied: Option<String>,
    /// Path of its file, as given.
    pub file: String,
    /// Line of its `<property>` tag, from 1.
    pub line: usize,
}

/// One event: a condition on one packet, and on the events before it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Text for listings.
    pub description: String,
    /// The condition as written, XML entities resolved.
    pub text: String,
    /// The condition.
    pub expression: Expr,
    /// The event of the rule file of which this is an earlier repetition, if it is one.
    pub repeats: Option<u8>,
}

/// A node of the operator tree.
#[derive(Debug, Clone)]
pub enum Node {
    /// Event number, from 1.
    Event(u8),
    /// Two children under an operator.
    Operator(Box<OperatorNode>),
}

/// An operator with its children: left is the context, right the trigger.
#[derive(Debug, Clone)]
pub struct OperatorNode {
    /// Which.
    pub operator: Operator,
    /// Bounds of `timestamp(trigger) - timestamp(context)`.
    pub window: Window,
    /// Context.
    pub left: Node,
    /// Trigger.
    pub right: Node,
}

/// Temporal operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the language")]
pub enum Operator {
    Then,
    Before,
    And,
    Or,
    Not,
}

/// Bounds of a delay in microseconds, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Least delay; negative when the trigger may come first (standard mode only).
    pub min_us: i64,
    /// Greatest delay.
    pub max_us: i64,
    /// All of delay_min, delay_max, counter_min, counter_max were zero: both children must hold on
    /// the same packet.
    pub immediate: bool,
    /// Least number of packets from context to trigger (`counter_min`); 0 when not given.
    pub counter_min: u64,
    /// Greatest number of packets from context to trigger; 0 when not given.
    pub counter_max: u64,
}

impl Operator {
    /// Its name in rule files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Then => "THEN",
            Self::Before => "BEFORE",
            Self::And => "AND",
            Self::Or => "OR",
            Self::Not => "NOT",
        }
    }
}
