//! # Chapter 7. How do two programs agree on structure?
//!
//! Replies are JSON (RFC 8259). Writing is easy: escape every string, put the commas right, never build a
//! reply by gluing text. Reading is done by pulling: the caller asks for the next key or value, and a string
//! as long as a file can be taken in pieces straight from the receive buffer, so nothing is ever held whole.
//!
//! ```text
//!   {"status":"OK","data_namafile":"a.bin","data_file":"S29sYW0…
//!    open_object   next_key   value                    open_string, then pieces
//! ```
//!
//! The invariant of the writer: its output has no byte below 0x20, so `\r\n\r\n` cannot occur inside it
//! and can mark the end of a reply. The bound of the reader: one receive buffer, plus what `value` was
//! allowed to hold.
//!
//! What must not live here: the keys of our protocol, base64, sockets.
//!
//! before: `b64.rs` … after: `sys.rs`
//!
//! Experiment:
//! edit: a string is glued between its quotes as it is
//! run: cargo test --locked --bin kolam json::
//! see: strings_are_escaped_and_come_back ... FAILED

mod reader; // pulling values out of a stream

pub use reader::{Error, Reader, Value};

use std::fmt;

/// Appends `text` to `out` with the escapes of RFC 8259, section 7, without the quotes around it.
pub fn escape(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

/// Writes one JSON text to the end of a buffer; it knows where commas go.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// The next key or value needs a comma before it.
    comma: bool,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out, comma: false }
    }

    /// Goes on in a list that is written in parts; `first`: no value of it is written yet.
    pub fn in_list(out: &'a mut Vec<u8>, first: bool) -> Writer<'a> {
        Writer { out, comma: !first }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    /// `{` or `[`.
    pub fn open(&mut self, bracket: u8) {
        self.separate();
        self.out.push(bracket);
        self.comma = false;
    }

    /// `}` or `]`.
    pub fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.comma = true;
    }

    pub fn key(&mut self, name: &str) {
        self.string(name);
        self.out.push(b':');
        self.comma = false;
    }

    pub fn string(&mut self, text: &str) {
        self.open_string();
        escape(self.out, text);
        self.out.push(b'"');
    }

    /// Starts a string; its inside and its closing quote are left to the caller.
    pub fn open_string(&mut self) {
        self.separate();
        self.out.push(b'"');
    }

    /// A number, and what has no quotes either: `true`, `false`, `null`.
    pub fn number(&mut self, number: impl fmt::Display) {
        self.separate();
        self.out.extend_from_slice(number.to_string().as_bytes());
    }

    /// A key with a string, the most common pair.
    pub fn pair(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_and_come_back() {
        let table = [
            ("plain", r#""plain""#),
            ("quote\" back\\slash", r#""quote\" back\\slash""#),
            ("\r\n\r\n\t", r#""\r\n\r\n\t""#),
            ("\u{0}\u{1f}\u{20}", r#""\u0000\u001f ""#),
            ("é 日 😀 \u{7f}", "\"é 日 😀 \u{7f}\""),
        ];
        for (text, written) in table {
            let mut out = Vec::new();
            Writer::new(&mut out).string(text);
            assert_eq!(out, written.as_bytes());
            let value = Reader::new(out.as_slice(), 64).value(&mut 1000).unwrap();
            assert_eq!(value.as_str(), Some(text));
        }
    }

    #[test]
    fn the_writer_puts_commas_between_and_nowhere_else() {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.open(b'{');
        w.pair("a", "b");
        w.key("list");
        w.open(b'[');
        w.number(1);
        w.open(b'{');
        w.close(b'}');
        w.number(2);
        w.close(b']');
        w.pair("c", "d");
        w.close(b'}');
        assert_eq!(out, br#"{"a":"b","list":[1,{},2],"c":"d"}"#);
    }
}
