//! Where lines go: a file, a pipe, standard output. One that fails can be opened again, and a file
//! that is moved away, as logrotate(8) does, is followed by a new one.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{Duration, Instant};

/// Time between two attempts to open an output again, and between two looks whether it was moved.
const RETRY: Duration = Duration::from_secs(1);

/// See the module.
pub struct Target {
    out: Option<BufWriter<Box<dyn Write + Send>>>,
    /// Path to open again; none for what has none, which is tried as it is.
    path: Option<String>,
    /// When to try again.
    retry: Option<Instant>,
    /// Of a file that may be moved away.
    followed: Option<Followed>,
    /// Lines given to `out` since it was last known to have taken all.
    unsure: u64,
    /// Lines lost, not yet told.
    missed: u64,
}

/// What is known of a file that is open.
struct Followed {
    /// Its device and inode.
    identity: (u64, u64),
    /// When its path was looked at last.
    seen: Instant,
}

impl Followed {
    /// Only a regular file is ever moved away.
    fn new(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok().filter(Metadata::is_file)?;
        Some(Self {
            identity: identity(&metadata),
            seen: Instant::now(),
        })
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Target {
    /// Lines go behind those that are at `path` already. When another file comes to be there, or
    /// none, a file is opened there within a second; no line is lost over that.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn append(path: &str) -> io::Result<Self> {
        let file = open(path)?;
        let followed = Followed::new(&file);
        let target = Self::new(Box::new(file), Some(path.to_owned()));
        Ok(Self { followed, ..target })
    }

    /// Lines go to `out`, which was opened at `path`.
    pub fn new(out: Box<dyn Write + Send>, path: Option<String>) -> Self {
        Self {
            out: Some(BufWriter::new(out)),
            path,
            retry: None,
            followed: None,
            unsure: 0,
            missed: 0,
        }
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
        }
        Ok(())
    }

    /// The output has failed: what it may not have taken is lost.
    pub(super) fn fail(&mut self) {
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

    /// Lines lost since this was asked last.
    pub(super) fn missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// Was the file moved away? Then what waits goes to it, and the next lines to a new one.
    fn follow(&mut self) -> io::Result<()> {
        let (Some(followed), Some(path)) = (&mut self.followed, &self.path) else {
            return Ok(());
        };
        if followed.seen.elapsed() < RETRY {
            return Ok(());
        }
        followed.seen = Instant::now();
        let is_there = |found: Metadata| identity(&found) == followed.identity;
        if self.out.is_none() || std::fs::metadata(path).is_ok_and(is_there) {
            return Ok(());
        }
        if let Some(out) = &mut self.out {
            out.flush()?;
            self.unsure = 0;
        }
        let file = open(path)?;
        self.followed = Followed::new(&file);
        self.out = Some(BufWriter::new(Box::new(file)));
        tracing::info!("output: {path}: another file");
        Ok(())
    }

    fn open_again(&mut self) {
        if self.out.is_some() || self.retry.is_some_and(|retry| Instant::now() < retry) {
            return;
        }
        self.retry = Some(Instant::now() + RETRY);
        let Some(path) = &self.path else {
            return;
        };
        if let Ok(file) = open(path) {
            tracing::info!("output: {path}: open again");
            self.followed = self.followed.take().and_then(|_| Followed::new(&file));
            self.out = Some(BufWriter::new(Box::new(file)));
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

/// Open a file to add lines to it. A pipe is opened for reading too, as that does not wait for a
/// reader, and does not fail when the reader is exchanged.
fn open(path: &str) -> io::Result<File> {
    let is_pipe = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo());
    let mut options = File::options();
    match is_pipe {
        true => options.read(true).write(true),
        false => options.append(true).create(true),
    };
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Have the next line look whether the file is still there.
    fn look_now(target: &mut Target) {
        let followed = target.followed.as_mut().unwrap();
        followed.seen = Instant::now().checked_sub(RETRY).unwrap();
    }

    fn line(target: &mut Target, line: &[u8]) {
        target.write(line).unwrap();
        target.flush().unwrap();
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_go_behind_those_of_the_run_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts");
        for number in 0..2 {
            let mut target = Target::append(path.to_str().unwrap()).unwrap();
            line(&mut target, format!("{number}\n").as_bytes());
        }
        assert_eq!(text(&path), "0\n1\n");
    }

    #[test]
    fn a_file_that_was_moved_is_followed_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("alerts"), folder.path().join("moved"));
        let mut target = Target::append(path.to_str().unwrap()).unwrap();
        line(&mut target, b"1\n");
        std::fs::rename(&path, &moved).unwrap();
        line(&mut target, b"2\n");
        assert_eq!(text(&moved), "1\n2\n", "its path was looked at just now");
        // What waits belongs to the old file.
        target.write(b"3\n").unwrap();
        look_now(&mut target);
        line(&mut target, b"4\n");
        assert_eq!(
            (text(&moved), text(&path)),
            ("1\n2\n3\n".into(), "4\n".into())
        );
        look_now(&mut target);
        line(&mut target, b"5\n");
        assert_eq!(text(&path), "4\n5\n", "the same file as before");
        // As logrotate makes a new one.
        std::fs::rename(&path, &moved).unwrap();
        std::fs::write(&path, "").unwrap();
        look_now(&mut target);
        line(&mut target, b"6\n");
        assert_eq!((text(&moved), text(&path)), ("4\n5\n".into(), "6\n".into()));
        assert_eq!(target.missed(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let path = inner.join("alerts");
        let mut target = Target::append(path.to_str().unwrap()).unwrap();
        line(&mut target, b"1\n");
        std::fs::remove_dir_all(&inner).unwrap();
        look_now(&mut target);
        assert!(target.write(b"2\n").is_err());
        target.fail();
        std::fs::create_dir(&inner).unwrap();
        target.retry = None;
        line(&mut target, b"3\n");
        assert_eq!(text(&path), "3\n");
    }
}
