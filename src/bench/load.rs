//! # Chapter 17a. How many requests does an HTTP server answer, and how long does each take?
//!
//! `kolam bench http URL` keeps `-c` places busy: each asks for the document, waits for the whole answer, and
//! asks again, until `-n` requests have begun or the time of `-z` is over. What has begun is finished: if
//! slow requests were dropped, the figures would be those of quick ones. One thread does it all with epoll,
//! in as few system calls as possible, because the server lacks what the client uses. The
//! report has the fields of Apache's `ab`, in its order, so that the two can be laid side by side.
//!
//! ```text
//!   begin ──► connect ──► send ──► receive ──► the last byte: the clock stops ──► closing ──► begin
//!                          ▲                                │
//!                          └──── -k, and the server keeps it┘
//! ```
//!
//! The invariant: complete and failed requests add up to those that are over, and a complete one was
//! answered with a status of 2xx, in well-formed HTTP, to the last byte, with as many bytes of body as the
//! first. (`ab` counts an answer with status 500 as complete.) Bytes after the answer are a failure on a
//! connection that stays open, where they would be read as the next answer; on one that is being closed they
//! are only counted.
//!
//! A closed loop asks a slow server less often, so its times tell what `-c` patient users felt. They hide
//! what strangers would feel who come whether or not the server is ready ("coordinated omission").
//!
//! What must not live here: what was asked for (`bench/plan.rs`), what an answer looks like
//! (`bench/response.rs`), what the figures say (`bench/score.rs`, `bench/report.rs`).
//!
//! before: `bench.rs` … after: `bench/plan.rs`
//!
//! Experiment: close the connection as soon as the answer is whole, run 100,000 requests, and count with
//! `ss -s` on whose side the TIME_WAITs are then.

use crate::bench::plan::Plan;
use crate::bench::report::{self, Target};
use crate::bench::response::Answer;
use crate::bench::score::{Cause, Fault, LoadStats};
use crate::cli::{Args, Failure, LiveLine, failed, print};
use crate::sys::{self, Epoll, Interest, Listen, Stop};
use std::io::{self, ErrorKind, Read, Stderr, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes that one read takes at most; all connections share the buffer.
const PIECE: usize = 128 * 1024;

/// How long a server that has announced to close the connection may take, before this side closes it.
const CLOSING: Duration = Duration::from_secs(1);

/// How long a place waits after it could not connect: without it, a run of `-z` would keep a core busy with
/// a server that is not there. A run of `-n` requests is over sooner without it.
const PAUSE: Duration = Duration::from_millis(10);

/// The token of the bell; all others are indexes of places.
const BELL: u64 = u64::MAX;

/// Runs `kolam bench http`.
pub fn http(args: &Args, url: &str) -> Result<(), Failure> {
    let plan = Plan::from(args, url)?;
    // If it fails, connections that find no descriptor count as failed.
    let _ = sys::raise_descriptor_limit();
    let stop = Stop::listen(Listen::Stop).or_else(|error| failed(format!("no signals: {error}")))?;
    let run = Load::new(&plan, stop).and_then(Load::run);
    let score = run.or_else(|error| failed(format!("bench: cannot wait for connections: {error}")))?;
    let Plan { url, request, connections, keep, .. } = &plan;
    let subject = Target { url, request, connections: *connections, keep: *keep };
    let form = match (args.has("--csv"), args.has("--json")) {
        (true, _) => report::csv,
        (_, true) => report::json,
        _ => report::text,
    };
    match print(&form(&score, &subject)) {
        // Whoever reads may go; the verdict is for whoever asks for the exit code.
        Err(Failure::OutputClosed) => {}
        other => other?,
    }
    notes(&plan, &score, args.has("--csv"));
    match (&score.first_fault, score.failed()) {
        _ if stop.requested() => Err(Failure::Interrupted),
        (Some(first), count) => {
            let over = count + score.complete();
            failed(format!("bench: {count} of {over} requests failed; the first: {first}"))
        }
        (None, _) => Ok(()),
    }
}

/// What the user must know and the figures do not tell.
fn notes(plan: &Plan, score: &LoadStats, csv: bool) {
    // The other forms have a line for it.
    if csv && score.stray_answers > 0 {
        let _ = writeln!(io::stderr(), "kolam: bench: stray bytes after {} answers", score.stray_answers);
    }
    if let (None, Some(time)) = plan.limits()
        && score.complete() + score.failed() == plan.requests
    {
        let _ = writeln!(
            io::stderr(),
            "kolam: bench: {} requests, the most of a run, took less than {time:?}",
            plan.requests
        );
    }
}

/// What one of the `-c` places is at.
enum Phase {
    /// Nothing is left to ask for.
    Idle,
    /// The last connection was not to be had; the next request begins at the deadline.
    Pausing,
    /// So many bytes of the request are on their way; the connection need not be there yet.
    Sending(usize),
    Receiving,
    /// The answer was whole after this time; the server has announced to close the connection.
    Closing(Duration),
}

/// Room for one connection, with at most one request on it.
struct Place {
    phase: Phase,
    stream: Option<TcpStream>,
    /// What epoll watches `stream` for.
    watched: Option<Interest>,
    /// `stream` has brought an answer before.
    kept: bool,
    /// The request has been sent to its last byte.
    sent: bool,
    answer: Answer,
    /// When the request began: before connecting, or before sending on a connection that was kept.
    start: Instant,
    /// When the server has had its time.
    deadline: Instant,
}

impl Place {
    /// The connection was kept and has ended; may the server have closed it before it read the request?
    fn may_be_unread(&self, cause: Cause) -> bool {
        let unsent = self.stream.as_ref().map_or(0, |stream| sys::unsent(stream.as_fd()).unwrap_or(0));
        let was_reset = cause == Cause::Receive;
        let is_unacknowledged = unsent > 0;
        self.kept && !self.answer.has_begun() && (was_reset || is_unacknowledged)
    }
}

/// A run.
struct Load<'p> {
    plan: &'p Plan,
    stop: Stop,
    epoll: Epoll,
    places: Vec<Place>,
    /// Places that are not idle.
    busy: usize,
    /// Requests that have begun.
    begun: u64,
    /// When the last request may begin.
    until: Option<Instant>,
    /// No deadline is earlier.
    look: Instant,
    /// What the user sees meanwhile.
    line: LiveLine<Stderr>,
    /// The receive buffer; empty between two reads.
    buffer: Vec<u8>,
    score: LoadStats,
}

impl<'p> Load<'p> {
    fn new(plan: &'p Plan, stop: Stop) -> io::Result<Load<'p>> {
        let (epoll, now) = (Epoll::new()?, Instant::now());
        epoll.add(stop.as_fd(), Interest::Read, BELL)?;
        let place = || Place {
            phase: Phase::Idle,
            stream: None,
            watched: None,
            kept: false,
            sent: false,
            answer: Answer::new(&plan.request.method),
            start: now,
            deadline: now,
        };
        let places: Vec<Place> = (0..plan.connections).map(|_| place()).collect();
        let (busy, look) = (places.len(), now + plan.timeout);
        let (buffer, score) = (vec![0; PIECE], LoadStats::new(plan.requests));
        let line = LiveLine::new(io::stderr());
        Ok(Load { plan, stop, epoll, places, busy, begun: 0, until: None, look, line, buffer, score })
    }

    /// Until all requests are over, or the user has had enough.
    fn run(mut self) -> io::Result<LoadStats> {
        let mut ready = Vec::new();
        self.score.start = Instant::now();
        self.score.end = self.score.start;
        self.until = self.plan.time.map(|time| self.score.start + time);
        for index in 0..self.places.len() {
            self.begin(index);
            self.advance(index);
        }
        while self.busy > 0 && !self.stop.requested() {
            let wake = self.line.due().map_or(self.look, |due| due.min(self.look));
            self.epoll.wait(&mut ready, Some(wake))?;
            ready.iter().filter(|&&token| token != BELL).for_each(|&token| self.advance(token as usize));
            let now = Instant::now();
            self.show(now);
            if now >= self.look {
                self.look_at_clock();
            }
        }
        if self.stop.requested() {
            self.score.end = Instant::now();
        }
        self.score.finish();
        Ok(self.score)
    }

    /// Draws the live line if it is due.
    fn show(&mut self, now: Instant) {
        if self.line.due().is_some_and(|due| now >= due) {
            let (text, figures) = report::progress(&self.score, now, self.plan.limits());
            self.line.draw(&text, &figures);
        }
    }

    /// Place `index` takes up the next request, if there is one.
    fn begin(&mut self, index: usize) {
        let now = Instant::now();
        // Here too: when all connections are refused, a run of `-n` has no reason to wait, and goes on.
        self.show(now);
        let place = &mut self.places[index];
        let late = self.until.is_some_and(|until| now >= until);
        if late || self.begun == self.plan.requests || self.stop.requested() {
            (place.phase, place.stream) = (Phase::Idle, None);
            self.busy -= 1;
            return;
        }
        self.begun += 1;
        place.answer.restart();
        (place.start, place.deadline) = (now, now + self.plan.timeout);
        (place.phase, place.sent) = (Phase::Sending(0), false);
    }

    /// Brings place `index` as far as it goes without waiting, into the next request and on.
    fn advance(&mut self, index: usize) {
        while let Some(verdict) = self.step(index).transpose() {
            self.end(index, verdict);
        }
    }

    /// The request at place `index` is over; the next one begins.
    fn end(&mut self, index: usize, verdict: Result<Duration, Fault>) {
        let place = &mut self.places[index];
        if verdict.is_err() {
            place.stream = None;
        }
        let pauses = self.until.is_some() && matches!(verdict, Err((Cause::Connect, _)));
        self.score.note(place.start, &place.answer, verdict);
        if pauses {
            (place.phase, place.deadline) = (Phase::Pausing, Instant::now() + PAUSE);
            self.look = self.look.min(place.deadline);
        } else {
            self.begin(index);
        }
    }

    /// One step of the request at place `index`; gives how long it took once it is over.
    fn step(&mut self, index: usize) -> Result<Option<Duration>, Fault> {
        match self.places[index].phase {
            Phase::Idle | Phase::Pausing => Ok(None),
            Phase::Sending(from) => self.send(index, from),
            Phase::Receiving => self.receive(index),
            Phase::Closing(took) => self.close(index, took),
        }
    }

    /// Sends the request from byte `from` on. On loopback a handshake is over before `connect` returns, so
    /// that sending at once nearly always works, and saves a wait. A server may answer a long request before
    /// it has read all of it, and read nothing more then.
    fn send(&mut self, index: usize, from: usize) -> Result<Option<Duration>, Fault> {
        let refused = |error| (Cause::Connect, format!("cannot connect to {}: {error}", self.plan.server));
        let place = &mut self.places[index];
        if place.stream.is_none() {
            place.stream = Some(sys::begin_connect(self.plan.server).map_err(refused)?);
            (place.kept, place.watched) = (false, None);
        }
        let Some(mut stream) = place.stream.as_ref() else { return Ok(None) };
        let request = &self.plan.request.bytes;
        let sent = match stream.write(&request[from..]) {
            Ok(count) => from + count,
            Err(error) if is_passing(&error) && from > 0 => return self.receive(index),
            Err(error) if is_passing(&error) => from,
            // The kernel has taken none of it, so the server has not either: safe for every method.
            Err(_) if place.kept && from == 0 => return self.reconnect(index),
            Err(error) if from == 0 && !is_reset(&error) => return Err(refused(error)),
            Err(error) if from > 0 && is_reset(&error) => {
                place.phase = Phase::Receiving;
                return self.receive(index);
            }
            Err(error) => return self.lost(index, broken(error)),
        };
        let (phase, interest) = match sent {
            0 => (Phase::Sending(0), Interest::Write),
            _ if sent < request.len() => (Phase::Sending(sent), Interest::Both),
            _ => (Phase::Receiving, Interest::Read),
        };
        if from < sent && sent < request.len() {
            place.deadline = Instant::now() + self.plan.timeout;
        }
        (place.phase, place.sent) = (phase, sent == request.len());
        let watched = match place.watched {
            None => self.epoll.add(stream.as_fd(), interest, index as u64),
            Some(watched) if watched != interest => self.epoll.change(stream.as_fd(), interest, index as u64),
            Some(_) => Ok(()),
        };
        place.watched = Some(interest);
        watched.map(|()| None).map_err(broken)
    }

    /// Reads once: the others wait too, and what is still there is reported again.
    fn receive(&mut self, index: usize) -> Result<Option<Duration>, Fault> {
        let place = &mut self.places[index];
        let Some(mut stream) = place.stream.as_ref() else { return Ok(None) };
        let count = match stream.read(&mut self.buffer) {
            Ok(0) if place.answer.end() => 0,
            Ok(0) if !place.sent => {
                let why = "the server closed before it had read the request".to_owned();
                return self.lost(index, (Cause::Receive, why));
            }
            Ok(0) => return self.lost(index, (Cause::Short, "the server closed too early".to_owned())),
            Ok(count) => count,
            Err(error) if is_passing(&error) => return Ok(None),
            Err(error) => return self.lost(index, broken(error)),
        };
        let now = Instant::now();
        let took = now - place.start;
        place.deadline = now + self.plan.timeout;
        self.score.received += count as u64;
        if count == 0 {
            place.stream = None;
            return Ok(Some(took));
        }
        let malformed = |why| (Cause::Malformed, format!("the answer is not HTTP: {why}"));
        if !place.answer.feed(&self.buffer[..count]).map_err(malformed)? {
            return Ok(None);
        }
        match (place.answer.keeps, self.plan.keep) {
            // The rest of the request would be read as the next one.
            _ if !place.sent => place.stream = None,
            // They would be read as the next answer, and every answer after that as the one before it.
            (true, true) if place.answer.stray > 0 => {
                return Err(malformed("bytes come after it, on a connection that stays open"));
            }
            (true, true) => {
                self.score.kept += 1;
                place.kept = true;
            }
            // The server did not hear that we want to close.
            (true, false) => place.stream = None,
            // The time has been taken; whether stray bytes come after the answer is still to be seen.
            (false, _) => {
                place.phase = Phase::Closing(took);
                place.deadline = now + CLOSING;
                self.look = self.look.min(place.deadline);
                return Ok(None);
            }
        }
        Ok(Some(took))
    }

    /// Lets the server close first. Whoever does keeps the port for a minute (TIME_WAIT), and this side would
    /// soon have none left. What the server sends until then does no harm, since no answer follows it: many a
    /// server writes an empty line or two after its last byte. It is counted, and has no influence on the
    /// deadline.
    fn close(&mut self, index: usize, took: Duration) -> Result<Option<Duration>, Fault> {
        let place = &mut self.places[index];
        let Some(mut stream) = place.stream.as_ref() else { return Ok(Some(took)) };
        match stream.read(&mut self.buffer) {
            // More may come; it is reported again.
            Ok(count @ 1..) => {
                self.score.received += count as u64;
                place.answer.stray += count as u64;
                return Ok(None);
            }
            Err(error) if is_passing(&error) => return Ok(None),
            // However it ends, the answer was whole.
            Ok(0) | Err(_) => place.stream = None,
        }
        Ok(Some(took))
    }

    /// The connection ended before the answer was whole. If it had been kept, the server may have closed it
    /// before the request came, as it may at any time (RFC 9112, section 9.5). No byte of an answer is there
    /// then, and either the connection was reset, because nobody read the request, or the server's kernel has
    /// not acknowledged it. Such a request is sent again, on a new connection, and its clock goes on, if its
    /// method allows that: the server may have done what it asks for (RFC 9110, section 9.2.2). All else is a
    /// failure, above all a request that the server took, and closed in order without a word.
    fn lost(&mut self, index: usize, fault: Fault) -> Result<Option<Duration>, Fault> {
        if !self.places[index].may_be_unread(fault.0) {
            return Err(fault);
        }
        if !self.plan.request.is_idempotent() {
            let method = &self.plan.request.method;
            return Err((fault.0, format!("{}; {method} is not sent a second time by itself", fault.1)));
        }
        self.reconnect(index)
    }

    /// Happens once a request at most, because the new connection has not been kept.
    fn reconnect(&mut self, index: usize) -> Result<Option<Duration>, Fault> {
        self.score.reconnects += 1;
        self.places[index].stream = None;
        self.send(index, 0)
    }

    /// Ends what has had its time.
    fn look_at_clock(&mut self) {
        let now = Instant::now();
        for index in 0..self.places.len() {
            let place = &self.places[index];
            let verdict = match place.phase {
                Phase::Idle => continue,
                _ if now < place.deadline => continue,
                Phase::Pausing => {
                    self.begin(index);
                    self.advance(index);
                    continue;
                }
                Phase::Closing(took) => Ok(took),
                _ => Err((Cause::Timeout, format!("nothing moved for {:?}", self.plan.timeout))),
            };
            self.places[index].stream = None;
            self.end(index, verdict);
            self.advance(index);
        }
        let busy = self.places.iter().filter(|place| !matches!(place.phase, Phase::Idle));
        self.look = busy.map(|place| place.deadline).min().unwrap_or(now + self.plan.timeout);
    }
}

/// Nothing to be had for the moment: wait, and try again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// There was a connection, and the server has broken it.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn broken(error: io::Error) -> Fault {
    (Cause::Receive, format!("the connection broke: {error}"))
}
