//! # Chapter 12b. What happens to one connection, from accept to close?
//!
//! It is accepted, given a permit and a session, pumped until the session wants to close, and waited for
//! until the peer has closed too (lingering close). A `BlockingWorker` does this with one connection after
//! another and waits wherever it must: that is all that the modes `single`, `thread` and `process` share, and
//! nearly all that they are.
//!
//! ```text
//!   accept ─► admit ─► serve: pump ─► wait for socket, stop or deadline ─► pump … ─► linger
//!                └─ no permit: reject
//! ```
//!
//! The invariant: an error on a connection ends that connection and nothing else; so does a panic.
//!
//! What must not live here: which mode it is, and who else is working.
//!
//! before: `server/shared.rs` … after: `server/event.rs`
//!
//! Experiment: send half a request with `nc`, press Ctrl-C in the server's terminal, then send the rest.

use crate::net::LingerSet;
use crate::server::shared::{Accepted, BUSY, Shared};
use crate::session::{ByteCounts, Deadlines, Event, KEPT, LOOKS, PIECE_TEXT, Pumped, Session, Want, pump};
use crate::stats::{Field, WorkerStats};
use crate::sys::{self, Epoll, Interest, PollFd, Stop};
use std::io;
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::time::Instant;

/// Who accepts from the listener.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// This worker alone; it also shuts it when the server stops.
    Own,
    /// This worker and others like it.
    Shared,
    /// Another thread, which puts the connections into a queue for the workers.
    Elsewhere,
}

/// Serves connections one after another: the accept loop of `single`, a pool's thread, a forked worker.
pub struct BlockingWorker {
    shared: Arc<Shared>,
    tally: WorkerStats,
    stop: Stop,
    door: Door,
    /// The receive buffer; empty between two calls of `pump`.
    scratch: Vec<u8>,
    /// Those who were turned away.
    lingering: LingerSet,
}

impl BlockingWorker {
    /// Worker `index`, counted from 0; from now on it counts as alive.
    pub fn new(shared: Arc<Shared>, index: usize, stop: Stop, door: Door) -> BlockingWorker {
        let tally = shared.board.worker(index);
        tally.set(Field::Pid, process::id().into());
        let (scratch, lingering) = (vec![0; PIECE_TEXT], LingerSet::default());
        BlockingWorker { shared, tally, stop, door, scratch, lingering }
    }

    /// The life of a worker that has no one to bring it connections.
    pub fn accept_and_serve(&mut self) -> io::Result<()> {
        let (epoll, mut ready) = (Epoll::new()?, Vec::new());
        epoll.add_shared(self.shared.listener.as_fd(), 0)?;
        epoll.add(self.stop.as_fd(), Interest::Read, 0)?;
        while !self.stop.requested() {
            match self.shared.accept() {
                Accepted::Connection(connection) => self.admit(connection),
                Accepted::WouldBlock if self.lingering.is_empty() => epoll.wait(&mut ready, None)?,
                Accepted::WouldBlock => {
                    self.lingering.wait(&[self.shared.listener.as_fd(), self.stop.as_fd()], None)?;
                    self.lingering.drain();
                }
                Accepted::NoDescriptors => self.shared.wait_for_room(self.stop)?,
                Accepted::Closed => break,
            }
        }
        if self.door == Door::Own {
            self.shared.stop_listening(&mut self.lingering);
        }
        mem::take(&mut self.lingering).finish(Instant::now() + self.shared.linger_limit())
    }

    fn admit(&mut self, connection: TcpStream) {
        let Some(_seat) = self.tally.try_acquire(self.shared.max_connections) else {
            return self.shared.reject(connection, &mut self.lingering, BUSY);
        };
        // A panic costs this connection: its session is dropped and its clerk counts the failure.
        let _ = catch_unwind(AssertUnwindSafe(|| self.serve(connection)));
    }

    /// The whole life of a connection. Any error on it ends it and nothing else.
    pub fn serve(&mut self, connection: TcpStream) {
        self.tally.add(Field::Connections, 1);
        let mut session = self.shared.session(self.tally, &connection);
        let mut clock = Deadlines::new(self.shared.limits, Instant::now());
        loop {
            let mut moved = ByteCounts::default();
            if matches!(session.want(), Want::Request | Want::Head) && self.others_wait() {
                session.notice(Event::OthersWait);
            }
            let turn = pump(&mut &connection, &mut *session, &mut self.scratch, &mut moved);
            self.tally.add(Field::BytesIn, moved.read);
            self.tally.add(Field::BytesOut, moved.written);
            clock.note(session.want(), moved, Instant::now());
            let blocked = match turn {
                Ok(Pumped::Done) if session.want() == Want::Linger => return self.linger(connection),
                Ok(Pumped::Done) | Err(_) => return,
                Ok(turn) => turn == Pumped::Blocked,
            };
            if self.stop.requested() && self.stops(&mut *session, &mut clock) {
                continue;
            }
            if clock.cut().is_some_and(|cut| Instant::now() >= cut) {
                return;
            }
            if blocked {
                self.wait(&connection, &mut *session, &mut clock);
            }
        }
    }

    /// Should this connection end soon, because others wait for a worker? Where another thread accepts: more
    /// are open than there are workers. Else: all workers have one, and the listener is ready.
    fn others_wait(&self) -> bool {
        let (board, workers) = (&self.shared.board, self.shared.board.workers as u64);
        match self.door {
            _ if !self.shared.gives_way() => false,
            Door::Elsewhere => board.house().get(Field::Seats) > workers,
            Door::Own | Door::Shared => {
                let mut listener = [PollFd::new(self.shared.listener.as_fd(), Interest::Read)];
                let now = Some(Instant::now());
                board.total(Field::Seats) >= workers
                    && sys::poll(&mut listener, now).is_ok_and(|ready| ready > 0)
            }
        }
    }

    /// Waits until the peer has closed too (chapter 10a); not for long when the server is to stop.
    fn linger(&self, stream: TcpStream) {
        let mut lingering = LingerSet::default();
        lingering.add(stream);
        while !lingering.is_empty() && !self.stop.requested() {
            if lingering.wait(&[self.stop.as_fd()], None).is_err() {
                return;
            }
            lingering.drain();
        }
        // An error here ends the waiting, and the connection with it.
        let _ = lingering.finish(Instant::now() + self.shared.linger_limit());
    }

    /// The server is to stop: true when this was news to the connection.
    fn stops(&mut self, session: &mut dyn Session, clock: &mut Deadlines) -> bool {
        let news = clock.cut().is_none();
        if news {
            clock.stop(Instant::now());
            session.notice(Event::Stopping);
            if self.door == Door::Own {
                self.shared.stop_listening(&mut self.lingering);
            }
        }
        news
    }

    /// Sleeps until the socket is ready or the peer has had its time.
    fn wait(&self, stream: &TcpStream, session: &mut dyn Session, clock: &mut Deadlines) {
        let writing = session.want() == Want::Write;
        let interest = if writing { Interest::Write } else { Interest::Read };
        let mut fds = [PollFd::new(stream.as_fd(), interest), PollFd::new(self.stop.as_fd(), Interest::Read)];
        // Once the request to stop has been noticed it must not wake us again.
        let watched = if clock.cut().is_none() { 2 } else { 1 };
        let (mut now, deadline) = (Instant::now(), clock.deadline());
        let look = match session.want() {
            // A slow peer empties a large socket buffer for longer than the idle limit before there is room
            // for more; so we look from time to time whether it does.
            Want::Write => now + self.shared.limits.idle / LOOKS,
            // An idle one has to give way to those who come meanwhile.
            Want::Request if self.shared.gives_way() => now + KEPT,
            _ => deadline,
        };
        let queued = if writing { sys::unsent(stream.as_fd()).ok() } else { None };
        let ready = sys::poll(&mut fds[..watched], Some(deadline.min(look)));
        now = Instant::now();
        if matches!(ready, Ok(1..)) {
            return;
        }
        if writing && sys::unsent(stream.as_fd()).ok() < queued {
            clock.alive(now);
        } else if now >= deadline && clock.cut().is_none_or(|cut| now < cut) {
            // When the grace is over there is no time left for words.
            session.notice(Event::Timeout);
        } else if clock.may_give_way(now) && self.others_wait() {
            // Between two requests the end comes without a word.
            session.notice(Event::Timeout);
        }
    }
}
