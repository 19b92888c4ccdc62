//! The rings between threads, under a model checker: every way that their threads can interleave,
//! and every value that a weakly ordered processor can give them to read.
//!
//! [`threads`] takes single atomic accesses for steps and is for few items; [`steps`] takes whole
//! calls, goes through all states of larger arrangements, and finds threads that wait for each
//! other. Each is shown to fail with a protocol that is broken on purpose.

#![allow(
    clippy::unwrap_used,
    reason = "this is a test throughout, and may stop at the first surprise"
)]

mod plan;
mod steps;
mod threads;
