//! # Appendix. What do the unit tests share?
//!
//! A temporary folder that removes itself, a peer made of memory, and random inputs. Nothing here is in the
//! program.

use crate::session::{ByteCounts, Event, Outgoing, Pumped, Session, Stream, pump};
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, mem, process};

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
    /// Before its end it pauses.
    pauses: bool,
    output: Vec<u8>,
}

impl Read for Peer<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && mem::take(&mut self.pauses) {
            return Err(ErrorKind::WouldBlock.into());
        }
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
    play_with(session, input, give, take, false)
}

/// The same for a peer that pauses before it ends: the session is told of the silence.
pub fn play_and_pause(session: &mut dyn Session, input: &[u8], give: usize, take: usize) -> Vec<u8> {
    play_with(session, input, give, take, true)
}

fn play_with(session: &mut dyn Session, input: &[u8], give: usize, take: usize, pauses: bool) -> Vec<u8> {
    let mut peer = Peer {
        input,
        give,
        take,
        pauses,
        output: Vec::new(),
    };
    let mut scratch = vec![0; give.min(4096)];
    loop {
        match pump(&mut peer, session, &mut scratch, &mut ByteCounts::default()).unwrap() {
            Pumped::Again => {}
            Pumped::Blocked => session.notice(Event::Silence),
            Pumped::Done => return peer.output,
        }
    }
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

// ---- fuzzing ----

/// All that can be fuzzed, each by a unit test `fuzz_NAME` in the file that reads such input.
pub const TARGETS: [&str; 13] = [
    "answer",
    "base64",
    "chunked",
    "file",
    "form",
    "head",
    "http",
    "http_head",
    "json",
    "line",
    "pause",
    "relay",
    "sized",
];

/// Inputs of each target in the usual run of the tests, which begin with the same seed every time.
const FEW: u64 = 300;
/// Bytes of an input, whatever happened to it.
const LONGEST: usize = 40_000;
/// Bytes that mean something somewhere, and some that must not.
const SIGNS: &[u8] = b"\0\t\n\r \"%&'*+,-./09:;<=>?@AZ[\\]_az{}\x1b\x7f\x80\xc3\xe2\xf0\xff";
/// Numbers at which something overflows.
const NUMBERS: [&str; 9] = [
    "0",
    "-1",
    "007",
    "255",
    "65536",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
];

/// Pseudorandom numbers (SplitMix64): the same seed gives the same ones.
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }
}

/// Tries `test` with the inputs in `tests/found`, and with `corpus`, changed at random. What it draws depends
/// on its input alone, so a failing input fails again. It says whether a naive twin could tell, too, what
/// becomes of the input: another program for the same, as plain as can be, which sees the whole input at
/// once and leaves out what is rare.
///
/// The environment: `FUZZ_SECONDS` for all targets, or for the one of `FUZZ_ONLY`; `FUZZ_INPUTS` of each,
/// instead; `FUZZ_SEED`. With none of them, a few inputs.
pub fn fuzz(target: &str, corpus: &[&[u8]], test: impl Fn(&[u8], &mut Random) -> bool) {
    assert!(TARGETS.contains(&target), "{target} is not in TARGETS");
    let try_one = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| test(input, &mut Random(hash(input)))));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/found");
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("{target}-"))
        {
            assert!(
                try_one(&fs::read(entry.path()).unwrap()).is_ok(),
                "{:?}",
                entry.path()
            );
        }
    }
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (limit, seconds) = match (number("FUZZ_INPUTS"), number("FUZZ_SECONDS")) {
        (Some(inputs), _) => (inputs, u64::MAX),
        (None, Some(seconds)) => (u64::MAX, seconds),
        (None, None) => (FEW, u64::MAX),
    };
    let share = if env::var("FUZZ_ONLY").is_ok_and(|only| !only.is_empty()) {
        1
    } else {
        TARGETS.len() as u32
    };
    let time = Duration::from_secs(seconds.min(u64::from(u32::MAX))) / share;
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let (begun, mut random) = (Instant::now(), Random(seed ^ hash(target.as_bytes())));
    let (mut count, mut twins) = (0, 0);
    while count < limit && (count % 64 > 0 || begun.elapsed() < time) {
        let input = changed(corpus, &mut random);
        count += 1;
        let Ok(twin) = try_one(&input) else {
            let path = folder.join(format!("{target}-{:016x}", hash(&input)));
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &input).unwrap();
            let shown = input[..input.len().min(200)].escape_ascii();
            panic!("{target}, seed {seed}, input {count}: saved as {path:?}: {shown}");
        };
        twins += u64::from(twin);
    }
    if limit != FEW {
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        let row = format!(
            "{target:<10} {count:>10} inputs {rate:>9.0} a second, {twins:>10} as a twin says, seed {seed}\n"
        );
        io::stderr().write_all(row.as_bytes()).unwrap();
    }
}

/// A hash of few lines (FNV-1a).
fn hash(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// A right input, or two, with some changes.
fn changed(corpus: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut input = random.of(corpus).to_vec();
    if random.below(6) == 0 {
        let more = *random.of(corpus);
        input.extend_from_slice(more);
    }
    let mut more = true;
    while more {
        change(&mut input, corpus, random);
        more = random.below(3) > 0;
    }
    input.truncate(LONGEST);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[&[u8]], random: &mut Random) {
    let (at, sign) = (random.below(input.len() + 1), *random.of(SIGNS));
    let end = (at + random.below(9)).min(input.len());
    match random.below(10) {
        0 | 1 if at < input.len() => input[at] = sign,
        2 if at < input.len() => input[at] ^= 1 << random.below(8),
        3 => input.insert(at, sign),
        4 => drop(input.drain(at..end)),
        5 => drop(input.splice(at..end, random.of(&NUMBERS).bytes())),
        6 => {
            let other = *random.of(corpus);
            let from = random.below(other.len() + 1);
            let to = (from + random.below(20)).min(other.len());
            drop(input.splice(at..end, other[from..to].iter().copied()));
        }
        7 => {
            let copy = input[at..end].to_vec();
            drop(input.splice(at..at, copy));
        }
        8 => {
            // Rarely beyond the bounds on heads and lines.
            let count = if random.below(50) == 0 { 20_000 } else { 40 };
            drop(input.splice(at..at, vec![sign; random.below(count)]));
        }
        _ => input.truncate(at.max(1)),
    }
}

/// Gives `input` to `read` whole, byte by byte and in random pieces. The outcome, which must be the same.
pub fn however_cut<T: PartialEq + Debug>(
    input: &[u8],
    random: &mut Random,
    read: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> T,
) -> T {
    let whole = read(&mut [input].into_iter().filter(|piece| !piece.is_empty()));
    assert_eq!(read(&mut input.chunks(1)), whole, "byte by byte");
    let (mut rest, longest) = (input, 1 + random.below(40));
    let mut cut = std::iter::from_fn(|| {
        let (piece, more) = rest.split_at(rest.len().min(1 + random.below(longest)));
        rest = more;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(read(&mut cut), whole, "in pieces");
    whole
}
