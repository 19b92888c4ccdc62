//! Bounds of delays and counters, as rule files write them.

use super::xml::Value;
use crate::diagnostic::Problem;
use crate::expr::Mode;

/// Units of `delay_units`, in microseconds, longest first.
pub(super) const UNITS: [(&str, i64); 8] = [
    ("Y", 12 * 30 * DAY),
    ("M", 30 * DAY),
    ("D", DAY),
    ("h", HOUR),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("mms", 1),
];

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// Microseconds of the unit that `value` names.
pub(super) fn unit(value: &Value, mode: Mode, problems: &mut Vec<Problem>) -> i64 {
    let name = value.text.as_str();
    if let Some((_, micros)) = UNITS.iter().find(|(unit, _)| *unit == name) {
        return *micros;
    }
    // The manual of the language writes `H`; its engine takes `h` alone.
    if name == "H" && mode == Mode::Standard {
        return HOUR;
    }
    let span = value.span.start..value.span.end.max(value.span.start + 1);
    let problem = Problem::error(span, format!("unknown unit `{name}`"));
    let help = match name {
        "S" | "sec" => "seconds are `s`",
        "us" | "µs" | "MMS" => "microseconds are `mms`",
        "MS" => "milliseconds are `ms`",
        "y" => "years are `Y`",
        "d" => "days are `D`",
        "H" => "hours are `h`",
        "min" => "minutes are `m`",
        _ => "case counts: M is a month, m a minute, ms a millisecond, mms a microsecond",
    };
    let expected = match mode {
        Mode::Standard => "expected one of Y M D h H m s ms mms",
        Mode::Compat => "expected one of Y M D h m s ms mms",
    };
    problems.push(problem.expected(expected).help(help));
    1_000_000
}

/// A bound: digits, and a sign behind them that moves it by the smallest step.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    /// As written; negative with a `-` before it.
    pub(super) number: i64,
    /// 1 for `N+`, -1 for `N-`.
    pub(super) step: i64,
}

impl Bound {
    /// In steps of which `unit` makes one of the number.
    pub(super) fn scaled(self, unit: i64) -> Option<i64> {
        self.number.checked_mul(unit)?.checked_add(self.step)
    }
}

/// Read `N`, `N+`, `N-`, `+N`, or in standard mode `-N`; `None` when it is none of these.
pub(super) fn bound(value: &Value, mode: Mode, problems: &mut Vec<Problem>) -> Option<Bound> {
    let text = value.text.trim();
    let span = value.span.start..value.span.end.max(value.span.start + 1);
    let (sign, rest) = match text.split_at_checked(1) {
        Some((sign @ ("+" | "-"), rest)) => (sign, rest),
        _ => ("", text),
    };
    let (digits, step) = match (rest.strip_suffix('+'), rest.strip_suffix('-')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, -1),
        (None, None) => (rest, 0),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = digits.parse::<i64>().ok().filter(|_| is_number) else {
        let message = match is_number {
            true => format!("`{text}` is too large"),
            false => format!("`{text}` is no bound"),
        };
        let problem = Problem::error(span, message);
        problems
            .push(problem.expected("expected a whole number, with `+` or `-` behind it or not"));
        return None;
    };
    match sign {
        "-" if mode == Mode::Compat => {
            let problem = Problem::error(span, "MMT has no negative delays");
            problems.push(problem.help("use value=\"BEFORE\""));
            return None;
        }
        "+" => {
            let message = "a sign before the number changes nothing";
            let help = format!("for more than {digits}, write `{digits}+`");
            problems.push(Problem::warning(span, message).help(help));
        }
        _ => {}
    }
    let number = if sign == "-" { -number } else { number };
    Some(Bound { number, step })
}

/// Microseconds with the largest unit that needs no fraction: `5s`, `100ms`, `1mms`.
pub(super) fn show(micros: i64) -> String {
    if micros == 0 {
        return "0".to_owned();
    }
    // Months and years are of no use to a reader who has to check a bound.
    let units = UNITS.iter().skip(2);
    let fitting = units.clone().find(|(_, unit)| micros % unit == 0);
    let (name, unit) = fitting.copied().unwrap_or(("mms", 1));
    // One microsecond more or less than a whole number of units is how a strict bound is written.
    for (step, sign) in [(1, "+"), (-1, "-")] {
        let whole = micros.saturating_sub(step);
        let (strict, unit) = units
            .clone()
            .find(|(_, unit)| whole % unit == 0)
            .copied()
            .unwrap_or(("mms", 1));
        if name == "mms" && strict != "mms" && whole >= 0 {
            return match whole {
                0 => format!("0{sign}"),
                _ => format!("{}{sign} {strict}", whole / unit),
            };
        }
    }
    format!("{} {name}", micros / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        let xml = format!("<a x='{text}'/>");
        let mut problems = Vec::new();
        let mut found = super::super::xml::read(&xml, &mut problems);
        found.remove(0).attributes.remove(0).value
    }

    fn run(text: &str, mode: Mode) -> (Option<(i64, i64)>, usize) {
        let mut problems = Vec::new();
        let found = bound(&value(text), mode, &mut problems);
        (found.map(|b| (b.number, b.step)), problems.len())
    }

    #[test]
    fn bounds_have_signs_behind_them() {
        for mode in [Mode::Standard, Mode::Compat] {
            assert_eq!(run("5", mode), (Some((5, 0)), 0));
            assert_eq!(run("0+", mode), (Some((0, 1)), 0));
            assert_eq!(run("5-", mode), (Some((5, -1)), 0));
            assert_eq!(run("+0", mode), (Some((0, 0)), 1));
            for bad in [
                "",
                "x",
                "5s",
                "1.5",
                "--5",
                "5++",
                "+",
                "-",
                "99999999999999999999",
            ] {
                assert_eq!(run(bad, mode), (None, 1), "{bad}");
            }
        }
        assert_eq!(run("-5", Mode::Standard), (Some((-5, 0)), 0));
        assert_eq!(run("-5", Mode::Compat), (None, 1));
    }

    #[test]
    fn units_are_case_sensitive() {
        let run = |text, mode| {
            let mut problems = Vec::new();
            (unit(&value(text), mode, &mut problems), problems.len())
        };
        for (name, micros) in UNITS {
            assert_eq!(run(name, Mode::Compat), (micros, 0));
        }
        assert_eq!(run("H", Mode::Standard), (HOUR, 0));
        for bad in ["H", "S", "us", ""] {
            assert_eq!(run(bad, Mode::Compat), (1_000_000, 1), "{bad}");
        }
    }

    #[test]
    fn delays_are_shown_as_written() {
        for (micros, text) in [
            (0, "0"),
            (1, "0+"),
            (5_000_000, "5 s"),
            (100_000, "100 ms"),
            (7_200_000_000, "2 h"),
            (5_000_001, "5+ s"),
            (4_999_999, "5- s"),
            (100, "100 mms"),
            (-3_000_000, "-3 s"),
            (86_400_000_000 * 30, "30 D"),
        ] {
            assert_eq!(show(micros), text);
        }
    }
}
