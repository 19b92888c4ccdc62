//! The scripts and the unit of `hugepages/`, on made-up machines of two NUMA nodes.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const SIZES: [&str; 2] = ["hugepages-2048kB", "hugepages-1048576kB"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hugepages")
}

/// A folder in the place of `/sys`, with nothing reserved.
fn machine() -> TempDir {
    let machine = tempfile::tempdir().unwrap();
    let nodes = ["node0", "node1"].map(|node| format!("devices/system/node/{node}/hugepages"));
    for place in nodes
        .iter()
        .map(String::as_str)
        .chain(["kernel/mm/hugepages"])
    {
        for size in SIZES {
            let pages = machine.path().join(place).join(size);
            fs::create_dir_all(&pages).unwrap();
            fs::write(pages.join("nr_hugepages"), "0\n").unwrap();
            fs::write(pages.join("free_hugepages"), "0\n").unwrap();
        }
    }
    machine
}

fn command(machine: &TempDir, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(folder().join(script));
    command
        .args(arguments)
        .env("WIRELYNX_SYSFS", machine.path());
    command
}

fn run(machine: &TempDir, script: &str, arguments: &[&str]) -> Output {
    command(machine, script, arguments).output().unwrap()
}

/// What it said on both outputs, after it ended with this status.
fn said(machine: &TempDir, script: &str, arguments: &[&str], status: i32) -> String {
    let output = run(machine, script, arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        output.status.code(),
        Some(status),
        "{script} {arguments:?}: {errors}"
    );
    String::from_utf8(output.stdout).unwrap() + &errors
}

fn reserved(machine: &TempDir, place: &str) -> String {
    let file = machine.path().join(place).join("nr_hugepages");
    fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn pages_are_reserved_where_they_are_wanted() {
    let machine = machine();
    let node = |node: u32, size: usize| {
        let size = SIZES[size];
        reserved(
            &machine,
            &format!("devices/system/node/node{node}/hugepages/{size}"),
        )
    };
    let text = said(&machine, "reserve", &["--node", "1", "512"], 0);
    assert_eq!(text, "256 pages of 2M reserved on node 1, 0 free\n");
    said(
        &machine,
        "reserve",
        &["--node", "0", "--pages", "3", "1G"],
        0,
    );
    said(&machine, "reserve", &["--node", "1", "1025", "1G"], 0);
    assert_eq!([node(0, 0), node(1, 0)], ["0", "256"]);
    assert_eq!([node(0, 1), node(1, 1)], ["3", "2"]);
    said(&machine, "reserve", &[], 0);
    let all = reserved(&machine, "kernel/mm/hugepages/hugepages-2048kB");
    assert_eq!(all, "512", "1 GiB when nothing is said");
    said(&machine, "reserve", &["--node", "1", "0"], 0);
    assert_eq!(node(1, 0), "0");
    let text = said(&machine, "reserve", &["--show"], 0);
    assert!(
        text.contains("node0 hugepages-1048576kB: 3 reserved, 0 free\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn a_file_names_them_by_line() {
    let machine = machine();
    let file = machine.path().join("pages");
    let path = file.to_str().unwrap();
    fs::write(
        &file,
        "# comment\n\n0 2M 100\n1 2M 200 # for port B\nall 1G 1\n",
    )
    .unwrap();
    let text = said(&machine, "reserve", &["--file", path], 0);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert_eq!(said(&machine, "verify", &["--file", path], 0), text);
    let node1 = "devices/system/node/node1/hugepages/hugepages-2048kB";
    assert_eq!(reserved(&machine, node1), "200");
    for (line, expected) in [
        ("0 2M", "line 2: expected NODE SIZE PAGES"),
        ("0 2M 1 1", "line 2: expected NODE SIZE PAGES"),
        ("0 4K 1", "page size '4K': give 2M or 1G"),
        ("first 2M 1", "node 'first': give a whole number"),
        ("0 2M many", "pages 'many': give a whole number"),
    ] {
        fs::write(&file, format!("1 2M 7\n{line}\n")).unwrap();
        let text = said(&machine, "reserve", &["--file", path], 2);
        assert!(text.contains(expected), "{line}: {text}");
        assert_eq!(
            reserved(&machine, node1),
            "200",
            "{line}: nothing is done by halves"
        );
    }
}

#[test]
fn what_is_missing_is_told() {
    let machine = machine();
    said(&machine, "reserve", &["--node", "0", "--pages", "100"], 0);
    let text = said(&machine, "verify", &["--node", "0", "--pages", "128"], 1);
    let missing = "100 of 128 pages of 2M are reserved on node 0, 56 MiB are missing\n";
    assert!(text.starts_with(missing), "{text}");
    let reserve = folder().join("reserve");
    let expected = format!("reserve them: {} --node 0 --pages 128", reserve.display());
    assert!(text.contains(&expected), "{text}");
    said(&machine, "verify", &["--node", "0", "200"], 0);

    // A kernel that grants 40, whatever is asked.
    let programs = machine.path().join("programs");
    fs::create_dir_all(&programs).unwrap();
    let cat = programs.join("cat");
    fs::write(&cat, "#!/bin/sh\necho 40\n").unwrap();
    fs::set_permissions(&cat, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut command = command(&machine, "reserve", &["--node", "1", "--pages", "64"]);
    let output = command.env("PATH", path).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let missing = "40 of 64 pages of 2M are reserved on node 1, 48 MiB are missing\n";
    assert!(
        text.starts_with(missing) && text.contains("at boot instead"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let machine = machine();
    let text = said(&machine, "reserve", &["--node", "2", "8"], 1);
    assert_eq!(text, "no NUMA node 2: this machine has 0 1\n");
    let gone = machine
        .path()
        .join("kernel/mm/hugepages/hugepages-1048576kB");
    fs::remove_dir_all(gone).unwrap();
    let text = said(&machine, "verify", &["1024", "1G"], 1);
    assert!(text.contains("no pages of 1G on this machine"), "{text}");
    let wrong: [&[&str]; 8] = [
        &["--node"],
        &["--node", "x", "1"],
        &["1", "2"],
        &["1", "--pages", "2"],
        &["1", "3M"],
        &["--all"],
        &["-5"],
        &["--file", "/nowhere"],
    ];
    for arguments in wrong {
        said(&machine, "reserve", arguments, 2);
        said(&machine, "verify", arguments, 2);
    }
}

#[test]
fn the_unit_is_accepted_and_its_file_too() {
    let root = tempfile::tempdir().unwrap();
    let scripts = root.path().join("usr/lib/wirelynx/hugepages");
    let units = root.path().join("etc/systemd/system");
    fs::create_dir_all(&scripts).unwrap();
    fs::create_dir_all(&units).unwrap();
    fs::copy(folder().join("reserve"), scripts.join("reserve")).unwrap();
    let unit = "wirelynx-hugepages.service";
    fs::copy(folder().join(unit), units.join(unit)).unwrap();
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(format!("--root={}", root.path().display()))
        .arg(unit)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && text.is_empty(), "{text}");

    let text = fs::read_to_string(folder().join(unit)).unwrap();
    let command = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words: Vec<&str> = command.unwrap().split(' ').collect();
    let [program, "--file", file] = words[..] else {
        unreachable!("{words:?}");
    };
    assert_eq!(program, "/usr/lib/wirelynx/hugepages/reserve");
    assert_eq!(file, "/etc/default/wirelynx-hugepages");
    let shipped = folder().join("wirelynx-hugepages.default");
    let text = said(
        &machine(),
        "reserve",
        &["--file", shipped.to_str().unwrap()],
        0,
    );
    assert_eq!(text, "512 pages of 2M reserved, 0 free\n");
}
