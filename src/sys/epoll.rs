//! How does one thread wait for thousands of descriptors, and how do workers share a listener? With epoll(7).

use super::call::{check, waited};
use super::poll::Interest;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Instant;

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

    /// Watches `fd` for `wanted`, or no more. The caller keeps `watched`, `None` at first: what `fd` is
    /// watched for now, so that a call which changes nothing costs nothing. `wait` will answer `token`.
    pub fn set(
        &self,
        fd: BorrowedFd,
        token: u64,
        watched: &mut Option<Interest>,
        wanted: Option<Interest>,
    ) -> io::Result<()> {
        match (*watched, wanted) {
            (before, after) if before == after => return Ok(()),
            (None, Some(interest)) => self.add(fd, interest, token)?,
            (_, Some(interest)) => self.control(libc::EPOLL_CTL_MOD, fd, interest as i32, token)?,
            (_, None) => self.remove(fd)?,
        }
        *watched = wanted;
        Ok(())
    }

    /// Watches `fd`, for which `wait` will then answer `token`.
    pub fn add(&self, fd: BorrowedFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest as i32, token)
    }

    /// Watches a listener that others watch too. EPOLLEXCLUSIVE wakes one of them, rarely more. Without it
    /// one connection wakes all of them (the "thundering herd").
    pub fn add_shared(&self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        let events = libc::EPOLLIN | libc::EPOLLEXCLUSIVE;
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
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
        let (fd, room) = (self.0.as_raw_fd(), EVENTS as i32);
        // SAFETY: there is room for as many events as are asked for.
        let count = waited(check(unsafe {
            libc::epoll_wait(fd, events.as_mut_ptr(), room, limit)
        }))?;
        ready.extend(events[..count].iter().map(|event| event.u64));
        Ok(())
    }
}
