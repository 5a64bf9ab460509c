//! # Chapter 9. How does a server begin to listen, and how does it end a connection well?
//!
//! What std calls a `TcpListener` and a `TcpStream` leaves two things open. How many connections may wait in
//! the kernel until they are accepted: that is the backlog. And what happens to the last reply when a
//! connection is closed while its peer is still sending: for that there is the lingering close.
//!
//! The invariant: options that are set on a listener here are inherited by all connections that it accepts.
//!
//! What must not live here: what is spoken on a connection, and who serves it.
//!
//! before: `sys.rs` … after: `store.rs`
//!
//! Experiment: set `BACKLOG` to 1, start `kolam serve --mode single`, and open five connections at once.

mod linger; // closing so that the reply arrives

pub use linger::{DRAIN_PAUSE, LINGER_IDLE, LINGER_LIMIT, LingerSet, Lingering, linger_queue};

use crate::sys;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

/// Connections that may wait in the kernel until a worker accepts them (listen(2)). `bind` gives 128, too few
/// for a burst.
pub const BACKLOG: i32 = 4096;

/// A listener on `address` that never blocks. `send_buffer`: bytes that may wait to be sent in each
/// connection; `None`: the kernel decides.
pub fn listen(address: SocketAddr, send_buffer: Option<i32>) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    sys::set_backlog(&listener, BACKLOG)?;
    if let Some(bytes) = send_buffer {
        sys::set_send_buffer(listener.as_fd(), bytes)?;
    }
    listener.set_nonblocking(true)?;
    // Data is written whole, so waiting for more to send (Nagle's algorithm) could only delay it. Accepted
    // connections inherit the option, which saves a call for each; std knows it only on streams.
    let listener = TcpStream::from(OwnedFd::from(listener));
    listener.set_nodelay(true)?;
    Ok(TcpListener::from(OwnedFd::from(listener)))
}
