//! # Chapter 2. What is a protocol without its transport?
//!
//! A protocol is written once, as a `Session`: it takes bytes, gives bytes, and says what it waits for. It
//! never sees a socket, and no decision of it depends on the time (its `RequestLog` only measures durations).
//! The driver of a connection moves the bytes with `pump`, and the server's modes differ only in what drives:
//!
//! ```text
//!   single    the accept loop itself ──┐                    received ►
//!   thread    a thread of the pool ────┼──► pump ◄──socket──►           Session
//!   process   a forked worker ─────────┤                    ◄ outgoing
//!   event     an epoll loop ───────────┘
//! ```
//!
//! The invariant: a session is given bytes only when it wants them. While a reply waits to be sent nothing
//! more is read: the kernel's buffers fill and the peer has to wait (backpressure). We store nothing for it.
//!
//! The known name for a protocol without sockets is "sans-I/O". Ours differs in one point: sessions read and
//! write files themselves, a bounded piece at a time. Regular files are always ready, so this never waits for
//! a peer.
//!
//! What must not live here: any protocol, any way of waiting.
//!
//! before: `main.rs` … after: `protocol.rs`
//!
//! Experiment: let `pump` loop for ever instead of a few steps, and stop a busy server with Ctrl-C.

#[cfg(test)]
mod testing; //        what unit tests share

#[cfg(test)]
pub use testing::{Folder, outgoing, play};

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// File content moves in pieces of this many bytes: small enough to stay in a core's second-level cache
/// together with its text, large enough that the system calls around it cost nothing. A multiple of 3, so
/// that a piece is whole in base64.
pub const PIECE: usize = 192 * 1024;

/// The same piece as base64 text; also the largest single read from a socket.
pub const PIECE_TEXT: usize = PIECE / 3 * 4;

/// Bytes that may wait in a socket to be sent, doubled by the kernel: two or three pieces. What waits there
/// must be in a cache when it is copied out again; with the 4 MiB that Linux would allow, 5 connections move
/// a quarter less. The price: a connection over 100 ms of distance moves at most 10 MB/s.
pub const SEND_BUFFER: i32 = 512 * 1024;

/// Most bytes of one read as long as no body is on its way: a whole head of HTTP, and what a session may have
/// to keep of pipelined requests while the peer does not read the reply to the first.
const HEAD_PIECE: usize = 16 * 1024;

/// Reads and writes in one turn of `pump`; bounds how long one connection can keep its driver from others.
const STEPS: u32 = 4;

/// How often within the idle limit we look whether a peer still takes what waits in the socket.
pub const LOOKS: u32 = 8;

/// How long a connection may be idle after a reply while others wait. The next request of a peer that has
/// just read the reply may be on its way, and must not meet a closed connection.
pub const KEPT: Duration = Duration::from_millis(100);

/// The same before the first request: that one comes a round trip after the connection is accepted. Counted
/// from the handshake, so that silent connections do not use up a worker's time one after another.
const FRESH: Duration = Duration::from_secs(1);

/// What a session waits for. Derived from its state, never stored beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Bytes, and none of the next request has come: the connection is idle.
    Request,
    /// More bytes of the head of a request.
    Head,
    /// More bytes of the body of a request.
    Body,
    /// To send `outgoing` bytes.
    Write,
    /// Nothing more from us, but the peer may still be sending: half-close and wait for its end (lingering
    /// close).
    Linger,
    /// Nothing more from us, and nothing that the peer may still send can destroy the reply: close.
    Close,
}

impl Want {
    /// The error for a peer that was too slow. `None`: it has asked for nothing, or it does not read.
    pub fn overdue(self) -> Option<&'static str> {
        match self {
            Want::Head => Some("timeout: the head of the request took longer than --head-timeout"),
            Want::Body => Some("timeout: nothing arrived for as long as --idle-timeout"),
            Want::Request | Want::Write | Want::Linger | Want::Close => None,
        }
    }
}

/// What a session has to send.
pub enum Outgoing<'s> {
    /// These bytes; never none while `want` is `Write`.
    Bytes(&'s [u8]),
    /// These bytes, and the connection is closed at once after them: both may travel in one packet.
    Last(&'s [u8]),
    /// `count` bytes of a file, from this offset on. A socket lets the kernel send them.
    File {
        file: &'s File,
        offset: u64,
        count: usize,
    },
}

/// A connection, as far as `pump` needs to know it.
pub trait Stream: Read + Write {
    /// Writes the last bytes of the stream.
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends up to `count` bytes of `file` from `offset` on; 0 when the file has become shorter than that.
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize>;
}

/// What the driver of a connection knows and its session does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The peer is too slow.
    Timeout,
    /// The server stops: finish the request in hand, take no other.
    Stopping,
    /// Other connections wait for this worker: the next reply should be the last, if the protocol can say so.
    /// Comes before a request, and only from drivers that serve one connection at a time. For HTTP only.
    OthersWait,
    /// The server does not take this connection, for this reason.
    Refused(&'static str),
}

/// One side of one conversation. It may be handed from thread to thread.
pub trait Session: Send {
    fn want(&self) -> Want;

    /// Bytes arrived; called only when `want` is `Request`, `Head` or `Body`. Empty means that the peer has
    /// sent its last byte.
    fn received(&mut self, bytes: &[u8]);

    /// What to send while `want` is `Write`.
    fn outgoing(&self) -> Outgoing<'_>;

    /// The first `count` bytes of `outgoing` are sent. 0: the file has become shorter.
    fn sent(&mut self, count: usize);

    fn notice(&mut self, notice: Event);

    /// Most bytes of a body that one call of `received` may bring. A session for which some bytes are much
    /// more work than others asks for less, so that it does not hold its driver for long. For HTTP only.
    fn largest_read(&self) -> usize {
        PIECE_TEXT
    }
}

/// What has come of later requests before the reply to this one is sent (pipelining). It is at most one read:
/// while a reply waits, nothing more is read.
#[derive(Default)]
pub struct Pipelined {
    bytes: Vec<u8>,
    /// How many of them have been used.
    used: usize,
}

impl Pipelined {
    /// Keeps what a session could not use of a read.
    pub fn keep(bytes: &[u8]) -> Pipelined {
        let bytes = bytes.to_vec();
        Pipelined { bytes, used: 0 }
    }

    pub fn unused(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// The session has used `count` more bytes. After the last one the memory is given back.
    pub fn advance(&mut self, count: usize) {
        self.used += count;
        if self.unused().is_empty() {
            *self = Pipelined::default();
        }
    }
}

/// How a turn of `pump` ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Pumped {
    /// The session is over: it wants to linger or to close.
    Done,
    /// It could go on at once.
    Again,
    /// The socket is not ready for what the session wants.
    Blocked,
}

/// Bytes that crossed the socket.
#[derive(Debug, Default, Clone, Copy)]
pub struct ByteCounts {
    pub read: u64,
    pub written: u64,
}

/// One bounded turn of moving bytes between `stream` (non-blocking) and `session`. `scratch` is the
/// driver's receive buffer; between turns it holds nothing. What crossed is added to `moved`.
pub fn pump(
    stream: &mut impl Stream,
    session: &mut dyn Session,
    scratch: &mut [u8],
    moved: &mut ByteCounts,
) -> io::Result<Pumped> {
    for _ in 0..STEPS {
        let step = match session.want() {
            Want::Linger | Want::Close => return Ok(Pumped::Done),
            Want::Write => match session.outgoing() {
                Outgoing::Bytes(bytes) => stream.write(bytes),
                Outgoing::Last(bytes) => stream.write_last(bytes),
                Outgoing::File { file, offset, count } => stream.send_file(file, offset, count),
            }
            .map(|count| {
                moved.written += count as u64;
                session.sent(count);
            }),
            want => {
                let most = match want {
                    Want::Body => session.largest_read(),
                    _ => HEAD_PIECE,
                };
                let room = scratch.len().min(most);
                stream.read(&mut scratch[..room]).map(|count| {
                    moved.read += count as u64;
                    session.received(&scratch[..count]);
                })
            }
        };
        match step {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Pumped::Blocked),
            Err(error) => return Err(error),
        }
    }
    Ok(if matches!(session.want(), Want::Linger | Want::Close) {
        Pumped::Done
    } else {
        Pumped::Again
    })
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without a single byte moving.
    pub idle: Duration,
    /// From the first byte of a request's head to its last. A peer that sends a byte now and then (slowloris)
    /// gains nothing.
    pub head: Duration,
    /// From the request to stop until open connections are closed.
    pub grace: Duration,
}

/// The deadlines of one connection, kept by its driver.
pub struct Deadlines {
    limits: Limits,
    /// When a byte last moved.
    moved: Instant,
    /// While waiting for a request or its head: which one, and since when. Bytes that do not bring it
    /// further, such as empty lines, do not prolong the waiting.
    waiting: Option<(Want, Instant)>,
    /// Something has been sent.
    answered: bool,
    /// When the server was asked to stop.
    stop: Option<Instant>,
}

impl Deadlines {
    pub fn new(limits: Limits, now: Instant) -> Deadlines {
        Deadlines {
            limits,
            moved: now,
            waiting: None,
            answered: false,
            stop: None,
        }
    }

    /// After a turn in which `moved` bytes crossed and the session came to want `want`.
    pub fn note(&mut self, want: Want, moved: ByteCounts, now: Instant) {
        if moved.read + moved.written > 0 {
            self.moved = now;
        }
        self.answered |= moved.written > 0;
        let bounded = matches!(want, Want::Request | Want::Head);
        let same = self.waiting.is_some_and(|(waited_for, _)| waited_for == want) && moved.written == 0;
        if !(bounded && same) {
            self.waiting = bounded.then_some((want, now));
        }
    }

    /// A peer that has asked nothing yet was silent for this long before anybody looked. Finding that out may
    /// cost a call, so it is asked for only when it matters.
    pub fn count_silence(&mut self, now: Instant, silence: impl FnOnce() -> Option<Duration>) {
        if let (false, Some((Want::Request, began))) = (self.answered, &mut self.waiting)
            && let Some(since) = silence().and_then(|silence| now.checked_sub(silence))
        {
            *began = since.min(*began);
        }
    }

    /// The peer has taken bytes that were already in the socket.
    pub fn progress(&mut self, now: Instant) {
        self.moved = now;
    }

    /// The server was asked to stop.
    pub fn stop(&mut self, now: Instant) {
        self.stop.get_or_insert(now);
    }

    /// The next deadline.
    pub fn deadline(&self) -> Instant {
        let limit = match self.waiting {
            Some((Want::Head, began)) => began + self.limits.head,
            Some((_, began)) => began + self.limits.idle,
            None => self.moved + self.limits.idle,
        };
        self.drain_deadline().map_or(limit, |end| limit.min(end))
    }

    /// From when on the peer has been idle for long enough to give way to connections that wait; `None`: it
    /// is not idle.
    pub fn gives_way_at(&self) -> Option<Instant> {
        let pause = if self.answered { KEPT } else { FRESH };
        self.waiting
            .filter(|(want, _)| *want == Want::Request)
            .map(|(_, began)| began + pause)
    }

    /// When the connection is closed without a reply, because the server stops; `None`: it does not stop.
    pub fn drain_deadline(&self) -> Option<Instant> {
        self.stop.map(|stop| stop + self.limits.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives back what it was given, in capitals; closes at the end.
    #[derive(Default)]
    struct Shout(Vec<u8>, bool);

    impl Session for Shout {
        fn want(&self) -> Want {
            match self {
                Shout(text, _) if !text.is_empty() => Want::Write,
                Shout(_, true) => Want::Close,
                Shout(..) => Want::Request,
            }
        }
        fn received(&mut self, bytes: &[u8]) {
            self.0 = bytes.to_ascii_uppercase();
            self.1 = bytes.is_empty();
        }
        fn outgoing(&self) -> Outgoing<'_> {
            Outgoing::Bytes(&self.0)
        }
        fn sent(&mut self, count: usize) {
            self.0.drain(..count);
        }
        fn notice(&mut self, _: Event) {}
    }

    /// A peer made of a script: each entry is the result of one call.
    struct Script(Vec<io::Result<&'static [u8]>>, Vec<u8>);

    impl Read for Script {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let bytes = self.0.remove(0)?;
            out[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(2);
            self.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Script {
        fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write(bytes)
        }
        fn send_file(&mut self, _: &File, _: u64, _: usize) -> io::Result<usize> {
            panic!("there is no file in this test")
        }
    }

    fn turn(script: &mut Script, session: &mut Shout) -> io::Result<Pumped> {
        pump(script, session, &mut [0; 8], &mut ByteCounts::default())
    }

    #[test]
    fn a_turn_is_bounded_and_goes_on_where_it_stopped() {
        let mut peer = Script(vec![Ok(b"abcdefg"), Ok(b"")], vec![]);
        let mut session = Shout::default();
        assert_eq!(turn(&mut peer, &mut session).unwrap(), Pumped::Again);
        assert_eq!(peer.1, b"ABCDEF");
        assert_eq!(turn(&mut peer, &mut session).unwrap(), Pumped::Done);
        assert_eq!(peer.1, b"ABCDEFG");
    }

    #[test]
    fn errors_block_repeat_or_end_the_turn() {
        let error = |kind: ErrorKind| Err(kind.into());
        let script = vec![error(ErrorKind::Interrupted), error(ErrorKind::WouldBlock)];
        let mut peer = Script(script, vec![]);
        assert_eq!(turn(&mut peer, &mut Shout::default()).unwrap(), Pumped::Blocked);
        let mut peer = Script(vec![error(ErrorKind::ConnectionReset)], vec![]);
        assert!(turn(&mut peer, &mut Shout::default()).is_err());
    }

    #[test]
    fn the_clock_knows_idle_head_and_grace() {
        let second = Duration::from_secs;
        let limits = Limits {
            idle: second(30),
            head: second(10),
            grace: second(5),
        };
        let start = Instant::now();
        let at = |n| start + second(n);
        let read = ByteCounts { read: 1, written: 0 };
        let mut deadlines = Deadlines::new(limits, start);
        assert_eq!(deadlines.deadline(), at(30));
        deadlines.note(Want::Head, read, at(1));
        deadlines.note(Want::Head, read, at(9));
        assert_eq!(deadlines.deadline(), at(11), "dripping does not prolong a head");
        deadlines.note(Want::Head, ByteCounts { read: 9, written: 9 }, at(10));
        assert_eq!(
            deadlines.deadline(),
            at(20),
            "a reply in between means that this is a new head"
        );
        deadlines.note(Want::Request, ByteCounts { read: 0, written: 9 }, at(11));
        deadlines.note(Want::Request, read, at(30));
        assert_eq!(deadlines.deadline(), at(41), "empty lines are no request");
        deadlines.note(Want::Body, read, at(12));
        assert_eq!(deadlines.deadline(), at(42));
        deadlines.note(Want::Body, ByteCounts::default(), at(20));
        assert_eq!(deadlines.deadline(), at(42), "time alone is no progress");
        deadlines.progress(at(15));
        assert_eq!(deadlines.deadline(), at(45));
        assert!(
            deadlines.gives_way_at().is_none(),
            "it is in the middle of a request"
        );
        deadlines.note(Want::Request, ByteCounts::default(), at(16));
        assert_eq!(deadlines.gives_way_at(), Some(at(16) + KEPT));
        deadlines.count_silence(at(16), || panic!("it has asked already"));
        let mut fresh = Deadlines::new(limits, start);
        fresh.note(Want::Request, ByteCounts::default(), at(3));
        assert_eq!(fresh.gives_way_at(), Some(at(3) + FRESH));
        fresh.count_silence(at(3), || Some(second(1)));
        fresh.count_silence(at(3), || None);
        fresh.count_silence(at(4), || Some(second(1)));
        assert_eq!(
            fresh.gives_way_at(),
            Some(at(2) + FRESH),
            "the time in the queue counts"
        );
        deadlines.note(Want::Body, ByteCounts { read: 1, written: 0 }, at(15));
        deadlines.stop(at(20));
        deadlines.stop(at(24));
        assert_eq!(
            (deadlines.deadline(), deadlines.drain_deadline()),
            (at(25), Some(at(25)))
        );
    }
}
