//! A thread for each connection: as many as there are clients.
//!
//!     cargo run --release --example threads
//!     kolam stress --target 127.0.0.1:6667 --quick
//!
//! No client waits for a slow one any more. Its own weakness: the clients choose the number of threads, and with it the
//! memory. A thousand connections are a thousand threads; 50 uploads of 100 MiB are 18 GiB at once; when descriptors or
//! threads run out, the server ends.
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
use std::thread;

fn main() -> io::Result<()> {
    let listener = listen()?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    for connection in listener.incoming() {
        let connection = connection?;
        // Without a pool, the thread ends with its connection; starting one costs some 10 µs.
        thread::Builder::new().spawn(move || {
            if let Err(error) = serve(connection) {
                let _ = writeln!(io::stderr(), "a connection ended: {error}");
            }
        })?;
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
