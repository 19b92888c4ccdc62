//! Findings about rule files as JSON, for editors and scripts; `docs/findings.schema.json`
//! describes it.

use super::load::Loaded;
use crate::diagnostic::Diagnostic;
use serde::Serialize;

/// What is in a finding. A finding about a file as a whole has no place in it.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    file: &'a str,
    #[serde(flatten)]
    place: Option<Place>,
    severity: &'static str,
    message: &'a str,
    expected: &'a str,
    help: &'a str,
}

#[derive(Debug, Serialize)]
struct Place {
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

#[derive(Debug, Serialize)]
struct Summary {
    files: usize,
    properties: usize,
    errors: usize,
    warnings: usize,
}

/// One document: what was read, and the findings, one a line.
pub fn to_json(loaded: &Loaded) -> serde_json::Result<String> {
    let summary = serde_json::to_string(&Summary {
        files: loaded.files,
        properties: loaded.properties.len(),
        errors: loaded.errors(),
        warnings: loaded.warnings(),
    })?;
    let findings = loaded.diagnostics.iter();
    let findings: Vec<String> = findings
        .map(|found| Ok(format!("\n  {}", serde_json::to_string(&finding(found))?)))
        .collect::<serde_json::Result<_>>()?;
    let end = if findings.is_empty() { "" } else { "\n" };
    let summary = summary.trim_end_matches('}');
    let findings = findings.join(",");
    Ok(format!("{summary},\"findings\":[{findings}{end}]}}\n"))
}

fn finding(found: &Diagnostic) -> Finding<'_> {
    let place = Place {
        line: found.line,
        column: found.column,
        end_line: found.end.0,
        end_column: found.end.1,
    };
    Finding {
        file: &found.file,
        place: (found.line > 0).then_some(place),
        severity: found.severity.name(),
        message: &found.message,
        expected: &found.expected,
        help: &found.help,
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use crate::expr::Mode;
    use serde_json::Value;

    const SCHEMA: &str = include_str!("../../docs/findings.schema.json");

    fn found(text: &str) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.xml");
        std::fs::write(&file, text).unwrap();
        let gone = folder.path().join("gone.xml");
        let paths = [file, gone].map(|path| path.display().to_string());
        let json = to_json(&load::read(&paths, Mode::Standard)).unwrap();
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn findings_have_their_place_from_start_to_end() {
        let all = found(
            "<beginning>\n<property property_id=\"1\">\n  <event \
             boolean_expression=\"(&quot;ä&quot; == 1)\"/></property>\n<x/></beginning>",
        );
        let counts = ["files", "properties", "errors"].map(|name| all[name].as_u64().unwrap());
        assert_eq!(counts, [2, 0, 3], "{all}");
        let findings = all["findings"].as_array().unwrap();
        let unexpected = &findings[1];
        let place = ["line", "column", "end_line", "end_column"];
        let place = place.map(|name| unexpected[name].as_u64().unwrap());
        assert_eq!(place, [4, 1, 4, 3], "{all}");
        assert_eq!(unexpected["severity"], "error");
        assert_eq!(unexpected["message"], "`<x>` has no place here");
        let of_file = &findings[2];
        assert!(of_file["file"].as_str().unwrap().ends_with("gone.xml"));
        assert!(of_file.get("line").is_none(), "{of_file}");
    }

    /// Every key is in the schema, and every key that the schema requires is there.
    #[test]
    fn the_schema_describes_what_is_written() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let all = found("<beginning>\n<property/></beginning>");
        let check = |value: &Value, schema: &Value| {
            let value = value.as_object().unwrap();
            let known = schema["properties"].as_object().unwrap();
            assert_eq!(schema["additionalProperties"], false);
            assert!(value.keys().all(|key| known.contains_key(key)), "{value:?}");
            for key in schema["required"].as_array().unwrap() {
                assert!(
                    value.contains_key(key.as_str().unwrap()),
                    "{key}: {value:?}"
                );
            }
        };
        check(&all, &schema);
        let findings = all["findings"].as_array().unwrap();
        assert!(findings.len() > 1);
        for found in findings {
            check(found, &schema["properties"]["findings"]["items"]);
        }
        assert!(found("<beginning/>")["findings"].is_array());
    }
}
