//! The system calls of the tests that std does not offer: with `pty`, the only unsafe code here.
#![allow(unsafe_code)]

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Once;
use std::{fs, io};

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

/// Once, before anything is started: what the programs under test inherit is the same whoever runs the tests.
/// They get no descriptors that were leaked to the runner and may open many, the usual umask, and signals
/// that end them: a shell lets jobs in the background ignore SIGINT, and nohup SIGHUP.
pub fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        raise_descriptor_limit();
        for entry in fs::read_dir("/proc/self/fd").unwrap() {
            let fd: RawFd = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
            if fd > 2 {
                // SAFETY: this fcntl takes integers. All that std opens here is closed on exec anyway.
                unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
        }
        // SAFETY: umask takes an integer and cannot fail.
        unsafe { libc::umask(0o022) };
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            // SAFETY: SIG_DFL is no function of ours.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    });
}

/// Limits what a process may use from now on; its hard limit stays as it is. Returns what it may use.
pub fn limit(pid: u32, resource: libc::__rlimit_resource_t, most: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let pid = pid as libc::pid_t;
    // SAFETY: each call reads or writes a limit that lives longer than it; null means that one is not wanted.
    let result = unsafe {
        libc::prlimit(pid, resource, std::ptr::null(), &mut limit);
        limit.rlim_cur = most.min(limit.rlim_max);
        libc::prlimit(pid, resource, &limit, std::ptr::null_mut())
    };
    check(result, "prlimit");
    limit.rlim_cur
}

/// Lets a process have so many descriptors more than it has now.
pub fn limit_descriptors(pid: u32, more: usize) {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<usize> = entries
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    // The lowest number that is free is taken each time; the limit is above the last of them.
    let last = (0..)
        .filter(|number| !open.contains(number))
        .nth(more - 1)
        .unwrap();
    limit(pid, libc::RLIMIT_NOFILE, last as u64 + 1);
}

/// Lets this process, and what it starts, open as many descriptors as they are allowed to; says how many.
fn raise_descriptor_limit() -> u64 {
    limit(std::process::id(), libc::RLIMIT_NOFILE, u64::MAX)
}

/// Can a thousand connections be held here, while other tests run too? If not, a word about it is said.
pub fn may_hold_a_thousand() -> bool {
    let most = raise_descriptor_limit();
    if most < 4096 {
        super::skipped(format!(
            "a thousand connections need 4096 descriptors, ulimit -Hn is {most}"
        ));
    }
    most >= 4096
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
