//! What does the peer get to read? One JSON object and the end mark. A file leaves without ever being whole
//! in memory, and so does a list: the object is begun and its value left open, then one piece after the other
//! is made and sent, and the end of the object comes after the last.

use crate::b64::{self, Encoder};
use crate::json::Writer;
use crate::protocol::head::Progress;
use crate::session::PIECE;
use crate::store;
use std::fs::File;
use std::io::{self, Read, Take};

/// Why a request is refused, and what follows.
pub enum Refusal {
    /// A reply with `"status":"ERROR"` and this `data`, then the next request.
    Error(String),
    /// The same, but the connection is closed after it: where the next request begins is unknown.
    Last(String),
    /// The connection is closed without a reply: neither OK nor ERROR would be true.
    NoReply(String),
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        let reason = error.to_string();
        match error {
            // An upload over the limit may be endless, so it is not read to its end.
            store::Error::TooLarge(_) => Refusal::Last(reason),
            store::Error::Uncertain(_) => Refusal::NoReply(reason),
            _ => Refusal::Error(reason),
        }
    }
}

impl From<b64::Error> for Refusal {
    fn from(error: b64::Error) -> Refusal {
        Refusal::Error(error.to_string())
    }
}

/// A reply that is being sent.
#[derive(Default)]
pub struct Reply {
    /// The reply, or the piece of it that is being sent.
    text: Vec<u8>,
    /// How many bytes of `text` are sent.
    sent: usize,
    /// What comes after this piece.
    rest: Option<Box<dyn Source>>,
    /// Bytes of file content: in this reply, or received for it.
    pub bytes: u64,
    /// Why the request failed; empty when it did not.
    pub failure: String,
    /// Close the connection when the reply is sent.
    pub close: bool,
}

/// A value that is too long to be in memory, piece by piece.
pub trait Source: Send {
    /// Puts the next piece in the place of all of `text` from offset `at` on. Complete: it was the last.
    fn next(&mut self, text: &mut Vec<u8>, at: usize) -> io::Result<Progress>;
}

/// The rest of a file that is being sent:
///
/// ```text
/// file ──96 KiB──► encode ──128 KiB text──► socket        (3 bytes are 4 symbols; half a `PIECE`)
/// ```
struct Download {
    /// Its limit is what has not been read yet.
    file: Take<File>,
    /// One piece as it is in the file.
    raw: Vec<u8>,
}

impl Reply {
    /// `{"status":"OK",` … `}`
    pub fn ok(bytes: u64, build: impl FnOnce(&mut Writer)) -> Reply {
        let mut text = open("OK", build);
        text.extend_from_slice(b"}\r\n\r\n");
        Reply {
            text,
            bytes,
            ..Reply::default()
        }
    }

    /// Words that are no object. For `dialects` only.
    pub fn words(text: impl Into<Vec<u8>>) -> Reply {
        let text = text.into();
        Reply {
            text,
            ..Reply::default()
        }
    }

    /// `{"status":"ERROR","data":"<reason>"}`
    pub fn error(reason: String, close: bool) -> Reply {
        let mut text = open("ERROR", |w| w.pair("data", &reason));
        text.extend_from_slice(b"}\r\n\r\n");
        Reply {
            text,
            failure: reason,
            close,
            ..Reply::default()
        }
    }

    /// `{"status":"OK","data_namafile":"a.bin","data_file":"<the first `size` bytes of `file`>"}`
    pub fn file(file: File, size: u64, name: &[u8]) -> io::Result<Reply> {
        let text = open("OK", |w| {
            w.pair("data_namafile", &String::from_utf8_lossy(name));
            w.key("data_file");
            w.open_string();
        });
        let raw = vec![0; size.min(PIECE as u64 / 2) as usize];
        let file = file.take(size);
        Reply::in_pieces(text, size, Download { file, raw })
    }

    /// `{"status":"OK",` … and a value that `source` brings, `}`. The head goes out together with the first
    /// piece.
    pub fn in_pieces(text: Vec<u8>, bytes: u64, source: impl Source + 'static) -> io::Result<Reply> {
        let head = text.len();
        let mut reply = Reply {
            text,
            rest: Some(Box::new(source)),
            bytes,
            ..Reply::default()
        };
        reply.refill(head)?;
        Ok(reply)
    }

    pub fn outgoing(&self) -> &[u8] {
        &self.text[self.sent..]
    }

    /// `count` more bytes are sent. Complete: these were the last ones.
    pub fn advance(&mut self, count: usize) -> io::Result<Progress> {
        self.sent += count;
        if self.sent < self.text.len() {
            return Ok(Progress::More);
        }
        self.sent = 0;
        self.refill(0)
    }

    /// Puts the next piece in the place of all from offset `at` on. Complete: there is none.
    fn refill(&mut self, at: usize) -> io::Result<Progress> {
        let Some(source) = &mut self.rest else {
            return Ok(Progress::Complete);
        };
        if source.next(&mut self.text, at)? == Progress::Complete {
            self.text.extend_from_slice(b"}\r\n\r\n");
            self.rest = None;
        }
        Ok(Progress::More)
    }
}

impl Source for Download {
    fn next(&mut self, text: &mut Vec<u8>, at: usize) -> io::Result<Progress> {
        let piece = self.raw.len().min(self.file.limit() as usize);
        let raw = &mut self.raw[..piece];
        // The whole piece, even if one read gives less; a file that has shrunk is an error.
        self.file.read_exact(raw)?;
        // A few bytes more: the encoder asks for them, and the end of the reply fits too.
        text.resize(at + b64::encoded_len(piece) + 16, 0);
        // Each piece but the last is a multiple of 3 bytes, so each can be encoded by itself.
        let mut encoder = Encoder::new();
        let mut end = at + encoder.encode(raw, &mut text[at..]);
        end += encoder.finish(&mut text[end..]);
        text.truncate(end);
        if self.file.limit() > 0 {
            return Ok(Progress::More);
        }
        text.push(b'"');
        Ok(Progress::Complete)
    }
}

/// `{"status":"…",` … without its end.
pub fn open(status: &str, build: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut text = Vec::new();
    let mut w = Writer::new(&mut text);
    w.open(b'{');
    w.pair("status", status);
    build(&mut w);
    text
}
