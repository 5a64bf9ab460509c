//! How are programs started, watched and ended? Whatever is started here ends with its guard.

use super::run::{Outcome, Run, failed, has};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything here; then a program is given up, or killed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The exit code of a run that a signal ends; 0: none came.
static INTERRUPTED: AtomicU8 = AtomicU8::new(0);

extern "C" fn on_signal(signal: libc::c_int) {
    INTERRUPTED.store(128 + signal as u8, SeqCst);
}

/// From now on these signals end a run between two of its commands, so that nothing is left behind.
#[allow(unsafe_code)]
pub fn catch_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores into an atomic, which may be done in the middle of anything.
        unsafe { libc::signal(signal, on_signal as *const () as libc::sighandler_t) };
    }
}

/// The exit code of a run that a signal has ended.
pub fn interrupted() -> Option<u8> {
    Some(INTERRUPTED.load(SeqCst)).filter(|code| *code != 0)
}

/// Allows this process as many open files as it may have; tells how many those are.
#[allow(unsafe_code)]
pub fn raise_descriptor_limit() -> u64 {
    // SAFETY: the structure is made of integers, and is valid for reading and writing.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        limit.rlim_cur
    }
}

/// Waits until `condition` holds, at most for `limit`. Does it?
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Waits until `condition` holds, at most for `PATIENCE`, or until the run is interrupted. Does it?
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let mut holds = false;
    within(PATIENCE, || {
        holds = condition();
        holds || interrupted().is_some()
    });
    holds
}

/// A program in a process group of its own; all of the group ends when this is dropped.
pub struct Process(pub Child);

impl Process {
    pub fn start(command: &mut Command) -> Outcome<Process> {
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        let name = command.get_program().display();
        child
            .map(Process)
            .or_else(|error| failed(format!("{name}: {error}")))
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Sends a signal to the whole group. False: it has no process any more.
    #[allow(unsafe_code)]
    pub fn signal(&self, signal: i32) -> bool {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(-(self.0.id() as libc::pid_t), signal) == 0 }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(libc::SIGTERM);
        within(PATIENCE / 2, || self.has_ended());
        // Some of its group may have outlived it, and still have its port.
        self.signal(libc::SIGKILL);
        let _ = self.0.wait();
        within(PATIENCE / 2, || !self.signal(0));
    }
}

/// A server that is ready.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
}

impl Server {
    /// Starts kolam on a free port.
    pub fn kolam(run: &Run, name: &str, words: &str) -> Outcome<Server> {
        Server::program(run, "kolam", name, words)
    }

    /// Starts a program with kolam's words and ready lines.
    pub fn program(run: &Run, program: &str, name: &str, words: &str) -> Outcome<Server> {
        let words = format!("{program} {words} --quiet --listen 127.0.0.1:0");
        Server::start(run, name, &mut run.command(&words))
    }

    /// Starts a server that says where it listens: `listening on 127.0.0.1:40001 (…)`.
    pub fn start(run: &Run, name: &str, command: &mut Command) -> Outcome<Server> {
        let log = run.work.join(format!("{name}.log"));
        let mut process = Process::start(command.stdout(Stdio::piped()).stderr(File::create(&log)?))?;
        let mut line = String::new();
        // The end of the stream without a line: the server has ended.
        if let Some(stdout) = process.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.split_whitespace().nth(2).and_then(|word| word.parse().ok()) {
            Some(address) => Ok(Server { process, address }),
            None => {
                let log = fs::read_to_string(log)?;
                failed(format!("{name} does not become ready: {command:?}\n{log}"))
            }
        }
    }

    /// Starts a server that does not say when it is ready: it takes connections then. `None`: it is not
    /// installed, or does not start.
    pub fn peer(run: &Run, words: &str, address: SocketAddr) -> Outcome<Option<Server>> {
        let mut command = run.command(words);
        if !has(&command.get_program().display().to_string()) {
            return Ok(None);
        }
        let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let takes = || TcpStream::connect(address).is_ok();
        let is_ready = eventually(|| process.has_ended() || takes()) && takes();
        Ok(is_ready.then_some(Server { process, address }))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The first process and its children.
    pub fn children(&self) -> Vec<u32> {
        let pid = self.process.0.id();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        list.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// Peak memory of all its processes in MiB, with the pages that they share counted once. 0: it has ended.
    pub fn peak_mib(&self) -> f64 {
        let of = |pid, name| kib(&format!("/proc/{pid}/status"), name);
        let own = |pid| of(pid, "VmHWM:") - of(pid, "RssFile:") - of(pid, "RssShmem:");
        let children: f64 = self.children().into_iter().map(own).sum();
        (of(self.process.0.id(), "VmHWM:") + children.max(0.0)) / 1024.0
    }

    /// Memory of all its processes now in KiB, shared pages divided among those who share them.
    pub fn pss_kib(&self) -> f64 {
        let all = self.children().into_iter().chain([self.process.0.id()]);
        all.map(|pid| kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:"))
            .sum()
    }
}

/// An address on loopback that was free a moment ago: for programs that do not tell theirs.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// The figure after `name` in a file of /proc, in KiB.
fn kib(path: &str, name: &str) -> f64 {
    first_number(&fs::read_to_string(path).unwrap_or_default(), name).unwrap_or(0.0)
}

/// The number after `title` in the first line that begins with it.
pub fn first_number(text: &str, title: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(title))?;
    rest.split_whitespace().next()?.parse().ok()
}
