//! How often does a row run, and which of its runs is shown? All rows once, then all again, so that a machine
//! that grows slower does so for all alike. Shown is the run in the middle by its rate, with the lowest and
//! the highest rate; where clients failed, it is the run with the most failures, so that none is hidden.

use crate::cli::{Args, Failure, Opt, broken, failed, opt};
use crate::stress::matrix::{Plan, Row};
use crate::stress::report::{self, Outcome};
use crate::stress::run_folder::{RunFolder, append};
use crate::stress::words::{self, Language};
use crate::stress::{Tester, advice};
use crate::sys::Stop;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("--repeat", "N", "runs of each row; the one in the middle counts (1, or 3 for rows under a second)"),
    opt("--warmup", "", "first run the first row of each table, without measuring it"),
    opt("--resume", "DIR", "continue the interrupted run in DIR: only the rows that are missing"),
];

/// Most runs of a row.
const MOST: u64 = 1000;

/// Seconds. In less than this, one pause of a process is a large part of the row.
const SHORT: f64 = 1.0;

/// Runs of a short row, if the user gives no number: the least with a middle.
const SHORT_RUNS: u64 = 3;

/// A row is marked when its highest rate is more than this many times its lowest: then the next run may well
/// say the opposite.
pub const NOISY: f64 = 1.5;

/// How often rows run.
pub struct Repeats {
    /// What the user asked for; `None`: short rows more often than others.
    each: Option<u64>,
    warmup: bool,
}

impl Repeats {
    pub fn from(args: &Args) -> Result<Repeats, Failure> {
        let each = args.number("--repeat", 1, 1..=MOST)?;
        Ok(Repeats {
            // A scene is there to be looked at, and once is enough.
            each: (args.has("--repeat") || args.has("--timeline")).then_some(each),
            warmup: args.has("--warmup"),
        })
    }

    /// As one could type them, after a blank; empty: nothing was asked for.
    pub fn options(&self) -> String {
        let each = self
            .each
            .map_or(String::new(), |each| format!(" --repeat {each}"));
        each + if self.warmup { " --warmup" } else { "" }
    }

    /// What will be done, in words.
    pub fn announced(&self, language: Language) -> String {
        let each = match self.each {
            Some(each) => each.to_string(),
            None => language.fill(words::OFTEN, &[&SHORT_RUNS]),
        };
        each + if self.warmup {
            language.of(words::AND_WARM)
        } else {
            ""
        }
    }

    fn most(&self) -> u64 {
        self.each.unwrap_or(SHORT_RUNS)
    }

    /// How often each row runs, however long it takes.
    pub fn least(&self) -> u64 {
        self.each.unwrap_or(1)
    }

    /// How often a row runs that takes this many seconds.
    pub fn times(&self, seconds: f64) -> u64 {
        self.each.unwrap_or(if seconds < SHORT { SHORT_RUNS } else { 1 })
    }

    /// How often a row is to run that these runs are of; the first decides.
    pub fn wanted(&self, runs: &[&Outcome]) -> u64 {
        runs.first().map_or(self.least(), |run| self.times(run.wall))
    }
}

/// Runs of each row, by the name of its table and its number.
fn by_row(runs: &[Outcome]) -> HashMap<(&str, usize), Vec<&Outcome>> {
    let mut of_rows: HashMap<(&str, usize), Vec<&Outcome>> = HashMap::new();
    for run in runs {
        let row = (run.row.table.as_str(), run.row.number);
        of_rows.entry(row).or_default().push(run);
    }
    of_rows
}

/// The rows that run in this pass, counted from 1, and the bytes that are left to move, as far as is known.
fn due<'p>(plan: &'p Plan, done: &[Outcome], pass: u64) -> (Vec<&'p Row>, u64) {
    let of_rows = by_row(done);
    let (mut due, mut left) = (Vec::new(), 0);
    for row in &plan.rows {
        let runs = of_rows.get(&(row.table.as_str(), row.number));
        let runs = runs.map_or(&[][..], Vec::as_slice);
        let had: u64 = runs.iter().map(|run| run.repeats).sum();
        let wanted = plan.repeats.wanted(runs);
        left += row.bytes() * wanted.saturating_sub(had);
        if had < wanted.min(pass) {
            due.push(row);
        }
    }
    (due, left)
}

/// What is shown of each row that has run, in the order of `rows`.
pub fn shown(rows: &[Row], runs: &[Outcome]) -> Vec<Outcome> {
    let of_rows = by_row(runs);
    let runs = rows
        .iter()
        .filter_map(|row| of_rows.get(&(row.table.as_str(), row.number)));
    runs.filter_map(|runs| middle(runs)).collect()
}

/// The run that stands for all of a row, with the spread of all; of two in the middle the slower one.
fn middle(runs: &[&Outcome]) -> Option<Outcome> {
    let rate = |run: &Outcome| run.total_rate().unwrap_or(0.0);
    let bad = |run: &&&Outcome| {
        let servers = run.servers.map_or(0, |(_, failed)| failed);
        run.failed() + servers + u64::from(run.server_trouble.is_some())
    };
    let mut runs = runs.to_vec();
    runs.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    let (low, high) = (rate(runs.first()?), rate(runs.last()?));
    let middle = &runs[(runs.len() - 1) / 2];
    let worst = runs.iter().max_by_key(bad).filter(|run| bad(run) > 0);
    let mut outcome = Outcome::clone(worst.unwrap_or(middle));
    if runs.len() > 1 {
        outcome.repeats = runs.len() as u64;
        outcome.spread = Some((low, high));
    }
    Some(outcome)
}

/// Do the runs of this row lie too far apart to mean much?
pub fn noisy(outcome: &Outcome) -> bool {
    outcome.spread.is_some_and(|(low, high)| high > low * NOISY)
}

/// The line that names the noisy rows; empty: there are none.
pub fn remark(done: &[Outcome], language: Language) -> String {
    let noisy: Vec<&Outcome> = done.iter().filter(|outcome| noisy(outcome)).collect();
    let tables = noisy.chunk_by(|a, b| a.row.table == b.row.table);
    let names = tables.map(|of_table| {
        let numbers: Vec<String> = of_table
            .iter()
            .map(|noisy| noisy.row.number.to_string())
            .collect();
        format!("{} {}", of_table[0].row.table, numbers.join(", "))
    });
    let names = names.collect::<Vec<_>>().join("; ");
    if noisy.is_empty() {
        return names;
    }
    let counts = language.fill(words::VARY, &[&noisy.len(), &done.len(), &NOISY, &names]);
    // Below the first of its words.
    language.line(words::NOISE, &broken(&counts, 11))
}

/// Writes a whole file in the place of `path`, which is never seen half written.
pub fn replace(path: &Path, lines: impl Iterator<Item = String>) -> io::Result<()> {
    let fresh = path.with_extension("csv.new");
    let text: String = [report::csv_head()]
        .into_iter()
        .chain(lines)
        .map(|line| line + "\n")
        .collect();
    let replaced = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path));
    replaced.inspect_err(|_| drop(fs::remove_file(&fresh)))
}

/// Writes the last of `done` into the file of its table: at its end, or in the place of the row's line.
fn write(results: &RunFolder, plan: &Plan, done: &[Outcome]) -> Result<(), Failure> {
    let Some((last, earlier)) = done.split_last() else {
        return Ok(());
    };
    let table = &last.row.table;
    let path = results.path.join(format!("{table}.csv"));
    let mut others = earlier.iter().filter(|run| run.row.table == *table);
    let written = if others.all(|other| other.row.number < last.row.number) {
        let file = File::options().append(true).open(&path);
        file.and_then(|mut file| append(&mut file, &(last.csv() + "\n")))
    } else {
        let rows = shown(&plan.rows, done).into_iter();
        let rows = rows.filter(|outcome| outcome.row.table == *table);
        replace(&path, rows.map(|outcome| outcome.csv()))
    };
    written.or_else(|error| failed(format!("cannot write the row into {table}.csv: {error}")))
}

impl Tester<'_> {
    /// All rows, as often as they are to run. A row is on the disk from its first run on; until `machine.txt`
    /// says `complete`, some of its runs may be missing.
    pub fn rows(&mut self, stop: Stop) -> Result<(), Failure> {
        if self.plan.repeats.warmup {
            for rows in self.plan.rows.chunk_by(|a, b| a.table == b.table) {
                if !stop.requested() {
                    // Where it fails, it will fail again when it counts.
                    let _ = self.row(&rows[0]);
                }
            }
        }
        for pass in 1..=self.plan.repeats.most() {
            let (rows, left) = due(self.plan, &self.done, pass);
            self.progress_line.pass_begins(pass, rows.len(), left)?;
            for row in rows {
                if stop.requested() {
                    return Ok(());
                }
                self.run_once(row, stop)?;
            }
        }
        Ok(())
    }

    fn run_once(&mut self, row: &Row, stop: Stop) -> Result<(), Failure> {
        let language = self.plan.language;
        if self.done.iter().all(|run| run.row.table != row.table) {
            self.results.create_csv(&row.table, &report::csv_head())?;
        }
        let outcome = self.row(row);
        // What was measured meanwhile is not the row that was asked for.
        if stop.requested() {
            return Ok(());
        }
        let outcome = outcome.or_else(|error| {
            let (name, what) = (report::name(row, language), report::describe(row, language));
            failed(format!("{name} ({what}): {error}"))
        })?;
        self.done.push(outcome);
        write(&self.results, self.plan, &self.done)?;
        self.progress_line.row_done(&self.done[self.done.len() - 1])?;
        advice::give_up(&self.done, self.plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::words::Language::English;

    /// A run of row `number` that took this many seconds for 6000 bytes; this many clients failed.
    fn run(number: usize, wall: f64, failed: u64) -> Outcome {
        Outcome {
            row: Row {
                number,
                table: "thread".to_owned(),
                ..Row::default()
            },
            bytes: 6000,
            wall,
            failures: [failed, 0, 0, 0, 0, 0],
            repeats: 1,
            ..Outcome::default()
        }
    }

    fn of(runs: &[Outcome]) -> (f64, u64, u64, Option<(f64, f64)>) {
        let runs: Vec<&Outcome> = runs.iter().collect();
        let middle = middle(&runs).unwrap();
        (middle.wall, middle.failed(), middle.repeats, middle.spread)
    }

    #[test]
    fn the_run_in_the_middle_is_shown_with_the_spread_of_all() {
        assert_eq!(of(&[run(1, 2.0, 0)]), (2.0, 0, 1, None));
        let three = [run(1, 1.0, 0), run(1, 3.0, 0), run(1, 2.0, 0)];
        assert_eq!(of(&three), (2.0, 0, 3, Some((2000.0, 6000.0))));
        // Of two in the middle the slower one.
        assert_eq!(of(&three[..2]), (3.0, 0, 2, Some((2000.0, 6000.0))));
        assert!(middle(&[]).is_none());
    }

    #[test]
    fn no_repeat_hides_a_failure() {
        let runs = [
            run(1, 1.0, 0),
            run(1, 2.0, 1),
            run(1, 3.0, 0),
            run(1, 0.5, 2),
            run(1, 4.0, 0),
        ];
        assert_eq!(of(&runs), (0.5, 2, 5, Some((1500.0, 12000.0))));
        let died = Outcome {
            server_trouble: Some("it died".to_owned()),
            ..run(1, 6.0, 0)
        };
        assert_eq!(of(&[died, run(1, 1.0, 0), run(1, 2.0, 0)]).0, 6.0);
        let worker = Outcome {
            servers: Some((4, 1)),
            ..run(1, 6.0, 0)
        };
        assert_eq!(of(&[run(1, 1.0, 0), worker, run(1, 2.0, 0)]).0, 6.0);
    }

    #[test]
    fn short_rows_run_three_times_unless_a_number_is_given() {
        let repeats = |each| Repeats { each, warmup: false };
        let table = [
            (None, 0.999, 3),
            (None, 1.0, 1),
            (Some(2), 0.5, 2),
            (Some(2), 5.0, 2),
        ];
        for (each, wall, wanted) in table {
            assert_eq!(
                repeats(each).wanted(&[&run(1, wall, 0)]),
                wanted,
                "{each:?} {wall}"
            );
        }
        // It has not run yet.
        assert_eq!([None, Some(2)].map(|each| repeats(each).wanted(&[])), [1, 2]);
        assert_eq!(repeats(None).options(), "");
        let both = Repeats {
            each: Some(1),
            warmup: true,
        };
        assert_eq!(both.options(), " --repeat 1 --warmup");
    }

    #[test]
    fn rows_are_shown_in_their_order_and_noisy_ones_named() {
        let runs = [run(2, 1.0, 0), run(1, 2.0, 0), run(2, 1.51, 0), run(1, 3.0, 0)];
        let rows = [1, 2, 3].map(|number| run(number, 0.0, 0).row);
        let shown = shown(&rows, &runs);
        let found: Vec<_> = shown.iter().map(|row| (row.row.number, row.wall)).collect();
        assert_eq!(found, [(1, 3.0), (2, 1.51)]);
        // 1.5 × is not yet too much.
        assert_eq!(
            remark(&shown, English),
            "noise      1 of 2 rows differ by more than 1.5 × from run to run (~): thread 2\n"
        );
        assert_eq!(remark(&shown[..1], English), "");
    }
}
