//! # Chapter 13i. What do the measurements say?
//!
//! One row of the matrix and its outcome, as a line of CSV, as a line of the assignment's table, and in the
//! summary at the end. Values are passed as values; nothing here parses what something else printed.
//!
//! The invariant: a cell holds a number only if it was counted. Otherwise it is empty in the CSV and a dash
//! in the table, never a guess. Each column is defined in one sentence beside the field that fills it.
//!
//! What must not live here: measuring.
//!
//! Experiment: add a column, and see how many places must change.

use crate::cli::nearest_rank;
use crate::client::CAUSES;
use crate::stress::matrix::Row;
use crate::stress::words::{LINES, Words, fill};

/// The outcome of a row. Times are in seconds.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// One for each client worker that succeeded: from before `connect` to the end of its reply.
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
}

/// The columns of the CSV, in this order.
pub const HEADER: &str = "no,operation,volume_mib,client_workers,server_workers,time_per_client_s,\
throughput_per_client_Bps,client_ok,client_failed,server_ok,server_failed,mode,client_mode,wall_s,total_Bps,\
p50_s,p95_s,max_s,server_peak_rss_kib,server_cpu_s,client_cpu_s,errors";

impl Outcome {
    pub fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Mean over the client workers that succeeded.
    pub fn time_per_client(&self) -> Option<f64> {
        (!self.times.is_empty()).then(|| self.times.iter().sum::<f64>() / self.times.len() as f64)
    }

    /// Bytes that arrived right by the sum of the times in which they did.
    pub fn throughput_per_client(&self) -> Option<f64> {
        let sum: f64 = self.times.iter().sum();
        (sum > 0.0).then(|| self.bytes as f64 / sum)
    }

    /// Bytes that arrived right by wall time.
    pub fn total_rate(&self) -> Option<f64> {
        (self.wall > 0.0).then(|| self.bytes as f64 / self.wall)
    }

    /// The smallest time that at least `percent` of the successful clients did not exceed (nearest rank).
    pub fn percentile(&self, percent: usize) -> Option<f64> {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        nearest_rank(times.len(), percent * 10).map(|at| times[at])
    }

    /// `reset=1;timeout=3`
    fn errors(&self) -> String {
        let counted = CAUSES.iter().zip(self.failures).filter(|(_, count)| *count > 0);
        counted
            .map(|(cause, count)| format!("{cause}={count}"))
            .collect::<Vec<_>>()
            .join(";")
    }

    /// The line of `row` in the CSV, without its end.
    pub fn csv(&self, row: &Row) -> String {
        let seconds = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.6}"));
        let rate = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.0}"));
        let count = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
        [
            row.number.to_string(),
            row.operation.to_owned(),
            row.volume_mib.to_string(),
            row.clients.to_string(),
            row.servers.to_string(),
            seconds(self.time_per_client()),
            rate(self.throughput_per_client()),
            self.times.len().to_string(),
            self.failed().to_string(),
            count(self.servers.map(|(ok, _)| ok)),
            count(self.servers.map(|(_, failed)| failed)),
            row.mode.to_owned(),
            row.client_mode.to_owned(),
            seconds((self.wall > 0.0).then_some(self.wall)),
            rate(self.total_rate()),
            seconds(self.percentile(50)),
            seconds(self.percentile(95)),
            seconds(self.percentile(100)),
            count(self.server_peak_rss_kib),
            seconds(self.server_cpu),
            seconds(Some(self.client_cpu)),
            self.errors(),
        ]
        .join(",")
    }
}

/// Characters of each column of the table. With a blank between two they fit the 80 of a terminal.
const WIDTHS: [usize; 9] = [5, 9, 6, 7, 7, 10, 11, 7, 7];

/// The column that holds a word and not a number.
const OPERATION: usize = 1;

/// The cells of the assignment's table of nine columns.
fn cells(row: &Row, outcome: &Outcome) -> [String; 9] {
    let number =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    [
        row.number.to_string(),
        row.operation.to_owned(),
        row.volume_mib.to_string(),
        row.clients.to_string(),
        row.servers.to_string(),
        number(outcome.time_per_client(), 4),
        number(outcome.throughput_per_client(), 0),
        format!("{}/{}", outcome.times.len(), outcome.failed()),
        outcome
            .servers
            .map_or("-".to_owned(), |(ok, failed)| format!("{ok}/{failed}")),
    ]
}

/// The assignment's table for a terminal: aligned columns, below headings of several lines.
pub fn table(rows: &[(Row, Outcome)], words: &Words) -> String {
    let line = |cells: [&str; 9]| {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
            line += &if at == OPERATION {
                format!("{cell:<width$} ")
            } else {
                format!("{cell:>width$} ")
            };
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text: String = (0..LINES)
        .map(|number| line(words.headings.map(|heading| heading[number])))
        .collect();
    let rules = WIDTHS.map(|width| "-".repeat(width));
    text += &line(rules.each_ref().map(String::as_str));
    for (row, outcome) in rows {
        text += &line(cells(row, outcome).each_ref().map(String::as_str));
    }
    text
}

/// The same table for a file, in Markdown.
pub fn markdown(rows: &[(Row, Outcome)], words: &Words) -> String {
    let line = |cells: [String; 9]| format!("| {} |\n", cells.join(" | "));
    // `ok/` and `failed` are one word, divided over two lines.
    let whole = |heading: [&str; LINES]| heading.join(" ").trim_start().replace("/ ", "/");
    let mut text = line(words.headings.map(whole));
    let mut rules = ["---:"; 9];
    rules[OPERATION] = ":---";
    text += &line(rules.map(str::to_owned));
    text + &rows
        .iter()
        .map(|(row, outcome)| line(cells(row, outcome)))
        .collect::<String>()
}

/// The tables of all modes, each made by `table`, below headings that begin with `mark`.
pub fn tables(
    rows: &[(Row, Outcome)],
    words: &Words,
    mark: &str,
    table: impl Fn(&[(Row, Outcome)], &Words) -> String,
) -> String {
    let of_a_mode = rows.chunk_by(|a, b| a.0.mode == b.0.mode);
    let texts = of_a_mode.map(|rows| {
        format!(
            "{mark}{} {}\n\n{}",
            words.modes[0],
            rows[0].0.mode,
            table(rows, words)
        )
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Bytes as a person reads them, in three digits: `1.50 GiB`, `15.0 GiB`, `150 GiB`.
pub fn short_size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
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
pub fn describe(row: &Row, words: &Words) -> String {
    format!("{} {}", row.mode, describe_in_mode(row, words))
}

/// The same without the mode. LIST lists the folder that holds that file.
fn describe_in_mode(row: &Row, words: &Words) -> String {
    let Row {
        operation,
        volume_mib,
        clients,
        servers,
        ..
    } = row;
    let folder = if *operation == "list" {
        words.folder_with
    } else {
        ""
    };
    format!(
        "{operation} {clients} × {folder}{volume_mib} MiB, {}",
        words.workers(*servers)
    )
}

/// `thread row 7`: rows are counted in each mode.
pub fn name(row: &Row, words: &Words) -> String {
    format!("{} {} {}", row.mode, words.row, row.number)
}

/// A line of the summary.
pub fn line(label: &str, value: &str) -> String {
    format!("{label:<10} {value}\n")
}

/// The summary, which a reader wants first. `planned`: the number of rows that there should be.
pub fn summary(rows: &[(Row, Outcome)], planned: usize, wall: f64, words: &Words) -> String {
    let mut failures = [0; CAUSES.len()];
    let mut bytes = 0;
    for (_, outcome) in rows {
        bytes += outcome.bytes;
        failures
            .iter_mut()
            .zip(outcome.failures)
            .for_each(|(sum, count)| *sum += count);
    }
    let all = Outcome {
        failures,
        ..Outcome::default()
    };
    let failed = match all.failed() {
        0 => "0".to_owned(),
        count => format!("{count} ({})", all.errors()),
    };
    let mut text = line(words.rows, &format!("{} {} {planned}", rows.len(), words.of));
    text += &line(words.failures, &failed);
    text += &extremes(rows, words);
    let mut first = |label: &str, find: fn(&Outcome) -> Option<&String>| {
        if let Some((row, what)) = rows.iter().find_map(|(row, outcome)| Some((row, find(outcome)?))) {
            text += &line(label, &format!("{}: {what}", name(row, words)));
        }
    };
    first(words.first, |outcome| outcome.example.as_ref());
    first(words.server, |outcome| outcome.server_trouble.as_ref());
    text += &line(words.content, &short_size(bytes as f64));
    text + &line(words.time, &format!("{wall:.1} s"))
}

/// What failed, in one sentence; `None`: nothing did. Servers that were not measured are left out.
pub fn verdict(rows: &[(Row, Outcome)], words: &Words) -> Option<String> {
    let clients: u64 = rows.iter().map(|(_, outcome)| outcome.failed()).sum();
    let servers = |outcome: &Outcome| outcome.servers.is_some_and(|(_, failed)| failed > 0);
    let servers = rows.iter().filter(|(_, outcome)| servers(outcome)).count() as u64;
    let troubled = rows.iter().any(|(_, outcome)| outcome.server_trouble.is_some());
    let told = [(clients, &words.failed_clients), (servers, &words.failed_servers)];
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told
        .map(|(count, text)| fill(text[usize::from(count != 1)], &[&count]))
        .collect();
    (clients > 0 || troubled).then(|| told.join("; "))
}

/// The fastest and the slowest row, where there are two. A row in which nothing arrived has no rate; a list
/// moves too few bytes.
fn extremes(rows: &[(Row, Outcome)], words: &Words) -> String {
    let rated = rows
        .iter()
        .filter_map(|(row, outcome)| Some((row, outcome.total_rate()?)));
    let rated: Vec<_> = rated
        .filter(|(row, rate)| row.operation != "list" && *rate > 0.0)
        .collect();
    if rated.len() < 2 {
        return String::new();
    }
    let best = rated
        .iter()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|found| (words.best, found));
    let worst = rated
        .iter()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|found| (words.worst, found));
    let mut text = String::new();
    for (label, (row, rate)) in [best, worst].into_iter().flatten() {
        let (rate, name, what) = (short_size(*rate), name(row, words), describe_in_mode(row, words));
        text += &line(label, &format!("{rate}/s {} {name}: {what}", words.within));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::words::{ENGLISH, INDONESIAN};

    fn row() -> Row {
        Row {
            number: 7,
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
            times: vec![0.4, 0.1, 0.2, 0.3],
            bytes: 1000,
            failures: [0, 1, 0, 0, 0, 0],
            servers: Some((1, 0)),
            wall: 0.5,
            server_peak_rss_kib: Some(2048),
            server_cpu: Some(0.25),
            client_cpu: 0.125,
            server_trouble: None,
            example: None,
        }
    }

    #[test]
    fn a_line_has_a_cell_for_each_title() {
        let line = outcome().csv(&row());
        assert_eq!(
            line,
            "7,upload,10,5,1,0.250000,1000,4,1,1,0,thread,process,0.500000,2000,\
             0.200000,0.400000,0.400000,2048,0.250000,0.125000,reset=1"
        );
        assert_eq!(line.split(',').count(), HEADER.split(',').count());
    }

    #[test]
    fn what_was_not_counted_stays_empty() {
        let nothing = Outcome {
            failures: [5, 0, 0, 0, 0, 0],
            wall: 1.0,
            ..Outcome::default()
        };
        let line = nothing.csv(&row());
        assert_eq!(
            line,
            "7,upload,10,5,1,,,0,5,,,thread,process,1.000000,0,,,,,,0.000000,refused=5"
        );
        let rows = [(row(), nothing)];
        let cells = |text: &str, at: usize| {
            let line = text.lines().last().unwrap_or_default();
            line.split_whitespace()
                .filter(|cell| *cell != "|")
                .nth(at)
                .map(str::to_owned)
        };
        for text in [table(&rows, &ENGLISH), markdown(&rows, &ENGLISH)] {
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
            times: (1..=100).rev().map(f64::from).collect(),
            ..Outcome::default()
        };
        let table = [(50, 50.0), (95, 95.0), (100, 100.0), (1, 1.0)];
        for (percent, value) in table {
            assert_eq!(outcome.percentile(percent), Some(value));
        }
        assert_eq!(Outcome::default().percentile(50), None);
    }

    /// The widest row that the assignment asks for, at a rate that no machine reaches today.
    fn wide() -> (Row, Outcome) {
        let row = Row {
            number: 54,
            mode: "process",
            volume_mib: 100,
            clients: 50,
            servers: 50,
            ..row()
        };
        let outcome = Outcome {
            times: vec![0.052_428_8; 50],
            bytes: 50 * 104_857_600,
            ..outcome()
        };
        (
            row,
            Outcome {
                servers: Some((50, 0)),
                wall: 123.456,
                failures: [0; 6],
                ..outcome
            },
        )
    }

    #[test]
    fn a_table_fits_a_terminal_and_its_columns_stand_below_their_headings() {
        let rows = [(row(), outcome()), wide()];
        for (words, first) in [(&ENGLISH, "   No"), (&INDONESIAN, "Nomor")] {
            let text = table(&rows, words);
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
    fn headings_are_whole_in_the_file() {
        let line = |words| markdown(&[wide()], words).lines().next().unwrap().to_owned();
        assert_eq!(
            line(&INDONESIAN),
            "| Nomor | Operasi | Volume (MiB) | Jumlah client worker pool | Jumlah server worker pool \
             | Waktu total per client (s) | Throughput per client (bytes/s) | worker client sukses/gagal \
             | worker server sukses/gagal |"
        );
        assert_eq!(
            line(&ENGLISH),
            "| No | Operation | Volume (MiB) | Client workers | Server workers | Total time per client (s) \
             | Throughput per client (bytes/s) | Client workers ok/failed | Server workers ok/failed |"
        );
    }

    #[test]
    fn each_mode_has_a_table_of_its_own() {
        let mut rows = vec![(row(), outcome()), (row(), outcome()), wide()];
        let text = tables(&rows, &ENGLISH, "## ", markdown);
        let lines = text
            .lines()
            .filter(|line| line.starts_with("## ") || line.is_empty());
        assert_eq!(
            lines.collect::<Vec<_>>(),
            ["## mode thread", "", "", "## mode process", ""]
        );
        rows.clear();
        assert_eq!(tables(&rows, &ENGLISH, "", table), "");
    }

    #[test]
    fn the_summary_counts_failures_by_cause() {
        let text = summary(&[(row(), outcome()), (row(), outcome())], 3, 9.0, &ENGLISH);
        assert!(
            text.starts_with(
                "rows       2 of 3\nfailures   2 (reset=2)\nbest       1.95 KiB/s in thread row 7: "
            ),
            "{text}"
        );
        let text = summary(&[wide(), wide()], 3, 9.0, &INDONESIAN);
        let best = "terbaik    40.5 MiB/s pada process baris 54: upload 50 × 100 MiB, 50 worker\n";
        assert!(
            text.starts_with(&format!("baris      2 dari 3\ngagal      0\n{best}")),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
    }

    #[test]
    fn one_row_is_neither_best_nor_worst() {
        let text = summary(&[(row(), outcome())], 1, 9.0, &ENGLISH);
        assert!(!text.contains("best") && !text.contains("worst"), "{text}");
        let list = Row {
            operation: "list",
            ..row()
        };
        assert_eq!(
            describe(&list, &ENGLISH),
            "thread list 5 × folder with 10 MiB, 1 worker"
        );
    }

    #[test]
    fn the_verdict_says_what_failed_and_nothing_that_was_not_measured() {
        let of = |clients, servers| {
            let failures = [clients, 0, 0, 0, 0, 0];
            (
                row(),
                Outcome {
                    failures,
                    servers,
                    ..Outcome::default()
                },
            )
        };
        let died = |mut row: (Row, Outcome)| {
            row.1.server_trouble = Some("it died".to_owned());
            row
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
            assert_eq!(verdict(&rows, &ENGLISH).as_deref(), text);
        }
        let text = "4 worker client gagal; 1 baris dengan worker server yang gagal";
        assert_eq!(
            verdict(&[of(4, Some((2, 1)))], &INDONESIAN).as_deref(),
            Some(text)
        );
    }

    #[test]
    fn when_everything_failed_there_is_no_best_row() {
        let nothing = Outcome {
            failures: [5, 0, 0, 0, 0, 0],
            wall: 1.0,
            ..Outcome::default()
        };
        let text = summary(&[(row(), nothing)], 1, 9.0, &ENGLISH);
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
