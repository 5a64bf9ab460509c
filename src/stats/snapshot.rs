//! What does the whole pool look like at this moment? One JSON object: the totals, and for each worker what
//! it has done and what it does. STATS answers with it, and so does `/_pool`; a client that wants
//! rates asks twice.

use super::slot::{micros, queued};
use super::{Field, Scoreboard, WorkerStats, utc};
use crate::json::Writer;
use crate::sys::{self, Pid};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process;
use std::time::{Duration, UNIX_EPOCH};

/// Most workers whose memory is looked up for one picture, twice: each look costs some 30 microseconds.
const MEASURED: usize = 64;

impl Scoreboard {
    /// Its server is this process, and begins now.
    pub fn begin(self) -> Scoreboard {
        self.server().set(Field::Started, micros());
        self.server().set(Field::Pid, process::id().into());
        self
    }

    /// `listener`: where its connections wait; `private`: names and peers are not for all who can connect.
    pub fn describe(&self, listener: BorrowedFd, private: bool) {
        self.server().set(Field::Listener, listener.as_raw_fd() as u64);
        self.server().set(Field::Private, private.into());
    }

    /// Is it a secret what the workers do, and for whom?
    pub fn is_private(&self) -> bool {
        self.server().get(Field::Private) != 0
    }

    /// The object, for the row `asked`, which answers with it; `None`: it is told outside of the pool, to
    /// those who may see all of it.
    pub fn write(&self, asked: Option<usize>, w: &mut Writer) {
        let (served, failed) = (self.total(Field::Served), self.total(Field::Failed));
        w.open(b'{');
        w.pair("mode", self.mode);
        for (key, count) in [
            ("workers", self.workers as u64),
            ("alive", self.alive() as u64),
            ("restarts", self.total(Field::Restarts)),
            ("connections", self.total(Field::Connections)),
            ("requests", served + failed),
            ("failed", failed),
            ("bytes_in", self.total(Field::BytesIn)),
            ("bytes_out", self.total(Field::BytesOut)),
        ] {
            pair(w, key, count);
        }
        // A server without a token, which is the usual one, has none to tell of.
        let refused = self.total(Field::Refused);
        if refused > 0 {
            pair(w, "refused_tokens", refused);
        }
        w.key("per_worker");
        w.open(b'[');
        for index in 0..self.workers {
            w.open(b'{');
            for (key, field) in [("served", Field::Served), ("failed", Field::Failed)] {
                pair(w, key, self.of_worker(index, field));
            }
            w.close(b'}');
        }
        w.close(b']');
        self.write_now(asked, w);
        w.close(b'}');
    }

    /// What other servers with STATS do not tell.
    fn write_now(&self, asked: Option<usize>, w: &mut Writer) {
        let (server, now) = (self.server(), micros());
        let started = server.get(Field::Started);
        pair(w, "pid", server.get(Field::Pid));
        w.pair("started", &utc(UNIX_EPOCH + Duration::from_micros(started)));
        seconds(w, "uptime", now.saturating_sub(started));
        let waiting = sys::backlog(server.get(Field::Listener)).unwrap_or(0);
        pair(w, "queue", queued(self) + waiting);
        pair(w, "memory", self.memory());
        w.key("now");
        w.open(b'[');
        let whole = asked.is_none() || !self.is_private();
        for index in 0..self.workers {
            let stats = self.shown_row(index);
            self.write_worker(&stats, asked == Some(stats.row), whole, w);
        }
        w.close(b']');
    }

    /// While a process takes the place of another, the worker is the one that is busy.
    fn shown_row(&self, index: usize) -> WorkerStats {
        let rows = [self.row(index + 1 + self.workers), self.worker(index)];
        let [other, first] = rows.map(|row| (row.get(Field::Pid) != 0, row.get(Field::Busy) > 0));
        rows[usize::from(first >= other)]
    }

    /// One worker. `answers`: this request is one of its own, and not what it is asked about; `whole`: with
    /// names and peers.
    fn write_worker(&self, stats: &WorkerStats, answers: bool, whole: bool, w: &mut Writer) {
        let pid = stats.get(Field::Pid);
        let doing = stats.doing().filter(|_| pid != 0);
        let runs = doing.as_ref().is_some_and(|doing| doing.runs);
        let open = doing.as_ref().map_or(0, |doing| doing.connections);
        let others = |count: u64| count.saturating_sub(answers.into());
        let (requests, open) = (
            others(stats.get(Field::Busy)),
            others(open.max(stats.get(Field::Permits))),
        );
        w.open(b'{');
        pair(w, "pid", pid);
        w.pair(
            "state",
            match () {
                () if pid == 0 => "gone",
                () if requests > 0 => "busy",
                () if answers => "answers",
                () if open > 0 => "waits",
                () => "idle",
            },
        );
        pair(w, "connections", open);
        pair(w, "requests", requests);
        if self.mode == "process" && self.workers <= MEASURED {
            pair(w, "memory", resident(pid));
        }
        // Of several connections in turn, the last that wrote need not be one that is still open.
        let own = open > 0 && self.mode != "event" && !answers;
        if let Some(doing) = doing.filter(|_| whole && (runs || own)) {
            if runs {
                w.pair("verb", &doing.verb);
                w.pair("name", &doing.name);
                pair(w, "bytes", doing.bytes);
                pair(w, "total", doing.total);
            }
            w.pair("peer", &doing.peer.to_string());
            seconds(w, "seconds", micros().saturating_sub(doing.since));
        }
        w.close(b'}');
    }

    /// Bytes that the server's processes hold for themselves, without the program's file. Workers after the
    /// first `MEASURED` are left out, and so are those that retire.
    fn memory(&self) -> u64 {
        let rows = (0..self.workers.min(MEASURED)).map(|index| self.shown_row(index).get(Field::Pid));
        let mut pids: Vec<u64> = rows.chain([self.server().get(Field::Pid)]).collect();
        pids.sort_unstable();
        pids.dedup();
        pids.into_iter().map(resident).sum()
    }
}

/// 0 when there is no such process any more.
fn resident(pid: u64) -> u64 {
    sys::private_memory(pid as Pid).map_or(0, |kib| kib << 10)
}

fn pair(w: &mut Writer, key: &str, count: u64) {
    w.key(key);
    w.number(count);
}

fn seconds(w: &mut Writer, key: &str, micros: u64) {
    w.key(key);
    w.number(format_args!("{}.{:06}", micros / 1_000_000, micros % 1_000_000));
}
