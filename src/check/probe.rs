//! How does one talk to a server that may do anything? With plain blocking sockets, a limit on every wait,
//! and a record of what crossed the wire, so that a finding can show it. The limits follow the server: its
//! usual time for a reply is measured all the while, so that a busy machine is not taken for a server that
//! says nothing.

use crate::access::introduce;
use crate::check::Why;
use crate::json::{Reader, Value};
use crate::sys;
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What ends a request and a reply.
pub const END: &[u8] = b"\r\n\r\n";

/// The request that changes nothing, and that every server knows.
pub const LIST: &[u8] = b"LIST\r\n\r\n";

/// Bytes of each side that a finding shows.
const SHOWN: usize = 60;

/// Bytes of a reply that are held: the text of a file of 100 MiB, and room for its frame.
const REPLY_LIMIT: usize = 140 << 20;

/// A reply that trickles is waited for no longer than this many limits of one step.
const PATIENCE: u32 = 10;

/// An impatient try waits this long at least for a server that has been quick until now.
const QUICK: Duration = Duration::from_millis(300);

/// Silence of this many usual reply times is no delay any more.
const SILENCE: u32 = 20;

/// Bytes from which on a request is large: its reply says nothing about the usual time of one.
const LARGE: usize = 1 << 16;

/// Long enough that the kernel delivers two sends as two reads, when the machine is quiet.
const APART: Duration = Duration::from_millis(30);

/// A server whose usual reply takes this small a part of `APART` reads in time.
const PROMPT: u32 = 16;

/// Between two looks at what a server has not read yet.
const STEP: Duration = Duration::from_millis(2);

/// Work enough to lose the processor to others on a busy machine: several of the scheduler's slices.
const WORK: Duration = Duration::from_millis(20);

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

/// Opens connections, and keeps what all of them share.
pub struct Wire {
    pub address: SocketAddr,
    /// How long one step may take at most: to connect, to send, to wait for the next bytes.
    timeout: Duration,
    pub transcript: RefCell<Transcript>,
    /// False while a failure by silence would be tried again anyway.
    patient: Cell<bool>,
    /// Something in this try was waited for in vain, or was slow. On a busy machine that may be chance.
    pub doubt: Cell<bool>,
    /// How much longer than by itself work takes on this machine, which may be the server's, too.
    slowness: Cell<u32>,
    /// The slowest of the latest small replies, measured from the last byte sent; it sinks slowly.
    usual: Cell<Duration>,
    /// Bytes of the largest request of this try. Its reply may be as large.
    largest: Cell<usize>,
}

impl Wire {
    pub fn new(address: SocketAddr, timeout: Duration) -> Wire {
        Wire {
            address,
            timeout,
            transcript: RefCell::default(),
            patient: Cell::new(true),
            doubt: Cell::default(),
            slowness: Cell::new(1),
            usual: Cell::default(),
            largest: Cell::default(),
        }
    }

    /// The same server or a neighbour, for another thread or another transcript.
    pub fn another(&self, address: SocketAddr) -> Wire {
        Wire::new(address, self.limit())
    }

    /// A new try of a rule begins.
    pub fn begin(&self, patient: bool) {
        self.transcript.take();
        self.patient.set(patient);
        if patient {
            self.slowness.set(slowness());
        }
        self.doubt.set(false);
        self.largest.set(0);
    }

    /// How long silence may last at this moment. A server that is slow as a rule, because it or its machine
    /// is busy, gets more, and so does a large file.
    pub fn limit(&self) -> Duration {
        let (slow, large) = (self.usual.get() * SILENCE, self.largest.get());
        let limit = match self.patient.get() || large >= LARGE {
            true => (self.timeout * self.slowness.get())
                .max(slow)
                .min(self.timeout * PATIENCE),
            false => slow.max(QUICK).min(self.timeout),
        };
        limit + limit / 4 * (large >> 20) as u32
    }

    /// Nothing tells when a server far away has read or done something: several times as long as a whole
    /// reply takes.
    pub fn pause(&self) {
        thread::sleep(self.moment());
    }

    fn moment(&self) -> Duration {
        (self.usual.get() * 4).clamp(APART, APART * 10)
    }

    /// A new connection.
    pub fn open(&self) -> Result<Probe<'_>, Why> {
        self.transcript.take();
        let stream = TcpStream::connect_timeout(&self.address, self.limit());
        match stream.and_then(|stream| self.introduced(stream)) {
            Ok(stream) => Ok(Probe {
                wire: self,
                stream,
                rest: Vec::new(),
                sent: Instant::now(),
            }),
            Err(error) => {
                self.doubt.set(true);
                self.transcript.borrow_mut().end = format!("no connection: {error}");
                Err(Why::Wrong)
            }
        }
    }

    /// Shows the token, if there is one. That is no part of the transcript.
    fn introduced(&self, mut stream: TcpStream) -> io::Result<TcpStream> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.limit()))?;
        introduce(&mut stream).map(|()| stream)
    }

    /// One request and its reply on a connection of its own.
    pub fn once(&self, request: &[u8]) -> Result<Reply, Why> {
        self.open()?.ask(request)
    }
}

/// One connection.
pub struct Probe<'w> {
    wire: &'w Wire,
    stream: TcpStream,
    /// Received, and not part of a reply yet.
    rest: Vec<u8>,
    /// When the last byte was sent.
    sent: Instant,
}

impl Probe<'_> {
    /// Sends all of it as one piece. A server may refuse before it has read all; its reply counts, so failing
    /// to send is no failure yet.
    pub fn send(&mut self, bytes: &[u8]) {
        Transcript::note(&mut self.wire.transcript.borrow_mut().sent, bytes);
        self.wire.largest.set(bytes.len().max(self.wire.largest.get()));
        let ready = self.stream.set_write_timeout(Some(self.wire.limit()));
        let _ = ready.and_then(|()| self.stream.write_all(bytes));
        self.sent = Instant::now();
    }

    /// Lets the server read what it was sent. When it may be late, the kernel of this machine tells when it
    /// has; to ask costs milliseconds after many short connections.
    pub fn settle(&self) {
        if self.wire.usual.get() * PROMPT < APART {
            return self.wire.pause();
        }
        let ports = |at: io::Result<SocketAddr>| at.map_or(0, |at| at.port());
        let (ours, theirs) = (ports(self.stream.local_addr()), ports(self.stream.peer_addr()));
        let deadline = Instant::now() + self.wire.limit();
        let mut step = STEP;
        loop {
            match sys::unread(ours, theirs) {
                None => return self.wire.pause(),
                Some(1..) if Instant::now() < deadline => thread::sleep(step),
                Some(_) => return thread::sleep(STEP),
            }
            // To look costs time that the server may need.
            step = (step * 2).min(APART);
        }
    }

    /// Waits for more bytes, at most `limit`. `None`: nothing came; 0: the connection has been closed. Either
    /// way the transcript says so.
    pub fn more(&mut self, limit: Duration) -> Option<usize> {
        let mut buffer = [0; 65536];
        let got = read(&mut self.stream, &mut buffer, Instant::now() + limit);
        let silent = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let (end, count) = match got {
            Ok(0) => ("then the connection was closed".to_owned(), Some(0)),
            Ok(count) => (String::new(), Some(count)),
            Err(error) if silent(&error) => (format!("then nothing for {limit:.1?}"), None),
            Err(error) => (format!("then {error}"), Some(0)),
        };
        if count.is_none() {
            self.wire.doubt.set(true);
        }
        let bytes = &buffer[..count.unwrap_or(0)];
        self.rest.extend_from_slice(bytes);
        let mut transcript = self.wire.transcript.borrow_mut();
        Transcript::note(&mut transcript.received, bytes);
        transcript.end = end;
        count
    }

    /// Has the server closed the connection, or does it so in a moment?
    pub fn is_closed(&mut self) -> bool {
        self.more(self.wire.moment()) == Some(0)
    }

    /// The next reply without its end mark.
    pub fn frame(&mut self) -> Result<Vec<u8>, Why> {
        let deadline = Instant::now() + self.wire.limit() * PATIENCE;
        let mut searched = 0;
        loop {
            // What was searched is not searched again, but for an end mark that was cut in two.
            if let Some(at) = find(&self.rest[searched..], END) {
                let mut frame: Vec<u8> = self.rest.drain(..searched + at + END.len()).collect();
                frame.truncate(searched + at);
                self.measure(frame.len());
                return Ok(frame);
            }
            searched = self.rest.len().saturating_sub(END.len() - 1);
            if searched > REPLY_LIMIT || Instant::now() > deadline {
                self.wire.doubt.set(true);
                self.wire.transcript.borrow_mut().end = "and no end of the reply".to_owned();
                return Err(Why::Wrong);
            }
            if !matches!(self.more(self.wire.limit()), Some(1..)) {
                return Err(Why::Wrong);
            }
        }
    }

    /// A small reply tells how long the server takes at this moment.
    fn measure(&self, length: usize) {
        if length.max(self.wire.largest.get()) < LARGE {
            let usual = &self.wire.usual;
            usual.set(self.sent.elapsed().max(usual.get() * 3 / 4));
        }
    }

    /// The next reply, if it is one JSON object.
    pub fn reply(&mut self) -> Result<Reply, Why> {
        let frame = self.frame()?;
        let mut reader = Reader::new(frame.as_slice(), 65536);
        match reader.value(&mut usize::MAX.clone()) {
            Ok(value @ Value::Object(_)) if reader.available().is_err() => Ok(Reply(value)),
            _ => Err(Why::Wrong),
        }
    }

    /// One request and its reply on this connection.
    pub fn ask(&mut self, request: &[u8]) -> Result<Reply, Why> {
        self.send(request);
        self.reply()
    }

    /// The next bytes, as many as were told.
    pub fn take(&mut self, length: usize) -> Result<Vec<u8>, Why> {
        while self.rest.len() < length {
            if !matches!(self.more(self.wire.limit()), Some(1..)) {
                return Err(Why::Wrong);
            }
        }
        Ok(self.rest.drain(..length).collect())
    }

    /// What was received holds the end of a reply.
    pub fn holds_a_reply(&self) -> bool {
        find(&self.rest, END).is_some()
    }

    /// Nothing was received that is not part of a reply, and nothing comes for a moment.
    pub fn is_silent(&mut self) -> bool {
        self.rest.is_empty() && !matches!(self.more(self.wire.moment() * 3), Some(1..))
    }

    /// Says that nothing follows, and waits until the server has noticed and closes, too.
    pub fn leave(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        while matches!(self.more(self.wire.limit()), Some(1..)) {}
    }
}

/// The time that some work of this thread takes, in times of what it needs when it has a core for itself.
fn slowness() -> u32 {
    let (begun, used) = (Instant::now(), sys::thread_cpu());
    while sys::thread_cpu().saturating_sub(used) < WORK {}
    begun.elapsed().div_duration_f64(WORK) as u32
}

/// Where `what` begins in `bytes`.
fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A JSON object that a server has sent.
pub struct Reply(Value);

impl Reply {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The string under `key`; without it, the reply is wrong.
    pub fn text(&self, key: &str) -> Result<&str, Why> {
        self.get(key).and_then(Value::as_str).ok_or(Why::Wrong)
    }

    pub fn is_ok(&self) -> bool {
        matches!(self.text("status"), Ok("OK"))
    }

    /// An error with any reason, as long as it has one.
    pub fn is_error(&self) -> bool {
        matches!(self.text("status"), Ok("ERROR")) && self.text("data").is_ok()
    }
}

/// Ctrl-Z and `fg` interrupt a read with a time limit, although no signal is handled (signal(7)).
fn read(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // 0 is refused.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
