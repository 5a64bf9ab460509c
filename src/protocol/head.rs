//! How does a stream become requests? TCP carries bytes, not messages: one read may hold half a request, or
//! three. So a small automaton takes the head of a request byte by byte, and remembers in which part of the
//! grammar it stands; the end mark of a payload is found by a counter that lives longer than any single read.
//! No byte is searched for an end twice, and how the stream was cut changes nothing.

use crate::protocol::reply::Refusal;
use crate::store;

/// Ends each reply and each UPLOAD.
pub const END: &[u8] = b"\r\n\r\n";

/// Bytes of verb, blanks and name together: a quoted name of 255 bytes needs 512, the rest is a margin.
pub const HEAD_LIMIT: usize = 8192;

/// How far something has come that needs more than one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    More,
    Complete,
}

/// Finds `\r\n\r\n` in a stream, however it is cut: how many of its bytes were seen last (0 to 4). The
/// classic mistakes: to look for the mark only at the end of what was read (the next request, in the same
/// read, hides it), and to search everything again after each read (quadratic in 133 MiB).
#[derive(Default, Clone, Copy)]
pub struct EndMark(usize);

impl EndMark {
    pub fn feed(&mut self, byte: u8) -> Progress {
        self.0 = match byte {
            _ if byte == END[self.0] => self.0 + 1,
            b'\r' => 1,
            _ => 0,
        };
        if self.0 == END.len() {
            Progress::Complete
        } else {
            Progress::More
        }
    }

    /// Uses `bytes` up to the end of the mark, or all.
    pub fn skip(&mut self, bytes: &mut &[u8]) -> Progress {
        loop {
            if self.0 == 0 {
                let text = bytes.iter().take_while(|&&byte| byte != b'\r').count();
                *bytes = &bytes[text..];
            }
            let Some(byte) = bytes.split_off_first() else {
                return Progress::More;
            };
            if self.feed(*byte) == Progress::Complete {
                return Progress::Complete;
            }
        }
    }
}

/// The position in the head of a request.
///
/// ```text
///   U P L O A D ␣ " m y ␣ f i l e " ␣ S 2 9 s …  \r \n \r \n
///   └── Line ──┘ └ Quoted ────────┘ └ payload ─┘ └ EndMark ┘
/// ```
#[derive(Default, Clone, Copy)]
enum HeadState {
    /// In a verb, or in the rest of a line that has no payload.
    #[default]
    Line,
    /// After UPLOAD, before the name.
    BeforeName,
    /// In a name, or after its closing quote.
    Name,
    /// In a quoted name; `escaped`: after a backslash.
    Quoted { escaped: bool },
    /// After the head.
    End,
}

/// The head of a request, as far as it has come.
#[derive(Default)]
pub struct HeadParser {
    text: Vec<u8>,
    state: HeadState,
}

impl HeadParser {
    /// A byte that is not blank has come.
    pub fn begun(&self) -> bool {
        !self.text.is_empty()
    }

    /// Takes `bytes` up to the end of the head, or all, and cuts them off their front. The byte that makes an
    /// UPLOAD malformed stays: it may be the first of the end mark.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Progress, Refusal> {
        while let Some((&byte, rest)) = bytes.split_first() {
            let progress = self.push(byte)?;
            *bytes = rest;
            if progress == Progress::Complete {
                return Ok(progress);
            }
        }
        Ok(Progress::More)
    }

    /// The next byte of a request:
    ///
    /// ```text
    /// request = *empty ( line / upload )
    /// empty   = *blank [ CR ] LF
    /// line    = verb [ 1*blank rest ] [ CR ] LF
    /// upload  = "UPLOAD" 1*blank ( token / quoted ) blank base64 CR LF CR LF
    /// ```
    fn push(&mut self, byte: u8) -> Result<Progress, Refusal> {
        if !self.begun() && b" \t\r\n".contains(&byte) {
            return Ok(Progress::More);
        }
        self.state = match self.state {
            HeadState::Line => self.in_line(byte)?,
            _ if matches!(byte, b'\r' | b'\n') => return Err(self.no_payload()),
            HeadState::BeforeName => before_name(byte),
            HeadState::Name => in_name(byte),
            HeadState::Quoted { escaped } => in_quotes(byte, escaped),
            HeadState::End => HeadState::End,
        };
        if let HeadState::End = self.state {
            return Ok(Progress::Complete);
        }
        self.text.push(byte);
        // The CR of a line's end is not part of the line.
        if self.text.len() - usize::from(byte == b'\r') > HEAD_LIMIT {
            return Err(Refusal::Last("request too long".to_owned()));
        }
        Ok(Progress::More)
    }

    fn in_line(&self, byte: u8) -> Result<HeadState, Refusal> {
        let upload = self.text.eq_ignore_ascii_case(b"UPLOAD");
        match byte {
            b' ' | b'\t' if upload => Ok(HeadState::BeforeName),
            b'\r' | b'\n' if upload => Err(self.no_payload()),
            b'\n' => Ok(HeadState::End),
            _ => Ok(HeadState::Line),
        }
    }

    /// The line of an UPLOAD ends in its head: which mistake is the first?
    fn no_payload(&self) -> Refusal {
        let checked = name(self.split().1).and_then(|name| Ok(store::check_name(&name).map(drop)?));
        checked.err().unwrap_or_else(|| refusal("missing file content"))
    }

    /// The verb, and what comes after it.
    pub fn split(&self) -> (&[u8], &[u8]) {
        let line = self.text.strip_suffix(b"\r").unwrap_or(&self.text);
        let verb = line.iter().take_while(|byte| !b" \t".contains(byte)).count();
        line.split_at(verb)
    }
}

fn before_name(byte: u8) -> HeadState {
    match byte {
        b' ' | b'\t' => HeadState::BeforeName,
        b'"' => HeadState::Quoted { escaped: false },
        _ => HeadState::Name,
    }
}

fn in_name(byte: u8) -> HeadState {
    match byte {
        b' ' | b'\t' => HeadState::End,
        _ => HeadState::Name,
    }
}

fn in_quotes(byte: u8, escaped: bool) -> HeadState {
    match byte {
        b'"' if !escaped => HeadState::Name,
        _ => HeadState::Quoted {
            escaped: byte == b'\\' && !escaped,
        },
    }
}

/// name = rest / DQUOTE *( character / `\"` / `\\` ) DQUOTE
///
/// In a pattern, `inner @ ..` is what a slice has besides the bytes that are named.
pub fn name(mut text: &[u8]) -> Result<Vec<u8>, Refusal> {
    while let [b' ' | b'\t', inner @ ..] | [inner @ .., b' ' | b'\t'] = text {
        text = inner;
    }
    let mut rest = match text {
        [] => return Err(refusal("missing file name")),
        [b'"', inner @ ..] => inner,
        _ => return Ok(text.to_vec()),
    };
    let mut name = Vec::new();
    loop {
        rest = match rest {
            [b'"'] => return Ok(name),
            [] | [b'"', ..] => return Err(refusal("invalid file name: its quotes do not match")),
            [b'\\', byte @ (b'"' | b'\\'), rest @ ..] | [byte, rest @ ..] => {
                name.push(*byte);
                rest
            }
        };
    }
}

fn refusal(reason: &str) -> Refusal {
    Refusal::Error(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(refusal: Refusal) -> String {
        match refusal {
            Refusal::Error(reason) | Refusal::Last(reason) | Refusal::NoReply(reason) => reason,
        }
    }

    /// What the head of `text` turns out to be, and how many of its bytes that took.
    fn read(text: &[u8]) -> (String, usize) {
        let (mut parser, mut rest) = (HeadParser::default(), text);
        let parsed = parser
            .take(&mut rest)
            .map(|progress| match (progress, parser.split()) {
                (Progress::More, _) => Ok("more".to_owned()),
                (Progress::Complete, (verb, rest)) => {
                    let name = if rest.is_empty() {
                        Ok(Vec::new())
                    } else {
                        name(rest)
                    };
                    name.map(|name| [verb, &name].map(String::from_utf8_lossy).join("|"))
                }
            });
        let shown = parsed.flatten().unwrap_or_else(reason);
        (shown, text.len() - rest.len())
    }

    #[test]
    fn heads_are_understood() {
        const BAD_QUOTES: &str = "invalid file name: its quotes do not match";
        let table: [(&[u8], &str, usize); 22] = [
            (b"", "more", 0),
            (b"LIST", "more", 4),
            (b"LIST\n", "LIST|", 5),
            (b"LIST\r\n\r\n", "LIST|", 6),
            (b"\r\n \t\n\nLIST\n", "LIST|", 11),
            (b"GET  a b \r\n", "GET|a b", 11),
            (b"uploads\n", "uploads|", 8),
            (b"UPLOAD a ", "UPLOAD|a", 9),
            (b"upload\t \ta\tAAAA", "upload|a", 11),
            (b"UPLOAD \"a b\" ", "UPLOAD|a b", 13),
            (b"UPLOAD \"a\\\"b\\\\\" ", "UPLOAD|a\"b\\", 16),
            (b"UPLOAD \"a\\x\" ", "UPLOAD|a\\x", 13),
            (b"UPLOAD \"\" ", "UPLOAD|", 10),
            (b"UPLOAD\r\n\r\n", "missing file name", 6),
            (b"UPLOAD \n", "missing file name", 7),
            (b"UPLOAD a\r\n", "missing file content", 8),
            (b"UPLOAD \"a\"\n", "missing file content", 10),
            (b"UPLOAD ../a\n", "invalid file name: begins with a dot", 11),
            (b"UPLOAD \"a\r\n", BAD_QUOTES, 9),
            (b"UPLOAD \"a\"b ", BAD_QUOTES, 12),
            (b"UPLOAD a\"b ", "UPLOAD|a\"b", 11),
            (b"\0\n", "\0|", 2),
        ];
        for (text, event, used) in table {
            assert_eq!(read(text), (event.to_owned(), used), "{:?}", text.escape_ascii());
        }
    }

    #[test]
    fn heads_are_bounded_on_both_sides() {
        for (before, after) in [("GET ", "\r\n"), ("GET ", "\n"), ("UPLOAD ", " "), ("", "\n")] {
            let head = |length: usize| format!("{before}{}{after}", "x".repeat(length - before.len()));
            let (fits, _) = read(head(HEAD_LIMIT).as_bytes());
            assert!(fits.ends_with("xxx") || fits.ends_with("xxx|"), "{before}");
            let (refused, used) = read(head(HEAD_LIMIT + 1).as_bytes());
            assert_eq!(
                (refused.as_str(), used),
                ("request too long", HEAD_LIMIT),
                "{before}"
            );
        }
        let (empty, long) = (
            "\r".repeat(HEAD_LIMIT + 1),
            format!("G{}", "\r".repeat(HEAD_LIMIT + 1)),
        );
        assert_eq!(read(empty.as_bytes()).0, "more");
        assert_eq!(read(long.as_bytes()).0, "request too long");
    }

    #[test]
    fn names_may_be_bare_or_quoted() {
        let ok = |text: &str| name(text.as_bytes()).map_err(reason);
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
                let mut used = 0;
                let found = text.chunks(piece).find_map(|piece| {
                    let mut rest = piece;
                    let progress = mark.skip(&mut rest);
                    used += piece.len() - rest.len();
                    (progress == Progress::Complete).then_some(used)
                });
                assert_eq!(found, end, "{text:?} in pieces of {piece}");
            }
        }
    }

    /// By the shortest way: the words of a line that is no upload, or that has not ended.
    fn naive(text: &[u8]) -> Option<(String, usize)> {
        let blanks = text.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        let line = text[blanks..].split_inclusive(|&byte| byte == b'\n').next()?;
        let is_upload = line
            .get(..6)
            .is_some_and(|verb| verb.eq_ignore_ascii_case(b"UPLOAD"));
        if is_upload || !line.ends_with(b"\n") || line.len() > HEAD_LIMIT {
            return None;
        }
        let whole = line.strip_suffix(b"\n").unwrap_or(line);
        let whole = whole.strip_suffix(b"\r").unwrap_or(whole);
        let verb = whole.split(|byte| b" \t".contains(byte)).next()?;
        let rest = &whole[verb.len()..];
        let name = if rest.is_empty() {
            Ok(Vec::new())
        } else {
            name(rest)
        };
        let name = name.map(|name| [verb, &name].map(String::from_utf8_lossy).join("|"));
        Some((name.unwrap_or_else(reason), blanks + line.len()))
    }

    #[test]
    fn fuzz_head() {
        let corpus: [&[u8]; 9] = [
            b"LIST\r\n\r\n",
            b"\r\n \t\n\nLIST\n",
            b"GET  a b \r\n",
            b"uploads\n",
            b"upload\t \ta\tAAAA",
            b"UPLOAD \"a b\" S29s",
            b"UPLOAD \"a\\\"b\\\\\" ",
            b"DELETE \"a\\x\"\n",
            "GET \u{20ac}.txt\r\n".as_bytes(),
        ];
        crate::session::fuzz("head", &corpus, |input, random| {
            let (found, used) = crate::session::however_cut(input, random, |pieces| {
                let (mut parser, mut used) = (HeadParser::default(), 0);
                for piece in pieces {
                    let mut rest = piece;
                    let parsed = parser.take(&mut rest);
                    used += piece.len() - rest.len();
                    // A CR that may end the line, and the byte that is too many.
                    assert!(parser.text.len() <= HEAD_LIMIT + 2);
                    match parsed {
                        Ok(Progress::More) => {}
                        Ok(Progress::Complete) => {
                            let (verb, rest) = parser.split();
                            return (format!("{verb:?} {:?}", name(rest).map_err(reason)), used);
                        }
                        Err(refusal) => return (reason(refusal), used),
                    }
                }
                ("more".to_owned(), used)
            });
            let twin = naive(input);
            if let Some(naive) = &twin {
                assert_eq!(read(input), *naive, "{found} {used}");
            }
            twin.is_some()
        });
    }
}
