//! # Chapter 9a. How does one close a connection so that its last reply arrives?
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
//! Experiment: let `add` close at once, and see in `tests/it/faults.rs` which refusals are no longer read.

use crate::sys::{self, Interest};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// How long a connection lingers without a byte arriving.
pub const LINGER_IDLE: Duration = Duration::from_secs(2);

/// How long a connection lingers at most.
const LINGER: Duration = Duration::from_secs(10);

/// Most connections that linger at the same time; more are closed at once, at the risk of a reset.
pub const LINGER_LIMIT: usize = 1024;

/// How often a worker that is busy elsewhere drains them. Each time costs a call for each.
pub const DRAIN_PAUSE: Duration = Duration::from_millis(250);

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
        Some(Lingering {
            stream,
            end: now + LINGER,
            idle: now + LINGER_IDLE,
        })
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

    /// Sleeps until one of them, or of `others`, has something, or `deadline`.
    pub fn wait(&self, others: &[BorrowedFd], deadline: Option<Instant>) -> io::Result<()> {
        let ours = self.all.iter().map(|lingering| lingering.stream.as_fd());
        let all = others.iter().copied().chain(ours);
        let fds: Vec<_> = all.map(|fd| (fd, Interest::Read)).collect();
        let ends = self.all.iter().map(Lingering::deadline);
        sys::poll(&fds, ends.chain(deadline).min()).map(drop)
    }

    /// Waits for all of them, at most until `deadline`.
    pub fn finish(mut self, deadline: Instant) -> io::Result<()> {
        while !self.is_empty() && Instant::now() < deadline {
            self.wait(&[], Some(deadline))?;
            self.drain();
        }
        Ok(())
    }
}

/// A queue from threads that serve, one connection at a time, to the one that waits for all lingering ones.
pub fn linger_queue() -> io::Result<(LingerSender, LingerReceiver)> {
    let (sender, queue) = mpsc::channel();
    let (reader, writer) = io::pipe()?;
    let signaled = Arc::new(AtomicBool::new(false));
    let sender = LingerSender {
        queue: sender,
        wake: writer,
        signaled: signaled.clone(),
    };
    Ok((
        sender,
        LingerReceiver {
            queue,
            wake: reader,
            signaled,
        },
    ))
}

/// The end of the threads that serve.
pub struct LingerSender {
    queue: Sender<Lingering>,
    /// A byte in this pipe wakes the receiver out of its `poll`, which no channel can.
    wake: PipeWriter,
    /// There is a byte in the pipe, or will be at once. So there is never more than one.
    signaled: Arc<AtomicBool>,
}

impl LingerSender {
    pub fn send(&self, lingering: Lingering) {
        // Both fail only when the receiver is gone: then the connection is closed at once.
        if self.queue.send(lingering).is_ok() && !self.signaled.swap(true, Ordering::AcqRel) {
            let _ = (&self.wake).write(&[0]);
        }
    }
}

/// The end of the thread that waits.
pub struct LingerReceiver {
    queue: Receiver<Lingering>,
    wake: PipeReader,
    signaled: Arc<AtomicBool>,
}

impl LingerReceiver {
    /// What has been sent by now.
    pub fn receive(&self) -> impl Iterator<Item = Lingering> {
        // Before the queue is read: what is sent after that signals anew.
        if self.signaled.swap(false, Ordering::AcqRel) {
            let _ = (&self.wake).read(&mut [0]);
        }
        self.queue.try_iter()
    }
}

impl AsFd for LingerReceiver {
    /// Readable when something has been sent.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
