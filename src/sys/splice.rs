//! What do only the volumes http, balance and bench ask of a socket? To connect without waiting, to send
//! without a copy. connect(2), send(2), sendfile(2), splice(2).

use super::call::check;
use super::socket::set_option;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};

/// Begins to connect. A write, even of nothing, then tells how far it is: EAGAIN as long as it goes on.
pub fn begin_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let (family, length) = match to {
        SocketAddr::V4(_) => (libc::AF_INET, 16),
        SocketAddr::V6(_) => (libc::AF_INET6, 28),
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // A sockaddr_in6, of whose 28 bytes a sockaddr_in uses the first 16: family, port, address; and scope.
    let mut address = [0; 28];
    address[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    address[2..4].copy_from_slice(&to.port().to_be_bytes());
    match to {
        SocketAddr::V4(to) => address[4..8].copy_from_slice(&to.ip().octets()),
        SocketAddr::V6(to) => {
            address[8..24].copy_from_slice(&to.ip().octets());
            address[24..].copy_from_slice(&to.scope_id().to_ne_bytes());
        }
    }
    // SAFETY: the new descriptor has no other owner; `address` is alive and not shorter than stated.
    unsafe {
        let stream = TcpStream::from_raw_fd(check(libc::socket(family, kind, 0))?);
        match check(libc::connect(stream.as_raw_fd(), address.as_ptr().cast(), length)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(stream),
        }
    }
}

/// Bounds the bytes that wait in `socket` to be read, which otherwise grow to several MiB (SO_RCVBUF,
/// socket(7)). The kernel doubles the figure for its own needs.
pub fn set_receive_buffer(socket: BorrowedFd, bytes: i32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes)
}

/// The same, later, with more bytes: the window would still keep to the old bound (TCP_WINDOW_CLAMP, tcp(7)).
pub fn raise_receive_buffer(socket: BorrowedFd, bytes: i32) -> io::Result<()> {
    set_receive_buffer(socket, bytes)?;
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, &(2 * bytes))
}

/// Lets `socket` take no more when this many of its bytes are not on their way yet, although its buffer has
/// room (TCP_NOTSENT_LOWAT, tcp(7)). Accepted connections inherit it.
pub fn bound_unsent(socket: BorrowedFd, bytes: i32) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &bytes)
}

/// Makes closing `socket` a reset, which no peer takes for an orderly end (SO_LINGER, socket(7)).
pub fn reset_on_close(socket: BorrowedFd) -> io::Result<()> {
    let now = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    set_option(socket, libc::SOL_SOCKET, libc::SO_LINGER, &now)
}

/// Sends the last bytes of a stream. The kernel holds them back until the half-close, which must come next,
/// and both travel in one packet (MSG_MORE).
pub fn send_last(socket: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
    let (start, flags) = (bytes.as_ptr().cast(), libc::MSG_NOSIGNAL | libc::MSG_MORE);
    // SAFETY: `bytes` is alive during the call.
    check(unsafe { libc::send(socket.as_raw_fd(), start, bytes.len(), flags) }).map(|count| count as usize)
}

/// Sends up to `count` bytes of `file` from `offset` on, without bringing them into this process.
pub fn send_file(socket: BorrowedFd, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let mut offset = offset as libc::off_t;
    // SAFETY: `offset` is valid for reading and writing; both descriptors are open.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &mut offset, count) };
    check(sent).map(|count| count as usize)
}

/// Moves up to `count` bytes from a socket into a pipe or out of a pipe into a socket, without waiting and
/// without bringing them into this process.
pub fn splice(from: BorrowedFd, to: BorrowedFd, count: usize) -> io::Result<usize> {
    let nowhere = std::ptr::null_mut();
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    // SAFETY: no offsets are given; both descriptors are open.
    let moved = unsafe { libc::splice(from.as_raw_fd(), nowhere, to.as_raw_fd(), nowhere, count, flags) };
    check(moved).map(|count| count as usize)
}

/// Lets `pipe` hold this many bytes instead of 64 KiB (F_SETPIPE_SZ, fcntl(2)).
pub fn set_pipe_size(pipe: BorrowedFd, bytes: usize) -> io::Result<()> {
    // SAFETY: this fcntl takes integers.
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes as i32) }).map(drop)
}
