//! What the four example servers share: one request in, one reply out, all of it in memory.
//!
//! The file protocol stands in `docs/protocol.md`. Four weaknesses stand here and so in all four servers:
//!
//! 1. A message is collected whole, and copied: a file of 100 MiB needs about 370 MiB, for its content and for two
//!    copies of its text.
//! 2. A file is written under its own name: a reader can meet half a file, and a full disk leaves one.
//! 3. A connection may be silent for ever: no read has a time limit.
//! 4. A request is cut at its blanks, and quotes stay part of the name: a name with a blank in it cannot be had.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

/// Where all four listen. Port 6666 is kolam's own.
pub const ADDRESS: &str = "127.0.0.1:6667";

/// The folder that all four serve.
pub const FOLDER: &str = "files";

/// Answers one request after another until the client closes the connection.
pub fn serve(connection: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    loop {
        // A request ends with an empty line. Reading line by line finds it, however the bytes are cut up.
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut request)? == 0 {
                return Ok(());
            }
        }
        let reply = answer(&String::from_utf8_lossy(&request));
        reader.get_mut().write_all(reply.as_bytes())?;
    }
}

/// The reply to a request, with its end.
fn answer(request: &str) -> String {
    let mut words = request.split_whitespace();
    let verb = words.next().unwrap_or_default().to_uppercase();
    let name = words.next().unwrap_or_default();
    let content: String = words.collect();
    let result = match verb.as_str() {
        "LIST" => list(),
        "GET" => get(name),
        "UPLOAD" => upload(name, &content),
        "DELETE" => delete(name),
        _ => Err("request tidak dikenali".to_owned()),
    };
    match result {
        Ok(members) => format!("{{\"status\":\"OK\",{members}}}\r\n\r\n"),
        Err(reason) => format!("{{\"status\":\"ERROR\",\"data\":{}}}\r\n\r\n", quoted(&reason)),
    }
}

fn list() -> Result<String, String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(FOLDER).map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if path_of(&name).is_ok() && entry.path().is_file() {
            names.push(quoted(&name));
        }
    }
    names.sort();
    Ok(format!("\"data\":[{}]", names.join(",")))
}

fn get(name: &str) -> Result<String, String> {
    let content = fs::read(path_of(name)?).map_err(|error| format!("file not found: {error}"))?;
    Ok(format!(
        "\"data_namafile\":{},\"data_file\":\"{}\"",
        quoted(name),
        encode(&content)
    ))
}

fn upload(name: &str, text: &str) -> Result<String, String> {
    let path = path_of(name)?;
    let content = decode(text).ok_or("invalid base64")?;
    fs::write(path, content).map_err(|error| error.to_string())?;
    Ok(format!(
        "\"data\":{}",
        quoted(&format!("{name} uploaded successfully"))
    ))
}

fn delete(name: &str) -> Result<String, String> {
    fs::remove_file(path_of(name)?).map_err(|error| format!("file not found: {error}"))?;
    Ok(format!(
        "\"data\":{}",
        quoted(&format!("{name} deleted successfully"))
    ))
}

/// A name is one part of a path, or it is refused: `../../etc/passwd` must not leave the folder.
fn path_of(name: &str) -> Result<PathBuf, String> {
    let safe = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    let path = Path::new(FOLDER).join(name);
    if safe && !path.is_symlink() {
        Ok(path)
    } else {
        Err("invalid file name".to_owned())
    }
}

/// A JSON string (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => json += &format!("\\u{:04x}", u32::from(c)),
            c => json.push(c),
        }
    }
    json + "\""
}

const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 (RFC 4648, section 4): three bytes become four symbols of six bits.
fn encode(content: &[u8]) -> String {
    let mut text = String::with_capacity(content.len().div_ceil(3) * 4);
    for group in content.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let symbol = SYMBOLS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { symbol as char } else { '=' });
        }
    }
    text
}

/// The bytes that a text stands for; `None` when it is not base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    let symbols = text.trim_end_matches('=').as_bytes();
    let mut content = Vec::with_capacity(symbols.len() / 4 * 3 + 2);
    for group in symbols.chunks(4) {
        let mut bits = 0;
        for &symbol in group {
            bits = bits << 6 | value(symbol)?;
        }
        match group.len() {
            4 => content.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => content.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 => content.push((bits >> 4) as u8),
            _ => return None,
        }
    }
    Some(content)
}

/// The six bits that a symbol stands for.
fn value(symbol: u8) -> Option<u32> {
    Some(match symbol {
        b'A'..=b'Z' => u32::from(symbol - b'A'),
        b'a'..=b'z' => u32::from(symbol - b'a') + 26,
        b'0'..=b'9' => u32::from(symbol - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}
