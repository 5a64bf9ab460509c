//! What does the kernel give when it is mean? A library that is loaded in front of the C library (ld.so(8)) and gives
//! less than was asked for. It is compiled by rustc when a promise needs it, and acts in servers and balancers alone.
//!
//! SHORTEN=yes: of four calls that move bytes, three move at most 7, and every 16th is interrupted (EINTR).
//! PANIC=word: a `recv` that brings this word claims to have brought more than there was room for, so that the
//! program panics where it looks at the bytes.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn __errno_location() -> *mut c_int;
}

const EINTR: c_int = 4;

/// Numbers of system calls of x86-64 (syscalls(2)).
#[cfg(target_arch = "x86_64")]
mod number {
    pub const READ: i64 = 0;
    pub const WRITE: i64 = 1;
    pub const SENDFILE: i64 = 40;
    pub const SENDTO: i64 = 44;
    pub const RECVFROM: i64 = 45;
    pub const SPLICE: i64 = 275;
}

/// What the program under test was told; `None`: nothing, or this is another program.
fn setting(name: &str) -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let command = std::env::args().nth(1)?;
    let is_ours = program.file_name()?.to_str()? == "kolam" && ["serve", "balance"].contains(&command.as_str());
    std::env::var(name).ok().filter(|_| is_ours)
}

fn shortens() -> bool {
    static SHORTEN: OnceLock<bool> = OnceLock::new();
    *SHORTEN.get_or_init(|| setting("SHORTEN").is_some())
}

/// What a call may move of so many bytes; `None`: it is interrupted.
fn allowed(count: usize) -> Option<usize> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // A single byte wakes the program in a signal handler, where a call cannot be made again.
    if count <= 1 || !shortens() {
        return Some(count);
    }
    let call = CALLS.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    match call % 16 {
        0 => None,
        1 | 5 | 9 | 13 => Some(count),
        other => Some(count.min(1 + (call as usize / 16 + other as usize) % 7)),
    }
}

fn interrupted() -> isize {
    // SAFETY: the C library gives each thread such a place.
    unsafe { *__errno_location() = EINTR };
    -1
}

#[unsafe(no_mangle)]
unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, count: usize) -> isize {
    match allowed(count) {
        // SAFETY: the caller has room for `count` bytes.
        Some(count) => unsafe { syscall(number::READ, fd, buffer, count) as isize },
        None => interrupted(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, count: usize) -> isize {
    // A log line is one write: the program knows no other way to keep it whole.
    let given = if fd <= 2 { Some(count) } else { allowed(count) };
    match given {
        // SAFETY: the caller has `count` bytes.
        Some(count) => unsafe { syscall(number::WRITE, fd, buffer, count) as isize },
        None => interrupted(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recv(fd: c_int, buffer: *mut c_void, count: usize, flags: c_int) -> isize {
    let (none, no_length) = (std::ptr::null_mut::<c_void>(), std::ptr::null_mut::<c_uint>());
    let Some(count) = allowed(count) else {
        return interrupted();
    };
    // SAFETY: the caller has room for `count` bytes; no address is wanted.
    let taken = unsafe { syscall(number::RECVFROM, fd, buffer, count, flags, none, no_length) as isize };
    static PANIC: OnceLock<Option<String>> = OnceLock::new();
    let word = PANIC.get_or_init(|| setting("PANIC"));
    match (word, usize::try_from(taken)) {
        (Some(word), Ok(taken)) => {
            // SAFETY: the call has written so many bytes there.
            let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), taken) };
            let is_there = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            if is_there { count as isize + 1 } else { taken as isize }
        }
        _ => taken,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn send(fd: c_int, buffer: *const c_void, count: usize, flags: c_int) -> isize {
    let none = std::ptr::null::<c_void>();
    match allowed(count) {
        // SAFETY: the caller has `count` bytes; no address is given.
        Some(count) => unsafe { syscall(number::SENDTO, fd, buffer, count, flags, none, 0) as isize },
        None => interrupted(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile(to: c_int, from: c_int, offset: *mut i64, count: usize) -> isize {
    match allowed(count) {
        // SAFETY: the offset is null or the caller's.
        Some(count) => unsafe { syscall(number::SENDFILE, to, from, offset, count) as isize },
        None => interrupted(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile64(to: c_int, from: c_int, offset: *mut i64, count: usize) -> isize {
    // SAFETY: the same function on this machine.
    unsafe { sendfile(to, from, offset, count) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn splice(
    from: c_int,
    from_offset: *mut i64,
    to: c_int,
    to_offset: *mut i64,
    count: usize,
    flags: c_uint,
) -> isize {
    match allowed(count) {
        // SAFETY: the offsets are null or the caller's.
        Some(count) => unsafe {
            syscall(number::SPLICE, from, from_offset, to, to_offset, count, flags) as isize
        },
        None => interrupted(),
    }
}
