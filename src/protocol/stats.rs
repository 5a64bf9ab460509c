//! What has this server done so far? STATS is no verb of the course: other servers do not know it, and no
//! client needs it to move a file. The stress test asks it for the columns of the server.

use super::{FileSession, Refusal, Reply};
use crate::stats::Field;

impl FileSession {
    /// `STATS` → the totals of the scoreboard, and `served` and `failed` of each worker
    pub(super) fn stats(&mut self) -> Result<Reply, Refusal> {
        self.request_log.request("STATS", b"");
        let scoreboard = self.request_log.scoreboard();
        let (served, failed) = (scoreboard.total(Field::Served), scoreboard.total(Field::Failed));
        let counts = [
            ("workers", scoreboard.workers as u64),
            ("alive", scoreboard.alive() as u64),
            ("restarts", scoreboard.total(Field::Restarts)),
            ("connections", scoreboard.total(Field::Connections)),
            ("requests", served + failed),
            ("failed", failed),
            ("bytes_in", scoreboard.total(Field::BytesIn)),
            ("bytes_out", scoreboard.total(Field::BytesOut)),
        ];
        Ok(Reply::ok(0, |w| {
            w.key("data");
            w.open(b'{');
            w.pair("mode", scoreboard.mode);
            for (key, count) in counts {
                w.key(key);
                w.number(count);
            }
            w.key("per_worker");
            w.open(b'[');
            for index in 0..scoreboard.workers {
                w.open(b'{');
                for (key, field) in [("served", Field::Served), ("failed", Field::Failed)] {
                    w.key(key);
                    w.number(scoreboard.of_worker(index, field));
                }
                w.close(b'}');
            }
            w.close(b']');
            w.close(b'}');
        }))
    }
}
