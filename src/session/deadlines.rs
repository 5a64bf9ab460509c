//! How long may a peer take? Never as long as it likes: a silent peer would hold its worker for ever.
//! Sessions know no time, so each driver keeps these deadlines beside its connection and tells the session
//! (`Event::Timeout`) when one has passed.

use crate::session::{ByteCounts, Want, silence::Silence};
use std::time::{Duration, Instant};

/// How often within the idle limit we look whether a peer still takes what waits in the socket.
pub const LOOKS: u32 = 8;

/// How long a connection may be idle after a reply while others wait. The next request of a peer that has
/// just read the reply may be on its way, and must not meet a closed connection.
pub const KEPT: Duration = Duration::from_millis(100);

/// The same before the first request: that one comes a round trip after the connection is accepted. Counted
/// from the handshake, so that silent connections do not use up a worker's time one after another.
const FRESH: Duration = Duration::from_secs(1);

/// How long a peer may take, and from when on that is counted:
///
/// | waiting for | limit | counted from |
/// | --- | --- | --- |
/// | a request | `idle` | the end of the last reply: empty lines are no request |
/// | its head | `head` | its first byte: one byte now and then (slowloris) gains nothing |
/// | its body, or room for the reply | `idle` | the last byte that moved |
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub idle: Duration,
    pub head: Duration,
    /// Silence that ends a request; only for `dialects`.
    pub pause: Option<Duration>,
    /// From the request to stop until open connections are closed, whatever they wait for.
    pub grace: Duration,
}

/// The deadlines of one connection, kept by its driver.
pub struct Deadlines {
    limits: Limits,
    /// What the session wanted after the last turn.
    want: Want,
    /// From when on the limit for that is counted.
    since: Instant,
    /// Something has been sent.
    answered: bool,
    /// When the server was asked to stop.
    stop: Option<Instant>,
    /// Only for `dialects`.
    pub silence: Silence,
}

impl Deadlines {
    pub fn new(limits: Limits, now: Instant) -> Deadlines {
        Deadlines {
            limits,
            want: Want::Request,
            since: now,
            answered: false,
            stop: None,
            silence: Silence::new(limits.pause, now),
        }
    }

    /// After a turn in which `moved` bytes crossed and the session came to want `want`.
    pub fn note(&mut self, want: Want, moved: ByteCounts, now: Instant) {
        let further = match want {
            Want::Request | Want::Head => want != self.want || moved.written > 0,
            _ => moved.read + moved.written > 0,
        };
        if further {
            self.since = now;
        }
        self.want = want;
        self.silence.note(want, moved, now);
        self.answered |= moved.written > 0;
    }

    /// The peer has taken bytes that were already in the socket.
    pub fn progress(&mut self, now: Instant) {
        self.since = now;
    }

    /// A peer that has asked nothing yet was silent for this long before a worker looked. To learn that may
    /// cost a call, so it is asked for only when it matters.
    pub fn count_silence(&mut self, now: Instant, silence: impl FnOnce() -> Option<Duration>) {
        // `&& let` goes on only when the pattern fits.
        if !self.answered
            && self.want == Want::Request
            && let Some(since) = silence().and_then(|silence| now.checked_sub(silence))
        {
            self.since = self.since.min(since);
        }
    }

    /// The server was asked to stop.
    pub fn stop(&mut self, now: Instant) {
        self.stop.get_or_insert(now);
    }

    /// The next deadline.
    pub fn deadline(&self) -> Instant {
        let limit = match self.want {
            Want::Head => self.limits.head,
            _ => self.limits.idle,
        };
        let end = self.since + limit;
        let others = [self.drain_deadline(), self.silence.end()];
        others.into_iter().flatten().fold(end, Instant::min)
    }

    /// From when on the peer has been idle for long enough to give way to connections that wait; `None`: it
    /// is not idle.
    pub fn gives_way_at(&self) -> Option<Instant> {
        let pause = if self.answered { KEPT } else { FRESH };
        // `then`: `Some` of it when the condition is true, otherwise `None`.
        (self.want == Want::Request).then(|| self.since + pause)
    }

    /// When the connection is closed without a reply, because the server stops; `None`: it does not stop.
    pub fn drain_deadline(&self) -> Option<Instant> {
        self.stop.map(|stop| stop + self.limits.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: ByteCounts = ByteCounts { read: 1, written: 0 };
    const SENT: ByteCounts = ByteCounts { read: 0, written: 9 };
    const BOTH: ByteCounts = ByteCounts { read: 9, written: 9 };
    const NOTHING: ByteCounts = ByteCounts { read: 0, written: 0 };

    /// Limits of 30 s idle, 10 s for a head, 5 s of grace; times are seconds after `start`.
    fn fresh(start: Instant) -> Deadlines {
        let limits = Limits {
            idle: Duration::from_secs(30),
            head: Duration::from_secs(10),
            pause: None,
            grace: Duration::from_secs(5),
        };
        Deadlines::new(limits, start)
    }

    #[test]
    fn the_clock_knows_idle_head_and_grace() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = fresh(start);
        assert_eq!(deadlines.deadline(), at(30));
        let table = [
            (Want::Head, READ, 1, 11, "a head has begun"),
            (Want::Head, READ, 9, 11, "dripping does not prolong a head"),
            (Want::Head, BOTH, 10, 20, "after a reply this is a new head"),
            (Want::Request, SENT, 11, 41, "idle after a reply"),
            (Want::Request, READ, 30, 41, "empty lines are no request"),
            (Want::Body, READ, 12, 42, "a body has begun"),
            (Want::Body, NOTHING, 20, 42, "time alone is no progress"),
            (Want::Body, READ, 21, 51, "a byte is progress"),
        ];
        for (want, moved, now, deadline, why) in table {
            deadlines.note(want, moved, at(now));
            assert_eq!(deadlines.deadline(), at(deadline), "{why}");
        }
        deadlines.progress(at(25));
        assert_eq!(deadlines.deadline(), at(55), "bytes have left the socket");
        deadlines.stop(at(26));
        deadlines.stop(at(29));
        assert_eq!(deadlines.deadline(), at(31), "the grace begins once");
        assert_eq!(deadlines.drain_deadline(), Some(at(31)));
    }

    #[test]
    fn an_idle_connection_gives_way_after_a_pause() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = fresh(at(3));
        deadlines.note(Want::Request, NOTHING, at(3));
        assert_eq!(deadlines.gives_way_at(), Some(at(3) + FRESH));
        for (now, silence) in [(3, Some(1)), (3, None), (4, Some(1))] {
            deadlines.count_silence(at(now), || silence.map(Duration::from_secs));
        }
        let since = deadlines.gives_way_at().map(|at| at - FRESH);
        assert_eq!(since, Some(at(2)), "the time in the queue counts");
        deadlines.note(Want::Body, READ, at(15));
        assert_eq!(deadlines.gives_way_at(), None, "it is in the middle of a request");
        deadlines.note(Want::Request, SENT, at(16));
        assert_eq!(deadlines.gives_way_at(), Some(at(16) + KEPT));
        deadlines.count_silence(at(16), || panic!("it has asked already"));
    }
}
