//! Which server does a URL name, and which document on it? A URL is typed by hand, so every mistake in it is
//! named. An accepted path begins with a slash and has visible ASCII characters only, so that it cannot
//! change the meaning of the first line of a request.

use crate::cli::parse_digits;
use std::net::{SocketAddr, ToSocketAddrs};

/// A parsed URL.
pub struct Url {
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    /// Host and port as they were typed.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Url {
    /// url = "http://" host [ ":" port ] [ path ] [ "?" query ] ; host = name / "[" IPv6 "]"
    /// path = "/" *visible ; without it the path is "/" (RFC 9110, section 4.2.3)
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err("there is no TLS here: name the server's own port, without TLS"),
            _ => return Err("it does not begin with http://"),
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || bare.is_some() && c == ':';
        let host = bare.unwrap_or(host);
        if host.is_empty() || !host.chars().all(good) {
            return Err("the host is missing or malformed");
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err("write blanks, # and letters beyond ASCII in the path as %20, %23 …");
        }
        let port = parse_digits(port).filter(|&port| port > 0);
        let port = port.ok_or("the port is not a number from 1 to 65535")?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = format!("{slash}{path}");
        Ok(Url {
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path,
        })
    }

    /// The address; of several the first IPv4 one, as for the server's `--listen`.
    pub fn look_up(&self) -> Result<SocketAddr, String> {
        let found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| error.to_string())?;
        found
            .min_by_key(SocketAddr::is_ipv6)
            .ok_or_else(|| "the host has no address".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_leaves_out_has_its_usual_meaning() {
        for (text, host, port, authority, path) in [
            ("http://a/", "a", 80, "a", "/"),
            ("http://a", "a", 80, "a", "/"),
            ("http://127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080", "/"),
            ("HTTP://a?x", "a", 80, "a", "/?x"),
            ("http://a:1?b=/c", "a", 1, "a:1", "/?b=/c"),
            (
                "http://a.b-c_d:8080/x/y?z=%20&w",
                "a.b-c_d",
                8080,
                "a.b-c_d:8080",
                "/x/y?z=%20&w",
            ),
            (
                "http://127.0.0.1:65535/:1/]",
                "127.0.0.1",
                65535,
                "127.0.0.1:65535",
                "/:1/]",
            ),
            ("http://[::1]/", "::1", 80, "[::1]", "/"),
            ("http://[::1]", "::1", 80, "[::1]", "/"),
            ("http://[::1]:1//", "::1", 1, "[::1]:1", "//"),
        ] {
            let url = Url::parse(text).map_err(|why| format!("{text}: {why}")).unwrap();
            let found = (
                url.host.as_str(),
                url.port,
                url.authority.as_str(),
                url.path.as_str(),
            );
            assert_eq!(found, (host, port, authority, path), "{text}");
        }
    }

    #[test]
    fn a_mistake_in_a_url_is_named() {
        for (text, why) in [
            ("", "http://"),
            ("a/", "http://"),
            ("a:80", "http://"),
            ("https://a/", "no TLS"),
            ("HTTP:/a/", "http://"),
            ("http://", "host"),
            ("http:///", "host"),
            ("http://?a", "host"),
            ("http://:80/", "host"),
            ("http://[]/", "host"),
            ("http://[::1/", "host"),
            ("http://::1/", "host"),
            ("http://user@a/", "host"),
            ("http://a b/", "host"),
            ("http://a:/", "port"),
            ("http://a:", "port"),
            ("http://a:0/", "port"),
            ("http://a:+1/", "port"),
            ("http://a:65536/", "port"),
            ("http://a:b/", "port"),
            ("http://a/b c", "%20"),
            ("http://a?b c", "%20"),
            ("http://a/#b", "%23"),
            ("http://a#b", "%23"),
            ("http://a/\u{e9}", "ASCII"),
            ("http://a/\r\nX: y", "blanks"),
        ] {
            let found = Url::parse(text)
                .err()
                .unwrap_or_else(|| panic!("{text} was taken"));
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
