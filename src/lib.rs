//! Wirelynx, a network inspection appliance.
//!
//! The path of a packet, which `worker` walks for every burst:
//!
//! ```text
//! capture -> dissect::headers -> flow::fragments -> flow::track -> application -> rules -> output
//! ```
//!
//! Facts about a frame only grow along it; every frame ends as passed, or as dropped with a reason.
#![forbid(unsafe_code)]

pub mod capture;
pub mod config;
pub mod control;
pub mod diagnostic;
pub mod dissect;
pub mod expr;
pub mod flow;
pub mod limits;
pub mod metrics;
pub mod output;
pub mod packet;
pub mod ring;
pub mod rules;
pub mod top;
pub mod worker;
