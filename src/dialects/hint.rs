//! Which dialect does a stranger speak? The first line of a connection may say it plainly, when it can be no
//! request of the dialect served here; then the peer is told, in words that its own dialect can read. A hint
//! takes the place of an error and never of an answer: what means something here is left alone.

use super::{Dialect, pause};
use crate::protocol::{END, HEAD_LIMIT, Reply};
use crate::session::{Event, Outgoing, Session, Want};

const HTTP: &str = "this looks like HTTP: start the server with --protocol http";
const DELIMITER: &str = "this looks like the delimiter dialect: start the server with --dialect delimiter";
const LINE: &str = "this looks like the line dialect: start the server with --dialect line";
const LINE_IN_VAIN: &str = "timeout: the request has no end; \
                            this looks like the line dialect: start the server with --dialect line";
const PAUSE: &str = "timeout: the head of the request took longer than --head-timeout; \
                     this looks like the pause dialect: start the server with --dialect pause";

/// What a peer is told whose first request on a connection to a server of `served` begins with `first`;
/// `in_vain`: nothing more of it has come in time.
fn hint(first: &[u8], served: Dialect, in_vain: bool) -> Option<&'static str> {
    let line = first.split(|&byte| byte == b'\n').next()?;
    let split = line.split(u8::is_ascii_whitespace);
    let words: Vec<&[u8]> = split.filter(|word| !word.is_empty()).collect();
    let canonical = matches!(served, Dialect::Delimiter | Dialect::Pause);
    let ended = line.len() < first.len();
    let over = || match served {
        Dialect::Line if ended => line.ends_with(b"\r"), // it answers here, whatever comes next
        _ => first.len() == HEAD_LIMIT || first.windows(END.len()).any(|bytes| bytes == END),
    };
    // After CR LF the end mark may go on, and a blank begins the content of a canonical upload.
    let bare = ended && !matches!(line, [.., b'\r' | b' ' | b'\t']);
    match (words.first()?.to_ascii_uppercase().as_slice(), &words[1..]) {
        // request-line = method SP target SP version (RFC 9112, section 3); no file is called like a target.
        (_, [[b'/' | b'*', ..], version]) if ended && version.starts_with(b"HTTP/") => Some(HTTP),
        (b"UPLOAD", [_, text]) if !canonical && is_content(text) && over() => Some(DELIMITER),
        (b"LIST" | b"STATS", []) if served == Dialect::Sized && over() => Some(DELIMITER),
        (b"UPLOAD", [] | [_]) if bare && canonical => Some(LINE),
        (b"UPLOAD", [] | [_]) if in_vain && ended => Some(LINE_IN_VAIN),
        (b"LIST" | b"STATS", []) | (b"GET" | b"DELETE", [_]) if in_vain && ended => Some(LINE_IN_VAIN),
        (b"LIST" | b"STATS", []) | (b"GET" | b"DELETE", [_]) if in_vain => Some(PAUSE),
        _ => None,
    }
}

/// No length has as many digits, and hardly a word in a name as many letters and no dot.
fn is_content(word: &[u8]) -> bool {
    word.len() >= 64 && word.iter().any(u8::is_ascii_alphabetic) && !word.contains(&b'.')
}

/// A session, and a look at the first request that it is given.
pub struct Guide {
    served: Dialect,
    session: Box<dyn Session>,
    /// What has come of the first request, at most `HEAD_LIMIT` bytes; `None`: it has been understood.
    first: Option<Vec<u8>>,
    /// What the peer is still to be told, in the place of what the session says.
    told: Vec<u8>,
}

impl Guide {
    pub fn new(served: Dialect, session: Box<dyn Session>) -> Guide {
        Guide {
            served,
            session,
            first: Some(Vec::new()),
            told: Vec::new(),
        }
    }

    /// Tells the peer what it seems to speak; `None`: that is not plain.
    fn tell(&mut self, in_vain: bool) -> Option<()> {
        let reason = hint(self.first.as_deref()?, self.served, in_vain)?;
        // The session counts the request as failed; what it says of that is taken from it.
        self.session.notice(Event::Refused(reason));
        while let Outgoing::Bytes(words @ [_, ..]) = self.session.outgoing() {
            let count = words.len();
            self.session.sent(count);
        }
        self.told = match reason {
            HTTP => format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{reason}\n",
                reason.len() + 1
            )
            .into_bytes(),
            _ => Reply::error(reason.to_owned(), true).outgoing().to_vec(),
        };
        Some(())
    }
}

impl Session for Guide {
    fn received(&mut self, bytes: &[u8]) {
        self.session.received(bytes);
        let Some(first) = &mut self.first else { return };
        first.extend(bytes.iter().take(HEAD_LIMIT - first.len()));
        let reading = matches!(self.session.want(), Want::Request | Want::Head | Want::Body);
        let over = !reading || first.len() == HEAD_LIMIT;
        // What has come is searched from its beginning: not for each byte, but where a line ends.
        let told = (over || bytes.contains(&b'\n')) && self.tell(false).is_some();
        if told || over {
            self.first = None;
        }
    }

    fn notice(&mut self, notice: Event) {
        match notice {
            Event::Silence => pause::end_request(&mut *self.session),
            Event::Timeout if self.tell(true).is_some() => {}
            other => self.session.notice(other),
        }
    }

    fn want(&self) -> Want {
        match self.told.is_empty() {
            true => self.session.want(),
            false => Want::Write,
        }
    }

    fn outgoing(&self) -> Outgoing<'_> {
        match self.told.is_empty() {
            true => self.session.outgoing(),
            false => Outgoing::Bytes(&self.told),
        }
    }

    fn sent(&mut self, count: usize) {
        match self.told.is_empty() {
            true => self.session.sent(count),
            false => drop(self.told.drain(..count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_stranger_is_recognised_and_nobody_else() {
        use Dialect::{Delimiter, Line, Pause, Sized};
        let long = format!("UPLOAD a {}", "QUJD".repeat(2500));
        let (long, short) = (
            &long[..HEAD_LIMIT],
            format!("UPLOAD a {}\r\n\r\n", "QUJD".repeat(16)),
        );
        let all = [Delimiter, Line, Sized, Pause];
        let table: [(&str, bool, &[Dialect], &str); 13] = [
            ("GET / HTTP/1.1\r\nHost: a\r\n", false, &all, HTTP),
            ("POST /a?b HTTP/1.0\n", false, &all, HTTP),
            ("UPLOAD a\n", false, &[Delimiter, Pause], LINE),
            ("UPLOAD\n", false, &[Delimiter, Pause], LINE),
            ("UPLOAD a\nQUJD\r\n\r\n", false, &[Delimiter, Pause], LINE),
            ("UPLOAD a\r\n", true, &all, LINE_IN_VAIN),
            ("LIST\n", true, &all, LINE_IN_VAIN),
            ("GET a.bin", true, &all, PAUSE),
            ("LIST\r\n\r\n", false, &[Sized], DELIMITER),
            ("LIST\r\n\r\nGET a\r\n\r\n", false, &[Sized], DELIMITER),
            (long, false, &[Line, Sized], DELIMITER),
            (&short, false, &[Line, Sized], DELIMITER),
            // What comes after this line would be another read, or the same.
            (&short[..short.len() - 2], false, &[Line], DELIMITER),
        ];
        for (first, in_vain, served, told) in table {
            for dialect in all {
                let expected = served.contains(&dialect).then_some(told);
                assert_eq!(
                    hint(first.as_bytes(), dialect, in_vain),
                    expected,
                    "{first:.30} {dialect:?}"
                );
            }
        }
    }

    /// A session that reads on for ever.
    struct Reading;

    impl Session for Reading {
        fn want(&self) -> Want {
            Want::Head
        }
        fn received(&mut self, _: &[u8]) {}
        fn outgoing(&self) -> Outgoing<'_> {
            Outgoing::Bytes(&[])
        }
        fn sent(&mut self, _: usize) {}
        fn notice(&mut self, _: Event) {}
    }

    /// Byte by byte: 16 times as many bytes do not take 100 times as long.
    #[test]
    fn a_long_line_is_not_searched_again_with_each_byte() {
        let fastest = |count: usize| {
            let times = (0..20).map(|_| {
                let (mut guide, begun) = (Guide::new(Dialect::Sized, Box::new(Reading)), Instant::now());
                (0..count).for_each(|_| guide.received(b"a"));
                begun.elapsed()
            });
            times.min().unwrap()
        };
        let (few, many) = (fastest(HEAD_LIMIT / 16), fastest(HEAD_LIMIT - 1));
        assert!(many < few * 100, "{few:?} {many:?}");
    }

    #[test]
    fn what_means_something_here_is_left_alone() {
        use Dialect::{Delimiter, Line};
        let (text, name) = ("QUJD".repeat(16), "x".repeat(64) + ".txt");
        for plain in [
            &format!("UPLOAD a {text}\n\r\n\r\n"),
            &format!("UPLOAD a {text}\r"),
            &format!("UPLOAD a {name}\r\n\r\n"),
            "UPLOAD my holiday\r\n\r\n",
            "UPLOAD a QUJD\r\n\r\n",
            "GET a\n",
            "LIST",
            "UPLOAD a\r\n",
        ] {
            assert_eq!(hint(plain.as_bytes(), Line, false), None, "{plain:?}");
        }
        for plain in [
            "",
            "\r\n",
            "GET / HTTP/1.1",
            "GET a HTTP/1.1\n",
            "GET a.bin\r\n\r\n",
            "LIST\n",
            "LIST",
            "UPLOAD a",
            "UPLOAD a\r\n\r\n",
            "UPLOAD a \n",
            "UPLOAD a\t\n\r\n\r\n",
            "UPLOAD a QUJD\n",
            "UPLOAD a 8\r\n\r\n",
            "UPLOADS a\n",
            "FROB a\n",
        ] {
            assert_eq!(hint(plain.as_bytes(), Delimiter, false), None, "{plain:?}");
        }
    }
}
