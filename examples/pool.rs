//! A pool of threads, fed by a channel: the classic of the Rust book, chapter 21.
//!
//!     cargo run --release --example pool
//!     kolam stress --target 127.0.0.1:6667 --servers 4 --quick
//!
//! The number of threads is chosen by the server: four serve, all other clients wait their turn. Its own weaknesses:
//!
//! 1. Four silent clients hold all four threads, and all other clients wait for ever.
//! 2. The queue has no bound: accepted connections pile up in it until descriptors run out, and then the server ends.
//! 3. A thread that panics is gone, and is not replaced.
//!
//! The weaknesses that all four examples share stand in `common/mod.rs`.

mod common;

use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const WORKERS: usize = 4;

fn main() -> io::Result<()> {
    fs::create_dir_all(common::FOLDER)?;
    let listener = TcpListener::bind(common::ADDRESS)?;
    let (sender, receiver) = mpsc::channel();
    // A channel has one receiving end; a lock lets the workers take turns with it.
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..WORKERS {
        let receiver = receiver.clone();
        thread::spawn(move || work(&receiver));
    }
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    for connection in listener.incoming() {
        sender.send(connection?).map_err(io::Error::other)?;
    }
    Ok(())
}

/// The life of a worker: wait for a connection, serve it, again.
fn work(receiver: &Mutex<Receiver<TcpStream>>) {
    loop {
        // The lock is held while waiting and dropped at the end of this statement, before the work begins.
        // `while let Ok(c) = receiver.lock()…recv()` would hold it during the work: one worker at a time.
        let received = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(connection) = received else { return };
        if let Err(error) = common::serve(connection) {
            let _ = writeln!(io::stderr(), "a connection ended: {error}");
        }
    }
}
