//! How does a worker serve one connection after another? It blocks wherever it must wait; the modes `single`,
//! `thread` and `process` have this in common, and little else happens in them. The price is head-of-line
//! blocking: one slow peer holds up all that wait for its worker.

use crate::net::{Accepted, DESCRIPTOR_PAUSE, LingerSet, Lingering};
use crate::server::connection::{Connection, Next};
use crate::server::shared::Shared;
use crate::session::{Event, KEPT, PIECE_TEXT};
use crate::stats::{Field, Permit, WorkerStats};
use crate::sys::{self, Epoll, Interest, Stop};
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
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
    /// The receive buffer; empty between two turns.
    scratch: Vec<u8>,
    /// Connections that are over for us: served or refused.
    lingering: LingerSet,
}

impl BlockingWorker {
    /// Worker `index`, counted from 0; from now on it counts as ready.
    pub fn new(shared: Arc<Shared>, index: usize, stop: Stop, role: ListenerRole) -> BlockingWorker {
        let stats = shared.scoreboard.free_row(index);
        stats.set(Field::Pid, process::id().into());
        BlockingWorker {
            shared,
            stats,
            stop,
            role,
            scratch: vec![0; PIECE_TEXT],
            lingering: LingerSet::default(),
        }
    }

    /// Accepts and serves until the server is to stop.
    pub fn accept_and_serve(&mut self) -> io::Result<()> {
        let (epoll, mut ready) = (Epoll::new()?, Vec::new());
        epoll.add_shared(self.shared.listener.as_fd(), 0)?;
        epoll.add(self.stop.as_fd(), Interest::Read, 0)?;
        let mut last = false;
        while !self.stop.requested() && !last {
            // A retired worker looks once more: it may have been woken for a connection that wakes no other.
            last = self.stop.is_retired();
            match self.shared.accept() {
                Accepted::Connection(stream) => match self.shared.admit(stream, self.stats) {
                    Ok((stream, permit)) => {
                        let lingering = self.serve(stream, permit);
                        self.lingering.extend(lingering);
                    }
                    Err(refused) => self.lingering.add(refused),
                },
                Accepted::WouldBlock if self.lingering.is_empty() => epoll.wait(&mut ready, None)?,
                Accepted::WouldBlock => {
                    let events = [self.shared.listener.as_fd(), self.stop.as_fd()];
                    self.lingering.wait(&events, None)?;
                }
                Accepted::NoDescriptors(_) => {
                    let end = Instant::now() + DESCRIPTOR_PAUSE;
                    self.lingering.wait(&[self.stop.as_fd()], Some(end))?;
                }
                Accepted::Closed => break,
            }
        }
        if self.role == ListenerRole::SoleAcceptor {
            self.shared.stop_listening(&mut self.lingering);
        }
        self.lingering.finish(Instant::now() + self.shared.linger_limit())
    }

    /// Serves one connection. What is returned lingers: a worker that waited for its peer to close would keep
    /// others waiting.
    pub fn serve(&mut self, stream: TcpStream, permit: Permit) -> Option<Lingering> {
        let mut connection = Connection::new(&self.shared, self.stats, stream, permit);
        // What the connection is told at the beginning of its next turn.
        let mut event = None;
        loop {
            if event.is_none() && connection.awaits_request() && self.others_wait() {
                event = Some(Event::OthersWait);
            }
            // `take` leaves `None` in its place.
            match connection.turn(event.take(), &mut self.scratch) {
                Next::Linger => return Lingering::begin(connection.stream),
                Next::Late(words) => return Some(Lingering::late(connection.stream, words)),
                Next::Close => return None,
                // After a turn, so that a request which came before the signal is finished.
                _ if self.stop.requested() && !connection.is_stopping() => {
                    if self.role == ListenerRole::SoleAcceptor {
                        self.shared.stop_listening(&mut self.lingering);
                    }
                    event = Some(Event::Stopping);
                }
                Next::Turn => {}
                Next::Wait(interest) => event = self.wait(&mut connection, interest),
            }
        }
    }

    /// Sleeps until the socket is ready or a stop is requested (`None`), or until the peer has taken too long
    /// (`Timeout`, `Silence`).
    fn wait(&mut self, connection: &mut Connection, interest: Interest) -> Option<Event> {
        connection.count_silence();
        loop {
            let (now, deadline) = (Instant::now(), connection.deadlines.deadline());
            if now >= deadline || self.must_give_way(connection, now) {
                return Some(connection.deadlines.silence.event(now));
            }
            let writing = interest == Interest::Write;
            let looks = writing || self.shared.protocol.gives_way() || !self.lingering.is_empty();
            let looks = looks || self.stop.is_retired();
            let until = if looks { deadline.min(now + KEPT) } else { deadline };
            if self.poll(connection, interest, until) {
                return None;
            }
            // Nothing happened here: time to look after the rest.
            if writing {
                connection.count_taken();
            }
            self.lingering.drain_when_due();
        }
    }

    /// Waits until `until` for the socket or a request to stop; false if neither came.
    fn poll(&self, connection: &Connection, interest: Interest, until: Instant) -> bool {
        let socket = (connection.stream.as_fd(), interest);
        let fds = [socket, (self.stop.as_fd(), Interest::Read)];
        // The self-pipe stays readable, and must not wake us again once the connection has been told.
        let told = connection.is_stopping() || self.stop.is_retired();
        let watched = if told { 1 } else { 2 };
        sys::poll(&fds[..watched], Some(until)).is_ok_and(|ready| ready > 0)
    }

    /// Has an idle peer been silent for long enough, here or in the queue, and do others wait? What has
    /// arrived was read before this, and between two requests the connection closes without a reply. For HTTP
    /// only.
    fn must_give_way(&self, connection: &Connection, now: Instant) -> bool {
        connection.deadlines.gives_way_at().is_some_and(|at| now >= at) && self.others_wait()
    }

    /// Do other connections wait for a worker, and does the protocol care? If another thread accepts: when
    /// more are open than there are workers. Otherwise: when all workers have one and the listener is ready.
    /// A retired worker hurries in any case.
    fn others_wait(&self) -> bool {
        let (scoreboard, workers) = (&self.shared.scoreboard, self.shared.scoreboard.workers as u64);
        let listener = [(self.shared.listener.as_fd(), Interest::Read)];
        match self.role {
            _ if !self.shared.protocol.gives_way() => false,
            _ if self.stop.is_retired() => true,
            ListenerRole::NoAcceptor => scoreboard.server().get(Field::Permits) > workers,
            _ if scoreboard.total(Field::Permits) < workers => false,
            _ => sys::poll(&listener, Some(Instant::now())).is_ok_and(|ready| ready > 0),
        }
    }
}
