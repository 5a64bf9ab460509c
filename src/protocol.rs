//! # Chapter 3. What does each verb do, and in which state?
//!
//! Five verbs on one connection, as many requests as the peer likes, replies in the same order. The session
//! is a state machine; each state is a variant with its own data. `process` moves it on when bytes arrive,
//! `sent` when bytes are sent; the end of the stream and an `Event` from the driver can end it anywhere.
//!
//! ```text
//!           head of LIST GET DELETE STATS, or too long
//!        ┌────────────────────────────────────────────────────┐
//!        │                     end mark, or too large         ▼
//!   ──► Head ──UPLOAD──► Body ─────────────────────────────► Reply ──► Lingering
//!        │ ▲               │ error                            ▲ │
//!        │ │               ▼                                  │ │
//!        └─│─refused────► Skip ──end mark─────────────────────┘ │
//!          └──────────────reply sent────────────────────────────┘
//! ```
//!
//! The invariant: a state holds what is true in it and nothing else, and what a session wants follows from
//! its state alone. A refused upload is read to its end (`Skip`) before the refusal is sent, because a peer
//! that is still sending does not read, and closing the connection then would destroy the reply.
//!
//! What must not live here: sockets, time, the folder's rules (`store.rs` has them).
//!
//! before: `session.rs` … after: `pool.rs`
//!
//! Experiment:
//! edit: a refused upload has its reply at once, so its payload is taken for the next request
//! run: cargo test --locked --bin kolam protocol::
//! see: each_request_has_its_reply_whole_and_byte_by_byte ... FAILED

mod head; // a stream becomes requests
mod body; // a file arrives
mod reply; // what the peer gets to read
mod list; // a reply of any length
mod stats; // the verb of this server alone, STATS

pub use body::{Body, TEXT_ALLOWANCE, TEXT_SLACK};
#[cfg(test)]
pub use head::name;
pub use head::{END, EndMark, HEAD_LIMIT, HeadParser, Progress};
pub use reply::{Refusal, Reply};

use crate::session::{Event, Outgoing, Pipelined, Session, Want};
use crate::stats::RequestLog;
use crate::store::{self, BY_NAME, Store};
use std::mem;
use std::sync::Arc;

/// The reason when the stream ends in the middle of a request.
const CUT_OFF: &str = "request cut off: the stream ended before the request did";

/// The states of the picture above.
enum State {
    Head(HeadParser),
    Body(Box<Body>),
    /// With the reason of the refusal.
    Skip(String, EndMark),
    Reply(Box<Reply>),
    /// Closed on our side; the peer may still be sending.
    Lingering,
    Closed,
}

/// One connection that speaks the file protocol.
pub struct FileSession {
    store: Arc<Store>,
    request_log: RequestLog,
    state: State,
    pipelined: Pipelined,
    /// The server stops: no request after this one.
    stopping: bool,
}

/// Requests, verb by verb; `http.rs` has the same functions where HTTP has the same step.
impl FileSession {
    pub fn new(store: Arc<Store>, request_log: RequestLog) -> FileSession {
        FileSession {
            store,
            request_log,
            state: State::Head(HeadParser::default()),
            pipelined: Pipelined::default(),
            stopping: false,
        }
    }

    /// The head is complete.
    fn begin(&mut self, head: &HeadParser) -> State {
        let (verb, rest) = head.split();
        let name = || head::name(rest);
        let result = match verb.to_ascii_uppercase().as_slice() {
            b"UPLOAD" => return self.upload(name()),
            b"GET" => name().and_then(|name| self.get(&name)),
            b"LIST" => self.list(),
            b"DELETE" => name().and_then(|name| self.delete(&name)),
            b"STATS" => self.stats(),
            _ => Err(Refusal::Error("request tidak dikenali".to_owned())),
        };
        self.reply(result)
    }

    /// `UPLOAD name base64`, before its payload.
    fn upload(&mut self, name: Result<Vec<u8>, Refusal>) -> State {
        self.request_log
            .request("UPLOAD", name.as_deref().unwrap_or_default());
        match name.and_then(|name| Ok(self.store.create(&name)?)) {
            Ok(upload) => State::Body(Box::new(Body::new(upload))),
            Err(refusal) => self.refuse_upload(refusal, EndMark::default()),
        }
    }

    /// … → `{"status":"OK","data":"a.bin uploaded successfully","data_namafile":"a.bin","size":1048576}`
    fn stored(&mut self, body: Body) -> Result<Reply, Refusal> {
        let (name, size) = body.finish()?;
        Ok(Reply::ok(size, |w| {
            w.pair("data", &format!("{name} uploaded successfully"));
            w.pair("data_namafile", &name);
            w.key("size");
            w.number(size);
        }))
    }

    /// `GET name` → `{"status":"OK","data_namafile":"a.bin","data_file":"<base64>"}`
    fn get(&mut self, name: &[u8]) -> Result<Reply, Refusal> {
        self.request_log.request("GET", name);
        let (file, about) = self.store.read(name)?;
        self.request_log.expects(about.len().div_ceil(3) * 4);
        Ok(Reply::file(file, about.len(), name).map_err(store::Error::from)?)
    }

    /// `LIST` → `{"status":"OK","data":["a.bin","b.bin"]}`
    fn list(&mut self) -> Result<Reply, Refusal> {
        self.request_log.request("LIST", b"");
        Ok(Reply::list(self.store.list(BY_NAME)?).map_err(store::Error::from)?)
    }

    /// `DELETE name` → `{"status":"OK","data":"a.bin deleted successfully","data_namafile":"a.bin"}`
    fn delete(&mut self, name: &[u8]) -> Result<Reply, Refusal> {
        self.request_log.request("DELETE", name);
        self.store.remove(name)?;
        let name = String::from_utf8_lossy(name);
        Ok(Reply::ok(0, |w| {
            w.pair("data", &format!("{name} deleted successfully"));
            w.pair("data_namafile", &name);
        }))
    }
}

/// The steps from state to state.
impl FileSession {
    /// Moves through the states until the bytes are used up or a reply must go out first; returns how many
    /// bytes were used. Each step cuts what it has used from the front of `rest`.
    fn process(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            // A step takes the state by value and gives back the next one. `mem::replace` leaves `Closed` in
            // its place meanwhile, because a field cannot be empty.
            self.state = match mem::replace(&mut self.state, State::Closed) {
                State::Head(parser) => self.read_head(parser, &mut rest),
                State::Body(body) => self.read_body(body, &mut rest),
                State::Skip(reason, mark) => self.skip(reason, mark, &mut rest),
                waiting @ (State::Reply(_) | State::Lingering | State::Closed) => {
                    self.state = waiting;
                    break;
                }
            };
        }
        bytes.len() - rest.len()
    }

    /// Head: gather verb and name.
    fn read_head(&mut self, mut parser: HeadParser, bytes: &mut &[u8]) -> State {
        let parsed = parser.take(bytes);
        if parser.begun() {
            self.request_log.begin();
        }
        match parsed {
            Ok(Progress::More) => State::Head(parser),
            Ok(Progress::Complete) => self.begin(&parser),
            // A malformed UPLOAD.
            Err(refusal @ Refusal::Error(_)) => self.upload(Err(refusal)),
            Err(too_long) => self.reply(Err(too_long)),
        }
    }

    /// Body: decode into the temporary file.
    fn read_body(&mut self, mut body: Box<Body>, bytes: &mut &[u8]) -> State {
        match body.take(bytes) {
            Ok(Progress::More) => State::Body(body),
            Ok(Progress::Complete) => {
                let result = self.stored(*body);
                self.reply(result)
            }
            Err(refusal) => self.refuse_upload(refusal, body.mark),
        }
    }

    /// Skip: read past the payload of a refused UPLOAD, so that the peer gets to read the reply.
    fn skip(&mut self, reason: String, mut mark: EndMark, bytes: &mut &[u8]) -> State {
        match mark.skip(bytes) {
            Progress::More => State::Skip(reason, mark),
            Progress::Complete => self.reply(Err(Refusal::Error(reason))),
        }
    }

    fn refuse_upload(&mut self, refusal: Refusal, mark: EndMark) -> State {
        match refusal {
            Refusal::Error(reason) => State::Skip(reason, mark),
            last => self.reply(Err(last)),
        }
    }

    fn reply(&mut self, result: Result<Reply, Refusal>) -> State {
        let reply = match result {
            Ok(reply) => reply,
            Err(Refusal::Error(reason)) => Reply::error(reason, false),
            Err(Refusal::Last(reason)) => Reply::error(reason, true),
            Err(Refusal::NoReply(reason)) => {
                self.request_log.end(0, &reason);
                return State::Lingering;
            }
        };
        State::Reply(Box::new(reply))
    }

    /// Closes the connection after a reply with this reason.
    fn close(&mut self, reason: &str) -> State {
        self.reply(Err(Refusal::Last(reason.to_owned())))
    }

    /// A reply has been sent: what comes next?
    fn replied(&mut self, reply: &Reply) {
        self.request_log.end(reply.bytes, &reply.failure);
        let waits = self
            .pipelined
            .unused()
            .iter()
            .any(|byte| !b" \t\r\n".contains(byte));
        self.state = match self.stopping {
            _ if reply.close => State::Lingering,
            true if waits => self.close("server stopping"),
            true => State::Lingering,
            false => State::Head(HeadParser::default()),
        };
        let mut pipelined = mem::take(&mut self.pipelined);
        let used = self.process(pipelined.unused());
        pipelined.advance(used);
        self.pipelined = pipelined;
    }
}

impl Session for FileSession {
    fn want(&self) -> Want {
        match &self.state {
            State::Head(parser) if parser.begun() => Want::Head,
            State::Head(_) => Want::Request,
            State::Body(_) | State::Skip(..) => Want::Body,
            State::Reply(_) => Want::Write,
            State::Lingering => Want::Linger,
            State::Closed => Want::Close,
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let used = self.process(bytes);
            self.pipelined = Pipelined::keep(&bytes[used..]);
            return;
        }
        // The peer broke off a request. If it has only closed its sending side, it can still read a reply.
        self.state = match mem::replace(&mut self.state, State::Closed) {
            State::Skip(reason, _) => self.close(&reason),
            State::Head(parser) if parser.begun() => self.close(CUT_OFF),
            State::Body(_) => self.close(CUT_OFF),
            _ => State::Closed,
        };
    }

    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::Bytes(match &self.state {
            State::Reply(reply) => reply.outgoing(),
            _ => &[],
        })
    }

    fn sent(&mut self, count: usize) {
        let State::Reply(mut reply) = mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        match reply.advance(count) {
            Ok(Progress::More) => self.state = State::Reply(reply),
            Ok(Progress::Complete) => self.replied(&reply),
            // OK has been sent already. Without the end mark no client takes this part for the whole.
            Err(error) => {
                self.request_log.end(0, &format!("storage error: {error}"));
                self.state = State::Lingering;
            }
        }
    }

    fn notice(&mut self, notice: Event) {
        match notice {
            Event::Stopping if self.want() != Want::Request => self.stopping = true,
            // This protocol cannot tell a peer to connect again, and most peers send one request.
            Event::OthersWait | Event::Silence => {}
            Event::Refused(reason) => self.state = self.close(reason),
            Event::Stopping | Event::Timeout => {
                let reason = self.want().overdue();
                self.state = reason.map_or(State::Closed, |reason| self.close(reason));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Folder, PIECE, PIECE_TEXT, outgoing, play};
    use crate::stats::{Field, Scoreboard};
    use crate::store::Policy;

    const FILES: [&str; 3] = ["a.bin", "b \"c\" \u{e9}", "empty"];

    /// A folder and its session.
    struct Fixture {
        folder: Folder,
        store: Arc<Store>,
        scoreboard: Scoreboard,
    }

    impl Fixture {
        fn new() -> Fixture {
            let folder = Folder::new();
            let policy = Policy {
                read_only: None,
                max_upload: 300_000,
                sync: false,
            };
            let store = Arc::new(Store::open(folder.path(), policy).unwrap());
            let fixture = Fixture {
                folder,
                store,
                scoreboard: Scoreboard::new("single", 1).unwrap(),
            };
            fixture.restore();
            fixture
        }

        /// Makes the folder what it was at first.
        fn restore(&self) {
            for name in self.folder.names() {
                std::fs::remove_file(self.folder.path().join(name)).unwrap();
            }
            for (name, content) in FILES.iter().zip([&b"kolam"[..], b"x", b""]) {
                self.folder.write(name, content);
            }
        }

        fn session(&self) -> FileSession {
            FileSession::new(
                self.store.clone(),
                RequestLog::new(self.scoreboard.worker(0), None),
            )
        }

        /// Lets `input` run through a session and returns its replies.
        fn ask(&self, input: &[u8], give: usize, take: usize) -> String {
            String::from_utf8(play(&mut self.session(), input, give, take)).unwrap()
        }

        fn count(&self, field: Field) -> u64 {
            self.scoreboard.total(field)
        }
    }

    /// Every verb and every error, with its reply; run in this order in a fresh folder.
    const TRANSCRIPT: [(&str, &str); 39] = [
        ("LIST\r\n\r\n", r#"OK","data":["a.bin","b \"c\" é","empty"]}"#),
        ("list whatever\n", r#"OK","data":["a.bin","b \"c\" é","empty"]}"#),
        (
            "GET a.bin\r\n\r\n",
            r#"OK","data_namafile":"a.bin","data_file":"a29sYW0="}"#,
        ),
        (
            "get \t a.bin \t\n",
            r#"OK","data_namafile":"a.bin","data_file":"a29sYW0="}"#,
        ),
        ("GET empty\n", r#"OK","data_namafile":"empty","data_file":""}"#),
        (
            "GET b \"c\" é\n",
            r#"OK","data_namafile":"b \"c\" é","data_file":"eA=="}"#,
        ),
        (
            "GET \"b \\\"c\\\" é\"\n",
            r#"OK","data_namafile":"b \"c\" é","data_file":"eA=="}"#,
        ),
        ("GET\n", r#"ERROR","data":"missing file name"}"#),
        ("GET  \r\n", r#"ERROR","data":"missing file name"}"#),
        ("GET nothing\n", r#"ERROR","data":"file not found"}"#),
        (
            "GET ../a.bin\n",
            r#"ERROR","data":"invalid file name: begins with a dot"}"#,
        ),
        (
            "GET x/a.bin\n",
            r#"ERROR","data":"invalid file name: contains a slash or backslash"}"#,
        ),
        (
            "GET \"a.bin\n",
            r#"ERROR","data":"invalid file name: its quotes do not match"}"#,
        ),
        (
            "GET a\rb\n",
            r#"ERROR","data":"invalid file name: contains a control character"}"#,
        ),
        ("DELETE\n", r#"ERROR","data":"missing file name"}"#),
        ("DELETE nothing\n", r#"ERROR","data":"file not found"}"#),
        (
            "DELETE .\n",
            r#"ERROR","data":"invalid file name: begins with a dot"}"#,
        ),
        ("GETS a.bin\n", r#"ERROR","data":"request tidak dikenali"}"#),
        ("\"LIST\"\n", r#"ERROR","data":"request tidak dikenali"}"#),
        (
            "UPLOAD n a29sYW0=\r\n\r\n",
            r#"OK","data":"n uploaded successfully","data_namafile":"n","size":5}"#,
        ),
        ("GET n\n", r#"OK","data_namafile":"n","data_file":"a29sYW0="}"#),
        (
            "UPLOAD n a29s\r\nYW0\r\n\r\n",
            r#"OK","data":"n uploaded successfully","data_namafile":"n","size":5}"#,
        ),
        (
            "upload \"n\"\t a 2\t9s\n\nY\rW0= \r\n\r\n",
            r#"OK","data":"n uploaded successfully","data_namafile":"n","size":5}"#,
        ),
        (
            "UPLOAD n \r\n\r\n",
            r#"OK","data":"n uploaded successfully","data_namafile":"n","size":0}"#,
        ),
        ("GET n\n", r#"OK","data_namafile":"n","data_file":""}"#),
        ("UPLOAD\r\n\r\n", r#"ERROR","data":"missing file name"}"#),
        ("UPLOAD n\r\n\r\n", r#"ERROR","data":"missing file content"}"#),
        (
            "UPLOAD n\r\nignored\n\r\r\n\r\n",
            r#"ERROR","data":"missing file content"}"#,
        ),
        (
            "UPLOAD .n AAAA\r\n\r\n",
            r#"ERROR","data":"invalid file name: begins with a dot"}"#,
        ),
        (
            "UPLOAD n AAA*AAAA\r\n\r\n",
            r#"ERROR","data":"invalid base64 at byte 3: not a base64 symbol"}"#,
        ),
        (
            "UPLOAD n A A\r\n*A\r\n\r\n",
            r#"ERROR","data":"invalid base64 at byte 5: not a base64 symbol"}"#,
        ),
        (
            "UPLOAD n AAAA=\r\n\r\n",
            r#"ERROR","data":"invalid base64 at byte 4: wrong padding"}"#,
        ),
        (
            "UPLOAD n AAAAA\r\n\r\n",
            r#"ERROR","data":"invalid base64 at byte 4: last group has one symbol"}"#,
        ),
        (
            "UPLOAD n AB\r\n\r\n",
            r#"ERROR","data":"invalid base64 at byte 1: unused bits are not zero"}"#,
        ),
        (
            "UPLOAD n AA==\r\nAA\r\n\r\n",
            r#"ERROR","data":"invalid base64 at byte 6: not a base64 symbol"}"#,
        ),
        ("GET n\n", r#"OK","data_namafile":"n","data_file":""}"#),
        (
            "DELETE n\n",
            r#"OK","data":"n deleted successfully","data_namafile":"n"}"#,
        ),
        ("DELETE n\n", r#"ERROR","data":"file not found"}"#),
        ("LIST\n", r#"OK","data":["a.bin","b \"c\" é","empty"]}"#),
    ];

    fn reply(tail: &str) -> String {
        format!("{{\"status\":\"{tail}\r\n\r\n")
    }

    #[test]
    fn each_request_has_its_reply_whole_and_byte_by_byte() {
        for (give, take) in [(4096, 4096), (1, 4096), (4096, 1), (1, 1), (3, 7)] {
            let fixture = Fixture::new();
            for (request, tail) in TRANSCRIPT {
                assert_eq!(
                    fixture.ask(request.as_bytes(), give, take),
                    reply(tail),
                    "{request:?}"
                );
            }
            assert_eq!(fixture.folder.names(), ["a.bin", "b \"c\" \u{e9}", "empty"]);
            let fine = TRANSCRIPT
                .iter()
                .filter(|(_, tail)| tail.starts_with("OK"))
                .count() as u64;
            let failed = TRANSCRIPT.len() as u64 - fine;
            assert_eq!(
                (fixture.count(Field::Served), fixture.count(Field::Failed)),
                (fine, failed)
            );
            assert_eq!(fixture.count(Field::Busy), 0);
        }
    }

    #[test]
    fn all_requests_at_once_have_their_replies_in_order() {
        let requests: String = TRANSCRIPT.iter().map(|(request, _)| *request).collect();
        let replies: String = TRANSCRIPT.iter().map(|(_, tail)| reply(tail)).collect();
        for (give, take) in [(usize::MAX, 4096), (1, 1), (5, 3), (100, 1), (7, 4096)] {
            assert_eq!(
                Fixture::new().ask(requests.as_bytes(), give, take),
                replies,
                "{give} {take}"
            );
        }
    }

    #[test]
    fn a_large_file_crosses_in_pieces_both_ways() {
        let fixture = Fixture::new();
        for size in [PIECE - 1, PIECE, PIECE + 1, 299_999, 300_000] {
            let content: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            fixture.folder.write("big", &content);
            let text = fixture.ask(b"GET big\n", 100, 1000);
            let start = text.find("data_file\":\"").unwrap() + 12;
            let base64 = text[start..].strip_suffix("\"}\r\n\r\n").unwrap();
            for give in [4096, 1000] {
                let upload = format!("UPLOAD copy {base64}\r\n\r\n");
                let answer = fixture.ask(upload.as_bytes(), give, 9);
                assert!(
                    answer.ends_with(&format!("\"size\":{size}}}\r\n\r\n")),
                    "{answer}"
                );
                assert_eq!(
                    std::fs::read(fixture.folder.path().join("copy")).unwrap(),
                    content
                );
            }
        }
    }

    #[test]
    fn the_largest_read_fits_the_buffer_of_an_upload() {
        let fixture = Fixture::new();
        for carried in 0..4 {
            let mut session = fixture.session();
            session.received(format!("UPLOAD n {}", "A".repeat(carried)).as_bytes());
            session.received("A".repeat(PIECE_TEXT).as_bytes());
            session.received(format!("{}\r\n\r\n", "A".repeat((4 - carried) % 4)).as_bytes());
            let size = PIECE + if carried > 0 { 3 } else { 0 };
            let answer = String::from_utf8(outgoing(&session)).unwrap();
            assert!(answer.contains(&format!("\"size\":{size}}}")), "{answer}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_the_connection_closed() {
        let fixture = Fixture::new();
        for (symbols, fits) in [(400_000, true), (400_004, false)] {
            let upload = format!("UPLOAD a.bin {}\r\n\r\nLIST\n", "A".repeat(symbols));
            let answer = fixture.ask(upload.as_bytes(), 5000, 100);
            let error = reply("ERROR\",\"data\":\"file too large: more than --max-upload 300000 bytes\"}");
            assert_eq!(answer == error, !fits, "{answer}");
            assert_eq!(
                answer.contains("\"data\":["),
                fits,
                "only what fits is followed by another request"
            );
        }
        let long = format!("GET {}\nLIST\n", "x".repeat(9000));
        assert_eq!(
            fixture.ask(long.as_bytes(), 100, 100),
            reply("ERROR\",\"data\":\"request too long\"}")
        );
    }

    #[test]
    fn an_upload_that_breaks_off_leaves_the_old_file() {
        let fixture = Fixture::new();
        for (input, reason) in [
            ("UPLOAD a.bin AAAA", CUT_OFF),
            ("UPLOAD a.bin AAAA\r\n\r", CUT_OFF),
            ("UPLOAD a.b", CUT_OFF),
            ("UPLOAD a.bin *", "invalid base64 at byte 0: not a base64 symbol"),
        ] {
            let answer = fixture.ask(input.as_bytes(), 3, 3);
            assert_eq!(
                answer,
                reply(&format!("ERROR\",\"data\":\"{reason}\"}}")),
                "{input}"
            );
        }
        assert_eq!(
            std::fs::read(fixture.folder.path().join("a.bin")).unwrap(),
            b"kolam"
        );
        assert_eq!(fixture.folder.names().len(), 3);
        assert_eq!(
            (fixture.count(Field::Served), fixture.count(Field::Failed)),
            (0, 4)
        );
    }

    #[test]
    fn notices_are_understood_in_every_state() {
        let fixture = Fixture::new();
        let table = [
            ("", Event::Timeout, ""),
            ("", Event::Stopping, ""),
            ("", Event::Refused("server busy"), "server busy"),
            (
                "LIS",
                Event::Timeout,
                "timeout: the head of the request took longer than --head-timeout",
            ),
            (
                "UPLOAD a.bin AAAA",
                Event::Timeout,
                "timeout: nothing arrived for as long as --idle-timeout",
            ),
            (
                "UPLOAD a.bin *",
                Event::Timeout,
                "timeout: nothing arrived for as long as --idle-timeout",
            ),
            ("GET a.bin\n", Event::Timeout, ""),
        ];
        for (input, notice, reason) in table {
            let mut session = fixture.session();
            if !input.is_empty() {
                session.received(input.as_bytes());
            }
            session.notice(notice);
            let outgoing = String::from_utf8(outgoing(&session)).unwrap();
            let expected = if reason.is_empty() {
                String::new()
            } else {
                reply(&format!("ERROR\",\"data\":\"{reason}\"}}"))
            };
            assert_eq!(outgoing, expected, "{input:?} {notice:?}");
            session.sent(outgoing.len());
            // Without a reply there is nothing that a reset could destroy.
            let end = if reason.is_empty() {
                Want::Close
            } else {
                Want::Linger
            };
            assert_eq!(session.want(), end, "{input:?} {notice:?}");
        }
    }

    #[test]
    fn a_request_in_hand_is_finished_before_the_server_stops() {
        let fixture = Fixture::new();
        let mut session = fixture.session();
        session.received(b"GET a.bin\r\n\r\n");
        session.notice(Event::Stopping);
        session.sent(outgoing(&session).len());
        assert_eq!(
            session.want(),
            Want::Linger,
            "the second CR LF is no other request"
        );
        let mut session = fixture.session();
        session.received(b"UPLOAD new AAA");
        session.notice(Event::Stopping);
        assert_eq!(session.want(), Want::Body);
        session.received(b"A\r\n\r\nLIST\n");
        let answer = String::from_utf8(outgoing(&session)).unwrap();
        assert!(answer.contains("new uploaded successfully"), "{answer}");
        session.sent(answer.len());
        assert_eq!(
            outgoing(&session),
            reply("ERROR\",\"data\":\"server stopping\"}").as_bytes()
        );
        session.sent(outgoing(&session).len());
        assert_eq!(session.want(), Want::Linger);
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_sent_ends_without_the_end_mark() {
        let fixture = Fixture::new();
        fixture.folder.write("big", &vec![1; 3 * PIECE]);
        let mut session = fixture.session();
        session.received(b"GET big\n");
        fixture.folder.write("big", b"short");
        let mut text = Vec::new();
        while session.want() == Want::Write {
            text.extend(outgoing(&session));
            session.sent(outgoing(&session).len());
        }
        assert_eq!(session.want(), Want::Linger);
        assert!(text.len() > PIECE / 2 && !text.ends_with(END));
        assert_eq!(fixture.count(Field::Failed), 1);
    }

    #[test]
    fn stats_count_what_was_done() {
        let fixture = Fixture::new();
        fixture.ask(b"LIST\nGET nothing\n", 99, 99);
        let answer = fixture.ask(b"STATS\n", 99, 99);
        let counts = "OK\",\"data\":{\"mode\":\"single\",\"workers\":1,\"alive\":0,\"restarts\":0,\
                      \"connections\":0,\"requests\":2,\"failed\":1,\"bytes_in\":0,\"bytes_out\":0,\
                      \"per_worker\":[{\"served\":1,\"failed\":1}],\"pid\":";
        let counts = reply(counts);
        assert!(answer.starts_with(counts.trim_end()), "{answer}");
        let now = "\"now\":[{\"pid\":0,\"state\":\"gone\",\"connections\":0,\"requests\":0}]}}\r\n\r\n";
        assert!(answer.ends_with(now), "{answer}");
    }

    #[test]
    fn fuzz_file() {
        let fixture = Fixture::new();
        // STATS counts the tries.
        let requests = TRANSCRIPT.iter().map(|row| row.0.as_bytes());
        let corpus: Vec<&[u8]> = requests
            .filter(|request| !request.starts_with(b"STATS"))
            .collect();
        crate::session::fuzz("file", &corpus, |input, random| {
            let ask = |give: usize, take: usize| {
                let replies = fixture.ask(input, give, take);
                let framed = replies.split_terminator("\r\n\r\n");
                framed.for_each(|reply| assert!(reply.starts_with("{\"status\":\"") && reply.ends_with('}')));
                if replies.contains(" successfully\"") {
                    fixture.restore();
                }
                replies
            };
            let whole = ask(4096, 4096);
            assert_eq!(ask(1, 1), whole);
            assert_eq!(ask(1 + random.below(40), 1 + random.below(40)), whole);
            assert!(random.below(50) > 0 || fixture.folder.names() == FILES);
            // Heads and base64, of which all this is made, have twins of their own.
            false
        });
    }
}
