//! How does a server guard its protocol? With the token of `--token-file`: HTTP asks for it in each request,
//! and the file protocol gets a gate in front. The answer to a wrong token waits where connections linger.

use crate::access::{Gate, Token};
use crate::cli::{Args, Failure, usage};
use crate::server::connection::Connection;
use crate::server::shared::Protocol;
use crate::session::{Outgoing, Session};
use crate::stats::RequestLog;
use crate::store::Store;
use std::sync::Arc;

/// The file protocol behind a gate.
struct Guarded {
    protocol: Box<dyn Protocol>,
    token: Arc<Token>,
}

impl Protocol for Guarded {
    fn session(&self, store: Arc<Store>, log: RequestLog) -> Box<dyn Session> {
        let gates = log.another();
        let behind = self.protocol.session(store, log);
        Box::new(Gate::new(self.token.clone(), gates, behind))
    }
}

/// `protocol`, which `spoken` names, behind a gate if there is a token. HTTP guards itself.
pub fn guard(args: &Args, spoken: &str, protocol: Box<dyn Protocol>) -> Result<Box<dyn Protocol>, Failure> {
    if spoken.starts_with("http") || !args.has("--token-file") {
        return Ok(protocol);
    }
    if spoken != "file protocol" {
        return usage("--token-file: AUTH has a place in --dialect delimiter and in --protocol http alone");
    }
    match crate::access::token(args)?.map(Arc::new) {
        Some(token) => Ok(Box::new(Guarded { protocol, token })),
        None => Ok(protocol),
    }
}

impl Connection {
    /// The last reply, which is to be sent late. The session takes it for sent.
    pub fn last_words(&mut self) -> Vec<u8> {
        let words = match self.session.outgoing() {
            Outgoing::Bytes(bytes) | Outgoing::Last(bytes) => bytes.to_vec(),
            Outgoing::File { .. } => Vec::new(),
        };
        self.session.sent(words.len());
        words
    }
}
