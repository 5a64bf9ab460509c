//! # Chapter 16c. How do bytes cross between two sockets, when either may be slow?
//!
//! What one end has sent is read into the worker's one buffer and written to the other end at once. Only what
//! that end refuses is kept, and until it is gone nothing more is read, so that the kernel slows the sender
//! down. The end of a stream is passed on behind its last byte, and ends this direction alone.
//!
//! ```text
//!   small    client ──read──► scratch ──write──► back end          refused: kept in a vector
//!   large    client ─splice─► pipe ───splice───► back end          refused: stays in the pipe
//!   end      read or splice gives 0 ──► shutdown(Write) on the other end
//! ```
//!
//! The invariant: bytes leave in the order in which they came, and for each direction at most one buffer or
//! one pipe of them waits, however slow the one end and however fast the other is.
//!
//! Why both ways: `splice` moves references to pages instead of bytes, but it needs two more calls and two
//! descriptors. Five downloads of 100 MiB at once cross at 5.7 GB/s through pipes of 1 MiB and at 5.2 GB/s
//! through the buffer, one alone at 4.3 and 3.2 GB/s, for less than half of the processor time. Through pipes
//! of 64 KiB, which is what one is given unless one asks, it is no faster; nor is it for a small reply.
//!
//! What must not live here: who the two ends are, epoll, time.
//!
//! before: `balance/backends.rs` … after: `bench.rs`
//!
//! Experiment: let `over` shut down both directions, and see which tests miss their replies.

use crate::sys::{self, Interest};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::rc::Rc;

/// Bytes of a worker's buffer: the most that one read takes and that one direction can keep.
const PIECE: usize = 256 * 1024;

/// Bytes of a pipe; 1 MiB is what Linux gives to everybody who asks (`fs.pipe-max-size`).
const PIPE: usize = 1024 * 1024;

/// Most pipes of a worker. Four workers then stay within what one user may have in pipes of this size, 64
/// (`fs.pipe-user-pages-soft`). Whoever gets none has his bytes copied.
const PIPES: usize = 16;

/// Bytes after which a direction is large.
const LARGE: u64 = 512 * 1024;

/// Bytes after which a turn is over; bounds how long one connection can keep its worker from others.
const TURN: u64 = 1024 * 1024;

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Backend,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Client, Side::Backend];

    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Backend,
            Side::Backend => Side::Client,
        }
    }
}

/// What a worker moves bytes with. Between two turns there are none in it.
pub struct RelayBuffers {
    scratch: Vec<u8>,
    /// Empty ones.
    pipes: Vec<Pipe>,
    /// Each pipe that exists holds a copy.
    count: Rc<()>,
    /// Most pipes that there may be.
    limit: usize,
}

/// A buffer that lies in the kernel.
struct Pipe {
    out: PipeReader,
    into: PipeWriter,
    /// Bytes in it.
    held: usize,
    _count: Rc<()>,
}

impl RelayBuffers {
    pub fn new() -> RelayBuffers {
        RelayBuffers { scratch: vec![0; PIECE], pipes: Vec::new(), count: Rc::new(()), limit: PIPES }
    }

    /// An empty pipe, if there is one to be had.
    fn pipe(&mut self) -> Option<Pipe> {
        // The kit has a copy of the count too.
        let made = Rc::strong_count(&self.count) - 1;
        if self.pipes.is_empty() && made < self.limit {
            match Pipe::new(self.count.clone()) {
                Ok(pipe) => return Some(pipe),
                // No descriptors, or too many pages: it will be no better at the next turn.
                Err(_) => self.limit = made,
            }
        }
        self.pipes.pop()
    }
}

impl Pipe {
    fn new(count: Rc<()>) -> io::Result<Pipe> {
        let (out, into) = io::pipe()?;
        sys::set_pipe_size(into.as_fd(), PIPE)?;
        Ok(Pipe { out, into, held: 0, _count: count })
    }

    /// Moves what it holds, as far as there is room; returns how much that was.
    fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let before = self.held;
        while self.held > 0 {
            let Some(count) = or_later(sys::splice(self.out.as_fd(), to.as_fd(), self.held))? else { break };
            self.held -= count;
        }
        Ok(before - self.held)
    }
}

/// How far the bytes that come from one end are.
enum Flow {
    /// All that was read has been passed on.
    Moving,
    /// The other end has still to take this, and nothing is read before it has.
    Waiting(Kept),
    /// The other end was told that nothing more will come.
    Over,
}

/// What the other end has not taken.
enum Kept {
    Bytes {
        /// At most one buffer. Empty: the other end has to take the connection first.
        bytes: Vec<u8>,
        /// How many of them are gone.
        gone: usize,
        /// They were the last.
        last: bool,
    },
    Pipe(Pipe),
}

/// One of the two sockets, and what comes from it.
struct End {
    stream: TcpStream,
    flow: Flow,
    /// Bytes that came from it and that the other end has taken.
    crossed: u64,
    /// They are sent on without waiting for more (TCP_NODELAY).
    hurried: bool,
}

/// A client and its back end.
pub struct Relay {
    client: End,
    backend: End,
}

impl Relay {
    /// `client` has TCP_NODELAY from its listener, so Nagle's algorithm does not delay it. `backend` may
    /// still be connecting: `knock` tells.
    pub fn new(client: TcpStream, backend: TcpStream) -> Relay {
        let first = Flow::Waiting(Kept::Bytes { bytes: Vec::new(), gone: 0, last: false });
        let client = End { stream: client, flow: first, crossed: 0, hurried: false };
        let backend = End { stream: backend, flow: Flow::Moving, crossed: 0, hurried: true };
        Relay { client, backend }
    }

    /// Another back end, in the place of one that has not taken the connection and so not a byte either.
    pub fn turn_to(&mut self, backend: TcpStream) {
        self.backend.stream = backend;
    }

    /// Takes what the client has sent already, before a back end has taken the connection.
    pub fn listen(&mut self, kit: &mut RelayBuffers) -> io::Result<()> {
        if let Some(count) = or_later((&self.client.stream).read(&mut kit.scratch))? {
            let bytes = kit.scratch[..count].to_vec();
            self.client.flow = Flow::Waiting(Kept::Bytes { bytes, gone: 0, last: count == 0 });
        }
        Ok(())
    }

    /// Gives the back end what the client has sent, perhaps nothing: even a write of nothing tells whether a
    /// connection stands (true), is on its way (false) or was refused (an error). Asked until it stands.
    pub fn knock(&mut self, kit: &mut RelayBuffers) -> io::Result<bool> {
        self.push(Side::Client, kit)?;
        Ok(!matches!(self.client.flow, Flow::Waiting(Kept::Bytes { gone: 0, .. })))
    }

    /// The client, for whom there is no back end.
    pub fn into_client(self) -> TcpStream {
        self.client.stream
    }

    pub fn stream(&self, side: Side) -> &TcpStream {
        &self.end(side).stream
    }

    /// Bytes that came from `side` and that the other end has taken.
    pub fn crossed(&self, side: Side) -> u64 {
        self.end(side).crossed
    }

    /// Something from `side` waits for the other end to take it.
    pub fn keeps(&self, side: Side) -> bool {
        matches!(self.end(side).flow, Flow::Waiting(_))
    }

    /// What must happen at this end before anything can go on. `None`: nothing that could happen there helps.
    pub fn wants(&self, side: Side) -> Option<Interest> {
        match (matches!(self.end(side).flow, Flow::Moving), self.keeps(side.other())) {
            (true, true) => Some(Interest::Both),
            (true, false) => Some(Interest::Read),
            (false, true) => Some(Interest::Write),
            (false, false) => None,
        }
    }

    /// Both ends have nothing more to say, and each knows it of the other.
    pub fn is_over(&self) -> bool {
        Side::BOTH.iter().all(|&side| matches!(self.end(side).flow, Flow::Over))
    }

    /// Lets the connections end with a reset, so that nobody takes what has crossed for the whole.
    pub fn reset(&self) {
        // It fails only for a connection that has gone.
        Side::BOTH.iter().for_each(|&side| drop(sys::reset_on_close(self.stream(side).as_fd())));
    }

    /// One bounded turn after something happened at `side`.
    pub fn turn(&mut self, side: Side, kit: &mut RelayBuffers) -> io::Result<()> {
        // If there is room again, what had to wait for it outside is probably there: no need to be told.
        if self.keeps(side.other()) {
            self.push(side.other(), kit)?;
            self.pull(side.other(), kit)?;
        }
        self.pull(side, kit)
    }

    fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Backend => &self.backend,
        }
    }

    /// Source and sink of what comes from `side`.
    fn along(&mut self, side: Side) -> (&mut End, &End) {
        match side {
            Side::Client => (&mut self.client, &self.backend),
            Side::Backend => (&mut self.backend, &self.client),
        }
    }

    /// Offers what was kept once more.
    fn push(&mut self, from: Side, kit: &mut RelayBuffers) -> io::Result<()> {
        let (source, sink) = self.along(from);
        source.hurry(sink)?;
        let (count, all, last) = match &mut source.flow {
            Flow::Waiting(Kept::Bytes { bytes, gone, last }) => {
                let Some(count) = send(sink, &bytes[*gone..], *last)? else { return Ok(()) };
                *gone += count;
                (count, *gone == bytes.len(), *last)
            }
            Flow::Waiting(Kept::Pipe(pipe)) => (pipe.drain(&sink.stream)?, pipe.held == 0, false),
            Flow::Moving | Flow::Over => return Ok(()),
        };
        source.crossed += count as u64;
        if all {
            let next = if last { over(sink)? } else { Flow::Moving };
            if let Flow::Waiting(Kept::Pipe(empty)) = mem::replace(&mut source.flow, next) {
                kit.pipes.push(empty);
            }
        }
        Ok(())
    }

    /// Moves what has come, as long as nothing is in its way.
    fn pull(&mut self, from: Side, kit: &mut RelayBuffers) -> io::Result<()> {
        let (source, sink) = self.along(from);
        let end = source.crossed + TURN;
        let mut more = true;
        while more && source.crossed < end && matches!(source.flow, Flow::Moving) {
            let pipe = if source.crossed < LARGE { None } else { kit.pipe() };
            more = match pipe {
                None => source.copy(sink, &mut kit.scratch)?,
                Some(pipe) => source.splice(sink, pipe, kit)?,
            };
        }
        Ok(())
    }
}

impl End {
    /// Before a second small packet would wait until the first has been confirmed (Nagle's algorithm). Most
    /// back ends are written to once, and there it would be a call for nothing.
    fn hurry(&mut self, sink: &End) -> io::Result<()> {
        if self.crossed > 0 && !self.hurried {
            sink.stream.set_nodelay(true)?;
            self.hurried = true;
        }
        Ok(())
    }

    /// Reads and writes what has come; returns whether there may be more.
    fn copy(&mut self, sink: &End, scratch: &mut [u8]) -> io::Result<bool> {
        let Some(mut count) = or_later((&self.stream).read(scratch))? else { return Ok(false) };
        let (mut last, mut more) = (count == 0, count == scratch.len());
        // Right behind a reply there is often the end of the stream.
        if !last && !more {
            let next = or_later((&self.stream).read(&mut scratch[count..]))?;
            (last, more) = (next == Some(0), next.is_some_and(|next| next > 0));
            count += next.unwrap_or(0);
        }
        let bytes = &scratch[..count];
        let taken = match count {
            0 => 0,
            _ => self.hurry(sink).and_then(|()| send(sink, bytes, last))?.unwrap_or(0),
        };
        self.crossed += taken as u64;
        if taken < count {
            let bytes = bytes[taken..].to_vec();
            self.flow = Flow::Waiting(Kept::Bytes { bytes, gone: 0, last });
        } else if last {
            self.flow = over(sink)?;
        }
        Ok(more)
    }

    /// The same without bringing the bytes into this process.
    fn splice(&mut self, sink: &End, mut pipe: Pipe, kit: &mut RelayBuffers) -> io::Result<bool> {
        let count = or_later(sys::splice(self.stream.as_fd(), pipe.into.as_fd(), PIPE))?;
        pipe.held = count.unwrap_or(0);
        self.crossed += pipe.drain(&sink.stream)? as u64;
        if pipe.held > 0 {
            self.flow = Flow::Waiting(Kept::Pipe(pipe));
        } else {
            kit.pipes.push(pipe);
        }
        if count == Some(0) {
            self.flow = over(sink)?;
        }
        Ok(count.is_some())
    }
}

/// Offers bytes to an end.
fn send(sink: &End, bytes: &[u8], last: bool) -> io::Result<Option<usize>> {
    or_later(if last { sys::send_last(sink.stream.as_fd(), bytes) } else { (&sink.stream).write(bytes) })
}

/// Tells an end that nothing more will come from the other.
fn over(sink: &End) -> io::Result<Flow> {
    // When nothing more comes from that end either, both are closed in a moment, which says the same.
    if !matches!(sink.flow, Flow::Over) {
        sink.stream.shutdown(Shutdown::Write)?;
    }
    Ok(Flow::Over)
}

/// A socket that is not ready and a signal in between have the same remedy, the next turn: `None`.
fn or_later(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Two ends of a connection, the first as the balancer has it.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = listener.accept().unwrap().0;
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    /// A relay that stands, its client and its back end.
    fn relay(kit: &mut RelayBuffers) -> (Relay, TcpStream, TcpStream) {
        let ((near_client, client), (near_backend, backend)) = (pair(), pair());
        let mut relay = Relay::new(near_client, near_backend);
        assert!(relay.knock(kit).unwrap());
        (relay, client, backend)
    }

    #[test]
    fn what_was_said_to_nobody_is_said_to_the_next() {
        let kit = &mut RelayBuffers::new();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (near, mut client) = pair();
        let mut relay = Relay::new(near, sys::begin_connect(closed).unwrap());
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        relay.listen(kit).unwrap();
        assert_eq!(relay.knock(kit).map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused));
        assert!(relay.keeps(Side::Client) && relay.wants(Side::Client).is_none());
        let (near, mut backend) = pair();
        relay.turn_to(near);
        assert!(relay.knock(kit).unwrap());
        // The end had not come yet when it listened.
        relay.turn(Side::Client, kit).unwrap();
        let mut all = String::new();
        backend.read_to_string(&mut all).unwrap();
        assert_eq!((all.as_str(), relay.crossed(Side::Client)), ("hello", 5));
        assert_eq!([Side::Client, Side::Backend].map(|side| relay.wants(side)), [None, Some(Interest::Read)]);
    }

    /// Sends `length` bytes to a back end that does not read until everything is full.
    /// Returns whether they then waited in a pipe.
    fn stall(kit: &mut RelayBuffers, length: usize) -> bool {
        let (mut relay, mut client, mut backend) = relay(kit);
        let sender = std::thread::spawn(move || {
            let bytes: Vec<u8> = (0..length).map(|at| (at / 4099) as u8).collect();
            client.write_all(&bytes).unwrap();
            bytes
        });
        while !relay.keeps(Side::Client) {
            relay.turn(Side::Client, kit).unwrap();
        }
        assert_eq!([Side::Client, Side::Backend].map(|side| relay.wants(side)), [None, Some(Interest::Both)]);
        let piped = matches!(relay.end(Side::Client).flow, Flow::Waiting(Kept::Pipe(_)));
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; length];
            backend.read_exact(&mut all).unwrap();
            all
        });
        while relay.crossed(Side::Client) < length as u64 {
            Side::BOTH.iter().for_each(|&side| relay.turn(side, kit).unwrap());
        }
        assert!(reader.join().unwrap() == sender.join().unwrap(), "bytes have changed");
        piped
    }

    #[test]
    fn what_is_kept_keeps_its_order_in_pipes_and_in_vectors() {
        let kit = &mut RelayBuffers::new();
        assert!(stall(kit, 32 << 20));
        assert_eq!((kit.pipes.len(), Rc::strong_count(&kit.count)), (1, 2), "the pipe is back");
        // As if there were no pipes to be had.
        (kit.limit, kit.pipes) = (0, Vec::new());
        assert!(!stall(kit, 32 << 20));
    }

    #[test]
    fn pipes_are_bounded_and_come_back() {
        let mut kit = RelayBuffers::new();
        let mut taken: Vec<Pipe> = std::iter::from_fn(|| kit.pipe()).collect();
        assert_eq!(taken.len(), PIPES);
        kit.pipes.extend(taken.pop());
        assert!(kit.pipe().is_some() && kit.pipes.is_empty());
        // That one was lost with its connection, and another may be made.
        assert!(kit.pipe().is_some());
    }
}
