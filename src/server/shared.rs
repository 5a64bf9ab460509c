//! # Chapter 5a. What do all workers share?
//!
//! A listener, a folder, a scoreboard, and the rules: how many connections there may be, how long they may
//! take, what a rejected one is told. All modes accept connections here, so that all treat them alike.
//!
//! ```text
//!   accept ─► Connection ─► a session, chosen by the server's protocol
//!      │        └ no permit, or the server stops ─► reject, with the reason
//!      └────► WouldBlock, NoDescriptors, Closed
//! ```
//!
//! The invariant: accepting never waits, and none of its errors ends a worker.
//!
//! What must not live here: how bytes move, how a worker waits.
//!
//! Experiment: start a server with `--max-connections 1` in thread mode, hold one connection open with `nc`,
//! and open another.

use crate::http::{HttpSession, Names};
use crate::net::{LINGER_IDLE, LingerSet};
use crate::protocol::FileSession;
use crate::session::{ByteCounts, Event, Limits, Session, Stream, pump};
use crate::stats::{self, RateLimiter, RequestLog, Scoreboard, WorkerStats};
use crate::store::Store;
use crate::sys::{self, Interest, Stop};
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an accept loop waits before it looks for a free descriptor again.
pub const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// Why a connection is rejected.
pub const BUSY: &str = "server busy: as many connections are open as --max-connections allows";

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// LIST, GET, UPLOAD, DELETE, STATS (`protocol.rs`).
    File,
    /// HTTP/1.1 (`http.rs`).
    Http,
}

/// What all workers share.
pub struct Shared {
    pub protocol: Protocol,
    /// Host names that are accepted. For HTTP only.
    pub names: Arc<Names>,
    pub listener: TcpListener,
    pub store: Arc<Store>,
    pub scoreboard: Scoreboard,
    pub limits: Limits,
    /// Connections that may be open at the same time.
    pub max_connections: u64,
    /// Write a log.
    pub log: bool,
    /// When to log the lack of descriptors.
    pub limiter: RateLimiter,
}

/// A socket: the kernel can send a file to it without copying the content through this process.
impl Stream for &TcpStream {
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sys::send_last(self.as_fd(), bytes)
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        sys::send_file(self.as_fd(), file, offset, count)
    }
}

/// The result of one `accept`.
pub enum Accepted {
    Connection(TcpStream),
    WouldBlock,
    /// No descriptor or memory for one more connection.
    NoDescriptors,
    /// The listener is closed.
    Closed,
}

impl Shared {
    /// Writes a line to the log, unless --quiet.
    pub fn note(&self, text: &str) {
        if self.log {
            stats::log(text);
        }
    }

    /// Accepts one connection, if one waits.
    pub fn accept(&self) -> Accepted {
        match sys::accept(&self.listener) {
            Ok(stream) => Accepted::Connection(stream),
            Err(error) => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    self.log_rate_limited(&error);
                    Accepted::NoDescriptors
                }
                Some(libc::EINVAL) => Accepted::Closed,
                // No connection waits, or the peer left while it waited (ECONNABORTED, EPROTO): try again
                // later.
                _ => Accepted::WouldBlock,
            },
        }
    }

    fn log_rate_limited(&self, error: &io::Error) {
        if self.limiter.is_due() {
            self.note(&format!("cannot accept a connection for now: {error}"));
        }
    }

    /// Sleeps for a moment, since no event tells when a descriptor becomes free.
    pub fn wait_for_room(&self, stop: Stop) -> io::Result<()> {
        let until = Instant::now() + DESCRIPTOR_PAUSE;
        sys::poll(&[(stop.as_fd(), Interest::Read)], Some(until)).map(drop)
    }

    /// Do idle connections end when others wait? HTTP clients know how to connect again.
    pub fn gives_way(&self) -> bool {
        self.protocol == Protocol::Http
    }

    /// How long lingering connections may delay a stop.
    pub fn linger_limit(&self) -> Duration {
        self.limits.grace.min(LINGER_IDLE)
    }

    /// A new session for one connection.
    pub fn session(&self, stats: WorkerStats, stream: &TcpStream) -> Box<dyn Session> {
        // Only the log uses the address. A peer that has gone already has none, and needs no line.
        let logged = self.log.then(|| stream.peer_addr().ok()).flatten();
        let (store, request_log) = (self.store.clone(), RequestLog::new(stats, logged));
        match self.protocol {
            Protocol::File => Box::new(FileSession::new(store, request_log)),
            Protocol::Http => Box::new(HttpSession::new(store, request_log, self.names.clone())),
        }
    }

    /// Refuses a connection, and closes it so that the peer can read the reason.
    pub fn reject(&self, connection: TcpStream, lingering: &mut LingerSet, reason: &'static str) {
        self.refuse(&connection, reason);
        lingering.add(connection);
    }

    /// Sends the reason and nothing more.
    pub fn refuse(&self, connection: &TcpStream, reason: &'static str) {
        let mut session = self.session(self.scoreboard.server(), connection);
        session.notice(Event::Refused(reason));
        // The reply is shorter than any socket's buffer, so one call of `pump` sends it.
        let _ = pump(
            &mut &*connection,
            &mut *session,
            &mut [],
            &mut ByteCounts::default(),
        );
    }

    /// Rejects the connections in the backlog and closes the listener to new ones. That closes it in all
    /// processes that share it, so only the process that started the server may do it.
    pub fn stop_listening(&self, lingering: &mut LingerSet) {
        while let Accepted::Connection(connection) = self.accept() {
            self.reject(connection, lingering, "server stopping");
        }
        // It fails only when the listener is closed already.
        let _ = sys::refuse_connections(&self.listener);
    }
}
