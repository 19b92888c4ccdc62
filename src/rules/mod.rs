//! Security properties: rule files to verdicts.

pub mod listing;
pub mod load;
pub mod property;

mod delay;
mod embedded;
mod tree;
mod xml;
