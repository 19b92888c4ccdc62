//! Events out: alerts and flow records as text, on their way to files.

pub mod alert;
pub mod flow;
mod held;
pub mod latency;
pub mod limit;
mod lines;
pub mod queue;
mod target;
#[cfg(test)]
mod testing;
pub mod time;
pub mod writer;

use crate::flow::FlowRecord;
use crate::rules::joins::Alert;

/// What a worker has to say.
#[derive(Debug, Clone)]
pub enum Event {
    /// A rule came to a verdict.
    Alert(Alert),
    /// A flow has ended.
    Flow(Box<FlowRecord>),
}
