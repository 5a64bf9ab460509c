//! # Chapter 11. What has been done, and who counted it?
//!
//! Every request is counted once and logged once, by the worker that served it. The counts of all workers lie
//! in one piece of memory that threads and forked processes share, so that any worker can answer STATS for
//! all of them, and a supervisor can correct the counts of a worker that died.
//!
//! ```text
//!   Scoreboard   row 0: the server  | pid | connections | served | failed | bytes in | bytes out | …
//!                row 1: worker 0    |  …  one row a worker, two cache lines each: no two workers write
//!                row 2: worker 1    |  …  to the same line
//!   RequestLog   one for each connection; opens an entry when a request begins and closes it when it ends
//! ```
//!
//! The invariant: an entry that was opened is closed exactly once, as served or as failed. A log that is
//! dropped with an open entry (a lost connection, a panic) closes it as failed; the entry of a process that
//! was killed is closed by its supervisor.
//!
//! What must not live here: what a verb means, or how STATS is written.
//!
//! before: `store.rs` … after: `client.rs`
//!
//! Experiment: set `ROW` to 9, so that neighbours share cache lines (false sharing), and measure again.

mod date; // seconds become dates

pub use date::{http_date, parse_http, utc, with_http_now};

use crate::sys;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

/// What is counted, in each row.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// Process of the worker, once it is ready to serve; 0 while there is none.
    Pid,
    /// Connections that were given a permit.
    Connections,
    /// Requests answered with OK, the whole reply handed to the kernel.
    Served,
    /// Requests that ended in any other way.
    Failed,
    /// Bytes read from sockets.
    BytesIn,
    /// Bytes written to sockets.
    BytesOut,
    /// Requests that have begun and not ended.
    Busy,
    /// Connections open now: each has a permit.
    Permits,
    /// Times that a dead worker was replaced.
    Restarts,
}

/// Counters a row: a multiple of 8, so that a row is a number of whole 64-byte cache lines.
const ROW: usize = 16;

/// The counts of a server. A copy is another view of the same memory.
#[derive(Clone, Copy)]
pub struct Scoreboard {
    /// How the server works, for STATS.
    pub mode: &'static str,
    /// Workers that there should be.
    pub workers: usize,
    cells: &'static [AtomicU64],
}

impl Scoreboard {
    /// Must be called before the first fork.
    pub fn new(mode: &'static str, workers: usize) -> io::Result<Scoreboard> {
        Ok(Scoreboard {
            mode,
            workers,
            cells: sys::shared_counters((workers + 1) * ROW)?,
        })
    }

    fn cell(&self, row: usize, field: Field) -> &'static AtomicU64 {
        &self.cells[row * ROW + field as usize]
    }

    /// The counters of worker `index`, counted from 0.
    pub fn worker(&self, index: usize) -> WorkerStats {
        WorkerStats {
            scoreboard: *self,
            row: index + 1,
        }
    }

    /// The counters of the server itself: of an accept loop in front of a pool.
    pub fn server(&self) -> WorkerStats {
        WorkerStats {
            scoreboard: *self,
            row: 0,
        }
    }

    /// The sum of `field` over the server and all workers.
    pub fn total(&self, field: Field) -> u64 {
        (0..=self.workers)
            .map(|row| self.cell(row, field).load(Relaxed))
            .sum()
    }

    /// `connections 3, requests 7, failed 1, bytes in 512, bytes out 1024`, of a server that has stopped.
    /// Requests that were still in hand count as failed.
    pub fn summary(&self) -> String {
        let total = |field| self.total(field);
        let (connections, served, busy) = (
            total(Field::Connections),
            total(Field::Served),
            total(Field::Busy),
        );
        let (bytes_in, bytes_out) = (total(Field::BytesIn), total(Field::BytesOut));
        let failed = total(Field::Failed) + busy;
        let requests = served + failed;
        format!(
            "connections {connections}, requests {requests}, failed {failed}, \
             bytes in {bytes_in}, bytes out {bytes_out}"
        )
    }

    /// Workers that are alive.
    pub fn alive(&self) -> usize {
        (0..self.workers)
            .filter(|&index| self.worker(index).get(Field::Pid) != 0)
            .count()
    }
}

/// One row of the scoreboard.
#[derive(Clone, Copy)]
pub struct WorkerStats {
    scoreboard: Scoreboard,
    row: usize,
}

impl WorkerStats {
    pub fn get(&self, field: Field) -> u64 {
        self.scoreboard.cell(self.row, field).load(Relaxed)
    }

    pub fn set(&self, field: Field, value: u64) {
        self.scoreboard.cell(self.row, field).store(value, Relaxed);
    }

    pub fn add(&self, field: Field, value: u64) {
        self.scoreboard.cell(self.row, field).fetch_add(value, Relaxed);
    }

    fn subtract(&self, field: Field, value: u64) {
        self.scoreboard.cell(self.row, field).fetch_sub(value, Relaxed);
    }

    /// A permit for one more connection; `None`: `limit` are open in the whole server.
    pub fn try_acquire(self, limit: u64) -> Option<Permit> {
        self.add(Field::Permits, 1);
        let permit = Permit(self);
        if self.scoreboard.total(Field::Permits) > limit {
            return None;
        }
        self.add(Field::Connections, 1);
        Some(permit)
    }

    /// Corrects the counts of a process that died: its unfinished requests have failed.
    pub fn record_exit(&self) {
        self.add(Field::Failed, self.get(Field::Busy));
        for field in [Field::Busy, Field::Permits, Field::Pid] {
            self.set(field, 0);
        }
    }
}

/// The permit of one open connection; given back when it is dropped.
pub struct Permit(WorkerStats);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.subtract(Field::Permits, 1);
    }
}

/// Bytes of a name that are logged, as long as a name can be. With all its escapes a line then stays below
/// PIPE_BUF (4096, pipe(7)), so that lines of different processes never mix.
const LOGGED_NAME: usize = 255;

/// Counts and logs the requests of one connection.
pub struct RequestLog {
    stats: WorkerStats,
    /// The peer, as the log names it; `None`: nothing is logged.
    logged: Option<SocketAddr>,
    entry: Option<Entry>,
}

/// A request that has begun.
struct Entry {
    since: Instant,
    verb: &'static str,
    /// As it arrived: it may be hostile.
    name: String,
    /// The status of the reply, if the protocol has such numbers (HTTP) and there is a reply.
    status: Option<u16>,
}

impl RequestLog {
    pub fn new(stats: WorkerStats, logged: Option<SocketAddr>) -> RequestLog {
        RequestLog {
            stats,
            logged,
            entry: None,
        }
    }

    pub fn scoreboard(&self) -> &Scoreboard {
        &self.stats.scoreboard
    }

    /// The first byte of a request is here.
    pub fn begin(&mut self) {
        if self.entry.is_none() {
            self.stats.add(Field::Busy, 1);
            let (since, verb, name) = (Instant::now(), "-", String::new());
            self.entry = Some(Entry {
                since,
                verb,
                name,
                status: None,
            });
        }
    }

    /// The verb and the name are known.
    pub fn request(&mut self, verb: &'static str, name: &[u8]) {
        if let Some(entry) = &mut self.entry {
            entry.verb = verb;
            // Only the log uses it.
            if self.logged.is_some() {
                entry.name = String::from_utf8_lossy(&name[..name.len().min(LOGGED_NAME)]).into_owned();
            }
        }
    }

    /// The status of the reply is known.
    pub fn answered(&mut self, status: u16) {
        if let Some(entry) = &mut self.entry {
            entry.status = Some(status);
        }
    }

    /// For a request that brings several files.
    pub fn files(&self) -> FileLog {
        FileLog {
            worker: self.worker(),
            peer: self.logged,
        }
    }

    /// The number of the worker, as the log shows it.
    fn worker(&self) -> usize {
        self.stats.row.saturating_sub(1)
    }

    /// The request is over; `bytes` of content were moved. `failure` is empty when all went well.
    pub fn end(&mut self, bytes: u64, failure: &str) {
        let Some(entry) = self.entry.take() else { return };
        self.stats.subtract(Field::Busy, 1);
        self.stats.add(
            if failure.is_empty() {
                Field::Served
            } else {
                Field::Failed
            },
            1,
        );
        if let Some(peer) = self.logged {
            let line = line(SystemTime::now(), self.worker(), peer, &entry, bytes, failure);
            // One write for the whole line. A closed stderr must not stop the server.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// The files of one request, a line each: a search for a name in the log finds it. They
/// are not counted.
#[derive(Default)]
pub struct FileLog {
    worker: usize,
    /// `None`: there is no log.
    peer: Option<SocketAddr>,
}

impl FileLog {
    /// `… worker 3 127.0.0.1:50312 FILE "a.bin" 1048576 bytes OK`; the line of the request follows later.
    pub fn stored(&self, name: &str, bytes: u64) {
        if let Some(peer) = self.peer {
            let (now, worker) = (utc(SystemTime::now()), self.worker);
            let line = format!("{now} worker {worker} {peer} FILE {name:?} {bytes} bytes OK\n");
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        self.end(0, "connection lost");
    }
}

/// `2026-11-21T06:07:08.009Z worker 3 127.0.0.1:50312 GET "a.bin" 1048576 bytes 1.250 ms OK`; with a status,
/// `… 1.250 ms 200 OK`
fn line(
    now: SystemTime,
    worker: usize,
    peer: SocketAddr,
    entry: &Entry,
    bytes: u64,
    failure: &str,
) -> String {
    let Entry {
        verb,
        name,
        since,
        status,
    } = entry;
    let took = since.elapsed().as_secs_f64() * 1e3;
    let status = status.map_or(String::new(), |status| format!("{status} "));
    let result = if failure.is_empty() {
        "OK".to_owned()
    } else {
        format!("ERROR {failure}")
    };
    // `{:?}` escapes quotes, line ends, control characters and everything else that could forge a line.
    format!(
        "{} worker {worker} {peer} {verb} {name:?} {bytes} bytes {took:.3} ms {status}{result}\n",
        utc(now)
    )
}

/// Keeps a repeated line from filling the log: once a second in each process.
pub struct RateLimiter {
    started: Instant,
    /// When it was last due, in seconds since `started`, counted from 1; 0: never.
    last: AtomicU64,
}

impl RateLimiter {
    pub fn new() -> RateLimiter {
        RateLimiter {
            started: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Is it time for the line?
    pub fn is_due(&self) -> bool {
        let second = self.started.elapsed().as_secs() + 1;
        self.last.swap(second, Relaxed) != second
    }
}

/// A line about the server itself on stderr, with the time in front.
pub fn log(text: &str) {
    let _ = io::stderr().write_all(format!("{} {text}\n", utc(SystemTime::now())).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

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
    fn seats_are_limited_and_come_back() {
        let scoreboard = Scoreboard::new("thread", 1).unwrap();
        let first = scoreboard.server().try_acquire(2);
        let second = scoreboard.worker(0).try_acquire(2);
        assert!(first.is_some() && second.is_some());
        assert!(scoreboard.server().try_acquire(2).is_none());
        drop(first);
        assert!(scoreboard.server().try_acquire(2).is_some());
    }

    #[test]
    fn a_log_line_cannot_be_forged() {
        let name = String::from_utf8_lossy(b"a\r\n\x1b[2J\"\xff\xc2\x9b").into_owned();
        let mut entry = Entry {
            since: Instant::now(),
            verb: "GET",
            name,
            status: None,
        };
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        assert!(line(UNIX_EPOCH, 3, peer, &entry, 7, "").ends_with(" ms OK\n"));
        entry.status = Some(200);
        assert!(line(UNIX_EPOCH, 3, peer, &entry, 7, "").ends_with(" ms 200 OK\n"));
        entry.status = None;
        let line = line(UNIX_EPOCH, 3, peer, &entry, 7, "file not found");
        assert!(
            line.starts_with("1970-01-01T00:00:00.000Z worker 3 127.0.0.1:5 GET \"a\\r\\n"),
            "{line}"
        );
        assert!(line.ends_with(" ms ERROR file not found\n"), "{line}");
        assert_eq!(line.matches(|c: char| c.is_control()).count(), 1, "{line}");
    }
}
