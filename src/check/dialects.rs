//! Which of the course's four dialects does a server speak, and is it right in that one? A request of
//! `delimiter` is answered in all but `sized`, so most rules are those of the other tables; here is what
//! differs.

use crate::check::behaviour::{self, served_beside};
use crate::check::examiner::{Examiner, encode, pattern};
use crate::check::probe::{LIST, Probe, Wire};
use crate::check::{Graded, Rule, Why, rule, rules};

/// The answers to the question where a message ends.
pub const DIALECTS: [&str; 4] = ["delimiter", "line", "sized", "pause"];

/// GET of a file that is not there.
const MISSING: &str = "GET kolam-check-nothing\r\n\r\n";

/// What a server plainly speaks, and how that shows. `None`: it does not show.
pub fn spoken(wire: &Wire) -> Result<Option<(&'static str, &'static str)>, Why> {
    let mut probe = wire.open()?;
    probe.send(LIST);
    let first = probe.frame();
    let received = wire.transcript.take().received;
    if received.starts_with(b"HTTP/") {
        return Ok(Some(("http", "its first word is HTTP")));
    }
    // Replies come in order: what comes next answers the empty line, where that is a request.
    if first.is_ok() {
        probe.send(LIST);
        let second = probe.frame().unwrap_or_default();
        if second.windows(7).any(|window| window == b"dikenal") {
            return Ok(Some((
                "line",
                "a line is a request: LIST\\r\\n\\r\\n got two replies",
            )));
        }
    }
    if received.starts_with(b"{") && received.windows(4).any(|word| word == b"\"OK\"") {
        return Ok(Some((
            "delimiter",
            "LIST\\r\\n\\r\\n is answered with one JSON object",
        )));
    }
    drop(probe);
    // It closes without a word when one is missing.
    let sized = words(wire, MISSING);
    let sized = sized.is_ok_and(|reply| reply.starts_with(b"ERROR "));
    Ok(sized.then_some(("sized", "its replies are words and not JSON")))
}

/// The rules of a dialect other than `delimiter`.
pub fn rules_of(dialect: &str) -> &'static [Rule] {
    match dialect {
        "line" => LINE,
        "sized" => SIZED,
        _ => PAUSE,
    }
}

#[rustfmt::skip]
static LINE: &[Rule] = &[
    rule(("framing", "line"), "", |examiner| rules::ok(examiner, "LIST\n"),
        "LIST\\n is answered, and the reply ends with \\r\\n\\r\\n",
        "the server waits for \\r\\n\\r\\n: if that is meant, grade it without --dialect"),
    rule(("framing", "one-piece"), "line", rules::one_piece,
        "a small reply comes in one piece",
        "two calls write the reply and its end, and clients look for it in one receive: join them"),
    rule(("framing", "cut-line"), "line",
        |examiner| rules::in_pieces(examiner, &["LI", "ST\n"]),
        "LI, a pause, and ST\\n are one request",
        "each receive is taken for a whole request: collect bytes until the line end is there"),
    rule(("framing", "two-lines"), "line", two_lines,
        "two lines in one packet get two replies",
        "what came after the first line is thrown away: keep it, it is the next request"),
    rule(("framing", "cut-off"), "line", cut_off_line,
        "LIST without its line end, and then the end of the stream, is no request",
        "the end of the stream is taken for a line end"),
    rule(("verbs", "list"), "line", rules::list_is_an_array,
        "\"data\" of LIST is an array of strings",
        "the names are joined to one string, or have another key"),
    rule(("verbs", "unknown"), "two-lines", unknown_line,
        "an unknown line is answered with ERROR, and the connection stays open",
        "an error ends the connection: send the reason, and read the next line"),
    rule(("verbs", "missing-file"), "line",
        |examiner| rules::error(examiner, MISSING),
        "GET of a file that does not exist is answered with ERROR",
        "the error of open is not caught"),
    rule(("files", "ready"), "line",
        |examiner| begin_upload(examiner).map(|_| true),
        "UPLOAD is answered with READY TO RECEIVE FILE before any content is sent",
        "the server waits for the content first, and so client and server wait for each other"),
    rule(("files", "round-trip"), "ready",
        |examiner| stored_lines(examiner, &encode(KOLAM.0), KOLAM.0),
        "lines of base64 and ENDUPLOAD store a file, and GET under its new name gives it back",
        "a line is lost, or its end is decoded with it"),
    rule(("files", "fingerprint"), "round-trip", fingerprint,
        "the new name is the MD5 of the content and an extension by its first bytes",
        "the MD5 of the base64 text is taken, or that of the last line alone"),
    rule(("files", "padded-lines"), "round-trip",
        |examiner| stored_lines(examiner, "a29sYQ==\nbQ==", b"kolam"),
        "each line is decoded by itself: it may be padded",
        "the lines are joined before they are decoded"),
    rule(("files", "whole-lines"), "round-trip", whole_lines,
        "a line that only begins with ENDUPLOAD is content",
        "ENDUPLOAD is searched for inside the lines, but its letters are base64: compare whole lines"),
    rule(("files", "every-byte"), "round-trip", many_lines,
        "a file of some thousand lines, with every byte value, comes back",
        "a receive that ends inside a line is decoded as it is"),
    rule(("files", "deletes"), "round-trip", deletes_by_new_name,
        "DELETE of the new name removes the file",
        "DELETE is missing, or says OK without doing it"),
    rule(("names", "escape"), "missing-file", behaviour::paths_are_refused,
        "a name that leads out of the folder is refused",
        "the name is joined to the folder as it comes: refuse names with /, \\ or a leading dot"),
    rule(("concurrency", "idle-client"), "line", behaviour::beside_an_idle_client,
        "a client is served while another is connected and says nothing",
        "connections are served one after another: hand each to a thread, a process or an event loop"),
    rule(("concurrency", "beside-upload"), "idle-client ready",
        |examiner| served_beside(examiner, b"UPLOAD a.txt\na29s\n", LIST),
        "a client is served while another is in the middle of an upload",
        "a lock is held while a request is read"),
    rule(("robustness", "half-upload"), "fingerprint deletes", half_line_upload,
        "an upload without ENDUPLOAD stores nothing",
        "the end of the stream is taken for the end of the upload"),
];

#[rustfmt::skip]
static SIZED: &[Rule] = &[
    rule(("framing", "words"), "",
        |examiner| answers(examiner, MISSING, "ERROR "),
        "GET of a file that does not exist is answered with ERROR, words and \\r\\n\\r\\n",
        "the reply lacks its end, or the server waits for something else"),
    rule(("framing", "closes"), "words", closes,
        "the server closes after its reply",
        "the connection is kept: a client that counts on its end waits for ever"),
    rule(("framing", "head-cut-in-two"), "words", head_in_pieces,
        "a head that comes in pieces is one head",
        "each receive is taken for a whole head: collect bytes until \\r\\n\\r\\n is there"),
    rule(("framing", "no-size"), "words",
        |examiner| answers(examiner, "UPLOAD kolam-check-nothing\r\n\r\n", "ERROR "),
        "UPLOAD without a length is answered with ERROR",
        "the third word is used before it is known to exist"),
    rule(("files", "round-trip"), "words", sized_round_trip,
        "OK Ready to receive, base64 of the told length, OK Upload complete; GET gives the bytes as they are",
        "the length counts the base64 text, not the file; the reply to GET is raw"),
    rule(("files", "with-the-head"), "round-trip",
        |examiner| in_one_packet(examiner, "a29sYW0="),
        "content that comes together with the head is part of the file",
        "what was received after the head is thrown away"),
    rule(("files", "beyond"), "with-the-head",
        |examiner| in_one_packet(examiner, "a29sYW0=a29sYW0="),
        "bytes after the told length are not part of the file",
        "the content is taken up to the end of what was received"),
    rule(("files", "empty"), "round-trip",
        |examiner| sized_becomes(examiner, "", b""),
        "length 0 makes an empty file, and GET answers OK 0",
        "the server waits for content that never comes"),
    rule(("files", "every-byte"), "round-trip", sized_every_byte,
        "a file of 1 MiB with every byte value comes back",
        "one receive is taken for the whole content: receive until the length is there"),
    rule(("files", "broken"), "round-trip", sized_broken,
        "content that is not base64 is answered with ERROR, and the old file stays",
        "the decoder drops what it does not know, or the file is opened too early"),
    rule(("names", "escape"), "words",
        |examiner| answers(examiner, "GET ../../../../../../../../etc/passwd\r\n\r\n", "ERROR "),
        "a name that leads out of the folder gets nothing",
        "the name is joined to the folder as it comes: take its last part alone"),
    rule(("concurrency", "idle-client"), "words",
        |examiner| served_beside(examiner, b"", MISSING.as_bytes()),
        "a client is served while another is connected and says nothing",
        "connections are served one after another: hand each to a thread, a process or an event loop"),
    rule(("robustness", "half-upload"), "round-trip", sized_half,
        "an upload that breaks off stores nothing, and the old file stays",
        "the file is opened under its own name too early, or the length is not compared"),
];

#[rustfmt::skip]
static PAUSE: &[Rule] = &[
    rule(("framing", "silence"), "", |examiner| rules::ok(examiner, "LIST"),
        "LIST, and then nothing, is answered with JSON and \\r\\n\\r\\n",
        "the server waits for \\r\\n\\r\\n: if that is meant, grade it without --dialect"),
    rule(("framing", "end"), "silence", rules::one_reply,
        "LIST\\r\\n\\r\\n gets one reply",
        "the end is taken for a second request"),
    rule(("verbs", "list"), "end", rules::list_is_an_array,
        "\"data\" of LIST is an array of strings",
        "the names are joined to one string, or have another key"),
    rule(("verbs", "missing-file"), "silence",
        |examiner| rules::error(examiner, "GET kolam-check-nothing"),
        "GET of a file that does not exist, and then nothing, is answered with ERROR",
        "the error of open is not caught"),
    rule(("verbs", "stats"), "missing-file", rules::stats,
        "STATS, if there is one, tells the number of workers",
        "\"data\" has no number \"workers\""),
    rule(("files", "round-trip"), "end",
        |examiner| examiner.round_trip(&examiner.name("hello"), b"hello, pool\n"),
        "what UPLOAD with \\r\\n\\r\\n stored comes back with GET",
        "a byte is lost or added: look at slices, at the end mark, and at the length read"),
    rule(("files", "upload-needs-its-end"), "missing-file", upload_and_silence,
        "UPLOAD, and then nothing, is answered with ERROR, and nothing is stored",
        "silence is taken for the end of the content: a slow sender would store half a file"),
    rule(("names", "escape"), "missing-file list", behaviour::escape,
        "a name that leads out of the folder is refused",
        "the name is joined to the folder as it comes: refuse names with /, \\ or a leading dot"),
    rule(("concurrency", "idle-client"), "end", behaviour::beside_an_idle_client,
        "a client is served while another is connected and says nothing",
        "connections are served one after another: hand each to a thread, a process or an event loop"),
    rule(("robustness", "half-upload"), "upload-needs-its-end", behaviour::half_an_upload,
        "an upload that breaks off stores nothing",
        "the end of the stream is taken for the end of the request"),
];

/// One request on a connection of its own, and the words of its reply.
fn words(wire: &Wire, request: &str) -> Result<Vec<u8>, Why> {
    let mut probe = wire.open()?;
    probe.send(request.as_bytes());
    probe.frame()
}

// ---- line ----

/// A content with the name that its MD5 gives it.
const KOLAM: (&[u8], &str) = (b"kolam check\n", "70d747a5d6f4f289186e1e090913d707");
const PICTURE: (&[u8], &str) = (
    b"\x89PNG\r\n\x1a\nkolam check\n",
    "6d8e6c645995cd3e5695efe721dc74d8.png",
);

fn two_lines(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    Ok(probe.ask(b"LIST\nLIST\n")?.is_ok() && probe.reply()?.is_ok())
}

fn cut_off_line(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    probe.send(b"LIST");
    probe.leave();
    Ok(examiner.wire.transcript.borrow().received.is_empty())
}

fn unknown_line(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    Ok(probe.ask(b"FETCH a.txt\n")?.is_error() && probe.ask(b"LIST\n")?.is_ok())
}

/// A connection on which the server waits for lines of content.
fn begin_upload(examiner: &Examiner) -> Result<Probe<'_>, Why> {
    let mut probe = examiner.wire.open()?;
    probe.send(b"UPLOAD a.txt\n");
    match probe.frame()? {
        reply if reply == b"READY TO RECEIVE FILE" => Ok(probe),
        _ => Err(Why::Wrong),
    }
}

/// Uploads these lines; returns the name that the server gives to the file.
fn store_lines(examiner: &Examiner, lines: &str) -> Result<String, Why> {
    let reply = begin_upload(examiner)?.ask(format!("{lines}\nENDUPLOAD\n").as_bytes())?;
    let path = reply.get("data").and_then(|data| data.get("file_path")?.as_str());
    let path = path.filter(|_| reply.is_ok()).ok_or(Why::Wrong)?;
    let name = path.rsplit('/').next().unwrap_or(path).to_owned();
    examiner.made(&name);
    Ok(name)
}

/// Whether these lines are stored as this content.
fn stored_lines(examiner: &Examiner, lines: &str, content: &[u8]) -> Graded {
    let name = store_lines(examiner, lines)?;
    Ok(examiner.becomes(&name, content))
}

fn fingerprint(examiner: &Examiner) -> Graded {
    let names = [KOLAM, PICTURE].map(|(content, name)| Ok(store_lines(examiner, &encode(content))? == name));
    let [text, picture] = names;
    Ok(text? && picture?)
}

fn whole_lines(examiner: &Examiner) -> Graded {
    stored_lines(
        examiner,
        "ENDUPLOADEND\na29s",
        b"\x10\xd0\xd4\x3c\xb3\x80\x0c\x43\x43kol",
    )
}

fn many_lines(examiner: &Examiner) -> Graded {
    let content = pattern(200_000);
    let lines: Vec<String> = content.chunks(57).map(encode).collect();
    stored_lines(examiner, &lines.join("\r\n"), &content)
}

fn deletes_by_new_name(examiner: &Examiner) -> Graded {
    let name = store_lines(examiner, &encode(KOLAM.0))?;
    let deleted = examiner.ask("DELETE", &name)?.is_ok();
    Ok(deleted && examiner.ask("GET", &name)?.is_error())
}

fn half_line_upload(examiner: &Examiner) -> Graded {
    // What is looked for must not be there from before.
    let _ = examiner.ask("DELETE", KOLAM.1)?;
    let mut probe = begin_upload(examiner)?;
    probe.send(format!("{}\n", encode(KOLAM.0)).as_bytes());
    probe.leave();
    examiner.wire.pause();
    Ok(!examiner.exists(KOLAM.1)?)
}

// ---- sized ----

/// Whether the reply to a request of its own begins like this.
fn answers(examiner: &Examiner, request: &str, start: &str) -> Graded {
    Ok(words(&examiner.wire, request)?.starts_with(start.as_bytes()))
}

fn closes(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    probe.send(MISSING.as_bytes());
    probe.frame()?;
    Ok(matches!(probe.more(examiner.wire.limit()), Some(0)))
}

fn head_in_pieces(examiner: &Examiner) -> Graded {
    let mut probe = examiner.wire.open()?;
    for piece in ["GET kolam-che", "ck-nothing\r\n\r", "\n"] {
        probe.send(piece.as_bytes());
        probe.settle();
    }
    Ok(probe.frame()?.starts_with(b"ERROR "))
}

/// Uploads `text`, its length as told, after the server is ready; returns the last words.
fn send_sized(examiner: &Examiner, name: &str, text: &str) -> Result<Vec<u8>, Why> {
    let mut probe = examiner.wire.open()?;
    probe.send(format!("UPLOAD {name} {}\r\n\r\n", text.len()).as_bytes());
    if !probe.frame()?.starts_with(b"OK Ready") {
        return Err(Why::Wrong);
    }
    probe.send(text.as_bytes());
    probe.frame()
}

/// What GET sends: `OK`, the number of bytes, the end, and the bytes.
fn get_sized(examiner: &Examiner, name: &str) -> Result<Vec<u8>, Why> {
    let mut probe = examiner.wire.open()?;
    probe.send(format!("GET {name}\r\n\r\n").as_bytes());
    let head = probe.frame()?;
    let length = head
        .strip_prefix(b"OK ")
        .and_then(|length| str::from_utf8(length).ok()?.parse().ok());
    probe.take(length.ok_or(Why::Wrong)?)
}

fn sized_becomes(examiner: &Examiner, text: &str, content: &[u8]) -> Graded {
    let name = examiner.name("sized");
    let stored = send_sized(examiner, &name, text)?.starts_with(b"OK Upload");
    Ok(stored && get_sized(examiner, &name)? == content)
}

fn sized_round_trip(examiner: &Examiner) -> Graded {
    sized_becomes(examiner, &encode(KOLAM.0), KOLAM.0)
}

fn sized_every_byte(examiner: &Examiner) -> Graded {
    let content = pattern(1 << 20);
    sized_becomes(examiner, &encode(&content), &content)
}

/// Head and content in one packet, with a told length of 8 bytes.
fn in_one_packet(examiner: &Examiner, content: &str) -> Graded {
    let name = examiner.name("sized");
    let mut probe = examiner.wire.open()?;
    probe.send(format!("UPLOAD {name} 8\r\n\r\n{content}").as_bytes());
    let ready = probe.frame()?.starts_with(b"OK Ready");
    let stored = ready && probe.frame()?.starts_with(b"OK Upload");
    Ok(stored && get_sized(examiner, &name)? == b"kolam")
}

fn sized_broken(examiner: &Examiner) -> Graded {
    let whole = sized_round_trip(examiner)?;
    let name = examiner.name("sized");
    let refused = send_sized(examiner, &name, "a29s*W0=")?.starts_with(b"ERROR ");
    Ok(whole && refused && get_sized(examiner, &name)? == KOLAM.0)
}

fn sized_half(examiner: &Examiner) -> Graded {
    let (name, missing) = (examiner.name("sized"), examiner.name("cut"));
    let whole = sized_round_trip(examiner)?;
    for name in [&name, &missing] {
        behaviour::abort(examiner, &format!("UPLOAD {name} 8\r\n\r\na29s"))?;
    }
    let kept = whole && get_sized(examiner, &name)? == KOLAM.0;
    Ok(kept && answers(examiner, &format!("GET {missing}\r\n\r\n"), "ERROR ")?)
}

// ---- pause ----

fn upload_and_silence(examiner: &Examiner) -> Graded {
    let name = examiner.name("silent");
    let reply = examiner.wire.once(format!("UPLOAD {name} a29sYW0=").as_bytes())?;
    Ok(reply.is_error() && !examiner.exists(&name)?)
}
