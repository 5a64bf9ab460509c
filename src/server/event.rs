//! # Chapter 5c. How does one thread serve ten thousand connections?
//!
//! By never waiting for any one of them. All sockets are non-blocking, the kernel watches them (epoll), and
//! the thread serves in turn those that are ready: one bounded call of `pump` for each, then the next. Most
//! connections are idle most of the time, and an idle one costs a session of a few hundred bytes, no thread.
//!
//! ```text
//!            ┌──────────────────────────────────────────────────────────┐
//!            ▼                                                          │
//!   wait (epoll) ─► listener: accept ─► stop? ─► a turn for each ─► sweep: deadlines passed?
//!                                                   │ Again:   next round, without asking the kernel
//!                                                   │ Blocked: watch for what the session wants
//!                                                   └ Done:    close our side, linger for the peer's
//! ```
//!
//! The invariant: only the call at the top of the loop waits, so the cost of a turn is bounded: a few pieces
//! of a file. Reading and writing them is the weak spot: a slow disk delays all connections of the thread. A
//! pool's worker delays only its own.
//!
//! A socket is read and written first, and watched only when it refuses: a short request is read, answered
//! and closed without ever having been watched. Tokens are numbers that are never used again, not
//! descriptors: an event for a connection that was closed in the same round finds nothing, and not the next
//! connection with that descriptor.
//!
//! What must not live here: any protocol, other threads.
//!
//! Experiment: raise `STEPS` in `session.rs` to a million, download a large file, and try to list the folder
//! at the same time with one worker.

use crate::net::{LINGER_LIMIT, Lingering};
use crate::server::shared::{Accepted, BUSY, DESCRIPTOR_PAUSE, Shared};
use crate::session::{ByteCounts, Deadlines, Event, LOOKS, PIECE_TEXT, Pumped, Session, Want, pump};
use crate::stats::{Field, Permit, WorkerStats};
use crate::sys::{self, Epoll, Interest, Stop};
use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tokens of the listener, the self-pipe and the first connection.
const LISTENER: u64 = 0;
const STOP: u64 = 1;
const FIRST: u64 = 2;

/// Most connections that are accepted in one round: new ones do not wait for busy old ones, and do not delay
/// them for long. With one a round, a small request takes a tenth longer.
const ACCEPTS: u32 = 64;

/// Shortest time between two sweeps; each looks at every connection.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// A connection whose session is not over.
struct ActiveConnection {
    stream: TcpStream,
    session: Box<dyn Session>,
    deadlines: Deadlines,
    /// What epoll watches it for; `None`: it is not watched.
    watched: Option<Interest>,
    /// Bytes that were unsent in the socket at the last sweep.
    queued: i32,
    /// Given back when the connection is closed.
    permit: Permit,
}

/// A connection before or after its session is over.
enum Connection {
    Active(ActiveConnection),
    /// In its lingering close; a rejected connection never had a permit.
    Lingering(Lingering, Option<Permit>),
}

impl Connection {
    /// When its time is over.
    fn deadline(&self) -> Instant {
        match self {
            Connection::Active(active) => active.deadlines.deadline(),
            Connection::Lingering(lingering, _) => lingering.deadline(),
        }
    }
}

/// One thread's connections, and what wakes the thread.
pub struct EventLoop {
    shared: Arc<Shared>,
    stats: WorkerStats,
    stop: Stop,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    /// The token of the next connection.
    next: u64,
    /// Connections that can go on at once.
    again: Vec<u64>,
    /// The receive buffer; empty between two calls of `pump`.
    scratch: Vec<u8>,
    /// When the next sweep is due.
    sweep: Option<Instant>,
    /// When to watch the listener again, after descriptors ran out.
    reopen: Option<Instant>,
    /// The server is to stop.
    stopping: bool,
}

impl EventLoop {
    /// Worker `index`, counted from 0; from now on it counts as ready.
    pub fn new(shared: Arc<Shared>, index: usize, stop: Stop) -> io::Result<EventLoop> {
        let epoll = Epoll::new()?;
        epoll.add_shared(shared.listener.as_fd(), LISTENER)?;
        epoll.add(stop.as_fd(), Interest::Read, STOP)?;
        let stats = shared.scoreboard.worker(index);
        stats.set(Field::Pid, process::id().into());
        Ok(EventLoop {
            shared,
            stats,
            stop,
            epoll,
            connections: HashMap::new(),
            next: FIRST,
            again: Vec::new(),
            scratch: vec![0; PIECE_TEXT],
            sweep: None,
            reopen: None,
            stopping: false,
        })
    }

    /// Runs until the server is to stop and the last connection is closed.
    pub fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while !self.stopping || !self.connections.is_empty() {
            self.epoll.wait(&mut ready, self.alarm())?;
            // One turn a round for each, even if both epoll and its last turn name it. The listener comes
            // first, then the oldest connection.
            ready.append(&mut self.again);
            ready.sort_unstable();
            ready.dedup();
            for token in ready.drain(..) {
                match token {
                    LISTENER => self.accept_ready(),
                    STOP => self.begin_stop(),
                    token => self.turn(token),
                }
            }
            self.sweep();
            self.reopen();
        }
        Ok(())
    }

    /// When to wake up without an event.
    fn alarm(&self) -> Option<Instant> {
        let now = (!self.again.is_empty()).then(Instant::now);
        now.or_else(|| self.sweep.into_iter().chain(self.reopen).min())
    }

    /// A connection waits, or did: another thread may have been quicker.
    fn accept_ready(&mut self) {
        for _ in 0..ACCEPTS {
            match self.shared.accept() {
                Accepted::Connection(connection) => self.admit(connection),
                Accepted::WouldBlock => break,
                Accepted::NoDescriptors => {
                    // Level-triggered epoll would report the listener again and again.
                    self.unwatch_listener();
                    self.reopen = Some(Instant::now() + DESCRIPTOR_PAUSE);
                    break;
                }
                Accepted::Closed => return self.unwatch_listener(),
            }
        }
    }

    fn unwatch_listener(&self) {
        // It fails only when the listener is not watched.
        let _ = self.epoll.remove(self.shared.listener.as_fd());
    }

    /// Watches the listener again after a pause, since no event tells when a descriptor becomes free.
    fn reopen(&mut self) {
        if self.reopen.is_some_and(|time| Instant::now() >= time) {
            let watched = self.epoll.add_shared(self.shared.listener.as_fd(), LISTENER);
            self.reopen = watched.err().map(|_| Instant::now() + DESCRIPTOR_PAUSE);
        }
    }

    fn admit(&mut self, connection: TcpStream) {
        let token = self.next;
        self.next += 1;
        let Some(permit) = self.stats.try_acquire(self.shared.max_connections) else {
            self.shared.refuse(&connection, BUSY);
            return self.linger(token, connection, None, None);
        };
        self.stats.add(Field::Connections, 1);
        let session = self.shared.session(self.stats, &connection);
        let deadlines = Deadlines::new(self.shared.limits, Instant::now());
        let active = ActiveConnection {
            stream: connection,
            session,
            deadlines,
            watched: None,
            queued: 0,
            permit,
        };
        self.connections.insert(token, Connection::Active(active));
        // Its request is probably here already.
        self.turn(token);
    }

    /// The turn of one connection.
    fn turn(&mut self, token: u64) {
        match self.connections.remove(&token) {
            Some(Connection::Active(active)) => self.pump_once(token, active),
            Some(Connection::Lingering(lingering, permit)) => self.drain(token, lingering, permit),
            // Closed in this round.
            None => {}
        }
    }

    fn drain(&mut self, token: u64, mut lingering: Lingering, permit: Option<Permit>) {
        if lingering.drain() {
            self.connections
                .insert(token, Connection::Lingering(lingering, permit));
        }
    }

    /// One call of `pump`. An error on a connection ends it and nothing else.
    fn pump_once(&mut self, token: u64, mut active: ActiveConnection) {
        let mut moved = ByteCounts::default();
        // A panic costs this connection: its session is dropped, and its `RequestLog` counts the failure.
        let turn = catch_unwind(AssertUnwindSafe(|| {
            pump(
                &mut &active.stream,
                &mut *active.session,
                &mut self.scratch,
                &mut moved,
            )
        }));
        self.stats.add(Field::BytesIn, moved.read);
        self.stats.add(Field::BytesOut, moved.written);
        active
            .deadlines
            .note(active.session.want(), moved, Instant::now());
        match turn {
            Ok(Ok(Pumped::Again)) => self.again.push(token),
            Ok(Ok(Pumped::Blocked)) => {
                let writing = active.session.want() == Want::Write;
                let interest = if writing { Interest::Write } else { Interest::Read };
                let socket = active.stream.as_fd();
                let set = self.epoll.set(socket, token, &mut active.watched, Some(interest));
                if set.is_err() {
                    return;
                }
                if writing {
                    // Later sweeps compare with this. The first sweep comes long before the deadline.
                    active.queued = sys::unsent(active.stream.as_fd()).unwrap_or(0);
                    self.schedule_sweep(Instant::now() + self.shared.limits.idle / LOOKS);
                }
            }
            Ok(Ok(Pumped::Done)) if active.session.want() == Want::Linger => {
                return self.linger(token, active.stream, active.watched, Some(active.permit));
            }
            Ok(Ok(Pumped::Done) | Err(_)) | Err(_) => return,
        }
        self.schedule_sweep(active.deadlines.deadline());
        self.connections.insert(token, Connection::Active(active));
    }

    /// Lingering close: waits until the peer has closed too (`net/linger.rs`).
    fn linger(
        &mut self,
        token: u64,
        stream: TcpStream,
        mut watched: Option<Interest>,
        permit: Option<Permit>,
    ) {
        let most = self.shared.max_connections as usize + LINGER_LIMIT;
        let set = self
            .epoll
            .set(stream.as_fd(), token, &mut watched, Some(Interest::Read));
        if self.connections.len() >= most || set.is_err() {
            return;
        }
        if let Some(mut lingering) = Lingering::begin(stream) {
            if self.stopping {
                lingering.shorten_deadline(Instant::now() + self.shared.linger_limit());
            }
            self.schedule_sweep(lingering.deadline());
            self.connections
                .insert(token, Connection::Lingering(lingering, permit));
        }
    }

    /// The server is to stop: no more connections, and each open one is told.
    fn begin_stop(&mut self) {
        self.unwatch_listener();
        // It fails only when the self-pipe is not watched.
        let _ = self.epoll.remove(self.stop.as_fd());
        let now = Instant::now();
        let closing = now + self.shared.linger_limit();
        (self.stopping, self.reopen, self.sweep) = (true, None, Some(now));
        for (&token, connection) in &mut self.connections {
            match connection {
                Connection::Active(active) => {
                    active.deadlines.stop(now);
                    active.session.notice(Event::Stopping);
                    self.again.push(token);
                }
                Connection::Lingering(lingering, _) => lingering.shorten_deadline(closing),
            }
        }
    }

    /// Makes a sweep due by `deadline`.
    fn schedule_sweep(&mut self, deadline: Instant) {
        self.sweep = Some(self.sweep.map_or(deadline, |sweep| sweep.min(deadline)));
    }

    /// Finds the connections whose deadline has passed. Deadlines move with every byte, so they are not kept
    /// in order; all are checked now and then.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.sweep.is_none_or(|due| now < due) {
            return;
        }
        let mut late = Vec::new();
        let mut next = now + self.shared.limits.idle / LOOKS;
        for (&token, connection) in &mut self.connections {
            if let Connection::Active(active) = connection {
                active.check_unsent(now);
            }
            match connection.deadline() {
                deadline if deadline <= now => late.push(token),
                deadline => next = next.min(deadline),
            }
        }
        self.sweep = (!self.connections.is_empty()).then(|| next.max(now + SWEEP_PAUSE));
        late.into_iter().for_each(|token| self.expire(token, now));
    }

    /// The deadline of a connection has passed.
    fn expire(&mut self, token: u64, now: Instant) {
        if let Some(Connection::Active(mut active)) = self.connections.remove(&token)
            // After the grace the connection closes without a reply.
            && active.deadlines.drain_deadline().is_none_or(|end| now < end)
        {
            active.session.notice(Event::Timeout);
            self.pump_once(token, active);
        }
    }
}

impl ActiveConnection {
    /// A slow peer may need longer than the idle limit to make room in a large socket buffer. If the buffer
    /// shrinks, that is progress.
    fn check_unsent(&mut self, now: Instant) {
        if self.watched == Some(Interest::Write)
            && let Ok(queued) = sys::unsent(self.stream.as_fd())
        {
            if queued < self.queued {
                self.deadlines.progress(now);
            }
            self.queued = queued;
        }
    }
}
