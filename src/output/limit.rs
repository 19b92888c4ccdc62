//! Alert limits, for people who are paged: of alerts with one key, the first of a period go out,
//! and the others become one summary at its end.
//!
//! It stands in front of the writer, where alerts are in order, and its time is that of packets. So
//! it gives the same whatever number of workers there is. A period begins with the first alert of a
//! key. The number of keys is bounded: when there are more, the period that ends first is cut.

mod key;
#[cfg(test)]
mod tests;

pub use key::Fields;

use crate::packet::Timestamp;
use crate::rules::RuleSet;
use crate::rules::joins::Alert;
use key::Key;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keys that are kept apart, if nothing else is said. A hundred thousand attackers at once are one
/// attack; their periods take some 30 MB.
pub const KEYS_MAX: usize = 65_536;

/// Longest period.
const PERIOD_MAX: Duration = Duration::from_secs(86_400);

/// How many alerts go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Alerts of one key in one period; at least 1.
    pub alerts: u64,
    /// The period, in packet time.
    pub period: Duration,
    /// Keys at one time.
    pub keys_max: usize,
}

impl std::str::FromStr for Limit {
    type Err = String;

    /// `10/60s`: a number, and a period of milliseconds, seconds, minutes or hours.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || {
            format!(
                "'{text}' is no limit; expected alerts/period such as 10/60s, 5/10m or 1/24h: at \
                 least one alert, and 1ms to 24h"
            )
        };
        let (alerts, period) = text.split_once('/').ok_or_else(refused)?;
        let digits = period.find(|c: char| !c.is_ascii_digit());
        let (count, unit) = period.split_at(digits.unwrap_or(period.len()));
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(refused()),
        };
        let count = count.parse::<u64>().ok();
        let milliseconds = count.and_then(|count| count.checked_mul(milliseconds));
        let period = milliseconds.map(Duration::from_millis);
        let period = period.filter(|period| !period.is_zero() && *period <= PERIOD_MAX);
        let alerts = alerts.parse().ok().filter(|alerts| *alerts > 0);
        match (alerts, period) {
            (Some(alerts), Some(period)) => Ok(Self {
                alerts,
                period,
                keys_max: KEYS_MAX,
            }),
            _ => Err(refused()),
        }
    }
}

/// What is counted; all only grow.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Alerts that did not go out, by id of their rule.
    pub suppressed: BTreeMap<u32, u64>,
    /// Summaries that did.
    pub summaries: u64,
    /// Periods that ended early for want of room.
    pub cut: u64,
}

/// What is said of the alerts of one period that did not go out.
#[derive(Debug)]
pub struct Summary {
    /// End of the period, or when it was cut.
    pub timestamp: Timestamp,
    /// How many they were.
    pub suppressed: u64,
    /// Earliest of them.
    pub first: Timestamp,
    /// Latest of them.
    pub last: Timestamp,
    /// The one that came last.
    pub alert: Alert,
    /// Rules that it is of.
    pub rules: Arc<RuleSet>,
}

/// Ends of periods in the order in which they are told: time, rule, then the order of beginnings.
type End = (u64, u32, u64);

/// A key that has had an alert.
#[derive(Debug)]
struct Period {
    start_ns: u64,
    end: End,
    passed: u64,
    /// What was held back. Made for the first alert of it, for those behind it is there.
    held: Option<Box<Held>>,
}

#[derive(Debug)]
struct Held {
    count: u64,
    first: Timestamp,
    last: Timestamp,
    alert: Alert,
    rules: Arc<RuleSet>,
}

/// See the module.
#[derive(Debug)]
pub struct Limiter {
    limit: Limit,
    period_ns: u64,
    seed: u64,
    periods: HashMap<Key, Period>,
    ends: BTreeMap<End, Key>,
    begun: u64,
    summaries: VecDeque<Summary>,
    counters: Arc<Mutex<Counters>>,
}

impl Limiter {
    /// With a secret of this run.
    pub fn new(limit: Limit, seed: u64) -> Self {
        let mut periods = HashMap::new();
        // Untouched memory costs address space only; where that is short, the room comes later.
        let _ = periods.try_reserve(limit.keys_max);
        Self {
            period_ns: u64::try_from(limit.period.as_nanos()).unwrap_or(u64::MAX),
            limit,
            seed,
            periods,
            ends: BTreeMap::new(),
            begun: 0,
            summaries: VecDeque::new(),
            counters: Arc::default(),
        }
    }

    /// What it counts, to be read by others.
    pub fn counters(&self) -> Arc<Mutex<Counters>> {
        Arc::clone(&self.counters)
    }

    /// Gives the alert back if it goes out. Summaries that are due go before it.
    pub fn admit(&mut self, rules: &Arc<RuleSet>, alert: Alert) -> Option<Alert> {
        let place = usize::try_from(alert.rule).unwrap_or(usize::MAX);
        let Some(program) = rules.programs.get(place) else {
            return Some(alert);
        };
        // The time of all packets, to which it has come by now whether it was told so or not.
        self.advance(alert.position.time);
        let key = Key::of(program, &alert, self.seed);
        let now_ns = alert.timestamp.nanos();
        let Some(period) = self.periods.get_mut(&key) else {
            self.begin(key, alert.timestamp);
            return Some(alert);
        };
        // A period from the future is what one packet with a wrong time has left behind.
        if period.start_ns > now_ns.saturating_add(self.period_ns) {
            let end = period.end;
            self.close(end, alert.timestamp);
            self.begin(key, alert.timestamp);
            return Some(alert);
        }
        if period.passed < self.limit.alerts {
            period.passed += 1;
            return Some(alert);
        }
        period.hold(rules, alert);
        self.count(|counters| *counters.suppressed.entry(key.rule()).or_default() += 1);
        None
    }

    /// Time has come to `now`: periods that have ended by then are told.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((end, _)) = self.ends.first_key_value() {
            if end.0 > now.nanos() {
                return;
            }
            self.close(*end, Timestamp::from_nanos(end.0));
        }
    }

    /// The input has ended, and so do all periods.
    pub fn finish(&mut self) {
        self.advance(Timestamp::from_nanos(u64::MAX));
    }

    /// The next summary to be written.
    pub fn next_summary(&mut self) -> Option<Summary> {
        self.summaries.pop_front()
    }

    fn begin(&mut self, key: Key, now: Timestamp) {
        if self.periods.len() >= self.limit.keys_max
            && let Some((end, _)) = self.ends.first_key_value()
        {
            self.close(*end, now);
            self.count(|counters| counters.cut += 1);
        }
        self.begun += 1;
        let start_ns = now.nanos();
        let end = (
            start_ns.saturating_add(self.period_ns),
            key.rule(),
            self.begun,
        );
        self.ends.insert(end, key);
        let period = Period {
            start_ns,
            end,
            passed: 1,
            held: None,
        };
        self.periods.insert(key, period);
    }

    fn close(&mut self, end: End, timestamp: Timestamp) {
        let period = self
            .ends
            .remove(&end)
            .and_then(|key| self.periods.remove(&key));
        if let Some(held) = period.and_then(|period| period.held) {
            self.summaries.push_back(held.summary(timestamp));
            self.count(|counters| counters.summaries += 1);
        }
    }

    fn count(&self, count: impl FnOnce(&mut Counters)) {
        // Readers copy and cannot panic.
        if let Ok(mut counters) = self.counters.lock() {
            count(&mut counters);
        }
    }
}

impl Period {
    fn hold(&mut self, rules: &Arc<RuleSet>, alert: Alert) {
        let time = alert.timestamp;
        let Some(held) = &mut self.held else {
            self.held = Some(Box::new(Held {
                count: 1,
                first: time,
                last: time,
                alert,
                rules: Arc::clone(rules),
            }));
            return;
        };
        held.count += 1;
        held.first = held.first.min(time);
        held.last = held.last.max(time);
        held.alert = alert;
        if !Arc::ptr_eq(&held.rules, rules) {
            held.rules = Arc::clone(rules);
        }
    }
}

impl Held {
    fn summary(self, timestamp: Timestamp) -> Summary {
        Summary {
            timestamp,
            suppressed: self.count,
            first: self.first,
            last: self.last,
            alert: self.alert,
            rules: self.rules,
        }
    }
}
