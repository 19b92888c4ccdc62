//! Parts of documents that tests write.

use std::path::Path;

const BEGIN: &str = "<!-- generated -->\n";
const END: &str = "<!-- end -->\n";

/// The generated part of a document must be `expected`. With `WIRELYNX_BLESS` set it is written
/// instead of compared.
pub(crate) fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("WIRELYNX_BLESS").is_some() {
        let text = format!("{before}{BEGIN}{expected}{END}{after}");
        std::fs::write(path, text).unwrap();
    } else {
        assert!(
            found == expected,
            "{name} is out of date: run with WIRELYNX_BLESS=1\n{expected}"
        );
    }
}
