//! How does one thread wait for a few descriptors at once? With ppoll(2).

use super::check;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

/// What one waits for, as the bits that poll and epoll share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Interest {
    Read = libc::POLLIN,
    Write = libc::POLLOUT,
    Both = libc::POLLIN | libc::POLLOUT,
}

/// One descriptor in a call of `poll`.
#[repr(transparent)]
pub struct PollFd<'fd>(libc::pollfd, PhantomData<BorrowedFd<'fd>>);

impl<'fd> PollFd<'fd> {
    pub fn new(fd: BorrowedFd<'fd>, interest: Interest) -> PollFd<'fd> {
        PollFd(
            libc::pollfd {
                fd: fd.as_raw_fd(),
                events: interest as i16,
                revents: 0,
            },
            PhantomData,
        )
    }
}

/// Waits until a descriptor is ready, a signal arrives or `deadline` passes; returns the number ready.
pub fn poll(fds: &mut [PollFd], deadline: Option<Instant>) -> io::Result<usize> {
    let limit = deadline.map(|end| end.saturating_duration_since(Instant::now()));
    let limit = limit.map(|t| libc::timespec {
        tv_sec: t.as_secs() as _,
        tv_nsec: t.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: PollFd is a transparent pollfd, the slice is valid for its length, `limit` is null or alive.
    let ready = check(unsafe {
        libc::ppoll(
            fds.as_mut_ptr().cast(),
            fds.len() as libc::nfds_t,
            limit,
            std::ptr::null(),
        )
    });
    match ready {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        other => other.map(|n| n as usize),
    }
}
