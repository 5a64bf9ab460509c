//! Which clock do all processes of a machine share? One that counts from the start of the system and is never
//! set (CLOCK_MONOTONIC, clock_gettime(2)): two programs that note it can be compared to the microsecond.

use super::call::filled;
use std::time::Duration;

/// The time on that clock. `Instant` reads it too, but does not say what it has read.
pub fn monotonic() -> Duration {
    // SAFETY: the call writes one timespec, for which zeroes are valid.
    let time = unsafe { filled(|time| libc::clock_gettime(libc::CLOCK_MONOTONIC, time)) };
    // It fails only where there is no such clock; every Linux has it.
    time.map_or(Duration::ZERO, |time: libc::timespec| {
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    })
}
