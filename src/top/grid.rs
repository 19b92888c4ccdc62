//! Tables of numbers by the values of one label.

use super::window::Window;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Columns of the first column: a PCI address, a device, the id of a rule.
const NAME_WIDTH: usize = 14;

/// Columns of every other one, the blank before it included.
const WIDTH: usize = 10;

/// Characters of a bar.
const BAR: usize = 10;

/// What a line is, for those who colour it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Over a table.
    Title,
    /// Names of columns.
    Head,
    /// As usual.
    Plain,
    /// Something that should not be.
    Bad,
}

/// One line of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// What it is.
    pub tone: Tone,
}

impl Line {
    /// A line of this kind.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, tone }
    }
}

/// What a column shows.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    /// Increase of a counter per second, times a factor.
    Rate(&'static str, f64),
    /// Increase per second of something lost: bad when it is not 0.
    Loss(&'static str),
    /// Value of a metric.
    Value(&'static str),
    /// A gauge that is 1 when all is well.
    State(&'static str),
    /// Increase of the first counter as a share of that of the second.
    Share(&'static str, &'static str),
    /// Value of the first metric as a share of that of the second.
    Fill(&'static str, &'static str),
}

impl Of {
    /// The metrics that it needs.
    fn metrics(self) -> [&'static str; 2] {
        match self {
            Self::Rate(name, _) | Self::Loss(name) | Self::Value(name) | Self::State(name) => {
                [name, name]
            }
            Self::Share(part, whole) | Self::Fill(part, whole) => [part, whole],
        }
    }

    fn is_shown(self, window: &Window) -> bool {
        let is_there = |name: &&str| !window.latest().samples(name).is_empty();
        self.metrics().iter().all(is_there)
    }

    /// The number for one value of the label.
    fn number(self, window: &Window, label: &str, value: &str) -> Option<f64> {
        let rate = |name| window.rates(name, label)?.get(value).copied();
        let level = |name| window.latest().by(name, label).get(value).copied();
        let share = |part: f64, whole: f64| (whole > 0.0).then_some(part / whole);
        match self {
            Self::Rate(name, factor) => Some(rate(name)? * factor),
            Self::Loss(name) => rate(name),
            Self::Value(name) | Self::State(name) => level(name),
            Self::Share(part, whole) => share(rate(part)?, rate(whole)?),
            Self::Fill(part, whole) => share(level(part)?, level(whole)?),
        }
    }

    fn text(self, number: Option<f64>) -> String {
        let Some(number) = number else {
            return "-".to_owned();
        };
        match self {
            Self::Share(..) => bar(number),
            Self::Fill(..) => format!("{:.0} %", number * 100.0),
            Self::State(_) if number > 0.0 => "up".to_owned(),
            Self::State(_) => "DOWN".to_owned(),
            Self::Rate(..) | Self::Loss(_) | Self::Value(_) => scaled(number),
        }
    }

    fn is_bad(self, number: Option<f64>) -> bool {
        match (self, number) {
            (Self::Loss(_), Some(number)) => number > 0.0,
            (Self::State(_), Some(number)) => number <= 0.0,
            (Self::Share(..), Some(number)) => number > 0.9,
            _ => false,
        }
    }

    const fn width(self) -> usize {
        match self {
            Self::Share(..) => BAR + 9,
            _ => WIDTH,
        }
    }
}

/// How a table is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Sorted by name for 0, else by that column, largest first.
    pub sort: usize,
    /// Rows at most.
    pub rows_max: usize,
    /// Columns of the terminal.
    pub width: usize,
}

/// A column: its title and what it shows.
pub type Column = (&'static str, Of);

/// A table by the values of one label.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Shown above it.
    pub title: &'static str,
    /// Label of the metrics.
    pub label: &'static str,
    /// Columns, the most important first: those that have no room are left out.
    pub columns: &'static [Column],
}

impl Grid {
    /// The columns that there are numbers and room for.
    fn shown(&self, window: &Window, width: usize) -> Vec<Column> {
        let mut room = width.saturating_sub(NAME_WIDTH + 2);
        let mut columns = Vec::new();
        for (title, of) in self.columns.iter().copied() {
            if of.is_shown(window) && of.width() <= room {
                room -= of.width();
                columns.push((title, of));
            }
        }
        columns
    }

    /// Lines of the table; none when nothing of it is there.
    pub fn lines(&self, window: &Window, ask: Ask) -> Vec<Line> {
        let columns = self.shown(window, ask.width);
        let mut names = BTreeSet::new();
        for (_, of) in &columns {
            for name in of.metrics() {
                names.extend(window.latest().by(name, self.label).into_keys());
            }
        }
        if names.is_empty() {
            return Vec::new();
        }
        let sort = ask.sort % (columns.len() + 1);
        let mut rows: Vec<Row<'_>> = names
            .into_iter()
            .map(|name| Row {
                name,
                numbers: columns
                    .iter()
                    .map(|(_, of)| of.number(window, self.label, name))
                    .collect(),
            })
            .collect();
        rows.sort_by(|one, other| one.compare(other, sort));
        let by = sort.checked_sub(1).and_then(|at| columns.get(at));
        let title = by.map_or_else(
            || self.title.to_owned(),
            |(column, _)| format!("{}, by {column}", self.title),
        );
        let mut lines = vec![
            Line::new(Tone::Title, title),
            Line::new(Tone::Head, head(self.label, &columns)),
        ];
        let hidden = rows.len().saturating_sub(ask.rows_max);
        lines.extend(rows.iter().take(ask.rows_max).map(|row| row.line(&columns)));
        if hidden > 0 {
            let text = format!("  and {hidden} more");
            lines.push(Line::new(Tone::Plain, text));
        }
        lines
    }
}

struct Row<'a> {
    name: &'a str,
    numbers: Vec<Option<f64>>,
}

impl Row<'_> {
    fn compare(&self, other: &Self, sort: usize) -> Ordering {
        let of = |row: &Self| {
            let number = sort.checked_sub(1).and_then(|at| row.numbers.get(at));
            number.copied().flatten().unwrap_or(-1.0)
        };
        // Numbers as numbers: worker 10 comes after worker 9.
        let number = |row: &Self| row.name.parse::<u64>().unwrap_or(u64::MAX);
        let by_name = number(self).cmp(&number(other));
        of(other)
            .total_cmp(&of(self))
            .then(by_name)
            .then_with(|| self.name.cmp(other.name))
    }

    fn line(&self, columns: &[Column]) -> Line {
        let mut text = format!("  {:<NAME_WIDTH$}", clipped(self.name, NAME_WIDTH));
        let mut tone = Tone::Plain;
        for ((_, of), number) in columns.iter().zip(&self.numbers) {
            let width = of.width();
            let _ = write!(text, "{:>width$}", of.text(*number));
            if of.is_bad(*number) {
                tone = Tone::Bad;
            }
        }
        Line { text, tone }
    }
}

/// Names of columns.
fn head(label: &str, columns: &[Column]) -> String {
    let name = label.replace('_', " ");
    let mut text = format!("  {:<NAME_WIDTH$}", clipped(&name, NAME_WIDTH));
    for (title, of) in columns {
        let width = of.width();
        let _ = write!(text, "{title:>width$}");
    }
    text
}

/// A share as a bar with its number.
fn bar(share: f64) -> String {
    let share = share.clamp(0.0, 1.0);
    let filled = (1..=BAR).filter(|part| {
        let part = f64::from(u32::try_from(*part).unwrap_or(u32::MAX));
        share * 10.0 >= part - 0.5
    });
    let filled = filled.count();
    let (full, empty) = ("#".repeat(filled), ".".repeat(BAR.saturating_sub(filled)));
    format!("[{full}{empty}] {:>3.0} %", share * 100.0)
}

/// A number in at most nine characters: `0`, `12.5`, `9.87 k`, `14.9 M`.
pub fn scaled(number: f64) -> String {
    const UNITS: [&str; 5] = ["", " k", " M", " G", " T"];
    let mut number = number;
    let mut place = 0;
    while number.abs() >= 999.5 && place + 1 < UNITS.len() {
        number /= 1_000.0;
        place += 1;
    }
    let unit = UNITS.get(place).copied().unwrap_or_default();
    let is_whole = (number - number.round()).abs() < 1e-9 && place == 0;
    let decimals = match number.abs() {
        _ if is_whole => 0,
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}{unit}")
}

/// The first `width` characters, and a mark if there were more. What comes from elsewhere must not
/// steer a terminal.
pub fn clipped(text: &str, width: usize) -> String {
    let plain = |c: char| if c.is_control() { '?' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(plain).collect();
    }
    let kept = text.chars().take(width.saturating_sub(1)).map(plain);
    kept.chain(['~']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::text::Scrape;
    use std::time::Duration;

    const GRID: Grid = Grid {
        title: "Workers",
        label: "worker",
        columns: &[
            ("busy", Of::Share("busy", "all")),
            ("packets/s", Of::Rate("packets", 1.0)),
            ("lost/s", Of::Loss("lost")),
            ("full", Of::Fill("flows", "flows_max")),
            ("link", Of::State("up")),
        ],
    };

    fn window(before: &str, now: &str) -> Window {
        let at = |seconds, text| (Duration::from_secs(seconds), Scrape::parse(text).unwrap());
        Window::new(Some(at(1, before)), at(2, now))
    }

    fn ask(sort: usize, rows_max: usize) -> Ask {
        Ask {
            sort,
            rows_max,
            width: 100,
        }
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn rows_are_by_label_and_columns_without_numbers_are_left_out() {
        let before = "busy{worker=\"9\"} 0\nall{worker=\"9\"} 0\npackets{worker=\"9\"} 0\n\
                      packets{worker=\"10\"} 0";
        let now = "busy{worker=\"9\"} 0.5\nall{worker=\"9\"} 1\npackets{worker=\"9\"} 1500\n\
                   packets{worker=\"10\"} 20000";
        let window = window(before, now);
        assert_eq!(
            texts(&GRID.lines(&window, ask(0, 9))),
            [
                "Workers",
                "  worker                       busy packets/s",
                "  9              [#####.....]  50 %    1.50 k",
                "  10                              -    20.0 k",
            ]
        );
        let sorted = GRID.lines(&window, ask(2, 1));
        assert_eq!(sorted[0].text, "Workers, by packets/s");
        assert!(sorted[2].text.starts_with("  10 "));
        assert_eq!(sorted[3].text, "  and 1 more");
        assert!(
            GRID.lines(&self::window("", "other 1"), ask(0, 9))
                .is_empty()
        );
    }

    #[test]
    fn columns_without_room_are_left_out() {
        let now = "packets{worker=\"9\"} 1\nlost{worker=\"9\"} 0";
        let narrow = Ask {
            width: 35,
            ..ask(0, 9)
        };
        let lines = GRID.lines(&window("", now), narrow);
        assert!(lines[1].text.ends_with(" packets/s"), "{lines:?}");
        assert!(lines.iter().all(|line| line.text.len() <= 35));
    }

    #[test]
    fn losses_full_workers_and_links_that_are_down_are_bad() {
        let tone = |before: &str, now: &str| GRID.lines(&window(before, now), ask(0, 9))[2].tone;
        let lost = |count| format!("lost{{worker=\"0\"}} {count}");
        assert_eq!(tone(&lost(5), &lost(6)), Tone::Bad);
        assert_eq!(tone(&lost(6), &lost(6)), Tone::Plain);
        assert_eq!(tone("", "up{worker=\"0\"} 0"), Tone::Bad);
        assert_eq!(tone("", "up{worker=\"0\"} 1"), Tone::Plain);
        let busy = |n: f64| format!("busy{{worker=\"0\"}} {n}\nall{{worker=\"0\"}} {}", n / 0.95);
        assert_eq!(tone(&busy(0.0), &busy(0.95)), Tone::Bad);
        let flows = "flows{worker=\"0\"} 50\nflows_max{worker=\"0\"} 200";
        let lines = GRID.lines(&window("", flows), ask(0, 9));
        assert!(lines[2].text.ends_with(" 25 %"));
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (0.25, "0.25"),
            (12.34, "12.3"),
            (999.4, "999"),
            (999.6, "1.00 k"),
            (14_880_952.0, "14.9 M"),
            (9.87e9, "9.87 G"),
            (5e15, "5000 T"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(scaled(number), text);
        }
        assert_eq!(bar(0.0), "[..........]   0 %");
        assert_eq!(bar(2.0), "[##########] 100 %");
    }

    #[test]
    fn names_from_elsewhere_cannot_steer_a_terminal() {
        assert_eq!(clipped("a\x1b[2Jb", 16), "a?[2Jb");
        assert_eq!(clipped("0000:3b:00.0,x=1", 12), "0000:3b:00.~");
    }
}
