//! What a configuration looks like when written: the sample file, the effective values, the schema.

use super::table::{self, KEYS, Key, Kind, SECTIONS};
use super::{Config, Found};
use serde_json::json;
use std::fmt::Write as _;
use toml::{Table, Value};

/// Columns of a comment.
const WIDTH: usize = 98;

/// The sample file: every key with its meaning, unit, range and default.
pub fn sample() -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "Configuration of `wirelynx run`. Every key is here with its default; leave out what you do \
         not change. The line in brackets says what values a key has, its default, and what it \
         takes until a change counts. How files, environment and -X go together: \
         docs/configuration.md. Made by `wirelynx config sample`.",
    );
    for (section, title) in SECTIONS {
        let _ = write!(text, "\n[{section}]\n");
        comment(&mut text, title);
        for (key, name) in of_section(section) {
            let default = table::default_of(key.name).unwrap_or(Value::Boolean(false));
            text.push('\n');
            comment(&mut text, key.help);
            let (expected, change) = (key.kind.expected(), key.change.name());
            comment(
                &mut text,
                &format!("[{expected}; default {default}; {change}]"),
            );
            let _ = writeln!(text, "{name} = {default}");
        }
    }
    text
}

/// Keys of a table of the file, each with its name there.
fn of_section(section: &str) -> impl Iterator<Item = (&'static Key, &'static str)> {
    KEYS.iter().filter_map(move |key| {
        let (of, name) = key.name.split_once('.')?;
        (of == section).then_some((key, name))
    })
}

/// Lines of a comment, broken between words.
fn comment(text: &mut String, sentences: &str) {
    let mut line = String::from("#");
    for word in sentences.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// The effective configuration as TOML: a file that gives the same, with where each value comes
/// from. Secrets are in files of their own, of which only the names are shown.
pub fn effective(found: &Found) -> String {
    let values = Table::try_from(&found.config).unwrap_or_default();
    let mut text = String::new();
    for (section, _) in SECTIONS {
        let blank = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{blank}[{section}]");
        for (key, name) in of_section(section) {
            let value = value_of(&values, key.name);
            let _ = writeln!(text, "{name} = {value}  # {}", found.place(key.name));
        }
    }
    text
}

/// The effective configuration as JSON: for each key of each table its `value`, and in `from`
/// where it comes from.
pub fn effective_json(found: &Found) -> serde_json::Value {
    let values = Table::try_from(&found.config).unwrap_or_default();
    let mut all = serde_json::Map::new();
    for (section, _) in SECTIONS {
        let mut keys = serde_json::Map::new();
        for (key, name) in of_section(section) {
            let value = json!(value_of(&values, key.name));
            let from = found.place(key.name).to_string();
            keys.insert(name.to_owned(), json!({"value": value, "from": from}));
        }
        all.insert(section.to_owned(), serde_json::Value::Object(keys));
    }
    serde_json::Value::Object(all)
}

fn value_of(values: &Table, key: &str) -> Value {
    let (section, name) = key.split_once('.').unwrap_or_default();
    let value = values.get(section).and_then(|section| section.get(name));
    value.cloned().unwrap_or(Value::Boolean(false))
}

/// The JSON Schema of the file (draft 2020-12), for editors and for whoever generates such files.
pub fn schema() -> serde_json::Value {
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let mut sections = serde_json::Map::new();
    for (section, title) in SECTIONS {
        let mut properties = serde_json::Map::new();
        for (key, name) in of_section(section) {
            let mut schema = key.kind.schema();
            let mut description = key.help.to_owned();
            if let Kind::Number { .. } | Kind::Mask = key.kind {
                let _ = write!(description, " Expected: {}.", key.kind.expected());
            }
            schema["description"] = json!(description);
            schema["default"] = json!(value_of(&defaults, key.name));
            schema["x-change"] = json!(key.change.name());
            properties.insert(name.to_owned(), schema);
        }
        sections.insert(
            section.to_owned(),
            json!({
                "type": "object",
                "description": title,
                "additionalProperties": false,
                "properties": properties,
            }),
        );
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wirelynx configuration",
        "description": "Of `wirelynx run`, a TOML file. `x-unit`: what a number counts; `x-change`: \
                        what it takes until a change counts.",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_sets_every_key_to_its_default() {
        let sample: Table = sample().parse().unwrap();
        assert_eq!(sample, Table::try_from(Config::default()).unwrap());
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let settings = ["capture.ports=['a', 'b']", "output.alerts=\"a\\\"\\n\""];
        let settings = settings.map(str::to_owned);
        let shown = effective(&Found::with(None, [], &settings));
        assert!(
            shown.contains("[\"a\", \"b\"]  # -X capture.ports=['a', 'b']\n"),
            "{shown}"
        );
        assert!(shown.contains("\nqueues = 0  # default\n"));
        let mut layers = super::super::layers::Layers::default();
        layers.text("shown", &shown);
        assert!(layers.findings.is_empty(), "{:?}", layers.findings);
        let merged = layers.merged();
        assert_eq!(merged["output"]["alerts"].as_str(), Some("a\"\n"));
        assert_eq!(merged["capture"]["ports"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_line_of_a_comment_fits_and_keeps_its_words() {
        let mut text = String::new();
        let words = "word ".repeat(60);
        comment(&mut text, &words);
        assert!(text.lines().all(|line| line.len() <= WIDTH));
        assert_eq!(text.matches("word").count(), 60);
    }
}
