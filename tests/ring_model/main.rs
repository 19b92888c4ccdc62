//! The rings between threads, under a model checker: every way that their threads can interleave,
//! and every value that a weakly ordered processor can give them to read.
//!
//! [`threads`] takes single atomic accesses for steps and is for few items; [`steps`] takes whole
//! calls, goes through all states of larger arrangements, and finds threads that wait for each
//! other. Each is shown to fail with a protocol that is broken on purpose.

mod plan;
mod steps;
mod threads;
