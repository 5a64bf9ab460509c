//! # Chapter 12a. How does a person use the client?
//!
//! `list`, `download`, `upload`, `delete` and `stats`: one connection, one request, one clear sentence when
//! it fails. `-` stands for stdin or stdout; a progress line appears on a terminal when a transfer takes
//! longer than a second.
//!
//! The invariant: a local file is replaced only by a whole download. Until then the content is in a temporary
//! file beside it, which an error or one Ctrl-C removes; only a kill or a second Ctrl-C leaves it there.
//!
//! What must not live here: the protocol.
//!
//! Experiment: press Ctrl-C in the middle of a download and look for what is left.

use crate::cli::{Args, Command, Failure, LiveLine, Opt, failed, opt, print, visible, visible_name};
use crate::client::{Client, Error};
use crate::json::Value;
use crate::session::PIECE;
use crate::store::check_name;
use crate::sys::{self, Interest, Listen, Stop};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Stderr, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

const CONNECTION: &[Opt] = &[
    opt("--server", "HOST:PORT", "the server to talk to (127.0.0.1:6666)"),
    opt("--timeout", "TIME", "longest wait for the server to move (30)"),
];

pub static LIST: Command = Command {
    name: "list",
    words: &[],
    about: "print the names of the files on the server, a line each\n\n\
            On a terminal, characters that are invisible or change the direction of writing are shown as \
            escapes such as \\u{202e}. A file or a pipe gets each name as it is.",
    options: &[CONNECTION],
    run: list,
};

pub static DOWNLOAD: Command = Command {
    name: "download",
    words: &["NAME"],
    about: "fetch a file",
    options: &[
        &[opt("-o", "FILE", "where to put it; - is stdout (NAME)")],
        CONNECTION,
    ],
    run: download,
};

pub static UPLOAD: Command = Command {
    name: "upload",
    words: &["FILE"],
    about: "send a file; - is stdin",
    options: &[
        &[opt("--as", "NAME", "its name on the server (that of FILE)")],
        CONNECTION,
    ],
    run: upload,
};

pub static DELETE: Command = Command {
    name: "delete",
    words: &["NAME"],
    about: "delete a file on the server",
    options: &[CONNECTION],
    run: delete,
};

pub static STATS: Command = Command {
    name: "stats",
    words: &[],
    about: "print what the server has counted",
    options: &[CONNECTION],
    run: stats,
};

/// A dash in the place of a path stands for stdin or stdout.
fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Connects and makes one request; the error names the cause.
fn ask<T>(args: &Args, request: impl FnOnce(&mut Client) -> Result<T, Error>) -> Result<T, Failure> {
    let stop = match Stop::listen(Listen::Stop) {
        Ok(stop) => stop,
        Err(error) => return failed(format!("cannot listen for signals: {error}")),
    };
    let address = args.address("--server", "127.0.0.1:6666")?;
    let timeout = args.seconds("--timeout", 30.0)?;
    let answer = Client::connect(address, timeout, stop).and_then(|mut client| request(&mut client));
    answer.or_else(|error| match error {
        Error::Interrupted => Err(Failure::Interrupted),
        // The reader of our output has closed it.
        Error::Local(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Error::Local(error) => failed(error.to_string()),
        error => failed(format!("{address}: {error}")),
    })
}

fn list(args: &Args) -> Result<(), Failure> {
    let names = ask(args, |client| client.list())?;
    // On a terminal deceptive characters are escaped; a script needs the exact name, if it fits on one line.
    let exact = !io::stdout().is_terminal();
    let mut text = String::new();
    for name in names {
        if exact && !name.contains(char::is_control) {
            text += &name;
        } else {
            text += &visible_name(&name);
        }
        text.push('\n');
    }
    print(&text)
}

fn delete(args: &Args) -> Result<(), Failure> {
    let name = args.word(0).unwrap_or_default();
    ask(args, |client| client.delete(name))?;
    print(&format!("{name} deleted\n"))
}

/// Prints one line for each count and one for each worker.
fn stats(args: &Args) -> Result<(), Failure> {
    let stats = ask(args, |client| client.stats())?;
    let Value::Object(pairs) = stats else {
        return failed("the server's STATS is no object");
    };
    let mut text = String::new();
    for (key, value) in pairs {
        let key = visible(&key);
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    text += &format!("{key} {index:<5} {}\n", plain(item));
                }
            }
            value => text += &format!("{key:<16} {}\n", plain(&value)),
        }
    }
    print(&text)
}

/// A value as a person would write it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => visible(text),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Object(pairs) => pairs
            .iter()
            .map(|(key, value)| format!("{} {}", visible(key), plain(value)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn download(args: &Args) -> Result<(), Failure> {
    let name = args.word(0).unwrap_or_default();
    let path = args.path("-o").unwrap_or(Path::new(name));
    if !args.has("-o") && check_name(name.as_bytes()).is_err() {
        return Err(Failure::Usage(format!(
            "download: say with -o FILE where to put {name:?}"
        )));
    }
    let target = &path.display().to_string();
    let cannot = |error| Error::Local(in_words("write", target, error));
    let size = ask(args, |client| {
        if is_standard(path) {
            // Not `io::stdout()`: it buffers lines and may lose the error of the last one.
            let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(cannot)?);
            return client.download(name, &mut Progress::new(&mut stdout, "write", "stdout", None));
        }
        // A device or a pipe is written into; to replace it would destroy it.
        if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            let mut file = File::options().write(true).open(path).map_err(cannot)?;
            return client.download(name, &mut Progress::new(&mut file, "write", target, None));
        }
        let mut file = Temporary::create(path).map_err(cannot)?;
        let size = client.download(name, &mut Progress::new(&mut file.file, "write", target, None))?;
        file.commit().map_err(cannot)?;
        Ok(size)
    })?;
    if is_standard(path) {
        Ok(())
    } else {
        print(&format!("{target} downloaded, {size} bytes\n"))
    }
}

fn upload(args: &Args) -> Result<(), Failure> {
    let path = args.path_word(0).unwrap_or(Path::new(""));
    let shown = &if is_standard(path) {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    };
    let cannot = |error| Failure::Failed(in_words("read", shown, error).to_string());
    let (file, total) = open_source(path).map_err(cannot)?;
    let name = match args.text("--as") {
        Some(name) => name,
        None => own_name(path)?,
    };
    let size = ask(args, |client| {
        let source = BufReader::with_capacity(
            PIECE,
            Interruptible {
                file,
                stop: client.stop(),
            },
        );
        client.upload(name, &mut Progress::new(source, "read", shown, total))
    })?;
    print(&format!("{name} uploaded, {size} bytes\n"))
}

/// The last part of a path, as a name on the server.
fn own_name(path: &Path) -> Result<&str, Failure> {
    let shown = path.display();
    let why = match path.file_name() {
        _ if is_standard(path) => "stdin has no name".to_owned(),
        None => format!("{shown} has no file name"),
        Some(name) => match name.to_str() {
            Some(name) => return Ok(name),
            // Names on the wire are UTF-8; names on a disk are any bytes.
            None => format!("the name of {shown} is not UTF-8"),
        },
    };
    Err(Failure::Usage(format!("upload: {why}; add --as NAME")))
}

/// Opens what is to be uploaded, before there is a connection; its length in bytes if that is known.
fn open_source(path: &Path) -> io::Result<(File, Option<u64>)> {
    if is_standard(path) {
        return Ok((File::from(io::stdin().as_fd().try_clone_to_owned()?), None));
    }
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::Error::new(
            ErrorKind::IsADirectory,
            "it is a folder; name a file",
        ));
    }
    Ok((file, about.is_file().then_some(about.len())))
}

/// Adds the operation and the name to an error of a local file.
fn in_words(verb: &str, path: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {path}: {error}"))
}

/// A pipe or a terminal; waiting for it ends when a stop is requested. A regular file is always ready.
struct Interruptible {
    file: File,
    stop: Stop,
}

impl Read for Interruptible {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let watch = [self.file.as_fd(), self.stop.as_fd()].map(|fd| (fd, Interest::Read));
        sys::poll(&watch, None)?;
        if self.stop.requested() {
            Err(ErrorKind::Interrupted.into())
        } else {
            self.file.read(out)
        }
    }
}

/// A file beside its target that takes the target's name when it is whole.
struct Temporary {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Temporary {
    fn create(target: &Path) -> io::Result<Temporary> {
        if target.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // A link stays a link to what is replaced.
        let real = fs::canonicalize(target);
        let target = real.as_deref().unwrap_or(target);
        let Some(name) = target.file_name() else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let temporary = (0_u32..).find_map(|number| {
            // The target's own name may be as long as names can be, so it is not part of this one.
            let path = target.with_file_name(format!(".kolam-download-{}-{number}", process::id()));
            match File::options().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
                opened => Some(opened.map(|file| (file, path))),
            }
        });
        let (file, path) = temporary.unwrap_or_else(|| Err(ErrorKind::AlreadyExists.into()))?;
        let temporary = Temporary {
            file,
            path,
            target: target.with_file_name(name),
        };
        if let Ok(old) = fs::metadata(target) {
            temporary.file.set_permissions(old.permissions())?;
        }
        Ok(temporary)
    }

    fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)?;
        self.path.clear();
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Time before the progress line appears.
const PROGRESS_DELAY: Duration = Duration::from_secs(1);

/// Counts the bytes through it, shows them when the transfer takes long, and names the file in errors.
struct Progress<'n, T> {
    inner: T,
    /// `read` or `write`, and what.
    verb: &'static str,
    name: &'n str,
    /// Bytes in all, if known.
    total: Option<u64>,
    done: u64,
    start: Instant,
    line: LiveLine<Stderr>,
}

impl<'n, T> Progress<'n, T> {
    fn new(inner: T, verb: &'static str, name: &'n str, total: Option<u64>) -> Progress<'n, T> {
        let line = LiveLine::new(io::stderr());
        Progress {
            inner,
            verb,
            name,
            total,
            done: 0,
            start: Instant::now(),
            line,
        }
    }

    fn count(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.start.elapsed() < PROGRESS_DELAY || !self.line.is_due() {
            return;
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let rate = mib(self.done) / self.start.elapsed().as_secs_f64();
        let of = self
            .total
            .map_or(String::new(), |total| format!(" of {:.1}", mib(total)));
        self.line.draw(
            self.name,
            &format!(": {:.1}{of} MiB, {rate:.1} MiB/s", mib(self.done)),
        );
    }
}

impl<T: Write> Write for Progress<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        let count = written.map_err(|error| in_words(self.verb, self.name, error))?;
        self.count(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: BufRead> Read for Progress<'_, T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.count(count);
        Ok(count)
    }
}

impl<T: BufRead> BufRead for Progress<'_, T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (verb, name) = (self.verb, self.name);
        self.inner.fill_buf().map_err(|error| in_words(verb, name, error))
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.count(count);
    }
}
