//! HTTP as a client must see it: requests byte by byte, and a reader of replies that is as strict as the
//! strictest client. It fails on whatever is not exactly right, so no test has to look for that itself.

use super::{Server, Wire};
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A request without a body.
pub fn ask(method: &str, target: &str) -> String {
    with(method, target, "")
}

/// A request with more header lines, each with its CR LF, and no body.
pub fn with(method: &str, target: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

pub fn get(target: &str) -> String {
    ask("GET", target)
}

pub fn put(target: &str, body: &[u8]) -> Vec<u8> {
    let head = with("PUT", target, &format!("Content-Length: {}\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

/// A PUT in chunks of these sizes, over and over.
pub fn put_chunked(target: &str, body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut request = with("PUT", target, "Transfer-Encoding: chunked\r\n").into_bytes();
    let (mut rest, mut sizes) = (body, sizes.iter().cycle());
    while !rest.is_empty() {
        let piece;
        (piece, rest) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        request.extend(format!("{:x}\r\n", piece.len()).bytes());
        request.extend_from_slice(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

/// Every byte that is not a letter or digit as `%XX`.
pub fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    let escape = |byte| {
        if plain(byte) {
            char::from(byte).into()
        } else {
            format!("%{byte:02X}")
        }
    };
    name.bytes().map(escape).collect()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, by counting days one by one and not by the program under test.
pub fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][day as usize % 7];
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (mut year, mut month) = (1970, 0);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if leap { 29 } else { 28 };
        let length = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
        if day < length {
            break;
        }
        day -= length;
        month += 1;
        (year, month) = if month == 12 { (year + 1, 0) } else { (year, month) };
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let day = day + 1;
    format!(
        "{weekday}, {day:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT",
        months[month]
    )
}

/// A reply in which all is as it must be.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// head = status-line *(field CRLF), without the empty line behind it
    fn parse(head: &str) -> Reply {
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.split_once(' '));
        let (status, reason) = status.unwrap_or_else(|| panic!("bad status line {first:?}"));
        assert!(status.len() == 3 && !reason.is_empty(), "{first:?}");
        let mut reply = Reply {
            status: status.parse().unwrap(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        for line in lines {
            let (name, value) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("bad field {line:?}"));
            let token = |c: char| c.is_ascii_alphanumeric() || c == '-';
            assert!(
                !name.is_empty() && name.chars().all(token),
                "bad field name {line:?}"
            );
            assert!(
                !value.is_empty() && value.trim() == value,
                "bad field value {line:?}"
            );
            let name = name.to_ascii_lowercase();
            assert_eq!(reply.header(&name), None, "{name} is there twice");
            reply.headers.push((name, value.to_owned()));
        }
        assert!(
            !head.contains(|c: char| c.is_control() && c != '\r' && c != '\n'),
            "{head:?}"
        );
        let lone = |c: char| c == '\r' || c == '\n';
        assert!(
            !head.split("\r\n").any(|line| line.contains(lone)),
            "a lone CR or LF in {head:?}"
        );
        reply
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The header that must be there.
    #[track_caller]
    pub fn must(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The server says that it closes the connection behind this.
    pub fn closes(&self) -> bool {
        self.header("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    fn interim(&self) -> bool {
        self.status < 200
    }

    /// The length of the body that follows.
    fn length(&self, method: &str) -> usize {
        let length = self.header("Content-Length").map(|text| text.parse().unwrap());
        assert_eq!(self.header("Transfer-Encoding"), None, "{self:?}");
        match self.status {
            100..200 | 204 => assert_eq!(length, None, "{self:?}"),
            304 => {}
            _ => assert!(length.is_some(), "no Content-Length in {self:?}"),
        }
        let bodiless = method == "HEAD" || matches!(self.status, 100..200 | 204 | 304);
        if bodiless { 0 } else { length.unwrap() }
    }

    /// What holds for all of them.
    fn check(&self) {
        if self.interim() {
            return;
        }
        let now = SystemTime::now();
        let recent = |ago| date(now - Duration::from_secs(ago)) == self.must("Date");
        // Ahead is as wrong as far behind.
        assert!(
            (0..10).any(recent),
            "it is {} and not {}",
            date(now),
            self.must("Date")
        );
        assert_eq!(self.must("X-Content-Type-Options"), "nosniff", "{self:?}");
        if let Some(connection) = self.header("Connection") {
            assert!(["close", "keep-alive"].contains(&connection), "{self:?}");
        }
        if self.status == 405 || self.status == 416 {
            self.must(if self.status == 405 {
                "Allow"
            } else {
                "Content-Range"
            });
        }
        if self.status >= 400 {
            assert!(self.must("Content-Type").starts_with("text/plain"), "{self:?}");
        }
        if self.status >= 400 && !self.body.is_empty() {
            let line = self.text().strip_suffix('\n').unwrap_or(self.text());
            assert!(!line.is_empty() && !line.contains(char::is_control), "{self:?}");
        }
    }
}

/// A connection to an HTTP server.
pub struct Http(Wire);

impl Deref for Http {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.0
    }
}

impl DerefMut for Http {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.0
    }
}

impl Http {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Http {
        Http(Wire::connect(address))
    }

    /// Goes on with a connection that has begun byte by byte.
    pub fn of(wire: Wire) -> Http {
        Http(wire)
    }

    /// The head of the next reply, and the length of its body.
    fn head(&mut self, method: &str) -> io::Result<(Reply, usize)> {
        let head = self.take_to_end()?;
        let reply = Reply::parse(str::from_utf8(&head).unwrap());
        let length = reply.length(method);
        Ok((reply, length))
    }

    /// The next reply to a request of this method.
    pub fn try_reply(&mut self, method: &str) -> io::Result<Reply> {
        let (mut reply, length) = self.head(method)?;
        reply.body = self.take(length)?;
        reply.check();
        Ok(reply)
    }

    #[track_caller]
    pub fn reply(&mut self, method: &str) -> Reply {
        let reply = self.try_reply(method);
        reply.unwrap_or_else(|error| panic!("no reply: {error}; so far: {}", self.shown()))
    }

    /// Only the head of the next reply: its body is still to come, and that many bytes long.
    #[track_caller]
    pub fn begin_reply(&mut self, method: &str) -> (Reply, usize) {
        self.head(method).expect("no reply")
    }

    /// Sends a request; its method is its first word.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(&request);
        self.reply(method(request.as_ref()))
    }
}

/// One request on a connection of its own.
#[track_caller]
pub fn once(server: &Server, request: impl AsRef<[u8]>) -> Reply {
    server.http().ask(request)
}

/// The first word of a request.
pub fn method(request: &[u8]) -> &str {
    let word = request.split(|&byte| byte == b' ').next().unwrap_or_default();
    str::from_utf8(word).unwrap_or_default()
}
