//! Which dialect does a stranger speak? The first line of a connection may say it plainly, when it can be no
//! request of the dialect served here; then the peer is told, in words that its own dialect can read. A hint
//! takes the place of an error and never of an answer: what means something here is left alone.

use super::{Dialect, pause};
use crate::protocol::{END, HEAD_LIMIT, Progress, Reply};
use crate::session::{Event, Outgoing, Session, Want};

/// What a peer seems to speak, and why it is told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Http,
    Delimiter,
    Line,
    /// It waits for an answer although its request has no end here.
    LineInVain,
    PauseInVain,
}

/// `hint!("line")`, after an error if there is one.
macro_rules! hint {
    ($name:literal $(, $error:literal)?) => {
        concat!(
            $($error, "; ",)? "this looks like the ", $name,
            " dialect: start the server with --dialect ", $name
        )
    };
}

impl Guess {
    fn reason(self) -> &'static str {
        match self {
            Guess::Http => "this looks like HTTP: start the server with --protocol http",
            Guess::Delimiter => hint!("delimiter"),
            Guess::Line => hint!("line", "missing file content"),
            Guess::LineInVain => hint!("line", "timeout: the end of the request did not come"),
            Guess::PauseInVain => {
                hint!(
                    "pause",
                    "timeout: the head of the request took longer than --head-timeout"
                )
            }
        }
    }

    /// `first`: what has come of a connection to a server of `served`; `in_vain`: nothing more came in time.
    fn of(first: &[u8], served: Dialect, in_vain: bool) -> Option<Guess> {
        let line = first.split(|&byte| byte == b'\n').next().unwrap_or_default();
        // A blank at its end begins the content of a canonical upload.
        let (ended, bare) = (
            line.len() < first.len(),
            !line.ends_with(b"\r") && !line.ends_with(b" "),
        );
        let split = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let words: Vec<&[u8]> = split.collect();
        let (long, sized) = (first.len() == HEAD_LIMIT, served == Dialect::Sized);
        match (words.first()?.to_ascii_uppercase().as_slice(), &words[1..]) {
            _ if ended && is_http(&words) => Some(Guess::Http),
            (b"UPLOAD", [_, content]) if is_content(content) && (long || first.ends_with(END)) => {
                (sized || served == Dialect::Line).then_some(Guess::Delimiter)
            }
            (b"LIST" | b"STATS", []) if sized && first.ends_with(END) => Some(Guess::Delimiter),
            (b"UPLOAD", [] | [_]) if served != Dialect::Line => match () {
                () if in_vain && ended => Some(Guess::LineInVain),
                () if bare && !sized && first.len() == line.len() + 1 => Some(Guess::Line),
                () => None,
            },
            (b"LIST" | b"STATS", []) | (b"GET" | b"DELETE", [_]) if in_vain => match ended {
                true => Some(Guess::LineInVain),
                false => Some(Guess::PauseInVain),
            },
            _ => None,
        }
    }
}

/// request-line = method SP target SP version (RFC 9112, section 3); no file is called like a target.
fn is_http(words: &[&[u8]]) -> bool {
    matches!(words, [_, [b'/' | b'*', ..], version] if version.starts_with(b"HTTP/"))
}

/// No length has as many digits, and hardly a word in a name as many letters.
fn is_content(word: &[u8]) -> bool {
    word.len() >= 64 && !word.iter().all(u8::is_ascii_digit)
}

/// A session, and a look at the first line that it is given.
pub struct Guide {
    served: Dialect,
    session: Box<dyn Session>,
    /// What has come of the first request, at most `HEAD_LIMIT` bytes; `None`: it has been understood.
    first: Option<Vec<u8>>,
    /// What the peer is told in the place of what the session says.
    told: Option<Reply>,
}

impl Guide {
    pub fn new(served: Dialect, session: Box<dyn Session>) -> Guide {
        Guide {
            served,
            session,
            first: Some(Vec::new()),
            told: None,
        }
    }

    /// Tells the peer what it seems to speak, if that is plain; returns whether it did.
    fn tell(&mut self, in_vain: bool) -> bool {
        let first = self.first.as_deref().unwrap_or_default();
        let Some(guess) = Guess::of(first, self.served, in_vain) else {
            return false;
        };
        let reason = guess.reason();
        self.session.notice(Event::Refused(reason));
        self.told = match (guess, self.served) {
            (Guess::Http, _) => Some(http(reason)),
            (_, Dialect::Sized) => Some(Reply::error(reason.to_owned(), true)),
            _ => None,
        };
        // What the session would say is taken from it, so that it counts the request as failed.
        while self.told.is_some()
            && let Outgoing::Bytes(words @ [_, ..]) = self.session.outgoing()
        {
            let count = words.len();
            self.session.sent(count);
        }
        true
    }
}

fn http(reason: &str) -> Reply {
    let length = reason.len() + 1;
    Reply::words(format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{reason}\n"
    ))
}

impl Session for Guide {
    fn received(&mut self, bytes: &[u8]) {
        self.session.received(bytes);
        let Some(first) = &mut self.first else { return };
        let room = HEAD_LIMIT - first.len();
        first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let reading = matches!(self.session.want(), Want::Request | Want::Head | Want::Body);
        let over = !reading || first.len() == HEAD_LIMIT;
        if self.tell(false) || over {
            self.first = None;
        }
    }

    fn notice(&mut self, notice: Event) {
        match notice {
            Event::Silence => pause::end_request(&mut *self.session),
            Event::Timeout if self.tell(true) => {}
            other => self.session.notice(other),
        }
    }

    fn want(&self) -> Want {
        match self.told {
            Some(_) => Want::Write,
            None => self.session.want(),
        }
    }

    fn outgoing(&self) -> Outgoing<'_> {
        match &self.told {
            Some(reply) => Outgoing::Bytes(reply.outgoing()),
            None => self.session.outgoing(),
        }
    }

    fn sent(&mut self, count: usize) {
        match &mut self.told {
            None => self.session.sent(count),
            Some(reply) => {
                if !matches!(reply.advance(count), Ok(Progress::More)) {
                    self.told = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_recognised_and_nobody_else() {
        use Dialect::{Delimiter, Line, Pause, Sized};
        let long = format!("UPLOAD a {}", "QUJD".repeat(2500));
        let (long, short) = (
            &long[..HEAD_LIMIT],
            format!("UPLOAD a {}\r\n\r\n", "QUJD".repeat(16)),
        );
        let all = [Delimiter, Line, Sized, Pause];
        let table: [(&str, bool, &[Dialect], Guess); 10] = [
            ("GET / HTTP/1.1\r\nHost: a\r\n", false, &all, Guess::Http),
            ("POST /a?b HTTP/1.0\n", false, &all, Guess::Http),
            ("UPLOAD a\n", false, &[Delimiter, Pause], Guess::Line),
            ("UPLOAD\n", false, &[Delimiter, Pause], Guess::Line),
            (
                "UPLOAD a\r\n",
                true,
                &[Delimiter, Sized, Pause],
                Guess::LineInVain,
            ),
            ("LIST\n", true, &all, Guess::LineInVain),
            ("GET a.bin", true, &all, Guess::PauseInVain),
            ("LIST\r\n\r\n", false, &[Sized], Guess::Delimiter),
            (long, false, &[Line, Sized], Guess::Delimiter),
            (&short, false, &[Line, Sized], Guess::Delimiter),
        ];
        for (first, in_vain, served, guess) in table {
            for dialect in all {
                let expected = served.contains(&dialect).then_some(guess);
                assert_eq!(
                    Guess::of(first.as_bytes(), dialect, in_vain),
                    expected,
                    "{first:.30} {dialect:?}"
                );
            }
        }
    }

    #[test]
    fn what_means_something_here_is_left_alone() {
        use Dialect::{Delimiter, Line};
        for plain in [
            "UPLOAD my holiday\r\n\r\n",
            "UPLOAD a QUJD\r\n\r\n",
            "GET a\n",
            "LIST",
            "UPLOAD a\r\n",
        ] {
            assert_eq!(Guess::of(plain.as_bytes(), Line, false), None, "{plain:?}");
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
            "UPLOAD a QUJD\n",
            "UPLOAD a 8\r\n\r\n",
            "UPLOAD a\nQUJD\r\n\r\n",
            "UPLOADS a\n",
            "FROB a\n",
        ] {
            assert_eq!(Guess::of(plain.as_bytes(), Delimiter, false), None, "{plain:?}");
        }
    }
}
