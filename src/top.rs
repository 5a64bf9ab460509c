//! # Chapter 21. What is the pool doing at this moment?
//!
//! Ask it, several times a second, and draw what it says: one line a worker, with the request that it serves,
//! for whom, and how far it is. A server of ours tells this in STATS, or as `/_pool` when it speaks HTTP; it
//! has written all of it down already, so an answer costs it little: for each process of the pool, a look
//! into /proc. Behind a balancer a different server answers each time. Each says when it began, so that each
//! gets a picture of its own.
//!
//! ```text
//!   server ──STATS──► thread ──┐
//!   server ──STATS──► thread ──┼─ channel ─► pools ─► picture ─► screen
//!   balancer ───────► thread ──┘               └ the counts of the last second: rates
//! ```
//!
//! The invariant: each figure was counted by the server that it is shown for; a rate is the difference of two
//! counts by the server's own clock. Between two pictures no connection is held, and so no worker either.
//!
//! What must not live here: what a worker writes down about itself (`stats/slot.rs`).
//!
//! before: `dialects.rs` … after: `access.rs`
//!
//! Experiment:
//! edit: two servers behind one address are taken for one
//! run: cargo test --locked --bin kolam top::
//! see: each_server_behind_one_address_has_a_picture_of_its_own ... FAILED

mod picture; // lines of text
mod wire; // asking

use crate::access::{TOKEN_FILE, carry};
use crate::cli::{
    Args, Command, Failure, columns, escapes_allowed, failed, is_dumb, look_up, opt, print, rows,
};
use crate::json::Value;
use crate::sys::{Listen, Stop};
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use wire::{REMEMBERED, Wire};

/// What is watched when no server is named.
const USUAL: &str = "127.0.0.1:6666";

pub static TOP: Command = Command {
    name: "top",
    words: &[],
    about: "show what each worker of a running server does\n\n\
            A line a worker: idle or busy, with which request, for whom, and how far. Ctrl-C ends it. Into a \
            file or a pipe it prints one picture. The worker with idle* has answered top itself.\n\
            top asks as any client does, so it waits while all workers of a pool are held; kolam serve \
            --watch gives it an address of its own.",
    options: &[&[
        opt(
            "--server",
            "HOST:PORT",
            "a server, or a balancer in front of several; may be repeated (127.0.0.1:6666)",
        )
        .or_variable("KOLAM_SERVER"),
        opt("--interval", "TIME", "pause between two pictures (200ms)"),
        opt("--timeout", "TIME", "longest wait for an answer (5)"),
        opt("--once", "", "print one picture and end"),
        TOKEN_FILE,
    ]],
    run,
};

/// Intervals until the only picture of --once is complete: there are rates then, and a round of the servers
/// behind a balancer.
const ONCE: u32 = 3;

/// Rates are those of about the last second: shorter, they jump; longer, they are late.
const RATED: f64 = 1.0;

/// A server that another answers for and that has been silent for this long is gone.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// What is known of one server.
pub struct Pool {
    /// Whom we ask.
    address: SocketAddr,
    /// What it said last, and when.
    told: Value,
    at: Instant,
    /// Uptime, requests, bytes in, bytes out: of the last second, oldest first.
    history: VecDeque<[f64; 4]>,
}

/// A number that the server tells; 0 when it does not.
fn number(told: &Value, key: &str) -> f64 {
    match told.get(key) {
        Some(Value::Number(number)) => *number,
        _ => 0.0,
    }
}

/// A text that the server tells, as it is; empty when it does not.
fn text<'t>(told: &'t Value, key: &str) -> &'t str {
    told.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Pool {
    fn new(address: SocketAddr, told: Value) -> Pool {
        let mut pool = Pool {
            address,
            told: Value::Null,
            at: Instant::now(),
            history: VecDeque::new(),
        };
        pool.update(told);
        pool
    }

    /// Is `told` by the same server? Not by another behind the same address, or one that took its place.
    fn is_told_by(&self, address: SocketAddr, told: &Value) -> bool {
        let same = |key| self.told.get(key) == told.get(key);
        self.address == address && same("pid") && same("started")
    }

    fn update(&mut self, told: Value) {
        let counts = ["uptime", "requests", "bytes_in", "bytes_out"].map(|key| number(&told, key));
        self.history.push_back(counts);
        while self.history.len() > 2 && counts[0] - self.history[1][0] >= RATED {
            self.history.pop_front();
        }
        (self.told, self.at) = (told, Instant::now());
    }

    /// Requests, bytes in, bytes out: a second. `None`: it has answered only once.
    fn rates(&self) -> Option<[f64; 3]> {
        let (first, last) = (self.history.front()?, self.history.back()?);
        let seconds = Some(last[0] - first[0]).filter(|seconds| *seconds > 0.0)?;
        Some([1, 2, 3].map(|at| (last[at] - first[at]).max(0.0) / seconds))
    }
}

/// What is known of all servers.
#[derive(Default)]
struct Watched {
    pools: Vec<Pool>,
    /// The addresses whose last answer was an error, and which.
    troubles: Vec<(SocketAddr, String)>,
}

impl Watched {
    /// An answer has come. An error before the first one ends the program: it is probably a mistake.
    fn note(&mut self, address: SocketAddr, answer: Result<Value, String>) -> Result<(), Failure> {
        self.troubles.retain(|trouble| trouble.0 != address);
        match answer {
            Ok(told) => self.told(address, told),
            Err(why) if !self.pools.iter().any(|pool| pool.address == address) => return failed(why),
            Err(why) => self.troubles.push((address, why)),
        }
        Ok(())
    }

    fn told(&mut self, address: SocketAddr, told: Value) {
        let known = self.pools.iter_mut().find(|pool| pool.is_told_by(address, &told));
        match known {
            Some(pool) => pool.update(told),
            None => {
                let after = self.pools.iter().rposition(|pool| pool.address == address);
                let place = after.map_or(self.pools.len(), |after| after + 1);
                self.pools.insert(place, Pool::new(address, told));
            }
        }
        self.pools
            .retain(|pool| pool.address != address || pool.at.elapsed() < FORGOTTEN);
        // So many never answer in turn: it is one that makes up others, and memory must have a bound.
        let of_address = self
            .pools
            .iter()
            .enumerate()
            .filter(|(_, pool)| pool.address == address);
        let oldest = of_address
            .clone()
            .min_by_key(|(_, pool)| pool.at)
            .map(|(index, _)| index);
        if let Some(oldest) = oldest.filter(|_| of_address.count() > REMEMBERED) {
            self.pools.remove(oldest);
        }
    }
}

/// The address of a server, and does the user say that it speaks HTTP? `http://HOST:PORT/` says so, as for
/// `list`.
fn server(args: &Args, text: &str) -> Result<(SocketAddr, bool), Failure> {
    let url = text.strip_prefix("http://");
    let host = url.map_or(text, |url| url.split('/').next().unwrap_or_default());
    Ok((look_up(&args.said("--server", text), host, USUAL)?, url.is_some()))
}

fn run(args: &Args) -> Result<(), Failure> {
    let stop = Stop::listen(Listen::Stop);
    let stop = stop.or_else(|error| failed(format!("cannot listen for signals: {error}")))?;
    let mut given: Vec<&str> = args.all("--server").collect();
    if given.is_empty() {
        given.push(args.text("--server").unwrap_or(USUAL));
    }
    let servers = given.into_iter().map(|text| server(args, text));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<SocketAddr> = servers.iter().map(|&(address, _)| address).collect();
    carry(args)?;
    let interval = args.seconds("--interval", 0.2)?;
    let timeout = args.seconds("--timeout", 5.0)?;
    let (tell, answers) = mpsc::channel();
    for (address, speaks_http) in servers {
        let (tell, mut wire) = (tell.clone(), Wire::new(address, speaks_http, timeout, stop));
        // It ends with the program: it may wait for an answer for long, and nothing of it must be saved.
        let body = move || {
            while tell.send((address, wire.ask())).is_ok() {
                thread::sleep(interval / wire.servers());
            }
        };
        let started = thread::Builder::new().spawn(body);
        started.or_else(|error| failed(format!("cannot start a thread: {error}")))?;
    }
    drop(tell);
    let plain = args.has("--once") || !io::stdout().is_terminal() || is_dumb();
    match plain {
        true => once(&answers, &addresses, interval * ONCE, stop),
        false => watch(&answers, interval, stop),
    }
}

type Answers = Receiver<(SocketAddr, Result<Value, String>)>;

/// Takes in what comes until `end`.
fn take_in(answers: &Answers, watched: &mut Watched, end: Instant, stop: Stop) -> Result<(), Failure> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let answer = answers.recv_timeout(left);
        if stop.requested() {
            return Err(Failure::Interrupted);
        }
        match answer {
            Ok((address, answer)) => watched.note(address, answer)?,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return failed("this is a bug: nothing asks any more"),
        }
    }
}

/// One picture, when all have answered and there are rates.
fn once(answers: &Answers, asked: &[SocketAddr], pause: Duration, stop: Stop) -> Result<(), Failure> {
    let mut watched = Watched::default();
    let answered = |watched: &Watched, address| watched.pools.iter().any(|pool| pool.address == address);
    while !asked.iter().all(|&address| answered(&watched, address)) {
        take_in(answers, &mut watched, Instant::now() + pause, stop)?;
    }
    take_in(answers, &mut watched, Instant::now() + pause, stop)?;
    let lines = picture::lines(&watched, columns(&io::stdout()), false);
    print(&(lines.join("\n") + "\n"))
}

/// Pictures in place of each other, until Ctrl-C.
fn watch(answers: &Answers, interval: Duration, stop: Stop) -> Result<(), Failure> {
    let mut watched = Watched::default();
    while watched.pools.is_empty() {
        take_in(answers, &mut watched, Instant::now() + interval, stop)?;
    }
    let mut screen = Screen::open()?;
    loop {
        screen.draw(&watched)?;
        take_in(answers, &mut watched, Instant::now() + interval, stop)?;
    }
}

/// The second screen of the terminal (xterm's control sequences, 1049): what stood on the first is there
/// again when this is dropped, with the last picture below it.
struct Screen {
    colour: bool,
    last: String,
}

impl Screen {
    fn open() -> Result<Screen, Failure> {
        print("\x1b[?1049h\x1b[?25l")?;
        Ok(Screen {
            colour: escapes_allowed(),
            last: String::new(),
        })
    }

    /// In one write, over the old picture: it does not flicker then.
    fn draw(&mut self, watched: &Watched) -> Result<(), Failure> {
        let out = io::stdout();
        let mut lines = picture::lines(watched, columns(&out), self.colour);
        // The last row stays free, so that nothing scrolls.
        let room = rows(&out).saturating_sub(1).max(1);
        if lines.len() > room {
            let more = lines.len() + 1 - room;
            lines.truncate(room - 1);
            lines.push(format!("… {more} more lines"));
        }
        let text: String = lines.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
        self.last = lines.join("\n") + "\n";
        print(&format!("\x1b[H{text}\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It fails only when there is no terminal any more.
        let _ = print(&format!("\x1b[?25h\x1b[?1049l{}", self.last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Reader;

    pub fn value(text: &str) -> Value {
        Reader::new(text.as_bytes(), 4096).value(&mut 1_000_000).unwrap()
    }

    fn told(pid: u64, uptime: f64, requests: u64) -> Value {
        value(&format!(
            r#"{{"pid":{pid},"started":"s","uptime":{uptime},"requests":{requests}}}"#
        ))
    }

    #[test]
    fn each_server_behind_one_address_has_a_picture_of_its_own() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut watched = Watched::default();
        for (port, pid) in [(1, 7), (2, 9), (1, 8), (1, 7), (2, 9), (1, 8)] {
            watched.note(address(port), Ok(told(pid, 1.0, 1))).unwrap();
        }
        let found = |pool: &Pool| (pool.address.port(), number(&pool.told, "pid") as u64);
        let seen: Vec<_> = watched.pools.iter().map(found).collect();
        assert_eq!(seen, [(1, 7), (1, 8), (2, 9)]);
        // One that does not answer any more stays as long as no other answers in its place.
        watched.pools[2].at = Instant::now().checked_sub(FORGOTTEN).unwrap();
        watched.note(address(2), Err("it is gone".to_owned())).unwrap();
        assert_eq!((watched.pools.len(), watched.troubles.len()), (3, 1));
        watched.note(address(2), Ok(told(10, 1.0, 1))).unwrap();
        assert_eq!((watched.pools.len(), watched.troubles.len()), (3, 0));
        assert!(watched.note(address(3), Err("a mistake".to_owned())).is_err());
        (100..200).for_each(|pid| watched.told(address(2), told(pid, 1.0, 1)));
        assert_eq!(watched.pools.len(), 2 + REMEMBERED, "and those of port 1");
        assert_eq!(number(&watched.pools.last().unwrap().told, "pid"), 199.0);
    }

    #[test]
    fn rates_are_those_of_the_last_second_by_the_clock_of_the_server() {
        let mut pool = Pool::new(SocketAddr::from(([127, 0, 0, 1], 1)), told(1, 10.0, 100));
        assert_eq!(pool.rates(), None);
        pool.update(told(1, 10.5, 200));
        assert_eq!(pool.rates(), Some([200.0, 0.0, 0.0]));
        pool.update(told(1, 11.5, 1200));
        assert_eq!(pool.rates(), Some([1000.0, 0.0, 0.0]));
        pool.update(told(1, 11.5, 1200));
        pool.update(told(1, 12.5, 1200));
        assert_eq!(pool.rates(), Some([0.0, 0.0, 0.0]));
    }
}
