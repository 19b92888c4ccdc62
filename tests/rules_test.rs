//! `wirelynx rules test` from outside: when it passes, what it says when it does not, and how it
//! ends.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

#[path = "../bench/traffic/mod.rs"]
#[allow(dead_code, reason = "scenarios are all that this test generates")]
mod traffic;

use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Two pings, the first at 22:13:20 and the second a second later.
const SCENARIO: &str = "start 1700000000\nping 10.0.0.1 10.0.0.2 count=2 every=1s reply=no\n";

/// What the rule says about them.
const ALERTS: &str = "7 2 2023-11-14T22:13:20.000000Z\n";

/// A folder with one rule and one case, removed in the end.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let folder = place.path("library/theme/ping");
        std::fs::create_dir_all(folder).unwrap();
        place.rule("(icmp.type == 8)");
        place.write("hit.alerts", ALERTS);
        let mut capture = Vec::new();
        traffic::write_capture(&traffic::generate(SCENARIO, 1).unwrap(), &mut capture).unwrap();
        std::fs::write(place.path("library/theme/ping/hit.pcap"), capture).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Write a file of the rule folder.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("library/theme/ping").join(name), text).unwrap();
    }

    fn rule(&self, condition: &str) {
        let event = format!("<event boolean_expression=\"{condition}\"/>");
        let property = "<property property_id=\"7\" type_property=\"ATTACK\">";
        let text = format!("<beginning>{property}{event}</property></beginning>");
        self.write("rule.xml", &text);
    }

    /// Run `rules test`: its exit status, and what it prints.
    fn test(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_wirelynx"))
            .current_dir(self.0.path())
            .args(["rules", "test"])
            .args(arguments)
            .env_remove("WIRELYNX_CAPTURES")
            .env_remove("WIRELYNX_LOG")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code().unwrap(), text.concat())
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], status: i32, parts: &[&str]) {
        let (found, text) = self.test(arguments);
        assert_eq!(found, status, "{text}");
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    }
}

#[test]
fn what_is_expected_passes() {
    let place = Place::new();
    let table = "\
rule                case  expected  got   verdict
library/theme/ping  hit   7 x2      7 x2  ok

rule folders: 1, cases: 1, as expected: 1, failed: 0, errors: 0
";
    for folder in ["library", "library/theme", "library/theme/"] {
        let (status, text) = place.test(&[folder]);
        assert_eq!(status, 0, "{text}");
        assert_eq!(text.replace("theme//", "theme/"), table);
    }
}

#[test]
fn what_differs_is_shown_and_fails() {
    let place = Place::new();
    place.write("hit.alerts", "7 1 2023-11-14T22:13:20.000000Z\n");
    let difference = "theme/ping hit:\n  - 7 1 2023-11-14T22:13:20.000000Z\n  \
                      + 7 2 2023-11-14T22:13:20.000000Z\n";
    place.ends(&["library"], 1, &[difference, "FAILED", "failed: 1"]);
    // The same number, another time.
    place.write("hit.alerts", "7 2 2023-11-14T22:13:21.000000Z\n");
    place.ends(&["library"], 1, &["- 7 2 2023-11-14T22:13:21.000000Z"]);
    place.write("hit.alerts", "");
    place.ends(
        &["library"],
        1,
        &["+ 7 2 2023-11-14T22:13:20.000000Z", "none"],
    );
    place.write("hit.alerts", ALERTS);
    place.rule("(icmp.type == 0)");
    place.ends(&["library"], 1, &["- 7 2 2023-11-14T22:13:20.000000Z"]);
}

#[test]
fn what_is_missing_or_wrong_is_an_error() {
    let place = Place::new();
    place.write("miss.alerts", "");
    place.ends(&["library"], 2, &["miss.pcap is missing", "ERROR"]);
    std::fs::rename(
        place.path("library/theme/ping/hit.pcap"),
        place.path("library/theme/ping/miss.pcap"),
    )
    .unwrap();
    place.ends(
        &["library"],
        2,
        &["hit.pcap is missing", "failed: 1, errors: 1"],
    );
    std::fs::remove_file(place.path("library/theme/ping/hit.alerts")).unwrap();
    std::fs::remove_file(place.path("library/theme/ping/miss.alerts")).unwrap();
    place.ends(&["library"], 2, &["miss.alerts: No such file"]);
    std::fs::remove_file(place.path("library/theme/ping/miss.pcap")).unwrap();
    place.ends(&["library"], 2, &["no case: expected NAME.pcap"]);

    let place = Place::new();
    place.write("hit.alerts", "7 twice\n");
    place.ends(
        &["library"],
        2,
        &["hit.alerts, line 1: `7 twice`: expected `ID COUNT TIME`"],
    );
    place.write("hit.alerts", ALERTS);
    place.write(
        "hit.pcap",
        "no capture at all, but long enough to be looked at",
    );
    place.ends(&["library"], 2, &["hit.pcap"]);

    let place = Place::new();
    place.rule("(icmp.tpye == 8)");
    place.ends(
        &["library"],
        2,
        &["rule.xml:1:", "unknown attribute `icmp.tpye`"],
    );
    std::fs::remove_file(place.path("library/theme/ping/rule.xml")).unwrap();
    place.ends(&["library"], 2, &["cases without a rule file (*.xml)"]);
    std::fs::remove_dir_all(place.path("library/theme")).unwrap();
    place.ends(&["library"], 2, &["library: no rule file (*.xml)"]);
    place.ends(&["elsewhere"], 2, &["elsewhere: No such file"]);
    place.ends(&[], 2, &["<DIR>"]);
}

#[test]
fn captures_elsewhere_run_where_they_are() {
    let place = Place::new();
    place.write("captures.txt", "# pings\nother/ping.pcap none\n");
    place.ends(
        &["library"],
        0,
        &[
            "other/ping.pcap  none      ",
            "not run",
            "NOT RUN: 1",
            "WIRELYNX_CAPTURES",
        ],
    );
    let captures = place.path("captures");
    std::fs::create_dir_all(captures.join("other")).unwrap();
    let run = ["library", "--captures", "captures"];
    place.ends(&run, 2, &["captures/other/ping.pcap: No such file"]);
    std::fs::copy(
        place.path("library/theme/ping/hit.pcap"),
        captures.join("other/ping.pcap"),
    )
    .unwrap();
    place.ends(
        &run,
        1,
        &["other/ping.pcap:\n  + 7 2 2023-11-14T22:13:20.000000Z"],
    );
    place.write("captures.txt", &format!("other/ping.pcap {ALERTS}"));
    place.ends(&run, 0, &["cases: 2, as expected: 2"]);
    place.write("captures.txt", "other/ping.pcap\n");
    place.ends(
        &run,
        2,
        &["captures.txt, line 1: `other/ping.pcap`: expected"],
    );
}

#[test]
fn renewing_writes_what_was_got() {
    let place = Place::new();
    place.write(
        "hit.alerts",
        "# both pings\n7 1 2023-11-14T22:13:21.000000Z\n",
    );
    place.ends(&["library", "--renew"], 0, &["7 x2", "written"]);
    let written = std::fs::read_to_string(place.path("library/theme/ping/hit.alerts")).unwrap();
    assert_eq!(written, format!("# both pings\n{ALERTS}"));
    place.ends(&["library"], 0, &["as expected: 1"]);
}

/// Lists may lie above the rule, so that the themes of a library share them.
#[test]
fn lists_above_the_rule_are_found() {
    let place = Place::new();
    place.rule("((icmp.type == 8) &amp;&amp; (#in_list(ip.src, 'mine') == true))");
    place.ends(&["library"], 2, &["mine"]);
    std::fs::create_dir(place.path("library/lists")).unwrap();
    std::fs::write(place.path("library/lists/mine.txt"), "10.0.0.0/24\n").unwrap();
    place.ends(&["library"], 0, &["as expected: 1"]);
    // Part of a library finds the lists of all of it.
    place.ends(&["library/theme"], 0, &["as expected: 1"]);
    place.ends(&["library/theme/ping"], 0, &["as expected: 1"]);
    // Lists that are named go before those above what was named.
    std::fs::create_dir(place.path("other")).unwrap();
    std::fs::write(place.path("other/mine.txt"), "10.9.0.0/24\n").unwrap();
    place.ends(&["library/theme", "--lists", "other"], 1, &["FAILED"]);
    place.ends(&["library", "--lists", "other"], 0, &["as expected: 1"]);
    place.ends(
        &["library/theme", "--lists", "library/lists"],
        0,
        &["as expected: 1"],
    );
}
