//! # Chapter 13. Which pool is faster, and how would we know?
//!
//! By running every combination and checking every byte. A row is one operation, one volume, a number of
//! clients and a number of server workers. For each row the tester starts a server of its own, waits until it
//! is ready, lets all clients start at once, stops the clock, asks the server what it counted, compares what
//! was uploaded with what should have been, and writes one line.
//!
//! ```text
//!   rows ──► start server ──► run clients ──► STATS ──► verify, clean up ──► stop server ──► CSV line
//!                             └─ the clock ─┘
//! ```
//!
//! The invariant: a row is written when it is done and never before; killing the tester loses the row that
//! runs and leaves no server running.
//!
//! What must not live here: which rows there are (`stress/matrix.rs`), the clients (`stress/clients.rs`),
//! server and files (`stress/fixture.rs`), where results go (`stress/run_folder.rs`), what is shown meanwhile
//! (`stress/live.rs`) and at the end (`stress/report.rs`).
//!
//! before: `client.rs` … after: `cli.rs`
//!
//! Experiment: run `make stress-quick`, then run it again with `taskset -c 0` and explain the difference.

mod matrix; // which rows there are
mod clients; // all start at once
mod fixture; // files and server of a row
mod machine; // what was measured on
mod run_folder; // where results go
mod live; // progress for the user
mod run_files; // what a run may remove
mod target; // a server that is not ours
mod report; // tables and findings
mod words; // the texts in two languages

use crate::cli::{Args, Command, Failure, failed};
use crate::sys::{self, Listen, Stop};
use clients::Records;
use fixture::{Fixture, Server};
use live::{ProgressLine, print};
use matrix::{OPTIONS, Plan, Row, Told};
use report::Outcome;
use run_folder::{MadeFolder, RunFolder, cannot};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use words::{Words, fill};

pub static STRESS: Command = Command {
    name: "stress",
    words: &[],
    about: "run all combinations, check every byte, write the tables",
    options: &[OPTIONS],
    run,
};

fn run(args: &Args) -> Result<(), Failure> {
    // Mistakes in the options are reported before a target is asked.
    let plan = Plan::from(args, &Told::default())?;
    if args.has("--dry-run") {
        return print(&live::dry_run(&plan));
    }
    run_folder::check(&plan)?;
    let stop = Stop::listen(Listen::Stop).or_else(|error| failed(format!("no signals: {error}")))?;
    let plan = match plan.target {
        Some(address) => {
            let timeout = plan.timeout.min(target::REPLY_TIMEOUT);
            // Said before it is asked: a server that accepts and is silent looks like a test that hangs.
            let asked = fill(plan.words.how_it_works, &[&address, &timeout.as_secs_f64()]);
            print(&report::line(plan.words.asking, &asked))?;
            Plan::from(args, &target::ask(address, timeout, stop)?)?
        }
        None => plan,
    };
    // Dropped last: folders with files in them by then are kept.
    let _out = MadeFolder::make("--out", args.has("--out"), &plan.out)?;
    let _root = MadeFolder::make("--root", args.has("--root"), &plan.root)?;
    require_space(&plan)?;
    // When this fails, clients that get no descriptor count as failed.
    let _ = sys::raise_descriptor_limit();
    print(&live::announcement(&plan))?;
    let fixture =
        Fixture::new(&plan, stop).map_err(|error| cannot("prepare files in", &plan.root, &error))?;
    let notes = fixture
        .target
        .as_ref()
        .map_or(Ok(Vec::new()), |target| target.look(&plan, stop))?;
    let forecast = live::forecast(&plan, fixture.making);
    let (results, note) = RunFolder::make(&plan)?;
    print(&(report::line(plan.words.results, &results.path.display().to_string()) + &forecast))?;
    for note in notes.into_iter().chain(note) {
        print(&report::line(plan.words.note, &note))?;
    }
    Tester {
        plan: &plan,
        fixture,
        results,
        progress_line: ProgressLine::new(&plan),
        done: Vec::new(),
    }
    .run(stop)
}

/// Checks whether the largest row fits on the disk.
fn require_space(plan: &Plan) -> Result<(), Failure> {
    let free = sys::free_space(&plan.root).map_err(|error| cannot("look at", &plan.root, &error))?;
    if let Some(missing) = plan.space().checked_sub(free).filter(|&missing| missing > 0) {
        let (missing, root) = (report::short_size(missing as f64), plan.root.display());
        let need = report::short_size(plan.space() as f64);
        return failed(format!(
            "{root}: the largest row needs {need}, {missing} more than there is"
        ));
    }
    Ok(())
}

/// The loop over all rows.
struct Tester<'p> {
    plan: &'p Plan,
    fixture: Fixture,
    results: RunFolder,
    progress_line: ProgressLine,
    done: Vec<(Row, Outcome)>,
}

impl Tester<'_> {
    fn run(mut self, stop: Stop) -> Result<(), Failure> {
        let ran = self.rows(stop);
        self.progress_line.clear();
        let left = self.leave(&ran, stop);
        // Read once, so that the folder and the exit code agree on how the run ended.
        let interrupted = stop.requested();
        let noted = self.results.ended(&state(&ran, interrupted));
        if ran.is_err() {
            print(&left)?;
        }
        ran?;
        self.finish(interrupted, &left)?;
        noted
    }

    /// Removes what is still on a target. Returns the line about what stays.
    fn leave(&mut self, ran: &Result<(), Failure>, stop: Stop) -> String {
        let Some(target) = self.fixture.target.as_mut().filter(|target| target.used()) else {
            return String::new();
        };
        // If a second Ctrl-C or a kill ends the cleaning, this state remains.
        let _ = self.results.ended(&state(ran, true));
        if stop.requested() {
            // The files are removed even if the line cannot be printed.
            let _ = print(&report::line(self.plan.words.note, self.plan.words.removing));
        }
        let left = target.leave(stop.requested());
        left.map_or(String::new(), |left| report::line(self.plan.words.left, &left))
    }

    fn rows(&mut self, stop: Stop) -> Result<(), Failure> {
        let mut csv: Option<(&str, File)> = None;
        for row in &self.plan.rows {
            if stop.requested() {
                break;
            }
            // A new mode begins a new file.
            if csv.as_ref().is_none_or(|(mode, _)| *mode != row.mode) {
                csv = Some((row.mode, self.results.create_csv(row.mode, report::HEADER)?));
            }
            let outcome = match self.row(row) {
                Ok(outcome) => outcome,
                Err(_) if stop.requested() => break,
                Err(error) => {
                    let words = self.plan.words;
                    let (name, what) = (report::name(row, words), report::describe(row, words));
                    return failed(format!("{name} ({what}): {error}"));
                }
            };
            if stop.requested() {
                break;
            }
            if let Some((mode, file)) = &mut csv {
                let written = append(file, &(outcome.csv(row) + "\n"));
                written.or_else(|error| failed(format!("cannot write the row into {mode}.csv: {error}")))?;
            }
            self.progress_line.row_done(row, &outcome)?;
            self.done.push((row.clone(), outcome));
        }
        Ok(())
    }

    /// One row, from the start of its server to its end.
    fn row(&mut self, row: &Row) -> Result<Outcome, String> {
        let server = Server::start(self.plan, row, &self.fixture)?;
        let progress_line = &mut self.progress_line;
        let ready = self.fixture.before(row, |moved| progress_line.set_up(row, moved));
        let before = if server.is_ours() {
            None
        } else {
            self.fixture.stats(&server)
        };
        let task = Arc::new(self.fixture.task(row, &server));
        let progress = self.fixture.progress;
        progress.store(0, Relaxed);
        progress_line.row_begins(row, progress);
        let clients = row.clients as usize;
        let mut records = match &ready {
            Ok(()) => clients::run(row.client_mode, clients, &task, || {
                progress_line.show(row, progress)
            })
            .map_err(|error| format!("cannot run the clients: {error}"))?,
            // Clients would only report that a file is missing, not why.
            Err(error) => Records::not_run(clients, error),
        };
        let stats = self.fixture.stats(&server);
        if row.operation == "upload" {
            self.fixture.verify(row, &server, &mut records.records);
        }
        self.fixture.after(row);
        let words = self.plan.words;
        let mut outcome = summarize(&records, words);
        if let Err(error) = ready {
            outcome.example = Some(fill(words.set_up, &[&row.volume_mib, &error]));
        }
        outcome.servers = stats.and_then(|stats| stats.workers_since(before.as_ref(), row.servers));
        outcome.server_peak_rss_kib = server.peak_rss_kib();
        match server.stop() {
            Ok(cpu) => outcome.server_cpu = cpu.map(|cpu| cpu.as_secs_f64()),
            // The server died during the row, so all its workers did.
            Err(trouble) => {
                outcome.servers = Some((0, row.servers));
                outcome.server_trouble = Some(trouble);
            }
        }
        Ok(outcome)
    }

    /// The tables, and the verdict.
    fn finish(self, interrupted: bool, left: &str) -> Result<(), Failure> {
        let (words, planned) = (self.plan.words, self.plan.rows.len());
        let tables = report::tables(&self.done, words, "", report::table);
        let wall = self.progress_line.start.elapsed().as_secs_f64();
        let summary = report::summary(&self.done, planned, wall, words);
        let results = report::line(words.results, &self.results.path.display().to_string());
        let told = print(&format!("\n{tables}\n{summary}{left}{results}"));
        let written = self
            .results
            .write_tables(&report::tables(&self.done, words, "## ", report::markdown));
        if interrupted {
            // A terminal that has gone is not a second failure.
            return Err(Failure::Interrupted);
        }
        told.and(written)?;
        // Files that stay on a target are told and are no failure: a server may have no DELETE, and what was
        // measured is whole.
        report::verdict(&self.done, words).map_or(Ok(()), failed)
    }
}

/// How the run ended, for `machine.txt`.
fn state(ran: &Result<(), Failure>, interrupted: bool) -> String {
    match ran {
        Err(Failure::Failed(why)) => format!("failed: {why}"),
        Err(_) => "failed".to_owned(),
        Ok(()) if interrupted => "interrupted".to_owned(),
        Ok(()) => "complete".to_owned(),
    }
}

/// Appends a whole line or, on a full disk, nothing.
fn append(file: &mut File, line: &str) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(line.as_bytes())
        .inspect_err(|_| drop(file.set_len(before)))
}

/// Turns the records of a row into its outcome.
fn summarize(records: &Records, words: &Words) -> Outcome {
    let mut outcome = Outcome {
        wall: records.wall.as_secs_f64(),
        ..Outcome::default()
    };
    for record in &records.records {
        outcome.client_cpu += record.cpu.as_secs_f64();
        match &record.failure {
            None => {
                outcome.times.push(record.time.as_secs_f64());
                outcome.bytes += record.bytes;
            }
            Some((cause, why)) => {
                outcome.failures[*cause] += 1;
                outcome
                    .example
                    .get_or_insert_with(|| fill(words.client, &[&record.index, why]));
            }
        }
    }
    outcome
}
