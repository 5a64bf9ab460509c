//! What does a user want to know while a transfer takes long? How much has passed; and in an error, the file.

use crate::cli::LiveLine;
use std::io::{self, Read, Stderr, Write};
use std::time::{Duration, Instant};

/// Adds the operation and the name to an error of a local file.
pub fn in_words(verb: &str, path: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {path}: {error}"))
}

/// Time before the progress line appears.
const PROGRESS_DELAY: Duration = Duration::from_secs(1);

/// Counts the bytes through it, shows them when the transfer takes long, and names the file in errors.
pub struct Progress<'n, T> {
    inner: T,
    /// What errors and the line call it.
    name: &'n str,
    /// Bytes in all, if known.
    total: Option<u64>,
    done: u64,
    start: Instant,
    line: LiveLine<Stderr>,
}

impl<'n, T> Progress<'n, T> {
    pub fn new(inner: T, name: &'n str, total: Option<u64>) -> Progress<'n, T> {
        Progress {
            inner,
            name,
            total,
            done: 0,
            start: Instant::now(),
            line: LiveLine::new(io::stderr()),
        }
    }

    fn count(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.start.elapsed() < PROGRESS_DELAY || !self.line.is_due() {
            return;
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let rate = mib(self.done) / self.start.elapsed().as_secs_f64();
        let of = self
            .total
            .map_or(String::new(), |total| format!(" of {:.1}", mib(total)));
        let figures = format!(": {:.1}{of} MiB, {rate:.1} MiB/s", mib(self.done));
        self.line.draw(self.name, &figures);
    }
}

impl<T: Write> Write for Progress<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        let count = written.map_err(|error| in_words("write", self.name, error))?;
        self.count(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Progress<'_, T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out);
        let count = read.map_err(|error| in_words("read", self.name, error))?;
        self.count(count);
        Ok(count)
    }
}
