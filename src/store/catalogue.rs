//! What does the folder hold, in order? Sorting needs all names at once, so there is one packed list of them
//! a process, from which all who ask read piece by piece. A reader keeps the last name that it has had, never
//! a list: memory follows the folder, not the folder times its readers, however slow they are.

use super::{Error, Store, check_name};
use crate::sys;
use std::cmp::Ordering;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What files are sorted by. All but names is for `http` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Name,
    Size,
    Date,
}

/// The order of a listing. Files of one size or date stand in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub column: Column,
    pub descending: bool,
}

/// The order of LIST: by the bytes of the names.
pub const BY_NAME: Order = Order {
    column: Column::Name,
    descending: false,
};

impl Order {
    fn compare(self, a: (u64, &str), b: (u64, &str)) -> Ordering {
        match self.column {
            Column::Name if self.descending => b.cmp(&a),
            _ => a.cmp(&b),
        }
    }
}

/// A file of a snapshot.
struct Entry {
    /// Compared before the name: its first 8 bytes, which decide most comparisons; or the size in bytes, or
    /// the date in nanoseconds since 1970, from 0 to the year 2554.
    key: u64,
    /// Where the name begins in the text of all, and its bytes.
    start: usize,
    length: u8,
}

/// The folder as it was read once. A file takes 24 bytes and those of its name.
struct Snapshot {
    /// When reading began.
    begun: Instant,
    order: Order,
    /// All names, one after the other, as they were found.
    text: String,
    /// Sorted.
    files: Vec<Entry>,
    /// How many folders there are that are not hidden. They cannot be asked for.
    folders: usize,
}

/// The key and the name of a file; `text` holds the names of all.
fn known<'t>(text: &'t str, entry: &Entry) -> (u64, &'t str) {
    let end = entry.start + usize::from(entry.length);
    (entry.key, &text[entry.start..end])
}

impl Snapshot {
    /// The first file after this one, which may be gone: its index.
    fn after(&self, (key, name): (u64, &str)) -> usize {
        self.files.partition_point(|entry| {
            self.order.compare(known(&self.text, entry), (key, name)) != Ordering::Greater
        })
    }
}

/// What all listings of one order read from while they are under way: the place of the newest snapshot. They
/// hold the place and not the snapshot, so that an older one is gone when a newer one takes its place.
type Newest = Mutex<Arc<Snapshot>>;

/// For each order the newest snapshot, as long as a listing reads from it. The lock is held while the folder
/// is read: of many who ask at once one reads, and the others wait for the result.
#[derive(Default)]
pub struct Snapshots([Mutex<Weak<Newest>>; 6]);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of a file at one moment.
pub struct About {
    /// Bytes.
    pub size: u64,
    pub modified: SystemTime,
}

impl Store {
    /// Begins to list the files that can be asked for, as they are now.
    pub fn list(&self, order: Order) -> Result<Listing, Error> {
        let asked = Instant::now();
        let column = 2 * order.column as usize;
        let mut slot = lock(&self.snapshots.0[column + usize::from(order.descending)]);
        let newest = match slot.upgrade() {
            // Another has read it while we waited for the lock, so it has all that was there when we asked.
            Some(newest) if lock(&newest).begun >= asked => newest,
            Some(newest) => {
                let snapshot = Arc::new(self.snapshot(order)?);
                *lock(&newest) = snapshot;
                newest
            }
            None => {
                let newest = Arc::new(Mutex::new(Arc::new(self.snapshot(order)?)));
                *slot = Arc::downgrade(&newest);
                newest
            }
        };
        drop(slot);
        let (files, folders) = {
            let snapshot = lock(&newest);
            (snapshot.files.len(), snapshot.folders)
        };
        Ok(Listing {
            newest,
            files,
            folders,
            last: None,
        })
    }

    /// Reads the folder. Files that vanish meanwhile are left out.
    fn snapshot(&self, order: Order) -> io::Result<Snapshot> {
        let begun = Instant::now();
        let (mut text, mut files, mut folders) = (String::new(), Vec::new(), 0);
        for entry in fs::read_dir(self.path_of(""))? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type());
            let name = name.as_bytes();
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                folders += usize::from(!name.starts_with(b"."));
            } else if kind.is_ok_and(|kind| kind.is_file())
                && let Ok(name) = check_name(name)
                && let Some(key) = self.key(name, order)
            {
                // NAME_LIMIT fits.
                let (start, length) = (text.len(), name.len() as u8);
                files.push(Entry { key, start, length });
                text.push_str(name);
            }
        }
        files.sort_unstable_by(|a, b| order.compare(known(&text, a), known(&text, b)));
        // They have grown by doubling.
        files.shrink_to_fit();
        text.shrink_to_fit();
        Ok(Snapshot {
            begun,
            order,
            text,
            files,
            folders,
        })
    }

    /// `None`: the file has vanished.
    fn key(&self, name: &str, order: Order) -> Option<u64> {
        let key = match order.column {
            Column::Name => {
                let mut first = [0; 8];
                let count = name.len().min(8);
                first[..count].copy_from_slice(&name.as_bytes()[..count]);
                return Some(u64::from_be_bytes(first));
            }
            Column::Size => self.about(name)?.size,
            Column::Date => {
                let since = self.about(name)?.modified.duration_since(UNIX_EPOCH);
                u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
            }
        };
        Some(if order.descending { !key } else { key })
    }

    /// `None`: there is no such file any more.
    pub fn about(&self, name: &str) -> Option<About> {
        let stat = sys::stat_at(&self.dir, name).ok().filter(sys::is_regular)?;
        // Dates before 1970 are shown as its first moment.
        let (seconds, nanoseconds) = (stat.st_mtime.max(0) as u64, stat.st_mtime_nsec as u32);
        Some(About {
            size: stat.st_size as u64,
            modified: UNIX_EPOCH + Duration::new(seconds, nanoseconds),
        })
    }
}

/// The files of the folder in order, a few at a time. What comes and goes meanwhile may be there or not; by
/// name, no file comes twice.
pub struct Listing {
    newest: Arc<Newest>,
    /// How many files and visible folders there were at the beginning.
    pub files: usize,
    pub folders: usize,
    /// Key and name of the file that came last.
    last: Option<(u64, String)>,
}

impl Listing {
    /// Has a file come yet?
    pub fn has_begun(&self) -> bool {
        self.last.is_some()
    }

    /// Gives the next names to `take`, until it returns false: enough for now. Returns whether there may be
    /// more.
    pub fn advance(&mut self, mut take: impl FnMut(&str) -> bool) -> bool {
        let snapshot = lock(&self.newest).clone();
        let from = match &self.last {
            None => 0,
            Some((key, name)) => snapshot.after((*key, name)),
        };
        for entry in &snapshot.files[from..] {
            let (key, name) = known(&snapshot.text, entry);
            if !take(name) {
                self.last = Some((key, name.to_owned()));
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;
    use crate::store::tests::{open, put};

    /// All that is left of a listing, `most` names at a time.
    pub fn rest(listing: &mut Listing, most: usize) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let mut room = most;
            let more = listing.advance(|name| {
                names.push(name.to_owned());
                room -= 1;
                room > 0
            });
            if !more {
                return names;
            }
        }
    }

    fn order(column: Column, descending: bool) -> Order {
        Order { column, descending }
    }

    #[test]
    fn files_are_listed_and_folders_counted_that_are_not_hidden() {
        let folder = Folder::new();
        let store = open(&folder);
        put(&store, "a", b"").unwrap();
        for name in [".hidden", "bad\\name"] {
            folder.write(name, b"");
        }
        for name in ["dir", ".git"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        let mut listing = store.list(BY_NAME).unwrap();
        assert_eq!((listing.files, listing.folders), (1, 1));
        assert_eq!(rest(&mut listing, 9), ["a"]);
    }

    #[test]
    fn each_order_holds_however_few_are_taken_at_a_time() {
        let folder = Folder::new();
        let store = open(&folder);
        let files = [
            ("c", 5, 2),
            ("longer than 8 b", 0, 2),
            ("longer than 8 a", 7, 1),
            ("longer", 5, 1),
            ("\u{e9}", 9, 3),
        ];
        for (name, size, second) in files {
            folder.write(name, &vec![b'x'; size]);
            let file = store.read(name.as_bytes()).unwrap().0;
            let date = UNIX_EPOCH + Duration::from_secs(second);
            file.set_modified(date).unwrap();
        }
        let table = [
            (Column::Name, false, [0, 3, 2, 1, 4]),
            (Column::Name, true, [4, 1, 2, 3, 0]),
            (Column::Size, false, [1, 0, 3, 2, 4]),
            (Column::Size, true, [4, 2, 0, 3, 1]),
            (Column::Date, false, [3, 2, 0, 1, 4]),
            (Column::Date, true, [4, 0, 1, 3, 2]),
        ];
        for (column, descending, indices) in table {
            for most in 1..=6 {
                let mut listing = store.list(order(column, descending)).unwrap();
                let expected = indices.map(|index| files[index].0);
                assert_eq!(
                    rest(&mut listing, most),
                    expected,
                    "{column:?} {descending} {most}"
                );
            }
        }
    }

    #[test]
    fn a_folder_that_changes_is_listed_in_order_and_without_repeats() {
        let folder = Folder::new();
        let store = open(&folder);
        for name in ["b", "d", "f"] {
            folder.write(name, b"");
        }
        let mut early = store.list(BY_NAME).unwrap();
        assert!(early.advance(|name| name != "b"));
        store.remove(b"b").unwrap();
        for name in ["a", "c"] {
            folder.write(name, b"");
        }
        // From here on both read from the newer list.
        let mut late = store.list(BY_NAME).unwrap();
        assert_eq!(rest(&mut early, 1), ["c", "d", "f"]);
        assert_eq!(rest(&mut late, 1), ["a", "c", "d", "f"]);
    }

    #[test]
    fn a_list_is_kept_once_and_only_while_it_is_read() {
        let folder = Folder::new();
        let store = open(&folder);
        folder.write("a", b"");
        let kept = || lock(&store.snapshots.0[0]).upgrade();
        let readers: Vec<Listing> = (0..5).map(|_| store.list(BY_NAME).unwrap()).collect();
        let newest = kept().unwrap();
        assert!(readers.iter().all(|reader| Arc::ptr_eq(&reader.newest, &newest)));
        let snapshot = Arc::downgrade(&lock(&newest));
        drop(store.list(BY_NAME).unwrap());
        assert!(snapshot.upgrade().is_none(), "the newer one is in its place");
        drop((readers, newest));
        assert!(kept().is_none());
    }

    #[test]
    fn many_who_ask_at_once_see_what_was_there_when_they_asked() {
        let folder = Folder::new();
        let store = open(&folder);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..50 {
                        let name = format!("{thread} {round}");
                        put(store, &name, b"").unwrap();
                        let mut listing = store.list(BY_NAME).unwrap();
                        assert!(rest(&mut listing, 7).contains(&name), "{name}");
                    }
                });
            }
        });
    }
}
