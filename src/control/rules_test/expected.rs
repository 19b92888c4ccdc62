//! What a case expects, as its files say it: which rules fire, how often, and when first.

use crate::output::time::Iso8601;
use crate::packet::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// What a line of expected alerts looks like.
const FORM: &str = "expected `ID COUNT TIME`, such as `1021 95 2023-11-14T22:13:40.003050Z`";

/// Bytes of a file of expected alerts: more than all rules there can be need.
const FILE_MAX: u64 = 4 << 20;

/// Alerts of one capture by rule: how many, and the time of the first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Alerts(BTreeMap<u32, (u64, String)>);

impl Alerts {
    /// Count an alert; alerts come in the order of their times.
    pub(super) fn count(&mut self, rule: u32, time: Timestamp) {
        let first = || (0, Iso8601(time).to_string());
        self.0.entry(rule).or_insert_with(first).0 += 1;
    }

    /// Read a file of expected alerts. Empty lines and lines that start with `#` do not count.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = read(path).map_err(|error| format!("{name}: {error}"))?;
        let mut alerts = Self::default();
        for (number, line) in lines(&text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            alerts
                .add(&words)
                .map_err(|error| format!("{name}, line {number}: `{line}`: {error}"))?;
        }
        Ok(alerts)
    }

    fn add(&mut self, words: &[&str]) -> Result<(), &'static str> {
        let [id, count, time] = words else {
            return Err(FORM);
        };
        let id = id.parse::<u32>().map_err(|_| FORM)?;
        let count = count.parse::<u64>().map_err(|_| FORM)?;
        if count == 0 {
            return Err("a rule that must not fire is left out");
        }
        if time.len() != Iso8601(Timestamp::default()).to_string().len() || !time.ends_with('Z') {
            return Err(FORM);
        }
        match self.0.insert(id, (count, (*time).to_owned())) {
            None => Ok(()),
            Some(_) => Err("this rule has a line already"),
        }
    }

    /// For a table: rules and numbers.
    pub(super) fn short(&self) -> String {
        let shown = self
            .0
            .iter()
            .map(|(id, (count, _))| format!("{id} x{count}"));
        match self.0.is_empty() {
            true => "none".to_owned(),
            false => shown.collect::<Vec<_>>().join(", "),
        }
    }

    /// Lines with `-` that were expected and did not come, with `+` that came instead; empty when
    /// there are none.
    pub(super) fn difference(&self, got: &Self) -> String {
        let mut out = String::new();
        let ids = self.0.keys().chain(got.0.keys());
        for id in ids.collect::<std::collections::BTreeSet<_>>() {
            let (expected, found) = (self.0.get(id), got.0.get(id));
            if expected == found {
                continue;
            }
            for (sign, alerts) in [('-', expected), ('+', found)] {
                if let Some((count, first)) = alerts {
                    let _ = writeln!(out, "{sign} {id} {count} {first}");
                }
            }
        }
        out
    }

    /// Write a file of expected alerts; comments of the one that is there stay.
    pub(super) fn renew(&self, path: &Path) -> std::io::Result<()> {
        let old = match read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            old => old?,
        };
        let mut text = String::new();
        for comment in old.lines().filter(|line| line.starts_with('#')) {
            let _ = writeln!(text, "{comment}");
        }
        for (id, (count, first)) in &self.0 {
            let _ = writeln!(text, "{id} {count} {first}");
        }
        std::fs::write(path, text)
    }
}

/// Captures that live elsewhere, by their path, and what each must give.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    pub(super) captures: BTreeMap<String, Alerts>,
}

impl Elsewhere {
    /// Read `captures.txt`: lines `PATH ID COUNT TIME`, or `PATH none`.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = read(path).map_err(|error| format!("{name}: {error}"))?;
        let mut found = Self::default();
        for (number, line) in lines(&text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let added = match words.as_slice() {
                [capture, "none"] => match found.captures.contains_key(*capture) {
                    true => Err("this capture has a line already"),
                    false => {
                        found
                            .captures
                            .insert((*capture).to_owned(), Alerts::default());
                        Ok(())
                    }
                },
                [capture, alert @ ..] => found
                    .captures
                    .entry((*capture).to_owned())
                    .or_default()
                    .add(alert),
                [] => Ok(()),
            };
            added.map_err(|error| {
                format!("{name}, line {number}: `{line}`: {error}, behind the path of a capture")
            })?;
        }
        match found.captures.is_empty() {
            true => Err(format!("{name}: names no capture")),
            false => Ok(found),
        }
    }
}

/// Lines that say something, numbered from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(FILE_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2023-11-14T22:13:20.000001Z";

    fn alerts(text: &str) -> Result<Alerts, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hit.alerts");
        std::fs::write(&file, text).unwrap();
        Alerts::read(&file)
    }

    #[test]
    fn what_differs_is_shown() {
        let mut got = Alerts::default();
        got.count(7, Timestamp::from_micros(1_700_000_000_000_001));
        got.count(7, Timestamp::from_micros(1_700_000_000_500_000));
        let expected = alerts(&format!("# a comment\n\n7 2 {TIME}\n")).unwrap();
        assert_eq!(expected, got);
        assert_eq!(expected.difference(&got), "");
        assert_eq!(got.short(), "7 x2");
        assert_eq!(Alerts::default().short(), "none");
        let other = alerts(&format!("7 1 {TIME}\n9 1 {TIME}")).unwrap();
        let difference = format!("- 7 1 {TIME}\n+ 7 2 {TIME}\n- 9 1 {TIME}\n");
        assert_eq!(other.difference(&got), difference);
        assert_eq!(
            Alerts::default().difference(&got),
            format!("+ 7 2 {TIME}\n")
        );
        let later = alerts("7 2 2023-11-14T22:13:20.000002Z").unwrap();
        assert_ne!(later.difference(&got), "");
    }

    #[test]
    fn lines_that_say_nothing_clear_are_errors() {
        for (line, part) in [
            ("7", "expected `ID COUNT TIME`"),
            ("7 1 soon", "expected `ID COUNT TIME`"),
            (
                "x 1 2023-11-14T22:13:20.000001Z",
                "expected `ID COUNT TIME`",
            ),
            ("7 0 2023-11-14T22:13:20.000001Z", "left out"),
        ] {
            let error = alerts(line).unwrap_err();
            assert!(error.contains(part) && error.contains("line 1"), "{error}");
        }
        let twice = format!("7 1 {TIME}\n7 1 {TIME}");
        assert!(alerts(&twice).unwrap_err().contains("line 2"));
    }

    #[test]
    fn captures_elsewhere_have_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("captures.txt");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Elsewhere::read(&file)
        };
        let found = read(&format!(
            "a.pcap none\nb.pcap 1 1 {TIME}\nb.pcap 2 1 {TIME}\n"
        ))
        .unwrap();
        let short: Vec<String> = found.captures.values().map(Alerts::short).collect();
        assert_eq!(short, ["none", "1 x1, 2 x1"]);
        for text in ["", "# nothing", "a.pcap", "a.pcap none\na.pcap none"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
