//! How does a person use the client? One connection, one request, one clear sentence when it fails. `-`
//! stands for stdin or stdout.

use super::as_json::as_json;
use super::http::{Listed, Site};
use super::partial_file::{PartialFile, is_replaced};
use super::progress::{Progress, in_words};
use super::resume::{self, Unfinished};
use super::{Client, Error};
use crate::access::{TOKEN_FILE, carry};
use crate::cli::{Args, Command, Failure, Opt, failed, opt, print, usage, visible, visible_name};
use crate::json::Value;
use crate::session::PIECE;
use crate::store::check_name;
use crate::sys::{self, Interest, Listen, Stop};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, IsTerminal, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

const CONNECTION: &[Opt] = &[
    opt(
        "--server",
        "HOST:PORT",
        "the server to talk to (127.0.0.1:6666), for list and download also http://HOST:PORT",
    )
    .or_variable("KOLAM_SERVER"),
    opt("--timeout", "TIME", "longest wait for the server to move (30)"),
    TOKEN_FILE,
];

pub static LIST: Command = Command {
    name: "list",
    words: &[],
    about: "print the names of the files on the server, a line each\n\n\
            On a terminal, characters that are invisible or change the direction of writing are shown as \
            escapes such as \\u{202e}. A file or a pipe gets each name as it is.\n\
            With --long each line begins with the size in bytes and the date of the last change, which only \
            HTTP tells.",
    options: &[
        &[opt(
            "--long",
            "",
            "sizes and dates, too; --server must begin with http://",
        )],
        CONNECTION,
    ],
    run: list,
};

pub static DOWNLOAD: Command = Command {
    name: "download",
    words: &["NAME", "[NAME…]"],
    about: "fetch files, by the file protocol or, from http://, over HTTP\n\n\
            Over HTTP, what has come of a broken download is kept in a hidden file, and --resume continues \
            it if the file on the server is still the same.",
    options: &[
        &[
            opt("-o", "FILE", "where to put it, for one NAME; - is stdout (NAME)"),
            opt(
                "--resume",
                "",
                "continue a broken download; --server must begin with http://",
            ),
        ],
        CONNECTION,
    ],
    run: download,
};

pub static UPLOAD: Command = Command {
    name: "upload",
    words: &["FILE", "[FILE…]"],
    about: "send files; - is stdin",
    options: &[
        &[opt(
            "--as",
            "NAME",
            "its name on the server, for one FILE (that of FILE)",
        )],
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
    options: &[&[opt("--json", "", "as a JSON object")], CONNECTION],
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

/// A file that goes one way or the other; returns what the user is told.
type Transfer = fn(&Server<'_>, &Path, &str) -> Result<String, Error>;

/// Where requests go, and how long they may take.
struct Server<'a> {
    args: &'a Args,
    address: SocketAddr,
    /// The folder on it, over HTTP; `None`: it speaks the file protocol.
    site: Option<Site>,
    timeout: Duration,
    stop: Stop,
}

impl Server<'_> {
    fn of(args: &Args) -> Result<Server<'_>, Failure> {
        let no_signals = |error| failed(format!("cannot listen for signals: {error}"));
        let site = Site::of(args)?;
        carry(args)?;
        Ok(Server {
            address: match &site {
                Some(site) => site.address,
                None => args.address("--server", "127.0.0.1:6666")?,
            },
            timeout: args.seconds("--timeout", 30.0)?,
            stop: Stop::listen(Listen::Stop).or_else(no_signals)?,
            args,
            site,
        })
    }

    /// The same, for a command that speaks the file protocol alone. `instead`: how to do it over HTTP.
    fn of_files<'a>(args: &'a Args, instead: &str) -> Result<Server<'a>, Failure> {
        let server = Server::of(args)?;
        match &server.site {
            Some(_) => {
                let said = args.said("--server", args.text("--server").unwrap_or_default());
                usage(format!(
                    "{said}: this command speaks the file protocol alone; {instead}"
                ))
            }
            None => Ok(server),
        }
    }

    /// Connects and makes one request: after an error, a connection may be good for nothing.
    fn ask<T>(&self, request: impl FnOnce(&mut Client) -> Result<T, Error>) -> Result<T, Error> {
        let client = Client::connect_for(self.site.is_some(), self.address, self.timeout, self.stop);
        client.and_then(|mut client| request(&mut client))
    }

    /// What the user is told.
    fn failure(&self, error: Error) -> Failure {
        let address = self.address;
        Failure::Failed(match (error, self.args.variable("--server")) {
            (Error::Interrupted, _) => return Failure::Interrupted,
            // The reader of our output has closed it.
            (Error::Local(error), _) if error.kind() == ErrorKind::BrokenPipe => {
                return Failure::OutputClosed;
            }
            (Error::Local(error), _) => error.to_string(),
            (error, Some(variable)) => format!("{variable}={address}: {error}"),
            (error, None) => format!("{address}: {error}"),
        })
    }

    /// Does `one` for each of `files`, the path here and the name there, and prints what it says. One that
    /// fails does not keep the others from their turn, unless its failure would be theirs, too.
    fn each(&self, files: &[(&Path, &str)], one: Transfer) -> Result<(), Failure> {
        let mut bad = 0;
        for (path, name) in files {
            match one(self, path, name) {
                Ok(line) => print(&line)?,
                Err(
                    error @ (Error::Refused(_)
                    | Error::Reset(_)
                    | Error::Timeout
                    | Error::Stranger(_)
                    | Error::Interrupted),
                ) => return Err(self.failure(error)),
                Err(error) => match self.failure(error) {
                    Failure::Failed(text) if files.len() > 1 => {
                        let _ = Failure::Failed(format!("{name}: {text}")).report();
                        bad += 1;
                    }
                    failure => return Err(failure),
                },
            }
        }
        match bad {
            0 => Ok(()),
            bad => failed(format!("{bad} of {} files failed", files.len())),
        }
    }
}

fn list(args: &Args) -> Result<(), Failure> {
    let (server, long) = (Server::of(args)?, args.has("--long"));
    if long && server.site.is_none() {
        let remedy = "a server of --protocol http tells more: --server http://HOST:PORT";
        return usage(format!("--long: the file protocol tells names alone; {remedy}"));
    }
    let named = |name| Listed {
        name,
        size: None,
        modified: None,
    };
    let files = server.ask(|client| match &server.site {
        Some(site) => site.list(client),
        None => Ok(client.list()?.into_iter().map(named).collect()),
    });
    let files = files.map_err(|error| server.failure(error))?;
    let digits = |file: &Listed| file.size.map_or(1, |size| size.to_string().len());
    let width = files.iter().map(digits).max().unwrap_or_default();
    // On a terminal deceptive characters are escaped; a script needs the exact name, if it fits on one line.
    let exact = !io::stdout().is_terminal();
    let mut text = String::new();
    for Listed { name, size, modified } in files {
        if long {
            let size = size.map_or("-".to_owned(), |size| size.to_string());
            let date = modified.map_or("-".to_owned(), |date| visible(&date));
            text += &format!("{size:>width$}  {date:<24}  ");
        }
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
    let server = Server::of_files(args, "curl -X DELETE URL deletes over HTTP")?;
    let deleted = server.ask(|client| client.delete(name));
    deleted.map_err(|error| server.failure(error))?;
    print(&format!("{name} deleted\n"))
}

/// Prints one line for each count, and of what is told of each worker one line a worker.
fn stats(args: &Args) -> Result<(), Failure> {
    let server = Server::of_files(args, "GET /metrics tells the counts over HTTP")?;
    let stats = server.ask(|client| client.stats());
    let stats = stats.map_err(|error| server.failure(error))?;
    if args.has("--json") {
        return print(&format!("{}\n", as_json(&stats)));
    }
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
    let names: Vec<&str> = (0..).map_while(|at| args.word(at)).collect();
    if args.has("-o") && names.len() > 1 {
        return usage("download: -o FILE is for one NAME".to_owned());
    }
    let odd = |name: &&&str| !args.has("-o") && check_name(name.as_bytes()).is_err();
    if let Some(name) = names.iter().find(odd) {
        return usage(format!("download: say with -o FILE where to put {name:?}"));
    }
    let server = Server::of(args)?;
    if args.has("--resume") && server.site.is_none() {
        let remedy = "it continues downloads over HTTP, from --server http://HOST:PORT";
        return usage(format!(
            "--resume: the file protocol sends whole files only; {remedy}"
        ));
    }
    let path = |name| args.path("-o").unwrap_or(Path::new(name));
    let files: Vec<(&Path, &str)> = names.into_iter().map(|name| (path(name), name)).collect();
    server.each(&files, download_one)
}

fn download_one(server: &Server<'_>, path: &Path, name: &str) -> Result<String, Error> {
    let shown = &shown(path, "stdout");
    let cannot = |error| Error::Local(in_words("write", shown, error));
    let size = server.ask(|client| {
        match &server.site {
            Some(site) if is_replaced(path) => {
                let part = Unfinished::open(path, site.url(name), server.args.has("--resume"));
                return resume::fetch(site, name, client, part.map_err(cannot)?, shown);
            }
            _ if server.args.has("--resume") => {
                let why = io::Error::other("--resume needs a file that can be replaced");
                return Err(cannot(why));
            }
            _ => {}
        }
        let file = PartialFile::open(path).map_err(cannot)?;
        let size = match &server.site {
            Some(site) => {
                let head = site.ask_for(client, name, "")?;
                head.must_be_ok()?;
                head.read_body(client, &mut Progress::new(&file.file, shown, head.length()))?
            }
            None => client.download(name, &mut Progress::new(&file.file, shown, None))?,
        };
        file.commit().map_err(cannot)?;
        Ok(size)
    })?;
    Ok(match is_standard(path) {
        true => String::new(),
        false => format!("{shown} downloaded, {size} bytes\n"),
    })
}

fn upload(args: &Args) -> Result<(), Failure> {
    let paths: Vec<&Path> = (0..).map_while(|at| args.path_word(at)).collect();
    if args.has("--as") && paths.len() > 1 {
        return usage("upload: --as NAME is for one FILE".to_owned());
    }
    let mut files = Vec::new();
    for path in paths {
        let name = args.text("--as").map_or_else(|| own_name(path), Ok)?;
        if files.iter().any(|(_, known)| *known == name) {
            return usage(format!(
                "upload: two files have the name {name:?}, and one would replace the other"
            ));
        }
        files.push((path, name));
    }
    let server = Server::of_files(args, "curl -T FILE URL uploads over HTTP")?;
    server.each(&files, upload_one)
}

fn upload_one(server: &Server<'_>, path: &Path, name: &str) -> Result<String, Error> {
    let shown = &shown(path, "stdin");
    let (file, total) = open_source(path).map_err(|error| Error::Local(in_words("read", shown, error)))?;
    let size = server.ask(|client| {
        let stop = client.stop();
        let source = Progress::new(Interruptible { file, stop }, shown, total);
        client.upload(name, &mut BufReader::with_capacity(PIECE, source))
    })?;
    Ok(format!("{name} uploaded, {size} bytes\n"))
}

/// The last part of a path, as a name on the server.
fn own_name(path: &Path) -> Result<&str, Failure> {
    let shown = path.display();
    let why = match path.file_name() {
        _ if is_standard(path) => "stdin has no name".to_owned(),
        // Only `/` and what ends with `..` have none.
        None => return failed(format!("cannot read {shown}: it is a folder; name a file")),
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
