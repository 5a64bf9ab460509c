//! Where does a request begin and end? Byte by byte, in one way only: CR LF ends a line, an empty line the
//! head. Where two programs in a row read the same bytes differently, one of them can be made to see a
//! request that the other never saw ("request smuggling"); so all else is answered with 400 and the end of
//! the connection.

use crate::http::request::{Request, token};
use crate::http::status::{Refusal, malformed};
use std::mem;

/// Longest request line in bytes, its CR LF not counted: RFC 9112, section 3, recommends at least 8,000.
pub const LINE_LIMIT: usize = 8192;

/// Most bytes of a whole head, its last empty line included; browsers with many cookies need half of it.
pub const HEAD_LIMIT: usize = 16 * 1024;

/// Bytes that nearly all heads fit into; a larger one is moved as it grows.
const USUAL_HEAD: usize = 512;

/// Follows the lines of a head or of a trailer, byte by byte.
#[derive(Default)]
pub struct Lines {
    /// Bytes of the line so far.
    length: usize,
    /// The last byte was a CR.
    cr: bool,
}

impl Lines {
    /// Takes the next byte. If it ends a line: how long that is in bytes, its CR LF not counted.
    pub fn feed(&mut self, byte: u8) -> Result<Option<usize>, Refusal> {
        match byte {
            b'\n' if self.cr => return Ok(Some(mem::take(self).length)),
            _ if self.cr => return malformed("a CR without LF"),
            b'\r' => self.cr = true,
            b'\n' => return malformed("an LF without CR"),
            // Of the control characters only the tab may stand inside a line.
            b'\t' | b' '..=b'~' | 0x80.. => self.length += 1,
            _ => return malformed("a control character"),
        }
        Ok(None)
    }
}

/// A head, as far as it has come.
#[derive(Default)]
pub struct HeadParser {
    text: Vec<u8>,
    lines: Lines,
    /// The request line is complete.
    in_fields: bool,
}

impl HeadParser {
    /// Has a request begun? Empty lines before it do not count (RFC 9112, section 2.2).
    pub fn begun(&self) -> bool {
        self.text.first().is_some_and(|&byte| byte != b'\r')
    }

    /// Takes the bytes that belong to the head and returns how many; `None`: more are needed.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Option<Result<Request, Refusal>>) {
        if self.text.is_empty() {
            self.text.reserve(USUAL_HEAD);
        }
        for (at, &byte) in bytes.iter().enumerate() {
            match self.push(byte) {
                Ok(false) => {}
                Ok(true) => return (at + 1, Some(Request::parse(mem::take(&mut self.text)))),
                Err(refusal) => return (at + 1, Some(Err(refusal))),
            }
        }
        (bytes.len(), None)
    }

    /// Takes the next byte; true when it is the last one of the head.
    fn push(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.text.push(byte);
        match self.lines.feed(byte)? {
            Some(0) if self.begun() => return Ok(true),
            Some(0) => self.text.clear(),
            Some(_) => self.in_fields = true,
            None if !self.in_fields && self.lines.length > LINE_LIMIT => return Err(self.too_long()),
            None => {}
        }
        // The two bytes that would end it have not come.
        if self.text.len() >= HEAD_LIMIT {
            let reason = format!("request head larger than {HEAD_LIMIT} bytes");
            return Err(Refusal::new(431, reason));
        }
        Ok(false)
    }

    /// The refusal of a first line that is longer than `LINE_LIMIT`. If it is one word, that is a method
    /// longer than all that we know (RFC 9112, section 3).
    fn too_long(&self) -> Refusal {
        match token(&self.text) {
            true => Refusal::new(501, "method not implemented"),
            false => Refusal::new(414, format!("request line longer than {LINE_LIMIT} bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of a refusal, which comes with the last byte of `text`; `None`: it is a request.
    fn refused(text: &str) -> Option<u16> {
        let (used, whole) = HeadParser::default().take(text.as_bytes());
        assert_eq!(used, text.len(), "{text:?}");
        let whole = whole.expect("a head that is whole, or refused");
        let mut parser = HeadParser::default();
        let drip = text.bytes().find_map(|byte| parser.take(&[byte]).1).unwrap();
        let status = |result: Result<Request, Refusal>| result.err().map(|refusal| refusal.status);
        let (whole, drip) = (status(whole), status(drip));
        assert_eq!(whole, drip, "byte by byte: {text:?}");
        whole
    }

    #[test]
    fn heads_are_bounded_on_both_sides() {
        let line = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(length - 14));
        let head = |length: usize| {
            let start = "GET / HTTP/1.1\r\nHost: h\r\nX:";
            format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
        };
        let table = [
            (line(LINE_LIMIT), None),
            (line(LINE_LIMIT + 1)[..LINE_LIMIT + 1].to_owned(), Some(414)),
            // One word and no end: it can only be a method.
            ("M".repeat(LINE_LIMIT + 1), Some(501)),
            (format!("GET {}", "/".repeat(LINE_LIMIT - 3)), Some(414)),
            (format!("/{}", "M".repeat(LINE_LIMIT)), Some(414)),
            (head(HEAD_LIMIT), None),
            (head(HEAD_LIMIT + 1)[..HEAD_LIMIT].to_owned(), Some(431)),
        ];
        for (text, status) in table {
            assert_eq!(refused(&text), status, "{} bytes", text.len());
        }
    }

    #[test]
    fn a_line_ends_with_both_bytes_and_holds_no_control_character() {
        for text in [
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\rH",
            "GET / HTTP/1.1\r\r",
            "GET / HTTP/1.1\r\nHost: h\0",
            "GET / HTTP/1.1\r\nHost: h\x7f",
        ] {
            assert_eq!(refused(text), Some(400), "{text:?}");
        }
    }

    /// By the shortest way: what a head of common words asks for, and how many bytes it takes. `None`: it is
    /// not whole, or more than this can tell. `Some(None)`: it has no meaning.
    fn naive(text: &str) -> Option<Option<(String, usize)>> {
        let usual = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        };
        let separator = |c: char| !c.is_ascii_graphic() || "\"(),/;<=>?@[\\]{}".contains(c);
        let rest = text.trim_start_matches("\r\n");
        let length = rest.find("\r\n\r\n").filter(|length| *length < LINE_LIMIT)?;
        let mut lines = rest[..length].split("\r\n");
        let words: Vec<&str> = lines.next()?.split(' ').collect();
        let (mut hosts, mut framing, mut keeps) = (0, "None".to_owned(), true);
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or_default();
            let value = value.trim_matches([' ', '\t']);
            if name.is_empty() || name.contains(separator) {
                return Some(None);
            }
            match name.to_ascii_lowercase().as_str() {
                "host" if usual(value.strip_suffix(":8080").unwrap_or(value)) && usual(value.get(..1)?) => {
                    hosts += 1
                }
                "content-length" if framing == "None" && usual(value) => {
                    framing = format!("Length({})", value.parse::<u64>().ok()?);
                }
                "transfer-encoding" if framing == "None" && value == "chunked" => {
                    framing = "Chunked".to_owned()
                }
                "connection" => {
                    let mut options = value.split(',').map(|word| word.trim_matches([' ', '\t']));
                    keeps &= !options.any(|option| option.eq_ignore_ascii_case("close"));
                }
                "host" | "content-length" | "transfer-encoding" | "expect" => return None,
                _ => {}
            }
        }
        let control = |c: char| c.is_ascii_control() && c != '\t';
        let ([method, target, version], false) =
            (&words[..], rest[..length].replace("\r\n", "").contains(control))
        else {
            return Some(None);
        };
        let path = target
            .strip_prefix('/')
            .filter(|path| usual(path) && !path.starts_with('.'))?;
        let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"].contains(method);
        match hosts {
            _ if !known || *version != "HTTP/1.1" => None,
            1 => Some(Some((
                format!("{method} /{path} {framing} {keeps}"),
                text.len() - rest.len() + length + 4,
            ))),
            _ => Some(None),
        }
    }

    #[test]
    fn fuzz_http_head() {
        let corpus: [&[u8]; 6] = [
            b"GET /a.txt HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
            b"\r\nPUT http://h/b%20c?x=y HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
              Expect: 100-continue\r\n\r\nhello",
            b"PUT /b HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\
              Connection: close, x\r\n\r\n",
            b"HEAD /%e2%82%ac/../x HTTP/1.0\r\nConnection: keep-alive\r\nRange: bytes=0-4,-1\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost:\r\nAccept: */*;q=0.5\r\nX: \xe9\ty\r\n\r\n",
            b"DELETE /a HTTP/1.1\r\nHost: a.b.c\r\nIf-Match: \"x\", W/\"y\"\r\n\r\n",
        ];
        crate::session::fuzz("http_head", &corpus, |input, random| {
            crate::session::however_cut(input, random, |pieces| {
                let (mut parser, mut used) = (HeadParser::default(), 0);
                for piece in pieces {
                    let (count, parsed) = parser.take(piece);
                    used += count;
                    assert!(parser.text.len() <= HEAD_LIMIT);
                    if let Some(result) = parsed {
                        let shown = result.map(|request| format!("{request:?}"));
                        return (used, Some(shown.map_err(|refusal| refusal.status)));
                    }
                    assert_eq!(count, piece.len());
                }
                (used, None)
            });
            let twin = str::from_utf8(input).ok().and_then(naive);
            let read = |text: &[u8]| match HeadParser::default().take(text) {
                (used, Some(Ok(request))) => {
                    let path = String::from_utf8_lossy(&request.target.path).into_owned();
                    let (method, framing) = (request.method.name(), request.framing);
                    Some((
                        format!("{method} {path} {framing:?} {}", request.keep_alive),
                        used,
                    ))
                }
                _ => None,
            };
            if let Some(twin) = &twin {
                assert_eq!(read(input), *twin);
            }
            twin.is_some()
        });
    }
}
