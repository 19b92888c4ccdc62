//! The rules of style that no lint knows. Each finding says what to do instead.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;

/// Folders and files of the repository's own text. Not the root itself: a build leaves much there.
const OWN: [&str; 18] = [
    ".ci",
    "CHANGELOG.md",
    "Cargo.toml",
    "README.md",
    "bench",
    "build.rs",
    "clippy.toml",
    "docs",
    "ffi",
    "hugepages",
    "packaging",
    "rules",
    "rustfmt.toml",
    "scripts",
    "src",
    "tests/common",
    "tests/golden",
    "tests",
];

/// The data path: no I/O, no clock, no log.
const PURE: [&str; 3] = ["src/dissect/", "src/flow/", "src/rules/"];

/// Files of the control path that live beside the data path, and why.
const IMPURE: [(&str, &str); 2] = [
    ("src/rules/load.rs", "reads rule files, before any packet"),
    ("src/rules/listing.rs", "makes the text of `wirelynx rules`"),
];

/// What the data path must not call, and what to do instead.
const IMPURE_CALLS: [(&str, &str); 9] = [
    (
        "std::fs",
        "read files under src/control and hand the bytes in",
    ),
    ("Instant::now", "take the time of packets as an argument"),
    ("SystemTime::now", "take the time of packets as an argument"),
    ("println!", "return what is to be said"),
    ("eprintln!", "return what is to be said"),
    ("print!(", "return what is to be said"),
    ("tracing::", "count it, and show the counter"),
    ("log::", "count it, and show the counter"),
    ("std::thread", "leave threads to src/control"),
];

/// What no code outside of tests may call, and what to do instead.
const PANICKING: [(&str, &str); 5] = [
    (".unwrap()", "return an error, or a default with its reason"),
    (
        ".expect(\"",
        "return an error, or a default with its reason",
    ),
    ("panic!(", "return an error"),
    ("todo!(", "write it"),
    ("unimplemented!(", "write it"),
];

/// Programs and libraries: each forbids unsafe code for itself.
const ROOTS: [&str; 3] = ["src/lib.rs", "src/main.rs", "bench/traffic/main.rs"];

/// Paths of one machine. In two pieces, so that this file does not contain them.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/tmp/ba", "sh_jobs"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Folders whose texts are data, where every blank counts.
const AS_GIVEN: [&str; 2] = ["tests/golden/", "rules/lists/"];

/// One text file of the repository.
struct Text {
    /// Relative to the root, with slashes.
    name: String,
    lines: Vec<String>,
}

impl Text {
    fn is_rust(&self) -> bool {
        self.name.ends_with(".rs")
    }

    /// Is all of it test code? Modules behind `cfg(test)` in files of their own have these names.
    fn is_test(&self) -> bool {
        let file = self.name.rsplit('/').next().unwrap_or(&self.name);
        self.name.starts_with("tests/")
            || file == "tests.rs"
            || file == "testing.rs"
            || file.starts_with("test_")
    }

    /// Lines of code that are not tests, numbered from 1, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut test_end: Option<String> = None;
        let mut test_next = false;
        (1..).zip(&self.lines).filter_map(move |(number, line)| {
            if let Some(end) = &test_end {
                if line == end {
                    test_end = None;
                }
                return None;
            }
            let trimmed = line.trim_start();
            if trimmed == "#[cfg(test)]" {
                test_next = true;
                return None;
            }
            if test_next && !trimmed.starts_with("#[") {
                test_next = false;
                if line.ends_with('{') {
                    test_end = Some(format!("{}}}", &line[..line.len() - trimmed.len()]));
                }
                return None;
            }
            Some((number, without_comment(line)))
        })
    }
}

/// A line up to its comment. Two slashes in text are those of an address, before which stands a
/// colon.
fn without_comment(line: &str) -> &str {
    let mut from = 0;
    while let Some(found) = line[from..].find("//") {
        let place = from + found;
        if !line[..place].ends_with(':') {
            return &line[..place];
        }
        from = place + 2;
    }
    line
}

/// Every text file of the repository, by name.
fn texts() -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for name in OWN {
        collect(&root.join(name), &mut files);
    }
    files.sort();
    files.dedup();
    let text = |file: &PathBuf| {
        let name = file
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        let lines = fs::read_to_string(file)
            .ok()?
            .lines()
            .map(str::to_owned)
            .collect();
        Some(Text { name, lines })
    };
    // What is not UTF-8 is a capture or another binary file.
    let texts: Vec<Text> = files.iter().filter_map(text).collect();
    assert!(texts.len() > 100, "only {} files found", texts.len());
    texts
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
    }
    for entry in fs::read_dir(path).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_name() != "target" {
            collect(&entry.path(), files);
        }
    }
}

/// Fail with all findings at once.
fn report(findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

#[test]
fn the_data_path_has_no_io_no_clock_and_no_log() {
    for (name, reason) in IMPURE {
        assert!(!reason.is_empty());
        assert!(
            texts().iter().any(|text| text.name == name),
            "{name} is gone: drop its exemption"
        );
    }
    let mut findings = Vec::new();
    for text in texts() {
        let pure = PURE.iter().any(|folder| text.name.starts_with(folder));
        if !pure || text.is_test() || IMPURE.iter().any(|(name, _)| *name == text.name) {
            continue;
        }
        for (number, line) in text.code() {
            for (call, instead) in IMPURE_CALLS {
                if line.contains(call) {
                    findings.push(format!("{}:{number}: {call}: {instead}", text.name));
                }
            }
        }
    }
    report(&findings);
}

#[test]
fn nothing_ends_the_process_but_tests() {
    let mut findings = Vec::new();
    for text in texts()
        .iter()
        .filter(|text| text.is_rust() && !text.is_test())
    {
        // Benchmarks and build scripts have nobody to return an error to.
        if text.name.starts_with("bench/") && !text.name.starts_with("bench/traffic/") {
            continue;
        }
        for (number, line) in text.code() {
            for (call, instead) in PANICKING {
                if line.contains(call) {
                    findings.push(format!("{}:{number}: {call}: {instead}", text.name));
                }
            }
        }
    }
    report(&findings);
}

#[test]
fn unsafe_code_is_in_ffi_only() {
    let mut findings = Vec::new();
    let texts = texts();
    for text in texts
        .iter()
        .filter(|text| text.is_rust() && !text.name.starts_with("ffi/"))
    {
        for (number, line) in (1..).zip(&text.lines) {
            let line = without_comment(line);
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            // As a word in text it stands between quotation marks or backquotes.
            if words.any(|word| word == "unsafe") && !line.contains('"') {
                findings.push(format!("{}:{number}: unsafe: put it under ffi/", text.name));
            }
        }
    }
    for root in ROOTS {
        let text = texts.iter().find(|text| text.name == root).unwrap();
        if !text
            .lines
            .iter()
            .any(|line| line == "#![forbid(unsafe_code)]")
        {
            findings.push(format!("{root}: lacks #![forbid(unsafe_code)]"));
        }
    }
    report(&findings);
}

#[test]
fn files_and_lines_have_bounded_lengths() {
    let mut findings = Vec::new();
    for text in texts().iter().filter(|text| text.is_rust()) {
        let lines = text.lines.len();
        if lines > FILE_LINES_MAX {
            findings.push(format!(
                "{}: {lines} lines: make two files of it",
                text.name
            ));
        }
        for (number, line) in (1..).zip(&text.lines) {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX && !is_whole(line) {
                findings.push(format!(
                    "{}:{number}: {columns} columns: break it",
                    text.name
                ));
            }
        }
    }
    report(&findings);
}

/// May the line be longer? Text between quotation marks stays in one piece, so that it can be
/// found, and so does a row of a drawing.
fn is_whole(line: &str) -> bool {
    line.contains('"') || (line.starts_with("//! ") && line.contains(" | "))
}

/// A function ends at the first closing brace that is indented like its first line: that is how
/// rustfmt writes it.
#[test]
fn functions_have_bounded_lengths() {
    let mut findings = Vec::new();
    for text in texts().iter().filter(|text| text.is_rust()) {
        let mut open: Option<(usize, String)> = None;
        for (number, line) in (1..).zip(&text.lines) {
            let trimmed = line.trim_start();
            let indent = &line[..line.len() - trimmed.len()];
            match &open {
                Some((start, end)) if line == end => {
                    let lines = number - start + 1;
                    if lines > FUNCTION_LINES_MAX {
                        let name = text.lines[start - 1].trim();
                        findings.push(format!("{}:{start}: {lines} lines: {name}", text.name));
                    }
                    open = None;
                }
                // A function without a body, or on one line.
                Some((_, end)) if line.ends_with(';') && indent.len() < end.len() => open = None,
                Some(_) => {}
                None if is_function(trimmed) && !line.ends_with('}') && !line.ends_with(';') => {
                    open = Some((number, format!("{indent}}}")));
                }
                None => {}
            }
        }
    }
    report(&findings);
}

/// Does a function begin here?
fn is_function(line: &str) -> bool {
    let words = line.split_whitespace();
    let before = words.take_while(|word| *word != "fn").collect::<Vec<_>>();
    let qualifies = |word: &&str| {
        word.starts_with("pub")
            || matches!(*word, "const" | "async" | "unsafe" | "extern" | "\"C\"")
    };
    line.contains("fn ") && before.len() < 5 && before.iter().all(qualifies)
}

#[test]
fn every_allow_has_its_reason() {
    let mut findings = Vec::new();
    for text in texts().iter().filter(|text| text.is_rust()) {
        for (index, line) in text.lines.iter().enumerate() {
            let trimmed = line.trim_start();
            let names = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
            if !names.iter().any(|name| trimmed.starts_with(name)) {
                continue;
            }
            let rest = &text.lines[index..];
            let end = rest
                .iter()
                .position(|line| line.ends_with(")]"))
                .unwrap_or(0);
            if !rest[..=end].iter().any(|line| line.contains("reason = ")) {
                findings.push(format!("{}:{}: give a reason", text.name, index + 1));
            }
        }
    }
    report(&findings);
}

#[test]
fn no_text_has_tabs_or_trailing_blanks_or_paths_of_a_machine() {
    let mut findings = Vec::new();
    for text in texts() {
        if AS_GIVEN.iter().any(|folder| text.name.starts_with(folder)) {
            continue;
        }
        // C follows the style of DPDK, whose functions it wraps.
        let is_c = text.name.ends_with(".c") || text.name.ends_with(".h");
        for (number, line) in (1..).zip(&text.lines) {
            let place = format!("{}:{number}", text.name);
            if line.contains('\t') && !is_c {
                findings.push(format!("{place}: a tab: indent with spaces"));
            }
            if line.ends_with(' ') {
                findings.push(format!("{place}: blanks at the end"));
            }
            if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
                findings.push(format!("{place}: {path}: a path of one machine"));
            }
        }
    }
    report(&findings);
}
