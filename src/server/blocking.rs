//! # Chapter 5b. What happens to one connection, from accept to close?
//!
//! It is accepted, given a permit and a session, and pumped until the session wants to close; then it lingers
//! until the peer has closed too. A `BlockingWorker` does this with one connection after another and blocks
//! wherever it must wait: the modes `single`, `thread` and `process` have this in common, and little else
//! happens in them. The price is head-of-line blocking: one slow peer holds up all that wait for its worker.
//!
//! ```text
//!   accept ─► admit ─► serve: pump ─► wait for socket, stop or deadline ─► pump … ─► linger
//!                └─ no permit: reject
//! ```
//!
//! The invariant: an error on a connection ends that connection and nothing else; so does a panic.
//!
//! What must not live here: which mode it is, and how many other workers there are.
//!
//! Experiment: send half a request with `nc`, press Ctrl-C in the server's terminal, then send the rest.

use crate::net::{DRAIN_PAUSE, LingerSet, Lingering};
use crate::server::shared::{Accepted, BUSY, Shared};
use crate::session::{ByteCounts, Deadlines, Event, KEPT, LOOKS, PIECE_TEXT, Pumped, Session, Want, pump};
use crate::stats::{Field, WorkerStats};
use crate::sys::{self, Epoll, Interest, Stop};
use std::io;
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::time::Instant;

/// Does this worker accept from the listener?
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ListenerRole {
    /// This worker alone accepts; it also stops the listening when the server stops.
    SoleAcceptor,
    /// This worker and others like it accept.
    OneOfMany,
    /// Another thread accepts and puts the connections into a queue for the workers.
    NoAcceptor,
}

/// Serves connections one after another: the accept loop of `single`, a pool's thread, a forked worker.
pub struct BlockingWorker {
    shared: Arc<Shared>,
    stats: WorkerStats,
    stop: Stop,
    role: ListenerRole,
    /// The receive buffer; empty between two calls of `pump`.
    scratch: Vec<u8>,
    /// Connections that are over for us: served or rejected.
    lingering: LingerSet,
}

impl BlockingWorker {
    /// Worker `index`, counted from 0; from now on it counts as ready.
    pub fn new(shared: Arc<Shared>, index: usize, stop: Stop, role: ListenerRole) -> BlockingWorker {
        let stats = shared.scoreboard.worker(index);
        stats.set(Field::Pid, process::id().into());
        let (scratch, lingering) = (vec![0; PIECE_TEXT], LingerSet::default());
        BlockingWorker {
            shared,
            stats,
            stop,
            role,
            scratch,
            lingering,
        }
    }

    /// Accepts and serves until the server is to stop.
    pub fn accept_and_serve(&mut self) -> io::Result<()> {
        let (epoll, mut ready) = (Epoll::new()?, Vec::new());
        epoll.add_shared(self.shared.listener.as_fd(), 0)?;
        epoll.add(self.stop.as_fd(), Interest::Read, 0)?;
        while !self.stop.requested() {
            match self.shared.accept() {
                Accepted::Connection(connection) => self.admit(connection),
                Accepted::WouldBlock if self.lingering.is_empty() => epoll.wait(&mut ready, None)?,
                Accepted::WouldBlock => {
                    self.lingering
                        .wait(&[self.shared.listener.as_fd(), self.stop.as_fd()], None)?;
                    self.lingering.drain();
                }
                Accepted::NoDescriptors => self.shared.wait_for_room(self.stop)?,
                Accepted::Closed => break,
            }
        }
        if self.role == ListenerRole::SoleAcceptor {
            self.shared.stop_listening(&mut self.lingering);
        }
        mem::take(&mut self.lingering).finish(Instant::now() + self.shared.linger_limit())
    }

    fn admit(&mut self, connection: TcpStream) {
        let Some(_permit) = self.stats.try_acquire(self.shared.max_connections) else {
            return self.shared.reject(connection, &mut self.lingering, BUSY);
        };
        // A panic costs this connection: its session is dropped, and its `RequestLog` counts the failure.
        if let Ok(lingering) = catch_unwind(AssertUnwindSafe(|| self.serve(connection))) {
            self.lingering.extend(lingering);
        }
    }

    /// Serves one connection. An error on it ends it and nothing else. What is returned lingers: a worker
    /// that waited for its peer to close would keep others waiting.
    pub fn serve(&mut self, connection: TcpStream) -> Option<Lingering> {
        self.stats.add(Field::Connections, 1);
        let mut session = self.shared.session(self.stats, &connection);
        let mut deadlines = Deadlines::new(self.shared.limits, Instant::now());
        loop {
            let mut moved = ByteCounts::default();
            if matches!(session.want(), Want::Request | Want::Head) && self.others_wait() {
                session.notice(Event::OthersWait);
            }
            let turn = pump(&mut &connection, &mut *session, &mut self.scratch, &mut moved);
            self.stats.add(Field::BytesIn, moved.read);
            self.stats.add(Field::BytesOut, moved.written);
            deadlines.note(session.want(), moved, Instant::now());
            let blocked = match turn {
                Ok(Pumped::Done) if session.want() == Want::Linger => return Lingering::begin(connection),
                Ok(Pumped::Done) | Err(_) => return None,
                Ok(turn) => turn == Pumped::Blocked,
            };
            if self.stop.requested() && self.stops(&mut *session, &mut deadlines) {
                continue;
            }
            if deadlines
                .drain_deadline()
                .is_some_and(|end| Instant::now() >= end)
            {
                return None;
            }
            if blocked {
                self.wait(&connection, &mut *session, &mut deadlines);
            }
        }
    }

    /// Do other connections wait for a worker? If another thread accepts: when more are open than there are
    /// workers. Otherwise: when all workers have one and the listener is ready.
    fn others_wait(&self) -> bool {
        let (scoreboard, workers) = (&self.shared.scoreboard, self.shared.scoreboard.workers as u64);
        match self.role {
            _ if !self.shared.gives_way() => false,
            ListenerRole::NoAcceptor => scoreboard.server().get(Field::Permits) > workers,
            ListenerRole::SoleAcceptor | ListenerRole::OneOfMany => {
                let listener = [(self.shared.listener.as_fd(), Interest::Read)];
                let now = Some(Instant::now());
                scoreboard.total(Field::Permits) >= workers
                    && sys::poll(&listener, now).is_ok_and(|ready| ready > 0)
            }
        }
    }

    /// Tells the connection that the server stops; false: it has been told before.
    fn stops(&mut self, session: &mut dyn Session, deadlines: &mut Deadlines) -> bool {
        let first = deadlines.drain_deadline().is_none();
        if first {
            deadlines.stop(Instant::now());
            session.notice(Event::Stopping);
            if self.role == ListenerRole::SoleAcceptor {
                self.shared.stop_listening(&mut self.lingering);
            }
        }
        first
    }

    /// Sleeps until the socket is ready, a stop is requested or a deadline passes.
    fn wait(&mut self, stream: &TcpStream, session: &mut dyn Session, deadlines: &mut Deadlines) {
        let writing = session.want() == Want::Write;
        let interest = if writing { Interest::Write } else { Interest::Read };
        let fds = [(stream.as_fd(), interest), (self.stop.as_fd(), Interest::Read)];
        // The self-pipe stays readable: once the stop has been noticed it must not wake us again.
        let watched = if deadlines.drain_deadline().is_none() {
            2
        } else {
            1
        };
        let mut now = Instant::now();
        deadlines.count_silence(now, || sys::silence(stream.as_fd()).ok());
        if deadlines.gives_way_at().is_some_and(|at| now >= at) && self.others_wait() {
            // Silent for long enough, here or in the queue, and others wait. What has arrived was read before
            // this, and between two requests the connection closes without a reply.
            return session.notice(Event::Timeout);
        }
        let deadline = deadlines.deadline();
        let look = match session.want() {
            // A slow peer may need longer than the idle limit to make room in a large socket buffer, so we
            // look from time to time whether the buffer shrinks.
            Want::Write => now + self.shared.limits.idle / LOOKS,
            // An idle connection gives way to connections that come meanwhile.
            Want::Request if self.shared.gives_way() => {
                let at = deadlines.gives_way_at().filter(|at| *at > now);
                at.map_or(now + KEPT, |at| at.min(now + KEPT))
            }
            _ => deadline,
        };
        let queued = if writing {
            sys::unsent(stream.as_fd()).ok()
        } else {
            None
        };
        let look = if self.lingering.is_empty() {
            look
        } else {
            look.min(now + DRAIN_PAUSE)
        };
        let ready = sys::poll(&fds[..watched], Some(deadline.min(look)));
        self.lingering.drain_when_due();
        now = Instant::now();
        if matches!(ready, Ok(1..)) {
            return;
        }
        if writing && sys::unsent(stream.as_fd()).ok() < queued {
            deadlines.progress(now);
        } else if now >= deadline && deadlines.drain_deadline().is_none_or(|end| now < end) {
            // After the grace the connection closes without a reply.
            session.notice(Event::Timeout);
        }
    }
}
