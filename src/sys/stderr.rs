//! How does a server write its log without waiting for the one who reads it? A pipe holds 64 KiB (pipe(7)); a
//! plain write to a full one waits, and a server would stop with it.

use super::poll::{Interest, poll};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Stderr, opened once more: O_NONBLOCK belongs to an open file, and other programs share descriptor 2.
static NONBLOCKING: OnceLock<Option<File>> = OnceLock::new();

/// `None`: an ordinary file, where a write does not wait for a reader, or a socket, which cannot be opened.
fn open_again() -> Option<File> {
    let path = "/proc/self/fd/2";
    let kind = fs::metadata(path).ok()?.file_type();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().write(true).custom_flags(flags).open(path);
    file.ok().filter(|_| kind.is_fifo() || kind.is_char_device())
}

/// Writes `text` to stderr in one write; false when there is no room for it now, or stderr is closed.
pub fn write_stderr(text: &str) -> bool {
    match NONBLOCKING.get_or_init(open_again) {
        Some(file) => (&*file).write_all(text.as_bytes()).is_ok(),
        None => {
            let mut stderr = io::stderr().lock();
            // A ready socket has room for many lines, so no other process fills it first.
            let ready = poll(&[(stderr.as_fd(), Interest::Write)], Some(Instant::now()));
            ready.is_ok_and(|count| count > 0) && stderr.write_all(text.as_bytes()).is_ok()
        }
    }
}

/// Lets a repeated line into the log once a second; holds the second since 1970 in which it was due last.
#[derive(Default)]
pub struct RateLimiter(AtomicU64);

impl RateLimiter {
    /// Is it time for the line?
    pub fn is_due(&self) -> bool {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.swap(second.as_secs(), Relaxed) != second.as_secs()
    }
}

/// For an error that passes, at most once a second.
pub fn report_passing(error: &io::Error) {
    static LIMITER: RateLimiter = RateLimiter(AtomicU64::new(0));
    if LIMITER.is_due() {
        write_stderr(&format!(
            "kolam: cannot wait for connections: {error}; trying again\n"
        ));
    }
}
