//! `wirelynx config` from outside: what is wrong, what counts and where it comes from; and the
//! files under `docs/` that are made from the same table as the checks.
#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use toml::Table;
use wirelynx::config::table::{KEYS, Kind, SECTIONS, default_of};

/// Exit status, standard output, standard error.
struct Ended(i32, String, String);

/// A folder with files.
struct Place(TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = place.0.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        place
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_wirelynx"))
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status.code().unwrap();
        Ended(status, text(&output.stdout), text(&output.stderr))
    }
}

fn wirelynx(arguments: &[&str]) -> Ended {
    Place::new(&[]).run(arguments, &[])
}

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name)
}

/// A file under `docs/` is what the program prints. With `WIRELYNX_BLESS` set it is written.
fn is_printed(name: &str, arguments: &[&str]) {
    let Ended(status, printed, errors) = wirelynx(arguments);
    assert_eq!(status, 0, "{errors}");
    if std::env::var_os("WIRELYNX_BLESS").is_some() {
        std::fs::write(document(name), &printed).unwrap();
    }
    let kept = std::fs::read_to_string(document(name)).unwrap();
    assert!(
        kept == printed,
        "docs/{name} is not what {arguments:?} prints"
    );
}

#[test]
fn the_sample_and_the_schema_are_made_from_the_table() {
    is_printed("wirelynx.toml", &["config", "sample"]);
    is_printed("config.schema.json", &["config", "schema"]);
}

/// Each key has above it what values it has, its default and what a change takes, and the range
/// there is the one that a check enforces.
#[test]
fn the_sample_says_the_range_that_is_enforced() {
    let sample = std::fs::read_to_string(document("wirelynx.toml")).unwrap();
    let plain = sample.replace("\n# ", " ");
    let mut section = "";
    for (name, _) in SECTIONS {
        assert!(sample.contains(&format!("\n[{name}]\n")), "{name}");
    }
    for key in KEYS {
        let (table, name) = key.name.split_once('.').unwrap();
        if table != section {
            section = table;
        }
        let part = plain.split(&format!("\n[{section}]")).nth(1).unwrap();
        let (above, _) = part.split_once(&format!("\n{name} = ")).unwrap();
        let above = above.rsplit("\n\n").next().unwrap();
        let default = default_of(key.name).unwrap();
        for part in [
            format!("[{};", key.kind.expected()),
            format!(" default {default};"),
        ] {
            assert!(above.contains(&part), "{}: {above}", key.name);
        }
        let Kind::Number {
            least, most, step, ..
        } = key.kind
        else {
            continue;
        };
        assert!(above.contains(&least.to_string()), "{}", key.name);
        if let Some(more) = most.checked_add(step).filter(|n| i64::try_from(*n).is_ok()) {
            let setting = format!("{}={more}", key.name);
            let Ended(status, said, _) = wirelynx(&["config", "check", "-X", &setting]);
            assert_eq!(status, 2, "{setting}");
            let expected = format!("{more} is not possible; expected {}", key.kind.expected());
            assert!(said.contains(&expected), "{said}");
        }
    }
}

/// What Python's validator says of each document.
fn validate(schema: &Value, documents: &[Value]) -> Vec<bool> {
    const SCRIPT: &str = "
import json, sys
from jsonschema import Draft202012Validator
schema, documents = json.load(sys.stdin)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
print(json.dumps([validator.is_valid(document) for document in documents]))
";
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("packages python3 and python3-jsonschema: {error}"));
    let mut input = python.stdin.take().unwrap();
    input
        .write_all(json!([schema, documents]).to_string().as_bytes())
        .unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "python3-jsonschema is needed");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_schema_allows_what_a_check_allows() {
    let Ended(_, schema, _) = wirelynx(&["config", "schema"]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let sample = std::fs::read_to_string(document("wirelynx.toml")).unwrap();
    let sample: Table = sample.parse().unwrap();
    let mut documents = vec![
        json!(sample),
        json!({}),
        json!({"capture": {"queue": 3}}),
        json!({"captur": {}}),
        json!({"capture": 3}),
    ];
    let mut verdicts = vec![true, true, false, false, false];
    let mut add = |key: &wirelynx::config::table::Key, value: Value| {
        let (section, name) = key.name.split_once('.').unwrap();
        let as_toml = toml::Value::try_from(&value).unwrap();
        documents.push(json!({section: {name: value}}));
        verdicts.push(key.kind.allows(&as_toml));
    };
    for key in KEYS {
        for value in [
            json!(true),
            json!(3),
            json!(-1),
            json!(1.5),
            json!("x"),
            json!(""),
            json!("mmt"),
            json!("127.0.0.1:9477"),
            json!("[::1]:9477"),
            json!("(1:1-4,6)(2:5)"),
            json!("(1"),
            json!(["x"]),
            json!([3]),
            json!([1_024]),
            json!([["a", "b"]]),
            json!([["a"]]),
        ] {
            add(key, value);
        }
        if let Kind::Number {
            least, most, step, ..
        } = key.kind
        {
            let near = [least, most, least + 1, most - step];
            let beyond = [least.checked_sub(step), most.checked_add(step)];
            let numbers = near.into_iter().chain(beyond.into_iter().flatten());
            for number in numbers.filter(|n| i64::try_from(*n).is_ok()) {
                add(key, json!(number));
            }
        }
    }
    let found = validate(&schema, &documents);
    assert_eq!(found.len(), verdicts.len());
    for ((document, found), expected) in documents.iter().zip(found).zip(verdicts) {
        assert_eq!(found, expected, "{document}");
    }
}

#[test]
fn a_check_says_everything_at_once() {
    let place = Place::new(&[
        ("w.toml", "[capture]\nqueue = 4\ndescriptors = 1\n"),
        ("conf.d/10.toml", "[rules]\nstrict = 1\n"),
    ]);
    let check = ["config", "check", "-c", "w.toml", "-X", "workers.count=65"];
    let variables = [("WIRELYNX_IDLE__POLL_US", "x")];
    let Ended(status, said, errors) = place.run(&check, &variables);
    assert_eq!(
        (status, errors.as_str()),
        (2, "wirelynx: see the errors above\n")
    );
    let places: Vec<&str> = said
        .lines()
        .filter_map(|l| l.split(": error: ").next())
        .collect();
    assert_eq!(
        places[..5],
        [
            "w.toml:2",
            "w.toml:3",
            "conf.d/10.toml:2",
            "environment WIRELYNX_IDLE__POLL_US",
            "-X workers.count=65",
        ]
    );
    assert!(said.contains("did you mean 'capture.queues'?"), "{said}");
    assert!(said.ends_with("errors: 5, warnings: 2\n"), "{said}");

    let Ended(status, said, _) = place.run(&[&check[..], &["--json"]].concat(), &[]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["errors"]), (2, &json!(4)));
    assert_eq!(said["findings"][1]["place"], "w.toml:3");
    assert_eq!(said["findings"][1]["key"], "capture.descriptors");
    assert_eq!(said["findings"][1]["severity"], "error");

    // Other commands refuse it with the same words.
    let Ended(status, _, errors) = place.run(&["reload", "-c", "w.toml"], &[]);
    assert_eq!(status, 2);
    assert_eq!(errors.lines().count(), 3, "{errors}");
    let Ended(status, shown, _) = place.run(&["config", "show", "-c", "w.toml"], &[]);
    assert_eq!((status, shown.as_str()), (2, ""));
}

#[test]
fn what_counts_is_shown_with_its_origin() {
    let place = Place::new(&[
        (
            "w.toml",
            "[capture]\nqueues = 1\npackets_max = 9\n[metrics]\ntoken_file = 'token'\n",
        ),
        ("conf.d/20.toml", "[capture]\nqueues = 3\n"),
        (
            "conf.d/10.toml",
            "[capture]\nqueues = 2\ndescriptors = 64\n",
        ),
        ("token", "s3cret\n"),
    ]);
    let variables = [("WIRELYNX_OUTPUT__FLOWS", "-"), ("WIRELYNX_LOG", "info")];
    let show = ["config", "show", "-c", "w.toml", "-X", "idle.poll_us=7"];
    let Ended(status, shown, _) = place.run(&show, &variables);
    assert_eq!(status, 0);
    for line in [
        "queues = 3  # conf.d/20.toml:2",
        "descriptors = 64  # conf.d/10.toml:3",
        "packets_max = 9  # w.toml:3",
        "token_file = \"token\"  # w.toml:5",
        "flows = \"-\"  # environment WIRELYNX_OUTPUT__FLOWS",
        "poll_us = 7  # -X idle.poll_us=7",
        "pause_us = 1000  # default",
    ] {
        assert!(shown.contains(&format!("\n{line}\n")), "{line}:\n{shown}");
    }
    let Ended(_, json, _) = place.run(&[&show[..], &["--json"]].concat(), &variables);
    assert!(!shown.contains("s3cret") && !json.contains("s3cret"));
    let json: Value = serde_json::from_str(&json).unwrap();
    let queues = json!({"value": 3, "from": "conf.d/20.toml:2"});
    assert_eq!(json["capture"]["queues"], queues);
    // What is shown is a file that gives the same.
    let values = |text: &str| text.parse::<Table>().unwrap();
    let again = Place::new(&[("shown.toml", &shown), ("token", "s3cret\n")]);
    let Ended(_, second, _) = again.run(&["config", "show", "-c", "shown.toml"], &[]);
    assert_eq!(values(&shown), values(&second));
}

#[test]
fn a_token_that_everybody_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new(&[("token", "s3cret\n")]);
    let check = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.0.path().join("token"), permissions).unwrap();
        place.run(&["config", "check", "-X", "metrics.token_file=token"], &[])
    };
    let Ended(status, said, _) = check(0o644);
    assert!(status == 0 && said.contains("chmod o-rwx token"), "{said}");
    let Ended(status, said, _) = check(0o600);
    assert!(status == 0 && !said.contains("chmod"), "{said}");
}

/// The page shows what the program prints.
#[test]
fn the_page_is_real() {
    let page = std::fs::read_to_string(document("configuration.md")).unwrap();
    let blocks: Vec<&str> = page
        .split("```console\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 2);
    let mut files = Vec::new();
    for block in blocks {
        for part in block.split("$ ").skip(1) {
            let (command, shown) = part.split_once('\n').unwrap();
            if let Some(name) = command.strip_prefix("cat ") {
                files.push((name, shown));
                continue;
            }
            let place = Place::new(&files);
            let (command, filter) = command.split_once(" | grep ").unwrap_or((command, ""));
            let arguments: Vec<&str> = command.split(' ').skip(1).collect();
            let Ended(_, said, errors) = place.run(&arguments, &[]);
            let all = said + &errors;
            let kept: Vec<&str> = all.lines().filter(|line| line.contains(filter)).collect();
            assert_eq!(shown.trim_end(), kept.join("\n"), "{command}");
        }
    }
}
