//! A thread for each connection: as many as there are clients.
//!
//!     cargo run --release --example threads
//!     kolam stress --target 127.0.0.1:6667 --quick
//!
//! No client waits for a slow one any more. Its own weakness: the clients choose the number of threads, and with it the
//! memory. A thousand connections are a thousand threads; 50 uploads of 100 MiB are 18 GiB at once; when descriptors or
//! threads run out, the server ends.
//! The weaknesses that all four examples share stand in `common/mod.rs`.

mod common;

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::thread;

fn main() -> io::Result<()> {
    fs::create_dir_all(common::FOLDER)?;
    let listener = TcpListener::bind(common::ADDRESS)?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    for connection in listener.incoming() {
        let connection = connection?;
        // Without a pool, the thread ends with its connection; starting one costs some 10 µs.
        thread::Builder::new().spawn(move || {
            if let Err(error) = common::serve(connection) {
                let _ = writeln!(io::stderr(), "a connection ended: {error}");
            }
        })?;
    }
    Ok(())
}
