//! How is the server of a row started on another machine, so that nothing of it stays there? By any command
//! that runs a command there: `{}` in it stands for `kolam stress --as-server …` (`as_server.rs`), which ends
//! when its stdin ends. A pipe that closes is the one message that arrives whatever happens on this side:
//! Ctrl-C, SIGKILL, a lost ssh.

use crate::cli::{Args, Failure, Opt, opt, usage};
use crate::stress::fixture::{Process, STOP_LIMIT, Server};
use crate::stress::matrix::{Plan, Row};
use crate::stress::run_files::RunId;
use crate::stress::run_folder::{About, quote};
use crate::sys::{self, Ended, Interest, Pid, Stop};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("--launch", "COMMAND", "start each row's server by this shell command: 'ssh host {}'"),
    opt("--launch-address", "HOST:PORT", "where that server is reached; port 0: any (127.0.0.1:0)"),
    opt("--launch-program", "PATH", "path of kolam over there (the same as here)"),
    opt("--as-server", "WHAT", "row or wire; for --launch alone: it replaces {} by a line with this"),
    opt("--at", "HOST:PORT", "where --as-server listens (127.0.0.1:0)"),
];

/// Where `--as-server` makes its files, unless `--root` after `{}` names another folder.
const ROOT: &str = "/tmp";

/// Longest line that we read from a command. What a login prints is shorter.
const LONGEST_LINE: usize = 64 << 10;

/// Between two looks at a command whose output has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a command that gave no server may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Where the servers of a run are.
pub enum Place {
    /// Children of this process, which listen here.
    Here(SocketAddr),
    Elsewhere(Launch),
}

/// How a server is started elsewhere.
pub struct Launch {
    /// For `sh -c`, with one `{}`.
    pub command: String,
    /// How that side is reached from this one; port 0: the port is that of its ready line.
    address: SocketAddr,
    /// kolam over there.
    program: String,
}

impl Place {
    /// Where a server listens, or is reached.
    pub fn address(&self) -> SocketAddr {
        match self {
            Place::Here(address) => *address,
            Place::Elsewhere(launch) => launch.address,
        }
    }

    pub fn from(args: &Args) -> Result<Place, Failure> {
        let needs = [
            ("--launch-address", "--launch"),
            ("--launch-program", "--launch"),
            ("--at", "--as-server"),
        ];
        if let Some((option, other)) = needs
            .iter()
            .find(|(option, other)| args.has(option) && !args.has(other))
        {
            return usage(format!("{option}: this option needs {other}"));
        }
        let ours = ["--target", "--as-server"];
        match (args.text("--launch"), ours.iter().find(|name| args.has(name))) {
            (None, _) => Ok(Place::Here(args.address("--at", "127.0.0.1:0")?)),
            (Some(_), Some(other)) => usage(format!(
                "--launch starts servers and {other} does not; use one of the two"
            )),
            (Some(command), None) => Ok(Place::Elsewhere(Launch::from(args, command)?)),
        }
    }
}

impl Plan {
    /// How our servers are started on another machine.
    pub fn launch(&self) -> Option<&Launch> {
        match &self.place {
            Place::Elsewhere(launch) => Some(launch),
            Place::Here(_) => None,
        }
    }

    /// Are the served files on this machine, and ours?
    pub fn files_are_here(&self) -> bool {
        self.target.is_none() && self.launch().is_none()
    }
}

impl Launch {
    fn from(args: &Args, command: &str) -> Result<Launch, Failure> {
        if command.matches("{}").count() != 1 {
            return usage(format!(
                "--launch {command}: expected a shell command with one {{}}, where the command line of the \
                 server goes, such as 'ssh host {{}}'"
            ));
        }
        let address = args.address("--launch-address", "127.0.0.1:0")?;
        if address.ip().is_unspecified() {
            return usage(format!(
                "--launch-address {address}: no machine has this address; name the one at which the server \
                 is reached from here (where it listens: --at after {{}})"
            ));
        }
        let own = env::current_exe().map(|path| path.to_string_lossy().into_owned());
        let program = args
            .text("--launch-program")
            .map_or(own.unwrap_or_default(), str::to_owned);
        // The words pass one shell here, and ssh starts a second one: quotes would be right for one of them.
        if quote(&program) != program {
            return usage(format!(
                "--launch-program {program}: a shell would change it; name a path of letters, digits and \
                 _-+=:,./@%"
            ));
        }
        Ok(Launch {
            command: command.to_owned(),
            address,
            program,
        })
    }

    /// What `{}` stands for. All words are plain: they mean the same to one shell and to two.
    fn line(&self, plan: &Plan, row: Option<&Row>) -> String {
        let (program, timeout) = (&self.program, plan.timeout.as_secs_f64());
        let (what, row) = match row {
            None => ("wire", String::new()),
            Some(row) => {
                let (mode, operation, volume) = (row.mode, row.operation, row.volume_mib);
                let workers = format!("--clients {} --servers {}", row.clients, row.servers);
                (
                    "row",
                    format!(" --modes {mode} --ops {operation} --volumes {volume} {workers}"),
                )
            }
        };
        let common = format!("--at {} --root {ROOT} --timeout {timeout}", self.address);
        format!("{program} stress --as-server {what} {common}{row}")
    }

    /// Starts `--as-server`, for `row` or for the wire, and waits until it is ready, at most for `--timeout`,
    /// as for everything that a server does.
    pub fn start(&self, row: Option<&Row>, plan: &Plan, stop: Stop) -> Result<Launched, String> {
        let line = self.command.replace("{}", &self.line(plan, row));
        let launched = Launched::spawn(&line, self.address);
        let mut launched = launched.map_err(|error| format!("cannot start sh: {error}"))?;
        let deadline = Instant::now() + plan.timeout;
        let trouble = loop {
            match launched.hear(deadline, Some(stop)) {
                Heard::Line(said) if launched.take(&said).is_some() => return Ok(launched),
                Heard::Line(_) => {}
                Heard::End => break launched.end(deadline).unwrap_or("did not end".to_owned()),
                Heard::Nothing if stop.requested() => return Err("interrupted".to_owned()),
                Heard::Nothing => break format!("took more than {:?} (--timeout)", plan.timeout),
            }
        };
        Err(format!("no server was ready: --launch {trouble}: {line}"))
    }

    /// The server of `row`.
    pub fn serve(&self, row: &Row, plan: &Plan, stop: Stop) -> Result<Server, String> {
        let launched = self.start(Some(row), plan, stop)?;
        Ok(Server {
            address: launched.address,
            run: launched.run,
            process: Process::Elsewhere(launched),
        })
    }
}

/// What a server has used from its start to its end: peak memory in KiB, processor time. `None`: unknown.
pub type Usage = (Option<u64>, Option<Duration>);

/// What came from a command.
enum Heard {
    Line(String),
    /// All its processes have closed its stdout.
    End,
    /// Not in time, or the user wants to stop.
    Nothing,
}

/// A command that runs a server elsewhere. When it is dropped, it has ended, with all its processes here.
pub struct Launched {
    /// Where its server is reached, once it is ready.
    pub address: SocketAddr,
    /// The names of the files over there hold this id.
    run: RunId,
    /// What that machine is, if it has told.
    pub about: About,
    used: Option<Usage>,
    /// The shell, and the process group that it leads; `None`: it has been reaped.
    pid: Option<Pid>,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// What has come, up to the next end of a line.
    rest: Vec<u8>,
}

impl Launched {
    fn spawn(line: &str, address: SocketAddr) -> io::Result<Launched> {
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // In a process group of its own it does not hear Ctrl-C, but from us, in order; and when it does not
        // end, all of it can be killed.
        let mut child = command.process_group(0).spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        // The other side begins when it has read a byte: so it knows that its stdin is this pipe. If the
        // command has ended already, the end of its stdout tells.
        let _ = stdin.write_all(b"\n");
        Ok(Launched {
            address,
            run: RunId::new(),
            about: About::new(),
            used: None,
            pid: Some(child.id() as Pid),
            stdin: Some(stdin),
            stdout,
            rest: Vec::new(),
        })
    }

    /// Waits for the next line, until `deadline`.
    fn hear(&mut self, deadline: Instant, stop: Option<Stop>) -> Heard {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Heard::Line(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut fds = vec![(self.stdout.as_fd(), Interest::Read)];
            fds.extend(stop.iter().map(|stop| (stop.as_fd(), Interest::Read)));
            let ready = sys::poll(&fds, Some(deadline)).unwrap_or(0);
            if stop.is_some_and(Stop::requested) || ready == 0 && Instant::now() >= deadline {
                return Heard::Nothing;
            }
            let mut bytes = [0; 4096];
            match self.stdout.read(&mut bytes) {
                _ if ready == 0 => {}
                Ok(count @ 1..) if self.rest.len() < LONGEST_LINE => self.rest.extend(&bytes[..count]),
                _ => return Heard::End,
            }
        }
    }

    /// Takes what a line of `--as-server` says, and skips others, such as the greeting of a login. `Some`:
    /// the server is ready.
    ///
    /// ```text
    ///   kolam server NAME VALUE | kolam run ID | kolam listening on ADDRESS | kolam used KIB SECONDS
    /// ```
    fn take(&mut self, line: &str) -> Option<()> {
        let (key, value) = line.strip_prefix("kolam ")?.split_once(' ')?;
        match key {
            "server" => self.about.push(("server", value.to_owned())),
            "run" => self.run = RunId::parse(value)?,
            "used" => {
                let (peak, cpu) = value.split_once(' ')?;
                let cpu = Duration::try_from_secs_f64(cpu.parse().ok()?).ok()?;
                self.used = Some((peak.parse().ok(), Some(cpu)));
            }
            "listening" => {
                let there: SocketAddr = value.strip_prefix("on ")?.parse().ok()?;
                if self.address.port() == 0 {
                    self.address.set_port(there.port());
                }
                return Some(());
            }
            _ => {}
        }
        None
    }

    /// Closes the pipe, hears what is still said until `deadline`, and waits for the end of the command.
    /// Returns how it ended; `None`: it had to be killed.
    fn end(&mut self, deadline: Instant) -> Option<String> {
        self.stdin = None;
        while let Heard::Line(line) = self.hear(deadline, None) {
            self.take(&line);
        }
        let pid = self.pid.take()?;
        while let Ok(ended) = sys::reap(pid, false) {
            match ended {
                Some(Ended { code: Some(code), .. }) => return Some(format!("ended with code {code}")),
                Some(_) => return Some("was killed".to_owned()),
                None if Instant::now() < deadline => thread::sleep(PAUSE),
                None => break,
            }
        }
        // It is not reaped yet, so the number of its group is still its own.
        let _ = sys::kill(-pid, sys::SIGKILL);
        let _ = sys::reap(pid, true);
        None
    }

    /// Ends the server; returns what it used.
    pub fn stop(mut self) -> Result<Usage, String> {
        let ended = self.end(Instant::now() + STOP_LIMIT);
        let how = ended.unwrap_or_else(|| format!("did not end within {STOP_LIMIT:?}, and was killed"));
        self.used
            .ok_or_else(|| format!("the server has failed: --launch {how}"))
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if self.pid.is_some() {
            self.end(Instant::now() + GRACE);
        }
    }
}
