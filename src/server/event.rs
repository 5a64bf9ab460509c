//! How does one thread serve ten thousand connections? By never waiting for any one of them: the kernel
//! watches all sockets (epoll), and the thread serves in turn those that are ready, one bounded turn each.
//! Most connections are idle most of the time, and an idle one costs a session of a few hundred bytes, no
//! thread. The weak spot is the disk: a slow one delays all connections of the thread.

use crate::net::{Accepted, DESCRIPTOR_PAUSE, LINGER_LIMIT, LingerSet, Lingering};
use crate::server::connection::{Connection, Next};
use crate::server::shared::Shared;
use crate::server::{OVERSTAY, announce};
use crate::session::{Event, LOOKS, PIECE_TEXT};
use crate::stats::{Field, Permit, WorkerStats};
use crate::sys::{self, Epoll, Interest, Listen, Pid, Stop};
use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Each thread accepts and serves many connections at once; the main thread only stops the listening.
pub fn serve(shared: Arc<Shared>, ready: &str) -> io::Result<()> {
    let stop = Stop::listen(Listen::Stop)?;
    let loops = (0..shared.scoreboard.workers).map(|index| EventLoop::new(shared.clone(), index, stop));
    // Before the ready line: many early connections could use up all descriptors.
    let loops = loops.collect::<io::Result<Vec<EventLoop>>>()?;
    let (failures, ended) = mpsc::channel();
    for (index, mut event_loop) in loops.into_iter().enumerate() {
        let failures = failures.clone();
        let body = move || {
            let result = catch_unwind(AssertUnwindSafe(|| event_loop.run()));
            if let Err(error) = result.unwrap_or_else(|_| Err(io::Error::other("it panicked"))) {
                // All connections of this loop are lost: better no server than half of one.
                let _ = failures.send(error);
                let _ = sys::kill(process::id() as Pid, sys::SIGTERM);
            }
        };
        Builder::new().name(format!("worker-{index}")).spawn(body)?;
    }
    drop(failures);
    announce(ready);
    while !stop.requested() {
        sys::poll(&[(stop.as_fd(), Interest::Read)], None)?;
    }
    let mut lingering = LingerSet::default();
    shared.stop_listening(&mut lingering);
    let end = Instant::now() + shared.limits.grace + OVERSTAY;
    // The channel closes when the last thread has ended.
    let mut result = Ok(());
    while let Ok(error) = ended.recv_timeout(end.saturating_duration_since(Instant::now())) {
        result = Err(io::Error::other(format!("a worker cannot go on: {error}")));
    }
    lingering.finish(end.min(Instant::now() + shared.linger_limit()))?;
    result
}

/// Tokens of the listener, the self-pipe and the first connection. Tokens are numbers that are never used
/// again, not descriptors: an event for a connection that was closed in the same round finds nothing, and not
/// the next connection with that descriptor.
const LISTENER: u64 = 0;
const STOP: u64 = 1;
const FIRST: u64 = 2;

/// Most connections that are accepted in one round: new ones do not wait for busy old ones, and do not delay
/// them for long. With one a round, a small request takes a tenth longer.
const ACCEPTS: u32 = 64;

/// About how many connections an idle loop accepts before it goes to the end of the queue at the listener, of
/// which the kernel wakes the first. Without turns, all clients that come one at a time meet the same loop,
/// often on a processor that must be woken first: they are served a quarter less often.
const ACCEPTS_IN_A_ROW: u64 = 4;

/// Shortest time between two sweeps; each looks at every connection.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// What a loop knows of one of its connections.
struct Entry {
    phase: Phase,
    /// What epoll watches the socket for; `None`: it is not watched.
    watched: Option<Interest>,
}

enum Phase {
    Active(Connection),
    /// In its lingering close; a refused connection never had a permit.
    Lingering(Lingering, Option<Permit>),
}

/// One thread's connections, and what wakes the thread.
///
/// ```text
///            ┌──────────────────────────────────────────────────────────┐
///            ▼                                                          │
///   wait (epoll) ─► listener: accept ─► stop? ─► a turn for each ─► sweep: deadlines passed?
///                                                   │ Turn:   in the next round, ready or not
///                                                   │ Wait:   watch for what the session wants
///                                                   │ Linger: close our side, wait for the peer's end
///                                                   └ Close
/// ```
///
/// Only the call at the top of the loop waits. A socket is read and written first, and watched only when it
/// refuses: a short request is read, answered and closed without ever having been watched.
pub struct EventLoop {
    shared: Arc<Shared>,
    stats: WorkerStats,
    stop: Stop,
    epoll: Epoll,
    connections: HashMap<u64, Entry>,
    /// The token of the next connection.
    next: u64,
    /// Connections that can go on at once.
    again: Vec<u64>,
    /// The receive buffer; empty between two turns.
    scratch: Vec<u8>,
    /// When the next sweep is due.
    sweep: Option<Instant>,
    /// When to watch the listener again; `None`: it is watched, or closed.
    rewatch: Option<Instant>,
    /// The server is to stop.
    stopping: bool,
}

impl EventLoop {
    /// Worker `index`, counted from 0; from now on it counts as ready.
    fn new(shared: Arc<Shared>, index: usize, stop: Stop) -> io::Result<EventLoop> {
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
            rewatch: None,
            stopping: false,
        })
    }

    /// Runs until the server is to stop and the last connection is closed.
    fn run(&mut self) -> io::Result<()> {
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
                    token => self.turn(token, None),
                }
            }
            self.sweep();
            self.rewatch();
        }
        Ok(())
    }

    /// When to wake up without an event.
    fn alarm(&self) -> Option<Instant> {
        let now = (!self.again.is_empty()).then(Instant::now);
        now.or_else(|| self.sweep.into_iter().chain(self.rewatch).min())
    }

    /// A connection waits, or did: another thread may have been quicker.
    fn accept_ready(&mut self) {
        for _ in 0..ACCEPTS {
            match self.shared.accept() {
                Accepted::Connection(stream) => self.admit(stream),
                Accepted::WouldBlock => break,
                Accepted::NoDescriptors(_) => {
                    // Level-triggered epoll would report the listener again and again.
                    return self.leave_listener(DESCRIPTOR_PAUSE);
                }
                Accepted::Closed => return self.unwatch_listener(),
            }
        }
        // Each connection has the next token, so tokens count them.
        if self.connections.is_empty() && self.next.is_multiple_of(ACCEPTS_IN_A_ROW) {
            self.leave_listener(Duration::ZERO);
        }
    }

    /// Watches the listener again after `pause`, and then as the last of those that watch it.
    fn leave_listener(&mut self, pause: Duration) {
        self.unwatch_listener();
        self.rewatch = Some(Instant::now() + pause);
    }

    fn unwatch_listener(&self) {
        // It fails only when the listener is not watched.
        let _ = self.epoll.remove(self.shared.listener.as_fd());
    }

    /// Watches the listener again after a pause.
    fn rewatch(&mut self) {
        if self.rewatch.is_some_and(|time| Instant::now() >= time) {
            let watched = self.epoll.add_shared(self.shared.listener.as_fd(), LISTENER);
            self.rewatch = watched.err().map(|_| Instant::now() + DESCRIPTOR_PAUSE);
        }
    }

    fn admit(&mut self, stream: TcpStream) {
        let token = self.next;
        self.next += 1;
        match self.shared.admit(stream, self.stats) {
            Ok((stream, permit)) => {
                let connection = Connection::new(&self.shared, self.stats, stream, permit);
                // Its request is probably here already.
                self.serve(token, connection, None, None);
            }
            Err(refused) => self.linger(token, refused, None, None),
        }
    }

    /// The turn of one connection, `event` first. It is put back unless it is over.
    fn turn(&mut self, token: u64, event: Option<Event>) {
        // Closed in this round?
        let Some(entry) = self.connections.remove(&token) else {
            return;
        };
        match entry.phase {
            Phase::Active(connection) => self.serve(token, connection, entry.watched, event),
            Phase::Lingering(mut lingering, permit) => {
                if lingering.drain() {
                    self.put(token, Phase::Lingering(lingering, permit), entry.watched);
                }
            }
        }
    }

    fn put(&mut self, token: u64, phase: Phase, watched: Option<Interest>) {
        self.connections.insert(token, Entry { phase, watched });
    }

    fn serve(
        &mut self,
        token: u64,
        mut connection: Connection,
        mut watched: Option<Interest>,
        event: Option<Event>,
    ) {
        match connection.turn(event, &mut self.scratch) {
            Next::Turn => self.again.push(token),
            Next::Wait(interest) => {
                let socket = connection.stream.as_fd();
                if self
                    .epoll
                    .set(socket, token, &mut watched, Some(interest))
                    .is_err()
                {
                    return;
                }
                if interest == Interest::Write {
                    // The first sweep comes long before the deadline.
                    self.schedule_sweep(Instant::now() + self.shared.limits.idle / LOOKS);
                }
            }
            Next::Linger => return self.linger(token, connection.stream, watched, Some(connection.permit)),
            Next::Late(words) => return self.linger_late(token, connection.stream, watched, words),
            Next::Close => return,
        }
        self.schedule_sweep(connection.deadlines.deadline());
        self.put(token, Phase::Active(connection), watched);
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
            self.put(token, Phase::Lingering(lingering, permit), watched);
        }
    }

    /// The same, with words that come late; until then the socket is not watched.
    fn linger_late(&mut self, token: u64, stream: TcpStream, mut watched: Option<Interest>, words: Vec<u8>) {
        let most = self.shared.max_connections as usize + LINGER_LIMIT;
        let set = self.epoll.set(stream.as_fd(), token, &mut watched, None);
        if self.connections.len() < most && set.is_ok() {
            let lingering = Lingering::late(stream, words);
            self.schedule_sweep(lingering.deadline());
            self.put(token, Phase::Lingering(lingering, None), watched);
        }
    }

    /// The server is to stop: no more connections, and each open one is told.
    fn begin_stop(&mut self) {
        self.unwatch_listener();
        // It fails only when the self-pipe is not watched.
        let _ = self.epoll.remove(self.stop.as_fd());
        let now = Instant::now();
        (self.stopping, self.rewatch, self.sweep) = (true, None, Some(now));
        let mut active = Vec::new();
        for (&token, entry) in &mut self.connections {
            match &mut entry.phase {
                Phase::Active(_) => active.push(token),
                Phase::Lingering(lingering, _) => {
                    lingering.shorten_deadline(now + self.shared.linger_limit());
                }
            }
        }
        for token in active {
            // A request that came before the signal, and has not been read, is answered too.
            self.turn(token, None);
            self.turn(token, Some(Event::Stopping));
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
        for (&token, entry) in &mut self.connections {
            let (deadline, event) = match &mut entry.phase {
                Phase::Active(connection) => {
                    if entry.watched == Some(Interest::Write) {
                        connection.count_taken();
                    }
                    let deadlines = &connection.deadlines;
                    (deadlines.deadline(), deadlines.silence.event(now))
                }
                // It has sent nothing for too long: its last turn closes it.
                Phase::Lingering(lingering, _) => (lingering.deadline(), Event::Timeout),
            };
            if deadline <= now {
                late.push((token, event));
            } else {
                next = next.min(deadline);
            }
        }
        self.sweep = (!self.connections.is_empty()).then(|| next.max(now + SWEEP_PAUSE));
        late.into_iter()
            .for_each(|(token, event)| self.turn(token, Some(event)));
    }
}
