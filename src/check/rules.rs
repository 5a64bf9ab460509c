//! What does the protocol demand of the words on the wire? Framing, JSON, base64, verbs: one function a rule;
//! the table in `check.rs` has their order.

use crate::check::Outcome;
use crate::check::examiner::{Examiner, decode, encode, pattern, quoted, upload};
use crate::check::probe::{LIST, is_error, is_ok};
use crate::json::Value;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough that the kernel delivers two sends as two reads.
const APART: Duration = Duration::from_millis(30);

// ---- framing ----

pub fn end(examiner: &mut Examiner) -> Outcome {
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    examiner.wire.send(&mut probe, LIST);
    Outcome::of(examiner.wire.frame(&mut probe).is_some())
}

/// Nothing may stand between a reply and the next.
pub fn one_reply(examiner: &mut Examiner) -> Outcome {
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    examiner.wire.send(&mut probe, LIST);
    let replied = examiner.wire.frame(&mut probe).is_some();
    Outcome::of(replied && probe.is_drained() && examiner.wire.more(&mut probe, APART * 3).is_none())
}

/// Clients exist that look for the end only in what they received last.
pub fn one_piece(examiner: &mut Examiner) -> Outcome {
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    examiner.wire.send(&mut probe, LIST);
    let timeout = examiner.wire.timeout;
    if examiner.wire.more(&mut probe, timeout).is_none() {
        return Outcome::Fail;
    }
    let begun = Instant::now();
    let whole = examiner.wire.frame(&mut probe).is_some();
    Outcome::of(whole && begun.elapsed() < APART / 2)
}

pub fn keeps_open(examiner: &mut Examiner) -> Outcome {
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    let first = examiner.wire.ask(&mut probe, LIST);
    let second = examiner.wire.ask(&mut probe, LIST);
    Outcome::of(first.is_some() && second.is_some())
}

fn in_pieces(examiner: &mut Examiner, pieces: &[&[u8]]) -> Outcome {
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    for piece in pieces {
        examiner.wire.send(&mut probe, piece);
        thread::sleep(APART);
    }
    let replied = is_ok(examiner.wire.reply(&mut probe).as_ref());
    Outcome::of(replied && probe.is_drained() && examiner.wire.more(&mut probe, APART).is_none())
}

pub fn split_reads(examiner: &mut Examiner) -> Outcome {
    in_pieces(examiner, &[b"LI", b"ST\r\n\r\n"])
}

pub fn byte_by_byte(examiner: &mut Examiner) -> Outcome {
    let bytes: Vec<&[u8]> = LIST.chunks(1).collect();
    in_pieces(examiner, &bytes)
}

pub fn end_cut_in_two(examiner: &mut Examiner) -> Outcome {
    in_pieces(examiner, &[b"LIST\r\n\r", b"\n"])
}

/// The first request is whole, and is answered, although the second has only begun.
pub fn end_inside(examiner: &mut Examiner) -> Outcome {
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    Outcome::of(is_ok(examiner.wire.ask(&mut probe, b"LIST\r\n\r\nLI").as_ref()))
}

pub fn two_at_once(examiner: &mut Examiner) -> Outcome {
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    let first = examiner.wire.ask(&mut probe, b"LIST\r\n\r\nLIST\r\n\r\n");
    let second = examiner.wire.reply(&mut probe);
    Outcome::of(is_ok(first.as_ref()) && is_ok(second.as_ref()))
}

pub fn upload_then_get(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("pipelined");
    let request = [
        upload(&name, "a29sYW0="),
        format!("GET {name}\r\n\r\n").into_bytes(),
    ]
    .concat();
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    let stored = examiner.wire.ask(&mut probe, &request);
    let fetched = examiner.wire.reply(&mut probe);
    let content = fetched
        .as_ref()
        .and_then(|reply| decode(reply.get("data_file")?.as_str()?));
    Outcome::of(is_ok(stored.as_ref()) && content.as_deref() == Some(b"kolam".as_slice()))
}

// ---- json ----

pub fn is_an_object(examiner: &mut Examiner) -> Outcome {
    let reply = examiner.wire.once(LIST);
    Outcome::of(reply.and_then(|reply| Some(reply.get("status")?.as_str()? == "OK")) == Some(true))
}

pub fn list_is_an_array(examiner: &mut Examiner) -> Outcome {
    Outcome::of(examiner.list().is_some())
}

/// The words of a request come back in many errors, and must be escaped there.
pub fn escapes(examiner: &mut Examiner) -> Outcome {
    let name = format!("no\"such\\file-{}", std::process::id());
    let reply = examiner
        .wire
        .once(format!("GET {}\r\n\r\n", quoted(&name)).as_bytes());
    Outcome::of(is_error(reply.as_ref()))
}

// ---- verbs ----

pub fn round_trip(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("hello");
    Outcome::of(examiner.round_trip(&name, b"hello, pool\n"))
}

pub fn lists_what_is_stored(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("listed");
    let stored = examiner.round_trip(&name, b"hello again\n");
    Outcome::of(stored && examiner.list().is_some_and(|names| names.contains(&name)))
}

pub fn replaces(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("twice");
    let long = examiner.round_trip(&name, b"a longer content");
    Outcome::of(long && examiner.round_trip(&name, b"short"))
}

pub fn letter_case(examiner: &mut Examiner) -> Outcome {
    Outcome::of(is_ok(examiner.wire.once(b"list\r\n\r\n").as_ref()))
}

pub fn unknown_verb(examiner: &mut Examiner) -> Outcome {
    Outcome::of(is_error(examiner.wire.once(b"FETCH a.txt\r\n\r\n").as_ref()))
}

pub fn open_after_an_error(examiner: &mut Examiner) -> Outcome {
    let Some(mut probe) = examiner.wire.open() else {
        return Outcome::Fail;
    };
    let refused = examiner.wire.ask(&mut probe, b"FETCH a.txt\r\n\r\n");
    let listed = examiner.wire.ask(&mut probe, LIST);
    Outcome::of(is_error(refused.as_ref()) && is_ok(listed.as_ref()))
}

pub fn missing_file(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("missing");
    Outcome::of(is_error(examiner.ask("GET", &name).as_ref()))
}

pub fn missing_name(examiner: &mut Examiner) -> Outcome {
    Outcome::of(is_error(examiner.wire.once(b"GET\r\n\r\n").as_ref()))
}

pub fn deletes(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("deleted");
    let stored = examiner.round_trip(&name, b"soon gone");
    let deleted = is_ok(examiner.ask("DELETE", &name).as_ref());
    Outcome::of(stored && deleted && examiner.soon(|examiner| !examiner.exists(&name)))
}

pub fn delete_of_nothing(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("never-stored");
    Outcome::of(is_error(examiner.ask("DELETE", &name).as_ref()))
}

/// An extra of some servers; the protocol works without it.
pub fn stats(examiner: &mut Examiner) -> Outcome {
    let reply = examiner.wire.once(b"STATS\r\n\r\n");
    if is_error(reply.as_ref()) {
        return Outcome::Skip("this server has no STATS".to_owned());
    }
    let workers = reply
        .as_ref()
        .and_then(|reply| reply.get("data")?.get("workers")?.as_u64());
    Outcome::of(is_ok(reply.as_ref()) && workers.is_some())
}

// ---- base64 ----

/// Lengths with each of the three paddings, and bytes that need `+` and `/`.
pub fn paddings(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("padding");
    let contents: [&[u8]; 3] = [b"\xfb", b"\xfb\xff", b"\xfb\xff\xfe"];
    Outcome::of(contents.iter().all(|content| examiner.round_trip(&name, content)))
}

fn stored_as(examiner: &mut Examiner, text: &str, content: &[u8]) -> Outcome {
    let name = examiner.name("base64");
    let stored = examiner.wire.once(&upload(&name, text));
    Outcome::of(is_ok(stored.as_ref()) && examiner.becomes(&name, content))
}

pub fn without_padding(examiner: &mut Examiner) -> Outcome {
    stored_as(examiner, "a29sYW0", b"kolam")
}

pub fn line_breaks(examiner: &mut Examiner) -> Outcome {
    let content = pattern(200);
    let text = encode(&content);
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(76)
        .map(|line| line.escape_ascii().to_string())
        .collect();
    stored_as(examiner, &lines.join("\n"), &content)
}

/// A text that is wrong stores nothing.
pub fn broken(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("broken");
    let reply = examiner.wire.once(&upload(&name, "a29s*W0="));
    Outcome::of(is_error(reply.as_ref()) && !examiner.exists(&name))
}

pub fn reply_is_padded(examiner: &mut Examiner) -> Outcome {
    let name = examiner.name("padded");
    let stored = examiner.store(&name, b"k") && examiner.becomes(&name, b"k");
    let reply = examiner.ask("GET", &name);
    let text = reply
        .as_ref()
        .and_then(|reply: &Value| reply.get("data_file")?.as_str());
    Outcome::of(stored && text == Some("aw=="))
}
