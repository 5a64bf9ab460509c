//! # Chapter 14d. What may a test do to a server that is not ours?
//!
//! Use it, and leave it as it was. Before anything is sent, the server is asked how it works (STATS), so that
//! no row bears a false label, and which files it has (LIST), so that none of them is written over. Every
//! name that the test may have stored there is remembered until it is certain that it is gone.
//!
//! ```text
//!   STATS ─► labels    LIST ─► names are free    rows: remember, UPLOAD …, DELETE    LIST ─► nothing is left
//! ```
//!
//! The invariant: only names of this run are sent with UPLOAD or DELETE, none of them was there before, and
//! one that stays is named to the user. A server that knows no STATS, LIST or DELETE can be tested all the
//! same; one that cannot be reached ends the test before a row.
//!
//! What must not live here: what the clients of a row do.
//!
//! before: `stress/fixture.rs` … after: `stress/run_files.rs`
//!
//! Experiment: press Ctrl-C in the middle of an upload to a target, and list its folder.

use crate::cli::{Failure, MODES, failed};
use crate::client::{Client, Error};
use crate::json::Value;
use crate::stress::matrix::{MOST_SERVERS, Plan, Row, Told};
use crate::stress::report::human;
use crate::stress::run_files::RunId;
use crate::sys::Stop;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for an answer to a question that the server may not understand.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same when the user has pressed Ctrl-C and waits.
const HURRY: Duration = Duration::from_secs(2);

/// Longest time in which files are removed after a row, and once more at the end; the questions which of them
/// are still there are in it.
const CLEANING: Duration = Duration::from_secs(10);

/// How long a server may need to store what it had received when its client went away.
const SETTLING: Duration = Duration::from_millis(200);

/// Names in the one line about what is left.
const NAMED: usize = 3;

/// What the server tells of itself. `None` in it: it does not, since it does not know STATS.
///
/// # Errors
///
/// It cannot be reached, or it speaks HTTP: no row of it would say anything.
pub fn ask(address: SocketAddr, stop: Stop) -> Result<Told, Failure> {
    let why = |error| match error {
        Error::Interrupted => Failure::Interrupted,
        Error::Timeout => {
            Failure::Failed(format!("--target {address}: cannot connect: no answer for {PATIENCE:?}"))
        }
        other => Failure::Failed(format!("--target {address}: {other}")),
    };
    match Client::connect(address, PATIENCE, stop).map_err(why)?.stats() {
        Err(error @ (Error::Interrupted | Error::Http(_))) => Err(why(error)),
        // Some servers say that they do not know STATS, some hang up, some are silent.
        Err(_) => Ok(Told::default()),
        Ok(stats) => {
            let mode = stats.get("mode").and_then(Value::as_str);
            let mode = MODES.into_iter().find(|known| mode == Some(known));
            let workers = stats.get("workers").and_then(Value::as_u64);
            Ok(Told { mode, workers: workers.filter(|count| (1..=MOST_SERVERS).contains(count)) })
        }
    }
}

/// A server that is not ours, and what this run has stored on it.
pub struct Target {
    pub address: SocketAddr,
    run: RunId,
    /// What has to be removed is removed after a Ctrl-C too.
    never_stop: Stop,
    /// Bytes of each file that was ever sent, whether or not it arrived.
    sent: BTreeMap<String, u64>,
    /// Those of them that may still be there.
    there: BTreeSet<String>,
    /// Why a file could not be removed.
    refusal: Option<Error>,
}

impl Target {
    pub fn new(address: SocketAddr, run: RunId) -> io::Result<Target> {
        let (sent, there) = (BTreeMap::new(), BTreeSet::new());
        Ok(Target { address, run, never_stop: Stop::never()?, sent, there, refusal: None })
    }

    /// Looks at the server before anything is sent. Returns what the user should know.
    pub fn look(&self, plan: &Plan, stop: Stop) -> Result<Vec<String>, Failure> {
        let labels = plan.rows.first().filter(|_| plan.guessed).map(|row| {
            let Row { mode, servers, .. } = row;
            format!("the target does not tell: rows say {mode} mode, --servers {servers}")
        });
        Ok(labels.into_iter().chain(self.require_free(stop)?).collect())
    }

    /// Makes sure that no file there has a name of this run. Returns what the user should know when that
    /// cannot be seen.
    fn require_free(&self, stop: Stop) -> Result<Option<String>, Failure> {
        match Client::connect(self.address, PATIENCE, stop).and_then(|mut client| client.list()) {
            Err(Error::Interrupted) => Err(Failure::Interrupted),
            Err(error) => Ok(Some(format!("cannot see whether names are free there, LIST: {error}"))),
            Ok(names) => match names.iter().find(|name| self.is_ours(name)) {
                None => Ok(None),
                Some(name) => failed(format!(
                    "{} has a file {name:?} already, and this run would use such names; run it again",
                    self.address
                )),
            },
        }
    }

    /// Some servers fold names to lower case, in which ours are written anyway, or to upper case.
    fn is_ours(&self, name: &str) -> bool {
        name.to_lowercase().starts_with(&self.run.prefix())
    }

    /// A file is about to be sent.
    pub fn will_store(&mut self, name: String, bytes: u64) {
        self.sent.insert(name.clone(), bytes);
        self.there.insert(name);
    }

    /// Removes what this run has stored, as far as the server allows. A Ctrl-C ends it; `leave` goes on.
    pub fn clean(&mut self, stop: Stop) {
        self.clean_by(Instant::now() + CLEANING, PATIENCE, stop);
    }

    fn clean_by(&mut self, deadline: Instant, patience: Duration, stop: Stop) {
        self.refusal = None;
        let (mut client, address) = (None, self.address);
        for name in self.there.clone() {
            match delete(&mut client, || connect(address, deadline, patience, stop), &name) {
                Ok(()) => drop(self.there.remove(&name)),
                Err(Error::Interrupted) => return,
                Err(_) if Instant::now() >= deadline => return,
                // The next would wait as long, and in vain.
                Err(error @ (Error::Refused(_) | Error::Timeout)) => return self.refusal = Some(error),
                Err(Error::Server(reason)) if is_missing(&reason) => drop(self.there.remove(&name)),
                Err(error) => self.refusal = Some(error),
            }
        }
    }

    /// Removes, at the end of the run, what is still there. Returns the line about what stays.
    pub fn leave(&mut self, interrupted: bool) -> Option<String> {
        self.leave_by(Instant::now() + CLEANING, interrupted)
    }

    fn leave_by(&mut self, deadline: Instant, interrupted: bool) -> Option<String> {
        let patience = if interrupted { HURRY } else { PATIENCE };
        self.clean_by(deadline, patience, self.never_stop);
        let unreachable = matches!(self.refusal, Some(Error::Refused(_) | Error::Timeout));
        if self.used() && !unreachable {
            if interrupted {
                thread::sleep(SETTLING);
            }
            // Files whose clients failed or went away may have been stored since they were deleted, and
            // those that could not be deleted may never have been stored.
            self.list(deadline, patience);
            if !self.there.is_empty() {
                self.clean_by(deadline, patience, self.never_stop);
                self.list(deadline, patience);
            }
        }
        self.left()
    }

    /// Looks which files of this run are there, if the server tells in time.
    fn list(&mut self, deadline: Instant, patience: Duration) {
        let client = connect(self.address, deadline, patience, self.never_stop);
        if let Ok(names) = client.and_then(|mut client| client.list()) {
            let names = names.into_iter().map(|name| name.to_lowercase());
            self.there = names.filter(|name| self.is_ours(name)).collect();
        }
    }

    /// Has anything been sent?
    pub fn used(&self) -> bool {
        !self.sent.is_empty()
    }

    /// What stays there, in one line.
    fn left(&self) -> Option<String> {
        let count = self.there.len();
        let why = self.refusal.as_ref().map_or("no time was left".to_owned(), Error::to_string);
        let bytes = |name: &String| self.sent.get(name).copied().unwrap_or(0) as f64;
        let all = human(self.there.iter().map(bytes).sum());
        let named = self.there.iter().take(NAMED).map(|name| format!("{name} ({})", human(bytes(name))));
        let mut names = named.collect::<Vec<_>>().join(", ");
        if count > NAMED {
            names += &format!(" and {} more", count - NAMED);
        }
        // A server that does not answer does not tell what it has stored.
        let sure = matches!(self.refusal, Some(Error::Server(_)));
        let files = match (count, sure) {
            (1, true) => "file stays",
            (1, false) => "file may stay",
            (_, true) => "files stay",
            (_, false) => "files may stay",
        };
        (count > 0).then(|| format!("{count} {files} on {}, {all}: {names}; {why}", self.address))
    }
}

/// A connection on which no answer is waited for longer than `patience`, and none after `deadline`.
fn connect(address: SocketAddr, deadline: Instant, patience: Duration, stop: Stop) -> Result<Client, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Timeout);
    }
    let mut client = Client::connect(address, patience.min(left), stop)?;
    client.end_by(deadline);
    Ok(client)
}

/// DELETE on the connection that is open, or, when the server has closed it, on a new one.
fn delete(
    open: &mut Option<Client>,
    connect: impl Fn() -> Result<Client, Error>,
    name: &str,
) -> Result<(), Error> {
    if let Some(client) = open {
        match client.delete(name) {
            Err(Error::Reset(_) | Error::Short(_)) => {}
            other => return other,
        }
    }
    open.insert(connect()?).delete(name)
}

/// Does the reason of a server say that there is no such file? In the words of kolam, of the C library, and
/// of Indonesian course work.
fn is_missing(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    ["not found", "no such file", "tidak ditemukan"].iter().any(|words| reason.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn what_stays_is_one_line_however_much_it_is() {
        let mut target = Target::new(([192, 0, 2, 1], 6666).into(), RunId::new()).unwrap();
        assert_eq!(target.left(), None);
        for index in 0..50 {
            target.will_store(target.run.upload(index), 1 << 20);
        }
        target.refusal = Some(Error::Server("request tidak dikenali".to_owned()));
        let line = target.left().unwrap();
        let first =
            format!("50 files stay on 192.0.2.1:6666, 50.0 MiB: {} (1.00 MiB), ", target.run.upload(0));
        assert!(line.starts_with(&first), "{line}");
        assert!(line.ends_with(" and 47 more; the server says: request tidak dikenali"), "{line}");
    }

    #[test]
    fn a_server_that_sends_byte_by_byte_does_not_hold_the_end_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                // Blanks before a reply mean nothing, and each of them is a sign of life.
                thread::spawn(move || {
                    while stream.write_all(b" ").is_ok() {
                        thread::sleep(Duration::from_millis(10));
                    }
                });
            }
        });
        for interrupted in [false, true] {
            let mut target = Target::new(address, RunId::new()).unwrap();
            (0..50).for_each(|index| target.will_store(target.run.upload(index), 1 << 20));
            let start = Instant::now();
            let line = target.leave_by(start + Duration::from_millis(300), interrupted).unwrap();
            assert!(line.starts_with("50 files may stay") && line.ends_with("; no time was left"), "{line}");
            assert!(start.elapsed() < HURRY, "{:?}", start.elapsed());
        }
    }
}
