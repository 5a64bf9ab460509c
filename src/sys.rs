//! # Chapter 9. What does the standard library not offer?
//!
//! Forking, waiting for children, signals, waiting for several descriptors at once, sockets that never make
//! anybody wait, files relative to an open folder, memory shared between processes, and a few meters: thin
//! wrappers around one or a few system calls each, with the manual page named above them as the reference.
//!
//! The invariant: `check` turns every -1 into an `io::Error`, and every `unsafe` block says why it is sound.
//! One function asks its caller for something that no compiler checks, and says so: `fork`, for one thread.
//!
//! What must not live here: decisions, such as what a signal means or when to restart a worker.
//!
//! before: `pool.rs` … after: `signals.rs`
//!
//! Experiment: find the function behind each line of `strace -fe trace=process kolam serve --mode process`.

mod memory;
mod terminal;

pub use memory::{prefer_huge_pages, shared_counters};
pub use terminal::terminal_columns;

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, parent_id};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The convention of nearly all system calls, whatever integer they return: -1 means "look at errno".
fn check<T: From<i8> + PartialEq>(result: T) -> io::Result<T> {
    if result == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(result) }
}

// ---- processes: fork(2), wait4(2), kill(2), prctl(2) ----

pub type Pid = libc::pid_t;

/// How a child ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub pid: Pid,
    /// Exit code, or `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// User and system time of the child and of all children it had waited for itself.
    pub cpu: Duration,
}

/// Runs `body` in a child process, which ends with the code that `body` returns (101 after a panic) and
/// never comes back into the caller's code. The child dies when this process dies.
///
/// The caller must have no other thread: a lock that another thread holds at this moment would stay
/// locked in the child for ever.
pub fn fork(body: impl FnOnce() -> i32) -> io::Result<Pid> {
    let parent = std::process::id();
    // SAFETY: the child has its own copy of all memory; it runs ordinary code only because the caller
    // is single-threaded, as stated above.
    let pid = check(unsafe { libc::fork() })?;
    if pid != 0 {
        return Ok(pid);
    }
    let code = if tie_to(parent).is_err() { 1 } else { catch_unwind(AssertUnwindSafe(body)).unwrap_or(101) };
    // The exit handlers and buffers are the parent's.
    exit_now(code)
}

/// Lets the kernel kill this process when `parent` dies, which may have happened already.
fn tie_to(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    if parent_id() == parent { Ok(()) } else { Err(io::Error::other("the parent has died")) }
}

/// Makes what `command` starts die with this process.
pub fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing on success.
    unsafe { command.pre_exec(move || tie_to(parent)) };
}

/// Reaps child `pid`, or any child when `pid` is -1. `None`: not ended yet (only without `block`).
pub fn reap(pid: Pid, block: bool) -> io::Result<Option<Ended>> {
    let mut status = 0;
    // SAFETY: zeroes are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let flags = if block { 0 } else { libc::WNOHANG };
    let pid = loop {
        // SAFETY: both places are valid for writing.
        match check(unsafe { libc::wait4(pid, &mut status, flags, &mut usage) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if pid == 0 {
        return Ok(None);
    }
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    Ok(Some(Ended {
        pid,
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
    }))
}

/// Sends a signal to one process.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: kill touches no memory of this process.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Allows this process as many descriptors as it may allow itself (getrlimit(2)): 1,024 are soon used up.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for reading and writing.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit)).map(drop)
    }
}

// ---- signals: sigaction(2), signal-safety(7) ----

pub use libc::{SIGCHLD, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGXFSZ};

/// What a process does about a signal. A handler may call nothing but `exit_now`, `ring` and atomics.
pub enum Action {
    Default,
    Ignore,
    Call(extern "C" fn(libc::c_int)),
}

/// Calls that `signal` interrupts fail with EINTR instead of being taken up again.
pub fn on_signal(signal: i32, action: Action) -> io::Result<()> {
    // SAFETY: a zeroed sigaction is valid: empty mask, no flags.
    unsafe {
        let mut settings: libc::sigaction = std::mem::zeroed();
        settings.sa_sigaction = match action {
            Action::Default => libc::SIG_DFL,
            Action::Ignore => libc::SIG_IGN,
            Action::Call(handler) => handler as *const () as libc::sighandler_t,
        };
        check(libc::sigaction(signal, &settings, std::ptr::null_mut())).map(drop)
    }
}

/// Writes one byte to descriptor `fd`, whatever comes of it. Allowed in a signal handler.
pub fn ring(fd: i32) {
    // SAFETY: write and errno are async-signal-safe; errno is put back as it was.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(fd, [0u8].as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Ends the process without any cleaning up. Allowed in a signal handler.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no precondition; it skips exit handlers and buffers.
    unsafe { libc::_exit(code) }
}

// ---- waiting: ppoll(2), epoll(7) ----

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
        PollFd(libc::pollfd { fd: fd.as_raw_fd(), events: interest as i16, revents: 0 }, PhantomData)
    }
}

/// Waits until a descriptor is ready, a signal arrives or `deadline` passes; returns the number ready.
pub fn poll(fds: &mut [PollFd], deadline: Option<Instant>) -> io::Result<usize> {
    let limit = deadline.map(|end| end.saturating_duration_since(Instant::now()));
    let limit = limit.map(|t| libc::timespec { tv_sec: t.as_secs() as _, tv_nsec: t.subsec_nanos().into() });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: PollFd is a transparent pollfd, the slice is valid for its length, `limit` is null or alive.
    let ready = check(unsafe {
        libc::ppoll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, limit, std::ptr::null())
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
        // SAFETY: epoll_create1 returns a new descriptor that nobody else owns.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) }))
    }

    /// Watches `fd`, for which `wait` will then answer `token`.
    pub fn add(&self, fd: BorrowedFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest as i32, token)
    }

    /// Watches a listener that others watch too: EPOLLEXCLUSIVE wakes one of them, seldom more, where all
    /// would be woken for one connection otherwise (the "thundering herd").
    pub fn add_shared(&self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN | libc::EPOLLEXCLUSIVE, token)
    }

    pub fn change(&self, fd: BorrowedFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest as i32, token)
    }

    pub fn remove(&self, fd: BorrowedFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&self, what: i32, fd: BorrowedFd, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
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
            count => ready.extend(events.iter().take(count.unwrap_or(0) as usize).map(|event| event.u64)),
        }
        Ok(())
    }
}

// ---- sockets: listen(2), accept4(2), connect(2), send(2), shutdown(2), sendfile(2), splice(2) ----

/// Accepts a connection, without waiting; what it then does is non-blocking too.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (nowhere, flags) = (std::ptr::null_mut(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    // SAFETY: no address is asked for; the new descriptor belongs to nobody else.
    unsafe {
        let fd = check(libc::accept4(listener.as_raw_fd(), nowhere, std::ptr::null_mut(), flags))?;
        Ok(TcpStream::from_raw_fd(fd))
    }
}

/// Begins to connect. A write, even of nothing, then tells how far it is: EAGAIN as long as it goes on.
pub fn begin_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let (family, length) = if to.is_ipv4() { (libc::AF_INET, 16) } else { (libc::AF_INET6, 28) };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // A sockaddr_in6, of whose 28 bytes a sockaddr_in uses the first 16: family, port, address; and scope.
    let mut address = [0; 28];
    address[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    address[2..4].copy_from_slice(&to.port().to_be_bytes());
    match to {
        SocketAddr::V4(to) => address[4..8].copy_from_slice(&to.ip().octets()),
        SocketAddr::V6(to) => {
            address[8..24].copy_from_slice(&to.ip().octets());
            address[24..].copy_from_slice(&to.scope_id().to_ne_bytes());
        }
    }
    // SAFETY: the new descriptor belongs to nobody else; `address` is alive and not shorter than stated.
    unsafe {
        let stream = TcpStream::from_raw_fd(check(libc::socket(family, kind, 0))?);
        match check(libc::connect(stream.as_raw_fd(), address.as_ptr().cast(), length)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(stream),
        }
    }
}

/// Sends what is followed by nothing but the end of the stream: it waits for the call that says so, which
/// must come next, and both travel in one packet (MSG_MORE).
pub fn send_last(socket: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
    let (start, flags) = (bytes.as_ptr().cast(), libc::MSG_NOSIGNAL | libc::MSG_MORE);
    // SAFETY: `bytes` is alive during the call.
    check(unsafe { libc::send(socket.as_raw_fd(), start, bytes.len(), flags) }).map(|count| count as usize)
}

/// Sends up to `count` bytes of `file` from `offset` on, without bringing them into this process.
pub fn send_file(socket: BorrowedFd, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let mut offset = offset as libc::off_t;
    // SAFETY: `offset` is valid for reading and writing; both descriptors are open.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &mut offset, count) };
    check(sent).map(|count| count as usize)
}

/// Moves up to `count` bytes from a socket into a pipe or out of a pipe into a socket, without waiting and
/// without bringing them into this process.
pub fn splice(from: BorrowedFd, to: BorrowedFd, count: usize) -> io::Result<usize> {
    let (nowhere, flags) = (std::ptr::null_mut(), libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE);
    // SAFETY: no offsets are given; both descriptors are open.
    let moved = unsafe { libc::splice(from.as_raw_fd(), nowhere, to.as_raw_fd(), nowhere, count, flags) };
    check(moved).map(|count| count as usize)
}

/// Lets `pipe` hold this many bytes instead of 64 KiB (F_SETPIPE_SZ, fcntl(2)).
pub fn set_pipe_size(pipe: BorrowedFd, bytes: usize) -> io::Result<()> {
    // SAFETY: this fcntl takes integers.
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes as i32) }).map(drop)
}

/// Raises the number of connections that may wait to be accepted; the kernel caps it at `somaxconn`.
pub fn set_backlog(listener: &TcpListener, connections: i32) -> io::Result<()> {
    // SAFETY: listen takes integers; calling it again on a listening socket only changes the limit.
    check(unsafe { libc::listen(listener.as_raw_fd(), connections) }).map(drop)
}

/// Bounds the bytes that wait in `socket` to be sent, which otherwise grow to several MiB (SO_SNDBUF,
/// socket(7)). The kernel doubles the figure for its own needs; accepted connections inherit it.
pub fn set_send_buffer(socket: BorrowedFd, bytes: i32) -> io::Result<()> {
    set_option(socket, libc::SO_SNDBUF, &bytes)
}

/// Makes closing `socket` a reset, which nobody takes for an orderly end (SO_LINGER, socket(7)).
pub fn reset_on_close(socket: BorrowedFd) -> io::Result<()> {
    set_option(socket, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

fn set_option<T>(socket: BorrowedFd, option: i32, value: &T) -> io::Result<()> {
    let (value, length) = (std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: `value` is alive, of the length stated, and of the type that the two callers know.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) }).map(drop)
}

/// Refuses new connections at once, also in all other processes that share this listener.
pub fn refuse_connections(listener: &TcpListener) -> io::Result<()> {
    // SAFETY: shutdown takes integers; the descriptor is open.
    check(unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) }).map(drop)
}

/// Bytes written to `socket` that its peer has not acknowledged yet (SIOCOUTQ, tcp(7)).
pub fn unsent(socket: BorrowedFd) -> io::Result<i32> {
    let mut bytes = 0;
    // SAFETY: the call writes one integer to a valid place; SIOCOUTQ has the number of TIOCOUTQ.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) })?;
    Ok(bytes)
}

// ---- files: openat(2), fstatat(2), renameat(2), unlinkat(2), statvfs(3), mmap(2) ----

fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(io::Error::from)
}

/// Opens `name` inside the open folder `dir`. Never follows a symbolic link, never waits (a FIFO without
/// a writer would), never becomes a terminal's owner, is not passed on to other programs.
pub fn open_at(dir: &File, name: &str, flags: i32) -> io::Result<File> {
    let name = c_string(name)?;
    let flags = flags | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: `name` is NUL-terminated; the new descriptor belongs to nobody else.
    unsafe {
        let fd = check(libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, 0o644 as libc::c_uint))?;
        Ok(File::from_raw_fd(fd))
    }
}

pub use libc::{O_CREAT, O_EXCL, O_RDONLY, O_WRONLY};

/// Is `name` inside `dir` a regular file (and not a link to one)?
pub fn is_regular_at(dir: &File, name: &str) -> io::Result<bool> {
    let name = c_string(name)?;
    // SAFETY: `name` is NUL-terminated, `stat` is writable, and zeroes are a valid stat.
    let stat = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        check(libc::fstatat(dir.as_raw_fd(), name.as_ptr(), &mut stat, libc::AT_SYMLINK_NOFOLLOW))?;
        stat
    };
    Ok(stat.st_mode & libc::S_IFMT == libc::S_IFREG)
}

/// Renames inside `dir`, replacing `to`.
pub fn rename_at(dir: &File, from: &str, to: &str) -> io::Result<()> {
    let (from, to, dir) = (c_string(from)?, c_string(to)?, dir.as_raw_fd());
    // SAFETY: both names are NUL-terminated.
    check(unsafe { libc::renameat(dir, from.as_ptr(), dir, to.as_ptr()) }).map(drop)
}

/// Removes the name `name` from `dir`; refuses folders.
pub fn unlink_at(dir: &File, name: &str) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
}

/// Bytes that a program without privileges may still write below `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let path = c_string(path)?;
    // SAFETY: the path is NUL-terminated, `stat` is writable, and zeroes are a valid statvfs.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        check(libc::statvfs(CStr::as_ptr(&path), &mut stat))?;
        stat
    };
    Ok(stat.f_bavail * stat.f_frsize)
}

// ---- meters: clock_gettime(2) ----

/// Processor time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
