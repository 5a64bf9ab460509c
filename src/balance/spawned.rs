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

    /// Starts those again that have ended. `note` hears of each.
    pub fn replace_ended(&mut self, note: impl Fn(&str)) {
        for server in &mut self.list {
            let Ok(Some(status)) = server.process.try_wait() else {
                continue;
            };
            note(&format!(
                "server {} has ended ({status}): one more start",
                server.address
            ));
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
            Some(address) => Ok((Server { address, process }, line)),
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
