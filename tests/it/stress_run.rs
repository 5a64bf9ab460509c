//! The stress tester on tiny matrices: the table it writes and the rules that its cells obey, targets that
//! lie, refuse, stall or are somebody else's, workers and testers that are killed or interrupted, and that
//! nothing is left behind.

use crate::support::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The columns, in the order that is promised to whoever reads the files.
const HEADER: &str = "no,operation,volume_mib,client_workers,server_workers,time_per_client_s,\
throughput_per_client_Bps,client_ok,client_failed,server_ok,server_failed,mode,client_mode,wall_s,\
total_Bps,p50_s,p95_s,max_s,server_peak_rss_kib,server_cpu_s,client_cpu_s,errors,timestamp,\
repeats,total_low_Bps,total_high_Bps,first_error";

/// Longest wait for a whole tiny matrix.
const LONG: Duration = Duration::from_secs(50);

const MIB: f64 = 1_048_576.0;

/// Two folders, one for the results and one for the files of the test, and a tester.
struct Bench {
    out: Folder,
    root: Folder,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            out: Folder::new(),
            root: Folder::new(),
        }
    }

    fn start(&self, words: impl Display) -> Run {
        let [out, root] = [&self.out, &self.root].map(|folder| folder.path().to_str().unwrap());
        // `repeats.rs` tests the others.
        Run::start(&mut kolam(format!(
            "stress --repeat 1 --out {out} --root {root} {words}"
        )))
    }

    #[track_caller]
    fn run(&self, words: impl Display) -> Ended {
        self.start(words).finish(LONG)
    }

    /// The rows of a mode, each as its cells by title.
    fn rows(&self, mode: &str) -> Vec<Cells> {
        let text = String::from_utf8(self.out.read(&format!("{mode}.csv"))).unwrap();
        assert!(text.ends_with('\n'), "a line without its end: {text}");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(HEADER));
        lines.map(Cells::new).collect()
    }

    /// What `machine.txt` says of the run.
    fn state(&self) -> String {
        state_of(self.out.path())
    }

    /// Processes that were started for this bench.
    fn processes(&self) -> Vec<u32> {
        processes(self.root.path().as_os_str().as_encoded_bytes())
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        eventually("all processes have ended", || self.processes().is_empty());
        assert_eq!(self.root.names(), Vec::<String>::new());
    }
}

/// A line of the CSV.
struct Cells(HashMap<&'static str, String>);

impl Cells {
    fn new(line: &str) -> Cells {
        // The last is a text, in which commas may stand.
        let cells: Vec<&str> = line.splitn(HEADER.split(',').count(), ',').collect();
        assert_eq!(cells.len(), HEADER.split(',').count(), "{line}");
        let cells = cells.into_iter().map(str::to_owned);
        Cells(HEADER.split(',').zip(cells).collect())
    }

    fn text(&self, title: &str) -> &str {
        &self.0[title]
    }

    fn cells<const N: usize>(&self, titles: [&'static str; N]) -> [&str; N] {
        titles.map(|title| self.text(title))
    }

    fn number(&self, title: &str) -> f64 {
        let text = self.text(title);
        text.parse().unwrap_or_else(|_| panic!("{title} is {text:?}"))
    }

    fn row(&self) -> [&str; 6] {
        let [operation, volume] = ["operation", "volume_mib"];
        self.cells([
            operation,
            volume,
            "client_workers",
            "server_workers",
            "mode",
            "client_mode",
        ])
    }

    /// The rules that hold in every row of which nothing failed.
    fn check(&self) {
        let row = self.row().join(" ");
        for title in HEADER.split(',').take(21) {
            assert!(!self.text(title).is_empty(), "{row}: {title} is empty");
        }
        let [clients, servers] = ["client_workers", "server_workers"].map(|title| self.number(title));
        let counted = ["client_ok", "client_failed", "server_ok", "server_failed"];
        assert_eq!(
            counted.map(|title| self.number(title)),
            [clients, 0.0, servers, 0.0],
            "{row}"
        );
        assert_eq!(
            self.cells(["errors", "repeats", "first_error"]),
            ["", "1", ""],
            "{row}"
        );
        let stamp = self.text("timestamp");
        assert!(
            stamp.len() == "2026-11-21T07:08:09.123Z".len() && stamp.ends_with('Z'),
            "{stamp}"
        );
        let [p50, p95, max, wall] = ["p50_s", "p95_s", "max_s", "wall_s"].map(|title| self.number(title));
        let mean = self.number("time_per_client_s");
        assert!(0.0 < p50 && p50 <= p95 && p95 <= max && mean <= max, "{row}");
        // Cells are rounded to a microsecond.
        assert!(max <= wall + 2e-6, "{row}: a client took {max} of {wall}");
        assert!(
            self.number("server_peak_rss_kib") > 100.0 && self.number("server_cpu_s") >= 0.0,
            "{row}"
        );
        assert!(self.number("client_cpu_s") <= clients * max + 0.1, "{row}");
        if self.text("operation") != "list" {
            let bytes = self.number("volume_mib") * MIB;
            let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.02;
            let [total, each] = ["total_Bps", "throughput_per_client_Bps"].map(|title| self.number(title));
            assert!(near(total * wall, bytes * clients), "{row}: total");
            assert!(near(each * mean, bytes), "{row}: throughput");
        }
    }
}

/// `many`, or the one worker that a single server has.
fn workers_of<'m>(mode: &str, many: &'m str) -> &'m str {
    if mode == "single" { "1" } else { many }
}

// ---- whole tables ----

/// All rows of a mode in the matrix below are there, in order, numbered and right.
fn check_matrix(bench: &Bench, mode: &str) {
    let client_mode = if mode == "process" { "process" } else { "thread" };
    let servers = if mode == "single" { &["1"][..] } else { &["1", "2"] };
    let mut expected = Vec::new();
    for operation in ["list", "upload", "download"] {
        for (volume, clients) in [("1", "1"), ("1", "3"), ("2", "1"), ("2", "3")] {
            let row = |servers: &&'static str| [operation, volume, clients, *servers, mode, client_mode];
            expected.extend(servers.iter().map(row));
        }
    }
    let rows = bench.rows(mode);
    assert_eq!(rows.iter().map(Cells::row).collect::<Vec<_>>(), expected);
    rows.iter().for_each(Cells::check);
    let numbered = (1..)
        .zip(&rows)
        .all(|(number, row)| row.number("no") == f64::from(number));
    assert!(numbered, "the rows of {mode} are not numbered from 1");
}

#[test]
fn a_matrix_of_all_modes_and_operations_is_whole_and_leaves_nothing() {
    let bench = Bench::new();
    let words = "--ops list,upload,download --volumes 1,2 --clients 1,3 --servers 1,2 --modes";
    let ended = bench.run(format!("{words} {}", MODES.join(",")));
    ended.ok();
    for mode in MODES {
        check_matrix(&bench, mode);
        ended.says(&[&format!("\nmode {mode}\n\n")]);
    }
    // `single` has half as many as the others.
    let rows = 24 * MODES.len() - 12;
    assert!(
        ended.text().starts_with(&format!("rows       {rows}: modes ")),
        "{ended:?}"
    );
    ended.says(&[
        // How long, depends on the machine.
        "\ntime       ",
        " seconds, judged by how long making the files took\n",
        "Throughput",
        &format!("rows       {rows} of {rows}"),
        "failures   0\n",
    ]);
    // A path may be as long as it likes.
    let is_path = |line: &str| line.starts_with("files ") || line.starts_with("results ");
    let bad = |line: &&str| line.contains(['|', '\x1b']) || line.chars().count() > 79 && !is_path(line);
    assert_eq!(ended.text().lines().find(bad), None, "{ended:?}");
    let tables = String::from_utf8(bench.out.read("tables.md")).unwrap();
    let lines = tables.lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(lines, rows + MODES.len() * 2, "{tables}");
    let mut names = ["all.csv", "machine.txt", "tables.md"]
        .map(str::to_owned)
        .to_vec();
    names.extend(MODES.iter().map(|mode| format!("{mode}.csv")));
    names.sort();
    assert_eq!(bench.out.names(), names);
    let machine = String::from_utf8(bench.out.read("machine.txt")).unwrap();
    let fields = "date,version,commit,cpu,cores,memory,kernel,root on,command,options,started,ended";
    for field in fields.split(',') {
        assert!(
            machine.lines().any(|line| line.starts_with(field)),
            "no {field} in {machine}"
        );
    }
    assert_eq!(bench.state(), "complete");
    bench.assert_nothing_left();
}

#[test]
fn clients_may_be_of_another_kind_than_the_server() {
    let other = |mode: &str| if mode == "process" { "thread" } else { "process" };
    for (mode, client_mode) in MODES.iter().map(|mode| (*mode, other(mode))) {
        let bench = Bench::new();
        let servers = workers_of(mode, "2");
        let words =
            format!("--modes {mode} --client-mode {client_mode} --volumes 1 --clients 3 --servers {servers}");
        let ended = bench.run(&words);
        ended.ok();
        let rows = bench.rows(mode);
        assert_eq!(rows.len(), 2);
        rows.iter().for_each(Cells::check);
        assert!(
            rows.iter()
                .all(|row| row.text("mode") == mode && row.text("client_mode") == client_mode)
        );
        bench.assert_nothing_left();
    }
}

/// Some cells of all rows of a file, a text for each row.
fn some_cells(bench: &Bench, file: &str, titles: [&'static str; 4]) -> Vec<String> {
    let rows = bench.rows(file);
    rows.iter().map(|row| row.cells(titles).join(" ")).collect()
}

#[test]
fn the_four_pairings_of_pools_have_a_file_each_and_one_together() {
    let bench = Bench::new();
    let pairings = "--modes thread,process --client-mode same,thread,process --number-from 55";
    let ended = bench.run(format!(
        "{pairings} --ops upload --volumes 1 --clients 2 --servers 1,2"
    ));
    ended.ok();
    ended.says(&["rows       8: modes thread, process; upload; client modes same, thread, process\n"]);
    let titles = ["no", "server_workers", "mode", "client_mode"];
    let mut all = Vec::new();
    let four = [
        "thread thread",
        "thread process",
        "process process",
        "process thread",
    ];
    for (at, pairing) in four.iter().enumerate() {
        let rows = some_cells(&bench, &pairing.replace(' ', "-"), titles);
        assert_eq!(rows, [format!("55 1 {pairing}"), format!("56 2 {pairing}")]);
        let first = 55 + 2 * at;
        all.extend([
            format!("{first} 1 {pairing}"),
            format!("{} 2 {pairing}", first + 1),
        ]);
        let (mode, clients) = pairing.split_once(' ').unwrap();
        ended.says(&[&format!("\nmode {mode}, client mode {clients}\n\n")]);
    }
    assert_eq!(some_cells(&bench, "all", titles), all);
    let files = [
        "all.csv",
        "machine.txt",
        "process-process.csv",
        "process-thread.csv",
        "tables.md",
        "thread-process.csv",
        "thread-thread.csv",
    ];
    assert_eq!(bench.out.names(), files);
    bench.rows("all").iter().for_each(Cells::check);
    // Rows follow each other in time.
    let stamps: Vec<String> = bench
        .rows("all")
        .iter()
        .map(|row| row.text("timestamp").to_owned())
        .collect();
    assert!(stamps.is_sorted(), "{stamps:?}");
    // Another run does not write over one of them, nor leave one that is not its own.
    let tiny = |words: &str| bench.run(format!("{TINY} --modes thread {words}"));
    tiny("").failed(1, &["thread-thread.csv", "--force"]);
    tiny("--force").ok();
    assert_eq!(bench.out.names(), ["machine.txt", "tables.md", "thread.csv"]);
    bench.assert_nothing_left();
}

#[test]
fn rows_come_in_the_order_of_the_operations_and_numbers_begin_where_they_are_told() {
    let bench = Bench::new();
    let words = "--modes process --ops list,upload,download --number-from 55";
    bench
        .run(format!("{words} --volumes 1 --clients 1,2 --servers 1"))
        .ok();
    let rows = some_cells(
        &bench,
        "process",
        ["no", "operation", "client_workers", "first_error"],
    );
    let expected = [
        "55 list 1 ",
        "56 list 2 ",
        "57 upload 1 ",
        "58 upload 2 ",
        "59 download 1 ",
        "60 download 2 ",
    ];
    assert_eq!(rows, expected);
    // There is nothing to join.
    assert_eq!(bench.out.names(), ["machine.txt", "process.csv", "tables.md"]);
    let dry = run("stress --dry-run --modes process --number-from 55");
    assert!(
        dry.ok()
            .starts_with("  55 process download 1 × 10 MiB, 1 worker\n"),
        "{dry:?}"
    );
    assert_has(dry.ok(), &[" 108 process upload 50 × 100 MiB, 50 workers\n"]);
}

#[test]
fn a_dry_run_tells_the_rows_and_touches_nothing() {
    let here = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = kolam(format!("stress --dry-run --target {address}"));
    let ended = Run::start(command.current_dir(here.path())).finish(PATIENCE);
    let lines: Vec<&str> = ended.ok().lines().collect();
    // Nobody has asked the target how it works, so it has one mode and one number of workers.
    assert_eq!(lines.len(), 18 + 7, "{lines:?}");
    assert_eq!(lines[0], "   1 single download 1 × 10 MiB, 1 worker");
    let target = format!("target     {address}");
    let expected = [
        "rows       18: mode single; download, upload",
        "row        clients × size of the file of each, server workers",
        "repeats    rows under a second run 3 times, the others once",
        "content    17.5 GiB to move and to compare",
        &target,
        "results    a new folder in results",
        "note       a dry run asks nothing there: STATS may tell another mode and other workers",
    ];
    assert_eq!(lines[18..], expected);
    assert!(here.names().is_empty());
    assert!(listener.accept().is_err(), "it has connected");
    let full = run("stress --dry-run");
    let words = "\nrows       108: modes thread, process; download, upload\n";
    assert!(
        full.ok()
            .starts_with("   1 thread download 1 × 10 MiB, 1 worker\n"),
        "{full:?}"
    );
    full.says(&[words]);
    let quick = run("stress --dry-run --quick --modes single");
    assert_has(quick.ok(), &["\nrows       12: mode single; download, upload\n"]);
}

/// The titles of the assignment, as its own table has them.
const ASSIGNMENT: [&str; 9] = [
    "Nomor",
    "Operasi",
    "Volume (MiB)",
    "Jumlah client worker pool",
    "Jumlah server worker pool",
    "Waktu total per client (s)",
    "Throughput per client (bytes/s)",
    "worker client sukses/gagal",
    "worker server sukses/gagal",
];

#[test]
fn the_report_speaks_english_or_indonesian_and_the_csv_neither() {
    let table = [
        (
            "id",
            ASSIGNMENT[0],
            "sukses/ sukses/",
            "baris      1 dari 1\ngagal      0\nisi ",
        ),
        (
            "en",
            "No",
            "ok/     ok/",
            "rows       1 of 1\nfailures   0\ncontent ",
        ),
    ];
    for (lang, first, divided, summary) in table {
        let bench = Bench::new();
        let words = "--modes thread --ops upload --volumes 1 --clients 2";
        let ended = bench.run(format!("{words} --servers 1 --lang {lang}"));
        let text = ended.ok();
        assert_has(text, &[summary]);
        assert_has(text, &[divided]);
        assert!(
            text.lines()
                .any(|line| line.trim_start().starts_with(&format!("{first} "))),
            "{text}"
        );
        let tables = String::from_utf8(bench.out.read("tables.md")).unwrap();
        let lines: Vec<&str> = tables.lines().collect();
        assert_eq!((lines[0], lines.len()), ("## mode thread", 5), "{tables}");
        if lang == "id" {
            assert_eq!(lines[2], format!("| {} |", ASSIGNMENT.join(" | ")));
        }
        // The third line of the headings divides the columns for whoever reads Markdown.
        assert_eq!(
            [2, 3, 4].map(|at: usize| lines[at].matches('|').count()),
            [10; 3],
            "{tables}"
        );
        bench.rows("thread")[0].check();
    }
    run("stress --lang fr").failed(2, &["--lang fr", "en, id"]);
}

#[test]
fn server_workers_that_are_still_starting_are_not_counted_as_failed() {
    // Other work on the machine lets them start late.
    let busy: Vec<Background> = (0..4)
        .map(|_| Background::repeat(|| (0..10_000).sum::<u64>() > 0))
        .collect();
    each_case(POOLS, FILE, |Case { mode, .. }, _| {
        let bench = Bench::new();
        let words = format!("--modes {mode} --ops list --volumes 1 --clients 1 --servers 100,150,200");
        let ended = bench.run(&words);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        bench.rows(mode).iter().for_each(Cells::check);
    });
    drop(busy);
}

#[test]
fn what_does_not_fit_on_the_disk_is_not_begun() {
    let bench = Bench::new();
    let ended = bench.run("--volumes 100000 --clients 10000");
    ended.failed(
        1,
        &[
            "needs 954 TiB",
            "more than there is",
            bench.root.path().to_str().unwrap(),
        ],
    );
    bench.assert_nothing_left();
    assert!(bench.out.names().is_empty());
}

#[test]
fn a_start_that_is_refused_leaves_no_folder() {
    let here = Folder::new();
    here.folder("mine");
    here.write("file", b"");
    for words in [
        "--out mine/w/x --volumes 100000 --clients 10000",
        "--root results/w/x --volumes 100000 --clients 10000",
        "--out z --root file/r",
    ] {
        let ended = Run::start(kolam(format!("stress {words}")).current_dir(here.path())).finish(LONG);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(here.names(), ["file", "mine"], "{words:?}");
        assert_eq!(names(&here.join("mine")), Vec::<String>::new(), "{words:?}");
    }
}

#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let bench = Bench::new();
    bench.out.write("file", b"");
    let out = bench.out.join("file").display().to_string();
    let words = "--modes thread --volumes 1 --clients 1 --servers 1";
    bench
        .run(format!("--out {out} {words}"))
        .failed(1, &["--out", &out]);
    bench.out.folder("thread.csv");
    bench.run(words).failed(1, &["thread.csv"]);
    bench.assert_nothing_left();
}

// ---- folders of runs ----

/// The value of the line `name` in a run's `machine.txt`.
fn about(run: &Path, name: &str) -> String {
    let machine = fs::read_to_string(run.join("machine.txt")).unwrap();
    let found = machine
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|value| value.trim().to_owned());
    found.unwrap_or_else(|| panic!("no {name} in {machine}"))
}

fn state_of(run: &Path) -> String {
    about(run, "state")
}

/// One row a mode, of next to no work.
const TINY: &str = "--ops list --volumes 1 --clients 1 --servers 1";

/// A tester in the folder `here`, whose results go where they go by themselves.
fn start_in(here: &Folder, words: impl Display) -> Run {
    Run::start(kolam(format!("stress {TINY} {words}")).current_dir(here.path()))
}

/// The folders of the runs below `results`, the oldest first.
fn runs(here: &Folder) -> Vec<String> {
    let mut names = names(&here.join("results"));
    names.retain(|name| name != "latest");
    names
}

#[test]
fn each_run_has_a_folder_of_its_own_and_latest_is_the_newest() {
    let here = Folder::new();
    let mut seen: Vec<String> = Vec::new();
    for client_mode in ["same", "process", "thread"] {
        let ended = start_in(&here, format!("--client-mode {client_mode}")).finish(LONG);
        let newest = runs(&here).into_iter().find(|name| !seen.contains(name)).unwrap();
        let (date, what) = newest.split_at("2026-11-21T070809".len());
        assert!(
            date.bytes()
                .all(|byte| byte.is_ascii_digit() || b"-T".contains(&byte)),
            "{newest}"
        );
        assert!(what.starts_with("-custom"), "{newest}");
        assert_has(ended.ok(), &[&format!("results    results/{newest}\n")]);
        let run = here.join("results").join(&newest);
        assert_eq!(
            names(&run),
            ["all.csv", "machine.txt", "process.csv", "tables.md", "thread.csv"]
        );
        assert_eq!(
            fs::read_link(here.join("results/latest")).unwrap().to_str(),
            Some(newest.as_str())
        );
        let command = about(&run, "command");
        assert!(command.ends_with(&format!("stress {TINY} --client-mode {client_mode}")));
        assert!(about(&run, "options").contains("--modes thread,process --client-mode"));
        assert_eq!(state_of(&run), "complete");
        seen.push(newest);
    }
    assert_eq!((runs(&here).len(), here.names()), (3, vec!["results".to_owned()]));
    // Every file of every run is still that of its own run.
    for (run, clients) in seen
        .iter()
        .zip(["thread,process", "process,process", "thread,thread"])
    {
        let rows = ["thread", "process"].map(|mode| {
            let text =
                fs::read_to_string(here.join("results").join(run).join(format!("{mode}.csv"))).unwrap();
            Cells::new(text.lines().nth(1).unwrap())
                .text("client_mode")
                .to_owned()
        });
        assert_eq!(rows.join(","), clients, "{run}");
    }
}

#[test]
fn runs_at_the_same_time_do_not_meet() {
    let here = Folder::new();
    let all: Vec<Run> = (0..4).map(|_| start_in(&here, "--modes thread")).collect();
    for run in all {
        run.finish(LONG).ok();
    }
    assert_eq!(runs(&here).len(), 4);
    let states = runs(&here)
        .into_iter()
        .map(|run| state_of(&here.join("results").join(run)));
    assert!(states.into_iter().all(|state| state == "complete"));
}

#[test]
fn a_latest_that_is_no_link_is_left_alone() {
    let here = Folder::new();
    here.folder("results");
    here.write("results/latest", b"a user's notes");
    let ended = start_in(&here, "--modes thread").finish(LONG);
    assert_has(
        ended.ok(),
        &["results/latest is no symbolic link and stays as it is\n"],
    );
    assert_eq!(here.read("results/latest"), b"a user's notes");
    assert_eq!(runs(&here).len(), 1);
}

#[test]
fn a_results_folder_that_cannot_be_made_is_a_failure() {
    let here = Folder::new();
    here.write("results", b"no folder");
    start_in(&here, "").finish(LONG).failed(1, &["results"]);
    assert_eq!(here.read("results"), b"no folder");
}

#[test]
fn a_folder_that_has_rows_is_refused_unless_forced() {
    let bench = Bench::new();
    let tiny = |words: &str| bench.run(format!("{TINY} {words}"));
    tiny("--modes thread,single").ok();
    bench.out.write("notes.txt", b"a user's");
    let before = bench.out.read("thread.csv");
    // Another mode's rows would be mixed with these.
    let ended = tiny("--modes process");
    ended.failed(1, &["single.csv", "--force", bench.out.path().to_str().unwrap()]);
    assert!(bench.out.read("thread.csv") == before && bench.state() == "complete");
    tiny("--modes process --force").ok();
    assert_eq!(
        bench.out.names(),
        ["machine.txt", "notes.txt", "process.csv", "tables.md"]
    );
    bench.rows("process").iter().for_each(Cells::check);
    run("stress --force").failed(2, &["--force", "--out"]);
    bench.assert_nothing_left();
}

#[test]
fn a_run_that_cannot_go_on_says_so_beside_its_rows() {
    let bench = Bench::new();
    let words = "--modes thread,process --volumes 8,9,10 --clients 4 --servers 1,2";
    let run = bench.start(words);
    wait_for_rows(&bench, "thread", 1);
    assert_eq!(bench.state(), "running");
    // Somebody else's file is not written over.
    bench.out.write("process.csv", b"somebody else's");
    run.finish(LONG).failed(1, &["process.csv"]);
    let state = bench.state();
    assert!(
        state.starts_with("failed: ") && state.contains("process.csv"),
        "{state}"
    );
    assert_eq!(bench.out.read("process.csv"), b"somebody else's");
    assert_eq!(bench.rows("thread").len(), 12);
    bench.assert_nothing_left();
}

#[test]
fn a_full_disk_leaves_whole_rows_and_the_reason() {
    let bench = Bench::new();
    // One block for `machine.txt` and one for some 30 rows.
    let Some(_disk) = Disk::mount(&bench.out, "8k") else {
        skipped("only root may mount the small disk that this test fills");
        return;
    };
    let words = "--modes thread --ops list --volumes 1,2,3,4,5,6,7,8 --clients 1,2,3,4,5,6";
    bench
        .run(format!("{words} --servers 1"))
        .failed(1, &["thread.csv"]);
    let rows = bench.rows("thread");
    assert!((20..48).contains(&rows.len()), "{}", rows.len());
    rows.iter().for_each(Cells::check);
    assert!(bench.state().starts_with("failed: cannot write the row"));
    bench.assert_nothing_left();
}

// ---- other people's servers ----

#[test]
fn a_target_is_measured_like_a_server_of_our_own_and_left_as_it_was() {
    each_case(MODES, FILE, |case, files| {
        let mode = case.mode;
        let bench = Bench::new();
        files.write("theirs", b"not ours");
        let server = case.serve(files, 3, "");
        let workers = workers_of(mode, "3");
        let words = format!(
            "--modes {mode} --target {} --volumes 1,2 --clients 1,2",
            server.address
        );
        let ended = bench.run(format!("{words} --ops download,upload --servers {workers}"));
        ended.ok();
        // How fast somebody else's server is cannot be told from our own files.
        assert!(
            ended.text().contains("target     127.") && !ended.text().contains("judged"),
            "{ended:?}"
        );
        let rows = bench.rows(mode);
        assert_eq!(rows.len(), 8);
        for row in &rows {
            assert_eq!(row.cells(["server_ok", "server_failed"]), [workers, "0"]);
            // Nobody can see the memory and the processor time of a server that is not ours.
            assert_eq!(row.cells(["server_peak_rss_kib", "server_cpu_s"]), ["", ""]);
            assert_eq!(row.cells(["client_failed", "errors"]), ["0", ""]);
        }
        bench.assert_nothing_left();
        assert_eq!(
            (files.names(), files.read("theirs")),
            (vec!["theirs".to_owned()], b"not ours".to_vec())
        );
    });
}

#[test]
fn the_list_of_a_target_may_hold_files_that_are_not_ours() {
    let (bench, files) = (Bench::new(), Folder::new());
    files.write("theirs", b"not ours");
    let server = Server::start("thread", 3, &files, "");
    let words = format!("--target {} --volumes 1 --clients 2 --servers 3", server.address);
    let ended = bench.run(format!("{words} --ops list --modes thread"));
    ended.ok();
    assert_eq!(bench.rows("thread")[0].text("client_ok"), "2");
    assert_eq!(files.names(), ["theirs"]);
}

/// What a server of another make has stored, as base64 by name.
#[derive(Default)]
struct Shelf {
    files: BTreeMap<String, String>,
    /// The names that it was told to delete.
    deletes: HashSet<String>,
    /// Uploads that it has received and not stored.
    stalled: usize,
    /// The names that were asked for before anything was stored.
    probed: BTreeSet<String>,
}

/// A server of another make.
struct Other {
    fake: Fake,
    shelf: Arc<Mutex<Shelf>>,
}

impl Deref for Other {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

impl Other {
    /// Speaks the protocol well enough to be tested, but for one lie.
    fn start(lie: &'static str) -> Other {
        Other::with_guests(lie, Vec::new)
    }

    /// The same, and its LIST has names that `guests` makes up.
    fn with_guests(lie: &'static str, guests: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Other {
        let shelf: Arc<Mutex<Shelf>> = Arc::default();
        let shared = shelf.clone();
        let fake = Fake::start(move |guest| talk(guest, &shared, lie, &guests).unwrap_or_default());
        Other { fake, shelf }
    }

    /// Its files, but for those of the quick questions.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.shelf.lock().unwrap().files.keys().cloned().collect();
        names.retain(|name| !name.starts_with(QUESTION));
        names
    }
}

/// How the names of the grader's files begin.
const QUESTION: &str = "kolam-check-";

/// One connection: one request. `None`: it ends without a reply. It lies about no file of the grader, so that
/// the quick questions find nothing.
fn talk(guest: &mut Guest, shelf: &Mutex<Shelf>, lie: &str, guests: &dyn Fn() -> Vec<String>) -> Option<()> {
    if lie == "hangs up" {
        let mut head = [0; "UPLOAD kolam-check-".len()];
        guest.stream.peek(&mut head).ok()?;
        // What has not been read turns the end of the connection into a reset.
        if head.starts_with(b"UPLOAD") && !head.ends_with(QUESTION.as_bytes()) {
            return None;
        }
    }
    let request = guest.read_whole(END);
    let mut words = request.split_whitespace();
    // Some servers fold names to lower case.
    let (verb, name) = (words.next()?, words.next().unwrap_or_default().to_lowercase());
    let text = words.next().unwrap_or_default();
    let lie = if name.starts_with(QUESTION) { "" } else { lie };
    let no = |reason: &str| Some(format!(r#"{{"status":"ERROR","data":"{reason}"}}"#));
    let reply = match (verb, lie) {
        ("DELETE", "is deaf") | ("GET", "is silent") => {
            guest.wait();
            None
        }
        ("STATS", _) => {
            if lie == "goes away" {
                guest.close_listener();
            }
            no("request tidak dikenali")
        }
        ("LIST", "knows no LIST" | "knows neither" | "has all files" | "has all files, empty") => {
            no("request tidak dikenali")
        }
        ("DELETE", "knows no DELETE" | "knows neither") => no("request tidak dikenali"),
        ("UPLOAD", "has no room") => no("disk full"),
        ("UPLOAD", "stores late") if !name.ends_with("-0.bin") => {
            store_late(shelf, name);
            None
        }
        ("UPLOAD", _) => {
            shelf.lock().unwrap().files.insert(name, text.to_owned());
            Some(DONE.to_owned())
        }
        ("DELETE", "keeps all") => Some(DONE.to_owned()),
        ("DELETE", _) => {
            let mut shelf = shelf.lock().unwrap();
            let removed = shelf.files.remove(&name);
            shelf.deletes.insert(name);
            removed.map_or(no("[Errno 2] No such file or directory"), |_| {
                Some(DONE.to_owned())
            })
        }
        ("GET", "has all files") => Some(r#"{"status":"OK","data_file":"QUJD"}"#.to_owned()),
        ("GET", "has all files, empty") => Some(r#"{"status":"OK","data_file":""}"#.to_owned()),
        ("GET", "refuses") => no("not today"),
        ("GET", _) => content(guest, &mut shelf.lock().unwrap(), lie, name),
        ("LIST", "forges the list") => Some(r#"{"status":"OK","data":["never.heard.of"]}"#.to_owned()),
        ("LIST", _) => {
            let mut names: Vec<String> = shelf.lock().unwrap().files.keys().cloned().collect();
            names.extend(guests());
            Some(format!(r#"{{"status":"OK","data":{names:?}}}"#))
        }
        _ => no("request tidak dikenali"),
    };
    guest.send(reply? + "\r\n\r\n");
    Some(())
}

const DONE: &str = r#"{"status":"OK"}"#;

/// An upload that is stored only after it was deleted, on a slow disk.
fn store_late(shelf: &Mutex<Shelf>, name: String) {
    shelf.lock().unwrap().stalled += 1;
    eventually("it is deleted", || shelf.lock().unwrap().deletes.contains(&name));
    thread::sleep(Duration::from_millis(50));
    let mut shelf = shelf.lock().unwrap();
    shelf.stalled -= 1;
    shelf.files.insert(name, String::new());
}

/// The answer to a GET, unless this lie is that it never ends.
fn content(guest: &mut Guest, shelf: &mut Shelf, lie: &str, name: String) -> Option<String> {
    if shelf.files.is_empty() && !name.starts_with(QUESTION) {
        shelf.probed.insert(name.clone());
    }
    let Some(mut text) = shelf.files.get(&name).cloned() else {
        return Some(r#"{"status":"ERROR","data":"not found"}"#.to_owned());
    };
    match lie {
        "flips a byte" => {
            let other = if &text[700_000..700_001] == "A" { "B" } else { "A" };
            text.replace_range(700_000..700_001, other);
        }
        "drops the end" => text.truncate(text.len() - 4),
        "adds a byte" => text = text.trim_end_matches('=').to_owned() + "AAAA",
        "stops" => {
            guest.send(format!(r#"{{"status":"OK","data_file":"{text}"#));
            return None;
        }
        _ => {}
    }
    Some(format!(r#"{{"status":"OK","data_file":"{text}"}}"#))
}

/// A test of a target: one volume, two clients, one server worker.
#[track_caller]
fn against(bench: &Bench, target: &Other, words: impl Display) -> Ended {
    let fixed = format!(
        "--target {} --volumes 1 --clients 2 --servers 1 --modes",
        target.address
    );
    bench.run(format!("{fixed} {words}"))
}

#[test]
fn an_honest_server_of_another_make_passes_and_counts_nothing() {
    let fake = Other::start("tells the truth");
    let bench = Bench::new();
    let ended = against(&bench, &fake, "thread --ops download,upload");
    ended.ok();
    for row in bench.rows("thread") {
        assert_eq!(row.cells(["client_ok", "client_failed"]), ["2", "0"]);
        assert_eq!(
            row.cells(["server_ok", "server_failed"]),
            ["", ""],
            "nobody counted them"
        );
    }
    let is_row = |line: &&str| line.trim_start().starts_with("1 download");
    let row = ended.text().lines().find(is_row).unwrap();
    assert!(row.ends_with("    2/0       -"), "{row:?}");
}

#[test]
fn every_lie_of_a_target_is_counted_under_its_cause() {
    let table = [
        ("flips a byte", "download", "corrupt=2"),
        ("drops the end", "download", "short=2"),
        ("adds a byte", "download", "corrupt=2"),
        ("stops", "download", "short=2"),
        ("refuses", "download", "server error=2"),
        ("is silent", "download", "timeout=2"),
        ("flips a byte", "upload", "corrupt=2"),
        ("drops the end", "upload", "short=2"),
        ("hangs up", "upload", "reset=2"),
        ("forges the list", "list", "corrupt=2"),
    ];
    each_case(CLIENTS, FILE, |Case { mode, .. }, _| {
        for (lie, operation, errors) in table {
            let fake = Other::start(lie);
            let bench = Bench::new();
            let ended = against(&bench, &fake, format!("{mode} --ops {operation} --timeout 0.5"));
            ended.failed(1, &["2 client worker"]);
            let rows = bench.rows(mode);
            assert_eq!(rows.len(), 1, "{lie}");
            assert_eq!(rows[0].text("errors"), errors, "{lie} {operation}");
            assert_eq!(rows[0].cells(["client_ok", "client_failed"]), ["0", "2"], "{lie}");
            assert_eq!(rows[0].cells(["time_per_client_s", "p95_s"]), ["", ""], "{lie}");
            ended.says(&["failures   2 ("]);
            // When everything failed there is nothing that could be best.
            assert!(
                !ended.text().contains("best") && !ended.text().contains("worst"),
                "{}",
                ended.text()
            );
            assert_eq!(fake.names(), Vec::<String>::new(), "{lie}");
            bench.assert_nothing_left();
        }
    });
}

/// What is said before anything is asked.
fn asking(address: &str, seconds: f64) -> String {
    let what = "a small file, its mode, its workers and its files";
    format!("asking     {address} for {what}, at most {seconds} s each\n")
}

#[test]
fn a_target_that_cannot_be_reached_ends_the_test_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let here = Folder::new();
    let ended = start_in(&here, format!("--target {address}")).finish(PATIENCE);
    ended.failed(1, &["--target", &address, "no connection", "refused"]);
    assert_eq!(ended.text(), asking(&address, 5.0));
    assert_eq!(here.names(), Vec::<String>::new());
}

#[test]
fn a_target_that_speaks_http_ends_the_test_at_once() {
    each_case(MODES, HTTP, |case, files| {
        let here = Folder::new();
        let server = case.serve(files, 2, "");
        let address = server.address.to_string();
        let ended = start_in(&here, format!("--target {address}")).finish(PATIENCE);
        ended.failed(1, &["--target", &address, "answers in HTTP", "kolam bench http"]);
        assert_eq!(ended.text(), asking(&address, 5.0));
        assert_eq!((here.names(), files.names()), (Vec::new(), Vec::new()));
    });
}

#[test]
fn a_target_that_goes_away_still_gives_a_whole_table() {
    for operation in ["upload", "list", "download"] {
        let (bench, fake) = (Bench::new(), Other::start("goes away"));
        let ended = against(&bench, &fake, format!("process --ops {operation}"));
        // Nothing is known of its workers, so nothing is said of them.
        ended.failed(1, &["kolam: 2 client workers failed\n"]);
        let rows = bench.rows("process");
        assert_eq!(rows.len(), 1, "{operation}");
        let failed = [rows[0].text("client_failed"), rows[0].text("errors")];
        assert_eq!(failed, ["2", "refused=2"], "{operation}");
        bench.assert_nothing_left();
    }
}

#[test]
fn files_of_the_target_stay_whatever_they_are_called() {
    let names = [
        "10MiB.bin",
        "1MiB.bin",
        "1mib.bin",
        "kolam-1mib.bin",
        "upload-0.bin",
        "upload-1.bin",
    ];
    each_case(MODES, FILE, |case, files| {
        let bench = Bench::new();
        names
            .iter()
            .for_each(|name| files.write(name, format!("a user's {name}").as_bytes()));
        let server = case.serve(files, 2, "");
        let address = server.address;
        let words = format!("--target {address} --volumes 1 --clients 2 --ops download,upload,list");
        bench.run(&words).ok();
        assert_eq!(files.names(), names);
        names
            .iter()
            .for_each(|name| assert_eq!(files.read(name), format!("a user's {name}").as_bytes()));
    });
}

/// The id of the run that has its folder in `root`.
fn run_id(root: &Path) -> Option<String> {
    names(root)
        .into_iter()
        .find_map(|name| name.strip_prefix("kolam-stress-").map(str::to_owned))
}

#[test]
fn a_target_that_has_a_file_of_that_name_is_not_touched() {
    let bench = Bench::new();
    let root = bench.root.path().to_owned();
    let guests = move || {
        run_id(&root)
            .into_iter()
            .map(|id| format!("Kolam-{id}-1MiB.bin"))
            .collect()
    };
    let fake = Other::with_guests("tells the truth", guests);
    let ended = against(&bench, &fake, "thread");
    ended.failed(1, &[&fake.address.to_string(), "-1MiB.bin", "already"]);
    assert!(fake.names().is_empty() && bench.out.names().is_empty());
    bench.assert_nothing_left();
}

#[test]
fn all_names_of_a_run_are_new_short_and_lower_case() {
    let fake = Other::start("knows no DELETE");
    let mut ids = HashSet::new();
    for _ in 0..3 {
        against(&Bench::new(), &fake, "thread --ops download,upload").ok();
    }
    for name in fake.names() {
        let words: Vec<&str> = name.split('-').collect();
        assert!(
            ["1mib.bin", "upload"].contains(&words[2]) && words[0] == "kolam",
            "{name}"
        );
        assert!(
            words[1].len() <= 8 && words[1].bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{name}"
        );
        ids.insert(words[1].to_owned());
    }
    assert_eq!((ids.len(), fake.names().len()), (3, 9));
}

#[test]
fn a_target_without_list_is_tested_and_the_user_told_once() {
    let fake = Other::start("knows no LIST");
    let bench = Bench::new();
    let ended = against(&bench, &fake, "thread --ops download,upload");
    assert_eq!(ended.ok().matches("LIST").count(), 1, "{ended:?}");
    let note = "note       names are free there, asked by GET for each, since LIST fails: ";
    ended.says(&[note]);
    assert_eq!(fake.names(), Vec::<String>::new());
    let asked = fake.shelf.lock().unwrap().probed.clone();
    let asked: Vec<&str> = asked
        .iter()
        .map(|name| name.rsplit('-').next().unwrap())
        .collect();
    assert_eq!(asked, ["1mib.bin", "0.bin", "1.bin"]);
}

#[test]
fn a_target_without_list_that_has_a_file_of_that_name_is_not_touched() {
    for lie in ["has all files", "has all files, empty"] {
        let (bench, fake) = (Bench::new(), Other::start(lie));
        let ended = against(&bench, &fake, "thread --ops download,upload");
        ended.failed(1, &[&fake.address.to_string(), "-1mib.bin", "already"]);
        assert!(fake.names().is_empty() && bench.out.names().is_empty());
        bench.assert_nothing_left();
    }
}

#[test]
fn a_target_that_lies_about_delete_is_told_of() {
    for (lang, why) in [
        ("en", "; it has answered OK to DELETE but still lists them\n"),
        ("id", "; DELETE dijawab OK tetapi file masih ada di LIST\n"),
    ] {
        let (bench, fake) = (Bench::new(), Other::start("keeps all"));
        let words = format!("thread --ops upload,download --lang {lang}");
        let ended = against(&bench, &fake, &words);
        let names = fake.names();
        let pattern = format!("kolam-{}-*{why}", names[0].split('-').nth(1).unwrap());
        let left = if lang == "en" {
            "left       3 files stay on"
        } else {
            "tersisa    3 file tertinggal di"
        };
        let left = format!("{left} {}, 3.00 MiB: {} (1.00 MiB), ", fake.address, names[0]);
        assert_has(ended.ok(), &[&left, &pattern]);
        let english = [
            "asking ",
            "note ",
            "STATS there",
            "left ",
            " stay",
            "row",
            "first ",
        ];
        let found = english.into_iter().find(|word| ended.text().contains(word));
        assert_eq!(found.is_some(), lang == "en", "{found:?} in {}", ended.text());
        assert_eq!(names.len(), 3);
    }
}

#[test]
fn what_a_target_does_not_delete_is_named_once_with_its_size() {
    for lie in ["knows no DELETE", "knows neither"] {
        let fake = Other::start(lie);
        let address = fake.address;
        let words = format!("--target {address} --volumes 1 --clients 2,50 --ops download,upload");
        let ended = Bench::new().run(&words);
        let left: Vec<&str> = ended
            .ok()
            .lines()
            .filter(|line| line.starts_with("left "))
            .collect();
        assert_eq!(left.len(), 1, "{ended:?}");
        let count = format!("51 files stay on {address}, 51.0 MiB: ");
        let pattern = format!(
            "and 48 more, all named kolam-{}-*; ",
            fake.names()[0].split('-').nth(1).unwrap()
        );
        for words in [&count, "(1.00 MiB)", &pattern, "dikenali", &fake.names()[0]] {
            assert_has(left[0], &[words]);
        }
        assert_eq!(fake.names().len(), 51, "{lie}");
    }
}

#[test]
fn an_interrupted_test_leaves_nothing_on_its_target() {
    each_case(MODES, FILE, |case, files| {
        for (operation, number) in [("upload", libc::SIGINT), ("download", libc::SIGHUP)] {
            let bench = Bench::new();
            files.write("a.theirs", b"not ours");
            let server = case.serve(files, 2, "");
            let address = server.address;
            let words = format!("--target {address} --volumes 50 --clients 4,5,6 --ops {operation}");
            let run = bench.start(&words);
            within(LONG, "a file arrives", || {
                files.names().last().is_some_and(|name| name != "a.theirs")
            });
            run.signal(number);
            let ended = run.finish(PATIENCE);
            ended.failed(130, &["interrupted"]);
            assert!(!ended.text().contains("left "), "{ended:?}");
            eventually("unfinished uploads are dropped", || files.temporary().is_empty());
            assert_eq!(files.names(), ["a.theirs"], "{operation}");
        }
    });
}

#[test]
fn an_interrupted_test_does_not_wait_long_for_a_target_that_removes_nothing() {
    let fake = Other::start("is deaf");
    let (bench, address) = (Bench::new(), fake.address);
    let words = format!("--target {address} --volumes 1 --clients 2 --ops download");
    let run = bench.start(&words);
    eventually("the file is stored", || !fake.names().is_empty());
    run.signal(libc::SIGINT);
    let ended = run.finish(Duration::from_secs(4));
    ended.failed(130, &["interrupted"]);
    let left = format!(
        "left       1 file may stay on {address}, 1.00 MiB: {}",
        fake.names()[0]
    );
    ended.says(&[&left]);
    assert_eq!(bench.state(), "interrupted");
}

#[test]
fn the_state_of_a_run_whose_cleaning_is_interrupted_agrees_with_its_exit_code() {
    // In the middle of a row and twice, and once in the cleaning after the last row.
    thread::scope(|scope| {
        for rows in [0, 1] {
            scope.spawn(move || {
                let fake = Other::start("is deaf");
                let (bench, address) = (Bench::new(), fake.address);
                let words = format!("--target {address} --volumes 1 --clients 2 --ops download");
                let run = bench.start(&words);
                eventually("the file is stored", || !fake.names().is_empty());
                if rows == 0 {
                    run.signal(libc::SIGINT);
                }
                within(LONG, "it is cleaned", || {
                    bench.out.join("machine.txt").exists() && bench.state() == "interrupted"
                });
                run.signal(if rows == 0 { libc::SIGINT } else { libc::SIGTERM });
                let ended = run.finish(LONG);
                assert_eq!(ended.code, Some(130), "{ended:?}");
                assert_eq!(bench.rows("single").len(), rows, "{ended:?}");
                assert_eq!(bench.state(), "interrupted", "{ended:?}");
            });
        }
    });
}

#[test]
fn an_interrupted_test_removes_what_is_stored_after_its_clients_have_gone() {
    each_case(CLIENTS, FILE, |Case { mode, .. }, _| {
        let fake = Other::start("stores late");
        let (bench, address) = (Bench::new(), fake.address);
        let words = format!("--target {address} --volumes 1 --clients 3 --ops upload --modes {mode}");
        let run = bench.start(&words);
        eventually("one upload is stored and two wait", || {
            fake.names().len() == 1 && fake.shelf.lock().unwrap().stalled == 2
        });
        run.signal(libc::SIGINT);
        let ended = run.finish(PATIENCE);
        ended.failed(130, &["interrupted"]);
        ended.says(&["removing the files of this run"]);
        eventually("the two are stored", || fake.shelf.lock().unwrap().stalled == 0);
        assert_eq!(fake.names(), Vec::<String>::new(), "{ended:?}");
    });
}

#[test]
fn a_set_up_that_fails_is_the_cause_and_the_clients_are_not_run() {
    let (fake, bench) = (Other::start("has no room"), Bench::new());
    let ended = against(&bench, &fake, "thread --ops download,list");
    ended.failed(1, &["4 client workers"]);
    for row in bench.rows("thread") {
        assert_eq!(row.cells(["errors", "client_failed"]), ["server error=2", "2"]);
        assert_eq!(row.cells(["wall_s", "total_Bps", "p50_s"]), ["", "", ""]);
        assert_has(row.text("first_error"), &["set-up, upload", "disk full"]);
    }
    let text = ended.text();
    let first = text.lines().find(|line| line.starts_with("first ")).unwrap();
    assert_has(first, &["row 1: set-up, upload", "disk full"]);
    for word in ["best", "worst", "file not found"] {
        assert!(!text.contains(word), "{word:?} in {text}");
    }
}

#[test]
fn labels_that_the_target_contradicts_are_refused_before_anything_is_sent() {
    each_case(MODES, FILE, |case, files| {
        let mode = case.mode;
        let bench = Bench::new();
        let server = case.serve(files, 3, "");
        let (address, workers) = (server.address.to_string(), workers_of(mode, "3"));
        let other = if mode == "thread" { "process" } else { "thread" };
        let both = format!("{mode},{other}");
        let table: [(&str, &[&str]); 4] = [
            (&format!("--modes {other}"), &["--modes", other, &address, mode]),
            (&format!("--modes {both}"), &["--modes", &both, &address, mode]),
            ("--servers 7", &["--servers 7", &format!("{workers} worker")]),
            ("--servers 1,3", &["--servers 1,3"]),
        ];
        for (words, told) in table {
            let ended = bench.run(format!("--target {address} {words}"));
            ended.failed(2, told);
            // What cannot be true of any server is refused before one is asked.
            let asked = asking(&address, 5.0);
            assert_eq!(
                ended.text(),
                if words.contains(',') { "" } else { &asked },
                "{words}"
            );
        }
        assert!(files.names().is_empty() && bench.out.names().is_empty());
        // Without labels of the user's, they are the target's own.
        bench
            .run(format!("--target {address} --volumes 1 --clients 2"))
            .ok();
        let rows = bench.rows(mode);
        assert_eq!(rows.len(), 2);
        rows.iter()
            .for_each(|row| assert_eq!(row.text("server_workers"), workers));
    });
}

#[test]
fn a_target_that_tells_nothing_has_one_label_and_the_user_is_told() {
    let fake = Other::start("tells the truth");
    let (bench, address) = (Bench::new(), fake.address);
    let words = format!("--target {address} --volumes 1 --clients 1,2 --ops download");
    let ended = bench.run(&words);
    let note = "note       no STATS there: the rows are labelled single mode, 1 worker; \
                give --modes and --servers to label them otherwise\n";
    ended.ok();
    ended.says(&[note]);
    assert_eq!(bench.rows("single").len(), 2);
    assert_eq!(bench.out.names(), ["machine.txt", "single.csv", "tables.md"]);
    let ended = Bench::new().run(format!("{words} --modes process --servers 5"));
    assert!(!ended.ok().contains("note "), "{ended:?}");
}

// ---- killed and interrupted ----

/// Flips the last byte of every upload that lies in the served folder and was not flipped yet.
fn spoil(root: &Path, spoilt: &mut HashSet<String>) {
    let served = names(root)
        .into_iter()
        .find(|name| name.starts_with("kolam-stress-"));
    let Some(entries) = served.and_then(|served| fs::read_dir(root.join(served)).ok()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Ok(file) = OpenOptions::new().read(true).write(true).open(entry.path()) else {
            continue;
        };
        let mut byte = [0];
        if name.contains("-upload-") && spoilt.insert(name) {
            let last = file.metadata().unwrap().len() - 1;
            file.read_exact_at(&mut byte, last).unwrap();
            file.write_all_at(&[!byte[0]], last).unwrap();
        }
    }
}

#[test]
fn an_upload_that_is_not_what_was_sent_is_counted_as_corrupt() {
    each_case(CLIENTS, FILE, |Case { mode, .. }, _| {
        let bench = Bench::new();
        let (root, mut spoilt) = (bench.root.path().to_owned(), HashSet::new());
        let spoiling = Background::repeat(move || {
            spoil(&root, &mut spoilt);
            true
        });
        let words = format!("--modes {mode} --ops upload --volumes 40 --clients 4 --servers 2");
        let ended = bench.run(&words);
        drop(spoiling);
        let row = &bench.rows(mode)[0];
        let failed = row.number("client_failed");
        assert!(
            failed >= 1.0 && failed + row.number("client_ok") == 4.0,
            "{ended:?}"
        );
        assert_eq!(row.text("errors"), format!("corrupt={failed}"), "{ended:?}");
        assert_eq!(row.cells(["server_ok", "server_failed"]), ["2", "0"], "{ended:?}");
        ended.failed(1, &["client worker"]);
        bench.assert_nothing_left();
    });
}

/// Waits until a mode has `count` finished rows in its CSV.
fn wait_for_rows(bench: &Bench, mode: &str, count: usize) {
    within(LONG, "rows are written", || {
        let text = fs::read_to_string(bench.out.join(&format!("{mode}.csv"))).unwrap_or_default();
        text.lines().count() > count
    });
}

#[test]
fn an_interrupted_test_keeps_its_finished_rows_and_leaves_nothing() {
    each_case(MODES, FILE, |Case { mode, .. }, _| {
        for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            let bench = Bench::new();
            let words = format!("--modes {mode} --volumes 20,21,22,23,24,25,26,27,28,29 --clients 4,5,6");
            let run = bench.start(format!("{words} --servers {}", workers_of(mode, "2")));
            wait_for_rows(&bench, mode, 1);
            run.signal(number);
            let ended = run.finish(PATIENCE);
            ended.failed(130, &["interrupted"]);
            // Far from all: the rest is not waited for.
            let rows = bench.rows(mode);
            assert!((1..60).contains(&rows.len()), "{}", rows.len());
            rows.iter().for_each(Cells::check);
            ended.says(&[&format!("rows       {} of 60", rows.len())]);
            ended.says(&["Throughput"]);
            assert_eq!(bench.state(), "interrupted");
            bench.assert_nothing_left();
        }
    });
}

#[test]
fn an_interrupt_does_not_wait_for_a_target_that_stalls() {
    each_case(CLIENTS, FILE, |Case { mode, .. }, _| {
        let fake = Other::start("is silent");
        let (bench, address) = (Bench::new(), fake.address);
        let words = format!("--modes {mode} --target {address} --volumes 1 --clients 2 --servers 1");
        let run = bench.start(&words);
        wait_for_rows(&bench, mode, 0);
        // The source is uploaded, statistics are refused, and then both clients wait for content.
        let waiting = |pid: u32| {
            if mode == "process" {
                children(pid).len()
            } else {
                threads(pid) - 1
            }
        };
        eventually("the clients wait", || waiting(run.pid()) == 2);
        run.signal(libc::SIGINT);
        run.finish(Duration::from_secs(5)).failed(130, &["interrupted"]);
        bench.assert_nothing_left();
    });
}

#[test]
fn a_killed_tester_leaves_no_process() {
    each_case(MODES, FILE, |Case { mode, .. }, _| {
        let bench = Bench::new();
        let words = format!("--modes {mode} --volumes 20,40,60 --clients 4,6 --servers");
        let mut run = bench.start(format!("{words} {}", workers_of(mode, "3")));
        wait_for_rows(&bench, mode, 1);
        eventually("a server runs", || bench.processes().len() > 1);
        run.signal(libc::SIGKILL);
        run.wait(PATIENCE);
        within(Duration::from_secs(5), "all processes have ended", || {
            bench.processes().is_empty()
        });
        assert_eq!(bench.state(), "running");
    });
}

#[test]
fn killed_clients_are_counted_and_the_row_is_finished() {
    let fake = Other::start("is silent");
    let (bench, address) = (Bench::new(), fake.address);
    let words = format!("--modes process --target {address} --volumes 1 --clients 3 --servers 1");
    let run = bench.start(format!("{words} --ops download"));
    let tester = run.pid();
    eventually("the clients wait", || children(tester).len() == 3);
    children(tester)
        .into_iter()
        .for_each(|pid| signal(pid, libc::SIGKILL));
    let ended = run.finish(PATIENCE);
    ended.failed(1, &["3 client worker"]);
    let rows = bench.rows("process");
    assert_eq!(rows[0].cells(["client_ok", "client_failed"]), ["0", "3"]);
    bench.assert_nothing_left();
}

// ---- what a killed tester leaves, and what only looks like it ----

#[test]
fn the_next_tester_removes_what_a_killed_one_has_left() {
    let bench = Bench::new();
    let words = "--modes process --ops upload --volumes 1,100 --clients 3";
    let mut run = bench.start(format!("{words} --servers 2"));
    within(LONG, "a worker receives", || {
        let workers: Vec<u32> = children(run.pid()).into_iter().flat_map(children).collect();
        uploader(bench.root.path()).is_some_and(|pid| workers.contains(&pid))
    });
    run.signal(libc::SIGKILL);
    run.wait(PATIENCE);
    eventually("all processes have ended", || bench.processes().is_empty());
    let left = bench.root.names();
    assert!(
        left.len() == 1 && left[0].starts_with("kolam-stress-"),
        "{left:?}"
    );
    let next = Bench::new();
    let root = bench.root.path().to_str().unwrap();
    next.run(format!("{TINY} --modes thread --root {root}")).ok();
    bench.assert_nothing_left();
}

#[test]
fn only_the_folders_of_dead_testers_are_removed() {
    let (bench, elsewhere) = (Bench::new(), Folder::new());
    let folder = |name: &str, files: &[(&str, &str)]| {
        bench.root.folder(name);
        for (file, content) in files {
            fs::write(bench.root.join(name).join(file), content).unwrap();
        }
    };
    let mark = |id: &str| format!("files of kolam stress, run {id}\n");
    let source = |id: &str| format!("kolam-{id}-10mib.bin");
    // Names of the right form, and a mark that is missing, another's, longer, or no file of the folder's own.
    bench.root.write("kolam-stress-notes", b"a user's");
    bench.root.write("kolam-stress-plainfil", b"a user's");
    bench.root.write("kolam-stress-plainfi2", b"a user's");
    folder(
        "kolam-stress-run1",
        &[("thread.csv", "a user's"), (".kolam-stress", &mark("run1"))],
    );
    folder("kolam-stress-nomark00", &[(&source("nomark00"), "a user's")]);
    folder(
        "kolam-stress-other000",
        &[
            (&source("other000"), "a user's"),
            (".kolam-stress", &mark("other001")),
        ],
    );
    folder(
        "kolam-stress-longer00",
        &[(".kolam-stress", &(mark("longer00") + "\n"))],
    );
    elsewhere.folder("kolam-stress-linked00");
    elsewhere.write("kolam-stress-linked00/.kolam-stress", mark("linked00").as_bytes());
    let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, bench.root.join(to)).unwrap();
    link(&elsewhere.join("kolam-stress-linked00"), "kolam-stress-linked00");
    folder("kolam-stress-linkmark", &[]);
    elsewhere.write("mark", mark("linkmark").as_bytes());
    link(&elsewhere.join("mark"), "kolam-stress-linkmark/.kolam-stress");
    // Two that are ours; in one of them lies something that is not.
    folder(
        "kolam-stress-dead0000",
        &[(&source("dead0000"), ""), (".kolam-stress", &mark("dead0000"))],
    );
    folder(
        "kolam-stress-dead0001",
        &[(&source("dead0001"), ""), (".kolam-stress", &mark("dead0001"))],
    );
    bench.root.write("kolam-stress-dead0001/thesis.txt", b"a user's");
    // One that its tester had no time to mark, and one that is empty too, with a name of another form.
    folder("kolam-stress-unmarked", &[]);
    folder("kolam-stress-Unmarked", &[]);
    let before = bench.root.names();
    bench.run(format!("{TINY} --modes thread")).ok();
    let mut expected = before.clone();
    expected.retain(|name| !["kolam-stress-dead0000", "kolam-stress-unmarked"].contains(&name.as_str()));
    assert_eq!(bench.root.names(), expected);
    let inside = |name: &str| names(&bench.root.join(name));
    assert_eq!(inside("kolam-stress-run1"), [".kolam-stress", "thread.csv"]);
    assert_eq!(inside("kolam-stress-nomark00"), ["kolam-nomark00-10mib.bin"]);
    assert_eq!(
        inside("kolam-stress-other000"),
        [".kolam-stress", "kolam-other000-10mib.bin"]
    );
    assert_eq!(inside("kolam-stress-dead0001"), [".kolam-stress", "thesis.txt"]);
    assert_eq!(elsewhere.names(), ["kolam-stress-linked00", "mark"]);
}

#[test]
fn results_whose_folder_looks_like_a_testers_survive_the_next_run() {
    let here = Folder::new();
    let run = |out: &str| start_in(&here, format!("--modes thread --out {out}")).finish(LONG);
    run("kolam-stress-run1").ok();
    run("kolam-stress-abcdefgh").ok();
    run(".").ok();
    for name in ["kolam-stress-run1", "kolam-stress-abcdefgh"] {
        assert_eq!(
            names(&here.join(name)),
            ["machine.txt", "tables.md", "thread.csv"],
            "{name}"
        );
    }
}

/// The process that writes the temporary file of an upload in the served folder, if there is one.
fn uploader(root: &Path) -> Option<u32> {
    let served = names(root)
        .into_iter()
        .find(|name| name.starts_with("kolam-stress-"))?;
    let entries = fs::read_dir(root.join(served)).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut uploads = names.filter(|name| name.starts_with(".kolam-") && name.ends_with(".tmp"));
    uploads.find_map(|name| name.split('-').nth(1)?.parse().ok())
}

#[test]
fn a_killed_server_worker_is_counted_on_both_sides() {
    let bench = Bench::new();
    let words = "--modes process --ops upload --volumes 100 --clients 2 --servers 2";
    let run = bench.start(words);
    let mut victim = None;
    // The server's own look at its folder, when it starts, makes a file too, but has no children's pid.
    within(LONG, "a worker receives", || {
        let workers: Vec<u32> = children(run.pid()).into_iter().flat_map(children).collect();
        victim = uploader(bench.root.path()).filter(|pid| workers.contains(pid));
        victim.is_some()
    });
    signal(victim.unwrap(), libc::SIGKILL);
    let ended = run.finish(LONG);
    ended.failed(1, &["1 client worker"]);
    let row = &bench.rows("process")[0];
    assert_eq!(row.cells(["client_ok", "client_failed"]), ["1", "1"]);
    assert_eq!(row.cells(["server_ok", "server_failed"]), ["1", "1"]);
    assert!(
        ["reset=1", "short=1"].contains(&row.text("errors")),
        "{}",
        row.text("errors")
    );
    bench.assert_nothing_left();
}
