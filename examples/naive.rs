//! The server that everybody writes first: one connection at a time.
//!
//!     cargo run --release --example naive
//!     kolam stress --target 127.0.0.1:6667 --quick
//!
//! Its own weakness: while one client is served, all others wait in the kernel's queue, however slow that client is
//! (head-of-line blocking). One client that connects and says nothing stops the server for all.
//! The weaknesses that all four examples share stand in `common/mod.rs`.

mod common;

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;

fn main() -> io::Result<()> {
    fs::create_dir_all(common::FOLDER)?;
    let listener = TcpListener::bind(common::ADDRESS)?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    for connection in listener.incoming() {
        // The next client is accepted when this one has gone.
        if let Err(error) = common::serve(connection?) {
            writeln!(io::stderr(), "a connection ended: {error}")?;
        }
    }
    Ok(())
}
