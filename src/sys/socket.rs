//! What can a socket do that std does not know of? Never wait, refuse, say how much is unsent.
//! listen(2), accept4(2), setsockopt(2), getsockopt(2).

use super::call::{check, filled};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::ptr;
use std::time::Duration;

/// Accepts a connection, without waiting; what it then does is non-blocking too.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (address, length) = (ptr::null_mut(), ptr::null_mut());
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no address is asked for; the new descriptor has no other owner.
    unsafe {
        let fd = check(libc::accept4(listener.as_raw_fd(), address, length, flags))?;
        Ok(TcpStream::from_raw_fd(fd))
    }
}

/// Raises the number of connections that may wait to be accepted; the kernel caps it at `somaxconn`.
pub fn set_backlog(listener: &TcpListener, connections: i32) -> io::Result<()> {
    // SAFETY: listen takes integers; calling it again on a listening socket only changes the limit.
    check(unsafe { libc::listen(listener.as_raw_fd(), connections) }).map(drop)
}

/// Bounds the bytes that wait in `socket` to be sent, which otherwise grow to several MiB (SO_SNDBUF,
/// socket(7)). The kernel doubles the figure for its own needs; accepted connections inherit it.
pub fn set_send_buffer(socket: BorrowedFd, bytes: i32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes)
}

pub(super) fn set_option<T>(socket: BorrowedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let (fd, place) = (socket.as_raw_fd(), ptr::from_ref(value).cast());
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is alive, of the length stated, and of the type that the two callers know.
    check(unsafe { libc::setsockopt(fd, level, option, place, length) }).map(drop)
}

/// How long ago `socket` received bytes; as long as there were none, how long ago it was connected, also
/// while it waited to be accepted (TCP_INFO, tcp(7)).
pub fn silence(socket: BorrowedFd) -> io::Result<Duration> {
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the structure is made of integers, for which zero is a value, and has the length stated.
    let info = unsafe {
        filled(|info: *mut libc::tcp_info| {
            let (fd, place) = (socket.as_raw_fd(), info.cast());
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, place, &mut length)
        })?
    };
    Ok(Duration::from_millis(info.tcpi_last_data_recv.into()))
}

/// Bytes written to `socket` that its peer has not acknowledged yet (SIOCOUTQ, tcp(7)).
pub fn unsent(socket: BorrowedFd) -> io::Result<i32> {
    // SAFETY: the call writes one integer; SIOCOUTQ has the number of TIOCOUTQ.
    unsafe { filled(|bytes| libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, bytes)) }
}
