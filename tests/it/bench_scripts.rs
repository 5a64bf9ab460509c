//! The program that measures (`benches`): each run has a folder of its own and says in it how it ended,
//! progress is a line a step in a pipe and one line on a terminal, tables fit into 80 columns.

// Parts of the program, to be tried by themselves.
#[allow(dead_code)]
#[path = "../../benches/run.rs"]
mod run;
#[allow(dead_code)]
#[path = "../../benches/system.rs"]
mod system;

use crate::support::pty::{Screen, Terminal};
use crate::support::{self, Ended, Folder, Run, within};
use run::{Progress, aligned};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

/// How long all rows may take with the smallest numbers, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The program that measures. Cargo names it for no test, so it is asked to build it, as the Makefile does.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "bench",
        "--no-run",
        "--profile",
        "dev",
        "--locked",
        "--quiet",
        "--bench",
        "measure",
    ]);
    cargo.args([
        "--message-format",
        "json",
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    let output = cargo.stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("\"name\":\"measure\""))
        .unwrap();
    let (_, rest) = line.split_once("\"executable\":\"").unwrap();
    rest.split('"').next().unwrap().into()
});

/// What it measures, with this build of kolam and a small number of requests.
fn measure(words: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROGRAM.as_path());
    command.args(words.split(' ')).stdin(Stdio::null());
    for name in ["COLUMNS", "FORCE", "OUT"] {
        command.env_remove(name);
    }
    let kolam = ("KOLAM", env!("CARGO_BIN_EXE_kolam"));
    command.envs([kolam, ("N", "100"), ("ROUNDS", "1"), ("TERM", "xterm")]);
    command.envs(settings.iter().copied());
    command
}

fn end(command: &mut Command) -> Ended {
    Run::start(command).finish(LIMIT)
}

/// The cells of a CSV file, row by row.
fn cells(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

/// All rows and columns of a table are there, and nothing has failed.
#[track_caller]
fn assert_table(rows: &[Vec<String>]) {
    let names = "no,concurrency,time_s,complete,failed,transferred_bytes,requests_per_s,\
                 time_per_request_ms,time_per_request_all_ms,transfer_KiBps,p50_ms,p90_ms,p99_ms,max_ms";
    assert!(rows[0].join(",").starts_with(names), "{rows:?}");
    let levels: Vec<&str> = rows[1..].iter().map(|row| row[1].as_str()).collect();
    assert_eq!(levels, ["1", "5", "10", "30", "50", "75", "100"]);
    assert!(
        rows[1..]
            .iter()
            .all(|row| row.len() == rows[0].len() && row[3] == "100" && row[4] == "0")
    );
    // With ab, its figures are beside ours, both of its times too.
    let theirs = rows[0]
        .iter()
        .filter(|name| name.starts_with("ab_time_per_request"))
        .count();
    assert_eq!(theirs, if rows[0].len() > 14 { 2 } else { 0 }, "{rows:?}");
}

#[test]
fn the_http_tables_are_whole_and_fit_a_terminal() {
    let folder = Folder::new();
    let out = folder.join("run").display().to_string();
    let ended = end(&mut measure("ab", &[("OUT", &out)]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let read = |name: &str| String::from_utf8(folder.read(&format!("run/{name}"))).unwrap();
    for name in ["balancer.csv", "thread.csv"] {
        let rows = cells(&read(name));
        assert_table(&rows);
    }
    assert!(read("tables.md").contains("| No test | Concurrency level | Time taken for test (seconds) |"));
    let machine = read("machine.txt");
    let state = machine.lines().find(|line| line.starts_with("state "));
    assert_eq!(state, Some("state    complete"), "{machine}");
    assert!(
        machine.contains("\noptions  N=100 ROUNDS=1 ") && machine.contains("\nended    20"),
        "{machine}"
    );
    let [shown, progress] = [ended.text(), ended.stderr.as_str()];
    assert!(
        shown.lines().all(|line| line.len() <= 80 || line.contains(&out)),
        "{shown}"
    );
    assert!(!shown.contains('|') && !shown.contains('\x1b'), "{shown}");
    assert!(
        progress.starts_with("make ab: 14 rows, each 1 run of 100 requests with kolam"),
        "{progress}"
    );
    let steps: Vec<&str> = progress.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(steps.len(), 14, "{progress}");
    assert!(
        steps[2].starts_with("[3/14] balancer, c = 10: kolam"),
        "{progress}"
    );
    assert!(!progress.contains(['\r', '\x1b']), "{progress:?}");

    let again = end(&mut measure("ab", &[("OUT", &out)]));
    assert_eq!((again.code, again.text()), (Some(1), ""), "{again:?}");
    assert!(again.stderr.contains("balancer.csv is there already") && again.stderr.contains("FORCE=yes"));
    assert_eq!(
        read("machine.txt"),
        machine,
        "a refused run leaves the other's results alone"
    );
    let bench = end(&mut measure("bench", &[("OUT", &out), ("ROUNDS", "no")]));
    assert_eq!(bench.code, Some(2), "{bench:?}");
}

#[test]
fn on_a_terminal_a_run_has_one_live_line_and_not_that_of_its_parts() {
    let folder = Folder::new();
    let out = folder.join("run").display().to_string();
    let terminal = Terminal::start(&mut measure("ab", &[("OUT", &out)]), 80);
    let (code, bytes) = terminal.finish(LIMIT);
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("\r[14/14] thread, c = 100: kolam") && text.contains(", round 1 of 1 ..."),
        "{text}"
    );
    assert!(!text.contains("bench http:"), "{text}");
    let screen = Screen::show(80, &bytes);
    let lines = screen.lines();
    assert!(
        lines.iter().all(|line| !line.starts_with('[')),
        "a step is still there: {lines:?}"
    );
    assert_eq!(screen.wrapped, 0, "{lines:?}");
}

#[test]
fn every_figure_of_a_peer_is_measured_in_the_same_run() {
    let folder = Folder::new();
    let out = folder.join("run").display().to_string();
    let work = folder.join("work").display().to_string();
    std::fs::create_dir(&work).unwrap();
    let run = Run::start(&mut measure("bench", &[("OUT", &out), ("SHM", &work)]));
    // The rows of base64 are the first; then come transfers, whose rows lie in a folder of their own.
    within(LIMIT, "the transfers have begun", || {
        crate::support::names(Path::new(&work))
            .iter()
            .any(|name| Path::new(&work).join(name).join("row").exists())
    });
    run.signal(libc::SIGINT);
    let ended = run.finish(LIMIT);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(
        folder
            .read("run/machine.txt")
            .ends_with(b"\nstate    interrupted\n")
    );
    assert_eq!(folder.names(), ["run", "work"]);
    let read = |name: &str| String::from_utf8(folder.read(&format!("run/{name}"))).unwrap();
    let (table, figures) = (read("table.md"), read("base64.txt"));
    let memcpy = format!(" | memcpy {} GB/s | ", figures.split_whitespace().last().unwrap());
    let mut rows = table.lines().filter(|line| line.starts_with("| base64"));
    assert!(rows.all(|row| row.contains(&memcpy)), "{table}{figures}");
}

#[test]
fn a_run_has_a_folder_of_its_own() {
    let folder = Folder::new();
    let name = "2026-11-21T070809-what";
    for number in ["", "-2", "-3"] {
        let results = folder.join("results");
        let made = run::folder(&results, name, "", &["a.csv"], false).unwrap();
        assert_eq!(
            made,
            results.join(format!("{name}{number}")),
            "all began in the same second"
        );
        assert!(made.is_dir());
    }
    let out = folder.join("run").display().to_string();
    let broken = end(&mut measure("ab", &[("OUT", &out), ("SERVING_KOLAM", "false")]));
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert!(
        broken.stderr.contains("make ab: event-1 does not become ready: "),
        "{broken:?}"
    );
    let machine = String::from_utf8(folder.read("run/machine.txt")).unwrap();
    assert!(machine.ends_with("\nstate    failed: exit code 1\n"), "{machine}");
    assert!(
        machine.contains("\ncommand  make ab\noptions  N=100 ROUNDS=1 "),
        "{machine}"
    );
}

#[test]
fn a_column_of_the_modes_is_four_lines() {
    let ended = end(&mut measure("modes memory", &[]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let modes: Vec<&str> = ended
        .text()
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .collect();
    assert_eq!(modes, crate::support::MODES, "{ended:?}");
    assert!(
        ended.stderr.starts_with("[1/4] memory, single mode ...\n[2/4] "),
        "{ended:?}"
    );
    let unknown = end(&mut measure("modes memroy", &[]));
    assert_eq!((unknown.code, unknown.text()), (Some(2), ""), "{unknown:?}");
    assert!(
        unknown
            .stderr
            .contains("no column memroy; try waits, memory, crash or slow"),
        "{unknown:?}"
    );
}

#[test]
fn results_are_replaced_only_by_force() {
    let folder = Folder::new();
    std::fs::create_dir(folder.join("old")).unwrap();
    folder.write("old/a.csv", b"1\n");
    folder.write("old/other", b"2\n");
    let old = folder.join("old").display().to_string();
    let make = |force| run::folder(folder.path(), "new", &old, &["a.csv", "b.csv"], force);
    let refused = make(false).unwrap_err();
    assert_eq!(refused.0, 1);
    let words = [&format!("OUT={old}: a.csv is there already"), "FORCE=yes"];
    assert!(words.iter().all(|word| refused.1.contains(word)), "{refused:?}");
    assert_eq!(folder.read("old/a.csv"), b"1\n");
    make(true).unwrap();
    assert_eq!(support::names(&folder.join("old")), ["other"]);
    assert_eq!(folder.names(), ["old"]);
}

/// All that a run of three steps writes.
fn shown(columns: Option<fn() -> usize>) -> Vec<u8> {
    let mut progress = Progress::new(Vec::new(), columns);
    progress.steps = 3;
    progress.step("first, with a long text that does not fit");
    progress.detail("round 1 of 5");
    progress.step("short");
    progress.wipe();
    progress.step("last");
    progress.wipe();
    progress.out
}

#[test]
fn progress_is_one_line_on_a_terminal_and_a_line_a_step_in_a_pipe() {
    let steps = "[1/3] first, with a long text that does not fit ...\n[2/3] short ...\n[3/3] last ...\n";
    assert_eq!(String::from_utf8(shown(None)).unwrap(), steps);
    let columns: [fn() -> usize; 3] = [|| 80, || 30, || 8];
    for columns in columns {
        let (bytes, columns) = (shown(Some(columns)), columns());
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(
            text.contains(if columns > 50 { "round 1" } else { "[1/3] f" }),
            "{text:?}"
        );
        assert!(!bytes.contains(&0x1b), "no escape sequences");
        let screen = Screen::show(columns, &bytes);
        assert_eq!(screen.wrapped, 0, "{text:?}");
        assert_eq!(screen.lines(), [""], "{columns}: {text:?}");
    }
}

#[test]
fn columns_are_aligned_by_characters() {
    let rows = [["what", "ms"], ["100 MiB × 5", "8.6 µs"], ["1", "12345678"]];
    let lines = rows.map(|row| aligned(&row, &[-12, 7]) + "\n").concat();
    assert_eq!(
        lines,
        "what              ms\n100 MiB × 5   8.6 µs\n1            12345678\n"
    );
}
