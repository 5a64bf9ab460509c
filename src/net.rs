//! # Chapter 10. How does a server begin to listen, and how does it end a connection well?
//!
//! What std calls a `TcpListener` and a `TcpStream` leaves two things open. How many connections may wait in
//! the kernel until somebody accepts them: that is the backlog. And what becomes of the last reply when a
//! connection is closed while its peer is still sending: that is the lingering close.
//!
//! The invariant: what a listener is told here, all connections that it accepts inherit.
//!
//! What must not live here: what is spoken on a connection, and who serves it.
//!
//! before: `protocol/transfer.rs` … after: `net/linger.rs`
//!
//! Experiment: set `BACKLOG` to 1, start `kolam serve --mode single`, and open five connections at once.

mod linger; // 10a closing so that the reply arrives

pub use linger::{LINGER_IDLE, LINGER_LIMIT, LingerSet, Lingering};

use crate::sys;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

/// Connections that may wait in the kernel until a worker accepts them (listen(2)). `bind` gives 128, too few
/// for a burst.
pub const BACKLOG: i32 = 4096;

/// A listener on `address` that never waits. `send_buffer`: bytes that may wait in each of its connections to
/// be sent, where the kernel is not to decide.
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
