//! `scripts/load-test`: what it refuses, and whether its account would notice a packet that is
//! missing. That it runs is shown by `scripts/check`. Needs `jq`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Exit status and what it said on standard error.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(root().join("scripts/load-test"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.stdout.is_empty(),
        "{arguments:?}: something was done"
    );
    let errors = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), errors)
}

#[test]
fn wrong_usage_is_refused_before_anything_is_done() {
    for (arguments, expected) in [
        (
            &["--device", "eth0"][..],
            "--device: 'eth0' is not possible; expected of: net_af_packet net_pcap. Load is put on \
             interfaces that load-test makes itself, on no other",
        ),
        (
            &["--device", "net_af_packet0,iface=eth0"],
            "'net_af_packet0' is not possible",
        ),
        (
            &["--device", "0000:3b:00.0"],
            "'0000:3b:00.0' is not possible",
        ),
        (
            &["--scenario", "attacks,floods"],
            "--scenario: 'floods' is not possible; expected of: attacks min64 imix flows no-loss",
        ),
        (
            &["--seconds", "0"],
            "--seconds: '0' is not possible; expected a number from 1 to 3600",
        ),
        (&["--seconds", "1.5"], "expected a number from 1 to 3600"),
        (&["--rate", "fast"], "--rate: 'fast' is not possible"),
        (
            &["--queues", "2", "--workers", "3"],
            "--workers: '3' is not possible; expected a number from 1 to 2",
        ),
        (
            &["--sender", "testpmd", "--scenario", "no-loss"],
            "testpmd keeps no rate, which no-loss needs",
        ),
        (
            &["--rules", "no/such"],
            "--rules: no file or folder 'no/such'",
        ),
        (&["--steps"], "--steps: a value is missing"),
        (&["--fast"], "unknown option '--fast'; --help lists them"),
    ] {
        let (status, errors) = refused(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

const BEFORE: &str = "# TYPE wirelynx_packets_received_total counter
wirelynx_packets_received_total 10
wirelynx_packets_passed_total 10
wirelynx_port_received_packets_total{port=\"net_af_packet0\"} 10
wirelynx_port_missed_packets_total{port=\"net_af_packet0\"} 1
wirelynx_worker_busy_seconds_total{worker=\"0\"} 0.5
wirelynx_worker_packets_total{worker=\"0\"} 10
";

const AFTER: &str = "wirelynx_packets_received_total 100
wirelynx_packets_passed_total 97
wirelynx_packets_dropped_total{reason=\"empty\"} 0
wirelynx_packets_dropped_total{reason=\"handover_full\"} 3
wirelynx_port_received_packets_total{port=\"net_af_packet0\"} 100
wirelynx_port_missed_packets_total{port=\"net_af_packet0\"} 3
wirelynx_worker_busy_seconds_total{worker=\"0\"} 1.5
wirelynx_worker_packets_total{worker=\"0\"} 70
wirelynx_worker_packets_total{worker=\"1\"} 30
wirelynx_alerts_total{kind=\"a\",rule=\"1001\"} 1
wirelynx_alerts_total{kind=\"b\",rule=\"1001\"} 1
";

/// What the kernel counted: sent on the interface, dropped there, for the sockets, dropped by
/// rings, and fragments taken and joined.
fn kernel(at: f64, [sent, backlog, packets, ring, taken, joined]: [u64; 6]) -> Value {
    json!({
        "at": at,
        "cpu_seconds": at / 2.0,
        "interface": {"sent": sent, "dropped": backlog},
        "ring": {"sockets": 1, "packets": packets, "drops": ring},
        "fragments": {"taken": taken, "joined": joined},
    })
}

/// The result of a trial in which so many packets were sent.
fn trial(sent: u64, after: &str, counted: [u64; 6]) -> Value {
    let first = kernel(100.0, [1000, 5, 0, 0, 7, 7]).to_string();
    let last = kernel(102.0, counted).to_string();
    let asked = json!({"sent": sent, "seconds": 2, "running": false, "required": ["1001"]});
    let program = format!(
        "include \"load-test\"; {asked} | trial($before; $after; $first; $last) \
         | .row = row | .details = [details]"
    );
    let output = Command::new("jq")
        .args(["-n", "-L", "scripts/lib"])
        .args(["--arg", "before", BEFORE, "--arg", "after", after])
        .args(["--argjson", "first", &first, "--argjson", "last", &last])
        .arg(program)
        .current_dir(root())
        .output()
        .expect("jq is needed (Debian: package jq)");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// 106 sent: 90 received, 2 missed, 6 dropped by rings, 3 by the backlog, 5 fragments joined.
const COUNTED: [u64; 6] = [1103, 8, 98, 6, 13, 8];

#[test]
fn what_adds_up_is_accounted_for() {
    let result = trial(106, AFTER, COUNTED);
    assert_eq!(result["complaints"], json!([]), "{result}");
    assert_eq!(result["accounted"], json!(true));
    assert_eq!(
        [&result["received"], &result["missed"], &result["lost"]],
        [&json!(90), &json!(2), &json!(14)]
    );
    assert_eq!(result["dropped"], json!({"handover_full": 3}));
    assert_eq!(result["kernel"]["joined"], json!(5));
    assert_eq!(result["alerts"], json!({"1001": 2}));
    assert_eq!(result["busy"], json!(0.5));
    assert_eq!(result["cores"], json!(0.5));
    assert_eq!(result["per_second"], json!(53));
    assert_eq!(result["shares"], json!([66.7, 33.3]));
    assert!(result["row"].as_str().unwrap().ends_with("\tbalances"));
    let details = result["details"].to_string();
    assert!(details.contains("dropped: handover_full 3"), "{details}");
}

#[test]
fn whatever_does_not_add_up_is_told() {
    // Each with one number that is off by one.
    let cases = [
        (trial(107, AFTER, COUNTED), "sent = received + missed"),
        (
            trial(106, AFTER, [1104, 8, 98, 6, 13, 8]),
            "the sender and the interface",
        ),
        (
            trial(106, AFTER, [1103, 8, 97, 6, 13, 8]),
            "the packet sockets counted",
        ),
        (
            trial(106, AFTER, [1103, 8, 98, 7, 13, 8]),
            "sent = received + missed",
        ),
        (
            trial(
                106,
                &AFTER.replace("passed_total 97", "passed_total 96"),
                COUNTED,
            ),
            "received = passed + dropped: 90 is not 89",
        ),
        (
            trial(
                106,
                &AFTER.replace("received_total 100", "received_total 99"),
                COUNTED,
            ),
            "the port and the workers counted",
        ),
        (
            trial(
                106,
                &AFTER.replace("rule=\"1001\"", "rule=\"1002\""),
                COUNTED,
            ),
            "no alert of rule 1001",
        ),
    ];
    for (result, expected) in cases {
        assert_eq!(result["accounted"], json!(false), "{expected}");
        let told = result["complaints"].to_string();
        assert!(told.contains(expected), "{told}");
        let row = result["row"].as_str().unwrap();
        assert!(row.ends_with("\tDOES NOT BALANCE"), "{row}");
    }
}

#[test]
fn the_attack_mix_has_an_attack_for_each_rule_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("attacks.pcap");
    let made = Command::new(env!("CARGO_BIN_EXE_wirelynx-traffic"))
        .args(["generate", "bench/pktgen/attacks.scenario", "-o"])
        .arg(&file)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(made.status.success());
    let read = Command::new(env!("CARGO_BIN_EXE_wirelynx"))
        .args(["read", "--rules", "rules"])
        .arg(&file)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(read.status.success());
    let alerts = String::from_utf8(read.stdout).unwrap();
    let script = std::fs::read_to_string(root().join("scripts/load-test")).unwrap();
    let rules = script.split("attack_rules=(").nth(1).unwrap();
    let rules: Vec<&str> = rules.split(')').next().unwrap().split(' ').collect();
    assert!(rules.len() >= 8, "{rules:?}");
    for rule in rules {
        let text = format!("\"rule_id\":{rule},");
        assert!(alerts.contains(&text), "no alert of rule {rule}");
    }
}
