//! How is this folder served to browsers? By HTTP, under the names and the URL that this file chooses. "All
//! addresses of this machine" cannot be opened, so the URL names the loopback address instead; and browsers
//! refuse some ports, whatever listens there.

use crate::access::{self, Token};
use crate::cli::{Args, Failure, Opt, opt, usage};
use crate::http::{HttpSession, Names, is_host, is_host_name, without_port};
use crate::server::shared::Protocol;
use crate::session::Session;
use crate::stats::RequestLog;
use crate::store::Store;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Options that need `--protocol http`.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("--host", "NAME", "answer HTTP for this name too; may be repeated (on loopback: localhost)"),
    opt("--any-host", "", "on loopback, answer HTTP for every name"),
];

/// HTTP/1.1 (`http.rs`).
pub struct HttpProtocol {
    /// The host names that are answered.
    names: Arc<Names>,
    /// What each request must show; `None`: nothing.
    token: Option<Arc<Token>>,
}

impl Protocol for HttpProtocol {
    fn session(&self, store: Arc<Store>, log: RequestLog) -> Box<dyn Session> {
        Box::new(HttpSession::new(store, log, self.names.clone()).guarded(self.token.clone()))
    }

    fn gives_way(&self) -> bool {
        true
    }

    /// The URL, and before it that a browser will not open it, if so.
    fn ready_url(&self, address: SocketAddr) -> String {
        format!(" {}", ready_url(address))
    }
}

/// HTTP as the options describe it, for a server that listens on `address`. On loopback a name that was not
/// given is refused: see `Names`.
pub fn http(args: &Args, address: SocketAddr) -> Result<Box<dyn Protocol>, Failure> {
    let mut own = Vec::new();
    for text in args.all("--host") {
        let name = without_port(text);
        let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
        let fault = match () {
            () if args.has("--any-host") => "--any-host allows every name already; use one of the two",
            () if is_address => "that is an address; to listen there, use --listen HOST:PORT",
            () if !is_host(text) || !is_host_name(name) => {
                "expected the name of a host, such as files.example.org"
            }
            () => {
                own.push(name.to_owned());
                continue;
            }
        };
        return usage(format!("--host {text}: {fault}"));
    }
    let all = args.has("--any-host") || own.is_empty() && !address.ip().is_loopback();
    let names = Arc::new(if all { Names::All } else { Names::Own(own) });
    let token = access::token(args)?.map(Arc::new);
    Ok(Box::new(HttpProtocol { names, token }))
}

/// For a server of another protocol: none of `OPTIONS` may be given.
pub fn refuse_options(args: &Args) -> Result<(), Failure> {
    let hint = "; to listen on an address, use --listen HOST:PORT";
    for (name, hint) in [("--host", hint), ("--any-host", "")] {
        if args.has(name) {
            return usage(format!("{name}: this option needs --protocol http{hint}"));
        }
    }
    Ok(())
}

/// Ports that browsers refuse, because services of other protocols could be made to do harm by a request of
/// HTTP: the "bad ports" of the Fetch standard (<https://fetch.spec.whatwg.org/#port-blocking>), in order.
const REFUSED: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514,
    515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723,
    2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// Where a browser on this machine finds the server that listens on `address`.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // It puts the brackets around an IPv6 address.
    format!("http://{}/", SocketAddr::new(ip, address.port()))
}

/// What a person is told.
fn ready_url(address: SocketAddr) -> String {
    let (port, url) = (address.port(), url(address));
    match REFUSED.binary_search(&port) {
        Ok(_) => format!("browsers refuse port {port}, choose another --listen for them: {url}"),
        Err(_) => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_a_url() {
        for (address, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("0.0.0.0:80", "http://127.0.0.1:80/"),
            ("192.0.2.7:8080", "http://192.0.2.7:8080/"),
            ("[::1]:8080", "http://[::1]:8080/"),
            ("[::]:8080", "http://[::1]:8080/"),
            ("[fe80::1%3]:8080", "http://[fe80::1]:8080/"),
        ] {
            assert_eq!(ready_url(address.parse().unwrap()), url, "{address}");
        }
    }

    #[test]
    fn ports_that_browsers_refuse_are_told() {
        assert!(REFUSED.is_sorted_by(|a, b| a < b), "it is searched by halving");
        let told = |port| {
            let text = ready_url(SocketAddr::from(([127, 0, 0, 1], port)));
            assert!(text.ends_with(&format!("http://127.0.0.1:{port}/")), "{text}");
            text.starts_with(&format!("browsers refuse port {port}"))
        };
        assert!([1, 79, 6666, 10080].into_iter().all(told));
        assert!(![2, 80, 443, 6670, 8000, 8080, 65535].into_iter().any(told));
    }
}
