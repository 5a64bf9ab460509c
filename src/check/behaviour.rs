//! What must hold whatever happens? Names, files, concurrency, robustness: one function a rule; the table in
//! `check.rs` has their order.

use crate::check::examiner::{Examiner, encode, pattern, upload};
use crate::check::probe::{LIST, Probe};
use crate::check::{Graded, Why};
use crate::sys;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

const MIB: usize = 1 << 20;

/// More workers than this are not counted; all of an event loop's clients are served at once.
const WORKERS: usize = 64;

/// Uploads during which another client reads: a server that writes under the file's own name is caught
/// nearly always.
const SWAPS: usize = 100;

// ---- names ----

pub fn quoted_name(examiner: &Examiner) -> Graded {
    let name = examiner.name("quoted");
    let request = format!("UPLOAD \"{name}\" a29sYW0=\r\n\r\n");
    let stored = examiner.wire.once(request.as_bytes())?.is_ok();
    Ok(stored && examiner.becomes(&name, b"kolam"))
}

pub fn blanks(examiner: &Examiner) -> Graded {
    let name = examiner.name("with two blanks");
    Ok(examiner.round_trip(&name, b"blanks")? && examiner.lists(&name)?)
}

pub fn case_kept(examiner: &Examiner) -> Graded {
    let name = examiner.name("Upper-Case.TXT");
    Ok(examiner.store(&name, b"case")? && examiner.soon(|| examiner.lists(&name)))
}

pub fn other_alphabets(examiner: &Examiner) -> Graded {
    let name = examiner.name("kölam-ಕೋಲಮ್");
    Ok(examiner.round_trip(&name, b"utf-8")? && examiner.lists(&name)?)
}

/// Paths that lead out of the folder are refused, whether or not something is there.
pub fn escape(examiner: &Examiner) -> Graded {
    let name = examiner.name("escaped");
    let outside = format!("../{name}");
    if examiner.wire.once(&upload(&outside, "a29sYW0="))?.is_ok() {
        let kept = examiner.exists(&name)?;
        let _ = examiner.ask("DELETE", &outside);
        return Err(Why::Because(if kept {
            "the path is cut off, and the file stored under another name than the client's: refuse it"
                .to_owned()
        } else {
            format!("it was stored outside of the folder, as {outside}: refuse names with / or \\")
        }));
    }
    paths_are_refused(examiner)
}

pub fn paths_are_refused(examiner: &Examiner) -> Graded {
    let mut refused = true;
    for path in ["/etc/passwd", "../../../../../../../../etc/passwd", ".."] {
        refused = refused && examiner.ask("GET", path)?.is_error();
    }
    Ok(refused)
}

// ---- files ----

pub fn hundred_mebibytes(examiner: &Examiner) -> Graded {
    match examiner.big {
        true => large(examiner, 100),
        false => Err(Why::Skip("only with --big".to_owned())),
    }
}

pub fn large(examiner: &Examiner, mebibytes: usize) -> Graded {
    let name = examiner.name("large");
    let fits = examiner.round_trip(&name, &pattern(mebibytes * MIB))?;
    examiner.ask("DELETE", &name)?;
    Ok(fits)
}

/// One upload of 4 MiB is compared with 32 of 128 KiB, half of them before it and half after it: the bytes
/// are the same, and other work on the machine slows both down alike.
pub fn growth(examiner: &Examiner) -> Graded {
    let name = examiner.name("growth");
    let seconds = |bytes: usize, times: usize| {
        let request = upload(&name, &encode(&pattern(bytes)));
        let begun = Instant::now();
        for _ in 0..times {
            if !examiner.wire.once(&request)?.is_ok() {
                return Err(Why::Wrong);
            }
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    let (before, large, after) = (seconds(MIB / 8, 16)?, seconds(4 * MIB, 1)?, seconds(MIB / 8, 16)?);
    let small = before + after;
    if large < 0.2 || large < 3.0 * small {
        return Ok(true);
    }
    examiner.wire.doubt.set(true);
    Err(Why::Because(format!(
        "one upload of 4 MiB took {large:.1} s, 32 of 128 KiB {small:.1} s: after each read the end is \
         searched from the start; search only what is new"
    )))
}

// ---- concurrency ----

/// Holds a connection that has said `bytes`, while another asks for something.
pub fn served_beside(examiner: &Examiner, bytes: &[u8], request: &[u8]) -> Graded {
    if examiner.workers.get() == Some(1) {
        return Err(Why::Skip("it has one worker".to_owned()));
    }
    let mut held = examiner.wire.open()?;
    held.send(bytes);
    held.settle();
    // Three times: the server may use late what it has read.
    for _ in 0..3 {
        examiner.wire.pause();
        let mut probe = examiner.wire.open()?;
        probe.send(request);
        probe.frame()?;
    }
    Ok(true)
}

pub fn beside_an_idle_client(examiner: &Examiner) -> Graded {
    let served = served_beside(examiner, b"", LIST);
    match served {
        Err(Why::Wrong) | Ok(false) => ports_of_their_own(examiner),
        _ => served,
    }
}

/// A "pool" of N servers on N ports serves one client at a time on each of them.
fn ports_of_their_own(examiner: &Examiner) -> Graded {
    let mut next = examiner.wire.address;
    next.set_port(next.port().checked_add(1).ok_or(Why::Wrong)?);
    if !examiner.wire.another(next).once(LIST)?.is_ok() {
        return Ok(false);
    }
    Err(Why::Because(format!(
        "port {} answers, too: these are servers on ports of their own, each for one client at a time; a \
         pool has one port, from which all workers accept",
        next.port()
    )))
}

pub fn beside_half_an_upload(examiner: &Examiner) -> Graded {
    let name = examiner.name("half");
    served_beside(examiner, format!("UPLOAD {name} a29sYW0").as_bytes(), LIST)
}

/// How many clients are served at once: one more is held in the middle of a request each time, until
/// another is not answered any more. So the workers are counted, and the server's own number is not believed.
pub fn workers(examiner: &Examiner) -> Graded {
    let claimed = examiner.workers.get().unwrap_or(2);
    let threads = || examiner.memory.map_or(0, |(pid, _)| sys::threads(pid));
    let answers = || examiner.wire.once(LIST).is_ok_and(|reply| reply.is_ok());
    let (before, mut held) = (threads(), Vec::<Probe>::new());
    // A server may be late once.
    while held.len() < WORKERS && (answers() || answers()) {
        let mut next = examiner.wire.open()?;
        next.send(b"LI");
        held.push(next);
    }
    let (measured, more) = (held.len(), threads().saturating_sub(before));
    drop(held);
    examiner.soon(|| Ok(answers()));
    match measured {
        _ if measured < claimed.min(WORKERS) => Err(Why::Because(format!(
            "{claimed} workers claimed, {} served at a time: who accepts must hand connections on",
            if measured == 1 {
                "1 connection is".to_owned()
            } else {
                format!("{measured} connections are")
            }
        ))),
        // Some of those before may have been about to end.
        WORKERS if more > WORKERS / 2 => Err(Why::Remark(format!(
            "{WORKERS} clients are {more} threads or processes more: the clients choose how many; set a limit"
        ))),
        WORKERS => Ok(true),
        _ => Err(Why::Remark(format!(
            "{measured} clients are served at once; the next waits until one of them leaves"
        ))),
    }
}

// ---- robustness ----

/// Half an upload and the end of the stream. The server has noticed when it closes, too; what it does then,
/// it does within a moment.
pub fn abort(examiner: &Examiner, request: &str) -> Result<(), Why> {
    let mut probe = examiner.wire.open()?;
    probe.send(request.as_bytes());
    probe.leave();
    examiner.wire.pause();
    Ok(())
}

pub fn half_an_upload(examiner: &Examiner) -> Graded {
    let name = examiner.name("cut");
    abort(examiner, &format!("UPLOAD {name} a29sYW0ga29sYW0"))?;
    Ok(!examiner.exists(&name)?)
}

pub fn the_old_file_stays(examiner: &Examiner) -> Graded {
    let name = examiner.name("old");
    let old = pattern(10_000);
    let stored = examiner.round_trip(&name, &old)?;
    let new = encode(&pattern(9000));
    abort(examiner, &format!("UPLOAD {name} {}", &new[..8000]))?;
    Ok(stored && examiner.fetch(&name)? == old)
}

/// OK comes after the file, not before: another client looks at once.
pub fn ok_means_whole(examiner: &Examiner) -> Graded {
    let name = examiner.name("whole");
    for round in 1..=3 {
        let content = pattern(round * MIB);
        if !examiner.store(&name, &content)? || examiner.fetch(&name)? != content {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Two contents replace each other while a reader asks again and again: it gets all of one or all of the
/// other.
pub fn readers_get_whole_files(examiner: &Examiner) -> Graded {
    let name = examiner.name("swapped");
    let contents = [vec![b'A'; MIB / 4], vec![b'B'; MIB / 4]];
    let requests = contents.each_ref().map(|content| upload(&name, &encode(content)));
    if !examiner.round_trip(&name, &contents[0])? {
        return Ok(false);
    }
    let (whole, wire) = (
        AtomicBool::new(true),
        examiner.wire.another(examiner.wire.address),
    );
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (wire, mut swaps) = (wire, requests.iter().cycle().take(SWAPS));
            let stored = |request: &Vec<u8>| wire.once(request).is_ok_and(|reply| reply.is_ok());
            swaps.all(|request| whole.load(Ordering::Relaxed) && stored(request))
        });
        while !writer.is_finished() && whole.load(Ordering::Relaxed) {
            let read = examiner.fetch(&name);
            let good = read.is_ok_and(|content| contents.contains(&content));
            whole.store(good, Ordering::Relaxed);
        }
        let stored = writer.join().unwrap_or(false);
        let whole = whole.load(Ordering::Relaxed);
        if whole && !stored {
            // The writer had no answer.
            examiner.wire.doubt.set(true);
        }
        Ok(whole && stored)
    })
}

/// Closing with bytes unread sends a reset: the server's next write fails.
pub fn clients_that_vanish(examiner: &Examiner) -> Graded {
    let name = examiner.name("vanish");
    let stored = examiner.round_trip(&name, &pattern(MIB))?;
    for _ in 0..10 {
        let mut probe = examiner.wire.open()?;
        probe.send(format!("GET {name}\r\n\r\n").as_bytes());
        probe.more(examiner.wire.limit());
    }
    Ok(stored && examiner.wire.once(LIST)?.is_ok())
}

/// The reply to a refused upload arrives although the client has sent more than the server wants.
pub fn a_refusal_arrives(examiner: &Examiner) -> Graded {
    let request = upload("..", &encode(&pattern(4 * MIB)));
    Ok(examiner.wire.once(&request)?.is_error())
}

/// A client that says half a request and no more must not hold a worker for ever.
pub fn silence(examiner: &Examiner) -> Graded {
    let Some(patience) = examiner.patience else {
        return Err(Why::Skip(
            "only with --patience, such as --patience 60s".to_owned(),
        ));
    };
    let mut probe = examiner.wire.open()?;
    probe.send(b"LI");
    // A reply or the end of the stream.
    if probe.more(patience).is_some() {
        return Ok(true);
    }
    Err(Why::Remark(format!(
        "a client that stops in the middle of a request keeps its connection for more than {patience:?}: as \
         many such clients as there are workers stop the server; give every read a time limit"
    )))
}

// ---- memory ----

/// Everything before this has moved up to 10 MiB (100 with --big): memory that followed the file shows.
pub fn memory(examiner: &Examiner) -> Graded {
    let Some((pid, before)) = examiner.memory else {
        return Err(Why::Skip("only with --pid".to_owned()));
    };
    let Some(after) = sys::peak_memory(pid) else {
        return Err(Why::Skip(format!("process {pid} has gone")));
    };
    let grown = after.saturating_sub(before) / 1024;
    if grown < 10 {
        return Ok(true);
    }
    Err(Why::Because(format!(
        "the peak grew by {grown} MiB while files of 10 MiB or more were moved: decode and write each piece \
         as it comes"
    )))
}
