//! Prometheus text (exposition format 0.0.4) to samples.

use std::collections::BTreeMap;

/// Samples kept of one answer: a hundred for each of ten thousand rules.
const SAMPLES_MAX: usize = 1_000_000;

/// One value with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// By name, in the order of the names.
    pub labels: Vec<(String, String)>,
    /// The value at the moment of the answer.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty when there is none.
    pub fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// All samples of one answer, by name of the metric.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Scrape {
    metrics: BTreeMap<String, Vec<Sample>>,
}

impl Scrape {
    /// Read an answer.
    ///
    /// # Errors
    /// A line is no sample; the text says which, and what was expected. Too many samples.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scrape = Self::default();
        let mut count = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, sample) =
                sample(line).ok_or_else(|| format!("line {number} of the metrics is no sample"))?;
            count += 1;
            if count > SAMPLES_MAX {
                return Err(format!("more than {SAMPLES_MAX} samples"));
            }
            let samples = scrape.metrics.entry(name.to_owned()).or_default();
            samples.push(sample);
        }
        Ok(scrape)
    }

    /// The samples of a metric; empty when it is not there.
    pub fn samples(&self, name: &str) -> &[Sample] {
        self.metrics.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum of a metric over all labels; nothing when it is not there.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let samples = self.metrics.get(name)?;
        Some(samples.iter().map(|sample| sample.value).sum())
    }

    /// The sums of a metric by the values of one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.samples(name) {
            *sums.entry(sample.label(label)).or_insert(0.0) += sample.value;
        }
        sums
    }
}

/// `name{label="value",...} value [timestamp]`
fn sample(line: &str) -> Option<(&str, Sample)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let end = line.find(|c| !is_name(c))?;
    let (name, rest) = line.split_at_checked(end).filter(|_| end > 0)?;
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?;
    // "+Inf", "-Inf" and "NaN" are numbers of Rust too.
    let value = value.parse().ok()?;
    Some((name, Sample { labels, value }))
}

/// Labels up to the brace that closes them, and what follows.
fn labels(inside: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    let mut rest = inside.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            labels.sort();
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let quoted = after.trim_start().strip_prefix('"')?;
        let (value, after) = unquote(quoted)?;
        labels.push((name.trim().to_owned(), value));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

/// A text up to its closing quote, without escapes, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let text = "# HELP a b\n# TYPE a counter\na 1\n\nb{x=\"1\",w=\"q\"} 2.5 1700000000\n\
                    b{x=\"2\"} 1e3\nc{} +Inf\nd { k = \"v\" , } NaN\n";
        let scrape = Scrape::parse(text).unwrap();
        assert_eq!(scrape.sum("a"), Some(1.0));
        assert_eq!(scrape.sum("b"), Some(1002.5));
        assert_eq!(
            scrape.by("b", "x"),
            BTreeMap::from([("1", 2.5), ("2", 1000.0)])
        );
        assert_eq!(scrape.samples("b")[0].label("w"), "q");
        assert_eq!(scrape.samples("b")[0].label("none"), "");
        assert_eq!(scrape.sum("c"), Some(f64::INFINITY));
        assert!(scrape.sum("d").unwrap().is_nan());
        assert_eq!(scrape.sum("e"), None);
    }

    #[test]
    fn escapes_in_labels_are_undone() {
        let scrape = Scrape::parse(r#"a{x="b\\c\"d}\n,"} 1"#).unwrap();
        assert_eq!(scrape.samples("a")[0].label("x"), "b\\c\"d}\n,");
    }

    #[test]
    fn what_is_no_sample_is_refused_by_its_line() {
        for line in [
            "a",
            "a{",
            "a{x} 1",
            "a{x=\"1} 2",
            "a b",
            "{x=\"1\"} 2",
            "=",
            "<html>",
        ] {
            let error = Scrape::parse(&format!("ok 1\n{line}")).unwrap_err();
            assert_eq!(error, "line 2 of the metrics is no sample", "{line}");
        }
    }
}
