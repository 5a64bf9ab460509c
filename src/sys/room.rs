//! How wide is the terminal? For `cli`: the kernel keeps the size that the terminal told it last, so nothing
//! is sent to the terminal or read from it.

use super::call::filled;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Columns of the terminal at `fd` (TIOCGWINSZ, ioctl_tty(2)); 0 when it has not told. ENOTTY: no terminal.
pub fn terminal_columns(fd: BorrowedFd) -> io::Result<usize> {
    // SAFETY: the call writes one winsize, for which zeroes are valid.
    let size: libc::winsize = unsafe { filled(|size| libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, size))? };
    Ok(size.ws_col.into())
}
