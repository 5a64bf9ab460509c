//! What has a server done, in one line, when it has stopped? And how are guesses counted: a wrong token is a
//! request that has failed, and is counted once more by itself: many of them mean that a stranger guesses.

use super::{Field, RequestLog, Scoreboard};

impl RequestLog {
    /// The request in hand has shown a wrong token.
    pub fn token_refused(&self) {
        self.stats.add(Field::Refused, 1);
    }

    /// A log of the same connection for a session in front of the one that has this.
    pub fn another(&self) -> RequestLog {
        let (stats, peer, entry, shown) = (self.stats, self.peer, None, None);
        RequestLog {
            stats,
            peer,
            entry,
            shown,
        }
    }
}

impl Scoreboard {
    /// What a server has done that has stopped: requests that were still in hand count as failed.
    pub fn summary(&self) -> String {
        let failed = self.total(Field::Failed) + self.total(Field::Busy);
        format!(
            "connections {}, requests {}, failed {failed}, bytes in {}, bytes out {}{}",
            self.total(Field::Connections),
            self.total(Field::Served) + failed,
            self.total(Field::BytesIn),
            self.total(Field::BytesOut),
            self.refused_tokens(),
        )
    }

    /// Empty when there were none: most servers have no token.
    fn refused_tokens(&self) -> String {
        match self.total(Field::Refused) {
            0 => String::new(),
            count => format!(", refused tokens {count}"),
        }
    }
}
