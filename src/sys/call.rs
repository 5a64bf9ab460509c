//! How does a system call become a function of Rust? -1 becomes an error, a place that is filled in a value.

use std::io;

/// The convention of nearly all system calls, whatever integer they return: -1 means "look at errno".
pub fn check<T: From<i8> + PartialEq>(result: T) -> io::Result<T> {
    if result == T::from(-1) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
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
