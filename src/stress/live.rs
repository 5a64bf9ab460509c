//! # Chapter 13h. What does a user want to know while a test runs?
//!
//! Before it: what will be done, about how long it will take, where the results go. Meanwhile: which row
//! runs, how fast, how much time is left, in a live line on a terminal. After each row: its result, in a line
//! that stays, on a terminal and in a pipe.
//!
//! ```text
//!   rows, content, files …  results, time       once, before the first row
//!     1/108 thread  download  1 ×  10 MiB …      a line for each finished row
//!     2/108 thread download 1 × 10 MiB … left    the live line, below them
//! ```
//!
//! The invariant: the time left is an estimate, made from something measured in this run; this text is for
//! people, and no program has to read it.
//!
//! What must not live here: the tables, and anything that runs while the clock of a row runs, but for the
//! live line itself.
//!
//! Experiment: `make stress-quick`, then the same with `ARGS='--volumes 200'`: how good was the estimate?

use crate::cli::{self, Failure, LiveLine};
use crate::stress::matrix::{Plan, Row};
use crate::stress::report::{self, Outcome, line, short_size};
use crate::stress::words::{Words, fill};
use std::io::{self, Stdout};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

/// Prints. If the reader closes the pipe (`| head -1`) the test goes on: its results are the files.
pub fn print(text: &str) -> Result<(), Failure> {
    match cli::print(text) {
        Err(Failure::OutputClosed) => Ok(()),
        other => other,
    }
}

/// What a dry run prints: each row, then what a real run begins with.
pub fn dry_run(plan: &Plan) -> String {
    let rows = plan.rows.iter();
    let rows = rows.map(|row| format!("{:>4} {}\n", row.number, report::describe(row, plan.words)));
    let results = if plan.exact {
        String::new()
    } else {
        format!("{} ", plan.words.new_folder_in)
    };
    let results = format!("{results}{}", plan.out.display());
    let note = if plan.guessed {
        line(plan.words.note, plan.words.not_asked)
    } else {
        String::new()
    };
    rows.collect::<String>() + &announcement(plan) + &line(plan.words.results, &results) + &note
}

/// What will be done.
pub fn announcement(plan: &Plan) -> String {
    let words = plan.words;
    let modes = different(plan.rows.iter().map(|row| row.mode));
    let operations = different(plan.rows.iter().map(|row| row.operation));
    let label = words.modes[usize::from(modes.contains(", "))];
    let rows = format!("{}: {label} {modes}; {operations}", plan.rows.len());
    let content = format!("{} {}", short_size(content(plan) as f64), words.moved);
    let place = match plan.target {
        Some(address) => line(words.target, &address.to_string()),
        None => {
            let space = short_size(plan.space() as f64);
            line(
                words.files,
                &format!("{}, {} {space}", plan.root.display(), words.at_most),
            )
        }
    };
    line(words.rows, &rows) + &line(words.row, words.about_rows) + &line(words.content, &content) + &place
}

/// Each word once, in the order of their first appearance.
fn different<'w>(all: impl Iterator<Item = &'w str>) -> String {
    let mut words: Vec<&str> = Vec::new();
    all.for_each(|word| {
        if !words.contains(&word) {
            words.push(word);
        }
    });
    words.join(", ")
}

/// Bytes of content that all rows move.
fn content(plan: &Plan) -> u64 {
    plan.rows.iter().map(Row::bytes).sum()
}

/// Seconds for starting and stopping the server and the clients of a row, without its bytes: 48 rows of 336
/// MiB in all took 0.7 s on two cores, their bytes a third of it.
const ROW_COST: f64 = 0.010;

/// What a byte of a row costs; 1.0 is the cost of a byte of a source. A source is computed and written to the
/// file system; in a row each byte is encoded, copied twice, decoded, and compared or stored. On two
/// cores, with files on a disk and in memory, sources took 0.7 to 0.9 s of processor time a GiB, rows 0.9 to
/// 1.2.
const BYTE_COST: f64 = 1.4;

/// How many cores the two sides of a transfer keep busy. With more workers more cores help, so a large
/// machine is faster than this estimate.
const SIDES: usize = 2;

/// How long the run will take, estimated from `making`, the seconds in which a byte of a source was made and
/// written. Nothing is known about a target.
pub fn forecast(plan: &Plan, making: f64) -> String {
    if plan.target.is_some() {
        return String::new();
    }
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(SIDES));
    let seconds = expected(content(plan), plan.rows.len(), making, cores);
    line(
        plan.words.time,
        &format!("{}, {}", about(seconds, plan.words), plan.words.judged),
    )
}

fn expected(content: u64, rows: usize, making: f64, cores: usize) -> f64 {
    content as f64 * making * BYTE_COST / cores as f64 + rows as f64 * ROW_COST
}

/// Seconds in the round figures of an estimate.
fn about(seconds: f64, words: &Words) -> String {
    let some = |count: f64, unit: [&str; 2]| {
        format!("{} {count:.0} {}", words.about, unit[usize::from(count != 1.0)])
    };
    match seconds {
        ..8.0 => words.moment.to_owned(),
        8.0..45.0 => some((seconds / 10.0).round() * 10.0, [words.seconds; 2]),
        45.0..5400.0 => some((seconds / 60.0).round().max(1.0), words.minutes),
        _ => some((seconds / 3600.0).round(), words.hours),
    }
}

/// One live line on a terminal, and a plain line for each row that is done.
pub struct ProgressLine {
    line: LiveLine<Stdout>,
    words: &'static Words,
    pub start: Instant,
    rows: usize,
    rows_done: usize,
    /// Content of all rows, and of those that are done, in bytes.
    bytes: u64,
    bytes_done: u64,
    row_start: Instant,
}

impl ProgressLine {
    pub fn new(plan: &Plan) -> ProgressLine {
        let (rows, bytes, now) = (plan.rows.len(), content(plan), Instant::now());
        let line = LiveLine::new(io::stdout());
        let words = plan.words;
        ProgressLine {
            line,
            words,
            start: now,
            rows,
            rows_done: 0,
            bytes,
            bytes_done: 0,
            row_start: now,
        }
    }

    /// Shows how much of the file that `row` needs has been brought to a target: `moved` bytes.
    pub fn set_up(&mut self, row: &Row, moved: u64) {
        if self.line.is_due() {
            let brought = [moved, row.volume_mib << 20].map(|bytes| short_size(bytes as f64));
            let brought = fill(self.words.brought, &[&brought[0], &brought[1]]);
            self.line.draw(&self.place(row), &format!(" | {brought}"));
        }
    }

    /// `7/108 thread download 5 × 50 MiB, 1 worker`
    fn place(&self, row: &Row) -> String {
        format!(
            "{}/{} {}",
            self.rows_done + 1,
            self.rows,
            report::describe(row, self.words)
        )
    }

    /// A row is about to start.
    pub fn row_begins(&mut self, row: &Row, progress: &AtomicU64) {
        self.row_start = Instant::now();
        self.show(row, progress);
    }

    /// Shows the row that runs, if it is time for that.
    pub fn show(&mut self, row: &Row, progress: &AtomicU64) {
        if !self.line.is_due() {
            return;
        }
        let moved = progress.load(Relaxed);
        // Never divide by 0: no time may have passed.
        let seconds = self.row_start.elapsed().as_secs_f64().max(1e-9);
        let rate = short_size(moved as f64 / seconds);
        let done = self.bytes_done + moved.min(row.bytes());
        let left = match done {
            0 => "?".to_owned(),
            done => clock(self.start.elapsed().as_secs_f64() * (self.bytes - done) as f64 / done as f64),
        };
        self.line.draw(
            &self.place(row),
            &format!(" | {rate}/s | {left} {}", self.words.to_go),
        );
    }

    /// Prints the result of a row, above the live line.
    pub fn row_done(&mut self, row: &Row, outcome: &Outcome) -> Result<(), Failure> {
        self.rows_done += 1;
        self.bytes_done += row.bytes();
        self.line.clear();
        print(&finished(self.rows_done, self.rows, row, outcome, self.words))
    }

    pub fn clear(&mut self) {
        self.line.clear();
    }
}

/// ` 7/108 thread  download  5 ×  50 MiB,  1 worker   5/5 ok   0.123 s 2.03 GiB/s`: less than 80 columns as
/// long as there are fewer than 1,000 rows and fewer than 100 workers.
fn finished(number: usize, rows: usize, row: &Row, outcome: &Outcome, words: &Words) -> String {
    let Row {
        mode,
        operation,
        volume_mib,
        clients,
        servers,
        ..
    } = row;
    let rate = outcome.total_rate().filter(|_| outcome.bytes > 0);
    let rate = rate.map_or("-".to_owned(), |rate| short_size(rate) + "/s");
    let (workers, ok) = (
        words.workers(*servers),
        format!("{}/{clients} ok", outcome.times.len()),
    );
    let volume = if *operation == "list" {
        "folder".to_owned()
    } else {
        format!("{volume_mib} MiB")
    };
    let row = format!("{mode:<7} {operation:<8} {clients:>2} × {volume:>7}, {workers:>10}");
    let digits = rows.to_string().len();
    format!(
        "{number:>digits$}/{rows} {row} {ok:>8} {:>7.3} s {rate:>10}\n",
        outcome.wall
    )
}

/// Seconds as minutes and seconds.
fn clock(seconds: f64) -> String {
    format!("{}:{:02}", seconds as u64 / 60, seconds as u64 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::words::{ENGLISH, INDONESIAN};

    #[test]
    fn an_estimate_is_told_in_round_figures() {
        let table = [
            (0.0, "less than 10 seconds"),
            (7.9, "less than 10 seconds"),
            (8.0, "about 10 seconds"),
            (31.0, "about 30 seconds"),
            (44.9, "about 40 seconds"),
            (45.0, "about 1 minute"),
            (89.0, "about 1 minute"),
            (91.0, "about 2 minutes"),
            (170.0, "about 3 minutes"),
            (5399.0, "about 90 minutes"),
            (5400.0, "about 2 hours"),
            (100_000.0, "about 28 hours"),
        ];
        for (seconds, text) in table {
            assert_eq!(about(seconds, &ENGLISH), text, "{seconds}");
        }
        assert_eq!(about(100.0, &INDONESIAN), "sekitar 2 menit");
    }

    #[test]
    fn what_is_expected_grows_with_bytes_and_rows_and_halves_with_a_second_core() {
        // 105 GiB, where a GiB of source took a second.
        let one = expected(105 << 30, 0, 1.0 / f64::from(1 << 30), 1);
        assert!((one - 147.0).abs() < 1e-6, "{one}");
        assert!((expected(105 << 30, 0, 1.0 / f64::from(1 << 30), 2) - one / 2.0).abs() < 1e-6);
        assert!((expected(0, 100, 1.0, 2) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_line_of_a_finished_row_fits_a_terminal() {
        let row = |number, mode, operation, volume_mib, clients, servers| Row {
            number,
            mode,
            client_mode: "thread",
            operation,
            volume_mib,
            clients,
            servers,
        };
        let (times, bytes, wall) = (vec![1.0; 50], 5000 << 20, 4.884);
        let outcome = Outcome {
            times,
            bytes,
            wall,
            ..Outcome::default()
        };
        let row_50 = row(54, "process", "download", 100, 50, 50);
        assert_eq!(
            finished(108, 108, &row_50, &outcome, &ENGLISH),
            "108/108 process download 50 × 100 MiB, 50 workers 50/50 ok   4.884 s 1.00 GiB/s\n"
        );
        // Whether or not it took time to fail.
        for (operation, wall, text) in [
            ("list", 0.0, " folder,   1 worker   0/1 ok   0.000 s"),
            ("upload", 2.0, "  1 MiB,   1 worker   0/1 ok   2.000 s"),
        ] {
            let nothing = Outcome {
                wall,
                ..Outcome::default()
            };
            assert_eq!(
                finished(7, 108, &row(7, "event", operation, 1, 1, 1), &nothing, &ENGLISH),
                format!("  7/108 event   {operation:<8}  1 × {text}          -\n")
            );
        }
        assert!(
            finished(108, 108, &row_50, &outcome, &ENGLISH).chars().count() <= 80,
            "with its end"
        );
    }

    #[test]
    fn words_are_told_once_and_in_order() {
        assert_eq!(different(["b", "a", "b", "a"].into_iter()), "b, a");
    }
}
