//! The server that everybody writes first: one connection at a time.
//!
//!     cargo run --release --example naive
//!     kolam stress --target 127.0.0.1:6667 --quick
//!
//! Its own weakness: while one client is served, all others wait in the kernel's queue, however slow that client is
//! (head-of-line blocking). One client that connects and says nothing stops the server for all.
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

fn main() -> io::Result<()> {
    let listener = listen()?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    for connection in listener.incoming() {
        // The next client is accepted when this one has gone.
        if let Err(error) = serve(connection?) {
            writeln!(io::stderr(), "a connection ended: {error}")?;
        }
    }
    Ok(())
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
