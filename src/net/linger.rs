//! How does one close a connection so that its last reply arrives? Send no more (half-close), then read and
//! discard until the peer closes too or its time is over: the lingering close. Closing a socket on which
//! unread bytes wait, or later arrive, makes the kernel send a reset, and a reset may destroy a reply that
//! the peer has not read yet (RFC 9112, section 9.6).

use crate::sys::{self, Interest};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a connection lingers without a byte arriving.
pub const LINGER_IDLE: Duration = Duration::from_secs(2);

/// How long a connection lingers at most.
pub const LINGER: Duration = Duration::from_secs(10);

/// Most connections that linger at the same time; more are closed at once, at the risk of a reset.
pub const LINGER_LIMIT: usize = 1024;

/// How often a worker that is busy elsewhere drains them. Each time costs a call for each.
const DRAIN_PAUSE: Duration = Duration::from_millis(250);

/// A connection that is half-closed and waits for its peer to close.
///
/// ```text
///   last reply ──► shutdown(Write) ──► read, read, … ──► end of stream, or time over ──► close
/// ```
pub struct Lingering {
    pub stream: TcpStream,
    /// When it is closed, whatever it sends.
    pub(super) end: Instant,
    /// When it is closed unless it sends something; before its last words: when they are due.
    pub(super) idle: Instant,
    /// Last words that come late; only for `access`.
    pub(super) late: Option<Vec<u8>>,
}

impl Lingering {
    /// Half-closes the connection and begins to wait; `None`: the peer has closed already.
    pub fn begin(stream: TcpStream) -> Option<Lingering> {
        stream.shutdown(Shutdown::Write).ok()?;
        let now = Instant::now();
        Some(Lingering {
            stream,
            end: now + LINGER,
            idle: now + LINGER_IDLE,
            late: None,
        })
    }

    /// Reads and discards what has come; false when it is time to close.
    pub fn drain(&mut self) -> bool {
        if self.speaks_late() {
            return true;
        }
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

    /// Closes at `end` if that is earlier: the server stops. For event mode only.
    pub fn shorten_deadline(&mut self, end: Instant) {
        self.end = self.end.min(end);
    }
}

/// All lingering connections of one worker. A connection that lingers does not block the worker.
#[derive(Default)]
pub struct LingerSet {
    all: Vec<Lingering>,
    /// When a worker that is busy elsewhere looks at them again.
    due: Option<Instant>,
}

impl LingerSet {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn add(&mut self, stream: TcpStream) {
        self.extend(Lingering::begin(stream));
    }

    /// Takes connections that linger already.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Lingering>) {
        self.drain_when_due();
        self.all.extend(more);
        self.all.truncate(LINGER_LIMIT);
    }

    pub fn drain(&mut self) {
        self.all.retain_mut(Lingering::drain);
        self.due = Some(Instant::now() + DRAIN_PAUSE);
    }

    /// The same for a worker that is busy elsewhere: not more often than every `DRAIN_PAUSE`.
    pub fn drain_when_due(&mut self) {
        if !self.is_empty() && self.due.is_none_or(|due| Instant::now() >= due) {
            self.drain();
        }
    }

    /// Sleeps until one of them, or of `others`, has something, or `deadline`; then drains them.
    pub fn wait(&mut self, others: &[BorrowedFd], deadline: Option<Instant>) -> io::Result<()> {
        let heard = self.all.iter().filter(|lingering| !lingering.is_late());
        let ours = heard.map(|lingering| lingering.stream.as_fd());
        let all = others.iter().copied().chain(ours);
        let fds: Vec<_> = all.map(|fd| (fd, Interest::Read)).collect();
        let ends = self.all.iter().map(Lingering::deadline);
        sys::poll(&fds, ends.chain(deadline).min())?;
        self.drain();
        Ok(())
    }

    /// Waits for all of them, at most until `deadline`.
    pub fn finish(&mut self, deadline: Instant) -> io::Result<()> {
        while !self.is_empty() && Instant::now() < deadline {
            self.wait(&[], Some(deadline))?;
        }
        Ok(())
    }
}

/// A queue from the threads that serve to the one that waits for all lingering connections.
pub struct LingerQueue {
    waiting: Mutex<Vec<Lingering>>,
    /// A pipe that wakes the receiver out of its `poll`, which no channel can. It holds one byte while
    /// connections wait, and none otherwise.
    pub readable: PipeReader,
    wake: PipeWriter,
}

impl LingerQueue {
    pub fn new() -> io::Result<LingerQueue> {
        let (readable, wake) = io::pipe()?;
        Ok(LingerQueue {
            waiting: Mutex::default(),
            readable,
            wake,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lingering>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn send(&self, lingering: Lingering) {
        let mut waiting = self.lock();
        waiting.push(lingering);
        if waiting.len() == 1 {
            // One byte always fits.
            let _ = (&self.wake).write(&[0]);
        }
    }

    /// What has been sent since the last call.
    pub fn receive(&self) -> Vec<Lingering> {
        let mut waiting = self.lock();
        if !waiting.is_empty() {
            let _ = (&self.readable).read(&mut [0]);
        }
        // `mem::take` leaves an empty list in the place of this one.
        mem::take(&mut waiting)
    }
}
