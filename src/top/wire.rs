//! How is a server asked what it does? By STATS; one that answers in HTTP is asked for `/_pool?json` from
//! then on. A server that is not ours is told apart by its first answer, with one sentence.

use crate::access::bearer;
use crate::cli::visible;
use crate::client::{Client, Error};
use crate::json::{Reader, Value};
use crate::sys::Stop;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest answer in bytes: enough for `MOST_WORKERS` with all that they tell.
const LIMIT: usize = 4 << 20;

/// Workers of one server: more are told by none of ours, and would take the memory of this side.
const MOST_WORKERS: usize = 4096;

/// Bytes of one read; most answers are shorter.
const PIECE: usize = 16 << 10;

/// Answers that are remembered, to know how many servers answer at one address.
pub const REMEMBERED: usize = 32;

/// One address that is asked again and again.
pub struct Wire {
    address: SocketAddr,
    timeout: Duration,
    stop: Stop,
    speaks_http: bool,
    /// Which servers answered last, by when they began and their pid: at most `REMEMBERED`.
    answered: Vec<String>,
}

impl Wire {
    pub fn new(address: SocketAddr, speaks_http: bool, timeout: Duration, stop: Stop) -> Wire {
        Wire {
            address,
            timeout,
            stop,
            speaks_http,
            answered: Vec::new(),
        }
    }

    /// How many different servers have answered lately, at least 1.
    pub fn servers(&self) -> u32 {
        let is_new = |(at, name): &(usize, &String)| !self.answered[..*at].contains(name);
        let different = self.answered.iter().enumerate().filter(is_new).count();
        different.max(1) as u32
    }

    /// What the server says, on a connection that is closed then.
    pub fn ask(&mut self) -> Result<Value, String> {
        let told = match self.speaks_http {
            true => self.ask_for_pool(),
            false => self.ask_for_stats(),
        };
        let told = told.map_err(|why| format!("{} cannot be watched: {why}", self.address))?;
        let workers = told.get("now").and_then(Value::as_array).map(<[Value]>::len);
        if workers.is_none_or(|count| count > MOST_WORKERS) {
            let why = "it does not tell what its workers do: it is not kolam, or an older one";
            return Err(format!("{} cannot be watched: {why}", self.address));
        }
        let id = |key| told.get(key).map(|value| format!("{value:?}"));
        self.answered
            .extend(id("started").zip(id("pid")).map(|(a, b)| a + &b));
        let old = self.answered.len().saturating_sub(REMEMBERED);
        self.answered.drain(..old);
        Ok(told)
    }

    fn ask_for_stats(&mut self) -> Result<Value, String> {
        let deadline = Instant::now() + self.timeout;
        let client = Client::connect(self.address, self.timeout, self.stop);
        let answer = client.and_then(|mut client| {
            client.end_by(deadline);
            client.stats()
        });
        answer.or_else(|error| match error {
            // Perhaps HTTP: then what it says to /_pool is the better reason.
            Error::Stranger(_) => {
                let pool = self.ask_for_pool();
                self.speaks_http = pool.is_ok();
                pool
            }
            Error::Server(reason) => {
                let said = visible(&reason);
                // A kolam that is full says so instead, and so does one that stops.
                let why = "only kolam knows STATS, and not when it is full";
                Err(format!("it answers STATS with an error, {said}; {why}"))
            }
            Error::Timeout => Err(self.silent()),
            other => Err(other.to_string()),
        })
    }

    fn silent(&self) -> String {
        format!(
            "no answer within {} s; if all its workers are held, start it with --watch HOST:PORT",
            self.timeout.as_secs_f64()
        )
    }

    /// `GET /_pool?json`
    fn ask_for_pool(&self) -> Result<Value, String> {
        let reply = self.get().map_err(|error| match error.kind() {
            // The first is what a socket with a timeout says.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.silent(),
            _ => error.to_string(),
        })?;
        let end = reply.windows(4).position(|mark| mark == b"\r\n\r\n");
        let (head, body) = reply.split_at(end.map_or(reply.len(), |end| end + 4));
        let head = String::from_utf8_lossy(head);
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            let why = String::from_utf8_lossy(body);
            let why = match head.contains("\r\nServer: kolam\r\n") {
                true => why.lines().next().unwrap_or_default(),
                false => "it is not kolam",
            };
            return Err(visible(&format!("it answers /_pool with {status}: {why}")));
        }
        let told = Reader::new(body, LIMIT).value(&mut LIMIT.clone());
        told.map_err(|_| "its /_pool is no JSON: it is not kolam".to_owned())
    }

    fn get(&self) -> io::Result<Vec<u8>> {
        let end = Instant::now() + self.timeout;
        let mut stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        let host = self.address;
        write!(
            stream,
            "GET /_pool?json HTTP/1.1\r\nHost: {host}\r\n{}Connection: close\r\n\r\n",
            bearer()
        )?;
        let (mut reply, mut piece) = (Vec::new(), [0; PIECE]);
        while reply.len() < LIMIT {
            // Before each piece: a server that sends a byte now and then is never silent.
            let left = end.checked_duration_since(Instant::now());
            let left = left.filter(|left| !left.is_zero()).ok_or(ErrorKind::TimedOut)?;
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => reply.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(reply)
    }
}
