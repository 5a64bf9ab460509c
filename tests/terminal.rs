//! What the program shows on a terminal: the live line stays in its own row however narrow the window is,
//! leaves nothing when it goes, uses no escape sequence where none is wanted, and is not in a pipe.

// The helpers of a test may fail like the test itself.
#![allow(clippy::unwrap_used)]

mod common;

use common::pty::{Screen, Terminal};
use common::{Background, END, Folder, PATIENCE, eventually, kolam};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The program with an environment that says nothing about terminals but `settings`.
fn on_a_terminal(words: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = kolam(words);
    command.env_remove("COLUMNS").env_remove("NO_COLOR").env("TERM", "xterm");
    command.envs(settings.iter().copied());
    command
}

/// Serves one download that goes on slowly until it is told to end.
struct SlowServer {
    address: SocketAddr,
    enough: Arc<AtomicBool>,
    _sending: Background,
}

impl SlowServer {
    fn start() -> SlowServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let enough = Arc::new(AtomicBool::new(false));
        let (told, mut stream) = (enough.clone(), None);
        let sending = Background::repeat(move || {
            let Some(stream) = &mut stream else {
                let (mut accepted, _) = listener.accept().unwrap();
                assert!(accepted.read(&mut [0; 1024]).unwrap() > 0);
                accepted.write_all(br#"{"status":"OK","data_file":""#).unwrap();
                stream = Some(accepted);
                return true;
            };
            thread::sleep(Duration::from_millis(20));
            let over = told.load(Ordering::Relaxed);
            let sent = stream.write_all(if over { b"\"}" } else { b"AAAA" });
            let _ = sent.and_then(|()| if over { stream.write_all(END) } else { Ok(()) });
            !over
        });
        SlowServer { address, enough, _sending: sending }
    }
}

/// Downloads into a file with a long name on a terminal, and looks at the live line before the end.
fn slow_download(columns: u16, settings: &[(&str, &str)], look: impl FnOnce(&Terminal)) -> Vec<u8> {
    let (server, folder) = (SlowServer::start(), Folder::new());
    let address = server.address.to_string();
    let target = folder.join(&"n".repeat(200)).display().to_string();
    let words = ["download", "name", "-o", &target, "--server", &address];
    let terminal = Terminal::start(&mut on_a_terminal(&words, settings), columns);
    terminal.wait_for(0, "MiB/s");
    look(&terminal);
    server.enough.store(true, Ordering::Relaxed);
    let (code, bytes) = terminal.finish(PATIENCE);
    assert_eq!(code, Some(0), "{:?}", String::from_utf8_lossy(&bytes));
    bytes
}

/// The drawings of a live line and, last, what was printed after them.
fn drawings(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n");
    text.split('\r').map(|piece| piece.trim_end_matches("\x1b[J").to_owned()).collect()
}

#[test]
fn a_long_name_gives_way_to_the_figures_at_every_width() {
    for columns in [80, 40] {
        let bytes = slow_download(columns, &[], |_| {});
        let pieces = drawings(&bytes);
        let (last, live) = pieces.split_last().unwrap();
        assert!(last.ends_with(" bytes\n") && last.contains("downloaded"), "{last:?}");
        assert!(live.iter().any(|line| line.ends_with("…: 0.0 MiB, 0.0 MiB/s")), "{live:?}");
        for line in live {
            assert!(line.chars().count() < usize::from(columns), "{columns} columns: {line:?}");
        }
        // What is printed when the line has gone begins in the place where it stood.
        let screen = Screen::show(500, &bytes);
        assert_eq!(screen.lines().len(), 2, "{:?}", screen.lines());
        assert!(!screen.lines()[0].contains("MiB"), "{:?}", screen.lines());
    }
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
            drawings(&since).iter().filter(|line| line.ends_with("MiB/s")).count() > 2
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
        assert_eq!(live.iter().map(|line| line.chars().count()).max(), Some(widest), "{told}: {live:?}");
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
        assert!(!bytes.contains(&0x1b), "{settings:?}: {:?}", String::from_utf8_lossy(&bytes));
        let screen = Screen::show(500, &bytes);
        assert!(!screen.lines()[0].contains("MiB"), "{settings:?}: {:?}", screen.lines());
    }
    let bytes = slow_download(60, &[("NO_COLOR", "")], |_| {});
    assert!(bytes.contains(&0x1b), "an empty NO_COLOR asks for nothing");
}
