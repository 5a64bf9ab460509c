//! What may a test do to a server that is not ours? Use it, and leave it as it was. It is asked how it works
//! (STATS), so that no row has a false label, and which files it has (LIST). Only names of this run are sent
//! with UPLOAD or DELETE, none of them was there before, and one that remains is named to the user. A server
//! that knows no STATS, LIST or DELETE can be tested all the same.

use crate::cli::{Failure, MODES, failed};
use crate::client::{Client, Error};
use crate::json::Value;
use crate::stress::Tester;
use crate::stress::live::print;
use crate::stress::matrix::{MOST_SERVERS, Plan, Told};
use crate::stress::report::short_size;
use crate::stress::run_files::RunId;
use crate::stress::run_folder::state;
use crate::stress::words::{self, Language, fill};
use crate::sys::Stop;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for the reply to a request that the server may not understand; a shorter `--timeout` counts.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The same after a Ctrl-C, when the user waits.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time in which files are removed after a row, and again at the end, with the LISTs that check it.
pub const CLEANING: Duration = Duration::from_secs(10);

/// How long a server may need to store what it has received after its client has gone.
const SETTLING: Duration = Duration::from_millis(200);

/// Most names in the line about files that are left.
const NAMED: usize = 3;

/// What the server says about itself. `None` in it: it does not know STATS.
///
/// # Errors
///
/// It cannot be reached, or it speaks another protocol or dialect: no row of it would say anything.
pub fn ask(address: SocketAddr, timeout: Duration, stop: Stop) -> Result<Told, Failure> {
    let why = |error| match error {
        Error::Interrupted => Failure::Interrupted,
        Error::Timeout => Failure::Failed(format!(
            "--target {address}: cannot connect: no answer for {timeout:?}"
        )),
        other => Failure::Failed(format!("--target {address}: {other}")),
    };
    match Client::connect(address, timeout, stop).map_err(why)?.stats() {
        Err(error @ (Error::Interrupted | Error::Stranger(_))) => Err(why(error)),
        // A server without STATS may reply with an error, close, or be silent.
        Err(_) => Ok(Told::default()),
        Ok(stats) => {
            let mode = stats.get("mode").and_then(Value::as_str);
            let mode = MODES.into_iter().find(|known| mode == Some(known));
            let workers = stats.get("workers").and_then(Value::as_u64);
            Ok(Told {
                mode,
                workers: workers.filter(|count| (1..=MOST_SERVERS).contains(count)),
                at_once: None,
            })
        }
    }
}

/// A file that this run has sent, arrived or not.
struct Sent {
    bytes: u64,
    /// It may still be there.
    there: bool,
    /// The server has answered OK to its DELETE.
    deleted: bool,
}

/// A server that is not ours, and what this run has stored on it.
pub struct Target {
    pub address: SocketAddr,
    run: RunId,
    language: Language,
    /// For removing files, which goes on after a Ctrl-C.
    never_stop: Stop,
    /// By name.
    files: BTreeMap<String, Sent>,
    /// Why a file could not be removed.
    refusal: Option<Error>,
}

/// How long removing files may take: no reply is waited for longer than `timeout`, none after `deadline`,
/// and none after `stop`.
struct Cleaning {
    deadline: Instant,
    timeout: Duration,
    stop: Stop,
}

impl Cleaning {
    fn connect(&self, address: SocketAddr) -> Result<Client, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout);
        }
        let mut client = Client::connect(address, self.timeout.min(left), self.stop)?;
        client.end_by(self.deadline);
        Ok(client)
    }
}

impl Target {
    pub fn new(address: SocketAddr, run: RunId, language: Language) -> io::Result<Target> {
        Ok(Target {
            address,
            run,
            language,
            never_stop: Stop::never()?,
            files: BTreeMap::new(),
            refusal: None,
        })
    }

    /// Checks the server before anything is sent: no file there may have a name of this run. Returns notes
    /// for the user.
    pub fn look(&self, plan: &Plan, stop: Stop) -> Result<Vec<String>, Failure> {
        let mut notes = Vec::new();
        if plan.guessed {
            let row = &plan.rows[0];
            let workers = self.language.workers(row.servers);
            notes.push(self.language.fill(words::LABELLED, &[&row.mode, &workers]));
        }
        let timeout = plan.timeout.min(REPLY_TIMEOUT);
        match Client::connect(self.address, timeout, stop).and_then(|mut client| client.list()) {
            Err(Error::Interrupted) => return Err(Failure::Interrupted),
            Err(error) => notes.push(self.ask_for_each(plan, timeout, stop, &error)?),
            Ok(names) => {
                // Some servers turn names into lower case, which ours are, or into upper case.
                let prefix = self.run.prefix();
                if let Some(name) = names.iter().find(|name| name.to_lowercase().starts_with(&prefix)) {
                    return self.taken(name);
                }
            }
        }
        Ok(notes)
    }

    fn taken<T>(&self, name: &str) -> Result<T, Failure> {
        let remedy = "and this run would use such names; run it again";
        failed(format!("{} has a file {name:?} already, {remedy}", self.address))
    }

    /// The same for a server that answers LIST with `error`: asks by GET for each name that will be sent.
    fn ask_for_each(
        &self,
        plan: &Plan,
        timeout: Duration,
        stop: Stop,
        error: &Error,
    ) -> Result<String, Failure> {
        let most = plan.uploads().map(|row| row.clients).max().unwrap_or(0);
        let uploads = (0..most as usize).map(|index| self.run.upload(index));
        let sources = plan.volumes.iter().map(|&volume| self.run.source(volume));
        for name in sources.chain(uploads) {
            // The content is not wanted: a sink without room ends the download at its first byte.
            let mut no_room: &mut [u8] = &mut [];
            let found = Client::connect(self.address, timeout, stop)
                .and_then(|mut client| client.download(&name, &mut no_room));
            match found {
                Ok(_) | Err(Error::Local(_)) => return self.taken(&name),
                Err(Error::Interrupted) => return Err(Failure::Interrupted),
                // The next file would wait as long, for nothing.
                Err(silent @ (Error::Refused(_) | Error::Timeout)) => {
                    return Ok(self.language.fill(words::NOT_SEEN, &[error, &silent]));
                }
                // Any answer but OK: it is not there, in words or by hanging up.
                Err(_) => {}
            }
        }
        Ok(self.language.fill(words::SEEN_BY_GET, &[error]))
    }

    /// A file is about to be sent.
    pub fn will_store(&mut self, name: String, bytes: u64) {
        let sent = Sent {
            bytes,
            there: true,
            deleted: false,
        };
        self.files.insert(name, sent);
    }

    /// Has anything been sent?
    pub fn used(&self) -> bool {
        !self.files.is_empty()
    }

    /// Removes what this run has stored, as far as the server allows. A Ctrl-C ends it; `leave` goes on.
    pub fn clean(&mut self, stop: Stop) {
        self.delete_all(&Cleaning {
            deadline: Instant::now() + CLEANING,
            timeout: REPLY_TIMEOUT,
            stop,
        });
    }

    /// Sends a DELETE for each file that may be there.
    fn delete_all(&mut self, cleaning: &Cleaning) {
        self.refusal = None;
        for (name, file) in self.files.iter_mut().filter(|(_, file)| file.there) {
            let client = cleaning.connect(self.address);
            match client.and_then(|mut client| client.delete(name)) {
                Ok(()) => (file.there, file.deleted) = (false, true),
                Err(Error::Interrupted) => return,
                Err(_) if Instant::now() >= cleaning.deadline => return,
                // The next file would wait as long, for nothing.
                Err(error @ (Error::Refused(_) | Error::Timeout)) => return self.refusal = Some(error),
                Err(error) => {
                    file.there = !matches!(&error, Error::Server(reason) if is_missing(reason));
                    // Kept for a missing one too: LIST may still show it.
                    self.refusal = Some(error);
                }
            }
        }
    }

    /// Asks which files are still there, if the server replies in time.
    fn list(&mut self, cleaning: &Cleaning) {
        let client = cleaning.connect(self.address);
        let names = client.and_then(|mut client| client.list());
        let Ok(names) = names else { return };
        let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        for (name, file) in &mut self.files {
            file.there = names.contains(name);
        }
    }

    /// Removes, at the end of the run and within `limit`, all files that are still there. Returns the line
    /// about those that stay.
    pub fn leave(&mut self, limit: Duration, interrupted: bool) -> Option<String> {
        let cleaning = Cleaning {
            deadline: Instant::now() + limit,
            timeout: if interrupted { SHORT_TIMEOUT } else { REPLY_TIMEOUT },
            stop: self.never_stop,
        };
        // Twice: a file whose client failed or went away may have been stored after its DELETE, and one that
        // could not be deleted may never have been stored. LIST tells.
        for _ in 0..2 {
            self.delete_all(&cleaning);
            if matches!(self.refusal, Some(Error::Refused(_) | Error::Timeout)) {
                break;
            }
            if interrupted {
                thread::sleep(SETTLING);
            }
            self.list(&cleaning);
            if !self.files.values().any(|file| file.there) {
                break;
            }
        }
        self.left()
    }

    /// The files that stay there, in one line.
    fn left(&self) -> Option<String> {
        let language = self.language;
        let there: Vec<(&String, &Sent)> = self.files.iter().filter(|(_, file)| file.there).collect();
        let still_listed = there.iter().any(|(_, file)| file.deleted);
        let why = match &self.refusal {
            _ if still_listed => language.of(words::STILL_LISTED).to_owned(),
            Some(refusal) => refusal.to_string(),
            None => language.of(words::NO_TIME).to_owned(),
        };
        // Without a reply we do not know what the server has stored.
        let stay = match self.refusal {
            _ if still_listed => words::FILES_STAY,
            Some(Error::Server(_)) => words::FILES_STAY,
            _ => words::FILES_MAY_STAY,
        };
        let stay = language.counted(there.len() as u64, stay);
        let stay = fill(stay, &[&there.len(), &self.address]);
        let size = |bytes: u64| short_size(bytes as f64);
        let all = size(there.iter().map(|(_, file)| file.bytes).sum());
        let sized = |(name, file): &(&String, &Sent)| format!("{name} ({})", size(file.bytes));
        let mut names = there.iter().take(NAMED).map(sized).collect::<Vec<_>>().join(", ");
        if there.len() > NAMED {
            names += &language.fill(words::AND_MORE, &[&(there.len() - NAMED)]);
        }
        if there.len() > 1 {
            names += &language.fill(words::ALL_NAMED, &[&self.run.prefix()]);
        }
        (!there.is_empty()).then(|| format!("{stay}, {all}: {names}; {why}"))
    }
}

impl Tester<'_> {
    /// Removes what is still on a target. Returns the line about what stays.
    pub(super) fn leave(&mut self, ran: &Result<(), Failure>, stop: Stop) -> String {
        let language = self.plan.language;
        let Some(target) = self.fixture.target.as_mut().filter(|target| target.used()) else {
            return String::new();
        };
        // If a second Ctrl-C or a kill ends the cleaning, this state remains.
        let _ = self.results.ended(&state(ran, true));
        if stop.requested() {
            // The files are removed even if the line cannot be printed.
            let _ = print(&language.line(words::NOTE, &language.of(words::REMOVING)));
        }
        let left = target.leave(CLEANING, stop.requested());
        left.map_or(String::new(), |left| language.line(words::LEFT, &left))
    }
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
    use crate::stress::words::Language::English;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn what_stays_is_one_line_however_much_it_is() {
        let mut target = Target::new(([192, 0, 2, 1], 6666).into(), RunId::new(), English).unwrap();
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
        let one = target.run.upload(7);
        target
            .files
            .iter_mut()
            .for_each(|(name, file)| file.there = *name == one);
        let alone = format!(
            "1 file stays on 192.0.2.1:6666, 1.00 MiB: {} (1.00 MiB); ",
            target.run.upload(7)
        );
        assert!(target.left().unwrap().starts_with(&alone));
        // It has said that it is gone, and shows it all the same.
        target.files.values_mut().for_each(|file| file.deleted = true);
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
            let mut target = Target::new(address, RunId::new(), English).unwrap();
            (0..50).for_each(|index| target.will_store(target.run.upload(index), 1 << 20));
            let start = Instant::now();
            let line = target.leave(Duration::from_millis(300), interrupted).unwrap();
            assert!(
                line.starts_with("50 files may stay") && line.ends_with("; no time was left"),
                "{line}"
            );
            assert!(start.elapsed() < SHORT_TIMEOUT, "{:?}", start.elapsed());
        }
    }
}
