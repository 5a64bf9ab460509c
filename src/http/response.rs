//! What belongs in a reply? A status, some fields and content: a text in memory, a part of a file, or pieces.
//! Every reply with content tells where it ends, so the connection can stay open after it. A small file and
//! its head are one buffer; a large one is never copied into this process.

use crate::http::conditions::{Version, wanted};
use crate::http::date::{http_date, with_http_now};
use crate::http::media::{ACTIVE, content_type};
use crate::http::pieces::Pieces;
use crate::http::request::{Method, Request};
use crate::http::status::{Refusal, phrase};
use crate::session::{Outgoing, PIECE_TEXT};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Files up to this many bytes are sent in one buffer with the head; copying them costs less than another
/// system call.
const SMALL: u64 = 32 * 1024;

/// Bytes that nearly all heads of replies fit into; a larger one is moved as it grows.
const USUAL_HEAD: usize = 512;

/// Bytes `from..to` of a file.
struct FilePart {
    file: File,
    from: u64,
    to: u64,
}

/// A reply before it is formatted.
pub struct Reply {
    pub status: u16,
    /// Header lines, each with its CR LF.
    fields: Vec<u8>,
    text: Vec<u8>,
    /// Sent in place of the text, one or the other; pieces are only for the page.
    file: Option<FilePart>,
    pub pieces: Option<Pieces>,
    /// Bytes of content in the request; for the log.
    pub brought: u64,
    /// Why the request failed; empty when it did not.
    failure: String,
    /// Close the connection when it is sent.
    pub close: bool,
}

/// field-line = name ":" SP value CR LF
fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    for text in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(text.as_bytes());
    }
}

impl Reply {
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            fields: Vec::with_capacity(256),
            text: Vec::new(),
            file: None,
            pieces: None,
            brought: 0,
            failure: String::new(),
            close: false,
        }
    }

    pub fn field(mut self, name: &str, value: &str) -> Reply {
        write_field(&mut self.fields, name, value);
        self
    }

    pub fn text(mut self, kind: &str, text: impl Into<Vec<u8>>) -> Reply {
        self.text = text.into();
        self.field("Content-Type", kind)
    }

    /// The reason of a refusal, as one line for a person.
    pub fn error(refusal: Refusal) -> Reply {
        let text = format!("{}\n", refusal.reason);
        let mut reply = Reply::new(refusal.status).text("text/plain; charset=utf-8", text);
        if let Some((name, value)) = &refusal.field {
            reply = reply.field(name, value);
        }
        Reply {
            failure: refusal.reason,
            close: refusal.close,
            ..reply
        }
    }

    /// Adds the fields by which a peer can recognise this version of the file.
    pub fn version(self, version: &Version) -> Reply {
        let date = http_date(version.modified);
        self.field("ETag", &version.tag).field("Last-Modified", &date)
    }

    /// A file, or the part of it that is wanted.
    pub fn file(request: &Request, name: &[u8], file: File, version: &Version) -> Result<Reply, Refusal> {
        let size = version.size;
        let part = match request.method {
            Method::Get => wanted(request, version)?,
            _ => None,
        };
        let status = if part.is_some() { 206 } else { 200 };
        let Range { start: from, end: to } = part.unwrap_or(0..size);
        if status == 206 && from >= to {
            let refusal = Refusal::new(416, format!("range outside of {size} bytes"));
            return Err(refusal.with_field("Content-Range", format!("bytes */{size}")));
        }
        let kind = content_type(name);
        let mut reply = Reply::new(status).field("Content-Type", kind).version(version);
        if ACTIVE.contains(&kind) {
            reply = reply.field("Content-Security-Policy", "sandbox allow-scripts");
        }
        reply = reply.field("Accept-Ranges", "bytes");
        if status == 206 {
            reply = reply.field("Content-Range", &format!("bytes {from}-{}/{size}", to - 1));
        }
        reply.file = Some(FilePart { file, from, to });
        Ok(reply)
    }

    /// The reply as it is sent; `request` is `None` when it was not understood.
    pub fn finish(mut self, request: Option<&Request>) -> io::Result<OutgoingReply> {
        let content = match &self.file {
            Some(part) => part.to - part.from,
            None => self.text.len() as u64,
        };
        // HEAD asks for the fields alone.
        let head_only = request.is_some_and(|request| request.method == Method::Head);
        let length = if head_only { 0 } else { content };
        // One allocation for a small reply with all its content.
        let mut text = Vec::with_capacity(USUAL_HEAD + length.min(SMALL) as usize);
        write!(text, "HTTP/1.1 {} {}\r\n", self.status, phrase(self.status))?;
        with_http_now(|now| write_field(&mut text, "Date", now));
        text.extend_from_slice(b"Server: kolam\r\nX-Content-Type-Options: nosniff\r\n");
        text.extend_from_slice(&self.fields);
        // These two have no content by definition, and 204 may not even say so (RFC 9110, section 8.6).
        if !matches!(self.status, 204 | 304) && !self.write_framing(&mut text, request) {
            write!(text, "Content-Length: {content}\r\n")?;
        }
        if self.close {
            write_field(&mut text, "Connection", "close");
        } else if request.is_some_and(|request| !request.modern) {
            write_field(&mut text, "Connection", "keep-alive");
        }
        text.extend_from_slice(b"\r\n");
        let mut rest = None;
        match self.file {
            _ if length == 0 => {}
            None => text.extend_from_slice(&self.text),
            Some(part) if length <= SMALL => {
                let head = text.len();
                text.resize(head + length as usize, 0);
                part.file.read_exact_at(&mut text[head..], part.from)?;
            }
            Some(part) => rest = Some(part),
        }
        Ok(OutgoingReply {
            text,
            sent: 0,
            rest,
            pieces: self.pieces.filter(|_| !head_only),
            bytes: length + self.brought,
            failure: self.failure,
            close: self.close,
        })
    }
}

/// Longest reply, in bytes, after which the connection may be closed without lingering. A longer one may
/// still be on its way, and a stray CR LF from the peer (old ones send it after a request) would destroy it.
const CLOSE_LIMIT: usize = 48 * 1024;

/// A reply that is being sent.
pub struct OutgoingReply {
    pub text: Vec<u8>,
    /// Bytes of `text` that are sent.
    pub sent: usize,
    /// Sent after the text, one or the other.
    rest: Option<FilePart>,
    pub pieces: Option<Pieces>,
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
        let is_short = self.rest.is_none() && self.pieces.is_none() && self.text.len() <= CLOSE_LIMIT;
        self.close && self.failure.is_empty() && is_short
    }

    /// What to send next; `last`: the connection is closed after it.
    pub fn outgoing(&self, last: bool) -> Outgoing<'_> {
        match &self.rest {
            Some(part) if self.sent == self.text.len() => Outgoing::File {
                file: &part.file,
                offset: part.from,
                count: (part.to - part.from).min(PIECE_TEXT as u64) as usize,
            },
            _ if last => Outgoing::Last(&self.text[self.sent..]),
            _ => Outgoing::Bytes(&self.text[self.sent..]),
        }
    }

    /// `count` more bytes are sent; returns whether all are. 0: the file has become shorter.
    pub fn advance(&mut self, count: usize) -> io::Result<bool> {
        match &mut self.rest {
            _ if self.sent < self.text.len() => self.sent += count,
            Some(_) if count == 0 => return Err(io::Error::other("the file was cut short")),
            Some(part) => part.from += count as u64,
            None => {}
        }
        let rest_sent = self.rest.as_ref().is_none_or(|part| part.from == part.to);
        Ok(self.sent == self.text.len() && rest_sent && !self.refill()?)
    }
}
