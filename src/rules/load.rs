//! Rule files to properties and findings. Nothing here is on the data path: files are read at start
//! and when rules are reloaded.

use super::property::Property;
use super::tree::Reader;
use super::xml;
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::expr::Mode;
use crate::expr::functions::lists::{Files, Lists};
use crate::limits::{DIAGNOSTICS_MAX, RULE_FILE_MAX, RULE_FILES_MAX};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Where lists are looked for last, when no other folder of lists is named.
pub const LISTS_FOLDER: &str = "rules/lists";

/// Name of the folders of lists beside rule files and above them.
const LISTS: &str = "lists";

/// Reads rule files, and each list that they name once.
#[derive(Debug)]
pub struct Loader {
    mode: Mode,
    folders: Vec<PathBuf>,
    lists: HashMap<PathBuf, Lists>,
    files: Arc<Files>,
}

impl Loader {
    /// `folders`: where lists are looked for when they are not beside a rule file, nor above it up
    /// to the folder that was named. [`LISTS_FOLDER`] when there are none, as the last of all.
    pub fn new(mode: Mode, folders: &[PathBuf]) -> Self {
        Self {
            mode,
            folders: folders.to_vec(),
            lists: HashMap::new(),
            files: Arc::default(),
        }
    }

    /// Read one file.
    pub fn read_file(&mut self, path: &Path) -> FileResult {
        self.read_below(folder_of(path), path)
    }

    /// Read one file that was found below the folder `root`.
    fn read_below(&mut self, root: &Path, path: &Path) -> FileResult {
        let name = path.display().to_string();
        match read_bounded(path) {
            Ok(bytes) => {
                let folder = folder_of(path).to_owned();
                let others = &self.folders;
                let lists = self.lists.entry(folder).or_insert_with_key(|folder| {
                    Lists::sharing(lists_of(folder, root, others), Arc::clone(&self.files))
                });
                read_bytes(&name, &bytes, self.mode, lists)
            }
            Err(message) => FileResult::failed(&name, message),
        }
    }

    /// Read these files, and all `*.xml` in and below these folders.
    pub fn read(&mut self, paths: &[String]) -> Loaded {
        let mut files = Vec::new();
        for path in paths {
            let root = Path::new(path);
            let found = collect(std::slice::from_ref(path)).into_iter();
            files.extend(found.map(|file| (root, file)));
        }
        files.truncate(RULE_FILES_MAX);
        self.read_files(files)
    }

    /// Read these files, each with the folder below which it was found.
    pub fn read_files<'p>(
        &mut self,
        files: impl IntoIterator<Item = (&'p Path, PathBuf)>,
    ) -> Loaded {
        let mut loaded = Loaded::default();
        let mut seen: HashMap<u32, String> = HashMap::new();
        for (root, path) in files {
            loaded.files += 1;
            let root = if root == path { folder_of(root) } else { root };
            let result = self.read_below(root, &path);
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

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

/// Folders with the lists of rules in `folder`, the first to be looked into first: from beside the
/// rules up to the folder `root` that was named, so that the themes of a library share them; those
/// that were named for lists, `named`; and those above `root`, for one that is part of a library.
fn lists_of(folder: &Path, root: &Path, named: &[PathBuf]) -> Vec<PathBuf> {
    let below = folder.ancestors().take_while(|f| f.starts_with(root));
    let mut found: Vec<PathBuf> = below.map(|f| f.join(LISTS)).collect();
    found.extend_from_slice(named);
    let here = if root.as_os_str().is_empty() {
        Path::new(".")
    } else {
        root
    };
    // As it is written, a path such as `.` does not tell what is above it.
    if let Ok(root) = std::fs::canonicalize(here) {
        found.extend(root.ancestors().skip(1).map(|f| f.join(LISTS)));
    }
    let last = PathBuf::from(LISTS_FOLDER);
    if named.is_empty() && !found.contains(&last) {
        found.push(last);
    }
    found
}

/// Read one file, with lists from beside it, from above it or from [`LISTS_FOLDER`].
pub fn read_file(path: &Path, mode: Mode) -> FileResult {
    Loader::new(mode, &[]).read_file(path)
}

/// Read these files and folders, with lists from beside them, from above them or from
/// [`LISTS_FOLDER`].
pub fn read(paths: &[String], mode: Mode) -> Loaded {
    Loader::new(mode, &[]).read(paths)
}

/// Files as given; a folder stands for its `*.xml`, in byte order of their names, which is the
/// order that MMT loads compiled rules in, and then for those of the folders in it. What cannot be
/// listed is kept, so that reading it says why.
pub fn collect(paths: &[String]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        let path = PathBuf::from(path);
        if path.is_dir() {
            collect_folder(path, &mut files);
        } else {
            files.push(path);
        }
        files.truncate(RULE_FILES_MAX);
    }
    files
}

fn collect_folder(folder: PathBuf, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return files.push(folder);
    };
    let mut entries: Vec<std::fs::DirEntry> = entries
        .filter_map(Result::ok)
        .take(RULE_FILES_MAX)
        .collect();
    entries.sort_by_key(|entry| entry.file_name().as_encoded_bytes().to_vec());
    // A link is no folder here, so that none leads round in circles.
    let is_folder = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let (folders, rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_folder);
    let paths = rest.iter().map(std::fs::DirEntry::path);
    files.extend(paths.filter(|file| file.extension().is_some_and(|e| e == "xml")));
    for folder in folders {
        if files.len() < RULE_FILES_MAX {
            collect_folder(folder.path(), files);
        }
    }
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
        written_out: 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_lists_come_first() {
        let of = |folder: &Path, root: &Path, named: &[&str]| -> Vec<String> {
            let named: Vec<PathBuf> = named.iter().map(PathBuf::from).collect();
            let found = lists_of(folder, root, &named).into_iter();
            found.map(|folder| folder.display().to_string()).collect()
        };
        // What a folder is below, whatever the machine: its links are resolved.
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap();
        let (theme, rule) = (base.join("rules/scans"), base.join("rules/scans/syn-scan"));
        std::fs::create_dir_all(&rule).unwrap();
        let found = of(&rule, &theme, &["feeds"]);
        let base = base.display();
        let expected = [
            format!("{base}/rules/scans/syn-scan/lists"),
            format!("{base}/rules/scans/lists"),
            "feeds".to_owned(),
            format!("{base}/rules/lists"),
            format!("{base}/lists"),
        ];
        assert_eq!(found.get(..5).unwrap(), expected);
        assert_eq!(found.last().unwrap(), "/lists");
        assert_eq!(of(&rule, &theme, &[]).last().unwrap(), LISTS_FOLDER);
        // Nothing is looked into twice.
        let library = of(Path::new("rules/scans"), Path::new("rules"), &[]);
        assert_eq!(library.iter().filter(|f| *f == LISTS_FOLDER).count(), 1);
        assert_eq!(
            of(Path::new(""), Path::new(""), &[]).first().unwrap(),
            "lists"
        );
    }
}
