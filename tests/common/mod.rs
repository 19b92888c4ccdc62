//! What the tests of the whole share.

use std::path::PathBuf;

/// Folder of the captures that tests read: `WIRELYNX_CAPTURES`, or `shared/captures` beside the
/// package. They are not part of the repository; `None` when they are not there, which under `CI`
/// is a failure.
#[allow(dead_code, reason = "not every test of the whole reads captures")]
pub(crate) fn captures() -> Option<PathBuf> {
    let folder = std::env::var_os("WIRELYNX_CAPTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"),
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
    eprintln!("NO CAPTURES in {}: set WIRELYNX_CAPTURES", folder.display());
    None
}

/// Settings of a worker for one small trace: tables that take no time to clear.
#[allow(dead_code, reason = "not every test of the whole runs a worker")]
pub(crate) fn small() -> wirelynx::worker::Settings {
    let mut settings = wirelynx::worker::Settings::default();
    settings.flows.flows_max = 4_096;
    settings.applications.flows_max = 1_024;
    settings.fragments.datagrams_max = 64;
    settings
}
