//! Events out.

pub mod flow;
pub mod time;
