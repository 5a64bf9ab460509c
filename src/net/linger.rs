//! # Chapter 10a. How does one close a connection so that its last reply arrives?
//!
//! Closing a socket on which unread bytes wait, or later arrive, makes the kernel send a reset, and a reset
//! may destroy a reply that the peer has not read yet (RFC 9112, section 9.6, says the same for HTTP). The
//! lingering close avoids this: send no more (half-close), then read and discard until the peer closes too or
//! its time is over.
//!
//! ```text
//!   reply ──► shutdown(Write) ──► read, read, … ──► end of stream, or time over ──► close
//! ```
//!
//! The invariant: no connection lingers for longer than `LINGER`, nor for longer than `LINGER_IDLE` without a
//! byte from the peer. Many can linger at the same time, so that a rejected connection does not block the
//! accept loop.
//!
//! What must not live here: what the last reply says.
//!
//! before: `net.rs` … after: `pool.rs`
//!
//! Experiment: let `add` close at once, and see in `tests/faults.rs` which refusals are no longer read.

use crate::sys::{self, Interest, PollFd};
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How long a connection lingers without a byte arriving.
pub const LINGER_IDLE: Duration = Duration::from_secs(2);

/// How long a connection lingers at most.
const LINGER: Duration = Duration::from_secs(10);

/// Most connections that linger at the same time; more are closed at once, at the risk of a reset.
pub const LINGER_LIMIT: usize = 1024;

/// A connection that is half-closed and waits for its peer to close.
pub struct Lingering {
    pub stream: TcpStream,
    /// When it is closed, whatever it sends.
    end: Instant,
    /// When it is closed unless it sends something.
    idle: Instant,
}

impl Lingering {
    /// Half-closes the connection and begins to wait; `None`: the peer has closed already.
    pub fn begin(stream: TcpStream) -> Option<Lingering> {
        stream.shutdown(Shutdown::Write).ok()?;
        let now = Instant::now();
        Some(Lingering { stream, end: now + LINGER, idle: now + LINGER_IDLE })
    }

    /// Reads and discards what has come; false when it is time to close.
    pub fn drain(&mut self) -> bool {
        let mut sink = [0; 16 * 1024];
        let read = (&self.stream).read(&mut sink);
        let now = Instant::now();
        match read {
            Ok(0) => return false,
            Ok(_) => self.idle = now + LINGER_IDLE,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
        now < self.deadline()
    }

    /// When it is closed, if nothing more comes.
    pub fn deadline(&self) -> Instant {
        self.end.min(self.idle)
    }

    /// Closes at `end` if that is earlier: the server stops.
    pub fn shorten_deadline(&mut self, end: Instant) {
        self.end = self.end.min(end);
    }
}

/// All lingering connections of one worker.
#[derive(Default)]
pub struct LingerSet(Vec<Lingering>);

impl LingerSet {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, stream: TcpStream) {
        if self.0.len() < LINGER_LIMIT {
            self.0.extend(Lingering::begin(stream));
        }
    }

    pub fn drain(&mut self) {
        self.0.retain_mut(Lingering::drain);
    }

    /// Sleeps until one of them, or of `others`, has something, or `deadline`.
    pub fn wait(&self, others: &[BorrowedFd], deadline: Option<Instant>) -> io::Result<()> {
        let ours = self.0.iter().map(|lingering| lingering.stream.as_fd());
        let watch = |fd| PollFd::new(fd, Interest::Read);
        let mut fds: Vec<PollFd> = others.iter().copied().chain(ours).map(watch).collect();
        let ends = self.0.iter().map(Lingering::deadline);
        sys::poll(&mut fds, ends.chain(deadline).min()).map(drop)
    }

    /// Waits for all of them, at most until `deadline`.
    pub fn finish(mut self, deadline: Instant) -> io::Result<()> {
        while !self.0.is_empty() && Instant::now() < deadline {
            self.wait(&[], Some(deadline))?;
            self.drain();
        }
        Ok(())
    }
}
