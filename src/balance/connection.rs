//! # Chapter 16a. What happens to one connection on its way through the balancer?
//!
//! It asks the back end whose turn it is, and if that refuses or does not answer in time the next one, as
//! often as there are back ends. When one has taken it, bytes cross, and are counted, until both sides have
//! said all they had to say, one breaks off, or nothing moves for too long.
//!
//! ```text
//!   begin ──► connect ──► taken: turn, turn, … ──► Over     both have nothing more to say, or are silent
//!               ▲   │                         └──► Broken   one has reset: a reset for the other too
//!               └───┴── refused, no answer: try_next ──► Refused   nobody is left to ask
//! ```
//!
//! The invariant: as long as no back end has taken the connection, everything that the client has sent is
//! still here, so that the client cannot notice how many were asked.
//!
//! What must not live here: whose turn it is, when a step is due.
//!
//! before: `balance.rs` … after: `balance/backends.rs`
//!
//! Experiment: let `turn` answer `Over` where it answers `Broken`, and see which test takes half a reply for
//! a whole one.

use crate::balance::backends::{BackendLease, Backends, ConnectAttempt};
use crate::balance::relay::{Relay, RelayBuffers, Side};
use crate::sys::{self, Epoll, Interest};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How often within a limit it is looked whether it has passed: often enough to be nearly exact.
const LOOKS: u32 = 8;

/// Bounds of the time between two looks: seldom enough to cost nothing, often enough for a long limit.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the attempt to connect until a back end counts as dead.
    pub connect: Duration,
    /// Without a single byte moving.
    pub idle: Duration,
    /// From the request to stop until connections are cut.
    pub grace: Duration,
}

impl Limits {
    /// How often it is looked whether one has passed.
    pub fn look(&self) -> Duration {
        (self.connect.min(self.idle) / LOOKS).clamp(LOOK_EVERY[0], LOOK_EVERY[1])
    }
}

/// What a worker lends to a connection for one step.
pub struct StepContext<'h> {
    pub backends: &'h Backends,
    pub limits: Limits,
    pub kit: RelayBuffers,
    /// When epoll last had something to say.
    pub now: Instant,
}

/// What becomes of a connection.
pub enum StepOutcome {
    /// It goes on when epoll says so.
    Open,
    /// Both sides have ended it, or nothing has moved for too long.
    Over,
    /// One side has broken it off.
    Broken,
    /// No back end takes it.
    Refused,
}

/// A connection.
pub struct Link<'h> {
    relay: Relay,
    /// The place at the back end that it has now.
    ticket: BackendLease<'h>,
    /// Since when that is asked to take it; `None`: it has.
    asked: Option<Instant>,
    /// Back ends that were asked.
    tried: usize,
    /// When a byte last moved.
    moved: Instant,
    /// Bytes that have been counted at the back end, by the side that they came from.
    counted: [u64; 2],
    /// Bytes that were in sockets without room for more, at the last look.
    unsent: i32,
    /// What epoll watches for, by side.
    watched: [Option<Interest>; 2],
}

impl<'h> Link<'h> {
    /// `backend`, the last of `tried`, is being asked to take the connection.
    pub fn new(
        client: TcpStream,
        backend: TcpStream,
        ticket: BackendLease<'h>,
        tried: usize,
        now: Instant,
    ) -> Link<'h> {
        let (relay, counted, watched) = (Relay::new(client, backend), [0; 2], [None; 2]);
        Link { relay, ticket, asked: Some(now), tried, moved: now, counted, unsent: 0, watched }
    }

    /// The first step. By now the client has probably sent something, and a back end on this machine taken
    /// the connection.
    pub fn begin(&mut self, tools: &mut StepContext<'h>) -> StepOutcome {
        match self.relay.listen(&mut tools.kit) {
            Ok(()) => self.connect(tools),
            Err(_) => StepOutcome::Broken,
        }
    }

    /// Something happened at `side`.
    pub fn turn(&mut self, side: Side, tools: &mut StepContext<'h>) -> StepOutcome {
        if self.asked.is_some() {
            return self.connect(tools);
        }
        let result = self.relay.turn(side, &mut tools.kit);
        self.count(tools.now);
        match result {
            Ok(()) if self.relay.is_over() => StepOutcome::Over,
            Ok(()) => StepOutcome::Open,
            Err(_) => StepOutcome::Broken,
        }
    }

    /// Has the back end taken the connection?
    fn connect(&mut self, tools: &mut StepContext<'h>) -> StepOutcome {
        match self.relay.knock(&mut tools.kit) {
            Ok(false) => return StepOutcome::Open,
            Err(error) => return self.try_next(&error, tools),
            Ok(true) => {}
        }
        self.asked = None;
        self.ticket.connected();
        self.count(tools.now);
        StepOutcome::Open
    }

    /// It has not, and will not. As many back ends are tried as there are.
    fn try_next(&mut self, error: &io::Error, tools: &mut StepContext<'h>) -> StepOutcome {
        tools.backends.mark_down(&self.ticket, error);
        match tools.backends.dial(&mut self.tried) {
            ConnectAttempt::Begun(stream, ticket) => {
                self.ticket = ticket;
                self.asked = Some(tools.now);
                self.relay.turn_to(stream);
                // The socket that epoll watched has been closed.
                self.watched[Side::Backend as usize] = None;
                self.connect(tools)
            }
            ConnectAttempt::NoRoom(error) => {
                tools.backends.log_rate_limited(&error);
                StepOutcome::Refused
            }
            ConnectAttempt::Nobody => StepOutcome::Refused,
        }
    }

    /// Tells the back end's counters what has crossed since the last time.
    fn count(&mut self, now: Instant) {
        let crossed = Side::BOTH.map(|side| self.relay.crossed(side));
        if crossed != self.counted {
            self.ticket.moved(crossed[0] - self.counted[0], crossed[1] - self.counted[1]);
            self.counted = crossed;
            self.moved = now;
        }
    }

    /// Has a limit passed?
    pub fn is_overdue(&mut self, tools: &StepContext) -> bool {
        let (limits, now) = (tools.limits, tools.now);
        if let Some(asked) = self.asked {
            return now - asked >= limits.connect;
        }
        // Somebody slow empties a large socket buffer for longer than the limit before there is room for
        // more, and lives nevertheless.
        let full = Side::BOTH.iter().filter(|side| self.relay.keeps(side.other()));
        let unsent = full.map(|&side| sys::unsent(self.relay.stream(side).as_fd()).unwrap_or(0)).sum();
        if unsent < mem::replace(&mut self.unsent, unsent) {
            self.moved = now;
        }
        now - self.moved >= limits.idle
    }

    pub fn give_up(&mut self, tools: &mut StepContext<'h>) -> StepOutcome {
        match self.asked {
            Some(_) => self.try_next(&io::Error::new(ErrorKind::TimedOut, "no answer"), tools),
            None => self.cut(),
        }
    }

    /// An orderly end, unless it would hide that there was more.
    pub fn cut(&self) -> StepOutcome {
        let more = Side::BOTH.iter().any(|&side| self.relay.keeps(side));
        if more { StepOutcome::Broken } else { StepOutcome::Over }
    }

    /// Lets `epoll` watch both sides for what the connection waits for, if that has changed.
    pub fn watch(&mut self, epoll: &Epoll, tokens: [u64; 2]) -> io::Result<()> {
        for side in Side::BOTH {
            let (fd, token) = (self.relay.stream(side).as_fd(), tokens[side as usize]);
            let (wanted, watched) = (self.relay.wants(side), &mut self.watched[side as usize]);
            match (*watched, wanted) {
                (before, after) if before == after => {}
                (None, Some(interest)) => epoll.add(fd, interest, token)?,
                (Some(_), Some(interest)) => epoll.change(fd, interest, token)?,
                // Asked for nothing, epoll would tell again and again that the other side has closed.
                (Some(_), None) => epoll.remove(fd)?,
                (None, None) => {}
            }
            *watched = wanted;
        }
        Ok(())
    }

    /// The client, for whom there is no back end.
    pub fn into_client(self) -> TcpStream {
        self.relay.into_client()
    }

    /// Ends it with a reset on both sides.
    pub fn reset(self) {
        self.relay.reset();
    }
}
