//! What must hold whatever happens? Names, files, concurrency, robustness: one function a rule; the table in
//! `check.rs` has their order.

use crate::check::Outcome;
use crate::check::examiner::{Examiner, encode, pattern, upload};
use crate::check::probe::{LIST, Probe, Wire, is_error, is_ok};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io, iter};

const MIB: usize = 1 << 20;

/// More workers than this are not counted; all of an event loop's clients are served at once.
const WORKERS: usize = 64;

/// Uploads during which another client reads: a server that writes under the file's own name is caught
/// nearly always.
const SWAPS: usize = 40;

/// Long enough that a server has accepted a connection and read what it was sent.
const TAKEN: Duration = Duration::from_millis(20);

// ---- names ----

pub fn quoted_name(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("quoted");
    let request = format!("UPLOAD \"{name}\" a29sYW0=\r\n\r\n");
    let stored = is_ok(examiner.wire.once(request.as_bytes()).as_ref());
    Outcome::of(stored && examiner.becomes(&name, b"kolam"))
}

pub fn blanks(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("with two blanks");
    let stored = examiner.round_trip(&name, b"blanks");
    Outcome::of(stored && examiner.list().is_some_and(|names| names.contains(&name)))
}

pub fn case_kept(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("Upper-Case.TXT");
    let stored = examiner.store(&name, b"case");
    Outcome::of(
        stored && examiner.soon(|examiner| examiner.list().is_some_and(|names| names.contains(&name))),
    )
}

pub fn other_alphabets(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("kölam-ಕೋಲಮ್");
    let stored = examiner.round_trip(&name, b"utf-8");
    Outcome::of(stored && examiner.list().is_some_and(|names| names.contains(&name)))
}

/// Paths that lead out of the folder are refused, whether or not something is there.
pub fn escape(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("escaped");
    let outside = format!("../{name}");
    if is_ok(examiner.wire.once(&upload(&outside, "a29sYW0=")).as_ref()) {
        let kept = examiner.exists(&name);
        examiner.ask("DELETE", &outside);
        return Outcome::FailBecause(if kept {
            "the path is cut off, and the file stored under another name than the client's: refuse it"
                .to_owned()
        } else {
            format!("it was stored outside of the folder, as {outside}: refuse names with / or \\")
        });
    }
    let hostile = ["/etc/passwd", "../../../../../../../../etc/passwd", ".."];
    Outcome::of(
        hostile
            .iter()
            .all(|path| is_error(examiner.ask("GET", path).as_ref())),
    )
}

// ---- files ----

pub fn empty(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("empty");
    Outcome::of(examiner.round_trip(&name, b""))
}

pub fn every_byte(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("bytes");
    Outcome::of(examiner.round_trip(&name, &pattern(65536 + 1)))
}

pub fn ten_mebibytes(examiner: &mut Examiner) -> Outcome {
    large(examiner, 10)
}

pub fn hundred_mebibytes(examiner: &mut Examiner) -> Outcome {
    if examiner.big {
        large(examiner, 100)
    } else {
        Outcome::Skip("only with --big".to_owned())
    }
}

fn large(examiner: &mut Examiner, mebibytes: usize) -> Outcome {
    let name = examiner.name("large");
    let fits = examiner.round_trip(&name, &pattern(mebibytes * MIB));
    examiner.ask("DELETE", &name);
    Outcome::of(fits)
}

/// Eight times the bytes may take eight times as long, not sixty times. It fails only when five tries in a
/// row are too slow: one may be slow by chance.
pub fn growth(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("growth");
    let mut seconds = |bytes: usize| {
        let request = upload(&name, &encode(&pattern(bytes)));
        let begun = Instant::now();
        let stored = is_ok(examiner.wire.once(&request).as_ref());
        stored.then(|| begun.elapsed().as_secs_f64())
    };
    let mut cause = String::new();
    for _ in 0..5 {
        let (Some(small), Some(large)) = (seconds(MIB / 2), seconds(4 * MIB)) else {
            return Outcome::Fail;
        };
        if large < 0.4 || large < 20.0 * small {
            return Outcome::Pass;
        }
        cause = format!(
            "4 MiB took {large:.1} s, half a MiB {small:.3} s, {:.0} times as long: after each read the end \
             is searched from the start; search only what is new",
            large / small
        );
    }
    Outcome::FailBecause(cause)
}

// ---- concurrency ----

/// Holds a connection that has said `bytes`, while another asks for the list.
fn served_beside(examiner: &mut Examiner, bytes: &[u8]) -> bool {
    let Some(mut held) = examiner.wire.open() else {
        return false;
    };
    examiner.wire.send(&mut held, bytes);
    // Nothing tells when the server has taken them.
    thread::sleep(TAKEN);
    is_ok(examiner.wire.once(LIST).as_ref())
}

pub fn beside_an_idle_client(examiner: &mut Examiner) -> Outcome {
    if examiner.stats("workers") == Some(1) {
        return Outcome::Skip("it says that it has one worker".to_owned());
    }
    Outcome::of(served_beside(examiner, b""))
}

pub fn beside_half_an_upload(examiner: &mut Examiner) -> Outcome {
    if examiner.stats("workers") == Some(1) {
        return Outcome::Skip("it says that it has one worker".to_owned());
    }
    let name = examiner.name("half");
    Outcome::of(served_beside(
        examiner,
        format!("UPLOAD {name} a29sYW0").as_bytes(),
    ))
}

/// How many clients are served at once: one more is held in the middle of a request each time, until
/// another is not answered any more. So the workers are counted, and the server's own number is not believed.
pub fn workers(examiner: &mut Examiner) -> Outcome {
    let claimed = examiner.stats("workers").map_or(2, |workers| workers as usize);
    let mut held: Vec<Probe> = Vec::new();
    while held.len() < WORKERS.min(claimed.max(2) * 2) {
        let served = is_ok(examiner.wire.once(LIST).as_ref());
        let Some(mut next) = examiner.wire.open().filter(|_| served) else {
            break;
        };
        examiner.wire.send(&mut next, b"LI");
        thread::sleep(TAKEN);
        held.push(next);
    }
    let measured = held.len();
    drop(held);
    examiner.soon(|examiner| examiner.list().is_some());
    if measured >= claimed.min(WORKERS) {
        return Outcome::Pass;
    }
    Outcome::FailBecause(format!(
        "{claimed} workers claimed, {measured} {} served at a time: who accepts must hand connections on",
        if measured == 1 {
            "connection is"
        } else {
            "connections are"
        }
    ))
}

// ---- robustness ----

pub fn half_an_upload(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("cut");
    abort(examiner, format!("UPLOAD {name} a29sYW0ga29sYW0").as_bytes());
    // A server that stores it does so as soon as it notices: so we ask again and again for a second.
    Outcome::of(!examiner.soon(|examiner| examiner.exists(&name)))
}

pub fn the_old_file_stays(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("old");
    let old = pattern(10_000);
    let stored = examiner.round_trip(&name, &old);
    abort(
        examiner,
        format!("UPLOAD {name} {}", &encode(&pattern(9000))[..8000]).as_bytes(),
    );
    Outcome::of(stored && !examiner.soon(|examiner| examiner.fetch(&name).as_deref() != Some(old.as_slice())))
}

/// Sends and closes at once.
fn abort(examiner: &mut Examiner, request: &[u8]) {
    if let Some(mut probe) = examiner.wire.open() {
        examiner.wire.send(&mut probe, request);
    }
}

/// OK comes after the file, not before: a second client looks at once.
pub fn ok_means_whole(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("whole");
    let rounds = (1..=3).map(|round| pattern(round * MIB));
    let whole = rounds.into_iter().all(|content| {
        examiner.store(&name, &content) && examiner.fetch(&name).as_deref() == Some(content.as_slice())
    });
    Outcome::of(whole)
}

/// Two contents replace each other while a reader asks again and again: it gets all of one or all of the
/// other.
pub fn readers_get_whole_files(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("swapped");
    let contents = [vec![b'A'; MIB], vec![b'B'; MIB]];
    let requests = contents.each_ref().map(|content| upload(&name, &encode(content)));
    let mut whole = examiner.round_trip(&name, &contents[0]);
    let mut writer = Wire::new(examiner.wire.address, examiner.wire.timeout);
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let rounds = requests.iter().cycle().take(SWAPS);
            rounds
                .into_iter()
                .all(|request| is_ok(writer.once(request).as_ref()))
        });
        while !writer.is_finished() && whole {
            whole = examiner
                .fetch(&name)
                .is_some_and(|content| contents.contains(&content));
        }
        whole &= writer.join().unwrap_or(false);
    });
    Outcome::of(whole)
}

/// Closing with bytes unread sends a reset: the server's next write fails.
pub fn clients_that_vanish(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("vanish");
    let stored = examiner.round_trip(&name, &pattern(MIB));
    for _ in 0..10 {
        let Some(mut probe) = examiner.wire.open() else {
            return Outcome::Fail;
        };
        examiner
            .wire
            .send(&mut probe, format!("GET {name}\r\n\r\n").as_bytes());
        let timeout = examiner.wire.timeout;
        examiner.wire.more(&mut probe, timeout);
    }
    Outcome::of(stored && is_ok(examiner.wire.once(LIST).as_ref()))
}

/// The reply to a refused upload arrives although the client has sent more than the server wants.
pub fn a_refusal_arrives(examiner: &mut Examiner) -> Outcome {
    let request = upload("..", &encode(&pattern(4 * MIB)));
    Outcome::of(is_error(examiner.wire.once(&request).as_ref()))
}

// ---- memory ----

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    iter::once(pid).chain(children).collect()
}

/// Peak of the memory of a process and its children since the last `forget_peak`, in KiB (VmHWM, see
/// proc(5)).
pub fn peak_kib(pid: u32) -> Option<u64> {
    family(pid).into_iter().map(peak_of).sum()
}

/// Lets the peak begin again at what is in use now (5 in clear_refs, see proc(5)); only the owner may.
pub fn forget_peak(pid: u32) -> io::Result<()> {
    let mut family = family(pid).into_iter();
    family.try_for_each(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5"))
}

fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Everything before this has moved up to 10 MiB (100 with --big): memory that followed the file shows.
pub fn memory(examiner: &mut Examiner) -> Outcome {
    let Some((pid, before)) = examiner.memory else {
        return Outcome::Skip("only with --pid".to_owned());
    };
    let Some(after) = peak_kib(pid) else {
        return Outcome::Skip(format!("process {pid} has gone"));
    };
    let grown = after.saturating_sub(before);
    if grown < 10 * 1024 {
        return Outcome::Pass;
    }
    Outcome::FailBecause(format!(
        "the peak grew by {} MiB while files of 10 MiB or more were moved: decode and write each piece as \
         it comes",
        grown / 1024
    ))
}

// ---- what explains a failure ----

/// The next port, if it answers LIST, too.
pub fn neighbours(examiner: &mut Examiner) -> Option<u16> {
    let own = examiner.wire.address;
    let port = own.port().checked_add(1)?;
    examiner.wire.address.set_port(port);
    let timeout = std::mem::replace(&mut examiner.wire.timeout, Duration::from_millis(300));
    let answers = is_ok(examiner.wire.once(LIST).as_ref());
    examiner.wire.address = own;
    examiner.wire.timeout = timeout;
    answers.then_some(port)
}
