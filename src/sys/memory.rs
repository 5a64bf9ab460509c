//! How do processes share counters? In a mapping made by the kernel before the fork.

use super::call::check;
use std::io;
use std::sync::atomic::AtomicU64;

/// `count` counters, all zero, shared with every process forked later. Given back when the process ends.
pub fn shared_counters(count: usize) -> io::Result<&'static [AtomicU64]> {
    let (length, access) = (count * size_of::<AtomicU64>(), libc::PROT_READ | libc::PROT_WRITE);
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs no existing memory.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, -1, 0) };
    check(at as isize)?;
    // SAFETY: the mapping is page-aligned, zeroed (a valid AtomicU64), long enough and never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), count) })
}
