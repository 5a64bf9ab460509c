//! A promise is written once and holds in every case: in each mode and protocol that its test names. The
//! lists stand here alone, so a mode or a protocol comes or goes with one line each.

use super::http::{self, Http};
use super::{Folder, Server, Wire, got, refused, upload};
use std::fmt;
use std::sync::Mutex;
use std::thread;

/// All modes of the server.
pub const MODES: &[&str] = &["single", "thread", "process", "event"];

/// Modes with as many workers as they are told.
pub const POOLS: &[&str] = &["thread", "process", "event"];

/// Modes in which a worker serves one connection at a time.
pub const BLOCKING: &[&str] = &["single", "thread", "process"];

/// What the clients of the stress test may be made of: threads or processes.
pub const CLIENTS: &[&str] = &["thread", "process"];

/// All protocols of the server.
pub const PROTOCOLS: &[&str] = &["file", "http"];

pub const FILE: &[&str] = &["file"];
pub const HTTP: &[&str] = &["http"];

/// All commands.
pub const COMMANDS: &[&str] = &[
    "serve",
    "list",
    "download",
    "upload",
    "delete",
    "stats",
    "stress",
    "merge",
    "balance",
    "bench",
    "check",
    "report",
    "compare",
    "top",
    "completions",
    "man",
];

/// A mode and a protocol.
#[derive(Clone, Copy)]
pub struct Case {
    pub mode: &'static str,
    pub protocol: &'static str,
}

impl Case {
    /// Starts a quiet server of `folder`; its options are cut at blanks.
    pub fn serve(self, folder: &Folder, workers: usize, options: &str) -> Server {
        let options = format!("--quiet --protocol {} {options}", self.protocol);
        Server::launch(self.mode, workers, folder.path(), &options)
    }

    /// The same, with a log on stderr.
    pub fn serve_with_log(self, folder: &Folder, workers: usize, options: &str) -> Server {
        let options = format!("--protocol {} {options}", self.protocol);
        Server::launch(self.mode, workers, folder.path(), &options)
    }
}

/// Requests of either protocol, and what is answered to them.
impl Case {
    pub fn is_http(self) -> bool {
        self.protocol == "http"
    }

    pub fn get(self, name: &str) -> Vec<u8> {
        match self.is_http() {
            true => http::get(&format!("/{name}")).into(),
            false => format!("GET {name}\n").into(),
        }
    }

    pub fn delete(self, name: &str) -> Vec<u8> {
        match self.is_http() {
            true => http::ask("DELETE", &format!("/{name}")).into(),
            false => format!("DELETE {name}\n").into(),
        }
    }

    /// Every form of an upload.
    pub fn puts(self, name: &str, content: &[u8]) -> Vec<Vec<u8>> {
        let target = format!("/{name}");
        match self.is_http() {
            true => vec![
                http::put(&target, content),
                http::put_chunked(&target, content, &[777]),
            ],
            false => vec![upload(name, content)],
        }
    }

    /// What a good answer to a GET holds.
    pub fn got(self, name: &str, content: &str) -> String {
        match self.is_http() {
            true => content.to_owned(),
            false => got(name, content.as_bytes()),
        }
    }

    /// The next answer: what a good one holds, or the reason of a refusal, which HTTP begins with a status.
    #[track_caller]
    pub fn answer(self, peer: &mut Http, request: &[u8]) -> Result<String, String> {
        if self.is_http() {
            let reply = peer.reply(http::method(request));
            // These are the last words on a connection, unless the peer is asked to come again.
            let last = [408, 503].contains(&reply.status) && reply.header("Retry-After").is_none();
            assert!(!last || reply.closes(), "{reply:?}");
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            return if reply.status < 400 {
                Ok(text)
            } else {
                Err(format!("{} {text}", reply.status))
            };
        }
        let reply = Wire::reply(peer);
        match reply.strip_prefix(&refused("")) {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(reply),
        }
    }

    #[track_caller]
    pub fn ask(self, peer: &mut Http, request: &[u8]) -> Result<String, String> {
        peer.send(request);
        self.answer(peer, request)
    }

    /// A refusal for this reason; over HTTP, of this status.
    #[track_caller]
    pub fn assert_refused(self, answer: Result<String, String>, status: u16, reason: &str) {
        let reason = if self.is_http() {
            format!("{status} {reason}")
        } else {
            reason.to_owned()
        };
        assert!(
            matches!(&answer, Err(why) if why.starts_with(&reason)),
            "{answer:?} and not {reason}"
        );
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mode, {} protocol", self.mode, self.protocol)
    }
}

type Names<'n> = &'n [&'static str];

/// All pairs of these.
fn cases(modes: Names, protocols: Names) -> Vec<Case> {
    let pairs = |protocol: &&'static str| modes.iter().map(|mode| (*mode, *protocol)).collect::<Vec<_>>();
    let pairs = protocols.iter().flat_map(pairs);
    pairs.map(|(mode, protocol)| Case { mode, protocol }).collect()
}

/// A thread of a case bears its name, which every panic in it begins with.
fn named(case: Case) -> thread::Builder {
    thread::Builder::new().name(case.to_string())
}

/// Tries a promise in one case after another, each with an empty folder of its own.
#[track_caller]
pub fn each_case(modes: Names, protocols: Names, mut test: impl FnMut(Case, &Folder) + Send) {
    let mut failed = cases(modes, protocols);
    failed.retain(|&case| {
        let test = || test(case, &Folder::new());
        thread::scope(|scope| named(case).spawn_scoped(scope, test).unwrap().join()).is_err()
    });
    report(&failed);
}

/// The same in all cases at once: for a test that mostly waits.
#[track_caller]
pub fn each_case_at_once(modes: Names, protocols: Names, test: impl Fn(Case, &Folder) + Sync) {
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for case in cases(modes, protocols) {
            let (test, failed) = (&test, &failed);
            let thread = named(case)
                .spawn_scoped(scope, move || test(case, &Folder::new()))
                .unwrap();
            scope.spawn(move || thread.join().map_err(|_| failed.lock().unwrap().push(case)));
        }
    });
    report(&failed.into_inner().unwrap());
}

#[track_caller]
fn report(failed: &[Case]) {
    let names: Vec<String> = failed.iter().map(Case::to_string).collect();
    assert!(failed.is_empty(), "it fails in {}", names.join("; "));
}
