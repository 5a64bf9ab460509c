//! When did a worker take a connection? With `--trace` the log says so, in a line of its own, and all its
//! lines begin with the clock that the processes of a machine share instead of the date: what a client notes
//! by that clock can be laid beside them. Without it, one flag is looked at for each connection and line.

use super::WorkerStats;
use super::date::utc;
use super::log::log;
use crate::sys;
use std::net::SocketAddr;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;

/// Set before the first worker starts, so that forked ones have it too.
static TRACED: AtomicBool = AtomicBool::new(false);

/// From now on the log is a trace.
pub fn begin_trace() {
    TRACED.store(true, Relaxed);
}

/// What a line of the log begins with: the date, or the seconds of the shared clock.
pub fn stamp() -> String {
    match TRACED.load(Relaxed) {
        true => format!("{:.6}", sys::monotonic().as_secs_f64()),
        false => utc(SystemTime::now()),
    }
}

/// `12345.678901 worker 3 127.0.0.1:50312 taken by process 4242`; a connection that the server refuses has
/// no worker, and no line.
pub fn taken(stats: &WorkerStats, peer: Option<SocketAddr>) {
    if TRACED.load(Relaxed)
        && let (Some(peer), Some(worker)) = (peer, stats.worker())
    {
        log(&format!(
            "worker {worker} {peer} taken by process {}",
            process::id()
        ));
    }
}
