//! How is a protocol guarded that knows nothing of it? By a session in front of it: the gate answers AUTH and
//! refuses everything else, until a token is right. From then on all bytes go to the session behind it, also
//! those that came together with AUTH. A wrong token is the last request of a connection.

use super::{Token, WRONG};
use crate::protocol::{EndMark, HeadParser, Progress, Refusal, Reply};
use crate::session::{Event, Outgoing, Pipelined, Session, Want};
use crate::stats::RequestLog;
use std::mem;
use std::sync::Arc;

/// Why a request is refused at the gate.
const REQUIRED: &str = "authentication required: send AUTH <token> first (kolam: --token-file FILE)";

/// Refused requests after which the connection is closed: this peer does not know that there is a gate.
const TRIES: u32 = 3;

/// ```text
///   ──► Head ──AUTH, right──────────────► Reply ──► Open: the session behind the gate
///        │ ▲  └─AUTH, wrong─► Reply, late ──► Lingering
///        │ └─────────────────── Reply ◄──┐
///        └─any other verb; UPLOAD─► Skip ┘
/// ```
enum State {
    Head(HeadParser),
    /// The payload of an UPLOAD, which is dropped.
    Skip(EndMark),
    /// `opens`: the token was right.
    Reply {
        reply: Box<Reply>,
        opens: bool,
    },
    Open,
    Lingering,
    Closed,
}

/// The session of a connection that has yet to show a token.
pub struct Gate {
    token: Arc<Token>,
    log: RequestLog,
    state: State,
    pipelined: Pipelined,
    /// Requests refused so far.
    refused: u32,
    /// The server stops.
    stopping: bool,
    behind: Box<dyn Session>,
}

impl Gate {
    /// `log` is that of the same connection as the log of the session `behind`.
    pub fn new(token: Arc<Token>, log: RequestLog, behind: Box<dyn Session>) -> Gate {
        Gate {
            token,
            log,
            state: State::Head(HeadParser::default()),
            pipelined: Pipelined::default(),
            refused: 0,
            stopping: false,
            behind,
        }
    }

    /// Uses bytes until a reply must go out; returns how many were used.
    fn process(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.state = match mem::replace(&mut self.state, State::Closed) {
                State::Head(parser) => self.read_head(parser, &mut rest),
                State::Skip(mut mark) => match mark.skip(&mut rest) {
                    Progress::More => State::Skip(mark),
                    Progress::Complete => self.refuse(),
                },
                State::Open => {
                    self.state = State::Open;
                    self.behind.received(rest);
                    return bytes.len();
                }
                waiting => {
                    self.state = waiting;
                    break;
                }
            };
        }
        bytes.len() - rest.len()
    }

    fn read_head(&mut self, mut parser: HeadParser, bytes: &mut &[u8]) -> State {
        let parsed = parser.take(bytes);
        if parser.begun() {
            self.log.begin();
        }
        let (verb, rest) = parser.split();
        match parsed {
            Ok(Progress::More) => State::Head(parser),
            Ok(Progress::Complete) if verb.eq_ignore_ascii_case(b"AUTH") => self.auth(rest.trim_ascii()),
            Ok(Progress::Complete) if !verb.eq_ignore_ascii_case(b"UPLOAD") => self.refuse(),
            Ok(_) | Err(Refusal::Error(_)) => State::Skip(EndMark::default()),
            Err(_) => self.error("request too long", true),
        }
    }

    /// `AUTH token` → `{"status":"OK","data":"welcome"}`; the log has a dash in the place of the token
    fn auth(&mut self, offered: &[u8]) -> State {
        self.log.request("AUTH", b"-");
        if !self.token.matches(offered) {
            self.log.token_refused();
            return self.error(WRONG, true);
        }
        State::Reply {
            reply: Box::new(Reply::ok(0, |w| w.pair("data", "welcome"))),
            opens: true,
        }
    }

    fn refuse(&mut self) -> State {
        self.refused += 1;
        self.error(REQUIRED, self.refused >= TRIES)
    }

    fn error(&self, reason: &str, close: bool) -> State {
        State::Reply {
            reply: Box::new(Reply::error(reason.to_owned(), close)),
            opens: false,
        }
    }

    /// A reply has been sent: what comes next?
    fn replied(&mut self, reply: &Reply, opens: bool) {
        self.log.end(reply.bytes, &reply.failure);
        self.state = match opens {
            _ if reply.close => State::Lingering,
            true => State::Open,
            false if self.stopping => State::Lingering,
            false => State::Head(HeadParser::default()),
        };
        let mut pipelined = mem::take(&mut self.pipelined);
        let used = self.process(pipelined.unused());
        pipelined.advance(used);
        self.pipelined = pipelined;
        if self.stopping && opens {
            self.behind.notice(Event::Stopping);
        }
    }
}

impl Session for Gate {
    fn want(&self) -> Want {
        match &self.state {
            State::Open => self.behind.want(),
            State::Head(parser) if parser.begun() => Want::Head,
            State::Head(_) => Want::Request,
            State::Skip(_) => Want::Body,
            State::Reply { .. } => Want::Write,
            State::Lingering => Want::Linger,
            State::Closed => Want::Close,
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        match &self.state {
            State::Open => self.behind.received(bytes),
            // The peer broke off a request. If it has only closed its sending side, it can still read.
            State::Skip(_) if bytes.is_empty() => self.state = self.error(REQUIRED, true),
            _ if bytes.is_empty() => self.state = State::Closed,
            _ => {
                let used = self.process(bytes);
                self.pipelined = Pipelined::keep(&bytes[used..]);
            }
        }
    }

    fn outgoing(&self) -> Outgoing<'_> {
        match &self.state {
            State::Open => self.behind.outgoing(),
            State::Reply { reply, .. } => Outgoing::Bytes(reply.outgoing()),
            _ => Outgoing::Bytes(&[]),
        }
    }

    fn sent(&mut self, count: usize) {
        match mem::replace(&mut self.state, State::Closed) {
            State::Open => {
                self.state = State::Open;
                self.behind.sent(count);
            }
            State::Reply { mut reply, opens } => match reply.advance(count) {
                Ok(Progress::More) => self.state = State::Reply { reply, opens },
                _ => self.replied(&reply, opens),
            },
            other => self.state = other,
        }
    }

    fn notice(&mut self, notice: Event) {
        let want = self.want();
        match (&self.state, notice) {
            (State::Open, notice) => self.behind.notice(notice),
            (State::Reply { .. }, Event::Stopping) => self.stopping = true,
            (_, Event::OthersWait | Event::Silence) => {}
            (_, Event::Refused(reason)) => self.state = self.error(reason, true),
            (_, Event::Stopping) if want != Want::Request => self.state = self.error("server stopping", true),
            (_, Event::Stopping | Event::Timeout) => {
                let reason = want.overdue();
                self.state = reason.map_or(State::Closed, |reason| self.error(reason, true));
            }
        }
    }

    fn largest_read(&self) -> usize {
        self.behind.largest_read()
    }

    /// No other reply of the gate has this reason.
    fn is_late(&self) -> bool {
        matches!(&self.state, State::Reply { reply, .. } if reply.failure == WRONG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FileSession;
    use crate::session::{Folder, outgoing, play};
    use crate::stats::{Field, Scoreboard};
    use crate::store::{Policy, Store};

    const TOKEN: &str = "sixteen-letters!";

    struct Fixture {
        folder: Folder,
        store: Arc<Store>,
        scoreboard: Scoreboard,
    }

    impl Fixture {
        fn new() -> Fixture {
            let folder = Folder::new();
            folder.write("a", b"kolam");
            let policy = Policy {
                read_only: None,
                max_upload: 1000,
                sync: false,
            };
            Fixture {
                store: Arc::new(Store::open(folder.path(), policy).unwrap()),
                folder,
                scoreboard: Scoreboard::new("single", 1).unwrap(),
            }
        }

        fn gate(&self) -> Gate {
            let log = RequestLog::new(self.scoreboard.worker(0), None);
            let another = log.another();
            let behind = Box::new(FileSession::new(self.store.clone(), another));
            Gate::new(Arc::new(Token::of(TOKEN.as_bytes()).unwrap()), log, behind)
        }
    }

    fn error(reason: &str) -> String {
        format!("{{\"status\":\"ERROR\",\"data\":\"{reason}\"}}\r\n\r\n")
    }

    const WELCOME: &str = "{\"status\":\"OK\",\"data\":\"welcome\"}\r\n\r\n";
    const LIST: &str = "{\"status\":\"OK\",\"data\":[\"a\"]}\r\n\r\n";

    #[test]
    fn what_stands_behind_a_gate_answers_after_the_right_token_alone() {
        let required = error(REQUIRED);
        let [auth, twice] = [
            format!("AUTH {TOKEN}\r\n\r\n"),
            format!("auth \t{TOKEN} \nLIST\n"),
        ];
        for (input, expected) in [
            (format!("{auth}LIST\r\n\r\n"), format!("{WELCOME}{LIST}")),
            (twice, format!("{WELCOME}{LIST}")),
            (
                format!("LIST\n{auth}LIST\n"),
                format!("{required}{WELCOME}{LIST}"),
            ),
            ("LIST\nGET a\nDELETE a\nLIST\n".to_owned(), required.repeat(3)),
            (
                format!("UPLOAD a QUFB\r\n\r\n{auth}LIST\n"),
                format!("{required}{WELCOME}{LIST}"),
            ),
            (format!("UPLOAD\r\n\r\n{auth}"), format!("{required}{WELCOME}")),
            ("UPLOAD a QUFB".to_owned(), required.clone()),
            (format!("GET {}\n", "x".repeat(9000)), error("request too long")),
            (auth, WELCOME.to_owned()),
        ] {
            for (give, take) in [(usize::MAX, 4096), (1, 1), (5, 3), (4096, 1)] {
                let fixture = Fixture::new();
                let told = play(&mut fixture.gate(), input.as_bytes(), give, take);
                assert_eq!(
                    String::from_utf8(told).unwrap(),
                    expected,
                    "{input:?} {give} {take}"
                );
                assert_eq!(fixture.scoreboard.total(Field::Busy), 0);
                assert_eq!(fixture.scoreboard.total(Field::Refused), 0);
                assert_eq!(fixture.folder.names(), ["a"]);
            }
        }
    }

    #[test]
    fn a_wrong_token_is_the_last_request_and_its_answer_is_late() {
        for guess in ["AUTH\n", "AUTH x\r\n", "AUTH sixteen-letters?\nLIST\n"] {
            let fixture = Fixture::new();
            let mut gate = fixture.gate();
            gate.received(guess.as_bytes());
            assert!(gate.is_late() && gate.want() == Want::Write, "{guess:?}");
            assert_eq!(outgoing(&gate), error(WRONG).as_bytes());
            gate.sent(outgoing(&gate).len());
            assert_eq!(gate.want(), Want::Linger);
            let counts = [Field::Refused, Field::Failed, Field::Busy];
            assert_eq!(counts.map(|field| fixture.scoreboard.total(field)), [1, 1, 0]);
        }
    }

    #[test]
    fn a_gate_understands_notices_as_what_stands_behind_it() {
        let fixture = Fixture::new();
        for (input, notice, told) in [
            ("", Event::Timeout, None),
            ("", Event::Stopping, None),
            ("", Event::Refused("server busy"), Some("server busy")),
            (
                "AUT",
                Event::Timeout,
                Some("timeout: the head of the request took longer than --head-timeout"),
            ),
            ("AUT", Event::Stopping, Some("server stopping")),
            ("UPLOAD a QU", Event::Stopping, Some("server stopping")),
        ] {
            let mut gate = fixture.gate();
            if !input.is_empty() {
                gate.received(input.as_bytes());
            }
            gate.notice(notice);
            let expected = told.map_or(String::new(), error);
            assert_eq!(outgoing(&gate), expected.as_bytes(), "{input} {notice:?}");
            gate.sent(expected.len());
            let end = if told.is_some() { Want::Linger } else { Want::Close };
            assert_eq!(gate.want(), end, "{input} {notice:?}");
        }
        // The server stops while the answer to AUTH is on its way, and a request is here already.
        let mut gate = fixture.gate();
        gate.received(format!("AUTH {TOKEN}\nLIST\n").as_bytes());
        gate.notice(Event::Stopping);
        gate.sent(WELCOME.len());
        assert_eq!(outgoing(&gate), LIST.as_bytes());
        gate.sent(LIST.len());
        assert_eq!(gate.want(), Want::Linger);
    }
}
