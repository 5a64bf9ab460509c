//! What has this server done so far? STATS is no verb of the course: other servers do not know it, and no
//! client needs it to move a file. The stress test asks it for the columns of the server.

use super::{FileSession, Refusal, Reply};

impl FileSession {
    /// `STATS` → the totals of the scoreboard, and what each worker has done and does
    pub(super) fn stats(&mut self) -> Result<Reply, Refusal> {
        self.request_log.request("STATS", b"");
        Ok(Reply::ok(0, |w| {
            w.key("data");
            self.request_log.write_pool(w);
        }))
    }
}
