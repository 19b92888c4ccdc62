//! Rule files to properties and findings. Nothing here is on the data path: files are read at start
//! and when rules are reloaded.

use super::property::Property;
use super::tree::Reader;
use super::xml;
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::expr::Mode;
use crate::expr::functions::lists::Lists;
use crate::limits::{DIAGNOSTICS_MAX, RULE_FILE_MAX, RULE_FILES_MAX};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What one rule file gave.
#[derive(Debug, Default)]
pub struct FileResult {
    /// Its properties, in their order; none when a finding is an error.
    pub properties: Vec<Property>,
    /// Everything there is to say about it, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl FileResult {
    fn failed(file: &str, message: String) -> Self {
        Self {
            properties: Vec::new(),
            diagnostics: vec![Diagnostic::of_file(Severity::Error, file, message)],
        }
    }

    /// Is a finding an error?
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// What several rule files gave together.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Properties in load order, each id once.
    pub properties: Vec<Property>,
    /// All findings.
    pub diagnostics: Vec<Diagnostic>,
    /// Number of files that were read, or should have been.
    pub files: usize,
}

impl Loaded {
    /// Number of findings that are errors.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.is_error()).count()
    }

    /// Number of findings that are warnings.
    pub fn warnings(&self) -> usize {
        self.diagnostics.len().saturating_sub(self.errors())
    }
}

/// Where lists are looked for when they are not beside a rule file.
pub const LISTS_FOLDER: &str = "rules/lists";

/// Reads rule files, and the lists they name once for each folder.
#[derive(Debug)]
pub struct Loader {
    mode: Mode,
    folders: Vec<PathBuf>,
    lists: HashMap<PathBuf, Lists>,
}

impl Loader {
    /// `folders`: where lists are looked for behind the folder `lists` beside a rule file.
    pub fn new(mode: Mode, folders: &[PathBuf]) -> Self {
        Self {
            mode,
            folders: folders.to_vec(),
            lists: HashMap::new(),
        }
    }

    /// Read one file.
    pub fn read_file(&mut self, path: &Path) -> FileResult {
        let name = path.display().to_string();
        match read_bounded(path) {
            Ok(bytes) => {
                let folder = path
                    .parent()
                    .map_or_else(|| PathBuf::from("lists"), |p| p.join("lists"));
                let lists = self.lists.entry(folder.clone()).or_insert_with(|| {
                    let others = self.folders.iter().filter(|other| **other != folder);
                    let others = others.cloned().collect::<Vec<_>>();
                    Lists::new(std::iter::once(folder).chain(others).collect())
                });
                read_bytes(&name, &bytes, self.mode, lists)
            }
            Err(message) => FileResult::failed(&name, message),
        }
    }

    /// Read these files, and all `*.xml` of these folders.
    pub fn read(&mut self, paths: &[String]) -> Loaded {
        let mut loaded = Loaded::default();
        let mut seen: HashMap<u32, String> = HashMap::new();
        for path in collect(paths) {
            loaded.files += 1;
            let result = self.read_file(&path);
            loaded.diagnostics.extend(result.diagnostics);
            for property in result.properties {
                if let Some(first) = seen.get(&property.id) {
                    let (id, line) = (property.id, property.line);
                    let message =
                        format!("property {id} of line {line} is skipped: {first} has it already");
                    let file = &property.file;
                    let found = Diagnostic::of_file(Severity::Warning, file, message);
                    loaded.diagnostics.push(found);
                    continue;
                }
                seen.insert(property.id, property.file.clone());
                loaded.properties.push(property);
            }
        }
        loaded
    }
}

/// Read one file, with lists from beside it or from [`LISTS_FOLDER`].
pub fn read_file(path: &Path, mode: Mode) -> FileResult {
    Loader::new(mode, &[PathBuf::from(LISTS_FOLDER)]).read_file(path)
}

/// Read these files and folders, with lists from beside them or from [`LISTS_FOLDER`].
pub fn read(paths: &[String], mode: Mode) -> Loaded {
    Loader::new(mode, &[PathBuf::from(LISTS_FOLDER)]).read(paths)
}

/// Files as given; a folder stands for its `*.xml`, in byte order of their names, which is the
/// order that MMT loads compiled rules in. What cannot be listed is kept, so that reading it says
/// why.
pub fn collect(paths: &[String]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        let path = PathBuf::from(path);
        match std::fs::read_dir(&path) {
            Ok(entries) if path.is_dir() => {
                let entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
                let is_rule = |file: &PathBuf| file.extension().is_some_and(|e| e == "xml");
                let mut found: Vec<PathBuf> =
                    entries.filter(is_rule).take(RULE_FILES_MAX).collect();
                let name = |file: &PathBuf| file.file_name().map(ToOwned::to_owned);
                found.sort_by_key(|file| name(file).map(|n| n.as_encoded_bytes().to_vec()));
                files.extend(found);
            }
            _ => files.push(path),
        }
        files.truncate(RULE_FILES_MAX);
    }
    files
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let most = u64::try_from(RULE_FILE_MAX).unwrap_or(u64::MAX);
    let mut reader = file.take(most.saturating_add(1));
    let read = reader.read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Read a file's bytes. `name` is what findings call it.
pub fn read_bytes(name: &str, bytes: &[u8], mode: Mode, lists: &Lists) -> FileResult {
    if bytes.len() > RULE_FILE_MAX {
        let message = format!("this file is larger than {RULE_FILE_MAX} bytes");
        return FileResult::failed(name, message);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => read_text(name, text, mode, lists),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = good.split(|byte| *byte == b'\n').count();
            let message = format!("line {line} is not UTF-8; save the file in that encoding");
            FileResult::failed(name, message)
        }
    }
}

fn read_text(name: &str, text: &str, mode: Mode, lists: &Lists) -> FileResult {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(name, text);
    let mut problems = Vec::new();
    let roots = xml::read(text, &mut problems);
    let mut reader = Reader {
        file: name,
        source: &source,
        mode,
        lists,
        problems,
        ids: HashMap::new(),
        counted: (0, 0),
    };
    let properties = reader.document(&roots);
    let mut problems = reader.problems;
    // The checks look at ids before they look into events; readers go from top to bottom.
    problems.sort_by_key(|problem| problem.span.start);
    let is_error = |problem: &crate::diagnostic::Problem| problem.severity == Severity::Error;
    let is_sound = !problems.iter().any(is_error);
    let left_out = problems.len().saturating_sub(DIAGNOSTICS_MAX);
    if left_out > 0 {
        // An error must not be lost behind warnings: it is what stops the file from loading.
        problems.sort_by_key(|problem| !is_error(problem));
        problems.truncate(DIAGNOSTICS_MAX);
    }
    let mut diagnostics: Vec<Diagnostic> = problems.into_iter().map(|p| source.locate(p)).collect();
    if left_out > 0 {
        let message = format!("{left_out} more findings are not shown");
        diagnostics.push(Diagnostic::of_file(Severity::Warning, name, message));
    }
    FileResult {
        properties: if is_sound { properties } else { Vec::new() },
        diagnostics,
    }
}
