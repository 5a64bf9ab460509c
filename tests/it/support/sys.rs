//! The system calls of the tests that std does not offer: with `pty`, the only unsafe code here.
#![allow(unsafe_code)]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Fails with the reason of a call that returned -1.
#[track_caller]
fn check(result: libc::c_int, what: &str) {
    assert_eq!(result, 0, "{what}: {}", io::Error::last_os_error());
}

/// Sends a signal to a process.
#[track_caller]
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: kill(2) touches no memory of this process.
    let result = unsafe { libc::kill(pid as libc::pid_t, signal) };
    check(result, &format!("signal {signal} to {pid}"));
}

/// Lets this process open as many descriptors as it is allowed to.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls touch `limit` only, which lives longer than they do.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
    };
    check(result, "cannot raise the limit of descriptors");
}

/// Sets how many bytes the kernel takes in advance for this side.
pub fn set_receive_buffer(stream: &TcpStream, bytes: libc::c_int) {
    let (level, value) = (libc::SOL_SOCKET, std::ptr::from_ref(&bytes).cast());
    // SAFETY: `value` points to an integer that is alive, of the length stated.
    let result = unsafe { libc::setsockopt(stream.as_raw_fd(), level, libc::SO_RCVBUF, value, 4) };
    check(result, "SO_RCVBUF");
}

/// Leaves a listener a queue of the shortest length.
pub fn shorten_queue(listener: &TcpListener) {
    // SAFETY: listen takes two integers.
    check(unsafe { libc::listen(listener.as_raw_fd(), 0) }, "listen");
}
