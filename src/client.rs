//! # Chapter 12. What does the same protocol look like from the other side?
//!
//! Straight on: connect, send, read the reply, return. A client waits for one server only, so it may wait
//! anywhere, and nothing here is turned inside out as in `protocol.rs`. Content streams: an upload is encoded
//! piece by piece into the socket, a download decoded out of a JSON string that never exists whole.
//!
//! ```text
//!   server ──256 KiB──► json::Reader ──symbols──► Decoder ──192 KiB──► any `Write`
//! ```
//!
//! The invariant: success means that the server said OK *and* that its reply was complete to the end mark.
//!
//! What must not live here: anything that only our own server does. Keys may come in any order, with any
//! white space and any escapes, so other servers of this protocol work too.
//!
//! before: `stats.rs` … after: `stress.rs`
//!
//! Experiment:
//! edit: take a reply for whole before its end mark has come
//! run: cargo test --locked --bin kolam client::
//! see: a_reply_is_a_success_only_with_its_end_mark ... FAILED

mod as_json; // STATS for programs
mod commands; // the client's command line
mod http; // a listing and a file over HTTP
mod resume; // a download that goes on
mod access; // showing a token
mod partial_file; // a download that is not whole yet
mod progress; // a transfer that takes long
mod stranger; // a server that speaks something else
mod port; // by which a server names us (for the timeline)

pub use commands::{DELETE, DOWNLOAD, LIST, STATS, UPLOAD};

use crate::b64::{self, Decoder, Encoder};
use crate::cli::visible;
use crate::json::{self, Reader, Value};
use crate::protocol::END;
use crate::session::{LOOKS, PIECE, PIECE_TEXT, SEND_BUFFER};
use crate::sys::{self, Interest, Stop};
use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use stranger::Stranger;

/// Largest reply in bytes that is held in memory (LIST, STATS, errors): a quarter of a million long names.
const REPLY_LIMIT: usize = 64 << 20;

/// Why a request failed.
#[derive(Debug)]
pub enum Error {
    /// No connection.
    Refused(io::Error),
    /// The connection broke.
    Reset(io::Error),
    /// The server was silent, or did not read, for too long.
    Timeout,
    /// The reply ended too early; the number of bytes that had come on this connection.
    Short(u64),
    /// The reply, or the content in it, is not what it must be.
    Corrupt(String),
    /// The server speaks something else.
    Stranger(Stranger),
    /// The server replied ERROR, with this reason.
    Server(String),
    /// This side could not read or write its file.
    Local(io::Error),
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// The words under which failures are counted, in this order.
pub const CAUSES: [&str; 6] = ["refused", "reset", "timeout", "short", "corrupt", "server error"];

impl Error {
    /// Index into `CAUSES`; what went wrong on this side counts as corrupt.
    pub fn cause(&self) -> usize {
        match self {
            Error::Refused(_) => 0,
            Error::Reset(_) => 1,
            Error::Timeout => 2,
            Error::Short(_) => 3,
            Error::Corrupt(_) | Error::Stranger(_) | Error::Local(_) | Error::Interrupted => 4,
            Error::Server(_) => 5,
        }
    }

    /// An error of the socket.
    fn of_socket(error: io::Error) -> Error {
        match error.kind() {
            ErrorKind::TimedOut => Error::Timeout,
            ErrorKind::Interrupted => Error::Interrupted,
            _ => Error::Reset(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(error) => write!(f, "cannot connect: {error}"),
            Error::Reset(error) => write!(f, "the connection broke: {error}"),
            Error::Timeout => write!(f, "the server took too long; a longer --timeout may help"),
            Error::Short(bytes) => {
                let what = format!("{bytes} bytes of an incomplete reply");
                write!(f, "the server closed the connection after {what}")
            }
            Error::Corrupt(why) => write!(f, "the reply cannot be understood: {why}"),
            Error::Stranger(stranger) => write!(f, "{stranger}"),
            Error::Server(reason) => write!(f, "the server says: {}", visible(reason)),
            Error::Local(error) => write!(f, "{error}"),
            Error::Interrupted => write!(f, "interrupted"),
        }
    }
}

impl From<json::Error> for Error {
    fn from(error: json::Error) -> Error {
        match error {
            json::Error::Io(error) => Error::of_socket(error),
            json::Error::End { offset } => Error::Short(offset),
            other => Error::Corrupt(other.to_string()),
        }
    }
}

impl From<b64::Error> for Error {
    fn from(error: b64::Error) -> Error {
        Error::Corrupt(error.to_string())
    }
}

fn corrupt<T>(why: &str) -> Result<T, Error> {
    Err(Error::Corrupt(why.to_owned()))
}

/// The socket. It is non-blocking, because a blocked call would sleep through a Ctrl-C that came a moment
/// before it; once it is connected, `wait` is the one place where the client waits.
struct Wire {
    stream: TcpStream,
    stop: Stop,
    /// How long the server may be silent, or not read.
    timeout: Duration,
    /// When all waiting ends, whatever the server does.
    deadline: Option<Instant>,
}

impl Wire {
    /// Repeats `call` until it does not have to wait.
    fn retry<T>(
        &mut self,
        interest: Interest,
        mut call: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        while !self.stop.requested() {
            match call(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(interest)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
        Err(ErrorKind::Interrupted.into())
    }

    /// Sleeps until the socket is ready, the user wants to stop, or the timeout is over.
    fn wait(&self, interest: Interest) -> io::Result<()> {
        let socket = self.stream.as_fd();
        let fds = [(socket, interest), (self.stop.as_fd(), Interest::Read)];
        let (mut moved, mut queued) = (Instant::now(), sys::unsent(socket).ok());
        loop {
            let (now, silent) = (Instant::now(), moved + self.timeout);
            let end = self.deadline.map_or(silent, |deadline| deadline.min(silent));
            // Before it waits: a server that sends a byte now and then is never silent.
            if now >= end {
                return Err(ErrorKind::TimedOut.into());
            }
            let until = end.min(now + self.timeout / LOOKS);
            if sys::poll(&fds, Some(until))? > 0 || self.stop.requested() {
                return Ok(());
            }
            // A slow server that still reads is not silent.
            let left = sys::unsent(socket).ok();
            if left < queued {
                (moved, queued) = (Instant::now(), left);
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let sent = self.retry(Interest::Write, |stream| stream.write(bytes));
            bytes = &bytes[sent.map_err(Error::of_socket)?..];
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.retry(Interest::Read, |stream| stream.read(out))
    }
}

/// A connection to a server.
pub struct Client {
    address: SocketAddr,
    reader: Reader<Wire>,
    /// Base64 text to send; at most one piece.
    text: Vec<u8>,
    /// Decoded content; at most one piece. It grows as needed: new memory costs more time than a small file.
    bytes: Vec<u8>,
}

impl Client {
    /// Connects, and sends nothing yet; `timeout` bounds this and every later wait for the server.
    fn open(address: SocketAddr, timeout: Duration, stop: Stop) -> Result<Client, Error> {
        let stream = TcpStream::connect_timeout(&address, timeout).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Error::Timeout,
            _ => Error::Refused(error),
        })?;
        stream.set_nodelay(true).map_err(Error::Refused)?;
        stream.set_nonblocking(true).map_err(Error::Refused)?;
        // Twice that of a server, for pieces twice as large. Without it the upload is slower, not wrong.
        let _ = sys::set_send_buffer(stream.as_fd(), 2 * SEND_BUFFER);
        let wire = Wire {
            stream,
            stop,
            timeout,
            deadline: None,
        };
        Ok(Client {
            address,
            reader: Reader::new(wire, PIECE_TEXT),
            text: Vec::new(),
            bytes: Vec::new(),
        })
    }

    /// Lets no request on this connection wait after `deadline`: it fails with `Error::Timeout` then. For
    /// runs of `stress` against other servers.
    pub fn end_by(&mut self, deadline: Instant) {
        self.reader.source().deadline = Some(deadline);
    }

    /// The request to stop that this connection listens to.
    pub fn stop(&mut self) -> Stop {
        self.reader.source().stop
    }

    /// Bytes of replies read so far.
    pub fn received(&self) -> u64 {
        self.reader.offset()
    }

    /// LIST: the names of the files.
    pub fn list(&mut self) -> Result<Vec<String>, Error> {
        let reply = self.ask("LIST\r\n\r\n")?;
        let items = reply.get("data").and_then(Value::as_array);
        let name = |item: &Value| item.as_str().map(str::to_owned);
        let names = items.and_then(|items| items.iter().map(name).collect());
        names.map_or_else(|| corrupt("data is no list of names"), Ok)
    }

    /// STATS: what the server has counted.
    pub fn stats(&mut self) -> Result<Value, Error> {
        let data = self.ask("STATS\r\n\r\n")?.get("data").cloned();
        data.map_or_else(|| corrupt("data is missing"), Ok)
    }

    /// DELETE.
    pub fn delete(&mut self, name: &str) -> Result<(), Error> {
        self.ask(&format!("DELETE {}\r\n\r\n", quote(name)?)).map(drop)
    }

    /// GET: writes the content to `sink` and returns its length in bytes. When it fails, what `sink` has
    /// got so far is worthless.
    pub fn download(&mut self, name: &str, sink: &mut dyn Write) -> Result<u64, Error> {
        self.send(&format!("GET {}\r\n\r\n", quote(name)?))?;
        let (_, length) = self.read_reply(Some(sink))?;
        length.map_or_else(|| corrupt("data_file is missing"), Ok)
    }

    /// UPLOAD: sends what `source` holds and returns its length in bytes.
    pub fn upload(&mut self, name: &str, source: &mut dyn BufRead) -> Result<u64, Error> {
        let sent = match self.send_content(name, source) {
            // The server may have closed for a reason. If it sent one, that is the better error.
            Err(Error::Reset(error)) => match self.read_reply(None) {
                Err(told @ (Error::Server(_) | Error::Stranger(_))) => return Err(told),
                _ => return Err(Error::Reset(error)),
            },
            sent => sent?,
        };
        let (reply, _) = self.read_reply(None)?;
        match reply.get("size").map(Value::as_u64) {
            Some(size) if size != Some(sent) => corrupt("another size was stored"),
            _ => Ok(sent),
        }
    }

    fn send_content(&mut self, name: &str, source: &mut dyn BufRead) -> Result<u64, Error> {
        let (mut encoder, mut length) = (Encoder::new(), 0);
        self.send(&format!("UPLOAD {} ", quote(name)?))?;
        loop {
            if self.stop().requested() {
                return Err(Error::Interrupted);
            }
            let bytes = match source.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(Error::Local)?,
            };
            let piece = &bytes[..bytes.len().min(PIECE)];
            let count = piece.len();
            self.text
                .resize(b64::encoded_len(count + 2).max(self.text.len()), 0);
            let filled = match count {
                0 => encoder.finish(&mut self.text),
                _ => encoder.encode(piece, &mut self.text),
            };
            self.reader.source().send(&self.text[..filled])?;
            if count == 0 {
                return self.reader.source().send(END).map(|()| length);
            }
            source.consume(count);
            length += count as u64;
        }
    }

    fn send(&mut self, head: &str) -> Result<(), Error> {
        self.reader.source().send(head.as_bytes())
    }

    /// A whole request, and its reply if that says OK; for verbs whose replies are small enough to hold.
    fn ask(&mut self, request: &str) -> Result<Value, Error> {
        self.send(request)?;
        Ok(self.read_reply(None)?.0)
    }

    /// reply = object ws CR LF CR LF ; the content of `data_file` goes to `sink`, all else is held
    ///
    /// What is held, and the bytes of content; `None` when there was no `data_file`.
    fn read_reply(&mut self, mut sink: Option<&mut dyn Write>) -> Result<(Value, Option<u64>), Error> {
        let (mut pairs, mut length, mut budget) = (Vec::new(), None, REPLY_LIMIT);
        let mut first = true;
        self.open_reply()?;
        while let Some(key) = self.reader.next_key(first, &mut budget)? {
            first = false;
            let seen = match key.as_str() {
                "status" => pairs.iter().any(|(known, _)| *known == key),
                _ => key == "data_file" && length.is_some(),
            };
            if seen {
                return corrupt(&format!("it has {key} twice"));
            }
            match &mut sink {
                Some(sink) if key == "data_file" && self.reader.open_string()? => {
                    length = Some(self.read_content(*sink)?);
                }
                _ => pairs.push((key, self.reader.value(&mut budget)?)),
            }
        }
        self.reader.end_mark(END)?;
        let reply = Value::Object(pairs);
        let said = |key| reply.get(key).and_then(Value::as_str);
        match said("status") {
            Some("OK") => Ok((reply, length)),
            Some("ERROR") => Err(Error::Server(
                said("data").unwrap_or("no reason given").to_owned(),
            )),
            _ => corrupt("status is neither OK nor ERROR"),
        }
    }

    /// The start of a reply, unless it plainly is one of another protocol.
    fn open_reply(&mut self) -> Result<(), Error> {
        let opened = self.reader.open_object();
        // A byte that begins no object has not been consumed.
        if matches!(opened, Err(json::Error::Syntax { .. }))
            && let Some(stranger) = Stranger::recognise(&mut self.reader, self.address)
        {
            return Err(Error::Stranger(stranger));
        }
        Ok(opened?)
    }

    /// The inside of the `data_file` string. Offsets in errors count the characters that it stands for, the
    /// first one being 0: an escape is one.
    fn read_content(&mut self, sink: &mut dyn Write) -> Result<u64, Error> {
        let mut decoder = Decoder::new();
        let (mut length, mut character) = (0, Vec::new());
        loop {
            let text = self.reader.available()?;
            self.bytes
                .resize(b64::decoded_room(text.len()).max(self.bytes.len()), 0);
            let step = decoder.decode(text, &mut self.bytes);
            let whole = step.read == text.len();
            self.reader.consume(step.read);
            sink.write_all(&self.bytes[..step.wrote]).map_err(Error::Local)?;
            length += step.wrote as u64;
            if whole {
                continue;
            }
            // What stopped the decoder is the end of the string, an escape, or not base64.
            character.clear();
            if !self.reader.inside_string(&mut character)? {
                break;
            }
            if matches!(character[0], b' ' | b'\t' | b'\r' | b'\n') {
                decoder.skip(1);
                continue;
            }
            let step = decoder.decode(&character, &mut self.bytes);
            if step.read == 0 {
                return Err(decoder.reject(character[0]).into());
            }
            sink.write_all(&self.bytes[..step.wrote]).map_err(Error::Local)?;
            length += step.wrote as u64;
        }
        // Replies are always padded, so a text that ends within a group has been cut.
        decoder.finish_padded()?;
        Ok(length)
    }
}

/// name = token / DQUOTE *( character / `\"` / `\\` ) DQUOTE
///
/// Quotes stand only around a name that needs them: many servers of this protocol split a request at blanks,
/// and would take quotes for a part of the name. A line end in a name would begin another request.
fn quote(name: &str) -> Result<String, Error> {
    if name.contains(char::is_control) {
        return Err(Error::Local(io::Error::other(
            "a file name cannot contain control characters",
        )));
    }
    let special = |c: char| c.is_whitespace() || matches!(c, '"' | '\\');
    if !name.is_empty() && !name.contains(special) {
        return Ok(name.to_owned());
    }
    Ok(format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::name;
    use std::net::TcpListener;
    use std::thread;

    /// What the client makes of `reply` to LIST, after which the server closes.
    fn list(reply: String) -> Result<Vec<String>, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            peer.read_exact(&mut [0; 8]).unwrap();
            peer.write_all(reply.as_bytes()).unwrap();
        });
        let mut client = Client::connect(address, Duration::from_secs(5), Stop::never().unwrap()).unwrap();
        let names = client.list();
        server.join().unwrap();
        names
    }

    #[test]
    fn a_reply_is_a_success_only_with_its_end_mark() {
        for (end, whole) in [
            ("\r\n\r\n", true),
            ("\r\n\r", false),
            ("\r\n", false),
            ("", false),
        ] {
            let names = list(format!("{{\"status\":\"OK\",\"data\":[\"a\"]}}{end}"));
            match names {
                Ok(names) => assert!(whole && names == ["a"], "{end:?}"),
                Err(error) => assert!(!whole && matches!(error, Error::Short(_)), "{end:?}: {error}"),
            }
        }
    }

    #[test]
    fn only_a_name_that_needs_quotes_gets_them() {
        for plain in ["a.bin", "été.txt", "日本", "it's", "-a=b&c;d", "{x}", "%20", "💾"] {
            assert_eq!(quote(plain).unwrap(), plain);
        }
        let table = [
            ("", r#""""#),
            ("my notes.pdf", r#""my notes.pdf""#),
            (" ", r#"" ""#),
            ("\"a\"", r#""\"a\"""#),
            ("a\"b", r#""a\"b""#),
            ("a\\b", r#""a\\b""#),
            ("a\u{a0}b", "\"a\u{a0}b\""),
            ("a\u{3000}", "\"a\u{3000}\""),
        ];
        for (plain, quoted) in table {
            assert_eq!(quote(plain).unwrap(), quoted);
            assert_eq!(name(quoted.as_bytes()).ok().as_deref(), Some(plain.as_bytes()));
        }
        assert!(
            ["a\nb", "a\tb", "\u{7f}"]
                .into_iter()
                .all(|name| quote(name).is_err())
        );
    }
}
