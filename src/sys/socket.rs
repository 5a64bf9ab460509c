//! What can a socket do that std does not know of? Never wait, send files, say how much is unsent.
//! listen(2), accept4(2), connect(2), send(2), shutdown(2), sendfile(2), splice(2), getsockopt(2).

use super::check;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::time::Duration;

/// Accepts a connection, without waiting; what it then does is non-blocking too.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (nowhere, flags) = (std::ptr::null_mut(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    // SAFETY: no address is asked for; the new descriptor has no other owner.
    unsafe {
        let fd = check(libc::accept4(
            listener.as_raw_fd(),
            nowhere,
            std::ptr::null_mut(),
            flags,
        ))?;
        Ok(TcpStream::from_raw_fd(fd))
    }
}

/// Begins to connect. A write, even of nothing, then tells how far it is: EAGAIN as long as it goes on.
pub fn begin_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let (family, length) = if to.is_ipv4() {
        (libc::AF_INET, 16)
    } else {
        (libc::AF_INET6, 28)
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
    let (nowhere, flags) = (
        std::ptr::null_mut(),
        libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE,
    );
    // SAFETY: no offsets are given; both descriptors are open.
    let moved = unsafe { libc::splice(from.as_raw_fd(), nowhere, to.as_raw_fd(), nowhere, count, flags) };
    check(moved).map(|count| count as usize)
}

/// Lets `pipe` hold this many bytes instead of 64 KiB (F_SETPIPE_SZ, fcntl(2)).
pub fn set_pipe_size(pipe: BorrowedFd, bytes: usize) -> io::Result<()> {
    // SAFETY: this fcntl takes integers.
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes as i32) }).map(drop)
}

/// Raises the number of connections that may wait to be accepted; the kernel caps it at `somaxconn`.
pub fn set_backlog(listener: &TcpListener, connections: i32) -> io::Result<()> {
    // SAFETY: listen takes integers; calling it again on a listening socket only changes the limit.
    check(unsafe { libc::listen(listener.as_raw_fd(), connections) }).map(drop)
}

/// Bounds the bytes that wait in `socket` to be sent, which otherwise grow to several MiB (SO_SNDBUF,
/// socket(7)). The kernel doubles the figure for its own needs; accepted connections inherit it.
pub fn set_send_buffer(socket: BorrowedFd, bytes: i32) -> io::Result<()> {
    set_option(socket, libc::SO_SNDBUF, &bytes)
}

/// Makes closing `socket` a reset, which no peer takes for an orderly end (SO_LINGER, socket(7)).
pub fn reset_on_close(socket: BorrowedFd) -> io::Result<()> {
    set_option(
        socket,
        libc::SO_LINGER,
        &libc::linger {
            l_onoff: 1,
            l_linger: 0,
        },
    )
}

fn set_option<T>(socket: BorrowedFd, option: i32, value: &T) -> io::Result<()> {
    let (value, length) = (
        std::ptr::from_ref(value).cast(),
        size_of::<T>() as libc::socklen_t,
    );
    // SAFETY: `value` is alive, of the length stated, and of the type that the two callers know.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) }).map(drop)
}

/// Refuses new connections at once, also in all other processes that share this listener.
pub fn refuse_connections(listener: &TcpListener) -> io::Result<()> {
    // SAFETY: shutdown takes integers; the descriptor is open.
    check(unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) }).map(drop)
}

/// How long ago `socket` received bytes; as long as there were none, how long ago it was connected, also
/// while it waited to be accepted (TCP_INFO, tcp(7)).
pub fn silence(socket: BorrowedFd) -> io::Result<Duration> {
    // SAFETY: the structure is made of integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let (place, mut length) = (
        (&raw mut info).cast(),
        size_of::<libc::tcp_info>() as libc::socklen_t,
    );
    // SAFETY: the call writes at most `length` bytes to `place`, and the length to a valid place.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            place,
            &mut length,
        )
    })?;
    Ok(Duration::from_millis(info.tcpi_last_data_recv.into()))
}

/// Bytes written to `socket` that its peer has not acknowledged yet (SIOCOUTQ, tcp(7)).
pub fn unsent(socket: BorrowedFd) -> io::Result<i32> {
    let mut bytes = 0;
    // SAFETY: the call writes one integer to a valid place; SIOCOUTQ has the number of TIOCOUTQ.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) })?;
    Ok(bytes)
}
