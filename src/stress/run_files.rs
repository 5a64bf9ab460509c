//! Which files has a run made, and may it remove them? Every name that it makes holds the run's id, a short
//! random word. What is removed has a name of exactly these forms, in a folder whose mark names the same id
//! and is locked by no living tester, or is such a folder when it is empty. Other files are never removed,
//! nor a folder that holds any.

use crate::cli::parse_digits;
use crate::{store, sys};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Letters and digits of an id: 41 bits of chance. Lower case, since some servers turn all names into that.
const ID: usize = 8;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// How the name of a tester's folder begins; the id follows.
const FOLDER: &str = "kolam-stress-";

/// The name of the mark. Servers do not list names with a dot.
const MARK: &str = ".kolam-stress";

/// How often the removal is tried again while a folder is not empty, and the pause before that: processes
/// that have just been killed may still finish a write.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// The word that all names of a run share: lower-case letters and digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunId([u8; ID]);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl RunId {
    /// A new one. The keys of std's hash tables are random for each process and different for each table.
    pub fn new() -> RunId {
        let mut number = RandomState::new().build_hasher().finish();
        RunId([(); ID].map(|()| {
            let digit = DIGITS[(number % 36) as usize];
            number /= 36;
            digit
        }))
    }

    /// `None`: no run has this id.
    pub fn parse(text: &str) -> Option<RunId> {
        let id: [u8; ID] = text.as_bytes().try_into().ok()?;
        id.iter().all(|byte| DIGITS.contains(byte)).then_some(RunId(id))
    }

    /// How the names of all files begin.
    pub fn prefix(&self) -> String {
        format!("kolam-{self}-")
    }

    /// The file of `volume_mib` MiB that is downloaded.
    pub fn source(&self, volume_mib: u64) -> String {
        format!("{}{volume_mib}mib.bin", self.prefix())
    }

    /// The file that client worker `index` uploads.
    pub fn upload(&self, index: usize) -> String {
        format!("{}upload-{index}.bin", self.prefix())
    }

    /// Is this the name of a file of this run?
    fn made(&self, name: &str) -> bool {
        let inner = name
            .strip_prefix(&self.prefix())
            .and_then(|rest| rest.strip_suffix(".bin"));
        let number = inner.and_then(|inner| inner.strip_suffix("mib").or(inner.strip_prefix("upload-")));
        number.and_then(parse_digits::<u64>).is_some()
    }

    /// The folder that holds them, in the root.
    fn folder(&self) -> String {
        format!("{FOLDER}{self}")
    }

    /// What the mark holds.
    fn mark(&self) -> String {
        format!("files of kolam stress, run {self}\n")
    }
}

/// The folder of a running tester. Dropping it removes the folder and all files of the run.
///
/// ```text
///   <root>/kolam-stress-<id>/          the folder that our own servers serve
///     .kolam-stress                    the mark: holds the id of the run, and is locked while in use
///     kolam-<id>-10mib.bin …           what is downloaded
///     kolam-<id>-upload-0.bin …        what the clients of a row have uploaded
/// ```
pub struct RunFiles {
    pub path: PathBuf,
    pub run: RunId,
    /// The open folder.
    dir: File,
    mark: File,
}

impl RunFiles {
    /// Makes the folder in `root`, after removing those of dead testers.
    pub fn make(root: &Path) -> io::Result<RunFiles> {
        sweep(root);
        loop {
            let run = RunId::new();
            fs::create_dir(root.join(run.folder()))?;
            match RunFiles::mark(root, run) {
                // A tester that began at the same moment found the folder empty, and removed it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => return other,
            }
        }
    }

    /// Writes the mark into the new folder of `run`.
    fn mark(root: &Path, run: RunId) -> io::Result<RunFiles> {
        let dir = open_folder(root, &run.folder())?;
        let mut files = RunFiles {
            path: root.join(run.folder()),
            run,
            mark: sys::open_at(&dir, MARK, sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL)?,
            dir,
        };
        // Locked before it is written: a tester that reads the whole mark finds the lock too. Where locks do
        // not work, no tester can lock it, so none removes it.
        let _ = files.mark.try_lock();
        files.mark.write_all(run.mark().as_bytes())?;
        Ok(files)
    }
}

impl Drop for RunFiles {
    fn drop(&mut self) {
        remove(&self.path, &self.dir, self.run);
    }
}

/// Opens a folder in `root`, and not a link to one.
fn open_folder(root: &Path, name: &str) -> io::Result<File> {
    sys::open_at(&File::open(root)?, name, sys::O_RDONLY)
}

/// Removes the folders of testers that were killed, and empty ones of such a name, whose tester was killed
/// before it could mark them. A folder that cannot be read or removed stays.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(run) = name.strip_prefix(FOLDER).and_then(RunId::parse) else {
            continue;
        };
        // rmdir(2) fails unless the folder is empty, so that nothing can be lost here.
        if fs::remove_dir(entry.path()).is_ok() {
            continue;
        }
        if let Ok(dir) = open_folder(root, &name)
            && let Ok(mark) = sys::open_at(&dir, MARK, sys::O_RDONLY)
            && is_mark(&mark, run)
            && mark.try_lock().is_ok()
        {
            remove(&entry.path(), &dir, run);
        }
    }
}

/// Is this the mark of this run?
fn is_mark(file: &File, run: RunId) -> bool {
    let (mut text, wanted) = (Vec::new(), run.mark());
    let read = file.take(wanted.len() as u64 + 1).read_to_end(&mut text);
    file.metadata().is_ok_and(|about| about.is_file()) && read.is_ok() && text == wanted.as_bytes()
}

/// Removes the files of the run, name by name, and then the folder, if nothing else is in it. All names are
/// relative to the open folder: `path` may lead elsewhere by now.
fn remove(path: &Path, dir: &File, run: RunId) {
    let ours = |name: &String| run.made(name) || store::owner_of(name).is_some();
    for _ in 0..TRIES {
        let Ok(names) = names(dir) else { return };
        let (ours, others): (Vec<_>, Vec<_>) = names.into_iter().filter(|name| name != MARK).partition(ours);
        for name in &ours {
            let _ = sys::unlink_at(dir, name);
        }
        if !others.is_empty() {
            return;
        }
        let _ = sys::unlink_at(dir, MARK);
        match fs::remove_dir(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => thread::sleep(PAUSE),
            _ => return,
        }
    }
}

/// All names in an open folder. A name that is not UTF-8 is changed, and is never a name of the run.
fn names(dir: &File) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;

    #[test]
    fn ids_are_short_plain_and_different() {
        let ids: Vec<String> = (0..100).map(|_| RunId::new().to_string()).collect();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(RunId::parse(id).map(|run| run.to_string()).as_ref(), Some(id));
            assert!(!ids[..at].contains(id));
        }
        for wrong in ["", "1234567", "123456789", "1234567A", "1234-678", "1234567é"] {
            assert_eq!(RunId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_names_of_the_run_are_its_own() {
        let run = RunId::parse("abcd1234").unwrap();
        let seven = "kolam-abcd1234-7mib.bin".to_owned();
        for name in [run.source(10), run.upload(0), run.upload(49), seven] {
            assert!(run.made(&name) && name == name.to_lowercase(), "{name}");
        }
        let wrong = [
            "10MiB.bin",
            "upload-0.bin",
            "kolam-abcd1235-7mib.bin",
            "kolam-abcd1234-mib.bin",
            "kolam-abcd1234-upload-.bin",
            "kolam-abcd1234-upload-1.bin.bak",
            "kolam-abcd1234-x.bin",
        ];
        for name in wrong {
            assert!(!run.made(name), "{name}");
        }
    }

    #[test]
    fn a_folder_in_use_stays_and_a_dead_ones_goes() {
        let root = Folder::new();
        let alive = RunFiles::make(root.path()).unwrap();
        fs::write(alive.path.join(alive.run.source(1)), b"in use").unwrap();
        drop(RunFiles::make(root.path()).unwrap());
        assert_eq!(names(&alive.dir).unwrap().len(), 2);
        // A killed tester holds no lock any more and has removed nothing.
        alive.mark.unlock().unwrap();
        sweep(root.path());
        assert_eq!(root.names(), Vec::<String>::new());
    }

    #[test]
    fn a_folder_that_was_never_marked_goes_when_it_is_empty() {
        let root = Folder::new();
        let run = RunId::new();
        let path = root.path().join(run.folder());
        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.txt"), b"a user's").unwrap();
        sweep(root.path());
        assert!(path.join("thesis.txt").exists());
        fs::remove_file(path.join("thesis.txt")).unwrap();
        sweep(root.path());
        assert_eq!(root.names(), Vec::<String>::new());
        // Its tester may be alive, and about to mark it: that one takes another folder.
        let lost = RunFiles::mark(root.path(), run).map(|files| files.run);
        assert_eq!(lost.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    }
}
