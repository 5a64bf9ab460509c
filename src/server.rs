//! # Chapter 5. How do a listener, a mode and a protocol become a server?
//!
//! Bind, open the folder, start the workers, print one line. From then on every connection goes the same way:
//! it is accepted, gets a session, and `pump` is called until the session is over. The modes differ only in
//! who accepts and who pumps:
//!
//! ```text
//!              who accepts                    who pumps
//!   single     the accept loop                the accept loop
//!   thread     the main thread                the pool's threads, fed by a channel
//!   process    each forked worker             the same forked worker
//!   event      each of a few threads          the same thread, for all its connections in turn
//! ```
//!
//! The invariant: a connection is given a permit when it is accepted and gives it back when it is closed; a
//! request that has begun when the server is asked to stop is finished within the grace (graceful shutdown).
//!
//! What must not live here: what happens on a connection (`server/blocking.rs`), `fork`, threads.
//!
//! before: `pool.rs` … after: `b64.rs`
//!
//! Experiment: start `--mode single` and `--mode thread`, open two connections with `nc`, and type LIST
//! in the second.

mod shared; // what all workers share
mod blocking; // one connection, accept to close
mod browser; // the URL of a server
mod event; // many connections, one thread

use crate::cli::{Args, Command, Failure, MODES, Opt, counted, failed, opt, print};
use crate::http::{Names, is_host, is_host_name, without_port};
use crate::net::{self, LingerSet, Lingering, linger_queue};
use crate::pool::{Supervisor, ThreadPool, WorkerHooks};
use crate::session::{Limits, SEND_BUFFER};
use crate::stats::{self, Field, Permit, RateLimiter, Scoreboard};
use crate::store::{Policy, Store};
use crate::sys::{self, Ended, Interest, Listen, Pid, Stop};
use blocking::{BlockingWorker, ListenerRole};
use event::EventLoop;
use shared::{Accepted, BUSY, Protocol, Shared};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OPTIONS: &[Opt] = &[
    opt("--protocol", "NAME", "file or http (file)"),
    opt(
        "--mode",
        "MODE",
        "single, thread, process or event (thread; http: event)",
    ),
    opt(
        "--workers",
        "N",
        "threads or processes (one a core; thread, process: at least 4)",
    ),
    opt(
        "--listen",
        "HOST:PORT",
        "port 0 picks one (127.0.0.1:6666; http: 127.0.0.1:8080)",
    ),
    opt("--root", "DIR", "folder to serve, made when missing (files)"),
    opt("--max-upload", "SIZE", "largest upload (1G)"),
    opt("--sync", "", "flush an upload to the disk before saying OK"),
    opt("--read-only", "", "refuse UPLOAD, PUT and DELETE"),
    opt(
        "--allow-write",
        "",
        "accept them on an address that is not loopback",
    ),
    opt(
        "--host",
        "NAME",
        "answer HTTP for this name too; may be repeated (on loopback: localhost)",
    ),
    opt("--any-host", "", "on loopback, answer HTTP for every name"),
    opt(
        "--idle-timeout",
        "TIME",
        "close connections on which nothing moves (30)",
    ),
    opt(
        "--head-timeout",
        "TIME",
        "longest time for verb and name to arrive (10)",
    ),
    opt("--max-connections", "N", "more are answered `server busy` (4096)"),
    opt(
        "--grace",
        "TIME",
        "how long a stop waits for requests in hand (10)",
    ),
    opt("--quiet", "", "no log on stderr"),
];

pub static SERVE: Command = Command {
    name: "serve",
    words: &[],
    about: "serve the regular files of one folder",
    options: &[OPTIONS],
    run,
};

/// How long after the grace threads may still run (waiting for a slow disk, for example) before the server
/// ends without them.
const OVERSTAY: Duration = Duration::from_millis(500);

fn run(args: &Args) -> Result<(), Failure> {
    let spoken = args.choice("--protocol", "file", &["file", "http"])?;
    // Browsers keep several connections open for a while, and a pool's worker serves one at a time. And they
    // refuse port 6666.
    let (protocol, usual_mode, usual_address) = match spoken {
        "http" => (Protocol::Http, "event", "127.0.0.1:8080"),
        _ => (Protocol::File, "thread", "127.0.0.1:6666"),
    };
    let mode = args.choice("--mode", usual_mode, &MODES)?;
    let workers = args.number("--workers", usual_workers(mode), 1..=4096)?;
    if mode == "single" && workers != 1 {
        return Err(Failure::Usage(format!(
            "--workers {workers}: --mode single has one worker"
        )));
    }
    let address = args.address("--listen", usual_address)?;
    let root = args.path("--root").unwrap_or(Path::new("files"));
    let remote = !address.ip().is_loopback() && !args.has("--allow-write");
    let (policy, limits) = (policy(args, remote)?, limits(args)?);
    let names = Arc::new(names(args, spoken, address)?);
    let max_connections = args.number("--max-connections", 4096, 1..=1_000_000)?;
    let log = !args.has("--quiet");
    if remote && log && !args.has("--read-only") {
        stats::log("other machines can reach this server: it changes nothing without --allow-write");
    }
    let store = open(root, policy)?;
    let listener = net::listen(address, Some(SEND_BUFFER)).or_else(|error| {
        failed(format!(
            "cannot listen on {address}: {error}; choose another --listen HOST:PORT (make: PORT=)"
        ))
    })?;
    // When this fails, fewer connections are possible, and a line in the log says so when they run out.
    let _ = sys::raise_descriptor_limit();
    let setup = Scoreboard::new(mode, workers as usize)
        .and_then(|scoreboard| Ok((scoreboard, listener.local_addr()?)));
    let (scoreboard, address) = setup.or_else(|error| failed(format!("cannot start: {error}")))?;
    let limiter = RateLimiter::new();
    let store = Arc::new(store);
    let shared = Shared {
        protocol,
        names,
        listener,
        store,
        scoreboard,
        limits,
        max_connections,
        log,
        limiter,
    };
    let crew = counted(workers, "worker");
    let about = format!("{spoken} protocol, {mode} mode, {crew}, root {}", root.display());
    let ready_url = match protocol {
        Protocol::Http => format!(" {}", browser::ready_url(address)),
        Protocol::File => String::new(),
    };
    serve(shared, &format!("listening on {address} ({about}){ready_url}\n"))
}

/// Serves until it is asked to stop; `ready` is printed when all workers are ready.
fn serve(shared: Shared, ready: &str) -> Result<(), Failure> {
    let (shared, started) = (Arc::new(shared), Instant::now());
    let result = match shared.scoreboard.mode {
        "single" => serve_single(shared.clone(), ready),
        "thread" => serve_with_threads(shared.clone(), ready),
        "event" => serve_with_events(shared.clone(), ready),
        _ => serve_with_processes(shared.clone(), ready),
    };
    // Forked workers do not return to here, so this is logged once.
    shared.note(&format!(
        "stopped after {:.1} s: {}",
        started.elapsed().as_secs_f64(),
        shared.scoreboard.summary()
    ));
    result.or_else(|error| failed(format!("the server ended: {error}")))
}

/// Opens the folder. The error offers --read-only when the folder can only be read.
fn open(root: &Path, policy: Policy) -> Result<Store, Failure> {
    let offer = policy.read_only.is_none() && fs::read_dir(root).is_ok();
    Store::open(root, policy).or_else(|error| {
        let what = if root.exists() { "serve" } else { "make" };
        failed(format!(
            "cannot {what} --root {}: {error}; {}",
            root.display(),
            remedy(&error, offer)
        ))
    })
}

/// What to do about a folder that cannot be opened; `offer`: it can be read.
fn remedy(error: &io::Error, offer: bool) -> &'static str {
    match error.kind() {
        // Also when there is room for bytes but for no file more (df -i).
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room there for files (df, df -i), or name a folder on another file system"
        }
        _ if offer => "name a folder that can be written, or serve this one with --read-only",
        _ => "name a folder that can be read and written",
    }
}

/// What may be done to the folder; `remote`: other machines can reach it, and --allow-write was not given.
fn policy(args: &Args, remote: bool) -> Result<Policy, Failure> {
    let read_only = match () {
        () if args.has("--read-only") => Some("this server runs with --read-only"),
        () if remote => Some("this server is not on loopback and runs without --allow-write"),
        () => None,
    };
    Ok(Policy {
        read_only,
        max_upload: args.size("--max-upload", 1 << 30)?,
        sync: args.has("--sync"),
    })
}

/// The host names that HTTP accepts. On loopback a name that was not given is refused: see `Names`.
fn names(args: &Args, spoken: &str, address: SocketAddr) -> Result<Names, Failure> {
    let only_http = ["--host", "--any-host"]
        .into_iter()
        .find(|name| spoken != "http" && args.has(name));
    if let Some(name) = only_http {
        let hint = if name == "--host" {
            "; to listen on an address, use --listen HOST:PORT"
        } else {
            ""
        };
        return Err(Failure::Usage(format!(
            "{name}: this option needs --protocol http{hint}"
        )));
    }
    let mut own = Vec::new();
    for text in args.all("--host") {
        let name = without_port(text);
        let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
        let fault = match () {
            () if args.has("--any-host") => "--any-host allows every name already; use one of the two",
            () if is_address => "that is an address; to listen there, use --listen HOST:PORT",
            () if !is_host(text) || !is_host_name(name) => {
                "expected the name of a host, such as files.example.org"
            }
            () => {
                own.push(name.to_owned());
                continue;
            }
        };
        return Err(Failure::Usage(format!("--host {text}: {fault}")));
    }
    let all = args.has("--any-host") || own.is_empty() && !address.ip().is_loopback();
    Ok(if all { Names::All } else { Names::Own(own) })
}

fn limits(args: &Args) -> Result<Limits, Failure> {
    Ok(Limits {
        idle: args.seconds("--idle-timeout", 30.0)?,
        head: args.seconds("--head-timeout", 10.0)?,
        grace: args.seconds("--grace", 10.0)?,
    })
}

/// One a core; where a worker has one connection at a time, at least as many as a small class has clients.
fn usual_workers(mode: &str) -> u64 {
    let cores = thread::available_parallelism().map_or(4, usize::from) as u64;
    match mode {
        "single" => 1,
        "event" => cores,
        _ => cores.max(4),
    }
}

// ---- the modes ----

/// The accept loop serves each connection itself.
fn serve_single(shared: Arc<Shared>, ready: &str) -> io::Result<()> {
    let stop = Stop::listen(Listen::Stop)?;
    let mut worker = BlockingWorker::new(shared, 0, stop, ListenerRole::SoleAcceptor);
    announce(ready);
    worker.accept_and_serve()
}

/// The main thread accepts; the pool's threads serve.
fn serve_with_threads(shared: Arc<Shared>, ready: &str) -> io::Result<()> {
    let stop = Stop::listen(Listen::Stop)?;
    let for_workers = shared.clone();
    let (sender, served) = linger_queue()?;
    let sender = Arc::new(sender);
    let pool = ThreadPool::start(shared.scoreboard.workers, move |index| {
        let mut worker = BlockingWorker::new(for_workers.clone(), index, stop, ListenerRole::NoAcceptor);
        let sender = sender.clone();
        move |(connection, _permit): (TcpStream, Permit)| {
            worker
                .serve(connection)
                .into_iter()
                .for_each(|lingering| sender.send(lingering));
        }
    })?;
    announce(ready);
    let mut lingering = LingerSet::default();
    while !stop.requested() {
        match shared.accept() {
            Accepted::Connection(connection) => {
                match shared.scoreboard.server().try_acquire(shared.max_connections) {
                    Some(permit) => pool.submit((connection, permit)),
                    None => shared.reject(connection, &mut lingering, BUSY),
                }
            }
            Accepted::WouldBlock => {
                lingering.wait(&[shared.listener.as_fd(), stop.as_fd(), served.as_fd()], None)?;
                lingering.drain();
            }
            Accepted::NoDescriptors => shared.wait_for_room(stop)?,
            Accepted::Closed => break,
        }
        lingering.extend(served.receive());
    }
    stop_and_finish(&shared, pool, lingering, || served.receive().collect())
}

/// The graceful shutdown of a server with threads: no new connections; requests that have begun may finish.
fn stop_and_finish<J: Send + 'static>(
    shared: &Shared,
    pool: ThreadPool<J>,
    mut lingering: LingerSet,
    served: impl FnOnce() -> Vec<Lingering>,
) -> io::Result<()> {
    shared.stop_listening(&mut lingering);
    let end = Instant::now() + shared.limits.grace + OVERSTAY;
    pool.finish(Some(end));
    lingering.extend(served());
    lingering.finish(end.min(Instant::now() + shared.linger_limit()))
}

/// Each thread accepts and serves many connections at once; the main thread only stops the listening.
fn serve_with_events(shared: Arc<Shared>, ready: &str) -> io::Result<()> {
    let stop = Stop::listen(Listen::Stop)?;
    let (workers, for_workers) = (shared.scoreboard.workers, shared.clone());
    let loops = (0..workers).map(|index| EventLoop::new(shared.clone(), index, stop));
    let loops = loops.collect::<io::Result<Vec<EventLoop>>>()?;
    let failed_loop = Arc::new(AtomicBool::new(false));
    let failed_flag = failed_loop.clone();
    // Each thread has one job: to run its loop.
    let pool = ThreadPool::start(workers, move |_| {
        let (for_workers, failed_flag) = (for_workers.clone(), failed_flag.clone());
        move |mut event_loop: EventLoop| {
            let ended = catch_unwind(AssertUnwindSafe(|| event_loop.run()));
            if !stop.requested() {
                // All connections of this loop are lost: better no server than half of one.
                let error = ended.ok().and_then(Result::err);
                let why = error.map_or("it panicked".to_owned(), |error| error.to_string());
                for_workers.note(&format!("a worker cannot go on: {why}"));
                failed_flag.store(true, Ordering::Relaxed);
                let _ = sys::kill(process::id() as Pid, sys::SIGTERM);
            }
        }
    })?;
    loops.into_iter().for_each(|event_loop| pool.submit(event_loop));
    announce(ready);
    while !stop.requested() {
        sys::poll(&[(stop.as_fd(), Interest::Read)], None)?;
    }
    stop_and_finish(&shared, pool, LingerSet::default(), Vec::new)?;
    if failed_loop.load(Ordering::Relaxed) {
        Err(io::Error::other("a worker could not go on"))
    } else {
        Ok(())
    }
}

/// Forked workers accept and serve; this process only replaces those that die, and stops the listening.
fn serve_with_processes(shared: Arc<Shared>, ready: &str) -> io::Result<()> {
    let stop = Stop::listen(Listen::StopAndChildren)?;
    let workers = shared.scoreboard.workers;
    let mut supervisor = Supervisor::start(&shared, workers)?;
    let mut announced = false;
    let stopped = supervisor.watch(stop, || {
        if !announced && shared.scoreboard.alive() == workers {
            announced = true;
            announce(ready);
        }
    })?;
    let mut lingering = LingerSet::default();
    shared.stop_listening(&mut lingering);
    let now = Instant::now();
    supervisor.shut_down(
        stop,
        if stopped {
            shared.limits.grace
        } else {
            Duration::ZERO
        },
    )?;
    lingering.finish(now + shared.linger_limit())?;
    if stopped {
        Ok(())
    } else {
        Err(io::Error::other("its workers keep dying young"))
    }
}

/// Prints the one line on stdout. The server goes on if stdout is closed.
fn announce(ready: &str) {
    let _ = print(ready);
}

impl WorkerHooks for Arc<Shared> {
    fn work(&self, index: usize) -> i32 {
        let result = Stop::listen(Listen::Worker).and_then(|stop| {
            let mut worker = BlockingWorker::new(self.clone(), index, stop, ListenerRole::OneOfMany);
            // Wakes the supervisor, which then finds this worker ready. If it has died there is nothing to
            // wake.
            let _ = sys::kill(parent_id() as Pid, sys::SIGCHLD);
            worker.accept_and_serve()
        });
        match result {
            Ok(()) => 0,
            Err(error) => {
                self.note(&format!("worker {index} cannot go on: {error}"));
                1
            }
        }
    }

    fn on_spawn(&self, index: usize, pid: Pid, again: bool) {
        if again {
            self.scoreboard.worker(index).add(Field::Restarts, 1);
            self.note(&format!("worker {index} is now process {pid}"));
        }
    }

    fn on_exit(&self, index: usize, ended: Ended) {
        self.scoreboard.worker(index).record_exit();
        match (ended.signal, ended.code) {
            (Some(signal), _) => {
                self.note(&format!(
                    "worker {index} (process {}) was killed by signal {signal}",
                    ended.pid
                ));
            }
            // The worker has logged the reason itself.
            (None, Some(1)) => {}
            (None, code) => {
                let code = code.unwrap_or_default();
                self.note(&format!(
                    "worker {index} (process {}) ended with code {code}",
                    ended.pid
                ));
            }
        }
    }

    fn on_cleanup(&self, pid: Pid) {
        if let Err(error) = self.store.sweep(Some(pid as u32)) {
            self.note(&format!("cannot remove what process {pid} left: {error}"));
        }
    }

    fn on_spawn_error(&self, index: usize, error: &io::Error) {
        self.note(&format!("cannot fork worker {index}: {error}"));
    }

    fn any_ready(&self) -> bool {
        self.scoreboard.alive() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_answered_with_read_only() {
        let remedy = |code, offer| remedy(&io::Error::from_raw_os_error(code), offer);
        for full in [libc::ENOSPC, libc::EDQUOT] {
            assert!(remedy(full, true).starts_with("make room there"));
            assert_eq!(remedy(full, true), remedy(full, false));
        }
        assert!(remedy(libc::EACCES, true).contains("--read-only"));
        assert!(!remedy(libc::EACCES, false).contains("--read-only"));
    }
}
