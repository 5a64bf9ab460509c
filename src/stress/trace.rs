//! When did each client connect, and move its first and last byte? With `--trace` each notes it in memory
//! that forked clients share, by the clock that the server's log begins its lines with. Without it, one empty
//! slice is looked at for each piece of a file, and nothing else.

use crate::cli::{Args, Failure, Opt, opt, usage};
use crate::client::Client;
use crate::stress::matrix::{Matrix, Plan, Row};
use crate::stress::report::Outcome;
use crate::stress::run_files::RunFiles;
use crate::stress::trace_file::worker_of;
use crate::stress::words::{Language, Text};
use crate::sys;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("--trace", "", "record when each client connects, is taken by a worker and is served: trace.csv"),
    opt("--timeline", "", "four modes, 50 clients, one of them slow, one worker killed: timeline.html"),
];

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    Nothing,
    /// Each row as it is.
    Rows,
    /// Rows with a slow client, and in process mode with a worker that is killed.
    Scene,
}

/// What runs in the scene: few enough workers that clients wait, and files that no buffer between server and
/// client can hold.
pub const SCENE: Matrix = ["single,thread,process,event", "download", "10", "50", "4"];

const PLANNED: Text = [
    "one client of each row is slow; in process mode a worker is killed, and the client that it serves fails",
    "satu client di tiap baris lambat; pada mode process satu worker dimatikan, dan client yang \
     dilayaninya gagal",
];

/// What the slow client rests after each piece that it moves: one of 10 MiB takes more than a second.
const REST: Duration = Duration::from_millis(20);

impl Trace {
    pub fn from(args: &Args) -> Result<Trace, Failure> {
        let (option, trace) = match (args.has("--timeline"), args.has("--trace")) {
            (true, _) => ("--timeline", Trace::Scene),
            (false, true) => ("--trace", Trace::Rows),
            (false, false) => return Ok(Trace::Nothing),
        };
        let others = ["--target", "--launch", "--as-server"];
        match others.iter().find(|other| args.has(other)) {
            None => Ok(trace),
            Some(other) => usage(format!(
                "{option}: the log of a server of our own on this machine tells which worker took whom; \
                 leave out {other}"
            )),
        }
    }

    /// As one could type it, after a blank.
    pub fn option(self) -> &'static str {
        match self {
            Trace::Nothing => "",
            Trace::Rows => " --trace",
            Trace::Scene => " --timeline",
        }
    }

    /// What the user is told before the rows.
    pub fn note(self, language: Language) -> Option<String> {
        (self == Trace::Scene).then(|| language.of(PLANNED).to_owned())
    }

    /// Did no more clients fail than the scene has killed workers: one in each row of process mode?
    pub fn went_as_planned(self, done: &[Outcome]) -> bool {
        let fine = |outcome: &Outcome| {
            let killed = u64::from(outcome.row.mode == "process");
            outcome.failed() <= killed && outcome.server_trouble.is_none()
        };
        self == Trace::Scene && done.iter().all(fine)
    }
}

/// What a client notes, in this order; times in nanoseconds of the shared clock, 0: it did not happen.
pub const PORT: usize = 0;
pub const CONNECTED: usize = 1;
pub const FIRST: usize = 2;
pub const LAST: usize = 3;
pub const PART: usize = 4;
pub const MARKS: usize = 5;

/// The part of a client in the scene.
pub const SLOW: u64 = 1;
const DOOMED: u64 = 2;

/// What is recorded of the running row.
pub struct Tracer {
    /// Stderr of the server; its file has no name.
    pub log: File,
    /// `MARKS` for each client, the first client first.
    pub marks: &'static [AtomicU64],
    /// Clients that have moved a byte.
    begun: &'static AtomicU64,
    /// Which of these, counted from 1, is slow, and which loses its worker; 0: none.
    slow: &'static AtomicU64,
    doomed: &'static AtomicU64,
    scene: bool,
}

/// Counts what the clients of a row move, and notes when.
#[derive(Clone, Copy)]
pub struct Progress {
    /// Bytes of all together, shared with forked clients.
    moved: &'static AtomicU64,
    pub tracer: Option<&'static Tracer>,
    /// Those of one client; empty: nothing is noted.
    marks: &'static [AtomicU64],
}

impl Progress {
    /// Counts only.
    pub fn new() -> io::Result<Progress> {
        Ok(Progress {
            moved: &sys::shared_counters(1)?[0],
            tracer: None,
            marks: &[],
        })
    }

    /// Notes as well, if the plan says so.
    pub fn of(plan: &Plan, files: &RunFiles) -> io::Result<Progress> {
        let progress = Progress::new()?;
        if plan.trace == Trace::Nothing {
            return Ok(progress);
        }
        // The name of no client's upload; it is gone at once, and the file with its last descriptor.
        let path = files.path.join(files.run.upload(usize::MAX));
        let log = File::options()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        let clients = plan.rows.iter().map(|row| row.clients).max().unwrap_or(0) as usize;
        let cells = sys::shared_counters(3 + clients * MARKS)?;
        // For the rest of the program, like the shared memory.
        let tracer = Box::leak(Box::new(Tracer {
            log,
            marks: &cells[3..],
            begun: &cells[0],
            slow: &cells[1],
            doomed: &cells[2],
            scene: plan.trace == Trace::Scene,
        }));
        Ok(Progress {
            tracer: Some(tracer),
            ..progress
        })
    }

    /// How the server of `row` logs. A row begins: nothing of the one before it is left.
    pub fn log_of(self, row: &Row, server: &mut Command) -> io::Result<()> {
        let Some(tracer) = self.tracer else {
            server.arg("--quiet");
            return Ok(());
        };
        tracer.log.set_len(0)?;
        tracer.marks.iter().for_each(|mark| mark.store(0, Relaxed));
        tracer.begun.store(0, Relaxed);
        if tracer.scene {
            // The fifth and the fifteenth of fifty: most of the others are still to come.
            let doomed = (row.clients * 3 / 10).max(2) * u64::from(row.mode == "process");
            tracer.slow.store((row.clients / 10).max(1), Relaxed);
            tracer.doomed.store(doomed, Relaxed);
        }
        server.arg("--trace").stderr(tracer.log.try_clone()?);
        Ok(())
    }

    /// Counts from 0 again.
    pub fn reset(self) {
        self.moved.store(0, Relaxed);
    }

    pub fn bytes(self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// For client `index`, which is connected.
    pub fn client(self, index: usize, client: &mut Client) -> Progress {
        let Some(tracer) = self.tracer else { return self };
        let marks = &tracer.marks[index * MARKS..][..MARKS];
        marks[CONNECTED].store(now(), Relaxed);
        marks[PORT].store(client.port().into(), Relaxed);
        Progress { marks, ..self }
    }

    /// These bytes have arrived, or are about to be sent.
    pub fn add(self, bytes: u64) {
        self.moved.fetch_add(bytes, Relaxed);
        if let (Some(tracer), false) = (self.tracer, self.marks.is_empty()) {
            tracer.note(self.marks);
        }
    }
}

fn now() -> u64 {
    sys::monotonic().as_nanos() as u64
}

impl Tracer {
    /// A client has moved some bytes.
    fn note(&self, marks: &[AtomicU64]) {
        let first = marks[LAST].swap(now(), Relaxed) == 0;
        if first {
            marks[FIRST].store(marks[LAST].load(Relaxed), Relaxed);
        }
        if self.scene {
            if first {
                marks[PART].store(self.part(), Relaxed);
            }
            self.play(marks);
        }
    }

    /// The part of the client that has moved a byte just now.
    fn part(&self) -> u64 {
        match self.begun.fetch_add(1, Relaxed) + 1 {
            number if number == self.slow.load(Relaxed) => SLOW,
            number if number == self.doomed.load(Relaxed) => DOOMED,
            _ => 0,
        }
    }

    /// The slow client rests; the doomed one kills its worker, once the log says which that is.
    fn play(&self, marks: &[AtomicU64]) {
        match marks[PART].load(Relaxed) {
            SLOW => thread::sleep(REST),
            DOOMED => {
                if let Some(worker) = worker_of(&self.text(), marks[PORT].load(Relaxed)) {
                    marks[PART].store(0, Relaxed);
                    let _ = sys::kill(worker, sys::SIGKILL);
                }
            }
            _ => {}
        }
    }

    /// The log of the server so far.
    pub fn text(&self) -> String {
        let length = self.log.metadata().map_or(0, |about| about.len());
        let mut bytes = vec![0; length as usize];
        match self.log.read_exact_at(&mut bytes, 0) {
            Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        }
    }
}
