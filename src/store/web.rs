//! What does only HTTP ask of the folder? All that it holds, with lengths and dates; a date of its own for
//! each version of a file, by which caches know it; and that no file changes between a check and a change.

use super::{Error, Store};
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the folder holds, for a page that shows it.
pub struct Catalogue {
    /// Files that can be asked for, sorted by the bytes of their names.
    pub files: Vec<(String, Metadata)>,
    /// How many folders there are that are not hidden. They cannot be asked for.
    pub folders: usize,
}

impl Store {
    /// Files that vanish meanwhile are left out.
    pub fn catalogue(&self) -> Result<Catalogue, Error> {
        let known = |(name, entry): (String, DirEntry)| Some((name, entry.metadata().ok()?));
        Ok(Catalogue {
            files: self.files()?.into_iter().filter_map(known).collect(),
            folders: fs::read_dir(self.path_of(""))?.filter(is_plain_folder).count(),
        })
    }

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
    pub fn guard(&self) -> Result<File, Error> {
        // A lock belongs to an open file, and forked workers share `dir`; so this is one of our own.
        let folder = File::open(self.path_of(""))?;
        folder.lock()?;
        Ok(folder)
    }

    /// The date of a version that replaces the file `name`: now, but later than the date of that file, and
    /// different from the date of every other version of this server. The kernel's own dates come from a
    /// clock that moves every few milliseconds, in which two versions of one length look the same.
    pub fn next_date(&self, name: &str) -> SystemTime {
        let replaced = fs::symlink_metadata(self.path_of(name)).and_then(|about| about.modified());
        later_date(self.dated, SystemTime::now(), replaced.unwrap_or(UNIX_EPOCH))
    }
}

fn is_plain_folder(entry: &io::Result<DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir())
    })
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

    #[test]
    fn a_page_shows_files_and_counts_folders_that_are_not_hidden() {
        let folder = Folder::new();
        let store = open(&folder);
        put(&store, "a", b"").unwrap();
        folder.write(".hidden", b"");
        folder.write("bad\\name", b"");
        fs::create_dir(folder.path().join("dir")).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        let catalogue = store.catalogue().unwrap();
        assert_eq!((catalogue.files.len(), catalogue.folders), (1, 1));
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
