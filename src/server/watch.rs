//! How is a pool watched whose workers are all held? From a process of its own that listens at an address of
//! its own (--watch) and shares nothing with the pool but the scoreboard: a small HTTP server, which answers
//! `/_pool` whatever the pool does. It changes no file, writes no log, and ends with the server.

use crate::access::{self, Token};
use crate::cli::{Args, Failure, Opt, failed, opt};
use crate::http::{HttpSession, Names};
use crate::net::Listener;
use crate::server::shared::{Protocol, Shared};
use crate::server::thread;
use crate::session::{Limits, SEND_BUFFER, Session};
use crate::stats::{RateLimiter, RequestLog, Scoreboard};
use crate::store::{Policy, Store};
use crate::sys;
use std::path::Path;
use std::sync::Arc;

#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("--watch", "HOST:PORT", "answer GET /_pool there, also while all workers are held (see kolam top)"),
];

/// Threads of the watch: a browser and a few terminals at the same moment.
const WORKERS: usize = 4;

/// Connections to the watch that may be open: each holds a descriptor, and a few are asked for.
const CONNECTIONS: u64 = 64;

/// HTTP that shows the workers of another server.
struct Watch {
    pool: Scoreboard,
    names: Arc<Names>,
    /// That of the server, if it has one.
    token: Option<Arc<Token>>,
}

impl Protocol for Watch {
    fn session(&self, store: Arc<Store>, log: RequestLog) -> Box<dyn Session> {
        let session = HttpSession::new(store, log, self.names.clone()).watching(self.pool);
        Box::new(session.guarded(self.token.clone()))
    }

    fn gives_way(&self) -> bool {
        true
    }
}

/// Starts the watch of `pool`, if one is asked for; returns how the ready line goes on. Must be called before
/// there is any other thread.
pub fn start(args: &Args, root: &Path, pool: Scoreboard, limits: Limits) -> Result<String, Failure> {
    if !args.has("--watch") {
        return Ok(String::new());
    }
    let wanted = args.address("--watch", "127.0.0.1:8081")?;
    let bound = Listener::bind(wanted, SEND_BUFFER);
    let bound = bound.and_then(|listener| Ok((listener.address()?, listener)));
    let (address, listener) = bound.or_else(|error| {
        let remedy = "choose another --watch HOST:PORT";
        failed(format!("cannot listen on {wanted}: {error}; {remedy}"))
    })?;
    let names = match address.ip().is_loopback() {
        true => Names::Own(Vec::new()),
        false => Names::All,
    };
    let policy = Policy {
        read_only: Some("this is the watch of a server"),
        max_upload: 0,
        sync: false,
    };
    let store = Store::open(root, policy);
    let store = store.or_else(|error| failed(format!("cannot serve {}: {error}", root.display())))?;
    let token = access::token(args)?.map(Arc::new);
    let body = move || {
        let watch = Scoreboard::new("thread", WORKERS).map(|scoreboard| Shared {
            protocol: Box::new(Watch {
                pool,
                names: Arc::new(names),
                token: token.clone(),
            }),
            listener,
            store: Arc::new(store),
            scoreboard,
            limits,
            max_connections: CONNECTIONS,
            log: false,
            limiter: RateLimiter::default(),
        });
        i32::from(
            watch
                .and_then(|watch| thread::serve(Arc::new(watch), ""))
                .is_err(),
        )
    };
    sys::fork(body).or_else(|error| failed(format!("cannot start --watch: {error}")))?;
    Ok(format!(", watch http://{address}/_pool"))
}
