//! Who starts the servers of `--spawn`, and who replaces one that has ended? The balancer itself: each is
//! this program in a process of its own, a child that dies with the balancer, also when that is killed. One
//! that has ended is started again on its port, where the next health check finds it.

use crate::cli::{Failure, failed, print};
use crate::sys::{self, Pid};
use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The servers, in the order in which they were started. When it is dropped, they are asked to stop, and
/// waited for: each first ends what it has in hand, within its own grace.
pub struct Spawned {
    /// Words for `kolam serve`.
    options: Vec<OsString>,
    list: Vec<Server>,
}

struct Server {
    address: SocketAddr,
    process: Child,
    /// When that process was started.
    started: Instant,
    /// When to start the next one; `None`: it has not been seen to have ended.
    next: Option<Instant>,
    /// Early exits in a row.
    early_exits: u32,
}

/// A server that is found to have ended sooner than this after its start made an early exit.
const MIN_UPTIME: Duration = Duration::from_secs(2);

/// Pause after the first early exit; each further one in a row doubles it. Three servers that cannot start
/// then cost six starts in ten seconds, each with a line of ours and one of its own.
const FIRST_PAUSE: Duration = Duration::from_secs(4);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pause before the next start, after this many early exits in a row.
fn pause(early_exits: u32) -> Duration {
    match early_exits {
        0 => Duration::ZERO,
        count => LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow((count - 1).min(8))),
    }
}

impl Server {
    fn new(address: SocketAddr, process: Child) -> Server {
        let (started, next, early_exits) = (Instant::now(), None, 0);
        Server {
            address,
            process,
            started,
            next,
            early_exits,
        }
    }

    /// It has ended: is it time for the next start?
    fn is_due(&mut self, now: Instant) -> bool {
        let next = self.next.unwrap_or_else(|| {
            let early = now - self.started < MIN_UPTIME;
            self.early_exits = if early { self.early_exits + 1 } else { 0 };
            now + pause(self.early_exits)
        });
        self.next = Some(next);
        now >= next
    }
}

impl Spawned {
    /// Starts `count` servers, each on a port that the kernel chooses, and waits until they are ready. To be
    /// called by the main thread: the kernel kills a child when the thread that has started it ends.
    pub fn start(count: u64, options: &[OsString]) -> Result<Spawned, Failure> {
        let mut spawned = Spawned {
            options: options.to_vec(),
            list: Vec::new(),
        };
        for number in 1..=count {
            let (server, line) = spawned
                .first_start()
                .or_else(|error| failed(format!("server {number} of --spawn did not start: {error}")))?;
            spawned.list.push(server);
            print(&format!("server {number} {line}"))?;
        }
        Ok(spawned)
    }

    /// Where they listen.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.list.iter().map(|server| server.address)
    }

    /// Starts those again that have ended, each after its pause. `note` hears of each start.
    pub fn replace_ended(&mut self, note: impl Fn(&str)) {
        for server in &mut self.list {
            let Ok(Some(status)) = server.process.try_wait() else {
                continue;
            };
            if !server.is_due(Instant::now()) {
                continue;
            }
            note(&format!(
                "server {} has ended ({status}): one more start",
                server.address
            ));
            (server.started, server.next) = (Instant::now(), None);
            match launch(&self.options, server.address, Stdio::null()) {
                Ok(process) => server.process = process,
                Err(error) => note(&format!("server {} cannot start: {error}", server.address)),
            }
        }
    }

    /// A server on a new port, and its ready line: `listening on 127.0.0.1:40001 (…)`.
    fn first_start(&self) -> io::Result<(Server, String)> {
        let mut process = launch(&self.options, ([127, 0, 0, 1], 0).into(), Stdio::piped())?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.split_whitespace().nth(2).and_then(|word| word.parse().ok());
        match address {
            Some(address) => Ok((Server::new(address, process), line)),
            // It has said why on stderr, which is ours too.
            None => Err(io::Error::other(format!("{}", process.wait()?))),
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        for server in &mut self.list {
            // One that has ended is not asked: its number may belong to another process by now.
            if matches!(server.process.try_wait(), Ok(None)) {
                let _ = sys::kill(server.process.id() as Pid, sys::SIGTERM);
            }
        }
        for server in &mut self.list {
            let _ = server.process.wait();
        }
    }
}

/// Starts one server. Its defaults stand before the user's words, which win; the address comes last. In a
/// process group of its own it does not hear Ctrl-C, but from us, when the balancer has finished.
fn launch(options: &[OsString], address: SocketAddr, stdout: Stdio) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["serve", "--quiet", "--protocol", "http"])
        .args(options);
    command.args(["--listen", &address.to_string()]);
    command.stdin(Stdio::null()).stdout(stdout).process_group(0);
    sys::die_with_parent(&mut command);
    command.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_dies_at_birth_is_started_ever_more_seldom() {
        let start = Instant::now();
        let child = Command::new("true").spawn().unwrap();
        let mut server = Server::new(([127, 0, 0, 1], 1).into(), child);
        server.process.wait().unwrap();
        let (mut starts, mut now) = (Vec::new(), start);
        // Looked at twice a second, as health checks are.
        while now < start + Duration::from_secs(60) {
            now += Duration::from_millis(500);
            if server.is_due(now) {
                starts.push((now - start).as_secs());
                (server.started, server.next) = (now, None);
            }
        }
        assert_eq!(starts, [4, 13, 29]);
        // One that has run for long is started at once.
        server.started = start;
        server.next = None;
        assert!(server.is_due(now));
        assert_eq!(pause(99), LONGEST_PAUSE);
    }
}
