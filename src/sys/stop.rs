//! How does a busy program notice that it should stop? By a flag and a self-pipe, which its signal handler
//! sets and writes to. What stopping means is the affair of others.

use super::poll::{Interest, poll};
use super::renewal::{handle_renewal, has_terminal};
use super::signal::{Action, exit_now, is_ignored, on_signal, wake};
use libc::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::time::Instant;

/// Set by the first SIGINT, SIGTERM or SIGHUP; for code that is busy.
static STOP_REQUESTED: AtomicBool = AtomicBool::new(false);

/// A second request to stop ends the process at once. Not so in a worker: a signal to the whole process group
/// reaches it twice, once through its supervisor, and it dies with that anyway.
static EXIT_ON_SECOND: AtomicBool = AtomicBool::new(false);

/// Set by SIGUSR1: the user wants to see the counters. Only `balance` asks.
static STATS_REQUESTED: AtomicBool = AtomicBool::new(false);

/// Write end of the self-pipe; -1 while there is none.
pub static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Runs in the middle of anything, so it does next to nothing. The flag is set before the byte is written.
/// An exit from here has the exit code of an interrupted program.
extern "C" fn handle(signal: libc::c_int) {
    if signal == SIGUSR1 {
        // No byte, which would wake all for good: the main thread asks after each sleep, which is never long.
        return STATS_REQUESTED.store(true, SeqCst);
    }
    let again = signal != SIGCHLD && STOP_REQUESTED.swap(true, SeqCst);
    // A terminal that closes says so twice, by the kernel and by its shell: that is one request.
    if again && signal != SIGHUP && EXIT_ON_SECOND.load(SeqCst) {
        exit_now(130);
    }
    wake(WAKE.load(SeqCst));
}

/// Which signals a process listens to. SIGHUP, which comes when its terminal closes, stops it like SIGINT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// SIGINT and SIGTERM: a server or tester without children to watch.
    Stop,
    /// SIGINT, SIGTERM and SIGCHLD: a supervisor.
    /// Without a terminal, SIGHUP asks it for new workers.
    StopAndChildren,
    /// SIGINT, SIGTERM and SIGUSR1: a program with counters to show, `balance`.
    StopAndShow,
    /// SIGTERM, and SIGUSR2 from its supervisor: a worker, whose supervisor answers for Ctrl-C.
    Worker,
}

/// The request to stop, as something that can be asked and waited for: the self-pipe trick. For `poll` and
/// epoll it is one more descriptor that becomes readable, and there is no moment in which it could be missed.
///
/// ```text
///   SIGTERM ──► handle ──► STOP_REQUESTED = true    requested(): busy code asks
///                 └──────► one byte ──► read end    as_fd():     waiting code is woken
/// ```
///
/// The byte stays where it is, so all that watch the read end are woken. Only a supervisor, the one loop that
/// must notice each signal, takes it away (`sleep`).
///
/// The wrong version sets a flag and trusts that the signal interrupts the waiting call: it does not when it
/// comes just before the wait begins, and `TcpListener::accept` goes on waiting in any case.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// Read end of the self-pipe; open until the process ends.
    read_end: &'static UnixStream,
    /// False: the signals do not stop it (see `never`).
    enabled: bool,
}

impl Stop {
    /// Installs the handlers. After a fork, the child calls it again and gets a self-pipe of its own.
    pub fn listen(to: Listen) -> io::Result<Stop> {
        EXIT_ON_SECOND.store(to != Listen::Worker, SeqCst);
        Stop::forget_renewal();
        let (read_end, write_end) = UnixStream::pair()?;
        read_end.set_nonblocking(true)?;
        write_end.set_nonblocking(true)?;
        WAKE.store(write_end.into_raw_fd(), SeqCst);
        let only_for = |listener, handler| match to == listener {
            true => Action::Call(handler),
            false => Action::Default,
        };
        let interrupt = match to {
            Listen::Worker => Action::Ignore,
            _ => Action::Call(handle),
        };
        // Ignored from the start, as under nohup(1): the program is to outlive its terminal.
        let hang_up = match is_ignored(SIGHUP)? {
            true => Action::Ignore,
            false if to == Listen::StopAndChildren && !has_terminal() => Action::Call(handle_renewal),
            false => interrupt,
        };
        for (signal, action) in [
            (SIGTERM, Action::Call(handle)),
            (SIGINT, interrupt),
            (SIGHUP, hang_up),
            (SIGCHLD, only_for(Listen::StopAndChildren, handle)),
            (SIGUSR1, only_for(Listen::StopAndShow, handle)),
            (SIGUSR2, only_for(Listen::Worker, handle_renewal)),
            // A write over the limit on file sizes fails with EFBIG instead of killing the process.
            (SIGXFSZ, Action::Ignore),
        ] {
            on_signal(signal, action)?;
        }
        Ok(Stop {
            read_end: Box::leak(Box::new(read_end)),
            enabled: true,
        })
    }

    /// A stop that is never requested: for work that must be done after the real request to stop.
    pub fn never() -> io::Result<Stop> {
        let (read_end, write_end) = UnixStream::pair()?;
        // A closed write end would wake everything that watches the read end.
        let _ = write_end.into_raw_fd();
        Ok(Stop {
            read_end: Box::leak(Box::new(read_end)),
            enabled: false,
        })
    }

    /// Has a signal asked this process to stop?
    pub fn requested(self) -> bool {
        self.enabled && STOP_REQUESTED.load(SeqCst)
    }

    /// Has a signal asked for the counters since the last call? For `balance`.
    pub fn stats_requested(self) -> bool {
        STATS_REQUESTED.swap(false, SeqCst)
    }

    /// Sleeps until a signal comes or `deadline` passes, and empties the self-pipe.
    pub fn sleep(self, deadline: Option<Instant>) -> io::Result<()> {
        poll(&[(self.as_fd(), Interest::Read)], deadline)?;
        let mut read_end = self.read_end;
        // It does not block, and fails only when the pipe is empty.
        let _ = read_end.read(&mut [0; 64]);
        Ok(())
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }
}
