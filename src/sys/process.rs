//! How does a program start, watch and end others, and what did they cost?
//! fork(2), wait4(2), kill(2), prctl(2), clock_gettime(2).

use super::call::{check, filled};
use super::signal::exit_now;
use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

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
    let code = match tie_to(parent) {
        Ok(()) => catch_unwind(AssertUnwindSafe(body)).unwrap_or(101),
        Err(_) => 1,
    };
    // The exit handlers and buffers are the parent's.
    exit_now(code)
}

/// Lets the kernel kill this process when `parent` dies, which may have happened already.
fn tie_to(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    match parent_id() == parent {
        true => Ok(()),
        false => Err(io::Error::other("the parent has died")),
    }
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
    // SAFETY: the calls write and read one rlimit, for which zeroes are valid.
    unsafe {
        let mut limit: libc::rlimit = filled(|limit| libc::getrlimit(libc::RLIMIT_NOFILE, limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit)).map(drop)
    }
}

/// Processor time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    // SAFETY: the call writes one timespec, for which zeroes are valid.
    let time = unsafe { filled(|time| libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time)) };
    // It fails only where there is no such clock; every Linux has it.
    time.map_or(Duration::ZERO, |time: libc::timespec| {
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    })
}
