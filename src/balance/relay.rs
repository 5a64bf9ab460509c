//! How do bytes cross between two sockets, when either may be slow? They go through the worker's one buffer,
//! or through a pipe once they are many. Only what the other end does not take is kept, in bounded room; when
//! that is full nothing more is read, so that the kernel slows the sender down (backpressure). The end of a
//! stream is passed on after its last byte, and ends this direction alone.

use crate::sys::{self, Interest};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes of a worker's buffer, and of a pipe: the most that one read takes and that one direction can keep.
const PIECE: usize = 256 * 1024;

/// Bytes that may wait in the socket of a client: twice as many, as the kernel counts.
pub const WAITING: i32 = 512 * 1024;

// A server with a limit on idle clients must see that a slow one takes bytes, which here pass three buffers.
// A buffer that has room only when much of it is empty makes lumps of a slow stream. So the sockets are
// bounded, and a pipe is filled up while it empties: 100 KB/s then move every second or two, not every 11 s.

/// Bytes in the socket of a client that are not on their way; below half of them it has room again.
pub const UNSENT: i32 = 128 * 1024;

/// Bytes that may wait in the socket of a back end; twice as many, as the kernel counts. There may be no room
/// again before all of them are read, if they came in one go.
pub const UNREAD: i32 = 64 * 1024;

/// For a client that has taken `LARGE` bytes in less than `FAST`: that saves a third of the processor time.
const UNREAD_FAST: i32 = 512 * 1024;
const FAST: Duration = Duration::from_millis(500);

/// Most pipes of a worker: those of 16 workers are the 64 MiB that one user may have in pipes by default
/// (`fs.pipe-user-pages-soft`, pipe(7)). Without a pipe the bytes are copied.
const PIPES: usize = 16;

/// Bytes after which a direction is large.
const LARGE: u64 = 512 * 1024;

/// Bytes after which the turn of one direction is over: a bound on how long others wait for the worker.
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

/// What a worker moves bytes with. Between two turns it holds no bytes.
pub struct RelayBuffers {
    scratch: Vec<u8>,
    /// Pipes that are free and empty.
    pipes: Vec<Pipe>,
    /// Counts the pipes: each holds a copy.
    count: Rc<()>,
    /// Most pipes that there may be.
    limit: usize,
}

/// A buffer in the kernel.
struct Pipe {
    out: PipeReader,
    into: PipeWriter,
    /// Bytes in it.
    held: usize,
    _count: Rc<()>,
}

impl RelayBuffers {
    pub fn new() -> RelayBuffers {
        RelayBuffers {
            scratch: vec![0; PIECE],
            pipes: Vec::new(),
            count: Rc::new(()),
            limit: PIPES,
        }
    }

    /// An empty pipe: a free one or a new one; `None`: at the limit.
    fn pipe(&mut self) -> Option<Pipe> {
        // This struct holds a copy of the count too.
        let made = Rc::strong_count(&self.count) - 1;
        if self.pipes.is_empty() && made < self.limit {
            match Pipe::new(self.count.clone()) {
                Ok(pipe) => return Some(pipe),
                // No descriptors, or too many pages: the next turn would fail too.
                Err(_) => self.limit = made,
            }
        }
        self.pipes.pop()
    }
}

impl Pipe {
    fn new(count: Rc<()>) -> io::Result<Pipe> {
        let (out, into) = io::pipe()?;
        sys::set_pipe_size(into.as_fd(), PIECE)?;
        Ok(Pipe {
            out,
            into,
            held: 0,
            _count: count,
        })
    }

    /// Takes what has come, as far as it has room; `None`: nothing has. 0: the end of the stream.
    fn fill(&mut self, from: &TcpStream) -> io::Result<Option<usize>> {
        let count = or_later(sys::splice(from.as_fd(), self.into.as_fd(), PIECE - self.held))?;
        self.held += count.unwrap_or(0);
        Ok(count)
    }

    /// Moves what it holds, as far as there is room; returns how much that was.
    fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let before = self.held;
        while self.held > 0 {
            let Some(count) = or_later(sys::splice(self.out.as_fd(), to.as_fd(), self.held))? else {
                break;
            };
            self.held -= count;
        }
        Ok(before - self.held)
    }
}

/// The state of one direction: of the bytes that come from one end. They leave in the order in which they
/// came, and at most one buffer or one pipe of them waits; nothing more is read than fits there.
///
/// ```text
///   small    client ──read──► scratch ──write──► back end          refused: kept in a vector
///   large    client ─splice─► pipe ───splice───► back end          refused: stays in the pipe
///   end      read or splice gives 0 ──► shutdown(Write) on the other end
/// ```
///
/// Why both ways: `splice` moves references to pages instead of bytes, but needs two more calls and two
/// descriptors. Through pipes of 1 MiB, five downloads of 100 MiB at once cross at 5.7 GB/s, through the
/// buffer at 5.2, one alone at 4.3 and 3.2, for less than half of the processor time. Pipes of 256 KiB cost
/// five a fifth of that and one nothing. Pipes of 64 KiB, the default, are no faster than the buffer.
enum Flow {
    /// All that was read has been passed on.
    Moving,
    Kept {
        /// At most one buffer. Empty: the other end has to accept the connection first.
        bytes: Vec<u8>,
        /// How many of them are sent.
        gone: usize,
        /// The stream ends after them.
        last: bool,
    },
    Piped(Pipe),
    /// The other end has been told that the stream is over.
    Over,
}

impl Flow {
    fn kept(bytes: &[u8], last: bool) -> Flow {
        Flow::Kept {
            bytes: bytes.to_vec(),
            gone: 0,
            last,
        }
    }
}

/// One of the two sockets, and what comes from it.
struct End {
    stream: TcpStream,
    flow: Flow,
    /// Bytes that came from it and that the other end has taken.
    crossed: u64,
    /// For a back end whose client is not known to be fast: when it was measured last, and `crossed` then.
    pace: Option<(Instant, u64)>,
    /// The other end, where its bytes go, has TCP_NODELAY.
    sink_nodelay: bool,
}

/// A client and its back end, by `Side`.
pub struct Relay {
    ends: [End; 2],
}

impl Relay {
    /// `client` has TCP_NODELAY from its listener, so Nagle's algorithm delays nothing that comes from
    /// `backend`. That may still be connecting: `poll_connect` tells.
    pub fn new(client: TcpStream, backend: TcpStream) -> Relay {
        let end = |stream, flow, pace, sink_nodelay| End {
            stream,
            flow,
            crossed: 0,
            pace,
            sink_nodelay,
        };
        let client = end(client, Flow::kept(&[], false), None, false);
        let backend = end(backend, Flow::Moving, Some((Instant::now(), 0)), true);
        Relay {
            ends: [client, backend],
        }
    }

    /// Replaces a back end that has not accepted the connection, and so has not taken a byte either.
    pub fn set_backend(&mut self, backend: TcpStream) {
        self.ends[Side::Backend as usize].stream = backend;
    }

    /// Reads what the client has sent already, before a back end has accepted the connection.
    pub fn read_early(&mut self, buffers: &mut RelayBuffers) -> io::Result<()> {
        let client = &mut self.ends[Side::Client as usize];
        if let Some(count) = or_later(client.stream.read(&mut buffers.scratch))? {
            client.flow = Flow::kept(&buffers.scratch[..count], count == 0);
        }
        Ok(())
    }

    /// Sends the back end what the client has sent, perhaps nothing: even a write of 0 bytes tells whether a
    /// connection is made (true), in progress (false) or refused (an error). Called until it is made.
    pub fn poll_connect(&mut self, buffers: &mut RelayBuffers) -> io::Result<bool> {
        self.push(Side::Client, buffers)?;
        Ok(!matches!(self.end(Side::Client).flow, Flow::Kept { gone: 0, .. }))
    }

    /// The client, when there is no back end for it.
    pub fn into_client(self) -> TcpStream {
        let [client, _] = self.ends;
        client.stream
    }

    pub fn stream(&self, side: Side) -> &TcpStream {
        &self.end(side).stream
    }

    /// Bytes that came from `side` and that the other end has taken.
    pub fn crossed(&self, side: Side) -> u64 {
        self.end(side).crossed
    }

    /// Bytes from `side` wait for the other end to take them.
    pub fn keeps(&self, side: Side) -> bool {
        matches!(self.end(side).flow, Flow::Kept { .. } | Flow::Piped(_))
    }

    /// The events at this end that the relay needs to go on; `None`: it needs none.
    pub fn wants(&self, side: Side) -> Option<Interest> {
        match (
            matches!(self.end(side).flow, Flow::Moving),
            self.keeps(side.other()),
        ) {
            (true, true) => Some(Interest::Both),
            (true, false) => Some(Interest::Read),
            (false, true) => Some(Interest::Write),
            (false, false) => None,
        }
    }

    /// Both directions are over.
    pub fn is_over(&self) -> bool {
        self.ends.iter().all(|end| matches!(end.flow, Flow::Over))
    }

    /// Lets both connections end with a reset, so that no peer takes a part for the whole.
    pub fn reset(&self) {
        for end in &self.ends {
            // It fails only for a connection that is closed already.
            let _ = sys::reset_on_close(end.stream.as_fd());
        }
    }

    /// One bounded turn after something happened at `side`.
    pub fn turn(&mut self, side: Side, buffers: &mut RelayBuffers) -> io::Result<()> {
        // If there is room again, more bytes have probably come meanwhile: read without waiting for an event.
        if self.keeps(side.other()) {
            self.push(side.other(), buffers)?;
            self.pull(side.other(), buffers)?;
        }
        self.pull(side, buffers)
    }

    fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    /// Source and sink of the direction from `side`.
    fn along(&mut self, side: Side) -> (&mut End, &End) {
        let [client, backend] = &mut self.ends;
        match side {
            Side::Client => (client, backend),
            Side::Backend => (backend, client),
        }
    }

    /// Tries again to send what was kept.
    fn push(&mut self, from: Side, buffers: &mut RelayBuffers) -> io::Result<()> {
        let (source, sink) = self.along(from);
        source.set_nodelay(sink)?;
        let (count, all, last) = match &mut source.flow {
            Flow::Kept { bytes, gone, last } => {
                let Some(count) = send(sink, &bytes[*gone..], *last)? else {
                    return Ok(());
                };
                *gone += count;
                (count, *gone == bytes.len(), *last)
            }
            Flow::Piped(pipe) => {
                let count = pipe.drain(&sink.stream)?;
                // Filled up while it empties: see `UNSENT`. The end of the stream is found when it is empty.
                if (1..PIECE).contains(&pipe.held) {
                    pipe.fill(&source.stream)?;
                }
                (count, pipe.held == 0, false)
            }
            Flow::Moving | Flow::Over => return Ok(()),
        };
        source.crossed += count as u64;
        if all {
            let next = if last { over(sink)? } else { Flow::Moving };
            if let Flow::Piped(empty) = mem::replace(&mut source.flow, next) {
                buffers.pipes.push(empty);
            }
        }
        Ok(())
    }

    /// Moves what has come, until the other end takes no more or the turn is over.
    fn pull(&mut self, from: Side, buffers: &mut RelayBuffers) -> io::Result<()> {
        let (source, sink) = self.along(from);
        let end = source.crossed + TURN;
        let mut more = true;
        while more && source.crossed < end && matches!(source.flow, Flow::Moving) {
            let is_large = source.crossed >= LARGE;
            let pipe = if is_large { buffers.pipe() } else { None };
            more = match pipe {
                None => source.copy(sink, &mut buffers.scratch)?,
                Some(pipe) => source.splice(sink, pipe, buffers)?,
            };
            source.keep_pace();
        }
        Ok(())
    }
}

impl End {
    /// Called before a second write: a small packet would wait until the first is acknowledged (Nagle's
    /// algorithm). Most back ends are written to once, and for them the call would be wasted.
    fn set_nodelay(&mut self, sink: &End) -> io::Result<()> {
        if self.crossed > 0 && !self.sink_nodelay {
            sink.stream.set_nodelay(true)?;
            self.sink_nodelay = true;
        }
        Ok(())
    }

    /// Lets more bytes wait for a fast client.
    fn keep_pace(&mut self) {
        if let Some((then, before)) = self.pace
            && self.crossed - before >= LARGE
        {
            self.pace = Some((Instant::now(), self.crossed));
            if then.elapsed() < FAST {
                self.pace = None;
                // If it fails, the old bound will do.
                let _ = sys::raise_receive_buffer(self.stream.as_fd(), UNREAD_FAST);
            }
        }
    }

    /// Reads and writes what has come; returns whether there may be more.
    fn copy(&mut self, sink: &End, scratch: &mut [u8]) -> io::Result<bool> {
        let Some(mut count) = or_later((&self.stream).read(scratch))? else {
            return Ok(false);
        };
        let (mut last, mut more) = (count == 0, count == scratch.len());
        // The end of the stream often comes right after a reply.
        if !last && !more {
            let next = or_later((&self.stream).read(&mut scratch[count..]))?;
            (last, more) = (next == Some(0), next.is_some_and(|next| next > 0));
            count += next.unwrap_or(0);
        }
        let bytes = &scratch[..count];
        let taken = match count {
            0 => 0,
            _ => self
                .set_nodelay(sink)
                .and_then(|()| send(sink, bytes, last))?
                .unwrap_or(0),
        };
        self.crossed += taken as u64;
        if taken < count {
            self.flow = Flow::kept(&bytes[taken..], last);
        } else if last {
            self.flow = over(sink)?;
        }
        Ok(more)
    }

    /// The same without bringing the bytes into this process.
    fn splice(&mut self, sink: &End, mut pipe: Pipe, buffers: &mut RelayBuffers) -> io::Result<bool> {
        let count = pipe.fill(&self.stream)?;
        self.crossed += pipe.drain(&sink.stream)? as u64;
        if pipe.held > 0 {
            self.flow = Flow::Piped(pipe);
        } else {
            buffers.pipes.push(pipe);
        }
        if count == Some(0) {
            self.flow = over(sink)?;
        }
        Ok(count.is_some())
    }
}

/// Sends bytes to an end; `None`: it takes nothing now.
fn send(sink: &End, bytes: &[u8], last: bool) -> io::Result<Option<usize>> {
    or_later(if last {
        sys::send_last(sink.stream.as_fd(), bytes)
    } else {
        (&sink.stream).write(bytes)
    })
}

/// Passes the end of a stream on to `sink`.
fn over(sink: &End) -> io::Result<Flow> {
    // If the other direction is over too, both sockets are closed next, which has the same effect.
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
    fn relay(buffers: &mut RelayBuffers) -> (Relay, TcpStream, TcpStream) {
        let ((near_client, client), (near_backend, backend)) = (pair(), pair());
        let mut relay = Relay::new(near_client, near_backend);
        assert!(relay.poll_connect(buffers).unwrap());
        (relay, client, backend)
    }

    #[test]
    fn what_was_said_to_nobody_is_said_to_the_next() {
        let buffers = &mut RelayBuffers::new();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (near, mut client) = pair();
        let mut relay = Relay::new(near, sys::begin_connect(closed).unwrap());
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        relay.read_early(buffers).unwrap();
        assert_eq!(
            relay.poll_connect(buffers).map_err(|error| error.kind()),
            Err(ErrorKind::ConnectionRefused)
        );
        assert!(relay.keeps(Side::Client) && relay.wants(Side::Client).is_none());
        let (near, mut backend) = pair();
        relay.set_backend(near);
        assert!(relay.poll_connect(buffers).unwrap());
        // The end had not come yet when `read_early` read.
        relay.turn(Side::Client, buffers).unwrap();
        let mut all = String::new();
        backend.read_to_string(&mut all).unwrap();
        assert_eq!((all.as_str(), relay.crossed(Side::Client)), ("hello", 5));
        assert_eq!(
            [Side::Client, Side::Backend].map(|side| relay.wants(side)),
            [None, Some(Interest::Read)]
        );
    }

    /// Sends `length` bytes to a back end that does not read until everything is full.
    /// Returns whether they then waited in a pipe.
    fn stall(buffers: &mut RelayBuffers, length: usize) -> bool {
        let (mut relay, mut client, mut backend) = relay(buffers);
        let sender = std::thread::spawn(move || {
            let bytes: Vec<u8> = (0..length).map(|at| (at / 4099) as u8).collect();
            client.write_all(&bytes).unwrap();
            bytes
        });
        while !relay.keeps(Side::Client) {
            relay.turn(Side::Client, buffers).unwrap();
        }
        assert_eq!(
            [Side::Client, Side::Backend].map(|side| relay.wants(side)),
            [None, Some(Interest::Both)]
        );
        let piped = matches!(relay.end(Side::Client).flow, Flow::Piped(_));
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; length];
            backend.read_exact(&mut all).unwrap();
            all
        });
        while relay.crossed(Side::Client) < length as u64 {
            Side::BOTH
                .iter()
                .for_each(|&side| relay.turn(side, buffers).unwrap());
        }
        assert!(
            reader.join().unwrap() == sender.join().unwrap(),
            "bytes have changed"
        );
        piped
    }

    #[test]
    fn what_is_kept_keeps_its_order_in_pipes_and_in_vectors() {
        let buffers = &mut RelayBuffers::new();
        assert!(stall(buffers, 32 << 20));
        assert_eq!(
            (buffers.pipes.len(), Rc::strong_count(&buffers.count)),
            (1, 2),
            "the pipe is back"
        );
        // As if no pipe could be made.
        (buffers.limit, buffers.pipes) = (0, Vec::new());
        assert!(!stall(buffers, 32 << 20));
    }

    /// A back end that always has more to send, and a client that takes a little at a time: how much it takes
    /// between two moments at which the back end is told that bytes have gone.
    #[test]
    fn a_slow_client_is_seen_to_take_bytes() {
        let buffers = &mut RelayBuffers::new();
        let (mut relay, mut client, mut backend) = relay(buffers);
        sys::set_send_buffer(relay.stream(Side::Client).as_fd(), WAITING).unwrap();
        sys::bound_unsent(relay.stream(Side::Client).as_fd(), UNSENT).unwrap();
        sys::set_receive_buffer(relay.stream(Side::Backend).as_fd(), UNREAD).unwrap();
        sys::set_receive_buffer(client.as_fd(), 65536).unwrap();
        // By the clock, this client is fast.
        relay.ends[Side::Backend as usize].pace = None;
        backend.set_nonblocking(true).unwrap();
        let (piece, mut last, mut taken, mut longest) = (vec![7; 256 * 1024], i32::MAX, 0, 0);
        for _ in 0..600 {
            while backend.write(&piece).is_ok() {}
            relay.turn(Side::Backend, buffers).unwrap();
            relay.turn(Side::Client, buffers).unwrap();
            taken += client.read(&mut [0; 16384]).unwrap();
            let unsent = sys::unsent(backend.as_fd()).unwrap();
            if unsent != mem::replace(&mut last, unsent) {
                longest = longest.max(mem::take(&mut taken));
            }
        }
        assert!(matches!(relay.end(Side::Backend).flow, Flow::Piped(_)));
        assert!(longest.max(taken) < 200 * 1024, "{longest}, {taken}");
    }

    #[test]
    fn pipes_are_bounded_and_come_back() {
        let mut buffers = RelayBuffers::new();
        let mut taken: Vec<Pipe> = std::iter::from_fn(|| buffers.pipe()).collect();
        assert_eq!(taken.len(), PIPES);
        buffers.pipes.extend(taken.pop());
        assert!(buffers.pipe().is_some() && buffers.pipes.is_empty());
        // That one was lost with its connection, and another may be made.
        assert!(buffers.pipe().is_some());
    }

    /// A pair that costs no port.
    fn quick_pair() -> (TcpStream, TcpStream) {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        [near, far]
            .map(|end| TcpStream::from(std::os::fd::OwnedFd::from(end)))
            .into()
    }

    /// One end, what it has sent and what it has received.
    struct Far {
        stream: TcpStream,
        sent: Vec<u8>,
        got: Vec<u8>,
        ended: bool,
    }

    impl Far {
        fn send(&mut self, bytes: &[u8]) {
            if !self.ended {
                let taken = self.stream.write(bytes).unwrap_or(0);
                self.sent.extend_from_slice(&bytes[..taken]);
            }
        }

        /// Whether anything came; `scratch` is what one read may take.
        fn receive(&mut self, scratch: &mut [u8]) -> bool {
            let got = self.stream.read(scratch).unwrap_or(0);
            self.got.extend_from_slice(&scratch[..got]);
            got > 0
        }
    }

    /// An input is a script: each byte lets one end send, receive or end, or the relay take its turn.
    #[test]
    fn fuzz_relay() {
        let buffers = std::cell::RefCell::new((RelayBuffers::new(), vec![0; 65536]));
        // Each number once: what is sent begins anywhere, and no piece of it looks like another.
        let numbers: Vec<u8> = (0..32768u16).flat_map(u16::to_be_bytes).collect();
        let corpus: [&[u8]; 4] = [
            b"\x00\x06\x0d\x01\x07\x0c\x04\x05\x06\x07",
            b"\xf0\xf0\x06\xf0\x06\xfd\x06\xfd",
            b"\x00\x04\x06\x0d\x0d\x01\x05\x07\x0c",
            b"\xf1\x07\xf1\x07\x05\x07\xfc\xfc\xf0\x06",
        ];
        crate::session::fuzz("relay", &corpus, |input, _| {
            let (buffers, scratch) = &mut *buffers.borrow_mut();
            let ((near_client, client), (near_backend, backend)) = (quick_pair(), quick_pair());
            let mut relay = Relay::new(near_client, near_backend);
            // These sockets know no such option.
            relay.ends.iter_mut().for_each(|end| end.sink_nodelay = true);
            assert!(relay.poll_connect(buffers).unwrap());
            let mut far = [client, backend].map(|stream| Far {
                stream,
                sent: Vec::new(),
                got: Vec::new(),
                ended: false,
            });
            for &byte in &input[..input.len().min(100)] {
                let (at, count) = (usize::from(byte & 1), usize::from(byte >> 3) * 1000 + 1);
                match byte >> 1 & 3 {
                    0 => {
                        let begin = far[at].sent.len() % 32768;
                        far[at].send(&numbers[begin..][..count]);
                    }
                    1 => drop(far[at].receive(&mut scratch[..count])),
                    2 if byte >> 3 == 0 => {
                        far[at].ended = true;
                        far[at].stream.shutdown(Shutdown::Write).unwrap();
                    }
                    _ => relay.turn(Side::BOTH[at], buffers).unwrap(),
                }
            }
            let mut more = true;
            while more {
                for side in Side::BOTH {
                    relay.turn(side, buffers).unwrap();
                }
                more = far
                    .iter_mut()
                    .fold(false, |more, end| end.receive(scratch) | more);
            }
            let [client, backend] = &far;
            assert!(
                client.sent == backend.got && backend.sent == client.got,
                "bytes are lost"
            );
            assert_eq!(relay.is_over(), client.ended && backend.ended);
            // No twin is needed: what was sent is what must come.
            false
        });
    }
}
