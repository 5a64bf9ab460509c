//! # Chapter 9. What does the standard library not offer?
//!
//! Forking, waiting for children, signals, waiting for several descriptors at once, files relative to an
//! open folder, memory shared between processes, and a few meters. Each function here is a thin wrapper
//! around one or a few system calls; the manual page named beside it is the reference.
//!
//! The invariant: `check` turns every -1 into an `io::Error`, and every `unsafe` block says why it is sound.
//! One function asks its caller for something that no compiler checks, and says so: `fork`, for one thread.
//!
//! What must not live here: decisions. Which signal means what, when to restart a worker, what a file name
//! may be: all that is said by the callers.
//!
//! before: `pool.rs` … after: `client.rs`
//!
//! Experiment: run `strace -f -e trace=process kolam serve --mode process --workers 2` and find the function
//! behind each line.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The convention of nearly all system calls: -1 means "look at errno".
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
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
    // SAFETY: `_exit` has no precondition; it skips the parent's exit handlers and buffers, as a fork should.
    unsafe { libc::_exit(code) }
}

/// Lets the kernel kill this process when `parent` dies, which may have happened already.
fn tie_to(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer and touches no memory; getppid cannot fail.
    let now = unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        libc::getppid()
    };
    if now as u32 == parent { Ok(()) } else { Err(io::Error::other("the parent has died")) }
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

pub use libc::{SIGKILL, SIGTERM};

/// Lets a supervisor look up from its sleep, as if this child had died: a worker has become ready.
pub fn wake_parent() {
    // SAFETY: getppid cannot fail, and kill touches no memory. A parent that has died needs no waking.
    unsafe { libc::kill(libc::getppid(), libc::SIGCHLD) };
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

/// Set by the first SIGINT or SIGTERM; for those who are busy.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// A second request to stop ends the process at once. Not so in a worker: a signal to the whole process group
/// reaches it twice, once through its supervisor, and it dies with that anyway.
static HASTY: AtomicBool = AtomicBool::new(false);

/// Write end of the pipe that wakes those who sleep in `poll`; -1 while there is none.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Runs in the middle of anything, so it does nothing but set the flag and write one byte. The end at once
/// has the exit code of an interrupted program.
extern "C" fn on_signal(signal: libc::c_int) {
    // SAFETY: _exit, write and errno are async-signal-safe; errno is put back as it was.
    unsafe {
        let again = signal != libc::SIGCHLD && STOPPED.swap(true, Ordering::SeqCst);
        if again && HASTY.load(Ordering::SeqCst) {
            libc::_exit(130);
        }
        let errno = *libc::__errno_location();
        libc::write(WAKE.load(Ordering::SeqCst), [0u8].as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Which signals a process listens to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// SIGINT and SIGTERM: a server or tester without children to watch.
    Stop,
    /// SIGINT, SIGTERM and SIGCHLD: a supervisor.
    StopAndChildren,
    /// SIGTERM only: a worker, whose supervisor answers for Ctrl-C.
    Worker,
}

/// The request to stop, as something that can be asked and waited for.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// Read end of the wake-up pipe; open until the process ends.
    pipe: BorrowedFd<'static>,
}

impl Stop {
    /// Installs the handlers. After a fork, the child calls it again and gets a pipe of its own.
    pub fn listen(to: Listen) -> io::Result<Stop> {
        HASTY.store(to != Listen::Worker, Ordering::SeqCst);
        let (reader, writer) = io::pipe()?;
        set_nonblocking(reader.as_fd())?;
        set_nonblocking(writer.as_fd())?;
        WAKE.store(writer.into_raw_fd(), Ordering::SeqCst);
        let on = on_signal as *const () as libc::sighandler_t;
        let child = if to == Listen::StopAndChildren { on } else { libc::SIG_DFL };
        let interrupt = if to == Listen::Worker { libc::SIG_IGN } else { on };
        let actions = [
            (libc::SIGTERM, on),
            (libc::SIGINT, interrupt),
            (libc::SIGCHLD, child),
            // A write over the limit on file sizes fails with EFBIG instead of killing the process.
            (libc::SIGXFSZ, libc::SIG_IGN),
        ];
        for (signal, action) in actions {
            // SAFETY: a zeroed sigaction is valid: empty mask, no flags, so that blocked calls return EINTR.
            unsafe {
                let mut settings: libc::sigaction = std::mem::zeroed();
                settings.sa_sigaction = action;
                check(libc::sigaction(signal, &settings, std::ptr::null_mut()))?;
            }
        }
        // SAFETY: into_raw_fd gives the descriptor away and nothing ever closes it.
        Ok(Stop { pipe: unsafe { BorrowedFd::borrow_raw(reader.into_raw_fd()) } })
    }

    /// Has somebody asked this process to stop?
    pub fn raised(self) -> bool {
        STOPPED.load(Ordering::SeqCst)
    }

    /// Sleeps until a signal comes or `deadline` passes, and forgets the wake-up. For the one loop that
    /// must notice each signal; everybody else watches `fd`, which then stays readable.
    pub fn sleep(self, deadline: Option<Instant>) -> io::Result<()> {
        poll(&mut [PollFd::new(self.pipe, Interest::Read)], deadline)?;
        let mut bytes = [0u8; 64];
        // SAFETY: the buffer is valid for its length; the pipe is non-blocking, so this cannot hang.
        unsafe { libc::read(self.pipe.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
        Ok(())
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe
    }
}

fn set_nonblocking(fd: BorrowedFd) -> io::Result<()> {
    // SAFETY: F_SETFL takes an integer; the descriptor is open while it is borrowed.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
}

// ---- waiting: ppoll(2), epoll(7) ----

/// What one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
}

/// One descriptor in a call of `poll`.
#[repr(transparent)]
pub struct PollFd<'fd>(libc::pollfd, PhantomData<BorrowedFd<'fd>>);

impl<'fd> PollFd<'fd> {
    pub fn new(fd: BorrowedFd<'fd>, interest: Interest) -> PollFd<'fd> {
        let events = if interest == Interest::Read { libc::POLLIN } else { libc::POLLOUT };
        PollFd(libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }, PhantomData)
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

/// Waiting at a listener that other processes wait at too: EPOLLEXCLUSIVE wakes one of them, seldom more,
/// where `poll` would wake all for one connection (the "thundering herd").
pub struct Turnstile(OwnedFd);

impl Turnstile {
    /// Watches `shared` together with others, and `own` alone.
    pub fn new(shared: BorrowedFd, own: BorrowedFd) -> io::Result<Turnstile> {
        // SAFETY: epoll_create1 returns a new descriptor that nobody else owns.
        let epoll = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        for (fd, flags) in [(shared, libc::EPOLLIN | libc::EPOLLEXCLUSIVE), (own, libc::EPOLLIN)] {
            let mut event = libc::epoll_event { events: flags as u32, u64: 0 };
            // SAFETY: `event` is alive during the call; both descriptors are open.
            let added = unsafe {
                libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event)
            };
            check(added)?;
        }
        Ok(Turnstile(epoll))
    }

    /// Sleeps until one of the two is ready or a signal arrives.
    pub fn wait(&self) -> io::Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for the one event asked for.
        match check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &mut event, 1, -1) }) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

// ---- sockets: listen(2), shutdown(2) ----

/// Raises the number of connections that may wait to be accepted; the kernel caps it at `somaxconn`.
pub fn set_backlog(listener: &TcpListener, connections: i32) -> io::Result<()> {
    // SAFETY: listen takes integers; calling it again on a listening socket only changes the limit.
    check(unsafe { libc::listen(listener.as_raw_fd(), connections) }).map(drop)
}

/// Bounds the bytes that wait in `socket` to be sent, which otherwise grow to several MiB (SO_SNDBUF,
/// socket(7)). The kernel doubles the figure for its own needs; accepted connections inherit it.
pub fn set_send_buffer(socket: BorrowedFd, bytes: i32) -> io::Result<()> {
    let (value, length) = (std::ptr::from_ref(&bytes).cast(), size_of::<i32>() as libc::socklen_t);
    // SAFETY: `value` points to an integer that is alive, of the length stated.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, value, length) };
    check(set).map(drop)
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

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::from)
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
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `name` is NUL-terminated, `stat` is writable, and zeroes are a valid stat.
    let stat = unsafe {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        check(libc::fstatat(dir.as_raw_fd(), name.as_ptr(), stat.as_mut_ptr(), flags))?;
        stat.assume_init()
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
    let path = c_string(&path.to_string_lossy())?;
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is NUL-terminated, `stat` is writable, and zeroes are a valid statvfs.
    let stat = unsafe {
        check(libc::statvfs(CStr::as_ptr(&path), stat.as_mut_ptr()))?;
        stat.assume_init()
    };
    Ok(stat.f_bavail * stat.f_frsize)
}

// ---- memory: mmap(2) ----

/// `count` counters, all zero, shared with every process forked later. Given back when the process ends.
pub fn shared_counters(count: usize) -> io::Result<&'static [AtomicU64]> {
    let (length, access) = (count * size_of::<AtomicU64>(), libc::PROT_READ | libc::PROT_WRITE);
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs no existing memory.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is page-aligned, zeroed (a valid AtomicU64), long enough and never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), count) })
}

/// Asks for pages of 2 MiB for memory that has not been touched yet (madvise(2), MADV_HUGEPAGE): whoever
/// walks through it then looks up 512 times fewer addresses. A kernel that has none ignores it.
pub fn prefer_huge_pages(memory: &mut [u8]) {
    let start = memory.as_ptr().align_offset(4096);
    let Some(pages) = memory.get_mut(start..) else { return };
    // SAFETY: the range belongs to `memory` and begins at a page; the advice changes no content.
    unsafe { libc::madvise(pages.as_mut_ptr().cast(), pages.len(), libc::MADV_HUGEPAGE) };
}

// ---- meters: clock_gettime(2) ----

/// Processor time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
