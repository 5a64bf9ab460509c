//! What if a request ends when its sender falls silent? Then a client may send it without any end, as those
//! of the first lessons do, and the server guesses. It guesses wrong whenever a network or a sender is slower
//! than the pause: `GET a`, a delay, `bc` is read as `GET a`. Silence says nothing about what comes after it.

use crate::session::{Event, Session, Want};

/// A file may be cut anywhere and is a file all the same, so here a guess would lose data.
const NO_END: &str = "UPLOAD needs its terminator: \\r\\n\\r\\n is missing, and silence does not end a file";

/// The peer of `session`, which speaks the file protocol, has fallen silent in a request.
pub fn end_request(session: &mut dyn Session) {
    if session.want() == Want::Head {
        session.received(b"\n");
    }
    // Where the next request would begin is unknown: after this the connection ends.
    if session.want() == Want::Body {
        session.notice(Event::Refused(NO_END));
    }
}
