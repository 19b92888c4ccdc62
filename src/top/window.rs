//! Two answers, and the rates between them.

use super::text::{Sample, Scrape};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// An answer and when it came, since the start of this program.
pub type Timed = (Duration, Scrape);

/// The latest answer, and the one before.
#[derive(Debug)]
pub struct Window {
    before: Option<Timed>,
    now: Timed,
}

impl Window {
    /// With the first answer, there are no rates yet.
    pub fn new(before: Option<Timed>, now: Timed) -> Self {
        Self { before, now }
    }

    /// The window with a further answer.
    #[must_use]
    pub fn moved(self, next: Timed) -> Self {
        Self::new(Some(self.now), next)
    }

    /// The latest answer.
    pub fn latest(&self) -> &Scrape {
        &self.now.1
    }

    /// Increase per second of a counter over all labels; nothing before the second answer, or when
    /// it is not there.
    pub fn rate(&self, name: &str) -> Option<f64> {
        let samples = self.latest().samples(name);
        if samples.is_empty() {
            return None;
        }
        self.rates(name, "").map(|rates| rates.values().sum())
    }

    /// Increases per second of a counter, by the values of one label. Not a number is no increase.
    ///
    /// A counter that has become smaller started again from 0: its increase is what it is now.
    pub fn rates(&self, name: &str, label: &str) -> Option<BTreeMap<&str, f64>> {
        let (then, before) = self.before.as_ref()?;
        let seconds = self.now.0.checked_sub(*then)?.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let earlier: HashMap<&[(String, String)], f64> = before
            .samples(name)
            .iter()
            .map(|sample| (sample.labels.as_slice(), sample.value))
            .collect();
        let increase = |sample: &Sample| {
            let was = earlier.get(sample.labels.as_slice()).copied();
            let is = sample.value;
            let more = match was {
                Some(was) if was <= is => is - was,
                _ => is,
            };
            if more.is_finite() { more } else { 0.0 }
        };
        let mut rates = BTreeMap::new();
        for sample in self.latest().samples(name) {
            *rates.entry(sample.label(label)).or_insert(0.0) += increase(sample) / seconds;
        }
        Some(rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(before: &str, now: &str) -> Window {
        let at = |seconds, text| (Duration::from_secs(seconds), Scrape::parse(text).unwrap());
        Window::new(Some(at(10, before)), at(12, now))
    }

    #[test]
    fn rates_are_per_second() {
        let window = window("a{x=\"1\"} 5\na{x=\"2\"} 5", "a{x=\"1\"} 9\na{x=\"2\"} 5");
        assert_eq!(window.rate("a"), Some(2.0));
        let rates = window.rates("a", "x").unwrap();
        assert_eq!(rates, BTreeMap::from([("1", 2.0), ("2", 0.0)]));
        assert_eq!(window.rate("b"), None);
    }

    #[test]
    fn a_counter_that_starts_again_gives_no_negative_rate() {
        // One series of two starts again; summing first would hide it.
        let window = window(
            "a{x=\"1\"} 500\na{x=\"2\"} 5",
            "a{x=\"1\"} 8\na{x=\"2\"} 905",
        );
        let rates = window.rates("a", "x").unwrap();
        assert_eq!(rates, BTreeMap::from([("1", 4.0), ("2", 450.0)]));
        assert_eq!(window.rate("a"), Some(454.0));
    }

    #[test]
    fn one_answer_has_no_rates() {
        let now = (Duration::ZERO, Scrape::parse("a 1").unwrap());
        let window = Window::new(None, now);
        assert_eq!(window.rate("a"), None);
        let next = (Duration::from_secs(1), Scrape::parse("a 3").unwrap());
        let window = window.moved(next);
        assert_eq!(window.rate("a"), Some(2.0));
        let same = (Duration::from_secs(1), Scrape::parse("a NaN").unwrap());
        assert_eq!(window.moved(same).rate("a"), None, "no time has passed");
    }
}
