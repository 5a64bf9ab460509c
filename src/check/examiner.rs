//! What do all rules stand on? A name that is theirs alone, files that are stored and fetched, and a list
//! of what may be left on the server.

use crate::b64::{self, Decoder, Encoder};
use crate::check::probe::{LIST, Wire, is_error, is_ok};
use crate::json::Value;
use std::collections::BTreeSet;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

/// A server may need a moment until what it did shows: to notice that a client has gone, to finish a file.
const SOON: Duration = Duration::from_secs(1);

/// The tester of one server.
pub struct Examiner {
    pub wire: Wire,
    /// Whether a file of 100 MiB is part of it.
    pub big: bool,
    /// The server's process on this machine and its peak of memory so far in KiB, if that is to be watched.
    pub memory: Option<(u32, u64)>,
    /// Names that were stored, or that a wrong server may have stored.
    made: BTreeSet<String>,
}

impl Examiner {
    pub fn new(wire: Wire, big: bool, memory: Option<(u32, u64)>) -> Examiner {
        Examiner {
            wire,
            big,
            memory,
            made: BTreeSet::new(),
        }
    }

    /// A name that no other run and no person uses; it is deleted at the end.
    pub fn name(&mut self, what: &str) -> String {
        let name = format!("kolam-check-{}-{what}", process::id());
        self.made.insert(name.clone());
        name
    }

    /// One request for a name, on a connection of its own.
    pub fn ask(&mut self, verb: &str, name: &str) -> Option<Value> {
        self.wire
            .once(format!("{verb} {}\r\n\r\n", quoted(name)).as_bytes())
    }

    /// Uploads; true when the server says OK.
    pub fn store(&mut self, name: &str, content: &[u8]) -> bool {
        let reply = self.wire.once(&upload(name, &encode(content)));
        is_ok(reply.as_ref())
    }

    /// Downloads once.
    pub fn fetch(&mut self, name: &str) -> Option<Vec<u8>> {
        let reply = self.ask("GET", name)?;
        decode(reply.get("data_file")?.as_str()?)
    }

    /// The file on the server becomes `content`, at once or soon.
    pub fn becomes(&mut self, name: &str, content: &[u8]) -> bool {
        let limit = self.wire.timeout;
        self.within(limit, |examiner| examiner.fetch(name).as_deref() == Some(content))
    }

    /// Uploads and downloads again, and compares.
    pub fn round_trip(&mut self, name: &str, content: &[u8]) -> bool {
        self.store(name, content) && self.becomes(name, content)
    }

    /// Whether a file of that name can be had or is listed.
    pub fn exists(&mut self, name: &str) -> bool {
        let listed = self
            .list()
            .is_some_and(|names| names.iter().any(|listed| listed == name));
        listed || !is_error(self.ask("GET", name).as_ref())
    }

    /// The names that LIST tells.
    pub fn list(&mut self) -> Option<Vec<String>> {
        let reply = self.wire.once(LIST)?;
        let names = reply.get("data")?.as_array()?.iter();
        names.map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// What STATS says under `key`.
    pub fn stats(&mut self, key: &str) -> Option<u64> {
        self.wire.once(b"STATS\r\n\r\n")?.get("data")?.get(key)?.as_u64()
    }

    /// Whether `condition` comes true within `SOON`.
    pub fn soon(&mut self, condition: impl FnMut(&mut Examiner) -> bool) -> bool {
        self.within(SOON, condition)
    }

    fn within(&mut self, limit: Duration, mut condition: impl FnMut(&mut Examiner) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if condition(self) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Deletes what was stored, and returns the names that are still there.
    pub fn clean_up(&mut self) -> Vec<String> {
        for name in self.made.clone() {
            self.ask("DELETE", &name);
        }
        // A wrong server may have stored them under other names: delete these, too.
        for name in self.ours() {
            self.wire.once(format!("DELETE {name}\r\n\r\n").as_bytes());
        }
        self.ours()
    }

    /// What LIST tells of our files; all of them when it tells nothing.
    fn ours(&mut self) -> Vec<String> {
        let ours = format!("kolam-check-{}-", process::id());
        let names = self.list().unwrap_or_else(|| self.made.iter().cloned().collect());
        names
            .into_iter()
            .filter(|name| name.to_lowercase().contains(&ours))
            .collect()
    }
}

/// A name as a request has it: in quotes only when it needs them.
pub fn quoted(name: &str) -> String {
    if name.contains([' ', '"', '\\']) {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        name.to_owned()
    }
}

/// UPLOAD name base64 END
pub fn upload(name: &str, text: &str) -> Vec<u8> {
    format!("UPLOAD {} {text}\r\n\r\n", quoted(name)).into_bytes()
}

pub fn encode(content: &[u8]) -> String {
    let mut text = vec![0; b64::encoded_len(content.len() + 2)];
    let mut encoder = Encoder::new();
    let mut length = encoder.encode(content, &mut text);
    length += encoder.finish(&mut text[length..]);
    text.truncate(length);
    String::from_utf8_lossy(&text).into_owned()
}

/// The bytes of a text, padded or not; `None` when it is not base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut content = vec![0; b64::decoded_room(text.len())];
    let mut decoder = Decoder::new();
    let step = decoder.decode(text.as_bytes(), &mut content);
    if step.read < text.len() {
        return None;
    }
    let mut length = step.wrote;
    length += decoder.finish(&mut content[length..]).ok()?;
    content.truncate(length);
    Some(content)
}

/// Bytes in which each value occurs, and no two neighbouring kilobytes are the same.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}
