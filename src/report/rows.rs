//! Where do the figures come from? From the CSV files of a run, read by the titles of their columns, so that
//! a column more or less is no error. A cell that is empty was not measured.

use crate::cli::{Failure, MODES, failed, visible};
use crate::stress::NOISY;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A line of a CSV.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// By the title of the column.
    cells: HashMap<String, String>,
}

/// Operation, MiB, client workers, server workers.
pub type Combination<'r> = (&'r str, u64, u64, u64);

impl Row {
    pub fn text(&self, title: &str) -> &str {
        self.cells.get(title).map_or("", String::as_str)
    }

    /// `None`: it was not measured.
    pub fn number(&self, title: &str) -> Option<f64> {
        self.text(title)
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    }

    pub fn count(&self, title: &str) -> u64 {
        self.text(title).parse().unwrap_or(0)
    }

    /// The mode of the server, with that of the clients where it is not the usual one: `thread/process`.
    pub fn mode(&self) -> &str {
        self.text("mode")
    }

    fn name_pairing(&mut self) {
        let (mode, clients) = (self.text("mode"), self.text("client_mode"));
        let usual = if mode == "process" { "process" } else { "thread" };
        if !clients.is_empty() && clients != usual {
            let pairing = format!("{mode}/{clients}");
            self.cells.insert("mode".to_owned(), pairing);
        }
    }

    /// What is the same in two rows that can be compared.
    pub fn combination(&self) -> Combination<'_> {
        let count = |title| self.count(title);
        (
            self.text("operation"),
            count("volume_mib"),
            count("client_workers"),
            count("server_workers"),
        )
    }

    /// Right bytes a second: in the middle, and the lowest and highest of the repeats, if there were any.
    pub fn rate(&self) -> Option<(f64, Option<(f64, f64)>)> {
        let rate = self.number("total_Bps").filter(|rate| *rate > 0.0)?;
        let spread = self.number("total_low_Bps").zip(self.number("total_high_Bps"));
        Some((rate, spread.filter(|(low, _)| *low > 0.0)))
    }

    /// Do its repeats lie too far apart to mean much?
    pub fn is_noisy(&self) -> bool {
        let spread = self.rate().and_then(|(_, spread)| spread);
        spread.is_some_and(|(low, high)| high > low * NOISY)
    }

    /// Failed clients, by their cause.
    pub fn failures(&self) -> impl Iterator<Item = (&str, u64)> {
        let causes = self.text("errors").split(';');
        causes.filter_map(|cause| {
            let (name, count) = cause.split_once('=')?;
            Some((name, count.parse().ok()?))
        })
    }
}

/// All that a run has left.
pub struct Run {
    pub rows: Vec<Row>,
    /// `machine.txt`.
    pub machine: String,
    /// `trace.csv`; empty: nothing was traced.
    pub trace: Vec<Row>,
    /// The tables of `make ab`, in Markdown; empty: there are none.
    pub ab: String,
}

impl Run {
    pub fn read(folder: &Path) -> Result<Run, Failure> {
        let place = folder.display();
        let entries = fs::read_dir(folder).or_else(|error| {
            failed(format!(
                "cannot read {place}: {error}; name the folder of a run (make stress-quick makes one)"
            ))
        })?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut rows = Vec::new();
        // The joint file repeats what stands in those of the modes.
        let of_modes = |path: &PathBuf| {
            path.extension().is_some_and(|end| end == "csv") && path.file_name() != Some("all.csv".as_ref())
        };
        for path in paths.filter(of_modes) {
            let text = fs::read_to_string(&path)
                .or_else(|error| failed(format!("cannot read {}: {error}", path.display())))?;
            rows.extend(parse(&text).into_iter().filter(is_row));
        }
        if rows.is_empty() {
            return failed(format!(
                "{place} holds no rows of a stress test (*.csv); name another folder"
            ));
        }
        rows.iter_mut().for_each(Row::name_pairing);
        rows.sort_by_key(|row| {
            let mode = MODES.iter().position(|mode| row.mode().starts_with(mode));
            (
                mode.unwrap_or(MODES.len()),
                row.mode().to_owned(),
                row.count("no"),
            )
        });
        Ok(Run {
            rows,
            machine: fs::read_to_string(folder.join("machine.txt")).unwrap_or_default(),
            trace: fs::read_to_string(folder.join("trace.csv")).map_or(Vec::new(), |text| parse(&text)),
            ab: tables_of_ab(folder).unwrap_or_default(),
        })
    }

    /// The modes that have rows, in the order of the course.
    pub fn modes(&self) -> Vec<&str> {
        unique(self.rows.iter().map(Row::mode))
    }

    /// The rows of a mode.
    pub fn of_mode<'r>(&'r self, mode: &'r str) -> impl Iterator<Item = &'r Row> {
        self.rows.iter().filter(move |row| row.mode() == mode)
    }

    pub fn operations(&self) -> Vec<&str> {
        unique(self.rows.iter().map(|row| row.text("operation")))
    }

    /// The different values of a column, the smallest first.
    pub fn values(&self, title: &str) -> Vec<u64> {
        let mut values: Vec<u64> = self.rows.iter().map(|row| row.count(title)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    pub fn find(&self, mode: &str, combination: Combination) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.mode() == mode && row.combination() == combination)
    }
}

/// A table of `ab` has none.
fn is_row(row: &Row) -> bool {
    !row.text("operation").is_empty() && !row.mode().is_empty()
}

/// Each once, in the order in which they come.
pub fn unique<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut found = Vec::new();
    texts.for_each(|text| {
        if !found.contains(&text) {
            found.push(text);
        }
    });
    found
}

/// The newest tables of `make ab` among the runs beside this one. Their folders begin with the date.
fn tables_of_ab(folder: &Path) -> Option<String> {
    let here = fs::canonicalize(folder).ok()?;
    let runs = fs::read_dir(here.parent()?).ok()?;
    let folders = runs.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = folders
        .filter(|path| path.to_string_lossy().ends_with("-ab"))
        .max()?;
    fs::read_to_string(newest.join("tables.md")).ok()
}

/// csv = title-line *( line ) ; the cells of RFC 4180
pub fn parse(text: &str) -> Vec<Row> {
    let mut lines = text.lines().map(cells);
    let titles = lines.next().unwrap_or_default();
    lines
        .map(|cells| Row {
            // The file may be that of a stranger, and the cells are shown on a terminal.
            cells: titles
                .iter()
                .cloned()
                .zip(cells.iter().map(|cell| visible(cell)))
                .collect(),
        })
        .collect()
}

/// cell = *TEXT / DQUOTE *( TEXT / "," / 2DQUOTE ) DQUOTE
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let cell = cells.len() - 1;
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cells[cell].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells[cell].push(c),
        }
    }
    cells
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A run of both modes with these figures: mode, operation, MiB, clients, workers, bytes a second.
    pub fn run(rows: &[(&str, &str, u64, u64, u64, f64)]) -> Run {
        let titles = "no,mode,operation,volume_mib,client_workers,server_workers,total_Bps,client_ok,p50_s,\
                      p95_s,max_s,server_peak_rss_kib,server_cpu_s";
        let mut text = titles.to_owned() + "\n";
        for (at, (mode, operation, volume, clients, servers, rate)) in rows.iter().enumerate() {
            let seconds = (volume << 20) as f64 / rate;
            let row = format!(
                "{},{mode},{operation},{volume},{clients},{servers},{rate},{clients}",
                at + 1
            );
            text += &format!("{row},{seconds},{seconds},{seconds},2048,0.5\n");
        }
        Run {
            trace: Vec::new(),
            rows: parse(&text),
            machine: "cpu        Test\ncommand    kolam stress --quick\n".to_owned(),
            ab: String::new(),
        }
    }

    #[test]
    fn cells_may_be_quoted_and_columns_may_be_missing() {
        let rows = parse("no,mode,note\n1,thread,\"a, \"\"b\"\"\"\n2,process\n");
        assert_eq!(rows[0].text("note"), "a, \"b\"");
        assert_eq!((rows[1].mode(), rows[1].text("note")), ("process", ""));
        assert_eq!((rows[1].number("total_Bps"), rows[1].rate()), (None, None));
    }

    #[test]
    fn rates_have_a_spread_when_rows_were_repeated() {
        let rows = parse("total_Bps,total_low_Bps,total_high_Bps\n20,10,30\n20,,\n0,,\n");
        assert_eq!(rows[0].rate(), Some((20.0, Some((10.0, 30.0)))));
        assert_eq!(rows[1].rate(), Some((20.0, None)));
        assert_eq!(rows[2].rate(), None);
        assert_eq!(
            rows.iter().map(Row::is_noisy).collect::<Vec<_>>(),
            [true, false, false]
        );
        let rows = parse("total_Bps,total_low_Bps,total_high_Bps\n12,10,15\n12,10,16\n");
        assert_eq!(rows.iter().map(Row::is_noisy).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn failures_are_counted_by_their_cause() {
        let rows = parse("errors\nreset=1;server error=3\n\"\"\n");
        assert_eq!(
            rows[0].failures().collect::<Vec<_>>(),
            [("reset", 1), ("server error", 3)]
        );
        assert_eq!(rows[1].failures().count(), 0);
    }

    #[test]
    fn a_hostile_cell_moves_no_cursor_and_is_no_figure() {
        let rows = parse("mode,total_Bps,wall_s\n\u{1b}[2Jthread,inf,NaN\n");
        assert_eq!(rows[0].mode(), "\\u{1b}[2Jthread");
        assert_eq!((rows[0].rate(), rows[0].number("wall_s")), (None, None));
    }
}
