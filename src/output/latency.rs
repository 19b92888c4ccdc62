//! How long alerts take: from the time of the packet or deadline that decides them to the moment at
//! which the output has taken the line.

use crate::packet::Timestamp;
use arrayvec::ArrayVec;
use prometheus::{Histogram, HistogramOpts};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Upper ends of the buckets in seconds: from what a ring between two threads takes, to what nobody
/// should have to wait.
const BUCKETS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Alerts whose lines may wait for the output to take them; more are measured before that.
const WAITING_MAX: usize = 256;

/// A histogram of it, in seconds: one thread fills it, others read.
///
/// # Errors
/// The library refuses a name or a bucket: a fault of this table, which a test would show.
pub fn histogram() -> Result<Histogram, prometheus::Error> {
    let opts = HistogramOpts::new(
        "wirelynx_alert_latency_seconds",
        "Time from the packet or deadline that decides an alert to the alert being written",
    );
    Histogram::with_opts(opts.buckets(BUCKETS.to_vec()))
}

/// Times of alerts that the output has not taken yet.
#[derive(Debug)]
pub(super) struct Waiting {
    stamps: ArrayVec<Timestamp, WAITING_MAX>,
    /// None where the time of packets has nothing to do with that of the clock.
    histogram: Option<Histogram>,
}

impl Waiting {
    /// To be counted in `histogram`, if there is any.
    pub(super) fn new(histogram: Option<Histogram>) -> Self {
        Self {
            stamps: ArrayVec::new(),
            histogram,
        }
    }

    /// The line of an alert of this time goes to the output.
    pub(super) fn push(&mut self, stamp: Timestamp) {
        if self.histogram.is_none() {
            return;
        }
        if self.stamps.is_full() {
            self.taken();
        }
        let _ = self.stamps.try_push(stamp);
    }

    /// The output has taken all lines. The clock is read once for all of them.
    pub(super) fn taken(&mut self) {
        if self.stamps.is_empty() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.taken_at(now.unwrap_or_default());
    }

    fn taken_at(&mut self, now: Duration) {
        for stamp in self.stamps.drain(..) {
            // A packet from the future, by a clock that was set, took no time.
            let time = now.saturating_sub(Duration::from_nanos(stamp.nanos()));
            if let Some(histogram) = &self.histogram {
                histogram.observe(time.as_secs_f64());
            }
        }
    }

    /// The output has failed: what it has taken is not known.
    pub(super) fn lost(&mut self) {
        self.stamps.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_measured_when_the_output_has_taken_them() {
        let histogram = histogram().unwrap();
        let mut waiting = Waiting::new(Some(histogram.clone()));
        waiting.push(Timestamp::from_micros(1_000_000));
        waiting.push(Timestamp::from_micros(9_000_000));
        assert_eq!(histogram.get_sample_count(), 0);
        waiting.taken_at(Duration::from_millis(1_004));
        assert_eq!(histogram.get_sample_count(), 2);
        let sum = histogram.get_sample_sum();
        assert!(
            (sum - 0.004).abs() < 1e-9,
            "the other is from the future: {sum}"
        );
        waiting.push(Timestamp::from_micros(1));
        waiting.lost();
        waiting.taken_at(Duration::from_secs(2));
        assert_eq!(histogram.get_sample_count(), 2);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let histogram = histogram().unwrap();
        let mut waiting = Waiting::new(Some(histogram.clone()));
        (0..1_000).for_each(|micros| waiting.push(Timestamp::from_micros(micros)));
        assert_eq!(histogram.get_sample_count(), 768);
    }

    #[test]
    fn without_a_histogram_nothing_waits() {
        let mut waiting = Waiting::new(None);
        waiting.push(Timestamp::from_micros(1));
        assert!(waiting.stamps.is_empty());
    }
}
