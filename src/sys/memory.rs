//! How do processes share counters, and how does a large buffer cost less? With mappings made by the kernel.

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

/// Asks for pages of 2 MiB for memory that has not been touched yet (madvise(2), MADV_HUGEPAGE): to read
/// all of it then takes 512 times fewer address translations (TLB). A kernel that has none ignores it.
pub fn prefer_huge_pages(memory: &mut [u8]) {
    let start = memory.as_ptr().align_offset(4096);
    let Some(pages) = memory.get_mut(start..) else {
        return;
    };
    // SAFETY: the range belongs to `memory` and begins at a page; the advice changes no content.
    unsafe { libc::madvise(pages.as_mut_ptr().cast(), pages.len(), libc::MADV_HUGEPAGE) };
}
