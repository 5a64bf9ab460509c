//! What all black-box tests share: the cases that a promise holds in, folders, the program under test in
//! processes of its own, connections to it, and servers of the test's own. Every wait in here has a deadline,
//! so a failure never hangs, and what is started is gone when its guard is dropped.

pub mod cases;
pub mod fake;
pub mod http;
pub mod process;
pub mod pty;
pub mod sys;
pub mod tracer;
pub mod watch;
pub mod wire;
pub mod wrong;

pub use cases::{
    BLOCKING, CLIENTS, COMMANDS, Case, FILE, HTTP, MODES, POOLS, PROTOCOLS, each_case, each_case_at_once,
};
pub use fake::{Fake, Guest};
pub use process::{Ended, Run, Running, Server, VARIABLES, Words, assert_has, kolam, run, run_with_input};
pub use sys::signal;
pub use tracer::Tracer;
pub use watch::{
    abandoned, alive, children, descriptors, memory, peak_memory, processes, processor_time, resident,
    threads,
};
pub use wire::Wire;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeBounds;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

/// Longest wait for anything that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that no event announces.
const STEP: Duration = Duration::from_millis(2);

/// Long enough for anything that is not waiting for us to have happened.
pub const MOMENT: Duration = Duration::from_millis(150);

/// Longest wait for something that a limit of at most a second must end.
pub const SOON: Duration = Duration::from_secs(10);

/// Ends a request with payload, and every reply.
pub const END: &[u8] = b"\r\n\r\n";

/// Says that a test could not be tried here, past the runner, which shows nothing of a test that passes.
pub fn skipped(why: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "skipped: {why}");
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

/// Waits until `condition` holds, at most for `limit`.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        thread::sleep(STEP);
    }
}

/// What began then has taken so long by now.
#[track_caller]
pub fn assert_took(bounds: impl RangeBounds<Duration>, began: Instant) {
    let took = began.elapsed();
    assert!(bounds.contains(&took), "it took {took:?}");
}

/// Is there such a program? If not, a word about it is said.
pub fn installed(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output().is_ok();
    if !version {
        skipped(format!("{program} is not installed"));
    }
    version
}

/// Reads a string of JSON from its first quote on; returns it, and what follows it. `None`: it has no end.
pub fn json_string(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut units = Vec::new();
    loop {
        let c = match chars.next()? {
            '"' => return Some((String::from_utf16(&units).unwrap(), chars.as_str())),
            '\\' => match chars.next()? {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).unwrap());
                    continue;
                }
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'f' => '\u{c}',
                c @ ('"' | '\\' | '/') => c,
                c => panic!("unexpected escape {c:?}"),
            },
            c => {
                assert!(!c.is_control(), "a control character in a string");
                c
            }
        };
        units.extend(c.encode_utf16(&mut [0; 2]).iter());
    }
}

/// An address where nothing listens, and a moment ago something did.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The rows of a table, one a line: what stands before ` => ` and after it.
pub fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = table.lines().map(|line| line.split_once("=>").expect(line));
    rows.map(|(left, right)| (left.trim(), right.trim()))
}

/// Each row is a mistake on the command line, and what its one line on stderr has, divided by ` | `.
#[track_caller]
pub fn assert_usage(table: &str) {
    for (words, told) in rows(table) {
        let ended = run(words);
        ended.failed(2, &told.split(" | ").collect::<Vec<_>>());
        assert_eq!(ended.text(), "", "{words}");
    }
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

pub const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64, by the book and not by the program under test.
pub fn base64(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let symbols = [18, 12, 6, 0].map(|shift| SYMBOLS[(bits >> shift & 63) as usize]);
        text.extend_from_slice(&symbols);
    }
    let padding = bytes.len().next_multiple_of(3) - bytes.len();
    let end = text.len() - padding;
    text[end..].fill(b'=');
    String::from_utf8(text).unwrap()
}

/// `UPLOAD name content`, whole.
pub fn upload(name: &str, content: &[u8]) -> Vec<u8> {
    format!("UPLOAD {name} {}\r\n\r\n", base64(content)).into_bytes()
}

/// What the server answers to a GET of `name`, which needs no escapes.
pub fn got(name: &str, content: &[u8]) -> String {
    let text = base64(content);
    format!(r#"{{"status":"OK","data_namafile":"{name}","data_file":"{text}"}}"#)
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

/// Both halves of a request.
pub fn halves(request: &[u8]) -> (&[u8], &[u8]) {
    request.split_at(request.len() / 2)
}

/// The number under `key` in a reply.
pub fn number(reply: &str, key: &str) -> u64 {
    let (_, rest) = reply.split_once(&format!("\"{key}\":")).expect(reply);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect(reply)
}

/// An empty folder of one test, removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("kolam-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.join(name), bytes).unwrap();
    }

    /// A sparse file that takes no room on the disk.
    pub fn sparse(&self, name: &str, size: u64) -> File {
        let file = File::create(self.join(name)).unwrap();
        file.set_len(size).unwrap();
        file
    }

    pub fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.join(name)).unwrap();
    }

    pub fn folder(&self, name: &str) {
        fs::create_dir(self.join(name)).unwrap();
    }

    pub fn pipe(&self, name: &str) {
        let made = Command::new("mkfifo").arg(self.join(name)).status();
        assert!(made.unwrap().success());
    }

    /// The path of an entry, as a word of a command.
    pub fn word(&self, name: &str) -> String {
        self.join(name).display().to_string()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// There is this one file, of this content, and nothing else.
    #[track_caller]
    pub fn assert_only(&self, name: &str, content: &[u8]) {
        assert_eq!(self.names(), [name]);
        assert!(self.read(name) == content, "{name} has other content");
    }

    /// Everything in the folder, hidden files too, sorted.
    pub fn names(&self) -> Vec<String> {
        names(&self.0)
    }

    /// The temporary files of uploads that are going on.
    pub fn temporary(&self) -> Vec<String> {
        let mut names = self.names();
        names.retain(|name| name.ends_with(".tmp"));
        names
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
        let words = format!("-t tmpfs -o size={size} kolam-test");
        let mounted = Command::new("mount")
            .args(words.words())
            .arg(folder.path())
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            skipped("only root may mount the disk that this test needs");
        }
        mounted.then_some(Disk(folder))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
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

    /// Sends `bytes` once more after each `pause`.
    pub fn drip(wire: &Wire, bytes: &'static str, pause: Duration) -> Background {
        let mut stream = wire.stream.try_clone().unwrap();
        Background::repeat(move || {
            thread::sleep(pause);
            stream.write_all(bytes.as_bytes()).is_ok()
        })
    }

    /// Reads as fast as it can and counts the bytes.
    pub fn read(wire: &Wire, count: Arc<AtomicU64>) -> Background {
        let (mut stream, mut piece) = (wire.stream.try_clone().unwrap(), vec![0; 1 << 20]);
        Background::repeat(move || {
            let read = stream.read(&mut piece).unwrap_or(0);
            count.fetch_add(read as u64, Ordering::Relaxed);
            read > 0
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
