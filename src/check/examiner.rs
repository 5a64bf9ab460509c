//! What do all rules stand on? A name that is theirs alone, files that are stored and fetched, and a list
//! of what may be left on the server.

use crate::b64::{self, Decoder, Encoder};
use crate::check::probe::{LIST, Reply, Wire};
use crate::check::{Graded, Why};
use crate::sys::Pid;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at something that comes true soon.
const STEP: Duration = Duration::from_millis(10);

/// The tester of one server.
pub struct Examiner {
    pub wire: Wire,
    /// Whether a file of 100 MiB is part of it.
    pub big: bool,
    /// How long the server may bear a client that is silent, if that is to be tried.
    pub patience: Option<Duration>,
    /// The server's process on this machine and its peak of memory so far in KiB, if that is to be watched.
    pub memory: Option<(Pid, u64)>,
    /// How many workers the server has, as its user says; then, as it says itself once it has been asked.
    pub workers: Cell<Option<usize>>,
    /// How often a rule was tried again.
    pub retries: Cell<u32>,
    /// Names that were stored, or that a wrong server may have stored.
    made: RefCell<BTreeSet<String>>,
}

impl Examiner {
    pub fn new(wire: Wire) -> Examiner {
        Examiner {
            wire,
            big: false,
            patience: None,
            memory: None,
            workers: Cell::default(),
            retries: Cell::default(),
            made: RefCell::default(),
        }
    }

    /// A name that no other run, no earlier try and no person uses; it is deleted at the end.
    pub fn name(&self, what: &str) -> String {
        let mut name = format!("kolam-check-{}-{what}", process::id());
        // An upload that had no answer may still be carried out.
        if self.retries.get() > 0 {
            name += &format!("-{}", self.retries.get());
        }
        self.made(&name);
        name
    }

    /// A file of this name may be on the server now.
    pub fn made(&self, name: &str) {
        self.made.borrow_mut().insert(name.to_owned());
    }

    /// One request for a name, on a connection of its own.
    pub fn ask(&self, verb: &str, name: &str) -> Result<Reply, Why> {
        self.wire
            .once(format!("{verb} {}\r\n\r\n", quoted(name)).as_bytes())
    }

    /// Uploads; true when the server says OK.
    pub fn store(&self, name: &str, content: &[u8]) -> Graded {
        Ok(self.wire.once(&upload(name, &encode(content)))?.is_ok())
    }

    /// Downloads once.
    pub fn fetch(&self, name: &str) -> Result<Vec<u8>, Why> {
        content(&self.ask("GET", name)?)
    }

    /// The file on the server becomes `content`, at once or soon.
    pub fn becomes(&self, name: &str, content: &[u8]) -> bool {
        self.soon(|| Ok(self.fetch(name)? == content))
    }

    /// Uploads and downloads again, and compares.
    pub fn round_trip(&self, name: &str, content: &[u8]) -> Graded {
        Ok(self.store(name, content)? && self.becomes(name, content))
    }

    /// Whether LIST tells of a file of that name.
    pub fn lists(&self, name: &str) -> Graded {
        Ok(self.list()?.iter().any(|listed| listed == name))
    }

    /// Whether a file of that name can be had or is listed.
    pub fn exists(&self, name: &str) -> Graded {
        Ok(matches!(self.lists(name), Ok(true)) || !self.ask("GET", name)?.is_error())
    }

    /// The names that LIST tells.
    pub fn list(&self) -> Result<Vec<String>, Why> {
        let reply = self.wire.once(LIST)?;
        let names = reply.get("data").and_then(|data| {
            let names = data.as_array()?.iter();
            names.map(|name| name.as_str().map(str::to_owned)).collect()
        });
        names.ok_or(Why::Wrong)
    }

    /// Whether `condition` comes true: a server may need a moment to finish a file.
    pub fn soon(&self, mut condition: impl FnMut() -> Graded) -> bool {
        let begun = Instant::now();
        loop {
            match condition() {
                Ok(true) => return true,
                _ if begun.elapsed() > self.wire.limit() => break,
                _ => thread::sleep(STEP),
            }
        }
        self.wire.doubt.set(true);
        false
    }

    /// Deletes what was stored, and returns the names that are still there.
    pub fn clean_up(&self) -> Vec<String> {
        // A server that says nothing is not asked for what it cannot have.
        if self.made.borrow().is_empty() {
            return Vec::new();
        }
        self.wire.begin(true);
        for name in self.made.borrow().iter() {
            let _ = self.ask("DELETE", name);
        }
        // A wrong server may have stored them under other names: delete these, too.
        for name in self.ours() {
            let _ = self.wire.once(format!("DELETE {name}\r\n\r\n").as_bytes());
        }
        self.ours()
    }

    /// What LIST tells of our files; where there is no LIST, those that GET does not refuse.
    fn ours(&self) -> Vec<String> {
        let (ours, made) = (format!("kolam-check-{}-", process::id()), self.made.borrow());
        if let Ok(mut names) = self.list() {
            names.retain(|name| name.to_lowercase().contains(&ours) || made.contains(name));
            return names;
        }
        let refused = |name: &String| {
            let mut probe = self.wire.open()?;
            probe.send(format!("GET {}\r\n\r\n", quoted(name)).as_bytes());
            Ok::<_, Why>(probe.frame()?.windows(5).take(20).any(|word| word == b"ERROR"))
        };
        let mut names: Vec<String> = made.iter().cloned().collect();
        names.retain(|name| !matches!(refused(name), Ok(true)));
        names
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

/// The file in the reply to GET.
pub fn content(reply: &Reply) -> Result<Vec<u8>, Why> {
    decode(reply.text("data_file")?).ok_or(Why::Wrong)
}

/// The bytes of a text, padded or not; `None` when it is not base64.
fn decode(text: &str) -> Option<Vec<u8>> {
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
