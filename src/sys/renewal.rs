//! What does SIGHUP mean? To a program with a terminal: that it has closed. A service has none, and there the
//! signal asks for new workers. The sender does not tell which: a shell passes the hangup on to its jobs with
//! kill(2), as anyone may. So a program decides at its start: by whether it has a terminal.

use super::signal::wake;
use super::stop::{Stop, WAKE};
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

pub use libc::SIGUSR2;

/// Set by SIGHUP in a supervisor, by SIGUSR2 in a worker.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Runs in the middle of anything, like the handler of the request to stop.
pub extern "C" fn handle_renewal(_: libc::c_int) {
    REQUESTED.store(true, SeqCst);
    wake(WAKE.load(SeqCst));
}

/// Does this process have a terminal that can close? Then /dev/tty can be opened (tty(4)).
pub fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

impl Stop {
    /// A worker begins without the request that its supervisor had when it was forked.
    pub(super) fn forget_renewal() {
        REQUESTED.store(false, SeqCst);
    }

    /// In a supervisor: have new workers been asked for since the last call?
    pub fn take_renewal(self) -> bool {
        REQUESTED.swap(false, SeqCst)
    }

    /// In a worker: has another taken its place? Then it takes no more connections.
    pub fn is_retired(self) -> bool {
        REQUESTED.load(SeqCst)
    }
}
