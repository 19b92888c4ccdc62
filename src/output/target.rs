//! Where lines go: a file, a pipe, standard output. One that fails is opened again, and a file that
//! was moved away is followed by a new one: log rotation needs no signal.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{Duration, Instant};

/// Time between two attempts to open an output again, and between two looks whether a file is still
/// where it was opened.
const RETRY: Duration = Duration::from_secs(1);

/// See the module.
pub struct Target {
    out: Option<BufWriter<Box<dyn Write + Send>>>,
    /// Path to open again; none for what has none, which is tried as it is.
    path: Option<String>,
    /// Which file it is, if it is one: device and number.
    file: Option<(u64, u64)>,
    /// When to look, or to try, again.
    retry: Option<Instant>,
    /// Lines given to `out` since it was last known to have taken all.
    unsure: u64,
    /// Lines lost, not yet told.
    missed: u64,
    /// It has failed, and taken nothing since.
    failed: bool,
    /// How often it was opened again.
    reopened: u64,
}

impl Target {
    /// Lines go to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out: Some(BufWriter::new(out)),
            path: None,
            file: None,
            retry: None,
            unsure: 0,
            missed: 0,
            failed: false,
            reopened: 0,
        }
    }

    /// Lines go to the file or pipe at `path`, behind what is there already, or instead of it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &str, existing: Existing) -> io::Result<Self> {
        // Waits for the reader of a pipe, and notices later when it goes.
        let file = match is_pipe(path) {
            true => File::options().write(true).open(path)?,
            false => open(path, existing)?,
        };
        Ok(Self {
            path: Some(path.to_owned()),
            file: identity(file.metadata()),
            ..Self::new(Box::new(file))
        })
    }

    /// Write one line, which has its end. While the output has failed, it is counted as missed.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.follow()?;
        self.open_again();
        match &mut self.out {
            Some(out) => {
                self.unsure += 1;
                out.write_all(line)
            }
            None => {
                self.missed += 1;
                Ok(())
            }
        }
    }

    /// Let readers see what was written.
    ///
    /// # Errors
    /// Those of the output.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.follow()?;
        self.open_again();
        if let Some(out) = &mut self.out
            && self.unsure > 0
        {
            out.flush()?;
            self.unsure = 0;
            self.failed = false;
        }
        Ok(())
    }

    /// The output has failed: what it may not have taken is lost.
    pub(super) fn fail(&mut self) {
        self.failed = true;
        self.missed += std::mem::take(&mut self.unsure);
        if let Some(out) = self.out.take() {
            // Without another attempt to write what is in the buffer.
            let (out, _) = out.into_parts();
            if self.path.is_none() {
                self.out = Some(BufWriter::new(out));
            }
        }
        self.retry = Some(Instant::now() + RETRY);
    }

    /// Go on in a new file if the one that was opened has been moved away.
    fn follow(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let is_file = self.file.is_some() && self.out.is_some();
        if !is_file || self.retry.is_some_and(|retry| now < retry) {
            return Ok(());
        }
        self.retry = Some(now + RETRY);
        let Some(path) = &self.path else {
            return Ok(());
        };
        if identity(std::fs::metadata(path)) == self.file {
            return Ok(());
        }
        if let Some(mut out) = self.out.take() {
            tracing::info!("output: {path}: was moved; going on in a new file");
            self.retry = None;
            out.flush()?;
            self.unsure = 0;
        }
        Ok(())
    }

    /// Lines lost since this was asked last.
    pub(super) fn missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// Does it take what is written, as far as is known?
    pub(super) const fn is_open(&self) -> bool {
        !self.failed
    }

    /// How often it was opened again after it had failed.
    pub(super) const fn reopened(&self) -> u64 {
        self.reopened
    }

    fn open_again(&mut self) {
        if self.out.is_some() || self.retry.is_some_and(|retry| Instant::now() < retry) {
            return;
        }
        self.retry = Some(Instant::now() + RETRY);
        let Some(path) = &self.path else {
            return;
        };
        if let Ok(file) = open(path, Existing::Append) {
            tracing::info!("output: {path}: open again");
            self.file = identity(file.metadata());
            self.out = Some(BufWriter::new(Box::new(file)));
            self.failed = false;
            self.reopened += 1;
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.path)
            .field("is_open", &self.out.is_some())
            .finish_non_exhaustive()
    }
}

/// What becomes of the lines that a file has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They stay.
    Append,
    /// They go.
    Replace,
}

fn is_pipe(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo())
}

/// A pipe is opened for reading too, as that does not wait for a reader, and does not fail when the
/// reader is exchanged.
fn open(path: &str, existing: Existing) -> io::Result<File> {
    let mut options = File::options();
    match is_pipe(path) {
        true => options.read(true).write(true),
        false => options.append(true).create(true),
    };
    let file = options.open(path)?;
    if existing == Existing::Replace && file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Device and number of a file; none of what is no file.
fn identity(found: io::Result<Metadata>) -> Option<(u64, u64)> {
    let file = found.ok().filter(Metadata::is_file)?;
    Some((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Takes nothing while this is set.
    struct Stubborn(Arc<AtomicBool>);

    impl Write for Stubborn {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(bytes.len()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_without_a_path_is_up_again_when_it_takes_lines() {
        let refuses = Arc::new(AtomicBool::new(true));
        let mut target = Target::new(Box::new(Stubborn(Arc::clone(&refuses))));
        target.write(b"one\n").unwrap();
        assert!(target.flush().is_err() && target.is_open());
        target.fail();
        assert!(!target.is_open());
        assert_eq!(target.missed(), 1);
        target.flush().unwrap();
        assert!(!target.is_open(), "nothing was written that it could take");
        refuses.store(false, Ordering::Relaxed);
        target.write(b"two\n").unwrap();
        target.flush().unwrap();
        assert!(target.is_open());
        assert_eq!((target.missed(), target.reopened()), (0, 0));
    }

    #[test]
    fn a_file_that_failed_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts").display().to_string();
        let refuses = Arc::new(AtomicBool::new(true));
        let mut target = Target {
            path: Some(path.clone()),
            ..Target::new(Box::new(Stubborn(refuses)))
        };
        target.write(b"one\n").unwrap();
        assert!(target.flush().is_err());
        target.fail();
        target.write(b"two\n").unwrap();
        assert!(!target.is_open(), "not at once");
        assert_eq!(target.missed(), 2);
        std::thread::sleep(RETRY);
        target.write(b"three\n").unwrap();
        target.flush().unwrap();
        assert!(target.is_open());
        assert_eq!((target.missed(), target.reopened()), (0, 1));
        assert_eq!(fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn a_file_that_was_moved_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("a"), folder.path().join("a.1"));
        fs::write(&path, "before\n").unwrap();
        let mut target = Target::open(path.to_str().unwrap(), Existing::Append).unwrap();
        target.write(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        target.write(b"two\n").unwrap();
        target.flush().unwrap();
        std::thread::sleep(RETRY);
        target.write(b"three\n").unwrap();
        target.flush().unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "before\none\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(target.missed(), 0);
    }

    #[test]
    fn a_file_is_replaced_if_so_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "before\n").unwrap();
        let mut target = Target::open(path.to_str().unwrap(), Existing::Replace).unwrap();
        target.write(b"one\n").unwrap();
        target.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    }
}
