//! The tools of a rule author, from outside: what they print, and what they draw.
//!
//! `tests/golden/rules-explain/` holds what `rules explain` says of some of our rules, and of rules
//! with every operator. With `WIRELYNX_BLESS` set, the texts are written instead of compared: look
//! at the difference before you keep it.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const OPERATORS: &str = "tests/golden/rules-explain/operators.xml";

/// Rules that are explained: where, which, and the name of what is kept.
const EXPLAINED: [(&str, u32, &str); 9] = [
    ("rules/access/ssh-brute-force/rule.xml", 1001, "1001"),
    ("rules/http/nikto/rule.xml", 1002, "1002"),
    ("rules/fragments/tiny-first/rule.xml", 1033, "1033"),
    ("rules/scans/refused-ports/rule.xml", 1021, "1021"),
    ("rules/icmp/redirect-flood/rule.xml", 1012, "1012"),
    (OPERATORS, 1, "operators-1"),
    (OPERATORS, 2, "operators-2"),
    (OPERATORS, 3, "operators-3"),
    (OPERATORS, 4, "operators-4"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Run the program from the root of the repository; status, output, errors.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    run_in(root(), arguments)
}

/// The same, from another folder.
fn run_in(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wirelynx"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("WIRELYNX_LOG")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn explain(file: &str, id: u32, more: &[&str]) -> String {
    let id = id.to_string();
    let all = [&["rules", "explain", &id, file], more].concat();
    let (status, text, errors) = run(&all);
    assert_eq!(status, Some(0), "{all:?}: {errors}");
    text
}

#[test]
fn explanations_are_as_recorded() {
    for (file, id, name) in EXPLAINED {
        let found = explain(file, id, &[]);
        let kept: PathBuf = root().join(format!("tests/golden/rules-explain/{name}.txt"));
        if std::env::var_os("WIRELYNX_BLESS").is_some() {
            fs::write(&kept, &found).unwrap();
        }
        let expected = fs::read_to_string(&kept).unwrap_or_default();
        assert!(found == expected, "{kept:?} has changed:\n{found}");
    }
}

/// What a drawing holds: ids of its groups by class, and all text that is shown or a title.
#[derive(Default)]
struct Drawing {
    nodes: BTreeSet<String>,
    edges: BTreeSet<String>,
    titles: Vec<String>,
    shown: String,
}

/// Read a drawing; it must be well-formed XML, with every id once.
fn read(svg: &str) -> Drawing {
    let mut reader = Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    let mut drawing = Drawing::default();
    let mut open: Vec<String> = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(element) => {
                let name = element.name().as_ref().to_owned();
                let value = |name: &str| {
                    let found = element.try_get_attribute(name).unwrap();
                    found.map(|found| found.value.into_owned())
                };
                let class = value("class").unwrap_or_default();
                if let Some(id) = value("id").filter(|_| name == "g") {
                    let ids = match class.starts_with("edge") {
                        true => &mut drawing.edges,
                        false => &mut drawing.nodes,
                    };
                    assert!(ids.insert(id), "twice in {svg}");
                }
                if name == "title" {
                    drawing.titles.push(String::new());
                }
                open.push(name);
            }
            Event::End(_) => {
                open.pop().unwrap();
            }
            Event::Text(text) => {
                drawing.add(&open, &text);
            }
            Event::GeneralRef(name) => {
                let text = match &*name {
                    "amp" => "&",
                    "lt" => "<",
                    "gt" => ">",
                    "quot" => "\"",
                    "#39" => "'",
                    other => panic!("{other} in {svg}"),
                };
                drawing.add(&open, text);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    drawing
}

impl Drawing {
    fn add(&mut self, open: &[String], text: &str) {
        match open.last().map(String::as_str) {
            Some("title") => self.titles.last_mut().unwrap().push_str(text),
            Some("text") => self.shown.push_str(text),
            _ => {}
        }
    }
}

#[test]
fn drawings_hold_every_state_and_edge() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rule.svg").display().to_string();
    for (rules, id, _) in EXPLAINED {
        let text = explain(rules, id, &["--svg", &file]);
        let svg = fs::read_to_string(&file).unwrap();
        assert_eq!(explain(rules, id, &["--svg", "-"]), svg);
        let drawing = read(&svg);
        let (_, automaton) = text.split_once("\nautomaton\n").unwrap();
        let (automaton, _) = automaton.split_once("\n\n").unwrap();
        let mut states = BTreeSet::new();
        let mut edges = 0;
        let mut state = "";
        for line in automaton.lines() {
            if let Some((label, to)) = line.split_once(" -> ") {
                edges += 1;
                let to = to.split(',').next().unwrap();
                let title = format!("{state} to {to}: {}", label.trim_start());
                let is_there = drawing.titles.iter().any(|found| found.starts_with(&title));
                assert!(is_there, "{title}: {:?}", drawing.titles);
                assert!(drawing.shown.contains(label.trim_start()), "{label}");
            } else if !line.starts_with("   ") {
                state = line.trim_start().split(':').next().unwrap();
                states.insert(state.replace(' ', "-"));
                assert!(drawing.shown.contains(state), "{state}");
            }
        }
        assert_eq!(drawing.nodes, states, "rule {id}");
        assert_eq!(drawing.edges.len(), edges, "rule {id}");
        assert!(edges >= 2);
    }
    let signs = read(&explain(OPERATORS, 1, &["--svg", "-"]));
    assert_eq!(
        signs.titles[0],
        "property 1: Text with <signs> & \"quotes\""
    );
}

#[test]
fn a_drawing_is_not_written_over_a_rule() {
    let folder = tempfile::tempdir().unwrap();
    let rule = folder.path().join("rule.xml");
    fs::copy(root().join("rules/scans/refused-ports/rule.xml"), &rule).unwrap();
    let (folder, rule) = (
        folder.path().display().to_string(),
        rule.display().to_string(),
    );
    let (status, _, errors) = run(&["rules", "explain", "1021", &folder, "--svg", &rule]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("would write over the input"), "{errors}");
    assert!(fs::read_to_string(&rule).unwrap().contains("1021"));
    let (status, _, errors) = run(&["rules", "explain", "9", &folder]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("no property 9; there are 1021"), "{errors}");
}

/// Counts are those of a run; times are only sorted, and shares of one whole.
#[test]
fn a_profile_counts_what_rules_do() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("demo.pcap").display().to_string();
    let scenario = "bench/scenarios/demo.scenario";
    let generated = Command::new(env!("CARGO_BIN_EXE_wirelynx-traffic"))
        .args(["generate", scenario, "--seed", "1", "-o", &capture])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(generated.status.success());
    let folders = ["http/nikto", "scans/refused-ports", "icmp/redirect-flood"];
    let folders = folders.map(|folder| format!("rules/{folder}"));
    let paths = folders.iter().flat_map(|folder| ["--rules", folder]);
    let paths: Vec<&str> = paths.collect();
    let profile = [&["rules", "profile", &capture], &paths[..]].concat();
    let (status, json, errors) = run(&[&profile[..], &["--format", "json"]].concat());
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["is_part"], false);
    let rules = json["rules"].as_array().unwrap();
    let (_, alerts, _) = run(&[&["read", &capture], &paths[..]].concat());
    let mut times = Vec::new();
    let mut shares = 0.0;
    for rule in rules {
        let count = |name: &str| rule[name].as_u64().unwrap();
        let id = count("rule_id");
        let reported = format!("\"rule_id\":{id},");
        let reported = alerts
            .lines()
            .filter(|line| line.contains(&reported))
            .count();
        assert_eq!(count("alerts"), u64::try_from(reported).unwrap(), "{rule}");
        assert!(reported > 0 && count("steps") >= count("matches"), "{rule}");
        assert!(count("matches") >= count("alerts"), "{rule}");
        assert!(count("peak") <= count("created"), "{rule}");
        assert_eq!(count("evicted"), 0);
        times.push(rule["nanos_per_packet"].as_f64().unwrap());
        shares += rule["share"].as_f64().unwrap();
    }
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
    assert!(shares == 0.0 || (shares - 1.0).abs() < 0.02, "{shares}");

    let (status, table, _) = run(&[&profile[..], &["--packets", "10"]].concat());
    assert_eq!(status, Some(0));
    assert_eq!(table.lines().count(), rules.len() + 2);
    assert!(
        table.ends_with("10 packets, the first ones; --packets reads more\n"),
        "{table}"
    );
    let (status, _, errors) = run(&["rules", "profile", &capture, "--rules", "nowhere"]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("rules: nowhere: No such"), "{errors}");
}

/// Rules of part of the library look into lists of all of it, wherever the program runs.
#[test]
fn lists_of_the_library_are_found_from_anywhere() {
    let elsewhere = tempfile::tempdir().unwrap();
    let malware = root().join("rules/malware");
    let relay = malware.join("tor-relay");
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(&malware, &link).unwrap();
    let rule = relay.join("rule.xml");
    let places: [(&Path, &Path); 7] = [
        (elsewhere.path(), &malware),
        (elsewhere.path(), &relay),
        (elsewhere.path(), &rule),
        (elsewhere.path(), Path::new("link")),
        (&malware, Path::new("tor-relay/rule.xml")),
        (&relay, Path::new(".")),
        (&relay, Path::new("rule.xml")),
    ];
    for (folder, path) in places {
        let (status, text, errors) = run_in(folder, &["rules", "check", path.to_str().unwrap()]);
        assert_eq!(status, Some(0), "{folder:?} {path:?}: {text}{errors}");
    }
}

#[test]
fn a_list_that_is_nowhere_is_an_error_that_says_where() {
    let place = tempfile::tempdir().unwrap();
    let base = place.path().canonicalize().unwrap();
    fs::create_dir_all(base.join("library/theme")).unwrap();
    fs::create_dir(base.join("library/lists")).unwrap();
    let condition = "(#in_list(ip.src, 'mine') == true)";
    let property = "<property property_id=\"7\" type_property=\"ATTACK\">";
    let event = format!("<event boolean_expression=\"{condition}\"/>");
    let text = format!("<beginning>{property}{event}</property></beginning>");
    fs::write(base.join("library/theme/rule.xml"), text).unwrap();
    let (status, findings, _) = run_in(&base, &["rules", "check", "library/theme"]);
    assert_eq!(status, Some(2), "{findings}");
    let looked = format!(
        "looked for mine.txt and mine in {}/library/lists",
        base.display()
    );
    let missing = format!(
        "there is no folder library/theme/lists, {}/lists",
        base.display()
    );
    let none = "there is no list `mine`";
    for part in [none, &looked, &missing, "rules/lists"] {
        assert!(findings.contains(part), "`{part}` is not in {findings}");
    }
    // Whoever runs with these rules is told as much.
    let capture = root().join("rules/malware/tor-relay/hit.pcap");
    let capture = capture.to_str().unwrap();
    let read = ["read", capture, "--rules", "library/theme"];
    let (_, _, errors) = run_in(&base, &read);
    assert!(
        errors.contains(none) && errors.contains(&looked),
        "{errors}"
    );
}
