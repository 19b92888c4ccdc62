//! What a worker does while nothing arrives: look again at once, then pause, then sleep.
//!
//! ```text
//! frames -> poll for a while -> pause: leave the core to others, if any wait -> sleep a little
//!   ^------------------------------ frames -------------------------------------------'
//! ```
//!
//! While frames come, this costs one addition a round. A round that finds nothing takes 20 ns on
//! one driver and a microsecond on another, so rounds alone do not measure time; and reading the
//! clock in each would double the cost of the fast ones. So rounds are counted, and the clock is
//! read once every 64 of them. What is beyond the first step is long enough to
//! read the clock every time.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Empty rounds for one look at the clock: a step lasts at most so much longer than it should, some
/// microseconds.
const ROUNDS_PER_LOOK: u32 = 64;

/// Hints to the processor in one pause: together about a microsecond on a processor of 2018, which
/// leaves the core's other thread alone for that long.
const HINTS: u32 = 16;

/// How long each step lasts: `[idle]` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Microseconds without a frame before the worker pauses between looks.
    pub poll_us: u64,
    /// Microseconds of pauses before it sleeps between looks.
    pub pause_us: u64,
    /// Microseconds of one sleep; 0 for never.
    pub sleep_us: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            poll_us: 50,
            pause_us: 1_000,
            sleep_us: 50,
        }
    }
}

/// What the loop did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Rounds with frames.
    pub busy: u64,
    /// Rounds without, after which the queues were asked again at once.
    pub polled: u64,
    /// Rounds without, followed by a pause.
    pub paused: u64,
    /// Rounds without, followed by a sleep.
    pub slept: u64,
    /// Nanoseconds without frames. Gaps shorter than 64 rounds are not seen and count as work.
    pub idle_ns: u64,
    /// Nanoseconds since the loop began.
    pub total_ns: u64,
}

impl Counters {
    /// Share of the rounds that found frames, 0 to 1. Full bursts and single frames count alike.
    pub fn busy_rounds(&self) -> f64 {
        let rounds = self.busy + self.polled + self.paused + self.slept;
        share(self.busy, rounds)
    }

    /// Share of the time that was spent on frames, 0 to 1: what a CPU meter would show if the
    /// worker did not poll.
    pub fn busy_time(&self) -> f64 {
        share(self.total_ns.saturating_sub(self.idle_ns), self.total_ns)
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a share of a count over 2^53 is right to 15 digits"
)]
fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
}

/// A clock, and the ways to spend time: the real ones, or a test's.
pub trait Machine {
    /// Nanoseconds since some moment; never goes back.
    fn now(&mut self) -> u64;
    /// Leave the core to whoever else wants it, for about a microsecond.
    fn pause(&mut self);
    /// Give the core up for about so long.
    fn sleep(&mut self, time: Duration);
}

/// The machine that the program runs on.
#[derive(Debug)]
pub struct Real(Instant);

impl Default for Real {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Machine for Real {
    fn now(&mut self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn pause(&mut self) {
        for _ in 0..HINTS {
            std::hint::spin_loop();
        }
        std::thread::yield_now();
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// See the module. One per worker, used by its thread alone.
#[derive(Debug)]
pub struct Idle<M = Real> {
    machine: M,
    poll_ns: u64,
    /// Polls and pauses together.
    awake_ns: u64,
    sleep: Option<Duration>,
    step: Step,
    /// Empty rounds since the last look at the clock.
    rounds: u32,
    /// When the clock was first looked at in this gap; none before that.
    since: Option<u64>,
    start: u64,
    counters: Counters,
}

/// What follows a round without frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Poll,
    Pause,
    Sleep,
}

impl Idle {
    /// Begin now.
    pub fn new(settings: &Settings) -> Self {
        Self::on(Real::default(), settings)
    }
}

impl<M: Machine> Idle<M> {
    /// Begin now, on this machine.
    pub fn on(mut machine: M, settings: &Settings) -> Self {
        let nanos = |micros: u64| micros.saturating_mul(1_000);
        let start = machine.now();
        Self {
            machine,
            poll_ns: nanos(settings.poll_us),
            awake_ns: nanos(settings.poll_us.saturating_add(settings.pause_us)),
            sleep: Some(Duration::from_micros(settings.sleep_us)).filter(|time| !time.is_zero()),
            step: Step::Poll,
            rounds: 0,
            since: None,
            start,
            counters: Counters::default(),
        }
    }

    /// The end of a round of the loop; `found` says whether it had frames. Returns when it is time
    /// to look again, with whether it has slept: then time has passed for whatever else there is.
    #[inline]
    pub fn rest(&mut self, found: bool) -> bool {
        if !found {
            return self.empty();
        }
        self.counters.busy += 1;
        if self.rounds != 0 || self.since.is_some() {
            self.wake();
        }
        false
    }

    /// What was counted until now.
    pub fn counters(&mut self) -> Counters {
        let now = self.machine.now();
        let gap = self.since.map_or(0, |since| now.saturating_sub(since));
        Counters {
            idle_ns: self.counters.idle_ns + gap,
            total_ns: now.saturating_sub(self.start),
            ..self.counters
        }
    }

    /// Frames came after a gap.
    fn wake(&mut self) {
        self.rounds = 0;
        self.step = Step::Poll;
        if let Some(since) = self.since.take() {
            self.counters.idle_ns += self.machine.now().saturating_sub(since);
        }
    }

    fn empty(&mut self) -> bool {
        let sleeps = self.step == Step::Sleep;
        match self.step {
            Step::Poll => {
                self.counters.polled += 1;
                self.rounds += 1;
                if self.rounds == ROUNDS_PER_LOOK {
                    self.rounds = 0;
                    self.look();
                }
            }
            Step::Pause => {
                self.counters.paused += 1;
                self.machine.pause();
                self.look();
            }
            Step::Sleep => {
                self.counters.slept += 1;
                if let Some(time) = self.sleep {
                    self.machine.sleep(time);
                }
            }
        }
        sleeps
    }

    /// Is it time for the next step?
    #[cold]
    fn look(&mut self) {
        let now = self.machine.now();
        let gap = now.saturating_sub(*self.since.get_or_insert(now));
        self.step = if gap < self.poll_ns {
            Step::Poll
        } else if gap < self.awake_ns || self.sleep.is_none() {
            Step::Pause
        } else {
            Step::Sleep
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine where a look at the queues takes no time but that of `between`.
    #[derive(Debug, Default)]
    struct Made {
        now: u64,
        looks: u32,
        slept: Vec<Duration>,
    }

    impl Machine for Made {
        fn now(&mut self) -> u64 {
            self.looks += 1;
            self.now
        }

        fn pause(&mut self) {
            self.now += 1_000;
        }

        fn sleep(&mut self, time: Duration) {
            self.now += u64::try_from(time.as_nanos()).unwrap();
            self.slept.push(time);
        }
    }

    fn idle(poll_us: u64, pause_us: u64, sleep_us: u64) -> Idle<Made> {
        let settings = Settings {
            poll_us,
            pause_us,
            sleep_us,
        };
        Idle::on(Made::default(), &settings)
    }

    /// So many rounds without frames that take 100 ns each.
    fn empty(idle: &mut Idle<Made>, rounds: u32) {
        for _ in 0..rounds {
            idle.machine.now += 100;
            idle.rest(false);
        }
    }

    #[test]
    fn polls_then_pauses_then_sleeps() {
        let mut idle = idle(50, 1_000, 70);
        // Until the clock is looked at first, 64 rounds; then 50 us are 500 rounds, seen after 512.
        empty(&mut idle, 64 + 512);
        assert_eq!(idle.counters().polled, 576);
        assert_eq!(idle.step, Step::Pause);
        // A pause takes 1.1 us here: 950 us are left of them.
        empty(&mut idle, 2_000);
        let counters = idle.counters();
        let pauses = (1_050_000 - 51_200_u64).div_ceil(1_100);
        assert_eq!((counters.polled, counters.paused), (576, pauses));
        assert_eq!(counters.slept, 2_000 - pauses);
        assert_eq!(idle.machine.slept.len() as u64, counters.slept);
        assert!(idle.machine.slept.iter().all(|time| time.as_micros() == 70));
    }

    #[test]
    fn frames_begin_it_anew() {
        let mut idle = idle(10, 20, 30);
        empty(&mut idle, 1_000);
        assert_eq!(idle.step, Step::Sleep);
        idle.rest(true);
        assert_eq!((idle.step, idle.since), (Step::Poll, None));
        let before = idle.machine.slept.len();
        empty(&mut idle, 63);
        idle.rest(true);
        empty(&mut idle, 63);
        assert_eq!(idle.since, None, "short gaps do not add up");
        assert_eq!(idle.machine.slept.len(), before);
        assert_eq!(idle.counters().busy, 2);
    }

    #[test]
    fn a_busy_loop_never_looks_at_the_clock() {
        let mut idle = idle(50, 1_000, 50);
        for round in 0..10_000 {
            idle.rest(round % 64 != 0);
        }
        assert_eq!(idle.machine.looks, 1, "at the start");
        empty(&mut idle, 512);
        assert_eq!(idle.machine.looks, 1 + 512 / 64);
    }

    #[test]
    fn no_time_to_sleep_is_never_sleeping() {
        let mut idle = idle(50, 100, 0);
        empty(&mut idle, 100_000);
        assert_eq!(idle.counters().slept, 0);
        assert!(idle.counters().paused > 90_000);
    }

    #[test]
    fn steps_of_no_length_are_left_out() {
        let mut idle = idle(0, 0, 5);
        empty(&mut idle, 65);
        assert_eq!((idle.counters().polled, idle.counters().slept), (64, 1));
        assert_eq!(idle.counters().paused, 0);
        let mut idle = self::idle(u64::MAX, u64::MAX, 5);
        empty(&mut idle, 10_000);
        assert_eq!(idle.counters().polled, 10_000);
    }

    #[test]
    fn shares() {
        assert_eq!(Counters::default().busy_rounds(), 0.0);
        assert_eq!(Counters::default().busy_time(), 0.0);
        let mut idle = idle(1_000, 0, 0);
        for _ in 0..300 {
            idle.machine.now += 100;
            idle.rest(true);
        }
        // 6.4 us before the first look count as work, 3.6 us do not.
        empty(&mut idle, 100);
        let counters = idle.counters();
        assert_eq!(counters.busy_rounds(), 0.75);
        assert_eq!((counters.idle_ns, counters.total_ns), (3_600, 40_000));
        assert_eq!(counters.busy_time(), 0.91);
        idle.rest(true);
        assert_eq!(idle.counters().idle_ns, 3_600, "kept when frames come");
    }

    #[test]
    fn the_real_machine_rests() {
        let settings = Settings {
            poll_us: 0,
            pause_us: 0,
            sleep_us: 1,
        };
        let mut idle = Idle::new(&settings);
        for _ in 0..70 {
            idle.rest(false);
        }
        let counters = idle.counters();
        assert_eq!((counters.polled, counters.slept), (64, 6));
        assert!(counters.idle_ns > 0 && counters.idle_ns <= counters.total_ns);
    }
}
