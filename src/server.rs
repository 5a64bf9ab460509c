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
//! What must not live here: what happens on a connection (`server/connection.rs`), `fork`, threads.
//!
//! before: `pool.rs` … after: `b64.rs`
//!
//! Experiment:
//! edit: a connection that is told of the stop closes at once
//! run: cargo test --locked --test it sigterm_lets
//! see: sigterm_lets_an_upload_finish_and_refuses_everybody_else ... FAILED

mod shared; // what all workers share
mod connection; // one connection, turn by turn
mod blocking; // one connection after another
mod single; // the modes, one file each
mod thread;
mod process;
mod renewal; // new workers for old ones (a volume)
mod event; // (a volume)
mod watch; // what the workers do, from outside (for the volume `http`)
mod browser; // serving HTTP (for the volume `http`)
mod dialect; // where a message ends (for the volume `dialects`)
mod access; // who may come in (for the volume about services)
mod command; // how a user starts it

pub use command::SERVE;

use crate::cli::{Args, Failure, failed, print};
use shared::{FileProtocol, Protocol, Shared};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

type UsualWorkers = fn(cores: u64) -> u64;

/// Serves until it is asked to stop; prints the ready line when all workers are ready.
type Serve = fn(Arc<Shared>, ready: &str) -> io::Result<()>;

/// The modes: name, usual number of workers, and what runs it. Where a worker has one connection at a time,
/// there are at least as many workers as a small class has clients.
const MODES: [(&str, UsualWorkers, Serve); 4] = [
    ("single", |_| 1, single::serve),
    ("thread", |cores| cores.max(4), thread::serve),
    ("process", |cores| cores.max(4), process::serve),
    ("event", |cores| cores, event::serve),
];

type MakeProtocol = fn(&Args, SocketAddr) -> Result<Box<dyn Protocol>, Failure>;

/// The protocols: name, usual mode and address, and what makes it. Browsers keep several connections open for
/// a while, so HTTP needs a mode in which they do not wait for each other; and they refuse port 6666.
const PROTOCOLS: [(&str, &str, &str, MakeProtocol); 2] = [
    ("file", "thread", "127.0.0.1:6666", |_, _| {
        Ok(Box::new(FileProtocol))
    }),
    ("http", "event", "127.0.0.1:8080", browser::http),
];

/// How long after the grace threads may still run (waiting for a slow disk, for example) before the server
/// ends without them.
const OVERSTAY: Duration = Duration::from_millis(500);

/// Serves with `serve` until the server is asked to stop.
fn run(shared: Shared, serve: Serve, ready: &str) -> Result<(), Failure> {
    let (shared, started) = (Arc::new(shared), Instant::now());
    let result = serve(shared.clone(), ready);
    // Forked workers do not return to here, so this is logged once.
    let (seconds, summary) = (started.elapsed().as_secs_f64(), shared.scoreboard.summary());
    shared.note(&format!("stopped after {seconds:.1} s: {summary}"));
    result.or_else(|error| failed(format!("the server ended: {error}")))
}

/// Prints the one line on stdout. The server goes on if stdout is closed.
fn announce(ready: &str) {
    let _ = print(ready);
}
