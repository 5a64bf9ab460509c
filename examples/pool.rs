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
//! As in all four examples: a message is held whole, and copied, so a file of 100 MiB takes about 370 MiB; a file is
//! written under its own name, so a reader can meet half of it; no read has a time limit; a request is cut at
//! its blanks, and quotes stay part of the name, so a name cannot hold a blank.

mod common;

use common::{decode, encode, listen, names, path_of, quoted};
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const WORKERS: usize = 4;

fn main() -> io::Result<()> {
    let listener = listen()?;
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
        if let Err(error) = serve(connection) {
            let _ = writeln!(io::stderr(), "a connection ended: {error}");
        }
    }
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
