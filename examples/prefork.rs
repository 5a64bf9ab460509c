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
//! As in all four examples: a message is held whole, and copied, so a file of 100 MiB takes about 370 MiB; a file is
//! written under its own name, so a reader can meet half of it; no read has a time limit; a request is cut at
//! its blanks, and quotes stay part of the name, so a name cannot hold a blank.

mod common;

use common::{decode, encode, listen, names, path_of, quoted};
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process;

const WORKERS: usize = 4;

// fork(2): 0 in the child, the child's number in the parent, -1 when it failed.
#[allow(unsafe_code)]
unsafe extern "C" {
    // SAFETY: safe to call while there is one thread: the child then has all that it needs, and no lock is held.
    safe fn fork() -> i32;
}

fn main() -> io::Result<()> {
    // Bound once, before the fork: all children have the same listener.
    let listener = listen()?;
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
        if let Err(error) = connection.and_then(serve) {
            let _ = writeln!(
                io::stderr(),
                "process {}: a connection ended: {error}",
                process::id()
            );
        }
    }
    process::exit(1)
}

/// Answers one request after another until the client closes the connection.
fn serve(connection: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    loop {
        // A request ends with an empty line. Reading line by line finds it, however the bytes are cut up.
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut request)? == 0 {
                return Ok(());
            }
        }
        let reply = match answer(&String::from_utf8_lossy(&request)) {
            Ok(members) => format!("{{\"status\":\"OK\",{members}}}\r\n\r\n"),
            Err(why) => format!(
                "{{\"status\":\"ERROR\",\"data\":{}}}\r\n\r\n",
                quoted(&why.to_string())
            ),
        };
        reader.get_mut().write_all(reply.as_bytes())?;
    }
}

/// Does what a request asks for: what its reply says after the status, or why it cannot be done.
fn answer(request: &str) -> Result<String, Box<dyn Error>> {
    let not_found = |error| format!("file not found: {error}");
    let mut words = request.split_whitespace();
    let verb = words.next().unwrap_or_default().to_uppercase();
    let name = words.next().unwrap_or_default();
    match verb.as_str() {
        "LIST" => Ok(format!("\"data\":[{}]", names()?.join(","))),
        "GET" => {
            let content = fs::read(path_of(name)?).map_err(not_found)?;
            let (name, text) = (quoted(name), encode(&content));
            Ok(format!("\"data_namafile\":{name},\"data_file\":\"{text}\""))
        }
        "UPLOAD" => {
            let path = path_of(name)?;
            fs::write(path, decode(&words.collect::<String>()).ok_or("invalid base64")?)?;
            let done = format!("{name} uploaded successfully");
            Ok(format!("\"data\":{}", quoted(&done)))
        }
        "DELETE" => {
            fs::remove_file(path_of(name)?).map_err(not_found)?;
            let done = format!("{name} deleted successfully");
            Ok(format!("\"data\":{}", quoted(&done)))
        }
        _ => Err("request tidak dikenali".into()),
    }
}
