//! # Chapter 9. How does a server begin to listen, and how does it end a connection well?
//!
//! What std calls a `TcpListener` and a `TcpStream` leaves three things open. How many connections may wait
//! in the kernel until they are accepted: that is the backlog. What the errors of `accept` mean: none of them
//! ends a server. And what happens to the last reply when a connection is closed while its peer is still
//! sending: for that there is the lingering close.
//!
//! The invariant: nothing here waits for one peer; options that are set on a listener are inherited by all
//! connections that it accepts.
//!
//! What must not live here: what is spoken on a connection, and who serves it.
//!
//! before: `sys.rs` … after: `store.rs`
//!
//! Experiment:
//! edit: a connection is closed right after the half-close, without lingering
//! run: cargo test --locked --test it a_refusal_is_read
//! see: a_refusal_is_read_although_the_client_sends_on ... FAILED

mod linger; // closing so that the reply arrives
mod late; // a reply that waits (for the volume about services)

pub use linger::{LINGER_IDLE, LINGER_LIMIT, LingerQueue, LingerSet, Lingering};

use crate::sys;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Connections that may wait in the kernel until a worker accepts them (listen(2)). `bind` gives 128, too few
/// for a burst.
pub const BACKLOG: i32 = 4096;

/// How long an accept loop waits after descriptors have run out, since no event tells when one is free.
pub const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);

/// Where connections arrive.
pub struct Listener(TcpListener);

/// The result of one `accept`.
pub enum Accepted {
    Connection(TcpStream),
    WouldBlock,
    /// No descriptor or memory for one more connection.
    NoDescriptors(io::Error),
    /// The listener is closed.
    Closed,
}

impl Listener {
    /// Listens on `address`. `send_buffer`: bytes that may wait to be sent in each connection.
    pub fn bind(address: SocketAddr, send_buffer: i32) -> io::Result<Listener> {
        Listener::prepare(TcpListener::bind(address)?, send_buffer)
    }

    /// For a listener that is open already.
    pub fn prepare(listener: TcpListener, send_buffer: i32) -> io::Result<Listener> {
        sys::set_backlog(&listener, BACKLOG)?;
        sys::set_send_buffer(listener.as_fd(), send_buffer)?;
        listener.set_nonblocking(true)?;
        // Data is written whole, so waiting for more to send (Nagle's algorithm) could only delay it.
        // Accepted connections inherit the option, which saves a call for each; std knows it only on streams.
        let listener = TcpStream::from(OwnedFd::from(listener));
        listener.set_nodelay(true)?;
        Ok(Listener(TcpListener::from(OwnedFd::from(listener))))
    }

    /// The address, with the port that the kernel has chosen when port 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Accepts one connection, if one waits. It never blocks, and none of its errors should end a worker.
    pub fn accept(&self) -> Accepted {
        match sys::accept(&self.0) {
            Ok(stream) => Accepted::Connection(stream),
            Err(error) if is_shortage(&error) => Accepted::NoDescriptors(error),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Accepted::Closed,
            // None waits, another worker was faster, or the peer left while it waited (ECONNABORTED, EPROTO).
            Err(_) => Accepted::WouldBlock,
        }
    }

    /// Closes it to new connections, in all processes that share it, unless it was passed on.
    pub fn close(&self) {
        // It fails only when the listener is closed already.
        let _ = sys::refuse_connections(&self.0);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// No descriptor or no memory for one more socket: a fault of this process, not of the peer.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
