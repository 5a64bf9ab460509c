//! What all black-box tests share: a temporary folder, the real server in a process of its own, a raw
//! connection to it, and the real client. Every wait in here has a deadline, so a failure never hangs, and
//! whatever is started is gone when its guard is dropped.

pub mod http;
pub mod pty;
pub mod sys;

pub use sys::{raise_descriptor_limit, signal};

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fmt, fs};

/// All modes of the server.
pub const MODES: [&str; 4] = ["single", "thread", "process", "event"];

/// Longest wait for anything that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test that mostly waits in all modes at the same time.
pub fn in_every_mode(test: impl Fn(&str) + Sync) {
    thread::scope(|scope| {
        for mode in MODES {
            let test = &test;
            scope.spawn(move || test(mode));
        }
    });
}

/// Between two looks at something that no event announces.
const STEP: Duration = Duration::from_millis(2);

/// Ends a request with payload, and every reply.
pub const END: &[u8] = b"\r\n\r\n";

/// Waits until `condition` holds.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

/// Waits until `condition` holds, at most for `limit`.
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        thread::sleep(STEP);
    }
}

/// The living processes with `word` in their command line.
pub fn processes(word: &[u8]) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (alive(pid) && words.windows(word.len()).any(|window| window == word)).then_some(pid)
    });
    pids.collect()
}

/// Is there such a process? One that has ended and waits to be reaped is none.
pub fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Threads of a process.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The other end of a connection has been closed, although what it had sent may still be on its way: the
/// kernel's list of connections (proc_pid_net(5)) has its socket in another state than 01, established.
pub fn abandoned(stream: &TcpStream) -> bool {
    let [theirs, ours] = [stream.peer_addr(), stream.local_addr()].map(|address| address.unwrap().port());
    let list = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_theirs = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        words.len() == 3
            && words[1].ends_with(&format!(":{theirs:04X}"))
            && words[2].ends_with(&format!(":{ours:04X}"))
    };
    let state = list
        .lines()
        .find(is_theirs)
        .and_then(|line| line.split_whitespace().nth(3));
    state.is_none_or(|state| state != "01")
}

/// Memory of a process that is in RAM, in KiB.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Memory that a process has used at most, in KiB.
pub fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Processor time that a process has used. The kernel counts it in hundredths of a second for everybody,
/// whatever its own clock does (USER_HZ, time(7)).
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    // Fields 14 and 15, counted from 1; the first of `rest` is number 3.
    let used = rest
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(used.sum::<u64>() * 10)
}

/// The living children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .filter(|&pid| alive(pid))
        .collect()
}

/// Bytes that do not repeat soon and do not look alike for different seeds.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length);
    for _ in 0..length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push((state >> 32) as u8);
    }
    bytes
}

const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64, by the book and not by the program under test.
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let symbol = SYMBOLS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() {
                char::from(symbol)
            } else {
                '='
            });
        }
    }
    text
}

/// `UPLOAD name content`, whole.
pub fn upload(name: &str, content: &[u8]) -> Vec<u8> {
    format!("UPLOAD {name} {}\r\n\r\n", base64(content)).into_bytes()
}

/// What the server answers to a GET of `name`, which needs no escapes.
pub fn got(name: &str, content: &[u8]) -> String {
    format!(
        r#"{{"status":"OK","data_namafile":"{name}","data_file":"{}"}}"#,
        base64(content)
    )
}

/// What the server answers to an UPLOAD of `name`, which needs no escapes.
pub fn stored(name: &str, size: usize) -> String {
    format!(
        r#"{{"status":"OK","data":"{name} uploaded successfully","data_namafile":"{name}","size":{size}}}"#
    )
}

/// How an error reply begins.
pub fn refused(reason: &str) -> String {
    format!(r#"{{"status":"ERROR","data":"{reason}"#)
}

/// The number under `key` in a reply.
pub fn number(reply: &str, key: &str) -> u64 {
    let (_, rest) = reply
        .split_once(&format!("\"{key}\":"))
        .unwrap_or_else(|| panic!("no {key} in {reply}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number {key} in {reply}"))
}

/// An empty folder of one test, removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("kolam-test-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.join(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Everything in the folder, hidden files too, sorted.
    pub fn names(&self) -> Vec<String> {
        names(&self.0)
    }

    /// The temporary files of uploads that are going on.
    pub fn temporary(&self) -> Vec<String> {
        self.names()
            .into_iter()
            .filter(|name| name.ends_with(".tmp"))
            .collect()
    }
}

/// Everything in a folder, hidden files too, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A small file system of its own, unmounted when it is dropped.
pub struct Disk<'f>(&'f Folder);

impl Disk<'_> {
    /// Mounts it on `folder`; `size` is that of a tmpfs. `None`: this user may not.
    pub fn mount<'f>(folder: &'f Folder, size: &str) -> Option<Disk<'f>> {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "kolam-test"])
            .arg(folder.path());
        command
            .output()
            .is_ok_and(|output| output.status.success())
            .then_some(Disk(folder))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A running server.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Lines of stdout behind the first; cut off when the last process of the server has ended.
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts a quiet server of `folder` and waits until it says that it is ready. `single` has one worker,
    /// whatever `workers` says.
    pub fn start(mode: &str, workers: usize, folder: &Folder, options: &[&str]) -> Server {
        let options: Vec<&str> = ["--quiet"].iter().chain(options).copied().collect();
        Server::launch(mode, workers, folder.path(), &options)
    }

    /// As `start`, with a log on stderr.
    pub fn start_with_log(mode: &str, workers: usize, folder: &Folder, options: &[&str]) -> Server {
        Server::launch(mode, workers, folder.path(), options)
    }

    pub fn launch(mode: &str, workers: usize, root: &Path, options: &[&str]) -> Server {
        let workers = if mode == "single" { 1 } else { workers };
        let mut command = Command::new(env!("CARGO_BIN_EXE_kolam"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--mode", mode]);
        command
            .args(["--workers", &workers.to_string(), "--root"])
            .arg(root)
            .args(options);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        let stderr = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || io::read_to_string(stderr).unwrap());
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server {
            child,
            address,
            lines,
            stderr: Some(stderr),
        };
        let line = server
            .lines
            .recv_timeout(PATIENCE)
            .expect("the server does not become ready");
        let (plural, root) = (if workers == 1 { "" } else { "s" }, root.display());
        let protocol = if options.windows(2).any(|pair| pair == ["--protocol", "http"]) {
            "http"
        } else {
            "file"
        };
        let about = format!("({protocol} protocol, {mode} mode, {workers} worker{plural}, root {root})");
        let (address, rest) = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_once(' '))
            .unwrap();
        let url = if protocol == "http" {
            format!(" http://{address}/")
        } else {
            String::new()
        };
        assert_eq!(rest, about + &url, "the first line");
        server.address = address.parse().unwrap();
        server
    }

    pub fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> String {
        self.connect().ask(request)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes of the workers.
    pub fn workers(&self) -> Vec<u32> {
        children(self.pid())
    }

    pub fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// Waits until new connections are refused: the request to stop has been heard.
    pub fn wait_until_closed(&self) {
        eventually("new connections are refused", || {
            let error = TcpStream::connect_timeout(&self.address, PATIENCE).err();
            error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
    }

    /// Waits until the first process of the server has ended.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, "the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits until the server, which has been told to, has ended well and in silence, all its processes too.
    /// Returns what it wrote to stderr.
    pub fn finish(mut self, limit: Duration) -> String {
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

    /// Stops a quiet server.
    pub fn stop(self) {
        self.signal(libc::SIGTERM);
        assert_eq!(self.finish(PATIENCE), "", "stray lines on stderr");
    }

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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads once. A process that is stopped and continued while it waits with a limit is interrupted, although
/// it handles no signal (signal(7)).
pub fn read(stream: &mut TcpStream, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Begins an upload and waits until the server writes to its temporary file.
pub fn begin_upload(server: &Server, folder: &Folder, request: &[u8]) -> Wire {
    let before = folder.temporary().len();
    let mut wire = server.connect();
    wire.send(request);
    eventually("the upload has begun", || folder.temporary().len() > before);
    wire
}

/// A connection on which every byte is the test's own.
pub struct Wire {
    pub stream: TcpStream,
    /// Bytes received and not handed out yet.
    buffer: Vec<u8>,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire {
            stream,
            buffer: Vec::new(),
        }
    }

    /// From now on the kernel takes little in advance, so that the server notices how slowly this side reads.
    pub fn take_little(&self) {
        sys::set_receive_buffer(&self.stream, 16 * 1024);
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends each byte by itself.
    pub fn drip(&mut self, bytes: &[u8]) {
        bytes.chunks(1).for_each(|byte| self.send(byte));
    }

    /// Says that nothing more will come, and goes on listening.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Receives something; false at the end of the stream.
    fn receive(&mut self) -> io::Result<bool> {
        let mut piece = vec![0; 64 * 1024];
        let count = read(&mut self.stream, &mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// The next reply without its end mark.
    pub fn try_reply(&mut self) -> io::Result<String> {
        let mut searched = 0;
        loop {
            let found = self.buffer[searched..]
                .windows(END.len())
                .position(|window| window == END);
            if let Some(at) = found {
                let rest = self.buffer.split_off(searched + at + END.len());
                let mut reply = std::mem::replace(&mut self.buffer, rest);
                reply.truncate(searched + at);
                return Ok(String::from_utf8(reply).unwrap());
            }
            searched = self.buffer.len().saturating_sub(END.len() - 1);
            if !self.receive()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub fn reply(&mut self) -> String {
        let reply = self.try_reply().unwrap_or_else(|error| {
            panic!(
                "no reply: {error}; so far: {:?}",
                String::from_utf8_lossy(&self.buffer)
            )
        });
        assert!(
            reply.starts_with(r#"{"status":""#) && reply.ends_with('}'),
            "{reply}"
        );
        reply
    }

    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        self.reply()
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.receive()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// The server has closed the connection, in order and without another byte.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        let rest = self.rest().expect("the connection is not closed in order");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// The server has closed or reset the connection, without another byte.
    #[track_caller]
    pub fn assert_cut(&mut self) {
        match self.rest() {
            Ok(rest) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Nothing comes for a moment.
    #[track_caller]
    pub fn assert_silent(&mut self, moment: Duration) {
        self.stream.set_read_timeout(Some(moment)).unwrap();
        let kind = self.receive().map_err(|error| error.kind());
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(
            self.buffer.is_empty() && kind == Err(ErrorKind::WouldBlock),
            "{kind:?} {:?}",
            String::from_utf8_lossy(&self.buffer)
        );
    }
}

/// Does something again and again beside the test, until it is dropped or the thing itself has had enough.
pub struct Background {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Repeats `step` while it answers true.
    pub fn repeat(mut step: impl FnMut() -> bool + Send + 'static) -> Background {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = thread::spawn(move || while !told.load(Ordering::Relaxed) && step() {});
        Background {
            over,
            thread: Some(thread),
        }
    }

    /// Sends one more `byte` after each `pause`.
    pub fn drip(wire: &Wire, byte: u8, pause: Duration) -> Background {
        let mut stream = wire.stream.try_clone().unwrap();
        Background::repeat(move || {
            thread::sleep(pause);
            stream.write_all(&[byte]).is_ok()
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || matches!(ended, Some(Ok(()))),
            "the background has failed"
        );
    }
}

/// A running program with collected output, killed when it is dropped.
pub struct Run {
    pub child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
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
        words
            .iter()
            .for_each(|word| assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr));
    }
}

/// A command of the program, with nothing connected to it yet.
pub fn kolam<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kolam"));
    command.args(words);
    command
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

impl Run {
    /// Starts a command; what it writes is collected.
    pub fn start(command: &mut Command) -> Run {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Run {
            child,
            stdout: Some(collect(stdout)),
            stderr: Some(collect(stderr)),
        }
    }

    /// Waits until it has ended.
    pub fn finish(mut self, limit: Duration) -> Ended {
        let mut status = None;
        within(limit, "the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let stdout = self.stdout.take().unwrap().join().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        Ended {
            code: status.unwrap().code(),
            stdout,
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program with these words and nothing on its stdin.
pub fn run(words: &[&str]) -> Ended {
    Run::start(kolam(words).stdin(Stdio::null())).finish(PATIENCE * 3)
}

/// Runs the program with these words and `input` on its stdin.
pub fn run_with_input(words: &[&str], input: &[u8]) -> Ended {
    let mut run = Run::start(kolam(words).stdin(Stdio::piped()));
    let mut stdin: ChildStdin = run.child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that ends without reading everything is no fault of the test.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let ended = run.finish(PATIENCE * 3);
    writer.join().unwrap();
    ended
}
