//! How does a broken download go on where it stopped? Its bytes stay in a hidden file, with the URL and the
//! strong ETag of their version beside them. The next request asks for the rest if the version is still that
//! one (`If-Range`, RFC 9110, sections 13.1.5 and 14.2); in every other case all begins again at byte 0.

use super::http::{Head, Site};
use super::progress::{Progress, in_words};
use super::{Client, Error, corrupt};
use crate::cli::parse_digits;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest note in bytes: a URL and an ETag, each a line.
const NOTE_LIMIT: u64 = 64 << 10;

/// A download that may stop before its end.
pub struct Unfinished {
    file: File,
    /// Where the bytes are, and where their URL and ETag are.
    path: PathBuf,
    note: PathBuf,
    target: PathBuf,
    url: String,
    /// The strong ETag of the version that the bytes are of; without one they are worth nothing later.
    etag: Option<String>,
}

impl Unfinished {
    /// Takes up what an earlier download of `url` to `target` has left if `resume` is true.
    pub fn open(target: &Path, url: String, resume: bool) -> io::Result<Unfinished> {
        // A link stays a link to what is replaced.
        let real = fs::canonicalize(target);
        let target = real.as_deref().unwrap_or(target);
        let name = target.file_name().ok_or(ErrorKind::InvalidFilename)?;
        // Of a fixed length, because the name itself may be as long as names can be.
        let hidden = format!(".kolam-part-{:016x}", fnv(name.as_encoded_bytes()));
        let path = target.with_file_name(&hidden);
        let note = target.with_file_name(hidden + ".from");
        let file = open_own(&path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another download of it runs")),
            Err(TryLockError::Error(error)) => return Err(error),
            // The other one may have ended just now, and given this very file its name.
            Ok(()) if !is_at(&file, &path) => return Err(io::Error::other("it was downloaded just now")),
            Ok(()) => {}
        }
        let mut text = String::new();
        if resume {
            // One that cannot be read says nothing.
            let read = open_own(&note).and_then(|note| note.take(NOTE_LIMIT).read_to_string(&mut text));
            text = read.map(|_| text).unwrap_or_default();
        }
        let etag = text.strip_suffix('\n').and_then(|text| text.split_once('\n'));
        let etag = etag.filter(|(from, etag)| *from == url && is_strong(etag));
        Ok(Unfinished {
            etag: etag.map(|(_, etag)| etag.to_owned()),
            target: target.with_file_name(name),
            file,
            path,
            note,
            url,
        })
    }

    /// Bytes that are there and of use later.
    pub fn kept(&self) -> u64 {
        let length = self.file.metadata().map_or(0, |about| about.len());
        if self.etag.is_some() { length } else { 0 }
    }

    /// All begins again, with the version that has this ETag. The bytes are removed before the note changes,
    /// so that there are never bytes of one version with the note of another.
    fn restart(&mut self, etag: Option<&str>) -> io::Result<()> {
        self.file.set_len(0)?;
        self.etag = etag.filter(|etag| is_strong(etag)).map(str::to_owned);
        let mut note = open_own(&self.note)?;
        note.set_len(0)?;
        match &self.etag {
            Some(etag) => note.write_all(format!("{}\n{etag}\n", self.url).as_bytes()),
            None => Ok(()),
        }
    }

    /// The download is whole.
    fn commit(mut self) -> io::Result<()> {
        if let Ok(old) = fs::metadata(&self.target) {
            self.file.set_permissions(old.permissions())?;
        }
        fs::rename(&self.path, &self.target)?;
        self.etag = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.kept() > 0 {
            return;
        }
        let _ = fs::remove_file(&self.note);
        // Under this name there may be the file of another download, when this one has been renamed.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Downloads `name` of `site`; returns its length in bytes. `shown`: what errors and the progress line call
/// the target.
pub fn fetch(
    site: &Site,
    name: &str,
    client: &mut Client,
    mut part: Unfinished,
    shown: &str,
) -> Result<u64, Error> {
    let cannot = |error| Error::Local(in_words("write", shown, error));
    let length = fetch_into(site, name, client, &mut part, shown);
    match length {
        Ok(length) => part.commit().map_err(cannot).map(|()| length),
        Err(error) => {
            let kept = part.kept();
            if kept > 0 {
                // So that what is kept survives a crash of the machine, too.
                let _ = part.file.sync_data();
                let remedy = "the same command with --resume goes on after them";
                let _ = writeln!(io::stderr(), "kolam: {shown}: {kept} bytes are kept; {remedy}");
            }
            Err(error)
        }
    }
}

fn fetch_into(
    site: &Site,
    name: &str,
    client: &mut Client,
    part: &mut Unfinished,
    shown: &str,
) -> Result<u64, Error> {
    let cannot = |error| Error::Local(in_words("write", shown, error));
    let kept = part.kept();
    let head = match part.etag.clone().filter(|_| kept > 0) {
        None => site.ask_for(client, name, "")?,
        Some(etag) => {
            let fields = format!("Range: bytes={kept}-\r\nIf-Range: {etag}\r\n");
            let head = site.ask_for(client, name, &fields)?;
            match head.status {
                206 => {
                    require_rest(&head, kept, &etag)?;
                    return receive(&head, client, part, kept, shown);
                }
                // Nothing is left of that version: whole or not, the bytes are not trusted. They go
                // first, since the server may close the connection now.
                416 => {
                    part.restart(None).map_err(cannot)?;
                    head.skip_body(client)?;
                    site.ask_for(client, name, "")?
                }
                _ => head,
            }
        }
    };
    // All of the file, whatever is kept; a part that was not asked for is an error here.
    head.must_be_ok()?;
    part.restart(head.field("etag")).map_err(cannot)?;
    receive(&head, client, part, 0, shown)
}

/// Writes the body into the file, from byte `start` on; returns the length of the whole.
fn receive(
    head: &Head,
    client: &mut Client,
    part: &mut Unfinished,
    start: u64,
    shown: &str,
) -> Result<u64, Error> {
    let place = part.file.seek(SeekFrom::Start(start));
    place.map_err(|error| Error::Local(in_words("write", shown, error)))?;
    let mut sink = Progress::new(&part.file, shown, head.length());
    Ok(start + head.read_body(client, &mut sink)?)
}

/// content-range = "bytes" SP first "-" last "/" length ; it must be all from `start` to the end
fn require_rest(head: &Head, start: u64, etag: &str) -> Result<(), Error> {
    let numbers = head.field("content-range").and_then(|range| {
        let (range, length) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some([first, last, length].map(parse_digits::<u64>))
    });
    let Some([Some(first), Some(last), Some(length)]) = numbers else {
        return corrupt("a part has come without its place in the file");
    };
    let rest = length.checked_sub(start);
    let whole = first == start && first <= last && last.checked_add(1) == Some(length);
    if !whole || rest.is_none() || head.length() != rest {
        return corrupt("another part has come than was asked for");
    }
    match head.field("etag") {
        Some(other) if other != etag => corrupt("a part of another version has come"),
        _ => Ok(()),
    }
}

/// etag = DQUOTE *( any character but a quote ) DQUOTE ; not weak: those may stand for different bytes
fn is_strong(etag: &str) -> bool {
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains(|c: char| c == '"' || c.is_control()))
}

/// Opens a file of ours for reading and writing, or makes it. In a folder that others may write, too, a link
/// or another user's file could stand there.
fn open_own(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
    let (about, own) = (file.metadata()?, fs::metadata("/proc/self")?.uid());
    if !about.is_file() || about.uid() != own {
        let why = format!("{} is not a file of yours; remove it", path.display());
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    Ok(file)
}

/// Is `file` still the one of this name?
fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: Metadata, b: Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(here), Ok(there)) => same(here, there),
        _ => false,
    }
}

/// FNV-1a of 64 bits: the same in every version of the program, so that a later one finds the file.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
