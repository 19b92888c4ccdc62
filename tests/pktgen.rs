//! The Lua scripts of `bench/pktgen`, run against a stand-in for Pktgen-DPDK: its functions with
//! their arguments, a link of 10 Gbit/s and an appliance of a certain speed
//! (`tests/pktgen/stand_in.lua`). Needs `lua5.4`, `lua-check` and `curl`. What they do to a port is
//! not seen here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SCRIPTS: [&str; 5] = ["min64", "imix", "flows", "attacks", "no-loss"];

/// Frames of 64 bytes that 10 Gbit/s carry in a second.
const LINE_RATE: f64 = 14_880_952.0;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn script(name: &str) -> PathBuf {
    root().join(format!("bench/pktgen/{name}.lua"))
}

/// Run a script, with these variables and no others of its own.
fn start(name: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("lua5.4");
    command
        .arg(root().join("tests/pktgen/stand_in.lua"))
        .arg(script(name))
        .envs(variables.iter().copied());
    for variable in ["PORT", "SECONDS", "RATE", "METRICS", "PACKETS"] {
        let variable = format!("WIRELYNX_{variable}");
        if !variables.iter().any(|(name, _)| *name == variable) {
            command.env_remove(variable);
        }
    }
    let told = "lua5.4 is needed (Debian: package lua5.4)";
    command.output().expect(told)
}

/// What a script printed, that must have succeeded.
fn run(name: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let output = start(name, variables);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The same, with an appliance that passes so many packets a second.
fn run_with_appliance(name: &str, capacity: &str, more: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics");
    let file = file.to_str().unwrap();
    let address = format!("file://{file}");
    let mut variables = vec![
        ("STAND_IN_METRICS", file),
        ("STAND_IN_CAPACITY", capacity),
        ("WIRELYNX_METRICS", &address),
    ];
    variables.extend(more);
    run(name, &variables)
}

/// Places of lines that begin so.
fn places(lines: &[String], beginning: &str) -> Vec<usize> {
    let found = (0..).zip(lines).filter(|(_, l)| l.starts_with(beginning));
    found.map(|(place, _)| place).collect()
}

#[test]
fn the_scripts_are_lua_without_a_warning() {
    let output = Command::new("luacheck")
        .args(["--no-color", "--std", "lua54", "--globals", "pktgen"])
        .args(["--max-line-length", "100"])
        .args([root().join("bench/pktgen"), root().join("tests/pktgen")])
        .output()
        .expect("luacheck is needed (Debian: package lua-check)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("0 warnings / 0 errors in 8 files"), "{text}");
}

#[test]
fn every_script_stops_what_it_started_and_quits() {
    for name in SCRIPTS {
        let lines = run_with_appliance(name, "1e9", &[("WIRELYNX_PACKETS", "1000")]);
        let (starts, stops) = (
            places(&lines, "call start 0"),
            places(&lines, "call stop 0"),
        );
        assert!(!starts.is_empty(), "{name}");
        assert_eq!(
            stops.len(),
            starts.len() + 1,
            "{name}: once before it begins"
        );
        for (start, stop) in starts.iter().zip(&stops[1..]) {
            assert!(start < stop, "{name}");
            assert_eq!(
                lines[start - 1],
                "call delay 2500",
                "{name}: cleared, and shown"
            );
            assert_eq!(lines[start - 2], "call clr", "{name}");
            assert_eq!(lines[start + 1], "call delay 30000", "{name}: 30 s");
            // Statistics are those of a second ago.
            assert_eq!(lines[stop + 1], "call delay 2500", "{name}");
            assert_eq!(lines[stop + 2], "call portStats 0 port", "{name}");
        }
        assert_eq!(lines.last().unwrap(), "call quit", "{name}");
    }
}

#[test]
fn traffic_is_set_up_before_it_is_sent() {
    for (name, setting) in [
        ("min64", "call set_range 0 on"),
        ("imix", "call set 0 seq_cnt 12"),
        ("flows", "call set_range 0 on"),
        ("attacks", "call pcap 0 on"),
        ("no-loss", "call set_range 0 on"),
    ] {
        let lines = run_with_appliance(name, "1e9", &[("WIRELYNX_PACKETS", "1000")]);
        let set = places(&lines, setting);
        let starts = places(&lines, "call start");
        assert!(set[0] < starts[0], "{name}");
        let link = places(&lines, "call linkState");
        assert!(link[0] < starts[0], "{name}: the link is waited for");
    }
}

#[test]
fn a_trial_takes_its_port_time_and_rate_from_the_environment() {
    let lines = run(
        "min64",
        &[("WIRELYNX_SECONDS", "5"), ("WIRELYNX_RATE", "12.5")],
    );
    assert_eq!(places(&lines, "call set 0 rate 12.5").len(), 1);
    assert_eq!(places(&lines, "call delay 5000").len(), 1);
    let last = &lines[places(&lines, "min64: rate")[0]];
    assert!(last.contains("sent 9300595,"), "5 s of an eighth: {last}");
    let failed = start("min64", &[("WIRELYNX_SECONDS", "soon")]);
    let told = String::from_utf8_lossy(&failed.stderr);
    let expected = "WIRELYNX_SECONDS: 'soon' is not possible; expected a number from 1 to 86400";
    assert!(told.contains(expected), "{told}");
    assert!(!failed.status.success());
    assert!(!String::from_utf8_lossy(&failed.stdout).contains("call start"));
}

#[test]
fn a_link_that_is_down_ends_the_script() {
    let output = start("min64", &[("STAND_IN_LINK", "<--Down-->")]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("port 0: its link is down"), "{told}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said.matches("call delay 500").count(),
        20,
        "10 s are waited"
    );
    assert!(!said.contains("call start"));
}

#[test]
fn the_ramp_has_the_flows_that_it_says() {
    let lines = run_with_appliance("flows", "1e9", &[("STAND_IN_FLOWS", "yes")]);
    let counted: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("flows "))
        .filter(|rest| !rest.contains(':'))
        .collect();
    assert_eq!(counted, ["1056", "10100", "100172", "1001000"]);
    for flows in counted {
        let lines_of = places(&lines, &format!("flows {flows}: rate"));
        assert_eq!(lines_of.len(), 1, "{flows}");
    }
}

#[test]
fn imix_is_seven_four_and_one() {
    let lines = run("imix", &[]);
    let sizes: Vec<&str> = lines
        .iter()
        .filter(|line| line.starts_with("call seq "))
        .map(|line| line.split(' ').nth_back(1).unwrap())
        .collect();
    for (size, count) in [("64", 7), ("594", 4), ("1518", 1)] {
        let found = sizes.iter().filter(|one| **one == size).count();
        assert_eq!(found, count, "{size}");
    }
    assert_eq!(sizes.len(), 12);
    // 12 frames take (7 * 84 + 4 * 614 + 1538) bytes of the link.
    assert!(lines.contains(&"imix: line rate is 3273680 a second".to_owned()));
}

#[test]
fn attacks_are_sent_once_and_slowly() {
    let lines = run_with_appliance("attacks", "1e9", &[("WIRELYNX_PACKETS", "2500")]);
    assert_eq!(places(&lines, "call set 0 count 2500").len(), 1);
    assert_eq!(places(&lines, "call set 0 rate 0.1").len(), 1);
    let told = lines.iter().find(|line| line.starts_with("attacks: rate"));
    assert!(told.unwrap().contains("passed 2500, lost 0"), "{told:?}");
    // The stand-in has two rules, and an alert of each for every thousand packets.
    assert!(lines.contains(&"attacks: alerts 4".to_owned()));
    let failed = start("attacks", &[]);
    assert!(!failed.status.success());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("WIRELYNX_PACKETS"));
}

#[test]
fn the_search_ends_just_below_what_the_appliance_can() {
    for capacity in [900_000_u32, 9_000_000, 14_000_000] {
        let lines = run_with_appliance("no-loss", &capacity.to_string(), &[]);
        let result = &lines[places(&lines, "no-loss: ")
            .into_iter()
            .rev()
            .nth(1)
            .unwrap()];
        let words: Vec<&str> = result.split(' ').collect();
        let rate: f64 = words[6].parse().unwrap();
        let precision = LINE_RATE / 1000.0;
        let below = f64::from(capacity) - rate;
        assert!((-1.0..=precision).contains(&below), "{capacity}: {result}");
        assert!(places(&lines, "call start").len() <= 12, "{capacity}");
    }
    // Nothing to search for where line rate has no loss.
    let lines = run_with_appliance("no-loss", "15000000", &[]);
    assert_eq!(places(&lines, "call start").len(), 1);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("no-loss: 100.0000 %"))
    );
}

#[test]
fn the_search_needs_the_metrics_of_an_appliance() {
    let output = start("no-loss", &[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("WIRELYNX_METRICS"));
    for (address, told) in [
        ("file:///nowhere", "no metrics of an appliance"),
        ("http://a'; true '", "is no address"),
    ] {
        let output = start("no-loss", &[("WIRELYNX_METRICS", address)]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(told), "{errors}");
    }
}
