//! # Chapter 15d. What belongs in a reply, and when is it better not to send the file?
//!
//! A reply is a status, some fields and perhaps content: a text in memory, or a part of a file. Before a file
//! is sent, the peer's conditions are checked in the order of RFC 9110, section 13.2.2: it may have the file
//! already (304), want only a part (206), or want nothing unless it is the file that it knows (412).
//!
//! ```text
//!   If-Match ─► If-Unmodified-Since ─► If-None-Match ─► If-Modified-Since ─► If-Range ─► Range
//!        └─── no: 412 ───┘                  └── yes: 304 (412 for PUT, DELETE) ──┘    no: the whole file
//! ```
//!
//! The invariant: every reply with content names its length, so the connection can stay open after it; a
//! small file and its head are one buffer, a large one is never copied into this process.
//!
//! What must not live here: which file, which method, sockets.
//!
//! Experiment: `curl -r 0-3,8-9` a file: what do you get, and what would two ranges cost to write?

use crate::http::head::{Method, Refusal, Request};
use crate::session::{Outgoing, PIECE_TEXT};
use crate::stats;
use crate::store;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Files up to this many bytes are sent in one buffer with the head; copying them costs less than another
/// system call.
const SMALL: u64 = 32 * 1024;

/// Bytes that nearly all heads of replies fit into; a larger one is moved as it grows.
const USUAL_HEAD: usize = 512;

/// File extensions and their media types. All others are plain bytes.
const TYPES: [(&str, &str); 26] = [
    ("c", "text/plain; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("log", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("rs", "text/plain; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// Types that may hold scripts. A script in an uploaded file could make the browser of a reader put and
/// delete files here.
const ACTIVE: [&str; 3] = ["text/html; charset=utf-8", "image/svg+xml", "application/xml"];

/// The media type, by the extension of the name.
pub fn content_type(name: &[u8]) -> &'static str {
    let extension = name
        .iter()
        .rposition(|&byte| byte == b'.')
        .map(|dot| &name[dot + 1..]);
    let found = TYPES
        .iter()
        .find(|row| extension.is_some_and(|extension| extension.eq_ignore_ascii_case(row.0.as_bytes())));
    found.map_or("application/octet-stream", |row| row.1)
}

/// The content of a reply.
pub enum Content {
    None,
    Text(Vec<u8>),
    /// Bytes `from..to` of a file.
    File {
        file: File,
        from: u64,
        to: u64,
    },
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Content::None => 0,
            Content::Text(text) => text.len() as u64,
            Content::File { from, to, .. } => to - from,
        }
    }
}

/// What the request and the connection say about every reply to it.
#[derive(Clone, Copy)]
pub struct ReplyOptions {
    /// The request was HEAD: describe the content and do not send it.
    pub head_only: bool,
    /// The connection is closed after the reply.
    pub close: bool,
    /// The peer speaks HTTP/1.1, so staying open needs no field.
    pub modern: bool,
}

/// A reply before it is formatted.
pub struct Reply {
    pub status: u16,
    /// Header lines, each with its CR LF.
    fields: Vec<u8>,
    content: Content,
    /// Bytes of content in the request; for the log.
    brought: u64,
    /// Why the request failed; empty when it did not.
    failure: String,
}

impl Reply {
    pub fn new(status: u16) -> Reply {
        let (fields, failure) = (Vec::with_capacity(256), String::new());
        Reply {
            status,
            fields,
            content: Content::None,
            brought: 0,
            failure,
        }
    }

    pub fn brought(self, bytes: u64) -> Reply {
        Reply {
            brought: bytes,
            ..self
        }
    }

    pub fn field(mut self, name: &str, value: &str) -> Reply {
        [name, ": ", value, "\r\n"]
            .iter()
            .for_each(|text| self.fields.extend_from_slice(text.as_bytes()));
        self
    }

    pub fn text(mut self, kind: &str, text: impl Into<Vec<u8>>) -> Reply {
        self.content = Content::Text(text.into());
        self.field("Content-Type", kind)
    }

    /// A text that was made for this request. The next one may differ, so no cache may keep it.
    pub fn fresh(kind: &str, text: impl Into<Vec<u8>>) -> Reply {
        Reply::new(200)
            .text(kind, text)
            .field("Cache-Control", "no-store")
    }

    /// The reason of a refusal, as one line for a person.
    pub fn error(refusal: Refusal) -> Reply {
        let reply =
            Reply::new(refusal.status).text("text/plain; charset=utf-8", format!("{}\n", refusal.reason));
        let reply = refusal
            .field
            .iter()
            .fold(reply, |reply, (name, value)| reply.field(name, value));
        Reply {
            failure: refusal.reason,
            ..reply
        }
    }

    /// The reply as it is sent.
    pub fn finish(self, options: ReplyOptions) -> io::Result<OutgoingReply> {
        let Reply {
            status,
            fields,
            content,
            brought,
            failure,
        } = self;
        let length = if options.head_only { 0 } else { content.length() };
        // One allocation for a small reply with all its content.
        let mut text = Vec::with_capacity(USUAL_HEAD + length.min(SMALL) as usize);
        write!(text, "HTTP/1.1 {status} {}\r\nDate: ", phrase(status))?;
        stats::with_http_now(|now| text.extend_from_slice(now.as_bytes()));
        text.extend_from_slice(b"\r\nServer: kolam\r\nX-Content-Type-Options: nosniff\r\n");
        text.extend_from_slice(&fields);
        // These two have no content by definition, and 204 may not even say so (RFC 9110, section 8.6).
        if !matches!(status, 204 | 304) {
            write!(text, "Content-Length: {}\r\n", content.length())?;
        }
        if options.close {
            text.extend_from_slice(b"Connection: close\r\n");
        } else if !options.modern {
            text.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        text.extend_from_slice(b"\r\n");
        let rest = match content {
            _ if length == 0 => None,
            Content::Text(content) => {
                text.extend_from_slice(&content);
                None
            }
            Content::File { file, from, to } if to - from <= SMALL => {
                let head = text.len();
                text.resize(head + length as usize, 0);
                file.read_exact_at(&mut text[head..], from)?;
                None
            }
            content => Some(content),
        };
        let (bytes, close) = (length + brought, options.close);
        Ok(OutgoingReply {
            text,
            sent: 0,
            rest,
            bytes,
            failure,
            close,
        })
    }
}

/// Longest reply, in bytes, after which the connection may be closed without lingering. A longer one may
/// still be on its way, and a stray CR LF from the peer (old ones send it after a request) would destroy it.
const CLOSE_LIMIT: usize = 48 * 1024;

/// A reply that is being sent.
pub struct OutgoingReply {
    text: Vec<u8>,
    /// Bytes of `text` that are sent.
    sent: usize,
    /// Sent after the text.
    rest: Option<Content>,
    /// Bytes of content in this reply and in the request; for the log.
    pub bytes: u64,
    /// Why the request failed; empty when it did not.
    pub failure: String,
    /// Close the connection when it is sent.
    pub close: bool,
}

impl OutgoingReply {
    /// Is this a short, successful last reply? Its peer rarely sends more, and not before it has the reply.
    pub fn may_close_at_once(&self) -> bool {
        self.close && self.failure.is_empty() && self.rest.is_none() && self.text.len() <= CLOSE_LIMIT
    }

    /// What to send next; `last`: the connection is closed after it.
    pub fn outgoing(&self, last: bool) -> Outgoing<'_> {
        match &self.rest {
            Some(Content::File { file, from, to }) if self.sent == self.text.len() => {
                let count = (to - from).min(PIECE_TEXT as u64) as usize;
                Outgoing::File {
                    file,
                    offset: *from,
                    count,
                }
            }
            _ if last => Outgoing::Last(&self.text[self.sent..]),
            _ => Outgoing::Bytes(&self.text[self.sent..]),
        }
    }

    /// `count` more bytes are sent; returns whether all are. 0: the file has become shorter.
    pub fn advance(&mut self, count: usize) -> io::Result<bool> {
        if self.sent < self.text.len() {
            self.sent += count;
        } else if let Some(Content::File { from, .. }) = &mut self.rest {
            if count == 0 {
                return Err(io::Error::other("the file was cut short"));
            }
            *from += count as u64;
        }
        let left = self.rest.as_ref().map_or(0, Content::length);
        Ok(self.sent == self.text.len() && left == 0)
    }
}

/// The reason phrase of a status: optional (RFC 9112, section 4), but expected by people.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        let status = match &error {
            // A name that no file can have is no mistake of the peer: there is no such file.
            store::Error::InvalidName(_) | store::Error::NotFound => 404,
            store::Error::NotRegular | store::Error::Denied(_) => 403,
            store::Error::TooLarge(_) => return Refusal::closing(413, error.to_string()),
            store::Error::Full => 507,
            store::Error::Exhausted(_) => {
                let field = Some(("Retry-After", "1".to_owned()));
                return Refusal {
                    field,
                    ..Refusal::new(503, error.to_string())
                };
            }
            store::Error::Io(_) | store::Error::Uncertain(_) => 500,
        };
        Refusal::new(status, error.to_string())
    }
}

// ---- conditions ----

/// The entity tag of a file: its length and its date, to the nanosecond; the store gives each upload a date
/// of its own. Nothing in it belongs to one machine, so a copy that kept the date (`cp -p`, rsync) has the
/// same tag on another server, and a download can go on there.
fn entity_tag(about: &Metadata) -> String {
    format!(
        "\"{:x}-{:x}.{:x}\"",
        about.len(),
        about.mtime(),
        about.mtime_nsec()
    )
}

/// When the content last changed, to the second, as dates in HTTP are.
fn last_modified(about: &Metadata) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(about.mtime()).unwrap_or(0))
}

/// Is `tag` in an If-Match or If-None-Match? `weak`: a weak tag of the same text matches too.
///
/// list = "*" / #( [ "W/" ] DQUOTE *etagc DQUOTE )
fn in_tags(list: &str, tag: &str, weak: bool) -> bool {
    let mut candidates = list.split(',').map(str::trim);
    list.trim() == "*"
        || candidates.any(|one| one == tag || weak && one.strip_prefix("W/").is_some_and(|one| one == tag))
}

/// A date that the peer has sent; an invalid one is ignored, as RFC 9110 says of each of these fields.
fn date(request: &Request, name: &str) -> Result<Option<SystemTime>, Refusal> {
    Ok(request
        .fields
        .one(name)?
        .and_then(|text| stats::parse_http(text, SystemTime::now())))
}

/// Does the request depend on what the file is?
pub fn conditional(request: &Request) -> bool {
    let fields = [
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
    ];
    fields.iter().any(|name| request.fields.list(name).is_some())
}

/// Answers the conditions of `request` about the file, or its absence: `None` means go on.
pub fn precondition(request: &Request, about: Option<&Metadata>) -> Result<Option<Reply>, Refusal> {
    let reading = matches!(request.method, Method::Get | Method::Head);
    let tag = about.map(entity_tag);
    let is_in = |list: &str, weak| tag.as_ref().is_some_and(|tag| in_tags(list, tag, weak));
    let newer_than = |date: SystemTime| about.is_some_and(|about| last_modified(about) > date);
    let other = match request.fields.list("if-match") {
        Some(list) => !is_in(&list, false),
        None => date(request, "if-unmodified-since")?.is_some_and(newer_than),
    };
    let known = match request.fields.list("if-none-match") {
        Some(list) => is_in(&list, true),
        None => reading && date(request, "if-modified-since")?.is_some_and(|date| !newer_than(date)),
    };
    match about {
        Some(about) if known && reading && !other => Ok(Some(Reply::new(304).validators(about))),
        _ if known || other => Err(Refusal::new(
            412,
            "precondition failed: the file is not what was expected",
        )),
        _ => Ok(None),
    }
}

impl Reply {
    /// Adds the fields by which a peer can recognise this version of the file.
    fn validators(self, about: &Metadata) -> Reply {
        let date = stats::http_date(last_modified(about));
        self.field("ETag", &entity_tag(about))
            .field("Last-Modified", &date)
    }

    /// A file, or the part of it that is wanted.
    pub fn file(request: &Request, name: &[u8], file: File, about: &Metadata) -> Result<Reply, Refusal> {
        let size = about.len();
        let wanted = if request.method == Method::Get {
            range(request, about)?
        } else {
            Wanted::All
        };
        let (status, from, to) = match wanted {
            Wanted::All => (200, 0, size),
            Wanted::Part(from, to) => (206, from, to),
            Wanted::Outside => {
                let field = Some(("Content-Range", format!("bytes */{size}")));
                return Err(Refusal {
                    field,
                    ..Refusal::new(416, format!("range outside of {size} bytes"))
                });
            }
        };
        let kind = content_type(name);
        let mut reply = Reply::new(status).field("Content-Type", kind).validators(about);
        if ACTIVE.contains(&kind) {
            reply = reply.field("Content-Security-Policy", "sandbox allow-scripts");
        }
        reply = reply.field("Accept-Ranges", "bytes");
        if status == 206 {
            reply = reply.field("Content-Range", &format!("bytes {from}-{}/{size}", to - 1));
        }
        reply.content = Content::File { file, from, to };
        Ok(reply)
    }
}

/// The part of a file that a peer wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// From the first byte up to the second.
    Part(u64, u64),
    /// A part outside of the file.
    Outside,
}

/// The range of bytes that is wanted, if If-Range still holds.
fn range(request: &Request, about: &Metadata) -> Result<Wanted, Refusal> {
    let Some(text) = request.fields.one("range")? else {
        return Ok(Wanted::All);
    };
    let same = match request.fields.one("if-range")? {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == entity_tag(about),
        // A date names one state of the file only when the second that it names is over (section 13.1.5).
        Some(_) => {
            let changed = last_modified(about);
            let over = changed + Duration::from_secs(1) < SystemTime::now();
            over && date(request, "if-range")? == Some(changed)
        }
    };
    Ok(if same {
        parse_range(text, about.len()).unwrap_or(Wanted::All)
    } else {
        Wanted::All
    })
}

/// range = "bytes=" ( first "-" [ last ] / "-" length ); `None`: anything else, also several ranges; it is
/// ignored (RFC 9110, section 14.2).
fn parse_range(text: &str, size: u64) -> Option<Wanted> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range
        .trim()
        .split_once('-')
        .filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    // A number that does not fit is larger than any file.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, to) = match (number(first), number(last)) {
        (Some(from), Some(last)) if from <= last => (from, last.saturating_add(1).min(size)),
        (Some(from), None) if last.is_empty() => (from, size),
        (None, Some(length)) if first.is_empty() => (size.saturating_sub(length), size),
        _ => return None,
    };
    Some(if from < to {
        Wanted::Part(from, to)
    } else {
        Wanted::Outside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_two_sides() {
        let part = |from, to| Some(Wanted::Part(from, to));
        let table = [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=0-9", 10, part(0, 10)),
            ("bytes=0-10", 10, part(0, 10)),
            ("Bytes=9-", 10, part(9, 10)),
            ("bytes=10-", 10, Some(Wanted::Outside)),
            ("bytes=10-20", 10, Some(Wanted::Outside)),
            ("bytes=-1", 10, part(9, 10)),
            ("bytes=-10", 10, part(0, 10)),
            ("bytes=-11", 10, part(0, 10)),
            ("bytes=-0", 10, Some(Wanted::Outside)),
            ("bytes=0-99999999999999999999", 10, part(0, 10)),
            ("bytes=99999999999999999999-", 10, Some(Wanted::Outside)),
            ("bytes=0-", 0, Some(Wanted::Outside)),
            ("bytes=-5", 0, Some(Wanted::Outside)),
            ("bytes=5-4", 10, None),
            ("bytes=-", 10, None),
            ("bytes=a-b", 10, None),
            ("bytes=+1-2", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("lines=0-1", 10, None),
            ("bytes", 10, None),
        ];
        for (text, size, wanted) in table {
            assert_eq!(parse_range(text, size), wanted, "{text} of {size}");
        }
    }

    #[test]
    fn tags_are_compared_strongly_or_weakly() {
        let table = [
            ("*", true, true),
            ("\"a\"", true, true),
            ("\"b\" , \"a\"", true, true),
            ("W/\"a\"", false, true),
            ("\"b\"", false, false),
            ("a", false, false),
            ("", false, false),
        ];
        for (list, strong, weak) in table {
            assert_eq!(in_tags(list, "\"a\"", false), strong, "{list}");
            assert_eq!(in_tags(list, "\"a\"", true), weak, "{list}");
        }
    }

    #[test]
    fn names_promise_a_type() {
        for (name, kind) in [
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.b.HTML", "text/html; charset=utf-8"),
            ("a.bin", "application/octet-stream"),
            ("txt", "application/octet-stream"),
            ("a.", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name.as_bytes()), kind, "{name}");
        }
    }
}
