//! The rules that tests of the whole run with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use wirelynx::expr::Mode;
use wirelynx::rules::RuleSet;
use wirelynx::rules::load::Loader;

/// Folders of rule files: the published ones, and our own for the rules that were C code.
pub(crate) fn folders(captures: &Path) -> [PathBuf; 2] {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    [
        captures.join("mmt-security/rules"),
        package.join("tests/conformance/rules"),
    ]
}

/// Folder of the lists that they look things up in.
pub(crate) fn lists() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/lists")
}

/// All of them that can be loaded.
pub(crate) fn load(captures: &Path, mode: Mode) -> Arc<RuleSet> {
    let paths = folders(captures).map(|folder| folder.display().to_string());
    let read = Loader::new(mode, &[lists()]).read(&paths);
    let (rules, failed) = RuleSet::new(read.properties, mode);
    assert!(failed.is_empty(), "{failed:?}");
    assert!(rules.programs.len() > 30, "{} rules", rules.programs.len());
    Arc::new(rules)
}
