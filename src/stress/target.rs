//! # Chapter 13d. What may a test do to a server that is not ours?
//!
//! Use it, and leave it as it was. Before anything is sent, the server is asked how it works (STATS), so that
//! no row has a false label, and which files it has (LIST), so that none of them is overwritten. Every name
//! that the test may have stored there is remembered until it is certain that it is gone.
//!
//! ```text
//!   STATS ─► labels    LIST ─► names are free    rows: remember, UPLOAD …, DELETE    LIST ─► nothing is left
//! ```
//!
//! The invariant: only names of this run are sent with UPLOAD or DELETE, none of them was there before, and
//! one that remains is named to the user. A server that knows no STATS, LIST or DELETE can be tested all the
//! same; one that cannot be reached ends the test before a row.
//!
//! What must not live here: what the clients of a row do.
//!
//! Experiment: press Ctrl-C in the middle of an upload to a target, and list its folder.

use crate::cli::{Failure, MODES, failed};
use crate::client::{Client, Error};
use crate::json::Value;
use crate::stress::matrix::{MOST_SERVERS, Plan, Told};
use crate::stress::report::short_size;
use crate::stress::run_files::RunId;
use crate::stress::words::{Words, fill};
use crate::sys::Stop;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for the reply to a request that the server may not understand; a shorter `--timeout` counts.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The same after a Ctrl-C, when the user waits.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time in which files are removed after a row, and again at the end, with the LISTs that check it.
const CLEANING: Duration = Duration::from_secs(10);

/// How long a server may need to store what it has received after its client has gone.
const SETTLING: Duration = Duration::from_millis(200);

/// Most names in the line about files that are left.
const NAMED: usize = 3;

/// What the server says about itself. `None` in it: it does not know STATS.
///
/// # Errors
///
/// It cannot be reached, or it speaks HTTP: no row of it would say anything.
pub fn ask(address: SocketAddr, timeout: Duration, stop: Stop) -> Result<Told, Failure> {
    let why = |error| match error {
        Error::Interrupted => Failure::Interrupted,
        Error::Timeout => Failure::Failed(format!(
            "--target {address}: cannot connect: no answer for {timeout:?}"
        )),
        other => Failure::Failed(format!("--target {address}: {other}")),
    };
    match Client::connect(address, timeout, stop).map_err(why)?.stats() {
        Err(error @ (Error::Interrupted | Error::Http(_))) => Err(why(error)),
        // A server without STATS may reply with an error, close, or be silent.
        Err(_) => Ok(Told::default()),
        Ok(stats) => {
            let mode = stats.get("mode").and_then(Value::as_str);
            let mode = MODES.into_iter().find(|known| mode == Some(known));
            let workers = stats.get("workers").and_then(Value::as_u64);
            Ok(Told {
                mode,
                workers: workers.filter(|count| (1..=MOST_SERVERS).contains(count)),
            })
        }
    }
}

/// A server that is not ours, and what this run has stored on it.
pub struct Target {
    pub address: SocketAddr,
    run: RunId,
    words: &'static Words,
    /// For removing files, which goes on after a Ctrl-C.
    never_stop: Stop,
    /// Bytes of each file that was sent, arrived or not.
    sent: BTreeMap<String, u64>,
    /// Those of them that may still be there.
    there: BTreeSet<String>,
    /// Those that it has answered OK to DELETE for.
    deleted: BTreeSet<String>,
    /// Why a file could not be removed.
    refusal: Option<Error>,
}

impl Target {
    pub fn new(address: SocketAddr, run: RunId, words: &'static Words) -> io::Result<Target> {
        let (sent, there, deleted) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let never_stop = Stop::never()?;
        Ok(Target {
            address,
            run,
            words,
            never_stop,
            sent,
            there,
            deleted,
            refusal: None,
        })
    }

    /// Checks the server before anything is sent. Returns notes for the user.
    pub fn look(&self, plan: &Plan, stop: Stop) -> Result<Vec<String>, Failure> {
        let labels = plan.rows.first().filter(|_| plan.guessed);
        let labels = labels.map(|row| {
            let workers = self.words.workers(row.servers);
            fill(self.words.labelled, &[&row.mode, &workers])
        });
        Ok(labels.into_iter().chain(self.require_free(plan, stop)?).collect())
    }

    /// Makes sure that no file there has a name of this run. Returns what the user should know when LIST
    /// does not tell.
    fn require_free(&self, plan: &Plan, stop: Stop) -> Result<Option<String>, Failure> {
        let timeout = plan.timeout.min(REPLY_TIMEOUT);
        match Client::connect(self.address, timeout, stop).and_then(|mut client| client.list()) {
            Err(Error::Interrupted) => Err(Failure::Interrupted),
            Err(error) => Ok(Some(self.require_none(plan, timeout, stop, &error)?)),
            Ok(names) => match names.iter().find(|name| self.is_ours(name)) {
                None => Ok(None),
                Some(name) => self.taken(name),
            },
        }
    }

    fn taken<T>(&self, name: &str) -> Result<T, Failure> {
        let remedy = "and this run would use such names; run it again";
        failed(format!("{} has a file {name:?} already, {remedy}", self.address))
    }

    /// The same for a server that answers LIST with `error`: asks by GET for each name that will be sent.
    fn require_none(
        &self,
        plan: &Plan,
        timeout: Duration,
        stop: Stop,
        error: &Error,
    ) -> Result<String, Failure> {
        let clients = plan
            .rows
            .iter()
            .filter(|row| row.operation == "upload")
            .map(|row| row.clients);
        let uploads = (0..clients.max().unwrap_or(0) as usize).map(|index| self.run.upload(index));
        let names = plan
            .volumes()
            .into_iter()
            .map(|volume| self.run.source(volume))
            .chain(uploads);
        for name in names {
            // The content is not wanted: the connection closes at its first byte.
            let found = Client::connect(self.address, timeout, stop)
                .and_then(|mut client| client.download(&name, &mut Unwanted));
            match found {
                Ok(_) | Err(Error::Local(_)) => return self.taken(&name),
                Err(Error::Interrupted) => return Err(Failure::Interrupted),
                // The next file would wait as long, for nothing.
                Err(silent @ (Error::Refused(_) | Error::Timeout)) => {
                    return Ok(fill(self.words.not_seen, &[error, &silent]));
                }
                // Any answer but OK: it is not there, in words or by hanging up.
                Err(_) => {}
            }
        }
        Ok(fill(self.words.seen_by_get, &[error]))
    }

    /// Some servers turn names into lower case, which ours are, or into upper case.
    fn is_ours(&self, name: &str) -> bool {
        name.to_lowercase().starts_with(&self.run.prefix())
    }

    /// A file is about to be sent.
    pub fn will_store(&mut self, name: String, bytes: u64) {
        self.sent.insert(name.clone(), bytes);
        self.deleted.remove(&name);
        self.there.insert(name);
    }

    /// Removes what this run has stored, as far as the server allows. A Ctrl-C ends it; `leave` goes on.
    pub fn clean(&mut self, stop: Stop) {
        self.clean_by(Instant::now() + CLEANING, REPLY_TIMEOUT, stop);
    }

    fn clean_by(&mut self, deadline: Instant, timeout: Duration, stop: Stop) {
        self.refusal = None;
        let (mut client, address) = (None, self.address);
        for name in self.there.clone() {
            match delete(&mut client, || connect(address, deadline, timeout, stop), &name) {
                Ok(()) => {
                    self.there.remove(&name);
                    self.deleted.insert(name);
                }
                Err(Error::Interrupted) => return,
                Err(_) if Instant::now() >= deadline => return,
                // The next file would wait as long, for nothing.
                Err(error @ (Error::Refused(_) | Error::Timeout)) => return self.refusal = Some(error),
                Err(error) => {
                    if matches!(&error, Error::Server(reason) if is_missing(reason)) {
                        self.there.remove(&name);
                    }
                    // Kept for a missing one too: LIST may still show it.
                    self.refusal = Some(error);
                }
            }
        }
    }

    /// Removes, at the end of the run, all files that are still there. Returns the line about those that
    /// stay.
    pub fn leave(&mut self, interrupted: bool) -> Option<String> {
        self.leave_by(Instant::now() + CLEANING, interrupted)
    }

    fn leave_by(&mut self, deadline: Instant, interrupted: bool) -> Option<String> {
        let timeout = if interrupted { SHORT_TIMEOUT } else { REPLY_TIMEOUT };
        self.clean_by(deadline, timeout, self.never_stop);
        let unreachable = matches!(self.refusal, Some(Error::Refused(_) | Error::Timeout));
        if self.used() && !unreachable {
            if interrupted {
                thread::sleep(SETTLING);
            }
            // Files whose clients failed or went away may have been stored since they were deleted, and
            // those that could not be deleted may never have been stored.
            self.list(deadline, timeout);
            if !self.there.is_empty() {
                self.clean_by(deadline, timeout, self.never_stop);
                self.list(deadline, timeout);
            }
        }
        self.left()
    }

    /// Asks which files of this run are still there, if the server replies in time.
    fn list(&mut self, deadline: Instant, timeout: Duration) {
        let client = connect(self.address, deadline, timeout, self.never_stop);
        if let Ok(names) = client.and_then(|mut client| client.list()) {
            let names = names.into_iter().map(|name| name.to_lowercase());
            self.there = names.filter(|name| self.is_ours(name)).collect();
        }
    }

    /// Has anything been sent?
    pub fn used(&self) -> bool {
        !self.sent.is_empty()
    }

    /// The files that stay there, in one line.
    fn left(&self) -> Option<String> {
        let (count, words) = (self.there.len(), self.words);
        let still_listed = self.there.iter().any(|name| self.deleted.contains(name));
        let why = match &self.refusal {
            _ if still_listed => words.still_listed.to_owned(),
            Some(refusal) => refusal.to_string(),
            None => words.no_time.to_owned(),
        };
        let bytes = |name: &String| self.sent.get(name).copied().unwrap_or(0) as f64;
        let all = short_size(self.there.iter().map(bytes).sum());
        let named = self
            .there
            .iter()
            .take(NAMED)
            .map(|name| format!("{name} ({})", short_size(bytes(name))));
        let mut names = named.collect::<Vec<_>>().join(", ");
        if count > NAMED {
            names += &fill(words.and_more, &[&(count - NAMED)]);
        }
        if count > 1 {
            names += &fill(words.all_named, &[&self.run.prefix()]);
        }
        // Without a reply we do not know what the server has stored.
        let sure = still_listed || matches!(self.refusal, Some(Error::Server(_)));
        let stay = if sure {
            words.files_stay
        } else {
            words.files_may_stay
        };
        let stay = fill(stay[usize::from(count != 1)], &[&count, &self.address]);
        (count > 0).then(|| format!("{stay}, {all}: {names}; {why}"))
    }
}

/// A sink that ends a download at its first byte.
struct Unwanted;

impl Write for Unwanted {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("not wanted"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection on which no reply is waited for longer than `timeout`, and none after `deadline`.
fn connect(address: SocketAddr, deadline: Instant, timeout: Duration, stop: Stop) -> Result<Client, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Timeout);
    }
    let mut client = Client::connect(address, timeout.min(left), stop)?;
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

/// Does the reason of a server mean that there is no such file? In the words of kolam, of the C library, and
/// of Indonesian course work.
fn is_missing(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    ["not found", "no such file", "tidak ditemukan"]
        .iter()
        .any(|words| reason.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::words::ENGLISH;
    use std::net::TcpListener;

    #[test]
    fn what_stays_is_one_line_however_much_it_is() {
        let mut target = Target::new(([192, 0, 2, 1], 6666).into(), RunId::new(), &ENGLISH).unwrap();
        assert_eq!(target.left(), None);
        for index in 0..50 {
            target.will_store(target.run.upload(index), 1 << 20);
        }
        target.refusal = Some(Error::Server("request tidak dikenali".to_owned()));
        let line = target.left().unwrap();
        let first = format!(
            "50 files stay on 192.0.2.1:6666, 50.0 MiB: {} (1.00 MiB), ",
            target.run.upload(0)
        );
        assert!(line.starts_with(&first), "{line}");
        let rest = format!(" and 47 more, all named {}*; ", target.run.prefix());
        assert!(
            line.ends_with(&(rest + "the server says: request tidak dikenali")),
            "{line}"
        );
        target.there = [target.run.upload(7)].into();
        let alone = format!(
            "1 file stays on 192.0.2.1:6666, 1.00 MiB: {} (1.00 MiB); ",
            target.run.upload(7)
        );
        assert!(target.left().unwrap().starts_with(&alone));
        // It has said that it is gone, and shows it all the same.
        target.deleted = target.there.clone();
        target.refusal = None;
        assert_eq!(
            target.left(),
            Some(alone + "it has answered OK to DELETE but still lists them")
        );
    }

    #[test]
    fn a_server_that_sends_byte_by_byte_does_not_hold_the_end_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                // Blanks before a reply mean nothing, but each of them counts as progress.
                thread::spawn(move || {
                    while stream.write_all(b" ").is_ok() {
                        thread::sleep(Duration::from_millis(10));
                    }
                });
            }
        });
        for interrupted in [false, true] {
            let mut target = Target::new(address, RunId::new(), &ENGLISH).unwrap();
            (0..50).for_each(|index| target.will_store(target.run.upload(index), 1 << 20));
            let start = Instant::now();
            let line = target
                .leave_by(start + Duration::from_millis(300), interrupted)
                .unwrap();
            assert!(
                line.starts_with("50 files may stay") && line.ends_with("; no time was left"),
                "{line}"
            );
            assert!(start.elapsed() < SHORT_TIMEOUT, "{:?}", start.elapsed());
        }
    }
}
