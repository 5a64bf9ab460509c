//! How does a server listen without opening its listener? A service manager opens it, keeps it while the
//! server is replaced, and passes it on as descriptor 3 (sd_listen_fds(3)).

use super::call::check;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd};

/// The first descriptor that a service manager passes on.
const FIRST: i32 = 3;

/// The listener that this program, and no other, was started with. `None`: it was started without one.
pub fn passed_listener() -> io::Result<Option<TcpListener>> {
    let of = |name| std::env::var(name).unwrap_or_default();
    // Children inherit the variables, but not the process id.
    if of("LISTEN_PID") != std::process::id().to_string() {
        return Ok(None);
    }
    if of("LISTEN_FDS") != "1" {
        let told = of("LISTEN_FDS");
        return Err(io::Error::other(format!(
            "LISTEN_FDS={told}: expected one socket"
        )));
    }
    // SAFETY: LISTEN_PID names this process, so the descriptor is ours, and it is taken once, at the start.
    let listener = unsafe { TcpListener::from_raw_fd(FIRST) };
    // SAFETY: the calls take integers and an open descriptor.
    unsafe {
        let flags = check(libc::fcntl(listener.as_raw_fd(), libc::F_GETFD))?;
        check(libc::fcntl(
            listener.as_raw_fd(),
            libc::F_SETFD,
            flags | libc::FD_CLOEXEC,
        ))?;
    }
    Ok(Some(listener))
}
