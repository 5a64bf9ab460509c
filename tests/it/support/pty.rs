//! A terminal for a program under test: the kernel's half (pty(7)) and a screen that shows what came, which
//! knows just enough escape sequences and notices a line that wraps.
#![allow(unsafe_code)]

use super::{PATIENCE, within};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A program whose stdin, stdout and stderr are one terminal; killed when it is dropped.
pub struct Terminal {
    pub child: Child,
    master: File,
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

fn window(columns: u16) -> libc::winsize {
    libc::winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    /// Starts `command` on a terminal of so many columns. COLUMNS and NO_COLOR are those that `command` sets.
    pub fn start(command: &mut Command, columns: u16) -> Terminal {
        let (mut ours, mut theirs) = (0, 0);
        let name = std::ptr::null_mut();
        // SAFETY: all places are valid; a null name and null settings mean that they are not wanted; both
        // descriptors are new and belong to nobody else.
        let (master, slave) = unsafe {
            let size = window(columns);
            assert_eq!(
                libc::openpty(&mut ours, &mut theirs, name, std::ptr::null(), &size),
                0
            );
            (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
        };
        // Another program that a test starts at this moment must not keep the terminal open.
        for fd in [master.as_raw_fd(), slave.as_raw_fd()] {
            // SAFETY: this fcntl takes integers.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        let streams = [slave.try_clone().unwrap(), slave.try_clone().unwrap(), slave];
        let [stdin, stdout, stderr] = streams;
        let child = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        // The command still holds the other half; without this, the end of the output would never come.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (bytes, mut from) = (Arc::new(Mutex::new(Vec::new())), master.try_clone().unwrap());
        let into = bytes.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            // EIO: the last process with the other half has ended.
            while let Ok(count @ 1..) = from.read(&mut piece) {
                into.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Terminal {
            child,
            master,
            bytes,
            reader: Some(reader),
        }
    }

    pub fn resize(&self, columns: u16) {
        let size = window(columns);
        // SAFETY: the call reads one winsize from a valid place.
        let result = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }

    /// Everything that was written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// Waits until what is written after the first `from` bytes contains `text`.
    pub fn wait_for(&self, from: usize, text: &str) {
        let found = || String::from_utf8_lossy(&self.bytes()[from..]).contains(text);
        within(PATIENCE * 3, &format!("{text:?} on the terminal"), found);
    }

    /// Waits until the program has ended; returns its exit code and everything that it wrote.
    pub fn finish(mut self, limit: Duration) -> (Option<i32>, Vec<u8>) {
        let mut status = None;
        within(limit, "the program on the terminal ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.reader.take().unwrap().join().unwrap();
        (status.unwrap().code(), self.bytes())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal of a fixed width shows; rows that scrolled away are kept.
pub struct Screen {
    columns: usize,
    rows: Vec<Vec<char>>,
    /// The cursor, counted from 0.
    row: usize,
    column: usize,
    /// Lines that went over the right margin.
    pub wrapped: usize,
}

impl Screen {
    /// Shows `bytes`; panics about an escape sequence that a plain program has no use for.
    #[track_caller]
    pub fn show(columns: usize, bytes: &[u8]) -> Screen {
        let mut screen = Screen {
            columns,
            rows: vec![Vec::new()],
            row: 0,
            column: 0,
            wrapped: 0,
        };
        let text = str::from_utf8(bytes).unwrap();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => screen.column = 0,
                '\n' => screen.down(),
                '\x1b' => match [chars.next(), chars.next()] {
                    [Some('['), Some('J')] => screen.erase(),
                    other => panic!("escape sequence {other:?} in {text:?}"),
                },
                c if c.is_control() => panic!("{c:?} in {text:?}"),
                c => screen.put(c),
            }
        }
        screen
    }

    fn down(&mut self) {
        self.row += 1;
        self.rows.resize(self.rows.len().max(self.row + 1), Vec::new());
    }

    fn put(&mut self, c: char) {
        if self.column == self.columns {
            self.wrapped += 1;
            self.column = 0;
            self.down();
        }
        let row = &mut self.rows[self.row];
        row.resize(row.len().max(self.column + 1), ' ');
        row[self.column] = c;
        self.column += 1;
    }

    fn erase(&mut self) {
        self.rows[self.row].truncate(self.column);
        self.rows.truncate(self.row + 1);
    }

    /// The rows, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        let rows = self.rows.iter().map(|row| row.iter().collect::<String>());
        rows.map(|row| row.trim_end().to_owned()).collect()
    }
}
