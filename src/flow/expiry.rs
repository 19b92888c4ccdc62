//! When flows end for want of packets: a timer wheel turned by the time of the packets.
//!
//! Every flow is in exactly one slot. A packet does not move its flow: when a slot comes up, the
//! flows in it that were heard of since go to the slot of their new deadline. Only a deadline that
//! comes
//! *nearer* (the flow closed) moves a flow at once.

/// Nanoseconds of a slot, as a power of two: 268 ms, far below the shortest useful time-out.
const TICK_SHIFT: u32 = 28;

/// Slots: a power of two that spans the longest default time-out (4,096 * 268 ms = 18 minutes). A
/// deadline further away waits in the last slot and is looked at again then.
const SLOTS: u64 = 4_096;

/// No flow, in links and slots.
const NONE: u32 = u32::MAX;

/// Bit of [`Link::previous`]: the rest is the number of a slot, whose first flow this is.
const FIRST: u32 = 1 << 31;

/// Most flows that the wheel can tell apart from [`FIRST`].
pub(super) const FLOWS_MAX: usize = (1 << 31) - 2;

#[derive(Debug, Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wheel {
    /// First flow of each slot.
    slots: Vec<u32>,
    /// Neighbours of each flow in its slot.
    links: Vec<Link>,
    /// Tick of the slot that comes up next; every flow is in a slot after it, or in it.
    cursor: u64,
    started: bool,
    /// After a long pause: the tick up to which every flow has come up, and where the cursor must
    /// be for that to be true of the cursor again.
    floor: u64,
    caught_up: u64,
}

impl Wheel {
    /// Bytes for each flow.
    pub(super) const BYTES_PER_FLOW: usize = size_of::<Link>();

    /// For `flows_max` flows.
    pub(super) fn new(flows_max: usize) -> Self {
        let unlinked = Link {
            next: NONE,
            previous: NONE,
        };
        Self {
            slots: vec![NONE; usize::try_from(SLOTS).unwrap_or(0)],
            links: vec![unlinked; flows_max],
            cursor: 0,
            started: false,
            floor: 0,
            caught_up: 0,
        }
    }

    /// Let `flow` come up when `deadline` (in nanoseconds) is over. `now` is the time of its
    /// packet.
    pub(super) fn insert(&mut self, flow: u32, deadline: u64, now: u64) {
        if !self.started {
            self.started = true;
            self.cursor = now >> TICK_SHIFT;
        }
        // One tick further: then the whole deadline has passed when the slot comes up.
        let tick = (deadline >> TICK_SHIFT).saturating_add(1).clamp(
            self.cursor.saturating_add(1),
            self.cursor.saturating_add(SLOTS - 1),
        );
        let slot = Self::slot(tick);
        let Some(head) = self.slots.get_mut(slot) else {
            return;
        };
        let next = std::mem::replace(head, flow);
        self.link(
            flow,
            Link {
                next,
                previous: FIRST | u32::try_from(slot).unwrap_or(0),
            },
        );
        if let Some(link) = self.neighbour(next) {
            link.previous = flow;
        }
    }

    /// Let `flow`, which is in the wheel, come up at another time.
    pub(super) fn move_to(&mut self, flow: u32, deadline: u64, now: u64) {
        self.remove(flow);
        self.insert(flow, deadline, now);
    }

    /// Take `flow` out.
    pub(super) fn remove(&mut self, flow: u32) {
        let Some(Link { next, previous }) = self.neighbour(flow).copied() else {
            return;
        };
        if previous == NONE {
            return;
        }
        if previous & FIRST != 0 {
            let slot = usize::try_from(previous & !FIRST).unwrap_or(0);
            if let Some(head) = self.slots.get_mut(slot) {
                *head = next;
            }
        } else if let Some(link) = self.neighbour(previous) {
            link.next = next;
        }
        if let Some(link) = self.neighbour(next) {
            link.previous = previous;
        }
        self.link(
            flow,
            Link {
                next: NONE,
                previous: NONE,
            },
        );
    }

    /// Take out the next flow whose slot has come up at `now`. `work` is what may still be done in
    /// this round, in flows and empty slots.
    pub(super) fn pop(&mut self, now: u64, work: &mut u32) -> Option<u32> {
        let now = now >> TICK_SHIFT;
        if !self.started {
            return None;
        }
        // After a long pause every slot is up, once; a day of silence costs no more than that.
        let least = now.saturating_sub(SLOTS);
        if self.cursor < least {
            if self.cursor >= self.caught_up {
                self.floor = self.cursor;
            }
            self.cursor = least;
            self.caught_up = least.saturating_add(SLOTS);
        }
        while self.cursor < now && *work > 0 {
            *work -= 1;
            let first = self.slots.get(Self::slot(self.cursor)).copied();
            match first {
                Some(flow) if flow != NONE => {
                    self.remove(flow);
                    return Some(flow);
                }
                _ => self.cursor = self.cursor.saturating_add(1),
            }
        }
        None
    }

    /// No flow is in the wheel whose deadline, in nanoseconds, is before this.
    pub(super) fn settled(&self) -> u64 {
        let tick = match self.cursor >= self.caught_up {
            true => self.cursor,
            false => self.floor,
        };
        tick.saturating_sub(1) << TICK_SHIFT
    }

    fn slot(tick: u64) -> usize {
        usize::try_from(tick & (SLOTS - 1)).unwrap_or(0)
    }

    fn neighbour(&mut self, flow: u32) -> Option<&mut Link> {
        self.links.get_mut(usize::try_from(flow).ok()?)
    }

    fn link(&mut self, flow: u32, link: Link) {
        if let Some(own) = self.neighbour(flow) {
            *own = link;
        }
    }
}

const _: () = assert!(SLOTS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn drain(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut work = 10_000;
        let mut popped: Vec<u32> = std::iter::from_fn(|| wheel.pop(now, &mut work)).collect();
        popped.sort_unstable();
        popped
    }

    #[test]
    fn flows_come_up_after_their_deadline_and_once() {
        let mut wheel = Wheel::new(8);
        let start = 1_700_000_000 * SECOND;
        wheel.insert(0, start + SECOND, start);
        wheel.insert(1, start + SECOND, start);
        wheel.insert(2, start + 60 * SECOND, start);
        wheel.insert(3, start + 86_400 * SECOND, start);
        assert_eq!(drain(&mut wheel, start + SECOND), Vec::<u32>::new());
        assert_eq!(drain(&mut wheel, start + 2 * SECOND), vec![0, 1]);
        assert_eq!(drain(&mut wheel, start + 61 * SECOND), vec![2]);
        let beyond = drain(&mut wheel, start + 3_600 * SECOND);
        assert_eq!(beyond, vec![3], "beyond the wheel: looked at again");
        assert_eq!(drain(&mut wheel, u64::MAX), Vec::<u32>::new());
    }

    #[test]
    fn a_flow_can_leave_from_any_place_in_its_slot() {
        for leaving in 0..3 {
            let mut wheel = Wheel::new(3);
            for flow in 0..3 {
                wheel.insert(flow, 5 * SECOND, 0);
            }
            wheel.remove(leaving);
            wheel.remove(leaving);
            let left: Vec<u32> = (0..3).filter(|flow| *flow != leaving).collect();
            assert_eq!(drain(&mut wheel, 9 * SECOND), left);
        }
    }

    #[test]
    fn a_nearer_deadline_moves_the_flow() {
        let mut wheel = Wheel::new(2);
        wheel.insert(0, 600 * SECOND, 0);
        wheel.insert(1, 600 * SECOND, 0);
        wheel.move_to(0, 5 * SECOND, 0);
        assert_eq!(drain(&mut wheel, 6 * SECOND), vec![0]);
        assert_eq!(drain(&mut wheel, 601 * SECOND), vec![1]);
    }

    #[test]
    fn work_is_bounded_and_carried_over() {
        let mut wheel = Wheel::new(100);
        for flow in 0..100 {
            wheel.insert(flow, 0, 0);
        }
        let mut rounds = 0;
        let mut popped = 0;
        while popped < 100 {
            let mut work = 10;
            popped += std::iter::from_fn(|| wheel.pop(SECOND, &mut work)).count();
            rounds += 1;
        }
        assert!((10..=12).contains(&rounds), "{rounds}");
    }

    #[test]
    fn a_time_before_the_cursor_is_the_next_slot() {
        let mut wheel = Wheel::new(2);
        wheel.insert(0, 100 * SECOND, 100 * SECOND);
        assert_eq!(drain(&mut wheel, 200 * SECOND), vec![0]);
        wheel.insert(1, 50 * SECOND, 40 * SECOND);
        assert_eq!(drain(&mut wheel, 201 * SECOND), vec![1]);
    }
}
