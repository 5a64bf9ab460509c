//! What does a user want to know while a test runs? Before it: what will be done, about how long it will
//! take, where the results go. Meanwhile: which row runs, how fast, how much time is left, in a live line on
//! a terminal. After each row: its result, in a line that stays. All of it is for people: no program has to
//! read it.

use crate::cli::{self, Failure, LiveLine};
use crate::stress::matrix::{Plan, Row};
use crate::stress::report::{self, Outcome, short_size};
use crate::stress::words::{self, Language};
use std::io::{self, Stdout};
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
    let language = plan.language;
    let mut text = String::new();
    for row in &plan.rows {
        text += &format!("{:>4} {}\n", row.number, report::describe(row, language));
    }
    let out = match plan.exact {
        true => plan.out.display().to_string(),
        false => format!("{} {}", language.of(words::NEW_FOLDER_IN), plan.out.display()),
    };
    text += &announcement(plan);
    text += &language.line(words::RESULTS, &out);
    if plan.guessed {
        text += &language.line(words::NOTE, &language.of(words::NOT_ASKED));
    }
    text
}

/// What will be done.
pub fn announcement(plan: &Plan) -> String {
    let language = plan.language;
    let (modes, operations) = (plan.modes.join(", "), plan.operations.join(", "));
    let label = language.counted(plan.modes.len() as u64, words::MODES);
    let mut rows = format!("{}: {label} {modes}; {operations}", plan.rows.len());
    if plan.client_modes.len() > 1 {
        rows += &format!("; client modes {}", plan.client_modes.join(", "));
    }
    let content = plan.content().saturating_mul(plan.repeats.least());
    let [content, space] = [content, plan.space()].map(|bytes| short_size(bytes as f64));
    let (moved, at_most) = (language.of(words::MOVED), language.of(words::AT_MOST));
    let files = format!("{}, {at_most} {space}", plan.root.display());
    [
        language.line(words::ROWS, &rows),
        language.line(words::ROW, &language.of(words::ABOUT_ROWS)),
        language.line(words::REPEATS, &plan.repeats.announced(language)),
        language.line(words::CONTENT, &format!("{content} {moved}")),
        match (plan.target, plan.launch()) {
            (Some(address), _) => language.line(words::TARGET, &address),
            (None, Some(launch)) => language.line(words::LAUNCH, &launch.command),
            (None, None) => language.line(words::FILES, &files),
        },
    ]
    .concat()
}

/// Seconds for starting and stopping the server and the clients of a row, without its bytes: 48 rows of 336
/// MiB in all took 0.7 s on two cores, their bytes a third of it.
const ROW_COST: f64 = 0.010;

/// What a byte of a row costs; 1.0 is the cost of a byte of a source, which is computed and written to the
/// file system. In a row each byte is encoded, copied twice, decoded, and compared or stored: on two cores
/// sources took 0.7 to 0.9 s of processor time a GiB, rows 0.9 to 1.2.
const BYTE_COST: f64 = 1.4;

/// How many cores the two sides of a transfer keep busy. With more workers more cores help, so a large
/// machine is faster than this estimate.
const SIDES: usize = 2;

/// How long the run will take, estimated from `making`, the seconds in which a byte of a source was made and
/// written. Nothing is known about other machines.
pub fn forecast(plan: &Plan, making: f64) -> String {
    if !plan.files_are_here() {
        return String::new();
    }
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(SIDES));
    let seconds = plan.rows.iter().map(|row| {
        let once = expected(row.bytes(), 1, making, cores);
        once * plan.repeats.times(once) as f64
    });
    let (time, judged) = (
        about(seconds.sum(), plan.language),
        plan.language.of(words::JUDGED),
    );
    plan.language.line(words::TIME, &format!("{time}, {judged}"))
}

fn expected(content: u64, rows: usize, making: f64, cores: usize) -> f64 {
    content as f64 * making * BYTE_COST / cores as f64 + rows as f64 * ROW_COST
}

/// Seconds in the round figures of an estimate.
fn about(seconds: f64, language: Language) -> String {
    let (count, unit) = match seconds {
        ..8.0 => return language.of(words::MOMENT).to_owned(),
        8.0..45.0 => ((seconds / 10.0).round() * 10.0, words::SECONDS),
        45.0..5400.0 => ((seconds / 60.0).round().max(1.0), words::MINUTES),
        _ => ((seconds / 3600.0).round(), words::HOURS),
    };
    let (about, unit) = (language.of(words::ABOUT), language.counted(count as u64, unit));
    format!("{about} {count} {unit}")
}

/// One live line on a terminal, and a plain line for each row that is done.
pub struct ProgressLine<'p> {
    plan: &'p Plan,
    line: LiveLine<Stdout>,
    pub start: Instant,
    row_start: Instant,
    /// Rows of this pass, and how many of them are done.
    rows: usize,
    rows_done: usize,
    /// Content of the rows that are done in any pass, and of those that are to come.
    bytes_done: u64,
    bytes_left: u64,
}

impl ProgressLine<'_> {
    pub fn new(plan: &Plan) -> ProgressLine<'_> {
        let now = Instant::now();
        ProgressLine {
            plan,
            line: LiveLine::new(io::stdout()),
            start: now,
            row_start: now,
            rows: 0,
            rows_done: 0,
            bytes_done: 0,
            bytes_left: 0,
        }
    }

    /// A pass over this many rows begins, after which and with which `left` bytes are to move.
    pub fn pass_begins(&mut self, pass: u64, rows: usize, left: u64) -> Result<(), Failure> {
        (self.rows, self.rows_done, self.bytes_left) = (rows, 0, left);
        if pass == 1 || rows == 0 {
            return Ok(());
        }
        let language = self.plan.language;
        print(&language.line(words::REPEATS, &language.fill(words::AGAIN, &[&pass, &rows])))
    }

    /// Draws `7/108 thread download 5 × 50 MiB, 1 worker | figures`.
    fn draw(&mut self, row: &Row, figures: &str) {
        let (number, rows) = (self.rows_done + 1, self.rows);
        let what = report::describe(row, self.plan.language);
        let place = format!("{number}/{rows} {what}");
        self.line.draw(&place, &format!(" | {figures}"));
    }

    /// Shows how much of the file that `row` needs has been brought to a target: `moved` bytes.
    pub fn set_up(&mut self, row: &Row, moved: u64) {
        if self.line.is_due() {
            let [moved, all] = [moved, row.volume_mib << 20].map(|bytes| short_size(bytes as f64));
            self.draw(row, &self.plan.language.fill(words::BROUGHT, &[&moved, &all]));
        }
    }

    /// The clients of a row are about to start.
    pub fn row_begins(&mut self, row: &Row) {
        self.row_start = Instant::now();
        self.show(row, 0);
    }

    /// Shows the row that runs, if it is time for that; it has moved this many bytes.
    pub fn show(&mut self, row: &Row, moved: u64) {
        if !self.line.is_due() {
            return;
        }
        // Never divide by 0: no time may have passed.
        let seconds = self.row_start.elapsed().as_secs_f64().max(1e-9);
        let rate = short_size(moved as f64 / seconds);
        let moved = moved.min(row.bytes());
        let done = self.bytes_done + moved;
        let left = match done {
            0 => "?".to_owned(),
            _ => {
                let rest = self.bytes_left.saturating_sub(moved) as f64;
                clock(self.start.elapsed().as_secs_f64() * rest / done as f64)
            }
        };
        let to_go = self.plan.language.of(words::TO_GO);
        self.draw(row, &format!("{rate}/s | {left} {to_go}"));
    }

    /// Prints the result of a row, above the live line.
    pub fn row_done(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        self.rows_done += 1;
        self.bytes_done += outcome.row.bytes();
        self.bytes_left = self.bytes_left.saturating_sub(outcome.row.bytes());
        self.line.clear();
        print(&finished(self.rows_done, self.rows, outcome, self.plan.language))
    }

    pub fn clear(&mut self) {
        self.line.clear();
    }
}

/// ` 7/108 thread  download  5 ×  50 MiB,  1 worker   5/5 ok   0.123 s 2.03 GiB/s`: less than 80 columns as
/// long as there are fewer than 1,000 rows, fewer than 100 workers, and clients of one kind.
fn finished(number: usize, rows: usize, outcome: &Outcome, language: Language) -> String {
    let row = &outcome.row;
    let volume = match row.operation {
        "list" => "folder".to_owned(),
        _ => format!("{} MiB", row.volume_mib),
    };
    let (table, operation, clients) = (&row.table, row.operation, row.clients);
    let (workers, ok) = (
        language.workers(row.servers),
        format!("{}/{clients} ok", outcome.times.len()),
    );
    let rate = outcome.total_rate().filter(|_| outcome.bytes > 0);
    let rate = rate.map_or("-".to_owned(), |rate| short_size(rate) + "/s");
    let row = format!("{table:<7} {operation:<8} {clients:>2} × {volume:>7}, {workers:>10}");
    let (digits, wall) = (rows.to_string().len(), outcome.wall);
    format!("{number:>digits$}/{rows} {row} {ok:>8} {wall:>7.3} s {rate:>10}\n")
}

/// Seconds as minutes and seconds.
fn clock(seconds: f64) -> String {
    format!("{}:{:02}", seconds as u64 / 60, seconds as u64 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::words::Language::{English, Indonesian};

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
            assert_eq!(about(seconds, English), text, "{seconds}");
        }
        assert_eq!(about(100.0, Indonesian), "sekitar 2 menit");
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
        let outcome = |row: (&'static str, &'static str, u64, u64), wall| Outcome {
            row: Row {
                table: row.0.to_owned(),
                mode: row.0,
                operation: row.1,
                volume_mib: row.2,
                clients: row.3,
                servers: row.3,
                ..Row::default()
            },
            wall,
            ..Outcome::default()
        };
        let wide = Outcome {
            times: vec![1.0; 50],
            bytes: 5000 << 20,
            ..outcome(("process", "download", 100, 50), 4.884)
        };
        let line = finished(108, 108, &wide, English);
        assert_eq!(
            line,
            "108/108 process download 50 × 100 MiB, 50 workers 50/50 ok   4.884 s 1.00 GiB/s\n"
        );
        assert!(line.chars().count() <= 80, "with its end");
        // Whether or not it took time to fail.
        for (operation, wall, text) in [
            ("list", 0.0, " folder,   1 worker   0/1 ok   0.000 s"),
            ("upload", 2.0, "  1 MiB,   1 worker   0/1 ok   2.000 s"),
        ] {
            assert_eq!(
                finished(7, 108, &outcome(("event", operation, 1, 1), wall), English),
                format!("  7/108 event   {operation:<8}  1 × {text}          -\n")
            );
        }
    }
}
