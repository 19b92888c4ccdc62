//! Several capture files by time: what was captured in parts gives what the whole gives.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

#[path = "../bench/traffic/mod.rs"]
#[allow(dead_code, reason = "scenarios are all that this test generates")]
mod traffic;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;
use wirelynx::capture::writer::PcapWriter;
use wirelynx::packet::{Frame, LinkType};

/// The demo as it was captured whole, and by the direction of its packets.
fn captures() -> TempDir {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenario = fs::read_to_string(package.join("bench/scenarios/demo.scenario")).unwrap();
    let generated = traffic::generate(&scenario, 1).unwrap();
    let mut frames: Vec<Frame<'_>> = generated.iter().map(|frame| frame.view()).collect();
    let side = |frame: &Frame<'_>| match frame.data.get(26..34) {
        Some(ends) => usize::from(ends[..4] > ends[4..]),
        None => 0,
    };
    // Of equal times, those of the first file come first.
    frames.sort_by_key(|frame| (frame.timestamp, side(frame)));
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, wanted: &dyn Fn(&Frame<'_>) -> bool| {
        let mut writer = PcapWriter::new(Vec::new(), LinkType::ETHERNET).unwrap();
        for frame in frames.iter().filter(|frame| wanted(frame)) {
            writer.write(frame).unwrap();
        }
        fs::write(folder.path().join(name), writer.into_inner()).unwrap();
    };
    write("whole.pcap", &|_| true);
    write("first.pcap", &|frame| side(frame) == 0);
    write("second.pcap", &|frame| side(frame) == 1);
    folder
}

fn read(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wirelynx"))
        .arg("read")
        .args(arguments)
        .args(["--rules", concat!(env!("CARGO_MANIFEST_DIR"), "/rules")])
        .args(["--flows", "flows", "--stats"])
        .current_dir(folder.path())
        .env_remove("WIRELYNX_LOG")
        .output()
        .unwrap()
}

/// Alerts and flow records.
fn results(folder: &TempDir, arguments: &[&str]) -> [String; 2] {
    let output = read(folder, arguments);
    assert!(output.status.success(), "{output:#?}");
    let alerts = String::from_utf8(output.stdout).unwrap();
    [
        alerts,
        fs::read_to_string(folder.path().join("flows")).unwrap(),
    ]
}

#[test]
fn two_directions_give_what_the_whole_gives() {
    let folder = captures();
    let whole = results(&folder, &["whole.pcap"]);
    assert!(whole.iter().all(|text| text.lines().count() > 50));
    let parts = ["first.pcap", "second.pcap"];
    let merged = results(&folder, &[&["--merge"][..], &parts].concat());
    assert_eq!(merged, whole);
    let workers = ["--merge", "--workers", "2"];
    assert_eq!(results(&folder, &[&workers[..], &parts].concat()), whole);
    assert_ne!(results(&folder, &parts), whole, "one after the other");
}

#[test]
fn a_damaged_part_is_named_and_the_others_are_read() {
    let folder = captures();
    let mut bytes = fs::read(folder.path().join("second.pcap")).unwrap();
    bytes.truncate(bytes.len() - 1);
    fs::write(folder.path().join("cut.pcap"), bytes).unwrap();
    let output = read(&folder, &["--merge", "first.pcap", "cut.pcap"]);
    assert!(output.status.success(), "{output:#?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("WARN cut.pcap: damaged at byte"), "{text}");
    assert!(!text.contains("first.pcap"), "{text}");
    assert!(text.contains("(balances)"), "{text}");
}

#[test]
fn a_part_that_is_not_there_is_an_error() {
    let folder = captures();
    let output = read(&folder, &["--merge", "first.pcap", "nowhere.pcap"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("nowhere.pcap: "), "{text}");
}
