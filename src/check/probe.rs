//! How does one talk to a server that may do anything? With plain blocking sockets, a time limit on every
//! step, and a record of what crossed the wire, so that a finding can show it.

use crate::json::{Reader, Value};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What ends a request and a reply.
pub const END: &[u8] = b"\r\n\r\n";

/// The request that changes nothing, and that every server knows.
pub const LIST: &[u8] = b"LIST\r\n\r\n";

/// Bytes of each side that a finding shows.
const SHOWN: usize = 60;

/// Bytes of a reply that are held: the text of a file of 100 MiB, and room for its frame.
const REPLY_LIMIT: usize = 140 << 20;

/// A reply that trickles is waited for no longer than this many time limits of one step.
const PATIENCE: u32 = 10;

/// What crossed the wire since the latest connection was opened: the first bytes of each direction.
#[derive(Default)]
pub struct Transcript {
    pub sent: Vec<u8>,
    pub received: Vec<u8>,
    /// How it ended, in words: `then nothing for 2 s`.
    pub end: String,
}

impl Transcript {
    /// Appends what still has room; a byte more than is shown tells that there was more.
    fn note(side: &mut Vec<u8>, bytes: &[u8]) {
        let room = (SHOWN + 1).saturating_sub(side.len());
        side.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Bytes as a finding shows them: escaped as in Rust and C, cut at `SHOWN`.
pub fn shown(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { " …" } else { "" };
    format!("{}{more}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

/// One connection.
pub struct Probe {
    stream: TcpStream,
    /// Received, and not part of a reply yet.
    rest: Vec<u8>,
}

/// Opens connections, sends, receives, and writes down what it saw.
pub struct Wire {
    pub address: SocketAddr,
    /// How long one step may take: to connect, to send, to wait for the next bytes.
    pub timeout: Duration,
    pub transcript: Transcript,
}

impl Wire {
    pub fn new(address: SocketAddr, timeout: Duration) -> Wire {
        Wire {
            address,
            timeout,
            transcript: Transcript::default(),
        }
    }

    /// A new connection; `None` and a word in the transcript when there is none.
    pub fn open(&mut self) -> Option<Probe> {
        self.transcript = Transcript::default();
        let stream = TcpStream::connect_timeout(&self.address, self.timeout);
        match stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => Some(Probe {
                stream,
                rest: Vec::new(),
            }),
            Err(error) => {
                self.transcript.end = format!("no connection: {error}");
                None
            }
        }
    }

    /// Sends all of it as one piece; false when the server takes no more.
    pub fn send(&mut self, probe: &mut Probe, bytes: &[u8]) -> bool {
        Transcript::note(&mut self.transcript.sent, bytes);
        let ready = probe.stream.set_write_timeout(Some(self.timeout));
        ready.and_then(|()| probe.stream.write_all(bytes)).is_ok()
    }

    /// Waits for more bytes, at most `limit`. `None`: there came none, and the transcript says why.
    pub fn more(&mut self, probe: &mut Probe, limit: Duration) -> Option<usize> {
        let mut buffer = [0; 65536];
        let limit = limit.max(Duration::from_millis(1));
        let got = probe
            .stream
            .set_read_timeout(Some(limit))
            .and_then(|()| probe.stream.read(&mut buffer));
        self.transcript.end = match got {
            Ok(0) => "then the connection was closed".to_owned(),
            Ok(count) => {
                probe.rest.extend_from_slice(&buffer[..count]);
                Transcript::note(&mut self.transcript.received, &buffer[..count]);
                self.transcript.end.clear();
                return Some(count);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                format!("then nothing for {limit:.1?}")
            }
            Err(error) => format!("then {error}"),
        };
        None
    }

    /// The next reply without its end mark.
    pub fn frame(&mut self, probe: &mut Probe) -> Option<Vec<u8>> {
        let deadline = Instant::now() + self.timeout * PATIENCE;
        let mut searched = 0;
        loop {
            // What was searched is not searched again, but for an end mark that was cut in two.
            if let Some(at) = find(&probe.rest[searched..], END) {
                let mut frame: Vec<u8> = probe.rest.drain(..searched + at + END.len()).collect();
                frame.truncate(searched + at);
                return Some(frame);
            }
            searched = probe.rest.len().saturating_sub(END.len() - 1);
            if searched > REPLY_LIMIT || Instant::now() > deadline {
                self.transcript.end = "and no end of the reply".to_owned();
                return None;
            }
            self.more(probe, self.timeout)?;
        }
    }

    /// The next reply, if it is one JSON object.
    pub fn reply(&mut self, probe: &mut Probe) -> Option<Value> {
        let frame = self.frame(probe)?;
        let mut budget = usize::MAX;
        let mut reader = Reader::new(frame.as_slice(), 65536);
        let object = reader.value(&mut budget).ok();
        let whole = reader.available().is_err();
        object.filter(|value| whole && matches!(value, Value::Object(_)))
    }

    /// One request and its reply on this connection.
    pub fn ask(&mut self, probe: &mut Probe, request: &[u8]) -> Option<Value> {
        // A server may refuse before it has read all, and its reply counts.
        self.send(probe, request);
        self.reply(probe)
    }

    /// One request and its reply on a connection of its own.
    pub fn once(&mut self, request: &[u8]) -> Option<Value> {
        let mut probe = self.open()?;
        self.ask(&mut probe, request)
    }
}

/// Where `what` begins in `bytes`.
fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The text of `status`, if there is one.
fn status(reply: Option<&Value>) -> Option<&str> {
    reply?.get("status")?.as_str()
}

pub fn is_ok(reply: Option<&Value>) -> bool {
    status(reply) == Some("OK")
}

/// An error with any reason, as long as it has one.
pub fn is_error(reply: Option<&Value>) -> bool {
    status(reply) == Some("ERROR") && reply.and_then(|reply| reply.get("data")?.as_str()).is_some()
}

impl Probe {
    /// All that was received belonged to replies.
    pub fn is_drained(&self) -> bool {
        self.rest.is_empty()
    }
}
