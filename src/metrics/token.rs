//! The token that whoever asks for metrics has to show (RFC 6750, section 2.1).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq as _;

/// Bytes of a file with a token that are read.
const TOKEN_MAX: u64 = 4_096;

/// A file with a token. It is read for each request, so that a new token counts at once.
#[derive(Debug, Clone)]
pub struct Token {
    path: PathBuf,
}

impl Token {
    /// The token in this file.
    ///
    /// # Errors
    /// It cannot be read, or there is no token in it; the text names the file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let token = Self {
            path: path.to_owned(),
        };
        token.read().map(|_| token)
    }

    /// May users read it who are neither its owner nor in its group?
    pub fn is_readable_by_all(&self) -> bool {
        let mode = std::fs::metadata(&self.path).map(|file| file.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o004 != 0)
    }

    /// Does this request show the token? The time that it takes tells nothing of how much of it is
    /// right. Nothing is permitted while the file cannot be read.
    pub fn permits(&self, request: &[u8]) -> bool {
        match self.read() {
            Ok(token) => shown(request).is_some_and(|shown| shown.ct_eq(&token).into()),
            Err(error) => {
                tracing::warn!("metrics.token_file: {error}; requests are refused");
                false
            }
        }
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        use std::io::Read as _;
        let failed = |what: &str| format!("{}: {what}", self.path.display());
        let file = std::fs::File::open(&self.path).map_err(|e| failed(&e.to_string()))?;
        let mut bytes = Vec::new();
        file.take(TOKEN_MAX)
            .read_to_end(&mut bytes)
            .map_err(|e| failed(&e.to_string()))?;
        let token = bytes.trim_ascii();
        match token.iter().all(u8::is_ascii_graphic) && !token.is_empty() {
            true => Ok(token.to_vec()),
            false => Err(failed(
                "expected one token: visible characters without blanks between them",
            )),
        }
    }
}

/// The token in the header of a request. Names of headers and of the scheme are as good in any
/// case.
fn shown(request: &[u8]) -> Option<&[u8]> {
    let mut lines = request.split(|byte| *byte == b'\n').skip(1);
    let credentials = lines.find_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(at);
        let is_it = name.eq_ignore_ascii_case(b"authorization");
        value.get(1..).filter(|_| is_it)
    })?;
    let (scheme, token) = credentials
        .trim_ascii()
        .split_at_checked(b"bearer ".len())?;
    Some(token.trim_ascii()).filter(|_| scheme.eq_ignore_ascii_case(b"bearer "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(folder: &Path, text: &str) -> Result<Token, String> {
        let path = folder.join("token");
        std::fs::write(&path, text).unwrap();
        Token::open(&path)
    }

    #[test]
    fn a_request_has_to_show_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let token = token(folder.path(), "s3cret\n").unwrap();
        let permits = |header: &str| {
            token
                .permits(format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n").as_bytes())
        };
        assert!(permits("Authorization: Bearer s3cret"));
        assert!(permits("authorization:bearer  s3cret "));
        for header in [
            "Accept: */*",
            "Authorization: Bearer s3cre",
            "Authorization: Bearer s3cret1",
            "Authorization: Bearer",
            "Authorization: Basic s3cret",
            "X-Authorization: Bearer s3cret",
        ] {
            assert!(!permits(header), "{header}");
        }
        std::fs::write(folder.path().join("token"), "other").unwrap();
        assert!(
            permits("Authorization: Bearer other"),
            "a new token counts at once"
        );
        std::fs::remove_file(folder.path().join("token")).unwrap();
        assert!(
            !permits("Authorization: Bearer other"),
            "without a file, nobody may"
        );
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", " \n", "two words", "line\nline"] {
            let error = token(folder.path(), text).unwrap_err();
            assert!(error.contains("expected one token"), "{text:?}: {error}");
        }
        let none = Token::open(&folder.path().join("none")).unwrap_err();
        assert!(none.contains("none: No such file"), "{none}");
    }

    #[test]
    fn a_file_that_all_may_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let token = token(folder.path(), "s3cret").unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join("token"), permissions).unwrap();
            assert_eq!(token.is_readable_by_all(), open, "{mode:o}");
        }
    }
}
