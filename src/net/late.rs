//! How does the answer to a wrong guess wait, and no worker with it? Among the connections that linger: the
//! worker goes on with others, and looks at these when something is due.

use super::linger::{LINGER, LINGER_IDLE, Lingering};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How late the answer to a wrong guess is. A guess costs a connection and this time; nothing else waits.
const LATE: Duration = Duration::from_secs(1);

impl Lingering {
    /// Begins to wait with the last words of a connection.
    pub fn late(stream: TcpStream, words: Vec<u8>) -> Lingering {
        let now = Instant::now();
        Lingering {
            stream,
            end: now + LINGER,
            idle: now + LATE,
            late: Some(words),
        }
    }

    /// Are its last words still to come? Until then what the peer sends, or its end, changes nothing.
    pub fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// If they are still to come: says them when it is time, and half-closes the connection.
    pub(super) fn speaks_late(&mut self) -> bool {
        let (now, late) = (Instant::now(), self.is_late());
        if now >= self.idle
            && let Some(words) = self.late.take()
        {
            // They are shorter than any socket's buffer, so this does not wait. An error has no receiver.
            let _ = (&self.stream).write_all(&words);
            let _ = self.stream.shutdown(Shutdown::Write);
            self.idle = now + LINGER_IDLE;
        }
        late
    }
}
