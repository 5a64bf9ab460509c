//! How does a person use the client? One connection, one request, one clear sentence when it fails. `-`
//! stands for stdin or stdout.

use super::partial_file::PartialFile;
use super::progress::{Progress, in_words};
use super::{Client, Error};
use crate::cli::{Args, Command, Failure, Opt, failed, opt, print, usage, visible, visible_name};
use crate::json::Value;
use crate::session::PIECE;
use crate::store::check_name;
use crate::sys::{self, Interest, Listen, Stop};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;

const CONNECTION: &[Opt] = &[
    opt("--server", "HOST:PORT", "the server to talk to (127.0.0.1:6666)").or_variable("KOLAM_SERVER"),
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
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What errors and the progress line call a path.
fn shown(path: &Path, standard: &str) -> String {
    match is_standard(path) {
        true => standard.to_owned(),
        false => path.display().to_string(),
    }
}

/// Connects and makes one request; the error names the cause.
fn ask<T>(args: &Args, request: impl FnOnce(&mut Client) -> Result<T, Error>) -> Result<T, Failure> {
    let no_signals = |error| failed(format!("cannot listen for signals: {error}"));
    let stop = Stop::listen(Listen::Stop).or_else(no_signals)?;
    let address = args.address("--server", "127.0.0.1:6666")?;
    let timeout = args.seconds("--timeout", 30.0)?;
    let answer = Client::connect(address, timeout, stop).and_then(|mut client| request(&mut client));
    answer.or_else(|error| match error {
        Error::Interrupted => Err(Failure::Interrupted),
        // The reader of our output has closed it.
        Error::Local(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Error::Local(error) => failed(error.to_string()),
        error => failed(match args.variable("--server") {
            Some(variable) => format!("{variable}={address}: {error}"),
            None => format!("{address}: {error}"),
        }),
    })
}

fn list(args: &Args) -> Result<(), Failure> {
    let names = ask(args, |client| client.list())?;
    // On a terminal deceptive characters are escaped; a script needs the exact name, if it fits on one line.
    let exact = !io::stdout().is_terminal();
    let mut text = String::new();
    for name in names {
        match exact && !name.contains(char::is_control) {
            true => text += &name,
            false => text += &visible_name(&name),
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
        return usage(format!("download: say with -o FILE where to put {name:?}"));
    }
    let shown = &shown(path, "stdout");
    let cannot = |error| Error::Local(in_words("write", shown, error));
    let size = ask(args, |client| {
        let file = PartialFile::open(path).map_err(cannot)?;
        let size = client.download(name, &mut Progress::new(&file.file, shown, None))?;
        file.commit().map_err(cannot)?;
        Ok(size)
    })?;
    match is_standard(path) {
        true => Ok(()),
        false => print(&format!("{shown} downloaded, {size} bytes\n")),
    }
}

fn upload(args: &Args) -> Result<(), Failure> {
    let path = args.path_word(0).unwrap_or(Path::new(""));
    let shown = &shown(path, "stdin");
    let (file, total) =
        open_source(path).or_else(|error| failed(in_words("read", shown, error).to_string()))?;
    let name = match args.text("--as") {
        Some(name) => name,
        None => own_name(path)?,
    };
    let size = ask(args, |client| {
        let stop = client.stop();
        let source = Progress::new(Interruptible { file, stop }, shown, total);
        client.upload(name, &mut BufReader::with_capacity(PIECE, source))
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
    usage(format!("upload: {why}; add --as NAME"))
}

/// Opens what is to be uploaded, before there is a connection; its length in bytes if that is known.
fn open_source(path: &Path) -> io::Result<(File, Option<u64>)> {
    if is_standard(path) {
        return Ok((File::from(io::stdin().as_fd().try_clone_to_owned()?), None));
    }
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        let why = "it is a folder; name a file";
        return Err(io::Error::new(ErrorKind::IsADirectory, why));
    }
    Ok((file, about.is_file().then_some(about.len())))
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
        match self.stop.requested() {
            true => Err(ErrorKind::Interrupted.into()),
            false => self.file.read(out),
        }
    }
}
