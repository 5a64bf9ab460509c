//! Who asks? With a token, each request must show it, but those for `/healthz`: what checks the health of a
//! server knows no secrets. Without a token in the request the answer comes at once, because nothing was
//! guessed; browsers ask their user then, and repeat the request.

use crate::access::{Token, WRONG, offered};
use crate::http::HttpSession;
use crate::http::request::{Framing, Request};
use crate::http::status::Refusal;
use std::sync::Arc;

/// The schemes that are understood (RFC 9110, section 11.6.1).
const CHALLENGE: &str = "Basic realm=\"kolam\", charset=\"UTF-8\", Bearer realm=\"kolam\"";

const REQUIRED: &str = "authentication required: send the token as Bearer, or as the password of any user";

impl HttpSession {
    /// The same, for a server with a token; `None`: it has none.
    pub fn guarded(mut self, token: Option<Arc<Token>>) -> HttpSession {
        self.token = token;
        self
    }

    /// May this request be served?
    pub fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let Some(token) = self
            .token
            .as_ref()
            .filter(|_| &*request.target.path != b"/healthz")
        else {
            return Ok(());
        };
        let shown = request.fields.one("authorization")?.and_then(offered);
        let (reason, guessed) = match &shown {
            Some(bytes) if token.matches(bytes) => return Ok(()),
            Some(_) => (WRONG, true),
            None => (REQUIRED, false),
        };
        if guessed {
            self.request_log.token_refused();
        }
        let mut refusal = Refusal::new(401, reason).with_field("WWW-Authenticate", CHALLENGE);
        // The answer to a guess is the last; and a body is not waited for.
        refusal.close = guessed || request.framing != Framing::None;
        Err(refusal)
    }

    /// Is the answer that to a wrong token?
    pub fn is_refusing(&self) -> bool {
        matches!(&self.state, super::State::Reply(sending) if sending.failure == WRONG)
    }
}
