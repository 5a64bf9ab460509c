//! # Chapter 13. What do the measurements say?
//!
//! One row of the matrix and what came of it, as a line of CSV, as a line of the assignment's table, and in
//! the summary at the end. Values are passed as values; nothing here parses what something else printed.
//!
//! The invariant: a cell holds a number only if it was counted. What nobody counted is an empty cell in the
//! CSV and a dash in the table, never a guess. Each column is defined in one sentence beside the field that
//! fills it.
//!
//! What must not live here: measuring.
//!
//! before: `run_folder.rs` … after: `http.rs`
//!
//! Experiment: add a column, and see how many places must know of it.

use crate::client::CAUSES;
use crate::plan::Row;

/// What came of a row. Times are in seconds.
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
    /// What was wrong with the server itself.
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
        let rank = (times.len() * percent).div_ceil(100);
        times.get(rank.max(1) - 1).copied()
    }

    /// `reset=1;timeout=3`
    fn errors(&self) -> String {
        let counted = CAUSES.iter().zip(self.failures).filter(|(_, count)| *count > 0);
        counted.map(|(cause, count)| format!("{cause}={count}")).collect::<Vec<_>>().join(";")
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
            seconds(Some(self.wall)),
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

/// The titles of the assignment's table, over two lines, and the width of each column.
const TITLES: [(&str, &str, usize); 9] = [
    ("Nomor", "", 5),
    ("Operasi", "", 8),
    ("Volume", "(MiB)", 6),
    ("Jumlah client", "worker pool", 13),
    ("Jumlah server", "worker pool", 13),
    ("Waktu total", "per client (s)", 14),
    ("Throughput per", "client (bytes/s)", 16),
    ("worker client", "sukses/gagal", 13),
    ("worker server", "sukses/gagal", 13),
];

/// The assignment's table of nine columns.
pub fn table(rows: &[(Row, Outcome)]) -> String {
    let line = |cells: [String; 9]| {
        let padded = cells.iter().zip(TITLES).map(|(cell, (_, _, width))| format!("{cell:>width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(TITLES.map(|(first, _, _)| first.to_owned()));
    text += &line(TITLES.map(|(_, second, _)| second.to_owned()));
    text += &line(TITLES.map(|(_, _, width)| "-".repeat(width)));
    for (row, outcome) in rows {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let servers = outcome.servers.map_or("-".to_owned(), |(ok, failed)| format!("{ok}/{failed}"));
        text += &line([
            row.number.to_string(),
            row.operation.to_owned(),
            row.volume_mib.to_string(),
            row.clients.to_string(),
            row.servers.to_string(),
            number(outcome.time_per_client(), 4),
            number(outcome.throughput_per_client(), 0),
            format!("{}/{}", outcome.times.len(), outcome.failed()),
            servers,
        ]);
    }
    text
}

/// Bytes as a person reads them: `1.50 GiB`.
pub fn human(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.2} {}", units[unit]) }
}

/// `thread download 50 MiB × 5 clients, 1 server worker`
pub fn describe(row: &Row) -> String {
    let many = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let Row { mode, operation, volume_mib, clients, servers, .. } = row;
    let (clients, servers) = (many(*clients, "client"), many(*servers, "server worker"));
    format!("{mode} {operation} {volume_mib} MiB × {clients}, {servers}")
}

/// What a reader wants to know first. `planned` counts the rows that should have been there.
pub fn summary(rows: &[(Row, Outcome)], planned: usize, wall: f64) -> String {
    let mut failures = [0; CAUSES.len()];
    let mut bytes = 0;
    for (_, outcome) in rows {
        bytes += outcome.bytes;
        failures.iter_mut().zip(outcome.failures).for_each(|(sum, count)| *sum += count);
    }
    let all = Outcome { failures, ..Outcome::default() };
    let failed = match all.failed() {
        0 => "0".to_owned(),
        count => format!("{count} ({})", all.errors()),
    };
    let mut text = format!("rows       {} of {planned}\nfailures   {failed}\n", rows.len());
    let rated = rows.iter().filter_map(|(row, outcome)| Some((row, outcome.total_rate()?)));
    let rated: Vec<_> = rated.filter(|(row, _)| row.operation != "list").collect();
    let best = rated.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let worst = rated.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    for (word, found) in [("best", best), ("worst", worst)] {
        if let Some((row, rate)) = found {
            text += &format!("{word:<10} {}/s in row {}: {}\n", human(*rate), row.number, describe(row));
        }
    }
    if let Some((row, example)) = rows.iter().find_map(|(row, o)| Some((row, o.example.as_ref()?))) {
        text += &format!("first      row {}: {example}\n", row.number);
    }
    if let Some((row, trouble)) = rows.iter().find_map(|(row, o)| Some((row, o.server_trouble.as_ref()?))) {
        text += &format!("server     row {}: {trouble}\n", row.number);
    }
    text + &format!("content    {}\ntime       {wall:.1} s\n", human(bytes as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let nothing = Outcome { failures: [5, 0, 0, 0, 0, 0], wall: 1.0, ..Outcome::default() };
        let line = nothing.csv(&row());
        assert_eq!(line, "7,upload,10,5,1,,,0,5,,,thread,process,1.000000,0,,,,,,0.000000,refused=5");
        assert!(table(&[(row(), nothing)]).lines().nth(3).unwrap().contains(" - |"));
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let outcome = Outcome { times: (1..=100).rev().map(f64::from).collect(), ..Outcome::default() };
        let table = [(50, 50.0), (95, 95.0), (100, 100.0), (1, 1.0)];
        for (percent, value) in table {
            assert_eq!(outcome.percentile(percent), Some(value));
        }
        assert_eq!(Outcome::default().percentile(50), None);
    }

    #[test]
    fn the_summary_counts_failures_by_cause() {
        let text = summary(&[(row(), outcome()), (row(), outcome())], 3, 9.0);
        assert!(
            text.starts_with("rows       2 of 3\nfailures   2 (reset=2)\nbest       1.95 KiB/s"),
            "{text}"
        );
        assert_eq!([0.0, 1023.0, 1536.0].map(human), ["0 B", "1023 B", "1.50 KiB"]);
    }
}
