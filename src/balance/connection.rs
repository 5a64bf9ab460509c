//! What happens to one connection on its way through the balancer? It connects to the back end whose turn it
//! is, or, if that one refuses or does not answer in time, to the next one. Until one has accepted it, all
//! that the client has sent is kept, so that the client cannot notice how many were tried. Then bytes cross,
//! and are counted, until both sides have ended, one breaks off, or nothing moves for too long.

use crate::balance::backends::{BackendLease, Backends};
use crate::balance::relay::{Relay, RelayBuffers, Side};
use crate::sys::{self, Epoll, Interest};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the attempt to connect until a back end counts as dead.
    pub connect: Duration,
    /// Without a single byte moving.
    pub idle: Duration,
    /// From the request to stop until open connections are closed.
    pub grace: Duration,
}

/// What a worker lends to a connection for one step.
pub struct StepContext<'h> {
    pub backends: &'h Backends,
    pub limits: Limits,
    pub buffers: RelayBuffers,
    /// When epoll last returned.
    pub now: Instant,
}

/// What a step did to a connection.
pub enum StepOutcome {
    /// It goes on with the next event.
    Open,
    /// Both sides have ended it, or nothing has moved for too long.
    Over,
    /// One side has broken it off.
    Broken,
    /// No back end takes it.
    Refused,
}

/// A client's connection and the one to its back end.
///
/// ```text
///   begin ──► connect ──► taken: turn, turn, … ──► Over     both have ended, or are silent
///               ▲   │                         └──► Broken   one has reset: a reset for the other too
///               └───┴── refused, no answer: try_next ──► Refused   no back end is left
/// ```
pub struct Link<'h> {
    pub relay: Relay,
    /// The lease of the back end that it has now.
    lease: BackendLease<'h>,
    /// Since when it has been connecting; `None`: it is connected.
    asked: Option<Instant>,
    /// How many back ends were tried.
    tried: usize,
    /// When a byte last moved.
    moved: Instant,
    /// Bytes that have been counted at the back end, by the side that they came from.
    counted: [u64; 2],
    /// Bytes unsent in full sockets, at the last check.
    unsent: i32,
    /// What epoll watches for, by side.
    watched: [Option<Interest>; 2],
}

impl<'h> Link<'h> {
    /// `backend`, the last of `tried`, is connecting.
    pub fn new(
        client: TcpStream,
        backend: TcpStream,
        lease: BackendLease<'h>,
        tried: usize,
        now: Instant,
    ) -> Link<'h> {
        Link {
            relay: Relay::new(client, backend),
            lease,
            asked: Some(now),
            tried,
            moved: now,
            counted: [0; 2],
            unsent: 0,
            watched: [None; 2],
        }
    }

    /// The first step. By now the client has probably sent something, and a back end on this machine has
    /// accepted the connection.
    pub fn begin(&mut self, context: &mut StepContext<'h>) -> StepOutcome {
        match self.relay.read_early(&mut context.buffers) {
            Ok(()) => self.connect(context),
            Err(_) => StepOutcome::Broken,
        }
    }

    /// Something happened at `side`.
    pub fn turn(&mut self, side: Side, context: &mut StepContext<'h>) -> StepOutcome {
        if self.asked.is_some() {
            return self.connect(context);
        }
        let result = self.relay.turn(side, &mut context.buffers);
        self.count(context.now);
        match result {
            Ok(()) if self.relay.is_over() => StepOutcome::Over,
            Ok(()) => StepOutcome::Open,
            Err(_) => StepOutcome::Broken,
        }
    }

    /// Has the back end accepted the connection?
    fn connect(&mut self, context: &mut StepContext<'h>) -> StepOutcome {
        match self.relay.poll_connect(&mut context.buffers) {
            Ok(false) => return StepOutcome::Open,
            Err(error) => return self.try_next(&error, context),
            Ok(true) => {}
        }
        self.asked = None;
        context.backends.connected(&self.lease);
        self.count(context.now);
        StepOutcome::Open
    }

    /// It has not, and will not: takes the next one. Each back end is tried at most once.
    fn try_next(&mut self, error: &io::Error, context: &mut StepContext<'h>) -> StepOutcome {
        context.backends.failed(&self.lease, error);
        match context.backends.connect_next(&mut self.tried) {
            Ok(Some((stream, lease))) => {
                self.lease = lease;
                self.asked = Some(context.now);
                self.relay.set_backend(stream);
                // The socket that epoll watched has been closed.
                self.watched[Side::Backend as usize] = None;
                self.connect(context)
            }
            Ok(None) => StepOutcome::Refused,
            Err(error) => {
                context.backends.log_rate_limited(&error);
                StepOutcome::Refused
            }
        }
    }

    /// Adds what has crossed since the last time to the back end's counters.
    fn count(&mut self, now: Instant) {
        let crossed = Side::BOTH.map(|side| self.relay.crossed(side));
        if crossed != self.counted {
            self.lease
                .moved(crossed[0] - self.counted[0], crossed[1] - self.counted[1]);
            self.counted = crossed;
            self.moved = now;
        }
    }

    /// Has a limit passed?
    pub fn is_overdue(&mut self, context: &StepContext) -> bool {
        let (limits, now) = (context.limits, context.now);
        if let Some(asked) = self.asked {
            return now - asked >= limits.connect;
        }
        // A slow peer may need longer than the limit to make room in a large socket buffer. If the buffer
        // shrinks, that is progress.
        let full = Side::BOTH.iter().filter(|side| self.relay.keeps(side.other()));
        let unsent = full
            .map(|&side| sys::unsent(self.relay.stream(side).as_fd()).unwrap_or(0))
            .sum();
        if unsent < mem::replace(&mut self.unsent, unsent) {
            self.moved = now;
        }
        now - self.moved >= limits.idle
    }

    pub fn give_up(&mut self, context: &mut StepContext<'h>) -> StepOutcome {
        match self.asked {
            Some(_) => self.try_next(&io::Error::new(ErrorKind::TimedOut, "no answer"), context),
            None => self.end(),
        }
    }

    /// An orderly end; a reset if bytes are left, so that the end does not hide the loss.
    pub fn end(&self) -> StepOutcome {
        if Side::BOTH.iter().any(|&side| self.relay.keeps(side)) {
            StepOutcome::Broken
        } else {
            StepOutcome::Over
        }
    }

    /// Lets `epoll` watch both sides for what the connection waits for, if that has changed.
    pub fn watch(&mut self, epoll: &Epoll, tokens: [u64; 2]) -> io::Result<()> {
        for side in Side::BOTH {
            // Watched for nothing, a closed socket would still wake epoll again and again (EPOLLHUP).
            epoll.set(
                self.relay.stream(side).as_fd(),
                tokens[side as usize],
                &mut self.watched[side as usize],
                self.relay.wants(side),
            )?;
        }
        Ok(())
    }
}
