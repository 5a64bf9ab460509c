//! How does a system call become a function of Rust? -1 becomes an error, a place that is filled in a value.

use super::stderr::report_passing;
use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

/// The convention of nearly all system calls, whatever integer they return: -1 means "look at errno".
pub fn check<T: From<i8> + PartialEq>(result: T) -> io::Result<T> {
    if result == T::from(-1) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// How long a wait that the kernel has no memory for rests before it is tried again.
const REST: Duration = Duration::from_millis(50);

/// The result of a call that waits for descriptors: how many are ready. None after a signal, or while the
/// kernel lacks memory (ENOMEM in ppoll(2)); the caller, who looks at the time anyway, waits again.
pub fn waited(count: io::Result<i32>) -> io::Result<usize> {
    match count {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
            report_passing(&error);
            thread::sleep(REST);
            Ok(0)
        }
        count => Ok(count? as usize),
    }
}

/// What `call`, a system call that fills in a structure, has written to the place that it was given.
///
/// # Safety
///
/// Zeroes must be a valid `T`, and `call` may write one `T` to that place and nothing elsewhere.
pub unsafe fn filled<T>(call: impl FnOnce(*mut T) -> i32) -> io::Result<T> {
    // SAFETY: as the caller promises.
    let mut value = unsafe { std::mem::zeroed() };
    check(call(&mut value)).map(|_| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_survives_what_passes() {
        let of = |code| waited(Err(io::Error::from_raw_os_error(code)));
        assert_eq!((of(libc::EINTR).unwrap(), of(libc::ENOMEM).unwrap()), (0, 0));
        assert!(of(libc::EINVAL).is_err());
        assert_eq!(waited(Ok(3)).unwrap(), 3);
    }
}
