//! What do the measurements say? A row and its outcome become a line of CSV, a line of the assignment's
//! table, and the summary at the end. A cell holds a number only if it was counted: otherwise it is empty in
//! the CSV and a dash in the table, never a guess.

use crate::cli::nearest_rank;
use crate::client::CAUSES;
use crate::stats::utc;
use crate::stress::matrix::Row;
use crate::stress::repeats::{noisy, remark};
use crate::stress::words::{self, Language, Text, fill};
use std::array;
use std::time::SystemTime;

/// A row and what came of it. Times are in seconds.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub row: Row,
    /// One for each client worker that succeeded: from before `connect` to the end of its reply.
    /// The shortest first.
    pub times: Vec<f64>,
    /// Bytes that arrived right.
    pub bytes: u64,
    /// Failed client workers by cause, in the order of `CAUSES`.
    pub failures: [u64; CAUSES.len()],
    /// Server workers that lived and failed no request, and the others.
    pub servers: Option<(u64, u64)>,
    /// From the common start to the end of the last client worker.
    pub wall: f64,
    /// Highest resident memory of all server processes together, shared pages once.
    pub server_peak_rss_kib: Option<u64>,
    /// Processor time of all server processes, from start to stop.
    pub server_cpu: Option<f64>,
    /// Processor time of all client workers.
    pub client_cpu: f64,
    /// The failure of the server itself, if it failed.
    pub server_trouble: Option<String>,
    /// The first failure in words.
    pub example: Option<String>,
    /// When its clients started.
    pub started: Option<SystemTime>,
    /// Runs that it stands for, and the lowest and highest `total_rate` of them if there are several.
    pub repeats: u64,
    pub spread: Option<(f64, f64)>,
    /// Its line in the CSV, when an earlier start of the run has measured it.
    pub line: Option<String>,
}

/// A figure with this many decimals, or what stands for one that was not measured.
fn figure(value: Option<f64>, decimals: usize, nothing: &str) -> String {
    value.map_or(nothing.to_owned(), |value| format!("{value:.decimals$}"))
}

/// A cell with any text, on one line (RFC 4180, section 2).
fn quoted(text: &str) -> String {
    let line = text.replace(['\r', '\n'], " ");
    match line.contains([',', '"']) {
        true => format!("\"{}\"", line.replace('"', "\"\"")),
        false => line,
    }
}

/// Failures by their cause: `reset=1;timeout=3`.
fn causes(failures: &[u64; CAUSES.len()]) -> String {
    let counted = CAUSES.iter().zip(failures).filter(|(_, count)| **count > 0);
    let texts: Vec<String> = counted.map(|(cause, count)| format!("{cause}={count}")).collect();
    texts.join(";")
}

impl Outcome {
    pub fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Mean over the client workers that succeeded.
    fn time_per_client(&self) -> Option<f64> {
        (!self.times.is_empty()).then(|| self.times.iter().sum::<f64>() / self.times.len() as f64)
    }

    /// Bytes that arrived right by the sum of the times in which they did.
    fn rate_per_client(&self) -> Option<f64> {
        let sum: f64 = self.times.iter().sum();
        (sum > 0.0).then(|| self.bytes as f64 / sum)
    }

    /// Bytes that arrived right by wall time.
    pub fn total_rate(&self) -> Option<f64> {
        (self.wall > 0.0).then(|| self.bytes as f64 / self.wall)
    }

    /// The smallest time that at least `percent` of the successful clients did not exceed (nearest rank).
    fn percentile(&self, percent: usize) -> Option<f64> {
        nearest_rank(self.times.len(), percent * 10).map(|at| self.times[at])
    }

    /// The columns of the CSV: title and cell. New ones come last: readers of older files count columns.
    fn csv_columns(&self) -> [(&'static str, String); 27] {
        let seconds = |value| figure(value, 6, "");
        let count = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
        let row = &self.row;
        let first_error = self.example.as_ref().or(self.server_trouble.as_ref());
        [
            ("no", row.number.to_string()),
            ("operation", row.operation.to_owned()),
            ("volume_mib", row.volume_mib.to_string()),
            ("client_workers", row.clients.to_string()),
            ("server_workers", row.servers.to_string()),
            ("time_per_client_s", seconds(self.time_per_client())),
            ("throughput_per_client_Bps", figure(self.rate_per_client(), 0, "")),
            ("client_ok", self.times.len().to_string()),
            ("client_failed", self.failed().to_string()),
            ("server_ok", count(self.servers.map(|(ok, _)| ok))),
            ("server_failed", count(self.servers.map(|(_, failed)| failed))),
            ("mode", row.mode.to_owned()),
            ("client_mode", row.client_mode.to_owned()),
            ("wall_s", seconds(Some(self.wall).filter(|wall| *wall > 0.0))),
            ("total_Bps", figure(self.total_rate(), 0, "")),
            ("p50_s", seconds(self.percentile(50))),
            ("p95_s", seconds(self.percentile(95))),
            ("max_s", seconds(self.percentile(100))),
            ("server_peak_rss_kib", count(self.server_peak_rss_kib)),
            ("server_cpu_s", seconds(self.server_cpu)),
            ("client_cpu_s", seconds(Some(self.client_cpu))),
            ("errors", causes(&self.failures)),
            ("timestamp", self.started.map_or(String::new(), utc)),
            ("repeats", self.repeats.to_string()),
            ("total_low_Bps", figure(self.spread.map(|(low, _)| low), 0, "")),
            ("total_high_Bps", figure(self.spread.map(|(_, high)| high), 0, "")),
            // The one text, and so the last.
            (
                "first_error",
                first_error.map_or(String::new(), |text| quoted(text)),
            ),
        ]
    }

    /// Its line in the CSV, without the end.
    pub fn csv(&self) -> String {
        let columns = self.csv_columns();
        let Some(line) = &self.line else {
            return columns.map(|(_, cell)| cell).join(",");
        };
        // Not all of that line can be made again: it stays, but for its number and the spread.
        let old = line.splitn(columns.len(), ',');
        let cells = old.zip(&columns).map(|(old, (title, cell))| match *title {
            "no" | "repeats" | "total_low_Bps" | "total_high_Bps" => cell,
            _ => old,
        });
        cells.collect::<Vec<_>>().join(",")
    }

    /// The columns of the assignment's table: heading, characters and cell. With a blank between two of them
    /// they fit the 80 columns of a terminal.
    fn table_columns(&self) -> [(Text, usize, String); COLUMNS] {
        let row = &self.row;
        let clients = format!("{}/{}", self.times.len(), self.failed());
        let servers = self.servers.map(|(ok, failed)| format!("{ok}/{failed}"));
        let about = if noisy(self) { "~" } else { "" }.to_owned();
        [
            (words::NUMBER, 5, row.number.to_string()),
            (words::OPERATION, 9, row.operation.to_owned()),
            (words::VOLUME, 6, row.volume_mib.to_string()),
            (words::CLIENT_WORKERS, 7, row.clients.to_string()),
            (words::SERVER_WORKERS, 7, row.servers.to_string()),
            (words::TIME_PER_CLIENT, 10, figure(self.time_per_client(), 4, "-")),
            (
                words::RATE_PER_CLIENT,
                11,
                about + &figure(self.rate_per_client(), 0, "-"),
            ),
            (words::CLIENTS_OK, 7, clients),
            (words::SERVERS_OK, 7, servers.unwrap_or("-".to_owned())),
        ]
    }
}

/// The first line of the CSV.
pub fn csv_head() -> String {
    Outcome::default().csv_columns().map(|(title, _)| title).join(",")
}

/// Columns of the assignment's table.
const COLUMNS: usize = 9;

/// The column that holds a word and not a number.
const WORD: usize = 1;

/// Lines of the longest heading; a shorter one stands in the last of them.
const LINES: usize = 4;

/// A line of a heading, counted from 0.
fn heading_line(heading: &str, number: usize) -> &str {
    let empty = LINES - heading.split('|').count();
    let at = number.checked_sub(empty);
    at.and_then(|at| heading.split('|').nth(at)).unwrap_or_default()
}

/// The assignment's table for a terminal: aligned columns, below headings of several lines.
pub fn table(outcomes: &[Outcome], language: Language) -> String {
    let headings = Outcome::default()
        .table_columns()
        .map(|(heading, ..)| language.of(heading));
    let widths = Outcome::default().table_columns().map(|(_, width, _)| width);
    let line = |cells: [String; COLUMNS]| {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            line += &match at {
                WORD => format!("{cell:<width$} "),
                _ => format!("{cell:>width$} "),
            };
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text = String::new();
    for number in 0..LINES {
        text += &line(headings.map(|heading| heading_line(heading, number).to_owned()));
    }
    text += &line(widths.map(|width| "-".repeat(width)));
    for outcome in outcomes {
        text += &line(outcome.table_columns().map(|(.., cell)| cell));
    }
    text
}

/// The headings of the table, each in one line.
pub fn headings(language: Language) -> [String; COLUMNS] {
    let columns = Outcome::default().table_columns();
    // `ok/` and `failed` are one word, divided over two lines.
    columns.map(|(heading, ..)| language.of(heading).replace("/|", "/").replace('|', " "))
}

/// The same table for a file, in Markdown.
pub fn markdown(outcomes: &[Outcome], language: Language) -> String {
    let line = |cells: [String; COLUMNS]| format!("| {} |\n", cells.join(" | "));
    let rules = array::from_fn(|at| if at == WORD { ":---" } else { "---:" }.to_owned());
    let mut text = line(headings(language)) + &line(rules);
    for outcome in outcomes {
        text += &line(outcome.table_columns().map(|(.., cell)| cell));
    }
    text
}

/// All tables, each made by `table`, below headings that begin with `mark`.
pub fn tables(
    outcomes: &[Outcome],
    language: Language,
    mark: &str,
    table: fn(&[Outcome], Language) -> String,
) -> String {
    let of_a_table = outcomes.chunk_by(|a, b| a.row.table == b.row.table);
    let heading = language.counted(1, words::MODES);
    let texts = of_a_table.map(|outcomes| {
        let row = &outcomes[0].row;
        let mode = match row.table == row.mode {
            true => row.mode.to_owned(),
            false => format!("{}, client mode {}", row.mode, row.client_mode),
        };
        format!("{mark}{heading} {mode}\n\n{}", table(outcomes, language))
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Bytes as a person reads them, in three digits: `1.50 GiB`, `15.0 GiB`, `150 GiB`.
pub fn short_size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    // From here on it would be shown as 1024.
    while value >= 1023.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

/// `thread download 5 × 50 MiB, 1 worker`: five clients with a file of 50 MiB each, one server worker.
pub fn describe(row: &Row, language: Language) -> String {
    format!("{} {}", row.table, describe_in_mode(row, language))
}

/// The same without the mode. LIST lists the folder that holds that file.
fn describe_in_mode(row: &Row, language: Language) -> String {
    let folder = match row.operation {
        "list" => language.of(words::FOLDER_WITH),
        _ => "",
    };
    let (volume, workers) = (row.volume_mib, language.workers(row.servers));
    format!(
        "{} {} × {folder}{volume} MiB, {workers}",
        row.operation, row.clients
    )
}

/// `thread row 7`: rows are counted in each table.
pub fn name(row: &Row, language: Language) -> String {
    format!("{} {} {}", row.table, language.of(words::ROW), row.number)
}

/// The summary, which a reader wants first. `planned`: the number of rows that there should be; `wall`: the
/// seconds of the run.
pub fn summary(outcomes: &[Outcome], planned: usize, wall: f64, language: Language) -> String {
    let failures = array::from_fn(|cause| outcomes.iter().map(|outcome| outcome.failures[cause]).sum());
    let failed = match failures.iter().sum() {
        0 => "0".to_owned(),
        count => format!("{count} ({})", causes(&failures)),
    };
    let bytes: u64 = outcomes.iter().map(|outcome| outcome.bytes).sum();
    let first = |label, find: fn(&Outcome) -> Option<&String>| {
        let found = outcomes
            .iter()
            .find_map(|outcome| Some((&outcome.row, find(outcome)?)));
        found.map_or(String::new(), |(row, what)| {
            language.line(label, &format!("{}: {what}", name(row, language)))
        })
    };
    let rows = format!("{} {} {planned}", outcomes.len(), language.of(words::OF));
    [
        language.line(words::ROWS, &rows),
        language.line(words::FAILURES, &failed),
        extremes(outcomes, language),
        first(words::FIRST, |outcome| outcome.example.as_ref()),
        first(words::SERVER, |outcome| outcome.server_trouble.as_ref()),
        language.line(words::CONTENT, &short_size(bytes as f64)),
        language.line(words::TIME, &format!("{wall:.1} s")),
        remark(outcomes, language),
    ]
    .concat()
}

/// The fastest and the slowest row, where there are two. A row in which nothing arrived has no rate; a list
/// moves too few bytes.
fn extremes(outcomes: &[Outcome], language: Language) -> String {
    let moved = outcomes
        .iter()
        .filter(|outcome| outcome.row.operation != "list" && outcome.bytes > 0);
    let rated: Vec<(f64, &Row)> = moved
        .filter_map(|outcome| Some((outcome.total_rate()?, &outcome.row)))
        .collect();
    let by_rate = |a: &(f64, &Row), b: &(f64, &Row)| a.0.total_cmp(&b.0);
    let worst = rated.iter().copied().min_by(by_rate);
    let best = rated.iter().copied().max_by(by_rate);
    let (Some(worst), Some(best), 2..) = (worst, best, rated.len()) else {
        return String::new();
    };
    let extreme = |label, (rate, row): (f64, &Row)| {
        let (rate, within) = (short_size(rate), language.of(words::WITHIN));
        let (name, what) = (name(row, language), describe_in_mode(row, language));
        language.line(label, &format!("{rate}/s {within} {name}: {what}"))
    };
    extreme(words::BEST, best) + &extreme(words::WORST, worst)
}

/// What failed, in one sentence; `None`: nothing did. Servers that were not measured are left out.
pub fn verdict(outcomes: &[Outcome], language: Language) -> Option<String> {
    let clients: u64 = outcomes.iter().map(Outcome::failed).sum();
    let bad = |outcome: &&Outcome| outcome.servers.is_some_and(|(_, failed)| failed > 0);
    let servers = outcomes.iter().filter(bad).count() as u64;
    let troubled = outcomes.iter().any(|outcome| outcome.server_trouble.is_some());
    let told = [(clients, words::FAILED_CLIENTS), (servers, words::FAILED_SERVERS)];
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    let told = told.map(|(count, text)| fill(language.counted(count, text), &[&count]));
    (clients > 0 || troubled).then(|| told.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::words::Language::{English, Indonesian};

    fn row() -> Row {
        Row {
            number: 7,
            table: "thread".to_owned(),
            mode: "thread",
            client_mode: "process",
            operation: "upload",
            volume_mib: 10,
            clients: 5,
            servers: 1,
        }
    }

    fn outcome() -> Outcome {
        Outcome {
            row: row(),
            times: vec![0.1, 0.2, 0.3, 0.4],
            bytes: 1000,
            failures: [0, 1, 0, 0, 0, 0],
            servers: Some((1, 0)),
            wall: 0.5,
            server_peak_rss_kib: Some(2048),
            server_cpu: Some(0.25),
            client_cpu: 0.125,
            server_trouble: None,
            example: Some("client 3: it says \"no, thanks\"".to_owned()),
            started: Some(SystemTime::UNIX_EPOCH),
            repeats: 3,
            spread: Some((1999.4, 3000.0)),
            line: None,
        }
    }

    #[test]
    fn a_line_has_a_cell_for_each_title() {
        let line = outcome().csv();
        assert_eq!(
            line,
            "7,upload,10,5,1,0.250000,1000,4,1,1,0,thread,process,0.500000,2000,\
             0.200000,0.400000,0.400000,2048,0.250000,0.125000,reset=1,\
             1970-01-01T00:00:00.000Z,3,1999,3000,\"client 3: it says \"\"no, thanks\"\"\""
        );
        let titles = csv_head().split(',').count();
        assert_eq!(line.splitn(titles, ',').count(), titles);
    }

    #[test]
    fn a_line_of_an_earlier_start_stays_but_for_its_number_and_spread() {
        let old = outcome().csv();
        let known = Outcome {
            row: Row { number: 61, ..row() },
            line: Some(old.clone()),
            repeats: 5,
            spread: Some((1000.0, 4000.0)),
            ..Outcome::default()
        };
        let expected = old
            .replace("7,upload", "61,upload")
            .replace(",3,1999,3000,", ",5,1000,4000,");
        assert_eq!(known.csv(), expected);
    }

    #[test]
    fn what_was_not_counted_stays_empty() {
        let nothing = Outcome {
            row: row(),
            failures: [5, 0, 0, 0, 0, 0],
            wall: 1.0,
            repeats: 1,
            ..Outcome::default()
        };
        let line = nothing.csv();
        assert_eq!(
            line,
            "7,upload,10,5,1,,,0,5,,,thread,process,1.000000,0,,,,,,0.000000,refused=5,,1,,,"
        );
        let rows = [nothing];
        let cells = |text: &str, at: usize| {
            let line = text.lines().last().unwrap_or_default();
            line.split_whitespace()
                .filter(|cell| *cell != "|")
                .nth(at)
                .map(str::to_owned)
        };
        for text in [table(&rows, English), markdown(&rows, English)] {
            assert_eq!(
                [5, 6, 7, 8].map(|at| cells(&text, at).unwrap()),
                ["-", "-", "0/5", "-"],
                "{text}"
            );
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let outcome = Outcome {
            times: (1..=100).map(f64::from).collect(),
            ..Outcome::default()
        };
        let table = [(50, 50.0), (95, 95.0), (100, 100.0), (1, 1.0)];
        for (percent, value) in table {
            assert_eq!(outcome.percentile(percent), Some(value));
        }
        assert_eq!(Outcome::default().percentile(50), None);
    }

    /// The widest row that the assignment asks for, at a rate that no machine reaches today.
    fn wide() -> Outcome {
        let row = Row {
            number: 54,
            table: "process".to_owned(),
            mode: "process",
            volume_mib: 100,
            clients: 50,
            servers: 50,
            ..row()
        };
        Outcome {
            row,
            times: vec![0.052_428_8; 50],
            bytes: 50 * 104_857_600,
            servers: Some((50, 0)),
            spread: None,
            wall: 123.456,
            failures: [0; 6],
            ..outcome()
        }
    }

    #[test]
    fn a_table_fits_a_terminal_and_its_columns_stand_below_their_headings() {
        let rows = [outcome(), wide()];
        for (language, first) in [(English, "   No"), (Indonesian, "Nomor")] {
            let text = table(&rows, language);
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), LINES + 1 + 2, "{text}");
            assert!(lines.iter().all(|line| line.chars().count() < 80), "{text}");
            assert!(lines[LINES - 1].starts_with(first), "{text}");
            assert!(!text.contains('|'), "{text}");
            let rule = lines[LINES];
            let ends = |line: &str| line.rfind(|c: char| c != ' ');
            assert!(
                lines[LINES + 1..].iter().all(|line| ends(line) == ends(rule)),
                "{text}"
            );
            assert!(
                lines[LINES + 2].contains(" 0.0524  2000000000    50/0    50/0"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_row_whose_repeats_lie_far_apart_is_marked() {
        let noisy = Outcome {
            spread: Some((1000.0, 1501.0)),
            ..wide()
        };
        for text in [
            table(std::slice::from_ref(&noisy), English),
            markdown(&[noisy], English),
        ] {
            let line = text.lines().last().unwrap_or_default();
            assert!(
                line.contains(" ~2000000000 ") && line.chars().count() < 80,
                "{line}"
            );
        }
    }

    #[test]
    fn headings_are_whole_in_the_file() {
        let line = |language| markdown(&[wide()], language).lines().next().unwrap().to_owned();
        assert_eq!(
            line(Indonesian),
            "| Nomor | Operasi | Volume (MiB) | Jumlah client worker pool | Jumlah server worker pool \
             | Waktu total per client (s) | Throughput per client (bytes/s) | worker client sukses/gagal \
             | worker server sukses/gagal |"
        );
        assert_eq!(
            line(English),
            "| No | Operation | Volume (MiB) | Client workers | Server workers | Total time per client (s) \
             | Throughput per client (bytes/s) | Client workers ok/failed | Server workers ok/failed |"
        );
    }

    #[test]
    fn each_mode_has_a_table_of_its_own() {
        let mut rows = vec![outcome(), outcome(), wide()];
        let text = tables(&rows, English, "## ", markdown);
        let lines = text
            .lines()
            .filter(|line| line.starts_with("## ") || line.is_empty());
        assert_eq!(
            lines.collect::<Vec<_>>(),
            ["## mode thread", "", "", "## mode process", ""]
        );
        rows.clear();
        assert_eq!(tables(&rows, English, "", table), "");
    }

    #[test]
    fn the_summary_counts_failures_by_cause() {
        let text = summary(&[outcome(), outcome()], 3, 9.0, English);
        assert!(
            text.starts_with(
                "rows       2 of 3\nfailures   2 (reset=2)\nbest       1.95 KiB/s in thread row 7: "
            ),
            "{text}"
        );
        let text = summary(&[wide(), wide()], 3, 9.0, Indonesian);
        let best = "terbaik    40.5 MiB/s pada process baris 54: upload 50 × 100 MiB, 50 worker\n";
        assert!(
            text.starts_with(&format!("baris      2 dari 3\ngagal      0\n{best}")),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
    }

    #[test]
    fn one_row_is_neither_best_nor_worst() {
        let text = summary(&[outcome()], 1, 9.0, English);
        assert!(!text.contains("best") && !text.contains("worst"), "{text}");
        let list = Row {
            operation: "list",
            ..row()
        };
        assert_eq!(
            describe(&list, English),
            "thread list 5 × folder with 10 MiB, 1 worker"
        );
    }

    #[test]
    fn the_verdict_says_what_failed_and_nothing_that_was_not_measured() {
        let of = |clients, servers| Outcome {
            failures: [clients, 0, 0, 0, 0, 0],
            servers,
            ..Outcome::default()
        };
        let died = |outcome| Outcome {
            server_trouble: Some("it died".to_owned()),
            ..outcome
        };
        let table = [
            (vec![of(0, None), of(0, Some((3, 0)))], None),
            (vec![of(4, None)], Some("4 client workers failed")),
            (vec![of(1, Some((3, 0)))], Some("1 client worker failed")),
            (
                vec![of(1, Some((2, 1)))],
                Some("1 client worker failed; 1 row with failed server workers"),
            ),
            (
                vec![of(3, Some((2, 1))), of(1, Some((0, 3)))],
                Some("4 client workers failed; 2 rows with failed server workers"),
            ),
            (
                vec![died(of(0, Some((0, 3))))],
                Some("1 row with failed server workers"),
            ),
        ];
        for (rows, text) in table {
            assert_eq!(verdict(&rows, English).as_deref(), text);
        }
        let text = "4 worker client gagal; 1 baris dengan worker server yang gagal";
        assert_eq!(verdict(&[of(4, Some((2, 1)))], Indonesian).as_deref(), Some(text));
    }

    #[test]
    fn when_everything_failed_there_is_no_best_row() {
        let nothing = Outcome {
            row: row(),
            failures: [5, 0, 0, 0, 0, 0],
            wall: 1.0,
            ..Outcome::default()
        };
        let text = summary(&[nothing], 1, 9.0, English);
        assert!(!text.contains("best") && !text.contains("worst"), "{text}");
    }

    #[test]
    fn bytes_have_three_digits() {
        let table = [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.50 KiB"),
            (10.0 * 1024.0 - 1.0, "10.0 KiB"),
            (99.94 * 1024.0, "99.9 KiB"),
            (99.96 * 1024.0, "100 KiB"),
            (1023.4 * 1024.0, "1023 KiB"),
            (1023.6 * 1024.0, "1.00 MiB"),
            (105.0 * 1024.0 * 1024.0 * 1024.0, "105 GiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(short_size(bytes), text);
        }
    }
}
