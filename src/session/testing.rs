//! # Appendix. What do the unit tests share?
//!
//! A temporary folder that removes itself, and a peer made of memory. Nothing here is in the program.

use crate::session::{ByteCounts, Outgoing, Pumped, Session, Stream, pump};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// An empty folder of one test, removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("kolam-unit-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
    }

    /// Everything in the folder, hidden files too, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A peer that sends `input` in pieces of `give` bytes, ends, and takes `take` bytes a write.
struct Peer<'i> {
    input: &'i [u8],
    give: usize,
    take: usize,
    output: Vec<u8>,
}

impl Read for Peer<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.give.min(out.len()).min(self.input.len());
        out[..count].copy_from_slice(&self.input[..count]);
        self.input = &self.input[count..];
        Ok(count)
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.take.min(bytes.len());
        assert!(count > 0, "a session that wants to write has something to write");
        self.output.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Peer<'_> {
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        assert!(count > 0, "a session that wants to write has something to write");
        let mut piece = vec![0; count.min(self.take)];
        let count = file.read_at(&mut piece, offset)?;
        self.output.extend_from_slice(&piece[..count]);
        Ok(count)
    }
}

/// Lets `input` run through a session, `give` bytes a read and `take` bytes a write; returns what it sends.
pub fn play(session: &mut dyn Session, input: &[u8], give: usize, take: usize) -> Vec<u8> {
    let mut peer = Peer {
        input,
        give,
        take,
        output: Vec::new(),
    };
    let mut scratch = vec![0; 4096];
    while pump(&mut peer, session, &mut scratch, &mut ByteCounts::default()).unwrap() != Pumped::Done {}
    peer.output
}

/// The bytes that a session wants to send at this moment.
pub fn outgoing(session: &dyn Session) -> Vec<u8> {
    match session.outgoing() {
        Outgoing::Bytes(bytes) | Outgoing::Last(bytes) => bytes.to_vec(),
        Outgoing::File { file, offset, count } => {
            let mut piece = vec![0; count];
            let count = file.read_at(&mut piece, offset).unwrap();
            piece.truncate(count);
            piece
        }
    }
}
