//! # Chapter 7a. What happens to one connection, from accept to close?
//!
//! It is accepted, given a seat and a session, pumped until the session wants to close, and waited for until
//! the peer has closed too. A `Host` does this with one connection after another and waits wherever it must:
//! that is all that the modes `single`, `thread` and `process` share, and nearly all that they are.
//!
//! ```text
//!   accept ─► admit ─► serve: pump ─► wait for socket, stop or deadline ─► pump … ─► linger
//!                └─ no seat: turn away
//! ```
//!
//! The invariant: an error on a connection ends that connection and nothing else; so does a panic.
//!
//! What must not live here: which mode it is, and who else is working.
//!
//! before: `server.rs` … after: `farewell.rs`
//!
//! Experiment: send half a request with `nc`, press Ctrl-C in the server's terminal, then send the rest.

use crate::farewell::{Farewells, LINGER_IDLE};
use crate::ledger::{self, Board, Clerk, Field, Tally};
use crate::protocol::FileSession;
use crate::session::{Clock, Limits, Moved, Notice, PIECE_TEXT, Session, Turn, Want, pump};
use crate::store::Store;
use crate::sys::{self, Interest, PollFd, Stop, Turnstile};
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an accept loop waits before it looks for a free descriptor again.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// How often within the idle limit a peer that takes no more is looked at.
const LOOKS: u32 = 8;

/// What all workers share.
pub struct House {
    pub listener: TcpListener,
    pub store: Arc<Store>,
    pub board: Board,
    pub limits: Limits,
    /// Connections that may be open at the same time.
    pub max_connections: u64,
    /// Write a log.
    pub log: bool,
    /// When the lack of descriptors was last logged, in seconds since `started`, counted from 1; 0: never.
    pub complained: AtomicU64,
    pub started: Instant,
}

/// An accepted connection.
pub struct Guest {
    stream: TcpStream,
    peer: SocketAddr,
}

/// What came of looking at the door.
pub enum Arrival {
    Guest(Guest),
    Nobody,
    /// No descriptor or memory for one more connection.
    NoRoom,
    /// The door is shut.
    Shut,
}

impl House {
    /// A line in the log, if there is one.
    pub fn note(&self, text: &str) {
        if self.log {
            ledger::log(text);
        }
    }

    /// Looks at the door once, without waiting.
    pub fn accept(&self) -> Arrival {
        match self.listener.accept() {
            Ok((stream, peer)) => {
                // Replies are written whole, so waiting for more to send (Nagle) could only delay them.
                let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
                ready.map_or(Arrival::Nobody, |()| Arrival::Guest(Guest { stream, peer }))
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    self.complain(&error);
                    Arrival::NoRoom
                }
                Some(libc::EINVAL) => Arrival::Shut,
                // Nobody there, or somebody who left while waiting (ECONNABORTED, EPROTO): look again later.
                _ => Arrival::Nobody,
            },
        }
    }

    /// At most one line a second and process: a full log helps nobody.
    fn complain(&self, error: &io::Error) {
        let second = self.started.elapsed().as_secs() + 1;
        if self.complained.swap(second, Ordering::Relaxed) != second {
            self.note(&format!("cannot accept a connection for now: {error}"));
        }
    }

    /// Sleeps for a moment, since no event tells when a descriptor becomes free.
    pub fn wait_for_room(&self, stop: Stop) -> io::Result<()> {
        let until = Instant::now() + DESCRIPTOR_PAUSE;
        sys::poll(&mut [PollFd::new(stop.as_fd(), Interest::Read)], Some(until)).map(drop)
    }

    /// How long those who have been told goodbye may still hold up a stop.
    pub fn closing_time(&self) -> Duration {
        self.limits.grace.min(LINGER_IDLE)
    }

    fn session(&self, tally: Tally, peer: SocketAddr) -> FileSession {
        FileSession::new(self.store.clone(), Clerk::new(tally, peer, self.log))
    }

    /// Tells a connection that it is not wanted, and why.
    pub fn turn_away(&self, guest: Guest, farewells: &mut Farewells, reason: &'static str) {
        let mut session = self.session(self.board.house(), guest.peer);
        session.notice(Notice::Refused(reason));
        // The reply is shorter than any socket's buffer, so one turn sends it.
        let _ = pump(&mut &guest.stream, &mut session, &mut [], &mut Moved::default());
        farewells.add(guest.stream);
    }

    /// Tells those in the queue that the server stops, and refuses all others. This ends the listener for
    /// all who share it, so only the process that answers for the whole server may do it.
    pub fn shut(&self, farewells: &mut Farewells) {
        while let Arrival::Guest(guest) = self.accept() {
            self.turn_away(guest, farewells, "server stopping");
        }
        // It fails only when the door is shut already.
        let _ = sys::refuse_connections(&self.listener);
    }
}

/// Serves connections one after another: the accept loop of `single`, a pool's thread, a forked worker.
pub struct Host {
    house: Arc<House>,
    tally: Tally,
    stop: Stop,
    /// Shuts the door when the server stops, because nobody else is there to do it.
    keeps_door: bool,
    /// The receive buffer; empty between two calls of `pump`.
    scratch: Vec<u8>,
    /// Those who were turned away.
    farewells: Farewells,
}

impl Host {
    /// Worker `index`, counted from 0; from now on it counts as alive.
    pub fn new(house: Arc<House>, index: usize, stop: Stop, keeps_door: bool) -> Host {
        let tally = house.board.worker(index);
        tally.set(Field::Pid, process::id().into());
        let (scratch, farewells) = (vec![0; PIECE_TEXT], Farewells::default());
        Host { house, tally, stop, keeps_door, scratch, farewells }
    }

    /// The life of a worker that has no one to bring it connections.
    pub fn accept_and_serve(&mut self) -> io::Result<()> {
        let turnstile = Turnstile::new(self.house.listener.as_fd(), self.stop.as_fd())?;
        while !self.stop.raised() {
            match self.house.accept() {
                Arrival::Guest(guest) => self.admit(guest),
                Arrival::Nobody if self.farewells.is_empty() => turnstile.wait()?,
                Arrival::Nobody => {
                    self.farewells.wait(&[self.house.listener.as_fd(), self.stop.as_fd()], None)?;
                    self.farewells.tend();
                }
                Arrival::NoRoom => self.house.wait_for_room(self.stop)?,
                Arrival::Shut => break,
            }
        }
        if self.keeps_door {
            self.house.shut(&mut self.farewells);
        }
        mem::take(&mut self.farewells).finish(Instant::now() + self.house.closing_time())
    }

    fn admit(&mut self, guest: Guest) {
        let Some(_seat) = self.tally.admit(self.house.max_connections) else {
            return self.house.turn_away(guest, &mut self.farewells, "server busy");
        };
        // A panic costs this connection: its session is dropped and its clerk counts the failure.
        let _ = catch_unwind(AssertUnwindSafe(|| self.serve(guest)));
    }

    /// The whole life of a connection. Any error on it ends it and nothing else.
    pub fn serve(&mut self, guest: Guest) {
        self.tally.add(Field::Connections, 1);
        let mut session = self.house.session(self.tally, guest.peer);
        let mut clock = Clock::new(self.house.limits, Instant::now());
        loop {
            let mut moved = Moved::default();
            let turn = pump(&mut &guest.stream, &mut session, &mut self.scratch, &mut moved);
            self.tally.add(Field::BytesIn, moved.read);
            self.tally.add(Field::BytesOut, moved.written);
            clock.note(session.want(), moved, Instant::now());
            let blocked = match turn {
                Ok(Turn::Done) if moved.written > 0 => return self.linger(guest.stream),
                Ok(Turn::Done) | Err(_) => return,
                Ok(turn) => turn == Turn::Blocked,
            };
            if self.stop.raised() && self.stops(&mut session, &mut clock) {
                continue;
            }
            if clock.cut().is_some_and(|cut| Instant::now() >= cut) {
                return;
            }
            if blocked {
                self.wait(&guest.stream, &mut session, &mut clock);
            }
        }
    }

    /// Waits until the peer has closed too (chapter 7b); not for long when the server is to stop.
    fn linger(&self, stream: TcpStream) {
        let mut farewells = Farewells::default();
        farewells.add(stream);
        while !farewells.is_empty() && !self.stop.raised() {
            if farewells.wait(&[self.stop.as_fd()], None).is_err() {
                return;
            }
            farewells.tend();
        }
        // An error here ends the waiting, and the connection with it.
        let _ = farewells.finish(Instant::now() + self.house.closing_time());
    }

    /// The server is to stop: true when this was news to the connection.
    fn stops(&mut self, session: &mut FileSession, clock: &mut Clock) -> bool {
        let news = clock.cut().is_none();
        if news {
            clock.stop(Instant::now());
            session.notice(Notice::Stopping);
            if self.keeps_door {
                self.house.shut(&mut self.farewells);
            }
        }
        news
    }

    /// Sleeps until the socket is ready or the peer has had its time.
    fn wait(&self, stream: &TcpStream, session: &mut FileSession, clock: &mut Clock) {
        let writing = session.want() == Want::Write;
        let interest = if writing { Interest::Write } else { Interest::Read };
        let mut fds = [PollFd::new(stream.as_fd(), interest), PollFd::new(self.stop.as_fd(), Interest::Read)];
        // Once the request to stop has been noticed it must not wake us again.
        let watched = if clock.cut().is_none() { 2 } else { 1 };
        let (mut now, deadline) = (Instant::now(), clock.deadline());
        // A slow peer empties a large socket buffer for longer than the idle limit before there is room for
        // more; so we look from time to time whether it does.
        let look = now + self.house.limits.idle / LOOKS;
        let queued = if writing { sys::unsent(stream.as_fd()).ok() } else { None };
        let ready = sys::poll(&mut fds[..watched], Some(if writing { deadline.min(look) } else { deadline }));
        now = Instant::now();
        if matches!(ready, Ok(1..)) {
            return;
        }
        if writing && sys::unsent(stream.as_fd()).ok() < queued {
            clock.alive(now);
        } else if now >= deadline && clock.cut().is_none_or(|cut| now < cut) {
            // When the grace is over there is no time left for words.
            session.notice(Notice::Timeout);
        }
    }
}
