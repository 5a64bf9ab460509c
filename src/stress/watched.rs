//! What does a row cost a server that we did not start, in memory and processor time? For a process on this
//! machine (`--pid`) the kernel keeps count, from the start of a row. Its children count too: the
//! workers of a pool of processes are children, and so is the program that `cargo run` starts.

use crate::cli::{Args, Failure, failed, usage};
use crate::sys::{self, Pid};
use std::io;
use std::time::Duration;

/// No process has a greater number (PID_MAX_LIMIT, proc_sys_kernel(5)).
const MOST: u64 = 1 << 22;

/// The processes of a target, from the start of a row.
pub struct Watched {
    pid: Pid,
    /// Processor time that they had used at the start.
    cpu: Option<Duration>,
}

/// The process of `--pid`, if it can be watched.
pub fn given(args: &Args) -> Result<Option<Pid>, Failure> {
    let pid = args.number("--pid", 0, 1..=MOST)? as Pid;
    if !args.has("--pid") {
        return Ok(None);
    }
    if !args.has("--target") {
        return usage(format!(
            "--pid {pid}: it is for a server that runs already; add --target HOST:PORT"
        ));
    }
    match sys::forget_peak(pid) {
        Ok(()) => Ok(Some(pid)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => failed(format!(
            "--pid {pid}: there is no such process on this machine; ps -ef or pgrep shows the server's"
        )),
        Err(error) => failed(format!(
            "--pid {pid}: cannot watch its memory: {error}; only its own user may"
        )),
    }
}

impl Watched {
    /// A row begins.
    pub fn begin(pid: Pid) -> Watched {
        // Without it, the peak of an earlier row stays: too high, and never too low.
        let _ = sys::forget_peak(pid);
        let cpu = sys::processor_time(pid);
        Watched { pid, cpu }
    }

    /// It ends: the peak of the memory in KiB, and the processor time in seconds. `None`: it is gone.
    pub fn end(&self) -> (Option<u64>, Option<f64>) {
        let spent = self.cpu.zip(sys::processor_time(self.pid));
        let spent = spent.map(|(before, after)| after.saturating_sub(before));
        (sys::peak_memory(self.pid), spent.map(|cpu| cpu.as_secs_f64()))
    }
}
