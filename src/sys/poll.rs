//! How does one thread wait for a few descriptors at once? With ppoll(2).

use super::call::{check, waited};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Instant;

/// What one waits for, as the bits that poll and epoll share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Interest {
    Read = libc::POLLIN,
    Write = libc::POLLOUT,
    Both = libc::POLLIN | libc::POLLOUT,
}

/// Waits until one of `fds` is ready for what stands beside it, a signal arrives or `deadline` passes;
/// returns the number ready.
pub fn poll(fds: &[(BorrowedFd, Interest)], deadline: Option<Instant>) -> io::Result<usize> {
    let watch = |&(fd, interest): &(BorrowedFd, Interest)| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: interest as i16,
        revents: 0,
    };
    let mut fds: Vec<libc::pollfd> = fds.iter().map(watch).collect();
    let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
    let limit = left.map(|left| libc::timespec {
        tv_sec: left.as_secs() as _,
        tv_nsec: left.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the vector is valid for its length, `limit` is null or alive.
    waited(check(unsafe {
        libc::ppoll(fds.as_mut_ptr(), fds.len() as _, limit, ptr::null())
    }))
}
