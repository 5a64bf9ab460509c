//! What if a name leads out of its folder all the same? Then the kernel refuses it: openat2(2), Linux 5.6. A
//! name of a peer has one part by then (`store.rs`), so this is a second protection. The calls that look at,
//! rename or remove a name need none: they never follow its last part.

use super::call::check;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::OnceLock;

/// What may not happen on the way to the file: to leave the folder (`..`, a path from the root), to follow a
/// symbolic link, or one of the links in /proc that lead to what a process has open.
const REFUSED: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;

/// Opens `name` in the open folder `dir`, with the flags and the mode of open(2). `None`: the kernel is
/// older, or a filter of system calls (seccomp(2), in containers) forbids it. That is found out once.
pub fn open_beneath(dir: &File, name: &CStr, flags: i32, mode: libc::c_uint) -> Option<io::Result<File>> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    // The folder itself: for any other name EPERM could be the answer about the file.
    let probe = || !is_unknown(&openat2(dir, c".", libc::O_PATH | libc::O_CLOEXEC, 0));
    KNOWN.get_or_init(probe).then(|| openat2(dir, name, flags, mode))
}

fn is_unknown(opened: &io::Result<File>) -> bool {
    let code = opened.as_ref().err().and_then(io::Error::raw_os_error);
    matches!(code, Some(libc::ENOSYS | libc::EPERM))
}

fn openat2(dir: &File, name: &CStr, flags: i32, mode: libc::c_uint) -> io::Result<File> {
    // A mode is an error when no file can be made.
    let mode = if flags & libc::O_CREAT == 0 { 0 } else { mode };
    // SAFETY: zeroes are a valid open_how; `name` is NUL-terminated; the size is that of `how`; the new
    // descriptor has no other owner.
    unsafe {
        let mut how: libc::open_how = std::mem::zeroed();
        (how.flags, how.mode, how.resolve) = (flags as u64, mode.into(), REFUSED);
        let size = size_of::<libc::open_how>();
        let fd = check(libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            name.as_ptr(),
            &how,
            size,
        ))?;
        Ok(File::from_raw_fd(fd as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::open_plainly;
    use super::*;
    use crate::session::Folder;
    use std::fs;
    use std::os::unix::fs::symlink;

    const READ: i32 = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    const MAKE: i32 = READ | libc::O_WRONLY | libc::O_CREAT;

    /// A folder with all that a name may lead to, and a secret outside of it.
    fn folder() -> (Folder, Folder, File) {
        let (inside, outside) = (Folder::new(), Folder::new());
        outside.write("secret", b"secret");
        inside.write("a", b"kolam");
        fs::create_dir(inside.path().join("dir")).unwrap();
        inside.write("dir/b", b"");
        for (name, target) in [
            ("link", outside.path().join("secret")),
            ("linkdir", outside.path().to_owned()),
            ("dangling", outside.path().join("none")),
            ("here", "a".into()),
            ("magic", "/proc/self/fd/0".into()),
        ] {
            symlink(target, inside.path().join(name)).unwrap();
        }
        let dir = File::open(inside.path()).unwrap();
        (inside, outside, dir)
    }

    fn code(opened: io::Result<File>) -> Option<i32> {
        opened.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn both_ways_refuse_the_same_names_and_links() {
        let (inside, outside, dir) = folder();
        for (name, expected) in [
            (c"a", None),
            (c"link", Some(libc::ELOOP)),
            (c"linkdir", Some(libc::ELOOP)),
            (c"dangling", Some(libc::ELOOP)),
            (c"here", Some(libc::ELOOP)),
            (c"magic", Some(libc::ELOOP)),
            (c"none", Some(libc::ENOENT)),
            (c"", Some(libc::ENOENT)),
            (c"a/", Some(libc::ENOTDIR)),
        ] {
            assert_eq!(code(open_plainly(&dir, name, READ, 0)), expected, "{name:?}");
            if let Some(opened) = open_beneath(&dir, name, READ, 0o644) {
                assert_eq!(code(opened), expected, "{name:?}");
            }
        }
        for name in [c"link", c"dangling", c"here"] {
            assert_eq!(code(open_plainly(&dir, name, MAKE, 0o644)), Some(libc::ELOOP));
            if let Some(opened) = open_beneath(&dir, name, MAKE, 0o644) {
                assert_eq!(code(opened), Some(libc::ELOOP), "{name:?}");
            }
        }
        assert_eq!(outside.names(), ["secret"]);
        assert_eq!(inside.names().len(), 7);
    }

    #[test]
    fn the_kernel_refuses_what_a_checked_name_never_is() {
        let (inside, _outside, dir) = folder();
        let secret = inside.path().join("link");
        let secret = fs::read_link(secret).unwrap();
        let absolute = super::super::file::c_string(&secret).unwrap();
        for (name, expected) in [
            (c"..", libc::EXDEV),
            (c"../anything", libc::EXDEV),
            (c"dir/../../anything", libc::EXDEV),
            (absolute.as_c_str(), libc::EXDEV),
            (c"linkdir/secret", libc::ELOOP),
        ] {
            if let Some(opened) = open_beneath(&dir, name, READ, 0) {
                assert_eq!(code(opened), Some(expected), "{name:?}");
            }
        }
    }

    #[test]
    fn only_a_kernel_or_a_filter_that_does_not_know_the_call_is_given_up() {
        let is = |code| is_unknown(&Err(io::Error::from_raw_os_error(code)));
        assert!(is(libc::ENOSYS) && is(libc::EPERM));
        assert!(!is(libc::EMFILE) && !is(libc::EACCES) && !is(libc::EXDEV));
    }
}
