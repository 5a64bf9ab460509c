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
//! runs and leaves no server running. A server that says OK is not believed: length and content count too.
//!
//! What must not live here: which rows there are (`stress/matrix.rs`), the clients (`stress/clients.rs`),
//! server and files (`stress/fixture.rs`), where results go (`stress/run_folder.rs`), what is shown meanwhile
//! (`stress/live.rs`) and at the end (`stress/report.rs`).
//!
//! before: `client.rs` … after: `cli.rs`
//!
//! Experiment:
//! edit: let each client leave out the first byte of what it uploads
//! run: out=$(mktemp -d) && cargo run -q --locked -- stress --modes thread --ops upload --volumes 1
//! --clients 2 --servers 1 --out "$out"; rm -r "$out"
//! see: stored upload: the reply cannot be understood: 1048575 bytes instead of 1048576

mod matrix; // which rows there are
mod clients; // all start at once
mod fixture; // files and server of a row
mod machine; // what was measured on
mod run_folder; // where results go
mod live; // progress for the user
mod run_files; // what a run may remove
mod target; // a server that is not ours
mod access; // that asks for a token
mod advice; // why it is slow, or silent
mod watched; // what processes cost
mod forms; // the assignment's tables
mod launch; // a server on another machine
mod as_server; // that machine's side
mod wire; // what lies between
mod shards; // rows on many machines
mod repeats; // rows several times
mod resume; // after an interrupt
mod trace; // who was served when
mod trace_file; // in a file
mod report; // tables and findings
mod words; // the texts in two languages

// For the volume `report`.
pub use repeats::NOISY;
pub use report::headings;
pub use words::{Language, Text, fill};

use crate::cli::{Args, Command, Failure, failed};
use crate::stats::utc;
use crate::sys::{self, Listen, Pid, Stop};
use clients::Record;
use fixture::{Fixture, Server};
use live::{ProgressLine, print};
use matrix::{OPTIONS, Plan, Row, Told};
use report::Outcome;
use resume::Earlier;
use run_folder::{MadeFolder, RunFolder, cannot, require_space, state};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use watched::Watched;
use wire::Wire;

pub use shards::MERGE;

pub static STRESS: Command = Command {
    name: "stress",
    words: &[],
    about: "run all combinations, check every byte, write the tables",
    options: &[
        OPTIONS,
        advice::OPTIONS,
        launch::OPTIONS,
        shards::OPTIONS,
        repeats::OPTIONS,
        trace::OPTIONS,
        crate::access::OPTIONS,
    ],
    run,
};

fn run(args: &Args) -> Result<(), Failure> {
    if args.has("--as-server") {
        return as_server::serve(args);
    }
    match args.has("--resume") {
        true => resume::run(args),
        false => test(args, None),
    }
}

fn test(args: &Args, earlier: Option<&Earlier>) -> Result<(), Failure> {
    // Mistakes in the options are reported before a target is asked.
    access::take_token(args)?;
    let plan = Plan::from(args, &Told::default())?;
    let (language, pid) = (plan.language, watched::given(args)?);
    if args.has("--dry-run") {
        return print(&live::dry_run(&plan));
    }
    earlier.map_or_else(|| run_folder::check(&plan), |_| Ok(()))?;
    let stop = Stop::listen(Listen::Stop).or_else(|error| failed(format!("no signals: {error}")))?;
    let (plan, mut notes) = match plan.target {
        Some(address) => advice::ask(args, &plan, address, stop)?,
        None => (plan, Vec::new()),
    };
    let done = earlier.map_or(Ok(Vec::new()), |earlier| earlier.rows(args, &plan))?;
    // Dropped last: folders with files in them by then are kept.
    let _out = MadeFolder::make("--out", args.has("--out"), &plan.out)?;
    let _root = MadeFolder::make("--root", args.has("--root"), &plan.root)?;
    require_space(&plan)?;
    // When this fails, clients that get no descriptor count as failed.
    let _ = sys::raise_descriptor_limit();
    print(&live::announcement(&plan))?;
    let fixture =
        Fixture::new(&plan, stop).map_err(|error| cannot("prepare files in", &plan.root, &error))?;
    if let Some(target) = &fixture.target {
        notes.extend(target.look(&plan, stop)?);
    }
    let wire = Wire::measure(&plan, stop)?;
    let (results, note) = match earlier {
        Some(earlier) => (earlier.folder(&plan, &done)?, None),
        None => RunFolder::make(&plan, wire.about())?,
    };
    notes.extend(note.into_iter().chain(plan.trace.note(language)));
    let forecast = live::forecast(&plan, fixture.making);
    print(&(language.line(words::RESULTS, &results.path.display()) + &forecast))?;
    for note in notes {
        print(&language.line(words::NOTE, &note))?;
    }
    Tester {
        plan: &plan,
        fixture,
        pid,
        results,
        wire,
        progress_line: ProgressLine::new(&plan),
        done,
    }
    .run(stop)
}

/// The loop over all rows.
struct Tester<'p> {
    plan: &'p Plan,
    fixture: Fixture<'p>,
    /// The process of a target that is to be watched.
    pid: Option<Pid>,
    results: RunFolder,
    wire: Wire,
    progress_line: ProgressLine<'p>,
    /// What came of each run of a row, in the order of their ends.
    done: Vec<Outcome>,
}

impl Tester<'_> {
    fn run(mut self, stop: Stop) -> Result<(), Failure> {
        let ran = self.rows(stop);
        self.progress_line.clear();
        let left = self.leave(&ran, stop);
        // Read once, so that the folder and the exit code agree on how the run ended.
        let interrupted = stop.requested();
        let noted = self.results.ended(&state(&ran, interrupted));
        // What was measured is shown, also when the run could not go on.
        let shown = self.finish(interrupted, &left);
        ran?;
        shown?;
        noted
    }

    /// One row, from the start of its server to its end.
    fn row(&mut self, row: &Row) -> Result<Outcome, String> {
        let (fixture, progress_line) = (&mut self.fixture, &mut self.progress_line);
        let language = self.plan.language;
        let server = Server::start(row, fixture)?;
        let ready = fixture.before(row, |moved| progress_line.set_up(row, moved));
        // A server that is new has counted nothing; a target may have.
        let before = match server.is_ours() {
            true => None,
            false => fixture.stats(&server),
        };

        // The clock runs in here only.
        let (task, count) = (Arc::new(fixture.task(row, &server)), row.clients as usize);
        let progress = fixture.progress;
        progress.reset();
        progress_line.row_begins(row);
        let watched = self.pid.map(Watched::begin);
        let started = SystemTime::now();
        let show = || progress_line.show(row, progress.bytes());
        let ran = match &ready {
            Ok(()) => clients::run(row.client_mode, count, &task, show),
            // Clients would only report that a file is missing, not why.
            Err(error) => Ok((clients::not_run(count, error), Duration::ZERO)),
        };
        let (mut records, wall) = ran.map_err(|error| format!("cannot run the clients: {error}"))?;

        let (peak, cpu) = watched.map_or((None, None), |watched| watched.end());
        let stats = fixture.stats(&server);
        if row.operation == "upload" {
            fixture.verify(row, &server, &mut records);
        }
        fixture.after(row);
        let mut outcome = summarize(row, &records, wall, language);
        if let Err(error) = ready {
            outcome.example = Some(language.fill(words::SET_UP, &[&row.volume_mib, &error]));
        }
        let before = before.unwrap_or_default();
        outcome.servers = stats.and_then(|stats| stats.workers_since(&before, row.servers));
        outcome.started = Some(started);
        let stopped = server.stop();
        if let Some(tracer) = progress.tracer {
            trace_file::write(&self.results.path, tracer, row, &utc(started), &records)?;
        }
        match stopped {
            Ok((our_peak, our_cpu)) => {
                outcome.server_peak_rss_kib = our_peak.or(peak);
                outcome.server_cpu = our_cpu.map(|cpu| cpu.as_secs_f64()).or(cpu);
            }
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
        let (plan, language) = (self.plan, self.plan.language);
        let done = &repeats::shown(&plan.rows, &self.done);
        let tables = report::tables(done, language, "", report::table);
        let wall = self.progress_line.start.elapsed().as_secs_f64();
        let summary = report::summary(done, plan.rows.len(), wall, language);
        let results = language.line(words::RESULTS, &self.results.path.display());
        let remarks = advice::remarks(done, plan) + &self.wire.limit(done, language);
        let told = print(&format!("\n{tables}\n{summary}{remarks}{left}{results}"));
        let tables = report::tables(done, language, "## ", report::markdown);
        let joint = forms::joint(done, plan.number_from);
        let written = self.results.write_tables(&tables, &joint);
        if interrupted {
            // A terminal that has gone is not a second failure.
            return Err(Failure::Interrupted);
        }
        told.and(written)?;
        if plan.report {
            self.results.make_report(language)?;
        }
        // Files that stay on a target are told and are no failure: a server may have no DELETE, and what was
        // measured is whole.
        if plan.trace.went_as_planned(done) {
            return Ok(());
        }
        report::verdict(done, language).map_or(Ok(()), failed)
    }
}

/// Turns the records of a row into its outcome.
fn summarize(row: &Row, records: &[Record], wall: Duration, language: Language) -> Outcome {
    let mut outcome = Outcome {
        row: row.clone(),
        wall: wall.as_secs_f64(),
        repeats: 1,
        ..Outcome::default()
    };
    for record in records {
        outcome.client_cpu += record.cpu.as_secs_f64();
        match &record.failure {
            None => {
                outcome.times.push(record.time.as_secs_f64());
                outcome.bytes += record.bytes;
            }
            Some((cause, why)) => {
                outcome.failures[*cause] += 1;
                let first = || language.fill(words::CLIENT, &[&record.index, why]);
                outcome.example.get_or_insert_with(first);
            }
        }
    }
    outcome.times.sort_by(f64::total_cmp);
    outcome
}
