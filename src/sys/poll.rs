//! How does one thread wait for several descriptors? ppoll(2) for a few, epoll(7) for thousands.
//! ppoll(2), epoll(7).

use super::check;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
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

/// Most events that one `Epoll::wait` brings; the others come with the next.
const EVENTS: usize = 256;

/// Many descriptors, waited for at once: the kernel remembers them, and a wait costs what is ready, not what
/// is watched. Level-triggered: what is still ready is reported again. A closed descriptor is forgotten.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: epoll_create1 returns a new descriptor that has no other owner.
        Ok(Epoll(unsafe {
            OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?)
        }))
    }

    /// Watches `fd`, for which `wait` will then answer `token`.
    pub fn add(&self, fd: BorrowedFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest as i32, token)
    }

    /// Watches a listener that others watch too. EPOLLEXCLUSIVE wakes one of them, rarely more. Without it
    /// one connection wakes all of them (the "thundering herd").
    pub fn add_shared(&self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        self.control(
            libc::EPOLL_CTL_ADD,
            fd,
            libc::EPOLLIN | libc::EPOLLEXCLUSIVE,
            token,
        )
    }

    pub fn change(&self, fd: BorrowedFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest as i32, token)
    }

    pub fn remove(&self, fd: BorrowedFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&self, what: i32, fd: BorrowedFd, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        // SAFETY: `event` is alive during the call; both descriptors are open.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_raw_fd(), &mut event) }).map(drop)
    }

    /// Waits until something is ready, a signal arrives or `deadline` passes (to the millisecond); puts the
    /// tokens of what is ready into `ready`, in the place of what was in it.
    pub fn wait(&self, ready: &mut Vec<u64>, deadline: Option<Instant>) -> io::Result<()> {
        ready.clear();
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()).as_micros());
        let limit = left.map_or(-1, |micros| micros.div_ceil(1000).min(i32::MAX as u128) as i32);
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: there is room for as many events as are asked for.
        let count =
            check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, limit) });
        match count {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            count => ready.extend(
                events
                    .iter()
                    .take(count.unwrap_or(0) as usize)
                    .map(|event| event.u64),
            ),
        }
        Ok(())
    }
}
