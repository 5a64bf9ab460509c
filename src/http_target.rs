//! # Chapter 14b. Who is asked for what?
//!
//! A request line names its target in one of three forms: a path, a whole URL (for proxies, and every server
//! must understand it too), or `*` for the server itself. A path is percent-decoded here, once: whoever
//! decodes a second time turns `%252e%252e%252f` into `../`, behind the back of whoever checked the name.
//!
//! ```text
//!   http://127.0.0.1:8080/my%20notes.txt?v=2
//!          └ host : port ┘└─── path ────┘└ query
//! ```
//!
//! The invariant: what comes out was decoded exactly once and has not been checked; the store does that.
//!
//! What must not live here: which paths there are.
//!
//! before: `http_head.rs` … after: `http_body.rs`
//!
//! Experiment: decode twice, and ask for `/%252e%252e%252fetc%252fpasswd` in a test.

use std::net::IpAddr;

/// uri-host [ ":" port ]; uri-host = "[" IPv6 "]" / *( unreserved / "%" / sub-delim ) (RFC 3986, section 3.2)
pub fn is_host(text: &str) -> bool {
    let (name, port, inside): (_, _, fn(u8) -> bool) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((name, port)) = rest.split_once(']') else { return false };
            (name, port, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (name, port, |byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte))
        }
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    name.bytes().all(inside)
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (port.is_empty() || port != digits)
}

/// Is this what a machine calls itself: nothing, `localhost`, or an address? Any other name is somebody's
/// choice, and may be made to mean this machine after a browser has loaded a page from another ("DNS
/// rebinding").
pub fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// target = absolute-path [ "?" query ] / "http://" authority [ absolute-path ] [ "?" query ] / "*"; gives
/// path and query.
pub fn target_of(target: &[u8], whole_server: bool) -> Result<(Vec<u8>, String), &'static str> {
    let Some(text) = str::from_utf8(target).ok().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()))
    else {
        return Err("a target with characters that must be percent-encoded");
    };
    if text == "*" && whole_server {
        return Ok((b"*".into(), String::new()));
    }
    if text.contains('#') {
        return Err("a target with a fragment");
    }
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let text = match scheme {
        None if text.starts_with('/') => text,
        None => return Err("a target that is neither a path nor an http URL"),
        Some(scheme) => {
            let rest = &text[scheme.len()..];
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if authority.is_empty() || authority.starts_with(':') || !is_host(authority) {
                return Err("a URL without a host");
            }
            path
        }
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    Ok((decode(if path.is_empty() { "/" } else { path })?, query.to_owned()))
}

/// pct-encoded = "%" HEXDIG HEXDIG (RFC 3986, section 2.1); decoded once and never again
fn decode(path: &str) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
        out.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => (high << 4 | low) as u8,
                _ => return Err("a percent sign without two hexadecimal digits"),
            },
            byte => byte,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_few_names_of_its_own() {
        for own in ["", ":80", "localhost", "LocalHost:80", "127.0.0.1", "192.0.2.1:80", "[::1]", "[::1]:80"]
        {
            assert!(is_own_name(own), "{own}");
        }
        for other in
            ["example.org", "localhost.example.org:80", "127.0.0.1.example.org", "1", "[example.org]"]
        {
            assert!(!is_own_name(other), "{other}");
        }
    }

    #[test]
    fn targets_have_three_forms() {
        type Row = (&'static str, bool, Option<(&'static str, &'static str)>);
        let table: [Row; 20] = [
            ("/", false, Some(("/", ""))),
            ("/a?b?c", false, Some(("/a", "b?c"))),
            ("/%2e%25%41%c3%a9", false, Some(("/.%Aé", ""))),
            ("//a", false, Some(("//a", ""))),
            ("/%252e", false, Some(("/%2e", ""))),
            ("http://h", false, Some(("/", ""))),
            ("HTTP://h:80?q", false, Some(("/", "q"))),
            ("https://[::1]:80/a", false, Some(("/a", ""))),
            ("*", true, Some(("*", ""))),
            ("*", false, None),
            ("", false, None),
            ("a", false, None),
            ("http://", false, None),
            ("http:///a", false, None),
            ("http://:80/a", false, None),
            ("ftp://h/a", false, None),
            ("/a#b", false, None),
            ("/é", false, None),
            ("/%4", false, None),
            ("/%+4", false, None),
        ];
        for (target, whole_server, expected) in table {
            let expected = expected.map(|(path, query)| (path.as_bytes().to_vec(), query.to_owned()));
            assert_eq!(target_of(target.as_bytes(), whole_server).ok(), expected, "{target}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for good in
            ["", "h", "h:", "h:80", "127.0.0.1:80", "a-b.c_d", "[::1]", "[::1]:80", "[::ffff:1.2.3.4]"]
        {
            assert!(is_host(good), "{good}");
        }
        for bad in
            ["a/b", "a b", "a:b", "a:80:90", "[::1", "::1]", "[::1]80", "[g]", "a@b", "a?", "a\"b", "a<b"]
        {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
