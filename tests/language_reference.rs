//! rules/README.md, the reference of the language: each of its examples loads, and without a
//! finding; and there is one for everything.
#![allow(
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

use std::path::{Path, PathBuf};
use wirelynx::expr::functions::FUNCTIONS;
use wirelynx::expr::functions::lists::Lists;
use wirelynx::expr::{Context, Mode, read};
use wirelynx::rules::load::read_bytes;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

fn lists() -> Lists {
    Lists::new(vec![PathBuf::from("rules/lists")])
}

/// Cells of a line of a table; `\\|` does not end one.
fn cells(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "\u{0}");
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    let cells = inner.split('|');
    cells
        .map(|cell| cell.trim().replace('\u{0}', "|"))
        .collect()
}

/// What stands in the columns `example` of the tables of a document.
fn examples(text: &str) -> Vec<String> {
    let mut column = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if !line.starts_with('|') {
            column = None;
            continue;
        }
        let cells = cells(line);
        match column {
            None => column = Some(cells.iter().position(|cell| cell == "example")),
            Some(Some(column)) => {
                let cell: &String = &cells[column];
                let code = cell.strip_prefix('`').and_then(|c| c.strip_suffix('`'));
                found.extend(code.map(str::to_owned));
            }
            Some(None) => {}
        }
    }
    found
}

/// Is it a condition? Else it is attributes of a property.
fn is_condition(example: &str) -> bool {
    example.starts_with(['(', '#'])
}

fn findings(example: &str) -> Vec<String> {
    let (lists, mode) = (lists(), Mode::Standard);
    if is_condition(example) {
        let mut problems = Vec::new();
        let context = Context::event(2, 2, Some(&lists));
        let found = read(example, mode, context, &mut problems);
        assert!(found.is_some() || !problems.is_empty());
        return problems.into_iter().map(|p| p.message).collect();
    }
    let value = match example.contains("value=") {
        true => "",
        false => "value=\"THEN\"",
    };
    // In this order both parts are there only under THEN and NOT.
    let looks_back = example.contains("=\"-");
    let is_ordered = value.is_empty() && !example.contains("THEN") && !example.contains("NOT");
    let second = match (example.contains("COMPUTE"), looks_back || is_ordered) {
        (true, _) => "",
        (false, true) => "<event boolean_expression=\"(tcp.syn == 1)\"/>",
        (false, false) => "<event boolean_expression=\"(ip.src == ip.dst.1)\"/>",
    };
    let text = format!(
        "<beginning><property property_id=\"1\" {value} {example}>\
         <event boolean_expression=\"(tcp.rst == 1)\"/>{second}</property></beginning>"
    );
    let found = read_bytes("example", text.as_bytes(), mode, &lists).diagnostics;
    let told = found.iter().filter(|found| {
        // These two events are about nobody.
        !found.message.starts_with("no equality ties")
    });
    told.map(|found| found.message.clone()).collect()
}

#[test]
fn examples_in_tables_load() {
    let examples = examples(&document("rules/README.md"));
    for example in &examples {
        let found = findings(example);
        assert!(found.is_empty(), "{example}: {found:?}");
    }
    assert!(!findings("(tcp.flags == 0xfg)").is_empty());
    assert!(!findings("value=\"AND\" delay_min=\"-1\"").is_empty());
}

#[test]
fn there_is_an_example_of_everything() {
    let examples = examples(&document("rules/README.md"));
    let missing = |wanted: &str| !examples.iter().any(|example| example.contains(wanted));
    for function in FUNCTIONS {
        let call = format!("#{}(", function.name);
        assert!(!missing(&call), "no example of {call}");
    }
    for operator in ["THEN", "BEFORE", "AND", "OR", "NOT", "COMPUTE"] {
        assert!(!missing(&format!("value=\"{operator}\"")), "{operator}");
    }
    for unit in ["Y", "M", "D", "H", "m", "s", "ms", "mms"] {
        assert!(!missing(&format!("delay_units=\"{unit}\"")), "{unit}");
    }
    for sign in ["&&", "||", " == ", " != ", " > ", " <= ", " - "] {
        assert!(!missing(sign), "{sign}");
    }
    for literal in [
        "0x",
        " -5",
        "'GET'",
        "192.0.2.1",
        "ff02::1",
        "ff:ff:ff",
        "0/8",
        "true",
    ] {
        assert!(!missing(literal), "{literal}");
    }
    for bound in ["=\"5\"", "=\"5+\"", "=\"5-\"", "=\"-5\""] {
        assert!(!missing(bound), "{bound}");
    }
}

/// Rule files between fences, in the documents for authors.
#[test]
fn rule_files_in_documents_load() {
    let mut count = 0;
    for name in ["rules/README.md", "docs/rules.md", "docs/rule-tools.md"] {
        let text = document(name);
        for piece in text.split("```xml\n").skip(1) {
            let block = piece.split("```").next().unwrap();
            let read = read_bytes(name, block.as_bytes(), Mode::Standard, &lists());
            let found = read.diagnostics.first();
            assert!(found.is_none(), "{}", found.unwrap().render(false));
            assert!(!read.properties.is_empty());
            count += 1;
        }
    }
    assert_eq!(count, 4);
}
