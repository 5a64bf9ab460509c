//! How does a file get into the folder as a whole or not at all? Its content goes to a temporary file beside
//! its target, which takes the name in one step. What a dead server left is removed by the next one.

use super::{Error, Store, check_name};
use crate::sys;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Store {
    /// Begins an upload of `name`.
    pub fn create(self: &Arc<Self>, name: &[u8]) -> Result<Upload, Error> {
        let name = self.target(name)?;
        self.begin(name)
    }

    /// A name that a file may be given.
    fn target(&self, name: &[u8]) -> Result<String, Error> {
        let name = check_name(name)?;
        self.require_writable()?;
        match self.require_regular(name) {
            Ok(()) | Err(Error::NotFound) => Ok(name.to_owned()),
            Err(other) => Err(other),
        }
    }

    /// Begins an upload that gets its name by `commit_as`. For `dialects` only.
    pub fn create_unnamed(self: &Arc<Self>) -> Result<Upload, Error> {
        self.require_writable()?;
        self.begin(String::new())
    }

    fn begin(self: &Arc<Self>, name: String) -> Result<Upload, Error> {
        let (temporary, file) = self.create_temporary().map_err(missing_folder)?;
        Ok(Upload {
            store: self.clone(),
            name,
            temporary,
            file,
            size: 0,
        })
    }

    /// A new file under an unused name: servers in different containers may have the same process id. Its
    /// lock says "in use" to `sweep`.
    fn create_temporary(&self) -> io::Result<(String, File)> {
        loop {
            let name = temporary_name(process::id(), self.uploads.fetch_add(1, Ordering::Relaxed));
            match sys::open_at(&self.dir, &name, sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Ok(file) if !is_kept(&file) => {}
                other => return Ok((name, other?)),
            }
        }
    }

    /// Finds out at start, not at the first upload, whether files can be made here.
    pub fn probe(&self) -> io::Result<()> {
        let (name, _file) = self.create_temporary()?;
        self.discard(&name)
    }

    /// Removes temporary files that no living process holds: all, or those that process `owner` left.
    pub fn sweep(&self, owner: Option<u32>) -> io::Result<()> {
        for entry in fs::read_dir(self.path_of(""))? {
            let name = entry?.file_name();
            let name = name.to_str().unwrap_or_default();
            let left_by = owner_of(name);
            if left_by.is_none() || owner.is_some() && owner != left_by {
                continue;
            }
            // A living upload holds a lock on its file, also when it belongs to another server.
            if let Ok(file) = sys::open_at(&self.dir, name, sys::O_WRONLY)
                && file.try_lock().is_ok()
            {
                self.discard(name)?;
            }
        }
        Ok(())
    }

    /// Removes a temporary file. It is no error if another process has removed it.
    fn discard(&self, name: &str) -> io::Result<()> {
        match sys::unlink_at(&self.dir, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Locks a temporary file. False: a server that starts on the same folder looked at it before it was locked,
/// took it for the file of a dead server, and removes it. Where locks do not work, no server removes it. One
/// that cannot be looked at counts as kept: to give it up here would leave it there.
pub fn is_kept(file: &File) -> bool {
    let locked_by_another = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    !locked_by_another && file.metadata().map_or(true, |metadata| metadata.nlink() > 0)
}

/// A new file is not found only when its folder is gone; `file not found` would mislead.
fn missing_folder(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::Io(io::Error::other("the served folder has been removed")),
        _ => error.into(),
    }
}

/// A file on its way into the folder.
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
        match self.store.policy.max_upload {
            limit if size > limit => Err(Error::TooLarge(limit)),
            _ => Ok(()),
        }
    }

    /// Appends `bytes`, as long as the whole stays within the limit.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.size += bytes.len() as u64;
        self.require_room(self.size)?;
        Ok(self.file.write_all(bytes)?)
    }

    /// The name that it will have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same for a name that is known only now. For `dialects` only.
    pub fn commit_as(mut self, name: &[u8]) -> Result<u64, Error> {
        self.name = self.store.target(name)?;
        self.commit()
    }

    /// Gives the file its name; returns its length in bytes. Without this call it vanishes.
    pub fn commit(mut self) -> Result<u64, Error> {
        let store = &self.store;
        // On a file system that cannot set dates the upload works all the same.
        let _ = self.file.set_modified(store.next_date(&self.name));
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

/// How the names of temporary files begin and end. No request can name them, because of the dot.
const TEMPORARY: (&str, &str) = (".kolam-", ".tmp");

/// temporary = ".kolam-" pid "-" number "-" seal ".tmp"
pub fn temporary_name(pid: u32, number: u64) -> String {
    let front = format!("{}{pid}-{number}", TEMPORARY.0);
    let seal = seal(&front);
    format!("{front}-{seal:016x}{}", TEMPORARY.1)
}

/// A checksum of the rest of the name (FNV-1a, 64 bits). No user writes it by chance, so a file with the
/// right one is ours and a user's own `.kolam-1-1.tmp` is not.
fn seal(front: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    front.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The process that made the temporary file `name`; `None`: it is none of ours. `stress` asks this too,
/// before it removes what a killed server has left.
pub fn owner_of(name: &str) -> Option<u32> {
    let inner = name.strip_prefix(TEMPORARY.0)?.strip_suffix(TEMPORARY.1)?;
    let mut words = inner.split('-');
    let (pid, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // Written anew it must be the same: seal, no leading zeros, nothing more.
    (temporary_name(pid, number) == name).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;
    use crate::store::tests::{get, open, put};
    use std::sync::atomic::AtomicBool;

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
    fn uploads_do_not_fail_while_other_servers_start_on_the_folder() {
        let folder = Folder::new();
        let store = open(&folder);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    store.sweep(None).unwrap();
                }
            });
            let results: Vec<_> = (0..500).map(|_| put(&store, "a", b"whole")).collect();
            over.store(true, Ordering::Relaxed);
            let failed = results.iter().filter(|result| result.is_err()).count();
            assert_eq!(failed, 0, "{:?}", results.iter().find(|result| result.is_err()));
        });
        assert_eq!(folder.names(), ["a"]);
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
}
