//! # Chapter 15a. What exactly is being asked, and by which rules?
//!
//! HTTP is text, and text can be read in more than one way: two lengths, a blank before a colon, a line
//! folded into the next. Where two programs in a row read the same bytes differently, one of them can be made
//! to see a request that the other never saw ("request smuggling"). So this reader knows one way only, that
//! of RFC 9112, and answers everything else with 400 and the end of the connection.
//!
//! ```text
//!   GET /my%20notes.txt?v=2 HTTP/1.1\r\n        method SP target SP version
//!   Host: 127.0.0.1:8080\r\n                    name ":" blanks value blanks
//!   Range: bytes=0-99\r\n
//!   \r\n                                        the head is over; what follows is Framing
//! ```
//!
//! The invariant: a `Request` that comes out of here has one meaning; its head has at most `HEAD_LIMIT` bytes
//! and not one control character.
//!
//! What must not live here: files, replies, what a method does, what a URL consists of.
//!
//! Experiment: let `token` accept a blank, and find the request in `tests/it/http.rs` that is then answered
//! twice.

use crate::cli::parse_digits;
use crate::http::target::{Target, is_host, target_of};

/// Longest request line in bytes, its CR LF not counted: RFC 9112, section 3, recommends at least 8,000.
pub const LINE_LIMIT: usize = 8192;

/// Most bytes of a whole head, its last empty line included; browsers with many cookies need half of it.
pub const HEAD_LIMIT: usize = 16 * 1024;

/// Bytes that nearly all heads fit into; a larger one is moved as it grows.
const USUAL_HEAD: usize = 512;

/// Most fields of a head. Each look-up of a field reads all of them.
const FIELDS: usize = 100;

/// Why a request is refused.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub reason: String,
    /// Close the connection: where the next request begins is unknown, or too far away.
    pub close: bool,
    /// One more field of the reply, which tells the peer the remedy.
    pub field: Option<(&'static str, String)>,
}

impl Refusal {
    /// A refusal after which the connection stays open.
    pub fn new(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal {
            status,
            reason: reason.into(),
            close: false,
            field: None,
        }
    }

    pub fn closing(status: u16, reason: impl Into<String>) -> Refusal {
        Refusal {
            close: true,
            ..Refusal::new(status, reason)
        }
    }

    /// 405: the method is not allowed here; `allowed` are.
    pub fn method(allowed: &str) -> Refusal {
        let reason = format!("method not allowed here; allowed: {allowed}");
        Refusal {
            field: Some(("Allow", allowed.to_owned())),
            ..Refusal::new(405, reason)
        }
    }
}

/// 400, and the end of the connection.
pub fn malformed<T>(reason: &str) -> Result<T, Refusal> {
    Err(Refusal::closing(400, format!("malformed request: {reason}")))
}

/// Follows the lines of a head or of a trailer, byte by byte.
#[derive(Default)]
pub struct Lines {
    /// Lines that are complete.
    number: usize,
    /// Bytes of the line that is not.
    column: usize,
    /// The last byte was a CR.
    cr: bool,
}

impl Lines {
    /// Takes the next byte; true when it ends an empty line.
    pub fn feed(&mut self, byte: u8) -> Result<bool, Refusal> {
        match byte {
            b'\n' if self.cr => {
                let empty = self.column == 0;
                *self = Lines {
                    number: self.number + 1,
                    column: 0,
                    cr: false,
                };
                return Ok(empty);
            }
            _ if self.cr => return malformed("a CR without LF"),
            b'\r' => self.cr = true,
            b'\n' => return malformed("an LF without CR"),
            byte if plain(byte) => self.column += 1,
            _ => return malformed("a control character"),
        }
        Ok(false)
    }
}

/// May `byte` stand inside a line? Of the control characters only the tab may.
pub fn plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// A head, as far as it has come.
#[derive(Default)]
pub struct HeadParser {
    text: Vec<u8>,
    lines: Lines,
}

impl HeadParser {
    /// Has a request begun? Empty lines before it do not count (RFC 9112, section 2.2).
    pub fn begun(&self) -> bool {
        self.text.first().is_some_and(|&byte| byte != b'\r')
    }

    /// Takes the bytes that belong to the head and returns how many; `None`: more are needed.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Option<Result<Request, Refusal>>) {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            let parsed = self.push(byte);
            used += 1;
            if parsed.is_some() {
                return (used, parsed);
            }
            used += self.run(&bytes[used..]);
        }
        (used, None)
    }

    /// Takes bytes inside a line at once, for which `push` would only count a column. Most of a head is such.
    fn run(&mut self, bytes: &[u8]) -> usize {
        if self.lines.cr || self.text.is_empty() {
            return 0;
        }
        let in_line = if self.lines.number == 0 {
            LINE_LIMIT - self.lines.column
        } else {
            HEAD_LIMIT
        };
        let room = in_line.min(HEAD_LIMIT - 1 - self.text.len());
        let count = bytes.iter().take(room).take_while(|&&byte| plain(byte)).count();
        self.text.extend_from_slice(&bytes[..count]);
        self.lines.column += count;
        count
    }

    /// Takes the next byte.
    fn push(&mut self, byte: u8) -> Option<Result<Request, Refusal>> {
        if self.text.is_empty() {
            self.text.reserve(USUAL_HEAD);
        }
        self.text.push(byte);
        match self.lines.feed(byte) {
            Err(refusal) => Some(Err(refusal)),
            Ok(true) if !self.begun() => {
                *self = HeadParser::default();
                None
            }
            Ok(true) => Some(Request::parse(std::mem::take(&mut self.text))),
            Ok(false) if self.lines.number == 0 && self.lines.column > LINE_LIMIT => {
                Some(Err(self.too_long()))
            }
            // The two bytes that would end it have not come.
            Ok(false) if self.text.len() >= HEAD_LIMIT => Some(Err(Refusal::closing(
                431,
                format!("request head larger than {HEAD_LIMIT} bytes"),
            ))),
            Ok(false) => None,
        }
    }

    /// The refusal of a first line that is longer than `LINE_LIMIT`. If it is one word, that is a method
    /// longer than all that we know (RFC 9112, section 3).
    fn too_long(&self) -> Refusal {
        match token(&self.text) {
            true => Refusal::closing(501, "method not implemented"),
            false => Refusal::closing(414, format!("request line longer than {LINE_LIMIT} bytes")),
        }
    }
}

/// A method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Put,
    Post,
    Delete,
    Options,
    /// A method that HTTP defines and that this server never allows.
    Foreign(&'static str),
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Foreign(name) => name,
        }
    }
}

/// Methods that RFC 9110 and RFC 5789 define and that this server never allows.
const FOREIGN: [&str; 3] = ["PATCH", "TRACE", "CONNECT"];

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    /// After this many bytes.
    Length(u64),
    Chunked,
}

/// A head as it came, and where its fields are.
#[derive(Debug)]
pub struct Fields {
    head: Vec<u8>,
    /// For each field: where it begins, where its colon is, where it ends.
    spans: Vec<[usize; 3]>,
}

impl Fields {
    fn first_line(&self) -> &[u8] {
        self.head.split(|&byte| byte == b'\r').next().unwrap_or_default()
    }

    /// All values of field `name`, which is given in small letters, without the blanks around them.
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let fields = self
            .spans
            .iter()
            .map(|&[start, colon, end]| (&self.head[start..colon], colon, end));
        let found = fields.filter(move |field| field.0.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, colon, end)| self.head[colon + 1..end].trim_ascii())
    }

    /// The value of a field that may occur once.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.values(name);
        let (first, second) = (values.next(), values.next());
        match first.map(str::from_utf8) {
            _ if second.is_some() => malformed(&format!("more than one {name}")),
            Some(Ok(value)) if value.is_ascii() => Ok(Some(value)),
            Some(_) => malformed(&format!("a {name} that is not ASCII")),
            None => Ok(None),
        }
    }

    /// The values of a field that is a list, which may be spread over several lines (RFC 9110, section 5.3).
    pub fn list(&self, name: &str) -> Option<String> {
        let lines: Vec<_> = self.values(name).map(String::from_utf8_lossy).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    /// The host that the peer names; empty: none.
    ///
    /// Host = uri-host [ ":" port ]; required since HTTP/1.1 (RFC 9112, section 3.2)
    fn host(&self, modern: bool) -> Result<&str, Refusal> {
        match self.one("host")? {
            None if modern => malformed("no Host"),
            None => Ok(""),
            Some("") if !modern => Ok(""),
            Some("") => malformed("an empty Host"),
            Some(host) if !is_host(host) => malformed("a Host that is neither a name nor an address"),
            Some(host) => Ok(host),
        }
    }

    /// How the body ends (RFC 9112, section 6.3, without what it tolerates).
    fn framing(&self, modern: bool) -> Result<Framing, Refusal> {
        match (self.one("transfer-encoding")?, self.one("content-length")?) {
            (None, None) => Ok(Framing::None),
            (Some(_), Some(_)) => malformed("both Content-Length and Transfer-Encoding"),
            (Some(_), None) if !modern => malformed("Transfer-Encoding in HTTP/1.0"),
            (Some(codings), None) => framing_of(codings),
            (None, Some(digits)) => match parse_digits(digits) {
                Some(bytes) => Ok(Framing::Length(bytes)),
                None => malformed("a Content-Length that is no number"),
            },
        }
    }

    /// May the connection stay open (RFC 9112, section 9.3)?
    fn keep_alive(&self, modern: bool) -> bool {
        let options = self
            .values("connection")
            .flat_map(|value| value.split(|&byte| byte == b','));
        let options: Vec<&[u8]> = options.map(<[u8]>::trim_ascii).collect();
        let has = |name: &[u8]| options.iter().any(|option| option.eq_ignore_ascii_case(name));
        !has(b"close") && (modern || has(b"keep-alive"))
    }

    /// Does the peer wait for 100 Continue (RFC 9110, section 10.1.1)?
    fn expects_continue(&self, modern: bool) -> Result<bool, Refusal> {
        match self.one("expect")? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("100-continue") => Ok(modern),
            Some(_) => Err(Refusal::closing(417, "expectation not known")),
        }
    }
}

/// A head that has one meaning.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// Decoded, with its slash; `*` for the whole server.
    pub path: Vec<u8>,
    /// After the question mark, as it came.
    pub query: String,
    /// Host and port of a target that is a whole URL.
    authority: Option<String>,
    /// HTTP/1.1 or higher, not 1.0.
    pub modern: bool,
    pub framing: Framing,
    /// The connection may be used again.
    pub keep_alive: bool,
    /// The peer waits for 100 Continue before it sends the body.
    pub expects_continue: bool,
    /// All fields.
    pub fields: Fields,
}

impl Request {
    /// head = request-line CRLF *( field-line CRLF ) CRLF
    fn parse(head: Vec<u8>) -> Result<Request, Refusal> {
        let fields = find_fields(head)?;
        let [method, target, version] = words(fields.first_line())?;
        // First the version: the meaning of the fields depends on it. Then everything that decides where the
        // request ends. Last, whether the method is known.
        let modern = modern(version)?;
        fields.host(modern)?;
        let framing = fields.framing(modern)?;
        let method = method_of(method)?;
        let Target {
            authority,
            path,
            query,
        } = match method {
            // Its target has a form of its own, which is not needed here.
            Method::Foreign("CONNECT") => Target::server(),
            method => target_of(target, method == Method::Options).or_else(malformed)?,
        };
        let (keep_alive, expects_continue) = (fields.keep_alive(modern), fields.expects_continue(modern)?);
        Ok(Request {
            method,
            path,
            query,
            authority,
            modern,
            framing,
            keep_alive,
            expects_continue,
            fields,
        })
    }

    /// The host that the peer names, with its port if there is one; empty: none. A target that is a whole URL
    /// takes precedence over the field Host (RFC 9112, section 3.2.2).
    pub fn host(&self) -> &str {
        let field = || self.fields.host(self.modern).unwrap_or_default();
        self.authority.as_deref().unwrap_or_else(field)
    }
}

/// Finds the fields: each line after the first, up to the empty one.
///
/// field-line = token ":" OWS value OWS; a line that begins with a blank (obs-fold) has no token.
fn find_fields(head: Vec<u8>) -> Result<Fields, Refusal> {
    let mut spans = Vec::with_capacity(8);
    // Every CR has its LF: `Lines` has checked that.
    let mut lines = head[..head.len().saturating_sub(4)].split(|&byte| byte == b'\r');
    let mut start = lines.next().map_or(0, |line| line.len() + 2);
    for line in lines {
        let end = start - 1 + line.len();
        let Some(colon) = head[start..end].iter().position(|&byte| byte == b':') else {
            return malformed("a header line without a colon");
        };
        if !token(&head[start..start + colon]) {
            return malformed("a header name that is no token");
        }
        if spans.len() >= FIELDS {
            return Err(Refusal::closing(431, format!("more than {FIELDS} header fields")));
        }
        spans.push([start, start + colon, end]);
        start = end + 2;
    }
    Ok(Fields { head, spans })
}

/// request-line = method SP target SP version
fn words(line: &[u8]) -> Result<[&[u8]; 3], Refusal> {
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    words
        .try_into()
        .or_else(|_| malformed("the first line is not: method, blank, target, blank, version"))
}

/// method = token
fn method_of(name: &[u8]) -> Result<Method, Refusal> {
    Ok(match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"PUT" => Method::Put,
        b"POST" => Method::Post,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        name => match FOREIGN.iter().find(|foreign| foreign.as_bytes() == name) {
            Some(foreign) => Method::Foreign(foreign),
            None if token(name) => return Err(Refusal::closing(501, "method not implemented")),
            None => return malformed("a method that is no token"),
        },
    })
}

/// How a body with transfer codings ends: the last coding must be chunked, or the end is unknown (RFC 9112,
/// section 6.3). Chunked is the only coding that we know.
///
/// Transfer-Encoding = coding *( OWS "," OWS coding ); coding = token *( OWS ";" OWS parameter )
fn framing_of(codings: &str) -> Result<Framing, Refusal> {
    let is_chunked = |coding: &str| coding.eq_ignore_ascii_case("chunked");
    let mut codings = codings.split(',').map(str::trim);
    match codings.next_back() {
        Some(last) if is_chunked(last) => {}
        _ => return malformed("a Transfer-Encoding that does not end with chunked"),
    }
    let others: Vec<&str> = codings
        .map(|coding| coding.split(';').next().unwrap_or_default().trim_end())
        .collect();
    match others.as_slice() {
        [] => Ok(Framing::Chunked),
        _ if others.iter().any(|name| is_chunked(name)) => {
            malformed("a Transfer-Encoding with chunked twice")
        }
        _ if others.iter().all(|name| token(name.as_bytes())) => Err(Refusal::closing(
            501,
            "transfer coding not implemented; chunked is",
        )),
        _ => malformed("a Transfer-Encoding with what is no coding"),
    }
}

/// version = "HTTP/" DIGIT "." DIGIT; a higher minor version is served as 1.1 (RFC 9110, section 2.5)
fn modern(version: &[u8]) -> Result<bool, Refusal> {
    match version {
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Refusal::closing(
            505,
            "HTTP version not supported; speak HTTP/1.1",
        )),
        _ => malformed("no HTTP version"),
    }
}

/// token = 1*tchar (RFC 9110, section 5.6.2)
fn token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| tchar(byte))
}

pub fn tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Request, Refusal> {
        let (used, whole) = HeadParser::default().take(text.as_bytes());
        assert_eq!(used, text.len(), "bytes behind the end of {text:?}");
        let mut parser = HeadParser::default();
        let drip = text.bytes().find_map(|byte| parser.take(&[byte]).1);
        let summary = |result: &Option<Result<Request, Refusal>>| format!("{result:?}");
        assert_eq!(summary(&whole), summary(&drip));
        whole.unwrap_or_else(|| panic!("more is needed behind {text:?}"))
    }

    #[test]
    fn a_head_is_understood() {
        let request = read(
            "\r\n\r\nPUT /my%20notes?v=2 HTTP/1.1\r\nHOST:h:80\r\nContent-Length: \t 5 \r\n\
             Connection: a, Close\r\nexpect: 100-Continue\r\nX:\r\n\r\n",
        )
        .unwrap();
        assert_eq!(
            (request.method, request.path.as_slice()),
            (Method::Put, &b"/my notes"[..])
        );
        assert_eq!((request.query.as_str(), request.host()), ("v=2", "h:80"));
        assert_eq!((request.framing, request.keep_alive), (Framing::Length(5), false));
        assert!(request.modern && request.expects_continue);
        let old = read("GET http://h HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
        assert_eq!(
            (old.path.as_slice(), old.keep_alive, old.modern),
            (&b"/"[..], true, false)
        );
        assert_eq!(read("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().path, b"*");
        assert_eq!(
            read("GET /%2e%25 HTTP/1.9\r\nHost: h\r\n\r\n").unwrap().path,
            b"/.%"
        );
        assert_eq!(read("GET / HTTP/1.0\r\nHost:\r\n\r\n").unwrap().host(), "");
        assert_eq!(
            read("GET http://a:1/ HTTP/1.1\r\nHost: b:2\r\n\r\n")
                .unwrap()
                .host(),
            "a:1"
        );
        assert_eq!(read("GET http://a:1/ HTTP/1.0\r\n\r\n").unwrap().host(), "a:1");
    }

    #[test]
    fn what_has_two_meanings_has_none() {
        let with = |fields: &str| format!("PUT /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let table = [
            (with("Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
            (with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
            (with("Content-Length: +5\r\n"), 400),
            (with("Content-Length: -1\r\n"), 400),
            (with("Content-Length: 5, 5\r\n"), 400),
            (with("Content-Length: 18446744073709551616\r\n"), 400),
            (with("Content-Length:\r\n"), 400),
            (with("Content-Length : 5\r\n"), 400),
            (
                with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
                400,
            ),
            (with("a: b\r\n c\r\n"), 400),
            (with("no colon\r\n"), 400),
            (with(": nameless\r\n"), 400),
            (with("Host: again\r\n"), 400),
            (with("Expect: miracles\r\n"), 417),
            (with(&"a: b\r\n".repeat(FIELDS)), 431),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n".to_owned(), 400),
            ("GET http://h/ HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET http://h/ HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), 400),
            ("GET http://h/ HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), 400),
            ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n".to_owned(), 400),
            (" GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("GET /\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/2.0\r\nHost: h\r\n\r\n".to_owned(), 505),
            ("GET / http/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("get / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 501),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".to_owned(), 400),
            ("GET * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("GET a HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("GET /%+4 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("GET /#a HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("GET /é HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            ("GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), 400),
            (
                "PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                400,
            ),
            ("GET / HTTP/1.1\n".to_owned(), 400),
            ("GET / HTTP/1.1\rH".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: h\0".to_owned(), 400),
        ];
        for (text, status) in table {
            let refusal = read(&text).expect_err(&text);
            assert_eq!((refusal.status, refusal.close), (status, true), "{text}");
        }
    }

    #[test]
    fn the_last_transfer_coding_is_chunked_and_the_only_one() {
        let table = [
            ("xchunked", 400),
            ("gzip", 400),
            ("identity", 400),
            ("", 400),
            ("chunked, gzip", 400),
            ("chunked,", 400),
            ("chunked, chunked", 400),
            ("gzip, chunked, chunked", 400),
            (", chunked", 400),
            ("a b, chunked", 400),
            ("chunked;q=1", 400),
            ("chunked;q=1, chunked", 400),
            ("\"chunked\"", 400),
            ("gzip, Chunked", 501),
            ("gzip;q=1 ,deflate,chunked", 501),
        ];
        for (codings, status) in table {
            let text = format!("PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {codings}\r\n\r\n");
            let refusal = read(&text).expect_err(codings);
            assert_eq!((refusal.status, refusal.close), (status, true), "{codings}");
        }
    }

    #[test]
    fn heads_are_bounded_on_both_sides() {
        let line = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(length - 14));
        assert!(read(&line(LINE_LIMIT)).is_ok());
        assert_eq!(
            read(&line(LINE_LIMIT + 1)[..LINE_LIMIT + 1]).unwrap_err().status,
            414
        );
        // One word and no end: it can only be a method.
        assert_eq!(read(&"M".repeat(LINE_LIMIT + 1)).unwrap_err().status, 501);
        assert_eq!(
            read(&format!("GET {}", "/".repeat(LINE_LIMIT - 3)))
                .unwrap_err()
                .status,
            414
        );
        assert_eq!(
            read(&format!("/{}", "M".repeat(LINE_LIMIT))).unwrap_err().status,
            414
        );
        let head = |length: usize| {
            let start = "GET / HTTP/1.1\r\nHost: h\r\nX:";
            format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
        };
        assert!(read(&head(HEAD_LIMIT)).is_ok());
        assert_eq!(read(&head(HEAD_LIMIT + 1)[..HEAD_LIMIT]).unwrap_err().status, 431);
    }
}
