//! Where values come from: a file, the files of `conf.d` beside it, the environment, and `-X`.
//!
//! Later ones win. Every value is checked with the place where it stands, and all findings are
//! kept: one look at them mends a configuration.

use super::finding::{Finding, Place};
use super::table::{self, Key, SECTIONS};
use crate::diagnostic::Source;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// How the names of environment variables begin that set a key.
const PREFIX: &str = "WIRELYNX_";

/// Between table and key in the name of such a variable.
const BETWEEN: &str = "__";

/// Folder beside the file with further files.
const FOLDER: &str = "conf.d";

/// Longest value that a finding repeats, in characters.
const SHOWN_MAX: usize = 60;

/// What is set, each value with its place, and what is wrong with the rest.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Values that are possible, by key.
    pub(super) set: BTreeMap<&'static str, (Value, Place)>,
    /// In the order in which they were met.
    pub(super) findings: Vec<Finding>,
}

impl Layers {
    /// The file, if there is one, and those of `conf.d` beside it.
    pub(super) fn files(&mut self, path: Option<&Path>) {
        let Some(path) = path else { return };
        self.file(path);
        match further(path) {
            Ok(files) => files.iter().for_each(|file| self.file(file)),
            Err((folder, error)) => self.unreadable(&folder, &error),
        }
    }

    fn file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&path.display().to_string(), &text),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let place = Place::Whole(path.display().to_string());
        self.findings
            .push(Finding::error(place, "", error.to_string()));
    }

    /// The text of the file `name`.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        let source = Source::new(name, text);
        let place = |span: Option<Range<usize>>| Place::Line {
            file: name.to_owned(),
            line: source.line(span.map_or(0, |span| span.start)),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        let first = self.findings.len();
        for error in errors {
            let message = error.message().replace('\n', ", ");
            self.findings
                .push(Finding::error(place(error.span()), "", message));
        }
        let broken: Vec<Place> = self
            .findings
            .iter()
            .skip(first)
            .map(|f| f.place.clone())
            .collect();
        let mut leaves = Vec::new();
        flatten(table.get_ref(), "", &mut leaves);
        leaves.sort_by_key(|leaf| leaf.span.start);
        for leaf in leaves {
            let place = place(Some(leaf.span));
            // What is left of a line that could not be read says nothing.
            if !broken.contains(&place) {
                self.take(&leaf.key, leaf.value, place);
            }
        }
        if let Some(own) = self.findings.get_mut(first..) {
            own.sort_by_key(|finding| match finding.place {
                Place::Line { line, .. } => line,
                _ => 0,
            });
        }
    }

    /// Variables `WIRELYNX_TABLE__KEY`; others are not meant for the configuration.
    pub(super) fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let mut variables: Vec<(String, String)> = variables.into_iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(rest) = name
                .strip_prefix(PREFIX)
                .filter(|rest| rest.contains(BETWEEN))
            else {
                continue;
            };
            let key = rest.replacen(BETWEEN, ".", 1).to_lowercase();
            let place = Place::Variable(name.clone());
            self.take(&key, parse(&key, &value), place);
        }
    }

    /// `table.key=value`, as given to `-X`.
    pub(super) fn setting(&mut self, setting: &str) {
        let place = Place::Setting(setting.to_owned());
        match setting.split_once('=') {
            Some((key, value)) => self.take(key.trim(), parse(key.trim(), value), place),
            None => {
                let message = "expected key=value".to_owned();
                self.findings.push(Finding::error(place, "", message));
            }
        }
    }

    /// Keep a value that is possible, over an earlier one.
    fn take(&mut self, name: &str, value: Value, place: Place) {
        let Some(key) = table::find(name) else {
            let message = unknown(name);
            self.findings.push(Finding::error(place, name, message));
            return;
        };
        if key.kind.allows(&value) {
            self.set.insert(key.name, (value, place));
        } else {
            self.findings.push(Finding::impossible(
                place,
                key.name,
                &shown(&value),
                &key.kind.expected(),
            ));
        }
    }

    /// All that is set, as one table.
    pub(super) fn merged(&self) -> Table {
        let mut merged = Table::new();
        for (name, (value, _)) in &self.set {
            let Some((section, key)) = name.split_once('.') else {
                continue;
            };
            let section = merged
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(key.to_owned(), value.clone());
            }
        }
        merged
    }

    /// Where the value of a key comes from.
    pub(super) fn place(&self, key: &str) -> Place {
        let set = self.set.get(key);
        set.map_or(Place::Default, |(_, place)| place.clone())
    }
}

/// The files `conf.d/*.toml` beside `path`, in the order of their names.
fn further(path: &Path) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let folder = path.parent().unwrap_or_else(|| Path::new("")).join(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |error| (folder.clone(), error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The value of a variable or flag. What is no TOML is taken as text, and so is anything for a key
/// whose values are texts.
fn parse(key: &str, value: &str) -> Value {
    let parsed = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("v"));
    let is_text = table::find(key).is_some_and(|key: &Key| key.kind.is_text());
    match parsed {
        Some(parsed) if !is_text || parsed.is_str() => parsed,
        _ => Value::String(value.to_owned()),
    }
}

/// What is wrong with a key that there is not, and which is probably meant.
fn unknown(name: &str) -> String {
    if SECTIONS.iter().any(|(section, _)| *section == name) {
        return format!("'{name}' is a table: write [{name}], and its keys below");
    }
    let known = || table::KEYS.iter().map(|key| key.name);
    let nearest = crate::expr::names::nearest(name, known());
    let ending = format!(".{name}");
    let near = nearest
        .first()
        .copied()
        .or_else(|| known().find(|key| key.ends_with(&ending)));
    match near {
        Some(near) => format!("unknown key '{name}'; did you mean '{near}'?"),
        None => format!("unknown key '{name}'"),
    }
}

/// A value as a finding repeats it: text in single quotes, so that it reads well in a sentence.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A value of a file that is no table, or one where none should be.
struct Leaf {
    key: String,
    value: Value,
    span: Range<usize>,
}

fn flatten(table: &DeTable<'_>, prefix: &str, leaves: &mut Vec<Leaf>) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if is_section(&key, inner) => {
                flatten(inner, &format!("{key}."), leaves);
            }
            other => leaves.push(Leaf {
                value: plain(other),
                span: match table::find(&key) {
                    Some(_) => value.span(),
                    None => name.span(),
                },
                key,
            }),
        }
    }
}

/// Are the keys of this table to be looked at one by one? An empty one only if it is known.
fn is_section(key: &str, table: &DeTable<'_>) -> bool {
    let known = SECTIONS.iter().any(|(section, _)| *section == key);
    known || (!table.is_empty() && table::find(key).is_none())
}

/// The value without places. A number that TOML does not have becomes text, which no number can be.
fn plain(value: &DeValue<'_>) -> Value {
    let inside = |value: &Spanned<DeValue<'_>>| plain(value.get_ref());
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(
                |_| Value::String(number.as_str().to_owned()),
                Value::Integer,
            ),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::Float),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(values) => Value::Array(values.iter().map(inside).collect()),
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), inside(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Layers {
        let mut layers = Layers::default();
        layers.text("a.toml", text);
        layers
    }

    fn findings(layers: &Layers) -> Vec<String> {
        layers.findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn everything_wrong_with_a_file_is_said_at_once() {
        let layers = read(
            "[capture]\nqueue = 3\nqueues = 65\ndescriptors = 100\nports = \"a\"\n\n[flow]\nx = 1\n\
             [rules]\ncompat = 'mtm'\npaths = ['rules']\n",
        );
        assert_eq!(
            findings(&layers),
            [
                "a.toml:2: error: unknown key 'capture.queue'; did you mean 'capture.queues'?",
                "a.toml:3: error: capture.queues: 65 is not possible; expected 0 to 64 queues",
                "a.toml:4: error: capture.descriptors: 100 is not possible; expected a multiple of \
                 32, 64 to 8192 descriptors",
                "a.toml:5: error: capture.ports: 'a' is not possible; expected a list of texts: PCI \
                 addresses or virtual devices",
                "a.toml:8: error: unknown key 'flow.x'",
                "a.toml:10: error: rules.compat: 'mtm' is not possible; expected 'standard' or \
                 'mmt'",
            ]
        );
        assert_eq!(layers.set.len(), 1, "what is right is kept");
        assert_eq!(layers.place("rules.paths").to_string(), "a.toml:11");
        assert_eq!(layers.place("rules.strict"), Place::Default);
    }

    #[test]
    fn errors_of_syntax_do_not_hide_others() {
        let found = findings(&read("[capture]\nqueues = \nport = []\n= 5\n"));
        let lines: Vec<&str> = found.iter().filter_map(|f| f.split(' ').next()).collect();
        assert_eq!(lines, ["a.toml:2:", "a.toml:3:", "a.toml:4:"], "{found:?}");
        let twice = findings(&read("[idle]\npoll_us = 1\npoll_us = 2\n"));
        assert!(
            twice[0].starts_with("a.toml:3: error: duplicate key"),
            "{twice:?}"
        );
    }

    #[test]
    fn misplaced_keys_and_tables_are_named() {
        let found = findings(&read("queues = 1\ncapture = 2\n"));
        assert_eq!(
            found,
            [
                "a.toml:1: error: unknown key 'queues'; did you mean 'capture.queues'?",
                "a.toml:2: error: 'capture' is a table: write [capture], and its keys below",
            ]
        );
        let found = findings(&read("[captur]\n[capture.queues]\nx = 1\n"));
        assert!(found[0].starts_with("a.toml:1: error: unknown key 'captur'"));
        assert!(
            found[1].starts_with("a.toml:2: error: capture.queues: "),
            "{found:?}"
        );
        let huge = findings(&read("[capture]\npackets_max = 99999999999999999999\n"));
        assert!(huge[0].contains("99999999999999999999"), "{huge:?}");
    }

    #[test]
    fn later_layers_win() {
        let mut layers = read("[capture]\nqueues = 1\ndescriptors = 64\n");
        layers.text("conf.d/b.toml", "[capture]\nqueues = 2\n");
        let variables = [
            ("WIRELYNX_OUTPUT__FLOWS", "5"),
            ("WIRELYNX_CAPTURE__QUEUES", "3"),
            ("WIRELYNX_LOG", "debug"),
            ("OTHER__THING", "x"),
        ];
        layers.environment(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(
            layers.place("capture.queues").to_string(),
            "environment WIRELYNX_CAPTURE__QUEUES"
        );
        layers.setting("capture.queues=4");
        layers.setting("output.alerts=/tmp/a");
        assert_eq!(findings(&layers), Vec::<String>::new());
        let merged = layers.merged();
        assert_eq!(merged["capture"]["queues"].as_integer(), Some(4));
        assert_eq!(merged["capture"]["descriptors"].as_integer(), Some(64));
        assert_eq!(merged["output"]["flows"].as_str(), Some("5"));
        assert_eq!(
            layers.place("capture.queues").to_string(),
            "-X capture.queues=4"
        );
    }

    #[test]
    fn variables_and_flags_have_their_place_in_findings() {
        let mut layers = Layers::default();
        let variable = ("WIRELYNX_IDLE__SLEP_US".to_owned(), "1".to_owned());
        layers.environment([variable]);
        layers.setting("capture.queues=many");
        layers.setting("nonsense");
        layers.setting("workers.count=1\nx = 2");
        assert_eq!(
            findings(&layers),
            [
                "environment WIRELYNX_IDLE__SLEP_US: error: unknown key 'idle.slep_us'; did you \
                 mean 'idle.sleep_us'?",
                "-X capture.queues=many: error: capture.queues: 'many' is not possible; expected 0 \
                 to 64 queues",
                "-X nonsense: error: expected key=value",
                "-X workers.count=1\\nx = 2: error: workers.count: '1\\nx = 2' is not possible; \
                 expected 0 to 64 workers",
            ]
        );
    }

    #[test]
    fn further_files_are_taken_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.toml");
        std::fs::write(&path, "").unwrap();
        assert!(further(&path).unwrap().is_empty());
        let beside = folder.path().join(FOLDER);
        std::fs::create_dir(&beside).unwrap();
        for name in ["20.toml", "10.toml", "note.txt"] {
            std::fs::write(beside.join(name), "").unwrap();
        }
        let files = further(&path).unwrap();
        assert_eq!(files, [beside.join("10.toml"), beside.join("20.toml")]);
        let mut layers = Layers::default();
        layers.files(Some(&folder.path().join("none.toml")));
        assert!(findings(&layers)[0].contains("none.toml: error: No such file"));
    }
}
