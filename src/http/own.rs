//! Which paths are no files? The folder itself, the health check, the counters, and the pool: `/_pool` is a
//! page that asks `/_pool/events` again and again (server-sent events, HTML, section 9.2). Each answer is one
//! event and the end: the browser comes back by itself, and no worker is held between two pictures.

use crate::http::HttpSession;
use crate::http::listing;
use crate::http::request::Request;
use crate::http::response::Reply;
use crate::http::status::Refusal;
use crate::json::Writer;
use crate::stats::Scoreboard;

/// The page; it gets all figures from `/_pool/events`, so it is the same for all.
const PAGE: &str = include_str!("pool.html");

/// What a browser may do on behalf of the page: run what stands in it, and ask this server. The page holds no
/// text of a stranger when it is sent, and may not turn one into markup (Trusted Types, W3C).
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

/// When a browser asks again, in milliseconds after an answer. Some wait half a second at least.
const RETRY: u32 = 200;

/// Fields by which a proxy says that it is one. What a proxy passes on may come from anywhere.
const PROXY_FIELDS: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto"];

/// Is this path the server's own, and no file? `HttpSession::own` answers each of them.
fn is_own(path: &[u8]) -> bool {
    matches!(
        path,
        b"/" | b"/healthz" | b"/metrics" | b"/_pool" | b"/_pool/events"
    )
}

/// The methods that make sense for a path.
pub fn allowed(path: &[u8]) -> &'static str {
    match path {
        b"/" => "GET, HEAD, POST, OPTIONS",
        path if is_own(path) => "GET, HEAD, OPTIONS",
        // A file, or `*`: the server as a whole.
        _ => "GET, HEAD, PUT, DELETE, OPTIONS",
    }
}

/// The name of the file that a path stands for, for PUT and DELETE. It has not been checked.
pub fn file_at(path: &[u8]) -> Result<&[u8], Refusal> {
    match is_own(path) {
        true => Err(Refusal::method(allowed(path))),
        false => Ok(path.strip_prefix(b"/").unwrap_or(path)),
    }
}

impl HttpSession {
    /// Watches `pool` instead of the server that it belongs to.
    pub fn watching(mut self, pool: Scoreboard) -> HttpSession {
        self.pool = Some(pool);
        self
    }

    /// GET and HEAD of a path that is no file; `None`: it is one.
    pub fn own(&self, request: &Request) -> Result<Option<Reply>, Refusal> {
        let scoreboard = self.pool.as_ref().unwrap_or(self.request_log.scoreboard());
        let reply = match &*request.target.path {
            b"/" => listing::folder(request, &self.store)?,
            b"/healthz" => listing::health(),
            b"/metrics" => listing::metrics(scoreboard),
            b"/_pool" | b"/_pool/events" => self.watch(request, scoreboard)?,
            _ => return Ok(None),
        };
        Ok(Some(reply))
    }

    /// The page, or what it shows.
    fn watch(&self, request: &Request, scoreboard: &Scoreboard) -> Result<Reply, Refusal> {
        if self.pool.is_none() && scoreboard.is_private() {
            let reason = "this server is not on loopback; start it with --watch HOST:PORT, and look there";
            return Err(Refusal::new(403, reason));
        }
        for name in PROXY_FIELDS {
            if request.fields.one(name)?.is_some() {
                let reason = "there is a proxy in front of this server; ask the server itself";
                return Err(Refusal::new(403, reason));
            }
        }
        let mut json = Vec::new();
        match self.pool {
            Some(pool) => pool.write(None, &mut Writer::new(&mut json)),
            None => self.request_log.write_pool(&mut Writer::new(&mut json)),
        }
        if request.target.path == b"/_pool/events" {
            // The writer's text has no line end in it.
            let event = [format!("retry: {RETRY}\ndata: ").as_bytes(), &json, b"\n\n"].concat();
            let mut reply = Reply::fresh("text/event-stream", event);
            reply.close = true;
            return Ok(reply);
        }
        if request.target.query == "json" {
            return Ok(Reply::fresh("application/json", json));
        }
        let reply = Reply::fresh("text/html; charset=utf-8", PAGE);
        Ok(reply.field("Content-Security-Policy", POLICY))
    }
}
