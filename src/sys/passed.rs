//! How does a server listen without opening its listener? A service manager opens it, keeps it while the
//! server is replaced, and passes it on as descriptor 3 (sd_listen_fds(3)).

use super::call::check;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};

/// The first descriptor that a service manager passes on.
const FIRST: i32 = 3;

/// A variable of the environment. Children inherit the two that are used here, but not the process id in one.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Was this process, and no other, started with a listener?
fn was_given_one() -> bool {
    variable("LISTEN_PID") == std::process::id().to_string()
}

/// The listener that this process was started with. `None`: it was started without one.
pub fn passed_listener() -> io::Result<Option<TcpListener>> {
    if !was_given_one() {
        return Ok(None);
    }
    let told = variable("LISTEN_FDS");
    if told != "1" {
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

/// Was `listener` passed on? The service manager keeps it then, for the server after this one.
pub fn is_passed_on(listener: &impl AsFd) -> bool {
    listener.as_fd().as_raw_fd() == FIRST && was_given_one()
}

/// Refuses new connections at once, also in all other processes that share this listener (shutdown(2)). One
/// that was passed on goes on: what arrives waits in it.
pub fn refuse_connections(listener: &TcpListener) -> io::Result<()> {
    if is_passed_on(listener) {
        return Ok(());
    }
    // SAFETY: shutdown takes integers; the descriptor is open.
    check(unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) }).map(drop)
}
