//! What happened to each request? One line on stderr says so, written when the request ends, by the worker
//! that served it.

use super::slot::Shown;
use super::{Field, Scoreboard, WorkerStats, trace};
use crate::sys;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Lines that found no room on stderr, since the last that did.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Writes one line with the time in front: about the server itself, or about a request. When the log is not
/// read, lines are lost, and counted; the server does not wait.
pub fn log(text: &str) {
    let now = trace::stamp();
    let lost = LOST.swap(0, Relaxed);
    let mut line = format!("{now} {text}\n");
    if lost > 0 {
        line = format!("{now} lines lost because the log was not read: {lost}\n{line}");
    }
    if !sys::write_stderr(&line) {
        LOST.fetch_add(lost + 1, Relaxed);
    }
}

/// Bytes of a name that are logged, as long as a name can be. With all its escapes a line then stays below
/// PIPE_BUF (4096, pipe(7)), so that lines of different processes never mix.
const LOGGED_NAME: usize = 255;

/// Counts and logs the requests of one connection.
pub struct RequestLog {
    pub(super) stats: WorkerStats,
    /// The peer, as the log names it; `None`: nothing is logged.
    pub(super) peer: Option<SocketAddr>,
    pub(super) entry: Option<Entry>,
    /// For those who watch the pool.
    pub(super) shown: Option<Shown>,
}

/// A request that has begun.
pub(super) struct Entry {
    since: Instant,
    verb: &'static str,
    /// As it arrived: it may be hostile.
    name: String,
    /// The status of the reply, if the protocol has such numbers (HTTP) and there is a reply.
    status: Option<u16>,
}

impl RequestLog {
    pub fn new(stats: WorkerStats, peer: Option<SocketAddr>) -> RequestLog {
        trace::taken(&stats, peer);
        let (entry, shown) = (None, None);
        RequestLog {
            stats,
            peer,
            entry,
            shown,
        }
    }

    pub fn scoreboard(&self) -> &Scoreboard {
        &self.stats.scoreboard
    }

    /// The first byte of a request is here.
    pub fn begin(&mut self) {
        if self.entry.is_none() {
            self.stats.add(Field::Busy, 1);
            self.entry = Some(Entry {
                since: Instant::now(),
                verb: "-",
                name: String::new(),
                status: None,
            });
        }
    }

    /// The verb and the name are known.
    pub fn request(&mut self, verb: &'static str, name: &[u8]) {
        if let Some(entry) = &mut self.entry {
            entry.verb = verb;
            self.shown.iter_mut().for_each(|shown| shown.request(verb, name));
            // Only the log uses it.
            if self.peer.is_some() {
                entry.name = String::from_utf8_lossy(&name[..name.len().min(LOGGED_NAME)]).into_owned();
            }
        }
    }

    /// The status of the reply is known. Only `http` has such numbers.
    pub fn answered(&mut self, status: u16) {
        if let Some(entry) = &mut self.entry {
            entry.status = Some(status);
        }
    }

    /// The number of the worker, as the log shows it.
    pub(super) fn worker(&self) -> usize {
        self.stats.worker().unwrap_or_default()
    }

    /// The request is over; `bytes` of content were moved. `failure` is empty when all went well.
    pub fn end(&mut self, bytes: u64, failure: &str) {
        let Some(entry) = self.entry.take() else { return };
        let outcome = match failure {
            "" => Field::Served,
            _ => Field::Failed,
        };
        self.shown.iter_mut().for_each(Shown::end);
        self.stats.subtract(Field::Busy, 1);
        self.stats.add(outcome, 1);
        if let Some(peer) = self.peer {
            log(&entry.line(self.worker(), peer, bytes, failure));
        }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        self.end(0, "connection lost");
    }
}

impl Entry {
    /// `worker 3 127.0.0.1:50312 GET "a.bin" 1048576 bytes 1.250 ms OK`; with a status, `… ms 200 OK`
    fn line(&self, worker: usize, peer: SocketAddr, bytes: u64, failure: &str) -> String {
        let Entry { verb, name, .. } = self;
        let took = self.since.elapsed().as_secs_f64() * 1e3;
        // `{:?}` escapes quotes, line ends, control characters and everything else that could forge a line.
        let mut line = format!("worker {worker} {peer} {verb} {name:?} {bytes} bytes {took:.3} ms ");
        if let Some(status) = self.status {
            line += &format!("{status} ");
        }
        match failure {
            "" => line + "OK",
            failure => line + "ERROR " + failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_log(stats: WorkerStats) -> RequestLog {
        RequestLog::new(stats, None)
    }

    #[test]
    fn an_entry_is_closed_exactly_once() {
        let scoreboard = Scoreboard::new("thread", 2).unwrap();
        let stats = scoreboard.worker(1);
        let mut served = request_log(stats);
        served.begin();
        served.begin();
        assert_eq!(stats.get(Field::Busy), 1);
        served.end(5, "");
        served.end(5, "");
        drop(served);
        let mut lost = request_log(stats);
        lost.begin();
        drop(lost);
        drop(request_log(stats));
        let counts = [Field::Served, Field::Failed, Field::Busy].map(|field| stats.get(field));
        assert_eq!(counts, [1, 1, 0]);
        assert_eq!(scoreboard.total(Field::Served), 1);
    }

    #[test]
    fn the_dead_are_buried_with_their_requests() {
        let scoreboard = Scoreboard::new("process", 1).unwrap();
        let stats = scoreboard.worker(0);
        stats.set(Field::Pid, 77);
        let permit = stats.try_acquire(1).unwrap();
        std::mem::forget(permit);
        let mut killed = request_log(stats);
        killed.begin();
        std::mem::forget(killed);
        assert_eq!(scoreboard.alive(), 1);
        stats.record_exit();
        assert_eq!(
            (
                stats.get(Field::Failed),
                stats.get(Field::Permits),
                scoreboard.alive()
            ),
            (1, 0, 0)
        );
    }

    #[test]
    fn a_log_line_cannot_be_forged() {
        let name = String::from_utf8_lossy(b"a\r\n\x1b[2J\"\xff\xc2\x9b").into_owned();
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        let line = |status, failure| {
            let (since, name) = (Instant::now(), name.clone());
            let entry = Entry {
                since,
                verb: "GET",
                name,
                status,
            };
            entry.line(3, peer, 7, failure)
        };
        assert!(line(None, "").ends_with(" ms OK"));
        assert!(line(Some(200), "").ends_with(" ms 200 OK"));
        let line = line(None, "file not found");
        assert!(line.starts_with("worker 3 127.0.0.1:5 GET \"a\\r\\n"), "{line}");
        assert!(line.ends_with(" ms ERROR file not found"), "{line}");
        assert!(!line.contains(char::is_control), "{line}");
    }
}
