//! Rows that run several times, and runs that go on after an interrupt: what stands in the files then, and
//! that nothing is mixed that does not belong together.

use crate::support::*;
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Longest wait for a whole tiny matrix.
const LONG: Duration = Duration::from_secs(50);

const TINY: &str = "--modes thread,process --ops download --volumes 1 --clients 2 --servers 1";

/// Rows that take a while, 8 of them, each twice.
const MANY: &str = "--ops download --volumes 6,7,8,9 --clients 4 --servers 1 --repeat 2";

/// The rows of a table, each as its cells by title.
fn rows(out: &Path, table: &str) -> Vec<HashMap<String, String>> {
    let text = fs::read_to_string(out.join(format!("{table}.csv"))).unwrap();
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap().split(',').collect();
    let cells = |line: &str| {
        let cells = line.splitn(titles.len(), ',').map(str::to_owned);
        titles
            .iter()
            .map(|title| (*title).to_owned())
            .zip(cells)
            .collect()
    };
    lines.map(cells).collect()
}

fn cells(rows: &[HashMap<String, String>], title: &str) -> String {
    let cells: Vec<&str> = rows.iter().map(|row| row[title].as_str()).collect();
    cells.join(" ")
}

/// What `machine.txt` says, and whether anything but these files is there.
fn machine(out: &Path) -> String {
    fs::read_to_string(out.join("machine.txt")).unwrap()
}

fn stress(words: impl Display) -> Ended {
    Run::start(&mut kolam(format!("stress {words}"))).finish(LONG)
}

#[test]
fn a_row_is_one_line_with_the_spread_of_its_repeats() {
    let table = [("", "3"), ("--repeat 2 --warmup", "2"), ("--repeat 1", "1")];
    for (words, repeats) in table {
        let out = Folder::new();
        let ended = stress(format!("{TINY} {words} --out {}", out.path().display()));
        ended.says(&["rows       2 of 2\n"]);
        for mode in ["thread", "process"] {
            let rows = rows(out.path(), mode);
            assert_eq!((cells(&rows, "no").as_str(), rows.len()), ("1", 1));
            assert_eq!(rows[0]["repeats"], repeats);
            let number = |title: &str| rows[0][title].parse::<f64>().ok();
            let [low, total, high] = ["total_low_Bps", "total_Bps", "total_high_Bps"].map(number);
            match repeats {
                "1" => assert_eq!((low, high), (None, None)),
                _ => assert!(
                    low.is_some() && low <= total && total <= high,
                    "{low:?} {total:?} {high:?}"
                ),
            }
            assert!(!out.names().contains(&format!("{mode}.csv.new")));
        }
        // All rows once, then all again.
        let places: Vec<usize> = ended
            .ok()
            .match_indices("\nrepeats    run ")
            .map(|(at, _)| at)
            .collect();
        assert_eq!(places.len() + 1, repeats.parse().unwrap(), "{ended:?}");
        assert!(machine(out.path()).contains(&format!("--servers 1 {words} --timeout").replace("  ", " ")));
        assert!(machine(out.path()).contains("state    complete\n"));
    }
}

/// A run that is interrupted while some of its rows are missing.
fn interrupted(out: &Folder) {
    let place = out.path().display();
    let run = Run::start(&mut kolam(format!("stress {MANY} --out {place}")));
    within(LONG, "rows are written", || {
        let text = fs::read_to_string(out.join("thread.csv")).unwrap_or_default();
        text.lines().count() > 2
    });
    // Two starts at once would mix their rows.
    run.signal(libc::SIGSTOP);
    stress(format!("--resume {place}")).failed(1, &["still running", &place.to_string()]);
    run.signal(libc::SIGINT);
    run.signal(libc::SIGCONT);
    run.finish(LONG).failed(130, &["interrupted"]);
    assert!(machine(out.path()).contains("state    interrupted\n"));
}

#[test]
fn an_interrupted_run_goes_on_with_the_rows_that_are_missing() {
    let out = Folder::new();
    let place = out.path().display();
    interrupted(&out);
    let before = rows(out.path(), "thread");
    assert!(!out.join("process.csv").exists() || before.len() == 4);
    // As if it had been killed in the middle of a line.
    let mut csv = OpenOptions::new()
        .append(true)
        .open(out.join("thread.csv"))
        .unwrap();
    csv.write_all(b"4,download,2").unwrap();
    // What the results are called, and in which language they are told, changes no row.
    let ended = stress(format!("--resume {place} --lang id"));
    ended.says(&["baris      8 dari 8\n"]);
    for mode in ["thread", "process"] {
        let rows = rows(out.path(), mode);
        assert_eq!(cells(&rows, "no"), "1 2 3 4");
        assert_eq!(cells(&rows, "volume_mib"), "6 7 8 9");
        assert_eq!(cells(&rows, "repeats"), ["2"; 4].join(" "));
        assert_eq!(cells(&rows, "client_failed"), ["0"; 4].join(" "));
    }
    // One of the two runs of each row that was there is the old one.
    let new = rows(out.path(), "thread");
    for (old, new) in before.iter().zip(&new) {
        let rate = |row: &HashMap<String, String>, title: &str| row[title].parse::<f64>().unwrap();
        let (old, low, high) = (
            rate(old, "total_Bps"),
            rate(new, "total_low_Bps"),
            rate(new, "total_high_Bps"),
        );
        let is = |other: f64| (old / other - 1.0).abs() < 0.001;
        assert!(is(low) || is(high), "{old}: {low} {high}");
    }
    assert_eq!(
        cells(&rows(out.path(), "all"), "no"),
        (1..=8).map(|no| no.to_string()).collect::<Vec<_>>().join(" ")
    );
    let files = ["all.csv", "machine.txt", "process.csv", "tables.md", "thread.csv"];
    assert_eq!(out.names(), files);
    let (text, machine) = (out.read("thread.csv"), machine(out.path()));
    assert!(
        machine.contains("state    complete\n") && machine.contains("\nresumed  2"),
        "{machine}"
    );
    assert!(
        machine.contains("--repeat 2") && machine.matches("state ").count() == 1,
        "{machine}"
    );
    let again = stress(format!("--resume {place}"));
    assert_has(again.ok(), &["this run is complete"]);
    assert!(out.read("thread.csv") == text, "nothing is left to do");
}

#[test]
fn what_would_not_be_the_same_run_is_refused() {
    let (out, place) = (Folder::new(), Folder::new());
    interrupted(&out);
    let (path, text) = (out.path().display(), out.read("thread.csv"));
    for (words, told) in [
        ("--volumes 1", "--volumes 1 (the run has --volumes 6,7,8,9)"),
        (
            "--repeat 3 --ops upload",
            "--ops upload (the run has --ops download), --repeat 3 (the run has",
        ),
        ("--warmup", "--warmup (the run has no --warmup)"),
        ("--shard 1/2", "--shard 1/2 (the run has no --shard)"),
        ("--timeout 7", "--timeout 7 (the run has --timeout 120)"),
    ] {
        stress(format!("--resume {path} {words}")).failed(1, &[told, "--resume", "leave out what differs"]);
    }
    let machine = machine(out.path());
    fs::write(
        out.join("machine.txt"),
        machine.replace("\ncores    ", "\ncores    9"),
    )
    .unwrap();
    stress(format!("--resume {path}")).failed(1, &["(the run has cores 9"]);
    fs::write(out.join("machine.txt"), &machine).unwrap();
    assert!(out.read("thread.csv") == text, "a refused start changes nothing");
    let wrong = String::from_utf8(text)
        .unwrap()
        .replacen("\n1,download", "\n9,download", 1);
    out.write("thread.csv", wrong.as_bytes());
    stress(format!("--resume {path}")).failed(1, &["thread.csv: no row of these options: 9,download"]);
    out.write("thread.csv", b"no,operation\n");
    stress(format!("--resume {path}")).failed(1, &["its first line is not that of this version"]);
    let nowhere = place.word("nowhere");
    stress(format!("--resume {nowhere}")).failed(1, &[&nowhere, "name the folder of a run"]);
    fs::write(out.join("machine.txt"), "command  kolam merge a b\n").unwrap();
    stress(format!("--resume {path}")).failed(1, &["it was made by kolam merge"]);
    stress(format!("--resume {path} --out {nowhere}")).failed(2, &["leave out --out"]);
    stress("--repeat 0 --dry-run").failed(2, &["--repeat 0: expected a whole number from 1 to 1000"]);
}
