//! How does the client ask an HTTP server? One GET a connection, for a listing or a file: the head is a few
//! lines, the body has a length or comes in chunks (RFC 9112, sections 6 and 7). A body that neither ends by
//! its length nor by its last chunk is refused, because a part would look like the whole.

use super::{Client, Error, REPLY_LIMIT, corrupt};
use crate::access::bearer;
use crate::cli::{Args, Failure, look_up, parse_digits, usage, visible};
use crate::json::{Reader, Value};
use crate::session::PIECE;
use std::io::{self, Write};
use std::net::SocketAddr;

/// Longest head of a reply in bytes with all that say "not yet" before it, and longest trailer: some servers
/// send many fields.
const HEAD_LIMIT: usize = 64 << 10;

/// Longest line that announces a chunk, in bytes: 16 digits, and extensions, which are hardly ever sent.
const CHUNK_LINE: usize = 4 << 10;

/// A folder on an HTTP server.
pub struct Site {
    pub address: SocketAddr,
    /// As the URL has it: for the field Host, and for errors.
    host: String,
    /// The path of the folder, without a slash at its end.
    base: String,
}

/// A file on a server. Only a listing over HTTP tells more than its name.
pub struct Listed {
    pub name: String,
    /// Bytes.
    pub size: Option<u64>,
    /// When it was changed, as the server writes dates.
    pub modified: Option<String>,
}

/// The head of a reply.
pub struct Head {
    pub status: u16,
    /// The status and its words.
    line: String,
    fields: Vec<(String, String)>,
}

/// Where a body ends.
enum Framing {
    Length(u64),
    Chunked,
}

impl Site {
    /// url = "http://" host [ ":" port ] [ "/" path ] ; `None`: `--server` is no URL, so it is for the file
    /// protocol
    pub fn of(args: &Args) -> Result<Option<Site>, Failure> {
        let text = args.text("--server").unwrap_or_default();
        let said = args.said("--server", text);
        let Some(rest) = text.strip_prefix("http://") else {
            return match text.contains("://") {
                true => usage(format!("{said}: expected HOST:PORT or http://HOST:PORT")),
                false => Ok(None),
            };
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.contains(['?', '#', ' ']) || host.contains(['@', ' ']) {
            return usage(format!(
                "{said}: expected http://HOST:PORT/FOLDER and nothing else"
            ));
        }
        let has_port = host
            .rsplit(':')
            .next()
            .is_some_and(|end| parse_digits::<u16>(end).is_some());
        let whole = if has_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        Ok(Some(Site {
            address: look_up(&said, &whole, "http://127.0.0.1:8080")?,
            host: host.to_owned(),
            base: format!("/{}", path.trim_end_matches('/'))
                .trim_end_matches('/')
                .to_owned(),
        }))
    }

    /// The URL of a file: the same for the same file, so that a part of it is known again.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}{}/{}", self.host, self.base, encoded(name))
    }

    /// The files of the folder, as kolam lists them for programs.
    pub fn list(&self, client: &mut Client) -> Result<Vec<Listed>, Error> {
        let head = self.get(client, "?json", "")?;
        head.must_be_ok()?;
        let mut text = Vec::new();
        head.read_body(client, &mut Bounded(&mut text))?;
        // The capacity is that of the buffer between the text and its reader.
        let listing = Reader::new(&text[..], PIECE).value(&mut { REPLY_LIMIT }).ok();
        let files = listing.and_then(|all| all.as_array()?.iter().map(listed).collect());
        files.map_or_else(
            || corrupt("GET /?json has brought no list of files, such as kolam sends"),
            Ok,
        )
    }

    /// Asks for a file; `fields`: more lines of the head, each with its end.
    pub fn ask_for(&self, client: &mut Client, name: &str, fields: &str) -> Result<Head, Error> {
        self.get(client, &encoded(name), fields)
    }

    /// `target`: what stands after the folder.
    fn get(&self, client: &mut Client, target: &str, fields: &str) -> Result<Head, Error> {
        let Site { base, host, .. } = self;
        client.send(&format!(
            "GET {base}/{target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kolam\r\n\
             Accept-Encoding: identity\r\n\
             {fields}{}\r\n",
            bearer()
        ))?;
        let mut budget = HEAD_LIMIT;
        loop {
            let head = Head::read(client, &mut budget)?;
            // 1xx: it will answer, but has not yet (RFC 9110, section 15.2).
            if !(100..200).contains(&head.status) {
                return Ok(head);
            }
        }
    }
}

/// An entry of the listing; `None`: it is none.
fn listed(item: &Value) -> Option<Listed> {
    Some(Listed {
        name: item.get("name")?.as_str()?.to_owned(),
        size: item.get("size").and_then(Value::as_u64),
        modified: item.get("modified").and_then(Value::as_str).map(str::to_owned),
    })
}

/// A name as a segment of a path: all but unreserved characters as `%XX` (RFC 3986, section 2.3).
fn encoded(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}

impl Head {
    /// head = status-line *( field CR LF ) CR LF ; status-line = "HTTP/1." digit SP 3digit [ SP words ]
    fn read(client: &mut Client, budget: &mut usize) -> Result<Head, Error> {
        let first = read_line(client, budget)?;
        let line = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..))
            .unwrap_or_default();
        let Some(status) = line.get(..3).and_then(parse_digits) else {
            return corrupt("it is no reply of HTTP; without http:// the client speaks the file protocol");
        };
        let mut fields = Vec::new();
        loop {
            let line = read_line(client, budget)?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else {
                return corrupt("a line of the head has no colon");
            };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let line = line.to_owned();
        Ok(Head { status, line, fields })
    }

    /// The value of the field that is called `name`, in small letters; the first if there are several.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Any other status than 200 is an error, a redirection too: it could lead anywhere.
    pub fn must_be_ok(&self) -> Result<(), Error> {
        if self.status == 200 {
            return Ok(());
        }
        if self.status == 401 {
            let remedy = "its token is missing, or wrong: --token-file FILE";
            return Err(Error::Server(format!("{}; {remedy}", self.line)));
        }
        let place = self
            .field("location")
            .map(|place| format!(" ({})", visible(place)));
        Err(Error::Server(format!(
            "{}{}",
            self.line,
            place.unwrap_or_default()
        )))
    }

    /// The length of the body in bytes, if it is told before it comes.
    pub fn length(&self) -> Option<u64> {
        match self.framing() {
            Ok(Framing::Length(length)) => Some(length),
            _ => None,
        }
    }

    fn framing(&self) -> Result<Framing, Error> {
        let all = |name| {
            self.fields
                .iter()
                .filter(move |(known, _)| known == name)
                .map(|field| &field.1)
        };
        let (mut lengths, mut codings) = (all("content-length"), all("transfer-encoding"));
        if self
            .field("content-encoding")
            .is_some_and(|coding| coding != "identity")
        {
            return corrupt("it is compressed, which was not asked for");
        }
        let framing = match (lengths.next(), codings.next()) {
            (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Some(Framing::Chunked),
            (Some(length), None) => parse_digits(length).map(Framing::Length),
            _ => None,
        };
        match (framing, lengths.next(), codings.next()) {
            (Some(framing), None, None) => Ok(framing),
            _ => corrupt("its head does not say where the body ends"),
        }
    }

    /// Writes the body to `sink`; returns its length in bytes.
    pub fn read_body(&self, client: &mut Client, sink: &mut dyn Write) -> Result<u64, Error> {
        match self.framing()? {
            Framing::Length(length) => read_bytes(client, length, sink),
            Framing::Chunked => read_chunks(client, sink),
        }
    }

    /// Reads a body that says nothing new, such as a page about an error.
    pub fn skip_body(&self, client: &mut Client) -> Result<(), Error> {
        self.read_body(client, &mut Bounded(&mut Vec::new())).map(drop)
    }
}

/// A line without its end; a lone LF ends one too (RFC 9112, section 2.2). Its bytes are taken from `budget`.
fn read_line(client: &mut Client, budget: &mut usize) -> Result<String, Error> {
    let mut line = Vec::new();
    loop {
        let bytes = client.reader.available()?;
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        let Some(left) = budget.checked_sub(count) else {
            return corrupt("its head is too long");
        };
        *budget = left;
        line.extend_from_slice(&bytes[..count]);
        client.reader.consume(count);
        if end.is_some() {
            let text = String::from_utf8_lossy(&line);
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
    }
}

fn read_bytes(client: &mut Client, count: u64, sink: &mut dyn Write) -> Result<u64, Error> {
    let mut left = count;
    while left > 0 {
        let bytes = client.reader.available()?;
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        sink.write_all(&bytes[..taken]).map_err(Error::Local)?;
        client.reader.consume(taken);
        left -= taken as u64;
    }
    Ok(count)
}

/// body = *( size [ ";" extension ] CR LF bytes CR LF ) "0" CR LF *( field CR LF ) CR LF
fn read_chunks(client: &mut Client, sink: &mut dyn Write) -> Result<u64, Error> {
    let mut length = 0_u64;
    loop {
        let line = read_line(client, &mut { CHUNK_LINE })?;
        let size = line.split(';').next().unwrap_or_default().trim_end();
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| digits);
        let Some((size, sum)) = size.and_then(|size| Some((size, length.checked_add(size)?))) else {
            return corrupt("a chunk has no size");
        };
        if size == 0 {
            break;
        }
        length = sum;
        read_bytes(client, size, sink)?;
        if !read_line(client, &mut { CHUNK_LINE })?.is_empty() {
            return corrupt("a chunk is longer than its size");
        }
    }
    let mut budget = HEAD_LIMIT;
    while !read_line(client, &mut budget)?.is_empty() {}
    Ok(length)
}

/// Takes as much as a reply may have that is held.
struct Bounded<'b>(&'b mut Vec<u8>);

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > REPLY_LIMIT {
            return Err(io::Error::other(
                "the reply is larger than this program will hold",
            ));
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
