//! What the program shows on a terminal: the live line stays in its own row however narrow the window is,
//! leaves nothing when it goes, uses no escape sequence where none is wanted, and is not in a pipe. What
//! stays fits 80 columns.

use crate::support::pty::{Screen, Terminal};
use crate::support::*;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The program with an environment that says nothing about terminals but `settings`.
fn on_a_terminal(words: impl Words, settings: &[(&str, &str)]) -> Command {
    let mut command = kolam(words);
    command
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR")
        .env("TERM", "xterm");
    command.envs(settings.iter().copied());
    command
}

/// Downloads slowly into a file with a long name on a terminal, and looks at the live line before the end.
fn slow_download(columns: u16, settings: &[(&str, &str)], look: impl FnOnce(&Terminal)) -> Vec<u8> {
    let folder = Folder::new();
    let server = Fake::start(|guest| {
        guest.read_to(END);
        guest.send(r#"{"status":"OK","data_file":""#);
        while !guest.told() {
            thread::sleep(Duration::from_millis(20));
            guest.send("AAAA");
        }
        guest.send("\"}\r\n\r\n");
    });
    let target = folder.word(&"n".repeat(200));
    let words = format!("download name -o {target} --server {}", server.address);
    let terminal = Terminal::start(&mut on_a_terminal(words, settings), columns);
    terminal.wait_for(0, "MiB/s");
    look(&terminal);
    server.tell();
    let (code, bytes) = terminal.finish(PATIENCE);
    assert_eq!(code, Some(0), "{:?}", String::from_utf8_lossy(&bytes));
    bytes
}

/// The drawings of a live line and, last, what was printed after them.
fn drawings(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    text.split('\r')
        .map(|piece| piece.trim_end_matches("\x1b[J").to_owned())
        .collect()
}

#[test]
fn a_long_name_gives_way_to_the_figures_at_every_width() {
    for columns in [80, 40] {
        let bytes = slow_download(columns, &[], |_| {});
        let pieces = drawings(&bytes);
        let (last, live) = pieces.split_last().unwrap();
        assert!(
            last.ends_with(" bytes\n") && last.contains("downloaded"),
            "{last:?}"
        );
        assert!(
            live.iter().any(|line| line.ends_with("…: 0.0 MiB, 0.0 MiB/s")),
            "{live:?}"
        );
        for line in live {
            assert!(
                line.chars().count() < usize::from(columns),
                "{columns} columns: {line:?}"
            );
        }
        // What is printed when the line has gone begins in the place where it stood.
        let screen = Screen::show(500, &bytes);
        assert_eq!(screen.lines().len(), 2, "{:?}", screen.lines());
        assert!(!screen.lines()[0].contains("MiB"), "{:?}", screen.lines());
    }
}

#[test]
fn what_a_row_needs_is_seen_to_be_brought_to_its_target() {
    let (folder, files) = (Folder::new(), Folder::new());
    let server = Server::start("thread", 1, &files, "");
    let address = server.address;
    let words = format!("stress --target {address} --volumes 9 --clients 1 --ops download --out");
    let words = format!("{words} {}", folder.word(""));
    let terminal = Terminal::start(&mut on_a_terminal(words, &[]), 100);
    terminal.wait_for(0, &format!("asking     {address} for "));
    // The first drawing; a moment later it is more.
    terminal.wait_for(
        0,
        "1/1 thread download 1 × 9 MiB, 1 worker | set-up: 0 B of 9.00 MiB",
    );
}

#[test]
fn the_width_is_read_again_before_each_drawing() {
    let mut resized = 0;
    let bytes = slow_download(120, &[], |terminal| {
        assert!(drawings(&terminal.bytes()).iter().any(|line| line.len() > 100));
        terminal.resize(30);
        resized = terminal.bytes().len();
        // The drawing that goes on at this moment may still have the old width.
        eventually("a drawing of the new width", || {
            let since = terminal.bytes().split_off(resized);
            drawings(&since)
                .iter()
                .filter(|line| line.ends_with("MiB/s"))
                .count()
                > 2
        });
    });
    let since = drawings(&bytes[resized..]);
    let (_, live) = since.split_last().unwrap();
    let wide = live.iter().filter(|line| line.chars().count() >= 30).count();
    assert!(wide <= 1 && live.len() > 3, "{live:?}");
}

#[test]
fn columns_of_the_environment_come_first_if_they_make_sense() {
    let look = |told: &str, widest: usize| {
        let bytes = slow_download(80, &[("COLUMNS", told)], |_| {});
        let pieces = drawings(&bytes);
        let live = pieces.split_last().unwrap().1;
        assert_eq!(
            live.iter().map(|line| line.chars().count()).max(),
            Some(widest),
            "{told}: {live:?}"
        );
    };
    // Each waits more than it works.
    thread::scope(|scope| {
        for (told, widest) in [("50", 49), ("0", 79), ("-3", 79), ("many", 79), ("99999", 79)] {
            scope.spawn(move || look(told, widest));
        }
    });
}

#[test]
fn a_terminal_that_wants_no_escapes_gets_none() {
    let tables: [&[(&str, &str)]; 3] = [&[("NO_COLOR", "1")], &[("TERM", "dumb")], &[("TERM", "")]];
    for settings in tables {
        let bytes = slow_download(60, settings, |_| {});
        assert!(
            !bytes.contains(&0x1b),
            "{settings:?}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
        let screen = Screen::show(500, &bytes);
        assert!(
            !screen.lines()[0].contains("MiB"),
            "{settings:?}: {:?}",
            screen.lines()
        );
    }
    let bytes = slow_download(60, &[("NO_COLOR", "")], |_| {});
    assert!(bytes.contains(&0x1b), "an empty NO_COLOR asks for nothing");
}

/// Two rows of about 100 MiB: long enough for the live line to be drawn.
const ROWS: &str = "stress --repeat 1 --modes process --ops download --volumes 20 --clients 5 --servers 1,5";

/// A stress test in a folder of its own, on a terminal.
fn stress(columns: u16, settings: &[(&str, &str)]) -> Vec<u8> {
    let here = Folder::new();
    let mut command = on_a_terminal(ROWS, settings);
    let (code, bytes) = Terminal::start(command.current_dir(here.path()), columns).finish(PATIENCE * 3);
    assert_eq!(code, Some(0), "{:?}", String::from_utf8_lossy(&bytes));
    bytes
}

/// What stays the same in each run: rows and headings without what was measured.
fn unmeasured(lines: impl Iterator<Item = String>) -> Vec<String> {
    let fixed = |line: String| match line.split_once(" ok ") {
        Some((row, _)) => row.to_owned(),
        None if line.contains("download ") => line[..38].to_owned(),
        None => line,
    };
    let is_measured = |line: &String| {
        ["best", "worst", "time", "results"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    lines.filter(|line| !is_measured(line)).map(fixed).collect()
}

#[test]
fn everything_that_a_stress_test_says_fits_80_columns() {
    for settings in [&[][..], &[("NO_COLOR", "1")]] {
        let bytes = stress(80, settings);
        let screen = Screen::show(80, &bytes);
        let lines = screen.lines();
        assert_eq!(screen.wrapped, 0, "{lines:?}");
        assert_eq!(bytes.contains(&0x1b), settings.is_empty(), "{lines:?}");
        assert!(
            lines[0].starts_with("rows       2: mode process; download"),
            "{lines:?}"
        );
        assert!(lines[6].starts_with("time       "), "{lines:?}");
        assert!(
            lines[7].starts_with("1/2 process download  5 ×  20 MiB,   1 worker   5/5 ok "),
            "{lines:?}"
        );
        assert!(
            lines[8].starts_with("2/2 process download  5 ×  20 MiB,  5 workers   5/5 ok "),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| !line.contains('|')), "{lines:?}");
        let live = drawings(&bytes);
        let row = "1/2 process download 5 × 20 MiB, 1 worker | ";
        assert!(
            live.iter()
                .any(|line| line.starts_with(row) && line.ends_with(" left")),
            "{live:?}"
        );
    }
}

#[test]
fn the_live_line_of_a_stress_test_fits_40_columns() {
    let bytes = stress(40, &[]);
    let live: Vec<String> = drawings(&bytes)
        .into_iter()
        .filter(|line| line.ends_with(" left"))
        .collect();
    assert!(!live.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
    for line in live {
        assert!(
            line.starts_with("1/2 process") || line.starts_with("2/2 process"),
            "{line:?}"
        );
        assert!(line.contains("…") && line.chars().count() < 40, "{line:?}");
    }
}

#[test]
fn finished_rows_and_tables_are_the_same_on_a_terminal_and_in_a_pipe() {
    let here = Folder::new();
    let mut command = on_a_terminal(ROWS, &[]);
    let piped = Run::start(command.current_dir(here.path())).finish(PATIENCE * 3);
    assert!(!piped.ok().contains(['\r', '\x1b']), "{piped:?}");
    let mut shown = Screen::show(80, &stress(80, &[])).lines();
    assert_eq!(
        shown.pop().as_deref(),
        Some(""),
        "the cursor waits below the last line"
    );
    let [shown, piped] = [
        unmeasured(shown.into_iter()),
        unmeasured(piped.text().lines().map(str::to_owned)),
    ];
    assert_eq!(shown, piped);
    let row = "2/2 process download  5 ×  20 MiB,  5 workers   5/5";
    assert!(shown.iter().any(|line| line == row), "{shown:?}");
    assert!(
        shown
            .iter()
            .any(|line| line == "    2 download      20       5       5"),
        "{shown:?}"
    );
}
