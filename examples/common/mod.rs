//! What the four example servers share: names of files, strings of JSON, and base64. The file protocol stands in
//! `docs/protocol.md`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where all four listen unless they are told another address. Port 6666 is kolam's own.
const ADDRESS: &str = "127.0.0.1:6667";

/// The folder that all four serve.
const FOLDER: &str = "files";

/// Makes the folder, and waits for clients at the address.
pub fn listen() -> io::Result<TcpListener> {
    fs::create_dir_all(FOLDER)?;
    TcpListener::bind(env::args().nth(1).unwrap_or_else(|| ADDRESS.to_owned()))
}

/// What can be asked for, as JSON strings, sorted.
pub fn names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(FOLDER)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if path_of(&name).is_ok_and(|path| path.is_file()) {
            names.push(quoted(&name));
        }
    }
    names.sort();
    Ok(names)
}

/// A name is one part of a path, or it is refused: `../../etc/passwd` must not leave the folder.
pub fn path_of(name: &str) -> Result<PathBuf, String> {
    let safe = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    let path = Path::new(FOLDER).join(name);
    if safe && !path.is_symlink() {
        Ok(path)
    } else {
        Err("invalid file name".to_owned())
    }
}

/// A JSON string (RFC 8259, section 7).
pub fn quoted(text: &str) -> String {
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
pub fn encode(content: &[u8]) -> String {
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
pub fn decode(text: &str) -> Option<Vec<u8>> {
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
