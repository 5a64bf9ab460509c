//! # Chapter 10. Which files may a stranger touch?
//!
//! One folder, its regular files, nothing else. The folder is opened once; every later step names a single
//! component relative to that open folder and never follows a symbolic link. So there is no path traversal,
//! and little room for TOCTOU (a change between a check and its use): what changes can only be another entry
//! of the same folder. Content arrives in a temporary file beside its target and takes the name in one step
//! when it is whole: readers see the old file or the new one, never half of one.
//!
//! ```text
//!   create ──► .kolam-<pid>-<n>-<seal>.tmp ──write, write, …──► commit: date it, rename over "a.bin"
//!                       └── dropped before commit (any error): the temporary file is removed
//! ```
//!
//! The invariant: whatever a peer sends, only names that pass `check_name` reach a system call, and a name
//! that begins with a dot never does; the temporary files live there. Without a request it removes only files
//! whose names this program alone gives.
//!
//! What must not live here: verbs, replies, sockets.
//!
//! before: `net.rs` … after: `stats.rs`
//!
//! Experiment: let `check_name` accept a slash, run `make test` and read which tests fail.

use crate::sys;
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, process};

/// Longest file name in bytes, as on every Linux file system (NAME_MAX, limits.h(0p)).
pub const NAME_LIMIT: usize = 255;

/// How the names of temporary files begin and end. No request can name them, because of the dot.
const TEMPORARY: (&str, &str) = (".kolam-", ".tmp");

/// What the owner of the folder allows.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Why nothing may be changed; `None`: changes are allowed.
    pub read_only: Option<&'static str>,
    /// Largest upload in bytes.
    pub max_upload: u64,
    /// Flush a file and its folder to the disk before an upload counts as done.
    pub sync: bool,
}

/// Why the store refuses; the text is the reason in the reply.
#[derive(Debug)]
pub enum Error {
    InvalidName(&'static str),
    NotFound,
    NotRegular,
    /// The limit in bytes.
    TooLarge(u64),
    Full,
    Denied(&'static str),
    Io(io::Error),
    /// No descriptor or no memory is free; a moment later there may be one.
    Exhausted(io::Error),
    /// The new file is in place, but its folder could not be flushed. OK would promise that it is on the
    /// disk; an error would mean that the old file is still there.
    Uncertain(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidName(why) => write!(f, "invalid file name: {why}"),
            Error::NotFound => write!(f, "file not found"),
            Error::NotRegular => write!(f, "not a regular file"),
            Error::TooLarge(limit) => {
                write!(f, "file too large: more than --max-upload {}", exact_size(*limit))
            }
            Error::Full => write!(f, "storage full"),
            Error::Denied(why) => write!(f, "permission denied: {why}"),
            Error::Io(error) | Error::Exhausted(error) | Error::Uncertain(error) => {
                write!(f, "storage error: {error}")
            }
        }
    }
}

/// A limit as a user would write it, never rounded: `1 GiB`, `300 KiB`; in bytes when it is no whole number
/// of any unit.
fn exact_size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift))
    {
        Some((shift, name)) => format!("{} {name}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Error::NotFound,
            Some(libc::ELOOP | libc::EISDIR | libc::ENXIO | libc::ENODEV) => Error::NotRegular,
            Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Error::Full,
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Error::Denied("by the file system"),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Error::Exhausted(error),
            _ => Error::Io(error),
        }
    }
}

/// name = 1*255OCTET ; UTF-8, no leading ".", no "/", "\" or control character
pub fn check_name(name: &[u8]) -> Result<&str, Error> {
    let refuse = |why| Err(Error::InvalidName(why));
    let Ok(name) = str::from_utf8(name) else {
        return refuse("not UTF-8");
    };
    match name {
        "" => refuse("empty"),
        _ if name.len() > NAME_LIMIT => refuse("longer than 255 bytes"),
        _ if name.starts_with('.') => refuse("begins with a dot"),
        _ if name.contains(['/', '\\']) => refuse("contains a slash or backslash"),
        _ if name.contains(char::is_control) => refuse("contains a control character"),
        _ => Ok(name),
    }
}

/// What the folder holds, for a page that shows it.
pub struct Catalogue {
    /// Files that can be asked for, sorted by the bytes of their names.
    pub files: Vec<(String, Metadata)>,
    /// How many folders there are that are not hidden. They cannot be asked for.
    pub folders: usize,
}

/// The served folder.
pub struct Store {
    /// The folder itself, open; all names are relative to it.
    dir: File,
    policy: Policy,
    /// Numbers the temporary files of this process.
    uploads: AtomicU64,
    /// Newest date that was given, in nanoseconds since 1970; shared by forked workers. First by the clock,
    /// then to a version that replaced one with a date in the future: other files keep the clock's time.
    dated: &'static [AtomicU64],
}

impl Store {
    /// Opens the folder `root`, making it when it is missing, and removes what dead servers left in it.
    pub fn open(root: &Path, policy: Policy) -> io::Result<Store> {
        let made = fs::create_dir_all(root);
        let dir = File::open(root).map_err(|error| match made {
            // It is not there because it could not be made: why?
            Err(cause) if error.kind() == io::ErrorKind::NotFound => cause,
            _ => error,
        })?;
        if !dir.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let store = Store {
            dir,
            policy,
            uploads: AtomicU64::new(0),
            dated: sys::shared_counters(2)?,
        };
        if store.policy.read_only.is_none() {
            store.probe()?;
            store.sweep(None)?;
        }
        Ok(store)
    }

    /// Finds out at start, not at the first upload, whether files can be made here.
    fn probe(&self) -> io::Result<()> {
        let (name, _file) = self.create_temporary()?;
        self.discard(&name)
    }

    /// Removes a temporary file. It is no error if another process has removed it.
    fn discard(&self, name: &str) -> io::Result<()> {
        match sys::unlink_at(&self.dir, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Removes temporary files that no living process holds: all, or those that process `owner` left.
    pub fn sweep(&self, owner: Option<u32>) -> io::Result<()> {
        for (name, _) in self.entries()?.0 {
            let left_by = owner_of(&name);
            if left_by.is_none() || owner.is_some_and(|owner| left_by != Some(owner)) {
                continue;
            }
            // A living upload holds a lock on its file, also when it belongs to another server.
            if let Ok(file) = sys::open_at(&self.dir, &name, sys::O_WRONLY)
                && file.try_lock().is_ok()
            {
                self.discard(&name)?;
            }
        }
        Ok(())
    }

    /// The regular files in the folder, as far as their names are UTF-8, and how many folders are not hidden.
    fn entries(&self) -> io::Result<(Vec<(String, DirEntry)>, usize)> {
        // The open folder, not its path: the path may lead elsewhere by now.
        let dir = format!("/proc/self/fd/{}", self.dir.as_raw_fd());
        let (mut names, mut folders) = (Vec::new(), 0);
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders += usize::from(!entry.file_name().as_encoded_bytes().starts_with(b"."));
            } else if kind.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push((name, entry));
            }
        }
        Ok((names, folders))
    }

    /// Those that can be asked for, sorted by the bytes of their names, and the number of folders.
    fn public(&self) -> io::Result<(Vec<(String, DirEntry)>, usize)> {
        let (mut entries, folders) = self.entries()?;
        entries.retain(|(name, _)| check_name(name.as_bytes()).is_ok());
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok((entries, folders))
    }

    /// Names that can be asked for, sorted by bytes. An answer that grows with the folder.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.public()?.0.into_iter().map(|(name, _)| name).collect())
    }

    /// The same with what is known of each file. Those that vanish meanwhile are left out.
    pub fn catalogue(&self) -> Result<Catalogue, Error> {
        let (entries, folders) = self.public()?;
        let files = entries
            .into_iter()
            .filter_map(|(name, entry)| Some((name, entry.metadata().ok()?)));
        Ok(Catalogue {
            files: files.collect(),
            folders,
        })
    }

    /// Largest file in bytes that may be put here; `None` when nothing may be changed.
    pub fn upload_limit(&self) -> Option<u64> {
        self.policy.read_only.is_none().then_some(self.policy.max_upload)
    }

    /// Opens a file for reading; returns it with what is known of it at this moment.
    pub fn read(&self, name: &[u8]) -> Result<(File, Metadata), Error> {
        let name = check_name(name)?;
        self.require_regular(name)?;
        let file = sys::open_at(&self.dir, name, sys::O_RDONLY)?;
        let about = file.metadata()?;
        // Check the open file too: the name may lead to another file since the first check.
        if about.is_file() {
            Ok((file, about))
        } else {
            Err(Error::NotRegular)
        }
    }

    /// Opening a device can have effects, so we check before we open.
    fn require_regular(&self, name: &str) -> Result<(), Error> {
        if sys::is_regular_at(&self.dir, name)? {
            Ok(())
        } else {
            Err(Error::NotRegular)
        }
    }

    /// May anything be changed here?
    pub fn require_writable(&self) -> Result<(), Error> {
        self.policy
            .read_only
            .map_or(Ok(()), |why| Err(Error::Denied(why)))
    }

    /// Locks the folder against all other callers of `guard`, in any process, until the result is dropped:
    /// for a change that depends on the present content of a file. Other operations do not wait.
    pub fn guard(&self) -> Result<File, Error> {
        // A lock belongs to an open file, and forked workers share `dir`; so this is one of our own.
        let folder = File::open(format!("/proc/self/fd/{}", self.dir.as_raw_fd()))?;
        folder.lock()?;
        Ok(folder)
    }

    /// Begins an upload of `name`.
    pub fn create(self: &Arc<Self>, name: &[u8]) -> Result<Upload, Error> {
        let name = check_name(name)?;
        self.require_writable()?;
        match self.require_regular(name) {
            Ok(()) | Err(Error::NotFound) => {}
            Err(other) => return Err(other),
        }
        let (temporary, file) = self.create_temporary().map_err(missing_folder)?;
        let (store, name) = (self.clone(), name.to_owned());
        let upload = Upload {
            store,
            name,
            temporary,
            file,
            size: 0,
        };
        // Says "in use" to `sweep`. Where locks do not work, the upload works all the same, as long as no
        // other server starts on the same folder meanwhile.
        let _ = upload.file.try_lock();
        Ok(upload)
    }

    /// A new file under an unused name: servers in different containers may have the same process id.
    fn create_temporary(&self) -> io::Result<(String, File)> {
        loop {
            let name = temporary_name(process::id(), self.uploads.fetch_add(1, Ordering::Relaxed));
            match sys::open_at(&self.dir, &name, sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return Ok((name, other?)),
            }
        }
    }

    /// The date of a version that replaces one with the date `replaced`: now, but later than that one, and
    /// different from the date of every other version of this server. The kernel's own dates come from a
    /// clock that moves every few milliseconds, in which two versions of one length look the same.
    fn next_date(&self, replaced: Option<SystemTime>) -> SystemTime {
        let count = |date: SystemTime| {
            date.duration_since(UNIX_EPOCH)
                .map_or(0, |age| age.as_nanos() as u64)
        };
        let now = count(SystemTime::now());
        let earliest = replaced
            .map_or(0, |replaced| count(replaced).saturating_add(1))
            .max(now);
        let counter = &self.dated[usize::from(earliest > now)];
        // One step, because several uploads may have looked at the same `replaced`.
        let later = |last: u64| earliest.max(last.saturating_add(1));
        let last = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
        UNIX_EPOCH + Duration::from_nanos(last.map_or(earliest, later))
    }

    /// When the file `name` last changed, if there is one.
    fn date_of(&self, name: &str) -> Option<SystemTime> {
        let path = format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd());
        fs::symlink_metadata(path).ok()?.modified().ok()
    }

    /// Deletes `name`.
    pub fn remove(&self, name: &[u8]) -> Result<(), Error> {
        let name = check_name(name)?;
        self.require_writable()?;
        self.require_regular(name)?;
        Ok(sys::unlink_at(&self.dir, name)?)
    }
}

/// A new file is not found only when its folder is gone; `file not found` would mislead.
fn missing_folder(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::Io(io::Error::other("the served folder has been removed")),
        _ => error.into(),
    }
}

/// temporary = ".kolam-" pid "-" number "-" seal ".tmp"
fn temporary_name(pid: u32, number: u64) -> String {
    let front = format!("{}{pid}-{number}", TEMPORARY.0);
    let seal = seal(&front);
    format!("{front}-{seal:016x}{}", TEMPORARY.1)
}

/// A checksum of the rest of the name (FNV-1a, 64 bits). No user writes it by chance, so a file with the
/// right one is ours and a user's own `.kolam-1-1.tmp` is not. It costs no system call, and the file system
/// needs to keep nothing but names.
fn seal(front: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    front.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The process that made the temporary file `name`; `None`: it is none of ours.
pub fn owner_of(name: &str) -> Option<u32> {
    let inner = name.strip_prefix(TEMPORARY.0)?.strip_suffix(TEMPORARY.1)?;
    let mut words = inner.split('-');
    let (pid, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // Written anew it must be the same: seal, no leading zeros, nothing more.
    (temporary_name(pid, number) == name).then_some(pid)
}

/// A file on its way into the store.
pub struct Upload {
    store: Arc<Store>,
    /// The name that it will have.
    name: String,
    /// The name that it has now; empty once it is committed.
    temporary: String,
    file: File,
    /// Bytes written so far.
    size: u64,
}

impl Upload {
    /// May the file have `size` bytes?
    pub fn require_room(&self, size: u64) -> Result<(), Error> {
        let limit = self.store.policy.max_upload;
        if size > limit {
            Err(Error::TooLarge(limit))
        } else {
            Ok(())
        }
    }

    /// Appends `bytes`, as long as the whole stays within the limit.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.size += bytes.len() as u64;
        self.require_room(self.size)?;
        Ok(self.file.write_all(bytes)?)
    }

    /// Is there a file of that name already?
    pub fn replaces(&self) -> bool {
        self.store.require_regular(&self.name).is_ok()
    }

    /// The name that it will have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the file its name; returns its length in bytes. Without this call it vanishes.
    pub fn commit(mut self) -> Result<u64, Error> {
        let store = &self.store;
        // On a file system that cannot set dates the upload works all the same.
        let _ = self.file.set_modified(store.next_date(store.date_of(&self.name)));
        if store.policy.sync {
            self.file.sync_all()?;
        }
        sys::rename_at(&store.dir, &self.temporary, &self.name).map_err(missing_folder)?;
        self.temporary.clear();
        if store.policy.sync {
            self.store.dir.sync_all().map_err(Error::Uncertain)?;
        }
        Ok(self.size)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.temporary.is_empty() {
            // An error has no receiver here; `sweep` tries again at the next start.
            let _ = sys::unlink_at(&self.store.dir, &self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;
    use std::io::Read;

    fn open(folder: &Folder) -> Arc<Store> {
        let policy = Policy {
            read_only: None,
            max_upload: 100,
            sync: true,
        };
        Arc::new(Store::open(folder.path(), policy).unwrap())
    }

    fn put(store: &Arc<Store>, name: &str, bytes: &[u8]) -> Result<u64, Error> {
        let mut upload = store.create(name.as_bytes())?;
        upload.write(bytes)?;
        upload.commit()
    }

    fn get(store: &Store, name: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        store.read(name.as_bytes())?.0.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn names_are_checked() {
        let long = "n".repeat(255);
        let wide = "é".repeat(127);
        for good in ["a", "a.bin", "a b", "é日😀", "a\"b", "-rf", "con", &long, &wide] {
            assert!(check_name(good.as_bytes()).is_ok(), "{good}");
        }
        let too_long = "n".repeat(256);
        let too_wide = "é".repeat(128);
        let bad = [
            "", ".", "..", ".hidden", "a/b", "/etc", "a\\b", "a\0b", "a\nb", "a\u{7f}", "a\u{9b}",
        ];
        for bad in bad.into_iter().chain([too_long.as_str(), too_wide.as_str()]) {
            assert!(
                matches!(check_name(bad.as_bytes()), Err(Error::InvalidName(_))),
                "{bad}"
            );
        }
        assert!(check_name(b"a\xff").is_err());
    }

    #[test]
    fn what_is_put_can_be_listed_read_and_removed() {
        let folder = Folder::new();
        let store = open(&folder);
        assert_eq!(put(&store, "b", b"two").unwrap(), 3);
        assert_eq!(put(&store, "a", b"").unwrap(), 0);
        folder.write(".hidden", b"");
        folder.write("bad\\name", b"");
        fs::create_dir(folder.path().join("dir")).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        assert_eq!(store.list().unwrap(), ["a", "b"]);
        let catalogue = store.catalogue().unwrap();
        assert_eq!((catalogue.files.len(), catalogue.folders), (2, 1));
        assert_eq!(get(&store, "b").unwrap(), b"two");
        store.remove(b"b").unwrap();
        assert!(matches!(get(&store, "b"), Err(Error::NotFound)));
        assert!(matches!(store.remove(b"b"), Err(Error::NotFound)));
    }

    #[test]
    fn an_upload_that_is_not_committed_leaves_the_old_file_and_nothing_else() {
        let folder = Folder::new();
        let store = open(&folder);
        put(&store, "a", b"old").unwrap();
        let mut upload = store.create(b"a").unwrap();
        upload.write(b"new").unwrap();
        assert_eq!(get(&store, "a").unwrap(), b"old");
        drop(upload);
        assert_eq!(get(&store, "a").unwrap(), b"old");
        assert_eq!(folder.names(), ["a"]);
    }

    #[test]
    fn a_reader_keeps_the_file_it_opened() {
        let folder = Folder::new();
        let store = open(&folder);
        put(&store, "a", b"old").unwrap();
        let (mut file, about) = store.read(b"a").unwrap();
        put(&store, "a", b"newer").unwrap();
        store.remove(b"a").unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.as_slice(), about.len()), (&b"old"[..], 3));
    }

    #[test]
    fn links_folders_and_pipes_are_no_files() {
        let folder = Folder::new();
        let outside = Folder::new();
        outside.write("secret", b"secret");
        let store = open(&folder);
        std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("linkdir")).unwrap();
        fs::create_dir(folder.path().join("dir")).unwrap();
        assert!(
            process::Command::new("mkfifo")
                .arg(folder.path().join("pipe"))
                .status()
                .unwrap()
                .success()
        );
        for name in ["link", "linkdir", "dir", "pipe"] {
            assert!(matches!(get(&store, name), Err(Error::NotRegular)), "{name}");
            assert!(
                matches!(put(&store, name, b"x"), Err(Error::NotRegular)),
                "{name}"
            );
            assert!(
                matches!(store.remove(name.as_bytes()), Err(Error::NotRegular)),
                "{name}"
            );
        }
        assert!(store.list().unwrap().is_empty());
        assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
    }

    #[test]
    fn the_limit_holds_on_both_sides() {
        let folder = Folder::new();
        let store = open(&folder);
        assert_eq!(put(&store, "a", &[1; 100]).unwrap(), 100);
        assert!(matches!(put(&store, "a", &[2; 101]), Err(Error::TooLarge(100))));
        for (limit, text) in [
            (1 << 30, "1 GiB"),
            (100 << 20, "100 MiB"),
            (1536, "1536 bytes"),
            (2048, "2 KiB"),
            (0, "0 bytes"),
        ] {
            let told = Error::TooLarge(limit).to_string();
            assert_eq!(told, format!("file too large: more than --max-upload {text}"));
        }
        assert_eq!(get(&store, "a").unwrap(), [1; 100]);
    }

    #[test]
    fn a_read_only_store_changes_nothing() {
        let folder = Folder::new();
        folder.write("a", b"old");
        let policy = Policy {
            read_only: Some("read-only"),
            max_upload: 100,
            sync: false,
        };
        let store = Arc::new(Store::open(folder.path(), policy).unwrap());
        assert!(matches!(put(&store, "a", b"new"), Err(Error::Denied(_))));
        assert!(matches!(store.remove(b"a"), Err(Error::Denied(_))));
        assert_eq!(get(&store, "a").unwrap(), b"old");
    }

    #[test]
    fn opening_removes_dead_temporary_files_and_spares_living_ones() {
        let folder = Folder::new();
        let store = open(&folder);
        let mut upload = store.create(b"a").unwrap();
        upload.write(b"alive").unwrap();
        let dead = temporary_name(1, 1);
        folder.write(&dead, b"dead");
        let mut others = [
            ".kolam-1-1.tmp",
            ".kolam-notes.tmp",
            ".other",
            ".kolam-.tmp",
            ".kolam--.tmp",
        ]
        .map(str::to_owned)
        .to_vec();
        others.push(dead.replace("-1-1-", "-1-2-"));
        others.push(dead.replace("-1-1-", "-01-1-"));
        others.push(dead.replace("-1-1-", "-+1-1-"));
        others.push(dead.replace(".tmp", "-x.tmp"));
        others.push(dead.to_uppercase());
        others.iter().for_each(|name| folder.write(name, b"not ours"));
        open(&folder);
        assert_eq!(upload.commit().unwrap(), 5);
        others.push("a".to_owned());
        others.sort();
        assert_eq!(folder.names(), others);
    }

    #[test]
    fn sweeping_behind_one_process_spares_the_others() {
        let folder = Folder::new();
        let store = open(&folder);
        folder.write(&temporary_name(12, 0), b"dead");
        folder.write(&temporary_name(123, 0), b"somebody else's");
        store.sweep(Some(12)).unwrap();
        assert_eq!(folder.names(), [temporary_name(123, 0)]);
        assert_eq!(owner_of(&temporary_name(u32::MAX, u64::MAX)), Some(u32::MAX));
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
        for replaced in [None, Some(future)] {
            let dates = || (0..2000).map(|_| store.next_date(replaced)).collect::<Vec<_>>();
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
            assert!(
                all.iter()
                    .all(|date| replaced.is_none_or(|replaced| *date > replaced))
            );
        }
    }
}
