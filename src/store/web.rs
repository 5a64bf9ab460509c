//! What does only HTTP ask of the folder? A date of its own for each version of a file, by which caches know
//! it, and that no file changes between a check and a change.

use super::upload::{is_kept, temporary_name};
use super::{Error, Store};
use crate::sys;
use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a change waits for others that have conditions, too. Each holds the lock for the time of a
/// rename, with --sync for that of a flush.
const GUARD_WAIT: Duration = Duration::from_millis(250);

/// Pause between two attempts to lock.
const GUARD_PAUSE: Duration = Duration::from_millis(1);

/// A lock on the folder: a hidden file that only its owner may open. A lock on the folder itself could be
/// taken, and kept, by everyone who may read it (flock(2)). No process has the number in its name, 0.
pub struct Guard {
    store: Arc<Store>,
    name: String,
    _lock: File,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before the lock goes, with the file. An error has no receiver here; `sweep` tries again.
        let _ = sys::unlink_at(&self.store.dir, &self.name);
    }
}

impl Store {
    /// Largest file in bytes that may be put here; `None` when nothing may be changed.
    pub fn upload_limit(&self) -> Option<u64> {
        self.require_writable().ok().map(|()| self.policy.max_upload)
    }

    /// Is there a file of that name?
    pub fn has(&self, name: &str) -> bool {
        self.require_regular(name).is_ok()
    }

    /// Locks the folder against all other callers of `guard`, in any process, until the result is dropped:
    /// for a change that depends on the present content of a file. Other operations do not wait.
    pub fn guard(self: &Arc<Self>) -> Result<Guard, Error> {
        let end = Instant::now() + GUARD_WAIT;
        let name = temporary_name(0, 0);
        loop {
            let file = sys::open_private_at(&self.dir, &name)?;
            // Not kept: another guard holds it, or has just removed it.
            if is_kept(&file) {
                let store = self.clone();
                return Ok(Guard {
                    store,
                    name,
                    _lock: file,
                });
            }
            if Instant::now() > end {
                let error = "another request changes the folder; try again";
                return Err(Error::Exhausted(io::Error::other(error)));
            }
            thread::sleep(GUARD_PAUSE);
        }
    }

    /// The date of a version that replaces the file `name`: now, but later than the date of that file, and
    /// different from the date of every other version of this server. The kernel's own dates come from a
    /// clock that moves every few milliseconds, in which two versions of one length look the same.
    pub fn next_date(&self, name: &str) -> SystemTime {
        let replaced = fs::symlink_metadata(self.path_of(name)).and_then(|about| about.modified());
        later_date(self.dated, SystemTime::now(), replaced.unwrap_or(UNIX_EPOCH))
    }
}

/// `given` holds the newest dates that were given, in nanoseconds since 1970: by the clock, and after a date
/// in the future, so that one file of the future does not take all others there.
fn later_date(given: &[AtomicU64], now: SystemTime, replaced: SystemTime) -> SystemTime {
    let count = |date: SystemTime| date.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let earliest = count(now).max(count(replaced).saturating_add(1));
    let newest = &given[usize::from(earliest > count(now))];
    // One step, because several uploads may have looked at the same `replaced`.
    let later = |last: u64| earliest.max(last.saturating_add(1));
    let last = newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
    UNIX_EPOCH + Duration::from_nanos(last.map_or(earliest, later))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;
    use crate::store::tests::{open, put};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_guard_is_bounded_and_no_stranger_can_hold_it() {
        let folder = Folder::new();
        let store = open(&folder);
        // What everybody can lock who may read the folder.
        let stranger = File::open(folder.path()).unwrap();
        stranger.lock().unwrap();
        let held = store.guard().unwrap();
        let mode = fs::metadata(folder.path().join(&held.name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let begun = Instant::now();
        assert!(matches!(store.guard(), Err(Error::Exhausted(_))));
        assert!(begun.elapsed() >= GUARD_WAIT);
        drop(held);
        drop(store.guard().unwrap());
        assert!(folder.names().is_empty());
    }

    #[test]
    fn of_all_that_wait_one_has_the_guard() {
        let folder = Folder::new();
        let store = open(&folder);
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let Ok(_guard) = store.guard() else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(folder.names().is_empty());
    }

    #[test]
    fn each_version_has_a_date_of_its_own() {
        let folder = Folder::new();
        let store = open(&folder);
        let date = || store.read(b"a").unwrap().1.modified().unwrap();
        let started = SystemTime::now();
        let mut last = UNIX_EPOCH;
        for round in 0..200 {
            put(&store, "a", b"same").unwrap();
            assert!(date() > last, "round {round}");
            last = date();
        }
        assert!((started..=SystemTime::now()).contains(&last), "{last:?}");
        // A file of the future, or a clock that was set back.
        let future = last + Duration::from_secs(86_400);
        store.read(b"a").unwrap().0.set_modified(future).unwrap();
        put(&store, "a", b"same").unwrap();
        assert_eq!(date(), future + Duration::from_nanos(1));
        put(&store, "b", b"same").unwrap();
        let other = store.read(b"b").unwrap().1.modified().unwrap();
        assert!(other < future, "one name's future is not another's");
    }

    #[test]
    fn no_two_dates_are_the_same_however_many_commit_at_once() {
        let folder = Folder::new();
        let store = open(&folder);
        let future = SystemTime::now() + Duration::from_secs(86_400);
        for replaced in [UNIX_EPOCH, future] {
            let date = || later_date(store.dated, SystemTime::now(), replaced);
            let dates = || (0..2000).map(|_| date()).collect::<Vec<_>>();
            let all: Vec<SystemTime> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(dates)).collect();
                threads
                    .into_iter()
                    .flat_map(|thread| thread.join().unwrap())
                    .collect()
            });
            assert_eq!(
                all.iter().collect::<std::collections::HashSet<_>>().len(),
                8000,
                "{replaced:?}"
            );
            assert!(all.iter().all(|date| *date > replaced));
        }
    }
}
