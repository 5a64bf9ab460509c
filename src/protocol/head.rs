//! # Chapter 3a. How does a stream become requests?
//!
//! TCP carries bytes, not messages: one read may hold half a request or three. So the head of a request is
//! gathered byte by byte by a small automaton that knows in which part of the grammar it stands, and the
//! end mark of a payload is found by a counter that lives longer than any single read.
//!
//! ```text
//!   U P L O A D ␣ " m y ␣ f i l e " ␣ S 2 9 s …  \r \n \r \n
//!   └── Verb ──┘ └ Quoted ────────┘ └ payload ─┘ └ EndMark ┘
//! ```
//!
//! The invariant: no byte is searched for an end twice, and how the stream was cut changes nothing. The
//! classic mistakes: to take each read for a whole request; to look for the end mark only at the end of what
//! was read (a pipelined request after it hides it); to search everything again after each read (quadratic in
//! 133 MiB).
//!
//! What must not live here: what a verb does.
//!
//! Experiment: let `EndMark::feed` fall back to 0 for every byte that does not match, and find the input
//! that then hangs.

use crate::{b64, store};

/// Ends each reply and each UPLOAD.
pub const END: &[u8] = b"\r\n\r\n";

/// Bytes of verb, blanks and name together: a quoted name of 255 bytes needs 512, the rest is a margin.
pub const HEAD_LIMIT: usize = 8192;

/// Why a request is refused.
pub struct Refusal {
    /// The `data` of the reply with `"status":"ERROR"`.
    pub reason: String,
    /// Close the connection after the reply: where the next request begins is unknown.
    pub close: bool,
    /// Close without a reply: neither OK nor ERROR would be true.
    pub no_reply: bool,
}

impl Refusal {
    pub fn new(reason: impl Into<String>) -> Refusal {
        Refusal {
            reason: reason.into(),
            close: false,
            no_reply: false,
        }
    }

    pub fn closing(reason: impl Into<String>) -> Refusal {
        Refusal {
            reason: reason.into(),
            close: true,
            no_reply: false,
        }
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Refusal {
        // An upload over the limit may be endless, so it is not read to its end.
        let close = matches!(error, store::Error::TooLarge(_));
        let no_reply = matches!(error, store::Error::Uncertain(_));
        Refusal {
            reason: error.to_string(),
            close,
            no_reply,
        }
    }
}

impl From<b64::Error> for Refusal {
    fn from(error: b64::Error) -> Refusal {
        Refusal::new(error.to_string())
    }
}

/// Finds `\r\n\r\n` in a stream, however it is cut: how many of its bytes were seen last (0 to 4).
#[derive(Default, Clone, Copy)]
pub struct EndMark(usize);

impl EndMark {
    /// True when `byte` completes the mark.
    pub fn feed(&mut self, byte: u8) -> bool {
        self.0 = match byte {
            _ if byte == END[self.0] => self.0 + 1,
            b'\r' => 1,
            _ => 0,
        };
        self.0 == END.len()
    }

    /// Skips `bytes` until the mark is complete; returns how many bytes that took and whether it is complete.
    pub fn skip(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut used = 0;
        while used < bytes.len() {
            if self.0 == 0 {
                used += bytes[used..].iter().take_while(|&&byte| byte != b'\r').count();
            }
            let Some(&byte) = bytes.get(used) else { break };
            used += 1;
            if self.feed(byte) {
                return (used, true);
            }
        }
        (used, false)
    }
}

/// The position in the head of a request.
#[derive(Clone, Copy)]
enum HeadState {
    Verb,
    /// After a verb that has no payload: everything to the end of the line.
    Line,
    /// After UPLOAD, before the name.
    BeforeName,
    /// In the name of an UPLOAD that begins at this offset.
    Name(usize),
    /// In a quoted name; `escaped`: after a backslash.
    Quoted {
        start: usize,
        escaped: bool,
    },
    /// After the closing quote.
    Unquoted {
        start: usize,
    },
}

/// The head of a request, as far as it has come.
pub struct Head {
    pub text: Vec<u8>,
    state: HeadState,
}

/// What a head turns out to be.
pub enum HeadEvent {
    /// A complete line without payload.
    Line,
    /// UPLOAD of the name; its payload begins with the next byte.
    Upload(Result<Vec<u8>, Refusal>),
    /// A malformed UPLOAD; the byte just looked at is part of what must be skipped.
    Broken(Refusal),
    TooLong,
}

impl Head {
    pub fn new() -> Head {
        Head {
            text: Vec::new(),
            state: HeadState::Verb,
        }
    }

    /// Takes the next byte; `None` means that more are needed.
    ///
    /// ```text
    /// request = *empty ( line / upload )
    /// empty   = *blank [ CR ] LF
    /// line    = verb [ 1*blank rest ] [ CR ] LF
    /// upload  = "UPLOAD" 1*blank ( token / quoted ) blank base64 CR LF CR LF
    /// ```
    pub fn push(&mut self, byte: u8) -> Option<HeadEvent> {
        let blank = matches!(byte, b' ' | b'\t');
        let line_end = matches!(byte, b'\r' | b'\n');
        match self.state {
            HeadState::Verb if self.text.is_empty() && (blank || line_end) => return None,
            HeadState::Verb if (blank || line_end) && self.text.eq_ignore_ascii_case(b"UPLOAD") => {
                self.state = HeadState::BeforeName;
                return self.push(byte);
            }
            HeadState::Verb | HeadState::Line if byte == b'\n' => return Some(HeadEvent::Line),
            HeadState::Verb if blank => self.state = HeadState::Line,
            HeadState::Verb | HeadState::Line => {}
            HeadState::BeforeName if line_end => {
                return Some(HeadEvent::Broken(Refusal::new("missing file name")));
            }
            HeadState::BeforeName if blank => {}
            HeadState::BeforeName if byte == b'"' => {
                self.state = HeadState::Quoted {
                    start: self.text.len(),
                    escaped: false,
                }
            }
            HeadState::BeforeName => self.state = HeadState::Name(self.text.len()),
            HeadState::Name(start) | HeadState::Unquoted { start } if blank || line_end => {
                return Some(self.named(start, line_end));
            }
            HeadState::Name(_) => {}
            HeadState::Quoted { .. } if line_end => return Some(HeadEvent::Broken(bad_quotes())),
            HeadState::Quoted {
                start,
                escaped: false,
            } if byte == b'"' => self.state = HeadState::Unquoted { start },
            HeadState::Quoted { start, escaped } => {
                self.state = HeadState::Quoted {
                    start,
                    escaped: byte == b'\\' && !escaped,
                }
            }
            HeadState::Unquoted { .. } => return Some(HeadEvent::Broken(bad_quotes())),
        }
        self.text.push(byte);
        // The CR of a line's end is not part of the line.
        let length = self.text.len() - usize::from(byte == b'\r');
        (length > HEAD_LIMIT).then_some(HeadEvent::TooLong)
    }

    /// The name of an UPLOAD is complete; `bare`: nothing follows it.
    fn named(&self, start: usize, bare: bool) -> HeadEvent {
        let name = name(&self.text[start..]);
        if !bare {
            return HeadEvent::Upload(name);
        }
        HeadEvent::Broken(match name.map(|name| store::check_name(&name).map(drop)) {
            Ok(Ok(())) => Refusal::new("missing file content"),
            Ok(Err(error)) => error.into(),
            Err(refusal) => refusal,
        })
    }
}

fn bad_quotes() -> Refusal {
    Refusal::new("invalid file name: its quotes do not match")
}

/// name = rest / DQUOTE *( character / `\"` / `\\` ) DQUOTE
pub fn name(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let text = trim_blanks(text);
    let Some(inner) = text.strip_prefix(b"\"") else {
        return if text.is_empty() {
            Err(Refusal::new("missing file name"))
        } else {
            Ok(text.to_vec())
        };
    };
    let mut name = Vec::new();
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' if bytes.as_slice().is_empty() => return Ok(name),
            b'"' => return Err(bad_quotes()),
            b'\\' if matches!(bytes.as_slice().first(), Some(b'"' | b'\\')) => name.extend(bytes.next()),
            byte => name.push(byte),
        }
    }
    Err(bad_quotes())
}

/// Without the spaces and tabs at both ends.
fn trim_blanks(text: &[u8]) -> &[u8] {
    let inner = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = text.iter().position(inner).unwrap_or(text.len());
    let end = text.iter().rposition(inner).map_or(start, |last| last + 1);
    &text[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the head of `text` turns out to be, and how many bytes that took.
    fn read(text: &[u8]) -> (String, usize) {
        let mut head = Head::new();
        for (at, &byte) in text.iter().enumerate() {
            let event = match head.push(byte) {
                None => continue,
                Some(HeadEvent::Line) => format!("line {}", String::from_utf8_lossy(&head.text)),
                Some(HeadEvent::Upload(Ok(name))) => format!("upload {}", String::from_utf8_lossy(&name)),
                Some(HeadEvent::Upload(Err(refusal)) | HeadEvent::Broken(refusal)) => refusal.reason,
                Some(HeadEvent::TooLong) => "too long".to_owned(),
            };
            return (event, at + 1);
        }
        ("more".to_owned(), text.len())
    }

    #[test]
    fn heads_are_understood() {
        let table: [(&[u8], &str, usize); 22] = [
            (b"", "more", 0),
            (b"LIST", "more", 4),
            (b"LIST\n", "line LIST", 5),
            (b"LIST\r\n\r\n", "line LIST\r", 6),
            (b"\r\n \t\n\nLIST\n", "line LIST", 11),
            (b"GET  a b \r\n", "line GET  a b \r", 11),
            (b"uploads\n", "line uploads", 8),
            (b"UPLOAD a ", "upload a", 9),
            (b"upload\t \ta\tAAAA", "upload a", 11),
            (b"UPLOAD \"a b\" ", "upload a b", 13),
            (b"UPLOAD \"a\\\"b\\\\\" ", "upload a\"b\\", 16),
            (b"UPLOAD \"a\\x\" ", "upload a\\x", 13),
            (b"UPLOAD \"\" ", "upload ", 10),
            (b"UPLOAD\r\n\r\n", "missing file name", 7),
            (b"UPLOAD \n", "missing file name", 8),
            (b"UPLOAD a\r\n", "missing file content", 9),
            (b"UPLOAD \"a\"\n", "missing file content", 11),
            (b"UPLOAD ../a\n", "invalid file name: begins with a dot", 12),
            (
                b"UPLOAD \"a\r\n",
                "invalid file name: its quotes do not match",
                10,
            ),
            (
                b"UPLOAD \"a\"b ",
                "invalid file name: its quotes do not match",
                11,
            ),
            (b"UPLOAD a\"b ", "upload a\"b", 11),
            (b"\0\n", "line \0", 2),
        ];
        for (text, event, used) in table {
            assert_eq!(
                read(text),
                (event.to_owned(), used),
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn heads_are_bounded_on_both_sides() {
        for (before, after) in [("GET ", "\r\n"), ("GET ", "\n"), ("UPLOAD ", " "), ("", "\n")] {
            let head = |length: usize| format!("{before}{}{after}", "x".repeat(length - before.len()));
            assert!(
                !read(head(HEAD_LIMIT).as_bytes()).0.contains("too long"),
                "{before}"
            );
            assert_eq!(
                read(head(HEAD_LIMIT + 1).as_bytes()),
                ("too long".to_owned(), HEAD_LIMIT + 1)
            );
        }
        assert_eq!(read("\r".repeat(HEAD_LIMIT).as_bytes()).0, "more");
        assert_eq!(
            read(format!("G{}", "\r".repeat(HEAD_LIMIT + 1)).as_bytes()).0,
            "too long"
        );
    }

    #[test]
    fn names_may_be_bare_or_quoted() {
        let ok = |text: &str| name(text.as_bytes()).map_err(|refusal| refusal.reason);
        assert_eq!(ok("  my notes.pdf \t"), Ok(b"my notes.pdf".to_vec()));
        assert_eq!(ok(" \"my \\\"notes\\\\\" "), Ok(b"my \"notes\\".to_vec()));
        assert_eq!(ok("a\u{c}"), Ok(b"a\x0c".to_vec()), "only blanks are cut off");
        assert_eq!(ok("  "), Err("missing file name".to_owned()));
        for text in ["\"", "\"a", "\"a\\\"", "\"a\"b", "\"a\" \"b\""] {
            assert!(ok(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_end_mark_is_found_however_the_stream_is_cut() {
        let table: [(&[u8], Option<usize>); 8] = [
            (b"\r\n\r\n", Some(4)),
            (b"abc\r\n\r\nxyz", Some(7)),
            (b"\r\r\n\r\n", Some(5)),
            (b"\r\n\r\r\n\r\n", Some(7)),
            (b"\r\n\n\r\n", None),
            (b"\n\r\n\r", None),
            (b"\r\na\r\n\r\n", Some(7)),
            (b"", None),
        ];
        for (text, end) in table {
            for piece in 1..=text.len().max(1) {
                let mut mark = EndMark::default();
                let mut at = 0;
                let mut found = None;
                for piece in text.chunks(piece) {
                    let (used, complete) = mark.skip(piece);
                    at += used;
                    if complete {
                        found = Some(at);
                        break;
                    }
                }
                assert_eq!(found, end, "{text:?} in pieces of {piece}");
            }
        }
    }
}
