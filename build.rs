//! Version stamp of the program.
#![allow(
    clippy::print_stdout,
    reason = "a build script speaks to cargo on standard output"
)]

use std::path::Path;
use std::process::Command;

fn main() {
    for file in watched() {
        println!("cargo::rerun-if-changed={file}");
    }
    let revision = git(&["rev-parse", "--short=12", "HEAD"]);
    let revision = revision.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=WIRELYNX_REVISION={revision}");
}

/// What changes when there is a new commit or another one is checked out: HEAD, which names a
/// branch or holds a commit, and where the branch has its commit. They are beside each other in a
/// clone, and apart in a worktree, so git is asked.
fn watched() -> Vec<String> {
    let path = |name: &str| git(&["rev-parse", "--git-path", name]);
    // With no file at all, cargo would run this after every change to the package.
    let mut watched = vec!["build.rs".to_owned()];
    watched.extend(path("HEAD"));
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let Some(file) = branch.and_then(|branch| path(&branch)) else {
        return watched;
    };
    if Path::new(&file).is_file() {
        watched.push(file);
        return watched;
    }
    // The branch is packed with others, and its next commit makes a file of its own: until then,
    // its folder is watched. Cargo takes what does not exist for changed, at each call.
    watched.extend(path("packed-refs").filter(|packed| Path::new(packed).is_file()));
    let folder = Path::new(&file).ancestors().find(|folder| folder.is_dir());
    watched.extend(folder.map(|folder| folder.display().to_string()));
    watched
}

/// What git prints about this repository; none without git, or outside of a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
