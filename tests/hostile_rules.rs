//! Rule files made to harm: `wirelynx rules check` answers each with an error or takes it, in
//! bounded memory, and never crashes.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Address space of the program, in KiB: 1 GiB.
const MEMORY_KIB: u32 = 1 << 20;

/// Run `rules check` in so much memory: its exit status, and what it prints.
fn check(file: &Path) -> (Option<i32>, String) {
    let limited = format!("ulimit -v {MEMORY_KIB} && exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args([
            "-c",
            &limited,
            env!("CARGO_BIN_EXE_wirelynx"),
            "rules",
            "check",
        ])
        .arg(file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// What `rules check` says of a file with this text.
fn said_of(text: &[u8]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.xml");
    std::fs::write(&file, text).unwrap();
    check(&file)
}

fn property(events: &str) -> String {
    let attributes = "property_id='1' type_property='ATTACK' value='COMPUTE'";
    format!("<beginning><property {attributes}>{events}</property></beginning>")
}

fn event(condition: &str) -> String {
    property(&format!("<event boolean_expression=\"{condition}\"/>"))
}

/// Events one after the other, each within a second of the one before.
fn chain(events: usize) -> String {
    let attributes = "property_id='1' type_property='ATTACK'";
    let inner = parts(events);
    format!("<beginning><property {attributes} {JOINED}>{inner}</property></beginning>")
}

const JOINED: &str = "value='THEN' delay_min='0+' delay_max='1'";

fn parts(events: usize) -> String {
    let part = |events: usize| match events {
        1 => "<event boolean_expression='(tcp.flags == 2)'/>".to_owned(),
        _ => format!("<operator {JOINED}>{}</operator>", parts(events)),
    };
    [events / 2, events - events / 2].map(part).concat()
}

#[track_caller]
fn is_refused(text: &str, reason: &str) {
    let (status, said) = said_of(text.as_bytes());
    assert_eq!(status, Some(2), "{said:.500}");
    assert!(said.contains(reason), "{said:.500}");
    assert!(said.len() < 200_000, "{} bytes said", said.len());
}

#[track_caller]
fn is_taken(text: &str) {
    let (status, said) = said_of(text.as_bytes());
    assert_eq!(status, Some(0), "{said:.500}");
}

#[test]
fn a_file_of_100_megabytes_is_refused_unread() {
    let event = event("(tcp.flags == 2)");
    let text = event.repeat(100_000_000 / event.len());
    is_refused(&text, "larger than");
}

#[test]
fn expressions_and_elements_nested_100_000_deep_are_refused() {
    let deep = 100_000;
    let open = "(".repeat(deep);
    is_refused(
        &event(&format!("{open}tcp.flags == 2{}", ")".repeat(deep))),
        "bytes",
    );
    let open = "(".repeat(30_000);
    is_refused(
        &event(&format!("{open}tcp.flags == 2{}", ")".repeat(30_000))),
        "deep",
    );
    let operators = "<operator value='THEN'>".repeat(deep);
    is_refused(&property(&operators), "deep");
    is_refused(
        &property(&format!("{operators}{}", "</operator>".repeat(deep))),
        "deep",
    );
}

#[test]
fn a_rule_has_63_events_and_no_more() {
    is_taken(&chain(63));
    is_refused(&chain(64), "63 events");
}

#[test]
fn patterns_cannot_explode() {
    let bomb = |pattern: &str| event(&format!("(#regex(http.uri, '{pattern}') == 1)"));
    is_refused(&bomb("((a{1000}){1000}){1000}"), "needs more than 128 KiB");
    is_refused(&bomb(&"(".repeat(20_000)), "unclosed group");
    // Linear for the one engine, exponential for others.
    is_taken(&bomb("^(a+)+$"));
    is_taken(&bomb("(x+x+)+y"));
}

/// Ten million addresses, some 140 MB of text.
#[test]
fn a_list_of_ten_million_entries_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lists")).unwrap();
    let list = std::fs::File::create(folder.path().join("lists/many.txt")).unwrap();
    let mut list = std::io::BufWriter::new(list);
    for number in 0..10_000_000_u32 {
        // An odd factor: no address comes twice, and neighbours lie far apart.
        let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        writeln!(list, "{a}.{b}.{c}.{d}").unwrap();
    }
    list.into_inner().unwrap();
    let file = folder.path().join("rule.xml");
    std::fs::write(&file, event("(#in_list(ip.src, 'many') == 1)")).unwrap();
    let (status, said) = check(&file);
    assert_eq!(status, Some(0), "{said:.500}");
    assert!(
        said.contains("1 property, 0 errors, 0 warnings"),
        "{said:.500}"
    );
}
