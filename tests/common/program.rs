//! The program as tests run it: started, listened to, and ended.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Longest life of a program: what hangs fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One program at a time: each takes a gigabyte, and spins on its core.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A program that runs; killed when a test fails before its end.
pub(crate) struct Running {
    pub(crate) child: Child,
    folder: PathBuf,
}

/// How it ended, and what it said on standard error.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) err: String,
}

impl Running {
    /// Start `command`, with what it says in files of `folder`.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Self {
        let create = |name| File::create(folder.join(name)).unwrap();
        let child = command
            .current_dir(folder)
            .env_remove("WIRELYNX_LOG")
            .stdin(Stdio::null())
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .spawn()
            .unwrap();
        let folder = folder.to_owned();
        Self { child, folder }
    }

    pub(crate) fn err(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    /// Wait until it says this on standard error; the rest of that line.
    pub(crate) fn says(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let err = self.err();
            let found = err.lines().find_map(|line| line.split_once(text));
            if let Some((_, rest)) = found {
                return rest.to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it did not say '{text}': {err}");
            assert!(
                start.elapsed() < PATIENCE,
                "it does not say '{text}': {err}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let number = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &number]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn wait(mut self) -> Ended {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let err = self.err();
                assert!(!err.contains("panicked"), "{err}");
                return Ended { status, err };
            }
            assert!(
                start.elapsed() < PATIENCE,
                "it does not end: {}",
                self.err()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    pub(crate) fn status(self, status: i32) -> Self {
        assert_eq!(self.status.code(), Some(status), "{}", self.err);
        self
    }

    #[allow(dead_code, reason = "not every test file asks what was said")]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no '{text}' in: {}", self.err);
        self
    }

    /// The line of the final account.
    #[allow(dead_code, reason = "not every test looks at its numbers")]
    pub(crate) fn account(&self) -> &str {
        let mut lines = self.err.lines();
        lines.rfind(|line| line.starts_with("account: ")).unwrap()
    }
}

/// `wirelynx run` with these settings; its metrics are on some free port.
pub(crate) fn with_settings(mut command: Command, settings: &[String]) -> Command {
    command.args(["run", "-X", "metrics.address=127.0.0.1:0"]);
    command.args(settings.iter().flat_map(|setting| ["-X", setting]));
    command
}

/// Make the capture of a scenario of `bench/scenarios`.
pub(crate) fn generate(scenario: &str, folder: &Path) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = folder.join(format!("{scenario}.generated"));
    let status = Command::new(env!("CARGO_BIN_EXE_wirelynx-traffic"))
        .arg("generate")
        .arg(package.join(format!("bench/scenarios/{scenario}.scenario")))
        .arg("--output")
        .arg(&made)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{scenario}");
    made
}
