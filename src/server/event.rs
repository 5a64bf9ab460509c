//! # Chapter 12c. How does one thread serve ten thousand connections?
//!
//! By never waiting for any one of them. All sockets are non-blocking, the kernel watches them (epoll), and
//! the thread goes round among those that can move: each gets one bounded turn of `pump`, then the next. Most
//! connections are idle at most times, and an idle one costs a session of a few hundred bytes, no thread.
//!
//! ```text
//!            ┌──────────────────────────────────────────────────────────┐
//!            ▼                                                          │
//!   wait (epoll) ─► listener: accept ─► stop? ─► a turn for each ─► sweep: which are late?
//!                                                   │ Again:   next round, without asking the kernel
//!                                                   │ Blocked: watch for what the session wants
//!                                                   └ Done:    close our side, linger for the peer's
//! ```
//!
//! The invariant: nothing in the loop waits but the one call at its top. So what a turn may cost is bounded:
//! a few pieces of a file, which are read from and written to the disk in it, and that is the weak spot: a
//! slow disk holds up all connections of the thread. (A pool's worker holds up only its own.)
//!
//! A socket is read and written first, and watched only when it refuses: a short request is read, answered
//! and closed without ever having been watched. Tokens are numbers that never come again, not descriptors:
//! an event for a connection that was closed in the same round finds nothing, and not its successor.
//!
//! What must not live here: any protocol, other threads.
//!
//! before: `server/blocking.rs` … after: `server/browser.rs`
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

/// What the kernel calls the listener, the request to stop, and the first connection.
const DOOR: u64 = 0;
const BELL: u64 = 1;
const FIRST: u64 = 2;

/// Most connections that are accepted in one round: new ones do not wait behind busy old ones, and do not
/// keep them waiting for long. To wait anew for each would cost a small request a tenth of its time.
const ACCEPTS: u32 = 64;

/// Shortest time between two sweeps; each looks at every connection.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// A connection whose session is not over.
struct ActiveConnection {
    stream: TcpStream,
    session: Box<dyn Session>,
    clock: Deadlines,
    /// What the kernel watches it for; `None`: it does not.
    watched: Option<Interest>,
    /// Bytes that lay unsent in the socket at the last sweep.
    queued: i32,
    /// Given back when the connection is closed.
    permit: Permit,
}

/// A connection in either half of its life.
enum Connection {
    Talking(ActiveConnection),
    /// It has been told goodbye; those who were turned away never had a permit.
    Lingering(Lingering, Option<Permit>),
}

impl Connection {
    /// When it will have had its time.
    fn deadline(&self) -> Instant {
        match self {
            Connection::Talking(talk) => talk.clock.deadline(),
            Connection::Lingering(leaving, _) => leaving.deadline(),
        }
    }
}

/// One thread's connections and what wakes it.
pub struct EventLoop {
    shared: Arc<Shared>,
    tally: WorkerStats,
    stop: Stop,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    /// The token of the next connection.
    next: u64,
    /// Those who could go on at once.
    again: Vec<u64>,
    /// The receive buffer; empty between two calls of `pump`.
    scratch: Vec<u8>,
    /// When to look for those who are late, at the latest.
    sweep: Option<Instant>,
    /// When to look at the door again, after descriptors ran out.
    reopen: Option<Instant>,
    /// The server is to stop.
    stopping: bool,
}

impl EventLoop {
    /// Worker `index`, counted from 0; from now on it counts as alive.
    pub fn new(shared: Arc<Shared>, index: usize, stop: Stop) -> io::Result<EventLoop> {
        let epoll = Epoll::new()?;
        epoll.add_shared(shared.listener.as_fd(), DOOR)?;
        epoll.add(stop.as_fd(), Interest::Read, BELL)?;
        let tally = shared.board.worker(index);
        tally.set(Field::Pid, process::id().into());
        Ok(EventLoop {
            shared,
            tally,
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

    /// Until the server is to stop and the last connection is closed.
    pub fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while !self.stopping || !self.connections.is_empty() {
            self.epoll.wait(&mut ready, self.alarm())?;
            // Each has one turn in a round, also those of whom the kernel and their last turn both say that
            // they can go on. The door comes first, the oldest connection after it.
            ready.append(&mut self.again);
            ready.sort_unstable();
            ready.dedup();
            for token in ready.drain(..) {
                match token {
                    DOOR => self.accept_ready(),
                    BELL => self.close(),
                    token => self.turn(token),
                }
            }
            self.sweep();
            self.reopen();
        }
        Ok(())
    }

    /// When to wake up although nothing happens.
    fn alarm(&self) -> Option<Instant> {
        let now = (!self.again.is_empty()).then(Instant::now);
        now.or_else(|| self.sweep.into_iter().chain(self.reopen).min())
    }

    /// Somebody is at the door, or was: another thread may have been quicker.
    fn accept_ready(&mut self) {
        for _ in 0..ACCEPTS {
            match self.shared.accept() {
                Accepted::Connection(connection) => self.admit(connection),
                Accepted::WouldBlock => break,
                Accepted::NoDescriptors => {
                    // It would be reported again and again, while there is nothing to be done about it.
                    self.unwatch_listener();
                    self.reopen = Some(Instant::now() + DESCRIPTOR_PAUSE);
                    break;
                }
                Accepted::Closed => return self.unwatch_listener(),
            }
        }
    }

    fn unwatch_listener(&self) {
        // It fails only when the door is not watched.
        let _ = self.epoll.remove(self.shared.listener.as_fd());
    }

    /// Looks at the door again after a pause, since no event tells when a descriptor becomes free.
    fn reopen(&mut self) {
        if self.reopen.is_some_and(|time| Instant::now() >= time) {
            let watched = self.epoll.add_shared(self.shared.listener.as_fd(), DOOR);
            self.reopen = watched.err().map(|_| Instant::now() + DESCRIPTOR_PAUSE);
        }
    }

    fn admit(&mut self, connection: TcpStream) {
        let token = self.next;
        self.next += 1;
        let Some(permit) = self.tally.try_acquire(self.shared.max_connections) else {
            self.shared.refuse(&connection, BUSY);
            return self.leave(token, connection, None, None);
        };
        self.tally.add(Field::Connections, 1);
        let session = self.shared.session(self.tally, &connection);
        let clock = Deadlines::new(self.shared.limits, Instant::now());
        let talk = ActiveConnection { stream: connection, session, clock, watched: None, queued: 0, permit };
        self.connections.insert(token, Connection::Talking(talk));
        // Its request has come by now, most likely.
        self.turn(token);
    }

    /// The turn of one connection, in either half of its life.
    fn turn(&mut self, token: u64) {
        match self.connections.remove(&token) {
            Some(Connection::Talking(talk)) => self.talk(token, talk),
            Some(Connection::Lingering(leaving, permit)) => self.linger(token, leaving, permit),
            // Closed in this very round.
            None => {}
        }
    }

    fn linger(&mut self, token: u64, mut leaving: Lingering, permit: Option<Permit>) {
        if leaving.drain() {
            self.connections.insert(token, Connection::Lingering(leaving, permit));
        }
    }

    /// One bounded turn of `pump`. Any error on a connection ends it and nothing else.
    fn talk(&mut self, token: u64, mut talk: ActiveConnection) {
        let mut moved = ByteCounts::default();
        // A panic costs this connection: its session is dropped and its clerk counts the failure.
        let turn = catch_unwind(AssertUnwindSafe(|| {
            pump(&mut &talk.stream, &mut *talk.session, &mut self.scratch, &mut moved)
        }));
        self.tally.add(Field::BytesIn, moved.read);
        self.tally.add(Field::BytesOut, moved.written);
        talk.clock.note(talk.session.want(), moved, Instant::now());
        match turn {
            Ok(Ok(Pumped::Again)) => self.again.push(token),
            Ok(Ok(Pumped::Blocked)) => {
                let writing = talk.session.want() == Want::Write;
                let interest = if writing { Interest::Write } else { Interest::Read };
                if self.watch(token, &talk.stream, talk.watched, interest).is_err() {
                    return;
                }
                talk.watched = Some(interest);
                if writing {
                    // What the next looks are compared with; the first of them may not be the last chance.
                    talk.queued = sys::unsent(talk.stream.as_fd()).unwrap_or(0);
                    self.schedule_sweep(Instant::now() + self.shared.limits.idle / LOOKS);
                }
            }
            Ok(Ok(Pumped::Done)) if talk.session.want() == Want::Linger => {
                return self.leave(token, talk.stream, talk.watched, Some(talk.permit));
            }
            Ok(Ok(Pumped::Done) | Err(_)) | Err(_) => return,
        }
        self.schedule_sweep(talk.clock.deadline());
        self.connections.insert(token, Connection::Talking(talk));
    }

    /// Lets the kernel watch a socket for `interest`, when it does not yet.
    fn watch(
        &self,
        token: u64,
        stream: &TcpStream,
        watched: Option<Interest>,
        interest: Interest,
    ) -> io::Result<()> {
        match watched {
            None => self.epoll.add(stream.as_fd(), interest, token),
            Some(watched) if watched == interest => Ok(()),
            Some(_) => self.epoll.change(stream.as_fd(), interest, token),
        }
    }

    /// Everything has been said: wait until the peer has closed too (chapter 10a).
    fn leave(&mut self, token: u64, stream: TcpStream, watched: Option<Interest>, permit: Option<Permit>) {
        let most = self.shared.max_connections as usize + LINGER_LIMIT;
        if self.connections.len() >= most || self.watch(token, &stream, watched, Interest::Read).is_err() {
            return;
        }
        if let Some(mut leaving) = Lingering::begin(stream) {
            if self.stopping {
                leaving.shorten_deadline(Instant::now() + self.shared.linger_limit());
            }
            self.schedule_sweep(leaving.deadline());
            self.connections.insert(token, Connection::Lingering(leaving, permit));
        }
    }

    /// The server is to stop: no more guests, and each connection is told.
    fn close(&mut self) {
        self.unwatch_listener();
        // It fails only when the bell is not watched.
        let _ = self.epoll.remove(self.stop.as_fd());
        let now = Instant::now();
        let closing = now + self.shared.linger_limit();
        (self.stopping, self.reopen, self.sweep) = (true, None, Some(now));
        for (&token, connection) in &mut self.connections {
            match connection {
                Connection::Talking(talk) => {
                    talk.clock.stop(now);
                    talk.session.notice(Event::Stopping);
                    self.again.push(token);
                }
                Connection::Lingering(leaving, _) => leaving.shorten_deadline(closing),
            }
        }
    }

    /// A sweep is due by `deadline`.
    fn schedule_sweep(&mut self, deadline: Instant) {
        self.sweep = Some(self.sweep.map_or(deadline, |sweep| sweep.min(deadline)));
    }

    /// Looks for those who have had their time. Deadlines move with every byte, so they are not kept in
    /// order; now and then all are looked at.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.sweep.is_none_or(|due| now < due) {
            return;
        }
        let mut late = Vec::new();
        let mut next = now + self.shared.limits.idle / LOOKS;
        for (&token, connection) in &mut self.connections {
            if let Connection::Talking(talk) = connection {
                talk.look(now);
            }
            match connection.deadline() {
                deadline if deadline <= now => late.push(token),
                deadline => next = next.min(deadline),
            }
        }
        self.sweep = (!self.connections.is_empty()).then(|| next.max(now + SWEEP_PAUSE));
        late.into_iter().for_each(|token| self.expire(token, now));
    }

    /// A connection has had its time.
    fn expire(&mut self, token: u64, now: Instant) {
        if let Some(Connection::Talking(mut talk)) = self.connections.remove(&token)
            // When the grace is over there is no time left for words.
            && talk.clock.cut().is_none_or(|cut| now < cut)
        {
            talk.session.notice(Event::Timeout);
            self.talk(token, talk);
        }
    }
}

impl ActiveConnection {
    /// A slow peer empties a large socket buffer for longer than the idle limit before there is room for
    /// more; whether it does can be seen in the socket.
    fn look(&mut self, now: Instant) {
        if self.watched == Some(Interest::Write)
            && let Ok(queued) = sys::unsent(self.stream.as_fd())
        {
            if queued < self.queued {
                self.clock.alive(now);
            }
            self.queued = queued;
        }
    }
}
