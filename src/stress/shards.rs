//! How do several machines share the rows of one run? `--shard I/N` deals them out like cards: the Ith of
//! each N, with the numbers that they have in the whole run. `merge` joins their results, and refuses
//! those that are not one whole run: other options, other programs, rows that are missing or there twice.

use crate::cli::{Args, Command, Failure, Opt, failed, opt, parse_digits, usage};
use crate::client::CAUSES;
use crate::stress::live::print;
use crate::stress::matrix::{Plan, Row, Told};
use crate::stress::report::{self, Outcome};
use crate::stress::run_folder::{self, ABOUT, RunFolder, append, cannot};
use crate::stress::{STRESS, words};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("--shard", "I/N", "only the Ith of each N rows, as numbered in all; see kolam merge"),
];

pub static MERGE: Command = Command {
    name: "merge",
    words: &["DIR", "[DIR…]"],
    about: "join the results of stress --shard\n\nEach DIR is the folder of one shard's results.",
    options: &[&[
        opt("--out", "DIR", "folder of the joined results"),
        opt("--force", "", "replace the results that are in --out"),
        opt(
            "--lang",
            "LANG",
            "language of the report: en, or id for Indonesian (en)",
        ),
    ]],
    run: merge,
};

/// The rows of this shard; all without `--shard`.
pub fn deal(args: &Args, rows: Vec<Row>) -> Result<Vec<Row>, Failure> {
    let Some(text) = args.text("--shard") else {
        return Ok(rows);
    };
    let numbers = text
        .split_once('/')
        .and_then(|(part, all)| Some((parse_digits(part)?, parse_digits(all)?)));
    let Some((part, all)) = numbers.filter(|(part, all)| (1..=*all).contains(part)) else {
        return usage(format!(
            "--shard {text}: expected I/N with I from 1 to N, such as 1/4"
        ));
    };
    if all > rows.len() {
        return usage(format!(
            "--shard {text}: there are only {} rows to deal out",
            rows.len()
        ));
    }
    let dealt = rows
        .into_iter()
        .enumerate()
        .filter(|(at, _)| at % all + 1 == part);
    Ok(dealt.map(|(_, row)| row).collect())
}

/// What must be the same in all shards, by its name in `machine.txt`.
const SAME: [&str; 4] = ["version", "commit", "options", "launch"];

/// The results of one shard.
struct Shard {
    path: PathBuf,
    /// The lines of its `machine.txt`.
    about: Vec<String>,
}

impl Shard {
    fn read(path: &Path) -> Result<Shard, Failure> {
        let file = path.join(ABOUT);
        let text = fs::read_to_string(&file).or_else(|error| {
            failed(format!(
                "{}: {error}; expected the folder of a run of kolam stress",
                file.display()
            ))
        })?;
        let about = text.lines().map(str::to_owned).collect();
        let path = path.to_owned();
        let shard = Shard { path, about };
        match shard.value("state") {
            "complete" => Ok(shard),
            state => failed(format!(
                "{}: this run is not complete, its state is: {state}; run this shard again",
                shard.path.display()
            )),
        }
    }

    /// What it says of itself. The folder of the files counts for nothing: each machine has its own.
    fn value(&self, name: &str) -> &str {
        let line = self
            .about
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.unwrap_or("nothing").trim();
        value
            .rsplit_once(" --root ")
            .map_or(value, |(options, _)| options)
    }
}

/// The rows of all shards as they are joined.
struct Merged {
    plan: Plan,
    /// The first line of all files.
    head: String,
    /// By index in the plan.
    rows: BTreeMap<usize, Measured>,
}

/// A row of a shard.
struct Measured {
    /// Its file.
    path: PathBuf,
    line: String,
    /// What that says, as far as tables and summary show it.
    outcome: Outcome,
}

fn merge(args: &Args) -> Result<(), Failure> {
    let Some(out) = args.path("--out") else {
        return usage("merge: --out DIR is missing: the folder of the joined results");
    };
    let paths = (0..).map_while(|at| args.path_word(at));
    let shards = paths.map(Shard::read).collect::<Result<Vec<_>, _>>()?;
    let [first, others @ ..] = &shards[..] else {
        return Ok(());
    };
    for (other, name) in others.iter().flat_map(|other| SAME.map(|name| (other, name))) {
        if first.value(name) != other.value(name) {
            let [one, two] =
                [first, other].map(|shard| format!("{} has {}", shard.path.display(), shard.value(name)));
            return failed(format!("the shards differ in {name}: {one}; {two}"));
        }
    }
    let lang = args.text("--lang").unwrap_or("en");
    let words = first
        .value("options")
        .split_whitespace()
        .chain(["--lang", lang, "--out"]);
    let mut line: Vec<&OsStr> = words.map(OsStr::new).chain([out.as_os_str()]).collect();
    line.extend(args.has("--force").then_some(OsStr::new("--force")));
    let Some(args) = Args::parse(&STRESS, &line)? else {
        return Ok(());
    };
    let mut merged = Merged {
        plan: Plan::from(&args, &Told::default())?,
        head: report::csv_head(),
        rows: BTreeMap::new(),
    };
    run_folder::check(&merged.plan)?;
    shards.iter().try_for_each(|shard| merged.add(shard))?;
    merged.check()?;
    merged.write(&shards)
}

/// The index of a row in `rows`, and its outcome as far as the line of its table tells it. `None`: it is none
/// of them.
pub fn read(rows: &[Row], table: &str, line: &str) -> Option<(usize, Outcome)> {
    // The last cell alone may hold commas.
    let head = report::csv_head();
    let titles: Vec<&str> = head.split(',').collect();
    let cells: BTreeMap<_, _> = titles
        .iter()
        .copied()
        .zip(line.splitn(titles.len(), ','))
        .collect();
    let number = |title: &str| cells.get(title)?.parse::<f64>().ok();
    let count = |title: &str| cells.get(title)?.parse::<u64>().ok();
    let of_plan = |row: &Row| {
        let counts = [row.number as u64, row.volume_mib, row.clients, row.servers];
        let words = [row.operation, row.mode, row.client_mode];
        row.table == table
            && ["no", "volume_mib", "client_workers", "server_workers"].map(count) == counts.map(Some)
            && ["operation", "mode", "client_mode"].map(|title| cells.get(title))
                == words.each_ref().map(Some)
    };
    let at = rows.iter().position(of_plan)?;
    let (row, ok) = (rows[at].clone(), count("client_ok")?);
    let mut failures = [0; CAUSES.len()];
    for cause in cells.get("errors")?.split(';').filter(|cause| !cause.is_empty()) {
        let (cause, count) = cause.split_once('=')?;
        failures[CAUSES.iter().position(|known| *known == cause)?] = count.parse().ok()?;
    }
    // The mean time from bytes and rate, which has more digits than the time.
    let (time, rate) = (number("time_per_client_s"), number("throughput_per_client_Bps"));
    let (time, bytes) = match (row.operation, rate.filter(|rate| *rate > 0.0)) {
        ("list", Some(rate)) => (time?, (rate * time? * ok as f64).round() as u64),
        (_, Some(rate)) => ((row.volume_mib << 20) as f64 / rate, (row.volume_mib << 20) * ok),
        (_, None) => (time.unwrap_or_default(), 0),
    };
    let error = cells.get("first_error").filter(|error| !error.is_empty());
    let error = error.map(|error| error.trim_matches('"').replace("\"\"", "\""));
    let (example, server_trouble) = match failures.iter().sum::<u64>() {
        0 => (None, error),
        _ => (error, None),
    };
    let outcome = Outcome {
        row,
        times: vec![time; ok as usize],
        bytes,
        failures,
        servers: count("server_ok").zip(count("server_failed")),
        wall: number("wall_s").unwrap_or_default(),
        example,
        server_trouble,
        repeats: count("repeats")?,
        spread: number("total_low_Bps").zip(number("total_high_Bps")),
        ..Outcome::default()
    };
    Some((at, outcome))
}

impl Merged {
    /// Takes the rows of one shard. It has no file for a table of which it was dealt no row.
    fn add(&mut self, shard: &Shard) -> Result<(), Failure> {
        let tables = self.plan.rows.chunk_by(|a, b| a.table == b.table);
        let tables: Vec<String> = tables.map(|rows| rows[0].table.clone()).collect();
        for table in tables {
            let path = shard.path.join(format!("{table}.csv"));
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(|error| cannot("read", &path, &error))?,
            };
            let mut lines = text.lines().zip(1..);
            if lines.next().is_none_or(|(head, _)| head != self.head) {
                let remedy = "its first line is not that of this version";
                return failed(format!("{}: {remedy}", path.display()));
            }
            lines.try_for_each(|(line, number)| self.take(&table, line, &path, number))?;
        }
        Ok(())
    }

    /// Takes one line, which has this number in its file.
    fn take(&mut self, table: &str, line: &str, path: &Path, number: usize) -> Result<(), Failure> {
        let place = format!("{}, line {number}", path.display());
        let Some((at, outcome)) = read(&self.plan.rows, table, line) else {
            return failed(format!("{place}: no row of these options: {line}"));
        };
        let name = report::name(&outcome.row, self.plan.language);
        let row = Measured {
            path: path.to_owned(),
            line: line.to_owned(),
            outcome,
        };
        match self.rows.insert(at, row) {
            Some(other) => failed(format!(
                "{name} is there twice: in {}; {place}",
                other.path.display()
            )),
            None => Ok(()),
        }
    }

    /// Refuses a run that is not whole.
    fn check(&self) -> Result<(), Failure> {
        let rows = self.plan.rows.iter().enumerate();
        let missing = rows.filter(|(at, _)| !self.rows.contains_key(at));
        let names: Vec<String> = missing
            .map(|(_, row)| format!("{} {}", row.table, row.number))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let (count, all, names) = (names.len(), self.plan.rows.len(), names.join(", "));
        failed(format!(
            "{count} of {all} rows are missing; name the folders of all shards: {names}"
        ))
    }

    /// The files and the summary of a whole run.
    fn write(self, shards: &[Shard]) -> Result<(), Failure> {
        let (plan, language) = (&self.plan, self.plan.language);
        let mut about = vec![("options", plan.options())];
        for shard in shards {
            let line = |line: &String| ("shard", format!("{}: {line}", shard.path.display()));
            about.extend(shard.about.iter().map(line));
        }
        let results = RunFolder::joined(plan, about)?;
        let rows: Vec<Measured> = self.rows.into_values().collect();
        let (mut joint, mut number) = (self.head.clone() + "\n", plan.number_from);
        for rows in rows.chunk_by(|a, b| a.outcome.row.table == b.outcome.row.table) {
            let table = &rows[0].outcome.row.table;
            let mut csv = results.create_csv(table, &self.head)?;
            for Measured { line, .. } in rows {
                append(&mut csv, &format!("{line}\n"))
                    .or_else(|error| failed(format!("cannot write {table}.csv: {error}")))?;
                let (_, rest) = line.split_once(',').unwrap_or_default();
                joint += &format!("{number},{rest}\n");
                number += 1;
            }
        }
        let one = rows
            .iter()
            .all(|row| row.outcome.row.table == rows[0].outcome.row.table);
        let done: Vec<Outcome> = rows.into_iter().map(|row| row.outcome).collect();
        let tables = report::tables(&done, language, "## ", report::markdown);
        results.write_tables(&tables, if one { "" } else { &joint })?;
        results.ended("complete")?;
        // As long as one machine would have taken for all.
        let seconds = |shard: &Shard| shard.value("took").trim_end_matches(" s").parse().unwrap_or(0.0);
        let wall = shards.iter().map(seconds).sum::<f64>();
        let tables = report::tables(&done, language, "", report::table);
        let summary = report::summary(&done, plan.rows.len(), wall, language);
        let place = language.line(words::RESULTS, &results.path.display());
        print(&format!("{tables}\n{summary}{place}"))?;
        report::verdict(&done, language).map_or(Ok(()), failed)
    }
}
