//! # Chapter 20. Where does a message end?
//!
//! TCP carries bytes, not messages: what one side sends in one call, the other side may receive in three, or
//! together with the next. So a protocol must say where a message ends, and servers of the course have given
//! four answers. One server speaks one of these dialects (`serve --dialect`), each a session over the same
//! store; `docs/framing.md` compares them.
//!
//! ```text
//!   delimiter   GET a.bin \r\n\r\n              bytes that cannot stand inside    protocol.rs
//!   line        GET a.bin \n                    one line; an upload shakes hands  dialects/line.rs
//!   sized       UPLOAD a.bin 8 \r\n\r\n S29…    a head that says how much comes   dialects/sized.rs
//!   pause       GET a.bin, and silence          when the sender seems to be done  dialects/pause.rs
//!
//!   line and sized:   Head ──► Reply ──► Head (line), Content (an upload), File (sized) or Lingering
//! ```
//!
//! The invariant: a dialect cuts the stream by its own rule, never by how the bytes arrived, and all promises
//! of the file protocol hold: whole uploads, checked names, limits, a piece or line of a file in memory.
//!
//! What must not live here: sockets, time. Even `pause` is told of a silence by its driver.
//!
//! before: `report.rs` … after: `top.rs`
//!
//! Experiment:
//! edit: each read of a head is taken for a whole one
//! run: cargo test --locked --bin kolam dialects::
//! see: a_head_says_how_long_the_rest_is ... FAILED

mod line; //  a line is a request
mod sized; // a head says how long the rest is
mod pause; // silence ends a request
mod md5; //   a content names itself
mod hint; //  which dialect does a stranger speak?

use crate::protocol::{FileSession, HEAD_LIMIT, Progress, Refusal, Reply};
use crate::session::{Event, Outgoing, PIECE_TEXT, Pipelined, Session, Want};
use crate::stats::RequestLog;
use crate::store::Store;
use std::fs::File;
use std::mem;
use std::sync::Arc;

/// Where a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The file protocol as it stands in `protocol.rs`.
    Delimiter,
    Line,
    Sized,
    Pause,
}

impl Dialect {
    /// A session for one connection.
    pub fn session(self, store: Arc<Store>, log: RequestLog) -> Box<dyn Session> {
        let session: Box<dyn Session> = match self {
            Dialect::Delimiter | Dialect::Pause => Box::new(FileSession::new(store, log)),
            Dialect::Line => Box::new(Conversation::<line::Content>::new(store, log)),
            Dialect::Sized => Box::new(Conversation::<sized::Content>::new(store, log)),
        };
        Box::new(hint::Guide::new(self, session))
    }
}

/// What differs between `line` and `sized`. It stands on the type of a file that is arriving.
trait Grammar: Send + Sized {
    /// The last bytes of a head; one that has more than `HEAD_LIMIT` in front of them is `TOO_LONG`.
    const END: &[u8];
    const TOO_LONG: &str;

    /// A head is complete, `END` included.
    fn begin(store: &Arc<Store>, head: &[u8], log: &mut RequestLog) -> Answer<Self>;

    /// Takes what belongs to the file off the front of `bytes`, which may be none. Complete: this was all.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<Progress, Refusal>;

    /// The file is complete: gives it its name.
    fn stored(self, log: &mut RequestLog) -> Result<Reply, Refusal>;

    /// An error in the words of the dialect.
    fn error(reason: String) -> Reply;
}

/// A reply, and what comes after it.
type Answer<G> = Result<(Reply, Next<G>), Refusal>;

enum Next<G> {
    /// The next request.
    Head,
    /// From the peer: the file that it uploads.
    Content(Box<G>),
    /// From us: as many bytes of this file as the reply counts.
    File(File),
}

enum State<G> {
    /// The head of a request, as far as it has come.
    Head(Vec<u8>),
    Content(Box<G>),
    Reply(Box<Reply>, Next<G>),
    /// The reply is sent, and of the file after it, this many bytes.
    File(Box<Reply>, File, u64),
    /// Closed on our side; the peer may still be sending.
    Lingering,
    Closed,
}

/// One connection that speaks `line` or `sized`; the functions are those of `protocol.rs`.
struct Conversation<G> {
    store: Arc<Store>,
    request_log: RequestLog,
    state: State<G>,
    pipelined: Pipelined,
    /// The server stops: no request after this one.
    stopping: bool,
}

impl<G: Grammar> Conversation<G> {
    fn new(store: Arc<Store>, request_log: RequestLog) -> Conversation<G> {
        Conversation {
            store,
            request_log,
            state: State::Head(Vec::new()),
            pipelined: Pipelined::default(),
            stopping: false,
        }
    }

    /// Reads until the bytes are used up or a reply must go out first; returns how many bytes were used.
    fn process(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        self.state = match mem::replace(&mut self.state, State::Closed) {
            State::Head(text) => self.read_head(text, &mut rest),
            State::Content(content) => self.read_content(content, &mut rest),
            waiting => waiting,
        };
        bytes.len() - rest.len()
    }

    /// Only the end of what has come is looked at, so no byte is searched twice.
    fn read_head(&mut self, mut text: Vec<u8>, bytes: &mut &[u8]) -> State<G> {
        while let Some(&byte) = bytes.split_off_first() {
            self.request_log.begin();
            text.push(byte);
            if text.ends_with(G::END) {
                let answer = G::begin(&self.store, &text, &mut self.request_log);
                return self.reply(answer);
            }
            if text.len() == HEAD_LIMIT + G::END.len() {
                return self.close(G::TOO_LONG);
            }
        }
        State::Head(text)
    }

    fn read_content(&mut self, mut content: Box<G>, bytes: &mut &[u8]) -> State<G> {
        match content.take(bytes) {
            Ok(Progress::More) => State::Content(content),
            Ok(Progress::Complete) => {
                let stored = content.stored(&mut self.request_log);
                self.reply(stored.map(|reply| (reply, Next::Head)))
            }
            Err(refusal) => self.reply(Err(last(refusal))),
        }
    }

    fn reply(&mut self, answer: Answer<G>) -> State<G> {
        let (reason, close) = match answer {
            Ok((reply, next)) => return State::Reply(Box::new(reply), next),
            Err(Refusal::Error(reason)) => (reason, false),
            Err(Refusal::Last(reason)) => (reason, true),
            Err(Refusal::NoReply(reason)) => {
                self.request_log.end(0, &reason);
                return State::Lingering;
            }
        };
        let mut reply = G::error(reason);
        reply.close |= close;
        State::Reply(Box::new(reply), Next::Head)
    }

    /// Closes the connection after a reply with this reason.
    fn close(&mut self, reason: &str) -> State<G> {
        self.reply(Err(Refusal::Last(reason.to_owned())))
    }

    /// A reply to a whole request has been sent, with its file: what comes next?
    fn replied(&mut self, reply: &Reply) -> State<G> {
        self.request_log.end(reply.bytes, &reply.failure);
        let waits = !self.pipelined.unused().trim_ascii().is_empty();
        match self.stopping {
            _ if reply.close => State::Lingering,
            true if waits => self.close("server stopping"),
            true => State::Lingering,
            false => State::Head(Vec::new()),
        }
    }

    /// A part of a file has been sent and the rest cannot be: the end of the connection tells the peer.
    fn lost(&mut self, why: &str) -> State<G> {
        self.reply(Err(Refusal::NoReply(format!("storage error: {why}"))))
    }
}

impl<G: Grammar> Session for Conversation<G> {
    fn want(&self) -> Want {
        match &self.state {
            State::Head(text) if text.is_empty() => Want::Request,
            State::Head(_) => Want::Head,
            State::Content(_) => Want::Body,
            State::Reply(..) | State::File(..) => Want::Write,
            State::Lingering => Want::Linger,
            State::Closed => Want::Close,
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let used = self.process(bytes);
            self.pipelined = Pipelined::keep(&bytes[used..]);
        } else if self.want() == Want::Body {
            self.state = self.close("request cut off: the stream ended before the file did");
        } else {
            // A part of a head is no request. If nothing has come, there is nothing to log, either.
            self.request_log.end(0, "request cut off");
            self.state = State::Closed;
        }
    }

    fn outgoing(&self) -> Outgoing<'_> {
        match &self.state {
            State::Reply(reply, _) => Outgoing::Bytes(reply.outgoing()),
            State::File(reply, file, offset) => Outgoing::File {
                file,
                offset: *offset,
                count: (reply.bytes - offset).min(PIECE_TEXT as u64) as usize,
            },
            _ => Outgoing::Bytes(&[]),
        }
    }

    fn sent(&mut self, count: usize) {
        self.state = match mem::replace(&mut self.state, State::Closed) {
            State::Reply(mut reply, next) => match (reply.advance(count), next) {
                (Ok(Progress::More), next) => State::Reply(reply, next),
                (Ok(Progress::Complete), Next::Head) => self.replied(&reply),
                (Ok(Progress::Complete), Next::Content(content)) => State::Content(content),
                (Ok(Progress::Complete), Next::File(file)) => State::File(reply, file, 0),
                (Err(error), _) => self.lost(&error.to_string()),
            },
            State::File(..) if count == 0 => self.lost("the file was cut short"),
            State::File(reply, file, offset) => match offset + count as u64 {
                end if end == reply.bytes => self.replied(&reply),
                more => State::File(reply, file, more),
            },
            other => other,
        };
        // What came too early has its turn, unless there is still something to send.
        let mut pipelined = mem::take(&mut self.pipelined);
        let used = self.process(pipelined.unused());
        pipelined.advance(used);
        self.pipelined = pipelined;
    }

    fn notice(&mut self, notice: Event) {
        match notice {
            Event::Stopping if self.want() != Want::Request => self.stopping = true,
            Event::OthersWait | Event::Silence => {}
            Event::Refused(reason) => self.state = self.close(reason),
            Event::Stopping | Event::Timeout => {
                let reason = self.want().overdue();
                self.state = reason.map_or(State::Closed, |reason| self.close(reason));
            }
        }
    }
}

/// After a refused upload the connection ends, so that no part of its file is taken for a request.
fn last(error: impl Into<Refusal>) -> Refusal {
    match error.into() {
        Refusal::Error(reason) => Refusal::Last(reason),
        other => other,
    }
}

/// A refusal in these words, after which the connection ends.
fn refuse<T>(reason: &str) -> Result<T, Refusal> {
    Err(Refusal::Last(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Folder, outgoing, play, play_and_pause};
    use crate::stats::{Field, Scoreboard};
    use crate::store::Policy;

    fn store(folder: &Folder) -> Arc<Store> {
        let policy = Policy {
            read_only: None,
            max_upload: 300_000,
            sync: false,
        };
        Arc::new(Store::open(folder.path(), policy).unwrap())
    }

    fn session(folder: &Folder, dialect: Dialect) -> (Box<dyn Session>, Scoreboard) {
        let scoreboard = Scoreboard::new("single", 1).unwrap();
        let log = RequestLog::new(scoreboard.worker(0), None);
        (dialect.session(store(folder), log), scoreboard)
    }

    /// What is answered to `input`, which arrives and leaves cut in every way.
    #[track_caller]
    fn check(dialect: Dialect, input: &str, expected: &str) {
        for (give, take) in [(4096, 4096), (1, 4096), (4096, 1), (1, 1), (3, 7)] {
            let folder = Folder::new();
            folder.write("a.bin", b"kolam");
            folder.write("my file", b"x");
            folder.write("empty", b"");
            let (mut session, scoreboard) = session(&folder, dialect);
            let answer = play(&mut *session, input.as_bytes(), give, take);
            let answer = String::from_utf8_lossy(&answer).replace("\r\n\r\n", "|");
            assert_eq!(answer, expected, "{dialect:?} {input:?} {give} {take}");
            assert!(!folder.names().iter().any(|name| name.ends_with(".tmp")));
            drop(session);
            assert_eq!(scoreboard.total(Field::Busy), 0, "{input:?}");
        }
    }

    const STORED: &str = r#"{"status":"OK","message":"File uploaded successfully","data":{"file_path":""#;

    #[test]
    fn a_line_is_a_request() {
        let got = r#"{"status":"OK","data_namafile":"a.bin","data_file":"a29sYW0="}|"#;
        let unknown = r#"{"status":"ERROR","data":"request tidak dikenali"}|"#;
        let missing = r#"{"status":"ERROR","data":"[Errno 2] No such file or directory: 'nope.txt'"}|"#;
        for (input, expected) in [
            ("LIST\n", r#"{"status":"OK","data":["a.bin","empty","my file"]}|"#),
            (" get \t a.bin more\r\n", got),
            ("GET 'a.'\"bin\"\nLIS", got),
            (
                "GET \"my file\"\n",
                r#"{"status":"OK","data_namafile":"my file","data_file":"eA=="}|"#,
            ),
            ("GET nope.txt\n", missing),
            ("DELETE nope.txt\n", missing),
            ("GET\n", r#"{"status":"ERROR","data":"list index out of range"}|"#),
            ("GET \"\"\n", "null|"),
            (
                "DELETE a.bin\n",
                r#"{"status":"OK","message":"File deleted successfully"}|"#,
            ),
            (
                "GET ../a.bin\n",
                r#"{"status":"ERROR","data":"invalid file name: begins with a dot"}|"#,
            ),
            ("upload\n", unknown),
            ("STATS\n", unknown),
            (
                "GET \"a.bin\nLIST\n",
                r#"{"status":"ERROR","data":"No closing quotation"}|"#,
            ),
            ("GET a.bin", ""),
        ] {
            check(Dialect::Line, input, expected);
        }
        check(Dialect::Line, "FROB\r\n\r\n", &unknown.repeat(2));
        let long = format!("GET {}\n", "x".repeat(9000));
        check(
            Dialect::Line,
            &long,
            r#"{"status":"ERROR","data":"request too long"}|"#,
        );
    }

    #[test]
    fn lines_of_base64_become_a_file_that_its_content_names() {
        let ready = "READY TO RECEIVE FILE|";
        for (lines, name) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("QUJD\n", "902fbdd2b1df0c4f70b4a5d23525e932"),
            ("QQ==\r\n\r\nQ*kM=\n", "902fbdd2b1df0c4f70b4a5d23525e932"),
            ("R0lGODlh\n", "f06a7ae2c8b71bef0d0c62c37e0cd4d0.gif"),
        ] {
            let expected = format!("{ready}{STORED}");
            let folder = Folder::new();
            let (mut session, _) = session(&folder, Dialect::Line);
            let answer = play(
                &mut *session,
                format!("UPLOAD x\n{lines} ENDUPLOAD \r\n").as_bytes(),
                3,
                9,
            );
            let answer = String::from_utf8(answer).unwrap().replace("\r\n\r\n", "|");
            assert!(answer.starts_with(&expected), "{lines:?} {answer}");
            if lines.len() < 10 || name.len() == 32 {
                check(
                    Dialect::Line,
                    &format!("UPLOAD\n{lines}ENDUPLOAD\nGET\n"),
                    &format!(
                        "{expected}{}\"}}}}|{}",
                        folder.names()[0],
                        r#"{"status":"ERROR","data":"list index out of range"}|"#
                    ),
                );
                assert!(
                    name.len() > 32 || folder.names() == [name],
                    "{:?}",
                    folder.names()
                );
                assert!(folder.names()[0].ends_with(&name[32..]));
            }
        }
        for (lines, reason) in [
            ("QUI\nENDUPLOAD\n", "Incorrect padding"),
            ("Q=\nENDUPLOAD\n", "Incorrect padding"),
            ("QQ==QUJD\nENDUPLOAD\n", "Incorrect padding"),
            ("ENDUPLOA\nENDUPLOA=\nENDUPLOAD\n", "Incorrect padding"),
            (
                "QUJD\nENDUPLOAD",
                "request cut off: the stream ended before the file did",
            ),
        ] {
            let expected = format!("{ready}{}", error(reason));
            check(Dialect::Line, &format!("UPLOAD\n{lines}"), &expected);
        }
    }

    fn error(reason: &str) -> String {
        format!("{{\"status\":\"ERROR\",\"data\":\"{reason}\"}}|")
    }

    /// `ENDUPLOAD` has nine symbols of base64, so a line of content may begin with all of them.
    #[test]
    fn the_letters_of_the_last_line_may_be_content() {
        let folder = Folder::new();
        for (line, content) in [
            ("ENDUPLOADAAA", &b"\x10\xd0\xd4\x3c\xb3\x80\x0c\x00\x00"[..]),
            (" ENDU", b"\x10\xd0\xd4"),
            ("ENDUPLOA", b"\x10\xd0\xd4\x3c\xb3\x80"),
            ("E N D U", b"\x10\xd0\xd4"),
        ] {
            let (mut session, _) = session(&folder, Dialect::Line);
            let upload = format!("UPLOAD\n{line}\nENDUPLOAD\n");
            play(&mut *session, upload.as_bytes(), 2, 99);
            let name = folder.names().pop().unwrap_or_default();
            let stored = std::fs::read(folder.path().join(&name)).unwrap_or_default();
            assert_eq!(stored, content, "{line}");
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
    }

    #[test]
    fn a_head_says_how_long_the_rest_is() {
        let ready = "OK Ready to receive|";
        let stored = "OK Ready to receive|OK Upload complete|";
        for (input, expected) in [
            ("GET a.bin\r\n\r\n", "OK 5|kolam"),
            ("get ../some/a.bin and more\r\n\r\nGET", "OK 5|kolam"),
            ("GET\na.bin\r\n\r\n", "OK 5|kolam"),
            ("GET empty\r\n\r\n", "OK 0|"),
            ("GET nope\r\n\r\n", "ERROR File not found|"),
            ("GET .hidden\r\n\r\n", "ERROR File not found|"),
            ("GET\r\n\r\n", ""),
            ("\r\n\r\n", ""),
            ("GET a.bin\r\n", ""),
            ("FROB a.bin\r\n\r\n", "ERROR Unknown command|"),
            ("UPLOAD n\r\n\r\n", "ERROR No size provided for UPLOAD|"),
            ("UPLOAD n four\r\n\r\n", "ERROR Invalid size format|"),
            ("UPLOAD .n 4\r\n\r\nQUJD", "ERROR Server file error|"),
            ("UPLOAD n 4\r\n\r\nQUJD", stored),
            ("upload n 7\r\n\r\nQ\r\nQ==\nand more", stored),
            ("UPLOAD n 0\r\n\r\n", stored),
            ("UPLOAD n -3\r\n\r\nQUJD", stored),
            ("UPLOAD n 8\r\n\r\n\r\n\r\nQUJD", stored),
            (
                "UPLOAD n 99999999999999999999\r\n\r\nQUJD*",
                "OK Ready to receive|ERROR Invalid Base64 data stream|",
            ),
            (
                "UPLOAD n 4\r\n\r\nQ*JD",
                "OK Ready to receive|ERROR Invalid Base64 data stream|",
            ),
            (
                "UPLOAD n 3\r\n\r\nQUJD",
                "OK Ready to receive|ERROR Invalid Base64 data stream|",
            ),
        ] {
            check(Dialect::Sized, input, expected);
        }
        let cut = "ERROR request cut off: the stream ended before the file did|";
        check(Dialect::Sized, "UPLOAD n 5\r\n\r\nQUJD", &format!("{ready}{cut}"));
        for (length, answer) in [(8192, "ERROR File not found|"), (8193, "ERROR Header too large|")] {
            let head = format!("GET {}\r\n\r\n", "x".repeat(length - 4));
            check(Dialect::Sized, &head, answer);
        }
        check(Dialect::Sized, "GET \u{e9}\r\n\r\n", "ERROR File not found|");
    }

    #[test]
    fn large_files_cross_in_pieces_and_too_large_ones_do_not() {
        let folder = Folder::new();
        let content = |size: usize| (0..size).map(|i| (i * 7 + i / 251) as u8).collect::<Vec<_>>();
        for size in [299_999, 300_000, 300_001] {
            folder.write("big", &content(size));
            let (mut session, _) = session(&folder, Dialect::Sized);
            let answer = play(&mut *session, b"GET big\r\n\r\n", 100, 1000);
            let (head, body) = answer.split_at(13);
            assert_eq!(head, format!("OK {size}\r\n\r\n").as_bytes());
            assert!(body == content(size));
            let mut text = vec![0; crate::b64::encoded_len(size) + 16];
            let mut encoder = crate::b64::Encoder::new();
            let mut end = encoder.encode(&content(size), &mut text);
            end += encoder.finish(&mut text[end..]);
            text.truncate(end);
            let by_size = [format!("UPLOAD s {end}\r\n\r\n").as_bytes(), &text].concat();
            let by_line = [b"UPLOAD\n", &text[..], b"\nENDUPLOAD\n"].concat();
            for (dialect, upload) in [(Dialect::Sized, by_size), (Dialect::Line, by_line)] {
                let before = folder.names();
                let (mut session, _) = self::session(&folder, dialect);
                let answer = play(&mut *session, &upload, 4096, 100);
                let answer = String::from_utf8_lossy(&answer);
                assert_eq!(!answer.contains("ERROR"), size <= 300_000, "{answer}");
                let new = folder.names().into_iter().find(|name| !before.contains(name));
                if let Some(new) = new {
                    assert!(std::fs::read(folder.path().join(&new)).unwrap() == content(size));
                    std::fs::remove_file(folder.path().join(new)).unwrap();
                }
            }
        }
    }

    #[test]
    fn silence_ends_a_request_of_the_pause_dialect() {
        let no_end =
            "UPLOAD needs its terminator: \\\\r\\\\n\\\\r\\\\n is missing, and silence does not end a file";
        for (input, expected) in [
            ("LIST", r#"{"status":"OK","data":["a.bin"]}|"#.to_owned()),
            (
                "GET a.bin",
                r#"{"status":"OK","data_namafile":"a.bin","data_file":"a29sYW0="}|"#.to_owned(),
            ),
            ("GET a", error("file not found")),
            ("GET", error("missing file name")),
            ("UPLOAD", error(no_end)),
            ("UPLOAD n", error(no_end)),
            ("UPLOAD n QUJD", error(no_end)),
            ("UPLOAD n QUJD\r\n\r", error(no_end)),
            (
                "UPLOAD n QUJD\r\n\r\n",
                r#"{"status":"OK","data":"n uploaded successfully","data_namafile":"n","size":3}|"#
                    .to_owned(),
            ),
        ] {
            let folder = Folder::new();
            folder.write("a.bin", b"kolam");
            let (mut session, _) = session(&folder, Dialect::Pause);
            session.received(input.as_bytes());
            session.notice(Event::Silence);
            let answer = String::from_utf8(outgoing(&*session))
                .unwrap()
                .replace("\r\n\r\n", "|");
            assert_eq!(answer, expected, "{input}");
            session.sent(outgoing(&*session).len());
            let goes_on = !input.starts_with("UPLOAD") || !answer.contains("ERROR");
            assert_eq!(session.want() == Want::Request, goes_on, "{input}");
            assert!(!folder.names().iter().any(|name| name.ends_with(".tmp")));
        }
    }

    #[test]
    fn notices_are_understood_in_every_state() {
        let timeout = "timeout: nothing arrived for as long as --idle-timeout";
        let head = "timeout: the head of the request took longer than --head-timeout";
        for (dialect, input, notice, reason) in [
            (Dialect::Line, "", Event::Timeout, ""),
            (Dialect::Sized, "", Event::Stopping, ""),
            (Dialect::Line, "", Event::Refused("server busy"), "server busy"),
            (Dialect::Sized, "", Event::Refused("server busy"), "server busy"),
            (Dialect::Line, "LIS", Event::Timeout, head),
            (Dialect::Sized, "LIS", Event::Timeout, head),
            (Dialect::Line, "UPLOAD\n", Event::Timeout, timeout),
            (Dialect::Sized, "UPLOAD n 9\r\n\r\nQUJD", Event::Timeout, timeout),
        ] {
            let folder = Folder::new();
            let (mut session, _) = session(&folder, dialect);
            session.received(input.as_bytes());
            while session.want() == Want::Write {
                session.sent(outgoing(&*session).len());
            }
            session.notice(notice);
            let answer = String::from_utf8(outgoing(&*session)).unwrap();
            let expected = match dialect {
                _ if reason.is_empty() => String::new(),
                Dialect::Sized => format!("ERROR {reason}\r\n\r\n"),
                _ => error(reason).replace('|', "\r\n\r\n"),
            };
            assert_eq!(answer, expected, "{dialect:?} {input:?}");
            session.sent(answer.len());
            assert_eq!(session.want() == Want::Close, reason.is_empty(), "{input:?}");
            assert_eq!(folder.names(), [""; 0], "{input:?}");
        }
    }

    #[test]
    fn a_request_in_hand_is_finished_before_the_server_stops() {
        let folder = Folder::new();
        let (mut session, _) = session(&folder, Dialect::Line);
        session.received(b"UPLOAD\n");
        session.notice(Event::Stopping);
        session.sent(outgoing(&*session).len());
        assert_eq!(session.want(), Want::Body, "READY is no end");
        session.received(b"QUJD\nENDUPLOAD\nLIST\n");
        assert!(outgoing(&*session).starts_with(STORED.as_bytes()));
        session.sent(outgoing(&*session).len());
        assert_eq!(
            outgoing(&*session),
            error("server stopping").replace('|', "\r\n\r\n").as_bytes()
        );
        session.sent(outgoing(&*session).len());
        assert_eq!(session.want(), Want::Linger);
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
        let folder = Folder::new();
        folder.write("big", &[1; 3 * PIECE_TEXT]);
        let (mut session, scoreboard) = session(&folder, Dialect::Sized);
        session.received(b"GET big\r\n\r\n");
        session.sent(outgoing(&*session).len());
        folder.write("big", b"short");
        session.sent(outgoing(&*session).len());
        assert_eq!(session.want(), Want::Write);
        session.sent(outgoing(&*session).len());
        assert_eq!(session.want(), Want::Linger);
        assert_eq!(scoreboard.total(Field::Failed), 1);
    }

    /// Sessions of one dialect over one folder, which is what it was whenever a file has come or gone.
    fn fuzz(target: &str, dialect: Dialect, corpus: &[&[u8]], naive: impl Fn(&str) -> Option<String>) {
        let folder = Folder::new();
        let (store, scoreboard) = (store(&folder), Scoreboard::new("single", 1).unwrap());
        let restore = || {
            for name in folder.names() {
                std::fs::remove_file(folder.path().join(name)).unwrap();
            }
            folder.write("a.bin", b"kolam");
            folder.write("empty", b"");
        };
        restore();
        crate::session::fuzz(target, corpus, |input, random| {
            let ask = |give: usize, take: usize| {
                let log = RequestLog::new(scoreboard.worker(0), None);
                let session = &mut *dialect.session(store.clone(), log);
                let replies = match dialect {
                    Dialect::Pause => play_and_pause(session, input, give, take),
                    _ => play(session, input, give, take),
                };
                let done = |sign: &[u8]| replies.windows(sign.len()).any(|window| window == sign);
                if done(b" successfully\"") || done(b"OK Upload") {
                    restore();
                }
                replies
            };
            let whole = ask(4096, 4096);
            assert_eq!(ask(1, 1), whole);
            assert_eq!(ask(1 + random.below(40), 1 + random.below(40)), whole);
            assert!(folder.names() == ["a.bin", "empty"]);
            let twin = str::from_utf8(input).ok().filter(|text| text.len() < HEAD_LIMIT);
            let twin = twin.filter(|text| !text.contains("HTTP/")).and_then(&naive);
            if let Some(replies) = &twin {
                assert_eq!(String::from_utf8_lossy(&whole), *replies);
            }
            twin.is_some()
        });
    }

    /// By the shortest way: the replies to lines without quotes that upload nothing. `None`: others came.
    fn naive_line(text: &str) -> Option<String> {
        let (mut replies, mut files) = (String::new(), vec![("a.bin", "a29sYW0="), ("empty", "")]);
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let verb = words.first().unwrap_or(&"").to_ascii_uppercase();
            let usual = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let name = words.get(1).copied();
            let found = files.iter().position(|file| Some(file.0) == name);
            let error = |reason: &str| format!(r#"{{"status":"ERROR","data":"{reason}"}}"#);
            let reply = match (verb.as_str(), name, found) {
                _ if line.contains(['"', '\'']) || verb.starts_with("UPLOAD") => return None,
                ("LIST", ..) => {
                    let names: Vec<String> = files.iter().map(|file| format!("\"{}\"", file.0)).collect();
                    format!(r#"{{"status":"OK","data":[{}]}}"#, names.join(","))
                }
                ("GET" | "DELETE", None, _) => error("list index out of range"),
                ("GET", Some(name), Some(at)) => {
                    let text = files[at].1;
                    format!(r#"{{"status":"OK","data_namafile":"{name}","data_file":"{text}"}}"#)
                }
                ("DELETE", Some(_), Some(at)) => {
                    files.remove(at);
                    r#"{"status":"OK","message":"File deleted successfully"}"#.to_owned()
                }
                ("GET" | "DELETE", Some(name), None) if usual(name) && name.len() < 256 => {
                    error(&format!("[Errno 2] No such file or directory: '{name}'"))
                }
                ("GET" | "DELETE", ..) => return None,
                _ => error("request tidak dikenali"),
            };
            replies += &(reply + "\r\n\r\n");
        }
        Some(replies)
    }

    /// By the shortest way: the replies to a head that is whole, and to a content of symbols that is. `None`:
    /// more than this can tell.
    fn naive_sized(text: &str) -> Option<String> {
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let words: Vec<&str> = head.split_whitespace().collect();
        let verb = words.first().unwrap_or(&"").to_ascii_uppercase();
        let name = words.get(1).and_then(|path| path.rsplit('/').next());
        let symbol = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
        let reply = match (verb.as_str(), name, words.get(2)) {
            ("LIST" | "STATS", ..) => return None,
            ("UPLOAD", _, Some(word)) if word.len() > 9 => return None,
            // A name that is too long, or what may be the content of another dialect.
            _ if head.split_ascii_whitespace().any(|word| word.len() >= 64) => return None,
            (_, None, _) => return Some(String::new()),
            ("GET", Some("a.bin"), _) => return Some("OK 5\r\n\r\nkolam".to_owned()),
            ("GET", Some("empty"), _) => "OK 0",
            ("GET", ..) => "ERROR File not found",
            ("UPLOAD", _, None) => "ERROR No size provided for UPLOAD",
            ("UPLOAD", Some(name), Some(word)) => match word.parse::<i64>() {
                Err(_) => "ERROR Invalid size format",
                Ok(_) if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    return None;
                }
                Ok(length) => {
                    let content = rest.get(..length.max(0) as usize)?;
                    let bare = content
                        .strip_suffix("==")
                        .or(content.strip_suffix('='))
                        .unwrap_or(content);
                    let last = match bare.len() % 4 {
                        2 => "AQgw",
                        3 => "AEIMQUYcgkosw048",
                        _ => "",
                    };
                    let whole = content.len() % 4 == 0 && bare.bytes().all(symbol);
                    if whole
                        && (bare.len() % 4 == 0 && bare == content || bare.ends_with(|c| last.contains(c)))
                    {
                        "OK Ready to receive\r\n\r\nOK Upload complete"
                    } else {
                        return None;
                    }
                }
            },
            _ => "ERROR Unknown command",
        };
        Some(format!("{reply}\r\n\r\n"))
    }

    #[test]
    fn fuzz_line() {
        let corpus: [&[u8]; 7] = [
            b"LIST\nGET a.bin\n",
            b"UPLOAD a QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n\r\n",
            b"GET \"a.bin\"\r\nGET ''\n",
            b"UPLOAD\na29s\nYW0=\nENDUPLOAD\n",
            b"UPLOAD x\niVBORw0KGgo=\n\nENDUPLOADEND\r\n ENDUPLOAD \nLIST\n",
            b"DELETE empty\nDELETE nope\n",
            b"WHAT\n\nLIST\r\n\r\n",
        ];
        fuzz("line", Dialect::Line, &corpus, naive_line);
    }

    #[test]
    fn fuzz_sized() {
        let corpus: [&[u8]; 7] = [
            b"GET a.bin\r\n\r\n",
            b"UPLOAD a QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n\r\n",
            b"GET x/empty more\r\n\r\n",
            b"UPLOAD b 8\r\n\r\na29sYW0=",
            b"UPLOAD b 12\r\n\r\na29s\r\n\r\nYW0=more",
            b"UPLOAD b 0\r\n\r\n",
            b"LIST\r\n\r\n",
        ];
        fuzz("sized", Dialect::Sized, &corpus, naive_sized);
    }

    #[test]
    fn fuzz_pause() {
        let corpus: [&[u8]; 4] = [
            b"LIST",
            b"GET a.bin\r\n\r\nLIST\n",
            b"UPLOAD b a29sYW0=\r\n\r\nGET b",
            b"DELETE empty\nGET \"a.bin\"\n",
        ];
        // What a silence adds is a line end; the rest is the file protocol.
        fuzz("pause", Dialect::Pause, &corpus, |_| None);
    }
}
