//! What if a head says how long the rest is? Then nothing has to be searched in a file, and it can come down
//! as it is, without base64. The price: whoever says the length must know it, in bytes, before the first one
//! is sent; one byte too few or too many, and everything after it is misread. So the connection ends here.

use super::Grammar;
use crate::protocol::{Body, EndMark, HEAD_LIMIT, Progress, Refusal, Reply};
use crate::session::Want;
use crate::stats::RequestLog;
use crate::store::{Error, Store};
use std::fs::File;
use std::mem;
use std::sync::Arc;

/// What the dialect says of all that it has no words for; the log says more.
const FILE_ERROR: &str = "Server file error";

pub struct Sized {
    store: Arc<Store>,
    state: State,
    /// Follows the reply that is being sent.
    download: Option<File>,
}

enum State {
    /// A head so far, and how much of its end was seen last.
    Head(Vec<u8>, EndMark),
    /// A file that is arriving, and how many bytes of its text have not come.
    Content(Box<Body>, u64),
}

impl Grammar for Sized {
    fn want(&self) -> Want {
        match &self.state {
            State::Head(text, _) if text.is_empty() => Want::Request,
            State::Head(..) => Want::Head,
            State::Content(..) => Want::Body,
        }
    }

    fn take(&mut self, bytes: &mut &[u8], log: &mut RequestLog) -> Option<Result<Reply, Refusal>> {
        match mem::replace(&mut self.state, begin()) {
            State::Head(text, mark) => self.read_head(text, mark, bytes, log),
            State::Content(body, left) => self.read_body(body, left, bytes),
        }
    }

    /// `ERROR <reason>`; the connection ends.
    fn error(&mut self, reason: String) -> Reply {
        self.state = begin();
        let known = reason.starts_with(FILE_ERROR).then_some(FILE_ERROR);
        let mut reply = Reply::words(format!("ERROR {}\r\n\r\n", known.unwrap_or(&reason)));
        (reply.failure, reply.close) = (reason, true);
        reply
    }

    fn download(&mut self) -> Option<File> {
        self.download.take()
    }
}

fn begin() -> State {
    State::Head(Vec::new(), EndMark::default())
}

/// Requests, verb by verb, as in `protocol.rs`.
impl Sized {
    pub fn new(store: Arc<Store>) -> Sized {
        Sized {
            store,
            state: begin(),
            download: None,
        }
    }

    fn read_head(
        &mut self,
        mut text: Vec<u8>,
        mut mark: EndMark,
        bytes: &mut &[u8],
        log: &mut RequestLog,
    ) -> Option<Result<Reply, Refusal>> {
        while let Some(&byte) = bytes.split_off_first() {
            log.begin();
            text.push(byte);
            if mark.feed(byte) == Progress::Complete {
                return Some(self.begin(&text, log));
            }
            if text.len() == HEAD_LIMIT + 4 {
                return Some(refuse("Header too large"));
            }
        }
        self.state = State::Head(text, mark);
        None
    }

    /// A head is complete: `head = verb 1*blank name [ 1*blank length ] *( 1*blank word ) CR LF CR LF`
    fn begin(&mut self, text: &[u8], log: &mut RequestLog) -> Result<Reply, Refusal> {
        let mut words = str::from_utf8(text).unwrap_or_default().split_whitespace();
        let (Some(verb), Some(name)) = (words.next(), words.next()) else {
            return Err(Refusal::NoReply("not a head of the sized dialect".to_owned()));
        };
        let name = name.rsplit('/').next().unwrap_or_default().as_bytes();
        match verb.to_ascii_uppercase().as_str() {
            "UPLOAD" => self.upload(name, words.next(), log),
            "GET" => self.get(name, log),
            _ => refuse("Unknown command"),
        }
    }

    /// `UPLOAD name length` → `OK Ready to receive`, then the text
    fn upload(&mut self, name: &[u8], length: Option<&str>, log: &mut RequestLog) -> Result<Reply, Refusal> {
        log.request("UPLOAD", name);
        let length = match length.map(str::parse::<i128>) {
            None => return refuse("No size provided for UPLOAD"),
            Some(Err(_)) => return refuse("Invalid size format"),
            Some(Ok(length)) => u64::try_from(length.max(0)).unwrap_or(u64::MAX),
        };
        let upload = self.store.create(name).map_err(in_words)?;
        self.state = State::Content(Box::new(Body::new(upload)), length);
        Ok(Reply::words("OK Ready to receive\r\n\r\n"))
    }

    /// Decodes what has come of a text, which ends after `left` bytes.
    fn read_body(
        &mut self,
        mut body: Box<Body>,
        left: u64,
        bytes: &mut &[u8],
    ) -> Option<Result<Reply, Refusal>> {
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (text, rest) = bytes.split_at(count);
        *bytes = rest;
        match (decode(&mut body, text), left - count as u64) {
            (Ok(()), 0) => Some(stored(*body)),
            (Ok(()), left) => {
                self.state = State::Content(body, left);
                None
            }
            (Err(refusal), _) => Some(Err(in_words(refusal))),
        }
    }

    /// `GET name` → `OK length`, then the file as it is
    fn get(&mut self, name: &[u8], log: &mut RequestLog) -> Result<Reply, Refusal> {
        log.request("GET", name);
        let (file, about) = match self.store.read(name) {
            Err(Error::NotFound | Error::NotRegular | Error::InvalidName(_)) => {
                return refuse("File not found");
            }
            other => other.map_err(in_words)?,
        };
        self.download = (about.len() > 0).then_some(file);
        let mut reply = Reply::words(format!("OK {}\r\n\r\n", about.len()));
        (reply.bytes, reply.close) = (about.len(), true);
        Ok(reply)
    }
}

/// Where the end mark of the canonical dialect stands in a text, it is nothing but two empty lines.
fn decode(body: &mut Body, mut text: &[u8]) -> Result<(), Refusal> {
    while !text.is_empty() {
        body.mark = EndMark::default();
        body.take(&mut text)?;
    }
    body.flush()
}

/// … → `OK Upload complete`
fn stored(body: Body) -> Result<Reply, Refusal> {
    // Only whole padding shows that the length was not too short.
    body.decoder.finish_padded().map_err(in_words)?;
    let (_, size) = body.finish().map_err(in_words)?;
    let mut reply = Reply::words("OK Upload complete\r\n\r\n");
    (reply.bytes, reply.close) = (size, true);
    Ok(reply)
}

fn refuse(reason: &str) -> Result<Reply, Refusal> {
    Err(Refusal::Last(reason.to_owned()))
}

/// An error in the words of the dialect.
fn in_words(error: impl Into<Refusal>) -> Refusal {
    match error.into() {
        Refusal::Error(reason) if reason.starts_with("invalid base64") => {
            Refusal::Last("Invalid Base64 data stream".to_owned())
        }
        Refusal::Error(reason) | Refusal::Last(reason) => Refusal::Last(format!("{FILE_ERROR}: {reason}")),
        silent => silent,
    }
}
