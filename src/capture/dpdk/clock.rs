//! Time of live frames: the time stamp counter, disciplined to the system clock.
//!
//! A burst is stamped by one reading of the counter; its frames, which came one after the other,
//! are apart by the least step that rules can tell. About once a second the counter is compared
//! with the system clock; the difference is published and taken away over the next interval by
//! running a little faster or slower, so that time does not jump and never goes back.

use crate::packet::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the counter's frequency is measured at start. With readings good to 100 ns this gives
/// some parts in a million; the comparisons that follow do better.
const CALIBRATION: Duration = Duration::from_millis(20);

/// Nanoseconds between comparisons with the system clock.
const INTERVAL_NANOS: u64 = 1_000_000_000;

/// An error beyond this means that somebody set the clock: follow at once, even backwards, since
/// running after it would stamp frames wrongly for hours.
const STEP_NANOS: u64 = 1_000_000_000;

/// Fastest correction, as a divisor of the elapsed time: 1/2000 is the 500 parts in a million that
/// NTP allows itself.
const SLEW_DIVISOR: i128 = 2_000;

/// Nanoseconds between frames of a burst: the resolution that rules work in. A rule that asks for
/// one frame after another does not find it in frames with equal times, so that an answer which
/// waited in the queue together with its question would count as missing.
const APART_NANOS: u64 = 1_000;

/// How far such steps may run ahead of the counter, in nanoseconds. At more than a million frames a
/// second they become shorter, down to what the frames really took.
const LEAD_NANOS_MAX: u64 = 100_000;

/// Readings of which the one with the shortest bracket counts: a reading may be interrupted.
const READINGS: usize = 5;

/// Binary digits of the fraction in [`Clock::rate`].
const FRACTION: u32 = 32;

/// A counter that tells the time of day.
#[derive(Debug)]
pub struct Clock {
    /// A moment by the counter, and the time that was told for it.
    base: Pair,
    /// A moment by the counter, and the system's time for it.
    reference: Pair,
    /// Nanoseconds per tick that the counter really has, in units of 2^-32.
    frequency: u64,
    /// The same with the correction of the current interval.
    rate: u64,
    /// Counter value of the next comparison.
    due: u64,
    /// Latest time told.
    last: u64,
    error: Arc<AtomicI64>,
}

/// Times of the frames of one burst.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    first: u64,
    step: u64,
}

impl Stamps {
    /// Of the frame at this place, from 0.
    #[inline]
    pub fn at(self, place: usize) -> Timestamp {
        let place = u64::try_from(place).unwrap_or(0);
        Timestamp::from_nanos(self.first.saturating_add(self.step.saturating_mul(place)))
    }
}

/// The counter and the time of day at one moment.
#[derive(Debug, Clone, Copy)]
struct Pair {
    ticks: u64,
    nanos: u64,
}

impl Clock {
    /// Measure the counter against the system clock; takes 20 ms.
    pub fn calibrate() -> Self {
        let first = now();
        std::thread::sleep(CALIBRATION);
        let second = now();
        Self::from_pairs(first, second)
    }

    fn from_pairs(first: Pair, second: Pair) -> Self {
        // Without a sane measurement, count ticks as nanoseconds and let the comparisons step.
        let frequency = frequency(first, second).unwrap_or(1 << FRACTION);
        let mut clock = Self {
            base: second,
            reference: second,
            frequency,
            rate: frequency,
            due: 0,
            last: second.nanos,
            error: Arc::new(AtomicI64::new(0)),
        };
        clock.due = second.ticks.saturating_add(clock.ticks_in(INTERVAL_NANOS));
        clock
    }

    /// The time of a counter value. Never earlier than a time told before.
    #[inline]
    pub fn stamp(&mut self, ticks: u64) -> Timestamp {
        self.last = self.last.max(self.at(ticks));
        Timestamp::from_nanos(self.last)
    }

    /// Times of so many frames that a queue gave at a counter value: in their order, each later
    /// than any time told before, the last one that of the counter if there is room.
    #[inline]
    pub fn stamp_burst(&mut self, ticks: u64, frames: usize) -> Stamps {
        let now = self.at(ticks);
        let frames = u64::try_from(frames).unwrap_or(1).max(1);
        let room = now.saturating_add(LEAD_NANOS_MAX).saturating_sub(self.last);
        let step = APART_NANOS.min(room / frames);
        let length = step * (frames - 1);
        let first = now.saturating_sub(length).max(self.last + step);
        self.last = first + length;
        Stamps { first, step }
    }

    /// Is a comparison with the system clock due?
    #[inline]
    pub const fn is_due(&self, ticks: u64) -> bool {
        ticks >= self.due
    }

    /// Compare with the system clock, and run so that the difference is gone by the next time.
    pub fn discipline(&mut self) {
        self.adjust(now());
    }

    /// Difference to the system clock in nanoseconds as last measured, positive when ahead; any
    /// thread may read it.
    pub fn error(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.error)
    }

    /// Ticks that take so many nanoseconds.
    pub fn ticks_in(&self, nanos: u64) -> u64 {
        let ticks = (u128::from(nanos) << FRACTION) / u128::from(self.frequency.max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Nanoseconds that so many ticks take.
    #[inline]
    pub fn nanos_in(&self, ticks: u64) -> u64 {
        let nanos = (u128::from(ticks) * u128::from(self.frequency)) >> FRACTION;
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    #[inline]
    fn at(&self, ticks: u64) -> u64 {
        let elapsed = ticks.saturating_sub(self.base.ticks);
        let nanos = (u128::from(elapsed) * u128::from(self.rate)) >> FRACTION;
        self.base
            .nanos
            .saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn adjust(&mut self, actual: Pair) {
        let told = self.at(actual.ticks);
        let error = i128::from(told) - i128::from(actual.nanos);
        self.error
            .store(i64::try_from(error).unwrap_or(i64::MAX), Ordering::Relaxed);
        let stepped = error.unsigned_abs() > u128::from(STEP_NANOS);

        // A clock that was stepped or slewed hard since says nothing about the counter.
        if let Some(measured) = frequency(self.reference, actual)
            && u128::from(measured.abs_diff(self.frequency)) * SLEW_DIVISOR.unsigned_abs()
                <= u128::from(self.frequency)
        {
            self.frequency = measured;
        }
        self.reference = actual;

        let correction = if stepped {
            self.base = actual;
            self.last = actual.nanos;
            0
        } else {
            self.base = Pair {
                ticks: actual.ticks,
                nanos: told,
            };
            let limit = i128::from(INTERVAL_NANOS) / SLEW_DIVISOR;
            -error.clamp(-limit, limit)
        };
        let interval = i128::from(INTERVAL_NANOS);
        let rate = i128::from(self.frequency) * (interval + correction) / interval;
        self.rate = u64::try_from(rate).unwrap_or(self.frequency);
        self.due = actual
            .ticks
            .saturating_add(self.ticks_in(INTERVAL_NANOS).max(1));
    }
}

/// Nanoseconds per tick between two moments; none when they are out of order or say nonsense.
fn frequency(from: Pair, to: Pair) -> Option<u64> {
    let ticks = to
        .ticks
        .checked_sub(from.ticks)
        .filter(|&ticks| ticks > 0)?;
    let nanos = to
        .nanos
        .checked_sub(from.nanos)
        .filter(|&nanos| nanos > 0)?;
    u64::try_from((u128::from(nanos) << FRACTION) / u128::from(ticks))
        .ok()
        .filter(|&frequency| frequency > 0)
}

/// The counter and the system clock now: of some readings, the one that took least time.
fn now() -> Pair {
    let mut best = (u64::MAX, Pair { ticks: 0, nanos: 0 });
    for _ in 0..READINGS {
        let before = dpdk_sys::tsc();
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let took = dpdk_sys::tsc().saturating_sub(before);
        if took < best.0 {
            let nanos = time.map_or(0, |time| time.as_nanos());
            let pair = Pair {
                ticks: before + took / 2,
                nanos: u64::try_from(nanos).unwrap_or(u64::MAX),
            };
            best = (took, pair);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter of 2.5 GHz that started at the epoch of the test.
    fn pair(nanos: u64) -> Pair {
        Pair {
            ticks: nanos / 2 * 5,
            nanos: 1_000_000_000_000 + nanos,
        }
    }

    fn clock() -> Clock {
        Clock::from_pairs(pair(0), pair(20_000_000))
    }

    #[test]
    fn tells_the_time_between_comparisons() {
        let mut clock = clock();
        let told = clock.stamp(pair(520_000_000).ticks).nanos();
        assert!(told.abs_diff(pair(520_000_000).nanos) <= 1, "{told}");
    }

    #[test]
    fn ticks_and_nanoseconds_are_told_apart() {
        let clock = clock();
        assert!(clock.ticks_in(1_000_000).abs_diff(2_500_000) <= 1);
        assert!(clock.nanos_in(2_500_000).abs_diff(1_000_000) <= 1);
        assert!(clock.nanos_in(u64::MAX) > u64::MAX / 3, "nothing wraps");
    }

    #[test]
    fn takes_a_small_error_away_within_an_interval() {
        let mut clock = clock();
        let mut actual = pair(1_020_000_000);
        actual.nanos += 100_000;
        clock.adjust(actual);
        let error = clock.error().load(Ordering::Relaxed);
        assert!(error.abs_diff(-100_000) <= 2, "{error}");
        let before = clock.stamp(actual.ticks).nanos();
        let expected = pair(1_020_000_000).nanos;
        assert!(before.abs_diff(expected) <= 2, "no jump");
        let mut later = pair(2_020_000_000);
        later.nanos += 100_000;
        clock.adjust(later);
        let error = clock.error().load(Ordering::Relaxed);
        assert!(error.abs() < 200_000, "{error}");
        for second in 3..8 {
            let mut later = pair(second * 1_000_000_000 + 20_000_000);
            later.nanos += 100_000;
            clock.adjust(later);
        }
        let error = clock.error().load(Ordering::Relaxed);
        assert!(error.abs() < 1_000, "{error}");
    }

    #[test]
    fn frames_of_a_burst_are_told_apart() {
        let mut clock = clock();
        let stamps = clock.stamp_burst(pair(500_000_000).ticks, 32);
        let micros: Vec<u64> = (0..32).map(|place| stamps.at(place).micros()).collect();
        assert!(
            micros.windows(2).all(|pair| pair[0] < pair[1]),
            "{micros:?}"
        );
        let last = stamps.at(31).nanos();
        assert!(
            last.abs_diff(pair(500_000_000).nanos) <= 1,
            "the last is of now"
        );
        // The next queue, asked at once, comes after it.
        let next = clock.stamp_burst(pair(500_000_100).ticks, 1);
        assert!(next.at(0).micros() > stamps.at(31).micros());
        let much_later = clock.stamp_burst(pair(500_900_000).ticks, 1);
        assert!(much_later.at(0).nanos().abs_diff(pair(500_900_000).nanos) <= 1);
    }

    #[test]
    fn many_frames_do_not_run_away_from_the_counter() {
        let mut clock = clock();
        let mut before = Timestamp::default();
        // 20 million frames a second for 2 ms.
        for burst in 0..1_250_u64 {
            let now = pair(500_000_000 + burst * 1_600);
            let stamps = clock.stamp_burst(now.ticks, 32);
            assert!(stamps.at(0) > before, "{burst}");
            before = stamps.at(31);
            assert!(before.nanos() <= now.nanos + LEAD_NANOS_MAX, "{burst}");
        }
        let now = pair(502_000_000);
        assert!(clock.stamp(now.ticks).nanos() <= now.nanos + LEAD_NANOS_MAX);
        assert_eq!(Stamps::default().at(7), Timestamp::default());
    }

    #[test]
    fn follows_a_clock_that_was_set() {
        let mut clock = clock();
        let mut actual = pair(1_020_000_000);
        actual.nanos -= 3_600_000_000_000.min(actual.nanos / 2);
        clock.adjust(actual);
        assert_eq!(clock.stamp(actual.ticks).nanos(), actual.nanos);
    }

    #[test]
    fn never_goes_back_by_itself() {
        let mut clock = clock();
        let late = clock.stamp(pair(900_000_000).ticks);
        assert!(clock.stamp(pair(800_000_000).ticks) >= late);
    }

    #[test]
    fn the_real_counter_keeps_the_time_of_day() {
        let mut clock = Clock::calibrate();
        std::thread::sleep(Duration::from_millis(50));
        let system = u64::try_from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_nanos(),
        )
        .unwrap();
        let told = clock.stamp(dpdk_sys::tsc()).nanos();
        assert!(told.abs_diff(system) < 5_000_000, "{told} {system}");
    }
}
