//! What if a head says how long the rest is? Then nothing has to be searched in a file, and it can come down
//! as it is, without base64. The price: the sender must know the length, in bytes, before it sends the first
//! one; one byte too few or too many, and everything after it is misread. So the connection ends here.

use super::{Answer, Grammar, Next, refuse};
use crate::protocol::{Body, END, EndMark, Progress, Refusal, Reply};
use crate::stats::RequestLog;
use crate::store::{Error, Store};
use std::sync::Arc;

/// What the dialect says of all that it has no words for; the log says more.
const FILE_ERROR: &str = "Server file error";

/// A file that is arriving, and how many bytes of its text have not come.
pub struct Content {
    body: Body,
    left: u64,
}

impl Grammar for Content {
    const END: &[u8] = END;
    const TOO_LONG: &str = "Header too large";

    /// `head = verb 1*blank name [ 1*blank length ] *( 1*blank word ) CR LF CR LF`
    fn begin(store: &Arc<Store>, head: &[u8], log: &mut RequestLog) -> Answer<Content> {
        let mut words = str::from_utf8(head).unwrap_or_default().split_whitespace();
        let (Some(verb), Some(name)) = (words.next(), words.next()) else {
            return Err(Refusal::NoReply("not a head of the sized dialect".to_owned()));
        };
        let name = name.rsplit('/').next().unwrap_or_default().as_bytes();
        match verb.to_ascii_uppercase().as_str() {
            "UPLOAD" => upload(store, name, words.next(), log),
            "GET" => get(store, name, log),
            _ => refuse("Unknown command"),
        }
    }

    fn take(&mut self, bytes: &mut &[u8]) -> Result<Progress, Refusal> {
        let count = (bytes.len() as u64).min(self.left);
        let (mut text, rest) = bytes.split_at(count as usize);
        *bytes = rest;
        self.left -= count;
        // The end mark of the canonical dialect is nothing but two empty lines here.
        while !text.is_empty() {
            self.body.mark = EndMark::default();
            self.body.take(&mut text).map_err(in_words)?;
        }
        self.body.flush().map_err(in_words)?;
        match self.left {
            0 => Ok(Progress::Complete),
            _ => Ok(Progress::More),
        }
    }

    /// … → `OK Upload complete`
    fn stored(self, _: &mut RequestLog) -> Result<Reply, Refusal> {
        // Only whole padding shows that the length was not too short.
        self.body.decoder.finish_padded().map_err(in_words)?;
        let (_, size) = self.body.finish().map_err(in_words)?;
        Ok(last_reply("OK Upload complete", size))
    }

    /// `ERROR <reason>`; the connection ends.
    fn error(reason: String) -> Reply {
        let known = reason.starts_with(FILE_ERROR).then_some(FILE_ERROR);
        let mut reply = last_reply(&format!("ERROR {}", known.unwrap_or(&reason)), 0);
        reply.failure = reason;
        reply
    }
}

/// `UPLOAD name length` → `OK Ready to receive`, then the text
fn upload(store: &Arc<Store>, name: &[u8], length: Option<&str>, log: &mut RequestLog) -> Answer<Content> {
    log.request("UPLOAD", name);
    let length = match length.map(str::parse::<i128>) {
        None => return refuse("No size provided for UPLOAD"),
        Some(Err(_)) => return refuse("Invalid size format"),
        Some(Ok(length)) => u64::try_from(length.max(0)).unwrap_or(u64::MAX),
    };
    let content = Content {
        body: Body::new(store.create(name).map_err(in_words)?),
        left: length,
    };
    let ready = Reply::words("OK Ready to receive\r\n\r\n");
    Ok((ready, Next::Content(Box::new(content))))
}

/// `GET name` → `OK length`, then the file as it is
fn get(store: &Arc<Store>, name: &[u8], log: &mut RequestLog) -> Answer<Content> {
    log.request("GET", name);
    let (file, about) = match store.read(name) {
        Err(Error::NotFound | Error::NotRegular | Error::InvalidName(_)) => return refuse("File not found"),
        other => other.map_err(in_words)?,
    };
    let reply = last_reply(&format!("OK {}", about.len()), about.len());
    match about.len() {
        0 => Ok((reply, Next::Head)),
        _ => Ok((reply, Next::File(file))),
    }
}

/// A reply after which, and after `bytes` of a file, the connection ends.
fn last_reply(words: &str, bytes: u64) -> Reply {
    let mut reply = Reply::words(format!("{words}\r\n\r\n"));
    (reply.bytes, reply.close) = (bytes, true);
    reply
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
