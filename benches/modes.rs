//! What do the modes differ in? Four figures of each, one a column: a table, or one of its columns. All
//! limits are two seconds, so that what waits for a limit is plain to see.

use crate::run::{self, Outcome, Run, aligned, markdown, usage};
use crate::system::{PATIENCE, Server, eventually};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

const MODES: [&str; 4] = ["single", "thread", "process", "event"];

type Measure = fn(&Run, &str) -> Outcome<String>;

/// A column: its word, what it says, its title in the table, how it is measured.
const COLUMNS: [(&str, &str, &str, Measure); 4] = [
    (
        "waits",
        "one connection more than there are workers waits",
        "one connection more than workers waits",
        waits,
    ),
    (
        "memory",
        "one more idle worker costs",
        "one more worker costs",
        memory,
    ),
    (
        "crash",
        "kill -9 of a worker costs",
        "kill -9 of a worker costs",
        crash,
    ),
    (
        "slow",
        "beside a stuck client and with one worker, another client waits",
        "beside a stuck client, W = 1, another waits",
        slow,
    ),
];

/// One column, a line a mode.
pub fn one(column: &str) -> Outcome {
    let Some(&(name, _, _, measure)) = COLUMNS.iter().find(|(name, ..)| *name == column) else {
        return usage(format!("no column {column}; try waits, memory, crash or slow"));
    };
    run::run("modes", &[], "", "", |run| {
        run.progress.steps = MODES.len();
        for mode in MODES {
            run.step(&format!("{name}, {mode} mode"))?;
            let figure = measure(run, mode)?;
            run.say(&format!("{mode}: {figure}"));
        }
        Ok(())
    })
}

/// All columns, also as a Markdown table.
pub fn all() -> Outcome {
    let announcement = "four figures of each mode, about 25 s";
    run::run("modes", &["table.md"], "limits of 2 s", announcement, |run| {
        run.progress.steps = COLUMNS.len() * MODES.len();
        let mut rows = MODES.map(|mode| vec![format!("`{mode}`")]);
        for (name, what, _, measure) in COLUMNS {
            run.say(what);
            for (mode, row) in MODES.iter().zip(&mut rows) {
                run.step(&format!("{name}, {mode} mode"))?;
                let figure = measure(run, mode)?;
                run.say(&aligned(&["", mode, &figure], &[1, -8, -60]));
                row.push(figure);
            }
        }
        let titles = [&["mode"], &COLUMNS.map(|(_, _, title, _)| title)[..]].concat();
        let rows = rows.map(|row| markdown(&row)).concat();
        let by = COLUMNS.map(|(name, ..)| format!("`make modes COLUMN={name}`"));
        let by = [&["measured by".to_owned()], &by[..]].concat();
        let text = markdown(&titles) + &markdown(&["---"; 5]) + &rows + &markdown(&by);
        fs::write(run.out.join("table.md"), text)?;
        run.say(&format!("written to {}", run.out.join("table.md").display()));
        Ok(())
    })
}

// ---- A server and its clients ----

fn start(run: &Run, mode: &str, workers: u64) -> Outcome<Server> {
    let workers = if mode == "single" { 1 } else { workers };
    let limits = "--idle-timeout 2 --head-timeout 2 --grace 1";
    Server::kolam(
        run,
        mode,
        &format!("serve --mode {mode} --workers {workers} --root files {limits}"),
    )
}

/// A client that asks for the list, and reads the answer, which ends with an empty line.
fn list(client: &mut TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(b"LIST\n")?;
    let mut reader = BufReader::new(client);
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        if reader.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn connect(server: &Server) -> io::Result<TcpStream> {
    TcpStream::connect(server.address)
}

/// The time since `start`, in words.
fn since(start: Instant) -> String {
    let time = start.elapsed();
    match time.as_millis() {
        0..100 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// How long a list takes on a new connection.
fn timed(server: &Server) -> Outcome<String> {
    let start = Instant::now();
    list(&mut connect(server)?)?;
    Ok(since(start))
}

// ---- The columns ----

/// A connection more than there are workers: how long does it wait?
fn waits(run: &Run, mode: &str) -> Outcome<String> {
    let server = start(run, mode, 2)?;
    let mut idle = Vec::new();
    // They have been served once and stay, as idle clients do; in single mode one is enough.
    for _ in 0..if mode == "single" { 1 } else { 2 } {
        let mut client = connect(&server)?;
        list(&mut client)?;
        idle.push(client);
    }
    timed(&server)
}

/// What one more idle worker costs.
fn memory(run: &Run, mode: &str) -> Outcome<String> {
    if mode == "single" {
        return Ok("– (there is one)".to_owned());
    }
    let used = |workers| start(run, mode, workers).map(|server| server.pss_kib());
    let (few, many) = (used(10)?, used(50)?);
    Ok(format!("{:.0} KiB", (many - few) / 40.0))
}

/// kill -9 of one worker: which of 10 connections are lost, and when is it back?
fn crash(run: &Run, mode: &str) -> Outcome<String> {
    let mut server = start(run, mode, 10)?;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = connect(&server)?;
        // In single mode the first is served, the others wait in the kernel's queue.
        if mode != "single" {
            list(&mut client)?;
        }
        clients.push(client);
    }
    let begin = Instant::now();
    let back = match server.children().first() {
        Some(victim) => {
            run::said(&format!("kill -9 {victim}"));
            eventually(|| server.children().len() == 10 && !server.children().contains(victim));
            format!("replaced in {}", since(begin))
        }
        None => {
            server.process.signal(libc::SIGKILL);
            eventually(|| server.process.has_ended());
            "the server is gone".to_owned()
        }
    };
    let lost = clients.iter_mut().filter_map(|client| list(client).err()).count();
    Ok(format!("{lost} of 10 connections; {back}"))
}

/// One client stops in the middle of its request: how long does another wait?
fn slow(run: &Run, mode: &str) -> Outcome<String> {
    let server = start(run, mode, 1)?;
    let mut stuck = connect(&server)?;
    stuck.write_all(b"LIS")?;
    // The server has read it when nothing of it waits in the socket any more (proc_pid_net(5)).
    let local = format!(":{:04X}", server.address.port());
    let is_unread = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() > 4 && words[1].ends_with(&local) && words[3] == "01" && !words[4].ends_with(":00000000")
    };
    eventually(|| {
        !fs::read_to_string("/proc/net/tcp")
            .unwrap_or_default()
            .lines()
            .any(is_unread)
    });
    timed(&server)
}
