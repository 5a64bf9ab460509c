//! How are the files of one form logged? Each has a line of its own, in front of that of its request.

use super::log::{RequestLog, log};
use std::net::SocketAddr;

impl RequestLog {
    /// For a request that brings several files, which only those of `http` can.
    pub fn files(&self) -> FileLog {
        FileLog {
            worker: self.worker(),
            peer: self.peer,
        }
    }
}

/// The files that one form of `http` brings, a line each: a search for a name in the log finds it. They are
/// not counted.
#[derive(Default)]
pub struct FileLog {
    worker: usize,
    /// `None`: nothing is logged.
    peer: Option<SocketAddr>,
}

impl FileLog {
    /// `worker 3 127.0.0.1:50312 FILE "a.bin" 1048576 bytes OK`; the line of the request follows later.
    pub fn stored(&self, name: &str, bytes: u64) {
        if let Some(peer) = self.peer {
            log(&format!(
                "worker {} {peer} FILE {name:?} {bytes} bytes OK",
                self.worker
            ));
        }
    }
}
