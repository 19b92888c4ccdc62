//! What tests of the whole share.

use std::path::{Path, PathBuf};

/// The folder of published captures: `WIRELYNX_CAPTURES`, or `../shared/captures` beside the
/// repository. `None` when it is not there, which on CI is a failure.
pub(crate) fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("WIRELYNX_CAPTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"),
        PathBuf::from,
    );
    if folder.join("MANIFEST.tsv").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "no captures in {}: set WIRELYNX_CAPTURES",
        folder.display()
    );
    None
}
