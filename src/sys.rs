//! # Chapter 8. What does the standard library not offer?
//!
//! Forking, waiting for children, signals, waiting for several descriptors at once, sockets that never block,
//! files relative to an open folder, memory shared between processes, and a few meters: thin wrappers around
//! one or a few system calls each. Each part names its manual pages.
//!
//! The invariant: `check` turns every -1 into an `io::Error`, and every `unsafe` block says why it is sound.
//! `fork` asks its callers for something that no compiler checks, and says so: to have one thread only.
//!
//! What must not live here: decisions, such as what a signal means or when to restart a worker.
//!
//! before: `json.rs` … after: `net.rs`
//!
//! Experiment:
//! edit: let the signal handler set its flag, but write nothing to the self-pipe
//! run: cargo build -q --locked && timeout --foreground -k 3 2 cargo run -q -- serve --mode event --listen
//! 127.0.0.1:0 --root examples; echo "ended by $?"
//! see: ended by 137

mod call; // errno becomes an error
mod process;
mod signal;
mod stderr; // a log that nothing waits for
mod stop; // noticing the request to stop
mod renewal; // SIGHUP of a service
mod poll;
mod socket;
mod file;
mod beneath; // a name that leads out of its folder
mod memory;
mod unnamed; // a file in memory
mod epoll;
mod splice; // for http, balance and bench
mod passed; // a listener from a service manager
mod room; // on a terminal, on a disk
mod usage; // for stress, check and watchers
mod clock; // for traces

pub use clock::monotonic;
pub use epoll::Epoll;
pub use file::{
    O_CREAT, O_EXCL, O_RDONLY, O_WRONLY, is_regular, open_at, open_private_at, rename_at, stat_at, unlink_at,
};
pub use memory::shared_counters;
pub use passed::{is_passed_on, passed_listener, refuse_connections};
pub use poll::{Interest, poll};
pub use process::{Ended, Pid, die_with_parent, fork, kill, raise_descriptor_limit, reap, thread_cpu};
pub use renewal::SIGUSR2;
pub use room::{free_space, prefer_huge_pages, terminal_size};
pub use signal::{SIGCHLD, SIGKILL, SIGTERM};
pub use socket::{accept, set_backlog, set_send_buffer, silence, unsent};
pub use splice::{
    begin_connect, bound_unsent, raise_receive_buffer, reset_on_close, send_file, send_last, set_pipe_size,
    set_receive_buffer, splice,
};
pub use stderr::{RateLimiter, write_stderr};
pub use stop::{Listen, Stop};
pub use unnamed::file_in_memory;
pub use usage::{backlog, forget_peak, peak_memory, private_memory, processor_time, threads, unread};
