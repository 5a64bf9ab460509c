//! How is a file replaced only by a whole download? The content goes into a temporary file beside it, which
//! takes its name at the end. An error or one Ctrl-C removes it; only a kill or a second Ctrl-C leaves it.

use super::commands::is_standard;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process;

/// Is this a file, or a name for a new one? Stdout, a pipe or a device is written into.
pub fn is_replaced(target: &Path) -> bool {
    let folder = target.as_os_str().as_encoded_bytes().ends_with(b"/");
    !is_standard(target) && !folder && fs::metadata(target).map_or(true, |about| about.is_file())
}

/// Where a download goes.
pub struct PartialFile {
    pub file: File,
    /// The file's own name and the one it is to take; `None`: it is written in its place.
    rename: Option<(PathBuf, PathBuf)>,
}

impl PartialFile {
    /// For `-` it is stdout.
    pub fn open(target: &Path) -> io::Result<PartialFile> {
        if is_standard(target) {
            // Not `io::stdout()`: it buffers lines and may lose the error of the last one.
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return Ok(PartialFile { file, rename: None });
        }
        // A device or a pipe is written into; to replace it would destroy it.
        if fs::metadata(target).is_ok_and(|about| !about.is_file()) {
            let file = File::options().write(true).open(target)?;
            return Ok(PartialFile { file, rename: None });
        }
        if !is_replaced(target) {
            return Err(ErrorKind::IsADirectory.into());
        }
        // A link stays a link to what is replaced.
        let real = fs::canonicalize(target);
        let target = real.as_deref().unwrap_or(target);
        let name = target.file_name().ok_or(ErrorKind::InvalidFilename)?;
        let temporary = (0_u32..).find_map(|number| {
            // The target's own name may be as long as names can be, so it is not part of this one.
            let path = target.with_file_name(format!(".kolam-download-{}-{number}", process::id()));
            match File::options().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
                opened => Some(opened.map(|file| (file, path))),
            }
        });
        let (file, path) = temporary.unwrap_or_else(|| Err(ErrorKind::AlreadyExists.into()))?;
        let rename = Some((path, target.with_file_name(name)));
        let partial = PartialFile { file, rename };
        if let Ok(old) = fs::metadata(target) {
            partial.file.set_permissions(old.permissions())?;
        }
        Ok(partial)
    }

    /// The download is whole.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some((path, target)) = &self.rename {
            fs::rename(path, target)?;
        }
        self.rename = None;
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.rename {
            let _ = fs::remove_file(path);
        }
    }
}
