//! How is a file opened inside one folder and never outside of it? By openat(2), without following links.
//! openat(2), fstatat(2), renameat(2), unlinkat(2).

use super::beneath::open_beneath;
use super::call::{check, filled};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;

pub fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(io::Error::from)
}

/// Opens `name` inside the open folder `dir`. Never follows a symbolic link, never waits (a FIFO without
/// a writer would), never becomes a terminal's owner, is not passed on to other programs.
pub fn open_at(dir: &File, name: &str, flags: i32) -> io::Result<File> {
    open_with(dir, name, flags, 0o644)
}

/// Opens a file that no other user may open, or makes it. Only for `http`.
pub fn open_private_at(dir: &File, name: &str) -> io::Result<File> {
    open_with(dir, name, libc::O_WRONLY | libc::O_CREAT, 0o600)
}

fn open_with(dir: &File, name: &str, flags: i32, mode: libc::c_uint) -> io::Result<File> {
    let name = c_string(name)?;
    let flags = flags | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    open_beneath(dir, &name, flags, mode).unwrap_or_else(|| open_plainly(dir, &name, flags, mode))
}

/// For a kernel without openat2(2): only the last part of `name` is not followed, so it must be the only one.
pub fn open_plainly(dir: &File, name: &CStr, flags: i32, mode: libc::c_uint) -> io::Result<File> {
    // SAFETY: `name` is NUL-terminated; the new descriptor has no other owner.
    unsafe {
        let fd = check(libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, mode))?;
        Ok(File::from_raw_fd(fd))
    }
}

pub use libc::{O_CREAT, O_EXCL, O_RDONLY, O_WRONLY};

/// What is known of `name` inside `dir`, of the link itself if it is one.
pub fn stat_at(dir: &File, name: &str) -> io::Result<libc::stat> {
    let name = c_string(name)?;
    let follow = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: `name` is NUL-terminated, and zeroes are a valid stat.
    unsafe { filled(|stat| libc::fstatat(dir.as_raw_fd(), name.as_ptr(), stat, follow)) }
}

pub fn is_regular(stat: &libc::stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Renames inside `dir`, replacing `to`.
pub fn rename_at(dir: &File, from: &str, to: &str) -> io::Result<()> {
    let (from, to, dir) = (c_string(from)?, c_string(to)?, dir.as_raw_fd());
    // SAFETY: both names are NUL-terminated.
    check(unsafe { libc::renameat(dir, from.as_ptr(), dir, to.as_ptr()) }).map(drop)
}

/// Removes the name `name` from `dir`; refuses folders.
pub fn unlink_at(dir: &File, name: &str) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
}
