//! What if a line is a message? Then a file does not fit: so an upload is a conversation. The client says
//! UPLOAD and waits for READY, sends its file as lines of base64, and ends it by a line that is no base64.
//! Nothing says what the file is called, so its content does (`md5.rs`).

use super::md5::Md5;
use super::{Answer, Grammar, Next, last, refuse};
use crate::b64::{Decoder, decoded_room};
use crate::protocol::{Progress, Refusal, Reply, TEXT_ALLOWANCE, TEXT_SLACK};
use crate::session::PIECE;
use crate::stats::RequestLog;
use crate::store::{BY_NAME, Error, Store, Upload};
use std::sync::Arc;

/// The line after the last of a file. Its letters are symbols of base64, so only a whole line is the end.
const LAST: &[u8] = b"ENDUPLOAD";
/// How the clients know a missing file; its name follows.
const MISSING: &str = "[Errno 2] No such file or directory";

/// Most characters of a line of content, its CR included; it is held until its end has come.
const LINE_LIMIT: usize = (1 << 20) + 1;

/// First bytes of a content, and the extension of its name. The first that fits counts.
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

/// A file that is arriving, line by line.
pub struct Content {
    upload: Upload,
    /// A line, as far as it has come.
    line: Vec<u8>,
    /// Characters of all lines before it.
    text: u64,
    /// Decoded bytes for the file: less than a piece, and those of one line.
    bytes: Vec<u8>,
    sum: Md5,
    /// The extension of its name; `None`: nothing is written yet.
    kind: Option<&'static str>,
}

impl Grammar for Content {
    const END: &[u8] = b"\n";
    const TOO_LONG: &str = "request too long";

    /// `line = [ verb *( 1*blank word ) ] LF`, or `"UPLOAD" *character LF`
    fn begin(store: &Arc<Store>, line: &[u8], log: &mut RequestLog) -> Answer<Content> {
        let line = line.trim_ascii();
        if line.starts_with(b"UPLOAD") {
            return upload(store, log);
        }
        let words = words(line)?;
        let verb = words.first().map(|verb| verb.to_ascii_uppercase());
        let reply = match (verb.unwrap_or_default().as_slice(), words.get(1)) {
            (b"LIST", _) => list(store, log),
            (b"GET" | b"DELETE", None) => error("list index out of range"),
            (b"GET" | b"DELETE", Some(name)) if name.is_empty() => Ok(Reply::words("null\r\n\r\n")),
            (b"GET", Some(name)) => get(store, name, log),
            (b"DELETE", Some(name)) => delete(store, name, log),
            _ => error("request tidak dikenali"),
        };
        Ok((reply?, Next::Head))
    }

    fn take(&mut self, bytes: &mut &[u8]) -> Result<Progress, Refusal> {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.line.extend_from_slice(part);
            *bytes = rest;
            if self.line.len() > LINE_LIMIT {
                return refuse("line too long: more than 1048576 characters");
            }
            if bytes.split_off_first().is_some() && self.end_line()? == Progress::Complete {
                return Ok(Progress::Complete);
            }
        }
        Ok(Progress::More)
    }

    /// … → `{"status":"OK","message":"File uploaded successfully","data":{"file_path":"<md5hex><ext>"}}`
    fn stored(mut self, log: &mut RequestLog) -> Result<Reply, Refusal> {
        self.flush()?;
        let name = self.sum.finish() + self.kind.unwrap_or_default();
        log.request("UPLOAD", name.as_bytes());
        let size = self.upload.commit_as(name.as_bytes())?;
        Ok(Reply::ok(size, |w| {
            w.pair("message", "File uploaded successfully");
            w.key("data");
            w.open(b'{');
            w.pair("file_path", &name);
            w.close(b'}');
        }))
    }

    fn error(reason: String) -> Reply {
        let known = reason.starts_with(MISSING).then(|| Error::NotFound.to_string());
        let mut reply = Reply::error(reason, false);
        // The log has the name already, and escapes it.
        reply.failure = known.unwrap_or(reply.failure);
        reply
    }
}

impl Content {
    /// Decodes the line that has come. Complete: it was the one after the last.
    fn end_line(&mut self) -> Result<Progress, Refusal> {
        if self.line.trim_ascii() == LAST {
            return Ok(Progress::Complete);
        }
        // Lines of blanks bring nothing and could go on for ever.
        self.text += self.line.len() as u64 + 1;
        let at_least = self.text.saturating_sub(TEXT_ALLOWANCE) / TEXT_SLACK;
        self.upload.require_room(at_least)?;
        self.line
            .retain(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte));
        let (at, mut decoder) = (self.bytes.len(), Decoder::new());
        self.bytes.resize(at + decoded_room(self.line.len()), 0);
        let step = decoder.decode(&self.line, &mut self.bytes[at..]);
        self.bytes.truncate(at + step.wrote);
        if step.read < self.line.len() || decoder.finish_padded().is_err() {
            return refuse("Incorrect padding");
        }
        self.line.clear();
        if self.bytes.len() >= PIECE {
            self.flush()?;
        }
        Ok(Progress::More)
    }

    /// Writes what has been decoded: pieces, of which the first tells the kind, and what is left at the end.
    fn flush(&mut self) -> Result<(), Refusal> {
        self.sum.update(&self.bytes);
        let mut kinds = KINDS.iter().filter(|(start, _)| self.bytes.starts_with(start));
        self.kind = self.kind.or_else(|| kinds.next().map(|row| row.1));
        self.upload.write(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// `UPLOAD` → `READY TO RECEIVE FILE`, then the lines of a file
fn upload(store: &Arc<Store>, log: &mut RequestLog) -> Answer<Content> {
    log.request("UPLOAD", b"");
    let content = Content {
        upload: store.create_unnamed().map_err(last)?,
        line: Vec::new(),
        text: 0,
        bytes: Vec::new(),
        sum: Md5::new(),
        kind: None,
    };
    let ready = Reply::words("READY TO RECEIVE FILE\r\n\r\n");
    Ok((ready, Next::Content(Box::new(content))))
}

/// `GET name` → `{"status":"OK","data_namafile":"a.bin","data_file":"<base64>"}`
fn get(store: &Arc<Store>, name: &[u8], log: &mut RequestLog) -> Result<Reply, Refusal> {
    log.request("GET", name);
    let (file, about) = store.read(name).map_err(|error| missing(error, name))?;
    Ok(Reply::file(file, about.len(), name).map_err(Error::from)?)
}

/// `LIST` → `{"status":"OK","data":["a.bin","b.bin"]}`
fn list(store: &Arc<Store>, log: &mut RequestLog) -> Result<Reply, Refusal> {
    log.request("LIST", b"");
    Ok(Reply::list(store.list(BY_NAME)?).map_err(Error::from)?)
}

/// `DELETE name` → `{"status":"OK","message":"File deleted successfully"}`
fn delete(store: &Store, name: &[u8], log: &mut RequestLog) -> Result<Reply, Refusal> {
    log.request("DELETE", name);
    store.remove(name).map_err(|error| missing(error, name))?;
    Ok(Reply::ok(0, |w| w.pair("message", "File deleted successfully")))
}

/// A missing file in the words that the clients know.
fn missing(error: Error, name: &[u8]) -> Refusal {
    match error {
        Error::NotFound => {
            let name = String::from_utf8_lossy(name);
            Refusal::Error(format!("{MISSING}: '{name}'"))
        }
        other => other.into(),
    }
}

fn error(reason: &str) -> Result<Reply, Refusal> {
    Err(Refusal::Error(reason.to_owned()))
}

/// Cuts a line into words as a shell does: at blanks that stand in no quotes.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<Vec<u8>>, None);
    for &byte in line {
        match quote {
            None if byte.is_ascii_whitespace() => words.extend(word.take()),
            // A pair of quotes alone is a word, too.
            None if b"\"'".contains(&byte) => (quote, word) = (Some(byte), word.or(Some(Vec::new()))),
            Some(open) if open == byte => quote = None,
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    quote.map_or(Ok(words), |_| refuse("No closing quotation"))
}
