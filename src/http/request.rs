//! What exactly is being asked? A head that can be read in two ways (two lengths, a blank before a colon, a
//! folded line) has no meaning here: RFC 9112 in its strict form. What a method does to a file stands in
//! `handler.rs`.

use crate::cli::parse_digits;
use crate::http::status::{Refusal, malformed};
use crate::http::target::{Target, is_host, target_of};

/// Most fields of a head. Each look-up of a field reads all of them.
pub const FIELDS: usize = 100;

/// A method that HTTP defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Put,
    Post,
    Delete,
    Options,
    // No resource of this server allows these.
    Connect,
    Patch,
    Trace,
}

/// The methods of RFC 9110 and RFC 5789.
const METHODS: [(&str, Method); 9] = [
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("PUT", Method::Put),
    ("POST", Method::Post),
    ("DELETE", Method::Delete),
    ("OPTIONS", Method::Options),
    ("CONNECT", Method::Connect),
    ("PATCH", Method::Patch),
    ("TRACE", Method::Trace),
];

impl Method {
    /// method = token
    fn of(name: &[u8]) -> Result<Method, Refusal> {
        match METHODS.into_iter().find(|row| row.0.as_bytes() == name) {
            Some(row) => Ok(row.1),
            None if token(name) => Err(Refusal::new(501, "method not implemented")),
            None => malformed("a method that is no token"),
        }
    }

    pub fn name(self) -> &'static str {
        METHODS
            .into_iter()
            .find(|row| row.1 == self)
            .map_or("-", |row| row.0)
    }
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    /// After this many bytes.
    Length(u64),
    Chunked,
}

/// A head as it came, of a request or of a part of a form, and where its fields are.
#[derive(Debug)]
pub struct Fields {
    head: Vec<u8>,
    /// For each field: where its line begins, where its colon is, where its line ends.
    spans: Vec<[usize; 3]>,
}

impl Fields {
    /// Finds the fields: each line from `start` on, up to the empty one.
    pub fn find(head: Vec<u8>, mut start: usize) -> Result<Fields, Refusal> {
        let mut spans = Vec::with_capacity(8);
        for line in head[start..head.len() - 2].split_inclusive(|&byte| byte == b'\n') {
            let colon = start + name_length(line)?;
            if spans.len() >= FIELDS {
                return Err(Refusal::new(431, format!("more than {FIELDS} header fields")));
            }
            spans.push([start, colon, start + line.len()]);
            start += line.len();
        }
        Ok(Fields { head, spans })
    }

    /// All values of field `name`, without the blanks around them and the end of the line.
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_it =
            move |span: &&[usize; 3]| self.head[span[0]..span[1]].eq_ignore_ascii_case(name.as_bytes());
        let value = |span: &[usize; 3]| self.head[span[1] + 1..span[2]].trim_ascii();
        self.spans.iter().filter(is_it).map(value)
    }

    /// The value of a field that may occur once.
    pub fn one_of_bytes(&self, name: &str) -> Result<Option<&[u8]>, Refusal> {
        let mut values = self.values(name);
        let first = values.next();
        if values.next().is_some() {
            return malformed(&format!("more than one {name}"));
        }
        Ok(first)
    }

    /// The same for a field that is ASCII by definition.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.one_of_bytes(name)?.map(str::from_utf8) {
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
        match self.one("host")?.unwrap_or_default() {
            "" if modern => malformed("no Host"),
            host if host.is_empty() || is_host(host) => Ok(host),
            _ => malformed("a Host that is neither a name nor an address"),
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
        let has = |wanted: &str| {
            let lines = self.values("connection");
            let mut options = lines.flat_map(|line| line.split(|&byte| byte == b','));
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        !has("close") && (modern || has("keep-alive"))
    }

    /// Does the peer wait for 100 Continue (RFC 9110, section 10.1.1)?
    fn expects_continue(&self, modern: bool) -> Result<bool, Refusal> {
        match self.one("expect")? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("100-continue") => Ok(modern),
            Some(_) => Err(Refusal::new(417, "expectation not known")),
        }
    }
}

/// A head that has one meaning.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    pub target: Target,
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
    /// ```text
    /// GET /my%20notes.txt?v=2 HTTP/1.1\r\n       method SP target SP version CR LF
    /// Host: 127.0.0.1:8080\r\n                   *( name ":" OWS value OWS CR LF )
    /// Range: bytes=0-99\r\n
    /// \r\n                                       CR LF; what follows is Framing
    /// ```
    pub fn parse(head: Vec<u8>) -> Result<Request, Refusal> {
        let line = head.iter().position(|&byte| byte == b'\r').unwrap_or(0);
        let fields = Fields::find(head, line + 2)?;
        let words: Vec<&[u8]> = fields.head[..line].split(|&byte| byte == b' ').collect();
        let [method, target, version] = words[..] else {
            return malformed("the first line is not: method, blank, target, blank, version");
        };
        // First the version: the meaning of the fields depends on it. Then everything that decides where the
        // request ends. Last, whether the method is known.
        let modern = modern(version)?;
        let host = fields.host(modern)?;
        let framing = fields.framing(modern)?;
        let method = Method::of(method)?;
        let target = match method {
            // Its target has a form of its own, which is not needed here.
            Method::Connect => target_of(b"*", host, true),
            _ => target_of(target, host, method == Method::Options),
        }
        .or_else(malformed)?;
        Ok(Request {
            method,
            target,
            modern,
            framing,
            keep_alive: fields.keep_alive(modern),
            expects_continue: fields.expects_continue(modern)?,
            fields,
        })
    }
}

/// How long the name is that a field or a line of a trailer begins with. A line that begins with a blank
/// (obs-fold) has none.
///
/// field-line = token ":" OWS value OWS
pub fn name_length(line: &[u8]) -> Result<usize, Refusal> {
    match line.iter().position(|&byte| byte == b':') {
        None => malformed("a header line without a colon"),
        Some(colon) if !token(&line[..colon]) => malformed("a header name that is no token"),
        Some(colon) => Ok(colon),
    }
}

/// How a body with transfer codings ends: the last coding must be chunked, or the end is unknown (RFC 9112,
/// section 6.3). Chunked is the only coding that we know.
///
/// Transfer-Encoding = coding *( OWS "," OWS coding ); coding = token *( OWS ";" OWS parameter )
fn framing_of(codings: &str) -> Result<Framing, Refusal> {
    let is_chunked = |coding: &str| coding.eq_ignore_ascii_case("chunked");
    let mut codings: Vec<&str> = codings.split(',').map(str::trim).collect();
    if !codings.pop().is_some_and(is_chunked) {
        return malformed("a Transfer-Encoding that does not end with chunked");
    }
    let name = |coding: &&str| coding.split(';').next().unwrap_or_default().trim_end().to_owned();
    let others: Vec<String> = codings.iter().map(name).collect();
    if others.is_empty() {
        Ok(Framing::Chunked)
    } else if others
        .iter()
        .all(|name| token(name.as_bytes()) && !is_chunked(name))
    {
        Err(Refusal::new(501, "transfer coding not implemented; chunked is"))
    } else {
        malformed("a Transfer-Encoding with chunked twice, or with what is no coding")
    }
}

/// version = "HTTP/" DIGIT "." DIGIT; a higher minor version is served as 1.1 (RFC 9110, section 2.5)
fn modern(version: &[u8]) -> Result<bool, Refusal> {
    match version {
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refusal::new(505, "HTTP version not supported; speak HTTP/1.1"))
        }
        _ => malformed("no HTTP version"),
    }
}

/// token = 1*tchar (RFC 9110, section 5.6.2)
pub fn token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| tchar(byte))
}

pub fn tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::HeadParser;

    fn read(text: &str) -> Result<Request, Refusal> {
        let (used, whole) = HeadParser::default().take(text.as_bytes());
        assert_eq!(used, text.len(), "bytes after the end of {text:?}");
        let mut parser = HeadParser::default();
        let drip = text.bytes().find_map(|byte| parser.take(&[byte]).1);
        assert_eq!(format!("{whole:?}"), format!("{drip:?}"));
        whole.unwrap_or_else(|| panic!("more is needed after {text:?}"))
    }

    fn refused(text: &str, status: u16) {
        let refusal = read(text).expect_err(text);
        assert_eq!((refusal.status, refusal.close), (status, true), "{text}");
    }

    /// The head of a PUT with these lines.
    fn put(lines: &str) -> String {
        format!("PUT /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
    }

    #[test]
    fn a_head_is_understood() {
        let request = read(
            "\r\n\r\nPUT /my%20notes?v=2 HTTP/1.1\r\nHOST:h:80\r\nContent-Length: \t 5 \r\n\
             Connection: a, Close\r\nexpect: 100-Continue\r\nX:\r\n\r\n",
        )
        .unwrap();
        assert_eq!(
            (request.method, request.target.path.as_slice()),
            (Method::Put, &b"/my notes"[..])
        );
        assert_eq!(
            (request.target.query.as_str(), &*request.target.host),
            ("v=2", "h:80")
        );
        assert_eq!((request.framing, request.keep_alive), (Framing::Length(5), false));
        assert!(request.modern && request.expects_continue);
        let old = read("GET http://h HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
        assert_eq!(
            (old.target.path.as_slice(), old.keep_alive, old.modern),
            (&b"/"[..], true, false)
        );
        for (head, host, path) in [
            ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "h", "*"),
            ("GET /%2e%25 HTTP/1.9\r\nHost: h\r\n\r\n", "h", "/.%"),
            ("GET / HTTP/1.0\r\nHost:\r\n\r\n", "", "/"),
            ("GET http://a:1/ HTTP/1.1\r\nHost: b:2\r\n\r\n", "a:1", "/"),
            ("GET http://a:1/ HTTP/1.0\r\n\r\n", "a:1", "/"),
        ] {
            let request = read(head).unwrap();
            assert_eq!(
                (&*request.target.host, &*request.target.path),
                (host, path.as_bytes()),
                "{head}"
            );
        }
    }

    #[test]
    fn fields_that_have_two_meanings_have_none() {
        for lines in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length:\r\n",
            "Content-Length : 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "a: b\r\n c\r\n",
            "no colon\r\n",
            ": nameless\r\n",
            "Host: again\r\n",
        ] {
            refused(&put(lines), 400);
        }
        refused(&put("Expect: miracles\r\n"), 417);
        refused(&put(&"a: b\r\n".repeat(FIELDS)), 431);
    }

    #[test]
    fn what_has_two_meanings_has_none() {
        for (line, status) in [
            ("GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            (" GET / HTTP/1.1", 400),
            ("GET / HTTP/2.0", 505),
            ("GET / http/1.1", 400),
            ("get / HTTP/1.1", 501),
            ("GET * HTTP/1.1", 400),
            ("GET a HTTP/1.1", 400),
            ("GET /%4 HTTP/1.1", 400),
            ("GET /%+4 HTTP/1.1", 400),
            ("GET /#a HTTP/1.1", 400),
            ("GET /é HTTP/1.1", 400),
            ("GET http:///a HTTP/1.1", 400),
        ] {
            refused(&format!("{line}\r\nHost: h\r\n\r\n"), status);
        }
        for head in [
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r\nHost:",
            "GET / HTTP/1.1\r\nHost: :80",
            "GET http://h/ HTTP/1.1",
            "GET http://h/ HTTP/1.1\r\nHost:",
            "GET http://h/ HTTP/1.1\r\nHost: a/b",
            "GET / HTTP/1.1\r\nHost: a/b",
            "GET /",
            "GET / HTTP/1.1\r\nHost: [::1",
            "GET / HTTP/1.1\r\nHost: a:b",
            "PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked",
        ] {
            refused(&format!("{head}\r\n\r\n"), 400);
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
            refused(&put(&format!("Transfer-Encoding: {codings}\r\n")), status);
        }
    }
}
