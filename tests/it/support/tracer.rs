//! What if a system call fails? strace(1) makes it fail, in processes that run already.

use super::{PATIENCE, Running, STEP, alive};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// strace on processes and all their threads and children, until it is dropped.
pub struct Tracer {
    strace: Running,
    traced: Vec<u32>,
}

/// Longest wait for a process to come to rest; one that is never idle is left all the same.
const RESTLESS: Duration = Duration::from_secs(2);

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
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut tracer = Tracer {
                strace: Running::spawn(&mut command),
                traced: pids.to_vec(),
            };
            // It overlooks a thread that begins while it looks for them, and ends when it gets none.
            let next = Instant::now() + PATIENCE / 8;
            while Instant::now() < next && !tracer.has_ended() {
                if pids.iter().all(|&pid| is_traced(pid)) {
                    return tracer;
                }
                thread::sleep(STEP);
            }
            let said = tracer.stop();
            let states: Vec<String> = pids.iter().map(|&pid| states(pid)).collect();
            assert!(
                Instant::now() < deadline && pids.iter().all(|&pid| alive(pid)),
                "strace is not attached: {said}; {}",
                states.join("; ")
            );
        }
    }

    fn has_ended(&mut self) -> bool {
        self.strace.0.try_wait().unwrap().is_some()
    }

    /// SIGTERM lets it detach in order. Returns what it has complained of.
    fn stop(&mut self) -> String {
        if !self.has_ended() {
            self.strace.signal(libc::SIGTERM);
            self.strace.wait(PATIENCE);
        }
        let stderr = self.strace.0.stderr.take();
        stderr.map_or(Ok(String::new()), io::read_to_string).unwrap()
    }

    /// Waits until all threads of what is traced have slept for a while. Strace must not detach in the middle
    /// of a call that is to fail: it would fail with ENOSYS, which no kernel answers there.
    fn wait_for_rest(&self) {
        let deadline = Instant::now() + RESTLESS;
        let mut before = Vec::new();
        while Instant::now() < deadline {
            let now: Vec<String> = self.traced.iter().flat_map(|&pid| sleeps(pid)).collect();
            let all_sleep = now.iter().all(|sleep| sleep.starts_with("S "));
            if all_sleep && now == before {
                return;
            }
            before = now;
            thread::sleep(STEP);
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.wait_for_rest();
        self.stop();
    }
}

/// The status of each thread of a process (proc_pid_status(5)).
fn statuses(pid: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).ok();
    threads.filter_map(status).collect()
}

/// The value of a line of such a status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_default().trim()
}

/// For each thread of a living process its state, and how often it has slept.
fn sleeps(pid: u32) -> Vec<String> {
    let threads = statuses(pid).into_iter().filter(|_| alive(pid));
    let sleep = |status: String| {
        let times = field(&status, "voluntary_ctxt_switches");
        format!("{} {times}", field(&status, "State"))
    };
    threads.map(sleep).collect()
}

/// What the threads of a process are doing.
fn states(pid: u32) -> String {
    let state = |status: String| {
        let [thread, state, tracer] = ["Pid", "State", "TracerPid"].map(|name| field(&status, name));
        format!("thread {thread} {state}, its tracer {tracer}")
    };
    statuses(pid)
        .into_iter()
        .map(state)
        .collect::<Vec<_>>()
        .join("; ")
}

/// All threads of a process are traced.
fn is_traced(pid: u32) -> bool {
    statuses(pid)
        .iter()
        .all(|status| field(status, "TracerPid") != "0")
}
