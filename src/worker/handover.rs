//! Packets go to the worker of their flow, where the port could not know it.
//!
//! A port spreads packets over queues by a hash of what it sees from outside. What is in a tunnel,
//! and what a worker has put together from fragments, can belong to a flow of another worker. Such
//! packets are copied into parcels, which go through a ring from each worker to each other:
//!
//! ```text
//! burst -> headers -> Handover -> fragments -> Handover --the others--> track ...
//!                        |                        |
//!                        +------------------------+--parcels--> Arrivals of another worker
//! ```
//!
//! What arrives goes through all stages of that worker. Fragments in a tunnel go first, to the
//! worker of their two addresses: outer headers can differ, so that each may come on another queue.
//! That worker puts them together, and hands the datagram over once more, to the worker of its
//! flow. What arrives otherwise is where it belongs. A fragment in a tunnel that came in fragments
//! is put together by who received these, and goes from there.
//!
//! No worker waits for another: what finds a ring full is dropped and counted. In the end, workers
//! first hand over what they have received ([`Handover::leave`]), then what they put together from
//! what others handed over, until these have done the first ([`Arrivals::is_ending`]), and take the
//! rest until all have done so ([`Arrivals::is_over`]).

use crate::capture::Burst;
use crate::capture::parcel::{self, Parcel, Parcels, Sender};
use crate::capture::rss::{Spread, Tuple};
use crate::flow::steering::Steering;
use crate::metrics;
use crate::packet::{DropReason, Facts, Frame};
use crate::ring::{Fill, Position};
use std::sync::Arc;

/// Parcels that the rings of one worker have in all: with few workers, each ring takes what comes
/// while the other end is away for some milliseconds.
const PARCELS_OF_WORKER: usize = 64;

/// Parcels in one ring, however many workers there are.
const PARCELS_MIN: usize = 4;

/// Packets handed over to the workers of their flows, by what hid the flow from the port. All only
/// grow. A datagram in a tunnel whose fragments were handed over, and then the whole, counts for
/// each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// They were in a tunnel: another IP header comes before that of the flow.
    pub tunnel: u64,
    /// They came in fragments, and not in a tunnel.
    pub fragments: u64,
}

impl Counters {
    /// Names and values, for metrics.
    pub const fn named(&self) -> [(&'static str, u64); 2] {
        [("tunnel", self.tunnel), ("fragments", self.fragments)]
    }
}

/// What hid the flow of a packet from the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Tunnel,
    Fragments,
    /// It is a fragment itself, and in a tunnel: nobody knows its flow yet.
    TunnelFragment,
}

impl Hidden {
    /// None when the port saw the flow, or this worker is where the packet belongs.
    #[inline]
    fn of(facts: &Facts, stage: Stage) -> Option<Self> {
        let is_fragment = facts.has(Facts::FRAGMENT);
        let is_datagram = facts.has(Facts::REASSEMBLED);
        let to_join = match stage {
            Stage::Fragments => is_fragment,
            // A fragment was cut in its turn.
            Stage::Whole => is_fragment && is_datagram,
            Stage::Arrived => false,
        };
        if to_join {
            return facts.is_in_tunnel().then_some(Self::TunnelFragment);
        }
        // All but what was put together here has been handed over to the worker where it belongs.
        let is_settled = stage == Stage::Arrived && facts.datagram == 0;
        if is_fragment || is_settled || stage == Stage::Fragments {
            None
        } else if facts.is_in_tunnel() {
            Some(Self::Tunnel)
        } else {
            is_datagram.then_some(Self::Fragments)
        }
    }
}

/// Where on the path of packets some are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Of those received, before fragments are put together.
    Fragments,
    /// Of those received, behind that.
    Whole,
    /// Of those from other workers, behind that.
    Arrived,
}

/// Ends of the rings between so many workers, for each of them in turn. Ports spread packets as
/// `spreads` say, in the order of their indices; all workers have the same seed.
pub fn between(workers: usize, spreads: &[Arc<Spread>], seed: u128) -> Vec<(Handover, Arrivals)> {
    let parcels_max = PARCELS_OF_WORKER / workers.saturating_sub(1).max(1);
    let parcels_max = parcels_max.max(PARCELS_MIN);
    let mut all: Vec<(Handover, Arrivals)> = (0..workers)
        .map(|number| {
            let handover = Handover {
                number,
                lanes: Vec::with_capacity(workers),
                spreads: spreads.to_vec(),
                steering: Steering::new(workers, seed),
            };
            (handover, Arrivals::default())
        })
        .collect();
    for from in 0..workers {
        for to in 0..workers {
            let lane = (from != to).then(|| parcel::ring(parcels_max));
            let (sender, parcels) = lane.unzip();
            if let Some((handover, _)) = all.get_mut(from) {
                handover.lanes.push(sender);
            }
            if let (Some((_, arrivals)), Some(parcels)) = (all.get_mut(to), parcels) {
                arrivals.rings.push(parcels);
            }
        }
    }
    all
}

/// A worker's ends of the rings to the others.
#[derive(Debug)]
pub struct Handover {
    /// Of this worker.
    number: usize,
    /// By worker; none to this one itself.
    lanes: Vec<Option<Sender>>,
    /// By port.
    spreads: Vec<Arc<Spread>>,
    steering: Steering,
}

impl Handover {
    /// Take the packets of other workers out of a burst; the facts of those that stay.
    pub fn take_out<'f>(
        &mut self,
        frames: &mut Burst<'_>,
        facts: &'f mut [Facts],
        stage: Stage,
        counters: &mut metrics::Counters,
    ) -> &'f mut [Facts] {
        if !facts.iter().any(|facts| Hidden::of(facts, stage).is_some()) {
            return facts;
        }
        let mut kept = 0;
        for index in 0..frames.len() {
            let (Some(frame), Some(known)) = (frames.get(index), facts.get(index)) else {
                break;
            };
            let hidden = Hidden::of(known, stage);
            let is_gone = hidden.is_some_and(|how| self.hand_over(frame, known, how, counters));
            if !is_gone {
                facts.swap(kept, index);
                frames.swap(kept, index);
                kept += 1;
            }
        }
        frames.truncate(kept);
        facts.get_mut(..kept).unwrap_or_default()
    }

    /// Do the fragments of a datagram in a tunnel meet on this worker?
    pub fn meet_here(&mut self, frame: &Frame<'_>, facts: &Facts) -> bool {
        let home = self.home(frame, facts, Hidden::TunnelFragment);
        home.is_none_or(|home| home == self.number)
    }

    /// Hand a packet over if it belongs to another worker. False when it stays here.
    fn hand_over(
        &mut self,
        frame: &Frame<'_>,
        facts: &Facts,
        hidden: Hidden,
        counters: &mut metrics::Counters,
    ) -> bool {
        let home = self.home(frame, facts, hidden);
        let home = home.filter(|home| *home != self.number);
        let lane = home.and_then(|home| self.lanes.get_mut(home));
        let Some(lane) = lane.and_then(Option::as_mut) else {
            return false;
        };
        let has_room = lane.has_room(frame.data.len());
        if !has_room && lane.hand_over(Position::default()).is_err() {
            counters.dropped(DropReason::HandoverFull);
            return true;
        }
        let whole = facts.has(Facts::REASSEMBLED);
        lane.push(&Frame {
            whole: whole.then_some(facts.whole_offset),
            number: facts.number,
            ..*frame
        });
        match hidden {
            Hidden::Tunnel | Hidden::TunnelFragment => counters.handed_over.tunnel += 1,
            Hidden::Fragments => counters.handed_over.fragments += 1,
        }
        true
    }

    /// The worker of a packet's flow: that to which the port would give the innermost packet if it
    /// came bare. Where the port does not tell, packets of tunnels are spread by their flows; other
    /// datagrams are where the port has put their fragments, as kernels that spread packets put
    /// them together before. Fragments of tunnels meet where their two addresses alone tell.
    fn home(&mut self, frame: &Frame<'_>, facts: &Facts, hidden: Hidden) -> Option<usize> {
        let tuple = match hidden {
            Hidden::TunnelFragment => Tuple::of_innermost_addresses(frame, facts)?,
            Hidden::Tunnel | Hidden::Fragments => Tuple::of_innermost(frame, facts)?,
        };
        let spread = self.spreads.get(usize::from(frame.port));
        let home = spread.and_then(|spread| spread.home_of(&tuple));
        match hidden {
            Hidden::Fragments => home,
            _ => home.or_else(|| self.steering.home(frame, facts)),
        }
    }

    /// How full the rings to the other workers are, by worker; none to this one itself.
    pub fn fills(&self) -> Vec<Option<Arc<dyn Fill>>> {
        let lanes = self.lanes.iter();
        lanes.map(|lane| lane.as_ref().map(Sender::fill)).collect()
    }

    /// Hand over what waits for more to go with, as far as there is room.
    pub fn flush(&mut self) {
        for lane in self.lanes.iter_mut().flatten() {
            if !lane.is_empty() {
                let _ = lane.hand_over(Position::default());
            }
        }
    }

    /// Hand over everything, as nothing more is received, and let the others know. What this worker
    /// puts together from what they hand over may follow. False while there is no room.
    pub fn leave(&mut self, counters: &mut metrics::Counters) -> bool {
        let is_done = self.finish(counters);
        if is_done {
            self.lanes.iter().flatten().for_each(Sender::end_own);
        }
        is_done
    }

    /// Hand over everything, before nothing more comes. False while there is no room. What is for a
    /// worker that takes nothing any more is dropped.
    pub fn finish(&mut self, counters: &mut metrics::Counters) -> bool {
        for lane in self.lanes.iter_mut().flatten() {
            if lane.is_closed() {
                let lost = lane.discard();
                (0..lost).for_each(|_| counters.dropped(DropReason::HandoverFull));
            }
        }
        self.flush();
        self.lanes.iter().flatten().all(Sender::is_empty)
    }
}

/// A worker's ends of the rings from the others.
#[derive(Debug, Default)]
pub struct Arrivals {
    rings: Vec<Parcels>,
    /// The ring to ask next.
    next: usize,
}

impl Arrivals {
    /// Give the next parcel to `take`, from each worker in turn; false when there is none now.
    pub fn next(&mut self, take: impl FnOnce(&Parcel)) -> bool {
        for _ in 0..self.rings.len() {
            let at = self.next;
            self.next = if at + 1 < self.rings.len() { at + 1 } else { 0 };
            let Some(ring) = self.rings.get(at) else {
                return false;
            };
            if let Some(parcel) = ring.next() {
                take(&parcel);
                ring.give_back(parcel);
                return true;
            }
        }
        false
    }

    /// Have all others handed over all that they received, if there is no parcel? To be asked
    /// before the parcel is asked for.
    pub fn is_ending(&self) -> bool {
        self.rings.iter().all(Parcels::is_ending)
    }

    /// Have all others handed over everything, if there is no parcel? To be asked before the parcel
    /// is asked for.
    pub fn is_over(&self) -> bool {
        self.rings.iter().all(Parcels::is_ended)
    }
}

#[cfg(test)]
mod tests;
