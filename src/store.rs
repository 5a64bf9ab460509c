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
//! Experiment:
//! edit: a name may hold a slash, and so lead out of the folder
//! run: cargo test --locked --bin kolam store::
//! see: names_are_checked ... FAILED

mod upload; // a file on its way into the folder
mod catalogue; // its names, in order
mod web; // what only HTTP asks

pub use catalogue::{About, BY_NAME, Column, Listing, Order};
pub use upload::{Upload, owner_of};
pub use web::Guard;

use crate::sys;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// Longest file name in bytes, as on every Linux file system (NAME_MAX, limits.h(0p)).
pub const NAME_LIMIT: usize = 255;

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
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes > 0 && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
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
        _ if name.bytes().any(|byte| matches!(byte, b'/' | b'\\')) => refuse("contains a slash or backslash"),
        // Most names are ASCII; a closer look at each would take a twentieth of the time of a LIST.
        _ if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Ok(name),
        _ if name.contains(char::is_control) => refuse("contains a control character"),
        _ => Ok(name),
    }
}

/// The served folder.
pub struct Store {
    /// The folder itself, open; all names are relative to it.
    dir: File,
    policy: Policy,
    /// Numbers the temporary files of this process.
    uploads: AtomicU64,
    /// The newest dates that were given, see `next_date`; shared by forked workers. Only for `http`.
    dated: &'static [AtomicU64],
    /// What listings read from.
    lists: Vec<catalogue::List>,
}

impl Store {
    /// Opens the folder `root`, making it when it is missing, and removes what dead servers left in it.
    pub fn open(root: &Path, policy: Policy) -> io::Result<Store> {
        if !root.exists() {
            fs::create_dir_all(root)?;
        }
        let store = Store {
            // The dot makes it an error if `root` is a file.
            dir: File::open(root.join("."))?,
            policy,
            uploads: AtomicU64::new(0),
            dated: sys::shared_counters(2)?,
            lists: catalogue::List::all()?,
        };
        if store.policy.read_only.is_none() {
            store.probe()?;
            store.sweep(None)?;
        }
        Ok(store)
    }

    /// For functions of std: a path that leads into the open folder, wherever it has been moved since.
    fn path_of(&self, name: &str) -> String {
        format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd())
    }

    /// Opens a file for reading; returns it with what is known of it at this moment.
    pub fn read(&self, name: &[u8]) -> Result<(File, Metadata), Error> {
        let name = check_name(name)?;
        self.require_regular(name)?;
        let file = sys::open_at(&self.dir, name, sys::O_RDONLY)?;
        let about = file.metadata()?;
        // Check the open file too: the name may lead to another file since the first check.
        if !about.is_file() {
            return Err(Error::NotRegular);
        }
        Ok((file, about))
    }

    /// Deletes `name`.
    pub fn remove(&self, name: &[u8]) -> Result<(), Error> {
        let name = check_name(name)?;
        self.require_writable()?;
        self.require_regular(name)?;
        Ok(sys::unlink_at(&self.dir, name)?)
    }

    /// Opening a device can have effects, so we check before we open.
    fn require_regular(&self, name: &str) -> Result<(), Error> {
        match sys::is_regular(&sys::stat_at(&self.dir, name)?) {
            true => Ok(()),
            false => Err(Error::NotRegular),
        }
    }

    /// May anything be changed here?
    pub fn require_writable(&self) -> Result<(), Error> {
        match self.policy.read_only {
            Some(why) => Err(Error::Denied(why)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;
    use std::io::Read;
    use std::process;
    use std::sync::Arc;

    pub fn open(folder: &Folder) -> Arc<Store> {
        let policy = Policy {
            read_only: None,
            max_upload: 100,
            sync: true,
        };
        Arc::new(Store::open(folder.path(), policy).unwrap())
    }

    pub fn put(store: &Arc<Store>, name: &str, bytes: &[u8]) -> Result<u64, Error> {
        let mut upload = store.create(name.as_bytes())?;
        upload.write(bytes)?;
        upload.commit()
    }

    pub fn get(store: &Store, name: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        store.read(name.as_bytes())?.0.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn listed(store: &Arc<Store>) -> Vec<String> {
        let mut names = Vec::new();
        let mut listing = store.list(BY_NAME).unwrap();
        let more = listing.advance(|name| {
            names.push(name.to_owned());
            true
        });
        assert!(!more.unwrap());
        names
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
        assert_eq!(listed(&store), ["a", "b"]);
        assert_eq!(get(&store, "b").unwrap(), b"two");
        store.remove(b"b").unwrap();
        assert!(matches!(get(&store, "b"), Err(Error::NotFound)));
        assert!(matches!(store.remove(b"b"), Err(Error::NotFound)));
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
        assert!(listed(&store).is_empty());
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
}
