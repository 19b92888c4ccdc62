//! `wirelynx rules test`: each rule against the captures that lie beside it.
//!
//! A folder with a rule file is a *rule folder*. Its cases are pairs of files, `NAME.pcap` and
//! `NAME.alerts`, and the lines of `captures.txt`, which name captures that live elsewhere.

mod expected;

use super::Failure;
use crate::capture::{Burst, Capture as _, Progress, file};
use crate::expr::Mode;
use crate::limits::RULE_FILES_MAX;
use crate::output::Event;
use crate::rules::RuleSet;
use crate::rules::load::Loader;
use crate::worker::{Scope, Settings, Worker};
use expected::{Alerts, Elsewhere};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Shown under `--help`.
pub const EXAMPLES: &str =
    "Each folder with a rule file holds its cases: NAME.pcap, and NAME.alerts with a line
ID COUNT TIME for each rule that must fire; TIME is that of the first alert. An empty NAME.alerts
says that none may. See docs/rules.md.

Examples:
  wirelynx rules test rules
  wirelynx rules test rules/scans rules/http/nikto
  wirelynx rules test rules/scans/syn-scan --renew

Exit status: 0 all as expected, 1 a case failed, 2 wrong usage, a rule with an error, or a case
that lacks a file.";

/// Where captures that live elsewhere are, unless a flag says so.
const CAPTURES_VARIABLE: &str = "WIRELYNX_CAPTURES";

/// Flows of one case. The table for live traffic takes longer to clear than a case takes to read.
const FLOWS_MAX: u16 = 8_192;

/// File of a rule folder that names captures that live elsewhere.
const ELSEWHERE: &str = "captures.txt";

/// Flags and arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Rule folders, or folders that hold them at any depth
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<String>,
    /// Folder of the captures that `captures.txt` names [default: WIRELYNX_CAPTURES]
    #[arg(long, value_name = "DIR")]
    captures: Option<PathBuf>,
    /// Folder of lists that rules look things up in [default: lists beside the rules or above]
    #[arg(long, value_name = "DIR")]
    lists: Option<PathBuf>,
    /// Write what was got to NAME.alerts, instead of comparing; look at it before you keep it
    #[arg(long)]
    renew: bool,
}

/// A folder with a rule file, below the folder that was named.
#[derive(Debug)]
struct RuleFolder {
    root: PathBuf,
    path: PathBuf,
    rules: Vec<PathBuf>,
    /// Names of cases: what has a capture, and what has expected alerts.
    captures: BTreeSet<String>,
    alerts: BTreeSet<String>,
    elsewhere: bool,
}

/// How one case went: a line of the table.
#[derive(Debug)]
struct Row {
    rule: String,
    case: String,
    expected: String,
    got: String,
    verdict: Verdict,
    /// What there is to say beside the table: a difference or an error.
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Failed,
    Error,
    NotRun,
    Written,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::Error => "ERROR",
            Self::NotRun => "not run",
            Self::Written => "written",
        }
    }
}

/// Run all cases below the folders, print a table and what differs.
///
/// # Errors
/// A case fails, a rule or a case has an error, or a folder holds no rules.
pub fn execute(options: &Options) -> Result<(), Failure> {
    let mut folders = Vec::new();
    for name in &options.folders {
        let root = Path::new(name);
        let before = folders.len();
        find(root, root, &mut folders).map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
        if folders.len() == before {
            let text = format!("{name}: no rule file (*.xml) in it or in a folder below");
            return Err(Failure::Usage(text));
        }
    }
    let captures = options.captures.clone();
    let captures = captures.or_else(|| std::env::var_os(CAPTURES_VARIABLE).map(PathBuf::from));
    let tester = Tester {
        captures,
        lists: options.lists.iter().cloned().collect(),
        renew: options.renew,
    };
    let mut rows = Vec::new();
    for folder in &folders {
        tester.folder(folder, &mut rows);
    }
    std::io::stdout().write_all(table(&rows).as_bytes())?;
    conclude(folders.len(), &rows)
}

/// Rule folders in and below `path`, in byte order of their names.
fn find(root: &Path, path: &Path, found: &mut Vec<RuleFolder>) -> std::io::Result<()> {
    let mut folder = RuleFolder {
        root: root.to_owned(),
        path: path.to_owned(),
        rules: Vec::new(),
        captures: BTreeSet::new(),
        alerts: BTreeSet::new(),
        elsewhere: false,
    };
    let mut below = Vec::new();
    for entry in std::fs::read_dir(path)?.take(RULE_FILES_MAX) {
        let entry = entry?;
        let file = entry.path();
        // A link is no folder here, so that none leads round in circles.
        if entry.file_type()?.is_dir() {
            below.push(file);
            continue;
        }
        let stem = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("xml") => folder.rules.push(file),
            Some("pcap") => drop(folder.captures.insert(stem)),
            Some("alerts") => drop(folder.alerts.insert(stem)),
            _ => folder.elsewhere |= entry.file_name() == ELSEWHERE,
        }
    }
    folder.rules.sort();
    if folder.has_cases() || !folder.rules.is_empty() {
        found.push(folder);
    }
    below.sort();
    below.iter().try_for_each(|below| find(root, below, found))
}

impl RuleFolder {
    fn has_cases(&self) -> bool {
        self.elsewhere || !self.captures.is_empty() || !self.alerts.is_empty()
    }

    fn row(&self, case: &str, verdict: Verdict, detail: String) -> Row {
        Row {
            rule: self.path.display().to_string(),
            case: case.to_owned(),
            expected: String::new(),
            got: String::new(),
            verdict,
            detail,
        }
    }
}

/// What all folders are tested with.
struct Tester {
    captures: Option<PathBuf>,
    lists: Vec<PathBuf>,
    renew: bool,
}

impl Tester {
    /// Run the cases of one folder.
    fn folder(&self, folder: &RuleFolder, rows: &mut Vec<Row>) {
        let rules = match self.load(folder) {
            Ok(rules) => rules,
            Err(text) => return rows.push(folder.row("-", Verdict::Error, text)),
        };
        if !folder.has_cases() {
            let text = format!(
                "no case: expected NAME.pcap and NAME.alerts, or {ELSEWHERE}, beside the rule"
            );
            rows.push(folder.row("-", Verdict::Error, text));
        }
        for case in folder.captures.union(&folder.alerts) {
            rows.push(self.own_case(folder, &rules, case));
        }
        if folder.elsewhere {
            self.cases_elsewhere(folder, &rules, rows);
        }
    }

    fn load(&self, folder: &RuleFolder) -> Result<Arc<RuleSet>, String> {
        if folder.rules.is_empty() {
            return Err("cases without a rule file (*.xml) beside them".to_owned());
        }
        let files = folder.rules.iter();
        let files = files.map(|file| (folder.root.as_path(), file.clone()));
        let mut loader = Loader::new(Mode::Standard, &self.lists);
        let loaded = loader.read_files(files);
        let mut text = String::new();
        // A rule that is skipped because of its id is a warning when it is loaded, but not tested.
        for found in loaded.diagnostics.iter().filter(|found| found.is_error()) {
            text.push_str(&found.render(false));
            text.push('\n');
        }
        let (rules, failed) = RuleSet::new(loaded.properties, Mode::Standard);
        for (id, error) in failed {
            let _ = writeln!(text, "rule {id} cannot run: {error}");
        }
        match text.is_empty() {
            true => Ok(Arc::new(rules)),
            false => Err(text),
        }
    }

    /// A case whose capture lies beside the rule.
    fn own_case(&self, folder: &RuleFolder, rules: &Arc<RuleSet>, case: &str) -> Row {
        let capture = folder.path.join(format!("{case}.pcap"));
        let alerts = folder.path.join(format!("{case}.alerts"));
        if !folder.captures.contains(case) {
            let text = format!("{} is missing", capture.display());
            return folder.row(case, Verdict::Error, text);
        }
        let got = match run(rules, &capture) {
            Ok(got) => got,
            Err(text) => return folder.row(case, Verdict::Error, text),
        };
        if self.renew {
            return match got.renew(&alerts) {
                Ok(()) => Row {
                    got: got.short(),
                    ..folder.row(case, Verdict::Written, String::new())
                },
                Err(error) => {
                    let text = format!("{}: {error}", alerts.display());
                    folder.row(case, Verdict::Error, text)
                }
            };
        }
        match Alerts::read(&alerts) {
            Ok(expected) => compared(folder, case, &expected, &got),
            Err(text) => folder.row(case, Verdict::Error, text),
        }
    }

    /// Cases whose captures are not part of the library.
    fn cases_elsewhere(&self, folder: &RuleFolder, rules: &Arc<RuleSet>, rows: &mut Vec<Row>) {
        let list = folder.path.join(ELSEWHERE);
        let cases = match Elsewhere::read(&list) {
            Ok(cases) => cases,
            Err(text) => return rows.push(folder.row(ELSEWHERE, Verdict::Error, text)),
        };
        for (name, expected) in &cases.captures {
            rows.push(match &self.captures {
                None => Row {
                    expected: expected.short(),
                    ..folder.row(name, Verdict::NotRun, String::new())
                },
                Some(captures) => match run(rules, &captures.join(name)) {
                    Ok(got) => compared(folder, name, expected, &got),
                    Err(text) => folder.row(name, Verdict::Error, text),
                },
            });
        }
    }
}

fn compared(folder: &RuleFolder, case: &str, expected: &Alerts, got: &Alerts) -> Row {
    let difference = expected.difference(got);
    let verdict = match difference.is_empty() {
        true => Verdict::Ok,
        false => Verdict::Failed,
    };
    Row {
        expected: expected.short(),
        got: got.short(),
        ..folder.row(case, verdict, difference)
    }
}

/// The alerts of these rules on one capture.
fn run(rules: &Arc<RuleSet>, capture: &Path) -> Result<Alerts, String> {
    let mut source =
        file::open(&capture.display().to_string()).map_err(|error| error.to_string())?;
    let mut settings = Settings {
        seed: super::seed(),
        ..Settings::default()
    };
    settings.flows.flows_max = usize::from(FLOWS_MAX);
    settings.applications.flows_max = u32::from(FLOWS_MAX);
    let mut worker = Worker::new(Arc::clone(rules), &settings, Scope::Rules);
    let mut alerts = Alerts::default();
    let mut take = |event: Event| {
        if let Event::Alert(alert) = event {
            let rule = usize::try_from(alert.rule).unwrap_or(usize::MAX);
            if let Some(program) = rules.programs.get(rule) {
                alerts.count(program.property.id, alert.timestamp);
            }
        }
    };
    loop {
        let mut burst = Burst::new();
        let received = source
            .receive(&mut burst)
            .map_err(|error| error.to_string())?;
        worker.burst(burst, &mut take);
        if received == Progress::End {
            break;
        }
    }
    worker.finish(&mut take);
    let counters = worker.counters();
    if counters.flows.table_full > 0 || counters.applications.flows_full > 0 {
        let capture = capture.display();
        let text = format!("{capture}: more than {FLOWS_MAX} flows at a time: too many for a case");
        return Err(text);
    }
    match source.warning() {
        Some(damage) => Err(format!("{}: {damage}", capture.display())),
        None => Ok(alerts),
    }
}

/// The table, and below it what differs.
fn table(rows: &[Row]) -> String {
    let head = ["rule", "case", "expected", "got", "verdict"].map(str::to_owned);
    let lines = rows.iter().map(|row| {
        let verdict = row.verdict.name().to_owned();
        [&row.rule, &row.case, &row.expected, &row.got, &verdict].map(String::clone)
    });
    let lines: Vec<[String; 5]> = std::iter::once(head).chain(lines).collect();
    let mut widths = [0; 5];
    for line in &lines {
        for (width, text) in widths.iter_mut().zip(line) {
            *width = usize::max(*width, text.chars().count());
        }
    }
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    for row in rows.iter().filter(|row| !row.detail.is_empty()) {
        let _ = writeln!(out, "\n{} {}:", row.rule, row.case);
        for line in row.detail.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

/// Sum up on standard output, and end as the worst case went.
fn conclude(folders: usize, rows: &[Row]) -> Result<(), Failure> {
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let (failed, errors) = (count(Verdict::Failed), count(Verdict::Error));
    let (passed, written, not_run) = (
        count(Verdict::Ok),
        count(Verdict::Written),
        count(Verdict::NotRun),
    );
    let mut out = std::io::stdout();
    write!(out, "\nrule folders: {folders}, cases: {}, ", rows.len())?;
    writeln!(
        out,
        "as expected: {passed}, failed: {failed}, errors: {errors}"
    )?;
    if written > 0 {
        writeln!(out, "written: {written}; look at them before you keep them")?;
    }
    if not_run > 0 {
        let how = format!("set {CAPTURES_VARIABLE} or --captures");
        writeln!(
            out,
            "NOT RUN: {not_run}, whose captures live elsewhere; {how}"
        )?;
    }
    match (errors, failed) {
        (0, 0) => Ok(()),
        (0, _) => Err(Failure::Running(format!("cases that failed: {failed}"))),
        _ => Err(Failure::Usage(format!(
            "cases that could not run: {errors}"
        ))),
    }
}
