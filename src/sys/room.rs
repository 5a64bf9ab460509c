//! How much room is there? Columns of a terminal, for `cli`, bytes on a disk and large pages, for `stress`.

use super::call::filled;
use super::file::c_string;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

/// Columns and rows of the terminal at `fd` (TIOCGWINSZ, ioctl_tty(2)); 0: not told. ENOTTY: no terminal.
/// The kernel keeps what the terminal told it last, so nothing is sent to it or read from it.
pub fn terminal_size(fd: BorrowedFd) -> io::Result<(usize, usize)> {
    // SAFETY: the call writes one winsize, for which zeroes are valid.
    let size: libc::winsize = unsafe { filled(|size| libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, size))? };
    Ok((size.ws_col.into(), size.ws_row.into()))
}

/// Bytes that a program without privileges may still write below `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let path = c_string(path)?;
    // SAFETY: the path is NUL-terminated, and zeroes are a valid statvfs.
    let stat: libc::statvfs = unsafe { filled(|stat| libc::statvfs(path.as_ptr(), stat))? };
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Asks for pages of 2 MiB for memory that has not been touched yet (madvise(2), MADV_HUGEPAGE): to read
/// all of it then takes 512 times fewer address translations (TLB). A kernel that has none ignores it.
pub fn prefer_huge_pages(memory: &mut [u8]) {
    let start = memory.as_ptr().align_offset(4096);
    let Some(pages) = memory.get_mut(start..) else {
        return;
    };
    // SAFETY: the range belongs to `memory` and begins at a page; the advice changes no content.
    unsafe { libc::madvise(pages.as_mut_ptr().cast(), pages.len(), libc::MADV_HUGEPAGE) };
}
