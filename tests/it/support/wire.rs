//! A connection on which every byte is the test's own, and the replies of the file protocol on it.

use super::{END, PATIENCE, sys};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Reads once. A process that is stopped and continued while it waits with a limit is interrupted, although
/// it handles no signal (signal(7)).
fn read(stream: &mut TcpStream, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A connection on which every byte is the test's own.
pub struct Wire {
    pub stream: TcpStream,
    /// Bytes received and not handed out yet.
    buffer: Vec<u8>,
    /// Bytes received since the connection began.
    pub received: u64,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire {
            stream,
            buffer: Vec::new(),
            received: 0,
        }
    }

    /// Every byte that has come was handed out.
    pub fn received_all(&self) -> bool {
        self.buffer.is_empty()
    }

    /// From now on the kernel takes little in advance, so that the server notices how slowly this side reads.
    pub fn take_little(&self) {
        sys::set_receive_buffer(&self.stream, 16 * 1024);
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends each byte by itself. A server that has heard enough may answer, and close, before the last.
    pub fn drip(&mut self, bytes: &[u8]) {
        let _: io::Result<()> = bytes.chunks(1).try_for_each(|byte| self.stream.write_all(byte));
    }

    /// Sends it in one piece, or each byte by itself.
    pub fn send_cut(&mut self, bytes: impl AsRef<[u8]>, drip: bool) {
        match drip {
            true => self.drip(bytes.as_ref()),
            false => self.send(bytes),
        }
    }

    /// Says that nothing more will come, and goes on listening.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Receives something; false at the end of the stream.
    pub fn receive(&mut self) -> io::Result<bool> {
        let mut piece = vec![0; 64 * 1024];
        let count = read(&mut self.stream, &mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        self.received += count as u64;
        Ok(count > 0)
    }

    /// Reads at most a piece after each pause, for a time or up to the end of the stream.
    pub fn read_slowly(&mut self, piece: usize, pause: Duration, time: Duration) -> Vec<u8> {
        let (mut bytes, mut piece, began) = (Vec::new(), vec![0; piece], Instant::now());
        while began.elapsed() < time {
            match read(&mut self.stream, &mut piece).unwrap() {
                0 => break,
                count => bytes.extend_from_slice(&piece[..count]),
            }
            thread::sleep(pause);
        }
        bytes
    }

    /// Takes the first `count` bytes.
    pub fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.receive()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Takes what comes before `END`, and `END` too, which is not returned.
    pub fn take_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let mut windows = self.buffer[searched..].windows(END.len());
            if let Some(at) = windows.position(|window| window == END) {
                let mut bytes = self.take(searched + at + END.len())?;
                bytes.truncate(searched + at);
                return Ok(bytes);
            }
            searched = self.buffer.len().saturating_sub(END.len() - 1);
            if !self.receive()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes one byte straight from the stream: the answer has begun.
    pub fn first_byte(&mut self) -> u8 {
        let mut first = [0];
        self.stream.read_exact(&mut first).unwrap();
        first[0]
    }

    /// What has come so far, for messages.
    pub fn shown(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(&self.buffer))
    }

    /// The next reply without its end mark.
    pub fn try_reply(&mut self) -> io::Result<String> {
        self.take_to_end().map(|reply| String::from_utf8(reply).unwrap())
    }

    #[track_caller]
    pub fn reply(&mut self) -> String {
        let reply = self.try_reply();
        let reply = reply.unwrap_or_else(|error| panic!("no reply: {error}; so far: {}", self.shown()));
        assert!(
            reply.starts_with(r#"{"status":""#) && reply.ends_with('}'),
            "{reply}"
        );
        reply
    }

    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        self.reply()
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.receive()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// The server has closed the connection, in order and without another byte.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        let rest = self.rest().expect("the connection is not closed in order");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// The server has closed or reset the connection, without another byte.
    #[track_caller]
    pub fn assert_cut(&mut self) {
        match self.rest() {
            Ok(rest) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Nothing comes for a moment.
    #[track_caller]
    pub fn assert_silent(&mut self, moment: Duration) {
        self.stream.set_read_timeout(Some(moment)).unwrap();
        let kind = self.receive().map_err(|error| error.kind());
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let silent = self.buffer.is_empty() && kind == Err(ErrorKind::WouldBlock);
        assert!(silent, "{kind:?} {}", self.shown());
    }
}
