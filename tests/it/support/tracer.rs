//! What if a system call fails? strace(1) makes it fail, in processes that run already.

use super::{PATIENCE, Running, eventually, signal};
use std::fs;
use std::process::{Command, Stdio};

/// strace on processes and all their threads and children, until it is dropped.
pub struct Tracer(Running);

impl Tracer {
    /// From now on these system calls fail as told: `accept4:error=EINTR:when=1..3`, counted for each thread.
    #[track_caller]
    pub fn inject(pids: &[u32], faults: &[String]) -> Tracer {
        let calls: Vec<&str> = faults
            .iter()
            .filter_map(|fault| fault.split(':').next())
            .collect();
        let mut command = Command::new("strace");
        command.args(["-f", "-qqq", "-o", "/dev/null", "-e"]);
        command.arg(format!("trace={}", calls.join(",")));
        for fault in faults {
            command.arg("-e").arg(format!("inject={fault}"));
        }
        Tracer::attach(command, pids)
    }

    /// Starts this strace on all threads, and waits until they are traced.
    #[track_caller]
    pub fn attach(mut command: Command, pids: &[u32]) -> Tracer {
        for pid in pids {
            command.arg("-p").arg(pid.to_string());
        }
        let streams = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let tracer = Tracer(Running::spawn(streams));
        eventually("strace is attached", || pids.iter().all(|&pid| is_traced(pid)));
        tracer
    }
}

impl Drop for Tracer {
    /// SIGTERM lets it detach in order.
    fn drop(&mut self) {
        signal(self.0.pid(), libc::SIGTERM);
        self.0.wait(PATIENCE);
    }
}

/// All threads of a process are traced.
fn is_traced(pid: u32) -> bool {
    let mut threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    threads.all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        !status.contains("\nTracerPid:\t0\n")
    })
}
