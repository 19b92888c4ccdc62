//! Security properties: rule files to verdicts.

pub mod property;
