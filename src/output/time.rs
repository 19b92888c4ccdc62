//! Points in time as text.

use crate::packet::Timestamp;
use std::fmt;

/// ISO 8601 in UTC with microseconds: `2026-11-21T04:30:00.000000Z`.
#[derive(Debug, Clone, Copy)]
pub struct Iso8601(pub Timestamp);

impl fmt::Display for Iso8601 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.micros();
        let (days, rest) = (micros / 86_400_000_000, micros % 86_400_000_000);
        let (year, month, day) = civil(days);
        let seconds = rest / 1_000_000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            rest % 1_000_000
        )
    }
}

/// Year, month and day of a number of days since 1970-01-01, counted in eras of 400 years that
/// start on a first of March, so that the leap day ends a year.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days() {
        let text =
            |seconds: u64| Iso8601(Timestamp::from_micros(seconds * 1_000_000 + 7)).to_string();
        assert_eq!(text(0), "1970-01-01T00:00:00.000007Z");
        assert_eq!(text(951_782_399), "2000-02-28T23:59:59.000007Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00.000007Z");
        assert_eq!(text(4_107_542_400), "2100-03-01T00:00:00.000007Z");
        assert_eq!(text(1_735_689_599), "2024-12-31T23:59:59.000007Z");
    }
}
