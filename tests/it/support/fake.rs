//! A server of the test's own: a script plays with each connection, in a thread of its own.

use super::PATIENCE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What the server has seen, and what the test tells its scripts.
#[derive(Default)]
pub struct Seen {
    /// Accepted, and those of them that are open, now and at most.
    pub connections: AtomicUsize,
    open: AtomicUsize,
    pub most: AtomicUsize,
    pub requests: AtomicUsize,
    /// The head of the last request, and its body.
    pub last: Mutex<String>,
    pub body: Mutex<Vec<u8>>,
    /// The test has told the scripts to go on.
    pub told: AtomicBool,
    /// It accepts no more connections.
    over: AtomicBool,
}

/// One accepted connection.
pub struct Guest {
    pub stream: TcpStream,
    pub seen: Arc<Seen>,
}

impl Guest {
    /// Reads up to and with `mark`, and no byte further; less at the end of the stream.
    pub fn read_to(&mut self, mark: &[u8]) -> String {
        let (mut bytes, mut byte) = (Vec::new(), [0]);
        while !bytes.ends_with(mark) && matches!(self.stream.read(&mut byte), Ok(1)) {
            bytes.push(byte[0]);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Reads up to `mark`, which is the last that the peer sends: quickly, for large requests.
    pub fn read_whole(&mut self, mark: &[u8]) -> String {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        while !bytes.ends_with(mark) {
            match self.stream.read(&mut piece) {
                Ok(count @ 1..) => bytes.extend_from_slice(&piece[..count]),
                _ => return String::new(),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Reads the head of an HTTP request; gives its number in the whole run, counted from 0. `None`: there is
    /// none.
    pub fn head(&mut self) -> Option<usize> {
        let head = self.read_to(b"\r\n\r\n");
        if !head.ends_with("\r\n\r\n") {
            return None;
        }
        *self.seen.last.lock().unwrap() = head;
        Some(self.seen.requests.fetch_add(1, SeqCst))
    }

    /// The same, and its body.
    pub fn request(&mut self) -> Option<usize> {
        let number = self.head()?;
        let length = field(&self.seen.last.lock().unwrap(), "Content-Length").map(str::to_owned);
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body).ok()?;
        *self.seen.body.lock().unwrap() = body;
        Some(number)
    }

    /// The client may have had enough.
    pub fn send(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(text.as_ref());
    }

    /// Waits until the client has closed, or sends more.
    pub fn wait(&mut self) {
        let _ = self.stream.read(&mut [0; 64]);
    }

    /// Sends back whatever comes, up to the end.
    pub fn echo(&mut self) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = self.stream.read(&mut bytes) {
            if self.stream.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    }

    pub fn told(&self) -> bool {
        self.seen.told.load(SeqCst)
    }

    /// From now on new connections are refused.
    pub fn close_listener(&self) {
        self.seen.over.store(true, SeqCst);
        let address = self.stream.local_addr().unwrap();
        // The first of these wakes the listener.
        super::eventually("it has gone", || TcpStream::connect(address).is_err());
    }
}

/// The value of a field of a head.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields
        .into_iter()
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// The server; it is gone when this is dropped, though scripts that are in hand go on.
pub struct Fake {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start(script: impl Fn(&mut Guest) + Send + Sync + 'static) -> Fake {
        Fake::start_at("127.0.0.1:0", script).unwrap()
    }

    pub fn start_at(address: &str, script: impl Fn(&mut Guest) + Send + Sync + 'static) -> io::Result<Fake> {
        let listener = TcpListener::bind(address)?;
        let (address, seen) = (listener.local_addr()?, Arc::new(Seen::default()));
        let (script, shared) = (Arc::new(script), seen.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map(Result::unwrap) {
                if shared.over.load(SeqCst) {
                    return;
                }
                stream.set_read_timeout(Some(5 * PATIENCE)).unwrap();
                shared.connections.fetch_add(1, SeqCst);
                let open = shared.open.fetch_add(1, SeqCst) + 1;
                shared.most.fetch_max(open, SeqCst);
                let (mut guest, script) = (
                    Guest {
                        stream,
                        seen: shared.clone(),
                    },
                    script.clone(),
                );
                thread::spawn(move || {
                    script(&mut guest);
                    // Before the client can know.
                    guest.seen.open.fetch_sub(1, SeqCst);
                });
            }
        });
        Ok(Fake {
            address,
            seen,
            thread: Some(thread),
        })
    }

    /// Says this to everybody and hangs up.
    pub fn saying(words: impl AsRef<[u8]> + Send + Sync + 'static) -> Fake {
        Fake::start(move |guest| guest.send(&words))
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.seen.requests.load(SeqCst)
    }

    /// The head of the last request.
    pub fn last(&self) -> String {
        self.seen.last.lock().unwrap().clone()
    }

    /// Tells the scripts to go on.
    pub fn tell(&self) {
        self.seen.told.store(true, SeqCst);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.seen.over.store(true, SeqCst);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}
