//! Times as people and programs read them.

use crate::packet::Timestamp;
use std::io::{self, Write};

const DAYS_OF_400_YEARS: u64 = 146_097;
const DAYS_OF_100_YEARS: u64 = 36_524;
const DAYS_OF_4_YEARS: u64 = 1_461;

/// Days from 0000-03-01 to 1970-01-01. Counted from March, a leap day is the last of its year.
const EPOCH: u64 = 719_468;

/// Write `time` as ISO 8601 in UTC with microseconds: `2026-11-21T04:58:45.000001Z`.
///
/// # Errors
/// Those of `out`.
pub fn write_iso8601(out: &mut impl Write, time: Timestamp) -> io::Result<()> {
    let micros = time.micros();
    let seconds = micros / 1_000_000;
    let (year, month, day) = civil_date(seconds / 86_400);
    write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000,
    )
}

/// Year, month and day of the proleptic Gregorian calendar, so many days after 1970-01-01.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (cycles, days) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    // The last day of a cycle, or of four years, belongs to the year that it ends.
    let centuries = (days / DAYS_OF_100_YEARS).min(3);
    let days = days - centuries * DAYS_OF_100_YEARS;
    let (fours, days) = (days / DAYS_OF_4_YEARS, days % DAYS_OF_4_YEARS);
    let years = (days / 365).min(3);
    let day_of_year = days - years * 365;
    // From March on, five months have 153 days: 31, 30, 31, 30, 31.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = cycles * 400 + centuries * 100 + fours * 4 + years;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64, micros: u64) -> String {
        let mut out = Vec::new();
        let time = Timestamp::from_micros(seconds * 1_000_000 + micros);
        write_iso8601(&mut out, time).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_times() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(951_782_399, 999_999), "2000-02-28T23:59:59.999999Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(text(951_868_800, 0), "2000-03-01T00:00:00.000000Z");
        assert_eq!(text(1_709_164_800, 0), "2024-02-29T00:00:00.000000Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
        assert_eq!(text(1_795_237_125, 1), "2026-11-21T04:58:45.000001Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = civil_date(0);
        for days in 1..200_000 {
            let next = civil_date(days);
            let (year, month, day) = last;
            let follows = next == (year, month, day + 1)
                || next == (year, month + 1, 1) && day >= 28
                || next == (year + 1, 1, 1) && (month, day) == (12, 31);
            assert!(follows, "{last:?} {next:?}");
            last = next;
        }
    }
}
