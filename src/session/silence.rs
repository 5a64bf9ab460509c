//! Has a peer fallen silent? Only requests of the dialect `pause` end like that. The session itself knows no
//! time in this case either: the driver of its connection tells it of the silence (`Event::Silence`).

use crate::session::{ByteCounts, Event, Want};
use std::time::{Duration, Instant};

/// The silence of one peer, kept by its driver.
pub struct Silence {
    /// How long it is before it ends a request; `None`: no silence does.
    limit: Option<Duration>,
    /// What the session wanted after the last turn.
    want: Want,
    /// When the peer was last heard.
    since: Instant,
}

impl Silence {
    pub fn new(limit: Option<Duration>, now: Instant) -> Silence {
        Silence {
            limit,
            want: Want::Request,
            since: now,
        }
    }

    /// After a turn in which `moved` bytes crossed and the session came to want `want`.
    pub fn note(&mut self, want: Want, moved: ByteCounts, now: Instant) {
        self.want = want;
        if moved.read > 0 {
            self.since = now;
        }
    }

    /// When the request that has begun is over, unless more of it comes.
    pub fn end(&self) -> Option<Instant> {
        let begun = matches!(self.want, Want::Head | Want::Body);
        self.limit.filter(|_| begun).map(|limit| self.since + limit)
    }

    /// What a session is told when a deadline has passed at `now`: this one, or another.
    pub fn event(&self, now: Instant) -> Event {
        match self.end() {
            Some(end) if now >= end => Event::Silence,
            _ => Event::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_that_has_begun_is_ended_by_silence() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let read = ByteCounts { read: 1, written: 0 };
        let mut silence = Silence::new(Some(Duration::from_millis(50)), start);
        assert_eq!(silence.end(), None, "nothing has come");
        for (want, moved, now, end) in [
            (Want::Head, read, 10, Some(at(60))),
            (Want::Head, read, 40, Some(at(90))),
            (Want::Head, ByteCounts::default(), 70, Some(at(90))),
            (Want::Body, read, 80, Some(at(130))),
            (Want::Write, read, 90, None),
            (Want::Request, ByteCounts::default(), 95, None),
        ] {
            silence.note(want, moved, at(now));
            assert_eq!(silence.end(), end, "{want:?} at {now}");
        }
        silence.note(Want::Head, read, at(100));
        assert_eq!(silence.event(at(149)), Event::Timeout, "the head was too slow");
        assert_eq!(silence.event(at(150)), Event::Silence);
        let mut never = Silence::new(None, start);
        never.note(Want::Head, read, start);
        assert_eq!((never.end(), never.event(at(9999))), (None, Event::Timeout));
    }
}
