//! What do all workers share? A listener, a folder, a scoreboard, and the rules: how many connections there
//! may be, how long they may take, what a refused one is told.

use crate::net::{Accepted, LINGER_IDLE, LingerSet, Listener};
use crate::protocol::FileSession;
use crate::session::{ByteCounts, Event, Limits, Pumped, Session, pump};
use crate::stats::{self, Permit, RateLimiter, RequestLog, Scoreboard, WorkerStats};
use crate::store::Store;
use crate::sys;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Why a connection is refused.
const BUSY: &str = "server busy: as many connections are open as --max-connections allows";
const STOPPING: &str = "server stopping";

/// What the server needs to know of the protocol that it speaks.
pub trait Protocol: Send + Sync {
    /// A session for one connection.
    fn session(&self, store: Arc<Store>, log: RequestLog) -> Box<dyn Session>;

    /// Do idle connections end when others wait? For HTTP only, whose clients know how to connect again.
    fn gives_way(&self) -> bool {
        false
    }

    /// How the ready line goes on. For HTTP only, which says what to open in a browser.
    fn ready_url(&self, _address: SocketAddr) -> String {
        String::new()
    }
}

/// LIST, GET, UPLOAD, DELETE, STATS (`protocol.rs`).
pub struct FileProtocol;

impl Protocol for FileProtocol {
    fn session(&self, store: Arc<Store>, log: RequestLog) -> Box<dyn Session> {
        Box::new(FileSession::new(store, log))
    }
}

/// What all workers share.
pub struct Shared {
    pub protocol: Box<dyn Protocol>,
    pub listener: Listener,
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

impl Shared {
    /// Writes a line to the log, unless --quiet.
    pub fn note(&self, text: &str) {
        if self.log {
            stats::log(text);
        }
    }

    /// Accepts one connection, if one waits.
    pub fn accept(&self) -> Accepted {
        let accepted = self.listener.accept();
        if let Accepted::NoDescriptors(error) = &accepted
            && self.limiter.is_due()
        {
            self.note(&format!("cannot accept a connection for now: {error}"));
        }
        accepted
    }

    /// Gives a connection a permit, which `stats` counts. `Err`: there is none; the peer has been told, and
    /// the connection should linger, so that the peer can read it.
    pub fn admit(&self, stream: TcpStream, stats: WorkerStats) -> Result<(TcpStream, Permit), TcpStream> {
        match stats.try_acquire(self.max_connections) {
            Some(permit) => Ok((stream, permit)),
            None => Err(self.refuse(stream, BUSY)),
        }
    }

    fn refuse(&self, stream: TcpStream, reason: &'static str) -> TcpStream {
        let mut session = self.session(self.scoreboard.server(), &stream);
        session.notice(Event::Refused(reason));
        // The reply is shorter than any socket's buffer, so this does not wait.
        let mut moved = ByteCounts::default();
        while let Ok(Pumped::Again) = pump(&mut &stream, &mut *session, &mut [], &mut moved) {}
        stream
    }

    /// A new session for one connection.
    pub fn session(&self, stats: WorkerStats, stream: &TcpStream) -> Box<dyn Session> {
        // Only the log and watchers use the address. A peer that has gone already has none.
        let peer = stream.peer_addr().ok();
        let log = RequestLog::new(stats, peer.filter(|_| self.log)).shown(peer);
        self.protocol.session(self.store.clone(), log)
    }

    /// Refuses the connections in the backlog and closes the listener in all processes that share it: only
    /// the process that started the server may do it. One that was passed on stays for the next server.
    pub fn stop_listening(&self, lingering: &mut LingerSet) {
        let closes = !sys::is_passed_on(&self.listener);
        while closes && let Accepted::Connection(stream) = self.accept() {
            lingering.add(self.refuse(stream, STOPPING));
        }
        self.listener.close();
    }

    /// How long lingering connections may delay a stop.
    pub fn linger_limit(&self) -> Duration {
        self.limits.grace.min(LINGER_IDLE)
    }
}
