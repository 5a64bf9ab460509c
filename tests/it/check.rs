//! The grader: it passes right servers and finds in each wrong server its mistake, and no other.

use crate::support::wrong::{Mistake, WrongServer};
use crate::support::{
    Ended, FILE, Folder, MODES, PATIENCE, Run, Running, each_case_at_once, eventually, kolam, skipped,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// Each mistake with the one rule that it breaks.
const FINDINGS: [(Mistake, &str); 46] = [
    (Mistake::EachReceiveIsARequest, "split-reads"),
    (Mistake::EndOnlyAtTheBuffersEnd, "end-inside"),
    (Mistake::EndOnlyInTheLatestReceive, "end-cut-in-two"),
    (Mistake::EndOnlyInTheLatestTwoReceives, "byte-by-byte"),
    (Mistake::IgnoresPipelining, "two-at-once"),
    (Mistake::UploadTakesAllThatCame, "upload-then-get"),
    (Mistake::SearchesFromTheStart, "growth"),
    (Mistake::EndsInOneLineEnd, "end"),
    (Mistake::ReplyInTwoPieces, "one-piece"),
    (Mistake::RepliesTwice, "one-reply"),
    (Mistake::ClosesAfterEachReply, "keeps-open"),
    (Mistake::ClosesWithoutReplyOnError, "unknown"),
    (Mistake::ClosesAfterAnError, "open-after-error"),
    (Mistake::ClosesWithoutAName, "missing-name"),
    (Mistake::NoStatus, "object"),
    (Mistake::NamesInOneString, "list"),
    (Mistake::GluedJson, "escapes"),
    (Mistake::LengthOneOff, "round-trip"),
    (Mistake::UrlSafeAlphabet, "paddings"),
    (Mistake::NoPaddingInReplies, "reply-padded"),
    (Mistake::InsistsOnPadding, "unpadded"),
    (Mistake::DropsForeignSymbols, "broken"),
    (Mistake::CutsAtTheFirstLineBreak, "line-breaks"),
    (Mistake::TextMode, "every-byte"),
    (Mistake::MessageLimit, "10-mib"),
    (Mistake::AppendsToTheOldFile, "replaces"),
    (Mistake::EmptyIsMissing, "empty"),
    (Mistake::NamesInLowerCase, "case"),
    (Mistake::KeepsQuotes, "quoted"),
    (Mistake::SplitsInsideQuotes, "blanks"),
    (Mistake::ListsPaths, "listed"),
    (Mistake::ListsLatin1, "utf-8"),
    (Mistake::LeavesTheFolder, "escape"),
    (Mistake::VerbsInUpperCaseOnly, "letter-case"),
    (Mistake::MissingIsEmpty, "missing-file"),
    (Mistake::DeletesNothing, "deletes"),
    (Mistake::DeletesAnything, "delete-nothing"),
    (Mistake::OneAtATime, "idle-client"),
    (Mistake::OneAtATimeOnTwoPorts, "idle-client"),
    (Mistake::TwoWorkersOfFour, "workers"),
    (Mistake::LockHeldWhileReading, "beside-upload"),
    (Mistake::OkBeforeTheFileIsThere, "ok-means-whole"),
    (Mistake::WritesUnderTheNameItself, "whole-files"),
    (Mistake::HalfAFileIsOk, "half-upload"),
    (Mistake::OldFileCutOff, "old-file"),
    (Mistake::ResetInsteadOfRefusal, "refusal"),
];

/// What a right server is graded with: no rule takes this long, unless the disk or the machine stands still.
const PATIENT: [&str; 2] = ["--timeout", "10"];

/// Graded with patience: the machine may be busy with other tests.
fn check(address: SocketAddr, options: &[&str]) -> Ended {
    let address = address.to_string();
    let words = [&["check", &address, "--timeout", "3"], options].concat();
    Run::start(kolam(words).stdin(Stdio::null())).finish(PATIENCE * 30)
}

/// The rules that failed, in the report for people.
fn failed(report: &str) -> Vec<&str> {
    let failures = report
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("FAIL "));
    failures
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn each_wrong_server_is_found_out_by_its_own_rule() {
    // All at once: each waits most of the time.
    thread::scope(|scope| {
        for (mistake, rule) in FINDINGS {
            scope.spawn(move || {
                let server = WrongServer::start(mistake);
                let heavy = [
                    "growth",
                    "10-mib",
                    "ok-means-whole",
                    "whole-files",
                    "upload-then-get",
                    "refusal",
                ];
                let options: &[&str] = if heavy.contains(&rule) { &[] } else { &["--quick"] };
                let graded = check(server.address, options);
                assert_eq!(failed(graded.text()), [rule], "{mistake:?}\n{}", graded.text());
                graded.failed(1, &["1 rule failed"]);
                if mistake == Mistake::EachReceiveIsARequest {
                    let shown = lesson_picture();
                    let same = shown.contains("FAIL") && graded.text().starts_with(&shown);
                    assert!(same, "docs/course/framing.svg:\n{shown}");
                }
                for verdict in told(mistake) {
                    let verdict = without_figures(verdict);
                    let report = without_figures(graded.text());
                    assert!(
                        report.contains(&verdict),
                        "docs/why.md: {mistake:?}: {verdict}\n{report}"
                    );
                }
            });
        }
    });
}

/// The verdict that `docs/why.md` shows of a mistake, if it is one of those: the failed rule, and the cause.
fn told(mistake: Mistake) -> Vec<&'static str> {
    let named = format!("\nServer `{mistake:?}`:\n");
    let parts = include_str!("../../docs/why.md").split("\n## ");
    let part = parts.filter(|part| part.contains(&named)).flat_map(str::lines);
    // A report is indented by four blanks as code.
    part.filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("  FAIL ") || line.starts_with("       cause "))
        .collect()
}

/// The report in the picture of the first lesson: its server makes the same mistake.
fn lesson_picture() -> String {
    let picture = include_str!("../../docs/course/framing.svg");
    let texts = picture
        .lines()
        .filter_map(|line| line.split_once("preserve\">")?.1.strip_suffix("</text>"));
    let report = texts.filter(|text| !text.starts_with("$ "));
    report.map(|text| format!("{text}\n")).collect()
}

/// Names, times and ports differ from run to run.
fn without_figures(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit(), "")
}

#[test]
fn the_page_of_mistakes_has_ten_each_with_its_verdict() {
    let verdicts = FINDINGS.map(|(mistake, _)| told(mistake).len());
    let shown: Vec<_> = verdicts.into_iter().filter(|&lines| lines > 0).collect();
    assert_eq!(shown, [2; 10]);
}

#[test]
fn a_right_server_in_memory_passes() {
    let server = WrongServer::start(Mistake::None);
    let graded = check(server.address, &PATIENT);
    assert_eq!(failed(graded.ok()), [""; 0], "{}", graded.text());
}

/// A machine that stands still for a moment is no mistake of the server.
#[test]
fn a_server_that_is_silent_for_a_moment_passes() {
    let cases = [
        (Mistake::SilentToOneReader, &[][..]),
        (Mistake::SilentToAll, &["--quick"]),
        (Mistake::SilentToTwoUploaders, &["--quick"]),
    ];
    thread::scope(|scope| {
        for (silent, options) in cases {
            scope.spawn(move || {
                let server = WrongServer::start(silent);
                let graded = check(server.address, options);
                assert_eq!(failed(graded.ok()), [""; 0], "{silent:?}\n{}", graded.text());
            });
        }
    });
}

/// Nothing of the grader stays in the folder.
#[test]
fn this_server_passes_in_every_mode() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 4, "");
        let pid = server.pid().to_string();
        // 100 MiB once are enough.
        let big = if case.mode == "thread" { "--big" } else { "--quick" };
        let graded = check(server.address, &[&PATIENT[..], &[big, "--pid", &pid]].concat());
        assert_eq!(failed(graded.ok()), [""; 0]);
        if case.mode == "thread" {
            assert_eq!(
                graded.text().matches("SKIP").count(),
                1,
                "silence: {}",
                graded.text()
            );
        }
        assert_eq!(folder.names(), [""; 0]);
    });
}

/// A server in another process that tells its address in its first line, `listening on ADDRESS`.
fn started(command: &mut Command, folder: &Folder) -> (Running, SocketAddr) {
    let mut server = Running::spawn(command.current_dir(folder.path()).stdout(Stdio::piped()));
    let mut line = String::new();
    let mut stdout = BufReader::new(server.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect(&line);
    (server, address.parse().unwrap())
}

/// What a client cannot see is not graded: a queue without bound, a worker that died and is not replaced.
#[test]
fn the_examples_have_the_weaknesses_that_their_headers_name() {
    let four = "4 clients are served at once; the next waits";
    let cases: [(&str, &[&str], &str); 4] = [
        ("naive", &["quoted", "memory", "idle-client"], ""),
        ("pool", &["quoted", "memory", "whole-files"], four),
        ("prefork", &["quoted", "memory", "whole-files"], four),
        (
            "threads",
            &["quoted", "memory", "whole-files"],
            "the clients choose how many",
        ),
    ];
    let built = Path::new(env!("CARGO_BIN_EXE_kolam")).with_file_name("examples");
    thread::scope(|scope| {
        for (example, rules, remark) in cases {
            let program = built.join(example);
            if !program.exists() {
                return skipped("cargo build --examples makes the servers that this test grades");
            }
            scope.spawn(move || {
                let folder = Folder::new();
                let (server, address) = started(Command::new(program).arg("127.0.0.1:0"), &folder);
                let pid = server.pid().to_string();
                let graded = check(address, &["--pid", &pid, "--patience", "300ms"]);
                assert_eq!(failed(graded.text()), rules, "{example}\n{}", graded.text());
                graded.says(&["  NOTE silence ", remark]);
            });
        }
    });
}

#[test]
fn a_right_server_in_another_language_passes() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("there is no python3 for examples/right.py");
    }
    let folder = Folder::new();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/right.py");
    let mut command = Command::new("python3");
    let (server, address) = started(command.arg(program).args(["127.0.0.1:0", "."]), &folder);
    let graded = check(address, &["--pid", &server.pid().to_string()]);
    assert_eq!(failed(graded.ok()), [""; 0]);
    // STATS, --big, --patience.
    assert_eq!(graded.text().matches("  SKIP ").count(), 3, "{}", graded.text());
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn silent_clients_are_sent_away_or_it_is_noted() {
    let server = WrongServer::start(Mistake::None);
    let graded = check(server.address, &["--quick", "--patience", "300ms"]);
    assert_eq!(failed(graded.ok()), [""; 0]);
    graded.says(&["  NOTE silence ", "for more than 300ms: as many such clients"]);
    each_case_at_once(&["thread"], FILE, |case, folder| {
        let server = case.serve(folder, 2, "--head-timeout 4");
        check(server.address, &["--quick", "--patience", "30s"]).says(&["  PASS silence "]);
    });
}

/// What was stored until then is deleted.
#[test]
fn ctrl_c_leaves_nothing_and_tells_what_was_found_until_then() {
    each_case_at_once(&["event"], FILE, |case, folder| {
        let server = case.serve(folder, 1, "");
        let address = server.address.to_string();
        let check = Run::start(&mut kolam(&["check", &address, "--patience", "60s"]));
        eventually("files are stored", || folder.names().len() > 10);
        check.signal(libc::SIGINT);
        let graded = check.finish(PATIENCE);
        graded.failed(130, &["interrupted"]);
        graded.says(&["  PASS end ", "score: framing "]);
        assert_eq!(folder.names(), [""; 0]);
    });
}

#[test]
fn servers_on_ports_of_their_own_are_told_from_a_pool() {
    let server = WrongServer::start(Mistake::OneAtATimeOnTwoPorts);
    let next = server.address.port() + 1;
    let graded = check(server.address, &["--quick"]);
    assert!(
        graded.text().contains(&format!("port {next} answers, too")),
        "{}",
        graded.text()
    );
}

#[test]
fn a_finding_shows_both_sides_and_names_the_cause() {
    let server = WrongServer::start(Mistake::EndOnlyAtTheBuffersEnd);
    let graded = check(server.address, &["--quick", "--timeout", "1"]);
    graded.says(&[
        "  FAIL end-inside       a request is answered although the first bytes of the next came with it\n",
        "       sent      LIST\\r\\n\\r\\nLI\n       received  nothing for ",
        "\n       cause     the end is looked for at the end of the buffer only: search inside\n",
    ]);
    let skipped = [
        "  SKIP two-at-once      two requests in one packet get two replies",
        "       skipped   needs end-inside",
    ];
    let skipped = &skipped.join("\n");
    assert!(graded.text().contains(skipped), "{}", graded.text());
}

#[test]
fn programs_get_json_and_pages_get_markdown() {
    let server = WrongServer::start(Mistake::GluedJson);
    let json = check(server.address, &["--quick", "--json"]);
    let object = r#"{"rule":"escapes","group":"json","result":"fail","sent":"GET \"#;
    assert!(
        json.text().starts_with('[') && json.text().contains(object),
        "{}",
        json.text()
    );
    for key in [
        "\"received\":",
        "\"expected\":",
        "\"cause\":",
        "\"result\":\"pass\"",
        "\"result\":\"skip\"",
    ] {
        assert!(json.text().contains(key), "{key} {}", json.text());
    }
    let markdown = check(server.address, &["--quick", "--markdown"]);
    let row = markdown
        .text()
        .lines()
        .find(|line| line.starts_with("| json | escapes | FAIL |"));
    assert_eq!(
        row.map(|row| row.matches(" | ").count()),
        Some(6),
        "{}",
        markdown.text()
    );
}

/// Listens, answers everything with `reply`, and closes.
fn answering(reply: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(reply);
        }
    });
    address
}

#[test]
fn other_protocols_are_named_instead_of_graded() {
    let cases: [(&[u8], &str); 3] = [
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            "answers in HTTP: try kolam bench http",
        ),
        (
            b"{\"status\": \"OK\", \"data\": []}\r\n\r\n\
              {\"status\": \"ERROR\", \"data\": \"request tidak dikenali\"}\r\n\r\n",
            "looks like the line dialect (a line is a request: LIST\\r\\n\\r\\n got two replies)",
        ),
        (b"ERROR File not found\r\n\r\n", "--dialect sized"),
    ];
    for (reply, words) in cases {
        check(answering(reply), &[]).failed(1, &[words]);
    }
}

/// The three other answers to the question where a message ends.
#[test]
fn this_server_passes_in_every_dialect() {
    for dialect in ["line", "sized", "pause"] {
        each_case_at_once(MODES, FILE, |case, folder| {
            let server = case.serve(folder, 4, &format!("--dialect {dialect}"));
            // `line` and `sized` have no STATS that could say so.
            let alone = case.mode == "single" && dialect != "pause";
            let workers: &[&str] = if alone { &["--workers", "1"] } else { &[] };
            let graded = check(server.address, &[&["--dialect", dialect], workers].concat());
            assert_eq!(failed(graded.text()), [""; 0], "{}", graded.text());
            // There is no DELETE in `sized`: what stays is named; after a second try it is more than one.
            let left = folder.names();
            assert_eq!(left.is_empty(), dialect != "sized", "{left:?}");
            assert!(left.iter().all(|name| name.contains("-sized")), "{left:?}");
            graded.says(&left.iter().map(String::as_str).collect::<Vec<_>>());
            graded.ok();
            // A server of `pause` knows the end mark, too.
            if dialect != "pause" {
                let told = format!("try kolam check {} --dialect {dialect}", server.address);
                check(server.address, &["--quick"]).failed(1, &[&told]);
            }
        });
    }
}

/// A right server of one dialect is no server of another.
#[test]
fn a_dialect_is_not_taken_for_another() {
    let server = WrongServer::start(Mistake::None);
    let graded = |dialect| check(server.address, &["--dialect", dialect, "--timeout", "1"]);
    graded("sized").failed(1, &["looks like the delimiter dialect", "--dialect delimiter"]);
    assert_eq!(failed(graded("pause").text()), ["silence"]);
    assert_eq!(failed(graded("line").text()), ["line"]);
    graded("comma").failed(2, &["--dialect comma: expected delimiter, line, sized, pause"]);
}

#[test]
fn a_server_that_is_not_there_and_options_that_make_no_sense_are_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(free, &[]).failed(1, &["no connection", "is the server running?"]);
    check(free, &["--json", "--markdown"]).failed(2, &["choose one"]);
    check(free, &["--pid", "no"]).failed(2, &["--pid no: expected a number"]);
    check(free, &["--pid", "4194305"]).failed(1, &["--pid 4194305"]);
}
