//! What happens to one connection, whatever the mode? Turn after turn: the bytes that are ready move between
//! socket and session, and are counted; then the driver does what comes `Next`.

use crate::server::shared::Shared;
use crate::session::{ByteCounts, Deadlines, Event, Pumped, Session, Stream, Want, pump};
use crate::stats::{Field, Permit, WorkerStats};
use crate::sys::{self, Interest};
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// A connection and its session.
///
/// ```text
///   accept ─► permit ─► turn, turn, … ─► Linger: half-close, then wait for the peer's end
///               │                    └─► Close
///               └─ there is none: refused, with the reason
/// ```
pub struct Connection {
    pub stream: TcpStream,
    pub deadlines: Deadlines,
    pub session: Box<dyn Session>,
    stats: WorkerStats,
    /// Of its newest request, among those that its worker has shown.
    ticket: u64,
    /// Bytes in the socket that the peer has not taken, when they were last looked at.
    unsent: i32,
    /// Given back when it is dropped.
    pub permit: Permit,
}

/// What comes after a turn.
pub enum Next {
    /// Another turn, at once.
    Turn,
    /// A turn as soon as the socket is ready for this.
    Wait(Interest),
    /// The lingering close.
    Linger,
    /// The same, with these last words, late. For `access` only.
    Late(Vec<u8>),
    /// The connection is over, or an error or a panic has ended it.
    Close,
}

impl Connection {
    /// Its worker counts with `stats`.
    pub fn new(shared: &Shared, stats: WorkerStats, stream: TcpStream, permit: Permit) -> Connection {
        Connection {
            session: shared.session(stats, &stream),
            stream,
            deadlines: Deadlines::new(shared.limits, Instant::now()),
            stats,
            ticket: 0,
            unsent: 0,
            permit,
        }
    }

    /// One bounded turn, `event` first. `scratch` is the receive buffer of the worker. An error on the
    /// connection ends it and nothing else; so does a panic, and the session's `RequestLog` counts the
    /// failure.
    pub fn turn(&mut self, event: Option<Event>, scratch: &mut [u8]) -> Next {
        let end = self.deadlines.drain_deadline();
        if end.is_some_and(|end| Instant::now() >= end) {
            // After the grace the connection closes without a reply.
            return Next::Close;
        }
        if event == Some(Event::Stopping) {
            self.deadlines.stop(Instant::now());
        }
        let (mut moved, shown) = (ByteCounts::default(), self.stats.ticket());
        let step = AssertUnwindSafe(|| {
            event.into_iter().for_each(|event| self.session.notice(event));
            let pumped = pump(&mut &self.stream, &mut *self.session, scratch, &mut moved);
            (pumped, self.session.want())
        });
        let step = catch_unwind(step);
        self.stats.add(Field::BytesIn, moved.read);
        self.stats.add(Field::BytesOut, moved.written);
        let crossed = moved.read + moved.written;
        self.ticket = self.stats.crossed(shown, self.ticket, crossed);
        let Ok((Ok(pumped), want)) = step else {
            return Next::Close;
        };
        self.deadlines.note(want, moved, Instant::now());
        match (pumped, want) {
            (Pumped::Again, _) => Next::Turn,
            (Pumped::Blocked, Want::Write) => {
                // `count_taken` compares with this.
                self.unsent = sys::unsent(self.stream.as_fd()).unwrap_or(0);
                Next::Wait(Interest::Write)
            }
            (Pumped::Blocked, _) => Next::Wait(Interest::Read),
            (Pumped::Done, Want::Linger) => Next::Linger,
            (Pumped::Done, Want::Write) => Next::Late(self.last_words()),
            (Pumped::Done, _) => Next::Close,
        }
    }

    /// Looks whether the peer has taken bytes since the last look: if so, it is not idle. A slow peer may
    /// need longer than the idle limit to make room in a large socket buffer.
    pub fn count_taken(&mut self) {
        let unsent = sys::unsent(self.stream.as_fd()).unwrap_or(0);
        if unsent < self.unsent {
            self.deadlines.progress(Instant::now());
        }
        self.unsent = unsent;
    }

    /// A peer that has asked for nothing yet was silent before its turn came, too.
    pub fn count_silence(&mut self) {
        let silence = || sys::silence(self.stream.as_fd()).ok();
        self.deadlines.count_silence(Instant::now(), silence);
    }

    /// Does it wait for a request, or for the rest of its head?
    pub fn awaits_request(&self) -> bool {
        matches!(self.session.want(), Want::Request | Want::Head)
    }

    /// Has it been told that the server stops?
    pub fn is_stopping(&self) -> bool {
        self.deadlines.drain_deadline().is_some()
    }
}

/// A socket: the kernel can send a file to it without copying the content through this process.
impl Stream for &TcpStream {
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sys::send_last(self.as_fd(), bytes)
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        sys::send_file(self.as_fd(), file, offset, count)
    }
}
