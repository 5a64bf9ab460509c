//! # Chapter 16. How does one address stand for many servers?
//!
//! Each connection is accepted from a common listener and given a back end; from then on the bytes of each
//! side are sent to the other unchanged, so any protocol will do. A few workers share the listener, and each
//! serves the connections that it accepted with an epoll of its own. The main thread checks whether back ends
//! that were taken out are back.
//!
//! ```text
//!              ┌─ worker 0 ─ accept ─ whose turn? ─ connect ─┬─ taken: relay, until both have ended
//!   clients ───┤                │        ▲                   └─ refused ──┐
//!              └─ worker 1 …    │        └────────────────────────────────┘
//!                               └─ none is alive: close at once
//!   main thread   health checks, show the counters, wait for the request to stop
//! ```
//!
//! The invariant: a worker waits for all of its connections and never for one; an error on one ends that one
//! and no other; an event never reaches a connection that it was not meant for.
//!
//! The cost of a small request is the cost of its system calls, so there should be few: 17 for one that
//! HAProxy 2.6 relays with 22. A connection to a back end is written to without a check that it is connected,
//! epoll is told only what has changed, what accepted sockets inherit is not set, and the last bytes of a
//! reply travel with the end of the stream.
//!
//! What must not live here: whose turn it is, what happens on a connection.
//!
//! before: `http.rs` … after: `bench.rs`
//!
//! Experiment:
//! edit: remember one turn more instead of the back end that was chosen
//! run: cargo test --locked --bin kolam balance::backends
//! see: the next one gets no more than its share

mod connection; // one connection through it
mod backends; // whose turn it is
mod relay; // bytes between two sockets
mod spawned; // servers of our own

use crate::cli::{Args, Command, Failure, Opt, counted, failed, opt, print, usage};
use crate::net::{self, Accepted, DESCRIPTOR_PAUSE, LINGER_IDLE, LingerSet, Listener};
use crate::sys::{self, Epoll, Interest, Listen, Pid, Stop};
use backends::{Backends, Policy};
use connection::{Limits, Link, StepContext, StepOutcome};
use relay::{RelayBuffers, Side, UNSENT, WAITING};
use spawned::Spawned;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

#[rustfmt::skip]
const OPTIONS: &[Opt] = &[
    opt("--listen", "HOST:PORT", "where to listen; port 0 picks one (127.0.0.1:7000)")
        .or_variable("KOLAM_LISTEN"),
    opt("--backend", "HOST:PORT", "a server that takes connections; once for each"),
    opt("--spawn", "N", "start N servers too, with the words after --"),
    opt("--policy", "POLICY", "round-robin or least-connections (round-robin)"),
    opt("--workers", "N", "threads (one a core)"),
    opt("--connect-timeout", "TIME", "longest time for a back end to take a connection (5)"),
    opt("--idle-timeout", "TIME", "close connections on which nothing moves (300)"),
    opt("--grace", "TIME", "how long a stop waits for open connections (10)"),
    opt("--quiet", "", "no log on stderr"),
];

pub static BALANCE: Command = Command {
    name: "balance",
    words: &["[-- OPTIONS OF serve]"],
    about: "spread the connections to one address over several servers\n\
            With --spawn it starts them itself: they speak HTTP unless told otherwise, are started \
            again when they end, and end with it.",
    options: &[OPTIONS],
    run,
};

/// The policies on the command line, in the order of `Policy`.
const POLICIES: [&str; 2] = ["round-robin", "least-connections"];

/// Pause between two health checks: so a back end that comes back is used within the 2 seconds promised.
const PROBE: Duration = Duration::from_millis(500);

/// How often the limits of open connections are checked, and those that linger.
const CHECK: Duration = Duration::from_millis(100);

/// Tokens of the listener and the self-pipe. A connection has two tokens, one a side, made of a number that
/// is never used again; so an event for one that has just ended cannot be taken for another's.
const LISTENER: u64 = 0;
const STOP: u64 = 1;

fn run(args: &Args) -> Result<(), Failure> {
    let listen_at = args.address("--listen", "127.0.0.1:7000")?;
    let mut addresses = args.addresses("--backend", "127.0.0.1:6666")?;
    let servers = args.number("--spawn", 0, 1..=9999)?;
    check_servers(args, listen_at, &addresses, servers)?;
    let policy = args.choice("--policy", POLICIES[0], &POLICIES)?;
    let cores = thread::available_parallelism().map_or(4, usize::from) as u64;
    let workers = args.number("--workers", cores, 1..=1024)?;
    let limits = Limits {
        connect: args.seconds("--connect-timeout", 5.0)?,
        idle: args.seconds("--idle-timeout", 300.0)?,
        grace: args.seconds("--grace", 10.0)?,
    };
    let log = !args.has("--quiet");
    let bound = Listener::bind(listen_at, WAITING)
        .and_then(|listener| sys::bound_unsent(listener.as_fd(), UNSENT).map(|()| listener));
    let listener = bound.or_else(|error| {
        let option = args.variable("--listen").unwrap_or("--listen");
        let remedy = format!("choose another {option} HOST:PORT (make: PORT=)");
        failed(format!("cannot listen on {listen_at}: {error}; {remedy}"))
    })?;
    let mut spawned = Spawned::start(servers, args.rest())?;
    addresses.extend(spawned.addresses());
    // When this fails, fewer connections are possible, and a line in the log says so when they run out.
    let _ = sys::raise_descriptor_limit();
    let setup = Stop::listen(Listen::StopAndShow).and_then(|stop| Ok((stop, listener.address()?)));
    let (stop, address) = setup.or_else(|error| failed(format!("cannot start: {error}")))?;
    let count = counted(workers, "worker");
    let servers = counted(addresses.len() as u64, "back end");
    let ready = format!("balancing on {address} ({policy}, {count}, {servers})\n");
    let shared = Shared {
        listener,
        backends: Backends::new(&addresses, Policy::named(policy), log),
        limits,
        stop,
    };
    let result = shared.serve(workers, &ready, &mut spawned);
    if log {
        shared.backends.report();
    }
    result.or_else(|error| failed(format!("the balancer ended: {error}")))
}

/// Are there any, each at an address that can be one?
fn check_servers(
    args: &Args,
    listen_at: SocketAddr,
    given: &[SocketAddr],
    servers: u64,
) -> Result<(), Failure> {
    if servers == 0 && !args.rest().is_empty() {
        return usage("balance: the words after -- are for the servers of --spawn N");
    }
    if servers == 0 && given.is_empty() {
        let remedy = "name each server with --backend HOST:PORT, or start some with --spawn N";
        return usage(format!("balance: --backend is missing; {remedy}"));
    }
    match given.iter().find(|to| to.port() == 0 || **to == listen_at) {
        Some(address) => usage(format!(
            "--backend {address}: expected the address of a server behind this one"
        )),
        None => Ok(()),
    }
}

/// What all workers share.
struct Shared {
    listener: Listener,
    backends: Backends,
    limits: Limits,
    stop: Stop,
}

impl Shared {
    /// Runs until a stop is requested and all workers have ended.
    fn serve(&self, workers: u64, ready: &str, spawned: &mut Spawned) -> io::Result<()> {
        // Before the ready line: many early connections could use up all descriptors.
        let epolls = (0..workers)
            .map(|_| self.epoll())
            .collect::<io::Result<Vec<Epoll>>>()?;
        thread::scope(|scope| {
            let mut threads = Vec::new();
            let watched = stop_all_on_error(|| {
                for (index, epoll) in epolls.into_iter().enumerate() {
                    let body = move || stop_all_on_error(|| Worker::new(self, epoll).work());
                    let name = format!("worker-{index}");
                    threads.push(Builder::new().name(name).spawn_scoped(scope, body)?);
                }
                // The balancer goes on if stdout is closed.
                let _ = print(ready);
                self.watch(spawned)
            });
            let ends = threads.into_iter().map(|worker| worker.join().unwrap_or(Ok(())));
            ends.fold(watched, Result::and)
        })
    }

    /// What wakes a worker that has no connection yet.
    fn epoll(&self) -> io::Result<Epoll> {
        let epoll = Epoll::new()?;
        epoll.add_shared(self.listener.as_fd(), LISTENER)?;
        epoll.add(self.stop.as_fd(), Interest::Read, STOP)?;
        Ok(epoll)
    }

    /// What the main thread does until it is asked to stop.
    fn watch(&self, spawned: &mut Spawned) -> io::Result<()> {
        while !self.stop.requested() {
            if self.stop.stats_requested() {
                self.backends.report();
            }
            spawned.replace_ended(|text| self.backends.note(text));
            self.backends.probe(self.stop, Instant::now() + PROBE)?;
        }
        Ok(())
    }
}

/// When one thread ends with an error, which no connection can cause, it asks all others to stop.
fn stop_all_on_error(body: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    body().inspect_err(|_| drop(sys::kill(process::id() as Pid, sys::SIGTERM)))
}

/// Does this worker accept new connections?
enum Listening {
    Active,
    /// No descriptor is free. Watching the listener would wake us all the time.
    PausedUntil(Instant),
    Stopped,
}

/// A thread with connections of its own.
struct Worker<'h> {
    shared: &'h Shared,
    context: StepContext<'h>,
    epoll: Epoll,
    links: HashMap<u64, Link<'h>>,
    /// Number of the next connection.
    next: u64,
    listening: Listening,
    /// A client that is accepted and waits for a second descriptor, for its back end.
    unadmitted: Option<TcpStream>,
    /// Rejected connections.
    lingering: LingerSet,
    /// When limits were last checked.
    looked: Instant,
    /// When open connections are closed because the balancer stops.
    drain_deadline: Option<Instant>,
}

impl<'h> Worker<'h> {
    fn new(shared: &'h Shared, epoll: Epoll) -> Worker<'h> {
        let now = Instant::now();
        Worker {
            shared,
            context: StepContext {
                backends: &shared.backends,
                limits: shared.limits,
                buffers: RelayBuffers::new(),
                now,
            },
            epoll,
            links: HashMap::new(),
            next: 1,
            listening: Listening::Active,
            unadmitted: None,
            lingering: LingerSet::default(),
            looked: now,
            drain_deadline: None,
        }
    }

    fn work(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while self
            .drain_deadline
            .is_none_or(|end| self.context.now < end && !self.links.is_empty())
        {
            self.epoll.wait(&mut ready, self.deadline())?;
            self.context.now = Instant::now();
            for &token in &ready {
                match token {
                    LISTENER => self.accept()?,
                    STOP => self.stop()?,
                    _ => self.step(token / 2, |link, context| {
                        link.turn(Side::BOTH[(token % 2) as usize], context)
                    }),
                }
            }
            self.look()?;
        }
        let left: Vec<u64> = self.links.keys().copied().collect();
        for id in left {
            self.step(id, |link, _| link.end());
        }
        self.lingering
            .finish(self.context.now + self.shared.limits.grace.min(LINGER_IDLE))
    }

    /// Accepts one client, so that many new ones do not delay the others; epoll reports the next.
    fn accept(&mut self) -> io::Result<()> {
        match self.shared.listener.accept() {
            Accepted::Connection(client) => self.admit(client),
            Accepted::WouldBlock => Ok(()),
            Accepted::NoDescriptors(error) => self.pause(&error),
            Accepted::Closed => self.stop_listening(),
        }
    }

    fn admit(&mut self, client: TcpStream) -> io::Result<()> {
        let mut tried = 0;
        match self.context.backends.connect_next(&mut tried) {
            Ok(Some((backend, lease))) => {
                let link = Link::new(client, backend, lease, tried, self.context.now);
                let id = self.next;
                self.next += 1;
                self.links.insert(id, link);
                self.step(id, Link::begin);
            }
            Ok(None) => self.lingering.add(client),
            Err(error) => {
                self.unadmitted = Some(client);
                self.pause(&error)?;
            }
        }
        Ok(())
    }

    /// Lets one connection make one step, and acts on the outcome.
    fn step(&mut self, id: u64, step: impl FnOnce(&mut Link<'h>, &mut StepContext<'h>) -> StepOutcome) {
        // It may have ended earlier in the same round.
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        // A panic has been reported by the panic hook, and costs this connection.
        let step = AssertUnwindSafe(|| step(link, &mut self.context));
        let mut outcome = catch_unwind(step).unwrap_or(StepOutcome::Broken);
        if let StepOutcome::Open = outcome {
            let Err(error) = link.watch(&self.epoll, [id * 2, id * 2 + 1]) else {
                return;
            };
            self.shared.backends.log_rate_limited(&error);
            outcome = StepOutcome::Broken;
        }
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        match outcome {
            StepOutcome::Broken => link.relay.reset(),
            StepOutcome::Refused => self.lingering.add(link.relay.into_client()),
            StepOutcome::Open | StepOutcome::Over => {}
        }
    }

    /// When to wake up without an event.
    fn deadline(&self) -> Option<Instant> {
        let idle = self.links.is_empty() && self.lingering.is_empty();
        let look = (!idle).then_some(self.looked + CHECK);
        let resume = match self.listening {
            Listening::PausedUntil(resume) => Some(resume),
            _ => None,
        };
        [look, resume, self.drain_deadline].into_iter().flatten().min()
    }

    /// Everything that depends on the time.
    fn look(&mut self) -> io::Result<()> {
        let now = self.context.now;
        if matches!(self.listening, Listening::PausedUntil(resume) if now >= resume) {
            self.resume()?;
        }
        if now - self.looked >= CHECK {
            self.looked = now;
            self.lingering.drain();
            let context = &self.context;
            let overdue = self
                .links
                .iter_mut()
                .filter_map(|(&id, link)| link.is_overdue(context).then_some(id));
            for id in overdue.collect::<Vec<u64>>() {
                self.step(id, Link::give_up);
            }
        }
        Ok(())
    }

    fn pause(&mut self, error: &io::Error) -> io::Result<()> {
        self.shared.backends.log_rate_limited(error);
        if let Listening::Active = self.listening {
            self.epoll.remove(self.shared.listener.as_fd())?;
            self.listening = Listening::PausedUntil(self.context.now + DESCRIPTOR_PAUSE);
        }
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        match self.epoll.add_shared(self.shared.listener.as_fd(), LISTENER) {
            Ok(()) => self.listening = Listening::Active,
            // No memory, or as many watches as this user may have: both pass (epoll_ctl(2)).
            Err(error) => {
                self.shared.backends.log_rate_limited(&error);
                self.listening = Listening::PausedUntil(self.context.now + DESCRIPTOR_PAUSE);
                return Ok(());
            }
        }
        self.unadmitted.take().map_or(Ok(()), |client| self.admit(client))
    }

    /// Accepts the backlog, then stops listening. Open connections may go on until the grace is over.
    fn stop(&mut self) -> io::Result<()> {
        self.epoll.remove(self.shared.stop.as_fd())?;
        self.drain_deadline = Some(self.context.now + self.shared.limits.grace);
        for _ in 0..net::BACKLOG {
            let Accepted::Connection(client) = self.shared.listener.accept() else {
                break;
            };
            self.admit(client)?;
        }
        self.shared.listener.close();
        self.stop_listening()
    }

    fn stop_listening(&mut self) -> io::Result<()> {
        if let Listening::Active = self.listening {
            self.epoll.remove(self.shared.listener.as_fd())?;
        }
        self.listening = Listening::Stopped;
        if let Some(client) = self.unadmitted.take() {
            self.lingering.add(client);
        }
        Ok(())
    }
}
