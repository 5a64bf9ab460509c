//! Programs under test: started, watched, collected, and gone with all their children when they are dropped.

use super::http::Http;
use super::{Folder, PATIENCE, Wire, children, eventually, signal, sys, within};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, fmt};

/// The words of a command: a line that is cut at its blanks, or a list of words that may hold some.
pub trait Words {
    fn words(self) -> Vec<OsString>;
}

impl Words for &str {
    fn words(self) -> Vec<OsString> {
        self.split_whitespace().map(OsString::from).collect()
    }
}

impl Words for String {
    fn words(self) -> Vec<OsString> {
        self.as_str().words()
    }
}

impl<S: AsRef<OsStr>> Words for &[S] {
    fn words(self) -> Vec<OsString> {
        self.iter().map(OsString::from).collect()
    }
}

impl<S: AsRef<OsStr>, const N: usize> Words for &[S; N] {
    fn words(self) -> Vec<OsString> {
        self.as_slice().words()
    }
}

impl<S: AsRef<OsStr>> Words for Vec<S> {
    fn words(self) -> Vec<OsString> {
        self.as_slice().words()
    }
}

/// What gives the values of options that are not on the command line.
pub const VARIABLES: [&str; 3] = ["KOLAM_SERVER", "KOLAM_LISTEN", "KOLAM_ROOT"];

/// A command of the program, with nothing connected to it yet.
pub fn kolam(words: impl Words) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kolam"));
    // The user of the tests may have set them.
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command.args(words.words());
    command
}

/// A process that is killed with all its descendants when it is dropped.
pub struct Running(pub Child);

impl Running {
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Running {
        sys::set_up();
        Running(command.spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    #[track_caller]
    pub fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, "the program ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut family = vec![self.pid()];
        if matches!(self.0.try_wait(), Ok(None)) {
            for at in 0.. {
                let Some(&pid) = family.get(at) else { break };
                family.extend(children(pid));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
        for pid in family.into_iter().skip(1).filter(|&pid| super::alive(pid)) {
            signal(pid, libc::SIGKILL);
        }
    }
}

/// A running server. When it is dropped it is told to stop, and must end well, in silence, and altogether.
pub struct Server {
    process: Running,
    pub address: SocketAddr,
    /// Lines of stdout after the first; cut off when the last process of the server has ended.
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    /// It was waited for, so its end is no longer to be checked.
    ended: bool,
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.process
    }
}

impl Server {
    /// Starts a quiet server of `folder` for the file protocol, unless its options say otherwise.
    pub fn start(mode: &str, workers: usize, folder: &Folder, options: &str) -> Server {
        Server::launch(mode, workers, folder.path(), &format!("--quiet {options}"))
    }

    /// Starts a quiet server of `folder` for HTTP.
    pub fn http_of(mode: &str, workers: usize, folder: &Folder, options: &str) -> Server {
        Server::start(mode, workers, folder, &format!("--protocol http {options}"))
    }

    /// Starts a server of `root` and waits until it says that it is ready. `single` has one worker, whatever
    /// `workers` says.
    pub fn launch(mode: &str, workers: usize, root: &Path, options: &str) -> Server {
        let workers = if mode == "single" { 1 } else { workers };
        let words = format!("serve --listen 127.0.0.1:0 --mode {mode} --workers {workers} {options} --root");
        Server::ready(kolam(words).arg(root), mode, workers, root, options)
    }

    /// Starts `command`, which is that of such a server.
    pub fn ready(command: &mut Command, mode: &str, workers: usize, root: &Path, options: &str) -> Server {
        let streams = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Running::spawn(streams);
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        let stderr = process.0.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        let stderr = Some(thread::spawn(move || io::read_to_string(stderr).unwrap()));
        let line = lines
            .recv_timeout(PATIENCE)
            .expect("the server does not become ready");
        let (plural, root) = (if workers == 1 { "" } else { "s" }, root.display());
        let address = line.split(' ').nth(2).unwrap();
        let (protocol, url) = match options.contains("--protocol http") {
            true => ("http", format!(" http://{address}/")),
            false => ("file", String::new()),
        };
        let dialect = options
            .split_once("--dialect ")
            .map(|(_, rest)| rest.split(' ').next().unwrap());
        let dialect = dialect.filter(|name| *name != "delimiter");
        let dialect = dialect.map_or(String::new(), |name| format!("{name} dialect of the "));
        let about =
            format!("({dialect}{protocol} protocol, {mode} mode, {workers} worker{plural}, root {root})");
        assert_eq!(
            line,
            format!("listening on {address} {about}{url}"),
            "the first line"
        );
        let address = address.parse().unwrap();
        Server {
            process,
            address,
            lines,
            stderr,
            ended: false,
        }
    }

    pub fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    #[track_caller]
    pub fn http(&self) -> Http {
        Http::connect(self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> String {
        self.connect().ask(request)
    }

    /// The processes of the workers.
    pub fn workers(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Waits until there are as many workers as there were, and one that is gone is none of them.
    #[track_caller]
    pub fn wait_until_replaced(&self, gone: u32, workers: usize) {
        eventually("the worker is replaced", || {
            let now = self.workers();
            now.len() == workers && !now.contains(&gone)
        });
    }

    /// All processes: the workers and, last, the first one.
    pub fn family(&self) -> Vec<u32> {
        [self.workers(), vec![self.pid()]].concat()
    }

    /// Waits until new connections are refused: the request to stop has been heard.
    pub fn wait_until_closed(&self) {
        eventually("new connections are refused", || {
            let error = TcpStream::connect_timeout(&self.address, PATIENCE).err();
            error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
    }

    /// Waits until the first process of the server has ended.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.ended = true;
        self.process.wait(limit)
    }

    #[track_caller]
    fn end(&mut self, limit: Duration) -> String {
        let status = self.wait(limit);
        let more = self.lines.recv_timeout(PATIENCE);
        assert_eq!(
            more,
            Err(RecvTimeoutError::Disconnected),
            "a second line, or a process stays"
        );
        let log = self.stderr.take().unwrap().join().unwrap();
        assert_eq!(status.code(), Some(0), "{status}\n{log}");
        log
    }

    /// Waits until the server, which has been told to, has ended well, all its processes too. Returns what it
    /// wrote to stderr.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> String {
        self.end(limit)
    }

    /// Stops a quiet server.
    pub fn stop(self) {}

    /// Stops a server; returns its log without the last line, which says what was served.
    pub fn stop_with_log(self) -> String {
        self.signal(libc::SIGTERM);
        let mut log = self.finish(PATIENCE);
        let last = log.trim_end().rfind('\n').map_or(0, |end| end + 1);
        assert!(log[last..].contains("Z stopped after "), "{log}");
        log.truncate(last);
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended && !thread::panicking() {
            self.signal(libc::SIGTERM);
            assert_eq!(self.end(PATIENCE), "", "stray lines on stderr");
        }
    }
}

/// A running program with collected output.
pub struct Run {
    process: Running,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Deref for Run {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.process
    }
}

impl DerefMut for Run {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.process
    }
}

/// What a program that has ended left behind.
pub struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(
            f,
            "exit code {:?}\nstdout: {stdout:.3000}\nstderr: {}",
            self.code, self.stderr
        )
    }
}

impl Ended {
    pub fn text(&self) -> &str {
        str::from_utf8(&self.stdout).unwrap()
    }

    /// It went well and has no complaint; returns its stdout.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.text()
    }

    /// It failed with `code` and one line on stderr that holds all of `words`.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.starts_with("kolam: "), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert_has(&self.stderr, words);
    }

    /// Its stdout holds all of `words`.
    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        assert_has(self.text(), words);
    }
}

/// All of `words` are in `text`.
#[track_caller]
pub fn assert_has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

fn collect(mut from: impl Read + Send + 'static) -> Option<JoinHandle<Vec<u8>>> {
    Some(thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    }))
}

impl Run {
    /// Starts a command; what it writes is collected.
    pub fn start(command: &mut Command) -> Run {
        let mut process = Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let (stdout, stderr) = (process.0.stdout.take().unwrap(), process.0.stderr.take().unwrap());
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        Run {
            process,
            stdout,
            stderr,
        }
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Ended {
        let code = self.wait(limit).code();
        let stdout = self.stdout.take().unwrap().join().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        Ended { code, stdout, stderr }
    }
}

/// Runs the program with these words and nothing on its stdin.
#[track_caller]
pub fn run(words: impl Words) -> Ended {
    Run::start(kolam(words).stdin(Stdio::null())).finish(PATIENCE * 3)
}

/// Runs the program with these words and `input` on its stdin.
pub fn run_with_input(words: impl Words, input: &[u8]) -> Ended {
    let mut run = Run::start(kolam(words).stdin(Stdio::piped()));
    let mut stdin: ChildStdin = run.0.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that ends without reading everything is no fault of the test.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let ended = run.finish(PATIENCE * 3);
    writer.join().unwrap();
    ended
}
