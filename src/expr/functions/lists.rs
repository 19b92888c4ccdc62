//! Lists: files of addresses, networks, texts and numbers, one a line, that expressions look into.

pub use super::list::List;

use crate::limits::{LIST_FILE_MAX, LISTS_BYTES_MAX, LISTS_MAX};
use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Lists by name: each is read once, from the first folder that has it.
#[derive(Debug, Default)]
pub struct Lists {
    folders: Vec<PathBuf>,
    files: Arc<Files>,
}

/// The list files read so far. Rules of different folders that name one file share it.
#[derive(Debug, Default)]
pub struct Files(Mutex<Loaded>);

#[derive(Debug, Default)]
struct Loaded {
    lists: HashMap<PathBuf, Arc<List>>,
    /// Memory of all of them in bytes.
    memory: usize,
}

impl Lists {
    /// Lists of these folders; earlier ones go first.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self::sharing(folders, Arc::default())
    }

    /// The same, of files that others may have read.
    pub fn sharing(folders: Vec<PathBuf>, files: Arc<Files>) -> Self {
        Self { folders, files }
    }

    /// The list `name`: the file `name.txt`, or `name`, of one of the folders.
    ///
    /// # Errors
    /// What is wrong, and where the list was looked for.
    pub fn find(&self, name: &str) -> Result<Arc<List>, String> {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        // A name must not lead out of its folder.
        if name.is_empty()
            || name.len() > 100
            || name.starts_with('.')
            || !name.bytes().all(is_part)
        {
            return Err("a list is named with letters, digits, `-`, `_` and points".to_owned());
        }
        for folder in &self.folders {
            for file in [folder.join(format!("{name}.txt")), folder.join(name)] {
                if file.is_file() {
                    let found = self.files.find(name, &file);
                    return found.map_err(|error| format!("{}: {error}", file.display()));
                }
            }
        }
        Err(self.not_found(name))
    }

    /// Where the list was looked for, in vain.
    fn not_found(&self, name: &str) -> String {
        let (there, missing): (Vec<&PathBuf>, Vec<&PathBuf>) =
            self.folders.iter().partition(|folder| folder.is_dir());
        let named = |folders: &[&PathBuf]| {
            let names: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
            names.join(", ")
        };
        let looked = format!("looked for {name}.txt and {name} in {}", named(&there));
        match (there.is_empty(), missing.is_empty()) {
            (true, true) => "no folder for lists is known".to_owned(),
            (true, false) => format!("there is no folder {}", named(&missing)),
            (false, true) => looked,
            (false, false) => format!("{looked}; there is no folder {}", named(&missing)),
        }
    }
}

impl Files {
    fn find(&self, name: &str, path: &Path) -> Result<Arc<List>, String> {
        let key = std::fs::canonicalize(path).map_err(|error| error.to_string())?;
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = loaded.lists.get(&key) {
            return Ok(Arc::clone(list));
        }
        if loaded.lists.len() >= LISTS_MAX {
            return Err(format!("more than {LISTS_MAX} lists are in use"));
        }
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        let size = file.metadata().map_err(|error| error.to_string())?.len();
        if size > LIST_FILE_MAX {
            return Err(format!("larger than {LIST_FILE_MAX} bytes"));
        }
        let mut list = List::read(name, BufReader::new(file))?;
        let memory = loaded.memory.saturating_add(list.memory());
        if memory > LISTS_BYTES_MAX {
            return Err(format!(
                "with it, all lists take more than {} MiB of memory",
                LISTS_BYTES_MAX >> 20
            ));
        }
        list.set_file(path.to_owned());
        let list = Arc::new(list);
        loaded.memory = memory;
        loaded.lists.insert(key, Arc::clone(&list));
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_looked_up_by_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ports.txt"), "22\n").unwrap();
        let missing = folder.path().join("missing");
        let lists = Lists::new(vec![missing, folder.path().to_owned()]);
        let first = lists.find("ports").unwrap();
        assert!(Arc::ptr_eq(&first, &lists.find("ports").unwrap()));
        let error = lists.find("tor").unwrap_err();
        assert!(
            error.contains("tor.txt") && error.contains("missing"),
            "{error}"
        );
        for bad in ["../ports", "", ".x", "a/b", "a\0b"] {
            assert!(lists.find(bad).unwrap_err().contains("letters"), "{bad}");
        }
        assert!(
            Lists::default()
                .find("x")
                .unwrap_err()
                .contains("no folder")
        );
    }

    #[test]
    fn folders_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ports.txt"), "22\n").unwrap();
        let files = Arc::<Files>::default();
        let of = |folders| Lists::sharing(folders, Arc::clone(&files)).find("ports");
        let around = folder.path().join(".").join("../").join(folder.path());
        let one = of(vec![folder.path().to_owned()]).unwrap();
        let other = of(vec![folder.path().join("none"), around]).unwrap();
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("huge.txt")).unwrap();
        file.set_len(LIST_FILE_MAX + 1).unwrap();
        let lists = Lists::new(vec![folder.path().to_owned()]);
        let error = lists.find("huge").unwrap_err();
        assert!(
            error.ends_with("huge.txt: larger than 536870912 bytes"),
            "{error}"
        );
    }
}
