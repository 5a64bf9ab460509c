//! What does a server know of a worker that takes the place of another? The scoreboard says when it is ready,
//! and is corrected when one has ended.

use crate::pool::RenewalHooks;
use crate::server::shared::Shared;
use crate::sys::Pid;
use std::sync::Arc;

impl RenewalHooks for Arc<Shared> {
    fn is_ready(&self, pid: Pid) -> bool {
        self.scoreboard.row_of(pid as u32).is_some()
    }

    fn on_renewed(&self, index: usize, old: Pid, new: Pid) {
        let retires = format!("process {old} finishes its connection and ends");
        self.note(&format!("worker {index} is now process {new}; {retires}"));
    }

    fn on_retired(&self, pid: Pid) {
        self.record_exit(pid);
    }
}

impl Shared {
    /// Corrects the counts of a process that has ended, however it did; one that was never ready has none.
    pub fn record_exit(&self, pid: Pid) {
        if let Some(row) = self.scoreboard.row_of(pid as u32) {
            row.record_exit();
        }
    }
}
