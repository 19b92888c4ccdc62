//! The control socket: a Unix socket that takes one request a connection, a line, and answers with
//! one JSON object in a line. Who may write to the file may ask; its mode is 0600.

use super::Failure;
use super::reloader::Outcome;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The request to read the rules again.
const RELOAD: &str = "reload";
/// Bytes of a request that are read.
const REQUEST_MAX: u64 = 256;
/// Time that a client may take to send its request, and to take the answer.
const CLIENT_TIME: Duration = Duration::from_secs(2);
/// Time that a client waits for its answer: reading a large library from a slow disk.
const ANSWER_TIME: Duration = Duration::from_secs(300);
/// Bytes of an answer that a client reads: all findings of [`super::load::FINDINGS_MAX`].
const ANSWER_MAX: u64 = 16 << 20;

/// The program's end. The file goes when this is dropped.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listen at `path`. The file of a program that has died is replaced.
    ///
    /// # Errors
    /// Another program listens there, the file is no socket, or the system refuses.
    pub fn bind(path: &Path) -> io::Result<Self> {
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        // Whoever came before the mode was set may not have been allowed to.
        while listener.accept().is_ok() {}
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Answer one client, if one waits; false if there is none.
    pub fn serve(&self, reload: &mut dyn FnMut() -> Outcome) -> bool {
        let Ok((client, _)) = self.listener.accept() else {
            return false;
        };
        // A client that goes away in the middle is its own business.
        let _ = answer(client, reload);
        true
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever removed it before has done the same.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(file) = std::fs::symlink_metadata(path) else {
        // Not there; where it cannot be looked at, binding says why.
        return Ok(());
    };
    if !file.file_type().is_socket() {
        let text = "there is a file that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => {
            let text = "another program listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
    }
}

fn answer(mut client: UnixStream, reload: &mut dyn FnMut() -> Outcome) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(CLIENT_TIME))?;
    client.set_write_timeout(Some(CLIENT_TIME))?;
    let mut request = Vec::new();
    BufReader::new((&client).take(REQUEST_MAX)).read_until(b'\n', &mut request)?;
    let mut line = match String::from_utf8_lossy(&request).trim_end() {
        RELOAD => serde_json::to_string(&reload())?,
        other => {
            let error = format!("unknown request {other:?}; expected {RELOAD:?}");
            serde_json::json!({"result": "failure", "error": error}).to_string()
        }
    };
    line.push('\n');
    client.write_all(line.as_bytes())
}

/// Ask the program that listens at `path` to reload its rules: its answer, without the line end.
///
/// # Errors
/// Nobody listens there, or the answer does not come.
pub fn ask_reload(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "; is wirelynx running with control.socket set to this?"
            }
            _ => "",
        };
        Failure::Running(format!("{}: {error}{hint}", path.display()))
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_TIME)).map_err(failed)?;
    stream
        .write_all(format!("{RELOAD}\n").as_bytes())
        .map_err(failed)?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER_MAX));
    reader.read_line(&mut answer).map_err(failed)?;
    match answer.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => {
            let text = format!("{}: the program ended without an answer", path.display());
            Err(Failure::Running(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::load::Refused;

    /// Serve one client while `ask` runs.
    fn serve_one<T: Send>(
        listener: &Listener,
        outcome: &Outcome,
        ask: impl FnOnce() -> T + Send,
    ) -> T {
        std::thread::scope(|scope| {
            let asking = scope.spawn(ask);
            while !listener.serve(&mut || outcome.clone()) {
                std::thread::sleep(Duration::from_millis(1));
            }
            asking.join().unwrap()
        })
    }

    #[test]
    fn a_request_is_answered_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Listener::bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!listener.serve(&mut || unreachable!()));

        let refused = Refused {
            error: "two\nlines".to_owned(),
            findings: vec!["a".to_owned()],
        };
        let outcome = Outcome::Failure(refused);
        let answer = serve_one(&listener, &outcome, || ask_reload(&path).unwrap());
        let expected = r#"{"result":"failure","error":"two\nlines","findings":["a"]}"#;
        assert_eq!(answer, expected);

        let other = || {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(b"stop\xff\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = serve_one(&listener, &outcome, other);
        let expected =
            "\"error\":\"unknown request \\\"stop\u{fffd}\\\"; expected \\\"reload\\\"\"";
        assert!(
            answer.contains(expected) && answer.ends_with("}\n"),
            "{answer}"
        );
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn clients_that_say_too_much_or_nothing_hold_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Listener::bind(&path).unwrap();
        let mut endless = UnixStream::connect(&path).unwrap();
        endless.write_all(&[b'a'; 100_000]).unwrap();
        drop(UnixStream::connect(&path).unwrap());
        let start = std::time::Instant::now();
        assert!(listener.serve(&mut || unreachable!()));
        assert!(listener.serve(&mut || unreachable!()));
        assert!(start.elapsed() < CLIENT_TIME, "{:?}", start.elapsed());
    }

    #[test]
    fn the_file_of_the_dead_is_replaced_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // A listener that ends without a word leaves its file behind.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::bind(&path).unwrap();
        let error = Listener::bind(&path).unwrap_err().to_string();
        assert_eq!(error, "another program listens there");
        assert!(path.exists(), "the one that listens keeps its file");
        drop(listener);

        std::fs::write(&path, "text").unwrap();
        let error = Listener::bind(&path).unwrap_err().to_string();
        assert_eq!(error, "there is a file that is no socket");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
        let nowhere = folder.path().join("no/where");
        assert!(Listener::bind(&nowhere).is_err());
        let error = ask_reload(&nowhere).unwrap_err().to_string();
        assert!(error.contains("control.socket"), "{error}");
    }
}
