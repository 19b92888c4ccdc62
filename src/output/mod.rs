//! Events out: alerts and flow records as text, on their way to files.

pub mod alert;
pub mod flow;
pub mod time;
