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
//! Experiment:
//! edit: a turn of `pump` goes on for as long as the socket is ready
//! run: cargo test --locked --bin kolam session::
//! see: a_turn_is_bounded_and_goes_on_where_it_stopped ... FAILED

mod deadlines; // how long a peer may take
mod silence; // how long one may pause (for the volume `dialects`)

#[cfg(test)]
mod testing; //        what unit tests share

pub use deadlines::{Deadlines, KEPT, LOOKS, Limits};
#[cfg(test)]
pub use testing::{Folder, fuzz, however_cut, outgoing, play, play_and_pause};

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

/// The smallest session, to begin with: it sends back what it is given, in capitals, until the peer has sent
/// its last byte. Only tests use it.
#[cfg(test)]
#[derive(Default)]
struct Shout {
    /// Bytes that are not sent yet.
    answer: Vec<u8>,
    over: bool,
}

#[cfg(test)]
impl Session for Shout {
    fn want(&self) -> Want {
        match (self.answer.is_empty(), self.over) {
            (false, _) => Want::Write,
            (true, false) => Want::Request,
            (true, true) => Want::Close,
        }
    }
    fn received(&mut self, bytes: &[u8]) {
        self.answer = bytes.to_ascii_uppercase();
        self.over = bytes.is_empty();
    }
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing::Bytes(&self.answer)
    }
    fn sent(&mut self, count: usize) {
        self.answer.drain(..count);
    }
    fn notice(&mut self, _: Event) {
        self.over = true;
    }
}

/// One side of one conversation. It may be handed from thread to thread.
pub trait Session: Send {
    /// Asked before each step: what next?
    fn want(&self) -> Want;

    /// At most `PIECE_TEXT` bytes arrived; called only when `want` is `Request`, `Head` or `Body`. Empty
    /// means that the peer has sent its last byte.
    fn received(&mut self, bytes: &[u8]);

    /// What to send while `want` is `Write`.
    fn outgoing(&self) -> Outgoing<'_>;

    /// The first `count` bytes of `outgoing` are sent. 0: the file has become shorter.
    fn sent(&mut self, count: usize);

    fn notice(&mut self, notice: Event);

    /// Is what it wants to write the answer to a wrong guess? It waits, and is the last. For `access` only.
    fn is_late(&self) -> bool {
        false
    }

    /// Most bytes of a body that one call of `received` may bring. A session for which some bytes are much
    /// more work than others asks for less, so that it does not hold its driver for long. For HTTP only.
    fn largest_read(&self) -> usize {
        PIECE_TEXT
    }
}

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
    /// The same, and the connection is closed at once after them: one packet for both. For HTTP only.
    Last(&'s [u8]),
    /// `count` bytes of a file, from this offset on. A socket lets the kernel send them. For volumes only.
    File {
        file: &'s File,
        offset: u64,
        count: usize,
    },
}

/// What the driver of a connection knows and its session does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The peer is too slow.
    Timeout,
    /// The peer has paused for as long as ends a request. For `dialects` only.
    Silence,
    /// The server stops: finish the request in hand, take no other.
    Stopping,
    /// Other connections wait for this worker: the next reply should be the last, if the protocol can say so.
    /// Comes before a request, and only from drivers that serve one connection at a time. For HTTP only.
    OthersWait,
    /// The server does not take this connection, for this reason.
    Refused(&'static str),
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

/// File content moves in pieces of this many bytes: small enough to stay in a core's second-level cache
/// together with its text, large enough that the system calls around it cost nothing. A multiple of 3, so
/// that a piece is whole in base64.
pub const PIECE: usize = 192 * 1024;

/// The same piece as base64 text; also the largest single read from a socket.
pub const PIECE_TEXT: usize = PIECE / 3 * 4;

/// Bytes that may wait in a server's socket to be sent, doubled by the kernel. What waits there must be in a
/// cache when it is copied out again: with twice as much, and replies in whole pieces, downloads move a sixth
/// less. The price: a connection over 100 ms of distance moves at most 5 MB/s.
pub const SEND_BUFFER: i32 = 256 * 1024;

/// Most bytes of one read as long as no body is on its way: a whole head of HTTP, and what a session may have
/// to keep of pipelined requests while the peer does not read the reply to the first.
const HEAD_PIECE: usize = 16 * 1024;

/// Reads and writes in one turn of `pump`; bounds how long one connection can keep its driver from others.
const STEPS: u32 = 4;

/// A connection, as far as `pump` needs to know it.
pub trait Stream: Read + Write {
    /// Writes the last bytes of the stream.
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends up to `count` bytes of `file` from `offset` on; 0 when the file has become shorter than that.
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize>;
}

/// Bytes that crossed the socket.
#[derive(Debug, Default, Clone, Copy)]
pub struct ByteCounts {
    pub read: u64,
    pub written: u64,
}

/// How a turn of `pump` ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Pumped {
    /// The session is over: it wants to linger or to close, or only its last words are left, late.
    Done,
    /// It could go on at once, or is just over.
    Again,
    /// The socket is not ready for what the session wants.
    Blocked,
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
        let want = session.want();
        let step = match want {
            Want::Linger | Want::Close => return Ok(Pumped::Done),
            Want::Write if session.is_late() => return Ok(Pumped::Done),
            Want::Write => match session.outgoing() {
                Outgoing::Bytes(bytes) => stream.write(bytes),
                Outgoing::Last(bytes) => stream.write_last(bytes),
                Outgoing::File { file, offset, count } => stream.send_file(file, offset, count),
            },
            Want::Request | Want::Head => stream.read(first(scratch, HEAD_PIECE)),
            Want::Body => stream.read(first(scratch, session.largest_read())),
        };
        match step {
            Ok(count) if want == Want::Write => {
                moved.written += count as u64;
                session.sent(count);
            }
            Ok(count) => {
                moved.read += count as u64;
                session.received(&scratch[..count]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Pumped::Blocked),
            Err(error) => return Err(error),
        }
    }
    Ok(Pumped::Again)
}

/// The first `most` bytes of `buffer`, or all.
fn first(buffer: &mut [u8], most: usize) -> &mut [u8] {
    let count = buffer.len().min(most);
    &mut buffer[..count]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer made of a script: each entry is the result of one call of `read`.
    struct Script {
        reads: Vec<io::Result<&'static [u8]>>,
        /// Room in bytes for the last read.
        room: usize,
        written: Vec<u8>,
    }

    impl Script {
        fn new(reads: Vec<io::Result<&'static [u8]>>) -> Script {
            let (room, written) = (0, Vec::new());
            Script { reads, room, written }
        }

        fn turn(&mut self, session: &mut dyn Session) -> io::Result<Pumped> {
            pump(
                self,
                session,
                &mut vec![0; PIECE_TEXT],
                &mut ByteCounts::default(),
            )
        }
    }

    impl Read for Script {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let bytes = self.reads.remove(0)?;
            self.room = out.len();
            out[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(2);
            self.written.extend_from_slice(&bytes[..count]);
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

    #[test]
    fn a_turn_is_bounded_and_goes_on_where_it_stopped() {
        let mut peer = Script::new(vec![Ok(b"abcdefg"), Ok(b"")]);
        let mut session = Shout::default();
        assert_eq!(peer.turn(&mut session).unwrap(), Pumped::Again);
        assert_eq!(peer.written, b"ABCDEF");
        assert_eq!(peer.turn(&mut session).unwrap(), Pumped::Done);
        assert_eq!(peer.written, b"ABCDEFG");
    }

    #[test]
    fn errors_block_repeat_or_end_the_turn() {
        let turn = |kinds: &[ErrorKind]| {
            let reads = kinds.iter().map(|&kind| Err(kind.into())).collect();
            Script::new(reads).turn(&mut Shout::default())
        };
        let blocked = turn(&[ErrorKind::Interrupted, ErrorKind::WouldBlock]);
        assert_eq!(blocked.unwrap(), Pumped::Blocked);
        let reset = turn(&[ErrorKind::ConnectionReset]);
        assert_eq!(reset.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    /// Always wants the same, and of a body 1000 bytes at most.
    struct Wants(Want);

    impl Session for Wants {
        fn want(&self) -> Want {
            self.0
        }
        fn received(&mut self, _: &[u8]) {
            self.0 = Want::Close;
        }
        fn outgoing(&self) -> Outgoing<'_> {
            Outgoing::Bytes(&[])
        }
        fn sent(&mut self, _: usize) {}
        fn notice(&mut self, _: Event) {}
        fn largest_read(&self) -> usize {
            1000
        }
    }

    #[test]
    fn a_read_is_as_large_as_its_session_can_take() {
        let sessions: [(&mut dyn Session, usize); 4] = [
            (&mut Shout::default(), HEAD_PIECE),
            (&mut Wants(Want::Request), HEAD_PIECE),
            (&mut Wants(Want::Head), HEAD_PIECE),
            (&mut Wants(Want::Body), 1000),
        ];
        for (session, room) in sessions {
            let mut peer = Script::new(vec![Ok(b"")]);
            peer.turn(session).unwrap();
            assert_eq!(peer.room, room);
        }
    }

    #[test]
    fn what_came_too_early_is_kept_until_it_is_used() {
        let mut pipelined = Pipelined::keep(b"LIST\nLIST\n");
        pipelined.advance(5);
        assert_eq!(pipelined.unused(), b"LIST\n");
        pipelined.advance(0);
        assert_eq!(pipelined.unused(), b"LIST\n");
        pipelined.advance(5);
        assert_eq!(pipelined.unused(), b"");
        assert_eq!(
            pipelined.bytes.capacity(),
            0,
            "an idle connection keeps no buffer"
        );
    }
}
