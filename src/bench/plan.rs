//! What does the user want to know of an HTTP server? The options of `kolam bench http`, checked and put
//! together before anything is connected: a plan can be carried out, its values need no more checks.

use crate::bench::request::Request;
use crate::bench::url::Url;
use crate::cli::{Args, Failure, Opt, opt, usage};
use std::net::SocketAddr;
use std::time::Duration;

#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("-n", "N", "for http: requests (1000; with -z: 50 million)"),
    opt("-z", "TIME", "for http: a time; ends the run if -n has not"),
    opt("-c", "N", "for http: connections at once (1)"),
    opt("-k", "", "for http: keep connections, use them again"),
    opt("-m", "METHOD", "for http: the method (GET; with -d POST)"),
    opt("-d", "FILE", "for http: body of each request (-: stdin)"),
    opt("-H", "'NAME: VALUE'", "for http: add or replace a field; repeatable"),
    opt("--token-file", "FILE", "for http: file with the token of the server"),
    opt("--timeout", "TIME", "for http: longest wait for the server (30s)"),
    opt("--csv", "", "for http: print the figures as a line"),
    opt("--json", "", "for http: print the figures as a JSON object"),
];

/// Most requests of a run: 8 bytes of memory for each that is complete, 400 MB.
const REQUESTS: u64 = 50_000_000;

/// Most connections at once: the ports of one address for outgoing connections are about 28,000.
const CONNECTIONS: u64 = 20_000;

/// The options of a run, checked.
pub struct Plan {
    pub url: Url,
    pub server: SocketAddr,
    pub request: Request,
    /// At most.
    pub requests: u64,
    /// No request begins later than this after the first.
    pub time: Option<Duration>,
    pub connections: u64,
    pub keep: bool,
    pub timeout: Duration,
}

impl Plan {
    /// Reads and checks the options, and looks the host up.
    pub fn from(args: &Args, text: &str) -> Result<Plan, Failure> {
        let bad = |why: &str| {
            Failure::Usage(format!(
                "bench: {text}: expected http://HOST[:PORT][/PATH]; {why}"
            ))
        };
        let url = Url::parse(text).map_err(bad)?;
        if args.has("--csv") && args.has("--json") {
            return usage("--csv and --json: choose one of them");
        }
        let time = args.has("-z").then(|| args.seconds("-z", 0.0)).transpose()?;
        let default = if time.is_some() { REQUESTS } else { 1000 };
        let requests = args.number("-n", default, 1..=REQUESTS)?;
        let connections = args.number("-c", 1, 1..=CONNECTIONS)?;
        if connections > requests {
            return usage(format!(
                "-c {connections}: there are only {requests} requests; raise -n or lower -c"
            ));
        }
        let timeout = args.seconds("--timeout", 30.0)?;
        let server = url.look_up().map_err(|why| bad(&why))?;
        // Last, because it may read a large file.
        let request = Request::from(args, &url)?;
        Ok(Plan {
            url,
            server,
            request,
            requests,
            time,
            connections,
            keep: args.has("-k"),
            timeout,
        })
    }

    /// The most requests, and the time in which they may begin; `None`: the user has not limited it.
    pub fn limits(&self) -> (Option<u64>, Option<Duration>) {
        let told = self.time.is_none() || self.requests < REQUESTS;
        (told.then_some(self.requests), self.time)
    }
}
