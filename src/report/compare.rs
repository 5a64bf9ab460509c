//! What has changed between two runs? Row by row, the second by the first, with the interval that the repeats
//! allow; then by operation. Two machines, two commits, or a student's server and ours.

use crate::cli::{Args, Command, Failure, failed, opt, print, usage};
use crate::report::chart::{escape, short};
use crate::report::findings::{Ratio, ratio, verdict};
use crate::report::page::{MIB, Table, document};
use crate::report::rows::{Row, Run, unique};
use crate::report::words::{BASE, COMPARED, OTHER, RATIO, VERDICTS};
use crate::stress::{Language, headings};
use std::fs;
use std::path::Path;

pub static COMPARE: Command = Command {
    name: "compare",
    words: &["DIR", "DIR"],
    about: "compare two runs of the stress test, row by row\n\
            Each ratio is the second run divided by the first. \
            Exit code 3: the second is slower than --threshold allows.",
    options: &[&[
        opt(
            "--threshold",
            "RATIO",
            "smallest middle ratio of an operation that is accepted, such as 0.9",
        ),
        opt("--html", "FILE", "write the table as a page too"),
    ]],
    run,
};

/// Two rows of one combination.
struct Pair<'r> {
    base: &'r Row,
    other: &'r Row,
    ratio: Ratio,
}

fn run(args: &Args) -> Result<(), Failure> {
    let threshold = threshold(args)?;
    let [base, other] = [0, 1].map(|at| args.path_word(at).unwrap_or(Path::new("results/latest")));
    let (first, second) = (Run::read(base)?, Run::read(other)?);
    let pairs = pairs(&first, &second);
    if pairs.is_empty() {
        return failed(format!(
            "{} and {} have no row in common (mode, operation, volume, clients, workers)",
            base.display(),
            other.display()
        ));
    }
    let alone = first.rows.len() + second.rows.len() - 2 * pairs.len();
    let mut text = machines(&first.machine, &second.machine);
    if alone > 0 {
        text += &format!("{alone} rows stand in one run only and are left out\n");
    }
    let (table, summary) = (table(&pairs), summary(&pairs));
    print(&format!(
        "{}\n{}\n{text}",
        table.markdown(),
        summary_text(&summary)
    ))?;
    if let Some(path) = args.path("--html") {
        let body = format!("{}<pre>{}</pre>\n", table.html(COMPARED[0]), escape(&text));
        let title = format!("{} / {}", other.display(), base.display());
        fs::write(path, document(Language::English, &title, &body))
            .or_else(|error| failed(format!("cannot write --html {}: {error}", path.display())))?;
    }
    let slowest = summary.iter().min_by(|a, b| a.middle.total_cmp(&b.middle));
    match slowest.filter(|slowest| slowest.middle < threshold) {
        Some(Middle {
            operation, middle, ..
        }) => Err(Failure::Slower(format!(
            "{operation} is slower than --threshold {threshold}: {middle:.3}"
        ))),
        None => Ok(()),
    }
}

/// 0: whatever it is, it is fast enough.
fn threshold(args: &Args) -> Result<f64, Failure> {
    let Some(text) = args.text("--threshold") else {
        return Ok(0.0);
    };
    match text.parse() {
        Ok(ratio) if (0.0..1000.0).contains(&ratio) => Ok(ratio),
        _ => usage(format!("--threshold {text}: expected a ratio, such as 0.9")),
    }
}

fn pairs<'r>(first: &'r Run, second: &'r Run) -> Vec<Pair<'r>> {
    let pair = |base: &'r Row| {
        let other = second.find(base.mode(), base.combination())?;
        let ratio = ratio(other, base)?;
        Some(Pair { base, other, ratio })
    };
    first.rows.iter().filter_map(pair).collect()
}

fn table(pairs: &[Pair]) -> Table {
    let line = |pair: &Pair| {
        let (operation, volume, clients, servers) = pair.base.combination();
        let rate = |row: &Row| row.rate().map_or(String::new(), |(rate, _)| short(rate / MIB));
        let interval = pair.ratio.interval;
        vec![
            pair.base.mode().to_owned(),
            operation.to_owned(),
            volume.to_string(),
            clients.to_string(),
            servers.to_string(),
            rate(pair.base),
            rate(pair.other),
            format!("{:.2}", pair.ratio.factor),
            interval.map_or(String::new(), |(low, high)| format!("{low:.2} – {high:.2}")),
            VERDICTS[verdict(pair.ratio)].to_owned(),
        ]
    };
    let [_, operation, volume, clients, servers, ..] = headings(Language::English);
    let mode = "mode".to_owned();
    let ours = [BASE, OTHER, RATIO[0], "interval", "change"].map(str::to_owned);
    Table {
        head: [mode, operation, volume, clients, servers]
            .into_iter()
            .chain(ours)
            .collect(),
        word: 1,
        lines: pairs.iter().map(line).collect(),
    }
}

/// One operation in all its rows.
struct Middle<'r> {
    operation: &'r str,
    middle: f64,
    /// Rows that are faster, slower, and neither, beyond what noise explains.
    counts: [usize; 3],
}

fn summary<'r>(pairs: &[Pair<'r>]) -> Vec<Middle<'r>> {
    let operations = unique(pairs.iter().map(|pair| pair.base.text("operation")));
    let middle = |operation| {
        let own = pairs
            .iter()
            .filter(|pair| pair.base.text("operation") == operation);
        let (mut factors, mut counts) = (Vec::new(), [0; 3]);
        for pair in own {
            factors.push(pair.ratio.factor);
            counts[verdict(pair.ratio)] += 1;
        }
        factors.sort_by(f64::total_cmp);
        let middle = factors[factors.len() / 2];
        Middle {
            operation,
            middle,
            counts,
        }
    };
    operations.into_iter().map(middle).collect()
}

fn summary_text(summary: &[Middle]) -> String {
    let line = |of: &Middle| {
        let [faster, slower, same] = of.counts;
        let (operation, middle) = (of.operation, of.middle);
        let counts = format!("{faster} rows faster, {slower} slower, {same} neither");
        format!("{operation:<10} {middle:.2} × in the middle; {counts}\n")
    };
    summary.iter().map(line).collect()
}

/// The lines of `machine.txt` that differ: what may explain a change.
fn machines(first: &str, second: &str) -> String {
    let mut text = String::new();
    for line in first.lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let of_each_run = ["date", "started", "ended", "command", "state"];
        let other = second
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let other = other.unwrap_or("unknown");
        if !of_each_run.contains(&name) && value.trim() != other.trim() {
            text += &format!("{name:<10} {} / {}\n", value.trim(), other.trim());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::rows::tests::run;

    #[test]
    fn rows_are_compared_with_their_like() {
        let first = run(&[
            ("thread", "download", 10, 1, 1, 100.0),
            ("thread", "download", 10, 5, 1, 100.0),
            ("thread", "upload", 10, 1, 1, 100.0),
            ("thread", "list", 10, 1, 1, 100.0),
        ]);
        let second = run(&[
            ("thread", "upload", 10, 1, 1, 50.0),
            ("thread", "download", 10, 1, 1, 200.0),
            ("thread", "download", 10, 5, 1, 103.0),
            ("event", "download", 10, 5, 1, 1.0),
        ]);
        let pairs = pairs(&first, &second);
        assert_eq!(pairs.len(), 3);
        let summary = summary(&pairs);
        let found: Vec<_> = summary
            .iter()
            .map(|of| (of.operation, of.middle, of.counts))
            .collect();
        assert_eq!(found, [("download", 2.0, [1, 0, 1]), ("upload", 0.5, [0, 1, 0])]);
        assert!(table(&pairs).markdown().contains("| 0.50 |  | slower |"));
    }

    #[test]
    fn what_differs_between_the_machines_is_told() {
        let (first, second) = (
            "cpu      A\ncores    2\nstarted  1\n",
            "cpu      B\ncores    2\nstarted  2\n",
        );
        assert_eq!(machines(first, second), "cpu        A / B\n");
        assert_eq!(machines(first, first), "");
    }
}
