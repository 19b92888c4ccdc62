//! Which worker a packet goes to: by a hash of its flow, so that both directions meet.
//!
//! This is what receive side scaling does in a port, but of the innermost packet: what is in
//! tunnels and in fragments is spread as well. VLANs do not count, as rules see a five-tuple alone.

use super::key::Secret;
use super::observation::Observation;
use crate::dissect::Protocol;
use crate::packet::{Facts, Frame, Layer};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

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

    /// The worker of a packet: that of its flow, or else of its two addresses, or else any, in
    /// turn.
    pub fn worker(&mut self, frame: &Frame<'_>, facts: &Facts) -> usize {
        let in_turn = frame.number % self.workers;
        let home = self.home(frame, facts);
        home.unwrap_or_else(|| usize::try_from(in_turn).unwrap_or(0))
    }

    /// The worker of a packet's flow, or of its two addresses; none when it has none.
    pub fn home(&mut self, frame: &Frame<'_>, facts: &Facts) -> Option<usize> {
        let hash = hash_of(&mut self.seen, frame, facts, &self.secret)?;
        let place = u128::from(hash) * u128::from(self.workers);
        usize::try_from(place >> 64).ok()
    }
}

/// Hash of the innermost five-tuple; of the addresses alone where that is not known, as in a
/// fragment that was not put together.
fn hash_of(
    seen: &mut Observation,
    frame: &Frame<'_>,
    facts: &Facts,
    secret: &Secret,
) -> Option<u64> {
    match seen.read(frame, facts, secret, false) {
        Ok(()) => Some(seen.hash),
        Err(_) => seen.read_pair(frame, facts, secret),
    }
}

/// What tells the flow of a packet from others with the same outermost addresses and first ports:
/// 0, unless it is in a tunnel or a fragment that was not put together.
///
/// A rule reads these, and packets are spread by the innermost five-tuple. So rules that are kept
/// where a flow is, since their events share a five-tuple, share this too.
pub fn tunnelled(frame: &Frame<'_>, facts: &Facts) -> u64 {
    let is_ip = |layer: &&Layer| matches!(layer.protocol, Protocol::Ipv4 | Protocol::Ipv6);
    let is_plain = facts.layers().iter().filter(is_ip).count() <= 1;
    if is_plain && !facts.has(Facts::FRAGMENT) {
        return 0;
    }
    // Equal or not is all that matters of it, so that it may be another one in each run.
    static SECRET: LazyLock<Secret> = LazyLock::new(|| {
        let half = || u128::from(RandomState::new().hash_one(0));
        Secret::new(half() << 64 | half())
    });
    let hash = hash_of(&mut Observation::default(), frame, facts, &SECRET);
    hash.map_or(1, |hash| hash | 1)
}
