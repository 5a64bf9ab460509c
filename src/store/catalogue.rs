//! What does the folder hold, in order? Sorting needs all names at once, so there is one list for each order,
//! and all workers share it, threads or processes: a file in memory, made before the first fork. A reader
//! keeps the last name that it has had, never a list: memory follows the folder, not the folder times its
//! readers.

use super::{Error, Store, check_name};
use crate::sys;
use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    /// Compares keys and names. Keys of sizes and dates that descend are inverted, so that names ascend.
    fn compare(self, a: (u64, &str), b: (u64, &str)) -> Ordering {
        match self.column {
            Column::Name if self.descending => b.cmp(&a),
            _ => a.cmp(&b),
        }
    }
}

/// There is a list for each order.
const ORDERS: usize = 6;

/// Bytes of a list that are read at a time: as many files as a piece of the page shows. An entry is shorter.
const WINDOW: usize = 8 * 1024;

/// The newest list of one order, which all workers share. There are two locks. That of `file` is for many who
/// read the list, or one who writes it and the counters. To read the folder takes much longer, and needs that
/// of `building`: of many who ask at once one reads it, and the others wait for the result, but no listing
/// under way does. The lock of a worker that is killed goes with it, and a list that it has left half written
/// is made again.
///
/// ```text
/// file  = *entry                 ; in order
/// entry = key length name        ; 8 bytes, 1 byte, as many as it says
/// ```
pub struct List {
    /// Has no name; the lock is that of flock(2).
    file: File,
    /// Holds nothing. One for the lists of all orders.
    building: Arc<File>,
    /// When reading the folder for it began, on the clock of `now`, which is also its name. 0: there is none.
    begun: &'static AtomicU64,
    /// How many files it holds, and how many folders there are that are not hidden.
    files: &'static AtomicU64,
    folders: &'static AtomicU64,
    /// Listings under way. The file is emptied after the last, unless one was killed with its process.
    readers: &'static AtomicU64,
}

impl List {
    /// One for each order, all empty. Processes forked later share them.
    pub fn all() -> io::Result<Vec<List>> {
        let shared = sys::shared_counters(4 * ORDERS)?;
        let building = Arc::new(sys::file_in_memory()?);
        let lists = shared.chunks(4).map(|counters| {
            Ok(List {
                file: sys::file_in_memory()?,
                building: building.clone(),
                begun: &counters[0],
                files: &counters[1],
                folders: &counters[2],
                readers: &counters[3],
            })
        });
        lists.collect()
    }
}

/// The same file once more, to lock it: two who share an open file share its lock.
fn reopen(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).open(path)
}

/// Takes a lock, or turns the one that it has into another: `File::lock` alone, `File::lock_shared` with all
/// others that read.
fn lock(file: &File, kind: fn(&File) -> io::Result<()>) -> io::Result<()> {
    loop {
        match kind(file) {
            // A signal. Whoever has the lock needs it for the time of reading a folder at most.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Nanoseconds since the system started, on a clock that all processes share.
fn now() -> u64 {
    sys::monotonic().as_nanos() as u64
}

/// A file as it is sorted.
struct Found {
    /// Compared before the name: its first 8 bytes, which decide most comparisons; or the size in bytes, or
    /// the date in nanoseconds since 1970, from 0 to the year 2554, both inverted (`!`) if they descend.
    key: u64,
    /// Where the name begins in the text of all, and its bytes.
    start: usize,
    length: u8,
}

/// The key and the name of a file; `text` holds the names of all.
fn known<'t>(text: &'t str, found: &Found) -> (u64, &'t str) {
    let end = found.start + usize::from(found.length);
    (found.key, &text[found.start..end])
}

/// The first entry of a list: its key, its name, and what comes after it. `None`: not all of it is there.
fn first_entry(bytes: &[u8]) -> Option<(u64, &str, &[u8])> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (&length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(length.into())?;
    Some((u64::from_ne_bytes(*key), str::from_utf8(name).ok()?, rest))
}

/// What is known of a file at one moment.
pub struct About {
    /// Bytes.
    pub size: u64,
    pub modified: SystemTime,
}

impl Store {
    /// Begins to list the files that can be asked for: all that are there from now to the end of the listing.
    pub fn list(self: &Arc<Self>, order: Order) -> Result<Listing, Error> {
        let asked = now();
        let file = reopen(&self.list_of(order).file)?;
        self.list_of(order).readers.fetch_add(1, SeqCst);
        let mut listing = Listing {
            store: self.clone(),
            order,
            file,
            list_begun: 0,
            at: 0,
            last: None,
            files: 0,
            folders: 0,
        };
        // Reads nothing yet: makes the list, unless another has begun to make one after we asked.
        listing.read(asked, &mut [])?;
        Ok(listing)
    }

    fn list_of(&self, order: Order) -> &List {
        &self.lists[2 * order.column as usize + usize::from(order.descending)]
    }

    /// Puts what the folder holds in the place of the list, unless another has done so since `asked`. `file`,
    /// that of the list, may be locked after it.
    fn write_list(&self, order: Order, asked: u64, mut file: &File) -> io::Result<()> {
        let list = self.list_of(order);
        let building = reopen(&list.building)?;
        lock(&building, File::lock)?;
        if list.begun.load(SeqCst) >= asked {
            return Ok(());
        }
        let begun = now();
        let (text, mut found, folders) = self.find(order)?;
        found.sort_unstable_by(|a, b| order.compare(known(&text, a), known(&text, b)));
        lock(file, File::lock)?;
        list.begun.store(0, SeqCst);
        file.set_len(0)?;
        file.rewind()?;
        let mut out = BufWriter::new(file);
        for one in &found {
            let (key, name) = known(&text, one);
            out.write_all(&key.to_ne_bytes())?;
            out.write_all(&[one.length])?;
            out.write_all(name.as_bytes())?;
        }
        out.flush()?;
        list.files.store(found.len() as u64, SeqCst);
        list.folders.store(folders, SeqCst);
        list.begun.store(begun, SeqCst);
        Ok(())
    }

    /// The names of all files, one after the other, the files in the order of the folder, and how many
    /// folders there are. Files that vanish meanwhile are left out.
    fn find(&self, order: Order) -> io::Result<(String, Vec<Found>, u64)> {
        let (mut text, mut files, mut folders) = (String::new(), Vec::new(), 0);
        for entry in fs::read_dir(self.path_of(""))? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type());
            let name = name.as_bytes();
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                folders += u64::from(!name.starts_with(b"."));
            } else if kind.is_ok_and(|kind| kind.is_file())
                && let Ok(name) = check_name(name)
                && let Some(key) = self.key(name, order)
            {
                // NAME_LIMIT fits.
                let (start, length) = (text.len(), name.len() as u8);
                files.push(Found { key, start, length });
                text.push_str(name);
            }
        }
        Ok((text, files, folders))
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

/// The files of the folder in order, a few at a time. What comes, goes or changes its place meanwhile (by
/// size or date: each file that is written) may be there or not; by name, no file comes twice. A kernel may
/// leave out a file that is replaced while the folder is read: tmpfs does.
pub struct Listing {
    store: Arc<Store>,
    order: Order,
    /// That of the list, opened for this listing.
    file: File,
    /// Which list was read last: when that was begun.
    list_begun: u64,
    /// Offset in it of what has not been read yet.
    at: u64,
    /// Key and name of the file that came last.
    last: Option<(u64, String)>,
    /// How many files and visible folders there were at the beginning.
    pub files: u64,
    pub folders: u64,
}

impl Listing {
    /// Has it given a file yet?
    pub fn has_given(&self) -> bool {
        self.last.is_some()
    }

    /// Gives the next names to `take`, until it returns false: enough for now. Returns whether there may be
    /// more.
    pub fn advance(&mut self, mut take: impl FnMut(&str) -> bool) -> io::Result<bool> {
        let mut window = [0; WINDOW];
        loop {
            // Any list will do; there is none when its writer was killed.
            let read = self.read(1, &mut window)?;
            let mut rest = &window[..read];
            while let Some((key, name, after)) = first_entry(rest) {
                self.at += (rest.len() - after.len()) as u64;
                rest = after;
                if self.is_next(key, name) {
                    let last = self.last.get_or_insert_default();
                    last.0 = key;
                    name.clone_into(&mut last.1);
                    if !take(name) {
                        return Ok(true);
                    }
                }
            }
            if rest.len() == read {
                return Ok(false);
            }
        }
    }

    /// Has it not come yet? A newer list is read from its beginning.
    fn is_next(&self, key: u64, name: &str) -> bool {
        let comes_after =
            |last: &(u64, String)| self.order.compare((key, name), (last.0, &last.1)) == Ordering::Greater;
        self.last.as_ref().is_none_or(comes_after)
    }

    /// Fills `window` from the newest list. It is made first if there is none that was begun at `asked` or
    /// later. 0: there is no more.
    fn read(&mut self, asked: u64, window: &mut [u8]) -> io::Result<usize> {
        let read = self.lock_and_read(asked, window);
        self.file.unlock()?;
        read
    }

    /// The lock may be held when this fails, too.
    fn lock_and_read(&mut self, asked: u64, window: &mut [u8]) -> io::Result<usize> {
        let list = self.store.list_of(self.order);
        lock(&self.file, File::lock_shared)?;
        // Again and again: the last reader of a new list may have emptied it meanwhile.
        while list.begun.load(SeqCst) < asked {
            self.file.unlock()?;
            self.store.write_list(self.order, asked, &self.file)?;
            lock(&self.file, File::lock_shared)?;
        }
        if self.list_begun == 0 {
            (self.files, self.folders) = (list.files.load(SeqCst), list.folders.load(SeqCst));
        }
        let begun = list.begun.load(SeqCst);
        if self.list_begun != begun {
            (self.list_begun, self.at) = (begun, 0);
        }
        self.file.read_at(window, self.at)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let list = self.store.list_of(self.order);
        if list.readers.fetch_sub(1, SeqCst) > 1 {
            return;
        }
        // An error costs the memory of the list until the next one is written.
        if lock(&self.file, File::lock).is_ok() && list.readers.load(SeqCst) == 0 {
            list.begun.store(0, SeqCst);
            let _ = self.file.set_len(0);
        }
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
            if !more.unwrap() {
                return names;
            }
        }
    }

    /// A folder of these files, and a listing that has given the first of them.
    fn under_way(names: [&str; 3]) -> (Folder, Arc<Store>, Listing) {
        let folder = Folder::new();
        let store = open(&folder);
        names.iter().for_each(|name| folder.write(name, b""));
        let mut listing = store.list(BY_NAME).unwrap();
        assert!(listing.advance(|name| name != names[0]).unwrap());
        (folder, store, listing)
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
        let (folder, store, mut early) = under_way(["b", "d", "f"]);
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
        let list = store.list_of(BY_NAME);
        let kept = || list.file.metadata().unwrap().len();
        let mut readers: Vec<Listing> = (0..5).map(|_| store.list(BY_NAME).unwrap()).collect();
        assert_eq!(kept(), 10);
        folder.write("bc", b"");
        drop(store.list(BY_NAME).unwrap());
        assert_eq!(kept(), 21, "the newer one is in its place");
        for reader in &mut readers {
            assert_eq!((reader.files, rest(reader, 1).len()), (1, 2));
        }
        drop(readers);
        assert_eq!((kept(), list.readers.load(SeqCst)), (0, 0));
    }

    #[test]
    fn a_listing_under_way_does_not_wait_for_who_reads_the_folder() {
        let (_folder, store, mut listing) = under_way(["a", "b", "c"]);
        let building = reopen(&store.list_of(BY_NAME).building).unwrap();
        building.lock().unwrap();
        assert_eq!(rest(&mut listing, 1), ["b", "c"]);
    }

    #[test]
    fn a_list_that_a_killed_worker_has_left_is_made_again() {
        let (_folder, store, mut listing) = under_way(["a", "b", "c"]);
        let list = store.list_of(BY_NAME);
        for left in [0, 5, 13] {
            list.begun.store(0, SeqCst);
            list.file.set_len(left).unwrap();
            let mut other = store.list(BY_NAME).unwrap();
            assert_eq!(rest(&mut other, 2), ["a", "b", "c"], "{left} bytes");
        }
        list.begun.store(0, SeqCst);
        list.file.set_len(5).unwrap();
        assert_eq!(rest(&mut listing, 2), ["b", "c"]);
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
