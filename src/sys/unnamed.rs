//! How do processes share what has no fixed length? In a file without a name, in memory, made before the
//! fork: memfd_create(2). It is gone with the last process that has it open.

use super::call::check;
use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;

/// A new file, empty.
pub fn file_in_memory() -> io::Result<File> {
    let create = |flags| {
        // SAFETY: the name, only for those who look into /proc, is NUL-terminated; the new descriptor has no
        // other owner.
        unsafe { check(libc::memfd_create(c"kolam".as_ptr(), flags)).map(|fd| File::from_raw_fd(fd)) }
    };
    // Linux 6.3 and later: it can never be run as a program, and systems that insist on that allow it.
    create(libc::MFD_CLOEXEC | libc::MFD_NOEXEC_SEAL).or_else(|_| create(libc::MFD_CLOEXEC))
}
