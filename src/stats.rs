//! # Chapter 11. What has been done, and who counted it?
//!
//! Every request is counted once and logged once, by the worker that served it. The counts of all workers lie
//! in one piece of memory that threads and forked processes share, so that any worker can answer STATS for
//! all of them, and a supervisor can correct the counts of a worker that died.
//!
//! ```text
//!   Scoreboard   row 0: the server  | pid | connections | served | failed | bytes in | bytes out | …
//!                row 1: worker 0    |  …  two cache lines a row: no two workers write to
//!                row 2: worker 1    |  …  the same line
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
//! Experiment:
//! edit: a log that is dropped forgets the request that was open
//! run: cargo test --locked --bin kolam stats::
//! see: an_entry_is_closed_exactly_once ... FAILED

mod date; // seconds become dates
mod log; // one line a request
mod trace; // and one when its worker took it (for the timeline)
mod slot; // what each worker does now
mod snapshot; // all of it at one moment
mod file_log; // the files of a form (for the volume `http`)
mod renewal; // two processes of one worker
mod summary; // at the end, with wrong tokens

pub use crate::sys::RateLimiter;
pub use date::{Date, days_from_civil, utc};
pub use file_log::FileLog;
pub use log::{RequestLog, log};
pub use trace::begin_trace;

use crate::sys;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// Tokens that were wrong; only for `access`.
    Refused,
    /// Workers that died and were, or will be, replaced.
    Restarts,
    /// In row 0 only, for `snapshot`: microseconds from 1970 to the start; descriptor; 1 if not for all.
    Started,
    Listener,
    Private,
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
    /// Must be called before the first fork. A worker has two rows: see `stats/renewal.rs`.
    pub fn new(mode: &'static str, workers: usize) -> io::Result<Scoreboard> {
        let cells = sys::shared_counters((2 * workers + 1) * (ROW + slot::SLOT))?;
        Ok(Scoreboard { mode, workers, cells }.begin())
    }

    fn row(&self, row: usize) -> WorkerStats {
        let scoreboard = *self;
        WorkerStats { scoreboard, row }
    }

    /// The counters of the server itself: of an accept loop in front of a pool.
    pub fn server(&self) -> WorkerStats {
        self.row(0)
    }

    /// The first row of worker `index`, counted from 0; `of_worker` adds the second.
    pub fn worker(&self, index: usize) -> WorkerStats {
        self.row(index + 1)
    }

    /// The sum of `field` over the server and all workers.
    pub fn total(&self, field: Field) -> u64 {
        (0..=2 * self.workers).map(|row| self.row(row).get(field)).sum()
    }

    /// Workers that are alive; while one takes the place of another, both.
    pub fn alive(&self) -> usize {
        let alive = |&row: &usize| self.row(row).get(Field::Pid) != 0;
        (1..=2 * self.workers).filter(alive).count()
    }
}

/// One row of the scoreboard.
#[derive(Clone, Copy)]
pub struct WorkerStats {
    scoreboard: Scoreboard,
    row: usize,
}

impl WorkerStats {
    fn cell(&self, field: Field) -> &AtomicU64 {
        &self.scoreboard.cells[self.row * ROW + field as usize]
    }

    pub fn get(&self, field: Field) -> u64 {
        self.cell(field).load(Relaxed)
    }

    pub fn set(&self, field: Field, value: u64) {
        self.cell(field).store(value, Relaxed);
    }

    pub fn add(&self, field: Field, value: u64) {
        self.cell(field).fetch_add(value, Relaxed);
    }

    fn subtract(&self, field: Field, value: u64) {
        self.cell(field).fetch_sub(value, Relaxed);
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
        self.clear_slot();
    }
}

/// The permit of one open connection; given back when it is dropped.
pub struct Permit(WorkerStats);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.subtract(Field::Permits, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
