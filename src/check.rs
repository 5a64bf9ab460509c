//! # Chapter 18. Is that server right, and if not, why?
//!
//! A grader for any server of the file protocol, in any language. Each rule is one function that talks to the
//! server and says pass, fail or skip; a table gives the rules their order, their groups and the words for a
//! student: what was expected, and what usually causes the failure.
//!
//! ```text
//!   recognise ─► rule by rule, in the order of the table ─► clean up ─► report, exit code
//!                 └─ what it needs has failed: skip, so that one mistake is one failure
//! ```
//!
//! The invariant: it demands what the protocol demands of every server, not what ours adds (STATS, its
//! words, its limits), and it leaves nothing on the server, or says what.
//!
//! What must not live here: the client of this program. It must not share a mistake with what it grades.
//!
//! before: `bench.rs` … after: `report.rs`
//!
//! Experiment:
//! edit: each rule is tried, also when what it needs has failed, so one mistake is many failures
//! run: cargo test --locked --test it check::a_finding
//! see: a_finding_shows_both_sides_and_names_the_cause ... FAILED

mod dialects; // line, sized, pause
mod behaviour; // names, files, concurrency, robustness
mod examiner; // files stored and fetched, what is left
mod probe; // connections, and what crossed them
mod quick; // a few questions before a stress test
mod report; // text, Markdown, JSON
mod rules; // framing, JSON, verbs, base64

pub use quick::{quick, served_at_once};

use crate::access::{TOKEN_FILE, carry};
use crate::cli::{Args, Command, Failure, failed, opt, print, usage};
use crate::sys::{self, Listen, Pid, Stop};
use examiner::{Examiner, pattern};
use probe::Wire;
use report::Finding;
use std::io::{self, Write};

/// Why a rule has not simply been passed.
#[derive(Debug)]
pub enum Why {
    /// It failed; the table has the usual cause.
    Wrong,
    /// It failed, and the rule knows the cause better than the table.
    Because(String),
    /// It could not be tried, or asks for what not every server has.
    Skip(String),
    /// It is passed, and there is something to know that the protocol leaves open.
    Remark(String),
}

/// What a rule found: passed or not. What it needs on its way and does not get ends it with `?`.
pub type Graded = Result<bool, Why>;

/// A demand of the protocol.
struct Rule {
    group: &'static str,
    name: &'static str,
    /// The rule without which this one cannot be tried; empty: none.
    needs: &'static str,
    test: fn(&Examiner) -> Graded,
    expected: &'static str,
    cause: &'static str,
}

/// The rules that --quick leaves out: they need several megabytes; what needs them is skipped, too.
const HEAVY: [&str; 4] = ["growth", "10-mib", "ok-means-whole", "whole-files"];

/// Shorthand for the table.
const fn rule(
    (group, name): (&'static str, &'static str),
    needs: &'static str,
    test: fn(&Examiner) -> Graded,
    expected: &'static str,
    cause: &'static str,
) -> Rule {
    Rule {
        group,
        name,
        needs,
        test,
        expected,
        cause,
    }
}

#[rustfmt::skip]
static RULES: &[Rule] = &[
    rule(("framing", "end"), "", rules::end,
        "LIST\\r\\n\\r\\n is answered, and the reply ends with \\r\\n\\r\\n",
        "the reply lacks its end, or the server waits for something else; look at the first bytes"),
    rule(("framing", "one-reply"), "end", rules::one_reply,
        "one reply to one request, and nothing after it",
        "something is written after the reply, or the empty line is taken for a second request"),
    rule(("framing", "one-piece"), "end", rules::one_piece,
        "a small reply comes in one piece",
        "two calls write the reply and its end, and Nagle's algorithm holds the second back: join them"),
    rule(("json", "object"), "end",
        |examiner| rules::ok(examiner, "LIST\r\n\r\n"),
        "a reply is one JSON object with \"status\": \"OK\"",
        "the reply is no JSON, or has no status"),
    rule(("framing", "keeps-open"), "object", rules::keeps_open,
        "a second request on the same connection is answered",
        "the connection is closed after one reply: read the next request in a loop"),
    rule(("framing", "split-reads"), "one-reply object",
        |examiner| rules::in_pieces(examiner, &["LI", "ST\r\n\r\n"]),
        "LI, a pause, and ST\\r\\n\\r\\n are one request",
        "each receive is taken for a whole request: collect bytes until the end comes, or --dialect pause"),
    rule(("framing", "end-cut-in-two"), "split-reads",
        |examiner| rules::in_pieces(examiner, &["LIST\r\n\r", "\n"]),
        "\\r\\n\\r and, after a pause, \\n are one end",
        "the end is looked for in the latest receive alone: begin 3 bytes before it"),
    rule(("framing", "byte-by-byte"), "end-cut-in-two",
        |examiner| rules::in_pieces(examiner, &["L", "I", "S", "T", "\r", "\n", "\r", "\n"]),
        "a request that comes byte by byte is one request",
        "each receive is taken for a whole request: collect bytes until the end is there"),
    rule(("framing", "end-inside"), "split-reads",
        |examiner| rules::ok(examiner, "LIST\r\n\r\nLI"),
        "a request is answered although the first bytes of the next came with it",
        "the end is looked for at the end of the buffer only: search inside"),
    rule(("framing", "two-at-once"), "end-inside keeps-open", rules::two_at_once,
        "two requests in one packet get two replies",
        "what came after the first request is thrown away: keep it, it is the next request"),
    rule(("json", "list"), "object", rules::list_is_an_array,
        "\"data\" of LIST is an array of strings",
        "the names are joined to one string, or have another key"),
    rule(("verbs", "unknown"), "object",
        |examiner| rules::error(examiner, "FETCH a.txt\r\n\r\n"),
        "an unknown verb is answered with \"status\": \"ERROR\" and a reason in \"data\"",
        "an error ends the connection without a reply: send the reason, as any reply"),
    rule(("verbs", "open-after-error"), "unknown keeps-open one-reply", rules::open_after_an_error,
        "after an error, the next request is answered on the same connection",
        "the loop ends at the first error: go on with the next request"),
    rule(("verbs", "letter-case"), "object",
        |examiner| rules::ok(examiner, "list\r\n\r\n"),
        "list is LIST",
        "verbs are compared with their letter case: turn the verb to upper case, and only the verb"),
    rule(("verbs", "missing-name"), "unknown",
        |examiner| rules::error(examiner, "GET\r\n\r\n"),
        "GET without a name is answered with ERROR",
        "the second word is used before it is known to exist, and an exception ends the worker"),
    rule(("verbs", "missing-file"), "unknown",
        |examiner| rules::error(examiner, "GET kolam-check-nothing\r\n\r\n"),
        "GET of a file that does not exist is answered with ERROR",
        "the error of open is not caught, or an empty file is sent instead"),
    rule(("json", "escapes"), "missing-file", rules::escapes,
        "an error whose text holds quotes and backslashes is still JSON",
        "JSON is glued together from pieces: use a JSON library, or escape \\\" and \\\\"),
    rule(("verbs", "round-trip"), "object",
        |examiner| examiner.round_trip(&examiner.name("hello"), b"hello, pool\n"),
        "what UPLOAD stored comes back with GET, byte by byte",
        "a byte is lost or added: look at slices, at the end mark, and at the length read"),
    rule(("verbs", "listed"), "round-trip list", rules::lists_what_is_stored,
        "LIST tells the name of a stored file, exactly",
        "quotes, blanks or a path are kept as part of the name"),
    rule(("verbs", "replaces"), "round-trip", rules::replaces,
        "a second UPLOAD of a name replaces the first",
        "the old file is opened without cutting it off, or kept under another name"),
    rule(("verbs", "deletes"), "round-trip list missing-file", rules::deletes,
        "DELETE removes the file, and GET then says ERROR",
        "DELETE is missing, or says OK without doing it"),
    rule(("verbs", "delete-nothing"), "deletes",
        |examiner| rules::error(examiner, "DELETE kolam-check-nothing\r\n\r\n"),
        "DELETE of a file that does not exist is answered with ERROR",
        "the error of remove is not looked at"),
    rule(("verbs", "stats"), "unknown", rules::stats,
        "STATS, if there is one, tells the number of workers",
        "\"data\" has no number \"workers\""),
    rule(("base64", "paddings"), "replaces", rules::paddings,
        "files of 1, 2 and 3 bytes come back, with + and / in their text",
        "another alphabet (URL-safe), or padding that is left out or counted wrong"),
    rule(("base64", "reply-padded"), "round-trip", rules::reply_is_padded,
        "the content in a reply is padded: aw== for the byte k",
        "the padding is cut off: a reply that was cut could not be told from a whole one"),
    rule(("base64", "unpadded"), "paddings",
        |examiner| rules::stored_as(examiner, "a29sYW0", b"kolam"),
        "a text without its padding is accepted",
        "the decoder insists on =: add what is missing before decoding"),
    rule(("base64", "line-breaks"), "paddings", rules::line_breaks,
        "line breaks inside the text are skipped",
        "the text is cut at the first line break: only \\r\\n\\r\\n ends it"),
    rule(("base64", "broken"), "round-trip missing-file", rules::broken,
        "a text with a foreign character is refused, and nothing is stored",
        "the decoder drops what it does not know: decode strictly, before the file is opened"),
    rule(("names", "quoted"), "round-trip", behaviour::quoted_name,
        "UPLOAD \"name\" stores name, without the quotes",
        "the request is split at blanks only, and the quotes stay part of the name"),
    rule(("names", "blanks"), "quoted listed", behaviour::blanks,
        "a name in quotes may have blanks",
        "the request is split at blanks before quotes are looked at"),
    rule(("names", "case"), "listed", behaviour::case_kept,
        "a name keeps its letter case",
        "the whole request is folded to lower case, not the verb alone"),
    rule(("names", "utf-8"), "listed", behaviour::other_alphabets,
        "names are UTF-8: ö and ಕೋ are letters like others",
        "bytes are decoded as ASCII or Latin-1"),
    rule(("names", "escape"), "missing-file list", behaviour::escape,
        "a name that leads out of the folder is refused",
        "the name is joined to the folder as it comes: refuse names with /, \\ or a leading dot"),
    rule(("files", "empty"), "round-trip",
        |examiner| examiner.round_trip(&examiner.name("empty"), b""),
        "an empty file: UPLOAD name, a blank, the end",
        "an empty text counts as a missing one"),
    rule(("files", "every-byte"), "paddings split-reads",
        |examiner| examiner.round_trip(&examiner.name("bytes"), &pattern(65536 + 1)),
        "a file with every byte value comes back",
        "content is treated as text: open files in binary mode; or one read is taken for the whole file"),
    rule(("files", "growth"), "every-byte", behaviour::growth,
        "one large upload takes about as long as the same bytes in small ones",
        "a limit on a message, or on memory: decode and write each piece as it comes"),
    rule(("files", "10-mib"), "growth",
        |examiner| behaviour::large(examiner, 10),
        "a file of 10 MiB goes there and back",
        "a limit on a message, or on memory: decode and write each piece as it comes"),
    rule(("files", "100-mib"), "10-mib", behaviour::hundred_mebibytes,
        "a file of 100 MiB goes there and back",
        "a limit on a message, or on memory: decode and write each piece as it comes"),
    rule(("files", "memory"), "10-mib", behaviour::memory,
        "memory does not follow the size of the file",
        "the whole file is held in memory"),
    rule(("concurrency", "idle-client"), "end", behaviour::beside_an_idle_client,
        "a client is served while another is connected and says nothing",
        "connections are served one after another: hand each to a thread, a process or an event loop"),
    rule(("concurrency", "beside-upload"), "idle-client", behaviour::beside_half_an_upload,
        "a client is served while another is in the middle of an upload",
        "a lock is held while a request is read: hold it for the change alone, or not at all"),
    rule(("concurrency", "workers"), "beside-upload object", behaviour::workers,
        "as many clients are served at once as there are workers",
        "the workers wait for each other"),
    rule(("robustness", "half-upload"), "deletes split-reads", behaviour::half_an_upload,
        "an upload that breaks off stores nothing",
        "the end of the stream is taken for the end of the request: only \\r\\n\\r\\n ends it"),
    rule(("robustness", "old-file"), "every-byte half-upload", behaviour::the_old_file_stays,
        "an upload that breaks off leaves the old file as it was",
        "the file is opened under its own name too early: write another, and rename it when it is whole"),
    rule(("robustness", "ok-means-whole"), "10-mib replaces", behaviour::ok_means_whole,
        "when UPLOAD says OK, another client gets the whole file at once",
        "OK is sent before the file is written and closed, or a reader meets half of it"),
    rule(("robustness", "whole-files"), "ok-means-whole old-file", behaviour::readers_get_whole_files,
        "a reader gets the old file or the new one, never a part",
        "the file is cut off and written under its own name: write another, and rename it when it is whole"),
    rule(("framing", "upload-then-get"), "two-at-once ok-means-whole", rules::upload_then_get,
        "UPLOAD and GET in one packet: the content ends at its \\r\\n\\r\\n",
        "the content is taken up to the end of the buffer"),
    rule(("robustness", "vanishing"), "every-byte", behaviour::clients_that_vanish,
        "clients that vanish in the middle of a reply harm no other client",
        "an exception of send ends the worker: catch it, and serve the next client"),
    rule(("robustness", "silence"), "split-reads", behaviour::silence,
        "a client that says half a request and then nothing is sent away",
        ""),
    rule(("robustness", "refusal"), "escape growth", behaviour::a_refusal_arrives,
        "the reply to a refused upload of 4 MiB arrives",
        "closing with unread bytes sends a reset that destroys the reply: read on, then close"),
];

pub static CHECK: Command = Command {
    name: "check",
    words: &["HOST:PORT"],
    about: "grade a file server: what is wrong with it, and why\n\n\
            One line a rule: PASS, FAIL, SKIP, or NOTE for what the protocol leaves open; for a failure \
            also what was sent, what came, and the usual cause. Files are stored under names that \
            begin with kolam-check-, and deleted.\n\
            Exit code: 0 when no rule failed, 1 when one did.",
    options: &[&[
        opt(
            "--quick",
            "",
            "without the rules that move megabytes, and those that need them",
        ),
        opt(
            "--dialect",
            "NAME",
            "delimiter, line, sized or pause: where a message ends (delimiter)",
        ),
        opt("--big", "", "also a file of 100 MiB"),
        opt(
            "--workers",
            "N",
            "how many it has, if no STATS tells; 1: it may serve one client at a time",
        ),
        opt(
            "--pid",
            "PID",
            "the server's process on this machine: its memory is watched, too",
        ),
        opt(
            "--timeout",
            "TIME",
            "longest wait of one step: connecting, sending, the next bytes (2)",
        ),
        opt(
            "--patience",
            "TIME",
            "also: is a client that is silent for this long (such as 60s) sent away?",
        ),
        TOKEN_FILE,
        opt("--json", "", "print an array of objects"),
        opt("--markdown", "", "print a table"),
    ]],
    run,
};

fn run(args: &Args) -> Result<(), Failure> {
    let format = match (args.has("--json"), args.has("--markdown")) {
        (true, true) => return usage("--json and --markdown: choose one"),
        (true, false) => report::json,
        (false, true) => report::markdown,
        (false, false) => report::text,
    };
    let stop = Stop::listen(Listen::Stop)
        .map_err(|error| Failure::Failed(format!("cannot listen for signals: {error}")))?;
    let address = args.address_word(0, "127.0.0.1:6666")?;
    carry(args)?;
    let mut examiner = Examiner::new(Wire::new(address, args.seconds("--timeout", 2.0)?));
    examiner.big = args.has("--big");
    if args.has("--workers") {
        let workers = args.number("--workers", 1, 1..=4096)?;
        examiner.workers.set(Some(workers as usize));
    }
    examiner.memory = args.text("--pid").map(watched).transpose()?;
    if args.has("--patience") {
        examiner.patience = Some(args.seconds("--patience", 60.0)?);
    }
    let dialect = args.choice("--dialect", "delimiter", &dialects::DIALECTS)?;
    recognise(&examiner.wire, dialect)?;
    let findings = examine(&examiner, rules_of(dialect), args.has("--quick"), stop);
    let left = examiner.clean_up();
    print(&format(&findings, &left))?;
    if args.has("--json") && !left.is_empty() {
        let _ = writeln!(io::stderr(), "kolam: left on the server: {}", left.join(", "));
    }
    match findings.iter().filter(|finding| finding.is_failure()).count() {
        _ if stop.requested() => Err(Failure::Interrupted),
        0 => Ok(()),
        1 => failed("1 rule failed"),
        count => failed(format!("{count} rules failed")),
    }
}

/// A process and the peak of its memory until now.
fn watched(pid: &str) -> Result<(Pid, u64), Failure> {
    let Ok(pid) = pid.parse() else {
        return usage(format!("--pid {pid}: expected a number"));
    };
    match sys::forget_peak(pid).map(|()| sys::peak_memory(pid)) {
        Ok(Some(peak)) => Ok((pid, peak)),
        Ok(None) => failed(format!("--pid {pid}: there is no such process")),
        Err(error) => failed(format!("--pid {pid}: cannot watch its memory: {error}")),
    }
}

/// A server of another protocol, or plainly of another dialect than `wanted`, is named instead of graded.
fn recognise(wire: &Wire, wanted: &str) -> Result<(), Failure> {
    let address = wire.address;
    let Ok(spoken) = dialects::spoken(wire) else {
        let end = wire.transcript.take().end;
        return failed(format!("{address}: {end}; is the server running?"));
    };
    match spoken {
        Some(("http", _)) => failed(format!(
            "{address} answers in HTTP: try kolam bench http http://{address}/"
        )),
        // A server of `pause` knows the end mark, too, and one of `line` may skip empty lines.
        Some(("delimiter", _)) if wanted != "sized" => Ok(()),
        Some((dialect, sign)) if dialect != wanted => failed(format!(
            "{address} looks like the {dialect} dialect ({sign}): try kolam check {address} --dialect \
             {dialect}"
        )),
        _ => Ok(()),
    }
}

fn rules_of(dialect: &str) -> &'static [Rule] {
    match dialect {
        "delimiter" => RULES,
        _ => dialects::rules_of(dialect),
    }
}

/// Tries each rule, as long as the user does not stop it: what is broken off says nothing.
fn examine(examiner: &Examiner, rules: &'static [Rule], quick: bool, stop: Stop) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for rule in rules {
        let missing = rule.needs.split_whitespace().find(|needed| {
            let earlier = findings.iter().find(|finding| finding.rule.name == *needed);
            !earlier.is_some_and(Finding::is_pass)
        });
        let graded = match missing {
            _ if quick && HEAVY.contains(&rule.name) => Err(Why::Skip("not with --quick".to_owned())),
            Some(needed) => Err(Why::Skip(format!("needs {needed}"))),
            None => grade(rule, &rules[0], examiner, stop),
        };
        let transcript = examiner.wire.transcript.take();
        if stop.requested() {
            break;
        }
        findings.push(Finding {
            rule,
            graded,
            transcript,
        });
    }
    findings
}

/// A wrong answer counts at once. Silence and slowness count when they are there three times: on a busy
/// machine, once may be chance. The last try alone waits as long as the user allows; before it, so does the
/// `simplest` rule, as the whole machine may stand still.
fn grade(rule: &Rule, simplest: &Rule, examiner: &Examiner, stop: Stop) -> Graded {
    let mut graded = Ok(false);
    for patient in [false, false, true] {
        examiner.wire.begin(patient);
        if patient {
            let _ = (simplest.test)(examiner);
        }
        graded = (rule.test)(examiner);
        let failed = matches!(graded, Ok(false) | Err(Why::Wrong | Why::Because(_)));
        if stop.requested() || !failed || !examiner.wire.doubt.get() {
            break;
        }
        examiner.retries.set(examiner.retries.get() + 1);
    }
    graded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tables() -> [&'static [Rule]; 4] {
        dialects::DIALECTS.map(rules_of)
    }

    #[test]
    fn the_page_about_the_grader_has_every_rule() {
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grader.md")).unwrap();
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for Rule { name, expected, .. } in RULES {
            let line = format!("`{name}`: {expected}");
            assert!(page.contains(&line), "docs/grader.md: write {line}");
        }
    }

    #[test]
    fn a_rule_needs_only_rules_that_stand_before_it() {
        for table in tables() {
            for (at, rule) in table.iter().enumerate() {
                let before: Vec<&str> = table[..at].iter().map(|rule| rule.name).collect();
                assert!(!before.contains(&rule.name), "{} stands twice", rule.name);
                for needed in rule.needs.split_whitespace() {
                    assert!(before.contains(&needed), "{} needs {needed}", rule.name);
                }
            }
        }
    }
}
