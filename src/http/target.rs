//! Which server is asked, and for what? A target is a path, a whole URL (for proxies, but every server must
//! understand it), or `*` for the server itself. Its path is decoded here, once: a program that decodes a
//! second time turns `%252e%252e%252f` into `../` after the name has been checked. The store checks the
//! name.

use std::net::{IpAddr, Ipv6Addr};

/// uri-host [ ":" port ]; uri-host = "[" IPv6 "]" / 1*( unreserved / pct-encoded / sub-delim ) (RFC 3986,
/// section 3.2). That grammar lets a host be empty; for http it must not be (RFC 9110, section 4.2.1).
pub fn is_host(text: &str) -> bool {
    let (name, port) = split_port(text);
    let digits = port.strip_prefix(':').unwrap_or_default();
    let known = match in_brackets(name) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
            !name.is_empty() && name.bytes().all(inside) && decode(name).is_ok()
        }
    };
    known && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The address inside `[` and `]`.
fn in_brackets(name: &str) -> Option<&str> {
    name.strip_prefix('[')?.strip_suffix(']')
}

/// The host, and what follows it: nothing, or a colon and what should be a port.
fn split_port(text: &str) -> (&str, &str) {
    // The colons inside an IPv6 address do not count.
    let start = text.find(']').unwrap_or(0);
    text.split_at(text[start..].find(':').map_or(text.len(), |at| start + at))
}

/// Which names a server answers to.
#[derive(Debug, PartialEq, Eq)]
pub enum Names {
    All,
    /// Addresses, `localhost`, and these names: without port, without a dot at the end.
    Own(Vec<String>),
}

impl Names {
    /// `host` is a name with or without a port; empty when the peer does not say.
    pub fn include(&self, host: &str) -> bool {
        let Names::Own(names) = self else { return true };
        let name = without_port(host);
        is_own_name(name) || names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// Why a request for `host` is refused: the peer means another server, or the owner has forgotten a name.
pub fn misdirected(host: &str) -> String {
    // A host may hold `$` and `;`, which must not get into a command that a reader may copy.
    let name = without_port(host);
    let name = if is_host_name(name) { name } else { "NAME" };
    let remedy = format!("start it with --host {name}, or with --any-host to allow every name");
    format!("this server does not answer to this name; to allow it, {remedy}")
}

/// Is this what a machine calls itself: nothing, `localhost`, or an address? The owner of any other name can
/// let it point to this machine after a browser has loaded a page from another ("DNS rebinding").
fn is_own_name(name: &str) -> bool {
    let address = in_brackets(name).unwrap_or(name);
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// `h` of `h:80` and of `h.`, which is the same name, written in full.
pub fn without_port(host: &str) -> &str {
    let (name, _) = split_port(host);
    name.strip_suffix('.').unwrap_or(name)
}

/// Is this a name that a machine may have in the Internet (RFC 1123, section 2.1)? An underscore is let in:
/// local networks use it.
///
/// name = label *( "." label ), at most 253 bytes; label = 1*63( letter / digit / "-" / "_" )
pub fn is_host_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(inside) && label.trim_matches('-') == label
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// What the first two lines of a request name.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// With its port, if there is one; empty: none. A target that is a whole URL takes precedence over the
    /// field Host (RFC 9112, section 3.2.2).
    pub host: String,
    /// Decoded, with its slash; `*` for the whole server.
    pub path: Vec<u8>,
    /// After the question mark, as it came.
    pub query: String,
}

/// target = absolute-path [ "?" query ] / "http://" authority [ absolute-path ] [ "?" query ] / "*"
///
/// `host`: of the field Host. `may_be_server`: `*` is allowed.
pub fn target_of(target: &[u8], host: &str, may_be_server: bool) -> Result<Target, &'static str> {
    let is_graphic = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(text) = str::from_utf8(target).ok().filter(is_graphic) else {
        return Err("a target with characters that must be percent-encoded");
    };
    if text == "*" && may_be_server {
        return Ok(Target {
            host: host.to_owned(),
            path: b"*".into(),
            query: String::new(),
        });
    }
    if text.contains('#') {
        return Err("a target with a fragment");
    }
    let (host, text) = if text.starts_with('/') {
        (host, text)
    } else {
        let is_http = |url: &(&str, &str)| matches!(&*url.0.to_ascii_lowercase(), "http" | "https");
        let Some((_, rest)) = text.split_once("://").filter(is_http) else {
            return Err("a target that is neither a path nor an http URL");
        };
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !is_host(host) {
            return Err("a URL without a host");
        }
        (host, path)
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let path = if path.is_empty() { "/" } else { path };
    // What the dot segments remove must be well-formed too.
    let decoded = decode(path)?;
    Ok(Target {
        host: host.to_owned(),
        path: without_dot_segments(path).map_or(Ok(decoded), |rest| decode(&rest))?,
        query: query.to_owned(),
    })
}

/// absolute-path = 1*( "/" segment ) without the segments `.` and `..` (RFC 3986, section 5.2.4), still
/// encoded; `None`: it has none of them.
///
/// `%2e` is a dot like any other: an unreserved character means the same with and without its escape (section
/// 6.2.2.2), and browsers read it so. `%2f` is no slash: it belongs to its segment, which is then no name.
fn without_dot_segments(path: &str) -> Option<String> {
    // Nearly all paths end here; the others may cost an allocation or two.
    if !path.contains("/.") && !path.contains("/%2") {
        return None;
    }
    let mut kept = Vec::new();
    let mut is_folder = false;
    for segment in path.split('/').skip(1) {
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        is_folder = matches!(dots.as_str(), "." | "..");
        match dots.as_str() {
            "." => {}
            // There is nothing above the first one, so this never leaves the root.
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    // A path that ends in a dot segment ends in a slash.
    let end = if is_folder && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{end}", kept.join("/")))
}

/// pct-encoded = "%" HEXDIG HEXDIG (RFC 3986, section 2.1); decoded once and never again
fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
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
    fn a_server_answers_to_few_names_unless_it_is_given_more() {
        let (none, one) = (
            Names::Own(Vec::new()),
            Names::Own(vec!["Files.example".to_owned()]),
        );
        let own = [
            "",
            "localhost",
            "LocalHost:80",
            "localhost.",
            "127.0.0.1",
            "192.0.2.1:80",
            "[::1]",
            "[::1]:80",
        ];
        for host in own {
            assert!(
                none.include(host) && one.include(host) && Names::All.include(host),
                "{host}"
            );
        }
        for host in [
            "files.example",
            "FILES.EXAMPLE:8080",
            "files.example.",
            "files.example.:80",
        ] {
            assert!(
                !none.include(host) && one.include(host) && Names::All.include(host),
                "{host}"
            );
        }
        for host in [
            "a.files.example",
            "files.example.org",
            "example",
            "1",
            "127.0.0.1.files.example",
            "files.example..",
        ] {
            assert!(
                !none.include(host) && !one.include(host) && Names::All.include(host),
                "{host}"
            );
        }
    }

    #[test]
    fn a_host_name_is_made_of_labels() {
        let (label, name) = ("l".repeat(63), "n".repeat(62) + ".");
        for good in [
            "h",
            "a-b.c_d",
            "xn--bcher-kva.example",
            "1.example",
            &label,
            &(name.repeat(4) + "n"),
        ] {
            assert!(is_host_name(good), "{good}");
        }
        let long = [label + "l", name.repeat(4) + "nn"];
        for bad in [
            "", ".", "a..b", "a.", "-a", "a-", "a b", "a:1", "$(a)", "*.a", "a/b", "é", &long[0], &long[1],
        ] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }

    #[test]
    fn targets_have_three_forms() {
        type Row = (&'static str, bool, Option<(&'static str, &'static str)>);
        let table: [Row; 23] = [
            ("/", false, Some(("/", ""))),
            ("/a?b?c", false, Some(("/a", "b?c"))),
            ("/%2e%25%41%c3%a9", false, Some(("/.%Aé", ""))),
            ("http://h/./a?q", false, Some(("/a", "q"))),
            ("http://u@h/a", false, None),
            ("http://%zz/a", false, None),
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
        for (target, may_be_server, expected) in table {
            let expected = expected.map(|(path, query)| (path.as_bytes().to_vec(), query.to_owned()));
            let found = target_of(target.as_bytes(), "h", may_be_server).ok();
            assert_eq!(
                found.map(|target| (target.path, target.query)),
                expected,
                "{target}"
            );
        }
        let host = |target: &[u8]| target_of(target, "field", false).unwrap().host;
        assert_eq!(host(b"HTTP://h:80?q"), "h:80");
        assert_eq!(host(b"https://[::1]/a"), "[::1]");
        assert_eq!(host(b"//h/a"), "field");
    }

    #[test]
    fn dot_segments_are_removed_and_encoded_slashes_are_none() {
        let table = [
            ("/.", "/"),
            ("/./", "/"),
            ("/..", "/"),
            ("/../..", "/"),
            ("/./a", "/a"),
            ("/././a", "/a"),
            ("/../a", "/a"),
            ("/b/../a", "/a"),
            ("/b/c/../../a", "/a"),
            ("/b/../../../a", "/a"),
            ("//../a", "/a"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/%2e/a", "/a"),
            ("/%2E%2e/a", "/a"),
            ("/b/.%2e/a", "/a"),
            ("/...", "/..."),
            ("/.a/..b/c.", "/.a/..b/c."),
            ("/./a//b", "/a//b"),
            ("/b%2f../a", "/b/../a"),
            ("/c/b%2fd/../a", "/c/a"),
            ("/%2e%2e%2fa", "/../a"),
            ("/%252e/a", "/%2e/a"),
            ("/./%25", "/%"),
        ];
        for (target, path) in table {
            let found = target_of(target.as_bytes(), "h", false).unwrap().path;
            assert_eq!(String::from_utf8_lossy(&found), path, "{target}");
        }
        assert!(target_of(b"/%4/..", "h", false).is_err() && target_of(b"/./%zz", "h", false).is_err());
    }

    /// Section 5.2.4 of RFC 3986, step by step.
    fn remove_dot_segments(path: &str) -> String {
        let (mut input, mut output) = (path.to_owned(), String::new());
        while !input.is_empty() {
            if input.starts_with("/./") || input == "/." {
                input.replace_range(..input.len().min(3), "/");
            } else if input.starts_with("/../") || input == "/.." {
                input.replace_range(..input.len().min(4), "/");
                output.truncate(output.rfind('/').unwrap_or(0));
            } else {
                let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
                output.extend(input.drain(..end));
            }
        }
        output
    }

    #[test]
    fn every_short_path_loses_its_dot_segments_as_the_rfc_says() {
        let mut paths = vec!["/".to_owned()];
        for _ in 0..8 {
            for path in &paths {
                let wanted = remove_dot_segments(path);
                let found = without_dot_segments(path);
                assert_eq!(found.as_ref().unwrap_or(path), &wanted, "{path}");
                let encoded = target_of(path.replace('.', "%2e").as_bytes(), "h", false).unwrap();
                assert_eq!(encoded.path, wanted.as_bytes(), "{path}");
            }
            paths = paths
                .iter()
                .flat_map(|path| ["/", ".", "a"].map(|next| path.clone() + next))
                .collect();
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for good in [
            "h",
            "h:",
            "h:80",
            "127.0.0.1:80",
            "a-b.c_d",
            "h%41",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "a/b", "a b", "a:b", "a:80:90", "[::1", "::1]", "[::1]80", "[g]", "a@b", "a?", "a\"b", "a<b",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
        for bad in [
            "",
            ":",
            ":80",
            "%",
            "%4",
            "%zz",
            "[]",
            "[]:80",
            "[:::]",
            "[1.2.3.4]",
            "[::1]:80]",
            "::1",
            "a,b:1,c:2",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
