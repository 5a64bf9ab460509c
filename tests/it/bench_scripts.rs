//! The measuring scripts in `bench`: each run has a folder of its own and says in it how it ended, progress
//! is a line a step in a pipe and one line on a terminal, tables fit into 80 columns.

use crate::support::pty::{Screen, Terminal};
use crate::support::{Ended, Folder, PATIENCE, Run, signal, within};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long all rows may take with the smallest numbers, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A script of `bench`, with this build of the program and a small number of requests.
fn script(name: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(sources().join("bench").join(name));
    command
        .env_remove("COLUMNS")
        .env_remove("FORCE")
        .env_remove("OUT")
        .env("TERM", "xterm");
    command
        .env("KOLAM", env!("CARGO_BIN_EXE_kolam"))
        .env("N", "100")
        .env("ROUNDS", "1");
    command.envs(settings.iter().copied()).stdin(Stdio::null());
    command
}

/// Lines of bash after `bench/common`, in `folder`.
fn shell(folder: &Folder, lines: &str) -> Command {
    let common = sources().join("bench/common");
    let text = format!(
        "set -euo pipefail; source '{}' test what\n{lines}",
        common.display()
    );
    let mut command = Command::new("bash");
    command
        .arg("-c")
        .arg(text)
        .current_dir(folder.path())
        .stdin(Stdio::null());
    command
        .env_remove("COLUMNS")
        .env_remove("FORCE")
        .env_remove("OUT")
        .env("TERM", "xterm");
    command.env("KOLAM", env!("CARGO_BIN_EXE_kolam"));
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

#[test]
fn the_http_tables_are_whole_and_fit_a_terminal() {
    let folder = Folder::new();
    let out = folder.join("run").display().to_string();
    let ended = end(&mut script("ab", &[("OUT", &out)]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let read = |name: &str| String::from_utf8(folder.read(&format!("run/{name}"))).unwrap();
    for name in ["balancer.csv", "thread.csv"] {
        let rows = cells(&read(name));
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
        progress.starts_with("bench/ab: 14 rows, each 1 run of 100 requests with kolam"),
        "{progress}"
    );
    let steps: Vec<&str> = progress.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(steps.len(), 14, "{progress}");
    assert!(
        steps[2].starts_with("[3/14] balancer, c = 10: kolam"),
        "{progress}"
    );
    assert!(!progress.contains(['\r', '\x1b']), "{progress:?}");

    let again = end(&mut script("ab", &[("OUT", &out)]));
    assert_eq!((again.code, again.text()), (Some(1), ""), "{again:?}");
    assert!(again.stderr.contains("balancer.csv is there already") && again.stderr.contains("FORCE=yes"));
    assert_eq!(
        read("machine.txt"),
        machine,
        "a refused run leaves the other's results alone"
    );
    let bench = end(&mut script("run", &[("OUT", &out), ("ROUNDS", "no")]));
    assert_eq!(bench.code, Some(2), "{bench:?}");
}

#[test]
fn on_a_terminal_a_run_has_one_live_line_and_not_that_of_its_parts() {
    let folder = Folder::new();
    let out = folder.join("run").display().to_string();
    let terminal = Terminal::start(&mut script("ab", &[("OUT", &out)]), 80);
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
    let run = Run::start(&mut script("run", &[("OUT", &out), ("SHM", &work)]));
    // The rows of base64 are the first; then come transfers, whose rows lie in a folder of their own.
    within(LIMIT, "the transfers have begun", || {
        crate::support::names(Path::new(&work))
            .iter()
            .any(|name| Path::new(&work).join(name).join("row").exists())
    });
    signal(run.child.id(), libc::SIGINT);
    let ended = run.finish(LIMIT);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let read = |name: &str| String::from_utf8(folder.read(&format!("run/{name}"))).unwrap();
    let (table, figures) = (read("table.md"), read("base64.txt"));
    let memcpy = format!(" | memcpy {} GB/s | ", figures.split_whitespace().last().unwrap());
    let mut rows = table.lines().filter(|line| line.starts_with("| base64"));
    assert!(rows.all(|row| row.contains(&memcpy)), "{table}{figures}");
}

#[test]
fn a_run_has_a_folder_of_its_own() {
    let folder = Folder::new();
    // The folder's name is made of this time; all runs are in the same second.
    let lines = "date() { if [[ $* == *H%M%S ]]; then echo 2026-11-21T070809; else command date; fi; }\n\
                 trap 'ended $?' EXIT; make_folder a.csv; begin 'N=1'; touch \"$OUT/a.csv\"; echo \"$OUT\"; ";
    for (last, name, state) in [
        ("true", "2026-11-21T070809-what", "complete"),
        ("exit 3", "2026-11-21T070809-what-2", "failed: exit code 3"),
        ("exit 130", "2026-11-21T070809-what-3", "interrupted"),
    ] {
        let ended = end(&mut shell(&folder, &format!("{lines}{last}")));
        assert_eq!(ended.text(), format!("results/{name}\n"), "{ended:?}");
        let machine = String::from_utf8(folder.read(&format!("results/{name}/machine.txt"))).unwrap();
        assert!(machine.ends_with(&format!("\nstate    {state}\n")), "{machine}");
        assert!(
            machine.contains("\ncommand  bench/test\noptions  N=1\nstarted  "),
            "{machine}"
        );
    }
    std::fs::create_dir(folder.join("empty")).unwrap();
    let kept = end(&mut shell(
        &folder,
        "trap 'ended $?' EXIT; OUT=empty; make_folder a.csv; exit 1",
    ));
    assert_eq!(
        (kept.code, folder.join("empty").exists()),
        (Some(1), true),
        "a folder of the user's own: {kept:?}"
    );
    let unused = end(&mut shell(
        &folder,
        "trap 'ended $?' EXIT; OUT=unused; make_folder a.csv; exit 1",
    ));
    assert_eq!(
        (unused.code, folder.join("unused").exists()),
        (Some(1), false),
        "{unused:?}"
    );
}

#[test]
fn a_column_of_the_modes_is_four_lines() {
    let ended = end(script("modes", &[]).arg("memory"));
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
    let unknown = end(script("modes", &[]).arg("memroy"));
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
    let lines = "OUT=old; make_folder a.csv b.csv; ls old";
    let refused = end(&mut shell(&folder, lines));
    assert_eq!((refused.code, refused.text()), (Some(1), ""), "{refused:?}");
    let words = ["bench/test: OUT=old: a.csv is there already", "FORCE=yes"];
    assert!(
        words.iter().all(|word| refused.stderr.contains(word)),
        "{refused:?}"
    );
    assert_eq!(folder.read("old/a.csv"), b"1\n");
    let forced = end(shell(&folder, lines).env("FORCE", "yes"));
    assert_eq!((forced.code, forced.text()), (Some(0), "other\n"), "{forced:?}");
}

#[test]
fn progress_is_one_line_on_a_terminal_and_a_line_a_step_in_a_pipe() {
    let folder = Folder::new();
    let lines = "STEPS=3; step 'first, with a long text that does not fit'; detail 'round 1 of 5'; \
                 step short; say result; step last";
    let piped = end(&mut shell(&folder, lines));
    let steps = "[1/3] first, with a long text that does not fit ...\n[2/3] short ...\n[3/3] last ...\n";
    assert_eq!((piped.text(), piped.stderr.as_str()), ("result\n", steps));
    for columns in [80, 30, 8] {
        let terminal = Terminal::start(&mut shell(&folder, &format!("{lines}; wipe")), columns);
        let (code, bytes) = terminal.finish(PATIENCE);
        assert!(String::from_utf8_lossy(&bytes).contains(if columns > 50 { "round 1" } else { "[1/3] f" }));
        assert!(!bytes.contains(&0x1b), "no escape sequences");
        let screen = Screen::show(columns.into(), &bytes);
        assert_eq!((code, screen.wrapped), (Some(0), 0), "{bytes:?}");
        assert_eq!(
            screen.lines(),
            ["result", ""],
            "{columns}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn columns_are_aligned_by_characters() {
    let folder = Folder::new();
    let lines = r"printf 'what\tms\n100 MiB × 5\t8.6 µs\n1\t12345678\n' | aligned -12 7";
    let ended = end(&mut shell(&folder, lines));
    assert_eq!(
        ended.ok(),
        "what              ms\n100 MiB × 5   8.6 µs\n1            12345678\n"
    );
}
