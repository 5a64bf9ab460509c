//! How wide is the terminal? The kernel keeps the size that the terminal told it last: no bytes are sent to
//! the terminal, and nothing is read from it.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Columns of the terminal at `fd` (TIOCGWINSZ, ioctl_tty(2)); 0 when it has not told. ENOTTY: no terminal.
pub fn terminal_columns(fd: BorrowedFd) -> io::Result<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call writes one winsize to a valid place; the descriptor is open.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &mut size) })?;
    Ok(size.ws_col.into())
}
