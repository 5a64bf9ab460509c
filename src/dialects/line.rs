//! What if a line is a message? Then a file does not fit: so an upload is a conversation. The client says
//! UPLOAD and waits for READY, sends its file as lines of base64, and ends it by a line that is no base64.
//! Nothing says what the file is called, so its content does (`md5.rs`).

use super::Grammar;
use super::md5::Md5;
use crate::b64::Decoder;
use crate::protocol::{Body, HEAD_LIMIT, Progress, Refusal, Reply, TEXT_ALLOWANCE, TEXT_SLACK};
use crate::session::Want;
use crate::stats::RequestLog;
use crate::store::{Error, Store, Upload};
use std::mem;
use std::sync::Arc;

const READY: &str = "READY TO RECEIVE FILE\r\n\r\n";
/// The line after the last of a file.
const LAST: &[u8] = b"ENDUPLOAD";
const BAD_LINE: &str = "Incorrect padding";

/// Most characters of a line of content, its end not counted. The line is decoded as it comes, so the limit
/// does not bound a buffer; it is there so that a client does not rely on more than other servers take.
const LINE_LIMIT: usize = 1 << 20;

/// First bytes of a content, and the extension of its name. The longest stand first.
const KINDS: [(&[u8], &str); 9] = [
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpeg"),
    (b"%PDF", ".pdf"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"PK\x03\x04", ".zip"),
    (b"ID3", ".mpeg"),
    (b"\xff\xfb", ".mpeg"),
    (b"", ""),
];

pub struct Line {
    store: Arc<Store>,
    state: State,
}

enum State {
    /// A command so far, without the blanks in front of it.
    Command(Vec<u8>),
    Content(Box<Content>),
}

impl Grammar for Line {
    fn want(&self) -> Want {
        match &self.state {
            State::Command(line) if line.is_empty() => Want::Request,
            State::Command(_) => Want::Head,
            State::Content(_) => Want::Body,
        }
    }

    fn take(&mut self, bytes: &mut &[u8], log: &mut RequestLog) -> Option<Result<Reply, Refusal>> {
        match mem::replace(&mut self.state, State::Command(Vec::new())) {
            State::Command(line) => self.read_head(line, bytes, log),
            State::Content(content) => self.read_body(content, bytes, log),
        }
    }

    fn error(&mut self, reason: String) -> Reply {
        self.state = State::Command(Vec::new());
        Reply::error(reason, false)
    }
}

/// Requests, verb by verb, as in `protocol.rs`.
impl Line {
    pub fn new(store: Arc<Store>) -> Line {
        let state = State::Command(Vec::new());
        Line { store, state }
    }

    fn read_head(
        &mut self,
        mut line: Vec<u8>,
        bytes: &mut &[u8],
        log: &mut RequestLog,
    ) -> Option<Result<Reply, Refusal>> {
        while let Some(&byte) = bytes.split_off_first() {
            match byte {
                b'\n' => return Some(self.begin(&line, log)),
                b' ' | b'\t' | b'\r' if line.is_empty() => {}
                _ if line.len() == HEAD_LIMIT => return Some(last("request too long")),
                byte => {
                    log.begin();
                    line.push(byte);
                }
            }
        }
        self.state = State::Command(line);
        None
    }

    /// A line is complete: `line = [ verb *( 1*blank word ) ] LF`, or `"UPLOAD" *character LF`
    fn begin(&mut self, line: &[u8], log: &mut RequestLog) -> Result<Reply, Refusal> {
        // An empty line is a request too, and one that is not understood.
        log.begin();
        if line.starts_with(b"UPLOAD") {
            return self.upload(log);
        }
        let words = words(line)?;
        let verb = words.first().map(|verb| verb.to_ascii_uppercase());
        match (verb.unwrap_or_default().as_slice(), words.get(1)) {
            (b"LIST", _) => self.list(log),
            (b"GET" | b"DELETE", None) => error("list index out of range"),
            (b"GET" | b"DELETE", Some(name)) if name.is_empty() => Ok(Reply::words("null\r\n\r\n")),
            (b"GET", Some(name)) => self.get(name, log),
            (b"DELETE", Some(name)) => self.delete(name, log),
            _ => error("request tidak dikenali"),
        }
    }

    /// `UPLOAD` → `READY TO RECEIVE FILE`, then the lines of a file
    fn upload(&mut self, log: &mut RequestLog) -> Result<Reply, Refusal> {
        log.request("UPLOAD", b"");
        let upload = self.store.create_unnamed().map_err(refuse_upload)?;
        self.state = State::Content(Box::new(Content::new(upload)));
        Ok(Reply::words(READY))
    }

    fn read_body(
        &mut self,
        mut content: Box<Content>,
        bytes: &mut &[u8],
        log: &mut RequestLog,
    ) -> Option<Result<Reply, Refusal>> {
        match content.take(bytes) {
            Ok(Progress::Complete) => Some(content.stored(log)),
            Ok(Progress::More) => {
                self.state = State::Content(content);
                None
            }
            Err(refusal) => Some(Err(refuse_upload(refusal))),
        }
    }

    /// `GET name` → `{"status":"OK","data_namafile":"a.bin","data_file":"<base64>"}`
    fn get(&self, name: &[u8], log: &mut RequestLog) -> Result<Reply, Refusal> {
        log.request("GET", name);
        let (file, about) = self.store.read(name).map_err(|error| missing(error, name))?;
        Ok(Reply::file(file, about.len(), name).map_err(Error::from)?)
    }

    /// `LIST` → `{"status":"OK","data":["a.bin","b.bin"]}`
    fn list(&self, log: &mut RequestLog) -> Result<Reply, Refusal> {
        log.request("LIST", b"");
        Ok(Reply::list(&self.store.list()?))
    }

    /// `DELETE name` → `{"status":"OK","message":"File deleted successfully"}`
    fn delete(&self, name: &[u8], log: &mut RequestLog) -> Result<Reply, Refusal> {
        log.request("DELETE", name);
        self.store.remove(name).map_err(|error| missing(error, name))?;
        Ok(Reply::ok(0, |w| w.pair("message", "File deleted successfully")))
    }
}

fn error(reason: &str) -> Result<Reply, Refusal> {
    Err(Refusal::Error(reason.to_owned()))
}

fn last<T>(reason: &str) -> Result<T, Refusal> {
    Err(Refusal::Last(reason.to_owned()))
}

/// After a refused upload the connection ends, so that no line of its file is taken for a command.
fn refuse_upload(error: impl Into<Refusal>) -> Refusal {
    match error.into() {
        Refusal::Error(reason) => Refusal::Last(reason),
        other => other,
    }
}

/// A missing file in the words that the clients know.
fn missing(error: Error, name: &[u8]) -> Refusal {
    match error {
        Error::NotFound => {
            let name = String::from_utf8_lossy(name);
            Refusal::Error(format!("[Errno 2] No such file or directory: '{name}'"))
        }
        other => other.into(),
    }
}

/// Cuts a line into words as a shell does: at blanks that stand in no quotes.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<Vec<u8>>, None);
    for &byte in line {
        match quote {
            None if b" \t\r".contains(&byte) => words.extend(word.take()),
            // A pair of quotes alone is a word, too.
            None if b"\"'".contains(&byte) => (quote, word) = (Some(byte), word.or(Some(Vec::new()))),
            Some(open) if open == byte => quote = None,
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    quote.map_or(Ok(words), |_| last("No closing quotation"))
}

/// A file that is arriving, line by line.
struct Content {
    body: Body,
    sum: Md5,
    /// As many of its first bytes as tell its kind.
    front: Vec<u8>,
    /// How many letters of `LAST` the line has so far; `None`: it is another line.
    letters: Option<usize>,
    /// Characters of the line so far, and of all lines.
    length: usize,
    text: u64,
}

impl Content {
    fn new(upload: Upload) -> Content {
        Content {
            body: Body::new(upload),
            sum: Md5::new(),
            front: Vec::new(),
            letters: Some(0),
            length: 0,
            text: 0,
        }
    }

    /// Decodes what one read has brought, and cuts it off its front. Complete: the last line was there.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<Progress, Refusal> {
        let mut progress = Progress::More;
        while progress == Progress::More && !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            *bytes = rest;
            self.extend_line(part)?;
            if bytes.split_off_first().is_some() {
                progress = self.end_line()?;
            }
        }
        self.flush()?;
        Ok(progress)
    }

    /// The letters of `LAST` are symbols of base64, so they are content when the line goes on otherwise.
    fn extend_line(&mut self, mut part: &[u8]) -> Result<(), Refusal> {
        self.text += part.len() as u64 + 1;
        self.length += part.len() - usize::from(part.ends_with(b"\r"));
        if self.length > LINE_LIMIT {
            return last("line too long: more than 1048576 characters");
        }
        while let (Some(letters), Some(byte)) = (self.letters, part.first()) {
            let around = [0, LAST.len()].contains(&letters) && b" \t\r".contains(byte);
            if !around && LAST.get(letters) != Some(byte) {
                self.letters = None;
                self.decode(&LAST[..letters])?;
                // The buffer has room for what one read brings, and these letters came before.
                self.flush()?;
                break;
            }
            self.letters = Some(letters + usize::from(!around));
            part = &part[1..];
        }
        self.decode(part)
    }

    fn end_line(&mut self) -> Result<Progress, Refusal> {
        let letters = self.letters.replace(0).unwrap_or_default();
        if letters == LAST.len() {
            return Ok(Progress::Complete);
        }
        self.decode(&LAST[..letters])?;
        self.length = 0;
        match mem::replace(&mut self.body.decoder, Decoder::new()).finish_padded() {
            Ok(()) => Ok(Progress::More),
            Err(_) => last(BAD_LINE),
        }
    }

    /// What is no symbol is dropped, but for padding in a wrong place, and symbols after the padding.
    fn decode(&mut self, mut text: &[u8]) -> Result<(), Refusal> {
        loop {
            text = &text[self.body.decode(text)?..];
            match text.split_off_first() {
                None => return Ok(()),
                Some(byte) if byte.is_ascii_alphanumeric() || b"+/=".contains(byte) => return last(BAD_LINE),
                Some(_) => self.body.decoder.skip(1),
            }
        }
    }

    /// Writes what has been decoded.
    fn flush(&mut self) -> Result<(), Refusal> {
        let at_least = self.text.saturating_sub(TEXT_ALLOWANCE) / TEXT_SLACK;
        self.body.upload.require_room(at_least)?;
        let bytes = &self.body.buffer[..self.body.filled];
        self.sum.update(bytes);
        let more = bytes.len().min(KINDS[0].0.len() - self.front.len());
        self.front.extend_from_slice(&bytes[..more]);
        self.body.flush()
    }

    /// … → `{"status":"OK","message":"File uploaded successfully","data":{"file_path":"<md5hex><ext>"}}`
    fn stored(self, log: &mut RequestLog) -> Result<Reply, Refusal> {
        let kind = KINDS.iter().find(|(start, _)| self.front.starts_with(start));
        let name = self.sum.finish() + kind.map_or("", |(_, extension)| extension);
        log.request("UPLOAD", name.as_bytes());
        let size = self.body.upload.commit_as(name.as_bytes())?;
        Ok(Reply::ok(size, |w| {
            w.pair("message", "File uploaded successfully");
            w.key("data");
            w.open(b'{');
            w.pair("file_path", &name);
            w.close(b'}');
        }))
    }
}
