//! How does a user start a server? Options, the folder, the address; each mistake, and each thing that is
//! missing, is told with its remedy, before the first connection.

use crate::cli::{Args, Command, Failure, Opt, counted, failed, opt, usage};
use crate::net::Listener;
use crate::server::shared::Shared;
use crate::server::{MODES, PROTOCOLS, access, browser, dialect, run, watch};
use crate::session::{Limits, SEND_BUFFER};
use crate::stats::{self, RateLimiter, Scoreboard};
use crate::store::{Policy, Store};
use crate::sys;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

#[rustfmt::skip]
const OPTIONS: &[Opt] = &[
    opt("--protocol", "NAME", "file or http (file)"),
    opt("--mode", "MODE", "single, thread, process or event (thread; http: event)"),
    opt("--workers", "N", "threads or processes (one a core; thread, process: at least 4)"),
    opt("--listen", "HOST:PORT", "port 0 picks one (127.0.0.1:6666; http: 127.0.0.1:8080)")
        .or_variable("KOLAM_LISTEN"),
    opt("--root", "DIR", "folder to serve, made when missing (files)").or_variable("KOLAM_ROOT"),
    opt("--max-upload", "SIZE", "largest upload (1G)"),
    opt("--sync", "", "flush an upload to the disk before saying OK"),
    opt("--read-only", "", "refuse UPLOAD, PUT and DELETE"),
    opt("--allow-write", "", "accept them on an address that is not loopback"),
    opt("--idle-timeout", "TIME", "close connections on which nothing moves (30)"),
    opt("--head-timeout", "TIME", "longest time for verb and name to arrive (10)"),
    opt("--max-connections", "N", "more are answered `server busy` (4096)"),
    opt("--grace", "TIME", "how long a stop waits for requests in progress (10)"),
    opt("--quiet", "", "no log on stderr"),
    crate::access::TOKEN_FILE,
    opt("--trace", "", "also log when a worker takes a connection; times are seconds since the boot"),
];

pub static SERVE: Command = Command {
    name: "serve",
    words: &[],
    about: "serve the regular files of one folder",
    options: &[OPTIONS, dialect::OPTIONS, browser::OPTIONS, watch::OPTIONS],
    run: start,
};

fn start(args: &Args) -> Result<(), Failure> {
    let chosen = chosen(args, "--protocol", "file", &PROTOCOLS.map(|row| row.0))?;
    let (spoken, usual_mode, usual_address, make_protocol) = PROTOCOLS[chosen];
    if spoken != "http" {
        browser::refuse_options(args)?;
    }
    let (mode, usual_workers, serve) =
        MODES[self::chosen(args, "--mode", usual_mode, &MODES.map(|row| row.0))?];
    let cores = available_parallelism().map_or(4, usize::from) as u64;
    let workers = args.number("--workers", usual_workers(cores), 1..=4096)?;
    if mode == "single" && workers != 1 {
        return usage(format!("--workers {workers}: --mode single has one worker"));
    }
    let passed = sys::passed_listener().and_then(|listener| {
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(listener.zip(address))
    });
    let passed =
        passed.or_else(|error| failed(format!("cannot use the socket that was passed on: {error}")))?;
    let address = match &passed {
        Some((_, address)) => *address,
        None => args.address("--listen", usual_address)?,
    };
    let root = args.path("--root").unwrap_or(Path::new("files"));
    let remote = !address.ip().is_loopback() && !args.has("--allow-write");
    let (policy, mut limits) = (policy(args, remote)?, limits(args)?);
    let (protocol, mut spoken) = (make_protocol(args, address)?, format!("{spoken} protocol"));
    let protocol = dialect::choose(args, &mut spoken, &mut limits, protocol)?;
    let protocol = access::guard(args, &spoken, protocol)?;
    let max_connections = args.number("--max-connections", 4096, 1..=1_000_000)?;
    let log = !args.has("--quiet");
    if args.has("--trace") {
        if !log {
            return usage("--trace writes into the log, and --quiet switches it off; use one of the two");
        }
        stats::begin_trace();
    }
    if remote && log && !args.has("--read-only") {
        stats::log("other machines can reach this server: it changes nothing without --allow-write");
    }
    let store = Arc::new(open(root, policy, &args.said("--root", root.display()))?);
    let option = args.variable("--listen").unwrap_or("--listen");
    let listener = listen(address, passed.map(|(listener, _)| listener), option)?;
    let setup = Scoreboard::new(mode, workers as usize).and_then(|board| Ok((board, listener.address()?)));
    let (scoreboard, address) = setup.or_else(|error| failed(format!("cannot start: {error}")))?;
    scoreboard.describe(listener.as_fd(), !address.ip().is_loopback());
    let url = protocol.ready_url(address) + &watch::start(args, root, scoreboard, limits)?;
    let (crew, root) = (counted(workers, "worker"), root.display());
    let ready = format!("listening on {address} ({spoken}, {mode} mode, {crew}, root {root}){url}\n");
    let shared = Shared {
        protocol,
        listener,
        store,
        scoreboard,
        limits,
        max_connections,
        log,
        limiter: RateLimiter::default(),
    };
    run(shared, serve, &ready)
}

/// Index of the name that the user has chosen.
fn chosen(args: &Args, option: &str, usual: &str, names: &[&str]) -> Result<usize, Failure> {
    let name = args.choice(option, usual, names)?;
    Ok(names.iter().position(|known| *known == name).unwrap_or_default())
}

/// `passed`: the listener that a service manager has opened; `option`: where the user can choose another.
fn listen(address: SocketAddr, passed: Option<TcpListener>, option: &str) -> Result<Listener, Failure> {
    // When this fails, fewer connections are possible, and a line in the log says so when they run out.
    let _ = sys::raise_descriptor_limit();
    let listener = match passed {
        Some(listener) => Listener::prepare(listener, SEND_BUFFER),
        None => Listener::bind(address, SEND_BUFFER),
    };
    let listener = listener.or_else(|error| {
        let remedy = format!("choose another {option} HOST:PORT (make: PORT=)");
        failed(format!("cannot listen on {address}: {error}; {remedy}"))
    })?;
    // Each is closed at the end of this function: they were only counted.
    let spare: io::Result<Vec<OwnedFd>> = (0..DESCRIPTORS)
        .map(|_| listener.as_fd().try_clone_to_owned())
        .collect();
    match spare {
        Ok(_) => Ok(listener),
        Err(error) => failed(format!(
            "cannot start: {DESCRIPTORS} free descriptors are needed: {error}; raise the limit (ulimit -n)"
        )),
    }
}

/// Descriptors that a server needs, whatever its mode, before it can serve a single connection: to notice
/// signals, in a worker too, and to wait; the connection, its file, its folder, a lock.
const DESCRIPTORS: usize = 10;

/// Opens the folder. The error offers --read-only when the folder can only be read. `said`: how the user has
/// named it.
fn open(root: &Path, policy: Policy, said: &str) -> Result<Store, Failure> {
    let offer = policy.read_only.is_none() && fs::read_dir(root).is_ok();
    Store::open(root, policy).or_else(|error| {
        let what = if root.exists() { "serve" } else { "make" };
        failed(format!(
            "cannot {what} {said}: {error}; {}",
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
        _ if error.raw_os_error() == Some(libc::EMFILE) => "allow this program more descriptors (ulimit -n)",
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

fn limits(args: &Args) -> Result<Limits, Failure> {
    Ok(Limits {
        idle: args.seconds("--idle-timeout", 30.0)?,
        head: args.seconds("--head-timeout", 10.0)?,
        pause: None,
        grace: args.seconds("--grace", 10.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_or_table_of_descriptors_is_not_answered_with_read_only() {
        let remedy = |code, offer| remedy(&io::Error::from_raw_os_error(code), offer);
        for full in [libc::ENOSPC, libc::EDQUOT] {
            assert!(remedy(full, true).starts_with("make room there"));
            assert_eq!(remedy(full, true), remedy(full, false));
        }
        assert!(remedy(libc::EMFILE, true).contains("ulimit -n"));
        assert!(remedy(libc::EACCES, true).contains("--read-only"));
        assert!(!remedy(libc::EACCES, false).contains("--read-only"));
    }
}
