//! Which worker a packet goes to: by a hash of its flow, so that both directions meet.
//!
//! This is what receive side scaling does in a port, but of the innermost packet: what is in
//! tunnels and in fragments is spread as well. VLANs do not count, as rules see a five-tuple alone.

use super::key::Secret;
use super::observation::Observation;
use crate::packet::{Facts, Frame};

/// See the module.
#[derive(Debug)]
pub struct Steering {
    secret: Secret,
    workers: u64,
    seen: Observation,
}

impl Steering {
    /// To so many workers. Whoever does not know the seed cannot choose packets that all go to one.
    pub fn new(workers: usize, seed: u128) -> Self {
        Self {
            secret: Secret::new(!seed),
            workers: u64::try_from(workers.max(1)).unwrap_or(1),
            seen: Observation::default(),
        }
    }

    /// The worker of a packet: that of its flow, or else any, in turn.
    pub fn worker(&mut self, frame: &Frame<'_>, facts: &Facts) -> usize {
        let worker = match self.seen.read(frame, facts, &self.secret, false) {
            Ok(()) => {
                let hash = u128::from(self.seen.hash);
                u64::try_from((hash * u128::from(self.workers)) >> 64).unwrap_or(0)
            }
            Err(_) => frame.number % self.workers,
        };
        usize::try_from(worker).unwrap_or(0)
    }
}
