//! # Chapter 16. How does one address stand for many servers?
//!
//! Each connection is taken at a common door and given a back end; from then on whatever one side says is
//! told to the other, without a look at what it is, so any protocol will do. A few workers share the door,
//! and each carries the connections that it took with an epoll of its own. The main thread only knocks at the
//! doors of back ends that were taken out.
//!
//! ```text
//!              ┌─ worker 0 ─ accept ─ whose turn? ─ connect ─┬─ taken: relay, until both have said all
//!   clients ───┤                │        ▲                   └─ refused ──┐
//!              └─ worker 1 …    │        └────────────────────────────────┘
//!                               └─ nobody is alive: close at once
//!   main thread   knock at closed doors, show the counters, wait for the request to stop
//! ```
//!
//! The invariant: a worker waits for all of its connections and never for one; whatever happens on one ends
//! that one and no other; an event never reaches another connection than the one that it was meant for.
//!
//! A small request costs what its system calls cost, and those are the same for everybody; so there should be
//! few: 17 for one that HAProxy 2.6 relays with 22. A connection to a back end is written to without being
//! told first that it stands, epoll is told only what has changed, what accepted sockets inherit is not set,
//! and the last bytes of a reply travel with the end of the stream.
//!
//! What must not live here: whose turn it is, what happens on a connection.
//!
//! before: `http/form.rs` … after: `balance/connection.rs`
//!
//! Experiment: let `accept` take everybody who waits, instead of one, and compare `ab -c 100` and the calls
//! that `strace -cf` counts.

mod connection; // 16a one connection through it
mod backends; // 16b whose turn it is
mod relay; // 16c bytes between two sockets

use crate::cli::{Args, Command, Failure, Opt, failed, opt, print};
use crate::net::{self, LINGER_IDLE, LingerSet};
use crate::sys::{self, Epoll, Interest, Listen, Pid, Stop};
use backends::{Backends, ConnectAttempt, Policy, is_shortage};
use connection::{Limits, Link, StepContext, StepOutcome};
use relay::{RelayBuffers, Side};
use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

const OPTIONS: &[Opt] = &[
    opt("--listen", "HOST:PORT", "where to listen; port 0 picks one (127.0.0.1:7000)"),
    opt("--backend", "HOST:PORT", "a server that takes connections; once for each"),
    opt("--policy", "POLICY", "round-robin or least-connections (round-robin)"),
    opt("--workers", "N", "threads (one a core)"),
    opt("--connect-timeout", "TIME", "longest time for a back end to take a connection (5)"),
    opt("--idle-timeout", "TIME", "close connections on which nothing moves (300)"),
    opt("--grace", "TIME", "how long a stop waits for open connections (10)"),
    opt("--quiet", "", "no log on stderr"),
];

pub static BALANCE: Command = Command {
    name: "balance",
    words: &[],
    about: "spread the connections to one address over several servers",
    options: &[OPTIONS],
    run,
};

/// By their names on the command line.
const POLICIES: [(&str, Policy); 2] =
    [("round-robin", Policy::RoundRobin), ("least-connections", Policy::LeastConnections)];

/// How often those who were taken out are tried again: two or three times within the 2 seconds promised.
const PROBE: Duration = Duration::from_millis(500);

/// How often those who were turned away are looked after.
const FAREWELL_LOOK: Duration = Duration::from_millis(100);

/// How long a worker accepts nobody after descriptors have run out; no event tells when one is free.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// What epoll answers for the listener and for the bell. A connection has two tokens, one a side, made of a
/// number that is never used again; so an event for one that has just ended cannot be taken for another's.
const DOOR: u64 = 0;
const BELL: u64 = 1;

fn run(args: &Args) -> Result<(), Failure> {
    let listen_at = args.address("--listen", "127.0.0.1:7000")?;
    let addresses = args.addresses("--backend", "127.0.0.1:6666")?;
    if addresses.is_empty() {
        let remedy = "name each server with --backend HOST:PORT";
        return Err(Failure::Usage(format!("balance: --backend is missing; {remedy}")));
    }
    if let Some(address) = addresses.iter().find(|to| to.port() == 0 || **to == listen_at) {
        let remedy = "expected the address of a server behind this one";
        return Err(Failure::Usage(format!("--backend {address}: {remedy}")));
    }
    let policy = args.choice("--policy", POLICIES[0].0, &POLICIES.map(|(name, _)| name))?;
    let cores = thread::available_parallelism().map_or(4, usize::from) as u64;
    let workers = args.number("--workers", cores, 1..=1024)?;
    let limits = Limits {
        connect: args.seconds("--connect-timeout", 5.0)?,
        idle: args.seconds("--idle-timeout", 300.0)?,
        grace: args.seconds("--grace", 10.0)?,
    };
    let log = !args.has("--quiet");
    let listener = net::listen(listen_at, None).or_else(|error| {
        failed(format!("cannot listen on {listen_at}: {error}; choose another --listen HOST:PORT"))
    })?;
    // If it fails there will be fewer connections, and then a line in the log says so.
    let _ = sys::raise_descriptor_limit();
    let setup = Stop::listen(Listen::StopAndShow).and_then(|stop| Ok((stop, listener.local_addr()?)));
    let (stop, address) = setup.or_else(|error| failed(format!("cannot start: {error}")))?;
    let count = |count, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (crew, servers) = (count(workers, "worker"), count(addresses.len() as u64, "back end"));
    let ready = format!("balancing on {address} ({policy}, {crew}, {servers})\n");
    let policy = POLICIES.iter().find(|(name, _)| *name == policy).map_or(POLICIES[0].1, |known| known.1);
    let backends = Backends::new(&addresses, policy, log);
    let shared = Shared { listener, backends, limits, stop };
    let result = shared.serve(workers, &ready);
    if log {
        shared.backends.report();
    }
    result.or_else(|error| failed(format!("the balancer ended: {error}")))
}

/// What all workers share.
struct Shared {
    listener: TcpListener,
    backends: Backends,
    limits: Limits,
    stop: Stop,
}

impl Shared {
    /// Until somebody asks to stop, and then until all workers have.
    fn serve(&self, workers: u64, ready: &str) -> io::Result<()> {
        // Before anybody is told that we are ready: a crowd at the door could take all descriptors.
        let epolls = (0..workers).map(|_| self.epoll()).collect::<io::Result<Vec<Epoll>>>()?;
        thread::scope(|scope| {
            let mut crew = Vec::new();
            let watched = all_or_nobody(|| {
                for (index, epoll) in epolls.into_iter().enumerate() {
                    let life = move || all_or_nobody(|| Worker::new(self, epoll).work());
                    let name = format!("worker-{index}");
                    crew.push(Builder::new().name(name).spawn_scoped(scope, life)?);
                }
                // A reader who has gone does not keep anybody from serving.
                let _ = print(ready);
                self.watch()
            });
            let ends = crew.into_iter().map(|worker| worker.join().unwrap_or(Ok(())));
            ends.fold(watched, Result::and)
        })
    }

    /// What wakes a worker that has no connection yet.
    fn epoll(&self) -> io::Result<Epoll> {
        let epoll = Epoll::new()?;
        epoll.add_shared(self.listener.as_fd(), DOOR)?;
        epoll.add(self.stop.as_fd(), Interest::Read, BELL)?;
        Ok(epoll)
    }

    /// What the main thread does until it is asked to stop.
    fn watch(&self) -> io::Result<()> {
        while !self.stop.requested() {
            if self.stop.stats_requested() {
                self.backends.report();
            }
            self.backends.probe(self.stop, Instant::now() + PROBE)?;
        }
        Ok(())
    }
}

/// If this life ends with an error, which nothing on a connection can cause, it asks all others to stop.
fn all_or_nobody(life: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    life().inspect_err(|_| drop(sys::kill(process::id() as Pid, sys::SIGTERM)))
}

/// Whether new connections are taken.
enum Door {
    Open,
    /// No descriptor is free. Watching the door would wake us all the time.
    PausedUntil(Instant),
    Shut,
}

/// A thread with connections of its own.
struct Worker<'h> {
    shared: &'h Shared,
    tools: StepContext<'h>,
    epoll: Epoll,
    links: HashMap<u64, Link<'h>>,
    /// Number of the next connection.
    next: u64,
    door: Door,
    /// A client for whom there was no second descriptor.
    outside: Option<TcpStream>,
    /// Those who were turned away.
    lingering: LingerSet,
    /// When limits were last looked at.
    looked: Instant,
    /// When connections are cut because the balancer stops.
    cut: Option<Instant>,
}

impl<'h> Worker<'h> {
    fn new(shared: &'h Shared, epoll: Epoll) -> Worker<'h> {
        let now = Instant::now();
        Worker {
            shared,
            tools: StepContext {
                backends: &shared.backends,
                limits: shared.limits,
                kit: RelayBuffers::new(),
                now,
            },
            epoll,
            links: HashMap::new(),
            next: 1,
            door: Door::Open,
            outside: None,
            lingering: LingerSet::default(),
            looked: now,
            cut: None,
        }
    }

    fn work(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while self.cut.is_none_or(|cut| self.tools.now < cut && !self.links.is_empty()) {
            self.epoll.wait(&mut ready, self.deadline())?;
            self.tools.now = Instant::now();
            for &token in &ready {
                match token {
                    DOOR => self.accept()?,
                    BELL => self.stop()?,
                    _ => {
                        self.step(token / 2, |link, tools| link.turn(Side::BOTH[(token % 2) as usize], tools))
                    }
                }
            }
            self.look()?;
        }
        let left: Vec<u64> = self.links.keys().copied().collect();
        left.into_iter().for_each(|id| self.step(id, |link, _| link.cut()));
        self.lingering.finish(self.tools.now + self.shared.limits.grace.min(LINGER_IDLE))
    }

    /// One client, so that a crowd at the door does not hold up those inside; epoll tells of the others.
    fn accept(&mut self) -> io::Result<()> {
        match sys::accept(&self.shared.listener) {
            Ok(client) => self.admit(client),
            Err(error) if is_shortage(&error) => self.pause(&error),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.shut(),
            // Another worker was faster, or the client has left while it waited.
            Err(_) => Ok(()),
        }
    }

    fn admit(&mut self, client: TcpStream) -> io::Result<()> {
        let mut tried = 0;
        let (backend, ticket) = match self.tools.backends.dial(&mut tried) {
            ConnectAttempt::Begun(backend, ticket) => (backend, ticket),
            ConnectAttempt::Nobody => {
                self.lingering.add(client);
                return Ok(());
            }
            ConnectAttempt::NoRoom(error) => {
                self.outside = Some(client);
                return self.pause(&error);
            }
        };
        let id = self.next;
        self.next += 1;
        self.links.insert(id, Link::new(client, backend, ticket, tried, self.tools.now));
        self.step(id, Link::begin);
        Ok(())
    }

    /// Lets one connection make one step, and draws the consequences.
    fn step(&mut self, id: u64, step: impl FnOnce(&mut Link<'h>, &mut StepContext<'h>) -> StepOutcome) {
        // It may have ended earlier in the same round.
        let Some(link) = self.links.get_mut(&id) else { return };
        // A panic has been reported by the panic hook, and costs this connection.
        let step = AssertUnwindSafe(|| step(link, &mut self.tools));
        let mut fate = catch_unwind(step).unwrap_or(StepOutcome::Broken);
        if let StepOutcome::Open = fate {
            let Err(error) = link.watch(&self.epoll, [id * 2, id * 2 + 1]) else { return };
            self.shared.backends.log_rate_limited(&error);
            fate = StepOutcome::Broken;
        }
        let Some(link) = self.links.remove(&id) else { return };
        match fate {
            StepOutcome::Broken => link.reset(),
            StepOutcome::Refused => self.lingering.add(link.into_client()),
            StepOutcome::Open | StepOutcome::Over => {}
        }
    }

    /// When to wake up although nothing has happened.
    fn deadline(&self) -> Option<Instant> {
        let idle = self.links.is_empty() && self.lingering.is_empty();
        let look = (!idle).then_some(self.looked + self.look_every());
        let resume = if let Door::PausedUntil(resume) = self.door { Some(resume) } else { None };
        [look, resume, self.cut].into_iter().flatten().min()
    }

    fn look_every(&self) -> Duration {
        if self.lingering.is_empty() { self.shared.limits.look() } else { FAREWELL_LOOK }
    }

    /// Everything that depends on the time.
    fn look(&mut self) -> io::Result<()> {
        let now = self.tools.now;
        if matches!(self.door, Door::PausedUntil(resume) if now >= resume) {
            self.resume()?;
        }
        if now - self.looked >= self.look_every() {
            self.looked = now;
            self.lingering.drain();
            let links = self.links.iter_mut();
            let overdue = links.filter_map(|(&id, link)| link.is_overdue(&self.tools).then_some(id));
            let overdue: Vec<u64> = overdue.collect();
            overdue.into_iter().for_each(|id| self.step(id, Link::give_up));
        }
        Ok(())
    }

    fn pause(&mut self, error: &io::Error) -> io::Result<()> {
        self.shared.backends.log_rate_limited(error);
        if let Door::Open = self.door {
            self.epoll.remove(self.shared.listener.as_fd())?;
            self.door = Door::PausedUntil(self.tools.now + DESCRIPTOR_PAUSE);
        }
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        self.epoll.add_shared(self.shared.listener.as_fd(), DOOR)?;
        self.door = Door::Open;
        self.outside.take().map_or(Ok(()), |client| self.admit(client))
    }

    /// Takes those who wait at the door, then shuts it. Open connections may go on until the grace is over.
    fn stop(&mut self) -> io::Result<()> {
        self.epoll.remove(self.shared.stop.as_fd())?;
        self.cut = Some(self.tools.now + self.shared.limits.grace);
        for _ in 0..net::BACKLOG {
            let Ok(client) = sys::accept(&self.shared.listener) else { break };
            self.admit(client)?;
        }
        // It fails only when another worker has shut it.
        let _ = sys::refuse_connections(&self.shared.listener);
        self.shut()
    }

    fn shut(&mut self) -> io::Result<()> {
        if let Door::Open = self.door {
            self.epoll.remove(self.shared.listener.as_fd())?;
        }
        self.door = Door::Shut;
        self.outside.take().into_iter().for_each(|client| self.lingering.add(client));
        Ok(())
    }
}
