//! # Chapter 8. What does the standard library not offer?
//!
//! Forking, waiting for children, signals, waiting for several descriptors at once, sockets that never block,
//! files relative to an open folder, memory shared between processes, and a few meters: thin wrappers around
//! one or a few system calls each. Each part names its manual pages.
//!
//! The invariant: `check` turns every -1 into an `io::Error`, and every `unsafe` block says why it is sound.
//! One function asks its caller for something that no compiler checks, and says so: `fork`, for one thread.
//!
//! What must not live here: decisions, such as what a signal means or when to restart a worker.
//!
//! before: `json.rs` … after: `net.rs`
//!
//! Experiment: find the function behind each line of `strace -fe trace=process kolam serve --mode process`.

mod stop; // noticing the request to stop

pub use stop::{Listen, Stop};

mod process;
mod signal;
mod poll;
mod epoll;
mod socket;
mod file;
mod memory;
mod terminal;

pub use epoll::Epoll;
pub use file::{
    O_CREAT, O_EXCL, O_RDONLY, O_WRONLY, free_space, is_regular_at, open_at, rename_at, unlink_at,
};
pub use memory::{prefer_huge_pages, shared_counters};
pub use poll::{Interest, poll};
pub use process::{Ended, Pid, die_with_parent, fork, kill, raise_descriptor_limit, reap, thread_cpu};
pub use signal::{Action, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGXFSZ};
pub use signal::{exit_now, is_ignored, on_signal, wake};
pub use socket::{
    accept, begin_connect, refuse_connections, reset_on_close, send_file, send_last, set_backlog,
    set_pipe_size, set_send_buffer, silence, splice, unsent,
};
pub use terminal::terminal_columns;

use std::io;

/// The convention of nearly all system calls, whatever integer they return: -1 means "look at errno".
fn check<T: From<i8> + PartialEq>(result: T) -> io::Result<T> {
    if result == T::from(-1) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
