//! # Chapter 5d. Where does a browser find this server, and will it go there?
//!
//! A server listens on an address; a person wants something to click. Most addresses become a URL as they
//! are. "All addresses of this machine" cannot be opened, so the URL names the loopback address instead. And
//! browsers refuse some ports, whatever listens there.
//!
//! ```text
//!   127.0.0.1:8080 ──► http://127.0.0.1:8080/          0.0.0.0:8080 ──► http://127.0.0.1:8080/
//!   [::1]:8080 ──────► http://[::1]:8080/              port 6666 ─────► browsers refuse it
//! ```
//!
//! The invariant: on the same machine, a program that refuses no port reaches this server with the URL. (Not
//! so for a link-local IPv6 address, whose zone is not in the URL.)
//!
//! What must not live here: what is served under the URL.
//!
//! Experiment: `kolam serve --protocol http --listen 127.0.0.1:6666`, and open its URL in a browser and in
//! curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// What a person is told: the URL at the end, and before it that a browser will not open it, if so.
pub fn ready_url(address: SocketAddr) -> String {
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
        for (port, refused) in [
            (1, true),
            (2, false),
            (79, true),
            (80, false),
            (443, false),
            (6666, true),
        ]
        .into_iter()
        .chain([
            (6670, false),
            (8000, false),
            (8080, false),
            (10080, true),
            (65535, false),
        ]) {
            let text = ready_url(SocketAddr::from(([127, 0, 0, 1], port)));
            assert!(text.ends_with(&format!("http://127.0.0.1:{port}/")), "{text}");
            assert_eq!(
                text.starts_with(&format!("browsers refuse port {port}")),
                refused,
                "{text}"
            );
        }
    }
}
