//! What does each request of a load test say? All requests of a run are the same bytes: made once, sent again
//! and again. They are exactly one request, not one and a half: no line end gets into a line, and the length
//! is that of the body.

use crate::access::{bearer, carry};
use crate::bench::url::Url;
use crate::cli::{Args, Failure, failed, usage};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of a body. It is in memory once, after the head, and all connections send that copy.
const BODY_LIMIT: u64 = 1 << 30;

/// Longest name of a method; the longest that is registered has 17 letters.
const METHOD_LIMIT: usize = 32;

/// Methods of which a second request does no more than the first (RFC 9110, section 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// Methods that usually have no body, so that a server does not wait for one that is not announced.
const WITHOUT_BODY: [&str; 5] = ["GET", "HEAD", "OPTIONS", "TRACE", "DELETE"];

/// Fields that follow from other options.
const OURS: [(&str, &str); 3] = [
    ("Connection", "-k keeps connections, without it they are closed"),
    ("Content-Length", "it follows from -d"),
    (
        "Transfer-Encoding",
        "the body of -d is sent as it is, with its length",
    ),
];

/// The request of a run.
pub struct Request {
    pub method: String,
    /// Bytes of body.
    pub body: u64,
    /// The whole text: head and body.
    pub bytes: Vec<u8>,
}

impl Request {
    /// The request for `url` with the options `-m`, `-d`, `-H` and `-k`:
    ///
    /// ```text
    ///   GET /a HTTP/1.1              -m METHOD (POST when there is a body)
    ///   Host: 127.0.0.1:8080         ┐
    ///   User-Agent: kolam/…          ├ -H 'Name: value' replaces the field of this name, or is added
    ///   Accept: */*                  ┘
    ///   Connection: close            keep-alive with -k
    ///   Content-Length: 5            with -d, and 0 where a server must know that there is no body
    /// ```
    pub fn from(args: &Args, url: &Url) -> Result<Request, Failure> {
        let body = args.path("-d");
        carry(args)?;
        let method = args
            .text("-m")
            .unwrap_or(if body.is_some() { "POST" } else { "GET" });
        check_method(method)?;
        let mut fields = vec![
            ("Host", url.authority.as_str()),
            ("User-Agent", concat!("kolam/", env!("CARGO_PKG_VERSION"))),
            ("Accept", "*/*"),
            ("Connection", if args.has("-k") { "keep-alive" } else { "close" }),
        ];
        if body.is_some() {
            fields.push(("Content-Type", "application/octet-stream"));
        }
        let given: Vec<(&str, &str)> = args.all("-H").map(read_field).collect::<Result<_, _>>()?;
        let hosts = given.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Host"));
        if hosts.count() > 1 {
            return usage("-H Host: a request has one; give it once".to_owned());
        }
        replace(&mut fields, given);
        // The last of the checks, because it may read a large file.
        let mut bytes = body.map_or(Ok(Vec::new()), read_body)?;
        let length = bytes.len() as u64;
        let mut head = format!("{method} {} HTTP/1.1\r\n", url.path);
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        head += &bearer();
        if body.is_some() || !WITHOUT_BODY.contains(&method) {
            head += &format!("Content-Length: {length}\r\n");
        }
        // The body moves within its buffer: there is no second copy of it.
        bytes.splice(0..0, (head + "\r\n").bytes());
        Ok(Request {
            method: method.to_owned(),
            body: length,
            bytes,
        })
    }

    /// May it be sent again when it is unknown whether the server has processed it?
    pub fn is_idempotent(&self) -> bool {
        IDEMPOTENT.contains(&self.method.as_str())
    }
}

/// Reads the file of `-d` whole (`-`: stdin).
fn read_body(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there are more, also in a pipe, whose length is unknown.
    let read = if path == Path::new("-") {
        io::stdin().take(BODY_LIMIT + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(BODY_LIMIT + 1).read_to_end(&mut bytes))
    };
    let path = path.display();
    match read {
        Err(error) => failed(format!("-d {path}: cannot read it: {error}")),
        Ok(length) if length as u64 > BODY_LIMIT => usage(format!(
            "-d {path}: longer than 1 GiB, the most that one request can carry here"
        )),
        Ok(_) => Ok(bytes),
    }
}

/// method = 1*32( capital letter / "-" ) ; methods that are in use have no other characters
fn check_method(method: &str) -> Result<(), Failure> {
    let letters = method
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if !letters || method.is_empty() || method.len() > METHOD_LIMIT {
        return usage(format!(
            "-m {method:?}: expected capital letters, such as HEAD, POST or PUT"
        ));
    }
    if method == "CONNECT" {
        return usage("-m CONNECT: it opens a tunnel, through which no answer comes".to_owned());
    }
    Ok(())
}

/// field = name ":" value ; name = 1*( letter / digit / one of !#$%&'*+-.^_`|~ ) (RFC 9110, section 5.6.2)
fn read_field(text: &str) -> Result<(&str, &str), Failure> {
    let good = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let field = text
        .split_once(':')
        .filter(|(name, _)| !name.is_empty() && name.chars().all(good));
    let Some((name, value)) = field else {
        return usage(format!(
            "-H {text:?}: expected 'Name: value', the name without blanks"
        ));
    };
    // A line end in a value would begin another field, or a request of its own.
    if value.chars().any(|c| c.is_ascii_control() && c != '\t') {
        return usage(format!(
            "-H {text:?}: a value has no line end and no other control character"
        ));
    }
    if let Some((_, why)) = OURS.iter().find(|(ours, _)| name.eq_ignore_ascii_case(ours)) {
        return usage(format!("-H {name}: {why}"));
    }
    Ok((name, value.trim_matches([' ', '\t'])))
}

/// The first field of a name replaces ours in its position, so that Host stays first; all others are added.
fn replace<'t>(fields: &mut Vec<(&'t str, &'t str)>, mut given: Vec<(&'t str, &'t str)>) {
    for field in fields.iter_mut() {
        if let Some(at) = given
            .iter()
            .position(|(name, _)| name.eq_ignore_ascii_case(field.0))
        {
            *field = given.remove(at);
        }
    }
    fields.append(&mut given);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(result: Result<impl Sized, Failure>) -> String {
        match result {
            Err(Failure::Usage(text) | Failure::Failed(text)) => text,
            _ => panic!("no fault"),
        }
    }

    #[test]
    fn fields_are_one_line_with_a_name() {
        for (text, name, value) in [
            ("A: b", "A", "b"),
            ("X-A_1.~:", "X-A_1.~", ""),
            ("a:b:c", "a", "b:c"),
            ("A:\t b \u{e9}\tc ", "A", "b \u{e9}\tc"),
        ] {
            assert_eq!(read_field(text).ok(), Some((name, value)), "{text:?}");
        }
        for (text, why) in [
            ("", "Name: value"),
            ("A", "Name: value"),
            (": b", "Name: value"),
            ("A B: c", "Name: value"),
            ("A : c", "Name: value"),
            ("A\r\nB: c", "Name: value"),
            ("\u{e9}: c", "Name: value"),
            ("A: b\r\nC: d", "line end"),
            ("A: b\n", "line end"),
            ("A: \0", "control character"),
            ("connection: close", "-k keeps"),
            ("CONTENT-LENGTH: 5", "follows from -d"),
            ("Transfer-Encoding: chunked", "-d"),
        ] {
            let fault = fault(read_field(text));
            assert!(
                fault.contains(why) && !fault.contains(['\r', '\n']),
                "{text:?}: {fault}"
            );
        }
    }

    #[test]
    fn the_first_field_of_a_name_replaces_ours() {
        let mut fields = vec![("Host", "a"), ("Accept", "*/*")];
        replace(
            &mut fields,
            vec![
                ("X", "1"),
                ("accept", "b"),
                ("ACCEPT", "c"),
                ("host", "d"),
                ("X", "2"),
            ],
        );
        let expected = [
            ("host", "d"),
            ("accept", "b"),
            ("X", "1"),
            ("ACCEPT", "c"),
            ("X", "2"),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn methods_are_capital_letters() {
        assert!(
            ["GET", "PUT", "M-SEARCH", "A"]
                .iter()
                .all(|method| check_method(method).is_ok())
        );
        for method in ["", "get", "P T", "A\r\n", "\u{c4}", &"A".repeat(33)] {
            assert!(
                fault(check_method(method)).contains("capital letters"),
                "{method:?}"
            );
        }
        assert!(fault(check_method("CONNECT")).contains("tunnel"));
    }
}
