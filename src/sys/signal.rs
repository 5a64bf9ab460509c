//! What may happen when a signal arrives? Next to nothing: the program may be in the middle of anything.
//! sigaction(2), signal-safety(7).

use super::call::{check, filled};
use std::{io, mem, ptr};

pub use libc::{SIGCHLD, SIGKILL, SIGTERM};

/// What a process does about a signal. A handler may call nothing but `exit_now`, `wake` and atomics.
#[derive(Clone, Copy)]
pub enum Action {
    Default,
    Ignore,
    Call(extern "C" fn(libc::c_int)),
}

/// Calls that `signal` interrupts fail with EINTR instead of being taken up again.
pub fn on_signal(signal: i32, action: Action) -> io::Result<()> {
    // SAFETY: a zeroed sigaction is valid: empty mask, no flags.
    unsafe {
        let mut settings: libc::sigaction = mem::zeroed();
        settings.sa_sigaction = match action {
            Action::Default => libc::SIG_DFL,
            Action::Ignore => libc::SIG_IGN,
            Action::Call(handler) => handler as *const () as libc::sighandler_t,
        };
        check(libc::sigaction(signal, &settings, ptr::null_mut())).map(drop)
    }
}

/// Is `signal` ignored now? A program inherits that from the one that starts it, as from nohup(1).
pub fn is_ignored(signal: i32) -> io::Result<bool> {
    // SAFETY: a zeroed sigaction is valid, and without a new one the call only fills it in.
    let settings: libc::sigaction = unsafe { filled(|old| libc::sigaction(signal, ptr::null(), old))? };
    Ok(settings.sa_sigaction == libc::SIG_IGN)
}

/// Writes one byte to descriptor `fd` and ignores errors. Allowed in a signal handler.
pub fn wake(fd: i32) {
    // SAFETY: write and errno are async-signal-safe; errno is put back as it was.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(fd, [0u8].as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Ends the process at once, without exit handlers. Allowed in a signal handler.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no precondition; it skips exit handlers and buffers.
    unsafe { libc::_exit(code) }
}
