//! What does the protocol demand of the words on the wire? Framing, JSON, verbs, base64: one function a rule;
//! the table in `check.rs` has their order.

use crate::check::examiner::{Examiner, content, encode, quoted, upload};
use crate::check::probe::LIST;
use crate::check::{Graded, Why};

/// A reply of fewer bytes than this, written with one call, travels in one packet on any network.
const PACKET: usize = 1200;

/// One request is answered with OK.
pub fn ok(examiner: &Examiner, request: &str) -> Graded {
    Ok(examiner.wire.once(request.as_bytes())?.is_ok())
}

/// One request is answered with ERROR and a reason.
pub fn error(examiner: &Examiner, request: &str) -> Graded {
    Ok(examiner.wire.once(request.as_bytes())?.is_error())
}

// ---- framing ----

pub fn end(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    probe.send(LIST);
    probe.frame()?;
    Ok(true)
}

/// Nothing may stand between a reply and the next.
pub fn one_reply(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    probe.send(LIST);
    probe.frame()?;
    Ok(probe.is_silent())
}

/// Clients exist that look for the end only in what they received last. One packet is one receive, however
/// busy the machine is; two may come together by chance, so three replies are looked at.
pub fn one_piece(examiner: &Examiner) -> Graded {
    for _ in 0..3 {
        let mut probe = examiner.wire.open()?;
        probe.send(LIST);
        let first = probe.more(examiner.wire.limit());
        if first.unwrap_or(0) < PACKET && !probe.holds_a_reply() {
            return Ok(false);
        }
    }
    Ok(true)
}

pub fn keeps_open(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    probe.ask(LIST)?;
    probe.ask(LIST)?;
    Ok(true)
}

pub fn in_pieces(examiner: &Examiner, pieces: &[&str]) -> Graded {
    let mut probe = examiner.wire.open()?;
    for piece in pieces {
        probe.send(piece.as_bytes());
        probe.settle();
    }
    Ok(probe.reply()?.is_ok() && probe.is_silent())
}

pub fn two_at_once(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    let first = probe.ask(b"LIST\r\n\r\nLIST\r\n\r\n")?;
    Ok(first.is_ok() && probe.reply()?.is_ok())
}

pub fn upload_then_get(examiner: &Examiner) -> Graded {
    let name = examiner.name("pipelined");
    let get = format!("GET {name}\r\n\r\n").into_bytes();
    let mut probe = examiner.wire.open()?;
    let stored = probe.ask(&[upload(&name, "a29sYW0="), get].concat())?;
    Ok(stored.is_ok() && content(&probe.reply()?)? == b"kolam")
}

// ---- json ----

pub fn list_is_an_array(examiner: &Examiner) -> Graded {
    examiner.list()?;
    Ok(true)
}

/// The words of a request come back in many errors, and must be escaped there.
pub fn escapes(examiner: &Examiner) -> Graded {
    let name = quoted(&format!("no\"such\\file-{}", std::process::id()));
    let reply = examiner.wire.once(format!("GET {name}\r\n\r\n").as_bytes())?;
    Ok(reply.is_error())
}

// ---- verbs ----

pub fn lists_what_is_stored(examiner: &Examiner) -> Graded {
    let name = examiner.name("listed");
    Ok(examiner.round_trip(&name, b"hello again\n")? && examiner.lists(&name)?)
}

pub fn replaces(examiner: &Examiner) -> Graded {
    let name = examiner.name("twice");
    Ok(examiner.round_trip(&name, b"a longer content")? && examiner.round_trip(&name, b"short")?)
}

pub fn open_after_an_error(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    let refused = probe.ask(b"FETCH a.txt\r\n\r\n")?;
    Ok(refused.is_error() && probe.ask(LIST)?.is_ok())
}

pub fn deletes(examiner: &Examiner) -> Graded {
    let name = examiner.name("deleted");
    let stored = examiner.round_trip(&name, b"soon gone")?;
    let deleted = examiner.ask("DELETE", &name)?.is_ok();
    Ok(stored && deleted && examiner.soon(|| Ok(!examiner.exists(&name)?)))
}

/// An extra of some servers; the protocol works without it.
pub fn stats(examiner: &Examiner) -> Graded {
    let reply = examiner.wire.once(b"STATS\r\n\r\n")?;
    if reply.is_error() {
        return Err(Why::Skip("this server has no STATS".to_owned()));
    }
    let workers = reply.get("data").and_then(|data| data.get("workers")?.as_u64());
    examiner.workers.set(workers.map(|workers| workers as usize));
    Ok(reply.is_ok() && workers.is_some())
}

// ---- base64 ----

/// Lengths with each of the three paddings, and bytes that need `+` and `/`.
pub fn paddings(examiner: &Examiner) -> Graded {
    let name = examiner.name("padding");
    let mut good = true;
    for content in [b"\xfb".as_slice(), b"\xfb\xff", b"\xfb\xff\xfe"] {
        good = good && examiner.round_trip(&name, content)?;
    }
    Ok(good)
}

pub fn stored_as(examiner: &Examiner, text: &str, content: &[u8]) -> Graded {
    let name = examiner.name("base64");
    let stored = examiner.wire.once(&upload(&name, text))?;
    Ok(stored.is_ok() && examiner.becomes(&name, content))
}

pub fn line_breaks(examiner: &Examiner) -> Graded {
    let content = b"kolam ".repeat(33);
    let mut lines = encode(&content);
    for at in [228, 152, 76] {
        lines.insert(at, '\n');
    }
    stored_as(examiner, &lines, &content)
}

/// A text that is wrong stores nothing.
pub fn broken(examiner: &Examiner) -> Graded {
    let name = examiner.name("broken");
    let reply = examiner.wire.once(&upload(&name, "a29s*W0="))?;
    Ok(reply.is_error() && !examiner.exists(&name)?)
}

pub fn reply_is_padded(examiner: &Examiner) -> Graded {
    let name = examiner.name("padded");
    let stored = examiner.round_trip(&name, b"k")?;
    Ok(stored && examiner.ask("GET", &name)?.text("data_file")? == "aw==")
}
