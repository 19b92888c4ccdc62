//! `build.rs` in repositories of its own: the revision is that of the latest commit, and what cargo
//! is told to watch changes with each commit, and with nothing else.
#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use tempfile::TempDir;

/// What cargo compares of a file: when it was changed. Of a folder, that of all that is in it.
type Times = BTreeMap<PathBuf, SystemTime>;

/// The script, compiled, and a repository with one commit.
struct Place {
    folder: TempDir,
    script: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
        let mut rustc = Command::new("rustc");
        done(
            rustc
                .args(["--edition", "2024", "-o"])
                .args([&script, &source]),
        );
        let place = Self { folder, script };
        std::fs::create_dir(place.repository()).unwrap();
        place.git(&["init", "--quiet", "--initial-branch=main"]);
        std::fs::write(place.repository().join("build.rs"), "").unwrap();
        place.git(&["add", "build.rs"]);
        place.commit();
        place
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.repository(), arguments)
    }

    fn commit(&self) {
        commit(&self.repository());
    }

    /// The revision that the script finds, and the times of what it has cargo watch.
    fn run(&self, folder: &Path) -> (String, Times) {
        let said = done(
            Command::new(&self.script)
                .current_dir(folder)
                .env_remove("GIT_DIR"),
        );
        let mut revision = String::new();
        let mut times = Times::new();
        for line in said.lines() {
            if let Some(found) = line.strip_prefix("cargo::rustc-env=WIRELYNX_REVISION=") {
                found.clone_into(&mut revision);
            } else {
                let file = line.strip_prefix("cargo::rerun-if-changed=").unwrap();
                note(&folder.join(file), &mut times);
            }
        }
        (revision, times)
    }

    /// A commit there changes the revision and something that is watched.
    #[track_caller]
    fn notices_commits(&self, folder: &Path) {
        let (before, watched) = self.run(folder);
        assert!(watched.len() > 1, "{watched:?}");
        assert_eq!(self.run(folder), (before.clone(), watched.clone()));
        commit(folder);
        let (after, changed) = self.run(folder);
        assert_ne!(before, after);
        assert_eq!(after, git(folder, &["rev-parse", "--short=12", "HEAD"]));
        let is_changed = |(path, time): (&PathBuf, &SystemTime)| now(path) != Some(*time);
        assert!(watched.iter().any(is_changed), "{watched:?} {changed:?}");
    }
}

/// Its output; it must succeed.
#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Git, with nothing of this user's configuration.
#[track_caller]
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
        .args(arguments)
        // A hook of git, from which these tests may run, names the repository that it is for.
        .env_remove("GIT_DIR")
        .env_remove("GIT_INDEX_FILE")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    done(&mut command)
}

#[track_caller]
fn commit(folder: &Path) {
    // Files are compared by the time at which they were written, which the kernel counts in ticks.
    std::thread::sleep(std::time::Duration::from_millis(20));
    git(folder, &["commit", "--quiet", "--allow-empty", "-m", "a"]);
}

fn now(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// As cargo does, which takes what does not exist for changed.
#[track_caller]
fn note(path: &Path, times: &mut Times) {
    let time = now(path).unwrap_or_else(|| panic!("{} does not exist", path.display()));
    times.insert(path.to_owned(), time);
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            note(&entry.unwrap().path(), times);
        }
    }
}

#[test]
fn commits_on_a_branch_are_noticed() {
    let place = Place::new();
    place.notices_commits(&place.repository());
    // The commits of others are not.
    let (_, watched) = place.run(&place.repository());
    place.git(&["branch", "other"]);
    place.git(&["update-ref", "refs/heads/other", "HEAD~1"]);
    place.git(&["status"]);
    let same = |(path, time): (&PathBuf, &SystemTime)| now(path) == Some(*time);
    assert!(watched.iter().all(same), "{watched:?}");
    place.git(&["checkout", "--quiet", "other"]);
    assert!(!watched.iter().all(same), "{watched:?}");
    place.notices_commits(&place.repository());
}

#[test]
fn commits_on_a_packed_branch_are_noticed() {
    let place = Place::new();
    place.git(&["checkout", "--quiet", "-b", "some/thing"]);
    place.git(&["pack-refs", "--all"]);
    place.notices_commits(&place.repository());
    // By now it has a file of its own.
    place.notices_commits(&place.repository());
    place.git(&["pack-refs", "--all"]);
    place.git(&["branch", "--quiet", "-D", "main"]);
    place.notices_commits(&place.repository());
}

#[test]
fn commits_in_a_worktree_are_noticed() {
    let place = Place::new();
    let tree = place.folder.path().join("tree");
    place.git(&[
        "worktree",
        "add",
        "--quiet",
        "-b",
        "tree",
        tree.to_str().unwrap(),
    ]);
    place.notices_commits(&tree);
    // The clone that it belongs to is another place.
    let (revision, watched) = place.run(&tree);
    place.commit();
    assert_eq!(place.run(&tree), (revision, watched));
    git(&tree, &["checkout", "--quiet", "--detach"]);
    place.notices_commits(&tree);
}

#[test]
fn without_a_repository_only_the_script_is_watched() {
    let place = Place::new();
    let bare = tempfile::tempdir().unwrap();
    std::fs::write(bare.path().join("build.rs"), "").unwrap();
    let (revision, watched) = place.run(bare.path());
    assert_eq!(revision, "unknown");
    assert_eq!(watched.keys().next(), Some(&bare.path().join("build.rs")));
    assert_eq!(watched.len(), 1);
}
