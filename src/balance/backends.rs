//! Which back end is next, and who is alive? Each connection goes to the next back end that is alive, or, by
//! the other policy, to the one with the fewest open connections. One that refuses is taken out at once; from
//! then on the main thread makes a health check twice a second, until it connects.

use crate::balance::relay::UNREAD;
use crate::net::is_shortage;
use crate::stats::{self, RateLimiter};
use crate::sys::{self, Interest, Stop};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// How the next back end is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    RoundRobin,
    LeastConnections,
}

impl Policy {
    /// The policy of this name; that there is one has been checked.
    pub fn named(name: &str) -> Policy {
        match name {
            "least-connections" => Policy::LeastConnections,
            _ => Policy::RoundRobin,
        }
    }
}

/// A server behind the balancer. All workers count into it, so no two share a cache line.
#[repr(align(64))]
struct Backend {
    address: SocketAddr,
    /// Gets connections. Cleared by the worker that fails to connect, set by the first that connects.
    alive: AtomicBool,
    counters: Counters,
}

/// What one back end did since the start.
#[derive(Default)]
struct Counters {
    /// Connections chosen for it and not closed yet.
    open: AtomicU64,
    /// Connections that were made.
    connections: AtomicU64,
    /// Connections that could not be made.
    failures: AtomicU64,
    /// Bytes that clients sent to it.
    bytes_to: AtomicU64,
    /// Bytes that it sent to clients.
    bytes_from: AtomicU64,
}

/// One connection's share of a back end, counted in `open`; given back when it is dropped.
pub struct BackendLease<'b>(&'b Backend);

impl<'b> BackendLease<'b> {
    fn new(backend: &'b Backend) -> BackendLease<'b> {
        backend.counters.open.fetch_add(1, Relaxed);
        BackendLease(backend)
    }

    /// Bytes crossed, in both directions.
    pub fn moved(&self, to: u64, from: u64) {
        // Most turns move bytes in one direction only, and an atomic addition of 0 costs as much as any.
        if to > 0 {
            self.0.counters.bytes_to.fetch_add(to, Relaxed);
        }
        if from > 0 {
            self.0.counters.bytes_from.fetch_add(from, Relaxed);
        }
    }
}

impl Drop for BackendLease<'_> {
    fn drop(&mut self) {
        self.0.counters.open.fetch_sub(1, Relaxed);
    }
}

/// Says this error nothing about the back end? No port is left here, or a rule of this machine, or a missing
/// route, forbids the connection (connect(2)).
fn is_our_fault(error: &io::Error) -> bool {
    let codes = [libc::EADDRNOTAVAIL, libc::EPERM, libc::EACCES, libc::ENETUNREACH];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// All back ends, in the order of the command line.
///
/// ```text
///   alive: a b c   ►  a b c a b c …
///   alive: a   c   ►  a c a c a c …      b: check … refused … check … connected: it is back
/// ```
///
/// As long as none dies or comes back, the shares of those alive differ by one connection at most, because
/// all workers use one index of the last choice. The wrong version counts connections and takes the
/// remainder: with `b` dead, `c` gets the turns of both. Another lets each worker count for itself, and gives
/// the first back end the first turn of each.
pub struct Backends {
    list: Vec<Backend>,
    policy: Policy,
    /// Index of the one that was chosen last, by any worker.
    last: AtomicUsize,
    /// The log says that none is alive, and not yet that one is back.
    all_down: AtomicBool,
    log: bool,
    /// When to log the lack of descriptors.
    limiter: RateLimiter,
}

impl Backends {
    pub fn new(addresses: &[SocketAddr], policy: Policy, log: bool) -> Backends {
        let backend = |&address| Backend {
            address,
            alive: AtomicBool::new(true),
            counters: Counters::default(),
        };
        Backends {
            list: addresses.iter().map(backend).collect(),
            policy,
            // The first turn is that of the one after the last.
            last: AtomicUsize::new(addresses.len().saturating_sub(1)),
            all_down: AtomicBool::new(false),
            log,
            limiter: RateLimiter::default(),
        }
    }

    /// Writes a line to the log, unless --quiet.
    pub fn note(&self, text: &str) {
        if self.log {
            stats::log(text);
        }
    }

    /// As `note`, but at most once a second.
    pub fn log_rate_limited(&self, error: &io::Error) {
        if self.limiter.is_due() {
            self.note(&format!("cannot take a connection for now: {error}"));
        }
    }

    /// The back end whose turn it is.
    fn choose(&self) -> BackendLease<'_> {
        let mut last = self.last.load(Relaxed);
        loop {
            let next = self.after(last);
            match self.last.compare_exchange_weak(last, next, Relaxed, Relaxed) {
                Ok(_) => return BackendLease::new(&self.list[next]),
                // Another worker was faster: it is the turn of the one after that.
                Err(changed) => last = changed,
            }
        }
    }

    /// Index of the one after `last`. When none is alive, the dead take turns: one of them may be back since
    /// the last health check, and a client is refused only when each has been tried once more.
    fn after(&self, last: usize) -> usize {
        let count = self.list.len();
        let in_turn = (1..=count).map(|step| (last + step) % count);
        let mut alive = in_turn.filter(|&index| self.list[index].alive.load(Relaxed));
        let next = match self.policy {
            Policy::RoundRobin => alive.next(),
            // The first of several with equally few, so that they take turns.
            Policy::LeastConnections => {
                alive.min_by_key(|&index| self.list[index].counters.open.load(Relaxed))
            }
        };
        next.unwrap_or((last + 1) % count)
    }

    /// Begins to connect to the next back end; it may still refuse. `None`: all have been `tried`. Its error
    /// is that there is no descriptor for one more socket.
    pub fn connect_next(&self, tried: &mut usize) -> io::Result<Option<(TcpStream, BackendLease<'_>)>> {
        while *tried < self.list.len() {
            let lease = self.choose();
            *tried += 1;
            match sys::begin_connect(lease.0.address) {
                Ok(stream) => {
                    // Without it a slow client may be taken for one that takes nothing.
                    let _ = sys::set_receive_buffer(stream.as_fd(), UNREAD);
                    return Ok(Some((stream, lease)));
                }
                Err(error) if is_shortage(&error) => return Err(error),
                Err(error) => self.failed(&lease, &error),
            }
        }
        Ok(None)
    }

    /// A connection to a back end could not be made. Whose fault was it?
    pub fn failed(&self, lease: &BackendLease, error: &io::Error) {
        lease.0.counters.failures.fetch_add(1, Relaxed);
        if is_our_fault(error) {
            self.log_rate_limited(error);
        } else {
            self.mark_down(lease.0, error);
        }
    }

    /// It took a connection, also if it was taken for dead a moment ago.
    pub fn connected(&self, lease: &BackendLease) {
        lease.0.counters.connections.fetch_add(1, Relaxed);
        if !lease.0.alive.load(Relaxed) {
            self.mark_up(lease.0);
        }
    }

    /// It gets no more connections until one succeeds, as long as others are alive.
    fn mark_down(&self, backend: &Backend, error: &io::Error) {
        if backend.alive.swap(false, Relaxed) {
            self.note(&format!("back end {} is taken out: {error}", backend.address));
        }
        let none_alive = !self.list.iter().any(|backend| backend.alive.load(Relaxed));
        if none_alive && !self.all_down.swap(true, Relaxed) {
            self.note("all back ends are down: clients are turned away until one is back");
        }
    }

    fn mark_up(&self, backend: &Backend) {
        self.all_down.store(false, Relaxed);
        if !backend.alive.swap(true, Relaxed) {
            self.note(&format!("back end {} is back", backend.address));
        }
    }

    /// A health check of all back ends that were taken out, at the same time, so that one that never answers
    /// does not delay another's return. Waits until `deadline` or a signal, also when there is none to check.
    pub fn probe(&self, stop: Stop, deadline: Instant) -> io::Result<()> {
        let dead = self.list.iter().filter(|backend| !backend.alive.load(Relaxed));
        // An immediate error means: still down.
        let attempts = dead.filter_map(|backend| Some((backend, sys::begin_connect(backend.address).ok()?)));
        let mut attempts: Vec<(&Backend, TcpStream)> = attempts.collect();
        loop {
            // A write of nothing tells the state of a connection: made, refused, or neither yet.
            attempts.retain(|(backend, attempt)| match (&*attempt).write(&[]) {
                Ok(_) => {
                    self.mark_up(backend);
                    false
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            });
            let waiting = attempts
                .iter()
                .map(|(_, attempt)| (attempt.as_fd(), Interest::Write));
            let mut fds: Vec<_> = waiting.collect();
            fds.push((stop.as_fd(), Interest::Read));
            if stop.requested() || sys::poll(&fds, Some(deadline))? == 0 {
                return Ok(());
            }
        }
    }

    /// Writes the counters to stderr, a line a back end, below headings; in one write, so that no other line
    /// of the log comes between them.
    pub fn report(&self) {
        let head = ["open", "total", "failed", "bytes to it", "bytes from it"].map(str::to_owned);
        let mut text = "counters\n".to_owned() + &counters("back end", "state", &head);
        for backend in &self.list {
            let is_alive = backend.alive.load(Relaxed);
            let state = if is_alive { "alive" } else { "out" };
            let of = &backend.counters;
            let figures = [
                &of.open,
                &of.connections,
                &of.failures,
                &of.bytes_to,
                &of.bytes_from,
            ];
            let figures = figures.map(|counter| counter.load(Relaxed).to_string());
            text += &counters(&backend.address.to_string(), state, &figures);
        }
        stats::log(text.trim_end());
    }
}

/// A line of the table of counters: 79 columns, which a terminal has, as long as the address is one of IPv4.
fn counters(address: &str, state: &str, figures: &[String; 5]) -> String {
    let [open, total, failed, to, from] = figures;
    format!("{address:<21} {state:<5} {open:>5} {total:>9} {failed:>7} {to:>13} {from:>13}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Back ends at ports 1, 2, …, none of which is ever asked.
    fn row(count: u16, policy: Policy) -> Backends {
        let addresses: Vec<SocketAddr> = (1..=count)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect();
        Backends::new(&addresses, policy, false)
    }

    /// The ports of the next `count` choices, all closed at once.
    fn turns(backends: &Backends, count: usize) -> Vec<u16> {
        (0..count).map(|_| backends.choose().0.address.port()).collect()
    }

    fn lose(backends: &Backends, index: usize) {
        backends.failed(
            &BackendLease::new(&backends.list[index]),
            &ErrorKind::ConnectionRefused.into(),
        );
    }

    #[test]
    fn turns_go_round_and_pass_over_the_dead() {
        let backends = row(3, Policy::RoundRobin);
        assert_eq!(turns(&backends, 7), [1, 2, 3, 1, 2, 3, 1]);
        lose(&backends, 1);
        assert_eq!(
            turns(&backends, 5),
            [3, 1, 3, 1, 3],
            "the next one gets no more than its share"
        );
        backends.mark_up(&backends.list[1]);
        assert_eq!(turns(&backends, 4), [1, 2, 3, 1]);
        (0..3).for_each(|index| lose(&backends, index));
        assert_eq!(turns(&backends, 4), [2, 3, 1, 2], "the dead take turns");
        let counts = [0, 1, 2].map(|index: usize| backends.list[index].counters.failures.load(Relaxed));
        assert_eq!(counts, [1, 2, 1]);
    }

    #[test]
    fn what_this_machine_lacks_is_not_blamed_on_a_back_end() {
        let backends = row(2, Policy::RoundRobin);
        let lease = backends.choose();
        for code in [libc::EADDRNOTAVAIL, libc::EPERM, libc::EACCES, libc::ENETUNREACH] {
            backends.failed(&lease, &io::Error::from_raw_os_error(code));
            assert_eq!(turns(&backends, 2).len(), 2);
            assert!(lease.0.alive.load(Relaxed), "{code}");
        }
        backends.failed(&lease, &io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert!(!lease.0.alive.load(Relaxed));
        backends.connected(&lease);
        assert!(lease.0.alive.load(Relaxed), "who takes a connection is back");
    }

    #[test]
    fn shares_are_even_whoever_chooses() {
        let backends = row(3, Policy::RoundRobin);
        let seen = std::sync::Mutex::new([0; 3]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for port in turns(&backends, 3000) {
                        seen.lock().unwrap()[usize::from(port) - 1] += 1;
                    }
                });
            }
        });
        assert_eq!(*seen.lock().unwrap(), [4000; 3]);
    }

    #[test]
    fn the_fewest_open_connections_win_and_equals_take_turns() {
        let backends = row(3, Policy::LeastConnections);
        assert_eq!(turns(&backends, 4), [1, 2, 3, 1]);
        let mut open: Vec<BackendLease> = (0..6).map(|_| backends.choose()).collect();
        open.retain(|lease| lease.0.address.port() != 3);
        assert_eq!(turns(&backends, 2), [3, 3]);
        lose(&backends, 2);
        assert!(!turns(&backends, 4).contains(&3));
    }

    #[test]
    fn everybody_is_tried_once() {
        let closed: Vec<SocketAddr> = (0..3)
            .map(|_| {
                std::net::TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap()
            })
            .collect();
        let backends = Backends::new(&closed, Policy::RoundRobin, false);
        let mut tried = 0;
        let mut asked = Vec::new();
        // On loopback the refusal comes after the call, with the first write.
        while let Ok(Some((mut stream, lease))) = backends.connect_next(&mut tried) {
            assert_eq!(
                stream.write(&[]).map_err(|error| error.kind()),
                Err(ErrorKind::ConnectionRefused)
            );
            asked.push(lease.0.address);
        }
        assert_eq!((tried, asked), (3, closed));
    }
}
