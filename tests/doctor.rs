//! `wirelynx doctor` on the machine that runs the tests, whatever that is: what must hold anywhere.
#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

/// Nobody's number on Linux.
const NOBODY: &str = "65534";

/// Metrics on some free port, so that nothing that runs here is in the way.
const FREE: [&str; 2] = ["-X", "metrics.address=127.0.0.1:0"];

fn doctor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
    run(command.arg("doctor").args(FREE).args(arguments))
}

fn run(command: &mut Command) -> Output {
    let output = command.env_remove("WIRELYNX_LOG").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    output
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The document, whose counts and exit status must be those of its findings.
fn document(output: &Output) -> Value {
    let document: Value = serde_json::from_str(&text(output)).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let of_level = |level: &str| findings.iter().filter(|f| f["level"] == level).count();
    for (key, level) in [
        ("ok", "ok"),
        ("unknown", "unknown"),
        ("warnings", "warning"),
        ("failures", "failure"),
    ] {
        assert_eq!(document[key], of_level(level), "{document}");
    }
    let failures = of_level("failure");
    assert_eq!(document["ready"], failures == 0);
    let status = output.status.code().unwrap();
    assert_eq!(status, i32::from(failures > 0), "{document}");
    for finding in findings {
        let is_ok = finding["level"] == "ok";
        assert_eq!(finding["command"] == "", is_ok, "{finding}");
        assert!(!finding["why"].as_str().unwrap().is_empty(), "{finding}");
    }
    document
}

fn ids(document: &Value) -> BTreeSet<&str> {
    let findings = document["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| finding["id"].as_str().unwrap())
        .collect()
}

fn level<'d>(document: &'d Value, id: &str, subject: &str) -> &'d str {
    let mut findings = document["findings"].as_array().unwrap().iter();
    let found = findings.find(|f| f["id"] == id && f["subject"] == subject);
    found.unwrap_or_else(|| panic!("no {id} {subject}: {document}"))["level"]
        .as_str()
        .unwrap()
}

#[test]
fn this_machine_as_it_is() {
    let document = document(&doctor(&["--json"]));
    let always = [
        "config.valid",
        "config.ports",
        "rules.load",
        "cpu.flags",
        "cpu.clock",
        "cpu.plan",
        "cpu.isolation",
        "memory.hugepages",
        "memory.total",
        "port.device",
        "time.synchronized",
        "output.files",
        "output.metrics",
    ];
    for id in always {
        assert!(ids(&document).contains(id), "{id}: {document}");
    }
    assert_eq!(level(&document, "config.ports", "capture.ports"), "warning");
    let lines = text(&doctor(&[]));
    for finding in document["findings"].as_array().unwrap() {
        let (level, id) = (
            finding["level"].as_str().unwrap(),
            finding["id"].as_str().unwrap(),
        );
        let start = format!("{level:<7}  {id:<18} ");
        assert!(
            lines.lines().any(|line| line.starts_with(&start)),
            "{start}\n{lines}"
        );
    }
}

/// Without root it says so, calls unknown what it cannot see, and fails nothing because of that.
#[test]
fn without_root() {
    let program = env!("CARGO_BIN_EXE_wirelynx");
    let user = String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    let arguments = ["doctor", FREE[0], FREE[1], "--json", "--no-probe"];
    let unprivileged = match user.trim() {
        "0" => {
            // A folder on the way may be closed to others: then it runs from a copy.
            let folder = tempfile::tempdir().unwrap();
            let copy = folder.path().join("wirelynx");
            std::fs::copy(program, &copy).unwrap();
            open(folder.path());
            let id = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            let mut command = Command::new("setpriv");
            command.args(id).args(["--clear-groups", "--inh-caps=-all"]);
            run(command.arg(&copy).args(arguments).current_dir("/"))
        }
        _ => run(Command::new(program).args(arguments)),
    };
    let errors = String::from_utf8_lossy(&unprivileged.stderr).into_owned();
    assert!(!unprivileged.stdout.is_empty(), "{errors}");
    let unprivileged = document(&unprivileged);
    assert_eq!(level(&unprivileged, "doctor.user", "process"), "unknown");
    if user.trim() == "0" {
        let privileged = document(&doctor(&["--json", "--no-probe"]));
        assert!(!ids(&privileged).contains("doctor.user"));
        assert_eq!(privileged["failures"], unprivileged["failures"]);
    }
}

fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_cannot_work_fails() {
    let ports = "capture.ports=[\"net_af_packet0,iface=no-such\",\"ff:1f.7\"]";
    let flows = "output.flows=/no/such/folder/flows.jsonl";
    let output = doctor(&["-X", ports, "-X", flows, "--json", "--no-probe"]);
    let found = document(&output);
    assert_eq!(level(&found, "port.device", "net_af_packet0"), "failure");
    assert_eq!(level(&found, "port.device", "ff:1f.7"), "failure");
    let subject = "output.flows /no/such/folder/flows.jsonl";
    assert_eq!(level(&found, "output.files", subject), "failure");
    assert_eq!(output.status.code(), Some(1));

    let output = doctor(&["-X", "capture.queue=1", "--json"]);
    let found = document(&output);
    assert_eq!(level(&found, "config.valid", "defaults"), "failure");
    let output = doctor(&["-c", "/no/such/file", "--hugepages"]);
    assert_eq!(output.status.code(), Some(2), "nothing to compute from");
}

/// The lines of `--hugepages` are comments and commands that the script takes as they are.
#[test]
fn huge_pages_are_a_sum_and_commands() {
    let ports = "capture.ports=[\"net_null0\",\"net_null1\"]";
    let output = doctor(&["--hugepages", "-X", ports, "-X", "capture.queues=2"]);
    assert!(output.status.success());
    let text = text(&output);
    let terms: Vec<u64> = text
        .lines()
        .filter(|line| line.contains("  port ") || line.contains("  DPDK itself"))
        .map(number)
        .collect();
    assert_eq!(terms.len(), 3, "{text}");
    // By hand: (2 x (4096 + 448) + 384) x 2368.
    assert_eq!(terms[1..], [22_429_696, 22_429_696]);
    let total = text
        .lines()
        .find(|line| line.ends_with("bytes in all"))
        .unwrap();
    assert_eq!(number(total), terms.iter().sum::<u64>());
    let commands: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        commands.len(),
        1,
        "virtual ports are on no node of their own: {text}"
    );
    let mut words = commands[0].split(' ');
    assert_eq!(words.next(), Some("hugepages/reserve"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hugepages/reserve");
    assert!(script.is_file());
    let (size, mebibytes) = (words.next_back().unwrap(), words.next_back().unwrap());
    let page = match size {
        "2M" => 2,
        "1G" => 1_024,
        other => panic!("{other}"),
    };
    let mebibytes: u64 = mebibytes.parse().unwrap();
    assert_eq!(mebibytes % page, 0);
    assert!(mebibytes << 20 >= number(total));
    assert!((mebibytes - page) << 20 < number(total));
}

fn number(line: &str) -> u64 {
    let word = line.split_whitespace().nth(1).unwrap();
    word.replace(',', "").parse().unwrap()
}

/// DPDK itself says what a port can do, where the program has it.
#[cfg(feature = "dpdk")]
#[test]
fn ports_are_asked() {
    // A kernel's own interface is not there in every namespace, but this device always is.
    let ports = "capture.ports=[\"net_ring0\"]";
    let output = doctor(&["--json", "-X", ports, "-X", "capture.queues=64"]);
    let found = document(&output);
    assert_eq!(level(&found, "port.probe", "net_ring0"), "ok");
    assert_eq!(level(&found, "port.queues", "net_ring0"), "failure");
    // A run refuses it with the same words.
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
    command.args(["run", "-X", ports, "-X", "capture.queues=64"]);
    let refused = run(command.args(FREE));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    let findings = found["findings"].as_array().unwrap();
    let queues = findings.iter().find(|f| f["id"] == "port.queues").unwrap();
    for key in ["found", "why", "command"] {
        assert!(errors.contains(queues[key].as_str().unwrap()), "{errors}");
    }
    assert_eq!(refused.status.code(), Some(1), "{errors}");
}
