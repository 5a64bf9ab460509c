//! A pool of processes, forked before the first client comes (pre-fork), as in the classic Apache.
//!
//!     cargo run --release --example prefork
//!     kolam stress --target 127.0.0.1:6667 --servers 4 --quick
//!
//! The kernel hands each connection to one of the processes that wait in `accept` on the same listener. They share no
//! memory, so a crash costs one client and nothing of the others. Its own weaknesses:
//!
//! 1. Four silent clients hold all four processes, and all other clients wait.
//! 2. A process that died is not replaced.
//! 3. When only the parent is killed, the children go on, and the port stays taken. Ctrl-C ends all of them, because
//!    the terminal sends the signal to each.
//!
//! The weaknesses that all four examples share stand in `common/mod.rs`.

mod common;

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process;

const WORKERS: usize = 4;

// fork(2): 0 in the child, the child's number in the parent, -1 when it failed.
#[allow(unsafe_code)]
unsafe extern "C" {
    // SAFETY: safe to call while there is one thread: the child then has all that it needs, and no lock is held.
    safe fn fork() -> i32;
}

fn main() -> io::Result<()> {
    fs::create_dir_all(common::FOLDER)?;
    // Bound once, before the fork: all children have the same listener.
    let listener = TcpListener::bind(common::ADDRESS)?;
    for _ in 1..WORKERS {
        match fork() {
            -1 => return Err(io::Error::last_os_error()),
            0 => work(&listener),
            _ => {}
        }
    }
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    // The parent is the last worker.
    work(&listener)
}

/// The life of a worker: accept, serve, again.
fn work(listener: &TcpListener) -> ! {
    for connection in listener.incoming() {
        if let Err(error) = connection.and_then(common::serve) {
            let _ = writeln!(
                io::stderr(),
                "process {}: a connection ended: {error}",
                process::id()
            );
        }
    }
    process::exit(1)
}
