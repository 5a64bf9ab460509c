//! How many requests does an HTTP server answer, and how long does each take? `-c` slots are kept busy: each
//! requests the document, waits for the whole reply, and requests it again, until `-n` requests have begun or
//! the time of `-z` is over. What has begun is finished: without the slow ones the figures would be those of
//! quick ones. One thread does it all with epoll, in few system calls: its processor time is the server's
//! too.

use crate::bench::plan::Plan;
use crate::bench::report;
use crate::bench::response::Answer;
use crate::bench::score::{Cause, Fault, LoadStats};
use crate::cli::LiveLine;
use crate::sys::{self, Epoll, Interest, Stop};
use std::io::{self, ErrorKind, Read, Stderr, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes that one read takes at most; all connections share the buffer.
const PIECE: usize = 128 * 1024;

/// How long a server that has announced to close the connection may take, before this side closes it.
const CLOSING: Duration = Duration::from_secs(1);

/// How long a slot waits after it could not connect: without it, a run of `-z` would keep a core busy with a
/// server that is not there. A run of `-n` requests is over sooner without it.
const PAUSE: Duration = Duration::from_millis(10);

/// The token of the self-pipe; all others are indexes of slots.
const STOP: u64 = u64::MAX;

/// The state of one of the `-c` slots.
///
/// ```text
///   begin ──► connect, send ──► receive ──► the last byte: the clock stops ──► closing ──► begin
///                   ▲                                │
///                   └──── -k, and the server keeps it┘
/// ```
enum Phase {
    /// No requests are left.
    Idle,
    /// The last connection was not to be had; the next request begins at the deadline.
    Pausing,
    /// This many bytes of the request are sent; the connection need not be made yet.
    Sending(usize),
    Receiving,
    /// The reply was whole after this time; the server has announced that it closes the connection.
    Closing(Duration),
}

/// One connection, with at most one request on it.
struct ConnectionSlot {
    phase: Phase,
    stream: Option<TcpStream>,
    /// What epoll watches `stream` for.
    watched: Option<Interest>,
    /// `stream` has brought a reply before.
    kept: bool,
    /// The request has been sent to its last byte.
    sent: bool,
    answer: Answer,
    /// When the request began: before connecting, or before sending on a connection that was kept.
    start: Instant,
    /// When the server's time is over.
    deadline: Instant,
}

impl ConnectionSlot {
    /// The connection was kept and has ended; may the server have closed it before it read the request?
    fn may_be_unread(&self, cause: Cause) -> bool {
        let was_reset = cause == Cause::Receive;
        let unsent = |stream: &TcpStream| sys::unsent(stream.as_fd()).unwrap_or(0);
        let is_unacknowledged = self.stream.as_ref().is_some_and(|stream| unsent(stream) > 0);
        self.kept && !self.answer.has_begun() && (was_reset || is_unacknowledged)
    }
}

/// A run.
pub struct Load<'p> {
    plan: &'p Plan,
    stop: Stop,
    epoll: Epoll,
    slots: Vec<ConnectionSlot>,
    /// Slots that are not idle.
    busy: usize,
    /// Requests that have begun.
    begun: u64,
    /// When the last request may begin.
    until: Option<Instant>,
    /// When deadlines are checked next; none is earlier.
    next_check: Instant,
    /// The live line.
    line: LiveLine<Stderr>,
    /// The receive buffer; empty between two reads.
    buffer: Vec<u8>,
    stats: LoadStats,
}

impl<'p> Load<'p> {
    pub fn new(plan: &'p Plan, stop: Stop) -> io::Result<Load<'p>> {
        let (epoll, now) = (Epoll::new()?, Instant::now());
        epoll.add(stop.as_fd(), Interest::Read, STOP)?;
        let slot = || ConnectionSlot {
            phase: Phase::Idle,
            stream: None,
            watched: None,
            kept: false,
            sent: false,
            answer: Answer::new(&plan.request.method),
            start: now,
            deadline: now,
        };
        let slots: Vec<ConnectionSlot> = (0..plan.connections).map(|_| slot()).collect();
        let (busy, next_check) = (slots.len(), now + plan.timeout);
        let (buffer, stats) = (vec![0; PIECE], LoadStats::new(plan.requests));
        let line = LiveLine::new(io::stderr());
        Ok(Load {
            plan,
            stop,
            epoll,
            slots,
            busy,
            begun: 0,
            until: None,
            next_check,
            line,
            buffer,
            stats,
        })
    }

    /// Runs until all requests are over, or the user stops it.
    pub fn run(mut self) -> io::Result<LoadStats> {
        let mut ready = Vec::new();
        self.stats.start = Instant::now();
        self.stats.end = self.stats.start;
        self.until = self.plan.time.map(|time| self.stats.start + time);
        for index in 0..self.slots.len() {
            self.begin(index);
            self.advance(index);
        }
        while self.busy > 0 && !self.stop.requested() {
            let wake = self
                .line
                .due()
                .map_or(self.next_check, |due| due.min(self.next_check));
            self.epoll.wait(&mut ready, Some(wake))?;
            ready
                .iter()
                .filter(|&&token| token != STOP)
                .for_each(|&token| self.advance(token as usize));
            let now = Instant::now();
            self.show(now);
            if now >= self.next_check {
                self.check_deadlines();
            }
        }
        if self.stop.requested() {
            self.stats.end = Instant::now();
        }
        self.stats.finish();
        Ok(self.stats)
    }

    /// Draws the live line if it is due.
    fn show(&mut self, now: Instant) {
        if self.line.due().is_some_and(|due| now >= due) {
            let (text, figures) = report::progress(&self.stats, now, self.plan.limits());
            self.line.draw(&text, &figures);
        }
    }

    /// ConnectionSlot `index` takes up the next request, if there is one.
    fn begin(&mut self, index: usize) {
        let now = Instant::now();
        // Here too: when all connections are refused, a run of `-n` never waits and begins again and again.
        self.show(now);
        let slot = &mut self.slots[index];
        let late = self.until.is_some_and(|until| now >= until);
        if late || self.begun == self.plan.requests || self.stop.requested() {
            (slot.phase, slot.stream) = (Phase::Idle, None);
            self.busy -= 1;
            return;
        }
        self.begun += 1;
        slot.answer.restart();
        (slot.start, slot.deadline) = (now, now + self.plan.timeout);
        (slot.phase, slot.sent) = (Phase::Sending(0), false);
    }

    /// Advances slot `index` as far as it goes without waiting, into the next requests too.
    fn advance(&mut self, index: usize) {
        while let Some(verdict) = self.step(index).transpose() {
            self.end(index, verdict);
        }
    }

    /// The request in slot `index` is over; the next one begins.
    fn end(&mut self, index: usize, verdict: Result<Duration, Fault>) {
        let slot = &mut self.slots[index];
        if verdict.is_err() {
            slot.stream = None;
        }
        let pauses = self.until.is_some() && matches!(verdict, Err((Cause::Connect, _)));
        self.stats.note(slot.start, &slot.answer, verdict);
        if pauses {
            (slot.phase, slot.deadline) = (Phase::Pausing, Instant::now() + PAUSE);
            self.next_check = self.next_check.min(slot.deadline);
        } else {
            self.begin(index);
        }
    }

    /// One step of the request in slot `index`; when it is over, returns how long it took.
    fn step(&mut self, index: usize) -> Result<Option<Duration>, Fault> {
        match self.slots[index].phase {
            Phase::Idle | Phase::Pausing => Ok(None),
            Phase::Sending(from) => self.send(index, from),
            Phase::Receiving => self.receive(index),
            Phase::Closing(took) => self.close(index, took),
        }
    }

    /// Sends the request from byte `from` on. On loopback a handshake is over before `connect` returns, so
    /// that sending at once nearly always works, and saves a wait. A server may reply to a long request
    /// before it has read all of it, and then read nothing more.
    fn send(&mut self, index: usize, from: usize) -> Result<Option<Duration>, Fault> {
        let refused = |error| {
            (
                Cause::Connect,
                format!("cannot connect to {}: {error}", self.plan.server),
            )
        };
        let slot = &mut self.slots[index];
        if slot.stream.is_none() {
            slot.stream = Some(sys::begin_connect(self.plan.server).map_err(refused)?);
            (slot.kept, slot.watched) = (false, None);
        }
        let Some(mut stream) = slot.stream.as_ref() else {
            return Ok(None);
        };
        let request = &self.plan.request.bytes;
        let sent = match stream.write(&request[from..]) {
            Ok(count) => from + count,
            Err(error) if is_passing(&error) && from > 0 => return self.receive(index),
            Err(error) if is_passing(&error) => from,
            // The kernel has taken none of it, so the server has not either: safe for every method.
            Err(_) if slot.kept && from == 0 => return self.reconnect(index),
            Err(error) if from == 0 && !is_reset(&error) => return Err(refused(error)),
            Err(error) if from > 0 && is_reset(&error) => {
                slot.phase = Phase::Receiving;
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
            slot.deadline = Instant::now() + self.plan.timeout;
        }
        (slot.phase, slot.sent) = (phase, sent == request.len());
        let set = self
            .epoll
            .set(stream.as_fd(), index as u64, &mut slot.watched, Some(interest));
        set.map(|()| None).map_err(broken)
    }

    /// Reads once: the other slots wait too, and epoll reports again what is left.
    fn receive(&mut self, index: usize) -> Result<Option<Duration>, Fault> {
        let slot = &mut self.slots[index];
        let Some(mut stream) = slot.stream.as_ref() else {
            return Ok(None);
        };
        let count = match stream.read(&mut self.buffer) {
            Ok(0) if slot.answer.end() => 0,
            Ok(0) if !slot.sent => {
                let why = "the server closed before it had read the request".to_owned();
                return self.lost(index, (Cause::Receive, why));
            }
            Ok(0) => return self.lost(index, (Cause::Short, "the server closed too early".to_owned())),
            Ok(count) => count,
            Err(error) if is_passing(&error) => return Ok(None),
            Err(error) => return self.lost(index, broken(error)),
        };
        let now = Instant::now();
        let took = now - slot.start;
        slot.deadline = now + self.plan.timeout;
        self.stats.received += count as u64;
        if count == 0 {
            slot.stream = None;
            return Ok(Some(took));
        }
        let malformed = |why| (Cause::Malformed, format!("the answer is not HTTP: {why}"));
        if !slot.answer.feed(&self.buffer[..count]).map_err(malformed)? {
            return Ok(None);
        }
        match (slot.answer.keeps, self.plan.keep) {
            // The rest of the request would be read as the next one.
            _ if !slot.sent => slot.stream = None,
            // They would be read as the next reply, and each later reply as the one before it.
            (true, true) if slot.answer.stray > 0 => {
                return Err(malformed("bytes come after it, on a connection that stays open"));
            }
            (true, true) => {
                self.stats.kept += 1;
                slot.kept = true;
            }
            // The server keeps the connection although we asked it to close.
            (true, false) => slot.stream = None,
            // The clock has stopped; stray bytes may still come after the reply.
            (false, _) => {
                slot.phase = Phase::Closing(took);
                slot.deadline = now + CLOSING;
                self.next_check = self.next_check.min(slot.deadline);
                return Ok(None);
            }
        }
        Ok(Some(took))
    }

    /// Lets the server close first. The side that closes first keeps the port for a minute (TIME_WAIT), and
    /// this side would soon have none left. Bytes from the server until then do no harm, since no reply
    /// follows them: many servers write an empty line or two after the last byte. They are counted, and do
    /// not move the deadline.
    fn close(&mut self, index: usize, took: Duration) -> Result<Option<Duration>, Fault> {
        let slot = &mut self.slots[index];
        let Some(mut stream) = slot.stream.as_ref() else {
            return Ok(Some(took));
        };
        match stream.read(&mut self.buffer) {
            // More may come; epoll reports it again.
            Ok(count @ 1..) => {
                self.stats.received += count as u64;
                slot.answer.stray += count as u64;
                return Ok(None);
            }
            Err(error) if is_passing(&error) => return Ok(None),
            // The reply was whole, so any end is fine.
            Ok(0) | Err(_) => slot.stream = None,
        }
        Ok(Some(took))
    }

    /// The connection ended before the reply was whole. If it had been kept, the server may have closed it
    /// before the request came, as it may at any time (RFC 9112, section 9.5). Then no byte of a reply has
    /// come, and either the connection was reset, because the server did not read the request, or the
    /// server's kernel has not acknowledged it. Such a request is sent again, on a new connection, and its
    /// clock goes on, if its method allows that: the server may have processed it (RFC 9110, section 9.2.2).
    /// Everything else is a failure, also when the server takes the request and then closes in order without
    /// a reply.
    fn lost(&mut self, index: usize, fault: Fault) -> Result<Option<Duration>, Fault> {
        if !self.slots[index].may_be_unread(fault.0) {
            return Err(fault);
        }
        if !self.plan.request.is_idempotent() {
            let method = &self.plan.request.method;
            return Err((
                fault.0,
                format!("{}; {method} is not sent a second time by itself", fault.1),
            ));
        }
        self.reconnect(index)
    }

    /// Happens at most once for a request, because the new connection is not a kept one.
    fn reconnect(&mut self, index: usize) -> Result<Option<Duration>, Fault> {
        self.stats.reconnects += 1;
        self.slots[index].stream = None;
        self.send(index, 0)
    }

    /// Ends the requests whose deadline has passed.
    fn check_deadlines(&mut self) {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let verdict = match slot.phase {
                Phase::Idle => continue,
                _ if now < slot.deadline => continue,
                Phase::Pausing => {
                    self.begin(index);
                    self.advance(index);
                    continue;
                }
                Phase::Closing(took) => Ok(took),
                _ => Err((
                    Cause::Timeout,
                    format!("nothing moved for {:?}", self.plan.timeout),
                )),
            };
            self.slots[index].stream = None;
            self.end(index, verdict);
            self.advance(index);
        }
        let busy = self
            .slots
            .iter()
            .filter(|slot| !matches!(slot.phase, Phase::Idle));
        self.next_check = busy
            .map(|slot| slot.deadline)
            .min()
            .unwrap_or(now + self.plan.timeout);
    }
}

/// Not ready or interrupted: wait, and try again.
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
